"""What a position path comes to: known from before, or simulated.

The metrics of a branch are a function of its path and of what `BoundPlan.fingerprint` holds; so the cache has them by
both, and behind it, if there is one, a store that lasts from run to run. Of what the store knows, one path in `SAMPLED`
is simulated all the same and compared bit for bit. The choice is the path's, so that every run makes the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Protocol

import numpy as np

from forge_ray.catalog import SEGMENTS
from forge_ray.engine.bind import BoundPlan
from forge_ray.engine.cache import Cache
from forge_ray.engine.distinct import distinct_rows
from forge_ray.engine.outcomes import Outcomes, done, finalized, gathered
from forge_ray.engine.planes import Planes
from forge_ray.engine.simulation import sums_by_path
from forge_ray.engine.sleeves import Sleeves
from forge_ray.engine.tally import Tally
from forge_ray.engine.values import Evaluator
from forge_ray.errors import NondeterminismError
from forge_ray.kernels import bits, finalize

SAMPLED = 64
SHAPE = (len(SEGMENTS), len(finalize.COLUMNS), 1)


class KnownOutcomes(Protocol):
    """Metrics that other runs have found, as bytes by key."""

    def find(self, key: bytes) -> bytes | None: ...

    def keep(self, key: bytes, value: bytes) -> None: ...


def outcome(
    bound: BoundPlan, cache: Cache, known: KnownOutcomes | None, path: np.ndarray, make: Callable[[], Outcomes]
) -> Outcomes:
    """Of a path (2,) int64. Raises `NondeterminismError` if a stored one is another."""
    key = ("outcome", bound.fingerprint, path.tobytes())
    return cache.get(key, lambda: make() if known is None else _recalled(cache, known, key, make), _n_bytes)


def recalled(
    bound: BoundPlan, evaluator: Evaluator, known: KnownOutcomes, sleeves: Sleeves, planes: Planes
) -> Outcomes:
    """Of branches over sleeves under a rule that trades by what is held. Raises `NondeterminismError`."""
    within = planes.within(0, bound.n)
    with evaluator.tally.stage("paths"):
        distinct, same_as = distinct_rows(within.reshape(len(planes), -1))
        paths = paths_along(sleeves, within[distinct])
    found = [
        outcome(bound, evaluator.cache, known, path, partial(_simulated, bound, evaluator.tally, sleeves, words[None]))
        for words, path in zip(within[distinct], paths, strict=True)
    ]
    together = gathered(found)
    return replace(together, of=together.of[same_as])


def _simulated(bound: BoundPlan, tally: Tally, sleeves: Sleeves, within: np.ndarray) -> Outcomes:
    with tally.stage("simulate"):
        sums = sums_by_path(bound, sleeves, within)
    with tally.stage("finalize"):
        return finalized(bound, *sums)


def paths_along(sleeves: Sleeves, planes: np.ndarray) -> np.ndarray:
    """(n_branches, 2) int64 hashes of the paths of branches over sleeves; planes of all decisions, as in
    `kernels.transitions`."""
    n = sleeves.rows.shape[1]
    out, at = np.empty((len(planes), 2), np.int64), np.arange(n)
    for b, words in enumerate(planes):
        sleeve = np.zeros(n, np.int64)
        for p, plane in enumerate(words):
            sleeve |= bits.unpack(plane[1:], n).astype(np.int64) << p
        out[b] = sleeves.paths[sleeve, at].sum(axis=0)
    return out


def _recalled(cache: Cache, known: KnownOutcomes, key: tuple, make: Callable[[], Outcomes]) -> Outcomes:
    name, path = key[1] + key[2], np.frombuffer(key[2], np.int64)
    stored = known.find(name)
    if cache.tally is not None:
        (cache.tally.misses if stored is None else cache.tally.hits)["stored"] += 1
    if stored is not None and key[2][0] % SAMPLED:
        return done(np.frombuffer(stored).reshape(SHAPE), path[None], np.zeros(1, np.int64))
    made = make()
    if stored is None:
        known.keep(name, made.metrics.tobytes())
    elif stored != made.metrics.tobytes():
        raise NondeterminismError(f"path {key[2].hex()}: a run before this one stored other metrics than it has here")
    return made


def _n_bytes(found: Outcomes) -> int:
    return found.metrics.nbytes + found.paths.nbytes
