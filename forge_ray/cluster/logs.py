"""Logs: which run and which block a record is about, and how it looks, as a line for people or as one JSON object.

1. `about` says what everything that is logged inside it, by this thread, is about.
2. `Stamp` writes that into every record that a handler gets, with the machine, whoever logged it.
3. A worker keeps its records and hands them back with its next block; the driver logs them as they are. So one stream
   tells of a run, on however many machines it is.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import wraps
from logging.handlers import QueueHandler
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from forge_ray.errors import InputError, printable, unknown

MOST_KEPT = 1_000
"""Records that a worker keeps; the oldest go first."""
_ABOUT: ContextVar[tuple[str | None, tuple[int, int] | None]] = ContextVar("about", default=(None, None))


class Block(Protocol):
    """What a record is about: `work.Work`."""

    @property
    def lo(self) -> int: ...

    @property
    def hi(self) -> int: ...

    @property
    def run_dir(self) -> str: ...


B = TypeVar("B", bound=Block)
D = TypeVar("D")
P = ParamSpec("P")


@contextmanager
def about(run: str, block: tuple[int, int] | None = None) -> Iterator[None]:
    """Whatever this thread logs inside is about that run, and that block [lo, hi)."""
    token = _ABOUT.set((run, block))
    try:
        yield
    finally:
        _ABOUT.reset(token)


def about_work(work: Block) -> AbstractContextManager[None]:
    """As `about`."""
    return about(Path(work.run_dir).name, (work.lo, work.hi))


def run_at_work() -> str | None:
    """The run that this thread is about."""
    return _ABOUT.get()[0]


def logged(do: Callable[Concatenate[B, P], D]) -> Callable[Concatenate[B, P], D]:
    """A function that does a block: what it logs is about that block, and so is one record when it has done it."""
    log = logging.getLogger(do.__module__)

    @wraps(do)
    def do_and_log(work: B, *rest: P.args, **named: P.kwargs) -> D:
        with about_work(work):
            began = time.monotonic()
            done = do(work, *rest, **named)
            seconds = round(time.monotonic() - began, 6)
            log.debug("done in %.3f s", seconds, extra={"facts": {"seconds": seconds}})
            return done

    return do_and_log


class Stamp(logging.Filter):
    """Gives a record ``run``, ``block`` and ``host``, unless it came from a worker with its own."""

    def __init__(self) -> None:
        super().__init__()
        self.host = socket.gethostname()

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "host"):
            record.run, record.block = _ABOUT.get()
            record.host = self.host
        return True


class ForPeople(logging.Formatter):
    """The message, after its level if that is a warning or worse. No text from outside can steer a terminal or begin a
    line of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 named by the library
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        return level + on_one_line(record.message)


class AsJson(logging.Formatter):
    """One JSON object, in ASCII: ``time`` (UTC), ``level``, ``logger``, ``host``, ``process``, ``run``, ``block``
    (``[lo, hi]``; both null for what is about none), ``message``, the ``facts`` that the record carries, and
    ``exception`` if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        named = {"host": getattr(record, "host", None), "process": record.process}
        named |= {"run": getattr(record, "run", None), "block": getattr(record, "block", None)}
        named |= {"message": record.getMessage(), **getattr(record, "facts", {})}
        if record.exc_info:
            named["exception"] = self.formatException(record.exc_info)
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        return json.dumps({"time": at, "level": record.levelname.lower(), "logger": record.name} | named)


def on_one_line(text: str) -> str:
    """A text on one line: what is not printable is written as in a Python string."""
    return printable(text).replace("\n", r"\n")


FORMS: dict[str, type[logging.Formatter]] = {"text": ForPeople, "json": AsJson}


class ToStderr(logging.Handler):
    """Whatever ``sys.stderr`` is at that time."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(self.format(record) + "\n")


def log_to_stderr(form: str, place: str) -> None:
    """Write the log of this process to stderr; a second call changes the form. ``"json"`` has what is told of single
    blocks too. place : who gave the form, for the `InputError` if there is none of that name."""
    if form not in FORMS:
        raise InputError([unknown(place, "form of the log", form, FORMS)])
    handler, root = ToStderr(), logging.getLogger()
    handler.setFormatter(FORMS[form]())
    handler.addFilter(Stamp())
    root.handlers = [*(old for old in root.handlers if not isinstance(old, ToStderr)), handler]
    _own().setLevel(logging.DEBUG if form == "json" else logging.INFO)


def is_json() -> bool:
    """Whether stderr holds JSON objects and nothing else."""
    return any(isinstance(handler.formatter, AsJson) for handler in logging.getLogger().handlers)


class Kept(QueueHandler):
    """Keeps records until they are `taken`, in a form that can travel."""

    def __init__(self) -> None:
        self.records: deque[logging.LogRecord] = deque(maxlen=MOST_KEPT)
        super().__init__(self.records)  # type: ignore[arg-type]
        self.addFilter(Stamp())

    def enqueue(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def taken(self) -> tuple[logging.LogRecord, ...]:
        """The records since the last time."""
        records = tuple(self.records)
        self.records.clear()
        return records


def keep_records() -> Kept:
    """Keep the log of this process, a worker."""
    kept = Kept()
    logging.getLogger().addHandler(kept)
    _own().setLevel(logging.DEBUG)
    return kept


def log_again(records: Iterable[logging.LogRecord]) -> None:
    """Log what a worker has kept."""
    for record in records:
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)


def _own() -> logging.Logger:
    return logging.getLogger("forge_ray")
