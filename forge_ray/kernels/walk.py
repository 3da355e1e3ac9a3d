"""What an allocation holds on single bars: its nodes walked from the root, one bar at a time.

On a bar an allocation is a function of what its nodes read there: gates, series and their own parameters, the *inputs*.
An input has the row that it has in the tree as written, or that of a *variant*, and a branch is which variants it has.

1. A bar is looked at if an input that the tree as written reads on it is another there. On all other bars the walk of
   the branch reads what the walk of the tree as written reads, node for node, so it ends with the same weights.
2. From a node follow the gates to the one that is taken. What that one is made of comes first, each node once a bar.
3. Weights are lists of (column, weight), columns ascending. They are added part by part in the order of the parts, as
   `engine.allocations` does with whole arrays, so both give the same bits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from forge_ray.kernels.compile import borrowing, device, kernel
from forge_ray.kernels.weights import NO_WEIGHT, row_shares

ROW, CHOOSE, BLEND, RANK, SCALE = range(5)
EQUAL, DEFINED, CAPPED, INVERSE, PRO = range(5)
RULE, FALLBACK, PICKED, SIGN = range(4)
IS_HELD = 0
LOW, HIGH = range(2)
NONE = -1


class Nodes(NamedTuple):
    """An allocation as a table. An input is a number; those that axes change come first.

    ops : (n_nodes,). read : (n_nodes,) input of the gate of a CHOOSE or of the value of a SCALE. own : (n_nodes,) input
    of the parameters, none of a CHOOSE. first : (n_nodes + 1,) where a node's children start in
    children : (n_children,) nodes, and per child
    score, volatility : (n_children,) inputs or NONE; a child of a RANK without a score is scored by what it holds,
    first_held : (n_children + 1,) where that starts in
    held_columns, held_scores : tickers, ascending, and the inputs of their scores.
    rooms : entries that all nodes together can hold.
    """

    ops: Any
    read: Any
    own: Any
    first: Any
    children: Any
    score: Any
    volatility: Any
    first_held: Any
    held_columns: Any
    held_scores: Any
    rooms: Any


NODES = "in i8[:], in i8[:], in i8[:], in i8[:], in i8[:], in i8[:], in i8[:], in i8[:], in i8[:], in i8[:], in i8"


class Tables(NamedTuple):
    """The rows of inputs: those of the tree as written, then those of variants.

    bits, other_bits : (n, 2, n_words) packed gates. series, other_series : (n, n_bars). integers : (n, 4) and
    floats : (n, 2) parameters of nodes; starts, columns, weights : their sparse rows, the tickers of a ROW or the
    weights of children. row_of : (n_inputs + n_variants,) in the table of its kind. unknown_is_cash : for gates.
    close : (n_tickers, n_bars), NaN where not alive.
    """

    bits: Any
    other_bits: Any
    series: Any
    other_series: Any
    integers: Any
    floats: Any
    starts: Any
    columns: Any
    weights: Any
    row_of: Any
    unknown_is_cash: Any
    close: Any


TABLES = (
    "in u8[:,:,:], in u8[:,:,:], in f8[:,:], in f8[:,:], in i8[:,:], in f8[:,:], in i8[:], in i8[:], in f8[:],"
    " in i8[:], in b1, in f8[:,:]"
)


class Work(NamedTuple):
    """What nodes hold on the bar of number `seen`: entries ``at[i]:at[i] + n[i]`` of columns and weights; and room."""

    columns: Any
    weights: Any
    at: Any
    n: Any
    active: Any
    seen: Any
    opened: Any
    taken: Any
    stack: Any
    total: Any
    marked: Any
    is_active: Any
    key: Any
    share: Any
    spread: Any
    frozen: Any
    base: Any


@device
def work_space(nodes, tables):
    n_nodes, n_tickers = len(nodes.ops), len(tables.close)
    widest = 1
    for i in range(n_nodes):
        widest = max(widest, nodes.first[i + 1] - nodes.first[i])
    return Work(
        np.zeros(nodes.rooms, np.int64), np.zeros(nodes.rooms), np.zeros(n_nodes, np.int64),
        np.zeros(n_nodes, np.int64), np.zeros(n_nodes, np.bool_), np.zeros(n_nodes, np.int64),
        np.zeros(n_nodes, np.int64), np.zeros(len(nodes.children), np.int64),
        np.zeros(len(nodes.children) + 1, np.int64), np.zeros(n_tickers), np.zeros(n_tickers, np.bool_),
        np.zeros(widest, np.bool_), np.zeros(widest), np.zeros(widest), np.zeros(widest), np.zeros(widest, np.bool_),
        np.zeros(widest),
    )  # fmt: skip


@borrowing
def row_in(tables, variant, i):
    """The row of input i for a branch with these variants of the inputs that axes change."""
    return tables.row_of[variant[i] if i < len(variant) else i]


@borrowing
def series_at(tables, variant, i, t):
    row, n = row_in(tables, variant, i), len(tables.series)
    return tables.series[row, t] if row < n else tables.other_series[row - n, t]


@borrowing
def is_set(tables, row, side, t):
    n, word, bit = len(tables.bits), t >> 6, np.uint64(t & 63)
    words = tables.bits[row, side, word] if row < n else tables.other_bits[row - n, side, word]
    return (words >> bit) & np.uint64(1) != 0


@borrowing
def taken_from(nodes, tables, variant, i, t):
    """The node below the gates from node i on, NONE if one of them is unknown: cash."""
    while nodes.ops[i] == CHOOSE:
        gate, first = row_in(tables, variant, nodes.read[i]), nodes.first[i]
        if is_set(tables, gate, 0, t):
            i = nodes.children[first]
        elif not tables.unknown_is_cash or is_set(tables, gate, 1, t):
            i = nodes.children[first + 1]
        else:
            return NONE
    return i


@borrowing
def held_on(nodes, tables, variant, t, number, work):
    """The node that the root is on bar t, NONE for cash; `work` then has what it holds. number : of this call."""
    root = taken_from(nodes, tables, variant, len(nodes.ops) - 1, t)
    if root == NONE:
        return NONE
    work.stack[0] = root
    depth, room = 1, 0
    while depth:
        i = work.stack[depth - 1]
        if work.opened[i] != number:
            work.opened[i] = number
            for c in range(nodes.first[i], nodes.first[i + 1]):
                below = taken_from(nodes, tables, variant, nodes.children[c], t)
                work.taken[c] = below
                if below != NONE and work.opened[below] != number:
                    work.stack[depth] = below
                    depth += 1
            if work.stack[depth - 1] != i:
                continue
        depth -= 1
        if work.seen[i] != number:
            work.seen[i] = number
            work.at[i] = room
            hold(nodes, tables, variant, i, t, work)
            room += work.n[i]
    return root


@borrowing
def hold(nodes, tables, variant, i, t, work):
    """Write what node i holds on bar t; its children's is there."""
    own = row_in(tables, variant, nodes.own[i])
    if nodes.ops[i] == ROW:
        hold_row(tables, own, i, t, work)
        return
    first, end = nodes.first[i], nodes.first[i + 1]
    is_any = False
    for c in range(first, end):
        below = work.taken[c]
        work.is_active[c - first] = below == NONE or work.active[below]
        is_any |= work.is_active[c - first]
    fallback, rest = NONE, 0.0
    if nodes.ops[i] == SCALE:
        value = series_at(tables, variant, nodes.read[i], t)
        is_any |= split(value, tables.floats[own, LOW], tables.floats[own, HIGH], work.share)
    else:
        if nodes.ops[i] == RANK:
            pick(nodes, tables, variant, own, first, end, t, work)
        for c in range(first, end):
            volatility = nodes.volatility[c]
            work.spread[c - first] = np.nan if volatility == NONE else series_at(tables, variant, volatility, t)
        share_out(tables, own, end - first, work)
        fallback, rest = left_over(tables, own, end - first, t, work)
    work.active[i] = is_any
    mix(work, i, first, end, fallback, rest)


