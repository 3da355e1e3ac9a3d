"""How results look to people: plan lines, progress, leaderboard, one branch."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from forge_ray import jsontext
from forge_ray.catalog import METRICS, SEGMENTS, metric_text
from forge_ray.cli.resume import note_commit
from forge_ray.cluster.logs import is_json
from forge_ray.engine import METRIC_COLUMNS
from forge_ray.run import ENDS, Result, Run, ended, sharpe_by_luck, verdict_of
from forge_ray.run import Progress as Committed

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger(__name__)

LINE_SECONDS = 5.0
MAX_WARNINGS = 20
MAX_WORDS = 72
LEADERBOARD = ("sharpe", "cagr", "max_drawdown", "trades", "time_in_market")


def note(lines: Iterable[str], facts: Mapping[str, Any] | None = None) -> None:
    """Lines for people, on stderr; where that holds JSON, a record each, with the facts that it tells."""
    for line in lines:
        if is_json():
            log.info("%s", line, extra={"facts": facts or {}})
        else:
            print(line, file=sys.stderr)


def plan_lines(e: Mapping[str, Any]) -> list[str]:
    """The plan in a few lines."""
    first = e["start_ladder"][0] if e["start_ladder"] else None
    limit = f" (limited by {first['ticker']}, {first['because']}, look-back {first['look_back']})" if first else ""
    lines = [
        f"{e['name']}: {e['branches']:,} branches of {e['trees']} tree(s); {e['series']:,} series, "
        f"{e['conditions']:,} conditions, {e['groups']:,} groups of up to {e['sleeves']} sleeves",
        f"data: {len(e['tickers'])} tickers, {e['bars']:,} bars; traded {e['start']} to {e['end']}{limit}",
        f"about {e['seconds']:.1f} s on {e['workers']} worker(s){_of_threads(e)}, {e['bytes'] / 2**20:,.0f} MiB, "
        f"{e['blocks']:,} blocks",
    ]
    lines += [f"warning: {text}" for text in e["warnings"][:MAX_WARNINGS]]
    more = len(e["warnings"]) - MAX_WARNINGS
    return lines + ([f"and {more:,} more warnings; plan --json lists them all"] if more > 0 else [])


def _of_threads(e: Mapping[str, Any]) -> str:
    return f" of {e['threads']} threads" if e["threads"] > 1 else ""


def full_plan_lines(e: Mapping[str, Any]) -> list[str]:
    """The plan in full: everything `plan --json` holds, for reading."""
    lines = plan_lines(e)
    settings = {"benchmark": e["benchmark"] or "none"} | {name: e[name] for name in ("keep", "split", "prune")}
    lines.append("; ".join([f"run id {e['run_id']}", *(f"{name} {value}" for name, value in settings.items())]))
    lines.append("execution: " + ", ".join(f"{key} {_plain_text(value)}" for key, value in e["execution"].items()))
    lines += [f"require {text}" for text in e["require"]]
    lines += [f"axis {name}: {n:,} values" for name, n in e["axes"].items()]
    lines += [f"around {e['around']}", f"neighbours {e['neighbours']}"] if "around" in e else []
    lines.append(f"simulated by kernel {e['kernel']}: {e['kernel_because']}")
    lines.append("start, what limits it, and the bars that dropping it would gain:")
    lines += [
        f"  {rung['date']}  {rung['ticker']:<8} {rung['because']} "
        f"(look-back {rung['look_back']})  +{rung['gain']:,} bars"
        for rung in e["start_ladder"]
    ]
    lines.append("conditions, share of traded bars on which each is true:")
    lines += [f"  {_rate_text(rate, e['trees'])}" for rate in e["condition_rates"]]
    lines += [f"dropped dates: {ticker} {n:,}" for ticker, n in e["dropped_dates"].items()]
    lines += [f"dates without a bar, at the last close: {ticker} {n:,}" for ticker, n in e["filled_dates"].items()]
    lines += [f"cleaned {ticker}: {counts}" for ticker, counts in e["cleaned"].items()]
    return lines


def _rate_text(rate: Mapping[str, Any], n_trees: int) -> str:
    name = f"{rate['tree']} {rate['condition']}" if n_trees > 1 else rate["condition"]
    span = f"{rate['least']:.1%}" if rate["least"] == rate["most"] else f"{rate['least']:.1%} to {rate['most']:.1%}"
    sampled = f" ({rate['looked_at']} of {rate['combinations']:,} looked at)" if rate["combinations"] > 1 else ""
    unknown = f", unknown on up to {rate['unknown']:,} bars" if rate["unknown"] else ""
    return f"{name}: {span}{unknown}{sampled}"


def _plain_text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


class ProgressDisplay:
    """A bar on a terminal; elsewhere a line every few seconds."""

    def __init__(self) -> None:
        self.is_terminal = sys.stderr.isatty() and not is_json()
        self.said = time.monotonic()
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
        self.bar = Progress(*columns, console=Console(stderr=True)) if self.is_terminal else None
        self.task: Any = None

    def __enter__(self) -> ProgressDisplay:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.bar and self.task is not None:
            self.bar.stop()

    def update(self, progress: Committed) -> None:
        note_commit()
        rate = f"{progress.computed / max(progress.seconds, 1e-9):,.0f} branches/s, {progress.passed:,} passed"
        if self.bar:
            if self.task is None:
                self.bar.start()
                self.task = self.bar.add_task("", total=progress.total, rate=rate)
            self.bar.update(self.task, completed=progress.branches, rate=rate)
        elif time.monotonic() - self.said > LINE_SECONDS:
            self.said = time.monotonic()
            share = progress.branches / max(progress.total, 1)
            note([f"progress {share:.0%} of {progress.total:,}, {rate}"], asdict(progress))


def atom_lines(atoms: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line per atom: its number, its kind, how often it stands there, its words, the fields that can be swept."""
    several = len({atom["tree"] for atom in atoms}) > 1
    wide = max((len(atom["text"]) for atom in atoms), default=0)
    return [
        f"{atom['tree'] + '  ' if several else ''}{atom['number']:>4}  {atom['kind']:<9} {atom['places']:>4} ×  "
        f"{atom['text']:<{min(wide, MAX_WORDS)}}  {' '.join(atom['fields'])}"
        for atom in atoms
    ]


