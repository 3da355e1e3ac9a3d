"""Exports: what is written imports to the same tree, and what cannot be written is listed place by place."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge_ray.errors import InputError
from forge_ray.sweep import parse_job
from forge_ray.tree import exporters, tree_hash
from forge_ray.tree.exporters import TARGETS, atlas, export_job
from forge_ray.tree.importers import import_text
from native_format import check_job, meaning, nodes, strategies

IDS = count()


def fresh(letter: str) -> str:
    return f"{letter}{next(IDS)}"


def position(*tickers: str, **fields: Any) -> dict[str, Any]:
    return {"id": fresh("p"), "kind": "position", "positions": list(tickers) or ["SPY"]} | fields


def condition(**fields: Any) -> dict[str, Any]:
    return {"id": fresh("c"), "type": "if", "metric": "RSI", "window": 10, "ticker": "SPY", "comparator": "gt",
            **({} if "expanded" in fields else {"threshold": 70})} | fields  # fmt: skip


def gate(*lines: dict[str, Any], **fields: Any) -> dict[str, Any]:
    children = {"then": [position("SPY")], "else": [position("TLT")]}
    return {
        "id": fresh("g"),
        "kind": "indicator",
        "conditions": list(lines) or [condition()],
        "children": children,
    } | fields


def basic(*children: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": fresh("b"), "kind": "basic", "children": {"next": list(children)}} | fields


def ranked(*children: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": fresh("f"), "kind": "function", "metric": "ROC", "window": 20, "rank": "top",
            "n": 1, "children": {"next": list(children) or [position("A"), position("B")]}} | fields  # fmt: skip


# Blocks of notation B, as Composer's editor could write them.
NAMES = st.sampled_from(["SPY", "TLT", "QQQ", "BRK.B", "BTC-USD"])
WINDOWS = st.integers(1, 500)
NUMBERS = st.one_of(st.integers(-100, 100), st.floats(-100, 100).map(lambda x: round(x, 4)))
PRICED = st.sampled_from(["moving-average-price", "cumulative-return", "max-drawdown", "relative-strength-index",
                          "standard-deviation-return"])  # fmt: skip
PPO = {"short-window": 5, "long-window": 30}
SERIES = st.one_of(
    st.fixed_dictionaries({"fn": PRICED, "params": st.fixed_dictionaries({"window": WINDOWS})}),
    st.just({"fn": "current-price", "params": {}}),
)
RICH_SERIES = SERIES | st.sampled_from(
    [
        {"fn": "percentage-price-oscillator", "params": PPO},
        {"fn": "percentage-price-oscillator-signal", "params": PPO | {"smooth-window": 3}},
        {"fn": "moving-average-convergence-divergence", "params": {"short-window": 12, "long-window": 26}},
        {"fn": "lower-bollinger", "params": {"window": 20, "standard-deviations": 1.5}},
        {"fn": "upper-bollinger", "params": {"window": 20, "standard-deviations": 2}},
    ]
)
COMPARATORS = st.sampled_from(["gt", "lt", "gte", "lte"])


def sides(series: st.SearchStrategy, name: st.SearchStrategy) -> st.SearchStrategy:
    return st.builds(lambda one, ticker: one | {"ticker": ticker}, series, name)


def binaries(series: st.SearchStrategy) -> st.SearchStrategy:
    right = st.fixed_dictionaries({"constant": NUMBERS}) | sides(series, NAMES)
    return st.fixed_dictionaries(
        {"condition-type": st.just("binary"), "lhs": sides(series, NAMES), "comparator": COMPARATORS, "rhs": right}
    )


def of_tickers() -> st.SearchStrategy:
    right = st.fixed_dictionaries({"constant": NUMBERS}) | sides(SERIES, st.sampled_from(["%", "SPY"]))
    return st.fixed_dictionaries(
        {
            "condition-type": st.just("binary-compound"), "lhs": sides(SERIES, st.just("%")),
            "operator": st.sampled_from(["any", "all"]),
            "tickers": st.lists(NAMES, min_size=1, max_size=3, unique=True),
            "comparator": COMPARATORS, "rhs": right,
        }
    )  # fmt: skip


CONDITIONS = st.recursive(
    binaries(RICH_SERIES) | of_tickers(),
    lambda inner: st.fixed_dictionaries(
        {"condition-type": st.just("compound"), "operator": st.sampled_from(["any", "all"]),
         "conditions": st.lists(inner, min_size=1, max_size=3)}
    ),
    max_leaves=6,
)  # fmt: skip


def branched(conditions: st.SearchStrategy, blocks: st.SearchStrategy) -> st.SearchStrategy:
    def joined(condition: Any, then: Any, other: Any) -> dict[str, Any]:
        test = {"step": "if-child", "is-else-condition?": False, "condition": condition, "children": then}
        return {"step": "if", "children": [test, {"step": "if-child", "is-else-condition?": True, "children": other}]}

    some = st.lists(blocks, min_size=1, max_size=2)
    return st.builds(joined, conditions, some, some)


def weighted(children: list[dict[str, Any]], weights: list[int]) -> dict[str, Any]:
    total = sum(weights[: len(children)])
    shares = [{"num": weight, "den": total} for weight in weights]
    below = [child | {"weight": share} for child, share in zip(children, shares, strict=False)]
    return {"step": "wt-cash-specified", "children": below}


def compositions(conditions: st.SearchStrategy, leaves: st.SearchStrategy) -> st.SearchStrategy:
    def more(blocks: st.SearchStrategy) -> st.SearchStrategy:
        some = st.lists(blocks, min_size=1, max_size=3)
        filters = st.builds(
            lambda series, children, n, rank: {
                "step": "filter", "sort-by-fn": series["fn"], "sort-by-fn-params": series["params"],
                "select-fn": rank, "select-n": n, "children": children,
            },
            SERIES, some, st.integers(1, 3), st.sampled_from(["top", "bottom"]),
        )  # fmt: skip
        return st.one_of(
            st.builds(lambda children: {"step": "wt-cash-equal", "children": children}, some),
            st.builds(lambda children, days: {"step": "wt-inverse-vol", "window-days": days, "children": children},
                      some, WINDOWS),
            st.builds(lambda name, child: {"step": "group", "name": name, "children": [child]},
                      st.text("ab \"\\\nü", min_size=1, max_size=4), blocks),
            st.builds(weighted, some, st.lists(st.integers(1, 60), min_size=3, max_size=3)),
            filters,
            branched(conditions, blocks),
        )  # fmt: skip

    return st.recursive(leaves, more, max_leaves=10)


ASSETS = st.builds(lambda name: {"step": "asset", "ticker": name}, NAMES)
RICH = compositions(CONDITIONS, ASSETS | st.just({"step": "empty"}))
PLAIN = compositions(binaries(SERIES), ASSETS)
RULES = st.sampled_from([{"rebalance": "daily"}, {"rebalance": "monthly"},
                         {"rebalance": "none", "rebalance-corridor-width": 0.075}])  # fmt: skip


def native(block: dict[str, Any], rule: dict[str, Any]) -> dict[str, Any]:
    score = {"step": "root", "name": 'A "name"', "children": [block]} | rule
    job = dict(import_text(json.dumps(score), "test").job)
    check_job(job)
    return job


def again(job: dict[str, Any], target: str) -> dict[str, Any]:
    return dict(import_text(export_job(job, target).text, "exported").job)


def identity(job: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The hash of the tree, calls in place, and the formulas that it uses."""
    sweep = parse_job({"data": "sample:us20", **job})
    return tree_hash(sweep.trees[0]), dict(sweep.formulas)


