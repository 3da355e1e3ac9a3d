"""The space of a job: axes and where they stand in the trees, constraints, a design.

1. Find the places of every axis: ``$name`` in the trees, paths, or what is written (``at``).
2. Put the axes there, then read their values against the fields that use them.
3. Read constraints, judge combinations of values that contradict each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice, product
from typing import Any, NamedTuple

import numpy as np

from forge_ray.catalog import SEGMENTS
from forge_ray.engine import FIXED_COLUMNS, METRIC_COLUMNS
from forge_ray.errors import Problem, listed, shown, step, unknown, wrong
from forge_ray.sweep.design import Design, Moved, read_design
from forge_ray.sweep.exact import exact_crosses, none_admitted, require_thresholds
from forge_ray.tree import (
    Atom,
    Axis,
    AxisValue,
    Grid,
    Neighbourhood,
    Space,
    Tree,
    Use,
    Where,
    address,
    atoms_of,
    axis_values,
    exact_range,
    places_of,
    unused_axes,
    uses,
)
from forge_ray.tree.checks import Check, checks_of
from forge_ray.tree.domains import CUSTOM, METRIC, Domain
from forge_ray.tree.nodes import Placeholder, Value
from forge_ray.tree.reader import LIST, Definitions, Reader, join_place

MAX_PATH = 200
_AXIS_ID = re.compile(r"[a-z][a-z0-9_]{0,31}")


class AxisSpec(NamedTuple):
    """What a job says of an axis. places : (tree, path) besides ``$name``; None if they or the name cannot be read."""

    places: list[tuple[int, str]] | None
    values: object


class SpaceReader:
    """Reads the space of a job; `trees` get their placeholders on the way.

    places : of the trees, for messages. are_whole : what a broken tree may hide, such as the use of an axis, is not
    judged.
    """

    def __init__(
        self,
        job: Mapping[str, Any],
        trees: list[Tree],
        places: Sequence[str],
        definitions: Definitions,
        are_whole: bool,
    ):
        self.job, self.trees, self.places, self.definitions = job, trees, places, definitions
        self.are_whole = are_whole
        self.problems: list[Problem] = []

    def space(self) -> Space:
        axes, nothing = self.job.get("axes", {}), Grid((), tuple(frozenset[str]() for _ in self.trees))
        if not isinstance(axes, dict):
            self.problem("axes", f"expected an object of axes, got {shown(axes)}")
            return nothing
        design, problems = read_design(self.job.get("design"), has_axes=bool(axes))
        self.problems += problems
        if design is None:
            return self.grid(axes)
        return (self.around(design, axes) if self.are_whole else None) or nothing

    def grid(self, axes: Mapping[str, object]) -> Grid:
        found = self.swept(axes)
        where = self.where(found)
        if self.are_whole and not self.problems:
            self.contradictions({axis.id: axis for axis in found}, where)
            self.problems += exact_crosses(self.trees, found)
        grid = Grid(tuple(found), tuple(frozenset(tree.axes()) for tree in self.trees), where)
        if self.trees and not self.problems and not any(axis.exact for axis in found):
            self.problems += none_admitted(grid)
        return grid

    def around(self, design: Design, axes: Mapping[str, object]) -> Space | None:
        """The space around the only tree: over its atoms, or over the axes that the job names."""
        if "where" in self.job:
            self.problem("where", "not together with a design: neighbours are told by what they change")
        if len(self.trees) != 1:
            self.problem("design", f"is around one tree, and there are {len(self.trees)}")
            return None
        if axes:
            found = self.swept(axes)
            for axis in found:
                if axis.exact:
                    self.problem(f"axes.{step(axis.id)}", "is exact; allowed with a design: values")
            moved = Moved() if self.problems else design.named(self.trees[0], found)
        elif missing := unused_axes({}, self.trees):
            self.problems += missing
            return None
        else:
            self.trees[0], moved = design.near(self.trees[0], self.definitions)
        self.problems += moved.problems
        if self.problems:
            return None
        space = design.space(moved)
        changes = space.most if isinstance(space, Neighbourhood) else None
        self.contradictions({axis.id: axis for axis in moved.axes}, (), changes)
        return None if self.problems else space

    def swept(self, axes: Mapping[str, object]) -> list[Axis]:
        specs = {name: self.spec(name, spec) for name, spec in axes.items()}
        if self.are_whole:
            fit = [spec.places is not None and self.addressed(name, spec.places) for name, spec in specs.items()]
            self.problems += [problem for problem in unused_axes(specs, self.trees) if all(fit)]
        return [self.axis(name, spec.values) for name, spec in specs.items()]

    def problem(self, place: str, message: str) -> None:
        self.problems.append(Problem(place, message))

    # where axes stand

    def spec(self, name: str, spec: object) -> AxisSpec:
        place, is_named = f"axes.{step(name)}", bool(_AXIS_ID.fullmatch(name))
        if not is_named:
            self.problem(place, "expected a name of [a-z][a-z0-9_]*, at most 32 characters")
        elif name in FIXED_COLUMNS or name in METRIC_COLUMNS or name.split("_")[0] in SEGMENTS:
            self.problem(place, "is the name of a result column; choose another")
        if not isinstance(spec, dict):
            return AxisSpec([] if is_named else None, spec)
        places, values = self.of_words(place, spec) if "at" in spec else self.of_paths(place, spec)
        return AxisSpec(places if is_named else None, values)

    def of_paths(self, place: str, spec: Mapping[str, Any]) -> AxisSpec:
        self.problems += [
            unknown(f"{place}.{step(key)}", "field", key, ("paths", "values"))
            for key in spec
            if key not in ("paths", "values")
        ]
        paths = spec.get("paths")
        if not isinstance(paths, list) or not paths or not all(isinstance(path, str) for path in paths):
            self.problem(f"{place}.paths", wrong(spec, "paths", 'a list of paths, or "at" with what is written'))
            return AxisSpec(None, spec.get("values"))
        return AxisSpec([(t, path) for path in paths for t in self.trees_with(path)], spec.get("values"))

    def of_words(self, place: str, spec: Mapping[str, Any]) -> AxisSpec:
        """``{"at": "RSI(*,10)", "window": "7..14"}``: every place that reads so."""
        pattern, fields = spec["at"], [key for key in spec if key != "at"]
        values = spec[fields[0]] if fields else None
        if not isinstance(pattern, str) or not pattern.strip():
            self.problem(f"{place}.at", f'expected words such as "RSI(SPY,10) > 79", got {shown(pattern)}')
            return AxisSpec(None, values)
        if len(fields) != 1:
            self.problem(place, f'expected "at" and one field, such as "threshold", got {listed(fields) or "none"}')
            return AxisSpec(None, values)
        found, refusals = [], []
        for t in range(len(self.trees) if self.are_whole else 0):
            try:
                found += [(t, path) for path in places_of(self.atoms[t], pattern, fields[0])]
            except ValueError as error:
                refusals.append(str(error))
        if refusals and not found:
            self.problem(f"{place}.at", refusals[0])
            return AxisSpec(None, values)
        return AxisSpec(found, values)

    @cached_property
    def atoms(self) -> list[tuple[Atom, ...]]:
        """Of each tree as written: `swept` reads the places of all axes before it puts one there."""
        return [atoms_of(tree, self.definitions.formulas) for tree in self.trees]

    def trees_with(self, path: str) -> list[int]:
        node = path.partition(".")[0]
        return [t for t, tree in enumerate(self.trees) if any(n.id == node for n in tree.nodes)] or [0]

    def addressed(self, name: str, places: Sequence[tuple[int, str]]) -> bool:
        """Put the axis where its places are; whether all of them are there."""
        before = len(self.problems)
        for t in dict.fromkeys(t for t, _ in places):
            self.trees[t], refused = address(self.trees[t], [(path, name) for tree, path in places if tree == t])
            for path, _, why in refused:
                self.problem(f"axes.{step(name)}.paths", f"{step(path, MAX_PATH)}: {why}")
        return len(self.problems) == before

    # values

    def axis(self, name: str, spec: object) -> Axis:
        """Read the values against every field that uses the axis; all must accept them."""
        found = [use for tree in self.trees for use in uses(tree) if use[0] == name]
        if not found:
            return Axis(name, ())
        written = list(dict.fromkeys(use[3].written for use in found))
        integer = any(domain.integer for _, _, domain, _ in found)
        readers = {domain: path for _, path, domain, _ in found}
        if isinstance(spec, str) and spec.startswith(LIST):
            spec = list(self.listed(spec.removeprefix(LIST), name))
        try:
            if exact := exact_range(spec):
                require_thresholds(path for _, path, _, _ in found)
                return Axis(name, (), exact)
            if len({domain.numeric for domain in readers}) > 1:
                places = " and ".join(step(path, MAX_PATH) for path in readers.values())
                raise ValueError(f"sweeps numbers and names at once: {places}; allowed: one kind")
            if len(written) > 1 and isinstance(spec, str) and "±" in spec:
                raise ValueError(
                    f"{shown(spec)} is around one number, and the paths hold {listed(map(shown, written))}"
                )
            values = axis_values(spec, written[0], _reader(readers.items(), integer), integer=integer)
            self.known_formulas(values, name)
            self.have_windows(values, found)
            return Axis(name, values)
        except ValueError as error:
            self.problem(f"axes.{step(name)}", str(error))
            return Axis(name, ())

    def listed(self, name: str, axis: str) -> tuple[str, ...]:
        reader = Reader(self.definitions)
        found = reader.listed(name, f"axes.{axis}")
        self.problems += reader.problems
        return found

    def known_formulas(self, values: Iterable[Value], axis: str) -> None:
        reader = Reader(self.definitions)
        for value in values:
            if isinstance(value, str) and value.startswith(CUSTOM):
                reader.known_formula(value, f"axes.{axis}")
        self.problems += reader.problems

    def have_windows(self, values: Iterable[AxisValue], found: Iterable[Use]) -> None:
        """Raises ValueError for a metric that takes a window in the place of one that has none to give."""
        reader = Reader(self.definitions)
        windowed = [value for value in values if not reader.is_windowless(value)]
        for axis, path, domain, swept in found:
            if domain == METRIC and swept.written and windowed and reader.is_windowless(swept.written):
                text = f"{shown(windowed[0])} takes a window, and {shown(swept.written)} as written has none"
                raise ValueError(f'{step(path, MAX_PATH)}: {text}; write "${axis}" there, and a window')

    def where(self, axes: list[Axis]) -> tuple[Where, ...]:
        clauses = self.job.get("where", [])
        clauses = [clauses] if isinstance(clauses, str) else clauses
        if not isinstance(clauses, list):
            self.problem("where", f"expected a list of conditions, got {shown(clauses)}")
            return ()
        found = []
        for k, clause in enumerate(clauses):
            try:
                found.append(_typed_where(clause, {axis.id: axis for axis in axes}))
                self.meet(found[-1])
            except ValueError as error:
                self.problem(f"where[{k}]", str(error))
        return tuple(found)

    def meet(self, clause: Where) -> None:
        """Raises ValueError if no tree uses all axes of a clause, though each is used."""
        of_trees = [set(tree.axes()) for tree in self.trees]
        if set(clause.names) <= set().union(*of_trees) and not any(axes.issuperset(clause.names) for axes in of_trees):
            raise ValueError(f"{shown(clause.text)} joins axes that no tree uses together, so it excludes nothing")

    def contradictions(self, axes: Mapping[str, Axis], where: tuple[Where, ...], changes: int | None = None) -> None:
        """What axes may bring in, such as a cross with forDays; the first branch of each. changes : of the tree as
        written that a branch has at most."""
        for t, tree in enumerate(self.trees):
            for index, node in enumerate(tree.nodes):
                for check in checks_of(tree, node, self.definitions):
                    place = join_place(join_place(self.places[t], tree.path(index)), check.place)
                    self.problems += islice(_swept_problems(check, axes, where, place, changes), 1)


def _swept_problems(
    check: Check, axes: Mapping[str, Axis], where: tuple[Where, ...], place: str, changes: int | None
) -> Iterator[Problem]:
    """Contradictions that an axis brings in, each with the values of its branches. Excluded values do not count."""
    written = {value.axis: value.written for value in check.values if isinstance(value, Placeholder)}
    clauses = [clause for clause in where if set(check.axes).issuperset(clause.names)]
    for digits in product(*(range(len(axes[name].values)) for name in check.axes)) if check.axes else ():
        values: dict[str, Value] = {name: axes[name].values[d] for name, d in zip(check.axes, digits, strict=True)}
        if changes is not None and sum(values[name] != written[name] for name in written) > changes:
            continue
        if message := check.judged(values):
            columns = {name: axes[name].array[[d]] for name, d in zip(check.axes, digits, strict=True)}
            if all(np.all(clause(columns)) for clause in clauses):
                branches = ", ".join(f"{name} = {shown(value)}" for name, value in values.items())
                yield Problem(place, f"{message} (branches with {branches})")


def _reader(domains: Iterable[tuple[Domain, str]], integer: bool):
    """Reads one value through every domain; integer wins over float, so that a shared axis keeps whole numbers."""
    ordered = sorted(domains, key=lambda item: item[0].integer != integer)

    def read(value: object):
        for domain, path in ordered:
            try:
                domain.read(value)
            except ValueError as error:
                raise ValueError(f"{step(path, MAX_PATH)} = {shown(value)}: {error}") from None
        return ordered[0][0].read(value)

    return read


def _typed_where(clause: object, axes: Mapping[str, Axis]) -> Where:
    """A clause over axes that compares numbers with numbers and names with names."""
    where = Where(clause, axes)
    if not where.names:
        raise ValueError(f"{shown(clause)} names no axis; allowed: {', '.join(axes)}")
    if all(axes[name].values or axes[name].exact for name in where.names):
        where.check_kinds([name for name in where.names if isinstance(next(iter(axes[name].values), None), str)])
    return where
