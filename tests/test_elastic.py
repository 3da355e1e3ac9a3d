"""Workers follow a cluster that was joined: they begin with the room that is there, more join when there is more, and
never take what others use. Workers of several threads, and how they share a block.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ray.cluster_utils import Cluster

from forge_ray.cluster import crew as crews
from forge_ray.cluster import ray_executor as executing
from forge_ray.cluster import work as working
from forge_ray.cluster.crew import ClusterError, OwnCrew
from forge_ray.cluster.ray_executor import RayExecutor, ray
from forge_ray.cluster.suspects import Cause
from forge_ray.cluster.work import Work, do
from forge_ray.cluster.worker import BlockWorker, Report
from forge_ray.engine import Cache, Tally, projected_bytes, projected_seconds
from forge_ray.errors import InputError
from forge_ray.run import Prepared, Progress, choose_executor, execute, prepare, session
from forge_ray.sweep import parse_job
from poison import plant
from runs import CACHE, JOB, clean, rows, wait_for

SMALL = JOB | {"axes": {"n": "2..9", "low": "20..60 by 1", "stock": ["AAPL", "MSFT"], "calm": [0.8, 1.2, 1.6]}}
NODE = {"object_store_memory": 80 * 2**20, "include_dashboard": False}


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(parse_job(SMALL))


@pytest.fixture(scope="module")
def expected(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    return clean(prepared, tmp_path_factory.mktemp("clean"))


# ---------------------------------------------------------------- how many, and who is asked


class Counting(OwnCrew):
    """Counts whom it would start."""

    def _hire(self) -> Any:
        self.actors.append(actor := object())
        return actor


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the autoscaler is asked for; it is asked all the same."""
    seen, ask = list[Any](), crews.request_resources

    def spy(**what: Any) -> None:
        seen.append(what)
        if ray.is_initialized():
            ask(**what)

    monkeypatch.setattr(crews, "request_resources", spy)
    return seen


def free_cpus(monkeypatch: pytest.MonkeyPatch, *free: float, total: float) -> None:
    nodes = {str(k): {"CPU": cpus} if cpus else {} for k, cpus in enumerate(free)}
    monkeypatch.setattr(crews, "available_resources_per_node", lambda: nodes)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": total})


@pytest.mark.parametrize(
    ("free", "threads", "n_coming", "room"),
    [
        ((1, 2, 0, 1.5), 1, 0, 4),
        ((1, 2, 0, 1.5), 1, 3, 1),
        ((1, 2), 1, 9, 0),
        ((3, 1, 4, 0.5), 2, 0, 3),
        ((1, 1, 1), 2, 0, 0),
        ((), 1, 0, 0),
    ],
)
def test_there_is_a_worker_for_each_free_slot_of_a_node(
    free: tuple[float, ...], threads: int, n_coming: int, room: int, monkeypatch: pytest.MonkeyPatch, asked: list[Any]
):
    free_cpus(monkeypatch, *free, total=99)
    assert len(Counting(None, CACHE, "there", threads=threads).recruit(n_coming)) == room
    assert len(Counting(2, CACHE, "there", threads=threads).recruit(n_coming)) == min(room, 2)
    assert Counting(None, CACHE, None, threads=threads).recruit(n_coming) == [], "an embedded cluster has its size"
    assert not asked or room < 2


def test_room_is_asked_for_besides_what_others_use_until_it_is_there(monkeypatch: pytest.MonkeyPatch, asked: list[Any]):
    crew, two = Counting(4, CACHE, "there", threads=2), {"CPU": 2}
    free_cpus(monkeypatch, 2, 1, total=6.5)
    assert len(crew.recruit(0)) == 1
    assert asked.pop() == {"bundles": [two] * 4 + [{"CPU": 1}] * 4}, "3.5 CPUs are not ours"
    free_cpus(monkeypatch, 0, 1, total=6.5)
    assert crew.recruit(0) == []
    assert asked.pop() == {"bundles": [two] * 4 + [{"CPU": 1}] * 4}, "again: another driver may have asked since"
    free_cpus(monkeypatch, 0, 1, 8, total=14.5)
    assert len(crew.recruit(0)) == 3
    assert asked == [{"num_cpus": 0}]
    assert crew.recruit(0) == [] and len(asked) == 1
    free_cpus(monkeypatch, 0, 1, 0, total=14.5)
    assert crew.recruit(3) == [] and len(asked) == 1, "all are on their way"
    crew.actors.clear()  # they are none of Ray's
    crew.keep([])
    assert len(asked) == 1, "nobody withdraws what he has not asked for"


def test_who_dies_with_its_node_is_replaced_where_there_is_room():
    joined, embedded = Counting(2, CACHE, "there"), Counting(2, CACHE, None)
    for crew in (joined, embedded):
        crew._hire()
        assert crew.replace(crew.actors[0], with_node=False) == crew.actors[0]
    assert joined.replace(joined.actors[0], with_node=True) is None and joined.actors == []
    assert embedded.replace(embedded.actors[0], with_node=True) == embedded.actors[0]


