"""What bad input gets: an error that names place, value and what is allowed, all mistakes at once, nothing left behind.

Every row of the tables is one mistake in an otherwise good input, and the fragments its message must hold.
"""

from __future__ import annotations

import copy
import gzip
import json
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forge_ray import jsontext
from forge_ray.cluster.local import LocalExecutor
from forge_ray.data import load
from forge_ray.errors import CapacityError, DataError, ForgeRayError, InputError
from forge_ray.run import Run, execute, explain, prepare
from forge_ray.sweep import parse_job, read_job
from forge_ray.tree import parse_tree

TREE = {
    "id": "gate",
    "kind": "indicator",
    "conditions": [
        {"id": "dip", "metric": "RSI", "window": 10, "ticker": "AAPL", "comparator": "lt", "threshold": 30},
        {
            "id": "up",
            "type": "and",
            "metric": "Current Price",
            "ticker": "AAPL",
            "comparator": "gt",
            "expanded": True,
            "rightMetric": "SMA",
            "rightWindow": 20,
        },
    ],
    "children": {
        "then": [{"id": "in", "kind": "position", "positions": ["AAPL", "MSFT"]}],
        "else": [
            {
                "id": "mix",
                "kind": "basic",
                "weighting": "defined",
                "children": {
                    "next": [
                        {"id": "some", "kind": "position", "positions": ["KO"], "weight": 60},
                        {"id": "rest", "kind": "position", "positions": ["CASH"], "weight": 40},
                    ]
                },
            }
        ],
    },
}
JOB = {
    "name": "dip buyer",
    "data": {"source": "sample:us20", "start": "2015-01-01"},
    "benchmark": "SPX",
    "tree": TREE,
    "axes": {
        "n": {"paths": ["gate.dip.window"], "values": "2..20"},
        "low": {"paths": ["gate.dip.threshold"], "values": "5..60 by 5"},
    },
    "where": ["n < 15 or low > 20"],
    "execution": {"mode": "CC", "lag": 0},
    "split": {"holdout": "30%"},
    "require": {"is.max_drawdown": "<= 35%"},
    "keep": "all",
}
DIP, UP = ("conditions", 0), ("conditions", 1)
THEN, ELSE = ("children", "then"), ("children", "else")
ABSENT = object()


class Row(NamedTuple):
    """One mistake: `value` put at `place` of the good input, and what the message must hold."""

    name: str
    place: tuple[str | int, ...]
    value: object
    fragments: tuple[str, ...]


def with_value(data: Any, place: tuple[str | int, ...], value: object) -> Any:
    """A copy of JSON data with one value replaced, added or taken out."""
    if not place:
        return value
    data = copy.deepcopy(data)
    *steps, last = place
    target = data
    for step in steps:
        target = target[step]
    if value is ABSENT:
        del target[last]
    else:
        target[last] = value
    return data


def message_of(call: Callable[[], object]) -> str:
    """The message of the `InputError` that a call raises."""
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.exit_code == 2
    assert caught.value.problems
    return str(caught.value)


def assert_says(message: str, fragments: tuple[str, ...]) -> None:
    missing = [fragment for fragment in fragments if fragment not in message]
    assert not missing, f"{missing} not in: {message}"


def table(rows: list[Row]) -> pytest.MarkDecorator:
    assert len({row.name for row in rows}) == len(rows)
    return pytest.mark.parametrize("row", rows, ids=[row.name for row in rows])


TREES = [
    Row("root is a list", (), [], ("tree: expected a node", "[]")),
    Row("root is null", (), None, ("tree: expected a node", "None")),
    Row(
        "unknown kind",
        ("kind",),
        "indicater",
        ("tree.kind", "'indicater'", "did you mean 'indicator'", "basic, indicator, position"),
    ),
    Row("kind is missing", (*THEN, 0, "kind"), ABSENT, ("tree.children.then[0].kind", "None", "position")),
    Row("kind is a list", ("kind",), [], ("tree.kind", "[]", "basic")),
    Row("unknown field", ("condition",), [], ("tree.condition", "did you mean 'conditions'", "weightingThen")),
    Row(
        "field of another kind",
        (*THEN, 0, "conditions"),
        [],
        ("tree.children.then[0].conditions", "allowed: ", "positions"),
    ),
    Row(
        "position with children", (*THEN, 0, "children"), {"next": []}, ("tree.children.then[0].children", "positions")
    ),
    Row("unknown slot", ("children", "otherwise"), [], ("tree.children.otherwise", "'otherwise'", "then, else")),
    Row("children is a list", ("children",), [], ("tree.children", "object of slots", "[]")),
    Row("slot is an object", THEN, {}, ("tree.children.then", "expected a list of nodes")),
    Row("child is a number", (*THEN, 0), 7, ("tree.children.then[0]", "expected a node", "7")),
    Row("id is missing", ("id",), ABSENT, ("tree.id", "None", "letters, digits")),
    Row("id with a dot", ("id",), "a.b", ("tree.id", "'a.b'", "letters, digits, '_' and '-'")),
    Row("id is empty", ("id",), "", ("tree.id", "''")),
    Row("id is a number", ("id",), 5, ("tree.id", "got 5")),
    Row("id ends with a line break", ("id",), "gate\n", ("tree.id", "'gate\\n'")),
    Row(
        "duplicate node id",
        (*THEN, 0, "id"),
        "gate",
        ("tree.children.then[0].id", "'gate' is used 2 times, first at tree"),
    ),
    Row("duplicate condition id", (*UP, "id"), "dip", ("tree.conditions", "'dip' is used 2 times")),
    Row("malformed condition id", (*UP, "id"), "u p", ("tree.conditions[1].id", "'u p'")),
    Row("conditions is missing", ("conditions",), ABSENT, ("tree.conditions", "expected a list of conditions", "None")),
    Row("condition is a string", DIP, "RSI < 30", ("tree.conditions[0]", "expected a condition", "RSI < 30")),
    Row("unknown condition field", (*DIP, "treshold"), 3, ("tree.conditions[0].treshold", "did you mean 'threshold'")),
    Row("unknown type", (*UP, "type"), "xor", ("tree.conditions[1].type", "'xor'", "if, and, or")),
    Row(
        "unknown indicator",
        (*DIP, "metric"),
        "RSY",
        ("tree.conditions[0].metric", "'RSY'", "did you mean 'RSI'", "Rate of Change"),
    ),
    Row("indicator is a number", (*DIP, "metric"), 14, ("tree.conditions[0].metric", "14", "RSI")),
    Row("metric is missing", (*DIP, "metric"), ABSENT, ("tree.conditions[0].metric: missing",)),
    Row(
        "unknown comparator",
        (*DIP, "comparator"),
        "<",
        ("tree.conditions[0].comparator", "'<'", "lt, lte, gt, gte, crossAbove, crossBelow"),
    ),
    Row("nearest comparator", (*DIP, "comparator"), "crossabove", ("did you mean 'crossAbove'",)),
    Row("comparator is missing", (*DIP, "comparator"), ABSENT, ("tree.conditions[0].comparator: missing",)),
    Row("window 0", (*DIP, "window"), 0, ("tree.conditions[0].window", "from 1 to 100,000", "got 0")),
    Row("window -1", (*DIP, "window"), -1, ("tree.conditions[0].window", "got -1")),
    Row("window 1e9", (*DIP, "window"), 1e9, ("tree.conditions[0].window", "got 1000000000.0")),
    Row("window 10^20", (*DIP, "window"), 10**20, ("tree.conditions[0].window", "got 100000000000000000000")),
    Row("window 2.5", (*DIP, "window"), 2.5, ("tree.conditions[0].window", "expected an integer", "got 2.5")),
    Row("window true", (*DIP, "window"), True, ("tree.conditions[0].window", "got True")),
    Row("window is text", (*DIP, "window"), "10", ("tree.conditions[0].window", "got '10'")),
    Row("window NaN", (*DIP, "window"), float("nan"), ("tree.conditions[0].window", "got nan")),
    Row("window infinite", (*DIP, "window"), float("inf"), ("tree.conditions[0].window", "got inf")),
    Row("window is missing", (*DIP, "window"), ABSENT, ("tree.conditions[0].window: missing",)),
    Row("bad window where none is needed", (*UP, "window"), 0, ("tree.conditions[1].window", "got 0")),
    Row("right window 0", (*UP, "rightWindow"), 0, ("tree.conditions[1].rightWindow", "got 0")),
    Row("right window is missing", (*UP, "rightWindow"), ABSENT, ("tree.conditions[1].rightWindow: missing",)),
    Row("threshold true", (*DIP, "threshold"), True, ("tree.conditions[0].threshold", "finite number", "got True")),
    Row("threshold NaN", (*DIP, "threshold"), float("nan"), ("tree.conditions[0].threshold", "got nan")),
    Row(
        "threshold of 400 digits",
        (*DIP, "threshold"),
        10**399,
        ("tree.conditions[0].threshold", "finite number", "1000"),
    ),
    Row("threshold is text", (*DIP, "threshold"), "30", ("tree.conditions[0].threshold", "got '30'")),
    Row("threshold is missing", (*DIP, "threshold"), ABSENT, ("tree.conditions[0].threshold: missing",)),
    Row(
        "threshold and a right side",
        (*UP, "threshold"),
        3,
        ("tree.conditions[1].threshold", 'not allowed with "expanded": true'),
    ),
    Row(
        "right side without expanded",
        (*DIP, "rightTicker"),
        "KO",
        ("tree.conditions[0].rightTicker", 'only allowed with "expanded": true'),
    ),
    Row(
        "expanded is a number", (*UP, "expanded"), 1, ("tree.conditions[1].expanded", "expected true or false", "got 1")
    ),
    Row("forDays 0", (*DIP, "forDays"), 0, ("tree.conditions[0].forDays", "from 1 to 10,000", "got 0")),
    Row(
        "cross for days",
        DIP,
        {**TREE["conditions"][0], "comparator": "crossAbove", "forDays": 3},
        ("tree.conditions[0].forDays", "3 with crossAbove", "allowed: 1"),
    ),
    Row("ticker is a path", (*DIP, "ticker"), "../AAPL", ("tree.conditions[0].ticker", "'../AAPL'", "no '..'")),
    Row("ticker is an absolute path", (*DIP, "ticker"), "/etc/passwd", ("tree.conditions[0].ticker", "'/etc/passwd'")),
    Row("ticker with a backslash", (*DIP, "ticker"), "..\\AAPL", ("tree.conditions[0].ticker",)),
    Row("ticker with a null byte", (*DIP, "ticker"), "AAPL\0", ("tree.conditions[0].ticker", "'AAPL\\x00'")),
    Row("ticker too long", (*DIP, "ticker"), "A" * 33, ("tree.conditions[0].ticker", "at most 32")),
    Row("ticker is a number", (*DIP, "ticker"), 5, ("tree.conditions[0].ticker", "got 5")),
    Row("signal on cash", (*DIP, "ticker"), "CASH", ("tree.conditions[0].ticker", "a ticker with prices", "'CASH'")),
    Row(
        "position is a path",
        (*THEN, 0, "positions", 1),
        "a/../../b",
        ("tree.children.then[0].positions[1]", "'a/../../b'"),
    ),
    Row(
        "positions is text",
        (*THEN, 0, "positions"),
        "AAPL",
        ("tree.children.then[0].positions", "list of tickers", "'AAPL'"),
    ),
    Row("positions is missing", (*THEN, 0, "positions"), ABSENT, ("tree.children.then[0].positions", "None")),
    Row(
        "unknown weighting",
        (*ELSE, 0, "weighting"),
        "invers",
        ("tree.children.else[0].weighting", "'invers'", "equal, defined"),
    ),
    Row("weighting of another kind", ("weighting",), "equal", ("tree.weighting", "did you mean 'weightingThen'")),
    Row(
        "weight is missing",
        (*ELSE, 0, "children", "next", 1, "weight"),
        ABSENT,
        ("tree.children.else[0].children.next[1].weight", "missing", "'defined'"),
    ),
    Row(
        "weight is negative",
        (*ELSE, 0, "children", "next", 1, "weight"),
        -40,
        ("tree.children.else[0].children.next[1].weight", ">= 0", "got -40"),
    ),
    Row("weight is infinite", (*ELSE, 0, "children", "next", 1, "weight"), float("inf"), ("finite number", "got inf")),
    Row("placeholder with a capital", (*DIP, "window"), "$N", ("tree.conditions[0].window", "$name", "'$N'")),
    Row("placeholder too long", (*DIP, "window"), "$" + "n" * 33, ("tree.conditions[0].window", "at most 32")),
]


