"""How kernels compile: one decorator, declared types, compiled at the first call, kept on disk.

A kernel is declared as a function and a signature in a small notation, one entry per argument::

    @kernel("in f8[:], in i8, out f8[:]")
    def rate_of_change(close, window, out): ...

`in` arrays are read-only and C-contiguous (arrays from an object store are read-only; writable ones are accepted too),
`out` arrays are writable. f8, i4, i8, u8, b1 are float64, int32, int64, uint64, bool. Importing this package compiles
nothing.

The cache folder is keyed by the content of every file of this folder, the versions of Python, Numba and LLVM, the name
and features of the CPU and Numba's switches, because Numba's own index sees neither edits in other files nor another
CPU. Where the files lie and how old they are does not matter: another installation of the same code finds what this
one compiled. The folder is private to the user. Each kernel has a seal there, the checksum of its files: machine code
that is not what was written is never loaded, as a flipped bit in it can end the process or change a number. The seal
is also the lock that lets one process compile while the others wait for it. A folder that cannot be written, or that
others could write, is not used, which is said: each process then compiles for itself. Whoever makes a new folder
removes those that nobody has used for a month. With ``NUMBA_DISABLE_JIT=1`` kernels run as plain Python.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import re
import shutil
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

import llvmlite
import llvmlite.binding as llvm
import numba
import numba.core.config
from numba import types
from numba.core.caching import UserProvidedCacheLocator

log = logging.getLogger(__name__)

KERNELS: dict[str, Kernel] = {}

_SCALARS = {"f8": types.float64, "i4": types.int32, "i8": types.int64, "u8": types.uint64, "b1": types.boolean}
_ARGUMENT = re.compile(r"(in|out) (f8|i4|i8|u8|b1)(\[:(?:,:)*\])?")
_CONFIG: Any = numba.core.config
_OPTIONS = {"nogil": True, "error_model": "numpy"}
_BORROWING: dict[str, Any] = _OPTIONS | {"_nrt": False}
_COMPILING = threading.RLock()
_SAME_CODE = {"NUMBA_CACHE_DIR", "NUMBA_CACHE_LOCATOR_CLASSES", "NUMBA_NUM_THREADS", "NUMBA_DISABLE_JIT"}
"""Switches of Numba that change nothing in what is compiled."""

LOCK_SECONDS = 120
_NEW = ".new-"
ABANDONED_SECONDS, UNUSED_SECONDS = 3600, 30 * 86_400
"""After which a folder is of no use to anybody: one that somebody was filling, and any other."""


def device(function: Callable) -> Any:
    """A function that kernels call; compiled as part of its callers."""
    return numba.njit(function, forceinline=True, **_OPTIONS)


def borrowing(function: Callable) -> Any:
    """A device function that makes no arrays, and so needs not count who has them: its callers do. For short functions
    of many arrays; the counts are atomic, and cost more than what such a function does."""
    return numba.njit(function, **_BORROWING)


def kernel(signature: str) -> Callable[[Callable], Kernel]:
    """Declare a kernel; see the module's docstring for the notation.

    Its name is its key in `KERNELS`: ValueError if another module has a kernel of that name.
    """

    def declare(function: Callable) -> Kernel:
        name, module = function.__name__, function.__module__
        if name in KERNELS and KERNELS[name].function.__module__ != module:
            raise ValueError(f"kernel {name!r} of {module} is declared in {KERNELS[name].function.__module__} too")
        KERNELS[name] = Kernel(function, signature)
        return KERNELS[name]

    return declare


class Kernel:
    """A callable that compiles itself, or loads itself from the cache, when it is first called. Thread-safe."""

    def __init__(self, function: Callable, signature: str):
        self.function, self.signature, self.name = function, signature, function.__name__
        self.__doc__ = function.__doc__
        self._compiled: Callable | None = None

    def __call__(self, *arguments: Any) -> Any:
        return (self._compiled or self.compiled(folder()))(*arguments)

    def compiled(self, at: Path) -> Callable:
        """The machine code, from the cache folder `at` if it is there, else compiled and put there."""
        with _COMPILING:
            if self._compiled is None:
                self._compiled = self.function if _CONFIG.DISABLE_JIT else self._load(at)
            return self._compiled

    def _load(self, at: Path) -> Callable:
        try:
            return self._load_sealed(at)
        except (OSError, RuntimeError) as error:  # Numba's for a folder that it cannot write
            _tell_unused(at, getattr(error, "strerror", None) or str(error))
            return numba.njit(argument_types(self.signature), **_OPTIONS)(self.function)

    def _load_sealed(self, at: Path) -> Callable:
        at.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_private(at)
        with (at / f"{self.name}.seal").open("a+b") as seal:
            _lock(seal)
            seal.seek(0)
            if seal.read() != self._checksum(at):
                # Damaged, or cut short by a full disk or a kill.
                for file in self._files(at):
                    file.unlink()
            compiled = self._compile(at)
            seal.truncate(0)
            seal.write(self._checksum(at))
            return compiled

    def _compile(self, at: Path) -> Callable:
        before = _CONFIG.CACHE_DIR, _CONFIG.CACHE_LOCATOR_CLASSES
        _CONFIG.CACHE_DIR, _CONFIG.CACHE_LOCATOR_CLASSES = str(at), f"{__name__}.{ByContent.__name__}"
        try:
            return numba.njit(argument_types(self.signature), cache=True, **_OPTIONS)(self.function)
        finally:
            _CONFIG.CACHE_DIR, _CONFIG.CACHE_LOCATOR_CLASSES = before

    def _files(self, at: Path) -> list[Path]:
        return sorted(at.glob(f"*/*.{self.name}-*.nb[ci]"))

    def _checksum(self, at: Path) -> bytes:
        digest = hashlib.blake2b(digest_size=16)
        for file in self._files(at):
            digest.update(f"{file.name} {file.stat().st_size} ".encode() + file.read_bytes())
        return digest.digest()


def _lock(seal: IO[bytes]) -> None:
    """Raises TimeoutError if another process holds it for longer than any kernel takes to compile."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(seal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                text = f"another process has been compiling {Path(seal.name).stem} for {LOCK_SECONDS} s"
                raise TimeoutError(errno.ETIMEDOUT, text) from None
            time.sleep(0.02)


