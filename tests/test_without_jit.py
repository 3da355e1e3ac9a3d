"""Kernels give the same bits as plain Python: Numba neither reorders nor contracts what is written."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import warnings
from pathlib import Path

from forge_ray.engine import Cache, evaluate
from harness import bound_of
from random_trees import random_prices

TREE = {
    "id": "gate",
    "kind": "indicator",
    "conditions": [
        {"id": "a", "metric": "RSI", "window": "$n", "ticker": "AAA", "comparator": "lt", "threshold": "$low"},
        {"id": "b", "type": "and", "metric": "Price", "ticker": "BBB", "comparator": "gt", "expanded": True,
         "rightMetric": "SMA", "rightWindow": 7, "forDays": 2},
        {"id": "c", "type": "or", "metric": "StdDev", "window": 5, "ticker": "AAA", "comparator": "crossAbove",
         "expanded": True, "rightWindow": "$n", "rightTicker": "BBB"},
        {"id": "d", "type": "or", "metric": "EMA", "window": 4, "ticker": "BBB", "comparator": "gte",
         "expanded": True, "rightMetric": "EMA", "rightTicker": "AAA"},
        {"id": "e", "type": "and", "metric": "ROC", "window": 3, "ticker": "BBB", "comparator": "lte", "threshold": 1},
    ],
    "children": {"then": [{"id": "in", "kind": "position", "positions": ["AAA", "BBB", "AAA"]}],
                 "else": [{"id": "out", "kind": "position", "positions": ["CASH", "BBB"]}]},
}  # fmt: skip


def digest() -> str:
    """Hash of every row of a small space on a ragged history."""
    prices = random_prices(random.Random(11), ["AAA", "BBB", "IDX"], 90, ragged=True)
    axes = {"n": [2, 3, 5, 9], "low": [30.0, 45.0, 60.0]}
    bound = bound_of([TREE], prices, axes, benchmark="IDX", split="even_odd_month", lag=1)
    rows = evaluate(bound, 0, 12, Cache(2**24)).to_pylist()
    assert any(row["full_trades"] > 3 for row in rows)
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def test_kernels_equal_plain_python_bit_for_bit():
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, env=environment, cwd=Path(__file__).parent
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == digest()


if __name__ == "__main__":
    # Path hashes wrap around; compiled integers do so silently, numpy scalars warn.
    warnings.simplefilter("ignore", RuntimeWarning)
    print(digest())
