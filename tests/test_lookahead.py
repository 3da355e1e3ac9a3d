"""No decision sees the future: scramble it, and nothing decided before may change by a bit.

The position scramble: for every bar t of a short history, all closes from t on are replaced by random ones (dates are
kept, they are not information about prices) and every allocation decided before t must be bit-equal. Unlike comparing
results of truncated data it finds leaks of a single bar. Closes are drawn anywhere, far below and far above the
history, so that a leaked value changes what is compared with it. The audit must find each of the bugs planted below.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
from harness import Prices, bound_of, grid_of, panel_of
from random_trees import random_bars, random_prices, random_tree

from forge_ray.catalog import INDICATOR_BY_NAME, INDICATORS, SEGMENTS
from forge_ray.data import OwnBars, Panel
from forge_ray.engine import Cache, Evaluator, allocations, evaluate, values
from forge_ray.engine.allocations import Allocation
from forge_ray.kernels import bits
from forge_ray.plan import Execution, Plan, compile_plan
from forge_ray.tree import parse_tree
from forge_ray.tree.nodes import Comparator

TICKERS = ("AAA", "BBB", "BIL", "CCC")
INDICATOR_NAMES = [indicator.name for indicator in INDICATORS]
COMPARATORS = [str(comparator) for comparator in Comparator]
FORMS = ("threshold", "other ticker", "other window")
WINDOW = 5
N_BARS = 70
RANGES = ((1.0, 400.0), (0.5, 2.0), (500.0, 5000.0))


# ---------------------------------------------------------------- the audit


def leaks(trees: Sequence[dict], prices: Prices, **settings: Any) -> list[int]:
    """All bars that leak; see `leaking` for its settings."""
    return list(leaking(trees, prices, **settings))


def leaking(
    trees: Sequence[dict], prices: Prices, null: str = "cash", mode: str = "CC", since: int = 1
) -> Iterator[int]:
    """Bars t, from `since` on, for which scrambling all prices from t on changed an allocation that was decided without
    them: before t, or at the open of t in the modes that decide there.

    Raises AssertionError if no scramble changes any later allocation: such trees could not show a leak.
    """
    parsed = tuple(parse_tree(tree) for tree in trees)
    plan = compile_plan(parsed, grid_of(parsed), Execution(null=null, mode=mode))
    panel = panel_of(prices, plan.tickers)
    decided, delay = decisions(plan, panel), plan.execution.fills.delay
    reacts = False
    for t in range(since, len(panel.dates)):
        pairs = [
            (a, b)
            for between in RANGES
            for a, b in zip(decided, decisions(plan, scrambled_panel(prices, panel, t, between)), strict=True)
        ]
        known = t + delay
        if any(a[:known].tobytes() != b[:known].tobytes() for a, b in pairs):
            yield t
        reacts |= any(a[known:].tobytes() != b[known:].tobytes() for a, b in pairs)
    assert reacts, "no decision depends on prices"


def decisions(plan: Plan, panel: Panel) -> list[np.ndarray]:
    """Target weights (n_bars, n_tickers) of every tree on every calendar bar."""
    evaluator = Evaluator(plan, panel, Cache(2**26))
    allocations = [evaluator.allocation(root, {}) for root in plan.roots]
    return [allocation.weights[allocation.row_of] for allocation in allocations]


def scrambled_panel(prices: Prices, panel: Panel, t: int, between: tuple[float, float]) -> Panel:
    return panel_of(scramble(prices, panel.date(t), *between), panel.tickers)


def scramble(prices: Prices, since: date, low: float, high: float) -> Prices:
    rng = random.Random(since.toordinal())
    return {
        ticker: [bar if bar[0] < since else (bar[0], *(rng.uniform(low, high) for _ in bar[1:])) for bar in bars]
        for ticker, bars in prices.items()
    }


@cache
def sample(seed: int, ragged: bool = False, n_bars: int = N_BARS) -> Prices:
    return random_prices(random.Random(seed), TICKERS, n_bars, ragged)


def audited(metric: str, ragged: bool = False) -> tuple[Prices, int]:
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
    prices, since = audited(metric, ragged)
    assert leaks([gate(c) for c in single_conditions(metric, prices)], prices, since=since) == []


@pytest.mark.parametrize("null", ["cash", "else"])
def test_no_condition_list_sees_the_future(null: str):
    prices = sample(11)
    assert leaks([gate(*conditions) for conditions in condition_lists(prices)], prices, null=null) == []


def test_no_random_tree_sees_the_future():
    """The trees of one history are audited together; each history is ragged in its own way."""
    for seed in range(4):
        rng = random.Random(seed)
        trees = [random_tree(rng, TICKERS, depth=4) for _ in range(6)]
        assert leaks(trees, sample(seed, ragged=True)) == [], seed


@pytest.mark.parametrize("mode", ["CC", "CO", "OO", "OC"])
def test_random_trees_on_full_bars_do_not_see_the_future_in_any_mode(mode: str):
    for seed in range(2):
        rng = random.Random(seed)
        trees = [random_tree(rng, TICKERS, depth=3, more_indicators=True) for _ in range(6)]
        assert leaks(trees, random_bars(rng, TICKERS, N_BARS, ragged=True), mode=mode) == [], seed


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


@pytest.mark.parametrize("lag", [0, 2])
def test_results_before_a_bar_do_not_depend_on_prices_from_there(lag: int):
    """In-sample numbers of a split by date, at every date: bit-equal when everything from that date on changes.

    Scrambles are mild here, as the grids of the exact sums may follow a bound on all returns of the panel.
    """
    prices = sample(5)
    tree = gate(condition("c", "Relative Strength Index", "lt", "threshold", prices))
    days = [day for day, _ in prices["AAA"]]
    compared = 0
    for t in range(WINDOW + lag + 4, N_BARS):
        settings = {"split": {"chronological": days[t].isoformat()}, "benchmark": "CCC", "lag": lag}
        calm = {ticker: (bars[t - 1][1] * 0.8, bars[t - 1][1] * 1.25) for ticker, bars in prices.items()}
        changed = {ticker: scramble({ticker: prices[ticker]}, days[t], *calm[ticker])[ticker] for ticker in prices}
        before, after = (row_of([tree], chosen, **settings) for chosen in (prices, changed))
        assert {k: v for k, v in before.items() if k.startswith("is_")} == {
            k: v for k, v in after.items() if k.startswith("is_")
        }, t
        compared += before["full_total_return"] != after["full_total_return"]
    assert compared > N_BARS // 2


def row_of(trees: Sequence[dict], prices: Prices, **settings: object) -> dict:
    row = evaluate(bound_of(trees, prices, **settings), 0, 1, Cache(2**26)).to_pylist()[0]  # type: ignore[arg-type]
    return {column: value for column, value in row.items() if column.split("_")[0] in SEGMENTS}


# ---------------------------------------------------------------- the audit finds planted bugs


class Planted:
    """Stands in for a kernel: `change` gets the right series and the closes and returns a wrong one."""

    def __init__(self, right: Callable, change: Callable[[np.ndarray, np.ndarray], np.ndarray]):
        self.right, self.change = right, change

    def __call__(self, *arguments: Any) -> None:
        self.right(*arguments)
        *_, close, _, out = arguments
        out[:] = self.change(out.copy(), close)


def shifted(right: np.ndarray, close: np.ndarray) -> np.ndarray:
    """The value of the next bar."""
    return np.append(right[1:], np.nan)


def centred(right: np.ndarray, close: np.ndarray) -> np.ndarray:
    """A mean around the bar instead of before it."""
    half = WINDOW // 2
    return np.concatenate([right[half:], np.full(half, np.nan)])


def backfilled(right: np.ndarray, close: np.ndarray) -> np.ndarray:
    """The warm-up filled with the first value."""
    known = np.flatnonzero(~np.isnan(right))
    return np.where(np.arange(len(right)) < known[0], right[known[0]], right)


def normalised(right: np.ndarray, close: np.ndarray) -> np.ndarray:
    """Scaled by the largest close of the whole history."""
    return right * (100.0 / close.max())


def rarely_shifted(right: np.ndarray, close: np.ndarray) -> np.ndarray:
    """The next bar's value on one bar in 37."""
    return np.where(np.arange(len(right)) % 37 == 36, shifted(right, close), right)


