"""Conditions packed many at a time are those that are evaluated one by one."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from forge_ray.engine import Cache, Evaluator
from forge_ray.engine.planes import planes_of
from forge_ray.kernels import bits
from harness import bound_of
from random_trees import random_prices

COMPARATORS = ("lt", "lte", "gt", "gte")


def gate(comparator: str, days: object) -> dict:
    condition = {"id": "c", "metric": "ROC", "window": "$n", "ticker": "AAA", "comparator": comparator,
                 "threshold": "$low", "forDays": days}  # fmt: skip
    sides = [{"id": name, "kind": "position", "positions": [name]} for name in ("AAA", "BBB")]
    return {"id": "g", "kind": "indicator", "conditions": [condition],
            "children": {"then": sides[:1], "else": sides[1:]}}  # fmt: skip


def table(leaf, first: int, last: int) -> np.ndarray:
    out = np.empty((len(leaf.distinct), 2, bits.n_words(last - first)), np.uint64)
    leaf.put(first, last, out)
    return out


@pytest.mark.parametrize("comparator", COMPARATORS)
@pytest.mark.parametrize("days", [1, 2, 5, 70, "$days"])
@pytest.mark.parametrize("mode", ["CC", "OO"])
def test_tables_of_thresholds_equal_single_conditions(comparator: str, days: object, mode: str):
    """Whole histories and stretches of them, daily and weekly, from the first bar on and later."""
    rng = random.Random(f"{comparator} {days} {mode}")
    axes = {"n": [3, 5], "low": [0.5, -1.0, 0.0, 2.5], **({"days": [1, 3, 4]} if days == "$days" else {})}
    for start, rebalance in (("earliest", "daily"), ("common", "daily"), ("earliest", "weekly")):
        prices = random_prices(rng, ["AAA", "BBB"], 300, ragged=True)
        bound = bound_of(
            [gate(comparator, days)], prices, axes, mode=mode, start=start, rebalance=rebalance, tickers=["AAA", "BBB"]
        )
        evaluator, residual = Evaluator(bound.plan, bound.panel, Cache(2**26)), bound.plan.residuals[0]
        term = bound.plan.space.terms[0]
        digits = bound.plan.space.digits(term, np.arange(term.size))
        (leaf,) = planes_of(bound, evaluator, term, residual, {}, digits, residual.inner).leaves
        assert leaf.compared is not None
        for first, last in ((0, bound.n), (0, 64), (64, 130)):
            one_by_one = replace(leaf)
            one_by_one.__dict__["compared"] = None
            assert np.array_equal(table(leaf, first, last), table(one_by_one, first, last))
        whole = table(leaf, 0, bound.n)
        assert whole[:, 1].any() and (whole[:, 0].any() or days in (5, 70))
