"""What a definition leaves open: published vectors, flat stretches, ties, gaps, and digits that must not get lost."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from definitions import Bars
from forge_ray.catalog import INDICATOR_BY_NAME, INDICATORS
from histories import around, computed, walk

CLOSES = np.array([100, 102, 101, 105, 107, 104, 108, 110, 109, 112], float)
PUBLISHED = {
    ("Simple Moving Average", 3): [101.0, 102.6667, 104.3333, 105.3333, 106.3333, 107.3333, 109.0, 110.3333],
    ("Exponential Moving Average", 3): [101.0, 103.0, 105.0, 104.5, 106.25, 108.125, 108.5625, 110.2812],
    ("Weighted Moving Average", 3): [101.1667, 103.1667, 105.3333, 105.1667, 106.5, 108.3333, 109.1667, 110.6667],
    ("Wilder Moving Average", 3): [101.0, 102.3333, 103.8889, 103.9259, 105.2840, 106.8560, 107.5706, 109.0471],
    ("Hull Moving Average", 4): [106.8556, 106.1222, 106.4222, 109.5222, 110.3, 111.1556],
    ("DEMA", 3): [107.0, 105.25, 107.5, 109.6875, 109.5625, 111.6406],
    ("KAMA", 3): [105.0, 105.4893, 105.3845, 105.5685, 105.8803, 106.6435, 107.8065],
    ("Ultimate Smoother", 4): [100, 102, 101, 105, 107.0657, 104.7885, 107.1617, 109.7349, 109.4145, 111.4892],
    ("Relative Strength Index", 3): [85.7143, 90.0, 53.7313, 74.3802, 80.8050, 68.0130, 81.3201],
    ("RSI (SMA)", 3): [85.7143, 85.7143, 66.6667, 66.6667, 66.6667, 85.7143, 83.3333],
    ("RSI (EMA)", 3): [85.7143, 92.3077, 38.7097, 75.9494, 85.0394, 61.7143, 85.5292],
    ("Laguerre RSI", 1): [67.2131, 68.9737, 73.3982, 73.5741, 74.5491, 73.3736, 75.6909, 79.7236, 84.8495, 92.2902],
    ("Standard Deviation", 3): [2.0313, 2.0265, 2.8314, 2.7921, 2.7863, 1.9497, 1.5578],
    ("Standard Deviation of Price", 3): [0.8165, 1.6997, 2.4944, 1.2472, 1.6997, 2.4944, 0.8165, 1.2472],
    ("Max Drawdown", 3): [0.9804, 0.9804, 0.0, 2.8037, 2.8037, 0.0, 0.9091, 0.9091],
    ("Drawdown", 1): [0.0, 0.0, 0.9804, 0.0, 0.0, 2.8037, 0.0, 0.0, 0.9091, 0.0],
    ("Rate of Change", 3): [5.0, 4.9020, 2.9703, 2.8571, 2.8037, 4.8077, 3.7037],
    ("Cumulative Return", 3): [5.0, 4.9020, 2.9703, 2.8571, 2.8037, 4.8077, 3.7037],
    ("SMA of Returns", 3): [1.66, 1.63, 1.02, 0.98, 0.96, 1.60, 1.23],
    ("Bollinger %B", 3): [0.5, 0.8432, 0.7673, 0.2327, 0.7451, 0.7673, 0.5, 0.8341],
    ("Bollinger Bandwidth", 3): [3.2336, 6.6221, 9.5633, 4.7363, 6.3938, 9.2960, 2.9963, 4.5216],
    ("Price vs SMA", 3): [0.0, 2.2727, 2.5559, -1.2658, 1.5674, 2.4845, 0.0, 1.5106],
    ("Linear Reg Slope", 4): [1.3725, 1.8313, 1.0552, 0.5660, 1.2121, 1.5777, 1.0023],
    ("Linear Reg Value", 4): [104.1, 106.6, 105.9, 106.9, 109.2, 110.3, 111.4],
    ("Trend Clarity", 4): [70.0, 79.3407, 32.2667, 18.0, 45.0667, 69.6386, 69.1429],
    ("Ulcer Index", 4): [0.4902, 0.4902, 1.4019, 1.4019, 1.4019, 0.4545, 0.4545],
    ("Historical Volatility", 4): [27.6023, 41.06, 43.2926, 38.7606, 40.2177, 27.5938],
}
PRICES = [i.name for i in INDICATORS if i.unit == "price" and i.sweep.startswith("±20%")]
VALUE_WHEN_FLAT = {
    **dict.fromkeys(("Relative Strength Index", "RSI (SMA)", "RSI (EMA)", "Stochastic RSI", "Money Flow Index"), 50.0),
    **{"Bollinger %B": 0.5, "Trend Clarity": 0.0, "VWAP Ratio": 100.0, "Aroon Up": 100.0, "Aroon Down": 100.0},
    **dict.fromkeys(("Williams %R", "CCI", "Stochastic %K", "Stochastic %D", "ADX", "OBV Rate of Change"), np.nan),
}
ALL_ALIKE = [i.name for i in INDICATORS if i.name != "Laguerre RSI"]


def plain(close: np.ndarray) -> Bars:
    return Bars(close, close, close, close)


def flat(n: int, price: float = 7.3) -> Bars:
    return plain(np.full(n, price))


@pytest.mark.parametrize(("name", "window"), PUBLISHED)
def test_indicator_matches_published_vectors(name: str, window: int):
    found, expected = computed(name, plain(CLOSES), window), PUBLISHED[name, window]
    assert np.isnan(found[: len(CLOSES) - len(expected)]).all()
    digits = 5.1e-3 if name == "SMA of Returns" else 5.1e-5
    assert np.allclose(found[len(CLOSES) - len(expected) :], expected, rtol=0.0, atol=digits)


# ---------------------------------------------------------------- flat


@pytest.mark.parametrize("name", ALL_ALIKE)
def test_a_flat_history_has_exactly_the_value_of_its_kind(name: str):
    """A price is itself, what has no direction is in the middle, a quotient of nothing is no value, all else is 0."""
    indicator, expected = INDICATOR_BY_NAME[name], VALUE_WHEN_FLAT.get(name, 0.0)
    for window in (2, 3, 7, 30, 101) if indicator.windowed else (1,):
        for price in (7.3, 0.1, 1e8 / 3):
            found = computed(name, flat(400, price), window)[indicator.bars_before_first_value(window) :]
            assert np.array_equal(found, np.full(len(found), price if name in PRICES else expected), equal_nan=True)


@pytest.mark.parametrize("name", ["Relative Strength Index", "RSI (EMA)"])
def test_strength_is_kept_to_the_bit_while_the_price_stands_still(name: str):
    close = walk(200, 5)
    close[100:150] = close[100]
    for window in (2, 3, 14):
        found = computed(name, plain(close), window)
        assert (found[100:150] == found[100]).all() and found[100] not in (0.0, 50.0, 100.0)
    assert (computed("Stochastic RSI", plain(close), 14)[113:150] == 50.0).all()


def test_laguerre_matches_exact_fractions_through_a_long_flat_stretch():
    """Where differences of its stages would be rounding errors: after 300 equal bars they are 1e-25 of the price."""
    close = np.concatenate([np.round(walk(40, 2), 2), np.full(300, 101.25), [101.5, 101.0]])
    found = computed("Laguerre RSI", plain(close))
    g, stages = Fraction(4, 5), [Fraction(0)] * 4
    for t, price in enumerate(map(Fraction, close.tolist())):
        new = [(1 - g) * price + g * stages[0]]
        for i in (1, 2, 3):
            new.append(-g * new[i - 1] + stages[i - 1] + g * stages[i])
        stages = new
        steps = [stages[i] - stages[i + 1] for i in range(3)]
        exact = 100 * sum(max(s, Fraction(0)) for s in steps) / sum(map(abs, steps))
        assert abs(found[t] - float(exact)) <= 1e-9, t


def test_monotone_prices_are_at_the_end_of_every_scale():
    rising = np.arange(1.0, 60.0)
    for name, top in (("Relative Strength Index", 100.0), ("RSI (SMA)", 100.0), ("RSI (EMA)", 100.0), ("ADX", 100.0),
                      ("Stochastic %K", 100.0), ("Williams %R", 0.0), ("Aroon Up", 100.0), ("Aroon Down", 0.0),
                      ("Money Flow Index", 100.0), ("Trend Clarity", 100.0), ("Max Drawdown", 0.0)):  # fmt: skip
        found = computed(name, plain(rising), 7)
        assert np.allclose(found[~np.isnan(found)], top, rtol=1e-13, atol=0.0), name
        assert np.signbit(found[~np.isnan(found)]).sum() == 0


# ---------------------------------------------------------------- ties and gaps


def test_aroon_counts_the_latest_of_equal_highs_and_lows():
    high = np.array([5.0, 9.0, 9.0, 7.0, 6.0, 6.0, 6.0])
    bars = Bars(high, -high, high, high)
    assert computed("Aroon Up", bars, 4)[4:].tolist() == [50.0, 25.0, 0.0]
    assert computed("Aroon Down", bars, 4)[4:].tolist() == [50.0, 25.0, 0.0]


def test_adx_needs_the_true_range_that_cancels_in_it():
    """A close without which one true range is unknown silences it until ranges, and then DX, are averaged again."""
    bars = around(walk(120, 1))
    bars.close[60] = np.nan
    for window in (2, 5, 14):
        silent = np.flatnonzero(np.isnan(computed("ADX", bars, window)))
        assert silent[silent > 2 * window].tolist() == list(range(61, 60 + 2 * window))


def test_balance_passes_over_bars_without_close_or_volume():
    close = np.array([10.0, 11.0, np.nan, 12.0, 13.0, 12.0])
    volume = np.array([5.0, 7.0, 3.0, 2.0, np.nan, 4.0])
    found = computed("OBV Rate of Change", Bars(close, close, close, volume), 2)
    assert np.isnan(found[[0, 1, 2, 4]]).all()
    assert found[3] == pytest.approx(100.0 * (9.0 - 7.0) / 7.0)
    assert found[5] == pytest.approx(100.0 * (9.0 - 9.0) / 9.0)


def test_balance_keeps_what_a_large_volume_would_swallow():
    """7 units beside 1e17, in and out again: the plain sum would lose them."""
    close = np.array([1.0, 2.0, 3.0, 2.0, 3.0, 4.0])
    volume = np.array([0.0, 7.0, 1e17, 1e17, 1.0, 1.0])
    found = computed("OBV Rate of Change", Bars(close, close, close, volume), 3)
    assert found[4:].tolist() == pytest.approx([100.0 / 7.0, -100.0])


def test_money_flow_without_volume_is_50_and_vwap_has_no_value():
    bars = around(walk(60, 3))
    bars.volume[20:40] = 0.0
    assert (computed("Money Flow Index", bars, 5)[24:40] == 50.0).all()
    found = computed("VWAP Ratio", bars, 5)
    assert np.isnan(found[24:40]).all() and not np.isnan(found[40:]).any()


def test_ulcer_index_sees_a_peak_only_while_it_is_in_the_window():
    close = np.array([100.0, 50.0, 50.0, 50.0, 40.0, 40.0])
    found = computed("Ulcer Index", plain(close), 3)
    assert found[2:] == pytest.approx([100.0 * np.sqrt(0.5 / 3), 0.0, 20.0 / np.sqrt(3), 20.0 * np.sqrt(2 / 3)])


# ---------------------------------------------------------------- digits


def test_a_line_through_two_prices_is_clear_however_close_they_are():
    close = 1e8 + np.cumsum(np.random.default_rng(4).integers(1, 4, 300)) * 2.0**-26
    assert (computed("Trend Clarity", plain(close), 2)[1:] == 100.0).all()


@pytest.mark.parametrize("name", ["Exponential Moving Average", "Wilder Moving Average", "DEMA", "TEMA", "ATR"])
def test_an_average_over_one_bar_is_that_bar_even_after_a_spike(name: str):
    close = walk(60, 8)
    close[30] = 1e12
    found = computed(name, plain(close), 1)
    expected = np.concatenate([[np.nan], np.abs(np.diff(close))]) if name == "ATR" else close
    assert np.array_equal(found, expected, equal_nan=True)


def test_equal_prices_tie_with_their_averages_as_soon_as_the_window_is_flat():
    close = walk(300, 7)
    close[150:] = 0.1
    for name in ("Simple Moving Average", "Weighted Moving Average", "Bollinger Upper", "Linear Reg Value"):
        for window in (2, 3, 7, 14, 60):
            assert (computed(name, plain(close), window)[149 + window :] == 0.1).all(), (name, window)
