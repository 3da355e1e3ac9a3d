"""Accounting by hand: what a fill costs, what an interval earns, how bars become the sums and drawdowns of a row."""

from __future__ import annotations

import importlib
import math
import random
from collections.abc import Sequence
from datetime import date
from itertools import pairwise

import numpy as np
import pytest

import naive
from forge_ray.catalog import BARS_PER_YEAR, SEGMENTS
from forge_ray.engine import BoundPlan, BranchBars, Cache, branch_bars, evaluate
from forge_ray.errors import DataError
from harness import Prices, bound_of
from random_trees import random_prices, weekdays

C = 0.01
"""One percent per side."""
COST_BPS = 100
GRID = 2.0**-47
FIRST = date(2020, 1, 6)
N_SPACES = 40

A = [100.0, 110.0, 99.0, 108.9, 130.68, 117.612, 123.4926]
B = [50.0, 50.5, 51.0, 49.0, 47.5, 48.0, 48.6]
D = [20.0, 19.0, 21.0, 22.0, 20.5, 20.0, 21.5]


# ---------------------------------------------------------------- strategies by hand


def near(expected: object) -> object:
    """Equal but for the one rounding of a return and the roundings of its formula."""
    return pytest.approx(expected, rel=0, abs=4 * GRID)


def traded(expected: object) -> object:
    """Equal but for the grid of turnovers."""
    return pytest.approx(expected, rel=0, abs=2.0**-40)


def hold(*positions: str, name: str = "hold") -> dict:
    return {"id": name, "kind": "position", "positions": list(positions)}


def weighted(**weights: float) -> dict:
    children = [hold(ticker, name=ticker) | {"weight": weight} for ticker, weight in weights.items()]
    return {"id": "mix", "kind": "basic", "weighting": "defined", "children": {"next": children}}


def on_off(then: dict, other: dict) -> dict:
    """`then` where SIG is 2, `other` where it is 1."""
    condition = {"id": "c", "metric": "Price", "ticker": "SIG", "comparator": "gt", "threshold": 1.5}
    then, other = {**then, "id": "on"}, {**other, "id": "off"}
    return {"id": "g", "kind": "indicator", "conditions": [condition], "children": {"then": [then], "else": [other]}}


def market(signal: Sequence[int] = (), **closes: Sequence[float]) -> Prices:
    """Closes on the same weekdays; a shorter list ends early."""
    columns = dict(closes) | ({"SIG": [float(s) for s in signal]} if signal else {})
    days = weekdays(FIRST, max(map(len, columns.values())))
    return {ticker: list(zip(days, column, strict=False)) for ticker, column in columns.items()}


def bound_on(tree: dict, prices: Prices, **settings: object) -> BoundPlan:
    settings = {"cost_bps": COST_BPS, "split": "none"} | settings
    return bound_of([tree], prices, tickers=sorted(prices), **settings)  # type: ignore[arg-type]


def run(tree: dict, prices: Prices, **settings: object) -> tuple[BranchBars, dict]:
    """Every bar of the only branch, and its row."""
    bound = bound_on(tree, prices, **settings)
    return branch_bars(bound, 0, Cache(2**26)), evaluate(bound, 0, 1, Cache(2**26)).to_pylist()[0]


def returns(closes: Sequence[float]) -> list[float]:
    return [after / before - 1 for before, after in pairwise(closes)]


# ---------------------------------------------------------------- what a fill costs


def test_entering_from_cash_is_one_side_and_holding_is_free():
    bars, row = run(hold("AAA"), market(AAA=A))
    first, *rest = returns(A)
    assert bars.turnover.tolist() == [1, 0, 0, 0, 0, 0]
    assert bars.net == near([(1 - C) * (1 + first) - 1, *rest])
    assert row["full_trades"] == 1


