"""Tree → expressions, bottom-up over the flat node table.

1. Children come after their parents, so walking backwards meets them first.
2. The weighting of a slot blends the allocations of its children; the equity of that blend is what ``branch:then``
   refers to in the conditions of its node.
3. The conditions of a node become its gate; kind by kind, gate and sides become its allocation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from forge_ray.plan.expressions import AxisRef, ExpressionTable, Op, Parameter
from forge_ray.tree import Condition, Kind, Node, Placeholder, Series, Tree
from forge_ray.tree.nodes import (
    EMPTY,
    ConditionList,
    DateCondition,
    Join,
    Quantifier,
    Ratio,
    Several,
    Slot,
    Subject,
    Value,
    Weighting,
    slot_field,
)

VOLATILITY = "Standard Deviation"


class Site(msgspec.Struct, frozen=True):
    """Where the tree reads something: tree index, node id, condition id or field, its expression.

    For a condition that is the bits (crosses and forDays included), for a function, a scaling and a weighting by
    volatility a series.
    """

    tree: int
    node: str
    condition: str
    expression: int

    @property
    def name(self) -> str:
        return f"{self.node}.{self.condition}"


def lower_tree(
    tree: Tree, index: int, axes: Mapping[str, int], table: ExpressionTable, sites: list[Site], unknown_is_cash: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Intern a tree's expressions. Returns the allocation and the gate of every node (−1 without gate).

    axes : index of each axis id in the grid. sites : receives an entry for everything that the tree reads.
    """
    return _Lowering(tree, index, axes, table, sites, unknown_is_cash).run()


