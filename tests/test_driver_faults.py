"""A driver that is interrupted, killed, asleep or doubled loses nothing, doubles nothing and says how to go on."""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

from forge_ray.cli import resume
from forge_ray.cli.resume import how_to_go_on, note_commit
from forge_ray.cluster.local import LocalExecutor
from forge_ray.cluster.work import Done, Work
from forge_ray.engine import BoundPlan
from forge_ray.errors import StoreLockedError
from forge_ray.run import Prepared, Progress, execute, prepare
from forge_ray.run.interrupts import Interrupts
from forge_ray.store import LocalStore
from forge_ray.sweep import parse_job
from runs import CACHE, committed, rows, wait_for

CLI = [sys.executable, "-m", "forge_ray.cli.main"]
SLOW = [sys.executable, str(Path(__file__).with_name("slow_driver.py"))]
EXIT_SECONDS = 2.5
BLOCK = 26
JOB = {
    "data": {"source": "sample:us20", "start": "2014-01-01"},
    "execution": {"rebalance": "on_change"},
    "tree": {
        "id": "gate",
        "kind": "indicator",
        "conditions": [
            {"id": "dip", "metric": "RSI", "window": "$n", "ticker": "$stock", "comparator": "lt", "threshold": "$low"}
        ],
        "children": {"then": [{"id": "in", "kind": "position", "positions": ["$stock", "KO"]}],
                     "else": [{"id": "out", "kind": "position", "positions": ["JNJ", "XOM"]}]},
    },
    "axes": {"n": "2..41", "low": "20..60 by 2", "stock": ["AAPL", "MSFT"]},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _ray_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "0")
    monkeypatch.setenv("FORGE_RAY_POOL", "/nowhere")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(parse_job(JOB))


@pytest.fixture(scope="module")
def expected(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    return rows(execute(prepared, LocalExecutor(2, CACHE), tmp_path_factory.mktemp("whole")).path)


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """Arguments of `forge-ray` for a run of the job below `tmp_path` in two threads."""
    job = tmp_path / "job.json"
    job.write_text(json.dumps(JOB))
    return ["run", str(job), "--out", str(tmp_path), "--workers", "2", "--json", "--local"]


def start(command: list[str]) -> subprocess.Popen[str]:
    """A driver in a session of its own, as a shell would start it."""
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def interrupted(driver: subprocess.Popen[str], *signals: signal.Signals) -> tuple[float, str]:
    """Seconds until the end, and the last line of what was said. Ctrl-C reaches every process of the terminal."""
    began = time.monotonic()
    for number in signals:
        (os.killpg if number == signal.SIGINT else os.kill)(driver.pid, number)
        time.sleep(0.1)
    out, err = driver.communicate(timeout=60)
    seconds = time.monotonic() - began
    assert out == ""
    assert "Traceback" not in err
    return seconds, err.splitlines()[-1]


def finished(*command: str) -> dict:
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# ---------------------------------------------------------------- signals


@pytest.mark.parametrize(
    ("signals", "code"),
    [((signal.SIGTERM,), 143), ((signal.SIGINT,) * 3, 130)],
    ids=["SIGTERM", "Ctrl-C three times"],
)
def test_a_signal_does_not_wait_for_a_block_of_a_minute(
    signals: tuple, code: int, prepared: Prepared, expected: pl.DataFrame, command: list[str], tmp_path: Path
):
    """Threads are inside such blocks; what is finished is committed, and the command that is named goes on."""
    path = tmp_path / prepared.run_id
    driver = start([*SLOW, "3", "60", *command, "--fresh"])
    wait_for(lambda: committed(path) > 0, "nothing is committed", driver=driver)
    seconds, said = interrupted(driver, *signals)
    assert seconds < EXIT_SECONDS
    assert driver.returncode == code
    done = committed(path)
    assert 0 < done < len(expected)
    assert said == f"interrupted; finished blocks are committed, go on with: {shlex.join(['forge-ray', *command])}"
    named = shlex.split(said.partition("go on with: ")[2])
    assert finished(*CLI, *named[1:])["computed"] == len(expected) - done
    assert rows(path).equals(expected)


def test_what_is_for_once_is_named_until_it_is_done(monkeypatch: pytest.MonkeyPatch):
    """Before the first commit the run that is there may still be the old one."""
    monkeypatch.setattr(resume, "_COMMITTED", threading.Event())
    once, plain = ["run", "job.json", "--fresh", "--take-over"], ["needle", "a tree.json"]
    told = "no block is committed yet, begin again with: forge-ray run job.json --fresh --take-over"
    assert how_to_go_on(once) == told
    for is_committed in (False, True):
        if is_committed:
            note_commit()
        assert how_to_go_on(plain) == "finished blocks are committed, go on with: forge-ray needle 'a tree.json'"
        assert how_to_go_on(["plan", "job.json"]) == how_to_go_on([]) == "nothing is left half-done"
    assert how_to_go_on(once) == "finished blocks are committed, go on with: forge-ray run job.json"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "Ctrl-C"])
