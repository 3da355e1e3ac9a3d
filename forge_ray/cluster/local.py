"""The executor that defines the others: threads in this process. The kernels release the GIL."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor

from forge_ray.cluster.work import Done, Work, do
from forge_ray.engine import BoundPlan, Cache


class LocalExecutor:
    """Evaluates blocks on `workers` threads that share one cache, two blocks in flight per thread.

    The cache stays with the executor: a second run with it starts warm.
    """

    def __init__(self, workers: int, cache_bytes: int):
        self.workers, self.cache = workers, Cache(cache_bytes)

    def __str__(self) -> str:
        return f"{self.workers} thread(s) of this process"

    def run(self, bound: BoundPlan, blocks: Iterable[Work]) -> Generator[Done]:
        """Finished blocks, in the order of the blocks. Closing the iterator drops what has not begun."""
        pending = deque()
        pool = ThreadPoolExecutor(self.workers)
        try:
            for work in blocks:
                pending.append(pool.submit(do, work, bound, self.cache))
                if len(pending) >= 2 * self.workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
