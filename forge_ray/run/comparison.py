"""What a tree holds here against what another program says it held, date by date.

1. A row of the table is what was held after the close of its date, so it is compared with the decision that is in force
   after that bar: target weights, without the drift since the last trade.
2. Holdings differ by a ticker that one side holds and the other does not; days are equal if no holding and no weight
   differs. What a table rounds to nothing is no difference of holdings.
3. Days that differ one after the other are a *stretch*. Its first day is explained: the path here, and each condition
   on it whose flip alone gives what the table holds; those nearest to flipping if there is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsInt

import numpy as np

from forge_ray.data import Allocations, as_date, read_allocations
from forge_ray.engine import BoundPlan, Cache, Evaluator
from forge_ray.errors import InputError, Problem
from forge_ray.run.differences import NOTHING, explain_difference, near_weights, same_holdings, with_cash
from forge_ray.run.execution import BRANCH_CACHE_BYTES, prepare_branch
from forge_ray.sweep import Sweep

TOLERANCE = 0.005
SHIFTS = range(-2, 3)
N_NAMED = 5


def compare(
    sweep: Sweep,
    file: str | Path,
    *,
    shift: int = 0,
    tolerance: float = TOLERANCE,
    unit: str | None = None,
    n: int = 5,
    options: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Compare the only branch of a sweep with a CSV table of allocations; plain JSON values.

    shift : a row is compared with the decision so many bars before its date. tolerance : what a weight may be off, a
    fraction of the portfolio. unit : "percent" or "fraction", for a table that does not show it. n : how many stretches
    of differing days are explained. options : ``ticker.OLD`` → NEW renames a ticker of the table.
    Raises `InputError` for a table that cannot be read, and for one without a common date.
    """
    from forge_ray.tree.importers import table_ticker  # the other commands need no importer

    if not 0 <= tolerance < 1:
        raise InputError([Problem("tolerance", f"expected a fraction from 0 to 1, got {tolerance:g}")])
    table = read_allocations(file, lambda text: table_ticker(text, options or {}), unit)
    bound, cache = prepare_branch(sweep).bound, Cache(BRANCH_CACHE_BYTES)
    match = _match(bound, table, cache)
    rows = match.rows(shift)
    if not len(rows):
        raise InputError([Problem(str(file), _nothing_common(bound, table, shift))])
    found = match.differences(rows, shift, tolerance)
    stretches = list(_stretches(rows, found.equal))
    return {
        "name": sweep.name,
        "file": str(file),
        "unit": table.unit,
        "shift": shift,
        "tolerance": tolerance,
        "first": _iso(table.dates[rows[0]]),
        "last": _iso(table.dates[rows[-1]]),
        "dates": len(rows),
        "equal": int(found.equal.sum()),
        "share_equal": float(found.equal.mean()),
        "share_same_holdings": float(found.same.mean()),
        "mean_distance": float(found.distance.mean()),
        **match.unmatched(rows, shift),
        "better_shift": match.better_shift(shift, tolerance),
        "stretches": len(stretches),
        "differences": [_difference(match, stretch, shift, tolerance, cache) for stretch in stretches[: max(n, 0)]],
    }


@dataclass(frozen=True)
class _Differences:
    """Per compared date. equal, same : whether weights and holdings, or holdings are. distance : ½Σ|Δw| with cash."""

    equal: np.ndarray
    same: np.ndarray
    distance: np.ndarray


