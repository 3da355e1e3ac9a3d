"""The order of the branches of a group: side by side is what one step changes, and least is changed most often."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest

from forge_ray.engine import Cache, Evaluator, evaluate, order
from forge_ray.engine.bind import BoundPlan, Kernel
from forge_ray.engine.planes import _places, planes_of
from forge_ray.engine.simulation import _references
from harness import bound_of, exact
from random_trees import random_prices

CACHE = 2**26
AXES = {"low": [20, 35, 50, 65, 80], "trend": [100, 101, 102, 103], "n": [2, 3, 5, 9]}
"""Steps of the threshold change much, those of the average little."""
TREE = {
    "id": "top",
    "kind": "indicator",
    "conditions": [
        {"id": "a", "metric": "RSI", "window": "$n", "ticker": "AAA", "comparator": "lt", "threshold": "$low"},
        {"id": "b", "metric": "Price", "ticker": "BBB", "comparator": "gt", "expanded": True, "rightMetric": "SMA",
         "rightWindow": "$trend", "type": "or"},
    ],
    "children": {"then": [{"id": "x", "kind": "position", "positions": ["AAA"]}],
                 "else": [{"id": "y", "kind": "position", "positions": ["BBB"]}]},
}  # fmt: skip


@pytest.fixture(scope="module")
def bound() -> BoundPlan:
    prices = random_prices(random.Random(0), ["AAA", "BBB"], 500, ragged=False)
    return replace(bound_of([TREE], prices, AXES, tickers=["AAA", "BBB"]), kernel=Kernel.LANES)


@pytest.mark.parametrize("radices", [(7,), (3, 5), (2, 4, 3), (5, 1, 4), (3, 3, 3, 2)])
def test_rows_of_a_grid_side_by_side_differ_by_one_step_of_one_axis(radices: tuple[int, ...]):
    rows = list(itertools.product(*map(range, radices)))
    random.Random(0).shuffle(rows)
    digits = np.array(rows)
    found = digits[order.in_steps(digits)]
    assert sorted(map(tuple, found.tolist())) == sorted(rows)
    assert (np.abs(np.diff(found, axis=0)).sum(axis=1) == 1).all()
    assert (np.diff(found[:, 0]) >= 0).all(), "the first axis is the slowest"


def test_the_axis_whose_steps_change_least_is_the_fastest(bound: BoundPlan):
    """Against the number of decisions that all steps of all branches change."""
    plan, axes, digits = bound.plan, bound.plan.residuals[0].inner, digits_of(bound)
    evaluator = Evaluator(plan, bound.panel, Cache(CACHE))
    term, residual = plan.space.terms[0], plan.residuals[0]
    held = planes_of(bound, evaluator, term, residual, {}, digits, axes).within(0, bound.n)
    index = {tuple(row): b for b, row in enumerate(digits.tolist())}
    changed = dict.fromkeys(axes, 0)
    for row, b in index.items():
        for a in axes:
            k = term.axes.index(a)
            beside = index.get((*row[:k], row[k] + 1, *row[k + 1 :]))
            if beside is not None:
                changed[a] += int(np.bitwise_count(held[b] ^ held[beside]).sum()) / (len(plan.space.axes[a].values) - 1)
    found = order.axes_by_change(bound, evaluator, term, residual, {}, digits)
    assert list(found) == sorted(axes, key=lambda a: -changed[a])
    assert [plan.space.axes[a].id for a in found][-1] == "trend"


def test_an_axis_of_which_the_branches_have_one_value_is_none_to_step_along(bound: BoundPlan):
    plan = bound.plan
    trend = next(a for a, axis in enumerate(plan.space.axes) if axis.id == "trend")
    term, digits = plan.space.terms[0], digits_of(bound)
    digits = digits[digits[:, term.axes.index(trend)] == 2]
    evaluator = Evaluator(plan, bound.panel, Cache(CACHE))
    assert order.axes_by_change(bound, evaluator, term, plan.residuals[0], {}, digits)[0] == trend


def test_rows_do_not_depend_on_the_order(bound: BoundPlan, monkeypatch: pytest.MonkeyPatch):
    expected = exact(evaluate(replace(bound, kernel=Kernel.SCALAR), 0, bound.plan.space.size, Cache(CACHE)))
    inner = bound.plan.residuals[0].inner
    assert len(inner) == 3
    for axes in itertools.permutations(inner):
        monkeypatch.setattr(order, "axes_by_change", lambda *_, axes=axes: axes)
        assert exact(evaluate(bound, 0, bound.plan.space.size, Cache(CACHE))).equals(expected), axes


def digits_of(bound: BoundPlan) -> np.ndarray:
    term = bound.plan.space.terms[0]
    return bound.plan.space.digits(term, np.arange(term.size))


@pytest.mark.parametrize("radices", [(5,), (4, 6), (3, 4, 5), (3, 7, 2)])
def test_branches_nearby_are_found_by_their_places(radices: tuple[int, ...]):
    """Of the branches that are there, in whatever part of a space, and however wide an axis is."""
    n_found, rng, scale = 0, np.random.default_rng(len(radices)), 10**9
    for _ in range(50):
        digits = np.unique(rng.integers(0, radices, (60, len(radices))), axis=0)
        inner = digits[order.in_steps(digits)] * scale
        places = [tuple(row) for row in _places(inner).tolist()]
        index = {place: b for b, place in enumerate(places)}
        for b, (line, place) in enumerate(places):
            before = max(b - 1, 0)
            across, corner = index.get((line - 1, place)), index.get((line - 1, places[before][1]))
            is_told = places[before][0] == line and across is not None and corner is not None
            expected = [before, across, corner] if is_told else [before] * 3
            assert _references(_places(inner))[b].tolist() == expected
            n_found += is_told
    assert len(radices) == 1 or n_found > 100
