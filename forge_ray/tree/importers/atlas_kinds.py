"""How each kind of Atlas node becomes native: one reader per kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from forge_ray.tree.domains import MAX_WINDOW
from forge_ray.tree.importers.atlas_conditions import fresh_id, in_native_unit, look_back
from forge_ray.tree.importers.atlas_node import NodeReader
from forge_ray.tree.importers.atlas_terms import CUSTOM, WINDOWLESS, Owner
from forge_ray.tree.importers.fields import Fields, exact, ticker
from forge_ray.tree.importers.report import Spot, expected

QUANTIFIERS = ("any", "all", "none", "exactly", "atLeast", "atMost", "ladder")


def _two_sided(node: NodeReader) -> None:
    node.rule("Then")
    node.rule("Else")


def _gate(node: NodeReader) -> None:
    if node.report.options.get("atlas.null") != "else":
        node.report.open_point("a gate whose condition is unknown after the start holds cash and is counted "
                               "(atlas.null=else: it takes else, as Atlas does)")  # fmt: skip


def basic(node: NodeReader) -> None:
    node.rule("")


def indicator(node: NodeReader) -> None:
    node.used.add("conditions")
    at = node.spot.at("conditions")
    node.native["conditions"] = node.conditions(node.fields.objects("conditions"), at, node.owner())
    _gate(node)
    _two_sided(node)


def function(node: NodeReader) -> None:
    node.used |= {"metric", "bottom", "rank", "window"}
    if node.fields.get("metric") is None:
        node.report.repair(node.spot.at("metric"), "missing; read as Relative Strength Index")
    name = node.fields.get("metric") or "Relative Strength Index"
    metric = node.native["metric"] = node.terms.metric(name, node.spot.at("metric"))
    if metric.startswith(CUSTOM) or metric not in WINDOWLESS:
        node.native["window"] = look_back(node.fields, "window", 10)
    node.native |= {"rank": _rank(node), "n": _count(node)}
    if node.report.options.get("atlas.score") == "tickers":
        node.native["of"] = "tickers"
    else:
        node.report.open_point("function nodes score a child by its allocation of the bar (atlas.score=tickers: "
                               "by the tickers below it, as Atlas's server does)")  # fmt: skip
    node.rule("")


def _rank(node: NodeReader) -> str:
    value = node.fields.get("rank")
    if value is None:
        node.report.repair(node.spot.at("rank"), "missing; read as bottom")
        return "bottom"
    if not isinstance(value, str) or value.lower() not in ("top", "bottom"):
        node.report.unknown(node.spot.at("rank"), "rank", value, ("Top", "Bottom"))
        return "top"
    return value.lower()


def _count(node: NodeReader) -> int:
    found = exact(node.fields.get("bottom") if node.fields.get("bottom") is not None else 1)
    if found is None or found > MAX_WINDOW:
        at = node.spot.at("bottom")
        node.report.problem(at, expected("how many to keep, a number >= 1", node.fields.get("bottom")))
        return 1
    n = max(1, int(found // 1))
    if n != found:
        node.report.repair(node.spot.at("bottom"), f"{node.fields.get('bottom')} read as {n}")
    return n


def numbered(node: NodeReader) -> None:
    node.used.add("numbered")
    fields = node.fields.below("numbered")
    fields.known(("quantifier", "n", "items"))
    quantifier = fields.choice("quantifier", QUANTIFIERS)
    found: dict[str, Any] = {"quantifier": quantifier}
    if quantifier in ("exactly", "atLeast", "atMost"):
        found["n"] = max(0, int(fields.number("n") // 1))
    owner, ids = node.owner(has_branches=quantifier != "ladder"), set()
    found["items"] = [_item_of(node, raw, fields.spot.at("items").at(k), owner, ids)
                      for k, raw in enumerate(fields.objects("items"))]  # fmt: skip
    if not found["items"]:
        node.report.problem(fields.spot.at("items"), "no items; expected at least one")
    node.native["numbered"] = found
    _gate(node)
    if quantifier == "ladder":
        node.rule("")
    else:
        _two_sided(node)


def _item_of(node: NodeReader, raw: Any, spot: Spot, owner: Owner, ids: set[str]) -> dict[str, Any]:
    if not isinstance(raw, dict):
        node.report.problem(spot, expected("an item (an object)", raw))
        return {}
    item = Fields(raw, spot, node.report)
    item.known(("id", "conditions", "groupLogic"))
    if item.get("groupLogic") not in (None, "and", ""):
        node.report.repair(spot.at("groupLogic"), f"{item.get('groupLogic')!r} is not used by Atlas; left out")
    name = fresh_id(item.get("id"), "i", ids, spot.at("id"), node.report)
    ids.add(name)
    return {
        "id": name,
        "conditions": node.conditions(item.objects("conditions"), spot.at("conditions"), owner, "if"),
    }


def alt_exit(node: NodeReader) -> None:
    node.used |= {"conditions", "entryConditions", "exitConditions"}
    entry = "entryConditions"
    if node.fields.get(entry) is None and node.fields.get("conditions"):
        node.report.repair(node.spot.at("conditions"), "an old save; its conditions are the entry conditions")
        entry = "conditions"
    for key, source in (("entryConditions", entry), ("exitConditions", "exitConditions")):
        items, at = node.fields.objects(source), node.spot.at(source)
        node.native[key] = node.conditions(items, at, node.owner())
    _two_sided(node)


def scaling(node: NodeReader) -> None:
    node.used |= {"scaleMetric", "scaleWindow", "scaleTicker", "scaleFrom", "scaleTo", "conditions"}
    metric = node.terms.metric(_or_default(node, "scaleMetric", "Relative Strength Index"), node.spot.at("scaleMetric"))
    node.native["scaleMetric"] = metric
    if metric.startswith(CUSTOM) or metric not in WINDOWLESS:
        window = _or_default(node, "scaleWindow", 14)
        node.native["scaleWindow"] = look_back(
            Fields({"scaleWindow": window}, node.spot, node.report), "scaleWindow", 14
        )
    path, at = f"{node.native['id']}.scaleTicker", node.spot.at("scaleTicker")
    value = _or_default(node, "scaleTicker", "SPY")
    node.native["scaleTicker"] = node.terms.series_ticker(value, at, node.owner(), path, None, None)
    node.terms.fits(metric, node.native["scaleTicker"], node.spot.at("scaleMetric"))
    for key, default in (("scaleFrom", 0), ("scaleTo", 100)):
        if node.fields.get(key) is None:
            node.report.repair(node.spot.at(key), f"missing; read as {default}")
        node.native[key] = in_native_unit(node.fields.number(key, default), metric)
    if node.native["scaleFrom"] == node.native["scaleTo"]:
        at = node.spot.at("scaleTo")
        node.report.problem(at, f"{node.fields.get('scaleTo')} is scaleFrom too; expected two different ends")
    node.report.open_point("a scaling whose value is unknown holds cash; of Atlas's engines one takes all of then, "
                           "one half of each, one all of else")  # fmt: skip
    _two_sided(node)


def _or_default(node: NodeReader, key: str, default: Any) -> Any:
    value = node.fields.get(key)
    if not value:
        node.report.repair(node.spot.at(key), f"{value!r} read as {default!r}")
    return value or default


def position(node: NodeReader) -> None:
    node.used |= {"positions", "positionMode", "positionTickerListId", "positionTickerListName"}
    mode = node.fields.choice("positionMode", ("manual", "ticker_list", "match_indicator"), default="manual")
    path, at = f"{node.native['id']}.positions", node.spot.at("positions")
    items = node.fields.objects("positions")
    list_id = node.fields.get("positionTickerListId")
    placeholder = next((p[5:] for p in items if isinstance(p, str) and p.startswith("list:")), None)
    list_id = placeholder or (list_id if mode == "ticker_list" else None)
    if mode == "match_indicator":
        node.native["positions"] = [node.terms.matched(node.list_id, node.spot.at("positionMode"), path)]
    elif isinstance(list_id, str) and list_id in node.terms.lists:
        node.native["positions"] = [node.terms.listed(list_id, path)]
    elif placeholder is not None:
        allowed = tuple(node.terms.lists) or ("none in this file",)
        node.report.unknown(at, "ticker list", placeholder, allowed)
    else:
        node.native["positions"] = [_holding(node, item, at.at(k)) for k, item in enumerate(items)] or ["Empty"]


def _holding(node: NodeReader, value: Any, spot: Spot) -> str:
    text = value.strip() if isinstance(value, str) else value
    if text in ("", None) or (isinstance(text, str) and text.lower() == "empty"):
        return "Empty"
    if not isinstance(text, str) or "/" in text or text.lower().startswith("branch:"):
        node.report.problem(spot, expected("a ticker; ratios, branches and objects cannot be held", value))
        return "CASH"
    return ticker(text.upper(), spot, node.report)


def call(node: NodeReader) -> None:
    node.used.add("callRefId")
    name = node.fields.get("callRefId")
    if not isinstance(name, str) or name not in node.tree.calls:
        allowed = node.tree.calls or ("none in this file",)
        node.report.unknown(node.spot.at("callRefId"), "call chain", name, allowed)
    node.native["callRefId"] = name


READERS: dict[str, Callable[[NodeReader], None]] = {
    "basic": basic, "function": function, "indicator": indicator, "numbered": numbered, "position": position,
    "call": call, "altExit": alt_exit, "scaling": scaling,
}  # fmt: skip
