"""What a run says of its cost: seconds by stage, hits of the cache, the prediction; everything counted once."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from forge_ray.cluster.local import LocalExecutor
from forge_ray.engine import Cache, Tally, evaluate, projected_seconds
from forge_ray.report import write_report
from forge_ray.run import Cost, Prepared, Progress, cost_of, execute, prepare
from forge_ray.store import LocalStore
from forge_ray.sweep import parse_job
from test_exactness import JOB, space

CACHE = 2**26
STAGES = {"series", "allocation", "sleeves", "planes", "simulate", "finalize", "rows", "encode", "other"}


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(parse_job(JOB))


def test_time_inside_a_stage_is_that_of_the_innermost():
    tally = Tally()
    began = time.perf_counter()
    with tally.stage("outer"):
        time.sleep(0.02)
        with tally.stage("inner"):
            time.sleep(0.05)
            with tally.stage("outer"):
                time.sleep(0.01)
        time.sleep(0.02)
    whole = 1e6 * (time.perf_counter() - began)
    assert tally.us["inner"] >= 50_000 and tally.us["outer"] >= 50_000
    assert whole - 1_000 < tally.us.total() <= whole


def test_a_stage_that_fails_is_closed():
    tally = Tally()
    with tally.stage("outer"), pytest.raises(ValueError, match="no"), tally.stage("inner"):
        raise ValueError("no")
    time.sleep(0.01)
    assert tally.us.total() < 10_000


def test_counts_of_a_tally_read_back_among_others():
    tally = Tally()
    tally.us["of_equity"], tally.hits["bits"], tally.misses["bits"] = 5, 2, 1
    counts = {"branches": 7, "ok": 7, "passed": 3} | tally.counts()
    again = Tally.read(counts)
    assert (again.us, again.hits, again.misses) == (tally.us, tally.hits, tally.misses)


def test_every_value_that_is_asked_for_is_a_hit_or_a_miss():
    """A miss is a value that was made; a second evaluation of the same block makes none."""
    cache, cold, warm = Cache(CACHE), Tally(), Tally()
    evaluate(space(), 0, space().plan.space.size, cache, cold)
    evaluate(space(), 0, space().plan.space.size, cache, warm)
    assert {kind: n for kind, (n, _) in cache.contents().items()} == dict(cold.misses)
    assert not warm.misses.total()
    assert warm.hits["sleeves"] == cold.hits["sleeves"] + cold.misses["sleeves"]


def test_blocks_add_up_whoever_counts_them(prepared: Prepared, tmp_path: Path):
    """Threads share a cache and not the count: together they asked as often as one alone."""
    alone, together = (execute(prepared, LocalExecutor(n, CACHE), tmp_path / str(n), block_size=3).cost for n in (1, 4))
    assert set(alone.stages) >= STAGES
    assert {kind: n for kind, (_, n) in alone.found.items()}["sleeves"] == dict(together.found)["sleeves"][1]
    assert all(0 <= hits <= n for hits, n in together.found.values())


def test_the_stages_of_a_run_are_those_of_its_blocks(prepared: Prepared, tmp_path: Path):
    result = execute(prepared, LocalExecutor(1, CACHE), tmp_path, block_size=3)
    cost = result.cost
    assert cost.evaluated == pytest.approx(sum(cost.stages.values()))
    assert list(cost.stages.values()) == sorted(cost.stages.values(), reverse=True)
    assert cost.wall and cost.commit and cost.start is not None and cost.predicted
    assert 0 < cost.commit < cost.wall < result.seconds + 0.1
    assert 0 < cost.evaluated < cost.wall, "one thread cannot work longer than the call takes"


class Stop(Exception):  # noqa: N818
    pass


def test_a_run_that_went_on_tells_the_cost_of_all_its_blocks(prepared: Prepared, tmp_path: Path):
    def stop(progress: Progress) -> None:
        raise Stop

    with pytest.raises(Stop):
        execute(prepared, LocalExecutor(1, CACHE), tmp_path, block_size=3, on_progress=stop)
    store = LocalStore.read(tmp_path / prepared.run_id)
    first = cost_of(store)
    store.close()
    assert first.evaluated > 0 and first.predicted is None
    whole = execute(prepared, LocalExecutor(1, CACHE), tmp_path).cost
    asked, once = dict(whole.found)["sleeves"][1], dict(first.found)["sleeves"][1]
    fresh = execute(prepared, LocalExecutor(1, CACHE), tmp_path / "fresh", block_size=3).cost
    assert once < asked == dict(fresh.found)["sleeves"][1]
    again = execute(prepared, LocalExecutor(1, CACHE), tmp_path)
    assert again.computed == 0 and again.cost == whole


def test_the_cost_is_told_at_the_end_of_a_run_and_in_its_report(tmp_path: Path):
    job = Path(__file__).parent.parent / "jobs" / "branches77.json"
    command = [sys.executable, "-m", "forge_ray.cli.main", "run", str(job), "--local", "--out", str(tmp_path)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (run,) = tmp_path.iterdir()
    store = LocalStore.read(run)
    lines = cost_of(store).lines()
    store.close()
    assert len(lines) == 3 and all(line in told for line in lines)
    page = Path(write_report(run, tmp_path / "page.html").path).read_text()
    assert all(line in page for line in lines)
    again = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "s in blocks" not in again


def test_words_of_a_cost():
    cost = Cost(10.0, {"simulate": 9.0, "rows": 0.95, "other": 0.05}, {"bits": (3, 4)}, 8.0, 1.0, 0.5, 7.25)
    assert cost.lines() == [
        "10.0 s in blocks (predicted 8.0 s): simulate 90%, rows 10%",
        "7.2 s in all, 1.0 s until the workers began, 0.5 s for commits",
        "found in the cache: bits 75% of 4",
    ]
    lost = Cost(10.0, {"simulate": 10.0}, {}, workers_lost=1, blocks_retried=2)
    assert lost.lines()[1:] == ["1 worker(s) lost, 2 block(s) given to others"]
    assert Cost(0.0, {}, {}).lines() == []


def test_workers_without_a_block_do_not_shorten_the_prediction():
    alone = projected_seconds(space(), 1, 1)
    assert projected_seconds(space(), 8, 1) == alone
    assert projected_seconds(space(), 2, 4) < projected_seconds(space(), 1, 4)
