"""The pool: a second job starts warm, and neither a driver that is killed nor a worker that dies takes it along."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE
from typing import Any
from urllib.request import urlopen

import msgspec
import numpy as np
import polars as pl
import pytest

import forge_ray
from forge_ray.cluster import code, ray_executor
from forge_ray.cluster import pool as pools
from forge_ray.cluster.crew import ClusterError, OwnCrew, PoolCrew
from forge_ray.cluster.jobs import job_of
from forge_ray.cluster.local import LocalExecutor
from forge_ray.cluster.pool import Pool, PoolError, find_pool, pool_folder, start_pool, stop_pool
from forge_ray.cluster.pool_server import remove_remains
from forge_ray.cluster.pool_status import reports
from forge_ray.cluster.ray_executor import RayExecutor, ray
from forge_ray.cluster.suspects import Cause
from forge_ray.cluster.token import is_loopback, require_guarded
from forge_ray.cluster.worker import BlockWorker
from forge_ray.data import MappedFields
from forge_ray.engine import Tally
from forge_ray.run import Prepared, Progress, Run, Session, choose_executor, execute, prepare
from forge_ray.store import LOCK, RunLock, is_held
from forge_ray.sweep import parse_job
from runs import CACHE, JOB, LONG, attempts, clean, committed, rows, wait_for

CLI = [sys.executable, "-m", "forge_ray.cli.main"]
PACKAGE = Path(forge_ray.__file__).parent
REFUSED = r"worker \d+ on node .* runs other versions of forge_ray than this process"


@pytest.fixture(scope="module", autouse=True)
def _apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORGE_RAY_POOL", str(tmp_path_factory.mktemp("pool")))
        patch.setenv("RAY_memory_monitor_refresh_ms", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        yield


@pytest.fixture(scope="module")
def pool(_apart: None) -> Iterator[Pool]:
    started = start_pool(2, CACHE)
    yield started
    if find_pool():
        stop_pool()


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(parse_job(JOB))


@pytest.fixture(scope="module")
def expected(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    return clean(prepared, tmp_path_factory.mktemp("clean"))


# ---------------------------------------------------------------- one process
# First, as long as there is no pool; Ray waits a minute to leave a process that has known a cluster that was killed.


def test_actors_stay_between_the_runs_of_a_session(prepared: Prepared, expected: pl.DataFrame, tmp_path: Path):
    session, pids = Session(), []
    try:
        for k in range(3):
            executor = session.executor(ray=True, workers=1)
            assert isinstance(executor, RayExecutor)
            result = execute(prepared, executor, tmp_path / str(k), block_size=4096)
            assert rows(Path(result.path)).equals(expected)
            pids += executor.pids
            if k == 1:
                ray.shutdown()  # by somebody else
        assert pids[0] == pids[1] != pids[2]
    finally:
        session.close()
    assert not ray.is_initialized()


def test_a_session_lets_its_actors_go_when_others_are_asked_for():
    session = Session()
    crews = []
    for workers in (1, 1, 2):
        executor = session.executor(ray=True, workers=workers)
        assert isinstance(executor, RayExecutor)
        crews.append(executor.crew)
    assert crews[0] is crews[1] is not crews[2]


def test_the_cache_of_threads_stays_between_the_runs_of_a_session(
    prepared: Prepared, expected: pl.DataFrame, tmp_path: Path
):
    session = Session()
    for workers in (1, 2):
        executor = session.executor(ray=False, workers=workers)
        assert isinstance(executor, LocalExecutor)
        result = execute(prepared, executor, tmp_path / str(workers))
        assert rows(Path(result.path)).equals(expected)
    assert session.executor(ray=False) is executor and executor.cache.contents()["series"][0] > 20


# ---------------------------------------------------------------- the pool


def tallies(pool: Pool) -> dict[str, Tally]:
    return {name: Tally.read(report.counts) for name, report in reports(pool).items() if report}


def test_a_second_job_from_a_new_process_starts_warm(
    pool: Pool, prepared: Prepared, expected: pl.DataFrame, tmp_path: Path
):
    job = tmp_path / "job.json"
    job.write_text(json.dumps(JOB))
    asked = [Tally(), Tally()]
    for k in range(2):
        command = [*CLI, "run", str(job), "--out", str(tmp_path / str(k)), "--workers", "1"]
        done = subprocess.run(command, capture_output=True, check=True, timeout=120, text=True)
        assert f"on the pool of process {pool.pid} (1 of 2 workers)" in done.stderr
        assert rows(tmp_path / str(k) / prepared.run_id).equals(expected)
        asked[k] = tallies(pool)["worker-0"]
    first, second = asked
    assert first.misses["series"] and first.misses["sleeves"]
    assert second.misses == first.misses, "the second job must have found everything"
    assert second.hits["series"] > first.hits["series"]
    pid = next(report.pid for name, report in reports(pool).items() if report and name == "worker-0")
    fields = prepared.bound.panel.fields
    assert isinstance(fields, MappedFields)
    mapped = Path(f"/proc/{pid}/maps").read_text()
    assert all(str(file.path) in mapped for file in fields.files.values()), "the panel outlives its driver"


def test_another_job_finds_the_series_of_the_first(pool: Pool, tmp_path: Path):
    execute(prepare(parse_job(JOB)), RayExecutor(1, CACHE, crew=PoolCrew(pool, 1)), tmp_path)
    before = tallies(pool)["worker-0"]
    other = prepare(parse_job(JOB | {"execution": {"cost_bps": 20}, "split": "none"}))
    execute(other, RayExecutor(1, CACHE, crew=PoolCrew(pool, 1)), tmp_path)
    after = tallies(pool)["worker-0"]
    assert after.misses["series"] == before.misses["series"] and after.hits["series"] > before.hits["series"]
    assert after.misses["sleeves"] > before.misses["sleeves"]


def test_a_driver_killed_in_the_middle_leaves_the_pool_to_the_next(pool: Pool, tmp_path: Path):
    long = prepare(parse_job(LONG))
    expected, job = clean(long, tmp_path / "clean"), tmp_path / "job.json"
    job.write_text(json.dumps(LONG))
    pids = {name: report.pid for name, report in reports(pool).items() if report}
    command, path = [*CLI, "run", str(job), "--out", str(tmp_path), "--json"], tmp_path / long.run_id
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: committed(path) > 0, "nothing is committed")
    first.kill()
    first.wait()
    done = committed(path)
    assert 0 < done < len(expected), "the kill must land inside the work"
    second = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=120).stdout)
    assert second["computed"] == len(expected) - done
    assert {name: report.pid for name, report in reports(pool).items() if report} == pids
    assert rows(path).equals(expected)


def test_a_worker_killed_in_the_middle_is_started_again(
    pool: Pool, prepared: Prepared, expected: pl.DataFrame, tmp_path: Path
):
    executor = RayExecutor(None, CACHE, crew=PoolCrew(pool, None))
    killed: list[int] = []

    def kill_once(progress: Progress) -> None:
        if not killed and progress.branches > len(expected) // 4:
            killed.append(executor.pids[0])
            os.kill(executor.pids[0], signal.SIGKILL)

    result = execute(prepared, executor, tmp_path, block_size=512, on_progress=kill_once)
    assert killed
    assert [attempt for attempt in attempts(Path(result.path)) if "." in attempt], "the kill hit no block in flight"
    assert rows(Path(result.path)).equals(expected)
    pids = {report.pid for report in reports(pool).values() if report}
    assert len(pids) == 2 and killed[0] not in pids


def scraped(url: str, run: str) -> Counter[str]:
    """Sums of what the agent of a node shows of a run, by metric and its own label."""
    found = Counter[str]()
    with urlopen(url, timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            name, _, rest = line.partition("{")
            if f'run="{run}"' in rest:
                label = re.search(r'(?:kind|stage)="(\w+)"', rest)
                short = name.removeprefix("ray_forge_").removesuffix("_total")
                found[f"{short} {label[1]}" if label else short] += float(rest.split()[-1])  # type: ignore[assignment]
    return found


def agent(pool: Pool) -> str:
    """Where the agent of the pool's node shows its metrics."""
    crew = PoolCrew(pool, 1)
    crew.join()
    (node,) = ray.nodes()
    crew.leave()
    return f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"


