"""What is held, without what it earns: days in the market and changes of the held set of a branch, from its planes.

The set that is held over an interval depends on the sleeve alone: weights drift, but none of them to zero, and a ticker
whose data have ended is sold under every rule of trading. So both counts are those of the simulation.
"""

from __future__ import annotations

import numpy as np

from forge_ray.kernels.accounting import MARKET, Market, weights_after_trading, work_space
from forge_ray.kernels.bits import ALL, ONE
from forge_ray.kernels.compile import kernel
from forge_ray.kernels.vectors import bit_count


@kernel(f"{MARKET}, in i8[:,:], out u8[:,:,:]")
def held_sets(
    ratio, carries, cost, cash, cash_like, benchmark, scales, units, rebalance_of, starts, columns, weights, rows, out
):  # fmt: skip
    """The tickers that each sleeve holds over each interval.

    ratio … weights : see `Market`. rows : (n_sleeves, n) row of target weights in force per decision.
    out : (n_sleeves, n, ceil(n_tickers / 64)) a bit per ticker, 0 before.
    """
    market = Market(
        ratio, carries, cost, cash, cash_like, benchmark, scales, units, rebalance_of, starts, columns, weights
    )  # fmt: skip
    held = work_space(starts)
    for k in range(rows.shape[0]):
        for i in range(rows.shape[1]):
            row = rows[k, i]
            weights_after_trading(market, row, i, held)
            for j in range(starts[row], starts[row + 1]):
                if held[j - starts[row]] > 0.0:
                    out[k, i, columns[j] >> 6] |= ONE << np.uint64(columns[j] & 63)


@kernel("in u8[:,:,:], in u8[:,:], in u8[:,:,:], in u8[:], out i8[:,:]")
def count_holdings(planes, in_market, sets, searched, out):
    """Add the days in the market and the changes of the held set on some decisions to those of every branch.

    planes : (n_branches, n_planes, 1 + n_words) bits of the sleeve number. in_market : (n_sleeves, 1 + n_words) bits of
    the decisions on which each sleeve is in the market. sets : (n_sleeves, n_bits, 1 + n_words) bits of the number of
    the set that it holds; word 0 ends with the decision before the first, 0 if there is none. searched : (1 + n_words)
    decisions that count. out : (n_branches, 2).
    """
    n_words, n_bits = planes.shape[2], sets.shape[1]
    here, held = np.zeros(n_words, np.uint64), np.zeros(n_words, np.uint64)
    number = np.zeros((n_bits, n_words), np.uint64)
    for b in range(planes.shape[0]):
        held[:] = 0
        number[:] = 0
        for k in range(in_market.shape[0]):
            here[:] = ALL
            for p in range(planes.shape[1]):
                other = np.uint64(0) if k >> p & 1 else ALL
                for w in range(n_words):
                    here[w] &= planes[b, p, w] ^ other
            for w in range(n_words):
                held[w] |= here[w] & in_market[k, w]
            for m in range(n_bits):
                for w in range(n_words):
                    number[m, w] |= here[w] & sets[k, m, w]
        for w in range(1, n_words):
            changed = np.uint64(0)
            for m in range(n_bits):
                changed |= number[m, w] ^ (number[m, w] << ONE | number[m, w - 1] >> np.uint64(63))
            out[b, 0] += bit_count(held[w] & searched[w])
            out[b, 1] += bit_count(changed & searched[w])
