"""Planes: per branch the bits of its sleeve number, decision by decision.

1. A *leaf* of the residual program is a condition. Its packed rows, one for each combination of its inner axes that
   occurs, are cut to the traded decisions. All thresholds of one series are packed together.
2. The program joins the rows of a branch word by word, so that a stretch of decisions can be had by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from forge_ray.engine.bind import BoundPlan
from forge_ray.engine.distinct import distinct_numbers
from forge_ray.engine.tally import Tally
from forge_ray.engine.values import Evaluator
from forge_ray.kernels import bits
from forge_ray.plan import AxisRef, Op, Parameter, Residual, axes_of, resolve
from forge_ray.tree import AxisValue, Term

Values = dict[int, AxisValue]
WORD = 64
MAX_CODES = 2**62
_TABLED = {"lt": (True, False), "lte": (True, True), "gt": (False, False), "gte": (False, True)}
"""Comparators of `bits.threshold_table`: whether true is below, whether equal counts."""


@dataclass(frozen=True)
class Planes:
    """Planes of some branches of one group, computed when they are asked for.

    leaves : of the residual program. rows : (n_branches, n_leaves) row of each leaf, those of all leaves numbered on.
    places : (n_branches, 2) number of the line of branches that differ in the fastest inner axis alone, ascending, and
    index of the value there.
    tally : counts the time of computing them. known : what `within` gives on the decisions from one to another, kept.
    """

    residual: Residual
    leaves: tuple[_Leaf, ...]
    rows: np.ndarray
    places: np.ndarray
    tally: Tally = field(default_factory=Tally)
    known: tuple[int, int, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, branches: np.ndarray) -> Planes:
        """Of some of them, by index."""
        known = self.known and (*self.known[:2], self.known[2][branches])
        return replace(self, rows=self.rows[branches], places=self.places[branches], known=known)

    def kept(self, first: int, last: int) -> Planes:
        """The same, with what `within` gives on any part of decisions [first, last) at hand."""
        return replace(self, known=(first, last, self.within(first, last)))

    def within(self, first: int, last: int) -> np.ndarray:
        """(n_branches, n_planes, 1 + n_words) of decisions [first, last), `first` a multiple of 64; see
        `kernels.transitions`."""
        if self.known and self.known[0] <= first and last <= self.known[1]:
            word = first - self.known[0] >> 6
            return np.ascontiguousarray(self.known[2][:, :, word : word + 1 + bits.n_words(last - first)])
        with self.tally.stage("planes"):
            return self._within(first, last)

    def _within(self, first: int, last: int) -> np.ndarray:
        residual, before = self.residual, min(first, WORD)
        out = np.empty((len(self), len(residual.planes), 1 + bits.n_words(last - first)), np.uint64)
        if residual.planes:
            table = self._table(first - before, last)
            operations, planes = np.array(residual.operations, np.int64), np.array(residual.planes, np.int64)
            bits.residual_planes(operations, planes, table, self.rows, first == 0, residual.n_registers, out)
        return out

    def _table(self, first: int, last: int) -> np.ndarray:
        """(n_rows, 2, n_words) of all leaves at decisions [first, last)."""
        ends = np.cumsum([len(leaf.distinct) for leaf in self.leaves])
        out = np.empty((ends[-1], 2, bits.n_words(last - first)), np.uint64)
        for leaf, rows in zip(self.leaves, np.split(out, ends[:-1]), strict=True):
            leaf.put(first, last, rows)
        return out


def whole_path(residual: Residual, n_branches: int = 1) -> Planes:
    """Of branches that stay in the only sleeve of a group."""
    return Planes(residual, (), np.empty((n_branches, 0), np.int64), np.zeros((n_branches, 2), np.int64))


def planes_of(
    bound: BoundPlan, evaluator: Evaluator, term: Term, residual: Residual, values: Values, digits: np.ndarray,
    axes: tuple[int, ...],
) -> Planes:  # fmt: skip
    """values : of the group, by axis index. digits : (n_branches, n_axes of the term) value indices. axes : the inner
    axes, the one whose values change fastest last."""
    if not residual.planes:
        return whole_path(residual, len(digits))
    leaves, rows, n_rows = [], np.empty((len(digits), len(residual.leaves)), np.int64), 0
    for k, expression in enumerate(residual.leaves):
        inner = tuple(a for a in axes_of(bound.plan.expressions[expression].axes) if a in residual.inner)
        distinct, row_of = _combinations(bound, inner, digits[:, [term.axes.index(a) for a in inner]])
        leaves.append(_Leaf(bound, evaluator, expression, inner, values, distinct))
        rows[:, k] = n_rows + row_of
        n_rows += len(distinct)
    inner = digits[:, [term.axes.index(a) for a in axes]]
    return Planes(residual, tuple(leaves), rows, _places(inner), evaluator.tally)


def _places(inner: np.ndarray) -> np.ndarray:
    """See `Planes`. inner : (n_branches, n_inner) value indices, the fastest axis last."""
    is_new = np.diff(inner[:, :-1], axis=0).any(axis=1)
    return np.stack([np.concatenate([[0], np.cumsum(is_new)]), inner[:, -1]], axis=1)


class _Compared(NamedTuple):
    """A series (expression id) below or above the values of an axis; `days` bars in a row if that is not None."""

    series: int
    axis: int
    asks: tuple[bool, bool]
    days: Parameter


def _put_thresholds(
    series: np.ndarray, thresholds: np.ndarray, asks: tuple[bool, bool], read: np.ndarray, days: int, out: np.ndarray
) -> None:
    """Write the conditions (m, 2, n_words) packed at some bars, unknown before bar 0. thresholds : (m,) ascending."""
    first = read[0] - (days - 1)
    bars = np.arange(first, read[-1] + 1) if days > 1 else read
    is_slice = bars[0] >= 0 and (np.diff(bars) == 1).all()
    seen = series[bars[0] : bars[-1] + 1] if is_slice else np.where(bars >= 0, series[bars], np.nan)
    table = out if days == 1 else np.empty((len(thresholds), 2, bits.n_words(len(bars))), np.uint64)
    bits.threshold_table(np.ascontiguousarray(seen), thresholds, *asks, table)
    if days > 1:
        bits.persist_packed(table, days)
        for row, kept in zip(out, table, strict=True):
            bits.at_decisions(kept, read - first, row)


def _combinations(bound: BoundPlan, axes: tuple[int, ...], digits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct rows of digits (n, n_axes), ascending, and which one each row is."""
    code, n_codes = np.zeros(len(digits), np.int64), 1
    for a, column in zip(axes, digits.T, strict=True):
        n = len(bound.plan.space.axes[a].values)
        if n_codes * n > MAX_CODES:  # some of the axes so far occur together in fewer ways
            found, _, code = distinct_numbers(code)
            n_codes = len(found)
        code, n_codes = code * n + column, n_codes * n
    _, first, row_of = distinct_numbers(code)
    return digits[first], row_of


