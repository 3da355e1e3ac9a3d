"""Splits and requirements of a Forge job in native words."""

from __future__ import annotations

from typing import Any

from forge_ray.tree.importers.fields import Fields, plain
from forge_ray.tree.importers.fields import exact as exactly
from forge_ray.tree.importers.report import expected

PERCENT = {"cagr": "cagr", "maxDrawdown": "max_drawdown", "vol": "volatility", "winRate": "win_rate",
           "tim": "time_in_market", "timar": "timar"}  # fmt: skip
PLAIN = {"sharpe": "sharpe", "calmar": "calmar", "sortino": "sortino", "treynor": "treynor", "beta": "beta",
         "avgHoldings": "average_holdings", "timarMaxDDRatio": "timar_max_drawdown"}  # fmt: skip
WITHOUT = ("avgTurnover", "timarTimarMaxDD", "cagrCalmar")
SIGNS = {"at_least": ">=", "at_most": "<="}
TRADING_DAYS = 21
"""In a month; Atlas divides trading days by calendar days."""

_SPLIT = ("enabled", "strategy", "chronologicalPercent", "splitDate", "chronologicalDate", "minYears",
          "rollingWindowPeriod", "rollingStartYear", "minWarmUpYears", "rankBy")  # fmt: skip
_STRATEGIES = ("chronological", "even_odd_month", "even_odd_year")


def read_split(config: Fields) -> Any:
    """The native split, None if the job says nothing."""
    config.known(_SPLIT)
    if not config.data:
        return None
    if not config.flag("enabled", True):
        return "none"
    if config.get("minYears"):
        config.report.repair(config.spot.at("minYears"), f"{config.get('minYears')}: not checked here; left out")
    strategy = config.get("strategy")
    if strategy == "rolling":
        config.report.problem(config.spot.at("strategy"), f"rolling: walk-forward is no split; allowed: "
                              f"{', '.join(_STRATEGIES)}")  # fmt: skip
        return "none"
    strategy = config.choice("strategy", _STRATEGIES)
    if strategy != "chronological":
        return strategy
    date = config.text("splitDate") or config.text("chronologicalDate")
    if config.get("chronologicalPercent") is None and date:
        return {"chronological": date[:10]}
    percent = config.number("chronologicalPercent")
    if not 0 < percent < 100:
        config.report.problem(config.spot.at("chronologicalPercent"), expected("percent between 0 and 100", percent))
    config.report.open_point(f"the split at {percent} % is of the returns; Atlas's server counts calendar time")
    return {"chronological": f"{percent}%"}


def read_requirements(job: Fields) -> dict[str, str]:
    """The native requirements, on in-sample metrics, as Atlas judges them."""
    found: dict[str, str] = {}
    for k, raw in enumerate(job.objects("requirements")):
        spot = job.spot.at("requirements").at(k)
        if not isinstance(raw, dict):
            job.report.problem(spot, expected("a requirement (an object)", raw))
            continue
        one = Fields(raw, spot, job.report)
        if (read := _requirement(one)) is None:
            continue
        if read[0] in found:
            job.report.problem(spot, f"a second bound on {read[0]}; allowed: one")
        found[read[0]] = read[1]
    return found


def _requirement(one: Fields) -> tuple[str, str] | None:
    one.known(("id", "type", "metric", "comparison", "value"))
    kind = one.choice("type", ("metric", "live_months", "etfs_only"))
    if kind == "etfs_only":
        one.report.repair(one.spot, "etfs_only is not judged; left out")
        return None
    sign = SIGNS[one.choice("comparison", tuple(SIGNS))]
    value = one.number("value")
    if kind == "live_months":
        one.report.repair(one.spot, f"{value} months of {TRADING_DAYS} trading days each")
        return "is.n_days", f"{sign} {plain((exactly(value) or 0) * TRADING_DAYS)}"  # type: ignore[arg-type]
    metric = one.get("metric")
    if metric in WITHOUT:
        one.report.repair(one.spot, f"{metric} has no native counterpart; left out")
        return None
    if not isinstance(metric, str) or metric not in PERCENT | PLAIN:
        one.report.unknown(one.spot.at("metric"), "metric", metric, (*PERCENT, *PLAIN, *WITHOUT))
        return None
    if metric == "maxDrawdown" and value < 0:
        one.report.repair(one.spot, f"a negative drawdown; read as at most {-value} %")
        return "is.max_drawdown", f"<= {-value}%"
    if metric == "treynor":
        return "is.treynor", f"{sign} {plain((exactly(value) or 0) * 100)}%"  # type: ignore[arg-type]
    return f"is.{(PERCENT | PLAIN)[metric]}", f"{sign} {value}{'%' if metric in PERCENT else ''}"
