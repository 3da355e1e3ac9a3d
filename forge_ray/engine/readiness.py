"""When something has a value: own bars of tickers, and through simulated equities, as bars of the calendar."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import numpy as np

from forge_ray.data import Panel
from forge_ray.plan import AxisRef, Expression, Op, Parameter, Plan, held_tickers, needs_of, reachable, readings
from forge_ray.tree import AxisValue


def dates_of(tickers: tuple[str, ...], panel: Panel) -> np.ndarray:
    """Dates of the own bars of a ticker, or of those that both parts of a ratio have."""
    return reduce(np.intersect1d, (panel.bars[panel.row(ticker)].dates for ticker in tickers))


class Readiness:
    """values : of the axes, by index; without them every bar is the latest over the whole space."""

    def __init__(self, plan: Plan, panel: Panel, values: Mapping[int, AxisValue] | None = None):
        self.plan, self.panel, self.values = plan, panel, values
        self.known: dict[int, int] = {}

    def allocation(self, i: int) -> int:
        """The first bar at which every series inside an allocation has a value at the bar that its decision sees, and
        every ticker that it can hold has a price. The number of bars if there is none."""
        if i not in self.known:
            for inner in (*self.inside(i), i):
                if inner not in self.known:
                    self.known[inner] = self._first_bar(inner)
        return self.known[i]

    def inside(self, i: int) -> list[int]:
        """Allocations whose equity something inside an allocation can be of, innermost first."""
        expressions = self.plan.expressions
        below = [e for j in reachable(expressions, [i]) if (e := expressions[j]).op in (Op.SERIES, Op.SCORE)]
        return sorted({e.operands[0] for e in below if e.operands and (e.op is Op.SERIES or self._can_be_of_equity(e))})

    def _can_be_of_equity(self, score: Expression) -> bool:
        return "equity" in self.choices(score.parameters[2])

    def _first_bar(self, i: int) -> int:
        """Of an allocation, once those inside are known: however deep they lie, nothing recurses."""
        expressions, formulas = self.plan.expressions, self.plan.formulas
        bars = [self.bar((ticker,), 0, None) for ticker in held_tickers(expressions, i, self.choices)]
        for reading in readings(expressions, i):
            for need in needs_of(expressions, reading, "", self.choices, formulas):
                bars.append(self.bar(need.tickers, need.bars + self.plan.execution.fills.delay, need.equity))
        return max(bars, default=0)

    def bar(self, tickers: tuple[str, ...], n: int, equity: int | None) -> int:
        """Calendar bar at which tickers have n bars before it, or the equity of an allocation has."""
        n_bars = len(self.panel.dates)
        if equity is not None:
            return min(self.allocation(equity) + n, n_bars)
        own = dates_of(tickers, self.panel)
        return n_bars if n >= len(own) else int(np.searchsorted(self.panel.dates, own[n]))

    def choices(self, parameter: Parameter) -> tuple[AxisValue, ...]:
        """What a parameter can be."""
        if self.values is not None and isinstance(parameter, AxisRef):
            return (self.values[parameter.axis],)
        return self.plan.values_of(parameter)
