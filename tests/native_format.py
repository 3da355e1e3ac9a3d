"""A second reading of the native format: which fields a node, a condition and a job may have, written from the rules.

It knows structure only, so that importers can be checked without asking the parser that their output is meant for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ID = re.compile(r"[A-Za-z0-9_-]+")
COMMON = {"id", "kind", "weight", "title", "bgColor", "collapsed"}
RULE = ("weighting", "volWindow", "minCap", "maxCap", "cappedFallback")
TWO = {key + side for key in RULE for side in ("Then", "Else")}
FIELDS = {
    "position": {"positions"},
    "basic": {"children", *RULE},
    "indicator": {"children", "conditions", *TWO},
    "function": {"children", "metric", "window", "rank", "n", "of", *RULE},
    "numbered": {"children", "numbered", *TWO, *RULE},
    "altExit": {"children", "entryConditions", "exitConditions", *TWO},
    "scaling": {"children", "scaleMetric", "scaleWindow", "scaleTicker", "scaleFrom", "scaleTo", *TWO},
    "call": {"callRefId"},
}
LEFT = {"id", "type", "metric", "window", "ticker", "comparator", "forDays"}
RIGHT = {"expanded", "rightTicker", "rightMetric", "rightWindow"}
DATE = {"id", "type", "metric", "dateMonth", "dateDay", "dateTo"}
COMPARATORS = {"lt", "lte", "gt", "gte", "crossAbove", "crossBelow"}
USED = {"equal": set(), "defined": set(), "inverse": {"volWindow", "minCap", "maxCap"},
        "pro": {"volWindow", "minCap", "maxCap"}, "capped": {"maxCap", "cappedFallback"}}  # fmt: skip
JOB = {"name", "tree", "calls", "formulas", "lists", "axes", "where", "execution", "benchmark", "split", "require"}


def strategies(kind: str) -> list[Path]:
    """The example files of a kind, none if they are not there."""
    beside = Path(__file__).parents[2] / "shared" / "strategies"
    folder = Path(os.environ.get("FORGE_RAY_STRATEGIES", beside)) / kind
    return sorted(folder.iterdir()) if folder.is_dir() else []


def nodes(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every node of a tree in pre-order."""
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed([child for slot in node.get("children", {}).values() for child in slot]))


def check_job(job: dict[str, Any]) -> None:
    """Assert that a job has the structure of the native format."""
    assert set(job) <= JOB, set(job) - JOB
    formulas, calls = set(job.get("formulas", {})), set(job.get("calls", {}))
    for tree in (job["tree"], *job.get("calls", {}).values()):
        found = list(nodes(tree))
        assert len({node["id"] for node in found}) == len(found)
        for node in found:
            _check_node(node, formulas, calls)


def _check_node(node: dict[str, Any], formulas: set[str], calls: set[str]) -> None:
    kind = node["kind"]
    assert set(node) <= FIELDS[kind] | COMMON, (kind, set(node) - FIELDS[kind] - COMMON)
    assert ID.fullmatch(node["id"])
    for side in ("", "Then", "Else"):
        given = {key for key in RULE if key + side in node} - {"weighting"}
        weighting = node.get("weighting" + side, "equal")
        assert given <= USED[weighting], (node, side)
        if weighting == "defined":
            assert all("weight" in child for child in node["children"][side.lower() or "next"])
    lists = [node[key] for key in ("conditions", "entryConditions", "exitConditions") if key in node]
    match kind:
        case "position":
            assert all(isinstance(name, str) and name for name in node["positions"]) and node["positions"]
        case "numbered":
            quantifier, items = node["numbered"]["quantifier"], node["numbered"]["items"]
            assert ("n" in node["numbered"]) == (quantifier in ("exactly", "atLeast", "atMost")) and items
            ladder = {f"ladder-{k}" for k in range(len(items) + 1)}
            assert set(node["children"]) == (ladder if quantifier == "ladder" else {"then", "else"})
            lists += [item["conditions"] for item in items]
        case "function":
            assert node["n"] >= 1 and node["rank"] in ("top", "bottom")
            _check_metric(node["metric"], formulas)
        case "call":
            assert node["callRefId"] in calls
    lines = [line for lines in lists for line in lines]
    assert len({line["id"] for line in lines}) == len(lines)
    for line in lines:
        _check_condition(line, formulas)


def _check_condition(line: dict[str, Any], formulas: set[str]) -> None:
    if line["metric"] == "Date":
        assert set(line) <= DATE
        return
    assert {"id", "type", "metric", "ticker", "comparator"} <= set(line)
    assert line["comparator"] in COMPARATORS
    if line.get("expanded"):
        assert set(line) <= LEFT | RIGHT
        _check_metric(line["rightMetric"], formulas)
    else:
        assert set(line) <= LEFT | {"threshold"} and isinstance(line["threshold"], int | float)
    _check_metric(line["metric"], formulas)


def _check_metric(metric: str, formulas: set[str]) -> None:
    assert not metric.startswith("custom:") or metric[7:] in formulas


def meaning(job: dict[str, Any], *, ids: bool = True) -> dict[str, Any]:
    """A copy of a job without display fields, and without ids if asked."""
    hidden = {"title", "bgColor", "collapsed"} | (set() if ids else {"id"})

    def stripped(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: stripped(item) for key, item in value.items() if key not in hidden}
        return [stripped(item) for item in value] if isinstance(value, list) else value

    return {key: stripped(value) for key, value in job.items() if key != "name"}
