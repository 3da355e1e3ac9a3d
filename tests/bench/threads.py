"""One worker of two threads against two workers of one, on Ray, on a sweep whose branches share indicators.

Ten stocks, 100 windows and 40 thresholds, the thresholds outermost: every two blocks need all 1,000 series. Each run
has new actors, so both begin with an empty cache. CPU seconds are those of the actors from the first finished block on.
Threads share one Python: where others use the machine, wall seconds tell less of them than of processes.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import psutil

from forge_ray.cluster.crew import OwnCrew
from forge_ray.cluster.ray_executor import RayExecutor, ray
from forge_ray.cluster.worker import Report
from forge_ray.run import CACHE_BYTES, Prepared, Progress, execute, prepare
from forge_ray.sweep import parse_job

STOCKS = ["AAPL", "MSFT", "XOM", "KO", "JNJ", "PG", "WMT", "JPM", "GE", "MRK"]
JOB: dict[str, Any] = {
    "data": "sample:us20",
    "tree": {
        "id": "gate",
        "kind": "indicator",
        "conditions": [
            {"id": "dip", "metric": "RSI", "window": "$n", "ticker": "$stock", "comparator": "lt", "threshold": "$low"}
        ],
        "children": {"then": [{"id": "in", "kind": "position", "positions": ["$stock"]}],
                     "else": [{"id": "out", "kind": "position", "positions": ["CASH"]}]},
    },
    "axes": {"low": "21..60", "n": "2..101", "stock": STOCKS},
}  # fmt: skip


@dataclass
class Watch:
    """From the first finished block to the last: wall seconds, CPU seconds of the actors, branches."""

    executor: RayExecutor
    began: tuple[float, float, int] = (0.0, 0.0, 0)
    ended: tuple[float, float, int] = (0.0, 0.0, 0)

    def look(self, progress: Progress) -> None:
        times = [psutil.Process(pid).cpu_times() for pid in self.executor.pids]
        self.ended = (perf_counter(), sum(t.user + t.system for t in times), progress.branches)
        self.began = self.began if self.began[0] else self.ended

    def took(self) -> tuple[float, float, int]:
        (t0, cpu0, n0), (t1, cpu1, n1) = self.began, self.ended
        return t1 - t0, cpu1 - cpu0, n1 - n0


def measure(prepared: Prepared, workers: int, threads: int) -> str:
    crew = OwnCrew(workers, CACHE_BYTES, None, threads=threads, object_store_memory=200 * 2**20)
    executor = RayExecutor(workers, CACHE_BYTES, crew=crew, stays=True)
    watch = Watch(executor)
    try:
        with tempfile.TemporaryDirectory() as folder:
            execute(prepared, executor, folder, on_progress=watch.look)
        reports: list[Report] = ray.get([actor.report.remote() for actor in crew.actors], timeout=60)
    finally:
        crew.leave()
    wall, cpu, branches = watch.took()
    kept = sum(n_bytes for report in reports for _, n_bytes in report.contents.values())
    made = sum(n for report in reports for name, n in report.counts.items() if name.startswith("misses_"))
    own = sum(report.bytes for report in reports)
    return (
        f"| {workers} × {threads} | {kept / 2**20:,.0f} | {made:,} | {own / 2**20:,.0f} | {1e6 * cpu / branches:,.0f} "
        f"| {branches / wall:,.0f} |"
    )


def main(rounds: int) -> None:
    prepared = prepare(parse_job(JOB))
    print("| workers × threads | in caches, MiB | values made | own memory, MiB | CPU, us per branch | branches/s |")
    print("|---|---:|---:|---:|---:|---:|")
    for _ in range(rounds):
        for shape in ((2, 1), (1, 2)):
            print(measure(prepared, *shape), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
