"""The command line: `forge-ray run | plan | validate | import | atoms | needle | audit | compare | report | …`.

stdout is for results (`--json` everywhere), stderr for people. Exit codes: 0 done, 1 internal error, 2 bad input,
3 nothing passed (with `--strict`), 4 incomplete, 130 / 143 interrupted and resumable.
Heavy imports happen inside the commands, so that `--help` is immediate.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from forge_ray.errors import ForgeRayError, InputError

app = typer.Typer(
    name="forge-ray",
    help="Search the whole parameter space of a trading-strategy tree.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

data_app = typer.Typer(help="Look at market data before a job uses them.", no_args_is_help=True)
app.add_typer(data_app, name="data")

JobArgument = Annotated[Path, typer.Argument(help="Job file (JSON).", show_default=False)]
RunArgument = Annotated[Path, typer.Argument(help="Folder of a run, such as runs/<run id>.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
SetOption = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a field of the job.")]

OutOption = Annotated[Path, typer.Option(help="Where runs are stored.", file_okay=False)]
LocalOption = Annotated[bool, typer.Option("--local", help="In this process, on threads, without Ray.")]
AddressOption = Annotated[str | None, typer.Option(help="Ray cluster to join; default RAY_ADDRESS, else embedded.")]
WorkersOption = Annotated[int | None, typer.Option(min=1, help="Workers; default one per CPU.")]

INTERRUPTED, TERMINATED = 130, 143


class TerminatedError(BaseException):
    """SIGTERM arrived: unwind, commit what is finished, exit 143."""


def main() -> None:
    """Entry point: runs a command and turns errors into messages and exit codes."""
    signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        code = app(standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except TerminatedError:
        code = TERMINATED
    except ForgeRayError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except typer.TyperException as error:
        if message := getattr(error, "format_message", error.__str__)():
            print(f"error: {message}", file=sys.stderr)
        code = InputError.exit_code
    if code in (INTERRUPTED, TERMINATED):
        print("interrupted; what is finished is committed, the same command goes on from there", file=sys.stderr)
    sys.exit(code)


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    raise TerminatedError


@app.command()
def run(
    job: JobArgument,
    out: OutOption = Path("runs"),
    local: LocalOption = False,
    address: AddressOption = None,
    workers: WorkersOption = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Throw an existing run of this job away first.")] = False,
    take_over: Annotated[bool, typer.Option("--take-over", help="Take the run from a driver that hangs.")] = False,
    sink: Annotated[str | None, typer.Option(help="sqlite: keep the rows in RUN/results.sqlite too.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 3 if no branch passes.")] = False,
    settings: SetOption = [],
    as_json: JsonOption = False,
) -> None:
    """Run a sweep, on Ray unless --local. Finished runs are found again, killed ones go on."""
    from forge_ray.cli import commands

    result = commands.run(
        job, settings, out=out, local=local, address=address, workers=workers, fresh=fresh, take_over=take_over,
        sink=sink, as_json=as_json,
    )  # fmt: skip
    if strict and not result.passed:
        raise typer.Exit(3)


@app.command()
def plan(job: JobArgument, settings: SetOption = [], as_json: JsonOption = False) -> None:
    """Say what a job would do: branches, distinct work, start and what limits it, memory, seconds. Runs nothing."""
    from forge_ray.cli import commands

    commands.plan(job, settings, as_json=as_json)


@app.command()
def validate(
    file: Annotated[Path, typer.Argument(help="Job or tree file (JSON).", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Check a job or a tree and list every mistake."""
    from forge_ray.cli import commands

    commands.validate(file, as_json=as_json)


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="Composer symphony, QuantMage spell, Atlas tree, bot or Forge job.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Job file to write; default stdout.")] = None,
    options: Annotated[
        list[str], typer.Option("--option", metavar="KEY=VALUE", help="A choice, such as composer.rsi=simple.")
    ] = [],
    as_json: JsonOption = False,
) -> None:
    """Turn a file of another program into a job; repairs and open points go to stderr."""
    from forge_ray.cli import foreign

    foreign.import_file(file, out, options, as_json=as_json)


