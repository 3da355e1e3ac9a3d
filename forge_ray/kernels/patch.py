"""Simulation of a branch that is a known one but for some decisions."""

from __future__ import annotations

import numpy as np

from forge_ray.kernels.accounting import LOG, MARKET, N_LANES, NOTHING, PATH, Market, bar_vector, work_space
from forge_ray.kernels.compile import kernel
from forge_ray.kernels.simulate import fold_run
from forge_ray.kernels.transitions import exchange


@kernel(
    f"{MARKET}, in i8[:], in i8[:], in i8[:,:], in i8[:,:], in i8[:,:], in i8[:,:], in b1[:,:], out i8[:,:],"
    " out i8[:,:]"
)
def simulate_patch(
    ratio, carries, cost, cash, cash_like, benchmark, scales, units, rebalance_of, starts, columns, weights, rows,
    at, paths, vectors, base_sums, runs, class_in_segment, sums, segments,
):  # fmt: skip
    """`simulate` for one branch that is a base branch but for some decisions: their vectors are exchanged.

    ratio … weights : see `Market`. rows : (n,) row in force per decision. at : (m,) decisions whose vector may be
    another, ascending: those with another row, and those after one. paths : (m, 2) hash of what is followed there.
    vectors : (n, N_LANES) of the base branch. base_sums : (n_classes, N_LANES) of it.
    sums : (n_classes, N_LANES) and segments : (3, n_segments), see `simulate`, written in full.
    """
    market = Market(
        ratio, carries, cost, cash, cash_like, benchmark, scales, units, rebalance_of, starts, columns, weights
    )  # fmt: skip
    was, held, vector = work_space(starts), work_space(starts), np.zeros(N_LANES, np.int64)
    sums[:] = base_sums
    segments[:] = 0
    j = 0
    for run in range(runs.shape[0]):
        equity, peak, low, drawdown = 0, 0, 0, 0
        c = runs[run, 2]
        for i in range(runs[run, 0], runs[run, 1]):
            if j < at.shape[0] and at[j] == i:
                bar_vector(market, rows[i - 1] if i > 0 else NOTHING, rows[i], i, was, held, vector)
                vector[PATH], vector[PATH + 1] = paths[j, 0], paths[j, 1]
                exchange(sums[c], vector, vectors[i])
                equity += vector[LOG]
                j += 1
            else:
                equity += vectors[i, LOG]
            peak, low = max(peak, equity), min(low, equity)
            drawdown = max(drawdown, peak - equity)
        fold_run(class_in_segment[c], equity, peak, low, drawdown, segments)
