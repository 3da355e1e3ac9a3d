"""Whatever comes in: it is read, and means the same when it is written and read again, or it is refused helpfully.

`FORGE_RAY_FUZZ_SECONDS` is the time of all tests here together, 30 seconds without it. ``-rP`` shows how many examples
ran.
"""

from __future__ import annotations

import io
import math
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import hostile_parquet
from forge_ray import jsontext
from forge_ray.cli.main import command
from forge_ray.data import Panel, as_date, load
from forge_ray.errors import InputError
from forge_ray.plan import Execution, compile_plan
from forge_ray.run import explain, prepare
from forge_ray.sweep import Sweep, parse_job, read_job
from forge_ray.tree import Grid, Tree, parse_tree, to_json, tree_hash
from forge_ray.tree.reader import Definitions
from fuzzing import fuzz
from hostile_json import JOB_TEXTS, JOBS, TREE_TEXTS, TREES, Document, mutated, mutated_bytes
from hostile_parquet import Bars, Damaged

CPU_SECONDS = 10.0
MAX_LENGTH = 40_000  # a path of a thousand levels, and twice that
SMALL = 64
SMALLEST = 1e-300  # floats below have fewer digits

T = TypeVar("T")


def test_trees() -> None:
    fuzz(0.2, check_tree, mutated(TREES))


def test_jobs() -> None:
    fuzz(0.3, check_job, mutated(JOBS))


def test_texts(tmp_path: Path) -> None:
    fuzz(0.15, lambda data: check_file(tmp_path / "job.json", data), mutated_bytes(JOB_TEXTS | TREE_TEXTS))


def test_tables(tmp_path: Path) -> None:
    fuzz(0.15, lambda bars: check_bars(tmp_path, bars), hostile_parquet.bars())


def test_damaged_pages(tmp_path: Path) -> None:
    fuzz(0.1, lambda damaged: check_pages(tmp_path, damaged), hostile_parquet.damaged_pages())


def test_damaged_files(tmp_path: Path) -> None:
    fuzz(0.1, lambda damaged: check_damage(tmp_path, damaged), hostile_parquet.damaged_files())


# ---------------------------------------------------------------- jobs and trees


def check_tree(document: Document) -> bool:
    tree = accepted(lambda: parse_tree(document.value))
    if tree is not None:
        check_round_trip(tree)
        if not tree.axes():
            compile_plan((tree,), Grid((), (frozenset(),)), Execution())
    return tree is not None


def check_round_trip(tree: Tree, definitions: Definitions | None = None) -> None:
    again = parse_tree(jsontext.parse(jsontext.write(to_json(tree))), definitions=definitions)
    assert tree_hash(again) == tree_hash(tree)


def check_job(document: Document) -> bool:
    sweep = accepted(lambda: parse_job(document.value))
    if sweep is not None:
        check_sweep(sweep)
    return sweep is not None


def check_sweep(sweep: Sweep) -> None:
    """It means the same when it is read again from what a run keeps; it compiles; if it is small, it can be planned."""
    for tree in sweep.trees:
        check_round_trip(tree, Definitions(sweep.formulas))
    assert parse_job(sweep.job).run_id("") == sweep.run_id("")
    plan = compile_plan(sweep.trees, sweep.space, sweep.execution, sweep.formulas)
    assert "close" in plan.fields and set(plan.held) <= set(plan.tickers)
    if sweep.space.size <= SMALL:
        accepted(lambda: explain(prepare(sweep), 2, 2**26))


def check_file(file: Path, data: bytes) -> bool:
    """The command line takes what `read_job` takes, and trees too."""
    file.write_bytes(data)
    sweep = accepted(lambda: read_job(file))
    code, out, err = command_line("validate", str(file))
    assert (code, bool(out), bool(err)) in [(0, True, False), (2, False, True)]
    if sweep is not None:
        assert code == 0
        check_sweep(sweep)
    return code == 0


# ---------------------------------------------------------------- market data


def check_bars(folder: Path, bars: Bars) -> bool:
    """What is loaded is what the table says, read row by row."""
    panel = loaded(folder, bars.file, bars.request)
    if panel is not None:
        rows, own = plain_rows(bars), panel.bars[0]
        assert [as_date(day) for day in own.dates] == [row["Date"] for row in rows]
        for name in ("close", *own.others):
            expected = [row[name.capitalize()] for row in rows]
            np.testing.assert_allclose(own.field(name), expected, rtol=1e-12, atol=SMALLEST)
    return panel is not None


