"""The result store: what every store must do, then what is particular to the one on a local disk."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import store_driver
from forge_ray.cli.main import command
from forge_ray.errors import (
    CorruptPartError,
    DiskError,
    IncompleteRunError,
    InputError,
    NondeterminismError,
    ReplacedError,
    StoreError,
    StoreLockedError,
)
from forge_ray.store import (
    LocalStore,
    MissingRunError,
    Part,
    Receipt,
    ResultStore,
    content_hash,
    encode,
    encode_part,
    write_part,
    write_payload,
)
from forge_ray.store.catalogue import Catalogue
from forge_ray.tree import Where
from store_driver import BLOCK, REPAIR_STAGES, RUN_ID, SIZE, SPEC, STAGES, receipt, rows

BLOCKS = [(lo, min(lo + BLOCK, SIZE)) for lo in range(0, SIZE, BLOCK)]
ALL_ROWS = rows(0, SIZE)


def other_rows(lo: int, hi: int) -> pa.Table:
    """Rows that differ from `rows` in the last bit of one value."""
    table = rows(lo, hi)
    place = table.column_names.index("full_sharpe")
    values = table["full_sharpe"].to_pylist()
    values[1] = float(np.nextafter(values[1], np.inf))
    return table.set_column(place, "full_sharpe", pa.array(values))


@dataclass
class Local:
    """How the contract tests open a `LocalStore` and do what its workers would."""

    root: Path
    opened: ExitStack = field(default_factory=ExitStack)
    attempts: int = 0

    @property
    def path(self) -> Path:
        return self.root / RUN_ID

    def open(
        self, *, spec: bytes = SPEC, block: int = BLOCK, size: int = SIZE, take_over: bool = False, fresh: bool = False
    ) -> LocalStore:
        store = LocalStore.create_or_open(self.root, RUN_ID, spec, block, size, take_over, fresh=fresh)
        return self.opened.enter_context(closing(store))

    def read(self) -> LocalStore:
        return self.opened.enter_context(closing(LocalStore.read(self.path)))

    def write(self, store: LocalStore, lo: int, hi: int, table: pa.Table | None = None) -> Receipt:
        self.attempts += 1
        return receipt(store, lo, hi, rows(lo, hi) if table is None else table, f"t{self.attempts}")

    def fill(self, store: LocalStore, blocks: list[tuple[int, int]]) -> None:
        store.commit([self.write(store, lo, hi) for lo, hi in blocks])

    def files(self) -> set[str]:
        return {path.relative_to(self.path).as_posix() for path in self.path.glob("rows/*")}


class StoreContract:
    """Every store must pass. A subclass provides the fixture `at`, which opens stores and writes for them."""

    def test_store_keeps_what_it_was_created_with(self, at):
        at.open().close()
        store: ResultStore = at.read()
        assert (store.run_id, store.block_size, store.size, store.spec) == (RUN_ID, BLOCK, SIZE, SPEC)

    def test_missing_blocks_are_all_blocks_before_any_commit(self, at):
        assert list(at.open().missing()) == BLOCKS

    def test_committed_rows_come_back_bit_for_bit_in_branch_order(self, at):
        store = at.open()
        shuffled = random.Random(5).sample(BLOCKS, len(BLOCKS))
        for some in (shuffled[:3], shuffled[3:40], shuffled[40:]):
            at.fill(store, some)
        assert pa.concat_tables(store.scan()).equals(ALL_ROWS)
        assert list(store.missing()) == []
        frame = store.frame()
        assert frame["branch"].to_list() == list(range(SIZE))
        assert frame["full_sharpe"].to_list() == ALL_ROWS["full_sharpe"].to_pylist()

    def test_counts_add_up_over_committed_blocks(self, at):
        store = at.open()
        assert store.counts() == {"branches": 0, "passed": 0}
        at.fill(store, BLOCKS[:2])
        at.fill(store, BLOCKS[-1:])
        assert store.counts() == {"branches": 140, "ok": 140, "passed": 34 + sum(b % 3 == 0 for b in range(4950, 4990))}

    def test_committed_blocks_survive_reopening_and_keep_their_block_size(self, at):
        store = at.open()
        at.fill(store, BLOCKS[3:7])
        store.close()
        again = at.open(block=777)
        assert again.block_size == BLOCK
        assert list(again.missing()) == BLOCKS[:3] + BLOCKS[7:]

    def test_missing_goes_on_while_blocks_are_committed(self, at):
        store = at.open()
        at.fill(store, BLOCKS[10:20])
        seen = []
        for lo, hi in store.missing():
            seen.append((lo, hi))
            at.fill(store, [(lo, hi)])
        assert seen == BLOCKS[:10] + BLOCKS[20:]

    def test_equal_retry_is_dropped_and_its_file_removed(self, at):
        store = at.open()
        at.fill(store, BLOCKS[:2])
        before = at.files()
        store.commit([at.write(store, *BLOCKS[1]), at.write(store, *BLOCKS[2]), at.write(store, *BLOCKS[2])])
        assert store.counts()["branches"] == 3 * BLOCK
        assert len(at.files() - before) == 1
        assert before < at.files()
        assert pa.concat_tables(store.scan()).equals(rows(0, 3 * BLOCK))

    def test_same_receipt_twice_keeps_its_file(self, at):
        store = at.open()
        done = at.write(store, *BLOCKS[0])
        store.commit([done, done])
        store.commit([done])
        assert at.files() == {done.parts[0].path}
        assert store.verify() == []

    def test_different_retry_names_block_and_hashes_and_records_nothing(self, at):
        store = at.open()
        at.fill(store, BLOCKS[:1])
        first, again = content_hash(rows(*BLOCKS[0])), content_hash(other_rows(*BLOCKS[0]))
        new, different = at.write(store, *BLOCKS[1]), at.write(store, *BLOCKS[0], other_rows(*BLOCKS[0]))
        with pytest.raises(NondeterminismError, match=rf"block \[0, 50\).*{first}.*{again}"):
            store.commit([new, different])
        assert list(store.missing()) == BLOCKS[1:]
        assert store.counts()["branches"] == BLOCK

    @pytest.mark.parametrize("block", [(0, 49), (1, 51), (-50, 0), (4950, 5000), (5000, 5050), (0, 100)])
    def test_what_is_no_block_of_the_run_is_refused(self, at, block):
        store = at.open()
        with pytest.raises(StoreError, match="is no block of 50"):
            store.commit([Receipt(*block, (), {}, 0.0)])

    def test_receipt_without_its_file_is_refused(self, at):
        store = at.open()
        done = at.write(store, *BLOCKS[0])
        (at.path / done.parts[0].path).unlink()
        with pytest.raises(StoreError, match="no such file"):
            store.commit([done])
        assert next(store.missing()) == BLOCKS[0]

    def test_taken_over_driver_can_commit_and_finish_nothing(self, at):
        old = at.open()
        at.fill(old, BLOCKS[:4])
        late = at.write(old, *BLOCKS[4])
        new = at.open(take_over=True)
        assert new.epoch == old.epoch + 1
        with pytest.raises(StoreError, match="epoch 1 was taken over by epoch 2"):
            old.commit([late])
        at.fill(new, BLOCKS[4:])
        with pytest.raises(StoreError, match="epoch 1 was taken over by epoch 2"):
            old.finish({})
        assert not new.finished
        assert pa.concat_tables(new.scan()).equals(ALL_ROWS)

    def test_second_driver_is_refused_naming_pid_and_host(self, at):
        store = at.open()
        for _ in range(2):
            with pytest.raises(StoreLockedError, match=f"process {os.getpid()} on {socket.gethostname()}"):
                at.open()
        at.fill(store, BLOCKS[:1])
        store.close()
        assert next(at.open().missing()) == BLOCKS[1]

    def test_taken_over_driver_does_not_release_the_lock_of_its_successor(self, at):
        old = at.open()
        at.open(take_over=True)
        old.close()
        with pytest.raises(StoreLockedError):
            at.open()

    def test_orphans_are_ignored_and_collected_at_the_next_opening(self, at):
        store = at.open()
        at.fill(store, BLOCKS[:2])
        recorded = at.files()
        orphan = at.path / at.write(store, *BLOCKS[2]).parts[0].path
        half = orphan.with_name("150-200-x.parquet")
        half.write_bytes(b"PAR1")
        for note in ("note.txt", "note.parquet"):
            orphan.with_name(note).write_text("mine")
        assert at.read().counts()["branches"] == 2 * BLOCK
        assert len(at.read().frame()) == 2 * BLOCK
        store.close()
        at.open()
        assert at.files() == recorded | {"rows/note.txt", "rows/note.parquet"}

    def test_fresh_run_has_no_block_and_another_block_size_and_refuses_the_driver_before(self, at):
        old = at.open()
        at.fill(old, BLOCKS)
        old.finish({"branches": SIZE})
        fresh = at.open(fresh=True, take_over=True, block=2 * BLOCK)
        assert (fresh.counts(), fresh.finished, at.files()) == ({"branches": 0, "passed": 0}, False, set())
        assert next(iter(fresh.missing())) == (0, 2 * BLOCK) and fresh.epoch == 3
        with pytest.raises(StoreError, match="epoch 1 was taken over by epoch 3"):
            at.fill(old, BLOCKS[:1])
        fresh.close()
        assert at.open().block_size == 2 * BLOCK

    def test_fresh_run_that_is_stopped_while_it_removes_files_is_not_the_old_one(self, at, monkeypatch):
        store, unlink = at.open(), Path.unlink
        at.fill(store, BLOCKS)
        store.finish({"branches": SIZE})
        store.close()
        left = [3]

        def stop(path: Path, missing_ok: bool = False) -> None:
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt
            unlink(path, missing_ok)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", stop)
            with pytest.raises(KeyboardInterrupt):
                at.open(fresh=True)
        assert len(at.files()) == len(BLOCKS) - 2
        assert at.read().counts()["branches"] == 0 and not at.read().finished
        again = at.open()
        assert at.files() == set() and list(again.missing()) == BLOCKS

    def test_scan_sees_the_moment_it_began(self, at):
        store = at.open()
        at.fill(store, BLOCKS[:3])
        reader = at.read()
        scan = reader.scan()
        first = next(scan)
        at.fill(store, BLOCKS[3:9])
        assert pa.concat_tables([first, *scan]).equals(rows(0, 3 * BLOCK))
        assert pa.concat_tables(reader.scan()).equals(rows(0, 9 * BLOCK))

    def test_readers_see_whole_commits_while_a_driver_writes(self, at):
        store, lengths = at.open(), []

        def read_until_complete() -> None:
            with closing(LocalStore.read(at.path)) as reader:
                while not lengths or lengths[-1] < SIZE:
                    frame = reader.frame()
                    assert frame.is_empty() or frame["branch"].to_list() == list(range(len(frame)))
                    lengths.append(len(frame))

        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(read_until_complete)
            for lo in range(0, len(BLOCKS), 2):
                at.fill(store, BLOCKS[lo : lo + 2])
            reading.result(timeout=60)
        assert lengths == sorted(lengths)
        assert {n % (2 * BLOCK) for n in lengths[:-1]} <= {0, SIZE % (2 * BLOCK)}

    def test_reader_can_not_write(self, at):
        store = at.open()
        done = at.write(store, *BLOCKS[0])
        reader = at.read()
        for attempt in (lambda: reader.commit([done]), lambda: reader.finish({}), reader.collect_orphans):
            with pytest.raises(StoreError, match="opened for reading"):
                attempt()
        assert at.files() == {done.parts[0].path}

    def test_run_is_finished_only_when_complete(self, at):
        store = at.open()
        at.fill(store, BLOCKS[1:])
        with pytest.raises(IncompleteRunError, match="1 blocks are missing"):
            store.finish({"passed": 3})
        with pytest.raises(IncompleteRunError, match="not finished"):
            store.summary()
        assert not store.finished
        at.fill(store, BLOCKS[:1])
        store.finish({"passed": 3})
        reader = at.read()
        assert reader.finished
        assert reader.summary() == {"passed": 3}

    def test_another_specification_or_size_under_the_same_id_is_refused(self, at):
        at.open().close()
        with pytest.raises(StoreError, match="spec_sha256"):
            at.open(spec=SPEC + b" ")
        with pytest.raises(StoreError, match="size is 4990, not 4991"):
            at.open(size=SIZE + 1)
        assert at.open().spec == SPEC

    def test_scan_reads_the_columns_asked_for_and_refuses_others(self, at):
        store = at.open()
        at.fill(store, BLOCKS[:2])
        assert pa.concat_tables(store.scan(["status", "branch"])).equals(rows(0, 100).select(["status", "branch"]))
        with pytest.raises(InputError, match=r"'full_sharp' \(did you mean 'full_sharpe'\?\)"):
            list(store.scan(["branch", "full_sharp"]))

    def test_verify_finds_nothing_wrong_with_a_sound_run(self, at):
        store = at.open()
        at.fill(store, BLOCKS)
        assert store.verify() == []

    def test_file_that_may_not_be_read_is_no_damage(self, at, monkeypatch):
        store = at.open()
        at.fill(store, BLOCKS[:2])

        read = Path.read_bytes

        def refuse(path: Path) -> bytes:
            if path.suffix == ".parquet":
                raise OSError(errno.EMFILE, "Too many open files")
            return read(path)

        monkeypatch.setattr(Path, "read_bytes", refuse)
        with pytest.raises(DiskError, match="Too many open files"):
            store.verify()

    def test_flipped_bit_is_never_read_as_a_row(self, at):
        store = at.open()
        at.fill(store, BLOCKS[:1])
        (name,) = at.files()
        path, chance = at.path / name, random.Random(11)
        sound = path.read_bytes()
        for bit in chance.sample(range(8 * len(sound)), 200):
            path.write_bytes(_flipped(sound, bit))
            for read in (store.frame, lambda: list(store.scan(["branch"])), lambda: store.row(3)):
                with pytest.raises(CorruptPartError, match=name):
                    read()
        path.write_bytes(sound)
        assert store.frame()["branch"].to_list() == list(range(BLOCK))

    def test_verify_names_every_damaged_file(self, at):
        store = at.open()
        at.fill(store, BLOCKS[:5])
        names = sorted(at.files())
        data = (at.path / names[0]).read_bytes()
        (at.path / names[0]).write_bytes(_flipped(data, 8 * len(data) // 2))
        (at.path / names[1]).write_bytes((at.path / names[1]).read_bytes()[:-1])
        (at.path / names[2]).unlink()
        (at.path / names[3]).write_bytes((at.path / names[4]).read_bytes())
        texts = [str(problem) for problem in store.verify()]
        assert len(texts) == 4
        assert all(any(name in text for text in texts) for name in names[:4])

    def test_truncated_file_is_never_read_as_rows(self, at):
        store = at.open()
        at.fill(store, BLOCKS[:1])
        (name,) = at.files()
        path = at.path / name
        sound = path.read_bytes()
        for length in (0, 1, 4, 8, *random.Random(3).sample(range(len(sound)), 100), len(sound) - 1):
            path.write_bytes(sound[:length])
            with pytest.raises(CorruptPartError, match=name):
                store.frame()

    def test_replaced_file_stands_for_its_block_and_the_old_one_is_gone(self, at):
        store = at.open()
        at.fill(store, BLOCKS[:3])
        damaged = at.path / next(name for name in at.files() if name.startswith("rows/50-"))
        damaged.write_bytes(damaged.read_bytes()[:-9])
        assert [damage.block for damage in store.verify()] == [BLOCKS[1]]
        again = at.write(store, *BLOCKS[1])
        store.replace(again)
        assert again.parts[0].path in at.files()
        assert not damaged.exists()
        assert store.verify() == []
        store.replace(again)
        assert store.counts()["branches"] == 3 * BLOCK
        assert pa.concat_tables(at.read().scan()).equals(rows(0, 3 * BLOCK))

    def test_replacement_with_other_content_is_refused_and_changes_nothing(self, at):
        store = at.open()
        at.fill(store, BLOCKS[:2])
        other = at.write(store, *BLOCKS[0], other_rows(*BLOCKS[0]))
        with pytest.raises(NondeterminismError, match=r"block \[0, 50\)"):
            store.replace(other)
        assert pa.concat_tables(store.scan()).equals(rows(0, 2 * BLOCK))

    def test_only_the_driver_replaces_and_only_blocks_that_exist(self, at):
        old = at.open()
        at.fill(old, BLOCKS[:1])
        again, absent = at.write(old, *BLOCKS[0]), at.write(old, *BLOCKS[1])
        with pytest.raises(StoreError, match=r"\[50, 100\) is not committed"):
            old.replace(absent)
        with pytest.raises(StoreError, match="opened for reading"):
            at.read().replace(again)
        at.open(take_over=True)
        with pytest.raises(StoreError, match="epoch 1 was taken over by epoch 2"):
            old.replace(again)

    def test_reader_that_began_before_a_replacement_fails_rather_than_skips_the_block(self, at):
        store = at.open()
        at.fill(store, BLOCKS[:3])
        scan = at.read().scan()
        first = next(scan)
        store.replace(at.write(store, *BLOCKS[2]))
        with suppress(ReplacedError):
            assert pa.concat_tables([first, *scan]).equals(rows(0, 3 * BLOCK))

    def test_damage_tells_block_and_remedy(self, at):
        store = at.open()
        at.fill(store, BLOCKS[:2])
        (at.path / sorted(at.files())[0]).unlink()
        told = rf"block \[0, 50\): No such file or directory; .*forge-ray verify {at.path}.*forge-ray repair {at.path}"
        for read in (store.frame, lambda: store.row(3), lambda: store.best("full_sharpe", True, 1)):
            with pytest.raises(CorruptPartError, match=told):
                read()
        assert store.row(60) == ALL_ROWS.slice(60, 1).to_pylist()[0]

    def test_files_of_another_block_are_refused(self, at):
        store = at.open()
        done = at.write(store, *BLOCKS[1])
        with pytest.raises(StoreError, match=r"is not named after block \[0, 50\)"):
            store.commit([Receipt(*BLOCKS[0], done.parts, done.counts, 0.0)])

    def test_best_rows_are_those_of_the_sorted_frame(self, at):
        store = at.open()
        at.fill(store, BLOCKS)
        frame = store.frame().filter(store.frame()["full_sharpe"].is_not_null())
        where = Where("passed == 1 and branch < 2000", tuple(store.columns))
        found = frame.filter((frame["branch"] < 2000) & frame["passed"])
        for highest in (True, False):
            best = store.best("full_sharpe", highest, 150)
            assert best.equals(frame.sort("full_sharpe", "branch", descending=[highest, False]).head(150))
            best = store.best("full_sharpe", highest, 150, where)
            assert best.equals(found.sort("full_sharpe", "branch", descending=[highest, False]).head(150))

    def test_ties_go_to_the_lower_branch(self, at):
        store = at.open()
        at.fill(store, BLOCKS[::-1])
        assert store.best("passed", True, 3)["branch"].to_list() == [0, 3, 6]
        assert store.best("passed", False, 3)["branch"].to_list() == [1, 2, 4]

    def test_best_of_nothing_keeps_the_columns(self, at):
        store = at.open()
        assert store.best("full_sharpe", True, 3).is_empty()
        at.fill(store, BLOCKS[:1])
        none = store.best("full_sharpe", True, 3, Where("branch < 0", tuple(store.columns)))
        assert (len(none), none.columns) == (0, ALL_ROWS.column_names)

    def test_condition_that_does_not_fit_its_column_is_an_input_error(self, at):
        store = at.open()
        at.fill(store, BLOCKS[:1])
        with pytest.raises(InputError, match=r"^where: "):
            store.best("full_sharpe", True, 3, Where("status > 3", tuple(store.columns)))

    def test_single_rows_and_distinct_paths(self, at):
        store = at.open()
        assert store.distinct_paths() == 0
        at.fill(store, BLOCKS[2:4])
        assert store.distinct_paths() == 7
        assert store.row(137) == ALL_ROWS.slice(137, 1).to_pylist()[0]
        assert [store.row(branch) for branch in (-1, 99, 200, SIZE, 10**12)] == [None] * 5
        assert [branch for branch in range(0, 300, 25) if store.is_committed(branch)] == [100, 125, 150, 175]
        assert not store.is_committed(-1)


class TestLocalStore(StoreContract):
    @pytest.fixture
    def at(self, tmp_path):
        local = Local(tmp_path / "runs")
        with local.opened:
            yield local


@pytest.fixture
def at(tmp_path):
    local = Local(tmp_path / "deep" / "runs")
    with local.opened:
        yield local


# ---------------------------------------------------------------- creation


@pytest.mark.parametrize("n_steps", range(5))
def test_creation_cut_short_is_completed(at, n_steps):
    steps = (
        (at.path / "rows").mkdir,
        (at.path / "lock").touch,
        (at.path / "catalog.sqlite").touch,
        lambda: (at.path / "sweep.json").write_bytes(SPEC[:3]),
    )
    at.path.mkdir(parents=True)
    for step in steps[:n_steps]:
        step()
    with pytest.raises(MissingRunError):
        LocalStore.read(at.path)
    store = at.open()
    assert store.spec == SPEC
    at.fill(store, BLOCKS)
    assert store.verify() == []


def test_rows_without_a_catalogue_are_not_thrown_away(at):
    store = at.open()
    at.fill(store, BLOCKS[:1])
    store.close()
    (at.path / "catalog.sqlite").unlink()
    with pytest.raises(StoreError, match="no record of them"):
        at.open()
    assert len(at.files()) == 1


@pytest.mark.parametrize("run_id", ["", "..", "a/b", "/etc", "x" * 65, "a\0b", "-x"])
def test_run_id_that_could_leave_the_folder_is_refused(tmp_path, run_id):
    with pytest.raises(StoreError, match="run id"):
        LocalStore.create_or_open(tmp_path, run_id, SPEC, BLOCK, SIZE)
    assert list(tmp_path.iterdir()) == []


def test_folder_without_a_run_and_a_foreign_file_are_named(tmp_path):
    with pytest.raises(MissingRunError, match="no run here"):
        LocalStore.read(tmp_path)
    (tmp_path / "catalog.sqlite").write_bytes(b"not a database, but long enough to be taken for one" * 100)
    with pytest.raises(StoreError, match=r"catalog.sqlite: file is not a database"):
        LocalStore.read(tmp_path)


def test_changed_specification_is_found(at):
    store = at.open()
    (at.path / "sweep.json").write_bytes(SPEC + b"\n")
    with pytest.raises(CorruptPartError, match=r"sweep\.json"):
        _ = store.spec
    assert ["sweep.json" in str(problem) for problem in store.verify()] == [True]


@contextmanager
def _lying(at: Local) -> Iterator[Catalogue]:
    """The catalogue of a run, to record what is not so, under sound seals."""
    with closing(Catalogue(at.path / "catalog.sqlite", readonly=False)) as catalogue:
        catalogue.raise_epoch()
        with catalogue.writing():
            yield catalogue


def test_verify_finds_a_catalogue_that_does_not_fit_its_files(at):
    store = at.open()
    at.fill(store, BLOCKS[:2])
    with _lying(at) as catalogue:
        (part,) = catalogue.block(0).parts
        catalogue.replace_parts(0, (msgspec.structs.replace(part, content="0" * 32),))
        catalogue._change(totals=store.counts() | {"passed": 1})
    total, content = store.verify()
    assert "the total of 'passed'" in str(total)
    assert content_hash(rows(*BLOCKS[0])) in str(content)
    assert (total.block, content.block) == (None, BLOCKS[0])


def test_run_that_was_removed_under_its_lock_can_be_created_again(at):
    store = at.open()
    at.fill(store, BLOCKS)
    shutil.rmtree(at.path)
    store.close()
    assert not at.path.exists()
    assert list(at.open().missing()) == BLOCKS


def test_lock_file_that_is_replaced_while_it_is_being_locked_locks_nothing(at, monkeypatch):
    at.open().close()
    flock, replaced = fcntl.flock, []

    def racing(file: int, operation: int) -> None:
        if not replaced:
            (at.path / "lock").unlink()
            replaced.append(os.open(at.path / "lock", os.O_RDWR | os.O_CREAT))
            flock(replaced[0], fcntl.LOCK_EX)
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", racing)
    with pytest.raises(StoreLockedError):
        at.open()
    os.close(replaced[0])
    assert at.open().epoch == 2


def test_finished_run_can_be_read_where_nothing_may_be_written(at, monkeypatch):
    store = at.open()
    at.fill(store, BLOCKS)
    store.close()
    before = sorted(at.path.rglob("*"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert len(at.read().frame()) == SIZE
    assert sorted(at.path.rglob("*")) == before


# ---------------------------------------------------------------- missing blocks


def test_missing_is_lazy_over_ten_million_blocks(at):
    store = at.open(block=1, size=10**7)
    tracemalloc.start()
    try:
        assert next(store.missing()) == (0, 1)
        assert sum(hi - lo for lo, hi in islice(store.missing(), 200_000)) == 200_000
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("share", [0.05, 0.5, 0.999, 1.0])
def test_missing_is_the_complement_of_what_is_committed(at, share):
    size = 3 * 10_000 - 1
    blocks = [(lo, min(lo + 3, size)) for lo in range(0, size, 3)]
    chosen = set(random.Random(17).sample(blocks, int(share * len(blocks))))
    store = at.open(block=3, size=size)
    store.commit(Receipt(lo, hi, (), {"branches": hi - lo}, 0.0) for lo, hi in chosen)
    assert list(store.missing()) == [block for block in blocks if block not in chosen]


# ---------------------------------------------------------------- parts


def _flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_page_checksums_alone_find_every_flip_inside_pages():
    table = rows(0, 500)
    data = encode(table)
    pages = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    outcomes = Counter(_outcome(_flipped(data, bit), table) for bit in random.Random(2).sample(range(8 * pages), 400))
    assert outcomes["wrong"] == 0
    assert outcomes["refused"] > 350


def _outcome(data: bytes, table: pa.Table) -> str:
    try:
        found = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read()
    except (OSError, pa.ArrowException):
        return "refused"
    return "right" if found.equals(table) else "wrong"


def test_floats_are_split_by_byte_and_only_the_rest_uses_dictionaries():
    group = pq.ParquetFile(pa.BufferReader(encode(rows(0, 500)))).metadata.row_group(0)
    columns = {group.column(k).path_in_schema: group.column(k) for k in range(group.num_columns)}
    assert "BYTE_STREAM_SPLIT" in columns["full_sharpe"].encodings
    assert {name for name, column in columns.items() if column.has_dictionary_page} == {"branch", "path", "status"}
    assert {column.compression for column in columns.values()} == {"ZSTD"}


def test_content_hash_does_not_see_chunks_slices_or_file_format():
    table = rows(0, 300)
    chunked = pa.concat_tables([table.slice(0, 7), table.slice(7, 200), table.slice(207)])
    sliced = pa.concat_tables([rows(-9, 0), table]).combine_chunks().slice(9)
    stored = pq.read_table(pa.BufferReader(encode(table)))
    hidden = table.set_column(4, "full_sharpe", _with_garbage_under_nulls(table["full_sharpe"].combine_chunks()))
    assert {content_hash(t) for t in (table, chunked, sliced, stored, hidden)} == {content_hash(table)}


def test_arrow_reads_parts_in_memory_of_its_own(at, monkeypatch):
    """Its threads may be left with what they read when the process ends, and of Python's memory they then abort it."""
    at.fill(store := at.open(), BLOCKS[:2])
    files, sources = [], []
    read_bytes, reader = Path.read_bytes, pa.BufferReader
    monkeypatch.setattr(Path, "read_bytes", lambda path: files.append(read_bytes(path)) or files[-1])
    monkeypatch.setattr(pa, "BufferReader", lambda source: sources.append(pa.py_buffer(source)) or reader(source))
    assert len(store.frame()) == 2 * BLOCK
    assert len(sources) == len(files) == 2
    assert {source.address for source in sources}.isdisjoint(pa.py_buffer(file).address for file in files)


