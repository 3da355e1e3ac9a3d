"""Crews: where the workers of a run come from, what takes the place of one that died, and what becomes of them
afterwards.

On a cluster that was joined they follow it. Every few seconds an actor is started for each free slot, which is as many
free CPUs of one node as a worker has threads: never more than there are, so that nobody else's work waits behind ours.
Where the number of workers was said, the autoscaler is asked for room for them as long as some are missing. Such a
request is of the whole cluster, regards nobody's use of it, is replaced by anybody's next one and outlives who made it:
it therefore counts what others use, is made again and again, and withdrawn when there is room and at the end.
"""

from __future__ import annotations

import logging
import math
import signal
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import ray
from ray._private.state import available_resources_per_node
from ray.autoscaler.sdk import request_resources
from ray.exceptions import AuthenticationError

from forge_ray.cluster.code import differing
from forge_ray.cluster.jobs import Job, job_of
from forge_ray.cluster.pool import BORROWED, NAMESPACE, WORD, Pool, borrower, pool_folder
from forge_ray.cluster.token import make_token, protect_token, require_guarded, require_token_mode
from forge_ray.cluster.work import Work
from forge_ray.cluster.worker import BlockWorker, Place
from forge_ray.engine import BoundPlan
from forge_ray.errors import ForgeRayError, StoreLockedError, shown
from forge_ray.store import RunLock

_REFUSALS = (AuthenticationError, RuntimeError, ValueError, OSError)
"""What Ray raises where it cannot start or join."""
ANSWER_SECONDS = 10
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
    """The workers of a run.

    threads : of each. start_seconds : until the first of them must be there. retries : by Ray, of what they begin with,
    -1 without end: where Ray starts the dead again. Of actors that are killed before they are there it would say on
    stdout that it tries again.
    """

    threads, retries = 1, 0
    start_seconds = START_SECONDS

    @abstractmethod
    def join(self) -> None:
        """Connect to the cluster, or start it."""

    @abstractmethod
    def gather(self) -> list[Any]:
        """The actors that a run begins with. They answer when they have started."""

    def recruit(self, n_coming: int) -> list[Any]:
        """More actors, where there is room for more by now. n_coming : of those before that have not answered yet."""
        return []

    @abstractmethod
    def replace(self, dead: Any, *, with_node: bool) -> Any | None:
        """An actor in the place of one that died, None if `recruit` brings it when there is room. with_node : whether
        the room went too, or may have."""

    @abstractmethod
    def job(self, bound: BoundPlan) -> Job:
        """A bound plan for the workers."""

    @abstractmethod
    def keep(self, workers: Sequence[Worker]) -> None:
        """At the end of a run: who is there. Those that have a block still are busy for nobody, and actors that never
        came are not waited for any more."""

    def end(self) -> str:
        """Why the workers are being taken away; empty as long as they are not."""
        return ""

    def hindrance(self) -> str:
        """Why no worker may have started."""
        free = ray.available_resources().get("CPU", 0)
        needs = f", of which one node must have {self.threads} for a worker" if self.threads > 1 else ""
        return f"{free:g} CPUs of the cluster are free{needs}"

    @abstractmethod
    def leave(self) -> None:
        """Undo `join` and `gather`."""


