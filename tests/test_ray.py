"""Ray must equal the local executor, also when the driver is killed in the middle of the work."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from forge_ray.cluster.local import LocalExecutor
from forge_ray.cluster.ray_executor import RayExecutor
from forge_ray.data import CacheFolder, MappedFields, in_files
from forge_ray.errors import EvaluationError
from forge_ray.run import Prepared, Progress, Run, execute, prepare
from forge_ray.store import LocalStore, MissingRunError
from forge_ray.sweep import parse_job

CACHE = 64 * 2**20
OPTIONS = {"object_store_memory": 200 * 2**20}
JOB = {
    "data": "sample:us20",
    "benchmark": "SPX",
    "tree": {
        "id": "gate",
        "kind": "indicator",
        "conditions": [
            {"id": "dip", "metric": "RSI", "window": "$n", "ticker": "$stock", "comparator": "lt", "threshold": "$low"},
            {"id": "calm", "type": "and", "metric": "StdDev", "window": 20, "ticker": "SPX", "comparator": "lt",
             "threshold": "$calm"},
        ],
        "children": {"then": [{"id": "in", "kind": "position", "positions": ["$stock", "KO"]}],
                     "else": [{"id": "out", "kind": "position", "positions": ["CASH"]}]},
    },
    "axes": {"n": "2..21", "low": "20..60 by 1", "stock": ["AAPL", "MSFT", "XOM"], "calm": [0.8, 1.2, 1.6, 2.4]},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _ray_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "0")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(parse_job(JOB))


@pytest.fixture(scope="module")
def expected(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    result = execute(prepared, LocalExecutor(1, CACHE), tmp_path_factory.mktemp("local"))
    return rows(Path(result.path))


def rows(path: Path) -> pl.DataFrame:
    with Run(path) as run:
        return run.frame()


def attempts(path: Path) -> list[str]:
    """Attempt of every committed part, as its file name tells."""
    store = LocalStore.read(path)
    names = [Path(part.path).stem for part in store.parts()]
    store.close()
    return [name.split("-")[2] for name in names]


def test_ray_executor_equals_local(prepared: Prepared, expected: pl.DataFrame, tmp_path: Path):
    result = execute(prepared, RayExecutor(2, CACHE, **OPTIONS), tmp_path, block_size=1_007)
    assert result.computed == len(expected)
    assert rows(Path(result.path)).equals(expected)


def test_a_driver_killed_in_the_middle_resumes_where_it_stopped(
    prepared: Prepared, expected: pl.DataFrame, tmp_path: Path
):
    job = tmp_path / "job.json"
    job.write_text(json.dumps(JOB))
    command = [sys.executable, "-m", "forge_ray.cli.main", "run", str(job), "--out", str(tmp_path), "--json"]
    path = tmp_path / prepared.run_id
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: committed(path) > len(expected) // 4)
    first.kill()
    first.wait()
    done = committed(path)
    assert 0 < done < len(expected), "the kill must land inside the work"
    second = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=240).stdout)
    assert second["computed"] == len(expected) - done
    assert {attempt.split(".")[0] for attempt in attempts(path)} == {"1", "2"}
    assert rows(path).equals(expected)
    third = json.loads(subprocess.run([*command, "--local"], capture_output=True, check=True, timeout=60).stdout)
    assert third["computed"] == 0


def committed(path: Path) -> int:
    try:
        store = LocalStore.read(path)
    except MissingRunError:
        return 0  # Not created, or not completely yet.
    try:
        return store.counts()["branches"]
    finally:
        store.close()


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.02)
    raise TimeoutError("the first run committed nothing in time")


@pytest.mark.parametrize("files_are_there", [True, False])
def test_actors_map_the_panel_or_get_it(
    files_are_there: bool, prepared: Prepared, tmp_path: Path, expected: pl.DataFrame
):
    """Where an actor sees the files of the panel's fields it maps them; where it does not, the fields travel."""
    panel = prepared.market.panel(in_files(CacheFolder(tmp_path / "panels")))
    prepared = replace(prepared, bound=replace(prepared.bound, panel=panel))
    fields, maps = panel.fields, list[str]()
    assert isinstance(fields, MappedFields)
    files = [file.path for file in fields.files.values()]
    for path in () if files_are_there else files:
        path.unlink()  # the driver has mapped it and keeps it
    executor = RayExecutor(2, CACHE, **OPTIONS)

    def look(progress: Progress) -> None:
        maps.extend(Path(f"/proc/{pid}/maps").read_text() for pid in executor.pids if not maps)

    result = execute(prepared, executor, tmp_path, on_progress=look)
    assert any(str(path) in text for path in files for text in maps) == files_are_there
    with Run(result.path) as run:
        assert run.frame().equals(expected)


def test_an_error_inside_a_block_is_fatal_and_names_it(prepared: Prepared, tmp_path: Path):
    # A plan whose panel lacks its bars fails inside the evaluation of the first block.
    bound = replace(prepared.bound, panel=replace(prepared.bound.panel, bars=()))
    broken = replace(prepared, bound=bound, run_id="broken")
    with pytest.raises(EvaluationError, match=r"block \[0, "):
        execute(broken, RayExecutor(1, CACHE, **OPTIONS), tmp_path)
    with pytest.raises(EvaluationError, match=r"block \[0, "):
        execute(broken, LocalExecutor(1, CACHE), tmp_path)