def _with_garbage_under_nulls(column: pa.Array) -> pa.Array:
    validity, data = column.buffers()
    values = np.frombuffer(data, np.float64).copy()
    values[~column.is_valid().to_numpy(zero_copy_only=False)] = 12345.0
    return pa.Array.from_buffers(pa.float64(), len(column), [validity, pa.py_buffer(values)])


def test_content_hash_tells_values_types_and_names_apart():
    one_nan, other_nan = np.array([0x7FF8000000000000, 0x7FF8000000000001], np.uint64).view(np.float64)
    columns = [
        *(pa.array([value], pa.float64()) for value in (0.0, -0.0, None, one_nan, other_nan, 1.0)),
        *(
            pa.array([0], kind)
            for kind in (pa.int64(), pa.int32(), pa.uint64(), pa.timestamp("us"), pa.timestamp("ns"))
        ),
        *(pa.array(texts, pa.string()) for texts in (["ab", "c"], ["a", "bc"], ["abc", ""], ["abc", None], [], ["ab"])),
        *(pa.array([value], pa.bool_()) for value in (True, False, None)),
        *(pa.array([b"ab"], kind) for kind in (pa.binary(), pa.large_binary(), pa.binary(2))),
        pa.array([], pa.float64()),
    ]
    tables = [pa.table({"x": column}) for column in columns] + [pa.table({"y": columns[0]}), pa.table({})]
    assert len({content_hash(table) for table in tables}) == len(tables)


