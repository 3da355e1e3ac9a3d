"""Canonical form, hash and JSON of a tree.

The canonical form is what identifies a tree: semantic fields only, defaults filled in, names normalised, nodes in
pre-order. It is flat, so nothing recurses.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from forge_ray.tree.nodes import Condition, Kind, Node, Placeholder, Series, Tree, Value, Weighting, weighting_field


def canonical(tree: Tree) -> list[dict[str, Any]]:
    """One flat JSON object per node, with the parent's index, in pre-order."""
    return [{"parent": node.parent, "slot": node.slot, **_node_json(node)} for node in tree.nodes]


def tree_hash(tree: Tree) -> str:
    """32 hex digits, BLAKE2b-128 of the canonical form."""
    return digest(canonical(tree))


def digest(value: object) -> str:
    """32 hex digits, BLAKE2b-128 of a JSON value with sorted keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def to_json(tree: Tree) -> dict[str, Any]:
    """The tree as nested native JSON. Built without recursion; `jsontext.write` prints it at any depth."""
    objects = [_node_json(node) for node in tree.nodes]
    for node, data in zip(tree.nodes, objects, strict=True):
        if node.slots:
            data["children"] = {slot.name: [objects[child] for child in slot.children] for slot in node.slots}
    return objects[0]


def from_canonical(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Nested native JSON of a canonical form, the inverse of `canonical` for `parse_tree`."""
    objects = [{key: value for key, value in row.items() if key not in ("parent", "slot")} for row in rows]
    for row, data in zip(rows, objects, strict=True):
        if row["parent"] >= 0:
            objects[row["parent"]].setdefault("children", {}).setdefault(row["slot"], []).append(data)
    return objects[0]


def _node_json(node: Node) -> dict[str, Any]:
    data: dict[str, Any] = {"id": node.id, "kind": node.kind.value}
    if node.weight is not None:
        data["weight"] = _value(node.weight)
    for slot in node.slots:
        if slot.weighting != Weighting.EQUAL:
            data[weighting_field(slot.name)] = _value(slot.weighting)
    if node.kind is Kind.INDICATOR:
        data["conditions"] = [_condition_json(condition) for condition in node.conditions]
    if node.kind is Kind.POSITION:
        data["positions"] = [_value(position) for position in node.positions]
    return data


def _condition_json(condition: Condition) -> dict[str, Any]:
    left, right = condition.left, condition.right
    data: dict[str, Any] = {"id": condition.id, "type": condition.join.value}
    data |= {"metric": _value(left.metric), "window": _value(left.window), "ticker": _value(left.ticker)}
    data["comparator"] = _value(condition.comparator)
    if isinstance(right, Series):
        data |= {"expanded": True, "rightMetric": _value(right.metric)}
        data |= {"rightWindow": _value(right.window), "rightTicker": _value(right.ticker)}
    else:
        data["threshold"] = _value(right)
    if condition.for_days != 1:
        data["forDays"] = _value(condition.for_days)
    return data


def _value(value: Value) -> Any:
    return f"${value.axis}" if isinstance(value, Placeholder) else value