@settings(deadline=None)
@given(RICH, RULES)
def test_notation_b_comes_back_the_same(block, rule):
    job = native(block, rule)
    assert again(job, "composer-json") == job


@settings(deadline=None)
@given(PLAIN, RULES)
def test_notation_a_comes_back_the_same(block, rule):
    job = native(block, rule)
    assert again(job, "composer") == job


@pytest.mark.parametrize("file", strategies("composer"), ids=lambda file: file.name)
@pytest.mark.parametrize("target", ["composer", "composer-json"])
def test_the_example_symphonies_come_back_the_same(file, target):
    job = dict(import_text(file.read_bytes(), file.name).job)
    assert again(job, target) == job
    assert identity(again(job, target)) == identity(job)


@pytest.mark.parametrize("file", strategies("atlas"), ids=lambda file: file.name)
def test_the_example_trees_of_atlas_come_back_the_same(file):
    job = dict(import_text(file.read_bytes(), file.name).job)
    if "axes" in job:
        with pytest.raises(InputError, match="axes: a space of strategies"):
            export_job(job, "atlas")
        job = {name: job[name] for name in ("tree", "calls", "formulas", "execution") if name in job}
    assert meaning(again(job, "atlas")) == meaning(job)
    assert identity(again(job, "atlas")) == identity(job)


