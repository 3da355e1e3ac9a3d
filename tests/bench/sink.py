"""Rows per second into SQLite: the sink's transaction per block against one INSERT, committed, per row.

python tests/bench/sink.py            both on the same rows, in one run
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from pathlib import Path

from forge_ray.cluster.local import LocalExecutor
from forge_ray.run import execute, prepare
from forge_ray.store import LocalStore, SqliteSink
from forge_ray.sweep import read_job

JOB = Path(__file__).parent.parent.parent / "jobs" / "quickstart.json"
N_SLOW = 3_000


def by_block(store: LocalStore) -> float:
    """Rows per second of the sink over the whole run."""
    sink = SqliteSink(store)
    began = time.perf_counter()
    sink.catch_up()
    seconds = time.perf_counter() - began
    sink.close()
    return store.counts()["branches"] / seconds


def by_row(store: LocalStore, path: Path) -> float:
    """Rows per second of the first rows, each in a transaction of its own, with the sink's settings."""
    rows = [tuple(row.values()) for table in store.scan() for row in table.to_pylist()][:N_SLOW]
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"CREATE TABLE results ({', '.join(f'c{k}' for k in range(len(rows[0])))})")
    began = time.perf_counter()
    for row in rows:
        connection.execute(f"INSERT INTO results VALUES ({', '.join('?' * len(row))})", row)
    seconds = time.perf_counter() - began
    connection.close()
    return len(rows) / seconds


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        result = execute(prepare(read_job(JOB)), LocalExecutor(2, 2**28), folder)
        store = LocalStore.read(Path(result.path))
        block, row = by_block(store), by_row(store, Path(folder) / "slow.sqlite")
        store.close()
    print(f"one transaction per block: {block:,.0f} rows/s; one per row: {row:,.0f} rows/s; ratio {block / row:.1f}")


if __name__ == "__main__":
    main()
