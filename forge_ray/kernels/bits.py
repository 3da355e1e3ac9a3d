"""Three-valued conditions per bar, and the residual program that joins them per branch.

A condition is two bool arrays over all calendar bars, `true` and `false`; a bar in neither is unknown. Packed, bar t is
bit t % 64 of word t // 64. NaN compares as neither, so unknown needs no mask of its own.
"""

from __future__ import annotations

import numpy as np

from forge_ray.kernels import vectors as v
from forge_ray.kernels.compile import device, kernel

ONE, NONE, ALL = np.uint64(1), np.uint64(0), np.uint64(0xFFFFFFFFFFFFFFFF)
LOAD_TRUE, LOAD_FALSE, AND, OR, NOR, ONES = range(6)


def compare(left: np.ndarray, right: np.ndarray | float, comparator: str) -> tuple[np.ndarray, np.ndarray]:
    """(true, false) of ``left comparator right``; unknown where a value is NaN.

    left, right : (n_bars,) or a number. comparator : lt, lte, gt, gte, crossAbove, crossBelow. A cross compares with
    the previous bar and is unknown if any of its four values is, so it is unknown on bar 0.
    """
    match comparator:
        case "lt":
            return left < right, left >= right
        case "lte":
            return left <= right, left > right
        case "gt":
            return left > right, left <= right
        case "gte":
            return left >= right, left < right
        case "crossAbove":
            return _cross(left, right, np.less, np.greater_equal)
        case "crossBelow":
            return _cross(left, right, np.greater, np.less_equal)
    raise ValueError(f"unknown comparator {comparator!r}")


def _cross(left: np.ndarray, right: np.ndarray | float, before: np.ufunc, after: np.ufunc):
    right = np.broadcast_to(right, left.shape)
    true, known = np.zeros(left.shape, bool), np.zeros(left.shape, bool)
    true[1:] = before(left[:-1], right[:-1]) & after(left[1:], right[1:])
    missing = np.isnan(left) | np.isnan(right)
    known[1:] = ~(missing[1:] | missing[:-1])
    return true, known & ~true


def persist(true: np.ndarray, false: np.ndarray, days: int) -> tuple[np.ndarray, np.ndarray]:
    """Kleene AND over the last `days` bars: false if any of them is false, true if all are; else unknown."""
    n_true, n_false = _count_last(true, days), _count_last(false, days)
    return n_true == days, n_false > 0


def _count_last(flags: np.ndarray, days: int) -> np.ndarray:
    counts = np.cumsum(flags)
    counts[days:] -= counts[:-days].copy()
    return counts


def count(true: np.ndarray, false: np.ndarray, quantifier: str, n: int | None) -> tuple[np.ndarray, np.ndarray]:
    """(true, false) of a count of conditions against a quantifier; unknown only if the unknown ones could change it.

    true, false : (n_items, n_bars). quantifier : any, all, none, exactly, atLeast, atMost. n : of the last three.
    """
    least, most = true.sum(axis=0), len(true) - false.sum(axis=0)
    match quantifier:
        case "any":
            return least >= 1, most < 1
        case "all":
            return least >= len(true), most < len(true)
        case "none":
            return most <= 0, least > 0
        case "exactly":
            return (least == n) & (most == n), (least > n) | (most < n)
        case "atLeast":
            return least >= n, most < n
        case "atMost":
            return most <= n, least > n
    raise ValueError(f"unknown quantifier {quantifier!r}")


def within_year(dates: np.ndarray, first: tuple[int, int], last: tuple[int, int]) -> np.ndarray:
    """(n_bars,) whether a date lies from one (month, day) of the year to another, both included, over the year's end if
    the first is later. dates : (n_bars,) int64 days since 1970-01-01."""
    days = dates.astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    of_year = (months.astype(np.int64) % 12 + 1) * 100 + (days - months).astype(np.int64) + 1
    low, high = first[0] * 100 + first[1], last[0] * 100 + last[1]
    return (of_year >= low) & (of_year <= high) if low <= high else (of_year >= low) | (of_year <= high)


