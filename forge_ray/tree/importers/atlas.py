"""Atlas trees (FlowNodes) → native trees: a walk in pre-order with an explicit stack."""

from __future__ import annotations

from typing import Any

from forge_ray.tree.importers.atlas_kinds import READERS
from forge_ray.tree.importers.atlas_node import Item, NodeReader, Reading
from forge_ray.tree.importers.atlas_terms import Terms
from forge_ray.tree.importers.report import Spot, expected


def read_tree(
    raw: Any, spot: Spot, terms: Terms, calls: tuple[str, ...], *, pass_rolling: bool = False
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The native tree and its nodes by id. Mistakes go to the report of `terms`."""
    reading = Reading(terms, calls, _ids(raw), pass_rolling)
    top: list[dict[str, Any]] = []
    stack = [Item(raw, spot, top, False, None)]
    while stack:
        item = stack.pop()
        if not isinstance(item.raw, dict):
            terms.report.problem(item.spot, expected("a node (an object)", item.raw))
            continue
        reader = NodeReader(item, reading)
        READERS[reader.open()](reader)
        stack.extend(reversed(reader.close()))
    return (top[0] if top else {}), reading.nodes


def _ids(raw: Any) -> frozenset[str]:
    """Every node id in the file."""
    found, stack = set(), [raw]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
        elif isinstance(node, dict):
            found.add(str(node.get("id")))
            children = node.get("children")
            stack.extend(children.values() if isinstance(children, dict) else ())
    return frozenset(found)
