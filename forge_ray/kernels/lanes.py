"""The lane kernels (B): the branches of a group in an order in which neighbours hold nearly the same.

1. `find_exchanges`: the sums of a branch are told by those of the branch beside it: they differ by the vectors of the
   decisions on which the two hold, or come from, different sleeves. On a grid of two axes three branches tell more: of
   what one step along an axis changes, most is the same one step further on the other.
2. `add_exchanges`: what is not told is added and subtracted, vector by vector.
3. `scan_drawdowns`: sixteen branches at a time. A decision on which all sixteen go from the same sleeve to the same
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
from forge_ray.kernels.transitions import SLEEVES, Table, compute

WIDTH = 16
"""Branches side by side."""
TILE = 8
"""Words of decisions whose vectors are in use at a time."""
ALL_LANES = (1 << WIDTH) - 1


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
    class_bits : (n_classes, 1 + n_words) decisions of
    each class, packed as those of planes. logs : (n, n_pairs), written where a pair occurs.
    sums : (n_branches, n_classes, N_LANES) zeros. The others: as in `simulate`.
    """
    market = Market(
        ratio, carries, cost, cash, cash_like, benchmark, scales, units, rebalance_of, starts, columns, weights
    )  # fmt: skip
    was, held = work_space(starts), work_space(starts)
    n_classes, n_words, n_pairs = class_bits.shape[0], class_bits.shape[1] - 1, logs.shape[1]
    slot_of = np.empty((TILE * 64, n_pairs), np.int32)
    vectors, used = np.empty((1 + slot_of.size, N_LANES), np.int64), np.empty(1, np.int64)
    plus, minus = np.empty(2 * TILE * 64, np.int64), np.empty(2 * TILE * 64, np.int64)
    for tile in range((n_words - 1) // TILE + 1):
        begin, end = tile * TILE, min(tile * TILE + TILE, n_words)
        table = Table(slot_of, logs[begin * 64 : end * 64], vectors, used)
        slot_of[:], used[0] = 0, 1
        for b in range(planes.shape[0]):
            if tiles[b] >> tile & 1 == 0:
                continue
            beside, across, corner = references[b, 0], references[b, 1], references[b, 2]
            for c in range(n_classes):
                n_plus, n_minus = 0, 0
                for w in range(begin, end):
                    todo = exchanges[b, w] & class_bits[c, w + 1]
                    while todo != NONE:
                        j = np.uint64(v.trailing_zeros(todo))
                        todo &= todo - ONE
                        u = ((w - begin) << 6) + np.int64(j)
                        pair = pair_at(planes, b, w + 1, j)
                        if slot_of[u, pair] == 0:
                            compute(market, rows, paths, first + begin * 64, table, u, pair, planes.shape[1], was, held)
                        plus[n_plus] = slot_of[u, pair]
                        n_plus += 1
                        if b == 0:
                            continue
                        # Those that tell a branch have been here for this tile, so their vectors are known.
                        minus[n_minus] = slot_of[u, pair_at(planes, beside, w + 1, j)]
                        n_minus += 1
                        if across != corner:
                            minus[n_minus] = slot_of[u, pair_at(planes, across, w + 1, j)]
                            plus[n_plus] = slot_of[u, pair_at(planes, corner, w + 1, j)]
                            n_minus, n_plus = n_minus + 1, n_plus + 1
                if n_plus > 0:
                    add_and_subtract(vectors, plus[:n_plus], minus[:n_minus], sums, (b * n_classes + c) * N_LANES)
    for b in range(1, planes.shape[0]):
        for c in range(n_classes):
            add_references(references[b], sums, b, c)


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
