"""The SQLite copy of a run holds exactly the rows of its parts, also after a run that was cut short."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

from forge_ray.cluster.local import LocalExecutor
from forge_ray.errors import DiskError, InputError
from forge_ray.run import Run, execute, prepare
from forge_ray.store import LocalStore, SqliteSink, damaged_copies
from forge_ray.sweep import parse_job
from runs import CACHE, JOB

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


def test_an_unknown_sink_is_refused_before_anything_is_thrown_away(tmp_path: Path):
    prepared = prepare(parse_job(SMALL))
    path = Path(execute(prepared, LocalExecutor(1, CACHE), tmp_path).path)
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    with pytest.raises(InputError, match="sqlite"):
        execute(prepared, LocalExecutor(1, CACHE), tmp_path, sink="postgres", fresh=True)
    assert before == {file: file.stat().st_mtime_ns for file in path.rglob("*")}


def test_a_fresh_run_has_a_copy_of_its_own_rows(tmp_path: Path):
    prepared = prepare(parse_job(SMALL))
    execute(prepared, LocalExecutor(1, CACHE), tmp_path, sink="sqlite")
    result = execute(prepared, LocalExecutor(1, CACHE), tmp_path, fresh=True)
    assert result.computed == 528 and not (Path(result.path) / "results.sqlite").exists()
    execute(prepared, LocalExecutor(1, CACHE), tmp_path, sink="sqlite", fresh=True, block_size=100)
    assert_same(Path(result.path))


def test_a_copy_where_nothing_may_be_written_is_compared_all_the_same(tmp_path: Path, monkeypatch):
    result = execute(prepare(parse_job(SMALL)), LocalExecutor(1, CACHE), tmp_path, sink="sqlite")
    with monkeypatch.context() as patch, closing(LocalStore.read(Path(result.path))) as store:
        patch.setattr("os.access", lambda path, right: right == os.F_OK)
        before = sorted(Path(result.path).iterdir())
        assert damaged_copies(store) == [] and sorted(Path(result.path).iterdir()) == before
        patch.setattr("sqlite3.connect", refuse)
        with pytest.raises(DiskError, match=r"results\.sqlite: unable to open"):
            damaged_copies(store)


def test_a_copy_that_grows_while_it_is_compared_is_sound(tmp_path: Path, monkeypatch):
    result = execute(prepare(parse_job(SMALL)), LocalExecutor(1, CACHE), tmp_path, sink="sqlite")
    read = LocalStore.read_rows

    def meanwhile(store: LocalStore, part):
        with closing(sqlite3.connect(store.path / "results.sqlite")) as other, other:
            other.execute("INSERT OR IGNORE INTO blocks VALUES ('rows/9000-9001-1.parquet')")
            other.execute("INSERT OR IGNORE INTO results (branch) VALUES (9000)")
        return read(store, part)

    monkeypatch.setattr(LocalStore, "read_rows", meanwhile)
    with closing(LocalStore.read(Path(result.path))) as store:
        assert damaged_copies(store) == []
        assert [str(damage) for damage in damaged_copies(store)] != [], "now it is there from the start"


def test_a_copy_of_a_finished_run_that_is_cut_short_is_damaged(tmp_path: Path):
    result = execute(prepare(parse_job(SMALL)), LocalExecutor(1, CACHE), tmp_path, sink="sqlite", block_size=16)
    with closing(sqlite3.connect(Path(result.path) / "results.sqlite")) as copy, copy:
        copy.execute("DELETE FROM blocks WHERE part LIKE 'rows/16-%'")
        copy.execute("DELETE FROM results WHERE branch >= 16 AND branch < 32")
    with closing(LocalStore.read(Path(result.path))) as store:
        (damage,) = damaged_copies(store)
        assert "the rows of 1 block(s) are missing" in str(damage)


def test_a_driver_that_was_taken_over_may_copy_what_its_successor_has(tmp_path: Path):
    """It slept between the commit of a block and its rows here."""
    result = execute(prepare(parse_job(SMALL)), LocalExecutor(1, CACHE), tmp_path, sink="sqlite", block_size=16)
    with closing(LocalStore.read(Path(result.path))) as store, closing(SqliteSink(store)) as sink:
        sink.add(store.parts()[3])
        assert damaged_copies(store) == []


def refuse(*_: object, **__: object) -> None:
    error = sqlite3.OperationalError("unable to open database file")
    error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
    raise error
