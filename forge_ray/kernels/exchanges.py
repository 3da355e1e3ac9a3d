"""Sums of the branches of a group, each from those of branches that hold nearly the same: half of the lane kernels (B).

1. `find_exchanges`: the sums of a branch are told by those of the branch beside it: they differ by the vectors of the
   decisions on which the two hold, or come from, different sleeves. On a grid of two axes three branches tell more: of
   what one step along an axis changes, most is the same one step further on the other.
2. `add_exchanges`: what is not told is added and subtracted, vector by vector.

They equal those of the scalar kernel in every bit, because all sums are integers.
"""

from __future__ import annotations

import numpy as np

from forge_ray.kernels import vectors as v
from forge_ray.kernels.accounting import N_LANES, Market, work_space
from forge_ray.kernels.bits import ALL, NONE, ONE
from forge_ray.kernels.compile import device, kernel
from forge_ray.kernels.transitions import SLEEVES, Table, compute

TILE = 8
"""Words of decisions whose vectors are in use at a time."""
ROOM = TILE * 64 + 8
"""For something per decision of a tile, written eight at a time."""


@kernel("in u8[:,:,:], out i8[:,:], out u8[:,:], out i8[:]")
def find_exchanges(planes, references, exchanges, tiles):
    """Decide which branches each branch is told by, and on which decisions its vectors are to be exchanged.

    references : (n_branches, 3) a branch nearby, one nearby in another direction and the one that is nearby to both,
    all before it. The last two become the first where more vectors cancel out by the first alone, or are the same from
    the beginning. exchanges : (n_branches, n_tiles · TILE) bits of the decisions on which v(b) − v(first) − v(second) +
    v(third) does not cancel out, of branch 0 all; written up to the last tile of the planes. tiles : (n_branches,) bits
    of the tiles with any of them.
    """
    n_tiles = exchanges.shape[1] // TILE
    alone = np.zeros(exchanges.shape[1], np.uint64)
    exchanges[0], tiles[0] = ALL, -1
    for b in range(1, planes.shape[0]):
        beside, across, corner = references[b, 0], references[b, 1], references[b, 2]
        is_alone, n_alone, n_both = across == corner, 0, 0
        for tile in range(n_tiles):
            w = tile * TILE
            found = changes(planes, b, beside, w + 1)
            v.store(alone, w, found)
            if not is_alone:
                n_alone += v.total(v.bit_counts(found))
                along = v.either(found, changes(planes, across, corner, w + 1))
                found = v.both(
                    along, v.either(changes(planes, b, across, w + 1), changes(planes, beside, corner, w + 1))
                )
                n_both += v.total(v.bit_counts(found))
            v.store(exchanges, b * exchanges.shape[1] + w, found)
        if not is_alone and 2 * n_both >= n_alone:
            references[b, 1] = references[b, 2] = beside
            exchanges[b] = alone
        tiles[b] = 0
        for tile in range(n_tiles):
            if not v.is_zero(v.load8(exchanges, b * exchanges.shape[1] + tile * TILE)):
                tiles[b] |= 1 << tile


@device
def changes(planes, a, b, w):
    """Bits of the decisions of eight words, from word w on, on which two branches hold, or come from, different
    sleeves."""
    n_planes, n_words = planes.shape[1], planes.shape[2]
    found = v.splat8(np.int64(0))
    for p in range(n_planes):
        at, to = (a * n_planes + p) * n_words + w, (b * n_planes + p) * n_words + w
        now = v.xor(v.load_some8(planes, at, n_words - w), v.load_some8(planes, to, n_words - w))
        last = v.xor(v.load_some8(planes, at - 1, n_words - w), v.load_some8(planes, to - 1, n_words - w))
        found = v.either(found, v.either(now, v.carried(now, last)))
    return found


