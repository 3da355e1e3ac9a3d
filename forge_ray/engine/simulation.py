"""Branches of a group → sums per class and drawdowns per segment, by the kernel of the bound plan.

1. Decisions are taken in stretches of `STRETCH`, so that what is held per pair of sleeves is bounded however long the
   history is; sums and the state of segments go on from one to the next.
2. `scalar` does one branch after the other. `lanes` first adds the sums of all of them; of a history of one stretch the
   position paths are then known, and branches with equal ones are scanned for drawdowns once.
3. Rules that trade by what is held do all decisions of a branch at once; branches with equal planes are done once.
4. Where branches can stop early, `lanes` does shorter stretches, and each without the branches that have stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
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

STRETCH, SHORT_STRETCH = 1 << 14, 1 << 10
MAX_VECTOR_BYTES = 128 * 2**20


class Sums(NamedTuple):
    """Of n branches, m of them distinct. sums : (m, n_classes, N_LANES). drawdowns : (m, n_segments). of : (n,) which
    of the m each branch has. stops : (m, 3) as the kernels write them, None where there are no limits."""

    sums: np.ndarray
    drawdowns: np.ndarray
    of: np.ndarray
    stops: np.ndarray | None = None


def simulated(bound: BoundPlan, sleeves: Sleeves, planes: Planes) -> Sums:
    """Simulate branches; by lanes it is the faster, the more neighbours have in common."""
    match bound.kernel:
        case Kernel.PATH:
            return sums_by_path(bound, sleeves, planes.within(0, bound.n))
        case Kernel.LANES:
            return _by_lanes(bound, sleeves, planes)
    return _by_scalar(bound, sleeves, planes)


def _by_scalar(bound: BoundPlan, sleeves: Sleeves, planes: Planes) -> Sums:
    sums, segments, stops = _zeros(bound, len(planes))
    for stretch in _stretches(bound, sleeves):
        within, given = planes.within(stretch.first, stretch.last), sleeves.at(stretch.first)
        given = (*given, within, stretch.runs, bound.class_in_segment, bound.pruning.searched)
        stretch.complete(len(planes), lambda *table, g=given: scalar.simulate(*g, *table, sums, segments, stops))
    return Sums(sums, segments[:, scalar.DRAWDOWN], np.arange(len(planes)), stops)


def _by_lanes(bound: BoundPlan, sleeves: Sleeves, planes: Planes) -> Sums:
    if bound.pruning.has_checks:
        return _by_lanes_until_stopped(bound, sleeves, planes)
    sums, segments, stops = _zeros(bound, len(planes))
    which = same_as = np.arange(len(planes))
    differences = np.zeros_like(sums)
    for stretch in _stretches(bound, sleeves):
        within = planes.within(stretch.first, stretch.last)
        _add_differences(bound, sleeves, stretch, within, differences)
        if stretch.is_all:
            np.cumsum(differences, axis=0, out=sums)
            which, same_as = distinct_rows(paths_of(sums))
        _scan_drawdowns(bound, sleeves, stretch, within, which, segments, stops)
    if bound.n > STRETCH:
        np.cumsum(differences, axis=0, out=sums)
    return Sums(sums[which], segments[: len(which), scalar.DRAWDOWN], same_as)


def _by_lanes_until_stopped(bound: BoundPlan, sleeves: Sleeves, planes: Planes) -> Sums:
    """By short stretches, each for the branches that are left."""
    n = len(planes)
    sums, segments, stops = _zeros(bound, n)
    left = np.arange(n)
    for stretch in _stretches(bound, sleeves, SHORT_STRETCH):
        if stretch.first == stretch.begin:
            planes = planes.kept(stretch.begin, stretch.begin + len(stretch.table.logs))
        within = planes.within(stretch.first, stretch.last)
        differences = np.zeros((len(left), *sums.shape[1:]), np.int64)
        _add_differences(bound, sleeves, stretch, within, differences)
        states, ends = segments[left], stops[left]
        _scan_drawdowns(bound, sleeves, stretch, within, np.arange(len(left)), states, ends)
        sums[left] += np.cumsum(differences, axis=0)
        segments[left], stops[left] = states, ends
        goes_on = np.flatnonzero(ends[:, 0] == 0)
        left, planes = left[goes_on], planes.of(goes_on)
    return Sums(sums, segments[:, scalar.DRAWDOWN], np.arange(n), stops)


def _add_differences(
    bound: BoundPlan, sleeves: Sleeves, stretch: _Stretch, within: np.ndarray, differences: np.ndarray
) -> None:
    """`lanes.add_differences` on a stretch."""
    n_tiles = -(-(within.shape[2] - 1) // lanes.TILE)
    given = (*sleeves.at(stretch.first), within, bound.class_of[stretch.first : stretch.last])
    stretch.complete(n_tiles, lambda *table: lanes.add_differences(*given, *table, differences))


def _scan_drawdowns(
    bound: BoundPlan, sleeves: Sleeves, stretch: _Stretch, within: np.ndarray, which: np.ndarray,
    segments: np.ndarray, stops: np.ndarray,
) -> None:  # fmt: skip
    """`lanes.scan_drawdowns` on a stretch."""
    lanes.scan_drawdowns(
        within, which, sleeves.quiet(stretch.first, stretch.last), stretch.first, stretch.runs,
        bound.class_in_segment, bound.pruning.searched, stretch.known.logs, segments, stops,
    )  # fmt: skip


def sums_by_path(bound: BoundPlan, sleeves: Sleeves, within: np.ndarray) -> Sums:
    """Under a rule that trades by what is held. within : the planes of all decisions; see `Planes.within`."""
    distinct, same_as = distinct_rows(within.reshape(len(within), -1))
    sums, segments, stops = _zeros(bound, len(distinct))
    given = (within[distinct], bound.pruning.runs, bound.class_in_segment)
    simulate_paths(bound, sleeves, *given, sums, segments, stops)
    return Sums(sums, segments[:, scalar.DRAWDOWN], same_as, stops)


def simulate_paths(
    bound: BoundPlan, sleeves: Sleeves, planes: np.ndarray, runs: np.ndarray, class_in_segment: np.ndarray,
    sums: np.ndarray, segments: np.ndarray, stops: np.ndarray,
) -> None:  # fmt: skip
    """`path_dependent.simulate_path` for the rule of a bound plan."""
    execution = bound.plan.execution
    threshold = execution.threshold / 100 if execution.rebalance == "threshold" else -1.0
    path_dependent.simulate_path(
        *sleeves.at(0), planes, threshold, runs, class_in_segment, bound.pruning.searched, sums, segments, stops
    )


def _zeros(bound: BoundPlan, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums, segments and stops as `kernels.simulate.simulate` writes them."""
    n_classes, n_segments = bound.class_in_segment.shape
    zeros = (np.zeros((n, *shape), np.int64) for shape in ((n_classes, N_LANES), (3, n_segments), (3,)))
    sums, segments, stops = zeros
    return sums, segments, stops


