"""An exported tree holds, on every bar, what the tree held that was exported."""

from __future__ import annotations

import random

import numpy as np
import pytest

from forge_ray.engine import Cache, Evaluator
from forge_ray.errors import InputError
from forge_ray.tree.exporters import TARGETS, export_job
from forge_ray.tree.importers import import_text
from test_language_equals_naive import bound_job
from whole_trees import WholeTree, random_market, random_whole

TICKERS = ["AAA", "BBB", "CCC", "DDD"]
MOST_SEEDS, N_COMPARED = 2_000, 30


def exported(whole: WholeTree, target: str) -> dict | None:
    """The job that comes back, None if the target cannot express the tree."""
    try:
        text = export_job({"tree": whole.tree, **whole.job()}, target).text
    except InputError:
        return None
    job = import_text(text, "exported").job
    return {name: job[name] for name in ("tree", "calls", "formulas") if name in job}


def held(job: dict, prices: dict) -> np.ndarray:
    """(n_bars, n_tickers) weights from the start on."""
    bound = bound_job(job | {"data": "sample:us20"}, prices, {})
    found = Evaluator(bound.plan, bound.panel, Cache(2**24)).allocation(bound.plan.roots[0], {})
    order = np.argsort(bound.panel.tickers)
    return found.weights[found.row_of][bound.start :, order]


@pytest.mark.parametrize("target", TARGETS)
def test_what_comes_back_holds_the_same_on_every_bar(target: str):
    compared = 0
    for seed in range(MOST_SEEDS):
        rng = random.Random(seed)
        whole = random_whole(rng, TICKERS, 1 + seed % 2)
        job = exported(whole, target)
        if job is None or whole.tree["kind"] == "position":
            continue
        prices = random_market(rng, TICKERS, 150, ragged=False)
        try:
            before = held({"tree": whole.tree, **whole.job()}, prices)
        except InputError:  # nothing to trade on these bars
            continue
        after = held(job, prices)
        both = slice(-min(len(before), len(after)), None)  # a volatility of one child, and its look-back, may be gone
        np.testing.assert_allclose(after[both], before[both], rtol=0, atol=1e-12, err_msg=f"seed {seed}")
        compared += 1
        if compared == N_COMPARED:
            return
    pytest.fail(f"only {compared} exports to compare")
