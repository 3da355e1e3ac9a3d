"""Equal numbers and equal rows."""

from __future__ import annotations

import numpy as np

_DENSE = 4
"""Numbers up to this many times their count are found by a table, others by sorting."""


def distinct_numbers(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct values of (n,) integers >= 0, ascending, the first index of each, and for every one its place among
    them."""
    n = int(numbers.max(initial=-1)) + 1
    if n > _DENSE * len(numbers):
        return np.unique(numbers, return_index=True, return_inverse=True)
    first = np.full(n, -1, np.int64)
    first[numbers[::-1]] = np.arange(len(numbers))[::-1]
    values = np.flatnonzero(first >= 0)
    place = np.empty(n, np.int64)
    place[values] = np.arange(len(values))
    return values, first[values], place[numbers]


def distinct_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First index of each distinct row of (n, m) integers, ascending, and for every row its place among these."""
    if not rows.shape[1]:
        return np.arange(min(1, len(rows))), np.zeros(len(rows), np.int64)
    order = np.lexsort(rows.T)
    is_new = np.ones(len(rows), bool)
    is_new[1:] = (rows[order[1:]] != rows[order[:-1]]).any(axis=1)
    # Sorting is stable, so the first of equal rows in the order has the lowest index.
    first, group = order[is_new], np.cumsum(is_new) - 1
    rank = np.argsort(np.argsort(first))
    same_as = np.empty(len(rows), np.int64)
    same_as[order] = rank[group]
    return np.sort(first), same_as
