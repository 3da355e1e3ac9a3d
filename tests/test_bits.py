"""Packed conditions: all thresholds at once equal one comparison after the other; bits of bars equal their flags."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest

from forge_ray.kernels import bits

COMPARATORS = {"lt": (True, False), "lte": (True, True), "gt": (False, False), "gte": (False, True)}
"""Whether true is below, whether equal counts."""
FILL = np.uint64(0x5555555555555555)
"""What out arrays hold before a kernel writes them in full."""


# ---------------------------------------------------------------- thresholds


def one_by_one(series: np.ndarray, thresholds: Sequence[float], comparator: str) -> np.ndarray:
    return np.stack([bits.pack(*bits.compare(series, threshold, comparator)) for threshold in thresholds])


def assert_equal_tables(series: np.ndarray, thresholds: np.ndarray, where: object = None) -> None:
    for comparator, meaning in COMPARATORS.items():
        table = np.full((len(thresholds), 2, bits.n_words(len(series))), FILL)
        bits.threshold_table(series, thresholds, *meaning, table)
        assert np.array_equal(table, one_by_one(series, thresholds.tolist(), comparator)), (comparator, where)


def random_thresholds(rng: random.Random) -> np.ndarray:
    """Ascending, no two equal: even steps, whole numbers, one, random ones, some far from the others."""
    match rng.randrange(6):
        case 0:
            found = [rng.uniform(-5, 5)]
        case 1:
            found = [30 + k * rng.choice((0.1, 0.5, 1 / 3)) for k in range(rng.randint(2, 400))]
        case 2:
            found = [float(k) for k in rng.sample(range(-50, 50), rng.randint(2, 60))]
        case 3:
            found = [rng.gauss(0, 1) * 10.0 ** rng.randint(-9, 9) for _ in range(rng.randint(2, 80))]
        case 4:
            found = [1.0, np.nextafter(1.0, 2.0), np.nextafter(1.0, 0.0), 1e15, -1e15, 5e-324, -5e-324, 0.0]
        case _:
            found = [rng.gauss(0, 1e-7) for _ in range(30)] + [1e6]
    return np.unique(np.array(found, np.float64))


def random_series(rng: random.Random, thresholds: np.ndarray, n: int) -> np.ndarray:
    """Around the thresholds, often equal to one or next to one; missing and infinite values."""

    def value() -> float:
        threshold, draw = rng.choice(thresholds.tolist()), rng.random()
        if draw < 0.3:
            return threshold
        if draw < 0.5:
            return float(np.nextafter(threshold, rng.choice((-np.inf, np.inf))))
        if draw < 0.6:
            return rng.choice((np.nan, np.inf, -np.inf, -0.0, 1e300, -1e300))
        return threshold * rng.uniform(0.5, 1.5) + rng.gauss(0, 1)

    return np.array([value() for _ in range(n)])


def test_all_thresholds_at_once_equal_one_after_the_other():
    for seed in range(200):
        rng = random.Random(seed)
        thresholds = random_thresholds(rng)
        series = random_series(rng, thresholds, rng.choice((1, 63, 64, 65, 300)))
        assert_equal_tables(series, thresholds, seed)


@pytest.mark.parametrize("value", [np.nan, 1.0, 2.0, 3.0, -np.inf])
def test_thresholds_of_a_series_that_stands_still(value: float):
    assert_equal_tables(np.full(130, value), np.array([1.0, 2.0, 3.0]))


def test_thresholds_further_apart_than_a_number_can_say():
    thresholds = np.array([-1.7e308, -1.0, 0.0, 1.0, 1.7e308])
    assert_equal_tables(random_series(random.Random(1), thresholds, 500), thresholds)


# ---------------------------------------------------------------- bits of bars


def flags_at(words: np.ndarray, bars: np.ndarray, n_bars: int) -> np.ndarray:
    flags = np.stack([bits.unpack(row, n_bars)[bars] for row in words])
    return np.stack([bits.pack(row, row)[0] for row in flags])


def assert_equal_bits(rng: random.Random, bars: np.ndarray, n_bars: int) -> None:
    words = np.array([[rng.getrandbits(64) for _ in range(bits.n_words(n_bars))] for _ in range(3)], np.uint64)
    out = np.full((3, bits.n_words(len(bars))), FILL)
    bits.at_decisions(words, bars, out)
    assert np.array_equal(out, flags_at(words, bars, n_bars)), (bars[0], len(bars), n_bars)


def test_bits_of_bars_one_after_the_other_begin_and_end_anywhere():
    rng = random.Random(0)
    for first in (*range(66), 127, 128, 129):
        for n in (1, 2, 62, 63, 64, 65, 127, 128, 129, 200):
            assert_equal_bits(rng, np.arange(first, first + n), first + n + rng.choice((0, 1, 5, 70)))


def test_bits_of_bars_with_gaps_and_repetitions():
    """Between two rebalancing decisions the bar of the first one stands for all."""
    for seed in range(200):
        rng = random.Random(seed)
        n_bars = rng.randint(1, 300)
        bars = np.sort(np.array(rng.choices(range(n_bars), k=rng.randint(1, 300)), np.int64))
        assert_equal_bits(rng, bars, n_bars)
