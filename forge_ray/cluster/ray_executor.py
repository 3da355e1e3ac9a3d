"""The Ray executor: a bound plan once where the workers find it, two blocks in flight each.

1. A crew (`crew.py`) joins a cluster or starts one, and brings the workers: its own actors, or those of a pool. Each
   begins when it is there; on a cluster that was joined they follow its size.
2. Put the bound plan into the object store once, in the form that the crew needs. The fields of its panel are mapped
   from their files by every worker that sees these; for the others they are put into the object store too, once.
3. The first worker on each node compiles the kernels of the plan, the others wait for it and load them.
4. Keep two blocks in flight per worker. Ray retries none: when a worker is lost, what it had not begun goes back into
   the queue at once, and what it was working on when it is known why. Another actor is started in its place if there
   is room, and nobody waits for it.
5. Who is lost with its node, or answers after all, tells nothing about its block. Any other death is charged to the
   block (`suspects.py`), also that of a worker that was killed because it took too long (`patience.py`).
6. Where Ray ends workers because the memory of a node is used up, all blocks are done in smaller pieces, after a pause.
   A branch that is probed alone may use its share of the node's memory and fails beyond that.

An error inside a block is fatal at once. Every wait has a deadline; where there is no worker at all, on a cluster that
was joined, it leaves time to boot nodes.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import ray
from ray.exceptions import (
    GetTimeoutError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RaySystemError,
    RayTaskError,
    RuntimeEnvSetupError,
    WorkerCrashedError,
)

from forge_ray.cluster.crew import JOIN_SECONDS, ClusterError, Crew, OwnCrew, Worker, worker_at
from forge_ray.cluster.jobs import FETCH_SECONDS, Job
from forge_ray.cluster.logs import about_work
from forge_ray.cluster.metrics import Losses, counted
from forge_ray.cluster.patience import Patience
from forge_ray.cluster.suspects import Cause, Charges
from forge_ray.cluster.timeline import write_timeline
from forge_ray.cluster.work import MAX_PIECES, MOMENT_SECONDS, Done, Work
from forge_ray.data import MappedFields
from forge_ray.engine import BoundPlan, kernels_of
from forge_ray.errors import BlockMemoryError, EvaluationError, ForgeRayError

log = logging.getLogger(__name__)

IN_FLIGHT = 2
MAX_IN_VAIN = 10
"""Workers that may be lost in a row, of memory, while they start or out of reach, without anything done in between."""
LONGEST_PAUSE = 30
NO_ROOM = "the cluster has no room yet (--workers N asks its autoscaler for some)"
SILENT_SECONDS = 120
"""After which a worker that was lost and says nothing counts as dead: Ray may start it again, but for want of room."""
LOOK_SECONDS = 2
"""After which a crew looks again whether there is room for more workers."""
_LOST = (
    RayActorError, OutOfMemoryError, ObjectLostError, WorkerCrashedError, RaySystemError, NodeDiedError,
    GetTimeoutError, RuntimeEnvSetupError,
)  # fmt: skip
"""A `RayTaskError` that a worker raised can be one of them too: where both are expected, their order matters."""


class Lost(NamedTuple):
    """A worker that was lost on some work, with the error of that, None if it took too long; whether it was killed for
    it; and when, on the monotonic clock."""

    worker: Worker
    work: Work
    error: Exception | None
    is_killed: bool
    since: float


class RayExecutor:
    """Evaluates blocks on Ray actors.

    workers : actors to use, default as many as there is room for. threads : of each, which share its cache; it takes as
    many CPUs. address : the cluster to join, default ``RAY_ADDRESS``, else an embedded one. cache_bytes : per actor.
    options : further arguments of `OwnCrew`.
    crew : the workers to use instead of these; with `stays` they are there for the next run too.
    block_seconds : after which a worker is taken to hang; default by what is predicted and seen. timeline : the file
    that Ray's timeline of a run is written to when the run is complete.

    pids : of the workers that are there. deaths : of those of the last run, by cause.
    """

    def __init__(
        self, workers: int | None, cache_bytes: int, address: str | None = None, *, threads: int = 1,
        crew: Crew | None = None, stays: bool = False, block_seconds: float | None = None,
        timeline: Path | None = None, **options: Any,
    ):  # fmt: skip
        address = address or os.environ.get("RAY_ADDRESS")
        self.crew, self.stays = crew or OwnCrew(workers, cache_bytes, address, threads=threads, **options), stays
        self.block_seconds, self.timeline = block_seconds, timeline
        self.pids: list[int] = []
        self.deaths: Counter[Cause] = Counter()

    def __str__(self) -> str:
        return str(self.crew)

    def run(self, bound: BoundPlan, blocks: Iterable[Work]) -> Generator[Done | None]:
        """Finished blocks, as they finish, a None after a moment without one. Closing drops what is in flight."""
        self.crew.join()
        self.deaths.clear()
        try:
            dispatch = _Dispatch(self, bound, iter(blocks))
            yield from counted(dispatch.results(), dispatch.losses)
            if self.timeline:
                write_timeline(self.timeline)
        finally:
            if not self.stays:
                self.crew.leave()


class _Dispatch:
    """One run.

    pending : calls in flight. lost : the question whether a worker has died, and what it was lost on. arriving : the
    last call that an actor begins with, with the actor and all of them. returned : to be done before anything else,
    last : after everything else.
    in_vain : how many workers were lost since something was done, see `MAX_IN_VAIN`, and what is told of it; until
    paused_until nothing is given out for it. staffed : when there was a worker, for the last time; looked : when the
    crew looked for room. grace : seconds that it may take until there is a worker.
    """

    def __init__(self, executor: RayExecutor, bound: BoundPlan, blocks: Iterator[Work]):
        self.executor, self.crew, self.blocks = executor, executor.crew, blocks
        self.kernels = kernels_of(bound)
        self.bound, self.job = bound, self.crew.job(bound)
        self.workers: list[Worker] = []
        self.pending: dict[ray.ObjectRef, tuple[Worker, Work]] = {}
        self.lost: dict[ray.ObjectRef, Lost] = {}
        self.arriving: dict[ray.ObjectRef, tuple[Any, list[ray.ObjectRef]]] = {}
        self.returned, self.last = deque[Work](), deque[Work]()
        self.charges, self.patience = Charges(), Patience(bound, executor.block_seconds)
        self.n_attempts, self.in_vain, self.pieces, self.losses = 0, 0, 1, Losses()
        self.paused_until, self.told = -math.inf, ""
        self.staffed, self.looked, self.grace = time.monotonic(), -math.inf, self.crew.start_seconds

    @cached_property
    def job_with_fields(self) -> Job:
        """For workers that do not see the files of the panel's fields."""
        return self.crew.job(replace(self.bound, panel=self.bound.panel.in_memory()))

    def results(self) -> Generator[Done | None]:
        try:
            for actor in self.crew.gather():
                self._begin(actor)
            while self.pending or self.lost or self._is_more():
                yield from self._next_event()
                self._fill()
        finally:
            for reference in self.pending:
                ray.cancel(reference)
            self.crew.keep(self.workers)

    def _next_event(self) -> Iterator[Done | None]:
        if why := self.crew.end():
            raise ClusterError(why)
        self._recruit()
        if not (ready := _first_of([*self.pending, *self.lost, *self.arriving])):
            yield None
        for reference in ready:
            if reference in self.pending:
                yield from self._collect(self.pending[reference][0])
            elif reference in self.lost:
                self._judge(self.lost.pop(reference), reference)
            else:
                self._welcome(*self.arriving.pop(reference))
        self._end_overdue()
        self._give_up_silent()
        self._check_staff()

    # ---------------------------------------------------------------- work

    def _fill(self) -> None:
        for worker in self.workers if time.monotonic() >= self.paused_until else ():
            while len(worker.queue) < IN_FLIGHT and (work := self._next()):
                worker.give(work)
                self.pending[self._call(worker, work)] = (worker, work)

    def _next(self) -> Work | None:
        if not self._is_more():
            return None
        return self.returned.popleft() if self.returned else self.last.popleft()

    def _is_more(self) -> bool:
        """Whether there is something that nobody does, also in a pause."""
        if not self.returned:
            self.returned.extend(islice(self.blocks, 1))
        return bool(self.returned or self.last)

    def _call(self, worker: Worker, work: Work) -> ray.ObjectRef:
        if work.suspect is None:
            return worker.actor.do.remote(worker.job, replace(work, pieces=max(work.pieces, self.pieces)))
        is_alone = work.hi - work.lo == 1
        return worker.actor.probe.remote(worker.job, work, self._share(worker.node) if is_alone else None)

    def _collect(self, worker: Worker) -> Iterator[Done]:
        """Take what a worker has done. It works in order: if any of its calls is ready, so is the first."""
        reference = self._first_call(worker)
        _, work = self.pending.pop(reference)
        try:
            done = ray.get(reference, timeout=FETCH_SECONDS)
        except _LOST as error:
            self._lose(worker, error)
        except RayTaskError as error:
            if not isinstance(error.cause, BlockMemoryError):
                raise _cause(error) from error
            self._kill(worker, error)  # nobody knows what else has failed in it
        else:
            worker.finish()
            self.in_vain = 0
            yield from self._done(work, done)

    def _first_call(self, worker: Worker) -> ray.ObjectRef:
        return next(reference for reference, (owner, _) in self.pending.items() if owner is worker)

    def _done(self, work: Work, done: Done | float) -> Iterator[Done]:
        if isinstance(done, Done):
            self.patience.saw(done.receipt.seconds)
            self.charges.done(work)
            yield done
        else:
            self._return(self.charges.survived(work, done))

    def _return(self, works: Iterable[Work]) -> None:
        """Put blocks and probes back, under new names."""
        for work in works:
            self.n_attempts += 1
            queue = self.last if work.is_last else self.returned
            queue.append(replace(work, attempt=f"{work.attempt.split('.')[0]}.{self.n_attempts}"))

    # ---------------------------------------------------------------- workers that are lost

    def _kill(self, worker: Worker, error: Exception | None) -> None:
        ray.kill(worker.actor, no_restart=False)
        self._lose(worker, error, is_killed=True)

    def _lose(self, worker: Worker, error: Exception | None, *, is_killed: bool = False) -> None:
        """Take back what a worker has not begun, and ask whether it died: that may take a while where its node did."""
        running, *waiting = worker.queue
        self.losses.blocks(len(worker.queue))
        self.pending = {r: held for r, held in self.pending.items() if held[0] is not worker}
        self._return(waiting)
        self._staff([other for other in self.workers if other is not worker])
        self.lost[worker.actor.where.remote()] = Lost(worker, running, error, is_killed, time.monotonic())

    def _judge(self, lost: Lost, answer: ray.ObjectRef) -> None:
        """What has become of a worker that was lost. One that was killed may answer before it dies."""
        worker, work, error, is_killed, _ = lost
        place, death, cause = None, None, None
        try:
            place = ray.get(answer, timeout=FETCH_SECONDS)
        except _LOST as told:
            death = told
        except RayTaskError as told:
            ray.kill(worker.actor, no_restart=False)  # too far gone to say its name
            death = told
        if place and place.pid == worker.pid and not is_killed:  # it, or what it needs, was out of reach
            self._return([work])
            self._count_in_vain(f"worker {worker.pid} answers, and cannot do its work: {error}", "failed")
        else:
            self._bury(worker, work, cause := _cause_of_death(worker, error, death))
        if place and not is_killed:
            self._begin(worker.actor)
        else:
            self._replace(worker.actor, with_node=cause is Cause.NODE)

    def _give_up_silent(self) -> None:
        """Whoever is lost and neither answers nor is known to be dead: his block is not waited for any longer."""
        for reference, lost in list(self.lost.items()):
            if time.monotonic() - lost.since > SILENT_SECONDS and not ray.wait([reference], timeout=0)[0]:
                del self.lost[reference]
                self._bury(lost.worker, lost.work, cause := _cause_of_death(lost.worker, lost.error))
                self._replace(lost.worker.actor, with_node=cause is Cause.NODE)

    def _bury(self, worker: Worker, work: Work, cause: Cause) -> None:
        self.executor.deaths[cause] += 1
        self.losses.worker(worker.pid, work, cause)
        self._return(self.charges.died(work, cause))
        if cause is Cause.MEMORY:
            self.pieces = min(2 * self.pieces, MAX_PIECES)
            self._count_in_vain(f"the memory of node {worker.node[:8]} is used up; free some, or use fewer --workers")

    def _count_in_vain(self, why: str, what: str = "died") -> None:
        """One more was lost without having done anything, which counts once in a pause: a node takes all of its workers
        along. Whoever uses the memory up gets some time."""
        if (now := time.monotonic()) < self.paused_until:
            return
        self.in_vain += 1
        self.told = f"{self.in_vain} worker(s) {what} one after the other: {why}"
        if self.in_vain > MAX_IN_VAIN:
            raise ClusterError(self.told)
        self.paused_until = now + min(2**self.in_vain, LONGEST_PAUSE)

    def _end_overdue(self) -> None:
        for worker in [worker for worker in self.workers if worker.queue]:
            limit = self.patience.limit(worker.queue[0], self.charges.seconds(worker.queue[0]))
            if time.monotonic() - worker.since > limit and not self._has_answered(worker):
                with about_work(worker.queue[0]):
                    log.warning("worker %d is ended: %s takes more than %.0f s", worker.pid, worker.queue[0], limit)
                self._kill(worker, None)

    def _has_answered(self, worker: Worker) -> bool:
        """This process may have been the one that was held up."""
        return bool(ray.wait([self._first_call(worker)], timeout=0)[0])

    # ---------------------------------------------------------------- workers that come

    def _recruit(self) -> None:
        """Let the crew follow the cluster, while there is something left for others to do."""
        if not self._is_more() or time.monotonic() - self.looked < LOOK_SECONDS:
            return
        is_first, self.looked = self.looked == -math.inf, time.monotonic()
        for actor in self.crew.recruit(len(self.arriving)):
            self._begin(actor)
        if is_first and not self.arriving:
            log.warning("%s; up to %d s are waited for the first worker", NO_ROOM, self.grace)

    def _replace(self, dead: Any, *, with_node: bool) -> None:
        if actor := self.crew.replace(dead, with_node=with_node):
            self._begin(actor)

    def _begin(self, actor: Any) -> None:
        """Let an actor say where it is, look for the panel and load the kernels."""
        fields, retries = self.bound.panel.fields, {"max_task_retries": self.crew.retries}
        calls = [actor.where.options(**retries).remote()]
        calls += [actor.sees.options(**retries).remote(fields)] if isinstance(fields, MappedFields) else []
        calls.append(actor.warm.options(**retries).remote(self.kernels))
        self.arriving[calls[-1]] = (actor, calls)

    def _welcome(self, actor: Any, calls: list[ray.ObjectRef]) -> None:
        try:
            place, *sees, _ = ray.get(calls, timeout=FETCH_SECONDS)
        except RayTaskError as error:
            raise _cause(error) from error
        except _LOST as error:
            if getattr(error, "actor_init_failed", False):
                raise ClusterError(f"a worker cannot start: {error}") from error
            self.losses.start(error)
            self._count_in_vain(f"the last while it started: {error}")
            self._replace(actor, with_node=True)
            return
        worker = worker_at(place, actor)
        worker.job = self.job if all(sees) else self.job_with_fields
        self._staff([*self.workers, worker])

    def _staff(self, workers: list[Worker]) -> None:
        self.workers = workers
        self.executor.pids = [worker.pid for worker in workers]

    def _check_staff(self) -> None:
        if self.workers:
            self.staffed, self.grace = time.monotonic(), JOIN_SECONDS
        elif time.monotonic() - self.staffed > self.grace:
            raise ClusterError(f"{self._why_nobody()} within {self.grace} s")

    def _why_nobody(self) -> str:
        if self.in_vain:
            return f"{self.told}; no worker has come"
        if self.executor.deaths:
            told = ", ".join(f"{n} by {cause}" for cause, n in self.executor.deaths.items())
            return f"all workers are lost ({told}), and none has come back"
        return f"{self.crew.hindrance()}, and no worker has started"

    def _share(self, node: str) -> int | None:
        """Bytes of a node's memory for each of its workers, by their CPUs."""
        resources = next((known["Resources"] for known in ray.nodes() if known["NodeID"] == node), {})
        if "memory" not in resources:
            return None
        return int(resources["memory"] / resources.get("CPU", 1) * self.crew.threads)


def _first_of(calls: list[ray.ObjectRef]) -> list[ray.ObjectRef]:
    """One that has ended, or none after a moment."""
    if not calls:
        time.sleep(MOMENT_SECONDS)
        return []
    return ray.wait(calls, num_returns=1, timeout=MOMENT_SECONDS)[0]


def _cause_of_death(worker: Worker, *errors: Exception | None) -> Cause:
    """errors : of its last call, None if it was killed for it, and of asking how it is."""
    if any(getattr(error, "preempted", False) for error in errors) or not _is_alive(worker.node):
        return Cause.NODE
    if errors[0] is None:
        return Cause.TIMEOUT
    return Cause.MEMORY if any(isinstance(error, OutOfMemoryError) for error in errors) else Cause.CRASHED


def _is_alive(node: str) -> bool:
    return any(known["NodeID"] == node and known["Alive"] for known in ray.nodes())


def _cause(error: RayTaskError) -> Exception:
    cause = error.cause
    return cause if isinstance(cause, ForgeRayError) else EvaluationError(f"{type(cause).__name__}: {cause}")
