"""How a run stands, asked from outside: what is told is what is committed, and asking disturbs nobody."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from fcntl import LOCK_SH, flock
from pathlib import Path

import msgspec
import pytest

from forge_ray.cli.status import status_lines
from forge_ray.cluster.local import LocalExecutor
from forge_ray.cluster.timeline import write_timeline
from forge_ray.cluster.work import Done
from forge_ray.errors import InputError, StoreLockedError
from forge_ray.run import Prepared, Progress, Run, Status, Watch, check_timeline, execute, prepare
from forge_ray.run.cost import ELAPSED, timed
from forge_ray.store import MissingRunError, Receipt
from forge_ray.store.lock import RunLock
from forge_ray.sweep import parse_job
from test_cli import BRANCHES, JOB

CACHE = 2**26
BLOCK = 100
CLI = [sys.executable, "-m", "forge_ray.cli.main"]


Stopped = tuple[Path, list[tuple[Progress, Status]]]


class Stop(Exception):  # noqa: N818
    pass


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(parse_job(JOB))


@pytest.fixture(scope="module")
def interrupted(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    """A run that was stopped after its third block, and what a watch told after each."""
    out, told = tmp_path_factory.mktemp("runs"), list[tuple[Progress, Status]]()
    watch = Watch(out / prepared.run_id)

    def look(progress: Progress) -> None:
        told.append((progress, watch.look()))
        if len(told) == 3:
            raise Stop

    with pytest.raises(Stop):
        execute(prepared, LocalExecutor(1, CACHE), out, block_size=BLOCK, on_progress=look)
    return watch.path, told


def test_a_running_run_tells_what_is_committed(interrupted: Stopped):
    for k, (progress, status) in enumerate(interrupted[1], 1):
        assert (status.state, status.blocks, status.n_blocks) == ("running", k, 7)
        assert (status.branches, status.passed) == (progress.branches, progress.passed)
        assert status.total == progress.total == BRANCHES
        assert status.driver and (status.driver.pid, status.driver.alive) == (os.getpid(), True)
        assert status.driver.host == socket.gethostname() and not status.driver.suspended
        assert status.branches_per_second and status.eta_seconds and status.idle_seconds is not None
        left = (status.total - status.branches) / status.branches_per_second
        assert status.eta_seconds == pytest.approx(left)


def test_a_run_without_its_driver_is_interrupted(interrupted: Stopped):
    path, told = interrupted
    status = Watch(path).look()
    assert status.state == "interrupted" and status.blocks == 3 and status.eta_seconds is None
    assert status.driver and (status.driver.pid, status.driver.alive) == (os.getpid(), False)
    assert status.best == told[-1][1].best, "a first look finds what a watch has gathered"


def test_the_best_so_far_is_that_of_the_leaderboard(interrupted: Stopped):
    path, _ = interrupted
    best = Watch(path).look().best
    assert best and best.metric == "is_sharpe"
    with Run(path) as run:
        row = run.top(n=1, passing=best.passed).row(0, named=True)
    assert (best.branch, best.value) == (row["branch"], row["is_sharpe"])


def test_a_finished_run_tells_its_cost(prepared: Prepared, tmp_path: Path):
    result = execute(prepared, LocalExecutor(1, CACHE), tmp_path, block_size=BLOCK)
    status = Watch(result.path).look()
    assert (status.state, status.branches, status.blocks) == ("done", BRANCHES, 7)
    assert status.cost == result.cost and status.eta_seconds is None and status.branches_per_second
    lines = list(status_lines(status))
    assert lines[0] == f"dip buyer, run {prepared.run_id}: done"
    assert lines[-len(result.cost.lines()) :] == result.cost.lines()
    failed = msgspec.structs.replace(status, early={"pruned": 5, "crashed": 2, "timeout": 1})
    assert next(status_lines(failed)).endswith(": done, but for 2 crashed and 1 timeout")
    assert f"{status.passed:,} passed, 5 pruned, 2 crashed, 1 timeout" in list(status_lines(failed))


def test_names_from_outside_cannot_steer_a_terminal(interrupted: Stopped):
    bad = msgspec.structs.replace(interrupted[1][0][1], name="red\x1b[31m\nforged line")
    assert all(line.isprintable() for line in status_lines(bad))


def test_where_no_run_is_there_is_no_status(tmp_path: Path):
    with pytest.raises(MissingRunError, match="no run here"):
        Watch(tmp_path).look()


# ---------------------------------------------------------------- the lock


def test_who_looks_does_not_lock_a_driver_out(tmp_path: Path):
    RunLock(tmp_path / "lock").close()
    with (tmp_path / "lock").open() as looked:
        flock(looked, LOCK_SH)
        timer = threading.Timer(0.02, looked.close)
        timer.start()
        RunLock(tmp_path / "lock").close()
        timer.join()
    with (tmp_path / "lock").open() as held:
        flock(held, LOCK_SH)
        with pytest.raises(StoreLockedError):
            RunLock(tmp_path / "lock")


def test_a_driver_that_is_suspended_is_told(interrupted: Stopped):
    path, _ = interrupted
    hold = "import sys, pathlib; from forge_ray.store.lock import RunLock; lock = RunLock(pathlib.Path(sys.argv[1]));"
    command = [sys.executable, "-c", f"{hold} print('held', flush=True); sys.stdin.read()", str(path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"held\n"
        driver = Watch(path).look().driver
        assert driver and (driver.pid, driver.alive, driver.suspended) == (process.pid, True, False)
        os.kill(process.pid, signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        suspended = Watch(path).look()
        os.kill(process.pid, signal.SIGKILL)
    assert suspended.state == "running" and suspended.driver and suspended.driver.suspended
    assert Watch(path).look().state == "interrupted"


# ---------------------------------------------------------------- the pace


def _done(seconds: float) -> Done:
    return Done(Receipt(0, 1, (), {"branches": 1}, seconds))


def test_the_time_of_drivers_adds_up_without_the_start_of_their_workers():
    def slow() -> Iterator[Done]:
        time.sleep(0.3)
        yield _done(0.01)
        time.sleep(0.02)
        yield _done(0.01)

    began, told = time.monotonic(), []
    for done in timed(slow()):
        told.append(done.receipt.counts[ELAPSED])
        time.sleep(0.05)  # a commit
    assert told[0] == 10_000
    assert 70_000 <= told[1] < 1e6 * (time.monotonic() - began - 0.3)
    assert done.receipt.counts["branches"] == 1


def test_a_clock_that_is_set_changes_no_pace(interrupted: Stopped, monkeypatch: pytest.MonkeyPatch):
    path, told = interrupted
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert Watch(path).look().branches_per_second == told[-1][1].branches_per_second
    assert list(timed([_done(0.5)])) == list(timed([_done(0.5)]))


def test_a_watch_tells_the_pace_of_its_last_looks(interrupted: Stopped, monkeypatch: pytest.MonkeyPatch):
    watch, now = Watch(interrupted[0]), [1000.0]
    overall = watch.look().branches_per_second
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    watch._seen.clear()
    for after, branches, pace in [
        (0, 100, None),
        (5, 200, None),
        (15, 400, 20.0),
        (70, 500, 100 / 55),
        (140, 500, None),
    ]:
        now[0] = 1000.0 + after
        counts = {"branches": branches, ELAPSED: 10**6 * branches // 7}
        assert watch._pace(counts) == pytest.approx(7.0 if pace is None else pace, rel=1e-3)
    assert overall


# ---------------------------------------------------------------- from another shell


def test_a_watch_from_another_shell_follows_a_run_to_its_end(prepared: Prepared, tmp_path: Path):
    path, watching, first = tmp_path / prepared.run_id, list[subprocess.Popen[str]](), list[dict]()

    def begin(progress: Progress) -> None:
        if not watching:
            for options in (["--json"], []):
                command = [*CLI, "status", str(path), "--watch", *options]
                watching.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
            told = [process.stdout.readline() for process in watching if process.stdout]
            first.append(json.loads(told[0]))
            assert told[1].startswith(
                f"{progress.branches / BRANCHES:.0%} of {BRANCHES} branches ({progress.branches})"
            )
            watching[1].send_signal(signal.SIGINT)
            assert (watching[1].communicate(timeout=60), watching[1].returncode) == (
                ("", "interrupted; nothing is left half-done\n"),
                130,
            )

    execute(prepared, LocalExecutor(1, CACHE), tmp_path, block_size=BLOCK, on_progress=begin)
    out, err = watching[0].communicate(timeout=60)
    assert (watching[0].returncode, err) == (0, "")
    last = json.loads(out.splitlines()[-1])
    assert (first[0]["state"], first[0]["branches"], first[0]["driver"]["pid"]) == ("running", BLOCK, os.getpid())
    assert (last["state"], last["branches"]) == ("done", BRANCHES)


def test_an_interrupted_run_ends_the_command_with_4(interrupted: Stopped):
    path, _ = interrupted
    done = subprocess.run([*CLI, "status", str(path), "--watch"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (4, "")
    assert re.search(rf"interrupted \(process \d+ on {socket.gethostname()} is gone; the same command", done.stdout)
    assert "3 of 7 blocks" in done.stdout


# ---------------------------------------------------------------- the timeline


def test_where_no_timeline_can_be_written_is_known_before_any_work(tmp_path: Path):
    for bad in (tmp_path / "nowhere" / "t.json", tmp_path, tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match=r"timeline: .*(No such file|Is a directory|File name too long)"):
            check_timeline(bad, ray=True)
    with pytest.raises(InputError, match="timeline: is written by Ray, and threads do without it"):
        check_timeline(tmp_path / "t.json", ray=False)
    (tmp_path / "old.json").write_text("old")
    for good in ("new.json", "old.json"):
        check_timeline(tmp_path / good, ray=True)
    assert [file.name for file in tmp_path.iterdir()] == ["old.json"] and (tmp_path / "old.json").read_text() == "old"


def test_a_timeline_that_cannot_be_written_after_all_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("ray.timeline", lambda: [{"name": "do"}])
    write_timeline(tmp_path / "gone" / "t.json")
    assert "the timeline is not written" in caplog.text and "No such file" in caplog.text
    write_timeline(tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text()) == [{"name": "do"}]
