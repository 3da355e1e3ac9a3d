"""How many branches a second, per core: forge_ray against what else people write or install, in one run.

python tests/bench/engine.py                 a table in Markdown
python tests/bench/engine.py --json          the same as JSON, in branches per second and core
python tests/bench/engine.py --only W1,W3    some workloads        --quick   slices of the large ones
python tests/bench/engine.py --profile       where the time of forge_ray goes instead

1. Same data (sample:us20), same signals, same costs. No time counts before the results agree: every metric that both
   compute to 1e-9, the weights of every day on some branches.
2. forge_ray starts with warm kernels and an empty cache, on one thread, and computes its indicators; the others are
   given theirs. `one_pass_loop` does equal work (`one_pass.py`), `scalar` is NumPy per branch (`per_branch.py`).
3. Competitors take turns. Seconds are CPU seconds of the process, the median over the turns. The slower ones do a
   sample of the branches. For N1 the first branch is timed apart, since 100,000 share its work.

vectorbt and bt are looked for in the folder that FORGE_RAY_BENCH_LIBS names, too. The machine may be busy with other
things: only ratios within a run mean something. Ray, two actors and a million branches are not measured here.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import platform
import pstats
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from thresholds import Thresholds
from trees import Complex77, Neighbours, Nested
from workload import Task, Workload

from forge_ray.catalog import SEGMENTS
from forge_ray.engine import Cache, branch_bars, evaluate, kernels_of, warm_kernels
from forge_ray.run.execution import block_size_for
from jobs import machine

CACHE_BYTES = 2**29
N_TURNS = 5
N_PATHS = 3
TOLERANCE = 1e-9
SIMPLE_LOOP = 22_700
"""Branches per second that the issue names for the simple loop, on the machine of its author."""
OTHERS = ("engine", "one_pass_loop", "simple_loop", "scalar", "vectorbt", "bt")
REPORTED = ("engine", "one_pass_loop", "scalar", "vectorbt")

WORKLOADS: dict[str, Callable[[], Workload]] = {
    "W1": Thresholds,
    "W1b": lambda: Thresholds(trends=tuple(range(10, 401, 10)), n_lines=60, quick=16_200),
    "W2": Complex77,
    "W3": Nested,
    "N1": Neighbours,
}


class Engine:
    """forge_ray on a range of branches, in the blocks of a run."""

    def __init__(self, workload: Workload, lo: int, hi: int):
        self.workload, self.bound, self.lo, self.hi = workload, workload.bound, lo, hi
        self.block = block_size_for(self.bound)
        self.first_seconds = 0.0
        warm_kernels(kernels_of(self.bound))

    def run(self) -> list:
        cache = Cache(CACHE_BYTES)
        if isinstance(self.workload, Neighbours):
            began = time.process_time()
            evaluate(self.bound, 0, 1, cache)
            self.first_seconds = time.process_time() - began
        return [evaluate(self.bound, lo, min(lo + self.block, self.hi), cache)
                for lo in range(self.lo, self.hi, self.block)]  # fmt: skip

    def per_branch(self, seconds: float) -> float:
        """CPU seconds, where a whole run would share what only its first branch pays."""
        size = self.bound.plan.space.size
        return (seconds - self.first_seconds) / (self.hi - self.lo) + self.first_seconds / size

    def metrics(self, tables: list, task: Task) -> np.ndarray:
        """(n_branches, 3, n_metrics) of the branches of a task."""
        columns = {name: np.concatenate([table.column(name).to_numpy() for table in tables])
                   for name in (f"{s}_{m}" for s in SEGMENTS for m in task.metrics)}  # fmt: skip
        rows = task.branches - self.lo
        return np.stack([np.stack([columns[f"{s}_{m}"][rows] for m in task.metrics], axis=1) for s in SEGMENTS], axis=1)


def check(name: str, engine: Engine, tables: list, task: Task) -> None:
    """Refuse to compare speeds of different results."""
    theirs = task.run()
    ours = engine.metrics(tables, task)[:, : theirs.shape[1]]
    with np.errstate(invalid="ignore"):
        apart = np.abs(ours - theirs) / np.maximum(1.0, np.abs(ours))
    apart[np.isnan(ours) & ~np.isfinite(theirs)] = 0.0  # vectorbt divides by 0 where we have nothing
    if not (apart <= TOLERANCE).all():
        worst = np.unravel_index(np.argmax(np.where(np.isnan(apart), np.inf, apart)), apart.shape)
        raise SystemExit(
            f"{name}: branch {task.branches[worst[0]]}, {SEGMENTS[worst[1]]}_{task.metrics[worst[2]]}:"
            f" {ours[worst]:.12g}, theirs {theirs[worst]:.12g}"
        )
    if task.weights:
        for j in np.linspace(0, len(task.branches) - 1, N_PATHS).astype(int):
            held = branch_bars(engine.bound, int(task.branches[j]), Cache(CACHE_BYTES)).weights
            if not np.allclose(held, task.weights(j), rtol=0, atol=1e-12):
                raise SystemExit(f"{name}: branch {task.branches[j]} holds something else")


def seconds_of(run: Callable[[], object]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def measure(name: str, is_quick: bool) -> dict[str, float]:
    """Branches per second by competitor, and `bars` per branch."""
    workload = WORKLOADS[name]()
    engine = Engine(workload, *workload.slice(is_quick))
    tasks = workload.tasks(engine.lo, engine.hi)
    tables = engine.run()
    for other, task in tasks.items():
        check(f"{name}, {other}", engine, tables, task)
    seconds: dict[str, list[float]] = {other: [] for other in ("engine", *tasks)}
    for turn in range(3 if is_quick else N_TURNS):
        seconds["engine"].append(engine.per_branch(seconds_of(engine.run)))
        for other, task in tasks.items():
            if other != "bt" or turn == 0:
                seconds[other].append(seconds_of(task.run) / len(task.branches))
    return {other: 1.0 / statistics.median(found) for other, found in seconds.items()} | {"bars": workload.bound.n}


def profile(name: str, is_quick: bool) -> None:
    workload = WORKLOADS[name]()
    engine = Engine(workload, *workload.slice(is_quick))
    profiler = cProfile.Profile(time.process_time)
    profiler.runcall(engine.run)
    print(f"## {name}: {engine.hi - engine.lo:,} branches")
    pstats.Stats(profiler).sort_stats("tottime").print_stats(14)


def report(found: dict[str, dict[str, float]]) -> dict:
    """What --json prints. What was not measured is null."""
    simple = found.get("W1", {}).get("simple_loop")
    return {
        "workloads": {name: {other: rates.get(other) for other in REPORTED} for name, rates in found.items()},
        "scaling": {"1 actor": None, "2 actors": None},
        "environment": {
            "machine": machine(), "numpy": np.__version__, "numba": numba.__version__, "system": platform.platform(),
            "simple_loop": simple, "simple_loop / 22,700": simple and simple / SIMPLE_LOOP,
            "bt": found.get("W1", {}).get("bt"),
        },
    }  # fmt: skip


def table(found: dict[str, dict[str, float]]) -> str:
    others = [other for other in OTHERS if any(other in rates for rates in found.values())]
    head = ["workload", *others, "ns per bar-branch: engine", "loop", *(f"÷ {other}" for other in others[1:])]
    lines = [f"Branches per second and core; {machine()}.", "", f"| {' | '.join(head)} |",
             "|---|" + "---:|" * (len(head) - 1)]  # fmt: skip
    for name, rates in found.items():
        cells = [number(rates.get(other)) for other in others]
        cells += [number(1e9 / rates[other] / rates["bars"]) for other in ("engine", "one_pass_loop")]
        cells += [number(rates["engine"] / rates[other] if other in rates else None) for other in others[1:]]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    if simple := found.get("W1", {}).get("simple_loop"):
        lines += ["", f"The simple loop does {simple / SIMPLE_LOOP:.2f} of the {SIMPLE_LOOP:,} branches per second that"
                  " were found elsewhere."]  # fmt: skip
    return "\n".join(lines)


def number(value: float | None) -> str:
    """Three digits, a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Branches per second and core.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="slices of the large workloads, fewer turns")
    parser.add_argument("--profile", action="store_true", help="where the time of forge_ray goes")
    parser.add_argument("--only", default=",".join(WORKLOADS), help="such as W1,W3")
    given = parser.parse_args()
    names = given.only.split(",")
    if unknown := [name for name in names if name not in WORKLOADS]:
        parser.error(f"--only: {', '.join(unknown)}; allowed: {', '.join(WORKLOADS)}")
    if given.profile:
        for name in names:
            profile(name, given.quick)
        return
    found = {name: measure(name, given.quick) for name in names}
    print(json.dumps(report(found), indent=1) if given.json else table(found))


if __name__ == "__main__":
    main()