FLOW_LINES = st.one_of(
    st.builds(
        lambda metric, window, value, ticker, cross: {
            "type": "or", "metric": metric, "window": window, "threshold": value, "ticker": ticker, "comparator": cross,
        },
        st.sampled_from(["Relative Strength Index", "Max Drawdown", "Cumulative Return", "Current Price", "KAMA",
        "custom:ci"]),
        WINDOWS, NUMBERS, st.sampled_from(["SPY", "XLY/XLP", "branch:to"]),
        st.sampled_from(["lt", "gt", "crossAbove", "crossBelow"]),
    ),
    st.just({"type": "and", "metric": "Date", "dateMonth": 11, "dateDay": 1, "expanded": True,
             "dateTo": {"month": 4, "day": 30}}),
    st.just({"metric": "Drawdown", "ticker": "SPY", "comparator": "lt", "expanded": True, "rightTicker": "QQQ",
             "forDays": 3}),
)  # fmt: skip


def flow(kind: str, **fields: Any) -> dict[str, Any]:
    return {"kind": kind} | fields


def more_flow(inner: st.SearchStrategy) -> st.SearchStrategy:
    some, lines = st.lists(inner, max_size=3), st.lists(FLOW_LINES, min_size=1, max_size=3)
    two = st.builds(lambda then, other: {"then": then, "else": other}, some, some)
    rules = st.sampled_from([{}, {"weighting": "inverse", "volWindow": 30}, {"weighting": "pro"},
                             {"weighting": "capped", "maxCap": 40, "cappedFallback": "SHV"}])  # fmt: skip
    return st.one_of(
        st.builds(lambda next, rule: flow("basic", children={"next": next}) | rule, some, rules),
        st.builds(lambda next, n: flow("function", metric="Rate of Change", window=9, bottom=n, rank="Bottom",
                                       children={"next": next}), some, st.integers(1, 3)),
        st.builds(lambda lines, sides: flow("indicator", conditions=lines, children=sides), lines, two),
        st.builds(lambda a, b, sides: flow("altExit", entryConditions=a, exitConditions=b, children=sides),
                  lines, lines, two),
        st.builds(lambda lines, sides: flow("numbered", children=sides, numbered={
            "quantifier": "atLeast", "n": 1, "items": [{"id": "i", "conditions": lines}]}), lines, two),
        st.builds(lambda sides: flow("scaling", scaleMetric="Drawdown", scaleTicker="SPY", scaleFrom=0.07, scaleTo=0.2,
                                     scaleWindow=1, children=sides), two),
    )  # fmt: skip


FLOW = st.recursive(
    st.builds(lambda names: flow("position", positions=names), st.lists(st.sampled_from(["SPY", "Empty"]), max_size=3)),
    more_flow,
    max_leaves=8,
)


@settings(deadline=None)
@given(FLOW)
def test_atlas_comes_back_the_same(node):
    formula = {"id": "ci", "name": "x", "formula": "maxdd * 2 + rsi", "createdAt": 0}
    bot = {"name": "Bot", "payload": node, "customIndicators": [formula]}
    job = dict(import_text(json.dumps(bot), "test").job)
    check_job(job)
    if "formulas" not in job:
        assert meaning(again(job, "atlas")) == meaning(job)
    else:
        assert again(job, "atlas") == job


def test_a_native_tree_with_short_names_is_exported():
    job = {"tree": gate(condition(metric="Price", window=1, expanded=True, rightMetric="SMA", rightWindow=200))}
    (line,) = again(job, "composer")["tree"]["conditions"]
    assert (line["rightMetric"], line["rightTicker"]) == ("Simple Moving Average", "SPY")


def test_calls_are_expanded_for_composer_and_kept_for_atlas():
    call = {"id": "k", "kind": "call", "callRefId": "safe", "weight": 40}
    job = {"tree": basic(position("SPY", id="a", weight=60), call, weighting="defined"),
           "calls": {"safe": position("TLT", id="x")}}  # fmt: skip
    assert [child["weight"] for child in again(job, "composer")["tree"]["children"]["next"]] == [60, 40]
    assert meaning(again(job, "atlas")) == meaning(job | {"execution": {"mode": "CC", "cost_bps": 5}})


def test_thousands_of_nodes_are_written_without_recursion():
    tree: dict[str, Any] = position("SPY", id="p0")
    for k in range(900):
        tree = gate(id=f"g{k}", children={"then": [tree], "else": [position("TLT", id=f"e{k}")]})
    for target in TARGETS:
        assert sum(1 for _ in nodes(again({"tree": tree}, target)["tree"])) == 1_801


