"""A tree in Python: what the builders of nodes make, and how its children are weighted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from forge_ray.errors import InputError, Problem, shown
from forge_ray.tree.builders.conditions import Conditions, Count
from forge_ray.tree.builders.values import Number, Position
from forge_ray.tree.builders.weights import Weights, rule_of
from forge_ray.tree.builders.writing import Writer
from forge_ray.tree.nodes import Kind
from forge_ray.tree.outline import outline, outline_html


@dataclass(frozen=True, eq=False, repr=False)
class Draft:
    """A node with everything below it, as written in Python. Shows itself as an outline.

    fields : its plain fields by their names in JSON. lists : condition lists by theirs. definition : what it calls.
    """

    kind: Kind
    id: str | None
    fields: Mapping[str, Any] = field(default_factory=dict)
    slots: Mapping[str, tuple[Draft, ...]] = field(default_factory=dict)
    lists: Mapping[str, Conditions] = field(default_factory=dict)
    count: Count | None = None
    positions: tuple[Position, ...] = ()
    weight: Number | None = None
    definition: Draft | None = None

    def json(self) -> dict[str, Any]:
        """The tree as native JSON, axes as ``$name``. Raises `InputError` if two axes of one name differ."""
        return self._written().tree

    def axes(self) -> dict[str, Any]:
        """The axes of the tree as a job holds them, in the order of their first use."""
        return self._written().axes

    def job(self) -> dict[str, Any]:
        """The fields that it has of a job: tree, axes, calls, formulas, lists.

        Raises `InputError` if two axes, trees, formulas or lists of one name differ.
        """
        written = self._written()
        return {"tree": written.tree} | {name: found for name, found in written.beside.items() if found}

    def _written(self) -> Writer:
        writer = Writer(self)
        if writer.problems:
            raise InputError(writer.problems)
        return writer

    def __repr__(self) -> str:
        return outline(Writer(self).tree)

    def _repr_html_(self) -> str:
        return outline_html(Writer(self).tree)


Drafts: TypeAlias = Draft | Iterable[Draft]


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
    rule = rule_of(place, weights, len(members))
    if rule.weights is not None:
        members = tuple(replace(child, weight=share) for child, share in zip(members, rule.weights, strict=True))
    return rule.of(slot), members


def drafts_of(place: str, given: Drafts) -> tuple[Draft, ...]:
    """One tree or several as a tuple. Raises `InputError` if anything else is among them."""
    drafts = (given,) if isinstance(given, Draft) else tuple(given) if isinstance(given, Iterable) else (given,)
    if wrong := [item for item in drafts if not isinstance(item, Draft)]:
        raise InputError([Problem(place, f"expected a tree such as hold('AAPL'), got {shown(wrong[0])}")])
    return drafts
