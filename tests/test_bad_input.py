"""What bad input gets: place, value, what is allowed, nearest name; all mistakes at once; nothing left behind."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forge_ray import jsontext
from forge_ray.data import load
from forge_ray.errors import CapacityError, InputError
from forge_ray.run import Run, prepare
from forge_ray.run.execution import check_capacity
from forge_ray.sweep import parse_job, read_job, with_settings

JOB = {
    "name": "dip", "data": "sample:us20", "benchmark": "SPX",
    "tree": {"id": "gate", "kind": "indicator",
             "conditions": [{"id": "dip", "metric": "RSI", "window": "$n", "ticker": "AAPL", "comparator": "lt",
                             "threshold": "$low"},
                            {"id": "calm", "type": "and", "metric": "StdDev", "window": 20, "ticker": "SPX",
                             "comparator": "lt", "threshold": 2}],
             "children": {"then": [{"id": "in", "kind": "position", "positions": ["AAPL"]}],
                          "else": [{"id": "out", "kind": "position", "positions": ["CASH"]}]}},
    "axes": {"n": "2..20", "low": "5..60 by 5"},
}  # fmt: skip
DIP, CALM, IN = "tree.conditions.0", "tree.conditions.1", "tree.children.then.0"


def changed(path: str, value: object) -> dict:
    """The job with a field set (or removed with ...), addressed with dots."""
    job = copy.deepcopy(JOB)
    target, *steps = job, *path.split(".")
    for step in steps[:-1]:
        target = target[int(step)] if isinstance(target, list) else target.setdefault(step, {})
    last = int(steps[-1]) if isinstance(target, list) else steps[-1]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return job


BAD_JOBS: list[tuple[str, object, list[str]]] = [
    ("nmae", 1, ["nmae", "did you mean 'name'", "allowed"]),
    ("name", 3, ["name", "3", "string"]),
    ("data", 5, ["data", "5", "source"]),
    ("data", {"source": "sample:us20", "strat": 1}, ["data.strat", "did you mean 'start'"]),
    ("data", {"source": "sample:us20", "start": "2001-02-30"}, ["data.start", "2001-02-30", "YYYY-MM-DD"]),
    ("data", {"source": "sample:us20", "start": "2005-01-01", "end": "2001-01-01"}, ["2005-01-01", "after end"]),
    ("data", {"source": "sample:us20", "clean": ["sortt"]}, ["data.clean", "sortt", "did you mean 'sort'"]),
    ("data", {"source": "sample:us20", "clean": 1}, ["data.clean", "list"]),
    ("data", "sample:us2", ["sample", "us2", "did you mean 'us20'"]),
    ("data", "no/such/folder", ["no folder", "sample:us20"]),
    ("data", {"source": "sample:us20", "start": "2099-01-01"}, ["AAPL", "2099-01-01", "2022-12-28"]),
    ("benchmark", "SPXX", ["benchmark", "SPXX", "did you mean 'SPX'"]),
    ("benchmark", 5, ["benchmark", "5"]),
    ("keep", "alll", ["keep", "alll", "did you mean 'all'", "passing"]),
    ("trees", ["a.json"], ["tree", "either"]),
    ("tree", ..., ["tree", "either"]),
    ("tree", 7, ["tree", "7", "object"]),
    ("tree.kind", "indicatr", ["tree.kind", "indicatr", "did you mean 'indicator'", "basic"]),
    ("tree.kind", "altExit", ["tree.kind", "altExit", "allowed: basic, indicator, position"]),
    ("tree.id", "a b", ["tree.id", "'a b'", "letters"]),
    ("tree.id", ..., ["tree.id", "None"]),
    ("tree.titel", "x", ["tree.titel", "did you mean 'title'"]),
    ("tree.weighting", "equal", ["tree.weighting", "allowed"]),
    ("tree.children.next", [], ["tree.children.next", "then, else"]),
    ("tree.children.then", {}, ["tree.children.then", "list"]),
    ("tree.children", [], ["tree.children", "object"]),
    ("tree.conditions", "x", ["tree.conditions", "list"]),
    (f"{IN}.id", "gate", ["gate", "used 2 times", "unique"]),
    (f"{CALM}.id", "dip", ["tree.conditions", "dip", "2 times"]),
    (f"{IN}.positions", ["../etc/passwd"], ["positions[0]", "../etc/passwd"]),
    (f"{IN}.positions", ["AAPL\u001b[2J"], ["positions[0]", "ticker"]),
    (f"{IN}.positions", ["A" * 5000], ["positions[0]", "at most 32"]),
    (f"{IN}.positions", [{"ticker": "AAPL"}], ["positions[0]", "ticker"]),
    (f"{IN}.positions", "AAPL", ["positions", "list"]),
    (f"{IN}.positions", ["AAPLE"], ["AAPLE", "did you mean 'AAPL'"]),
    (f"{DIP}.metric", "RSII", ["tree.conditions[0].metric", "RSII", "did you mean 'RSI'"]),
    (f"{DIP}.metric", 3, ["metric", "3", "allowed"]),
    (f"{DIP}.comparator", "<", ["comparator", "'<'", "crossAbove"]),
    (f"{DIP}.comparator", "gtee", ["comparator", "did you mean 'gte'"]),
    (f"{DIP}.type", "nand", ["type", "nand", "if, and, or"]),
    (f"{DIP}.treshold", 3, ["treshold", "did you mean 'threshold'"]),
    (f"{DIP}.ticker", "CASH", ["ticker", "CASH", "prices"]),
    (f"{DIP}.ticker", ..., ["tree.conditions[0].ticker", "missing"]),
    (f"{DIP}.expanded", "yes", ["expanded", "yes", "true or false"]),
    (f"{DIP}.rightTicker", "SPX", ["rightTicker", "expanded"]),
    (f"{CALM}.window", 0, ["conditions[1].window", "from 1", "got 0"]),
    (f"{CALM}.window", -1, ["window", "-1"]),
    (f"{CALM}.window", True, ["window", "True"]),
    (f"{CALM}.window", 2.5, ["window", "2.5", "integer"]),
    (f"{CALM}.window", "20", ["window", "'20'"]),
    (f"{CALM}.window", 10**9, ["window", "1000000000", "100,000"]),
    (f"{CALM}.window", 10**20, ["window", "100,000"]),
    (f"{CALM}.window", 9000, ["gate.calm", "9,000", "8,313"]),
    (f"{CALM}.threshold", True, ["threshold", "True", "finite number"]),
    (f"{CALM}.threshold", "2", ["threshold", "'2'"]),
    (f"{CALM}.threshold", 10**400, ["threshold", "finite"]),
    (f"{CALM}.threshold", ..., ["threshold", "missing"]),
    (f"{CALM}.forDays", 0, ["forDays", "from 1"]),
    ("axes", [], ["axes", "object"]),
    ("axes.n", "20..2", ["axes.n", "20 is above 2"]),
    ("axes.n", "2..20 by 4", ["axes.n", "18", "22"]),
    ("axes.n", "2..20 by 0", ["axes.n", "step 0", "above 0"]),
    ("axes.n", "0..5", ["axes.n", "gate.dip.window = 0", "from 1"]),
    ("axes.n", [2, 2, 3], ["axes.n", "repeated", "2"]),
    ("axes.n", [], ["axes.n", "empty"]),
    ("axes.n", [2, "x"], ["axes.n", "value 1", "'x'"]),
    ("axes.n", [2.5], ["axes.n", "2.5"]),
    ("axes.n", "±3", ["axes.n", "±3", "number in the tree"]),
    ("axes.n", "1..1e9", ["axes.n", "1,000,000"]),
    ("axes.n", "two to nine", ["axes.n", "two to nine", "20..40 by 5"]),
    ("axes.n", {"paths": ["gate.dip.window"], "values": "2..3"}, ["gate.dip.window", "already swept"]),
    ("axes.low", "0.5..2", ["axes.low", "step", "by 0.1"]),
    ("axes.x", "1..3", ["axes.x", "not used", "$x"]),
    ("axes.n", ..., ["$n", "no axis"]),
    ("axes.N", "1..3", ["axes.N", "[a-z]"]),
    ("axes.path", "1..3", ["axes.path", "result column"]),
    ("axes.is_sharpe", "1..3", ["axes.is_sharpe", "result column"]),
    ("axes.w", {"paths": ["gate.dipp.window"], "values": "1..3"}, ["axes.w", "dipp.window", "did you mean"]),
    ("axes.w", {"paths": ["gaet.calm.window"], "values": "1..3"}, ["axes.w", "gaet", "did you mean 'gate'"]),
    ("axes.w", {"paths": ["gate.calm.window"], "value": "1..3"}, ["axes.w.value", "did you mean 'values'"]),
    ("axes.w", {"paths": "gate.calm.window", "values": "1..3"}, ["axes.w.paths", "list"]),
    ("axes.w", {"paths": ["gate.calm.window", "in.positions"], "values": [5]}, ["axes.w", "numbers and names"]),
    (f"{DIP}.window", "$N", ["window", "$N", "$name"]),
    ("where", ["n <"], ["where[0]", "n <"]),
    ("where", ["m < 3"], ["where[0]", "unknown name 'm'", "n, low"]),
    ("where", ["n.__class__ == 3"], ["where[0]", "not allowed"]),
    ("where", ["__import__('os').system('x') == 1"], ["where[0]"]),
    ("where", ["3 < 5"], ["where[0]", "names no axis"]),
    ("where", 5, ["where", "5", "list"]),
    ("execution", 5, ["execution", "5"]),
    ("execution.mode", "CX", ["execution.mode", "CX", "CC"]),
    ("execution.lag", -1, ["execution.lag", "-1"]),
    ("execution.lag", 1.5, ["execution.lag", "1.5", "whole"]),
    ("execution.cost_bps", -5, ["execution.cost_bps", "-5"]),
    ("execution.cost_bps", True, ["execution.cost_bps", "True"]),
    ("execution.rebalance", "hourly", ["execution.rebalance", "hourly", "daily"]),
    ("execution.start", "soon", ["execution.start", "soon", "common"]),
    ("execution.start", "2022-12-28", ["no bar left", "2022-12-28"]),
    ("execution.null", "maybe", ["execution.null", "maybe", "cash"]),
    ("execution.cost", 5, ["execution.cost", "did you mean 'cost_bps'"]),
    ("execution.cash_like", "BIL", ["execution.cash_like", "list"]),
    ("split", "holdout", ["split", "holdout"]),
    ("split", {"holdout": "130%"}, ["split.holdout", "130%", "below 100%"]),
    ("split", {"holdout": True}, ["split.holdout", "True"]),
    ("split", "even_odd_week", ["split", "did you mean", "even_odd_month"]),
    ("require", {"is.max_drawdown": 35}, ["require.is.max_drawdown", "35%", "0.35"]),
    ("require", {"is.sharp": 1}, ["require.is.sharp", "did you mean 'sharpe'"]),
    ("require", {"ins.sharpe": 1}, ["require.ins.sharpe", "segment"]),
    ("require", {"is.sharpe": "about 1"}, ["require.is.sharpe", "about 1", "<= 35%"]),
    ("require", {"is.sharpe": ">= 5%"}, ["require.is.sharpe", "not a fraction"]),
    ("require", [], ["require", "object"]),
]


@pytest.mark.parametrize(("path", "value", "expected"), BAD_JOBS, ids=[f"{p}-{k}" for k, (p, _, _) in enumerate(BAD_JOBS)])
def test_a_bad_job_is_refused_with_place_value_and_what_is_allowed(path, value, expected, tmp_path: Path):
    with pytest.raises(InputError) as caught:
        prepare(parse_job(changed(path, value), folder=tmp_path))
    message = str(caught.value)
    assert all(fragment in message for fragment in expected), message
    assert caught.value.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_the_job_without_mistakes_is_accepted():
    assert parse_job(copy.deepcopy(JOB)).grid.size == 19 * 12


def test_all_mistakes_of_a_job_are_reported_at_once():
    job = changed(f"{CALM}.window", 0)
    job["tree"]["conditions"][0]["metric"] = "RSII"
    job["tree"]["children"]["then"][0]["kind"] = "positon"
    job["execution"] = {"lag": -1}
    job["split"] = "x"
    with pytest.raises(InputError) as caught:
        parse_job(job)
    assert len(caught.value.problems) == 5


def test_a_cross_that_lasts_is_refused_also_through_axes():
    job = changed(f"{CALM}.comparator", "$how")
    job["tree"]["conditions"][1]["forDays"] = 3
    job["axes"]["how"] = ["lt", "crossAbove"]
    with pytest.raises(InputError, match=r"crossAbove: a cross cannot last"):
        parse_job(job)


def test_defined_weights_must_be_there_and_not_negative():
    job = changed("tree.weightingThen", "defined")
    with pytest.raises(InputError, match=r"tree\.children\.then\[0\]\.weight: missing"):
        parse_job(job)
    with pytest.raises(InputError, match=r"weight >= 0, got -1"):
        parse_job(changed(f"{IN}.weight", -1))


def test_tree_files_are_read_and_their_mistakes_named(tmp_path: Path):
    (tmp_path / "a.json").write_text(json.dumps({"id": "x", "kind": "position", "positions": ["AAPL"]}))
    (tmp_path / "b.json").write_text('{"id": "x", "kind": "position", "positions": [], "id": "y"}')
    job = {"data": "sample:us20", "trees": ["a.json", "b.json", "c.json", "a.json"]}
    (tmp_path / "job.json").write_text(json.dumps(job))
    with pytest.raises(InputError) as caught:
        read_job(tmp_path / "job.json")
    assert "b.json: line 1" in str(caught.value)
    assert "duplicate key 'id'" in str(caught.value)
    assert "c.json: No such file" in str(caught.value)
    assert "'a.json' is listed 2 times" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": NaN}', "not a JSON value"), ('{"a": 1e999}', "not finite"), ('{"a": 1, "a": 2}', "duplicate key 'a'"),
        ("[1,]", "found ']'"), ("", "ends too early"), ('{"a" 1}', "expected colon"), ('"\x01"', "not a JSON value"),
        ("[" * 100_000, "deeper than"), ("[01]", "not a JSON value"), ("[1] 2", "expected end"), ("{'a': 1}", "not a JSON"),
        ("[" + "1," * 600_000 + "1]", "more than 500,000 values"), ('["\\ud800"]', "half of a surrogate pair"),
    ],
)  # fmt: skip
def test_text_that_is_not_strict_json_is_refused_with_line_and_column(text: str, expected: str):
    with pytest.raises(InputError) as caught:
        jsontext.parse(text)
    assert "line 1, column" in str(caught.value)
    assert expected in str(caught.value)


def test_files_beyond_the_limits_are_refused(tmp_path: Path):
    big = tmp_path / "big.json"
    big.write_bytes(b" " * (16 * 2**20 + 1))
    with pytest.raises(InputError, match="larger than 16,777,216 bytes"):
        jsontext.read_file(big)
    assert jsontext.read_file(_written(tmp_path / "deep.json", "[" * 3000 + "]" * 3000)) is not None
    (tmp_path / "latin.json").write_bytes(b'{"a": "\xe9"}')
    with pytest.raises(InputError, match="byte 7: not UTF-8"):
        jsontext.read_file(tmp_path / "latin.json")


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def nested(depth: int) -> dict:
    node: dict = {"id": "leaf", "kind": "position", "positions": ["AAPL"]}
    for k in range(depth - 1):
        node = {"id": f"n{k}", "kind": "basic", "children": {"next": [node]}}
    return node


def test_a_thousand_levels_are_evaluated_and_one_more_is_refused():
    job = {"data": "sample:us20", "tree": nested(1000)}
    assert prepare(parse_job(job)).bound.n > 8000
    with pytest.raises(InputError, match=r"children\.next\[0\]: nested deeper than 1,000 nodes"):
        parse_job({**job, "tree": nested(1001)})


def test_a_space_that_cannot_fit_is_counted_and_refused(tmp_path: Path):
    job = changed(f"{CALM}.window", "$w")
    for k, name in enumerate(("w", "a", "b")):
        job["axes"][name] = "2..10001"
        if k:
            line = {**JOB["tree"]["conditions"][1], "id": name, "window": f"${name}"}
            job["tree"]["conditions"].append(line)
    job["axes"]["a"] = job["axes"]["b"] = job["axes"]["w"] = "2..4001"
    prepared = prepare(parse_job(job))
    assert prepared.bound.plan.grid.admitted == 19 * 12 * 4000**3
    with pytest.raises(CapacityError, match="14,592,000,000,000 branches"):
        check_capacity(prepared, tmp_path)


@pytest.mark.parametrize("setting", ["execution.lag", "=5", "axes.n.x=3"])
def test_bad_settings_are_refused(setting: str):
    with pytest.raises(InputError, match=r"--set"):
        with_settings(copy.deepcopy(JOB), [setting])


def test_settings_are_json_or_text():
    job = with_settings(copy.deepcopy(JOB), ["execution.cost_bps=7.5", "axes.n=2..4", "keep=passing"])
    sweep = parse_job(job)
    assert (sweep.execution.cost_bps, len(sweep.grid.axes[0].values), sweep.keep) == (7.5, 3, "passing")


def test_a_folder_without_a_run_is_refused(tmp_path: Path):
    with pytest.raises(Exception, match="no run here") as caught:
        Run(tmp_path)
    assert caught.value.exit_code == 2


# Market data.

DAYS = [date(2020, 1, 1) + timedelta(days=k) for k in range(40)]


def bars(**columns: object) -> pa.Table:
    table = {"Date": pa.array(DAYS), "Close": pa.array([100.0 + k for k in range(40)])}
    for name, value in columns.items():
        table[name.replace("_", " ")] = value
    return pa.table({name: value for name, value in table.items() if value is not None})


def with_value(values: list, k: int, value: object) -> pa.Array:
    return pa.array([*values[:k], value, *values[k + 1 :]])


CLOSES = [100.0 + k for k in range(40)]
BAD_DATA: list[tuple[str, Callable[[], pa.Table], list[str]]] = [
    ("no Close", lambda: bars(Close=None), ["AAA.parquet", "no column Close", "Date"]),
    ("no Date", lambda: bars(Date=None), ["AAA.parquet", "no column Date"]),
    ("no rows", lambda: bars().slice(0, 0), ["AAA", "no rows"]),
    ("NaN", lambda: bars(Close=with_value(CLOSES, 3, float("nan"))), ["AAA", "nan on 2020-01-04", "1 bad"]),
    ("null", lambda: bars(Close=with_value(CLOSES, 3, None)), ["AAA", "nan on 2020-01-04"]),
    ("infinite", lambda: bars(Close=with_value(CLOSES, 5, float("inf"))), ["AAA", "inf on 2020-01-06"]),
    ("zero", lambda: bars(Close=with_value(CLOSES, 0, 0.0)), ["AAA", "0 on 2020-01-01", "above 0"]),
    ("negative", lambda: bars(Close=with_value(CLOSES, 9, -2.5)), ["AAA", "-2.5 on 2020-01-10"]),
    ("bad adjusted", lambda: bars(Adj_Close=with_value(CLOSES, 9, -1.0)), ["Adj Close is -1 on 2020-01-10"]),
    ("text", lambda: bars(Close=pa.array(["1"] * 40)), ["AAA", "Close is string", "numbers"]),
    ("duplicate", lambda: bars(Date=with_value(DAYS, 4, DAYS[3])), ["2020-01-04 appears more than once", "clean"]),
    ("unsorted", lambda: bars(Date=with_value(DAYS, 4, DAYS[1])), ["not sorted", "2020-01-02 follows 2020-01-04"]),
    ("null date", lambda: bars(Date=with_value(DAYS, 4, None)), ["1 rows without a date, first row 4"]),
    ("number date", lambda: bars(Date=pa.array(range(40))), ["Date is int64", "ISO strings"]),
    ("text date", lambda: bars(Date=pa.array(["1.2.2020"] * 40)), ["Date", "YYYY-MM-DD"]),
]


@pytest.mark.parametrize(("make", "expected"), [row[1:] for row in BAD_DATA], ids=[row[0] for row in BAD_DATA])
def test_bad_bars_are_refused_naming_ticker_and_date(make, expected, tmp_path: Path):
    pq.write_table(make(), tmp_path / "AAA.parquet")
    pq.write_table(bars(), tmp_path / "BBB.parquet")
    with pytest.raises(InputError) as caught:
        load(str(tmp_path), ["AAA", "BBB"])
    assert all(fragment in str(caught.value) for fragment in expected), str(caught.value)


def test_every_bad_ticker_is_reported_at_once(tmp_path: Path):
    pq.write_table(bars(Close=with_value(CLOSES, 0, 0.0)), tmp_path / "AAA.parquet")
    pq.write_table(bars().slice(0, 0), tmp_path / "BBB.parquet")
    (tmp_path / "CCC.parquet").write_bytes(b"")
    whole = _written_table(tmp_path / "DDD.parquet")
    (tmp_path / "DDD.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError) as caught:
        load(str(tmp_path), ["AAA", "BBB", "CCC", "DDD", "EEE", "../AAA"])
    message = str(caught.value)
    assert len(caught.value.problems) == 6
    for name in ("AAA", "BBB", "CCC.parquet: not a readable", "DDD.parquet: not a readable", "EEE", "../AAA"):
        assert name in message


def _written_table(path: Path) -> bytes:
    pq.write_table(bars(), path)
    return path.read_bytes()


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path):
    (tmp_path / "data").mkdir()
    pq.write_table(bars(), tmp_path / "secret.parquet")
    (tmp_path / "data" / "AAA.parquet").symlink_to(tmp_path / "secret.parquet")
    with pytest.raises(InputError, match="AAA is not in"):
        load(str(tmp_path / "data"), ["AAA"])


def test_no_common_dates_is_an_error(tmp_path: Path):
    odd = [day for day in DAYS if day.day % 2]
    even = [day for day in DAYS if not day.day % 2 and day > odd[0]][:-1]
    pq.write_table(pa.table({"Date": odd, "Close": [1.0] * len(odd)}), tmp_path / "AAA.parquet")
    pq.write_table(pa.table({"Date": even, "Close": [1.0] * len(even)}), tmp_path / "BBB.parquet")
    panel = load(str(tmp_path), ["AAA", "BBB"])  # each is alone on the dates outside the other's life
    assert [day.item() for day in panel.dates] != []
    pq.write_table(pa.table({"Date": [*odd[:1], *even], "Close": [1.0] * (len(even) + 1)}), tmp_path / "BBB.parquet")
    pq.write_table(pa.table({"Date": odd[1:], "Close": [1.0] * len(odd[1:])}), tmp_path / "AAA.parquet")
    assert load(str(tmp_path), ["AAA", "BBB"]).dropped["AAA"] > 0


def test_cleaning_mends_what_it_names_and_counts_it(tmp_path: Path):
    days = [*DAYS[:4], DAYS[3], DAYS[6], DAYS[5], *DAYS[7:]]
    closes = [float("nan") if k == 12 else 50.0 + k for k in range(len(days))]
    pq.write_table(pa.table({"Date": days, "Close": closes}), tmp_path / "AAA.parquet")
    panel = load(str(tmp_path), ["AAA"], clean=["sort", "drop_duplicates", "drop_invalid"])
    assert panel.cleaned == {"AAA": {"sort": 1, "drop_duplicates": 1, "drop_invalid": 1}}
    assert len(panel.dates) == len(days) - 2
    assert panel.close[0, 3] == 54.0, "the last row of a date stays"
