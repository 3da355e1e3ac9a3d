"""Allocations: target weights per bar, and how nodes make them of those of their children.

All of them are functions of whole histories. What is the same on many bars is kept once: an allocation holds distinct
rows of weights and the number of the row of each bar.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from forge_ray.catalog import CASH
from forge_ray.data import Panel
from forge_ray.engine.distinct import distinct_numbers, distinct_rows
from forge_ray.kernels import weights as kernels
from forge_ray.kernels.weights import NO_WEIGHT
from forge_ray.tree.nodes import EMPTY, Weighting


@dataclass(frozen=True)
class Allocation:
    """Target weights per bar as distinct rows and their numbers.

    weights : (n_rows, n_tickers) of the panel's tickers; what is missing to 1 is cash.
    active : (n_rows,) False where the row is Empty and passes its weight to its siblings.
    row_of : (n_bars,) int64 row of each bar.
    """

    weights: np.ndarray
    active: np.ndarray
    row_of: np.ndarray

    @property
    def nbytes(self) -> int:
        return self.weights.nbytes + self.active.nbytes + self.row_of.nbytes

    def on(self, bars: np.ndarray) -> Allocation:
        """The allocation on some bars."""
        used, _, row_of = distinct_numbers(self.row_of[bars])
        return Allocation(self.weights[used], self.active[used], row_of)


BITS = 12
FEW, SMALL = 8, 1 << 12
"""Of parts of fewer rows that hold less than one ticker in so many, only these are added, unless all is small."""


class Rule(NamedTuple):
    """A weighting. low, high : least and most share in percent. weights : of the children if defined."""

    name: str
    low: float | None
    high: float | None
    fallback: str | None
    weights: tuple[float | None, ...]


def held_row(tickers: Sequence[str], panel: Panel) -> Allocation:
    """Each entry counts 1/n of the list without Empty; duplicates add up; CASH keeps its share, and so does, as cash, a
    ticker that is not alive."""
    entries = [ticker for ticker in tickers if ticker != EMPTY]
    held = sorted({panel.row(ticker) for ticker in entries if ticker != CASH})
    alive = ~np.isnan(panel.close[held])
    if alive.all():
        alive = alive[:, :1]
    first, row_of = distinct_rows(alive.T)
    patterns = alive[:, first]
    weights = np.zeros((patterns.shape[1], len(panel.tickers)))
    for k, is_alive in zip(held, patterns, strict=True):
        weights[is_alive, k] = entries.count(panel.tickers[k]) / len(entries)
    row_of = np.broadcast_to(row_of.reshape(-1).astype(np.int64), len(panel.dates)).copy()
    return Allocation(weights, np.full(len(weights), bool(entries)), row_of)


def chosen(true: np.ndarray, false: np.ndarray, then: Allocation, other: Allocation) -> Allocation:
    """`then` where a gate is true, `other` where it is false, else cash. true, false : (n_bars,)."""
    n, m = len(then.active), len(other.active)
    row_of = np.where(true, then.row_of, np.where(false, n + other.row_of, n + m))
    weights = np.vstack([then.weights, other.weights, np.zeros((1, then.weights.shape[1]))])
    used, _, row_of = distinct_numbers(row_of)
    active = np.concatenate([then.active, other.active, [True]])
    return Allocation(weights[used], active[used], row_of)


def blended(
    parts: Sequence[Allocation],
    rule: Rule,
    panel: Panel,
    volatility: np.ndarray | None = None,
    picked: np.ndarray | None = None,
) -> Allocation:
    """The parts side by side. Empty ones pass their share on; all Empty is Empty; nothing to share is cash.

    volatility : (n_bars, n_parts), NaN where unknown, for the rules that weigh by it.
    picked : (n_bars, n_parts) which parts count.
    """
    fallback = None if rule.fallback in (None, CASH, EMPTY) else panel.row(rule.fallback)
    columns = [part.row_of for part in parts]
    columns += [] if picked is None else list(_in_numbers(picked))
    columns += [] if fallback is None else [(~np.isnan(panel.close[fallback])).astype(np.int64)]
    bars, row_of = _distinct(columns) if volatility is None else (np.arange(len(panel.dates)),) * 2
    active = np.stack([part.active[part.row_of[bars]] for part in parts], axis=1)
    counts = active if picked is None else active & picked[bars]
    shares = _shares(rule, counts, None if volatility is None else volatility[bars])
    weights = _mixed(parts, bars, shares)
    if fallback is not None:
        is_taken = counts.any(axis=1) & ~np.isnan(panel.close[fallback, bars])
        rest = 1.0 - _total(shares)
        weights[:, fallback] += np.where(is_taken & (rest > NO_WEIGHT), rest, 0.0)
    return Allocation(weights, np.any(active, axis=1, keepdims=True)[:, 0], row_of)


def ranked(
    parts: Sequence[Allocation], scores: np.ndarray, rank: str, n: int, rule: Rule, panel: Panel,
    volatility: np.ndarray | None,
) -> Allocation:  # fmt: skip
    """The n active parts with the highest or lowest score (n_parts, n_bars), NaN without one; ties go to the first.

    Cash where active parts have no score.
    """
    active = np.stack([part.active[part.row_of] for part in parts])
    picked = np.empty((len(scores[0]), len(parts)), bool)
    kernels.pick_lowest(np.where(active, -scores if rank == "top" else scores, np.inf), n, picked)
    return blended(parts, rule, panel, volatility, picked)


def scaled(value: np.ndarray, low: float, high: float, then: Allocation, other: Allocation) -> Allocation:
    """All `then` where the value (n_bars,) is at `low` or beyond, all `other` at `high`, in between a blend; cash where
    it is unknown. An Empty side is cash; both Empty is Empty where the value is known."""
    share = np.clip((value - low) / (high - low), 0.0, 1.0)
    known = ~np.isnan(share)
    share_of = np.unique(np.where(known, share, -1.0), return_inverse=True)[1]
    bars, row_of = _distinct([then.row_of, other.row_of, share_of])
    both = np.stack([1.0 - share[bars], share[bars]], axis=1)
    weights = _mixed((then, other), bars, np.where(known[bars, None], both, 0.0))
    active = then.active[then.row_of[bars]] | other.active[other.row_of[bars]] | ~known[bars]
    return Allocation(weights, active, row_of)


def _distinct(columns: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(a bar for every combination of values that occurs, number of the combination of each bar)."""
    code = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        if n := int(column.max()):
            code = distinct_numbers(code)[2] * (n + 1) + column
    _, bars, row_of = distinct_numbers(code)
    return bars, row_of


