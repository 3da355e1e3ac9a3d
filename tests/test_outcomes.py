"""Outcomes of paths from one run to the next: the same bits, fewer simulations; a stored lie is found or not used."""

from __future__ import annotations

import random
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from forge_ray.cluster.local import LocalExecutor
from forge_ray.engine import Cache, Evaluator, evaluate
from forge_ray.engine.block import _sleeves, _terms, _values  # the paths of whole blocks
from forge_ray.engine.known import paths_along
from forge_ray.engine.planes import planes_of
from forge_ray.errors import NondeterminismError
from forge_ray.run import Result, Run, execute, prepare
from forge_ray.store import OutcomeStore
from forge_ray.sweep import parse_job
from test_exactness import JOB

CACHE = 2**26
LOW = {"axes": JOB["axes"] | {"low": [40, 50, 60]}}
HIGHER = {"axes": JOB["axes"] | {"low": [50, 60, 70]}}
TREE = {
    "id": "f", "kind": "function", "metric": "RSI", "window": 10, "rank": "top", "n": 1,
    "children": {"next": [{"id": "a", "kind": "position", "positions": ["AAPL", "KO"]},
                          {"id": "x", "kind": "position", "positions": ["XOM"]}]},
}  # fmt: skip
AROUND: dict[str, Any] = {
    "tree": TREE,
    "design": {"kind": "neighbourhood", "changes": 1, "window": "±40%"},
    # Wider windows would start later, and other bars are other outcomes.
    "execution": {"rebalance": "on_change", "start": "2013-01-02"},
}


def run(folder: Path, changes: dict[str, Any], rebalance: Any = "on_change", **how: Any) -> tuple[Result, pl.DataFrame]:
    job: dict[str, Any] = JOB | {"execution": {"rebalance": rebalance}} | changes
    job = {key: value for key, value in job.items() if key != "axes" or "design" not in job}
    result = execute(prepare(parse_job(job)), LocalExecutor(2, CACHE), folder, block_size=4, **how)
    with Run(result.path) as stored:
        return result, stored.frame()


def known(result: Result) -> tuple[int, int]:
    """Outcomes that were stored, and that were asked for."""
    return result.cost.found.get("stored", (0, 0))


@pytest.mark.parametrize("rebalance", ["on_change", {"threshold": 5}])
def test_a_second_sweep_simulates_only_the_paths_that_the_first_did_not(rebalance: Any, tmp_path: Path):
    first, _ = run(tmp_path / "a", LOW, rebalance)
    second, rows = run(tmp_path / "a", HIGHER, rebalance)
    alone, expected = run(tmp_path / "b", HIGHER, rebalance)
    assert rows.equals(expected)
    assert known(first)[0] == known(alone)[0] == 0
    hits, asked = known(second)
    assert asked == alone.distinct and hits >= asked // 2


def test_neighbours_of_a_tree_are_found_again(tmp_path: Path):
    run(tmp_path / "a", AROUND)
    wider = AROUND | {"design": AROUND["design"] | {"window": "±60%"}}
    second, rows = run(tmp_path / "a", wider)
    _, expected = run(tmp_path / "b", wider)
    assert rows.equals(expected)
    assert known(second)[0] >= 8


@pytest.mark.parametrize(
    "changes",
    [
        {"execution": {"rebalance": "on_change", "cost_bps": 20}},
        {"execution": {"rebalance": {"threshold": 1}}},
        {"split": "even_odd_month"},
        {"benchmark": "KO"},
        {"data": {"source": "sample:us20", "start": "2012-01-01", "end": "2022-06-30"}},
    ],
)
def test_the_same_paths_of_another_definition_are_other_outcomes(changes: dict, tmp_path: Path):
    run(tmp_path, LOW)
    second, _ = run(tmp_path, LOW | changes)
    assert known(second)[0] == 0 < known(second)[1]


def test_a_rule_of_the_calendar_stores_no_outcomes_and_fresh_asks_for_none(tmp_path: Path):
    run(tmp_path, LOW, "daily")
    assert not list(tmp_path.glob("outcomes-*"))
    run(tmp_path, LOW)
    (file,) = tmp_path.glob("outcomes-*.sqlite")
    before = file.stat().st_mtime_ns
    again, _ = run(tmp_path, LOW, fresh=True)
    assert again.computed and known(again) == (0, 0) and file.stat().st_mtime_ns == before


def test_a_stored_outcome_that_is_another_is_found_by_the_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run(tmp_path, LOW)
    (file,) = tmp_path.glob("outcomes-*.sqlite")
    with closing(sqlite3.connect(file)) as sql:
        values = sql.execute("SELECT key, value FROM outcomes").fetchall()
    with closing(OutcomeStore(file)) as store:
        for key, value in values:
            metrics = np.frombuffer(value[8:]).copy()
            metrics[0] = np.nextafter(metrics[0], 9.0)
            store.keep(key, metrics.tobytes())
    sampled = [key for key, _ in values if key[16] % 64 == 0]
    if not sampled:  # the choice is the path's: take a coarser one, so that some are chosen
        monkeypatch.setattr("forge_ray.engine.known.SAMPLED", 4)
    with pytest.raises(NondeterminismError, match="stored other metrics"):
        run(tmp_path, HIGHER)