def test_column_that_cannot_be_stored_is_named():
    with pytest.raises(StoreError, match=r"column 'x'.*list"):
        content_hash(pa.table({"x": [[1, 2]]}))


def test_file_that_exists_is_not_overwritten(at):
    store = at.open()
    part = write_part(store.path, "rows", 0, 50, "1", rows(0, 50))
    before = (store.path / part.path).read_bytes()
    with pytest.raises(StoreError, match=r"0-50-1.parquet: cannot write .*File exists"):
        write_part(store.path, "rows", 0, 50, "1", other_rows(0, 50))
    assert (store.path / part.path).read_bytes() == before


@pytest.mark.parametrize("kth", [1, 2])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_disk_that_refuses_leaves_nothing_and_names_path_and_free_bytes(at, monkeypatch, kth, code):
    store, calls, fsync = at.open(), [], os.fsync

    def failing(file: int) -> None:
        calls.append(file)
        if len(calls) == kth:
            raise OSError(code, os.strerror(code))
        fsync(file)

    monkeypatch.setattr(os, "fsync", failing)
    expected = rf"rows/0-50-1\.parquet: cannot write [\d,]+ bytes: {os.strerror(code)}; [\d,]+ bytes are free"
    with pytest.raises(StoreError, match=expected):
        write_part(store.path, "rows", 0, 50, "1", rows(0, 50))
    assert len(calls) == kth
    assert at.files() == set()


