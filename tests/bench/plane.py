"""An exact plane of two thresholds against every branch of it by itself, in one run.

python tests/bench/plane.py                  a line per measure
python tests/bench/plane.py --json           the same as JSON, in nanoseconds per branch
python tests/bench/plane.py --quick          fewer rows

1. The job is `jobs/plane.json`: three states, two RSI thresholds, about 66 million branches of 8,292 returns.
2. Rows spread over the plane are evaluated whole by `engine/plane.py`; branches spread over these rows by the scalar
   kernel `simulate` (S), which is given the packed sleeve numbers of each branch, the sleeves and the vectors of
   every bar for free. No time counts before all metrics of all segments are equal, bit for bit.
3. They take turns; seconds are CPU seconds, the median over the turns. What the rows of a plane share is timed apart.

The machine may be busy with other things: only ratios within a run mean something.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from forge_ray.catalog import SEGMENTS
from forge_ray.engine import METRIC_COLUMNS, BoundPlan, Cache, Evaluator, PlaneRows, plane_rows
from forge_ray.engine.outcomes import finalized
from forge_ray.engine.planes import planes_of
from forge_ray.engine.sleeves import build_sleeves
from forge_ray.kernels import simulate
from forge_ray.kernels.accounting import N_LANES
from forge_ray.kernels.finalize import COLUMNS
from forge_ray.kernels.transitions import Table
from forge_ray.run import prepare
from forge_ray.sweep import read_job
from jobs import machine

JOB = Path(__file__).parent.parent.parent / "jobs" / "plane.json"
CACHE_BYTES = 2**29
N_TURNS = 5
N_SCALAR = 800


class Scalar:
    """Branches of some rows, each simulated by itself."""

    def __init__(self, bound: BoundPlan, rows: PlaneRows, cells: list[tuple[int, int]]):
        evaluator, self.bound, residual = Evaluator(bound.plan, bound.panel, Cache(CACHE_BYTES)), bound, rows.residual
        self.sleeves = build_sleeves(bound, [evaluator.allocation(cofactor, {}) for cofactor in residual.cofactors])
        digits = np.array(cells, np.int64)
        planes = planes_of(bound, evaluator, bound.plan.space.terms[0], residual, {}, digits, residual.inner)
        self.planes, n_pairs = planes.within(0, bound.n), 4**self.sleeves.n_planes
        self.table = Table(
            slot_of=np.zeros((bound.n, n_pairs), np.int32),
            logs=np.empty((bound.n, n_pairs), np.int64),
            vectors=np.empty(((n_pairs + 1) * bound.n + 1, N_LANES), np.int64),
            used=np.ones(1, np.int64),
        )

    def run(self) -> np.ndarray:
        """(n_columns, n_cells) metrics."""
        bound, n = self.bound, len(self.planes)
        n_classes, n_segments = bound.class_in_segment.shape
        sums, segments = np.zeros((n, n_classes, N_LANES), np.int64), np.zeros((n, 3, n_segments), np.int64)
        given = (*self.sleeves.at(0), self.planes, bound.pruning.runs, bound.class_in_segment, bound.pruning.searched)
        done = simulate.simulate(*given, 0, *self.table, sums, segments, np.zeros((n, 3), np.int64))
        assert done == n
        metrics = finalized(bound, sums, segments[:, simulate.DRAWDOWN], np.arange(n)).metrics
        places = [name.split("_", 1) for name in METRIC_COLUMNS]
        return np.stack([metrics[SEGMENTS.index(s), COLUMNS.index(m)] for s, m in places])


def seconds_of(run: Callable[[], object]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def measure(is_quick: bool) -> dict[str, float]:
    """Nanoseconds per branch, and seconds of what the plane's rows share."""
    bound = prepare(read_job(JOB)).bound
    plane_rows(bound, 0, 1, Cache(CACHE_BYTES)).row(0, METRIC_COLUMNS)  # loads the kernels
    began = time.process_time()
    rows = plane_rows(bound, 0, 1, Cache(CACHE_BYTES))
    shared = time.process_time() - began
    n_x, n_y = rows.shape
    chosen = np.linspace(0, n_x - 1, 8 if is_quick else 32).astype(int).tolist()
    cells = [(i, j) for k, i in enumerate(chosen) for j in range(k, n_y, n_y * len(chosen) // N_SCALAR)]
    scalar = Scalar(bound, rows, cells)
    check(rows, cells, scalar.run())
    runs: dict[str, tuple[Callable[[], object], int]] = {
        "scalar": (scalar.run, len(cells)),
        "plane, all metrics": (lambda: [rows.row(i, METRIC_COLUMNS) for i in chosen], n_y * len(chosen)),
        "plane, one metric": (lambda: [rows.row(i, ["oos_sharpe"]) for i in chosen], n_y * len(chosen)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(3 if is_quick else N_TURNS):
        for name, (run, n) in runs.items():
            seconds[name].append(seconds_of(run) / n)
    found = {name: 1e9 * statistics.median(values) for name, values in seconds.items()}
    return found | {"shared seconds": shared, "branches": n_x * n_y, "bars": bound.n}


def check(rows: PlaneRows, cells: list[tuple[int, int]], expected: np.ndarray) -> None:
    """Refuse to compare speeds of different results."""
    found = {i: rows.row(i, METRIC_COLUMNS) for i in {i for i, _ in cells}}
    for (i, j), theirs in zip(cells, expected.T, strict=True):
        metrics, outcome = found[i]
        if not np.array_equal(metrics[:, outcome[j]], theirs, equal_nan=True):
            raise SystemExit(f"row {i}, column {j}: the plane and the branch by itself differ")


def main() -> None:
    parser = argparse.ArgumentParser(description="An exact plane against its branches one by one.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="fewer rows, fewer turns")
    given = parser.parse_args()
    found = measure(given.quick)
    if given.json:
        print(json.dumps(found | {"machine": machine()}, indent=1))
        return
    print(f"{found['branches']:,.0f} branches of {found['bars']:,.0f} returns; {machine()}")
    for name in ("scalar", "plane, all metrics", "plane, one metric"):
        print(f"{name:<20}{found[name]:>10,.0f} ns per branch{found['scalar'] / found[name]:>8.1f} × scalar")
    print(f"what its rows share {found['shared seconds']:>10.2f} s")


if __name__ == "__main__":
    main()
