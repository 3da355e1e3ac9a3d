"""`Nearby`: an allocation at some values of the axes, and what it holds at values near them.

1. An input (`program.py`) is *reached* on a bar if a node on the way that is taken there reads it.
2. Other values give some inputs other rows, *variants*. Each is made once, with the reached bars on which it is not
   what it was. On all other bars the way is the same, and what is held too.
3. The allocation is walked on the bars that are left (`kernels.walk`), at many points at once.

The equities of allocations inside are of the same kind: `NearEvaluator` patches those, and an allocation that holds the
same everywhere, from the same bar on, has the equity that is known.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from forge_ray.data import Panel
from forge_ray.engine.allocations import Allocation
from forge_ray.engine.cache import Cache
from forge_ray.engine.inputs import Row, Table, changed, read, stacked, table_of, tables_with
from forge_ray.engine.point import Point
from forge_ray.engine.program import Program, program_of
from forge_ray.engine.values import Evaluator, Values
from forge_ray.kernels import bits, walk
from forge_ray.plan import Plan
from forge_ray.tree import AxisValue

FOUND_ROWS, FOUND_ENTRIES = 2**15, 2**17
"""Room for what one call of the walk finds; four times more where a single branch does not fit."""


class Sparse(NamedTuple):
    """Rows of weights without zeros: row j is ``starts[j]:starts[j + 1]`` of columns, ascending, and weights."""

    starts: np.ndarray
    columns: np.ndarray
    weights: np.ndarray


class Variant(NamedTuple):
    """Another row of an input, and the packed bars on which it is not what is read there."""

    row: Row
    changed: np.ndarray


class Variants(NamedTuple):
    """Which of them some branches have.

    number : (n_branches, n_changed_inputs) in `found`, after as many numbers as there are inputs, for the known ones.
    found : what each is of, and its row.
    """

    number: np.ndarray
    found: list[tuple[int, Variant]]


class Found(NamedTuple):
    """Where `n_branches` branches hold another row: (m,) branch and bar, ascending, whether active; rows in `held`."""

    n_branches: int
    branch: np.ndarray
    bar: np.ndarray
    active: np.ndarray
    held: Sparse


@dataclass(frozen=True)
class Nearby:
    """An allocation at the base. rows : of its inputs. reached : (n_inputs, n_words) packed bars. held : its rows."""

    root: int
    program: Program
    rows: tuple[Row, ...]
    table: Table
    reached: np.ndarray
    allocation: Allocation
    held: Sparse

    @property
    def nbytes(self) -> int:
        return self.table.nbytes + self.reached.nbytes + self.allocation.nbytes

    def variant(self, evaluator: NearEvaluator, i: int, point: Point) -> Variant:
        """Of input i. A change that is the same in other branches is the same variant."""

        def make() -> Variant:
            evaluator.prepare(self.program.inputs[i].expression, point)
            row = read(evaluator, self.program.inputs[i], point)
            return Variant(row, changed(self.program.inputs[i], row, self.rows[i], self.reached[i]))

        key = ("variant", evaluator.whole, self.root, i, *point.changed.items())
        return evaluator.cache.get(key, make, lambda v: v.changed.nbytes + getattr(v.row, "nbytes", 0))

    def walked(self, evaluator: NearEvaluator, variants: Variants) -> Iterator[Found]:
        """What branches hold where it is something else, some branches at a time."""
        inputs = [self.program.inputs[i] for i, _ in variants.found]
        others = table_of(inputs, [v.row for _, v in variants.found], evaluator.n_bars)
        unknown_is_cash = evaluator.plan.execution.null == "cash"
        tables = tables_with(self.table, others, inputs, evaluator.panel, unknown_is_cash)
        differs = stacked([v.changed for _, v in variants.found], self.reached.shape[1:], np.uint64)
        begin, room, counts = 0, 1, np.empty(2, np.int64)
        while begin < len(variants.number):
            branches, at = np.empty((2, room * FOUND_ROWS), np.int64)
            active, starts = np.empty(len(at), bool), np.empty(len(at) + 1, np.int64)
            columns, weights = np.empty(room * FOUND_ENTRIES, np.int64), np.empty(room * FOUND_ENTRIES)
            walk.walk(
                *self.program.nodes, *tables, differs, variants.number, self.allocation.row_of, self.allocation.active,
                *self.held, begin, branches, at, active, starts, columns, weights, counts,
            )  # fmt: skip
            n, end = counts.tolist()
            if end > begin:
                held = Sparse(starts[: n + 1], columns[: starts[n]], weights[: starts[n]])
                yield Found(end - begin, branches[:n] - begin, at[:n], active[:n], held)
            room = room if end > begin else 4 * room
            begin = end


def nearby_of(evaluator: Evaluator, root: int, base: Mapping[int, AxisValue], bars: np.ndarray) -> Nearby:
    """bars : (n_words,) packed, those that matter."""
    point, program = Point(base, {}), program_of(evaluator.plan, evaluator.panel, root)
    allocation = evaluator.allocation(root, point)
    rows = tuple(read(evaluator, what, point) for what in program.inputs)
    return Nearby(
        root, program, rows, table_of(program.inputs, rows, evaluator.n_bars),
        _reached(program, rows, bars, evaluator.plan.execution.null == "cash"), allocation, sparse(allocation.weights),
    )  # fmt: skip


class NearEvaluator(Evaluator):
    """Evaluates at points around a base, where allocations are patches of those of the base.

    bars : what tells which bars matter; it is part of the keys of what is known around the base.
    """

    def __init__(self, plan: Plan, panel: Panel, cache: Cache, base: Mapping[int, AxisValue], bars: bytes):
        super().__init__(plan, panel, cache)
        self.base = base
        self.whole = hashlib.blake2b(b"".join((bars, self.scope, *plan.identities)), digest_size=16).digest()
        self._bases: dict[int, Nearby] = {}

    def allocation(self, root: int, values: Values) -> Allocation:
        if not isinstance(values, Point) or not values.mask & self.plan.expressions[root].axes:
            return super().allocation(root, values)
        known = self._nearby(root).allocation
        return self._kept(
            "allocation", root, values, lambda: self._patched(root, values), lambda a: 0 if a is known else a.nbytes
        )

    def _of_equity(self, allocation: int, metric: str, window: int, values: Values) -> np.ndarray:
        if isinstance(values, Point) and values.mask & self.plan.expressions[allocation].axes:
            written = Point(self.base, {})
            holds_same = self.allocation(allocation, values) is self._nearby(allocation).allocation
            if holds_same and self.ready(allocation, values) == self.ready(allocation, written):
                values = written
        return super()._of_equity(allocation, metric, window, values)

    def _nearby(self, root: int) -> Nearby:
        """Of a base that the cache may be too small for: it is asked for again and again."""
        if root not in self._bases:
            everywhere = bits.bar_mask(0, self.n_bars, self.n_bars)
            make = partial(nearby_of, self, root, self.base, everywhere)
            self._bases[root] = self.cache.get(("nearby", self.whole, root), make, lambda found: found.nbytes)
        return self._bases[root]

    def _patched(self, root: int, point: Point) -> Allocation:
        self.prepare(root, point)
        near = self._nearby(root)
        inputs, known = near.program.inputs, near.allocation
        number, found = np.arange(near.program.n_changed)[None].copy(), []
        for i in range(number.shape[1]):
            if inputs[i].axes & point.mask:
                number[0, i] = len(inputs) + len(found)
                found.append((i, near.variant(self, i, point.only(inputs[i].axes))))
        (there,) = near.walked(self, Variants(number, found))
        if not len(there.bar):
            return known
        rows = np.zeros((len(there.bar), known.weights.shape[1]))
        rows[np.repeat(np.arange(len(rows)), np.diff(there.held.starts)), there.held.columns] = there.held.weights
        row_of = known.row_of.copy()
        row_of[there.bar] = len(known.weights) + np.arange(len(rows))
        return Allocation(np.vstack([known.weights, rows]), np.concatenate([known.active, there.active]), row_of)


def _reached(program: Program, rows: tuple[Row, ...], bars: np.ndarray, unknown_is_cash: bool) -> np.ndarray:
    """(n_inputs, n_words) packed bars, of some, on which a node on the taken way reads the input."""
    nodes = program.nodes
    at = np.zeros((len(nodes.ops), len(bars)), np.uint64)
    at[-1] = bars
    reached = np.zeros((len(program.inputs) + 1, len(bars)), np.uint64)  # the last is that of no input
    for i in reversed(range(len(nodes.ops))):
        children = range(nodes.first[i], nodes.first[i + 1])
        for own in {nodes.read[i], nodes.own[i]}:
            reached[own] |= at[i]
        for c in children:
            below = at[i]
            if nodes.ops[i] == walk.CHOOSE:
                true, false = rows[nodes.read[i]]
                no = false if unknown_is_cash else ~true
                below = below & (true if c == children.start else no)
            at[nodes.children[c]] |= below
            held = nodes.held_scores[nodes.first_held[c] : nodes.first_held[c + 1]]
            for own in {nodes.score[c], nodes.volatility[c], *held}:
                reached[own] |= below
    return reached[:-1]


def sparse(dense: np.ndarray) -> Sparse:
    rows, columns = np.nonzero(dense)
    return Sparse(np.searchsorted(rows, np.arange(len(dense) + 1)), np.ascontiguousarray(columns), dense[rows, columns])
