"""Simulation under rules that trade by what is held: drifted weights are carried along every branch.

Nothing can be shared between branches here: what a bar adds depends on all trades before it.
"""

from __future__ import annotations

import numpy as np

from forge_ray.kernels.accounting import LOG, N_LANES, NOTHING, PATH, Market, aim, drift, interval_vector, work_space
from forge_ray.kernels.compile import device, kernel
from forge_ray.kernels.simulate import fold_run, judge
from forge_ray.kernels.transitions import SLEEVES, add_vector, sleeve_at

SAME_TARGET = 1e-12


@kernel(f"{SLEEVES}, in u8[:,:,:], in f8, in i8[:,:], in b1[:,:], in i8, out i8[:,:,:], out i8[:,:,:], out i8[:,:]")
def simulate_path(
    ratio, carries, cost, cash, cash_like, benchmark, scales, units, rebalance_of, starts, columns, weights, rows,
    paths, first, planes, threshold, runs, class_in_segment, searched, sums, segments, stops,
):  # fmt: skip
    """`simulate` bar by bar from the drifted weights; all decisions at once.

    threshold : trade everything to target when a weight is further than this from its target, or when the set of held
    tickers changes; below 0: when the target differs from that of the last trade by more than `SAME_TARGET`.
    """
    market = Market(
        ratio, carries, cost, cash, cash_like, benchmark, scales, units, rebalance_of, starts, columns, weights
    )  # fmt: skip
    vector = np.zeros(N_LANES, np.int64)
    was, held = work_space(starts), work_space(starts)
    target, aimed = work_space(starts), work_space(starts)
    for b in range(planes.shape[0]):
        row = NOTHING
        for run in range(runs.shape[0]):
            if stops[b, 0] > 0:
                break
            equity, peak, low, drawdown = 0, 0, 0, 0
            c = runs[run, 2]
            for i in range(runs[run, 0], runs[run, 1]):
                sleeve = sleeve_at(planes, b, i - first)
                before, now = row, rows[sleeve, i]
                if before != NOTHING:
                    was[:] = held
                    drift(market, before, i - 1, was)
                aim(market, now, i, target)
                reference, limit = (aimed, SAME_TARGET) if threshold < 0.0 else (was, threshold)
                if before == NOTHING or must_trade(market, before, was, reference, now, i, target, limit):
                    row = now
                    held[:] = target
                    aimed[:] = target
                else:
                    held[:] = was
                interval_vector(market, before, was, row, i, held, vector)
                vector[PATH], vector[PATH + 1] = paths[sleeve, i, 0], paths[sleeve, i, 1]
                add_vector(sums[b, c], vector)
                equity += vector[LOG]
                peak, low = max(peak, equity), min(low, equity)
                drawdown = max(drawdown, peak - equity)
            fold_run(class_in_segment[c], equity, peak, low, drawdown, segments[b])
            judge(runs, run, segments, b, searched, stops)


@device
def must_trade(market, before, was, reference, now, i, target, limit):
    """Whether the rule trades at fill i: the tickers change, or a weight is further than `limit` from `reference`.

    A held ticker whose data have ended always makes it trade. reference : weights of row `before` to compare with.
    """
    a, a_end, z, z_end = market.starts[before], market.starts[before + 1], market.starts[now], market.starts[now + 1]
    a_first, z_first = a, z
    for j in range(a, a_end):
        if was[j - a_first] > 0.0 and np.isnan(market.ratio[market.columns[j], i]):
            return True
    while a < a_end or z < z_end:
        if a < a_end and reference[a - a_first] == 0.0:
            a += 1
        elif z < z_end and target[z - z_first] == 0.0:
            z += 1
        elif (
            a == a_end
            or z == z_end
            or market.columns[a] != market.columns[z]
            or abs(target[z - z_first] - reference[a - a_first]) > limit
        ):
            return True
        else:
            a += 1
            z += 1
    return False
