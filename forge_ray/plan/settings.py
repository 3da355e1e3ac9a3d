"""How a strategy is executed and judged: frozen settings that a plan is compiled for.

`read_execution` and `read_requirements` turn the job's objects into structs and report every mistake at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

import msgspec

from forge_ray.catalog import CASH_LIKE, METRIC_BY_NAME, SEGMENTS
from forge_ray.errors import Problem, shown, unknown

MODES = ("CC",)
REBALANCE = ("daily",)
CALENDARS = ("intersection",)
NULL_RULES = ("cash", "else")
MAX_LAG = 1_000
MAX_COST_BPS = 2_500
MAX_BOUND = 1e15


class Execution(msgspec.Struct, frozen=True):
    """Fills, costs and conventions. `cash_rate` and `risk_free` are yearly rates, 1/252 of them per bar.

    `start` is ``"common"`` or an ISO date; `null` says what an unknown gate holds: cash, or the else side.
    """

    mode: str = "CC"
    lag: int = 0
    cost_bps: float = 5.0
    rebalance: str = "daily"
    start: str = "common"
    calendar: str = "intersection"
    null: str = "cash"
    cash_rate: float = 0.0
    risk_free: float = 0.0
    cash_like: tuple[str, ...] = CASH_LIKE


class Requirement(msgspec.Struct, frozen=True):
    """``segment.metric <= bound`` or ``>=``; a metric without a value does not meet it."""

    segment: str
    metric: str
    at_most: bool
    bound: float

    @property
    def name(self) -> str:
        return f"{self.segment}.{self.metric}"

    def __str__(self) -> str:
        return f"{self.name} {'<=' if self.at_most else '>='} {self.bound:g}"


def read_execution(data: object, place: str) -> tuple[Execution, list[Problem]]:
    """The execution settings of a job; what is absent keeps its default."""
    if not isinstance(data, dict):
        return Execution(), [Problem(place, f"expected an object, got {shown(data)}")]
    problems: list[Problem] = []
    values = {}
    for key, value in data.items():
        at = f"{place}.{key}"
        if key not in _READERS:
            problems.append(unknown(at, "field", key, _READERS))
            continue
        try:
            values[key] = _READERS[key](value)
        except ValueError as error:
            problems.append(Problem(at, str(error)))
    return Execution(**values), problems


def _choice(*allowed: str):
    def read(value: object) -> str:
        if value not in allowed:
            raise ValueError(unknown("", "value", value, allowed).message)
        return str(value)

    return read


def _number(low: float, high: float):
    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(f"expected a number from {low:g} to {high:g}, got {shown(value)}")
        return float(value)

    return read


def _lag(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_LAG:
        raise ValueError(f"expected whole bars from 0 to {MAX_LAG}, got {shown(value)}")
    return value


def _start(value: object) -> str:
    if value == "common":
        return "common"
    try:
        return date.fromisoformat(value).isoformat()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError(f'expected "common" or a date as YYYY-MM-DD, got {shown(value)}') from None


def _tickers(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"expected a list of tickers, got {shown(value)}")
    return tuple(sorted(set(value)))


_READERS = {
    "mode": _choice(*MODES),
    "lag": _lag,
    "cost_bps": _number(0, MAX_COST_BPS),
    "rebalance": _choice(*REBALANCE),
    "start": _start,
    "calendar": _choice(*CALENDARS),
    "null": _choice(*NULL_RULES),
    "cash_rate": _number(-1, 1),
    "risk_free": _number(-1, 1),
    "cash_like": _tickers,
}

_BOUND = re.compile(r"\s*(<=|>=)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(%?)\s*")


def read_requirements(data: object, place: str) -> tuple[tuple[Requirement, ...], list[Problem]]:
    """``{"is.max_drawdown": "<= 35%"}``; a bare number is an upper bound for metrics that are better low."""
    if not isinstance(data, dict):
        return (), [Problem(place, f"expected an object, got {shown(data)}")]
    found, problems = [], []
    for key, value in data.items():
        try:
            found.append(_requirement(key, value))
        except ValueError as error:
            problems.append(Problem(f"{place}.{key}", str(error)))
    return tuple(found), problems


def _requirement(key: str, value: object) -> Requirement:
    segment, _, metric = key.partition(".")
    for problem in _name_problems(segment, metric):
        raise ValueError(problem.message)
    fraction, better = METRIC_BY_NAME[metric].unit == "fraction", METRIC_BY_NAME[metric].better
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Requirement(segment, metric, better == "low", _bound(value, "", fraction))
    match = _BOUND.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise ValueError(f'expected a bound such as "<= 35%", ">= 1.2" or a number, got {shown(value)}')
    sign, number, percent = match.groups()
    return Requirement(segment, metric, sign == "<=", _bound(float(number), percent, fraction))


def _name_problems(segment: str, metric: str) -> Iterator[Problem]:
    if segment not in SEGMENTS:
        yield unknown("", "segment", segment, SEGMENTS)
    elif metric not in METRIC_BY_NAME:
        yield unknown("", "metric", metric, METRIC_BY_NAME)


def _bound(number: float, percent: str, fraction: bool) -> float:
    if not abs(number) <= MAX_BOUND:
        raise ValueError(f"expected a bound of at most {MAX_BOUND:g} in magnitude, got {shown(number)}")
    if percent and not fraction:
        raise ValueError(f"{number:g}% on a metric that is not a fraction; write {number:g}")
    if fraction and not percent and abs(number) > 3:
        raise ValueError(f'{number:g} on a fraction; write "{number:g}%" or {number / 100:g}')
    return number / 100 if percent else float(number)