@borrowing
def hold_row(tables, own, i, t, work):
    at = work.at[i]
    for j in range(tables.starts[own], tables.starts[own + 1]):
        if not np.isnan(tables.close[tables.columns[j], t]):
            work.columns[at], work.weights[at] = tables.columns[j], tables.weights[j]
            at += 1
    work.n[i] = at - work.at[i]
    work.active[i] = tables.integers[own, IS_HELD] != 0


@borrowing
def split(value, low, high, share):
    """Shares of both sides of a SCALE; whether its value is unknown."""
    part = (value - low) / (high - low)
    if np.isnan(part):
        share[0], share[1] = 0.0, 0.0
        return True
    part = min(max(part, 0.0), 1.0)
    share[0], share[1] = 1.0 - part, part
    return False


@borrowing
def pick(nodes, tables, variant, own, first, end, t, work):
    """Leave active the children with the best scores; ties go to the first."""
    n, sign = end - first, tables.integers[own, SIGN]
    for j in range(n):
        score = score_of(nodes, tables, variant, first + j, t, work) if work.is_active[j] else np.nan
        work.key[j] = np.inf if np.isnan(score) else sign * score
        work.is_active[j] = False
    for _ in range(min(n, tables.integers[own, PICKED])):
        best = NONE
        for j in range(n):
            if np.isfinite(work.key[j]) and (best == NONE or work.key[j] < work.key[best]):
                best = j
        if best == NONE:
            break
        work.is_active[best] = True
        work.key[best] = np.inf