def test_the_last_bar_is_no_forced_sale():
    bars, row = run(hold("AAA"), market(AAA=A))
    assert len(bars.net) == len(A) - 1
    assert bars.net[-1] == near(returns(A)[-1])
    assert row["full_total_return"] == near((1 - C) * A[-1] / A[0] - 1)
    assert row["full_turnover"] == BARS_PER_YEAR / 6


def test_cash_is_free_and_earns_its_rate():
    bars, row = run(hold("CASH"), market(AAA=A), cash_rate=0.0504)
    assert bars.turnover.tolist() == [0] * 6
    assert bars.net == near([0.0002] * 6)
    assert (row["full_trades"], row["full_time_in_market"], row["full_average_holdings"]) == (0, 0, 0)


def test_a_full_switch_is_two_sides():
    bars, row = run(on_off(hold("AAA"), hold("BBB")), market([2, 2, 1, 1, 2, 2, 2], AAA=A, BBB=B))
    a, b = returns(A), returns(B)
    assert bars.turnover == traded([1, 0, 2, 0, 2, 0])
    assert bars.net == near(
        [(1 - C) * (1 + a[0]) - 1, a[1], (1 - 2 * C) * (1 + b[2]) - 1, b[3], (1 - 2 * C) * (1 + a[4]) - 1, a[5]]
    )
    assert row["full_trades"] == 3


def test_going_to_cash_and_back_is_one_side_each():
    bars, row = run(on_off(hold("AAA"), hold("CASH")), market([2, 1, 1, 2, 2, 1, 1], AAA=A))
    a = returns(A)
    assert bars.turnover == traded([1, 1, 0, 1, 0, 1])
    assert bars.net == near([(1 - C) * (1 + a[0]) - 1, -C, 0, (1 - C) * (1 + a[3]) - 1, a[4], -C])
    assert row["full_time_in_market"] == 0.5
    assert row["full_trades"] == 4


def test_a_decision_on_the_last_bar_is_not_traded():
    calm, late = (run(on_off(hold("AAA"), hold("CASH")), market([*[2] * 6, last], AAA=A))[1] for last in (2, 1))
    assert calm == late


def test_drift_of_a_pair_costs_what_brings_it_back():
    bars, row = run(weighted(AAA=60, BBB=40), market(AAA=A, BBB=B))
    expected, taus, drifted = [], [], (0.0, 0.0)
    for a, b in zip(returns(A), returns(B), strict=True):
        tau = abs(0.6 - drifted[0]) + abs(0.4 - drifted[1])
        gross = 0.6 * a + 0.4 * b
        drifted = (0.6 * (1 + a) / (1 + gross), 0.4 * (1 + b) / (1 + gross))
        taus.append(tau)
        expected.append((1 - C * tau) * (1 + gross) - 1)
    assert taus[0] == 1
    assert all(0 < tau < 0.1 for tau in taus[1:])
    assert bars.net == near(expected)
    assert bars.turnover == traded(taus)
    assert row["full_trades"] == 1, "rebalancing does not change the held set"


def test_the_first_rebalancing_of_a_pair_in_numbers():
    """60/40, +10 % and 0 %: 0.66 and 0.40 of 1.06, so 0.0226… of the first is sold and as much of the second bought."""
    bars, _ = run(weighted(AAA=60, BBB=40), market(AAA=[100, 110, 110], BBB=[50, 50, 50]))
    tau = 2 * (0.66 / 1.06 - 0.6)
    assert bars.turnover[1] == traded(tau)
    assert bars.net[1] == near(-C * tau)


def test_what_two_sleeves_share_is_not_sold():
    """From AAA and BBB to BBB and DDD: BBB moves from its drifted weight to its new one."""
    prices = market([2, 1, 1], AAA=[100, 120, 120], BBB=[50, 50, 55], DDD=[20, 20, 20])
    bars, row = run(on_off(hold("AAA", "BBB"), hold("BBB", "DDD")), prices)
    drifted_a, drifted_b = 0.6 / 1.1, 0.5 / 1.1
    tau = drifted_a + (0.5 - drifted_b) + 0.5
    assert bars.turnover[1] == traded(tau)
    assert bars.net[1] == near((1 - C * tau) * 1.05 - 1)
    assert (row["full_trades"], row["full_average_holdings"]) == (2, 2)


