"""Anchors of the oracle over the whole language: every rule on a few bars, with the numbers worked by hand."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import naive
from naive import Prices, assets, backtest, subtree_equity, within_caps
from naive_formulas import formula_look_back, formula_reads_bars, formula_values
from naive_indicators import DEFINITIONS, as_bar
from naive_tree import held_tickers
from test_naive import FOUR_BARS, bars, call, history, history_from, hold, price
from test_naive import gate as gate_of
from whole_trees import (
    FAMILIES,
    LONG,
    OF_THE_LAST_BITS,
    WholeTree,
    random_market,
    random_whole,
    whole_settings,
    whole_trees,
)

N = None


def when(condition: dict, then: dict | None, otherwise: dict | None) -> dict:
    return gate_of(condition, then=then, otherwise=otherwise)


def group(*children: dict | None, **fields: object) -> dict:
    return {"id": "b", "kind": "basic", "children": {"next": list(children)}, **fields}


def sort(metric: str, *children: dict | None, rank: str = "top", n: int = 1, **fields: object) -> dict:
    return {"id": "f", "kind": "function", "metric": metric, "rank": rank, "n": n} | {
        "children": {"next": list(children)},
        **fields,
    }


def two_slots(kind: str, then: dict | None, otherwise: dict | None, **fields: object) -> dict:
    return {"id": kind, "kind": kind, "children": {"then": [then], "else": [otherwise]}, **fields}


def latch(entry: Sequence[dict], leave: Sequence[dict], then: dict | None, otherwise: dict | None) -> dict:
    return two_slots("altExit", then, otherwise, entryConditions=list(entry), exitConditions=list(leave))


def scale(ticker: object, low: float, high: float, then: dict | None, otherwise: dict | None) -> dict:
    fields = {"scaleMetric": "Price", "scaleTicker": ticker, "scaleFrom": low, "scaleTo": high}
    return two_slots("scaling", then, otherwise, **fields)


def roc(ticker: object, comparator: str, threshold: float, window: int = 1, **more: object) -> dict:
    line = {"metric": "ROC", "window": window, "ticker": ticker, "comparator": comparator, "threshold": threshold}
    return {**line, **more}


def weights(tree: dict, prices: Prices, **options: object) -> list[dict[str, float]]:
    """Per calendar bar what is decided."""
    return backtest(tree, prices, **{"start": "earliest", **options}).allocations


def held(tree: dict, prices: Prices, **options: object) -> list[str]:
    """Per calendar bar the names of what is decided."""
    return ["/".join(allocation) for allocation in weights(tree, prices, **options)]


# ---------------------------------------------------------------- function


PERCENT = history(A=[100, 110, 110], B=[100, 105, 120], C=[100, 90, 99])  # ROC 10 5 −10, then 0 14.3 10


def test_a_function_keeps_the_best_or_the_worst() -> None:
    tree = sort("ROC", hold("A"), hold("B"), hold("C"), n=2, window=1)
    assert weights(tree, PERCENT)[1:] == [{"A": 0.5, "B": 0.5}, {"B": 0.5, "C": 0.5}]
    assert held(sort("ROC", hold("A"), hold("B"), hold("C"), rank="bottom", window=1), PERCENT)[1:] == ["C", "A"]


def test_ties_keep_the_order_of_the_children() -> None:
    closes = history(A=[1, 2, 3], B=[1, 2, 3], C=[1, 1, 1])
    for rank, best in (("top", "B"), ("bottom", "C")):
        assert held(sort("ROC", hold("B"), hold("C"), hold("A"), rank=rank, window=1), closes)[1] == best
    assert held(sort("ROC", hold("B"), hold("A"), rank="bottom", window=1), closes)[1] == "B"


def test_who_has_no_score_is_no_candidate_and_nobody_left_is_cash() -> None:
    closes = history(A=[1, 1, 1, 1], B=[N, N, 1, 2])
    both = sort("ROC", hold("A"), hold("B"), n=2, window=1)
    assert weights(both, closes) == [
        {"CASH": 1.0},  # A has no earlier bar; B is not alive, so its child holds cash, which has no score
        {"A": 1.0},
        {"A": 1.0},
        {"A": 0.5, "B": 0.5},
    ]
    alone = when(price("A", "gt", 0), sort("ROC", hold("B"), window=1), N)
    assert held(alone, closes) == ["CASH", "CASH", "CASH", "B"]
    assert held(sort("ROC", hold("CASH"), hold("A"), rank="bottom", window=1), closes)[1:] == ["A"] * 3


def test_empty_is_no_candidate_and_all_empty_is_empty() -> None:
    closes = history(A=[1, 2], B=[1, 1])
    tree = sort("ROC", hold("Empty"), hold("B"), None, rank="bottom", window=1)
    assert held(tree, closes)[1] == "B"
    assert held(group(sort("ROC", hold("Empty"), None, window=1), hold("A")), closes) == ["A", "A"]


def test_what_is_scored() -> None:
    # At the third bar A has risen by 8 %, B fallen by 4 %, C risen by 4 %. The plain mean of A and B is 2 %.
    closes = history(A=[100, 100, 108], B=[100, 100, 96], C=[100, 100, 104])
    mixed = group({**hold("A"), "weight": 75}, {**hold("B", "B", "CASH"), "weight": 25}, weighting="defined")
    # Of their allocation: 0.75·8 and 0.25·2/3·(−4) are 16/3; over the weights, 0.75 + 1/6, that is 5.8.
    assert held(sort("ROC", hold("C"), mixed, window=1), closes)[2] == "A/B/CASH"
    assert held(sort("ROC", hold("C"), mixed, window=1, of="allocation"), closes)[2] == "A/B/CASH"
    assert held(sort("ROC", hold("C"), mixed, window=1, of="tickers"), closes)[2] == "C"


def test_the_score_of_an_equity_is_that_of_what_was_held() -> None:
    closes = history(A=[100, 110, 121], C=[100, 105, 110.25])
    timer = when(price("A", "lt", 105), then=hold("A"), otherwise=hold("CASH"))
    # The timer earns A's first 10 %, then sits in cash: ROC 10 and 0 against C's 5. A itself rises by 10 % each time.
    assert held(sort("ROC", timer, hold("C"), window=1, of="equity"), closes)[1:] == ["CASH", "C"]
    assert held(sort("ROC", timer, hold("C"), window=1, of="tickers"), closes)[1:] == ["CASH", "CASH"]
    assert held(sort("ROC", timer, hold("C"), window=1), closes)[1:] == ["C", "C"]


def test_cash_has_an_equity() -> None:
    closes = history(A=[100, 90, 99])
    tree = sort("ROC", hold("A"), hold("CASH"), window=1, of="equity")
    assert held(tree, closes)[1:] == ["CASH", "A"]  # −10 % and 10 % against 0
    assert held(tree, closes, cash_rate=252 * 0.2)[1:] == ["CASH", "CASH"]


def test_the_kept_children_are_weighted_among_themselves() -> None:
    children = [{**hold("A"), "weight": 10}, {**hold("B"), "weight": 20}, {**hold("C"), "weight": 30}]
    tree = sort("ROC", *children, n=2, window=1, weighting="defined")
    assert weights(tree, PERCENT)[1] == {"A": pytest.approx(1 / 3), "B": pytest.approx(2 / 3)}
    assert weights({**tree, "n": 9}, PERCENT)[2] == pytest.approx({"A": 1 / 6, "B": 1 / 3, "C": 1 / 2})


def test_called_trees_and_fallbacks_are_tickers_of_a_sub_tree() -> None:
    closes = history(A=[100, 100, 108], B=[100, 100, 96], C=[100, 100, 103])
    calls = {"x": hold("A")}
    capped = group(call("x"), hold("CASH"), weighting="capped", maxCap=50, cappedFallback="B")
    tree = sort("ROC", hold("C"), capped, window=1, of="tickers")
    assert held(tree, closes, calls=calls)[2] == "C"  # (8 − 4)/2 = 2
    assert held({**tree, "rank": "bottom"}, closes, calls=calls)[2] == "A/CASH"


# ---------------------------------------------------------------- numbered


def items(truths: str) -> list[dict]:
    line = {
        "T": price("A", "gt", 0),
        "F": price("A", "lt", 0),
        "U": {**price("A", "gt", 0), "metric": "SMA", "window": 2},
    }
    return [{"id": f"i{k}", "conditions": [{"id": f"i{k}c", **line[truth]}]} for k, truth in enumerate(truths)]


@pytest.mark.parametrize(
    ("quantifier", "n", "truths", "expected"),
    [
        ("any", N, "FT", "A"),
        ("any", N, "TU", "A"),
        ("any", N, "FU", "CASH"),
        ("any", N, "FF", "B"),
        ("all", N, "TT", "A"),
        ("all", N, "TU", "CASH"),
        ("all", N, "FU", "B"),
        ("none", N, "FF", "A"),
        ("none", N, "FU", "CASH"),
        ("none", N, "TU", "B"),
        ("exactly", 1, "TF", "A"),
        ("exactly", 1, "TU", "CASH"),
        ("exactly", 1, "TTU", "B"),
        ("exactly", 0, "F", "A"),
        ("exactly", 3, "TU", "B"),
        ("atLeast", 2, "TTU", "A"),
        ("atLeast", 2, "TFU", "CASH"),
        ("atLeast", 2, "FFU", "B"),
        ("atLeast", 0, "U", "A"),
        ("atMost", 1, "TTU", "B"),
        ("atMost", 1, "TFU", "CASH"),
        ("atMost", 1, "FFU", "A"),
    ],
)
def test_quantifiers_are_unknown_only_if_it_matters(quantifier: str, n: int | None, truths: str, expected: str) -> None:
    numbers = {"quantifier": quantifier, "items": items(truths)} | ({} if n is None else {"n": n})
    tree = two_slots("numbered", hold("A"), hold("B"), numbered=numbers)
    closes = history(A=[1, 1, 1], B=[1, 1, 1])
    assert held(tree, closes)[0] == expected
    assert held(tree, closes, null="else")[0] == ("B" if expected == "CASH" else expected)


def test_a_ladder_counts_and_an_unknown_rung_is_cash() -> None:
    closes = history(A=[1, 1, 1], B=[1, 1, 1], C=[1, 1, 1])
    slots = {"ladder-0": [hold("A")], "ladder-1": [hold("B")], "ladder-2": [hold("C")]}

    def ladder(truths: str) -> dict:
        return {"id": "n", "kind": "numbered", "numbered": {"quantifier": "ladder", "items": items(truths)}} | {
            "children": slots
        }

    assert [held(ladder(truths), closes)[0] for truths in ("FFF", "FTF", "TFT", "TUF")] == ["A", "B", "C", "CASH"]
    assert held(ladder("TUF"), closes, null="else")[0] == "B"
    assert held(group(ladder("TTT"), hold("B")), closes)[0] == "B"  # the slot for 3 is absent: Empty


def test_an_item_without_conditions_is_false() -> None:
    numbers = {"quantifier": "none", "items": [{"id": "i", "conditions": []}]}
    assert held(two_slots("numbered", hold("A"), N, numbered=numbers), history(A=[1, 1]))[0] == "A"


# ---------------------------------------------------------------- altExit


def test_a_latch_enters_and_leaves_on_the_bar_itself() -> None:
    closes = history(A=[1, 5, 3, 2, 7, 7], B=[1] * 6)
    tree = latch([price("A", "gt", 4)], [price("A", "lte", 2)], then=hold("A"), otherwise=hold("B"))
    assert held(tree, closes) == ["B", "A", "A", "B", "A", "A"]
    assert held(tree, closes, mode="OO") == ["B", "B", "A", "A", "B", "A"]


def test_a_latch_turns_once_a_bar_though_both_lists_hold() -> None:
    closes = history(A=[1, 5, 5, 5, 5], B=[1] * 5)
    above = [price("A", "gt", 4)]
    assert held(latch(above, above, then=hold("A"), otherwise=hold("B")), closes) == ["B", "A", "B", "A", "B"]


def test_a_latch_advances_on_bars_that_do_not_reach_it_and_before_the_start() -> None:
    closes = history(A=[1, 5, 3, 3, 3], B=[9, 9, 9, 1, 1], C=[1] * 5)
    inner = latch([price("A", "gt", 4)], [price("A", "lt", 0)], then=hold("A"), otherwise=hold("C"))
    tree = when(price("B", "lt", 5), then=inner, otherwise=hold("B"))
    assert held(tree, closes) == ["B", "B", "B", "A", "A"]
    assert held(tree, closes, start=date(2024, 1, 4)) == ["B", "B", "B", "A", "A"]


def test_an_unknown_leaves_a_latch_as_it_is() -> None:
    closes = history(A=[5, 5, 1, 1], B=[1] * 4)
    sma = {"metric": "SMA", "window": 2, "ticker": "A", "comparator": "gt", "threshold": 4}
    tree = latch([sma], [{**sma, "comparator": "lt", "window": 4, "threshold": 9}], hold("A"), hold("B"))
    assert held(tree, closes) == ["B", "A", "A", "B"]  # the exit is known on the last bar only
    ends = history(A=[5, N, N, N], B=[1] * 4)
    tree = latch([price("A", "gt", 4)], [price("A", "gt", 0)], hold("B"), hold("CASH"))
    assert held(tree, ends) == ["B"] * 4


# ---------------------------------------------------------------- scaling


@pytest.mark.parametrize(("low", "high"), [(10, 20), (20, 10)])
def test_scaling_blends_by_where_the_value_lies(low: float, high: float) -> None:
    closes = history(A=[8, 10, 12, 15, 20, 30], B=[1] * 6)
    got = weights(scale("A", low, high, hold("A"), hold("B")), closes)
    shares = [0.0, 0.0, 0.2, 0.5, 1.0, 1.0]  # to `else`, from 10 to 20
    if low > high:
        shares = [1 - share for share in shares]
    assert [allocation.get("B", 0.0) for allocation in got] == pytest.approx(shares)
    assert [allocation.get("A", 0.0) for allocation in got] == pytest.approx([1 - share for share in shares])


def test_an_empty_side_is_cash_and_an_unknown_value_too() -> None:
    closes = history(A=[12, 12], B=[1, 1])
    assert weights(scale("A", 10, 20, hold("A"), hold("Empty")), closes)[0] == pytest.approx({"A": 0.8, "CASH": 0.2})
    assert held(group(scale("A", 10, 20, hold("Empty"), N), hold("B")), closes) == ["B", "B"]
    late = {**scale("A", 10, 20, hold("A"), hold("B")), "scaleMetric": "SMA", "scaleWindow": 2}
    for null in ("cash", "else"):
        assert held(late, closes, null=null)[0] == "CASH"
    with pytest.raises(ValueError, match="scaleFrom = scaleTo"):
        backtest(scale("A", 10, 10, hold("A"), N), closes)


# ---------------------------------------------------------------- sub-tree equities


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("CC", [1, 16 / 11, 14 / 11, 20 / 11]),
        ("CO", [1, 12 / 11, 12 / 11 * 18 / 16, 12 / 11 * 18 / 16 * 9 / 14]),
        ("OO", [1, 12 / 10, 18 / 10, 9 / 10]),
        ("OC", [1, 16 / 12, 16 / 12 * 14 / 18, 16 / 12 * 14 / 18 * 20 / 9]),
    ],
)
def test_an_equity_ends_its_intervals_at_its_points(mode: str, expected: list[float]) -> None:
    # (open, close): (10, 11), (12, 16), (18, 14), (9, 20)
    assert subtree_equity(hold("A"), FOUR_BARS, "p", mode=mode) == pytest.approx(expected, abs=1e-14)


def test_an_equity_has_the_lag_of_the_run_and_nothing_from_before_it_was_ready() -> None:
    assert subtree_equity(hold("A"), FOUR_BARS, "p", lag=1) == pytest.approx([1, 1, 14 / 16, 20 / 16], abs=1e-14)
    assert subtree_equity(hold("A"), FOUR_BARS, "p", lag=1, mode="OC") == pytest.approx(
        [1, 16 / 12, 16 / 12 * 14 / 18, 16 / 12 * 14 / 18 * 20 / 9], abs=1e-14
    )
    tree = when(price("A", "gt", 15), then=hold("A"), otherwise=hold("CASH"))
    # Decisions: cash, A, cash, A. The second is filled at the close of the second bar, or a bar later.
    assert subtree_equity(tree, FOUR_BARS, "g") == pytest.approx([1, 1, 14 / 16, 14 / 16], abs=1e-14)
    assert subtree_equity(tree, FOUR_BARS, "g", lag=1) == pytest.approx([1, 1, 1, 20 / 14], abs=1e-14)


def test_an_equity_waits_for_its_series_and_its_listings() -> None:
    closes = history(A=[10, 20, 40, 80, 80], B=[N, N, 1, 2, 2])
    sma = when({"metric": "SMA", "window": 2, "ticker": "A", "comparator": "gt", "threshold": 0}, hold("A"), N)
    assert subtree_equity(sma, closes, "g") == [N, 1, 2, 4, 4]
    assert subtree_equity(sma, closes, "g", mode="OO") == [N, N, 1, 2, 2]
    assert subtree_equity(sma, closes, "g", "then") == [1, 2, 4, 8, 8]  # the blend of the slot does not read the gate
    both = group(hold("A"), hold("B"))
    assert subtree_equity(both, closes, "b") == [N, N, 1, 2, 2]
    assert subtree_equity(group(both, weighting="inverse", volWindow=2), closes, "b") == [N] * 4 + [1]


def test_an_equity_without_tickers_is_ready_at_once_and_earns_the_rate_of_cash() -> None:
    closes = history(A=[1, 2, 1])
    tree = group(hold("A"), {**hold("CASH"), "id": "c"}, {**hold("Empty"), "id": "e"}, {**hold("A", "CASH"), "id": "m"})
    assert subtree_equity(tree, closes, "c") == subtree_equity(tree, closes, "e") == [1, 1, 1]
    grows = pytest.approx([1, 1.01, 1.01**2], abs=1e-14)
    assert subtree_equity(tree, closes, "c", cash_rate=2.52) == grows
    assert subtree_equity(tree, closes, "e", cash_rate=2.52) == grows
    half = pytest.approx([1, 1.505, 1.505 * 0.755], abs=1e-14)
    assert subtree_equity(tree, closes, "m", cash_rate=2.52) == half


def test_what_ends_inside_an_equity_is_sold_at_its_last_close() -> None:
    prices = bars(A=[(10, 10), (20, 30), None, None], C=[(1, 1)] * 4)
    tree = group(hold("A"), hold("C"))
    assert subtree_equity(tree, prices, "b") == [1, 2, 2, 2]
    assert subtree_equity(tree, prices, "b", mode="OO") == [1, 1.5, 1.875, 1.875]


def test_an_equity_two_deep() -> None:
    closes = history(A=[100, 110, 99, 99, 99], B=[100, 100, 100, 120, 120])
    inner = sort("ROC", {**hold("A"), "id": "a"}, {**hold("B"), "id": "b"}, window=1, of="equity")
    # Inner scores from bar 1 on: A 10, −10, 0, 0; B 0, 0, 20, 0. It holds A, B, B, A (a tie), so from 1: 0.9, 1.2, 1.
    assert held(inner, closes)[1:] == ["A", "B", "B", "A"]
    assert subtree_equity(inner, closes, "f") == pytest.approx([N, 1, 0.9, 1.08, 1.08])
    outer = when(price("branch:then", "lt", 1), then=inner, otherwise=hold("CASH"))
    assert held(outer, closes) == ["CASH", "CASH", "B", "CASH", "CASH"]
    assert backtest(outer, closes).start == 1
    assert backtest(when(roc("branch:then", "lt", 0), then=inner, otherwise=N), closes).start == 2
    assert backtest(when(roc("branch:then", "lt", 0), then=inner, otherwise=N), closes, mode="OC").start == 4


# ---------------------------------------------------------------- branches, ratios, several tickers, dates


def test_a_branch_is_the_equity_of_the_slot_of_its_owner() -> None:
    closes = history(A=[100, 110, 100, 120], B=[100, 100, 110, 110])
    for names in (("then", "else"), ("from", "to"), ("enter", "exit")):
        then, otherwise = (f"branch:{name}" for name in names)
        above = {**price(then, "gt", 0), "expanded": True, "rightTicker": otherwise}
        # Then: 1, 1.1, 1, 1.2; else: 1, 1, 1.1, 1.1.
        assert held(when(above, hold("A"), hold("B")), closes) == ["B", "A", "B", "A"]
        assert held(when(above, hold("A"), hold("B")), closes, mode="OO") == ["CASH", "B", "A", "B"]
    inner = when(price("branch:then", "gt", 1.05), then=hold("B"), otherwise=hold("CASH"))
    assert held(when(price("A", "gt", 0), then=inner, otherwise=hold("A")), closes) == ["CASH", "CASH", "B", "B"]
    item = {"id": "i", "conditions": [{"id": "c", **price("branch:then", "gt", 1)}]}
    numbers = {"quantifier": "any", "items": [item]}
    assert held(two_slots("numbered", hold("A"), hold("B"), numbered=numbers), closes) == ["B", "A", "B", "A"]
    assert held(latch([price("branch:else", "gt", 1)], [], hold("A"), hold("B")), closes) == ["B", "B", "A", "A"]
    got = weights(scale("branch:then", 1, 1.2, hold("A"), hold("B")), closes)
    assert [allocation.get("B", 0.0) for allocation in got] == pytest.approx([0, 0.5, 0, 1])


def test_the_start_counts_calendar_bars_since_an_equity_is_ready() -> None:
    closes = history(A=[1] * 12, B=[N] * 3 + [1] * 9)

    def start(line: dict, mode: str = "CC") -> int:
        return backtest(when(line, then=hold("B"), otherwise=hold("A")), closes, mode=mode).start

    assert start(price("branch:then", "gt", 0)) == 3
    assert start(price("branch:else", "gt", 0)) == 3  # B's own listing
    assert start(roc("branch:then", "gt", 0, window=2)) == 5
    assert start(roc("branch:then", "gt", 0, window=2, forDays=3)) == 7
    assert start(roc("branch:then", "crossAbove", 0, window=2)) == 6
    assert start(roc("branch:then", "gt", 0, window=2), "OO") == 6
    assert start(roc("branch:else", "gt", 0, window=4)) == 4


def test_the_start_waits_for_scores_volatilities_scales_and_fallbacks() -> None:
    closes = history(A=[1, 2] * 6, B=[N] * 3 + [1] * 9, C=[1, 1] * 6)

    def start(tree: dict, mode: str = "CC") -> int:
        return backtest(tree, closes, mode=mode).start

    assert start(sort("ROC", hold("A"), hold("C"), window=4)) == 4
    assert start(sort("ROC", hold("A"), hold("B"), window=4)) == 7
    assert start(sort("ROC", hold("A"), hold("B"), window=4, of="tickers")) == 7
    assert start(sort("ROC", hold("A"), hold("C"), window=4, of="equity")) == 4
    assert start(sort("ROC", hold("A"), hold("C"), window=4, of="equity"), "OC") == 5
    assert start(group(hold("A"), hold("C"), weighting="inverse", volWindow=5)) == 5
    assert start(group(hold("A"), hold("B"), weighting="pro", volWindow=5)) == 8
    assert start({**scale("A", 1, 2, hold("A"), N), "scaleMetric": "SMA", "scaleWindow": 6}) == 5
    assert start(group(hold("A"), weighting="capped", maxCap=50, cappedFallback="B")) == 3


def test_a_ratio_has_the_common_bars_as_its_history() -> None:
    prices = history(A=[10, 20, N, 40, 50], B=[N, 5, 5, 8, N], C=[1] * 5)
    tree = when(roc({"ratio": ["A", "B"]}, "gt", 24), then=hold("C"), otherwise=hold("CASH"))
    # 20/5 on the 2nd and 40/8 on the 4th: + 25 %. The 3rd is no date of the calendar: A lives and has no bar.
    assert held(tree, prices) == ["CASH", "CASH", "C", "CASH"]
    with pytest.raises(ValueError, match="ATR needs more than the closes"):
        backtest(when({**roc({"ratio": ["A", "B"]}, "gt", 1), "metric": "ATR"}, hold("C"), N), prices)
    with pytest.raises(ValueError, match="CCI needs more than the closes"):
        backtest(when({**roc("branch:then", "gt", 1), "metric": "CCI"}, hold("C"), N), prices)


def truths(line: dict, prices: Prices, **options: object) -> list[bool | None]:
    """Per calendar bar whether the condition holds; `Z` is what is held then."""
    tree = when(line, then=hold("Z"), otherwise=hold("CASH"))
    known = ["Z" in allocation for allocation in weights(tree, prices, **options)]
    turned = when(line, then=hold("CASH"), otherwise=hold("Z"))
    opposite = ["Z" in allocation for allocation in weights(tree | turned, prices)]
    return [None if a == b else a for a, b in zip(known, opposite, strict=True)]


def test_any_and_all_ask_each_ticker_for_itself() -> None:
    closes = history(A=[6, 6, 1, 1], B=[1, 1, 6, 6], C=[N, N, 6, 6], Z=[1] * 4)
    above = price("", "gt", 5)
    assert truths({**above, "ticker": {"any": ["A", "B"]}}, closes) == [True] * 4
    assert truths({**above, "ticker": {"all": ["A", "B"]}}, closes) == [False] * 4
    assert truths({**above, "ticker": {"any": ["A", "B"]}, "forDays": 2}, closes) == [N, True, False, True]
    assert truths({**above, "ticker": {"any": ["B", "C"]}}, closes) == [N, N, True, True]
    assert truths({**above, "ticker": {"all": ["B", "C"]}}, closes) == [False, False, True, True]
    crosses = {**above, "ticker": {"any": ["A", "B"]}, "comparator": "crossAbove"}
    assert truths(crosses, closes) == [N, False, True, False]


def test_a_right_side_that_inherits_its_ticker_takes_the_same_in_turn() -> None:
    closes = history(A=[1, 2, 9], B=[8, 4, 2], Z=[1] * 3)
    above = {**price("", "gt", 0), "expanded": True, "rightMetric": "SMA", "rightWindow": 2}
    assert truths({**above, "ticker": {"any": ["A", "B"]}}, closes)[1:] == [True, True]  # A above its own mean
    assert truths({**above, "ticker": {"all": ["A", "B"]}}, closes)[1:] == [False, False]
    assert truths({**above, "ticker": {"all": ["A", "B"]}, "rightTicker": "B"}, closes)[1:] == [False, False]
    assert truths({**above, "ticker": {"all": ["A"]}, "rightTicker": "B"}, closes)[1:] == [False, True]


def test_lists_stand_for_their_tickers() -> None:
    closes = history(A=[6, 1], B=[1, 1], Z=[1, 1])
    lists = {"us": ["A", "B"]}
    line = {**price("", "gt", 5), "ticker": {"any": "list:us"}}
    result = backtest(when(line, then=hold("Z", "list:us", "A"), otherwise=N), closes, lists=lists)
    assert result.allocations[0] == {"Z": 0.25, "A": 0.5, "B": 0.25}
    with pytest.raises(ValueError, match="unknown list 'list:eu'"):
        backtest(hold("list:eu"), closes, lists=lists)


@pytest.mark.parametrize(
    ("season", "expected"),
    [
        ({"dateMonth": 12, "dateDay": 31}, [False, True, False, False]),
        ({"dateMonth": 12, "dateDay": 31, "dateTo": {"month": 1, "day": 1}}, [False, True, True, False]),
        ({"dateMonth": 1, "dateDay": 2, "dateTo": {"month": 12, "day": 30}}, [True, False, False, True]),
        ({"dateMonth": 3, "dateDay": 1, "dateTo": {"month": 2, "day": 28}}, [True] * 4),
        ({"dateMonth": 2, "dateDay": 29}, [False] * 4),
    ],
)
def test_dates_are_days_of_the_year_or_ranges_that_may_wrap(season: dict, expected: list[bool]) -> None:
    prices = history_from(date(2023, 12, 30), Z=[1, 1, 1, 1], A=[1, 1, 1, 1])
    tree = when({"metric": "Date", **season}, then=hold("Z"), otherwise=hold("A"))
    assert [h == "Z" for h in held(tree, prices)] == expected
    late = held(tree, prices, mode="OO")
    assert late == ["CASH", *("Z" if hit else "A" for hit in expected[:-1])]
    assert backtest(tree, prices, mode="OO").start == 0  # a date is no series that has to get ready


# ---------------------------------------------------------------- calls


def test_what_a_call_brings_is_named_after_the_call() -> None:
    calls = {"inner": {"id": "x", "kind": "basic", "children": {"next": [hold("A")]}}, "outer": group(call("inner"))}
    tree = naive.expand(group({**call("outer"), "weight": 3}, {**call("inner"), "id": "k"}), calls)
    assert [node["id"] for node in naive.nodes(tree)] == [
        "b",
        "to-outer--b",
        "to-outer--to-inner--x",
        "to-outer--to-inner--p",
        "k--x",
        "k--p",
    ]
    assert tree["children"]["next"][0]["weight"] == 3


# ---------------------------------------------------------------- weightings

# Returns: A + 10 %, − 10 %: deviation 10. B + 20 %, − 20 %: deviation 20.
VOLATILE = history(A=[100, 110, 99], B=[100, 120, 96], C=[N, 1, 1])


@pytest.mark.parametrize(
    ("children", "weighting", "expected"),
    [
        ([hold("A"), hold("B")], "inverse", {"A": 2 / 3, "B": 1 / 3}),
        ([hold("A"), hold("B")], "pro", {"A": 1 / 3, "B": 2 / 3}),
        ([hold("A"), hold("CASH"), hold("B")], "inverse", {"A": 4 / 9, "CASH": 1 / 3, "B": 2 / 9}),
        ([hold("A"), hold("CASH"), hold("B")], "pro", {"A": 2 / 9, "CASH": 1 / 3, "B": 4 / 9}),
        ([hold("A"), hold("C"), hold("B")], "inverse", {"A": 4 / 9, "C": 1 / 3, "B": 2 / 9}),  # C has one return only
        ([hold("A"), hold("Empty"), hold("B")], "inverse", {"A": 2 / 3, "B": 1 / 3}),
        ([hold("A", "B"), hold("B")], "inverse", {"A": 2 / 7, "B": 2 / 7 + 3 / 7}),  # 15 and 20: 4/7 and 3/7
    ],
)
def test_volatility_weightings(children: list[dict], weighting: str, expected: dict[str, float]) -> None:
    tree = group(*children, weighting=weighting, volWindow=2)
    assert weights(tree, VOLATILE)[2] == pytest.approx(expected)


def test_a_constant_growth_has_no_volatility() -> None:
    tree = group(hold("CASH"), hold("A"), weighting="inverse", volWindow=2)
    assert weights(tree, VOLATILE, cash_rate=0.03)[2] == {"CASH": 0.5, "A": 0.5}


@pytest.mark.parametrize(
    ("base", "low", "high", "expected"),
    [
        ([0.7, 0.2, 0.1], 0.1, 0.5, [0.5, 1 / 3, 1 / 6]),
        ([0.9, 0.06, 0.04], 0.2, 0.6, [0.6, 0.2, 0.2]),
        ([0.6, 0.3, 0.1], 0.0, 0.4, [0.4, 0.4, 0.2]),  # what the first gives up lifts the second over its cap
        ([0.8, 0.15, 0.05], 0.2, 1.0, [0.6, 0.2, 0.2]),
        ([0.5, 0.3, 0.2], 0.0, 1.0, [0.5, 0.3, 0.2]),
        ([0.5, 0.3, 0.2], 0.25, 0.4, [0.4, 0.35, 0.25]),  # 0.4 + 0.3·λ + 0.25: λ = 7/6, and 0.2·λ is below 0.25
        ([0.9, 0.1], 0.5, 1.0, [0.5, 0.5]),
        ([0.9, 0.1], 0.0, 0.5, [0.5, 0.5]),
        ([0.9, 0.1], 0.0, 0.3, [0.3, 0.3]),
        ([1.0], 0.0, 1.0, [1.0]),
    ],
)
def test_caps_are_filled_like_water(base: list[float], low: float, high: float, expected: list[float]) -> None:
    assert within_caps(base, low, high) == pytest.approx(expected, abs=1e-15)


def test_capped_weights_add_up_and_the_free_ones_keep_their_proportions() -> None:
    rng = random.Random(7)
    for _ in range(300):
        n = rng.randint(1, 6)
        size = [rng.uniform(0.01, 1) ** 3 for _ in range(n)]
        base, low, high = [x / sum(size) for x in size], rng.uniform(0, 1 / n), rng.uniform(1 / n, 1)
        weights = within_caps(base, low, high)
        assert sum(weights) == pytest.approx(1, abs=1e-12)
        assert all(low <= w <= high for w in weights)
        pairs = list(zip(weights, base, strict=True))
        for level in [w / b for w, b in pairs if low < w < high]:
            expected = [min(max(level * b, low), high) for b in base]
            assert weights == pytest.approx(expected, rel=1e-9)


def test_caps_of_a_slot() -> None:
    tree = group(hold("A"), hold("B"), weighting="inverse", volWindow=2, maxCap=60)
    assert weights(tree, VOLATILE)[2] == pytest.approx({"A": 0.6, "B": 0.4})
    tree = group(hold("A"), hold("B"), weighting="inverse", volWindow=2, minCap=45)
    assert weights(tree, VOLATILE)[2] == pytest.approx({"A": 0.55, "B": 0.45})
    few = group(hold("A"), hold("Empty"), hold("B"), weighting="pro", volWindow=2, maxCap=40)
    assert weights(few, VOLATILE)[2] == pytest.approx({"A": 0.4, "B": 0.4})  # the rest is cash


@pytest.mark.parametrize(
    "tree",
    [
        group(hold("A"), hold("B"), weighting="inverse", maxCap=49.9),
        group(hold("A"), hold("B"), weighting="pro", minCap=50.1),
        sort("ROC", hold("A"), hold("B"), window=1, weighting="inverse", maxCap=50),
        two_slots("indicator", hold("A"), N, conditions=[], weightingThen="inverse", maxCapThen=99),
    ],
)
def test_caps_that_cannot_hold_are_errors(tree: dict) -> None:
    with pytest.raises(ValueError, match="cannot have"):
        backtest(tree, VOLATILE)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"maxCap": 20, "cappedFallback": "C"}, {"A": 0.4, "B": 0.2, "C": 0.2 + 0.2}),
        ({"maxCap": 20, "cappedFallback": "A"}, {"A": 0.6, "B": 0.2, "C": 0.2}),
        ({"maxCap": 20, "cappedFallback": "CASH"}, {"A": 0.4, "B": 0.2, "C": 0.2, "CASH": 0.2}),
        ({"maxCap": 20}, {"A": 0.4, "B": 0.2, "C": 0.2, "CASH": 0.2}),
        ({"maxCap": 30, "cappedFallback": "C"}, {"A": 0.5, "B": 0.25, "C": 0.25}),
        ({"cappedFallback": "C"}, {"A": 0.5, "B": 0.25, "C": 0.25}),
    ],
)
def test_capped_gives_the_rest_to_its_fallback(fields: dict, expected: dict[str, float]) -> None:
    tree = group(hold("A"), hold("B"), hold("A"), N, hold("Empty"), hold("C"), weighting="capped", **fields)
    assert weights(tree, history(A=[1, 1], B=[1, 1], C=[1, 1]))[0] == pytest.approx(expected)


def test_a_fallback_that_is_not_alive_is_cash_and_a_rounding_is_no_rest() -> None:
    tree = group(hold("A"), hold("A"), weighting="capped", maxCap=20, cappedFallback="B")
    closes = history(A=[1, 1, 1], B=[N, 1, 1])
    assert weights(tree, closes)[:2] == [{"A": 0.4, "CASH": 0.6}, {"A": 0.4, "B": 0.6}]
    sevenths = group(*[hold("A")] * 7, weighting="capped", cappedFallback="B")
    assert weights(sevenths, closes)[2] == {"A": pytest.approx(1)}


def test_each_slot_has_its_own_weighting() -> None:
    tree = {"id": "g", "kind": "indicator", "conditions": [{"id": "c", **price("A", "gt", 105)}]} | {
        "weightingThen": "defined",
        "weightingElse": "inverse",
        "volWindowElse": 2,
        "children": {
            "then": [{**hold("A"), "weight": 1}, {**hold("B"), "weight": 3}],
            "else": [hold("A"), hold("B")],
        },
    }
    got = weights(tree, VOLATILE)
    assert got[1:] == [{"A": 0.25, "B": 0.75}, {"A": pytest.approx(2 / 3), "B": pytest.approx(1 / 3)}]


# ---------------------------------------------------------------- formulas


def worked_out(text: str, closes: Sequence[float | None], window: int | None = None) -> list[float | None]:
    return formula_values(text, [as_bar([math.nan if p is None else p]) for p in closes], window)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3 - 4 / 8", 6.5),
        ("2 - 3 - 4", -5.0),
        ("2 * (3 - 4) % 3", -2.0),  # from the left: −2, then −2 modulo 3 with the sign of −2
        ("-7 % 3", -1.0),
        ("7 % -3", 1.0),
        ("--2 * -3", -6.0),
        (".5 + 2. + 1e2", 102.5),
        ("CLOSE * Abs(-2)", 20.0),
        ("min(3, max(1, 2))", 2.0),
        ("pow(2, 10) - pow(4, 0.5)", 1022.0),
        ("round(2.5) + 10 * round(-2.5) + 100 * round(-0.4)", -27.0),
        ("floor(-1.5) + ceil(-1.5) * 10", -12.0),
        ("sign(-3) + sign(0) + sign(5) * 10", 9.0),
        ("log10(1000) + exp(0) + sqrt(9) + log(1)", 7.0),
        ("1 / 0", N),
        ("0 * (1 / (close - 10))", N),
        ("5 % 0", N),
        ("sqrt(-1)", N),
        ("log(0)", N),
        ("log10(-1)", N),
        ("exp(1000)", N),
        ("pow(-8, 0.5)", N),
        ("pow(0, -1)", N),
        ("1e300 * 1e300", N),
        ("max(1, 1 / 0)", N),
    ],
)
def test_formulas_of_one_bar(text: str, expected: float | None) -> None:
    assert worked_out(text, [10]) == [expected if expected is None else pytest.approx(expected, abs=1e-12)]


@pytest.mark.parametrize(
    ("text", "window", "expected", "look_back"),
    [
        ("close - ago(close, 2)", N, [N, N, 2, 3, -2], 2),
        ("sma(close, 2)", N, [N, 1.5, 2.5, 4, 3], 1),
        ("sma(close - 1, 2) * 2", N, [N, 1, 3, 6, 4], 1),
        ("stdev(close, 2)", N, [N, 0.5, 0.5, 1, 2], 1),
        ("ema(close, 3)", N, [N, N, 2, 3.5, 2.25], 2),
        ("rmax(close, 3) - rmin(close, 3)", N, [N, N, 2, 3, 4], 2),
        ("roc(close, 2)", N, [N, N, 200, 150, -100 * 2 / 3], 2),
        ("roc(ago(close, 1), 1)", N, [N, N, 100, 50, 200 / 3], 2),
        ("percentile(close, 3)", N, [N, N, 100, 100, 100 / 3], 2),
        ("percentile(close - close, 3)", N, [N, N, 100, 100, 100], 2),
        ("stochastic(close, 3)", N, [N, N, 100, 100, 0], 2),
        ("stochastic(close * 0, 3)", N, [N] * 5, 2),
        ("ema(sma(close, 2), 2)", N, [N, N, 2, 10 / 3, 28 / 9], 2),
        ("sma", 2, [N, 1.5, 2.5, 4, 3], 1),
        ("close / sma - 1", 2, [N, 1 / 3, 0.2, 0.25, -2 / 3], 1),
        ("ROC + roc(close, 1)", 2, [N, N, 250, 150 + 200 / 3, -200 / 3 - 80], 2),
        ("stdev_price", 2, [N, 0.5, 0.5, 1, 2], 1),
        ("drawdown", N, [0, 0, 0, 0, 80], 0),
        ("sqrt(roc(close, 1))", N, [N, 10, 50**0.5, (200 / 3) ** 0.5, N], 1),
        ("sma(sqrt(roc(close, 1)), 2)", N, [N, N, (10 + 50**0.5) / 2, (50**0.5 + (200 / 3) ** 0.5) / 2, N], 2),
        ("5", N, [5] * 5, 0),
    ],
)
def test_formulas_over_bars(text: str, window: int | None, expected: list[float | None], look_back: int) -> None:
    got = worked_out(text, [1, 2, 3, 5, 1], window)
    assert got == [v if v is None else pytest.approx(v, abs=1e-12) for v in expected]
    assert formula_look_back(text, window) == look_back


def test_formulas_read_every_field() -> None:
    bar = as_bar((2, 5, 1, 4, 10))
    assert formula_values("open + 10 * high + 100 * low + 1000 * close + 10000 * volume", [bar], N) == [104152.0]
    texts = ("close + rsi", "Volume", "1 + atr", "sma(open, 2)", "laguerrersi")
    assert [formula_reads_bars(text) for text in texts] == [False, True, True, True, False]


@pytest.mark.parametrize(
    "text",
    [
        *("", "1 +", "close close", "sma(close)", "sma(close, 2.5)", "sma(close, 0)", "sma(close, close)", "nosuch"),
        *("nosuch(1)", "abs(1, 2)", "min(1)", "(1", "1)", "2 ^ 3", "+1", "close.high", "neg(1)"),
    ],
)
def test_what_is_no_formula_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        worked_out(text, [1])


def test_formulas_are_metrics_of_tickers_ratios_and_branches() -> None:
    closes = history(A=[1, 2, 3, 5, 1], B=[1, 1, 1, 1, 1], Z=[1] * 5)
    formulas = {"gap": "close / sma - 1", "step": "close - ago(close, 1)"}
    gap = {"metric": "custom:gap", "window": 2, "ticker": "A", "comparator": "gt", "threshold": 0.22}
    assert backtest(when(gap, hold("Z"), hold("CASH")), closes, formulas=formulas).start == 1
    assert held(when(gap, hold("Z"), hold("CASH")), closes, formulas=formulas)[1:] == ["Z", "CASH", "Z", "CASH"]
    ratio = {**gap, "ticker": {"ratio": ["B", "A"]}, "comparator": "gt"}  # 1, 1/2, 1/3, 1/5, 1
    assert held(when(ratio, hold("Z"), hold("CASH")), closes, formulas=formulas)[1:] == ["CASH"] * 3 + ["Z"]
    branch = {"metric": "custom:step", "ticker": "branch:then", "comparator": "gt", "threshold": 0}
    assert held(when(branch, hold("A"), hold("Z")), closes, formulas=formulas)[1:] == ["A", "A", "A", "Z"]
    ranked = sort("custom:step", hold("A"), hold("B"))
    assert held(ranked, closes, formulas=formulas)[1:] == ["A", "A", "A", "B"]
    with pytest.raises(ValueError, match="no window"):
        backtest(when({**gap, "window": None}, hold("Z"), N), closes, formulas=formulas)
    with pytest.raises(ValueError, match="unknown formula 'custom:other'"):
        backtest(when({**gap, "metric": "custom:other"}, hold("Z"), N), closes, formulas=formulas)


# ---------------------------------------------------------------- the calendar of all dates


def test_on_the_union_of_dates_a_living_ticker_carries_its_last_values() -> None:
    prices = history(A=[10, N, 12, 6, N], B=[N, 1, 1, N, 2])
    tree = when(roc("A", "gt", 19), then=hold("A"), otherwise=hold("B"))
    result = backtest(tree, prices, calendar="union", start="earliest", cost_bps=0)
    assert [day.day for day in result.dates] == [1, 2, 3, 4, 5]
    # ROC: none on the 1st and 2nd, 20 % on the 3rd, −50 % on the 4th, then A is over. B is carried on the 4th.
    assert ["/".join(allocation) for allocation in result.allocations] == ["CASH", "CASH", "A", "B", "CASH"]
    assert [r for _, r in result.returns] == [0.0, 0.0, -0.5, 1.0]
    both = backtest(hold("A", "B"), prices, calendar="union", cost_bps=0)
    assert both.start == 1
    assert both.allocations[1:] == [{"A": 0.5, "B": 0.5}] * 3 + [{"CASH": 0.5, "B": 0.5}]
    assert [r for _, r in both.returns] == pytest.approx([0.1, -0.25, 0.5])  # 10 carried to 12; to 6; 1 carried to 2


def test_carried_fills_are_at_the_last_close_and_ratios_are_carried_between_common_bars() -> None:
    prices = bars(A=[(10, 11), None, (20, 22), (30, 33)], B=[(1, 1), (1, 2), None, (4, 4)])
    assert subtree_equity(group(hold("A"), hold("B")), prices, "b", mode="OO", calendar="union") == pytest.approx(
        [1, (1.1 + 1) / 2, (1.1 + 1) / 2 * (20 / 11 + 2) / 2, (1.1 + 1) / 2 * (20 / 11 + 2) / 2 * (1.5 + 2) / 2]
    )
    ratio = when(roc({"ratio": ["A", "B"]}, "lt", -24), then=hold("A"), otherwise=hold("B"))
    # 11 on the 1st, 33/4 on the 4th: − 25 %. On the 2nd and 3rd the ratio has its first bar's value: no rate of change.
    assert held(ratio, prices, calendar="union") == ["CASH", "CASH", "CASH", "A"]
    price_of = {**price({"ratio": ["A", "B"]}, "gt", 10), "forDays": 3}
    assert held(when(price_of, hold("A"), hold("B")), prices, calendar="union")[2:] == ["A", "B"]


# ---------------------------------------------------------------- rounding


def test_decisions_by_a_hair_are_told() -> None:
    closes = history(A=[1.0, 1.0 + 1e-10, 3.0], B=[1, 1, 1], C=[1, 1, 1])
    near = {**price("A", "gt", 0), "expanded": True, "rightTicker": "B"}
    assert [t for _, t in backtest(when(near, hold("A"), N), closes).hairs] == [1]
    assert (
        backtest(when(near, hold("A"), N), history(A=[2, 3, 4], B=[1, 3, 1])).hairs == []
    )  # two prices that are equal
    sma = {**near, "rightMetric": "SMA", "rightWindow": 2}
    assert backtest(when(sma, hold("A"), N), history(A=[1, 1, 2], B=[1, 1, 1])).hairs == [("c0", 1)]
    assert backtest(sort("Price", hold("A"), hold("B")), closes).hairs == [("f", 1)]
    assert backtest(sort("Price", hold("B"), hold("C")), closes).hairs == []
    assert backtest(sort("Price", hold("B", "C"), hold("C")), closes).hairs != []
    formulas = {"none": "ema - sma"}  # 0 where both start
    assert backtest(sort("custom:none", hold("A"), hold("B"), window=2), closes, formulas=formulas).hairs == [("f", 1)]


# ---------------------------------------------------------------- random input

TICKERS = ("AAA", "BBB", "CCC", "BIL", "DDD")


def random_case(seed: int) -> tuple[WholeTree, Prices, dict]:
    rng = random.Random(seed)
    tree = random_whole(rng, TICKERS, rng.randint(1, 4), long=seed % 10 == 0)
    prices = random_market(rng, TICKERS, 290 if seed % 10 == 0 else 130, ragged=rng.random() < 0.6)
    return tree, prices, whole_settings(rng, TICKERS, [bar[0] for bar in prices["AAA"]])


def words_of(tree: dict) -> set[str]:
    """Every kind, key and string of the trees."""
    found: set[str] = set()
    todo: list[object] = [tree]
    while todo:
        match todo.pop():
            case dict() as table:
                found |= {*table}
                todo += table.values()
            case list() as parts:
                todo += parts
            case str(word):
                found.add(word)
    return found


def test_random_trees_reach_the_whole_language_and_run() -> None:
    seen: set[str] = set()
    errors: set[bool] = set()
    ran = clear = 0
    for seed in range(160):
        tree, prices, options = random_case(seed)
        whole = naive.expand(tree.tree, tree.calls)
        ids = [node["id"] for node in naive.nodes(whole)]
        assert len(ids) == len(set(ids))
        seen |= words_of({"tree": tree.tree, "calls": tree.calls}) | {options["calendar"]}
        seen |= {"formula" for _ in tree.formulas} | {"list" for _ in tree.lists}
        try:
            result = backtest(tree.tree, prices, **tree.job(), **options)
        except ValueError as error:
            errors.add(any(why in str(error) for why in ("first usable", "nothing to trade", "no calendar bar")))
            continue
        ran += 1
        clear += not result.hairs
        assert all(0 < sum(weights.values()) <= 1 + 1e-12 for weights in result.allocations)
        assert all(sum(assets(weights).values()) <= 1 + 1e-12 for weights in result.held)
    assert errors <= {True}
    assert ran >= 150
    assert clear >= 120
    kinds = {"basic", "function", "indicator", "numbered", "altExit", "scaling", "call", "position"}
    weightings = {"equal", "defined", "inverse", "pro", "capped", "weightingThen", "weightingElse", "volWindowThen"}
    assert seen >= kinds | weightings | {"maxCap", "minCap", "cappedFallback", "maxCapElse", "cappedFallbackThen"}
    assert seen >= {"any", "all", "none", "exactly", "atLeast", "atMost", "ladder", "ladder-0", "ladder-2"}
    assert seen >= {"allocation", "equity", "tickers", "top", "bottom", "ratio", "Date", "dateTo", "formula", "list"}
    assert seen >= {f"branch:{name}" for name in ("then", "else", "from", "to", "enter", "exit")}
    assert seen >= {"forDays", "expanded", "rightTicker", "rightMetric", "rightWindow", "Empty", "CASH", "union"}
    metrics = {name for family in (*FAMILIES, LONG, OF_THE_LAST_BITS) for name in family.metrics}
    assert seen >= metrics
    assert {naive.ALIASES[name] for name in metrics} == set(DEFINITIONS)


@pytest.mark.parametrize("mode", naive.MODES)
def test_future_cannot_change_the_past(mode: str) -> None:
    for seed in range(16):
        rng = random.Random(seed)
        tree = random_whole(rng, TICKERS, 3)
        if not [*held_tickers(naive.expand(tree.tree, tree.calls))]:  # nothing to hold, nothing to trade
            continue
        prices = random_market(rng, TICKERS, 90, ragged=False)
        cut = prices["AAA"][60][0]
        last_seen = cut if naive.MODES[mode].seen_bars_ago == 0 else prices["AAA"][59][0]

        def otherwise(bar: tuple, last_seen: date = last_seen, rng: random.Random = rng) -> tuple:
            factor = 1.0 if bar[0] <= last_seen else rng.uniform(0.5, 2)
            return (bar[0], *(p * factor for p in bar[1:5]), bar[5])

        other = {ticker: [otherwise(bar) for bar in own] for ticker, own in prices.items()}
        options = {"mode": mode, "start": "earliest", **tree.job()}
        before, after = backtest(tree.tree, prices, **options), backtest(tree.tree, other, **options)
        assert before.allocations[:61] == after.allocations[:61]


@given(whole_trees(TICKERS, max_depth=3), st.integers(0, 2**16))
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_trees_drawn_by_hypothesis_run(tree: WholeTree, seed: int) -> None:
    json.dumps(tree.tree)
    prices = random_market(random.Random(seed), TICKERS, 80, ragged=True)
    result = backtest(tree.tree, prices, **tree.job(), start="earliest")
    assert len(result.returns) == len(result.dates) - 1 - result.start
