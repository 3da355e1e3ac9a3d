"""Conditions in Python: comparisons and dates, lists of them joined by ``&`` and ``|``, and counts of lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from forge_ray.errors import InputError, Problem, shown
from forge_ray.tree.builders.values import Name, Whole
from forge_ray.tree.nodes import Quantifier

if TYPE_CHECKING:
    from forge_ray.tree.builders.signals import Side, Signal

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


@dataclass(frozen=True, eq=False)
class Count:
    """How many of `items`, condition lists with their ids, are true. A whole condition: it joins with nothing."""

    quantifier: Name
    items: tuple[tuple[str | None, Conditions], ...]
    n: Whole | None = None

    def __and__(self, other: object) -> NoReturn:
        raise InputError([Problem("condition", "a count cannot be joined with & or |; nest if_, or count counts")])

    __or__ = __rand__ = __ror__ = __and__

    def __bool__(self) -> NoReturn:
        raise InputError([Problem("condition", "a count is neither true nor false here; it goes into if_")])


Items: TypeAlias = Conditions | Mapping[str, Conditions]


def between_dates(first: Day, last: Day) -> Conditions:
    """True from one (month, day) to another, both included; November to April goes over the year's end."""
    _check_day("between_dates", first)
    _check_day("between_dates", last)
    return Conditions(((Season(first, last),),))


def on_date(month: Whole, day: Whole) -> Conditions:
    """True on one day of every year."""
    return Conditions(((Season((month, day)),),))


def any_of(*items: Items) -> Count:
    """At least one of several conditions, for `if_`. Items as a mapping have its keys as their ids."""
    return count(Quantifier.ANY.value, *items)


def all_of(*items: Items) -> Count:
    """All of several conditions, for `if_`."""
    return count(Quantifier.ALL.value, *items)


def none_of(*items: Items) -> Count:
    """None of several conditions, for `if_`."""
    return count(Quantifier.NONE.value, *items)


def exactly(n: Whole, *items: Items) -> Count:
    """Exactly n of several conditions, for `if_`."""
    return count(Quantifier.EXACTLY.value, *items, n=n)


def at_least(n: Whole, *items: Items) -> Count:
    """At least n of several conditions, for `if_`."""
    return count(Quantifier.AT_LEAST.value, *items, n=n)


def at_most(n: Whole, *items: Items) -> Count:
    """At most n of several conditions, for `if_`."""
    return count(Quantifier.AT_MOST.value, *items, n=n)


def count(quantifier: Name, *items: Items, n: Whole | None = None) -> Count:
    """Any count by its name in JSON, which may be swept: any, all, none, exactly, atLeast, atMost."""
    return Count(quantifier, tuple(_named(items)), n)


def _named(items: Iterable[Items]) -> Iterator[tuple[str | None, Conditions]]:
    """(id, condition list) of the items of a count."""
    found = [pair for item in items for pair in (item.items() if isinstance(item, Mapping) else [(None, item)])]
    if not found:
        raise InputError([Problem("count", "expected at least one condition, got none")])
    for k, (name, conditions) in enumerate(found):
        check_conditions(f"count items[{k}]", conditions)
        yield name, conditions


def check_conditions(place: str, given: object, what: str = "a condition such as rsi('SPX', 10) < 30") -> None:
    """Raise `InputError` unless it is a condition list."""
    if not isinstance(given, Conditions):
        raise InputError([Problem(place, f"expected {what}, got {shown(given)}")])


def _check_day(place: str, day: object) -> None:
    if not isinstance(day, tuple) or len(day) != 2:
        raise InputError([Problem(place, f"expected a day as (month, day), such as (11, 1), got {shown(day)}")])
