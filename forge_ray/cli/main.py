"""The command line: `forge-ray run | plan | plane | validate | import | atoms | needle | audit | compare | pool | …`.

stdout is for results (`--json` everywhere), stderr for people. Exit codes: 0 done, 1 internal error, 2 bad input,
3 nothing passed (with `--strict`), 4 incomplete, 130 / 143 interrupted and resumable, 141 nobody reads stdout.

SIGINT and SIGTERM unwind what runs, so that finished blocks are committed. Whatever does not come back from that in
time, a library or a thread inside a long block, is left as it is: what is committed stays, as after `kill -9`.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import NoReturn

import typer

from forge_ray.cli import jobs, pool, repair, trees  # noqa: F401 their commands join the application
from forge_ray.cli.options import app
from forge_ray.cli.resume import how_to_go_on
from forge_ray.cli.stdout import guard_stdout
from forge_ray.cluster.logs import AsJson, is_json, log_to_stderr
from forge_ray.errors import ForgeRayError, InputError, printable

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
EXIT_SECONDS = 1.8
"""`ray job stop` kills after 3 s."""
SHOW_CURSOR = b"\x1b[?25h"
LOG_FORM = "FORGE_RAY_LOG"

log = logging.getLogger(__name__)


class InterruptedBySignal(BaseException):
    """A signal arrived: unwind, commit what is finished, exit with `code`."""

    def __init__(self, number: int):
        self.code = CODES[signal.Signals(number)]


def main() -> None:
    """Entry point: runs a command and ends the process with its exit code."""
    _watch_signals()
    guard_stdout()
    try:
        code = command()
    except (typer.Abort, KeyboardInterrupt):
        _leave(CODES[signal.SIGINT])
    except InterruptedBySignal as interrupted:
        _leave(interrupted.code)
    except SystemExit as ended:
        if ended.code != signal.SIGTERM:
            raise
        _leave(CODES[signal.SIGTERM])  # by Ray's handler, which is in place while a cluster is joined
    sys.exit(code)


def command() -> int:
    """Run the command that ``sys.argv`` names and turn errors into messages; its exit code."""
    try:
        log_to_stderr(os.environ.get(LOG_FORM) or "text", LOG_FORM)
        code = app(standalone_mode=False) or 0
        sys.stdout.flush()
        return code
    except ForgeRayError as error:
        _tell(str(error))
        return error.exit_code
    except typer.TyperException as error:
        if message := getattr(error, "format_message", error.__str__)():
            _tell(message)
        return InputError.exit_code


def _tell(error: str) -> None:
    if is_json():
        log.error("%s", error)
    else:
        print(f"error: {printable(error)}", file=sys.stderr)


def _watch_signals() -> None:
    """Handle signals, and see to it that the process ends in time, also while its main thread cannot."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in CODES:
        signal.signal(number, _interrupt)
    threading.Thread(target=_leave_in_time, args=(woken,), daemon=True).start()


def _interrupt(number: int, frame: FrameType | None) -> None:
    for each in CODES:
        signal.signal(each, signal.SIG_IGN)  # the first one is enough
    raise InterruptedBySignal(number)


def _leave_in_time(woken: int) -> None:
    while (number := os.read(woken, 1)[0]) not in CODES:
        pass
    time.sleep(EXIT_SECONDS)
    if os.isatty(2):
        os.write(2, SHOW_CURSOR)
    _leave(CODES[signal.Signals(number)])


def _leave(code: int) -> NoReturn:
    """Say how to go on and end at once: Python would wait for threads that are inside a block."""
    told = f"interrupted; {how_to_go_on(sys.argv[1:])}"
    if is_json():
        told = AsJson().format(log.makeRecord(log.name, logging.WARNING, __file__, 0, told, (), None))
    with suppress(OSError):  # nobody reads what is said
        os.write(2, f"{told}\n".encode())
    os._exit(code)


if __name__ == "__main__":
    main()
