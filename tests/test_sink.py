"""The SQLite copy of a run holds exactly the rows of its parts, also after a run that was cut short."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import polars as pl
import pytest
from test_ray import CACHE, JOB

from forge_ray.cluster.local import LocalExecutor
from forge_ray.errors import InputError
from forge_ray.run import Run, execute, prepare
from forge_ray.store import SqliteSink
from forge_ray.sweep import parse_job

SMALL = {**JOB, "axes": {**JOB["axes"], "n": "2..5", "low": "20..30 by 1"}}


def copied(path: Path) -> pl.DataFrame:
    connection = sqlite3.connect(path / "results.sqlite")
    cursor = connection.execute("SELECT * FROM results ORDER BY branch")
    names = [column[0] for column in cursor.description]
    rows = cursor.fetchall()
    connection.close()
    return pl.DataFrame(rows, names, orient="row", infer_schema_length=None)


def assert_same(path: Path) -> None:
    with Run(path) as run:
        expected = run.frame()
    found = copied(path)
    assert found.columns == expected.columns
    assert found.rows() == expected.with_columns(pl.col("passed").cast(pl.Int64)).rows()


def test_the_table_holds_exactly_the_rows(tmp_path: Path):
    result = execute(prepare(parse_job(SMALL)), LocalExecutor(1, CACHE), tmp_path, sink="sqlite")
    assert result.branches == 528
    assert_same(Path(result.path))


def test_a_run_without_the_table_catches_up_when_asked(tmp_path: Path):
    prepared = prepare(parse_job(SMALL))
    execute(prepared, LocalExecutor(1, CACHE), tmp_path)
    again = execute(prepared, LocalExecutor(1, CACHE), tmp_path, sink="sqlite")
    assert again.computed == 0
    assert_same(Path(again.path))


def test_a_block_committed_but_not_copied_is_copied_at_the_next_opening(tmp_path: Path, monkeypatch):
    prepared, calls = prepare(parse_job(SMALL)), []
    add = SqliteSink.add

    def fail_at_fifth(sink: SqliteSink, part) -> None:
        calls.append(part)
        if len(calls) == 5:
            raise KeyboardInterrupt
        add(sink, part)

    monkeypatch.setattr(SqliteSink, "add", fail_at_fifth)
    with pytest.raises(KeyboardInterrupt):
        execute(prepared, LocalExecutor(1, CACHE), tmp_path, sink="sqlite", block_size=16)
    monkeypatch.undo()
    result = execute(prepared, LocalExecutor(1, CACHE), tmp_path, sink="sqlite")
    assert 0 < result.computed < 528
    assert_same(Path(result.path))


def test_an_unknown_sink_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="sqlite"):
        execute(prepare(parse_job(SMALL)), LocalExecutor(1, CACHE), tmp_path, sink="postgres")
