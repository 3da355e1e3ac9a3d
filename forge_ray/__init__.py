"""Search the whole parameter space of a trading-strategy tree: exactly, at speed, on a laptop or a Ray cluster.

>>> import forge_ray as fr
>>> tree = fr.if_(fr.rsi("SPX", fr.axis("n", "2..20")) < 30, fr.hold("AAPL"), fr.cash())
>>> run = fr.plan(fr.sweep(tree, data="sample:us20")).run()
>>> run.frame(), run.top("is_sharpe", n=20)
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forge_ray.notebook import needle, open, plan, plane, sweep
    from forge_ray.run import execute, explain, prepare
    from forge_ray.sweep import Sweep, parse_job, read_job
    from forge_ray.tree.builders import (
        ELSE_EQUITY,
        THEN_EQUITY,
        all_of,
        all_tickers,
        any_of,
        any_ticker,
        at_least,
        at_most,
        axis,
        between_dates,
        blend,
        bottom,
        call,
        capped,
        cash,
        count,
        exactly,
        formula,
        group,
        hold,
        if_,
        indicator,
        inverse_volatility,
        ladder,
        latch,
        none_of,
        on_date,
        pro_volatility,
        ranked,
        ratio,
        ticker_list,
        top,
        weighting,
    )

_HOMES = {
    **dict.fromkeys(("needle", "open", "plan", "plane", "sweep"), "forge_ray.notebook"),
    **dict.fromkeys(("execute", "explain", "prepare"), "forge_ray.run"),
    **dict.fromkeys(("Sweep", "parse_job", "read_job"), "forge_ray.sweep"),
}
__all__ = [
    "ELSE_EQUITY",
    "THEN_EQUITY",
    "Sweep",
    "all_of",
    "all_tickers",
    "any_of",
    "any_ticker",
    "at_least",
    "at_most",
    "axis",
    "between_dates",
    "blend",
    "bottom",
    "call",
    "capped",
    "cash",
    "count",
    "exactly",
    "execute",
    "explain",
    "formula",
    "group",
    "hold",
    "if_",
    "indicator",
    "inverse_volatility",
    "ladder",
    "latch",
    "needle",
    "none_of",
    "on_date",
    "open",
    "parse_job",
    "plan",
    "plane",
    "prepare",
    "pro_volatility",
    "ranked",
    "ratio",
    "read_job",
    "sweep",
    "ticker_list",
    "top",
    "weighting",
]


class _Package(ModuleType):
    """Keeps the functions `plan` and `sweep`: importing the modules of these names would bind those over them."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    """Names are loaded when they are first used: importing the package imports no numba, no ray, no polars.

    Beside those of `__all__` there is one function per indicator of the catalogue, such as ``rsi``.
    """
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if not name.startswith("_"):
        builders = import_module("forge_ray.tree.builders")
        if name in __all__:
            return getattr(builders, name)
        if name in builders.INDICATOR_FUNCTIONS:
            return builders.INDICATOR_FUNCTIONS[name]
    raise AttributeError(f"module 'forge_ray' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *import_module("forge_ray.tree.builders").INDICATOR_FUNCTIONS])
