"""What workers may suffer: branches that kill them or hang, `kill -9`, the loss of a node, too little memory.

The campaigns, each for itself: ``python -m pytest --campaign tests/test_faults.py -k`` with ``poison_branches``,
``killed_while``, ``killed_at_any_time``, or ``node_that``.
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import psutil
import pytest
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster
from ray.core.generated.autoscaler_pb2 import DRAIN_NODE_REASON_PREEMPTION
from ray.exceptions import ActorHandleNotFoundError, GetTimeoutError

from forge_ray.cli import commands
from forge_ray.cli.text import show_branch, show_result
from forge_ray.cluster import crew
from forge_ray.cluster import ray_executor as executing
from forge_ray.cluster import work as working
from forge_ray.cluster.crew import ClusterError
from forge_ray.cluster.local import LocalExecutor
from forge_ray.cluster.patience import LEAST_SECONDS, Patience
from forge_ray.cluster.ray_executor import LONGEST_PAUSE, MAX_IN_VAIN, RayExecutor
from forge_ray.cluster.suspects import MAX_LOST, MAX_TRIALS, PIECES, Cause, Charges
from forge_ray.cluster.work import Done, Work, do, probe
from forge_ray.cluster.worker import BlockWorker
from forge_ray.engine import METRIC_COLUMNS, BoundPlan, Cache
from forge_ray.errors import BlockMemoryError, EvaluationError
from forge_ray.report import write_report
from forge_ray.run import Prepared, Progress, Run, execute, prepare, repair
from forge_ray.store import LOCK, Holder, RunLock, holder_of
from forge_ray.sweep import parse_job
from poison import plant
from runs import CACHE, JOB, clean, committed, rows

STORE_BYTES, SHARE_BYTES = 80 * 2**20, 256 * 2**20
SMALL = JOB | {"axes": {"n": "2..9", "low": "20..60 by 2", "stock": ["AAPL", "MSFT"], "calm": [0.8, 1.2, 1.6]}}
TINY = JOB | {"axes": {"n": "2..4", "low": "30..50 by 2", "stock": ["AAPL", "MSFT"], "calm": [0.8, 1.6]}}
LARGE = JOB | {"axes": {**JOB["axes"], "n": "2..42", "calm": [round(0.6 + 0.1 * k, 1) for k in range(20)]}}
Rounds = Callable[[int, int], int]


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(parse_job(JOB))


@pytest.fixture(scope="module")
def expected(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    return clean(prepared, tmp_path_factory.mktemp("clean"))


# ---------------------------------------------------------------- what deaths are charged to


def run_down(poison: dict[int, Cause], block: Work, charges: Charges) -> tuple[Work, Counter[Cause]]:
    """A block as a worker does it that dies of every poison; how it is done at last, and the deaths."""
    queue, deaths = deque([block]), Counter[Cause]()
    while True:
        work = queue.popleft()
        met = [poison[b] for b in sorted(poison) if work.lo <= b < work.hi and b not in dict(work.lost)]
        if met:
            deaths[met[0]] += 1
            queue.extend(charges.died(work, met[0]))
        elif work.suspect is None:
            assert not queue
            charges.done(work)
            return work, deaths
        else:
            queue.extend(charges.survived(work, 0.01))


@pytest.mark.parametrize("size", [1, 2, 31, 33, 1000, 16_384])
@pytest.mark.parametrize("n_poison", [1, 2, 7])
def test_a_block_is_searched_to_the_very_branches(size: int, n_poison: int):
    rng = random.Random(size + n_poison)
    lo = 5 * size
    poison = {
        b: rng.choice([Cause.CRASHED, Cause.TIMEOUT]) for b in rng.sample(range(lo, lo + size), min(n_poison, size))
    }
    done, deaths = run_down(poison, Work(lo, lo + size, "1", ""), Charges())
    assert dict(done.lost) == {b: cause.value for b, cause in poison.items()}
    assert (done.lo, done.hi, done.suspect) == (lo, lo + size, None)
    assert deaths.total() <= 2 + len(poison) * 5, "a death costs seconds"


def test_the_first_death_only_halves_a_block():
    block = Work(0, 100, "1", "")
    charges = Charges()
    assert charges.died(block, Cause.CRASHED) == [replace(block, pieces=2)]
    assert len(charges.died(block, Cause.CRASHED)) == PIECES
    assert len(Charges().died(block, Cause.TIMEOUT)) == PIECES, "that it hangs is no chance"


def test_a_branch_that_died_alone_is_tried_again_at_the_end():
    charges = Charges()
    first, *_ = charges.died(Work(0, PIECES, "1", ""), Cause.TIMEOUT)
    assert (first.lo, first.hi, first.is_last) == (0, 1, False)
    (again,) = charges.died(first, Cause.CRASHED)
    assert again == replace(first, is_last=True)
    assert charges.died(again, Cause.CRASHED) == []
    assert charges.suspects[0].lost == {0: "crashed"}


def test_the_loss_of_a_node_is_charged_to_nobody():
    charges, block = Charges(), Work(0, 100, "1", "")
    for _ in range(1000):
        assert charges.died(block, Cause.NODE) == [block]
    first, *_ = charges.died(block, Cause.TIMEOUT)
    for _ in range(1000):
        assert charges.died(first, Cause.NODE) == [first]


def test_memory_that_is_used_up_accuses_no_branch():
    charges = Charges()
    (first, *rest) = charges.died(Work(0, PIECES, "1", ""), Cause.TIMEOUT)
    for _ in range(1000):
        assert charges.died(first, Cause.MEMORY) == [first]
    for work in (first, *rest[:-1]):
        assert charges.survived(work, 0.01) == []
    (verdict,) = charges.survived(rest[-1], 0.01)
    assert verdict.lost == () and verdict.pieces == PIECES
    assert charges.seconds(verdict) == pytest.approx(0.01 * PIECES)


def test_where_everything_kills_the_branches_are_not_blamed():
    with pytest.raises(EvaluationError, match=r"block \[0, 2000\) kills its workers, and so did each of 32 parts"):
        run_down(dict.fromkeys(range(2000), Cause.CRASHED), Work(0, 2000, "1", ""), Charges())


def test_a_block_that_kills_without_a_branch_that_does_is_named():
    charges, block = Charges(), Work(0, 64, "1", "")
    for _ in range(MAX_TRIALS):
        for work in charges.died(block, Cause.TIMEOUT):
            charges.survived(work, 0.01)
    with pytest.raises(EvaluationError, match=r"block \[0, 64\) kills its workers, and none of its branches"):
        charges.died(block, Cause.TIMEOUT)


def test_a_run_that_loses_too_many_branches_stops():
    poison = dict.fromkeys(range(MAX_LOST // 2, 2 * MAX_LOST), Cause.CRASHED)
    with pytest.raises(EvaluationError, match="branches kill their workers or do not end"):
        run_down(poison, Work(0, 2 * MAX_LOST, "1", ""), Charges())


def test_patience_follows_what_is_predicted_seen_and_probed(prepared: Prepared):
    block = Work(0, 1000, "1", "")
    patience = Patience(prepared.bound, None)
    first = patience.limit(block, 0.0)
    assert LEAST_SECONDS < first < patience.limit(replace(block, hi=9000), 0.0)
    patience.saw(100.0)
    assert patience.limit(block, 0.0) == LEAST_SECONDS + 2000
    assert patience.limit(block, 300.0) == LEAST_SECONDS + 6000
    assert Patience(prepared.bound, 7.5).limit(block, 300.0) == 7.5


# ---------------------------------------------------------------- their rows, and what is said of them


class Losing(LocalExecutor):
    """Leaves branches out as if their workers had died."""

    def __init__(self, lost: dict[int, str]):
        super().__init__(1, CACHE)
        self.lost = lost

    def run(self, bound: BoundPlan, blocks: Iterable[Work]) -> Generator[Done]:
        return super().run(bound, (replace(work, lost=tuple(self.lost.items())) for work in blocks))


LOST = {0: "crashed", 1: "timeout", 40: "timeout", 41: "crashed", 42: "crashed"}


@pytest.mark.parametrize(
    "job",
    [
        TINY,
        TINY | {"require": {"is.max_drawdown": "<= 5%", "is.trades": ">= 10"}, "prune": True},
        TINY | {"prune": "forge"},
        TINY | {"execution": {"rebalance": "on_change"}},
        TINY | {"where": ["n < 4 or low > 40"]},
    ],
    ids=["plain", "proofs", "forge", "by what is held", "holes"],
)
def test_rows_of_lost_branches_say_so_and_leave_the_others_alone(job: dict[str, Any], tmp_path: Path):
    prepared = prepare(parse_job(job))
    expected = clean(prepared, tmp_path / "clean")
    lost = {branch: status for branch, status in LOST.items() if branch in expected["branch"]}
    assert len(lost) >= 2
    for size in (41, 64, 10_000):
        folder = tmp_path / str(size)
        result = execute(prepared, Losing(LOST), folder, block_size=size)
        check_poisoned(rows(Path(result.path)), expected, lost)
        assert {"crashed": result.crashed, "timeout": result.timeout} == Counter(lost.values())


def test_a_repair_leaves_them_out_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    result = execute(prepare(parse_job(TINY)), Losing(LOST), tmp_path, block_size=64)
    before = rows(Path(result.path))
    part = min(Path(result.path).glob("rows/*"), key=lambda path: int(path.name.partition("-")[0]))
    part.write_bytes(part.read_bytes()[:-9])
    told: list[tuple[tuple[int, str], ...]] = []
    run = LocalExecutor.run
    monkeypatch.setattr(
        LocalExecutor, "run", lambda self, bound, works: run(self, bound, (told.append(w.lost) or w for w in works))
    )
    repaired = repair(result.path, LocalExecutor(1, CACHE))
    assert (repaired.blocks, repaired.left, told) == (((0, 64),), (), [tuple(LOST.items())])
    assert rows(Path(result.path)).equals(before)


def test_what_is_said_of_lost_branches(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    result = execute(prepare(parse_job(TINY)), Losing(LOST), tmp_path)
    show_result(result)
    assert "branches, 3 crashed, 2 did not end in time, " in capsys.readouterr().out
    with Run(result.path) as run:
        found = run.branch(1)
        assert (found["status"], found["passed"], found["path"]) == ("timeout", False, None)
        assert set(found["nulls"].values()) == {"did not end in time"}
        assert not run.store.verify()
    show_branch(found)
    assert "timeout, did not end in time, not judged; path not followed" in capsys.readouterr().out
    commands.top(Path(result.path), by=None, n=3, where=None, as_json=False)
    assert capsys.readouterr().out.endswith("without metrics: 3 crashed, 2 did not end in time\n")
    commands.top(Path(result.path), by=None, n=3, where="status == 'crashed'", as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "by": "is_sharpe", "rows": [], "unranked": {"crashed": 3, "timeout": 2}
    }  # fmt: skip
    page = Path(write_report(Path(result.path)).path).read_text()
    assert "<b>3</b> crashed" in page and "<b>2</b> did not end in time" in page


def test_where_only_passing_branches_are_kept_lost_ones_are_counted(tmp_path: Path):
    job = TINY | {"keep": "passing", "require": {"is.max_drawdown": "<= 60%"}}
    result = execute(prepare(parse_job(job)), Losing(LOST), tmp_path)
    assert (result.crashed, result.timeout) == (3, 2)
    assert not set(rows(Path(result.path))["branch"]) & set(LOST)


# ---------------------------------------------------------------- too little memory, in one process


def written(folder: Path, work: Work, prepared: Prepared) -> bytes:
    (folder / "rows").mkdir(parents=True)
    done = do(replace(work, run_dir=str(folder)), prepared.bound, Cache(CACHE))
    return (folder / done.receipt.parts[0].path).read_bytes()


def test_a_block_in_pieces_has_the_same_file(prepared: Prepared, tmp_path: Path):
    work = Work(100, 1100, "1", "")
    assert work.cut(3) == [(100, 433), (433, 766), (766, 1100)]
    assert Work(0, 2, "1", "").cut(32) == [(0, 1), (1, 2)]
    whole = written(tmp_path / "whole", work, prepared)
    for pieces in (2, 7, PIECES):
        assert written(tmp_path / str(pieces), replace(work, pieces=pieces), prepared) == whole


def test_a_block_is_halved_until_memory_suffices(prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    work, asked = Work(0, 1000, "1", ""), []
    whole, evaluate = written(tmp_path / "whole", work, prepared), working.evaluate

    def short(bound: Any, lo: int, hi: int, cache: Cache, *rest: Any) -> Any:
        asked.append((hi - lo, cache.limit_bytes))
        if hi - lo > 300:
            raise MemoryError(f"{hi - lo} branches")
        return evaluate(bound, lo, hi, cache, *rest)

    monkeypatch.setattr(working, "evaluate", short)
    assert written(tmp_path / "short", work, prepared) == whole
    assert asked == [(1000, CACHE), (500, CACHE // 2), *[(250, CACHE // 4)] * 4]


@pytest.mark.parametrize("where", ["evaluate", "_counts", "encode_part"])
def test_memory_that_never_suffices_is_an_error_that_names_the_block(
    where: str, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(working, where, never)
    with pytest.raises(BlockMemoryError, match=r"block \[7, 8\): MemoryError: none"):
        do(Work(7, 8, "1", "/nowhere"), prepared.bound, Cache(CACHE))


def test_a_folder_of_the_same_name_on_another_node_is_not_that_of_the_run(prepared: Prepared, tmp_path: Path):
    """The same job was once run there; who holds its lock is another driver."""
    (tmp_path / "rows").mkdir()
    with closing(RunLock(tmp_path / LOCK)):
        here = Work(0, 40, "1", str(tmp_path), holder_of(tmp_path / LOCK))
        for elsewhere in (replace(here, holder=Holder(1, "head")), replace(here, run_dir="/nowhere")):
            done = do(elsewhere, prepared.bound, Cache(CACHE))
            assert done.payload is not None and not any((tmp_path / "rows").iterdir())
        assert do(here, prepared.bound, Cache(CACHE)).payload is None and any((tmp_path / "rows").iterdir())


def test_a_branch_alone_may_not_take_more_than_its_share(prepared: Prepared, monkeypatch: pytest.MonkeyPatch):
    ended = threading.Event()
    monkeypatch.setattr(working, "evaluate", lambda *rest: [np.ones(2**24), ended.wait(0.5), never()])
    monkeypatch.setattr(os, "_exit", lambda code: ended.set())
    for share, is_too_much in ((2**28, False), (2**26, True)):
        ended.clear()
        with pytest.raises(BlockMemoryError):
            probe(Work(7, 8, "1", ""), prepared.bound, Cache(CACHE), share)
        assert ended.is_set() == is_too_much


def never(*_: Any) -> None:
    raise MemoryError("none")


# ---------------------------------------------------------------- workers that die in vain


def test_those_that_die_together_count_once_and_those_that_go_on_dying_end_the_run(monkeypatch: pytest.MonkeyPatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(executing, "time", SimpleNamespace(monotonic=lambda: clock.now))
    dispatch = executing._Dispatch.__new__(executing._Dispatch)
    dispatch.in_vain, dispatch.paused_until = 0, -1.0
    for _ in range(32):
        dispatch._count_in_vain("their node went")
    assert dispatch.in_vain == 1 and dispatch.paused_until == 2
    assert dispatch._why_nobody() == "1 worker(s) died one after the other: their node went; no worker has come"
    for _ in range(MAX_IN_VAIN - 1):
        clock.now += LONGEST_PAUSE
        dispatch._count_in_vain("memory is used up")
    clock.now += LONGEST_PAUSE
    with pytest.raises(ClusterError, match=r"11 worker\(s\) died one after the other: memory is used up"):
        dispatch._count_in_vain("memory is used up")


def test_an_error_that_is_not_ours_says_what_it_is():
    task_error: Any = SimpleNamespace(cause=KeyError("AAPL"))
    assert str(executing._cause(task_error)) == "KeyError: 'AAPL'"


# ---------------------------------------------------------------- on a cluster of three nodes


@pytest.fixture(scope="module")
def cluster(pytestconfig: pytest.Config) -> Iterator[Cluster]:
    """Outside of a campaign it looks for lost nodes six times as often as Ray would by itself."""
    more = {} if pytestconfig.getoption("--campaign") else {"_system_config": {"health_check_period_ms": 500}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_memory_monitor_refresh_ms", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        cluster = Cluster(initialize_head=True, head_node_args=node_args() | more)
        for _ in range(2):
            cluster.add_node(**node_args())
        yield cluster
        cluster.shutdown()


def node_args() -> dict[str, Any]:
    return {"num_cpus": 1, "object_store_memory": STORE_BYTES, "memory": SHARE_BYTES, "include_dashboard": False}


def executor_on(cluster: Cluster, block_seconds: float | None = None) -> RayExecutor:
    return RayExecutor(3, CACHE, cluster.address, block_seconds=block_seconds)


def check_poisoned(got: pl.DataFrame, clean: pl.DataFrame, statuses: dict[int, str]) -> None:
    """Rows of a run with poison against those of one without."""
    is_lost = pl.col("branch").is_in([*statuses])
    assert got.filter(~is_lost).equals(clean.filter(~is_lost))
    lost = got.filter(is_lost)
    assert dict(lost.select("branch", "status").iter_rows()) == statuses
    assert lost.select(METRIC_COLUMNS).null_count().row(0) == (len(statuses),) * len(METRIC_COLUMNS)
    assert lost["path"].null_count() == len(statuses)
    assert not lost["passed"].any() and set(lost["failed_requirements"]) == {""}
    told = clean.columns[: clean.columns.index("path")]
    assert lost.select(told).equals(clean.filter(is_lost).select(told))


def test_poison_branches_are_found_and_the_others_are_as_ever(
    cluster: Cluster, rounds: Rounds, landed: Counter[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
):  # fmt: skip
    """They are accused at the end, when whatever else killed workers has had time to stop."""
    n = rounds(3, 20)
    prepared = prepare(parse_job(SMALL if n == 3 else LARGE))
    rng = random.Random(n)
    kinds = ["segfault", "loop", "hog", "abort", "kill"]
    poison = {b: kinds[k % 5] for k, b in enumerate(rng.sample(range(prepared.bound.plan.space.size), n))}
    statuses = {b: "timeout" if kind == "loop" else "crashed" for b, kind in poison.items()}
    expected = clean(prepared, tmp_path / "clean")
    plant(monkeypatch, poison)
    executor, before = executor_on(cluster, block_seconds=5 if n == 3 else 20), list[int]()

    def look(progress: Progress) -> None:
        if not any("is left out" in record.getMessage() for record in caplog.records):
            before.append(progress.branches)

    result = execute(prepared, executor, tmp_path, block_size=PIECES if n == 3 else 512, on_progress=look)
    assert max(before) > (0.7 if n == 3 else 0.5) * len(expected)
    check_poisoned(rows(Path(result.path)), expected, statuses)
    assert (result.branches, result.computed) == (len(expected),) * 2
    assert {"crashed": result.crashed, "timeout": result.timeout} == Counter(statuses.values())
    again = execute(prepared, executor, tmp_path)
    assert again.computed == 0 and again.crashed == result.crashed, "the rows are committed"
    landed.update(poison.values())
    assert executor.deaths[Cause.NODE] == 0


def test_a_worker_that_answers_before_it_dies_of_our_kill_is_charged_all_the_same(
    cluster: Cluster, prepared: Prepared, expected: pl.DataFrame, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    plant(monkeypatch, {4_321: "memory"})
    executor, kill, killed = executor_on(cluster), executing.ray.kill, list[Any]()

    def kill_it(actor: Any) -> None:
        with suppress(ActorHandleNotFoundError):  # the run is over by now
            kill(actor)

    def kill_later(actor: Any, no_restart: bool = True) -> None:
        if no_restart:
            kill(actor)  # at the end of the run
            return
        killed.append(actor)
        threading.Timer(0.3, kill_it, [actor]).start()

    monkeypatch.setattr(executing.ray, "kill", kill_later)
    result = execute(prepared, executor, tmp_path, block_size=512)
    check_poisoned(rows(Path(result.path)), expected, {4_321: "crashed"})
    assert executor.deaths == {Cause.CRASHED: len(killed)}, "each is charged"


def test_workers_that_answer_and_cannot_work_end_the_run(
    cluster: Cluster, prepared: Prepared, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """Such as those that do not reach the object store: their blocks go back, but not for ever."""

    class OutOfReach(BlockWorker):
        def do(self, job: Any, work: Any) -> Any:
            raise GetTimeoutError("the plan does not come")

    monkeypatch.setattr(crew, "BlockWorker", OutOfReach)
    monkeypatch.setattr(executing, "LONGEST_PAUSE", 0.01)
    executor = executor_on(cluster)
    text = r"11 worker\(s\) failed one after the other: worker \d+ answers, and cannot do its work: [^$]*does not come"
    with pytest.raises(ClusterError, match=text):
        execute(prepared, executor, tmp_path)
    assert not executor.deaths and committed(tmp_path / prepared.run_id) == 0


def test_a_worker_that_dies_while_it_starts_takes_no_block_along(
    cluster: Cluster, prepared: Prepared, expected: pl.DataFrame, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
):  # fmt: skip
    """Others, who have been at work for a while, go on after a pause."""
    path = tmp_path / prepared.run_id

    class DiesWhileItStarts(BlockWorker):
        def warm(self, kernels: tuple[str, ...]) -> None:
            super().warm(kernels)
            with suppress(FileNotFoundError):
                (tmp_path / "dies").unlink()
                while not any(path.glob("rows/*.parquet")):
                    time.sleep(0.01)
                os.kill(os.getpid(), signal.SIGKILL)

    (tmp_path / "dies").touch()
    monkeypatch.setattr(crew, "BlockWorker", DiesWhileItStarts)
    result = execute(prepared, executor_on(cluster), tmp_path, block_size=48)
    assert not (tmp_path / "dies").exists()
    assert rows(Path(result.path)).equals(expected)
    assert result.cost.workers_lost == 1
    assert "a worker died while it started: The actor died" in caplog.text


def test_workers_killed_while_they_work_lose_and_double_nothing(
    cluster: Cluster, prepared: Prepared, expected: pl.DataFrame, rounds: Rounds, landed: Counter[str],
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
):  # fmt: skip
    plant(monkeypatch, {}, seconds=0.1)
    n, per_run, rng = rounds(10, 300), 10, random.Random(1)
    for k in range(n // per_run):
        executor, killed = executor_on(cluster), list[int]()

        def kill(progress: Progress, executor: RayExecutor = executor, killed: list[int] = killed) -> None:
            there = [pid for pid in executor.pids if pid not in killed]
            if there and len(killed) < per_run and progress.branches < 0.9 * progress.total:
                os.kill(pid := rng.choice(there), signal.SIGKILL)
                killed.append(pid)

        result = execute(prepared, executor, tmp_path / str(k), block_size=96, on_progress=kill)
        assert rows(Path(result.path)).equals(expected)
        assert result.crashed == 0 and len(killed) == per_run
        assert executor.deaths == {Cause.CRASHED: per_run}, "each landed on a block"
        landed["killed on a block"] += executor.deaths[Cause.CRASHED]


def test_workers_killed_at_any_time_lose_and_double_nothing(
    cluster: Cluster, prepared: Prepared, expected: pl.DataFrame, rounds: Rounds, landed: Counter[str],
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
):  # fmt: skip
    """Also while they start, and whatever they do of what deaths lead to."""
    plant(monkeypatch, {}, seconds=0.1)
    for k in range(rounds(1, 30)):
        executor, chance, is_over = executor_on(cluster), random.Random(k), threading.Event()

        def kill(
            executor: RayExecutor = executor, chance: random.Random = chance, is_over: threading.Event = is_over
        ) -> None:
            for _ in range(8):
                if is_over.wait(chance.uniform(0.1, 0.8)):
                    return
                with suppress(psutil.NoSuchProcess):
                    family = psutil.Process().children(recursive=True)
                    if workers := [process for process in family if process.name().startswith("ray::Poisoned")]:
                        starting = [process for process in workers if process.pid not in executor.pids]
                        chance.choice(starting or workers).kill()
                        landed["killed while it started" if starting else "killed at work"] += 1

        (killer := threading.Thread(target=kill)).start()
        try:
            result = execute(prepared, executor, tmp_path / str(k), block_size=96)
        finally:
            is_over.set()
            killer.join()
        assert rows(Path(result.path)).equals(expected)
        assert result.crashed == 0
        landed["told"] += result.cost.workers_lost
        landed["blocks given to others"] += result.cost.blocks_retried
    assert landed["told"]


def test_data_larger_than_the_object_store_work_and_it_is_said_before(
    cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    prepared = prepare(parse_job(SMALL))
    expected = clean(prepared, tmp_path / "clean")
    bound = replace(prepared.bound)
    object.__setattr__(bound, "ballast", np.arange(2 * STORE_BYTES // 8, dtype=np.float64))
    told: list[str] = []
    result = execute(
        replace(prepared, bound=bound), executor_on(cluster), tmp_path, block_size=256,
        on_progress=lambda progress: told.extend(r.getMessage() for r in caplog.records if not told),
    )  # fmt: skip
    assert rows(Path(result.path)).equals(expected)
    assert f"the object store of a node holds {STORE_BYTES:,}: Ray spills" in told[0]
    assert "the plan and its panel are 16" in told[0]


def test_a_driver_that_was_held_up_takes_no_worker_for_hanging(
    cluster: Cluster, prepared: Prepared, expected: pl.DataFrame, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    executor, held_up = executor_on(cluster, block_seconds=900), list[int]()
    monotonic = time.monotonic

    def hold_up(progress: Progress) -> None:
        if not held_up and progress.branches > progress.total // 2:
            held_up.append(progress.branches)
            time.sleep(3)  # all that is in flight is done
            clock = SimpleNamespace(monotonic=lambda: monotonic() + 1000, sleep=time.sleep)
            monkeypatch.setattr("forge_ray.cluster.ray_executor.time", clock)
            monkeypatch.setattr("forge_ray.cluster.crew.time", clock)

    result = execute(prepared, executor, tmp_path, block_size=512, on_progress=hold_up)
    assert held_up[0] < len(expected) and not executor.deaths
    assert rows(Path(result.path)).equals(expected)


@pytest.mark.parametrize("is_announced", [False, True], ids=["suddenly", "preempted"])
def test_a_node_that_is_lost_is_noticed_and_charged_to_no_block(
    is_announced: bool, cluster: Cluster, prepared: Prepared, expected: pl.DataFrame, rounds: Rounds,
    landed: Counter[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture,
):  # fmt: skip
    plant(monkeypatch, {}, seconds=0.1)
    for k in range(rounds(1, 20)):
        if len(cluster.worker_nodes) < 2:
            cluster.add_node(**node_args())
        node = [*cluster.worker_nodes][k % 2]
        executor, removed = executor_on(cluster), list[float]()

        def remove(progress: Progress, node: Any = node, removed: list[float] = removed) -> None:
            if not removed and progress.branches > progress.total // 4:
                removed.append(time.time())
                if is_announced:
                    in_a_minute, client = 1000 * int(time.time() + 60), GcsClient(address=cluster.address)
                    assert client.drain_node(node.node_id, DRAIN_NODE_REASON_PREEMPTION, "sold", in_a_minute)[0]
                cluster.remove_node(node, allow_graceful=False)

        caplog.clear()
        result = execute(prepared, executor, tmp_path / str(k), block_size=96, on_progress=remove)
        assert rows(Path(result.path)).equals(expected)
        assert executor.deaths == {Cause.NODE: 1} and result.crashed == 0
        (noticed,) = [record.created for record in caplog.records if str(Cause.NODE) in record.getMessage()]
        assert removed and noticed - removed[0] < 60
        landed["node with a block"] += 1
        landed["seconds until noticed"] += round(noticed - removed[0])
