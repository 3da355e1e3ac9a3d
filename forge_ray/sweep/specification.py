"""`Sweep`: the frozen, hashed specification of a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from forge_ray.catalog import METRICS
from forge_ray.data import Frame, Split
from forge_ray.errors import InputError
from forge_ray.plan import Execution, Prune, Requirement
from forge_ray.tree import Exact, Space, Tree, canonical, digest
from forge_ray.tree.formulas import Formula

ENGINE_VERSION = 3
"""Raised by hand whenever the meaning of a stored number changes."""

KEEP = ("all", "passing")


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
    space: Space
    execution: Execution
    split: Split
    requirements: tuple[Requirement, ...]
    keep: str
    prune: Prune
    job: Mapping[str, Any] = field(compare=False, repr=False)

    @property
    def exact_axes(self) -> dict[str, Exact]:
        """Axes whose values are known with the data only, by id; the space has no branch before."""
        return {axis.id: axis.exact for axis in self.space.axes if axis.exact}

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
            "axes": {axis.id: list(axis.values) for axis in self.space.axes},
            **({"exact": {name: str(within) for name, within in self.exact_axes.items()}} if self.exact_axes else {}),
            "axis_order": [axis.id for axis in self.space.axes],
            **self.space.canonical(),
            "execution": {name: _json(getattr(self.execution, name)) for name in Execution.__struct_fields__},
            "split": self.split.canonical(),
            "require": [str(requirement) for requirement in self.requirements],
            "keep": self.keep,
            **({} if self.prune is Prune.NEVER else {"prune": self.prune}),
        }

    def run_id(self, data_fingerprint: str) -> str:
        """32 hex digits."""
        return digest(self.identity(data_fingerprint))


def _json(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
