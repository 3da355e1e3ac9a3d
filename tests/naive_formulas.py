"""The formulas of the oracle: `close / sma - 1` read into a nested tuple and worked out bar by bar.

A formula is, from the loosest to the tightest binding,

    sum      product {("+" | "-") product}
    product  factor {("*" | "/" | "%") factor}
    factor   "-" factor | number | "(" sum ")" | name | name "(" sum {"," sum} ")"

Anything without a finite result is None, and None in gives None out.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from naive_indicators import WINDOWLESS as WINDOWLESS_INDICATORS
from naive_indicators import (
    Bar,
    Values,
    bars_before_first_value,
    each,
    exponential_moving_average,
    indicator,
    place_in_range,
    population_deviation,
    reads_bars,
    rolling,
    shifted,
    simple_moving_average,
)

FIELDS = ("close", "open", "high", "low", "volume")

INDICATORS: dict[str, str] = {
    "sma": "Simple Moving Average",
    "ema": "Exponential Moving Average",
    "wma": "Weighted Moving Average",
    "wilderma": "Wilder Moving Average",
    "hma": "Hull Moving Average",
    "dema": "DEMA",
    "tema": "TEMA",
    "kama": "KAMA",
    "rsi": "Relative Strength Index",
    "rsi_sma": "RSI (SMA)",
    "rsi_ema": "RSI (EMA)",
    "stochrsi": "Stochastic RSI",
    "laguerrersi": "Laguerre RSI",
    "stdev": "Standard Deviation",
    "stdev_price": "Standard Deviation of Price",
    "maxdd": "Max Drawdown",
    "drawdown": "Drawdown",
    "cumret": "Cumulative Return",
    "roc": "Rate of Change",
    "sma_ret": "SMA of Returns",
    "atr": "ATR",
    "atr_pct": "ATR %",
    "hvol": "Historical Volatility",
    "ulcer": "Ulcer Index",
    "macd_hist": "MACD Histogram",
    "ppo_hist": "PPO Histogram",
    "bbpctb": "Bollinger %B",
    "bbwidth": "Bollinger Bandwidth",
    "aroon_up": "Aroon Up",
    "aroon_down": "Aroon Down",
    "aroon_osc": "Aroon Oscillator",
    "momentum_w": "Momentum (Weighted)",
    "momentum_u": "Momentum (Unweighted)",
    "momentum_sma12": "Momentum (12-Month SMA)",
    "stochk": "Stochastic %K",
    "stochd": "Stochastic %D",
    "willr": "Williams %R",
    "cci": "CCI",
    "adx": "ADX",
    "mfi": "Money Flow Index",
    "obv_roc": "OBV Rate of Change",
    "vwap_ratio": "VWAP Ratio",
    "r2": "Trend Clarity",
    "linreg_slope": "Linear Reg Slope",
    "linreg_value": "Linear Reg Value",
    "price_vs_sma": "Price vs SMA",
    "ultsmooth": "Ultimate Smoother",
}


class Number(NamedTuple):
    value: float


class Name(NamedTuple):
    name: str


class Apply(NamedTuple):
    """An operator or a function; negation is the function "neg"."""

    function: str
    arguments: tuple[Expression, ...]


Expression = Number | Name | Apply


# ---------------------------------------------------------------- what a formula says


def formula_values(text: str, bars: Sequence[Bar], window: int | None) -> Values:
    """One value per bar. Raises ValueError for what is not a formula."""
    return values(parse(text), list(bars), window)


def formula_look_back(text: str, window: int | None) -> int:
    """Bars before the first value: the largest over the parts, a rolling function's own ones added to those inside."""
    return look_back(parse(text), window)


def formula_reads_bars(text: str) -> bool:
    """Whether it needs more of a bar than its close."""
    return any(name in FIELDS[1:] or (name in INDICATORS and reads_bars(INDICATORS[name])) for name in names(text))


def formula_is_windowed(text: str) -> bool:
    return any(name in INDICATORS and INDICATORS[name] not in WINDOWLESS_INDICATORS for name in names(text))


def names(text: str) -> Iterator[str]:
    todo = [parse(text)]
    while todo:
        match todo.pop():
            case Name(name):
                yield name
            case Apply(_, arguments):
                todo += arguments


def values(expression: Expression, bars: list[Bar], window: int | None) -> Values:
    match expression:
        case Number(value):
            return [value] * len(bars)
        case Name(name) if name in FIELDS:
            return [getattr(bar, name) for bar in bars]
        case Name(name):
            return indicator(INDICATORS[name], bars, window_of(name, window))
        case Apply(function, (inner, Number(n))) if function in ROLLING:
            return ROLLING[function](values(inner, bars, window), int(n))
        case Apply(function, arguments):
            return each(finite(PLAIN[function]), *(values(argument, bars, window) for argument in arguments))


def look_back(expression: Expression, window: int | None) -> int:
    match expression:
        case Number():
            return 0
        case Name(name) if name in FIELDS:
            return 0
        case Name(name):
            return bars_before_first_value(INDICATORS[name], window_of(name, window))
        case Apply(function, (inner, Number(n))) if function in ROLLING:
            return look_back(inner, window) + int(n) - (0 if function in ("roc", "ago") else 1)
        case Apply(_, arguments):
            return max(look_back(argument, window) for argument in arguments)


