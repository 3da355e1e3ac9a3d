"""The surface for notebooks: a sweep from a tree, its plan, its run, and how each looks there.

1. `sweep` makes a `Sweep` of a tree written in Python or JSON, the same one that a job file gives.
2. `plan` compiles it and binds it to its data; shown in a notebook, the plan says what a run would do.
3. `PlanView.run` executes it, on threads or on Ray, and hands back the `Run`; `open` finds a run again.
4. `needle` tells how one tree stands among its neighbours, `plane` what all pairs of two thresholds earn.

HTML is escaped, self-contained and has no colours of its own, so that it suits a light and a dark page.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forge_ray import jsontext
from forge_ray import run as runs
from forge_ray.catalog import METRICS, SEGMENTS, metric_text
from forge_ray.engine import METRIC_COLUMNS
from forge_ray.errors import InputError, Problem, shown
from forge_ray.run import (
    CACHE_BYTES,
    Prepared,
    Progress,
    StepPlane,
    default_workers,
    ended,
    execute,
    explain,
    prepare,
    session,
    sharpe_by_luck,
    verdict_of,
)
from forge_ray.sweep import Sweep, parse_job, read_job
from forge_ray.tree.builders import Draft
from forge_ray.tree.outline import outline_html

if TYPE_CHECKING:
    import polars as pl

LEADERBOARD = ("sharpe", "cagr", "max_drawdown", "trades")


def sweep(
    tree: Draft | Mapping[str, Any],
    *,
    data: Any,
    axes: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Sweep:
    """The search of a tree's space, as a job file describes it.

    tree : a tree written in Python or as JSON, or several as a mapping of names to trees.
    What a tree in Python refers to comes along: its axes, calls, formulas and ticker lists.
    data : a sample, the path of a folder or file, or a frame (pandas, Polars, Arrow): one with a column Ticker, or a
    mapping from tickers to frames; or an object with any of them as its source, ``{"source": …, "columns": …}``. A run
    keeps the bars that it takes from a frame.
    axes : the axes that are not written in the tree; those named here come first, the last of all is the fastest.
    fields : the other fields of a job: name, benchmark, calls, where, design, execution, split, require, prune,
        keep.
    Raises `InputError` with every mistake.
    """
    several = isinstance(tree, Mapping) and "kind" not in tree
    named = tree if isinstance(tree, Mapping) and several else {"tree": tree}
    written = {name: item.job() if isinstance(item, Draft) else {"tree": item} for name, item in named.items()}
    trees = {name: job["tree"] for name, job in written.items()}
    job = _joined({"data": data, **fields, "axes": axes or {}}, written.values())
    return parse_job(job | ({"trees": trees} if several else {"tree": trees["tree"]}))


def plan(search: Sweep | Mapping[str, Any] | str | Path) -> PlanView:
    """Compile a sweep, a job (a mapping, as in a job file) or a job file, and load its data. Computes no branch."""
    return PlanView(prepare(_read(search)))


def _read(search: Sweep | Mapping[str, Any] | str | Path) -> Sweep:
    if isinstance(search, str | Path):
        return read_job(search)
    return search if isinstance(search, Sweep) else parse_job(search)


def plane(
    search: Sweep | Mapping[str, Any] | str | Path, metrics: Sequence[str] = (), *, workers: int | None = None
) -> StepPlane:
    """Metrics of every pair of thresholds of the two exact axes of a sweep, a job or a job file, as step functions.

    metrics : columns such as ``oos_sharpe``; default ``is_sharpe``, ``full_sharpe`` without a split.
    workers : threads; default one per CPU.
    """
    return runs.plane(_read(search), metrics, workers=workers)


def open(run: str | Path) -> Run:
    """A run that is stored, finished or not, by its folder."""
    return Run(run)


def needle(
    tree: Draft | Mapping[str, Any],
    *,
    data: Any,
    design: Mapping[str, Any] | None = None,
    ray: bool = False,
    out: str | Path = "runs",
    workers: int | None = None,
    allow_unauthenticated: bool = False,
    fresh: bool = False,
    take_over: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Plateau or needle: one tree among its neighbours, as plain values, as ``forge-ray needle --json`` prints them.

    tree, data, fields : as in `sweep`. design : what differs from ``{"kind": "neighbourhood", "changes": 3, "window":
    "±20%", "threshold": "±5%", "sample": 100000, "seed": 1}``. The others are those of `PlanView.run`.
    """
    alone = sweep(tree, data=data, **fields)
    around = sweep(tree, data=data, design=runs.AROUND | dict(design or {}), **fields)
    told = on_progress or _line_below_cell()
    executor = session().executor(ray=ray, workers=workers, allow_unauthenticated=allow_unauthenticated)
    return runs.needle(alone, around, executor, out, fresh=fresh, take_over=take_over, on_progress=told)