def test_file_size_limit_leaves_nothing_half_written(at):
    store = at.open()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StoreError, match="File too large"):
            write_part(store.path, "rows", 0, 50, "1", rows(0, 50))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert at.files() == set()


def test_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"No such file or directory; [0-9,]+ bytes are free"):
        write_part(tmp_path / "gone", "rows", 0, 50, "1", rows(0, 50))


def test_payload_of_a_worker_is_written_as_its_own_file_would_be(at):
    store = at.open()
    part, payload = encode_part("rows", 0, 50, "7", rows(0, 50))
    for damaged in (payload[:-1], _flipped(payload, 999)):
        with pytest.raises(CorruptPartError, match="0-50-7"):
            write_payload(store.path, part, damaged)
    write_payload(store.path, part, payload)
    store.commit([Receipt(0, 50, (part,), {"branches": 50, "passed": 17}, 0.1)])
    assert pa.concat_tables(store.scan()).equals(rows(0, 50))


@pytest.mark.parametrize(
    "name",
    ["../x.parquet", "/etc/passwd", "rows/../../0-1-a.parquet", "rows/0-1-a/b.parquet", "rows/0-1-.sqlite", "a\0"],
)
def test_paths_that_leave_the_folder_are_refused_from_receipts_and_catalogues(at, name):
    store = at.open()
    part = Part("rows", name, 1, 1, "", "")
    with pytest.raises(StoreError, match="is no part"):
        store.commit([Receipt(0, 50, (part,), {}, 0.0)])
    with pytest.raises(StoreError, match="is no part"):
        write_payload(store.path, part, b"x")
    done = at.write(store, 0, 50)
    store.commit([done])
    with _lying(at) as catalogue:
        catalogue.replace_parts(0, (msgspec.structs.replace(done.parts[0], path=name),))
    with pytest.raises(StoreError, match="is no part"):
        store.frame()
    assert "is no part" in str(store.verify()[0])


