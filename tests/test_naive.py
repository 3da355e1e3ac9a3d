"""Anchors of the oracle itself: numbers worked by hand or printed in the description of the language."""

from __future__ import annotations

import ast
import json
import math
import random
import sys
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import pytest

import naive
from forge_ray import catalog
from naive import Day, Prices, assets, backtest, indicator
from random_trees import FAMILIES, MORE_FAMILIES, random_bars, random_prices, random_settings, random_tree
from whole_trees import random_market

CLOSES = [100, 102, 101, 105, 107, 104, 108, 110, 109, 112]
N = None


def history_from(first: date, **closes: Sequence[float | None]) -> Prices:
    later = first - date(2024, 1, 1)
    return {ticker: [(when + later, p) for when, p in own] for ticker, own in history(**closes).items()}


def bars(**opens_and_closes: Sequence[tuple[float, float] | None]) -> Prices:
    """(open, close) on consecutive days from 2024-01-01; None is a day without a row."""
    first = date(2024, 1, 1)
    return {
        ticker: [
            (first + timedelta(days=k), float(bar[0]), float(max(bar)), float(min(bar)), float(bar[1]))
            for k, bar in enumerate(own)
            if bar is not None
        ]
        for ticker, own in opens_and_closes.items()
    }


def history(**closes: Sequence[float | None]) -> Prices:
    """Closes on consecutive days from 2024-01-01; None is a day without a row."""
    first = date(2024, 1, 1)
    return {
        ticker: [(first + timedelta(days=k), float(p)) for k, p in enumerate(series) if p is not None]
        for ticker, series in closes.items()
    }


def hold(*positions: str) -> dict:
    return {"id": "p", "kind": "position", "positions": list(positions)}


def gate(*conditions: dict, then: dict | None, otherwise: dict | None) -> dict:
    lines = [{"id": f"c{k}", **condition} for k, condition in enumerate(conditions)]
    return {"id": "g", "kind": "indicator", "conditions": lines, "children": {"then": [then], "else": [otherwise]}}


def call(name: str) -> dict:
    return {"id": f"to-{name}", "kind": "call", "callRefId": name}


def price(ticker: str, comparator: str, threshold: float, **more: object) -> dict:
    return {"metric": "Price", "ticker": ticker, "comparator": comparator, "threshold": threshold, **more}


def truth(conditions: list[dict], prices: Prices) -> list[bool | None]:
    dates = naive.calendar(prices, sorted(prices))
    market = naive.Market(prices, dates)
    return [naive.all_conditions(conditions, market, t) for t in range(len(dates))]


@pytest.mark.parametrize("part", ["", "_tree", "_rules", "_indicators", "_formulas", "_metrics"])
def test_oracle_imports_nothing_but_itself_and_plain_python(part: str) -> None:
    tree = ast.parse(Path(naive.__file__).with_name(f"naive{part}.py").read_text(encoding="utf-8"))
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    first = {name.split(".")[0] for name in imported}
    assert {name for name in first if name not in sys.stdlib_module_names and not name.startswith("naive_")} == set()


def test_oracle_covers_the_catalogue() -> None:
    assert list(naive.METRICS) == [metric.name for metric in catalog.METRICS]
    assert set(naive.ALIASES) == set(catalog.INDICATOR_BY_NAME)
    assert naive.CASH_LIKE == catalog.CASH_LIKE


@pytest.mark.parametrize("name", sorted(catalog.INDICATOR_BY_NAME))
def test_first_value_is_where_the_catalogue_says(name: str) -> None:
    declared = catalog.INDICATOR_BY_NAME[name]
    bars = [bar[1:] for bar in random_market(random.Random(5), ["A"], 300, ragged=False)["A"]]
    for window in (2, 5, 14) if declared.windowed else (1,):
        first = next(k for k, v in enumerate(indicator(name, bars, window)) if v is not None)
        assert first == declared.bars_before_first_value(window) == naive.bars_before_first_value(name, window)


# ---------------------------------------------------------------- indicators


@pytest.mark.parametrize(
    ("name", "window", "expected"),
    [
        ("Price", 1, CLOSES),
        ("SMA", 3, [N, N, 101.0, 102.6667, 104.3333, 105.3333, 106.3333, 107.3333, 109.0, 110.3333]),
        ("EMA", 3, [N, N, 101.0, 103.0, 105.0, 104.5, 106.25, 108.125, 108.5625, 110.2812]),
        ("RSI", 3, [N, N, N, 85.7143, 90.0, 53.7313, 74.3802, 80.8050, 68.0130, 81.3201]),
        ("StdDev", 3, [N, N, N, 2.0313, 2.0265, 2.8314, 2.7921, 2.7863, 1.9497, 1.5578]),
        ("ROC", 3, [N, N, N, 5.0, 4.9020, 2.9703, 2.8571, 2.8037, 4.8077, 3.7037]),
        ("CumRet", 3, [N, N, N, 5.0, 4.9020, 2.9703, 2.8571, 2.8037, 4.8077, 3.7037]),  # over 3 bars: theirs has 2
        ("StdPrice", 3, [N, N, 0.8165, 1.6997, 2.4944, 1.2472, 1.6997, 2.4944, 0.8165, 1.2472]),
        ("MaxDD", 3, [N, N, 0.9804, 0.9804, 0.0, 2.8037, 2.8037, 0.0, 0.9091, 0.9091]),
        ("Drawdown", 1, [0.0, 0.0, 0.9804, 0.0, 0.0, 2.8037, 0.0, 0.0, 0.9091, 0.0]),
        ("%B", 3, [N, N, 0.5, 0.8432, 0.7673, 0.2327, 0.7451, 0.7673, 0.5, 0.8341]),
    ],
)
def test_indicators_match_the_vectors_of_the_language(name: str, window: int, expected: list[float | None]) -> None:
    got = indicator(name, CLOSES, window)
    assert [v is None for v in got] == [v is None for v in expected]
    assert [v for v in got if v is not None] == pytest.approx([v for v in expected if v is not None], abs=5.1e-5)