@app.command("export")
def export_file(
    file: Annotated[Path, typer.Argument(help="Job or tree file (JSON).", show_default=False)],
    to: Annotated[str, typer.Option("--to", help="composer, composer-json or atlas.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="File to write; default stdout.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a tree as a file of another program, or list every place that it cannot express."""
    from forge_ray.cli import foreign

    foreign.export_file(file, to, out, as_json=as_json)


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
def atoms(
    file: Annotated[Path, typer.Argument(help="Tree or job file (JSON).", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """What a tree says, each thing once: words for the "at" of an axis, number of places, fields."""
    from forge_ray.cli import commands

    commands.atoms(file, as_json=as_json)


DataOption = Annotated[
    str | None,
    typer.Option(help="Sample, folder or file; default sample:us20 for a tree, its own for a job."),
]
TreeArgument = Annotated[Path, typer.Argument(help="Tree file, or a job of one branch.", show_default=False)]


@app.command()
def explain(
    target: Annotated[
        Path, typer.Argument(help="Tree file, job of one branch, or folder of a run.", show_default=False)
    ],
    what: Annotated[list[str], typer.Argument(metavar="[BRANCH] DATE", help="For a run the branch; the date.")],
    data: DataOption = None,
    settings: SetOption = [],
    as_json: JsonOption = False,
) -> None:
    """Why a tree, or a branch of a run, held what it held on a day: the path, each condition, the weights."""
    from forge_ray.cli import commands

    commands.explain(target, what, data=data, settings=settings, as_json=as_json)


@app.command()
def compare(
    target: Annotated[
        Path, typer.Argument(help="Tree file, job of one branch, or folder of a run.", show_default=False)
    ],
    what: Annotated[
        list[str], typer.Argument(metavar="[BRANCH] ALLOCATIONS", help="For a run the branch; the CSV file.")
    ],
    shift: Annotated[int, typer.Option(min=-1000, max=1000, help="Bars that the dates of the file are late.")] = 0,
    tolerance: Annotated[float, typer.Option(help="What a weight may be off; 0.005 is half a percent point.")] = 0.005,
    unit: Annotated[str | None, typer.Option(help="percent or fraction, if the file does not show it.")] = None,
    n: Annotated[int, typer.Option("-n", min=0, max=1_000_000, help="Differences to explain.")] = 5,
    options: Annotated[
        list[str], typer.Option("--option", metavar="ticker.OLD=NEW", help="Rename a ticker of the file.")
    ] = [],
    data: DataOption = None,
    settings: SetOption = [],
    as_json: JsonOption = False,
) -> None:
    """What a tree, or a branch of a run, holds against a table of dates, tickers and weights, and why they differ."""
    from forge_ray.cli import commands

    commands.compare(
        target, what, shift=shift, tolerance=tolerance, unit=unit, n=n, options=options, data=data,
        settings=settings, as_json=as_json,
    )  # fmt: skip


@app.command()
def backtest(
    tree: TreeArgument,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for returns, weights and trades.")],
    data: DataOption = None,
    settings: SetOption = [],
    as_json: JsonOption = False,
) -> None:
    """One tree: all metrics, best and worst days; returns, weights and trades as Parquet and CSV."""
    from forge_ray.cli import commands

    commands.backtest(tree, out, data=data, settings=settings, as_json=as_json)


@app.command()
def today(
    tree: TreeArgument,
    data: DataOption = None,
    settings: SetOption = [],
    as_json: JsonOption = False,
) -> None:
    """The decision of the last bar: target weights, and how far each condition is from flipping."""
    from forge_ray.cli import commands

    commands.today(tree, data=data, settings=settings, as_json=as_json)


@app.command()
def needle(
    tree: TreeArgument,
    neighbours: Annotated[int, typer.Option(min=1, help="How many, all single changes among them.")] = 100_000,
    changes: Annotated[int, typer.Option(min=1, max=3, help="Numbers that a neighbour changes at most.")] = 3,
    window: Annotated[str, typer.Option(help="How far windows move.")] = "±20%",
    threshold: Annotated[str, typer.Option(help="How far thresholds move.")] = "±5%",
    seed: Annotated[int, typer.Option(min=0, help="Of the sample.")] = 1,
    data: DataOption = None,
    out: OutOption = Path("runs"),
    local: LocalOption = False,
    address: AddressOption = None,
    workers: WorkersOption = None,
    settings: SetOption = [],
    as_json: JsonOption = False,
) -> None:
    """Plateau or needle: a tree among its neighbours, its fragile conditions, days decided by a hair."""
    from forge_ray.cli import commands

    design = {
        "kind": "neighbourhood", "changes": changes, "window": window, "threshold": threshold, "sample": neighbours,
        "seed": seed,
    }  # fmt: skip
    commands.needle(
        tree, design, data=data, out=out, local=local, address=address, workers=workers, settings=settings,
        as_json=as_json,
    )  # fmt: skip


@app.command()
def audit(
    tree: TreeArgument,
    cuts: Annotated[int, typer.Option(min=1, help="Bars to cut the history at; all if they are fewer.")] = 250,
    seed: Annotated[int, typer.Option(min=0, help="Of the cuts and of the other prices.")] = 1,
    data: DataOption = None,
    settings: SetOption = [],
    as_json: JsonOption = False,
) -> None:
    """Look for look-ahead: other prices from a bar on, or none, change nothing decided before. Exit code 1 if so."""
    from forge_ray.cli import commands

    found = commands.audit(tree, cuts, seed, data=data, settings=settings, as_json=as_json)
    if found.leaks:
        raise typer.Exit(ForgeRayError.exit_code)


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


if __name__ == "__main__":
    main()
