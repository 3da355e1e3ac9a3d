"""QuantMage spells: each kind and condition on a small example, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from forge_ray.errors import InputError
from forge_ray.tree.importers import Imported, import_text
from native_format import check_job, nodes


def ticker(symbol: str = "SPY") -> dict[str, Any]:
    return {"incantation_type": "Ticker", "symbol": symbol, "name": "x"}


def single(**fields: Any) -> dict[str, Any]:
    return {
        "condition_type": "SingleCondition", "type": "IndicatorAndNumber", "greater_than": True, "for_days": 1,
        "lh_indicator": {"type": "RelativeStrengthIndex", "window": 10}, "lh_ticker_symbol": "SPY", "lh_days_ago": 0,
        "rh_indicator": {"type": "CumulativeReturn", "window": 0}, "rh_ticker_symbol": "", "rh_days_ago": 0,
        "rh_value": 70, "rh_value_int": 0, "rh_weight": 1, "rh_bias": 0,
    } | fields  # fmt: skip


def both(**fields: Any) -> dict[str, Any]:
    right = {"type": "MovingAverage", "window": 20}
    return single(type="BothIndicators", rh_indicator=right, rh_ticker_symbol="QQQ") | fields


def if_else(condition: Any = None, then: Any = ..., other: Any = ...) -> dict[str, Any]:
    then, other = (default if side is ... else side for side, default in ((then, ticker()), (other, ticker("TLT"))))
    return {"incantation_type": "IfElse", "condition": condition or single(), "then_incantation": then,
            "else_incantation": other}  # fmt: skip


def spell(incantation: Any, **fields: Any) -> str:
    return json.dumps({"name": "Test", "version": 2, "incantation": incantation, "trading_type": "Daily",
                       "slippage_bps": 5} | fields)  # fmt: skip


def imported(incantation: Any, **options: str) -> Imported:
    found = import_text(spell(incantation), "test", {key.replace("__", "."): text for key, text in options.items()})
    check_job(dict(found.job))
    return found


def tree(incantation: Any, **options: str) -> dict[str, Any]:
    return imported(incantation, **options).job["tree"]


def line(condition: dict[str, Any], **options: str) -> tuple[dict[str, Any], dict[str, str]]:
    job = imported(if_else(condition), **options).job
    return job["tree"]["conditions"][0], job.get("formulas", {})


def held(node: dict[str, Any]) -> list[list[str]]:
    return [one["positions"] for one in nodes(node) if one["kind"] == "position"]


def test_settings_of_a_spell():
    job = import_text(spell(ticker(), trading_type="Threshold", threshold=5, benchmark_ticker="SPY"), "test").job
    assert job["execution"] == {"mode": "CC", "cost_bps": 5, "rebalance": {"threshold": 5}}
    assert (job["name"], job["benchmark"], job["tree"]["positions"]) == ("Test", "SPY", ["SPY"])
    assert import_text(spell(ticker(), trading_type="Weekly"), "test").job["execution"]["rebalance"] == "weekly"


def test_a_bare_incantation_is_a_spell():
    assert import_text(json.dumps(ticker()), "test").job["tree"]["positions"] == ["SPY"]


def test_weightings():
    weighted = {"incantation_type": "Weighted", "type": "Equal", "incantations": [ticker(), None, ticker("TLT")]}
    assert tree(weighted)["positions"] == ["SPY", "TLT"]
    custom = tree(weighted | {"type": "Custom", "weights": [0.6, 0.1, 0.3]})
    assert [child["weight"] for child in custom["children"]["next"]] == [0.6, 0.3]
    volatile = tree(weighted | {"type": "InverseVolatility", "inverse_volatility_window": 15})
    assert (volatile["weighting"], volatile["volWindow"]) == ("inverse", 15)
    off = imported(weighted | {"type": "Custom", "weights": [1, 1, 1]})
    assert "add up to 3" in str(off.repairs)


def test_filters():
    filtered = {"incantation_type": "Filtered", "sort_indicator": {"type": "CumulativeReturn", "window": 21},
                "count": 2, "bottom": True,
                "incantations": [ticker("A"), if_else()], "weight_type": "Equal"}  # fmt: skip
    found = tree(filtered)
    assert [found[key] for key in ("kind", "metric", "window", "rank", "n", "of")] == [
        "function", "Cumulative Return", 21, "bottom", 2, "allocation",
    ]  # fmt: skip
    assert tree(filtered, quantmage__score="equity")["of"] == "equity"
    custom = tree(filtered | {"weight_type": "Custom", "weights": [70, 30]})
    assert custom["weighting"] == "defined" and custom["children"]["next"][0]["weight"] == 70


def test_what_is_null_is_empty():
    assert tree(if_else(other=None))["children"]["else"] == []
    assert held(tree(if_else(then=None, other=None))) == [["Empty"]]


def test_switch_counts_true_conditions():
    switch = {"incantation_type": "Switch", "conditions": [single(), single(lh_ticker_symbol="QQQ")],
              "incantations": [ticker("ALL"), ticker("ONE"), ticker("NONE")]}  # fmt: skip
    found = tree(switch)
    assert found["numbered"]["quantifier"] == "ladder"
    assert [found["children"][f"ladder-{k}"][0]["positions"] for k in range(3)] == [["NONE"], ["ONE"], ["ALL"]]
    chain = imported(switch | {"incantations": [ticker("A"), ticker("B")]})
    assert held(chain.job["tree"]) == [["A"], ["B"]] and "first true one" in str(chain.repairs)


def test_mixed_blends_between_two_values():
    mixed = {"incantation_type": "Mixed", "indicator": {"type": "Volatility", "window": 20},
             "ticker_symbol": "SPY",
             "from_value": 2, "to_value": 1,
             "from_incantation": ticker("A"), "to_incantation": ticker("B")}  # fmt: skip
    found = tree(mixed)
    assert [found[f"scale{key}"] for key in ("Metric", "Window", "Ticker", "From", "To")] == [
        "Standard Deviation", 20, "SPY", 2, 1,
    ]  # fmt: skip
    assert held(found) == [["A"], ["B"]]
    subspell = tree(mixed | {"ticker_symbol": 'Subspell "From"'})
    assert subspell["scaleTicker"] == "branch:then"
    annual = imported(mixed, quantmage__volatility="annual").job
    assert annual["formulas"][annual["tree"]["scaleMetric"][7:]] == "stdev * sqrt(252)"


def test_latches():
    latch = {"incantation_type": "EnterExit", "enter_condition": single(), "exit_condition": single(greater_than=False),
             "enter_incantation": ticker("IN"), "exit_incantation": None}  # fmt: skip
    found = tree(latch)
    assert found["kind"] == "altExit" and held(found) == [["IN"]]
    assert [found[f"{key}Conditions"][0]["comparator"] for key in ("entry", "exit")] == ["gt", "lt"]


@pytest.mark.parametrize(("all_of", "any_of"), [("AllOf", "AnyOf"), ("AndCondition", "OrCondition")])
def test_conditions_nest(all_of, any_of):
    inner = {"condition_type": any_of, "conditions": [single(), single(lh_ticker_symbol="QQQ")]}
    outer = {"condition_type": all_of, "conditions": [inner, single(lh_ticker_symbol="IWM")]}
    found = tree(if_else(outer))["conditions"]
    assert [(one["type"], one["ticker"]) for one in found] == [
        ("if", "SPY"), ("and", "IWM"), ("or", "QQQ"), ("and", "IWM"),
    ]  # fmt: skip


def test_dummies_of_unused_sides_are_not_read():
    found, formulas = line(single(for_days=3))
    assert found == {"id": "c1", "type": "if", "metric": "Relative Strength Index", "window": 10, "ticker": "SPY",
                     "comparator": "gt", "threshold": 70, "forDays": 3}  # fmt: skip
    assert not formulas


def test_values_of_days_ago_are_formulas():
    found, formulas = line(single(lh_days_ago=3))
    assert formulas == {found["metric"][7:]: "ago(rsi, 3)"} and found["window"] == 10


@pytest.mark.parametrize(
    ("weight", "bias", "formula"),
    [(1.5, 0, "sma * 1.5"), (1, -2, "sma + (-2)"), (-1, 3, "sma * (-1) + 3")],
)
def test_factor_and_addend_are_formulas(weight, bias, formula):
    found, formulas = line(both(rh_weight=weight, rh_bias=bias))
    assert formulas == {found["rightMetric"][7:]: formula}
    assert (found["rightWindow"], found["rightTicker"]) == (20, "QQQ")


def test_two_plain_indicators():
    found, formulas = line(both())
    assert (found["rightMetric"], found["rightWindow"], found["expanded"]) == ("Simple Moving Average", 20, True)
    assert not formulas


@pytest.mark.parametrize(
    ("kind", "function"), [("IndicatorPercentile", "percentile"), ("IndicatorStochastic", "stochastic")]
)
def test_places_among_the_last_values_are_formulas(kind, function):
    found, formulas = line(single(type=kind, rh_value_int=252, rh_value=90))
    assert formulas == {found["metric"][7:]: f"{function}(rsi, 252)"} and found["threshold"] == 90


def test_formulas_of_different_texts_have_different_names():
    parts = [both(rh_weight=2), both(rh_bias=2), both(rh_bias=-2), both(rh_weight=-2), both(rh_weight=0.2)]
    job = imported(if_else({"condition_type": "AnyOf", "conditions": parts})).job
    assert len(job["formulas"]) == len(parts)


@pytest.mark.parametrize(
    ("greater", "month", "first", "last"), [(True, 4, (5, 1), (12, 31)), (False, 3, (1, 1), (2, 29))]
)
def test_months_are_ranges_of_dates(greater, month, first, last):
    found, _ = line(single(type="Month", greater_than=greater, rh_value_int=month))
    assert found == {"id": "c1", "type": "if", "metric": "Date", "dateMonth": first[0], "dateDay": first[1],
                     "dateTo": {"month": last[0], "day": last[1]}}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "metric"),
    [
        ("CurrentPrice", "Current Price"),
        ("MovingAverageReturn", "SMA of Returns"),
        ("MaxDrawdown", "Max Drawdown"),
        ("13612wMomentum", "Momentum (Weighted)"),
        ("Sma12Momentum", "Momentum (12-Month SMA)"),
        ("Aroon", "Aroon Oscillator"),
        ("Macd", "MACD Histogram"),
        ("TrendClarity", "Trend Clarity"),
    ],
)
def test_indicators(kind, metric):
    assert line(single(lh_indicator={"type": kind, "window": 7}))[0]["metric"] == metric


FILTERED = {"incantation_type": "Filtered", "sort_indicator": {"type": "RelativeStrengthIndex", "window": 5},
            "count": 1, "incantations": [ticker()]}  # fmt: skip
CUSTOM = {"incantation_type": "Weighted", "type": "Custom", "incantations": [ticker(), ticker()]}
SWITCH = {"incantation_type": "Switch", "conditions": [single()], "incantations": [ticker()] * 2}
MIXED = {"incantation_type": "Mixed", "indicator": {"type": "CurrentPrice"}, "ticker_symbol": "SPY",
         "from_value": 1, "to_value": 2, "from_incantation": ticker(), "to_incantation": None}  # fmt: skip
BAD: dict[str, tuple[Any, str, str]] = {
    "kind": ({"incantation_type": "Tikker"}, "incantation_type", "unknown incantation_type 'Tikker'"),
    "not an object": (5, "incantation", "expected an incantation (an object) or null, got 5"),
    "key": (ticker() | {"symbl": 1}, "incantation.symbl", "did you mean 'symbol'?"),
    "symbol": (ticker(""), "incantation.symbol", "expected a ticker, got ''"),
    "symbol text": (ticker("A B"), "incantation.symbol", "got 'A B'"),
    "incantations": (CUSTOM | {"incantations": 5}, "incantation.incantations", "expected a list, got 5"),
    "weights": (CUSTOM | {"weights": [1]}, "incantation.weights", "1 weights for 2 incantations"),
    "weight": (CUSTOM | {"weights": [1, -1]}, "incantation.weights[1]", "expected a weight >= 0, got -1"),
    "zero weights": (CUSTOM | {"weights": [0, 0]}, "incantation.weights", "add up to 0"),
    "weighting": (CUSTOM | {"type": "Best"}, "incantation.type", "allowed: Equal, Custom, InverseVolatility"),
    "volatility": (CUSTOM | {"type": "InverseVolatility"}, "inverse_volatility_window", "missing; expected"),
    "count": (FILTERED | {"count": 0}, "incantation.count", "expected a whole number from 1"),
    "bottom": (FILTERED | {"bottom": "yes"}, "incantation.bottom", "expected true or false, got 'yes'"),
    "sort": (FILTERED | {"sort_indicator": {"type": "Rsi"}}, "sort_indicator.type", "unknown indicator 'Rsi'"),
    "sort window": (FILTERED | {"sort_indicator": {"type": "MaxDrawdown"}}, "sort_indicator.window", "missing"),
    "condition": (if_else(condition=[1]), "incantation.condition", "expected a condition (an object), got [1]"),
    "condition type": (if_else({"condition_type": "Nor"}), "condition.condition_type", "SingleCondition, AllOf"),
    "no conditions": (if_else({"condition_type": "AllOf", "conditions": []}), "condition.conditions", "at least one"),
    "type": (if_else(single(type="IndicatorAndText")), "condition.type", "did you mean 'IndicatorAndNumber'?"),
    "condition key": (if_else(single(rh_valu=1)), "condition.rh_valu", "did you mean 'rh_value'?"),
    "window": (if_else(single(lh_indicator={"type": "MovingAverage", "window": 0})), "lh_indicator.window", "from 1"),
    "ticker": (if_else(single(lh_ticker_symbol="")), "lh_ticker_symbol", "expected a ticker, got ''"),
    "value": (if_else(single(rh_value="x")), "rh_value", "expected a finite number, got 'x'"),
    "days": (if_else(single(lh_days_ago=-1)), "lh_days_ago", "expected a whole number from 0"),
    "for days": (if_else(single(for_days=-1)), "for_days", "expected a whole number from 0"),
    "month": (if_else(single(type="Month", rh_value_int=13)), "rh_value_int", "from 1 to 12, got 13"),
    "never": (if_else(single(type="Month", rh_value_int=12)), "condition", "month > 12 is never true"),
    "percentile": (if_else(single(type="IndicatorPercentile", rh_value_int=1)), "rh_value_int", "from 2"),
    "subspell": (if_else(single(lh_ticker_symbol='Subspell "Up"')), "lh_ticker_symbol", "unknown subspell 'Up'"),
    "subspell of a ladder": (
        SWITCH | {"conditions": [single(lh_ticker_symbol='Subspell "Then"')]}, "lh_ticker_symbol", "no branches",
    ),
    "switch": (SWITCH | {"incantations": [ticker()] * 3}, "incantation.conditions", "1 conditions for 3 incantations"),
    "mixed": (MIXED | {"to_value": 1}, "incantation.to_value", "expected two different ends"),
    "mixed value": (MIXED | {"from_value": None}, "incantation.from_value", "missing; expected a number"),
}  # fmt: skip
BAD_ROOTS = {
    "root key": ({"fee": 1}, "fee", "unknown field 'fee'"),
    "trading type": ({"trading_type": "Hourly"}, "trading_type", "allowed: Daily, Weekly"),
    "threshold": ({"trading_type": "Threshold"}, "threshold", "missing; expected a number"),
    "slippage": ({"slippage_bps": "x"}, "slippage_bps", "expected a finite number, got 'x'"),
}


@pytest.mark.parametrize("name", BAD)
def test_malformed_spells_are_refused_with_place_and_what_is_allowed(name):
    incantation, *fragments = BAD[name]
    with pytest.raises(InputError) as caught:
        import_text(spell(incantation), "test")
    assert all(fragment in str(caught.value) for fragment in fragments), str(caught.value)


@pytest.mark.parametrize("name", BAD_ROOTS)
def test_malformed_settings_are_refused_with_place_and_what_is_allowed(name):
    fields, *fragments = BAD_ROOTS[name]
    with pytest.raises(InputError) as caught:
        import_text(spell(ticker(), **fields), "test")
    assert all(fragment in str(caught.value) for fragment in fragments), str(caught.value)
