"""`Run`: one execution of a sweep — prepare, compute the missing blocks, commit, finish.

1. `prepare` compiles the plan, loads only the market data it needs and binds them. Then exact axes get their values,
   and the plan is compiled with them once more.
2. `execute` opens the store under the run id, asks which blocks are missing and hands them lazily to an executor.
3. Every finished block is committed as it arrives; killed anywhere, the same call goes on with what is missing.

What happens is told through events; nothing here prints.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from statistics import NormalDist
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from forge_ray import jsontext
from forge_ray.catalog import BARS_PER_YEAR
from forge_ray.cluster.logs import about
from forge_ray.cluster.work import Done, Work
from forge_ray.data import CacheFolder, Frame, Panel, RawMarket, history_table, in_files, read_raw
from forge_ray.engine import (
    METRIC_COLUMNS,
    BoundPlan,
    Cache,
    Kernel,
    Tally,
    bind,
    cache_folder,
    exact_steps,
    projected_bytes,
    projected_seconds,
    step_values,
)
from forge_ray.errors import CapacityError, IncompleteRunError, InputError, Problem, step, unknown
from forge_ray.jsontext import MAX_PATH
from forge_ray.plan import Plan, Prune, compile_plan
from forge_ray.run.capacity import memory, mib
from forge_ray.run.cost import Cost, cost_of, timed
from forge_ray.run.interrupts import Interrupts
from forge_ray.store import LocalStore, MissingRunError, Part, SqliteSink, remove_copy, write_payload
from forge_ray.sweep import ENGINE_VERSION, Sweep, resolved

MAX_BLOCK = 16_384
SMALLEST_BLOCK = {Kernel.LANES: 4_096, Kernel.SCALAR: 256, Kernel.PATCH: 256, Kernel.PATH: 16}
"""Branches that are worth what a block costs by itself: a message, a file, a transaction."""
MIN_BLOCKS = {Kernel.LANES: 16, Kernel.SCALAR: 64, Kernel.PATCH: 64, Kernel.PATH: 64}
"""Few for lanes, as each block computes the vectors of its groups anew."""
SINKS = ("sqlite",)
BYTES_PER_ROW = 8 * (len(METRIC_COLUMNS) + 8)
EULER_GAMMA = 0.5772156649015329
BRANCH_CACHE_BYTES = 64 * 2**20
"""For looking at one branch."""


class Executor(Protocol):
    """Turns blocks into finished blocks, in any order, with a None whenever nothing has finished for a moment. Closing
    the iterator drops what is not finished and does not wait for it."""

    def run(self, bound: BoundPlan, blocks: Iterable[Work]) -> Generator[Done | None]: ...


@dataclass(frozen=True)
class Progress:
    """Told after every commit. `branches` of `total` are committed, `computed` of them by this call."""

    branches: int
    total: int
    computed: int
    passed: int
    seconds: float


@dataclass(frozen=True)
class Result:
    """What a run ended with; `computed` branches were evaluated by this call, the others were there already.

    distinct : position paths of branches that did not stop early. crashed, timeout : branches that killed their workers
    or did not end. cost : of the run, whoever computed it.
    """

    run_id: str
    path: str
    branches: int
    distinct: int
    computed: int
    passed: int
    pruned: int
    stopped: int
    crashed: int
    timeout: int
    seconds: float
    status: str
    cost: Cost


@dataclass(frozen=True)
class Prepared:
    """A sweep bound to its data, the bars of `market`. `run_id` identifies everything that can change a stored byte.

    steps : of each axis that was exact, (n_values,) least thresholds of the pieces that its values stand for.
    """

    sweep: Sweep
    bound: BoundPlan
    run_id: str
    market: RawMarket
    steps: Mapping[str, np.ndarray]

    @property
    def spec(self) -> bytes:
        identity = self.sweep.identity(self.bound.panel.fingerprint)
        return json.dumps(identity, sort_keys=True, indent=1).encode()


def prepare(sweep: Sweep) -> Prepared:
    """Compile, load, bind. Raises `InputError` for anything that cannot work; leaves nothing behind."""
    plan = _compiled(sweep)
    source = sweep.data
    market = read_raw(
        source.source,
        plan.tickers,
        carried=_carried(sweep, plan),
        fields=plan.fields,
        start=source.start,
        end=source.end,
        clean=source.clean,
        columns=source.columns,
        calendar=sweep.execution.calendar,
        parsed=data_cache("tickers"),
    )
    panel = market.panel(in_files(data_cache("panels")))
    bound = _bound(sweep, plan, panel)
    steps = exact_steps(bound, Cache(BRANCH_CACHE_BYTES)) if sweep.exact_axes else {}
    if steps:
        sweep = resolved(sweep, {name: step_values(steps[name], within) for name, within in sweep.exact_axes.items()})
        bound = _bound(sweep, _compiled(sweep), panel)
    return Prepared(sweep, bound, sweep.run_id(panel.fingerprint), market, steps)


def _compiled(sweep: Sweep) -> Plan:
    return compile_plan(sweep.trees, sweep.space, sweep.execution, sweep.formulas)


def _bound(sweep: Sweep, plan: Plan, panel: Panel) -> BoundPlan:
    return bind(
        plan, panel, sweep.split, sweep.benchmark, sweep.requirements, sweep.keep, sweep.tree_names, sweep.prune
    )


def data_cache(what: str) -> CacheFolder:
    """Where, beside the compiled kernels, ``"tickers"`` of files are kept as they were parsed and ``"panels"`` lie."""
    return CacheFolder(cache_folder() / what)


def _carried(sweep: Sweep, plan: Plan) -> dict[str, str]:
    """Tickers that do not shape the calendar, with the places of the job that name them."""
    places = plan.execution.carried_tickers
    if sweep.benchmark:
        places[sweep.benchmark] = " and ".join(filter(None, ("benchmark", places.get(sweep.benchmark))))
    return places


def prepare_branch(sweep: Sweep) -> Prepared:
    """Like `prepare`, for a sweep of one branch, simulated to its end. Raises `InputError` for one of several."""
    if sweep.exact_axes:
        raise InputError([Problem(f"axes.{name}", "is exact; allowed: one value") for name in sweep.exact_axes])
    if sweep.space.size != 1:
        raise InputError([Problem("axes", f"{sweep.space.size:,} branches; allowed: one")])
    return prepare(replace(sweep, prune=Prune.NEVER))


def execute(
    prepared: Prepared,
    executor: Executor,
    out: str | Path = "runs",
    *,
    fresh: bool = False,
    take_over: bool = False,
    block_size: int | None = None,
    sink: str | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Result:
    """Run what is missing and finish.

    fresh : compute a run of the same sweep that is there anew, every branch of it.
    sink : ``"sqlite"`` keeps the rows in a SQLite table.
    After SIGINT or SIGTERM no block begins any more, those that are finished are committed, and the signal is handled
    as it would have been: by a KeyboardInterrupt, if it was a Ctrl-C or the interrupt of a notebook.
    """
    began = time.perf_counter()
    space = prepared.bound.plan.space
    if sink is not None and sink not in SINKS:
        raise InputError([unknown("sink", "sink", sink, SINKS)])
    root = Path(out)
    check_capacity(prepared, root, 0 if fresh else _committed(root / prepared.run_id))
    store = LocalStore.create_or_open(
        root,
        prepared.run_id,
        prepared.spec,
        block_size or block_size_for(prepared.bound),
        space.size,
        take_over=take_over,
        fresh=fresh,
    )
    with closing(store), about(prepared.run_id):
        store.keep_job(jsontext.write(prepared.sweep.job).encode(), _market_in_memory(prepared))
        if fresh:
            remove_copy(store)
        computed, driver = 0, Tally()
        with _sink(store, sink) as keep_rows:
            if next(store.missing(), None):
                outcomes = None if fresh else _outcomes(root, prepared)
                computed = _compute(prepared, executor, store, keep_rows, began, on_progress, driver, outcomes)
        if not store.finished:
            store.finish(_summary(store, prepared, driver, time.perf_counter() - began))
        summary = store.summary()
        return Result(
            run_id=prepared.run_id,
            path=str(store.path),
            branches=summary["branches"],
            distinct=summary["distinct"],
            computed=computed,
            passed=summary["passed"],
            pruned=summary.get("pruned", 0),
            stopped=summary.get("stopped", 0),
            crashed=summary.get("crashed", 0),
            timeout=summary.get("timeout", 0),
            seconds=round(time.perf_counter() - began, 3),
            status="done",
            cost=cost_of(store),
        )


def block_size_for(bound: BoundPlan) -> int:
    """`MIN_BLOCKS` blocks where the space allows, each worth its while, none larger than `MAX_BLOCK` branches."""
    return min(MAX_BLOCK, max(SMALLEST_BLOCK[bound.kernel], bound.plan.space.size // MIN_BLOCKS[bound.kernel]))


def _committed(path: Path) -> int:
    """Branches whose rows are in a run's folder already."""
    try:
        with closing(LocalStore.read(path)) as store:
            return store.counts()["branches"]
    except MissingRunError:
        return 0


