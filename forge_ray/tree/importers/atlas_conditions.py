"""The condition lines of Atlas → native conditions."""

from __future__ import annotations

import calendar
import re
from collections.abc import Collection
from typing import Any

from forge_ray.tree.domains import MAX_FOR_DAYS, MAX_WINDOW
from forge_ray.tree.importers.atlas_terms import CUSTOM, DATE, FRACTIONS, WINDOWLESS, Owner, Terms
from forge_ray.tree.importers.fields import Fields, exact, plain
from forge_ray.tree.importers.report import Report, Spot, expected

COMPARATORS = ("lt", "gt", "crossAbove", "crossBelow")
SIGNS = {"<": "lt", ">": "gt"}
JOINS = ("if", "and", "or")
ID = re.compile(r"[A-Za-z0-9_-]+")
_KEYS = (
    "id", "type", "metric", "window", "ticker", "comparator", "threshold", "expanded", "rightTicker", "rightMetric",
    "rightWindow", "forDays", "dateMonth", "dateDay", "dateTo", "tickerListId", "tickerListName", "rightTickerListId",
    "rightTickerListName", "conditionMode", "rightConditionMode", "parentNodeId",
)  # fmt: skip


def read_conditions(
    items: list[Any], spot: Spot, owner: Owner, terms: Terms, ids: set[str], missing_type: str = "and"
) -> list[dict[str, Any]]:
    """A condition list. ids : of the node's conditions so far, grows. missing_type : what a line without a type is."""
    lines = []
    for k, item in enumerate(items):
        at = spot.at(k)
        if not isinstance(item, dict):
            terms.report.problem(at, expected("a condition (an object)", item))
            continue
        line = _Line(Fields(item, at, terms.report), owner, terms, ids)
        lines.append(line.read("if" if k == 0 else missing_type, first=k == 0))
    return lines


