"""Branches around a tree, walked on the bars that their changes reach, against the branches of a grid."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from forge_ray.engine import BoundPlan, Cache, evaluate, nearby, neighbours
from forge_ray.errors import DataError, InputError
from forge_ray.plan import compile_plan
from forge_ray.plan import residual as planner
from forge_ray.sweep import parse_job
from forge_ray.tree import Grid, Jitter, Neighbourhood, fill, to_json
from harness import exact
from language_cases import INDEX, TICKERS
from test_language_equals_naive import bound_job
from test_language_sweeps import FORMULAS, SPACES
from whole_trees import WEIGHTINGS, random_market, random_whole

MODES = ("CC", "OO", "CO", "OC")
REBALANCE: tuple[Any, ...] = ("daily", "monthly", "on_change", {"threshold": 4}, "weekly")
N_AXES, PER_TEST = 4, 10
FIELDS: dict[str, tuple] = {
    "window": (2, 4, 7), "threshold": (0.5, 30, 60), "forDays": (1, 2), "comparator": ("lt", "gt", "crossAbove"),
    "n": (1, 2, 3), "rank": ("top", "bottom"), "of": ("allocation", "tickers", "equity"), "volWindow": (3, 6),
    "weighting": WEIGHTINGS, "weightingThen": WEIGHTINGS, "weight": (10, 60), "maxCap": (60, 100),
    "scaleFrom": (-1, 30, 70), "scaleWindow": (2, 5), "ticker": TICKERS[:2], "scaleTicker": TICKERS[:2],
    "dateMonth": (2, 9), "cappedFallback": TICKERS[2:4],
}  # fmt: skip


@pytest.fixture
def always_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tree is small enough for the residual program."""
    monkeypatch.setattr(planner, "MAX_COFACTORS", 0)


@pytest.fixture(scope="module")
def prices() -> dict:
    return random_market(random.Random(7), [*TICKERS, INDEX], 220, ragged=False)


def around(grid: BoundPlan, rng: random.Random, n_sampled: int | None = None) -> BoundPlan:
    """The same tree, data and axes; but the space around one of the branches."""
    plan = grid.plan
    axes, phrases = plan.space.axes, tuple(axis.id for axis in plan.space.axes)
    base = tuple(rng.randrange(len(axis.values)) for axis in axes)
    if n_sampled is None:
        space = Neighbourhood(axes, base, phrases, 1, min(3, len(axes)))
    else:
        space = Jitter(axes, base, phrases, 1, n_sampled)
    return replace(grid, plan=compile_plan(plan.trees, space, plan.execution, plan.formulas))


def compare(grid: BoundPlan, near: BoundPlan) -> int:
    """Every branch near the tree is that of the grid with its values, bit for bit, whatever the blocks. How many
    different ones there are."""
    assert not near.plan.residuals[0].inner
    rows = exact(evaluate(near, 0, near.plan.space.size, Cache(2**26)))
    half = near.plan.space.size // 2
    assert exact(evaluate(near, half, near.plan.space.size, Cache(2**20))).equals(rows.slice(half))
    space = grid.plan.space
    assert isinstance(space, Grid)
    branches = [space.index(*near.plan.space[b]) for b in range(near.plan.space.size)]
    expected = exact(evaluate(grid, 0, space.size, Cache(2**26))).take(branches)
    names = [name for name in rows.column_names if name not in ("branch", "changes")]
    for name in names:
        assert rows.column(name).to_pylist() == expected.column(name).to_pylist(), name
    return len(set(rows.column("path").to_pylist()))


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("k", range(5))
def test_every_field_of_every_node_kind(name: str, k: int, prices: dict, always_walked: None) -> None:
    tree, axes = SPACES[name]
    settings = {"mode": MODES[k % 4], "rebalance": "daily" if k in (2, 3) else REBALANCE[k], "benchmark": INDEX}
    grid = bound_job({"data": "sample:us20", "tree": tree, "axes": axes, "formulas": FORMULAS}, prices, settings)
    assert compare(grid, around(grid, random.Random(k))) > 1


@pytest.mark.parametrize("first", range(0, 40, PER_TEST))
def test_random_trees(first: int, always_walked: None) -> None:
    distinct = [compare_random(seed) for seed in range(first, first + PER_TEST)]
    assert sum(n > 1 for n in distinct) >= PER_TEST // 2, "most trees must hold something that changes"


def compare_random(seed: int) -> int:
    rng = random.Random(seed)
    prices = random_market(rng, [*TICKERS, INDEX], 200, ragged=seed % 3 == 0)
    whole = random_whole(rng, TICKERS, 3 + seed % 3)
    tree, axes = swept(rng, whole.tree, whole.job())
    mode, rule = MODES[seed % 4], REBALANCE[seed % 5]
    settings = {"mode": mode, "rebalance": "daily" if mode in ("CO", "OC") else rule, "benchmark": INDEX}
    if seed % 7 == 0:
        settings |= {"null": "else", "start": "earliest"}
    try:
        grid = bound_job({"data": "sample:us20", "tree": tree, "axes": axes, **whole.job()}, prices, settings)
    except DataError:
        return 0  # the axes leave nothing to trade
    return compare(grid, around(grid, rng, 25 if seed % 2 else None))