@table(TREES)
def test_tree(row: Row) -> None:
    assert_says(message_of(lambda: parse_tree(with_value(TREE, row.place, row.value))), row.fragments)


GATE_DIP = ("tree", *DIP)
N = ("axes", "n")
JOBS = [
    Row("job is a list", (), [], ("job: expected an object", "[]")),
    Row("unknown field", ("axis",), {}, ("axis", "did you mean 'axes'", "execution")),
    Row("tree and trees", ("trees",), ["a.json"], ('either "tree" or "trees"', "both")),
    Row("neither tree nor trees", ("tree",), ABSENT, ('either "tree" or "trees"', "none")),
    Row("mistake in the tree", (*GATE_DIP, "window"), 0, ("tree.conditions[0].window", "got 0")),
    Row("name is a number", ("name",), 5, ("name: expected a string, got 5",)),
    Row("no data", ("data",), ABSENT, ("data: expected a source", "sample:us20", "None")),
    Row("unknown data field", ("data", "begin"), "2015-01-01", ("data.begin", "'begin'", "source, start, end, clean")),
    Row("start is no date", ("data", "start"), "2015-02-30", ("data.start", "YYYY-MM-DD", "'2015-02-30'")),
    Row("end is a number", ("data", "end"), 2015, ("data.end", "YYYY-MM-DD", "2015")),
    Row("start after end", ("data", "end"), "2014-12-31", ("data: start 2015-01-01 is after end 2014-12-31",)),
    Row(
        "unknown clean policy",
        ("data", "clean"),
        ["sorted"],
        ("data.clean", "'sorted'", "did you mean 'sort'", "drop_invalid"),
    ),
    Row("clean is a number", ("data", "clean"), 1, ("data.clean", "list of policies", "1")),
    Row("benchmark is a list", ("benchmark",), ["SPX"], ("benchmark: expected a string", "['SPX']")),
    Row("axes is a list", ("axes",), [], ("axes: expected an object", "[]")),
    Row("axis without use", ("axes", "spare"), "1..3", ("axes.spare", "not used", "$spare")),
    Row(
        "placeholder without axis",
        (*GATE_DIP, "ticker"),
        "$stock",
        ("axes", "$stock is used in a tree but has no axis"),
    ),
    Row("nearest axis", ("tree", *UP, "rightWindow"), "$lows", ("$lows", "did you mean 'low'")),
    Row(
        "path matches no node",
        (*N, "paths"),
        ["gaet.dip.window"],
        ("axes.n.paths", "no node 'gaet'", "did you mean 'gate'"),
    ),
    Row("path matches no condition", (*N, "paths"), ["gate.dib.window"], ("axes.n.paths", "did you mean 'dip.window'")),
    Row(
        "path matches no field",
        (*N, "paths"),
        ["gate.dip.windw"],
        ("axes.n.paths: gate.dip.windw", "did you mean 'dip.window'", "allowed: "),
    ),
    Row(
        "path matches two things",
        (*N, "paths"),
        ["in.positions"],
        ("axes.n.paths: in.positions", "positions[0], positions[1]"),
    ),
    Row(
        "path taken by another axis",
        (*N, "paths"),
        ["gate.dip.threshold"],
        ("axes.low.paths: gate.dip.threshold", "already swept by axis 'n'"),
    ),
    Row("path listed twice", (*N, "paths"), ["gate.dip.window"] * 2, ("axes.n.paths", "already swept by axis 'n'")),
    Row("no paths", (*N, "paths"), [], ("axes.n.paths", "list of paths", "[]")),
    Row("paths is text", (*N, "paths"), "gate.dip.window", ("axes.n.paths", "list of paths", "'gate.dip.window'")),
    Row("unknown axis field", (*N, "value"), 3, ("axes.n.value", "did you mean 'values'", "paths, values")),
    Row("axis with a capital", ("axes", "Low"), "1..3", ("axes.Low", "[a-z][a-z0-9_]*")),
    Row("axis named by 33 letters", ("axes", "a" * 33), "1..3", ("axes." + "a" * 33, "at most 32")),
    Row("axis named branch", ("axes", "branch"), "1..3", ("axes.branch", "name of a result column")),
    Row(
        "axis named like a metric column", ("axes", "is_sharpe"), "1..3", ("axes.is_sharpe", "name of a result column")
    ),
    Row("axis named like a segment", ("axes", "oos_extra"), "1..3", ("axes.oos_extra", "name of a result column")),
    Row("values is a number", (*N, "values"), 5, ("axes.n", "5..14", "got 5")),
    Row("values is missing", (*N, "values"), ABSENT, ("axes.n", "a list", "got None")),
    Row("values is unreadable", (*N, "values"), "2 to 20", ("axes.n", '"20..40 by 5"', "'2 to 20'")),
    Row("end off the grid", (*N, "values"), "20..42 by 5", ("axes.n: 42 is not on the grid from 20 by 5", "40 and 45")),
    Row("end of a decimal grid off", ("axes", "low", "values"), "0.1..0.95 by 0.1", ("axes.low: 0.95", "0.9 and 1.0")),
    Row("descending range", (*N, "values"), "20..2", ("axes.n", "20 is above 2")),
    Row("step 0", (*N, "values"), "2..20 by 0", ("axes.n", "step 0", "above 0")),
    Row("step is negative", (*N, "values"), "2..20 by -2", ("axes.n", "step -2", "above 0")),
    Row("decimal ends without a step", ("axes", "low", "values"), "0.5..2", ("axes.low", "needs a step")),
    Row(
        "too many values",
        ("axes", "low", "values"),
        "0..1e9",
        ("axes.low", "1,000,000,001 values", "at most 1,000,000"),
    ),
    Row("far too many values", ("axes", "low", "values"), "0..1 by 1e-99", ("axes.low", "at most 1,000,000")),
    Row("around a plain name", (*GATE_DIP, "window"), "$n", ("axes.n.paths", "already swept")),
    Row("around off the grid", (*N, "values"), "±7 by 2", ("axes.n", "±7 is not a multiple of 2", "±6 and ±8")),
    Row("around with mixed units", (*N, "values"), "±20% by 5", ("axes.n", "'±20% by 5'", "both or none")),
    Row("around with step 0", (*N, "values"), "±3 by 0", ("axes.n", "step > 0")),
    Row("around leads out of the field", (*N, "values"), "±10", ("axes.n", "gate.dip.window = 0", "from 1 to 100,000")),
    Row(
        "around two numbers",
        N,
        {"paths": ["gate.dip.window", "gate.up.rightWindow"], "values": "±3"},
        ("axes.n", "'±3'", "around one number", "10, 20"),
    ),
    Row("around a ticker", ("axes", "t"), {"paths": ["gate.up.ticker"], "values": "±3"}, ("axes.t", "'±3'", "'AAPL'")),
    Row("empty list", (*N, "values"), [], ("axes.n", "at least one value")),
    Row("duplicate values", (*N, "values"), [2, 5, 2, 9, 5], ("axes.n", "[2, 5]", "each value once")),
    Row(
        "duplicate after normal form",
        ("axes", "m"),
        {"paths": ["gate.dip.metric"], "values": ["RSI", "Relative Strength Index"]},
        ("axes.m", "'Relative Strength Index'", "each value once"),
    ),
    Row("all bad values of a list", (*N, "values"), [0, 2, "x"], ("axes.n", "value 0", "got 0", "value 2", "got 'x'")),
    Row("value makes the tree invalid", (*N, "values"), "0..5", ("axes.n: gate.dip.window = 0", "from 1 to 100,000")),
    Row("value true", (*N, "values"), [True, 2], ("axes.n", "got True")),
    Row(
        "fractions as windows", (*N, "values"), "2..4 by 0.5", ("axes.n: gate.dip.window = 2.5", "expected an integer")
    ),
    Row(
        "unknown indicator as value",
        ("axes", "m"),
        {"paths": ["gate.dip.metric"], "values": ["RSI", "RSY"]},
        ("axes.m", "'RSY'", "did you mean 'RSI'"),
    ),
    Row(
        "path as a ticker value",
        ("axes", "t"),
        {"paths": ["gate.dip.ticker"], "values": ["../x"]},
        ("axes.t", "'../x'"),
    ),
    Row(
        "numbers and names at once",
        ("axes", "m"),
        {"paths": ["gate.dip.forDays", "gate.dip.ticker"], "values": [1]},
        ("axes.m", "numbers and names at once", "gate.dip.ticker and gate.dip.forDays"),
    ),
    Row(
        "swept cross with forDays",
        (*GATE_DIP,),
        {**TREE["conditions"][0], "comparator": "$c", "forDays": 2},
        ("$c is used in a tree but has no axis",),
    ),
    Row("where is a number", ("where",), 5, ("where: expected a list", "5")),
    Row("where clause is a number", ("where",), [5], ("where[0]", "expected a condition", "5")),
    Row("where is empty", ("where",), [" "], ("where[0]", "expected a condition")),
    Row(
        "where with an unknown name",
        ("where",),
        ["n < 5", "lwo > 3"],
        ("where[1]", "unknown name 'lwo'", "did you mean 'low'", "allowed: n, low"),
    ),
    Row("where is no expression", ("where",), ["n <"], ("where[0]", "cannot read 'n <'")),
    Row("where without comparison", ("where",), ["n + low"], ("where[0]", "expected a comparison", "'n + low'")),
    Row("where without names", ("where",), ["1 < 2"], ("where[0]", "compares constants", "'1 < 2'")),
    Row("where calls a function", ("where",), ["__import__('os').system('true') == 0"], ("where[0]", "allowed: ")),
    Row("where reads an attribute", ("where",), ["n.real < 3"], ("where[0]", "not allowed here: 'n.real'")),
    Row("where raises to a power", ("where",), ["n ** 9 ** 9 < 3"], ("where[0]", "not allowed here", "+ - * /")),
    Row("where shifts", ("where",), ["1 << 99999999 < n"], ("where[0]", "not allowed here")),
    Row("where has a lambda", ("where",), ["(lambda: n)() < 3"], ("where[0]", "n")),
    Row("where multiplies text", ("where",), ["'a' * 999999999 == n"], ("where[0]", "cannot calculate with 'a'")),
    Row("where divides by zero", ("where",), ["n < 1 / 0"], ("where[0]", "'1 / 0'", "division by zero")),
    Row(
        "where with a number beyond 2^53",
        ("where",),
        [f"n < {10**20}"],
        ("where[0]", "too large", "9,007,199,254,740,992"),
    ),
    Row("where is nested deeply", ("where",), ["-" * 1500 + "n < 3"], ("where[0]",)),
    Row(
        "where adds a thousand times",
        ("where",),
        ["1 + " * 450 + "n < 3"],
        ("where[0]", "nested deeper than 100 levels"),
    ),
    Row("where in brackets", ("where",), ["(" * 900 + "n" + ")" * 900 + " < 3"], ("where[0]", "cannot read")),
    Row("where is too long", ("where",), ["n < 3 or " * 300 + "n < 3"], ("where[0]", "at most 2,000")),
    Row("where in an empty list", ("where",), ["n in ()"], ("where[0]", "expected a list of values after 'in'", "()")),
    Row("where in a name", ("where",), ["n in low"], ("where[0]", "expected a list of values after 'in'", "'low'")),
    Row("where compares a number with text", ("where",), ["n == 'AAPL'"], ("where[0]", "compares text with a number")),
    Row("where finds text among numbers", ("where",), ["n in (2, 'x')"], ("where[0]", "compares text with a number")),
    Row("where compares identity", ("where",), ["n is 3 < low"], ("where[0]",)),
    Row("execution is a list", ("execution",), [], ("execution: expected an object", "[]")),
    Row("unknown execution field", ("execution", "costs"), 5, ("execution.costs", "'costs'", "cost_bps")),
    Row("unknown mode", ("execution", "mode"), "OX", ("execution.mode", "'OX'", "allowed: CC, CO, OO, OC")),
    Row("lag is negative", ("execution", "lag"), -1, ("execution.lag", "from 0 to 1000", "-1")),
    Row("lag is a fraction", ("execution", "lag"), 1.5, ("execution.lag", "1.5")),
    Row("lag true", ("execution", "lag"), True, ("execution.lag", "True")),
    Row("cost is negative", ("execution", "cost_bps"), -5, ("execution.cost_bps", "from 0 to 2500", "-5")),
    Row("cost NaN", ("execution", "cost_bps"), float("nan"), ("execution.cost_bps", "nan")),
    Row("cost of 400 digits", ("execution", "cost_bps"), 10**399, ("execution.cost_bps", "from 0 to 2500")),
    Row(
        "unknown rebalance",
        ("execution", "rebalance"),
        "dayly",
        ("execution.rebalance", "did you mean 'daily'", "allowed: daily"),
    ),
    Row(
        "execution start is no date",
        ("execution", "start"),
        "soon",
        ("execution.start", '"common"', "YYYY-MM-DD", "'soon'"),
    ),
    Row("unknown calendar", ("execution", "calendar"), "union", ("execution.calendar", "'union'", "intersection")),
    Row("unknown null rule", ("execution", "null"), "then", ("execution.null", "'then'", "cash, else")),
    Row("cash rate as percent", ("execution", "cash_rate"), 4.5, ("execution.cash_rate", "from -1 to 1", "4.5")),
    Row("risk-free rate is text", ("execution", "risk_free"), "2%", ("execution.risk_free", "'2%'")),
    Row("cash-like is text", ("execution", "cash_like"), "BIL", ("execution.cash_like", "list of tickers", "'BIL'")),
    Row(
        "unknown split",
        ("split",),
        "odd_even_month",
        ("split", "'odd_even_month'", "did you mean 'even_odd_month'", "holdout"),
    ),
    Row("unknown split object", ("split",), {"holdup": "30%"}, ("split", "holdup", "allowed: ")),
    Row("two splits", ("split",), {"holdout": "30%", "chronological": "70%"}, ("split", "allowed: ")),
    Row("holdout 0", ("split",), {"holdout": "0%"}, ("split.holdout", "above 0 and below 100%", "'0%'")),
    Row("holdout 130%", ("split",), {"holdout": "130%"}, ("split.holdout", "'130%'")),
    Row("holdout 30", ("split",), {"holdout": 30}, ("split.holdout", "below 100%", "30")),
    Row("holdout true", ("split",), {"holdout": True}, ("split.holdout", "True")),
    Row("holdout with a huge exponent", ("split",), {"holdout": "1e999999999%"}, ("split.holdout", "below 100%")),
    Row(
        "chronological on no date", ("split",), {"chronological": "2015-13-01"}, ("split.chronological", "'2015-13-01'")
    ),
    Row("require is a list", ("require",), [], ("require: expected an object", "[]")),
    Row(
        "requirement without segment",
        ("require",),
        {"max_drawdown": "<= 35%"},
        ("require.max_drawdown", "unknown segment", "full, is, oos"),
    ),
    Row(
        "requirement on an unknown metric",
        ("require",),
        {"is.sharp": ">= 1"},
        ("require.is.sharp", "did you mean 'sharpe'", "cagr"),
    ),
    Row(
        "requirement 35 on a fraction",
        ("require",),
        {"is.max_drawdown": "<= 35"},
        ("require.is.max_drawdown", "35 on a fraction", '"35%" or 0.35'),
    ),
    Row(
        "bare requirement 35 on a fraction",
        ("require",),
        {"is.max_drawdown": 35},
        ("require.is.max_drawdown", '"35%" or 0.35'),
    ),
    Row(
        "percent on a number",
        ("require",),
        {"is.sharpe": ">= 50%"},
        ("require.is.sharpe", "50% on a metric that is not a fraction"),
    ),
    Row("requirement without sign", ("require",), {"is.sharpe": "1.5"}, ("require.is.sharpe", '">= 1.2"', "'1.5'")),
    Row("requirement with another sign", ("require",), {"is.sharpe": "> 1"}, ("require.is.sharpe", "'> 1'")),
    Row("requirement 1e999", ("require",), {"is.sharpe": "<= 1e999"}, ("require.is.sharpe", "inf")),
    Row("requirement of 400 digits", ("require",), {"is.sharpe": 10**399}, ("require.is.sharpe", "at most 1e+15")),
    Row("requirement NaN", ("require",), {"is.sharpe": float("nan")}, ("require.is.sharpe", "nan")),
    Row("requirement true", ("require",), {"is.sharpe": True}, ("require.is.sharpe", "True")),
    Row("unknown keep", ("keep",), "passed", ("keep", "'passed'", "did you mean 'passing'", "all, passing")),
    Row("keep is a list", ("keep",), ["all"], ("keep", "['all']")),
]


