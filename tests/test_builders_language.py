"""The whole language from Python: every node, weighting, count and reference is the JSON written by hand."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import forge_ray as fr
from forge_ray.errors import InputError
from forge_ray.sweep import Sweep, parse_job
from forge_ray.tree import builders, tree_hash
from forge_ray.tree.builders import Conditions, Count, Draft
from forge_ray.tree.domains import RANKS, SCORES
from forge_ray.tree.nodes import Comparator, Kind, Quantifier, Weighting
from whole_trees import WholeTree, random_whole

Json = dict[str, Any]
DATA = "sample:us20"

A, B, C = fr.hold("AAPL"), fr.hold("KO"), fr.hold("XOM")
LOW, UP = fr.rsi("SPX", 2) < 10, fr.roc("SPX", 5) > 0
GAP = fr.formula("GAP", "close / sma - 1")
TECH = fr.ticker_list("TECH", "AAPL", "MSFT")


def position(id: str, *tickers: str, **fields: float) -> Json:
    return {"id": id, "kind": "position", "positions": list(tickers), **fields}


def line(id: str, metric: str, window: int | None, comparator: str, threshold: float, **fields: Any) -> Json:
    windowed = {} if window is None else {"window": window}
    return {"id": id, "metric": metric, "ticker": "SPX", "comparator": comparator, "threshold": threshold} | (
        windowed | fields
    )


def low(id: str = "c1") -> Json:
    return line(id, "RSI", 2, "lt", 10)


def up(id: str = "c2") -> Json:
    return line(id, "ROC", 5, "gt", 0)


def two_sides(kind: str, **fields: Any) -> Json:
    return {"id": "n1", "kind": kind, **fields,
            "children": {"then": [position("n2", "AAPL")], "else": [position("n3", "CASH")]}}  # fmt: skip


def side_by_side(kind: str, **fields: Any) -> Json:
    return {"id": "n1", "kind": kind, **fields,
            "children": {"next": [position("n2", "AAPL"), position("n3", "KO")]}}  # fmt: skip


def gate(**fields: Any) -> Json:
    return two_sides("indicator", conditions=[{"id": "c1", **fields}])


def numbered(quantifier: str, **n: int) -> Json:
    items = [{"id": "i1", "conditions": [low()]}, {"id": "i2", "conditions": [up()]}]
    return two_sides("numbered", numbered={"quantifier": quantifier, **n, "items": items})


def rungs(**fields: Any) -> Json:
    items = [{"id": "low", "conditions": [low()]}]
    return {"id": "n1", "kind": "numbered", "numbered": {"quantifier": "ladder", "items": items}} | fields


SIDE = {"minCapThen": 20, "maxCapThen": 80, "weightingElse": "capped", "maxCapElse": 50, "cappedFallbackElse": "KO"}
PAIRS: dict[str, tuple[Draft, Json]] = {
    "top": (
        fr.top(1, A, B, by="RSI", window=10),
        {"tree": side_by_side("function", rank="top", n=1, metric="RSI", window=10)},
    ),
    "bottom by a windowless indicator of the equity": (
        fr.bottom(2, A, B, by="Drawdown", of="equity"),
        {"tree": side_by_side("function", rank="bottom", n=2, metric="Drawdown", of="equity")},
    ),
    "weighted top by a formula over tickers": (
        fr.top(2, A, B, by=GAP, window=9, of="tickers", weights=fr.inverse_volatility(30, min_cap=10, max_cap=60)),
        {"tree": side_by_side("function", rank="top", n=2, metric="custom:GAP", window=9, of="tickers",
                              weighting="inverse", volWindow=30, minCap=10, maxCap=60),
         "formulas": {"GAP": "close / sma - 1"}},
    ),
    "swept rank": (
        fr.ranked(fr.axis("r", RANKS), fr.axis("k", "1..2"), A, B, by=fr.axis("m", ["RSI", "ROC"]), window=5,
                  of=fr.axis("of", SCORES)),
        {"tree": side_by_side("function", rank="$r", n="$k", metric="$m", window=5, of="$of"),
         "axes": {"m": ["RSI", "ROC"], "r": ["top", "bottom"], "k": "1..2", "of": list(SCORES)}},
    ),
    "any": (fr.if_(fr.any_of(LOW, UP), A, fr.cash()), {"tree": numbered("any")}),
    "all": (fr.if_(fr.all_of(LOW, UP), A, fr.cash()), {"tree": numbered("all")}),
    "none": (fr.if_(fr.none_of(LOW, UP), A, fr.cash()), {"tree": numbered("none")}),
    "exactly": (fr.if_(fr.exactly(1, LOW, UP), A, fr.cash()), {"tree": numbered("exactly", n=1)}),
    "at least": (fr.if_(fr.at_least(1, LOW, UP), A, fr.cash()), {"tree": numbered("atLeast", n=1)}),
    "at most": (fr.if_(fr.at_most(0, LOW, UP), A, fr.cash()), {"tree": numbered("atMost", n=0)}),
    "swept count with ids": (
        fr.if_(fr.count(fr.axis("q", ["any", "exactly"]), {"a": LOW & UP}, UP, n=fr.axis("k", "0..1")), A, fr.cash()),
        {"tree": two_sides("numbered", numbered={"quantifier": "$q", "n": "$k", "items": [
            {"id": "a", "conditions": [low(), up()]}, {"id": "i2", "conditions": [up("c3")]}]}),
         "axes": {"q": ["any", "exactly"], "k": "0..1"}},
    ),
    "ladder": (
        fr.ladder([A, [B, C]], {"low": LOW}, weights=fr.pro_volatility()),
        {"tree": rungs(weighting="pro", children={
            "ladder-0": [position("n2", "AAPL")], "ladder-1": [position("n3", "KO"), position("n4", "XOM")]})},
    ),
    "ladder by weight": (
        fr.ladder([A, [B, C]], {"low": LOW}, weights=[[1], [60, 40]]),
        {"tree": rungs(weighting="defined", children={
            "ladder-0": [position("n2", "AAPL", weight=1)],
            "ladder-1": [position("n3", "KO", weight=60), position("n4", "XOM", weight=40)]})},
    ),
    "latch": (
        fr.latch(LOW, UP & (fr.price(fr.THEN_EQUITY) < fr.sma(fr.THEN_EQUITY, 9)), A, fr.cash()),
        {"tree": two_sides("altExit", entryConditions=[low()], exitConditions=[
            up(), {"id": "c3", "type": "and", "metric": "Price", "ticker": "branch:enter", "comparator": "lt",
                   "expanded": True, "rightMetric": "SMA", "rightWindow": 9}])},
    ),
    "blend": (
        fr.blend(fr.rsi(fr.ratio("AAPL", "KO"), 10), 30, 70, A, fr.cash()),
        {"tree": two_sides("scaling", scaleMetric="RSI", scaleWindow=10, scaleTicker={"ratio": ["AAPL", "KO"]},
                           scaleFrom=30, scaleTo=70)},
    ),
    "blend of a windowless signal": (
        fr.blend(fr.drawdown("SPX"), fr.axis("x", [0, 5]), 20, A, fr.cash()),
        {"tree": two_sides("scaling", scaleMetric="Drawdown", scaleTicker="SPX", scaleFrom="$x", scaleTo=20),
         "axes": {"x": [0, 5]}},
    ),
    "weightings of sides": (
        fr.if_(LOW, [A, B], [B, C], then_weights=fr.pro_volatility(min_cap=20, max_cap=80),
               else_weights=fr.capped(50, "KO")),
        {"tree": {"id": "n1", "kind": "indicator", "conditions": [low()], "weightingThen": "pro", **SIDE, "children": {
            "then": [position("n2", "AAPL"), position("n3", "KO")],
            "else": [position("n4", "KO"), position("n5", "XOM")]}}},
    ),
    "weights of a side": (
        fr.if_(LOW, [A, B], [], then_weights=[1, 3]),
        {"tree": {"id": "n1", "kind": "indicator", "conditions": [low()], "weightingThen": "defined", "children": {
            "then": [position("n2", "AAPL", weight=1), position("n3", "KO", weight=3)]}}},
    ),
    "a cap without fallback": (
        fr.group(A, B, weights=fr.capped(30)), {"tree": side_by_side("basic", weighting="capped", maxCap=30)},
    ),
    "swept weighting": (
        fr.group(A, B, weights=fr.weighting(fr.axis("w", list(Weighting)), window=10, weights=[1, 2],
                                            fallback=fr.axis("to", ["KO", "CASH"]))),
        {"tree": {"id": "n1", "kind": "basic", "weighting": "$w", "volWindow": 10, "cappedFallback": "$to",
                  "children": {"next": [position("n2", "AAPL", weight=1), position("n3", "KO", weight=2)]}},
         "axes": {"w": list(Weighting), "to": ["KO", "CASH"]}},
    ),
    "a call that brings its definition": (
        fr.group(fr.call("core", fr.if_(LOW, A, fr.cash())), fr.call("core", fr.if_(LOW, A, fr.cash()), id="again")),
        {"tree": {"id": "n1", "kind": "basic", "children": {"next": [
            {"id": "n2", "kind": "call", "callRefId": "core"}, {"id": "again", "kind": "call", "callRefId": "core"}]}},
         "calls": {"core": two_sides("indicator", conditions=[low()])}},
    ),
    "an equity on the right": (
        fr.if_(fr.price("SPX").crosses_below(fr.price(fr.ELSE_EQUITY)), A, fr.cash()),
        {"tree": gate(metric="Price", ticker="SPX", comparator="crossBelow", expanded=True, rightTicker="branch:else")},
    ),
    "a ratio": (
        fr.if_((fr.rsi(fr.ratio("AAPL", fr.axis("t", ["KO", "XOM"])), 10) >= 50).for_days(2), A, fr.cash()),
        {"tree": gate(metric="RSI", window=10, ticker={"ratio": ["AAPL", "$t"]}, comparator="gte", threshold=50,
                      forDays=2), "axes": {"t": ["KO", "XOM"]}},
    ),
    "any ticker, each against itself": (
        fr.if_(fr.price(fr.any_ticker("AAPL", TECH)).crosses_above(fr.sma(fr.any_ticker("AAPL", TECH), 20)),
               fr.hold(TECH, "CASH"), fr.cash()),
        {"tree": {"id": "n1", "kind": "indicator", "conditions": [
            {"id": "c1", "metric": "Price", "ticker": {"any": ["AAPL", "AAPL", "MSFT"]}, "comparator": "crossAbove",
             "expanded": True, "rightMetric": "SMA", "rightWindow": 20}],
            "children": {"then": [position("n2", "AAPL", "MSFT", "CASH")], "else": [position("n3", "CASH")]}}},
    ),
    "all tickers": (
        fr.if_(fr.rsi(fr.all_tickers(TECH), 10) <= 40, A, fr.cash()),
        {"tree": gate(metric="RSI", window=10, ticker={"all": "list:TECH"}, comparator="lte", threshold=40),
         "lists": {"TECH": ["AAPL", "MSFT"]}},
    ),
    "an axis over a list and over formulas": (
        fr.if_(fr.indicator(fr.axis("m", [GAP, "ROC"]), fr.axis("t", TECH), 9) > 0, A, fr.cash()),
        {"tree": gate(metric="$m", window=9, ticker="$t", comparator="gt", threshold=0),
         "axes": {"m": ["custom:GAP", "ROC"], "t": "list:TECH"}, "formulas": {"GAP": "close / sma - 1"},
         "lists": {"TECH": ["AAPL", "MSFT"]}},
    ),
    "formulas with and without a window": (
        fr.if_(GAP("SPX", 20) > fr.formula("UP", "close - open")("SPX"), A, fr.cash()),
        {"tree": gate(metric="custom:GAP", window=20, ticker="SPX", comparator="gt", expanded=True,
                      rightMetric="custom:UP"), "formulas": {"GAP": "close / sma - 1", "UP": "close - open"}},
    ),
    "dates": (
        fr.if_(fr.between_dates((11, 1), (4, fr.axis("d", "1..30"))).named("winter") | fr.on_date(7, 4), A, fr.cash()),
        {"tree": two_sides("indicator", conditions=[
            {"id": "winter", "metric": "Date", "dateMonth": 11, "dateDay": 1, "dateTo": {"month": 4, "day": "$d"}},
            {"id": "c2", "type": "or", "metric": "Date", "dateMonth": 7, "dateDay": 4}]), "axes": {"d": "1..30"}},
    ),
}  # fmt: skip


def hashes(search: Sweep) -> list[str]:
    return [tree_hash(tree) for tree in search.trees]


@pytest.mark.parametrize(("written", "job"), PAIRS.values(), ids=PAIRS)
def test_python_and_json_are_the_same_search(written: Draft, job: Json):
    search, native = fr.sweep(written, data=DATA), parse_job(job | {"data": DATA})
    assert hashes(search) == hashes(native)
    assert search.run_id("same data") == native.run_id("same data")
    assert repr(written)


def written_values(key: str) -> set[Any]:
    """What the trees of `PAIRS` hold under a key that begins so, at any depth."""
    found, stack = set(), [written.job() for written, _ in PAIRS.values()]
    while stack:
        item = stack.pop()
        for name, value in item.items() if isinstance(item, dict) else enumerate(item):
            if isinstance(value, dict | list):
                stack.append(value)
            elif str(name).startswith(key):
                found.add(value)
    return found


@pytest.mark.parametrize(
    ("key", "names"),
    [
        *(("kind", Kind), ("quantifier", Quantifier), ("comparator", Comparator)),
        *(("weighting", set(Weighting) - {"equal"}), ("rank", RANKS), ("of", set(SCORES) - {"allocation"})),
    ],
)
def test_every_name_of_the_language_is_written_by_a_builder(key: str, names: Any):
    """The defaults, equal and allocation, are not written."""
    assert {value for value in written_values(key) if not value.startswith("$")} == set(names)


# ---------------------------------------------------------------- random trees, read from JSON and written in Python


def in_python(node: Json, whole: WholeTree) -> Draft:
    """The builders that write a node."""
    slots = {slot: [in_python(child, whole) for child in children if child is not None]
             for slot, children in node.get("children", {}).items()}  # fmt: skip
    then, else_, members = (slots.get(slot, []) for slot in ("then", "else", "next"))
    sides = {name: rule(node, suffix, slot) for name, suffix, slot in
             (("then_weights", "Then", "then"), ("else_weights", "Else", "else"))}  # fmt: skip
    id = node["id"]
    match node["kind"]:
        case "position":
            return fr.hold(*(named_list(name, whole) for name in node["positions"]), id=id)
        case "call":
            return fr.call(node["callRefId"], in_python(whole.calls[node["callRefId"]], whole), id=id)
        case "basic":
            return fr.group(*members, weights=rule(node, "", "next"), id=id)
        case "function":
            build = fr.top if node["rank"] == "top" else fr.bottom
            return build(node["n"], *members, by=metric(node["metric"], whole), window=node.get("window"),
                         of=node.get("of"), weights=rule(node, "", "next"), id=id)  # fmt: skip
        case "indicator":
            return fr.if_(conditions(node["conditions"], whole), then, else_, id, **sides)
        case "altExit":
            enter, leave = (conditions(node[name], whole) for name in ("entryConditions", "exitConditions"))
            return fr.latch(enter, leave, then, else_, id, **sides)
        case "scaling":
            by = signal(node, "scaleMetric", "scaleTicker", "scaleWindow", whole)
            return fr.blend(by, node["scaleFrom"], node["scaleTo"], then, else_, id, **sides)
        case "numbered":
            items = {item["id"]: conditions(item["conditions"], whole) for item in node["numbered"]["items"]}
            if node["numbered"]["quantifier"] != "ladder":
                return fr.if_(counted(node["numbered"], items), then, else_, id, **sides)
            steps = [slots.get(f"ladder-{k}", []) for k in range(len(items) + 1)]
            if node.get("weighting") != "defined":
                return fr.ladder(steps, items, weights=rule(node, "", ""), id=id)
            weights = [rule(node, "", f"ladder-{k}") for k in range(len(steps))]
            return fr.ladder(steps, items, weights=weights, id=id)
    raise AssertionError(node["kind"])


def rule(node: Json, suffix: str, slot: str) -> Any:
    window, least, most, fallback = (
        node.get(name + suffix) for name in ("volWindow", "minCap", "maxCap", "cappedFallback")
    )
    match node.get(f"weighting{suffix}"):
        case "defined":
            return [child["weight"] for child in node.get("children", {}).get(slot, []) if child is not None]
        case "inverse":
            return fr.inverse_volatility(window, min_cap=least, max_cap=most)
        case "pro":
            return fr.pro_volatility(window, min_cap=least, max_cap=most)
        case "capped":
            return fr.capped(most, fallback)
    return None


def counted(numbered: Json, items: dict[str, Conditions]) -> Count:
    match numbered["quantifier"]:
        case "any":
            return fr.any_of(items)
        case "all":
            return fr.all_of(items)
        case "none":
            return fr.none_of(items)
        case "exactly":
            return fr.exactly(numbered["n"], items)
        case "atLeast":
            return fr.at_least(numbered["n"], items)
        case _:
            return fr.at_most(numbered["n"], items)


def conditions(lines: list[Json], whole: WholeTree) -> Conditions:
    terms: list[Conditions] = []
    for k, written in enumerate(lines):
        condition = one_line(written, whole).named(written["id"])
        if k and written.get("type", "and") == "and":
            terms[-1] = terms[-1] & condition
        else:
            terms.append(condition)
    whole_list = terms[0]
    for term in terms[1:]:
        whole_list = whole_list | term
    return whole_list


def one_line(written: Json, whole: WholeTree) -> Conditions:
    if written["metric"] == "Date":
        first, last = (written["dateMonth"], written["dateDay"]), written.get("dateTo")
        return fr.between_dates(first, (last["month"], last["day"])) if last else fr.on_date(*first)
    left = signal(written, "metric", "ticker", "window", whole)
    right: Any = written.get("threshold")
    if written.get("expanded"):
        inherited = {f"right{name.capitalize()}": written.get(name) for name in ("metric", "ticker", "window")}
        right = signal(inherited | written, "rightMetric", "rightTicker", "rightWindow", whole)
    return left.compare(written["comparator"], right).for_days(written.get("forDays", 1))


def signal(data: Json, metric_name: str, ticker_name: str, window_name: str, whole: WholeTree) -> Any:
    ticker = data[ticker_name]
    if isinstance(ticker, dict):
        ((key, tickers),) = ticker.items()
        build = {"ratio": fr.ratio, "any": fr.any_ticker, "all": fr.all_tickers}[key]
        ticker = build(*(named_list(name, whole) for name in ([tickers] if isinstance(tickers, str) else tickers)))
    return fr.indicator(metric(data[metric_name], whole), ticker, data.get(window_name))


def metric(name: str, whole: WholeTree) -> Any:
    found = name.removeprefix("custom:")
    return name if found == name else fr.formula(found, whole.formulas[found])


def named_list(ticker: str, whole: WholeTree) -> Any:
    found = ticker.removeprefix("list:")
    return ticker if found == ticker else fr.ticker_list(found, *whole.lists[found])


def without_inner_ifs(tree: Json) -> Json:
    """An ``if`` within a list begins a new term, as ``or`` does, which is what Python writes."""
    stack = [tree]
    while stack:
        node = stack.pop()
        stack += [child for slot in node.get("children", {}).values() for child in slot if child is not None]
        for lines in condition_lists(node):
            for written in lines[1:]:
                if written.get("type") == "if":
                    written["type"] = "or"
    return tree


def condition_lists(node: Json) -> Iterator[list[Json]]:
    yield from (node[name] for name in ("conditions", "entryConditions", "exitConditions") if name in node)
    yield from (item["conditions"] for item in node.get("numbered", {}).get("items", []))


@pytest.mark.parametrize("seed", range(300))
def test_random_trees_of_the_whole_language_are_the_same_from_python(seed: int):
    whole = random_whole(random.Random(seed), ["AAPL", "KO", "XOM"], seed % 5)
    search = fr.sweep(in_python(whole.tree, whole), data=DATA)
    calls = {name: without_inner_ifs(tree) for name, tree in whole.calls.items()}
    native = parse_job({"data": DATA, "tree": without_inner_ifs(whole.tree), **whole.job(), "calls": calls})
    assert hashes(search) == hashes(native)
    assert search.formulas == native.formulas


# ---------------------------------------------------------------- what comes along


def test_calls_within_calls_come_along_with_what_they_use():
    inner = fr.if_(GAP("SPX", fr.axis("n", "5..7")) > 0, fr.hold(TECH), fr.cash())
    tree = fr.group(fr.call("outer", fr.group(A, fr.call("inner", inner))), B)
    job = tree.job()
    assert list(job["calls"]) == ["outer", "inner"]
    assert job["axes"] == {"n": "5..7"} and job["formulas"] == {"GAP": GAP.text}
    assert job["lists"] == {"TECH": ["AAPL", "MSFT"]}
    assert fr.sweep(tree, data=DATA).space.size == 3


def test_a_job_holds_only_what_its_tree_needs():
    assert set(fr.if_(LOW, A, B).job()) == {"tree"}


def test_an_axis_around_a_number_reaches_every_place_of_a_called_tree():
    n = fr.axis("n", "±1", around=10)
    core = fr.if_((fr.rsi("SPX", n) < 30).named("dip"), A, fr.cash(), id="gate")
    outer = fr.group(fr.call("core", core, id="one"), fr.call("core", core, id="two"))
    tree = fr.if_(fr.rsi("SPX", n) < 50, fr.call("outer", outer, id="all"), fr.call("core", core, id="alone"))
    assert tree.axes()["n"]["paths"] == [
        *("n1.c1.window", "all--one--gate.dip.window", "all--two--gate.dip.window", "alone--gate.dip.window")
    ]
    search = fr.sweep(tree, data=DATA)
    assert search.space.axes[0].values == (9, 10, 11)
    assert [name for tree in search.trees for name in tree.axes()] == ["n"]


def test_calls_that_double_at_each_step_are_written_once_each():
    tree = fr.if_(fr.rsi("SPX", fr.axis("n", "±1", around=5)) < 30, A, fr.cash())
    for k in range(12):
        tree = fr.group(fr.call(f"c{k}", tree), fr.call(f"c{k}", tree))
    assert len(tree.job()["calls"]) == 12
    assert len(tree.axes()["n"]["paths"]) == 2**12


def test_a_call_to_a_definition_of_the_job_needs_no_tree():
    definition = {"id": "x", "kind": "position", "positions": ["KO"]}
    search = fr.sweep(fr.group(fr.call("core", id="k"), A), data=DATA, calls={"core": definition})
    assert [node.id for node in search.trees[0].nodes] == ["n1", "k--x", "n3"]


def test_definitions_of_the_job_and_of_its_trees_join():
    trees = {
        "a": fr.if_(GAP("SPX", 9) > 0, A, fr.call("core", B)),
        "b": fr.if_(GAP("SPX", 8) > 0, A, fr.call("core", B)),
    }
    search = fr.sweep(trees, data=DATA, formulas={"GAP": GAP.text, "OTHER": "close"}, lists={"L": ["KO"]})
    assert (len(search.trees), list(search.formulas)) == (2, ["GAP"])


OTHER_GAP = fr.formula("GAP", "close / ema - 1")
REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "count joined with &": (lambda: fr.any_of(LOW) & UP, "condition: a count cannot be joined with & or |; nest if_"),
    "& joined with a count": (lambda: LOW & fr.any_of(UP), "condition: expected a condition to join with, got Count"),
    "count of a signal": (lambda: fr.any_of(fr.rsi("SPX", 2)), r"count items\[0\]: expected a .*Signal"),
    "count of nothing": (lambda: fr.at_least(1), "count: expected at least one condition, got none"),
    "a count as truth": (lambda: bool(fr.any_of(LOW)), "a count is neither true nor false here; it goes into if_"),
    "latch with a count": (lambda: fr.latch(fr.any_of(LOW), UP, A, B), "latch enter: expected a condition such as"),
    "latch without an exit": (lambda: fr.latch(LOW, True, A, B), "latch exit: expected a .* got True"),
    "too few rungs": (
        lambda: fr.ladder([A, B], LOW, UP),
        "ladder: 2 rungs for 2 conditions; expected 3, for none of them to all of them",
    ),
    "weights of too few rungs": (lambda: fr.ladder([A, B], LOW, weights=[[1]]), "ladder: weights for 1 of 2 rungs"),
    "weights of a rung": (
        lambda: fr.ladder([A, B], LOW, weights=[[1], [1, 2]]),
        r"ladder rungs\[1\]: 2 weights for 1 children; one each",
    ),
    "no weights": (
        lambda: fr.group(A, B, weights=5),  # type: ignore[arg-type]
        r"group: expected weights such as \[60, 40\] or inverse_volatility\(20\), got 5",
    ),
    "weights of a side": (lambda: fr.if_(LOW, A, B, else_weights=[1, 2]), "if_ else_: 2 weights for 1 children"),
    "ranked by a signal": (
        lambda: fr.top(1, A, B, by=fr.rsi("SPX", 2)),  # type: ignore[arg-type]
        "ranked by: expected the name of an indicator, which is taken of each child, .* got Signal",
    ),
    "ranked without children": (lambda: fr.top(1, "KO", by="RSI"), "ranked: expected a tree such as .* got 'KO'"),
    "blend by a number": (lambda: fr.blend(3, 0, 1, A, B), "blend by: expected a signal such as .* got 3"),
    "call of a name": (lambda: fr.call("core", "tree"), r"calls\.core: expected a tree such as .* got 'tree'"),
    "a date for days": (lambda: fr.on_date(7, 4).for_days(2), "for_days: belongs to a comparison; a date lasts"),
    "a month alone": (lambda: fr.between_dates(11, (4, 30)), r"between_dates: expected .* \(month, day\).* got 11"),
    "a formula that cannot be read": (lambda: fr.formula("F", "close +"), r"formulas\.F: 'close \+', character 8: "),
    "a list of what are no tickers": (lambda: fr.ticker_list("L", "KO", "??"), r"lists\.L\[1\]: expected a ticker"),
    "a list of axes": (lambda: fr.ticker_list("L", "$x"), r"lists\.L\[0\]: expected a ticker, got axis '\$x'"),
    "any of nothing": (lambda: fr.any_ticker(), "any_ticker: expected tickers such as 'SPY', 'QQQ', got none"),
    "all of a list": (lambda: fr.all_tickers(["KO"]), r"all_tickers: expected tickers .* got \['KO'\]"),
    "two formulas of one name": (
        lambda: fr.if_(GAP("SPX", 9) > OTHER_GAP("SPX", 9), A, B).json(),
        r"formulas\.GAP: 'close / sma - 1' and 'close / ema - 1'; a name has one definition",
    ),
    "two lists of one name": (
        lambda: fr.hold(TECH, fr.ticker_list("TECH", "KO")).json(),
        r"lists\.TECH: .* a name has one definition",
    ),
    "two trees of one name": (
        lambda: fr.group(fr.call("core", A), fr.call("core", B)).json(),
        r"calls\.core: two different trees; a name has one definition",
    ),
    "a tree that calls itself": (
        lambda: fr.sweep(fr.call("core", fr.group(A, fr.call("core"))), data=DATA),
        r"calls\.core: calls itself: core -> core",
    ),
    "another formula in the job": (
        lambda: fr.sweep(fr.if_(GAP("SPX", 9) > 0, A, B), data=DATA, formulas={"GAP": "close"}),
        r"formulas\.GAP: 'close' and 'close / sma - 1'; a name has one definition",
    ),
    "formulas that are none": (
        lambda: fr.sweep(fr.if_(GAP("SPX", 9) > 0, A, B), data=DATA, formulas=5),
        "formulas: expected an object of formulas by name, got 5",
    ),
    "any on the right": (
        lambda: fr.sweep(fr.if_(fr.price("KO") > fr.sma(fr.any_ticker("KO"), 9), A, B), data=DATA),
        r"tree\.conditions\[0\]\.rightTicker: expected a ticker",
    ),
    "a cap that cannot be kept": (
        lambda: fr.sweep(fr.group(A, B, weights=fr.inverse_volatility(max_cap=40)), data=DATA),
        r"tree\.maxCap: 2 children of at most 40% cannot add up to 100%",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("write", "message"), REFUSED.values(), ids=REFUSED)
def test_mistakes_are_told_with_their_place(write: Callable[[], object], message: str):
    with pytest.raises(InputError, match=message):
        write()


def test_the_package_offers_every_builder():
    """All but the types that builders return, and the functions per indicator, which it offers by their own names."""
    own = {"Conditions", "Count", "Draft", "Signal", "Swept", "INDICATOR_FUNCTIONS", "function_name"}
    assert set(builders.__all__) - own <= set(fr.__all__)
    assert own <= set(builders.__all__)
    assert all(getattr(fr, name) is getattr(builders, name) for name in set(builders.__all__) - own)
