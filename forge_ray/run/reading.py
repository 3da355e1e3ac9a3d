"""Reading runs: a handle to what is stored, the leaderboard, one branch in full. Nothing is computed anew."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, reduce
from operator import and_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NotRequired, TypedDict

import msgspec

from forge_ray import jsontext
from forge_ray.catalog import METRIC_BY_NAME, METRICS, SEGMENTS
from forge_ray.engine import LOST, METRIC_COLUMNS, dimensions
from forge_ray.errors import CorruptPartError, ForgeRayError, InputError, Problem, unknown
from forge_ray.store import JOB, SPEC, LocalStore
from forge_ray.sweep import Sweep, parse_job
from forge_ray.tree import Where, fill, to_json

if TYPE_CHECKING:
    import polars as pl


ENDS = {
    "pruned": "pruned early",
    "stopped": "stopped early",
    "crashed": "crashed",
    "timeout": "did not end in time",
}
"""In words, how branches without metrics ended, by status."""


class Run:
    """A stored run, finished or not. Reads a snapshot of what is committed; never writes."""

    def __init__(self, path: str | Path):
        self.store = LocalStore.read(Path(path))
        try:
            self.spec = _spec(self.store)
        except ForgeRayError:
            self.store.close()
            raise

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()

    def sweep(self) -> Sweep:
        """The sweep that the run executes, read again from the job that was kept."""
        return kept_sweep(self.store)

    @cached_property
    def dimensions(self) -> list[str]:
        """Columns that tell branches apart."""
        fields = dimensions(self.sweep().space)
        return [*(["tree"] if self.spec["tree_names"] else []), *(field.name for field in fields)]

    @property
    def has_split(self) -> bool:
        return self.spec["split"] != "none"

    @property
    def has_all_paths(self) -> bool:
        """Whether the rows tell which branches were alike: all are kept, and none stopped early."""
        return self.spec["keep"] == "all" and "prune" not in self.spec

    def frame(self) -> pl.DataFrame:
        """Every stored row, in branch order."""
        return self.store.frame()

    def top(
        self, by: str | None = None, n: int = 10, where: str | None = None, *, passing: bool = False
    ) -> pl.DataFrame:
        """The n best rows by a metric column (default ``is_sharpe``, ``full_sharpe`` without a split).

        Best is high or low as the catalogue says; rows without a value are left out; ties go to the lower branch.
        where : a condition over columns. passing : only rows that passed. Without columns before the first commit.
        Raises `InputError` for unknown columns.
        """
        metric = self.metric(by)
        if not self.store.n_blocks:
            return self.frame()
        conditions = [] if where is None else [_where(where, tuple(self.store.columns), self._text_columns())]
        predicate = _Both((*conditions, _PASSED)) if passing else next(iter(conditions), None)
        return self.store.best(metric, METRIC_BY_NAME[metric.partition("_")[2]].better == "high", n, predicate)

    def without_metrics(self) -> dict[str, int]:
        """How many branches ended without metrics, by status."""
        counts = self.store.counts()
        return {status: counts[status] for status in ENDS if counts.get(status)}

    def _text_columns(self) -> list[str]:
        swept = [name for name, values in self.spec["axes"].items() if isinstance(values[0], str)]
        return ["tree", "changes", "path", "status", "failed_requirements", "stopped_on", *swept]

    def metric(self, by: str | None) -> str:
        """The metric column to rank by."""
        column = by or ("is_sharpe" if self.has_split else "full_sharpe")
        if column not in METRIC_COLUMNS:
            raise InputError([unknown("by", "metric column", column, METRIC_COLUMNS)])
        return column

    def branch(self, branch: int) -> dict[str, Any]:
        """One branch: values, verdict, all metrics of all segments with the reason of each null, its concrete tree."""
        row = self.store.row(branch) if 0 <= branch < self.store.size else None
        if row is None:
            raise InputError([Problem(f"branch {branch}", self._why_missing(branch))])
        sweep = self.sweep()
        tree, values = sweep.space[branch]
        return {
            "branch": branch,
            **({"tree_name": row["tree"]} if "tree" in row else {}),
            "values": sweep.space.apart(branch),
            **({"changes": row["changes"]} if "changes" in row else {}),
            "status": row["status"],
            "passed": row["passed"],
            "failed_requirements": [name for name in row["failed_requirements"].split("; ") if name],
            **({"stopped_on": row["stopped_on"]} if "stopped_on" in row else {}),
            "path": row["path"] and row["path"].hex(),
            "metrics": {segment: {m.name: row[f"{segment}_{m.name}"] for m in METRICS} for segment in SEGMENTS},
            "nulls": {
                f"{segment}.{m.name}": reason_of_null(m.name, row, segment)
                for segment in SEGMENTS
                for m in METRICS
                if row[f"{segment}_{m.name}"] is None
            },
            "tree": to_json(fill(sweep.trees[tree], values)),
        }

    def _why_missing(self, branch: int) -> str:
        if not 0 <= branch < self.store.size:
            return f"not in this space; allowed: 0 to {self.store.size - 1:,}"
        if not self.store.is_committed(branch):
            return "its block is not computed yet"
        return "has no row: the constraints exclude it, or the run keeps passing branches only"


def kept_sweep(store: LocalStore) -> Sweep:
    """The sweep that a run executes, from the job kept with it. Raises `CorruptPartError` if that was damaged."""
    return parse_job(jsontext.parse_bytes(store.job, place=str(store.path / JOB)), folder=store.path)


class _Spec(TypedDict):
    """What readers need of what was searched (`Sweep.identity`)."""

    axes: dict[str, Annotated[list[Any], msgspec.Meta(min_length=1)]]
    keep: str
    split: Any
    tree_names: list[str]
    prune: NotRequired[Any]


def _spec(store: LocalStore) -> _Spec:
    """Raises `CorruptPartError` if it is not what this program writes."""
    try:
        return msgspec.convert(jsontext.parse_bytes(store.spec), _Spec)
    except (msgspec.ValidationError, jsontext.JsonError) as error:
        raise CorruptPartError(str(store.path / SPEC), str(error), "run the job again in another folder") from error


class _Passed:
    names = ("passed",)

    def __call__(self, columns: Mapping[str, Any]) -> Any:
        return columns["passed"]


class _Both:
    """All of several predicates."""

    def __init__(self, predicates: tuple[Any, ...]):
        self.predicates = predicates
        self.names = tuple(dict.fromkeys(name for predicate in predicates for name in predicate.names))

    def __call__(self, columns: Mapping[str, Any]) -> Any:
        return reduce(and_, (predicate(columns) for predicate in self.predicates))


_PASSED = _Passed()


def _where(text: str, columns: tuple[str, ...], texts: list[str]) -> Where:
    try:
        where = Where(text, columns)
        where.check_kinds(texts)
        return where
    except ValueError as error:
        raise InputError([Problem("where", str(error))]) from error


def ended(counts: Mapping[str, int]) -> list[str]:
    """In words, how many branches ended without metrics, of counts by status."""
    return [f"{n:,} {ENDS[status]}" for status, n in counts.items() if n]


def verdict_of(branch: Mapping[str, Any]) -> str:
    """Whether a branch passed, and if not, why."""
    if branch["status"] in LOST:
        return f"{ENDS[branch['status']]}, not judged"
    return "passed" if branch["passed"] else "failed " + "; ".join(branch["failed_requirements"])


def reason_of_null(metric: str, row: Mapping[str, Any], segment: str) -> str:
    """Why a metric of a segment has no value; a function of the row."""
    if row["status"] != "ok":
        return ENDS[row["status"]]
    value = {m.name: row[f"{segment}_{m.name}"] for m in METRICS}
    n = value["n_days"]
    if n == 0:
        return "the segment has no bars"
    match metric:
        case "skew" | "kurtosis_excess" if value["volatility"] != 0.0:
            return f"{n:.0f} bars are too few"
        case "sharpe" | "skew" | "kurtosis_excess":
            return "returns have no variance"
        case "sortino":
            return "no down day"
        case "win_rate":
            return "no up and no down day"
        case "timar" | "timar_max_drawdown" if value["time_in_market"] == 0.0:
            return "never in the market"
        case "calmar" | "timar_max_drawdown":
            return "no drawdown"
        case "treynor" if value["beta"] is not None:
            return "beta is not positive"
        case _:
            return "no benchmark, or it has no variance in this segment"
