"""Commands about jobs, runs, data and this machine.

Heavy imports happen inside the commands, so that `--help` is immediate.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forge_ray.cli.options import (
    AddressOption,
    AllowOption,
    FreshOption,
    JobArgument,
    JsonOption,
    LocalOption,
    LogFormatOption,
    OutOption,
    RunArgument,
    SetOption,
    TakeOverOption,
    WorkersOption,
    app,
    data_app,
)
from forge_ray.errors import IncompleteRunError, InputError


@app.command()
def run(
    job: JobArgument,
    out: OutOption = Path("runs"),
    local: LocalOption = False,
    address: AddressOption = None,
    allow_unauthenticated: AllowOption = False,
    workers: WorkersOption = None,
    threads: Annotated[int, typer.Option(min=1, help="Of each worker on Ray; they share its cache.")] = 1,
    fresh: FreshOption = False,
    take_over: TakeOverOption = False,
    sink: Annotated[str | None, typer.Option(help="sqlite: keep the rows in RUN/results.sqlite too.")] = None,
    block_timeout: Annotated[
        float | None, typer.Option(min=1, help="Seconds after which a worker hangs; default by what is predicted.")
    ] = None,
    timeline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write Ray's timeline here (JSON for a trace viewer).")
    ] = None,
    log_format: LogFormatOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 3 if no branch passes.")] = False,
    settings: SetOption = [],
    as_json: JsonOption = False,
) -> None:
    """Run a sweep, on Ray unless --local. Finished runs are found again, killed ones go on."""
    from forge_ray.cli import choices, commands

    by = choices.Workers(local, address, allow_unauthenticated, workers, threads, block_timeout, timeline)
    into = choices.Into(out, fresh, take_over, sink)
    result = commands.run(job, settings, by, into, log_format=log_format, as_json=as_json)
    if strict and not result.passed:
        raise typer.Exit(3)


@app.command()
def plan(job: JobArgument, settings: SetOption = [], as_json: JsonOption = False) -> None:
    """Say what a job would do: branches, distinct work, start and what limits it, memory, seconds. Runs nothing."""
    from forge_ray.cli import commands

    commands.plan(job, settings, as_json=as_json)


@app.command()
def plane(
    job: JobArgument,
    metrics: Annotated[
        list[str], typer.Option("--metric", metavar="COLUMN", help="Such as oos_sharpe; may be repeated.")
    ] = [],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="NumPy archive (.npz) to write the plane to.", show_default=False)
    ] = None,
    workers: WorkersOption = None,
    settings: SetOption = [],
    as_json: JsonOption = False,
) -> None:
    """Every pair of thresholds of a job's two exact axes, as a step function and no rows."""
    from forge_ray.cli import commands

    commands.plane(job, settings, metrics=metrics, out=out, workers=workers, as_json=as_json)


@app.command()
def validate(
    file: Annotated[Path, typer.Argument(help="Job or tree file (JSON).", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Check a job or a tree and list every mistake."""
    from forge_ray.cli import commands

    commands.validate(file, as_json=as_json)


@app.command()
def top(
    run: RunArgument,
    by: Annotated[str | None, typer.Option(help="Metric column, such as is_sharpe.")] = None,
    n: Annotated[int, typer.Option("-n", min=1, max=1_000_000, help="Rows.")] = 10,
    where: Annotated[str | None, typer.Option(help="Only rows with, e.g. 'oos_sharpe > 0.5 and n < 10'.")] = None,
    as_json: JsonOption = False,
) -> None:
    """The best branches of a run."""
    from forge_ray.cli import commands

    commands.top(run, by=by, n=n, where=where, as_json=as_json)


@app.command()
def show(
    run: RunArgument,
    branch: Annotated[int, typer.Argument(min=0, help="Branch number.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """One branch: its values, every metric of every segment (with the reason of each null), its tree."""
    from forge_ray.cli import commands

    commands.show(run, branch, as_json=as_json)


@app.command()
def status(
    run: RunArgument,
    watch: Annotated[bool, typer.Option("--watch", help="Until the run ends.")] = False,
    as_json: JsonOption = False,
) -> None:
    """How a run stands, while it goes on or afterwards: progress, pace, the best so far. Exit code 4 if interrupted."""
    from forge_ray.cli.status import show_status

    found = show_status(run, watch=watch, as_json=as_json)
    if found.state == "interrupted":
        raise typer.Exit(IncompleteRunError.exit_code)


@app.command()
def report(
    run: RunArgument,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="File to write; default RUN/report.html.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a run's report: one HTML page that needs no network."""
    from forge_ray.cli import commands

    commands.report(run, out=out, as_json=as_json)


@app.command()
def doctor(
    out: Annotated[Path, typer.Option(help="Where runs are stored.")] = Path("runs"), as_json: JsonOption = False
) -> None:
    """Look at this machine: versions, cores, memory, /dev/shm, disk, Ray and its token, compiled kernels."""
    from forge_ray.cli import commands

    commands.doctor(out, as_json=as_json)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(context: typer.Context) -> None:
    """Measure forge_ray against other ways of doing the same, from a checkout: --quick, --only W1,W3, --json."""
    from forge_ray.cli.bench import bench

    raise typer.Exit(bench(context.args))


@data_app.command("check")
def check_data(
    source: Annotated[str, typer.Argument(help="Sample, folder, or one Parquet or CSV file.", show_default=False)],
    tickers: Annotated[str, typer.Option(metavar="A,B", help="Only these; default all.", show_default=False)] = "",
    columns: Annotated[
        list[str], typer.Option(metavar="OURS=THEIRS", help="What the source calls a column: Close=px_last.")
    ] = [],
    start: Annotated[str | None, typer.Option(metavar="DATE", help="Leave out earlier bars.")] = None,
    end: Annotated[str | None, typer.Option(metavar="DATE", help="Leave out later bars.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Gaps, splits, outliers, stale prices, bad rows, calendars. Findings are no error; what cannot be read is."""
    from forge_ray.cli import commands

    found = commands.check_data(source, tickers, columns=columns, start=start, end=end, as_json=as_json)
    if found.unreadable:
        raise typer.Exit(InputError.exit_code)
