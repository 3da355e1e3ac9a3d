"""What bad input gets: an error that names place, value and what is allowed.

Every case is one bad input. Its error must hold the fragments that are written beside it here, and its whole text is
kept in `bad_input_texts.json`, so that whoever changes a message reads all that it becomes:

    PYTHONPATH=. python tests/test_bad_input.py

writes that file anew. What holds for several mistakes at once, for sizes and for limits is in `test_input_limits.py`.
"""

from __future__ import annotations

import copy
import json
import re
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import test_data_load
from bad_commands import COMMANDS, refused, set_out
from bad_data import DATA_FILES, FRAME, FRAMES, MAPPINGS, DataFile, write_data_file
from bad_trees import ABSENT, BAD_TREES
from bad_trees import JOB as JOB_OF_ALL_KINDS
from forge_ray import jsontext
from forge_ray.cluster.local import LocalExecutor
from forge_ray.data import load
from forge_ray.errors import InputError, shown
from forge_ray.run import Run, execute, prepare
from forge_ray.sweep import parse_job, read_job
from forge_ray.tree import parse_tree

LIMIT_SECONDS = 10.0
"""Of CPU: a guard against work that grows with the input, no measure of speed, as machines differ."""
TEXTS_FILE = Path(__file__).with_name("bad_input_texts.json")

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
AROUND = {key: value for key, value in JOB.items() if key not in ("axes", "where")} | {
    "design": {"kind": "neighbourhood", "changes": 1, "window": "±1"}
}
DIP, UP = ("conditions", 0), ("conditions", 1)
THEN, ELSE = ("children", "then"), ("children", "else")


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


class Place(NamedTuple):
    """Where a case may write, and a finished run of 24 branches, of which the constraints exclude one."""

    folder: Path
    run: str


class Case(NamedTuple):
    """One bad input: `call` raises, and the text must hold the fragments."""

    name: str
    call: Callable[[Place], object]
    fragments: tuple[str, ...]


# ---------------------------------------------------------------- trees

TREES = [
    Row("root is a list", (), [], ("tree: expected a node", "[]")),
    Row("root is null", (), None, ("tree: expected a node", "None")),
    Row(
        "unknown kind",
        ("kind",),
        "indicater",
        ("tree.kind", "'indicater'", "did you mean 'indicator'", "basic, function, indicator"),
    ),
    Row("kind is missing", (*THEN, 0, "kind"), ABSENT, ("tree.children.then[0].kind", "missing", "position")),
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
    Row("id is missing", ("id",), ABSENT, ("tree.id", "missing", "letters, digits")),
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
    Row(
        "conditions is missing", ("conditions",), ABSENT, ("tree.conditions", "missing; expected a list of conditions")
    ),
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
    Row(
        "positions is missing",
        (*THEN, 0, "positions"),
        ABSENT,
        ("tree.children.then[0].positions", "missing; expected a list of tickers"),
    ),
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
        ("tree.children.else[0].children.next[1].weight", "from 0 to 1e+15", "got -40"),
    ),
    Row("weight is huge", (*ELSE, 0, "children", "next", 1, "weight"), 1e308, ("from 0 to 1e+15", "got 1e+308")),
    Row("weight is infinite", (*ELSE, 0, "children", "next", 1, "weight"), float("inf"), ("1e+15, got inf",)),
    Row("placeholder with a capital", (*DIP, "window"), "$N", ("tree.conditions[0].window", "$name", "'$N'")),
    Row("placeholder too long", (*DIP, "window"), "$" + "n" * 33, ("tree.conditions[0].window", "at most 32")),
]


def tree_case(row: Row) -> Case:
    tree = with_value(TREE, row.place, row.value)
    return Case(f"tree: {row.name}", lambda _: parse_tree(tree), row.fragments)


def whole_tree_case(row: tuple) -> Case:
    """A mistake in a job that holds every kind of node."""
    name, place, value, fragments = row
    job = with_value(JOB_OF_ALL_KINDS, place, value)
    return Case(f"tree of all kinds: {name}", lambda _: parse_job(job), fragments)