class _Line:
    def __init__(self, fields: Fields, owner: Owner, terms: Terms, ids: set[str]):
        self.fields, self.owner, self.terms, self.report = fields, owner, terms, terms.report
        self.spot = fields.spot
        self.id = fresh_id(fields.get("id"), "c", ids, self.spot.at("id"), self.report)
        ids.add(self.id)

    def read(self, missing_type: str, *, first: bool) -> dict[str, Any]:
        self.fields.known(_KEYS)
        line = {"id": self.id, "type": self.join(missing_type, first=first)}
        if self.fields.get("metric") == DATE:
            return line | {"metric": DATE} | self.date()
        return line | self.comparison()

    def join(self, missing: str, *, first: bool) -> str:
        value = self.fields.get("type")
        if first:
            return "if"
        if value not in JOINS:
            if value is not None or missing == "if":
                self.report.repair(self.spot.at("type"), f"type {value!r} read as {missing!r}")
            return missing
        return value

    def date(self) -> dict[str, Any]:
        month = self.fields.integer("dateMonth", 1, 12, default=1)
        day = self.fields.integer("dateDay", 1, 31, default=1)
        found: dict[str, Any] = {"dateMonth": month, "dateDay": min(day, _days(month))}
        if not self.fields.flag("expanded", False):
            if day > _days(month):
                self.report.problem(self.spot.at("dateDay"), f"there is no day {day} in month {month}")
            return found
        to = self.fields.below("dateTo")
        last = to.integer("month", 1, 12, default=month)
        if self.fields.get("dateTo") is None:
            self.report.repair(self.spot, "a range of dates without an end; it ends with the month")
        return found | {"dateTo": {"month": last, "day": min(to.integer("day", 1, 31, default=31), _days(last))}}

    def comparison(self) -> dict[str, Any]:
        expanded = self.fields.flag("expanded", False)
        left = self.terms.metric(self.fields.get("metric"), self.spot.at("metric"))
        right = left
        if expanded and self.fields.get("rightMetric") is not None:
            right = self.terms.metric(self.fields.get("rightMetric"), self.spot.at("rightMetric"))
        mixed = expanded and (left in FRACTIONS) != (right in FRACTIONS)
        line = self.side("", left, mixed)
        line["comparator"] = self.comparator()
        if not expanded:
            line["threshold"] = self.threshold(left)
        else:
            line |= {"expanded": True} | self.side("right", right, mixed)
        return line | self.for_days(line["comparator"])

    def side(self, side: str, metric: str, mixed: bool) -> dict[str, Any]:
        window_key, ticker_key = ("rightWindow", "rightTicker") if side else ("window", "ticker")
        names = [f"{side}{key.capitalize()}" if side else key for key in ("metric", "window", "ticker")]
        series: dict[str, Any] = {names[0]: metric}
        if metric.startswith(CUSTOM) or metric not in WINDOWLESS:
            inherits = side and self.fields.get(window_key) is None
            series[names[1]] = self.window("window" if inherits else window_key)
        if mixed and metric in FRACTIONS:
            series |= {names[0]: self.terms.as_fraction(metric), names[1]: series.get(names[1], 1)}
            self.report.repair(self.spot, f"{metric} is compared with another unit; written as a formula in fractions")
        inherits = side and self.fields.get(ticker_key) is None
        series[names[2]] = self.ticker("" if inherits else side, names[2])
        self.terms.fits(metric, series[names[2]], self.spot.at(names[0]))
        return series

    def ticker(self, side: str, native: str) -> Any:
        key = f"{side}Ticker" if side else "ticker"
        list_id = self.fields.get(f"{side}TickerListId" if side else "tickerListId")
        mode = self.fields.get(f"{side}ConditionMode" if side else "conditionMode")
        path = f"{self.owner.id}.{self.id}.{native}"
        before = {name: len(paths) for name, paths in self.terms.uses.items()}
        found = self.terms.series_ticker(self.fields.get(key), self.spot.at(key), self.owner, path, list_id, mode)
        for name, paths in self.terms.uses.items():
            if len(paths) > before.get(name, 0):
                self.owner.list_id = name
        return found

    def window(self, key: str) -> int:
        return look_back(self.fields, key, 14)

    def threshold(self, metric: str) -> int | float:
        found = self.fields.number("threshold")
        return in_native_unit(found, metric)

    def comparator(self) -> str:
        value = self.fields.get("comparator")
        if isinstance(value, str) and value in SIGNS:
            return SIGNS[value]
        if not isinstance(value, str) or value not in COMPARATORS:
            self.report.unknown(self.spot.at("comparator"), "comparator", value, COMPARATORS)
            return "lt"
        return value

    def for_days(self, comparator: str) -> dict[str, int]:
        days = self.fields.integer("forDays", 1, MAX_FOR_DAYS, default=1)
        if days > 1 and comparator.startswith("cross"):
            self.report.problem(self.spot.at("forDays"), f"{days} with {comparator}: a cross cannot last; allowed: 1")
        return {"forDays": days} if days > 1 else {}


def in_native_unit(value: int | float, metric: str) -> int | float:
    """A threshold of Atlas in the unit of the catalogue."""
    found = exact(value)
    return plain(found * 100) if metric in FRACTIONS and found is not None else value


def look_back(fields: Fields, key: str, missing: int) -> int:
    """A window: at least 1, whole."""
    value, at = fields.get(key), fields.spot.at(key)
    if value is None:
        fields.report.repair(at, f"missing; read as {missing}")
        return missing
    found = exact(value)
    if found is None or not found <= MAX_WINDOW:
        fields.report.problem(at, expected(f"a whole number from 1 to {MAX_WINDOW:,}", value))
        return missing
    window = max(1, int(found // 1))
    if window != found:
        fields.report.repair(at, f"{value} read as {window}")
    return window


def fresh_id(
    value: Any, letter: str, taken: Collection[str], spot: Spot, report: Report, given: Collection[str] = ()
) -> str:
    """The id as it is if it is valid and free, else a new one that is none of `given`, reported if there was one."""
    if isinstance(value, str) and ID.fullmatch(value) and value not in taken:
        return value
    k = len(taken) + 1
    while f"{letter}{k}" in taken or f"{letter}{k}" in given:
        k += 1
    if value is not None:
        why = "used twice" if isinstance(value, str) and value in taken else "not made of letters, digits, _ and -"
        report.repair(spot, f"id {value!r} is {why}; it is {letter}{k} here")
    return f"{letter}{k}"


def _days(month: int) -> int:
    return calendar.monthrange(2024, month)[1]
