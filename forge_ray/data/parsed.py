"""Tickers as they were parsed, in memory-mapped Arrow files, so that a later load maps instead of parsing.

1. The key of a ticker is a hash over every byte of its file, how that is read (as what kind of file, of one ticker or
   of many), what is asked of it, and the code that reads files. A source that changed has other keys, so what is here
   is never old. The file is hashed before it is parsed and again after: nothing is kept of one that changed meanwhile.
2. `KEY.CHECKSUM.arrow` holds its bars. The checksum is over all bytes of the file, and verified before Arrow reads one
   of them. What does not match is removed, and the ticker is parsed again.

Only bars that passed every check are kept. When a load fails, `load` reads again without this, so that what is said
does not depend on it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from forge_ray.data.columns import Wanted
from forge_ray.data.folder import CacheFolder
from forge_ray.data.histories import Bars
from forge_ray.data.sources import Market

log = logging.getLogger(__name__)

_END = ".arrow"
_PRICES = ("dates", "close", "adjusted")


@dataclass(eq=False)
class ParsedMarket:
    """What a folder of parsed tickers has of a market, and takes from it, for one reading."""

    folder: CacheFolder
    market: Market
    request: str
    hashes: dict[Path, bytes | None] = field(default_factory=dict)
    unchanged: dict[Path, bool] = field(default_factory=dict)
    can_write: bool = True
    wrote: bool = False

    @classmethod
    def of(
        cls, folder: CacheFolder, market: Market, wanted: Wanted, clean: Iterable[str], columns: Mapping[str, str]
    ) -> ParsedMarket:
        """`wanted`, `clean` and `columns` are what shapes the bars besides the bytes of the file."""
        return cls(folder, market, json.dumps([wanted.needed, wanted.optional, [*clean], columns], sort_keys=True))

    def find(self, ticker: str) -> Bars | None:
        """The bars of a ticker, its arrays mapped; None if they are not here."""
        key = self._key(ticker)
        if key is None or (name := self._names.get(key)) is None:
            return None
        path = self.folder.path / name
        data = _mapped(path)
        is_whole = data is not None and name == f"{key}.{_checksum(key, data)}{_END}"
        with suppress(OSError):  # what cannot be touched or removed is as good, or as bad, where it is
            os.utime(path) if is_whole else path.unlink()
        return _bars(data, ticker) if data is not None and is_whole else None

    def keep(self, bars: Bars) -> Bars:
        """Keep the bars of a ticker that was just parsed. Returns them mapped, or as they are if they cannot be."""
        key = self._key(bars.ticker)
        if key is None or not self.can_write or not self._is_unchanged(bars.ticker):
            return bars
        data = _encoded(bars)
        path = self.folder.path / f"{key}.{_checksum(key, data)}{_END}"
        try:
            with self.folder.beside() as beside:
                beside.write_bytes(data)
                beside.replace(path)
        except OSError as error:
            self.can_write = False
            log.warning("tickers are not kept parsed: %s: %s; set FORGE_RAY_CACHE", path.parent, error.strerror)
            return bars
        self.wrote = True
        written = _mapped(path)
        return bars if written is None else _bars(written, bars.ticker)

    def done(self) -> None:
        """The reading is over."""
        if self.wrote:
            self.folder.trim()

    @cached_property
    def _names(self) -> dict[str, str]:
        """File names by key. Whatever else lies there has a name that is no key."""
        return {entry.name.partition(".")[0]: entry.name for entry in self.folder.files() if entry.name.endswith(_END)}

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


def _checksum(key: str, data: pa.Buffer) -> str:
    """Of the bytes under their key: under another one they are as good as damaged."""
    return hashlib.blake2b(data, key=key.encode(), digest_size=16).hexdigest()


def _encoded(bars: Bars) -> pa.Buffer:
    arrays = {"dates": bars.dates, "close": bars.close, **bars.others}
    arrays |= {} if bars.adjusted is None else {"adjusted": bars.adjusted}
    table = pa.table(arrays, metadata={"cleaned": json.dumps(dict(bars.cleaned))})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _mapped(path: Path) -> pa.Buffer | None:
    """The bytes of a file, None if it is gone or cut to nothing. The mapping outlives the open file."""
    try:
        with pa.memory_map(str(path)) as file:
            return file.read_buffer()
    except (OSError, pa.ArrowException):
        return None


def _bars(data: pa.Buffer, ticker: str) -> Bars:
    """The bars in the bytes of a file that is known to be whole."""
    table = pa.ipc.open_file(data).read_all()
    arrays = {name: _array(table[name].chunk(0)) for name in table.column_names}
    others = {name: values for name, values in arrays.items() if name not in _PRICES}
    cleaned = json.loads((table.schema.metadata or {})[b"cleaned"])
    return Bars(ticker, arrays["dates"], arrays["close"], arrays.get("adjusted"), others, cleaned)


def _array(column: pa.Array) -> np.ndarray:
    """The values where they lie; Arrow's own conversion would import pandas."""
    kind = np.int64 if pa.types.is_int64(column.type) else np.float64
    return np.frombuffer(column.buffers()[1], kind, len(column), column.offset * 8)
