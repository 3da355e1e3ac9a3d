"""The whole language against the independent oracle: random trees over all nodes, weightings and indicators.

A case that fails is shown as small as it could be made, on one line of JSON. Put into `found_trees.json`, under a name
that says what it is about, it stays a test for good.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import naive
from forge_ray.data import build_panel, parse_split
from forge_ray.engine import BoundPlan, Cache, Evaluator, bind, evaluate
from forge_ray.errors import DataError, InputError
from forge_ray.plan import compile_plan
from forge_ray.sweep import parse_job
from harness import history
from language_cases import Case, job_of, prices_of, random_case, shrunk
from test_engine_equals_naive import assert_metrics

N_TREES = int(os.environ.get("FORGE_RAY_TREES", "200"))
"""README: how many the longer runs take."""

PER_TEST = 20
FOUND = json.loads(Path(__file__).with_name("found_trees.json").read_text())


@pytest.mark.parametrize("first", range(0, N_TREES, PER_TEST))
def test_every_node_weighting_and_indicator_equals_the_oracle(first: int) -> None:
    seeds = range(first, min(first + PER_TEST, N_TREES))
    compared = sum(compare_or_shrink(random_case(seed)) for seed in seeds)
    assert compared >= len(seeds) // 3, "most cases must leave something to trade"


@pytest.mark.parametrize("name", FOUND)
def test_trees_that_once_differed_equal_the_oracle(name: str) -> None:
    assert compare(FOUND[name])


def test_a_failing_case_is_made_as_small_as_what_makes_it_fail() -> None:
    def fails(case: Case) -> bool:
        return '"altExit"' in json.dumps(case["tree"]) and case["market"]["until"] >= 40

    case = next(case for case in map(random_case, range(50)) if fails(case) and case["tree"]["kind"] != "altExit")
    assert shrunk(case, fails) == {"tree": {"kind": "altExit"}, "market": case["market"] | {"until": 40}}


def compare_or_shrink(case: Case) -> bool:
    try:
        return compare(case)
    except AssertionError as failure:
        claim = claim_of(failure)
        small = shrunk(case, lambda other: failed_claim(other) == claim)
        raise AssertionError(f"{failure}\n{json.dumps(small)}") from failure


def failed_claim(case: Case) -> str | None:
    """The claim of `compare` that a case fails; None if it holds or if it is no valid case any more."""
    try:
        compare(case)
    except AssertionError as failure:
        return claim_of(failure)
    except (LookupError, TypeError, ValueError, InputError):
        return None
    return None


def claim_of(failure: AssertionError) -> str:
    """What the message of an assertion opens with."""
    return str(failure).split(":")[0]


def compare(case: Case) -> bool:
    """Assert that engine and oracle agree; False if the case leaves nothing to compare."""
    settings, prices = case["settings"], prices_of(case)
    job = {"data": "sample:us20", "tree": case["tree"], **job_of(case)}
    expected = result_of(case, prices)
    bound = bound_or_refusal(job, prices, settings)
    if expected is None:
        assert isinstance(bound, InputError), "refusal: by the oracle only"
        return False
    if isinstance(bound, DataError) and settings.get("start") == "earliest":
        # The oracle starts all the same; the engine tells of what never has a value in these data.
        assert result_of(case | {"settings": settings | {"start": "common"}}, prices) is None, f"refusal: {bound}"
        return False
    assert not isinstance(bound, DataError), f"refusal: {bound}"
    if isinstance(bound, InputError):
        raise bound  # no valid tree
    if expected.hairs:
        return False
    assert [bound.panel.date(t) for t in range(len(bound.panel.dates))] == expected.dates, "calendar: differs"
    assert bound.start == expected.start, f"start: {bound.start}, expected {expected.start}"
    evaluator = Evaluator(bound.plan, bound.panel, Cache(2**26))
    found = evaluator.allocation(bound.plan.roots[0], {})
    dense = found.weights[found.row_of]
    for t, oracle in enumerate(expected.allocations):
        weights = {bound.panel.tickers[k]: dense[t, k] for k in np.flatnonzero(dense[t] > 0)}
        assets = {ticker: weight for ticker, weight in naive.assets(oracle).items() if weight > 0}
        assert weights.keys() == assets.keys(), f"held: at bar {t} {weights}, expected {assets}"
        assert all(abs(weights[k] - assets[k]) <= 1e-12 for k in assets), f"weights: at {t} {weights}, not {assets}"
    row = evaluate(bound, 0, 1, Cache(2**26)).to_pylist()[0]
    assert_metrics(row, expected.metrics, "metrics")
    return True


def result_of(case: Case, prices: dict) -> naive.Result | None:
    """None for what the oracle refuses."""
    try:
        return naive.backtest(case["tree"], prices, **job_of(case), **case["settings"])
    except ValueError:
        return None


def bound_or_refusal(job: dict, prices: dict, settings: dict) -> BoundPlan | InputError:
    try:
        return bound_job(job, prices, settings)
    except InputError as error:
        return error


def bound_job(job: dict, prices: dict, settings: dict) -> BoundPlan:
    execution = {key: settings[key] for key in settings if key not in ("benchmark", "split")}
    sweep = parse_job({**job, "execution": execution, "split": settings.get("split", {"holdout": "30%"})})
    plan = compile_plan(sweep.trees, sweep.space, sweep.execution, sweep.formulas)
    benchmark = settings.get("benchmark")
    carried = {*([benchmark] if benchmark else []), *sweep.execution.carried_tickers}
    if any(ticker not in prices for ticker in (*plan.tickers, *carried)):
        raise DataError([])
    panel = build_panel(
        [history(ticker, prices[ticker]) for ticker in plan.tickers],
        [history(ticker, prices[ticker]) for ticker in sorted(carried)],
        sweep.execution.calendar,
    )
    return bind(plan, panel, parse_split(settings.get("split") or {"holdout": "30%"}, "split"), benchmark)