def test_a_gap_silences_windows_over_it_and_restarts_recursive_averages() -> None:
    gap = [1.0, 2.0, 3.0, math.nan, 5.0, 7.0, 9.0, 8.0]
    assert indicator("SMA", gap, 2) == [N, 1.5, 2.5, N, N, 6.0, 8.0, 8.5]
    assert indicator("EMA", gap, 2) == [N, 1.5, 2.5, N, N, 6.0, 8.0, 8.0]
    assert indicator("ROC", gap, 2) == [N, N, pytest.approx(200), N, N, N, pytest.approx(80), pytest.approx(100 / 7)]
    assert indicator("RSI", gap, 2) == [N, N, 100.0, N, N, N, 100.0, pytest.approx(100 * 1 / 1.5)]


def test_rsi_of_a_flat_series_is_50_and_its_deviation_0() -> None:
    assert indicator("RSI", [7.1] * 5, 3) == [N, N, N, 50.0, 50.0]
    assert indicator("StdDev", [7.1] * 5, 3) == [N, N, N, 0.0, 0.0]
    assert indicator("SMA", [7.1] * 8, 7)[6:] == [7.1, 7.1]


def test_the_drawdown_goes_on_over_a_gap_and_windows_over_it_are_silent() -> None:
    gap = [10.0, 8.0, math.nan, 5.0, 20.0, 19.0]
    assert indicator("Drawdown", gap) == [0.0, pytest.approx(20), N, 50.0, 0.0, pytest.approx(5)]
    assert indicator("MaxDD", gap, 2) == [N, pytest.approx(20), N, N, 0.0, pytest.approx(5)]
    assert indicator("StdPrice", gap, 2) == [N, 1.0, N, N, 7.5, 0.5]
    assert indicator("%B", [7.1] * 4, 3) == [N, N, 0.5, 0.5]


def test_true_range_counts_the_gap_from_the_last_close_and_the_average_is_wilders() -> None:
    bars = [(9, 11, 8, 10), (13, 14, 12, 13), (12, 13, 11, 12), (7, 8, 6, 7), (7, 9, 6, 8), (8, 9, 8, 9)]
    # True ranges from the second bar on: max(2, 4, 2), max(2, 0, 2), max(2, 4, 6), max(3, 2, 1), max(1, 1, 0).
    assert indicator("ATR", bars, 2) == [N, N, 3.0, 4.5, 3.75, 2.375]
    no_high = [*bars[:3], (7, math.nan, 6, 7), *bars[4:]]
    assert indicator("Average True Range", no_high, 2) == [N, N, 3.0, N, N, 2.0]
    no_close = [*bars[:2], (12, 13, 11, math.nan), *bars[3:]]
    assert indicator("ATR", no_close, 1) == [N, 4.0, 2.0, N, 3.0, 1.0]


# ---------------------------------------------------------------- logic


@pytest.mark.parametrize(
    ("a", "b", "both", "either"),
    [
        (True, True, True, True),
        (True, False, False, True),
        (False, False, False, False),
        (True, N, N, True),
        (False, N, False, N),
        (N, N, N, N),
    ],
)
def test_kleene_tables(a: bool | None, b: bool | None, both: bool | None, either: bool | None) -> None:
    assert naive.kleene_and([a, b]) is naive.kleene_and([b, a]) is both
    assert naive.kleene_or([a, b]) is naive.kleene_or([b, a]) is either


@pytest.mark.parametrize(
    ("joins", "values", "expected"),
    [
        (("if", "or", "and"), "TFF", True),  # T or (F and F); OR first would give F
        (("if", "and", "or"), "FTT", True),  # (F and T) or T
        (("if", "and", "if"), "FTT", True),  # a mid-list `if` is `or`
        ((N, N, N), "TTF", False),  # `and` is the default
        (("if", "and", "or"), "UFU", N),  # (U and F) or U
        (("if", "or", "and"), "TUU", True),
        ((), "", False),
    ],
)
def test_and_binds_tighter_than_or(joins: tuple[str | None, ...], values: str, expected: bool | None) -> None:
    line = {
        "T": price("A", "gt", 0),
        "F": price("A", "lt", 0),
        "U": {**price("A", "gt", 0), "metric": "SMA", "window": 2},
    }
    conditions = [{**line[v], **({"type": join} if join else {})} for join, v in zip(joins, values, strict=True)]
    assert truth(conditions, history(A=[1, 2]))[0] is expected


def test_comparators_and_their_edge() -> None:
    at_the_edge = {name: truth([price("A", name, 5)], history(A=[4, 5, 6])) for name in ("lt", "lte", "gt", "gte")}
    assert at_the_edge == {
        "lt": [True, False, False],
        "lte": [True, True, False],
        "gt": [False, False, True],
        "gte": [False, True, True],
    }


def test_crosses_need_a_strict_yesterday_and_include_the_touch() -> None:
    closes = history(A=[4, 5, 6, 5, 4, 5, 5])
    assert truth([price("A", "crossAbove", 5)], closes) == [N, True, False, False, False, True, False]
    assert truth([price("A", "crossBelow", 5)], closes) == [N, False, False, True, False, False, False]


def test_a_cross_is_unknown_if_any_of_its_four_values_is() -> None:
    a_ends = history(A=[6, 6, N], B=[1, 1, 1])
    assert truth([price("A", "crossAbove", 5)], a_ends) == [N, False, N]
    against = {"metric": "Price", "ticker": "B", "comparator": "crossBelow", "expanded": True, "rightTicker": "A"}
    assert truth([against], a_ends) == [N, False, N]


def test_expanded_right_side_defaults_to_the_left_one() -> None:
    closes = history(A=[1, 2, 3, 2], B=[2, 2, 2, 2])
    against_b = {"metric": "SMA", "window": 2, "ticker": "A", "comparator": "gt", "expanded": True, "rightTicker": "B"}
    assert truth([against_b], closes) == [N, False, True, True]
    against_price = {**against_b, "rightTicker": "A", "rightMetric": "Price"}
    assert truth([against_price], closes) == [N, False, False, True]


