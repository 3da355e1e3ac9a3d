"""Exact axes of a job: where they may stand, and the sweep with their values once these are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from forge_ray.errors import Problem, step
from forge_ray.sweep.specification import JobError, Sweep
from forge_ray.tree import Axis, Condition, Grid, Placeholder, Tree
from forge_ray.tree.nodes import Comparator, Value

_THRESHOLD = ".threshold"
_ALLOWED = ", ".join(comparator for comparator in Comparator if not comparator.is_cross)


def require_thresholds(paths: Iterable[str]) -> None:
    """Raises ValueError for a place of an exact axis that is not the number a condition compares with."""
    for path in paths:
        if not path.endswith(_THRESHOLD):
            raise ValueError(f'{step(path, 200)} is no threshold of a condition; allowed for "exact": those')


def exact_crosses(trees: Iterable[Tree], axes: Sequence[Axis]) -> Iterator[Problem]:
    """Exact axes whose condition is, or by another axis may be, a cross: on a crossing only single bars count."""
    by_id = {axis.id: axis for axis in axes}
    for tree in trees:
        for node in tree.nodes:
            for _, line in node.conditions:
                if isinstance(line, Condition) and isinstance(line.right, Placeholder) and by_id[line.right.axis].exact:
                    for comparator in _choices(line.comparator, by_id):
                        if Comparator(str(comparator)).is_cross:
                            text = f"{node.id}.{line.id} compares with {comparator}; allowed for exact: {_ALLOWED}"
                            yield Problem(f"axes.{step(line.right.axis)}", text)


def _choices(value: Value, axes: Mapping[str, Axis]) -> tuple[object, ...]:
    return axes[value.axis].values if isinstance(value, Placeholder) else (value,)


def none_admitted(grid: Grid) -> Iterator[Problem]:
    """The problem of constraints that leave nothing."""
    if not grid.admitted:
        yield Problem("where", f"admits no branch of {grid.size:,}; at least one has to be left")


def resolved(sweep: Sweep, values: Mapping[str, tuple[float, ...]]) -> Sweep:
    """The sweep with the values of its exact axes in place, in its job too: a run can be read without its data.

    Raises `InputError` if constraints then leave nothing.
    """
    space = sweep.space
    assert isinstance(space, Grid)
    axes = tuple(Axis(axis.id, values.get(axis.id, axis.values)) for axis in space.axes)
    grid = replace(space, axes=axes)
    if problems := list(none_admitted(grid)):
        raise JobError(problems)
    specs = {name: _written_out(spec, values.get(name)) for name, spec in sweep.job["axes"].items()}
    return replace(sweep, space=grid, job={**sweep.job, "axes": specs})


def _written_out(spec: Any, values: tuple[float, ...] | None) -> Any:
    if values is None:
        return spec
    if not isinstance(spec, dict):
        return list(values)
    return {key: there if key in ("paths", "at") else list(values) for key, there in spec.items()}
