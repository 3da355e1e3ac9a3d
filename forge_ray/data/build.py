"""Histories → `Panel`.

1. The calendar: the dates on which every ticker alive has a bar, or any has one.
2. Ticker by ticker: its own bars, their place on the calendar, its row of each field. One history at a time is in hand.
3. What is full becomes read-only; the fingerprint has seen all of it on the way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from forge_ray.data.panel import History, OwnBars, Panel, Stretches, frozen
from forge_ray.errors import DataError, Problem


@dataclass(frozen=True)
class Blanks:
    """Fields to fill. rows : by name, writable. filled : called when they are full; gives them read-only."""

    rows: Mapping[str, np.ndarray]
    filled: Callable[[], Mapping[str, np.ndarray]]


Blank = Callable[[Sequence[str], tuple[int, int]], Blanks]
"""Names and shape of fields → where to fill them."""


def in_memory(names: Sequence[str], shape: tuple[int, int]) -> Blanks:
    """Fields in the memory of this process."""
    rows = {name: np.empty(shape) for name in names}
    return Blanks(rows, lambda: {name: frozen(values) for name, values in rows.items()})


def build_panel(histories: Iterable[History], carried: Iterable[History] = (), calendar: str = "intersection") -> Panel:
    """Put histories on their calendar; a ticker is alive from its first to its last bar.

    calendar : ``"intersection"``, the dates on which every ticker alive has a bar, or ``"union"``, the dates on which
    any has one; there a ticker alive without a bar shows its last one. Tickers that are only carried never change it.
    Raises `DataError` without a ticker; with one the calendar has a date, since all that are alive on the very first
    date start there.
    """
    ordered = {history.ticker: history for history in histories}
    dates = calendar_of([history.dates for history in ordered.values()], calendar)
    return laid_out(dates, sorted(ordered), ordered.__getitem__, carried)


def calendar_of(dates: Sequence[np.ndarray], calendar: str) -> np.ndarray:
    """(n_bars,) the calendar of tickers by their dates; see `build_panel`. Raises `DataError` without a ticker."""
    if not dates:
        raise DataError([Problem("data", "no ticker to load; allowed: at least one besides CASH")])
    begin, end = min(own[0] for own in dates), max(own[-1] for own in dates)
    alive, present = np.zeros(end - begin + 2, np.int64), np.zeros(end - begin + 1, np.int64)
    for own in dates:
        present[own - begin] += 1
        alive[own[0] - begin] += 1
        alive[own[-1] - begin + 1] -= 1
    everybody = present == np.cumsum(alive[:-1])
    return np.flatnonzero((present > 0) & (everybody | (calendar == "union"))) + begin


def laid_out(
    dates: np.ndarray,
    tickers: Sequence[str],
    history_of: Callable[[str], History],
    carried: Iterable[History],
    blank: Blank = in_memory,
) -> Panel:
    """The panel of sorted tickers on the calendar `dates`. One history at a time is asked for and let go.

    blank : gives the empty fields, and what they are when they are full.
    """
    digest = hashlib.blake2b(digest_size=16)
    n, apart, cleaned = len(tickers), dict[int, OwnBars](), dict[str, Mapping[str, int]]()
    first, last, n_dropped, n_filled = (np.zeros(n, np.int64) for _ in range(4))
    blanks: Blanks | None = None
    for k, ticker in enumerate(tickers):
        history = history_of(ticker)
        own = _own_bars(history, dates)
        if blanks is None:
            blanks = blank(("close", *own.others), (n, len(dates)))
        for name, values in blanks.rows.items():
            values[k] = own.prices(name)
        n_dropped[k], n_filled[k] = own.n_dropped, own.carried.sum()
        first[k] = np.searchsorted(dates, own.dates[0])
        last[k] = first[k] + len(own.dates)
        if not np.array_equal(dates[first[k] : last[k]], own.dates):
            apart[k] = own
        if history.cleaned:
            cleaned[ticker] = dict(history.cleaned)
        _digest_bars(digest, own)
    assert blanks is not None
    calendar, fields, names = frozen(dates), blanks.filled(), tuple(tickers)
    beside = {history.ticker: _carried(history, dates) for history in carried}
    return Panel(
        tickers=names,
        dates=calendar,
        bars=Stretches(names, calendar, fields, first, last, apart),
        fields=fields,
        carried=beside,
        dropped=dict(zip(names, n_dropped.tolist(), strict=True)),
        filled=dict(zip(names, n_filled.tolist(), strict=True)),
        cleaned=cleaned,
        fingerprint=_fingerprint(digest, dates, beside),
    )


def _own_bars(history: History, calendar: np.ndarray, *, ends: bool = True) -> OwnBars:
    """ends : whether the ticker is gone after its last bar."""
    last = np.searchsorted(history.dates, calendar, side="right") - 1
    shown = np.where(calendar <= history.dates[-1], last, -1) if ends else last
    carried = (shown >= 0) & (history.dates[shown] != calendar)
    others = {name: frozen(values) for name, values in history.others.items()}
    return OwnBars(history.ticker, frozen(history.dates), frozen(history.close), frozen(shown), frozen(carried), others)


def _carried(history: History, calendar: np.ndarray) -> dict[str, np.ndarray]:
    """Fields on the calendar, to its end; on a date without a bar every price is the last close."""
    own = _own_bars(history, calendar, ends=False)
    return {name: frozen(own.prices(name)) for name in ("close", *own.others)}


def _digest_bars(digest: hashlib.blake2b, own: OwnBars) -> None:
    digest.update(f"{own.ticker} {len(own.dates)} {','.join(own.others)};".encode())
    digest.update(own.dates.astype("<i8").tobytes() + own.close.astype("<f8").tobytes())
    digest.update(b"".join(values.astype("<f8").tobytes() for values in own.others.values()))


def _fingerprint(digest: hashlib.blake2b, calendar: np.ndarray, carried: Mapping[str, Mapping[str, np.ndarray]]) -> str:
    """Of a digest that has seen the own bars of every ticker, in order."""
    digest.update(calendar.astype("<i8").tobytes())
    for ticker, fields in sorted(carried.items()):
        digest.update(f"{ticker} {','.join(fields)};".encode())
        digest.update(b"".join(values.astype("<f8").tobytes() for values in fields.values()))
    return digest.hexdigest()
