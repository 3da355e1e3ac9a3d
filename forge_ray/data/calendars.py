"""Calendars of several tickers: all of them laid out on the union of their dates.

A ticker is alive from its first to its last bar. The common calendar is the dates on which all that are alive have a
bar, as in `build_panel`; a date that it loses is the cost of those who miss it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np

from forge_ray.data.panel import as_date

SAME = 0.99
"""Share of the dates of two tickers, while both are alive, that they have in common if they share a calendar."""


@dataclass(frozen=True)
class Span:
    """Dates in a row, from first to last."""

    dates: int
    first: date
    last: date


@dataclass(frozen=True)
class Calendar:
    """Tickers that share a calendar, and the dates that the common calendar would gain without them."""

    tickers: tuple[str, ...]
    cost: int


@dataclass(frozen=True, eq=False)
class Layout:
    """dates : (n_dates,) the union, int64 days. present, alive : (n_tickers, n_dates) bool."""

    dates: np.ndarray
    present: np.ndarray
    alive: np.ndarray

    @property
    def common(self) -> int:
        """Number of dates of the common calendar."""
        return int((self._absent == 0).sum())

    def missing(self, k: int) -> np.ndarray:
        """(n,) places on the union of the dates that ticker k missed while alive."""
        return np.flatnonzero(self.alive[k] & ~self.present[k])

    def longest_gap(self, k: int) -> Span | None:
        """The most dates in a row that ticker k missed, the first of equals."""
        return longest(self.dates, self.missing(k))

    def cost(self, of: Sequence[int]) -> int:
        """Dates that the common calendar would gain without some tickers: those that only these miss."""
        absent = (self.alive[of] & ~self.present[of]).sum(axis=0)
        others = self._n_present - self.present[of].sum(axis=0)
        return int(((absent > 0) & (absent == self._absent) & (others > 0)).sum())

    def calendars(self, names: Sequence[str]) -> tuple[Calendar, ...]:
        """Tickers by calendar, the largest group first. Each group is like the ticker with most bars in it."""
        groups: dict[int, list[int]] = {}
        for k in np.argsort(-self.present.sum(axis=1), kind="stable").tolist():
            likeness = {first: self._likeness(k, first) for first in groups}
            best = max(likeness, key=lambda first: likeness[first], default=None)
            groups.setdefault(best if best is not None and likeness[best] >= SAME else k, []).append(k)
        largest = sorted(groups.values(), key=len, reverse=True)
        return tuple(Calendar(tuple(sorted(names[k] for k in group)), self.cost(group)) for group in largest)

    def _likeness(self, a: int, b: int) -> float:
        """Share of common dates of two tickers while both are alive; 0 if they never are."""
        both = self.alive[a] & self.alive[b]
        either = int((both & (self.present[a] | self.present[b])).sum())
        return float((both & self.present[a] & self.present[b]).sum() / either) if either else 0.0

    @cached_property
    def _n_present(self) -> np.ndarray:
        return self.present.sum(axis=0)

    @cached_property
    def _absent(self) -> np.ndarray:
        return self.alive.sum(axis=0) - self._n_present


def lay_out(dates: Sequence[np.ndarray]) -> Layout:
    """Tickers on the union of their dates; each has at least one, ascending."""
    union = np.unique(np.concatenate(dates))
    present, alive = np.zeros((2, len(dates), len(union)), bool)
    for k, own in enumerate(dates):
        places = np.searchsorted(union, own)
        present[k, places] = True
        alive[k, places[0] : places[-1] + 1] = True
    return Layout(union, present, alive)


def runs(places: np.ndarray) -> list[np.ndarray]:
    """Ascending places, split where they do not follow each other."""
    return np.split(places, np.flatnonzero(np.diff(places) > 1) + 1) if len(places) else []


def span(dates: np.ndarray, places: np.ndarray) -> Span:
    """The dates of places that follow each other."""
    return Span(len(places), as_date(dates[places[0]]), as_date(dates[places[-1]]))


def longest(dates: np.ndarray, places: np.ndarray) -> Span | None:
    """The longest run of places."""
    return span(dates, max(runs(places), key=len)) if len(places) else None
