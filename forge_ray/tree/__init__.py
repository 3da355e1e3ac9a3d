"""The language: flat immutable trees, strict reading, canonical form, and the spaces that axes span around trees."""

from forge_ray.tree.atoms import Atom, atoms_of, places_of
from forge_ray.tree.calls import expand, read_definitions
from forge_ray.tree.canonical import canonical, digest, from_canonical, to_json, tree_hash
from forge_ray.tree.neighbourhood import Around, Jitter, Neighbourhood, Space
from forge_ray.tree.nodes import Condition, Kind, Node, Placeholder, Series, Tree
from forge_ray.tree.parse import TreeError, parse_tree, read_tree
from forge_ray.tree.placeholders import Use, address, fill, unused_axes, uses
from forge_ray.tree.space import Axis, Grid, Term
from forge_ray.tree.values import AxisValue, Exact, axis_values, exact_range
from forge_ray.tree.where import Where

__all__ = [
    "Around",
    "Atom",
    "Axis",
    "AxisValue",
    "Condition",
    "Exact",
    "Grid",
    "Jitter",
    "Kind",
    "Neighbourhood",
    "Node",
    "Placeholder",
    "Series",
    "Space",
    "Term",
    "Tree",
    "TreeError",
    "Use",
    "Where",
    "address",
    "atoms_of",
    "axis_values",
    "canonical",
    "digest",
    "exact_range",
    "expand",
    "fill",
    "from_canonical",
    "parse_tree",
    "places_of",
    "read_definitions",
    "read_tree",
    "to_json",
    "tree_hash",
    "unused_axes",
    "uses",
]
