"""The numbers of a branch are a function of plan, data and branch number: bit for bit, however they are computed."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

import runs
from forge_ray.cluster.local import LocalExecutor
from forge_ray.data import Panel, parse_split
from forge_ray.engine import METRIC_COLUMNS, BoundPlan, Cache, Tally, bind, evaluate, simulation
from forge_ray.engine.bind import Kernel
from forge_ray.plan import Execution, compile_plan
from forge_ray.run import Prepared, Progress, execute, prepare
from forge_ray.store import LocalStore
from forge_ray.sweep import ENGINE_VERSION, parse_job
from forge_ray.tree import Placeholder, Tree, fill, parse_tree
from harness import Prices, bound_of, exact, grid_of, panel_of
from random_trees import random_prices, random_tree

TICKERS = ("AAA", "BBB", "BIL", "CCC")
EXTRA = ("DDD", "EEE")
GOLDEN = Path(__file__).with_name("golden_rows.json")
CACHE = 2**26
OUTCOME = ("path", "status", *METRIC_COLUMNS)

GATES = {
    "id": "root",
    "kind": "indicator",
    "conditions": [
        {"id": "dip", "metric": "RSI", "window": "$n", "ticker": "$signal", "comparator": "lt", "threshold": "$low"},
        {"id": "trend", "type": "or", "metric": "SMA", "window": "$n", "ticker": "BBB", "comparator": "gt",
         "expanded": True, "rightMetric": "Price", "rightTicker": "BBB"},
    ],
    "weightingThen": "defined",
    "children": {
        "then": [
            {"id": "pick", "kind": "position", "positions": ["$held", "BBB"], "weight": "$share"},
            {"id": "rest", "kind": "position", "positions": ["CASH"], "weight": 40},
        ],
        "else": [
            {"id": "calm", "kind": "indicator",
             "conditions": [{"id": "c", "metric": "StdDev", "window": 6, "ticker": "CCC", "comparator": "lt",
                             "threshold": "$calm", "forDays": 2}],
             "children": {"then": [{"id": "in", "kind": "position", "positions": ["CCC", "AAA"]}],
                          "else": [{"id": "out", "kind": "position", "positions": ["BIL"]}]}},
        ],
    },
}  # fmt: skip
CONCRETE = parse_tree(
    {"id": "other", "kind": "indicator",
     "conditions": [{"id": "c", "metric": "ROC", "window": 4, "ticker": "AAA", "comparator": "gt", "threshold": 0}],
     "children": {"then": [{"id": "up", "kind": "position", "positions": ["AAA"]}],
                  "else": [{"id": "down", "kind": "position", "positions": ["BIL", "CCC"]}]}}
)  # fmt: skip
AXES = {
    "n": (3, 5, 8),
    "low": (35.0, 45.0, 55.0, 65.0),
    "signal": ("AAA", "CCC"),
    "held": ("AAA", "CCC"),
    "share": (20.0, 60.0),
    "calm": (1.2, 1.5, 1.8),
}


@cache
def prices() -> Prices:
    return random_prices(random.Random(4), [*TICKERS, *EXTRA], 120, ragged=False)


@cache
def space() -> BoundPlan:
    """Three outer and three inner axes, 288 branches, and a second tree that uses no axis."""
    other = {"id": "alone", "kind": "position", "positions": ["AAA", "CCC"]}
    split, benchmark = "even_odd_month", "DDD"
    return bound_of([GATES, other], prices(), AXES, split=split, benchmark=benchmark, where=["n < 8 or low > 40"])


@cache
def expected() -> pa.Table:
    rows = exact(evaluate(space(), 0, space().plan.space.size, Cache(CACHE)))
    assert len(set(rows["path"].to_pylist())) > 50, "the branches must differ"
    return rows


# ---------------------------------------------------------------- blocks, caches, threads


def blocks(size: int) -> list[tuple[int, int]]:
    n = space().plan.space.size
    return list(pairwise([*range(0, n, size), n]))


def in_blocks(
    order: Sequence[tuple[int, int]], cache: Cache, kernel: Kernel = Kernel.SCALAR, tally: Tally | None = None
) -> pa.Table:
    bound = replace(space(), kernel=kernel)
    tables = {lo: evaluate(bound, lo, hi, cache, tally) for lo, hi in order}
    return exact(pa.concat_tables(tables[lo] for lo in sorted(tables)))


@pytest.mark.parametrize("kernel", [Kernel.SCALAR, Kernel.LANES])
@pytest.mark.parametrize("size", [1, 7, 64, 200, 288])
def test_rows_do_not_depend_on_the_block_size(size: int, kernel: Kernel):
    assert in_blocks(blocks(size), Cache(CACHE), kernel).equals(expected())


@pytest.mark.parametrize("kernel", [Kernel.SCALAR, Kernel.LANES])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rows_do_not_depend_on_the_order_of_the_blocks(seed: int, kernel: Kernel):
    order = blocks(13)
    random.Random(seed).shuffle(order)
    assert in_blocks(order, Cache(CACHE), kernel).equals(expected())


@pytest.mark.parametrize("limit", [0, 5_000, 200_000])
def test_rows_do_not_depend_on_the_cache(limit: int):
    """Nothing is kept, or nearly everything is thrown out again at once; then the same cache a second time, warm."""
    small = Cache(limit)
    assert in_blocks(blocks(64), small).equals(expected())
    assert small.n_bytes <= limit
    again = Tally()
    assert in_blocks(blocks(64), small, tally=again).equals(expected())
    assert (again.hits.total() > 0) == (limit > 0)


def test_rows_of_a_warm_cache_equal_those_of_a_cold_one():
    cache, warm, cold = Cache(CACHE), Tally(), Tally()
    evaluate(space(), 100, 200, cache)
    assert exact(evaluate(space(), 0, space().plan.space.size, cache, warm)).equals(expected())
    evaluate(space(), 0, space().plan.space.size, Cache(CACHE), cold)
    assert warm.misses.total() < cold.misses.total(), "the warm cache must have been of use"


@pytest.mark.parametrize("kernel", [Kernel.SCALAR, Kernel.LANES])
@pytest.mark.parametrize(
    ("name", "value"), [("STRETCH", 64), ("USUAL_PAIRS", 1), ("MAX_VECTOR_BYTES", 0), ("MAX_VECTOR_BYTES", 2**30)]
)
def test_rows_do_not_depend_on_what_the_simulation_keeps(
    name: str, value: int, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
):
    """Decisions are taken in stretches; vectors are kept from block to block, or forgotten and computed anew."""
    everything = expected()
    monkeypatch.setattr(simulation, name, value)
    assert in_blocks(blocks(64), Cache(CACHE), kernel).equals(everything)


# ---------------------------------------------------------------- runs

JOB = {
    "data": {"source": "sample:us20", "start": "2012-01-01"},
    "benchmark": "SPX",
    "tree": runs.JOB["tree"],
    "axes": {"n": [5, 14], "low": [40, 50, 60], "stock": ["AAPL", "XOM"], "calm": [0.8, 1.2, 2.4]},
}  # fmt: skip


class StopError(Exception):
    """The driver ends here."""


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(parse_job(JOB))


@pytest.fixture(scope="module")
def whole(prepared: Prepared) -> pl.DataFrame:
    rows = evaluate(prepared.bound, 0, prepared.bound.plan.space.size, Cache(CACHE))
    return pl.DataFrame(rows)


def stored(path: str) -> pl.DataFrame:
    with closing(LocalStore.read(Path(path))) as store:
        assert store.verify() == []
        return store.frame()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_run_on_threads_stores_the_rows_of_one_block(
    workers: int, prepared: Prepared, whole: pl.DataFrame, tmp_path: Path
):
    result = execute(prepared, LocalExecutor(workers, CACHE), tmp_path, block_size=2)
    assert result.computed == len(whole)
    assert stored(result.path).equals(whole)


def test_a_run_resumed_after_half_of_its_blocks_stores_the_same_rows(
    prepared: Prepared, whole: pl.DataFrame, tmp_path: Path
):
    def stop_half_way(progress: Progress) -> None:
        if progress.branches >= progress.total // 2:
            raise StopError

    with pytest.raises(StopError):
        execute(prepared, LocalExecutor(2, CACHE), tmp_path, block_size=3, on_progress=stop_half_way)
    with closing(LocalStore.read(tmp_path / prepared.run_id)) as store:
        there = store.counts()["branches"]
        assert len(whole) // 2 <= there < len(whole)
    result = execute(prepared, LocalExecutor(1, 0), tmp_path)
    assert result.computed == len(whole) - there
    assert stored(result.path).equals(whole)


# ---------------------------------------------------------------- the same tree in other company


def alone(tree: Tree, panel: Panel, null: str = "cash") -> pa.Table:
    return outcomes((tree,), panel, {}, null)


def outcomes(trees: tuple[Tree, ...], panel: Panel, axes: dict, null: str = "cash") -> pa.Table:
    """Outcome of every branch, on a fixed start date and a fixed panel."""
    plan = compile_plan(trees, grid_of(trees, axes), Execution(start=str(panel.date(30)), null=null))
    bound = bind(plan, panel, parse_split("even_odd_month", "split"), next(iter(panel.carried), None))
    return exact(evaluate(bound, 0, plan.space.size, Cache(CACHE)).select(OUTCOME))


def company() -> Iterator[dict[str, tuple]]:
    """The axes of spaces around one branch, the first values of `AXES`: all axes or few, with other neighbours."""
    yield AXES
    for name, values in AXES.items():
        yield {name: tuple(reversed(values))}
        yield {other: AXES[other][:2] for other in AXES if other != name}
    yield {"held": ("AAA", *EXTRA, "CASH"), "signal": ("EEE", "AAA")}
    yield {"n": tuple(range(2, 12)), "low": tuple(float(k) for k in range(20, 80, 5))}


@pytest.mark.parametrize("null", ["cash", "else"])
def test_a_branch_is_the_same_whatever_its_space_holds_besides(null: str):
    panel = panel_of(prices(), (*TICKERS, *EXTRA), ["DDD"])
    template, base = parse_tree(GATES), {name: values[0] for name, values in AXES.items()}
    single = alone(fill(template, base), panel, null)
    programs = set()
    for axes in company():
        tree = swept(template, base, axes)
        for trees in ((tree,), (CONCRETE, tree)):
            grid = grid_of(trees, axes)
            residual = compile_plan(trees, grid, Execution(null=null)).residuals[-1]
            programs.add((len(residual.inner), len(residual.outer), len(residual.cofactors)))
            branch = grid.index(len(trees) - 1, {name: base[name] for name in axes})
            assert outcomes(trees, panel, axes, null).slice(branch, 1).equals(single), (len(trees), axes)
    assert len(programs) > 6, "the spaces must split their axes in different ways"


def swept(template: Tree, values: dict, axes: dict) -> Tree:
    """The template with values in place of the axes that are not swept."""
    return fill(template, values | {name: Placeholder(name) for name in axes})  # type: ignore[arg-type]


def test_a_branch_is_the_same_where_its_axes_are_inner_or_outer():
    """The axis of a signal ticker is inner by itself; shared with a position it is outer. The tree is the same."""
    panel = panel_of(prices(), (*TICKERS, *EXTRA))
    gate = {
        "id": "g", "kind": "indicator",
        "conditions": [{"id": "c", "metric": "RSI", "window": 4, "ticker": "$signal", "comparator": "lt",
                        "threshold": 50}],
        "children": {"then": [{"id": "p", "kind": "position", "positions": ["$held"]}],
                     "else": [{"id": "q", "kind": "position", "positions": ["BBB"]}]},
    }  # fmt: skip
    shared = json.loads(json.dumps(gate).replace("$signal", "$held"))
    separate_axes = {"signal": ("AAA", "CCC"), "held": ("AAA", "CCC")}
    separate, joined = parse_tree(gate), parse_tree(shared)
    apart = outcomes((separate,), panel, separate_axes)
    together = outcomes((joined,), panel, {"held": ("AAA", "CCC")})
    plans = [compile_plan((t,), grid_of((t,), a), Execution()) for t, a in (
        (separate, separate_axes), (joined, {"held": ("AAA", "CCC")}))]  # fmt: skip
    assert [bool(plan.residuals[0].inner) for plan in plans] == [True, False]
    assert apart.take([0, 3]).equals(together)


@pytest.mark.parametrize("seed", range(12))
def test_more_tickers_in_the_panel_change_nothing(seed: int):
    """Tickers that nobody reads, wherever they sort, as long as the calendar stays."""
    rng = random.Random(seed)
    tree = parse_tree(random_tree(rng, TICKERS, depth=4))
    history = random_prices(rng, [*TICKERS, *EXTRA], 100, ragged=False)
    more = dict(history) | {"A0": history["DDD"], "ZZZ": history["EEE"]}
    few = alone(tree, panel_of(history, TICKERS, ["DDD"]))
    assert alone(tree, panel_of(more, (*TICKERS, "A0", "DDD", "ZZZ"), ["DDD"])).equals(few)


@pytest.mark.parametrize("seed", range(12))
def test_the_order_in_which_tickers_are_given_changes_nothing(seed: int):
    rng = random.Random(seed)
    tree = parse_tree(random_tree(rng, TICKERS, depth=4))
    history = random_prices(rng, TICKERS, 100, ragged=rng.random() < 0.5)
    given = list(TICKERS)
    rng.shuffle(given)
    assert alone(tree, panel_of(history, given)).equals(alone(tree, panel_of(history, TICKERS)))


@pytest.mark.parametrize("seed", range(6))
def test_prices_in_other_units_change_nothing(seed: int):
    """Each ticker in units of its own, by a power of two, for trees that compare no price."""
    rng = random.Random(seed)
    tree = parse_tree(
        {"id": "g", "kind": "indicator",
         "conditions": [{"id": "c", "metric": rng.choice(["RSI", "ROC", "StdDev"]), "window": rng.randint(2, 8),
                         "ticker": "AAA", "comparator": "gt", "expanded": True, "rightTicker": "CCC"}],
         "children": {"then": [{"id": "p", "kind": "position", "positions": ["AAA", "BBB"]}],
                      "else": [{"id": "q", "kind": "position", "positions": ["CCC"]}]}}
    )  # fmt: skip
    history = random_prices(rng, TICKERS, 100, ragged=False)
    scaled = {name: [(day, close * 2.0**k) for day, close in history[name]] for k, name in enumerate(TICKERS)}
    assert alone(tree, panel_of(scaled, TICKERS)).equals(alone(tree, panel_of(history, TICKERS)))


# ---------------------------------------------------------------- golden rows

GOLDEN_JOBS = {
    "gate": JOB | {"data": "sample:us20"},
    "blend": {
        "data": "sample:us20",
        "benchmark": "SPX",
        "split": "even_odd_year",
        "execution": {"lag": 1, "cost_bps": 12, "null": "else", "cash_rate": 0.02, "risk_free": 0.01},
        "tree": {
            "id": "root", "kind": "basic", "weighting": "defined",
            "children": {"next": [
                {"id": "hold", "kind": "position", "positions": ["MSFT", "JNJ", "CASH"], "weight": 30},
                {"id": "cross", "kind": "indicator", "weight": 70,
                 "conditions": [
                     {"id": "up", "metric": "EMA", "window": "$fast", "ticker": "AAPL", "comparator": "crossAbove",
                      "expanded": True, "rightWindow": 50},
                     {"id": "over", "type": "or", "metric": "ROC", "window": 21, "ticker": "$of", "comparator": "gte",
                      "threshold": 2.5, "forDays": 3},
                 ],
                 "children": {"then": [{"id": "in", "kind": "position", "positions": ["AAPL"]},
                                       {"id": "too", "kind": "position", "positions": ["$of"]}],
                              "else": [{"id": "none", "kind": "position", "positions": ["Empty"]}]}},
            ]},
        },
        "axes": {"fast": [10, 20], "of": ["XOM", "PFE"]},
    },
}  # fmt: skip
GOLDEN_BRANCHES = {"gate": (0, 17, 35), "blend": (0, 1, 3)}


def golden_rows(kernel: Kernel = Kernel.SCALAR) -> dict[str, dict[str, str | None]]:
    rows = {}
    for name, job in GOLDEN_JOBS.items():
        bound = replace(prepare(parse_job(job)).bound, kernel=kernel)
        found = evaluate(bound, 0, bound.plan.space.size, Cache(CACHE)).to_pylist()
        for branch in GOLDEN_BRANCHES[name]:
            row = found[branch]
            metrics = {c: None if row[c] is None else float(row[c]).hex() for c in METRIC_COLUMNS}
            rows[f"{name} {branch}"] = {"path": row["path"].hex(), **metrics}
    return rows


def test_golden_rows_are_those_of_every_kernel():
    assert golden_rows(Kernel.LANES) == golden_rows()


def test_golden_rows_change_only_with_the_engine_version():
    """`python tests/test_exactness.py` writes the file anew, after the version was raised."""
    golden = json.loads(GOLDEN.read_text())
    rows = golden_rows()
    changed = [f"{row}: {c}" for row in rows for c in rows[row] if rows[row][c] != golden["rows"].get(row, {}).get(c)]
    if golden["engine"] == ENGINE_VERSION:
        assert not changed, (
            f"rows changed but ENGINE_VERSION is still {ENGINE_VERSION}: resumed runs would mix both. If the change is"
            " meant, raise it in forge_ray/sweep/specification.py and write the golden rows anew."
            f" Changed: {', '.join(changed)}"
        )
    assert golden["engine"] == ENGINE_VERSION, (
        f"ENGINE_VERSION is {ENGINE_VERSION}, the golden rows are of {golden['engine']};"
        f" write them anew: python tests/{Path(__file__).name}"
    )


def test_golden_rows_differ_from_each_other_and_hold_every_metric():
    rows = json.loads(GOLDEN.read_text())["rows"]
    assert len({row["path"] for row in rows.values()}) == len(rows) == 6
    assert all(any(row[column] is not None for row in rows.values()) for column in METRIC_COLUMNS)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({"engine": ENGINE_VERSION, "rows": golden_rows()}, indent=1) + "\n")
