"""Indicator kernels against their definitions, and what holds for all of them: warm-up, no trace, no future, same bits.

TA-Lib is the judge in `test_indicators_talib.py`, rulings and published vectors are in `test_indicators_rulings.py`.
"""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import naive
from definitions import DEFINITIONS, Bars, defined
from forge_ray.catalog import INDICATOR_BY_NAME, INDICATORS
from forge_ray.engine.indicator_kernels import INDICATOR_KERNELS
from forge_ray.kernels.compile import folder
from histories import HISTORIES, N, around, computed, errors, walk

NAMES = list(INDICATOR_KERNELS)
WINDOWS = (1, 2, 3, 5, 14, 50, 200)
EVERY_WINDOW = (*range(1, 61), 100, 150, 209)
RECURSIVE = {
    *("Exponential Moving Average", "Wilder Moving Average", "DEMA", "TEMA", "KAMA", "Ultimate Smoother"),
    *("Relative Strength Index", "RSI (EMA)", "Stochastic RSI", "Laguerre RSI", "ADX", "ATR", "ATR %"),
    *("MACD", "MACD Signal", "MACD Histogram", "PPO", "PPO Signal", "PPO Histogram"),
}
CUMULATIVE = {"Drawdown", "OBV Rate of Change"}
OF_THE_WINDOW_ALONE = [name for name in NAMES if name not in RECURSIVE | CUMULATIVE]

# Differences of averages that a spike inflates, values that hardly move while a spike fades, and deviations of two
# nearly equal prices from a mean that is rounded at the level of the price.
ILL_CONDITIONED = {
    ("spike 1e12", "Hull Moving Average"): 1e-5,
    ("spike 1e12", "DEMA"): 1e-6,
    ("spike 1e12", "TEMA"): 1e-6,
    ("spike 1e12", "Ultimate Smoother"): 1e-8,
    ("spike 1e12", "Linear Reg Value"): 1e-5,
    ("spike 1e12", "CCI"): 1e-9,
    ("spike 1e12", "Stochastic RSI"): 1e-1,
    ("level 1e8, moves 1e-5", "Bollinger %B"): 1e-8,
    ("level 1e8, moves 1e-5", "CCI"): 1e-9,
    ("level 1e8", "CCI"): 1e-9,
    ("level 1e8", "Bollinger %B"): 1e-9,
}


def closes(name: str, close: np.ndarray, window: int) -> np.ndarray:
    """Closes stand for all fields of their bars, as they do in the oracle."""
    return computed(name, Bars(close, close, close, close), window)


def windows_of(name: str) -> tuple[int, ...]:
    return EVERY_WINDOW if INDICATOR_BY_NAME[name].windowed else (1,)


@cache
def history(case: str) -> Bars:
    return HISTORIES[case]()


def test_every_indicator_has_a_kernel_a_definition_and_a_variable_of_its_own():
    names = [indicator.name for indicator in INDICATORS]
    assert set(names) == set(INDICATOR_KERNELS) == set(DEFINITIONS)
    assert len({indicator.variable for indicator in INDICATORS}) == len(names) == 54
    assert sum(len(indicator.aliases) + 1 for indicator in INDICATORS) == len(INDICATOR_BY_NAME)


@pytest.mark.parametrize("case", HISTORIES)
@pytest.mark.parametrize("name", NAMES)
def test_indicator_matches_its_definition_at_every_window(name: str, case: str):
    bars = history(case)
    for window in windows_of(name):
        found, expected = computed(name, bars, window), defined(name, bars, window)
        assert np.array_equal(np.isnan(found), np.isnan(expected)), window
        worst = errors(name, bars, found, expected)
        assert worst.max() <= ILL_CONDITIONED.get((case, name), 1e-11), (window, worst.argmax())


@pytest.mark.parametrize("indicator", INDICATORS, ids=lambda indicator: indicator.name)
def test_first_value_is_where_the_catalogue_says(indicator):
    bars = around(walk(910, 1))
    for window in range(1, 301) if indicator.windowed else (1,):
        known = np.flatnonzero(~np.isnan(computed(indicator.name, bars, window)))
        if window < indicator.smallest_window:
            assert known.size == 0
        else:
            first = indicator.bars_before_first_value(window)
            assert known[0] == first, window
            assert (window, indicator.name) == (1, "ADX") or np.array_equal(known, np.arange(first, 910)), window


@pytest.mark.parametrize("name", OF_THE_WINDOW_ALONE)
def test_what_has_left_the_window_leaves_no_trace(name: str):
    indicator = INDICATOR_BY_NAME[name]
    for window in WINDOWS if indicator.windowed else (1,):
        free = 210 + indicator.bars_before_first_value(window) + 1
        bars = around(walk(700, 4))
        clean = computed(name, bars, window)
        seen = window >= indicator.smallest_window
        for odd in (1e12, 1e-9, np.nan):
            for values in bars:
                values[210] = odd
            found = computed(name, bars, window)
            assert np.array_equal(found[:210], clean[:210], equal_nan=True)
            assert np.array_equal(found[free:], clean[free:], equal_nan=True)
            unmoved = (window <= 2 or "Aroon" in name) and not np.isnan(odd)
            assert not seen or unmoved or not np.array_equal(found[210:free], clean[210:free], equal_nan=True)