def test_for_days_is_a_kleene_and_over_bars() -> None:
    closes = history(A=[4, 6, 6, 6, 4])
    assert truth([price("A", "gt", 5, forDays=3)], closes) == [False, False, False, True, False]
    assert truth([price("A", "gt", 3, forDays=3)], closes) == [N, N, True, True, True]
    with pytest.raises(ValueError, match="forDays 2 with a cross"):
        truth([price("A", "crossAbove", 5, forDays=2)], closes)


# ---------------------------------------------------------------- allocation


def test_positions_share_equally_add_duplicates_keep_cash_and_drop_empty() -> None:
    closes = history(A=[1, 1, 1], B=[1, 1, 1])
    result = backtest(hold("A", "Empty", "B", "A", "CASH"), closes)
    assert result.allocations == [{"A": 0.5, "B": 0.25, "CASH": 0.25}] * 3
    assert assets(result.allocations[0]) == {"A": 0.5, "B": 0.25}


def test_empty_passes_its_weight_to_siblings_and_an_unknown_gate_keeps_it_in_cash() -> None:
    unknown_then_empty = gate({"metric": "SMA", "window": 2, "ticker": "A", "comparator": "gt", "threshold": 0},
                              then=hold("Empty"), otherwise=hold("B"))  # fmt: skip
    children = [{**unknown_then_empty, "weight": 60}, {**hold("A"), "weight": 30}, {**hold("CASH"), "weight": 10}, None]
    tree = {"id": "r", "kind": "basic", "weighting": "defined", "children": {"next": children}}
    closes = history(A=[1, 1, 1], B=[1, 1, 1])
    by_rule = backtest(tree, closes).allocations
    assert by_rule[0] == {"CASH": pytest.approx(0.7), "A": pytest.approx(0.3)}
    assert by_rule[1] == {"CASH": pytest.approx(0.25), "A": pytest.approx(0.75)}
    as_original = backtest(tree, closes, null="else").allocations
    assert as_original[0] == {"B": pytest.approx(0.6), "A": pytest.approx(0.3), "CASH": pytest.approx(0.1)}


def test_a_call_stands_for_its_tree_at_its_own_weight() -> None:
    calls = {
        "inner": {**hold("A"), "weight": 99},
        "outer": gate(price("B", "gt", 0), then=call("inner"), otherwise=None),
    }
    children = [{**call("outer"), "weight": 75}, {**hold("B"), "weight": 25}]
    tree = {"id": "r", "kind": "basic", "weighting": "defined", "children": {"next": children}}
    result = backtest(tree, history(A=[1, 1], B=[1, 1]), calls=calls)
    assert result.allocations[0] == {"A": 0.75, "B": 0.25}
    twice = {"id": "r", "kind": "basic", "children": {"next": [call("inner"), call("outer")]}}
    assert backtest(twice, history(A=[1, 1], B=[1, 1]), calls=calls).allocations[0] == {"A": 1.0}


def test_an_unknown_call_and_a_cycle_of_calls_are_errors() -> None:
    around = {"x": {"id": "b", "kind": "basic", "children": {"next": [call("y")]}}, "y": call("x")}
    with pytest.raises(ValueError, match="a cycle of calls 'x'"):
        backtest(call("x"), history(A=[1, 1]), calls=around)
    with pytest.raises(ValueError, match="unknown call 'z'"):
        backtest(call("z"), history(A=[1, 1]), calls=around)


# ---------------------------------------------------------------- calendar, start, time


def test_calendar_drops_dates_that_a_living_ticker_misses() -> None:
    closes = history(A=[1, 2, 3, 4, 5, 6], B=[N, 1, N, 1, 1, N], C=[N, N, N, N, N, 9])
    days = [when.day for when in naive.calendar(closes, ["A", "B"])]
    assert days == [1, 2, 4, 5, 6]  # B misses the 3rd; it is not yet, or no longer, alive on the 1st and 6th


def test_indicators_see_own_bars_that_the_calendar_dropped() -> None:
    closes = history(A=[1, 2, 3, 4], B=[1, 1, N, 1])
    roc = {"metric": "ROC", "window": 1, "ticker": "A", "comparator": "lt", "threshold": 34}
    assert truth([roc], closes) == [N, False, True]  # 3 -> 4 is 33 %, 2 -> 4 would be 100 %


def test_common_start_waits_for_look_back_for_days_crosses_and_listings() -> None:
    closes = history(A=list(range(1, 21)), B=[N] * 6 + [1] * 14)
    sma = {"metric": "SMA", "window": 4, "ticker": "A", "comparator": "gt", "threshold": 0}

    def start(*conditions: dict, then: str = "A", **options: object) -> int:
        return backtest(gate(*conditions, then=hold(then), otherwise=None), closes, **options).start

    assert start(sma) == 3
    assert start({**sma, "forDays": 3}) == 5
    assert start({**sma, "comparator": "crossAbove"}) == 4
    assert start(sma, {**sma, "metric": "RSI", "window": 5}) == 5
    assert start(sma, then="B") == 6
    assert start({**sma, "ticker": "B"}) == 9
    assert start(sma, start=date(2024, 1, 11)) == 10
    assert start(sma, then="B", start=date(2024, 1, 2)) == 6  # the later of the date and the common start


def test_a_decision_earns_from_its_fill_and_the_return_is_dated_with_the_interval_end() -> None:
    closes = history(A=[10, 20, 10, 30, 30])
    tree = gate(price("A", "gt", 15), then=hold("A"), otherwise=hold("CASH"))
    today = backtest(tree, closes, cost_bps=0)
    assert [(when.day, r) for when, r in today.returns] == [(2, 0.0), (3, -0.5), (4, 0.0), (5, 0.0)]
    late = backtest(tree, closes, cost_bps=0, lag=1)
    assert [(when.day, r) for when, r in late.returns] == [(3, 0.0), (4, 2.0), (5, 0.0)]
    assert [assets(weights) for weights in late.held] == [{}, {"A": 1.0}, {}]


FOUR_BARS = bars(A=[(10, 11), (12, 16), (18, 14), (9, 20)])


