"""A tree as an outline for people: one line per node, indented, conditions as they are written in Python.

Reads native JSON without asking that it be valid, so that a tree with mistakes can be looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, NamedTuple

from forge_ray.catalog import INDICATOR_BY_NAME
from forge_ray.tree.phrases import SHORT_NAMES, SIGNS

_WEIGHTED = {
    "equal": "in equal parts",
    "defined": "by weight",
    "inverse": "by inverse volatility",
    "pro": "by volatility",
    "capped": "in equal parts up to a cap",
}


class Line(NamedTuple):
    """`keyword` says what the line is, `text` what it holds."""

    depth: int
    keyword: str
    text: str


def outline(tree: Mapping[str, Any]) -> str:
    """The outline as plain text."""
    return "\n".join(f"{'  ' * depth}{keyword} {text}".rstrip() for depth, keyword, text in _lines(tree))


def outline_html(tree: Mapping[str, Any]) -> str:
    """The outline as HTML, in the colours of the page it stands on."""
    lines = (f"{'  ' * depth}<b>{escape(keyword)}</b> {escape(text)}".rstrip() for depth, keyword, text in _lines(tree))
    return '<pre style="line-height:1.4;margin:.5em 0">' + "\n".join(lines) + "</pre>"


def _lines(tree: Mapping[str, Any]) -> Iterator[Line]:
    stack: list[tuple[int, str | Mapping[str, Any]]] = [(0, tree)]
    while stack:
        depth, item = stack.pop()
        if isinstance(item, str):
            yield Line(depth, item, "")
            continue
        yield _line(depth, item)
        below: list[tuple[int, str | Mapping[str, Any]]] = []
        for slot, children in item.get("children", {}).items():
            below += [(depth, slot)] if slot not in ("next", "then") else []
            below += [(depth + 1, child) for child in children if child is not None]
        stack += reversed(below)


def _line(depth: int, node: Mapping[str, Any]) -> Line:
    share = f"{node['weight']} × " if "weight" in node else ""
    match node["kind"]:
        case "position":
            return Line(depth, f"{share}hold", ", ".join(map(str, node["positions"])))
        case "indicator":
            return Line(depth, f"{share}if", " ".join(_conditions(node["conditions"])))
        case "altExit":
            entry, leave = (" ".join(_conditions(node[name])) for name in ("entryConditions", "exitConditions"))
            return Line(depth, f"{share}from", f"{entry} until {leave}")
        case "numbered":
            return Line(depth, f"{share}if", _count(node["numbered"]))
        case "function":
            ranked = _signal(node["metric"], "", node.get("window")).replace("(, ", "(").replace("()", "")
            return Line(depth, f"{share}{node['rank']} {node['n']}", f"by {ranked} of {node.get('of', 'allocation')}")
        case "scaling":
            value = _signal(node["scaleMetric"], _subject(node["scaleTicker"]), node.get("scaleWindow"))
            return Line(depth, f"{share}blend", f"by {value} from {node['scaleFrom']} to {node['scaleTo']}")
        case "call":
            return Line(depth, f"{share}call", str(node["callRefId"]))
        case _:
            rule = node.get("weighting", "equal")
            return Line(depth, f"{share}group", _WEIGHTED.get(rule, f"by {rule}"))


def _conditions(conditions: list[Mapping[str, Any]]) -> Iterator[str]:
    for k, condition in enumerate(conditions):
        if k:
            yield "and" if condition.get("type", "and") == "and" else "or"
        yield _comparison(condition)


def _count(numbered: Mapping[str, Any]) -> str:
    n = f" {numbered['n']}" if "n" in numbered else ""
    items = "; ".join(" ".join(_conditions(item["conditions"])) for item in numbered["items"])
    return f"{numbered['quantifier']}{n} of {items}"


def _subject(ticker: Any) -> str:
    if not isinstance(ticker, Mapping):
        return str(ticker)
    (key, tickers), *_ = ticker.items()
    return "/".join(map(str, tickers)) if key == "ratio" else f"{key} of {tickers}"


def _comparison(condition: Mapping[str, Any]) -> str:
    if condition["metric"] == "Date":
        to = condition.get("dateTo") or {"month": condition["dateMonth"], "day": condition["dateDay"]}
        return f"date from {condition['dateMonth']}/{condition['dateDay']} to {to['month']}/{to['day']}"
    right = condition.get("threshold")
    if condition.get("expanded"):
        names = (("rightMetric", "metric"), ("rightTicker", "ticker"), ("rightWindow", "window"))
        metric, ticker, window = (condition.get(name, condition.get(default)) for name, default in names)
        right = _signal(metric, _subject(ticker), window)
    left = _signal(condition["metric"], _subject(condition["ticker"]), condition.get("window"))
    days = condition.get("forDays", 1)
    lasting = f" for {days} days" if days != 1 else ""
    return f"{left} {SIGNS.get(condition['comparator'], condition['comparator'])} {right}{lasting}"


def _signal(metric: str, ticker: str, window: object) -> str:
    entry = INDICATOR_BY_NAME.get(metric)
    name = SHORT_NAMES[entry.name] if entry else metric
    return f"{name}({ticker})" if window is None or (entry and not entry.windowed) else f"{name}({ticker}, {window})"
