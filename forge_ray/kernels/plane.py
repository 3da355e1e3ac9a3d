"""Two thresholds at once: the branches of a row of the plane, each from the one beside it.

Between two neighbouring thresholds hardly any decision changes. A branch therefore takes the sums and drawdowns of the
one before and mends them:

1. `pair_table`: the vector of every bar for every sleeve held before and now (`transitions.pair_vector`).
2. `plane_row` evaluates the first branch of a row in full. For each later one it runs the residual program on the
   decisions that its conditions may change, and exchanges the vectors of the bars that follow from those that do.
3. The drawdown of a segment is that of a tree over its bars in order: a leaf is a stretch of `STRETCH` bars, a node
   joins (sum, high, low, drawdown) of its two sides, so a changed bar costs one stretch and the way to the root.

All of it is integers: a branch has the bits of a simulation of its own.
"""

from __future__ import annotations

import numpy as np

from forge_ray.kernels.accounting import LOG, MARKET, N_LANES, Market, work_space
from forge_ray.kernels.bits import ALL, AND, LOAD_FALSE, LOAD_TRUE, NOR, OR
from forge_ray.kernels.compile import device, kernel
from forge_ray.kernels.transitions import pair_vector

STRETCH = 16
SUM, HIGH, LOW, DRAWDOWN = range(4)


@kernel(f"{MARKET}, in i8[:,:], in i8[:,:,:], out i8[:,:,:,:]")
def pair_table(
    ratio, carries, cost, cash, cash_like, benchmark, scales, units, rebalance_of, starts, columns, weights, rows,
    paths, out,
):  # fmt: skip
    """Vectors of interval i for sleeve p held before and q held now; at decision 0, q is bought from cash.

    ratio … weights : see `Market`. rows, paths : see `transitions.SLEEVES`.
    out : (n, n_sleeves, n_sleeves, N_LANES), written in full.
    """
    market = Market(
        ratio, carries, cost, cash, cash_like, benchmark, scales, units, rebalance_of, starts, columns, weights
    )  # fmt: skip
    was, held = work_space(starts), work_space(starts)
    for i in range(rows.shape[1]):
        for p in range(rows.shape[0]):
            for q in range(rows.shape[0]):
                pair_vector(market, rows, paths, i, p, q, was, held, out[i, p, q])


@kernel(
    "in i8[:,:,:,:], in i8[:,:], in i8[:], in u8[:,:,:], in i8[:,:], in i8[:], in i8[:], in i8, in i8[:], in i8[:],"
    " in i8[:], in i8[:,:], in i8[:,:], in i8[:], in i8, out i8[:,:,:], out i8[:,:], out i8[:]"
)
def plane_row(
    vectors, operations, planes, bits, leaves, changed, first_changed, first_bar, until, class_of, segment_size, place,
    order, n_nodes, n_registers, sums, drawdowns, outcome,
):  # fmt: skip
    """Sums and drawdowns of the branches of a row, those that decide as the one before left out. Returns their number.

    vectors : as `pair_table` writes them. operations, planes, bits : as in `bits.residual_planes`.
    leaves : (n_leaves, 2) row of bits of each leaf in the first branch, and how many rows it moves per branch (0 or 1).
    changed : decisions that the step to branch j may change, ``first_changed[j]:first_changed[j + 1]``, ascending.
    first_bar : decision i is bar first_bar + i. until : (n,) where the decision in force is another one.
    class_of : (n,). segment_size : (n_segments,) bars. place : (n_segments, n) of a bar in a segment, −1 outside.
    order : (n_segments, n) its bars, the first segment_size of them. n_nodes : (n_segments,) of its tree, a power of 2.
    sums : (n_branches, n_classes, N_LANES), drawdowns : (n_branches, n_segments), written up to the returned number.
    outcome : (n_branches,) which of them a branch has, written in full.
    """
    n, n_segments = class_of.shape[0], segment_size.shape[0]
    registers, sleeve_of = np.zeros(n_registers, np.uint64), np.zeros(n, np.int64)
    total, logs = np.zeros((sums.shape[1], N_LANES), np.int64), np.zeros(n, np.int64)
    trees = np.zeros((n_segments, n_nodes.max(), 4), np.int64)
    i, word = 0, -1
    while i < n:
        if first_bar + i >> 6 != word:
            word = first_bar + i >> 6
            run_program(operations, bits, leaves, 0, word, registers)
        sleeve_of[i : until[i]] = sleeve_at(planes, registers, first_bar + i)
        i = until[i]
    for i in range(n):
        for lane in range(N_LANES):
            total[class_of[i], lane] += vectors[i, sleeve_of[max(i - 1, 0)], sleeve_of[i], lane]
        logs[i] = vectors[i, sleeve_of[max(i - 1, 0)], sleeve_of[i], LOG]
    for s in range(n_segments):
        if segment_size[s] > 0:
            mend_tree(trees, s, n_nodes, 0, segment_size[s] - 1, segment_size[s], order, logs)
    n_found = 0
    for j in range(outcome.shape[0]):
        is_new = j == 0
        for k in range(first_changed[j], first_changed[j + 1]):
            i = changed[k]
            run_program(operations, bits, leaves, j, first_bar + i >> 6, registers)
            sleeve = sleeve_at(planes, registers, first_bar + i)
            if sleeve != sleeve_of[i]:
                is_new = True
                hold_instead(vectors, class_of, i, until[i], sleeve, sleeve_of, total, logs)
                for s in range(n_segments):
                    mend_around(trees, s, n_nodes, i, min(until[i], n - 1), segment_size, place, order, logs)
        if is_new:
            sums[n_found] = total
            for s in range(n_segments):
                drawdowns[n_found, s] = trees[s, 1, DRAWDOWN]
            n_found += 1
        outcome[j] = n_found - 1
    return n_found


