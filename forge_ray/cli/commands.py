"""What the commands do. Each prints its result on stdout, as text or as one JSON object, and progress on stderr."""

from __future__ import annotations

import os
from collections import Counter
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from forge_ray import jsontext
from forge_ray.cli import text
from forge_ray.cli.audit import audit_lines
from forge_ray.cli.doctor import diagnose, report_lines
from forge_ray.cli.market import show_check
from forge_ray.data import MarketCheck, check_market
from forge_ray.errors import InputError, Problem, shown
from forge_ray.run import Audit, Executor, Result, Run, branch_sweep, execute, explain_decision, prepare, tree_sweep
from forge_ray.run import audit as run_audit
from forge_ray.run import backtest as run_backtest
from forge_ray.run import explain as explain_plan
from forge_ray.run import needle as run_needle
from forge_ray.sweep import Sweep, parse_job, read_job
from forge_ray.tree import atoms_of, parse_tree

CACHE_BYTES = 256 * 2**20


def run(
    job: Path, settings: list[str], *, out: Path, local: bool, address: str | None, workers: int | None, fresh: bool,
    take_over: bool, sink: str | None, as_json: bool,
) -> Result:  # fmt: skip
    prepared = prepare(read_job(job, settings))
    n_workers = workers or os.cpu_count() or 1
    text.note(text.plan_lines(explain_plan(prepared, n_workers, CACHE_BYTES)))
    with text.ProgressDisplay() as display:
        executor = _executor(local, address, workers, n_workers)
        result = execute(
            prepared, executor, out, fresh=fresh, take_over=take_over, sink=sink, on_progress=display.update
        )
    if as_json:
        print(jsontext.write(result.__dict__))
    else:
        text.show_result(result)
    return result


def _executor(local: bool, address: str | None, workers: int | None, n_workers: int) -> Executor:
    if local:
        from forge_ray.cluster.local import LocalExecutor

        return LocalExecutor(n_workers, CACHE_BYTES)
    from forge_ray.cluster.ray_executor import RayExecutor

    return RayExecutor(workers, CACHE_BYTES, address)


def plan(job: Path, settings: list[str], *, as_json: bool) -> None:
    explanation = explain_plan(prepare(read_job(job, settings)), os.cpu_count() or 1, CACHE_BYTES)
    print(jsontext.write(explanation) if as_json else "\n".join(text.full_plan_lines(explanation)))


def validate(file: Path, *, as_json: bool) -> None:
    data = jsontext.read_file(file)
    found: dict[str, Any] = {"file": str(file), "valid": True}
    if isinstance(data, dict) and "kind" in data:
        found |= {"kind": "tree", "nodes": len(parse_tree(data, place=file.name).nodes)}
    else:
        sweep = parse_job(data, folder=file.parent)
        found |= {"kind": "job", "trees": len(sweep.trees), "branches": sweep.space.admitted}
    size = f"{found['nodes']} nodes" if "nodes" in found else f"{found['branches']:,} branches"
    print(jsontext.write(found) if as_json else f"{file}: a valid {found['kind']}, {size}")


def atoms(file: Path, *, as_json: bool) -> None:
    sweep = tree_sweep(file, None)
    found = [
        {"tree": name, "number": k, "kind": a.kind, "text": a.text, "places": a.n, "fields": list(a.places)}
        for name, tree in zip(sweep.tree_names, sweep.trees, strict=True)
        for k, a in enumerate(atoms_of(tree))
    ]
    print(jsontext.write({"atoms": found}) if as_json else "\n".join(text.atom_lines(found)))


def top(path: Path, *, by: str | None, n: int, where: str | None, as_json: bool) -> None:
    with Run(path) as run:
        metric, frame = run.metric(by), run.top(by, n, where)
        if not as_json:
            text.show_leaderboard(frame, metric, run.dimensions)
            return
    rows = [row | {"path": row["path"].hex()} for row in frame.to_dicts()]
    print(jsontext.write({"by": metric, "rows": rows}))


def explain(target: Path, what: list[str], *, data: str | None, settings: list[str], as_json: bool) -> None:
    if target.is_dir():
        if len(what) != 2 or not what[0].isdigit():
            raise InputError([Problem("explain", f"expected RUN BRANCH DATE, got {' '.join([str(target), *what])}")])
        with Run(target) as run:
            sweep = branch_sweep(run, int(what[0]))
    else:
        sweep = tree_sweep(target, data, settings)
    _show_decision(sweep, _day(what[-1], "DATE"), as_json)


def backtest(tree: Path, out: Path, *, data: str | None, settings: list[str], as_json: bool) -> None:
    found = run_backtest(tree_sweep(tree, data, settings), out)
    if as_json:
        print(jsontext.write(found))
    else:
        text.show_backtest(found)


def today(tree: Path, *, data: str | None, settings: list[str], as_json: bool) -> None:
    _show_decision(tree_sweep(tree, data, settings), None, as_json)


def needle(
    tree: Path, design: dict[str, Any], *, data: str | None, out: Path, local: bool, address: str | None,
    workers: int | None, settings: list[str], as_json: bool,
) -> None:  # fmt: skip
    as_written = tree_sweep(tree, data, settings)
    around = tree_sweep(tree, data, [*settings, f"design={jsontext.write(design)}"])
    executor = _executor(local, address, workers, workers or os.cpu_count() or 1)
    with text.ProgressDisplay() as display:
        found = run_needle(as_written, around, executor, out, on_progress=display.update)
    print(jsontext.write(found) if as_json else "\n".join(text.needle_lines(found)))


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
