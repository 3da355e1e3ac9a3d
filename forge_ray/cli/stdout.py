"""Where results go: a stdout that is full is one error, and one that nobody reads any more ends the command quietly."""

from __future__ import annotations

import io
import os
import signal
import sys
from pathlib import Path
from typing import Any

from forge_ray.errors import DiskError


def guard_stdout() -> None:
    """Let whatever this process prints from now on fail so. Where stdout was closed, nothing is printed; where somebody
    has put another stream in its place, that is his."""
    if sys.stdout is not sys.__stdout__:
        return
    if (before := sys.stdout) is None:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 it is open for as long as the process
        return
    guarded = _Guarded(io.FileIO(before.fileno(), "wb", closefd=False))
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(guarded), before.encoding, before.errors, line_buffering=bool(before.line_buffering)
    )


class _Guarded(io.RawIOBase):
    """Hands on what is written, until that fails: then it raises, once, and the rest is dropped."""

    def __init__(self, stream: io.FileIO):
        self.stream, self.is_broken = stream, False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.stream.fileno()

    def isatty(self) -> bool:
        return self.stream.isatty()

    def write(self, data: Any) -> int | None:
        if self.is_broken:
            return memoryview(data).nbytes
        try:
            return self.stream.write(data)
        except BrokenPipeError:
            self.is_broken = True
            raise SystemExit(128 + signal.SIGPIPE) from None
        except OSError as error:
            self.is_broken = True
            raise DiskError(f"stdout: {error.strerror}") from error
