"""The engine against the independent oracle: random trees on random, ragged histories."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

import naive
from forge_ray.catalog import METRICS, SEGMENTS
from forge_ray.engine import Cache, evaluate
from forge_ray.errors import DataError
from harness import bound_of, held_weights
from random_trees import random_prices, random_tree

CALM = 1e-5
TICKERS = ("AAA", "BBB", "BIL", "CCC")
SPLITS = ({"holdout": "30%"}, {"chronological": "55%"}, "even_odd_month", "even_odd_year", "none")
N_TREES = 300


def case(seed: int) -> tuple[dict, dict, dict]:
    rng = random.Random(seed)
    prices = random_prices(rng, [*TICKERS, "IDX"], rng.randrange(60, 160), ragged=rng.random() < 0.6)
    days = [day for day, _ in prices["AAA"]]
    settings = {
        "lag": rng.choice([0, 0, 1, 3]),
        "cost_bps": rng.choice([0.0, 5.0, 60.0]),
        "null": rng.choice(["cash", "cash", "else"]),
        "cash_rate": rng.choice([0.0, 0.0, 0.03]),
        "risk_free": rng.choice([0.0, 0.02]),
        "split": rng.choice([*SPLITS, {"chronological": rng.choice(days).isoformat()}]),
        "benchmark": rng.choice([None, "IDX", "AAA"]),
        "start": rng.choice(["common", "common", (days[20] + timedelta(days=1)).isoformat()]),
    }
    return random_tree(rng, TICKERS, depth=rng.randrange(1, 5)), prices, settings


@pytest.mark.parametrize("first", range(0, N_TREES, 25))
def test_positions_and_metrics_equal_the_oracle(first: int):
    compared = sum(compare_case(seed) for seed in range(first, first + 25))
    assert compared >= 15, "most cases must leave something to trade"


def compare_case(seed: int) -> bool:
    tree, prices, settings = case(seed)
    try:
        expected = naive.backtest(tree, prices, **settings)
    except ValueError:
        with pytest.raises(DataError):
            bound_of([tree], prices, **settings)
        return False
    if is_decided_by_a_hair(tree, naive.Market(prices, expected.dates)):
        return False
    bound = bound_of([tree], prices, **settings)
    assert [bound.panel.date(t) for t in range(len(bound.panel.dates))] == expected.dates
    assert bound.start == expected.start, seed
    held = held_weights(bound)
    assert len(held) == len(expected.held)
    for i, (weights, oracle) in enumerate(zip(held, expected.held, strict=True)):
        oracle = {ticker: weight for ticker, weight in naive.assets(oracle).items() if weight > 0}
        assert weights.keys() == oracle.keys(), (seed, i)
        assert all(abs(weights[ticker] - oracle[ticker]) <= 1e-12 for ticker in oracle), (seed, i)
    row = evaluate(bound, 0, 1, Cache(2**26)).to_pylist()[0]
    assert_metrics(row, expected.metrics, seed)
    return True


def is_decided_by_a_hair(tree: dict, market: naive.Market) -> bool:
    """Two different series that meet up to rounding: which one is larger is then a matter of summation order.

    Flat stretches do that to recursive averages of different windows. Values that both sides compute exactly
    (0, 50, 100) are no such case.
    """
    for node in naive.nodes(tree):
        for condition in node.get("conditions", ()):
            if not condition.get("expanded") or naive.left_side(condition) == naive.right_side(condition):
                continue
            for t in range(len(market.dates)):
                a, b = (market.value(*side(condition), t) for side in (naive.left_side, naive.right_side))
                exact = a == b and a in (0.0, 50.0, 100.0)
                if a is not None and b is not None and not exact and abs(a - b) <= 1e-11 * max(1.0, abs(a)):
                    return True
    return False


def assert_metrics(row: dict, expected: dict, case: object) -> None:
    """Every metric of every segment to 1e-10 of what it is made of. Below `CALM` the sums do not resolve the third and
    fourth power of a deviation."""
    for segment in SEGMENTS:
        volatility = expected[segment]["volatility"] or 1.0
        scales = magnified(expected[segment])
        for metric in METRICS:
            value, oracle = row[f"{segment}_{metric.name}"], expected[segment][metric.name]
            where = f"{metric.name}: {segment} {value}, expected {oracle}, in {case}"
            if volatility < CALM and metric.name in ("skew", "kurtosis_excess"):
                continue
            if metric.name == "n_days":
                assert value == (oracle or 0), where
            elif oracle is None or value is None:
                assert value is None and oracle is None, where
            else:
                scale = scales.get(metric.name, 1.0)
                assert abs(value - oracle) <= 1e-10 * scale * max(1.0, abs(oracle)), where


def magnified(oracle: dict) -> dict[str, float]:
    """How many times the tolerance a ratio is allowed.

    A return is rounded to a multiple of 2⁻⁴⁷; if every bar errs to the same side, as cash does, that is 1e-12 in a
    year, and what divides by less than a hundredth magnifies it; a third and a fourth power do so three and four times.
    The fourth power of a deviation below 5e-4 a year also feels the grid of its sum.
    """
    sharpe, sortino, volatility = (oracle[name] or 1.0 for name in ("sharpe", "sortino", "volatility"))
    drawdown = oracle["max_drawdown"] or 1.0
    small = {
        "sharpe": 1.0 / volatility,
        "skew": 3.0 / volatility,
        "kurtosis_excess": max(4.0 / volatility, 100.0 * (5e-4 / volatility) ** 4),
        "sortino": abs(sortino / (sharpe * volatility)),
        "calmar": 1.0 / drawdown,
        "timar_max_drawdown": 1.0 / (drawdown * (oracle["time_in_market"] or 1.0)),
    }
    return {"treynor": max(1.0, 1.0 / abs(oracle["beta"] or 1.0))} | {k: max(1.0, 0.01 * x) for k, x in small.items()}
