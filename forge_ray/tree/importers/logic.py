"""Any/all conditions of any depth → what a native gate can hold, with the same three-valued truth.

A native condition list is an OR of ANDs. Kleene's AND and OR distribute over each other (they are minimum and maximum
of false < unknown < true), so multiplying out changes nothing, an unknown included:

1. Nested parts with the operator of their parent are joined with it.
2. An OR of at most `SMALL` ANDs becomes a condition list.
3. An AND whose parts are each such a list becomes a `numbered` node that asks for all of them.
4. Otherwise the AND of ORs is tried, as such a `numbered` node, then a longer list, up to `LARGE` of either.

Nested gates would not do: an unknown outer gate ends in cash, where unknown AND false is false.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, product
from typing import Any, Literal, TypeAlias

SMALL = 64
LARGE = 1_024

Line: TypeAlias = dict[str, Any]
"""A native condition without `id` and `type`."""


@dataclass(slots=True)
class Junction:
    """`any` or `all` of its parts."""

    operator: Literal["any", "all"]
    parts: list[Condition]


Condition: TypeAlias = Junction | Line
Terms: TypeAlias = list[list[Line]]


class TooComplexError(ValueError):
    """A condition that neither an OR of ANDs nor an AND of ORs of the allowed size can express."""


def gate(condition: Condition) -> dict[str, Any]:
    """The fields of the native node that decides by a condition. Raises `TooComplexError`."""
    condition = flat(condition)
    if width(condition, "any") <= SMALL:
        return _indicator(condition)
    parts = condition.parts if isinstance(condition, Junction) and condition.operator == "all" else [condition]
    if all(width(part, "any") <= SMALL for part in parts):
        return _all_of([terms(part, "any") for part in parts])
    if width(condition, "all") <= LARGE:
        return _all_of([[[line] for line in clause] for clause in terms(condition, "all")])
    if width(condition, "any") <= LARGE:
        return _indicator(condition)
    raise TooComplexError(_too_complex(condition, f"an OR of {LARGE:,} ANDs or an AND of {LARGE:,} ORs"))


def condition_list(condition: Condition) -> list[Line]:
    """A condition as a native list, for places that hold nothing else. Raises `TooComplexError`."""
    condition = flat(condition)
    if width(condition, "any") > LARGE:
        raise TooComplexError(_too_complex(condition, f"an OR of {LARGE:,} ANDs"))
    return joined(terms(condition, "any"))


def joined(found: Terms) -> list[Line]:
    """An OR of ANDs as a native list."""
    return [
        {"type": "and" if k else "or" if t else "if", **line}
        for t, term in enumerate(found)
        for k, line in enumerate(term)
    ]


def split(lines: list[Line]) -> list[list[Line]]:
    """The OR terms of a native list: `or` and a mid-list `if` start a new one."""
    found: Terms = []
    for line in lines:
        if not found or line.get("type", "and") != "and":
            found.append([])
        found[-1].append(line)
    return found


def _too_complex(condition: Condition, allowed: str) -> str:
    sizes = f"an OR of {width(condition, 'any'):,} ANDs, or an AND of {width(condition, 'all'):,} ORs"
    return f"multiplied out this condition is {sizes}; allowed: {allowed}"


def _indicator(condition: Condition) -> dict[str, Any]:
    return {"kind": "indicator", "conditions": joined(terms(condition, "any"))}


def _all_of(lists: list[Terms]) -> dict[str, Any]:
    items = [{"conditions": joined(found)} for found in lists]
    return {"kind": "numbered", "numbered": {"quantifier": "all", "items": items}}


def post_order(condition: Condition) -> list[Condition]:
    """Every part, parts before the whole."""
    found, stack = [], [condition]
    while stack:
        found.append(part := stack.pop())
        if isinstance(part, Junction):
            stack.extend(part.parts)
    return found[::-1]


def flat(condition: Condition) -> Condition:
    """Parts of a part with the same operator become parts of the whole; a junction of one is that one."""
    done: dict[int, Condition] = {}
    for part in post_order(condition):
        if isinstance(part, Junction):
            below = [done[id(inner)] for inner in part.parts]
            parts = list(chain.from_iterable(
                inner.parts if isinstance(inner, Junction) and inner.operator == part.operator else [inner]
                for inner in below
            ))  # fmt: skip
            done[id(part)] = parts[0] if len(parts) == 1 else Junction(part.operator, parts)
        else:
            done[id(part)] = part
    return done[id(condition)]


def width(condition: Condition, outer: str) -> int:
    """How many terms the form has whose outer operator is `outer`."""
    sizes: dict[int, int] = {}
    for part in post_order(condition):
        size = 1
        if isinstance(part, Junction):
            below = [sizes[id(inner)] for inner in part.parts]
            size = sum(below) if part.operator == outer else _product(below)
        sizes[id(part)] = size
    return sizes[id(condition)]


def _product(sizes: list[int]) -> int:
    found = 1
    for size in sizes:
        found = min(found * size, 10**12)
    return found


def terms(condition: Condition, outer: str) -> Terms:
    """The condition multiplied out, `outer` over the other operator."""
    done: dict[int, Terms] = {}
    for part in post_order(condition):
        if not isinstance(part, Junction):
            done[id(part)] = [[part]]
            continue
        below = [done[id(inner)] for inner in part.parts]
        if part.operator == outer:
            done[id(part)] = list(chain.from_iterable(below))
        else:
            done[id(part)] = [list(chain.from_iterable(choice)) for choice in product(*below)]
    return done[id(condition)]