def test_the_rest_of_the_weights_earns_cash():
    bars, row = run(hold("AAA", "CASH"), market(AAA=[100, 110, 121]), cash_rate=0.252)
    assert bars.net[0] == near((1 - C * 0.5) * (1 + 0.5 * 0.1 + 0.5 * 0.001) - 1)
    assert row["full_exposure"] == 0.5


@pytest.mark.parametrize("lag", [1, 2, 3])
def test_a_lag_fills_whole_bars_later(lag: int):
    signal = [2, 2, 1, 1, 2, 2, 2]
    tree, prices = on_off(hold("AAA"), hold("BBB")), market(signal, AAA=A, BBB=B)
    bars, _ = run(tree, prices, lag=lag)
    held = ["AAA" if decision == 2 else "BBB" for decision in signal[: 6 - lag]]
    own = {"AAA": returns(A), "BBB": returns(B)}
    sides = [1] + [2 * (now != before) for before, now in pairwise(held)]
    expected = [(1 - C * side) * (1 + own[k][i + lag]) - 1 for i, (k, side) in enumerate(zip(held, sides, strict=True))]
    assert bars.net == near(expected)
    assert bars.dates[0] == np.datetime64(weekdays(FIRST, 7)[lag + 1]).astype(int)


def test_a_ticker_whose_data_end_is_held_through_its_last_bar_and_sold_at_the_next_fill():
    bars, row = run(hold("AAA"), market(AAA=A[:4], BBB=B))
    a = returns(A[:4])
    assert bars.turnover == traded([1, 0, 0, 0, 1, 0])
    assert bars.net == near([(1 - C) * (1 + a[0]) - 1, a[1], a[2], 0, -C, 0])
    assert bars.weights[:, 0].tolist() == [1, 1, 1, 1, 0, 0]
    assert (row["full_trades"], row["full_time_in_market"]) == (2, 4 / 6)


def test_the_others_are_rebalanced_when_a_ticker_ends():
    """Half of the equity stays cash; BBB is not bought for it."""
    bars, row = run(hold("AAA", "BBB"), market(AAA=[100, 100, 100], BBB=[50, 50, 50, 50, 60, 60]))
    assert bars.turnover == traded([1, 0, 0, 0.5, abs(0.5 - 0.6 / 1.1)])
    assert bars.net == near([-C, 0, 0, (1 - C * 0.5) * 1.1 - 1, -C * (0.6 / 1.1 - 0.5)])
    assert row["full_average_holdings"] == (2 + 2 + 2 + 1 + 1) / 5


def test_cash_like_tickers_are_traded_but_not_in_the_market():
    _, row = run(on_off(hold("AAA"), hold("BIL")), market([2, 1, 1, 1, 2, 1, 1], AAA=A, BIL=B))
    assert row["full_time_in_market"] == 2 / 6
    assert row["full_average_holdings"] == 1
    assert row["full_trades"] == 4


# ---------------------------------------------------------------- from bars to rows


def swept(seed: int, **settings: object) -> BoundPlan:
    """A space whose branches switch often between sleeves that blend, share and leave tickers."""
    rng = random.Random(seed)
    tickers = ("AAA", "BBB", "BIL", "CCC")
    gates = []
    for k in range(2):
        condition = {"id": "c", "metric": rng.choice(("RSI", "ROC")), "window": rng.randint(2, 6), "ticker": "AAA",
                     "comparator": rng.choice(("lt", "gt")), "threshold": f"$x{k}"}  # fmt: skip
        sides = [hold(*rng.choices((*tickers, "CASH"), k=rng.randint(1, 3)), name=f"{side}{k}") for side in "ab"]
        gates.append(
            {"id": f"g{k}", "kind": "indicator", "conditions": [condition],
             "children": {"then": sides[:1], "else": sides[1:]}}
        )  # fmt: skip
    tree = {"id": "root", "kind": "basic", "children": {"next": gates}}
    prices = random_prices(rng, tickers, 130, ragged=rng.random() < 0.5)
    axes = {"x0": (-1.0, 0.5, 40.0, 60.0), "x1": (0.0, 1.5, 50.0)}
    return bound_of(
        [tree], prices, axes, tickers=tickers, cost_bps=rng.choice((0.0, 20.0)), lag=rng.choice((0, 1)), **settings
    )  # type: ignore[arg-type]


