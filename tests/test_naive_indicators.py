"""The oracle's indicators against the printed vectors of the language, TA-Lib, and numbers worked by hand."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import talib

import naive
from naive import indicator
from naive_indicators import DEFINITIONS
from whole_trees import random_market

CLOSES = [100, 102, 101, 105, 107, 104, 108, 110, 109, 112]
N = None
BARS = [bar[1:] for bar in random_market(random.Random(11), ["A"], 900, ragged=False)["A"]]
OPEN, HIGH, LOW, CLOSE, VOLUME = np.array(BARS).T


def approx(values: Sequence[float | None], digits: float) -> list[object]:
    return [v if v is None else pytest.approx(v, abs=digits) for v in values]


@pytest.mark.parametrize(
    ("name", "window", "expected"),
    [
        ("Weighted Moving Average", 3, [101.1667, 103.1667, 105.3333, 105.1667, 106.5, 108.3333, 109.1667, 110.6667]),
        ("Wilder Moving Average", 3, [101.0, 102.3333, 103.8889, 103.9259, 105.284, 106.856, 107.5706, 109.0471]),
        ("Hull Moving Average", 4, [106.8556, 106.1222, 106.4222, 109.5222, 110.3, 111.1556]),
        ("DEMA", 3, [107.0, 105.25, 107.5, 109.6875, 109.5625, 111.6406]),
        ("RSI (SMA)", 3, [85.7143, 85.7143, 66.6667, 66.6667, 66.6667, 85.7143, 83.3333]),
        ("RSI (EMA)", 3, [85.7143, 92.3077, 38.7097, 75.9494, 85.0394, 61.7143, 85.5292]),
        ("Bollinger Bandwidth", 3, [3.2336, 6.6221, 9.5633, 4.7363, 6.3938, 9.296, 2.9963, 4.5216]),
        ("Price vs SMA", 3, [0.0, 2.2727, 2.5559, -1.2658, 1.5674, 2.4845, 0.0, 1.5106]),
        ("Linear Reg Slope", 4, [1.3725, 1.8313, 1.0552, 0.566, 1.2121, 1.5777, 1.0023]),
        ("Linear Reg Value", 4, [104.1, 106.6, 105.9, 106.9, 109.2, 110.3, 111.4]),
        ("Trend Clarity", 4, [70.0, 79.3407, 32.2667, 18.0, 45.0667, 69.6386, 69.1429]),
        ("Ulcer Index", 4, [0.4902, 0.4902, 1.4019, 1.4019, 1.4019, 0.4545, 0.4545]),
        ("Historical Volatility", 4, [27.6023, 41.06, 43.2926, 38.7606, 40.2177, 27.5938]),
        ("Ultimate Smoother", 4, [100, 102, 101, 105, 107.0657, 104.7885, 107.1617, 109.7349, 109.4145, 111.4892]),
        ("KAMA", 3, [105.0, 105.4893, 105.3845, 105.5685, 105.8803, 106.6435, 107.8065]),
        (
            "Laguerre RSI",
            1,
            [67.2131, 68.9737, 73.3982, 73.5741, 74.5491, 73.3736, 75.6909, 79.7236, 84.8495, 92.2902],
        ),
    ],
)
def test_indicators_match_the_vectors_of_the_language(name: str, window: int, expected: list[float]) -> None:
    assert indicator(name, CLOSES, window) == approx([N] * (10 - len(expected)) + expected, 5.1e-5)


def test_returns_of_the_vectors_are_in_percent() -> None:
    # Printed as decimals with four digits: 0.0166, 0.0163, 0.0102, …
    printed = [0.0166, 0.0163, 0.0102, 0.0098, 0.0096, 0.0160, 0.0123]
    assert indicator("SMA of Returns", CLOSES, 3) == approx([N] * 3 + [100 * r for r in printed], 5.1e-3)


def stochastic_rsi(w: int) -> np.ndarray:
    """TA-Lib's, which says 0 where the RSI stands still, and that is 50 here."""
    rsi = talib.RSI(CLOSE, w)
    return np.where(talib.MAX(rsi, w) == talib.MIN(rsi, w), 50.0, talib.STOCHRSI(CLOSE, w, w, 1, 0)[0])


