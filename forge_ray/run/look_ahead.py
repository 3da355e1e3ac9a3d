"""Whether decisions of a plan look ahead: they are taken again in a market with another future, and compared by bits.

A cut at bar t leaves the bars before it as they are. What must not change: the target weights of the bars before t, and
in the modes that know only the bars before the deciding one, those of t too.

1. Scramble: every field of every bar from t on becomes random, within the history, far from it and far on the other
   side, so that a value which should not be seen changes what it is compared with. Dates stay: they are no information
   about prices.
2. Truncation: the bars from t on do not exist. That shows what scrambles cannot, use of who is still there later or of
   how much is still to come.

Everything from the bars of the source on happens again: the chain of adjusted prices, the calendar, indicators,
simulated equities, gates, weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from forge_ray.data import Future, Panel, RawMarket
from forge_ray.engine import Cache, Evaluator, start_ladder
from forge_ray.plan import Plan

CACHE_BYTES = 64 * 2**20
TRUNCATED = "truncated"


@dataclass(frozen=True, eq=False)
class Outcome:
    """The decisions with another future. future : the `Future` of a scramble, or "truncated".

    weights : (n_trees, n bars, n_tickers). looked_ahead : (n_trees, n_bars) decisions that must not differ and do.
    reacts : (n_trees,) whether any of those that may differ does.
    """

    future: str
    weights: np.ndarray
    looked_ahead: np.ndarray
    reacts: np.ndarray


class LookAhead:
    """The decisions of a plan without axes on a market: `weights` (n_trees, n_bars, n_tickers) on its `panel`."""

    def __init__(self, plan: Plan, market: RawMarket):
        self.plan = plan
        self.market = replace(market, carried=tuple(sorted(plan.execution.carried_tickers)))  # no benchmark decides
        self.panel = self.market.panel()
        self.weights = decisions(plan, self.panel)

    def scramble(self, t: int, seed: Sequence[int], futures: Iterable[Future] = tuple(Future)) -> list[Outcome]:
        """Other prices from bar t ≥ 1 on, once for each kind of future. seed : of the prices."""
        day, settled = self._day(t), t + self.plan.execution.fills.delay
        return [self._outcome(future, self.market.scrambled(day, future, seed), settled) for future in futures]

    def truncate(self, t: int) -> Outcome:
        """No prices from bar t on, `first_truncation` or later; the first `n_comparable` decisions must not differ."""
        return self._outcome(TRUNCATED, self.market.truncated(self._day(t)), self.n_comparable(t))

    def _outcome(self, future: str, market: RawMarket, settled: int) -> Outcome:
        panel = market.panel()
        weights, n = decisions(self.plan, panel), min(len(panel.dates), len(self.panel.dates))
        n_same = int(np.cumprod(panel.dates[:n] == self.panel.dates[:n]).sum())
        differs = np.ones(self.weights.shape[:2], bool)  # also where the calendars do
        whole, other = (found[:, :n_same].view(np.int64) for found in (self.weights, weights))
        differs[:, :n_same] = (whole != other).any(axis=2)
        reacts = np.asarray(differs[:, settled:].any(axis=1))
        differs[:, settled:] = False
        return Outcome(future, weights, differs, reacts)

    @property
    def first_truncation(self) -> int:
        """The first cut at which all tickers have the bars that the plan looks back on."""
        rungs = (rung.bar for rung in start_ladder(self.plan, self.panel))
        rates = (int(np.isnan(fields["close"]).sum()) for fields in self.panel.carried.values())
        return max((*rungs, *rates), default=0) + 1

    def n_comparable(self, t: int) -> int:
        """Decisions before a cut at t that a market truncated there can be compared in.

        A ticker without a bar on the last day (`calendar: union`) that comes back after the cut is held over in the
        whole market and gone from the truncated one, so nothing is compared after its last bar.
        """
        day, comparable = self._day(t), t
        for own in self.panel.bars:
            known = own.dates[own.dates <= day]
            if len(known) and len(known) < len(own.dates):
                comparable = min(comparable, int(np.searchsorted(self.panel.dates, known[-1], side="right")))
        return comparable

    def _day(self, t: int) -> int:
        """The last day that is left as it is by a cut at t."""
        return int(self.panel.dates[t - 1])


def decisions(plan: Plan, panel: Panel) -> np.ndarray:
    """(n_trees, n_bars, n_tickers) target weights of every tree of a plan without axes on every bar.

    Random prices may grow an equity beyond what a float holds; such decisions are later than what is compared.
    """
    evaluator = Evaluator(plan, panel, Cache(CACHE_BYTES))
    with np.errstate(all="ignore"):
        found = [evaluator.allocation(root, {}) for root in plan.roots]
    return np.stack([allocation.weights[allocation.row_of] for allocation in found])
