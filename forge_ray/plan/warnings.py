"""What is probably a mistake though it can be computed: comparing different units, comparing a price with a number,
costs of what is never held."""

from __future__ import annotations

from collections.abc import Iterator

from forge_ray.catalog import INDICATOR_BY_NAME
from forge_ray.errors import nearest, step
from forge_ray.plan.compile import Plan
from forge_ray.plan.expressions import Op


def unit_warnings(plan: Plan) -> list[str]:
    """One line per condition site whose two sides cannot sensibly be compared, for any value of its axes."""
    return list(dict.fromkeys(line for site in plan.sites for line in _of(plan, site.name, site.expression)))


def cost_warnings(plan: Plan) -> list[str]:
    """One line per ticker with costs of its own that no branch holds."""
    unheld = [ticker for ticker, _ in plan.execution.ticker_costs if ticker not in plan.held]
    return [f"execution.cost_bps.{step(name)}: no branch holds it{nearest(name, plan.held)}" for name in unheld]


def _of(plan: Plan, name: str, bits: int) -> Iterator[str]:
    for left, right in (tuple(_units(plan, operand) for operand in pair) for pair in _compared(plan, bits)):
        if right is None:
            if left == {"price"}:
                yield f"{name}: compares a price with a number; prices drift, the number does not"
        elif left and right and not left & right:
            yield f"{name}: compares {'/'.join(sorted(left))} with {'/'.join(sorted(right))}"


def _compared(plan: Plan, bits: int) -> Iterator[tuple[int, ...]]:
    """Sides of the comparisons of a condition; several if it is over several tickers."""
    e = plan.expressions[bits]
    if e.op is Op.COMPARE:
        yield e.operands
    elif e.op in (Op.PERSIST, Op.ANY, Op.ALL):
        for operand in e.operands:
            yield from _compared(plan, operand)


def _units(plan: Plan, i: int) -> set[str] | None:
    """Units that a side can have, none known of a formula; None for a number. The price of a ratio is a number."""
    e = plan.expressions[i]
    if e.op is Op.NUMBER:
        return None
    has_level = len(e.parameters) == 3 and not e.operands
    units = {INDICATOR_BY_NAME[str(m)].unit for m in plan.values_of(e.parameters[0]) if m in INDICATOR_BY_NAME}
    return units if has_level else {"number" if unit == "price" else unit for unit in units}