TALIB: dict[str, Callable[[int], np.ndarray]] = {
    "Weighted Moving Average": lambda w: talib.WMA(CLOSE, w),
    "DEMA": lambda w: talib.DEMA(CLOSE, w),
    "TEMA": lambda w: talib.TEMA(CLOSE, w),
    "Linear Reg Value": lambda w: talib.LINEARREG(CLOSE, w),
    "Linear Reg Slope": lambda w: talib.LINEARREG_SLOPE(CLOSE, w) / talib.SMA(CLOSE, w) * 100,
    "Bollinger Upper": lambda w: talib.BBANDS(CLOSE, w, 2, 2, 0)[0],
    "Bollinger Lower": lambda w: talib.BBANDS(CLOSE, w, 2, 2, 0)[2],
    "Stochastic RSI": stochastic_rsi,
    "Williams %R": lambda w: talib.WILLR(HIGH, LOW, CLOSE, w),
    "CCI": lambda w: talib.CCI(HIGH, LOW, CLOSE, w),
    "Stochastic %D": lambda w: talib.STOCHF(HIGH, LOW, CLOSE, w, 3, 0)[1],
    "ATR": lambda w: talib.ATR(HIGH, LOW, CLOSE, w),
    "ATR %": lambda w: talib.NATR(HIGH, LOW, CLOSE, w),
    "Aroon Up": lambda w: talib.AROON(HIGH, LOW, w)[1],
    "Aroon Down": lambda w: talib.AROON(HIGH, LOW, w)[0],
    "Aroon Oscillator": lambda w: talib.AROONOSC(HIGH, LOW, w),
    "Money Flow Index": lambda w: talib.MFI(HIGH, LOW, CLOSE, VOLUME, w),
}


@pytest.mark.parametrize("window", [2, 3, 10, 30])
@pytest.mark.parametrize("name", TALIB)
def test_indicator_matches_talib_from_its_first_value_on(name: str, window: int) -> None:
    found = np.array([np.nan if v is None else v for v in indicator(name, BARS, window)])
    expected = TALIB[name](window)
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    assert np.nanmax(np.abs(found - expected) / np.maximum(1, np.abs(expected))) < 1e-9


@pytest.mark.parametrize(
    ("name", "window", "expected"),
    [
        ("KAMA", 10, talib.KAMA(CLOSE, 10)),
        ("ADX", 14, talib.ADX(HIGH, LOW, CLOSE, 14)),
        ("MACD", 1, talib.MACD(CLOSE)[0]),
        ("MACD Signal", 1, talib.MACD(CLOSE)[1]),
        ("MACD Histogram", 1, talib.MACD(CLOSE)[2]),
        ("PPO", 1, talib.PPO(CLOSE, 12, 26, 1)),
        ("PPO Signal", 1, talib.EMA(talib.PPO(CLOSE, 12, 26, 1), 9)),
        ("PPO Histogram", 1, talib.PPO(CLOSE, 12, 26, 1) - talib.EMA(talib.PPO(CLOSE, 12, 26, 1), 9)),
    ],
)
def test_other_seeds_of_talib_converge(name: str, window: int, expected: np.ndarray) -> None:
    found = np.array(indicator(name, BARS, window)[600:], float)
    assert np.max(np.abs(found - expected[600:]) / np.maximum(1, np.abs(expected[600:]))) < 1e-9


@pytest.mark.parametrize("name", DEFINITIONS)
def test_first_value_and_declared_look_back_agree(name: str) -> None:
    for window in (2, 3, 5, 14) if DEFINITIONS[name].windowed else (1,):
        first = next(k for k, v in enumerate(indicator(name, BARS, window)) if v is not None)
        assert first == naive.bars_before_first_value(name, window)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_values_do_not_depend_on_what_comes_later(name: str) -> None:
    whole = indicator(name, BARS[:300], 5)
    assert all(indicator(name, BARS[:n], 5) == whole[:n] for n in (1, 7, 100, 280))


@pytest.mark.parametrize(
    ("name", "at_rest"),
    [
        *((name, 50.0) for name in ("RSI", "RSI (SMA)", "RSI (EMA)", "Stochastic RSI", "Money Flow Index")),
        *((name, 7.1) for name in ("Wilder Moving Average", "DEMA", "KAMA", "Bollinger Upper", "Bollinger Lower")),
        *((name, 0.0) for name in ("Trend Clarity", "Linear Reg Slope", "Bollinger Bandwidth", "Ulcer Index")),
        *((name, 0.0) for name in ("SMA of Returns", "Price vs SMA", "Historical Volatility", "ATR", "MACD", "PPO")),
        ("Bollinger %B", 0.5),
        *((name, None) for name in ("Stochastic %K", "Stochastic %D", "Williams %R", "CCI", "ADX")),
        ("OBV Rate of Change", None),
        ("VWAP Ratio", 100.0),
        ("Aroon Up", 100.0),
        ("Aroon Oscillator", 0.0),
    ],
)
def test_a_series_at_rest(name: str, at_rest: float | None) -> None:
    still = [(7.1, 7.1, 7.1, 7.1, 10.0)] * 40
    expected = at_rest if at_rest is None else pytest.approx(at_rest, abs=1e-14)
    assert indicator(name, still, 3)[-1] == expected
    if at_rest in (50.0, 0.5, 0.0, None):
        assert indicator(name, still, 3)[-1] == at_rest, "by rule, not by rounding"


