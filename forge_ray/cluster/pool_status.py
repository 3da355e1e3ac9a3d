"""What the workers of a pool say of themselves."""

from __future__ import annotations

import ray
from ray.exceptions import RayActorError

from forge_ray.cluster.crew import join_cluster
from forge_ray.cluster.pool import NAMESPACE, Pool
from forge_ray.cluster.worker import Report

ANSWER_SECONDS = 5.0


def reports(pool: Pool) -> dict[str, Report | None]:
    """By name of the worker; None if it does not answer soon, as it has a block in hand or is being started again."""
    join_cluster(f"the pool of process {pool.pid}", address=pool.address, namespace=NAMESPACE)
    try:
        asked = {ray.get_actor(name, namespace=NAMESPACE).report.remote(): name for name in pool.names()}
        answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_SECONDS)
        return {name: _answer(reference) if reference in answered else None for reference, name in asked.items()}
    finally:
        ray.shutdown()


def _answer(reference: ray.ObjectRef) -> Report | None:
    try:
        return ray.get(reference, timeout=ANSWER_SECONDS)
    except RayActorError:
        return None
