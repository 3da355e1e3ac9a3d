"""One block, one process: branch numbers → rows of metrics. No Ray. Thread-safe.

1. Split the block by tree and drop the branches that the constraints exclude.
2. Split each tree's branches into groups: equal values on the outer axes. Around a large tree hardly any share them;
   then every branch is evaluated by itself, by what it changes.
3. Per group evaluate the cofactors into sleeves (distinct rows of weights and their number per bar) and derive each
   sleeve's stay table and its prefix sums.
4. Load the packed conditions that the group's inner values need and run the residual program: per branch the planes
   of its sleeve number, cut to the traded bars.
5. Branches with equal planes hold the same path: simulate one of them, give its sums to all.
6. Finalize sums into metrics, judge the requirements, put the rows back in branch order as an Arrow table.

The sums are integers, so the numbers of a branch depend on (plan, data, branch number) only.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pyarrow as pa

from forge_ray.catalog import SEGMENTS
from forge_ray.engine import formulas
from forge_ray.engine.bind import BoundPlan
from forge_ray.engine.cache import Cache
from forge_ray.engine.indicator_kernels import INDICATOR_KERNELS
from forge_ray.engine.neighbours import Neighbours
from forge_ray.engine.rows import rows_of, schema
from forge_ray.engine.sleeves import Sleeves, build_sleeves, finalized, simulated
from forge_ray.engine.values import Evaluator
from forge_ray.kernels import bits, finalize, simulate
from forge_ray.kernels.compile import Kernel, warm
from forge_ray.kernels.equity import subtree_equity
from forge_ray.kernels.weights import volatility_shares
from forge_ray.plan import Op, Plan, Residual, axes_of
from forge_ray.tree import Around, AxisValue, Term
from forge_ray.tree.domains import CUSTOM

CHUNK = 1024


def evaluate(bound: BoundPlan, lo: int, hi: int, cache: Cache) -> pa.Table:
    """Rows of the admitted branches in ``[lo, hi)``, in branch order."""
    evaluator = Evaluator(bound.plan, bound.panel, cache)
    tables = [schema(bound).empty_table()]
    for term, branches, digits in _terms(bound, lo, hi):
        metrics, paths = _evaluate_term(bound, evaluator, term, digits)
        tables.append(rows_of(bound, term, branches, digits, metrics, paths))
    return pa.concat_tables(tables).combine_chunks()


def _terms(bound: BoundPlan, lo: int, hi: int) -> Iterator[tuple[Term, np.ndarray, np.ndarray]]:
    space = bound.plan.space
    for term in space.terms:
        branches = np.arange(max(lo, term.first), min(hi, term.first + term.size), dtype=np.int64)
        if len(branches):
            branches = branches[space.admits(term, branches)]
        if len(branches):
            yield term, branches, space.digits(term, branches)


def _evaluate_term(
    bound: BoundPlan, evaluator: Evaluator, term: Term, digits: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Metrics (n, n_segments, n_metrics) and path hashes (n, 2) of branches of one tree."""
    residual = bound.plan.residuals[term.tree]
    if isinstance(space := bound.plan.space, Around) and not residual.inner:
        return Neighbours(bound, space, evaluator, residual).evaluate(digits)
    metrics = np.empty((len(digits), len(SEGMENTS), len(finalize.COLUMNS)))
    paths = np.empty((len(digits), 2), np.int64)
    for members in _groups(bound, term, residual, digits):
        values = _values(bound, term, digits[members[0]], residual.outer)
        sleeves = _sleeves(bound, evaluator, residual, values)
        for first in range(0, len(members), CHUNK):
            chunk = members[first : first + CHUNK]
            metrics[chunk], paths[chunk] = _evaluate_chunk(
                bound, evaluator, term, residual, sleeves, values, digits[chunk]
            )
    return metrics, paths


def _groups(bound: BoundPlan, term: Term, residual: Residual, digits: np.ndarray) -> Iterator[np.ndarray]:
    """Indices of the branches of each group, groups in the order of their outer values."""
    outer = [k for k, a in enumerate(term.axes) if a in residual.outer]
    order = np.lexsort(digits[:, outer[::-1]].T) if outer else np.arange(len(digits))
    changed = np.any(np.diff(digits[order][:, outer], axis=0), axis=1)
    yield from np.split(order, np.flatnonzero(changed) + 1)


def _values(bound: BoundPlan, term: Term, digits: np.ndarray, axes: tuple[int, ...]) -> dict[int, AxisValue]:
    """Values by axis index of one branch, for some of its axes."""
    space = bound.plan.space
    return {a: space.axes[a].values[digits[term.axes.index(a)]] for a in axes}


