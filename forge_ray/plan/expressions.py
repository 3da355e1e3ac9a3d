"""Interned expressions: equal work is one object.

Three value types. *Series* give a number per bar, *bits* true / false / unknown per bar, *allocations* weights per bar.
An expression holds the ids of its operands, always lower than its own, so any loop over ids is bottom-up.
Every expression carries the axes it depends on: as `bit` (only through comparisons) or as `value` (through a series,
a ranking, a weight). Masks are Python integers, one bit per axis of the grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeAlias

import msgspec

from forge_ray.tree import AxisValue


class Op(StrEnum):
    SERIES = "series"  # parameters: metric, window, ticker
    NUMBER = "number"  # parameters: the constant
    COMPARE = "compare"  # operands: left, right; parameters: comparator
    PERSIST = "persist"  # operands: bits; parameters: days
    ALL = "all"  # operands: bits
    ANY = "any"  # operands: bits
    ROW = "row"  # parameters: tickers
    CHOOSE = "choose"  # operands: gate, then, else
    BLEND = "blend"  # operands: allocations; parameters: weighting, weight of each


BITS = (Op.COMPARE, Op.PERSIST, Op.ALL, Op.ANY)
ALLOCATIONS = (Op.ROW, Op.CHOOSE, Op.BLEND)


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
        return (own | bit | value, 0) if op in BITS else (bit & ~(own | value), own | value)


def resolve(parameters: tuple[Parameter, ...], values: Mapping[int, AxisValue]) -> tuple:
    """Parameters with axis references replaced by their values (by axis index)."""
    return tuple(values[p.axis] if isinstance(p, AxisRef) else p for p in parameters)


def axes_of(mask: int) -> tuple[int, ...]:
    """Indices of the axes in a mask, ascending."""
    return tuple(axis for axis in range(mask.bit_length()) if mask >> axis & 1)
