"""What an export promises: it starts from a valid tree, and the file that it writes comes back as that tree."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from forge_ray.errors import InputError, Problem, shown
from forge_ray.tree.calls import expand, read_definitions
from forge_ray.tree.canonical import canonical
from forge_ray.tree.importers import import_text
from forge_ray.tree.nodes import Tree, Weighting
from forge_ray.tree.parse import read_tree
from forge_ray.tree.reader import join_place

MAX_DIFFERENCES = 20
SAME_NUMBER = 1e-12
"""Relative. Percent that are written as fractions may come back with another last bit."""


def read_whole(job: Mapping[str, Any]) -> Tree:
    """The tree of a job with its calls in place, read as strictly as for a run. Raises `InputError`."""
    definitions, calls, problems, broken = read_definitions(job)
    tree, mistakes = read_tree(job.get("tree"), place="tree", definitions=definitions)
    expanded, unknown = (tree, []) if broken or mistakes else expand(tree, calls, "tree")
    if found := [*problems, *broken, *mistakes, *unknown]:
        raise InputError(found)
    return expanded


def check_return(tree: Tree, text: str, *, same_tree: bool) -> None:
    """Import an exported file. Raises `InputError` if it cannot be read or, with `same_tree`, where the tree differs.

    same_tree : whether the program keeps ids and shape; otherwise groups of one and equal shares come back simpler.
    """
    again = read_whole(import_text(text, "the exported file").job)
    if same_tree and (found := list(_differences(tree, again))):
        raise InputError(found[:MAX_DIFFERENCES])


def _differences(tree: Tree, again: Tree) -> Iterator[Problem]:
    if len(tree.nodes) != len(again.nodes):
        yield Problem("tree", f"comes back with {len(again.nodes):,} nodes instead of {len(tree.nodes):,}")
    for index, (ours, theirs) in enumerate(zip(_meaning(tree), _meaning(again), strict=False)):
        for place, mine, other in _apart(ours, theirs, join_place("tree", tree.path(index))):
            yield Problem(place, f"{shown(mine)} comes back as {shown(other)}")


def _meaning(tree: Tree) -> list[dict[str, Any]]:
    """The canonical form without weights that nothing reads."""
    rows = canonical(tree)
    for node, row in zip(tree.nodes, rows, strict=True):
        if node.parent < 0 or tree.nodes[node.parent].weighting(node.slot) != Weighting.DEFINED:
            row.pop("weight", None)
    return rows


def _apart(ours: Any, theirs: Any, place: str) -> Iterator[tuple[str, Any, Any]]:
    """(place, one value, the other) where two values of a canonical form, which is flat, differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in dict.fromkeys((*ours, *theirs)):
            yield from _apart(ours.get(name), theirs.get(name), join_place(place, name))
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for k, pair in enumerate(zip(ours, theirs, strict=True)):
            yield from _apart(*pair, f"{place}[{k}]")
    elif isinstance(ours, int | float) and isinstance(theirs, int | float):
        if not math.isclose(ours, theirs, rel_tol=SAME_NUMBER):
            yield place, ours, theirs
    elif ours != theirs:
        yield place, ours, theirs
