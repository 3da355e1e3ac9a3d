"""A workload: the job that forge_ray is given, and the same branches for every competitor.

A competitor is prepared (`Task`) with the branches it shall do and signals that are computed already; what is timed is
the rest. forge_ray computes its signals within its time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import one_pass
import per_branch
from signals import Days

from forge_ray.engine import BoundPlan
from forge_ray.run import prepare
from forge_ray.sweep import parse_job

MARKET = {"data": "sample:us20", "benchmark": "SPX", "split": "even_odd_month"}


@dataclass(frozen=True)
class Task:
    """Some branches, ready to be timed.

    run : gives (n_branches, n_segments, n_metrics), of the first segments of full, is, oos. weights : of the j-th
    branch (n, n_tickers), or None where the competitor does not tell.
    """

    branches: np.ndarray
    metrics: tuple[str, ...]
    run: Callable[[], np.ndarray]
    weights: Callable[[int], np.ndarray] | None = None


class Workload(ABC):
    """A job, bound, and who else computes its branches. `slice` is what the engine does of it, without --quick all."""

    job: dict[str, Any]
    quick: int | None = None

    @cached_property
    def bound(self) -> BoundPlan:
        return prepare(parse_job(self.job)).bound

    @cached_property
    def days(self) -> Days:
        return Days(self.bound)

    def slice(self, is_quick: bool) -> tuple[int, int]:
        size = self.bound.plan.space.size
        return (0, min(size, self.quick)) if is_quick and self.quick else (0, size)

    @abstractmethod
    def tasks(self, lo: int, hi: int) -> dict[str, Task]:
        """Who else computes branches [lo, hi), by name."""

    def numpy_task(self, branches: np.ndarray, weights: Callable[[int], np.ndarray]) -> Task:
        """weights : of the j-th branch (n, n_tickers). The tickers that are never held are left out before the time."""
        days = self.days
        given = [weights(j) for j in range(len(branches))]
        held = [np.flatnonzero(w.any(axis=0)) for w in given]
        parts = [(w[:, k], days.returns[k].T) for w, k in zip(given, held, strict=True)]

        def run() -> np.ndarray:
            return np.array([per_branch.branch(w, r, days.benchmark, days.is_oos, days.cost) for w, r in parts])

        return Task(branches, one_pass.METRICS, run, given.__getitem__)


def sparse(leaves: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """starts, columns, weights of rows (n_rows, n_tickers)."""
    held = leaves > 0
    starts = np.concatenate([[0], np.cumsum(held.sum(axis=1))]).astype(np.int64)
    return starts, np.nonzero(held)[1].astype(np.int64), leaves[held]
