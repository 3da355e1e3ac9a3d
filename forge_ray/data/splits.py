"""Segments: named masks over returns by exchange date. `is` is where one may search, `oos` is where one may not.

An interleaved split (even and odd months or years) is a holdout between the searched days, not a test on the future.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, DecimalException
from typing import Any

import numpy as np

from forge_ray.data.panel import as_day
from forge_ray.errors import InputError, Problem, nearest, shown

PLAIN = ("even_odd_month", "even_odd_year", "none")
_FORMS = '{"holdout": "30%"}, {"chronological": "70%" or "YYYY-MM-DD"}, ' + ", ".join(f'"{name}"' for name in PLAIN)


@dataclass(frozen=True)
class Split:
    """How the returns are divided. `value` is a share (Decimal) or a date for the kinds that take one."""

    kind: str
    value: Decimal | date | None = None

    def canonical(self) -> Any:
        """The split as the JSON value it is written as."""
        return self.kind if self.value is None else {self.kind: str(self.value)}


def parse_split(value: object, place: str) -> Split:
    """Read a split. Raises `InputError` with what is allowed."""
    if isinstance(value, str) and value in PLAIN:
        return Split(value)
    if isinstance(value, dict) and len(value) == 1:
        kind, amount = next(iter(value.items()))
        if kind == "holdout":
            return Split(kind, _share(amount, f"{place}.{kind}"))
        if kind == "chronological":
            return Split(kind, _date(amount) or _share(amount, f"{place}.{kind}", " or a date as YYYY-MM-DD"))
    hint = nearest(value, [*PLAIN, "holdout", "chronological"]) if isinstance(value, str) else ""
    raise InputError([Problem(place, f"unknown split {shown(value)}{hint}; allowed: {_FORMS}")])


def _share(value: object, place: str, or_else: str = "") -> Decimal:
    text = value.strip() if isinstance(value, str) else repr(value) if isinstance(value, float) else ""
    percent = text.endswith("%")
    try:
        share = Decimal(text.removesuffix("%").strip()) / (100 if percent else 1)
    except DecimalException:
        share = Decimal("NaN")
    if not share.is_finite() or not 0 < share < 1:
        text = f'expected a share above 0 and below 100% such as "30%"{or_else}, got {shown(value)}'
        raise InputError([Problem(place, text)])
    return share.normalize()


def _date(value: object) -> date | None:
    try:
        return date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def split_masks(split: Split, dates: np.ndarray) -> dict[str, np.ndarray]:
    """Masks (n,) bool of the segments full, is and oos over returns with these dates (int64 days)."""
    full = np.ones(len(dates), bool)
    if split.kind == "none":
        return {"full": full, "is": ~full, "oos": ~full}
    searched = _SEARCHED[split.kind](split, dates)
    return {"full": full, "is": searched, "oos": ~searched}


def _first(dates: np.ndarray, count: int) -> np.ndarray:
    return np.arange(len(dates)) < count


def _holdout(split: Split, dates: np.ndarray) -> np.ndarray:
    return _first(dates, len(dates) - int(Decimal(len(dates)) * split.value))  # type: ignore[operator]


def _chronological(split: Split, dates: np.ndarray) -> np.ndarray:
    if isinstance(split.value, date):
        return dates < as_day(split.value)
    return _first(dates, int(Decimal(len(dates)) * split.value))  # type: ignore[operator]


def _odd_month(split: Split, dates: np.ndarray) -> np.ndarray:
    return dates.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 2 == 0  # month 0 is January 1970


def _odd_year(split: Split, dates: np.ndarray) -> np.ndarray:
    return dates.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) % 2 == 1  # year 0 is 1970


_SEARCHED: dict[str, Callable[[Split, np.ndarray], np.ndarray]] = {
    "holdout": _holdout,
    "chronological": _chronological,
    "even_odd_month": _odd_month,
    "even_odd_year": _odd_year,
}
