"""Ray must equal the local executor, also when the driver is killed in the middle of the work."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import psutil
import pytest

from forge_ray.cluster.local import LocalExecutor
from forge_ray.cluster.ray_executor import RayExecutor
from forge_ray.data import CacheFolder, MappedFields, in_files
from forge_ray.errors import EvaluationError
from forge_ray.run import Prepared, Progress, Run, execute, prepare
from forge_ray.sweep import parse_job
from runs import CACHE, JOB, LONG, attempts, clean, committed, rows, wait_for


@pytest.fixture(scope="module", autouse=True)
def _ray_environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_memory_monitor_refresh_ms", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        yield


@pytest.fixture(scope="module")
def on_ray(_ray_environment: None) -> Iterator[RayExecutor]:
    """Two actors that stay from test to test."""
    executor = RayExecutor(2, CACHE, stays=True, object_store_memory=200 * 2**20)
    yield executor
    executor.crew.leave()


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(parse_job(JOB))


@pytest.fixture(scope="module")
def expected(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    return clean(prepared, tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="module")
def long() -> Prepared:
    return prepare(parse_job(LONG))


def test_ray_executor_equals_local(on_ray: RayExecutor, prepared: Prepared, expected: pl.DataFrame, tmp_path: Path):
    result = execute(prepared, on_ray, tmp_path, block_size=1_007)
    assert result.computed == len(expected)
    assert rows(Path(result.path)).equals(expected)


def test_a_driver_killed_in_the_middle_resumes_where_it_stopped(long: Prepared, tmp_path: Path):
    expected = clean(long, tmp_path / "clean")
    job = tmp_path / "job.json"
    job.write_text(json.dumps(LONG))
    command = [sys.executable, "-m", "forge_ray.cli.main", "run", str(job), "--out", str(tmp_path), "--json"]
    path = tmp_path / long.run_id
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: committed(path) > 0, "the first run committed nothing")
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


def test_what_ray_says_of_a_worker_that_died_is_not_on_stdout(long: Prepared, tmp_path: Path):
    job = tmp_path / "job.json"
    job.write_text(json.dumps(LONG))
    command = [sys.executable, "-m", "forge_ray.cli.main", "run", str(job), "--out", str(tmp_path), "--json"]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: committed(tmp_path / long.run_id) > 0, "nothing is committed", driver=driver)
    workers = [p for p in psutil.Process(driver.pid).children(recursive=True) if "BlockWorker" in p.name()]
    workers[0].kill()
    out, err = driver.communicate(timeout=120)
    assert driver.returncode == 0, (out, err)
    assert json.loads(out)["cost"]["workers_lost"] == 1, (out, err)
    assert "(raylet)" in err, "or nothing was said"


@pytest.mark.parametrize("files_are_there", [True, False])
def test_actors_map_the_panel_or_get_it(
    files_are_there: bool, on_ray: RayExecutor, prepared: Prepared, tmp_path: Path, expected: pl.DataFrame
):
    """Where an actor sees the files of the panel's fields it maps them; where it does not, the fields travel."""
    panel = prepared.market.panel(in_files(CacheFolder(tmp_path / "panels")))
    prepared = replace(prepared, bound=replace(prepared.bound, panel=panel))
    fields, maps = panel.fields, list[str]()
    assert isinstance(fields, MappedFields)
    files = [file.path for file in fields.files.values()]
    for path in () if files_are_there else files:
        path.unlink()  # the driver has mapped it and keeps it

    def look(progress: Progress) -> None:
        maps.extend(Path(f"/proc/{pid}/maps").read_text() for pid in on_ray.pids if not maps)

    result = execute(prepared, on_ray, tmp_path, on_progress=look)
    assert any(str(path) in text for path in files for text in maps) == files_are_there
    with Run(result.path) as run:
        assert run.frame().equals(expected)


def test_an_error_inside_a_block_is_fatal_and_names_it(on_ray: RayExecutor, prepared: Prepared, tmp_path: Path):
    # A plan whose panel lacks its bars fails inside the evaluation of the first block.
    bound = replace(prepared.bound, panel=replace(prepared.bound.panel, bars=()))
    broken = replace(prepared, bound=bound, run_id="broken")
    with pytest.raises(EvaluationError, match=r"block \[\d+, \d+\): IndexError: "):
        execute(broken, on_ray, tmp_path)
    with pytest.raises(EvaluationError, match=r"block \[0, "):
        execute(broken, LocalExecutor(1, CACHE), tmp_path)
