"""Tickers as they were parsed, in memory-mapped Arrow files, so that a later load maps instead of parsing.

1. The key of a ticker is a hash over every byte of its file, how that is read (as what kind of file, of one ticker or
   of many), what is asked of it, and the code that reads files. A source that changed has other keys, so what is here
   is never old. The file is hashed before it is parsed and again after: nothing is kept of one that changed meanwhile.
2. `KEY.CHECKSUM.arrow` holds its bars. The checksum is over all bytes of the file, and verified before Arrow reads one
   of them. What does not match is removed, and the ticker is parsed again.
3. Files are written beside their place and renamed, so they appear whole; the folder is private to the user.
4. Beyond a limit of bytes the least recently used files go. Whoever has mapped one keeps it.

Only bars that passed every check are kept. When a load fails, `load` reads again without this, so that what is said
does not depend on it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from forge_ray.data.columns import Wanted
from forge_ray.data.histories import Bars
from forge_ray.data.sources import Market

log = logging.getLogger(__name__)

LIMIT_BYTES = 4 * 2**30
ABANDONED_SECONDS = 3600
_NEW, _END = ".new-", ".arrow"
_PRICES = ("dates", "close", "adjusted")


@dataclass(frozen=True, eq=False)
class ParsedTickers:
    """A folder of parsed tickers, which need not exist; at most `limit_bytes` stay in it."""

    folder: Path
    limit_bytes: int = LIMIT_BYTES

    def files(self) -> list[os.DirEntry[str]]:
        """Everything in the folder; nothing if it cannot be listed."""
        try:
            with os.scandir(self.folder) as entries:
                return [entry for entry in entries if entry.is_file(follow_symlinks=False)]
        except OSError:
            return []

    def trim(self) -> None:
        """Remove what other processes left half-written, and the least recently used files beyond the limit."""
        room, now = self.limit_bytes, time.time()
        with suppress(OSError):  # another process trims too, or the folder is not ours to change
            for stat, entry in sorted(((entry.stat(), entry) for entry in self.files()), key=_last_used, reverse=True):
                room -= stat.st_size
                abandoned = entry.name.startswith(_NEW) and now - stat.st_mtime > ABANDONED_SECONDS
                if abandoned or room < 0:
                    Path(entry.path).unlink(missing_ok=True)


def _last_used(item: tuple[os.stat_result, os.DirEntry[str]]) -> int:
    return item[0].st_mtime_ns


@dataclass(eq=False)
class ParsedMarket:
    """What a folder of parsed tickers has of a market, and takes from it, for one reading."""

    parsed: ParsedTickers
    market: Market
    request: str
    hashes: dict[Path, bytes | None] = field(default_factory=dict)
    unchanged: dict[Path, bool] = field(default_factory=dict)
    can_write: bool = True
    wrote: bool = False

    @classmethod
    def of(
        cls, parsed: ParsedTickers, market: Market, wanted: Wanted, clean: Iterable[str], columns: Mapping[str, str]
    ) -> ParsedMarket:
        """`wanted`, `clean` and `columns` are what shapes the bars besides the bytes of the file."""
        return cls(parsed, market, json.dumps([wanted.needed, wanted.optional, [*clean], columns], sort_keys=True))

    def find(self, ticker: str) -> Bars | None:
        """The bars of a ticker, its arrays mapped; None if they are not here."""
        key = self._key(ticker)
        name = None if key is None else self._names.get(key)
        if name is None:
            return None
        path = self.parsed.folder / name
        bars = _mapped(path, ticker)
        with suppress(OSError):  # what cannot be touched or removed is as good, or as bad, where it is
            path.unlink() if bars is None else os.utime(path)
        return bars

    def keep(self, bars: Bars) -> Bars:
        """Keep the bars of a ticker that was just parsed. Returns them mapped, or as they are if they cannot be."""
        key = self._key(bars.ticker)
        if key is None or not self.can_write or not self._is_unchanged(bars.ticker):
            return bars
        data = _encoded(bars)
        path = self.parsed.folder / f"{key}.{_checksum(data)}{_END}"
        try:
            _write(path, data)
        except OSError as error:
            self.can_write = False
            log.warning("tickers are not kept parsed: %s: %s; set FORGE_RAY_CACHE", path.parent, error.strerror)
            return bars
        self.wrote = True
        return _mapped(path, bars.ticker) or bars

    def done(self) -> None:
        """The reading is over."""
        if self.wrote:
            self.parsed.trim()

    @cached_property
    def _names(self) -> dict[str, str]:
        """File names by key. Whatever else lies there has a name that is no key."""
        return {entry.name.partition(".")[0]: entry.name for entry in self.parsed.files() if entry.name.endswith(_END)}

    def _key(self, ticker: str) -> str | None:
        file = self.market.file_of(ticker)
        if file is None:
            return None
        if file not in self.hashes:
            self.hashes[file] = _hash(file)
        source = self.hashes[file]
        words = (type(self.market).__name__, file.suffix, self.request, ticker)
        return None if source is None else _digest(source, _code(), *(word.encode() for word in words))

    def _is_unchanged(self, ticker: str) -> bool:
        """Whether the file still is what it was before it was parsed."""
        file = self.market.file_of(ticker)
        assert file is not None
        if file not in self.unchanged:
            self.unchanged[file] = _hash(file) == self.hashes[file]
        return self.unchanged[file]


def _hash(file: Path) -> bytes | None:
    """Hash of every byte of a file; None if it cannot be read, which the reader of the file will tell."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "blake2b").digest()
    except OSError:
        return None


@cache
def _code() -> bytes:
    """Hash of whatever turns bytes into bars: the modules of this package and the libraries."""
    digest = hashlib.blake2b(f"pyarrow {pa.__version__} numpy {np.__version__}".encode())
    for module in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(module.name.encode() + module.read_bytes())
    return digest.digest()


def _digest(*parts: bytes) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def _checksum(data: pa.Buffer) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _encoded(bars: Bars) -> pa.Buffer:
    arrays = {"dates": bars.dates, "close": bars.close, **bars.others}
    arrays |= {} if bars.adjusted is None else {"adjusted": bars.adjusted}
    table = pa.table(arrays, metadata={"cleaned": json.dumps(dict(bars.cleaned))})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _mapped(path: Path, ticker: str) -> Bars | None:
    """The bars in a file; None if it is not, byte for byte, what was written. The mapping outlives the open file."""
    try:
        with pa.memory_map(str(path)) as file:
            data = file.read_buffer()
    except (OSError, pa.ArrowException):  # gone meanwhile, or cut to nothing
        return None
    if path.name.split(".")[1:] != [_checksum(data), _END[1:]]:
        return None
    table = pa.ipc.open_file(data).read_all()
    arrays = {name: table[name].chunk(0).to_numpy() for name in table.column_names}
    others = {name: values for name, values in arrays.items() if name not in _PRICES}
    cleaned = json.loads((table.schema.metadata or {})[b"cleaned"])
    return Bars(ticker, arrays["dates"], arrays["close"], arrays.get("adjusted"), others, cleaned)


def _write(path: Path, data: pa.Buffer) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(prefix=_NEW, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(beside).replace(path)
    except OSError:
        Path(beside).unlink(missing_ok=True)
        raise
