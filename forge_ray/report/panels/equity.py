"""Equity and drawdown of the best branches, simulated anew bar by bar, with the benchmark."""

from __future__ import annotations

from typing import Any

import numpy as np

from forge_ray.data import as_date
from forge_ray.engine import BoundPlan, Cache, branch_bars
from forge_ray.report.panel import Panel, label, metric_label, numbers, plain, short
from forge_ray.report.subject import Subject
from forge_ray.run import BRANCH_CACHE_BYTES, Prepared

SHOWN = 5
MAX_POINTS = 3000
MAX_NAME = 72


def equity(subject: Subject) -> Panel:
    """The `SHOWN` best distinct position paths, over the whole period."""
    branches = subject.ranked["branch"].head(SHOWN).to_list()
    words: dict[str, Any] = {
        "absence": subject.absence,
        "shown": len(branches),
        "metric": metric_label(subject.metric),
        "benchmark": subject.sweep.benchmark,
        "stride": 1,
        "period": "",
    }
    if subject.prepared is None or not branches:
        return Panel("equity", "Equity and drawdown", "Equity", words)
    bound = subject.prepared.bound
    words |= {"stride": _stride(bound.n + 1), "period": _out_of_sample_words(bound) if subject.run.has_split else ""}
    data = {
        "dates": _dates(bound),
        "curves": [*_benchmark(subject.prepared), *(_branch(subject.prepared, branch) for branch in branches)],
        "out_of_sample": _out_of_sample(bound) if subject.run.has_split else None,
    }
    return Panel("equity", "Equity and drawdown", "Equity", words, data)


def _branch(prepared: Prepared, branch: int) -> dict[str, Any]:
    bars = branch_bars(prepared.bound, branch, Cache(BRANCH_CACHE_BYTES))
    return {"name": _name(prepared, branch), "is_benchmark": False, **_curve(bars.equity, bars.drawdown)}


def _name(prepared: Prepared, branch: int) -> str:
    space = prepared.bound.plan.space
    tree, _ = space[branch]
    several = [prepared.bound.tree_names[tree]] if len(prepared.sweep.trees) > 1 else []
    settings = [f"{name} {label(value)}" for name, value in space.apart(branch).items()]
    return plain(short(", ".join([f"branch {branch}", *several, *settings]), MAX_NAME))


def _benchmark(prepared: Prepared) -> list[dict[str, Any]]:
    """The benchmark from its first price on; nothing before, and nothing at all without one."""
    if prepared.sweep.benchmark is None:
        return []
    returns = prepared.bound.benchmark
    level = np.concatenate([[1.0], np.cumprod(1.0 + np.nan_to_num(returns))])
    drawdown = level / np.maximum.accumulate(level) - 1.0
    before = np.concatenate([np.isnan(returns), [False]]) & (level == 1.0)
    level[before] = np.nan
    return [{"name": plain(short(prepared.sweep.benchmark, MAX_NAME)), "is_benchmark": True, **_curve(level, drawdown)}]


def _curve(equity: np.ndarray, drawdown: np.ndarray) -> dict[str, Any]:
    """The last equity and the deepest drawdown of every `_stride` bars."""
    firsts = np.arange(0, len(equity), _stride(len(equity)))
    lasts = np.append(firsts[1:], len(equity)) - 1
    return {"equity": numbers(equity[lasts]), "drawdown": numbers(np.minimum.reduceat(drawdown, firsts))}


def _dates(bound: BoundPlan) -> list[str]:
    days = bound.panel.dates[bound.first_fill :]
    firsts = np.arange(0, len(days), _stride(len(days)))
    return [as_date(day).isoformat() for day in days[np.append(firsts[1:], len(days)) - 1]]


def _stride(n: int) -> int:
    return -(-n // MAX_POINTS)


def _out_of_sample(bound: BoundPlan) -> list[str] | None:
    """First and last date out of sample, None where the split is interleaved."""
    is_out = _is_out_of_sample(bound)
    places = np.flatnonzero(is_out)
    if not len(places) or not is_out[places[0] :].all():
        return None
    return [as_date(bound.return_dates[places[0]]).isoformat(), as_date(bound.return_dates[-1]).isoformat()]


def _out_of_sample_words(bound: BoundPlan) -> str:
    if not _is_out_of_sample(bound).any():
        return "No day is out of sample."
    found = _out_of_sample(bound)
    return f"Shaded: out of sample, from {found[0]}." if found else "Days in and out of sample alternate."


def _is_out_of_sample(bound: BoundPlan) -> np.ndarray:
    out = np.zeros(bound.n, bool)
    for first, last, number in bound.runs:
        out[first:last] = bound.class_in_segment[number, 2]
    return out
