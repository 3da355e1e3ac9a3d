"""The pool of this machine: workers that stay between jobs, so that a job from a new shell starts warm.

1. `start_pool` begins a process of its own (`pool_server.py`), which starts a Ray cluster and named actors in it and
   holds a lock for as long as it lives. What a driver must know of it lies beside the lock.
2. A driver joins that cluster and borrows the actors, one driver at a time, under a second lock. They copy its plan and
   map the files of its panel, so that when it ends or is killed nothing of the pool was its own.
3. `stop_pool` ends that process, and with it the cluster, once the driver that has it has seen that its word is gone.

A driver that runs other code than the pool does not use it. Knows nothing of Ray, so that asking is quick.
"""

from __future__ import annotations

import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from forge_ray.cluster.code import differing
from forge_ray.cluster.token import make_token, require_token_mode
from forge_ray.engine import cache_folder
from forge_ray.errors import ForgeRayError, InputError, Problem, step
from forge_ray.store import LOCK, holder_of, is_held

NAMESPACE = "forge_ray"
ACTORS_SECONDS, START_SECONDS = 120, 240
"""Until the workers of a pool must be there, and until the pool must."""
STOP_SECONDS, FAREWELL_SECONDS = 20, 3
"""Until a pool must have ended, and how long it waits for the driver that has it."""
WORD, BORROWED = "pool.json", "borrowed"
"""What a pool leaves word of itself in, and the lock of the driver that has it."""


class PoolError(ForgeRayError):
    """There is no pool where one is needed, or one where there should be none, or it does not start or end."""


class Pool(msgspec.Struct, frozen=True):
    """A pool that is there.

    address : of its cluster. folder : of the files of its cluster. code : what it runs. since : unix seconds.
    """

    pid: int
    address: str
    workers: int
    cache_bytes: int
    folder: str
    code: dict[str, str]
    since: float

    def names(self) -> list[str]:
        """Of its actors."""
        return [f"worker-{k}" for k in range(self.workers)]

    def differing(self) -> list[str]:
        """Names of what it runs in another version than this process."""
        return differing(self.code)


def pool_folder() -> Path:
    """Where the pool of this user on this machine leaves word of itself: ``$FORGE_RAY_POOL``, else beside the cache of
    the kernels. Raises `InputError` where that is a file."""
    named = os.environ.get("FORGE_RAY_POOL")
    if named and any(place.is_file() for place in (Path(named), *Path(named).parents)):
        raise InputError([Problem("FORGE_RAY_POOL", f"{step(named)} is, or lies below, a file; allowed: a folder")])
    return Path(named) if named else cache_folder() / "pool" / platform.node()


def find_pool() -> Pool | None:
    """The pool of this machine, None without one. One that still starts, or whose process died, is none: word of the
    one before may lie there until then. Nor is one of another user, whose folder lets in nobody else."""
    at = pool_folder()
    if not os.access(at, os.R_OK | os.X_OK) or not is_held(at / LOCK):
        return None
    pool, holder = read_pool(at), holder_of(at / LOCK)
    return pool if pool and holder and holder.pid == pool.pid else None


def borrower() -> str:
    """The process whose job the pool of this machine works for; empty if it is free."""
    lock = pool_folder() / BORROWED
    if not is_held(lock):
        return ""
    holder = holder_of(lock)
    return f"process {holder.pid}" if holder else "another process"


def read_pool(at: Path) -> Pool | None:
    """What a pool has left word of in its folder, whether it lives or not."""
    try:
        return msgspec.json.decode((at / WORD).read_bytes(), type=Pool)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def start_pool(workers: int, cache_bytes: int) -> Pool:
    """Start the pool and wait until it can be used. cache_bytes : of each worker. Raises `PoolError`, `TokenError`."""
    require_token_mode()
    make_token()
    if pool := find_pool():
        raise PoolError(f"process {pool.pid} is a pool with {pool.workers} workers; end it first: forge-ray pool stop")
    at = pool_folder()
    if is_held(at / LOCK):
        raise PoolError("another process starts a pool, or ends one; ask again: forge-ray pool status")
    try:
        at.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PoolError(f"{at}: {error.strerror}; FORGE_RAY_POOL names another folder") from error
    command = [sys.executable, "-m", "forge_ray.cluster.pool_server", str(at), str(workers), str(cache_bytes)]
    server = _spawn(command, at / "log")
    is_there = False
    try:
        is_there = within(START_SECONDS, lambda: _has_ended(server) or find_pool() is not None)
    finally:
        if not is_there:
            os.kill(server, signal.SIGTERM)
    pool = find_pool()
    if pool is None or pool.pid != server:
        end = (at / "log").read_text(errors="replace").strip().splitlines()[-5:]
        raise PoolError("\n".join([f"the pool did not start; the end of {at / 'log'}:", *end]))
    return pool


def stop_pool() -> Pool:
    """End the pool and wait until it is gone. Raises `PoolError` without one."""
    pool = find_pool()
    if pool is None:
        raise PoolError("no pool is running; forge-ray pool start begins one")
    lock = pool_folder() / LOCK
    for number in (signal.SIGTERM, signal.SIGKILL):
        os.kill(pool.pid, number)
        if within(STOP_SECONDS, lambda: not is_held(lock)):
            return pool
    raise PoolError(f"process {pool.pid} does not end")


def _spawn(command: list[str], log: Path) -> int:
    """Start a process that has nothing to do with this one's terminal and outlives it; its pid."""
    inout = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(command[0], command, os.environ, file_actions=inout, setsid=True)


def _has_ended(child: int) -> bool:
    return os.waitpid(child, os.WNOHANG)[0] == child


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Whether a condition holds before so many seconds have passed."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