def check_pages(folder: Path, damaged: Damaged) -> bool:
    """A damaged page is refused, or the damage does not matter. Parquet has no checksum for its footer: damage there
    can rename a column or move a decimal point without a trace, so it is left out here."""
    panel = loaded(folder, damaged.data, damaged.bars.request)
    if panel is not None:
        original = loaded(folder, damaged.bars.file, damaged.bars.request)
        assert original is not None and panel.fingerprint == original.fingerprint
    return panel is not None


def check_damage(folder: Path, damaged: Damaged) -> bool:
    return loaded(folder, damaged.data, damaged.bars.request) is not None


def loaded(folder: Path, data: bytes, request: dict[str, Any]) -> Panel | None:
    """The panel of a file, or None if it is refused."""
    (folder / "AAA.parquet").write_bytes(data)
    panel = accepted(lambda: load(str(folder), ["AAA"], **request))
    if panel is not None:
        check_panel(panel)
        assert load(str(folder), ["AAA"], **request).fingerprint == panel.fingerprint
    return panel


def check_panel(panel: Panel) -> None:
    (own,) = panel.bars
    assert len(own.dates) and (np.diff(own.dates) > 0).all() and np.array_equal(own.dates, panel.dates)
    assert np.isfinite(own.close).all() and (own.close > 0).all()
    for values in own.others.values():
        assert not np.isinf(values).any() and not (values < 0).any()
    of_bars = [own.dates, own.close, own.shown, own.carried, *own.others.values()]
    arrays = [panel.dates, *panel.fields.values(), *of_bars]
    assert not any(array.flags.writeable for array in arrays) and all(array.flags.c_contiguous for array in arrays)


Row = dict[str, Any]


def plain_rows(bars: Bars) -> list[Row]:
    """The rows that the request asks for, on the scale of the first one's close, by plain Python."""
    asked = [
        "Date",
        "Close",
        "Adj Close",
        *(field.capitalize() for field in bars.request["fields"] if field != "close"),
    ]
    names = [name for name in asked if name in bars.table.column_names]
    columns = [bars.as_read(name).to_pylist() for name in names]
    rows = [{name: plain(value) for name, value in zip(names, row, strict=True)} for row in zip(*columns, strict=True)]
    clean = bars.request["clean"]
    if "sort" in clean:
        rows.sort(key=lambda row: row["Date"])
    if "drop_duplicates" in clean:
        rows = [row for row, after in pairwise([*rows, None]) if after is None or after["Date"] != row["Date"]]
    if "drop_invalid" in clean:
        rows = [row for row in rows if all(0 < row.get(name, 1.0) < math.inf for name in ("Close", "Adj Close"))]
    start, end = bars.request["start"] or date.min, bars.request["end"] or date.max
    return [adjusted(row, rows[0]) for row in rows if start <= row["Date"] <= end]


def adjusted(row: Row, first: Row) -> Row:
    if "Adj Close" not in row:
        return row
    price = first["Close"] * (row["Adj Close"] / first["Adj Close"])
    scaled = {name: row[name] * (price / row["Close"]) for name in ("Open", "High", "Low") if name in row}
    volume = {"Volume": row["Volume"] * (row["Close"] / price)} if "Volume" in row else {}
    return {"Date": row["Date"], "Close": price, **scaled, **volume}


def plain(value: Any) -> Any:
    """A date, or a float; what is missing is NaN."""
    match value:
        case datetime():
            return value.date()
        case str():
            return date.fromisoformat(value)
        case date():
            return value
    return math.nan if value is None else float(value)


# ---------------------------------------------------------------- what an error has to be


def accepted(call: Callable[[], T]) -> T | None:
    """What a call returns, or None if it refuses its input with an error that helps."""
    began = time.process_time()
    try:
        return call()
    except InputError as error:
        assert_helpful(error)
        return None
    finally:
        assert time.process_time() - began < CPU_SECONDS


def assert_helpful(error: InputError) -> None:
    assert error.problems
    for problem in error.problems:
        assert problem.place.strip() and len(problem.place) <= MAX_LENGTH, problem
        assert problem.message.strip() and len(problem.message) <= MAX_LENGTH, problem
        assert str(problem).isprintable(), problem


def command_line(*arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command line, run in this process."""
    out, err = io.StringIO(), io.StringIO()
    before, sys.argv = sys.argv, ["forge-ray", *arguments]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            return command(), out.getvalue(), err.getvalue()
    finally:
        sys.argv = before
