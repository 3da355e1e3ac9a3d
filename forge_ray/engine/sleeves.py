"""Sleeves: allocations of a group, ready for the simulation kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from forge_ray.engine.allocations import Allocation
from forge_ray.engine.bind import BoundPlan
from forge_ray.engine.distinct import distinct_numbers, distinct_rows
from forge_ray.engine.paths import path_lanes, row_hashes
from forge_ray.kernels import bits
from forge_ray.kernels.accounting import N_LANES, Market, price_ratios
from forge_ray.kernels.holdings import held_sets
from forge_ray.kernels.transitions import Table, follow

USUAL_PAIRS = 8
"""Vectors per decision that a table begins with."""


@dataclass(frozen=True)
class Sleeves:
    """The sleeves of a group.

    rows : (n_sleeves, n) row of target weights in force per decision. paths : (n_sleeves, n, 2) hash of what is
    followed. is_quiet : (n_sleeves, n) whether staying there moves no equity. tables : vectors that an earlier
    simulation by the scalar kernel computed, for one at a time to take.
    """

    market: Market
    rows: np.ndarray
    paths: np.ndarray
    is_quiet: np.ndarray
    tables: list[Table] = field(default_factory=list)

    @property
    def n_planes(self) -> int:
        """Bits of a sleeve number."""
        return (len(self.rows) - 1).bit_length()

    def at(self, first: int) -> tuple:
        """What a kernel is told of them; see `kernels.transitions.SLEEVES`."""
        return (*self.market, self.rows, self.paths, first)

    def quiet(self, first: int, last: int) -> np.ndarray:
        """(n_sleeves, 1 + n_words) packed `is_quiet` of decisions [first, last), as planes are packed."""
        return bits.pack_decisions(self.is_quiet, first, last)

    def take_table(self) -> Table | None:
        """One of the tables, if no other thread has taken the last."""
        try:
            return self.tables.pop()
        except IndexError:
            return None

    @cached_property
    def held(self) -> np.ndarray:
        """(n_sleeves, n, n_words) a bit per ticker that a sleeve holds over an interval."""
        sets = np.zeros((*self.rows.shape, bits.n_words(len(self.market.cash_like))), np.uint64)
        held_sets(*self.market, self.rows, sets)
        return sets

    @cached_property
    def in_market(self) -> np.ndarray:
        """(n_sleeves, n) whether a sleeve holds a ticker that is not cash-like."""
        counts = bits.pack(~self.market.cash_like, ~self.market.cash_like)[0]
        return (self.held & counts).any(axis=2)

    @cached_property
    def held_numbers(self) -> np.ndarray:
        """(n_sleeves, n_bits, n) bits of a number of the set that a sleeve holds: 0 for none, equal for equal sets."""
        n_sleeves, n, n_words = self.held.shape
        sets = self.held.reshape(n_sleeves * n, n_words)
        _, number = distinct_rows(np.concatenate([np.zeros_like(sets[:1]), sets]))
        digits = np.arange(int(number.max()).bit_length())[:, None]
        return (number[1:].reshape(n_sleeves, 1, n) >> digits & 1).astype(bool)


def usual_bytes(n_sleeves: int, n: int, *, keep_vectors: bool) -> int:
    """Of sleeves over n decisions, and of a table of vectors of its usual size if they keep one."""
    n_pairs = 4 ** (n_sleeves - 1).bit_length()
    table = 12 * n_pairs + 8 * N_LANES * min(USUAL_PAIRS, n_pairs)
    return n * (25 * n_sleeves + table * keep_vectors)


def build_sleeves(bound: BoundPlan, allocations: Sequence[Allocation]) -> Sleeves:
    """One sleeve per allocation."""
    in_force = bound.start + bound.rebalance_of
    offsets = np.cumsum([0, *(len(a.active) for a in allocations)])
    rows = np.stack([offset + a.row_of[in_force] for offset, a in zip(offsets, allocations, strict=False)])
    dense = np.vstack([a.weights for a in allocations])
    paths = path_lanes(bound, row_hashes(bound, dense)[rows], slice(None))
    market = market_of(bound, *sparse_rows(dense))
    is_empty = (np.diff(market.starts) == 0)[rows] & (bound.cash == 0.0)
    was_empty = np.concatenate([is_empty[:, :1], is_empty[:, :-1]], axis=1)
    return Sleeves(market, rows, paths, is_empty & was_empty)


def sparse_rows(dense: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(starts, columns, weights) of rows of weights (n_rows, n_tickers): row j is ``starts[j]:starts[j + 1]``."""
    held = dense > 0
    starts = np.concatenate([[0], np.cumsum(held.sum(axis=1))]).astype(np.int64)
    return starts, np.nonzero(held)[1].astype(np.int64), dense[held]


def market_of(bound: BoundPlan, starts: np.ndarray, columns: np.ndarray, weights: np.ndarray) -> Market:
    """What the kernels need of a bound plan, with rows of weights as `sparse_rows` has them."""
    fills, panel = bound.plan.execution.fills, bound.panel
    tickers, _, columns = distinct_numbers(columns)
    ratio = np.empty((len(tickers), bound.n))
    price_ratios(
        panel.field(fills.entry), panel.field(fills.exit), panel.close, fills.step, bound.first_fill, tickers, ratio
    )  # fmt: skip
    return Market(
        ratio, fills.carries, bound.cost[tickers], bound.cash, bound.cash_like[tickers], bound.benchmark, bound.scales,
        1.0 / bound.scales, bound.rebalance_of, starts, columns, weights,
    )  # fmt: skip


def vectors_along(sleeves: Sleeves) -> np.ndarray:
    """(n, N_LANES) vectors of following the first sleeve; at decision 0 it is bought from cash."""
    vectors = np.empty((sleeves.rows.shape[1], N_LANES), np.int64)
    follow(*sleeves.market, sleeves.rows, sleeves.paths, 0, vectors)
    return vectors
