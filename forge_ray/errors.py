"""The error tree: every error names its place, the value it met and what is allowed.

A *place* is a JSON path (``tree.conditions[0].window``), a file, a ticker with a date, or a branch.
Input errors carry all mistakes of a file at once; each mistake is one `Problem`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

MAX_LISTED = 100


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where it is and what is wrong there."""

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


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


class CorruptPartError(StoreError):
    """A committed file does not hold the bytes that were committed."""


class NondeterminismError(StoreError):
    """The same block was computed twice with different content."""


class StoreLockedError(StoreError):
    """Another process holds the run: names its pid and host."""

    exit_code = 2


class EvaluationError(ForgeRayError):
    """Computing a block failed: names the block and the branches."""


class IncompleteRunError(ForgeRayError):
    """A run ended before all its blocks were committed; it can be resumed."""

    exit_code = 4


def nearest(value: str, allowed: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the allowed name closest to `value`, or an empty string."""
    by_lower = {str(name).lower(): str(name) for name in allowed}
    close = difflib.get_close_matches(value.lower(), by_lower, n=1, cutoff=0.6)
    return f" (did you mean {by_lower[close[0]]!r}?)" if close else ""


def unknown(place: str, what: str, value: object, allowed: Iterable[str]) -> Problem:
    """The problem of a name outside a closed set: value, nearest name and the whole set."""
    names = list(allowed)
    hint = nearest(value, names) if isinstance(value, str) else ""
    return Problem(place, f"unknown {what} {shown(value)}{hint}; allowed: {', '.join(map(str, names))}")


def shown(value: object, limit: int = 60) -> str:
    """`repr` of a value, cut to `limit` characters and free of control characters."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
