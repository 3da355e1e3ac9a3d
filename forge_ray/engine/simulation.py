"""Branches of a group → sums per class and drawdowns per segment, by the kernel of the bound plan.

1. Decisions are taken in stretches of `STRETCH`, so that what is held per pair of sleeves is bounded however long the
   history is; sums and the state of segments go on from one to the next.
2. `scalar` does one branch after the other. `lanes` first adds the sums of all of them; of a history of one stretch the
   position paths are then known, and branches with equal ones are scanned for drawdowns once.
3. Rules that trade by what is held do all decisions of a branch at once; branches with equal planes are done once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from forge_ray.engine.bind import BoundPlan, Kernel
from forge_ray.engine.distinct import distinct_rows
from forge_ray.engine.outcomes import paths_of
from forge_ray.engine.planes import Planes
from forge_ray.engine.sleeves import USUAL_PAIRS, Sleeves
from forge_ray.kernels import lanes, path_dependent
from forge_ray.kernels import simulate as scalar
from forge_ray.kernels.accounting import N_LANES
from forge_ray.kernels.transitions import Table

STRETCH = 1 << 14
MAX_VECTOR_BYTES = 128 * 2**20


class Sums(NamedTuple):
    """Of n branches, m of them distinct. sums : (m, n_classes, N_LANES). drawdowns : (m, n_segments). of : (n,) which
    of the m each branch has."""

    sums: np.ndarray
    drawdowns: np.ndarray
    of: np.ndarray


def simulated(bound: BoundPlan, sleeves: Sleeves, planes: Planes) -> Sums:
    """Simulate branches; by lanes it is the faster, the more neighbours have in common."""
    match bound.kernel:
        case Kernel.PATH:
            return sums_by_path(bound, sleeves, planes.within(0, bound.n))
        case Kernel.LANES:
            return _by_lanes(bound, sleeves, planes)
    return _by_scalar(bound, sleeves, planes)


def _by_scalar(bound: BoundPlan, sleeves: Sleeves, planes: Planes) -> Sums:
    sums, segments = _zeros(bound, len(planes))
    for stretch in _stretches(bound, sleeves):
        within, given = planes.within(stretch.first, stretch.last), sleeves.at(stretch.first)
        given = (*given, within, stretch.runs, bound.class_in_segment)
        stretch.complete(len(planes), lambda *table, g=given: scalar.simulate(*g, *table, sums, segments))
    return Sums(sums, segments[:, scalar.DRAWDOWN], np.arange(len(planes)))


def _by_lanes(bound: BoundPlan, sleeves: Sleeves, planes: Planes) -> Sums:
    sums, segments = _zeros(bound, len(planes))
    which = same_as = np.arange(len(planes))
    differences, class_of = np.zeros_like(sums), bound.class_of
    for stretch in _stretches(bound, sleeves):
        within = planes.within(stretch.first, stretch.last)
        add = partial(lanes.add_differences, *sleeves.at(stretch.first), within, class_of[stretch.first : stretch.last])
        n_tiles = -(-(within.shape[2] - 1) // lanes.TILE)
        stretch.complete(n_tiles, lambda *table, add=add: add(*table, differences))
        if stretch.is_all:
            np.cumsum(differences, axis=0, out=sums)
            which, same_as = distinct_rows(paths_of(sums))
        lanes.scan_drawdowns(
            within, which, sleeves.quiet(stretch.first, stretch.last), stretch.first, stretch.runs,
            bound.class_in_segment, stretch.table.logs, segments,
        )  # fmt: skip
    if bound.n > STRETCH:
        np.cumsum(differences, axis=0, out=sums)
    return Sums(sums[which], segments[: len(which), scalar.DRAWDOWN], same_as)


def sums_by_path(bound: BoundPlan, sleeves: Sleeves, within: np.ndarray) -> Sums:
    """Under a rule that trades by what is held. within : the planes of all decisions; see `Planes.within`."""
    distinct, same_as = distinct_rows(within.reshape(len(within), -1))
    sums, segments = _zeros(bound, len(distinct))
    simulate_paths(bound, sleeves, within[distinct], bound.runs, bound.class_in_segment, sums, segments)
    return Sums(sums, segments[:, scalar.DRAWDOWN], same_as)


def simulate_paths(
    bound: BoundPlan, sleeves: Sleeves, planes: np.ndarray, runs: np.ndarray, class_in_segment: np.ndarray,
    sums: np.ndarray, segments: np.ndarray,
) -> None:  # fmt: skip
    """`path_dependent.simulate_path` for the rule of a bound plan."""
    execution = bound.plan.execution
    threshold = execution.threshold / 100 if execution.rebalance == "threshold" else -1.0
    path_dependent.simulate_path(*sleeves.at(0), planes, threshold, runs, class_in_segment, sums, segments)


def _zeros(bound: BoundPlan, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums and segments as `kernels.simulate.simulate` adds to them."""
    n_classes, n_segments = bound.class_in_segment.shape
    return np.zeros((n, n_classes, N_LANES), np.int64), np.zeros((n, 3, n_segments), np.int64)


@dataclass
class _Stretch:
    """Decisions [first, last) and their vectors. runs : (n_runs, 3) those of the decisions."""

    first: int
    last: int
    runs: np.ndarray
    table: Table
    is_all: bool

    def complete(self, end: int, kernel: Callable[..., int]) -> None:
        """Call a kernel with where to begin and the table; make room where it stops, until it comes to its end."""
        begin = 0
        while (begin := kernel(begin, *self.table)) < end:
            self._make_room()

    def _make_room(self) -> None:
        """Twice as many vectors; at the limit all are forgotten, but not their logs."""
        table = self.table
        if 2 * table.vectors.nbytes > MAX_VECTOR_BYTES and table.used[0] > 1:
            table.slot_of[:] = 0
            table.used[0] = 1
            return
        larger = np.empty((2 * len(table.vectors), N_LANES), np.int64)
        larger[: table.used[0]] = table.vectors[: table.used[0]]
        self.table = table._replace(vectors=larger)


def _stretches(bound: BoundPlan, sleeves: Sleeves) -> Iterator[_Stretch]:
    """The table of a history of one stretch goes on from one call to the next, unless it has grown large."""
    if bound.n <= STRETCH:
        table = sleeves.take_table() or _empty(sleeves, bound.n)
        stretch = _Stretch(0, bound.n, bound.runs, table, True)
        yield stretch
        if len(stretch.table.vectors) == len(table.vectors):
            sleeves.tables.append(stretch.table)
        return
    for first in range(0, bound.n, STRETCH):
        last = min(first + STRETCH, bound.n)
        runs = bound.runs[(bound.runs[:, 1] > first) & (bound.runs[:, 0] < last)].copy()
        runs[0, 0], runs[-1, 1] = first, last
        yield _Stretch(first, last, runs, _empty(sleeves, last - first), False)


def _empty(sleeves: Sleeves, n: int) -> Table:
    n_pairs = 4**sleeves.n_planes
    return Table(
        slot_of=np.zeros((n, n_pairs), np.int32),
        logs=np.empty((n, n_pairs), np.int64),
        vectors=np.empty((min(USUAL_PAIRS, n_pairs) * n + 1, N_LANES), np.int64),
        used=np.ones(1, np.int64),
    )
