"""What exists: indicators and metrics, as pure data.

The engine, the validator, the documentation tables and the JSON Schema read this one list.
Units: trees are written in what traders write (percent, prices, 0-100); metrics are fractions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Unit = Literal["price", "percent", "0-100", "0-1"]


@dataclass(frozen=True, slots=True)
class Indicator:
    """One indicator of the tree language.

    fields : price fields that it reads, in the order its kernel takes them.
    look_back : own bars before the first value, as (factor, offset) of the window: factor * window + offset.
    sweep : default sweep range of its threshold.
    """

    name: str
    aliases: tuple[str, ...]
    unit: Unit
    fields: tuple[str, ...]
    windowed: bool
    look_back: tuple[int, int]
    sweep: str
    formula: str

    def bars_before_first_value(self, window: int) -> int:
        factor, offset = self.look_back
        return factor * window + offset


INDICATORS: tuple[Indicator, ...] = (
    Indicator("Current Price", ("Price",), "price", ("close",), False, (0, 0), "±20% by 1%", "P"),
    Indicator("Simple Moving Average", ("SMA",), "price", ("close",), True, (1, -1), "±20% by 1%",
              "mean of the last w prices"),
    Indicator("Exponential Moving Average", ("EMA",), "price", ("close",), True, (1, -1), "±20% by 1%",
              "E += 2/(w+1)·(P − E), seeded with the mean of the first w prices"),
    Indicator("Relative Strength Index", ("RSI",), "0-100", ("close",), True, (1, 0), "0..100 by 1",
              "100·G/(G + L), Wilder averages of gains and losses seeded with the mean of the first w; flat = 50"),
    Indicator("Standard Deviation", ("StdDev",), "percent", ("close",), True, (1, 0), "0..5 by 0.1",
              "population deviation of the last w simple returns, in percent"),
    Indicator("Rate of Change", ("ROC",), "percent", ("close",), True, (1, 0), "-50..50 by 1",
              "(P / P w bars ago − 1)·100"),
    Indicator("Cumulative Return", ("CumRet",), "percent", ("close",), True, (1, 0), "-100..200 by 5",
              "(P / P w bars ago − 1)·100"),
    Indicator("Max Drawdown", ("MaxDD",), "percent", ("close",), True, (1, -1), "0..100 by 1",
              "worst fall from a peak to a later trough within the last w prices, positive percent"),
    Indicator("Drawdown", (), "percent", ("close",), False, (0, 0), "0..100 by 1",
              "fall from the highest price since the first bar, positive percent"),
    Indicator("Standard Deviation of Price", ("StdPrice",), "price", ("close",), True, (1, -1), "0..100 by 1",
              "population deviation of the last w prices"),
    Indicator("ATR", ("Average True Range",), "price", ("high", "low", "close"), True, (1, 0), "±50% by 5%",
              "Wilder average of max(H − L, |H − P₋₁|, |L − P₋₁|), seeded with the mean of the first w"),
    Indicator("Bollinger %B", ("%B",), "0-1", ("close",), True, (1, -1), "0..1 by 0.05",
              "0.5 + (P − SMA)/(4·population deviation of the last w prices); flat = 0.5"),
)  # fmt: skip

INDICATOR_BY_NAME: dict[str, Indicator] = {
    name: indicator for indicator in INDICATORS for name in (indicator.name, *indicator.aliases)
}


@dataclass(frozen=True, slots=True)
class Metric:
    """One result metric. `unit` tells how it is printed; stored values are always plain fractions or numbers."""

    name: str
    unit: Literal["fraction", "number", "bars"]
    better: Literal["high", "low"]
    meaning: str


METRICS: tuple[Metric, ...] = (
    Metric("total_return", "fraction", "high", "product of (1 + r) minus 1"),
    Metric("cagr", "fraction", "high", "(1 + total_return)^(252/n) − 1"),
    Metric("volatility", "fraction", "low", "sample deviation of r · √252"),
    Metric("sharpe", "number", "high", "(mean r − rf) / sample deviation · √252"),
    Metric("sortino", "number", "high", "(mean r − rf)·√252 / √(Σ min(r, 0)² / n)"),
    Metric("max_drawdown", "fraction", "low", "largest fall from a peak of the re-chained equity, positive"),
    Metric("calmar", "number", "high", "cagr / max_drawdown"),
    Metric("win_rate", "fraction", "high", "up days / (up days + down days)"),
    Metric("skew", "number", "high", "bias-corrected skewness of r"),
    Metric("kurtosis_excess", "number", "low", "bias-corrected excess kurtosis of r"),
    Metric("beta", "number", "low", "covariance with the benchmark / its variance"),
    Metric("treynor", "fraction", "high", "252·(mean r − rf) / beta, beta > 0"),
    Metric("time_in_market", "fraction", "high", "share of bars that hold a ticker which is not cash-like"),
    Metric("exposure", "fraction", "high", "mean weight of tickers that are not cash-like"),
    Metric("timar", "fraction", "high", "cagr / time_in_market"),
    Metric("timar_max_drawdown", "number", "high", "timar / max_drawdown"),
    Metric("trades", "bars", "low", "bars on which the set of held tickers changes"),
    Metric("turnover", "number", "low", "traded value per year in units of equity, both sides: 252 · mean τ"),
    Metric("average_holdings", "number", "high", "mean number of held tickers, CASH left out"),
    Metric("n_days", "bars", "high", "number of returns"),
)

METRIC_BY_NAME: dict[str, Metric] = {metric.name: metric for metric in METRICS}

SEGMENTS: tuple[str, ...] = ("full", "is", "oos")

CASH = "CASH"
CASH_LIKE: tuple[str, ...] = (CASH, "BIL", "SHV", "SGOV", "USFR")
BARS_PER_YEAR = 252


def indicator_table() -> str:
    """The indicators as a Markdown table."""
    rows = ["| indicator | aliases | unit | look-back | default sweep | definition |", "|---|---|---|---|---|---|"]
    for i in INDICATORS:
        factor, offset = i.look_back
        bars = f"w{offset:+d}".replace("+0", "").replace("-", " − ") if factor else str(offset)
        rows.append(f"| {i.name} | {', '.join(i.aliases)} | {i.unit} | {bars} | `{i.sweep}` | {i.formula} |")
    return "\n".join(rows)


def metric_table() -> str:
    """The metrics as a Markdown table."""
    rows = ["| metric | unit | better | meaning |", "|---|---|---|---|"]
    rows += [f"| `{metric.name}` | {metric.unit} | {metric.better} | {metric.meaning} |" for metric in METRICS]
    return "\n".join(rows)
