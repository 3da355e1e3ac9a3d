"""Which executor computes a run, and how much each worker may keep."""

from __future__ import annotations

import os

from forge_ray.run.execution import Executor

CACHE_BYTES = 256 * 2**20
"""Of each worker of a sweep."""


def default_workers(workers: int | None) -> int:
    """As many as asked for, else one per CPU of this machine."""
    return workers or os.cpu_count() or 1


def choose_executor(*, ray: bool, workers: int | None = None, address: str | None = None) -> Executor:
    """Ray (``address``, else RAY_ADDRESS, else an embedded cluster), or threads of this process.

    workers : default one per CPU, on Ray one per CPU of the cluster.
    """
    if ray:
        from forge_ray.cluster.ray_executor import RayExecutor

        return RayExecutor(workers, CACHE_BYTES, address)
    from forge_ray.cluster.local import LocalExecutor

    return LocalExecutor(default_workers(workers), CACHE_BYTES)
