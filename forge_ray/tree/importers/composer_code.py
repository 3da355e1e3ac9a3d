"""Notation A of Composer: ``(defsymphony NAME SETTINGS node)``. Places are lines and columns."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from forge_ray.errors import shown
from forge_ray.tree.importers import edn
from forge_ray.tree.importers.composer import Block, Symphony
from forge_ray.tree.importers.composer_terms import Terms, rebalancing
from forge_ray.tree.importers.fields import Fields, exact, plain
from forge_ray.tree.importers.logic import Condition, Junction
from forge_ray.tree.importers.report import ForeignFileError, Problem, Spot, expected

COMPARATORS = {">": "gt", "<": "lt", ">=": "gte", "<=": "lte"}
MIRRORED = {"gt": "lt", "lt": "gt", "gte": "lte", "lte": "gte"}
NODES = {
    "weight-equal": "equal", "weight-specified": "specified", "weight-inverse-volatility": "inverse", "group": "group",
    "if": "if", "filter": "filter", "asset": "asset",
}  # fmt: skip
SETTINGS = ("asset-class", "rebalance-frequency", "rebalance-threshold")


def read(source: edn.Source, form: Any, terms: Terms) -> Symphony:
    """A symphony from its form. Mistakes go to the report of `terms`."""
    return _Code(source, terms).symphony(form)


class _Code:
    def __init__(self, source: edn.Source, terms: Terms):
        self.source, self.terms, self.report = source, terms, terms.report

    def spot(self, form: edn.Form) -> Spot:
        return self.source.spot(form.start)

    def symphony(self, form: Any) -> Symphony:
        if not _is(form, "defsymphony") or len(form) != 4:
            where = str(self.spot(form)) if isinstance(form, edn.Form) else "line 1, column 1"
            got = f"{len(form)} elements" if isinstance(form, edn.Form) else shown(form)
            raise ForeignFileError([Problem(where, f"expected (defsymphony NAME SETTINGS node), got {got}")])
        _, name, settings, node = form
        spot = self.spot(form)
        if not isinstance(name, str) or not isinstance(settings, dict):
            raise ForeignFileError([Problem(str(spot), f"expected a name and {{settings}}, got {shown(form[1:3])}")])
        fields = Fields(settings, spot, self.report)
        fields.known(SETTINGS, "setting")
        rule = rebalancing(
            fields.get("rebalance-frequency"), fields.get("rebalance-threshold"), spot.at("settings"), self.report
        )
        return Symphony(name, rule, self.tree(node, spot))

    def tree(self, form: Any, spot: Spot) -> Block:
        root = Block("equal", spot)
        stack: list[tuple[Any, Block, Any]] = [(form, root, None)]
        while stack:
            form, parent, weight = stack.pop()
            block, below = self.node(form, parent.spot)
            if parent.kind == "specified":
                block.weight = self.weight(weight, block.spot)
            parent.children.append(block)
            stack.extend(reversed(below))
        return root

    def node(self, form: Any, spot: Spot) -> tuple[Block, list[tuple[Any, Block, Any]]]:
        """A block and what is to be read below it: (form, parent, weight)."""
        if not isinstance(form, edn.Form) or not form or not isinstance(form[0], edn.Symbol):
            self.report.problem(spot, expected("a block such as (asset TICKER NAME)", form))
            return Block("broken", spot), []
        spot, head, arguments = self.spot(form), str(form[0]), form[1:]
        if head not in NODES:
            self.report.unknown(spot, "block", head, NODES)
            return Block("broken", spot), []
        block = Block(NODES[head], spot)
        match head:
            case "asset":
                block.ticker = self.asset(arguments, spot)
                return block, []
            case "weight-specified":
                return block, self.weighted(arguments, block)
            case "weight-inverse-volatility":
                block.window = self.window(arguments[:1], spot)
                arguments = arguments[1:]
            case "group":
                block.name = self.name(arguments[:1], spot)
                arguments = arguments[1:]
            case "filter":
                self.filter(arguments, block)
                arguments = arguments[2:]
            case "if":
                return block, self.branches(arguments, block)
        if len(arguments) != 1:
            self.report.problem(spot, f"{head}: expected one vector of blocks, got {len(arguments)} elements")
            return block, []
        return block, self.vector(arguments[0], block)

    def vector(self, value: Any, block: Block) -> list[tuple[Any, Block, Any]]:
        if not isinstance(value, list) or isinstance(value, edn.Form):
            self.report.problem(block.spot, expected("a vector [ ] of blocks", value))
            return []
        return [(form, block, None) for form in value]

    def asset(self, arguments: list[Any], spot: Spot) -> str:
        if not 1 <= len(arguments) <= 2:
            self.report.problem(spot, f"asset: expected a ticker and a name, got {len(arguments)} elements")
            return "CASH"
        return self.terms.ticker(arguments[0], spot)

    def name(self, arguments: list[Any], spot: Spot) -> str:
        if not arguments or not isinstance(arguments[0], str):
            self.report.problem(spot, expected("the name of the group", *arguments or [None]))
            return ""
        return str(arguments[0])

    def window(self, arguments: list[Any], spot: Spot) -> int:
        return Fields({"window": arguments[0] if arguments else None}, spot, self.report).integer("window", 1)

    def weighted(self, arguments: list[Any], block: Block) -> list[tuple[Any, Block, Any]]:
        if len(arguments) % 2 or not arguments:
            text = f"weight-specified: expected pairs of weight and block, got {len(arguments)} elements"
            self.report.problem(block.spot, text)
            return []
        return [(form, block, weight) for weight, form in zip(arguments[::2], arguments[1::2], strict=True)]

    def weight(self, value: Any, spot: Spot) -> Any:
        found = exact(value) if isinstance(value, int | Decimal) else None
        if found is None or found < 0:
            self.report.problem(spot, expected("a weight >= 0", value))
            return exact(0)
        return found

    def branches(self, arguments: list[Any], block: Block) -> list[tuple[Any, Block, Any]]:
        if len(arguments) != 3:
            text = f"if: expected a condition and two vectors of blocks, got {len(arguments)} elements"
            self.report.problem(block.spot, text)
            return []
        block.children = [
            Block("branch", block.spot, condition=self.condition(arguments[0], block.spot)),
            Block("branch", block.spot),
        ]
        return [
            below
            for branch, forms in zip(block.children, arguments[1:], strict=True)
            for below in self.vector(forms, branch)
        ]

    def condition(self, form: Any, spot: Spot) -> Condition:
        if not isinstance(form, edn.Form) or len(form) != 3 or not isinstance(form[0], edn.Symbol):
            self.report.problem(spot, expected("a condition such as (> (rsi TICKER {:window 10}) 70)", form))
            return {}
        spot = self.spot(form)
        sign, left, right = str(form[0]), self.operand(form[1], spot), self.operand(form[2], spot)
        if sign == "=":
            self.report.repair(spot, "= read as both <= and >=")
            return Junction("all", [self.line("lte", left, right, spot), self.line("gte", left, right, spot)])
        if sign not in COMPARATORS:
            self.report.unknown(spot, "comparison", sign, (*COMPARATORS, "="))
            return {}
        return self.line(COMPARATORS[sign], left, right, spot)

    def line(self, comparator: str, left: Any, right: Any, spot: Spot) -> dict[str, Any]:
        if not isinstance(left, dict):
            left, right, comparator = right, left, MIRRORED[comparator]
        return compared(left, comparator, right, spot, self.terms)

    def operand(self, form: Any, spot: Spot) -> Any:
        """A number, or metric, window and ticker."""
        if (found := exact(form)) is not None and not isinstance(form, str):
            return plain(found)
        if not isinstance(form, edn.Form) or not 2 <= len(form) <= 3 or not isinstance(form[0], edn.Symbol):
            self.report.problem(spot, expected("a number or (indicator TICKER {:window n})", form))
            return {}
        at = self.spot(form)
        return {**self.series(form, form[2:], at), "ticker": self.terms.ticker(form[1], at)}

    def series(self, form: edn.Form, rest: list[Any], spot: Spot) -> dict[str, Any]:
        params = rest[0] if rest else {}
        if not isinstance(params, dict):
            self.report.problem(spot, expected("parameters such as {:window 10}", params))
            params = {}
        return self.terms.series(str(form[0]), Fields(params, spot, self.report), spot)

    def filter(self, arguments: list[Any], block: Block) -> None:
        by, select = arguments[:2] if len(arguments) >= 2 else (None, None)
        if not isinstance(by, edn.Form) or not 1 <= len(by) <= 2 or not isinstance(by[0], edn.Symbol):
            self.report.problem(block.spot, expected("filter: what to sort by, such as (rsi {:window 10})", by))
            return
        block.series = self.series(by, by[1:], self.spot(by))
        if not isinstance(select, edn.Form) or len(select) != 2 or select[0] not in ("select-top", "select-bottom"):
            self.report.problem(block.spot, expected("filter: (select-top n) or (select-bottom n)", select))
            return
        block.rank = select[0].removeprefix("select-")
        block.n = Fields({"n": select[1]}, self.spot(select), self.report).integer("n", 1)


def compared(left: Any, comparator: str, right: Any, spot: Spot, terms: Terms) -> dict[str, Any]:
    """The native line of two operands, the left one an indicator."""
    if not isinstance(left, dict):
        terms.report.problem(spot, f"compares the numbers {left} and {right}; expected an indicator on one side")
        return {}
    if not isinstance(right, dict):
        return {**left, "comparator": comparator, "threshold": right}
    rights = {f"right{key.capitalize()}": value for key, value in right.items()}
    return {**left, "comparator": comparator, "expanded": True, **rights}


def _is(form: Any, name: str) -> bool:
    return isinstance(form, edn.Form) and bool(form) and isinstance(form[0], edn.Symbol) and form[0] == name
