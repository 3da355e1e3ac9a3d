"""One cache for many sweeps: what they share is found again, and nothing that differs is taken for the same."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from forge_ray.engine import BoundPlan, Cache, Kernel, Tally, evaluate
from harness import exact
from test_language_equals_naive import bound_job
from test_language_sweeps import FORMULAS, GATE, INDEX, LEAVES, SPACES, TICKERS, hold, rsi
from whole_trees import random_market, random_whole

CC = {"mode": "CC", "benchmark": INDEX}
AROUND = {"kind": "neighbourhood", "changes": 2, "sample": 25}


@pytest.fixture(scope="module")
def prices() -> dict:
    return random_market(random.Random(7), [*TICKERS, INDEX], 220, ragged=False)


@pytest.fixture(scope="module")
def others(prices: dict) -> dict:
    """Two tickers exchanged."""
    return prices | {"AAA": prices["BBB"], "BBB": prices["AAA"]}


def rows(bound: BoundPlan, cache: Cache, tally: Tally | None = None) -> list[dict]:
    return exact(evaluate(bound, 0, bound.plan.space.size, cache, tally)).to_pylist()


def sweep(name: str, **changes: object) -> dict:
    tree, axes = SPACES[name]
    return {"data": "sample:us20", "tree": tree, "axes": axes, "formulas": FORMULAS} | changes


def variants(prices: dict, others: dict) -> Iterator[BoundPlan]:
    """Sweeps that are alike in all but one thing."""
    for name, (_, axes) in SPACES.items():
        turned = dict(reversed(axes.items()))
        fewer = {axis: values[1:] for axis, values in axes.items()}
        for execution in (CC, {"mode": "OO"}, CC | {"lag": 2}, CC | {"null": "else"}, CC | {"cost_bps": 50}):
            yield bound_job(sweep(name), prices, execution)
        for execution in (
            {"rebalance": "weekly"},
            {"rebalance": "on_change"},
            {"cash_rate": 0.2},
            {"cash_rate": INDEX},
        ):
            yield bound_job(sweep(name), prices, CC | execution)
        yield bound_job(sweep(name), prices, CC | {"split": "even_odd_month"})
        yield bound_job(sweep(name), prices, {"mode": "CC"})
        yield bound_job(sweep(name), others, CC)
        yield bound_job(sweep(name, axes=turned), prices, CC)
        yield bound_job(sweep(name, axes=fewer), prices, CC)
        yield bound_job(sweep(name, formulas={"gap": "(close / ema - 1) * 100"}), prices, CC)
    for seed in range(2):
        whole = random_whole(random.Random(seed), ("AAA", "BBB", "CCC"), 4)
        job = {"data": "sample:us20", "tree": whole.tree, **whole.job()}
        for reach in ("±40% by 20%", "±20% by 10%", "±50% by 25%"):
            yield bound_job(job | {"design": AROUND | {"window": reach, "threshold": "±20% by 10%"}}, prices, CC)
            yield bound_job(job | {"design": AROUND | {"threshold": reach}}, prices, CC)
        jitter = {"kind": "jitter", "window": "±40%", "threshold": "±20%", "sample": 25}
        yield bound_job(job | {"design": jitter}, prices, CC)
        yield bound_job(job | {"design": jitter | {"seed": 2}}, prices, CC)


def test_rows_do_not_depend_on_what_other_sweeps_left_in_the_cache(prices: dict, others: dict):
    bounds = list(variants(prices, others))
    random.Random(3).shuffle(bounds)
    shared = Cache(2**28)
    for bound in bounds:
        assert rows(bound, shared) == rows(bound, Cache(2**26))
    assert shared.n_bytes < shared.limit_bytes, "everything must have stayed, or it was no test"


def crossing(window: int) -> dict:
    """A gate of two windows."""
    own = {"id": "c", "metric": "SMA", "window": window, "ticker": "AAA", "comparator": "gt", "expanded": True,
           "rightMetric": "SMA", "rightTicker": "AAA", "rightWindow": 5}  # fmt: skip
    return GATE | {"conditions": [own]}


def around(*children: dict) -> dict:
    """Every change of one window of a node that weighs by volatility, so that its branches go one by one."""
    tree = {"id": "b", "kind": "basic", "weighting": "inverse", "volWindow": 10, "children": {"next": list(children)}}
    design = {"kind": "neighbourhood", "changes": 2, "window": "±40% by 20%"}
    return {"data": "sample:us20", "tree": tree, "design": design}


def before(window: int) -> dict:
    return {"id": "h", "kind": "indicator", "conditions": [rsi("r", "BBB", 50) | {"window": window}],
            "children": {"then": [hold("h1", "BBB")], "else": [hold("h2", "CCC")]}}  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # The change of a window is told from the same change of what is written otherwise,
        ([crossing(10), LEAVES[0]], [crossing(15), LEAVES[0]]),
        # and from the same change of an axis with the same number that is another window of the same gate.
        ([crossing(5), LEAVES[0]], [before(5), crossing(5), LEAVES[0]]),
    ],
)
def test_changes_around_two_trees_are_told_apart(one: list, other: list, prices: dict):
    shared = Cache(2**26)
    for job in (around(*one), around(*other)):
        bound = bound_job(job, prices, CC)
        assert not bound.plan.residuals[0].inner
        assert rows(bound, shared) == rows(bound, Cache(2**26))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"cost_bps": 50}, {"series", "bits", "allocation"}),
        ({"rebalance": "weekly"}, {"series", "bits", "allocation"}),
        ({"split": "even_odd_month"}, {"series", "bits", "allocation"}),
        ({"null": "else"}, {"series"}),
    ],
)
def test_another_sweep_finds_what_it_shares_with_the_last(change: dict, found: set, prices: dict):
    job, cache, warm = sweep("numbered"), Cache(2**26), Tally()
    rows(bound_job(job, prices, CC), cache)
    rows(bound_job(job, prices, CC | change), cache, warm)
    assert {kind for kind in ("series", "bits", "allocation") if not warm.misses[kind]} == found
    assert warm.misses["sleeves"]


def test_a_price_that_changed_is_computed_anew_the_other_tickers_are_not(prices: dict):
    job, cache, warm = sweep(next(iter(SPACES))), Cache(2**26), Tally()
    bound = bound_job(job, prices, CC)
    rows(bound, cache)
    moved = prices | {"AAA": [(day, *(1.5 * value for value in bar)) for day, *bar in prices["AAA"]]}
    rows(bound_job(job, moved, CC), cache, warm)
    assert warm.misses["series"] and warm.hits["series"]


def test_bars_that_were_exchanged_behind_a_fingerprint_are_seen(prices: dict):
    """What looks for leaks exchanges the bars of a panel and leaves its fingerprint."""
    bound = bound_job(sweep(next(iter(SPACES))), prices, CC)
    off = tuple(replace(own, close=own.close[::-1].copy()) for own in bound.panel.bars)
    moved, shared = replace(bound, panel=replace(bound.panel, bars=off)), Cache(2**26)
    rows(bound, shared)
    evaluated = exact(evaluate(moved, 0, moved.plan.space.size, shared)).column("path")
    assert evaluated == exact(evaluate(moved, 0, moved.plan.space.size, Cache(2**26))).column("path")


def test_the_order_of_branches_is_not_that_of_another_sweep(prices: dict):
    """What a step of an axis changes is kept too, by the kernels that go by it."""
    lines = [rsi("a", "AAA", "$low"), rsi("b", "BBB", "$other"), rsi("c", "AAA", "$third")]
    axes, cache = {"low": "30..70 by 5", "other": "30..70 by 5", "third": "20..60 by 5"}, Cache(2**26)
    for n in (2, 3, 2):
        gate = {"id": "g", "kind": "indicator", "conditions": lines[:n], "children": GATE["children"]}
        job = {"data": "sample:us20", "tree": gate, "axes": {name: axes[name] for name in list(axes)[:n]}}
        bound = replace(bound_job(job, prices, CC), kernel=Kernel.LANES)
        assert rows(bound, cache) == rows(bound, Cache(2**26))
