"""What the store asks of the disk, and how the disk refuses: one error with the path and the bytes that are free.

Files get their final, unique name at once, are created exclusively and never renamed: a half-written one has no
receipt, and what has no record in the catalogue does not exist.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from forge_ray.errors import DiskError

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO)


def write_new(path: Path, data: bytes) -> None:
    """Create a file and make it and its name durable. Raises `DiskError`, leaving nothing behind, if that fails."""
    what = f"write {len(data):,} bytes"
    try:
        file = path.open("xb")
    except OSError as error:
        raise refused(path, what, error) from error
    try:
        with file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fsync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):  # a file that cannot be removed either is an orphan: ignored, and collected later
            path.unlink()
        raise refused(path, what, error) from error


def rewrite(path: Path, data: bytes) -> None:
    """Write a file anew; killed in between, it is missing. Raises `DiskError`."""
    remove(path)
    write_new(path, data)


def remove(path: Path) -> None:
    """Remove a file, if it is there. Raises `DiskError`."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise refused(path, "remove", error) from error


def make_folder(path: Path) -> None:
    """Create a folder and its parents so that their names survive a power cut. Raises `DiskError`."""
    try:
        if path.is_dir():
            return
        if path != path.parent:
            make_folder(path.parent)
        path.mkdir(exist_ok=True)
        fsync_folder(path.parent)
    except OSError as error:
        raise refused(path, "create the folder", error) from error


def fsync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_file(path: Path) -> bytes:
    """The bytes of a regular file; reading anything else might never end. Raises OSError."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise FileNotFoundError(errno.ENOENT, "no regular file")
    return path.read_bytes()


def lost(path: Path, error: OSError) -> str:
    """Why a file that was committed cannot be read: it is not there, or its medium is bad. Raises `DiskError` for any
    other reason, which says nothing about the file."""
    if error.errno not in _GONE:
        raise refused(path, "read", error) from error
    return str(error.strerror)


def refused(path: Path, what: str, error: OSError) -> DiskError:
    return DiskError(f"{path}: cannot {what}: {error.strerror}; {free_bytes(path)}")


def free_bytes(path: Path) -> str:
    """In words, of the file system that a path lies on."""
    existing = next(folder for folder in path.absolute().parents if os.access(folder, os.F_OK))
    return f"{shutil.disk_usage(existing).free:,} bytes are free"
