"""Indicator kernels against TA-Lib and against the plain definitions of the oracle."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import naive
import numpy as np
import pytest
import talib

from forge_ray.catalog import INDICATOR_BY_NAME, INDICATORS
from forge_ray.engine.values import INDICATOR_KERNELS
from forge_ray.kernels.compile import folder

WINDOWS = (1, 2, 3, 5, 14, 50, 200)
OF_THE_WINDOW_ALONE = ("Simple Moving Average", "Standard Deviation", "Rate of Change")
TALIB = {
    "Simple Moving Average": talib.SMA,
    "Exponential Moving Average": talib.EMA,
    "Relative Strength Index": talib.RSI,
    "Rate of Change": talib.ROC,
    "Cumulative Return": talib.ROC,
}
VECTOR = [100, 102, 101, 105, 107, 104, 108, 110, 109, 112]
PUBLISHED = {
    ("Simple Moving Average", 3): [101.0, 102.6667, 104.3333, 105.3333, 106.3333, 107.3333, 109.0, 110.3333],
    ("Exponential Moving Average", 3): [101.0, 103.0, 105.0, 104.5, 106.25, 108.125, 108.5625, 110.2812],
    ("Relative Strength Index", 3): [85.7143, 90.0, 53.7313, 74.3802, 80.8050, 68.0130, 81.3201],
    ("Standard Deviation", 3): [2.0313, 2.0265, 2.8314, 2.7921, 2.7863, 1.9497, 1.5578],
    ("Rate of Change", 3): [5.0, 4.9020, 2.9703, 2.8571, 2.8037, 4.8077, 3.7037],
}


def walk(n: int, seed: int, level: float = 100.0) -> np.ndarray:
    return level * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.012, n)))


def computed(name: str, close: np.ndarray, window: int) -> np.ndarray:
    """Closes stand for all prices of their bars, as they do in the oracle."""
    out = np.full(len(close), 123.0)
    INDICATOR_KERNELS[name](*[close] * len(INDICATOR_BY_NAME[name].fields), window, out)
    return out


def oracle(name: str, close: np.ndarray, window: int) -> np.ndarray:
    values = naive.indicator(name, [None if np.isnan(x) else float(x) for x in close], window)
    return np.array([np.nan if v is None else v for v in values])


def assert_close(found: np.ndarray, expected: np.ndarray, relative: float) -> None:
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    scale = np.maximum(np.abs(expected), 1e-3)
    assert np.nanmax(np.abs(found - expected) / scale, initial=0.0) <= relative


@pytest.mark.parametrize("window", WINDOWS[1:])
@pytest.mark.parametrize("name", TALIB)
def test_indicator_matches_talib(name: str, window: int):
    for level in (1.0, 100.0, 1e8):
        close = walk(3_000, window, level)
        assert_close(computed(name, close, window), TALIB[name](close, window), 1e-12)


@pytest.mark.parametrize("window", WINDOWS[1:])
def test_standard_deviation_matches_talib(window: int):
    close = walk(3_000, window)
    expected = np.concatenate([[np.nan], talib.STDDEV(close[1:] / close[:-1] - 1, window) * 100])
    assert_close(computed("Standard Deviation", close, window), expected, 1e-9)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("name", INDICATOR_KERNELS)
def test_indicator_matches_its_definition_through_gaps_and_spikes(name: str, window: int):
    close = walk(700, 3)
    close[300] = np.nan
    close[[410, 411, 415]] = np.nan
    close[520] = 1e12
    close[600:] = close[600]
    found, expected = computed(name, close, window), oracle(name, close, window)
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    spiked = np.zeros(700, bool)
    spiked[520 : 522 + window] = True
    if name in ("Exponential Moving Average", "Relative Strength Index"):
        spiked[520:] = True
    assert_close(found[~spiked], expected[~spiked], 1e-11)
    assert_close(found[spiked], expected[spiked], 1e-6)


@pytest.mark.parametrize(("name", "window"), PUBLISHED)
def test_indicator_matches_published_vectors(name: str, window: int):
    found = computed(name, np.array(VECTOR, float), window)
    expected = PUBLISHED[name, window]
    assert np.isnan(found[: -len(expected)]).all()
    assert np.allclose(found[-len(expected) :], expected, atol=6e-5)


@pytest.mark.parametrize("indicator", INDICATORS, ids=lambda indicator: indicator.name)
def test_first_value_is_where_the_catalogue_says(indicator):
    for window in WINDOWS:
        found = computed(indicator.name, walk(260, 1), window)
        assert np.flatnonzero(~np.isnan(found))[0] == indicator.bars_before_first_value(window)


@pytest.mark.parametrize("name", INDICATOR_KERNELS)
def test_values_do_not_depend_on_what_comes_later(name: str):
    close = walk(240, 9)
    for window in (1, 2, 7, 30):
        whole = computed(name, close, window)
        for n in range(1, 240, 13):
            assert np.array_equal(computed(name, close[:n], window), whole[:n], equal_nan=True)


@pytest.mark.parametrize("window", WINDOWS[1:])
def test_atr_bands_and_price_deviation_match_talib(window: int):
    close = walk(3_000, window)
    high, low = close * 1.01, close * 0.985
    out = np.empty(len(close))
    INDICATOR_KERNELS["ATR"](high, low, close, window, out)
    assert_close(out, talib.ATR(high, low, close, window), 1e-12)
    assert_close(computed("Standard Deviation of Price", close, window), talib.STDDEV(close, window), 1e-9)
    upper, _, lower = talib.BBANDS(close, window, 2, 2, 0)
    assert_close(computed("Bollinger %B", close, window), (close - lower) / (upper - lower), 1e-7)


def test_equal_prices_have_exactly_that_mean():
    close = np.full(100, 0.1)
    for window in WINDOWS[:6]:
        assert (computed("Simple Moving Average", close, window)[window - 1 :] == 0.1).all()
        assert (computed("Exponential Moving Average", close, window)[window - 1 :] == 0.1).all()


def test_flat_prices_have_rsi_50_and_no_deviation():
    close = np.full(40, 7.3)
    assert (computed("Relative Strength Index", close, 5)[5:] == 50.0).all()
    assert (computed("Standard Deviation", close, 5)[5:] == 0.0).all()
    rising = np.arange(1.0, 40.0)
    assert (computed("Relative Strength Index", rising, 5)[5:] == 100.0).all()


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("name", OF_THE_WINDOW_ALONE)
def test_what_has_left_the_window_leaves_no_trace(name: str, window: int):
    close = walk(700, 4)
    clean = computed(name, close, window)
    for odd in (1e12, 1e-9, np.nan):
        close[210] = odd
        found, free = computed(name, close, window), 210 + window + 1
        assert np.array_equal(found[:210], clean[:210], equal_nan=True)
        assert np.array_equal(found[free:], clean[free:])
        assert not np.array_equal(found[210:free], clean[210:free]) or (name, window) == ("Standard Deviation", 1)


@pytest.mark.parametrize("window", WINDOWS[1:])
def test_standard_deviation_matches_two_exact_passes(window: int):
    for level, growth, noise in ((100.0, 0.0, 0.01), (1e8, 0.0, 0.01), (1e8, 0.01, 1e-5)):
        close = level * np.cumprod(1.0 + growth + noise * np.random.default_rng(window).standard_normal(500))
        returns = close[1:] / close[:-1] - 1.0
        expected = np.full(500, np.nan)
        for t in range(window - 1, 499):
            part = returns[t - window + 1 : t + 1]
            mean = math.fsum(part) / window
            expected[t + 1] = math.sqrt(math.fsum((r - mean) ** 2 for r in part) / window) * 100.0
        assert_close(found := computed("Standard Deviation", close, window), expected, 1e-11)
        assert (found[window:] > 0.0).all()


@pytest.mark.parametrize("window", WINDOWS)
def test_moving_average_matches_exact_sums_at_any_level(window: int):
    for level in (1e-6, 100.0, 1e8):
        close = walk(500, window, level)
        close[250] = level * 1e10
        exact = [math.fsum(close[t - window + 1 : t + 1]) / window for t in range(window - 1, 500)]
        assert np.allclose(computed("Simple Moving Average", close, window)[window - 1 :], exact, rtol=1e-14, atol=0.0)


@pytest.mark.parametrize("name", INDICATOR_KERNELS)
def test_histories_shorter_than_the_window_have_no_value(name: str):
    for n in range(4):
        found = computed(name, walk(n, 1), 1_000_000)
        assert np.isnan(found).all() or not INDICATOR_BY_NAME[name].windowed


@pytest.mark.parametrize("name", INDICATOR_KERNELS)
def test_readonly_and_writable_closes_share_one_compilation(name: str):
    close = walk(100, 2)
    expected = computed(name, close, 5)
    close.flags.writeable = False
    assert np.array_equal(computed(name, close, 5), expected, equal_nan=True)
    assert len(INDICATOR_KERNELS[name].compiled(folder()).signatures) == 1


def digest() -> str:
    """Hash of every indicator on a short history with a gap, a spike and a flat end."""
    close = np.round(walk(120, 8), 2)
    close[40], close[70], close[100:] = np.nan, 1e6, 101.25
    values = np.array([computed(name, close, window) for name in INDICATOR_KERNELS for window in (1, 2, 7, 30)])
    values[np.isnan(values)] = np.nan
    return hashlib.sha256(values.tobytes()).hexdigest()


def test_plain_python_gives_the_same_bits():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import test_indicators; print(test_indicators.digest())"],
        capture_output=True,
        text=True,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        cwd=Path(__file__).parent,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == digest()


def test_every_indicator_has_a_kernel():
    assert set(INDICATOR_KERNELS) == {indicator.name for indicator in INDICATORS}
