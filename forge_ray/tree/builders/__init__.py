"""Trees written in Python: thin builders over the native JSON.

>>> buy = if_(indicator("RSI", "SPX", axis("n", "2..20")) < 30, hold("AAPL", "MSFT"), cash())
>>> tree, axes = buy.json(), buy.axes()

A builder only writes the JSON that `parse_tree` reads, so what a tree may hold is checked there, and a tree written in
Python has the hash of the same tree written in JSON. Ids that are not given are numbered in pre-order: nodes ``n1, n2,
…``, conditions ``c1, c2, …`` and the items of a count ``i1, i2, …`` within their node. What a tree refers to by name
(axes, calls, formulas, ticker lists) is given where it is used and comes along: `Draft.job` has it all.
"""

from forge_ray.tree.builders.conditions import Conditions, Signal, between_dates, on_date
from forge_ray.tree.builders.counts import Count, all_of, any_of, at_least, at_most, count, exactly, none_of
from forge_ray.tree.builders.draft import Draft
from forge_ray.tree.builders.nodes import (
    blend,
    bottom,
    call,
    cash,
    group,
    hold,
    if_,
    ladder,
    latch,
    ranked,
    top,
)
from forge_ray.tree.builders.signals import INDICATOR_FUNCTIONS, formula, function_name, indicator
from forge_ray.tree.builders.values import (
    ELSE_EQUITY,
    THEN_EQUITY,
    Swept,
    all_tickers,
    any_ticker,
    axis,
    ratio,
    ticker_list,
)
from forge_ray.tree.builders.weights import capped, inverse_volatility, pro_volatility, weighting

__all__ = [
    "ELSE_EQUITY",
    "INDICATOR_FUNCTIONS",
    "THEN_EQUITY",
    "Conditions",
    "Count",
    "Draft",
    "Signal",
    "Swept",
    "all_of",
    "all_tickers",
    "any_of",
    "any_ticker",
    "at_least",
    "at_most",
    "axis",
    "between_dates",
    "blend",
    "bottom",
    "call",
    "capped",
    "cash",
    "count",
    "exactly",
    "formula",
    "function_name",
    "group",
    "hold",
    "if_",
    "indicator",
    "inverse_volatility",
    "ladder",
    "latch",
    "none_of",
    "on_date",
    "pro_volatility",
    "ranked",
    "ratio",
    "ticker_list",
    "top",
    "weighting",
]
