"""The lane kernels (B): the branches of a group in an order in which neighbours hold nearly the same.

1. `add_differences`: the sums of a branch are those of the branch before it, with the vectors exchanged of the
   decisions on which the two hold, or come from, different sleeves.
2. `scan_drawdowns`: sixteen branches at a time. A decision on which all sixteen go from the same sleeve to the same
   sleeve is *common*: stretches of them are scanned once, and appended to all as (sum, high, low, drawdown). On the
   others every branch takes the log of its own pair. Decisions on which all stay in a sleeve whose equity does not
   move are passed over, 64 at once. Sixteen branches end when all of them have broken the limits of a run.

Both equal the scalar kernel in every bit, because all sums are integers and maxima do not depend on their order.
"""

from __future__ import annotations

import numpy as np

from forge_ray.kernels import vectors as v
from forge_ray.kernels.accounting import N_LANES, Market, work_space
from forge_ray.kernels.bits import ALL, NONE, ONE
from forge_ray.kernels.compile import device, kernel
from forge_ray.kernels.simulate import DRAWDOWN, HIGH, LEVEL, NO_LIMIT
from forge_ray.kernels.transitions import SLEEVES, TABLE, Table, compute

WIDTH = 16
"""Branches side by side."""
TILE = 8
"""Words of decisions whose vectors are in use at a time."""
ALL_LANES = (1 << WIDTH) - 1


@kernel(f"{SLEEVES}, in u8[:,:,:], in i8[:], in i8, {TABLE}, out i8[:,:,:]")
def add_differences(
    ratio, carries, cost, cash, cash_like, benchmark, scales, units, rebalance_of, starts, columns, weights, rows,
    paths, first, planes, class_of, begin, slot_of, logs, vectors, used, differences,
):  # fmt: skip
    """Add up, for some decisions, by how much the sums of each branch exceed those of the branch before it.

    A tile of decisions is done for all branches before the next one, so that its vectors stay in the nearest cache.
    class_of : (n,) class of each decision of the planes. begin : tile to begin with.
    differences : (n_branches, n_classes, N_LANES); those of branch 0 are its sums. The others: as in `simulate`.
    Returns the tile that there may be no room for in `vectors`, the number of tiles if all are done.
    """
    market = Market(
        ratio, carries, cost, cash, cash_like, benchmark, scales, units, rebalance_of, starts, columns, weights
    )  # fmt: skip
    table = Table(slot_of, logs, vectors, used)
    was, held = work_space(starts), work_space(starts)
    n_branches, n_planes, n, n_classes = planes.shape[0], planes.shape[1], class_of.shape[0], differences.shape[1]
    n_tiles = (planes.shape[2] - 2) // TILE + 1
    tail = (ONE << np.uint64(n & 63)) - ONE if n & 63 else ALL
    for tile in range(begin, n_tiles):
        w_begin = 1 + tile * TILE
        w_end = min(w_begin + TILE, planes.shape[2])
        if used[0] + TILE * 64 * slot_of.shape[1] > vectors.shape[0]:
            return tile
        for b in range(n_branches):
            before = NONE
            for p in range(n_planes):
                before |= planes[b, p, w_begin - 1] ^ planes[max(b - 1, 0), p, w_begin - 1]
            for w in range(w_begin, w_end):
                differs = NONE
                for p in range(n_planes):
                    differs |= planes[b, p, w] ^ planes[max(b - 1, 0), p, w]
                left = (differs | differs << ONE | before >> np.uint64(63)) if b > 0 else ALL
                before = differs
                if w == planes.shape[2] - 1:
                    left &= tail
                while left != NONE:
                    j = np.uint64(v.trailing_zeros(left))
                    left &= left - ONE
                    u = ((w - 1) << 6) + np.int64(j)
                    pair = pair_at(planes, b, w, j)
                    slot = int(slot_of[u, pair])
                    if slot == 0:
                        slot = compute(market, rows, paths, first, table, u, pair, n_planes, was, held)
                    at, slot = (b * n_classes + class_of[u]) * N_LANES, slot * N_LANES
                    wide = v.add(v.load16(differences, at), v.load16(vectors, slot))
                    rest = v.add(v.load8(differences, at + 16), v.load8(vectors, slot + 16))
                    if b > 0:
                        # The branch before has been here for this tile, so its vector is known.
                        slot = int(slot_of[u, pair_at(planes, b - 1, w, j)]) * N_LANES
                        wide = v.subtract(wide, v.load16(vectors, slot))
                        rest = v.subtract(rest, v.load8(vectors, slot + 16))
                    v.store(differences, at, wide)
                    v.store(differences, at + 16, rest)
    return n_tiles