@borrowing
def score_of(nodes, tables, variant, c, t, work):
    """The score of a child: a series, or that of what it holds, weighted."""
    if nodes.score[c] != NONE:
        return series_at(tables, variant, nodes.score[c], t)
    below = work.taken[c]
    if below == NONE:
        return np.nan
    total, share, n, last = 0.0, 0.0, 0, np.nan
    j, end = work.at[below], work.at[below] + work.n[below]
    for h in range(nodes.first_held[c], nodes.first_held[c + 1]):
        while j < end and work.columns[j] < nodes.held_columns[h]:
            j += 1
        if j < end and work.columns[j] == nodes.held_columns[h] and work.weights[j] > 0.0:
            score = series_at(tables, variant, nodes.held_scores[h], t)
            if not np.isnan(score):
                total += work.weights[j] * score
                share += work.weights[j]
                n += 1
                last = score
    return last if n <= 1 else total / share


@borrowing
def share_out(tables, own, n, work):
    """Shares of the active children by the rule of the node."""
    rule, low, high = tables.integers[own, RULE], tables.floats[own, LOW], tables.floats[own, HIGH]
    if rule in (INVERSE, PRO):
        row_shares(
            work.is_active[:n], work.spread[:n], rule == INVERSE, low, high, work.share[:n], work.frozen[:n],
            work.base[:n],
        )  # fmt: skip
        return
    n_active, total = 0, 0.0
    for j in range(n):
        n_active += work.is_active[j]
        if rule == DEFINED and work.is_active[j]:
            total += tables.weights[tables.starts[own] + j]
    for j in range(n):
        work.share[j] = 0.0
        if work.is_active[j]:
            if rule == DEFINED:
                work.share[j] = tables.weights[tables.starts[own] + j] / total if total > 0.0 else 0.0
            else:
                work.share[j] = 1.0 / n_active if rule == EQUAL else min(1.0 / n_active, high)


@borrowing
def left_over(tables, own, n, t, work):
    """(column, weight) of what the fallback ticker takes."""
    fallback = tables.integers[own, FALLBACK]
    if fallback == NONE or np.isnan(tables.close[fallback, t]) or not work.is_active[:n].any():
        return NONE, 0.0
    total = 0.0
    for j in range(n):
        total += work.share[j]
    rest = 1.0 - total
    return (fallback, rest) if rest > NO_WEIGHT else (NONE, 0.0)


@borrowing
def mix(work, i, first, end, fallback, rest):
    """Add up the children by their shares, and the fallback."""
    at = work.at[i]
    n = 0
    for c in range(first, end):
        below, share = work.taken[c], work.share[c - first]
        if below != NONE and share != 0.0:
            for j in range(work.at[below], work.at[below] + work.n[below]):
                n = put(work, at, n, work.columns[j], share * work.weights[j])
    if fallback != NONE:
        n = put(work, at, n, fallback, rest)
    kept = at
    for j in range(at, at + n):
        column = work.columns[j]
        work.marked[column] = False
        if work.total[column] != 0.0:
            work.columns[kept], work.weights[kept] = column, work.total[column]
            kept += 1
    work.n[i] = kept - at


