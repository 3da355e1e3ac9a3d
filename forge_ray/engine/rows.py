"""Rows: the Arrow schema of results and how outcomes become rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from forge_ray.catalog import METRICS, SEGMENTS
from forge_ray.engine.bind import BoundPlan
from forge_ray.engine.distinct import distinct_numbers, distinct_rows
from forge_ray.engine.outcomes import LOST, Outcomes, joined
from forge_ray.kernels import finalize
from forge_ray.tree import Axis, Grid, Neighbourhood, Space, Term

FIXED_COLUMNS = ("branch", "tree", "changes", "path", "status", "passed", "failed_requirements", "stopped_on")
METRIC_COLUMNS = tuple(f"{segment}_{metric.name}" for segment in SEGMENTS for metric in METRICS)

_COLUMN_OF = {name: column for column, name in enumerate(finalize.COLUMNS)}
_METRIC_ORDER = [_COLUMN_OF[metric.name] for metric in METRICS]


def schema(bound: BoundPlan) -> pa.Schema:
    """Columns of a run: branch, tree (if several), dimensions, path, status, passed, failed_requirements, metrics, and
    if branches can stop early, before the metrics, the day on which they did."""
    several = [pa.field("tree", pa.string())] if len(bound.plan.trees) > 1 else []
    judged = [
        pa.field("path", pa.binary(16)),
        pa.field("status", pa.string()),
        pa.field("passed", pa.bool_()),
        pa.field("failed_requirements", pa.string()),
        *([pa.field("stopped_on", pa.string())] if bound.pruning.reasons else []),
    ]
    metrics = [pa.field(name, pa.float64()) for name in METRIC_COLUMNS]
    return pa.schema([pa.field("branch", pa.int64()), *several, *dimensions(bound.plan.space), *judged, *metrics])


@dataclass(frozen=True)
class Part:
    """Branches of one tree. branches : (n,). digits : (n, n_axes of the term) value indices."""

    term: Term
    branches: np.ndarray
    digits: np.ndarray
    outcomes: Outcomes


def rows_of(bound: BoundPlan, parts: Sequence[Part]) -> pa.Table:
    """The rows of some branches, in the order of the parts."""
    if not parts:
        return schema(bound).empty_table()
    branches = np.concatenate([part.branches for part in parts])
    places = np.split(np.arange(len(branches)), np.cumsum([len(part.branches) for part in parts])[:-1])
    together = joined(len(branches), [(at, part.outcomes) for at, part in zip(places, parts, strict=True)])
    of = pa.array(together.of)
    failed, passed = _judged(bound, together)
    ordered = together.metrics[:, _METRIC_ORDER].reshape(len(METRIC_COLUMNS), -1).take(together.of, axis=1)
    columns = {
        "branch": pa.array(branches),
        "path": _binary(together.paths[together.of], together.ends[together.of] != 0),
        "status": _status(bound, together.ends).take(of),
        "stopped_on": _stopped_on(bound, together.ends).take(of),
        "passed": passed.take(of),
        "failed_requirements": failed.take(of),
    }
    columns |= {name: pa.array(values, from_pandas=True) for name, values in zip(METRIC_COLUMNS, ordered, strict=True)}
    found = [_told_apart(bound, part) for part in parts]
    columns |= {name: pa.chunked_array([told[name] for told in found]).combine_chunks() for name in found[0]}
    fields = schema(bound)
    return pa.Table.from_arrays([columns[field.name] for field in fields], schema=fields)


def _told_apart(bound: BoundPlan, part: Part) -> dict[str, pa.Array]:
    """The columns that tell the branches of a part from each other and from those of other parts."""
    n, space = len(part.branches), bound.plan.space
    columns: dict[str, pa.Array] = {"tree": pa.repeat(pa.scalar(bound.tree_names[part.term.tree]), n)}
    match space:
        case Grid(axes):
            columns |= {axis.id: pa.nulls(n, _axis_type(axis)) for axis in axes}
            for a, digits in zip(part.term.axes, part.digits.T, strict=True):
                columns[axes[a].id] = _axis_column(axes[a], digits)
        case Neighbourhood():
            columns["changes"] = pa.array(space.changes(part.digits), pa.string())
    return columns


def dimensions(space: Space) -> list[pa.Field]:
    """What tells branches apart: axes of a grid, the changes of a neighbour in words. The values of jitter, one for
    every number of the tree, are those of ``space[branch]``."""
    match space:
        case Grid(axes):
            return [pa.field(axis.id, _axis_type(axis)) for axis in axes]
        case Neighbourhood():
            return [pa.field("changes", pa.string())]
    return []


def _axis_type(axis: Axis) -> pa.DataType:
    return pa.string() if axis.array.dtype.kind == "U" else pa.from_numpy_dtype(axis.array.dtype)


def _axis_column(axis: Axis, digits: np.ndarray) -> pa.Array:
    return pa.array(axis.array, _axis_type(axis)).take(pa.array(digits))


def _binary(paths: np.ndarray, is_null: np.ndarray) -> pa.Array:
    valid = pa.py_buffer(np.packbits(~is_null, bitorder="little")) if is_null.any() else None
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(16), len(paths), [valid, pa.py_buffer(np.ascontiguousarray(paths).tobytes())]
    )


def _status(bound: BoundPlan, ends: np.ndarray) -> pa.Array:
    which = (ends != 0).astype(np.int8)
    for k, end in enumerate(LOST.values(), 2):
        which[ends == end] = k
    return pa.array(["ok", bound.pruning.status, *LOST], pa.string()).take(pa.array(which))


def _stopped_on(bound: BoundPlan, ends: np.ndarray) -> pa.Array:
    """ISO date of the bar by which each outcome had stopped; null if it did not, or before its first bar."""
    distinct, _, of = distinct_numbers(np.maximum(ends, 0))
    days = np.datetime_as_string(bound.return_dates[distinct - 1].astype("datetime64[D]")).astype(object)
    return pa.array(days, pa.string(), mask=distinct == 0).take(pa.array(of))


def _judged(bound: BoundPlan, outcomes: Outcomes) -> tuple[pa.Array, pa.Array]:
    """Names of the requirements that each outcome misses, joined by "; ", and whether it misses none; an undefined
    metric misses its requirement. Of one that stopped early: why it did. One that is lost misses none and has not
    passed."""
    requirements, reasons, stopped = bound.requirements, bound.pruning.reasons, outcomes.ends != 0
    missed = np.empty((len(stopped), len(requirements) + len(reasons)), bool)
    for k, requirement in enumerate(requirements):
        value = outcomes.metrics[SEGMENTS.index(requirement.segment), _COLUMN_OF[requirement.metric]]
        missed[:, k] = ~requirement.is_met(value) & ~stopped
    missed[:, len(requirements) :] = outcomes.why[:, None] >> np.arange(len(reasons)) & 1
    distinct, same_as = distinct_rows(missed)
    names = np.array([*map(str, requirements), *reasons], object)
    failed = pa.array(["; ".join(names[row]) for row in missed[distinct]], pa.string())
    return failed.take(pa.array(same_as)), pa.array(~missed.any(axis=1) & ~np.isin(outcomes.ends, [*LOST.values()]))
