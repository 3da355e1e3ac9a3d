"""What exists: indicators and metrics, as pure data.

The engine, the validator, the documentation tables and the JSON Schema read this one list.
Units: trees are written in what traders write (percent, prices, 0-100); metrics are fractions.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Literal, NamedTuple

Unit = Literal["price", "percent", "0-100", "-100-0", "-100-100", "0-1", "number"]


class LookBack(NamedTuple):
    """Own bars before the first value: windows · w + offset + roots · ⌊√w⌋."""

    windows: int
    offset: int
    roots: int = 0

    def bars(self, window: int) -> int:
        return self.windows * window + self.offset + self.roots * isqrt(window)

    def __str__(self) -> str:
        factor = "" if self.windows == 1 else str(self.windows)
        terms = [f"{factor}w"] * bool(self.windows) + ["⌊√w⌋"] * self.roots
        if not terms:
            return str(self.offset)
        end = f" {'−' if self.offset < 0 else '+'} {abs(self.offset)}" if self.offset else ""
        return " + ".join(terms) + end


@dataclass(frozen=True, slots=True)
class Indicator:
    """One indicator of the tree language.

    variable : its name in formulas. fields : price fields that it reads, in the order its kernel takes them.
    look_back : own bars before the first value of a gap-free history. sweep : default sweep range of its threshold.
    smallest_window : with a smaller one it never has a value.
    """

    name: str
    aliases: tuple[str, ...]
    variable: str
    unit: Unit
    fields: tuple[str, ...]
    windowed: bool
    look_back: LookBack
    sweep: str
    formula: str
    smallest_window: int = 1

    def bars_before_first_value(self, window: int) -> int:
        return self.look_back.bars(window)


_CLOSE, _BAR = ("close",), ("high", "low", "close")
_NONE, _OF_W, _OF_CHANGES = LookBack(0, 0), LookBack(1, -1), LookBack(1, 0)
_YEAR, _LINE, _SIGNAL = LookBack(0, 252), LookBack(0, 25), LookBack(0, 33)
_NEAR, _PERCENT = "±20% by 1%", "0..100 by 1"

INDICATORS: tuple[Indicator, ...] = (
    Indicator("Current Price", ("Price",), "close", "price", _CLOSE, False, _NONE, _NEAR, "P"),
    Indicator("Simple Moving Average", ("SMA",), "sma", "price", _CLOSE, True, _OF_W, _NEAR,
              "mean of the last w prices"),
    Indicator("Exponential Moving Average", ("EMA",), "ema", "price", _CLOSE, True, _OF_W, _NEAR,
              "E += 2/(w+1)·(P − E), seeded with the mean of the first w prices"),
    Indicator("Hull Moving Average", ("HMA",), "hma", "price", _CLOSE, True, LookBack(1, -2, 1), _NEAR,
              "WMA over ⌊√w⌋ of 2·WMA(P, max(⌊w/2⌋, 1)) − WMA(P, w)"),
    Indicator("Weighted Moving Average", ("WMA",), "wma", "price", _CLOSE, True, _OF_W, _NEAR,
              "mean of the last w prices with weights 1 … w, newest heaviest"),
    Indicator("Wilder Moving Average", ("WilderMA",), "wilderma", "price", _CLOSE, True, _OF_W, _NEAR,
              "A += (P − A)/w, seeded with the mean of the first w prices"),
    Indicator("DEMA", ("Double Exponential Moving Average",), "dema", "price", _CLOSE, True, LookBack(2, -2), _NEAR,
              "2·E − EMA(E), E = EMA(P)"),
    Indicator("TEMA", ("Triple Exponential Moving Average",), "tema", "price", _CLOSE, True, LookBack(3, -3), _NEAR,
              "3·E − 3·EMA(E) + EMA(EMA(E)), E = EMA(P)"),
    Indicator("KAMA", ("Kaufman Adaptive Moving Average",), "kama", "price", _CLOSE, True, _OF_CHANGES, _NEAR,
              "K += (ER·(2/3 − 2/31) + 2/31)²·(P − K) from K = P; ER = |P − P w bars ago| / Σ|changes|, 0 without any"),
    Indicator("Ultimate Smoother", ("UltSmooth",), "ultsmooth", "price", _CLOSE, True, _NONE, _NEAR,
              "c₁·P + c₂·y₋₁ + c₃·y₋₂; f = 1.414π/w, a = e^−f, c₂ = 2a·cos f, c₃ = −a², Σc = 1; starts as P"),
    Indicator("Relative Strength Index", ("RSI",), "rsi", "0-100", _CLOSE, True, _OF_CHANGES, _PERCENT,
              "100·G/(G + L), Wilder averages of gains and losses seeded with the mean of the first w; flat = 50"),
    Indicator("RSI (SMA)", ("RSI (simple)",), "rsi_sma", "0-100", _CLOSE, True, _OF_CHANGES, _PERCENT,
              "100·G/(G + L), sums of the last w gains and losses; flat = 50"),
    Indicator("RSI (EMA)", (), "rsi_ema", "0-100", _CLOSE, True, _OF_CHANGES, _PERCENT,
              "100·G/(G + L), EMA(w) of gains and losses; flat = 50"),
    Indicator("Stochastic RSI", ("StochRSI",), "stochrsi", "0-100", _CLOSE, True, LookBack(2, -1), _PERCENT,
              "100·(RSI − lowest)/(highest − lowest) of the last w values of RSI(w); all the same = 50"),
    Indicator("Laguerre RSI", (), "laguerrersi", "0-100", _CLOSE, False, _NONE, _PERCENT,
              "100·Σ⁺/(Σ⁺ + Σ⁻) of the differences of four Laguerre stages, γ = 0.8, starting at 0"),
    Indicator("Momentum (Weighted)", ("13612W Momentum",), "momentum_w", "percent", _CLOSE, False, _YEAR,
              "-50..50 by 1", "(12·r₂₁ + 4·r₆₃ + 2·r₁₂₆ + r₂₅₂)/19, r over so many bars"),
    Indicator("Momentum (Unweighted)", ("13612U Momentum",), "momentum_u", "percent", _CLOSE, False, _YEAR,
              "-50..50 by 1", "mean of r₂₁, r₆₃, r₁₂₆, r₂₅₂"),
    Indicator("Momentum (12-Month SMA)", ("SMA12 Momentum",), "momentum_sma12", "percent", _CLOSE, False, _YEAR,
              "-20..20 by 1", "(13·P / Σ of P now and 21, 42 … 252 bars ago − 1)·100"),
    Indicator("Rate of Change", ("ROC",), "roc", "percent", _CLOSE, True, _OF_CHANGES, "-50..50 by 1",
              "(P / P w bars ago − 1)·100"),
    Indicator("Williams %R", ("WillR",), "willr", "-100-0", _BAR, True, _OF_W, "-100..0 by 1",
              "−100·(highest H − P)/(highest H − lowest L) of the last w bars"),
    Indicator("CCI", ("Commodity Channel Index",), "cci", "number", _BAR, True, _OF_W, "-300..300 by 10",
              "(TP − mean)/(0.015·mean absolute deviation) of the last w TP = (H + L + P)/3", 2),
    Indicator("Stochastic %K", ("StochK",), "stochk", "0-100", _BAR, True, _OF_W, _PERCENT,
              "100·(P − lowest L)/(highest H − lowest L) of the last w bars"),
    Indicator("Stochastic %D", ("StochD",), "stochd", "0-100", _BAR, True, LookBack(1, 1), _PERCENT,
              "mean of the last 3 values of %K"),
    Indicator("ADX", ("Average Directional Index",), "adx", "0-100", _BAR, True, LookBack(2, -1), _PERCENT,
              "Wilder average of 100·|+DI − −DI|/(+DI + −DI), DI of Wilder averages"),
    Indicator("Standard Deviation", ("StdDev",), "stdev", "percent", _CLOSE, True, _OF_CHANGES, "0..5 by 0.1",
              "population deviation of the last w simple returns, in percent"),
    Indicator("Standard Deviation of Price", ("StdPrice",), "stdev_price", "price", _CLOSE, True, _OF_W, _PERCENT,
              "population deviation of the last w prices"),
    Indicator("Max Drawdown", ("MaxDD",), "maxdd", "percent", _CLOSE, True, _OF_W, _PERCENT,
              "worst fall from a peak to a later trough within the last w prices, positive percent"),
    Indicator("Drawdown", (), "drawdown", "percent", _CLOSE, False, _NONE, _PERCENT,
              "fall from the highest price since the first bar, positive percent"),
    Indicator("Bollinger %B", ("%B",), "bbpctb", "0-1", _CLOSE, True, _OF_W, "0..1 by 0.05",
              "0.5 + (P − SMA)/(4·population deviation of the last w prices); flat = 0.5"),
    Indicator("Bollinger Bandwidth", ("Bandwidth",), "bbwidth", "percent", _CLOSE, True, _OF_W, "0..50 by 1",
              "400·population deviation of the last w prices/SMA"),
    Indicator("Bollinger Upper", (), "bbupper", "price", _CLOSE, True, _OF_W, _NEAR,
              "SMA + 2·population deviation of the last w prices"),
    Indicator("Bollinger Lower", (), "bblower", "price", _CLOSE, True, _OF_W, _NEAR,
              "SMA − 2·population deviation of the last w prices"),
    Indicator("ATR", ("Average True Range",), "atr", "price", _BAR, True, _OF_CHANGES, "±50% by 5%",
              "Wilder average of max(H − L, |H − P₋₁|, |L − P₋₁|), seeded with the mean of the first w"),
    Indicator("ATR %", ("NATR",), "atr_pct", "percent", _BAR, True, _OF_CHANGES, "0..10 by 0.1", "ATR/P·100"),
    Indicator("Historical Volatility", ("HistVol",), "hvol", "percent", _CLOSE, True, _OF_CHANGES, _PERCENT,
              "population deviation of the last w log returns · 100·√252"),
    Indicator("Ulcer Index", ("Ulcer",), "ulcer", "percent", _CLOSE, True, _OF_W, "0..50 by 1",
              "root mean square of the falls from the running maximum inside the last w prices"),
    Indicator("Cumulative Return", ("CumRet",), "cumret", "percent", _CLOSE, True, _OF_CHANGES, "-100..200 by 5",
              "(P / P w bars ago − 1)·100"),
    Indicator("SMA of Returns", ("SMA Returns",), "sma_ret", "percent", _CLOSE, True, _OF_CHANGES, "-10..10 by 0.5",
              "mean of the last w simple returns, in percent"),
    Indicator("Trend Clarity", ("R2",), "r2", "0-100", _CLOSE, True, _OF_W, "0..100 by 5",
              "100·R² of the least-squares line through the last w prices; flat = 0"),
    Indicator("Linear Reg Slope", ("LinRegSlope",), "linreg_slope", "percent", _CLOSE, True, _OF_W, "-10..10 by 0.1",
              "slope of the least-squares line through the last w prices / their mean · 100", 2),
    Indicator("Linear Reg Value", ("LinRegValue",), "linreg_value", "price", _CLOSE, True, _OF_W, _NEAR,
              "end of the least-squares line through the last w prices", 2),
    Indicator("Price vs SMA", (), "price_vs_sma", "percent", _CLOSE, True, _OF_W, "-50..50 by 1", "(P/SMA − 1)·100"),
    Indicator("Aroon Up", (), "aroon_up", "0-100", ("high",), True, _OF_CHANGES, "0..100 by 5",
              "100·(w − bars since the latest highest H of the last w + 1)/w"),
    Indicator("Aroon Down", (), "aroon_down", "0-100", ("low",), True, _OF_CHANGES, "0..100 by 5",
              "100·(w − bars since the latest lowest L of the last w + 1)/w"),
    Indicator("Aroon Oscillator", ("AroonOsc",), "aroon_osc", "-100-100", ("high", "low"), True, _OF_CHANGES,
              "-100..100 by 10", "Aroon Up − Aroon Down"),
    Indicator("MACD", (), "macd", "price", _CLOSE, False, _LINE, "-5..5 by 0.1", "EMA(12) − EMA(26)"),
    Indicator("MACD Signal", (), "macd_signal", "price", _CLOSE, False, _SIGNAL, "-5..5 by 0.1", "EMA(9) of the MACD"),
    Indicator("MACD Histogram", ("MACD Hist",), "macd_hist", "price", _CLOSE, False, _SIGNAL, "-5..5 by 0.1",
              "MACD − MACD Signal"),
    Indicator("PPO", ("Percentage Price Oscillator",), "ppo", "percent", _CLOSE, False, _LINE, "-10..10 by 0.5",
              "(EMA(12) − EMA(26))/EMA(26)·100"),
    Indicator("PPO Signal", (), "ppo_signal", "percent", _CLOSE, False, _SIGNAL, "-10..10 by 0.5", "EMA(9) of the PPO"),
    Indicator("PPO Histogram", ("PPO Hist",), "ppo_hist", "percent", _CLOSE, False, _SIGNAL, "-10..10 by 0.5",
              "PPO − PPO Signal"),
    Indicator("Money Flow Index", ("MFI",), "mfi", "0-100", (*_BAR, "volume"), True, _OF_CHANGES, _PERCENT,
              "100·up/(up + down), flows TP·V over the last w changes of TP = (H + L + P)/3; none = 50"),
    Indicator("OBV Rate of Change", ("OBV ROC",), "obv_roc", "percent", ("close", "volume"), True, LookBack(1, 1),
              "-100..100 by 5", "(OBV − OBV w bars ago)/|OBV w bars ago|·100, 0 at the first bar; over 0 no value"),
    Indicator("VWAP Ratio", (), "vwap_ratio", "number", ("close", "volume"), True, _OF_W, "80..120 by 1",
              "P / (Σ P·V / Σ V of the last w bars)·100; without volume no value"),
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

PARTS: tuple[str, ...] = ("max_drawdown", "win_rate", "time_in_market", "exposure")
"""Fractions of a whole, so that none is above 1."""

SEGMENTS: tuple[str, ...] = ("full", "is", "oos")

CASH = "CASH"
CASH_LIKE: tuple[str, ...] = (CASH, "BIL", "SHV", "SGOV", "USFR")
BARS_PER_YEAR = 252


def metric_text(metric: str, value: float | None, digits: int = 2) -> str:
    """A metric as people read it: fractions as percent. digits : decimals of a percent; numbers have one more."""
    if value is None:
        return "–"
    unit = METRIC_BY_NAME[metric].unit
    return (
        f"{value:.{digits}%}"
        if unit == "fraction"
        else f"{value:,.0f}"
        if unit == "bars"
        else f"{value:.{digits + 1}f}"
    )


def indicator_table() -> str:
    """The indicators as a Markdown table."""
    rows = ["| indicator | aliases | unit | look-back | default sweep | definition |", "|---|---|---|---|---|---|"]
    for i in INDICATORS:
        formula = i.formula.replace("|", "\\|")
        rows.append(f"| {' | '.join(indicator_facts(i))} | `{i.sweep}` | {formula} |")
    return "\n".join(rows)


def indicator_facts(indicator: Indicator) -> tuple[str, str, str, str]:
    """Name, aliases, unit and look-back of an indicator as tables print them."""
    smallest = indicator.smallest_window
    bars = f"{indicator.look_back}" + (f", w ≥ {smallest}" if smallest > 1 else "")
    return indicator.name, ", ".join(indicator.aliases), indicator.unit, bars


def metric_table() -> str:
    """The metrics as a Markdown table."""
    rows = ["| metric | unit | better | meaning |", "|---|---|---|---|"]
    rows += [f"| `{metric.name}` | {metric.unit} | {metric.better} | {metric.meaning} |" for metric in METRICS]
    return "\n".join(rows)