def test_what_a_run_counted_can_be_scraped_and_its_timeline_is_written(pool: Pool, tmp_path: Path):
    """With a worker killed in the middle. Prometheus, the catalogue and the log agree on what happened."""
    job = LONG | {"execution": {"cost_bps": 3}}  # what others counted of the same run would be counted here too
    (tmp_path / "job.json").write_text(json.dumps(job))
    run_id, url = prepare(parse_job(job)).run_id, agent(pool)
    path, pids = tmp_path / run_id, {report.pid for report in reports(pool).values() if report}
    command = [*CLI, "run", "job.json", "--out", ".", "--json", "--log-format", "json", "--timeline", "trace.json"]
    with subprocess.Popen(command, cwd=tmp_path, text=True, stdout=PIPE, stderr=PIPE) as driver:
        assert driver.stdout and driver.stderr
        records, killed = list[dict](), 0
        for line in driver.stderr:
            records.append(json.loads(line))
            if not killed and records[-1]["process"] in pids:
                os.kill(killed := records[-1]["process"], signal.SIGKILL)
        cost = json.load(driver.stdout)["cost"]
    with Run(path) as run:
        counts, n_blocks = run.store.counts(), run.store.n_blocks
    assert counts["workers_lost"] == 1 and 1 <= counts["blocks_retried"] <= 2, "the kill hit no block in flight"
    assert (cost["workers_lost"], cost["blocks_retried"]) == (1, counts["blocks_retried"])

    tally = Tally.read(counts)
    names = ("branches", "passed", "distinct_in_block", "blocks_retried", "workers_lost")
    counted = {name: counts[name] for name in names} | {"blocks": n_blocks}
    counted |= {f"cache_hits {kind}": n for kind, n in tally.hits.items()}
    counted |= {f"cache_misses {kind}": n for kind, n in tally.misses.items()}
    counted |= {f"stage_seconds {stage}": us / 1e6 for stage, us in tally.us.items()}
    assert scraped(url, run_id[:8]) == pytest.approx(counted, rel=1e-9)

    (death,) = (record for record in records if record["level"] == "warning")
    assert death["block"] and death["message"].startswith(f"worker {killed} died on block")
    done = [record for record in records if record["logger"] == "forge_ray.cluster.work"]
    assert len({tuple(record["block"]) for record in done}) == n_blocks
    assert {record["process"] for record in done} <= {report.pid for report in reports(pool).values() if report} | pids
    assert {record["run"] for record in records} == {run_id}
    events = json.loads((tmp_path / "trace.json").read_text())
    assert sum(event["name"] == "do" for event in events) > n_blocks // 2, "a dead worker may have told less"


