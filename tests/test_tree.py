"""Trees: what is read, written and hashed, and that a thousand nodes of depth work from file to result."""

from __future__ import annotations

import copy
import random
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forge_ray import jsontext
from forge_ray.errors import InputError
from forge_ray.tree import canonical, fill, from_canonical, parse_tree, to_json, tree_hash
from forge_ray.tree.nodes import Kind, node_fields
from forge_ray.tree.placeholders import address
from harness import allocations, bound_of
from random_trees import random_tree

TICKERS = ("AAA", "BBB", "CCC")
SPELLINGS = {"RSI": "Relative Strength Index", "Price": "Current Price", "SMA": "Simple Moving Average"}


def shared_strategies() -> list[Path]:
    """The native strategies of a folder `shared` that stands beside the project, if there is one."""
    for folder in Path(__file__).resolve().parents:
        if (found := folder / "shared" / "strategies" / "native").is_dir():
            return sorted(found.glob("*.json"))
    return []


def is_of_this_language(tree: dict[str, Any]) -> bool:
    nodes, kinds = [tree], set()
    while nodes:
        node = nodes.pop()
        kinds.add(node["kind"])
        nodes += [child for children in node.get("children", {}).values() for child in children if child]
    return kinds <= {kind.value for kind in Kind}


@pytest.mark.skipif(not shared_strategies(), reason="no folder of shared strategies")
def test_native_strategies_are_read_or_refused_by_kind_and_place() -> None:
    for file in shared_strategies():
        data: Any = jsontext.read_file(file)
        tree = data.get("tree", data)
        if is_of_this_language(tree):
            assert tree_hash(parse_tree(to_json(parse_tree(tree)))) == tree_hash(parse_tree(tree))
        else:
            with pytest.raises(InputError, match=r"kind: unknown kind '\w+'"):
                parse_tree(tree)


def random_trees(n: int) -> list[dict[str, Any]]:
    return [random_tree(random.Random(seed), TICKERS, depth=4) for seed in range(n)]


def test_json_and_canonical_form_are_read_back_as_the_same_tree() -> None:
    for data in random_trees(100):
        tree = parse_tree(to_json(parse_tree(data)))
        assert tree_hash(tree) == tree_hash(parse_tree(data))
        assert parse_tree(to_json(tree)) == tree
        assert parse_tree(from_canonical(canonical(tree))) == tree
        assert parse_tree(jsontext.parse(jsontext.write(to_json(tree)))) == tree


def test_swept_trees_survive_the_round_trip() -> None:
    tree = parse_tree(EVERYTHING)
    swept = tree
    for k, (node, field) in enumerate((n, f) for n in tree.nodes for f, _ in node_fields(n)):
        swept, _ = address(swept, [(f"{node.id}.{field}", f"a{k}")])
    assert [p.axis for p in placeholders(parse_tree(to_json(swept)))] == [p.axis for p in placeholders(swept)]
    values = {p.axis: p.written for p in placeholders(swept)}
    assert len(values) == 23
    assert fill(swept, values) == tree  # type: ignore[arg-type]


def placeholders(tree: Any) -> list[Any]:
    return [value for node in tree.nodes for _, value in node_fields(node) if hasattr(value, "axis")]


EVERYTHING: dict[str, Any] = {
    "id": "root", "kind": "indicator", "weightingThen": "defined",
    "conditions": [
        {"id": "a", "metric": "RSI", "window": 10, "ticker": "AAA", "comparator": "lt", "threshold": 30, "forDays": 2},
        {"id": "b", "type": "or", "metric": "SMA", "window": 5, "ticker": "AAA", "comparator": "crossAbove",
         "expanded": True, "rightMetric": "EMA", "rightWindow": 9, "rightTicker": "BBB"},
    ],
    "children": {
        "then": [{"id": "x", "kind": "position", "positions": ["AAA", "BBB"], "weight": 60},
                 None,
                 {"id": "y", "kind": "basic", "weight": 40, "children": {"next": [
                     {"id": "z", "kind": "position", "positions": ["CASH"], "weight": 1}]}}],
        "else": [],
    },
}  # fmt: skip


def test_the_hash_ignores_display_fields_and_aliases() -> None:
    plain = tree_hash(parse_tree(EVERYTHING))
    shown = copy.deepcopy(EVERYTHING) | {"title": "A", "bgColor": "#fff", "collapsed": True}
    shown["conditions"][0] |= {"title": "dip", "metric": "Relative Strength Index"}
    shown["conditions"][1] |= {"metric": "Simple Moving Average", "rightMetric": "Exponential Moving Average"}
    assert tree_hash(parse_tree(shown)) == plain