CHANGES = (shifted, centred, backfilled, normalised, rarely_shifted)
HAVE_NO_WARM_UP = [(i.name, backfilled) for i in INDICATORS if i.bars_before_first_value(WINDOW) == 0]


@pytest.mark.parametrize(
    ("metric", "change"), [pair for pair in product(INDICATOR_NAMES, CHANGES) if pair not in HAVE_NO_WARM_UP]
)
def test_the_audit_finds_an_indicator_that_looks_ahead(metric: str, change: Callable, monkeypatch: pytest.MonkeyPatch):
    prices, since = audited(metric)
    trees = [gate(c) for c in single_conditions(metric, prices)]
    monkeypatch.setitem(values.INDICATOR_KERNELS, metric, Planted(values.INDICATOR_KERNELS[metric], change))
    assert next(leaking(trees, prices, since=since), None) is not None


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
    assert leaks(trees, prices)


def test_the_audit_finds_prices_filled_in_before_a_listing(monkeypatch: pytest.MonkeyPatch):
    prices = dict(sample(7)) | {"CCC": sample(7)["CCC"][20:]}
    trees = [gate(condition("c", "Current Price", "lt", "other ticker", prices))]
    assert leaks(trees, prices) == []
    on_calendar = OwnBars.on_calendar

    def filled(self: OwnBars, array: np.ndarray) -> np.ndarray:
        return backfilled(on_calendar(self, array), np.empty(0))

    monkeypatch.setattr(OwnBars, "on_calendar", filled)
    found = leaks(trees, prices)
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
    assert len(leaks(trees, prices)) > N_BARS // 4


def test_the_audit_refuses_trees_that_do_not_depend_on_prices():
    with pytest.raises(AssertionError, match="no decision depends on prices"):
        leaks([gate()], sample(7))