# ---------------------------------------------------------------- kill -9


def _drive(root: Path, *arguments: str) -> subprocess.Popen[str]:
    """A driver in a process of its own; it says on stdout what it does."""
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{here.parent}{os.pathsep}{here}"}
    command = [sys.executable, str(here / "store_driver.py"), str(root), *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _wait_until_stopped(driver: subprocess.Popen[str]) -> None:
    assert os.waitid(os.P_PID, driver.pid, os.WSTOPPED | os.WNOWAIT) is not None


def _check_what_is_left(at: Local, at_least: int) -> int:
    """After a kill: what was said to be committed is there, and every committed row is right. Returns their number."""
    if not (at.path / "catalog.sqlite").exists():
        return 0
    try:
        store = LocalStore.read(at.path)
    except MissingRunError:
        return 0
    with closing(store):
        n = store.counts()["branches"]
        found = sum(len(table) for table in store.scan())
        assert n == found >= at_least
        assert store.verify() == []
        if n:
            branches = pa.concat_tables(store.scan())["branch"].to_numpy()
            assert pa.concat_tables(store.scan()).equals(ALL_ROWS.take(branches))
    return n


def _check_complete(at: Local) -> None:
    with _drive(at.root) as driver:
        driver.communicate(timeout=60)
    assert driver.returncode == 0
    with closing(LocalStore.read(at.path)) as store:
        assert store.finished
        assert store.verify() == []
        assert pa.concat_tables(store.scan()).equals(ALL_ROWS)
        assert store.counts() == {"branches": SIZE, "ok": SIZE, "passed": sum(ALL_ROWS["passed"].to_pylist())}
    assert len(at.files()) == len(BLOCKS)


@pytest.fixture(scope="module")
def forked() -> Iterator[Callable[..., list[str]]]:
    """``forked("commit", root, stage, nth)``: a driver forked from a warm process; what it said, and how it ended."""
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{here.parent}{os.pathsep}{here}", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, str(here / "store_driver.py"), "--serve"]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None

        def run(*arguments: object) -> list[str]:
            print(*arguments, file=server.stdin, flush=True)
            said = [""]
            while not said[-1].startswith("ended"):
                said.append(server.stdout.readline().strip())
                assert said[-1], "the server died"
            return said[1:]

        yield run
        server.stdin.close()


KILLED = "ended -9"


def test_kill_in_every_stage_loses_and_doubles_nothing(tmp_path, forked, rounds, landed):
    chance, n, n_orphans = random.Random(9), rounds(60, 1_200), 0
    at, committed = Local(tmp_path / "0"), 0
    for k in range(n):
        if k % 12 == 0:
            at, committed = Local(tmp_path / str(k)), 0
        stage = STAGES[k % len(STAGES)] if k % 12 else "creating"
        stage = chance.choice(STAGES[1:]) if stage == "creating" and k % 12 else stage
        *said, end = forked("commit", at.root, stage, chance.randint(1, 3) if k % 12 else 1)
        assert (end, said[-1]) == (KILLED, stage)
        landed[stage] += 1
        committed = _check_what_is_left(at, committed + BLOCK * said.count("committed"))
        n_orphans += len(at.files()) - len(range(0, committed, BLOCK))
        if k == n - 1:
            _check_complete(at)
    assert set(landed) == set(STAGES)
    assert min(landed.values()) >= n // 12
    assert n_orphans == landed["writing"] + landed["written"] + landed["committing"]


def test_kill_in_every_stage_of_a_repair_leaves_old_or_new_files(tmp_path, forked, rounds, landed):
    at, chance = Local(tmp_path / "runs"), random.Random(4)
    with at.opened:
        at.fill(at.open(size=6 * BLOCK), BLOCKS[:6])
    for k in range(rounds(10, 200)):
        stage, damaged = REPAIR_STAGES[k % len(REPAIR_STAGES)], chance.sample(sorted(at.files()), 3)
        for name in damaged:
            (at.path / name).write_bytes((at.path / name).read_bytes()[: chance.randint(0, 900)])
        *said, end = forked("repair", at.root, stage, chance.randint(1, 3))
        assert (end, said[-1]) == (KILLED, stage)
        landed[stage] += 1
        with closing(LocalStore.read(at.path)) as store:
            in_doubt = stage == "removing"
            assert len(store.verify()) == 3 - said.count("replaced") - in_doubt
        assert forked("repair", at.root)[-1] == "ended 0"
        with closing(LocalStore.read(at.path)) as store:
            assert pa.concat_tables(store.scan()).equals(rows(0, 6 * BLOCK))
        assert len(at.files()) == 6
    assert set(landed) == set(REPAIR_STAGES)


def test_kill_at_random_moments_loses_and_doubles_nothing(at):
    landed: Counter[str] = Counter()
    chance, committed = random.Random(1), 0
    for _ in range(8):
        with _drive(at.root) as driver:
            assert driver.stdout is not None
            said = [driver.stdout.readline().strip() for _ in range(chance.randint(1, 20))]
            driver.kill()
            said += driver.stdout.read().split()
        assert driver.returncode == -9
        landed[said[-1]] += 1
        committed = _check_what_is_left(at, committed + BLOCK * said.count("committed"))
    assert len(landed) >= 2, landed
    assert 0 < committed < SIZE
    _check_complete(at)


def test_lock_names_a_living_holder_and_dies_with_it(at):
    with _drive(at.root, "writing", "1", "SIGSTOP") as driver:
        _wait_until_stopped(driver)
        with pytest.raises(StoreLockedError, match=f"process {driver.pid} on"):
            at.open()
        driver.kill()
    assert driver.returncode == -9
    assert at.open().run_id == RUN_ID


def test_driver_that_slept_through_a_take_over_commits_nothing(at):
    with _drive(at.root, "written", "3", "SIGSTOP") as driver:
        _wait_until_stopped(driver)
        store = at.open(take_over=True)
        assert list(store.missing()) == BLOCKS[2:]
        at.fill(store, BLOCKS[2:4])
        driver.send_signal(signal.SIGCONT)
        complaint = driver.communicate(timeout=60)[1]
    assert driver.returncode == 1
    assert "epoch 1 was taken over by epoch 2" in complaint
    at.fill(store, list(store.missing()))
    assert store.verify() == []
    assert pa.concat_tables(store.scan()).equals(ALL_ROWS)


def test_driver_that_stopped_in_the_middle_of_a_commit_has_to_be_ended_which_is_said(at, monkeypatch):
    monkeypatch.setattr("forge_ray.store.catalogue.BUSY_SECONDS", 0.2)
    with _drive(at.root, "committing", "3", "SIGSTOP") as driver:
        _wait_until_stopped(driver)
        try:
            with pytest.raises(
                StoreLockedError, match=rf"locked: process {driver.pid} on \S+ stopped .* end it and run"
            ):
                at.open(take_over=True)
        finally:
            driver.kill()
    store = at.open()
    assert list(store.missing()) == BLOCKS[2:]
    at.fill(store, list(store.missing()))
    assert pa.concat_tables(store.scan()).equals(ALL_ROWS)


def test_driver_script_visits_every_stage(at, capfd):
    store_driver.main(str(at.root))
    said = Counter(capfd.readouterr().out.split())
    assert said == {"creating": 1, "writing": 2 * len(BLOCKS), **dict.fromkeys(STAGES[2:], len(BLOCKS))}


def test_commit_that_fails_at_its_end_records_nothing(at, monkeypatch):
    store, insert = at.open(), Catalogue.insert

    def failing(self: Catalogue, receipt: Receipt) -> None:
        insert(self, receipt)
        if receipt.lo == BLOCK:
            raise StoreError("no more")

    monkeypatch.setattr(Catalogue, "insert", failing)
    with pytest.raises(StoreError, match="no more"):
        at.fill(store, BLOCKS[:2])
    monkeypatch.undo()
    assert store.counts() == {"branches": 0, "passed": 0}
    at.fill(store, BLOCKS)
    assert len(store.frame()) == SIZE


# ---------------------------------------------------------------- folders that somebody else has made


@pytest.mark.parametrize("name", ["lock", "more", "catalog.sqlite", "sweep.json", "rows"])
def test_a_run_with_a_link_is_refused_and_nothing_elsewhere_is_touched(at, tmp_path, name):
    """Its lock would overwrite a file, its orphans would be those of another run."""
    at.fill(at.open(), BLOCKS[:2])
    at.opened.close()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    kept = elsewhere / "0-50-9.parquet"
    kept.write_text("a line\n")
    if name == "rows":
        shutil.rmtree(at.path / name)
    else:
        (at.path / name).unlink(missing_ok=True)
    (at.path / name).symlink_to(kept if "." in name or name == "lock" else elsewhere)
    with pytest.raises(StoreError, match=f"{name}: a link; whoever writes here would write elsewhere"):
        at.open()
    assert kept.read_text() == "a line\n" and list(elsewhere.iterdir()) == [kept]


def test_what_is_no_regular_file_is_damage_and_is_not_waited_for(at):
    store = at.open()
    at.fill(store, BLOCKS)
    first, spec = at.path / store.parts()[0].path, at.path / "sweep.json"
    for path in (first, spec):
        path.unlink()
        os.mkfifo(path)
    assert {damage.file for damage in store.verify()} == {str(first), str(spec)}
    with pytest.raises(CorruptPartError, match="no regular file"):
        pa.concat_tables(store.scan())


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW run AS WITH RECURSIVE e(n) AS (SELECT 1 UNION ALL SELECT n FROM e) SELECT n, n FROM e",
        "CREATE TABLE run (state TEXT NOT NULL, seal TEXT NOT NULL CHECK (seal > randomblob(1)))",
    ],
    ids=["an endless view", "a table with a condition"],
)
def test_catalogue_with_other_tables_is_damaged(at, statement):
    at.fill(at.open(), BLOCKS[:1])
    at.opened.close()
    with closing(sqlite3.connect(at.path / "catalog.sqlite")) as sql, sql:
        sql.execute("DROP TABLE run")
        sql.execute(statement)
    with pytest.raises(CorruptPartError, match="other tables than those of a run"):
        at.read()


