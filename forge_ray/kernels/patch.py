"""The simulation of branches near a known one (D): the sums of that one, and patches.

1. A branch holds another row at some decisions. It takes the vectors of the known branch but at these and at the
   decisions after them, where what is held before is another; there they are exchanged.
2. Drawdowns are folds over *pieces*, stretches of at most `PIECE` decisions of one run. A piece without an exchanged
   vector is (sum, high, low, drawdown) of the known branch; only the others are scanned.
"""

from __future__ import annotations

import numpy as np

from forge_ray.kernels.accounting import LOG, MARKET, N_LANES, NOTHING, PATH, Market, bar_vector, work_space
from forge_ray.kernels.compile import kernel
from forge_ray.kernels.simulate import fold_run
from forge_ray.kernels.transitions import exchange

PIECE = 64


def pieces_of(runs: np.ndarray) -> np.ndarray:
    """(n_pieces, 3) first decision, last + 1, class, of runs (n_runs, 3)."""
    return np.array(
        [(lo, min(lo + PIECE, last), c) for first, last, c in runs for lo in range(first, last, PIECE)], np.int64
    ).reshape(-1, 3)


@kernel("in i8[:,:], in i8[:,:], out i8[:,:]")
def summarize(vectors, pieces, out):
    """What a fold needs of each piece: (n_pieces, 4) sum, high, low and drawdown of the log equity.

    vectors : (n, N_LANES) of the known branch.
    """
    for p in range(len(pieces)):
        equity, high, low, drawdown = 0, 0, 0, 0
        for i in range(pieces[p, 0], pieces[p, 1]):
            equity += vectors[i, LOG]
            high, low = max(high, equity), min(low, equity)
            drawdown = max(drawdown, high - equity)
        out[p, 0], out[p, 1], out[p, 2], out[p, 3] = equity, high, low, drawdown


@kernel(
    f"{MARKET}, in i8[:], in i8[:], in i8[:], in i8[:], in i8[:,:], in i8[:,:], in i8[:,:], in i8[:,:], in i8[:,:],"
    " in b1[:,:], out i8[:,:,:], out i8[:,:,:]"
)
def simulate_patches(
    ratio, carries, cost, cash, cash_like, benchmark, scales, units, rebalance_of, starts, columns, weights, rows,
    first, decisions, patch_rows, paths, vectors, base_sums, pieces, summaries, class_in_segment, sums, segments,
):  # fmt: skip
    """Sums per class and drawdown per segment for every branch.

    ratio … weights : see `kernels.accounting.Market`. rows : (n,) row in force per decision of the known branch.
    first : (n_branches + 1,) where a branch's patches start in decisions, ascending within it, patch_rows : (m,) row in
    force there, and paths : (m, 2) hash of what is followed there. vectors : (n, N_LANES), base_sums : (n_classes,
    N_LANES) and summaries : (n_pieces, 4) of the known branch.
    sums : (n_branches, n_classes, N_LANES) and segments : (n_branches, 3, n_segments), see `simulate`, written in full.
    """
    market = Market(
        ratio, carries, cost, cash, cash_like, benchmark, scales, units, rebalance_of, starts, columns, weights
    )  # fmt: skip
    was, held, vector = work_space(starts), work_space(starts), np.zeros(N_LANES, np.int64)
    for b in range(len(first) - 1):
        sums[b] = base_sums
        segments[b] = 0
        j, end = first[b], first[b + 1]
        after, before = NOTHING, NOTHING  # the decision after the last patch, and the row of that patch
        for p in range(len(pieces)):
            lo, hi, c = pieces[p, 0], pieces[p, 1], pieces[p, 2]
            if after < lo and (j == end or decisions[j] >= hi):
                fold_run(
                    class_in_segment[c], summaries[p, 0], summaries[p, 1], summaries[p, 2], summaries[p, 3],
                    segments[b],
                )  # fmt: skip
                continue
            equity, high, low, drawdown = 0, 0, 0, 0
            for i in range(lo, hi):
                is_patch = j < end and decisions[j] == i
                if is_patch or i == after:
                    now = patch_rows[j] if is_patch else rows[i]
                    last = before if i == after else rows[i - 1] if i > 0 else NOTHING
                    bar_vector(market, last, now, i, was, held, vector)
                    for lane in range(2):
                        vector[PATH + lane] = paths[j, lane] if is_patch else vectors[i, PATH + lane]
                    exchange(sums[b, c], vector, vectors[i])
                    equity += vector[LOG]
                    if is_patch:
                        before, after = now, i + 1
                        j += 1
                else:
                    equity += vectors[i, LOG]
                high, low = max(high, equity), min(low, equity)
                drawdown = max(drawdown, high - equity)
            fold_run(class_in_segment[c], equity, high, low, drawdown, segments[b])
