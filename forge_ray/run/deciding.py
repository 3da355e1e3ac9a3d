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
from forge_ray.errors import InputError, Problem, StoreError
from forge_ray.run.execution import BRANCH_CACHE_BYTES, Prepared, prepare, prepare_branch
from forge_ray.run.reading import Run, kept_sweep
from forge_ray.store import LocalStore
from forge_ray.sweep import Sweep, located, parse_job, with_settings
from forge_ray.tree import Grid, fill


def tree_sweep(path: str | Path, data: str | None, settings: Iterable[str] = ()) -> Sweep:
    """The sweep of one branch that a file is: a tree as written, or a job without axes, with overrides.

    data : a source in place of the job's, everything else of its data stays; for a tree by default the sample of 20
    stocks.
    """
    if data == "":
        raise InputError([Problem("--data", 'expected a source such as "sample:us20" or a file, got ""')])
    found, source = jsontext.read_file(path), None if data is None else located(data, Path.cwd())
    if not isinstance(found, dict) or "kind" in found:
        found = {"name": Path(path).stem, "data": {"source": source or "sample:us20"}, "tree": found}
    elif source:
        given = found.get("data")
        found = {**found, "data": {**(given if isinstance(given, dict) else {}), "source": source}}
    return parse_job(with_settings(found, settings), folder=Path(path).parent)


def prepared_again(store: LocalStore, why: str) -> Prepared:
    """The sweep of a run, from the job that was kept with it. Raises `StoreError` if it would give another run now,
    saying why that will not do."""
    prepared = prepare(kept_sweep(store))
    if prepared.run_id != store.run_id:
        raise StoreError(
            f"{store.path}: its job now gives run {prepared.run_id}, not {store.run_id}: the market data or the "
            f"version of forge_ray have changed, and {why}"
        )
    return prepared


def branch_sweep(run: Run, branch: int) -> Sweep:
    """The sweep of one branch of a run: its concrete tree, everything else as in the run. Raises `StoreError` if the
    market data are not those of the run any more."""
    sweep = prepared_again(run.store, "its decisions with them; forge-ray show has the tree, to ask with --data").sweep
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
