"""QuantMage spells → native jobs.

1. List the incantations in pre-order, each with its children; null is nothing.
2. Build native nodes from the leaves up, in the normal form of `native`. Nothing passes its weight to its siblings, as
   an empty slot does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from forge_ray.tree.importers.fields import Fields, exact, plain
from forge_ray.tree.importers.logic import TooComplexError, condition_list
from forge_ray.tree.importers.native import Native, blend, choose, is_single, number, position, slots
from forge_ray.tree.importers.quantmage_conditions import Terms
from forge_ray.tree.importers.report import ROOT, Report, Spot, expected

PERIODS = ("Daily", "Weekly", "Monthly", "Quarterly", "Yearly")
WEIGHTINGS = ("Equal", "Custom", "InverseVolatility")
_ROOT_KEYS = ("name", "description", "version", "incantation", "benchmark_ticker", "benchmark_spell", "slippage_bps",
              "trading_type", "threshold", "id", "tags")  # fmt: skip
_COMMON = ("incantation_type", "name", "id", "description", "collapsed")
_WEIGHTED = ("incantations", "weights", "inverse_volatility_window")
_KEYS: dict[str, tuple[str, ...]] = {
    "Ticker": ("symbol",),
    "Weighted": ("type", *_WEIGHTED),
    "Filtered": ("sort_indicator", "count", "bottom", "weight_type", *_WEIGHTED),
    "IfElse": ("condition", "then_incantation", "else_incantation"),
    "Switch": ("conditions", "incantations"),
    "Mixed": ("indicator", "ticker_symbol", "from_value", "to_value", "from_incantation", "to_incantation"),
    "EnterExit": ("enter_condition", "exit_condition", "enter_incantation", "exit_incantation"),
}


@dataclass(slots=True)
class _Spell:
    """An incantation with its children; None where the file has nothing."""

    kind: str
    fields: Fields
    children: list[_Spell | None] = field(default_factory=list)
    node: Native | None = None


def as_job(data: dict[str, Any], report: Report) -> dict[str, Any]:
    """The native job of a spell file, or of a bare incantation."""
    if "incantation" not in data:
        data = {"incantation": data}
    root, terms = Fields(data, ROOT, report), Terms(report)
    root.known(_ROOT_KEYS)
    spell = _read(data["incantation"], ROOT.at("incantation"), report)
    execution = {"mode": "CC", "cost_bps": _cost(root), "rebalance": _rebalance(root)}
    report.check()
    for one in reversed(_pre_order(spell)):
        try:
            one.node = _BUILDERS[one.kind](one, terms)
        except TooComplexError as error:
            report.problem(one.fields.spot, str(error))
    tree = number((spell.node if spell else None) or position("Empty"))
    job: dict[str, Any] = {"name": root.text("name") or "spell", "tree": tree}
    if terms.formulas:
        job["formulas"] = dict(terms.formulas)
    if benchmark := root.text("benchmark_ticker"):
        job["benchmark"] = terms.ticker(benchmark, ROOT.at("benchmark_ticker"), False)
    report.open_point("execution: fills at the deciding close (CC), slippage per side of traded value")
    return job | {"execution": execution}


def _cost(root: Fields) -> int | float:
    if root.get("slippage_bps") is None:
        root.report.repair(root.spot.at("slippage_bps"), "missing; read as 5")
    return root.number("slippage_bps", 5)


def _rebalance(root: Fields) -> Any:
    kind = root.choice("trading_type", (*PERIODS, "Threshold"), default="Daily")
    if kind == "Threshold":
        return {"threshold": root.number("threshold")}
    if kind != "Daily":
        root.report.open_point("decisions of a period are taken on its last trading day")
    return kind.lower()


def _read(raw: Any, spot: Spot, report: Report) -> _Spell | None:
    top: list[_Spell | None] = []
    stack = [(raw, spot, top)]
    while stack:
        raw, at, into = stack.pop()
        if raw is None:
            into.append(None)
        elif not isinstance(raw, dict):
            report.problem(at, expected("an incantation (an object) or null", raw))
        else:
            spell = _Spell("", Fields(raw, at, report))
            into.append(spell)
            spell.kind = spell.fields.choice("incantation_type", tuple(_KEYS))
            spell.fields.known((*_COMMON, *_KEYS[spell.kind]))
            stack.extend((child, where, spell.children) for child, where in reversed(_below(spell)))
    return top[0] if top else None


def _below(spell: _Spell) -> list[tuple[Any, Spot]]:
    fields, spot = spell.fields, spell.fields.spot
    sides = [key for key in _KEYS[spell.kind] if key.endswith("_incantation")]
    if sides:
        return [(fields.get(key), spot.at(key)) for key in sides]
    if "incantations" not in _KEYS[spell.kind]:
        return []
    below = spot.at("incantations")
    return [(child, below.at(k)) for k, child in enumerate(fields.objects("incantations"))]


def _pre_order(root: _Spell | None) -> list[_Spell]:
    found, stack = [], [root]
    while stack:
        if (spell := stack.pop()) is not None:
            found.append(spell)
            stack.extend(reversed(spell.children))
    return found


def _nodes(spell: _Spell) -> list[Native | None]:
    return [child.node if child else None for child in spell.children]


def _ticker(spell: _Spell, terms: Terms) -> Native:
    symbol, at = spell.fields.get("symbol"), spell.fields.spot.at("symbol")
    return position(terms.ticker(symbol, at, False))


def _weighted(spell: _Spell, terms: Terms) -> Native | None:
    return _blend(spell, _rule(spell, "type", terms.report))


def _blend(spell: _Spell, rule: Native) -> Native | None:
    nodes = [node for node in _nodes(spell) if node is not None]
    return blend(nodes, rule) if nodes else None


def _rule(spell: _Spell, key: str, report: Report) -> Native:
    """The weighting of the children, which get their weights."""
    fields = spell.fields
    kind = fields.choice(key, WEIGHTINGS, default="Equal")
    if kind == "InverseVolatility":
        report.open_point("inverse volatility is of the simulated returns of a child")
        return {"weighting": "inverse", "volWindow": fields.integer("inverse_volatility_window", 1)}
    if kind == "Equal":
        return {}
    weights, nodes = fields.objects("weights"), _nodes(spell)
    if len(weights) != len(nodes):
        at = fields.spot.at("weights")
        report.problem(at, f"{len(weights)} weights for {len(nodes)} incantations; expected one for each")
    for k, (weight, node) in enumerate(zip(weights, nodes, strict=False)):
        found = exact(weight)
        if found is None or found < 0:
            report.problem(fields.spot.at("weights").at(k), expected("a weight >= 0", weight))
        elif node is not None:
            node["weight"] = plain(found)
    total = sum(exact(weight) or 0 for weight in weights)
    if total == 0:
        report.problem(fields.spot.at("weights"), "the weights add up to 0; expected a sum of 1 or 100")
    elif total not in (1, 100):
        report.repair(fields.spot.at("weights"), f"the weights add up to {float(total):g}; shares are of that sum")
    report.open_point("what is empty under custom weights passes its share to the others")
    return {"weighting": "defined"}


def _filtered(spell: _Spell, terms: Terms) -> Native | None:
    fields, report = spell.fields, terms.report
    series = terms.indicator(fields.below("sort_indicator"))
    rule = _rule(spell, "weight_type", report)
    nodes = [node for node in _nodes(spell) if node is not None]
    if not all(map(is_single, nodes)):
        report.open_point("what is not a ticker is ranked by its present holdings (quantmage.score=equity)")
    return {
        "id": "", "kind": "function", **series, "rank": "bottom" if fields.flag("bottom", False) else "top",
        "n": fields.integer("count", 1), "of": report.options.get("quantmage.score", "allocation"), **rule,
        "children": {"next": nodes},
    } if nodes else None  # fmt: skip


def _if_else(spell: _Spell, terms: Terms) -> Native | None:
    then, other = _nodes(spell)
    at = spell.fields.spot.at("condition")
    condition = terms.condition(spell.fields.get("condition"), at)
    return choose(condition, then, other) if then or other else None


def _switch(spell: _Spell, terms: Terms) -> Native | None:
    """With one incantation more than conditions: the number of true ones picks, all first. Else the first true one."""
    raw, nodes, at = spell.fields.objects("conditions"), _nodes(spell), spell.fields.spot.at("conditions")
    ladder = len(nodes) == len(raw) + 1
    conditions = [terms.condition(one, at.at(k), has_branches=not ladder) for k, one in enumerate(raw)]
    if not raw or len(nodes) > len(raw) + 1:
        terms.report.problem(at, f"{len(raw)} conditions for {len(nodes)} incantations; expected one fewer")
        return None
    if ladder:
        if None in nodes:
            terms.report.open_point("a null step of a Switch is empty; it passes its weight to its siblings")
        items = [{"conditions": condition_list(condition)} for condition in conditions]
        sides = {f"ladder-{k}": node for k, node in enumerate(reversed(nodes))}
        return slots({"kind": "numbered", "numbered": {"quantifier": "ladder", "items": items}}, sides)
    terms.report.repair(at, f"{len(raw)} conditions for {len(nodes)} incantations; the first true one decides")
    node: Native | None = None
    for condition, then in reversed(list(zip(conditions, nodes, strict=False))):
        node = choose(condition, then, node) if then or node else None
    return node


def _mixed(spell: _Spell, terms: Terms) -> Native | None:
    fields, (start, end) = spell.fields, _nodes(spell)
    series = terms.indicator(fields.below("indicator"))
    ticker = terms.ticker(fields.get("ticker_symbol"), fields.spot.at("ticker_symbol"), True)
    low, high = fields.number("from_value"), fields.number("to_value")
    if low == high:
        terms.report.problem(fields.spot.at("to_value"), f"{high} is from_value too; expected two different ends")
    scale = {f"scale{key.capitalize()}": value for key, value in series.items()}
    ends = {"scaleTicker": ticker, "scaleFrom": low, "scaleTo": high}
    return slots({"kind": "scaling", **scale, **ends}, {"then": start, "else": end}) if start or end else None


def _enter_exit(spell: _Spell, terms: Terms) -> Native | None:
    fields, (inside, outside) = spell.fields, _nodes(spell)
    lists = {
        f"{name}Conditions": condition_list(terms.condition(fields.get(key), fields.spot.at(key)))
        for name, key in (("entry", "enter_condition"), ("exit", "exit_condition"))
    }
    return slots({"kind": "altExit", **lists}, {"then": inside, "else": outside}) if inside or outside else None


_BUILDERS: dict[str, Callable[[_Spell, Terms], Native | None]] = {
    "Ticker": _ticker, "Weighted": _weighted, "Filtered": _filtered, "IfElse": _if_else, "Switch": _switch,
    "Mixed": _mixed, "EnterExit": _enter_exit,
}  # fmt: skip
