"""Native → Atlas: a FlowNode, or a SavedSystem if the job has formulas, call chains or settings.

1. Lay the tree out; each node becomes a FlowNode with Atlas's field names and units.
2. Put the children together from the leaves up.
"""

from __future__ import annotations

from typing import Any

from forge_ray import jsontext
from forge_ray.tree.exporters.atlas_terms import ANY_RULE, Terms
from forge_ray.tree.exporters.reading import NativeNode, lay_out
from forge_ray.tree.importers.atlas_node import DEFAULT_TITLES
from forge_ray.tree.importers.fields import Fields, exact
from forge_ray.tree.importers.report import Report, Spot

_DAILY = ("daily", None)
_DEFAULTS = {"lag": 0, "start": "common", "calendar": "intersection"}
_GATE = "a gate whose condition is unknown takes else in Atlas; here it holds cash, unless execution.null is else"

FlowNode = dict[str, Any]


def file(job: Fields, report: Report) -> str:
    """The text of the file."""
    terms = Terms(report, job.below("formulas"))
    tree = flow_node(job.get("tree"), job.spot.at("tree"), terms)
    calls = job.below("calls")
    chains = [
        {"id": name, "name": name, "collapsed": False, "root": flow_node(root, calls.spot.at(name), terms)}
        for name, root in calls.data.items()
    ]
    execution = job.below("execution")
    settings = _settings(execution)
    if terms.has_gates and execution.get("null") != "else":
        report.open_point(_GATE)
    report.check()
    if not (chains or terms.formulas.data or settings):
        return jsontext.write(tree) + "\n"
    formulas = [
        {"id": name, "name": name, "formula": terms.formula(name), "createdAt": 0} for name in terms.formulas.data
    ]
    report.check()
    system = {"id": "exported", "name": job.text("name", "exported"), "payload": tree, "tags": []} | settings
    return jsontext.write(system | {"callChains": chains, "customIndicators": formulas}) + "\n"


def _settings(execution: Fields) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if execution.get("mode") is not None:
        found["backtestMode"] = execution.choice("mode", ("CC", "CO", "OO", "OC"))
    if execution.get("cost_bps") is not None:
        found["backtestCostBps"] = execution.number("cost_bps")
    if execution.get("rebalance") not in _DAILY:
        at = execution.spot.at("rebalance")
        execution.report.problem(at, f"{execution.get('rebalance')}: Atlas goes to target every day; allowed: daily")
    for key, default in _DEFAULTS.items():
        if execution.get(key) not in (None, default):
            text = f"{execution.get(key)!r}: not a setting of Atlas; allowed: {default!r}"
            execution.report.problem(execution.spot.at(key), text)
    return found


def flow_node(tree: Any, spot: Spot, terms: Terms) -> FlowNode:
    """A tree as nested FlowNodes. Mistakes go to the report of `terms`."""
    nodes = lay_out(tree, spot, terms.report, None)
    found = [_node(node, terms) for node in nodes]
    for node, flow in zip(nodes, found, strict=True):
        flow["children"] = {slot: [found[index] for index in below] for slot, below in node.slots.items()}
        for slot, below in node.slots.items():
            for index in below if node.rule(slot)["weighting"] == "defined" else ():
                _weigh(nodes[index], found[index], terms)
    return found[0]


def _weigh(node: NativeNode, flow: FlowNode, terms: Terms) -> None:
    """Atlas keeps the weight of a child in its `window`, where a function node has its look-back."""
    weight, at = node.weight, node.fields.spot.at("weight")
    if exact(weight) is None:
        terms.report.problem(at, f"{weight!r} is not a weight; expected a number >= 0")
    if "window" in flow and flow["window"] != weight:
        text = f"{weight}: Atlas keeps weight and look-back ({flow['window']}) of a function node in one field"
        terms.report.problem(at, f"{text}; put the node into a basic one")
    flow["window"] = weight


def _node(node: NativeNode, terms: Terms) -> FlowNode:
    fields, kind = node.fields, node.kind
    flow: FlowNode = {
        "id": fields.text("id"),
        "kind": kind,
        "title": fields.get("title") or DEFAULT_TITLES.get(kind, kind),
    }
    flow |= {key: fields.get(key) for key in ("bgColor", "collapsed") if fields.get(key) is not None}
    flow |= {key: fields.get(key) for key in ANY_RULE if fields.get(key) is not None}
    for key in flow:
        if key.startswith("cappedFallback"):
            terms.holding(flow[key], fields.spot.at(key))
    match kind:
        case "position":
            at = fields.spot.at("positions")
            items = enumerate(fields.objects("positions"))
            flow["positions"] = [terms.holding(name, at.at(k)) for k, name in items]
        case "indicator":
            terms.has_gates = True
            flow["conditions"] = terms.lines(fields, "conditions")
        case "function":
            flow |= _function(fields, terms)
        case "numbered":
            terms.has_gates = True
            flow["numbered"] = _numbered(fields.below("numbered"), terms)
        case "altExit":
            flow |= {key: terms.lines(fields, key) for key in ("entryConditions", "exitConditions")}
        case "scaling":
            flow |= _scaling(fields, terms)
        case "call":
            flow["callRefId"] = fields.text("callRefId")
    return flow


def _function(fields: Fields, terms: Terms) -> FlowNode:
    of = fields.get("of") or "allocation"
    if of != "allocation":
        terms.report.problem(fields.spot.at("of"), f"{of}: not a choice of Atlas's; allowed: allocation")
    found: FlowNode = {"metric": terms.metric(fields, "metric")}
    if fields.get("window") is not None and terms.is_windowed(found["metric"]):
        found["window"] = fields.integer("window", 1)
    rank = fields.choice("rank", ("top", "bottom"))
    return found | {"rank": rank.capitalize(), "bottom": fields.integer("n", 1)}


def _numbered(fields: Fields, terms: Terms) -> FlowNode:
    items, at = [], fields.spot.at("items")
    for k, raw in enumerate(fields.objects("items")):
        item = Fields(raw if isinstance(raw, dict) else {}, at.at(k), fields.report)
        items.append({"id": item.text("id"), "conditions": terms.lines(item, "conditions")})
    return {"quantifier": fields.text("quantifier"), "n": fields.integer("n", 0, default=1), "items": items}


def _scaling(fields: Fields, terms: Terms) -> FlowNode:
    metric = terms.metric(fields, "scaleMetric")
    found: FlowNode = {"scaleMetric": metric, "scaleTicker": terms.series_ticker(fields, "scaleTicker")}
    found["scaleWindow"] = fields.integer("scaleWindow", 1, default=1)
    return found | {key: terms.threshold(fields, key, metric) for key in ("scaleFrom", "scaleTo")}
