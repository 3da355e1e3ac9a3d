"""Workers that do something to themselves where they meet certain branches, for tests of what that leads to.

They replace the real ones in the crew of a driver and reach the actors pickled by value. What they do to themselves:
``"segfault"``, ``"abort"``, ``"loop"``, ``"hog"`` (eats memory), ``"memory"`` (has none) and ``"kill"``, as the kernel
does when it is out of memory.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from forge_ray.cluster import crew, work
from forge_ray.cluster.ray_executor import ray
from forge_ray.cluster.worker import BlockWorker
from forge_ray.engine import evaluate

HOG_BYTES = 2**29
"""Where memory runs out for a hog: it must not eat all that the machine has that runs the tests."""


def plant(patch: pytest.MonkeyPatch, poison: Mapping[int, str], seconds: float = 0.0) -> None:
    """Let the workers of this process meet poison. seconds : that they need besides for whatever they evaluate."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[attr-defined]

    class Poisoned(BlockWorker):
        def __init__(self, cache_bytes: int, threads: int):
            super().__init__(cache_bytes, threads)
            work.evaluate = poisoned(poison, seconds)

    patch.setattr(crew, "BlockWorker", Poisoned)


def poisoned(poison: Mapping[int, str], seconds: float = 0.0) -> Any:
    """`engine.evaluate`, except where branches are poison."""

    def evaluated(
        bound: Any, lo: int, hi: int, cache: Any, tally: Any, known: Any, lost: Mapping[int, str]
    ) -> pa.Table:
        time.sleep(seconds)
        for branch, kind in poison.items():
            if lo <= branch < hi and branch not in lost:
                suffer(kind)
        return evaluate(bound, lo, hi, cache, tally, known, lost)

    return evaluated


def suffer(kind: str) -> None:
    match kind:
        case "segfault":
            ctypes.string_at(0)
        case "abort":
            os.abort()
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hog":
            eaten = []
            while sum(array.nbytes for array in eaten) < HOG_BYTES:
                eaten.append(np.ones(2**20))
                time.sleep(0.005)
            raise MemoryError(f"{HOG_BYTES:,} bytes are eaten")
        case "memory":
            raise MemoryError("nothing is left")
    while True:
        pass
