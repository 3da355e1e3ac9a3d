"""What the commands do. Each prints its result on stdout, as text or as one JSON object, and progress on stderr: also
what Ray has to say while it computes, some of which it prints."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import redirect_stdout
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from forge_ray import jsontext
from forge_ray.cli import text
from forge_ray.cli.audit import audit_lines
from forge_ray.cli.choices import Into, Workers, named_as_options
from forge_ray.cli.comparison import comparison_lines
from forge_ray.cli.doctor import diagnose, report_lines
from forge_ray.cli.market import show_check
from forge_ray.cli.needle import needle_lines
from forge_ray.cli.plane import plane_lines
from forge_ray.cluster.logs import about, log_to_stderr
from forge_ray.data import MarketCheck, check_market
from forge_ray.errors import InputError, Problem, shown, step
from forge_ray.run import (
    AROUND,
    CACHE_BYTES,
    Audit,
    Result,
    Run,
    branch_sweep,
    check_archive,
    default_workers,
    execute,
    explain_decision,
    prepare,
    tree_sweep,
)
from forge_ray.run import audit as run_audit
from forge_ray.run import backtest as run_backtest
from forge_ray.run import compare as run_compare
from forge_ray.run import explain as explain_plan
from forge_ray.run import needle as run_needle
from forge_ray.run import plane as run_plane
from forge_ray.sweep import Sweep, parse_job, read_job
from forge_ray.tree import atoms_of, parse_tree


def run(job: Path, settings: list[str], by: Workers, into: Into, *, log_format: str | None, as_json: bool) -> Result:
    if log_format:
        log_to_stderr(log_format, "--log-format")
    by.check()
    prepared = prepare(read_job(job, settings))
    with about(prepared.run_id), text.ProgressDisplay() as display, redirect_stdout(sys.stderr):
        there = default_workers(by.workers, by.threads)
        text.note(text.plan_lines(explain_plan(prepared, there, CACHE_BYTES, by.threads)))
        executor = by.executor()
        text.note([f"on {executor}"])
        with named_as_options("out", "sink"):
            result = execute(prepared, executor, **vars(into), on_progress=display.update)
    if as_json:
        print(jsontext.write(msgspec.to_builtins(result)))
    else:
        text.show_result(result)
    if by.timeline and not result.computed:
        text.note(["nothing was computed: there is no timeline"])
    return result


def plan(job: Path, settings: list[str], *, as_json: bool) -> None:
    explanation = explain_plan(prepare(read_job(job, settings)), default_workers(None), CACHE_BYTES)
    print(jsontext.write(explanation) if as_json else "\n".join(text.full_plan_lines(explanation)))


def plane(
    job: Path, settings: list[str], *, metrics: list[str], out: Path | None, workers: int | None, as_json: bool
) -> None:
    with named_as_options("metric", "out"):
        if out:
            check_archive(out)
        found = run_plane(read_job(job, settings), metrics, workers=workers)
        file = str(found.save(out)) if out else None
    summary = found.summary() | {"file": file}
    print(jsontext.write(summary) if as_json else "\n".join(plane_lines(summary)))


def validate(file: Path, *, as_json: bool) -> None:
    data = jsontext.read_file(file)
    found: dict[str, Any] = {"file": str(file), "valid": True}
    if isinstance(data, dict) and "kind" in data:
        found |= {"kind": "tree", "nodes": len(parse_tree(data, place=file.name).nodes)}
    else:
        sweep = parse_job(data, folder=file.parent)
        branches = None if sweep.exact_axes else sweep.space.admitted
        found |= {"kind": "job", "trees": len(sweep.trees), "branches": branches}
    size = f"{found['nodes']} nodes" if "nodes" in found else _branches(found["branches"])
    print(jsontext.write(found) if as_json else f"{file}: a valid {found['kind']}, {size}")


def _branches(n: int | None) -> str:
    return "as many branches as its data have thresholds" if n is None else f"{n:,} branches"


def atoms(file: Path, *, as_json: bool) -> None:
    sweep = tree_sweep(file, None)
    found = [
        {"tree": name, "number": k, "kind": a.kind, "text": a.text, "places": a.n, "fields": list(a.places)}
        for name, tree in zip(sweep.tree_names, sweep.trees, strict=True)
        for k, a in enumerate(atoms_of(tree, sweep.formulas))
    ]
    print(jsontext.write({"atoms": found}) if as_json else "\n".join(text.atom_lines(found)))


def top(path: Path, *, by: str | None, n: int, where: str | None, as_json: bool) -> None:
    with Run(path) as run:
        with named_as_options("by", "where"):
            metric, frame = run.metric(by), run.top(by, n, where)
        if not as_json:
            text.show_leaderboard(frame, metric, run.dimensions)
            text.show_unranked(run)
            return
        unranked = run.without_metrics()
    rows = [row | {"path": row["path"].hex()} for row in frame.to_dicts()]
    print(jsontext.write({"by": metric, "rows": rows, "unranked": unranked}))


def explain(target: Path, what: list[str], *, data: str | None, settings: list[str], as_json: bool) -> None:
    sweep = _one_branch(target, what, data, settings, "explain", "DATE")
    _show_decision(sweep, _day(what[-1], "DATE"), as_json)


def compare(
    target: Path, what: list[str], *, data: str | None, settings: list[str], options: list[str], as_json: bool,
    **how: Any,
) -> None:  # fmt: skip
    from forge_ray.tree.importers import check_options, read_options

    renamed = read_options(options)
    check_options(renamed, "allocations")
    sweep = _one_branch(target, what, data, settings, "compare", "ALLOCATIONS")
    with named_as_options("shift", "tolerance", "unit"):
        found = run_compare(sweep, what[-1], options=renamed, **how)
    print(jsontext.write(found) if as_json else "\n".join(comparison_lines(found)))


def _one_branch(target: Path, what: list[str], data: str | None, settings: list[str], command: str, last: str) -> Sweep:
    """The sweep of a tree, of a job of one branch, or of a branch of a run, whose number then comes before the last
    argument. Raises `InputError` for anything else."""
    is_run = _is_folder(target)
    if len(what) != (2 if is_run else 1) or (is_run and not what[0].isdecimal()):
        form = f"RUN BRANCH {last}" if is_run else f"TREE {last}"
        raise InputError([Problem(command, f"expected {form}, got {shown(' '.join([str(target), *what]), 300)}")])
    if not is_run:
        return tree_sweep(target, data, settings)
    if given := [name for name, value in (("--data", data), ("--set", settings)) if value]:
        raise InputError([Problem(name, "has no effect on a run; allowed: with a tree or a job") for name in given])
    with Run(target) as run:
        return branch_sweep(run, int(what[0]))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:  # such as a name that is too long
        raise InputError([Problem(step(str(path)), error.strerror or str(error))]) from error


def backtest(tree: Path, out: Path, *, data: str | None, settings: list[str], as_json: bool) -> None:
    found = run_backtest(tree_sweep(tree, data, settings), out)
    if as_json:
        print(jsontext.write(found))
    else:
        text.show_backtest(found)


def today(tree: Path, *, data: str | None, settings: list[str], as_json: bool) -> None:
    _show_decision(tree_sweep(tree, data, settings), None, as_json)


def needle(
    tree: Path, asked: dict[str, Any], by: Workers, into: Into, *, data: str | None, settings: list[str], as_json: bool
) -> None:
    design = AROUND | {name: value for name, value in asked.items() if value is not None}
    by.check()
    as_written = tree_sweep(tree, data, settings)
    around = tree_sweep(tree, data, [*settings, f"design={jsontext.write(design)}"])
    executor = by.executor()
    with text.ProgressDisplay() as display, redirect_stdout(sys.stderr), named_as_options("out"):
        found = run_needle(as_written, around, executor, **vars(into), on_progress=display.update)
    print(jsontext.write(found) if as_json else "\n".join(needle_lines(found)))


def audit(tree: Path, cuts: int, seed: int, *, data: str | None, settings: list[str], as_json: bool) -> Audit:
    found = run_audit(tree_sweep(tree, data, settings), cuts, seed)
    print(jsontext.write(msgspec.to_builtins(found)) if as_json else "\n".join(audit_lines(found)))
    return found


def _day(value: str, place: str) -> date:
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise InputError([Problem(place, f"expected YYYY-MM-DD, got {value!r}")]) from None


def _show_decision(sweep: Sweep, day: date | None, as_json: bool) -> None:
    decision = explain_decision(sweep, day)
    print(jsontext.write(decision) if as_json else "\n".join(text.decision_lines(decision)))


def show(path: Path, branch: int, *, as_json: bool) -> None:
    with Run(path) as run:
        report = run.branch(branch)
    if as_json:
        print(jsontext.write(report))
    else:
        text.show_branch(report)


def report(run: Path, *, out: Path | None, as_json: bool) -> None:
    if missing := [name for name in ("jinja2", "plotly") if find_spec(name) is None]:
        raise InputError([Problem("report", f"needs {' and '.join(missing)}: pip install 'forge-ray[report]'")])
    from forge_ray.report import write_report

    written = write_report(run, out)
    print(jsontext.write(written.__dict__) if as_json else f"{written.path}: {written.bytes / 1e6:.1f} MB")


def check_data(
    source: str, tickers: str, *, columns: list[str], start: str | None, end: str | None, as_json: bool
) -> MarketCheck:
    found = check_market(
        source,
        [name for name in tickers.split(",") if name],
        start=_day(start, "--start") if start else None,
        end=_day(end, "--end") if end else None,
        columns=_mapping(columns),
    )
    if as_json:
        print(jsontext.write(msgspec.to_builtins(found)))
    else:
        show_check(found)
    return found


def _mapping(columns: list[str]) -> dict[str, str]:
    pairs = [column.partition("=") for column in columns]
    problems = [
        Problem("--columns", f"expected OURS=THEIRS, got {shown(ours)}") for ours, equals, _ in pairs if not equals
    ]
    times = Counter(ours for ours, _, _ in pairs)
    problems += [Problem("--columns", f"{ours} is given twice; allowed: once") for ours, n in times.items() if n > 1]
    if problems:
        raise InputError(problems)
    return {ours: theirs for ours, _, theirs in pairs}


def doctor(out: Path, *, as_json: bool) -> None:
    found = diagnose(out)
    print(jsontext.write(found) if as_json else "\n".join(report_lines(found)))
