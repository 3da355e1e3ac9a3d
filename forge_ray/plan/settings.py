"""How a strategy is executed and judged: frozen settings that a plan is compiled for.

`read_execution` and `read_requirements` turn the job's objects into structs and report every mistake at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeAlias

import msgspec
import numpy as np

from forge_ray.catalog import CASH_LIKE, METRIC_BY_NAME, PARTS, SEGMENTS
from forge_ray.errors import Problem, shown, step, unknown
from forge_ray.tree.domains import read_signal_ticker as read_ticker

Reader: TypeAlias = Callable[[str, object], dict[str, Any]]

PERIODS = ("daily", "weekly", "monthly", "quarterly", "yearly")
CALENDARS = ("intersection", "union")
NULL_RULES = ("cash", "else")
MAX_LAG = 1_000
MAX_COST_BPS = 2_500
MAX_BOUND = 1e15
MAX_FRACTION = 3
"""More than that on a fraction is a percentage without its sign."""


class Mode(msgspec.Struct, frozen=True):
    """Where a mode buys and sells. entry, exit : price fields. step : bars from the entry's bar to the exit's.

    carries : positions stay over the end of an interval. delay : bars by which information is older than the decision.
    """

    entry: str
    exit: str
    step: int
    carries: bool
    delay: int


MODES: dict[str, Mode] = {
    "CC": Mode("close", "close", 1, True, 0),
    "CO": Mode("close", "open", 1, False, 0),
    "OO": Mode("open", "open", 1, True, 1),
    "OC": Mode("open", "close", 0, False, 1),
}


class Execution(msgspec.Struct, frozen=True):
    """Fills, costs and conventions.

    cost_bps : per side; `ticker_costs` holds (ticker, bps) that differ. rebalance : a period, ``"on_change"`` or
    ``"threshold"`` with `threshold` in points of weight. start : ``"common"``, ``"earliest"`` or an ISO date.
    null : what an unknown gate holds, cash or the else side. cash_rate, risk_free : yearly rates, 1/252 of them per
    bar, or tickers.
    """

    mode: str = "CC"
    lag: int = 0
    cost_bps: float = 5.0
    ticker_costs: tuple[tuple[str, float], ...] = ()
    rebalance: str = "daily"
    threshold: float = 0.0
    start: str = "common"
    calendar: str = "intersection"
    null: str = "cash"
    cash_rate: float | str = 0.0
    risk_free: float | str = 0.0
    cash_like: tuple[str, ...] = CASH_LIKE

    @property
    def fills(self) -> Mode:
        """Where the mode buys and sells."""
        return MODES[self.mode]

    @property
    def depends_on_path(self) -> bool:
        """Whether the rule trades by what is held, not by the calendar alone."""
        return self.rebalance in ("on_change", "threshold")

    @property
    def carried_tickers(self) -> dict[str, str]:
        """Tickers that stand for a rate, each with the fields that name it."""
        places: dict[str, list[str]] = {}
        for name, rate in (("cash_rate", self.cash_rate), ("risk_free", self.risk_free)):
            if isinstance(rate, str):
                places.setdefault(rate, []).append(f"execution.{name}")
        return {ticker: " and ".join(names) for ticker, names in places.items()}

    @property
    def fields(self) -> tuple[str, ...]:
        """Price fields that fills need."""
        return tuple(sorted({"close", self.fills.entry, self.fills.exit}))


OF_BENCHMARK = ("beta", "treynor")
"""Metrics that have no value without one."""
COUNTED = ("time_in_market", "trades")
"""Metrics that are known before anything is simulated."""


class Prune(StrEnum):
    """When branches stop early: never, when a requirement is proved to be missed, or as the original did."""

    NEVER = "never"
    PROOFS = "proofs"
    FORGE = "forge"


class Requirement(msgspec.Struct, frozen=True):
    """``segment.metric <= bound`` or ``>=``; a metric without a value does not meet it."""

    segment: str
    metric: str
    at_most: bool
    bound: float

    @property
    def name(self) -> str:
        return f"{self.segment}.{self.metric}"

    @property
    def can_prune(self) -> bool:
        """Whether missing it can be proved before all days are simulated."""
        return self.metric in COUNTED or (self.metric == "max_drawdown" and self.at_most)

    def is_met(self, values: np.ndarray) -> np.ndarray:
        """Of metrics of any shape, NaN where undefined."""
        return values <= self.bound if self.at_most else values >= self.bound

    def __str__(self) -> str:
        """In full, since it is part of what a run is; whole numbers without a point."""
        return f"{self.name} {'<=' if self.at_most else '>='} {str(self.bound).removesuffix('.0')}"


def read_execution(data: object, place: str) -> tuple[Execution, list[Problem]]:
    """The execution settings of a job; what is absent keeps its default."""
    if not isinstance(data, dict):
        return Execution(), [Problem(place, f"expected an object, got {shown(data)}")]
    problems: list[Problem] = []
    values = {}
    for key, value in data.items():
        at = f"{place}.{step(key)}"
        if key not in _READERS:
            problems.append(unknown(at, "field", key, _READERS))
            continue
        try:
            values |= _READERS[key](key, value)
        except ValueError as error:
            problems.append(Problem(at, str(error)))
    execution = Execution(**values)
    if execution.depends_on_path and not execution.fills.carries:
        text = f"{execution.rebalance} with mode {execution.mode}, which sells everything inside each interval"
        problems.append(Problem(f"{place}.rebalance", f"{text}; allowed: {', '.join(PERIODS)}"))
    return execution, problems


def _choice(*allowed: str) -> Reader:
    def read(key: str, value: object) -> dict[str, Any]:
        if value not in allowed:
            raise ValueError(unknown("", "value", value, allowed).message)
        return {key: str(value)}

    return read


def _number(value: object, low: float, high: float, what: str = "a number") -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"expected {what} from {low:g} to {high:g}, got {shown(value)}")
    return float(value)


def _lag(key: str, value: object) -> dict[str, Any]:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_LAG:
        raise ValueError(f"expected whole bars from 0 to {MAX_LAG}, got {shown(value)}")
    return {key: value}


def _costs(key: str, value: object) -> dict[str, Any]:
    """A number, or numbers by ticker with a default for all others."""
    if not isinstance(value, dict):
        return {key: _number(value, 0, MAX_COST_BPS, 'a number or {"default": …, "TICKER": …}')}
    costs = {ticker: _number(bps, 0, MAX_COST_BPS, f"for {step(ticker)} a number") for ticker, bps in value.items()}
    default = costs.pop("default", Execution.__struct_defaults__[2])
    return {key: default, "ticker_costs": tuple(sorted(costs.items()))}


def _rebalance(key: str, value: object) -> dict[str, Any]:
    if isinstance(value, dict) and list(value) == ["threshold"]:
        return {key: "threshold", "threshold": _number(value["threshold"], 0, 100, "points of weight")}
    allowed = (*PERIODS, "on_change")
    if value not in allowed:
        raise ValueError(unknown("", "value", value, (*allowed, '{"threshold": points}')).message)
    return {key: value}


def _rate(key: str, value: object) -> dict[str, Any]:
    """A yearly rate or a ticker."""
    return {key: read_ticker(value)} if isinstance(value, str) else {key: _number(value, -1, 1, "a ticker or a rate")}


def _start(key: str, value: object) -> dict[str, Any]:
    if value in ("common", "earliest"):
        return {key: value}
    try:
        return {key: date.fromisoformat(value).isoformat()}  # type: ignore[arg-type]
    except (TypeError, ValueError):
        text = f'expected "common", "earliest" or a date as YYYY-MM-DD, got {shown(value)}'
        raise ValueError(text) from None


def _tickers(key: str, value: object) -> dict[str, Any]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"expected a list of tickers, got {shown(value)}")
    return {key: tuple(sorted(set(value)))}


_READERS: dict[str, Reader] = {
    "mode": _choice(*MODES),
    "lag": _lag,
    "cost_bps": _costs,
    "rebalance": _rebalance,
    "start": _start,
    "calendar": _choice(*CALENDARS),
    "null": _choice(*NULL_RULES),
    "cash_rate": _rate,
    "risk_free": _rate,
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
            problems.append(Problem(f"{place}.{step(key)}", str(error)))
    return tuple(found), problems


def read_prune(
    data: object, place: str, requirements: tuple[Requirement, ...], searched: str
) -> tuple[Prune, list[Problem]]:
    """``false``, ``true`` or ``"forge"``. searched : the segment without an out-of-sample day.

    What can never stop a branch is a mistake.
    """
    if data is False:
        return Prune.NEVER, []
    if data == Prune.FORGE:
        return Prune.FORGE, []
    if data is not True:
        return Prune.NEVER, [Problem(place, f'expected true, false or "forge", got {shown(data)}')]
    if any(r.can_prune and r.segment == searched for r in requirements):
        return Prune.PROOFS, []
    allowed = ", ".join(f"{searched}.{text}" for text in ("max_drawdown <= …", *COUNTED))
    return Prune.NEVER, [Problem(place, f"no requirement can be proved to be missed early; allowed: {allowed}")]


def _requirement(key: str, value: object) -> Requirement:
    segment, _, metric = key.partition(".")
    for problem in _name_problems(segment, metric):
        raise ValueError(problem.message)
    better = METRIC_BY_NAME[metric].better
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Requirement(segment, metric, better == "low", _bound(value, "", metric))
    match = _BOUND.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise ValueError(f'expected a bound such as "<= 35%", ">= 1.2" or a number, got {shown(value)}')
    sign, number, percent = match.groups()
    return Requirement(segment, metric, sign == "<=", _bound(float(number), percent, metric))


def _name_problems(segment: str, metric: str) -> Iterator[Problem]:
    if segment not in SEGMENTS:
        yield unknown("", "segment", segment, SEGMENTS)
    elif metric not in METRIC_BY_NAME:
        yield unknown("", "metric", metric, METRIC_BY_NAME)


def _bound(number: float, percent: str, metric: str) -> float:
    fraction, most = METRIC_BY_NAME[metric].unit == "fraction", 1 if metric in PARTS else MAX_FRACTION
    if not abs(number) <= MAX_BOUND:
        raise ValueError(f"expected a bound of at most {MAX_BOUND:g} in magnitude, got {shown(number)}")
    if percent and not fraction:
        raise ValueError(f"{number:g}% on a metric that is not a fraction; write {number:g}")
    if fraction and not percent and abs(number) > most:
        raise ValueError(f'{number:g} on a fraction; write "{number:g}%" or {number / 100:g}')
    return float(Decimal(repr(number)) / 100 if percent else number)
