"""Blocks whose workers die: what is done again, and which branches it was. Knows nothing of Ray.

1. A block that lost a worker is done again, in smaller pieces and with a smaller part of the cache, in case memory was
   short. At its `MAX_DEATHS`-th, or once it takes too long, it is a suspect.
2. A suspect is cut into `PIECES` probes: ranges that a worker evaluates to return nothing but how long it took. Wide
   pieces, since a death costs seconds and a probe milliseconds.
3. A probe that survives clears its branches. One that dies is cut in the same way.
4. A branch whose probe died is probed again at the end of the run: whatever else may be killing workers has had time
   to stop. At the `MAX_DEATHS`-th death it is lost, with how the last one died as its status. Of memory that ran out on
   the whole node none is accused: it may be somebody else's.
5. Without a probe left, the block is done without the lost branches, in as many pieces.

Probes go wide before deep: if not one has survived where `PIECES` have died, it is not the branches' fault.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from enum import StrEnum

from forge_ray.cluster.work import Work
from forge_ray.errors import EvaluationError

log = logging.getLogger(__name__)

PIECES = 32
MAX_DEATHS = 2
MAX_TRIALS = 3
"""How often a block may become a suspect."""
MAX_LOST = 1000


class Cause(StrEnum):
    """What a worker died of; of a branch that is lost the first two are the status."""

    CRASHED = "crashed"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    NODE = "node"


class Charges:
    """What the deaths of the workers of a run are charged to. Raises `EvaluationError` where that leads nowhere."""

    def __init__(self) -> None:
        self.deaths: Counter[int] = Counter()
        self.trials: Counter[int] = Counter()
        self.suspects: dict[int, Suspect] = {}
        self.n_lost = 0

    def died(self, work: Work, cause: Cause) -> list[Work]:
        """A worker did, on a block or a probe; what to do now."""
        if cause is Cause.NODE:
            return [work]
        if work.suspect is not None:
            suspect = self.suspects[work.suspect]
            return suspect.died(work, cause) + self._concluded(suspect)
        self.deaths[work.lo] += 1
        if cause is Cause.TIMEOUT or self.deaths[work.lo] >= MAX_DEATHS:
            return self._accuse(work)
        return [replace(work, pieces=2 * work.pieces)]

    def survived(self, probe: Work, seconds: float) -> list[Work]:
        """A probe did, in so many seconds; what to do now."""
        if probe.suspect is None:
            raise ValueError(f"{probe} is no probe")
        suspect = self.suspects[probe.suspect]
        suspect.survived(seconds)
        return self._concluded(suspect)

    def done(self, block: Work) -> None:
        """A block is."""
        self.suspects.pop(block.lo, None)

    def seconds(self, work: Work) -> float:
        """That the branches of a block are known to take, as they were probed."""
        return self.suspects[work.lo].seconds if work.suspect is None and work.lo in self.suspects else 0.0

    def _accuse(self, block: Work) -> list[Work]:
        self.deaths[block.lo] = 0
        self.trials[block.lo] += 1
        if self.trials[block.lo] > MAX_TRIALS:
            raise EvaluationError(f"{block} kills its workers, and none of its branches does when it is alone")
        log.warning("%s is searched for the branches that its workers died of", block)
        suspect = self.suspects[block.lo] = Suspect(block)
        return suspect.probes()

    def _concluded(self, suspect: Suspect) -> list[Work]:
        """The block without the branches that are lost, once all is probed."""
        if suspect.n_open:
            return []
        for branch, status in suspect.lost.items():
            log.warning("branch %d is left out: %s", branch, status)
        self.n_lost += len(suspect.lost)
        if self.n_lost > MAX_LOST:
            raise EvaluationError(f"{self.n_lost:,} branches kill their workers or do not end; at {suspect.block}")
        return [suspect.verdict()]


class Suspect:
    """A block under suspicion. seconds : that its probes took which survived. lost : branches, and their status."""

    def __init__(self, block: Work):
        self.block, self.seconds, self.lost = block, 0.0, dict[int, str]()
        self.deaths: Counter[tuple[int, int]] = Counter()
        self.n_open = self.n_survived = 0

    def probes(self) -> list[Work]:
        """The first ones."""
        return self._cut(self.block)

    def survived(self, seconds: float) -> None:
        self.n_open -= 1
        self.n_survived += 1
        self.seconds += seconds

    def died(self, probe: Work, cause: Cause) -> list[Work]:
        """A probe did; those to go on with."""
        if probe.hi - probe.lo == 1 and cause is Cause.MEMORY:
            return [probe]
        self.n_open -= 1
        self.deaths[probe.lo, probe.hi] += 1
        if not self.n_survived and self.deaths.total() >= PIECES:
            raise EvaluationError(f"{self.block} kills its workers, and so did each of {PIECES} parts of it")
        if probe.hi - probe.lo > 1:
            return self._cut(probe)
        if self.deaths[probe.lo, probe.hi] < MAX_DEATHS:
            self.n_open += 1
            return [replace(probe, is_last=True)]
        self.lost[probe.lo] = cause.value
        return []

    def verdict(self) -> Work:
        lost = dict(self.block.lost) | self.lost
        return replace(self.block, lost=tuple(sorted(lost.items())), pieces=PIECES)

    def _cut(self, work: Work) -> list[Work]:
        parts = work.cut(PIECES)
        self.n_open += len(parts)
        return [replace(self.block, lo=lo, hi=hi, pieces=1, suspect=self.block.lo) for lo, hi in parts]