# ---------------------------------------------------------------- jobs

GATE_DIP = ("tree", *DIP)
N = ("axes", "n")
JOBS = [
    Row("job is a list", (), [], ("job: expected an object", "[]")),
    Row("unknown field", ("axis",), {}, ("axis", "did you mean 'axes'", "execution")),
    Row("tree and trees", ("trees",), ["a.json"], ('either "tree" or "trees"', "both")),
    Row("neither tree nor trees", ("tree",), ABSENT, ('either "tree" or "trees"', "none")),
    Row("mistake in the tree", (*GATE_DIP, "window"), 0, ("tree.conditions[0].window", "got 0")),
    Row("name is a number", ("name",), 5, ("name: expected a string, got 5",)),
    Row("no data", ("data",), ABSENT, ("data: missing; expected a source", "sample:us20")),
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
    Row("benchmark is a list", ("benchmark",), ["SPX"], ("benchmark: expected the name of a ticker", "['SPX']")),
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
    Row("unknown calendar", ("execution", "calendar"), "both", ("execution.calendar", "'both'", "intersection, union")),
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
        "requirement 2 on a share of the whole",
        ("require",),
        {"is.max_drawdown": 2, "is.time_in_market": 3, "is.volatility": 2},
        ("require.is.max_drawdown", '2 on a fraction; write "2%" or 0.02', "require.is.time_in_market"),
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
    Row("unknown prune", ("prune",), "atlas", ("prune: expected true, false or", "'atlas'")),
    Row("prune is a number", ("prune",), 1, ("prune: expected true, false or", "1")),
    Row("prune around a tree", (), AROUND | {"prune": "forge"}, ("prune: 'forge' in a space around", "allowed: false")),
    Row(
        "prune by the out-of-sample days",
        (),
        JOB | {"require": {"oos.max_drawdown": "<= 35%"}, "prune": True},
        ("prune: no requirement", "is.max_drawdown <= …, is.time_in_market, is.trades"),
    ),
    Row(
        "prune without a split",
        (),
        JOB | {"split": "none", "prune": True, "require": {"full.sharpe": 1}},
        ("prune", "full.max_drawdown <= …"),
    ),
    Row("benchmark is empty", ("benchmark",), "", ("benchmark: expected the name of a ticker, or null", "got ''")),
    Row("requirement out of sample without a split", ("split",), "none", ("require.is.max_drawdown", "allowed: full")),
    Row(
        "requirement on beta without a benchmark",
        (),
        JOB | {"benchmark": None, "require": {"is.beta": 1, "oos.treynor": 0.1}},
        ("require.is.beta: beta is measured against a benchmark", "require.oos.treynor"),
    ),
    Row(
        "prune by a least drawdown",
        (),
        JOB | {"require": {"is.max_drawdown": ">= 35%"}, "prune": True},
        ("prune: no requirement",),
    ),
]
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
    Row("where excludes everything", ("where",), ["n > 99"], ("where", "no branch")),
]
SWEPT_CROSS: dict[str, Any] = {**TREE["conditions"][0], "comparator": "$c", "forDays": "$d"}
WITHOUT_TREE = with_value(JOB, ("tree",), ABSENT) | {"axes": {}, "where": []}
ODD_JOBS: list[tuple[str, Any, tuple[str, ...]]] = [
    (
        "swept cross for days",
        with_value(JOB, GATE_DIP, SWEPT_CROSS) | {"axes": {"c": ["lt", "crossAbove"], "d": "1..3"}, "where": []},
        ("tree.conditions[0].forDays: 2 with crossAbove", "branches with c = 'crossAbove', d = 2"),
    ),
    *(
        (f"trees are {json.dumps(trees)}", WITHOUT_TREE | {"trees": trees},
         ("trees: expected a list of tree files or an object of trees",))
        for trees in ([], {}, "trees/01.json", [1], [None])
    ),
    ("field without a name", JOB | {"": 1}, ("'': unknown field ''", "allowed: name, data")),
    ("field of control characters", JOB | {"\x1b[31m": 1}, ("'\\x1b[31m': unknown field",)),
    ("tree without a name", WITHOUT_TREE | {"trees": {"": 5}}, ("'': expected a node", "got 5")),
    ("axis of a long name", JOB | {"axes": {"n" * 10_000: "1..3"}}, ("axes.'nnn", "at most 32 characters")),
    (
        "path to a long name",
        with_value(JOB, (*N, "paths"), ["gate." + "x" * 10_000]),
        ("axes.n.paths: 'gate.xxx", "allowed: weightingThen"),
    ),
    ("values deep below", with_value(JOB, (*N, "values"), json.loads("[" * 900 + "]" * 900)), ("axes.n", "[[[[")),
    ("where of many numbers", JOB | {"where": ["n > " + "9" * 16]}, ("where[0]", "too large")),
]  # fmt: skip
SETTINGS = [
    ("keep", ("--set", "KEY=VALUE", "'keep'")),
    ("=3", ("--set", "KEY=VALUE")),
    ("name.first=x", ("--set name.first", "'dip buyer' is no object with a field 'first'")),
    ("execution.lagg=3", ("execution.lagg", "did you mean 'lag'")),
    ("execution.lag=three", ("execution.lag", "'three'")),
    ("execution.lag=NaN", ("execution.lag", "'NaN'")),
    ("axes.n.values=0..3", ("axes.n: gate.dip.window = 0",)),
    ("execution..lag=3", ("execution.", "''")),
]