@pytest.mark.parametrize(
    ("mode", "start", "expected"),
    [
        ("CC", 0, [(2, 0.0), (3, -0.125), (4, 0.0)]),  # 16 at the close of the 2nd: 16 -> 14
        ("CO", 0, [(2, 0.0), (3, 0.125), (4, 0.0)]),  # 16 -> 18 overnight
        ("OO", 1, [(3, 0.0), (4, -0.5)]),  # bought at the open of the 3rd, which has seen the 2nd: 18 -> 9
        ("OC", 1, [(2, 0.0), (3, 14 / 18 - 1), (4, 0.0)]),  # 18 -> 14 within the 3rd
    ],
)
def test_modes_by_hand(mode: str, start: int, expected: list[tuple[int, float]]) -> None:
    tree = gate(price("A", "gt", 15), then=hold("A"), otherwise=hold("CASH"))
    result = backtest(tree, FOUR_BARS, mode=mode, cost_bps=0)
    assert result.start == start
    assert [when.day for when, _ in result.returns] == [day for day, _ in expected]
    assert [r for _, r in result.returns] == pytest.approx([r for _, r in expected], abs=1e-15)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("CC", [(3, 1.0), (4, 10 / 14)]),  # 16 at the close of the 2nd is filled at that of the 3rd
        ("CO", [(3, 1.0), (4, 12 / 14)]),
        ("OO", [(4, 1.0)]),  # 16 is seen on the 3rd and would be filled on the 4th, which has no next open
        ("OC", [(3, 1.0), (4, 10 / 12)]),
    ],
)
def test_lag_adds_whole_bars_in_every_mode(mode: str, expected: list[tuple[int, float]]) -> None:
    tree = gate(price("A", "gt", 15), then=hold("A"), otherwise=hold("CASH"))
    result = backtest(tree, bars(A=[(10, 11), (12, 16), (18, 14), (12, 10)]), mode=mode, lag=1, cost_bps=0)
    assert [when.day for when, _ in result.returns] == [day for day, _ in expected]
    assert [1 + r for _, r in result.returns] == pytest.approx([growth for _, growth in expected], abs=1e-15)


def test_crosses_and_for_days_look_back_from_the_bar_that_an_open_decision_sees() -> None:
    prices = bars(A=[(1, 4), (1, 6), (1, 6), (1, 6), (1, 4), (1, 4)])
    held = {}
    for name, line in {"cross": price("A", "crossAbove", 5), "days": price("A", "gt", 5, forDays=3)}.items():
        result = backtest(gate(line, then=hold("A"), otherwise=hold("CASH")), prices, mode="OO")
        held[name] = (result.start, [t for t, weights in enumerate(result.allocations) if "A" in weights])
    assert held == {"cross": (2, [2]), "days": (3, [4])}


def test_an_open_decision_waits_for_its_series_but_not_for_its_position() -> None:
    prices = bars(A=[(1, 1)] * 6, B=[None, None, None, (1, 1), (1, 1), (1, 1)])
    sma = {"metric": "SMA", "window": 2, "ticker": "A", "comparator": "gt", "threshold": 0}
    assert [backtest(gate(sma, then=hold("A"), otherwise=None), prices, mode=mode).start for mode in naive.MODES] == [
        1,
        1,
        2,
        2,
    ]
    late = backtest(gate(sma, then=hold("B"), otherwise=None), prices, mode="OO")
    assert (late.start, late.allocations[3]) == (3, {"B": 1.0})


def test_earliest_starts_with_the_first_listing_of_a_position() -> None:
    closes = history(A=[N, N, 1, 1, 1, 1, 1], B=[N, N, N, N, 1, 1, 1], C=[1] * 7)
    sma = {"metric": "SMA", "window": 5, "ticker": "C", "comparator": "gt", "threshold": 0}
    result = backtest(gate(sma, then=hold("A", "B"), otherwise=None), closes, start="earliest", cost_bps=0)
    assert result.start == 2
    assert result.held == [{"CASH": 1.0}] * 2 + [{"A": 0.5, "B": 0.5}] * 2
    both = backtest(hold("A", "B"), closes, start="earliest")
    assert both.held[0] == {"A": 0.5, "CASH": 0.5}


# ---------------------------------------------------------------- accounting


def test_drift_costs_of_two_tickers_by_hand() -> None:
    result = backtest(hold("A", "B"), history(A=[100, 110, 99], B=[100, 100, 110]), cost_bps=5)
    # Enter: τ = 1, R = (10 % + 0 %)/2. Then 0.55 and 0.50 of 1.05 go back to a half each: τ = 2·(0.55/1.05 − 0.5).
    assert result.turnovers == pytest.approx([1.0, 0.05 / 1.05], abs=1e-15)
    first, second = 0.9995 * 1.05 - 1, (1 - 0.0005 * 0.05 / 1.05) * 1.0 - 1
    assert [r for _, r in result.returns] == pytest.approx([first, second], abs=1e-15)
    assert result.metrics["full"]["turnover"] == pytest.approx(126 * (1 + 0.05 / 1.05))
    assert result.metrics["full"]["trades"] == 1


def test_a_full_switch_costs_both_sides_and_cash_is_free() -> None:
    tree = gate(
        price("A", "gt", 15), then=hold("A"), otherwise=gate(price("A", "gt", 5), then=hold("B"), otherwise=None)
    )
    result = backtest(tree, history(A=[20, 10, 1, 1], B=[10, 10, 10, 10]), cost_bps=10)
    assert result.turnovers == [1.0, 2.0, 1.0]
    assert [r for _, r in result.returns] == pytest.approx([0.999 * 0.5 - 1, -0.002, -0.001], abs=1e-15)


def test_cash_earns_its_rate_on_its_entry_and_on_the_implicit_rest() -> None:
    tree = {"id": "r", "kind": "basic", "children": {"next": [hold("CASH"), hold("A")]}}
    result = backtest(tree, history(A=[10, 10]), cash_rate=0.0252, cost_bps=0)
    assert result.returns[0][1] == pytest.approx(0.5 * 0.0001, abs=1e-15)


