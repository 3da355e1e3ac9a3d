"""The pool of this machine: workers that stay between jobs, so that a job from a new shell starts warm.

1. `start_pool` begins a process of its own (`pool_server.py`), which starts a Ray cluster and named actors in it and
   holds a lock for as long as it lives. What a driver must know of it lies beside the lock.
2. A driver joins that cluster and borrows the actors. They copy its plan and map the files of its panel, so that when
   it ends or is killed nothing of the pool was its own.
3. `stop_pool` ends that process, and with it the cluster.

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
from forge_ray.cluster.token import require_token_mode
from forge_ray.engine import kernel_cache
from forge_ray.errors import ForgeRayError, InputError, Problem, step
from forge_ray.store import is_held

NAMESPACE = "forge_ray"
START_SECONDS = 120
STOP_SECONDS = 20


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
    return Path(named) if named else kernel_cache().folder.parent.parent / "pool" / platform.node()


def find_pool() -> Pool | None:
    """The pool of this machine, None without one. One that still starts, or whose process died, is none."""
    at = pool_folder()
    return read_pool(at) if is_held(at / "lock") else None


def read_pool(at: Path) -> Pool | None:
    """What a pool has left word of in its folder, whether it lives or not."""
    try:
        return msgspec.json.decode((at / "pool.json").read_bytes(), type=Pool)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def start_pool(workers: int, cache_bytes: int) -> Pool:
    """Start the pool and wait until it can be used. cache_bytes : of each worker. Raises `PoolError`, `TokenError`."""
    require_token_mode()
    if pool := find_pool():
        raise PoolError(f"process {pool.pid} is a pool with {pool.workers} workers; end it first: forge-ray pool stop")
    at = pool_folder()
    at.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = [sys.executable, "-m", "forge_ray.cluster.pool_server", str(at), str(workers), str(cache_bytes)]
    server = _spawn(command, at / "log")
    if not _within(START_SECONDS, lambda: _has_ended(server) or find_pool() is not None):
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
    lock = pool_folder() / "lock"
    for number in (signal.SIGTERM, signal.SIGKILL):
        os.kill(pool.pid, number)
        if _within(STOP_SECONDS, lambda: not is_held(lock)):
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


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
