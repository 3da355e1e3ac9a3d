"""The flat tree: nodes in pre-order, each a frozen struct with integer children, parent and slot.

Nothing here recurses: real trees are hundreds of levels deep. A field that a space sweeps holds a `Placeholder`
instead of a value. Where a node stands in its file is computed from parent and slot when an error needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import TypeAlias, overload

import msgspec


class Kind(StrEnum):
    BASIC = "basic"
    FUNCTION = "function"
    INDICATOR = "indicator"
    NUMBERED = "numbered"
    POSITION = "position"
    CALL = "call"
    ALT_EXIT = "altExit"
    SCALING = "scaling"


class Join(StrEnum):
    IF = "if"
    AND = "and"
    OR = "or"


class Comparator(StrEnum):
    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"
    CROSS_ABOVE = "crossAbove"
    CROSS_BELOW = "crossBelow"

    @property
    def is_cross(self) -> bool:
        return self in (Comparator.CROSS_ABOVE, Comparator.CROSS_BELOW)


class Weighting(StrEnum):
    EQUAL = "equal"
    DEFINED = "defined"
    INVERSE = "inverse"
    PRO = "pro"
    CAPPED = "capped"


class Quantifier(StrEnum):
    ANY = "any"
    ALL = "all"
    NONE = "none"
    EXACTLY = "exactly"
    AT_LEAST = "atLeast"
    AT_MOST = "atMost"
    LADDER = "ladder"

    @property
    def counts(self) -> bool:
        """Whether it compares the number of true items with n."""
        return self in (Quantifier.EXACTLY, Quantifier.AT_LEAST, Quantifier.AT_MOST)


EMPTY = "Empty"
BRANCH_SLOTS = {
    **dict.fromkeys(("branch:then", "branch:from", "branch:enter"), "then"),
    **dict.fromkeys(("branch:else", "branch:to", "branch:exit"), "else"),
}
"""References to the simulated equity of a slot of the node that a condition belongs to."""


class Placeholder(msgspec.Struct, frozen=True):
    """Stands where an axis puts its values. `written` is the value in the file, None for a ``$name``."""

    axis: str
    written: int | float | str | None = None


Value: TypeAlias = int | float | str | Placeholder


class Ratio(msgspec.Struct, frozen=True):
    """The close of one ticker divided by that of another, on the dates on which both have a bar."""

    numerator: Value
    denominator: Value


class Several(msgspec.Struct, frozen=True):
    """A condition over tickers: it holds for any, or for all, of them."""

    quantifier: str
    tickers: tuple[Value, ...]


Subject: TypeAlias = Value | Ratio | Several
"""What an indicator is of: a ticker, a reference such as ``branch:then``, a ratio, several tickers."""


class Series(msgspec.Struct, frozen=True):
    """An indicator of a subject. The series of a function has no subject of its own: it is taken of each child."""

    metric: Value
    window: Value
    subject: Subject = ""


class Condition(msgspec.Struct, frozen=True):
    """A comparison. `right` is a number (threshold form) or a second series (expanded form)."""

    id: str
    join: Join
    left: Series
    comparator: Value
    right: Value | Series
    for_days: Value


class DateCondition(msgspec.Struct, frozen=True):
    """True from one day of the year to another, both included; the range may wrap over the year's end."""

    id: str
    join: Join
    month: Value
    day: Value
    to_month: Value
    to_day: Value


class ConditionList(msgspec.Struct, frozen=True):
    """Lines that are joined by AND and OR. place : where the list stands within its node. item : its id in a count."""

    place: str
    lines: tuple[Condition | DateCondition, ...]
    item: str = ""


class Slot(msgspec.Struct, frozen=True):
    """The children of one slot, as indices of nodes."""

    name: str
    children: tuple[int, ...]


class Node(msgspec.Struct, frozen=True):
    """One node.

    `parent` is -1 for the root; `position` is the index within the parent's slot as written (nulls counted).
    fields : name and value of its plain fields, such as ``weight`` (which counts under a parent with defined weighting)
    and the weightings of its slots; a weighting's own fields are there if it uses them.
    lists : of an indicator one, of an altExit entry and exit, of a numbered one per item.
    series : what a function ranks by, what a scaling blends by. call : the id of the definition that takes the place of
    a call; only trees as they are read hold calls. title : for people, no part of what the tree is.
    """

    id: str
    kind: Kind
    parent: int
    slot: str
    position: int
    fields: tuple[tuple[str, Value], ...] = ()
    slots: tuple[Slot, ...] = ()
    lists: tuple[ConditionList, ...] = ()
    series: Series | None = None
    positions: tuple[Value, ...] = ()
    call: str = ""
    title: str = ""

    @overload
    def get(self, name: str) -> Value | None: ...

    @overload
    def get(self, name: str, default: Value) -> Value: ...

    def get(self, name: str, default: Value | None = None) -> Value | None:
        """The value of a plain field."""
        return next((value for field, value in self.fields if field == name), default)

    def weighting(self, slot: str) -> Value:
        """The weighting of a slot."""
        return self.get(slot_field("weighting", slot)) or Weighting.EQUAL

    def with_field(self, name: str, value: Value | None) -> Node:
        """The node with a plain field set, or without it."""
        others = tuple(field for field in self.fields if field[0] != name)
        return msgspec.structs.replace(self, fields=others if value is None else ((name, value), *others))

    @property
    def conditions(self) -> Iterator[tuple[str, Condition | DateCondition]]:
        """(place within the node, condition) of every list."""
        for found in self.lists:
            yield from ((f"{found.place}[{k}]", line) for k, line in enumerate(found.lines))


