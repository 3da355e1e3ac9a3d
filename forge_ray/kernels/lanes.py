"""Drawdowns of the branches of a group, sixteen at a time: half of the lane kernels (B).

A decision on which all sixteen go from the same sleeve to the same sleeve is *common*: stretches of them are scanned
once, and appended to all as (sum, high, low, drawdown). On the others every branch takes the log of its own pair.
Decisions on which all stay in a sleeve whose equity does not move are passed over, 64 at once. Sixteen branches end
when all of them have broken the limits of a run.

The drawdowns equal those of the scalar kernel in every bit, because maxima of integers do not depend on their order.
"""

from __future__ import annotations

import numpy as np

from forge_ray.kernels import vectors as v
from forge_ray.kernels.bits import ALL, NONE, ONE
from forge_ray.kernels.compile import device, kernel
from forge_ray.kernels.simulate import DRAWDOWN, HIGH, LEVEL, NO_LIMIT

WIDTH = 16
"""Branches side by side."""


@kernel(
    "in u8[:,:,:], in i8[:], in u8[:,:], in i8, in i8[:,:], in b1[:,:], in i8, in i8[:,:], out i8[:,:,:], out i8[:,:]"
)
def scan_drawdowns(planes, which, quiet, first, runs, class_in_segment, searched, logs, segments, stops):
    """Append some decisions of the m branches `which` to their states per segment, the first m of `segments`.

    planes, first, runs, class_in_segment, searched, segments, stops : as in `simulate`. quiet : (n_sleeves,
    1 + n_words) bits of the decisions on which staying in a sleeve moves no equity. logs : as
    `exchanges.add_exchanges` leaves them.
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