def job_case(row: Row) -> Case:
    job = with_value(JOB, row.place, row.value)
    return Case(f"job: {row.name}", lambda _: parse_job(job), row.fragments)


def prepared_case(row: Row) -> Case:
    """A good job that does not fit its data."""
    job = with_value(JOB, row.place, row.value)
    return Case(f"job and data: {row.name}", lambda place: prepare(parse_job(job, folder=place.folder)), row.fragments)


def odd_job_case(name: str, job: Any, fragments: tuple[str, ...]) -> Case:
    return Case(f"job: {name}", lambda _: parse_job(job), fragments)


def setting_case(setting: str, fragments: tuple[str, ...]) -> Case:
    def call(place: Place) -> object:
        return read_job(write(place, "job.json", json.dumps(JOB)), [setting])

    return Case(f"--set {setting}", call, fragments)


# ---------------------------------------------------------------- files

TEXTS = [
    ("empty", "", ("line 1, column 1: the text ends too early",)),
    ("spaces", " \n ", ("line 2, column 2: the text ends too early",)),
    ("two values", "{} {}", ("line 1, column 4", "found '{', expected the end of the text")),
    ("NaN", '{"name": NaN}', ("line 1, column 10", "'NaN}'")),
    ("Infinity", '{"name":\n -Infinity}', ("line 2, column 2", "'-Infinity}'")),
    ("1e999", '{"name": 1e999}', ("line 1, column 10: the number 1e999 is not finite",)),
    ("leading zero", '{"name": 01}', ("line 1, column 10", "'01}'")),
    ("duplicate keys", '{"name": "a",\n "name": "b"}', ("line 2, column 2: duplicate key 'name'",)),
    ("duplicate keys by escape", '{"name": 1, "n\\u0061me": 2}', ("duplicate key 'name'",)),
    ("single quotes", "{'name': 1}", ("line 1, column 2", "not a JSON value")),
    ("trailing comma", '{"name": 1,}', ("line 1, column 12", "expected a key in double quotes")),
    ("comment", "{} // done", ("line 1, column 4", "'// done'")),
    ("string without end", '{"name": "abc', ("line 1, column 10: a string that does not end",)),
    ("line break in a string", '{"name": "a\nb"}', ("line 1, column 10: a string", "control character")),
    ("bad escape", '{"name": "\\x41"}', ("line 1, column 10: a string", "bad escape")),
    ("half of a surrogate pair", '{"name": "\\ud800"}', ("line 1, column 10: half of a surrogate pair",)),
    ("digits", '{"name": ' + "1" * 5000 + "}", ("a number of 5,000 digits; allowed: at most 400",)),
    ("brackets", "[" * 100_000, ("column 4001: nested deeper than 4,000 levels",)),
    ("objects", '{"a":' * 100_000, ("nested deeper than 4,000 levels",)),
    ("mixed brackets", '{"name": [1}', ("line 1, column 12: found '}'",)),
    ("byte order mark", "\ufeff{}", ("line 1, column 1: a byte order mark", "UTF-8 without one")),
]


