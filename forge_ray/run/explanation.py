"""What a sweep would do, said before any work: sizes, start and what limits it, how often conditions are true, cost."""

from __future__ import annotations

from typing import Any

from forge_ray.engine import (
    Cache,
    Limit,
    condition_rates,
    how_neighbours_run,
    kernel_of,
    projected_bytes,
    projected_seconds,
)
from forge_ray.plan import ALLOCATIONS, Execution, Op, cost_warnings, unit_warnings
from forge_ray.run.capacity import memory
from forge_ray.run.execution import Prepared, block_size_for
from forge_ray.tree import Grid

MAX_RUNGS = 8


def explain(prepared: Prepared, workers: int, cache_bytes: int, threads: int = 1) -> dict[str, Any]:
    """The explanation as plain JSON values. `workers`, the `threads` and `cache_bytes` of each are those the run would
    use."""
    sweep, bound = prepared.sweep, prepared.bound
    plan, panel, space = bound.plan, bound.panel, bound.plan.space
    block_size = block_size_for(prepared.bound)
    n_blocks = -(-space.size // block_size)
    rates = condition_rates(bound, Cache(cache_bytes))
    warnings = unit_warnings(plan) + cost_warnings(plan)
    warnings += [f"{r.condition}: never true" for r in rates if r.most == 0.0]
    warnings += [f"{r.condition}: always true" for r in rates if r.least == 1.0]
    n_bytes = projected_bytes(bound, workers, cache_bytes, block_size, threads)
    warnings += filter(None, [memory().shortage(n_bytes)])
    return {
        "name": sweep.name,
        "run_id": prepared.run_id,
        "branches": space.admitted,
        "numbers": space.size,
        "trees": len(plan.trees),
        "axes": {axis.id: len(axis.values) for axis in space.axes} if isinstance(space, Grid) else {},
        **({} if isinstance(space, Grid) else {"around": str(space), "neighbours": how_neighbours_run(bound)}),
        "series": plan.concrete_count((Op.SERIES,)),
        "conditions": plan.concrete_count((Op.COMPARE,)),
        "allocations": plan.concrete_count(ALLOCATIONS),
        "groups": plan.n_groups(),
        "sleeves": max(len(residual.cofactors) for residual in plan.residuals),
        "look_back": plan.look_back,
        "start": panel.date(bound.start).isoformat(),
        "end": panel.date(-1).isoformat(),
        "start_ladder": ladder(bound.ladder),
        "bars": len(panel.dates),
        "returns": bound.n,
        "tickers": list(panel.tickers),
        "held": list(plan.held),
        "benchmark": sweep.benchmark,
        "dropped_dates": {ticker: n for ticker, n in panel.dropped.items() if n},
        "filled_dates": {ticker: n for ticker, n in panel.filled.items() if n},
        "cleaned": panel.cleaned,
        "condition_rates": [rate.__dict__ for rate in rates],
        "warnings": warnings,
        "execution": {name: getattr(sweep.execution, name) for name in Execution.__struct_fields__},
        "split": sweep.split.canonical(),
        "require": [str(requirement) for requirement in sweep.requirements],
        "keep": sweep.keep,
        "prune": sweep.prune,
        "kernel": bound.kernel,
        "kernel_because": kernel_of(plan, bound.n)[1],
        "block_size": block_size,
        "blocks": n_blocks,
        "workers": workers,
        "threads": threads,
        "bytes": n_bytes,
        "seconds": round(projected_seconds(bound, workers, n_blocks, threads), 3),
    }


def ladder(limits: tuple[Limit, ...]) -> list[dict[str, Any]]:
    """What limits the start, latest first, each rung with the bars that dropping it (and those above) would gain."""
    rungs, seen = [], set()
    for limit in limits:
        if (limit.ticker, limit.bar) not in seen:
            seen.add((limit.ticker, limit.bar))
            rungs.append(limit)
    shown = rungs[: MAX_RUNGS + 1]
    below = [limit.bar for limit in shown[1:]] + ([0] if len(rungs) <= MAX_RUNGS else [])
    return [
        {
            "date": limit.date.isoformat(),
            "ticker": limit.ticker,
            "because": limit.because,
            "look_back": limit.bars,
            "gain": limit.bar - lower,
        }
        for limit, lower in zip(shown, below, strict=False)
    ][:MAX_RUNGS]
