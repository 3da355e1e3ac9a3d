"""The parameter ranges of a Forge job → axes by paths.

1. Ticker lists are the outermost axes, one per list, however often it is used.
2. Numeric ranges follow in their order; the last is the fastest.
3. A maximum off the grid is a value of Forge's, so it stays: the axis is then an explicit list.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from forge_ray.tree.importers.atlas_terms import FRACTIONS, Terms
from forge_ray.tree.importers.fields import Fields, exact, plain, ticker
from forge_ray.tree.importers.report import expected
from forge_ray.tree.values import MAX_VALUES

_KEYS = ("id", "type", "nodeId", "conditionId", "path", "currentValue", "enabled", "min", "max", "step", "label",
         "tickerListId", "tickerListName", "tickers")  # fmt: skip
_CONDITION_FIELDS = ("window", "threshold", "rightWindow", "forDays")
_NODE_FIELDS = {
    "window": "window", "bottom": "n", "volWindow": "volWindow", "volWindowThen": "volWindowThen",
    "volWindowElse": "volWindowElse", "scaleWindow": "scaleWindow", "scaleFrom": "scaleFrom", "scaleTo": "scaleTo",
    "minCap": "minCap", "maxCap": "maxCap",
}  # fmt: skip
_WHOLE = ("window", "rightWindow", "forDays", "n", "volWindow", "volWindowThen", "volWindowElse", "scaleWindow")
_RESERVED = ("is", "oos", "full")


def ticker_lists(job: Fields) -> dict[str, list[str]]:
    """The tickers of each list that a range names."""
    found: dict[str, list[str]] = {}
    for one in _ranges(job, "ticker_list"):
        tickers = [ticker(str(name).strip().upper(), one.spot.at("tickers").at(k), one.report)
                   for k, name in enumerate(one.objects("tickers"))]  # fmt: skip
        name = one.text("tickerListId")
        if not tickers or not name:
            one.report.problem(one.spot, "a ticker list needs a tickerListId and at least one of tickers")
        else:
            found[name] = list(dict.fromkeys(tickers))
    return found


def read_axes(job: Fields, nodes: dict[str, dict[str, Any]], terms: Terms) -> dict[str, Any]:
    """The axes of all enabled ranges. nodes : native nodes by id."""
    axes: dict[str, Any] = {}
    for one in _ranges(job, "ticker_list"):
        list_id = one.text("tickerListId")
        paths = terms.uses.pop(list_id, [])
        if paths:
            name = _name(f"ticker_{one.text('tickerListName') or list_id}", axes)
            axes[name] = {"paths": paths, "values": terms.lists[list_id]}
        elif list_id in terms.lists:
            one.report.repair(one.spot, f"ticker list {list_id} is not used in the tree; left out")
    swept: set[str] = set()
    for one in _ranges(job, "period", "threshold"):
        if (found := _place(one, nodes)) is not None:
            path, field, is_fraction = found
            if path in swept:
                one.report.problem(one.spot.at("path"), f"a second range of {path}; allowed: one")
            swept.add(path)
            axes[_name(path.replace(".", "_"), axes)] = {"paths": [path], "values": _values(one, field, is_fraction)}
    return axes


def _ranges(job: Fields, *types: str) -> list[Fields]:
    found = []
    for k, raw in enumerate(job.objects("parameterRanges")):
        spot = job.spot.at("parameterRanges").at(k)
        if not isinstance(raw, dict):
            if "period" in types:
                job.report.problem(spot, expected("a range (an object)", raw))
            continue
        one = Fields(raw, spot, job.report)
        kind = raw.get("type")
        if "period" in types:
            one.known(_KEYS)
            one.choice("type", ("period", "threshold", "ticker_list"))
        if kind in types and one.flag("enabled", True):
            found.append(one)
    return found


def _place(one: Fields, nodes: dict[str, dict[str, Any]]) -> tuple[str, str, bool] | None:
    """(path, field, whether Atlas has its values as fractions) of what a range sweeps."""
    node_id, condition_id = one.text("nodeId"), one.text("conditionId")
    field = one.text("path").rpartition(".")[2]
    if node_id not in nodes:
        one.report.unknown(one.spot.at("nodeId"), "node", node_id, tuple(nodes))
        return None
    node = nodes[node_id]
    if condition_id:
        lines = {line["id"]: line for line in _conditions(node)}
        if condition_id not in lines:
            one.report.unknown(one.spot.at("conditionId"), "condition", condition_id, tuple(lines) or ("none",))
            return None
        if field not in _CONDITION_FIELDS or field not in lines[condition_id]:
            allowed = [name for name in _CONDITION_FIELDS if name in lines[condition_id]]
            one.report.unknown(one.spot.at("path"), "field", field, allowed)
            return None
        is_fraction = field == "threshold" and lines[condition_id]["metric"] in FRACTIONS
        return f"{node_id}.{condition_id}.{field}", field, is_fraction
    native = "weight" if field == "window" and node["kind"] != "function" else _NODE_FIELDS.get(field, "")
    if native not in node:
        allowed = [name for name, own in _NODE_FIELDS.items() if own in node]
        one.report.unknown(one.spot.at("path"), "field", field, allowed or ("none",))
        return None
    return f"{node_id}.{native}", native, field in ("scaleFrom", "scaleTo") and node["scaleMetric"] in FRACTIONS


def _conditions(node: dict[str, Any]) -> list[dict[str, Any]]:
    lists = [node.get(key, []) for key in ("conditions", "entryConditions", "exitConditions")]
    lists += [item.get("conditions", []) for item in node.get("numbered", {}).get("items", [])]
    return [line for lines in lists for line in lines]


def _values(one: Fields, field: str, is_fraction: bool) -> Any:
    """``"low..high by step"``, or the values if the maximum is off the grid."""
    low, high, step = (_exact(one, key, is_fraction) for key in ("min", "max", "step"))
    if step <= 0 or low > high or (high - low) / step > MAX_VALUES:
        text = f"expected min <= max, a step above 0 and at most {MAX_VALUES:,} values"
        one.report.problem(one.spot, f"{text}, got {one.get('min')}..{one.get('max')} by {one.get('step')}")
        return []
    if field in _WHOLE and any(value.denominator != 1 for value in (low, high, step)):
        one.report.problem(one.spot, f"{field} takes whole numbers, got {one.get('min')}..{one.get('max')} by "
                           f"{one.get('step')}")  # fmt: skip
    steps = (high - low) // step
    if low + steps * step == high:
        return f"{plain(low)}..{plain(high)} by {plain(step)}"
    off = one.get("max")
    one.report.repair(
        one.spot.at("max"), f"{off} is off the grid of {one.get('min')} by {one.get('step')}; kept as a value"
    )
    return [plain(low + k * step) for k in range(int(steps) + 1)] + [plain(high)]


def _exact(one: Fields, key: str, is_fraction: bool) -> Fraction:
    return (exact(one.number(key)) or Fraction(0)) * (100 if is_fraction else 1)


def _name(text: str, axes: dict[str, Any]) -> str:
    """An axis name made of a text."""
    name = re.sub(r"[^a-z0-9_]+", "_", text.lower()).strip("_")
    if not name[:1].isalpha() or name.partition("_")[0] in _RESERVED:
        name = f"axis_{name}"
    base, k = name[:28], 1
    name = base
    while name in axes:
        k += 1
        name = f"{base}_{k}"
    return name
