"""The Ray executor: bound plan and panel once in the object store, one actor per worker, two blocks in flight each.

1. Join the cluster that is named, or start an embedded one on this machine.
2. Put the bound plan into the object store once. The fields of its panel are mapped from their files by every actor
   that sees these; for the others they are put into the object store too, once, and mapped from there.
3. Start the actors; one on each node compiles the kernels of the plan, then the others load them.
4. Keep two blocks in flight per actor. Ray retries nothing: when an actor dies, its blocks go back into the queue and
   a new actor takes its place; the block it was working on is charged with the death if its node lived. After
   `MAX_DEATHS` the run stops and names the block. An error inside a block is fatal at once.

Every wait has a deadline; on a cluster that was joined it leaves time to boot nodes.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import ray
from ray.exceptions import (
    GetTimeoutError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RaySystemError,
    RayTaskError,
    WorkerCrashedError,
)

from forge_ray.cluster.token import protect_token
from forge_ray.cluster.work import Done, Work, do
from forge_ray.data import MappedFields
from forge_ray.engine import BoundPlan, Cache, kernels_of, warm_kernels
from forge_ray.errors import EvaluationError, ForgeRayError

log = logging.getLogger(__name__)

IN_FLIGHT = 2
MAX_DEATHS = 3
START_SECONDS = 180
JOIN_SECONDS = 900
BLOCK_SECONDS = 900
_WORKER_ENV = {"NUMBA_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
_LOST = (RayActorError, OutOfMemoryError, ObjectLostError, WorkerCrashedError, RaySystemError)


class ClusterError(ForgeRayError):
    """The cluster cannot be used: it did not start, or its workers did not answer in time."""


class BlockWorker:
    """The actor. The bound plan is fetched on the first call and kept, so that a restart needs no constructor data."""

    def __init__(self, cache_bytes: int):
        self.cache = Cache(cache_bytes)
        self.bound: BoundPlan | None = None

    def where(self, fields: MappedFields | None) -> tuple[int, str, bool]:
        """This worker's pid and node id, and whether it sees the files of these fields."""
        return os.getpid(), ray.get_runtime_context().get_node_id(), fields is None or fields.are_here()

    def warm(self, kernels: tuple[str, ...]) -> None:
        """Compile the kernels, or load them from this node's cache."""
        warm_kernels(kernels)

    def do(self, bound: list[ray.ObjectRef], work: Work) -> Done:
        plan = self.bound or ray.get(bound[0], timeout=START_SECONDS)
        self.bound = plan
        return do(work, plan, self.cache)


@dataclass
class _Worker:
    actor: Any
    pid: int
    node: str
    bound: ray.ObjectRef
    queue: deque[Work] = field(default_factory=deque)


class RayExecutor:
    """Evaluates blocks on Ray actors.

    workers : actors to use, default one per CPU of the cluster. address : the cluster to join, default ``RAY_ADDRESS``,
    else an embedded one. cache_bytes : per actor. options : further arguments of ``ray.init`` for an embedded cluster.
    """

    def __init__(self, workers: int | None, cache_bytes: int, address: str | None = None, **options: Any):
        self.n_workers, self.cache_bytes, self.options = workers, cache_bytes, options
        self.address = address or os.environ.get("RAY_ADDRESS")
        self.pids: list[int] = []

    def run(self, bound: BoundPlan, blocks: Iterable[Work]) -> Generator[Done]:
        """Finished blocks, as they finish. Closing the iterator drops what is in flight."""
        owned = self._connect()
        try:
            yield from _Dispatch(self, bound, iter(blocks)).results()
        finally:
            if owned:
                ray.shutdown()

    def _connect(self) -> bool:
        """Join or start a cluster; says whether to shut it down afterwards."""
        if ray.is_initialized():
            return False
        with _own_sigterm():
            self._init()
        return True

    def _init(self) -> None:
        common = {"log_to_driver": False, "logging_level": logging.WARNING, "runtime_env": {"env_vars": _WORKER_ENV}}
        if self.address:
            ray.init(address=self.address, **common)
        else:
            options = {"num_cpus": self.n_workers, "include_dashboard": False, **self.options}
            ray.init(address="local", **common, **options)
            protect_token()


