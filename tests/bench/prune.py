"""What pruning saves: the same branches with `prune` off, on and "forge", in turns.

python tests/bench/prune.py

The jobs are those of `engine.py` with two requirements. Before any time counts, the rows that go on are compared with
those of the run without pruning. Seconds are CPU seconds of the process, the median over the turns; the machine may be
busy with other things: only ratios within a run mean something.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

sys.path.insert(0, str(Path(__file__).parent))

from thresholds import Thresholds
from trees import Nested
from workload import Workload

from forge_ray.engine import BoundPlan, Cache, evaluate, kernels_of, warm_kernels
from forge_ray.run import prepare
from forge_ray.run.execution import block_size_for
from forge_ray.sweep import parse_job
from jobs import machine

REQUIRE = {"is.max_drawdown": "<= 35%", "is.time_in_market": ">= 30%"}
POLICIES: tuple[Any, ...] = (False, True, "forge")
N_TURNS = 5
WORKLOADS: dict[str, tuple[Workload, int]] = {
    "W1": (Thresholds(), 8_100),
    "W1b": (Thresholds(trends=tuple(range(10, 401, 10))), 32_400),
    "W3": (Nested(), 100_000),
}


def rows(bound: BoundPlan, n: int) -> tuple[pa.Table, float]:
    """The first n branches, in the blocks of a run, from an empty cache; and the CPU seconds."""
    cache, size, began = Cache(2**29), block_size_for(bound), time.process_time()
    parts = [evaluate(bound, lo, min(lo + size, n), cache) for lo in range(0, n, size)]
    return pa.concat_tables(parts), time.process_time() - began


def check(plain: pa.Table, pruned: pa.Table) -> int:
    """How many branches go on. Their rows must be those without pruning."""
    goes_on = pc.equal(pruned["status"], "ok")
    if not plain.filter(goes_on).equals(pruned.filter(goes_on).drop_columns("stopped_on")):
        raise SystemExit("pruning has changed a row")
    return pc.sum(goes_on).as_py()


def main() -> None:
    print(f"CPU seconds; {machine()}.\n\n| | branches | off | on | go on | off / on | forge | go on | off / forge |")
    print("|---|" + "---:|" * 8)
    for name, (workload, n) in WORKLOADS.items():
        jobs = [workload.job | {"require": REQUIRE, "prune": policy} for policy in POLICIES]
        bounds = [prepare(parse_job(job)).bound for job in jobs]
        for bound in bounds:
            warm_kernels(kernels_of(bound))
        plain, *others = [rows(bound, n)[0] for bound in bounds]
        on, forge = [check(plain, table) for table in others]
        turns = [[rows(bound, n)[1] for bound in bounds] for _ in range(N_TURNS)]
        a, b, c = (statistics.median(column) for column in zip(*turns, strict=True))
        print(f"| {name} | {n:,} | {a:.2f} | {b:.2f} | {on:,} | {a / b:.1f} | {c:.2f} | {forge:,} | {a / c:.1f} |")


if __name__ == "__main__":
    main()