@dataclass(frozen=True)
class _Leaf:
    """A condition at the values of the outer axes and some of its inner ones.

    distinct : (n, n_inner) value indices of the inner axes, ascending.
    """

    bound: BoundPlan
    evaluator: Evaluator
    expression: int
    inner: tuple[int, ...]
    values: Values
    distinct: np.ndarray

    def put(self, first: int, last: int, out: np.ndarray) -> None:
        """Write the conditions (n, 2, n_words) packed at decisions [first, last)."""
        in_force = self.bound.start + self.bound.rebalance_of[first:last]
        if self.compared is None:
            for row, digits in zip(out, self.distinct, strict=True):
                bits.at_decisions(self.evaluator.bits(self.expression, self._values(digits)), in_force, row)
        else:
            for same in self.together:
                self._put_thresholds(self.compared, same, in_force, out)

    @cached_property
    def compared(self) -> _Compared | None:
        """How the condition compares a series with thresholds, if it does that."""
        expressions = self.bound.plan.expressions
        e, days = expressions[self.expression], None
        if e.op is Op.PERSIST:
            e, days = expressions[e.operands[0]], e.parameters[0]
        if e.op is not Op.COMPARE or e.parameters[0] not in _TABLED:
            return None
        series, number = (expressions[operand] for operand in e.operands)
        axis = number.parameters[0] if number.op is Op.NUMBER else None
        if not isinstance(axis, AxisRef) or axis.axis not in self.inner or series.axes >> axis.axis & 1 or days == axis:
            return None
        return _Compared(e.operands[0], axis.axis, _TABLED[str(e.parameters[0])], days)

    @cached_property
    def together(self) -> list[np.ndarray]:
        """Indices of the combinations that differ in the threshold at most: they compare one series."""
        assert self.compared is not None
        others = np.delete(self.distinct, self.inner.index(self.compared.axis), axis=1)
        order = np.lexsort(others.T[::-1]) if others.shape[1] else np.arange(len(others))
        return np.split(order, np.flatnonzero(np.diff(others[order], axis=0).any(axis=1)) + 1)

    def _put_thresholds(self, compared: _Compared, same: np.ndarray, in_force: np.ndarray, out: np.ndarray) -> None:
        """One series against its thresholds, which need not ascend with their indices."""
        values, place = self._values(self.distinct[same[0]]), self.inner.index(compared.axis)
        thresholds = self.bound.plan.space.axes[compared.axis].array[self.distinct[same, place]].astype(np.float64)
        order = np.argsort(thresholds, kind="stable")
        series = np.broadcast_to(self.evaluator.series(compared.series, values), (self.evaluator.n_bars,))
        read = in_force - self.bound.plan.execution.fills.delay
        (days,) = resolve((compared.days,), values)
        rows = same[order]
        is_in_place = (np.diff(rows) == 1).all()
        table = out[rows[0] : rows[-1] + 1] if is_in_place else np.empty((len(rows), *out.shape[1:]), np.uint64)
        _put_thresholds(series, thresholds[order], compared.asks, read, int(days or 1), table)
        if not is_in_place:
            out[rows] = table

    def _values(self, digits: np.ndarray) -> Values:
        axes = self.bound.plan.space.axes
        return self.values | {a: axes[a].values[digit] for a, digit in zip(self.inner, digits, strict=True)}
