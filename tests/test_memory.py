"""Memory: what a sweep takes at its peak is what the plan said, and does not grow with the number of branches."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from forge_ray.cluster.local import LocalExecutor
from forge_ray.errors import CapacityError
from forge_ray.run import Memory, Run, execute, explain, prepare
from forge_ray.store import LocalStore, Receipt, write_part
from forge_ray.sweep import parse_job

WORKERS, CACHE = 2, 256 * 2**20
MIB = 2**20


def job(n_windows: int) -> dict:
    """5,000 branches per window; cheap ones, all of them told apart by the thresholds."""
    return {
        "data": {"source": "sample:us20", "start": "2019-01-01"},
        "tree": {
            "id": "gate",
            "kind": "indicator",
            "conditions": [
                {"id": "dip", "metric": "RSI", "window": "$n", "ticker": "SPX", "comparator": "lt",
                 "threshold": "$low"},
                {"id": "up", "type": "and", "metric": "RSI", "window": 9, "ticker": "MSFT", "comparator": "gt",
                 "threshold": "$high"},
            ],
            "children": {"then": [{"id": "in", "kind": "position", "positions": ["AAPL"]}],
                         "else": [{"id": "out", "kind": "position", "positions": ["CASH"]}]},
        },
        "axes": {"n": f"2..{n_windows + 1}", "low": "1..100", "high": "1..50"},
    }  # fmt: skip


_RUN = f"""
import json, sys, threading
from forge_ray.cluster.local import LocalExecutor
from forge_ray.run import execute, prepare
from forge_ray.sweep import parse_job

def memory():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("RssAnon"))

def watch():
    while not over.wait(0.01):
        seen.append(memory())

prepared, seen, over = prepare(parse_job(json.loads(sys.argv[1]))), [], threading.Event()
watcher = threading.Thread(target=watch)
watcher.start()
try:
    result = execute(prepared, LocalExecutor({WORKERS}, {CACHE}), sys.argv[2], block_size=2048)
finally:
    over.set()
    watcher.join()
print(max(seen), result.branches)
"""


def peak(sweep: dict, out: Path) -> int:
    """Peak of the memory that belongs to the process alone and is no file, of a run with two threads."""
    command = [sys.executable, "-c", _RUN, json.dumps(sweep), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert int(done[1]) == prepare(parse_job(sweep)).bound.plan.space.size
    return int(done[0])


def test_memory_is_flat_in_the_number_of_branches_and_within_what_the_plan_says(tmp_path: Path):
    """140,000 branches more are 76 MB of rows; what their conditions take in the cache is 1 MiB. The fewer are
    enough for both threads to be at their peak at the same time."""
    few, many = job(12), job(40)
    peaks = [peak(few, tmp_path), peak(many, tmp_path)]
    assert peaks[1] - peaks[0] < 40 * MIB, peaks
    said = explain(prepare(parse_job(many)), WORKERS, CACHE)["bytes"]
    assert peaks[1] < said < 6 * peaks[1]


def test_what_no_memory_can_hold_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    prepared = prepare(parse_job(job(2)))
    monkeypatch.setattr("forge_ray.run.execution.memory", lambda: Memory(300 * MIB, 200 * MIB))
    with pytest.raises(CapacityError, match=r"data: \d+ MiB of memory are needed by one worker .* has 300 MiB; fewer"):
        execute(prepared, LocalExecutor(1, CACHE), tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("forge_ray.run.execution.memory", lambda: Memory(2000 * MIB, 1 * MIB))
    assert execute(prepared, LocalExecutor(1, CACHE), tmp_path).branches == 10_000, "what others hold stops nothing"


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (Memory(2**40, 2**39), ""),
        (
            Memory(2**40, 100 * MIB),
            r"MiB of memory are needed, 100 MiB are free of 1,048,576 MiB: others hold the rest",
        ),
        (
            Memory(200 * MIB, 150 * MIB),
            r"MiB of memory are needed, 150 MiB are free of 200 MiB; fewer workers need less",
        ),
    ],
)
def test_memory_that_others_hold_is_said_before_a_run(there: Memory, said: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("forge_ray.run.explanation.memory", lambda: there)
    warnings = explain(prepare(parse_job(job(2))), WORKERS, CACHE)["warnings"]
    of_memory = [text for text in warnings if text.startswith("up to ")]
    assert len(of_memory) == bool(said) and all(said in text for text in of_memory)


@pytest.mark.parametrize(("n_paths", "n_parts"), [(0, 1), (1, 1), (700, 5), (3_000, 2)])
def test_distinct_paths_are_counted_over_all_parts(n_paths: int, n_parts: int, tmp_path: Path):
    rng = np.random.default_rng(n_paths)
    paths = [rng.bytes(16) for _ in range(n_paths)]
    size = 1_000
    spec = b'{"axes": {}, "keep": "all", "split": "none", "tree_names": []}'
    store = LocalStore.create_or_open(tmp_path, "run", spec, size, size * n_parts)
    for k in range(n_parts):
        rows = [paths[i] for i in rng.integers(n_paths, size=size)] if n_paths else []
        table = pa.table({"branch": np.arange(k * size, k * size + len(rows)), "path": pa.array(rows, pa.binary(16))})
        part = write_part(store.path, "rows", k * size, (k + 1) * size, "a", table)
        store.commit([Receipt(k * size, (k + 1) * size, (part,), {"branches": size, "passed": 0}, 0.1)])
    with Run(store.path) as run:
        frame = run.frame()
    expected = frame["path"].n_unique() if isinstance(frame, pl.DataFrame) and len(frame) else 0
    assert store.distinct_paths() == expected
    assert {path.name for path in store.path.iterdir()} >= {"rows", "catalog.sqlite"}
    store.close()