def check_capacity(prepared: Prepared, out: str | Path, committed: int = 0) -> None:
    """Refuse what cannot fit on the disk, or in memory even with one worker and no cache, before any work. Raises
    `CapacityError` with the sizes. committed : branches whose rows are there already."""
    least, there = projected_bytes(prepared.bound, 1, 0, block_size_for(prepared.bound)), memory()
    if least > there.total:
        text = f"{mib(least)} of memory are needed by one worker without a cache; this machine has {mib(there.total)}"
        raise CapacityError([Problem("data", f"{text}; fewer tickers or a shorter history need less")])
    left = prepared.bound.plan.space.admitted - committed
    existing = _existing(Path(out).absolute())
    free = shutil.disk_usage(existing).free
    if left * BYTES_PER_ROW > free:
        text = f"{left:,} branches need about {left * BYTES_PER_ROW:,} bytes of rows; {free:,} are free at {existing}"
        raise CapacityError([Problem("space", f"{text}; make room, or narrow the axes")])


def _existing(out: Path) -> Path:
    """The folder, or the nearest one above that is there. Raises `InputError` for a name that no disk takes."""
    try:
        return next(place for place in (out, *out.parents) if place.exists())
    except OSError as error:
        raise InputError([Problem("out", f"{step(str(out), MAX_PATH)}: {error.strerror}")]) from error