def test_calls_that_double_at_each_step_are_bounded():
    calls = {"c0": position("SPY")}
    for k in range(1, 40):
        twice = [{"id": f"k{n}", "kind": "call", "callRefId": f"c{k - 1}"} for n in (1, 2)]
        calls[f"c{k}"] = basic(*twice)
    with pytest.raises(InputError, match=r"calls\.c17: 262,143 nodes with its calls in place; allowed: 200,000"):
        export_job({"tree": basic({"id": "k", "kind": "call", "callRefId": "c39"}), "calls": calls}, "composer")


RATIO = {"ratio": ["XLY", "XLP"]}
LATCH = {"id": "x", "kind": "altExit", "entryConditions": [condition()], "exitConditions": [condition()],
         "children": {"then": [position()], "else": [position()]}}  # fmt: skip
LADDER = {"id": "n", "kind": "numbered", "numbered": {"quantifier": "ladder", "items": [
    {"id": "i", "conditions": [condition()]}]},
    "children": {"ladder-0": [position()], "ladder-1": [position()]}}  # fmt: skip
DATE = {"id": "c1", "type": "if", "metric": "Date", "dateMonth": 1, "dateDay": 1}
IMPOSSIBLE = {
    "latch": (LATCH, "composer", "tree.kind: altExit: Composer has no such block"),
    "ladder": (LADDER, "composer", "tree.numbered.quantifier: unknown quantifier 'ladder'; allowed: any, all"),
    "days": (gate(condition(forDays=3)), "composer", "tree.conditions[0].forDays: 3: Composer looks at one day"),
    "cross": (gate(condition(comparator="crossAbove")), "composer", "tree.conditions[0].comparator"),
    "date": (gate(DATE), "composer", "tree.conditions[0].metric: Date"),
    "ratio": (gate(condition(ticker=RATIO)), "composer", "tree.conditions[0].ticker: expected a ticker"),
    "branch": (gate(condition(ticker="branch:then")), "composer", "tree.conditions[0].ticker: expected a ticker"),
    "metric": (gate(condition(metric="ATR")), "composer", "tree.conditions[0].metric: unknown indicator 'ATR'"),
    "formula": (
        {"tree": gate(condition(metric="custom:x")), "formulas": {"x": "rsi"}}, "composer",
        "tree.conditions[0].metric: custom:x: Composer has no",
    ),
    "axis": (gate(condition(window="$n")), "composer", "tree.conditions[0].window: expected a whole number"),
    "empty": (basic(position("Empty")), "composer", "tree.children.next[0].positions[0]: Composer has no empty place"),
    "empty side": (
        gate(children={"then": [position()], "else": []}),
        "composer", "tree.children.else: Composer has no",
    ),
    "pro": (basic(position(), position(), weighting="pro"), "composer", "tree.weighting: unknown weighting 'pro'"),
    "caps": (basic(position(), position(), weighting="inverse", maxCap=60), "composer", "caps of an inverse weighting"),
    "score": (ranked(metric="RSI", of="equity"), "composer", "tree.of: equity over single tickers"),
    "group score": (
        ranked(gate(), position(), metric="RSI"), "composer",
        "tree.of: allocation: Composer scores what is not a single",
    ),
    "rank weights": (ranked(metric="RSI", weighting="inverse"), "composer", "tree.weighting: a filter of Composer"),
    "cash in A": (
        gate(children={"then": [position("CASH")], "else": [position()]}),
        "composer", "tree.children.then[0]: empty",
    ),
    "any in A": (gate(condition(), condition(type="or")), "composer", "tree: any and all of several conditions"),
    "ppo in A": (gate(condition(metric="PPO")), "composer", "tree: percentage-price-oscillator: notation A"),
    "weight": (
        basic(position(), position(), weighting="defined"),
        "composer", "tree.children.next[0].weight: missing; every child of a slot with weighting 'defined' needs one",
    ),
    "cash": (position("CASH"), "atlas", "tree.positions[0]: CASH: Atlas has no cash"),
    "gte": (gate(condition(comparator="gte")), "atlas", "tree.conditions[0].comparator: unknown comparator 'gte'"),
    "any": (
        gate(condition(ticker={"any": ["A"]})),
        "atlas", "tree.conditions[0].ticker: expected a ticker in capitals",
    ),
    "slash": (gate(condition(ticker="BRK/B")), "atlas", "tree.conditions[0].ticker: expected a ticker in capitals"),
    "atlas metric": (gate(condition(metric="Bollinger Upper")), "atlas", "unknown indicator 'Bollinger Upper'"),
    "equity": (ranked(of="equity"), "atlas", "tree.of: equity: not a choice of Atlas's; allowed: allocation"),
    "weighted function": (
        basic(ranked(weight=70), position(weight=30), weighting="defined"),
        "atlas", "tree.children.next[0].weight: 70: Atlas keeps weight and look-back (20)",
    ),
    "units": (
        gate(condition(metric="Max Drawdown", expanded=True, rightMetric="Rate of Change", rightWindow=5)),
        "atlas", "tree.conditions[0].rightMetric: Max Drawdown against Rate of Change",
    ),
    "kind": ({"id": "x", "kind": "foo"}, "atlas", "tree.kind: unknown kind 'foo'"),
    "not a tree": ({"tree": 5}, "atlas", "tree: expected a node"),
    "target": (position(), "excel", "--to: unknown target 'excel'; allowed: composer, composer-json, atlas"),
    "mode": ({"tree": position(), "execution": {"mode": "OO"}}, "composer", "execution.mode: OO"),
    "lag": ({"tree": position(), "execution": {"lag": 1}}, "composer", "execution.lag: 1"),
    "rule": ({"tree": position(), "execution": {"rebalance": "on_change"}}, "composer", "execution.rebalance: unknown"),
    "atlas rule": ({"tree": position(), "execution": {"rebalance": "weekly"}}, "atlas", "execution.rebalance: weekly"),
    "trees": ({"trees": {"a": position()}, "tree": position()}, "atlas", "trees: several trees; expected one"),
    "call": ({"tree": {"id": "k", "kind": "call", "callRefId": "x"}}, "composer", "tree.callRefId: unknown call 'x'"),
    "our functions": (
        {"tree": position(), "formulas": {"x": "percentile(rsi, 5)"}}, "atlas",
        "formulas.x: percentile: not a function",
    ),
    "rolling of a term": (
        {"tree": position(), "formulas": {"x": "sma(close + 1, 5)"}}, "atlas", "formulas.x: sma(close + 1, 5): rolling",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_a_target_cannot_express_is_an_error_with_its_place(name):
    job, target, message = IMPOSSIBLE[name]
    with pytest.raises(InputError) as caught:
        export_job(job, target)
    assert message in str(caught.value)


def test_what_is_no_valid_tree_is_not_exported():
    tree = gate(condition(forDays=2, comparator="crossAbove"), children={"then": [position(id="x")], "otherwise": []})
    with pytest.raises(InputError) as caught:
        export_job({"tree": tree, "lists": 5}, "atlas")
    assert [problem.place for problem in caught.value.problems] == [
        *("lists", "tree.children.otherwise", "tree.conditions[0].forDays")
    ]


def test_an_export_that_does_not_come_back_the_same_is_refused(monkeypatch: pytest.MonkeyPatch):
    """Such as one of a writer that forgets how often a comparison has to hold, or one that writes what nobody reads."""
    tree = basic(gate(condition(id="dip", forDays=3)), weighting="capped", maxCap=40)
    lossy = {"forDays": 1, "metric": "Relative Strength Index"}
    monkeypatch.setattr(atlas.Terms, "line", lambda self, fields, *, first: fields.data | lossy)
    with pytest.raises(InputError, match=r"tree\.children\.next\[0\]\.conditions\[0\]\.forDays: 3 comes back as None"):
        export_job(tree, "atlas")
    monkeypatch.setitem(exporters.TARGETS, "atlas", lambda fields, report: '{"id": "a", "kind": "bais"}')
    with pytest.raises(InputError, match="unknown kind 'bais'"):
        export_job(tree, "atlas")


def test_what_a_strategy_file_does_not_hold_is_a_note():
    job = {"tree": position(), "data": "sample:us20", "split": "none"}
    assert export_job(job, "atlas").notes == ("data, split: no part of such a file",)


def test_that_atlas_takes_else_where_a_condition_is_unknown_is_a_note():
    assert "takes else in Atlas" in str(export_job(gate(), "atlas").notes)
    assert export_job({"tree": gate(), "execution": {"null": "else"}}, "atlas").notes == ()


def test_all_places_come_at_once():
    tree = gate(condition(forDays=2), condition(id="c2", type="and", comparator="crossBelow"))
    with pytest.raises(InputError) as caught:
        export_job(tree, "composer")
    assert len(caught.value.problems) == 2


def test_what_is_kept_elsewhere_is_a_note():
    job = {"tree": position(), "execution": {"cost_bps": 7}}
    assert export_job(job, "composer").notes == ("cost_bps 7 is a setting of the account, not of a symphony",)


def test_weights_that_do_not_add_up_are_written_as_shares():
    tree = basic(position("A", id="a", weight=1), position("B", id="b", weight=3), weighting="defined")
    found = again({"tree": tree}, "composer-json")["tree"]
    assert [child["weight"] for child in found["children"]["next"]] == [25, 75]
