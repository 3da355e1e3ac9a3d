"""The command line: `forge-ray run | plan | plane | validate | import | atoms | needle | audit | compare | pool | …`.

stdout is for results (`--json` everywhere), stderr for people. Exit codes: 0 done, 1 internal error, 2 bad input,
3 nothing passed (with `--strict`), 4 incomplete, 130 / 143 interrupted and resumable.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType

import typer

from forge_ray.cli import jobs, pool, trees  # noqa: F401 their commands join the application
from forge_ray.cli.options import app
from forge_ray.errors import ForgeRayError, InputError

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


if __name__ == "__main__":
    main()