def _in_numbers(flags: np.ndarray) -> Iterator[np.ndarray]:
    """Columns of flags (n, m) as the bits of numbers, few enough for a table of the numbers."""
    for first in range(0, flags.shape[1], BITS):
        part = flags[:, first : first + BITS]
        yield part @ (1 << np.arange(part.shape[1]))


def _shares(rule: Rule, active: np.ndarray, volatility: np.ndarray | None) -> np.ndarray:
    """(n_rows, n_parts) share of each part among the active ones; 0 where there is nothing to share."""
    n_active = np.maximum(active.sum(axis=1, keepdims=True), 1)
    match rule.name:
        case Weighting.EQUAL:
            return np.where(active, 1.0 / n_active, 0.0)
        case Weighting.DEFINED:
            weights = np.where(active, np.array(rule.weights, np.float64), 0.0)
            total = _total(weights)[:, None]
            return np.divide(weights, total, out=np.zeros(weights.shape), where=total > 0)
        case Weighting.CAPPED:
            return np.where(active, np.minimum(1.0 / n_active, fraction(rule.high, 1.0)), 0.0)
    assert volatility is not None
    shares = np.empty(active.shape)
    low, high = fraction(rule.low, 0.0), fraction(rule.high, 1.0)
    kernels.volatility_shares(
        np.ascontiguousarray(active),
        np.ascontiguousarray(volatility),
        rule.name == Weighting.INVERSE,
        low,
        high,
        shares,
    )
    return shares


def fraction(percent: float | None, default: float) -> float:
    return default if percent is None else percent / 100


def _total(shares: np.ndarray) -> np.ndarray:
    """Sums of the rows, from the first part to the last whatever their number."""
    total = np.zeros(len(shares))
    for column in shares.T:
        total = total + column
    return total


def _mixed(parts: Sequence[Allocation], bars: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Σ share · weights in the order of the parts: the same sum whatever else the panel holds."""
    n_tickers = parts[0].weights.shape[1]
    weights = np.zeros((len(bars), n_tickers))
    for part, share in zip(parts, shares.T, strict=True):
        is_short = len(part.weights) < FEW and weights.size > SMALL
        if is_short and len(columns := np.flatnonzero(part.weights.any(axis=0))) * FEW < n_tickers:
            rows = np.flatnonzero(share)
            own = part.weights[:, columns][part.row_of[bars[rows]]]
            weights[np.ix_(rows, columns)] += share[rows, None] * own
        else:
            weights = weights + share[:, None] * part.weights[part.row_of[bars]]
    return weights
