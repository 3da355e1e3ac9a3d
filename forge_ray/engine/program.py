"""`Program`: an allocation as a flat table that `kernels.walk` reads, and what its nodes read on a bar.

Gates with everything below them, series and parameters are inputs: numbers, each with the axes that change it. A score
of what a child holds is taken apart into series of tickers where axes change what the child holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain

import numpy as np

from forge_ray.data import Panel
from forge_ray.kernels import walk
from forge_ray.plan import (
    ALLOCATIONS,
    WEIGHTING_PARAMETERS,
    AxisRef,
    Expression,
    Op,
    Plan,
    held_tickers,
    reachable,
)

OPS = {Op.ROW: walk.ROW, Op.CHOOSE: walk.CHOOSE, Op.BLEND: walk.BLEND, Op.RANK: walk.RANK, Op.SCALE: walk.SCALE}


class Kind(IntEnum):
    GATE, SERIES, PARAMETERS = range(3)


@dataclass(frozen=True)
class Input:
    """What nodes read on a bar: a gate, a series, or the parameters of a node (expression ids).

    ticker : of a score, when it is that of one ticker. axes : mask of those that change it.
    """

    kind: Kind
    expression: int
    axes: int
    ticker: str | None = None


@dataclass(frozen=True)
class Program:
    """nodes : the table, the root last. inputs : by number, the first `n_changed` are those that axes change."""

    nodes: walk.Nodes
    inputs: tuple[Input, ...]

    @property
    def n_changed(self) -> int:
        return sum(bool(i.axes) for i in self.inputs)


def program_of(plan: Plan, panel: Panel, root: int) -> Program:
    """The program of an allocation expression."""
    return _Builder(plan, panel).build(root)


class _Builder:
    def __init__(self, plan: Plan, panel: Panel):
        self.plan, self.panel, self.expressions = plan, panel, plan.expressions
        self.inputs: dict[Input, int] = {}

    def build(self, root: int) -> Program:
        nodes = self._allocations(root)
        numbers = {i: number for number, i in enumerate(nodes)}
        read, own, children, score, volatility, held = [], [], [], [], [], []
        for i in nodes:
            e = self.expressions[i]
            below, scores, volatilities = _operands(e)
            read.append(self._read(e))
            own.append(walk.NONE if e.op is Op.CHOOSE else self._input(Kind.PARAMETERS, i, _own_axes(e)))
            children.append([numbers[child] for child in below])
            for j, child in enumerate(below):
                series, tickers = self._score(scores[j], child) if scores else (walk.NONE, [])
                score.append(series)
                held.append(tickers)
                volatility.append(self._series(volatilities[j]) if volatilities else walk.NONE)
        columns, scored = _flat(held, 2)
        table = walk.Nodes(
            _ints([OPS[self.expressions[i].op] for i in nodes]), _ints(read), _ints(own), _starts(children),
            _ints([*chain.from_iterable(children)]), _ints(score), _ints(volatility), _starts(held), columns, scored,
            self._rooms(nodes, numbers),
        )  # fmt: skip
        return self._ordered(table)

    def _allocations(self, root: int) -> list[int]:
        """Allocations that the root is made of, not those that gates and series look at; operands first."""
        found, stack = set(), [root]
        while stack:
            i = stack.pop()
            if i not in found:
                found.add(i)
                stack += _operands(self.expressions[i])[0]
        return sorted(found)

    def _input(self, kind: Kind, expression: int, axes: int, ticker: str | None = None) -> int:
        return self.inputs.setdefault(Input(kind, expression, axes, ticker), len(self.inputs))

    def _series(self, i: int) -> int:
        return self._input(Kind.SERIES, i, self.expressions[i].axes)

    def _read(self, e: Expression) -> int:
        if e.op is Op.CHOOSE:
            return self._input(Kind.GATE, e.operands[0], self.expressions[e.operands[0]].axes)
        return self._series(e.operands[0]) if e.op is Op.SCALE else walk.NONE

    def _score(self, i: int, child: int) -> tuple[int, list[tuple[int, int]]]:
        """The series of a score, or NONE and the (column, series) of the tickers that the child can hold."""
        e, of = self.expressions[i], self.expressions[i].parameters[2]
        if of == "tickers":
            rows = (self.expressions[o] for o in reachable(self.expressions, [child]))
            below = {a for row in rows if row.op in ALLOCATIONS for a in _swept(row)}
            return self._input(Kind.SERIES, i, _mask({*_swept(e), *below})), []
        if of != "allocation" or not self.expressions[child].axes:
            return self._series(i), []
        tickers = held_tickers(self.expressions, child, self.plan.values_of)
        inputs = {ticker: self._input(Kind.SERIES, i, _own_axes(e), ticker) for ticker in sorted(tickers)}
        return walk.NONE, sorted((self.panel.row(ticker), number) for ticker, number in inputs.items())

    def _rooms(self, nodes: Sequence[int], numbers: dict[int, int]) -> int:
        """Entries that all nodes can hold together, each as many as its children, at most one per ticker."""
        rooms: list[int] = []
        for i in nodes:
            e = self.expressions[i]
            below = [rooms[numbers[child]] for child in _operands(e)[0]]
            own = len(e.parameters) if e.op is Op.ROW else sum(below) + 1
            rooms.append(max(below) if e.op is Op.CHOOSE else min(own, len(self.panel.tickers)))
        return sum(rooms)

    def _ordered(self, table: walk.Nodes) -> Program:
        """The inputs that axes change first."""
        inputs = sorted(self.inputs, key=lambda i: not i.axes)
        place = np.full(len(inputs) + 1, walk.NONE)
        place[[self.inputs[i] for i in inputs]] = np.arange(len(inputs))
        moved = {name: place[getattr(table, name)] for name in ("read", "own", "score", "volatility", "held_scores")}
        return Program(table._replace(**moved), tuple(inputs))


def _operands(e: Expression) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """The allocations that an allocation is made of, their scores and their volatilities."""
    match e.op:
        case Op.ROW:
            return (), (), ()
        case Op.CHOOSE | Op.SCALE:
            return e.operands[1:], (), ()
        case Op.BLEND:
            n = len(e.parameters) - WEIGHTING_PARAMETERS
            return e.operands[:n], (), e.operands[n:]
    n = len(e.parameters) - WEIGHTING_PARAMETERS - 2
    return e.operands[:n], e.operands[n : 2 * n], e.operands[2 * n :]


def _swept(e: Expression) -> Iterator[int]:
    return (p.axis for p in e.parameters if isinstance(p, AxisRef))


def _own_axes(e: Expression) -> int:
    """Axes of the parameters of the expression itself."""
    return _mask(set(_swept(e)))


def _mask(axes: set[int]) -> int:
    return sum(1 << a for a in axes)


def _ints(values: Sequence) -> np.ndarray:
    return np.array(values, np.int64)


def _starts(lists: Sequence[Sequence]) -> np.ndarray:
    return _ints([0, *np.cumsum([len(found) for found in lists], dtype=np.int64)])


def _flat(lists: Sequence[Sequence[tuple[int, ...]]], width: int) -> tuple[np.ndarray, ...]:
    return tuple(np.ascontiguousarray(column) for column in _ints([*chain.from_iterable(lists)]).reshape(-1, width).T)
