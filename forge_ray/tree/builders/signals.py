"""Signals in Python: an indicator of a ticker, which comparisons turn into conditions."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

from forge_ray.catalog import INDICATOR_BY_NAME
from forge_ray.errors import InputError, Problem
from forge_ray.tree.builders.conditions import Comparison, Conditions
from forge_ray.tree.builders.values import Metric, Name, Number, Subject, Whole
from forge_ray.tree.nodes import Comparator


def indicator(metric: Metric, ticker: Subject, window: Whole | None = None) -> Signal:
    """An indicator of a ticker by name or alias. Compared with a number or another one, it becomes a condition.

    ticker : or what stands in its place: `ratio`, `any_ticker`, `all_tickers`, ``THEN_EQUITY``, ``ELSE_EQUITY``.
    """
    return Signal(metric, ticker, window)


@dataclass(frozen=True, eq=False)
class Signal:
    """An indicator of a ticker; ``< <= > >=`` and the crosses make conditions of it."""

    metric: Metric
    ticker: Subject
    window: Whole | None = None

    def __lt__(self, other: Side) -> Conditions:
        return self.compare(Comparator.LT.value, other)

    def __le__(self, other: Side) -> Conditions:
        return self.compare(Comparator.LTE.value, other)

    def __gt__(self, other: Side) -> Conditions:
        return self.compare(Comparator.GT.value, other)

    def __ge__(self, other: Side) -> Conditions:
        return self.compare(Comparator.GTE.value, other)

    def crosses_above(self, other: Side) -> Conditions:
        """True on the bar on which this goes from at or below the other side to above it."""
        return self.compare(Comparator.CROSS_ABOVE.value, other)

    def crosses_below(self, other: Side) -> Conditions:
        """True on the bar on which this goes from at or above the other side to below it."""
        return self.compare(Comparator.CROSS_BELOW.value, other)

    def compare(self, comparator: Name, other: Side) -> Conditions:
        """Any comparison by its name in JSON, which may be swept: lt, lte, gt, gte, crossAbove, crossBelow."""
        return Conditions(((Comparison(self, comparator, other),),))

    def __and__(self, other: object) -> NoReturn:
        """Python reads ``a < 30 & b > 5`` as ``a < (30 & b) > 5``."""
        raise InputError([Problem("condition", "put each comparison in parentheses: (a < 30) & (b > 5)")])

    __or__ = __rand__ = __ror__ = __and__


Side: TypeAlias = Number | Signal


def _function(name: str) -> Callable[..., Signal]:
    """The builder of one indicator, named after it, taking its ticker and, if it has one, its window."""
    entry = INDICATOR_BY_NAME[name]

    def windowed(ticker: Subject, window: Whole) -> Signal:
        return Signal(entry.name, ticker, window)

    def windowless(ticker: Subject) -> Signal:
        return Signal(entry.name, ticker)

    function = windowed if entry.windowed else windowless
    function.__name__ = function.__qualname__ = function_name(name)
    function.__doc__ = f"{entry.name} of a ticker ({entry.unit}): {entry.formula}."
    return function


def function_name(name: str) -> str:
    """The Python name of an indicator: "Simple Moving Average" is ``simple_moving_average``, "%B" ``percent_b``."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower().replace("%", " percent ")).strip("_")


INDICATOR_FUNCTIONS: dict[str, Callable[..., Signal]] = {
    function_name(name): _function(name) for name in INDICATOR_BY_NAME if function_name(name).isidentifier()
}
