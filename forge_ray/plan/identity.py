"""Identities of expressions: what two plans may share, because it is the same work wherever it stands.

Together with the values of its axes, in their order, an identity says what an expression is: what it does, of which
operands, and which axis moves what. Numbers of expressions and names of axes are of a plan and are left out, so that a
tree with another range, another cost or one more branch meets what the last one left behind. Around one tree a point is
told by its changes alone; there the numbers of the axes and the values that they have as written count too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from forge_ray.plan.expressions import AxisRef, Expression, axes_of
from forge_ray.tree import Around, Space


def identities(expressions: Sequence[Expression], space: Space) -> tuple[bytes, ...]:
    """16 bytes per expression."""
    written = _written(space)
    found: list[bytes] = []
    for e in expressions:
        own = axes_of(e.axes)
        place = {axis: rank if written is None else (axis, written[axis]) for rank, axis in enumerate(own)}
        parameters = [("axis", place[p.axis]) if isinstance(p, AxisRef) else p for p in e.parameters]
        below = [(found[o], [place[axis] for axis in axes_of(expressions[o].axes)]) for o in e.operands]
        # repr keeps 1, 1.0 and "1" apart.
        found.append(hashlib.blake2b(repr((e.op.value, parameters, below)).encode(), digest_size=16).digest())
    return tuple(found)


def _written(space: Space) -> list[object] | None:
    """The value of each axis in the tree as written, if branches are told by what they change."""
    if not isinstance(space, Around):
        return None
    return [axis.values[k] for axis, k in zip(space.axes, space.base, strict=True)]
