"""What stands in the fields of a tree besides numbers and names: axes, ratios, lists of tickers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from forge_ray.errors import InputError, Problem, shown
from forge_ray.tree.reader import read_lists

THEN_EQUITY = "branch:then"
"""In place of a ticker: the simulated equity of the first side (then) of the node that the condition belongs to."""
ELSE_EQUITY = "branch:else"
"""In place of a ticker: the simulated equity of the second side (else) of the node that the condition belongs to."""


@dataclass(frozen=True)
class Swept:
    """A value that an axis sweeps. The same one may stand in several places; they then move together."""

    name: str
    values: str | tuple[Any, ...] | TickerList
    around: int | float | None = None


@dataclass(frozen=True)
class TickerList:
    """Tickers under a name."""

    name: str
    tickers: tuple[str, ...]


@dataclass(frozen=True)
class Ratio:
    """The close of one ticker over that of another."""

    numerator: str | Swept
    denominator: str | Swept


@dataclass(frozen=True)
class Several:
    """Tickers for any, or for all, of which a comparison has to hold."""

    quantifier: str
    tickers: tuple[str | Swept | TickerList, ...]


Whole: TypeAlias = int | Swept
Number: TypeAlias = int | float | Swept
Name: TypeAlias = str | Swept
Subject: TypeAlias = Name | Ratio | Several
Position: TypeAlias = Name | TickerList


def axis(name: str, values: str | Iterable[Any] | TickerList, around: int | float | None = None) -> Swept:
    """An axis: a list of values, ``"5..14"``, ``"20..40 by 5"``, or ``"±3"`` and ``"±20% by 5%"`` around a number; of
    thresholds ``"exact"`` or ``"20..40 exact"``."""
    if isinstance(values, str) and values.lstrip().startswith("±") and around is None:
        raise InputError([Problem(f"axes.{name}", f"{values!r} is around a number; add it, as in around=14")])
    return Swept(name, values if isinstance(values, str | TickerList) else tuple(values), around)


def ticker_list(name: str, *tickers: str) -> TickerList:
    """Tickers under a name, for `hold`, `any_ticker`, `all_tickers` and as the values of an axis."""
    _, problems = read_lists({name: list(tickers)}, "lists")
    if problems:
        raise InputError(problems)
    return TickerList(name, tickers)


def ratio(numerator: Name, denominator: Name) -> Ratio:
    """In place of a ticker: the close of one over that of another, on the dates on which both have a bar."""
    return Ratio(numerator, denominator)


def any_ticker(*tickers: Position) -> Several:
    """In place of the ticker on the left of a comparison: true if it is for any of them."""
    return Several("any", _some("any_ticker", tickers))


def all_tickers(*tickers: Position) -> Several:
    """In place of the ticker on the left of a comparison: true if it is for all of them."""
    return Several("all", _some("all_tickers", tickers))


def _some(place: str, tickers: tuple[Position, ...]) -> tuple[Position, ...]:
    wrong = [item for item in tickers if not isinstance(item, str | Swept | TickerList)]
    if wrong or not tickers:
        got = shown(wrong[0]) if wrong else "none"
        raise InputError([Problem(place, f"expected tickers such as 'SPY', 'QQQ', got {got}")])
    return tickers