def test_a_ticker_whose_data_end_is_sold_with_costs_at_the_next_fill() -> None:
    closes = history(A=[10, 10, 20, N, N, N], B=[1, 1, 1, 1, 1, 1])
    result = backtest(hold("A", "B"), closes, cost_bps=100)
    assert [assets(weights) for weights in result.held] == [{"A": 0.5, "B": 0.5}] * 3 + [{"B": 0.5}] * 2
    back_to_half = 1.0 / 1.5 - 0.5
    assert result.turnovers == pytest.approx([1.0, 0.0, 2 * back_to_half, 0.5, 0.0], abs=1e-15)
    assert [r for _, r in result.returns] == pytest.approx(
        [-0.01, 0.5, -0.01 * 2 * back_to_half, -0.005, 0.0], abs=1e-15
    )
    assert result.metrics["full"]["trades"] == 2
    late = backtest(hold("A", "B"), closes, lag=1)
    assert [assets(weights) for weights in late.held] == [{"A": 0.5, "B": 0.5}] * 2 + [{"B": 0.5}] * 2


def test_a_ticker_whose_data_end_inside_an_interval_leaves_it_at_its_last_close() -> None:
    prices = bars(A=[(10, 10), (20, 30), None, None], C=[(1, 1)] * 4)
    tree = {"id": "r", "kind": "basic", "children": {"next": [hold("A"), hold("C")]}}
    open_to_open = backtest(tree, prices, mode="OO", cost_bps=0)
    assert [r for _, r in open_to_open.returns] == pytest.approx([0.5, 0.25, 0.0], abs=1e-15)
    overnight = backtest(tree, prices, mode="CO", cost_bps=0)
    assert [r for _, r in overnight.returns] == pytest.approx([0.5, 0.0, 0.0], abs=1e-15)
    assert [assets(weights) for weights in overnight.held][-1] == {"C": 0.5}


@pytest.mark.parametrize(("mode", "grows"), [("CO", 1.5), ("OC", 3.0)])
def test_round_trips_pay_on_the_way_in_and_on_what_it_became(mode: str, grows: float) -> None:
    prices = bars(A=[(10, 30), (45, 135)])
    tree = {"id": "r", "kind": "basic", "children": {"next": [hold("A"), hold("CASH")]}}
    result = backtest(tree, prices, mode=mode, cost_bps=100)
    whole = 0.5 * grows + 0.5
    out = 0.5 * grows / whole
    assert result.turnovers == pytest.approx([0.5 + out] * len(result.returns), abs=1e-15)
    once = 0.995 * whole * (1 - 0.01 * out) - 1
    assert [r for _, r in result.returns] == pytest.approx([once] * len(result.returns), abs=1e-15)
    assert result.metrics["full"]["exposure"] == 0.5


def test_a_period_is_held_and_drifts_until_the_decision_of_its_last_bar() -> None:
    prices = history_from(date(2024, 1, 29), A=[100, 200, 200, 200, 100], B=[100] * 5)
    result = backtest(hold("A", "B"), prices, rebalance="monthly", cost_bps=100)
    # Start: a half each, A doubles. On the 30th two thirds stay; on the 31st they go back to a half.
    assert [weights["A"] for weights in result.held] == pytest.approx([1 / 2, 2 / 3, 1 / 2, 1 / 2], abs=1e-15)
    assert result.turnovers == pytest.approx([1.0, 0.0, 1 / 3, 0.0], abs=1e-15)
    assert [r for _, r in result.returns] == pytest.approx([0.99 * 1.5 - 1, 0.0, -0.01 / 3, -0.25], abs=1e-15)
    assert result.metrics["full"]["exposure"] == pytest.approx(1.0)
    late = backtest(hold("A", "B"), prices, rebalance="monthly", lag=1, start=date(2024, 1, 30))
    assert late.turnovers == pytest.approx([1.0, 0.0], abs=1e-15)  # filled on the 31st and, from the 31st, on the 1st


YEAR_END = [date(2024, 11, 29), date(2024, 12, 2), date(2024, 12, 31), date(2025, 1, 2)]
YEAR_END += [date(2025, 1, 3), date(2025, 1, 6), date(2025, 3, 31), date(2025, 4, 1)]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("daily", [1, 2, 3, 4, 5, 6, 7]),
        ("weekly", [1, 1, 1, 4, 5, 5, 5]),  # Tuesday the 31st to Friday the 3rd are one week, though not one year
        ("monthly", [1, 2, 2, 2, 5, 6, 6]),
        ("quarterly", [1, 2, 2, 2, 2, 6, 6]),
        ("yearly", [1, 2, 2, 2, 2, 2, 2]),
    ],
)
def test_the_decision_in_force_is_the_first_or_that_of_the_last_period_end(rule: str, expected: list[int]) -> None:
    assert [naive.last_decision(YEAR_END, t, 1, rule) for t in range(1, 8)] == expected


def test_round_trips_of_a_period_buy_the_target_of_its_decision_again_and_again() -> None:
    tree = gate(price("A", "gt", 15), then=hold("A"), otherwise=hold("CASH"))
    jump = [(10, 20), (20, 10), (10, 10), (10, 20), (20, 20)]
    prices = {"A": [(when + timedelta(days=28), *bar) for when, *bar in bars(A=jump)["A"]]}
    result = backtest(tree, prices, mode="CO", rebalance="monthly", cost_bps=0)
    assert [assets(weights) for weights in result.held] == [{"A": 1.0}, {"A": 1.0}, {}, {}]  # the 31st decides cash
    assert result.turnovers == [2.0, 2.0, 0.0, 0.0]


def test_a_threshold_trades_everything_once_one_weight_is_too_far_off() -> None:
    closes = history(A=[100, 110, 130, 130], B=[100] * 4)
    result = backtest(hold("A", "B"), closes, rebalance={"threshold": 5}, cost_bps=100)
    off = 65 / 115 - 0.5  # 6.5 points; after the first day it was 55/105 − 0.5, 2.4 points
    assert result.turnovers == pytest.approx([1.0, 0.0, 2 * off], abs=1e-15)
    assert [weights["A"] for weights in result.held] == pytest.approx([0.5, 55 / 105, 0.5], abs=1e-15)
    assert [r for _, r in result.returns] == pytest.approx([0.99 * 1.05 - 1, 115 / 105 - 1, -0.02 * off], abs=1e-15)