def masks_of(rng: random.Random, n: int) -> dict[str, np.ndarray]:
    """Random segments: long runs, single bars, overlaps, holes, and sometimes none at all."""

    def mask() -> np.ndarray:
        flip = rng.choice((0.02, 0.2, 0.8))
        state, flags = rng.random() < 0.5, []
        for _ in range(n):
            state ^= rng.random() < flip
            flags.append(state)
        return np.array(flags) if rng.random() < 0.9 else np.zeros(n, bool)

    return {segment: mask() for segment in SEGMENTS}


def plant_masks(monkeypatch: pytest.MonkeyPatch, seed: int) -> dict[str, np.ndarray]:
    """Makes `bind` use random segments and returns them (filled at the first bind)."""
    used: dict[str, np.ndarray] = {}

    def masks(split: object, dates: np.ndarray) -> dict[str, np.ndarray]:
        used.update(masks_of(random.Random(seed), len(dates)))
        return used

    monkeypatch.setattr(importlib.import_module("forge_ray.engine.bind"), "split_masks", masks)
    return used


@pytest.mark.parametrize("first", range(0, N_SPACES, 10))
def test_drawdowns_equal_those_of_the_rechained_curve(first: int, monkeypatch: pytest.MonkeyPatch):
    """Whatever days a segment holds: its curve starts at 1, skips all other days and includes its start."""
    several_runs = 0
    for seed in range(first, first + 10):
        masks = plant_masks(monkeypatch, seed)
        bound = swept(seed)
        several_runs += len(bound.runs) > 10
        for branch, row in enumerate(evaluate(bound, 0, 12, Cache(2**26)).to_pylist()):
            bars = branch_bars(bound, branch, Cache(2**26))
            for segment, mask in masks.items():
                if not mask.any():
                    assert row[f"{segment}_max_drawdown"] is None
                    continue
                assert row[f"{segment}_max_drawdown"] == pytest.approx(
                    log_drawdown(bars.log[mask]), rel=1e-14, abs=0
                ), (seed, branch, segment)
                assert row[f"{segment}_max_drawdown"] == pytest.approx(
                    curve_drawdown(bars.net[mask]), rel=0, abs=1e-12
                ), (seed, branch, segment)
    assert several_runs >= 5


def log_drawdown(logs: np.ndarray) -> float:
    """From sums of multiples of 2⁻⁴⁷, which are exact."""
    level = peak = worst = 0.0
    for x in logs:
        level += x
        peak = max(peak, level)
        worst = max(worst, peak - level)
    return -math.expm1(-worst)


def curve_drawdown(net: np.ndarray) -> float:
    equity = peak = 1.0
    worst = 0.0
    for r in net:
        equity *= 1 + r
        peak = max(peak, equity)
        worst = max(worst, 1 - equity / peak)
    return worst


@pytest.mark.parametrize("first", range(0, N_SPACES, 10))
def test_sums_equal_exact_sums_over_the_bars_of_each_segment(first: int, monkeypatch: pytest.MonkeyPatch):
    compared = 0
    for seed in range(first, first + 10):
        masks = plant_masks(monkeypatch, seed)
        bound = swept(seed)
        for branch, row in enumerate(evaluate(bound, 0, 12, Cache(2**26)).to_pylist()):
            bars = branch_bars(bound, branch, Cache(2**26))
            for segment, mask in masks.items():
                if mask.sum() > 1:
                    assert_sums(bars, mask, {m: row[f"{segment}_{m}"] for m in SUMMED}, (seed, branch, segment))
                    compared += 1
    assert compared > 200


