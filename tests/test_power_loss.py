"""The power goes at any moment of a commit: committed rows survive, uncommitted ones vanish whole, the run goes on.

1. A process creates a run and commits its blocks below `faulty_io.c`, which logs every write, truncation, fsync,
   creation and removal of files and folders, those of Python and those of SQLite (catalogue and write-ahead log).
2. `Disk` replays the log. What an fsync of a file or of its folder has not covered yet is *pending*: the disk may have
   any of it, in any order, in parts. fsync of a file does not make its name durable, only that of its folder does.
3. After each call of a commit the power goes. Legal states are what is durable plus any subset of what is pending: all
   subsets of the calls, each also with a write torn at a sector or arrived as zeros, and, drawn at random, subsets of
   the sectors of all writes, in the campaign even of eighths of sectors. A subset without an earlier write is what
   reordering leads to. `-shm`, which nothing syncs, holds rubbish.
4. Each state is laid out as files, read, verified and resumed.

What is not simulated: a disk that lies about fsync, damage to what was durable before (that is
`test_damage.py`), and the order of writes of different processes.

The campaign: ``python -m pytest --campaign tests/test_power_loss.py`` (three commits, tears at every sector).
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest

from faulty_io import BLOCK, BLOCKS, SIZE, build, start
from forge_ray.store import LocalStore
from store_driver import RUN_ID, SPEC, receipt, rows

SECTOR = 512
MOST_SUBSETS = 256
"""Of each moment with more than 8 pending operations; fewer have all of theirs."""
IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


@dataclass(frozen=True)
class Op:
    """One call: a write or truncation of a file (`target` is its number), a name that appears or goes (`target` is the
    file, or None)."""

    kind: str
    path: str
    target: int | None
    offset: int = 0
    data: bytes = b""


@dataclass
class Disk:
    """What is durable, and what is pending since. Files are numbered: a name may stand for one after another."""

    names: dict[str, int] = field(default_factory=dict)
    now: dict[str, int] = field(default_factory=dict)
    files: dict[int, bytes] = field(default_factory=dict)
    pending: list[Op] = field(default_factory=list)

    def do(self, call: str, path: str, offset: int, data: bytes) -> None:
        match call:
            case "create" | "mkdir":
                number = len(self.files)
                self.files[number], self.now[path] = b"", number
                self.pending.append(Op("appear", path, number))
            case "unlink":
                self.pending.append(Op("vanish", path, self.now.pop(path)))
            case "fsync":
                self._sync(path)
            case _:
                self.pending.append(Op(call, path, self.now[path], offset, data))

    def _sync(self, path: str) -> None:
        """Content of a file, or names in a folder."""
        number = self.now.get(path)
        for op in self.pending:
            if op.kind in ("write", "truncate") and op.target == number:
                self.files[number] = _changed(self.files[number], op)
            elif op.kind in ("appear", "vanish") and _folder(op.path) == path:
                _rename(self.names, op)
        self.pending = [op for op in self.pending if not self._is_covered(op, path, number)]

    def _is_covered(self, op: Op, path: str, number: int | None) -> bool:
        named = op.kind in ("appear", "vanish")
        return _folder(op.path) == path if named else op.target == number

    def after(self, ops: tuple[Op, ...]) -> dict[str, bytes]:
        """The files by name if just these operations reached the disk. A name whose folder is not there is lost."""
        names, files = dict(self.names), dict(self.files)
        for op in ops:
            if op.kind in ("appear", "vanish"):
                _rename(names, op)
            elif op.target is not None:
                files[op.target] = _changed(files[op.target], op)
        return {path: files[number] for path, number in names.items()}


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _rename(names: dict[str, int], op: Op) -> None:
    if op.kind == "vanish":
        names.pop(op.path, None)
    elif op.target is not None:
        names[op.path] = op.target


def _changed(content: bytes, op: Op) -> bytes:
    if op.kind == "truncate":
        return content[: op.offset].ljust(op.offset, b"\0")
    padded = content.ljust(op.offset, b"\0")
    return padded[: op.offset] + op.data + padded[op.offset + len(op.data) :]


def subsets(pending: list[Op], chance: random.Random) -> Iterator[tuple[Op, ...]]:
    """All subsets of a few operations; of many, every prefix, all but one, one alone, and some at random."""
    n = len(pending)
    if n <= 8:
        for size in range(n + 1):
            yield from combinations(pending, size)
        return
    yield from (tuple(pending[:k]) for k in range(n + 1))
    yield from (tuple(pending[:k] + pending[k + 1 :]) for k in range(n))
    yield from ((op,) for op in pending)
    for _ in range(MOST_SUBSETS - 3 * n):
        yield tuple(op for op in pending if chance.random() < 0.5)


def torn(ops: tuple[Op, ...], every: bool) -> Iterator[tuple[Op, ...]]:
    """The same operations with one write in parts: its first sectors, the others, or zeros in its place.

    every : at each sector of each write, else the last write in its middle.
    """
    writes = [i for i, op in enumerate(ops) if op.kind == "write"]
    for i in writes if every else writes[-1:]:
        op = ops[i]
        first, last = op.offset // SECTOR + 1, (op.offset + len(op.data) - 1) // SECTOR
        cuts = [sector * SECTOR - op.offset for sector in range(first, last + 1)]
        for cut in cuts if every else cuts[len(cuts) // 2 :][:1]:
            yield (*ops[:i], replace(op, data=op.data[:cut]), *ops[i + 1 :])
            yield (*ops[:i], replace(op, offset=op.offset + cut, data=op.data[cut:]), *ops[i + 1 :])
        yield (*ops[:i], replace(op, data=bytes(len(op.data))), *ops[i + 1 :])


def scattered(pending: list[Op], n: int, size: int, chance: random.Random) -> Iterator[tuple[Op, ...]]:
    """Any pieces of `size` bytes of the pending writes, n times at random; nothing if there are no writes."""
    pieces = [piece for op in pending for piece in _pieces(op, size)]
    for _ in range(n if len(pieces) > len(pending) else 0):
        share = chance.choice((0.1, 0.5, 0.9))
        yield tuple(piece for piece in pieces if chance.random() < share)


def _pieces(op: Op, size: int) -> list[Op]:
    if op.kind != "write":
        return [op]
    begin, end = op.offset, op.offset + len(op.data)
    cuts = [begin, *range((begin // size + 1) * size, end, size), end]
    return [replace(op, offset=a, data=op.data[a - begin : b - begin]) for a, b in pairwise(cuts)]


def read_log(data: bytes) -> Iterator[tuple[str, str, int, bytes]]:
    """Calls: what, path, offset, data."""
    place = 0
    while place < len(data):
        end = data.index(b"\n", place)
        call, offset, size, path = data[place:end].decode().split(" ", 3)
        place = end + 1 + int(size)
        yield call, path, int(offset), data[end + 1 : place]


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str, int, bytes]]:
    """What a run of three blocks asks of the disk; paths relative to the folder of runs."""
    folder = tmp_path_factory.mktemp("logged")
    process = start(build(folder), "log", str(folder))
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 0, complaint
    prefix = f"{folder}/runs/"
    found = [(call, path.removeprefix(prefix), *rest) for call, path, *rest in read_log((folder / "log").read_bytes())]
    return [one for one in found if not one[1].endswith(("-shm", "/lock"))]


def moments(calls: list[tuple[str, str, int, bytes]], begin: str, end: str) -> Iterator[tuple[Disk, int, int]]:
    """The disk after every call between two marks: how many blocks had been committed, and how many may be."""
    disk, committed, begun, within = Disk(), 0, 0, False
    for call, path, offset, data in calls:
        if call != "mark":
            disk.do(call, path, offset, data)
        elif path.startswith("begin"):
            begun += 1
        elif path.startswith("done"):
            committed += 1
        within = within or (call == "mark" and path == begin)
        if within:
            yield disk, committed, begun
        if (call, path) == ("mark", end):
            return


COMMITS = (("begin 1", "done 1"), ("begin 0", "done 0"), ("begin 2", "finished"))
"""One in the middle; the first; the last with the end summary and the write-ahead log going away."""


def test_committed_rows_survive_the_power_and_others_vanish_whole(calls, rounds, landed):
    every, n_scattered, size = rounds(0, 1) == 1, rounds(10, 2_000), rounds(SECTOR, SECTOR // 8)
    for begin, end in COMMITS[: rounds(1, len(COMMITS))]:
        chance, seen = random.Random(5), set()
        for disk, committed, begun in moments(calls, begin, end):
            whole = (ops for some in subsets(disk.pending, chance) for ops in (some, *torn(some, every)))
            for ops in (*whole, *scattered(disk.pending, n_scattered, size, chance)):
                state = disk.after(ops)
                key = (_digest(state), committed, begun)
                if key not in seen:
                    seen.add(key)
                    landed[_check(state, committed, begun)] += 1
    assert set(landed) == {"the block is there", "the block is missing"}
    assert landed.total() >= rounds(100, 10_000)


def _digest(state: dict[str, bytes]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for path, content in sorted(state.items()):
        digest.update(f"{path}\0{len(content)}\0".encode() + content)
    return digest.digest()


def _check(state: dict[str, bytes], committed: int, begun: int) -> str:
    """Lay a state out, read it, go on with it. Returns what was there."""
    with TemporaryDirectory(dir=IN_MEMORY) as folder:
        runs = Path(folder)
        _lay_out(runs, state)
        with closing(LocalStore.read(runs / RUN_ID)) as store:
            n = store.counts()["branches"] // BLOCK
            assert committed <= n <= begun
            assert n == 0 or pa.concat_tables(store.scan()).equals(rows(0, n * BLOCK))
            assert store.verify() == []
        with closing(LocalStore.create_or_open(runs, RUN_ID, SPEC, BLOCK, SIZE)) as store:
            for block in list(store.missing()):
                store.commit([receipt(store, *block, rows(*block), str(store.epoch))])
            assert pa.concat_tables(store.scan()).equals(rows(0, SIZE))
            assert store.verify() == []
            assert len(list((runs / RUN_ID / "rows").iterdir())) == len(BLOCKS)
    return "the block is there" if n == begun else "the block is missing"


def _lay_out(runs: Path, state: dict[str, bytes]) -> None:
    (runs / RUN_ID / "rows").mkdir(parents=True)
    for path, content in state.items():
        if path not in (RUN_ID, f"{RUN_ID}/rows"):
            (runs / path).write_bytes(content)
    (runs / RUN_ID / "catalog.sqlite-shm").write_bytes(random.Random(3).randbytes(32_768))
