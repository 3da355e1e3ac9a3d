"""The cost model: nanoseconds per kernel and build step, as data, and what a bound plan will take by it."""

from __future__ import annotations

from dataclasses import dataclass

from forge_ray.engine.bind import BoundPlan, Kernel
from forge_ray.engine.rows import METRIC_COLUMNS
from forge_ray.engine.simulation import MAX_VECTOR_BYTES
from forge_ray.engine.sleeves import usual_bytes
from forge_ray.kernels.accounting import N_LANES
from forge_ray.plan import ALLOCATIONS, Op, axes_of
from forge_ray.tree import Jitter

PROCESS_BYTES = 200 * 2**20
"""A process that has compiled its kernels; an actor with little to keep was measured at 150 MiB, a driver at 190."""


@dataclass(frozen=True)
class Costs:
    """Nanoseconds on one core; `tests/bench/costs.py` measures and writes them.

    per bar: a series, packing a condition, a vector of a group, the simulation of a branch by the scalar kernel, by
    lanes and from what is held, one operation of the residual program. per branch: finalizing, rows, encoding. per
    group of one branch, and per block: its file and its transaction. per branch near a tree as written: its variants,
    walking the bars that they reach, patches, rows; if everything moves, every bar is walked and patched (by hand, on
    a symphony). Equities below that change are not in it.
    """

    series_bar: float = 12.8
    condition_bar: float = 2.4
    vector_bar: float = 79.0
    scan_bar: float = 17.5
    lanes_bar: float = 1.1
    held_bar: float = 280.0
    operation_bar: float = 0.0115
    branch: float = 5600.0
    group: float = 3600000.0
    block: float = 10800000.0
    near_branch: float = 39000.0
    near_bar: float = 370.0


COSTS = Costs()
_SIMULATED = {Kernel.SCALAR: COSTS.scan_bar, Kernel.LANES: COSTS.lanes_bar, Kernel.PATH: COSTS.held_bar,
              Kernel.PATCH: COSTS.scan_bar}  # fmt: skip
USUAL_PAIRS_MET = 4
"""Vectors per bar that the branches of a group need, if they are many."""


def projected_seconds(bound: BoundPlan, workers: int, n_blocks: int, threads: int = 1) -> float:
    """Wall seconds of evaluating the whole space in `n_blocks` blocks on `workers`, each with as many cores as threads,
    without starting them."""
    plan, c = bound.plan, COSTS
    n_bars = len(bound.panel.dates)
    total = plan.concrete_count((Op.SERIES,)) * c.series_bar * n_bars + n_blocks * c.block
    total += plan.concrete_count((Op.COMPARE, Op.PERSIST)) * c.condition_bar * n_bars
    for term in plan.space.terms:
        residual = plan.residuals[term.tree]
        if plan.space.is_sparse and not residual.inner:
            total += term.size * _near(bound)
            continue
        groups = plan.space.combinations(residual.outer)
        pairs = min(USUAL_PAIRS_MET, 4 ** len(residual.planes), -(-term.size // groups))
        per_group = c.group + (pairs - 1) * bound.n * c.vector_bar
        per_branch = c.branch + bound.n * (_SIMULATED[bound.kernel] + len(residual.operations) * c.operation_bar)
        total += groups * per_group + term.size * per_branch
    return total * 1e-9 / (min(workers, n_blocks) * threads)


def _near(bound: BoundPlan) -> float:
    """Nanoseconds of a branch around a tree that is walked."""
    simulated = bound.n * COSTS.held_bar if bound.plan.execution.depends_on_path else 0.0
    walked = bound.n * COSTS.near_bar if isinstance(bound.plan.space, Jitter) else 0.0
    return COSTS.near_branch + simulated + walked


def projected_bytes(bound: BoundPlan, workers: int, cache_bytes: int, block_size: int, threads: int = 1) -> int:
    """Memory at the peak, whatever the number of branches: the panel once; the driver's process; per worker its
    process, what its cache can fill with, the tables of a chunk for each of its threads, a block's rows."""
    largest = max(len(residual.cofactors) for residual in bound.plan.residuals)
    n_planes = max(len(residual.planes) for residual in bound.plan.residuals)
    planes = block_size * (n_planes + 1) * len(bound.panel.dates) // 8  # and one of what is exchanged
    pairs = min(MAX_VECTOR_BYTES, largest**2 * bound.n * N_LANES * 8)
    rows = 4 * block_size * 8 * len(METRIC_COLUMNS)
    kept = min(cache_bytes, _cacheable_bytes(bound, largest))
    return bound.panel.nbytes + PROCESS_BYTES + workers * (PROCESS_BYTES + kept + planes + threads * pairs + rows)


def _cacheable_bytes(bound: BoundPlan, n_sleeves: int) -> int:
    """More than a cache could ever hold: series, conditions, and the allocations and sleeves of every group."""
    plan, n_bars = bound.plan, len(bound.panel.dates)
    leaves = {leaf for residual in plan.residuals for leaf in residual.leaves}
    n_bits = plan.concrete_count((Op.COMPARE, Op.PERSIST))
    n_bits += sum(plan.space.combinations(axes_of(plan.expressions[leaf].axes)) for leaf in leaves)
    n_series = plan.concrete_count((Op.SERIES, Op.SCORE))
    n_allocations = sum(e.op in ALLOCATIONS for e in plan.expressions) * plan.n_groups()
    sleeves = plan.n_groups() * usual_bytes(n_sleeves, bound.n, keep_vectors=bound.kernel is Kernel.SCALAR)
    return (n_series + n_allocations) * 8 * n_bars + n_bits * n_bars // 4 + sleeves
