"""Sweeps over the fields of every node kind: a branch of a space is the tree that its values give."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from harness import exact
from language_cases import INDEX, TICKERS
from test_language_equals_naive import bound_job
from whole_trees import random_market

from forge_ray.engine import Cache, Evaluator, decision_at, evaluate
from forge_ray.sweep import parse_job
from forge_ray.tree import fill, to_json


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