def write(place: Place, name: str, content: str | bytes) -> Path:
    file = place.folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def text_case(name: str, text: str, fragments: tuple[str, ...]) -> Case:
    return Case(f"text: {name}", lambda place: read_job(write(place, "job.json", text)), ("job.json", *fragments))


def tree_files(place: Place, *files: str) -> object:
    write(place, "good.json", json.dumps(TREE))
    write(place, "bad.json", json.dumps(with_value(TREE, (*DIP, "window"), 0)))
    write(place, "cut.json", "{")
    write(place, "null.json", "null")
    return parse_job(WITHOUT_TREE | {"trees": list(files)}, folder=place.folder)


FILES = [
    Case("file: missing", lambda place: read_job(place.folder / "none.json"), ("none.json: No such file",)),
    Case("file: a folder", lambda place: read_job(place.folder), ("Is a directory",)),
    Case(
        "file: not UTF-8",
        lambda place: read_job(write(place, "latin.json", b'{"name": "\xe9"}')),
        ("latin.json: byte 10", "not UTF-8"),
    ),
    Case(
        "file: too large",
        lambda place: read_job(write(place, "large.json", b" " * (jsontext.MAX_BYTES + 1))),
        ("large.json", "16,777,216 bytes"),
    ),
    Case("file: without end", lambda _: read_job("/dev/zero"), ("/dev/zero", "16,777,216 bytes")),
    Case("file: null byte in its name", lambda _: read_job("a\0b"), ("'a\\x00b'", "null")),
    Case(
        "trees: each with its mistake",
        lambda place: tree_files(place, "bad.json", "cut.json", "none.json"),
        (
            "bad.json.conditions[0].window",
            "cut.json: line 1, column 2: the text ends too early",
            "none.json: No such file",
        ),
    ),
    Case(
        "trees: one listed twice",
        lambda place: tree_files(place, "good.json", "good.json"),
        ("trees: 'good.json' is listed 2 times",),
    ),
    Case(
        "trees: one is null",
        lambda place: tree_files(place, "good.json", "null.json"),
        ("null.json: expected a node", "None"),
    ),
]

# ---------------------------------------------------------------- market data

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


def bars_case(name: str, columns: Bars, fragments: tuple[str, ...]) -> Case:
    """One bad ticker beside a good one, of which the text says nothing."""

    def call(place: Place) -> object:
        write_bars(place.folder, "GOOD", bars())
        write_bars(place.folder, "BAD", columns)
        return load(str(place.folder), ["GOOD", "BAD"])

    return Case(f"bars: {name}", call, fragments)


def more_bars_case(name: str, table: pa.Table, expected: list[str]) -> Case:
    def call(place: Place) -> object:
        return load(test_data_load.put(place.folder, BAD=table, GOOD=test_data_load.table()), ["GOOD", "BAD"])

    return Case(f"more bars: {name}", call, tuple(expected))


def bytes_case(content: bytes) -> Case:
    def call(place: Place) -> object:
        write(place, "BAD.parquet", content)
        return load(str(place.folder), ["BAD"])

    return Case(f"bars: a file of {len(content)} bytes", call, ("BAD.parquet", "not a readable Parquet file"))


def data_file_case(row: DataFile) -> Case:
    def call(place: Place) -> object:
        return load(write_data_file(row, place.folder), ["AAA"])

    return Case(f"data file: {row.name}", call, row.fragments)


def frame_case(name: str, frame: Any, fragments: tuple[str, ...]) -> Case:
    return Case(f"frame: {name}", lambda place: load(frame, ["AAA"]), fragments)


def mapping_case(columns: Any, fragments: tuple[str, ...]) -> Case:
    frame = FRAME.with_columns(v=1.0)
    return Case(f"mapping: {columns}", lambda place: load(frame, ["AAA"], columns=columns), fragments)


