"""How a bound plan reaches the workers: through the object store, where it is the driver's.

Workers of the driver map its arrays there, once on a node. Workers that outlive the driver copy them, so that nothing
they keep is held by what a dead one has left. The fields of the panel lie in files wherever workers see these, and are
mapped from there by both (`data.mapped`).
"""

from __future__ import annotations

import logging
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import ray
from ray import cloudpickle
from ray.exceptions import ObjectStoreFullError, OutOfDiskError

from forge_ray.engine import BoundPlan
from forge_ray.errors import DiskError

log = logging.getLogger(__name__)

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
    """outlives : whether its workers outlive this process. Raises `DiskError` where neither the object store nor the
    disk that Ray spills to has room."""
    warn_of_spilling(bound)
    try:
        return Job([ray.put(bound)], outlives)
    except (ObjectStoreFullError, OutOfDiskError) as error:
        reason = str(error).partition("\n")[0]
        raise DiskError(f"the object store of this node has no room for the plan and its panel: {reason}") from error


def warn_of_spilling(bound: BoundPlan) -> None:
    """Say so if the object store of a node is smaller than what it will be given."""
    stores = [node["Resources"].get("object_store_memory", 0) for node in ray.nodes() if node["Alive"]]
    if (size := stored_bytes(bound)) > (least := int(min(stores))):
        sizes = f"the plan and its panel are {size:,} bytes, the object store of a node holds {least:,}"
        log.warning("%s: Ray spills to its disk, which is slower; --object-store-memory of ray start sets it", sizes)


def stored_bytes(value: object) -> int:
    """What a value takes in the object store."""
    arrays: list[Any] = []
    dumps: Any = cloudpickle.dumps  # pyright: ignore[reportPrivateImportUsage]
    rest = dumps(value, protocol=5, buffer_callback=arrays.append)
    return len(rest) + sum(array.raw().nbytes for array in arrays)