@dataclass(frozen=True)
class PlanView:
    """What a run would do. `explanation` holds it as plain values, as ``forge-ray plan --json`` prints them."""

    prepared: Prepared

    @property
    def sweep(self) -> Sweep:
        return self.prepared.sweep

    @cached_property
    def explanation(self) -> dict[str, Any]:
        return explain(self.prepared, default_workers(None), CACHE_BYTES)

    def run(
        self,
        *,
        ray: bool = False,
        out: str | Path = "runs",
        workers: int | None = None,
        allow_unauthenticated: bool = False,
        threads: int = 1,
        fresh: bool = False,
        take_over: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Run:
        """Compute the branches that are missing and open the run.

        ray : on a Ray cluster (``RAY_ADDRESS``, else the pool, else an embedded one), otherwise on threads; the rows
        are the same. What was computed, and an embedded cluster, stay with this process: the next run starts warm.
        workers : default one per CPU. threads : of each worker on Ray, which share its cache. allow_unauthenticated :
        also a cluster that lets in whoever reaches it. fresh : throw an existing run of this sweep away first.
        take_over : take the run from a driver that hangs.
        on_progress : told after every commit; by default a line below the cell that is kept up to date.
        """
        told = on_progress or _line_below_cell()
        executor = session().executor(
            ray=ray, workers=workers, threads=threads, allow_unauthenticated=allow_unauthenticated
        )
        result = execute(self.prepared, executor, out, fresh=fresh, take_over=take_over, on_progress=told)
        return Run(result.path)

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {text}" for name, text in self._facts())

    def _repr_html_(self) -> str:
        e = self.explanation
        rates = [[r["condition"], f"{r['least']:.1%}", f"{r['most']:.1%}"] for r in e["condition_rates"]]
        parts = [_title(e["name"]), _table([], self._facts())]
        parts += [_table(["condition, true on", "at least", "at most"], rates)] if rates else []
        return _block(*parts, *(f"<div>⚠ {escape(text)}</div>" for text in e["warnings"]))

    def _facts(self) -> list[tuple[str, str]]:
        e = self.explanation
        axes = ", ".join(f"{name} ({n:,})" for name, n in e["axes"].items())
        limit = next((f", limited by {rung['ticker']}" for rung in e["start_ladder"]), "")
        return [
            ("branches", f"{e['branches']:,}"),
            ("axes", axes or "none"),
            ("work", f"{e['series']:,} series, {e['conditions']:,} conditions, {e['groups']:,} groups"),
            ("traded", f"{e['start']} to {e['end']} ({e['returns']:,} returns{limit})"),
            ("cost", f"about {e['seconds']:.1f} s on {e['workers']} workers, {e['bytes'] / 2**20:,.0f} MiB"),
            ("run", e["run_id"]),
        ]


class Run(runs.Run):
    """A stored run that shows itself: how far it is and its best branches. Closes itself when it is let go."""

    def __init__(self, path: str | Path):
        super().__init__(path)
        weakref.finalize(self, self.store.close)

    @property
    def path(self) -> Path:
        return self.store.path

    def branch(self, branch: int) -> Branch:
        return Branch(super().branch(branch))

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}): {self._state()}"

    def _repr_html_(self) -> str:
        best = self.metric(None)
        segments = ("is", "oos") if self.has_split else ("full",)
        metrics = [f"{segment}_{name}" for name in LEADERBOARD for segment in segments]
        frame = self.top(best, 5)
        names = ["branch", *self.dimensions, *metrics]
        rows = [[_cell(name, row[name]) for name in names] for row in frame.to_dicts()]
        state, luck = f"<div>{escape(self._state())}</div>", f"<div>{escape(self._luck(best, frame))}</div>"
        return _block(
            _title(f"best by {best}"), state, _table(names, rows), luck, f"<code>{escape(str(self.path))}</code>"
        )

    def _luck(self, best: str, frame: pl.DataFrame) -> str:
        """What the first place is worth: the Sharpe ratio that as many worthless branches would show at best."""
        days = frame[f"{best.partition('_')[0]}_n_days"].max() if self.store.finished and len(frame) else None
        tried = self.store.summary()["distinct" if self.has_all_paths else "branches"] if days is not None else 0
        luck = sharpe_by_luck(tried, int(days)) if isinstance(days, float) else None
        if luck is None:
            return ""
        which = "distinct worthless" if self.has_all_paths else "worthless"
        return f"the best of {tried:,} {which} branches would show a Sharpe ratio of {luck:.2f} by luck"

    def _state(self) -> str:
        counts = self.store.counts()
        state = "finished" if self.store.finished else "not finished"
        early = "".join(f", {text}" for text in ended(self.without_metrics()))
        return f"{state}, {counts['branches']:,} branches{early}, {counts['passed']:,} passed"


