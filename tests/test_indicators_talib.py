"""Indicator kernels against TA-Lib wherever it has the same definition; where it only seeds differently, once the seeds
have faded."""

from __future__ import annotations

import numpy as np
import pytest
import talib

from definitions import Bars
from histories import LONG as N
from histories import around, computed, market, walk

WINDOWS = (2, 3, 5, 14, 50, 200)


def moved(series: np.ndarray) -> np.ndarray:
    return np.concatenate([[np.nan], series])


def returns(b: Bars) -> np.ndarray:
    return b.close[1:] / b.close[:-1] - 1.0


def hull(b: Bars, w: int) -> np.ndarray:
    raw = 2.0 * talib.WMA(b.close, w // 2) - talib.WMA(b.close, w)
    root = int(w**0.5)
    known = raw[w - 1 :]
    return np.concatenate([raw[: w - 1], talib.WMA(known, root) if root > 1 else known])


def stochastic_rsi(b: Bars, w: int) -> np.ndarray:
    strength = talib.RSI(b.close, w)[w:]
    low, high = talib.MIN(strength, w), talib.MAX(strength, w)
    flat = np.full(len(strength), 50.0)
    flat[: w - 1] = np.nan
    return np.concatenate(
        [np.full(w, np.nan), np.divide(strength - low, (high - low) / 100.0, out=flat, where=high > low)]
    )


def percent_b(b: Bars, w: int) -> np.ndarray:
    upper, _, lower = talib.BBANDS(b.close, w, 2, 2, 0)
    flat = np.full(len(upper), 0.5)
    flat[: w - 1] = np.nan
    return np.divide(b.close - lower, upper - lower, out=flat, where=upper > lower)


def bandwidth(b: Bars, w: int) -> np.ndarray:
    upper, middle, lower = talib.BBANDS(b.close, w, 2, 2, 0)
    return 100.0 * (upper - lower) / middle


def cci(b: Bars, w: int) -> np.ndarray:
    """A flat window has no value; TA-Lib gives 0."""
    typical = (b.high + b.low + b.close) / 3.0
    flat = talib.MAX(typical, w) == talib.MIN(typical, w)
    return np.where(flat, np.nan, talib.CCI(b.high, b.low, b.close, w))


def r_squared(b: Bars, w: int) -> np.ndarray:
    return 100.0 * talib.CORREL(b.close, np.arange(len(b.close), dtype=float), w) ** 2


SAME = {
    "Simple Moving Average": lambda b, w: talib.SMA(b.close, w),
    "Exponential Moving Average": lambda b, w: talib.EMA(b.close, w),
    "Weighted Moving Average": lambda b, w: talib.WMA(b.close, w),
    "Hull Moving Average": hull,
    "DEMA": lambda b, w: talib.DEMA(b.close, w),
    "TEMA": lambda b, w: talib.TEMA(b.close, w),
    "Relative Strength Index": lambda b, w: talib.RSI(b.close, w),
    "Stochastic RSI": stochastic_rsi,
    "Rate of Change": lambda b, w: talib.ROC(b.close, w),
    "Cumulative Return": lambda b, w: talib.ROC(b.close, w),
    "SMA of Returns": lambda b, w: moved(100.0 * talib.SMA(returns(b), w)),
    "Standard Deviation": lambda b, w: moved(100.0 * talib.STDDEV(returns(b), w)),
    "Standard Deviation of Price": lambda b, w: talib.STDDEV(b.close, w),
    "Price vs SMA": lambda b, w: 100.0 * (b.close / talib.SMA(b.close, w) - 1.0),
    "Bollinger %B": percent_b,
    "Bollinger Bandwidth": bandwidth,
    "Bollinger Upper": lambda b, w: talib.BBANDS(b.close, w, 2, 2, 0)[0],
    "Bollinger Lower": lambda b, w: talib.BBANDS(b.close, w, 2, 2, 0)[2],
    "ATR": lambda b, w: talib.ATR(b.high, b.low, b.close, w),
    "ATR %": lambda b, w: talib.NATR(b.high, b.low, b.close, w),
    "Williams %R": lambda b, w: talib.WILLR(b.high, b.low, b.close, w),
    "CCI": cci,
    "Stochastic %K": lambda b, w: talib.STOCHF(b.high, b.low, b.close, w, 1)[0],
    "Stochastic %D": lambda b, w: talib.STOCHF(b.high, b.low, b.close, w, 3)[1],
    "Aroon Up": lambda b, w: talib.AROON(b.high, b.low, w)[1],
    "Aroon Down": lambda b, w: talib.AROON(b.high, b.low, w)[0],
    "Aroon Oscillator": lambda b, w: talib.AROONOSC(b.high, b.low, w),
    "Money Flow Index": lambda b, w: talib.MFI(b.high, b.low, b.close, b.volume, w),
    "Linear Reg Slope": lambda b, w: 100.0 * talib.LINEARREG_SLOPE(b.close, w) / talib.SMA(b.close, w),
    "Linear Reg Value": lambda b, w: talib.LINEARREG(b.close, w),
    "Trend Clarity": r_squared,
    "VWAP Ratio": lambda b, w: 100.0 * b.close / (talib.SUM(b.close * b.volume, w) / talib.SUM(b.volume, w)),
}

# TA-Lib's running sums cancel digits where a spread is small against its level.
COARSE = dict.fromkeys(("Standard Deviation", "Standard Deviation of Price", "Price vs SMA", "Linear Reg Slope"), 1e-7)
COARSE |= dict.fromkeys(("Stochastic RSI", "Money Flow Index"), 1e-9)
COARSE |= dict.fromkeys(("Bollinger Bandwidth", "Bollinger %B", "CCI", "Trend Clarity"), 1e-5)

SEEDED_OTHERWISE = {
    "KAMA": lambda b, w: talib.KAMA(b.close, w),
    "ADX": lambda b, w: talib.ADX(b.high, b.low, b.close, w),
    "MACD": lambda b, w: talib.MACD(b.close, 12, 26, 9)[0],
    "MACD Signal": lambda b, w: talib.MACD(b.close, 12, 26, 9)[1],
    "MACD Histogram": lambda b, w: talib.MACD(b.close, 12, 26, 9)[2],
    "PPO": lambda b, w: talib.PPO(b.close, 12, 26, talib.MA_Type.EMA),
}


def difference(name: str, bars: Bars, window: int, expected: np.ndarray) -> np.ndarray:
    """Relative to the value, or to a thousandth of the largest."""
    found = computed(name, bars, window)
    return np.abs(found - expected) / np.maximum(np.abs(expected), 1e-3 * np.nanmax(np.abs(expected)))


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("name", SAME)
def test_indicator_matches_talib(name: str, window: int):
    for bars in (market(), around(walk(N, window)), around(walk(N, window, 1e6))):
        expected = SAME[name](bars, window)
        apart = difference(name, bars, window, expected)
        assert np.array_equal(np.isnan(apart), np.isnan(expected))
        assert np.nanmax(apart) <= COARSE.get(name, 1e-11)


@pytest.mark.parametrize("window", [2, 5, 14, 50])
@pytest.mark.parametrize("name", SEEDED_OTHERWISE)
def test_indicator_matches_talib_once_other_seeds_have_faded(name: str, window: int):
    for bars in (market(), around(walk(N, window))):
        expected = SEEDED_OTHERWISE[name](bars, window)
        faded = slice(N - 500, None)
        assert np.nanmax(difference(name, bars, window, expected)[faded]) <= 1e-9
        assert not np.isnan(expected[faded]).any()


def test_balance_matches_talib():
    """TA-Lib's OBV begins at the first volume instead of 0."""
    bars = market()
    balance = talib.OBV(bars.close, bars.volume) - bars.volume[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        for window in WINDOWS:
            before = np.concatenate([np.full(window, np.nan), balance[:-window]])
            expected = np.where(before == 0.0, np.nan, 100.0 * (balance - before) / np.abs(before))
            assert np.nanmax(difference("OBV Rate of Change", bars, window, expected)) <= 1e-6