def test_a_process_that_connects_again_counts_nothing(pool: Pool, prepared: Prepared, tmp_path: Path):
    """Ray would count what comes after several times."""
    for name in ("c0117ed0", "c0117ed1"):
        executor = RayExecutor(1, CACHE, crew=PoolCrew(pool, 1))
        assert execute(replace(prepared, run_id=name), executor, tmp_path, block_size=4096).computed
    assert not scraped(agent(pool), "c0117ed1")


def test_what_outlives_a_driver_holds_nothing_that_is_its(pool: Pool, prepared: Prepared):
    crew = PoolCrew(pool, 1)
    crew.join()
    try:
        for outlives, job in ((True, crew.job(prepared.bound)), (False, job_of(prepared.bound, outlives=False))):
            opened, of_driver = job.open(), ray.get(job.reference[0])
            assert isinstance(opened.panel.fields, MappedFields)
            for here, there in (
                (opened.benchmark, of_driver.benchmark),
                (opened.rebalance_of, of_driver.rebalance_of),
                (opened.panel.dates, of_driver.panel.dates),
            ):
                assert np.array_equal(here, there, equal_nan=True) and np.shares_memory(here, there) != outlives
    finally:
        crew.leave()


def test_what_the_command_line_says_of_the_pool(pool: Pool):
    found = json.loads(subprocess.run([*CLI, "pool", "status", "--json"], capture_output=True, check=True).stdout)
    assert found["running"] and found["pid"] == pool.pid and not found["other_code"]
    assert set(found["workers"]) == {"worker-0", "worker-1"}
    for report in found["workers"].values():
        assert report["bytes"] > 2**20 and report["cache_bytes"] == CACHE
    held = [sum(size for _, size in report["contents"].values()) for report in found["workers"].values()]
    assert 0 < max(held) <= CACHE, "one that was killed may have come back too late for a block"
    text = subprocess.run([*CLI, "pool", "status"], capture_output=True, check=True, text=True).stdout
    assert "worker-1: process" in text and "series" in text and "found" in text