@table(JOBS)
def test_job(row: Row) -> None:
    assert_says(message_of(lambda: parse_job(with_value(JOB, row.place, row.value))), row.fragments)


PREPARED = [
    Row(
        "missing ticker",
        (*GATE_DIP, "ticker"),
        "APPL",
        ("ticker APPL", "not in sample:us20", "did you mean 'AAPL'", "MSFT"),
    ),
    Row("missing benchmark", ("benchmark",), "SPY", ("benchmark: SPY is not in sample:us20", "did you mean 'SPX'")),
    Row(
        "ticker of an axis is missing",
        ("axes", "t"),
        {"paths": ["gate.dip.ticker"], "values": ["AAPL", "MSFF"]},
        ("ticker MSFF", "MSFT"),
    ),
    Row("unknown sample", ("data",), "sample:us2", ("data", "'us2'", "did you mean 'us20'")),
    Row("missing folder", ("data",), "no/such/folder", ("data", "no/such/folder", "sample:us20")),
    Row("folder with a null byte", ("data",), "a\0b", ("data",)),
    Row(
        "window longer than the data",
        ("tree", *UP, "rightWindow"),
        9000,
        ("gate.up", "AAPL", "looks back 8,999 bars", "allowed up to 2,011"),
    ),
    Row(
        "longest value of an axis longer than the data",
        (*N, "values"),
        [5, 99_999],
        ("gate.dip", "AAPL", "looks back 99,999 bars", "allowed up to 2,011"),
    ),
    Row("nothing left to trade", ("execution", "start"), "2030-01-01", ("no bar left to trade", "2022-12-28")),
    Row(
        "no bars in the range",
        ("data", "start"),
        "2030-01-01",
        ("ticker AAPL", "no bar from 2030-01-01", "1990-01-02 to 2022-12-28"),
    ),
    Row(
        "lag longer than the data",
        ("data",),
        {"source": "sample:us20", "start": "2022-09-01"},
        ("no bar left to trade",),
    ),
    Row("where excludes everything", ("where",), ["n > 99"], ("where", "no branch")),
]


