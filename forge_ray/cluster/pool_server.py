"""The process of a pool: it owns the cluster and the actors, and when it ends they do. Started by `pool.start_pool`.

Ray starts an actor that died again, with an empty cache.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import ray
from ray.exceptions import GetTimeoutError

from forge_ray.cluster.code import running_code
from forge_ray.cluster.crew import start_embedded
from forge_ray.cluster.pool import (
    ACTORS_SECONDS,
    BORROWED,
    FAREWELL_SECONDS,
    NAMESPACE,
    WORD,
    Pool,
    PoolError,
    read_pool,
    within,
)
from forge_ray.cluster.worker import BlockWorker
from forge_ray.store import LOCK, RunLock, is_held


def serve(at: Path, workers: int, cache_bytes: int) -> None:
    """Hold the pool until SIGTERM. at : the folder for its lock and for what drivers must know."""
    with closing(RunLock(at / LOCK)), tempfile.TemporaryDirectory(prefix="forge_ray_") as folder:
        remove_remains(at)
        start_embedded(workers, namespace=NAMESPACE, _temp_dir=f"{folder}/ray")
        ended = _on_sigterm()
        try:
            actors = _hire(workers, cache_bytes)
            pool = Pool(os.getpid(), ray.get_runtime_context().gcs_address, workers, cache_bytes, folder,
                        running_code(), time.time())  # fmt: skip
            (at / "pool.new").write_bytes(msgspec.json.encode(pool))
            (at / "pool.new").replace(at / WORD)
            ended.wait()
            (at / WORD).unlink(missing_ok=True)
            within(FAREWELL_SECONDS, lambda: not is_held(at / BORROWED))
            del actors  # Their handles kept them alive.
        finally:
            (at / WORD).unlink(missing_ok=True)
            ray.shutdown()


def remove_remains(at: Path) -> None:
    """What a pool that was killed has left: word of itself, and its folder."""
    if (pool := read_pool(at)) is not None:
        shutil.rmtree(pool.folder, ignore_errors=True)
    (at / WORD).unlink(missing_ok=True)


def _hire(workers: int, cache_bytes: int) -> list[Any]:
    remote: Any = ray.remote(num_cpus=1, max_restarts=-1)(BlockWorker)
    actors = [remote.options(name=f"worker-{k}").remote(cache_bytes) for k in range(workers)]
    try:
        ray.get([actor.where.remote() for actor in actors], timeout=ACTORS_SECONDS)
    except GetTimeoutError as error:
        free = ray.available_resources().get("CPU", 0)
        raise PoolError(f"workers did not start within {ACTORS_SECONDS} s; {free:g} CPUs are free") from error
    return actors


def _on_sigterm() -> threading.Event:
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, end)
    return ended


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
