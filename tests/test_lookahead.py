"""No condition sees the future: every indicator, comparator and form of a condition, audited at every bar.

For every bar t of a short history all prices from t on are replaced by random ones, within, below and above the history
so that a leaked value changes what is compared with it, and every allocation decided before t must be bit-equal. Unlike
comparing results of truncated data it finds leaks of a single bar, for which it takes all three futures at every cut.
The audit is that of `forge-ray audit`; it must find each of the bugs planted below.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product

import numpy as np
import pytest

from forge_ray.catalog import INDICATOR_BY_NAME, INDICATORS
from forge_ray.data import OwnBars
from forge_ray.engine import allocations, values
from forge_ray.engine.allocations import Allocation
from forge_ray.kernels import bits
from forge_ray.tree.nodes import Comparator
from harness import Prices
from look_ahead import (
    Planted,
    all_futures,
    backfilled,
    first_leak,
    in_turn,
    leaks,
    look_ahead_of,
    shifted,
    truncation_leaks,
)
from random_trees import random_prices

TICKERS = ("AAA", "BBB", "BIL", "CCC")
INDICATOR_NAMES = [indicator.name for indicator in INDICATORS]
COMPARATORS = [str(comparator) for comparator in Comparator]
FORMS = ("threshold", "other ticker", "other window")
WINDOW = 5
N_BARS = 48


@cache
def sample(seed: int, ragged: bool = False, n_bars: int = N_BARS) -> Prices:
    return random_prices(random.Random(seed), TICKERS, n_bars, ragged)


def history_for(metric: str, ragged: bool = False) -> tuple[Prices, int]:
    """A history that is longer by a long warm-up, and the bar to scramble from."""
    warm_up = INDICATOR_BY_NAME[metric].bars_before_first_value(WINDOW)
    return (sample(7, ragged, N_BARS + warm_up), warm_up - WINDOW) if warm_up > N_BARS // 3 else (sample(7, ragged), 1)


# ---------------------------------------------------------------- trees, one per condition form


def gate(*conditions: dict) -> dict:
    sides = {
        "then": [{"id": "then", "kind": "position", "positions": ["AAA"]}],
        "else": [{"id": "else", "kind": "position", "positions": ["BBB"]}],
    }
    return {"id": "gate", "kind": "indicator", "conditions": list(conditions), "children": sides}


def condition(name: str, metric: str, comparator: str, form: str, prices: Prices, **more: object) -> dict:
    """A condition that is sometimes true: thresholds are the median of their series."""
    written = {"id": name, "metric": metric, "ticker": "AAA", "comparator": comparator, **more}
    windowed = INDICATOR_BY_NAME[metric].windowed
    if windowed:
        written["window"] = WINDOW
    if form == "threshold":
        return written | {"threshold": float(np.nanmedian(series(metric, closes(prices, "AAA"))))}
    if form == "other ticker" or not windowed:
        return written | {"expanded": True, "rightTicker": "CCC"}
    return written | {"expanded": True, "rightWindow": 2 * WINDOW}


def closes(prices: Prices, ticker: str) -> np.ndarray:
    return np.array([close for _, close in prices[ticker]])


def series(metric: str, close: np.ndarray, window: int = WINDOW) -> np.ndarray:
    out = np.empty(len(close))
    values.INDICATOR_KERNELS[metric](*[close] * len(INDICATOR_BY_NAME[metric].fields), window, out)
    return out


def single_conditions(metric: str, prices: Prices) -> Iterator[dict]:
    """Every comparator in every form, alone and, where that is allowed, for several days."""
    for comparator, form in product(COMPARATORS, FORMS):
        yield condition("c", metric, comparator, form, prices)
        if not comparator.startswith("cross"):
            yield condition("c", metric, comparator, form, prices, forDays=3)


def condition_lists(prices: Prices) -> Iterator[list[dict]]:
    """Pairs and triples of different conditions joined by every sequence of joins."""
    parts = [
        condition("c0", "Relative Strength Index", "lt", "threshold", prices),
        condition("c1", "Exponential Moving Average", "crossAbove", "other window", prices),
        condition("c2", "Rate of Change", "gte", "other ticker", prices, forDays=2),
    ]
    for joins in [*product(("and", "or", "if"), repeat=1), *product(("and", "or", "if"), repeat=2)]:
        yield [part | {"type": join} for part, join in zip(parts, ("if", *joins), strict=False)]


# ---------------------------------------------------------------- nothing leaks


@pytest.mark.parametrize("metric", INDICATOR_NAMES)
@pytest.mark.parametrize("ragged", [False, True])
def test_no_condition_form_sees_the_future(metric: str, ragged: bool):
    prices, since = history_for(metric, ragged)
    audited = look_ahead_of([gate(c) for c in single_conditions(metric, prices)], prices)
    assert leaks(audited, since, all_futures if ragged else in_turn()) == []


@pytest.mark.parametrize("null", ["cash", "else"])
def test_no_condition_list_sees_the_future(null: str):
    prices = sample(11)
    audited = look_ahead_of([gate(*conditions) for conditions in condition_lists(prices)], prices, null=null)
    assert leaks(audited) == truncation_leaks(audited) == []


@pytest.mark.parametrize("metric", INDICATOR_NAMES)
def test_series_of_a_prefix_equal_the_prefix_of_the_series(metric: str):
    close = closes(sample(3), "AAA").copy()
    for gap in (None, 31):
        if gap:
            close[gap] = np.nan
        for window in (1, 2, 7, 10, 33):
            whole = series(metric, close, window)
            for t in range(1, len(close)):
                assert series(metric, close[:t].copy(), window).tobytes() == whole[:t].tobytes(), (gap, window, t)


# ---------------------------------------------------------------- the audit finds planted bugs


def centred(right: np.ndarray, close: np.ndarray) -> np.ndarray:
    """A mean around the bar instead of before it."""
    half = WINDOW // 2
    return np.concatenate([right[half:], np.full(half, np.nan)])


def normalised(right: np.ndarray, close: np.ndarray) -> np.ndarray:
    """Scaled by the largest close of the whole history."""
    return right * (100.0 / close.max())


def rarely_shifted(right: np.ndarray, close: np.ndarray) -> np.ndarray:
    """The next bar's value on one bar in 29."""
    return np.where(np.arange(len(right)) % 29 == 28, shifted(right, close), right)


