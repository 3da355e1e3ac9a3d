"""`Subject`: what all panels are about, read once — the run, its rows as far as they are needed, its market if it is
still there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from forge_ray.catalog import METRIC_BY_NAME
from forge_ray.engine import METRIC_COLUMNS
from forge_ray.errors import InputError
from forge_ray.run import Prepared, Run, prepare
from forge_ray.sweep import Sweep

TREE = "tree"
STUDIED = ("sharpe", "cagr", "max_drawdown", "calmar", "time_in_market", "trades")
"""Metrics that panels choose from."""


@dataclass(frozen=True)
class Subject:
    """A stored run and what it ran on.

    prepared : the sweep bound to its market, None if that is not to be had any more; then `absence` says why.
    """

    run: Run
    sweep: Sweep
    prepared: Prepared | None
    absence: str

    @cached_property
    def metric(self) -> str:
        """The metric column that branches are ranked by."""
        return self.run.metric(None)

    @property
    def segments(self) -> tuple[str, ...]:
        return ("is", "oos") if self.run.has_split else ("full",)

    @cached_property
    def dimensions(self) -> tuple[str, ...]:
        """Columns that tell branches apart: the tree, if there are several, and the axes, in the order of the job."""
        return tuple(self.run.dimensions)

    @cached_property
    def rows(self) -> pl.DataFrame:
        """The rows that are stored, in branch order: branch, dimensions, path, verdict, studied metrics."""
        metrics = [c for c in METRIC_COLUMNS if _segment(c) in self.segments and _metric(c) in (*STUDIED, "n_days")]
        if not self.run.store.columns:
            return pl.DataFrame({name: [] for name in ("branch", *self.dimensions, "path", "passed", *metrics)})
        columns = ["branch", *self.dimensions, "path", "passed", "failed_requirements", *metrics]
        return pl.concat([pl.DataFrame(table) for table in self.run.store.scan(columns)]).sort("branch")

    @cached_property
    def ranked(self) -> pl.DataFrame:
        """One row per position path, the best by `metric` first: of those that passed, of all if none did.

        `alike` counts the branches that share the path; the lowest of them stands for it. Rows without a value of the
        metric are left out.
        """
        highest = METRIC_BY_NAME[_metric(self.metric)].better == "high"
        rows = self.rows.filter("passed") if self.any_passed else self.rows
        return (
            rows.filter(pl.col(self.metric).is_not_null())
            .with_columns(alike=pl.len().over("path"))
            .unique("path", keep="first", maintain_order=True)
            .sort([self.metric, "branch"], descending=[highest, False])
        )

    @cached_property
    def any_passed(self) -> bool:
        return bool(self.rows["passed"].any()) if len(self.rows) else False

    @cached_property
    def distinct(self) -> int:
        """Position paths among the stored rows; a branch that stopped early has none."""
        return self.rows["path"].drop_nulls().n_unique()


def read_subject(path: Path) -> Subject:
    """Open a run for reading; the caller closes `run`. Raises `StoreError` if there is none."""
    run = Run(path)
    sweep = run.sweep()
    try:
        prepared = prepare(sweep)
    except InputError as error:
        return Subject(run, sweep, None, f"The market data of this run cannot be read: {error}")
    if prepared.run_id != run.store.run_id:
        return Subject(run, sweep, None, "The market data have changed since this run.")
    return Subject(run, sweep, prepared, "")


def _segment(column: str) -> str:
    return column.partition("_")[0]


def _metric(column: str) -> str:
    return column.partition("_")[2]
