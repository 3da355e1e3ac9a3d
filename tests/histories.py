"""Bars for the indicators: real ones, high levels, flat stretches, gaps in single fields, a spike."""

from __future__ import annotations

import numpy as np

from definitions import Bars
from forge_ray.catalog import INDICATOR_BY_NAME
from forge_ray.data import load
from forge_ray.engine.indicator_kernels import INDICATOR_KERNELS

N, LONG = 420, 2_200
SPIKE_AT = 150


def walk(n: int, seed: int, level: float = 100.0, noise: float = 0.012) -> np.ndarray:
    return level * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, noise, n)))


def around(close: np.ndarray, seed: int = 5) -> Bars:
    """Bars with these closes: highs and lows up to 1 % away, whole volumes below a million."""
    rng, n = np.random.default_rng(seed), len(close)
    high, low = close * (1 + 0.01 * rng.random(n)), close * (1 - 0.01 * rng.random(n))
    return Bars(high, low, close, np.round(rng.random(n) * 1e6))


def real(n: int = N) -> Bars:
    own = load("sample:us_ohlcv", ["AAPL"], fields=("high", "low", "close", "volume")).bars[0]
    return Bars(*(np.ascontiguousarray(own.field(field)[1000 : 1000 + n]) for field in Bars._fields))


def market() -> Bars:
    """Real bars without the rounding of the total-return chain: TA-Lib takes moves of 1e-12 for none."""
    return Bars(*(np.round(values, 6) for values in real(LONG)))


def interrupted() -> Bars:
    """Eighty equal bars, and values missing in one field or several, one bar or two."""
    bars = around(walk(N, 3))
    for values in bars:
        values[150:230] = values[150]
    bars.close[[300, 301, 330]] = np.nan
    bars.volume[[60, 345]] = np.nan
    bars.high[365], bars.low[385] = np.nan, np.nan
    return bars


def spiked() -> Bars:
    close = walk(N, 4)
    close[SPIKE_AT] = 1e12
    return around(close)


HISTORIES = {
    "real": real,
    "level 1e8": lambda: around(walk(N, 1, 1e8)),
    "level 1e8, moves 1e-5": lambda: around(1e8 * (1 + 1e-5 * np.random.default_rng(2).standard_normal(N))),
    "flat and gaps": interrupted,
    "spike 1e12": spiked,
}


def computed(name: str, bars: Bars, window: int = 1) -> np.ndarray:
    """What the kernel writes, over a mark that it must not leave anywhere."""
    out = np.full(len(bars.close), 123.0)
    INDICATOR_KERNELS[name](*(getattr(bars, field) for field in INDICATOR_BY_NAME[name].fields), window, out)
    return out


def errors(name: str, bars: Bars, found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Distances relative to the expected values, but to no less than 0.1 % of the price, 0.1 percent or 1 of 100."""
    least = {"price": 1e-3 * np.nan_to_num(bars.close), "percent": 0.1, "0-1": 0.1}
    distance = np.abs(found - expected) / np.maximum(np.abs(expected), least.get(INDICATOR_BY_NAME[name].unit, 1.0))
    return np.nan_to_num(distance.astype(float))
