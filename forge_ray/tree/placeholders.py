"""Where axes meet trees: address fields by path, put placeholders in, put values back.

A path is ``<node id>.<condition id>.<field>`` or ``<node id>.<field>``. A known field that the file leaves at its
default counts as present. ``positions`` addresses the only ticker of a position; several are ``positions[k]``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from forge_ray.errors import Problem, listed, nearest, shown, step
from forge_ray.tree.domains import Domain, domain_of
from forge_ray.tree.nodes import Node, Placeholder, Tree, Value, map_values, node_fields, settled
from forge_ray.tree.values import AxisValue

Use: TypeAlias = tuple[str, str, Domain, Placeholder]
"""(axis, path of the field, domain of the field, placeholder) of a place where an axis is used."""
Refusal: TypeAlias = tuple[str, str, str]
"""(path, axis, why) of a place that an axis cannot take."""


def address(tree: Tree, places: Iterable[tuple[str, str]]) -> tuple[Tree, list[Refusal]]:
    """The tree with placeholders at (path, axis) places, and those whose path leads nowhere or is taken."""
    nodes, refused = list(tree.nodes), []
    index_of = {node.id: index for index, node in reversed(list(enumerate(nodes)))}
    for path, axis in places:
        node_id, _, field = path.partition(".")
        try:
            if node_id not in index_of:
                raise ValueError(f"no node {shown(node_id)}{nearest(node_id, index_of)}")
            nodes[index_of[node_id]] = _swept(nodes[index_of[node_id]], field, axis)
        except ValueError as error:
            refused.append((path, axis, str(error)))
    return Tree(tuple(nodes)), refused


def _swept(node: Node, field: str, axis: str) -> Node:
    fields = dict(node_fields(node))
    field = "positions[0]" if field == "positions" and len(node.positions) == 1 else field
    if field not in fields:
        hint = nearest(field, fields)
        raise ValueError(f"no field {shown(field)} in node {shown(node.id)}{hint}; allowed: {listed(fields)}")
    if isinstance(taken := fields[field], Placeholder):
        raise ValueError(f"already swept by axis {taken.axis!r}; a field has one axis")
    swept = Placeholder(axis, taken)
    return map_values(node, lambda name, value: swept if name == field else value)


def uses(tree: Tree) -> Iterator[Use]:
    """Every place where an axis is used."""
    for node in tree.nodes:
        for name, value in node_fields(node):
            if isinstance(value, Placeholder):
                yield value.axis, f"{node.id}.{name}", domain_of(name), value


def fill(tree: Tree, values: Mapping[str, AxisValue]) -> Tree:
    """The concrete tree of a branch: every placeholder replaced by the value of its axis."""

    def put(_: str, value: Value) -> Value:
        return values[value.axis] if isinstance(value, Placeholder) else value

    return Tree(tuple(settled(map_values(node, put)) for node in tree.nodes))


def unused_axes(axes: Mapping[str, object], trees: list[Tree]) -> list[Problem]:
    """Axes without use and placeholders without axis, over all trees of a job."""
    used = {axis for tree in trees for axis in tree.axes()}
    without_use = [Problem(f"axes.{step(name)}", f"not used; write \"${step(name)}\" where it belongs") for name in axes
                   if name not in used]  # fmt: skip
    without_axis = [
        Problem("axes", f"${name} is used in a tree but has no axis{nearest(name, axes)}; there: {listed(axes)}")
        for name in sorted(used - set(axes))
    ]
    return without_use + without_axis
