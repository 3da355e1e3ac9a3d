"""Signals in Python: one builder for any indicator, one per indicator of the catalogue, one for formulas."""

from __future__ import annotations

import re
from collections.abc import Callable

from forge_ray.catalog import INDICATOR_BY_NAME
from forge_ray.errors import InputError
from forge_ray.tree.builders.conditions import Formula, Metric, Signal
from forge_ray.tree.builders.values import Subject, Whole
from forge_ray.tree.formulas import read_formulas


def indicator(metric: Metric, ticker: Subject, window: Whole | None = None) -> Signal:
    """An indicator of a ticker by name or alias. Compared with a number or another one, it becomes a condition.

    ticker : or what stands in its place: `ratio`, `any_ticker`, `all_tickers`, ``THEN_EQUITY``, ``ELSE_EQUITY``.
    """
    return Signal(metric, ticker, window)


def formula(name: str, text: str) -> Formula:
    """An indicator of your own, ``formula("GAP", "close / sma - 1")``; it takes its ticker and window as others do."""
    _, problems = read_formulas({name: text}, "formulas")
    if problems:
        raise InputError(problems)
    return Formula(name, text)


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
