"""The flat tree: nodes in pre-order, each a frozen struct with integer children, parent and slot.

Nothing here recurses: real trees are hundreds of levels deep. A field that a space sweeps holds a `Placeholder`
instead of a value. Where a node stands in its file is computed from parent and slot when an error needs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

import msgspec


class Kind(StrEnum):
    BASIC = "basic"
    INDICATOR = "indicator"
    POSITION = "position"
    CALL = "call"


SLOTS: dict[Kind, tuple[str, ...]] = {
    Kind.BASIC: ("next",),
    Kind.INDICATOR: ("then", "else"),
    Kind.POSITION: (),
    Kind.CALL: (),
}


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


EMPTY = "Empty"


class Placeholder(msgspec.Struct, frozen=True):
    """Stands where an axis puts its values. `written` is the value in the file, None for a ``$name``."""

    axis: str
    written: int | float | str | None = None


Value = int | float | str | Placeholder


class Series(msgspec.Struct, frozen=True):
    """One side of a condition: an indicator of a ticker."""

    metric: Value
    window: Value
    ticker: Value


class Condition(msgspec.Struct, frozen=True):
    """One line of a condition list. `right` is a number (threshold form) or a second series (expanded form)."""

    id: str
    join: Join
    left: Series
    comparator: Value
    right: Value | Series
    for_days: Value


class Slot(msgspec.Struct, frozen=True):
    """The children of one slot and how their allocations are weighted."""

    name: str
    weighting: Value
    children: tuple[int, ...]


class Node(msgspec.Struct, frozen=True):
    """One node. `weight` counts under a parent slot with defined weighting, and only there.

    `parent` is -1 for the root; `position` is the index within the parent's slot as written (nulls counted). `call` is
    the id of the definition that takes the place of a call; only trees as they are read hold calls.
    """

    id: str
    kind: Kind
    parent: int
    slot: str
    position: int
    weight: Value | None
    slots: tuple[Slot, ...] = ()
    conditions: tuple[Condition, ...] = ()
    positions: tuple[Value, ...] = ()
    call: str = ""


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


def node_fields(node: Node) -> Iterator[tuple[str, Value]]:
    """(field name within the node, value) of everything an axis could address, placeholders included."""
    if node.weight is not None:
        yield "weight", node.weight
    for slot in node.slots:
        yield weighting_field(slot.name), slot.weighting
    for condition in node.conditions:
        for name, value in condition_fields(condition):
            yield f"{condition.id}.{name}", value
    for index, position in enumerate(node.positions):
        yield f"positions[{index}]", position


def condition_fields(condition: Condition) -> Iterator[tuple[str, Value]]:
    left, right = condition.left, condition.right
    yield from (("metric", left.metric), ("window", left.window), ("ticker", left.ticker))
    yield "comparator", condition.comparator
    if isinstance(right, Series):
        yield from (("rightMetric", right.metric), ("rightWindow", right.window), ("rightTicker", right.ticker))
    else:
        yield "threshold", right
    yield "forDays", condition.for_days


def weighting_field(slot: str) -> str:
    """The JSON field that holds the weighting of a slot."""
    return "weighting" if slot == "next" else f"weighting{slot.capitalize()}"
