"""Calls: what they put in place equals the same tree written out, by hash, by oracle and by rows."""

from __future__ import annotations

import random

import pytest

import naive
from forge_ray.errors import InputError
from forge_ray.sweep import JobError, parse_job
from forge_ray.tree import calls as tree_calls
from forge_ray.tree import expand, parse_tree, read_tree, to_json, tree_hash
from forge_ray.tree.calls import read_calls
from harness import bound_of, held_weights
from random_trees import random_prices, random_tree

TICKERS = ("AAA", "BBB", "CCC")


def hold(id: str, *tickers: str, **more: object) -> dict:
    return {"id": id, "kind": "position", "positions": list(tickers), **more}


def call(id: str, name: str, **more: object) -> dict:
    return {"id": id, "kind": "call", "callRefId": name, **more}


def group(id: str, *children: dict | None, **more: object) -> dict:
    return {"id": id, "kind": "basic", "children": {"next": list(children)}, **more}


def job(tree: dict, calls: object, **more: object) -> dict:
    return {"data": "sample:us20", "tree": tree, "calls": calls, **more}


def messages(given: dict) -> list[str]:
    with pytest.raises(JobError) as caught:
        parse_job(given)
    return [str(problem) for problem in caught.value.problems]


def test_a_call_stands_for_its_definition_with_ids_of_its_own() -> None:
    calls = {
        "safe": group("s", hold("a", "KO"), hold("b", "PG")),
        "both": group("g", call("k", "safe"), hold("c", "JNJ")),
    }
    tree = group("root", call("x", "both", weight=30), call("y", "safe", weight=70), weighting="defined")
    written_out = group(
        "root",
        group("x--g", group("x--k--s", hold("x--k--a", "KO"), hold("x--k--b", "PG")), hold("x--c", "JNJ"), weight=30),
        group("y--s", hold("y--a", "KO"), hold("y--b", "PG"), weight=70),
        weighting="defined",
    )
    found = parse_job(job(tree, calls)).trees[0]
    assert tree_hash(found) == tree_hash(parse_tree(written_out))
    assert to_json(found) == to_json(parse_tree(written_out))


def test_the_weight_of_the_definition_gives_way_to_that_of_the_call() -> None:
    calls = {"d": hold("p", "KO", weight=5)}
    assert parse_job(job(call("c", "d"), calls)).trees[0].nodes[0].get("weight") is None
    assert parse_job(job(group("g", call("c", "d", weight=2)), calls)).trees[0].nodes[1].get("weight") == 2.0


def test_paths_and_placeholders_sweep_inside_a_call() -> None:
    calls = {"d": hold("p", "$held")}
    tree = group("g", call("one", "d", weight=1), call("two", "d", weight=1), weighting="defined")
    axes = {"held": ["KO", "PG"], "share": {"paths": ["one--p.weight"], "values": [1, 2, 3]}}
    sweep = parse_job(job(tree, calls, axes=axes))
    assert sweep.space.size == 6
    assert [node.id for node in sweep.trees[0].nodes] == ["g", "one--p", "two--p"]


@pytest.mark.parametrize("seed", range(60))
def test_random_trees_with_calls_equal_the_oracle_and_the_tree_written_out(seed: int) -> None:
    rng = random.Random(seed)
    calls: dict[str, dict] = {}
    tree = random_tree(rng, TICKERS, 3, calls=calls)
    definitions, problems = read_calls(calls, "calls")
    read, more = read_tree(tree, place="tree")
    expanded, unknown = expand(read, definitions, "tree")
    assert not problems and not more and not unknown
    prices = random_prices(rng, TICKERS, 90, ragged=rng.random() < 0.5)
    try:
        expected = naive.backtest(tree, prices, calls=calls)
    except ValueError:
        return
    held = held_weights(bound_of([to_json(expanded)], prices))
    oracle = [{k: w for k, w in naive.assets(weights).items() if w > 0} for weights in expected.held]
    assert [h.keys() for h in held] == [o.keys() for o in oracle]
    assert all(abs(h[k] - o[k]) <= 1e-12 for h, o in zip(held, oracle, strict=True) for k in o)


def test_unknown_calls_name_their_place_and_the_nearest() -> None:
    found = messages(
        job(group("g", hold("h", "KO"), call("c", "sfae")), {"safe": hold("p", "PG"), "bad": call("k", "x")})
    )
    assert found == [
        "calls.bad.callRefId: unknown call 'x'; allowed: safe",
        "tree.children.next[1].callRefId: unknown call 'sfae' (did you mean 'safe'?); allowed: safe, bad",
    ]


def test_a_cycle_names_its_way_round() -> None:
    calls = {"a": group("g", call("x", "b")), "b": call("y", "c"), "c": group("h", hold("p", "KO"), call("z", "a"))}
    (found, *_) = messages(job(call("r", "a"), calls))
    assert found == "calls.a: calls itself: a -> b -> c -> a"
    assert messages(job(call("r", "a"), {"a": call("x", "a")}))[0] == "calls.a: calls itself: a -> a"


def test_mistakes_in_a_definition_are_reported_once_where_they_stand() -> None:
    found = messages(job(group("g", call("x", "d"), call("y", "d")), {"d": hold("p", "KO", weight=-1)}))
    assert found == ["calls.d.weight: expected a weight from 0 to 1e+15, got -1"]


def test_a_hundred_levels_of_calls_that_double_are_refused_by_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_calls, "MAX_NODES", 20_000)
    calls = {"c0": hold("p", "KO")}
    calls |= {f"c{k}": group("g", call("l", f"c{k - 1}"), call("r", f"c{k - 1}")) for k in range(1, 101)}
    assert "nodes with its calls in place; allowed: 20,000" in messages(job(call("r", "c100"), calls))[0]


def test_a_thousand_calls_in_a_row_are_put_in_place() -> None:
    calls = {"c0": hold("p", "KO")} | {f"c{k}": call("n", f"c{k - 1}") for k in range(1, 1000)}
    (node,) = parse_job(job(call("r", "c999"), calls)).trees[0].nodes
    assert node.id.count("--n") == 999


def test_ids_that_meet_once_the_calls_are_in_place_are_an_error() -> None:
    found = messages(job(group("g", call("x", "d"), hold("x--p", "PG")), {"d": hold("p", "KO")}))
    assert found == ["tree: id 'x--p' is used 2 times once its calls are in place; ids are unique"]


def test_a_tree_file_with_a_call_says_that_the_definition_belongs_to_a_job() -> None:
    with pytest.raises(InputError, match=r"tree.callRefId: the definition of call 'd' belongs to a job, "):
        parse_tree(call("c", "d"))


def test_calls_are_part_of_what_a_run_keeps_and_not_of_its_identity() -> None:
    by_call = parse_job(job(call("c", "d"), {"d": hold("p", "KO")}))
    written_out = parse_job({"data": "sample:us20", "tree": hold("c--p", "KO")})
    assert by_call.run_id("0") == written_out.run_id("0")
    assert parse_job(dict(by_call.job)).trees == by_call.trees


@pytest.mark.parametrize("calls", [[], "x", {"a b": hold("p", "KO")}, {"d": []}])
def test_calls_that_are_no_trees_by_id_are_errors_with_place(calls: object) -> None:
    assert all(message.startswith("calls") for message in messages(job(hold("p", "KO"), calls)))
