"""Commands about one tree.

Heavy imports happen inside the commands, so that `--help` is immediate.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forge_ray.cli.options import (
    AddressOption,
    AllowOption,
    DataOption,
    FreshOption,
    JsonOption,
    LocalOption,
    OutOption,
    SetOption,
    TakeOverOption,
    TreeArgument,
    WorkersOption,
    app,
)
from forge_ray.errors import ForgeRayError


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
def atoms(
    file: Annotated[Path, typer.Argument(help="Tree or job file (JSON).", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """What a tree says, each thing once: words for the "at" of an axis, number of places, fields."""
    from forge_ray.cli import commands

    commands.atoms(file, as_json=as_json)


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
    neighbours: Annotated[
        int | None, typer.Option(min=1, help="How many, all single changes among them; default 100,000.")
    ] = None,
    changes: Annotated[
        int | None, typer.Option(min=1, max=3, help="Numbers that a neighbour changes at most; default 3.")
    ] = None,
    window: Annotated[str | None, typer.Option(help="How far windows move; default ±20%.")] = None,
    threshold: Annotated[str | None, typer.Option(help="How far thresholds move; default ±5%.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the sample; default 1.")] = None,
    data: DataOption = None,
    out: OutOption = Path("runs"),
    local: LocalOption = False,
    address: AddressOption = None,
    allow_unauthenticated: AllowOption = False,
    workers: WorkersOption = None,
    fresh: FreshOption = False,
    take_over: TakeOverOption = False,
    settings: SetOption = [],
    as_json: JsonOption = False,
) -> None:
    """Plateau or needle: a tree among its neighbours, its fragile conditions, days decided by a hair."""
    from forge_ray.cli import choices, commands

    asked = {"sample": neighbours, "changes": changes, "window": window, "threshold": threshold, "seed": seed}
    by = choices.Workers(local, address, allow_unauthenticated, workers)
    into = choices.Into(out, fresh, take_over)
    commands.needle(tree, asked, by, into, data=data, settings=settings, as_json=as_json)


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
