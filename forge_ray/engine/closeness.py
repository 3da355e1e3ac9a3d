"""How near the decisions of a tree were to being others.

1. From the root down, mark the bars on which the decision reaches each allocation: a gate passes them on to the side
   that it takes, everything else to all children.
2. On the bars that reach a gate, the distance of each of its comparisons from flipping is |left − right|, counted in
   moves: what a side changed from one bar to the next on average over the last year; of two sides the livelier one.
3. The nearest of them is the nearest flip of that bar.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from forge_ray.catalog import BARS_PER_YEAR
from forge_ray.engine.bind import BoundPlan
from forge_ray.engine.cache import Cache
from forge_ray.engine.values import Evaluator
from forge_ray.kernels import bits
from forge_ray.plan import ALLOCATIONS, Op, reachable


def nearest_flips(bound: BoundPlan, cache: Cache) -> np.ndarray:
    """(n,) distance of the nearest flip at each traded decision, in moves; infinite where nothing is compared.

    For a bound plan of one branch. What happens below a simulated equity does not count.
    """
    evaluator = Evaluator(bound.plan, bound.panel, cache)
    nearest = np.full(evaluator.n_bars, np.inf)
    for i, reached in _gates(evaluator, bound.plan.roots[0]):
        for compare in reachable(bound.plan.expressions, [i]):
            if bound.plan.expressions[compare].op is Op.COMPARE:
                distance = _distance(evaluator, compare)
                nearest = np.where(reached, np.fmin(nearest, distance), nearest)
    return nearest[bound.start : bound.start + bound.n]


def _gates(evaluator: Evaluator, root: int) -> Iterator[tuple[int, np.ndarray]]:
    """(gate, bars on which the decision reaches it), users before operands."""
    expressions, n_bars = evaluator.plan.expressions, evaluator.n_bars
    reached = {root: np.ones(n_bars, bool)}
    for i in reversed(reachable(expressions, [root])):
        if i not in reached:
            continue
        e, here = expressions[i], reached[i]
        sides = {operand: here for operand in e.operands if expressions[operand].op in ALLOCATIONS}
        if e.op is Op.CHOOSE:
            gate, then, other = e.operands
            yield gate, here
            true, _ = (bits.unpack(words, n_bars) for words in evaluator.bits(gate, {}))
            sides = {then: here & true}
            sides[other] = sides.get(other, False) | (here & ~true)
        for operand, bars in sides.items():
            reached[operand] = reached.get(operand, np.zeros(n_bars, bool)) | bars


def _distance(evaluator: Evaluator, compare: int) -> np.ndarray:
    """(n_bars,) of one comparison in moves, NaN where it has no value or no side has moved."""
    left, right = (evaluator.seen(i, {}) for i in evaluator.plan.expressions[compare].operands)
    move = np.fmax(_usual_move(left), _usual_move(right))
    return np.divide(np.abs(left - right), move, out=np.full(len(move), np.nan), where=move > 0)


def _usual_move(series: np.ndarray) -> np.ndarray:
    """(n_bars,) mean change over the bars of the last year that have one, NaN without any."""
    moves = np.abs(np.diff(series, prepend=np.nan))
    known = np.isfinite(moves)
    total, count = _of_last_year(np.where(known, moves, 0.0)), _of_last_year(known)
    return np.divide(total, count, out=np.full(len(moves), np.nan), where=count > 0)


def _of_last_year(values: np.ndarray) -> np.ndarray:
    sums = np.concatenate([np.zeros(BARS_PER_YEAR), np.cumsum(values, dtype=np.float64)])
    return sums[BARS_PER_YEAR:] - sums[:-BARS_PER_YEAR]
