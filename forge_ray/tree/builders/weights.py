"""How the children of a slot share its weight: by rule, or by numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from forge_ray.errors import InputError, Problem, shown
from forge_ray.tree.builders.draft import Draft, Drafts, drafts_of
from forge_ray.tree.builders.values import Name, Number, Whole
from forge_ray.tree.nodes import Weighting, slot_field


@dataclass(frozen=True)
class Rule:
    """A weighting with its fields; what is None keeps its default. weights : one per child."""

    weighting: Name | None = None
    fields: dict[str, Number | Name | None] = field(default_factory=dict)
    weights: tuple[Number, ...] | None = None

    def of(self, slot: str) -> dict[str, Number | Name]:
        """The fields of a node that say so of a slot."""
        given = {"weighting": self.weighting, **self.fields}
        return {slot_field(name, slot): value for name, value in given.items() if value is not None}


Weights: TypeAlias = Rule | Iterable[Number] | None
"""None: equal. Numbers: one per child, shares of their sum."""


def inverse_volatility(
    window: Whole | None = None, *, min_cap: Number | None = None, max_cap: Number | None = None
) -> Rule:
    """Each child by 1/volatility of its simulated equity over `window` bars (20), within caps in percent."""
    return weighting(Weighting.INVERSE.value, window=window, min_cap=min_cap, max_cap=max_cap)


def pro_volatility(
    window: Whole | None = None, *, min_cap: Number | None = None, max_cap: Number | None = None
) -> Rule:
    """Each child by the volatility of its simulated equity over `window` bars (20), within caps in percent."""
    return weighting(Weighting.PRO.value, window=window, min_cap=min_cap, max_cap=max_cap)


def capped(max_cap: Number, fallback: Name | None = None) -> Rule:
    """Equal parts of at most `max_cap` percent; the rest goes to the ticker `fallback`, or to cash."""
    return weighting(Weighting.CAPPED.value, max_cap=max_cap, fallback=fallback)


def weighting(
    rule: Name,
    *,
    window: Whole | None = None,
    min_cap: Number | None = None,
    max_cap: Number | None = None,
    fallback: Name | None = None,
    weights: Iterable[Number] | None = None,
) -> Rule:
    """Any weighting by its name in JSON, which may be swept: equal, defined (by `weights`), inverse, pro, capped."""
    fields = {"volWindow": window, "minCap": min_cap, "maxCap": max_cap, "cappedFallback": fallback}
    return Rule(rule, fields, None if weights is None else tuple(weights))


def sides(
    place: str, then: Drafts, else_: Drafts, then_weights: Weights, else_weights: Weights
) -> tuple[dict[str, Any], dict[str, tuple[Draft, ...]]]:
    """The weighting fields and the slots of a node with two sides."""
    fields, first = weighted(f"{place} then", "then", then, then_weights)
    others, second = weighted(f"{place} else_", "else", else_, else_weights)
    return fields | others, {"then": first, "else": second}


def weighted(place: str, slot: str, children: Drafts, weights: Weights) -> tuple[dict[str, Any], tuple[Draft, ...]]:
    """The weighting fields of a slot, and its children with their weights."""
    members = drafts_of(place, children)
    rule = _rule_of(place, weights, len(members))
    if rule.weights is not None:
        members = tuple(replace(child, weight=share) for child, share in zip(members, rule.weights, strict=True))
    return rule.of(slot), members


def _rule_of(place: str, weights: Weights, n: int) -> Rule:
    """The rule of a slot of n children."""
    if weights is None:
        return Rule()
    if not isinstance(weights, Rule):
        if not isinstance(weights, Iterable) or isinstance(weights, str):
            text = f"expected weights such as [60, 40] or inverse_volatility(20), got {shown(weights)}"
            raise InputError([Problem(place, text)])
        weights = weighting(Weighting.DEFINED.value, weights=weights)
    if weights.weights is not None and len(weights.weights) != n:
        raise InputError([Problem(place, f"{len(weights.weights)} weights for {n} children; one each")])
    return weights
