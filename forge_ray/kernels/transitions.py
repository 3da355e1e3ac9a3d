"""The vectors of a group of branches, each computed when it is first needed.

On an interval a branch goes from one sleeve to another or stays; what that adds to its sums is the same for every
branch of the group. A *pair* is the sleeve before, shifted by the number of planes, plus the sleeve now.

Planes hold one bit per decision, those of 64 decisions to a word. Word 0 comes before the first decision: its last bit
tells the sleeve before. A purchase from nothing at the very first decision is the pair of its sleeve with itself.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from forge_ray.kernels.accounting import LOG, MARKET, N_LANES, NOTHING, PATH, Market, bar_vector, work_space
from forge_ray.kernels.bits import ONE
from forge_ray.kernels.compile import device, kernel


class Table(NamedTuple):
    """Vectors of n decisions from decision `first` on, as far as they are known.

    slot_of : (n, 4 ** n_planes) int32 row of `vectors` per pair, 0 where it is not known. logs : (n, 4 ** n_planes)
    their log lanes, kept where vectors are not. vectors : (n_slots, N_LANES); row 0 is not used. used : (1,) rows in
    use.
    """

    slot_of: Any
    logs: Any
    vectors: Any
    used: Any


TABLE = "out i4[:,:], out i8[:,:], out i8[:,:], out i8[:]"
SLEEVES = f"{MARKET}, in i8[:,:], in i8[:,:,:], in i8"
"""`Market`, rows : (n_sleeves, n) row of target weights in force per decision. paths : (n_sleeves, n, 2) hash of what
is followed. first : decision of the first bit of word 1 of the planes."""


@device
def sleeve_at(planes, b, u):
    """Sleeve of branch b at decision u of the planes, −1 for the one before."""
    sleeve, w, j = 0, (u + 64) >> 6, np.uint64((u + 64) & 63)
    for p in range(planes.shape[1]):
        sleeve |= np.int64((planes[b, p, w] >> j) & ONE) << p
    return sleeve


@device
def compute(market, rows, paths, first, table, u, pair, n_planes, was, held):
    """Row of the vector of a pair at decision `first + u`, which is not known yet. There must be room for it."""
    slot = table.used[0]
    table.used[0] += 1
    before, now = pair >> n_planes, pair & ((1 << n_planes) - 1)
    pair_vector(market, rows, paths, first + u, before, now, was, held, table.vectors[slot])
    table.slot_of[u, pair], table.logs[u, pair] = slot, table.vectors[slot, LOG]
    return slot


@device
def pair_vector(market, rows, paths, i, before, now, was, held, out):
    """Write the vector of decision i, on which a branch goes from sleeve `before` to sleeve `now`."""
    bar_vector(market, rows[before, i - 1] if i > 0 else NOTHING, rows[now, i], i, was, held, out)
    out[PATH], out[PATH + 1] = paths[now, i, 0], paths[now, i, 1]
    out[PATH + 2 :] = 0


@device
def add_vector(total, vector):
    for lane in range(N_LANES):
        total[lane] += vector[lane]


@device
def exchange(total, new, old):
    for lane in range(N_LANES):
        total[lane] += new[lane] - old[lane]


@kernel(f"{SLEEVES}, out i8[:,:]")
def follow(
    ratio, carries, cost, cash, cash_like, benchmark, scales, units, rebalance_of, starts, columns, weights, rows,
    paths, first, out,
):  # fmt: skip
    """Vectors of following the first sleeve without a switch. out : (n, N_LANES), written in full."""
    market = Market(
        ratio, carries, cost, cash, cash_like, benchmark, scales, units, rebalance_of, starts, columns, weights
    )  # fmt: skip
    was, held = work_space(starts), work_space(starts)
    for i in range(first, rows.shape[1]):
        pair_vector(market, rows, paths, i, 0, 0, was, held, out[i])
