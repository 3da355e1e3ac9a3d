"""Ways to compute a search that may change no bit, and a process that computes it in some of them.

A *cell* has one value of each factor. `cells` chooses them as a covering design: every pair of values of two factors
that may stand together is in some cell, or, for fewer cells, every value. Cells of one environment share a process,
``python determinism.py FOLDER CELLS``, which prints for each the hash of its rows.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow as pa

from forge_ray.cluster.crew import OwnCrew
from forge_ray.cluster.local import LocalExecutor
from forge_ray.cluster.ray_executor import RayExecutor, ray
from forge_ray.cluster.work import Done, Work
from forge_ray.engine import BoundPlan
from forge_ray.engine.bind import Kernel
from forge_ray.run import Executor, Prepared, Progress, Run, execute, prepare
from forge_ray.store import content_hash
from forge_ray.sweep import parse_job

# fmt: off
GATE = {
    "id": "root", "kind": "indicator",
    "conditions": [
        {"id": "dip", "metric": "RSI", "window": "$n", "ticker": "$stock", "comparator": "lt", "threshold": "$low"},
        {"id": "calm", "type": "or", "metric": "HistVol", "window": 20, "ticker": "SPX", "comparator": "lt",
         "threshold": "$calm", "forDays": 2},
    ],
    "children": {
        "then": [{"id": "mix", "kind": "basic", "weighting": "inverse", "volWindow": 30, "children": {"next": [
            {"id": "a", "kind": "position", "positions": ["$stock"]},
            {"id": "b", "kind": "position", "positions": ["KO"]},
            {"id": "c", "kind": "position", "positions": ["JNJ"]}]}}],
        "else": [{"id": "best", "kind": "function", "metric": "StdDev", "window": 20, "rank": "bottom", "n": 1,
                  "of": "equity", "children": {"next": [
            {"id": "d", "kind": "position", "positions": ["PFE", "XOM"]},
            {"id": "e", "kind": "indicator", "conditions": [
                {"id": "smooth", "metric": "Ultimate Smoother", "window": 30, "ticker": "MSFT",
                 "comparator": "crossAbove", "expanded": True, "rightMetric": "custom:TREND", "rightTicker": "MSFT"}],
             "children": {"then": [{"id": "f", "kind": "position", "positions": ["MSFT"]}],
                          "else": [{"id": "g", "kind": "position", "positions": ["CASH"]}]}}]}}],
    },
}
GRID = {
    "data": {"source": "sample:us20", "start": "2012-01-01"}, "benchmark": "SPX", "split": "even_odd_month",
    "formulas": {"TREND": "exp(sma(log(close), 25))"}, "tree": GATE,
    "require": {"is.max_drawdown": "<= 22%"},
    "axes": {"n": [2, 5, 14], "low": "20..70 by 10", "stock": ["AAPL", "XOM"], "calm": [12, 18, 24, 30]},
}
SIMPLE = {
    "data": {"source": "sample:us20", "start": "2012-01-01"},
    "tree": {"id": "gate", "kind": "indicator",
             "conditions": [{"id": "dip", "metric": "RSI", "window": "$n", "ticker": "$stock", "comparator": "lt",
                             "threshold": "$low"}],
             "children": {"then": [{"id": "in", "kind": "position", "positions": ["$stock", "KO"]}],
                          "else": [{"id": "out", "kind": "position", "positions": ["CASH"]}]}},
    "axes": {"n": "2..11", "low": "20..70 by 10", "stock": ["AAPL", "XOM"]},
}
POINT = {"n": 14, "low": 40, "stock": "AAPL", "calm": 18}
AROUND = GRID | {
    "axes": {}, "require": {}, "design": {"kind": "neighbourhood", "changes": 2, "window": "±20%", "threshold": "±5%"},
    "tree": json.loads(json.dumps(GATE), object_hook=lambda node: {
        key: POINT[value[1:]] if isinstance(value, str) and value[:1] == "$" else value for key, value in node.items()})
    | {"children": {"then": [{"id": "a", "kind": "position", "positions": ["AAPL"]}],
                    "else": [{"id": "c", "kind": "position", "positions": ["JNJ"]}]}},
}
SEARCHES: dict[str, tuple[dict, Kernel | None]] = {
    "by lanes": (GRID, Kernel.LANES),
    "one by one": (GRID, Kernel.SCALAR),
    "pruned, by lanes": (GRID | {"prune": True}, Kernel.LANES),
    "pruned, one by one": (GRID | {"prune": True}, Kernel.SCALAR),
    "by what is held": (GRID | {"execution": {"rebalance": {"threshold": 5}}}, None),
    "around a tree": (AROUND, None),
    "of few kernels": (SIMPLE, Kernel.SCALAR),
}
# fmt: on
WORKERS = ("1 thread", "2 threads", "4 threads", "1 on Ray", "2 on Ray")
BLOCKS = (1, 7, 30, 100)
ORDERS = ("as they are", "backwards", "shuffled")
CACHES = ("none", "20 kB", "ample", "warm")
ENDS = ("at once", "resumed")
CACHE_BYTES = {"none": 0, "20 kB": 20_000}
AMPLE = 64 * 2**20
RAY_OPTIONS = {"object_store_memory": 200 * 2**20, "num_cpus": 2}

Cell = dict[str, Any]


@cache
def environments() -> dict[str, dict[str, str]]:
    """What the process finds in its environment: time zones, languages, seeds of hashes, and processors."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    here = [name for name in __cpu_dispatch__ if __cpu_features__[name]]
    glibc = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX,-FMA,-FMA4,-AVX512F,-AVX512VL,-ERMS,-SSE4_1,-SSE4_2"}
    return {
        "here": {},
        "Apia": {"TZ": "Pacific/Apia", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "1"},
        "numpy and glibc of an old processor": {"NPY_DISABLE_CPU_FEATURES": " ".join(here), **glibc},
        "any processor": {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
        "New York": {"TZ": "America/New_York", "LC_ALL": "C", "PYTHONHASHSEED": "4294967295"},
        "Kathmandu": {"TZ": "Asia/Kathmandu", "LANG": "hi_IN.UTF-8", "PYTHONHASHSEED": "77"},
        "numpy of an old processor": {"NPY_DISABLE_CPU_FEATURES": " ".join(here)},
        "glibc of an old processor": glibc,
        "Nehalem": {"NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": "+sse4.2,+popcnt"},
        "Haswell": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma,+bmi,+bmi2,+lzcnt,+popcnt"},
        "not optimised": {"NUMBA_OPT": "0"},
        "no vectors": {"NUMBA_LOOP_VECTORIZE": "0", "NUMBA_SLP_VECTORIZE": "0"},
    }


def cells(n: int, n_environments: int, allowed: Callable[[Cell], bool]) -> list[Cell]:
    """n cells that are allowed, each the best of many random ones: it covers most pairs that no cell before has."""
    names = list(environments())[:n_environments]
    factors = {"search": tuple(SEARCHES), "workers": WORKERS, "block": BLOCKS, "order": ORDERS, "cache": CACHES,
               "end": ENDS, "environment": names}  # fmt: skip
    chance, chosen, covered = random.Random(6), [], set[tuple]()
    for _ in range(n):
        some = ({name: chance.choice(values) for name, values in factors.items()} for _ in range(2000))
        best = max(filter(allowed, some), key=lambda cell: weight(cell, covered))
        covered |= {*pairs_of(best), *best.items()}
        chosen.append(best)
    return chosen


def weight(cell: Cell, covered: set[tuple]) -> tuple[int, int]:
    return len(set(cell.items()) - covered), len(set(pairs_of(cell)) - covered)


def pairs_of(cell: Cell) -> Iterator[tuple]:
    return combinations(cell.items(), 2)


# ---------------------------------------------------------------- one cell


class StopError(Exception):
    """The driver ends here."""


@dataclass
class Ordered:
    """An executor that gets the blocks in another order."""

    inner: Executor
    order: str

    def run(self, bound: BoundPlan, blocks: Iterable[Work]) -> Generator[Done | None]:
        given = list(blocks)
        if self.order == "shuffled":
            random.Random(len(given)).shuffle(given)
        yield from self.inner.run(bound, iter(given[::-1] if self.order == "backwards" else given))


@cache
def search(name: str) -> Prepared:
    job, kernel = SEARCHES[name]
    found = prepare(parse_job(job))
    return replace(found, bound=replace(found.bound, kernel=kernel or found.bound.kernel))


@contextmanager
def executor(cell: Cell) -> Iterator[Executor]:
    n, cache_bytes = int(cell["workers"][0]), CACHE_BYTES.get(cell["cache"], AMPLE)
    if not cell["workers"].endswith("on Ray"):
        yield LocalExecutor(n, cache_bytes)
        return
    if not ray.is_initialized():
        ray.init(address="local", include_dashboard=False, log_to_driver=False, **RAY_OPTIONS)
    crew = OwnCrew(n, cache_bytes, None)
    try:
        yield RayExecutor(None, cache_bytes, crew=crew, stays=True)
    finally:
        crew.leave()


def rows_of(cell: Cell, folder: Path) -> pa.Table:
    """The rows of a cell, whose runs lie in a folder of their own."""

    def stop_half_way(progress: Progress) -> None:
        if cell["end"] == "resumed" and progress.total // 2 <= progress.branches < progress.total:
            raise StopError

    prepared = search(cell["search"])
    with executor(cell) as workers:
        if cell["cache"] == "warm":
            execute(prepared, workers, folder / "before", block_size=cell["block"])
        ordered = Ordered(workers, cell["order"])
        try:
            execute(prepared, ordered, folder, block_size=cell["block"], on_progress=stop_half_way)
        except StopError:
            execute(prepared, ordered, folder)
    with Run(folder / prepared.run_id) as run:
        assert run.store.finished and run.store.verify() == []
        return run.frame().to_arrow()


if __name__ == "__main__":
    for number, cell in enumerate(json.loads(sys.argv[2])):
        print(content_hash(rows_of(cell, Path(sys.argv[1]) / f"{os.getpid()}-{number}")), flush=True)
