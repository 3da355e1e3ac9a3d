"""Calls: named trees that others use in place.

1. Read every definition by itself.
2. Order them so that what a definition calls comes first; a cycle is an error.
3. Put definitions in place, innermost first. A call is a leaf, so its place in the pre-order is where the nodes of its
   definition go: the root takes the call's parent, slot and weight, ids become ``<call id>--<id>``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import accumulate
from typing import Any

import msgspec

from forge_ray.errors import Problem, nearest, shown
from forge_ray.tree.formulas import read_formulas
from forge_ray.tree.nodes import Kind, Node, Slot, Tree
from forge_ray.tree.parse import read_tree
from forge_ray.tree.reader import NODE_ID, Definitions, join_place, read_lists

MAX_NODES = 200_000


def read_definitions(
    job: Mapping[str, Any],
) -> tuple[Definitions, dict[str, Tree | None], list[Problem], list[Problem]]:
    """What the trees of a job refer to by name: formulas and lists, and calls; the problems of each of the two."""
    formulas, formula_problems = read_formulas(job.get("formulas", {}), "formulas")
    lists, list_problems = read_lists(job.get("lists", {}), "lists")
    definitions = Definitions(formulas, lists)
    calls, broken = read_calls(job.get("calls", {}), "calls", definitions)
    return definitions, calls, [*formula_problems, *list_problems], broken


def read_calls(
    data: object, place: str, definitions: Definitions | None = None
) -> tuple[dict[str, Tree | None], list[Problem]]:
    """The definitions of a job by id, each with its own calls in place, and every problem of them.

    A definition that cannot be used is None: it is reported once, not wherever it is called.
    """
    if not isinstance(data, dict):
        return {}, [Problem(place, f"expected an object of trees by id, got {shown(data)}")]
    problems = [
        Problem(place, f"expected an id of letters, digits, '_' and '-', got {shown(name)}")
        for name in data
        if not NODE_ID.fullmatch(name)
    ]
    trees: dict[str, Tree] = {}
    for name, raw in data.items():
        trees[name], found = read_tree(raw, place=f"{place}.{name}", definitions=definitions)
        problems += found
    try:
        order = list(TopologicalSorter({name: _called(tree) for name, tree in trees.items()}).static_order())
    except CycleError as error:
        names = list(reversed(error.args[1]))
        return dict.fromkeys(trees), [*problems, Problem(f"{place}.{names[0]}", f"calls itself: {' -> '.join(names)}")]
    calls: dict[str, Tree | None] = {}
    for name in (name for name in order if name in trees):
        calls[name], found = expand(trees[name], calls, f"{place}.{name}")
        problems += found
    return calls, problems


def _called(tree: Tree) -> set[str]:
    return {node.call for node in tree.nodes if node.kind is Kind.CALL}


def expand(tree: Tree, calls: Mapping[str, Tree | None], place: str) -> tuple[Tree, list[Problem]]:
    """The tree with every call replaced by the definition it names; `place` prefixes the paths of problems."""
    called = _called(tree)
    usable = {name: found for name, found in calls.items() if found is not None}
    unknown = [
        Problem(
            join_place(join_place(place, tree.path(index)), "callRefId"),
            f"unknown call {shown(node.call)}{nearest(node.call, calls)}; allowed: {', '.join(calls) or 'none'}",
        )
        for index, node in enumerate(tree.nodes)
        if node.call and node.call not in calls
    ]
    if unknown or called - usable.keys():
        return tree, unknown
    sizes = [len(usable[node.call].nodes) if node.kind is Kind.CALL else 1 for node in tree.nodes]
    if sum(sizes) > MAX_NODES:
        return tree, [Problem(place, f"{sum(sizes):,} nodes with its calls in place; allowed: {MAX_NODES:,}")]
    if not called:
        return tree, []
    expanded = Tree(tuple(_expanded(tree, usable, [0, *accumulate(sizes)])))
    return expanded, list(_taken_ids(tree, expanded, place))


def _expanded(tree: Tree, calls: Mapping[str, Tree], index_of: list[int]) -> Iterator[Node]:
    """Nodes in pre-order. index_of : where each node of the tree goes."""
    for index, node in enumerate(tree.nodes):
        at = msgspec.structs.replace(
            node,
            parent=index_of[node.parent] if node.parent >= 0 else -1,
            slots=tuple(_moved(slot, [index_of[child] for child in slot.children]) for slot in node.slots),
        )
        if node.kind is Kind.CALL:
            yield from _in_place(at, calls[node.call], index_of[index])
        else:
            yield at


def _in_place(call: Node, definition: Tree, first: int) -> Iterator[Node]:
    for node in definition.nodes:
        named = msgspec.structs.replace(
            node,
            id=f"{call.id}--{node.id}",
            slots=tuple(_moved(slot, [first + child for child in slot.children]) for slot in node.slots),
        )
        if node.parent < 0:
            weighted = named.with_field("weight", call.get("weight"))
            yield msgspec.structs.replace(weighted, parent=call.parent, slot=call.slot, position=call.position)
        else:
            yield msgspec.structs.replace(named, parent=first + node.parent)


def _moved(slot: Slot, children: list[int]) -> Slot:
    return msgspec.structs.replace(slot, children=tuple(children))


def _taken_ids(tree: Tree, expanded: Tree, place: str) -> Iterator[Problem]:
    """Ids that are used twice only once the calls are in place."""
    written, used = (Counter(node.id for node in found.nodes) for found in (tree, expanded))
    for name, count in used.items():
        if count > 1 >= written[name]:
            yield Problem(place, f"id {name!r} is used {count} times once its calls are in place; ids are unique")
