"""Native JSON → `Tree`, read strictly: every mistake of the file is reported, with its JSON path, at once.

1. Walk the JSON nodes in pre-order with an explicit stack.
2. Read each node by the fields of its kind; a problem is collected and the walk goes on.
3. Check what needs the whole tree: unique ids, defined weights, crosses with forDays.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec

from forge_ray.catalog import INDICATOR_BY_NAME
from forge_ray.errors import InputError, Problem, shown, step, unknown, wrong
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
MAX_PROBLEMS = 100

NODE_ID = re.compile(r"[A-Za-z0-9_-]+")
_AXIS = re.compile(r"\$([a-z][a-z0-9_]{0,31})")
_DISPLAY = ("title", "bgColor", "collapsed")
_COMMON = ("id", "kind", "weight", *_DISPLAY)
_FIELDS: dict[Kind, tuple[str, ...]] = {
    Kind.BASIC: (*_COMMON, "children", "weighting"),
    Kind.INDICATOR: (*_COMMON, "children", "weightingThen", "weightingElse", "conditions"),
    Kind.POSITION: (*_COMMON, "positions"),
    Kind.CALL: (*_COMMON, "callRefId"),
}
_NEEDS_JOB = 'the definition of call {} belongs to a job, {{"calls": {{…}}, "tree": …}}'
_CROSSES = tuple(comparator for comparator in Comparator if comparator.is_cross)
_CONDITION_FIELDS = (
    "id", "type", "metric", "window", "ticker", "comparator", "threshold", "expanded",
    "rightTicker", "rightMetric", "rightWindow", "forDays", "title",
)  # fmt: skip


class TreeError(InputError):
    """A tree that cannot be read."""


def parse_tree(data: object, *, place: str = "tree", max_depth: int = MAX_NODES_DEEP) -> Tree:
    """Read a tree without calls from parsed JSON. Raises `TreeError` with every problem found; `place` prefixes the
    paths."""
    tree, problems = read_tree(data, place=place, max_depth=max_depth)
    problems += [
        Problem(join_place(place, join_place(tree.path(index), "callRefId")), _NEEDS_JOB.format(shown(node.call)))
        for index, node in enumerate(tree.nodes)
        if node.kind is Kind.CALL
    ]
    if problems:
        raise TreeError(problems)
    return tree


def read_tree(data: object, *, place: str, max_depth: int = MAX_NODES_DEEP) -> tuple[Tree, list[Problem]]:
    """Like `parse_tree`, but hands back the problems, so that a job can report them with its own; calls are left in."""
    reader = _Reader(place)
    tree = Tree(tuple(reader.read_all(data, max_depth)))
    return tree, [*reader.problems, *islice(_whole_tree_problems(tree, place), MAX_PROBLEMS)]


class _Reader:
    """Collects problems while it turns JSON objects into structs.

    Places are relative to the node being read and are completed only if there is a problem: deep below the root a
    path is long, and writing one for each of many nodes would take more memory than the file.
    """

    def __init__(self, place: str):
        self.root = place
        self.problems: list[Problem] = []

    def read_all(self, data: object, max_depth: int) -> list[Node]:
        nodes: list[Node] = []
        children: list[dict[str, list[int]]] = []
        stack: list[tuple[object, int, str, int, int]] = [(data, -1, "", 0, 1)]
        while stack and len(self.problems) < MAX_PROBLEMS:
            raw, parent, slot, position, depth = stack.pop()
            index, before = len(nodes), len(self.problems)
            if depth > max_depth:
                self.problem("", f"nested deeper than {max_depth:,} nodes")
                stack.clear()
            elif (kind := self.kind(raw)) and isinstance(raw, dict):
                nodes.append(self.node(raw, kind, parent, slot, position))
                children.append({name: [] for name in SLOTS[kind]})
                if parent >= 0:
                    children[parent][slot].append(index)
                below = [(child, index, name, k, depth + 1) for name, k, child in self.child_nodes(raw, kind)]
                stack.extend(reversed(below))
            if len(self.problems) > before:
                self.complete(before, _place(self.root, nodes, parent, slot, position))
        return [_with_children(node, below) for node, below in zip(nodes, children, strict=True)]

    def complete(self, before: int, place: str) -> None:
        """Put the place of a node in front of the places of its problems."""
        found = self.problems[before:MAX_PROBLEMS]
        self.problems[before:] = [Problem(join_place(place, problem.place), problem.message) for problem in found]

    def problem(self, place: str, message: str) -> None:
        self.problems.append(Problem(place, message))

    def kind(self, raw: object) -> Kind | None:
        if not isinstance(raw, dict):
            self.problem("", f"expected a node (an object), got {shown(raw)}")
        elif "kind" not in raw:
            self.problem("kind", wrong(raw, "kind", f"one of {', '.join(Kind)}"))
        elif raw["kind"] not in tuple(Kind):
            self.problems.append(unknown("kind", "kind", raw["kind"], tuple(Kind)))
        else:
            return Kind(raw["kind"])
        return None

    def node(self, raw: dict, kind: Kind, parent: int, slot: str, position: int) -> Node:
        self.known_fields(raw, _FIELDS[kind], "")
        return Node(
            id=self.id(raw, ""),
            kind=kind,
            parent=parent,
            slot=slot,
            position=position,
            weight=self.field(raw, "weight", domains.WEIGHT, "", default=None),
            slots=tuple(
                Slot(name, self.field(raw, weighting_field(name), domains.WEIGHTING, "", Weighting.EQUAL), ())
                for name in SLOTS[kind]
            ),
            conditions=tuple(self.conditions(raw)) if kind is Kind.INDICATOR else (),
            positions=tuple(self.positions(raw)) if kind is Kind.POSITION else (),
            call=self.id(raw, "", "callRefId") if kind is Kind.CALL else "",
        )

    def known_fields(self, raw: dict, allowed: tuple[str, ...], place: str) -> None:
        self.problems.extend(
            unknown(join_place(place, step(key)), "field", key, allowed) for key in raw if key not in allowed
        )

    def id(self, raw: dict, place: str, name: str = "id") -> str:
        value = raw.get(name)
        if isinstance(value, str) and NODE_ID.fullmatch(value):
            return value
        self.problem(join_place(place, name), wrong(raw, name, "an id of letters, digits, '_' and '-'"))
        return ""

    def field(self, raw: dict, name: str, domain: Domain, place: str, default: object = ...) -> Value:
        """The value of a field in its normal form, or the placeholder of its axis."""
        if name not in raw and default is not ...:
            return default  # type: ignore[return-value]
        if name not in raw:
            self.problem(join_place(place, name), wrong(raw, name, domain.what))
            return ""
        return self.value(raw[name], domain, join_place(place, name))

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

    def child_nodes(self, raw: dict, kind: Kind) -> Iterator[tuple[str, int, object]]:
        slots = raw.get("children", {}) if SLOTS[kind] else {}
        if not isinstance(slots, dict):
            self.problem("children", f"expected an object of slots, got {shown(slots)}")
            return
        for name, items in slots.items():
            at = f"children.{step(name)}"
            if name not in SLOTS[kind]:
                self.problems.append(unknown(at, "slot", name, SLOTS[kind]))
            elif not isinstance(items, list):
                self.problem(at, f"expected a list of nodes, got {shown(items)}")
            else:
                yield from ((name, k, item) for k, item in enumerate(items) if item is not None)

    def positions(self, raw: dict) -> Iterator[Value]:
        items = raw.get("positions")
        if not isinstance(items, list):
            self.problem("positions", wrong(raw, "positions", "a list of tickers"))
            return
        for k, item in enumerate(items):
            yield self.value(item, domains.POSITION, f"positions[{k}]")

    def conditions(self, raw: dict) -> Iterator[Condition]:
        items = raw.get("conditions")
        if not isinstance(items, list):
            self.problem("conditions", wrong(raw, "conditions", "a list of conditions"))
            return
        for k, item in enumerate(items):
            at = f"conditions[{k}]"
            if isinstance(item, dict):
                yield self.condition(item, at, first=k == 0)
            else:
                self.problem(at, f"expected a condition (an object), got {shown(item)}")
        ids = Counter(item["id"] for item in items if isinstance(item, dict) and isinstance(item.get("id"), str))
        for name, count in ids.items():
            if count > 1:
                self.problem("conditions", f"condition id {shown(name)} is used {count} times; ids are unique")

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
            expanded = "threshold" not in raw
        if not expanded:
            for name in ("rightTicker", "rightMetric", "rightWindow"):
                if name in raw:
                    self.problem(f"{place}.{name}", f'{shown(raw[name])} is only allowed with "expanded": true')
            return self.field(raw, "threshold", domains.THRESHOLD, place)
        if "threshold" in raw:
            text = f'{shown(raw["threshold"])} is not allowed with "expanded": true; allowed: rightMetric, rightWindow'
            self.problem(f"{place}.threshold", f"{text}, rightTicker")
        metric = self.field(raw, "rightMetric", domains.METRIC, place, left.metric)
        inherits = "rightWindow" not in raw and not _is_windowless(metric) and not _is_windowless(left.metric)
        window = left.window if inherits else self.window(raw, "rightWindow", metric, place)
        return Series(metric, window, self.field(raw, "rightTicker", domains.TICKER, place, left.ticker))


def _is_windowless(metric: Value) -> bool:
    return isinstance(metric, str) and metric in INDICATOR_BY_NAME and not INDICATOR_BY_NAME[metric].windowed


def _place(root: str, nodes: list[Node], parent: int, slot: str, position: int) -> str:
    """The JSON path of the child at `position` of a slot of node `parent`; -1 has the root itself."""
    if parent < 0:
        return root
    return join_place(join_place(root, Tree(tuple(nodes)).path(parent)), f"children.{slot}[{position}]")


def _with_children(node: Node, below: dict[str, list[int]]) -> Node:
    slots = tuple(Slot(slot.name, slot.weighting, tuple(below[slot.name])) for slot in node.slots)
    return msgspec.structs.replace(node, slots=slots)


def _whole_tree_problems(tree: Tree, place: str) -> Iterator[Problem]:
    places: defaultdict[str, list[int]] = defaultdict(list)
    for index, node in enumerate(tree.nodes):
        if node.id:  # an id that cannot be read is empty and already reported
            places[node.id].append(index)
    for name, (first, *others) in places.items():
        if others:
            at = join_place(join_place(place, tree.path(others[0])), "id")
            text = f"id {shown(name)} is used {len(others) + 1} times, first at {join_place(place, tree.path(first))}"
            yield Problem(at, f"{text}; ids are unique")
    for index, node in enumerate(tree.nodes):
        for problem in (*weight_problems(tree, node), *_condition_problems(node)):
            yield Problem(join_place(join_place(place, tree.path(index)), problem.place), problem.message)


def weight_problems(tree: Tree, node: Node) -> Iterator[Problem]:
    """Children without a weight below a slot that is, or by an axis may be, weighted as defined."""
    for slot in node.slots:
        if slot.weighting != Weighting.DEFINED and not isinstance(slot.weighting, Placeholder):
            continue
        for child in slot.children:
            if tree.nodes[child].weight is None:
                at = f"children.{slot.name}[{tree.nodes[child].position}].weight"
                yield Problem(
                    at, f"missing; every child of a slot with {weighting_field(slot.name)} 'defined' needs one"
                )


def _condition_problems(node: Node) -> Iterator[Problem]:
    for k, condition in enumerate(node.conditions):
        yield from cross_problems(condition.comparator, condition.for_days, f"conditions[{k}]")


def cross_problems(comparator: Value, for_days: Value, place: str) -> Iterable[Problem]:
    """A cross happens on one bar: asking for it on n >= 2 consecutive bars contradicts itself."""
    if comparator in _CROSSES and isinstance(for_days, int) and for_days > 1:
        return [Problem(f"{place}.forDays", f"{for_days} with {comparator}: a cross cannot last; allowed: 1")]
    return []


def join_place(root: str, path: str) -> str:
    return f"{root}.{path}" if root and path else root or path
