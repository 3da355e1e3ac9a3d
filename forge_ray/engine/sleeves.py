"""Sleeves: allocations of a group, ready for the simulation kernels, and what the kernels make of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from forge_ray.catalog import SEGMENTS
from forge_ray.engine.allocations import Allocation
from forge_ray.engine.bind import BoundPlan
from forge_ray.kernels import finalize, simulate
from forge_ray.tree.mixing import GOLDEN, mixed

MAX_SWITCH_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Sleeves:
    """The sleeves of a group, ready for the simulation kernel; see `kernels.simulate` for the shapes."""

    market: simulate.Market
    rows: np.ndarray
    paths: np.ndarray
    logs: np.ndarray
    prefix: np.ndarray

    @property
    def nbytes(self) -> int:
        return self.prefix.nbytes + self.logs.nbytes + self.paths.nbytes + self.rows.nbytes


def build_sleeves(bound: BoundPlan, allocations: Sequence[Allocation]) -> Sleeves:
    """One sleeve per allocation."""
    in_force = bound.start + bound.rebalance_of
    offsets = np.cumsum([0, *(len(a.active) for a in allocations)])
    rows = np.stack([offset + a.row_of[in_force] for offset, a in zip(offsets, allocations, strict=False)])
    dense = np.vstack([a.weights for a in allocations])
    paths = path_lanes(bound, row_hashes(bound, dense)[rows], slice(None))
    market = market_of(bound, *sparse_rows(dense))
    if bound.plan.execution.depends_on_path:
        return Sleeves(market, rows, paths, np.empty((0, 0), np.int64), np.empty((0, 0, 0), np.int64))
    stays = np.empty((*rows.shape, simulate.N_LANES), np.int64)
    simulate.stay_table(*market, rows, paths, stays)
    prefix = np.zeros((rows.shape[0], bound.n + 1, simulate.N_LANES), np.int64)
    np.cumsum(stays, axis=1, out=prefix[:, 1:])
    return Sleeves(market, rows, paths, np.ascontiguousarray(stays[:, :, simulate.LOG]), prefix)


def sparse_rows(dense: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(starts, columns, weights) of rows of weights (n_rows, n_tickers), as `kernels.simulate.Market` has them."""
    held = dense > 0
    starts = np.concatenate([[0], np.cumsum(held.sum(axis=1))]).astype(np.int64)
    return starts, np.nonzero(held)[1].astype(np.int64), dense[held]


def market_of(bound: BoundPlan, starts: np.ndarray, columns: np.ndarray, weights: np.ndarray) -> simulate.Market:
    """What the kernels need of a bound plan, with rows of weights as `sparse_rows` has them."""
    fills = bound.plan.execution.fills
    return simulate.Market(
        bound.panel.field(fills.entry), bound.panel.field(fills.exit), bound.panel.close, fills.step, bound.first_fill,
        fills.carries, bound.cost, bound.cash, bound.cash_like, bound.benchmark, bound.scales, bound.rebalance_of,
        starts, columns, weights,
    )  # fmt: skip


def path_lanes(bound: BoundPlan, hashes: np.ndarray, decisions: slice | np.ndarray) -> np.ndarray:
    """(…, n, 2) int64: what each decision adds to the hash of a position path.

    hashes : (…, n, 2) of the rows that are held by the n decisions.
    A path's hash is the wrapping sum over its decisions of the hash of what is held, mixed with the date. So it depends
    on what is held when, and on nothing else.
    """
    dates = bound.return_dates[decisions].astype(np.uint64)[:, None] * GOLDEN
    return mixed(hashes ^ dates).view(np.int64)


def row_hashes(bound: BoundPlan, dense: np.ndarray) -> np.ndarray:
    """(n_rows, 2) uint64 of rows of weights (n_rows, n_tickers): the mixed sum of the hashes of ticker and weight."""
    tickers = np.array([_ticker_hash(ticker) for ticker in bound.panel.tickers])
    held, columns = np.nonzero(dense)
    hashes = np.zeros((len(dense), 2), np.uint64)
    np.add.at(hashes, held, mixed(dense[held, columns].view(np.uint64)[:, None] ^ tickers[columns]))
    return mixed(hashes)


@cache
def _ticker_hash(ticker: str) -> np.ndarray:
    """(2,) uint64 of BLAKE2b."""
    return np.frombuffer(hashlib.blake2b(ticker.encode(), digest_size=16).digest(), np.uint64)


def finalized(bound: BoundPlan, sums: np.ndarray, drawdowns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Metrics (n, n_segments, n_metrics) and path hashes (n, 2) from sums and drawdowns."""
    metrics = np.empty((len(sums), len(SEGMENTS), len(finalize.COLUMNS)))
    finalize.finalize(sums, drawdowns, bound.class_in_segment, bound.classes, bound.scales, metrics)
    return metrics, sums[:, :, simulate.PATH :].sum(axis=1)


def simulated(bound: BoundPlan, sleeves: Sleeves, planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums and drawdowns of branches over sleeves; planes as in `kernels.simulate.simulate`."""
    run = simulate_paths if bound.plan.execution.depends_on_path else _simulate
    return run(bound, sleeves, planes)


def _simulate(bound: BoundPlan, sleeves: Sleeves, planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n_sleeves, n = sleeves.rows.shape
    keeps = len(planes) > 1 and n_sleeves**2 * n * simulate.N_LANES * 8 <= MAX_SWITCH_BYTES
    shape = (n_sleeves, n_sleeves, n if keeps else 1)
    sums, drawdowns = _results(bound, len(planes))
    simulate.simulate(
        *sleeves.market, sleeves.rows, sleeves.paths, planes, bound.start, sleeves.logs, sleeves.prefix, bound.runs,
        bound.class_in_segment, np.zeros(shape, bool), np.empty((*shape, simulate.N_LANES + 1), np.int64), sums,
        drawdowns,
    )  # fmt: skip
    return sums, drawdowns


def simulate_paths(bound: BoundPlan, sleeves: Sleeves, planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums and drawdowns under a rule that trades by what is held; planes as in `kernels.simulate.simulate`."""
    execution = bound.plan.execution
    threshold = execution.threshold / 100 if execution.rebalance == "threshold" else -1.0
    sums, drawdowns = _results(bound, len(planes))
    simulate.simulate_path(
        *sleeves.market, sleeves.rows, sleeves.paths, planes, bound.start, threshold, bound.runs,
        bound.class_in_segment, sums, drawdowns,
    )  # fmt: skip
    return sums, drawdowns


def _results(bound: BoundPlan, n: int) -> tuple[np.ndarray, np.ndarray]:
    sums = np.empty((n, len(bound.class_in_segment), simulate.N_LANES), np.int64)
    return sums, np.empty((n, len(SEGMENTS)), np.int64)