def test_a_value_that_does_not_fit_its_checksum_is_not_used(tmp_path: Path):
    run(tmp_path / "a", LOW)
    (file,) = (tmp_path / "a").glob("outcomes-*.sqlite")
    rng = random.Random(1)
    with closing(sqlite3.connect(file, isolation_level=None)) as sql:
        for key, value in sql.execute("SELECT key, value FROM outcomes").fetchall():
            damaged = bytearray(value)
            damaged[rng.randrange(len(value))] ^= 1 << rng.randrange(8)
            sql.execute("UPDATE outcomes SET value = ? WHERE key = ?", (bytes(damaged), key))
    second, rows = run(tmp_path / "a", HIGHER)
    _, expected = run(tmp_path / "b", HIGHER)
    assert known(second)[0] == 0 and rows.equals(expected)
    third, _ = run(tmp_path / "a", HIGHER | {"name": "again", "require": {"is.trades": ">= 1"}})
    assert known(third)[0] == known(third)[1], "what was damaged has been replaced"


@pytest.mark.parametrize("value", ["x" * 40, 7, 0.5, None], ids=str)
def test_a_value_that_is_no_blob_is_not_used(value: object, tmp_path: Path):
    file = tmp_path / "outcomes.sqlite"
    with closing(sqlite3.connect(file)) as sql, sql:
        sql.execute("CREATE TABLE outcomes (key BLOB PRIMARY KEY, value)")
        sql.execute("INSERT INTO outcomes VALUES (?, ?)", (b"key", value))
    with closing(OutcomeStore(file)) as store:
        assert store.find(b"key") is None


def test_the_hash_of_a_path_is_that_of_its_row():
    job: dict[str, Any] = JOB | LOW | {"execution": {"rebalance": {"threshold": 5}}}
    bound = prepare(parse_job(job)).bound
    expected = evaluate(bound, 0, bound.plan.space.size, Cache(CACHE)).column("path").to_pylist()
    evaluator = Evaluator(bound.plan, bound.panel, Cache(CACHE))
    for term, branches, digits in _terms(bound, 0, bound.plan.space.size):
        residual = bound.plan.residuals[term.tree]
        for branch, row in zip(branches, digits, strict=True):
            values = _values(bound, term, row, residual.outer)
            sleeves = _sleeves(bound, evaluator, residual, values)
            planes = planes_of(bound, evaluator, term, residual, values, row[None], residual.inner).within(0, bound.n)
            assert paths_along(sleeves, planes)[0].tobytes() == expected[branch]


def test_the_file_is_bounded_and_the_oldest_go(tmp_path: Path):
    file, limit = tmp_path / "outcomes.sqlite", 400_000
    value = bytes(500)
    for block in range(20):
        with closing(OutcomeStore(file, limit)) as store:
            for k in range(100):
                store.keep(f"{block} {k}".encode().ljust(32), value)
        assert file.stat().st_size < 1.5 * limit
    with closing(OutcomeStore(file, limit)) as store:
        assert store.find(b"19 99".ljust(32)) == value and store.find(b"0 0".ljust(32)) is None


def test_many_may_write_at_once(tmp_path: Path):
    def write(writer: int) -> None:
        for k in range(20):
            with closing(OutcomeStore(tmp_path / "outcomes.sqlite")) as store:
                store.keep(f"{writer} {k}".encode(), f"{writer * k}".encode())

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(4)))
    with closing(OutcomeStore(tmp_path / "outcomes.sqlite")) as store:
        assert all(store.find(f"{w} {k}".encode()) == f"{w * k}".encode() for w in range(4) for k in range(20))


def test_what_is_no_database_is_told_and_done_without(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    _, expected = run(tmp_path / "a", LOW)
    (file,) = (tmp_path / "a").glob("outcomes-*.sqlite")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / file.name).write_bytes(b"no database at all" * 100)
    found, rows = run(tmp_path / "b", LOW)
    assert rows.equals(expected) and known(found)[0] == 0
    (told,) = [record.getMessage() for record in caplog.records if file.name in record.getMessage()]
    assert f"{tmp_path / 'b' / file.name}: file is not a database" in told and "It can be removed" in told


def test_a_file_that_is_refused_later_is_done_without(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Its pages are gone after it was opened; when another is written, somebody is in the middle of a transaction."""
    file = tmp_path / "outcomes.sqlite"
    with closing(OutcomeStore(file)) as store:
        for k in range(2_000):
            store.keep(f"{k}".encode().ljust(32), bytes(500))
    with closing(OutcomeStore(file)) as store:
        data = bytearray(file.read_bytes())
        data[4096:] = bytes(len(data) - 4096)
        file.write_bytes(data)
        assert store.find(b"7".ljust(32)) is None
        assert store.find(b"8".ljust(32)) is None
    with closing(sqlite3.connect(tmp_path / "held.sqlite", isolation_level=None)) as held:
        store = OutcomeStore(tmp_path / "held.sqlite")
        store._sql.execute("PRAGMA busy_timeout = 10")
        held.execute("BEGIN IMMEDIATE")
        store.keep(b"key", b"value")
        store.close()
    told = [record.getMessage() for record in caplog.records]
    assert [name for name in ("outcomes.sqlite", "held.sqlite") for text in told if name in text] == [
        "outcomes.sqlite", "held.sqlite",
    ]  # fmt: skip
