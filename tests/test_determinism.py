"""One content hash for every way of computing a search: workers, blocks, order, caches, pruning, kernels, resuming,
time zones, languages, seeds of hashes and processors.

Every value of every factor is in one of the 12 cells of each test run; in the 96 of ``pytest --campaign
tests/test_determinism.py`` every pair of values of two factors is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

import determinism
from determinism import SEARCHES, Cell, cells, environments, pairs_of, rows_of
from forge_ray.store import content_hash

PLAIN = {"workers": "1 thread", "block": 1000, "order": "as they are", "cache": "ample", "end": "at once"}


def is_quick(cell: Cell) -> bool:
    """One embedded cluster, and few kernels to compile for another processor."""
    where = cell["environment"]
    return ("on Ray" not in cell["workers"] or where == "Apia") and (
        where != "any processor" or cell["search"] == "of few kernels"
    )


def design(in_campaign: bool) -> list[Cell]:
    return cells(96, 12, lambda cell: True) if in_campaign else cells(12, 4, is_quick)


def test_the_cells_are_a_covering_design():
    few, many = design(False), design(True)
    for chosen, n_environments in ((few, 4), (many, 12)):
        sizes = {name: len({cell[name] for cell in chosen}) for name in chosen[0]}
        assert sizes == {"search": 7, "workers": 5, "block": 4, "order": 3, "cache": 4, "end": 2,
                         "environment": n_environments}  # fmt: skip
    n_pairs = sum(a * b for k, a in enumerate(sizes.values()) for b in [*sizes.values()][k + 1 :])
    assert len({pair for cell in many for pair in pairs_of(cell)}) == n_pairs


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pa.Table]:
    folder = tmp_path_factory.mktemp("plain")
    return {name: rows_of(PLAIN | {"search": name}, folder / str(k)) for k, name in enumerate(SEARCHES)}


def test_kernels_agree_and_what_pruning_leaves_is_the_same(expected: dict[str, pa.Table]):
    assert expected["one by one"].equals(expected["by lanes"])
    assert expected["pruned, one by one"].equals(expected["pruned, by lanes"])
    every, pruned = pl.DataFrame(expected["by lanes"]), pl.DataFrame(expected["pruned, by lanes"])
    left = pruned.filter(pl.col("status") == "ok")
    assert 20 < len(left) < len(every) - 20, "some branches are pruned"
    assert left.select(every.columns).equals(every.filter(pl.col("branch").is_in(left["branch"].implode())))
    assert len({content_hash(rows) for rows in expected.values()}) == 5
    assert all(len(set(rows["path"].to_pylist())) > 0.4 * len(rows) for rows in expected.values())


def hashes(name: str, some: list[Cell], folder: Path) -> list[str]:
    """Of the rows of cells, computed by a process in their environment."""
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    environment |= environments()[name] | {"RAY_memory_monitor_refresh_ms": "0"}
    command = [sys.executable, determinism.__file__, str(folder), json.dumps(some)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, f"{name}: {done.stderr}"
    return done.stdout.split()


def test_no_way_of_computing_a_search_changes_a_bit(
    expected: dict[str, pa.Table], rounds: Callable[[int, int], int], landed: Counter[str], tmp_path: Path
):
    by_environment = defaultdict[str, list[Cell]](list)
    for cell in design(rounds(0, 1) == 1):
        by_environment[cell["environment"]].append(cell)
    differing = []
    for name, some in by_environment.items():
        found = hashes(name, some, tmp_path)
        assert len(found) == len(some)
        landed[name] = len(some)
        differing += [c for c, hashed in zip(some, found, strict=True) if hashed != content_hash(expected[c["search"]])]
    assert not differing