def without_common_dates(place: Place) -> object:
    write_bars(place.folder, "EVEN", {"Date": DAYS[::2], "Close": CLOSES[:3]})
    write_bars(place.folder, "ODD", {"Date": DAYS[1::2], "Close": CLOSES[:3]})
    tree = {"id": "both", "kind": "position", "positions": ["EVEN", "ODD"]}
    return prepare(parse_job({"data": str(place.folder), "tree": tree}))


NOT_PARQUET = [b"", b"PAR1", b"not parquet at all, but long enough to hold a footer"]
NO_COMMON_DATES = Case(
    "job and data: no common dates",
    without_common_dates,
    ("data: no bar left to trade", "ODD (position) is ready on 2020-01-02"),
)

# ---------------------------------------------------------------- results

METRICS = ["sharpe", "is_sharp", "branch", "is.sharpe", "__class__"]
FILTERS = [
    ("is_sharp > 1", "did you mean 'is_sharpe'"),
    ("open('/etc/passwd') == 1", "unknown name 'open'"),
    ("().__class__ == 1", "compares constants"),
    ("n.__class__ == 1", "not allowed here"),
    ("[x for x in n] == 1", "unknown name 'x'"),
    ("n == 'AAPL'", "compares text with a number"),
    ("status > 3", "compares text with a number"),
    ("n < 1 / 0", "division by zero"),
    (f"n < {10**30}", "too large"),
    ("n if n > 1 else low", "expected a comparison"),
    ("n := 3", "cannot read"),
    ("-" * 1500 + "n < 3", "nested deeper than 100 levels"),
    ("", "expected a condition"),
]
BRANCHES = [-1, 24, 10**6, 10**20]


def run_case(name: str, ask: Callable[[Run], object], fragments: tuple[str, ...]) -> Case:
    def call(place: Place) -> object:
        with Run(place.run) as run:
            return ask(run)

    return Case(f"results: {name}", call, fragments)


def by_case(by: str) -> Case:
    return run_case(f"best by {by}", lambda run: run.top(by), ("by: unknown metric column", repr(by), "is_sharpe"))


def filter_case(where: str, fragment: str) -> Case:
    return run_case(f"where {where[:40]}", lambda run: run.top(where=where), ("where: ", fragment))


def branch_case(branch: int) -> Case:
    return run_case(f"branch {branch}", lambda run: run.branch(branch), (f"branch {branch}", "allowed: 0 to 23"))


HOLE = run_case("branch of a hole", lambda run: run.branch(12), ("branch 12", "the constraints exclude it"))

# ---------------------------------------------------------------- all of them

CASES = [
    *map(tree_case, TREES),
    *map(whole_tree_case, BAD_TREES),
    *map(job_case, JOBS),
    *(odd_job_case(*row) for row in ODD_JOBS),
    *map(prepared_case, PREPARED),
    *(setting_case(*row) for row in SETTINGS),
    *(text_case(*row) for row in TEXTS),
    *FILES,
    *(bars_case(*row) for row in TABLES),
    *(more_bars_case(*row) for row in test_data_load.BAD),
    *map(bytes_case, NOT_PARQUET),
    *map(data_file_case, DATA_FILES),
    *(frame_case(*row) for row in FRAMES),
    *(mapping_case(*row) for row in MAPPINGS),
    NO_COMMON_DATES,
    *map(by_case, METRICS),
    *(filter_case(*row) for row in FILTERS),
    *map(branch_case, BRANCHES),
    HOLE,
]


# What others say is theirs to change: the parser of Python, Arrow, Typer.
FOREIGN_WORDS = (
    (re.compile(r"(cannot read .+?): .*"), r"\1: …"),
    (re.compile(r"(not a readable Parquet file): .*"), r"\1: …"),
    (re.compile(r"(not a readable CSV file): .*"), r"\1: …"),
    (re.compile(r"(is no frame): .*"), r"\1: …"),
    (re.compile(r"(Date): .*(; allowed: YYYY-MM-DD)"), r"\1: …\2"),
    (
        re.compile(
            r"^((?:Invalid value for|Missing argument|Missing option|No such command|No such option:|Option) \S*\w).*"
        ),
        r"\1…",
    ),
    (re.compile(r"^Got unexpected.*"), "Got unexpected…"),
)


