"""Crews: where the workers of a run come from, what takes the place of one that died, and what becomes of them
afterwards."""

from __future__ import annotations

import logging
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import AuthenticationError, GetTimeoutError, RayActorError

from forge_ray.cluster.code import differing
from forge_ray.cluster.jobs import Job, job_of
from forge_ray.cluster.pool import NAMESPACE, Pool
from forge_ray.cluster.token import make_token, protect_token, require_guarded, require_token_mode
from forge_ray.cluster.work import Work
from forge_ray.cluster.worker import BlockWorker, Place
from forge_ray.engine import BoundPlan
from forge_ray.errors import ForgeRayError

START_SECONDS = 180
JOIN_SECONDS = 900
WORKER_ENV = {"NUMBA_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}


class ClusterError(ForgeRayError):
    """The cluster cannot be used: it did not start, its workers did not answer in time, or they run other code."""


@dataclass
class Worker:
    """An actor, the job that it gets, and the blocks it has, the first of which it works on.

    since : when it began that, on the monotonic clock.
    """

    actor: Any
    pid: int
    node: str
    job: Job | None = None
    queue: deque[Work] = field(default_factory=deque)
    since: float = 0.0

    def give(self, work: Work) -> None:
        if not self.queue:
            self.since = time.monotonic()
        self.queue.append(work)

    def finish(self) -> None:
        """Done with the first block."""
        self.queue.popleft()
        self.since = time.monotonic()


class Crew(ABC):
    """The workers of a run."""

    @abstractmethod
    def join(self) -> None:
        """Connect to the cluster, or start it."""

    @abstractmethod
    def gather(self) -> list[Worker]:
        """All workers of the run, each with an empty queue."""

    @abstractmethod
    def replace(self, dead: Any) -> Any:
        """An actor in the place of one that died. It answers once there is room for it, which may be never."""

    @abstractmethod
    def job(self, bound: BoundPlan) -> Job:
        """A bound plan for the workers."""

    @abstractmethod
    def keep(self, workers: Sequence[Worker]) -> None:
        """At the end of a run: who is there. Actors that never came are not waited for any more."""

    @abstractmethod
    def leave(self) -> None:
        """Undo `join` and `gather`."""


class OwnCrew(Crew):
    """Actors of this process, on the cluster that is named, else on one embedded here. They end when it leaves.

    n_workers : default one per CPU of the cluster. allow_unauthenticated : also one that lets in whoever reaches it.
    options : further arguments of ``ray.init`` for an embedded one.
    """

    def __init__(
        self, n_workers: int | None, cache_bytes: int, address: str | None, *, allow_unauthenticated: bool = False,
        **options: Any,
    ):  # fmt: skip
        self.n_workers, self.cache_bytes, self.options = n_workers, cache_bytes, options
        self.address, self.allow_unauthenticated = None if address == "local" else address, allow_unauthenticated
        self.workers: list[Worker] = []
        self.actors: list[Any] = []
        self.owns_cluster = False
        self._session = ("", "")

    def __str__(self) -> str:
        return f"the Ray cluster at {self.address}" if self.address else "an embedded Ray cluster"

    def join(self) -> None:
        if not ray.is_initialized():
            self._connect()
            self.owns_cluster = True
        context = ray.get_runtime_context()
        session = (context.get_node_id(), context.get_job_id())
        if session != self._session:  # Somebody else may have ended the last one.
            self.workers, self.actors, self._session = [], [], session

    def _connect(self) -> None:
        with own_sigterm():
            if not self.address:
                start_embedded(self.n_workers, allow_unauthenticated=self.allow_unauthenticated, **self.options)
                return
            if not self.allow_unauthenticated:
                require_guarded(self.address)
            try:
                ray.init(address=self.address, runtime_env={"env_vars": WORKER_ENV}, **QUIET)
            except (AuthenticationError, ConnectionError) as error:
                text = "RAY_AUTH_MODE and the token must be those of the cluster"
                raise ClusterError(f"cannot join {self}: {error}; {text}") from error

    def gather(self) -> list[Worker]:
        wanted = self.n_workers or int(ray.cluster_resources().get("CPU", 1))
        actors = [self._hire() for _ in range(wanted - len(self.workers))]
        self.workers += met(actors, JOIN_SECONDS if self.address else START_SECONDS)
        return [Worker(worker.actor, worker.pid, worker.node) for worker in self.workers]

    def replace(self, dead: Any) -> Any:
        return self._hire()

    def keep(self, workers: Sequence[Worker]) -> None:
        there = [worker.actor for worker in workers]
        for actor in [actor for actor in self.actors if actor not in there]:
            ray.kill(actor)
        self.workers, self.actors = list(workers), there

    def job(self, bound: BoundPlan) -> Job:
        return job_of(bound, outlives=False)

    def leave(self) -> None:
        if ray.is_initialized():
            self.keep([])
            if self.owns_cluster:
                ray.shutdown()
        self.workers, self.actors, self.owns_cluster = [], [], False

    def _hire(self) -> Any:
        remote: Any = ray.remote(num_cpus=1, max_restarts=0)(BlockWorker)
        self.actors.append(actor := remote.remote(self.cache_bytes))
        return actor


class PoolCrew(Crew):
    """Actors of a pool on this machine. Ray starts a dead one again; they stay when this process leaves."""

    def __init__(self, pool: Pool, n_workers: int | None):
        self.pool, self.n_workers = pool, n_workers or pool.workers
        self.connected = False

    def __str__(self) -> str:
        return f"the pool of process {self.pool.pid} ({self.n_workers} of {self.pool.workers} workers)"

    def join(self) -> None:
        if ray.is_initialized():
            return
        with own_sigterm():
            ray.init(address=self.pool.address, namespace=NAMESPACE, **QUIET)
        self.connected = True

    def gather(self) -> list[Worker]:
        names = self.pool.names()[: self.n_workers]
        return met([ray.get_actor(name, namespace=NAMESPACE) for name in names], START_SECONDS)

    def replace(self, dead: Any) -> Any:
        return dead

    def keep(self, workers: Sequence[Worker]) -> None:
        """Nothing to do: they are the pool's."""

    def job(self, bound: BoundPlan) -> Job:
        return job_of(bound, outlives=True)

    def leave(self) -> None:
        if self.connected:
            ray.shutdown()
        self.connected = False


def start_embedded(n_workers: int | None, *, allow_unauthenticated: bool = False, **options: Any) -> None:
    """Start a cluster on this machine that ends with this process. Raises `TokenError` if it would not want one."""
    if not allow_unauthenticated:
        require_token_mode()
    make_token()
    protect_token()
    options = {"num_cpus": n_workers, "include_dashboard": False, "dashboard_host": "127.0.0.1", **options}
    ray.init(address="local", runtime_env={"env_vars": WORKER_ENV}, **QUIET, **options)


def met(actors: Sequence[Any], seconds: float) -> list[Worker]:
    """Actors as workers. Raises `ClusterError` if one does not answer in time or runs other code."""
    places = answers([actor.where.remote() for actor in actors], seconds)
    return [worker_at(place, actor) for actor, place in zip(actors, places, strict=True)]


def worker_at(place: Place, actor: Any) -> Worker:
    """An actor that has said where it is. Raises `ClusterError` if it runs other code."""
    if names := differing(place.code):
        text = f"worker {place.pid} on node {place.node[:8]} runs other versions of {', '.join(names)}"
        raise ClusterError(f"{text} than this process; install the same on every node")
    return Worker(actor, place.pid, place.node)


def answers(references: list[ray.ObjectRef], seconds: float = START_SECONDS) -> list[Any]:
    """What actors answer while they start. Raises `ClusterError` if they do not within `seconds`."""
    try:
        return ray.get(references, timeout=seconds)
    except GetTimeoutError as error:
        free = ray.available_resources().get("CPU", 0)
        raise ClusterError(f"workers did not start within {seconds:g} s; {free:g} CPUs are free") from error
    except RayActorError as error:
        raise ClusterError(f"a worker died while it started: {error}") from error


@contextmanager
def own_sigterm() -> Iterator[None]:
    """Keep this process's SIGTERM handler: ``ray.init`` puts its own in place, which ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
