"""Branches of a group → sums per class and drawdowns per segment, by the kernel of the bound plan.

1. Decisions are taken in stretches of `STRETCH`, so that what is held per pair of sleeves is bounded however long the
   history is; sums and the state of segments go on from one to the next.
2. `scalar` does one branch after the other. `lanes` first adds the sums of all of them; of a history of one stretch the
   position paths are then known, and branches with equal ones are scanned for drawdowns once.
3. Rules that trade by what is held do all decisions of a branch at once; branches with equal planes are done once.
4. Where branches can stop early, `lanes` does shorter stretches, and each without the branches that have stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from forge_ray.engine.bind import BoundPlan, Kernel
from forge_ray.engine.distinct import distinct_rows
from forge_ray.engine.outcomes import paths_of
from forge_ray.engine.planes import Planes
from forge_ray.engine.sleeves import USUAL_PAIRS, Sleeves
from forge_ray.kernels import bits, exchanges, lanes, path_dependent
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
    for first, last in _spans(bound.n, STRETCH):
        is_all = last - first == bound.n
        given = table = (is_all and sleeves.take_table()) or _empty(sleeves, last - first)
        done, of_planes = 0, (planes.within(first, last), _runs_within(bound, first, last))
        of_plan = (bound.class_in_segment, bound.pruning.searched)
        while (
            done := scalar.simulate(*sleeves.at(first), *of_planes, *of_plan, done, *table, sums, segments, stops)
        ) < len(planes):
            table = _with_room(table)
        if is_all and len(table.vectors) == len(given.vectors):
            sleeves.tables.append(table)
    return Sums(sums, segments[:, scalar.DRAWDOWN], np.arange(len(planes)), stops)


def _by_lanes(bound: BoundPlan, sleeves: Sleeves, planes: Planes) -> Sums:
    if bound.pruning.has_checks:
        return _by_lanes_until_stopped(bound, sleeves, planes)
    sums, segments, stops = _zeros(bound, len(planes))
    which = same_as = np.arange(len(planes))
    for first, last in _spans(bound.n, STRETCH):
        within = planes.within(first, last)
        added, logs = _exchanged(bound, sleeves, planes, within, first, last)
        sums += added
        if last - first == bound.n:
            which, same_as = distinct_rows(paths_of(sums))
        _scan_drawdowns(bound, sleeves, within, which, first, last, logs, segments, stops)
    return Sums(sums[which], segments[: len(which), scalar.DRAWDOWN], same_as)


def _by_lanes_until_stopped(bound: BoundPlan, sleeves: Sleeves, planes: Planes) -> Sums:
    """By short stretches, each for the branches that are left."""
    n = len(planes)
    sums, segments, stops = _zeros(bound, n)
    left = np.arange(n)
    for first, last in _spans(bound.n, SHORT_STRETCH):
        if first % STRETCH == 0:
            planes = planes.kept(first, min(first + STRETCH, bound.n))
        within = planes.within(first, last)
        added, logs = _exchanged(bound, sleeves, planes, within, first, last)
        sums[left] += added
        states, ends = segments[left], stops[left]
        _scan_drawdowns(bound, sleeves, within, np.arange(len(left)), first, last, logs, states, ends)
        segments[left], stops[left] = states, ends
        goes_on = np.flatnonzero(ends[:, 0] == 0)
        left, planes = left[goes_on], planes.of(goes_on)
        if not len(left):
            break
    return Sums(sums, segments[:, scalar.DRAWDOWN], np.arange(n), stops)


def _exchanged(
    bound: BoundPlan, sleeves: Sleeves, planes: Planes, within: np.ndarray, first: int, last: int
) -> tuple[np.ndarray, np.ndarray]:
    """(n_branches, n_classes, N_LANES) sums of decisions [first, last), and (n_pairs, 64 · n_words) logs there of those
    pairs that occur. within : the planes there."""
    references, n_tiles = _references(planes.places), -(-(within.shape[2] - 1) // exchanges.TILE)
    found, tiles = np.empty((len(planes), n_tiles * exchanges.TILE), np.uint64), np.empty(len(planes), np.int64)
    exchanges.find_exchanges(within, references, found, tiles)
    logs = np.empty((4**sleeves.n_planes, bits.n_words(last - first) * 64), np.int64)
    sums = np.zeros((len(planes), len(bound.class_in_segment), N_LANES), np.int64)
    is_of_class = bound.class_of[first:last] == np.arange(sums.shape[1])[:, None]
    class_bits = bits.pack_decisions(is_of_class, 0, last - first)
    exchanges.add_exchanges(*sleeves.at(first), within, references, found, tiles, class_bits, logs, sums)
    return sums, logs


def _references(places: np.ndarray) -> np.ndarray:
    """(n, 3) candidates of `exchanges.find_exchanges`: the branch before, the one at the same place of the line before,
    and there the one at the place of the branch before."""
    line, place = places.T
    n, width = len(places), place.max() + 1
    before, codes = np.maximum(np.arange(n) - 1, 0), line * width + place
    order = np.argsort(codes, kind="stable")

    def at(wanted: np.ndarray) -> np.ndarray:
        """The branch with a code, n where there is none."""
        found = order[np.minimum(np.searchsorted(codes, wanted, sorter=order), n - 1)]
        return np.where(codes[found] == wanted, found, n)

    across, corner = at(codes - width), at((line - 1) * width + place[before])
    is_there = (line[before] == line) & (across < n) & (corner < n)
    return np.stack([before, np.where(is_there, across, before), np.where(is_there, corner, before)], axis=1)


def _scan_drawdowns(
    bound: BoundPlan, sleeves: Sleeves, within: np.ndarray, which: np.ndarray, first: int, last: int, logs: np.ndarray,
    segments: np.ndarray, stops: np.ndarray,
) -> None:  # fmt: skip
    """`lanes.scan_drawdowns` on decisions [first, last)."""
    lanes.scan_drawdowns(
        within, which, sleeves.quiet(first, last), first, _runs_within(bound, first, last), bound.class_in_segment,
        bound.pruning.searched, logs, segments, stops,
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


def _spans(n: int, length: int) -> Iterator[tuple[int, int]]:
    """Decisions [first, last) of n, some at a time."""
    return ((first, min(first + length, n)) for first in range(0, n, length))


def _runs_within(bound: BoundPlan, first: int, last: int) -> np.ndarray:
    """Those with limits end at a multiple of 64, as stretches do, so that none of them is cut."""
    runs = bound.pruning.runs
    runs = runs[(runs[:, 1] > first) & (runs[:, 0] < last)].copy()
    runs[0, 0], runs[-1, 1] = first, last
    return runs


def _with_room(table: Table) -> Table:
    """Twice as many vectors; at the limit all are forgotten, but not their logs."""
    if 2 * table.vectors.nbytes > MAX_VECTOR_BYTES and table.used[0] > 1:
        table.slot_of[:] = 0
        table.used[0] = 1
        return table
    larger = np.empty((2 * len(table.vectors), N_LANES), np.int64)
    larger[: table.used[0]] = table.vectors[: table.used[0]]
    return table._replace(vectors=larger)


def _empty(sleeves: Sleeves, n: int) -> Table:
    n_pairs = 4**sleeves.n_planes
    return Table(
        slot_of=np.zeros((n, n_pairs), np.int32),
        logs=np.empty((n, n_pairs), np.int64),
        vectors=np.empty((min(USUAL_PAIRS, n_pairs) * n + 1, N_LANES), np.int64),
        used=np.ones(1, np.int64),
    )
