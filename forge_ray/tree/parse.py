"""Native JSON → `Tree`, read strictly: every mistake of the file is reported, with its JSON path, at once.

1. Walk the JSON nodes in pre-order with an explicit stack.
2. Read each node by the fields of its kind; a problem is collected and the walk goes on.
3. Check what needs the whole tree (`checks`): unique ids, weights, caps, references.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import msgspec

from forge_ray.errors import InputError, Problem, shown, step, unknown, wrong
from forge_ray.tree import domains
from forge_ray.tree.checks import tree_problems
from forge_ray.tree.domains import domain_of
from forge_ray.tree.nodes import (
    WEIGHTING_DEFAULTS,
    WEIGHTING_FIELDS,
    WEIGHTING_USES,
    ConditionList,
    Kind,
    Node,
    Placeholder,
    Quantifier,
    Series,
    Slot,
    Tree,
    Value,
    Weighting,
    slot_field,
)
from forge_ray.tree.reader import MAX_PROBLEMS, Definitions, Reader, join_place

MAX_NODES_DEEP = 1_000

_COMMON = ("id", "kind", "weight", "title", "bgColor", "collapsed")
_SIDES = tuple(slot_field(name, slot) for slot in ("then", "else") for name in WEIGHTING_FIELDS)
_FIELDS: dict[Kind, tuple[str, ...]] = {
    Kind.BASIC: (*_COMMON, "children", *WEIGHTING_FIELDS),
    Kind.FUNCTION: (*_COMMON, "children", "metric", "window", "rank", "n", "of", *WEIGHTING_FIELDS),
    Kind.INDICATOR: (*_COMMON, "children", "conditions", *_SIDES),
    Kind.NUMBERED: (*_COMMON, "children", "numbered", *_SIDES),
    Kind.POSITION: (*_COMMON, "positions"),
    Kind.CALL: (*_COMMON, "callRefId"),
    Kind.ALT_EXIT: (*_COMMON, "children", "entryConditions", "exitConditions", *_SIDES),
    Kind.SCALING: (
        *_COMMON, "children", "scaleMetric", "scaleWindow", "scaleTicker", "scaleFrom", "scaleTo", *_SIDES,
    ),
}  # fmt: skip
_LADDER_FIELDS = (*_COMMON, "children", "numbered", *WEIGHTING_FIELDS)
_SLOTS: dict[Kind, tuple[str, ...]] = {
    Kind.BASIC: ("next",),
    Kind.FUNCTION: ("next",),
    Kind.POSITION: (),
    Kind.CALL: (),
}
_NEEDS_JOB = 'the definition of call {} belongs to a job, {{"calls": {{…}}, "tree": …}}'


class TreeError(InputError):
    """A tree that cannot be read."""


def parse_tree(
    data: object, *, place: str = "tree", definitions: Definitions | None = None, max_depth: int = MAX_NODES_DEEP
) -> Tree:
    """Read a tree without calls from parsed JSON. Raises `TreeError` with every problem found; `place` prefixes the
    paths. definitions : formulas and lists that it refers to."""
    tree, problems = read_tree(data, place=place, definitions=definitions, max_depth=max_depth)
    problems += [
        Problem(join_place(place, join_place(tree.path(index), "callRefId")), _NEEDS_JOB.format(shown(node.call)))
        for index, node in enumerate(tree.nodes)
        if node.kind is Kind.CALL
    ]
    if problems:
        raise TreeError(problems)
    return tree


def read_tree(
    data: object, *, place: str, definitions: Definitions | None = None, max_depth: int = MAX_NODES_DEEP
) -> tuple[Tree, list[Problem]]:
    """Like `parse_tree`, but hands back the problems, so that a job can report them with its own; calls are left in."""
    definitions = definitions or Definitions()
    reader = _TreeReader(place, definitions)
    tree = Tree(tuple(reader.read_all(data, max_depth)))
    return tree, [*reader.problems, *islice(tree_problems(tree, place, definitions), MAX_PROBLEMS)]


class _TreeReader(Reader):
    def __init__(self, place: str, definitions: Definitions):
        super().__init__(definitions)
        self.root = place

    def read_all(self, data: object, max_depth: int) -> list[Node]:
        nodes: list[Node] = []
        children: list[dict[str, list[int]]] = []
        stack: list[tuple[object, int, str, int, int]] = [(data, -1, "", 0, 1)]
        while stack and len(self.problems) < MAX_PROBLEMS:
            raw, parent, slot, position, depth = stack.pop()
            index, before = len(nodes), len(self.problems)
            if depth > max_depth:
                deepest = raw.get("id") if isinstance(raw, dict) else raw  # its path is as long as the tree is deep
                self.problem(self.root, f"nested deeper than {max_depth:,} nodes, at {shown(deepest)}")
                break
            if (kind := self.kind(raw)) and isinstance(raw, dict):
                slots = slots_of(raw, kind)
                nodes.append(self.node(raw, kind, slots, parent, slot, position))
                children.append({name: [] for name in slots})
                if parent >= 0:
                    children[parent][slot].append(index)
                below = [(child, index, name, k, depth + 1) for name, k, child in self.child_nodes(raw, slots)]
                stack.extend(reversed(below))
            if len(self.problems) > before:
                self.complete(before, _place(self.root, nodes, parent, slot, position))
        return [_with_children(node, below) for node, below in zip(nodes, children, strict=True)]

    def complete(self, before: int, place: str) -> None:
        """Put the place of a node in front of the places of its problems."""
        found = self.problems[before:MAX_PROBLEMS]
        self.problems[before:] = [Problem(join_place(place, problem.place), problem.message) for problem in found]

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

    def node(self, raw: dict, kind: Kind, slots: tuple[str, ...], parent: int, slot: str, position: int) -> Node:
        self.known_fields(raw, _LADDER_FIELDS if is_ladder(raw, kind) else _FIELDS[kind], "")
        node = Node(
            id=self.id(raw, ""),
            kind=kind,
            parent=parent,
            slot=slot,
            position=position,
            fields=(*self.plain_fields(raw, kind), *self.weighting_fields(raw, slots)),
            slots=tuple(Slot(name, ()) for name in slots),
            lists=tuple(self.lists(raw, kind)),
            positions=self.tickers(raw, "positions", "positions", domains.POSITION) if kind is Kind.POSITION else (),
            call=self.id(raw, "", "callRefId") if kind is Kind.CALL else "",
            title=raw["title"] if isinstance(raw.get("title"), str) else "",
        )
        self.unique_conditions(node.lists)
        if kind is Kind.FUNCTION:
            metric = self.field(raw, "metric", domains.METRIC, "")
            window = self.window(raw, "window", metric, "")
            return msgspec.structs.replace(node, series=Series(metric, window))
        if kind is Kind.SCALING:
            names = ("scaleMetric", "scaleWindow", "scaleTicker")
            return msgspec.structs.replace(node, series=self.series(raw, "", names, several=False))
        return node

    def plain_fields(self, raw: dict, kind: Kind) -> Iterator[tuple[str, Value]]:
        if "weight" in raw:
            yield "weight", self.field(raw, "weight", domains.WEIGHT, "")
        match kind:
            case Kind.FUNCTION:
                yield from ((name, self.field(raw, name, domain_of(name), "")) for name in ("rank", "n"))
                yield "of", self.field(raw, "of", domains.SCORE, "", "allocation")
            case Kind.SCALING:
                yield from ((name, self.field(raw, name, domain_of(name), "")) for name in ("scaleFrom", "scaleTo"))
            case Kind.NUMBERED if isinstance(raw.get("numbered"), dict):
                yield from self.count_fields(raw["numbered"])

    def count_fields(self, raw: dict) -> Iterator[tuple[str, Value]]:
        self.known_fields(raw, ("quantifier", "n", "items"), "numbered")
        quantifier = self.field(raw, "quantifier", domains.QUANTIFIER, "numbered")
        yield "numbered.quantifier", quantifier
        if isinstance(quantifier, Placeholder) or quantifier in [q for q in Quantifier if q.counts]:
            yield "numbered.n", self.field(raw, "n", domains.COUNT, "numbered")
        elif "n" in raw and quantifier:
            self.problem("numbered.n", f"not used by quantifier {shown(str(quantifier))}")

    def weighting_fields(self, raw: dict, slots: tuple[str, ...]) -> Iterator[tuple[str, Value]]:
        """A weighting of its own for `then` and `else`; fields that it does not use are problems."""
        for slot in dict.fromkeys(slot if slot in ("then", "else") else "next" for slot in slots):
            name = slot_field("weighting", slot)
            rule = self.field(raw, name, domains.WEIGHTING, "", Weighting.EQUAL)
            yield name, rule
            used = WEIGHTING_FIELDS[1:] if isinstance(rule, Placeholder) else WEIGHTING_USES.get(rule, ())  # type: ignore[arg-type]
            for field in WEIGHTING_FIELDS[1:]:
                own = slot_field(field, slot)
                if field not in used:
                    if own in raw and rule:
                        self.problem(own, f"not used by {name} {shown(str(rule))}")
                elif own in raw or field in WEIGHTING_DEFAULTS:
                    yield own, self.field(raw, own, domain_of(own), "", WEIGHTING_DEFAULTS.get(field, ...))

    def lists(self, raw: dict, kind: Kind) -> Iterator[ConditionList]:
        match kind:
            case Kind.INDICATOR:
                yield self.condition_list(raw, "conditions", "conditions")
            case Kind.ALT_EXIT:
                yield self.condition_list(raw, "entryConditions", "entryConditions")
                yield self.condition_list(raw, "exitConditions", "exitConditions")
            case Kind.NUMBERED:
                yield from self.items(raw)

    def items(self, raw: dict) -> Iterator[ConditionList]:
        numbered = raw.get("numbered")
        if not isinstance(numbered, dict):
            self.problem("numbered", wrong(raw, "numbered", "quantifier and items (an object)"))
            return
        items = numbered.get("items")
        if not isinstance(items, list) or not items:
            self.problem("numbered.items", wrong(numbered, "items", "a list of at least one item"))
            return
        ids = []
        for k, item in enumerate(items):
            at = f"numbered.items[{k}]"
            if not isinstance(item, dict):
                self.problem(at, f"expected an item with conditions (an object), got {shown(item)}")
                continue
            self.known_fields(item, ("id", "conditions"), at)
            ids.append(self.id(item, at))
            yield self.condition_list(item, "conditions", f"{at}.conditions", ids[-1])
        for name in sorted({name for name in ids if name and ids.count(name) > 1}):
            self.problem("numbered.items", f"item id {name!r} is used {ids.count(name)} times; ids are unique")

    def child_nodes(self, raw: dict, slots: tuple[str, ...]) -> Iterator[tuple[str, int, object]]:
        children = raw.get("children", {}) if slots else {}
        if not isinstance(children, dict):
            self.problem("children", f"expected an object of slots, got {shown(children)}")
            return
        for name, items in children.items():
            at = f"children.{step(name)}"
            if name not in slots:
                self.problems.append(unknown(at, "slot", name, slots))
            elif not isinstance(items, list):
                self.problem(at, f"expected a list of nodes, got {shown(items)}")
            else:
                yield from ((name, k, item) for k, item in enumerate(items) if item is not None)


def slots_of(raw: dict, kind: Kind) -> tuple[str, ...]:
    """Slots of a node as written: a ladder has a rung for every count of true items, from none to all."""
    if is_ladder(raw, kind):
        items = raw["numbered"].get("items")
        return tuple(f"ladder-{k}" for k in range(len(items) + 1 if isinstance(items, list) else 1))
    return _SLOTS.get(kind, ("then", "else"))


def is_ladder(raw: dict, kind: Kind) -> bool:
    numbered = raw.get("numbered")
    return kind is Kind.NUMBERED and isinstance(numbered, dict) and numbered.get("quantifier") == Quantifier.LADDER


def _place(root: str, nodes: list[Node], parent: int, slot: str, position: int) -> str:
    """The JSON path of the child at `position` of a slot of node `parent`; -1 has the root itself."""
    if parent < 0:
        return root
    return join_place(join_place(root, Tree(tuple(nodes)).path(parent)), f"children.{slot}[{position}]")


def _with_children(node: Node, below: dict[str, list[int]]) -> Node:
    return msgspec.structs.replace(node, slots=tuple(Slot(slot.name, tuple(below[slot.name])) for slot in node.slots))
