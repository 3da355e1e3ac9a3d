"""On which bars a change of some values can change what a tree holds.

From the operands to their users: an allocation changes where a gate of it does, and where the side that is taken does.
What cannot be told from bits is compared, series with series; what is not worth that counts as changed everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from forge_ray.engine.point import Point
from forge_ray.engine.values import Evaluator
from forge_ray.kernels import bits
from forge_ray.plan import ALLOCATIONS, SERIES, AxisRef, Expression, Op, reachable


class Changes:
    """Of one allocation. written : the point that changes are changes of."""

    def __init__(self, evaluator: Evaluator, root: int, written: Point):
        self.evaluator, self.root, self.written = evaluator, root, written
        self.expressions = evaluator.plan.expressions
        self.allocations = [
            (i, _own_axes(self.expressions, i), _sides(self.expressions, i))
            for i in reachable(self.expressions, [root])
            if self.expressions[i].op in ALLOCATIONS
        ]
        self.nowhere = np.zeros(bits.n_words(evaluator.n_bars), np.uint64)
        self.everywhere = ~self.nowhere

    def at(self, point: Point) -> np.ndarray:
        """(n_words,) packed bars on which the allocation may be another; no others can be."""
        found: dict[int, np.ndarray] = {}
        for i, own, sides in self.allocations:
            if own & point.mask or not found.keys().isdisjoint(sides):
                changed = self._of(i, point, found)
                if changed.any():
                    found[i] = changed
        return found.get(self.root, self.nowhere)

    def _of(self, i: int, point: Point, below: dict[int, np.ndarray]) -> np.ndarray:
        e = self.expressions[i]
        if _is_set(e, point):
            return self.everywhere
        if e.op is Op.CHOOSE:
            gate, then, other = e.operands
            true, _ = self.evaluator.bits(gate, point)
            then, other = below.get(then, self.nowhere), below.get(other, self.nowhere)
            return self._gate(gate, point) | (then & true) | (other & ~true)
        changed = self.nowhere
        for operand in e.operands:
            if operand in below:
                changed = changed | below[operand]
            elif self.expressions[operand].op in SERIES and self.expressions[operand].axes & point.mask:
                changed = changed | self._series(operand, point)
        return changed

    def _gate(self, gate: int, point: Point) -> np.ndarray:
        if not self.expressions[gate].axes & point.mask:
            return self.nowhere
        true, false = self.evaluator.bits(gate, point) ^ self.evaluator.bits(gate, self.written)
        return true | false

    def _series(self, i: int, point: Point) -> np.ndarray:
        """A score of an allocation changes only where that does, and an allocation that is scored is an operand too;
        other series are compared as decisions see them."""
        e = self.expressions[i]
        if e.op is Op.SCORE and e.parameters[2] == "allocation" and not _is_set(e, point):
            return self.nowhere
        if e.op is Op.SCORE and e.parameters[2] != "equity":
            return self.everywhere
        read = self.evaluator.series if e.op is Op.SCORE else self.evaluator.seen
        new, old = (np.asarray(read(i, at)) for at in (point, self.written))
        differs = ~((new == old) | (np.isnan(new) & np.isnan(old)))
        return bits.pack(differs, differs)[0]


def _sides(expressions: Sequence[Expression], i: int) -> tuple[int, ...]:
    return tuple(operand for operand in expressions[i].operands if expressions[operand].op in ALLOCATIONS)


def _own_axes(expressions: Sequence[Expression], i: int) -> int:
    """Axes that change an allocation other than through the allocations that it is made of."""
    e = expressions[i]
    own = sum(1 << p.axis for p in {p for p in e.parameters if isinstance(p, AxisRef)})
    for operand in e.operands:
        own |= 0 if expressions[operand].op in ALLOCATIONS else expressions[operand].axes
    return own


def _is_set(e: Expression, point: Point) -> bool:
    """Whether a change is to a parameter of the expression itself."""
    return any(isinstance(p, AxisRef) and point.mask >> p.axis & 1 for p in e.parameters)
