"""Rows: the Arrow schema of results and how outcomes become rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from forge_ray.catalog import METRICS, SEGMENTS
from forge_ray.engine.bind import BoundPlan
from forge_ray.engine.distinct import distinct_rows
from forge_ray.engine.outcomes import Outcomes
from forge_ray.kernels import finalize
from forge_ray.plan import Requirement
from forge_ray.tree import Axis, Grid, Neighbourhood, Space, Term

FIXED_COLUMNS = ("branch", "tree", "changes", "path", "status", "passed", "failed_requirements")
METRIC_COLUMNS = tuple(f"{segment}_{metric.name}" for segment in SEGMENTS for metric in METRICS)

_COLUMN_OF = {name: column for column, name in enumerate(finalize.COLUMNS)}
_METRIC_ORDER = [_COLUMN_OF[metric.name] for metric in METRICS]


def schema(bound: BoundPlan) -> pa.Schema:
    """Columns of a run: branch, tree (if several), dimensions, path, status, passed, failed_requirements, metrics."""
    several = [pa.field("tree", pa.string())] if len(bound.plan.trees) > 1 else []
    judged = [
        pa.field("path", pa.binary(16)),
        pa.field("status", pa.string()),
        pa.field("passed", pa.bool_()),
        pa.field("failed_requirements", pa.string()),
    ]
    metrics = [pa.field(name, pa.float64()) for name in METRIC_COLUMNS]
    return pa.schema([pa.field("branch", pa.int64()), *several, *dimensions(bound.plan.space), *judged, *metrics])


def rows_of(bound: BoundPlan, term: Term, branches: np.ndarray, digits: np.ndarray, outcomes: Outcomes) -> pa.Table:
    """The rows of some branches of one tree. branches : (n,). digits : (n, n_axes of the term)."""
    of = pa.array(outcomes.of)
    failed, passed = _judged(bound.requirements, outcomes.metrics)
    ordered = outcomes.metrics[:, _METRIC_ORDER].reshape(len(METRIC_COLUMNS), -1).take(outcomes.of, axis=1)
    columns = {
        "branch": pa.array(branches),
        "tree": pa.repeat(pa.scalar(bound.tree_names[term.tree]), len(branches)),
        "path": _binary(outcomes.paths[outcomes.of]),
        "status": pa.repeat(pa.scalar("ok"), len(branches)),
        "passed": passed.take(of),
        "failed_requirements": failed.take(of),
    }
    match bound.plan.space:
        case Grid(axes):
            for a, axis in enumerate(axes):
                columns[axis.id] = _axis_column(axis, term.axes.index(a), digits) if a in term.axes else None
        case Neighbourhood() as space:
            columns["changes"] = pa.array(map(space.changes, digits), pa.string())
    columns |= {name: pa.array(values, from_pandas=True) for name, values in zip(METRIC_COLUMNS, ordered, strict=True)}
    fields = schema(bound)
    arrays = [
        pa.nulls(len(branches), field.type) if columns[field.name] is None else columns[field.name] for field in fields
    ]
    return pa.Table.from_arrays(arrays, schema=fields)


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


def _axis_column(axis: Axis, place: int, digits: np.ndarray) -> pa.Array:
    return pa.array(axis.array, _axis_type(axis)).take(pa.array(digits[:, place]))


def _binary(paths: np.ndarray) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(16), len(paths), [None, pa.py_buffer(np.ascontiguousarray(paths).tobytes())]
    )


def _judged(requirements: tuple[Requirement, ...], metrics: np.ndarray) -> tuple[pa.Array, pa.Array]:
    """Names of the requirements that each outcome misses, joined by "; ", and whether it misses none; an undefined
    metric misses its requirement."""
    missed = np.empty((metrics.shape[2], len(requirements)), bool)
    for k, requirement in enumerate(requirements):
        value = metrics[SEGMENTS.index(requirement.segment), _COLUMN_OF[requirement.metric]]
        missed[:, k] = ~(value <= requirement.bound if requirement.at_most else value >= requirement.bound)
    distinct, same_as = distinct_rows(missed)
    names = np.array([str(requirement) for requirement in requirements], object)
    failed = pa.array(["; ".join(names[row]) for row in missed[distinct]], pa.string())
    return failed.take(pa.array(same_as)), pa.array(~missed.any(axis=1))
