"""The actor: one process that evaluates blocks of any job and keeps what jobs share."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import ray

from forge_ray.cluster.code import running_code
from forge_ray.cluster.jobs import Job
from forge_ray.cluster.logs import keep_records
from forge_ray.cluster.work import Done, Work, do, naming_block, probe
from forge_ray.data import MappedFields
from forge_ray.engine import BoundPlan, Cache, Tally, warm_kernels

T = TypeVar("T")
KEPT_JOBS = 4


@dataclass(frozen=True)
class Place:
    """Who a worker is. code : what it runs, see `running_code`."""

    pid: int
    node: str
    code: dict[str, str]


@dataclass(frozen=True)
class Report:
    """What a worker has done and holds. bytes : of memory that no other process shares. contents : values and bytes in
    its cache by kind. counts : as `Tally.counts`, of all its blocks."""

    pid: int
    seconds: float
    blocks: int
    bytes: int
    cache_bytes: int
    contents: dict[str, tuple[int, int]]
    counts: dict[str, int]


class BlockWorker:
    """Jobs come with the calls and are kept, so that a restart needs no constructor data. threads : that share the
    cache, each with a part of a block."""

    def __init__(self, cache_bytes: int, threads: int = 1):
        self.code, self.began, self.threads = running_code(), time.monotonic(), threads
        self.cache, self.tally, self.blocks = Cache(cache_bytes), Tally(), 0
        self.log = keep_records()
        self.jobs: _Recent[BoundPlan] = _Recent()

    @ray.method(max_task_retries=-1)
    def where(self) -> Place:
        """Answers once a worker that was lost is there again."""
        return Place(os.getpid(), ray.get_runtime_context().get_node_id(), self.code)

    @ray.method(max_task_retries=-1)
    def warm(self, kernels: tuple[str, ...]) -> None:
        """Compile the kernels, or load them from this node's cache."""
        warm_kernels(kernels)

    @ray.method(max_task_retries=-1)
    def sees(self, fields: MappedFields) -> bool:
        """Whether the files of these fields are here."""
        return fields.are_here()

    def do(self, job: Job, work: Work) -> Done:
        done = do(work, self._opened(job, work), self.cache, self.threads)
        self.tally.add(Tally.read(done.receipt.counts))
        self.blocks += 1
        return replace(done, records=self.log.taken())

    def probe(self, job: Job, work: Work, memory: int | None) -> float:
        """Whether this process survives some branches, see `work.probe`."""
        return probe(work, self._opened(job, work), self.cache, memory, self.threads)

    def _opened(self, job: Job, work: Work) -> BoundPlan:
        with naming_block(work):
            return self.jobs.get(job.key, job.open)

    def report(self) -> Report:
        return Report(
            pid=os.getpid(),
            seconds=time.monotonic() - self.began,
            blocks=self.blocks,
            bytes=_private_bytes(),
            cache_bytes=self.cache.limit_bytes,
            contents=self.cache.contents(),
            counts=self.tally.counts(),
        )


class _Recent(Generic[T]):
    """The values of the last few keys."""

    def __init__(self) -> None:
        self._values: OrderedDict[str, T] = OrderedDict()

    def get(self, key: str, make: Callable[[], T]) -> T:
        if key not in self._values:
            self._values[key] = make()
        self._values.move_to_end(key)
        while len(self._values) > KEPT_JOBS:
            self._values.popitem(last=False)
        return self._values[key]


def _private_bytes() -> int:
    """Of memory that no other process shares, also of files."""
    lines = (line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    return 1024 * sum(int(kib) for name, kib, *_ in lines if name in ("Private_Clean:", "Private_Dirty:"))