@kernel(f"{SLEEVES}, in u8[:,:,:], in i8[:,:], in u8[:,:], in i8[:], in u8[:,:], out i8[:,:], out i8[:,:,:]")
def add_exchanges(
    ratio, carries, cost, cash, cash_like, benchmark, scales, units, rebalance_of, starts, columns, weights, rows,
    paths, first, planes, references, exchanges, tiles, class_bits, logs, sums,
):  # fmt: skip
    """Sums of some decisions, each branch from those that it is told by.

    A tile of decisions is done for all branches before the next one, so that its vectors stay in the nearest cache and
    take the place of those of the tile before. references, exchanges, tiles : as `find_exchanges` leaves them.
    class_bits : (n_classes, 1 + n_words) decisions of each class, packed as those of planes. logs : (n_pairs, 64 ·
    n_words), written where a pair occurs. sums : (n_branches, n_classes, N_LANES) zeros. The others: as in `simulate`.
    """
    market = Market(
        ratio, carries, cost, cash, cash_like, benchmark, scales, units, rebalance_of, starts, columns, weights
    )  # fmt: skip
    was, held = work_space(starts), work_space(starts)
    n_classes, n_words, n_pairs = class_bits.shape[0], class_bits.shape[1] - 1, logs.shape[0]
    slot_of = np.empty((TILE * 64, n_pairs), np.int32)
    vectors, used = np.empty((1 + slot_of.size, N_LANES), np.int64), np.empty(1, np.int64)
    found, plus, minus = np.zeros(ROOM, np.int64), np.empty(2 * ROOM, np.int64), np.empty(2 * ROOM, np.int64)
    for tile in range((n_words - 1) // TILE + 1):
        begin, end = tile * TILE, min(tile * TILE + TILE, n_words)
        table = Table(slot_of, logs.T[begin * 64 : end * 64], vectors, used)
        slot_of[:], used[0] = 0, 1
        for b in range(planes.shape[0]):
            if tiles[b] >> tile & 1 == 0:
                continue
            beside, across, corner = references[b, 0], references[b, 1], references[b, 2]
            for c in range(n_classes):
                n = bits_of(exchanges, b, class_bits, c, begin, end, found)
                if n == 0:
                    continue
                if find_slots(planes, b, begin, found, n, slot_of, plus, 0) == 0:
                    for k in range(n):
                        if plus[k] == 0:
                            u = found[k]
                            plus[k] = compute(
                                market, rows, paths, first + begin * 64, table, u, pair_at(planes, b, begin, u),
                                planes.shape[1], was, held,
                            )  # fmt: skip
                n_plus, n_minus = n, 0
                if b > 0:
                    # Those that tell a branch have been here for this tile, so their vectors are known.
                    find_slots(planes, beside, begin, found, n, slot_of, minus, 0)
                    n_minus = n
                    if across != corner:
                        find_slots(planes, across, begin, found, n, slot_of, minus, n)
                        find_slots(planes, corner, begin, found, n, slot_of, plus, n)
                        n_plus, n_minus = 2 * n, 2 * n
                add_and_subtract(vectors, plus[:n_plus], minus[:n_minus], sums, (b * n_classes + c) * N_LANES)
    for b in range(1, planes.shape[0]):
        for c in range(n_classes):
            add_references(references[b], sums, b, c)


@device
def bits_of(exchanges, b, class_bits, c, begin, end, out):
    """Write the decisions of some words, counted from the first, on which a branch is to be exchanged and that are of a
    class, and eight zeros; how many. Four a word are written whether or not there are as many, which spares a guess per
    bit."""
    n = 0
    for w in range(begin, end):
        left, k = exchanges[b, w] & class_bits[c, w + 1], n
        n += v.bit_count(left)
        for _ in range(4):
            out[k] = ((w - begin) << 6) + (v.trailing_zeros(left) & 63)
            left &= left - ONE
            k += 1
        while left != NONE:
            out[k] = ((w - begin) << 6) + v.trailing_zeros(left)
            left &= left - ONE
            k += 1
    v.store(out, n, v.splat8(np.int64(0)))
    return n


@device
def find_slots(planes, b, begin, decisions, n, slot_of, out, at):
    """Write the rows of the vectors of branch b at n decisions of a tile, 0 where one is not known, from index `at` on,
    eight at a time; the least of them."""
    n_planes, n_words, n_pairs = planes.shape[1], planes.shape[2], slot_of.shape[1]
    one, six, last = v.splat8(np.int64(1)), v.splat8(np.int64(6)), v.splat8(np.int64(63))
    least = v.splat8(slot_of.shape[0] * n_pairs)
    for k in range(0, n, 8):
        u = v.load8(decisions, k)
        before = v.add(u, last)
        slot = v.shifted_up(u, v.splat8(2 * n_planes))
        for p in range(n_planes):
            start = (b * n_planes + p) * n_words + begin
            is_in = v.shifted_down(v.gather(planes, start + 1, v.shifted_down(u, six)), v.both(u, last))
            was_in = v.shifted_down(v.gather(planes, start, v.shifted_down(before, six)), v.both(before, last))
            slot = v.add(slot, v.shifted_up(v.both(is_in, one), v.splat8(p)))
            slot = v.add(slot, v.shifted_up(v.both(was_in, one), v.splat8(n_planes + p)))
        rows = v.gather(slot_of, 0, slot)
        v.store(out, at + k, rows)
        least = v.smaller(least, rows)
    return v.least(least)


@device
def add_and_subtract(vectors, plus, minus, sums, at):
    """Add some vectors and subtract others."""
    wide, rest = v.load16(sums, at), v.load8(sums, at + 16)
    for slot in plus:
        wide = v.add(wide, v.load16(vectors, slot * N_LANES))
        rest = v.add(rest, v.load8(vectors, slot * N_LANES + 16))
    for slot in minus:
        wide = v.subtract(wide, v.load16(vectors, slot * N_LANES))
        rest = v.subtract(rest, v.load8(vectors, slot * N_LANES + 16))
    v.store(sums, at, wide)
    v.store(sums, at + 16, rest)


@device
def add_references(references, sums, b, c):
    """To what was exchanged, the sums of the branches that tell it."""
    for lane in range(N_LANES):
        sums[b, c, lane] += sums[references[0], c, lane] + sums[references[1], c, lane] - sums[references[2], c, lane]


@device
def pair_at(planes, b, begin, u):
    """Pair of branch b at decision u of a tile that begins at a word."""
    n_planes, pair, before = planes.shape[1], 0, u + 63
    for p in range(n_planes):
        pair |= np.int64((planes[b, p, begin + 1 + (u >> 6)] >> np.uint64(u & 63)) & ONE) << p
        pair |= np.int64((planes[b, p, begin + (before >> 6)] >> np.uint64(before & 63)) & ONE) << (n_planes + p)
    return pair