@table(PREPARED)
def test_job_that_does_not_fit_its_data(row: Row) -> None:
    job = with_value(JOB, row.place, row.value)
    if row.name == "lag longer than the data":
        job["execution"] = {"lag": 100}
    assert_says(message_of(lambda: prepare(parse_job(job))), row.fragments)


def test_swept_contradictions_name_the_values_of_their_branches() -> None:
    crossing = {**TREE["conditions"][0], "comparator": "$c", "forDays": "$d"}
    job = with_value(JOB, GATE_DIP, crossing) | {"axes": {"c": ["lt", "crossAbove"], "d": "1..3"}, "where": []}
    place = "tree.conditions[0].forDays: 2 with crossAbove"
    assert_says(message_of(lambda: parse_job(job)), (place, "branches with c = 'crossAbove', d = 2"))


def test_contradictions_that_constraints_exclude_are_none() -> None:
    crossing = {**TREE["conditions"][0], "comparator": "$c", "forDays": "$d"}
    job = with_value(JOB, GATE_DIP, crossing) | {"axes": {"c": ["lt", "crossAbove"], "d": "1..3"}}
    assert parse_job(job | {"where": ["c == 'lt' or d == 1"]}).grid.admitted == 4


def test_all_mistakes_of_a_job_are_reported_at_once() -> None:
    job: Any = JOB
    for place, value in (
        ((*GATE_DIP, "metric"), "RSY"),
        (("tree", *UP, "id"), "u p"),
        (("tree", *THEN, 0, "id"), "gate"),
        (("tree", *ELSE, 0, "children", "next", 1, "weight"), ABSENT),
        (("data", "start"), "today"),
        (("axes", "BAD"), "1..3"),
        (("where",), ["nn < 3", "n <"]),
        (("execution", "lag"), -1),
        (("split",), "thirds"),
        (("require", "is.max_drawdown"), 35),
        (("keep",), "some"),
        (("benchmark",), 5),
        (("colour",), "red"),
    ):
        job = with_value(job, place, value)
    message = message_of(lambda: parse_job(job))
    for fragment in (
        "'RSY'",
        "'u p'",
        "'gate' is used 2 times",
        "next[1].weight: missing",
        "'today'",
        "axes.BAD",
        "'nn'",
        "where[1]",
        "execution.lag",
        "'thirds'",
        "35 on a fraction",
        "'some'",
        "benchmark",
        "'colour'",
    ):
        assert fragment in message


def test_mistakes_of_axes_do_not_hide_each_other() -> None:
    job = with_value(JOB, (*N, "values"), "20..42 by 5") | {"where": ["low == 'x'"]}
    job["axes"]["low"]["values"] = [5, 5]
    message = message_of(lambda: parse_job(job))
    assert_says(message, ("axes.n: 42 is not on the grid", "axes.low: repeated values [5.0]"))