def show_result(result: Result) -> None:
    """The leaderboard with the number of branches tried and what luck alone would show."""
    early = "".join(f"{text}, " for text in ended({status: getattr(result, status) for status in ENDS}))
    did = f"{result.computed:,} computed" if result.computed else "nothing to compute, found finished"
    print(
        f"{result.branches:,} branches, {early}{result.distinct:,} distinct position paths, {result.passed:,} passed; "
        f"{did}, {result.seconds:.1f} s"
    )
    with Run(result.path) as run:
        frame, metric = run.top(passing=result.passed > 0), run.metric(None)
        show_leaderboard(
            frame, metric, run.dimensions, title="best of those that passed" if result.passed else "best; none passed"
        )
        segment = metric.partition("_")[0]
        days = frame[f"{segment}_n_days"][0] if len(frame) else 0
        trials = result.distinct if run.has_all_paths else result.branches
        luck, distinct = sharpe_by_luck(trials, int(days)), f", {trials:,} distinct" if run.has_all_paths else ""
    if luck is not None:
        print(
            f"{result.branches:,} branches tried{distinct}: the best of that many worthless ones "
            f"would show a Sharpe ratio of about {luck:.2f} over {days:,.0f} days by luck"
        )
    if result.computed:
        print("\n".join(result.cost.lines()))
    print(f"run {result.path}")


def show_unranked(run: Run) -> None:
    """How many branches a leaderboard cannot have, and why; nothing without any."""
    if found := ended(run.without_metrics()):
        print(f"without metrics: {', '.join(found)}")


