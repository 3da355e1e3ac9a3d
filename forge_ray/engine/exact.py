"""Exact axes: every threshold that makes a difference to the decisions of a bound plan.

1. ``x < a`` and ``x >= a`` change just above each value of x, ``x <= a`` and ``x > a`` at it. What lasts n days changes
   with the largest of the last n values, or the smallest.
2. A *step* is the least threshold of those that decide alike: the axis is a step function whose k-th piece reaches from
   step k to the next. Everything that compares with the axis adds its steps, for every value of the other axes that it
   depends on.
3. A piece is stood for by a decimal of as few digits as fit in it.

Only bars of decisions that are traded count, and all bars before for what latches and simulated equities read.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from forge_ray.engine.bind import BoundPlan
from forge_ray.engine.cache import Cache
from forge_ray.engine.values import Evaluator, Values
from forge_ray.errors import CapacityError, InputError, Problem
from forge_ray.plan import Op, Threshold, axes_of, resolve, thresholds_of
from forge_ray.tree import Exact

MAX_EXACT = 250_000
"""Values of all exact axes of a space together: a run keeps them as text."""
MAX_SERIES = 1_000
"""Combinations of values of other axes that the series of one comparison may depend on."""
MAX_DIGITS = 17


def exact_steps(bound: BoundPlan, cache: Cache) -> dict[str, np.ndarray]:
    """Steps (n_values,) by axis id of the exact axes of a plan, ascending; the first is the low end, −inf without one.

    Raises `InputError` for an axis whose series depends on an exact axis, `CapacityError` for too many values.
    """
    plan = bound.plan
    found = {a: axis.exact for a, axis in enumerate(plan.space.axes) if axis.exact}
    evaluator = Evaluator(plan, bound.panel, cache)
    uses = {a: list(thresholds_of(plan.expressions, a)) for a in found}
    if nested := [problem for a in found for use in uses[a] for problem in _nested(bound, a, use)]:
        raise InputError(dict.fromkeys(nested))
    if manifold := [problem for a in found for use in uses[a] for problem in _manifold(bound, a, use)]:
        raise CapacityError(dict.fromkeys(manifold))
    steps = {plan.space.axes[a].id: _steps(bound, evaluator, a, within, uses[a]) for a, within in found.items()}
    if sum(map(len, steps.values())) > MAX_EXACT:
        counts = ", ".join(f"{name} {len(values):,}" for name, values in steps.items())
        text = f'{counts} values that make a difference; at most {MAX_EXACT:,}. Narrow them, as in "20..40 exact"'
        raise CapacityError([Problem("axes", text)])
    return steps


def _nested(bound: BoundPlan, a: int, use: Threshold) -> Iterator[Problem]:
    axes = bound.plan.space.axes
    if inner := [axes[other].id for other in _others(bound, a, use) if axes[other].exact]:
        text = f"is compared with what depends on the exact axis {', '.join(inner)}; allowed: values there"
        yield Problem(f"axes.{axes[a].id}", text)


def _manifold(bound: BoundPlan, a: int, use: Threshold) -> Iterator[Problem]:
    axes, others = bound.plan.space.axes, _others(bound, a, use)
    if (count := bound.plan.space.combinations(others)) > MAX_SERIES:
        names = ", ".join(axes[other].id for other in others)
        text = f"is compared with {count:,} series, as {names} vary; at most {MAX_SERIES:,} for an exact axis"
        yield Problem(f"axes.{axes[a].id}", text)


def _others(bound: BoundPlan, a: int, use: Threshold) -> tuple[int, ...]:
    """Axes besides `a` that a comparison depends on; its own are no operand of its series."""
    e = bound.plan.expressions[use.expression]
    compare = bound.plan.expressions[e.operands[0]] if e.op is Op.PERSIST else e
    series = bound.plan.expressions[compare.operands[0]].axes
    return axes_of(series | e.axes & ~(1 << a))


def _steps(bound: BoundPlan, evaluator: Evaluator, a: int, within: Exact, uses: list[Threshold]) -> np.ndarray:
    plan, steps = bound.plan, np.array([within.low])
    for use in uses:
        mask = sum(1 << other for other in _others(bound, a, use))
        for values in plan.assignments(mask):
            found = _flips(bound, evaluator, use, values)
            steps = np.union1d(steps, found[(found > within.low) & (found <= within.high)])
    return steps


def _flips(bound: BoundPlan, evaluator: Evaluator, use: Threshold, values: Values) -> np.ndarray:
    """Least thresholds at which a comparison changes on some bar that counts."""
    e, days = bound.plan.expressions[use.expression], 1
    if e.op is Op.PERSIST:
        (days,), e = resolve(e.parameters, values), bound.plan.expressions[e.operands[0]]
    comparator = str(resolve(e.parameters, values)[0])
    rises = comparator in ("lt", "lte")
    lasting = _extreme(np.asarray(evaluator.series(e.operands[0], values)), int(days), np.fmax if rises else np.fmin)
    counting = lasting[_bars(bound, use.has_memory)]
    found = np.unique(counting[np.isfinite(counting)])
    return found if comparator in ("lte", "gt") else np.nextafter(found, np.inf)


def _extreme(series: np.ndarray, days: int, largest: np.ufunc) -> np.ndarray:
    """(n_bars,) largest or smallest of the last `days` values that there are."""
    out = series.copy()
    for back in range(1, min(days, len(series))):
        largest(out[back:], series[:-back], out=out[back:])
    return out


def _bars(bound: BoundPlan, has_memory: bool) -> np.ndarray:
    """Information bars of the decisions that count."""
    decisions = np.unique(bound.rebalance_of) + bound.start
    bars = (np.arange(decisions[-1] + 1) if has_memory else decisions) - bound.plan.execution.fills.delay
    return bars[bars >= 0]


def step_values(steps: np.ndarray, within: Exact) -> tuple[float, ...]:
    """A number of each piece: its middle, rounded to as few decimals as keep it off the ends of the piece."""
    low, high = steps, np.append(steps[1:], np.nextafter(within.high, np.inf))
    below = np.where(np.isposinf(high), 0.0, np.minimum(np.floor(high) - 1.0, np.nextafter(high, -np.inf)))
    low = np.where(np.isneginf(low), below, low)
    high = np.where(np.isposinf(high), np.maximum(np.ceil(low) + 1.0, np.nextafter(low, np.inf)), high)
    values, middle, left = low.copy(), low + (high - low) / 2, np.ones(len(low), bool)
    for digits in range(MAX_DIGITS):
        with np.errstate(over="ignore", invalid="ignore"):
            rounded = np.rint(middle * 10.0**digits) / 10.0**digits
        fits = left & (low < rounded) & (rounded < high)
        values[fits] = rounded[fits]
        left &= ~fits
    return tuple((values + 0.0).tolist())  # no negative zero
