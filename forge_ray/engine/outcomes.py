"""Outcomes: metrics and position paths of branches, held once for all that have the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from forge_ray.catalog import SEGMENTS
from forge_ray.engine.bind import BoundPlan
from forge_ray.engine.distinct import distinct_numbers
from forge_ray.engine.pruning import BEFORE
from forge_ray.kernels import finalize
from forge_ray.kernels.accounting import PATH

LOST = {"crashed": -2, "timeout": -3}
"""The ends of branches that cannot be evaluated, by their status: they kill the process, or do not end."""


@dataclass(frozen=True)
class Outcomes:
    """Of n branches, m of them distinct.

    metrics : (n_segments, n_metrics, m) in the order of the finalizer, NaN where undefined. paths : (m, 2) int64 hash
    of the position path. ends : (m,) 0 if every day is done, else the last decision + 1, `BEFORE` if none is, one of
    `LOST` if there is no way to tell.
    why : (m,) bits of the reasons to stop there, see `Pruning`. of : (n,) which of the m each branch has.

    Metrics and paths of branches that stopped or are lost mean nothing; they are NaN and 0.
    """

    metrics: np.ndarray
    paths: np.ndarray
    ends: np.ndarray
    why: np.ndarray
    of: np.ndarray


def finalized(
    bound: BoundPlan, sums: np.ndarray, drawdowns: np.ndarray, of: np.ndarray, stops: np.ndarray | None = None
) -> Outcomes:
    """sums : (m, n_classes, N_LANES). drawdowns : (m, n_segments). of : as in `Outcomes`. stops : (m, 3) as the kernels
    write them, None where there are no checks."""
    metrics = np.empty((len(SEGMENTS), len(finalize.COLUMNS), len(sums)))
    finalize.finalize(
        sums, np.ascontiguousarray(drawdowns), bound.class_in_segment, bound.classes, bound.scales, metrics
    )
    if stops is None:
        return done(metrics, paths_of(sums), of)
    paths, ends = paths_of(sums), stops[:, 0]
    metrics[:, :, ends > 0], paths[ends > 0] = np.nan, 0
    return Outcomes(metrics, paths, ends, bound.pruning.why(stops), of)


def done(metrics: np.ndarray, paths: np.ndarray, of: np.ndarray) -> Outcomes:
    """Of branches none of which has stopped; the arguments as in `Outcomes`."""
    return Outcomes(metrics, paths, np.zeros(len(paths), np.int64), np.zeros(len(paths), np.int64), of)


def not_simulated(why: np.ndarray) -> Outcomes:
    """Of branches that have stopped before; why : (n,) as in `Outcomes`."""
    distinct, _, of = distinct_numbers(why)
    return _without_metrics(np.full(len(distinct), BEFORE), distinct, of)


def not_evaluated(statuses: Sequence[str]) -> Outcomes:
    """Of branches that cannot be, with these statuses of `LOST`."""
    ends = np.array([LOST[status] for status in statuses], np.int64)
    return _without_metrics(ends, np.zeros(len(ends), np.int64), np.arange(len(ends)))


def _without_metrics(ends: np.ndarray, why: np.ndarray, of: np.ndarray) -> Outcomes:
    metrics = np.full((len(SEGMENTS), len(finalize.COLUMNS), len(ends)), np.nan)
    return Outcomes(metrics, np.zeros((len(ends), 2), np.int64), ends, why, of)


def paths_of(sums: np.ndarray) -> np.ndarray:
    """(m, 2) hash of the position paths."""
    return sums[:, :, PATH : PATH + 2].sum(axis=1)


def gathered(found: Sequence[Outcomes]) -> Outcomes:
    """Outcomes of branches from those of each, with equal paths held once."""
    distinct: dict[bytes, tuple[int, Outcomes]] = {}
    of = [distinct.setdefault(one.paths.tobytes(), (len(distinct), one))[0] for one in found]
    at = np.arange(len(distinct))
    together = joined(len(distinct), [(at[k : k + 1], one) for k, one in distinct.values()])
    return replace(together, of=np.array(of, np.int64))


def joined(n: int, parts: Sequence[tuple[np.ndarray, Outcomes]]) -> Outcomes:
    """Outcomes of n branches from those of some of them, given by their indices."""
    of, offset = np.empty(n, np.int64), 0
    for members, outcomes in parts:
        of[members] = offset + outcomes.of
        offset += len(outcomes.paths)
    found = [outcomes for _, outcomes in parts]
    return Outcomes(
        np.concatenate([o.metrics for o in found], axis=2) if len(found) > 1 else found[0].metrics,
        np.concatenate([o.paths for o in found]),
        np.concatenate([o.ends for o in found]),
        np.concatenate([o.why for o in found]),
        of,
    )
