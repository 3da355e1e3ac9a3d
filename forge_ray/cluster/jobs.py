"""How a bound plan reaches the workers: through the object store, where it is the driver's.

Workers of the driver map its arrays there, once on a node. Workers that outlive the driver copy them, so that nothing
they keep is held by what a dead one has left. The fields of the panel lie in files wherever workers see these, and are
mapped from there by both (`data.mapped`).
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import ray

from forge_ray.engine import BoundPlan

FETCH_SECONDS = 180


@dataclass(frozen=True)
class Job:
    """reference : in a list, so that Ray hands on the reference and not its value."""

    reference: list[ray.ObjectRef]
    outlives: bool

    @property
    def key(self) -> str:
        return self.reference[0].hex()

    def open(self) -> BoundPlan:
        shared = ray.get(self.reference[0], timeout=FETCH_SECONDS)
        return deepcopy(shared) if self.outlives else shared


def job_of(bound: BoundPlan, *, outlives: bool) -> Job:
    """outlives : whether its workers outlive this process."""
    return Job([ray.put(bound)], outlives)
