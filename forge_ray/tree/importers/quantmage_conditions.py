"""The conditions of QuantMage spells in native words.

What an indicator alone does not say becomes a formula: values of days ago, a factor and an addend on the right side,
the place of a value among its last ones.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass, field
from typing import Any

from forge_ray.tree.domains import MAX_FOR_DAYS
from forge_ray.tree.importers.atlas_terms import BRANCHES, VARIABLES, WINDOWLESS
from forge_ray.tree.importers.fields import Fields, ticker
from forge_ray.tree.importers.logic import Condition, Junction
from forge_ray.tree.importers.report import Report, Spot, expected

INDICATORS: dict[str, str] = {
    "CurrentPrice": "Current Price", "MovingAverage": "Simple Moving Average",
    "SimpleMovingAverage": "Simple Moving Average", "ExponentialMovingAverage": "Exponential Moving Average",
    "RelativeStrengthIndex": "Relative Strength Index", "CumulativeReturn": "Cumulative Return",
    "MovingAverageOfReturns": "SMA of Returns", "MovingAverageReturn": "SMA of Returns",
    "Volatility": "Standard Deviation", "MaxDrawdown": "Max Drawdown", "Drawdown": "Drawdown",
    "13612wMomentum": "Momentum (Weighted)", "13612uMomentum": "Momentum (Unweighted)",
    "SMA12Momentum": "Momentum (12-Month SMA)", "Sma12Momentum": "Momentum (12-Month SMA)",
    "UltimateSmoother": "Ultimate Smoother", "AroonUp": "Aroon Up", "AroonDown": "Aroon Down",
    "Aroon": "Aroon Oscillator", "MACD": "MACD Histogram", "Macd": "MACD Histogram", "PPO": "PPO Histogram",
    "PercentagePriceOscillator": "PPO Histogram", "TrendClarity": "Trend Clarity",
}  # fmt: skip
ALL, ANY = ("AllOf", "AndCondition"), ("AnyOf", "OrCondition")
KINDS = ("SingleCondition", *ALL, *ANY)
NUMBER, BOTH = "IndicatorAndNumber", ("BothIndicators", "IndicatorAndIndicator")
PLACES = {"IndicatorPercentile": "percentile", "IndicatorStochastic": "stochastic"}
TYPES = (NUMBER, *BOTH, "Month", *PLACES)
OPEN_BY_INDICATOR = {
    "RelativeStrengthIndex": "RelativeStrengthIndex is Wilder's, of price changes",
    "Drawdown": "Drawdown is positive",
    "MaxDrawdown": "MaxDrawdown is positive",
}
_SIDE = ("indicator", "ticker_symbol", "days_ago")
_KEYS = (
    "condition_type", "type", "name", "id", "greater_than", "for_days", "rh_value", "rh_value_int", "rh_weight",
    "rh_bias", *(f"{side}_{key}" for side in ("lh", "rh") for key in _SIDE),
)  # fmt: skip
_WORDS = {"*": "times", "+": "plus", "-": "minus", ".": "p"}
_SUBSPELL = re.compile(r'Subspell\s*"?(\w+)"?', re.IGNORECASE)


@dataclass
class Terms:
    """Reads conditions; keeps the formulas that they need."""

    report: Report
    formulas: dict[str, str] = field(default_factory=dict)

    def condition(self, raw: Any, spot: Spot, *, has_branches: bool = True) -> Condition:
        top: list[Condition] = []
        stack: list[tuple[Any, Spot, list[Condition]]] = [(raw, spot, top)]
        while stack:
            raw, at, into = stack.pop()
            if not isinstance(raw, dict):
                self.report.problem(at, expected("a condition (an object)", raw))
                continue
            fields = Fields(raw, at, self.report)
            kind = fields.choice("condition_type", KINDS)
            if kind == "SingleCondition":
                into.append(self.single(fields, has_branches))
                continue
            fields.known(("condition_type", "conditions", "name", "id"))
            junction = Junction("all" if kind in ALL else "any", [])
            into.append(junction)
            parts, below = fields.objects("conditions"), at.at("conditions")
            if not parts:
                self.report.problem(below, "no conditions; expected at least one")
            stack.extend((part, below.at(k), junction.parts) for k, part in reversed(list(enumerate(parts))))
        return top[0] if top else {}

    def single(self, fields: Fields, has_branches: bool) -> Condition:
        fields.known(_KEYS)
        kind = fields.choice("type", TYPES)
        greater = fields.flag("greater_than", True)
        if kind == "Month":
            return self.month(fields, greater)
        left = self.series(fields, "lh", has_branches)
        if kind in PLACES:
            left = self.place(fields, PLACES[kind], left)
        line = {**left, "comparator": "gt" if greater else "lt"}
        if kind in BOTH:
            right = self.scaled(fields, self.series(fields, "rh", has_branches))
            line |= {"expanded": True} | {f"right{key.capitalize()}": value for key, value in right.items()}
        else:
            line["threshold"] = fields.number("rh_value")
        days = fields.integer("for_days", 0, MAX_FOR_DAYS, default=1)
        return line | ({"forDays": days} if days > 1 else {})

    def month(self, fields: Fields, greater: bool) -> Condition:
        """A calendar month after, or before, another one."""
        month = fields.integer("rh_value_int", 1, 12)
        first, last = (month + 1, 12) if greater else (1, month - 1)
        if first > last:
            self.report.problem(fields.spot, f"month {'>' if greater else '<'} {month} is never true")
            return {}
        self.report.open_point("Month compares the calendar month by > or <")
        to = {"month": last, "day": calendar.monthrange(2024, last)[1]}
        return {"metric": "Date", "dateMonth": first, "dateDay": 1, "dateTo": to}

    def series(self, fields: Fields, side: str, has_branches: bool) -> dict[str, Any]:
        series = self.indicator(fields.below(f"{side}_indicator"))
        if days := fields.integer(f"{side}_days_ago", 0, default=0):
            series = self.formula(f"ago({self.variable(series)}, {days})", series)
        at = fields.spot.at(f"{side}_ticker_symbol")
        return {**series, "ticker": self.ticker(fields.get(f"{side}_ticker_symbol"), at, has_branches)}

    def indicator(self, fields: Fields) -> dict[str, Any]:
        """``metric`` and ``window`` of ``{type, window}``."""
        fields.known(("type", "window"))
        kind = fields.get("type")
        if not isinstance(kind, str) or kind not in INDICATORS:
            self.report.unknown(fields.spot.at("type"), "indicator", kind, INDICATORS)
            return {"metric": "Current Price"}
        if kind in OPEN_BY_INDICATOR:
            self.report.open_point(OPEN_BY_INDICATOR[kind])
        metric = INDICATORS[kind]
        if metric in WINDOWLESS:
            return {"metric": metric}
        series = {"metric": metric, "window": fields.integer("window", 1)}
        if kind == "Volatility":
            if self.report.options.get("quantmage.volatility") == "annual":
                return self.formula("stdev * sqrt(252)", series)
            self.report.open_point("Volatility is of the population, in percent per day (quantmage.volatility=annual)")
        return series

    def place(self, fields: Fields, function: str, series: dict[str, Any]) -> dict[str, Any]:
        n = fields.integer("rh_value_int", 2)
        found = self.formula(f"{function}({self.variable(series)}, {n})", series)
        return {**found, "ticker": series["ticker"]}

    def scaled(self, fields: Fields, series: dict[str, Any]) -> dict[str, Any]:
        """The right side times its weight plus its bias."""
        factor, bias = fields.number("rh_weight", 1), fields.number("rh_bias", 0)
        if factor == 1 and bias == 0:
            return series
        text = self.variable(series) + (f" * {_signed(factor)}" if factor != 1 else "")
        return {**self.formula(text + (f" + {_signed(bias)}" if bias else ""), series), "ticker": series["ticker"]}

    def variable(self, series: dict[str, Any]) -> str:
        """What a series is called in a formula."""
        metric = series["metric"]
        return self.formulas[metric[7:]] if metric.startswith("custom:") else VARIABLES[metric]

    def formula(self, text: str, series: dict[str, Any]) -> dict[str, Any]:
        """The formula of a text over the window of a series. Different texts have different names."""
        text_of_name = text
        for sign, word in _WORDS.items():
            text_of_name = text_of_name.replace(sign, word)
        name = re.sub(r"[^a-z0-9]+", "_", text_of_name).strip("_")
        self.formulas[name] = text
        return {"metric": f"custom:{name}", "window": series.get("window", 1)}

    def ticker(self, value: Any, spot: Spot, has_branches: bool) -> str:
        text = value.strip() if isinstance(value, str) else ""
        if match := _SUBSPELL.fullmatch(text):
            name = f"branch:{match[1].lower()}"
            if name not in BRANCHES:
                self.report.unknown(spot, "subspell", match[1], ("From", "To", "Then", "Else", "Enter", "Exit"))
            elif not has_branches:
                self.report.problem(spot, f"{text}: this node has no branches then and else")
            return BRANCHES.get(name, "branch:then")
        if not text:
            self.report.problem(spot, expected("a ticker", value))
            return "CASH"
        return ticker(text.replace("/", "."), spot, self.report)


def _signed(number: int | float) -> str:
    """A number for a formula: negative ones in parentheses."""
    return f"({number})" if number < 0 else str(number)