CHANGES = (shifted, centred, backfilled, normalised, rarely_shifted)
HAVE_NO_WARM_UP = [(i.name, backfilled) for i in INDICATORS if i.bars_before_first_value(WINDOW) == 0]


@pytest.mark.parametrize(
    ("metric", "change"), [pair for pair in product(INDICATOR_NAMES, CHANGES) if pair not in HAVE_NO_WARM_UP]
)
def test_the_audit_finds_an_indicator_that_looks_ahead(metric: str, change: Callable, monkeypatch: pytest.MonkeyPatch):
    prices, since = history_for(metric)
    trees = [gate(c) for c in single_conditions(metric, prices)]
    monkeypatch.setitem(values.INDICATOR_KERNELS, metric, Planted(values.INDICATOR_KERNELS[metric], change))
    assert first_leak(look_ahead_of(trees, prices), since) is not None


def future_cross(right: Callable) -> Callable:
    def compare(left, other, comparator):
        true, false = right(left, other, comparator)
        return (np.roll(true, -1), np.roll(false, -1)) if comparator.startswith("cross") else (true, false)

    return compare


def future_days(right: Callable) -> Callable:
    def persist(true, false, days):
        return tuple(flags[::-1] for flags in right(true[::-1], false[::-1], days))

    return persist


@pytest.mark.parametrize(("function", "plant"), [("compare", future_cross), ("persist", future_days)])
def test_the_audit_finds_a_condition_that_looks_ahead(function: str, plant: Callable, monkeypatch: pytest.MonkeyPatch):
    prices = sample(7)
    trees = [gate(c) for c in single_conditions("Simple Moving Average", prices)]
    monkeypatch.setattr(bits, function, plant(getattr(bits, function)))
    assert leaks(look_ahead_of(trees, prices))


def test_the_audit_finds_prices_filled_in_before_a_listing(monkeypatch: pytest.MonkeyPatch):
    prices = dict(sample(7)) | {"CCC": sample(7)["CCC"][20:]}
    trees = [gate(condition("c", "Current Price", "lt", "other ticker", prices))]
    assert leaks(look_ahead_of(trees, prices)) == []
    on_calendar = OwnBars.on_calendar

    def filled(self: OwnBars, array: np.ndarray) -> np.ndarray:
        return backfilled(on_calendar(self, array), np.empty(0))

    monkeypatch.setattr(OwnBars, "on_calendar", filled)
    found = leaks(look_ahead_of(trees, prices))
    assert len(found) > 10
    assert max(found) == 20, "the first close of CCC is its bar 20; later ones are not filled in"


def test_the_audit_finds_decisions_that_are_taken_one_bar_late(monkeypatch: pytest.MonkeyPatch):
    """What trading on the close of the bar that is held would be: every bar shows it."""
    prices = sample(7)
    trees = [gate(condition("c", "Current Price", "lt", "other ticker", prices))]
    chosen = allocations.chosen

    def tomorrow(true: np.ndarray, false: np.ndarray, *sides: Allocation) -> Allocation:
        return chosen(np.roll(true, -1), np.roll(false, -1), *sides)

    monkeypatch.setattr(allocations, "chosen", tomorrow)
    assert len(leaks(look_ahead_of(trees, prices))) > N_BARS // 4


def test_the_audit_refuses_trees_that_do_not_depend_on_prices():
    with pytest.raises(AssertionError, match="no decision depends on prices"):
        leaks(look_ahead_of([gate()], sample(7)))
