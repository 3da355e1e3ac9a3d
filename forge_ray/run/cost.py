"""What a run cost: where the time went, how often what was needed was there already, and what had been predicted.

No part of a row or of the run's identity. The figures of blocks are committed with them, so those of a run that went on
after a kill are all there; what only the driver knows is of the call that finished the run.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import msgspec

from forge_ray.cluster.work import Done
from forge_ray.engine import Tally
from forge_ray.store import LocalStore

ELAPSED = "elapsed_us"
"""Of the counts of blocks: see `timed`."""
LEAST = 0.01
"""Share of the time below which a stage is not named in words."""


class Cost(msgspec.Struct, frozen=True):
    """Seconds.

    evaluated : of all workers in blocks, which went into `stages`, longest first. predicted : the same, before any
    work; None while the run is not finished. found : by kind of cached value, how often it was there and how often it
    was asked for. start : until the workers began. commit : of the driver. wall : of the call. blocks_retried : given
    to others, as their worker was one of the workers_lost.
    """

    evaluated: float
    stages: dict[str, float]
    found: dict[str, tuple[int, int]]
    predicted: float | None = None
    start: float | None = None
    commit: float | None = None
    wall: float | None = None
    workers_lost: int = 0
    blocks_retried: int = 0

    def lines(self) -> list[str]:
        """In words; nothing for a run that tells no stages."""
        if not self.stages:
            return []
        shares = [f"{stage} {t / self.evaluated:.0%}" for stage, t in self.stages.items() if t > LEAST * self.evaluated]
        predicted = "" if self.predicted is None else f" (predicted {self.predicted:.1f} s)"
        lines = [f"{self.evaluated:.1f} s in blocks{predicted}: {', '.join(shares)}"]
        if self.wall is not None:
            lines.append(
                f"{self.wall:.1f} s in all, {self.start:.1f} s until the workers began, {self.commit:.1f} s for commits"
            )
        if known := [f"{kind} {hits / n:.0%} of {n:,}" for kind, (hits, n) in self.found.items()]:
            lines.append(f"found in the cache: {', '.join(known)}")
        if self.workers_lost:
            lines.append(f"{self.workers_lost:,} worker(s) lost, {self.blocks_retried:,} block(s) given to others")
        return lines


def cost_of(store: LocalStore) -> Cost:
    """Of what is committed. Without stages if the run was made before blocks told them."""
    counts = store.counts()
    tally = Tally.read(counts)
    driver: dict[str, Any] = store.summary().get("cost", {}) if store.finished else {}
    asked = tally.hits + tally.misses
    return Cost(
        evaluated=tally.us.total() / 1e6,
        stages={stage: us / 1e6 for stage, us in tally.us.most_common()},
        found={kind: (tally.hits[kind], n) for kind, n in asked.most_common()},
        blocks_retried=counts.get("blocks_retried", 0),
        workers_lost=counts.get("workers_lost", 0),
        **driver,
    )


def timed(finished: Iterable[Done | None]) -> Iterator[Done | None]:
    """Blocks as they finish, and the None between them, with the microseconds since the one before in their counts.

    They add up to the time in which drivers worked on the run, whatever a clock on the wall did meanwhile and however
    long nobody worked on it. The start of the workers is not in it: the first block counts with its own seconds.
    """
    before: float | None = None
    for done in finished:
        if done is None:
            yield None
            continue
        seconds = done.receipt.seconds if before is None else time.monotonic() - before
        before = time.monotonic()
        counts = done.receipt.counts | {ELAPSED: round(1e6 * seconds)}
        yield replace(done, receipt=msgspec.structs.replace(done.receipt, counts=counts))
