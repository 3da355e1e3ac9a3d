"""A score as notation A: ``(defsymphony NAME SETTINGS node)``."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, TypeAlias

from forge_ray.tree.importers.fields import exact
from forge_ray.tree.importers.report import ROOT, Report, Spot

SIGNS = {"gt": ">", "lt": "<", "gte": ">=", "lte": "<="}
SHORT = {
    "standard-deviation-return": "stdev-return", "standard-deviation-price": "stdev-price",
    "relative-strength-index": "rsi",
}  # fmt: skip
MAX_INDENTED = 100

Places: TypeAlias = dict[int, Spot]
"""Where the node of a block stands in the native file, by the block's identity."""


def render(score: dict[str, Any], places: Places, report: Report) -> str:
    """The text of a score."""
    head = f'(defsymphony\n {_text(score["name"])}\n {{:asset-class "EQUITIES", {_setting(score)}}}'
    pieces: list[str] = [head]
    stack: list[tuple[Any, Spot, int]] = [(child, ROOT, 1) for child in score["children"]]
    while stack:
        item, spot, depth = stack.pop()
        if isinstance(item, str):
            pieces.append(item)
            continue
        spot = places.get(id(item), spot)
        opening, below, closing = _block(item, spot, report)
        pieces.append("\n" + " " * min(depth, MAX_INDENTED) + opening)
        stack.append((closing, spot, depth))
        stack.extend((child, spot, depth + 1) for child in reversed(below))
    return "".join(pieces) + ")\n"


def _block(block: dict[str, Any], spot: Spot, report: Report) -> tuple[str, list[Any], str]:
    """What stands before the children, the children and texts between them, and what stands after."""
    children = block.get("children", [])
    match block["step"]:
        case "asset":
            return f"(asset {_text(block['ticker'])} {_text(block['ticker'])}", [], ")"
        case "wt-cash-equal":
            return "(weight-equal [", children, "])"
        case "wt-cash-specified":
            pairs = [part for child in children for part in (f"\n{_share(child['weight'])}", child)]
            return "(weight-specified", pairs, ")"
        case "wt-inverse-vol":
            return f"(weight-inverse-volatility {block['window-days']} [", children, "])"
        case "group":
            return f"(group {_text(block['name'])} [", children, "])"
        case "filter":
            by = _series(block["sort-by-fn"], None, block["sort-by-fn-params"], spot, report)
            return f"(filter {by} (select-{block['select-fn']} {block['select-n']}) [", children, "])"
        case "if":
            then, other = children
            condition = _condition(then, spot, report)
            return f"(if {condition} [", [*then["children"], "] [", *other["children"]], "])"
        case _:
            report.problem(spot, f"{block['step']}: notation A has no word for it; export to composer-json")
            return "", [], ""


def _setting(score: dict[str, Any]) -> str:
    if score["rebalance"] == "none":
        return f":rebalance-threshold {score['rebalance-corridor-width']}"
    return f":rebalance-frequency :{score['rebalance']}"


def _condition(branch: dict[str, Any], spot: Spot, report: Report) -> str:
    if "condition" in branch:
        report.problem(
            spot, "any and all of several conditions: notation A has no words for it; export to composer-json"
        )
        return ""
    left = _series(branch["lhs-fn"], branch["lhs-val"], branch["lhs-fn-params"], spot, report)
    right = branch["rhs-val"]
    if not branch["rhs-fixed-value?"]:
        right = _series(branch["rhs-fn"], right, branch["rhs-fn-params"], spot, report)
    return f"({SIGNS.get(branch['comparator'])} {left} {right})"


def _series(name: str, ticker: str | None, params: dict[str, Any], spot: Spot, report: Report) -> str:
    if set(params) - {"window"}:
        report.problem(spot, f"{name}: notation A has no word for it; export to composer-json")
    words = [SHORT.get(name, name), *([] if ticker is None else [_text(ticker)])]
    if "window" in params:
        words.append(f"{{:window {params['window']}}}")
    return f"({' '.join(words)})"


def _share(weight: dict[str, Any]) -> str:
    """A fraction in decimals, without loss."""
    share = exact(weight["num"])
    return format(Decimal(str(weight["num"])).scaleb(-2), "f") if share else "0"


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
