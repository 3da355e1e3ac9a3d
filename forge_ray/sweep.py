"""`Sweep`: the frozen, hashed specification of a search, and how a job file becomes one.

1. Read the job's JSON and its trees; collect every problem.
2. Put axes where they are addressed by paths; `$name` already stands in the trees.
3. Read the values of every axis against the fields that use it; check combinations that contradict each other.
4. Read constraints, execution, split, requirements.

Nothing is enumerated: the size of the space is arithmetic.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import islice, product
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from forge_ray import jsontext
from forge_ray.catalog import METRICS, SEGMENTS
from forge_ray.data import CLEAN_POLICIES, Frame, Split, as_frame, is_frame, parse_split, read_columns
from forge_ray.engine import FIXED_COLUMNS, METRIC_COLUMNS
from forge_ray.errors import InputError, Problem, listed, shown, step, unknown, wrong
from forge_ray.plan import Execution, Requirement, read_execution, read_requirements
from forge_ray.store import MARKET
from forge_ray.tree import (
    Axis,
    Grid,
    Tree,
    Where,
    address,
    axis_values,
    canonical,
    digest,
    expand,
    read_calls,
    read_tree,
    unused_axes,
    uses,
)
from forge_ray.tree.checks import Check, checks_of
from forge_ray.tree.domains import CUSTOM, Domain
from forge_ray.tree.formulas import Formula, read_formulas
from forge_ray.tree.nodes import Value, node_fields
from forge_ray.tree.reader import LIST, Definitions, Reader, join_place, read_lists

ENGINE_VERSION = 1
"""Raised by hand whenever the meaning of a stored number changes."""

_AXIS_ID = re.compile(r"[a-z][a-z0-9_]{0,31}")
_FIELDS = (
    "name",
    "data",
    "benchmark",
    "tree",
    "trees",
    "calls",
    "formulas",
    "lists",
    "axes",
    "where",
    "execution",
    "split",
    "require",
    "keep",
)
_DATA_FIELDS = ("source", "start", "end", "clean", "columns")
KEEP = ("all", "passing")
MAX_PATH = 200


class JobError(InputError):
    """A job that cannot be read."""


@dataclass(frozen=True)
class Source:
    """Where market data come from. Bars outside start..end do not exist, also not for indicators.

    source : a sample, the absolute path of a folder or file, or a frame. columns : what it calls our columns.
    """

    source: str | Frame
    start: date | None = None
    end: date | None = None
    clean: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sweep:
    """What to search, on what, judged how. `tree_names` label the rows if there are several trees. `formulas` holds
    those that the trees use.

    `job` is the job as it was given, made self-contained: trees in place, the path of its data absolute. Data from a
    frame are the file that its run keeps of them, beside the job.
    """

    name: str
    data: Source
    benchmark: str | None
    trees: tuple[Tree, ...]
    tree_names: tuple[str, ...]
    formulas: Mapping[str, Formula]
    grid: Grid
    execution: Execution
    split: Split
    requirements: tuple[Requirement, ...]
    keep: str
    job: Mapping[str, Any] = field(compare=False, repr=False)

    def identity(self, data_fingerprint: str) -> dict[str, Any]:
        """Everything that can change a stored byte, as canonical JSON; `run_id` is its hash."""
        return {
            "engine": ENGINE_VERSION,
            "metrics": [metric.name for metric in METRICS],
            "data": data_fingerprint,
            "benchmark": self.benchmark,
            "trees": [canonical(tree) for tree in self.trees],
            **({"formulas": {name: found.text for name, found in self.formulas.items()}} if self.formulas else {}),
            "tree_names": list(self.tree_names) if len(self.trees) > 1 else [],
            "axes": {axis.id: list(axis.values) for axis in self.grid.axes},
            "axis_order": [axis.id for axis in self.grid.axes],
            "where": [where.text for where in self.grid.where],
            "execution": {name: _json(getattr(self.execution, name)) for name in Execution.__struct_fields__},
            "split": self.split.canonical(),
            "require": [str(requirement) for requirement in self.requirements],
            "keep": self.keep,
        }

    def run_id(self, data_fingerprint: str) -> str:
        """32 hex digits."""
        return digest(self.identity(data_fingerprint))


def _json(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def read_job(path: str | Path, settings: Iterable[str] = ()) -> Sweep:
    """Read a job file; `settings` are ``KEY=VALUE`` overrides with dotted keys. Tree files are relative to it."""
    job = jsontext.read_file(path)
    return parse_job(with_settings(job, settings), folder=Path(path).parent)


def with_settings(job: object, settings: Iterable[str]) -> object:
    """The job with overrides applied. A value is JSON if it reads as JSON, else a string."""
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise JobError([Problem("--set", f"expected KEY=VALUE, got {shown(setting)}")])
        try:
            value = jsontext.parse(text)
        except jsontext.JsonError:
            value = text
        _put(job, key, value)
    return job


def _put(job: object, key: str, value: object) -> None:
    target, *names = job, *key.split(".")
    for k, name in enumerate(names, 1):
        if not isinstance(target, dict):
            raise JobError([Problem(f"--set {step(key)}", f"{shown(target)} is no object with a field {shown(name)}")])
        target = target.setdefault(name, {}) if k < len(names) else target.update({name: value})


def parse_job(job: object, *, folder: Path = Path()) -> Sweep:
    """Read a job object. Raises `JobError` with every problem found."""
    if not isinstance(job, dict):
        raise JobError([Problem("job", f"expected an object, got {shown(job)}")])
    return _JobReader(job, folder).sweep()


class _JobReader:
    def __init__(self, job: dict, folder: Path):
        self.job, self.folder = job, folder
        self.raw_trees: dict[str, object] = {}
        self.definitions = Definitions()
        self.calls: dict[str, Tree] = {}
        self.trees_are_whole = True
        self.problems: list[Problem] = [unknown(step(key), "field", key, _FIELDS) for key in job if key not in _FIELDS]

    def sweep(self) -> Sweep:
        self.define()
        names, trees = self.trees()
        trees, grid = self.space(trees)
        execution, execution_problems = read_execution(self.job.get("execution", {}), "execution")
        requirements, requirement_problems = read_requirements(self.job.get("require", {}), "require")
        self.problems += execution_problems + requirement_problems
        data, split = self.data(), self.split()
        benchmark, keep, name = self.text("benchmark", None), self.keep(), self.text("name", "sweep")
        if self.problems or split is None:
            raise JobError(self.problems)
        return Sweep(
            name or "sweep",
            data,
            benchmark,
            trees,
            names,
            self.used_formulas(trees, grid),
            grid,
            execution,
            split,
            requirements,
            keep,
            self.whole(data),
        )

    def whole(self, data: Source) -> dict[str, Any]:
        """The job with its trees and its data where they can be found again."""
        if isinstance(data.source, Frame):  # what a run keeps is cleaned and has our names
            days = {"start": data.start, "end": data.end}
            kept = {"source": MARKET, **{key: day.isoformat() for key, day in days.items() if day}}
        else:
            given = self.job["data"]
            kept = {**(given if _is_spec(given) else {}), "source": data.source}
        job = {**self.job, "data": kept}
        return job if "tree" in job else {**job, "trees": self.raw_trees}

    def problem(self, place: str, message: str) -> None:
        self.problems.append(Problem(place, message))

    def text(self, key: str, default: str | None) -> str | None:
        value = self.job.get(key, default)
        if value is not None and not isinstance(value, str):
            self.problem(key, f"expected a string, got {shown(value)}")
            return default
        return value

    def keep(self) -> str:
        value = self.job.get("keep", "all")
        if value in KEEP:
            return value
        self.problems.append(unknown("keep", "value", value, KEEP))
        return KEEP[0]

    def split(self) -> Split | None:
        try:
            return parse_split(self.job.get("split", {"holdout": "30%"}), "split")
        except InputError as error:
            self.problems += error.problems
            return None

    def data(self) -> Source:
        given = self.job.get("data")
        value: Mapping[str, Any] = given if _is_spec(given) else {"source": given}
        self.problems += [
            unknown(f"data.{step(key)}", "field", key, _DATA_FIELDS) for key in value if key not in _DATA_FIELDS
        ]
        start, end = self.date(value, "start"), self.date(value, "end")
        if start and end and start > end:
            self.problem("data", f"start {start} is after end {end}")
        columns, problems = read_columns(value.get("columns", {}))
        self.problems += problems
        return Source(self.source(value.get("source")), start, end, self.clean(value.get("clean", [])), columns)

    def source(self, value: object) -> str | Frame:
        """A path is relative to the job file; a sample is a name; anything else must be a frame."""
        if isinstance(value, str | Path):
            return str(value) if str(value).startswith("sample:") else str((self.folder / value).absolute())
        try:
            if is_frame(value):
                return as_frame(value)
            given = {"data": value} if "data" in self.job else {}
            self.problem("data", wrong(given, "data", 'a source such as "sample:us20" or {"source": …}'))
        except InputError as error:
            self.problems += error.problems
        return ""

    def date(self, data: Mapping[str, Any], key: str) -> date | None:
        value = data.get(key)
        try:
            return None if value is None else date.fromisoformat(value)
        except (TypeError, ValueError):
            self.problem(f"data.{key}", f"expected a date as YYYY-MM-DD, got {shown(value)}")
            return None

    def clean(self, value: object) -> tuple[str, ...]:
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list):
            self.problem("data.clean", f"expected a list of policies, got {shown(value)}")
            return ()
        self.problems += [unknown("data.clean", "policy", item, CLEAN_POLICIES) for item in items
                          if item not in CLEAN_POLICIES]  # fmt: skip
        return tuple(item for item in items if isinstance(item, str))

    def define(self) -> None:
        """What the trees refer to by name."""
        formulas, formula_problems = read_formulas(self.job.get("formulas", {}), "formulas")
        lists, list_problems = read_lists(self.job.get("lists", {}), "lists")
        self.definitions = Definitions(formulas, lists)
        self.calls, problems = read_calls(self.job.get("calls", {}), "calls", self.definitions)
        self.problems += [*formula_problems, *list_problems, *problems]
        self.trees_are_whole &= not problems

    def used_formulas(self, trees: Iterable[Tree], grid: Grid) -> dict[str, Formula]:
        values = [value for tree in trees for node in tree.nodes for _, value in node_fields(node)]
        values += [value for axis in grid.axes for value in axis.values]
        names = {value.removeprefix(CUSTOM) for value in values if isinstance(value, str) and value.startswith(CUSTOM)}
        return {name: formula for name, formula in self.definitions.formulas.items() if name in names}

    def trees(self) -> tuple[tuple[str, ...], list[Tree]]:
        if ("tree" in self.job) == ("trees" in self.job):
            given = "both" if "tree" in self.job else "none"
            self.problem("tree", f'expected either "tree" or "trees", got {given}')
            self.trees_are_whole = False
            return (), []
        if "tree" in self.job:
            return ("tree",), [self.tree(self.job["tree"], "tree")]
        self.raw_trees = self.named_trees(self.job["trees"])
        return tuple(self.raw_trees), [self.tree(data, step(name)) for name, data in self.raw_trees.items()]

    def named_trees(self, trees: object) -> dict[str, object]:
        """Tree JSON by name: the files of a list, or an object of trees in place."""
        if isinstance(trees, dict) and trees:
            return trees
        if not isinstance(trees, list) or not trees or not all(isinstance(file, str) for file in trees):
            self.problem("trees", f"expected a list of tree files or an object of trees, got {shown(trees)}")
            self.trees_are_whole = False
            return {}
        for file, count in Counter(trees).items():
            if count > 1:
                self.problem("trees", f"{shown(file)} is listed {count} times; each tree once")
        return {file: data for file in trees if (data := self.tree_file(file)) is not None}

    def tree_file(self, file: str) -> object:
        try:
            return jsontext.read_file(self.folder / file)
        except jsontext.JsonError as error:
            self.problems += error.problems
            self.trees_are_whole = False
            return None

    def tree(self, data: object, place: str) -> Tree:
        tree, problems = read_tree(data, place=place, definitions=self.definitions)
        expanded, unknown_calls = expand(tree, self.calls, place)
        self.problems += [*problems, *unknown_calls]
        self.trees_are_whole &= not problems and not unknown_calls
        return expanded

    def space(self, trees: list[Tree]) -> tuple[tuple[Tree, ...], Grid]:
        """Trees with their axes put in. What a broken tree may hide, such as the use of an axis, is not judged."""
        axes = self.job.get("axes", {})
        if not isinstance(axes, dict):
            self.problem("axes", f"expected an object of axes, got {shown(axes)}")
            return tuple(trees), Grid((), tuple(frozenset() for _ in trees))
        specs = {name: self.axis_spec(name, spec) for name, spec in axes.items()}
        if self.trees_are_whole:
            paths_fit = [paths is not None and self.addressed(trees, name, paths) for name, (paths, _) in specs.items()]
            self.problems += [problem for problem in unused_axes(specs, trees) if all(paths_fit)]
        found = [self.axis(name, values, trees) for name, (_, values) in specs.items()]
        where = self.where(found)
        if not self.problems:
            self.contradictions(trees, {axis.id: axis for axis in found}, where)
        grid = Grid(tuple(found), tuple(frozenset(tree.axes()) for tree in trees), where)
        if not self.problems and not grid.admitted:
            self.problem("where", f"admits no branch of {grid.size:,}; at least one has to be left")
        return tuple(trees), grid

    def axis_spec(self, name: str, spec: object) -> tuple[list[str] | None, object]:
        """(paths, values) of an axis; the paths are None if they or the name cannot be read."""
        place, is_named = f"axes.{step(name)}", bool(_AXIS_ID.fullmatch(name))
        if not is_named:
            self.problem(place, "expected a name of [a-z][a-z0-9_]*, at most 32 characters")
        elif name in FIXED_COLUMNS or name in METRIC_COLUMNS or name.split("_")[0] in SEGMENTS:
            self.problem(place, "is the name of a result column; choose another")
        if not isinstance(spec, dict):
            return [] if is_named else None, spec
        self.problems += [
            unknown(f"{place}.{step(key)}", "field", key, ("paths", "values"))
            for key in spec
            if key not in ("paths", "values")
        ]
        paths = spec.get("paths")
        if not isinstance(paths, list) or not paths or not all(isinstance(path, str) for path in paths):
            self.problem(f"{place}.paths", wrong(spec, "paths", "a list of paths"))
            is_named = False
        return paths if is_named else None, spec.get("values")

    def addressed(self, trees: list[Tree], name: str, paths: list[str]) -> bool:
        """Put the axis where its paths lead, in place; whether all of them lead somewhere."""
        before = len(self.problems)
        for path in paths:
            node = path.partition(".")[0]
            matching = [t for t, tree in enumerate(trees) if any(n.id == node for n in tree.nodes)] or [0]
            for t in matching:
                try:
                    trees[t] = address(trees[t], path, name)
                except ValueError as error:
                    self.problem(f"axes.{step(name)}.paths", f"{step(path, MAX_PATH)}: {error}")
        return len(self.problems) == before

    def axis(self, name: str, spec: object, trees: list[Tree]) -> Axis:
        """Read the values against every field that uses the axis; all must accept them."""
        found = [use for tree in trees for use in uses(tree) if use[0] == name]
        if not found:
            return Axis(name, ())
        written = list(dict.fromkeys(use[3].written for use in found))
        integer = any(domain.integer for _, _, domain, _ in found)
        readers = {domain.name: (domain, path) for _, path, domain, _ in found}
        if isinstance(spec, str) and spec.startswith(LIST):
            spec = list(self.listed(spec.removeprefix(LIST), name))
        try:
            if len({domain.numeric for domain, _ in readers.values()}) > 1:
                places = " and ".join(step(path, MAX_PATH) for _, path in readers.values())
                raise ValueError(f"sweeps numbers and names at once: {places}; allowed: one kind")
            if len(written) > 1 and isinstance(spec, str) and "±" in spec:
                raise ValueError(
                    f"{shown(spec)} is around one number, and the paths hold {listed(map(shown, written))}"
                )
            values = axis_values(spec, written[0], _reader(readers.values(), integer), integer=integer)
            self.known_formulas(values, name)
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
            except ValueError as error:
                self.problem(f"where[{k}]", str(error))
        return tuple(found)

    def contradictions(self, trees: list[Tree], axes: Mapping[str, Axis], where: tuple[Where, ...]) -> None:
        """What axes may bring in, such as a cross with forDays; the first branch of each."""
        for t, tree in enumerate(trees):
            root = "tree" if "tree" in self.job else step(list(self.raw_trees)[t])
            for index, node in enumerate(tree.nodes):
                for check in checks_of(tree, node, self.definitions):
                    place = join_place(join_place(root, tree.path(index)), check.place)
                    self.problems += islice(_swept_problems(check, axes, where, place), 1)


def _is_spec(data: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether data are an object with a source and more, not the source itself, such as a mapping of frames."""
    return isinstance(data, Mapping) and ("source" in data or not is_frame(data))


def _swept_problems(check: Check, axes: Mapping[str, Axis], where: tuple[Where, ...], place: str) -> Iterator[Problem]:
    """Contradictions that an axis brings in, each with the values of its branches. Excluded values do not count."""
    clauses = [clause for clause in where if set(check.axes).issuperset(clause.names)]
    for digits in product(*(range(len(axes[name].values)) for name in check.axes)) if check.axes else ():
        values: dict[str, Value] = {name: axes[name].values[d] for name, d in zip(check.axes, digits, strict=True)}
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
    if all(axes[name].values for name in where.names):
        where.check_kinds([name for name in where.names if isinstance(axes[name].values[0], str)])
    return where
