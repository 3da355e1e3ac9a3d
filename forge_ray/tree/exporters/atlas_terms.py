"""Native conditions, indicators and tickers → Atlas's, in Atlas's units."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from forge_ray.catalog import CASH
from forge_ray.tree.exporters.reading import RULES, metric_name
from forge_ray.tree.importers.atlas_conditions import COMPARATORS
from forge_ray.tree.importers.atlas_terms import FRACTIONS, VARIABLES, WINDOWLESS, in_fractions
from forge_ray.tree.importers.fields import Fields, exact, plain
from forge_ray.tree.importers.report import Report, Spot, expected

ANY_RULE = tuple(key + suffix for key in RULES for suffix in ("", "Then", "Else"))
_TICKER = re.compile(r"[A-Z0-9^][A-Z0-9._^=-]*")
_OURS = re.compile(r"\b(percentile|stochastic|ago)\s*\(", re.IGNORECASE)
_ROLLING = re.compile(r"\b(?:sma|ema|stdev|rmax|rmin|roc)\s*\((?!\s*[a-z_]\w*\s*,)", re.IGNORECASE)
_CONDITION = ("id", "type", "metric", "window", "ticker", "comparator", "threshold", "expanded", "rightTicker",
              "rightMetric", "rightWindow", "forDays", "title")  # fmt: skip
_DATE = ("id", "type", "metric", "dateMonth", "dateDay", "dateTo")


@dataclass
class Terms:
    """Writes conditions; `formulas` are the job's. has_gates : whether a node that was written branches on them."""

    report: Report
    formulas: Fields
    has_gates: bool = False

    def metric(self, fields: Fields, key: str) -> str:
        """An indicator by Atlas's name."""
        name, at = metric_name(fields.get(key)), fields.spot.at(key)
        if name.startswith("custom:"):
            if name[7:] not in self.formulas.data:
                self.report.unknown(at, "formula", name[7:], tuple(self.formulas.data) or ("none in this job",))
        elif name not in VARIABLES:
            self.report.unknown(at, "indicator", name, tuple(VARIABLES))
        if name == "Cumulative Return":
            self.report.open_point("Cumulative Return spans w bars here and w − 1 in Atlas")
        return name

    def is_windowed(self, metric: str) -> bool:
        return metric not in WINDOWLESS

    def threshold(self, fields: Fields, key: str, metric: str) -> int | float:
        value = fields.number(key)
        found = exact(value)
        return plain(found / 100) if metric in FRACTIONS and found is not None else value

    def formula(self, name: str) -> str:
        """A formula in Atlas's units."""
        text, at = self.formulas.text(name), self.formulas.spot.at(name)
        if match := _OURS.search(text):
            self.report.problem(at, f"{match[1]}: not a function of Atlas's formulas")
        if match := _ROLLING.search(text):
            self.report.problem(at, f"{text[match.start() :]}: rolling functions of Atlas take a variable only")
        return in_fractions(text)

    def lines(self, fields: Fields, key: str) -> list[dict[str, Any]]:
        """A condition list."""
        at = fields.spot.at(key)
        found = []
        for k, raw in enumerate(fields.objects(key)):
            if not isinstance(raw, dict):
                self.report.problem(at.at(k), expected("a condition (an object)", raw))
                continue
            line = Fields(raw, at.at(k), self.report)
            found.append(self.date(line) if raw.get("metric") == "Date" else self.line(line, first=k == 0))
        return found

    def date(self, fields: Fields) -> dict[str, Any]:
        fields.known(_DATE)
        return fields.data | {"comparator": "lt", "expanded": fields.get("dateTo") is not None}

    def line(self, fields: Fields, *, first: bool) -> dict[str, Any]:
        fields.known(_CONDITION)
        data, comparator = fields.data, fields.get("comparator")
        if comparator not in COMPARATORS:
            self.report.unknown(fields.spot.at("comparator"), "comparator", comparator, COMPARATORS)
        left = self.metric(fields, "metric")
        found: dict[str, Any] = {"id": fields.text("id"), "type": fields.text("type", "if" if first else "and")}
        found |= {"metric": left, "window": fields.get("window") or 1}
        found |= {"ticker": self.series_ticker(fields, "ticker"), "comparator": comparator}
        if data.get("expanded") is True:
            right = self.metric(fields, "rightMetric") if "rightMetric" in data else left
            if (left in FRACTIONS) != (right in FRACTIONS):
                text = f"{left} against {right}: Atlas has one as a fraction and one not"
                self.report.problem(fields.spot.at("rightMetric"), text)
            found |= {"expanded": True, "rightMetric": right, "rightWindow": data.get("rightWindow", found["window"])}
            found["rightTicker"] = self.series_ticker(fields, "rightTicker" if "rightTicker" in data else "ticker")
        else:
            found["threshold"] = self.threshold(fields, "threshold", left)
        days = fields.integer("forDays", 1, default=1)
        return found | ({"forDays": days} if days > 1 else {})

    def series_ticker(self, fields: Fields, key: str) -> str:
        value, at = fields.get(key), fields.spot.at(key)
        if isinstance(value, dict) and list(value) == ["ratio"] and isinstance(value["ratio"], list):
            return "/".join(self.plain(part, at) for part in value["ratio"])
        if isinstance(value, str) and value.startswith("branch:"):
            return value
        return self.plain(value, at)

    def plain(self, value: Any, at: Spot) -> str:
        if isinstance(value, str) and _TICKER.fullmatch(value) and value != CASH:
            return value
        self.report.problem(at, expected("a ticker in capitals without a slash, a ratio or a branch", value))
        return ""

    def holding(self, value: Any, at: Spot) -> str:
        if value == CASH:
            self.report.problem(at, "CASH: Atlas has no cash that keeps its weight; allowed: Empty, or a ticker")
            return ""
        return "Empty" if value == "Empty" else self.plain(value, at)
