"""The run in words: what was searched, on what, what came out, and how much of it luck explains."""

from __future__ import annotations

from collections import Counter
from typing import Any

import polars as pl

from forge_ray.catalog import METRIC_BY_NAME, metric_text
from forge_ray.report.panel import PERCENT_DIGITS, Panel, label, metric_label
from forge_ray.report.subject import Subject
from forge_ray.run import ENDS, cost_of, sharpe_by_luck
from forge_ray.tree import Axis, Grid

MAX_VALUES = 12
MAX_NAMES = 40


def overview(subject: Subject) -> Panel:
    """The run in words."""
    sweep, store = subject.sweep, subject.run.store
    counts = store.counts()
    axes = sweep.space.axes if isinstance(sweep.space, Grid) else ()
    words = {
        "run_id": store.run_id,
        "benchmark": sweep.benchmark,
        "axes": [(axis.id, len(axis.values), _values(axis)) for axis in axes],
        "around": None if isinstance(sweep.space, Grid) else str(sweep.space),
        "where": sweep.space.canonical()["where"],
        "trees": len(sweep.trees),
        "tree_names": _listed(sweep.tree_names),
        "size": sweep.space.size,
        "total": sweep.space.admitted,
        "branches": counts["branches"],
        "passed": counts["passed"],
        "distinct": subject.distinct,
        "keep_all": sweep.keep == "all",
        "has_all_paths": subject.run.has_all_paths,
        "ended": {ENDS[status]: n for status, n in subject.run.without_metrics().items()},
        "stored": len(subject.rows),
        "execution": _execution(subject),
        "split": _split(sweep.split.canonical()),
        "source": str(sweep.data.source),
        "is_sample": str(sweep.data.source).startswith("sample:"),
        "market": _market(subject),
        "absence": subject.absence,
        "luck": _luck(subject, counts["branches"]),
        "requirements": _requirements(subject),
        "cost": cost_of(store).lines(),
    }
    return Panel("overview", sweep.name, "Run", words)


def _values(axis: Axis) -> str:
    values = [label(value) for value in axis.values]
    return ", ".join(values if len(values) <= MAX_VALUES else [*values[:3], "…", *values[-3:]])


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more


def _execution(subject: Subject) -> str:
    e = subject.sweep.execution
    unknown = "holds cash" if e.null == "cash" else "takes its else side"
    parts = [
        f"mode {e.mode}, lag {e.lag}",
        f"{e.cost_bps:g} bps per side",
        f"rebalanced {e.rebalance}",
        f"cash earns {e.cash_rate * 100:g}% a year",
        f"risk-free rate {e.risk_free * 100:g}%",
        f"a gate that is unknown {unknown}",
    ]
    return "; ".join(parts)


def _split(split: str | dict[str, str]) -> str:
    if split == "none":
        return "none: every figure is over the whole period"
    if isinstance(split, str):
        return f"{split.replace('_', ' ')} (odd is in sample; the holdout lies between the searched days)"
    kind, value = next(iter(split.items()))
    size = value if "-" in value else f"{float(value) * 100:.6g}%"
    return f"{kind}, {size}" + (" of the days at the end" if kind == "holdout" else "")


def _market(subject: Subject) -> dict[str, Any] | None:
    if subject.prepared is None:
        return None
    bound = subject.prepared.bound
    panel = bound.panel
    return {
        "n_tickers": len(panel.tickers),
        "tickers": _listed(panel.tickers),
        "bars": len(panel.dates),
        "first": panel.date(0).isoformat(),
        "last": panel.date(-1).isoformat(),
        "returns": bound.n,
        "start": panel.date(bound.first_fill).isoformat(),
    }


def _luck(subject: Subject, branches: int) -> dict[str, Any] | None:
    """The best Sharpe ratio against that of as many worthless strategies, and what it came to out of sample."""
    segment = subject.segments[0]
    rows = subject.rows.filter(pl.col(f"{segment}_sharpe").is_not_null())
    if not len(rows):
        return None
    best = rows.sort([f"{segment}_sharpe", "branch"], descending=[True, False]).row(0, named=True)
    trials = subject.distinct if subject.run.has_all_paths else branches
    days = int(best[f"{segment}_n_days"])
    luck = sharpe_by_luck(trials, days)
    return None if luck is None else {
        "metric": metric_label(f"{segment}_sharpe"),
        "branch": best["branch"],
        "best": metric_text("sharpe", best[f"{segment}_sharpe"], PERCENT_DIGITS),
        "later": metric_text("sharpe", best["oos_sharpe"], PERCENT_DIGITS) if subject.run.has_split else None,
        "luck": metric_text("sharpe", luck, PERCENT_DIGITS),
        "trials": trials,
        "days": days,
        "beats": best[f"{segment}_sharpe"] > luck,
    }  # fmt: skip


def _requirements(subject: Subject) -> list[dict[str, Any]]:
    """Per requirement how many branches miss it, and how many miss nothing else; None where rows do not tell."""
    names = [str(requirement) for requirement in subject.sweep.requirements]
    counted = subject.run.has_all_paths and len(subject.rows) > 0
    missed, alone = Counter[str](), Counter[str]()
    if counted:
        for text, count in subject.rows["failed_requirements"].value_counts().iter_rows():
            failed = [name for name in text.split("; ") if name]
            missed.update(dict.fromkeys(failed, count))
            alone.update(dict.fromkeys(failed, count) if len(failed) == 1 else {})
    return [
        {
            "text": _requirement_text(requirement),
            "missed": missed[name] if counted else None,
            "alone": alone[name] if counted else None,
        }
        for name, requirement in zip(names, subject.sweep.requirements, strict=True)
    ]


def _requirement_text(requirement: Any) -> str:
    sign = "at most" if requirement.at_most else "at least"
    fraction = METRIC_BY_NAME[requirement.metric].unit == "fraction"
    bound = f"{requirement.bound * 100:.6g}%" if fraction else f"{requirement.bound:.6g}"
    return f"{metric_label(f'{requirement.segment}_{requirement.metric}')}: {sign} {bound}"
