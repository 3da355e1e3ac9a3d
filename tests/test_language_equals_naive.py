"""The whole language against the independent oracle: random trees over all nodes, weightings and indicators."""

from __future__ import annotations

import random

import naive
import numpy as np
import pytest
from harness import history
from test_engine_equals_naive import assert_metrics
from whole_trees import random_market, random_whole, whole_settings

from forge_ray.data import build_panel, parse_split
from forge_ray.engine import Cache, Evaluator, bind, evaluate
from forge_ray.errors import DataError, InputError
from forge_ray.plan import compile_plan
from forge_ray.sweep import parse_job

TICKERS = ["AAA", "BBB", "CCC", "DDD"]
N_TREES = 200
PER_TEST = 20


@pytest.mark.parametrize("first", range(0, N_TREES, PER_TEST))
def test_every_node_weighting_and_indicator_equals_the_oracle(first: int) -> None:
    compared = sum(compare(seed) for seed in range(first, first + PER_TEST))
    assert compared >= PER_TEST // 3, "most cases must leave something to trade"


def compare(seed: int) -> bool:
    rng = random.Random(seed)
    whole = random_whole(rng, TICKERS, rng.randrange(1, 4))
    prices = random_market(rng, [*TICKERS, "IDX"], rng.randrange(120, 260), ragged=rng.random() < 0.5)
    settings = whole_settings(rng, [*TICKERS, "IDX"], [bar[0] for bar in prices["AAA"]])
    job = {"data": "sample:us20", "tree": whole.tree, **whole.job()}
    try:
        expected = naive.backtest(whole.tree, prices, **whole.job(), **settings)
    except ValueError:
        with pytest.raises(InputError):
            bound_job(job, prices, settings)
        return False
    if expected.hairs:
        return False
    bound = bound_job(job, prices, settings)
    assert [bound.panel.date(t) for t in range(len(bound.panel.dates))] == expected.dates, seed
    assert bound.start == expected.start, (seed, settings)
    evaluator = Evaluator(bound.plan, bound.panel, Cache(2**26))
    found = evaluator.allocation(bound.plan.roots[0], {})
    dense = found.weights[found.row_of]
    for t, oracle in enumerate(expected.allocations):
        weights = {bound.panel.tickers[k]: dense[t, k] for k in np.flatnonzero(dense[t] > 0)}
        assets = {ticker: weight for ticker, weight in naive.assets(oracle).items() if weight > 0}
        assert weights.keys() == assets.keys(), (seed, t, settings)
        assert all(abs(weights[k] - assets[k]) <= 1e-12 for k in assets), (seed, t, settings)
    row = evaluate(bound, 0, 1, Cache(2**26)).to_pylist()[0]
    assert_metrics(row, expected.metrics, (seed, settings))
    return True


def bound_job(job: dict, prices: dict, settings: dict):
    execution = {key: settings[key] for key in settings if key not in ("benchmark", "split")}
    if execution.get("start") not in ("common", "earliest", None):
        execution["start"] = str(execution["start"])
    if isinstance(execution.get("cost_bps"), dict):
        execution["cost_bps"] = dict(execution["cost_bps"])
    sweep = parse_job({**job, "execution": execution, "split": settings.get("split", {"holdout": "30%"})})
    plan = compile_plan(sweep.trees, sweep.space, sweep.execution, sweep.formulas)
    benchmark = settings.get("benchmark")
    carried = {*([benchmark] if benchmark else []), *sweep.execution.carried_tickers}
    missing = [ticker for ticker in (*plan.tickers, *carried) if ticker not in prices]
    if missing:
        raise DataError([])
    panel = build_panel(
        [history(ticker, prices[ticker]) for ticker in plan.tickers],
        [history(ticker, prices[ticker]) for ticker in sorted(carried)],
        sweep.execution.calendar,
    )
    return bind(plan, panel, parse_split(settings.get("split") or {"holdout": "30%"}, "split"), benchmark)
