"""Days in the market and trades of branches from their planes, and the requirements that these miss."""

from __future__ import annotations

import numpy as np

from forge_ray.engine.bind import BoundPlan
from forge_ray.engine.planes import Planes
from forge_ray.engine.simulation import STRETCH
from forge_ray.engine.sleeves import Sleeves
from forge_ray.kernels import bits
from forge_ray.kernels.holdings import count_holdings

_COLUMN = {"time_in_market": 0, "trades": 1}


def missed_counts(bound: BoundPlan, sleeves: Sleeves, planes: Planes) -> np.ndarray:
    """(n_branches,) bit r for requirement r of ``bound.pruning.counts`` that a branch misses for certain.

    The counts are those of the simulation, and the metrics those of the finalizer, not bounds of them.
    """
    counts, requirements = holdings(bound, sleeves, planes), bound.pruning.counts
    n_days = bound.classes[bound.class_in_segment[:, bound.pruning.searched], 0].sum()
    why = np.zeros(len(planes), np.int64)
    for r, requirement in enumerate(requirements):
        value = counts[:, _COLUMN[requirement.metric]].astype(np.float64)
        if requirement.metric == "time_in_market":
            value = np.divide(value, n_days, out=np.full(len(value), np.nan), where=n_days > 0)
        why |= np.where(requirement.is_met(value), 0, 1 << r)
    return why


def holdings(bound: BoundPlan, sleeves: Sleeves, planes: Planes) -> np.ndarray:
    """(n_branches, 2) searched days in the market, and those on which the set of held tickers changes, 0 if no
    requirement asks."""
    in_market = sleeves.in_market
    asks_trades = any(requirement.metric == "trades" for requirement in bound.pruning.counts)
    sets = sleeves.held_numbers if asks_trades else np.empty((len(in_market), 0, bound.n), bool)
    is_searched = bound.class_in_segment[bound.class_of, bound.pruning.searched]
    out = np.zeros((len(planes), 2), np.int64)
    for first in range(0, bound.n, STRETCH):
        last = min(first + STRETCH, bound.n)
        count_holdings(
            planes.within(first, last), bits.pack_decisions(in_market, first, last),
            bits.pack_decisions(sets, first, last), bits.pack_decisions(is_searched, first, last), out,
        )  # fmt: skip
    return out
