"""Every example strategy of others, imported and run on made-up prices."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from forge_ray.data import parse_split
from forge_ray.engine import Cache, Evaluator, bind, evaluate
from forge_ray.plan import compile_plan
from forge_ray.sweep import parse_job
from forge_ray.tree.importers import import_text
from harness import panel_of
from native_format import strategies
from whole_trees import random_market

EXAMPLES = [*strategies("composer"), *strategies("atlas")]
N_DAYS = 420


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_an_example_runs_on_made_up_prices(file: Path) -> None:
    sweep = parse_job({"data": "sample:us20", **import_text(file.read_bytes(), file.name).job})
    plan = compile_plan(sweep.trees, sweep.space, sweep.execution, sweep.formulas)
    prices = random_market(random.Random(file.name), plan.tickers, N_DAYS, ragged=False)
    bound = bind(plan, panel_of(prices, plan.tickers), parse_split({"holdout": "30%"}, "split"))
    assert bound.n > N_DAYS // 10, bound.ladder[:3]
    evaluator = Evaluator(plan, bound.panel, Cache(2**26))
    for branch in {0, plan.space.size // 2, plan.space.size - 1}:
        values = plan.space[branch][1]
        of_axis = {a: values[axis.id] for a, axis in enumerate(plan.space.axes)}
        weights = evaluator.allocation(plan.roots[0], of_axis).weights
        assert (weights >= 0).all() and (weights.sum(axis=1) <= 1 + 1e-12).all() and (weights > 0).any()
    rows = evaluate(bound, 0, plan.space.size, Cache(2**26)).to_pylist()
    assert len(rows) == plan.space.size
    assert all(row["status"] == "ok" and np.isfinite(row["full_cagr"]) for row in rows)
    assert any(row["full_time_in_market"] > 0 for row in rows)
