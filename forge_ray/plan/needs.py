"""What has to be there before the first decision: look-backs per ticker, and through simulated equities.

1. A *reading* is a series that an expression looks at, with what its condition adds: forDays − 1, one for a cross.
2. A need is met at a bar of the ticker that it reads: look-back and additions count its own bars. Below an equity the
   needs are those of the allocation it simulates; what reads the equity counts calendar bars from there.

Readings are found without values of axes; bars are asked for with a function that tells what a parameter can be, one
value for a branch, all of them for the space.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import msgspec

from forge_ray.catalog import CASH, INDICATOR_BY_NAME
from forge_ray.plan.expressions import SERIES, WEIGHTING_PARAMETERS, Expression, Op, Parameter
from forge_ray.tree import AxisValue
from forge_ray.tree.domains import CUSTOM
from forge_ray.tree.formulas import Formula
from forge_ray.tree.nodes import EMPTY, Comparator

Choices: TypeAlias = Callable[[Parameter], tuple[AxisValue, ...]]
Formulas: TypeAlias = Mapping[str, Formula]


class Reading(msgspec.Struct, frozen=True):
    """A series (expression id) with the parameters of its condition that make it look further back."""

    series: int
    comparator: Parameter = None
    for_days: Parameter = None

    def further(self, choices: Choices) -> int:
        """Bars that the condition adds to the look-back of the series."""
        crosses = (Comparator(str(comparator)).is_cross for comparator in choices(self.comparator))
        return max(crosses, default=False) + max((int(days) - 1 for days in choices(self.for_days)), default=0)


class Need(msgspec.Struct, frozen=True):
    """Something must have `bars` bars before the first decision, because of a condition or of a position.

    tickers : one, or both of a ratio, whose own bars count. equity : an allocation (expression id) instead, whose
    simulated equity must have that many calendar bars.
    """

    tickers: tuple[str, ...]
    bars: int
    because: str
    is_signal: bool
    equity: int | None = None


def readings(expressions: Sequence[Expression], root: int) -> list[Reading]:
    """What an expression looks at. Not what is below an equity: the need of the equity stands for it."""
    found: dict[Reading, None] = {}
    seen, stack = set(), [(root, None)]
    while stack:
        i, for_days = stack.pop()
        if (i, for_days) in seen:
            continue
        seen.add((i, for_days))
        e = expressions[i]
        if e.op in SERIES:
            found |= {Reading(i): None} if e.op is not Op.NUMBER else {}
        elif e.op is Op.COMPARE:
            series = (operand for operand in e.operands if expressions[operand].op is not Op.NUMBER)
            found |= {Reading(operand, e.parameters[0], for_days): None for operand in series}
        else:
            days = e.parameters[0] if e.op is Op.PERSIST else None
            stack += [(operand, days) for operand in e.operands]
    return list(found)


def held_tickers(expressions: Sequence[Expression], root: int, choices: Choices) -> set[str]:
    """Tickers that an allocation can hold, without CASH."""
    found: set[AxisValue] = set()
    seen, stack = set(), [root]
    while stack:
        i = stack.pop()
        e = expressions[i]
        if i in seen or e.op in SERIES:
            continue
        seen.add(i)
        stack += e.operands
        found.update(value for p in _positions(e) for value in choices(p))
    return {str(ticker) for ticker in found} - {CASH, EMPTY}


def _positions(e: Expression) -> Sequence[Parameter]:
    match e.op:
        case Op.ROW:
            return e.parameters
        case Op.BLEND:
            return e.parameters[WEIGHTING_PARAMETERS - 1 : WEIGHTING_PARAMETERS]
        case Op.RANK:
            return e.parameters[WEIGHTING_PARAMETERS + 1 : WEIGHTING_PARAMETERS + 2]
    return ()


def needs_of(
    expressions: Sequence[Expression], reading: Reading, because: str, choices: Choices, formulas: Formulas
) -> Iterator[Need]:
    """The needs of a reading: the deepest over what its parameters can be."""
    e, further = expressions[reading.series], reading.further(choices)
    metrics, windows = choices(e.parameters[0]), choices(e.parameters[1])
    bars = further + max(look_back(str(m), int(w), formulas) for m in metrics for w in windows)
    if e.op is Op.SERIES and not e.operands:
        for tickers in _combinations([choices(p) for p in e.parameters[2:]]):
            yield Need(tickers, bars, because, True)
        return
    of = ("equity",) if e.op is Op.SERIES else choices(e.parameters[2])
    if "equity" in of:
        yield Need((), bars, because, True, e.operands[0])
    if set(of) - {"equity"}:
        for ticker in sorted(held_tickers(expressions, e.operands[0], choices)):
            yield Need((ticker,), bars, because, True)


def _combinations(choices: Sequence[tuple[AxisValue, ...]]) -> Iterator[tuple[str, ...]]:
    if len(choices) == 1:
        yield from ((str(ticker),) for ticker in choices[0])
    else:
        yield from ((str(a), str(b)) for a in choices[0] for b in choices[1])


def look_back(metric: str, window: int, formulas: Formulas) -> int:
    """Bars before the first value of an indicator or a formula."""
    if metric.startswith(CUSTOM):
        return formulas[metric.removeprefix(CUSTOM)].bars_before_first_value(window)
    return INDICATOR_BY_NAME[metric].bars_before_first_value(window)


def fields_of(metric: str, formulas: Formulas) -> tuple[str, ...]:
    """Price fields that an indicator or a formula reads."""
    if metric.startswith(CUSTOM):
        return formulas[metric.removeprefix(CUSTOM)].fields
    return INDICATOR_BY_NAME[metric].fields
