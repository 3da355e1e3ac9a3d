"""On which bars a change of some values can change what a tree holds.

From the operands to their users: an allocation changes where a gate of it does, and where the side that is taken does.
What cannot be told from bits is compared, series with series; what is not worth that counts as changed everywhere.
"""

from __future__ import annotations

import numpy as np

from forge_ray.engine.point import Point
from forge_ray.engine.values import Evaluator
from forge_ray.kernels import bits
from forge_ray.plan import ALLOCATIONS, AxisRef, Expression, Op, reachable


class Changes:
    """Of one allocation. written : the point that changes are changes of."""

    def __init__(self, evaluator: Evaluator, root: int, written: Point):
        self.evaluator, self.root, self.written = evaluator, root, written
        self.expressions = evaluator.plan.expressions
        self.allocations = [i for i in reachable(self.expressions, [root]) if self.expressions[i].op in ALLOCATIONS]
        self.nowhere = np.zeros(bits.n_words(evaluator.n_bars), np.uint64)
        self.everywhere = ~self.nowhere

    def at(self, point: Point) -> np.ndarray:
        """(n_words,) packed bars on which the allocation may be another; no others can be."""
        found: dict[int, np.ndarray] = {}
        for i in self.allocations:
            if self.expressions[i].axes & point.mask:
                found[i] = self._of(i, point, found)
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
            if self.expressions[operand].axes & point.mask:
                changed = changed | (below[operand] if operand in below else self._series(operand, point, below))
        return changed

    def _gate(self, gate: int, point: Point) -> np.ndarray:
        if not self.expressions[gate].axes & point.mask:
            return self.nowhere
        true, false = self.evaluator.bits(gate, point) ^ self.evaluator.bits(gate, self.written)
        return true | false

    def _series(self, i: int, point: Point, below: dict[int, np.ndarray]) -> np.ndarray:
        """A score of an allocation changes where that does; other series are compared as decisions see them."""
        e = self.expressions[i]
        if e.op is Op.SCORE and e.parameters[2] == "allocation" and not _is_set(e, point):
            return below[e.operands[0]]
        if e.op is Op.SCORE and e.parameters[2] != "equity":
            return self.everywhere
        read = self.evaluator.series if e.op is Op.SCORE else self.evaluator.seen
        new, old = (np.asarray(read(i, at)) for at in (point, self.written))
        differs = ~((new == old) | (np.isnan(new) & np.isnan(old)))
        return bits.pack(differs, differs)[0]


def _is_set(e: Expression, point: Point) -> bool:
    """Whether a change is to a parameter of the expression itself."""
    return any(isinstance(p, AxisRef) and point.mask >> p.axis & 1 for p in e.parameters)
