"""The error tree: every error names its place, the value it met and what is allowed.

A *place* is a JSON path (``tree.conditions[0].window``), a file, a ticker with a date, or a branch.
Input errors carry all mistakes of a file at once; each mistake is one `Problem`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

MAX_LISTED = 100
MAX_SHOWN = 60
MAX_BITS = 10_000


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where it is and what is wrong there."""

    place: str
    message: str

    def __str__(self) -> str:
        return printable(f"{self.place}: {self.message}" if self.place else self.message)


class ForgeRayError(Exception):
    """Base of all errors of forge_ray. `exit_code` is what the command line ends with."""

    exit_code = 1


class InputError(ForgeRayError):
    """The input is wrong: a job, a tree, market data or an argument. Holds every problem found."""

    exit_code = 2

    def __init__(self, problems: Iterable[Problem]):
        self.problems = tuple(problems)
        lines = [str(problem) for problem in self.problems[:MAX_LISTED]]
        if (more := len(self.problems) - MAX_LISTED) > 0:
            lines.append(f"and {more:,} more")
        super().__init__("\n".join(lines))

    def __reduce__(self):
        return type(self), (self.problems,)


class DataError(InputError):
    """Market data cannot be used: names file, ticker, date and value."""


class CapacityError(InputError):
    """What was asked for does not fit: names the size and the limit."""


class StoreError(ForgeRayError):
    """A result store cannot be read or written: names the path."""


class DiskError(StoreError):
    """The disk refuses: names path, what it says and the bytes that are free. What is committed stays as it is, and the
    same command goes on once there is room."""

    exit_code = 4


class CorruptPartError(StoreError):
    """A committed file does not hold what was committed: names the file, what is wrong there, and what helps."""

    def __init__(self, path: str, what: str, remedy: str):
        super().__init__(path, what, remedy)
        self.path, self.what, self.remedy = path, what, remedy

    def __str__(self) -> str:
        return f"{self.path}: {self.what}; {self.remedy}"


class NondeterminismError(StoreError):
    """The same block was computed twice with different content."""


class ReplacedError(StoreError):
    """What was being read is not what is committed any more: another process computed it anew. To be read again."""


class StoreLockedError(StoreError):
    """Another process holds the run: names its pid and host."""

    exit_code = 2


class EvaluationError(ForgeRayError):
    """Computing a block failed: names the block and the branches."""


class BlockMemoryError(EvaluationError):
    """A block needs more memory than there is, in whatever pieces it is evaluated: names the block."""


class IncompleteRunError(ForgeRayError):
    """A run ended before all its blocks were committed; it can be resumed."""

    exit_code = 4


def printable(text: str) -> str:
    """Text as it is but for what a terminal obeys or hides: names of files and tickers come from anybody."""
    return text if text.isprintable() else "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def nearest(value: str, allowed: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the allowed name closest to `value`, or an empty string."""
    by_lower = {str(name).lower(): str(name) for name in allowed}
    close = difflib.get_close_matches(value.lower(), by_lower, n=1, cutoff=0.6) if len(value) <= MAX_SHOWN else []
    return f" (did you mean {by_lower[close[0]]!r}?)" if close else ""


def unknown(place: str, what: str, value: object, allowed: Iterable[str]) -> Problem:
    """The problem of a name outside a closed set: value, nearest name and the whole set."""
    names = list(map(str, allowed))
    hint = nearest(value, names) if isinstance(value, str) else ""
    return Problem(place, f"unknown {what} {shown(value)}{hint}; allowed: {listed(names)}")


def wrong(data: Mapping[str, object], key: str, what: str) -> str:
    """What a field should hold against what it holds: ``expected …, got …``, or ``missing; expected …``."""
    return f"expected {what}, got {shown(data[key])}" if key in data else f"missing; expected {what}"


def listed(names: Iterable[str], most: int = MAX_LISTED) -> str:
    """Names in a row, each as in `step`; only the first ones if they are many."""
    names = list(names)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(step, names[:most])) + more or "nothing"


def step(name: str, limit: int = MAX_SHOWN) -> str:
    """A name from the input as part of a place: as it is, or as `shown` if it is blank, long or not printable."""
    return name if name.strip() and name.isprintable() and len(name) <= limit else shown(name, limit)


def shown(value: object, limit: int = MAX_SHOWN) -> str:
    """`repr` of a JSON value of any depth and size, cut to `limit` characters and free of control characters."""
    text = ""
    for piece in _pieces(value, limit):
        text += piece
        if len(text) > limit:  # before the next piece: no level is entered that would not be seen
            return text[: limit - 1] + "…"
    return text


def _pieces(value: object, limit: int) -> Iterator[str]:
    """The `repr` of a value bit by bit; every level gives a bracket before it is gone into."""
    match value:
        case dict() if value:
            for k, (key, item) in enumerate(value.items()):
                yield ", " if k else "{"
                yield from _pieces(key, limit)
                yield ": "
                yield from _pieces(item, limit)
            yield "}"
        case list() if value:
            for k, item in enumerate(value):
                yield ", " if k else "["
                yield from _pieces(item, limit)
            yield "]"
        case str():
            yield repr(value[: limit + 1])
        case int() if value.bit_length() > MAX_BITS:  # Python refuses to write it
            yield f"a number of {value.bit_length():,} bits"
        case _:
            yield repr(value)
