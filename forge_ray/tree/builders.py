"""Trees written in Python: thin builders over the native JSON.

>>> buy = if_(indicator("RSI", "SPX", axis("n", "2..20")) < 30, hold("AAPL", "MSFT"), cash())
>>> tree, axes = buy.json(), buy.axes()

A builder only writes the JSON that `parse_tree` reads, so what a tree may hold is checked there, and a tree written in
Python has the hash of the same tree written in JSON. Ids that are not given are numbered in pre-order: nodes ``n1, n2,
…``, conditions ``c1, c2, …`` within their node.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from forge_ray.catalog import CASH, INDICATOR_BY_NAME
from forge_ray.errors import InputError, Problem, shown
from forge_ray.tree.nodes import Comparator, Kind, Weighting
from forge_ray.tree.outline import outline, outline_html


@dataclass(frozen=True)
class Swept:
    """A value that an axis sweeps. The same one may stand in several places; they then move together."""

    name: str
    values: str | tuple[Any, ...]
    around: int | float | None = None


Field = int | float | str | Swept


def axis(name: str, values: str | Iterable[Any], around: int | float | None = None) -> Swept:
    """An axis: a list of values, ``"5..14"``, ``"20..40 by 5"``, or ``"±3"`` and ``"±20% by 5%"`` around a number."""
    if isinstance(values, str) and values.lstrip().startswith("±") and around is None:
        raise InputError([Problem(f"axes.{name}", f"{values!r} is around a number; add it, as in around=14")])
    return Swept(name, values if isinstance(values, str) else tuple(values), around)


def indicator(metric: str | Swept, ticker: str | Swept, window: int | Swept | None = None) -> Signal:
    """An indicator of a ticker by name or alias. Compared with a number or another one, it becomes a condition."""
    return Signal(metric, ticker, window)


def if_(
    condition: Conditions, then: Draft | Iterable[Draft], else_: Draft | Iterable[Draft], id: str | None = None
) -> Draft:
    """One tree while the condition holds, else another. Several nodes on one side share it equally."""
    if not isinstance(condition, Conditions):
        raise InputError([Problem("if_", f"expected a condition such as rsi('SPX', 10) < 30, got {shown(condition)}")])
    slots = {"then": _drafts("if_ then", then), "else": _drafts("if_ else_", else_)}
    return Draft(Kind.INDICATOR, id, slots=slots, conditions=condition)


def hold(*tickers: str | Swept, id: str | None = None) -> Draft:
    """Hold tickers, each with the same share."""
    return Draft(Kind.POSITION, id, positions=tickers)


def cash(id: str | None = None) -> Draft:
    """Hold cash."""
    return hold(CASH, id=id)


def group(*children: Draft, weights: Iterable[int | float | Swept] | None = None, id: str | None = None) -> Draft:
    """Several trees side by side: equally weighted, or with one weight each (shares of their sum)."""
    members = _drafts("group", children)
    if weights is None:
        return Draft(Kind.BASIC, id, slots={"next": members})
    given = tuple(weights)
    if len(given) != len(members):
        raise InputError([Problem("group", f"{len(given)} weights for {len(members)} children; one each")])
    weighted = tuple(replace(child, weight=weight) for child, weight in zip(members, given, strict=True))
    return Draft(Kind.BASIC, id, slots={"next": weighted}, weighting=Weighting.DEFINED)


@dataclass(frozen=True, eq=False)
class Signal:
    """An indicator of a ticker; ``< <= > >=`` and the crosses make conditions of it."""

    metric: str | Swept
    ticker: str | Swept
    window: int | Swept | None = None

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

    def compare(self, comparator: str | Swept, other: Side) -> Conditions:
        """Any comparison by its name in JSON, which may be swept: lt, lte, gt, gte, crossAbove, crossBelow."""
        return Conditions(((Comparison(self, comparator, other),),))

    def __and__(self, other: object) -> NoReturn:
        """Python reads ``a < 30 & b > 5`` as ``a < (30 & b) > 5``."""
        raise InputError([Problem("condition", "put each comparison in parentheses: (a < 30) & (b > 5)")])

    __or__ = __rand__ = __ror__ = __and__


Side = int | float | Swept | Signal


@dataclass(frozen=True, eq=False)
class Comparison:
    """One line of a condition list."""

    left: Signal
    comparator: str | Swept
    right: Side
    days: int | Swept = 1
    id: str | None = None


@dataclass(frozen=True, eq=False)
class Conditions:
    """A condition list: `terms` are joined by OR, the comparisons within a term by AND. There are no parentheses."""

    terms: tuple[tuple[Comparison, ...], ...]

    def __and__(self, other: Conditions) -> Conditions:
        _check_conditions(other)
        if len(self.terms) != 1 or len(other.terms) != 1:
            text = "AND binds tighter than OR, and there are no parentheses; write (a & c) | (b & c), or nest if_"
            raise InputError([Problem("condition", f"(a | b) & c cannot be written: {text}")])
        return Conditions((self.terms[0] + other.terms[0],))

    def __or__(self, other: Conditions) -> Conditions:
        _check_conditions(other)
        return Conditions(self.terms + other.terms)

    def __bool__(self) -> NoReturn:
        text = "is neither true nor false here; join with & and |, not with and, or, not or a chain such as 5 < a < 10"
        raise InputError([Problem("condition", text)])

    def for_days(self, days: int | Swept) -> Conditions:
        """True once the comparison has held on `days` bars in a row."""
        return self._changed("for_days", days=days)

    def named(self, id: str) -> Conditions:
        """The same comparison with an id, which paths and warnings name it by."""
        return self._changed("named", id=id)

    def _changed(self, method: str, **change: Any) -> Conditions:
        if len(self.terms) != 1 or len(self.terms[0]) != 1:
            raise InputError([Problem(method, "belongs to one comparison; apply it before joining with & or |")])
        return Conditions(((replace(self.terms[0][0], **change),),))


@dataclass(frozen=True, eq=False, repr=False)
class Draft:
    """A node with everything below it, as written in Python. Shows itself as an outline."""

    kind: Kind
    id: str | None
    slots: dict[str, tuple[Draft, ...]] = field(default_factory=dict)
    conditions: Conditions | None = None
    positions: tuple[str | Swept, ...] = ()
    weighting: Weighting = Weighting.EQUAL
    weight: int | float | Swept | None = None

    def json(self) -> dict[str, Any]:
        """The tree as native JSON, axes as ``$name``. Raises `InputError` if two axes of one name differ."""
        return self._written().tree

    def axes(self) -> dict[str, Any]:
        """The axes of the tree as a job holds them, in the order of their first use."""
        return self._written().axes

    def _written(self) -> _Writer:
        writer = _Writer(self)
        if writer.problems:
            raise InputError(writer.problems)
        return writer

    def __repr__(self) -> str:
        return outline(_Writer(self).tree)

    def _repr_html_(self) -> str:
        return outline_html(_Writer(self).tree)


class _Writer:
    """Writes a draft in pre-order, without recursion, and collects the axes that it meets."""

    def __init__(self, root: Draft):
        self.swept: dict[str, Swept] = {}
        self.axes: dict[str, Any] = {}
        self.problems: list[Problem] = []
        found: list[dict[str, Any]] = []
        stack = [(root, found)]
        n = 0
        while stack:
            draft, siblings = stack.pop()
            n += 1
            siblings.append(data := self.node(draft, draft.id or f"n{n}"))
            if draft.slots:
                data["children"] = {name: [] for name in draft.slots}
            for name, children in reversed(draft.slots.items()):
                stack += [(child, data["children"][name]) for child in reversed(children)]
        self.tree = found[0]

    def node(self, draft: Draft, id: str) -> dict[str, Any]:
        data: dict[str, Any] = {"id": id, "kind": draft.kind.value}
        if draft.weight is not None:
            data["weight"] = self.value(draft.weight, f"{id}.weight")
        if draft.weighting is not Weighting.EQUAL:
            data["weighting"] = draft.weighting.value
        if draft.conditions is not None:
            data["conditions"] = list(self.conditions(draft.conditions, id))
        if draft.kind is Kind.POSITION:
            data["positions"] = [self.value(p, f"{id}.positions[{k}]") for k, p in enumerate(draft.positions)]
        return data

    def conditions(self, conditions: Conditions, node: str) -> Iterator[dict[str, Any]]:
        lines = [(k == 0, comparison) for term in conditions.terms for k, comparison in enumerate(term)]
        for k, (begins, comparison) in enumerate(lines):
            join = "if" if k == 0 else "or" if begins else "and"
            yield self.condition(comparison, comparison.id or f"c{k + 1}", join, node)

    def condition(self, comparison: Comparison, id: str, join: str, node: str) -> dict[str, Any]:
        right = comparison.right
        fields: dict[str, Any] = {"comparator": comparison.comparator, "forDays": comparison.days}
        fields |= _side(comparison.left, "metric", "ticker", "window")
        if isinstance(right, Signal):
            fields |= _side(right, "rightMetric", "rightTicker", "rightWindow")
        else:
            fields["threshold"] = right
        written = {name: self.value(value, f"{node}.{id}.{name}") for name, value in fields.items()}
        expanded = {"expanded": True} if isinstance(right, Signal) else {}
        return {"id": id, "type": join, **written, **expanded}

    def value(self, value: Field, path: str) -> Any:
        """A value as JSON writes it; an axis is noted, by path if it is around a number."""
        if not isinstance(value, Swept):
            return value
        if (known := self.swept.setdefault(value.name, value)) != value:
            text = f"{shown(known.values)} and {shown(value.values)}; an axis has one list of values"
            self.problems.append(Problem(f"axes.{value.name}", text))
        values = value.values if isinstance(value.values, str) else list(value.values)
        if value.around is None:
            self.axes[value.name] = values
            return f"${value.name}"
        self.axes.setdefault(value.name, {"paths": [], "values": values})["paths"].append(path)
        return value.around


def _side(signal: Signal, metric: str, ticker: str, window: str) -> dict[str, Any]:
    fields: dict[str, Any] = {metric: signal.metric, ticker: signal.ticker}
    return fields if signal.window is None else fields | {window: signal.window}


def _drafts(place: str, given: Draft | Iterable[Draft]) -> tuple[Draft, ...]:
    drafts = (given,) if isinstance(given, Draft) else tuple(given) if isinstance(given, Iterable) else (given,)
    if wrong := [item for item in drafts if not isinstance(item, Draft)]:
        raise InputError([Problem(place, f"expected a tree such as hold('AAPL'), got {shown(wrong[0])}")])
    return drafts


def _check_conditions(other: object) -> None:
    if not isinstance(other, Conditions):
        raise InputError([Problem("condition", f"expected a condition to join with, got {shown(other)}")])


def _function(name: str) -> Callable[..., Signal]:
    """The builder of one indicator, named after it, taking its ticker and, if it has one, its window."""
    entry = INDICATOR_BY_NAME[name]

    def windowed(ticker: str | Swept, window: int | Swept) -> Signal:
        return Signal(entry.name, ticker, window)

    def windowless(ticker: str | Swept) -> Signal:
        return Signal(entry.name, ticker)

    function = windowed if entry.windowed else windowless
    function.__name__ = function.__qualname__ = function_name(name)
    function.__doc__ = f"{entry.name} of a ticker ({entry.unit}): {entry.formula}."
    return function


def function_name(name: str) -> str:
    """The Python name of an indicator: "Simple Moving Average" is ``simple_moving_average``, "%B" ``percent_b``."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower().replace("%", " percent ")).strip("_")


INDICATOR_FUNCTIONS: dict[str, Callable[..., Signal]] = {
    function_name(name): _function(name) for name in INDICATOR_BY_NAME if function_name(name).isidentifier()
}
