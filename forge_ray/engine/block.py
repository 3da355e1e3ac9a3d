"""One block, one process: branch numbers → rows of metrics. No Ray. Thread-safe.

1. Split the block by tree and drop the branches that the constraints exclude.
2. Split each tree's branches into groups: equal values on the outer axes, branches that hold nearly the same side by
   side. Around a large tree hardly any share outer values; there every branch is told by what it changes.
3. Per group evaluate the cofactors into sleeves: distinct rows of weights and their number per bar.
4. Load the packed conditions that the group's inner values need and run the residual program: per branch the planes
   of its sleeve number, at the traded decisions.
5. Where the job prunes, drop the branches whose time in market or trades, counted in the planes, miss a requirement.
6. Simulate: the vectors of a group are computed once, and branches with equal position paths have one outcome.
7. Finalize sums into metrics, judge the requirements, put the rows back in branch order as an Arrow table.

The sums are integers, so the numbers of a branch depend on (plan, data, branch number) only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
import pyarrow as pa

from forge_ray.engine import formulas
from forge_ray.engine.bind import BoundPlan, Kernel
from forge_ray.engine.cache import Cache
from forge_ray.engine.holdings import missed_counts
from forge_ray.engine.indicator_kernels import INDICATOR_KERNELS
from forge_ray.engine.known import KnownOutcomes, recalled
from forge_ray.engine.neighbours import Neighbours
from forge_ray.engine.order import side_by_side
from forge_ray.engine.outcomes import Outcomes, finalized, joined, not_evaluated, not_simulated
from forge_ray.engine.planes import Planes, planes_of
from forge_ray.engine.rows import Part, rows_of
from forge_ray.engine.simulation import STRETCH, simulated
from forge_ray.engine.sleeves import Sleeves, build_sleeves, usual_bytes
from forge_ray.engine.tally import Tally
from forge_ray.engine.values import Evaluator
from forge_ray.kernels import (
    accounting,
    bits,
    exchanges,
    finalize,
    holdings,
    lanes,
    patch,
    path_dependent,
    simulate,
    transitions,
    walk,
)
from forge_ray.kernels import compile as compiling
from forge_ray.kernels.equity import subtree_equity
from forge_ray.kernels.weights import pick_lowest, volatility_shares
from forge_ray.plan import Op, Plan, Residual
from forge_ray.tree import Around, AxisValue, Term
from forge_ray.tree.domains import CUSTOM


def evaluate(
    bound: BoundPlan, lo: int, hi: int, cache: Cache, tally: Tally | None = None, known: KnownOutcomes | None = None,
    lost: Mapping[int, str] | None = None,
) -> pa.Table:  # fmt: skip
    """Rows of the admitted branches in ``[lo, hi)``, in branch order.

    tally : counts what it cost. known : outcomes of paths that other runs have simulated, where that is dear.
    lost : branches that are left out, with the status of `LOST` that their rows get.
    """
    tally = tally or Tally()
    evaluator = Evaluator(bound.plan, bound.panel, cache.counting(tally))
    parts = []
    for term, branches, digits in _terms(bound, lo, hi):
        parts.append(Part(term, branches, digits, _evaluate_but(lost, bound, evaluator, term, branches, digits, known)))
    with tally.stage("rows"):
        return rows_of(bound, parts)


def _terms(bound: BoundPlan, lo: int, hi: int) -> Iterator[tuple[Term, np.ndarray, np.ndarray]]:
    space = bound.plan.space
    for term in space.terms:
        branches = np.arange(max(lo, term.first), min(hi, term.first + term.size), dtype=np.int64)
        if len(branches):
            branches = branches[space.admits(term, branches)]
        if len(branches):
            yield term, branches, space.digits(term, branches)


def _evaluate_but(
    lost: Mapping[int, str] | None, bound: BoundPlan, evaluator: Evaluator, term: Term, branches: np.ndarray,
    digits: np.ndarray, known: KnownOutcomes | None,
) -> Outcomes:  # fmt: skip
    """What branches of one tree come to, those that are lost left out."""
    if not lost:
        return _evaluate_term(bound, evaluator, term, digits, known)
    is_lost, parts = np.isin(branches, [*lost]), []
    if is_lost.any():
        statuses = [lost[branch] for branch in branches[is_lost].tolist()]
        parts.append((np.flatnonzero(is_lost), not_evaluated(statuses)))
    if not is_lost.all():
        left = np.flatnonzero(~is_lost)
        parts.append((left, _evaluate_term(bound, evaluator, term, digits[left], known)))
    return joined(len(branches), parts)


def _evaluate_term(
    bound: BoundPlan, evaluator: Evaluator, term: Term, digits: np.ndarray, known: KnownOutcomes | None
) -> Outcomes:
    """What branches of one tree come to."""
    residual, stage = bound.plan.residuals[term.tree], evaluator.tally.stage
    if isinstance(space := bound.plan.space, Around) and not residual.inner:
        with stage("neighbours"):
            return Neighbours(bound, space, residual, evaluator.cache, known).evaluate(digits)
    parts = []
    for members in _groups(term, residual, digits):
        values = _values(bound, term, digits[members[0]], residual.outer)
        sleeves = _sleeves(bound, evaluator, residual, values)
        with stage("planes"):
            order, axes = side_by_side(bound, evaluator, term, residual, values, digits[members])
            members = members[order]
            planes = planes_of(bound, evaluator, term, residual, values, digits[members], axes)
        parts.append((members, _outcomes(bound, evaluator, sleeves, planes, known)))
    return joined(len(digits), parts)


def _outcomes(
    bound: BoundPlan, evaluator: Evaluator, sleeves: Sleeves, planes: Planes, known: KnownOutcomes | None
) -> Outcomes:
    """Of branches of a group; those that miss a requirement by what they hold are not simulated."""
    if not bound.pruning.counts:
        return _simulated(bound, evaluator, sleeves, planes, known)
    if bound.n <= STRETCH:
        planes = planes.kept(0, bound.n)
    with evaluator.tally.stage("planes"):
        why = missed_counts(bound, sleeves, planes)
    parts, left = [], np.flatnonzero(why == 0)
    if len(left):
        parts.append((left, _simulated(bound, evaluator, sleeves, planes.of(left), known)))
    if len(left) < len(why):
        missed = np.flatnonzero(why)
        parts.append((missed, not_simulated(why[missed])))
    return joined(len(why), parts)


def _simulated(
    bound: BoundPlan, evaluator: Evaluator, sleeves: Sleeves, planes: Planes, known: KnownOutcomes | None
) -> Outcomes:
    """What branches over sleeves come to. What a path came to elsewhere does not tell where a branch stops."""
    if known is not None and not bound.pruning.has_checks:
        return recalled(bound, evaluator, known, sleeves, planes)
    with evaluator.tally.stage("simulate"):
        sums = simulated(bound, sleeves, planes)
    with evaluator.tally.stage("finalize"):
        return finalized(bound, *sums)


def _groups(term: Term, residual: Residual, digits: np.ndarray) -> Iterator[np.ndarray]:
    """Indices of the branches of each group."""
    outer = digits[:, [term.axes.index(a) for a in residual.outer]]
    order = np.lexsort(outer.T[::-1]) if residual.outer else np.arange(len(digits))
    changed = np.any(np.diff(outer[order], axis=0), axis=1)
    yield from np.split(order, np.flatnonzero(changed) + 1)


def _values(bound: BoundPlan, term: Term, digits: np.ndarray, axes: tuple[int, ...]) -> dict[int, AxisValue]:
    """Values by axis index of one branch, for some of its axes."""
    space = bound.plan.space
    return {a: space.axes[a].values[digits[term.axes.index(a)]] for a in axes}


def _sleeves(bound: BoundPlan, evaluator: Evaluator, residual: Residual, values: dict[int, AxisValue]) -> Sleeves:
    key = ("sleeves", bound.fingerprint, *(evaluator.key(cofactor, values) for cofactor in residual.cofactors))
    return evaluator.cache.get(
        key,
        partial(_built, bound, evaluator, residual, values),
        lambda s: usual_bytes(*s.rows.shape, keep_vectors=bound.kernel is Kernel.SCALAR),
    )


def _built(bound: BoundPlan, evaluator: Evaluator, residual: Residual, values: dict[int, AxisValue]) -> Sleeves:
    allocations = [evaluator.allocation(cofactor, values) for cofactor in residual.cofactors]
    return build_sleeves(bound, allocations)


def kernels_of(bound: BoundPlan) -> tuple[str, ...]:
    """Names of the kernels that a bound plan calls, for warming them up."""
    plan = bound.plan
    kernels = {*_metric_kernels(plan), bits.residual_planes, bits.at_decisions, bits.threshold_table}
    if any(e.op is Op.PERSIST for e in plan.expressions):
        kernels.add(bits.persist_packed)
    kernels |= {*_SIMULATION[bound.kernel], accounting.price_ratios, finalize.finalize}
    if plan.space.is_sparse:
        kernels.add(walk.walk)
    if bound.pruning.counts:
        kernels |= {holdings.held_sets, holdings.count_holdings}
    if plan.has_equities:
        kernels |= {subtree_equity, volatility_shares}
    if any(e.op is Op.RANK for e in plan.expressions):
        kernels.add(pick_lowest)
    if any(e.op is Op.LATCH for e in plan.expressions):
        kernels.add(bits.latch)
    return tuple(sorted(kernel.name for kernel in kernels))


_SIMULATION: dict[Kernel, tuple[compiling.Kernel, ...]] = {
    Kernel.SCALAR: (simulate.simulate,),
    Kernel.LANES: (exchanges.find_exchanges, exchanges.add_exchanges, lanes.scan_drawdowns),
    Kernel.PATCH: (simulate.simulate, transitions.follow, patch.summarize, patch.simulate_patches),
    Kernel.PATH: (path_dependent.simulate_path,),
}


def _metric_kernels(plan: Plan) -> set[compiling.Kernel]:
    found: set[compiling.Kernel] = set()
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
    compiling.warm(names)
