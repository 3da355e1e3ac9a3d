"""The Ray executor: a bound plan once where the workers find it, two blocks in flight each.

1. A crew (`crew.py`) joins a cluster or starts one, and brings the workers: its own actors, or those of a pool.
2. Put the bound plan into the object store once, in the form that the crew needs. The fields of its panel are mapped
   from their files by every worker that sees these; for the others they are put into the object store too, once.
3. The first worker on each node compiles the kernels of the plan, then the others load them.
4. Keep two blocks in flight per worker. Ray retries none: when a worker dies, its blocks go back into the queue and
   another takes its place; the block it was working on is charged with the death if its node lived. After
   `MAX_DEATHS` the run stops and names the block. An error inside a block is fatal at once.

Every wait has a deadline; on a cluster that was joined it leaves time to boot nodes.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import ray
from ray.exceptions import (
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RaySystemError,
    RayTaskError,
    WorkerCrashedError,
)

from forge_ray.cluster.crew import ClusterError, Crew, OwnCrew, Worker, answers
from forge_ray.cluster.jobs import FETCH_SECONDS, Job
from forge_ray.cluster.work import Done, Work
from forge_ray.data import MappedFields
from forge_ray.engine import BoundPlan, kernels_of
from forge_ray.errors import EvaluationError, ForgeRayError

log = logging.getLogger(__name__)

IN_FLIGHT = 2
MAX_DEATHS = 3
BLOCK_SECONDS = 900
_LOST = (RayActorError, OutOfMemoryError, ObjectLostError, WorkerCrashedError, RaySystemError)


class RayExecutor:
    """Evaluates blocks on Ray actors.

    workers : actors to use, default one per CPU of the cluster. address : the cluster to join, default ``RAY_ADDRESS``,
    else an embedded one. cache_bytes : per actor. options : further arguments of ``ray.init`` for an embedded cluster.
    crew : the workers to use instead of these; with `stays` they are there for the next run too.
    """

    def __init__(
        self, workers: int | None, cache_bytes: int, address: str | None = None, *, crew: Crew | None = None,
        stays: bool = False, **options: Any,
    ):  # fmt: skip
        address = address or os.environ.get("RAY_ADDRESS")
        self.crew, self.stays = crew or OwnCrew(workers, cache_bytes, address, **options), stays
        self.pids: list[int] = []

    def __str__(self) -> str:
        return str(self.crew)

    def run(self, bound: BoundPlan, blocks: Iterable[Work]) -> Generator[Done]:
        """Finished blocks, as they finish. Closing the iterator drops what is in flight."""
        self.crew.join()
        try:
            yield from _Dispatch(self, bound, iter(blocks)).results()
        finally:
            if not self.stays:
                self.crew.leave()


class _Dispatch:
    """One run: the workers, the blocks they hold, and the deaths that were charged to blocks."""

    def __init__(self, executor: RayExecutor, bound: BoundPlan, blocks: Iterator[Work]):
        self.executor, self.crew, self.blocks = executor, executor.crew, blocks
        self.returned: deque[Work] = deque()
        self.deaths: dict[int, int] = {}
        self.n_attempts = 0
        self.kernels = kernels_of(bound)
        self.bound, self.job = bound, self.crew.job(bound)
        self.pending: dict[ray.ObjectRef, tuple[Worker, Work]] = {}

    @cached_property
    def job_with_fields(self) -> Job:
        """For workers that do not see the files of the panel's fields."""
        return self.crew.job(replace(self.bound, panel=self.bound.panel.in_memory()))

    def results(self) -> Iterator[Done]:
        workers = self.crew.gather()
        self._ready(workers)
        self.executor.pids = [worker.pid for worker in workers]
        try:
            for worker in workers:
                self._fill(worker)
            while self.pending:
                yield from self._collect(workers)
        finally:
            for reference in self.pending:
                ray.cancel(reference)

    def _collect(self, workers: list[Worker]) -> Iterator[Done]:
        ready, _ = ray.wait(list(self.pending), num_returns=1, timeout=BLOCK_SECONDS)
        if not ready:
            blocks = sorted(work.lo for _, work in self.pending.values())
            raise ClusterError(f"no block finished within {BLOCK_SECONDS} s; in flight: blocks at {blocks}")
        worker, work = self.pending.pop(ready[0])
        try:
            done = ray.get(ready[0], timeout=FETCH_SECONDS)
        except _LOST as error:
            self._replace(workers, worker, work, error)
            return
        except RayTaskError as error:
            raise _cause(error) from error
        worker.queue.remove(work)
        self._fill(worker)
        yield done

    def _fill(self, worker: Worker) -> None:
        while len(worker.queue) < IN_FLIGHT and (work := self._next()):
            worker.queue.append(work)
            self.pending[worker.actor.do.remote(worker.job, work)] = (worker, work)

    def _next(self) -> Work | None:
        return self.returned.popleft() if self.returned else next(self.blocks, None)

    def _replace(self, workers: list[Worker], dead: Worker, work: Work, error: Exception) -> None:
        """Put the blocks of a dead worker back and start another one. Only the block it worked on is charged."""
        log.warning("worker %d died on block [%d, %d): %s", dead.pid, work.lo, work.hi, type(error).__name__)
        running = dead.queue[0]
        for reference in [r for r, (worker, _) in self.pending.items() if worker is dead]:
            del self.pending[reference]
        for lost in reversed(dead.queue):
            self.returned.appendleft(replace(lost, attempt=self._next_attempt(lost)))
        if _is_alive(dead.node):
            self._charge(running, error)
        workers.remove(dead)
        workers.append(fresh := self.crew.replace(dead))
        self._ready([fresh])
        self.executor.pids = [worker.pid for worker in workers]
        self._fill(fresh)

    def _next_attempt(self, work: Work) -> str:
        self.n_attempts += 1
        return f"{work.attempt.split('.')[0]}.{self.n_attempts}"

    def _charge(self, work: Work, error: Exception) -> None:
        self.deaths[work.lo] = self.deaths.get(work.lo, 0) + 1
        if self.deaths[work.lo] >= MAX_DEATHS:
            raise EvaluationError(f"block [{work.lo}, {work.hi}) killed {MAX_DEATHS} workers; last: {error}") from error

    def _ready(self, workers: list[Worker]) -> None:
        """Tell each where its job is. The first worker on each node compiles the kernels, the others find them in the
        node's cache."""
        fields = self.bound.panel.fields
        is_mapped = isinstance(fields, MappedFields)
        sees = answers([worker.actor.sees.remote(fields) for worker in workers]) if is_mapped else [True] * len(workers)
        for worker, is_here in zip(workers, sees, strict=True):
            worker.job = self.job if is_here else self.job_with_fields
        first_on_node = {worker.node: worker for worker in reversed(workers)}
        answers([worker.actor.warm.remote(self.kernels) for worker in first_on_node.values()])
        answers([worker.actor.warm.remote(self.kernels) for worker in workers])


def _is_alive(node: str) -> bool:
    return any(known["NodeID"] == node and known["Alive"] for known in ray.nodes())


def _cause(error: RayTaskError) -> Exception:
    return error.cause if isinstance(error.cause, ForgeRayError) else EvaluationError(str(error.cause))