@kernel("in b1[:], in b1[:], out b1[:]")
def latch(entry, leave, out):
    """out : (n_bars,) whether the latch is in. Out at first; one transition a bar, which counts on its bar."""
    is_in = False
    for t in range(len(out)):
        is_in = not leave[t] if is_in else entry[t]
        out[t] = is_in


def delayed(flags: np.ndarray) -> np.ndarray:
    """The flags one bar later; nothing is known on bar 0."""
    later = np.zeros_like(flags)
    later[1:] = flags[:-1]
    return later


def pack(true: np.ndarray, false: np.ndarray) -> np.ndarray:
    """(2, n_words) uint64 of a condition: row 0 the known true bars, row 1 the known false ones; tail bits are 0."""
    packed = np.zeros((2, n_words(len(true)) * 8), np.uint8)
    packed[0, : (len(true) + 7) // 8] = np.packbits(true, bitorder="little")
    packed[1, : (len(true) + 7) // 8] = np.packbits(false, bitorder="little")
    return packed.view(np.uint64)


def unpack(words: np.ndarray, n_bars: int) -> np.ndarray:
    """(n_bars,) bool of packed words."""
    return np.unpackbits(words.view(np.uint8), count=n_bars, bitorder="little").view(bool)


def pack_decisions(flags: np.ndarray, first: int, last: int) -> np.ndarray:
    """(…, 1 + n_words) of flags (…, n), the decisions [first, last) as planes are packed; see `transitions`."""
    begin = max(first - 64, 0)
    rows = flags[..., begin:last].reshape(-1, last - begin)
    words = np.zeros((len(rows), 1 + n_words(last - first)), np.uint64)
    for row, given in zip(words, rows, strict=True):
        row[1 if begin == first else 0 :] = pack(given, given)[0]
    return words.reshape(*flags.shape[:-1], words.shape[1])


def n_words(n_bars: int) -> int:
    return (n_bars + 63) // 64


def bar_mask(first: int, last: int, n_bars: int) -> np.ndarray:
    """Packed words with the bars ``first <= t < last`` set."""
    flags = np.zeros(n_bars, bool)
    flags[first:last] = True
    return pack(flags, flags)[0]


@kernel("in f8[:], in f8[:], in b1, in b1, out u8[:,:,:]")
def threshold_table(series, thresholds, is_below, counts_equal, out):
    """Packed conditions of a series against every threshold.

    series : (n,), NaN where unknown. thresholds : (m,) ascending. is_below : true where the series is below a
    threshold, else above; counts_equal : or equal to it. out : (m, 2, n_words), written in full: known true, known
    false.

    Bar by bar only the *rank* is looked up: the thresholds that the series has not to pass. The table is then the sum
    over ranks up to each threshold. A cell of equal width gives a first guess of the rank.
    """
    m = thresholds.shape[0]
    has_equal_below = counts_equal != is_below  # whether a threshold equal to the value lies below its rank
    cells = np.zeros(257, np.int64)
    low, width = thresholds[0], thresholds[m - 1] / 256.0 - thresholds[0] / 256.0  # their difference may be infinite
    for cell in range(1, 257):
        cells[cell] = cells[cell - 1]
        while cells[cell] < m and thresholds[cells[cell]] < low + cell * width:
            cells[cell] += 1
    known = np.zeros(out.shape[2], np.uint64)
    out[:] = 0
    for i in range(series.shape[0]):
        x = series[i]
        if np.isnan(x):
            continue
        rank = 0
        if x > low:
            rank = cells[int(min((x - low) / width, 256.0))] if width > 0.0 else m
        while rank > 0 and not lies_below(thresholds[rank - 1], x, has_equal_below):
            rank -= 1
        while rank < m and lies_below(thresholds[rank], x, has_equal_below):
            rank += 1
        bit = ONE << np.uint64(i & 63)
        known[i >> 6] |= bit
        if rank < m:
            out[rank, 0, i >> 6] |= bit
    for j in range(m):
        for w in range(known.shape[0]):
            passed = out[j, 0, w] if j == 0 else out[j, 0, w] | out[j - 1, 0 if is_below else 1, w]
            other = known[w] & ~passed
            out[j, 0, w], out[j, 1, w] = (passed, other) if is_below else (other, passed)


@device
def lies_below(threshold, x, is_equal_below):
    return threshold <= x if is_equal_below else threshold < x


@kernel("out u8[:,:,:], in i8")
def persist_packed(table, days):
    """`persist` of packed conditions, in place. table : (m, 2, n_words) known true, known false."""
    n = table.shape[2]
    once = np.zeros((2, n), np.uint64)
    for row in range(table.shape[0]):
        once[:] = table[row]
        for day in range(1, days):
            whole, part = day >> 6, np.uint64(day & 63)
            for w in range(n):
                true, false = NONE, NONE
                if w >= whole:
                    true, false = once[0, w - whole] << part, once[1, w - whole] << part
                if w > whole and part > NONE:
                    true |= once[0, w - whole - 1] >> (np.uint64(64) - part)
                    false |= once[1, w - whole - 1] >> (np.uint64(64) - part)
                table[row, 0, w] &= true
                table[row, 1, w] |= false


@kernel("in u8[:,:], in i8[:], out u8[:,:]")
def at_decisions(words, bars, out):
    """Bits of some bars, side by side. words : (n, n_words). bars : (m,). out : (n, ceil(m / 64)) in full.

    Bars one after the other are whole words, shifted.
    """
    m, is_run = bars.shape[0], True
    for j in range(1, m):
        is_run &= bars[j] == bars[j - 1] + 1
    first, shift = bars[0] >> 6, np.uint64(bars[0] & 63)
    out[:] = 0
    for row in range(words.shape[0]):
        if is_run:
            for w in range(out.shape[1]):
                out[row, w] = words[row, first + w] >> shift
                if shift > 0 and first + w + 1 < words.shape[1]:
                    out[row, w] |= words[row, first + w + 1] << (np.uint64(64) - shift)
            if m & 63:
                out[row, out.shape[1] - 1] &= (ONE << np.uint64(m & 63)) - ONE
        else:
            for j in range(m):
                bit = (words[row, bars[j] >> 6] >> np.uint64(bars[j] & 63)) & ONE
                out[row, j >> 6] |= bit << np.uint64(j & 63)


@kernel("in i8[:,:], in i8[:], in u8[:,:,:], in i8[:,:], in b1, in i8, out u8[:,:,:]")
def residual_planes(operations, planes, bits, rows, is_first, n_registers, out):
    """Run the residual program of a group for every branch.

    operations : (n_operations, 4) code, target register, operand, operand. planes : (n_planes,) registers to keep.
    bits : (n_rows, 2, n) packed conditions, whose word 0 comes before the first decision unless `is_first`.
    rows : (n_branches, n_leaves) row of each leaf for each branch. out : (n_branches, n_planes, 1 + n_words), written
    in full. Word 0 ends with the sleeve before the first decision; before the very first one that is the sleeve itself.
    """
    n = bits.shape[2]
    width, lead = -(-n // 8) * 8, out.shape[2] - n
    registers = np.zeros((n_registers, width), np.uint64)
    for b in range(rows.shape[0]):
        for o in range(operations.shape[0]):
            code, target = operations[o, 0], operations[o, 1] * width
            x, y = operations[o, 2], operations[o, 3]
            if code in (LOAD_TRUE, LOAD_FALSE):
                row = (2 * rows[b, x] + (code == LOAD_FALSE)) * n
                for w in range(0, n, 8):
                    v.store(registers, target + w, v.load_some8(bits, row + w, n - w))
            else:
                for w in range(0, width, 8):
                    left, right = v.load8(registers, x * width + w), v.load8(registers, y * width + w)
                    v.store(registers, target + w, joined(code, left, right))
        for p in range(planes.shape[0]):
            for w in range(n):
                out[b, p, lead + w] = registers[planes[p], w]
            if is_first:
                out[b, p, 0] = out[b, p, 1] << np.uint64(63)


@device
def joined(code, left, right):
    """What an operation that loads nothing makes of eight words."""
    if code == AND:
        return v.both(left, right)
    if code == OR:
        return v.either(left, right)
    if code == NOR:
        return v.xor(v.either(left, right), v.splat8(np.int64(-1)))
    return v.splat8(np.int64(-1))
