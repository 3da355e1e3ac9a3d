"""What would have been held had one condition been the other way round: for each condition of a decision.

1. Flip the condition on the bar of the decision, wherever the tree uses it: equal conditions are one expression.
2. Evaluate what follows from it, gates and allocations; all else is as it was.
3. No equity changes: a decision earns after its bar, so what it can see of an equity was earned by earlier ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from forge_ray.engine.bind import BoundPlan
from forge_ray.engine.cache import Cache
from forge_ray.engine.decision import ConditionSeen, Descent
from forge_ray.engine.values import Evaluator, Values
from forge_ray.plan import Expression, Op

T = TypeVar("T")


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
            weights = descent.weights(_Supposing(evaluator, expression, t, to))
            yield Flip(tuple(places[expression]), seen, to, weights)


class _Supposing(Evaluator):
    """Evaluates as another evaluator does, with one condition set to true or false on one bar.

    What follows from the condition is kept apart from the cache of the other one, which holds what is so.
    """

    def __init__(self, base: Evaluator, condition: int, t: int, truth: bool):
        super().__init__(base.plan, base.panel, base.cache)
        self.base, self.flipped = base, condition
        self.changed = frozenset(_followers(base.plan.expressions, condition))
        self.own = Cache(base.cache.limit_bytes)
        self.supposed = base.bits(condition, {}).copy()
        word, bit = t // 64, np.uint64(1) << np.uint64(t % 64)
        self.supposed[:, word] &= ~bit
        self.supposed[0 if truth else 1, word] |= bit

    def bits(self, i: int, values: Values) -> np.ndarray:
        return self.supposed if i == self.flipped else super().bits(i, values)

    def _kept(self, what: str, i: int, values: Values, make: Callable[[], T], size: Callable[[T], int]) -> T:
        if i not in self.changed:
            return super()._kept(what, i, values, make, size)
        return self.own.get((what, i), make, size)

    def _of_equity(self, allocation: int, metric: str, window: int, values: Values) -> np.ndarray:
        return self.base._of_equity(allocation, metric, window, values)


def _followers(expressions: Sequence[Expression], condition: int) -> set[int]:
    """What a condition decides on its own bar."""
    found = {condition}
    for i in range(condition + 1, len(expressions)):
        if expressions[i].op is not Op.SERIES and not found.isdisjoint(expressions[i].operands):
            found.add(i)
    return found
