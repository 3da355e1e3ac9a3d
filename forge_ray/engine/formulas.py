"""Formulas on the bars of one ticker: a stack of arrays, as `tree.formulas` lays the program out.

Whatever is not a finite number (a division by 0, the root of a negative, an overflow) has no value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from forge_ray.data import OwnBars
from forge_ray.kernels import averages, functions, volatility
from forge_ray.kernels.compile import Kernel
from forge_ray.tree.formulas import Formula

Function = Callable[..., np.ndarray]


def evaluate(formula: Formula, bars: OwnBars, indicator: Callable[[str], np.ndarray]) -> np.ndarray:
    """(n,) values on the own bars of a ticker, NaN where there is none. indicator : values by variable name."""
    stack: list[np.ndarray] = []
    for what, detail in formula.steps:
        match what:
            case "number":
                value = np.full(len(bars.close), float(detail))
            case "field":
                value = bars.field(str(detail))
            case "indicator":
                value = indicator(str(detail))
            case _ if what in _ROLLING:
                value = _ROLLING[what](stack.pop(), int(detail))
            case _:
                function, n = _FUNCTIONS[str(detail) or what]
                stack, operands = stack[:-n], stack[-n:]
                with np.errstate(all="ignore"):
                    value = function(*operands)
        stack.append(np.where(np.isfinite(value), value, np.nan))
    return stack[0]


def kernels_of(formula: Formula) -> list[Kernel]:
    """Kernels that a formula calls itself."""
    names = {name for step in formula.steps for name in step if isinstance(name, str)}
    names |= {"rmin", "rmax"} if "stochastic" in names else set()
    return [kernel for name, kernel in _KERNELS.items() if name in names]


def _round(values: np.ndarray) -> np.ndarray:
    """Half away from zero."""
    whole = np.trunc(values)
    return whole + np.where(np.abs(values - whole) >= 0.5, np.sign(values), 0.0)


def _written(kernel: Kernel) -> Function:
    def call(values: np.ndarray, *others: np.ndarray | int) -> np.ndarray:
        out = np.empty(len(values))
        kernel(values, *others, out)
        return out

    return call


def _ago(values: np.ndarray, n: int) -> np.ndarray:
    earlier = np.full(len(values), np.nan)
    earlier[n:] = values[: max(len(values) - n, 0)]
    return earlier


def _rate_of_change(values: np.ndarray, n: int) -> np.ndarray:
    with np.errstate(all="ignore"):
        return (values / _ago(values, n) - 1.0) * 100.0


def _stochastic(values: np.ndarray, n: int) -> np.ndarray:
    low, high = (_written(kernel)(values, n) for kernel in (_KERNELS["rmin"], _KERNELS["rmax"]))
    with np.errstate(all="ignore"):
        return (values - low) / (high - low) * 100.0


_KERNELS: Mapping[str, Kernel] = {
    "log": functions.log_of,
    "log10": functions.log_of,
    "exp": functions.exp_of,
    "pow": functions.power_of,
    "sma": averages.simple_moving_average,
    "ema": averages.exponential_moving_average,
    "stdev": volatility.price_deviation,
    "rmax": functions.rolling_highest,
    "rmin": functions.rolling_lowest,
    "percentile": functions.rolling_percentile,
}

_FUNCTIONS: Mapping[str, tuple[Function, int]] = {
    "+": (np.add, 2),
    "-": (np.subtract, 2),
    "*": (np.multiply, 2),
    "/": (np.divide, 2),
    "%": (np.fmod, 2),
    "negate": (np.negative, 1),
    "abs": (np.abs, 1),
    "sqrt": (np.sqrt, 1),
    "sign": (np.sign, 1),
    "floor": (np.floor, 1),
    "ceil": (np.ceil, 1),
    "round": (_round, 1),
    "min": (np.minimum, 2),
    "max": (np.maximum, 2),
    "log": (_written(functions.log_of), 1),
    "log10": (lambda values: _written(functions.log_of)(values) / functions.LOG_OF_TEN, 1),
    "exp": (_written(functions.exp_of), 1),
    "pow": (_written(functions.power_of), 2),
}

_ROLLING: Mapping[str, Function] = {
    **{name: _written(_KERNELS[name]) for name in ("sma", "ema", "stdev", "rmax", "rmin", "percentile")},
    "roc": _rate_of_change,
    "stochastic": _stochastic,
    "ago": _ago,
}
