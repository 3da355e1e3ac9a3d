"""Planes: per branch the bits of its sleeve number, decision by decision.

1. A *leaf* of the residual program is a condition. Its packed rows, one for each combination of its inner axes that
   occurs, are cut to the traded decisions. All thresholds of one series are packed together.
2. The program joins the rows of a branch word by word, so that a stretch of decisions can be had by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from forge_ray.engine.bind import BoundPlan
from forge_ray.engine.distinct import distinct_numbers
from forge_ray.engine.values import Evaluator
from forge_ray.kernels import bits
from forge_ray.plan import AxisRef, Op, Residual, axes_of
from forge_ray.tree import AxisValue, Term

Values = dict[int, AxisValue]
WORD = 64
_TABLED = {"lt": (True, False), "lte": (True, True), "gt": (False, False), "gte": (False, True)}
"""Comparators of `bits.threshold_table`: whether true is below, whether equal counts."""


@dataclass(frozen=True)
class Planes:
    """Planes of some branches of one group, computed when they are asked for.

    leaves : of the residual program. rows : (n_branches, n_leaves) row of each leaf, those of all leaves numbered on.
    """

    residual: Residual
    leaves: tuple[_Leaf, ...]
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def within(self, first: int, last: int) -> np.ndarray:
        """(n_branches, n_planes, 1 + n_words) of decisions [first, last), `first` a multiple of 64; see
        `kernels.transitions`."""
        residual, before = self.residual, min(first, WORD)
        out = np.empty((len(self), len(residual.planes), 1 + bits.n_words(last - first)), np.uint64)
        if residual.planes:
            table = np.concatenate([leaf.table(first - before, last) for leaf in self.leaves])
            operations, planes = np.array(residual.operations, np.int64), np.array(residual.planes, np.int64)
            bits.residual_planes(operations, planes, table, self.rows, first == 0, residual.n_registers, out)
        return out


def whole_path(residual: Residual, n_branches: int = 1) -> Planes:
    """Of branches that stay in the only sleeve of a group."""
    return Planes(residual, (), np.empty((n_branches, 0), np.int64))


def planes_of(
    bound: BoundPlan, evaluator: Evaluator, term: Term, residual: Residual, values: Values, digits: np.ndarray
) -> Planes:
    """values : of the group, by axis index. digits : (n_branches, n_axes of the term) value indices."""
    if not residual.planes:
        return whole_path(residual, len(digits))
    leaves, rows, n_rows = [], np.empty((len(digits), len(residual.leaves)), np.int64), 0
    for k, expression in enumerate(residual.leaves):
        inner = tuple(a for a in axes_of(bound.plan.expressions[expression].axes) if a in residual.inner)
        distinct, row_of = _combinations(bound, inner, digits[:, [term.axes.index(a) for a in inner]])
        leaves.append(_Leaf(bound, evaluator, expression, inner, values, distinct))
        rows[:, k] = n_rows + row_of
        n_rows += len(distinct)
    return Planes(residual, tuple(leaves), rows)


def _combinations(bound: BoundPlan, axes: tuple[int, ...], digits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct rows of digits (n, n_axes), ascending, and which one each row is."""
    code = np.zeros(len(digits), np.int64)
    for a, column in zip(axes, digits.T, strict=True):
        code = code * len(bound.plan.space.axes[a].values) + column
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

    def table(self, first: int, last: int) -> np.ndarray:
        """(n, 2, n_words) packed at decisions [first, last)."""
        in_force = self.bound.start + self.bound.rebalance_of[first:last]
        out = np.empty((len(self.distinct), 2, bits.n_words(last - first)), np.uint64)
        axis = self.threshold_axis
        if axis is None:
            for row, digits in zip(out, self.distinct, strict=True):
                bits.at_decisions(self.evaluator.bits(self.expression, self._values(digits)), in_force, row)
        else:
            for same in self.series:
                self._put_thresholds(axis, same, in_force, out)
        return out

    @cached_property
    def threshold_axis(self) -> int | None:
        """The axis of the number that the condition compares with, if it does nothing else and no series has it."""
        expressions = self.bound.plan.expressions
        e = expressions[self.expression]
        if e.op is not Op.COMPARE or e.parameters[0] not in _TABLED:
            return None
        series, number = (expressions[operand] for operand in e.operands)
        axis = number.parameters[0] if number.op is Op.NUMBER else None
        if not isinstance(axis, AxisRef) or axis.axis not in self.inner or series.axes >> axis.axis & 1:
            return None
        return axis.axis

    @cached_property
    def series(self) -> list[np.ndarray]:
        """Indices of the combinations that differ in the threshold at most, together: they compare one series."""
        others = np.delete(self.distinct, self.inner.index(self.threshold_axis), axis=1)
        order = np.lexsort(others.T[::-1]) if others.shape[1] else np.arange(len(others))
        return np.split(order, np.flatnonzero(np.diff(others[order], axis=0).any(axis=1)) + 1)

    def _put_thresholds(self, axis: int, same: np.ndarray, in_force: np.ndarray, out: np.ndarray) -> None:
        """One series against its thresholds, which need not ascend with their indices."""
        e, place = self.bound.plan.expressions[self.expression], self.inner.index(axis)
        thresholds = self.bound.plan.space.axes[axis].array[self.distinct[same, place]].astype(np.float64)
        seen = self._seen(e.operands[0], self._values(self.distinct[same[0]]), in_force)
        order, asks = np.argsort(thresholds, kind="stable"), _TABLED[str(e.parameters[0])]
        places = same[order]
        if places[-1] - places[0] == len(places) - 1 and (np.diff(places) == 1).all():
            bits.threshold_table(seen, thresholds[order], *asks, out[places[0] : places[-1] + 1])
            return
        table = np.empty((len(places), *out.shape[1:]), np.uint64)
        bits.threshold_table(seen, thresholds[order], *asks, table)
        out[places] = table

    def _seen(self, series: int, values: Values, in_force: np.ndarray) -> np.ndarray:
        """(m,) of a series as the decisions of some bars see it."""
        found = np.asarray(self.evaluator.series(series, values))
        read = in_force - self.bound.plan.execution.fills.delay
        if read[0] >= 0 and read[-1] - read[0] == len(read) - 1:
            return found[read[0] : read[-1] + 1]
        return np.where(read >= 0, found[read], np.nan)

    def _values(self, digits: np.ndarray) -> Values:
        axes = self.bound.plan.space.axes
        return self.values | {a: axes[a].values[digit] for a, digit in zip(self.inner, digits, strict=True)}
