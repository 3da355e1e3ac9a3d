"""Atlas's indicators and tickers in native words.

Atlas keeps drawdowns, cumulative and mean returns and momentum as fractions (0.1), the native language as percent (10):
thresholds on them are multiplied by 100, formulas divide by 100. In a comparison of such an indicator with one of
another unit, it becomes a formula too, so that the comparison is the one that was written.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from forge_ray.catalog import INDICATOR_BY_NAME
from forge_ray.tree.importers.fields import ticker
from forge_ray.tree.importers.report import Report, Spot, expected

WINDOWLESS: dict[str, str] = {
    "Current Price": "close", "Momentum (Weighted)": "momentum_w", "Momentum (Unweighted)": "momentum_u",
    "Momentum (12-Month SMA)": "momentum_sma12", "Drawdown": "drawdown", "MACD Histogram": "macd_hist",
    "PPO Histogram": "ppo_hist", "Laguerre RSI": "laguerrersi",
}  # fmt: skip
WINDOWED: dict[str, str] = {
    "Simple Moving Average": "sma", "Exponential Moving Average": "ema", "Hull Moving Average": "hma",
    "Weighted Moving Average": "wma", "Wilder Moving Average": "wilderma", "DEMA": "dema", "TEMA": "tema",
    "KAMA": "kama", "Relative Strength Index": "rsi", "RSI (SMA)": "rsi_sma", "RSI (EMA)": "rsi_ema",
    "Stochastic RSI": "stochrsi", "Rate of Change": "roc", "Williams %R": "willr", "CCI": "cci",
    "Stochastic %K": "stochk", "Stochastic %D": "stochd", "ADX": "adx", "Standard Deviation": "stdev",
    "Standard Deviation of Price": "stdev_price", "Max Drawdown": "maxdd", "Bollinger %B": "bbpctb",
    "Bollinger Bandwidth": "bbwidth", "ATR": "atr", "ATR %": "atr_pct", "Historical Volatility": "hvol",
    "Ulcer Index": "ulcer", "Cumulative Return": "cumret", "SMA of Returns": "sma_ret", "Trend Clarity": "r2",
    "Ultimate Smoother": "ultsmooth", "Linear Reg Slope": "linreg_slope", "Linear Reg Value": "linreg_value",
    "Price vs SMA": "price_vs_sma", "Aroon Up": "aroon_up", "Aroon Down": "aroon_down",
    "Aroon Oscillator": "aroon_osc", "Money Flow Index": "mfi", "OBV Rate of Change": "obv_roc",
    "VWAP Ratio": "vwap_ratio",
}  # fmt: skip
VARIABLES = WINDOWLESS | WINDOWED
"""The indicators by name, each with its variable in formulas."""

ALIASES = {
    "13612W Momentum": "Momentum (Weighted)",
    "13612U Momentum": "Momentum (Unweighted)",
    "SMA12 Momentum": "Momentum (12-Month SMA)",
}
FRACTIONS = ("Max Drawdown", "Drawdown", "Cumulative Return", "SMA of Returns", "Momentum (Weighted)",
             "Momentum (Unweighted)", "Momentum (12-Month SMA)")  # fmt: skip
DATE = "Date"
CUSTOM = "custom:"
BRANCHES = {
    "branch:from": "branch:then", "branch:then": "branch:then", "branch:enter": "branch:then",
    "branch:to": "branch:else", "branch:else": "branch:else", "branch:exit": "branch:else",
}  # fmt: skip
OPEN_BY_METRIC = {
    "Bollinger %B": "Bollinger %B is 0 to 1; Atlas's values are squeezed around 0.5 by a mistake; thresholds stay",
    "Bollinger Bandwidth": "Bollinger Bandwidth is in percent of the mean; Atlas's is 400 deviations in price",
    "Cumulative Return": "Cumulative Return spans w bars; Atlas's spans w − 1",
    "Stochastic %D": "Stochastic %D is the mean of 3 values; Atlas's is of w",
}
_TOKEN = re.compile(r"\b(" + "|".join(VARIABLES[name] for name in FRACTIONS) + r")\b(?!\s*\()", re.IGNORECASE)
_HUNDRED = re.compile(r"\(\s*(\w+)\s*\*\s*100\s*\)")


@dataclass(slots=True)
class Owner:
    """The node whose conditions are read: where its branches may be referred to, and the list above it."""

    id: str
    slots: dict[str, int] | None
    list_id: str | None


@dataclass
class Terms:
    """What one file defines, and what reading it has found. `uses` has the paths at which each ticker list stands."""

    report: Report
    custom: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)
    formulas: dict[str, str] = field(default_factory=dict)
    uses: dict[str, list[str]] = field(default_factory=dict)

    def metric(self, value: Any, spot: Spot) -> str:
        """The native name of an indicator, or of a formula."""
        if isinstance(value, str) and value.startswith(CUSTOM):
            return self.custom_metric(value.removeprefix(CUSTOM), spot)
        name = ALIASES.get(value, value) if isinstance(value, str) else value
        if not isinstance(name, str) or name not in VARIABLES:
            self.report.unknown(spot, "indicator", value, (*VARIABLES, DATE, *ALIASES, "custom:ID"))
            return "Current Price"
        if name in OPEN_BY_METRIC:
            self.report.open_point(OPEN_BY_METRIC[name])
        return name

    def custom_metric(self, name: str, spot: Spot) -> str:
        if name not in self.custom:
            self.report.unknown(spot, "custom indicator", name, tuple(self.custom) or ("none in this file",))
            return "Current Price"
        native = re.sub(r"[^A-Za-z0-9_]", "_", name)
        self.formulas[native] = in_percent(self.custom[name])
        return CUSTOM + native

    def as_fraction(self, metric: str) -> str:
        """The formula that gives an indicator of `FRACTIONS` as Atlas has it."""
        name = f"{VARIABLES[metric]}_fraction"
        self.formulas[name] = f"{VARIABLES[metric]} / 100"
        return CUSTOM + name

    def series_ticker(self, value: Any, spot: Spot, owner: Owner, path: str, list_id: Any, mode: Any) -> Any:
        """The ticker of an indicator: plain, ratio, branch, or the first of a list that an axis will put in."""
        text = value.strip() if isinstance(value, str) else value
        if mode == "match_indicator" or text == "AUTO":
            return self.matched(owner.list_id, spot, path)
        if isinstance(text, str) and text.lower().startswith("list:"):
            list_id = text[5:]
        if isinstance(list_id, str) and list_id:
            if list_id in self.lists:
                return self.listed(list_id, path)
            if text == f"list:{list_id}":
                self.report.unknown(spot, "ticker list", list_id, tuple(self.lists) or ("none in this file",))
                return "CASH"
            self.report.repair(spot, f"ticker list {list_id} has no tickers in this file; {text} stays")
        if not isinstance(text, str) or text in ("", "Empty"):
            self.report.problem(spot, expected("a ticker with prices", value))
            return "CASH"
        if text.lower().startswith("branch:"):
            return self.branch(text.lower(), spot, owner)
        parts = [ticker(part.strip().upper(), spot, self.report) for part in text.split("/")]
        if len(parts) > 2:
            self.report.problem(spot, expected("a ticker or a ratio A/B", value))
        return parts[0] if len(parts) == 1 else {"ratio": parts[:2]}

    def fits(self, metric: str, series: Any, spot: Spot) -> None:
        """Report an indicator that needs more than closes where there is nothing else."""
        closes_only = isinstance(series, dict) or str(series).startswith("branch:")
        fields = INDICATOR_BY_NAME[metric].fields if metric in INDICATOR_BY_NAME else ("close",)
        if closes_only and fields != ("close",):
            self.report.problem(spot, f"{metric} needs {', '.join(fields)}; a ratio or a branch has closes only")

    def branch(self, name: str, spot: Spot, owner: Owner) -> str:
        if name not in BRANCHES:
            self.report.unknown(spot, "branch", name, tuple(BRANCHES))
        elif owner.slots is None:
            self.report.problem(spot, f"{name}: this node has no branches then and else")
        elif owner.slots[BRANCHES[name][7:]] > 1:
            self.report.open_point(f"{name} means the blend of its slot; Atlas takes the first node of it")
        return BRANCHES.get(name, "branch:then")

    def listed(self, list_id: str, path: str) -> str:
        self.uses.setdefault(list_id, []).append(path)
        return self.lists[list_id][0]

    def matched(self, list_id: str | None, spot: Spot, path: str) -> str:
        """The ticker of the list that the nearest condition above uses."""
        if list_id is None:
            self.report.problem(spot, "match_indicator, and no condition above uses a ticker list")
            return "CASH"
        if len(self.uses) > 1:
            self.report.repair(spot, f"match_indicator read as list {list_id}, which the nearest condition above uses")
        return self.listed(list_id, path)


def in_percent(text: str) -> str:
    """An Atlas formula in native units, so that it has the same value."""
    done = _HUNDRED.sub(lambda match: f"@{match[1]}" if _TOKEN.fullmatch(match[1]) else match[0], text)
    return _outside(done, lambda token: f"({token} / 100)")


def in_fractions(text: str) -> str:
    """The inverse of `in_percent`."""
    divided = re.compile(r"\(\s*(\w+)\s*/\s*100\s*\)")
    done = divided.sub(lambda match: f"@{match[1]}" if _TOKEN.fullmatch(match[1]) else match[0], text)
    return _outside(done, lambda token: f"({token} * 100)")


def _outside(text: str, put: Callable[[str], str]) -> str:
    """Put a variable that is not marked with @ into other units, and take the marks away."""
    pattern = re.compile(r"(@?)" + _TOKEN.pattern, re.IGNORECASE)
    return pattern.sub(lambda match: match[2] if match[1] else put(match[2]), text)
