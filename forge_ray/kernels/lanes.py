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
    class_bits : (n_classes, 1 + n_words) decisions of
    each class, packed as those of planes. logs : (n_pairs, 64 · n_words), written where a pair occurs.
    sums : (n_branches, n_classes, N_LANES) zeros. The others: as in `simulate`.
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
    class; how many. Four a word are written whether or not there are as many, which spares a guess per bit."""
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


@kernel(
    "in u8[:,:,:], in i8[:], in u8[:,:], in i8, in i8[:,:], in b1[:,:], in i8, in i8[:,:], out i8[:,:,:], out i8[:,:]"
)
def scan_drawdowns(planes, which, quiet, first, runs, class_in_segment, searched, logs, segments, stops):
    """Append some decisions of the m branches `which` to their states per segment, the first m of `segments`.

    planes, first, runs, class_in_segment, searched, segments, stops : as in `simulate`. quiet : (n_sleeves,
    1 + n_words) bits of the decisions on which staying in a sleeve moves no equity. logs : as
    `add_exchanges` leaves them.
    """
    n_planes, n_words, n_segments = planes.shape[1], planes.shape[2], class_in_segment.shape[1]
    now = np.zeros(n_words * n_planes * WIDTH, np.uint64)
    before = np.zeros_like(now)
    apart, todo = np.zeros(n_words, np.uint64), np.zeros(n_words, np.uint64)
    state, firsts = np.zeros(3 * n_segments * WIDTH, np.int64), np.empty(64, np.int64)
    zero, decisions = v.splat16(np.int64(0)), v.load8(np.arange(8), 0)
    for block in range(0, which.shape[0], WIDTH):
        put_side_by_side(planes, which, block, quiet, now, before, apart, todo)
        put_state(segments, block, state)
        known = 0
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
                at = w * n_planes * WIDTH
                if w != known and left & ~apart[w] != NONE:
                    known = w
                    put_first_logs(now, before, at, n_planes, logs, start, decisions, firsts)
                while left != NONE:
                    j = v.trailing_zeros(left)
                    left &= left - ONE
                    if (apart[w] >> np.uint64(j)) & ONE == NONE:
                        total += firsts[j]
                        highest, lowest = max(highest, total), min(lowest, total)
                        fall = max(fall, highest - total)
                        is_common = True
                        continue
                    if is_common:
                        equity, peak, low, drawdown = appended(
                            equity, peak, low, drawdown, total, highest, lowest, fall
                        )
                        total, highest, lowest, fall = 0, 0, 0, 0
                        is_common = False
                    equity = v.add(equity, own_logs(now, before, at, n_planes, j, logs, start + j))
                    peak, low = v.larger(peak, equity), v.smaller(low, equity)
                    drawdown = v.larger(drawdown, v.subtract(peak, equity))
            equity, peak, low, drawdown = appended(equity, peak, low, drawdown, total, highest, lowest, fall)
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
def appended(equity, peak, low, drawdown, total, highest, lowest, fall):
    """What sixteen branches come to after a stretch that is common to them."""
    trough = v.add(equity, v.splat16(lowest))
    drawdown = v.larger(v.larger(drawdown, v.splat16(fall)), v.subtract(peak, trough))
    peak = v.larger(peak, v.add(equity, v.splat16(highest)))
    return v.add(equity, v.splat16(total)), peak, v.smaller(low, trough), drawdown


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
def put_first_logs(now, before, at, n_planes, logs, start, decisions, out):
    """The logs of the first of sixteen branches at the 64 decisions of a word. decisions : 0 to 7."""
    n = logs.shape[1]
    for k in range(0, 64, 8):
        own = v.splat8(np.int64(0))
        for p in range(n_planes):
            is_now, was = (
                v.flags8(now[at + p * WIDTH] >> np.uint64(k)),
                v.flags8(before[at + p * WIDTH] >> np.uint64(k)),
            )
            own = v.select(is_now, v.add(own, v.splat8(n << p)), own)
            own = v.select(was, v.add(own, v.splat8(n << (n_planes + p))), own)
        v.store(out, k, v.gather(logs, start + k, v.add(own, decisions)))


@device
def own_logs(now, before, at, n_planes, j, logs, u):
    """The log of each branch's own pair at a decision, bit j of a word."""
    n, own = logs.shape[1], v.splat16(np.int64(0))
    for p in range(n_planes):
        at_p = at + p * WIDTH
        own = v.select(v.has_bit(v.load16(now, at_p), j), v.add(own, v.splat16(n << p)), own)
        own = v.select(v.has_bit(v.load16(before, at_p), j), v.add(own, v.splat16(n << (n_planes + p))), own)
    return v.gather(logs, u, own)


@device
def put_side_by_side(planes, which, block, quiet, now, before, apart, todo):
    """The words of sixteen branches next to each other, per word and plane; the last branch fills what is left.

    before : words of the decisions before. apart, todo : bits of the decisions on which not all branches have the same
    pair, and of those that are not quiet. Word 0 is the end of what came before.
    """
    n_planes, n_words, starts = planes.shape[1], planes.shape[2], np.empty(WIDTH, np.int64)
    for lane in range(WIDTH):
        starts[lane] = which[min(block + lane, which.shape[0] - 1)] * n_planes * n_words
    branches = v.load16(starts, 0)
    for p in range(n_planes):
        v.store(now, p * WIDTH, v.gather(planes, p * n_words, branches))
    for w in range(1, n_words):
        differs, at = v.splat16(np.int64(0)), w * n_planes * WIDTH
        for p in range(n_planes):
            first = at + p * WIDTH
            words = v.gather(planes, p * n_words + w, branches)
            last = v.carried(words, v.load16(now, first - n_planes * WIDTH))
            v.store(now, first, words)
            v.store(before, first, last)
            differs = v.either(differs, v.xor(words, v.splat16(now[first])))
            differs = v.either(differs, v.xor(last, v.splat16(before[first])))
        apart[w] = v.any_of(differs)
        todo[w] = apart[w] | ~resting(now, before, at, n_planes, quiet, w)


@device
def resting(now, before, at, n_planes, quiet, w):
    """Bits of the decisions on which the first of sixteen branches stays in a sleeve that is quiet."""
    rests = NONE
    for k in range(quiet.shape[0]):
        stays = quiet[k, w]
        if stays != NONE:
            for p in range(n_planes):
                is_in, was_in = now[at + p * WIDTH], before[at + p * WIDTH]
                stays &= is_in & was_in if k >> p & 1 else ~(is_in | was_in)
            rests |= stays
    return rests


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
