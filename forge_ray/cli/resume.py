"""What a command that was interrupted says: what is committed, and how to go on."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Sequence

RESUMABLE = ("run", "needle")
ONCE_ONLY = ("--fresh", "--take-over")

_COMMITTED = threading.Event()


def note_commit() -> None:
    """A block of this command is committed."""
    _COMMITTED.set()


def how_to_go_on(arguments: Sequence[str]) -> str:
    """arguments : of the command line. What is for once is done once something is committed."""
    if not arguments or arguments[0] not in RESUMABLE:
        return "nothing is left half-done"
    if _COMMITTED.is_set():
        arguments = [word for word in arguments if word not in ONCE_ONLY]
    elif any(word in ONCE_ONLY for word in arguments):
        return f"no block is committed yet, begin again with: {_command(arguments)}"
    return f"finished blocks are committed, go on with: {_command(arguments)}"


def _command(arguments: Sequence[str]) -> str:
    return shlex.join(["forge-ray", *arguments])
