"""What is probably a mistake though it can be computed: comparing different units, comparing a price with a number."""

from __future__ import annotations

from collections.abc import Iterator

from forge_ray.catalog import INDICATOR_BY_NAME
from forge_ray.plan.compile import Plan
from forge_ray.plan.expressions import Op


def unit_warnings(plan: Plan) -> list[str]:
    """One line per condition site whose two sides cannot sensibly be compared, for any value of its axes."""
    return list(dict.fromkeys(line for site in plan.sites for line in _of(plan, site.name, site.expression)))


def _of(plan: Plan, name: str, bits: int) -> Iterator[str]:
    e = plan.expressions[bits]
    compare = plan.expressions[e.operands[0]] if e.op is Op.PERSIST else e
    left, right = (_units(plan, operand) for operand in compare.operands)
    if right is None:
        if left == {"price"}:
            yield f"{name}: compares a price with a number; prices drift, the number does not"
    elif left and not left & right:
        yield f"{name}: compares {'/'.join(sorted(left))} with {'/'.join(sorted(right))}"


def _units(plan: Plan, i: int) -> set[str] | None:
    """Units that a side can have; None for a number."""
    e = plan.expressions[i]
    if e.op is Op.NUMBER:
        return None
    return {INDICATOR_BY_NAME[str(metric)].unit for metric in plan.values_of(e.parameters[0])}
