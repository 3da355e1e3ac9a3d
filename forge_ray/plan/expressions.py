"""Interned expressions: equal work is one object.

Three value types. *Series* give a number per bar, *bits* true / false / unknown per bar, *allocations* weights per bar.
A series of an allocation is of its simulated equity, or a score of it: it closes a stratum, so every axis below it is a
`value` axis.
An expression holds the ids of its operands, always lower than its own, so any loop over ids is bottom-up.
Every expression carries the axes it depends on: as `bit` (only through comparisons) or as `value` (through a series,
a ranking, a weight). Masks are Python integers, one bit per axis of the grid.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TypeAlias

import msgspec

from forge_ray.tree import AxisValue


class Op(StrEnum):
    SERIES = "series"  # operands: allocation, of its equity; parameters: metric, window, ticker or both of a ratio
    SCORE = "score"  # operands: allocation; parameters: metric, window, of
    NUMBER = "number"  # parameters: the constant
    COMPARE = "compare"  # operands: left, right; parameters: comparator
    PERSIST = "persist"  # operands: bits; parameters: days
    DATE = "date"  # parameters: month, day, last month, last day
    ALL = "all"  # operands: bits
    ANY = "any"  # operands: bits
    COUNT = "count"  # operands: bits; parameters: quantifier, n
    KNOWN = "known"  # operands: bits; unknown counts as false
    LATCH = "latch"  # operands: entry, exit
    ROW = "row"  # parameters: tickers
    CHOOSE = "choose"  # operands: gate, then, else
    BLEND = "blend"  # operands: allocations, then their volatilities; parameters: weighting
    RANK = "rank"  # operands: allocations, their scores, their volatilities; parameters: rank, n, weighting
    SCALE = "scale"  # operands: series, then, else; parameters: from, to


BITS = (Op.COMPARE, Op.PERSIST, Op.DATE, Op.ALL, Op.ANY, Op.COUNT, Op.KNOWN, Op.LATCH)
SERIES = (Op.SERIES, Op.SCORE, Op.NUMBER)
ALLOCATIONS = (Op.ROW, Op.CHOOSE, Op.BLEND, Op.RANK, Op.SCALE)
WEIGHTING_PARAMETERS = 4
"""Of a BLEND or RANK: the rule, least and most share in percent, the fallback; the weights of the children follow."""


class AxisRef(msgspec.Struct, frozen=True):
    """A parameter that takes the value of an axis, by its index in the grid."""

    axis: int


Parameter: TypeAlias = int | float | str | AxisRef | None


class Expression(msgspec.Struct, frozen=True):
    """One interned expression. `bit_axes` and `value_axes` are masks over the axes of the grid."""

    op: Op
    operands: tuple[int, ...]
    parameters: tuple[Parameter, ...]
    bit_axes: int
    value_axes: int

    @property
    def axes(self) -> int:
        return self.bit_axes | self.value_axes


class ExpressionTable:
    """Builds expressions; asking twice for the same one gives the same id."""

    def __init__(self) -> None:
        self.rows: list[Expression] = []
        self._ids: dict[tuple, int] = {}

    def intern(self, op: Op, operands: tuple[int, ...] = (), parameters: tuple[Parameter, ...] = ()) -> int:
        # The types keep 1, 1.0 and True apart, which Python takes as equal keys.
        key = (op, operands, parameters, tuple(type(parameter) for parameter in parameters))
        if key not in self._ids:
            self._ids[key] = len(self.rows)
            self.rows.append(Expression(op, operands, parameters, *self._axes(op, operands, parameters)))
        return self._ids[key]

    def _axes(self, op: Op, operands: tuple[int, ...], parameters: tuple[Parameter, ...]) -> tuple[int, int]:
        own = sum(1 << axis for axis in {p.axis for p in parameters if isinstance(p, AxisRef)})
        bit, value = 0, 0
        for operand in operands:
            bit |= self.rows[operand].bit_axes
            value |= self.rows[operand].value_axes
        if op in BITS:
            return own | bit | value, 0
        if op in (*SERIES, Op.RANK) or (op is Op.BLEND and self.rows[operands[-1]].op is Op.SERIES):
            return 0, own | bit | value
        return bit & ~(own | value), own | value


def resolve(parameters: tuple[Parameter, ...], values: Mapping[int, AxisValue]) -> tuple:
    """Parameters with axis references replaced by their values (by axis index)."""
    return tuple(values[p.axis] if isinstance(p, AxisRef) else p for p in parameters)


def axes_of(mask: int) -> tuple[int, ...]:
    """Indices of the axes in a mask, ascending."""
    axes = []
    while mask:
        lowest = mask & -mask
        axes.append(lowest.bit_length() - 1)
        mask ^= lowest
    return tuple(axes)


def reachable(expressions: Sequence[Expression], roots: Iterable[int]) -> list[int]:
    """Expressions that some roots need, themselves included, operands before users."""
    seen, stack = set(), list(roots)
    while stack:
        i = stack.pop()
        if i not in seen:
            seen.add(i)
            stack.extend(expressions[i].operands)
    return sorted(seen)
