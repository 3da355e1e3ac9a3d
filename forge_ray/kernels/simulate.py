"""The scalar simulation kernel (S): one branch after the other, decision by decision. The other kernels must equal it.

1. Per decision look up the vector of the pair of sleeves, the one before and the one now (`transitions.py`).
2. Add it to the sums of the decision's class; scan the log equity of the run for its high, its low and its drawdown.
3. Fold every run into the segments that it belongs to.
"""

from __future__ import annotations

import numpy as np

from forge_ray.kernels import vectors as v
from forge_ray.kernels.accounting import LOG, N_LANES, Market, work_space
from forge_ray.kernels.bits import ONE
from forge_ray.kernels.compile import device, kernel
from forge_ray.kernels.transitions import SLEEVES, TABLE, Table, compute

LEVEL, HIGH, DRAWDOWN = range(3)
NO_LIMIT = 1 << 62
"""No drawdown is above it, no level below its negative."""


@kernel(
    f"{SLEEVES}, in u8[:,:,:], in i8[:,:], in b1[:,:], in i8, in i8, {TABLE}, out i8[:,:,:], out i8[:,:,:], out i8[:,:]"
)
def simulate(
    ratio, carries, cost, cash, cash_like, benchmark, scales, units, rebalance_of, starts, columns, weights, rows,
    paths, first, planes, runs, class_in_segment, searched, begin, slot_of, logs, vectors, used, sums, segments, stops,
):  # fmt: skip
    """Add some decisions of every branch to its sums per class and its state per segment.

    ratio … weights : see `Market`. rows … first : see `SLEEVES`.
    planes : (n_branches, n_planes, 1 + n_words) bits of the sleeve number. runs : (n_runs, 5) first decision, last + 1,
    class; those of the planes, ascending, without a gap; then the largest drawdown and the lowest level at its end, of
    segment `searched`, with which a branch goes on. class_in_segment : (n_classes, n_segments).
    begin : branch to begin with. slot_of … used : see `Table`.
    sums : (n_branches, n_classes, N_LANES). segments : (n_branches, 3, n_segments) level, high and drawdown of the log
    equity so far. stops : (n_branches, 3) last decision + 1, drawdown and level at the first run whose limits a branch
    breaks, 0 until then. It is left there; its sums mean nothing.
    Returns the branch that there is no room for in `vectors`, n_branches if all are done.
    """
    market = Market(
        ratio, carries, cost, cash, cash_like, benchmark, scales, units, rebalance_of, starts, columns, weights
    )  # fmt: skip
    table = Table(slot_of, logs, vectors, used)
    was, held = work_space(starts), work_space(starts)
    n_planes, n = planes.shape[1], runs[-1, 1] - first
    pairs, nothing = np.zeros(n, np.int64), np.zeros(N_LANES, np.int64)
    for b in range(begin, planes.shape[0]):
        if used[0] + n > vectors.shape[0]:
            return b
        decode_pairs(planes, b, pairs)
        for run in range(runs.shape[0]):
            if stops[b, 0] > 0:
                break
            c = runs[run, 2]
            equity, peak, low, drawdown = 0, 0, 0, 0
            wide, rest = v.load16(nothing, 0), v.load8(nothing, 0)
            for i in range(runs[run, 0], runs[run, 1]):
                u = i - first
                slot = int(slot_of[u, pairs[u]])
                if slot == 0:
                    slot = compute(market, rows, paths, first, table, u, pairs[u], n_planes, was, held)
                wide = v.add(wide, v.load16(vectors, slot * N_LANES))
                rest = v.add(rest, v.load8(vectors, slot * N_LANES + 16))
                equity += vectors[slot, LOG]
                peak, low = max(peak, equity), min(low, equity)
                drawdown = max(drawdown, peak - equity)
            at = (b * sums.shape[1] + c) * N_LANES
            v.store(sums, at, v.add(v.load16(sums, at), wide))
            v.store(sums, at + 16, v.add(v.load8(sums, at + 16), rest))
            fold_run(class_in_segment[c], equity, peak, low, drawdown, segments[b])
            judge(runs, run, segments, b, searched, stops)
    return planes.shape[0]


@device
def decode_pairs(planes, b, pairs):
    """Pair of branch b at every decision of the planes. Word by word, so that the inner loop only shifts."""
    n_planes = planes.shape[1]
    pairs[:] = 0
    for p in range(n_planes):
        for w in range(1, planes.shape[2]):
            word, start = planes[b, p, w], (w - 1) << 6
            before = word << ONE | planes[b, p, w - 1] >> np.uint64(63)
            for j in range(min(64, pairs.shape[0] - start)):
                now, was = (word >> np.uint64(j)) & ONE, (before >> np.uint64(j)) & ONE
                pairs[start + j] |= np.int64(now) << p | np.int64(was) << (n_planes + p)


@device
def fold_run(in_segment, equity, peak, low, drawdown, segments):
    """Append a run (sum, high, low, drawdown of its log equity) to every segment that it belongs to."""
    for s in range(in_segment.shape[0]):
        if in_segment[s]:
            level, high = segments[LEVEL, s], segments[HIGH, s]
            segments[DRAWDOWN, s] = max(segments[DRAWDOWN, s], drawdown, high - (level + low))
            segments[HIGH, s] = max(high, level + peak)
            segments[LEVEL, s] = level + equity


@device
def judge(runs, run, segments, b, searched, stops):
    """Write down a branch that breaks the limits of a run at its end."""
    level, drawdown = segments[b, LEVEL, searched], segments[b, DRAWDOWN, searched]
    if drawdown > runs[run, 3] or level < runs[run, 4]:
        stops[b, 0], stops[b, 1], stops[b, 2] = runs[run, 1], drawdown, level
