"""The compiler: trees + grid → `Plan`, once for the whole space, knowing no data.

1. Lower every tree into one interned table of expressions.
2. Per tree choose inner axes and build the residual program (`residual.py`).
3. Collect what the space needs: series per ticker with their look-back, tickers held.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import cached_property

import msgspec

from forge_ray.catalog import CASH, INDICATOR_BY_NAME
from forge_ray.plan.expressions import (
    ALLOCATIONS,
    AxisRef,
    Expression,
    ExpressionTable,
    Op,
    Parameter,
    axes_of,
    resolve,
)
from forge_ray.plan.lower import Site, lower_tree
from forge_ray.plan.residual import Residual, residual_of
from forge_ray.plan.settings import Execution
from forge_ray.tree import AxisValue, Grid, Tree
from forge_ray.tree.nodes import EMPTY, Comparator

MAX_ENUMERATED = 200_000


class Need(msgspec.Struct, frozen=True):
    """A ticker must have `bars` own bars before the first decision, because of a condition or of a position."""

    ticker: str
    bars: int
    because: str
    is_signal: bool


class Plan(msgspec.Struct, frozen=True, dict=True):
    """The compiled space.

    expressions : operands before users. roots, residuals, gates : per tree; gates[tree][node] is −1 without gate.
    """

    trees: tuple[Tree, ...]
    grid: Grid
    execution: Execution
    expressions: tuple[Expression, ...]
    roots: tuple[int, ...]
    gates: tuple[tuple[int, ...], ...]
    residuals: tuple[Residual, ...]
    sites: tuple[Site, ...]

    @cached_property
    def needs(self) -> tuple[Need, ...]:
        """The largest static look-back per ticker and condition site, over the whole space."""
        found: dict[tuple[str, str], int] = {}
        for site in self.sites:
            for ticker, bars in self._needs_of(site):
                found[ticker, site.name] = max(found.get((ticker, site.name), 0), bars)
        held = (Need(ticker, 0, "position", False) for ticker in self.held)
        return (*(Need(ticker, bars, because, True) for (ticker, because), bars in found.items()), *held)

    @property
    def look_back(self) -> int:
        """Own bars that the deepest condition reads before its first value."""
        return max((need.bars for need in self.needs), default=0)

    @cached_property
    def held(self) -> tuple[str, ...]:
        """Tickers that some branch can hold, sorted, without CASH."""
        rows = (e for e in self._reachable if e.op is Op.ROW)
        tickers = {value for e in rows for p in e.parameters for value in self.values_of(p)}
        return tuple(sorted(tickers - {CASH, EMPTY}))  # type: ignore[arg-type]

    @cached_property
    def tickers(self) -> tuple[str, ...]:
        """Tickers that the space reads or holds, sorted."""
        return tuple(sorted({need.ticker for need in self.needs}))

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Price fields that the space reads or trades at."""
        series = (e for e in self._reachable if e.op is Op.SERIES)
        metrics = {str(metric) for e in series for metric in self.values_of(e.parameters[0])}
        read = {name for metric in metrics for name in INDICATOR_BY_NAME[metric].fields}
        return tuple(sorted(read | set(self.execution.fields)))

    def values_of(self, parameter: Parameter) -> tuple[AxisValue, ...]:
        """Every value that a parameter takes over the space."""
        if isinstance(parameter, AxisRef):
            return self.grid.axes[parameter.axis].values
        return () if parameter is None else (parameter,)

    def concrete_count(self, ops: tuple[Op, ...]) -> int:
        """Distinct concrete expressions of these kinds over the space.

        Exact while there are at most `MAX_ENUMERATED`; beyond that the sum over expressions, which counts a concrete
        expression twice if two axes bring it about in different places.
        """
        rows = [i for i, e in enumerate(self.expressions) if e.op in ops and e in self._reachable]
        total = sum(self._combinations(self.expressions[i].axes) for i in rows)
        if total > MAX_ENUMERATED or set(ops) & set(ALLOCATIONS):
            return total
        return len(
            {self.concrete_key(i, values) for i in rows for values in self.assignments(self.expressions[i].axes)}
        )

    def assignments(self, mask: int) -> Iterator[dict[int, AxisValue]]:
        """Every combination of values of the axes in a mask, lazily, last axis fastest."""
        axes = axes_of(mask)
        for values in itertools.product(*(self.grid.axes[a].values for a in axes)):
            yield dict(zip(axes, values, strict=True))

    def concrete_key(self, i: int, values: dict[int, AxisValue]) -> tuple:
        """What identifies expression `i` once its axes have these values: equal keys are equal work."""
        e = self.expressions[i]
        parameters = resolve(e.parameters, values)
        if e.op is Op.SERIES:
            return series_key(*parameters)
        return (e.op, parameters, tuple(self.concrete_key(operand, values) for operand in e.operands))

    def n_groups(self) -> int:
        """Groups over the whole space: combinations of outer axes, summed over trees."""
        return sum(math.prod(len(self.grid.axes[a].values) for a in r.outer) for r in self.residuals)

    @cached_property
    def _reachable(self) -> frozenset[Expression]:
        """Expressions that the trees as written use (cofactors add more to the table)."""
        seen, stack = set(), list(self.roots)
        while stack:
            i = stack.pop()
            if i not in seen:
                seen.add(i)
                stack.extend(self.expressions[i].operands)
        return frozenset(self.expressions[i] for i in seen)

    def _combinations(self, mask: int) -> int:
        return math.prod(len(self.grid.axes[a].values) for a in axes_of(mask))

    def _needs_of(self, site: Site) -> Iterator[tuple[str, int]]:
        bits, extra = self.expressions[site.expression], 0
        if bits.op is Op.PERSIST:
            extra += max(int(days) - 1 for days in self.values_of(bits.parameters[0]))
            bits = self.expressions[bits.operands[0]]
        extra += any(Comparator(str(c)).is_cross for c in self.values_of(bits.parameters[0]))
        for operand in bits.operands:
            if self.expressions[operand].op is Op.SERIES:
                metrics, windows, tickers = map(self.values_of, self.expressions[operand].parameters)
                deepest = max(
                    INDICATOR_BY_NAME[str(m)].bars_before_first_value(int(w)) for m in metrics for w in windows
                )
                yield from ((str(ticker), deepest + extra) for ticker in tickers)


def series_key(metric: str, window: int, ticker: str) -> tuple[str, int, str]:
    """The identity of a series; windowless indicators have window 1."""
    return (metric, window if INDICATOR_BY_NAME[metric].windowed else 1, ticker)


def compile_plan(trees: tuple[Tree, ...], grid: Grid, execution: Execution) -> Plan:
    """Compile a space. The grid's axes must be those of the trees' placeholders."""
    table, sites = ExpressionTable(), []
    axes = {axis.id: index for index, axis in enumerate(grid.axes)}
    lowered = [lower_tree(tree, t, axes, table, sites) for t, tree in enumerate(trees)]
    roots = tuple(root for root, _ in lowered)
    radices = tuple(len(axis.values) for axis in grid.axes)
    residuals = tuple(residual_of(root, table, radices, execution.null == "cash") for root in roots)
    gates = tuple(gates for _, gates in lowered)
    return Plan(trees, grid, execution, tuple(table.rows), roots, gates, residuals, tuple(sites))