class Tree(msgspec.Struct, frozen=True):
    """A strategy: `nodes[0]` is the root, children come after their parents."""

    nodes: tuple[Node, ...]

    def path(self, node: int) -> str:
        """The JSON path of a node below the root, empty for the root itself."""
        steps: list[str] = []
        while (n := self.nodes[node]).parent >= 0:
            steps.append(f"children.{n.slot}[{n.position}]")
            node = n.parent
        return ".".join(reversed(steps))

    def axes(self) -> tuple[str, ...]:
        """Ids of the axes this tree uses, in order of first use."""
        found = (value.axis for node in self.nodes for _, value in node_fields(node) if isinstance(value, Placeholder))
        return tuple(dict.fromkeys(found))


WEIGHTING_USES: dict[Weighting, tuple[str, ...]] = {
    Weighting.EQUAL: (),
    Weighting.DEFINED: (),
    Weighting.INVERSE: ("volWindow", "minCap", "maxCap"),
    Weighting.PRO: ("volWindow", "minCap", "maxCap"),
    Weighting.CAPPED: ("maxCap", "cappedFallback"),
}
WEIGHTING_FIELDS = ("weighting", "volWindow", "minCap", "maxCap", "cappedFallback")
WEIGHTING_DEFAULTS: dict[str, Value] = {"weighting": Weighting.EQUAL, "volWindow": 20, "minCap": 0.0, "maxCap": 100.0}


def slot_field(name: str, slot: str) -> str:
    """The JSON name of a weighting field of a slot: ``weightingThen``; ``next`` and ladder rungs have the plain one."""
    return name + (slot.capitalize() if slot in ("then", "else") else "")


def settled(node: Node) -> Node:
    """A concrete node without the fields that its weightings and its quantifier do not use."""
    unused = set()
    for slot in node.slots:
        used = WEIGHTING_USES[Weighting(str(node.weighting(slot.name)))]
        unused |= {slot_field(name, slot.name) for name in WEIGHTING_FIELDS[1:] if name not in used}
    if node.kind is Kind.NUMBERED and not Quantifier(str(node.get("numbered.quantifier", Quantifier.ALL))).counts:
        unused.add("numbered.n")
    return msgspec.structs.replace(node, fields=tuple(field for field in node.fields if field[0] not in unused))


def node_fields(node: Node) -> list[tuple[str, Value]]:
    """(field name within the node, value) of everything an axis could address, placeholders included."""
    found: list[tuple[str, Value]] = []

    def note(name: str, value: Value) -> Value:
        found.append((name, value))
        return value

    map_values(node, note)
    return found


Visit: TypeAlias = Callable[[str, Value], Value]


def map_values(node: Node, visit: Visit) -> Node:
    """A node with every addressable value replaced by ``visit(field name within the node, value)``."""
    names = ("scaleMetric", "scaleWindow", "scaleTicker") if node.kind is Kind.SCALING else ("metric", "window", "")
    return msgspec.structs.replace(
        node,
        fields=tuple((name, visit(name, value)) for name, value in node.fields),
        lists=tuple(_map_list(found, visit) for found in node.lists),
        series=node.series and _map_series(node.series, "", names, visit),
        positions=tuple(visit(f"positions[{k}]", value) for k, value in enumerate(node.positions)),
    )


def _map_list(found: ConditionList, visit: Visit) -> ConditionList:
    return msgspec.structs.replace(found, lines=tuple(_map_line(line, visit) for line in found.lines))


def _map_line(line: Condition | DateCondition, visit: Visit) -> Condition | DateCondition:
    at = f"{line.id}."
    if isinstance(line, DateCondition):
        month, day = visit(at + "dateMonth", line.month), visit(at + "dateDay", line.day)
        to_month, to_day = visit(at + "dateTo.month", line.to_month), visit(at + "dateTo.day", line.to_day)
        return DateCondition(line.id, line.join, month, day, to_month, to_day)
    left = _map_series(line.left, at, ("metric", "window", "ticker"), visit)
    comparator = visit(at + "comparator", line.comparator)
    if isinstance(line.right, Series):
        right = _map_series(line.right, at, ("rightMetric", "rightWindow", "rightTicker"), visit)
    else:
        right = visit(at + "threshold", line.right)
    return Condition(line.id, line.join, left, comparator, right, visit(at + "forDays", line.for_days))


def _map_series(series: Series, at: str, names: tuple[str, str, str], visit: Visit) -> Series:
    metric, window, ticker = names
    found_metric, found_window = visit(at + metric, series.metric), visit(at + window, series.window)
    return Series(found_metric, found_window, _map_subject(series.subject, at + ticker, visit) if ticker else "")


def _map_subject(subject: Subject, name: str, visit: Visit) -> Subject:
    match subject:
        case Ratio(numerator, denominator):
            return Ratio(visit(f"{name}[0]", numerator), visit(f"{name}[1]", denominator))
        case Several(quantifier, tickers):
            return Several(quantifier, tuple(visit(f"{name}[{k}]", value) for k, value in enumerate(tickers)))
        case _:
            return visit(name, subject)