def _sleeves(bound: BoundPlan, evaluator: Evaluator, residual: Residual, values: dict[int, AxisValue]) -> Sleeves:
    key = ("sleeves", residual.cofactors, residual.outer, *(values[a] for a in residual.outer))
    return evaluator.cache.get(
        key,
        partial(_built, bound, evaluator, residual, values),
        lambda s: s.nbytes,
    )


def _built(bound: BoundPlan, evaluator: Evaluator, residual: Residual, values: dict[int, AxisValue]) -> Sleeves:
    allocations = [evaluator.allocation(cofactor, values) for cofactor in residual.cofactors]
    return build_sleeves(bound, allocations)


def _evaluate_chunk(
    bound: BoundPlan, evaluator: Evaluator, term: Term, residual: Residual, sleeves: Sleeves,
    values: dict[int, AxisValue], digits: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Metrics and path hashes of some branches of one group."""
    planes = _planes(bound, evaluator, term, residual, values, digits)
    first_with: dict[bytes, int] = {}
    same_as = np.array([first_with.setdefault(plane.tobytes(), len(first_with)) for plane in planes])
    _, distinct = np.unique(same_as, return_index=True)
    metrics, paths = finalized(bound, *simulated(bound, sleeves, planes[distinct]))
    return metrics[same_as], paths[same_as]


def _planes(
    bound: BoundPlan, evaluator: Evaluator, term: Term, residual: Residual,
    values: dict[int, AxisValue], digits: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """(n_branches, n_planes, n_words) of the traded bars."""
    n_bars = len(bound.panel.dates)
    mask = bits.bar_mask(bound.start, bound.start + bound.n, n_bars)
    out = np.empty((len(digits), len(residual.planes), len(mask)), np.uint64)
    if not residual.planes:
        return out
    tables, rows = [], np.empty((len(digits), len(residual.leaves)), np.int64)
    for leaf, expression in enumerate(residual.leaves):
        table, rows[:, leaf] = _leaf_rows(bound, evaluator, term, residual, expression, values, digits)
        rows[:, leaf] += sum(len(t) for t in tables)
        tables.append(table)
    operations = np.array(residual.operations, np.int64)
    registers = np.empty((residual.n_registers, len(mask)), np.uint64)
    bits.residual_planes(
        operations, np.array(residual.planes, np.int64), np.concatenate(tables), rows, mask, registers, out
    )
    return out


def _leaf_rows(
    bound: BoundPlan, evaluator: Evaluator, term: Term, residual: Residual, expression: int,
    values: dict[int, AxisValue], digits: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The packed condition for each distinct combination of its inner axes, and which one each branch uses."""
    inner = tuple(a for a in axes_of(bound.plan.expressions[expression].axes) if a in residual.inner)
    own = digits[:, [term.axes.index(a) for a in inner]]
    distinct, row_of = np.unique(own, axis=0, return_inverse=True) if inner else (own[:1], np.zeros(len(digits), int))
    space = bound.plan.space
    table = [
        evaluator.bits(expression, values | {a: space.axes[a].values[d] for a, d in zip(inner, row, strict=True)})
        for row in distinct
    ]
    return np.stack(table), row_of.reshape(-1)


def kernels_of(bound: BoundPlan) -> tuple[str, ...]:
    """Names of the kernels that a bound plan calls, for warming them up."""
    plan = bound.plan
    along_path = (simulate.simulate_path,)
    simulation = along_path if plan.execution.depends_on_path else (simulate.stay_table, simulate.simulate)
    kernels = {*_metric_kernels(plan), bits.residual_planes, *simulation, finalize.finalize}
    if plan.space.is_sparse:
        kernels.add(simulate.simulate_patch)
    if plan.has_equities:
        kernels |= {subtree_equity, volatility_shares}
    if any(e.op is Op.LATCH for e in plan.expressions):
        kernels.add(bits.latch)
    return tuple(sorted(kernel.name for kernel in kernels))


def _metric_kernels(plan: Plan) -> set[Kernel]:
    found: set[Kernel] = set()
    for metric in plan.metrics:
        if metric.startswith(CUSTOM):
            formula = plan.formulas[metric.removeprefix(CUSTOM)]
            found |= {INDICATOR_KERNELS[indicator.name] for indicator in formula.indicators}
            found |= set(formulas.kernels_of(formula))
        else:
            found.add(INDICATOR_KERNELS[metric])
    return found


def warm_kernels(names: tuple[str, ...]) -> None:
    """Compile kernels, or load them from this machine's cache, before the first block needs them."""
    warm(names)
