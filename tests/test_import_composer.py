"""Composer symphonies: each rule of the language on a small example, real files when present, and what is refused."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_ray import jsontext
from forge_ray.errors import InputError
from forge_ray.tree.importers import import_text, read_options
from forge_ray.tree.importers.logic import Junction, TooComplexError, condition_list, gate, split
from native_format import check_job, nodes, strategies

SPY = {"step": "asset", "ticker": "SPY"}
TLT = {"step": "asset", "ticker": "TLT"}


def code(node: str, settings: str = ":rebalance-frequency :daily") -> str:
    return f'(defsymphony "Test" {{:asset-class "EQUITIES", {settings}}} {node})'


def if_code(condition: str) -> str:
    return code(f'(if {condition} [(asset "A")] [(asset "B")])')


def score(*children: Any, **root: Any) -> str:
    return jsontext.write({"step": "root", "name": "Test", "rebalance": "daily", "children": list(children)} | root, 0)


def gated(then: Any = SPY, other: Any = TLT, **condition: Any) -> dict[str, Any]:
    branch = {"step": "if-child", "is-else-condition?": False, "children": [then], **condition}
    return {"step": "if", "children": [branch, {"step": "if-child", "is-else-condition?": True, "children": [other]}]}


def flat(**fields: Any) -> dict[str, Any]:
    return {
        "lhs-fn": "relative-strength-index", "lhs-val": "SPY", "lhs-fn-params": {"window": 10}, "comparator": "gt",
        "rhs-fixed-value?": True, "rhs-val": "79.5",
    } | fields  # fmt: skip


def binary(ticker: str = "SPY", constant: float = 70, **fields: Any) -> dict[str, Any]:
    left = {"fn": "relative-strength-index", "ticker": ticker, "params": {"window": 10}}
    return {"condition-type": "binary", "lhs": left, "comparator": "gt", "rhs": {"constant": constant}} | fields


def compound(operator: str, *conditions: Any) -> dict[str, Any]:
    return {"condition-type": "compound", "operator": operator, "conditions": list(conditions)}


def job(text: str | bytes, **options: str) -> dict[str, Any]:
    found = dict(import_text(text, "test", {key.replace("__", "."): value for key, value in options.items()}).job)
    check_job(found)
    return found


def tree(text: str | bytes, **options: str) -> dict[str, Any]:
    return job(text, **options)["tree"]


def repairs(text: str) -> str:
    return "\n".join(map(str, import_text(text, "test").repairs))


def positions(node: dict[str, Any]) -> list[list[str]]:
    return [one["positions"] for one in nodes(node) if one["kind"] == "position"]


@pytest.mark.parametrize("file", strategies("composer"), ids=lambda file: file.name)
def test_every_example_symphony_is_imported(file):
    found = import_text(file.read_bytes(), file.name)
    check_job(dict(found.job))
    assert found.format == "composer"
    assert found.job["execution"]["mode"] == "CC" and found.job["execution"]["cost_bps"] == 1
    assert any("Wilder" in point for point in found.open_points)


def test_the_three_notations_of_one_symphony_are_one_tree():
    a = code('(weight-equal [(if (> (rsi "SPY" {:window 10}) 79.5) [(asset "SPY" "x")] [(asset "TLT" "y")])])')
    b = score({"step": "wt-cash-equal", "children": [gated(**flat())]})
    c = (
        '{:step :root :name "Test" :rebalance :daily :children [{:step :if :children [{:step :if-child '
        ':is-else-condition? false :lhs-fn :relative-strength-index :lhs-val "SPY" :lhs-fn-params {:window 10} '
        ':comparator :gt :rhs-fixed-value? true :rhs-val "79.5" :children [{:step :asset :ticker "SPY"}]} '
        '{:step :if-child :is-else-condition? true :children [{:step :asset, :ticker "TLT"}]}]}]} ; the end'
    )
    assert job(a) == job(b) == job(c)
    assert tree(a)["conditions"] == [
        {"id": "c1", "type": "if", "metric": "Relative Strength Index", "window": 10, "ticker": "SPY",
         "comparator": "gt", "threshold": 79.5}
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrap",
    [
        lambda text: text,
        lambda text: json.dumps({"symphony": json.loads(text)}),
        lambda text: json.dumps({"raw_value": json.loads(text)}),
        lambda text: json.dumps({"fields": {"score": text}}),
        lambda text: json.dumps({"symphony": {"raw_value": json.loads(text)}}),
        lambda text: "\ufeff" + text,
    ],
)
def test_wrappers_around_a_score_come_off(wrap):
    assert positions(tree(wrap(score(SPY)))) == [["SPY"]]


def test_the_content_tells_the_notation_whatever_the_name():
    assert import_text(b'\n ; a comment\n(defsymphony "x" {:rebalance-frequency :daily} (asset "SPY"))', "x.json").job


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("moving-average-price", "Simple Moving Average"),
        ("exponential-moving-average-price", "Exponential Moving Average"),
        ("cumulative-return", "Cumulative Return"),
        ("moving-average-return", "SMA of Returns"),
        ("stdev-return", "Standard Deviation"),
        ("standard-deviation-return", "Standard Deviation"),
        ("stdev-price", "Standard Deviation of Price"),
        ("max-drawdown", "Max Drawdown"),
        ("rsi", "Relative Strength Index"),
    ],
)
def test_each_indicator_has_its_native_name_window_and_unit(name, metric):
    (line,) = tree(code(f'(if (<= ({name} "SPY" {{:window 20}}) -4.5) [(asset "A")] [(asset "B")])'))["conditions"]
    assert (line["metric"], line["window"], line["comparator"], line["threshold"]) == (metric, 20, "lte", -4.5)


def test_a_number_on_the_left_mirrors_the_comparison():
    (line,) = tree(if_code('(< 30 (rsi "SPY" {:window 5}))'))["conditions"]
    assert (line["comparator"], line["threshold"], line["ticker"]) == ("gt", 30, "SPY")


def test_equality_is_both_bounds():
    text = if_code('(= (rsi "SPY" {:window 5}) 50)')
    assert [(line["type"], line["comparator"]) for line in tree(text)["conditions"]] == [("if", "lte"), ("and", "gte")]
    assert "= read as both" in repairs(text)


def test_two_indicators_make_an_expanded_condition():
    text = if_code('(> (current-price "SPY") (moving-average-price "QQQ" {:window 200}))')
    assert tree(text)["conditions"] == [
        {"id": "c1", "type": "if", "metric": "Current Price", "ticker": "SPY", "comparator": "gt", "expanded": True,
         "rightMetric": "Simple Moving Average", "rightWindow": 200, "rightTicker": "QQQ"}
    ]  # fmt: skip


def test_the_condition_tree_alone_is_the_truth():
    found = tree(score(gated(**flat(), condition=compound("any", binary("QQQ", 80), binary("IWM", 81)))))
    assert [(line["type"], line["ticker"]) for line in found["conditions"]] == [("if", "QQQ"), ("or", "IWM")]


def test_any_of_tickers_becomes_a_quantified_ticker():
    every = binary("%", operator="all", tickers=["SPY", "QQQ"]) | {"condition-type": "binary-compound"}
    right = {"fn": "moving-average-price", "ticker": "%", "params": {"window": 20}}
    some = every | {"operator": "any", "rhs": right}
    first, second = tree(score(gated(condition=compound("all", every, some))))["conditions"]
    assert first["ticker"] == {"all": ["SPY", "QQQ"]} and first["threshold"] == 70
    assert second["ticker"] == {"any": ["SPY", "QQQ"]} and "rightTicker" not in second
    flipped = some | {"lhs": {"fn": "current-price", "ticker": "BIL", "params": {}}}
    (line,) = tree(score(gated(condition=flipped)))["conditions"]
    assert (line["ticker"], line["comparator"], line["rightTicker"]) == ({"any": ["SPY", "QQQ"]}, "lt", "BIL")


def test_large_conditions_become_a_count_of_all():
    pairs = [compound("any", binary(f"A{k}"), binary(f"B{k}")) for k in range(7)]
    found = tree(score(gated(condition=compound("all", *pairs))))
    assert found["kind"] == "numbered" and found["numbered"]["quantifier"] == "all"
    assert [len(item["conditions"]) for item in found["numbered"]["items"]] == [2] * 7


VALUES = (False, None, True)


def kleene(operator: str, values: list[bool | None]) -> bool | None:
    decisive = operator == "any"
    return decisive if decisive in values else None if None in values else not decisive


def truth(condition: Any, values: dict[str, bool | None]) -> bool | None:
    if isinstance(condition, Junction):
        return kleene(condition.operator, [truth(part, values) for part in condition.parts])
    return values[condition["ticker"]]


def native_truth(fields: dict[str, Any], values: dict[str, bool | None]) -> bool | None:
    def of_list(lines: list[Any]) -> bool | None:
        return kleene("any", [kleene("all", [values[line["ticker"]] for line in term]) for term in split(lines)])

    if fields["kind"] == "indicator":
        return of_list(fields["conditions"])
    return kleene("all", [of_list(item["conditions"]) for item in fields["numbered"]["items"]])


LINES = st.sampled_from([{"ticker": name} for name in "abcd"])
CONDITIONS = st.recursive(
    LINES,
    lambda inner: st.builds(Junction, st.sampled_from(["any", "all"]), st.lists(inner, min_size=1, max_size=4)),
    max_leaves=24,
)


@given(CONDITIONS)
def test_a_gate_has_the_three_valued_truth_of_its_condition(condition):
    found = gate(condition)
    for chosen in itertools.product(VALUES, repeat=4):
        values = dict(zip("abcd", chosen, strict=True))
        assert native_truth(found, values) == truth(condition, values)
        listed = {"kind": "indicator", "conditions": condition_list(condition)}
        assert native_truth(listed, values) == truth(condition, values)


def test_conditions_too_large_for_any_form_are_refused():
    def pairs(outer: str, inner: str, n: int, leaf: Any) -> Junction:
        return Junction(outer, [Junction(inner, [leaf(k), leaf(k + n)]) for k in range(n)])

    deep = pairs("all", "any", 11, lambda k: pairs("any", "all", 11, lambda j: {"ticker": f"{k}-{j}"}))
    assert gate(deep)["kind"] == "numbered"
    deep = Junction("any", [deep, {"ticker": "x"}])
    with pytest.raises(TooComplexError, match=r"allowed: an OR of 1,024 ANDs"):
        gate(deep)
    with pytest.raises(TooComplexError, match="ANDs"):
        condition_list(deep)


def test_weights_are_written_in_percent_and_a_wrong_sum_is_reported():
    a = code('(weight-specified 0.275 (asset "A") 0.725 (asset "B"))')
    child = lambda name, num, den=100: {"step": "asset", "ticker": name, "weight": {"num": num, "den": den}}  # noqa: E731
    b = score({"step": "wt-cash-specified", "children": [child("A", "27.5", "100"), child("B", 72.5)]})
    assert [node["weight"] for node in tree(a)["children"]["next"]] == [27.5, 72.5]
    assert tree(a) == tree(b) and not repairs(a)
    off = score({"step": "wt-cash-specified", "children": [child("A", 50), child("B", 25)]})
    assert "add up to 0.75" in repairs(off)


def test_inverse_volatility_and_groups():
    found = tree(code('(group "Outer" [(weight-equal [(group "Inner" [(weight-inverse-volatility 30 '
                      '[(asset "A") (asset "B")])])])])'))  # fmt: skip
    assert (found["title"], found["kind"]) == ("Outer", "basic") and "weighting" not in found
    (inner,) = found["children"]["next"]
    assert (inner["title"], inner["weighting"], inner["volWindow"]) == ("Inner", "inverse", 30)


def test_wrappers_without_meaning_go_and_equal_assets_are_one_position():
    text = code('(weight-equal [(weight-equal [(weight-equal [(asset "A") (asset "B")])])])')
    assert tree(text) == {"id": "n1", "kind": "position", "positions": ["A", "B"]}
    mixed = tree(code('(weight-equal [(weight-equal [(asset "A") (asset "B")]) (asset "C")])'))
    assert [child["positions"] for child in mixed["children"]["next"]] == [["A", "B"], ["C"]]


def test_a_branch_takes_the_weighting_of_its_only_group():
    found = tree(code('(if (> (rsi "SPY" {:window 5}) 50) [(weight-inverse-volatility 9 [(asset "A") (asset "B")])] '
                      '[(asset "C") (asset "D")])'))  # fmt: skip
    assert (found["weightingThen"], found["volWindowThen"]) == ("inverse", 9)
    assert [len(found["children"][slot]) for slot in ("then", "else")] == [2, 1]


def test_filters_score_assets_by_price_and_groups_by_equity():
    assets = tree(code('(filter (rsi {:window 7}) (select-bottom 2) [(asset "A") (asset "B") (asset "C")])'))
    assert {key: assets[key] for key in ("kind", "metric", "window", "rank", "n", "of")} == {
        "kind": "function", "metric": "Relative Strength Index", "window": 7, "rank": "bottom", "n": 2,
        "of": "allocation",
    }  # fmt: skip
    group = '(group "G" [(weight-equal [(asset "B") (asset "C")])])'
    mixed = import_text(code(f'(filter (cumulative-return {{:window 5}}) (select-top 1) [(asset "A") {group}])'), "x")
    assert mixed.job["tree"]["of"] == "equity"
    assert any("one asset" in point for point in mixed.open_points)


def test_duplicate_candidates_stay_and_are_reported():
    text = code('(filter (rsi {:window 7}) (select-top 1) [(asset "A") (asset "A") (asset "B")])')
    assert positions(tree(text)) == [["A"], ["A"], ["B"]] and "A is 2 times" in repairs(text)


def test_switched_off_filters():
    fields = {"step": "filter", "sort-by-fn": "relative-strength-index", "sort-by-window-days": "7",
              "select-fn": "top", "select-n": "1", "children": [SPY, TLT]}  # fmt: skip
    assert tree(score(fields | {"select?": False}))["positions"] == ["SPY", "TLT"]
    assert tree(score(fields | {"sort-by?": False}))["positions"] == ["SPY"]
    assert "switched off" in repairs(score(fields | {"select?": False}))


def test_what_is_empty_is_cash_with_its_weight():
    text = score({"step": "wt-cash-equal", "children": [SPY, {"step": "empty"}]})
    assert tree(text)["positions"] == ["SPY", "CASH"] and "keeps its weight" in repairs(text)
    no_else = score({"step": "if", "children": [gated(**flat())["children"][0]]})
    assert positions(tree(no_else)) == [["SPY"], ["CASH"]] and "no else" in repairs(no_else)
    bare = code('(if (> (rsi "SPY" {:window 5}) 50) [] [(asset "A")])')
    assert positions(tree(bare)) == [["CASH"], ["A"]] and "no blocks" in repairs(bare)


def test_else_if_chains_take_the_first_true_branch():
    first, other = gated(**flat())["children"]
    second = first | flat(**{"lhs-val": "QQQ"}) | {"children": [{"step": "asset", "ticker": "X"}]}
    found = tree(score({"step": "if", "children": [first, second, other]}))
    assert positions(found) == [["SPY"], ["X"], ["TLT"]]
    assert found["children"]["else"][0]["conditions"][0]["ticker"] == "QQQ"


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        (":rebalance-frequency :weekly", "weekly"),
        (":rebalance-threshold 0.05", {"threshold": 5}),
        (":rebalance-threshold 0.075", {"threshold": 7.5}),
    ],
)
def test_rebalancing_of_notation_a(settings, rule):
    assert job(code('(asset "A")', settings))["execution"]["rebalance"] == rule


def test_rebalancing_of_notation_b():
    corridor = score(SPY, **{"rebalance": "none", "rebalance-corridor-width": 0.1})
    assert job(corridor)["execution"]["rebalance"] == {"threshold": 10}
    leftover = score(SPY, **{"rebalance": "monthly", "rebalance-corridor-width": 0.1})
    assert job(leftover)["execution"]["rebalance"] == "monthly" and "left out" in repairs(leftover)
    assert not repairs(score(SPY, **{"rebalance-corridor-width": 0.0}))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("BRK/B", "BRK.B"),
        ("EQUITIES::SPY//USD", "SPY"),
        ("CRYPTO::BTC//USD", "BTC-USD"),
        ("EQUITIES::BRK/B//USD", "BRK.B"),
    ],
)
def test_tickers_are_rewritten_and_reported(written, read):
    text = score({"step": "asset", "ticker": written})
    assert tree(text)["positions"] == [read] and f"{written} read as {read}" in repairs(text)


def test_an_option_renames_a_ticker():
    options = read_options(["ticker.FB=META", "ticker.SPY?L=2=SSO"])
    assert options == {"ticker.FB": "META", "ticker.SPY?L=2": "SSO"}
    found = import_text(score({"step": "asset", "ticker": "FB"}), "x", options)
    assert found.job["tree"]["positions"] == ["META"] and "FB read as META" in str(found.repairs)


def test_options_choose_the_other_reading():
    text = if_code('(> (rsi "SPY" {:window 10}) (stdev-return "SPY" {:window 20}))')
    found = job(text, composer__rsi="simple", composer__deviation="sample")
    (line,) = found["tree"]["conditions"]
    assert (line["metric"], line["rightMetric"]) == ("RSI (SMA)", "custom:stdev_sample_20")
    assert found["formulas"] == {"stdev_sample_20": "stdev * sqrt(20 / 19)"}


MACD = "moving-average-convergence-divergence"
PPO = "percentage-price-oscillator"


@pytest.mark.parametrize(
    ("name", "params", "metric", "formula"),
    [
        (PPO, {"short-window": 12, "long-window": 26}, "PPO", None),
        (f"{PPO}-signal", {"short-window": 12, "long-window": 26, "smooth-window": 9}, "PPO Signal", None),
        (MACD, {"short-window": 12, "long-window": 26}, "MACD", None),
        (f"{MACD}-signal", {"short-window": 12, "long-window": 26, "smooth-window": 9}, "MACD Signal", None),
        ("upper-bollinger", {"window": 20, "standard-deviations": 2}, "Bollinger Upper", None),
        ("lower-bollinger", {"window": 20, "standard-deviations": "2"}, "Bollinger Lower", None),
        (PPO, {"short-window": 5, "long-window": 30}, "custom:ppo_5_30",
         "100 * (ema(close, 5) - ema(close, 30)) / ema(close, 30)"),
        (f"{MACD}-signal", {"short-window": 5, "long-window": 30, "smooth-window": 4}, "custom:macd_signal_5_30_4",
         "ema(ema(close, 5) - ema(close, 30), 4)"),
        ("upper-bollinger", {"window": 20, "standard-deviations": 1.5}, "custom:bollinger_upper_20_1_5",
         "sma(close, 20) + 1.5 * stdev(close, 20)"),
    ],
)  # fmt: skip
def test_oscillators_and_bands_with_other_parameters_are_formulas(name, params, metric, formula):
    found = job(score(gated(**flat(**{"lhs-fn": name, "lhs-fn-params": params}))))
    assert found["tree"]["conditions"][0]["metric"] == metric
    assert list(found.get("formulas", {}).values()) == ([formula] if formula else [])


def refused(text: str | bytes, **options: str) -> str:
    with pytest.raises(InputError) as caught:
        import_text(text, "test", options)
    return str(caught.value)


MALFORMED_CODE = {
    "not defsymphony": ('(deffoo "x" {} (asset "A"))', "line 1, column 1", "expected (defsymphony NAME SETTINGS node)"),
    "too short": ('(defsymphony "x" {})', "line 1, column 1", "3 elements"),
    "name": ('(defsymphony {} {} (asset "A"))', "line 1, column 1", "expected a name"),
    "setting": (code('(asset "A")', ":foo 1"), "foo", "unknown setting"),
    "no rule": (code('(asset "A")', ""), "settings", "neither a frequency"),
    "frequency": (code('(asset "A")', ":rebalance-frequency :hourly"), "'hourly'", "daily, weekly"),
    "width": (code('(asset "A")', ":rebalance-threshold 5"), "settings", "from 0 to 1, got 5"),
    "block": (code('(weight-cap [(asset "A")])'), "line 1, column", "unknown block 'weight-cap'"),
    "not a block": (code("42"), "line 1", "expected a block such as (asset TICKER NAME), got 42"),
    "vector": (code('(weight-equal (asset "A"))'), "line 1", "expected a vector"),
    "elements": (code('(weight-equal [(asset "A")] [(asset "B")])'), "line 1", "expected one vector of blocks, got 2"),
    "asset": (code("(asset)"), "line 1", "expected a ticker and a name, got 0"),
    "ticker": (code('(asset "S P Y")'), "line 1", "expected a ticker"),
    "ticker type": (code("(asset 5)"), "line 1", "expected a ticker, got 5"),
    "pairs": (code('(weight-specified 1 (asset "A") 2)'), "line 1", "expected pairs of weight and block, got 3"),
    "weight": (code('(weight-specified -1 (asset "A"))'), "line 1", "expected a weight >= 0, got -1"),
    "zero weights": (code('(weight-specified 0 (asset "A") 0 (asset "B"))'), "line 1", "add up to 0"),
    "volatility": (code('(weight-inverse-volatility [(asset "A")])'), "line 1", "expected a whole number from 1"),
    "group name": (code('(group 5 [(asset "A")])'), "line 1", "expected the name of the group, got 5"),
    "no window": (if_code('(> (rsi "A") 5)'), "window", "missing; expected"),
    "window": (if_code('(> (rsi "A" {:window 0}) 5)'), "window", "got 0"),
    "window key": (if_code('(> (rsi "A" {:windw 9}) 5)'), "windw", "did you mean 'window'?"),
    "indicator": (if_code('(> (rsx "A" {:window 9}) 5)'), "rsx", "did you mean 'rsi'?"),
    "comparison": (if_code('(!= (rsi "A" {:window 9}) 5)'), "'!='", "allowed: >, <, >=, <=, ="),
    "constants": (if_code('(> 5 6)'), "line 1", "compares the numbers"),
    "condition": (if_code('true'), "line 1", "expected a condition such as"),
    "operand": (if_code('(> "A" 5)'), "line 1", "expected a number or (indicator TICKER"),
    "no else": (code('(if (> (rsi "A" {:window 9}) 5) [(asset "A")])'), "line 1", "two vectors of blocks"),
    "select": (
        code('(filter (rsi {:window 9}) (select-all 1) [(asset "A")])'), "line 1",
        "(select-top n) or (select-bottom n)",
    ),
    "select n": (
        code('(filter (rsi {:window 9}) (select-top 0) [(asset "A")])'), "n",
        "expected a whole number from 1",
    ),
    "sort": (code('(filter 5 (select-top 1) [(asset "A")])'), "line 1", "what to sort by"),
    "unclosed": ('(defsymphony "x"', "line 1, column 1", "'(' is never closed"),
    "wrong close": ('(defsymphony "x" ]', "line 1, column 18", "found ']', expected ')' for line 1, column 1"),
    "stray close": ('(a) )', "line 1, column 5", "nothing is open"),
    "string": ('(defsymphony "x', "line 1, column 14", "a string that does not end"),
    "escape": (r'(defsymphony "\q" {} x)', "line 1, column 14", "unknown escape"),
    "surrogate": (r'(defsymphony "\ud800" {} x)', "line 1, column 14", "half of a surrogate pair"),
    "number": ("(a 1x)", "line 1, column 4", "not a number: '1x'"),
    "two forms": ("(a) (b)", "line 1, column 1", "expected one form, found 2"),
    "odd map": ("(a {:b})", "line 1, column 4", "a value for each key"),
    "doubled key": ("(a {:b 1 :b 2})", "line 1, column 4", "given twice"),
    "map key": ("(a {1 2})", "line 1, column 4", "expected a keyword as key, got 1"),
    "reader": ("(a #inst 5)", "line 1, column 4", "is not used in symphonies"),
    "depth": ("(" * 5_000, "line 1, column 4001", "nested deeper than 4,000 levels"),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED_CODE)
def test_malformed_code_is_refused_with_place_and_what_is_allowed(name):
    text, *fragments = MALFORMED_CODE[name]
    message = refused(text)
    assert all(fragment in message for fragment in fragments), message


def branch(**fields: Any) -> str:
    return score(gated(**fields))


MALFORMED_SCORE = {
    "ticker text": (score({"step": "asset", "ticker": "SPY?L=2"}), "children[0].ticker", "--option ticker.SPY?L=2=NEW"),
    "step": (score({"step": "asst", "ticker": "A"}), "children[0].step", "did you mean 'asset'?"),
    "no step": (score({"ticker": "A"}), "children[0].step", "unknown step None"),
    "block": (score(5), "children[0]", "expected a block (an object with a step), got 5"),
    "market cap": (score({"step": "wt-marketcap", "children": []}), "children[0].step", "not in the native language"),
    "key": (score({"step": "asset", "ticker": "A", "tickr": 1}), "children[0].tickr", "did you mean 'ticker'?"),
    "children": (score({"step": "wt-cash-equal", "children": 5}), "children[0].children", "expected a list, got 5"),
    "ticker": (score({"step": "asset"}), "children[0].ticker", "expected a ticker, got None"),
    "weight": (score({"step": "wt-cash-specified", "children": [SPY]}), "children[0].children[0].weight", "{num, den}"),
    "weight sign": (
        score({"step": "wt-cash-specified", "children": [SPY | {"weight": {"num": -1, "den": 100}}]}),
        "children[0].children[0].weight", "expected a weight",
    ),
    "window days": (score({"step": "wt-inverse-vol", "children": [SPY]}), "window-days", "missing"),
    "if-child alone": (score({"step": "if-child", "children": []}), "children[0].step", "only below an if"),
    "asset below if": (score({"step": "if", "children": [SPY]}), "children[0].children[0].step", "expected an if"),
    "two elses": (
        score({"step": "if", "children": [gated()["children"][1]] * 2}), "children[0].children", "2 else branches",
    ),
    "no test": (score({"step": "if", "children": [gated()["children"][1]]}), "children[0].children", "no branch with"),
    "lhs-fn": (branch(**flat(**{"lhs-fn": "rssi"})), "children[0].children[0].lhs-fn", "unknown indicator 'rssi'"),
    "no window": (branch(**flat(**{"lhs-fn-params": {}})), "lhs-fn-params.window", "missing; expected a whole number"),
    "two windows": (branch(**flat(**{"lhs-window-days": 11})), "lhs-window-days", "expected the same"),
    "comparator": (branch(**flat(comparator="above")), "children[0].comparator", "allowed: gt, lt, gte, lte, eq"),
    "rhs-val": (branch(**flat(**{"rhs-val": "SPY"})), "rhs-val", "expected a finite number, got 'SPY'"),
    "overflow": (branch(**flat(**{"rhs-val": "1e999"})), "rhs-val", "expected a finite number"),
    "no rhs": (branch(**flat(**{"rhs-val": None})), "rhs-val", "missing; expected a number"),
    "flag": (branch(**flat(**{"rhs-fixed-value?": "yes"})), "rhs-fixed-value?", "expected true or false, got 'yes'"),
    "parameter": (branch(**flat(**{"lhs-fn-params": {"window": 5, "w": 1}})), "lhs-fn-params.w", "unknown parameter"),
    "params": (branch(**flat(**{"lhs-fn-params": 10})), "lhs-fn-params", "expected an object, got 10"),
    "ppo": (branch(**flat(**{"lhs-fn": PPO, "lhs-fn-params": {"short-window": 5}})), "long-window", "missing"),
    "band": (
        branch(**flat(**{"lhs-fn": "upper-bollinger", "lhs-fn-params": {"window": 5, "standard-deviations": -1}})),
        "standard-deviations", "expected a number >= 0, got -1",
    ),
    "condition": (branch(condition=[]), "children[0].condition", "expected a condition (an object), got []"),
    "type": (branch(condition={"condition-type": "ternary"}), "condition-type", "binary, binary-compound, compound"),
    "operator": (branch(condition=compound("xor", binary())), "condition.operator", "allowed: any, all"),
    "no parts": (branch(condition=compound("any")), "condition.conditions", "expected at least one"),
    "part": (branch(condition=compound("any", 7)), "conditions[0]", "expected a condition (an object), got 7"),
    "side": (branch(condition=binary(rhs={"fn": "x"})), "condition.rhs.fn", "unknown indicator 'x'"),
    "side key": (branch(condition=binary(rhs={"constant": 1, "k": 2})), "condition.rhs.k", "unknown field"),
    "no tickers": (
        branch(condition=binary("%", operator="any") | {"condition-type": "binary-compound"}),
        "condition.tickers", "expected at least one",
    ),
    "no percent": (
        branch(condition=binary(operator="any", tickers=["A"]) | {"condition-type": "binary-compound"}),
        "condition.lhs.ticker", "which stands for each of tickers",
    ),
    "select-fn": (
        score({"step": "filter", "sort-by-fn": "current-price", "select-fn": "best", "select-n": 1, "children": [SPY]}),
        "children[0].select-fn", "allowed: top, bottom",
    ),
    "select-n": (
        score({"step": "filter", "sort-by-fn": "current-price", "select-fn": "top", "select-n": "all", "children": []}),
        "children[0].select-n", "expected a whole number",
    ),
    "rebalance": (score(SPY, rebalance="hourly"), "rebalance", "unknown rebalancing frequency 'hourly'"),
    "no rebalance": (score(SPY, rebalance="none"), "rebalance", "neither a frequency"),
    "doubled key": ('{"step": "root", "step": "root"}', "line 1, column", "step"),
    "not JSON": ('{"step": root}', "line 1, column 10", "not a JSON value"),
    "unknown": ('{"foo": 1}', "test", "unknown format: an object with 'foo'; allowed: a Composer symphony"),
    "empty": ("[]", "test", "unknown format: []"),
    "bytes": (b"\xff\xfe", "test: byte 0", "not UTF-8 text"),
    "size": (" " * (16 * 2**20 + 1), "test", "larger than 16,777,216 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED_SCORE)
def test_malformed_scores_are_refused_with_place_and_what_is_allowed(name):
    text, *fragments = MALFORMED_SCORE[name]
    message = refused(text)
    assert all(fragment in message for fragment in fragments), message


def test_all_mistakes_come_at_once():
    text = score({"step": "asset", "ticker": "A B"}, {"step": "foo"}, gated(**flat(comparator="no")))
    assert len(refused(text).splitlines()) == 3


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"composer.rsx": "simple"}, "did you mean 'composer.rsi'?"),
        ({"composer.rsi": "fast"}, "allowed: wilder, simple"),
        ({"atlas.score": "tickers"}, "has no effect on a file of composer"),
    ],
)
def test_unknown_options_are_refused(option, message):
    assert message in refused(score(SPY), **option)


def large_symphony(levels: int, blocks: int, size: int) -> str:
    """A chain of gates with filters beside it."""
    name = "x" * max(0, size // blocks - 85)
    node: dict[str, Any] = SPY
    for level in range(levels):
        assets = [
            {"step": "asset", "ticker": f"T{k % 90}", "exchange": "ARCX", "name": name, "id": f"{level}-{k}"}
            for k in range(blocks // levels - 6)
        ]
        ranked = {"step": "filter", "sort-by-fn": "cumulative-return", "sort-by-fn-params": {"window": 5},
                  "select-fn": "top", "select-n": "2", "children": assets}  # fmt: skip
        node = gated(
            {"step": "wt-cash-equal", "children": [node, ranked]}, TLT, **flat(**{"lhs-val": f"T{level % 90}"})
        )
    return score(node)


def test_a_symphony_of_230_levels_and_2_megabytes_is_bounded_work():
    text = large_symphony(230, 15_000, 2_100_000)
    assert len(text) > 1_900_000 and text.count('"step"') > 14_000
    start = time.process_time()
    found = import_text(text, "large")
    used = time.process_time() - start
    assert sum(1 for _ in nodes(found.job["tree"])) > 13_000
    assert used < 3.0  # seconds of CPU; 0.6 when the core is idle


def test_thousands_of_levels_do_not_reach_the_interpreters_limit():
    assert "nested deeper" in refused(large_symphony(1_500, 12_000, 0))
    deep = "(weight-equal [" * 1_900 + '(asset "SPY")' + "])" * 1_900
    assert tree(code(deep))["positions"] == ["SPY"]
