"""The command line application, and the arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="forge-ray",
    help="Search the whole parameter space of a trading-strategy tree.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

data_app = typer.Typer(help="Look at market data before a job uses them.", no_args_is_help=True)
app.add_typer(data_app, name="data")

pool_app = typer.Typer(help="Workers that stay between jobs, so that the next one starts warm.", no_args_is_help=True)
app.add_typer(pool_app, name="pool")

JobArgument = Annotated[Path, typer.Argument(help="Job file (JSON).", show_default=False)]
RunArgument = Annotated[Path, typer.Argument(help="Folder of a run, such as runs/<run id>.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
SetOption = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a field of the job.")]

OutOption = Annotated[Path, typer.Option(help="Where runs are stored.", file_okay=False)]
LocalOption = Annotated[bool, typer.Option("--local", help="In this process, on threads, without Ray.")]
AddressOption = Annotated[
    str | None, typer.Option(help="Ray cluster to join; default RAY_ADDRESS, else the pool, else embedded.")
]
LogFormatOption = Annotated[
    str | None, typer.Option("--log-format", help="Of stderr, text or json; default FORGE_RAY_LOG, else text.")
]
AllowOption = Annotated[
    bool, typer.Option("--allow-unauthenticated", help="Also a cluster that lets in whoever reaches it.")
]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Throw an existing run of this search away first.")]
TakeOverOption = Annotated[bool, typer.Option("--take-over", help="Take the run from a driver that hangs.")]
WorkersOption = Annotated[int | None, typer.Option(min=1, help="Workers; default one per CPU.")]

DataOption = Annotated[
    str | None,
    typer.Option(help="Sample, folder or file; default sample:us20 for a tree, its own for a job."),
]
TreeArgument = Annotated[Path, typer.Argument(help="Tree file, or a job of one branch.", show_default=False)]