class _Dispatch:
    """One run: the workers, the blocks they hold, and the deaths that were charged to blocks."""

    def __init__(self, executor: RayExecutor, bound: BoundPlan, blocks: Iterator[Work]):
        self.executor, self.blocks = executor, blocks
        self.returned: deque[Work] = deque()
        self.deaths: dict[int, int] = {}
        self.n_attempts = 0
        self.kernels = kernels_of(bound)
        self.bound_plan = bound
        self.bound = ray.put(bound)
        self.pending: dict[ray.ObjectRef, tuple[_Worker, Work]] = {}

    @cached_property
    def bound_with_fields(self) -> ray.ObjectRef:
        """For workers that do not see the files of the panel's fields."""
        return ray.put(replace(self.bound_plan, panel=self.bound_plan.panel.in_memory()))

    def results(self) -> Iterator[Done]:
        workers = self._start(self.executor.n_workers or int(ray.cluster_resources().get("CPU", 1)))
        self.executor.pids = [worker.pid for worker in workers]
        try:
            for worker in workers:
                self._fill(worker)
            while self.pending:
                yield from self._collect(workers)
        finally:
            for worker in workers:
                ray.kill(worker.actor)

    def _collect(self, workers: list[_Worker]) -> Iterator[Done]:
        ready, _ = ray.wait(list(self.pending), num_returns=1, timeout=BLOCK_SECONDS)
        if not ready:
            blocks = sorted(work.lo for _, work in self.pending.values())
            raise ClusterError(f"no block finished within {BLOCK_SECONDS} s; in flight: blocks at {blocks}")
        worker, work = self.pending.pop(ready[0])
        try:
            done = ray.get(ready[0], timeout=START_SECONDS)
        except _LOST as error:
            self._replace(workers, worker, work, error)
            return
        except RayTaskError as error:
            raise _cause(error) from error
        worker.queue.remove(work)
        self._fill(worker)
        yield done

    def _fill(self, worker: _Worker) -> None:
        while len(worker.queue) < IN_FLIGHT and (work := self._next()):
            worker.queue.append(work)
            self.pending[worker.actor.do.remote([worker.bound], work)] = (worker, work)

    def _next(self) -> Work | None:
        return self.returned.popleft() if self.returned else next(self.blocks, None)

    def _replace(self, workers: list[_Worker], dead: _Worker, work: Work, error: Exception) -> None:
        """Put the blocks of a dead worker back and start another one. Only the block it worked on is charged."""
        log.warning("worker %d died on block [%d, %d): %s", dead.pid, work.lo, work.hi, type(error).__name__)
        running = dead.queue[0]
        for reference in [r for r, (worker, _) in self.pending.items() if worker is dead]:
            del self.pending[reference]
        for lost in reversed(dead.queue):
            self.returned.appendleft(Work(lost.lo, lost.hi, self._next_attempt(lost), lost.run_dir))
        if _is_alive(dead.node):
            self._charge(running, error)
        workers.remove(dead)
        workers.extend(fresh := self._start(1))
        self.executor.pids = [worker.pid for worker in workers]
        for worker in fresh:
            self._fill(worker)

    def _next_attempt(self, work: Work) -> str:
        self.n_attempts += 1
        return f"{work.attempt.split('.')[0]}.{self.n_attempts}"

    def _charge(self, work: Work, error: Exception) -> None:
        self.deaths[work.lo] = self.deaths.get(work.lo, 0) + 1
        if self.deaths[work.lo] >= MAX_DEATHS:
            raise EvaluationError(f"block [{work.lo}, {work.hi}) killed {MAX_DEATHS} workers; last: {error}") from error

    def _start(self, n: int) -> list[_Worker]:
        """Start n workers. The first on each node compiles the kernels, the others find them in the node's cache."""
        remote: Any = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(BlockWorker)
        actors = [remote.remote(self.executor.cache_bytes) for _ in range(n)]
        fields = self.bound_plan.panel.fields if isinstance(self.bound_plan.panel.fields, MappedFields) else None
        places = _answers(
            [actor.where.remote(fields) for actor in actors], JOIN_SECONDS if self.executor.address else START_SECONDS
        )
        workers = [
            _Worker(actor, pid, node, self.bound if sees else self.bound_with_fields)
            for actor, (pid, node, sees) in zip(actors, places, strict=True)
        ]
        first_on_node = {worker.node: worker for worker in reversed(workers)}
        _answers([worker.actor.warm.remote(self.kernels) for worker in first_on_node.values()])
        _answers([worker.actor.warm.remote(self.kernels) for worker in workers])
        return workers


def _answers(references: list[ray.ObjectRef], seconds: float = START_SECONDS) -> list[Any]:
    """What actors answer while they start. Raises `ClusterError` if they do not within `seconds`."""
    try:
        return ray.get(references, timeout=seconds)
    except GetTimeoutError as error:
        free = ray.available_resources().get("CPU", 0)
        raise ClusterError(f"workers did not start within {seconds:g} s; {free:g} CPUs are free") from error


def _is_alive(node: str) -> bool:
    return any(known["NodeID"] == node and known["Alive"] for known in ray.nodes())


def _cause(error: RayTaskError) -> Exception:
    return error.cause if isinstance(error.cause, ForgeRayError) else EvaluationError(str(error.cause))


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep this process's SIGTERM handler: ``ray.init`` puts its own in place, which ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
