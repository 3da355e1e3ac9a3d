"""Tree → expressions, bottom-up over the flat node table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from forge_ray.plan.expressions import AxisRef, ExpressionTable, Op, Parameter
from forge_ray.tree import Condition, Kind, Node, Placeholder, Series, Tree
from forge_ray.tree.nodes import EMPTY, Join, Slot, Value, Weighting


class Site(msgspec.Struct, frozen=True):
    """Where a condition stands: tree index, node id, condition id, its expression (crosses and forDays included)."""

    tree: int
    node: str
    condition: str
    expression: int

    @property
    def name(self) -> str:
        return f"{self.node}.{self.condition}"


def lower_tree(
    tree: Tree, index: int, axes: Mapping[str, int], table: ExpressionTable, sites: list[Site]
) -> tuple[int, tuple[int, ...]]:
    """Intern a tree's expressions. Returns the root allocation and the gate of every node (−1 without gate).

    axes : index of each axis id in the grid. sites : receives one entry per condition of the tree.
    """
    return _Lowering(tree, index, axes, table, sites).run()


class _Lowering:
    def __init__(self, tree: Tree, index: int, axes: Mapping[str, int], table: ExpressionTable, sites: list[Site]):
        self.tree, self.index, self.axes, self.table, self.sites = tree, index, axes, table, sites

    def run(self) -> tuple[int, tuple[int, ...]]:
        allocations = [0] * len(self.tree.nodes)
        gates = [-1] * len(self.tree.nodes)
        for i in reversed(range(len(self.tree.nodes))):
            node = self.tree.nodes[i]
            if node.kind is Kind.INDICATOR:
                gates[i] = self.gate(node)
            allocations[i] = self.allocation(node, gates[i], allocations)
        return allocations[0], tuple(gates)

    def allocation(self, node: Node, gate: int, below: list[int]) -> int:
        match node.kind:
            case Kind.POSITION:
                return self.row(node.positions)
            case Kind.BASIC:
                return self.slot(node.slots[0], below)
            case Kind.INDICATOR:
                sides = tuple(self.slot(slot, below) for slot in node.slots)
                return self.table.intern(Op.CHOOSE, (gate, *sides))
            case Kind.CALL:
                raise ValueError(f"call {node.id}: definitions are put in place before a tree is compiled")

    def row(self, positions: tuple[Value, ...]) -> int:
        return self.table.intern(Op.ROW, (), tuple(self.parameter(position) for position in positions))

    def slot(self, slot: Slot, below: list[int]) -> int:
        children = tuple(below[child] for child in slot.children)
        if not children:
            return self.row((EMPTY,))
        if slot.weighting == Weighting.EQUAL:
            if len(children) == 1:
                return children[0]
            return self.table.intern(Op.BLEND, children, (str(Weighting.EQUAL), *(None for _ in children)))
        weights = (self.parameter(self.tree.nodes[child].weight) for child in slot.children)
        return self.table.intern(Op.BLEND, children, (self.parameter(slot.weighting), *weights))

    def gate(self, node: Node) -> int:
        """AND binds tighter than OR; `or` and a mid-list `if` start a new term; an empty list is false."""
        terms = [self.joined(Op.ALL, term) for term in self.terms(node)]
        return self.joined(Op.ANY, terms)

    def terms(self, node: Node) -> Iterator[list[int]]:
        term: list[int] = []
        for condition in node.conditions:
            if condition.join is not Join.AND and term:
                yield term
                term = []
            term.append(self.condition(node, condition))
        if term:
            yield term

    def joined(self, op: Op, operands: list[int]) -> int:
        distinct = tuple(sorted(set(operands)))
        return distinct[0] if len(distinct) == 1 else self.table.intern(op, distinct)

    def condition(self, node: Node, condition: Condition) -> int:
        left = self.series(condition.left)
        right = condition.right
        other = self.series(right) if isinstance(right, Series) else self.number(right)
        bits = self.table.intern(Op.COMPARE, (left, other), (self.parameter(condition.comparator),))
        if condition.for_days != 1:
            bits = self.table.intern(Op.PERSIST, (bits,), (self.parameter(condition.for_days),))
        self.sites.append(Site(self.index, node.id, condition.id, bits))
        return bits

    def series(self, series: Series) -> int:
        parameters = tuple(self.parameter(value) for value in (series.metric, series.window, series.ticker))
        return self.table.intern(Op.SERIES, (), parameters)

    def number(self, value: Value) -> int:
        return self.table.intern(Op.NUMBER, (), (self.parameter(value),))

    def parameter(self, value: Value | None) -> Parameter:
        if isinstance(value, Placeholder):
            return AxisRef(self.axes[value.axis])
        return str(value) if isinstance(value, str) else value
