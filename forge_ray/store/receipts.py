"""Receipts: what a worker hands back for a finished block, and all that the catalogue records of it. And what may be
wrong with a record later."""

from __future__ import annotations

import msgspec


class Part(msgspec.Struct, frozen=True):
    """One file of a block: the rows of one table.

    path : relative to the run's folder. bytes, sha256 : of the file. content : hash of the columns, see `content_hash`.
    """

    table: str
    path: str
    rows: int
    bytes: int
    sha256: str
    content: str


class Damage(msgspec.Struct, frozen=True):
    """What is not as it was committed.

    file : its path. remedy : what helps. block : [lo, hi) if it belongs to one.
    """

    file: str
    what: str
    remedy: str
    block: tuple[int, int] | None = None

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


class Receipt(msgspec.Struct, frozen=True):
    """A finished block [lo, hi).

    counts : branches evaluated ("branches"), by status, and how many "passed"; what the work cost. seconds : wall time
    of the evaluation. lost : branches that were left out, as nobody can evaluate them, with the status that their rows
    got instead.
    """

    lo: int
    hi: int
    parts: tuple[Part, ...]
    counts: dict[str, int]
    seconds: float
    lost: tuple[tuple[int, str], ...] = ()
