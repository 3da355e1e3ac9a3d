"""The order of the branches of a group: neighbours hold nearly the same, which is what the lane kernels live on.

1. One step along an axis changes what a branch holds on some decisions: few for an average of 180 or 181 days, many for
   a threshold of 30 or 31. How many is measured on some branches of the first group of a tree.
2. The axis whose steps change least is the fastest one.
3. Along it values go up and, at the next value of a slower axis, down again.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from forge_ray.engine.bind import BoundPlan, Kernel
from forge_ray.engine.planes import Values, planes_of
from forge_ray.engine.values import Evaluator
from forge_ray.plan import Residual
from forge_ray.tree import Term

N_MEASURED = 8
MAX_DECISIONS = 1 << 14
BYTES = 256
"""Of a short tuple of numbers."""


def side_by_side(
    bound: BoundPlan, evaluator: Evaluator, term: Term, residual: Residual, values: Values, digits: np.ndarray
) -> tuple[np.ndarray, tuple[int, ...]]:
    """The order of the branches of a group, as indices, and the inner axes, the fastest one last.

    values : of the group, by axis index. digits : (n_branches, n_axes of the term) value indices.
    """
    axes = axes_by_change(bound, evaluator, term, residual, values, digits)
    return in_steps(digits[:, [term.axes.index(a) for a in axes]]), axes


def axes_by_change(
    bound: BoundPlan, evaluator: Evaluator, term: Term, residual: Residual, values: Values, digits: np.ndarray
) -> tuple[int, ...]:
    """The inner axes of a group, from the one whose steps change most to the one whose steps change least; first of all
    those of which the branches have one value. Arguments as in `side_by_side`."""
    if bound.kernel is not Kernel.LANES or len(residual.inner) < 2:
        return residual.inner
    changed = evaluator.cache.get(
        ("order", bound.fingerprint, bound.plan.identities[bound.plan.roots[term.tree]], residual.inner),
        partial(_changed, bound, evaluator, term, residual, values, digits),
        lambda _: BYTES,
    )
    columns = [term.axes.index(a) for a in residual.inner]
    is_swept = digits[:, columns].min(axis=0) < digits[:, columns].max(axis=0)
    return tuple(residual.inner[k] for k in np.lexsort((-np.array(changed), is_swept)))


def in_steps(digits: np.ndarray) -> np.ndarray:
    """Indices of rows (n, n_axes) of digits, the slowest axis first, such that rows side by side differ by one step of
    one axis as far as the rows allow."""
    keys, is_odd = [], np.zeros(len(digits), np.int64)
    for digit in digits.T:
        keys.append(np.where(is_odd, -digit, digit))
        is_odd = is_odd ^ (digit & 1)
    return np.lexsort(keys[::-1]) if keys else np.arange(len(digits))


def _changed(
    bound: BoundPlan, evaluator: Evaluator, term: Term, residual: Residual, values: Values, digits: np.ndarray
) -> tuple[int, ...]:
    """Per inner axis, the decisions that one step changes, summed over some branches."""
    some = digits[np.linspace(0, len(digits) - 1, N_MEASURED).astype(int)]
    beside = [some]
    for a in residual.inner:
        k, stepped = term.axes.index(a), some.copy()
        stepped[:, k] = np.where(some[:, k] > 0, some[:, k] - 1, min(1, len(bound.plan.space.axes[a].values) - 1))
        beside.append(stepped)
    planes = planes_of(bound, evaluator, term, residual, values, np.concatenate(beside), residual.inner)
    held, *others = np.split(planes.within(0, min(bound.n, MAX_DECISIONS)), len(beside))
    return tuple(int(np.bitwise_count(np.bitwise_or.reduce(held ^ other, axis=1)).sum()) for other in others)