class ByContent(UserProvidedCacheLocator):
    """Where Numba keeps a kernel. The cache folder tells which source it is of, so its path and time need not."""

    @classmethod
    def get_suitable_cache_subpath(cls, py_file: str) -> str:
        return Path(py_file).parent.name

    def get_source_stamp(self) -> bytes:
        return b""


def argument_types(signature: str) -> tuple:
    """Numba types of a signature. Raises ValueError naming the entry that cannot be read."""
    return tuple(_argument_type(entry.strip()) for entry in re.split(r",\s*(?=in |out )", signature))


def _argument_type(entry: str) -> Any:
    match = _ARGUMENT.fullmatch(entry)
    if not match:
        raise ValueError(f"cannot read {entry!r} in a kernel signature; expected such as 'in f8[:,:]'")
    direction, scalar, shape = match.groups()
    if not shape:
        return _SCALARS[scalar]
    return types.Array(_SCALARS[scalar], shape.count(",") + 1, "C", readonly=direction == "in")


def cache_folder() -> Path:
    """Where caches lie: ``$FORGE_RAY_CACHE``, else ``$XDG_CACHE_HOME/forge_ray``, else ``~/.cache/forge_ray``."""
    if base := os.environ.get("FORGE_RAY_CACHE"):
        return Path(base)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "forge_ray"


@cache
def folder() -> Path:
    """The folder of this code on this CPU, below `cache_folder`."""
    at = cache_folder() / "kernels" / _key()
    with suppress(OSError):  # it may not be there yet
        os.utime(at)  # it is in use
    return at


def _key() -> str:
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(f"{file.name} {file.stat().st_size} ".encode() + file.read_bytes())
    cpu = os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name()
    features = os.environ.get("NUMBA_CPU_FEATURES") or llvm.get_host_cpu_features().flatten()
    switches = sorted(item for item in os.environ.items() if item[0].startswith("NUMBA_") and item[0] not in _SAME_CODE)
    digest.update(f"{sys.version} {numba.__version__} {llvmlite.__version__} {cpu} {features} {switches}".encode())
    return digest.hexdigest()


def _check_private(at: Path) -> None:
    """Raises PermissionError if others can write there: what is loaded from there is run."""
    found = at.stat()
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        owner = f"belongs to user {found.st_uid}, mode {stat.S_IMODE(found.st_mode):04o}; others could write there"
        raise PermissionError(errno.EPERM, owner)


@cache
def _tell_unused(at: Path, reason: str) -> None:
    log.warning("kernels are compiled anew by each process: %s: %s; set FORGE_RAY_CACHE", at, reason)


def warm(names: Iterable[str]) -> Path:
    """Compile the named kernels, or load them from the cache, and return the cache folder.

    A folder that does not exist yet is filled beside its place and renamed, so that it appears whole.
    """
    final = folder()
    if os.access(final, os.F_OK) or _CONFIG.DISABLE_JIT:
        return _warmed(names, final)
    try:
        final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = tempfile.TemporaryDirectory(prefix=_NEW, dir=final.parent)
    except OSError:
        return _warmed(names, final)
    with place as beside:
        fresh = Path(beside) / final.name
        fresh.mkdir(mode=0o700)
        _warmed(names, fresh)
        try:
            fresh.rename(final)
        except OSError:
            # Another process was first; what it cached is as good.
            if not final.exists():
                raise
    _remove_unused(final.parent)
    return final


def _remove_unused(at: Path) -> None:
    """Remove the folders of other code, other CPUs and killed processes that have been of no use for long."""
    with suppress(OSError):  # another process removes them too
        for other in at.iterdir():
            limit = ABANDONED_SECONDS if other.name.startswith(_NEW) else UNUSED_SECONDS
            if time.time() - other.stat().st_mtime > limit:
                shutil.rmtree(other, ignore_errors=True)


def _warmed(names: Iterable[str], at: Path) -> Path:
    for name in names:
        KERNELS[name].compiled(at)
    return at
