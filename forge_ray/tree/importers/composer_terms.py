"""Composer's indicators, tickers and settings in native words.

Percent stays percent and prices stay prices, so thresholds and comparisons of different indicators survive unchanged.
What the catalogue has under other parameters than Composer's becomes a formula.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from forge_ray.tree.importers.fields import Fields, exact, native_spelling, plain, ticker
from forge_ray.tree.importers.report import Report, Spot

INDICATORS: dict[str, str] = {
    "current-price": "Current Price",
    "moving-average-price": "Simple Moving Average",
    "exponential-moving-average-price": "Exponential Moving Average",
    "cumulative-return": "Cumulative Return",
    "moving-average-return": "SMA of Returns",
    "standard-deviation-return": "Standard Deviation",
    "standard-deviation-price": "Standard Deviation of Price",
    "max-drawdown": "Max Drawdown",
    "relative-strength-index": "Relative Strength Index",
}
SHORT = {
    "stdev-return": "standard-deviation-return",
    "stdev-price": "standard-deviation-price",
    "rsi": "relative-strength-index",
}
"""Notation A's names where they differ."""

PRICES = ("Current Price", "Simple Moving Average", "Exponential Moving Average", "Standard Deviation of Price")
AVERAGES: dict[str, tuple[str, tuple[str, ...], tuple[int, ...]]] = {
    "percentage-price-oscillator": ("PPO", ("short", "long"), (12, 26)),
    "percentage-price-oscillator-signal": ("PPO Signal", ("short", "long", "smooth"), (12, 26, 9)),
    "moving-average-convergence-divergence": ("MACD", ("short", "long"), (12, 26)),
    "moving-average-convergence-divergence-signal": ("MACD Signal", ("short", "long", "smooth"), (12, 26, 9)),
}
BANDS = {"upper-bollinger": ("Bollinger Upper", "+"), "lower-bollinger": ("Bollinger Lower", "-")}
NAMES = (*INDICATORS, *AVERAGES, *BANDS, *SHORT)

PERIODS = ("daily", "weekly", "monthly", "quarterly", "yearly")
WILDER = "RSI is Wilder's, 50 without any change (composer.rsi=simple: plain averages of gains and losses)"
DEVIATION = "deviations are of the population (composer.deviation=sample divides by w − 1)"
OPEN_BY_METRIC = {
    "Exponential Moving Average": "exponential averages start with the mean of the first w prices, over all history",
    "Max Drawdown": "max drawdown with window w looks at w closes",
    "SMA of Returns": "moving-average-return is in percent, as cumulative-return",
}


@dataclass
class Terms:
    """Reads indicators; keeps the formulas that they need."""

    report: Report
    formulas: dict[str, str] = field(default_factory=dict)

    def series(self, name: str, params: Fields, spot: Spot) -> dict[str, Any]:
        """``metric`` and ``window`` of an indicator; `spot` is where its name stands."""
        name = SHORT.get(name, name)
        if name in AVERAGES:
            return self._averages(name, params)
        if name in BANDS:
            return self._band(name, params)
        if name not in INDICATORS:
            self.report.unknown(spot, "indicator", name, NAMES)
            return {"metric": "Current Price"}
        params.known(("window",), "parameter")
        if name == "current-price":
            return {"metric": "Current Price"}
        return self._windowed(INDICATORS[name], params.integer("window", 1))

    def _windowed(self, metric: str, window: int) -> dict[str, Any]:
        options = self.report.options
        if metric in OPEN_BY_METRIC:
            self.report.open_point(OPEN_BY_METRIC[metric])
        if metric == "Relative Strength Index":
            simple = options.get("composer.rsi") == "simple"
            self.report.open_point("RSI is read with plain averages, as the option says" if simple else WILDER)
            metric = "RSI (SMA)" if simple else metric
        elif metric.startswith("Standard Deviation"):
            sample = options.get("composer.deviation") == "sample"
            self.report.open_point("deviations are of the sample, as the option says" if sample else DEVIATION)
            if sample and window > 1:
                variable = "stdev" if metric == "Standard Deviation" else "stdev_price"
                text = f"{variable} * sqrt({window} / {window - 1})"
                return {"metric": self.formula(f"{variable}_sample_{window}", text), "window": window}
        return {"metric": metric, "window": window}

    def _averages(self, name: str, params: Fields) -> dict[str, Any]:
        """PPO, MACD and their signals."""
        metric, keys, usual = AVERAGES[name]
        params.known([f"{key}-window" for key in keys], "parameter")
        windows = tuple(params.integer(f"{key}-window", 1) for key in keys)
        if windows == usual:
            return {"metric": metric}
        short, long, *smooth = windows
        text = f"ema(close, {short}) - ema(close, {long})"
        if metric.startswith("PPO"):
            text = f"100 * ({text}) / ema(close, {long})"
        text = f"ema({text}, {smooth[0]})" if smooth else text
        label = "_".join([metric.lower().replace(" ", "_"), *map(str, windows)])
        return {"metric": self.formula(label, text), "window": 1}

    def _band(self, name: str, params: Fields) -> dict[str, Any]:
        metric, sign = BANDS[name]
        params.known(("window", "standard-deviations"), "parameter")
        window, width = params.integer("window", 1), params.number("standard-deviations")
        if width == 2:
            return {"metric": metric, "window": window}
        if width < 0:
            self.report.problem(params.spot.at("standard-deviations"), f"expected a number >= 0, got {width}")
        label = re.sub(r"[^a-z0-9]", "_", f"{metric.lower()}_{window}_{width}")
        return {
            "metric": self.formula(label, f"sma(close, {window}) {sign} {width} * stdev(close, {window})"),
            "window": 1,
        }

    def formula(self, name: str, text: str) -> str:
        self.formulas[name] = text
        return f"custom:{name}"

    def ticker(self, value: object, spot: Spot) -> str:
        """A ticker in the native spelling; a changed spelling is reported."""
        if not isinstance(value, str) or not value.strip():
            self.report.problem(spot, f"expected a ticker, got {value!r}")
            return "CASH"
        text = native_spelling(value)
        if text != value:
            self.report.repair(Spot(None, ""), f"ticker {value} read as {text}")
        return ticker(text, spot, self.report)


def rebalancing(frequency: object, width: object, spot: Spot, report: Report) -> Any:
    """The native rule of a frequency, or of a corridor width (a fraction of the portfolio)."""
    settings = Fields({"frequency": frequency, "width": width}, spot, report)
    if frequency in (None, "none"):
        if width is None:
            report.problem(spot, f"neither a frequency ({', '.join(PERIODS)}) nor the width of a corridor")
            return "daily"
        points = settings.number("width")
        if not 0 <= points <= 1:
            report.problem(spot, f"expected a width of the corridor from 0 to 1, got {width}")
        return {"threshold": plain((exact(width) or Fraction(0)) * 100)}
    if frequency not in PERIODS:
        report.unknown(spot, "rebalancing frequency", frequency, PERIODS)
    elif frequency != "daily":
        report.open_point("decisions of a period are taken on its last trading day")
    if width not in (None, 0):
        report.repair(spot, f"the corridor width {width} has no part in {frequency} rebalancing and was left out")
    return frequency
