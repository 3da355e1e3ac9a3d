"""Shares by volatility within caps, against worked examples and a search for λ."""

from __future__ import annotations

import numpy as np
import pytest

from forge_ray.engine.allocations import Allocation, _mixed
from forge_ray.kernels.weights import volatility_shares


def shares(volatility: list[float], low: float = 0.0, high: float = 1.0, *, inverse: bool = False) -> list[float]:
    out = np.empty((1, len(volatility)))
    volatility_shares(np.ones((1, len(volatility)), bool), np.array([volatility]), inverse, low, high, out)
    return out[0].tolist()


@pytest.mark.parametrize(
    ("base", "low", "high", "expected"),
    [
        ([0.7, 0.2, 0.1], 0.1, 0.5, [0.5, 1 / 3, 1 / 6]),
        ([0.9, 0.06, 0.04], 0.2, 0.6, [0.6, 0.2, 0.2]),
        ([0.5, 0.5], 0.0, 0.3, [0.3, 0.3]),
        ([1.0, 3.0], 0.0, 1.0, [0.25, 0.75]),
    ],
)
def test_caps_of_worked_examples(base: list[float], low: float, high: float, expected: list[float]):
    assert shares(base, low, high) == pytest.approx(expected, abs=1e-12)
    assert shares([1 / b for b in base], low, high, inverse=True) == pytest.approx(expected, abs=1e-12)


def test_children_without_volatility_keep_their_part():
    assert shares([2.0, np.nan, 6.0, 0.0]) == pytest.approx([0.125, 0.25, 0.375, 0.25], abs=1e-15)


def test_clamped_shares_solve_for_lambda():
    """clamp(λ · base, low, high) with Σ = 1, λ by bisection."""
    rng = np.random.default_rng(3)
    for _ in range(300):
        n = int(rng.integers(2, 9))
        base = rng.lognormal(0, 1.5, n)
        base /= base.sum()
        low, high = rng.uniform(0, 1 / n), rng.uniform(1 / n, 1)
        below, above = 0.0, 1e9
        for _ in range(400):
            middle = (below + above) / 2
            below, above = (middle, above) if np.clip(middle * base, low, high).sum() < 1 else (below, middle)
        found = shares(base.tolist(), low, high)
        assert found == pytest.approx(np.clip(below * base, low, high).tolist(), abs=1e-9)
        assert sum(found) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("n_tickers", [3, 40, 400])
def test_parts_that_hold_few_tickers_add_up_to_the_same_bits(n_tickers: int):
    rng = np.random.default_rng(n_tickers)
    for n_rows, n_own in ((1, 1), (5, 2), (300, 1), (300, 7), (300, 200)):
        parts, bars = [], rng.integers(0, 500, n_rows)
        for _ in range(6):
            weights = np.zeros((n_own, n_tickers))
            weights[:, rng.integers(0, n_tickers, 3)] = rng.random((n_own, 3)) * rng.integers(0, 2, (n_own, 3))
            parts.append(Allocation(weights, np.ones(n_own, bool), rng.integers(0, n_own, 500)))
        shares = rng.random((n_rows, 6)) * rng.integers(0, 2, (n_rows, 6))
        expected = np.zeros((n_rows, n_tickers))
        for part, share in zip(parts, shares.T, strict=True):
            expected = expected + share[:, None] * part.weights[part.row_of[bars]]
        assert _mixed(parts, bars, shares).tobytes() == expected.tobytes()