@borrowing
def put(work, at, n, column, weight):
    """Add to the total of a column; the n columns from `at` on stay ascending. The number of columns after it."""
    if work.marked[column]:
        work.total[column] += weight
        return n
    work.marked[column] = True
    work.total[column] = weight
    j = at + n
    while j > at and work.columns[j - 1] > column:
        work.columns[j] = work.columns[j - 1]
        j -= 1
    work.columns[j] = column
    return n + 1


@kernel(
    f"{NODES}, {TABLES}, in u8[:,:], in i8[:,:], in i8[:], in b1[:], in i8[:], in i8[:], in f8[:],"
    " in i8, out i8[:], out i8[:], out b1[:], out i8[:], out i8[:], out f8[:], out i8[:]"
)
def walk(
    ops, read, own, first, children, score, volatility, first_held, held_columns, held_scores, rooms, bits, other_bits,
    series, other_series, integers, floats, starts, columns, weights, row_of, unknown_is_cash, close, changed, variants,
    base_row_of, base_active, base_starts, base_columns, base_weights, first_branch, branches, at, active,
    found_starts, found_columns, found_weights, counts,
):  # fmt: skip
    """What branches hold on the bars on which it is not what the tree as written holds.

    ops … rooms : see `Nodes`. bits … close : see `Tables`. changed : (n_variants, n_words) bars on which a variant is
    not what the tree as written reads there. variants : (n_branches, n_changed_inputs); below the number of inputs, it
    is the input as written. base_row_of : (n_bars,) row of the tree as written in base_active, False where Empty,
    and base_starts, base_columns, base_weights, sparse and without zeros. first_branch : where to begin.
    branches, at : (room,) branch and bar of each row found, ascending. active : (room,), found_starts (room + 1,),
    found_columns, found_weights : the rows. counts : (2,) rows found, and the first branch whose rows did not fit.
    """
    nodes = Nodes(ops, read, own, first, children, score, volatility, first_held, held_columns, held_scores, rooms)
    tables = Tables(
        bits, other_bits, series, other_series, integers, floats, starts, columns, weights, row_of, unknown_is_cash,
        close,
    )  # fmt: skip
    work, looked_at = work_space(nodes, tables), np.zeros(changed.shape[1], np.uint64)
    n_inputs = len(row_of) - len(changed)
    counts[0], counts[1] = 0, len(variants)
    found_starts[0] = 0
    n_found, number = 0, 0
    for b in range(first_branch, len(variants)):
        looked_at[:] = 0
        for i in range(variants.shape[1]):
            if variants[b, i] >= n_inputs:
                for w in range(len(looked_at)):
                    looked_at[w] |= changed[variants[b, i] - n_inputs, w]
        for w in range(len(looked_at)):
            word, t = looked_at[w], w << 6
            while word:
                if word & np.uint64(1):
                    number += 1
                    root = held_on(nodes, tables, variants[b], t, number, work)
                    row = base_row_of[t]
                    lo, n_base = base_starts[row], base_starts[row + 1] - base_starts[row]
                    is_active = root == NONE or work.active[root]
                    if is_active != base_active[row] or not is_same(
                        work, root, base_columns[lo : lo + n_base], base_weights[lo : lo + n_base]
                    ):
                        n = 0 if root == NONE else work.n[root]
                        to = found_starts[n_found]
                        if n_found == len(at) or to + n > len(found_columns):
                            counts[1] = b
                            return
                        for j in range(n):
                            found_columns[to + j] = work.columns[work.at[root] + j]
                            found_weights[to + j] = work.weights[work.at[root] + j]
                        branches[n_found], at[n_found], active[n_found] = b, t, is_active
                        n_found += 1
                        found_starts[n_found] = to + n
                word >>= np.uint64(1)
                t += 1
        counts[0] = n_found


@borrowing
def is_same(work, root, columns, weights):
    if root == NONE:
        return len(columns) == 0
    if work.n[root] != len(columns):
        return False
    for j in range(len(columns)):
        if work.columns[work.at[root] + j] != columns[j] or work.weights[work.at[root] + j] != weights[j]:
            return False
    return True