def test_a_refused_read_is_not_made_damage_by_what_ends_it(at):
    """SQLite ends a transaction by itself where the disk fails it."""
    at.fill(at.open(), BLOCKS[:1])
    catalogue = at.read()._catalogue

    def refuse_in_the_middle() -> None:
        with catalogue.moment():
            catalogue._sql.execute("ROLLBACK")
            raise DiskError("the disk says no")

    with pytest.raises(DiskError, match="the disk says no"):
        refuse_in_the_middle()


def test_a_lack_of_memory_is_no_damage(at, monkeypatch):
    at.fill(store := at.open(), BLOCKS[:1])

    def refuse(*_: object, **__: object) -> None:
        raise pa.ArrowMemoryError("malloc of size 8000000 failed")

    monkeypatch.setattr(pq.ParquetFile, "read", refuse)
    with pytest.raises(MemoryError):
        store.verify()


@pytest.mark.parametrize(
    ("spec", "job"),
    [
        (b"{}", b"{}"),
        (b"\xff\xfe", b"{}"),
        (b"[]", b"[]"),
        (b'{"axes": {"n": []}, "keep": "all", "split": "none", "tree_names": []}', b"{}"),
        (b'{"axes": {}, "keep": "all", "split": "none", "tree_names": []}', b"\xff"),
    ],
    ids=["empty", "no text", "lists", "an axis without values", "a job that is no text"],
)
@pytest.mark.parametrize("name", ["top", "show", "status", "report", "explain"])
def test_whatever_a_sealed_run_holds_readers_end_with_an_error(at, name, spec, job, monkeypatch, capsys):
    """Seals are no signatures: whoever makes a run by hand gives it the right ones."""
    store = at.open(spec=spec)
    at.fill(store, BLOCKS)
    store.keep_job(job)
    store.finish({})
    at.opened.close()
    more = {"show": ["0"], "explain": ["0", "2020-01-02"]}
    monkeypatch.setattr(sys, "argv", ["forge-ray", name, str(at.path), *more.get(name, [])])
    assert command() in (1, 2)
    assert capsys.readouterr().err.count("error: ") == 1