def sharpe_by_luck(n_trials: int, n_days: int) -> float | None:
    """Yearly Sharpe ratio that the best of n independent branches without any skill shows on average.

    E[max_N] ≈ (1 − γ)·Z(1 − 1/N) + γ·Z(1 − 1/(N·e)) standard errors (Bailey & López de Prado 2014), one standard error
    of a yearly Sharpe ratio being √(252/n). None for fewer than 2 trials or no day.
    """
    if n_trials < 2 or n_days < 1:
        return None
    z = NormalDist().inv_cdf
    expected = (1 - EULER_GAMMA) * z(1 - 1 / n_trials) + EULER_GAMMA * z(1 - 1 / (n_trials * math.e))
    return expected * math.sqrt(BARS_PER_YEAR / n_days)


def _compute(
    prepared: Prepared,
    executor: Executor,
    store: LocalStore,
    keep_rows: Callable[[Part], None],
    began: float,
    on_progress: Callable[[Progress], None],
    driver: Tally,
    outcomes: str | None,
) -> int:
    """Evaluate and commit the missing blocks; returns how many branches that were."""
    bound, computed, since = prepared.bound, 0, time.perf_counter()
    total, interrupts = bound.plan.space.admitted, Interrupts()
    run_dir, holder = str(store.path.absolute()), store.holder  # workers may have another working folder
    missing = takewhile(lambda block: interrupts.arrived is None, store.missing())
    blocks = (Work(lo, hi, str(store.epoch), run_dir, holder, outcomes) for lo, hi in missing)
    with interrupts, closing(executor.run(bound, blocks)) as finished:
        for done in timed(finished):
            interrupts.note()
            if done is None:
                if interrupts.arrived is not None:
                    break
                continue
            if "start" not in driver.us:
                driver.us["start"] = max(0, int(1e6 * (time.perf_counter() - since - done.receipt.seconds)))
            with driver.stage("commit"):
                if done.payload is not None:
                    write_payload(store.path, done.receipt.parts[0], done.payload)
                store.commit([done.receipt])
                keep_rows(done.receipt.parts[0])
            counts = store.counts()
            computed += done.receipt.counts["branches"]
            on_progress(Progress(counts["branches"], total, computed, counts["passed"], time.perf_counter() - began))
    if next(store.missing(), None) is not None:
        raise IncompleteRunError(f"{store.path}: blocks are missing; run the same command again to go on")
    return computed


def _outcomes(root: Path, prepared: Prepared) -> str | None:
    """The file of what paths came to in the runs beside this one. Only rules that trade by what is held are simulated
    so slowly that looking up is cheaper."""
    if prepared.bound.kernel is not Kernel.PATH:
        return None
    return str((root / f"outcomes-{ENGINE_VERSION}.sqlite").absolute())


@contextmanager
def _sink(store: LocalStore, kind: str | None) -> Iterator[Callable[[Part], None]]:
    """What else happens to the rows of a committed part."""
    if kind is None:
        yield lambda part: None
        return
    with closing(SqliteSink(store)) as sqlite:
        sqlite.catch_up()
        yield sqlite.add


def _market_in_memory(prepared: Prepared) -> pa.Table | None:
    """What a run must keep, because it is nowhere else: nothing if the data are a sample or files."""
    is_frame = isinstance(prepared.sweep.data.source, Frame)
    return history_table(prepared.market.histories()) if is_frame else None


def _summary(store: LocalStore, prepared: Prepared, driver: Tally, wall: float) -> dict[str, Any]:
    bound, n_blocks = prepared.bound, -(-store.size // store.block_size)
    cost = {"predicted": projected_seconds(bound, 1, n_blocks), "wall": wall}
    cost |= {stage: driver.us[stage] / 1e6 for stage in ("start", "commit")}
    return {**store.counts(), "distinct": store.distinct_paths(), "name": prepared.sweep.name, "cost": cost}
