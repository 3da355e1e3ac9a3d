"""Native → Composer.

1. The tree becomes a score (notation B) from the leaves up.
2. Notation A is the same score as an s-expression; what it has no words for is an error.
"""

from __future__ import annotations

import uuid
from fractions import Fraction
from typing import Any

from forge_ray import jsontext
from forge_ray.catalog import CASH
from forge_ray.tree.exporters.composer_code import Places, render
from forge_ray.tree.exporters.composer_conditions import Terms
from forge_ray.tree.exporters.reading import NativeNode, lay_out
from forge_ray.tree.importers.composer_terms import PERIODS
from forge_ray.tree.importers.fields import Fields, exact, plain
from forge_ray.tree.importers.native import is_single
from forge_ray.tree.importers.report import Report, expected
from forge_ray.tree.nodes import EMPTY

_NAMESPACE = uuid.UUID("6f1c1a2e-52c3-5d43-9d0b-0d6a4f5b7c11")
_WEIGHTS = {"equal": "wt-cash-equal", "defined": "wt-cash-specified", "inverse": "wt-inverse-vol"}
_FLOW = "Composer has no empty place that passes its weight on; put a position CASH here"

Score = dict[str, Any]


def score(job: Fields, report: Report) -> str:
    """Notation B, as JSON text."""
    root, _ = build(job, report)
    report.check()
    _number(root)
    return jsontext.write(root) + "\n"


def code(job: Fields, report: Report) -> str:
    """Notation A."""
    root, places = build(job, report)
    report.check()
    return render(root, places, report)


def build(job: Fields, report: Report) -> tuple[Score, Places]:
    """The score of a job, without ids, and where its blocks come from."""
    nodes = lay_out(job.get("tree"), job.spot.at("tree"), report, job.below("calls"))
    builder = _Builder(nodes, Terms(report, job.below("formulas").data))
    blocks: list[Score] = [{}] * len(nodes)
    places: Places = {}
    for index in range(len(nodes) - 1, -1, -1):
        blocks[index] = builder.block(nodes[index], blocks)
        places[id(blocks[index])] = nodes[index].fields.spot
    root: Score = {"step": "root", "name": job.text("name", "symphony"), "description": ""}
    return root | _settings(job.below("execution")) | {"children": [_weighted(block) for block in blocks[:1]]}, places


def _settings(execution: Fields) -> Score:
    report, spot = execution.report, execution.spot
    if execution.get("mode") not in (None, "CC"):
        report.problem(
            spot.at("mode"), f"{execution.get('mode')}: Composer decides and fills at the close; allowed: CC"
        )
    if execution.get("lag"):
        report.problem(spot.at("lag"), f"{execution.get('lag')}: Composer fills at the deciding close; allowed: 0")
    if execution.get("cost_bps") not in (None, 1):
        report.open_point(f"cost_bps {execution.get('cost_bps')} is a setting of the account, not of a symphony")
    rule = execution.get("rebalance")
    if isinstance(rule, dict):
        points = exact(rule.get("threshold"))
        if points is None:
            report.problem(spot.at("rebalance"), expected('{"threshold": points}', rule))
        return {"rebalance": "none", "rebalance-corridor-width": plain((points or Fraction(0)) / 100)}
    if rule not in (None, *PERIODS):
        report.unknown(spot.at("rebalance"), "rebalancing", rule, (*PERIODS, '{"threshold": points}'))
    return {"rebalance": rule or "daily"}