SUMMED = ("n_days", "total_return", "volatility", "win_rate", "exposure", "turnover", "time_in_market", "sharpe")


def assert_sums(bars: BranchBars, mask: np.ndarray, row: dict, where: object) -> None:
    """Metrics from math.fsum over per-bar values: no order of additions, no prefix, no switch."""
    r, n = bars.net[mask], int(mask.sum())
    mean = math.fsum(r) / n
    deviation = math.sqrt(math.fsum((x - mean) ** 2 for x in r) / (n - 1))
    invested = bars.weights[mask][:, [0, 1, 3]].sum(axis=1)  # BIL is cash-like
    expected = {
        "n_days": n,
        "total_return": math.expm1(math.fsum(bars.log[mask])),
        "exposure": math.fsum(invested) / n,
        "time_in_market": np.count_nonzero(invested) / n,
        "turnover": BARS_PER_YEAR * math.fsum(bars.turnover[mask]) / n,
    }
    up, down = int((r > 0).sum()), int((r < 0).sum())
    expected["win_rate"] = up / (up + down) if up + down else None
    if deviation > 1e-6:
        expected["volatility"] = deviation * math.sqrt(BARS_PER_YEAR)
        expected["sharpe"] = mean / deviation * math.sqrt(BARS_PER_YEAR)
    for metric, value in expected.items():
        assert row[metric] == (None if value is None else pytest.approx(value, rel=1e-11, abs=1e-12)), (where, metric)


def test_total_return_is_the_product_of_the_net_returns():
    bound = swept(3, split="none")
    for branch, row in enumerate(evaluate(bound, 0, 12, Cache(2**26)).to_pylist()):
        net = branch_bars(bound, branch, Cache(2**26)).net
        assert row["full_total_return"] == pytest.approx(math.prod(1 + r for r in net) - 1, rel=0, abs=1e-12)


@pytest.mark.parametrize("cash_rate", [0.05, 0.001, 0.0002, 0.00005, 0.00001])
def test_equal_returns_vary_by_nothing_however_small_they_are(cash_rate: float):
    """Nor does a single day, as the segment of a split may be."""
    prices = random_prices(random.Random(3), ["AAA"], 600, ragged=False)
    cash = {"id": "c", "kind": "position", "positions": ["CASH"]}
    for split in ({"holdout": "30%"}, {"holdout": "0.2%"}):
        bound = bound_of([cash], prices, cash_rate=cash_rate, tickers=["AAA"], split=split)
        row = evaluate(bound, 0, 1, Cache(2**26)).to_pylist()[0]
        for segment in SEGMENTS:
            assert row[f"{segment}_n_days"] and row[f"{segment}_volatility"] == 0.0
            assert all(row[f"{segment}_{name}"] is None for name in ("sharpe", "skew", "kurtosis_excess"))


def test_a_price_that_jumps_beyond_what_sums_hold_is_refused_and_below_it_is_right():
    tree = {"id": "a", "kind": "position", "positions": ["AAA"]}
    for jump in (20_000.0, 70_000.0):
        prices = random_prices(random.Random(3), ["AAA"], 300, ragged=False)
        prices["AAA"] = [(day, price * (jump if k >= 150 else 1.0)) for k, (day, price) in enumerate(prices["AAA"])]
        if jump < 32_768:
            row = evaluate(bound_of([tree], prices), 0, 1, Cache(2**26)).to_pylist()[0]
            expected = naive.backtest(tree, prices).metrics["full"]
            assert row["full_sharpe"] == pytest.approx(expected["sharpe"], rel=1e-10)
            continue
        day = prices["AAA"][150][0]
        text = rf"^ticker AAA: its price on {day} is [67]\d,\d{{3}} times the one before; .* Is it a split\?$"
        with pytest.raises(DataError, match=text):
            bound_of([tree], prices)
