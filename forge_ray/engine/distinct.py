"""Equal rows of an array, found by sorting."""

from __future__ import annotations

import numpy as np


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