def test_windows_of_one_bar() -> None:
    assert indicator("Linear Reg Slope", CLOSES, 1) == indicator("Linear Reg Value", CLOSES, 1) == [N] * 10
    assert set(indicator("Trend Clarity", CLOSES, 1)) == {0.0}
    assert indicator("Hull Moving Average", CLOSES, 1) == approx(CLOSES, 1e-12)


# ---------------------------------------------------------------- by hand


def test_twelve_months_of_momentum() -> None:
    # 100 until 20 bars before the end, then 110: r21, r63, r126 and r252 are all 10 %; of the 13 closes that lie 21
    # bars apart the last one alone is 110, so their mean is 1310/13.
    closes = [100.0] * 240 + [110.0] * 13
    assert indicator("Momentum (Weighted)", closes)[-1] == pytest.approx(10)
    assert indicator("Momentum (Unweighted)", closes)[-1] == pytest.approx(10)
    assert indicator("Momentum (12-Month SMA)", closes)[-1] == pytest.approx((13 * 110 / 1310 - 1) * 100)
    # 110 for the last 30 bars: r21 is 0, the three others are 10 %.
    closes = [100.0] * 223 + [110.0] * 30
    assert indicator("Momentum (Weighted)", closes)[-1] == pytest.approx(10 * (4 + 2 + 1) / 19)
    assert indicator("Momentum (Unweighted)", closes)[-1] == pytest.approx(7.5)
    assert indicator("Momentum (12-Month SMA)", closes)[-1] == pytest.approx((13 * 110 / 1320 - 1) * 100)


def flat(*closes_and_volumes: tuple[float | None, float | None]) -> list[tuple]:
    """Bars whose prices are all the close."""
    return [(p, p, p, p, v) for p, v in closes_and_volumes]


def test_money_flow_counts_a_bar_up_or_down_by_its_typical_price() -> None:
    bars = flat((10, 5), (11, 2), (10, 3), (10, 9), (12, 1))
    # Flows +22, −30, 0, +12. Of the last two: −30 and 22; 0 and −30; 12 and 0.
    assert indicator("Money Flow Index", bars, 2) == [N, N, pytest.approx(100 * 22 / 52), 0.0, 100.0]
    assert indicator("Money Flow Index", [*bars[:3], (10, 10, 10, 10, N), bars[4]], 1) == [N, 100.0, 0.0, N, 100.0]


def test_on_balance_volume_starts_at_nothing_and_passes_over_gaps() -> None:
    bars = flat((10, 5), (11, 2), (10, 3), (10, 9), (12, 4))
    # 0, 2, −1, −1, 3. Two bars back from the third: 0, null; then (−1 − 2)/2 and (3 + 1)/1.
    assert indicator("OBV Rate of Change", bars, 2) == [N, N, N, pytest.approx(-150), pytest.approx(400)]
    gap = [*bars[:2], (50, 50, 50, 50, N), *bars[2:]]
    # 0, 2, –, −1 (10 against 11), −1, 3.
    assert indicator("OBV Rate of Change", gap, 2) == [N, N, N, pytest.approx(-150), N, pytest.approx(400)]


def test_price_against_its_volume_weighted_average() -> None:
    bars = flat((10, 1), (20, 3), (30, 0), (40, 0))
    # Over two bars: 70/4 = 17.5; then 60/3 = 20; then no volume at all.
    assert indicator("VWAP Ratio", bars, 2) == [N, pytest.approx(20 / 17.5 * 100), pytest.approx(150), N]


def test_aroon_counts_from_the_latest_of_equal_extremes() -> None:
    bars = [(5, high, low, 5) for high, low in ((9, 1), (8, 2), (9, 3), (7, 1), (6, 4))]
    # Four bars, w = 3. Highs 9 8 9 7: one bar ago; 8 9 7 6: two. Lows 1 2 3 1: now; 2 3 1 4: one ago.
    assert indicator("Aroon Up", bars, 3)[3:] == [pytest.approx(200 / 3), pytest.approx(100 / 3)]
    assert indicator("Aroon Down", bars, 3)[3:] == [100.0, pytest.approx(200 / 3)]
    assert indicator("Aroon Oscillator", bars, 3)[3:] == [pytest.approx(-100 / 3), pytest.approx(-100 / 3)]
    gap = [*bars[:1], (5, N, 2, 5), *bars[2:]]
    assert indicator("Aroon Up", gap, 2) == [N, N, N, N, pytest.approx(0)]
    assert indicator("Aroon Down", gap, 2)[2:] == [0.0, 100.0, 50.0]


