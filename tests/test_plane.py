"""Planes of two exact thresholds: every cell has the bits of its branch, simulated by itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import forge_ray as fr
from forge_ray.data import Frame
from forge_ray.engine import METRIC_COLUMNS, BoundPlan, Cache, Kernel, PlaneRows, evaluate, plane_rows
from forge_ray.engine import plane as tables
from forge_ray.engine.outcomes import paths_of
from forge_ray.engine.pruning import pruning_of
from forge_ray.errors import CapacityError, InputError, StoreError
from forge_ray.plan.settings import Prune
from forge_ray.run import Prepared, StepPlane, plane, prepare
from forge_ray.sweep import parse_job
from test_exact import gate, hold, market, prepared_jobs, written_out

NAMES = ("low", "high")
N_CASES = 5
N_ROWS = 3
SHARPE = "is_sharpe"
ALL = (0, 1, 2)
JOB = Path(__file__).parent.parent / "jobs" / "plane.json"


def rows_of(prepared: Prepared) -> PlaneRows:
    return plane_rows(prepared.bound, *axes_of(prepared.bound), Cache(2**26))


def axes_of(bound: BoundPlan) -> tuple[int, int]:
    x, y = (next(a for a, axis in enumerate(bound.plan.space.axes) if axis.id == name) for name in NAMES)
    return x, y


def random_planes(n: int, first: int) -> Iterator[tuple[dict, Prepared, PlaneRows]]:
    for job, prepared in prepared_jobs(NAMES, 10 * n, first):
        if prepared.bound.plan.space.size < 200_000:
            try:
                yield job, prepared, rows_of(prepared)
            except InputError:
                continue
            n -= 1
        if not n:
            return


def some_rows(rows: PlaneRows, rng: np.random.Generator) -> list[int]:
    return sorted({0, rows.shape[0] - 1, *rng.integers(rows.shape[0], size=N_ROWS)})


def two_gates(first: dict | None = None, second: dict | None = None) -> dict:
    """AAA where its RSI is low, else BBB where its own is high, else CCC."""
    rally = gate("$high", comparator="gt", ticker="BBB", **(second or {})) | {"id": "rally"}
    rally["children"] = {"then": [hold("BBB", "bbb")], "else": [hold("CCC", "ccc")]}
    dip = gate(**(first or {}))
    return {**dip, "children": {"then": [hold("AAA", "aaa")], "else": [rally]}}


def a_job(data: Frame, tree: dict | None = None, **more: Any) -> dict:
    return {"data": data, "tree": tree or two_gates(), "axes": dict.fromkeys(NAMES, "exact")} | more


@pytest.fixture(scope="module")
def data() -> Frame:
    return market(1)[0]


@pytest.fixture(scope="module")
def found(data: Frame) -> StepPlane:
    return plane(parse_job(a_job(data)), [SHARPE, "full_max_drawdown"])


# ---------------------------------------------------------------- cells


@pytest.mark.parametrize("part", range(5))
def test_every_cell_has_the_metrics_and_the_path_of_its_branch(part: int):
    """Random trees, panels, modes, costs, rates, splits, rebalancing: all metrics of all segments, bit for bit."""
    rng, seen = np.random.default_rng(part), 0
    for _, prepared, rows in random_planes(N_CASES, 10_000 * part):
        seen += 1
        for i in some_rows(rows, rng):
            assert_row(prepared.bound, rows, i)
    assert seen == N_CASES


def assert_row(bound: BoundPlan, rows: PlaneRows, i: int) -> None:
    """A row of a plane has the metrics and the paths of its branches, each simulated by itself."""
    n_y = rows.shape[1]
    table = evaluate(replace(bound, kernel=Kernel.SCALAR), i * n_y, (i + 1) * n_y, Cache(2**26))
    metrics, outcome = rows.row(i, METRIC_COLUMNS)
    expected = np.stack([table.column(name).to_numpy() for name in METRIC_COLUMNS])
    assert np.array_equal(metrics[:, outcome], expected, equal_nan=True)
    sums, _, outcome = rows.sums(i, ALL)
    assert [path.tobytes() for path in paths_of(sums)[outcome]] == table.column("path").to_pylist()


@pytest.mark.parametrize("rebalance", ["daily", "weekly", "monthly"])
def test_sums_and_drawdowns_are_those_of_the_scalar_kernel_for_any_classes(data: Frame, rebalance: str):
    """Classes at random, bars in several segments or in none: runs of one bar and of many."""
    rng = np.random.default_rng(5)
    for mode in ("CC", "OO", "OC"):
        job = a_job(data, execution={"rebalance": rebalance, "mode": mode, "cost_bps": 30})
        bound = with_random_classes(prepare(parse_job(job)).bound, rng)
        rows = plane_rows(bound, 0, 1, Cache(2**26))
        for i in some_rows(rows, rng):
            assert_row(bound, rows, i)


def with_random_classes(bound: BoundPlan, rng: np.random.Generator) -> BoundPlan:
    edges = np.unique([0, bound.n, *rng.integers(1, bound.n, size=25)])
    classes = rng.integers(5, size=len(edges) - 1)
    runs = np.stack([edges[:-1], edges[1:], classes], axis=1)
    constants, in_segment = np.zeros((5, 5)), rng.random((5, 3)) < 0.5
    constants[:, 0] = np.bincount(classes, np.diff(edges), 5)
    in_segment[0] = False
    pruning = pruning_of(Prune.NEVER, (), runs, in_segment)
    return replace(bound, runs=runs, class_in_segment=in_segment, classes=constants, pruning=pruning)


def test_neighbours_that_decide_alike_are_one(data: Frame):
    """Where the first gate is always true, the second makes no difference; monthly, most thresholds make none."""
    rows = rows_of(prepare(parse_job(a_job(data))))
    sums, _, outcome = rows.sums(rows.shape[0] - 1, ALL)
    assert len(sums) == 1 and set(outcome.tolist()) == {0}
    sums, _, outcome = rows.sums(0, ALL)
    assert len(sums) == rows.shape[1] and outcome.tolist() == list(range(rows.shape[1]))


# ---------------------------------------------------------------- step functions


def test_thresholds_are_looked_up_exactly(data: Frame, found: StepPlane):
    """Values themselves and what lies just beside them included: as a backtest with those thresholds."""
    rng = np.random.default_rng(3)
    for _ in range(6):
        near = [rng.choice(steps[1:]) for steps in found.steps]
        pairs = [near, [np.nextafter(value, -np.inf) for value in near], rng.uniform(0, 100, 2).tolist()]
        for low, high in pairs:
            job = written_out(a_job(data), low=[low], high=[high])
            (row,) = evaluate(prepare(parse_job(job)).bound, 0, 1, Cache(2**26)).to_pylist()
            at = found.at(low, high)
            assert {name: None if np.isnan(value) else value for name, value in at.items()} == {
                name: row[name] for name in found.metrics
            }


def test_the_plane_is_that_of_the_rows_of_a_run(data: Frame, found: StepPlane):
    table = evaluate(prepare(parse_job(a_job(data))).bound, 0, found.shape[0] * found.shape[1], Cache(2**26))
    for name, cells in found.metrics.items():
        assert np.array_equal(cells.ravel(), table.column(name).to_numpy(), equal_nan=True)
    best = table.column(SHARPE).to_numpy()
    assert found.best(SHARPE) == divmod(int(np.nanargmax(best)), found.shape[1])
    least = table.column("full_max_drawdown").to_numpy()
    assert found.best("full_max_drawdown") == divmod(int(np.nanargmin(least)), found.shape[1])
    assert len(set(table.column("path").to_pylist())) <= found.distinct <= len(table)


def test_workers_change_no_bit(data: Frame, found: StepPlane):
    other = plane(parse_job(a_job(data)), list(found.metrics), workers=3)
    assert other.distinct == found.distinct
    assert all(np.array_equal(cells, other.metrics[name], equal_nan=True) for name, cells in found.metrics.items())


def test_constraints_leave_holes(data: Frame, found: StepPlane):
    cells = plane(parse_job(a_job(data, where=["low < high"])), [SHARPE]).metrics[SHARPE]
    admitted = found.values[0][:, None] < found.values[1][None, :]
    assert np.array_equal(cells, np.where(admitted, found.metrics[SHARPE], np.nan), equal_nan=True)
    assert 0 < admitted.sum() < admitted.size


def test_rows_that_decide_alike_are_copied():
    """A latch that never opens: its exit makes no difference."""
    latch = gate(window=5, comparator="lt") | {"kind": "altExit"}
    latch["entryConditions"] = latch.pop("conditions")
    latch["exitConditions"] = [{"id": "x", "metric": "RSI", "window": 5, "ticker": "AAA", "comparator": "gt",
                                "threshold": 55}]  # fmt: skip
    latch["children"] = {"then": [hold("AAA", "aaa")], "else": [gate("$high", ticker="CCC") | {"id": "other"}]}
    data = market(2)[0]
    prepared = prepare(parse_job(a_job(data, latch)))
    rows = rows_of(prepared)
    assert 1 < rows.is_new.sum() < len(rows.is_new)
    found = plane(parse_job(a_job(data, latch)), [SHARPE])
    table = evaluate(prepared.bound, 0, found.shape[0] * found.shape[1], Cache(2**26))
    assert np.array_equal(found.metrics[SHARPE].ravel(), table.column(SHARPE).to_numpy(), equal_nan=True)


def test_ranges_and_ends(data: Frame):
    found = plane(parse_job(a_job(data, axes={"low": "20..40 exact", "high": "50..60 exact"})))
    assert found.piece(20, 60) == (0, found.shape[1] - 1)
    assert found.between(0, 0)[0] == 20 and found.between(1, found.shape[1] - 1)[1] == 60
    with pytest.raises(InputError) as refused:
        found.at(19.5, 60.5)
    assert str(refused.value) == "low: 19.5; allowed: 20 to 40\nhigh: 60.5; allowed: 50 to 60"


def test_an_archive_holds_the_plane(found: StepPlane, tmp_path: Path):
    with np.load(found.save(tmp_path / "plane.npz")) as kept:
        assert kept["axes"].tolist() == list(NAMES)
        assert np.array_equal(kept["y"], found.values[1]) and np.array_equal(kept["x_steps"], found.steps[0])
        assert np.array_equal(kept[SHARPE], found.metrics[SHARPE], equal_nan=True)
    with pytest.raises(StoreError, match="cannot write the plane: No such file"):
        found.save(tmp_path / "nowhere" / "plane.npz")


def test_without_a_split_the_default_is_the_full_period(data: Frame):
    assert list(fr.plane(a_job(data, split="none")).metrics) == ["full_sharpe"]


def test_a_plane_without_any_value_has_no_best(data: Frame):
    job = a_job(data, axes={"low": "10..11 exact", "high": "50..60 exact"}, split="none")
    found = plane(parse_job(job), ["full_beta"])
    assert found.best("full_beta") is None
    assert found.summary()["metrics"]["full_beta"] == {
        "low": None, "median": None, "high": None, "undefined": found.shape[0] * found.shape[1], "best": None,
    }  # fmt: skip


# ---------------------------------------------------------------- refusals


def refusal(job: dict, metrics: tuple[str, ...] = ()) -> str:
    with pytest.raises(InputError) as found:
        plane(parse_job(job), metrics)
    return str(found.value)


def test_what_is_no_plane_is_refused_with_every_reason(data: Frame):
    job = a_job(data, two_gates({"window": "$n"}), axes={"low": "exact", "high": [50, 60], "n": "2..20"})
    told = refusal(job, ("sharpe",)).splitlines()
    assert told[:3] == [
        'axes: exact are low; a plane has two, as in "low": "exact"',
        "axes.high: 2 values; allowed beside a plane: one",
        "axes.n: 19 values; allowed beside a plane: one",
    ]
    assert told[3].startswith("metric: unknown metric column 'sharpe'")
    trees = {"a": two_gates(), "b": gate()}
    several = {key: value for key, value in a_job(data, trees=trees).items() if key != "tree"}
    assert refusal(several) == "trees: 2 trees; a plane has one"


def test_what_joins_the_thresholds_is_refused(data: Frame):
    latch = gate() | {"kind": "altExit"}
    (entry,) = latch.pop("conditions")
    leave = entry | {"id": "x", "comparator": "gt", "threshold": "$high"}
    latch |= {"entryConditions": [entry], "exitConditions": [leave]}
    text = "a latch or a count reads it together with high; allowed in a plane: conditions of one of them"
    assert refusal(a_job(data, latch)) == f"axes.low: {text}"


def test_thresholds_below_an_equity_and_rules_along_the_path_are_refused(data: Frame):
    curve = {"id": "curve", "kind": "function", "metric": "ROC", "window": 5, "rank": "top", "n": 1,
             "children": {"next": [two_gates(), hold("DDD", "third")]}}  # fmt: skip
    curve["children"]["next"][1]["positions"] = ["CCC"]
    text = "acts through weights, scores or equities, or on many allocations; allowed in a plane: conditions"
    assert refusal(a_job(data, curve)) == f"axes.low: {text}\naxes.high: {text}"
    job = a_job(data, execution={"rebalance": {"threshold": 5}})
    assert refusal(job).startswith("execution.rebalance: threshold trades by what is held; allowed in a plane: daily")


def test_what_does_not_fit_is_refused(data: Frame, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.modules["forge_ray.run.plane"], "MAX_PLANE_BYTES", 1000)
    with pytest.raises(
        CapacityError, match=r"plane: 1\d\d × 1\d\d thresholds of 2 metrics take [0-9,]+ bytes; at most"
    ):
        plane(parse_job(a_job(data)), [SHARPE, "oos_sharpe"])
    monkeypatch.undo()
    monkeypatch.setattr(tables, "MAX_TABLE_BYTES", 1000)
    with pytest.raises(CapacityError, match=r"plane: 4 sleeves over 1\d\d bars take"):
        plane(parse_job(a_job(data)))


# ---------------------------------------------------------------- command


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    ranges = ("--set", "axes.low=30..32 exact", "--set", "axes.high=53..54 exact")
    call = [sys.executable, "-m", "forge_ray.cli.main", "plane", JOB, *ranges, *arguments]
    return subprocess.run(call, capture_output=True, text=True)


def test_the_command_tells_the_best_and_writes_the_archive(tmp_path: Path):
    done = command("--metric", "oos_sharpe", "--metric", "full_trades", "-o", tmp_path / "plane.npz", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, done.stderr, told["file"]) == (0, "", str(tmp_path / "plane.npz"))
    best = told["metrics"]["oos_sharpe"]["best"]
    with np.load(told["file"]) as kept:
        assert told["axes"] == {"low": len(kept["x"]), "high": len(kept["y"])}
        assert best["value"] == np.nanmax(kept["oos_sharpe"])
        assert best["thresholds"]["low"]["from"] in kept["x_steps"]
        assert told["metrics"]["full_trades"]["median"] == np.median(kept["full_trades"])
    lines = command("--metric", "oos_sharpe").stdout.splitlines()
    assert lines[0].startswith(f"dip or rally: low ({told['axes']['low']:,}) × high ({told['axes']['high']:,}), ")
    assert lines[2].startswith(f"  best {best['value']:.3f} at low {best['thresholds']['low']['value']:g} (alike from ")


def test_the_command_names_the_options(tmp_path: Path):
    done = command("--metric", "oos_sharp", "-o", tmp_path / "plane.csv")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --out: plane.csv; allowed: a name that ends with .npz\n"
    done = command("--metric", "oos_sharp")
    assert done.stderr.startswith("error: --metric: unknown metric column 'oos_sharp' (did you mean 'oos_sharpe'?)")