class OwnCrew(Crew):
    """Actors of this process, on the cluster that is named, else on one embedded here. They end when it leaves.

    n_workers : default as many as there is room for, on a cluster that is named also later. threads : of each, which
    share its cache. allow_unauthenticated : also a cluster that lets in whoever reaches it. options : further arguments
    of ``ray.init`` for an embedded one.
    """

    def __init__(
        self, n_workers: int | None, cache_bytes: int, address: str | None, *, threads: int = 1,
        allow_unauthenticated: bool = False, **options: Any,
    ):  # fmt: skip
        size = {"num_cpus": n_workers * threads} if n_workers else {}
        self.n_workers, self.cache_bytes, self.options = n_workers, cache_bytes, size | options
        self.address, self.allow_unauthenticated = None if address == "local" else address, allow_unauthenticated
        self.threads, self.start_seconds = threads, JOIN_SECONDS if self.address else START_SECONDS
        self.actors: list[Any] = []
        self.owns_cluster = self._has_asked = False
        self._session = ("", "")

    def __str__(self) -> str:
        return f"the Ray cluster at {self.address}" if self.address else "an embedded Ray cluster"

    def join(self) -> None:
        if connects := not ray.is_initialized():
            self._connect()
        if (session := _session()) != self._session:  # Somebody else may have ended the last one.
            self.actors, self._has_asked, self._session, self.owns_cluster = [], False, session, connects

    def _connect(self) -> None:
        if not self.address:
            start_embedded(self.n_workers, allow_unauthenticated=self.allow_unauthenticated, **self.options)
            return
        require_answer(self.address)
        if not self.allow_unauthenticated:
            require_guarded(self.address)
        join_cluster(str(self), address=self.address, runtime_env={"env_vars": WORKER_ENV})

    def gather(self) -> list[Any]:
        if not self.address:
            for _ in range((self.n_workers or self._slots()) - len(self.actors)):
                self._hire()
        return list(self.actors)

    def _slots(self) -> int:
        """Of a cluster of one node."""
        n_cpus = int(ray.cluster_resources().get("CPU", 0))
        if n_cpus < self.threads:
            raise ClusterError(f"a worker with {self.threads} threads takes as many CPUs; the cluster has {n_cpus}")
        return n_cpus // self.threads

    def recruit(self, n_coming: int) -> list[Any]:
        if not self.address:
            return []
        free = [node.get("CPU", 0.0) for node in available_resources_per_node().values()]
        room = max(0, sum(int(cpus) // self.threads for cpus in free) - n_coming)
        if self.n_workers is not None:
            missing = self.n_workers - len(self.actors)
            if room < missing:
                self._ask(self.n_workers, ray.cluster_resources().get("CPU", 0.0) - sum(free))
            else:
                self._withdraw()
            room = min(room, missing)
        return [self._hire() for _ in range(room)]

    def _ask(self, n_workers: int, in_use: float) -> None:
        """Ask the autoscaler for room for all workers besides what others use. in_use : CPUs, ours among them."""
        others = math.ceil(max(0.0, in_use - len(self.actors) * self.threads))
        request_resources(bundles=[{"CPU": self.threads}] * n_workers + [{"CPU": 1}] * others)
        self._has_asked = True

    def _withdraw(self) -> None:
        if self._has_asked:
            request_resources(num_cpus=0)
        self._has_asked = False

    def replace(self, dead: Any, *, with_node: bool) -> Any | None:
        self.actors.remove(dead)
        return None if self.address and with_node else self._hire()

    def keep(self, workers: Sequence[Worker]) -> None:
        self._withdraw()
        there = [worker.actor for worker in workers if not worker.queue]
        for actor in [actor for actor in self.actors if actor not in there]:
            ray.kill(actor)
        self.actors = there

    def job(self, bound: BoundPlan) -> Job:
        return job_of(bound, outlives=False)

    def leave(self) -> None:
        if ray.is_initialized() and _session() == self._session:
            self.keep([])
            if self.owns_cluster:
                ray.shutdown()
        self.actors, self.owns_cluster, self._has_asked, self._session = [], False, False, ("", "")

    def _hire(self) -> Any:
        remote: Any = ray.remote(num_cpus=self.threads, max_restarts=0)(BlockWorker)
        self.actors.append(actor := remote.remote(self.cache_bytes, self.threads))
        return actor


class PoolCrew(Crew):
    """Actors of a pool on this machine, for one process at a time: who waits for a worker cannot tell whose block it
    works on, dies of or hangs in. Ray starts a dead one again; they stay when this process leaves."""

    retries = -1

    def __init__(self, pool: Pool, n_workers: int | None):
        self.pool, self.n_workers, self.word = pool, n_workers or pool.workers, pool_folder() / WORD
        self._held = ExitStack()

    def __str__(self) -> str:
        return f"the pool of process {self.pool.pid} ({self.n_workers} of {self.pool.workers} workers)"

    def join(self) -> None:
        with ExitStack() as held:
            held.enter_context(self._borrowed())
            if not ray.is_initialized():
                join_cluster(str(self), address=self.pool.address, namespace=NAMESPACE)
                held.callback(ray.shutdown)
            elif (joined := ray.get_runtime_context().gcs_address) != self.pool.address:
                text = f"this process is connected to {joined}; ray.shutdown() first, or name its address"
                raise ClusterError(f"cannot join {self}: {text}")
            self._held = held.pop_all()

    def _borrowed(self) -> AbstractContextManager[RunLock]:
        try:
            return closing(RunLock(self.word.parent / BORROWED))
        except StoreLockedError as error:
            raise ClusterError(f"cannot join {self}: it works for {borrower()}; wait, or --address local") from error

    def gather(self) -> list[Any]:
        return [ray.get_actor(name, namespace=NAMESPACE) for name in self.pool.names()[: self.n_workers]]

    def replace(self, dead: Any, *, with_node: bool) -> Any:
        return dead

    def keep(self, workers: Sequence[Worker]) -> None:
        """All are the pool's. Who is busy still starts again, lest the next job waits for what nobody wants."""
        for worker in workers:
            if worker.queue:
                ray.kill(worker.actor, no_restart=False)

    def end(self) -> str:
        return "" if self.word.exists() else f"{self} was stopped; run the same command again to go on"

    def hindrance(self) -> str:
        return f"the workers of {self} are busy with what a killed job has left (forge-ray pool stop ends it)"

    def job(self, bound: BoundPlan) -> Job:
        return job_of(bound, outlives=True)

    def leave(self) -> None:
        self._held.close()


def start_embedded(n_workers: int | None, *, allow_unauthenticated: bool = False, **options: Any) -> None:
    """Start a cluster on this machine that ends with this process. Raises `TokenError` if it would not want one, and
    `ClusterError` where Ray does not start."""
    if not allow_unauthenticated:
        require_token_mode()
    make_token()
    protect_token()
    options = {"num_cpus": n_workers, "include_dashboard": False, "dashboard_host": "127.0.0.1", **options}
    try:
        with own_sigterm():
            ray.init(address="local", runtime_env={"env_vars": WORKER_ENV}, **QUIET, **options)
    except _REFUSALS as error:
        raise ClusterError(f"Ray does not start here: {error}") from error


def join_cluster(what: str, **options: Any) -> None:
    """Raises `ClusterError` where a cluster is gone or does not take this process."""
    try:
        with own_sigterm():
            ray.init(**options, **QUIET)
    except (AuthenticationError, ConnectionError) as error:
        text = "RAY_AUTH_MODE and the token must be those of the cluster"
        raise ClusterError(f"cannot join {what}: {error}; {text}") from error
    except _REFUSALS as error:  # such as another version of Ray or Python
        raise ClusterError(f"cannot join {what}: {error}") from error


def require_answer(address: str) -> None:
    """Raises `ClusterError` for what is no address of a cluster, and where nobody answers: Ray asks for minutes."""
    if address == "auto" or address.startswith("ray://"):
        return
    if not (place := _host_and_port(address)):
        raise ClusterError(f"address {shown(address)}; allowed: auto, or HOST:PORT of the head of a Ray cluster")
    try:
        socket.create_connection(place, ANSWER_SECONDS).close()
    except OSError as error:
        raise ClusterError(f"nobody answers at {address}: {error.strerror or error}") from error


def _host_and_port(address: str) -> tuple[str, int] | None:
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    return (host, port) if host and port and parts.netloc == address else None


def _session() -> tuple[str, str]:
    """The cluster that this process has joined, and as what."""
    context = ray.get_runtime_context()
    return context.get_node_id(), context.get_job_id()


def worker_at(place: Place, actor: Any) -> Worker:
    """An actor that has said where it is. Raises `ClusterError` if it runs other code."""
    if names := differing(place.code):
        text = f"worker {place.pid} on node {place.node[:8]} runs other versions of {', '.join(names)}"
        raise ClusterError(f"{text} than this process; install the same on every node")
    return Worker(actor, place.pid, place.node)


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
