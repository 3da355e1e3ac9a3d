"""One branch bar by bar: what the metrics of its row are sums of.

The branch's own allocation is one sleeve, so its stay table holds the very integers that the simulation adds up. Rules
that trade by what is held have no stay table; there every bar is simulated as a class of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forge_ray.catalog import SEGMENTS
from forge_ray.engine.bind import BoundPlan
from forge_ray.engine.cache import Cache
from forge_ray.engine.pruning import unlimited
from forge_ray.engine.simulation import simulate_paths
from forge_ray.engine.sleeves import Sleeves, build_sleeves, vectors_along
from forge_ray.engine.values import Evaluator
from forge_ray.kernels import accounting, bits


@dataclass(frozen=True)
class BranchBars:
    """Per-bar results of one branch. n = number of returns.

    dates : (n,) int64 days since 1970-01-01, the bar at which each return's interval ends.
    net : (n,) returns after costs. log : (n,) log(1 + net), multiples of 2⁻⁴⁷, so that their sum is exact in any order.
    turnover : (n,) value traded at the bar that opens the interval, both sides, in units of equity.
    weights : (n, n_tickers) target weights in force over each interval, 0 without a price; the rest is cash.
    Between two trades what is held drifts away from them.
    """

    dates: np.ndarray
    net: np.ndarray
    log: np.ndarray
    turnover: np.ndarray
    weights: np.ndarray

    @property
    def equity(self) -> np.ndarray:
        """(n + 1,) equity, 1 before the first return."""
        return np.exp(np.concatenate([[0.0], np.cumsum(self.log)]))

    @property
    def drawdown(self) -> np.ndarray:
        """(n + 1,) fall from the highest equity so far, as a fraction, 0 or negative."""
        level = np.concatenate([[0.0], np.cumsum(self.log)])
        return np.expm1(level - np.maximum.accumulate(level))


def branch_bars(bound: BoundPlan, branch: int, cache: Cache) -> BranchBars:
    """Simulate one branch and keep every bar. Raises `IndexError` for a number outside the space."""
    tree, by_name = bound.plan.space[branch]
    values = {a: by_name[axis.id] for a, axis in enumerate(bound.plan.space.axes) if axis.id in by_name}
    allocation = Evaluator(bound.plan, bound.panel, cache).allocation(bound.plan.roots[tree], values)
    vectors = _bar_vectors(bound, build_sleeves(bound, [allocation]))
    decided = allocation.weights[allocation.row_of[bound.start + bound.rebalance_of]]
    is_alive = ~np.isnan(bound.panel.close[:, bound.first_fill : bound.first_fill + bound.n].T)

    def lane(number: int) -> np.ndarray:
        return vectors[:, number] / bound.scales[number]

    return BranchBars(
        dates=bound.return_dates,
        net=lane(accounting.RETURN),
        log=lane(accounting.LOG),
        turnover=lane(accounting.TURNOVER),
        weights=np.where(is_alive, decided, 0.0),
    )


def _bar_vectors(bound: BoundPlan, sleeves: Sleeves) -> np.ndarray:
    """(n, N_LANES) integers of every bar."""
    if not bound.plan.execution.depends_on_path:
        return vectors_along(sleeves)
    bars, n_segments = np.arange(bound.n), len(SEGMENTS)
    runs = unlimited(np.stack([bars, bars + 1, bars], axis=1))
    in_segment = np.zeros((bound.n, n_segments), bool)
    no_planes = np.empty((1, 0, 1 + bits.n_words(bound.n)), np.uint64)
    sums = np.zeros((1, bound.n, accounting.N_LANES), np.int64)
    segments, stops = np.zeros((1, 3, n_segments), np.int64), np.zeros((1, 3), np.int64)
    simulate_paths(bound, sleeves, no_planes, runs, in_segment, sums, segments, stops)
    return sums[0]