def test_a_threshold_never_keeps_tickers_that_the_target_does_not_hold() -> None:
    tree = gate(price("A", "gt", 15), then=hold("A"), otherwise=hold("B"))
    result = backtest(tree, history(A=[20, 20, 10, 10], B=[1] * 4), rebalance={"threshold": 200})
    assert result.turnovers == [1.0, 0.0, 2.0]


def test_on_change_lets_shares_drift_until_the_target_changes() -> None:
    tree = gate(price("A", "gt", 120), then=hold("A", "B"), otherwise=hold("B"))
    result = backtest(tree, history(A=[100, 130, 260, 110, 110], B=[100] * 5), rebalance="on_change", cost_bps=0)
    equity = 2 * 110 / 260 + 1  # of a half each, A doubled and then fell to 110/260
    sold = 2 * 110 / 260 / equity
    assert result.turnovers == pytest.approx([1.0, 1.0, 0.0, 2 * sold], abs=1e-15)
    assert [weights.get("A", 0.0) for weights in result.held] == pytest.approx([0.0, 0.5, 2 / 3, 0.0], abs=1e-15)
    assert result.returns[2][1] == pytest.approx(equity / 3 - 1, abs=1e-15)


def test_a_ticker_whose_data_end_inside_a_period_is_sold_and_stays_cash_until_the_next_trade() -> None:
    closes = history_from(date(2024, 1, 28), A=[10, 20, N, N, N], B=[1] * 5)
    result = backtest(hold("A", "B"), closes, rebalance="monthly", cost_bps=100)
    assert [assets(weights) for weights in result.held] == [
        {"A": 0.5, "B": 0.5},
        {"A": pytest.approx(2 / 3), "B": pytest.approx(1 / 3)},
        {"B": pytest.approx(1 / 3)},
        {"B": 0.5},
    ]
    assert result.turnovers == pytest.approx([1.0, 0.0, 2 / 3, 1 / 6], abs=1e-15)
    assert [r for _, r in result.returns] == pytest.approx([0.99 * 1.5 - 1, 0.0, -0.02 / 3, -0.01 / 6], abs=1e-15)
    on_change = backtest(hold("A", "B"), closes, rebalance="on_change")
    assert on_change.turnovers == pytest.approx([1.0, 0.0, 2 / 3 + 1 / 6, 0.0], abs=1e-15)


@pytest.mark.parametrize("rebalance", ["on_change", {"threshold": 5}, "fortnightly"])
def test_round_trips_have_no_path_to_depend_on(rebalance: str | dict) -> None:
    with pytest.raises(ValueError, match="rebalance"):
        backtest(hold("A"), FOUR_BARS, mode="CO", rebalance=rebalance)


def test_costs_per_ticker() -> None:
    closes = history(A=[10, 10, 10], B=[10, 20, 20])
    result = backtest(hold("A", "B"), closes, cost_bps={"default": 10, "B": 100})
    # Enter a half each; then a sixth of the whole moves from B to A.
    paid = [0.5 * 0.001 + 0.5 * 0.01, (0.001 + 0.01) / 6]
    assert [r for _, r in result.returns] == pytest.approx([(1 - paid[0]) * 1.5 - 1, -paid[1]], abs=1e-15)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("CC", [90 / 100, 95 / 90]),
        ("CO", [120 / 100, 150 / 90]),
        ("OO", [120 / 100, 150 / 120]),
        ("OC", [100 / 100, 90 / 120, 95 / 150]),
    ],
)
def test_cash_earns_what_its_ticker_does_in_the_interval(mode: str, expected: list[float]) -> None:
    prices = bars(A=[(10, 10)] * 3, T=[(100, 100), (120, 90), (150, 95)])
    tree = {"id": "r", "kind": "basic", "children": {"next": [hold("CASH"), hold("A")]}}
    result = backtest(tree, prices, mode=mode, cash_rate="T", cost_bps=0)
    assert [r for _, r in result.returns] == pytest.approx([(x - 1) / 2 for x in expected], abs=1e-15)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("CC", [N, 1.0, 95 / 90]),
        ("CO", [N, 1.0, 150 / 90]),
        ("OO", [N, 90 / 120, 150 / 90]),  # no bar on the 3rd: its open is the close of the 2nd
        ("OC", [N, 90 / 120, 1.0, 95 / 150]),
    ],
)
def test_a_price_is_carried_by_the_last_close_in_every_mode(mode: str, expected: list[float | None]) -> None:
    prices = bars(A=[(10, 10)] * 4, T=[None, (120, 90), None, (150, 95)])
    market = naive.Market(prices, naive.calendar(prices, ["A"]), naive.MODES[mode])
    got = [market.carried_return("T", fill) for fill in range(len(expected))]
    assert got == [N if x is None else pytest.approx(x - 1) for x in expected]


# ---------------------------------------------------------------- metrics


def days(r: Sequence[float], b: Sequence[float | None] | None = None) -> list[Day]:
    first = date(2024, 1, 1)
    marks = b if b is not None else [None] * len(r)
    return [
        Day(first + timedelta(days=k), x, m, 0.0, {"A": 1.0}, k == 0)
        for k, (x, m) in enumerate(zip(r, marks, strict=True))
    ]


