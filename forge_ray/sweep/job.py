"""A job file becomes a `Sweep`: validated whole, every problem collected.

1. Read what trees refer to by name, then the trees.
2. Read the space: axes, constraints, a design (`axes.py`, `design.py`).
3. Read data, execution, split, requirements.

Nothing is enumerated: the size of the space is arithmetic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any, TypeGuard

from forge_ray import jsontext
from forge_ray.data import CLEAN_POLICIES, Frame, Split, as_frame, is_frame, parse_split, read_columns
from forge_ray.errors import InputError, Problem, shown, step, unknown, wrong
from forge_ray.plan import OF_BENCHMARK, Prune, Requirement, read_execution, read_prune, read_requirements
from forge_ray.store import MARKET
from forge_ray.sweep.axes import SpaceReader
from forge_ray.sweep.specification import KEEP, JobError, Source, Sweep
from forge_ray.tree import Space, Tree, expand, read_definitions, read_tree
from forge_ray.tree.domains import CUSTOM
from forge_ray.tree.formulas import Formula
from forge_ray.tree.nodes import node_fields
from forge_ray.tree.reader import Definitions

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
    "design",
    "execution",
    "split",
    "require",
    "prune",
    "keep",
)
_DATA_FIELDS = ("source", "start", "end", "clean", "columns")
UNREAD: object = object()
"""In place of a file that cannot be read; its mistakes are told."""


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
        self.calls: dict[str, Tree | None] = {}
        self.trees_are_whole = True
        self.problems: list[Problem] = [unknown(step(key), "field", key, _FIELDS) for key in job if key not in _FIELDS]

    def sweep(self) -> Sweep:
        self.define()
        names, trees = self.trees()
        trees, space = self.space(trees)
        execution, execution_problems = read_execution(self.job.get("execution", {}), "execution")
        self.problems += execution_problems
        data, split, benchmark = self.data(), self.split(), self.benchmark()
        requirements = self.requirements(split)
        prune = self.prune(space, split, requirements)
        keep, name = self.keep(), self.name()
        if self.problems or split is None:
            raise JobError(self.problems)
        return Sweep(
            name,
            data,
            benchmark,
            trees,
            names,
            self.used_formulas(trees, space),
            space,
            execution,
            split,
            requirements,
            keep,
            prune,
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

    def name(self) -> str:
        value = self.job.get("name") or "sweep"
        if isinstance(value, str):
            return value
        self.problem("name", f"expected a string, got {shown(value)}")
        return ""

    def benchmark(self) -> str | None:
        """Any name that the data have."""
        value = self.job.get("benchmark")
        if value is None or (isinstance(value, str) and value):
            return value
        self.problem("benchmark", f"expected the name of a ticker, or null, got {shown(value)}")
        return None

    def requirements(self, split: Split | None) -> tuple[Requirement, ...]:
        """What no branch can meet, because it has no value in any, is a mistake."""
        found, problems = read_requirements(self.job.get("require", {}), "require")
        self.problems += problems
        for requirement in found:
            place = f"require.{step(requirement.name)}"
            if split and split.kind == "none" and requirement.segment != "full":
                self.problem(place, "without a split no day is in-sample or out-of-sample; allowed: full")
            if requirement.metric in OF_BENCHMARK and self.job.get("benchmark") is None:
                self.problem(place, f"{requirement.metric} is measured against a benchmark, and the job names none")
        return found

    def keep(self) -> str:
        value = self.job.get("keep", "all")
        if value in KEEP:
            return value
        self.problems.append(unknown("keep", "value", value, KEEP))
        return KEEP[0]

    def prune(self, space: Space, split: Split | None, requirements: tuple[Requirement, ...]) -> Prune:
        given, has_split = self.job.get("prune", False), split is None or split.kind != "none"
        prune, problems = read_prune(given, "prune", requirements, "is" if has_split else "full")
        if prune is not Prune.NEVER and space.is_sparse:
            text = (
                f"{shown(given)} in a space around a tree, whose branches are compared by all metrics; allowed: false"
            )
            problems = [Problem("prune", text)]
        self.problems += problems
        return prune

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
        """A path is relative to the job file; a sample, or a URL, is a name; anything else must be a frame."""
        if isinstance(value, str | Path):
            return located(value, self.folder)
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
        self.definitions, self.calls, problems, broken = read_definitions(self.job)
        self.problems += [*problems, *broken]
        self.trees_are_whole &= not broken

    def used_formulas(self, trees: Iterable[Tree], space: Space) -> dict[str, Formula]:
        values = [value for tree in trees for node in tree.nodes for _, value in node_fields(node)]
        values += [value for axis in space.axes for value in axis.values]
        names = {value.removeprefix(CUSTOM) for value in values if isinstance(value, str) and value.startswith(CUSTOM)}
        return {name: formula for name, formula in self.definitions.formulas.items() if formula and name in names}

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
        return {file: data for file in trees if (data := self.tree_file(file)) is not UNREAD}

    def tree_file(self, file: str) -> object:
        try:
            return jsontext.read_file(self.folder / file)
        except jsontext.JsonError as error:
            self.problems += error.problems
            self.trees_are_whole = False
            return UNREAD

    def tree(self, data: object, place: str) -> Tree:
        tree, problems = read_tree(data, place=place, definitions=self.definitions)
        expanded, unknown_calls = expand(tree, self.calls, place)
        self.problems += [*problems, *unknown_calls]
        self.trees_are_whole &= not problems and not unknown_calls
        return expanded

    def space(self, trees: list[Tree]) -> tuple[tuple[Tree, ...], Space]:
        places = ["tree"] if "tree" in self.job else [step(name) for name in self.raw_trees]
        reader = SpaceReader(self.job, trees, places, self.definitions, self.trees_are_whole)
        space = reader.space()
        self.problems += reader.problems
        return tuple(reader.trees), space


def located(source: str | Path, folder: Path) -> str:
    """A source of data wherever it is read: a sample or a URL as it is, a path of a folder in full."""
    is_name = str(source).startswith("sample:") or "://" in str(source)
    return str(source) if is_name else str((folder / source).absolute())


def _is_spec(data: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether data are an object with a source and more, not the source itself, such as a mapping of frames."""
    return isinstance(data, Mapping) and ("source" in data or not is_frame(data))
