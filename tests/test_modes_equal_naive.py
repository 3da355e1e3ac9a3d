"""Modes, rebalancing rules, rates, costs, calendars and ragged starts against the independent oracle."""

from __future__ import annotations

import random

import numpy as np
import pytest

import naive
from forge_ray.engine import Cache, evaluate
from forge_ray.errors import DataError
from harness import bound_of, held_weights
from random_trees import random_bars, random_settings, random_tree
from test_engine_equals_naive import TICKERS, assert_metrics, is_decided_by_a_hair

N_TREES = 1_000
PER_TEST = 50


@pytest.mark.parametrize("first", range(0, N_TREES, PER_TEST))
def test_every_mode_and_rule_equals_the_oracle(first: int):
    compared = sum(compare_case(10_000 + seed) for seed in range(first, first + PER_TEST))
    assert compared >= PER_TEST // 2, "most cases must leave something to trade"


def compare_case(seed: int) -> bool:
    rng = random.Random(seed)
    prices = random_bars(rng, [*TICKERS, "IDX"], rng.randrange(60, 160), ragged=rng.random() < 0.6)
    settings = random_settings(rng, [*TICKERS, "IDX"], [bar[0] for bar in prices["AAA"]])
    tree = random_tree(rng, TICKERS, rng.randrange(1, 5), more_indicators=True)
    try:
        expected = naive.backtest(tree, prices, **settings)
    except ValueError:
        with pytest.raises(DataError):
            bound_of([tree], prices, **settings)
        return False
    if is_decided_by_a_hair(tree, naive.Market(prices, expected.dates, carry=settings["calendar"] == "union")):
        return False
    bound = bound_of([tree], prices, **settings)
    assert bound.start == expected.start, (seed, settings)
    assert [bound.panel.date(int(t)) for t in np.searchsorted(bound.panel.dates, bound.return_dates)] == [
        day for day, _ in expected.returns
    ], (seed, settings)
    row = evaluate(bound, 0, 1, Cache(2**26)).to_pylist()[0]
    if settings.get("rebalance", "daily") == "daily":
        for i, (weights, oracle) in enumerate(zip(held_weights(bound), expected.held, strict=True)):
            oracle = {ticker: weight for ticker, weight in naive.assets(oracle).items() if weight > 0}
            assert weights.keys() == oracle.keys(), (seed, i, settings)
            assert all(abs(weights[k] - oracle[k]) <= 1e-12 for k in oracle), (seed, i, settings)
    assert_metrics(row, expected.metrics, (seed, settings))
    return True