@pytest.mark.parametrize(
    ("place", "default"),
    [
        (("weightingElse",), "equal"),
        (("children", "then", 2, "weighting"), "equal"),
        (("children", "else"), []),
        (("conditions", 0, "type"), "if"),
        (("conditions", 0, "expanded"), False),
        (("conditions", 1, "forDays"), 1),
    ],
)
def test_the_hash_ignores_defaults(place: tuple, default: object) -> None:
    plain, written, left_out = tree_hash(parse_tree(EVERYTHING)), copy.deepcopy(EVERYTHING), copy.deepcopy(EVERYTHING)
    at(written, place[:-1])[place[-1]] = default
    at(left_out, place[:-1]).pop(place[-1], None)
    assert tree_hash(parse_tree(written)) == tree_hash(parse_tree(left_out)) == plain


def test_a_right_side_left_out_is_the_left_side() -> None:
    short, long = copy.deepcopy(EVERYTHING), copy.deepcopy(EVERYTHING)
    for name in ("rightMetric", "rightTicker"):
        del short["conditions"][1][name]
    long["conditions"][1] |= {"rightMetric": "SMA", "rightTicker": "AAA"}
    assert tree_hash(parse_tree(short)) == tree_hash(parse_tree(long))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("conditions", 0, "window"), 11),
        (("conditions", 0, "threshold"), 30.5),
        (("conditions", 0, "forDays"), 1),
        (("conditions", 0, "ticker"), "BBB"),
        (("conditions", 1, "type"), "and"),
        (("conditions", 1, "comparator"), "gt"),
        (("conditions", 1, "rightWindow"), 10),
        (("children", "then", 0, "positions"), ["BBB", "AAA"]),
        (("children", "then", 0, "weight"), 61),
        (("children", "else"), [{"id": "w", "kind": "position", "positions": []}]),
        (("weightingThen",), "equal"),
    ],
)
def test_the_hash_tells_meanings_apart(place: tuple, value: object) -> None:
    other = copy.deepcopy(EVERYTHING)
    at(other, place[:-1])[place[-1]] = value
    assert tree_hash(parse_tree(other)) != tree_hash(parse_tree(EVERYTHING))


def at(data: Any, place: tuple) -> Any:
    for step in place:
        data = data[step]
    return data


def test_nodes_are_in_pre_order_with_parents_and_paths() -> None:
    tree = parse_tree(EVERYTHING)
    assert [node.id for node in tree.nodes] == ["root", "x", "y", "z"]
    assert [node.parent for node in tree.nodes] == [-1, 0, 0, 2]
    assert tree.path(0) == ""
    assert tree.path(3) == "children.then[2].children.next[0]"


def chain(depth: int) -> dict[str, Any]:
    """`depth` nodes, each an indicator that holds AAA on one side and goes on on the other."""
    tree: dict[str, Any] = {"id": f"n{depth}", "kind": "position", "positions": ["BBB"]}
    for k in range(depth - 1, 0, -1):
        condition = {"id": "c", "metric": "Price", "ticker": "AAA", "comparator": "gt", "threshold": 1000.0 - k}
        hold = {"id": f"p{k}", "kind": "position", "positions": ["AAA"]}
        tree = {
            "id": f"n{k}",
            "kind": "indicator",
            "conditions": [condition],
            "children": {"then": [hold], "else": [tree]},
        }
    return tree


def test_a_thousand_nodes_deep_works_from_file_to_allocation(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text(jsontext.write(chain(1000)))
    data: Any = jsontext.read_file(tmp_path / "deep.json")
    tree = parse_tree(data)
    assert len(tree.nodes) == 1999
    assert tree_hash(parse_tree(from_canonical(canonical(tree)))) == tree_hash(tree)
    days = [date(2020, 1, 1) + timedelta(days=k) for k in range(50)]
    prices = {
        "AAA": [(day, 0.5 if k % 3 else 900.0) for k, day in enumerate(days)],
        "BBB": [(day, 50.0 + k) for k, day in enumerate(days)],
    }
    bound = bound_of([data], prices)
    held = allocations(bound)
    rows = {ticker: row for row, ticker in enumerate(bound.panel.tickers)}
    for bar in range(bound.start, len(days)):
        expected = "BBB" if bar % 3 else "AAA"
        assert held[bar, rows[expected]] == 1.0
        assert np.count_nonzero(held[bar]) == 1
