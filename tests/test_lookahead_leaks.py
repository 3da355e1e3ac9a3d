"""The audit finds the twelve leaks that backtests are known for, and none where there is none.

Each is planted where the engine would have it: into a kernel, into how series get their dates, into the reading of
adjusted prices, into choices. The engine has no resampling, no as-of join of its own, no fitting and no early stop, so
these four stand at the nearest seam: the bars that an indicator reads, the bars that a date shows, the window of a
series, the metrics of a row. What decisions read is found by the audit of decisions; what only a row tells, by the one
of in-sample numbers below.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest

from forge_ray.catalog import SEGMENTS
from forge_ray.data import Bars, History, OwnBars, Panel, build, histories
from forge_ray.engine import Cache, Evaluator, allocations, evaluate, values
from forge_ray.engine.allocations import Allocation
from forge_ray.kernels import finalize
from forge_ray.run import LookAhead
from harness import Prices, bound_of
from look_ahead import Planted, backfilled, leaks, look_ahead_of, shifted, truncation_leaks
from whole_trees import random_market

TICKERS = ("AAA", "BBB", "CCC")
N_BARS = 70
WINDOW = 5
IS, OOS = SEGMENTS.index("is"), SEGMENTS.index("oos")
Patch = pytest.MonkeyPatch


@cache
def market() -> Prices:
    return random_market(random.Random(3), TICKERS, N_BARS, ragged=False)


def gate(metric: str, **more: object) -> dict:
    line = {"id": "c", "metric": metric, "ticker": "AAA", "comparator": "gt", **more}
    line |= {} if metric == "Current Price" else {"window": WINDOW}
    sides = {
        "then": [{"id": "then", "kind": "position", "positions": ["AAA"]}],
        "else": [{"id": "else", "kind": "position", "positions": ["BBB"]}],
    }
    against_ccc = {} if "threshold" in line else {"expanded": True, "rightTicker": "CCC"}
    return {"id": "gate", "kind": "indicator", "conditions": [line | against_ccc], "children": sides}


def ranking(metric: str) -> dict:
    parts = [{"id": ticker, "kind": "position", "positions": [ticker]} for ticker in TICKERS]
    rank = {"metric": metric, "window": WINDOW, "rank": "top", "n": 1}
    return {"id": "rank", "kind": "function", **rank, "children": {"next": parts}}


# ---------------------------------------------------------------- what is audited


def averages() -> LookAhead:
    return look_ahead_of([gate("Simple Moving Average"), ranking("Rate of Change")], market())


def averages_of_the_open() -> LookAhead:
    return look_ahead_of([gate("Simple Moving Average"), ranking("Rate of Change")], market(), mode="OO")


def adjusted() -> LookAhead:
    """Prices with a split in the middle of them, compared with a level."""
    middle = float(np.median([bar[4] for bar in market()["AAA"]]))
    audited = look_ahead_of([gate("Current Price", threshold=middle)], market())
    raw = audited.market

    def split(bars: Bars) -> Bars:
        unadjusted = np.where(np.arange(N_BARS) < N_BARS // 2, 2 * bars.close, bars.close)
        return replace(bars, close=unadjusted, adjusted=bars.close)

    return LookAhead(audited.plan, replace(raw, bars={ticker: split(bars) for ticker, bars in raw.bars.items()}))


def with_gaps() -> LookAhead:
    """On a union calendar CCC has no bar on every fifth date."""
    prices = {**market(), "CCC": [bar for k, bar in enumerate(market()["CCC"]) if k % 5 != 3]}
    return look_ahead_of([gate("Current Price")], prices, calendar="union")


def with_a_delisting() -> LookAhead:
    return look_ahead_of([gate("Current Price")], {**market(), "BBB": market()["BBB"][: N_BARS - 20]})


# ---------------------------------------------------------------- leaks


def same_close(patch: Patch) -> None:
    """A fill at the open is decided with the close of that day."""
    patch.setattr(Evaluator, "_delayed", lambda self, array: array)
    patch.setattr(Evaluator, "condition", Evaluator._compared)


def of_the_average(change: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[Patch], None]:
    """A leak in the kernel of the moving average."""
    name = "Simple Moving Average"
    return lambda patch: patch.setitem(values.INDICATOR_KERNELS, name, Planted(values.INDICATOR_KERNELS[name], change))


def centred(right: np.ndarray, close: np.ndarray) -> np.ndarray:
    half = WINDOW // 2
    return np.concatenate([right[half:], np.full(half, np.nan)])


def z_score(right: np.ndarray, close: np.ndarray) -> np.ndarray:
    return (right - close.mean()) / close.std()


def percentile(right: np.ndarray, close: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(right), np.nan, np.searchsorted(np.sort(close), right) / len(close))


def adjusted_to_the_last_bar(patch: Patch) -> None:
    def chain(bars: Bars, adjusted: np.ndarray) -> np.ndarray:
        return bars.close[-1] * (adjusted / adjusted[-1])

    patch.setattr(histories, "_chain", chain)


def labelled_by_the_week(patch: Patch) -> None:
    """Weekly bars: from Monday on, a week shows its last close."""
    right = OwnBars.field

    def weekly(self: OwnBars, name: str) -> np.ndarray:
        weeks = (self.dates + 3) // 7
        return right(self, name)[np.searchsorted(weeks, weeks, side="right") - 1]

    patch.setattr(OwnBars, "field", weekly)


def joined_forward(patch: Patch) -> None:
    """A date without a bar shows the next one."""
    right = build._own_bars

    def forward(history: History, calendar: np.ndarray, **options: Any) -> OwnBars:
        own = right(history, calendar, **options)
        following = np.searchsorted(history.dates, calendar, side="left")
        return replace(own, shown=build.frozen(np.where(own.shown >= 0, following, -1)))

    patch.setattr(build, "_own_bars", forward)


def members_of_the_last_day(patch: Patch) -> None:
    """Only what is still listed on the last day is ever held."""
    right = allocations.held_row

    def survivors(tickers: Sequence[str], panel: Panel) -> Allocation:
        gone = np.isnan(panel.close[:, -1:])
        return right(tickers, replace(panel, fields={**panel.fields, "close": np.where(gone, np.nan, panel.close)}))

    patch.setattr(allocations, "held_row", survivors)


def fitted_to_all_data(patch: Patch) -> None:
    """The window is the one that would have earned most over the whole history."""
    right = Evaluator._of_tickers

    def fitted(self: Evaluator, metric: str, window: int, *tickers: str) -> np.ndarray:
        def earned(window: int) -> float:
            signal = right(self, metric, window, *tickers)
            close = self.panel.close[self.panel.row(tickers[0])]
            return float(np.nansum(np.where(signal[:-1] > 0, np.diff(np.log(close)), 0.0)))

        return right(self, metric, max((2, 5, 9), key=earned), *tickers)

    patch.setattr(Evaluator, "_of_tickers", fitted)


def stopped_early(patch: Patch) -> None:
    """A branch whose drawdown is deeper out of sample than in sample is stopped and has no in-sample metrics."""
    right = finalize.finalize

    def stopped(sums: np.ndarray, drawdowns: np.ndarray, *arguments: Any) -> None:
        right(sums, drawdowns, *arguments)
        arguments[-1][IS][:, drawdowns[:, OOS] > drawdowns[:, IS]] = np.nan

    patch.setattr(finalize, "finalize", stopped)


# ---------------------------------------------------------------- the audit of in-sample numbers


def in_sample_leaks(lag: int = 0) -> list[int]:
    """Bars t at which the in-sample numbers of a split by date there change with the prices from t on.

    Scrambles are mild here, as the grids of the exact sums may follow a bound on all returns of the panel.
    """
    prices, found, reacts = market(), [], 0
    tree = gate("Relative Strength Index")
    for t in range(WINDOW + lag + 4, N_BARS):
        day, rng = prices["AAA"][t][0], random.Random(t)
        split = {"split": {"chronological": day.isoformat()}, "benchmark": "CCC", "lag": lag}
        before, after = (row_of(tree, chosen, **split) for chosen in (prices, mildly_changed(prices, day, rng)))
        found += [t] if in_sample(before) != in_sample(after) else []
        reacts += before["full_total_return"] != after["full_total_return"]
    assert reacts > N_BARS // 2
    return found


def mildly_changed(prices: Prices, since: date, rng: random.Random) -> Prices:
    def changed(bar: tuple, last: float) -> tuple:
        return bar if bar[0] < since else (bar[0], *(last * rng.uniform(0.8, 1.25) for _ in bar[1:]))

    last = {ticker: next(bar[4] for bar in reversed(bars) if bar[0] < since) for ticker, bars in prices.items()}
    return {ticker: [changed(bar, last[ticker]) for bar in bars] for ticker, bars in prices.items()}


def row_of(tree: dict, prices: Prices, **settings: Any) -> dict[str, float | None]:
    return evaluate(bound_of([tree], prices, **settings), 0, 1, Cache(2**26)).to_pylist()[0]


def in_sample(row: dict[str, float | None]) -> dict[str, float | None]:
    return {name: value for name, value in row.items() if name.startswith("is_")}


@pytest.mark.parametrize("lag", [0, 2])
def test_results_before_a_bar_do_not_depend_on_prices_from_there(lag: int):
    """In-sample numbers of a split by date, at every date: bit-equal when everything from that date on changes."""
    assert in_sample_leaks(lag) == []


# ---------------------------------------------------------------- twelve of twelve


class Case(NamedTuple):
    plant: Callable[[Patch], None]
    find: Callable[[], list[int]]


def scrambled(audited: Callable[[], LookAhead]) -> Callable[[], list[int]]:
    return lambda: leaks(audited())


def truncated(audited: Callable[[], LookAhead]) -> Callable[[], list[int]]:
    return lambda: truncation_leaks(audited())


CASES = {
    "same close": Case(same_close, scrambled(averages_of_the_open)),
    "shift(-1)": Case(of_the_average(shifted), scrambled(averages)),
    "centred MA": Case(of_the_average(centred), scrambled(averages)),
    "full z-score": Case(of_the_average(z_score), scrambled(averages)),
    "bfill": Case(of_the_average(backfilled), scrambled(averages)),
    "full-sample rank": Case(of_the_average(percentile), scrambled(averages)),
    "future split adjust": Case(adjusted_to_the_last_bar, scrambled(adjusted)),
    "resample label": Case(labelled_by_the_week, scrambled(averages)),
    "merge_asof forward": Case(joined_forward, scrambled(with_gaps)),
    "universe by last-day membership": Case(members_of_the_last_day, truncated(with_a_delisting)),
    "parameter chosen on all data": Case(fitted_to_all_data, scrambled(averages)),
    "early stop reading OOS": Case(stopped_early, in_sample_leaks),
}


@pytest.mark.parametrize("name", CASES)
def test_each_of_the_twelve_planted_leaks_is_found(name: str, monkeypatch: Patch):
    plant, find = CASES[name]
    assert find() == []
    plant(monkeypatch)
    found = find()
    print(f"{name}: at {len(found)} cuts")
    assert found


def test_there_are_twelve():
    assert len(CASES) == 12


def test_what_is_still_listed_on_the_last_day_shows_by_truncation_only(monkeypatch: Patch):
    """A scramble keeps the dates, and with them who is listed when: that is why there are two audits."""
    members_of_the_last_day(monkeypatch)
    audited = with_a_delisting()
    assert leaks(audited) == []
    assert truncation_leaks(audited)
