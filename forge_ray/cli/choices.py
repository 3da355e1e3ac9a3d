"""What commands that compute let their user choose: who computes, and where the rows go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from forge_ray.errors import InputError, Problem
from forge_ray.run import Executor, check_timeline, choose_executor


@dataclass(frozen=True)
class Workers:
    """Who computes: the options of `choose_executor` as the command line has them."""

    local: bool
    address: str | None
    allow_unauthenticated: bool
    workers: int | None
    threads: int = 1
    block_timeout: float | None = None
    timeline: Path | None = None

    def check(self) -> None:
        """Raises `InputError` for what threads of this process cannot do, and for a timeline that cannot be written."""
        if self.local:
            given = (
                ("--block-timeout", self.block_timeout is not None, "cannot be ended"),
                ("--address", self.address is not None, "join no cluster"),
                ("--allow-unauthenticated", self.allow_unauthenticated, "join no cluster"),
            )
            why = "threads of this process {}; leave out --local"
            if wrong := [Problem(name, why.format(text)) for name, is_given, text in given if is_given]:
                raise InputError(wrong)
        if self.timeline:
            with named_as_options("timeline"):
                check_timeline(self.timeline, ray=not self.local)

    def executor(self) -> Executor:
        with named_as_options("threads"):
            return choose_executor(
                ray=not self.local, workers=self.workers, threads=self.threads, address=self.address,
                allow_unauthenticated=self.allow_unauthenticated, block_seconds=self.block_timeout,
                timeline=self.timeline,
            )  # fmt: skip


@dataclass(frozen=True)
class Into:
    """Where the rows go: the options of `execute` as the command line has them."""

    out: Path
    fresh: bool
    take_over: bool
    sink: str | None = None


@contextmanager
def named_as_options(*parameters: str) -> Iterator[None]:
    """Mistakes in parameters of a function are mistakes in the options that stand for them."""
    try:
        yield
    except InputError as error:
        named = [replace(p, place=f"--{p.place}") if p.place in parameters else p for p in error.problems]
        raise type(error)(named) from error
