"""What an import tells beside its result: mistakes, repairs, open points; each mistake and repair with its place.

A place is kept as a chain of steps and becomes text only when something is said about it: hundreds of levels down, a
text for each of many nodes would be longer than the file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from forge_ray.errors import InputError, Problem, shown, unknown

MAX_PROBLEMS = 1_000


class ForeignFileError(InputError):
    """A file of another program that cannot be imported: every mistake with place, value and what is allowed."""


@dataclass(frozen=True, slots=True)
class Repair:
    """Something that was read differently from how it is written, or left out."""

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


@dataclass(frozen=True, slots=True)
class Imported:
    """A foreign file as a native job.

    format : where the file comes from. job : plain JSON values, what `parse_job` reads once ``data`` is added.
    open_points : what the other program leaves unsaid, each with the reading that was chosen.
    """

    format: str
    job: Mapping[str, Any]
    repairs: tuple[Repair, ...]
    open_points: tuple[str, ...]


class Spot(NamedTuple):
    """A place in a file: a step below another place."""

    parent: Spot | None
    step: str

    def at(self, step: str | int) -> Spot:
        return Spot(self, f"[{step}]" if isinstance(step, int) else step)

    def __str__(self) -> str:
        steps: list[str] = []
        spot: Spot | None = self
        while spot is not None:
            steps.append(spot.step)
            spot = spot.parent
        joined = "".join(step if step.startswith("[") else f".{step}" for step in reversed(steps) if step)
        return joined.removeprefix(".")


ROOT = Spot(None, "")


class Report:
    """Collects while a file is read. `options` are the choices made for open points."""

    def __init__(self, options: Mapping[str, str]):
        self.options = options
        self.problems: list[Problem] = []
        self.repairs: dict[Repair, None] = {}
        self.open_points: dict[str, None] = {}

    def problem(self, spot: Spot, message: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(str(spot), message))

    def unknown(self, spot: Spot, what: str, value: object, allowed: Collection[str]) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(unknown(str(spot), what, value, allowed))

    def repair(self, spot: Spot, message: str) -> None:
        self.repairs[Repair(str(spot), message)] = None

    def open_point(self, message: str) -> None:
        self.open_points[message] = None

    def check(self) -> None:
        """Raises `ForeignFileError` with all that was wrong so far."""
        if self.problems:
            raise ForeignFileError(self.problems)

    def result(self, format: str, job: Mapping[str, Any]) -> Imported:
        """The import, if nothing was wrong. Raises `ForeignFileError` with all that was."""
        self.check()
        return Imported(format, job, tuple(self.repairs), tuple(self.open_points))


def expected(what: str, value: object) -> str:
    return f"expected {what}, got {shown(value)}"
