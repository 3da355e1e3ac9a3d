"""The same indicators from libraries that people know, for comparison; what is not installed is left out.

Each entry computes one of our indicators, in our unit, from bars and a window. Only those are here whose definition is
ours up to the seed of a recursion.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from definitions import Bars

Formula = Callable[[Bars, int], np.ndarray]


def libraries() -> dict[str, dict[str, Formula]]:
    """Per installed library its formulas by the names of our indicators."""
    makers = {"TA-Lib": ("talib", _talib), "pandas-ta-classic": ("pandas_ta_classic", _pandas_ta)}
    makers["talipp"] = ("talipp", _talipp)
    return {name: make() for name, (module, make) in makers.items() if find_spec(module)}


def _talib() -> dict[str, Formula]:
    tests = import_module("test_indicators_talib")
    return {**tests.SAME, **tests.SEEDED_OTHERWISE}


def _pandas_ta() -> dict[str, Formula]:
    """Its own arithmetic: it would call TA-Lib where that is installed."""
    import pandas as pd

    ta = import_module("pandas_ta_classic")
    own = {"talib": False}

    def column(position: int, function: str, *fields: str, **options: Any) -> Formula:
        """One column of an indicator. `window` in an option stands for the window."""

        def formula(bars: Bars, window: int) -> np.ndarray:
            series = [pd.Series(getattr(bars, field)) for field in fields]
            given = {key: window if value == "window" else value for key, value in options.items()}
            found = getattr(ta, function)(*series, **own, **given)
            return (found.iloc[:, position] if found.ndim == 2 else found).to_numpy(float)

        return formula

    def of_close(function: str, position: int = 0, **options: Any) -> Formula:
        return column(position, function, "close", length="window", **options)

    def of_bar(function: str, position: int = 0, **options: Any) -> Formula:
        return column(position, function, "high", "low", "close", length="window", **options)

    def macd(position: int, function: str) -> Formula:
        return column(position, function, "close", fast=12, slow=26, signal=9, mamode="ema")

    return {
        "Simple Moving Average": of_close("sma"),
        "Exponential Moving Average": of_close("ema"),
        "Hull Moving Average": of_close("hma"),
        "Weighted Moving Average": of_close("wma"),
        "Wilder Moving Average": of_close("rma"),
        "DEMA": of_close("dema"),
        "TEMA": of_close("tema"),
        "KAMA": of_close("kama", fast=2, slow=30),
        "Relative Strength Index": of_close("rsi"),
        "Stochastic RSI": of_close("stochrsi", rsi_length="window", k=1, d=1),
        "Rate of Change": of_close("roc"),
        "Cumulative Return": of_close("roc"),
        "Standard Deviation of Price": of_close("stdev", ddof=0),
        "Bollinger Lower": of_close("bbands", 0, std=2, ddof=0),
        "Bollinger Upper": of_close("bbands", 2, std=2, ddof=0),
        "Bollinger Bandwidth": of_close("bbands", 3, std=2, ddof=0),
        "Bollinger %B": of_close("bbands", 4, std=2, ddof=0),
        "Williams %R": of_bar("willr"),
        "CCI": of_bar("cci"),
        "Stochastic %K": column(0, "stochf", "high", "low", "close", fastk="window", fastd=3),
        "Stochastic %D": column(1, "stochf", "high", "low", "close", fastk="window", fastd=3),
        "ADX": of_bar("adx", lensig="window"),
        "ATR": of_bar("atr"),
        "ATR %": of_bar("natr"),
        "Aroon Down": column(0, "aroon", "high", "low", length="window"),
        "Aroon Up": column(1, "aroon", "high", "low", length="window"),
        "Aroon Oscillator": column(2, "aroon", "high", "low", length="window"),
        "Money Flow Index": column(0, "mfi", "high", "low", "close", "volume", length="window"),
        "Linear Reg Value": of_close("linreg"),
        "MACD": macd(0, "macd"),
        "MACD Histogram": macd(1, "macd"),
        "MACD Signal": macd(2, "macd"),
        "PPO": macd(0, "ppo"),
        "PPO Histogram": macd(1, "ppo"),
        "PPO Signal": macd(2, "ppo"),
    }


def _talipp() -> dict[str, Formula]:
    ours = import_module("talipp.indicators")
    ohlcv = import_module("talipp.ohlcv").OHLCV

    def of_close(name: str, *parameters: Any, part: str = "", scale: float = 1.0) -> Formula:
        return _values(name, parameters, part, scale, lambda bars: bars.close.tolist())

    def of_bar(name: str, *parameters: Any, part: str = "", scale: float = 1.0) -> Formula:
        def rows(bars: Bars) -> list[Any]:
            return [ohlcv(row[2], *row[:3], row[3]) for row in zip(*(field.tolist() for field in bars), strict=True)]

        return _values(name, parameters, part, scale, rows)

    def _values(name: str, parameters: tuple, part: str, scale: float, rows: Callable[[Bars], list]) -> Formula:
        def formula(bars: Bars, window: int) -> np.ndarray:
            given = [window if value == "window" else value for value in parameters]
            found = getattr(ours, name)(*given, input_values=rows(bars))
            values = [getattr(value, part) if part and value is not None else value for value in found]
            return scale * np.array([np.nan if value is None else value for value in values])

        return formula

    return {
        "Simple Moving Average": of_close("SMA", "window"),
        "Exponential Moving Average": of_close("EMA", "window"),
        "Hull Moving Average": of_close("HMA", "window"),
        "Weighted Moving Average": of_close("WMA", "window"),
        "Wilder Moving Average": of_close("SMMA", "window"),
        "DEMA": of_close("DEMA", "window"),
        "TEMA": of_close("TEMA", "window"),
        "KAMA": of_close("KAMA", "window", 2, 30),
        "Relative Strength Index": of_close("RSI", "window"),
        "Stochastic RSI": of_close("StochRSI", "window", "window", 1, 1, part="k"),
        "Rate of Change": of_close("ROC", "window"),
        "Cumulative Return": of_close("ROC", "window"),
        "Standard Deviation of Price": of_close("StdDev", "window"),
        "Bollinger Lower": of_close("BB", "window", 2, part="lb"),
        "Bollinger Upper": of_close("BB", "window", 2, part="ub"),
        "Williams %R": of_bar("Williams", "window"),
        "CCI": of_bar("CCI", "window"),
        "Stochastic %K": of_bar("Stoch", "window", 3, part="k"),
        "Stochastic %D": of_bar("Stoch", "window", 3, part="d"),
        "ADX": of_bar("ADX", "window", "window", part="adx"),
        "ATR": of_bar("ATR", "window"),
        "ATR %": of_bar("NATR", "window"),
        "Aroon Up": of_bar("Aroon", "window", part="up"),
        "Aroon Down": of_bar("Aroon", "window", part="down"),
        "MACD": of_close("MACD", 12, 26, 9, part="macd"),
        "MACD Signal": of_close("MACD", 12, 26, 9, part="signal"),
        "MACD Histogram": of_close("MACD", 12, 26, 9, part="histogram"),
    }
