"""Soak: a million branches again and again while a worker is killed every minute, and nothing grows.

``python -m pytest --campaign tests/test_soak.py`` takes an hour, or as many minutes as FORGE_RAY_SOAK says.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from forge_ray.cluster.ray_executor import RayExecutor
from forge_ray.run import Session, execute, prepare
from forge_ray.store import LocalStore
from forge_ray.sweep import parse_job
from runs import JOB

AXES = {"n": "2..21", "low": "20..69.9 by 0.1", "stock": ["AAPL", "MSFT", "XOM", "KO", "GE"],
        "calm": "0.6..2.5 by 0.1"}  # fmt: skip
KILL_SECONDS = 60
GROWTH = 1.1
"""Of the most in the second half, over the most in the first."""


class Held(NamedTuple):
    """By a process: bytes that are its alone, open files, threads."""

    bytes: int
    files: int
    threads: int


def most_held(pids: Iterable[int]) -> Held:
    """By any of them; some may have been killed just now."""
    found = []
    for process in map(psutil.Process, filter(psutil.pid_exists, pids)):
        with suppress(psutil.NoSuchProcess):
            found.append((process.memory_full_info().uss, process.num_fds(), process.num_threads()))
    return Held(*map(max, zip(*found, strict=True)))


@contextmanager
def killing(executor: RayExecutor, landed: Counter[str]) -> Iterator[None]:
    """Kill one of the workers that are there every minute."""
    over = threading.Event()

    def kill() -> None:
        while not over.wait(KILL_SECONDS):
            if pids := executor.pids:
                os.kill(pids[landed["kills"] % len(pids)], signal.SIGKILL)
                landed["kills"] += 1

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        over.set()
        killer.join()


def test_nothing_grows_and_every_run_is_the_same(
    pytestconfig: pytest.Config, landed: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if not pytestconfig.getoption("--campaign"):
        landed["not run"] += 1
        pytest.skip("an hour; run with --campaign")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    prepared, contents = prepare(parse_job(JOB | {"axes": AXES})), set[tuple[str, ...]]()
    assert prepared.bound.plan.space.size == 1_000_000
    drivers, workers = list[Held](), list[Held]()
    end = time.monotonic() + 60 * float(os.environ.get("FORGE_RAY_SOAK", "60"))
    with closing(Session()) as session:
        executor = session.executor(ray=True, workers=2)
        assert isinstance(executor, RayExecutor)
        with killing(executor, landed):
            while time.monotonic() < end:
                result = execute(prepared, executor, tmp_path, fresh=True)
                landed["runs"] += 1
                landed["workers lost"] += result.cost.workers_lost
                with closing(LocalStore.read(Path(result.path))) as store:
                    contents.add(tuple(part.content for part in store.parts()))
                gc.collect()
                drivers.append(most_held([os.getpid()]))
                workers.append(most_held(executor.pids))
    print(f"driver {drivers}\nworkers {workers}")
    assert len(contents) == 1
    assert landed["workers lost"] > 0 and landed["runs"] > 3
    for name, held in {"driver": drivers, "workers": workers}.items():
        halves = (zip(*half, strict=True) for half in (held[: len(held) // 2], held[len(held) // 2 :]))
        for first, second in zip(*halves, strict=True):
            assert max(second) <= GROWTH * max(first), (name, held)
