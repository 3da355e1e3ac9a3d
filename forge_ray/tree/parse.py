"""Native JSON → `Tree`, read strictly: every mistake of the file is reported, with its JSON path, at once.

1. Walk the JSON nodes in pre-order with an explicit stack.
2. Read each node by the fields of its kind; a problem is collected and the walk goes on.
3. Check what needs the whole tree: unique ids, defined weights, crosses with forDays.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from forge_ray.catalog import INDICATOR_BY_NAME
from forge_ray.errors import InputError, Problem, shown, unknown
from forge_ray.tree import domains
from forge_ray.tree.domains import Domain
from forge_ray.tree.nodes import (
    SLOTS,
    Comparator,
    Condition,
    Join,
    Kind,
    Node,
    Placeholder,
    Series,
    Slot,
    Tree,
    Value,
    Weighting,
    weighting_field,
)

MAX_NODES_DEEP = 1_000

_ID = re.compile(r"[A-Za-z0-9_-]+")
_AXIS = re.compile(r"\$([a-z][a-z0-9_]{0,31})")
_DISPLAY = ("title", "bgColor", "collapsed")
_COMMON = ("id", "kind", "weight", *_DISPLAY)
_FIELDS: dict[Kind, tuple[str, ...]] = {
    Kind.BASIC: (*_COMMON, "children", "weighting"),
    Kind.INDICATOR: (*_COMMON, "children", "weightingThen", "weightingElse", "conditions"),
    Kind.POSITION: (*_COMMON, "positions"),
}
_CONDITION_FIELDS = (
    "id", "type", "metric", "window", "ticker", "comparator", "threshold", "expanded",
    "rightTicker", "rightMetric", "rightWindow", "forDays", "title",
)  # fmt: skip


class TreeError(InputError):
    """A tree that cannot be read."""


def parse_tree(data: object, *, place: str = "tree", max_depth: int = MAX_NODES_DEEP) -> Tree:
    """Read a tree from parsed JSON. Raises `TreeError` with every problem found; `place` prefixes the paths."""
    tree, problems = read_tree(data, place=place, max_depth=max_depth)
    if problems:
        raise TreeError(problems)
    return tree


def read_tree(data: object, *, place: str, max_depth: int = MAX_NODES_DEEP) -> tuple[Tree, list[Problem]]:
    """Like `parse_tree`, but hands back the problems, so that a job can report them with its own."""
    reader = _Reader(place)
    nodes = reader.read_all(data, max_depth)
    tree = Tree(tuple(nodes))
    if not reader.problems:
        reader.problems.extend(_whole_tree_problems(tree, place))
    return tree, reader.problems


class _Reader:
    """Collects problems while it turns JSON objects into structs."""

    def __init__(self, place: str):
        self.root = place
        self.problems: list[Problem] = []

    def read_all(self, data: object, max_depth: int) -> list[Node]:
        nodes: list[Node] = []
        children: list[dict[str, list[int]]] = []
        stack = [(data, -1, "", 0, self.root, 1)]
        while stack:
            raw, parent, slot, position, place, depth = stack.pop()
            if depth > max_depth:
                self.problem(place, f"nested deeper than {max_depth:,} nodes")
                break
            index = len(nodes)
            kind = self.kind(raw, place)
            if kind is None or not isinstance(raw, dict):
                continue
            nodes.append(self.node(raw, kind, parent, slot, position, place))
            children.append({name: [] for name in SLOTS[kind]})
            if parent >= 0:
                children[parent][slot].append(index)
            for name, k, child, at in reversed(list(self.child_nodes(raw, kind, place))):
                stack.append((child, index, name, k, at, depth + 1))
        return [_with_children(node, below) for node, below in zip(nodes, children, strict=True)]

    def problem(self, place: str, message: str) -> None:
        self.problems.append(Problem(place, message))

    def kind(self, raw: object, place: str) -> Kind | None:
        if not isinstance(raw, dict):
            self.problem(place, f"expected a node (an object), got {shown(raw)}")
        elif raw.get("kind") not in tuple(Kind):
            self.problems.append(unknown(f"{place}.kind", "kind", raw.get("kind"), tuple(Kind)))
        else:
            return Kind(raw["kind"])
        return None

    def node(self, raw: dict, kind: Kind, parent: int, slot: str, position: int, place: str) -> Node:
        self.known_fields(raw, _FIELDS[kind], place)
        return Node(
            id=self.id(raw, place),
            kind=kind,
            parent=parent,
            slot=slot,
            position=position,
            weight=self.field(raw, "weight", domains.WEIGHT, place, default=None),
            slots=tuple(
                Slot(name, self.field(raw, weighting_field(name), domains.WEIGHTING, place, Weighting.EQUAL), ())
                for name in SLOTS[kind]
            ),
            conditions=tuple(self.conditions(raw, place)) if kind is Kind.INDICATOR else (),
            positions=tuple(self.positions(raw, place)) if kind is Kind.POSITION else (),
        )

    def known_fields(self, raw: dict, allowed: tuple[str, ...], place: str) -> None:
        self.problems.extend(unknown(f"{place}.{key}", "field", key, allowed) for key in raw if key not in allowed)

    def id(self, raw: dict, place: str) -> str:
        value = raw.get("id")
        if isinstance(value, str) and _ID.fullmatch(value):
            return value
        self.problem(f"{place}.id", f"expected an id of letters, digits, '_' and '-', got {shown(value)}")
        return ""

    def field(self, raw: dict, name: str, domain: Domain, place: str, default: object = ...) -> Value:
        """The value of a field in its normal form, or the placeholder of its axis."""
        if name not in raw and default is not ...:
            return default  # type: ignore[return-value]
        if name not in raw:
            self.problem(f"{place}.{name}", "missing")
            return ""
        return self.value(raw[name], domain, f"{place}.{name}")

    def value(self, value: object, domain: Domain, place: str) -> Value:
        if isinstance(value, str) and value.startswith("$"):
            match = _AXIS.fullmatch(value)
            if match:
                return Placeholder(match[1])
            self.problem(place, f"expected an axis as $name ([a-z][a-z0-9_]*, at most 32), got {shown(value)}")
            return ""
        try:
            return domain.read(value)
        except ValueError as error:
            self.problem(place, str(error))
            return ""

    def child_nodes(self, raw: dict, kind: Kind, place: str) -> Iterator[tuple[str, int, object, str]]:
        slots = raw.get("children", {})
        if not isinstance(slots, dict):
            self.problem(f"{place}.children", f"expected an object of slots, got {shown(slots)}")
            return
        for name, items in slots.items():
            at = f"{place}.children.{name}"
            if name not in SLOTS[kind]:
                self.problems.append(unknown(at, f"slot of a {kind} node", name, SLOTS[kind]))
            elif not isinstance(items, list):
                self.problem(at, f"expected a list of nodes, got {shown(items)}")
            else:
                yield from ((name, k, item, f"{at}[{k}]") for k, item in enumerate(items) if item is not None)

    def positions(self, raw: dict, place: str) -> Iterator[Value]:
        items = raw.get("positions")
        if not isinstance(items, list):
            self.problem(f"{place}.positions", f"expected a list of tickers, got {shown(items)}")
            return
        for k, item in enumerate(items):
            yield self.value(item, domains.POSITION, f"{place}.positions[{k}]")

    def conditions(self, raw: dict, place: str) -> Iterator[Condition]:
        items = raw.get("conditions")
        if not isinstance(items, list):
            self.problem(f"{place}.conditions", f"expected a list of conditions, got {shown(items)}")
            return
        for k, item in enumerate(items):
            at = f"{place}.conditions[{k}]"
            if isinstance(item, dict):
                yield self.condition(item, at, first=k == 0)
            else:
                self.problem(at, f"expected a condition (an object), got {shown(item)}")
        ids = Counter(item["id"] for item in items if isinstance(item, dict) and isinstance(item.get("id"), str))
        for name, count in ids.items():
            if count > 1:
                self.problem(f"{place}.conditions", f"condition id {name!r} is used {count} times; ids are unique")

    def condition(self, raw: dict, place: str, *, first: bool) -> Condition:
        self.known_fields(raw, _CONDITION_FIELDS, place)
        join = raw.get("type", "if" if first else "and")
        if join not in tuple(Join):
            self.problems.append(unknown(f"{place}.type", "type", join, tuple(Join)))
            join = "if"
        left = self.series(raw, place)
        return Condition(
            id=self.id(raw, place),
            join=Join(join),
            left=left,
            comparator=self.field(raw, "comparator", domains.COMPARATOR, place),
            right=self.right_side(raw, left, place),
            for_days=self.field(raw, "forDays", domains.FOR_DAYS, place, 1),
        )

    def series(self, raw: dict, place: str) -> Series:
        metric = self.field(raw, "metric", domains.METRIC, place)
        window = self.window(raw, "window", metric, place)
        return Series(metric, window, self.field(raw, "ticker", domains.TICKER, place))

    def window(self, raw: dict, name: str, metric: Value, place: str) -> Value:
        if not _is_windowless(metric):
            return self.field(raw, name, domains.WINDOW, place)
        if name in raw:
            self.value(raw[name], domains.WINDOW, f"{place}.{name}")
        return 1

    def right_side(self, raw: dict, left: Series, place: str) -> Value | Series:
        expanded = raw.get("expanded", False)
        if not isinstance(expanded, bool):
            self.problem(f"{place}.expanded", f"expected true or false, got {shown(expanded)}")
        if expanded is not True:
            for name in ("rightTicker", "rightMetric", "rightWindow"):
                if name in raw:
                    self.problem(f"{place}.{name}", 'only allowed with "expanded": true')
            return self.field(raw, "threshold", domains.THRESHOLD, place)
        if "threshold" in raw:
            self.problem(f"{place}.threshold", 'not allowed with "expanded": true')
        metric = self.field(raw, "rightMetric", domains.METRIC, place, left.metric)
        inherits = "rightWindow" not in raw and not _is_windowless(metric) and not _is_windowless(left.metric)
        window = left.window if inherits else self.window(raw, "rightWindow", metric, place)
        return Series(metric, window, self.field(raw, "rightTicker", domains.TICKER, place, left.ticker))


def _is_windowless(metric: Value) -> bool:
    return isinstance(metric, str) and metric in INDICATOR_BY_NAME and not INDICATOR_BY_NAME[metric].windowed


def _with_children(node: Node, below: dict[str, list[int]]) -> Node:
    slots = tuple(Slot(slot.name, slot.weighting, tuple(below[slot.name])) for slot in node.slots)
    return Node(
        node.id, node.kind, node.parent, node.slot, node.position, node.weight, slots, node.conditions, node.positions
    )


def _whole_tree_problems(tree: Tree, place: str) -> Iterator[Problem]:
    ids = Counter(node.id for node in tree.nodes)
    for name, count in ids.items():
        if count > 1:
            where = [join_place(place, tree.path(i)) for i, node in enumerate(tree.nodes) if node.id == name]
            yield Problem(where[1] + ".id", f"id {name!r} is used {count} times, first at {where[0]}; ids are unique")
    for index, node in enumerate(tree.nodes):
        at = join_place(place, tree.path(index))
        yield from _weight_problems(tree, node, at)
        for k, condition in enumerate(node.conditions):
            yield from cross_problems(condition.comparator, condition.for_days, f"{at}.conditions[{k}]")


def _weight_problems(tree: Tree, node: Node, place: str) -> Iterator[Problem]:
    for slot in node.slots:
        if slot.weighting == Weighting.EQUAL:
            continue
        for child in slot.children:
            if tree.nodes[child].weight is None:
                at = f"{place}.children.{slot.name}[{tree.nodes[child].position}].weight"
                yield Problem(
                    at, f"missing; every child of a slot with {weighting_field(slot.name)} 'defined' needs one"
                )


def cross_problems(comparator: Value, for_days: Value, place: str) -> Iterable[Problem]:
    """A cross happens on one bar: asking for it on n >= 2 consecutive bars contradicts itself."""
    if isinstance(comparator, str) and isinstance(for_days, int) and for_days > 1 and Comparator(comparator).is_cross:
        return [Problem(f"{place}.forDays", f"{for_days} with {comparator}: a cross cannot last; allowed: 1")]
    return []


def join_place(root: str, path: str) -> str:
    return f"{root}.{path}" if root and path else root or path
