"""Counts of conditions in Python: how many of several condition lists are true."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

from forge_ray.errors import InputError, Problem
from forge_ray.tree.builders.conditions import Conditions, check_conditions
from forge_ray.tree.builders.values import Name, Whole
from forge_ray.tree.nodes import Quantifier


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
