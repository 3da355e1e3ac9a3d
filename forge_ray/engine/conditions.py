"""How often each condition is true on the traded bars, over the values that the space gives it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from forge_ray.engine.bind import BoundPlan
from forge_ray.engine.cache import Cache
from forge_ray.engine.values import Evaluator
from forge_ray.kernels import bits
from forge_ray.plan import BITS, axes_of
from forge_ray.tree import AxisValue

SAMPLES = 24


@dataclass(frozen=True)
class ConditionRate:
    """Share of traded bars on which a condition is true: least and most over the combinations looked at.

    unknown : most bars on which it has no value. combinations : of the axes it depends on; looked_at : of those.
    """

    tree: str
    condition: str
    least: float
    most: float
    unknown: int
    combinations: int
    looked_at: int


def condition_rates(bound: BoundPlan, cache: Cache) -> list[ConditionRate]:
    """One entry per condition of every tree. Large spaces are sampled evenly, first and last value included."""
    evaluator = Evaluator(bound.plan, bound.panel, cache)
    mask = bits.bar_mask(bound.start, bound.start + bound.n, len(bound.panel.dates))
    rates: dict[int, tuple[float, float, int, int, int]] = {}
    found = []
    conditions = [site for site in bound.plan.sites if bound.plan.expressions[site.expression].op in BITS]
    for site in conditions:
        if site.expression not in rates:
            rates[site.expression] = _rate(bound, evaluator, site.expression, mask)
        found.append(ConditionRate(bound.tree_names[site.tree], site.name, *rates[site.expression]))
    return found


def _rate(bound: BoundPlan, evaluator: Evaluator, i: int, mask: np.ndarray) -> tuple[float, float, int, int, int]:
    shares, unknown = [], 0
    axes = axes_of(bound.plan.expressions[i].axes)
    for values in _sampled(bound, axes):
        true, false = (int(np.bitwise_count(words & mask).sum()) for words in evaluator.bits(i, values))
        shares.append(true / bound.n)
        unknown = max(unknown, bound.n - true - false)
    combinations = bound.plan.space.combinations(axes)
    return min(shares), max(shares), unknown, combinations, len(shares)


def _sampled(bound: BoundPlan, axes: tuple[int, ...]) -> Iterator[dict[int, AxisValue]]:
    """Up to `SAMPLES` combinations of the axes, evenly spread in the order last axis fastest."""
    radices = [len(bound.plan.space.axes[a].values) for a in axes]
    size = prod(radices)
    numbers = range(size) if size <= SAMPLES else [k * (size - 1) // (SAMPLES - 1) for k in range(SAMPLES)]
    for number in numbers:
        values = {}
        for a, radix in zip(reversed(axes), reversed(radices), strict=True):
            number, digit = divmod(number, radix)
            values[a] = bound.plan.space.axes[a].values[digit]
        yield values
