"""Values of an axis: a list, ``"5..14"``, ``"20..40 by 5"``, ``"±3"`` or ``"±20% by 5%"`` around the value in the tree.

``"exact"`` and ``"20..40 exact"`` stand for every threshold that makes a difference; which those are is known with the
data.

Counting is done on integers in decimal arithmetic, then each value becomes the nearest float: no drift, and an end
that is off the grid is an error that names its neighbours.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from forge_ray.errors import shown

MAX_VALUES = 1_000_000
MAX_LISTED = 10

_NUMBER = r"[+-]?(?:[0-9]{1,20}\.?[0-9]{0,20}|\.[0-9]{1,20})(?:[eE][+-]?[0-9]{1,2})?"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*\.\.\s*({_NUMBER})(?:\s+by\s+({_NUMBER}))?\s*")
_AROUND = re.compile(rf"\s*±\s*({_NUMBER})(%?)(?:\s+by\s+({_NUMBER})(%?))?\s*")
_EXACT = re.compile(rf"\s*(?:({_NUMBER})\s*\.\.\s*({_NUMBER})\s+)?exact\s*")
_FORMS = 'a list, "5..14", "20..40 by 5", "±3" or "±20% by 5%", for a threshold "exact" or "20..40 exact"'

AxisValue = int | float | str


@dataclass(frozen=True)
class Exact:
    """Every threshold from `low` to `high`, both included, that makes a difference on the data."""

    low: float = -math.inf
    high: float = math.inf


def exact_range(spec: object) -> Exact | None:
    """What ``"exact"`` or ``"20..40 exact"`` says, None for any other form. Raises ValueError for an empty range."""
    match = _EXACT.fullmatch(spec) if isinstance(spec, str) else None
    if match is None:
        return None
    if match[1] is None:
        return Exact()
    low, high = float(match[1]), float(match[2])
    if low > high:
        raise ValueError(f"{match[1]} is above {match[2]}; the lower end comes first")
    return Exact(low, high)


def axis_values(
    spec: object, written: object, read: Callable[[object], AxisValue], *, integer: bool, most: int = MAX_VALUES
) -> tuple:
    """The values of an axis in their order, without repetition.

    spec : what the job says. written : the value in the tree, None for a ``$name``.
    read : normal form of one value, raises ValueError. integer : values "around" are rounded to whole numbers.
    most : steps of a range, or "around" to either side.
    Raises ValueError with what is wrong and what is allowed.
    """
    if isinstance(spec, list):
        return _from_list(spec, read)
    if not isinstance(spec, str):
        raise ValueError(f"expected {_FORMS}, got {shown(spec)}")
    if match := _RANGE.fullmatch(spec):
        numbers = _range(most, *match.groups())
    elif match := _AROUND.fullmatch(spec):
        numbers = _around(spec, match.groups(), written, integer, most)
    else:
        raise ValueError(f"expected {_FORMS}, got {shown(spec)}")
    return tuple(dict.fromkeys(read(_plain(number)) for number in numbers))


def _from_list(spec: list, read: Callable[[object], AxisValue]) -> tuple:
    if not spec:
        raise ValueError("an empty list; an axis needs at least one value")
    values, problems = [], []
    for k, item in enumerate(spec):
        try:
            values.append(read(item))
        except ValueError as error:
            problems.append(f"value {k}: {error}")
    if problems:
        more = f"; and {len(problems) - MAX_LISTED:,} more" if len(problems) > MAX_LISTED else ""
        raise ValueError("; ".join(problems[:MAX_LISTED]) + more)
    repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        raise ValueError(f"repeated values {shown(repeated)}; each value once")
    return tuple(values)


def _range(most: int, first: str, last: str, by: str | None) -> list[Decimal]:
    low, high = Decimal(first), Decimal(last)
    if by is None and (low != low.to_integral() or high != high.to_integral()):
        raise ValueError(f'{first}..{last} needs a step, as in "{first}..{last} by 0.1"')
    step = Decimal(by or 1)
    if step <= 0:
        raise ValueError(f"step {step}; allowed: above 0")
    if low > high:
        raise ValueError(f"{first} is above {last}; the lower end comes first")
    steps = _count((high - low) / step, most)
    if (off := low + steps * step) != high:
        raise ValueError(f"{high} is not on the grid from {low} by {step}; its neighbours are {off} and {off + step}")
    return [low + k * step for k in range(steps + 1)]


def _around(spec: str, groups: tuple, written: object, integer: bool, most: int) -> list[Decimal]:
    if isinstance(written, bool) or not isinstance(written, int | float):
        there = "a $name" if written is None else shown(written)
        raise ValueError(
            f"{shown(spec)} is around a number in the tree, and there is {there}; allowed: a list, a range"
        )
    reach, percent, by, by_percent = groups
    if by is not None and percent != by_percent:
        raise ValueError(f"{shown(spec)} mixes percent and absolute; both or none")
    step, width, centre = Decimal(by or 1), Decimal(reach), Decimal(repr(written))
    if step <= 0 or width < 0:
        raise ValueError(f"{shown(spec)}: expected a width >= 0 and a step > 0")
    steps = _count(2 * width / step, 2 * most) // 2
    if steps * step != width:
        raise ValueError(
            f"±{width} is not a multiple of {step}; neighbours are ±{steps * step} and ±{(steps + 1) * step}"
        )
    if percent and not centre:
        raise ValueError(f"{shown(spec)} is a share of 0, the value in the tree; allowed: a list, a range, ±number")
    unit = abs(centre) / 100 if percent else Decimal(1)
    numbers = [centre + k * step * unit for k in range(-steps, steps + 1)]
    return [number.to_integral_value() for number in numbers] if integer else numbers


def _count(steps: Decimal, most: int) -> int:
    if steps > most:
        raise ValueError(f"{_spelled(int(steps) + 1)} values; allowed: at most {most:,}")
    return int(steps)


def _spelled(count: int) -> str:
    return f"{count:,}" if count < 10**15 else f"about {Decimal(count):.0e}"


def _plain(number: Decimal) -> int | float:
    return int(number) if number == number.to_integral() and abs(number) < 2**53 else float(number)
