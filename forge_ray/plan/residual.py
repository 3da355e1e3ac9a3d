"""What is left to do per branch: inner axes, cofactors and the residual program of one tree.

1. Inner axes are chosen among the axes that touch the root only through bits, largest first, as long as the distinct
   *cofactors* (the allocation with every touched gate fixed) stay at most `MAX_COFACTORS`. All others are outer.
2. Cofactors are found bottom-up: a Choose passes on those of both sides, plus cash for an unknown gate; a Blend or a
   Scale the combinations of its children's. They contain no inner axis, so they are the sleeves of a group. A Choose
   above an inner axis goes into the program even if its own gate is fixed: sides add up there, and would multiply in a
   sleeve.
3. Beside each cofactor grows the mask of the bars on which it is in force, as operations on bit registers. The masks
   are folded into planes: bit j of the sleeve number of a bar is the bit of that bar in plane j.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import msgspec

from forge_ray.catalog import CASH
from forge_ray.plan.expressions import ALLOCATIONS, Expression, ExpressionTable, Op, axes_of

MAX_COFACTORS = 16

LOAD_TRUE, LOAD_FALSE, AND, OR, NOR, ONES = range(6)


class Residual(msgspec.Struct, frozen=True):
    """The per-branch work of one tree.

    leaves : bits expressions whose rows the program loads, one row per combination of their inner axes.
    operations : (code, target register, operand, operand); LOAD operands are leaf indices.
    planes : registers holding the bits of the sleeve number, least significant first.
    cofactors : allocation expressions, in the order of the sleeve numbers.
    """

    inner: tuple[int, ...]
    outer: tuple[int, ...]
    leaves: tuple[int, ...]
    operations: tuple[tuple[int, int, int, int], ...]
    n_registers: int
    planes: tuple[int, ...]
    cofactors: tuple[int, ...]


class _TooManyCofactorsError(Exception):
    pass


def residual_of(
    root: int, table: ExpressionTable, radices: tuple[int, ...], unknown_is_cash: bool, is_sparse: bool = False
) -> Residual:
    """Choose inner axes for a root allocation and build its program.

    radices : values per axis of the space. is_sparse : branches rarely share outer values, so cofactors beside the one
    in force would be for nothing; all axes are inner, or none.
    """
    expression = table.rows[root]
    candidates = axes_of(expression.bit_axes & ~expression.value_axes)
    inner = 0
    if is_sparse:
        whole = 0 if expression.value_axes else expression.bit_axes
        return _Builder(table, whole if _fits(root, table, whole, unknown_is_cash) else 0, unknown_is_cash).build(root)
    for axis in sorted(candidates, key=lambda a: (-radices[a], a)):
        if _fits(root, table, inner | 1 << axis, unknown_is_cash):
            inner |= 1 << axis
    return _Builder(table, inner, unknown_is_cash).build(root)


def _fits(root: int, table: ExpressionTable, inner: int, unknown_is_cash: bool) -> bool:
    try:
        _Builder(table, inner, unknown_is_cash).build(root)
    except _TooManyCofactorsError:
        return False
    return True


class _Builder:
    """Masks are register numbers; `None` stands for all bars, so that a sleeve by itself costs nothing."""

    def __init__(self, table: ExpressionTable, inner: int, unknown_is_cash: bool):
        self.table, self.inner, self.unknown_is_cash = table, inner, unknown_is_cash
        self.leaves: list[int] = []
        self.operations: list[tuple[int, int, int, int]] = []
        self.registers: dict[tuple[int, int, int], int] = {}
        self.gates: dict[int, tuple[int, int]] = {}

    def build(self, root: int) -> Residual:
        outcomes: dict[int, dict[int, int | None]] = {}
        for i in self._touched_allocations(root):
            outcomes[i] = self._outcomes(self.table.rows[i], outcomes)
            if len(outcomes[i]) > MAX_COFACTORS:
                raise _TooManyCofactorsError
        masks = outcomes.get(root, {root: None})
        cofactors = tuple(masks)
        planes = tuple(self._plane(j, masks) for j in range((len(cofactors) - 1).bit_length()))
        inner = axes_of(self.inner)
        outer = tuple(a for a in axes_of(self.table.rows[root].axes) if a not in inner)
        return Residual(
            inner, outer, tuple(self.leaves), tuple(self.operations), len(self.registers), planes, cofactors
        )

    def _touched_allocations(self, root: int) -> list[int]:
        found, stack = set(), [root]
        while stack:
            i = stack.pop()
            row = self.table.rows[i]
            if i not in found and row.op in ALLOCATIONS and row.axes & self.inner:
                found.add(i)
                stack.extend(row.operands)
        return sorted(found)

    def _outcomes(self, row: Expression, below: dict[int, dict[int, int | None]]) -> dict[int, int | None]:
        if row.op is Op.CHOOSE:
            return self._choices(row, below)
        combined: dict[int, int | None] = {}
        sides = [below.get(child, {child: None}) for child in row.operands]
        for combination in itertools.product(*(side.items() for side in sides)):
            cofactor = self.table.intern(row.op, tuple(c for c, _ in combination), row.parameters)
            mask = self._fold(AND, [mask for _, mask in combination])
            self._add(combined, cofactor, mask)
            if len(combined) > MAX_COFACTORS:
                raise _TooManyCofactorsError
        return combined

    def _choices(self, row: Expression, below: dict[int, dict[int, int | None]]) -> dict[int, int | None]:
        gate, then, other = row.operands
        true, false = self._gate(gate)
        chosen: dict[int, int | None] = {}
        no = false if self.unknown_is_cash else self._emit(NOR, true, true)
        for condition, side in ((true, then), (no, other)):
            for cofactor, mask in below.get(side, {side: None}).items():
                self._add(chosen, cofactor, self._fold(AND, [condition, mask]))
        if self.unknown_is_cash:
            self._add(chosen, self.table.intern(Op.ROW, (), (CASH,)), self._emit(NOR, true, false))
        return chosen

    def _add(self, outcomes: dict[int, int | None], cofactor: int, mask: int | None) -> None:
        if cofactor in outcomes:
            earlier = outcomes[cofactor]
            mask = None if earlier is None or mask is None else self._emit(OR, *sorted((earlier, mask)))
        outcomes[cofactor] = mask

    def _gate(self, bits: int) -> tuple[int, int]:
        """Registers of the bars on which a gate is known true and known false. Kleene: an AND is false where any
        operand is, an OR true where any is. Only ALL and ANY are taken apart; everything below is a leaf."""
        for i in self._gate_parts(bits):
            row = self.table.rows[i]
            if i in self.gates:
                continue
            if row.op in (Op.ALL, Op.ANY) and row.axes & self.inner:
                trues, falses = zip(*(self.gates[operand] for operand in row.operands), strict=True)
                both = (AND, OR) if row.op is Op.ALL else (OR, AND)
                self.gates[i] = (self._fold_registers(both[0], trues), self._fold_registers(both[1], falses))
            else:
                self.gates[i] = self._leaf(i)
        return self.gates[bits]

    def _gate_parts(self, bits: int) -> list[int]:
        row = self.table.rows[bits]
        parts = {bits}
        if row.op in (Op.ALL, Op.ANY) and row.axes & self.inner:
            for operand in row.operands:
                parts.update(self._gate_parts(operand))
        return sorted(parts)

    def _leaf(self, bits: int) -> tuple[int, int]:
        if bits not in self.leaves:
            self.leaves.append(bits)
        leaf = self.leaves.index(bits)
        return self._emit(LOAD_TRUE, leaf, 0), self._emit(LOAD_FALSE, leaf, 0)

    def _fold(self, code: int, masks: Iterable[int | None]) -> int | None:
        registers = [mask for mask in masks if mask is not None]
        return self._fold_registers(code, registers) if registers else None

    def _fold_registers(self, code: int, registers: Iterable[int]) -> int:
        first, *rest = sorted(set(registers))
        for register in rest:
            first = self._emit(code, first, register)
        return first

    def _emit(self, code: int, a: int, b: int) -> int:
        key = (code, a, b)
        if key not in self.registers:
            self.registers[key] = len(self.registers)
            self.operations.append((code, self.registers[key], a, b))
        return self.registers[key]

    def _plane(self, j: int, masks: dict[int, int | None]) -> int:
        in_plane = [mask for k, mask in enumerate(masks.values()) if k >> j & 1]
        return self._fold_registers(OR, [self._emit(ONES, 0, 0) if mask is None else mask for mask in in_plane])
