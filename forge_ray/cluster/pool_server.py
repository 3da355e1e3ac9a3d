"""The process of a pool: it owns the cluster and the actors, and when it ends they do. Started by `pool.start_pool`.

Ray starts an actor that died again, with an empty cache.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import ray

from forge_ray.cluster.code import running_code
from forge_ray.cluster.crew import START_SECONDS, met, start_embedded
from forge_ray.cluster.pool import NAMESPACE, Pool, read_pool
from forge_ray.cluster.worker import BlockWorker


def serve(at: Path, workers: int, cache_bytes: int) -> None:
    """Hold the pool until SIGTERM. at : the folder for its lock and for what drivers must know."""
    with (at / "lock").open("ab") as lock, tempfile.TemporaryDirectory(prefix="forge_ray_") as folder:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove_remains(at)
        start_embedded(workers, namespace=NAMESPACE, _temp_dir=f"{folder}/ray")
        ended = _on_sigterm()
        try:
            actors = _hire(workers, cache_bytes)
            pool = Pool(os.getpid(), ray.get_runtime_context().gcs_address, workers, cache_bytes, folder,
                        running_code(), time.time())  # fmt: skip
            (at / "pool.new").write_bytes(msgspec.json.encode(pool))
            (at / "pool.new").replace(at / "pool.json")
            ended.wait()
            del actors  # Their handles kept them alive.
        finally:
            (at / "pool.json").unlink(missing_ok=True)
            ray.shutdown()


def remove_remains(at: Path) -> None:
    """What a pool that was killed has left: word of itself, and its folder."""
    if (pool := read_pool(at)) is not None:
        shutil.rmtree(pool.folder, ignore_errors=True)
    (at / "pool.json").unlink(missing_ok=True)


def _hire(workers: int, cache_bytes: int) -> list[Any]:
    remote: Any = ray.remote(num_cpus=1, max_restarts=-1)(BlockWorker)
    actors = [remote.options(name=f"worker-{k}").remote(cache_bytes) for k in range(workers)]
    met(actors, START_SECONDS)
    return actors


def _on_sigterm() -> threading.Event:
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, end)
    return ended


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