def window_of(name: str, window: int | None) -> int:
    if window is None and INDICATORS[name] not in WINDOWLESS_INDICATORS:
        raise ValueError(f"{name} in a formula: no window")
    return window or 1


# ---------------------------------------------------------------- what its words mean


def modulo(a: float, b: float) -> float:
    """With the sign of a."""
    return math.fmod(a, b)


def sign(x: float) -> float:
    return float((x > 0) - (x < 0))


def half_away_from_zero(x: float) -> float:
    whole = math.trunc(x)
    return whole + sign(x) if abs(x - whole) >= 0.5 else float(whole)


PLAIN: dict[str, Callable[..., float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": modulo,
    "neg": operator.neg,
    "abs": abs,
    "sqrt": math.sqrt,
    "log": math.log,
    "log10": math.log10,
    "exp": math.exp,
    "sign": sign,
    "floor": math.floor,
    "ceil": math.ceil,
    "round": half_away_from_zero,
    "min": min,
    "max": max,
    "pow": math.pow,
}


def finite(of: Callable[..., float]) -> Callable[..., float | None]:
    """None where `of` has no result, or none that is a finite number."""

    def guarded(*arguments: float) -> float | None:
        try:
            result = float(of(*arguments))
        except (ArithmeticError, ValueError):
            return None
        return result if math.isfinite(result) else None

    return guarded


def deviation(x: Values, n: int) -> Values:
    return rolling(x, n, population_deviation)


def highest(x: Values, n: int) -> Values:
    return rolling(x, n, max)


def lowest(x: Values, n: int) -> Values:
    return rolling(x, n, min)


def percent_change(x: Values, n: int) -> Values:
    return rolling(x, n + 1, lambda v: finite(lambda before, now: (now / before - 1) * 100)(v[0], v[-1]))


def percentile(x: Values, n: int) -> Values:
    return rolling(x, n, lambda last: 100 * sum(v <= last[-1] for v in last) / n)


def stochastic(x: Values, n: int) -> Values:
    return rolling(x, n, lambda last: None if min(last) == max(last) else 100 * place_in_range(last))


ROLLING: dict[str, Callable[[Values, int], Values]] = {
    "sma": simple_moving_average,
    "ema": exponential_moving_average,
    "stdev": deviation,
    "rmax": highest,
    "rmin": lowest,
    "roc": percent_change,
    "percentile": percentile,
    "stochastic": stochastic,
    "ago": shifted,
}


# ---------------------------------------------------------------- reading

TOKEN = re.compile(
    r"\s*(?:(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|([A-Za-z_]\w*)|([-+*/%(),]))", re.ASCII
)


def parse(text: str) -> Expression:
    """Raises ValueError where the text is no formula."""
    tokens = tokens_of(text)
    expression = sum_of(tokens)
    if tokens:
        raise ValueError(f"{text!r}: {tokens[0]!r} after the end")
    return expression


def tokens_of(text: str) -> list[str]:
    out: list[str] = []
    at = 0
    while text[at:].strip():
        found = TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"{text!r}: {text[at:].strip()!r}")
        out.append(found[0].strip().lower())
        at = found.end()
    return out


def sum_of(tokens: list[str]) -> Expression:
    left = product_of(tokens)
    while tokens and tokens[0] in "+-":
        left = Apply(tokens.pop(0), (left, product_of(tokens)))
    return left


def product_of(tokens: list[str]) -> Expression:
    left = factor_of(tokens)
    while tokens and tokens[0] in "*/%":
        left = Apply(tokens.pop(0), (left, factor_of(tokens)))
    return left


def factor_of(tokens: list[str]) -> Expression:
    token = take(tokens)
    if token == "-":
        return Apply("neg", (factor_of(tokens),))
    if token == "(":
        inner = sum_of(tokens)
        take(tokens, ")")
        return inner
    if token[0] in ".0123456789":
        return Number(float(token))
    if tokens and tokens[0] == "(":
        return call_of(token, tokens)
    if token not in FIELDS and token not in INDICATORS:
        raise ValueError(f"{token!r} is no variable")
    return Name(token)


def call_of(function: str, tokens: list[str]) -> Expression:
    take(tokens, "(")
    arguments = [sum_of(tokens)]
    while tokens and tokens[0] == ",":
        take(tokens)
        arguments.append(sum_of(tokens))
    take(tokens, ")")
    if function in ROLLING:
        match arguments:
            case [_, Number(n)] if n >= 1 and n == int(n):
                return Apply(function, tuple(arguments))
        raise ValueError(f"{function} takes an expression and a whole number from 1 on")
    if function not in PLAIN or not function.isalnum() or function == "neg":
        raise ValueError(f"{function!r} is no function")
    if len(arguments) != (2 if function in ("min", "max", "pow") else 1):
        raise ValueError(f"{function} of {len(arguments)} arguments")
    return Apply(function, tuple(arguments))


def take(tokens: list[str], expected: str | None = None) -> str:
    if not tokens or (expected and tokens[0] != expected):
        raise ValueError(f"{tokens[0] if tokens else 'the end'!r} where {expected or 'a value'} should be")
    return tokens.pop(0)
