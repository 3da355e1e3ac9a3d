"""Is a tree a plateau or a needle? What its neighbours earn, how fragile what it says is, how close its days were.

1. Run a neighbourhood of the tree: every single change, and a sample of several at once.
2. Place the tree as written among its neighbours, metric by metric.
3. Rank its atoms by what the worst single change of each costs.
4. Count the days that were decided by a hair.
5. Move the prices that indicators see, not those that are traded, and count the days on which it holds something else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from forge_ray.catalog import METRIC_BY_NAME
from forge_ray.data import OwnBars, Panel
from forge_ray.engine import BoundPlan, Cache, Evaluator, evaluate, nearest_flips
from forge_ray.errors import InputError, Problem
from forge_ray.plan import Prune
from forge_ray.run.execution import BRANCH_CACHE_BYTES, Executor, execute, prepare, prepare_branch
from forge_ray.run.reading import Run
from forge_ray.sweep import Sweep
from forge_ray.tree import Neighbourhood

if TYPE_CHECKING:
    import polars as pl

AROUND: dict[str, Any] = {
    "kind": "neighbourhood", "changes": 3, "window": "±20%", "threshold": "±5%", "sample": 100_000, "seed": 1,
}  # fmt: skip
"""The design of the neighbours unless another is asked for."""

METRICS = ("sharpe", "sortino", "cagr", "max_drawdown", "calmar", "turnover")
HAIR = 0.1
"""Moves within which a decision was one by a hair."""

JITTERED = 20
BASIS_POINTS = 10.0
N_ATOMS = 10


def needle(
    as_written: Sweep,
    around: Sweep,
    executor: Executor,
    out: str | Path = "runs",
    **how: Any,
) -> dict[str, Any]:
    """How a tree stands among its neighbours, as plain JSON values.

    as_written : the tree alone. around : a neighbourhood of it whose sample keeps every single change.
    how : options of `execute`. The neighbours are a run in `out`; it goes on, or is found again, like any other.
    Raises `InputError` for other spaces and for a sample that is too small.
    """
    space = around.space
    if not isinstance(space, Neighbourhood):
        raise InputError([Problem("design", f"expected a neighbourhood, got {space}")])
    singles = sum(len(axis.values) - 1 for axis in space.axes)
    if space.size < space.total and 2 * singles > space.size - 1:
        text = f"{space.size - 1:,} neighbours; allowed: at least {2 * singles:,}, as {singles:,} are single changes"
        raise InputError([Problem("sample", text)])
    neighbours = prepare(replace(around, keep="all", prune=Prune.NEVER))  # those that fail its requirements count too
    alone = prepare_branch(_since(as_written, neighbours.bound))
    result = execute(neighbours, executor, out, **how)
    with Run(result.path) as run:
        rows = run.frame()
    return {
        "name": as_written.name,
        "run": result.path,
        "neighbours": len(rows) - 1,
        "same_path": rows["path"].to_list().count(rows["path"][0]) - 1,
        "space": str(space),
        "metrics": {name: _standing(rows, f"full_{name}") for name in METRICS},
        "atoms": _fragile(rows, space, singles)[:N_ATOMS],
        "days": _days(alone.bound),
        "jitter": _jittered(alone.bound),
    }


def _since(as_written: Sweep, bound: BoundPlan) -> Sweep:
    """The tree alone, traded over the bars of its neighbours."""
    start = bound.panel.date(bound.start).isoformat()
    return replace(as_written, execution=msgspec.structs.replace(as_written.execution, start=start))


def _standing(rows: pl.DataFrame, column: str) -> dict[str, float | None]:
    """The tree as written, its percentile among its neighbours (ties count half, 100 is best), their quartiles."""
    values = _higher_is_better(rows, column)
    own, others = values[0], values[1:][~np.isnan(values[1:])]
    if np.isnan(own) or not len(others):
        return dict.fromkeys(("as_written", "percentile", "low", "median", "high", "median_over_written"))
    percentile = 100 * (np.mean(others < own) + np.mean(others == own) / 2)
    sign = _sign(column)
    low, median, high = (float(sign * q) for q in np.quantile(others, (0.25, 0.5, 0.75)))
    written = float(sign * own)
    return {
        "as_written": written,
        "percentile": float(percentile),
        "low": low,
        "median": median,
        "high": high,
        "median_over_written": median / written if written else None,
    }


def _sign(column: str) -> float:
    return 1.0 if METRIC_BY_NAME[column.partition("_")[2]].better == "high" else -1.0


def _higher_is_better(rows: pl.DataFrame, column: str) -> np.ndarray:
    return _sign(column) * rows[column].fill_null(np.nan).to_numpy()


def _fragile(rows: pl.DataFrame, space: Neighbourhood, singles: int) -> list[dict[str, Any]]:
    """Atoms by the Sharpe ratio that their worst single change leaves, lowest first."""
    sharpe = _higher_is_better(rows, "full_sharpe")
    digits = space.digits(space.terms[0], np.arange(1, singles + 1))
    changed = np.argmax(digits != np.array(space.base), axis=1)
    members: dict[str, list[int]] = defaultdict(list)
    for branch, axis in enumerate(changed, 1):
        members[space.phrases[axis].rpartition(": ")[0] or space.phrases[axis]].append(branch)
    found = [_atom(atom, branches, sharpe, rows) for atom, branches in members.items()]
    return sorted(found, key=lambda atom: (atom["worst"] is None, atom["worst"], atom["atom"]))


def _atom(atom: str, branches: list[int], sharpe: np.ndarray, rows: pl.DataFrame) -> dict[str, Any]:
    known = [b for b in branches if not np.isnan(sharpe[b])]
    worst = min(known, key=lambda b: sharpe[b], default=None)
    return {
        "atom": atom,
        "changes": len(branches),
        "worst": None if worst is None else float(sharpe[worst]),
        "worst_change": None if worst is None else rows["changes"][worst].removeprefix(f"{atom}: "),
        "worst_branch": worst,
        "median": float(np.median(sharpe[known])) if known else None,
    }


def _days(bound: BoundPlan) -> dict[str, Any]:
    """How near the traded decisions were to flipping."""
    nearest = nearest_flips(bound, Cache(BRANCH_CACHE_BYTES))
    compared = nearest[np.isfinite(nearest)]
    return {
        "decisions": bound.n,
        "compared": len(compared),
        "hair": HAIR,
        "by_a_hair": float(np.mean(nearest < HAIR)),
        "median_distance": float(np.median(compared)) if len(compared) else None,
    }


def _jittered(bound: BoundPlan) -> dict[str, Any]:
    """The tree with signal prices off by up to ±10 bp, `JITTERED` times over."""
    written, sharpe = _held(bound)
    differing, sharpes = [], []
    for seed in range(JITTERED):
        moved = replace(bound, panel=_off(bound.panel, seed))
        targets, found = _held(moved)
        differing.append(float(np.mean(np.abs(targets - written).sum(axis=1) > 1e-12)))
        sharpes.append(found)
    known = [value for value in sharpes if value is not None]
    return {
        "basis_points": BASIS_POINTS,
        "times": JITTERED,
        "days_changed": float(np.median(differing)),
        "most_days_changed": max(differing),
        "sharpe": sharpe,
        "median_sharpe": float(np.median(known)) if known else None,
        "lowest_sharpe": min(known, default=None),
    }


def _off(panel: Panel, seed: int) -> Panel:
    """Own bars off by a factor per bar, the same for all prices of it; what is traded at stays."""
    rng = np.random.default_rng(seed)
    return replace(panel, bars=tuple(_bars_off(own, rng) for own in panel.bars))


def _bars_off(own: OwnBars, rng: np.random.Generator) -> OwnBars:
    factor = 1.0 + rng.uniform(-BASIS_POINTS, BASIS_POINTS, len(own.close)) / 1e4
    others: Mapping[str, np.ndarray] = {
        name: values if name == "volume" else values * factor for name, values in own.others.items()
    }
    return replace(own, close=own.close * factor, others=others)


def _held(bound: BoundPlan) -> tuple[np.ndarray, float | None]:
    """(n, n_tickers) target weights of the traded decisions, and the Sharpe ratio of holding them."""
    cache = Cache(BRANCH_CACHE_BYTES)
    found = Evaluator(bound.plan, bound.panel, cache).allocation(bound.plan.roots[0], {})
    weights = found.weights[found.row_of[bound.start : bound.start + bound.n]]
    return weights, evaluate(bound, 0, 1, cache).column("full_sharpe")[0].as_py()