def test_a_broken_tree_does_not_raise_false_alarms_about_axes() -> None:
    message = message_of(lambda: parse_job(with_value(JOB, (*GATE_DIP, "comparator"), "<")))
    assert "axes" not in message


def test_mistakes_of_several_trees_name_their_tree(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps(with_value(TREE, (*DIP, "window"), 0)))
    (tmp_path / "two.json").write_text("{")
    job = with_value(JOB, ("tree",), ABSENT) | {
        "trees": ["one.json", "two.json", "three.json"],
        "axes": {},
        "where": [],
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    message = message_of(lambda: read_job(tmp_path / "job.json"))
    assert_says(
        message,
        (
            "one.json.conditions[0].window",
            "two.json: line 1, column 2: the text ends too early",
            "three.json: No such file",
        ),
    )


def test_a_tree_listed_twice_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps(TREE))
    job = with_value(JOB, ("tree",), ABSENT) | {"trees": ["one.json", "one.json"], "axes": {}, "where": []}
    assert_says(message_of(lambda: parse_job(job, folder=tmp_path)), ("trees: 'one.json' is listed 2 times",))


@pytest.mark.parametrize("trees", [[], {}, "trees/01.json", [1], [None]])
def test_trees_are_a_list_of_files_or_an_object(trees: object) -> None:
    job = with_value(JOB, ("tree",), ABSENT) | {"trees": trees}
    assert_says(message_of(lambda: parse_job(job)), ("trees: expected a list of tree files or an object of trees",))


@pytest.mark.parametrize(
    ("setting", "fragments"),
    [
        ("keep", ("--set", "KEY=VALUE", "'keep'")),
        ("=3", ("--set", "KEY=VALUE")),
        ("name.first=x", ("--set name.first", "does not lead to a field")),
        ("execution.lagg=3", ("execution.lagg", "did you mean 'lag'")),
        ("execution.lag=three", ("execution.lag", "'three'")),
        ("execution.lag=NaN", ("execution.lag", "'NaN'")),
        ("axes.n.values=0..3", ("axes.n: gate.dip.window = 0",)),
        ("execution..lag=3", ("execution.", "''")),
    ],
)
def test_settings(tmp_path: Path, setting: str, fragments: tuple[str, ...]) -> None:
    (tmp_path / "job.json").write_text(json.dumps(JOB))
    assert_says(message_of(lambda: read_job(tmp_path / "job.json", [setting])), fragments)


TEXTS = [
    ("empty", "", ("line 1, column 1: the text ends too early",)),
    ("spaces", " \n ", ("line 2, column 2: the text ends too early",)),
    ("two values", "{} {}", ("line 1, column 4", "expected end")),
    ("NaN", '{"name": NaN}', ("line 1, column 10", "'NaN}'")),
    ("Infinity", '{"name":\n -Infinity}', ("line 2, column 2", "'-Infinity}'")),
    ("1e999", '{"name": 1e999}', ("line 1, column 10: the number 1e999 is not finite",)),
    ("leading zero", '{"name": 01}', ("line 1, column 10", "'01}'")),
    ("duplicate keys", '{"name": "a",\n "name": "b"}', ("line 2, column 2: duplicate key 'name'",)),
    ("duplicate keys by escape", '{"name": 1, "n\\u0061me": 2}', ("duplicate key 'name'",)),
    ("single quotes", "{'name': 1}", ("line 1, column 2", "not a JSON value")),
    ("trailing comma", '{"name": 1,}', ("line 1, column 12", "expected key")),
    ("comment", "{} // done", ("line 1, column 4", "'// done'")),
    ("string without end", '{"name": "abc', ("line 1, column 10: a string that does not end",)),
    ("line break in a string", '{"name": "a\nb"}', ("line 1, column 10: a string", "control character")),
    ("bad escape", '{"name": "\\x41"}', ("line 1, column 10: a string", "bad escape")),
    ("half of a surrogate pair", '{"name": "\\ud800"}', ("line 1, column 10: half of a surrogate pair",)),
    ("digits", '{"name": ' + "1" * 5000 + "}", ("a number of 5000 digits",)),
    ("brackets", "[" * 100_000, ("column 4001: nested deeper than 4,000 levels",)),
    ("objects", '{"a":' * 100_000, ("nested deeper than 4,000 levels",)),
    ("mixed brackets", '{"name": [1}', ("line 1, column 12: found '}'",)),
    ("byte order mark", "\ufeff{}", ("line 1, column 1", "not a JSON value")),
]


@pytest.mark.parametrize(("text", "fragments"), [row[1:] for row in TEXTS], ids=[row[0] for row in TEXTS])
def test_text(tmp_path: Path, text: str, fragments: tuple[str, ...]) -> None:
    (tmp_path / "job.json").write_text(text, encoding="utf-8")
    assert_says(message_of(lambda: read_job(tmp_path / "job.json")), (str(tmp_path / "job.json"), *fragments))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes(b'{"name": "\xe9"}')
    (tmp_path / "large.json").write_bytes(b" " * (jsontext.MAX_BYTES + 1))
    assert_says(message_of(lambda: read_job(tmp_path / "none.json")), ("none.json: No such file",))
    assert_says(message_of(lambda: read_job(tmp_path)), (str(tmp_path), "Is a directory"))
    assert_says(message_of(lambda: read_job(tmp_path / "latin.json")), ("latin.json: byte 10", "not UTF-8"))
    assert_says(message_of(lambda: read_job(tmp_path / "large.json")), ("large.json", "16,777,216 bytes"))
    assert_says(message_of(lambda: read_job("/dev/zero")), ("/dev/zero", "16,777,216 bytes"))
    assert_says(message_of(lambda: read_job("a\0b")), ("null",))


def test_limits_of_size_and_depth_are_options(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 20 + "]" * 20)
    assert jsontext.read_file(tmp_path / "deep.json", max_bytes=40, max_depth=20)
    with pytest.raises(InputError, match="deeper than 19 levels"):
        jsontext.read_file(tmp_path / "deep.json", max_depth=19)
    with pytest.raises(InputError, match="39 bytes"):
        jsontext.read_file(tmp_path / "deep.json", max_bytes=39)


def deep_tree(n: int) -> dict[str, Any]:
    """A chain of n nodes."""
    tree: dict[str, Any] = {"id": f"n{n}", "kind": "position", "positions": ["AAPL"]}
    for k in range(n - 1, 0, -1):
        tree = {"id": f"n{k}", "kind": "basic", "children": {"next": [tree]}}
    return tree


def test_a_tree_is_at_most_a_thousand_nodes_deep() -> None:
    assert len(parse_tree(deep_tree(1000)).nodes) == 1000
    assert_says(message_of(lambda: parse_tree(deep_tree(1001))), ("next[0]: nested deeper than 1,000 nodes",))
    assert_says(message_of(lambda: parse_tree(deep_tree(11), max_depth=10)), ("nested deeper than 10 nodes",))


def test_many_mistakes_deep_below_the_root_stay_readable() -> None:
    tree = deep_tree(1000)
    lowest = tree
    while "children" in lowest:
        above, lowest = lowest, lowest["children"]["next"][0]
    above["children"]["next"] = [{}] * 50_000
    message = message_of(lambda: parse_tree(tree))
    assert message.count("\n") <= 100
    assert "next[99].kind: unknown kind None" in message


Bars = dict[str, list[Any]]
DAYS = [date(2020, 1, 1) + timedelta(days=k) for k in range(6)]


def bars(**columns: list[Any]) -> Bars:
    return {"Date": DAYS, "Close": [10.0, 11.0, 12.0, 11.0, 10.0, 9.0], **columns}


def changed(values: list[Any], k: int, value: object) -> list[Any]:
    return [*values[:k], value, *values[k + 1 :]]


