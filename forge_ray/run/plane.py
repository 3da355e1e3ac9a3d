"""Two exact thresholds as a plane: chosen metrics of every branch, as step functions of both.

1. Bind the sweep; its two exact axes give the pieces of the plane, the first the rows, the second the columns.
2. Refuse what does not fit, then evaluate the rows on threads (`engine/plane.py`). Rows that decide as the one before
   are copied.

No row of a run is made: a plane of 8,000 × 8,000 thresholds is an array, not 64 million rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from forge_ray.catalog import METRIC_BY_NAME
from forge_ray.engine import METRIC_COLUMNS, Cache, PlaneRows, plane_rows
from forge_ray.errors import CapacityError, InputError, Problem, StoreError, shown, step, unknown
from forge_ray.run.execution import Prepared, prepare
from forge_ray.run.executors import CACHE_BYTES, default_workers
from forge_ray.sweep import Sweep

MAX_PLANE_BYTES = 2 * 2**30


@dataclass(frozen=True)
class StepPlane:
    """Metrics as step functions of two thresholds.

    axes : ids of the first, n_x pieces, and of the second, n_y pieces.
    steps : least threshold of each piece, ascending; the first is the low end, −inf without one. ends : the largest
    thresholds. values : a threshold of each piece. metrics : (n_x, n_y) by column, NaN where undefined or excluded by
    `where`. distinct : branches that decide otherwise than the one before them.
    """

    name: str
    axes: tuple[str, str]
    values: tuple[np.ndarray, np.ndarray]
    steps: tuple[np.ndarray, np.ndarray]
    ends: tuple[float, float]
    metrics: dict[str, np.ndarray]
    distinct: int

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.values[0]), len(self.values[1])

    def piece(self, x: float, y: float) -> tuple[int, int]:
        """Row and column of two thresholds. Raises `InputError` for one outside the range of its axis."""
        ranges = list(zip(self.axes, (x, y), self.steps, self.ends, strict=True))
        outside = [(name, value, steps[0], end) for name, value, steps, end in ranges if not steps[0] <= value <= end]
        if outside:
            raise InputError(Problem(n, f"{shown(v)}; allowed: {low:g} to {high:g}") for n, v, low, high in outside)
        i, j = (int(np.searchsorted(steps, value, side="right")) - 1 for _, value, steps, _ in ranges)
        return i, j

    def at(self, x: float, y: float) -> dict[str, float]:
        """Metrics at two thresholds: those that a backtest with them has."""
        place = self.piece(x, y)
        return {name: float(cells[place]) for name, cells in self.metrics.items()}

    def best(self, metric: str) -> tuple[int, int] | None:
        """Row and column of the best branch, the first of equal ones; None if none has a value."""
        cells = self.metrics[metric]
        if np.isnan(cells).all():
            return None
        is_high = METRIC_BY_NAME[metric.split("_", 1)[1]].better == "high"
        i, j = np.unravel_index(np.nanargmax(cells) if is_high else np.nanargmin(cells), cells.shape)
        return int(i), int(j)

    def between(self, axis: int, k: int) -> tuple[float, float]:
        """Least threshold of a piece, and that of the next: all from the one to below the other decide alike. The last
        piece reaches to the end of its range."""
        steps = self.steps[axis]
        return float(steps[k]), float(steps[k + 1]) if k + 1 < len(steps) else self.ends[axis]

    def summary(self) -> dict[str, Any]:
        """Sizes, and of each metric quartiles and the best branch with its pieces, as plain JSON values."""
        return {
            "name": self.name,
            "axes": dict(zip(self.axes, self.shape, strict=True)),
            "branches": self.shape[0] * self.shape[1],
            "distinct": self.distinct,
            "metrics": {metric: self._summary(metric) for metric in self.metrics},
        }

    def _summary(self, metric: str) -> dict[str, Any]:
        known = self.metrics[metric][~np.isnan(self.metrics[metric])]
        quartiles = np.quantile(known, (0.25, 0.5, 0.75)).tolist() if len(known) else (None,) * 3
        return {
            **dict(zip(("low", "median", "high"), quartiles, strict=True)),
            "undefined": self.metrics[metric].size - len(known),
            "best": None if (place := self.best(metric)) is None else self._summary_at(metric, place),
        }

    def _summary_at(self, metric: str, place: tuple[int, int]) -> dict[str, Any]:
        thresholds = {}
        for axis, name in enumerate(self.axes):
            low, high = self.between(axis, place[axis])
            ends = {"from": low if np.isfinite(low) else None, "to": high if np.isfinite(high) else None}
            thresholds[name] = {"value": float(self.values[axis][place[axis]]), **ends}
        return {"value": float(self.metrics[metric][place]), "thresholds": thresholds}

    def save(self, file: str | Path) -> Path:
        """Write ``axes, x, y, x_steps, y_steps`` and a matrix per metric as a NumPy archive (.npz)."""
        path = check_archive(file)
        (x, y), (x_steps, y_steps) = self.values, self.steps
        arrays: dict[str, Any] = {"axes": self.axes, "x": x, "y": y, "x_steps": x_steps, "y_steps": y_steps}
        arrays.update(self.metrics)
        try:
            np.savez(path, **arrays)
        except OSError as error:
            raise StoreError(f"{path}: cannot write the plane: {error.strerror or error}") from error
        return path


def check_archive(file: str | Path) -> Path:
    """The path of an archive. Raises `InputError` for a name that `StepPlane.save` does not write."""
    path = Path(file)
    if path.suffix != ".npz":
        raise InputError([Problem("out", f"{step(path.name)}; allowed: a name that ends with .npz")])
    return path


def plane(sweep: Sweep, metrics: Sequence[str] = (), *, workers: int | None = None) -> StepPlane:
    """The plane of the two exact axes of a sweep of one tree. All other axes have one value.

    metrics : columns such as ``oos_sharpe``; default ``is_sharpe``, ``full_sharpe`` without a split. workers : threads,
    default one per CPU; they change no bit.
    Raises `InputError` with every reason why the sweep is no plane, `CapacityError` for one that is too large.
    """
    split = sweep.split.canonical()
    columns = tuple(dict.fromkeys(metrics)) or ("full_sharpe" if split == "none" else "is_sharpe",)
    if problems := [*_no_plane(sweep), *_unknown_metrics(columns)]:
        raise InputError(problems)
    (first, of_first), (second, of_second) = sweep.exact_axes.items()
    prepared = prepare(sweep)
    axes = prepared.sweep.space.axes
    x, y = (next(a for a, axis in enumerate(axes) if axis.id == name) for name in (first, second))
    _check_capacity(len(axes[x].values), len(axes[y].values), columns)
    rows = plane_rows(prepared.bound, x, y, Cache(CACHE_BYTES))
    cells = np.empty((len(columns), *rows.shape))
    distinct = _fill(prepared, rows, columns, cells, default_workers(workers))
    return StepPlane(
        sweep.name, (first, second), (axes[x].array, axes[y].array), (prepared.steps[first], prepared.steps[second]),
        (of_first.high, of_second.high), dict(zip(columns, cells, strict=True)), distinct,
    )  # fmt: skip


def _no_plane(sweep: Sweep) -> Iterator[Problem]:
    if len(exact := sweep.exact_axes) != 2:
        yield Problem("axes", f'exact are {", ".join(exact) or "none"}; a plane has two, as in "low": "exact"')
    if len(sweep.trees) > 1:
        yield Problem("trees", f"{len(sweep.trees)} trees; a plane has one")
    for axis in sweep.space.axes:
        if not axis.exact and len(axis.values) > 1:
            yield Problem(f"axes.{axis.id}", f"{len(axis.values):,} values; allowed beside a plane: one")


def _unknown_metrics(columns: Sequence[str]) -> Iterator[Problem]:
    return (unknown("metric", "metric column", name, METRIC_COLUMNS) for name in columns if name not in METRIC_COLUMNS)


def _check_capacity(n_x: int, n_y: int, columns: Sequence[str]) -> None:
    if (size := n_x * n_y * len(columns) * 8) > MAX_PLANE_BYTES:
        text = f"{n_x:,} × {n_y:,} thresholds of {len(columns)} metrics take {size:,} bytes; at most"
        text = f'{text} {MAX_PLANE_BYTES:,}. Fewer metrics, or a range of thresholds, as in "20..40 exact"'
        raise CapacityError([Problem("plane", text)])


def _fill(prepared: Prepared, rows: PlaneRows, columns: Sequence[str], cells: np.ndarray, workers: int) -> int:
    """Write every row of the plane; returns how many branches decide otherwise than the one before.

    cells : (n_columns, n_x, n_y).
    """

    def fill(i: int) -> int:
        found, outcome = rows.row(i, columns)
        cells[:, i] = found[:, outcome]
        return found.shape[1]

    pool = ThreadPoolExecutor(workers)
    try:
        distinct = sum(pool.map(fill, map(int, np.flatnonzero(rows.is_new))))
    finally:
        pool.shutdown(cancel_futures=True)
    for i in map(int, np.flatnonzero(~rows.is_new)):
        cells[:, i] = cells[:, i - 1]
    _exclude(prepared, cells)
    return distinct


def _exclude(prepared: Prepared, cells: np.ndarray) -> None:
    """Branches that the constraints exclude have no value."""
    space = prepared.bound.plan.space
    if prepared.sweep.space.canonical()["where"]:
        (term,), n_y = space.terms, cells.shape[2]
        for i in range(cells.shape[1]):
            cells[:, i, ~space.admits(term, np.arange(i * n_y, (i + 1) * n_y))] = np.nan
