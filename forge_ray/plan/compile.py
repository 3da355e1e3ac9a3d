"""The compiler: trees + space → `Plan`, once for the whole space, knowing no data.

1. Lower every tree into one interned table of expressions.
2. Per tree choose inner axes and build the residual program (`residual.py`).
3. Collect what the space needs: series per ticker with their look-back, tickers held.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from functools import cached_property

import msgspec

from forge_ray.catalog import INDICATOR_BY_NAME
from forge_ray.plan.expressions import (
    ALLOCATIONS,
    AxisRef,
    Expression,
    ExpressionTable,
    Op,
    Parameter,
    axes_of,
    reachable,
    resolve,
)
from forge_ray.plan.identity import identities
from forge_ray.plan.lower import Site, lower_tree
from forge_ray.plan.needs import Need, fields_of, held_tickers, needs_of, readings
from forge_ray.plan.residual import Residual, residual_of
from forge_ray.plan.settings import Execution
from forge_ray.tree import AxisValue, Space, Tree
from forge_ray.tree.formulas import Formula

MAX_ENUMERATED = 200_000


class Plan(msgspec.Struct, frozen=True, dict=True):
    """The compiled space.

    expressions : operands before users. roots, residuals : per tree. allocations, gates : per tree and node, a gate is
    −1 where there is none. formulas : by name, those that the trees use.
    """

    trees: tuple[Tree, ...]
    space: Space
    execution: Execution
    expressions: tuple[Expression, ...]
    roots: tuple[int, ...]
    allocations: tuple[tuple[int, ...], ...]
    gates: tuple[tuple[int, ...], ...]
    residuals: tuple[Residual, ...]
    sites: tuple[Site, ...]
    formulas: dict[str, Formula]

    @cached_property
    def needs(self) -> tuple[Need, ...]:
        """The largest static look-back per ticker, equity and site, over the whole space."""
        found: dict[tuple[tuple[str, ...], int | None, str], Need] = {}
        for site in self.sites:
            for reading in readings(self.expressions, site.expression):
                for need in needs_of(self.expressions, reading, site.name, self.values_of, self.formulas):
                    key = (need.tickers, need.equity, site.name)
                    if key not in found or found[key].bars < need.bars:
                        found[key] = need
        return (*found.values(), *(Need((ticker,), 0, "position", False) for ticker in self.held))

    @property
    def look_back(self) -> int:
        """Own bars that the deepest condition reads before its first value."""
        return max((need.bars for need in self.needs), default=0)

    @cached_property
    def held(self) -> tuple[str, ...]:
        """Tickers that some branch can hold, sorted, without CASH."""
        found = (held_tickers(self.expressions, root, self.values_of) for root in self.roots)
        return tuple(sorted(set().union(*found)))

    @cached_property
    def tickers(self) -> tuple[str, ...]:
        """Tickers that the space reads or holds, sorted."""
        return tuple(sorted({ticker for need in self.needs for ticker in need.tickers}))

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Price fields that the space reads or trades at."""
        read = {name for metric in self.metrics for name in fields_of(metric, self.formulas)}
        return tuple(sorted(read | set(self.execution.fields)))

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Indicators and formulas (``custom:NAME``) that the space computes, without those inside formulas."""
        series = (e for e in self._reachable if e.op in (Op.SERIES, Op.SCORE))
        return tuple(sorted({str(metric) for e in series for metric in self.values_of(e.parameters[0])}))

    @property
    def has_equities(self) -> bool:
        """Whether some series is of a simulated equity."""
        return any(e.op in (Op.SERIES, Op.SCORE) and e.operands for e in self._reachable)

    def values_of(self, parameter: Parameter) -> tuple[AxisValue, ...]:
        """Every value that a parameter takes over the space."""
        if isinstance(parameter, AxisRef):
            return self.space.axes[parameter.axis].values
        return () if parameter is None else (parameter,)

    def concrete_count(self, ops: tuple[Op, ...]) -> int:
        """Distinct concrete expressions of these kinds over the space.

        Exact for a grid while there are at most `MAX_ENUMERATED`; else the sum over expressions, which counts a
        concrete expression twice if two axes bring it about in different places.
        """
        rows = [i for i, e in enumerate(self.expressions) if e.op in ops and e in self._reachable]
        total = sum(self.space.combinations(axes_of(self.expressions[i].axes)) for i in rows)
        if self.space.is_sparse or total > MAX_ENUMERATED or set(ops) & set(ALLOCATIONS):
            return total
        return len(
            {self.concrete_key(i, values) for i in rows for values in self.assignments(self.expressions[i].axes)}
        )

    def assignments(self, mask: int) -> Iterator[dict[int, AxisValue]]:
        """Every combination of values of the axes in a mask, lazily, last axis fastest."""
        axes = axes_of(mask)
        for values in itertools.product(*(self.space.axes[a].values for a in axes)):
            yield dict(zip(axes, values, strict=True))

    def concrete_key(self, i: int, values: dict[int, AxisValue]) -> tuple:
        """What identifies expression `i` once its axes have these values: equal keys are equal work."""
        e = self.expressions[i]
        parameters = resolve(e.parameters, values)
        if e.op is Op.SERIES and not e.operands:
            return series_key(*parameters)
        return (e.op, parameters, tuple(self.concrete_key(operand, values) for operand in e.operands))

    def n_groups(self) -> int:
        """Groups over the whole space: combinations of outer axes, summed over trees."""
        return sum(self.space.combinations(residual.outer) for residual in self.residuals)

    @cached_property
    def identities(self) -> tuple[bytes, ...]:
        """Per expression what it is, whatever plan it stands in; see `plan.identity`."""
        return identities(self.expressions, self.space)

    @cached_property
    def _reachable(self) -> frozenset[Expression]:
        """Expressions that the trees as written use (cofactors add more to the table)."""
        return frozenset(self.expressions[i] for i in reachable(self.expressions, self.roots))


def series_key(metric: str, window: int, *tickers: str) -> tuple[str, int, *tuple[str, ...]]:
    """The identity of a series; windowless indicators have window 1."""
    windowed = metric not in INDICATOR_BY_NAME or INDICATOR_BY_NAME[metric].windowed
    return (metric, window if windowed else 1, *tickers)


def compile_plan(
    trees: tuple[Tree, ...], space: Space, execution: Execution, formulas: Mapping[str, Formula] | None = None
) -> Plan:
    """Compile a space. Its axes must be those of the trees' placeholders, formulas those that the trees name."""
    table, sites = ExpressionTable(), []
    axes = {axis.id: index for index, axis in enumerate(space.axes)}
    unknown_is_cash = execution.null == "cash"
    lowered = [lower_tree(tree, t, axes, table, sites, unknown_is_cash) for t, tree in enumerate(trees)]
    allocations = tuple(below for below, _ in lowered)
    roots = tuple(below[0] for below in allocations)
    radices = tuple(len(axis.values) for axis in space.axes)
    residuals = tuple(residual_of(root, table, radices, unknown_is_cash, space.is_sparse) for root in roots)
    gates = tuple(gates for _, gates in lowered)
    rows = tuple(table.rows)
    return Plan(trees, space, execution, rows, roots, allocations, gates, residuals, tuple(sites), dict(formulas or {}))