CLOSES = bars()["Close"]
TABLES: list[tuple[str, Bars, tuple[str, ...]]] = [
    ("no Date", {"Day": DAYS, "Close": CLOSES}, ("BAD.parquet", "no column Date", "there: Day, Close")),
    ("no Close", {"Date": DAYS, "close": CLOSES}, ("BAD.parquet", "no column Close", "there: Date, close")),
    ("no rows", {"Date": pa.array([], pa.date32()), "Close": pa.array([], pa.float64())}, ("ticker BAD", "no rows")),
    ("text as Close", bars(Close=["a"] * 6), ("ticker BAD", "Close is string", "allowed: numbers")),
    ("numbers as Date", bars(Date=[1, 2, 3, 4, 5, 6]), ("ticker BAD", "Date is int64", "ISO strings")),
    (
        "text that is no Date",
        bars(Date=["2020-01-01", "soon", *["2020-01-03"] * 4]),
        ("ticker BAD", "soon", "YYYY-MM-DD"),
    ),
    ("row without Date", bars(Date=changed(DAYS, 2, None)), ("ticker BAD", "1 rows without a date", "row 2")),
    (
        "NaN",
        bars(Close=changed(CLOSES, 3, float("nan"))),
        ("ticker BAD", "Close is nan on 2020-01-04", 'clean "drop_invalid"'),
    ),
    ("missing price", bars(Close=changed(CLOSES, 3, None)), ("ticker BAD", "Close is nan on 2020-01-04")),
    (
        "infinite",
        bars(Close=changed(CLOSES, 0, float("inf"))),
        ("ticker BAD", "Close is inf on 2020-01-01", "finite and above 0"),
    ),
    ("zero", bars(Close=changed(CLOSES, 5, 0.0)), ("ticker BAD", "Close is 0 on 2020-01-06")),
    ("negative", bars(Close=changed(CLOSES, 1, -3.5)), ("ticker BAD", "Close is -3.5 on 2020-01-02")),
    ("adjusted zero", bars(**{"Adj Close": changed(CLOSES, 2, 0.0)}), ("ticker BAD", "Adj Close is 0 on 2020-01-03")),
    (
        "duplicate dates",
        bars(Date=changed(DAYS, 3, DAYS[2])),
        ("ticker BAD", "date 2020-01-03 appears more than once", 'clean "drop_duplicates"'),
    ),
    (
        "unsorted dates",
        bars(Date=[*DAYS[:4], DAYS[5], DAYS[4]]),
        ("ticker BAD", "2020-01-05 follows 2020-01-06", 'clean "sort"'),
    ),
]


def write_bars(folder: Path, ticker: str, columns: Bars) -> Path:
    pq.write_table(pa.table(columns), folder / f"{ticker}.parquet")
    return folder / f"{ticker}.parquet"


@pytest.mark.parametrize(("columns", "fragments"), [row[1:] for row in TABLES], ids=[row[0] for row in TABLES])
def test_market_data(tmp_path: Path, columns: Bars, fragments: tuple[str, ...]) -> None:
    write_bars(tmp_path, "GOOD", bars())
    write_bars(tmp_path, "BAD", columns)
    message = message_of(lambda: load(str(tmp_path), ["GOOD", "BAD"]))
    assert_says(message, fragments)
    assert "GOOD" not in message


@pytest.mark.parametrize(
    ("policy", "columns", "count", "left"),
    [
        ("sort", bars(Date=[*DAYS[:4], DAYS[5], DAYS[4]]), 1, 6),
        ("drop_duplicates", bars(Date=changed(DAYS, 3, DAYS[2])), 1, 5),
        ("drop_invalid", bars(Close=[10.0, float("nan"), 0.0, -1.0, float("inf"), 9.0]), 4, 2),
    ],
)
def test_cleaning_is_asked_for_and_counted(tmp_path: Path, policy: str, columns: Bars, count: int, left: int) -> None:
    write_bars(tmp_path, "BAD", columns)
    panel = load(str(tmp_path), ["BAD"], clean=[policy])
    assert panel.cleaned == {"BAD": {policy: count}}
    assert len(panel.dates) == left


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all, but long enough to hold a footer"])
def test_files_that_are_no_parquet(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "BAD.parquet").write_bytes(content)
    assert_says(message_of(lambda: load(str(tmp_path), ["BAD"])), ("BAD.parquet", "not a readable Parquet file"))


def test_truncated_and_damaged_parquet(tmp_path: Path) -> None:
    whole = write_bars(tmp_path, "BAD", bars()).read_bytes()
    for cut in range(0, len(whole), 37):
        (tmp_path / "BAD.parquet").write_bytes(whole[:cut])
        assert_says(message_of(lambda: load(str(tmp_path), ["BAD"])), ("BAD.parquet", "not a readable Parquet file"))


def test_all_tickers_are_checked_before_failing(tmp_path: Path) -> None:
    write_bars(tmp_path, "ONE", bars(Close=changed(CLOSES, 1, 0.0)))
    write_bars(tmp_path, "TWO", bars(Date=changed(DAYS, 3, DAYS[2])))
    (tmp_path / "THREE.parquet").write_bytes(b"")
    message = message_of(lambda: load(str(tmp_path), ["ONE", "TWO", "THREE", "FOUR"], carried={"FIVE": "benchmark"}))
    assert_says(message, ("ticker ONE", "ticker TWO", "THREE.parquet", "ticker FOUR", "benchmark: FIVE"))


def test_no_common_dates(tmp_path: Path) -> None:
    even, odd = DAYS[::2], DAYS[1::2]
    write_bars(tmp_path, "EVEN", {"Date": even, "Close": CLOSES[:3]})
    write_bars(tmp_path, "ODD", {"Date": odd, "Close": CLOSES[:3]})
    tree = {"id": "both", "kind": "position", "positions": ["EVEN", "ODD"]}
    message = message_of(lambda: prepare(parse_job({"data": str(tmp_path), "tree": tree})))
    assert_says(message, ("data: no bar left to trade", "ODD (position) is ready on 2020-01-02"))


def test_a_link_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "OUT.parquet").symlink_to(write_bars(tmp_path, "SECRET", bars()))
    with pytest.raises(DataError, match="OUT is not in"):
        load(str(tmp_path / "in"), ["OUT"])


HEAD = "Ticker,Date,Close\n"
ROW = "AAA,2020-01-01,1\n"
ONE: dict[str, Any] = {"Ticker": ["AAA"], "Date": DAYS[:1], "Close": [1.0]}
ISO = "allowed: YYYY-MM-DD"
NUMBER = "allowed: a number such as 1234.5"


class DataFile(NamedTuple):
    """A file that cannot be a source, what it holds (text, bytes or columns) and what the message must hold."""

    name: str
    file: str
    content: str | bytes | dict[str, Any]
    fragments: tuple[str, ...]