@pytest.mark.parametrize("name", sorted(RECURSIVE))
def test_recursive_indicators_forget_a_gap_and_start_again(name: str):
    """After a gap, the values are those of a history that begins there."""
    bars = around(walk(500, 6))
    for values in bars:
        values[199] = np.nan
    for window in (1, 2, 7, 30) if INDICATOR_BY_NAME[name].windowed else (1,):
        fresh = computed(name, Bars(*(values[200:].copy() for values in bars)), window)
        after = computed(name, bars, window)[200:]
        assert np.array_equal(np.isnan(after), np.isnan(fresh))
        assert np.nanmax(np.abs(after - fresh) / np.maximum(np.abs(fresh), 1.0), initial=0.0) <= 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_values_do_not_depend_on_what_comes_later(name: str):
    bars = history("flat and gaps")
    for window in (1, 2, 7, 30) if INDICATOR_BY_NAME[name].windowed else (1,):
        whole = computed(name, bars, window)
        for n in range(1, N, 13):
            part = computed(name, Bars(*(values[:n].copy() for values in bars)), window)
            assert np.array_equal(part, whole[:n], equal_nan=True)


@pytest.mark.parametrize("name", NAMES)
def test_histories_shorter_than_the_window_have_no_value(name: str):
    for n in range(4):
        found = computed(name, around(walk(n, 1)), 1_000_000)
        assert np.isnan(found).all() or INDICATOR_BY_NAME[name].bars_before_first_value(1_000_000) == 0


@pytest.mark.parametrize("name", NAMES)
def test_readonly_and_writable_bars_share_one_compilation(name: str):
    bars = around(walk(100, 2))
    expected = computed(name, bars, 5)
    for values in bars:
        values.flags.writeable = False
    assert np.array_equal(computed(name, bars, 5), expected, equal_nan=True)
    assert len(INDICATOR_KERNELS[name].compiled(folder()).signatures) == 1


# ---------------------------------------------------------------- against the oracle in plain Python


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("name", NAMES)
def test_indicator_matches_the_oracle_through_gaps_and_jumps(name: str, window: int):
    close = walk(700, 3)
    close[300] = np.nan
    close[[410, 411, 415]] = np.nan
    close[520] = 1e6
    close[600:640] = close[600]
    own = [None if np.isnan(x) else float(x) for x in close]
    reads_volume = "volume" in INDICATOR_BY_NAME[name].fields
    values = naive.indicator(name, [(p,) * 5 for p in own] if reads_volume else own, window)
    found, expected = closes(name, close, window), np.array([np.nan if v is None else v for v in values])
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    distance = np.abs(found - expected) / np.maximum(np.abs(expected), 1e-3)
    jumped = 520 + INDICATOR_BY_NAME[name].bars_before_first_value(window) + 2
    steady = np.r_[:520, 700 if name in RECURSIVE else jumped : 700]
    assert np.nanmax(distance[steady], initial=0.0) <= 1e-10
    assert np.nanmax(distance, initial=0.0) <= 1e-6


# ---------------------------------------------------------------- exact sums


@pytest.mark.parametrize("window", WINDOWS[1:])
def test_standard_deviation_matches_two_exact_passes(window: int):
    for level, growth, noise in ((100.0, 0.0, 0.01), (1e8, 0.0, 0.01), (1e8, 0.01, 1e-5)):
        close = level * np.cumprod(1.0 + growth + noise * np.random.default_rng(window).standard_normal(500))
        returns = close[1:] / close[:-1] - 1.0
        found = closes("Standard Deviation", close, window)
        for t in range(window - 1, 499):
            part = returns[t - window + 1 : t + 1]
            mean = math.fsum(part) / window
            exact = math.sqrt(math.fsum((r - mean) ** 2 for r in part) / window) * 100.0
            assert abs(found[t + 1] - exact) <= 1e-11 * max(exact, 1e-3)
        assert (found[window:] > 0.0).all()


@pytest.mark.parametrize("window", WINDOWS)
def test_moving_average_matches_exact_sums_at_any_level(window: int):
    for level in (1e-6, 100.0, 1e8):
        close = walk(500, window, level)
        close[250] = level * 1e10
        exact = [math.fsum(close[t - window + 1 : t + 1]) / window for t in range(window - 1, 500)]
        assert np.allclose(closes("Simple Moving Average", close, window)[window - 1 :], exact, rtol=1e-14, atol=0.0)


# ---------------------------------------------------------------- the same bits everywhere


def digest() -> str:
    """Hash of every indicator on a short history with a gap, a spike and a flat end."""
    close = np.round(walk(320, 8), 2)
    close[40], close[300:] = np.nan, 101.25
    bars = around(close)
    bars.volume[20], bars.high[55], bars.close[35] = np.nan, np.nan, 1e6
    windows = {name: (1, 2, 7, 30) if INDICATOR_BY_NAME[name].windowed else (1,) for name in NAMES}
    values = np.concatenate([computed(name, bars, window) for name in NAMES for window in windows[name]])
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
