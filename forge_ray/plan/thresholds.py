"""Where an axis is a threshold: the comparisons with it, and whether decisions read their past."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from forge_ray.plan.expressions import AxisRef, Expression, Op, reachable


class Threshold(msgspec.Struct, frozen=True):
    """A comparison with the number of an axis, or how it lasts (expression id).

    has_memory : whether a latch or a simulated equity reads it, so that bars before the first decision count too.
    """

    expression: int
    has_memory: bool


def thresholds_of(expressions: Sequence[Expression], axis: int) -> Iterator[Threshold]:
    """What compares with the axis, each expression as it is used: alone, or over several days."""
    remembered = _remembered(expressions)
    alone = {operand for e in expressions if e.op is not Op.PERSIST for operand in e.operands}
    for i, e in enumerate(expressions):
        compare = expressions[e.operands[0]] if e.op is Op.PERSIST else e
        is_used = e.op is Op.PERSIST or i in alone
        if is_used and compare.op is Op.COMPARE and expressions[compare.operands[1]].parameters == (AxisRef(axis),):
            yield Threshold(i, i in remembered)


def _remembered(expressions: Sequence[Expression]) -> set[int]:
    """What is below a latch, an equity or a score."""
    roots = [o for e in expressions if e.op in (Op.LATCH, Op.SERIES, Op.SCORE) for o in e.operands]
    return set(reachable(expressions, roots))
