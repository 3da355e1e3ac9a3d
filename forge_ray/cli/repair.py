"""`forge-ray verify` and `forge-ray repair`: is a stored run what was committed, and if not, make it so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from forge_ray.cli.options import JsonOption, RunArgument, TakeOverOption, WorkersOption, app

if TYPE_CHECKING:
    from forge_ray.run import Repaired, Verified
    from forge_ray.store import Damage

DAMAGED = 1


@app.command()
def verify(run: RunArgument, as_json: JsonOption = False) -> None:
    """Compare every byte of a run with what was committed: what is damaged, and what helps. Ends with 1 if any is."""
    import msgspec

    from forge_ray import jsontext
    from forge_ray.run import verify

    found = verify(run)
    print(jsontext.write(msgspec.to_builtins(found)) if as_json else "\n".join(verified_lines(found)))
    if found.damaged:
        raise typer.Exit(DAMAGED)


@app.command()
def repair(
    run: RunArgument,
    workers: WorkersOption = None,
    take_over: TakeOverOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compute the damaged blocks of a run again, exactly these. Ends with 1 if something is damaged still."""
    import msgspec

    from forge_ray import jsontext
    from forge_ray.run import choose_executor, repair

    found = repair(run, choose_executor(ray=False, workers=workers), take_over=take_over)
    print(jsontext.write(msgspec.to_builtins(found)) if as_json else "\n".join(repaired_lines(found)))
    if found.left:
        raise typer.Exit(DAMAGED)


def verified_lines(found: Verified) -> list[str]:
    """One line if all is well, else each damaged file and what to do."""
    size = f"{found.blocks:,} blocks, {found.branches:,} branches"
    if not found.damaged:
        return [f"{found.path}: sound; {size}, every byte as it was committed"]
    n_blocks = len({damage.block for damage in found.damaged if damage.block})
    return [f"{found.path}: DAMAGED; {size}, {n_blocks:,} blocks damaged", *_damage_lines(found.damaged)]


def repaired_lines(found: Repaired) -> list[str]:
    """What was done, and what is left to do by hand."""
    done = [f"block [{lo}, {hi}): computed again, equal to what was committed" for lo, hi in found.blocks]
    if found.copied:
        done.append("results.sqlite: made anew")
    return [f"{found.path}: {'DAMAGED still' if found.left else 'sound'}", *done, *_damage_lines(found.left)]


def _damage_lines(damaged: Sequence[Damage]) -> list[str]:
    """Each damage, then each thing that helps, once."""
    return [*map(str, damaged), *dict.fromkeys(damage.remedy for damage in damaged)]
