"""Long histories: nanoseconds per bar and branch of two million bars beside eight thousand, and what memory they take.

The market is a random walk, the branches are 5 windows × 200 thresholds of one oscillator. A bar stands for a minute;
its date is a day of a calendar of thousands of years, since bars are dated by days.
"""

from __future__ import annotations

import datetime
import json
import resource
import subprocess
import sys
import time

import numpy as np
import polars as pl

from forge_ray.engine import BoundPlan, Cache, evaluate, kernels_of, warm_kernels
from forge_ray.run import prepare
from forge_ray.run.execution import block_size_for
from forge_ray.sweep import parse_job

LENGTHS = (8_000, 2_000_000)
N_BRANCHES = 1_000
CACHE_BYTES = 2**29


def bound_of(n_bars: int) -> BoundPlan:
    moves = np.random.default_rng(7).normal(0.0, 0.0005, n_bars)
    first = np.datetime64(datetime.date(1970, 1, 1))
    frame = pl.DataFrame({"Date": first + np.arange(n_bars), "Ticker": "MIN", "Close": 100 * np.exp(np.cumsum(moves))})
    condition = {"id": "dip", "metric": "RSI", "window": "$n", "ticker": "MIN", "comparator": "lt", "threshold": "$low"}
    sides = {"then": [{"id": "in", "kind": "position", "positions": ["MIN"]}],
             "else": [{"id": "out", "kind": "position", "positions": ["CASH"]}]}  # fmt: skip
    tree = {"id": "gate", "kind": "indicator", "conditions": [condition], "children": sides}
    return prepare(parse_job({
        "data": frame, "tree": tree, "axes": {"n": [5, 10, 14, 20, 30], "low": "20..79.7 by 0.3"},
    })).bound  # fmt: skip


def measure(n_bars: int) -> dict[str, float]:
    """CPU nanoseconds per bar and branch, and the largest resident set in MiB."""
    bound = bound_of(n_bars)
    size, block = bound.plan.space.size, block_size_for(bound)
    assert size == N_BRANCHES, size
    warm_kernels(kernels_of(bound))
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    for lo in range(0, size, block):
        evaluate(bound, lo, min(lo + block, size), Cache(CACHE_BYTES))
    seconds = time.process_time() - began
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"ns": 1e9 * seconds / size / bound.n, "before_mib": before / 1024, "peak_mib": after / 1024}


def main() -> None:
    found = {}
    for n_bars in LENGTHS:
        done = subprocess.run([sys.executable, __file__, str(n_bars)], capture_output=True, text=True, check=True)
        found[f"{n_bars:,} bars"] = json.loads(done.stdout)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(int(sys.argv[1]))))
    else:
        main()
