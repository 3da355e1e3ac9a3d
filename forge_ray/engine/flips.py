"""What would have been held had one condition been the other way round: for each condition of a decision.

1. Flip the condition on the bar of the decision, wherever the tree uses it: equal conditions are one expression.
2. Evaluate what follows from it on that bar, gates and allocations; all else is as it was.
3. No equity changes: a decision earns after its bar, so what it can see of an equity was earned by earlier ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from forge_ray.engine.allocations import Allocation
from forge_ray.engine.bind import BoundPlan
from forge_ray.engine.cache import Cache
from forge_ray.engine.decision import ConditionSeen, Descent, held_at
from forge_ray.engine.on_bars import OnBars
from forge_ray.engine.values import Evaluator, Values
from forge_ray.kernels import bits
from forge_ray.plan import Expression, Op


@dataclass(frozen=True)
class Flip:
    """A condition of a decision, and the decision without it.

    places : where the decision reads it, as node.condition. seen : as it was. to : what it is flipped to; an unknown
    one is flipped to both. weights : the target weights then, the rest is cash.
    """

    places: tuple[str, ...]
    seen: ConditionSeen
    to: bool
    weights: dict[str, float]


def flips_at(bound: BoundPlan, t: int, cache: Cache) -> Iterator[Flip]:
    """The flips of every distinct condition that has a part in the decision of calendar bar t, in the tree's order.

    These are the ones on its path, and those that decided how a child that was left out scored.
    bound : of a plan without axes and with one tree.
    """
    evaluator = Evaluator(bound.plan, bound.panel, cache)
    descent = Descent(bound, evaluator, t)
    on_bar = OnBars(evaluator, np.array([t]), Cache(cache.limit_bytes))
    by_id = {node.id: node for node in descent.tree.nodes}
    places: dict[int, list[str]] = {}
    met: dict[int, ConditionSeen] = {}
    for node in map(by_id.__getitem__, (seen.id for seen in descent.nodes(considered=True))):
        for _, line in node.conditions:
            for expression, seen in descent.conditions(node, line):
                places.setdefault(expression, []).append(f"{node.id}.{line.id}")
                met.setdefault(expression, seen)
    for expression, seen in met.items():
        for to in (True, False) if seen.is_true is None else (not seen.is_true,):
            yield Flip(tuple(places[expression]), seen, to, held_at(_Supposing(on_bar, expression, to), 0))


class _Supposing(OnBars):
    """One condition is set to true or false on one bar; what follows from it is kept apart from what is so."""

    def __init__(self, so: OnBars, condition: int, truth: bool):
        super().__init__(so.base, so.at, so.cache)
        self.supposed, self.truth = condition, truth
        self.changed = frozenset(_followers(so.plan.expressions, condition))
        self.own = Cache(so.cache.limit_bytes)

    def bits(self, i: int, values: Values) -> np.ndarray:
        follows = i in self.changed and i != self.supposed
        return Evaluator.bits(self, i, values) if follows else super().bits(i, values)

    def _flags(self, i: int, values: Values) -> tuple[np.ndarray, np.ndarray]:
        if i == self.supposed:
            return np.array([self.truth]), np.array([not self.truth])
        return Evaluator._flags(self, i, values) if i in self.changed else super()._flags(i, values)

    def _bits(self, i: int, values: Values) -> np.ndarray:
        e, t = self.plan.expressions[i], int(self.at[0])
        if e.op is not Op.LATCH:
            return super()._bits(i, values)
        was_in = t > 0 and bool(self.base._flags(i, values)[0][t - 1])
        (entry, _), (leave, _) = (self._flags(operand, values) for operand in e.operands)
        is_in = np.empty(2, bool)  # a bar before brings the latch to where it was
        bits.latch(np.append(was_in, entry), np.append(False, leave), is_in)
        return bits.pack(is_in[1:], ~is_in[1:])

    def _known(self, i: int, values: Values) -> Allocation | None:
        return Evaluator._known(self, i, values) if i in self.changed else super()._known(i, values)

    def _home(self, what: str, i: int, values: Values) -> tuple[Cache, tuple]:
        return (self.own, (what, i)) if i in self.changed else super()._home(what, i, values)


def _followers(expressions: Sequence[Expression], condition: int) -> set[int]:
    """What a condition decides on its own bar."""
    found = {condition}
    for i in range(condition + 1, len(expressions)):
        if expressions[i].op is not Op.SERIES and not found.isdisjoint(expressions[i].operands):
            found.add(i)
    return found
