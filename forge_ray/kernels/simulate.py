"""The scalar simulation kernel (S): one branch after the other, decision by decision. The other kernels must equal it.

1. Per decision look up the vector of the pair of sleeves, the one before and the one now (`transitions.py`).
2. Add it to the sums of the decision's class; scan the log equity of the run for its high, its low and its drawdown.
3. Fold every run into the segments that it belongs to.
"""

from __future__ import annotations

from forge_ray.kernels.accounting import LOG, Market, work_space
from forge_ray.kernels.compile import device, kernel
from forge_ray.kernels.transitions import SLEEVES, TABLE, Table, add_vector, compute, sleeve_at

LEVEL, HIGH, DRAWDOWN = range(3)


@kernel(f"{SLEEVES}, in u8[:,:,:], in i8[:,:], in b1[:,:], in i8, {TABLE}, out i8[:,:,:], out i8[:,:,:]")
def simulate(
    ratio, carries, cost, cash, cash_like, benchmark, scales, units, rebalance_of, starts, columns, weights, rows,
    paths, first, planes, runs, class_in_segment, begin, slot_of, logs, vectors, used, sums, segments,
):  # fmt: skip
    """Add some decisions of every branch to its sums per class and its state per segment.

    ratio … weights : see `Market`. rows … first : see `SLEEVES`.
    planes : (n_branches, n_planes, 1 + n_words) bits of the sleeve number. runs : (n_runs, 3) first decision, last + 1,
    class; those of the planes, ascending, without a gap. class_in_segment : (n_classes, n_segments).
    begin : branch to begin with. slot_of … used : see `Table`.
    sums : (n_branches, n_classes, N_LANES). segments : (n_branches, 3, n_segments) level, high and drawdown of the log
    equity so far. Returns the branch that there is no room for in `vectors`, n_branches if all are done.
    """
    market = Market(
        ratio, carries, cost, cash, cash_like, benchmark, scales, units, rebalance_of, starts, columns, weights
    )  # fmt: skip
    table = Table(slot_of, logs, vectors, used)
    was, held = work_space(starts), work_space(starts)
    n_planes, n = planes.shape[1], runs[-1, 1] - first
    for b in range(begin, planes.shape[0]):
        if used[0] + n > vectors.shape[0]:
            return b
        before = sleeve_at(planes, b, -1)
        for run in range(runs.shape[0]):
            c = runs[run, 2]
            equity, peak, low, drawdown = 0, 0, 0, 0
            for i in range(runs[run, 0], runs[run, 1]):
                u = i - first
                now = sleeve_at(planes, b, u)
                pair = before << n_planes | now
                slot = int(slot_of[u, pair])
                if slot == 0:
                    slot = compute(market, rows, paths, first, table, u, pair, n_planes, was, held)
                before = now
                add_vector(sums[b, c], vectors[slot])
                equity += vectors[slot, LOG]
                peak, low = max(peak, equity), min(low, equity)
                drawdown = max(drawdown, peak - equity)
            fold_run(class_in_segment[c], equity, peak, low, drawdown, segments[b])
    return planes.shape[0]


@device
def fold_run(in_segment, equity, peak, low, drawdown, segments):
    """Append a run (sum, high, low, drawdown of its log equity) to every segment that it belongs to."""
    for s in range(in_segment.shape[0]):
        if in_segment[s]:
            level, high = segments[LEVEL, s], segments[HIGH, s]
            segments[DRAWDOWN, s] = max(segments[DRAWDOWN, s], drawdown, high - (level + low))
            segments[HIGH, s] = max(high, level + peak)
            segments[LEVEL, s] = level + equity
