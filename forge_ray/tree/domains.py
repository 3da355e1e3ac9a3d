"""What a field may hold. One domain per sweepable field: the same rule reads the file and checks axis values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeGuard

from forge_ray.catalog import CASH, INDICATOR_BY_NAME
from forge_ray.errors import listed, nearest, shown
from forge_ray.tree.nodes import BRANCH_SLOTS, EMPTY, WEIGHTING_FIELDS, Comparator, Quantifier, Weighting

MAX_WINDOW = 100_000
MAX_FOR_DAYS = 10_000
MAX_COUNT = 100_000
MAX_WEIGHT = 1e15  # shares are weights over their sum, which must be finite
CUSTOM = "custom:"
DATE = "Date"
SCORES = ("allocation", "equity", "tickers")
RANKS = ("top", "bottom")

_CUSTOM = re.compile(rf"{CUSTOM}[A-Za-z0-9_-]+")
_TICKER = re.compile(r"[A-Za-z0-9^][A-Za-z0-9._^=/-]{0,31}")


@dataclass(frozen=True, slots=True)
class Domain:
    """The values of one field. `read` returns the normal form or raises ValueError saying what is allowed.

    what : the allowed values in words, for a field that is missing.
    """

    name: str
    read: Callable[[object], int | float | str]
    what: str
    numeric: bool = False
    integer: bool = False


def read_integer(low: int, high: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        number = value if isinstance(value, int | float) and not isinstance(value, bool) else low - 1
        if not low <= number <= high or number != int(number):
            raise ValueError(f"expected an integer from {low} to {high:,}, got {shown(value)}")
        return int(number)

    return read


def read_number(value: object) -> float:
    if not _is_finite(value):
        raise ValueError(f"expected a finite number, got {shown(value)}")
    return float(value)


def _is_finite(value: object) -> TypeGuard[int | float]:
    try:
        return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(float(value))
    except OverflowError:
        return False


def read_within(low: float, high: float, what: str) -> Callable[[object], float]:
    def read(value: object) -> float:
        if not _is_finite(value) or not low <= value <= high:
            raise ValueError(f"expected {what} from {low:g} to {high:g}, got {shown(value)}")
        return float(value)

    return read


def read_ticker(value: object) -> str:
    if not isinstance(value, str) or not _TICKER.fullmatch(value) or ".." in value:
        raise ValueError(
            f"expected a ticker (letters, digits and . _ ^ = / -, at most 32, no '..'), got {shown(value)}"
        )
    return value


def read_position(value: object) -> str:
    """A ticker, CASH or Empty."""
    if isinstance(value, dict) or (isinstance(value, str) and value.startswith("branch:")):
        raise ValueError(f"{shown(value)} cannot be held; allowed: a ticker, {CASH}, {EMPTY}")
    return read_ticker(value)


def read_signal_ticker(value: object) -> str:
    if value in (CASH, EMPTY):
        raise ValueError(f"expected a ticker with prices, got {shown(value)}")
    return read_ticker(value)


def read_subject(value: object) -> str:
    """A ticker with prices, or a reference to a slot in its normal form."""
    if isinstance(value, str) and value.startswith("branch:"):
        if value not in BRANCH_SLOTS:
            raise ValueError(_outside("reference", value, list(BRANCH_SLOTS)))
        return f"branch:{BRANCH_SLOTS[value]}"
    return read_signal_ticker(value)


def read_metric(value: object) -> str:
    if isinstance(value, str) and value.startswith(CUSTOM):
        if not _CUSTOM.fullmatch(value):
            raise ValueError(f"expected {CUSTOM}NAME, a name of letters, digits, '_' and '-', got {shown(value)}")
        return value
    if value == DATE:
        fields = "dateMonth, dateDay, dateTo"
        raise ValueError(f"{shown(value)} is a condition by itself, with {fields}; allowed here: an indicator")
    if not isinstance(value, str) or value not in INDICATOR_BY_NAME:
        raise ValueError(_outside("indicator", value, list(INDICATOR_BY_NAME)))
    return INDICATOR_BY_NAME[value].name


def read_choice(what: str, choices: tuple[str, ...]) -> Callable[[object], str]:
    def read(value: object) -> str:
        if not isinstance(value, str) or value not in choices:
            raise ValueError(_outside(what, value, list(choices)))
        return value

    return read


def _outside(what: str, value: object, allowed: list[str]) -> str:
    hint = nearest(value, allowed) if isinstance(value, str) else ""
    return f"unknown {what} {shown(value)}{hint}; allowed: {listed(allowed)}"


_INTEGER = "an integer from {} to {:,}"
WINDOW = Domain("window", read_integer(1, MAX_WINDOW), _INTEGER.format(1, MAX_WINDOW), True, True)
FOR_DAYS = Domain("forDays", read_integer(1, MAX_FOR_DAYS), _INTEGER.format(1, MAX_FOR_DAYS), True, True)
THRESHOLD = Domain("threshold", read_number, "a finite number", numeric=True)
WEIGHT = Domain("weight", read_within(0, MAX_WEIGHT, "a weight"), f"a weight from 0 to {MAX_WEIGHT:g}", numeric=True)
TICKER = Domain("ticker", read_signal_ticker, "a ticker with prices")
SUBJECT = Domain("ticker", read_subject, "a ticker with prices")
POSITION = Domain("position", read_position, "a ticker")
METRIC = Domain("metric", read_metric, f"one of {listed(INDICATOR_BY_NAME)}")
COMPARATOR = Domain("comparator", read_choice("comparator", tuple(Comparator)), f"one of {', '.join(Comparator)}")
WEIGHTING = Domain("weighting", read_choice("weighting", tuple(Weighting)), f"one of {', '.join(Weighting)}")
PERCENT = Domain("percent", read_within(0, 100, "percent"), "percent from 0 to 100", numeric=True)
RANK = Domain("rank", read_choice("rank", RANKS), f"one of {', '.join(RANKS)}")
SCORE = Domain("score", read_choice("score", SCORES), f"one of {', '.join(SCORES)}")
PICK = Domain("n", read_integer(1, MAX_COUNT), _INTEGER.format(1, MAX_COUNT), True, True)
COUNT = Domain("n", read_integer(0, MAX_COUNT), _INTEGER.format(0, MAX_COUNT), True, True)
QUANTIFIER = Domain("quantifier", read_choice("quantifier", tuple(Quantifier)), f"one of {', '.join(Quantifier)}")
_COUNTS = tuple(quantifier for quantifier in Quantifier if quantifier is not Quantifier.LADDER)
_SWEPT_QUANTIFIER = Domain("quantifier", read_choice("quantifier", _COUNTS), "")  # a ladder has other slots
MONTH = Domain("month", read_integer(1, 12), _INTEGER.format(1, 12), True, True)
DAY = Domain("day", read_integer(1, 31), _INTEGER.format(1, 31), True, True)

_DOMAINS: dict[str, Domain] = {
    "metric": METRIC, "window": WINDOW, "ticker": TICKER, "comparator": COMPARATOR, "threshold": THRESHOLD,
    "rightMetric": METRIC, "rightWindow": WINDOW, "rightTicker": TICKER, "forDays": FOR_DAYS,
    "dateMonth": MONTH, "dateDay": DAY, "month": MONTH, "day": DAY,
    "scaleMetric": METRIC, "scaleWindow": WINDOW, "scaleTicker": TICKER, "scaleFrom": THRESHOLD, "scaleTo": THRESHOLD,
    "rank": RANK, "n": PICK, "of": SCORE, "quantifier": _SWEPT_QUANTIFIER, "numbered.n": COUNT,
    "weight": WEIGHT, "weighting": WEIGHTING, "volWindow": WINDOW, "minCap": PERCENT, "maxCap": PERCENT,
    "cappedFallback": POSITION, "positions": POSITION,
}  # fmt: skip
_SLOT_FIELD = re.compile(rf"({'|'.join(WEIGHTING_FIELDS)})(Then|Else)")


def domain_of(field: str) -> Domain:
    """What an axis may put into a field, named as `node_fields` yields it (``dip.window``, ``positions[0]``)."""
    if field in _DOMAINS:
        return _DOMAINS[field]
    name = field.rsplit(".", 1)[-1]
    if match := _SLOT_FIELD.fullmatch(name):
        name = match[1]
    return _DOMAINS[name.split("[", 1)[0]]
