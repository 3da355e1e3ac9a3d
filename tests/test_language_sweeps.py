"""Sweeps over the fields of every node kind: a branch of a space is the tree that its values give."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
import pytest

from forge_ray.engine import Cache, Evaluator, decision_at, evaluate
from forge_ray.engine.readiness import Readiness
from forge_ray.errors import InputError
from forge_ray.run import prepare
from forge_ray.run.explanation import explain
from forge_ray.sweep import parse_job
from forge_ray.tree import fill, to_json
from harness import exact
from language_cases import INDEX, TICKERS
from test_language_equals_naive import bound_job
from whole_trees import random_market


def hold(id: str, *tickers: str, **more: object) -> dict:
    return {"id": id, "kind": "position", "positions": list(tickers), **more}


def rsi(id: str, ticker: object, threshold: object, **more: object) -> dict:
    return {
        "id": id,
        "metric": "RSI",
        "window": 3,
        "ticker": ticker,
        "comparator": "lt",
        "threshold": threshold,
        **more,
    }


LEAVES = [hold("a", "AAA"), hold("b", "BBB"), hold("c", "CCC", "DDD")]
GATE = {
    "id": "gate", "kind": "indicator", "conditions": [rsi("dip", "AAA", "$low")],
    "children": {"then": [hold("g1", "BBB")], "else": [hold("g2", "CCC")]},
}  # fmt: skip
SPACES: dict[str, tuple[dict, dict]] = {
    "function": (
        {"id": "f", "kind": "function", "metric": "$by", "window": "$w", "rank": "$rank", "n": "$n", "of": "$of",
         "children": {"next": [*LEAVES, GATE]}},
        {"by": ["ROC", "RSI"], "w": [2, 5], "rank": ["top", "bottom"], "n": [1, 2],
         "of": ["allocation", "equity", "tickers"], "low": [40, 60]},
    ),
    "weightings": (
        {"id": "blend", "kind": "basic", "weighting": "$rule", "volWindow": "$w", "maxCap": "$cap",
         "children": {"next": [{**leaf, "weight": k + 1} for k, leaf in enumerate([*LEAVES, GATE])]}},
        {"rule": ["equal", "defined", "inverse", "pro", "capped"], "w": [3, 8], "cap": [40, 100], "low": [40, 60]},
    ),
    "numbered": (
        {"id": "n", "kind": "numbered",
         "numbered": {"quantifier": "$q", "n": "$n", "items": [
             {"id": "i1", "conditions": [rsi("c1", "AAA", "$low")]},
             {"id": "i2", "conditions": [rsi("c2", {"any": ["BBB", "CCC"]}, "$low", forDays="$days")]},
             {"id": "i3", "conditions": [{"id": "c3", "metric": "Date", "dateMonth": "$month", "dateDay": 1,
                                          "dateTo": {"month": 8, "day": 31}}]}]},
         "children": {"then": [hold("t", "AAA")], "else": [hold("e", "BBB")]}},
        {"q": ["any", "all", "none", "exactly", "atLeast", "atMost"], "n": [1, 2], "low": [40, 60], "days": [1, 2],
         "month": [2, 10]},
    ),
    "latch, scaling, references, ratios and formulas": (
        {"id": "x", "kind": "altExit", "entryConditions": [rsi("in", "AAA", "$low")],
         "exitConditions": [{"id": "out", "metric": "$metric", "window": 4, "ticker": {"ratio": ["AAA", "$against"]},
                             "comparator": "gt", "threshold": 1}],
         "children": {"then": [{"id": "s", "kind": "scaling", "scaleMetric": "RSI", "scaleWindow": "$w",
                                "scaleTicker": "branch:then", "scaleFrom": "$from", "scaleTo": 55,
                                "children": {"then": [hold("s1", "BBB")], "else": [hold("s2", "CCC")]}}],
                      "else": [GATE]}},
        {"low": [40, 60], "metric": ["ROC", "custom:gap"], "against": ["BBB", "CCC"], "w": [2, 4], "from": [35, 70]},
    ),
}  # fmt: skip
FORMULAS = {"gap": "(close / sma - 1) * 100"}


@pytest.fixture(scope="module")
def prices() -> dict:
    return random_market(random.Random(7), [*TICKERS, INDEX], 220, ragged=False)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("mode", ["CC", "OO"])
def test_a_branch_of_a_space_is_the_tree_of_its_values(name: str, mode: str, prices: dict) -> None:
    tree, axes = SPACES[name]
    job = {"data": "sample:us20", "tree": tree, "axes": axes, "formulas": FORMULAS}
    settings = {"mode": mode, "benchmark": "IDX"}
    space = bound_job(job, prices, settings)
    rows = exact(evaluate(space, 0, space.plan.space.size, Cache(2**26)))
    metrics = [
        column for column in rows.column_names if column.startswith(("full_", "is_", "oos_")) or column == "path"
    ]
    sweep = parse_job(job)
    step, compared = max(1, math.isqrt(space.plan.space.size)), 0
    for branch in range(0, space.plan.space.size, step):
        _, values = sweep.space[branch]
        concrete = {"data": "sample:us20", "tree": to_json(fill(sweep.trees[0], values)), "formulas": FORMULAS}
        alone = bound_job(concrete, prices, settings | {"start": space.panel.date(space.start).isoformat()})
        if [*alone.panel.tickers] == [*space.panel.tickers] and alone.start == space.start:
            found = exact(evaluate(alone, 0, 1, Cache(2**26)))
            assert found.select(metrics).to_pylist() == rows.select(metrics).slice(branch, 1).to_pylist(), values
            compared += 1
    assert compared >= 3


@pytest.mark.parametrize("name", SPACES)
def test_the_explained_decision_of_every_node_kind_is_the_allocation(name: str, prices: dict) -> None:
    tree, axes = SPACES[name]
    sweep = parse_job({"data": "sample:us20", "tree": tree, "axes": axes, "formulas": FORMULAS})
    for branch in (0, sweep.space.size // 2, sweep.space.size - 1):
        concrete = to_json(fill(sweep.trees[0], sweep.space[branch][1]))
        bound = bound_job({"data": "sample:us20", "tree": concrete, "formulas": FORMULAS}, prices, {})
        allocation = Evaluator(bound.plan, bound.panel, Cache(2**26)).allocation(bound.plan.roots[0], {})
        for t in range(bound.start, len(bound.panel.dates), 29):
            decision = decision_at(bound, t, Cache(2**26))
            weights = allocation.weights[allocation.row_of[t]]
            assert decision.weights == {bound.panel.tickers[k]: w for k, w in enumerate(weights) if w}
            assert decision.nodes[0].id == concrete["id"]
            reached = {ticker for node in decision.nodes for ticker in node.holds}
            assert set(decision.weights) <= reached


def test_the_work_of_nested_functions_does_not_double_with_each(prices: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    depth, scored = 24, []
    node = hold("last", "AAA")
    for k in range(depth):
        leaf = hold(f"h{k}", TICKERS[k % 4])
        node = {"id": f"f{k}", "kind": "function", "metric": "ROC", "window": 3, "rank": "top", "n": 1,
                "of": ["allocation", "tickers"][k % 2], "children": {"next": [node, leaf]}}  # fmt: skip
    bound = bound_job({"data": "sample:us20", "tree": node}, prices, {})
    score = Evaluator._score

    def counted(*arguments: object) -> np.ndarray:
        scored.append(1)
        assert len(scored) <= 2 * depth, "two children each, once"
        return score(*arguments)

    monkeypatch.setattr(Evaluator, "_score", counted)
    Evaluator(bound.plan, bound.panel, Cache(2**26)).allocation(bound.plan.roots[0], {})
    assert len(scored) == depth - 1 + 4, "each function but the outermost, and the four leaves that differ"


def ranked_by_equity(depth: int) -> dict:
    node = hold("last", "AAA")
    for k in range(depth):
        node = {"id": f"f{k}", "kind": "function", "metric": "Price", "rank": "top", "n": 1, "of": "equity",
                "children": {"next": [node, hold(f"h{k}", "BBB")]}}  # fmt: skip
    return {"data": "sample:us20", "tree": node}


def test_equities_nested_hundreds_of_levels_deep_are_bound_without_recursion(prices: dict):
    assert bound_job(ranked_by_equity(520), prices, {}).start < 5


def test_the_first_bar_of_an_equity_is_found_once(prices: dict, monkeypatch: pytest.MonkeyPatch):
    """However deep it lies: what is around it asks for it, and does not look through it again."""
    depth, found = 30, Counter[int]()
    bound = bound_job(ranked_by_equity(depth), prices, {})
    first_bar = Readiness._first_bar

    def counted(readiness: Readiness, i: int) -> int:
        found[i] += 1
        return first_bar(readiness, i)

    monkeypatch.setattr(Readiness, "_first_bar", counted)
    Evaluator(bound.plan, bound.panel, Cache(2**26)).allocation(bound.plan.roots[0], {})
    assert set(found.values()) == {1} and len(found) >= depth


@pytest.mark.parametrize("written", ["Price", "custom:LOG"])
def test_a_metric_that_takes_a_window_gets_no_place_without_one(written: str):
    line = {"id": "c", "metric": written, "window": 14, "ticker": "AAPL", "comparator": "gt", "threshold": 50}
    tree = {"id": "g", "kind": "indicator", "conditions": [line],
            "children": {"then": [hold("a", "AAPL")], "else": [hold("b", "CASH")]}}  # fmt: skip
    job = {"data": "sample:us20", "tree": tree, "formulas": {"LOG": "log(close)"}}
    axis = {"paths": ["g.c.metric"], "values": ["MACD", "RSI"]}
    with pytest.raises(InputError, match=r"g\.c\.metric: 'R.*' takes a window, and .* has none; write \"\$m\" there"):
        parse_job(job | {"axes": {"m": axis}})
    assert parse_job(job | {"axes": {"m": axis | {"values": ["MACD", "OBV ROC"][:1]}}}).space.size == 1
    swept = tree | {"conditions": [line | {"metric": "$m"}]}
    _, values = parse_job(job | {"tree": swept, "axes": {"m": ["Price", "RSI"]}}).space[1]
    assert values == {"m": "Relative Strength Index"}


def test_an_axis_over_two_fields_of_one_name_fits_both():
    numbered = {"id": "count", "kind": "numbered",
                "numbered": {"quantifier": "atLeast", "n": "$k", "items": [
                    {"id": f"i{k}", "conditions": [rsi(f"c{k}", "AAPL", 40)]} for k in range(2)]},
                "children": {"then": [hold("a", "AAPL")], "else": [hold("b", "MSFT")]}}  # fmt: skip
    tree = {"id": "f", "kind": "function", "metric": "RSI", "window": 5, "rank": "top", "n": "$k",
            "children": {"next": [numbered, hold("c", "KO")]}}  # fmt: skip
    job = {"data": "sample:us20", "tree": tree}
    with pytest.raises(InputError, match=r"axes\.k: value 0: f\.n = 0: expected an integer from 1"):
        parse_job(job | {"axes": {"k": [0, 1]}})
    assert parse_job(job | {"axes": {"k": [1, 2]}}).space.size == 2


def test_a_clause_that_no_tree_can_hold_is_a_mistake():
    def tree(axis: str) -> dict:
        gate = {"conditions": [rsi("dip", "AAPL", 40, window=axis)]}
        return GATE | gate | {"children": {"then": [hold("a", "AAPL")], "else": [hold("b", "KO")]}}

    job = {"data": "sample:us20", "trees": {"one": tree("$n"), "two": tree("$m")}, "axes": {"n": [2, 3], "m": [4, 5]}}
    with pytest.raises(InputError, match=r"where\[1\]: 'n < m' joins axes that no tree uses together"):
        parse_job(job | {"where": ["n < 3", "n < m"]})
    assert parse_job(job | {"where": ["n < 3"]}).space.admitted == 3


def test_a_share_of_nothing_is_no_axis():
    line = rsi("dip", "AAPL", 0.0)
    job = {"data": "sample:us20", "tree": {**GATE, "conditions": [line], "children": {
        "then": [hold("a", "AAPL")], "else": [hold("b", "KO")]}}}  # fmt: skip
    axis = {"at": "RSI(AAPL,3) < 0", "threshold": "±20% by 5%"}
    with pytest.raises(InputError, match=r"axes\.z: '±20% by 5%' is a share of 0, the value in the tree"):
        parse_job(job | {"axes": {"z": axis}})
    assert parse_job(job | {"axes": {"z": axis | {"threshold": "±2"}}}).space.size == 5


def test_costs_of_what_is_never_held_are_a_warning():
    tree = GATE | {"conditions": [rsi("dip", "KO", 40)], "children": {"then": [hold("a", "AAPL")], "else": []}}
    job = {"data": "sample:us20", "tree": tree}
    for named, n in (("APPL", 1), ("KO", 1), ("AAPL", 0)):
        prepared = prepare(parse_job(job | {"execution": {"cost_bps": {"default": 5, named: 9}}}))
        told = [text for text in explain(prepared, 1, 2**24)["warnings"] if "cost_bps" in text]
        assert len(told) == n and all(f"execution.cost_bps.{named}: no branch holds it" in text for text in told)
    assert "did you mean 'AAPL'" in " ".join(
        explain(prepare(parse_job(job | {"execution": {"cost_bps": {"APPL": 9}}})), 1, 2**24)["warnings"]
    )