def swept(rng: random.Random, tree: dict, job: dict) -> tuple[dict, dict[str, list]]:
    """The tree with axes in some of its fields, of those that can have one."""
    tree, axes = copy.deepcopy(tree), {}
    places = list(_places(tree))
    rng.shuffle(places)
    for owner, key, values in places:
        written = owner[key]
        if len(axes) == N_AXES or (isinstance(written, str) and written.startswith("$")):
            continue
        name = f"a{len(axes)}"
        owner[key] = f"${name}"
        try:
            parse_job({"data": "sample:us20", "tree": tree, "axes": {**axes, name: list(values)}, **job})
            axes[name] = list(values)
        except InputError:
            owner[key] = written
    return tree, axes


def _places(node: Any) -> Iterator[tuple[Any, Any, tuple]]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in FIELDS:
                yield node, key, FIELDS[key]
            elif key == "positions":
                yield value, 0, TICKERS[:3]
            else:
                yield from _places(value)
    elif isinstance(node, list):
        for child in node:
            yield from _places(child)


def test_blocks_whose_variants_or_findings_do_not_fit_are_taken_in_parts(
    prices: dict, always_walked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, axes = SPACES["weightings"]
    grid = bound_job({"data": "sample:us20", "tree": tree, "axes": axes, "formulas": FORMULAS}, prices, {})
    near = around(grid, random.Random(3))
    whole = exact(evaluate(near, 0, near.plan.space.size, Cache(2**26)))
    for module, name, value in (
        (neighbours, "VARIANT_BYTES", 2_000),
        (nearby, "FOUND_ROWS", 20),
        (nearby, "FOUND_ENTRIES", 20),
    ):
        monkeypatch.setattr(module, name, value)
        assert exact(evaluate(near, 0, near.plan.space.size, Cache(2**26))).equals(whole)


@pytest.mark.parametrize("kind", ["numbered", "altExit"])
def test_more_values_than_an_integer_has_codes_for(kind: str, prices: dict) -> None:
    """All of them are inner axes of one leaf, and 4⁴⁰ is more than 2⁶³."""
    lines = [
        {"id": f"c{k}", "metric": "RSI", "window": 2, "ticker": TICKERS[0], "comparator": "gt", "threshold": 30 + k}
        for k in range(40)
    ]
    leaves = [{"id": name, "kind": "position", "positions": [name]} for name in TICKERS[:2]]
    node: dict[str, Any] = {"id": "g", "kind": kind, "children": {"then": leaves[:1], "else": leaves[1:]}}
    if kind == "numbered":
        items = [{"id": f"i{k}", "conditions": [line]} for k, line in enumerate(lines)]
        node["numbered"] = {"quantifier": "atLeast", "n": 20, "items": items}
    else:
        half = [line if k % 20 == 0 else line | {"type": "or"} for k, line in enumerate(lines)]
        node |= {"entryConditions": half[:20], "exitConditions": half[20:]}
    design = {"kind": "neighbourhood", "changes": 1, "window": "±2"}
    job = {"data": "sample:us20", "tree": node, "design": design}
    near, sweep = bound_job(job, prices, {}), parse_job(job)
    rows = exact(evaluate(near, 0, near.plan.space.size, Cache(2**26))).column("path").to_pylist()
    assert len(rows) == 121 and all(len(axis.values) == 4 for axis in sweep.space.axes)
    settings = {"start": near.panel.date(near.start).isoformat()}
    for branch in range(0, len(rows), 4):
        _, values = sweep.space[branch]
        alone = bound_job({"data": "sample:us20", "tree": to_json(fill(sweep.trees[0], values))}, prices, settings)
        assert evaluate(alone, 0, 1, Cache(2**26)).column("path")[0].as_py() == rows[branch]
        one = evaluate(near, branch, branch + 1, Cache(2**26))
        assert one.column("path")[0].as_py() == rows[branch]


def weighted_by_volatility(depth: int) -> dict:
    """The equity of each level is a share of the next; the innermost one follows a gate."""
    leaves = {side: [{"id": side, "kind": "position", "positions": [ticker]}]
              for side, ticker in zip(("then", "else"), TICKERS, strict=False)}  # fmt: skip
    line = {"id": "c", "metric": "RSI", "window": 5, "ticker": TICKERS[0], "comparator": "lt", "threshold": 50}
    node = {"id": "g", "kind": "indicator", "conditions": [line], "children": leaves}
    for k in range(depth):
        leaf = {"id": f"h{k}", "kind": "position", "positions": [TICKERS[k % 3]]}
        node = {"id": f"f{k}", "kind": "basic", "weighting": "inverse", "volWindow": 3,
                "children": {"next": [node, leaf]}}  # fmt: skip
    return {"data": "sample:us20", "tree": node, "design": {"kind": "neighbourhood", "threshold": "±10"}}


def test_what_a_change_inside_needs_is_asked_for_once_a_level(
    prices: dict, always_walked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An equity around other equities asks for each of them, which has asked for those inside it."""
    asked, of_equity = [], nearby.NearEvaluator._of_equity
    monkeypatch.setattr(
        nearby.NearEvaluator, "_of_equity", lambda self, *rest: asked.append(rest) or of_equity(self, *rest)
    )
    for depth in (6, 12):
        bound = bound_job(weighted_by_volatility(depth), prices, {})
        evaluate(bound, 0, bound.plan.space.size, Cache(2**26))
        assert 0 < len(asked) < 4 * depth**2 * bound.plan.space.size
        asked.clear()
