"""Canonical form, hash and JSON of a tree.

The canonical form is what identifies a tree: semantic fields only, defaults filled in, names normalised, nodes in
pre-order. It is flat, so nothing recurses.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec

from forge_ray.tree.nodes import (
    Condition,
    ConditionList,
    DateCondition,
    Kind,
    Node,
    Placeholder,
    Ratio,
    Series,
    Several,
    Subject,
    Tree,
    Value,
    Weighting,
)


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
    fields = {name: _value(value) for name, value in node.fields if value != Weighting.EQUAL}
    data: dict[str, Any] = {"id": node.id, "kind": node.kind.value}
    match node.kind:
        case Kind.POSITION:
            data["positions"] = [_value(position) for position in node.positions]
        case Kind.CALL:
            data["callRefId"] = node.call
        case Kind.NUMBERED:
            own = {name: fields.pop(f"numbered.{name}") for name in ("quantifier", "n") if f"numbered.{name}" in fields}
            items = [{"id": found.item, "conditions": _lines_json(found)} for found in node.lists]
            data["numbered"] = {**own, "items": items}
        case Kind.SCALING | Kind.FUNCTION if node.series:
            data |= _series_json(node.series, "scale" if node.kind is Kind.SCALING else "")
        case _:
            data |= {found.place: _lines_json(found) for found in node.lists}
    return data | fields


def _lines_json(found: ConditionList) -> list[dict[str, Any]]:
    return [_line_json(line) for line in found.lines]


def _line_json(line: Condition | DateCondition) -> dict[str, Any]:
    data: dict[str, Any] = {"id": line.id, "type": line.join.value}
    if isinstance(line, DateCondition):
        to = {"month": _value(line.to_month), "day": _value(line.to_day)}
        return data | {"metric": "Date", "dateMonth": _value(line.month), "dateDay": _value(line.day), "dateTo": to}
    data |= {**_series_json(line.left, ""), "comparator": _value(line.comparator)}
    if isinstance(line.right, Series):  # one over several tickers inherits them: there is no other way to have them
        inherits = isinstance(line.right.subject, Several)
        right = msgspec.structs.replace(line.right, subject="") if inherits else line.right
        data |= {"expanded": True, **_series_json(right, "right")}
    else:
        data["threshold"] = _value(line.right)
    if line.for_days != 1:
        data["forDays"] = _value(line.for_days)
    return data


def _series_json(series: Series, prefix: str) -> dict[str, Any]:
    names = (f"{prefix}Metric", f"{prefix}Window", f"{prefix}Ticker") if prefix else ("metric", "window", "ticker")
    values = (_value(series.metric), _value(series.window), _subject_json(series.subject))
    return {name: value for name, value in zip(names, values, strict=True) if value != ""}


def _subject_json(subject: Subject) -> Any:
    match subject:
        case Ratio(numerator, denominator):
            return {"ratio": [_value(numerator), _value(denominator)]}
        case Several(quantifier, tickers):
            return {quantifier: [_value(ticker) for ticker in tickers]}
        case _:
            return _value(subject)


def _value(value: Value) -> Any:
    return f"${value.axis}" if isinstance(value, Placeholder) else value