def texts_of(case: Case, place: Place) -> list[str]:
    """Every problem of a case."""
    with pytest.raises(InputError) as caught:
        case.call(place)
    assert caught.value.exit_code == 2
    return [str(problem) for problem in caught.value.problems]


def neutral(text: str, place: Place) -> str:
    """The text without the folders of this machine and the words of others."""
    text = text.replace(str(place.folder), "FOLDER").replace(place.run, "RUN")
    for pattern, replacement in FOREIGN_WORDS:
        text = pattern.sub(replacement, text)
    return text


def make_run(folder: Path) -> str:
    """24 branches, of which the constraints exclude four."""
    job = with_value(JOB, (*N, "values"), [5, 18])
    return execute(prepare(parse_job(job)), LocalExecutor(1, 2**26), folder).path


@pytest.fixture(scope="module")
def run_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def kept() -> dict[str, list[str]]:
    return json.loads(TEXTS_FILE.read_text())


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_bad_input_is_told_place_value_and_what_is_allowed(
    case: Case, tmp_path: Path, run_path: str, kept: dict[str, list[str]]
) -> None:
    place, began = Place(tmp_path, run_path), time.process_time()
    texts = texts_of(case, place)
    assert time.process_time() - began < LIMIT_SECONDS
    missing = [fragment for fragment in case.fragments if fragment not in "\n".join(texts)]
    assert texts and not missing
    assert [neutral(text, place) for text in texts] == kept[case.name]


@pytest.fixture(scope="module")
def command_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import forge_ray.cluster.ray_executor  # noqa: F401 that Ray is imported is no command's own time

    folder = tmp_path_factory.mktemp("commands")
    set_out(folder, JOB)
    return folder


def files_in(folder: Path) -> set[Path]:
    """All but the runs: one that was begun can go on."""
    return {path for path in folder.rglob("*") if path.relative_to(folder).parts[0] != "runs"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_bad_command_is_told_place_value_and_what_is_allowed(
    command: str, command_folder: Path, run_path: str, kept: dict[str, list[str]]
) -> None:
    before, began = files_in(command_folder), time.process_time()
    texts = refused(command, run_path, command_folder)
    assert time.process_time() - began < LIMIT_SECONDS
    assert files_in(command_folder) == before
    assert [neutral(text, Place(command_folder, run_path)) for text in texts] == kept[command]


def test_every_kept_text_belongs_to_a_case_and_there_are_many(kept: dict[str, list[str]]) -> None:
    names = [*(case.name for case in CASES), *COMMANDS]
    assert len(set(names)) == len(names) >= 900
    assert set(kept) == set(names)
    assert len({tuple(texts) for texts in kept.values()}) >= 800
    assert len(COMMANDS) >= 100


def test_three_hundred_of_them_are_malformed_trees_each_unlike_the_others() -> None:
    parse_job(JOB_OF_ALL_KINDS)
    trees = {("small", row.place, shown(row.value, 5000)) for row in TREES}
    trees |= {("of all kinds", place, shown(value, 5000)) for _, place, value, _ in BAD_TREES}
    assert len(trees) == len(TREES) + len(BAD_TREES) >= 300


def write_texts() -> None:
    with tempfile.TemporaryDirectory() as runs:
        run, texts = make_run(Path(runs)), {}
        for case in CASES:
            with tempfile.TemporaryDirectory() as folder:
                place = Place(Path(folder), run)
                texts[case.name] = [neutral(text, place) for text in texts_of(case, place)]
        with tempfile.TemporaryDirectory() as folder:
            set_out(Path(folder), JOB)
            place = Place(Path(folder), run)
            for command in COMMANDS:
                texts[command] = [neutral(text, place) for text in refused(command, run, place.folder)]
    TEXTS_FILE.write_text(json.dumps(texts, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    write_texts()