def test_stochastics_place_the_close_in_the_range_of_the_window() -> None:
    bars = [(5, 10, 4, 8), (5, 12, 6, 6), (5, 8, 2, 7), (5, 7, 7, 7), (5, 7, 7, 7)]
    # Ranges of two bars: 4–12, 2–12, 2–8, 7–7.
    assert indicator("Stochastic %K", bars, 2) == [N, 25.0, 50.0, pytest.approx(500 / 6), N]
    assert indicator("Williams %R", bars, 2) == [N, -75.0, -50.0, pytest.approx(-100 / 6), N]
    assert indicator("Stochastic %D", bars, 2) == [N, N, N, pytest.approx((75 + 500 / 6) / 3), N]


def test_commodity_channel_index() -> None:
    bars = [(1, 3, 1, 2), (1, 6, 2, 4), (1, 9, 7, 8)]
    # Typical prices 2, 4, 8: mean 14/3, mean distance (8/3 + 2/3 + 10/3)/3 = 20/9.
    assert indicator("CCI", bars, 3) == [N, N, pytest.approx((10 / 3) / (0.015 * 20 / 9))]


def test_directional_index_of_two_bars() -> None:
    bars = [(0, 10, 8, 9), (0, 12, 9, 11), (0, 13, 10, 12), (0, 12, 7, 8)]
    # True ranges 3, 3, 5; up moves 2, 1, 0; down moves 0, 0, 3 (of two moves the larger one). Averages of two bars:
    # range 3, up 1.5, down 0: DX 100. Then range 4, up 0.75, down 1.5: DX 100·0.75/2.25. ADX is the mean of the two.
    assert indicator("ADX", bars, 2) == [N, N, N, pytest.approx((100 + 100 / 3) / 2)]
    # A fall as large as the rise counts for neither; without any move there is no DX.
    assert indicator("ADX", [(0, 10, 8, 9), (0, 11, 7, 9), (0, 12, 6, 9)], 1) == [N, N, N]


def test_stochastic_rsi_of_two_bars() -> None:
    closes = [10, 11, 10, 12, 12]
    # RSI(2): gains 1, 0 and losses 0, 1: 50; then 0.5 and 2 give 1.25, losses 0.25: 83.3; a rest leaves it there.
    assert indicator("RSI", closes, 2) == [N, N, 50.0, pytest.approx(250 / 3), pytest.approx(250 / 3)]
    assert indicator("Stochastic RSI", closes, 2)[:4] == [N, N, N, 100.0]
    assert indicator("Stochastic RSI", [1, 2, 3, 4, 5], 2) == [N, N, N, 50.0, 50.0]  # 100 and 100: standing still


def test_kama_stays_when_nothing_moves() -> None:
    closes = [10, 11, 13, 13, 13, 13]
    # w = 2: starts with 13; path 2, change 2: fast, but K is there already. Then neither: the slow constant.
    assert indicator("KAMA", closes, 2) == [N, N, 13.0, 13.0, 13.0, 13.0]
    risen = indicator("KAMA", [10, 10, 10, 13, 13, 13], 2)
    fast, slow = (2 / 3) ** 2, (2 / 31) ** 2
    assert risen[2:] == approx(
        [10, 10 + 3 * fast, 10 + 3 - 3 * (1 - fast) ** 2, 13 - 3 * (1 - fast) ** 2 * (1 - slow)], 1e-12
    )


# ---------------------------------------------------------------- gaps


@pytest.mark.parametrize("name", [name for name in DEFINITIONS if name not in ("Drawdown", "OBV Rate of Change")])
def test_after_a_gap_an_indicator_is_as_if_it_began_there(name: str) -> None:
    gap = (math.nan,) * 5
    window = 4
    after = indicator(name, BARS[20:320], window)
    both = indicator(name, [*BARS[:20], gap, *BARS[20:320]], window)
    needs = naive.bars_before_first_value(name, window)
    assert both[20] is None
    assert both[21 : 21 + needs] == [None] * needs
    assert both[21 + needs :] == after[needs:]


def test_the_drawdown_remembers_its_peak_over_a_gap() -> None:
    assert indicator("Drawdown", [10, 20, N, 15]) == [0.0, 0.0, N, 25.0]
