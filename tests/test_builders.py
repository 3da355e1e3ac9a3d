"""Trees written in Python are the trees of the JSON: same hash, same axes; what JSON cannot say is refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import forge_ray as fr
from forge_ray import jsontext
from forge_ray.catalog import INDICATOR_BY_NAME
from forge_ray.errors import InputError
from forge_ray.sweep import parse_job
from forge_ray.tree import parse_tree, tree_hash
from forge_ray.tree.builders import INDICATOR_FUNCTIONS, Draft, function_name

ROOT = Path(__file__).parent.parent


def comparison(id: str, join: str, metric: str, window: int | str, comparator: str, threshold: float | str) -> dict:
    return {"id": id, "type": join, "metric": metric, "window": window, "ticker": "SPX", "comparator": comparator,
            "threshold": threshold}  # fmt: skip


def position(id: str, *tickers: str, **fields: float) -> dict:
    return {"id": id, "kind": "position", "positions": list(tickers), **fields}


def gate(conditions: list[dict], then: list[dict], else_: list[dict]) -> dict:
    return {"id": "n1", "kind": "indicator", "conditions": conditions, "children": {"then": then, "else": else_}}


IN, OUT = fr.hold("AAPL"), fr.cash()
IN_JSON, OUT_JSON = [position("n2", "AAPL")], [position("n3", "CASH")]
METRIC = fr.axis("m", ["SMA", "EMA"])
RIGHT_SMA = {"id": "c1", "metric": "Price", "ticker": "SPX", "expanded": True, "rightMetric": "SMA", "rightWindow": 50}
PAIRS: dict[str, tuple[Draft, dict]] = {
    "threshold": (
        fr.if_(fr.rsi("SPX", 10) < 30, IN, OUT),
        gate([comparison("c1", "if", "RSI", 10, "lt", 30)], IN_JSON, OUT_JSON),
    ),
    "two series": (
        fr.if_(fr.price("SPX") > fr.sma("SPX", 50), IN, OUT),
        gate([RIGHT_SMA | {"comparator": "gt"}], IN_JSON, OUT_JSON),
    ),
    "number on the left": (
        fr.if_(30 >= fr.rsi("SPX", 10), IN, OUT),  # noqa: SIM300
        gate([comparison("c1", "if", "RSI", 10, "lte", 30)], IN_JSON, OUT_JSON),
    ),
    "cross": (
        fr.if_(fr.price("SPX").crosses_above(fr.sma("SPX", 50)), IN, OUT),
        gate([RIGHT_SMA | {"comparator": "crossAbove"}], IN_JSON, OUT_JSON),
    ),
    "and within or": (
        fr.if_((fr.rsi("SPX", 10) < 30) & (fr.roc("SPX", 5) > 1).for_days(3) | (fr.stddev("SPX", 20) >= 2), IN, OUT),
        gate(
            [
                comparison("c1", "if", "RSI", 10, "lt", 30),
                comparison("c2", "and", "ROC", 5, "gt", 1) | {"forDays": 3},
                comparison("c3", "or", "StdDev", 20, "gte", 2),
            ],
            IN_JSON,
            OUT_JSON,
        ),
    ),
    "several on one side": (
        fr.if_(fr.rsi("SPX", 10) < 30, [fr.hold("AAPL"), fr.hold("MSFT", "KO")], fr.cash()),
        gate(
            [comparison("c1", "if", "RSI", 10, "lt", 30)],
            [position("n2", "AAPL"), position("n3", "MSFT", "KO")],
            [position("n4", "CASH")],
        ),
    ),
    "weights": (
        fr.group(fr.hold("AAPL"), fr.cash(), weights=[60, fr.axis("w", "10..40 by 10")]),
        {"id": "n1", "kind": "basic", "weighting": "defined",
         "children": {"next": [position("n2", "AAPL", weight=60), position("n3", "CASH") | {"weight": "$w"}]}},
    ),
    "swept names": (
        fr.if_(
            fr.indicator(METRIC, "SPX", 9).compare(fr.axis("c", ["lt", "gt"]), fr.axis("x", [1, 2])),
            IN,
            OUT,
        ),
        gate([comparison("c1", "if", "$m", 9, "$c", "$x")], IN_JSON, OUT_JSON),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("written", "native"), PAIRS.values(), ids=PAIRS)
def test_python_and_json_give_the_same_tree(written: Draft, native: dict):
    assert tree_hash(parse_tree(written.json())) == tree_hash(parse_tree(native))
    assert parse_tree(written.json()) == parse_tree(native)


def test_the_job_of_the_readme_written_in_python_is_the_same_sweep():
    text = re.search(r"## A job\n\n```json\n(.+?)\n```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert text
    job = json.loads(text[1])
    stock = fr.axis("stock", ["AAPL", "MSFT", "XOM"])
    dip = (fr.rsi(stock, fr.axis("n", "2..20")) < fr.axis("low", "5..60 by 5")).named("dip")
    tree = fr.if_(dip, fr.hold(stock, id="in"), fr.cash(id="out"), id="gate")
    fields = {key: value for key, value in job.items() if key not in ("tree", "axes")}
    written, read = fr.sweep(tree, axes=job["axes"], **fields), parse_job(job)
    assert [tree_hash(tree) for tree in written.trees] == [tree_hash(tree) for tree in read.trees]
    assert written.run_id("same data") == read.run_id("same data")


def test_the_quickstart_written_in_python_has_its_hash():
    stock = fr.axis("stock", ["AAPL", "AMD", "HD", "JPM", "MSFT", "UNH", "WMT", "XOM"])
    trend = (fr.price("SPX") > fr.sma("SPX", fr.axis("trend", "50..250 by 50"))).named("trend")
    calm = (fr.stddev("SPX", 20) < fr.axis("calm", [0.8, 1.1, 1.5, 2, 3])).named("calm")
    low = (fr.rsi(stock, fr.axis("n", "2..21")) < fr.axis("low", "10..60 by 2")).named("low")
    dip = fr.if_(low, fr.hold(stock, id="buy"), fr.hold("JNJ", "PG", id="wait"), id="dip")
    tree = fr.if_(trend & calm, dip, fr.cash(id="out"), id="market")
    job = jsontext.read_file(ROOT / "jobs" / "quickstart.json")
    assert isinstance(job, dict)
    assert tree_hash(parse_tree(tree.json())) == tree_hash(parse_tree(job["tree"]))
    assert tree.axes() == {name: job["axes"][name] for name in ("trend", "calm", "stock", "n", "low")}


def test_every_indicator_of_the_catalogue_has_a_function_under_each_name():
    callable_names = [name for name in INDICATOR_BY_NAME if not name[0].isdigit()]
    for name in callable_names:
        entry = INDICATOR_BY_NAME[name]
        function = getattr(fr, function_name(name))
        signal = function("SPX", 10) if entry.windowed else function("SPX")
        (_, condition), *_ = parse_tree(fr.if_(signal > 1, IN, OUT).json()).nodes[0].conditions
        assert condition.left.metric == entry.name
    assert len(INDICATOR_FUNCTIONS) == len(callable_names)
    assert set(INDICATOR_FUNCTIONS) <= set(dir(fr))


def test_an_axis_used_twice_is_one_axis():
    n = fr.axis("n", "2..5")
    tree = fr.if_((fr.rsi("SPX", n) < 30) & (fr.roc("SPX", fr.axis("n", "2..5")) > 0), IN, OUT)
    assert tree.axes() == {"n": "2..5"}
    assert fr.sweep(tree, data="sample:us20").space.size == 4


def test_two_axes_of_one_name_are_refused():
    tree = fr.if_(fr.rsi("SPX", fr.axis("n", "2..5")) < fr.axis("n", [30]), IN, OUT)
    with pytest.raises(InputError, match=r"axes\.n: '2\.\.5' and \(30,\); an axis has one list of values"):
        tree.json()
    with pytest.raises(InputError, match=r"axes\.n"):
        fr.sweep(fr.if_(fr.rsi("SPX", fr.axis("n", "2..5")) < 30, IN, OUT), data="sample:us20", axes={"n": "2..6"})


def test_an_axis_around_a_number_leaves_the_number_in_the_tree():
    n = fr.axis("n", "±2", around=10)
    tree = fr.if_((fr.rsi("SPX", n) < 30) & (fr.roc("SPX", n) > 0), IN, OUT)
    assert tree.axes() == {"n": {"paths": ["n1.c1.window", "n1.c2.window"], "values": "±2"}}
    assert tree_hash(parse_tree(tree.json())) == tree_hash(
        parse_tree(fr.if_((fr.rsi("SPX", 10) < 30) & (fr.roc("SPX", 10) > 0), IN, OUT).json())
    )
    assert fr.sweep(tree, data="sample:us20").space.axes[0].values == (8, 9, 10, 11, 12)


def test_axes_keep_the_order_that_is_asked_for():
    tree = fr.if_(fr.rsi("SPX", fr.axis("n", "2..5")) < fr.axis("low", [20, 30]), IN, OUT)
    asked = fr.sweep(tree, data="sample:us20", axes={"low": [20, 30]})
    assert [axis.id for axis in asked.space.axes] == ["low", "n"]
    assert [axis.id for axis in fr.sweep(tree, data="sample:us20").space.axes] == ["n", "low"]


def test_several_trees_share_their_axes():
    trees = {name: fr.if_(fr.rsi(name, fr.axis("n", "2..5")) < 30, IN, OUT) for name in ("KO", "XOM")}
    search = fr.sweep(trees, data="sample:us20")
    assert (search.tree_names, search.space.size) == (("KO", "XOM"), 8)


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "or within and": (
        lambda: ((fr.rsi("SPX", 2) < 9) | (fr.rsi("SPX", 3) < 9)) & (fr.roc("SPX", 4) > 0),
        r"condition: \(a \| b\) & c cannot be written: .* write \(a & c\) \| \(b & c\), or nest if_",
    ),
    "or on the right of and": (
        lambda: (fr.roc("SPX", 4) > 0) & ((fr.rsi("SPX", 2) < 9) | (fr.rsi("SPX", 3) < 9)),
        "no parentheses",
    ),
    "a chain": (lambda: 5 < fr.rsi("SPX", 2) < 10, r"neither true nor false here; join with & and \|"),
    "the word and": (lambda: (fr.rsi("SPX", 2) < 9) and (fr.roc("SPX", 4) > 0), "neither true nor false"),
    "no parentheses, numbers": (lambda: fr.rsi("SPX", 2) < 9 & fr.roc("SPX", 4), "put each comparison in parentheses"),
    "no parentheses, series": (
        lambda: fr.price("SPX") > fr.sma("SPX", 9) | fr.roc("SPX", 4),
        "put each comparison in parentheses",
    ),
    "days of a list": (
        lambda: ((fr.rsi("SPX", 2) < 9) & (fr.roc("SPX", 4) > 0)).for_days(2),
        "for_days: belongs to one comparison",
    ),
    "name of a list": (
        lambda: ((fr.rsi("SPX", 2) < 9) | (fr.roc("SPX", 4) > 0)).named("x"),
        "named: belongs to one comparison",
    ),
    "a bare series": (lambda: fr.if_(fr.rsi("SPX", 2), IN, OUT), r"if_: expected a condition such as .*Signal"),
    "equality": (lambda: fr.if_(fr.rsi("SPX", 2) == 9, IN, OUT), "if_: expected a condition .* got False"),
    "joined with a number": (lambda: (fr.rsi("SPX", 2) < 9) & 3, "expected a condition to join with, got 3"),
    "a ticker as a tree": (lambda: fr.if_(fr.rsi("SPX", 2) < 9, "AAPL", OUT), "if_ then: expected a tree .* got 'A'"),
    "a number as a tree": (lambda: fr.group(IN, 3), "group: expected a tree such as hold.*, got 3"),
    "too few weights": (lambda: fr.group(IN, OUT, weights=[60]), "group: 1 weights for 2 children; one each"),
    "around nothing": (lambda: fr.axis("n", "±3"), r"axes\.n: '±3' is around a number; add it, as in around=14"),
    "a day that is none": (lambda: parse_tree(fr.if_((fr.rsi("SPX", 2) < 9).for_days(0), IN, OUT).json()), "forDays"),
    "a window that is none": (
        lambda: parse_tree(fr.if_(fr.rsi("SPX", 0) < 9, IN, OUT).json()),
        r"tree\.conditions\[0\]\.window: expected an integer from 1",
    ),
    "an id twice": (
        lambda: parse_tree(fr.group(fr.hold("KO", id="a"), fr.hold("XOM", id="a")).json()),
        "id 'a' is used 2 times",
    ),
}


@pytest.mark.parametrize(("write", "message"), REFUSED.values(), ids=REFUSED)
def test_what_json_cannot_say_is_refused(write: Callable[[], object], message: str):
    with pytest.raises(InputError, match=message):
        write()


def test_an_unknown_name_is_no_attribute():
    with pytest.raises(AttributeError, match="no attribute 'rsy'"):
        fr.rsy("SPX", 2)


def test_functions_survive_the_import_of_modules_of_their_name():
    code = "import forge_ray as fr, forge_ray.plan, forge_ray.sweep; print(callable(fr.plan), callable(fr.sweep))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "True True\n"


def test_a_thousand_levels_are_written_and_shown():
    tree = fr.cash()
    for _ in range(999):
        tree = fr.if_(fr.rsi("SPX", 2) < 30, fr.hold("KO"), tree)
    assert len(parse_tree(tree.json()).nodes) == 1999
    assert repr(tree).count("if RSI(SPX, 2) < 30") == 999


def test_a_tree_shows_itself_as_an_outline():
    low = (fr.price("SPX") > fr.sma("SPX", fr.axis("n", [5]))).for_days(3) | (fr.rsi("SPX", 2) < 30)
    assert repr(fr.if_(low, fr.group(IN, OUT, weights=[60, 40]), fr.hold("KO", "XOM"))).split("\n") == [
        "if Price(SPX) > SMA(SPX, $n) for 3 days or RSI(SPX, 2) < 30",
        "  group by weight",
        "    60 × hold AAPL",
        "    40 × hold CASH",
        "else",
        "  hold KO, XOM",
    ]


def test_html_of_a_tree_is_escaped():
    hostile = "<img src=x onerror=alert(1)>"
    html = fr.if_(fr.indicator(hostile, hostile, 3) < 30, fr.hold(hostile), OUT)._repr_html_()
    assert "<img" not in html
    assert html.count("&lt;img") == 3