# ---------------------------------------------------------------- on a cluster that grows


@pytest.fixture(scope="module")
def joined() -> Iterator[Cluster]:
    """Of one CPU; joined by this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_memory_monitor_refresh_ms", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        cluster = Cluster(initialize_head=True, head_node_args=NODE | {"num_cpus": 1})
        ray.init(address=cluster.address, log_to_driver=False)
        yield cluster
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture
def cluster(joined: Cluster) -> Cluster:
    """As nobody uses it: Ray tells of CPUs that are free again a moment later."""
    wait_for(
        lambda: ray.available_resources().get("CPU") == ray.cluster_resources()["CPU"], "CPUs are in use", seconds=30
    )
    return joined


def takes_a_cpu() -> Any:
    """Somebody else's actor."""
    remote: Any = ray.remote(num_cpus=1)(BlockWorker)
    actor = remote.remote(CACHE)
    assert ray.get(actor.where.remote(), timeout=60)
    return actor


def reports(executor: RayExecutor) -> list[Report]:
    assert isinstance(executor.crew, OwnCrew)
    return ray.get([actor.report.remote() for actor in executor.crew.actors], timeout=60)


def test_without_any_room_a_run_waits_and_then_gives_up(
    cluster: Cluster, prepared: Prepared, expected: pl.DataFrame, tmp_path: Path, landed: Counter[str],
    caplog: pytest.LogCaptureFixture,
):  # fmt: skip
    other, executor = takes_a_cpu(), RayExecutor(None, CACHE, cluster.address)
    executor.crew.start_seconds = 1
    with pytest.raises(ClusterError, match="0 CPUs of the cluster are free, and no worker has started within 1 s"):
        execute(prepared, executor, tmp_path)
    assert "the cluster has no room yet" in caplog.text
    began = time.monotonic()
    threading.Timer(1, ray.kill, [other]).start()
    result = execute(prepared, RayExecutor(None, CACHE, cluster.address), tmp_path)
    assert rows(Path(result.path)).equals(expected)
    assert time.monotonic() - began > 1
    landed["waited for room"] += 1


