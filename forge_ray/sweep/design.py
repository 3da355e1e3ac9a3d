"""A design: the space around a tree as it is written, over what it says or over the axes of a job.

``{"kind": "neighbourhood", "changes": 2, "window": "±20%", "threshold": "±5%", "sample": 100000, "seed": 1}``

1. Every atom with a number that the design moves gives an axis per such field, over all places of the atom.
2. The values are those around the written one, in the notation of axes, as far as the field can hold them and do not
   alone contradict what else the tree says.
3. A percentage of a threshold of 0 is one of half the default range of its indicator; without such a range it stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from forge_ray.catalog import INDICATOR_BY_NAME
from forge_ray.errors import Problem, listed, shown, step, unknown, wrong
from forge_ray.tree import (
    Atom,
    Axis,
    AxisValue,
    Jitter,
    Neighbourhood,
    Space,
    Tree,
    address,
    atoms_of,
    axis_values,
    uses,
)
from forge_ray.tree.checks import checks_of
from forge_ray.tree.domains import Domain, domain_of, read_number
from forge_ray.tree.neighbourhood import MAX_CHANGES
from forge_ray.tree.nodes import Value
from forge_ray.tree.reader import Definitions

KINDS = ("neighbourhood", "jitter")
MOVES = ("window", "threshold", "forDays", "n")
"""Names of the domains whose fields a design can move."""

MAX_SAMPLE = 10**9
MAX_STEPS = 1_000
MAX_VALUES = 2_000_000
"""Steps to either side of a number, and values of all numbers together."""

_ATOMS = ("condition", "rank", "blend", "count", "weighting")


@dataclass(frozen=True)
class Moved:
    """Axes of a design. base : index of the written value per axis. phrases : what each moves, in words."""

    axes: tuple[Axis, ...] = ()
    base: tuple[int, ...] = ()
    phrases: tuple[str, ...] = ()
    problems: list[Problem] = field(default_factory=list)


class _Move(NamedTuple):
    """What a number that is moved becomes. written : one of the values of the axis. paths : its places in the tree."""

    axis: Axis
    written: Value
    phrase: str
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Design:
    """What a job says. moves : by domain how far its fields move. sample : branches besides the tree as written."""

    kind: str
    changes: int
    sample: int | None
    seed: int
    moves: Mapping[str, str]

    def near(self, tree: Tree, definitions: Definitions) -> tuple[Tree, Moved]:
        """The tree with an axis at every place that moves, and those axes."""
        problems: dict[Problem, None] = {}
        moves: list[_Move] = []
        for number, atom in enumerate(atoms_of(tree, definitions.formulas)):
            for name, domain in _numbers(atom) if atom.kind in _ATOMS else ():
                try:
                    axis = Axis(f"{_snake(name)}_{number}", self._values(atom, name, domain))
                    moves.append(_Move(axis, atom.values[name], f"{atom.text}: {name}", atom.places[name]))
                except ValueError as error:
                    problems[Problem(f"design.{domain.name}", str(error))] = None
        if (n_values := sum(len(move.axis.values) for move in moves)) > MAX_VALUES:
            text = f"{n_values:,} values of {len(moves):,} numbers; allowed: at most {MAX_VALUES:,}"
            return tree, Moved(problems=[*problems, Problem("design", text)])
        moves = _possible(tree, moves, definitions)
        if not moves and not problems:
            moved = ", ".join(f"{name} {spec}" for name, spec in self.moves.items())
            problems[Problem("design", f"moves nothing: the tree has no number that {moved} would change")] = None
        base = tuple(move.axis.values.index(move.written) for move in moves)
        axes, phrases = tuple(move.axis for move in moves), tuple(move.phrase for move in moves)
        return _swept(tree, moves), Moved(axes, base, phrases, list(problems))

    def named(self, tree: Tree, axes: list[Axis]) -> Moved:
        """The axes of the job, each with the value that the tree holds in its places."""
        problems, base, complete = [], [], []
        for axis in axes:
            written = list(dict.fromkeys(use[3].written for use in uses(tree) if use[0] == axis.id))
            if len(written) != 1 or written[0] is None:
                there = listed(map(shown, written)) if None not in written else f"${axis.id}, no value"
                text = f"is around the tree as written, and its places hold {there}; allowed: one value"
                problems.append(Problem(f"axes.{step(axis.id)}", text))
                continue
            values = axis.values if written[0] in axis.values else (written[0], *axis.values)
            complete.append(Axis(axis.id, values))
            base.append(values.index(written[0]))
        return Moved(tuple(complete), tuple(base), tuple(f"{axis.id} =" for axis in complete), problems)

    def space(self, moved: Moved) -> Space:
        shared = (moved.axes, moved.base, moved.phrases, self.seed)
        if self.kind == "jitter":
            return Jitter(*shared, self.sample or 0)
        return Neighbourhood(*shared, self.changes, self.sample)

    def _values(self, atom: Atom, name: str, domain: Domain) -> tuple[AxisValue, ...]:
        """Values around a number, ascending; none if the design does not move it."""
        spec, written = self.moves.get(domain.name), atom.values[name]
        if spec is None or not isinstance(written, int | float):
            return ()

        def read(value: object) -> AxisValue:
            try:
                return domain.read(value)
            except ValueError:  # what the field cannot hold, such as a window of 0, is no neighbour
                return written

        if written == 0 and "%" in spec:
            return _around_zero(spec, _half_range(atom))
        return axis_values(spec, written, read, integer=domain.integer, most=MAX_STEPS)


def _swept(tree: Tree, moves: Sequence[_Move]) -> Tree:
    """The tree with the axes at their places."""
    return address(tree, [(path, move.axis.id) for move in moves for path in move.paths])[0]


def _possible(tree: Tree, moves: Sequence[_Move], definitions: Definitions) -> list[_Move]:
    """Without the values that alone contradict what else the tree says, such as a cross on two days in a row."""
    moves = [move for move in moves if len(move.axis.values) > 1]
    swept, of_axis = _swept(tree, moves), {move.axis.id: move for move in moves}
    refused: set[tuple[str, AxisValue]] = set()
    for check in (check for node in swept.nodes for check in checks_of(swept, node, definitions)):
        written = {name: of_axis[name].written for name in check.axes}
        for name in check.axes:
            values = (value for value in of_axis[name].axis.values if value != written[name])
            refused |= {(name, value) for value in values if check.judged(written | {name: value})}
    kept = ([value for value in move.axis.values if (move.axis.id, value) not in refused] for move in moves)
    left = [move._replace(axis=Axis(move.axis.id, tuple(values))) for move, values in zip(moves, kept, strict=True)]
    return [move for move in left if len(move.axis.values) > 1]


def read_design(data: object, *, has_axes: bool) -> tuple[Design | None, list[Problem]]:
    """The design of a job, None without one or if it cannot be read; what is wrong with it."""
    if data is None:
        return None, []
    if not isinstance(data, Mapping):
        return None, [Problem("design", f"expected an object with a kind, got {shown(data)}")]
    problems = list(_design_problems(data, has_axes))
    if problems:
        return None, problems
    kind = data["kind"]
    sample = data.get("sample", 1_000 if kind == "jitter" else None)
    moves = {name: data[name] for name in MOVES if name in data}
    return Design(kind, data.get("changes", 1), sample, data.get("seed", 1), moves), []


def _design_problems(data: Mapping[str, Any], has_axes: bool) -> Iterator[Problem]:
    fields = ("kind", "changes", "sample", "seed", *MOVES)
    yield from (unknown(f"design.{step(key)}", "field", key, fields) for key in data if key not in fields)
    if data.get("kind") not in KINDS:
        yield unknown("design.kind", "kind", data.get("kind"), KINDS)
    if "changes" in data and data.get("kind") == "jitter":
        yield Problem("design.changes", "jitter moves everything; allowed: only with a neighbourhood")
    for name, low, high in (("changes", 1, MAX_CHANGES), ("sample", 1, MAX_SAMPLE), ("seed", 0, 2**32 - 1)):
        if name in data and not _is_integer(data[name], low, high):
            yield Problem(f"design.{name}", wrong(data, name, f"an integer from {low} to {high:,}"))
    moves = [name for name in MOVES if name in data]
    for name in moves:
        if not isinstance(data[name], str) or not data[name].strip().startswith("±"):
            yield Problem(f"design.{name}", wrong(data, name, 'a reach such as "±20%" or "±3"'))
    if has_axes and moves:
        yield Problem("design", f"says how far {listed(moves)} move, and axes say it too; allowed: one of them")
    if not has_axes and not moves:
        yield Problem("design", f"says nothing of what to move; allowed: {listed(MOVES)}, or axes beside it")


def _is_integer(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _numbers(atom: Atom) -> Iterator[tuple[str, Domain]]:
    for name, places in atom.places.items():
        domain = domain_of(places[0].partition(".")[2])
        if domain.name in MOVES:
            yield name, domain


def _around_zero(spec: str, half: float) -> tuple[AxisValue, ...]:
    """Shares of half the range of an indicator; none of one without ends."""
    around = axis_values(spec, half, read_number, integer=False, most=MAX_STEPS) if half else ()
    return tuple(float(value) - half for value in around)


def _half_range(atom: Atom) -> float:
    """Half of the default range of an atom's indicator; 0 if that has no ends."""
    metric = atom.values.get("metric", atom.values.get("scaleMetric"))
    entry = INDICATOR_BY_NAME.get(str(metric))
    if entry is None or entry.sweep.startswith("±"):
        return 0.0
    values = axis_values(entry.sweep, None, read_number, integer=False)
    return (float(values[-1]) - float(values[0])) / 2


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda m: f"_{m[0].lower()}", name)