def test_a_signal_ends_a_run_on_ray_in_time(
    number: signal.Signals, code: int, prepared: Prepared, expected: pl.DataFrame, command: list[str], tmp_path: Path,
    rounds: Callable[[int, int], int], landed: Counter[str],
):  # fmt: skip
    """At once in a campaign, and after the first commit."""
    chance = random.Random(number)
    for k in range(rounds(1, 100)):
        out = tmp_path / str(k)
        driver = start([*CLI, *command[:-1], "--out", str(out)])
        if k % 4 == 3:
            assert driver.stderr is not None
            while "on an embedded" not in driver.stderr.readline():
                pass
            time.sleep(chance.uniform(0, 8))
        else:
            wait_for(lambda out=out: committed(out / prepared.run_id) > 0, "nothing is committed", driver=driver)
        seconds, said = interrupted(driver, number)
        done = committed(out / prepared.run_id)
        landed["before the first commit" if not done else "inside" if done < len(expected) else "after the last"] += 1
        landed[f"under {0.5 * (1 + seconds // 0.5):.1f} s"] += 1
        assert seconds < EXIT_SECONDS
        assert driver.returncode == code
        assert " go on with: forge-ray run " in said
    assert landed["inside"]


class Waiting:
    """An executor that sends this process a signal while nothing is finished, then has `n` blocks finished."""

    def __init__(self, n: int, before: int, between: int):
        self.n, self.before, self.between, self.ended = n, before, between, False

    def run(self, bound: BoundPlan, blocks: Iterable[Work]) -> Generator[Done | None]:
        inner = LocalExecutor(1, CACHE)
        try:
            signals(self.before)
            for k, done in enumerate(done for done in inner.run(bound, blocks) if done):
                if k == 1:
                    signals(self.between)
                yield done if k <= self.n else None
        finally:
            self.ended = True


def signals(n: int) -> None:
    for _ in range(n):
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_while_workers_start_is_raised_at_once(prepared: Prepared, tmp_path: Path):
    executor = Waiting(n=1, before=1, between=0)
    with pytest.raises(KeyboardInterrupt):
        execute(prepared, executor, tmp_path)
    assert executor.ended and committed(tmp_path / prepared.run_id) == 0


def test_what_is_finished_when_an_interrupt_comes_is_committed(
    prepared: Prepared, expected: pl.DataFrame, tmp_path: Path
):
    """As in a notebook: the call ends with a KeyboardInterrupt, the run is let go, and the next call goes on."""
    executor, path = Waiting(n=2, before=0, between=1), tmp_path / prepared.run_id
    with pytest.raises(KeyboardInterrupt):
        execute(prepared, executor, tmp_path)
    assert executor.ended
    assert committed(path) == 3 * BLOCK
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    result = execute(prepared, LocalExecutor(2, CACHE), tmp_path)
    assert result.computed == len(expected) - 3 * BLOCK
    assert rows(path).equals(expected)


def test_a_second_interrupt_is_raised_at_once(prepared: Prepared, tmp_path: Path):
    executor = Waiting(n=9, before=0, between=2)
    with pytest.raises(KeyboardInterrupt):
        execute(prepared, executor, tmp_path)
    assert executor.ended and committed(tmp_path / prepared.run_id) == BLOCK


