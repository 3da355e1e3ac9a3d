"""The bench: competitors that give the same results, and no speed before they do."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from forge_ray.cli.bench import bench as run_bench
from forge_ray.engine import Cache, plane_rows
from forge_ray.errors import InputError
from forge_ray.run import prepare
from forge_ray.sweep import read_job
from forge_ray.tree import atoms_of
from forge_ray.tree.importers import import_text
from forge_ray.tree.parse import parse_tree

BENCH = Path(__file__).parent / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch):
    """`tests/bench` on the path, as for a script that lies there."""
    monkeypatch.syspath_prepend(str(BENCH))


def test_json_has_the_rates_of_every_workload_and_null_for_what_was_not_measured():
    done = subprocess.run(
        [sys.executable, "-W", "error", str(BENCH / "engine.py"), "--json", "--quick", "--only", "W2"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert list(found) == ["workloads", "scaling", "environment"] and list(found["workloads"]) == ["W2"]
    rates = found["workloads"]["W2"]
    assert list(rates) == ["engine", "one_pass_loop", "scalar", "vectorbt"] and rates["vectorbt"] is None
    assert all(rates[other] > 0 for other in ("engine", "one_pass_loop", "scalar"))


@pytest.mark.parametrize("lines", [{}, {"trends": (20,)}], ids=["one condition", "two"])
def test_loops_over_bars_equal_the_engine(bench: None, lines: dict):
    from engine import Engine, check
    from thresholds import Thresholds

    workload = Thresholds(**lines, n_lines=4)
    engine = Engine(workload, 0, 10 * 81)
    tables, tasks = engine.run(), workload.tasks(0, 10 * 81)
    assert len(tasks) >= 2
    for name, task in tasks.items():
        check(name, engine, tables, task)


def test_other_results_and_other_weights_are_refused(bench: None):
    from engine import Engine, check
    from trees import Nested

    workload = Nested()
    engine = Engine(workload, 0, 20)
    tables, task = engine.run(), workload.tasks(0, 20)["one_pass_loop"]
    check("the same", engine, tables, task)
    other = task.run().copy()
    other[7, 2, 5] += 2e-9
    with pytest.raises(SystemExit, match=f"branch {task.branches[7]}, oos_max_drawdown: 0"):
        check("dearer", engine, tables, replace(task, run=lambda: other))
    with pytest.raises(SystemExit, match="branch 0 holds something else"):
        check("held", engine, tables, replace(task, weights=lambda j: workload.weights(50_000)))


def test_the_symphony_pastes_a_hundred_conditions_a_thousand_times(bench: None):
    from symphony import symphony

    text = symphony()
    tree = parse_tree(import_text(text, "symphony.json").job["tree"])
    conditions = [atom for atom in atoms_of(tree) if atom.kind == "condition"]
    assert 950 <= text.count('"lhs-fn"') <= 1_100
    assert 80 <= len(conditions) <= 110


def test_the_command_runs_the_bench_of_a_checkout():
    done = subprocess.run(
        [sys.executable, "-m", "forge_ray.cli.main", "bench", "--only", "W9"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "--only: W9; allowed: W1, W1b, W2, W3, N1, M1" in done.stderr


def test_the_command_says_where_the_bench_is_when_it_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("forge_ray.__file__", str(tmp_path / "forge_ray" / "__init__.py"))
    with pytest.raises(InputError, match=r"bench: .* run python tests/bench/engine\.py in a checkout"):
        run_bench([])


def test_a_plane_that_differs_from_its_branches_is_refused(bench: None):
    import plane

    bound = prepare(read_job(plane.JOB, ["axes.low=30..31 exact", "axes.high=50..51 exact"])).bound
    rows = plane_rows(bound, 0, 1, Cache(plane.CACHE_BYTES))
    cells = [(i, j) for i in (0, rows.shape[0] - 1) for j in range(0, rows.shape[1], 9)]
    found = plane.Scalar(bound, rows, cells).run()
    plane.check(rows, cells, found)
    found[3, 5] += 1e-15
    with pytest.raises(SystemExit, match="the plane and the branch by itself differ"):
        plane.check(rows, cells, found)