DATA_FILES = [
    DataFile("empty", "x.csv", "", ("x.csv: not a readable CSV file", "Empty CSV file")),
    DataFile("only line ends", "x.csv", "\n\n\n", ("x.csv: not a readable CSV file", "Empty CSV file")),
    DataFile("first line empty", "x.csv", "\n" + HEAD + ROW, ("x.csv: not a readable CSV file", "Empty CSV file")),
    DataFile("header only", "x.csv", HEAD, ("ticker AAA: AAA is not in", "x.csv", "there: nothing")),
    DataFile("rows of another ticker", "x.csv", HEAD + "aaa,2020-01-01,1\n", ("ticker AAA", "did you mean 'aaa'")),
    DataFile("semicolons", "x.csv", "Ticker;Date;Close\nAAA;2020-01-01;1\n", ("line 1", "by ';'", "allowed: commas")),
    DataFile("tabs", "x.csv", "Ticker\tDate\tClose\n", ("x.csv: line 1", "'\\t'", "allowed: commas")),
    DataFile("UTF-16", "x.csv", (HEAD + ROW).encode("utf-16"), ("x.csv: holds NUL bytes", "allowed: UTF-8")),
    DataFile("NUL byte", "x.csv", HEAD + "AAA,2020-01-01,1\0\n", ("x.csv: holds NUL bytes", "allowed: UTF-8")),
    DataFile("Latin-1", "x.csv", (HEAD + ROW + "Ä,2020-01-01,1\n").encode("latin1"), ("line 3", "invalid UTF8")),
    DataFile("Latin-1 names", "x.csv", "Ticker,Größe\n".encode("latin1"), ("not a readable CSV file", "utf-8")),
    DataFile("carriage returns", "x.csv", (HEAD + ROW).replace("\n", "\r"), ("line 1", "carriage return alone")),
    DataFile("an HTML page", "x.csv", "<html>Too many requests</html>\n", ("no column Ticker", "<html>Too many")),
    DataFile("a zip", "x.csv", b"PK\3\4\0\0", ("x.csv: holds NUL bytes",)),
    DataFile("thousands", "x.csv", HEAD + 'AAA,2020-01-01,"1,234.5"\n', ("line 2: 'Close' is '1,234.5'", NUMBER)),
    DataFile("bare thousands", "x.csv", HEAD + "AAA,2020-01-01,1,234.5\n", ("line 2", "3 columns, got 4", "1,234.5")),
    DataFile("decimal comma", "x.csv", HEAD + 'AAA,2020-01-01,"12,5"\n', ("line 2: 'Close' is '12,5'", NUMBER)),
    DataFile("currency", "x.csv", HEAD + ROW + "AAA,2020-01-02,$12\n", ("line 3: 'Close' is '$12'", NUMBER)),
    DataFile("mixed", "x.csv", HEAD + ROW + "AAA,2020-01-02,n.a.\n", ("line 3: 'Close' is 'n.a.'", NUMBER)),
    DataFile("hexadecimal", "x.csv", HEAD + "AAA,2020-01-01,0x10\n", ("line 2: 'Close' is '0x10'", NUMBER)),
    DataFile("digits with _", "x.csv", HEAD + "AAA,2020-01-01,1_000\n", ("line 2: 'Close' is '1_000'", NUMBER)),
    DataFile("short row", "x.csv", HEAD + ROW + "AAA,2020-01-02\n", ("line 3", "Expected 3 columns, got 2")),
    DataFile(
        "short row below a gap", "x.csv", HEAD + "\n\n" + ROW + "\nAAA\n", ("line 6", "Expected 3 columns, got 1")
    ),
    DataFile("open quote", "x.csv", HEAD + 'AAA,2020-01-01,"1\n' + ROW, ("line 2", "several lines", "a row on each")),
    DataFile("day and month", "x.csv", HEAD + "AAA,01/02/2003,1\n", ("line 2: 'Date' is '01/02/2003'", "either", ISO)),
    DataFile("with points", "x.csv", HEAD + "AAA,1.2.2003,1\n", ("line 2: 'Date' is '1.2.2003'", "either", ISO)),
    DataFile("two digits", "x.csv", HEAD + "AAA,01-02-03,1\n", ("line 2: 'Date' is '01-02-03'", "either", ISO)),
    DataFile("month in letters", "x.csv", HEAD + "AAA,2-Jan-2003,1\n", ("line 2: 'Date' is '2-Jan-2003'", ISO)),
    DataFile("date without signs", "x.csv", HEAD + "AAA,20030102,1\n", ("line 2: 'Date' is '20030102'", ISO)),
    DataFile("seconds since 1970", "x.csv", HEAD + "AAA,1577836800,1\n", ("line 2: 'Date' is '1577836800'", ISO)),
    DataFile("February 30", "x.csv", HEAD + "AAA,2020-02-30,1\n", ("ticker AAA: Date", "'2020-02-30'", ISO)),
    DataFile("year 0", "x.csv", HEAD + "AAA,0000-01-01,1\n", ("ticker AAA", "row 0", "allowed: 0001-01-01")),
    DataFile("no date", "x.csv", HEAD + ROW + "AAA,,1\n", ("line 3: 'Date' is ''", ISO)),
    DataFile("no ticker", "x.csv", HEAD + ROW + ",2020-01-02,1\n", ("x.csv: 1 rows without a ticker", "one in each")),
    DataFile("two bars of a day", "x.csv", HEAD + ROW + "AAA,2020-01-01 16:00,2\n", ("2020-01-01 appears", "clean")),
    DataFile("unsorted", "x.csv", HEAD + "AAA,2020-01-02,1\n" + ROW, ("2020-01-01 follows 2020-01-02", 'clean "sort"')),
    DataFile("null", "x.csv", HEAD + "AAA,2020-01-01,null\n", ("ticker AAA: Close is nan on 2020-01-01", "clean")),
    DataFile("infinite", "x.csv", HEAD + "AAA,2020-01-01,inf\n", ("ticker AAA: Close is inf on 2020-01-01", "clean")),
    DataFile(
        "column twice", "x.csv", "Ticker,Date,Close,Close\n", ("x.csv: more than one column Close", "one of each")
    ),
    DataFile(
        "small letters", "x.csv", "ticker,date,close\n", ("no column Ticker and no column Date", '"Close": "close"')
    ),
    DataFile("symbol", "x.csv", "Symbol,Date,Close\n", ("no column Ticker", 'map it: "columns": {"Ticker": "Symbol"}')),
    DataFile("blanks", "x.csv", "Ticker,Date, Close\n", ("no column Close", 'map it: "columns": {"Close": " Close"}')),
    DataFile("another adjusted close", "x.csv", "Ticker,Date,Close,adjClose\n", ("no column Adj Close", '"adjClose"')),
    DataFile("no Ticker", "x.csv", "Date,Close\n2020-01-01,1\n", ("no column Ticker", "folder as {TICKER}.parquet")),
    DataFile("endless line", "x.csv", HEAD + "A" * 9_000_000, ("x.csv: line 2", "longer than 4,194,304 bytes")),
    DataFile("endless header", "x.csv", "a," * 4_500_000, ("x.csv: line 1", "longer than 4,194,304 bytes")),
    DataFile("20,000 columns", "x.csv", ",".join(f"c{k}" for k in range(20_000)), ("c29 and 19,970 more",)),
    DataFile("plain text as gz", "x.csv.gz", HEAD + ROW, ("x.csv.gz: not a readable CSV file", "incorrect header")),
    DataFile(
        "cut gz", "x.csv.gz", gzip.compress((HEAD + ROW).encode())[:-6], ("x.csv.gz: not a readable", "Truncated")
    ),
    DataFile("gz of one line", "x.csv.gz", gzip.compress(b"A" * 90_000_000), ("line 1", "longer than 4,194,304 bytes")),
    DataFile("another ending", "x.xlsx", b"PK", ("data: ", "x.xlsx' ends with none of .parquet, .csv, .csv.gz")),
    DataFile(
        "tickers are numbers", "x.parquet", ONE | {"Ticker": [7]}, ("x.parquet: 'Ticker' is int64", "allowed: text")
    ),
    DataFile("tickers are bytes", "x.parquet", ONE | {"Ticker": [b"AAA"]}, ("'Ticker' is binary", "allowed: text")),
    DataFile("null ticker", "x.parquet", ONE | {"Ticker": pa.array([None], pa.string())}, ("1 rows without a ticker",)),
    DataFile("text as Close", "x.parquet", ONE | {"Close": ["1"]}, ("ticker AAA: Close is string", "allowed: numbers")),
    DataFile(
        "lists as Close", "x.parquet", ONE | {"Close": [[1.0]]}, ("ticker AAA: Close is list", "allowed: numbers")
    ),
    DataFile(
        "unclear date", "x.parquet", ONE | {"Date": ["3/4/2020"]}, ("AAA: Date: '3/4/2020' in row 0", "either", ISO)
    ),
    DataFile("AdjClose", "x.parquet", ONE | {"AdjClose": [1.0]}, ("no column Adj Close", 'map it: "columns"')),
    DataFile("no Parquet", "x.parquet", HEAD + ROW, ("x.parquet: not a readable Parquet file", "magic bytes")),
]


@pytest.mark.parametrize("row", DATA_FILES, ids=[row.name for row in DATA_FILES])
def test_data_file(row: DataFile, tmp_path: Path) -> None:
    file = tmp_path / row.file
    if isinstance(row.content, dict):
        pq.write_table(pa.table(row.content), file)
    else:
        file.write_bytes(row.content.encode() if isinstance(row.content, str) else row.content)
    message = message_of(lambda: load(str(file), ["AAA"]))
    assert_says(message, row.fragments)
    assert len(message) < 1_000


def test_every_bad_column_of_a_csv_file_is_told_at_once(tmp_path: Path) -> None:
    rows = ["AAA,2020-01-01,1,1", "AAA,2.1.2020,1,1", "AAA,2020-01-03,x,1", "AAA,2020-01-04,1,y"]
    (tmp_path / "x.csv").write_text("\n".join(["Ticker,Date,Open,Close", *rows]))
    message = message_of(lambda: load(str(tmp_path / "x.csv"), ["AAA"], fields=("open", "close")))
    assert_says(message, ("line 3: 'Date' is '2.1.2020'", "line 4: 'Open' is 'x'", "line 5: 'Close' is 'y'"))


