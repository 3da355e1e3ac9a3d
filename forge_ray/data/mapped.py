"""Fields of a panel in memory-mapped files: one copy on a node, in its page cache, whoever reads it.

1. The rows are written, ticker by ticker, into a file whose space is reserved before; none of it is memory of the
   process, so a panel may be larger than that.
2. A full field is renamed after the hash of its bytes and mapped for reading.
3. To other processes a panel of such fields travels as their names. Where the files are, a process maps them and
   verifies their hash once; where they are not, the fields have to travel (`Panel.in_memory`).
"""

from __future__ import annotations

import hashlib
import logging
import mmap
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from forge_ray.data.build import Blanks, in_memory
from forge_ray.data.folder import CacheFolder
from forge_ray.data.panel import frozen
from forge_ray.errors import DataError, Problem

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FieldFile:
    """A field in a file: float64, C order."""

    path: Path
    shape: tuple[int, int]
    digest: str

    @property
    def n_bytes(self) -> int:
        return 8 * self.shape[0] * self.shape[1]

    def is_here(self) -> bool:
        """Whether this process sees the file."""
        try:
            return self.path.stat().st_size == self.n_bytes
        except OSError:
            return False

    def read(self) -> np.ndarray:
        """The field, mapped and read-only. Raises `DataError` unless every byte is what was written."""
        try:
            with self.path.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:  # ValueError: cut to nothing
            raise DataError([Problem(str(self.path), f"a field of the panel cannot be mapped: {error}")]) from error
        if len(mapped) != self.n_bytes or _digest(memoryview(mapped)) != self.digest:
            raise DataError([Problem(str(self.path), "is not the field of the panel that was written there")])
        return np.frombuffer(mapped).reshape(self.shape)


class MappedFields(Mapping[str, np.ndarray]):
    """Fields by name, each mapped when it is first read. Pickled as the names of its files.

    arrays : of the process that wrote the files.
    """

    def __init__(self, files: Mapping[str, FieldFile], arrays: Mapping[str, np.ndarray] | None = None):
        self.files, self._arrays = dict(files), dict(arrays or {})

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            self._arrays[name] = self.files[name].read()
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def __reduce__(self) -> tuple:
        return MappedFields, (self.files,)

    def are_here(self) -> bool:
        """Whether this process sees all files."""
        return all(file.is_here() for file in self.files.values())


def in_files(folder: CacheFolder) -> Callable[[Sequence[str], tuple[int, int]], Blanks]:
    """Blank fields in files of a folder, or, which is said, in memory if it cannot be written."""

    def blank(names: Sequence[str], shape: tuple[int, int]) -> Blanks:
        folder.trim(8 * shape[0] * shape[1] * len(names))
        with ExitStack() as stack:
            try:
                beside = {name: stack.enter_context(folder.beside()) for name in names}
                rows = {name: _reserved(path, shape) for name, path in beside.items()}
            except OSError as error:
                text = "the panel is held in memory, once more in each worker's node: %s: %s; set FORGE_RAY_CACHE"
                log.warning(text, folder.path, error.strerror)
                return in_memory(names, shape)
            unfinished = stack.pop_all()

        def filled() -> MappedFields:
            with unfinished:
                files = {name: _named(path, rows[name]) for name, path in beside.items()}
                return MappedFields(files, {name: frozen(values) for name, values in rows.items()})

        return Blanks(rows, filled)

    return blank


def _reserved(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """A writable field in a file. Its space is reserved: a disk that is full later would end the process."""
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, 8 * shape[0] * shape[1])
        return np.frombuffer(mmap.mmap(file.fileno(), 0)).reshape(shape)


def _named(path: Path, rows: np.ndarray) -> FieldFile:
    shape, digest = rows.shape, _digest(rows.data)
    return FieldFile(path.replace(path.with_name(f"{digest}.f8")), (shape[0], shape[1]), digest)


def _digest(data: memoryview) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
