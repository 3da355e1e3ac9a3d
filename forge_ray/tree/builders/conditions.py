"""Conditions in Python: comparisons of signals, and dates, in lists joined by ``&`` and ``|``.

A signal makes comparisons and is held by them; a formula makes signals and is held by them. So they stand together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeAlias

from forge_ray.errors import InputError, Problem, shown
from forge_ray.tree.builders.values import Name, Number, Subject, Whole
from forge_ray.tree.nodes import Comparator


@dataclass(frozen=True)
class Formula:
    """An indicator written as a formula. Called with a ticker, and a window if it has one, it is a signal."""

    name: str
    text: str

    def __call__(self, ticker: Subject, window: Whole | None = None) -> Signal:
        return Signal(self, ticker, window)


@dataclass(frozen=True, eq=False)
class Signal:
    """An indicator of a ticker; ``< <= > >=`` and the crosses make conditions of it."""

    metric: Metric
    ticker: Subject
    window: Whole | None = None

    def __lt__(self, other: Side) -> Conditions:
        return self.compare(Comparator.LT.value, other)

    def __le__(self, other: Side) -> Conditions:
        return self.compare(Comparator.LTE.value, other)

    def __gt__(self, other: Side) -> Conditions:
        return self.compare(Comparator.GT.value, other)

    def __ge__(self, other: Side) -> Conditions:
        return self.compare(Comparator.GTE.value, other)

    def crosses_above(self, other: Side) -> Conditions:
        """True on the bar on which this goes from at or below the other side to above it."""
        return self.compare(Comparator.CROSS_ABOVE.value, other)

    def crosses_below(self, other: Side) -> Conditions:
        """True on the bar on which this goes from at or above the other side to below it."""
        return self.compare(Comparator.CROSS_BELOW.value, other)

    def compare(self, comparator: Name, other: Side) -> Conditions:
        """Any comparison by its name in JSON, which may be swept: lt, lte, gt, gte, crossAbove, crossBelow."""
        return Conditions(((Comparison(self, comparator, other),),))

    def __and__(self, other: object) -> NoReturn:
        """Python reads ``a < 30 & b > 5`` as ``a < (30 & b) > 5``."""
        raise InputError([Problem("condition", "put each comparison in parentheses: (a < 30) & (b > 5)")])

    __or__ = __rand__ = __ror__ = __and__


Metric: TypeAlias = Name | Formula
Side: TypeAlias = Number | Signal
Day: TypeAlias = tuple[Whole, Whole]
"""Month and day of the month."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """One line of a condition list."""

    left: Signal
    comparator: Name
    right: Side
    days: Whole = 1
    id: str | None = None


@dataclass(frozen=True, eq=False)
class Season:
    """A line that is true from one day of the year to another; without `last`, on that one day."""

    first: Day
    last: Day | None = None
    id: str | None = None


@dataclass(frozen=True, eq=False)
class Conditions:
    """A condition list: `terms` are joined by OR, the lines within a term by AND. There are no parentheses."""

    terms: tuple[tuple[Comparison | Season, ...], ...]

    def __and__(self, other: Conditions) -> Conditions:
        check_conditions("condition", other, "a condition to join with")
        if len(self.terms) != 1 or len(other.terms) != 1:
            text = "AND binds tighter than OR, and there are no parentheses; write (a & c) | (b & c), or nest if_"
            raise InputError([Problem("condition", f"(a | b) & c cannot be written: {text}")])
        return Conditions((self.terms[0] + other.terms[0],))

    def __or__(self, other: Conditions) -> Conditions:
        check_conditions("condition", other, "a condition to join with")
        return Conditions(self.terms + other.terms)

    def __bool__(self) -> NoReturn:
        text = "is neither true nor false here; join with & and |, not with and, or, not or a chain such as 5 < a < 10"
        raise InputError([Problem("condition", text)])

    def for_days(self, days: Whole) -> Conditions:
        """True once the comparison has held on `days` bars in a row."""
        if isinstance(self._only("for_days"), Season):
            raise InputError([Problem("for_days", "belongs to a comparison; a date lasts as long as it says")])
        return self._changed("for_days", days=days)

    def named(self, id: str) -> Conditions:
        """The same line with an id, which paths and warnings name it by."""
        return self._changed("named", id=id)

    def _only(self, method: str) -> Comparison | Season:
        if len(self.terms) != 1 or len(self.terms[0]) != 1:
            raise InputError([Problem(method, "belongs to one comparison; apply it before joining with & or |")])
        return self.terms[0][0]

    def _changed(self, method: str, **change: Any) -> Conditions:
        return Conditions(((replace(self._only(method), **change),),))


def between_dates(first: Day, last: Day) -> Conditions:
    """True from one (month, day) to another, both included; November to April goes over the year's end."""
    _check_day("between_dates", first)
    _check_day("between_dates", last)
    return Conditions(((Season(first, last),),))


def on_date(month: Whole, day: Whole) -> Conditions:
    """True on one day of every year."""
    return Conditions(((Season((month, day)),),))


def check_conditions(place: str, given: object, what: str = "a condition such as rsi('SPX', 10) < 30") -> None:
    """Raise `InputError` unless it is a condition list."""
    if not isinstance(given, Conditions):
        raise InputError([Problem(place, f"expected {what}, got {shown(given)}")])


def _check_day(place: str, day: object) -> None:
    if not isinstance(day, tuple) or len(day) != 2:
        raise InputError([Problem(place, f"expected a day as (month, day), such as (11, 1), got {shown(day)}")])
