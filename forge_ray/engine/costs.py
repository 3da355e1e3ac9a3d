"""The cost model: nanoseconds per kernel and build step, as data, and what a bound plan will take by it."""

from __future__ import annotations

from dataclasses import dataclass

from forge_ray.engine.bind import BoundPlan
from forge_ray.engine.rows import METRIC_COLUMNS
from forge_ray.engine.simulation import MAX_VECTOR_BYTES
from forge_ray.kernels.accounting import N_LANES
from forge_ray.plan import Op

PROCESS_BYTES = 250 * 2**20


@dataclass(frozen=True)
class Costs:
    """Nanoseconds, measured on one core of an Intel Xeon on the jobs of `tests/bench/jobs.py`.

    per bar: a series, packing a condition, a stay table's vector, the scan of a branch, one operation of the residual
    program. per branch: decoding, duplicates, finalizing, rows. per group and per block: fixed Python work.
    """

    series_bar: float = 3.0
    condition_bar: float = 4.0
    stay_bar: float = 110.0
    scan_bar: float = 6.5
    operation_bar: float = 0.004
    branch: float = 14_000.0
    group: float = 3_000_000.0
    block: float = 6_000_000.0


COSTS = Costs()


def projected_seconds(bound: BoundPlan, workers: int, n_blocks: int) -> float:
    """Wall seconds of evaluating the whole space on `workers` cores, without starting them."""
    plan, c = bound.plan, COSTS
    n_bars = len(bound.panel.dates)
    total = plan.concrete_count((Op.SERIES,)) * c.series_bar * n_bars + n_blocks * c.block
    total += plan.concrete_count((Op.COMPARE, Op.PERSIST)) * c.condition_bar * n_bars
    for term in plan.space.terms:
        residual = plan.residuals[term.tree]
        groups = plan.space.combinations(residual.outer)
        per_branch = c.branch + bound.n * c.scan_bar + len(residual.operations) * c.operation_bar * n_bars
        total += groups * (c.group + len(residual.cofactors) * bound.n * c.stay_bar) + term.size * per_branch
    return total * 1e-9 / workers


def projected_bytes(bound: BoundPlan, workers: int, cache_bytes: int, block_size: int) -> int:
    """Memory at the peak: the panel once; per worker its process, its cache, the tables of a chunk, a block's rows."""
    panel = bound.panel.close.nbytes + sum(own.close.nbytes + 16 * len(own.close) for own in bound.panel.bars)
    largest = max(len(residual.cofactors) for residual in bound.plan.residuals)
    planes = block_size * max(len(residual.planes) for residual in bound.plan.residuals) * len(bound.panel.dates) // 8
    pairs = min(MAX_VECTOR_BYTES, largest**2 * bound.n * N_LANES * 8)
    rows = 4 * block_size * 8 * len(METRIC_COLUMNS)
    return panel + workers * (PROCESS_BYTES + cache_bytes + planes + pairs + rows)