def test_the_last_block_of_a_lost_node_is_done_once_there_is_room(
    cluster: Cluster, prepared: Prepared, expected: pl.DataFrame, tmp_path: Path, landed: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    plant(monkeypatch, {}, seconds=0.5)
    monkeypatch.setattr(executing, "_cause_of_death", lambda *_: Cause.NODE)
    executor = RayExecutor(None, CACHE, cluster.address)

    def lose(progress: Progress) -> None:
        if progress.branches < progress.total:
            os.kill(executor.pids[0], signal.SIGKILL)

    result = execute(prepared, executor, tmp_path, block_size=prepared.bound.plan.space.size // 2, on_progress=lose)
    assert rows(Path(result.path)).equals(expected)
    landed["lost with the last block"] += executor.deaths[Cause.NODE]


def test_an_actor_that_never_came_leaves_no_word_among_the_results(
    cluster: Cluster, prepared: Prepared, expected: pl.DataFrame, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    """Ray says on stdout that it tries a call again, also one of an actor that it has been told to end."""
    result = execute(prepared, RayExecutor(2, CACHE), tmp_path)
    assert rows(Path(result.path)).equals(expected)
    time.sleep(1)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("fails", [True, False])
def test_a_run_begins_with_what_is_there_and_withdraws_its_request(
    fails: bool, cluster: Cluster, prepared: Prepared, expected: pl.DataFrame, tmp_path: Path, asked: list[Any],
    landed: Counter[str],
):  # fmt: skip
    executor = RayExecutor(3, CACHE, cluster.address)

    def look(progress: Progress) -> None:
        assert len(executor.pids) == 1
        landed["blocks while two were missing"] += 1
        if fails:
            raise RuntimeError("the disk is full")

    if fails:
        with pytest.raises(RuntimeError, match="full"):
            execute(prepared, executor, tmp_path, on_progress=look)
    else:
        result = execute(prepared, executor, tmp_path, on_progress=look)
        assert rows(Path(result.path)).equals(expected)
    assert len(asked) >= 2 and asked[-1] == {"num_cpus": 0}
    assert all(what == {"bundles": [{"CPU": 1}] * 3} for what in asked[:-1])


def test_a_node_that_joins_in_the_middle_gets_workers_and_others_keep_theirs(
    cluster: Cluster, prepared: Prepared, expected: pl.DataFrame, tmp_path: Path, landed: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    plant(monkeypatch, {}, seconds=0.3)
    executor, added, seen = RayExecutor(None, CACHE, cluster.address), list[Any](), list[Report]()

    def grow(progress: Progress) -> None:
        assert len(executor.crew.actors) <= (3 if added else 1)  # type: ignore[attr-defined]
        if not added:
            assert len(executor.pids) == 1
            added.extend([cluster.add_node(**NODE, num_cpus=3), takes_a_cpu()])
        if not seen and progress.branches > 0.9 * progress.total:
            seen.extend(reports(executor))

    result = execute(prepared, executor, tmp_path, block_size=48, on_progress=grow)
    assert rows(Path(result.path)).equals(expected)
    first, *joined = sorted(seen, key=lambda report: -report.seconds)
    assert len(joined) == 2 and min(report.blocks for report in joined) > 0 and first.blocks > 0
    assert not executor.deaths
    landed["blocks of workers that joined"] += sum(report.blocks for report in joined)
    ray.kill(added[1])


def test_a_worker_of_two_threads_takes_two_cpus_and_gives_the_same_rows(
    cluster: Cluster, prepared: Prepared, expected: pl.DataFrame, tmp_path: Path, landed: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    plant(monkeypatch, {}, seconds=0.1)
    executor, in_use = RayExecutor(1, CACHE, cluster.address, threads=2), list[float]()

    def look(progress: Progress) -> None:
        in_use.append(ray.cluster_resources()["CPU"] - ray.available_resources().get("CPU", 0))

    result = execute(prepared, executor, tmp_path, block_size=256, on_progress=look)
    assert rows(Path(result.path)).equals(expected)
    assert max(in_use) == 2 and set(in_use) <= {0, 2}
    landed["blocks in two parts"] += len(in_use)


# ---------------------------------------------------------------- several threads, one cache


def written(folder: Path, work: Work, prepared: Prepared, threads: int, cache: Cache) -> tuple[bytes, Tally]:
    (folder / "rows").mkdir(parents=True)
    receipt = do(replace(work, run_dir=str(folder)), prepared.bound, cache, threads).receipt
    return (folder / receipt.parts[0].path).read_bytes(), Tally.read(receipt.counts)


@pytest.mark.parametrize("pieces", [1, 3])
def test_threads_do_parts_of_a_block_at_once_into_the_same_file(
    pieces: int, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """At once: each waits for the other before it begins."""
    work, parts, together = Work(100, 1100, "1", "", pieces=pieces), list[tuple[int, int]](), threading.Barrier(2)
    whole, alone = written(tmp_path / "one", work, prepared, 1, Cache(CACHE))
    evaluate = working.evaluate

    def both(bound: Any, lo: int, hi: int, *rest: Any) -> Any:
        together.wait(30)
        parts.append((lo, hi))
        return evaluate(bound, lo, hi, *rest)

    monkeypatch.setattr(working, "evaluate", both)
    cache = Cache(CACHE)
    file, tally = written(tmp_path / "two", work, prepared, 2, cache)
    assert file == whole
    assert sorted(parts) == work.cut(2 * pieces)
    assert tally.hits.total() + tally.misses.total() >= alone.hits.total() + alone.misses.total()
    assert all(tally.us[stage] for stage in ("other", "encode", "simulate")), "both threads are counted"


def test_a_thread_that_runs_out_of_memory_halves_the_parts_of_all(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    work, sizes = Work(0, 1000, "1", ""), Counter[tuple[int, int]]()
    whole, _ = written(tmp_path / "one", work, prepared, 1, Cache(CACHE))
    evaluate = working.evaluate

    def short(bound: Any, lo: int, hi: int, cache: Cache, *rest: Any) -> Any:
        sizes[hi - lo, cache.limit_bytes] += 1
        if lo >= 500 and hi - lo > 250:
            raise MemoryError(f"{hi - lo} branches")
        return evaluate(bound, lo, hi, cache, *rest)

    monkeypatch.setattr(working, "evaluate", short)
    assert written(tmp_path / "two", work, prepared, 2, Cache(CACHE))[0] == whole
    assert sizes == {(500, CACHE): 2, (250, CACHE // 2): 4}


def test_the_plan_knows_threads(prepared: Prepared):
    bound = prepared.bound
    one, shared, apart = (projected_bytes(bound, *of) for of in ((1, CACHE, 512), (1, CACHE, 512, 2), (2, CACHE, 512)))
    assert one < shared < apart, "two threads share process and cache"
    assert projected_seconds(bound, 1, 8, 2) == projected_seconds(bound, 2, 8)
    assert projected_seconds(bound, 8, 1, 2) == projected_seconds(bound, 1, 1) / 2


def test_threads_of_workers_that_are_threads_are_refused():
    for make in (choose_executor, session().executor):
        with pytest.raises(InputError, match="threads: got 2; allowed: 1, without Ray the workers are threads"):
            make(ray=False, threads=2)
        with pytest.raises(InputError, match="threads: got 0; allowed: 1 and more"):
            make(ray=True, threads=0)