def test_toy_check_of_the_language_description() -> None:
    r = [0.01, -0.02, 0.015, 0.004, 0.005, -0.01]
    b = [0.008, -0.015, 0.01, 0.002, 0.004, -0.006]
    got = naive.measure(days(r, b), 0.0, naive.CASH_LIKE, True)
    printed = {
        "total_return": 0.0035718268,
        "cagr": 0.1615431749,
        "max_drawdown": 0.02,
        "volatility": 0.2085953020,
        "sharpe": 0.8053872663,
        "calmar": 8.0771587427,
        "beta": 1.3889515220,
        "win_rate": 0.6666666667,
    }
    assert {name: got[name] for name in printed} == pytest.approx(printed, abs=1e-9)
    # The downside is divided by n here, by n − 1 in the printed 1.0583005244; treynor is 252·mean/beta.
    assert got["sortino"] == pytest.approx(1.0583005244 * math.sqrt(6 / 5), abs=1e-9)
    assert got["treynor"] == pytest.approx(252 * (0.004 / 6) / 1.3889515220, abs=1e-9)


def test_skew_and_kurtosis_by_hand() -> None:
    got = naive.measure(days([0.01, 0.01, 0.01, 0.05]), 0.0, naive.CASH_LIKE, False)
    # Deviations −1, −1, −1, 3: m2 = 3, m3 = 6, m4 = 21, so g1 = 6/3^1.5 and g2 = 21/9 − 3.
    assert got["skew"] == pytest.approx(6 / 3**1.5 * math.sqrt(12) / 2)
    assert got["kurtosis_excess"] == pytest.approx((5 * (21 / 9 - 3) + 6) * 3 / 2)


def test_risk_free_enters_sharpe_sortino_and_treynor_only() -> None:
    r, b = [0.01, -0.02, 0.03], [0.02, -0.01, 0.01]
    plain, less = (naive.measure(days(r, b), rf, naive.CASH_LIKE, True) for rf in (0.0, 0.001))
    changed = {name for name in naive.METRICS if plain[name] != less[name]}
    assert changed == {"sharpe", "sortino", "treynor"}
    assert less["treynor"] == pytest.approx(plain["treynor"] - 252 * 0.001 / plain["beta"])


def test_a_riskless_ticker_counts_with_its_mean_return_of_the_segment() -> None:
    closes = history(A=[100, 110, 99, 120, 130], T=[100, 101, 103.02, 103.02, 103.02])
    ticker, rate = (
        backtest(hold("A"), closes, risk_free=risk_free, split={"chronological": "50%"}).metrics
        for risk_free in ("T", 252 * 0.015)
    )
    for metric in ("sharpe", "sortino", "volatility"):
        assert ticker["is"][metric] == pytest.approx(rate["is"][metric])
    assert ticker["oos"]["sharpe"] > rate["oos"]["sharpe"]


@pytest.mark.parametrize("mode", naive.MODES)
def test_the_benchmark_is_measured_over_the_interval_of_the_mode(mode: str) -> None:
    prices = bars(A=[(10, 11), (12, 16), (18, 14), (9, 20), (21, 19)])
    full = backtest(hold("A"), prices, mode=mode, benchmark="A", cost_bps=0).metrics["full"]
    assert full["beta"] == pytest.approx(1.0)


def test_undefined_is_null() -> None:
    flat = naive.measure(days([0.0] * 5, [0.0] * 5), 0.0, naive.CASH_LIKE, True)
    nulls = {
        "sharpe",
        "sortino",
        "calmar",
        "win_rate",
        "skew",
        "kurtosis_excess",
        "beta",
        "treynor",
        "timar_max_drawdown",
    }
    assert {name for name, value in flat.items() if value is None} == nulls
    assert flat["volatility"] == 0.0
    three = naive.measure(days([0.01, 0.02, -0.01]), 0.0, naive.CASH_LIKE, False)
    assert {name for name, value in three.items() if value is None} == {"kurtosis_excess", "beta", "treynor"}
    cash = naive.measure([Day(date(2024, 1, 1), 0.0, None, 0.0, {"CASH": 1.0}, False)], 0.0, naive.CASH_LIKE, False)
    assert (cash["time_in_market"], cash["timar"], cash["average_holdings"]) == (0.0, None, 0.0)
    assert (cash["volatility"], cash["sharpe"]) == (0.0, None)  # by the rule's test one return has no variance
    constant = naive.measure(
        days([0.03 / 252] * 7, [0.01, 0.02, -0.01, 0.0, 0.03, 0.01, 0.02]), 0, naive.CASH_LIKE, True
    )
    assert (constant["volatility"], constant["sharpe"], constant["beta"], constant["treynor"]) == (0.0, None, 0.0, None)
    short = naive.measure(days([0.01, -0.02], [-0.01, 0.02]), 0.0, naive.CASH_LIKE, True)
    assert short["beta"] == pytest.approx(-1.0)
    assert short["treynor"] is None


def test_market_time_leaves_out_cash_like_tickers_and_holdings_leave_out_cash_only() -> None:
    result = backtest(hold("A", "BIL", "CASH", "CASH"), history(A=[1, 1, 1], BIL=[1, 1, 1]))
    full = result.metrics["full"]
    assert (full["time_in_market"], full["exposure"], full["average_holdings"]) == (1.0, 0.25, 2.0)
    bonds = backtest(hold("BIL"), history(BIL=[1, 1, 1])).metrics["full"]
    assert (bonds["time_in_market"], bonds["exposure"], bonds["trades"]) == (0.0, 0.0, 1)


def test_benchmark_is_carried_and_days_before_its_first_bar_are_left_out_of_beta() -> None:
    a = [100, 110, 121, 121, 133.1]
    closes = history(A=a, M=[N, 10, 11, N, 12.1])
    result = backtest(hold("A"), closes, benchmark="M", cost_bps=0)
    assert len(result.dates) == 5  # the benchmark never changes the calendar
    assert result.metrics["full"]["beta"] == pytest.approx(1.0)
    with pytest.raises(ValueError, match="XYZ: no prices"):
        backtest(hold("A"), closes, benchmark="XYZ")


def test_drawdown_includes_the_start_and_segments_are_chained_from_1() -> None:
    result = backtest(hold("A"), history(A=[100, 90, 99, 198, 99]), cost_bps=0, split={"chronological": "50%"})
    drawdowns = {name: segment["max_drawdown"] for name, segment in result.metrics.items()}
    assert drawdowns == pytest.approx({"full": 0.5, "is": 0.1, "oos": 0.5})
    assert result.metrics["oos"]["total_return"] == pytest.approx(0.0)
    assert [result.metrics[name]["trades"] for name in ("full", "is", "oos")] == [1, 1, 0]