class _Builder:
    def __init__(self, nodes: list[NativeNode], terms: Terms):
        self.nodes, self.terms, self.report = nodes, terms, terms.report

    def block(self, node: NativeNode, blocks: list[Score]) -> Score:
        fields = node.fields
        match node.kind:
            case "position":
                found = self.position(fields)
            case "basic":
                found = self.blend(node, "next", blocks)
            case "indicator" | "numbered":
                found = self.choice(node, blocks)
            case "function":
                found = self.filter(node, blocks)
            case _:
                self.report.problem(fields.spot.at("kind"), f"{node.kind}: Composer has no such block")
                found = {"step": "empty"}
        title = fields.get("title")
        return {"step": "group", "name": str(title), "children": [_weighted(found)]} if title else found

    def position(self, fields: Fields) -> Score:
        assets, at = [], fields.spot.at("positions")
        for k, name in enumerate(fields.objects("positions")):
            if name == CASH:
                assets.append({"step": "empty"})
            elif name == EMPTY:
                self.report.problem(at.at(k), _FLOW)
            else:
                assets.append({"step": "asset", "ticker": self.terms.ticker(name, at.at(k))})
        if not assets:
            self.report.problem(at, _FLOW)
        return assets[0] if len(assets) == 1 else {"step": "wt-cash-equal", "children": assets}

    def blend(self, node: NativeNode, slot: str, blocks: list[Score]) -> Score:
        rule, spot = node.rule(slot), node.fields.spot
        children = [blocks[index] for index in node.slots.get(slot, [])]
        weighting = rule["weighting"]
        if not children:
            self.report.problem(spot.at("children").at(slot), _FLOW)
        if not isinstance(weighting, str) or weighting not in _WEIGHTS:
            self.report.unknown(spot.at("weighting"), "weighting", weighting, _WEIGHTS)
            return {"step": "wt-cash-equal", "children": children}
        found: Score = {"step": _WEIGHTS[weighting], "children": children}
        if weighting == "defined":
            self.share(node, slot, children)
        elif weighting == "inverse":
            if (rule["minCap"], rule["maxCap"]) != (0, 100):
                self.report.problem(spot, "caps of an inverse weighting; Composer has none")
            found["window-days"] = rule["volWindow"]
        return found

    def share(self, node: NativeNode, slot: str, children: list[Score]) -> None:
        shares = []
        for index in node.slots.get(slot, []):
            child = self.nodes[index]
            weight = exact(child.weight)
            if weight is None or weight < 0:
                self.report.problem(child.fields.spot.at("weight"), expected("a weight >= 0", child.weight))
            shares.append(weight or Fraction(0))
        total = sum(shares)
        if total == 0:
            self.report.problem(node.fields.spot, "the weights add up to 0; expected a sum above 0")
        if abs(total - 100) < Fraction(1, 10**7):
            total = Fraction(100)
        for child, weight in zip(children, shares, strict=True):
            child["weight"] = {"num": plain(weight * 100 / total if total else weight), "den": 100}

    def choice(self, node: NativeNode, blocks: list[Score]) -> Score:
        condition = self.terms.gate(node)
        sides = []
        for slot in ("then", "else"):
            blend = self.blend(node, slot, blocks)
            sides.append(blend["children"] if blend["step"] == "wt-cash-equal" else [blend])
        return {
            "step": "if",
            "children": [
                {"step": "if-child", "is-else-condition?": False, **condition, "children": sides[0]},
                {"step": "if-child", "is-else-condition?": True, "children": sides[1]},
            ],
        }

    def filter(self, node: NativeNode, blocks: list[Score]) -> Score:
        fields = node.fields
        name, params = self.terms.series(fields, "metric", "window")
        if node.rule("next")["weighting"] != "equal":
            self.report.problem(fields.spot.at("weighting"), "a filter of Composer gives equal shares; allowed: equal")
        self.scored(node)
        children = [blocks[index] for index in node.slots.get("next", [])]
        if not children:
            self.report.problem(fields.spot.at("children").at("next"), _FLOW)
        return {
            "step": "filter", "select?": True, "sort-by?": True, "sort-by-fn": name, "sort-by-fn-params": params,
            "select-fn": fields.choice("rank", ("top", "bottom")), "select-n": fields.integer("n", 1),
            "children": children,
        }  # fmt: skip

    def scored(self, node: NativeNode) -> None:
        """Composer scores an asset by its prices and anything else by its simulated equity."""
        below = [self.nodes[index].fields.data for index in node.slots.get("next", [])]
        assets = all(is_single(one) and one["positions"] != [CASH] for one in below)
        of, fields = node.fields.get("of") or "allocation", node.fields
        if assets and of == "equity":
            self.report.problem(
                fields.spot.at("of"), "equity over single tickers; Composer reads their prices: allocation"
            )
        elif not assets and of != "equity":
            text = f"{of}: Composer scores what is not a single ticker by its equity; allowed: equity"
            self.report.problem(fields.spot.at("of"), text)


def _weighted(block: Score) -> Score:
    """A block below a root or a group, which hold weight blocks only."""
    is_weight = block.get("step") in _WEIGHTS.values()
    return block if is_weight else {"step": "wt-cash-equal", "children": [block]}


def _number(root: Score) -> None:
    """Ids in pre-order, the same for the same tree."""
    stack, count = [root], 0
    while stack:
        block = stack.pop()
        count += 1
        block["id"] = str(uuid.uuid5(_NAMESPACE, str(count)))
        stack.extend(reversed(block.get("children", [])))