def test_a_second_pool_is_refused(pool: Pool):
    with pytest.raises(PoolError, match=f"process {pool.pid} is a pool with 2 workers"):
        start_pool(1, CACHE)


def test_the_cluster_of_the_pool_wants_a_token(pool: Pool):
    assert not is_loopback(pool.address), "the question would not be asked"
    require_guarded(pool.address)


def as_told(pool: Pool, **changes: object) -> None:
    (pool_folder() / "pool.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(pool, **changes)))


@pytest.mark.parametrize(
    ("changes", "asked", "why"),
    [
        ({"code": {"forge_ray": "0" * 32}}, {}, "it runs other versions of forge_ray, llvmlite"),
        ({}, {"workers": 3}, "it has 2 workers, asked for are 3"),
        ({}, {"threads": 2}, "its workers have one thread each, asked for are 2"),
    ],
)
def test_a_pool_that_will_not_do_is_not_used_and_it_is_said(
    changes: dict, asked: dict, why: str, pool: Pool, caplog: pytest.LogCaptureFixture
):
    as_told(pool, **changes)
    try:
        executor = choose_executor(ray=True, **asked)
    finally:
        as_told(pool)
    assert isinstance(executor, RayExecutor) and isinstance(executor.crew, OwnCrew)
    assert why in caplog.text
    fits = choose_executor(ray=True)
    assert isinstance(fits, RayExecutor) and isinstance(fits.crew, PoolCrew)


def test_a_pool_works_for_one_process_at_a_time(pool: Pool, caplog: pytest.LogCaptureFixture):
    """Who waits cannot tell whose block a worker dies of, or hangs in."""
    first = PoolCrew(pool, 1)
    first.join()
    try:
        executor = choose_executor(ray=True)
        assert isinstance(executor, RayExecutor) and isinstance(executor.crew, OwnCrew)
        assert f"is not used: it works for process {os.getpid()}; an embedded cluster is started" in caplog.text
        with pytest.raises(ClusterError, match=rf"it works for process {os.getpid()}; wait, or --address local"):
            PoolCrew(pool, 1).join()
        told = subprocess.run([*CLI, "pool", "status"], capture_output=True, check=True, text=True).stdout
        assert told.splitlines()[0].endswith(f": 2 workers, at work for process {os.getpid()}")
    finally:
        first.leave()
    again = choose_executor(ray=True)
    assert isinstance(again, RayExecutor) and isinstance(again.crew, PoolCrew)


def test_a_worker_that_finds_no_room_to_start_again_is_not_waited_for(
    pool: Pool, prepared: Prepared, expected: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Somebody else's task has been waiting for a CPU, and gets the one of the dead."""
    monkeypatch.setattr(ray_executor, "SILENT_SECONDS", 2)
    executor, killed, others = RayExecutor(None, CACHE, crew=PoolCrew(pool, None)), list[int](), list[Any]()

    @ray.remote(num_cpus=1)
    def wait_long() -> None:
        time.sleep(600)

    def kill_once(progress: Progress) -> None:
        if not killed and len(executor.pids) == 2:
            others.append(wait_long.remote())
            killed.append(executor.pids[0])
            os.kill(killed[0], signal.SIGKILL)

    result = execute(prepared, executor, tmp_path, block_size=512, on_progress=kill_once)
    assert killed and executor.deaths == {Cause.CRASHED: 1}
    assert rows(Path(result.path)).equals(expected)
    wait_for(lambda: all(reports(pool).values()), "a worker does not come back")


def test_workers_that_are_busy_for_nobody_start_again(
    pool: Pool, prepared: Prepared, expected: pl.DataFrame, tmp_path: Path
):
    """After an interrupt. One in an endless branch would keep the next job waiting for ever."""
    before = {report.pid for report in reports(pool).values() if report}
    given = list[int]()

    def interrupt(progress: Progress) -> None:
        given.extend(executor.pids)
        raise KeyboardInterrupt

    executor = RayExecutor(None, CACHE, crew=PoolCrew(pool, None))
    with pytest.raises(KeyboardInterrupt):
        execute(prepared, executor, tmp_path, block_size=1024, on_progress=interrupt)
    path = tmp_path / prepared.run_id
    assert 0 < committed(path) < len(expected), "the interrupt must land inside the work"
    result = execute(prepared, RayExecutor(None, CACHE, crew=PoolCrew(pool, None)), tmp_path)
    assert result.computed and rows(path).equals(expected)
    wait_for(lambda: all(reports(pool).values()), "a worker does not come back")
    after = {report.pid for report in reports(pool).values() if report}
    assert set(given) & before and not set(given) & after


def test_who_names_a_cluster_gets_that_one(pool: Pool, monkeypatch: pytest.MonkeyPatch):
    named = choose_executor(ray=True, address="127.0.0.1:1")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    for executor in (named, choose_executor(ray=True)):
        assert isinstance(executor, RayExecutor) and isinstance(executor.crew, OwnCrew)


class Elsewhere(BlockWorker):
    """A worker on a node where the package lies in another folder."""

    def __init__(self, package: str):
        code.__file__ = f"{package}/cluster/code.py"
        code.running_code.cache_clear()
        super().__init__(CACHE)


class ElsewhereCrew(OwnCrew):
    package = ""

    def _hire(self) -> Any:
        remote: Any = ray.remote(num_cpus=0)(Elsewhere)
        self.actors.append(actor := remote.remote(self.package))
        return actor


@pytest.mark.parametrize("edited", [True, False])
def test_a_worker_with_other_code_is_refused(edited: bool, pool: Pool, prepared: Prepared, tmp_path: Path):
    """One line more in one module; a copy that is the same is accepted."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    copy = shutil.copytree(PACKAGE, tmp_path / "forge_ray", ignore=shutil.ignore_patterns("__pycache__"))
    if edited:
        with (copy / "kernels" / "elementary.py").open("a") as module:
            module.write("# one line more\n")
    joined, crew = PoolCrew(pool, 1), ElsewhereCrew(1, CACHE, None)
    crew.package = str(copy)
    joined.join()
    try:
        with pytest.raises(ClusterError, match=REFUSED) if edited else nullcontext():
            execute(prepared, RayExecutor(1, CACHE, crew=crew), tmp_path)
        assert committed(tmp_path / prepared.run_id) == (0 if edited else prepared.bound.plan.space.size)
    finally:
        crew.leave()
        joined.leave()


def test_a_job_whose_pool_is_stopped_says_so_and_can_go_on(prepared: Prepared, expected: pl.DataFrame, tmp_path: Path):
    """With a pool of its own."""
    (tmp_path / "job.json").write_text(json.dumps(JOB))
    command = [*CLI, "run", "job.json", "--out", "."]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORGE_RAY_POOL", str(tmp_path / "pool"))
        start_pool(1, CACHE)
        with subprocess.Popen(command, cwd=tmp_path, text=True, stdout=PIPE, stderr=PIPE) as driver:
            wait_for(lambda: committed(tmp_path / prepared.run_id) > 0, "nothing is committed", driver=driver)
            pool = stop_pool()
            out, err = driver.communicate(timeout=60)
    assert driver.returncode == 1 and not out
    assert err.splitlines()[-1] == (
        f"error: the pool of process {pool.pid} (1 of 1 workers) was stopped; run the same command again to go on"
    )
    done = committed(tmp_path / prepared.run_id)
    assert 0 < done < len(expected), "the stop must land inside the work"
    assert execute(prepared, LocalExecutor(1, CACHE), tmp_path).computed == len(expected) - done


def test_a_pool_that_was_killed_is_none(pool: Pool):
    """The last one: it takes the pool down."""
    os.kill(pool.pid, signal.SIGKILL)
    wait_for(lambda: not is_held(pool_folder() / "lock"), "the lock is held", seconds=20)
    assert (pool_folder() / "pool.json").exists() and find_pool() is None
    assert Path(pool.folder).exists()
    remove_remains(pool_folder())  # as the next pool does first
    assert not Path(pool.folder).exists() and not (pool_folder() / "pool.json").exists()
    told = subprocess.run([*CLI, "pool", "status"], capture_output=True, text=True)
    assert (told.returncode, told.stdout) == (4, "no pool is running\n")
    with pytest.raises(PoolError, match="no pool is running"):
        stop_pool()


def test_word_of_a_pool_that_was_killed_is_not_that_of_the_one_that_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("FORGE_RAY_POOL", str(tmp_path))
    for pid, is_there in ((1, False), (os.getpid(), True)):
        (tmp_path / "pool.json").write_bytes(msgspec.json.encode(Pool(pid, "", 1, CACHE, "", {}, 0.0)))
        assert find_pool() is None, "nobody holds the lock"
        with closing(RunLock(tmp_path / LOCK)):
            assert (find_pool() is not None) == is_there


def test_a_pool_that_is_being_started_is_not_started_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("FORGE_RAY_POOL", str(tmp_path))
    (tmp_path / "log").write_text("what the first one says")
    with (
        closing(RunLock(tmp_path / LOCK)),
        pytest.raises(PoolError, match="process starts a pool, or ends one"),
    ):
        start_pool(1, CACHE)
    assert (tmp_path / "log").read_text() == "what the first one says"


def test_a_pool_whose_start_is_interrupted_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("FORGE_RAY_POOL", str(tmp_path))
    started = list[int]()

    def interrupt(server: int) -> bool:
        started.append(server)
        raise KeyboardInterrupt

    monkeypatch.setattr(pools, "_has_ended", interrupt)
    with pytest.raises(KeyboardInterrupt):
        start_pool(1, CACHE)
    assert os.waitpid(started[0], 0)[0] == started[0] and not is_held(tmp_path / LOCK)


def test_a_pool_without_a_folder_is_not_started(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FORGE_RAY_POOL", "/proc/pool")
    with pytest.raises(PoolError, match=r"/proc/pool: .*; FORGE_RAY_POOL names another folder"):
        start_pool(1, CACHE)


def test_a_pool_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("FORGE_RAY_POOL", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path / ("x" * 100)))
    (tmp_path / ("x" * 100)).mkdir()
    with pytest.raises(PoolError, match=r"the pool did not start; the end of .*log") as error:
        start_pool(1, CACHE)
    assert "AF_UNIX" in str(error.value) or "too long" in str(error.value)