def test_a_cell_that_is_interrupted_lets_its_run_go(prepared: Prepared, expected: pl.DataFrame, tmp_path: Path):
    """In the middle of the work of two threads, whose cache the next call finds warm."""
    executor = LocalExecutor(2, CACHE)
    told: list[int] = []

    def interrupt(progress: Progress) -> None:
        told.append(progress.branches)
        if len(told) == 5:
            signals(1)

    with pytest.raises(KeyboardInterrupt):
        execute(prepared, executor, tmp_path, on_progress=interrupt)
    done = committed(tmp_path / prepared.run_id)
    assert told[4] <= done <= told[4] + 4 * BLOCK
    assert execute(prepared, executor, tmp_path).computed == len(expected) - done
    assert rows(tmp_path / prepared.run_id).equals(expected)


def test_signals_that_nobody_handles_are_left_alone():
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            interrupts.note()
            signal.raise_signal(signal.SIGTERM)
            assert interrupts.arrived is None
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_error_after_a_signal_is_told_and_handlers_come_back():
    def fail_after_a_signal() -> None:
        with Interrupts() as interrupts:
            interrupts.note()
            signals(1)
            assert interrupts.arrived == signal.SIGINT
            raise StoreLockedError("somebody")

    with pytest.raises(StoreLockedError):
        fail_after_a_signal()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# ---------------------------------------------------------------- kill -9


def test_a_driver_killed_again_and_again_loses_and_doubles_nothing(
    prepared: Prepared, expected: pl.DataFrame, tmp_path: Path, command: list[str], rounds: Callable[[int, int], int],
    landed: Counter[str],
):  # fmt: skip
    """Three kills for each run, at random moments; in a campaign every other run is on Ray."""
    chance = random.Random(6)
    for k in range(rounds(1, 34)):
        out, on_ray = tmp_path / str(k), k % 2 == 1
        arguments = [*command[: -1 if on_ray else None], "--out", str(out)]
        path, before = out / prepared.run_id, 0
        for _ in range(3):
            driver = start([*CLI, *arguments])
            wait_for(lambda path=path, before=before: committed(path) > before, "nothing is committed", driver=driver)
            time.sleep(chance.uniform(0, 0.15))
            driver.kill()
            driver.communicate()
            done = committed(path)
            there = rows(path)
            assert len(there) == done > before, "what was committed stays"
            assert there.equals(expected.filter(pl.col("branch").is_in(there["branch"].implode())))
            landed["inside" if done < len(expected) else "after the last commit"] += 1
            before = done
            if done == len(expected):
                break
        assert finished(*CLI, *arguments)["computed"] == len(expected) - before
        assert rows(path).equals(expected)
        if k % 10 == 9:
            assert finished(*CLI, *arguments)["computed"] == 0
    assert landed["inside"] > landed["after the last commit"]


# ---------------------------------------------------------------- two drivers


def test_a_driver_that_slept_through_a_take_over_commits_nothing(
    prepared: Prepared, expected: pl.DataFrame, tmp_path: Path, command: list[str]
):
    """Asleep it holds the run; a second driver is refused, and with --take-over is not."""
    path = tmp_path / prepared.run_id
    sleeper = start([*SLOW, "5", "0.5", *command])
    wait_for(lambda: committed(path) >= 5 * BLOCK, "nothing is committed", driver=sleeper)
    sleeper.send_signal(signal.SIGSTOP)  # between two commits: inside one, nobody could take over before it is ended
    done = committed(path)
    assert done < len(expected)
    refused = subprocess.run([*CLI, *command], capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1] == (
        f"error: {path}: held by process {sleeper.pid} on {socket.gethostname()}; wait for it, end it, or take over "
        "(--take-over)"
    )
    assert finished(*CLI, *command, "--take-over")["computed"] == len(expected) - done
    sleeper.send_signal(signal.SIGCONT)
    _, said = sleeper.communicate(timeout=60)
    assert sleeper.returncode == 1
    assert re.fullmatch(r"error: .*: epoch 1 was taken over by epoch 2", said.splitlines()[-1])
    assert rows(path).equals(expected)
    with closing(LocalStore.read(path)) as store:
        epochs = Counter(Path(part.path).stem.split("-")[2] for part in store.parts())
    assert epochs == {"1": done // BLOCK, "2": -(-(len(expected) - done) // BLOCK)}