@device
def pair_at(planes, b, w, j):
    """Pair of branch b at bit j of word w."""
    n_planes, pair = planes.shape[1], 0
    for p in range(n_planes):
        word = planes[b, p, w]
        pair |= np.int64((word >> j) & ONE) << p
        before = word << ONE | planes[b, p, w - 1] >> np.uint64(63)
        pair |= np.int64((before >> j) & ONE) << (n_planes + p)
    return pair


@kernel(
    "in u8[:,:,:], in i8[:], in u8[:,:], in i8, in i8[:,:], in b1[:,:], in i8, in i8[:,:], out i8[:,:,:], out i8[:,:]"
)
def scan_drawdowns(planes, which, quiet, first, runs, class_in_segment, searched, logs, segments, stops):
    """Append some decisions of the m branches `which` to their states per segment, the first m of `segments`.

    planes, first, runs, class_in_segment, searched, segments, stops : as in `simulate`. quiet : (n_sleeves,
    1 + n_words) bits of the decisions on which staying in a sleeve moves no equity. logs : of the `Table`, known for
    every pair that occurs.
    """
    n_planes, n_words, n_segments = planes.shape[1], planes.shape[2], class_in_segment.shape[1]
    now = np.zeros(n_words * n_planes * WIDTH, np.uint64)
    before = np.zeros_like(now)
    apart, todo = np.zeros(n_words, np.uint64), np.zeros(n_words, np.uint64)
    state = np.zeros(3 * n_segments * WIDTH, np.int64)
    zero = v.splat16(np.int64(0))
    for block in range(0, which.shape[0], WIDTH):
        put_side_by_side(planes, which, block, now, before)
        mark(now, before, quiet, n_planes, apart, todo)
        put_state(segments, block, state)
        for run in range(runs.shape[0]):
            begin, end, c = runs[run, 0] - first, runs[run, 1] - first, runs[run, 2]
            equity, peak, low, drawdown = zero, zero, zero, zero
            total, highest, lowest, fall = 0, 0, 0, 0
            is_common = False
            for w in range((begin >> 6) + 1, ((end - 1) >> 6) + 2):
                start = (w - 1) << 6
                left = todo[w]
                if start < begin:
                    left &= ALL << np.uint64(begin - start)
                if end - start < 64:
                    left &= (ONE << np.uint64(end - start)) - ONE
                while left != NONE:
                    j = v.trailing_zeros(left)
                    left &= left - ONE
                    u = start + j
                    at = w * n_planes * WIDTH
                    if (apart[w] >> np.uint64(j)) & ONE == NONE:
                        pair = 0
                        for p in range(n_planes):
                            pair |= np.int64((now[at + p * WIDTH] >> np.uint64(j)) & ONE) << p
                            pair |= np.int64((before[at + p * WIDTH] >> np.uint64(j)) & ONE) << (n_planes + p)
                        total += logs[u, pair]
                        highest, lowest = max(highest, total), min(lowest, total)
                        fall = max(fall, highest - total)
                        is_common = True
                        continue
                    if is_common:
                        drawdown = v.larger(drawdown, v.splat16(fall))
                        drawdown = v.larger(drawdown, v.subtract(peak, v.add(equity, v.splat16(lowest))))
                        peak = v.larger(peak, v.add(equity, v.splat16(highest)))
                        low = v.smaller(low, v.add(equity, v.splat16(lowest)))
                        equity = v.add(equity, v.splat16(total))
                        total, highest, lowest, fall = 0, 0, 0, 0
                        is_common = False
                    equity = v.add(equity, own_logs(now, before, at, n_planes, j, logs[u]))
                    peak, low = v.larger(peak, equity), v.smaller(low, equity)
                    drawdown = v.larger(drawdown, v.subtract(peak, equity))
            drawdown = v.larger(drawdown, v.splat16(fall))
            drawdown = v.larger(drawdown, v.subtract(peak, v.add(equity, v.splat16(lowest))))
            peak = v.larger(peak, v.add(equity, v.splat16(highest)))
            low = v.smaller(low, v.add(equity, v.splat16(lowest)))
            equity = v.add(equity, v.splat16(total))
            for s in range(n_segments):
                if class_in_segment[c, s]:
                    at = 3 * s * WIDTH
                    level, high = v.load16(state, at), v.load16(state, at + WIDTH)
                    worst = v.larger(v.load16(state, at + 2 * WIDTH), drawdown)
                    v.store(state, at + 2 * WIDTH, v.larger(worst, v.subtract(high, v.add(level, low))))
                    v.store(state, at + WIDTH, v.larger(high, v.add(level, peak)))
                    v.store(state, at, v.add(level, equity))
            if runs[run, 3] < NO_LIMIT or runs[run, 4] > -NO_LIMIT:
                left = judge_lanes(runs[run], state, searched, block, which.shape[0], stops)
                if left == 0:
                    break
        take_state(state, block, which.shape[0], segments)