@device
def run_program(operations, bits, leaves, j, w, registers):
    """The residual program of branch j of a row on the bars of word w."""
    for o in range(operations.shape[0]):
        code, target, x, y = operations[o, 0], operations[o, 1], operations[o, 2], operations[o, 3]
        if code == LOAD_TRUE:
            registers[target] = bits[leaves[x, 0] + j * leaves[x, 1], 0, w]
        elif code == LOAD_FALSE:
            registers[target] = bits[leaves[x, 0] + j * leaves[x, 1], 1, w]
        elif code == AND:
            registers[target] = registers[x] & registers[y]
        elif code == OR:
            registers[target] = registers[x] | registers[y]
        elif code == NOR:
            registers[target] = ~(registers[x] | registers[y])
        else:
            registers[target] = ALL


@device
def sleeve_at(planes, registers, t):
    """Sleeve number at bar t, whose word the registers hold."""
    sleeve = 0
    for p in range(planes.shape[0]):
        sleeve |= np.int64((registers[planes[p]] >> np.uint64(t & 63)) & np.uint64(1)) << p
    return sleeve


@device
def hold_instead(vectors, class_of, first, until, sleeve, sleeve_of, total, logs):
    """Another sleeve over the bars from `first` to before `until`: their vectors, and that of the bar after."""
    before = sleeve_of[first]
    left_old, left_new = sleeve_of[max(first - 1, 0)], sleeve_of[first - 1] if first > 0 else sleeve
    for i in range(first, min(until + 1, class_of.shape[0])):
        old, new = (before, sleeve) if i < until else (sleeve_of[i], sleeve_of[i])
        exchange(vectors, i, left_old, old, left_new, new, total, class_of[i])
        logs[i] = vectors[i, left_new, new, LOG]
        sleeve_of[i] = new
        left_old, left_new = before, sleeve


@device
def exchange(vectors, i, left_old, old, left_new, new, total, c):
    # Whole indices: a view of an array costs two atomic operations.
    for lane in range(N_LANES):
        total[c, lane] += vectors[i, left_new, new, lane] - vectors[i, left_old, old, lane]


@device
def mend_around(trees, s, n_nodes, first, last, sizes, place, order, logs):
    """Mend the tree of segment s after the logs of the bars from `first` to `last` have changed."""
    while first <= last and place[s, first] < 0:
        first += 1
    while last >= first and place[s, last] < 0:
        last -= 1
    if first <= last:
        mend_tree(trees, s, n_nodes, place[s, first], place[s, last], sizes[s], order, logs)


@device
def mend_tree(trees, s, n_nodes, first, last, size, order, logs):
    """Compute the leaves of places `first` to `last` of segment s anew, and every node above them.

    trees : (n_segments, n_nodes, 4); node 1 is the root, 2·k and 2·k + 1 are below k, the second half are the leaves.
    """
    half = n_nodes[s] >> 1
    low, high = half + first // STRETCH, half + last // STRETCH
    for leaf in range(low, high + 1):
        begin = (leaf - half) * STRETCH
        equity, peak, bottom, drawdown = 0, 0, 0, 0
        for k in range(begin, min(begin + STRETCH, size)):
            equity += logs[order[s, k]]
            peak, bottom = max(peak, equity), min(bottom, equity)
            drawdown = max(drawdown, peak - equity)
        trees[s, leaf, SUM], trees[s, leaf, HIGH] = equity, peak
        trees[s, leaf, LOW], trees[s, leaf, DRAWDOWN] = bottom, drawdown
    while low > 1:
        low, high = low >> 1, high >> 1
        for k in range(low, high + 1):
            join(trees, s, k)


@device
def join(trees, s, k):
    """(sum, high, low, drawdown) of one stretch of log equity after another."""
    a, b = 2 * k, 2 * k + 1
    total, high, low = trees[s, a, SUM], trees[s, a, HIGH], trees[s, a, LOW]
    lowest = total + trees[s, b, LOW]
    trees[s, k, SUM] = total + trees[s, b, SUM]
    trees[s, k, HIGH] = max(high, total + trees[s, b, HIGH])
    trees[s, k, LOW] = min(low, lowest)
    trees[s, k, DRAWDOWN] = max(trees[s, a, DRAWDOWN], trees[s, b, DRAWDOWN], high - lowest)