FRAME = pl.DataFrame(ONE)
FRAMES: list[tuple[str, Any, tuple[str, ...]]] = [
    ("nothing", None, ("data: expected a frame, got NoneType", "allowed: pandas, Polars and Arrow tables")),
    ("a list", [1], ("data: expected a frame, got list", "mapping ticker -> table")),
    ("a lazy frame", FRAME.lazy(), ("data: expected a frame, got LazyFrame",)),
    ("the class of a frame", pl.DataFrame, ("data: expected a frame, got type",)),
    ("a column", FRAME["Close"], ("data: Series is no frame", "non-struct type double")),
    ("a mapping of lists", {"AAA": [1.0]}, ("data[AAA]: expected a ticker with its frame", "with list")),
    ("a number as ticker", {"AAA": FRAME, 7: FRAME}, ("data: expected a ticker with its frame, got 7 with DataFrame",)),
    ("no frames", {}, ("ticker AAA: AAA is not in the frames of nothing",)),
    ("no columns", pl.DataFrame(), ("data: no column Ticker", "there: nothing")),
    ("no rows", FRAME[:0], ("ticker AAA: AAA is not in the frame of 0 rows",)),
    ("no Ticker", FRAME.drop("Ticker"), ("data: no column Ticker", "mapping ticker -> frame")),
    ("text as Close", FRAME.with_columns(Close=pl.lit("1")), ("ticker AAA: Close is string", "allowed: numbers")),
    ("booleans", FRAME.with_columns(Close=True), ("ticker AAA: Close is bool", "allowed: numbers")),
    ("near miss", FRAME.with_columns(adj_close=1.0), ("data: no column Adj Close", '"adj_close"')),
    ("a mapping without Close", {"AAA": FRAME.drop("Close")}, ("data[AAA]: no column Close; there: Ticker, Date",)),
    ("mixed types", pd.DataFrame({"Close": [1.0, "x"]}), ("data: DataFrame is no frame", "tried to convert to double")),
    ("twice Close", pd.DataFrame([[1, 2]], columns=["Close", "Close"]), ("DataFrame is no frame", "Duplicate column")),
    (
        "wide",
        pd.DataFrame([[1.0]], pd.DatetimeIndex(["2020-01-01"]), pd.MultiIndex.from_tuples([("Close", "AAA")])),
        ("data: no column Ticker and no column Close", "('Close', 'AAA')"),
    ),
    (
        "no day",
        {"AAA": pd.DataFrame({"Close": [1.0]}, pd.DatetimeIndex([pd.NaT]))},
        ("ticker AAA: 1 rows without a date, first row 0",),
    ),
    (
        "months as dates",
        {"AAA": pd.DataFrame({"Close": [1.0]}, pd.PeriodIndex(["2020-01"], freq="M"))},
        ("data[AAA]: no column Date",),
    ),
]


@pytest.mark.parametrize(("frame", "fragments"), [row[1:] for row in FRAMES], ids=[row[0] for row in FRAMES])
def test_frame(frame: Any, fragments: tuple[str, ...]) -> None:
    assert_says(message_of(lambda: load(frame, ["AAA"])), fragments)


MAPPINGS: list[tuple[object, tuple[str, ...]]] = [
    (5, ('data.columns: expected an object such as {"Close": "px_last"}', "5")),
    (["Close"], ("data.columns: expected an object", "['Close']")),
    ({"close": "v"}, ("data.columns.close: unknown column 'close'", "did you mean 'Close'", "Adj Close, Volume")),
    ({"Close": 5}, ("data.columns.Close: expected the name of a column", "5")),
    ({"Close": ""}, ("data.columns.Close: expected the name of a column", "''")),
    ({"Close": None}, ("data.columns.Close: expected the name of a column", "None")),
    ({"Close": "v", "Volume": "v"}, ("data.columns: 'v' is Close and Volume at once", "a column of its own")),
    ({"Adj Close": "Close"}, ("data: 'Close' is Close and Adj Close at once", "a column of its own")),
    ({"Close": "u"}, ("data: no column 'u', which data.columns.Close names", "there: Ticker, Date, Close, v")),
    ({"Volume": "V"}, ("data: no column 'V', which data.columns.Volume names", "did you mean 'v'")),
]


@pytest.mark.parametrize(("columns", "fragments"), MAPPINGS, ids=[str(row[0]) for row in MAPPINGS])
def test_mapping_of_columns(columns: Any, fragments: tuple[str, ...]) -> None:
    assert_says(message_of(lambda: load(FRAME.with_columns(v=1.0), ["AAA"], columns=columns)), fragments)


def test_mistakes_of_data_are_those_of_the_job() -> None:
    job = {"tree": TREE, "data": {"source": FRAME, "columns": {"close": "v"}, "clean": "sorted", "from": "2020-01-01"}}
    message = message_of(lambda: parse_job(job))
    assert_says(
        message, ("data.columns.close: unknown column", "data.clean: unknown policy", "data.from: unknown field")
    )
    for source in ({"AAA": 5}, 5, None, [FRAME]):
        assert_says(message_of(lambda s=source: parse_job({"tree": TREE, "data": {"source": s}})), ("data: expected",))
    assert_says(message_of(lambda: parse_job({"tree": TREE, "data": {"AAA": FRAME, "B": 5}})), ("data[B]: expected",))


@pytest.fixture(scope="module")
def run_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    small = with_value(JOB, (*N, "values"), [5, 10])
    return execute(prepare(parse_job(small)), LocalExecutor(1, 2**26), tmp_path_factory.mktemp("runs")).path


@pytest.mark.parametrize("by", ["sharpe", "is_sharp", "branch", "is.sharpe", "__class__"])
def test_unknown_metric_to_rank_by(run_path: str, by: str) -> None:
    with Run(run_path) as run:
        assert_says(
            message_of(lambda: run.top(by)), ("--by: unknown metric column", repr(by), "allowed: ", "is_sharpe")
        )


@pytest.mark.parametrize(
    ("where", "fragment"),
    [
        ("is_sharp > 1", "did you mean 'is_sharpe'"),
        ("open('/etc/passwd') == 1", "unknown name 'open'"),
        ("().__class__ == 1", "compares constants"),
        ("n.__class__ == 1", "not allowed here"),
        ("[x for x in n] == 1", ""),
        ("n == 'AAPL'", ""),
        ("status > 3", ""),
        ("n < 1 / 0", "division by zero"),
        (f"n < {10**30}", "too large"),
        ("n if n > 1 else low", "expected a comparison"),
        ("n := 3", "cannot read"),
        ("-" * 1500 + "n < 3", ""),
        ("", "expected a condition"),
    ],
)
def test_hostile_filters(run_path: str, where: str, fragment: str) -> None:
    with Run(run_path) as run:
        assert_says(message_of(lambda: run.top(where=where)), ("--where", fragment))


@pytest.mark.parametrize("branch", [-1, 24, 10**6, 10**20])
def test_branches_outside_the_space(run_path: str, branch: int) -> None:
    with Run(run_path) as run:
        assert_says(message_of(lambda: run.branch(branch)), (f"branch {branch}", "allowed: 0 to 23"))


def test_a_branch_that_constraints_exclude(run_path: str) -> None:
    job = with_value(JOB, (*N, "values"), [5, 18])
    result = execute(prepare(parse_job(job)), LocalExecutor(1, 2**26), Path(run_path).parent)
    with Run(result.path) as run:
        assert_says(message_of(lambda: run.branch(12)), ("branch 12", "the constraints exclude it"))


@pytest.mark.parametrize("name", ["nothing", "empty", "file", "a\0b"])
def test_folders_that_hold_no_run(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ForgeRayError, match=name.replace("\0", ".*")) as caught:
        Run(tmp_path / name)
    assert caught.value.exit_code == 2
    assert sorted(tmp_path.rglob("*")) == before


def test_a_space_of_10_to_the_12_is_refused_with_its_count_and_leaves_nothing(tmp_path: Path) -> None:
    prepared = prepare(parse_job(huge_job()))
    message = message_of(lambda: execute(prepared, LocalExecutor(1, 2**26), tmp_path / "runs"))
    assert_says(message, ("space: 1,000,000,000,000 branches", "narrow the axes"))
    assert not list(tmp_path.iterdir())


def test_a_space_of_10_to_the_12_is_planned_in_under_a_second() -> None:
    began = time.process_time()
    explanation = explain(prepare(parse_job(huge_job())), workers=2, cache_bytes=2**26)
    assert time.process_time() - began < 1.0
    assert explanation["branches"] == 10**12


def huge_job() -> dict[str, Any]:
    """Six axes of 100 values each."""
    conditions = [
        {
            "id": f"c{k}",
            "metric": "RSI",
            "window": f"$n{k}",
            "ticker": "AAPL",
            "comparator": "lt",
            "threshold": f"$low{k}",
        }
        for k in range(3)
    ]
    axes = {f"n{k}": "1..100" for k in range(3)} | {f"low{k}": "1..100" for k in range(3)}
    return with_value(JOB, ("tree", "conditions"), conditions) | {"axes": axes, "where": []}


def test_constraints_over_too_many_combinations_are_refused() -> None:
    job = huge_job() | {"where": ["n0 + n1 + n2 + low0 < 300"]}
    with pytest.raises(CapacityError, match="100,000,000 combinations of n0, n1, n2, low0"):
        parse_job(job)
