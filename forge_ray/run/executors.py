"""Which executor computes a run, how much each worker may keep, and what stays from one run to the next."""

from __future__ import annotations

import logging
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from forge_ray.errors import InputError, Problem, step
from forge_ray.jsontext import MAX_PATH
from forge_ray.run.execution import Executor

if TYPE_CHECKING:
    from forge_ray.cluster.crew import Crew
    from forge_ray.cluster.local import LocalExecutor
    from forge_ray.cluster.pool import Pool

log = logging.getLogger(__name__)

CACHE_BYTES = 256 * 2**20
"""Of each worker of a sweep."""


def default_workers(workers: int | None, threads: int = 1) -> int:
    """As many as asked for, else as many with so many threads as this machine has CPUs for."""
    return workers or max(1, (os.cpu_count() or 1) // threads)


def choose_executor(
    *, ray: bool, workers: int | None = None, threads: int = 1, address: str | None = None,
    allow_unauthenticated: bool = False, block_seconds: float | None = None, timeline: Path | None = None,
) -> Executor:  # fmt: skip
    """Ray (the cluster at ``address`` or RAY_ADDRESS, else the pool of this machine, else an embedded cluster), or
    threads of this process.

    workers : default one per CPU, on Ray as many as the cluster has CPUs for, also when it grows. threads : on Ray, of
    each worker, which share its cache. allow_unauthenticated : also a cluster that wants no token. block_seconds : on
    Ray, after which a worker is taken to hang. timeline : the file for Ray's timeline, see `check_timeline`.
    """
    _check_threads(ray, threads)
    if not ray:
        from forge_ray.cluster.local import LocalExecutor

        return LocalExecutor(default_workers(workers), CACHE_BYTES)
    from forge_ray.cluster.ray_executor import RayExecutor

    crew = _pool_crew(workers, threads, address)
    return RayExecutor(
        workers, CACHE_BYTES, address, threads=threads, crew=crew, block_seconds=block_seconds, timeline=timeline,
        allow_unauthenticated=allow_unauthenticated,
    )  # fmt: skip


def check_timeline(path: Path, *, ray: bool) -> None:
    """Raises `InputError` if no timeline can be written there, or if there is none; what is there stays as it is."""
    if not ray:
        raise InputError(
            [Problem("timeline", "is written by Ray, and threads do without it; allowed: without --local")]
        )
    try:
        is_new = not path.exists()
        path.open("ab").close()
        if is_new:
            path.unlink()
    except OSError as error:
        raise InputError([Problem("timeline", f"{step(str(path), MAX_PATH)}: {error.strerror}")]) from error


def _check_threads(ray: bool, threads: int) -> None:
    if threads < 1:
        raise InputError([Problem("threads", f"got {threads}; allowed: 1 and more")])
    if threads > 1 and not ray:
        raise InputError([Problem("threads", f"got {threads}; allowed: 1, without Ray the workers are threads")])


def _pool_crew(workers: int | None, threads: int, address: str | None) -> Crew | None:
    """Workers of the pool, if there is one that will do; why it will not is told."""
    from forge_ray.cluster.pool import find_pool

    if address or os.environ.get("RAY_ADDRESS") or (pool := find_pool()) is None:
        return None
    if why := _unfit(pool, workers, threads):
        log.warning("the pool of process %d is not used: %s; an embedded cluster is started", pool.pid, why)
        return None
    from forge_ray.cluster.crew import PoolCrew

    return PoolCrew(pool, workers)


def _unfit(pool: Pool, workers: int | None, threads: int) -> str:
    from forge_ray.cluster.pool import borrower

    if names := pool.differing():
        return f"it runs other versions of {', '.join(names)} (forge-ray pool stop, then start)"
    if threads > 1:
        return f"its workers have one thread each, asked for are {threads}"
    if (workers or 0) > pool.workers:
        return f"it has {pool.workers} workers, asked for are {workers}"
    return f"it works for {name}" if (name := borrower()) else ""


class Session:
    """What stays between the runs of one process: the cache of its threads, or the actors of its own cluster."""

    def __init__(self) -> None:
        self._threads: LocalExecutor | None = None
        self._crew: Crew | None = None
        self._asked: tuple[int | None, int, str | None, bool] = (None, 1, None, False)

    def executor(
        self, *, ray: bool, workers: int | None = None, threads: int = 1, address: str | None = None,
        allow_unauthenticated: bool = False,
    ) -> Executor:  # fmt: skip
        """As `choose_executor`, warm with what the runs before have left."""
        _check_threads(ray, threads)
        if not ray:
            from forge_ray.cluster.local import LocalExecutor

            self._threads = self._threads or LocalExecutor(1, CACHE_BYTES)
            self._threads.workers = default_workers(workers)
            return self._threads
        from forge_ray.cluster.crew import OwnCrew
        from forge_ray.cluster.ray_executor import RayExecutor

        address = address or os.environ.get("RAY_ADDRESS")
        asked, pooled = (workers, threads, address, allow_unauthenticated), _pool_crew(workers, threads, address)
        if self._crew is not None and (pooled or self._asked != asked):
            self.close()
        if pooled:
            return RayExecutor(workers, CACHE_BYTES, crew=pooled)
        self._asked = asked
        self._crew = self._crew or OwnCrew(
            workers, CACHE_BYTES, address, threads=threads, allow_unauthenticated=allow_unauthenticated
        )
        return RayExecutor(workers, CACHE_BYTES, crew=self._crew, stays=True)

    def close(self) -> None:
        """Let the actors go, and their cluster if it was started for them."""
        if self._crew is not None:
            self._crew.leave()
        self._crew = None


@cache
def session() -> Session:
    """The one of this process."""
    return Session()
