"""Single decisions: why a tree held what it held on a day, and what it holds now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from forge_ray import jsontext
from forge_ray.data import as_day
from forge_ray.engine import Cache, decision_at
from forge_ray.errors import InputError, Problem
from forge_ray.run.execution import BRANCH_CACHE_BYTES, Prepared, prepare_branch
from forge_ray.run.reading import Run
from forge_ray.sweep import Sweep, parse_job, with_settings
from forge_ray.tree import Grid, fill


def tree_sweep(path: str | Path, data: str | None, settings: Iterable[str] = ()) -> Sweep:
    """The sweep of one branch that a file is: a tree as written, or a job without axes, with overrides.

    data : the source; by default that of the job, or the sample of 20 stocks for a tree.
    """
    found, folder = jsontext.read_file(path), Path.cwd()
    if isinstance(found, dict) and "kind" not in found:
        job = found if data is None else {**found, "data": {"source": data}}
        folder = Path(path).parent if data is None else folder
    else:
        job = {"name": Path(path).stem, "data": {"source": data or "sample:us20"}, "tree": found}
    return parse_job(with_settings(job, settings), folder=folder)


def branch_sweep(run: Run, branch: int) -> Sweep:
    """The sweep of one branch of a run: its concrete tree, everything else as in the run."""
    sweep = run.sweep()
    if not 0 <= branch < sweep.space.size:
        raise InputError([Problem(f"branch {branch}", f"not in this space; allowed: 0 to {sweep.space.size - 1:,}")])
    tree, values = sweep.space[branch]
    filled = fill(sweep.trees[tree], values)
    return replace(sweep, trees=(filled,), tree_names=(sweep.tree_names[tree],), space=Grid((), (frozenset(),)))


def explain_decision(sweep: Sweep, day: date | None) -> dict[str, Any]:
    """The decision of a day (the last bar without one) as plain JSON values: path, conditions, weights.

    Raises `InputError` for a sweep of several branches, and if the calendar has no such day, naming its neighbours.
    """
    prepared = prepare_branch(sweep)
    t = len(prepared.bound.panel.dates) - 1 if day is None else _bar(prepared, day)
    decision = asdict(decision_at(prepared.bound, t, Cache(BRANCH_CACHE_BYTES)))
    cash = 1.0 - sum(decision["weights"].values())
    decision |= {"date": decision["date"].isoformat(), "information": decision["information"].isoformat()}
    decision["traded"] = t >= prepared.bound.start
    return decision | {"cash": cash, "nodes": [_plain(node) for node in decision["nodes"]]}


def _bar(prepared: Prepared, day: date) -> int:
    panel = prepared.bound.panel
    t = int(np.searchsorted(panel.dates, as_day(day)))
    if t < len(panel.dates) and panel.date(t) == day:
        return t
    near = [panel.date(k).isoformat() for k in (t - 1, t) if 0 <= k < len(panel.dates)]
    raise InputError([Problem(f"date {day}", f"not on the calendar; its neighbours are {' and '.join(near)}")])


def _plain(node: dict[str, Any]) -> dict[str, Any]:
    """With null for values that are missing."""
    seen = {
        what: [{name: None if value != value else value for name, value in item.items()} for item in node[what]]
        for what in ("conditions", "scores")
    }
    return {**node, **seen, "holds": list(node["holds"])}
