"""A native tree laid out for an exporter: nodes in pre-order with their places and children."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from forge_ray.catalog import INDICATOR_BY_NAME
from forge_ray.tree.importers.fields import Fields
from forge_ray.tree.importers.report import Report, Spot

RULES = ("weighting", "volWindow", "minCap", "maxCap", "cappedFallback")
DEFAULT_RULE = {"weighting": "equal", "volWindow": 20, "minCap": 0, "maxCap": 100, "cappedFallback": None}


@dataclass(slots=True)
class NativeNode:
    """A node and the indices of its children by slot. weight : None, or its share under a defined weighting."""

    fields: Fields
    kind: str
    weight: Any
    slots: dict[str, list[int]] = field(default_factory=dict)

    def rule(self, slot: str) -> dict[str, Any]:
        """The weighting of a slot, defaults filled in."""
        suffix = slot.capitalize() if slot in ("then", "else") else ""
        return {key: self.fields.data.get(key + suffix, DEFAULT_RULE[key]) for key in RULES}


def lay_out(tree: dict[str, Any], spot: Spot, report: Report, calls: Fields | None) -> list[NativeNode]:
    """The nodes of a valid tree in pre-order, parents before children. With `calls`, calls are expanded in place."""
    nodes: list[NativeNode] = []
    stack: list[tuple[dict[str, Any], Spot, Callable[[int], None], Any]] = [(tree, spot, lambda index: None, None)]
    while stack:
        raw, at, attach, weight = stack.pop()
        weight = raw.get("weight") if weight is None else weight
        if raw["kind"] == "call" and calls is not None:
            name = raw["callRefId"]
            stack.append((calls.data[name], calls.spot.at(name), attach, weight))
            continue
        attach(len(nodes))
        node = NativeNode(Fields(raw, at, report), raw["kind"], weight)
        nodes.append(node)
        slots = node.fields.below("children")
        below = []
        for name in slots.data:
            into = node.slots.setdefault(name, [])
            children = [(k, child) for k, child in enumerate(slots.objects(name)) if child is not None]
            below += [(child, slots.spot.at(name).at(k), into.append, None) for k, child in children]
        stack.extend(reversed(below))
    return nodes


def metric_name(value: Any) -> str:
    """The full name of an indicator, aliases resolved."""
    if not isinstance(value, str):
        return repr(value)
    return INDICATOR_BY_NAME[value].name if value in INDICATOR_BY_NAME else value
