"""Is a stored run what was committed, and if not, make it so: `verify` and `repair`.

1. `verify` reads everything again: the catalogue, the files beside the rows, every part, the SQLite table.
2. `repair` takes the run's lock and does the same. If blocks are damaged, it reads the job that was kept, prepares it
   and checks that this still is the same run: its id covers the data and the version of the engine.
3. It computes exactly these blocks, without the branches that were left out of them. The store compares each by content
   with what is recorded, and then records the new file in place of the old one, in one transaction.
4. What cannot be computed (the catalogue, the job, the market that came from memory) is left and told.

Killed anywhere, `repair` can be called again: blocks that are replaced already are sound.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from forge_ray.cluster.work import Work
from forge_ray.run.deciding import prepared_again
from forge_ray.run.execution import Executor, Prepared
from forge_ray.store import COPY, SPEC, Damage, LocalStore, SqliteSink, copy_again, damaged_copies, write_payload


@dataclass(frozen=True)
class Verified:
    """What `verify` found. branches : committed. damaged : in the order of files and blocks; none if all is well."""

    run_id: str
    path: str
    blocks: int
    branches: int
    damaged: tuple[Damage, ...]


@dataclass(frozen=True)
class Repaired:
    """What `repair` did. blocks : computed again, [lo, hi). copied : whether the SQLite table was
    made anew. left : what is damaged still."""

    run_id: str
    path: str
    blocks: tuple[tuple[int, int], ...]
    copied: bool
    left: tuple[Damage, ...]


def verify(path: str | Path) -> Verified:
    """Read a run whole and compare it with what was committed. Raises `MissingRunError`, and `StoreError` for a
    catalogue that cannot be opened."""
    with closing(LocalStore.read(Path(path))) as store:
        return Verified(store.run_id, str(path), len(store.parts()), store.counts()["branches"], tuple(_damage(store)))


def repair(path: str | Path, executor: Executor, *, take_over: bool = False) -> Repaired:
    """Compute the damaged blocks of a run again, and copy them again into its SQLite table.

    Raises `StoreLockedError` while a driver holds the run, `StoreError` if its job does not give this run any more,
    `NondeterminismError` if a block comes out different from what was committed.
    """
    with closing(LocalStore.reopen(Path(path), take_over)) as store:
        damaged = store.verify()
        blocks = tuple(sorted({damage.block for damage in damaged if damage.block}))
        if blocks or any(damage.file == str(store.path / SPEC) for damage in damaged):
            prepared = prepared_again(store, "only what made a block can make it again")
            _recompute(store, prepared, executor, blocks)
        copied = bool(damaged_copies(store))
        if copied:
            copy_again(store)
        elif (store.path / COPY).exists():
            with closing(SqliteSink(store)) as copy:
                copy.catch_up()
        return Repaired(store.run_id, str(path), blocks, copied, tuple(_damage(store)))


def _damage(store: LocalStore) -> list[Damage]:
    return [*store.verify(), *damaged_copies(store)]


def _recompute(store: LocalStore, prepared: Prepared, executor: Executor, blocks: Iterable[tuple[int, int]]) -> None:
    """Evaluate blocks anew, whatever is known of their paths, and put them in the place of the damaged ones."""
    store.keep_spec(prepared.spec)
    run_dir, holder = str(store.path.absolute()), store.holder
    works = (Work(lo, hi, str(store.epoch), run_dir, holder, lost=store.lost_in(lo)) for lo, hi in blocks)
    with closing(executor.run(prepared.bound, works)) as finished:
        for done in filter(None, finished):
            if done.payload is not None:
                write_payload(store.path, done.receipt.parts[0], done.payload)
            store.replace(done.receipt)