@dataclass
class _Stretch:
    """Decisions [first, last) and their vectors. runs : (n_runs, 5) those of the decisions. table : of decisions from
    `begin` on. is_all : whether the history is one stretch."""

    first: int
    last: int
    runs: np.ndarray
    table: Table
    begin: int
    is_all: bool

    @property
    def known(self) -> Table:
        """The table of these decisions."""
        own = slice(self.first - self.begin, self.last - self.begin)
        return self.table._replace(slot_of=self.table.slot_of[own], logs=self.table.logs[own])

    def complete(self, end: int, kernel: Callable[..., int]) -> None:
        """Call a kernel with where to begin and the table; make room where it stops, until it comes to its end."""
        begin = 0
        while (begin := kernel(begin, *self.known)) < end:
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


def _stretches(bound: BoundPlan, sleeves: Sleeves, length: int = STRETCH) -> Iterator[_Stretch]:
    """A table is of up to `STRETCH` decisions. That of a history of no more goes on from one call to the next, unless
    it has grown large."""
    for begin in range(0, bound.n, STRETCH):
        end = min(begin + STRETCH, bound.n)
        given = table = (bound.n <= STRETCH and sleeves.take_table()) or _empty(sleeves, end - begin)
        for first in range(begin, end, length):
            last = min(first + length, end)
            stretch = _Stretch(first, last, _runs_within(bound, first, last), table, begin, last - first == bound.n)
            yield stretch
            table = stretch.table
        if bound.n <= STRETCH and len(table.vectors) == len(given.vectors):
            sleeves.tables.append(table)


def _runs_within(bound: BoundPlan, first: int, last: int) -> np.ndarray:
    """Those with limits end at a multiple of 64, as stretches do, so that none of them is cut."""
    runs = bound.pruning.runs
    runs = runs[(runs[:, 1] > first) & (runs[:, 0] < last)].copy()
    runs[0, 0], runs[-1, 1] = first, last
    return runs


def _empty(sleeves: Sleeves, n: int) -> Table:
    n_pairs = 4**sleeves.n_planes
    return Table(
        slot_of=np.zeros((n, n_pairs), np.int32),
        logs=np.empty((n, n_pairs), np.int64),
        vectors=np.empty((min(USUAL_PAIRS, n_pairs) * n + 1, N_LANES), np.int64),
        used=np.ones(1, np.int64),
    )
