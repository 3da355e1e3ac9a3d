"""A search for tests of executors, and what a run has committed, also while another process computes it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from subprocess import Popen
from typing import Any

import polars as pl

from forge_ray.cluster.local import LocalExecutor
from forge_ray.run import Prepared, Run, execute
from forge_ray.store import LocalStore, MissingRunError

CACHE = 64 * 2**20
JOB: dict[str, Any] = {
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
LONG = JOB | {"axes": {**JOB["axes"], "low": "20..60 by 0.2"}}
"""A dozen blocks, for a process that is killed after the first one."""


def rows(path: str | Path) -> pl.DataFrame:
    """All committed rows, every byte of them checked."""
    with Run(path) as run:
        assert run.store.verify() == []
        return run.frame()


def clean(prepared: Prepared, folder: Path) -> pl.DataFrame:
    """The rows of a run by one thread of this process."""
    return rows(execute(prepared, LocalExecutor(1, CACHE), folder).path)


def committed(path: Path) -> int:
    """Branches."""
    try:
        with closing(LocalStore.read(path)) as store:
            return store.counts()["branches"]
    except MissingRunError:
        return 0  # Not created, or not completely yet.


def attempts(path: Path) -> list[str]:
    """Attempt of every committed part, as its file name tells."""
    with closing(LocalStore.read(path)) as store:
        return [Path(part.path).stem.split("-")[2] for part in store.parts()]


def wait_for(
    condition: Callable[[], bool], otherwise: str, *, driver: Popen[str] | None = None, seconds: float = 120
) -> None:
    """driver : a process that must be there until then."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert driver is None or driver.poll() is None, driver.communicate()
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)
