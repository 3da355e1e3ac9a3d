"""Branches around a tree as written, each by what it changes.

1. Evaluate the tree as written: its allocation, the vector of every decision, its sums.
2. Per branch follow its changes up the expressions (`changes.py`): what is left at the root are the bars on which it
   may hold something else.
3. On those bars alone evaluate the branch; keep those on which it does.
4. Exchange their vectors, and those of the decisions after them (`kernels.simulate.simulate_patch`). The outcome of a
   path that another branch had is known already.

Sums are integers, so this gives the bits that a simulation of the whole branch gives. A rule that trades by what is
held has no vectors to exchange; there the whole branch is simulated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from forge_ray.catalog import SEGMENTS
from forge_ray.engine.bind import BoundPlan
from forge_ray.engine.cache import Cache
from forge_ray.engine.changes import Changes
from forge_ray.engine.on_bars import OnBars
from forge_ray.engine.outcomes import Outcomes, finalized, joined
from forge_ray.engine.paths import path_lanes, row_hashes
from forge_ray.engine.planes import whole_path
from forge_ray.engine.point import Point
from forge_ray.engine.simulation import simulated
from forge_ray.engine.sleeves import build_sleeves, market_of, sparse_rows, vectors_along
from forge_ray.engine.values import Evaluator
from forge_ray.kernels import bits
from forge_ray.kernels.patch import simulate_patch
from forge_ray.kernels.simulate import DRAWDOWN
from forge_ray.plan import Residual
from forge_ray.tree import Around

SCRATCH_BYTES = 2**28


@dataclass(frozen=True)
class Patch:
    """Where a branch differs from the tree as written.

    decisions : (m,) that hold another row, ascending. rows : (m,) of `weights` (n_rows, n_tickers). lanes : (m, 2) what
    they add to the hash of the path.
    """

    decisions: np.ndarray
    rows: np.ndarray
    weights: np.ndarray
    lanes: np.ndarray


class Neighbours:
    """The tree as written, evaluated, and how to evaluate branches around it.

    in_force : (n,) calendar bar of the decision in force, per decision.
    """

    def __init__(self, bound: BoundPlan, space: Around, evaluator: Evaluator, residual: Residual):
        self.bound, self.space, self.evaluator = bound, space, evaluator
        self.outer, (self.root,) = residual.outer, residual.cofactors
        self.base = {a: space.axes[a].values[space.base[a]] for a in self.outer}
        self.in_force = bound.start + bound.rebalance_of
        self.changes = Changes(evaluator, self.root, Point(self.base, {}))
        self.written = evaluator.allocation(self.root, Point(self.base, {}))
        self.sleeves = build_sleeves(bound, [self.written])
        self.path = self.sleeves.paths[0].sum(axis=0)
        self.vectors = vectors_along(self.sleeves)
        self.planes = whole_path(residual)
        class_of = bound.class_of
        self.sums = np.stack([self.vectors[class_of == c].sum(axis=0) for c in range(len(bound.class_in_segment))])

    def evaluate(self, digits: np.ndarray) -> Outcomes:
        """Of branches with value indices (n, n_axes)."""
        found: dict[bytes, tuple[int, Outcomes]] = {}
        of = np.empty(len(digits), np.int64)
        for b, row in enumerate(digits):
            changed = {a: self.space.axes[a].values[row[a]] for a in self.outer if row[a] != self.space.base[a]}
            path, outcome = self._outcome(Point(self.base, changed))
            of[b], _ = found.setdefault(path, (len(found), outcome))
        zero = np.zeros(1, np.int64)
        together = joined(len(found), [(zero + k, outcome) for k, outcome in found.values()])
        return replace(together, of=of)

    def _outcome(self, point: Point) -> tuple[bytes, Outcomes]:
        """The path of a branch and what it comes to."""
        if self.bound.plan.execution.depends_on_path:
            sleeves = build_sleeves(self.bound, [self.evaluator.allocation(self.root, point)])
            path = sleeves.paths[0].sum(axis=0)
            make = partial(simulated, self.bound, sleeves, self.planes)
        else:
            patch = self._patch(point)
            path = self.path + (patch.lanes - self.sleeves.paths[0, patch.decisions]).sum(axis=0)
            make = partial(self._patched, patch)
        key = ("outcome", self.root, path.tobytes())
        found = self.evaluator.cache.get(key, make, lambda found: found.metrics.nbytes + found.paths.nbytes)
        return path.tobytes(), found

    def _patch(self, point: Point) -> Patch:
        bars = np.flatnonzero(bits.unpack(self.changes.at(point), len(self.bound.panel.dates)))
        bars = bars[np.isin(bars, self.in_force)]
        found = self._differing(bars, point)
        place = np.searchsorted(found.bars, self.in_force)
        place[place == len(found.bars)] = 0
        decisions = np.flatnonzero(found.bars[place] == self.in_force) if len(found.bars) else np.empty(0, np.int64)
        rows = found.rows[place[decisions]]
        lanes = path_lanes(self.bound, row_hashes(self.bound, found.weights)[rows], decisions)
        return Patch(decisions, rows, found.weights, lanes)

    def _differing(self, bars: np.ndarray, point: Point) -> _Held:
        """What the branch holds on those of some bars on which it is not what the tree as written holds."""
        if not len(bars):
            return _Held(bars, bars, np.empty((0, len(self.bound.panel.tickers))))
        found = OnBars(self.evaluator, bars, Cache(SCRATCH_BYTES)).allocation(self.root, point)
        differs = (found.weights[found.row_of] != self.written.weights[self.written.row_of[bars]]).any(axis=1)
        return _Held(bars[differs], found.row_of[differs], found.weights)

    def _patched(self, patch: Patch) -> Outcomes:
        n_rows = len(self.written.weights)
        rows = self.sleeves.rows[0].copy()
        rows[patch.decisions] = n_rows + patch.rows
        after = patch.decisions + 1
        at = np.union1d(patch.decisions, after[after < self.bound.n])
        paths = self.sleeves.paths[0, at]
        paths[np.searchsorted(at, patch.decisions)] = patch.lanes
        sums, segments = np.empty_like(self.sums), np.empty((3, len(SEGMENTS)), np.int64)
        market = market_of(self.bound, *sparse_rows(np.vstack([self.written.weights, patch.weights])))
        simulate_patch(
            *market, rows, at, paths, self.vectors, self.sums, self.bound.runs, self.bound.class_in_segment, sums,
            segments,
        )  # fmt: skip
        return finalized(self.bound, sums[None], segments[None, DRAWDOWN], np.zeros(1, np.int64))


@dataclass(frozen=True)
class _Held:
    """bars : (m,) ascending. rows : (m,) of `weights` (n_rows, n_tickers)."""

    bars: np.ndarray
    rows: np.ndarray
    weights: np.ndarray
