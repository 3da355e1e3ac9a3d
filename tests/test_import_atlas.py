"""Atlas trees, bots and Forge jobs: each repair on a small example, the twelve example trees, and what is refused."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from forge_ray.catalog import INDICATOR_BY_NAME
from forge_ray.errors import InputError
from forge_ray.tree.importers import Imported, import_text
from forge_ray.tree.importers.atlas_terms import VARIABLES, WINDOWLESS, in_fractions, in_percent
from native_format import check_job, nodes, strategies


def position(name: str = "p", *tickers: str, **fields: Any) -> dict[str, Any]:
    held = list(tickers or ("SPY",))
    return {"id": name, "kind": "position", "title": "Position", "positions": held, "children": {}} | fields


def condition(**fields: Any) -> dict[str, Any]:
    return {"id": "c1", "type": "if", "metric": "Relative Strength Index", "window": 10, "comparator": "lt",
            "ticker": "SPY", "threshold": 30} | fields  # fmt: skip


def gate(*conditions: dict[str, Any], **fields: Any) -> dict[str, Any]:
    children = {"then": [position("t")], "else": [position("e", "BIL")], "next": [None]}
    return {"id": "g", "kind": "indicator", "title": "Indicator", "conditions": list(conditions) or [condition()],
            "children": children} | fields  # fmt: skip


def group(*children: Any, **fields: Any) -> dict[str, Any]:
    return {
        "id": "root",
        "kind": "basic",
        "title": "Basic",
        "weighting": "equal",
        "children": {"next": [*children]},
    } | fields


def imported(data: Any, **options: str) -> Imported:
    text = data if isinstance(data, str) else json.dumps(data)
    found = import_text(text, "test", {key.replace("__", "."): value for key, value in options.items()})
    check_job(dict(found.job))
    return found


def tree(data: Any, **options: str) -> dict[str, Any]:
    return imported(data, **options).job["tree"]


def lines(data: Any) -> list[dict[str, Any]]:
    return [line for node in nodes(tree(data)) for line in node.get("conditions", [])]


def repairs(data: Any) -> str:
    return "\n".join(map(str, imported(data).repairs))


def refused(data: Any) -> str:
    with pytest.raises(InputError) as caught:
        imported(data)
    return str(caught.value)


def forge(base: dict[str, Any], *ranges: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"jobId": 1, "baseTree": base, "parameterRanges": list(ranges)} | fields


def span(low: float, high: float, step: float, **fields: Any) -> dict[str, Any]:
    return {"id": "r", "type": "threshold", "nodeId": "g", "conditionId": "c1", "path": "node.conditions.c1.threshold",
            "enabled": True, "min": low, "max": high, "step": step} | fields  # fmt: skip


@pytest.mark.parametrize("file", strategies("atlas"), ids=lambda file: file.name)
def test_every_example_tree_is_imported(file):
    check_job(dict(import_text(file.read_bytes(), file.name).job))


def test_a_forge_job_with_lists_and_an_off_grid_maximum_has_180_branches():
    (file,) = [file for file in strategies("atlas") if file.name.startswith("11")] or [None]
    if file is None:
        pytest.skip("the example files are not here")
    axes = import_text(file.read_bytes(), file.name).job["axes"]
    assert [axis["values"] for axis in axes.values()] == [
        ["SPY", "QQQ", "IWM"], ["BIL", "SHY"], [5, 7, 9, 11, 13, 14], "20..40 by 5",
    ]  # fmt: skip
    assert [axis["paths"] for axis in axes.values()] == [
        ["g1.c1.ticker", "p1.positions"], ["p2.positions"], ["g1.c1.window"], ["g1.c1.threshold"],
    ]  # fmt: skip


def test_the_window_of_a_child_of_a_defined_group_is_its_weight():
    found = tree(group(position("a", window=60), position("b", "TLT", window=40), weighting="defined"))
    assert [child["weight"] for child in found["children"]["next"]] == [60, 40]
    sided = gate(weightingThen="defined", children={"then": [position("a", window=1), position("b", window=2)]})
    assert tree(sided)["weightingThen"] == "defined"
    assert "all weights are 0" in repairs(group(position("a", window=0), weighting="defined"))


def test_a_weighted_function_uses_its_window_twice_and_says_so():
    ranked = {"id": "f", "kind": "function", "metric": "Rate of Change", "window": 60, "bottom": 1, "rank": "Top",
              "children": {"next": [position("a")]}}  # fmt: skip
    found = imported(group(ranked, position("b", window=40), weighting="defined"))
    inner = found.job["tree"]["children"]["next"][0]
    assert (inner["weight"], inner["window"]) == (60, 60)
    assert any("in one field" in point for point in found.open_points)


def test_function_nodes_in_native_words():
    ranked = {"id": "f", "kind": "function", "children": {"next": [position("a"), None, position("b")]}}
    found = tree(ranked)
    assert (found["metric"], found["window"], found["n"], found["rank"]) == ("Relative Strength Index", 10, 1, "bottom")
    assert len(found["children"]["next"]) == 2
    assert "rank: missing; read as bottom" in repairs(ranked)
    assert tree(ranked | {"rank": "Bottom", "bottom": 2.7})["n"] == 2
    assert tree(ranked, atlas__score="tickers")["of"] == "tickers"


FRACTIONS = ("Max Drawdown", "Drawdown", "Cumulative Return", "SMA of Returns", "Momentum (Weighted)",
             "Momentum (Unweighted)", "Momentum (12-Month SMA)", "13612W Momentum")  # fmt: skip


@pytest.mark.parametrize("metric", FRACTIONS)
def test_thresholds_on_fractions_become_percent(metric):
    (line,) = lines(gate(condition(metric=metric, threshold=0.07)))
    assert line["threshold"] == 7


def test_a_fraction_against_another_unit_stays_the_comparison_that_was_written():
    mixed = condition(metric="Max Drawdown", expanded=True, rightMetric="Rate of Change", rightWindow=5)
    found = imported(gate(mixed))
    (line,) = found.job["tree"]["conditions"]
    assert (line["metric"], line["window"], line["rightMetric"]) == ("custom:maxdd_fraction", 10, "Rate of Change")
    assert found.job["formulas"] == {"maxdd_fraction": "maxdd / 100"}
    same = condition(metric="Max Drawdown", expanded=True, rightMetric="Drawdown")
    assert lines(gate(same))[0]["rightMetric"] == "Drawdown"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("maxdd + cumret", "(maxdd / 100) + (cumret / 100)"),
        ("MaxDD*2", "(MaxDD / 100)*2"),
        ("(drawdown * 100) > 1", "drawdown > 1"),
        ("rsi + sma(close, 5)", "rsi + sma(close, 5)"),
        ("my_maxdd + maxdd_x", "my_maxdd + maxdd_x"),
    ],
)
def test_formulas_keep_their_value_in_the_other_unit(theirs, ours):
    assert in_percent(theirs) == ours
    assert in_fractions(ours) == theirs


def test_the_scale_of_fractions_is_in_percent():
    scaling = {"id": "s", "kind": "scaling", "scaleMetric": "Drawdown", "scaleTicker": "spy", "scaleFrom": 0.05,
               "scaleTo": 0.2, "children": {"then": [position("a")], "else": [position("b")]}}  # fmt: skip
    found = tree(scaling)
    assert (found["scaleFrom"], found["scaleTo"], found["scaleTicker"]) == (5, 20, "SPY")
    bare = {key: value for key, value in scaling.items() if not key.startswith("scale")}
    defaults = tree(bare)
    assert [defaults[f"scale{key}"] for key in ("Metric", "Window", "Ticker", "From", "To")] == [
        "Relative Strength Index", 14, "SPY", 0, 100,
    ]  # fmt: skip
    assert "scaleWindow: None read as 14" in repairs(bare)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (" spy ", "SPY"),
        ("XLY/xlp", {"ratio": ["XLY", "XLP"]}),
        ("branch:from", "branch:then"),
        ("Branch:Enter", "branch:then"),
        ("branch:to", "branch:else"),
        ("branch:exit", "branch:else"),
    ],
)
def test_ticker_expressions(written, read):
    assert lines(gate(condition(ticker=written)))[0]["ticker"] == read


def test_condition_types():
    three = [condition(id="a", type="or"), condition(id="b", type="if"), condition(id="c", type=None)]
    assert [line["type"] for line in lines(gate(*three))] == ["if", "if", "and"]
    items = [{"id": "i", "conditions": [condition(id="a"), condition(id="b", type=None)]}]
    counted = {"id": "n", "kind": "numbered", "numbered": {"quantifier": "all", "n": 1, "items": items},
               "children": {"then": [position("t")], "else": [None]}}  # fmt: skip
    found = tree(counted)
    assert [line["type"] for line in found["numbered"]["items"][0]["conditions"]] == ["if", "if"]
    assert "n" not in found["numbered"]


def test_windows_and_signs():
    found = lines(gate(condition(window=0, comparator="<"), condition(id="x", window=9.6, comparator=">", type="and")))
    assert [(line["window"], line["comparator"]) for line in found] == [(1, "lt"), (9, "gt")]
    assert "window: 0 read as 1" in repairs(gate(condition(window=0)))
    missing = {key: value for key, value in condition().items() if key != "window"}
    assert lines(gate(missing))[0]["window"] == 14
    assert "window" not in lines(gate(condition(metric="Current Price")))[0]


def test_dates():
    day = {"id": "c1", "type": "if", "metric": "Date", "ticker": "SPY", "comparator": "lt", "threshold": 0}
    (one,) = lines(gate(day | {"dateMonth": 12, "dateDay": 24}))
    assert one == {"id": "c1", "type": "if", "metric": "Date", "dateMonth": 12, "dateDay": 24}
    (to,) = lines(gate(day | {"dateMonth": 11, "dateDay": 1, "expanded": True, "dateTo": {"month": 4, "day": 31}}))
    assert to["dateTo"] == {"month": 4, "day": 30}
    (open_end,) = lines(gate(day | {"dateMonth": 2, "expanded": True}))
    assert open_end["dateTo"] == {"month": 2, "day": 29}


def test_old_latches_have_their_conditions_as_entry():
    old = {"id": "x", "kind": "altExit", "conditions": [condition()], "children": {"then": [position()], "else": []}}
    found = tree(old)
    assert len(found["entryConditions"]) == 1 and found["exitConditions"] == []
    assert "an old save" in repairs(old)


def test_names_and_windows_are_those_of_the_catalogue():
    known = {name: INDICATOR_BY_NAME[name] for name in VARIABLES if name in INDICATOR_BY_NAME}
    assert len(known) >= 11
    assert {name for name, one in known.items() if not one.windowed} == set(WINDOWLESS) & set(known)


def test_weightings_and_caps():
    capped = group(position("a"), position("b"), weighting="capped", maxCap=30, cappedFallback="shv", minCap=5)
    found = tree(capped)
    assert (found["weighting"], found["maxCap"], found["cappedFallback"]) == ("capped", 30, "SHV")
    assert "minCap" not in found and "minCap: not used" in repairs(capped)
    assert "cappedFallback" not in tree(capped | {"cappedFallback": "Empty"})
    volatile = tree(group(position("a"), position("b"), weighting="pro", minCap=10))
    assert (volatile["volWindow"], volatile["minCap"]) == (20, 10) and "maxCap" not in volatile


def test_ids_stay_when_they_are_valid_and_free():
    found = imported(group(position("a"), position("a"), position("b c"), position("n4")))
    ids = [node["id"] for node in nodes(found.job["tree"])]
    assert ids[:2] == ["root", "a"] and ids[4] == "n4" and len(set(ids)) == 5
    assert "used twice" in str(found.repairs) and "not made of letters" in str(found.repairs)


def test_what_is_display_goes_silently_and_the_rest_is_reported():
    shown = gate(weighting="equal", bottom=1, scaleTo=0, conditionLogic="and", collapsed=True, title="Mine")
    found = imported(shown)
    assert not found.repairs and found.job["tree"]["title"] == "Mine"
    assert "volWindow: not used by this indicator node" in repairs(gate(volWindow=50))
    leftover = gate()
    leftover["children"]["next"] = [position("z")]
    assert "never evaluates this slot" in repairs(leftover)


def test_positions():
    assert tree(position("p", "spy", "", "Empty"))["positions"] == ["SPY", "Empty", "Empty"]
    assert tree(position() | {"positions": []})["positions"] == ["Empty"]


def test_bots_bring_calls_formulas_and_settings():
    call = {"id": "k", "kind": "call", "callRefId": "cc-1", "children": {}}
    use = gate(condition(metric="custom:ci_x"))
    chain = {"id": "cc-1", "name": "One", "root": position("a"), "collapsed": False}
    formula = {"id": "ci_x", "name": "X", "formula": "drawdown * 2", "createdAt": 0}
    bot = {"id": "b", "name": "Bot", "payload": json.dumps(group(call, use)), "backtestMode": "OO", "tags": [],
           "backtestCostBps": 2, "callChains": [chain], "customIndicators": [formula]}  # fmt: skip
    job = imported(bot).job
    assert job["calls"]["cc-1"]["positions"] == ["SPY"]
    assert job["formulas"] == {"ci_x": "(drawdown / 100) * 2"}
    assert job["execution"] == {"mode": "OO", "cost_bps": 2} and job["name"] == "Bot"


def test_numeric_ranges_become_axes():
    other = condition(id="c2", type="and")
    job = imported(forge(gate(condition(), other), span(20, 40, 5), span(0, 1, 0.1, conditionId="c2"))).job
    assert [axis["values"] for axis in job["axes"].values()] == ["20..40 by 5", "0..1 by 0.1"]
    assert not imported(forge(gate(), span(20, 40, 5, enabled=False))).job.get("axes")
    drawdown = gate(condition(metric="Max Drawdown", threshold=0.1))
    axes = imported(forge(drawdown, span(0.05, 0.22, 0.05))).job["axes"]
    assert axes["g_c1_threshold"] == {"paths": ["g.c1.threshold"], "values": [5, 10, 15, 20, 22]}


def test_ranges_of_nodes_and_of_every_condition_list():
    ranked = {"id": "f", "kind": "function", "metric": "Rate of Change", "window": 60, "bottom": 1, "rank": "Top",
              "children": {"next": [position("a")]}}  # fmt: skip
    latch = {"id": "x", "kind": "altExit", "entryConditions": [condition(id="in")], "exitConditions": [],
             "children": {"then": [position("b")], "else": []}}  # fmt: skip
    ranges = [span(5, 10, 1, type="period", nodeId="f", conditionId=None, path="node.window"),
              span(1, 2, 1, type="period", nodeId="f", conditionId=None, path="node.bottom"),
              span(5, 9, 2, type="period", nodeId="x", conditionId="in", path="node.entryConditions.in.window"),
    ]  # fmt: skip
    axes = imported(forge(group(ranked, latch), *ranges)).job["axes"]
    assert [axis["paths"][0] for axis in axes.values()] == ["f.window", "f.n", "x.in.window"]


def listed(**fields: Any) -> dict[str, Any]:
    return {"id": "l", "type": "ticker_list", "enabled": True, "tickerListId": "L", "tickers": ["spy", "QQQ"],
            "nodeId": "g", "path": "node.conditions.c1.ticker"} | fields  # fmt: skip


def test_a_ticker_list_is_one_axis_and_the_outermost():
    base = gate(condition(ticker="list:L", expanded=True, rightMetric="Simple Moving Average", rightWindow=5))
    base["children"]["then"] = [position("t", "Empty", positionMode="match_indicator")]
    base["children"]["else"] = [position("e", "list:L")]
    job = imported(forge(base, span(20, 40, 5, type="period", path="node.conditions.c1.window"), listed())).job
    assert list(job["axes"]) == ["ticker_l", "g_c1_window"]
    assert job["axes"]["ticker_l"] == {
        "paths": ["g.c1.ticker", "g.c1.rightTicker", "t.positions", "e.positions"], "values": ["SPY", "QQQ"],
    }  # fmt: skip


def test_a_list_without_tickers_leaves_the_written_ticker():
    base = gate(condition(tickerListId="L", tickerListName="Signals"))
    assert lines(base)[0]["ticker"] == "SPY" and "has no tickers in this file" in repairs(base)


def test_settings_split_and_requirements_of_a_forge_job():
    options = {"mode": "OC", "costBps": 1, "benchmarkTicker": "spy",
               "splitConfig": {"enabled": True, "strategy": "even_odd_year"}}  # fmt: skip
    rules = [("sharpe", "at_least", 1), ("maxDrawdown", "at_most", 30), ("treynor", "at_least", 0.1)]
    requirements = [{"id": "x", "type": "metric", "metric": m, "comparison": c, "value": v} for m, c, v in rules]
    months = {"id": "y", "type": "live_months", "comparison": "at_least", "value": 12}
    job = imported(forge(gate(), options=options, requirements=[*requirements, months])).job
    assert job["execution"] == {"mode": "OC", "cost_bps": 1} and job["benchmark"] == "SPY"
    assert job["split"] == "even_odd_year"
    assert job["require"] == {"is.sharpe": ">= 1", "is.max_drawdown": "<= 30%", "is.treynor": ">= 10%",
                              "is.n_days": ">= 252"}  # fmt: skip
    negative = [{"type": "metric", "metric": "maxDrawdown", "comparison": "at_least", "value": -20}]
    assert imported(forge(gate(), requirements=negative)).job["require"] == {"is.max_drawdown": "<= 20%"}


def changed(data: Any, **fields: Any) -> Any:
    return copy.deepcopy(data) | fields


LADDER = {"id": "n", "kind": "numbered", "numbered": {"quantifier": "ladder", "items": [
    {"id": "i", "conditions": [condition(ticker="branch:then")]}]}, "children": {"ladder-0": [position()]}}  # fmt: skip
ROLLING = {"id": "r", "kind": "rolling", "children": {"next": [position()]}}
SCALING = {"id": "s", "kind": "scaling", "scaleWindow": 5, "scaleTicker": "SPY", "scaleMetric": "CCI", "scaleFrom": 1,
           "scaleTo": 1, "children": {"then": [position()], "else": []}}  # fmt: skip
CHAIN = {"id": "c", "name": "n", "root": {"id": "k", "kind": "call", "callRefId": "zz"}}
BAD_TREES: dict[str, tuple[Any, str, str]] = {
    "kind": (changed(gate(), kind="gate"), "kind", "unknown kind 'gate'; allowed: basic, function"),
    "node": (group(5), "children.next[0]", "expected a node (an object), got 5"),
    "field": (gate(foo=1), "foo", "unknown field 'foo'"),
    "native field": (gate(weight=5), "weight", "a native tree needs no import"),
    "rolling": (ROLLING, "kind", "walk-forward is no part of a tree; allowed: basic"),
    "metric": (gate(condition(metric="RSI")), "conditions[0].metric", "unknown indicator 'RSI'"),
    "custom": (gate(condition(metric="custom:ci_1")), "conditions[0].metric", "unknown custom indicator 'ci_1'"),
    "comparator": (
        gate(condition(comparator="gte")), "conditions[0].comparator",
        "allowed: lt, gt, crossAbove, crossBelow",
    ),
    "no comparator": (gate(condition(comparator=None)), "conditions[0].comparator", "unknown comparator None"),
    "threshold": (gate(condition(threshold=None)), "conditions[0].threshold", "missing; expected a number"),
    "threshold text": (gate(condition(threshold="x")), "conditions[0].threshold", "expected a finite number, got 'x'"),
    "window": (gate(condition(window="x")), "conditions[0].window", "expected a whole number from 1"),
    "ticker": (gate(condition(ticker="")), "conditions[0].ticker", "expected a ticker with prices, got ''"),
    "bad ticker": (gate(condition(ticker="A B")), "conditions[0].ticker", "got 'A B'"),
    "ratio": (gate(condition(ticker="A/B/C")), "conditions[0].ticker", "expected a ticker or a ratio A/B"),
    "branch": (gate(condition(ticker="branch:up")), "conditions[0].ticker", "unknown branch 'branch:up'"),
    "branch of a ladder": (LADDER, "conditions[0].ticker", "this node has no branches then and else"),
    "list": (gate(condition(ticker="list:L")), "conditions[0].ticker", "unknown ticker list 'L'"),
    "auto": (gate(condition(ticker="AUTO")), "conditions[0].ticker", "no condition above uses a ticker list"),
    "cross": (gate(condition(comparator="crossAbove", forDays=2)), "conditions[0].forDays", "a cross cannot last"),
    "forDays": (gate(condition(forDays=0)), "conditions[0].forDays", "expected a whole number from 1"),
    "condition": (gate(conditions=[5]), "conditions[0]", "expected a condition (an object), got 5"),
    "condition field": (gate(condition(operator="<")), "conditions[0].operator", "unknown field 'operator'"),
    "conditions": (gate(conditions={}), "conditions", "expected a list, got {}"),
    "month": (gate(condition(metric="Date", dateMonth=13)), "dateMonth", "from 1 to 12, got 13"),
    "day": (gate(condition(metric="Date", dateMonth=2, dateDay=30)), "dateDay", "there is no day 30 in month 2"),
    "weighting": (
        group(position(), weighting="randomly"), "weighting",
        "allowed: equal, defined, inverse, pro, capped",
    ),
    "no weight": (
        group(position("a"), position("b", window=1), weighting="defined"), "next[0].window",
        "a weight >= 0",
    ),
    "negative weight": (group(position(window=-1), weighting="defined"), "next[0].window", "got -1"),
    "cap": (group(position(), weighting="capped", maxCap=130), "maxCap", "percent from 0 to 100, got 130"),
    "caps": (group(position(), weighting="pro", maxCap=60), "maxCap", "1 children of 0 to 60 percent cannot add up"),
    "closes only": (gate(condition(metric="ATR", ticker="A/B")), "conditions[0].metric", "ATR needs high, low, close"),
    "volWindow": (group(position(), weighting="pro", volWindow=0), "volWindow", "expected a whole number from 1"),
    "slot": (changed(gate(), children={"thn": []}), "children.thn", "did you mean 'then'?"),
    "slot list": (changed(gate(), children={"then": 5}), "children.then", "expected a list of nodes, got 5"),
    "children": (changed(gate(), children=[]), "children", "expected an object, got []"),
    "position object": (
        position() | {"positions": [{"ticker": "A", "weight": 1}]}, "positions[0]",
        "objects cannot be held",
    ),
    "position ratio": (position("p", "A/B"), "positions[0]", "cannot be held"),
    "position mode": (position(positionMode="auto"), "positionMode", "manual, ticker_list, match_indicator"),
    "match": (position(positionMode="match_indicator"), "positionMode", "no condition above uses a ticker list"),
    "rank": (
        {"id": "f", "kind": "function", "rank": "Best", "window": 5, "children": {}}, "rank",
        "allowed: Top, Bottom",
    ),
    "bottom": ({"id": "f", "kind": "function", "bottom": "x", "children": {}}, "bottom", "how many to keep"),
    "quantifier": (
        changed(LADDER, numbered={"quantifier": "some", "items": []}), "numbered.quantifier",
        "allowed: any, all",
    ),
    "no items": (
        changed(LADDER, numbered={"quantifier": "any", "items": []}), "numbered.items",
        "expected at least one",
    ),
    "no n": (
        changed(LADDER, numbered={"quantifier": "exactly", "items": []}), "numbered.n",
        "missing; expected a number",
    ),
    "scale": (SCALING, "scaleTo", "1 is scaleFrom too; expected two different ends"),
    "call": ({"id": "k", "kind": "call", "callRefId": "x"}, "callRefId", "unknown call chain 'x'"),
}  # fmt: skip
BAD_JOBS: dict[str, tuple[Any, str, str]] = {
    "payload": ({"payload": 5}, "payload", "expected a tree, or its JSON text, got 5"),
    "compressed": ({"payload": "H4sIAAAA"}, "payload", "not compressed"),
    "payload text": ({"payload": "{"}, "payload: line 1", "the text ends too early"),
    "bot field": ({"payload": position(), "foo": 1}, "foo", "unknown field 'foo'"),
    "bot mode": ({"payload": position(), "backtestMode": "XX"}, "backtestMode", "allowed: CC, CO, OO, OC"),
    "bot cost": ({"payload": position(), "backtestCostBps": "x"}, "backtestCostBps", "expected a finite number"),
    "chain": (
        {"payload": position(), "callChains": [CHAIN]}, "callChains[0].root.callRefId",
        "unknown call chain 'zz'",
    ),
    "chains": ({"payload": position(), "callChains": [5]}, "callChains[0]", "expected an object, got 5"),
    "doubled chain": ({"payload": position(), "callChains": [CHAIN, CHAIN]}, "callChains[1].id", "used once, got 'c'"),
    "formula": (
        {"payload": position(), "customIndicators": [{"id": "x"}]}, "customIndicators[0].formula",
        "expected text",
    ),
    "branches": ({"baseTree": position(), "branches": []}, "branches", "expected a baseTree with parameterRanges"),
    "range node": (forge(gate(), span(1, 2, 1, nodeId="zz")), "parameterRanges[0].nodeId", "unknown node 'zz'"),
    "range condition": (
        forge(gate(), span(1, 2, 1, conditionId="c9")), "parameterRanges[0].conditionId",
        "allowed: c1",
    ),
    "range field": (
        forge(gate(), span(1, 2, 1, path="node.conditions.c1.metric")), "parameterRanges[0].path",
        "allowed: window",
    ),
    "range twice": (forge(gate(), span(1, 2, 1), span(1, 2, 1)), "parameterRanges[1].path", "a second range of g.c1"),
    "range step": (forge(gate(), span(1, 2, 0)), "parameterRanges[0]", "a step above 0"),
    "range ends": (forge(gate(), span(3, 2, 1)), "parameterRanges[0]", "expected min <= max"),
    "range size": (forge(gate(), span(0, 1e9, 1)), "parameterRanges[0]", "at most 1,000,000 values"),
    "range min": (forge(gate(), span(None, 2, 1)), "parameterRanges[0].min", "missing; expected a number"),
    "range whole": (
        forge(gate(), span(1, 2, 0.5, path="node.conditions.c1.window")), "parameterRanges[0]",
        "window takes whole numbers",
    ),
    "range type": (
        forge(gate(), span(1, 2, 1, type="x")), "parameterRanges[0].type",
        "allowed: period, threshold, ticker_list",
    ),
    "range": (forge(gate(), 5), "parameterRanges[0]", "expected a range (an object), got 5"),
    "list tickers": (forge(gate(), listed(tickers=[])), "parameterRanges[0]", "at least one of tickers"),
    "rolling split": (
        forge(gate(), options={"splitConfig": {"strategy": "rolling"}}), "splitConfig.strategy",
        "walk-forward is no split",
    ),
    "rolling inside": (forge(group(ROLLING)), "baseTree.children.next[0].kind", "walk-forward is no part of a tree"),
    "rolling job": (
        forge(ROLLING, options={"splitConfig": {"strategy": "rolling"}}), "baseTree.kind",
        "walk-forward is no part of a tree",
    ),
    "split": (
        forge(gate(), options={"splitConfig": {"strategy": "x"}}), "splitConfig.strategy",
        "allowed: chronological",
    ),
    "percent": (
        forge(gate(), options={"splitConfig": {"strategy": "chronological", "chronologicalPercent": 120}}),
        "chronologicalPercent", "percent between 0 and 100, got 120",
    ),
    "option": (forge(gate(), options={"modus": 1}), "options.modus", "did you mean 'mode'?"),
    "requirement": (
        forge(gate(), requirements=[{"type": "metric", "metric": "sharp", "comparison": "at_least", "value": 1}]),
        "requirements[0].metric", "did you mean 'sharpe'?",
    ),
    "comparison": (
        forge(gate(), requirements=[{"type": "metric", "metric": "sharpe", "comparison": ">", "value": 1}]),
        "requirements[0].comparison", "allowed: at_least, at_most",
    ),
    "two bounds": (
        forge(gate(), requirements=[{"type": "metric", "metric": "cagr", "comparison": "at_least", "value": 1}] * 2),
        "requirements[1]", "a second bound on is.cagr; allowed: one",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_TREES)
def test_malformed_trees_are_refused_with_place_and_what_is_allowed(name):
    data, *fragments = BAD_TREES[name]
    message = refused(data)
    assert all(fragment in message for fragment in fragments), message


@pytest.mark.parametrize("name", BAD_JOBS)
def test_malformed_jobs_are_refused_with_place_and_what_is_allowed(name):
    data, *fragments = BAD_JOBS[name]
    message = refused(data)
    assert all(fragment in message for fragment in fragments), message


def test_a_deep_tree_is_read_without_recursion():
    node: dict[str, Any] = position("p0")
    text = json.dumps(node)
    for k in range(900):
        text = f'{{"id": "b{k}", "kind": "basic", "children": {{"next": [{text}]}}}}'
    assert sum(1 for _ in nodes(tree(text))) == 901


UNKNOWN = "a gate whose condition is unknown after the start holds cash and is counted"


def test_what_an_unknown_condition_does_is_a_choice():
    """Atlas takes it for false."""
    bot = {"name": "Bot", "payload": gate()}
    for data in (gate(), bot):
        assert any(UNKNOWN in point for point in imported(data).open_points)
        assert "null" not in imported(data).job.get("execution", {})
        as_atlas = imported(data, atlas__null="else")
        assert not any(UNKNOWN in point for point in as_atlas.open_points)
        assert as_atlas.job["execution"]["null"] == "else"
    assert not imported(position()).open_points


def test_a_scaling_without_a_value_is_an_open_point():
    scaling = {"id": "s", "kind": "scaling", "scaleMetric": "RSI (SMA)", "scaleTicker": "SPY", "scaleWindow": 9,
               "scaleFrom": 0, "scaleTo": 100, "children": {"then": [position()], "else": []}}  # fmt: skip
    assert "a scaling whose value is unknown holds cash" in str(imported(scaling).open_points)
