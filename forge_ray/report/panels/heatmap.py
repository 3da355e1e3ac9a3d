"""Any metric over any two dimensions of the space, median and best over all others, aggregated beforehand.

1. Values of a dimension, in the order of the job, are put into at most as many groups as the page can hold.
2. Every dimension, and every pair of them, is grouped once: median and best of every metric and segment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from forge_ray.catalog import METRIC_BY_NAME
from forge_ray.report.panel import Panel, label, metric_label, numbers, plain, short, tick_format
from forge_ray.report.subject import STUDIED, TREE, Subject
from forge_ray.tree import Grid

MAX_CELLS = 12_000
MAX_DIMENSIONS = 12
MAX_GROUPS = 96
MAX_LABEL = 24
STATISTICS = ("median", "best")


@dataclass(frozen=True)
class Dimension:
    """An axis, or the tree. group_of : group of each value, values in the order of the job."""

    name: str
    values: tuple[Any, ...]
    group_of: np.ndarray

    @property
    def labels(self) -> list[str]:
        """One per group: the value, or first and last of several. No two are equal."""
        firsts = np.flatnonzero(np.diff(self.group_of, prepend=-1))
        lasts = [*(firsts[1:] - 1), len(self.values) - 1]
        ends = [(label(self.values[a]), label(self.values[z])) for a, z in zip(firsts, lasts, strict=True)]
        texts = [short(first if first == last else f"{first} – {last}", MAX_LABEL) for first, last in ends]
        return texts if len(set(texts)) == len(texts) else [f"{text} ({k})" for k, text in enumerate(texts, 1)]


def _branches(subject: Subject) -> str:
    """Those whose metrics are there."""
    kept = "branches" if subject.sweep.keep == "all" else "passing branches"
    return kept if "prune" not in subject.run.spec else f"{kept} that did not stop early"


def heatmap(subject: Subject) -> Panel:
    """Median and best of the studied metrics over every pair of dimensions."""
    found = dimensions(subject)
    columns = [f"{segment}_{metric}" for metric in STUDIED for segment in subject.segments]
    words = {
        "dimensions": [dimension.name for dimension in found],
        "metrics": [(column, metric_label(column)) for column in columns],
        "statistics": STATISTICS,
        "grouped": [(d.name, len(d.values), int(d.group_of[-1]) + 1) for d in found if _is_grouped(d)],
        "left_out": len(_candidates(subject)) - len(found),
        "n_rows": len(subject.rows),
        "branches": _branches(subject),
    }
    if not found or not len(subject.rows):
        return Panel("heatmap", "Parameters", "Parameters", words)
    frame = _grouped(subject, found)
    data = {
        "dimensions": [_dimension(d) for d in found],
        "metrics": {column: _metric(column) for column in columns},
        "lines": [_line(frame, d, columns) for d in found],
        "cells": {f"{d.name},{e.name}": _cells(frame, d, e, columns) for d, e in combinations(found, 2)},
        "names": [d.name for d in found],
    }
    return Panel("heatmap", "Parameters", "Parameters", words, data)


def dimensions(subject: Subject) -> list[Dimension]:
    """The dimensions that can be chosen, those with most values if there are more than `MAX_DIMENSIONS`."""
    candidates = _candidates(subject)
    widest = sorted(candidates, key=lambda name: -len(candidates[name]))[:MAX_DIMENSIONS]
    chosen = {name: values for name, values in candidates.items() if name in widest}
    limit = group_limit([len(values) for values in chosen.values()])
    return [Dimension(name, values, _groups(len(values), limit)) for name, values in chosen.items()]


def group_limit(sizes: Sequence[int]) -> int:
    """The most groups per dimension for which all pairs together stay below `MAX_CELLS` cells."""
    for limit in range(MAX_GROUPS, 2, -1):
        capped = [min(size, limit) for size in sizes]
        if sum(a * b for a, b in combinations(capped, 2)) <= MAX_CELLS:
            return limit
    return 2


def _candidates(subject: Subject) -> dict[str, tuple[Any, ...]]:
    trees = {TREE: subject.sweep.tree_names} if TREE in subject.dimensions else {}
    axes = subject.sweep.space.axes if isinstance(subject.sweep.space, Grid) else ()
    found = {**trees, **{axis.id: axis.values for axis in axes}}
    return {name: values for name, values in found.items() if len(values) > 1}


def _groups(n: int, limit: int) -> np.ndarray:
    return np.arange(n) if n <= limit else np.arange(n) * limit // n


def _is_grouped(dimension: Dimension) -> bool:
    return int(dimension.group_of[-1]) + 1 < len(dimension.values)


def _grouped(subject: Subject, found: Sequence[Dimension]) -> pl.DataFrame:
    """The rows with the group of every dimension in the column of its name; null where a tree does not use an axis."""
    groups = [
        pl.col(d.name).replace_strict(list(d.values), d.group_of.tolist(), default=None, return_dtype=pl.Int64)
        for d in found
    ]
    return subject.rows.with_columns(groups)


def _aggregates(columns: Sequence[str]) -> list[pl.Expr]:
    found = []
    for column in columns:
        value = pl.col(column)
        best = value.max() if METRIC_BY_NAME[column.partition("_")[2]].better == "high" else value.min()
        found += [value.median().alias(f"{column},median"), best.alias(f"{column},best")]
    return found


def _line(frame: pl.DataFrame, d: Dimension, columns: Sequence[str]) -> dict[str, list[float | None]]:
    found = frame.drop_nulls(d.name).group_by(d.name).agg(_aggregates(columns))
    grid = np.full(int(d.group_of[-1]) + 1, np.nan)
    return {key: numbers(_filled(grid, (found[d.name],), found[key])) for key in _keys(columns)}


def _cells(
    frame: pl.DataFrame, d: Dimension, e: Dimension, columns: Sequence[str]
) -> dict[str, list[list[float | None]]]:
    """Per metric and statistic the rows of `d` by the columns of `e`."""
    found = frame.drop_nulls([d.name, e.name]).group_by(d.name, e.name).agg(_aggregates(columns))
    grid = np.full((int(d.group_of[-1]) + 1, int(e.group_of[-1]) + 1), np.nan)
    places = (found[d.name], found[e.name])
    return {key: [numbers(row) for row in _filled(grid, places, found[key])] for key in _keys(columns)}


def _keys(columns: Sequence[str]) -> list[str]:
    return [f"{column},{statistic}" for column in columns for statistic in STATISTICS]


def _filled(grid: np.ndarray, places: tuple[pl.Series, ...], values: pl.Series) -> np.ndarray:
    filled = grid.copy()
    filled[tuple(place.to_numpy() for place in places)] = values.fill_null(float("nan")).to_numpy()
    return filled


def _dimension(d: Dimension) -> dict[str, Any]:
    labels = [plain(text) for text in d.labels]
    return {"name": plain(d.name), "labels": labels, "ordered": not isinstance(d.values[0], str)}


def _metric(column: str) -> dict[str, Any]:
    metric = column.partition("_")[2]
    return {
        "label": metric_label(column),
        "format": tick_format(metric),
        "reversed": METRIC_BY_NAME[metric].better == "low",
    }
