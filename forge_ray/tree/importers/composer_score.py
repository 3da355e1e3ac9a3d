"""Notations B and C of Composer: nested objects with a ``step``, as JSON or as EDN maps. Places are paths."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from forge_ray.tree.importers.composer import Block, Symphony
from forge_ray.tree.importers.composer_code import MIRRORED, compared
from forge_ray.tree.importers.composer_terms import Terms, rebalancing
from forge_ray.tree.importers.fields import Fields, exact
from forge_ray.tree.importers.logic import Condition, Junction
from forge_ray.tree.importers.report import ROOT, Spot, expected

COMPARATORS = ("gt", "lt", "gte", "lte", "eq")
_DISPLAY = (
    "id", "step", "name", "weight", "weight-method", "color", "sparkgraph_url", "collapsed?", "collapsed",
    "suppress_incomplete_warnings", "suppress-incomplete-warnings?", "description",
)  # fmt: skip
_FLAT = (
    "lhs-fn", "lhs-val", "lhs-fn-params", "lhs-window-days", "comparator", "rhs-fixed-value?", "rhs-val", "rhs-fn",
    "rhs-fn-params", "rhs-window-days",
)  # fmt: skip
_KEYS: dict[str, tuple[str, ...]] = {
    "root": (*_DISPLAY, "children", "rebalance", "rebalance-corridor-width", "asset_class", "asset_classes",
             "asset-class", "hashtag", "tags"),
    "wt-cash-equal": (*_DISPLAY, "children"),
    "wt-cash-specified": (*_DISPLAY, "children"),
    "wt-inverse-vol": (*_DISPLAY, "children", "window-days"),
    "group": (*_DISPLAY, "children"),
    "if": (*_DISPLAY, "children"),
    "if-child": (*_DISPLAY, "children", "is-else-condition?", "condition", *_FLAT),
    "filter": (*_DISPLAY, "children", "sort-by?", "sort-by-fn", "sort-by-fn-params", "sort-by-window-days", "select?",
               "select-fn", "select-n"),
    "asset": (*_DISPLAY, "ticker", "exchange", "price", "dollar_volume", "has_marketcap", "children", "children-count"),
    "empty": (*_DISPLAY, "children"),
}  # fmt: skip
_KINDS = {
    "root": "equal", "wt-cash-equal": "equal", "wt-cash-specified": "specified", "wt-inverse-vol": "inverse",
    "group": "group", "if": "if", "if-child": "branch", "filter": "filter", "asset": "asset", "empty": "empty",
}  # fmt: skip
_MARKET_CAP = ("wt-marketcap", "wt-market-cap")
_SIDE = ("fn", "ticker", "params", "constant")


def read(data: dict[str, Any], terms: Terms) -> Symphony:
    """A symphony from its score. Mistakes go to the report of `terms`."""
    root = _Score(terms).tree(data)
    rule = rebalancing(data.get("rebalance"), data.get("rebalance-corridor-width"), ROOT.at("rebalance"), terms.report)
    name = data.get("name")
    return Symphony(name if isinstance(name, str) else "", rule, root)


class _Score:
    def __init__(self, terms: Terms):
        self.terms, self.report = terms, terms.report

    def tree(self, data: dict[str, Any]) -> Block:
        top = Block("equal", ROOT)
        stack: list[tuple[Any, Block, Spot]] = [(data, top, ROOT)]
        while stack:
            raw, parent, spot = stack.pop()
            if not isinstance(raw, dict):
                self.report.problem(spot, expected("a block (an object with a step)", raw))
                continue
            fields = Fields(raw, spot, self.report)
            block = self.block(fields, parent)
            parent.children.append(block)
            below = fields.objects("children") if block.kind not in ("asset", "empty") else []
            children = spot.at("children")
            stack.extend((child, block, children.at(k)) for k, child in reversed(list(enumerate(below))))
        for block in top.children:
            return block
        return top

    def block(self, fields: Fields, parent: Block) -> Block:
        step, spot = fields.get("step"), fields.spot
        if step in _MARKET_CAP:
            self.report.problem(spot.at("step"), f"{step}: weights by market value are not in the native language")
            return Block("broken", spot)
        if not isinstance(step, str) or step not in _KEYS:
            self.report.unknown(spot.at("step"), "step", step, tuple(_KEYS))
            return Block("broken", spot)
        fields.known(_KEYS[step])
        if (step == "if-child") != (parent.kind == "if"):
            where = "only below an if" if step == "if-child" else "expected an if-child below an if"
            self.report.problem(spot.at("step"), f"{step}: {where}")
        block = Block(_KINDS[step], spot)
        if parent.kind == "specified":
            block.weight = self.weight(fields)
        if reader := self.readers().get(step):
            reader(fields, block)
        return block

    def readers(self) -> dict[str, Callable[[Fields, Block], None]]:
        return {
            "asset": self.asset, "group": self.group, "wt-inverse-vol": self.inverse, "filter": self.filter,
            "if": self.choice, "if-child": self.branch,
        }  # fmt: skip

    def asset(self, fields: Fields, block: Block) -> None:
        block.ticker = self.terms.ticker(fields.get("ticker"), fields.spot.at("ticker"))

    def group(self, fields: Fields, block: Block) -> None:
        block.name = fields.text("name")

    def inverse(self, fields: Fields, block: Block) -> None:
        block.window = fields.integer("window-days", 1)

    def weight(self, fields: Fields) -> Fraction:
        weight = fields.below("weight")
        weight.known(("num", "den"), "key")
        num, den = (exact(weight.get(key)) for key in ("num", "den"))
        if num is None or den is None or num < 0 or den <= 0:
            self.report.problem(weight.spot, expected("a weight {num, den} >= 0", fields.get("weight")))
            return Fraction(0)
        return num / den

    def choice(self, fields: Fields, block: Block) -> None:
        others = [child for child in fields.objects("children") if _is_else(child)]
        if len(others) > 1:
            self.report.problem(fields.spot.at("children"), f"{len(others)} else branches; allowed: one")
        if len(others) == len(fields.objects("children")):
            self.report.problem(fields.spot.at("children"), "no branch with a condition; expected at least one")

    def branch(self, fields: Fields, block: Block) -> None:
        if fields.flag("is-else-condition?", False):
            return
        condition = fields.get("condition")
        block.condition = self.flat(fields) if condition is None else self.tree_of(condition, fields)

    def filter(self, fields: Fields, block: Block) -> None:
        selects, sorts = fields.flag("select?", True), fields.flag("sort-by?", True)
        if not selects:
            block.kind = "equal"
            self.report.repair(fields.spot.at("select?"), "the selection is switched off: all candidates are held")
            return
        block.rank = fields.choice("select-fn", ("top", "bottom"))
        block.n = fields.integer("select-n", 1)
        if sorts:
            name = fields.text("sort-by-fn")
            block.series = self.terms.series(name, self.params(fields, "sort-by"), fields.spot.at("sort-by-fn"))
        else:
            self.report.repair(
                fields.spot.at("sort-by?"), "sorting is switched off: the first in the order of writing are held"
            )

    def flat(self, fields: Fields) -> Condition:
        """The condition in the fields of an if-child itself."""
        left = self.side(fields, "lhs")
        fixed = fields.flag("rhs-fixed-value?", fields.get("rhs-fn") is None)
        right = fields.number("rhs-val") if fixed else self.side(fields, "rhs")
        return self.compared(fields, left, right)

    def side(self, fields: Fields, side: str) -> dict[str, Any]:
        name, spot = fields.text(f"{side}-fn"), fields.spot.at(f"{side}-val")
        series = self.terms.series(name, self.params(fields, side), fields.spot.at(f"{side}-fn"))
        return {**series, "ticker": self.terms.ticker(fields.get(f"{side}-val"), spot)}

    def params(self, fields: Fields, side: str) -> Fields:
        """The parameters of an indicator, in either form."""
        params, days = fields.below(f"{side}-fn-params"), fields.get(f"{side}-window-days")
        if days in (None, ""):
            return params
        if "window" in params.data and exact(params.get("window")) != exact(days):
            text = f"{days} days, and {side}-fn-params say {params.get('window')}; expected the same"
            self.report.problem(fields.spot.at(f"{side}-window-days"), text)
        return Fields({"window": days, **params.data}, params.spot, self.report)

    def compared(self, fields: Fields, left: Any, right: Any) -> Condition:
        comparator = fields.choice("comparator", COMPARATORS)
        if comparator == "eq":
            self.report.repair(fields.spot.at("comparator"), "eq read as both <= and >=")
            return Junction("all", [compared(left, one, right, fields.spot, self.terms) for one in ("lte", "gte")])
        return compared(left, comparator, right, fields.spot, self.terms)

    def tree_of(self, condition: Any, fields: Fields) -> Condition:
        """The `condition` of an if-child; it alone is the truth, what stands beside it summarises a part of it."""
        top: list[Condition] = []
        stack: list[tuple[Any, Spot, list[Condition]]] = [(condition, fields.spot.at("condition"), top)]
        while stack:
            raw, spot, into = stack.pop()
            if not isinstance(raw, dict):
                self.report.problem(spot, expected("a condition (an object)", raw))
                continue
            one = Fields(raw, spot, self.report)
            kind = one.choice("condition-type", ("binary", "binary-compound", "compound"))
            if kind != "compound":
                into.append(self.binary(one, kind))
                continue
            one.known(("condition-type", "operator", "conditions"))
            operator = one.choice("operator", ("any", "all"))
            junction = Junction("any" if operator == "any" else "all", [])
            into.append(junction)
            parts = one.objects("conditions")
            if not parts:
                self.report.problem(spot.at("conditions"), "no conditions; expected at least one")
            conditions = spot.at("conditions")
            stack.extend((part, conditions.at(k), junction.parts) for k, part in reversed(list(enumerate(parts))))
        return top[0] if top else {}

    def binary(self, fields: Fields, kind: str) -> Condition:
        compound = ("tickers", "operator") if kind == "binary-compound" else ()
        fields.known(("condition-type", "comparator", "lhs", "rhs", *compound))
        quantified = self.quantified(fields) if compound else None
        left, right = (self.operand(fields.below(side), quantified) for side in ("lhs", "rhs"))
        if quantified and _varies(right) and not _varies(left):
            flipped = MIRRORED.get(fields.get("comparator") or "", fields.get("comparator"))
            left, right = right, left
            fields = Fields({**fields.data, "comparator": flipped}, fields.spot, self.report)
        if quantified and not _varies(left):
            self.report.problem(fields.spot.at("lhs").at("ticker"), expected('"%", which stands for each of tickers',
                                fields.below("lhs").get("ticker")))  # fmt: skip
        elif quantified and _varies(right):
            right = {key: value for key, value in right.items() if key != "ticker"}
        return self.compared(fields, left, right)

    def quantified(self, fields: Fields) -> dict[str, Any]:
        operator = fields.choice("operator", ("any", "all"))
        spot = fields.spot.at("tickers")
        tickers = [self.terms.ticker(value, spot.at(k)) for k, value in enumerate(fields.objects("tickers"))]
        if not tickers:
            self.report.problem(spot, "no tickers; expected at least one")
        return {operator: list(dict.fromkeys(tickers))}

    def operand(self, fields: Fields, quantified: dict[str, Any] | None) -> Any:
        fields.known(_SIDE)
        if "constant" in fields.data:
            return fields.number("constant")
        series = self.terms.series(fields.text("fn"), fields.below("params"), fields.spot.at("fn"))
        if quantified is not None and fields.get("ticker") == "%":
            return {**series, "ticker": quantified}
        return {**series, "ticker": self.terms.ticker(fields.get("ticker"), fields.spot.at("ticker"))}


def _varies(side: Any) -> bool:
    return isinstance(side, dict) and isinstance(side.get("ticker"), dict)


def _is_else(child: Any) -> bool:
    return isinstance(child, dict) and child.get("is-else-condition?") is True
