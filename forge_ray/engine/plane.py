"""The plane of two thresholds: every branch of a bound plan over two axes, row by row.

1. The branches share their sleeves; tabulate the vectors of every pair of them (`kernels.plane.pair_table`).
2. Pack the conditions once per value of an axis. Bars on which two neighbours along the second axis differ are the only
   ones at which a branch can decide otherwise than the one before.
3. A row, the branches of one value of the first axis, then costs what changes in it (`kernels.plane.plane_row`).

What a branch is, is not defined here anew: sleeves, residual program, vectors and metrics are those of `block.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from forge_ray.catalog import SEGMENTS
from forge_ray.engine.bind import BoundPlan
from forge_ray.engine.cache import Cache
from forge_ray.engine.sleeves import Sleeves, build_sleeves
from forge_ray.engine.values import Evaluator
from forge_ray.errors import CapacityError, InputError, Problem
from forge_ray.kernels import bits, finalize, plane
from forge_ray.kernels.accounting import N_LANES
from forge_ray.plan import Residual
from forge_ray.tree import AxisValue

MAX_TABLE_BYTES = 2**30
"""Of the vectors of pairs of sleeves, and of the packed conditions."""


@dataclass(frozen=True)
class PlaneRows:
    """What the rows of a plane share. x, y : indices of its axes, a row has one value of x.

    vectors, leaves, changed, first_changed, until, class_of, place, order : see `kernels.plane`; leaves : (n_leaves, 3)
    first row of bits of each, and how many it moves per value of x and of y. is_new : (n_x,) whether a row decides
    otherwise than the one before.
    """

    bound: BoundPlan
    x: int
    y: int
    residual: Residual
    vectors: np.ndarray
    bits: np.ndarray
    leaves: np.ndarray
    changed: np.ndarray
    first_changed: np.ndarray
    is_new: np.ndarray
    until: np.ndarray
    class_of: np.ndarray
    place: np.ndarray
    order: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Values of x and of y."""
        axes = self.bound.plan.space.axes
        return len(axes[self.x].values), len(axes[self.y].values)

    def sums(self, i: int, segments: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sums (m, n_classes, N_LANES) and drawdowns (m, n_segments) of the m runs of equal branches of row i, and the
        number of the run of each branch (n_y,). Only drawdowns that are asked for cost something."""
        residual, place, order = self.residual, self.place[list(segments)], self.order[list(segments)]
        sizes = (place >= 0).sum(axis=1)
        sums = np.empty((self.shape[1], len(self.bound.class_in_segment), N_LANES), np.int64)
        drawdowns, outcome = np.empty((len(sums), len(segments)), np.int64), np.empty(len(sums), np.int64)
        leaves = np.stack([self.leaves[:, 0] + i * self.leaves[:, 1], self.leaves[:, 2]], axis=1)
        m = plane.plane_row(
            self.vectors, np.array(residual.operations, np.int64).reshape(-1, 4), np.array(residual.planes, np.int64),
            self.bits, leaves, self.changed, self.first_changed, self.bound.start, self.until, self.class_of, sizes,
            place, order, _tree_sizes(sizes), residual.n_registers, sums, drawdowns, outcome,
        )  # fmt: skip
        return sums[:m], drawdowns[:m], outcome

    def row(self, i: int, columns: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Metric columns (n_columns, m) of the m runs of equal branches of row i, NaN where undefined, and the number
        of the run of each branch (n_y,)."""
        named = [column.split("_", 1) for column in columns]
        segments = sorted({SEGMENTS.index(segment) for segment, _ in named})
        sums, drawdowns, outcome = self.sums(i, segments)
        metrics = np.empty((len(segments), len(finalize.COLUMNS), len(sums)))
        of_segments = np.ascontiguousarray(self.bound.class_in_segment[:, segments])
        finalize.finalize(sums, drawdowns, of_segments, self.bound.classes, self.bound.scales, metrics)
        places = [segments.index(SEGMENTS.index(segment)) for segment, _ in named]
        return metrics[places, [finalize.COLUMNS.index(metric) for _, metric in named]], outcome


def plane_rows(bound: BoundPlan, x: int, y: int, cache: Cache) -> PlaneRows:
    """The plane of two axes of a plan with one tree; all other axes have one value.

    Raises `InputError` where the axes do not act through conditions of their own, or a rule trades by what is held;
    `CapacityError` for tables that are too large.
    """
    plan = bound.plan
    if problems := list(_problems(bound, x, y)):
        raise InputError(problems)
    residual, evaluator = plan.residuals[0], Evaluator(plan, bound.panel, cache)
    fixed: dict[int, AxisValue] = {a: axis.values[0] for a, axis in enumerate(plan.space.axes) if a not in (x, y)}
    _check_capacity(bound, residual, x, y)
    vectors = _vectors(bound, build_sleeves(bound, [evaluator.allocation(c, fixed) for c in residual.cofactors]))
    tables, leaves = _tables(bound, residual, evaluator, x, y, fixed)
    along_x, along_y = ([t for t, leaf in zip(tables, leaves, strict=True) if leaf[k]] for k in (1, 2))
    steps, changed = _differences(bound, along_y)
    is_new = np.zeros(len(plan.space.axes[x].values), bool)
    is_new[[0, *_differences(bound, along_x)[0]]] = True
    place, order = _places(bound)
    return PlaneRows(
        bound, x, y, residual, vectors, np.concatenate(tables), leaves, changed,
        np.searchsorted(steps, np.arange(len(plan.space.axes[y].values) + 1)), is_new, _until(bound), bound.class_of,
        place, order,
    )  # fmt: skip


def _problems(bound: BoundPlan, x: int, y: int) -> Iterator[Problem]:
    plan, residual = bound.plan, bound.plan.residuals[0]
    if plan.execution.depends_on_path:
        text = f"{plan.execution.rebalance} trades by what is held; allowed in a plane: daily and longer periods"
        yield Problem("execution.rebalance", text)
    for a in (x, y):
        if a not in residual.inner:
            text = "acts through weights, scores or equities, or on many allocations; allowed in a plane: conditions"
            yield Problem(f"axes.{plan.space.axes[a].id}", text)
    low, high = (plan.space.axes[a].id for a in (x, y))
    for leaf in residual.leaves:
        if plan.expressions[leaf].axes >> x & plan.expressions[leaf].axes >> y & 1:
            text = f"a latch or a count reads it together with {high}; allowed in a plane: conditions of one of them"
            yield Problem(f"axes.{low}", text)


def _check_capacity(bound: BoundPlan, residual: Residual, x: int, y: int) -> None:
    plan, n_words = bound.plan, bits.n_words(len(bound.panel.dates))
    masks = [plan.expressions[leaf].axes for leaf in residual.leaves]
    n_rows = sum(len(plan.space.axes[a].values) if mask >> a & 1 else 0 for mask in masks for a in (x, y))
    sizes = {
        f"{len(residual.cofactors)} sleeves over {bound.n:,} bars": bound.n * len(residual.cofactors) ** 2
        * N_LANES * 8,
        f"{n_rows:,} conditions over {len(bound.panel.dates):,} bars": n_rows * 2 * n_words * 8,
    }  # fmt: skip
    if large := [f"{what} take {size:,} bytes" for what, size in sizes.items() if size > MAX_TABLE_BYTES]:
        raise CapacityError([Problem("plane", f"{text}; at most {MAX_TABLE_BYTES:,}") for text in large])


def _vectors(bound: BoundPlan, sleeves: Sleeves) -> np.ndarray:
    n_sleeves, n = sleeves.rows.shape
    vectors = np.empty((n, n_sleeves, n_sleeves, N_LANES), np.int64)
    plane.pair_table(*sleeves.market, sleeves.rows, sleeves.paths, vectors)
    return vectors


def _until(bound: BoundPlan) -> np.ndarray:
    """(n,) for each decision in force the next one, n after the last."""
    in_force, until = np.unique(bound.rebalance_of), np.full(bound.n, bound.n)
    until[in_force[:-1]] = in_force[1:]
    return until


def _tables(
    bound: BoundPlan, residual: Residual, evaluator: Evaluator, x: int, y: int, fixed: dict[int, AxisValue]
) -> tuple[list[np.ndarray], np.ndarray]:
    """Packed conditions (n_values, 2, n_words) of every leaf, and (n_leaves, 3) where they are in a row."""
    tables, leaves = [], np.zeros((len(residual.leaves), 3), np.int64)
    for k, leaf in enumerate(residual.leaves):
        axis = next((a for a in (x, y) if bound.plan.expressions[leaf].axes >> a & 1), None)
        choices = [{}] if axis is None else [{axis: value} for value in bound.plan.space.axes[axis].values]
        leaves[k] = sum(map(len, tables)), axis == x, axis == y
        tables.append(np.stack([evaluator.bits(leaf, fixed | choice) for choice in choices]))
    return tables, leaves


def _differences(bound: BoundPlan, tables: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(step, decision) of every decision in force at which the conditions of a value differ from those of the one
    before, ascending. tables : (n_values, 2, n_words) each."""
    differs = np.bitwise_or.reduce([np.bitwise_or.reduce(t[1:] ^ t[:-1], axis=1) for t in tables])
    step, word = np.nonzero(differs)
    which, bit = np.nonzero(np.unpackbits(differs[step, word, None].view(np.uint8), axis=1, bitorder="little"))
    decision = word[which] * 64 + bit - bound.start
    counts = np.isin(decision, bound.rebalance_of)
    return step[which][counts] + 1, decision[counts]


def _places(bound: BoundPlan) -> tuple[np.ndarray, np.ndarray]:
    """Place of each bar in each segment, −1 outside, and the bars of each segment in order: (n_segments, n) both."""
    is_in = np.ascontiguousarray(bound.class_in_segment[bound.class_of].T)
    order = np.argsort(~is_in, axis=1, kind="stable")
    return np.where(is_in, np.cumsum(is_in, axis=1) - 1, -1), order


def _tree_sizes(sizes: np.ndarray) -> np.ndarray:
    """Nodes of the tree over each segment: twice the power of two that holds its stretches."""
    stretches = np.maximum(-(-sizes // plane.STRETCH), 1)
    return np.array([2 * (1 << int(n - 1).bit_length()) for n in stretches], np.int64)
