"""Outcomes: metrics and position paths of branches, held once for all that have the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from forge_ray.catalog import SEGMENTS
from forge_ray.engine.bind import BoundPlan
from forge_ray.kernels import finalize
from forge_ray.kernels.accounting import PATH


@dataclass(frozen=True)
class Outcomes:
    """Of n branches, m of them distinct.

    metrics : (n_segments, n_metrics, m) in the order of the finalizer, NaN where undefined. paths : (m, 2) int64 hash
    of the position path. of : (n,) which of the m each branch has.
    """

    metrics: np.ndarray
    paths: np.ndarray
    of: np.ndarray


def finalized(bound: BoundPlan, sums: np.ndarray, drawdowns: np.ndarray, of: np.ndarray) -> Outcomes:
    """sums : (m, n_classes, N_LANES). drawdowns : (m, n_segments). of : as in `Outcomes`."""
    metrics = np.empty((len(SEGMENTS), len(finalize.COLUMNS), len(sums)))
    finalize.finalize(
        sums, np.ascontiguousarray(drawdowns), bound.class_in_segment, bound.classes, bound.scales, metrics
    )
    return Outcomes(metrics, paths_of(sums), of)


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
    metrics, paths = [outcomes.metrics for _, outcomes in parts], [outcomes.paths for _, outcomes in parts]
    return Outcomes(np.concatenate(metrics, axis=2) if len(parts) > 1 else metrics[0], np.concatenate(paths), of)
