"""Building native trees from foreign ones, in one normal form, so that equal strategies become equal trees.

* A group around one node is that node; its name goes to the node as title, unless the node has one already.
* Equal shares of single tickers are one position.
* A slot that would hold nothing but an untitled group takes that group's weighting and children itself.
* Nodes are numbered n1, n2, … in pre-order, the conditions of each node c1, c2, …, the items of a count i1, i2, …
"""

from __future__ import annotations

from typing import Any, TypeAlias

from forge_ray.tree.importers.logic import Condition, gate

Native: TypeAlias = dict[str, Any]
RULE_FIELDS = ("weighting", "volWindow", "minCap", "maxCap", "cappedFallback")


def position(*tickers: str) -> Native:
    return {"id": "", "kind": "position", "positions": list(tickers)}


def is_single(node: Native) -> bool:
    """Whether a node holds one ticker and nothing else."""
    held = node.get("positions")
    return node.get("kind") == "position" and isinstance(held, list) and len(held) == 1


def blend(children: list[Native], rule: Native | None = None) -> Native:
    """Children under one weighting rule, equal shares without one. At least one child."""
    if len(children) == 1:
        children[0].pop("weight", None)
        return children[0]
    if not rule and all(is_single(child) and "title" not in child for child in children):
        return position(*(child["positions"][0] for child in children))
    return {"id": "", "kind": "basic", **(rule or {}), "children": {"next": children}}


def titled(node: Native, title: str) -> Native:
    """A node with a name; one that has a name already gets a group of its own around it."""
    if "title" in node:
        node = {"id": "", "kind": "basic", "children": {"next": [node]}}
    node["title"] = title
    return node


def slots(fields: Native, sides: dict[str, Native | None]) -> Native:
    """A node with its slots filled: None leaves a slot empty. All slots of a ladder share one rule, equal shares."""
    node: Native = {"id": "", **fields}
    children: dict[str, list[Native]] = {}
    for name, side in sides.items():
        rule = {key: side[key] for key in RULE_FIELDS if side and key in side}
        is_group = side is not None and side["kind"] == "basic" and "title" not in side
        if side is not None and is_group and not (rule and name.startswith("ladder")):
            node |= {key + name.capitalize(): value for key, value in rule.items()}
            children[name] = side["children"]["next"]
        else:
            children[name] = [] if side is None else [side]
    return {**node, "children": children}


def choose(condition: Condition, then: Native | None, other: Native | None) -> Native:
    """if / else. Raises `TooComplexError`."""
    return slots(gate(condition), {"then": then, "else": other})


def number(tree: Native) -> Native:
    """Give every node, condition and item its id, in place."""
    stack, count = [tree], 0
    while stack:
        node = stack.pop()
        count += 1
        node["id"] = f"n{count}"
        _number_conditions(node)
        below = [child for children in node.get("children", {}).values() for child in children]
        stack.extend(reversed(below))
    return tree


def _number_conditions(node: Native) -> None:
    lists = [node[key] for key in ("conditions", "entryConditions", "exitConditions") if key in node]
    if "numbered" in node:
        items = [{"id": f"i{k}", **item} for k, item in enumerate(node["numbered"]["items"], 1)]
        node["numbered"]["items"] = items
        lists += [item["conditions"] for item in items]
    count = 0
    for lines in lists:
        for k, line in enumerate(lines):
            count += 1
            lines[k] = {"id": f"c{count}", **line}
