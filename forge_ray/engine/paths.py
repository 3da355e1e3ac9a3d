"""Hashes of position paths: what is held when, and nothing else."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np

from forge_ray.engine.bind import BoundPlan
from forge_ray.engine.distinct import distinct_numbers
from forge_ray.tree.mixing import GOLDEN, mixed


def path_lanes(bound: BoundPlan, hashes: np.ndarray, decisions: slice | np.ndarray) -> np.ndarray:
    """(…, n, 2) int64: what each decision adds to the hash of a position path.

    hashes : (…, n, 2) of the rows that are held by the n decisions.
    A path's hash is the wrapping sum over its decisions of the hash of what is held, mixed with the date. So it depends
    on what is held when, and on nothing else.
    """
    dates = bound.return_dates[decisions].astype(np.uint64)[:, None] * GOLDEN
    return mixed(hashes ^ dates).view(np.int64)


def row_hashes(bound: BoundPlan, dense: np.ndarray) -> np.ndarray:
    """(n_rows, 2) uint64 of rows of weights (n_rows, n_tickers)."""
    rows, columns = np.nonzero(dense)
    return sparse_hashes(bound, len(dense), rows, columns, dense[rows, columns])


def sparse_hashes(
    bound: BoundPlan, n_rows: int, rows: np.ndarray, columns: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """(n_rows, 2) uint64 of rows of weights: the mixed sum of the hashes of ticker and weight.

    rows, columns, weights : (m,) of the weights that are not 0.
    """
    held, _, ticker_of = distinct_numbers(columns)
    tickers = np.array([_ticker_hash(bound.panel.tickers[k]) for k in held], np.uint64).reshape(-1, 2)
    hashes = np.zeros((n_rows, 2), np.uint64)
    np.add.at(hashes, rows, mixed(weights.view(np.uint64)[:, None] ^ tickers[ticker_of]))
    return mixed(hashes)


@cache
def _ticker_hash(ticker: str) -> np.ndarray:
    """(2,) uint64 of BLAKE2b."""
    return np.frombuffer(hashlib.blake2b(ticker.encode(), digest_size=16).digest(), np.uint64)