@pytest.mark.parametrize(
    ("split", "in_sample"),
    [
        ({"holdout": "30%"}, 7),
        ({"holdout": "25%"}, 8),
        ({"chronological": "70%"}, 7),
        ({"chronological": "29%"}, 2),
        ({"chronological": "2024-02-01"}, 4),
        ("even_odd_month", 4),
        ("even_odd_year", 0),
    ],
)
def test_splits_divide_ten_returns(split: dict | str, in_sample: int) -> None:
    ten = [Day(date(2024, 1, 28) + timedelta(days=k), 0.0, None, 0.0, {}, False) for k in range(10)]
    parts = naive.split_days(ten, split)
    assert [len(parts[name] or ()) for name in ("is", "oos")] == [in_sample, 10 - in_sample]
    assert sorted([*(parts["is"] or ()), *(parts["oos"] or ())], key=lambda day: day.when) == ten


def test_percent_of_a_count_is_exact() -> None:
    assert [naive.percent_of(share, n) for share, n in (("29%", 100), ("70%", 10), ("33.3%", 1000))] == [29, 7, 333]


def test_no_split_has_no_segments() -> None:
    metrics = backtest(hold("A"), history(A=[1, 2, 3]), split="none").metrics
    assert set(metrics["is"].values()) == set(metrics["oos"].values()) == {None}
    assert metrics["full"]["n_days"] == 2


# ---------------------------------------------------------------- random input

TICKERS = ("AAA", "BBB", "CCC", "BIL")
ALL_FAMILIES = (*FAMILIES, *MORE_FAMILIES)


def random_case(seed: int) -> tuple[dict, Prices, dict]:
    rng = random.Random(seed)
    calls: dict | None = {} if rng.random() < 0.5 else None
    tree = random_tree(rng, TICKERS, rng.randint(1, 4), more_indicators=True, calls=calls)
    prices = random_bars(rng, TICKERS, 120, ragged=rng.random() < 0.6)
    return tree, prices, random_settings(rng, TICKERS, [bar[0] for bar in prices["AAA"]]) | {"calls": calls}


def test_random_input_reaches_every_feature_and_always_runs() -> None:
    seen: set[str] = set()
    for seed in range(120):
        tree, prices, settings = random_case(seed)
        ids = [node["id"] for part in (tree, *(settings["calls"] or {}).values()) for node in naive.nodes(part)]
        assert len(ids) == len(set(ids))
        result = backtest(tree, prices, **settings)
        last_fill = len(result.dates) - 1 - naive.MODES[settings["mode"]].bars
        assert len(result.returns) == last_fill + 1 - result.start - settings["lag"]
        assert all(math.isclose(sum(weights.values()), 1) for weights in result.allocations)
        assert all(sum(assets(weights).values()) <= 1 + 1e-12 for weights in result.held)
        seen |= {"call"} if settings["calls"] and '"call"' in json.dumps(tree) else set()
        seen |= {settings["mode"], *(settings["rebalance"] if isinstance(settings["rebalance"], dict) else ())}
        seen |= {rule for rule in ("daily", "on_change", *naive.PERIODS) if rule == settings["rebalance"]}
        seen |= {settings["start"]} | {"costs" for _ in range(isinstance(settings["cost_bps"], dict))}
        for node in naive.nodes(tree):
            seen |= {node["kind"], node.get("weighting", ""), node.get("weightingThen", ""), *node.get("positions", ())}
            for line in node.get("conditions", ()):
                seen |= {line["metric"], line["comparator"], line.get("type", "-"), *line}
    assert seen >= {"basic", "position", "indicator", "equal", "defined", "CASH", "Empty", "if", "and", "or", "-"}
    assert seen >= {"lt", "lte", "gt", "gte", "crossAbove", "crossBelow", "forDays", "threshold", "expanded"}
    assert seen >= {"rightTicker", "rightMetric", "rightWindow", *(name for names in ALL_FAMILIES for name in names)}
    assert seen >= {"call", "costs", "common", "earliest", *naive.MODES, "daily", "on_change", *naive.PERIODS}


def test_random_bars_are_consistent() -> None:
    prices = random_bars(random.Random(3), TICKERS, 120, ragged=True)
    for own in prices.values():
        assert all(low <= min(opened, close) and max(opened, close) <= high for _, opened, high, low, close in own)
    assert any(opened != close for _, opened, _, _, close in prices["AAA"])


def test_future_cannot_change_the_past() -> None:
    for seed in range(20):
        rng = random.Random(seed)
        tree, prices = random_tree(rng, TICKERS, 4), random_prices(rng, TICKERS, 90, ragged=False)
        cut = prices["AAA"][60][0]
        other = {k: [(d, p if d <= cut else p * rng.uniform(0.5, 2)) for d, p in own] for k, own in prices.items()}
        before, after = backtest(tree, prices), backtest(tree, other)
        assert before.allocations[:61] == after.allocations[:61]
        kept = [bar for bar in before.returns if bar[0] <= cut]
        assert kept == after.returns[: len(kept)]


@pytest.mark.parametrize("mode", ["OO", "OC"])
def test_an_open_decision_sees_nothing_of_its_own_bar(mode: str) -> None:
    for seed in range(20):
        rng = random.Random(seed)
        tree = random_tree(rng, TICKERS, 4, more_indicators=True)
        prices = random_bars(rng, TICKERS, 90, ragged=False)
        cut = prices["AAA"][60][0]
        other = {
            ticker: [bar if bar[0] < cut else (bar[0], *random_bar(rng, bar[4])) for bar in own]
            for ticker, own in prices.items()
        }
        before, after = backtest(tree, prices, mode=mode), backtest(tree, other, mode=mode)
        assert before.allocations[:61] == after.allocations[:61]


def random_bar(rng: random.Random, close: float) -> list[float]:
    low, opened, closed, high = sorted(close * rng.uniform(0.5, 2) for _ in range(4))
    return [opened, high, low, closed]
