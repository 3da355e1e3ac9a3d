"""What a run counts for Prometheus, through `ray.util.metrics`, and what it lost on the way.

All of it is counted by the driver, from the receipts of finished blocks: a block that is done again counts once, and a
worker that is killed takes nothing along that was not sent yet. Ray sends what has changed every ten seconds and when
the driver leaves, and the agent of its node shows it as ``ray_forge_…`` on its metrics port.

A process counts for its first connection to Ray only: at a second one Ray (2.60) leaves the sender of the first at work
beside the new one, and everything arrives twice.

Labels: the first digits of the run id, a stage, a kind of cached value; so their number does not grow with the work.
Seconds are counters: of Ray's histograms the sum is wrong.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import cache

import msgspec
import ray
from ray.util import metrics

from forge_ray.cluster.logs import about_work, log_again, run_at_work
from forge_ray.cluster.suspects import Cause
from forge_ray.cluster.work import Done, Work
from forge_ray.engine import Tally

log = logging.getLogger(__name__)

RUN_DIGITS = 8
BLOCKS_RETRIED, WORKERS_LOST = "blocks_retried", "workers_lost"
COUNTED = {
    "branches": "branches evaluated",
    "passed": "branches that passed",
    "distinct_in_block": "position paths that differ within their block",
    BLOCKS_RETRIED: "blocks given to another worker because theirs was lost",
    WORKERS_LOST: "workers that died or went with their node, also while they started",
}
"""Names of counts of a receipt that are counted here too, and what they are."""


class Losses:
    """Workers lost and blocks given to others since the last block that finished."""

    def __init__(self) -> None:
        self.since: Counter[str] = Counter()

    def worker(self, pid: int, work: Work, cause: Cause) -> None:
        """A worker died on some work."""
        self.since[WORKERS_LOST] += 1
        with about_work(work):
            log.warning("worker %d died on %s: %s", pid, work, cause)

    def start(self, error: Exception) -> None:
        """A worker died before it could begin."""
        self.since[WORKERS_LOST] += 1
        log.warning("a worker died while it started: %s", str(error).partition("\n")[0])

    def blocks(self, n: int) -> None:
        """So many blocks have to be given to others."""
        self.since[BLOCKS_RETRIED] += n

    def taken(self) -> dict[str, int]:
        """The counts, which begin anew."""
        counts = dict(self.since)
        self.since.clear()
        return counts


def counted(finished: Generator[Done | None], losses: Losses) -> Iterator[Done | None]:
    """Blocks as they finish, and the None between them. What was lost before each is in its counts, so that it is
    committed with it. What their workers logged is logged here."""
    counters = RunCounters(run_at_work() or "") if _connection() == _first_connection() else None
    if counters is None:
        log.info("nothing is counted for Prometheus, as this process was connected to Ray before")
    with closing(finished):
        for done in finished:
            if done is None:
                yield None
                continue
            log_again(done.records)
            counts = done.receipt.counts | losses.taken()
            if counters:
                counters.add(counts)
            yield replace(done, receipt=msgspec.structs.replace(done.receipt, counts=counts))


def _connection() -> tuple[str, str]:
    context = ray.get_runtime_context()
    return context.get_node_id(), context.get_job_id()


@cache
def _first_connection() -> tuple[str, str]:
    return _connection()


class RunCounters:
    """The counters of a run. run : its id."""

    def __init__(self, run: str):
        self.run = run[:RUN_DIGITS]
        self.blocks = _counter("blocks", "blocks finished")
        self.counted = {name: _counter(name, text) for name, text in COUNTED.items()}
        self.hits = _counter("cache_hits", "values that a cache had", "kind")
        self.misses = _counter("cache_misses", "values that a cache had not", "kind")
        self.seconds = _counter("stage_seconds", "time in blocks, of all workers", "stage")

    def add(self, counts: Mapping[str, int]) -> None:
        """Those of one block."""
        tally = Tally.read(counts)
        self._add(self.blocks, 1)
        for name, counter in self.counted.items():
            self._add(counter, counts.get(name, 0))
        for counter, by_kind in ((self.hits, tally.hits), (self.misses, tally.misses)):
            for kind, n in by_kind.items():
                self._add(counter, n, kind=kind)
        for stage, us in tally.us.items():
            self._add(self.seconds, us / 1e6, stage=stage)

    def _add(self, counter: metrics.Counter, n: float, **labels: str) -> None:
        if n:  # Ray counts only what is more than nothing
            counter.inc(n, {"run": self.run, **labels})


def _counter(name: str, text: str, *labels: str) -> metrics.Counter:
    return metrics.Counter(f"forge_{name}_total", text, ("run", *labels))