@device
def judge_lanes(run, state, searched, block, n, stops):
    """`simulate.judge` for sixteen branches; how many of them have not stopped."""
    left, at = 0, 3 * searched * WIDTH
    for lane in range(min(WIDTH, n - block)):
        if stops[block + lane, 0] == 0:
            level, drawdown = state[at + LEVEL * WIDTH + lane], state[at + DRAWDOWN * WIDTH + lane]
            if drawdown > run[3] or level < run[4]:
                stops[block + lane, 0], stops[block + lane, 1], stops[block + lane, 2] = run[1], drawdown, level
            else:
                left += 1
    return left


@device
def own_logs(now, before, at, n_planes, j, logs):
    """The log of each branch's own pair."""
    if n_planes == 1:
        is_now, was = v.has_bit(v.load16(now, at), j), v.has_bit(v.load16(before, at), j)
        entered = v.select(is_now, v.splat16(logs[1]), v.splat16(logs[0]))
        stayed = v.select(is_now, v.splat16(logs[3]), v.splat16(logs[2]))
        return v.select(was, stayed, entered)
    pairs = v.splat16(np.int64(0))
    for p in range(n_planes):
        at_p = at + p * WIDTH
        pairs = v.select(v.has_bit(v.load16(now, at_p), j), v.add(pairs, v.splat16(np.int64(1 << p))), pairs)
        weight = v.splat16(np.int64(1 << (n_planes + p)))
        pairs = v.select(v.has_bit(v.load16(before, at_p), j), v.add(pairs, weight), pairs)
    pair = v.element(pairs, np.int64(0))
    found = v.splat16(logs[pair])
    rest = ALL_LANES & ~v.bitmap(v.equal(pairs, v.splat16(pair)))
    while rest != 0:
        pair = v.element(pairs, v.trailing_zeros(np.uint64(rest)))
        own = v.equal(pairs, v.splat16(pair))
        found = v.select(own, v.splat16(logs[pair]), found)
        rest &= ~v.bitmap(own)
    return found


@device
def put_side_by_side(planes, which, block, now, before):
    """The words of sixteen branches next to each other, per word and plane; the last branch fills what is left."""
    n_planes = planes.shape[1]
    for lane in range(WIDTH):
        b = which[min(block + lane, which.shape[0] - 1)]
        for p in range(n_planes):
            carry = NONE
            for w in range(planes.shape[2]):
                word, at = planes[b, p, w], (w * n_planes + p) * WIDTH + lane
                now[at], before[at] = word, word << ONE | carry
                carry = word >> np.uint64(63)


@device
def mark(now, before, quiet, n_planes, apart, todo):
    """Bits of the decisions on which not all branches have the same pair, and of those that are not quiet."""
    for w in range(apart.shape[0]):
        differs, at = NONE, w * n_planes * WIDTH
        for p in range(n_planes):
            first = at + p * WIDTH
            for lane in range(first, first + WIDTH):
                differs |= (now[lane] ^ now[first]) | (before[lane] ^ before[first])
        rests = NONE
        for k in range(quiet.shape[0]):
            stays = quiet[k, w]
            for p in range(n_planes):
                inside = now[at + p * WIDTH] & before[at + p * WIDTH]
                outside = ~(now[at + p * WIDTH] | before[at + p * WIDTH])
                stays &= inside if k >> p & 1 else outside
            rests |= stays
        apart[w], todo[w] = differs, ~(rests & ~differs)


@device
def put_state(segments, block, state):
    n_segments = segments.shape[2]
    for lane in range(WIDTH):
        b = min(block + lane, segments.shape[0] - 1)
        for s in range(n_segments):
            for part in (LEVEL, HIGH, DRAWDOWN):
                state[(3 * s + part) * WIDTH + lane] = segments[b, part, s]


@device
def take_state(state, block, n, segments):
    for lane in range(min(WIDTH, n - block)):
        for s in range(segments.shape[2]):
            for part in (LEVEL, HIGH, DRAWDOWN):
                segments[block + lane, part, s] = state[(3 * s + part) * WIDTH + lane]
