"""How many branches a second, per core: forge_ray against what else people write or install, in one run.

python tests/bench/engine.py                 a table in Markdown
python tests/bench/engine.py --json          the same as JSON, in branches per second and core
python tests/bench/engine.py --only W1,W3    some workloads        --quick   slices of the large ones
python tests/bench/engine.py --profile       where the time of forge_ray goes instead

1. Same data (sample:us20), same signals, same costs. No time counts before the results agree: every metric that both
   compute to 1e-9, the weights of every day on some branches.
2. forge_ray starts with warm kernels and an empty cache, on one thread, and computes its indicators; the others are
   given theirs. `one_pass_loop` does equal work (`one_pass.py`), `scalar` is NumPy per branch (`per_branch.py`).
   `kernel_s` is forge_ray with the scalar kernel.
3. Competitors take turns. Seconds are CPU seconds of the process, the median over the turns. The slower ones do a
   sample of the branches.

vectorbt and bt are looked for in the folder that FORGE_RAY_BENCH_LIBS names, too. The machine may be busy with other
things: only ratios within a run mean something.

M1 is a million branches end to end on Ray (`million.py`). The floor is what a scan of every bar in sixteen lanes costs
at least: 27 vector operations for 8 bar-branches, two a cycle, at the clock that the system tells; lanes that pass over
bars can be below it.
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
from dataclasses import replace
from pathlib import Path

import numba
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parent))

import million as end_to_end
from thresholds import Thresholds
from trees import Complex77, Neighbours, Nested
from workload import Task, Workload

from forge_ray.catalog import SEGMENTS
from forge_ray.engine import Cache, Kernel, branch_bars, evaluate, kernels_of, warm_kernels
from forge_ray.run.execution import block_size_for
from jobs import machine

CACHE_BYTES = 2**29
N_TURNS = 5
N_SCALAR = 1_000
N_PATHS = 3
TOLERANCE = 1e-9
SIMPLE_LOOP = 22_700
"""Branches per second that the issue names for the simple loop, on the machine of its author."""
OTHERS = ("engine", "kernel_s", "one_pass_loop", "simple_loop", "scalar", "vectorbt", "bt")
FLOOR_CYCLES = 27 / 8 / 2
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

    def __init__(self, workload: Workload, lo: int, hi: int, kernel: Kernel | None = None):
        self.workload, self.lo, self.hi = workload, lo, hi
        self.bound = replace(workload.bound, kernel=kernel or workload.bound.kernel)
        self.block = block_size_for(self.bound)
        warm_kernels(kernels_of(self.bound))

    def run(self) -> list:
        cache = Cache(CACHE_BYTES)
        return [evaluate(self.bound, lo, min(lo + self.block, self.hi), cache)
                for lo in range(self.lo, self.hi, self.block)]  # fmt: skip

    def per_branch(self, seconds: float) -> float:
        return seconds / (self.hi - self.lo)

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
    by_scalar = Engine(workload, engine.lo, min(engine.hi, engine.lo + N_SCALAR), Kernel.SCALAR)
    has_scalar = engine.bound.kernel is Kernel.LANES
    seconds: dict[str, list[float]] = {other: [] for other in ("engine", *["kernel_s"] * has_scalar, *tasks)}
    for turn in range(3 if is_quick else N_TURNS):
        seconds["engine"].append(engine.per_branch(seconds_of(engine.run)))
        if has_scalar:
            seconds["kernel_s"].append(by_scalar.per_branch(seconds_of(by_scalar.run)))
        for other, task in tasks.items():
            if other != "bt" or turn == 0:
                seconds[other].append(seconds_of(task.run) / len(task.branches))
    rates = {other: 1.0 / statistics.median(found) for other, found in seconds.items()}
    return rates | {"bars": workload.bound.n, "uss_mib": psutil.Process().memory_full_info().uss / 2**20}


def profile(name: str, is_quick: bool) -> None:
    workload = WORKLOADS[name]()
    engine = Engine(workload, *workload.slice(is_quick))
    profiler = cProfile.Profile(time.process_time)
    profiler.runcall(engine.run)
    print(f"## {name}: {engine.hi - engine.lo:,} branches")
    pstats.Stats(profiler).sort_stats("tottime").print_stats(14)


def floor_share(rates: dict[str, float]) -> float:
    """Least time over time, of a bar and branch."""
    return FLOOR_CYCLES / (psutil.cpu_freq().current / 1e3) * 1e-9 * rates["engine"] * rates["bars"]


def report(found: dict[str, dict[str, float]], million: dict[str, dict[str, float]] | None) -> dict:
    """What --json prints. What was not measured is null."""
    simple = found.get("W1", {}).get("simple_loop")
    return {
        "workloads": {name: {other: rates.get(other) for other in REPORTED} for name, rates in found.items()}
        | ({"M1": dict.fromkeys(REPORTED) | {"engine": _rate(million["2 actors"]) / 2}} if million else {}),
        "scaling": {name: _rate(run) for name, run in million.items()} if million else None,
        "environment": {
            "machine": machine(), "numpy": np.__version__, "numba": numba.__version__, "system": platform.platform(),
            "simple_loop": simple, "simple_loop / 22,700": simple and simple / SIMPLE_LOOP,
            "bt": found.get("W1", {}).get("bt"), "runs": million,
            "kernel_s": {name: rates.get("kernel_s") for name, rates in found.items()},
            "floor_share": {name: floor_share(rates) for name, rates in found.items()},
            "uss_mib": {name: rates["uss_mib"] for name, rates in found.items()},
        },
    }  # fmt: skip


def _rate(run: dict[str, float]) -> float:
    return run["branches"] / run["seconds"]


def table(found: dict[str, dict[str, float]]) -> str:
    others = [other for other in OTHERS if any(other in rates for rates in found.values())]
    head = ["workload", *others, "ns per bar-branch: engine", "loop", *(f"÷ {other}" for other in others[1:]), "floor"]
    lines = [f"Branches per second and core; {machine()}.", "", f"| {' | '.join(head)} |",
             "|---|" + "---:|" * (len(head) - 1)]  # fmt: skip
    for name, rates in found.items():
        cells = [number(rates.get(other)) for other in others]
        cells += [number(1e9 / rates[other] / rates["bars"]) for other in ("engine", "one_pass_loop")]
        cells += [number(rates["engine"] / rates[other] if other in rates else None) for other in others[1:]]
        lines.append(f"| {name} | {' | '.join([*cells, f'{floor_share(rates):.0%}'])} |")
    if simple := found.get("W1", {}).get("simple_loop"):
        lines += ["", f"The simple loop does {simple / SIMPLE_LOOP:.2f} of the {SIMPLE_LOOP:,} branches per second that"
                  " were found elsewhere."]  # fmt: skip
    return "\n".join(lines)


def runs_table(million: dict[str, dict[str, float]]) -> str:
    lines = ["| M1 | branches | seconds | of the process | branches/s | USS of the driver, MiB | of an actor |",
             "|---|" + "---:|" * 6]  # fmt: skip
    for name, run in million.items():
        values = (run["branches"], run["seconds"], run["whole"], _rate(run), run["driver_mib"], run["actor_mib"])
        lines.append(f"| {name} | {' | '.join(map(number, values))} |")
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
    parser.add_argument("--only", default=",".join((*WORKLOADS, "M1")), help="such as W1,W3")
    given = parser.parse_args()
    names = given.only.split(",")
    if unknown := [name for name in names if name not in (*WORKLOADS, "M1")]:
        parser.error(f"--only: {', '.join(unknown)}; allowed: {', '.join(WORKLOADS)}, M1")
    million = end_to_end.measure(given.quick) if "M1" in names and not given.profile else None
    names = [name for name in names if name != "M1"]
    if given.profile:
        for name in names:
            profile(name, given.quick)
        return
    found = {name: measure(name, given.quick) for name in names}
    if given.json:
        print(json.dumps(report(found, million), indent=1))
        return
    print("\n\n".join(([table(found)] if found else []) + ([runs_table(million)] if million else [])))


if __name__ == "__main__":
    main()
