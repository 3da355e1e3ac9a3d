"""One branch with NumPy: from target weights to the twenty metrics of three segments, each from its own definition."""

from __future__ import annotations

import numpy as np

YEAR = 252


def branch(weights: np.ndarray, returns: np.ndarray, benchmark: np.ndarray, is_oos: np.ndarray, cost: float):
    """(3, 20) metrics in the order of `one_pass.METRICS`.

    weights, returns : (n, n_tickers) target weights in force and returns. benchmark, is_oos : (n,).
    """
    gross = (weights * returns).sum(axis=1)
    drifted = np.zeros_like(weights)
    drifted[1:] = (weights * (1 + returns) / (1 + gross)[:, None])[:-1]
    tau = np.abs(weights - drifted).sum(axis=1)
    net = (1 - cost * tau) * (1 + gross) - 1
    held = weights > 0
    before = np.vstack([np.zeros((1, held.shape[1]), bool), held[:-1]])
    columns = (net, benchmark, tau, held.sum(axis=1), weights.sum(axis=1), (held != before).any(axis=1))
    masks = (np.ones(len(net), bool), ~is_oos, is_oos)
    return np.array([_metrics(*(column[mask] for column in columns)) for mask in masks])


def _metrics(r, benchmark, tau, holdings, exposure, trades) -> list[float]:
    n, mean = len(r), r.mean()
    equity = np.cumprod(1 + r)
    total = equity[-1] - 1
    cagr = (1 + total) ** (YEAR / n) - 1
    drawdown = (1 - equity / np.maximum(np.maximum.accumulate(equity), 1)).max(initial=0)
    up, down, market = (r > 0).sum(), (r < 0).sum(), (holdings > 0).mean()
    downside = np.sqrt((np.minimum(r, 0) ** 2).mean())
    volatility, sharpe, skew, kurtosis, beta = _dispersion(r, benchmark, n, mean)
    timar = _ratio(cagr, market)
    return [
        total, cagr, volatility, sharpe, _ratio(mean * np.sqrt(YEAR), downside), drawdown, _ratio(cagr, drawdown),
        _ratio(up, up + down), skew, kurtosis, beta, YEAR * mean / beta if beta > 0 else np.nan, market,
        exposure.mean(), timar, _ratio(timar, drawdown), trades.sum(), YEAR * tau.mean(), holdings.mean(), n,
    ]  # fmt: skip


def _dispersion(r, benchmark, n, mean) -> tuple[float, float, float, float, float]:
    """Volatility, sharpe, skew, excess kurtosis, beta."""
    apart = r - mean
    if (apart**2).sum() <= 1e-12 * (r**2).sum():
        return 0.0, np.nan, np.nan, np.nan, 0.0
    deviation = r.std(ddof=1)
    m2, m3, m4 = ((apart**power).mean() for power in (2, 3, 4))
    skew = m3 / m2**1.5 * np.sqrt(n * (n - 1)) / (n - 2)
    kurtosis = ((n + 1) * (m4 / m2**2 - 3) + 6) * (n - 1) / ((n - 2) * (n - 3))
    around = benchmark - benchmark.mean()
    beta = (apart * around).sum() / (around**2).sum()
    return deviation * np.sqrt(YEAR), mean / deviation * np.sqrt(YEAR), skew, kurtosis, beta


def _ratio(a: float, b: float) -> float:
    return a / b if b else np.nan
