"""A disk that refuses, and a disk whose power goes: runs store code below `faulty_io.c`.

``python faulty_io.py errors ROOT LAST EVERYTHING`` fails the k-th call on files of a run, for k from 1 to LAST or the
last call that there is, looks at what is left and goes on; a line of JSON for each try.
``python faulty_io.py log ROOT`` creates a small run and commits its blocks, one by one, noting each call in ROOT/log.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pyarrow as pa
import pytest

from forge_ray.errors import DiskError, ForgeRayError
from forge_ray.store import LocalStore, SqliteSink, damaged_copies
from store_driver import RUN_ID, SPEC, receipt, rows

BLOCK, SIZE, BEFORE = 400, 1_200, 1
"""Branches of a block and of the small run, and how many of its blocks are committed before errors begin."""
BLOCKS = [(lo, lo + BLOCK) for lo in range(0, SIZE, BLOCK)]
ERRNOS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EMFILE)
PLACES = ("committing", "opening")
"""Where the first call is counted: after the run was opened, or before."""


def start(library: Path, *arguments: str) -> subprocess.Popen[str]:
    """A process that runs this file below the C file."""
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{here.parent}{os.pathsep}{here}", "LD_PRELOAD": str(library)}
    command = [sys.executable, __file__, *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def build(folder: Path) -> Path:
    """The compiled C file; skips the test where there is no compiler."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux and a C compiler")
    source, library = Path(__file__).with_suffix(".c"), folder / "faulty_io.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


class Shim:
    """The C file, seen from the process it was loaded into."""

    def __init__(self, watched: Path):
        self.c = ctypes.CDLL(None)
        self.c.faulty_hit.restype = ctypes.c_char_p
        self.c.faulty_arm.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_int]
        self.c.faulty_watch(str(watched).encode())

    def arm(self, kth: int, code: int, for_good: bool) -> None:
        self.c.faulty_arm(kth, code, for_good)

    def disarm(self) -> str:
        """Which call failed, empty if none did."""
        hit = self.c.faulty_hit().decode()
        self.c.faulty_arm(0, 0, 0)
        return hit


class Errors:
    """Tries the same work with one call after the other failing."""

    def __init__(self, root: Path):
        self.root, self.run = root, root / "runs" / RUN_ID
        with ExitStack() as held:
            store, sink = self._opened(held)
            for block in BLOCKS[:BEFORE]:
                self._commit(store, sink, block)
        shutil.move(root / "runs", root / "sound")
        self.shim = Shim(root / "runs")

    def attempt(self, kth: int, code: int, where: str, for_good: bool) -> dict[str, object]:
        """One try: what was said, and what does not hold afterwards."""
        shutil.rmtree(self.root / "runs", ignore_errors=True)
        shutil.copytree(self.root / "sound", self.root / "runs")
        said = self._work(lambda: self.shim.arm(kth, code, for_good), where)
        hit = self.shim.disarm()
        wrong = [*self._wrong_text(said), *self._wrong_rows(said), *self._wrong_after()]
        told = "silent" if said is None else type(said).__name__
        return {"kth": kth, "errno": errno.errorcode[code], "where": where, "hit": hit, "told": told, "wrong": wrong}

    def _work(self, arm: Callable[[], None], where: str) -> Exception | None:
        try:
            with ExitStack() as held:
                if where == "opening":
                    arm()
                store, sink = self._opened(held)
                if where == "committing":
                    arm()
                for block in list(store.missing()):
                    self._commit(store, sink, block)
                store.finish({})
        except Exception as error:  # noqa: BLE001 whatever comes out is judged
            return error
        return None

    def _opened(self, held: ExitStack) -> tuple[LocalStore, SqliteSink]:
        store = held.enter_context(closing(LocalStore.create_or_open(self.run.parent, RUN_ID, SPEC, BLOCK, SIZE)))
        return store, held.enter_context(closing(SqliteSink(store)))

    def _commit(self, store: LocalStore, sink: SqliteSink, block: tuple[int, int]) -> None:
        done = receipt(store, *block, rows(*block), str(store.epoch))
        store.commit([done])
        sink.add(done.parts[0])

    def _wrong_text(self, said: Exception | None) -> Iterator[str]:
        if said is None:
            return
        if not isinstance(said, ForgeRayError):
            yield f"{type(said).__name__}: {said}"
        if str(self.run) not in str(said):
            yield f"names no path: {said}"
        if isinstance(said, DiskError) and "bytes are free" not in str(said):
            yield f"does not tell what is free: {said}"

    def _wrong_rows(self, said: Exception | None) -> Iterator[str]:
        with closing(LocalStore.read(self.run)) as store:
            n = store.counts()["branches"]
            if n not in range(BEFORE * BLOCK, SIZE + 1, BLOCK) or (said is None and n != SIZE):
                yield f"{n} branches are committed"
            if not pa.concat_tables(store.scan()).equals(rows(0, n)):
                yield "rows differ"
            yield from map(str, store.verify())

    def _wrong_after(self) -> Iterator[str]:
        """What is wrong once the disk works again and the same work is done again."""
        if error := self._work(lambda: None, ""):
            yield f"does not go on: {error}"
            return
        with closing(LocalStore.read(self.run)) as store, closing(SqliteSink(store)) as sink:
            sink.catch_up()
            if not pa.concat_tables(store.scan()).equals(rows(0, SIZE)) or not store.finished:
                yield "rows differ in the end"
            if len(list(self.run.glob("rows/*"))) != len(BLOCKS):
                yield "files are left over"
            yield from map(str, [*store.verify(), *damaged_copies(store)])


def errors(root: str, last: str, everything: str) -> None:
    """everything : "1" for each errno in each place, once and for good; "0" for a part of that."""
    tries, opened = Errors(Path(root)), _open_files()
    for where in PLACES:
        for kth in range(1, int(last) + 1):
            found = [tries.attempt(kth, code, where, good) for code, good in _ways(where, kth, everything == "1")]
            print("\n".join(map(json.dumps, found)), flush=True)
            if not any(one["hit"] for one in found):
                break
    gc.collect()
    print(json.dumps({"left_open": _open_files() - opened}))


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _ways(where: str, kth: int, everything: bool) -> list[tuple[int, bool]]:
    """With which errnos the k-th call fails, and whether every later one fails too."""
    if everything:
        return [(code, for_good) for code in ERRNOS for for_good in (False, True)]
    codes = ERRNOS if where == "committing" else ERRNOS[kth % len(ERRNOS) :][:1]
    return [(code, (kth + n) % 2 == 0) for n, code in enumerate(codes)]


def log(root: str) -> None:
    """Marks in the log: "begin k" and "done k" around the commit of block k, "finish" and "finished" at the end."""
    runs = Path(root) / "runs"
    runs.mkdir()
    shim = Shim(runs)
    with (Path(root) / "log").open("wb") as file:
        shim.c.faulty_log(file.fileno())
        with closing(LocalStore.create_or_open(runs, RUN_ID, SPEC, BLOCK, SIZE)) as store:
            for k, block in enumerate(BLOCKS):
                shim.c.faulty_mark(f"begin {k}".encode())
                store.commit([receipt(store, *block, rows(*block), "1")])
                shim.c.faulty_mark(f"done {k}".encode())
            shim.c.faulty_mark(b"finish")
            store.finish({})
        shim.c.faulty_mark(b"finished")
        shim.c.faulty_log(-1)


if __name__ == "__main__":
    {"errors": errors, "log": log}[sys.argv[1]](*sys.argv[2:])