class Branch(dict[str, Any]):
    """One branch as plain values, as ``forge-ray show --json`` prints them; shows itself as tables and an outline."""

    def _repr_html_(self) -> str:
        rows = [[m.name, *(self._metric(segment, m.name) for segment in SEGMENTS)] for m in METRICS]
        values = ", ".join(f"{name} = {value}" for name, value in self["values"].items())
        told = self["changes"] or "as written" if "changes" in self else values
        state = f"<div>{escape(f'{told}: {verdict_of(self)}')}</div>"
        return _block(
            _title(f"branch {self['branch']}"), state, outline_html(self["tree"]), _table(["", *SEGMENTS], rows)
        )

    def _metric(self, segment: str, metric: str) -> str:
        value = self["metrics"][segment][metric]
        return self["nulls"][f"{segment}.{metric}"] if value is None else _cell(f"{segment}_{metric}", value)


def _joined(given: Mapping[str, Any], written: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """A job with what its trees bring along; what it names itself comes first, and is judged when the job is read."""
    job = dict(given)
    for brought in written:
        for field in [field for field in brought if field != "tree" and isinstance(job.get(field, {}), Mapping)]:
            job[field] = dict(job.get(field, {}))
            for name, content in brought[field].items():
                first = job[field].setdefault(name, content)
                if first is not content and jsontext.write(first) != jsontext.write(content):
                    text = f"{shown(first)} and {shown(content)}; a name has one definition"
                    raise InputError([Problem(f"{field}.{name}", text)])
    return job


def _line_below_cell() -> Callable[[Progress], None]:
    """Keeps one line of output up to date in a notebook; elsewhere says nothing."""
    ipython = sys.modules.get("IPython")
    if ipython is None or ipython.get_ipython() is None:
        return lambda progress: None
    handle = ipython.display.display(_Line(""), display_id=True)

    def tell(progress: Progress) -> None:
        rate = progress.computed / max(progress.seconds, 1e-9)
        text = f"{progress.branches:,} of {progress.total:,} branches, {progress.passed:,} passed"
        handle.update(_Line(f"{text}, {rate:,.0f}/s, {progress.seconds:.1f} s"))

    return tell


@dataclass(frozen=True)
class _Line:
    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f"<small>{escape(self.text)}</small>"


def _cell(column: str, value: Any) -> str:
    if column in METRIC_COLUMNS:
        return metric_text(column.partition("_")[2], value)
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _block(*parts: str) -> str:
    return '<div style="overflow-x:auto">' + "".join(parts) + "</div>"


def _title(text: str) -> str:
    return f"<div><b>{escape(text)}</b></div>"


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{f'<thead><tr>{head}</tr></thead>' if head else ''}<tbody>{body}</tbody></table>"
