"""The executor that defines the others: threads in this process. The kernels release the GIL."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice

from forge_ray.cluster.work import MOMENT_SECONDS, Done, Work, do
from forge_ray.engine import BoundPlan, Cache


class LocalExecutor:
    """Evaluates blocks on `workers` threads that share one cache, two blocks in flight per thread.

    The cache stays with the executor: a second run with it starts warm.
    """

    def __init__(self, workers: int, cache_bytes: int):
        self.workers, self.cache = workers, Cache(cache_bytes)

    def __str__(self) -> str:
        return f"{self.workers} thread(s) of this process"

    def run(self, bound: BoundPlan, blocks: Iterable[Work]) -> Generator[Done | None]:
        """Finished blocks, as they finish. Closing the iterator drops what has not begun; a block that a thread is
        working on goes on, and what it still writes is an orphan."""
        pending, left = deque[Future[Done]](), iter(blocks)
        pool = ThreadPoolExecutor(self.workers)
        try:
            while True:
                for work in islice(left, 2 * self.workers - len(pending)):
                    pending.append(pool.submit(do, work, bound, self.cache))
                if not pending:
                    return
                wait(pending, MOMENT_SECONDS, FIRST_COMPLETED)
                finished = [block for block in pending if block.done()]
                for block in finished:
                    pending.remove(block)
                    yield block.result()
                if not finished:
                    yield None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