class _Lowering:
    def __init__(
        self, tree: Tree, index: int, axes: Mapping[str, int], table: ExpressionTable, sites: list[Site],
        unknown_is_cash: bool,
    ):  # fmt: skip
        self.tree, self.index, self.axes, self.table, self.sites = tree, index, axes, table, sites
        self.unknown_is_cash = unknown_is_cash
        self.gates = [-1] * len(tree.nodes)
        self.below = [0] * len(tree.nodes)

    def run(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        for i in reversed(range(len(self.tree.nodes))):
            self.below[i] = self.allocation(i, self.tree.nodes[i])
        return tuple(self.below), tuple(self.gates)

    def allocation(self, i: int, node: Node) -> int:
        match node.kind:
            case Kind.POSITION:
                return self.row(node.positions)
            case Kind.BASIC:
                return self.slot(node, node.slots[0])
            case Kind.FUNCTION:
                return self.ranked(node)
            case Kind.CALL:
                raise ValueError(f"call {node.id}: definitions are put in place before a tree is compiled")
            case Kind.NUMBERED if node.get("numbered.quantifier") == Quantifier.LADDER:
                return self.ladder(node)
        sides = {slot.name: self.slot(node, slot) for slot in node.slots}
        if node.kind is Kind.SCALING:
            return self.scaled(node, sides)
        self.gates[i] = self.gate(node, sides)
        return self.table.intern(Op.CHOOSE, (self.gates[i], sides["then"], sides["else"]))

    def row(self, positions: tuple[Value, ...]) -> int:
        return self.table.intern(Op.ROW, (), tuple(self.parameter(position) for position in positions))

    def slot(self, node: Node, slot: Slot) -> int:
        children = tuple(self.below[child] for child in slot.children)
        if not children:
            return self.row((EMPTY,))
        if node.weighting(slot.name) == Weighting.EQUAL and len(children) == 1:
            return children[0]
        return self.table.intern(
            Op.BLEND, (*children, *self.volatilities(node, slot, children)), self.weighting(node, slot)
        )

    def weighting(self, node: Node, slot: Slot) -> tuple[Parameter, ...]:
        """The rule and what it uses; `WEIGHTING_PARAMETERS` of them, then a weight per child."""
        rule = node.weighting(slot.name)
        own = (self.optional(node.get(slot_field(name, slot.name))) for name in ("minCap", "maxCap", "cappedFallback"))
        is_defined = rule == Weighting.DEFINED or isinstance(rule, Placeholder)
        weights = (self.tree.nodes[child].get("weight") if is_defined else None for child in slot.children)
        return (self.parameter(rule), *own, *(self.optional(weight) for weight in weights))

    def volatilities(self, node: Node, slot: Slot, children: tuple[int, ...]) -> tuple[int, ...]:
        """The volatility of the equity of each child, if the rule needs it."""
        rule, field = node.weighting(slot.name), slot_field("volWindow", slot.name)
        window = node.get(field)
        if window is None or (not isinstance(rule, Placeholder) and rule not in (Weighting.INVERSE, Weighting.PRO)):
            return ()
        return tuple(
            self.noted(node, field, self.table.intern(Op.SERIES, (child,), (VOLATILITY, self.parameter(window))))
            for child in children
        )

    def ranked(self, node: Node) -> int:
        slot, series = node.slots[0], node.series
        children = tuple(self.below[child] for child in slot.children)
        if not children or series is None:
            return self.row((EMPTY,))
        parameters = tuple(map(self.parameter, (series.metric, series.window, node.get("of", "allocation"))))  # type: ignore[arg-type]
        scores = (self.noted(node, "metric", self.table.intern(Op.SCORE, (child,), parameters)) for child in children)
        operands = (*children, *scores, *self.volatilities(node, slot, children))
        picked = tuple(self.optional(node.get(name)) for name in ("rank", "n"))
        return self.table.intern(Op.RANK, operands, (*picked, *self.weighting(node, slot)))

    def scaled(self, node: Node, sides: Mapping[str, int]) -> int:
        assert node.series is not None
        value = self.noted(node, "scaleMetric", self.series(node.series, node.series.subject, sides))
        ends = (self.optional(node.get("scaleFrom")), self.optional(node.get("scaleTo")))
        return self.table.intern(Op.SCALE, (value, sides["then"], sides["else"]), ends)

    def ladder(self, node: Node) -> int:
        """The rung of the number of true items: a chain of gates that ask for exactly that number."""
        items = [self.conditions(node, found, {}) for found in node.lists]
        if not self.unknown_is_cash:
            items = [self.table.intern(Op.KNOWN, (item,)) for item in items]
        rungs = [self.slot(node, slot) for slot in node.slots]
        chosen = rungs[-1]
        for k in reversed(range(len(rungs) - 1)):
            gate = self.table.intern(Op.COUNT, tuple(items), (Quantifier.EXACTLY.value, k))
            chosen = self.table.intern(Op.CHOOSE, (gate, rungs[k], chosen))
        return chosen

    def gate(self, node: Node, sides: Mapping[str, int]) -> int:
        lists = [self.conditions(node, found, sides) for found in node.lists]
        if node.kind is Kind.INDICATOR:
            return lists[0]
        if node.kind is Kind.ALT_EXIT:
            return self.table.intern(Op.LATCH, tuple(lists))
        quantifier = node.get("numbered.quantifier", Quantifier.ALL)
        if quantifier in (Quantifier.ANY, Quantifier.ALL):
            return self.joined(Op.ANY if quantifier == Quantifier.ANY else Op.ALL, lists)
        return self.table.intern(
            Op.COUNT, tuple(lists), (self.optional(quantifier), self.optional(node.get("numbered.n")))
        )

    def conditions(self, node: Node, found: ConditionList, sides: Mapping[str, int]) -> int:
        """AND binds tighter than OR; `or` and a mid-list `if` start a new term; an empty list is false."""
        terms = [self.joined(Op.ALL, term) for term in self.terms(node, found, sides)]
        return self.joined(Op.ANY, terms)

    def terms(self, node: Node, found: ConditionList, sides: Mapping[str, int]) -> Iterator[list[int]]:
        term: list[int] = []
        for line in found.lines:
            if line.join is not Join.AND and term:
                yield term
                term = []
            term.append(self.noted(node, line.id, self.line(line, sides)))
        if term:
            yield term

    def joined(self, op: Op, operands: list[int]) -> int:
        distinct = tuple(sorted(set(operands)))
        return distinct[0] if len(distinct) == 1 else self.table.intern(op, distinct)

    def noted(self, node: Node, what: str, expression: int) -> int:
        self.sites.append(Site(self.index, node.id, what, expression))
        return expression

    def line(self, line: Condition | DateCondition, sides: Mapping[str, int]) -> int:
        if isinstance(line, DateCondition):
            days = (line.month, line.day, line.to_month, line.to_day)
            return self.table.intern(Op.DATE, (), tuple(self.parameter(value) for value in days))
        if isinstance(line.left.subject, Several):
            op = Op.ANY if line.left.subject.quantifier == "any" else Op.ALL
            return self.joined(op, [self.comparison(line, ticker, sides) for ticker in line.left.subject.tickers])
        return self.comparison(line, line.left.subject, sides)

    def comparison(self, line: Condition, subject: Subject, sides: Mapping[str, int]) -> int:
        """subject : of the left side; a right side that inherits several tickers takes the same one in turn."""
        right = line.right
        if isinstance(right, Series):
            other = self.series(right, subject if isinstance(right.subject, Several) else right.subject, sides)
        else:
            other = self.table.intern(Op.NUMBER, (), (self.parameter(right),))
        operands = (self.series(line.left, subject, sides), other)
        bits = self.table.intern(Op.COMPARE, operands, (self.parameter(line.comparator),))
        return bits if line.for_days == 1 else self.table.intern(Op.PERSIST, (bits,), (self.parameter(line.for_days),))

    def series(self, series: Series, subject: Subject, sides: Mapping[str, int]) -> int:
        own = (self.parameter(series.metric), self.parameter(series.window))
        match subject:
            case Ratio(numerator, denominator):
                return self.table.intern(Op.SERIES, (), (*own, self.parameter(numerator), self.parameter(denominator)))
            case str() if subject.startswith("branch:"):
                return self.table.intern(Op.SERIES, (sides[subject.removeprefix("branch:")],), own)
            case Several():
                raise ValueError("several tickers are taken one by one")
        return self.table.intern(Op.SERIES, (), (*own, self.parameter(subject)))

    def optional(self, value: Value | None) -> Parameter:
        return None if value is None else self.parameter(value)

    def parameter(self, value: Value) -> Parameter:
        if isinstance(value, Placeholder):
            return AxisRef(self.axes[value.axis])
        return str(value) if isinstance(value, str) else value