def show_leaderboard(frame: pl.DataFrame, metric: str, dimensions: list[str], title: str = "") -> None:
    """A table of the dimensions and of as many metrics as the window is wide, the ranking metric first."""
    if not frame.width:
        print("no block is committed yet")
        return
    names = ["branch", *dimensions]
    segments = ("full",) if metric.startswith("full_") else ("is", "oos")
    ranked = [f"{segment}_{name}" for name in LEADERBOARD for segment in segments]
    metrics = [metric, *(column for column in ranked if column != metric)]
    rows = frame.select([*names, *metrics]).to_dicts()
    cells = {name: [*name_lines(name), *(_cell(name, row[name]) for row in rows)] for name in (*names, *metrics)}
    console = Console(width=None if sys.stdout.isatty() else 200)
    shown = _fitting({name: max(map(len, texts)) + 2 for name, texts in cells.items()}, len(names) + 1, console.width)
    table = Table(title=title or None, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for name in shown:
        table.add_column("\n".join(name_lines(name)), justify="right", no_wrap=True)
    for k in range(len(rows)):
        table.add_row(*(cells[name][len(name_lines(name)) + k] for name in shown))
    console.print(table)


def _fitting(widths: Mapping[str, int], least: int, width: int) -> list[str]:
    """The first columns that fit, but at least `least` of them."""
    names = list(widths)
    while len(names) > least and sum(widths[name] for name in names) > width:
        names.pop()
    return names


def name_lines(column: str) -> list[str]:
    """A column's heading: segment above metric."""
    segment, _, metric = column.partition("_")
    return [segment, metric] if column in METRIC_COLUMNS else [column]


def _cell(column: str, value: Any) -> str:
    if column in METRIC_COLUMNS:
        return metric_text(column.partition("_")[2], value)
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def show_branch(report: Mapping[str, Any]) -> None:
    """One branch: values, verdict, a table of metrics by segment, the tree."""
    print(f"branch {report['branch']}", report.get("tree_name", ""))
    values = ", ".join(f"{name} = {_cell(name, value)}" for name, value in report["values"].items())
    print("  " + (report["changes"] or "as written" if "changes" in report else values))
    status = f"{report['status']} on {report['stopped_on']}" if report.get("stopped_on") else report["status"]
    print(f"  {status}, {verdict_of(report)}; path {report['path'] or 'not followed to its end'}")
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("metric", *SEGMENTS):
        table.add_column(name, justify="left" if name == "metric" else "right")
    for metric in METRICS:
        cells = (_metric_or_reason(report, segment, metric.name) for segment in SEGMENTS)
        table.add_row(metric.name, *cells)
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    print(jsontext.write(report["tree"]))


def show_backtest(found: Mapping[str, Any]) -> None:
    """One tree: a table of metrics by segment, best and worst days, the files."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in (found["name"], *SEGMENTS):
        table.add_column(name, justify="left" if name == found["name"] else "right")
    for metric in METRICS:
        values = (found["metrics"][segment][metric.name] for segment in SEGMENTS)
        table.add_row(metric.name, *(metric_text(metric.name, value) for value in values))
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    for title, days in (("best days", found["best_days"]), ("worst days", found["worst_days"])):
        print(f"{title}: " + ", ".join(f"{day['date']} {day['net']:+.2%}" for day in days))
    print("\n".join(found["files"]))


def _metric_or_reason(report: Mapping[str, Any], segment: str, metric: str) -> str:
    value = report["metrics"][segment][metric]
    return report["nulls"][f"{segment}.{metric}"] if value is None else metric_text(metric, value)


def decision_lines(decision: Mapping[str, Any]) -> list[str]:
    """One decision: the nodes on its path, each condition with its values and distance to flipping, the weights."""
    seen = "" if decision["information"] == decision["date"] else f", knowing bars up to {decision['information']}"
    lines = [f"decision of {decision['date']}{seen}" + ("" if decision["traded"] else " (before the common start)")]
    for node in decision["nodes"]:
        indent = "  " * (node["depth"] + 1)
        name = f"{node['id']} ({node['kind']})" + (f" “{node['title']}”" if node["title"] else "")
        lines.append(indent + name + (f" -> {node['took']}" if node["took"] else ""))
        lines += [f"{indent}    {condition_line(condition['id'], condition)}" for condition in node["conditions"]]
        lines += [f"{indent}    {_score_line(score)}" for score in node["scores"]]
    weights = {**decision["weights"], **({"CASH": decision["cash"]} if decision["cash"] > 1e-12 else {})}
    return [*lines, f"target: {weights_text(weights)}"]


def weights_text(weights: Mapping[str, float]) -> str:
    return ", ".join(f"{ticker} {weight:.2%}" for ticker, weight in weights.items())


def condition_line(name: str, condition: Mapping[str, Any], relative: float | None = None) -> str:
    """A condition with its values and its distance to flipping, also as a share of the larger value."""
    line = f"{name}: {condition['text']}: " + {True: "true", False: "false", None: "unknown"}[condition["is_true"]]
    if condition["left"] is None and condition["is_true"] is not None:
        return line
    if condition["left"] is None or condition["right"] is None:
        return f"{line}, a value is missing"
    values = f"{condition['left']:.6g} against {condition['right']:.6g}, flips at {condition['distance']:+.4g}"
    return f"{line} ({values}{'' if relative is None else f', {relative:.2%} away'})"


def _score_line(score: Mapping[str, Any]) -> str:
    value = "no score" if score["score"] is None else f"{score['score']:.6g}"
    return f"{score['id']}: {value}" + (", picked" if score["picked"] else "")