@dataclass(frozen=True)
class _Match:
    """Both sides over the tickers of either.

    bars : (n_dates,) the calendar bar of each date of the table, −1 without one. theirs : (n_dates, n_tickers).
    ours : (n_rows, n_tickers) distinct rows. row_of : (n_bars,) the one in force after each bar.
    decided : (n_bars,) the bar at which that was decided.
    """

    bound: BoundPlan
    table: Allocations
    tickers: tuple[str, ...]
    bars: np.ndarray
    theirs: np.ndarray
    ours: np.ndarray
    row_of: np.ndarray
    decided: np.ndarray

    def rows(self, *shifts: int) -> np.ndarray:
        """The rows of the table that have a traded decision at all of some shifts."""
        t = self.bars - np.array(shifts)[:, None]
        is_traded = (self.bars >= 0) & (t >= self.bound.start) & (t < len(self.row_of))
        return np.flatnonzero(is_traded.all(axis=0))

    def differences(self, rows: np.ndarray, shift: int, tolerance: float) -> _Differences:
        theirs, ours = self.theirs[rows], self.ours[self.row_of[self.bars[rows] - shift]]
        same = same_holdings(ours, theirs)
        cash = np.abs(theirs.sum(axis=1) - ours.sum(axis=1))
        distance = (np.abs(theirs - ours).sum(axis=1) + cash) / 2
        return _Differences(same & near_weights(ours, theirs, tolerance), same, distance)

    def better_shift(self, shift: int, tolerance: float) -> dict[str, Any] | None:
        """The shift at which more of the dates are equal, if there is one; over dates that all shifts can compare."""
        tried = sorted({shift, *SHIFTS}, key=lambda s: (s != shift, abs(s)))
        rows = self.rows(*tried)
        if not len(rows):
            return None
        shares = {s: float(self.differences(rows, s, tolerance).equal.mean()) for s in tried}
        best = max(tried, key=shares.__getitem__)
        return None if best == shift else {"shift": best, "share_equal": shares[best]}

    def unmatched(self, rows: np.ndarray, shift: int) -> dict[str, Any]:
        """Dates and tickers that only one side has; of the dates here those between the first and the last compared."""
        dates, calendar = self.table.dates, self.bound.panel.dates
        left_out = np.delete(dates, rows)
        is_early = left_out < calendar[min(self.bound.start + max(shift, 0), len(calendar) - 1)]
        within = calendar[self.bars[rows[0]] : self.bars[rows[-1]] + 1]
        held = {side: (weights > NOTHING).any(axis=0) for side, weights in self._sides(rows, shift).items()}
        return {
            "before_start": _named(left_out[is_early]),
            "only_there": _named(left_out[~is_early]),
            "only_here": _named(np.setdiff1d(within, dates)),
            "tickers_only_there": [self.tickers[k] for k in np.flatnonzero(held["there"] & ~held["here"])],
            "tickers_only_here": [self.tickers[k] for k in np.flatnonzero(held["here"] & ~held["there"])],
        }

    def holdings(self, weights: np.ndarray) -> dict[str, float]:
        return {self.tickers[k]: float(weights[k]) for k in np.flatnonzero(weights > NOTHING)}

    def _sides(self, rows: np.ndarray, shift: int) -> dict[str, np.ndarray]:
        return {"there": self.theirs[rows], "here": self.ours[np.unique(self.row_of[self.bars[rows] - shift])]}


def _match(bound: BoundPlan, table: Allocations, cache: Cache) -> _Match:
    panel = bound.panel
    found = Evaluator(bound.plan, panel, cache).allocation(bound.plan.roots[0], {})
    tickers = tuple(sorted({*bound.plan.held, *table.tickers}))
    theirs, ours = np.zeros((len(table.dates), len(tickers))), np.zeros((len(found.weights), len(tickers)))
    for k, ticker in enumerate(tickers):
        if ticker in table.tickers:
            theirs[:, k] = table.weights[:, table.tickers.index(ticker)]
        if ticker in bound.plan.held:
            ours[:, k] = found.weights[:, panel.row(ticker)]
    near = np.minimum(np.searchsorted(panel.dates, table.dates), len(panel.dates) - 1)
    bars = np.where(panel.dates[near] == table.dates, near, -1)
    decided = _in_force(bound)
    return _Match(bound, table, tickers, bars, theirs, ours, found.row_of[decided], decided)


def _in_force(bound: BoundPlan) -> np.ndarray:
    """(n_bars,) the bar whose decision is in force after each bar, itself if the rule may trade on every bar.

    Rules that trade by what is held are taken at their targets.
    """
    decided = np.arange(len(bound.panel.dates))
    traded = slice(bound.start, bound.start + bound.n)
    decided[traded] = bound.start + bound.rebalance_of
    if (decided[traded] != np.arange(traded.start, traded.stop)).any():  # what is decided last has no return yet
        decided[traded.stop :] = decided[traded.stop - 1]
    return decided


def _stretches(rows: np.ndarray, is_equal: np.ndarray) -> Iterator[np.ndarray]:
    """Rows that differ, in groups without an equal one in between."""
    edges = np.flatnonzero(np.diff(is_equal)) + 1
    for part, equal in zip(np.split(rows, edges), np.split(is_equal, edges), strict=True):
        if not equal[0]:
            yield part


def _difference(match: _Match, rows: np.ndarray, shift: int, tolerance: float, cache: Cache) -> dict[str, Any]:
    """One stretch, explained by its first day."""
    bar = match.bars[rows[0]] - shift
    here, there = match.holdings(match.ours[match.row_of[bar]]), match.holdings(match.theirs[rows[0]])
    t = int(match.decided[bar])
    return {
        "first": _iso(match.table.dates[rows[0]]),
        "last": _iso(match.table.dates[rows[-1]]),
        "days": len(rows),
        "decided": _iso(match.bound.panel.dates[t]),
        "here": with_cash(here),
        "there": with_cash(there),
        **explain_difference(match.bound, t, there, tolerance, cache),
    }


def _nothing_common(bound: BoundPlan, table: Allocations, shift: int) -> str:
    dates, calendar = table.dates, bound.panel.dates
    ours = f"decisions from {_iso(calendar[bound.start])} to {_iso(calendar[-1])}"
    moved = f" {shift} bars later" if shift else ""
    return f"no date in common: {len(dates):,} from {_iso(dates[0])} to {_iso(dates[-1])}, {ours}{moved} here"


def _named(dates: np.ndarray) -> dict[str, Any]:
    return {"dates": len(dates), "first": [_iso(date) for date in dates[:N_NAMED]]}


def _iso(day: SupportsInt) -> str:
    return as_date(int(day)).isoformat()
