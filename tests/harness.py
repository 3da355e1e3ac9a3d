"""Bridges between tests and the engine: prices → panel, tree → bound plan, bound plan → positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from forge_ray.data import Bars, History, Panel, RawMarket, as_day, build_panel, parse_split
from forge_ray.engine import BoundPlan, Cache, Evaluator, bind
from forge_ray.plan import Requirement, compile_plan, read_execution
from forge_ray.tree import Axis, Grid, Tree, Where, parse_tree

Prices = Mapping[str, Sequence[tuple]]


def raw_bars(ticker: str, bars: Sequence[tuple]) -> Bars:
    """Bars are (date, open, high, low, close, volume), without volume, or (date, close), which then stands for all
    prices of its bar; a close stands for a volume that is not given. None is a missing field."""
    days = np.array([as_day(bar[0]) for bar in bars], np.int64)
    columns = list(np.array([bar[1:] for bar in bars], np.float64).T)
    close = columns[3] if len(columns) > 3 else columns[-1]
    open_, high, low = columns[:3] if len(columns) > 3 else [close] * 3
    volume = columns[4] if len(columns) > 4 else close
    return Bars(ticker, days, close, None, {"open": open_, "high": high, "low": low, "volume": volume}, {})


def history(ticker: str, bars: Sequence[tuple]) -> History:
    """The same without anything to adjust."""
    raw = raw_bars(ticker, bars)
    return History(ticker, raw.dates, raw.close, raw.cleaned, raw.others)


def raw_market(
    prices: Prices, tickers: Sequence[str], carried: Sequence[str] = (), calendar: str = "intersection"
) -> RawMarket:
    beside = tuple(sorted(set(carried)))
    bars = {ticker: raw_bars(ticker, prices[ticker]) for ticker in (*tickers, *beside)}
    return RawMarket(bars, tuple(tickers), beside, calendar)


def panel_of(
    prices: Prices, tickers: Sequence[str], carried: Sequence[str] = (), calendar: str = "intersection"
) -> Panel:
    histories = [history(ticker, prices[ticker]) for ticker in tickers]
    return build_panel(histories, [history(ticker, prices[ticker]) for ticker in sorted(set(carried))], calendar)


def grid_of(trees: Sequence[Tree], axes: Mapping[str, Sequence] | None = None, where: Sequence[str] = ()) -> Grid:
    found = tuple(Axis(name, tuple(values)) for name, values in (axes or {}).items())
    clauses = tuple(Where(text, tuple(axes or {})) for text in where)
    return Grid(found, tuple(frozenset(tree.axes()) for tree in trees), clauses)


def bound_of(
    trees: Sequence[dict],
    prices: Prices,
    axes: Mapping[str, Sequence] | None = None,
    *,
    benchmark: str | None = None,
    split: object = None,
    where: Sequence[str] = (),
    requirements: Sequence[Requirement] = (),
    tickers: Sequence[str] = (),
    **execution: object,
) -> BoundPlan:
    parsed = tuple(parse_tree(tree) for tree in trees)
    settings, problems = read_execution(execution, "execution")
    assert not problems
    plan = compile_plan(parsed, grid_of(parsed, axes, where), settings)
    carried = [*([benchmark] if benchmark else []), *settings.carried_tickers]
    panel = panel_of(prices, sorted({*plan.tickers, *tickers}), carried, settings.calendar)
    return bind(plan, panel, parse_split(split or {"holdout": "30%"}, "split"), benchmark, tuple(requirements))


def allocations(bound: BoundPlan, tree: int = 0, values: Mapping[int, object] | None = None) -> np.ndarray:
    """(n_bars, n_tickers) target weights that a tree decides on each calendar bar."""
    evaluator = Evaluator(bound.plan, bound.panel, Cache(2**26))
    found = evaluator.allocation(bound.plan.roots[tree], values or {})
    return found.weights[found.row_of]


def held_weights(bound: BoundPlan, tree: int = 0) -> list[dict[str, float]]:
    """Weights in force per return: the decided ones, without tickers that have no price at the fill."""
    decided = allocations(bound, tree)[bound.start : bound.start + bound.n]
    tradable = ~np.isnan(bound.panel.close[:, bound.first_fill :])
    return [
        {bound.panel.tickers[k]: weights[k] for k in np.flatnonzero((weights > 0) & tradable[:, i])}
        for i, weights in enumerate(decided)
    ]


def exact(table: pa.Table) -> pa.Table:
    """The table with floats as their bits, so that equality tells zeros of different signs apart."""
    for i, field in enumerate(table.schema):
        if pa.types.is_floating(field.type):
            table = table.set_column(i, field.name, table.column(i).combine_chunks().view(pa.int64()))
    return table
