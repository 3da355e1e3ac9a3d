"""Branches around a tree as written, each by what it changes.

1. Evaluate the tree as written once: what it holds, the vector of every decision, its sums, and on which decisions it
   reads each of its conditions, series and parameters (`nearby.py`).
2. Per block find which of those each branch changes, and to what: one row for each different change.
3. Walk the tree on the bars that the changes reach, for all branches at once. Most hold the same.
4. Exchange the vectors of the decisions that hold something else, and of those after them (`kernels.patch`). Branches
   with the same path are simulated once, and a path of an earlier block is known already.

Sums are integers, so this gives the bits that a simulation of the whole branch gives. A rule that trades by what is
held has no vectors to exchange; there each distinct path is simulated from end to end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from forge_ray.catalog import SEGMENTS
from forge_ray.engine.bind import BoundPlan
from forge_ray.engine.cache import Cache
from forge_ray.engine.distinct import distinct_rows
from forge_ray.engine.known import KnownOutcomes, outcome
from forge_ray.engine.nearby import Found, Nearby, NearEvaluator, Sparse, Variant, Variants, nearby_of
from forge_ray.engine.outcomes import Outcomes, done, finalized, joined
from forge_ray.engine.paths import path_lanes, sparse_hashes
from forge_ray.engine.planes import whole_path
from forge_ray.engine.point import Point
from forge_ray.engine.program import Kind, program_of
from forge_ray.engine.simulation import simulated
from forge_ray.engine.sleeves import Sleeves, build_sleeves, market_of, usual_bytes, vectors_along
from forge_ray.engine.values import n_bytes
from forge_ray.kernels import bits, finalize, patch
from forge_ray.kernels.accounting import N_LANES, Market
from forge_ray.kernels.simulate import DRAWDOWN
from forge_ray.plan import Residual, axes_of
from forge_ray.tree import Around

VARIANT_BYTES = 2**27
"""Of the variants of branches that are walked together; a block with more is halved."""


@dataclass(frozen=True)
class AsWritten:
    """The tree as written.

    first : (n_bars + 1,) the first decision of each bar. sleeves : its one sleeve. path : (2,) its hash.
    vectors : (n, N_LANES), sums : (n_classes, N_LANES). pieces, summaries : see `kernels.patch`.
    """

    nearby: Nearby
    first: np.ndarray
    sleeves: Sleeves
    path: np.ndarray
    vectors: np.ndarray
    sums: np.ndarray
    pieces: np.ndarray
    summaries: np.ndarray

    @property
    def nbytes(self) -> int:
        return self.nearby.nbytes + usual_bytes(*self.sleeves.rows.shape, keep_vectors=True) + self.vectors.nbytes


@dataclass(frozen=True)
class Patches:
    """Where branches hold another row than the tree as written.

    branch, decision, row : (m,) ascending by branch and decision, rows in `held`. lanes : (m, 2) of the hash of the
    path there. paths : (n_branches, 2).
    """

    branch: np.ndarray
    decision: np.ndarray
    row: np.ndarray
    held: Sparse
    lanes: np.ndarray
    paths: np.ndarray

    def of(self, branches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(where the patches of each branch start, the patches) of some branches, ascending."""
        lo, hi = (np.searchsorted(self.branch, branches, side) for side in ("left", "right"))
        first = np.concatenate([[0], np.cumsum(hi - lo)])
        return first, _ranges(lo, hi)


class Neighbours:
    """The tree as written, evaluated, and how to evaluate branches around it."""

    def __init__(
        self, bound: BoundPlan, space: Around, residual: Residual, cache: Cache, known: KnownOutcomes | None = None
    ):
        self.bound, self.space, self.residual, self.known = bound, space, residual, known
        (self.root,) = residual.cofactors
        self.base = {a: space.axes[a].values[space.base[a]] for a in residual.outer}
        self.evaluator = NearEvaluator(bound.plan, bound.panel, cache, self.base, bound.fingerprint)
        self.written = cache.get(
            ("as written", self.evaluator.whole, self.root), self._as_written, lambda found: found.nbytes
        )
        self.nearby = self.written.nearby
        self.inputs = self.nearby.program.inputs

    def evaluate(self, digits: np.ndarray) -> Outcomes:
        """Of branches with value indices (n, n_axes)."""
        parts, done = [], 0
        for patches in self._patches(digits):
            parts.append((np.arange(done, done + len(patches.paths)), self._outcomes(patches)))
            done += len(patches.paths)
        return joined(done, parts)

    # the tree as written

    def _as_written(self) -> AsWritten:
        bound, n_bars = self.bound, len(self.bound.panel.dates)
        in_force = bound.start + bound.rebalance_of
        decides = np.zeros(n_bars, bool)
        decides[in_force] = True
        nearby = nearby_of(self.evaluator, self.root, self.base, bits.pack(decides, decides)[0])
        sleeves = build_sleeves(bound, [nearby.allocation])
        vectors, pieces = np.empty((0, N_LANES), np.int64), patch.pieces_of(bound.runs)
        sums = np.empty((len(bound.class_in_segment), N_LANES), np.int64)
        summaries = np.empty((len(pieces), 4), np.int64)
        if not bound.plan.execution.depends_on_path:
            vectors = vectors_along(sleeves)
            patch.summarize(vectors, pieces, summaries)
            sums = np.stack([vectors[bound.class_of == c].sum(axis=0) for c in range(len(sums))])
        first = np.searchsorted(in_force, np.arange(n_bars + 1))
        return AsWritten(nearby, first, sleeves, sleeves.paths[0].sum(axis=0), vectors, sums, pieces, summaries)

    # variants

    def _variants(self, digits: np.ndarray) -> Iterator[Variants]:
        """The variants of all branches, in as many parts as it takes to hold them."""
        columns = np.ascontiguousarray(digits.T)
        moved = columns != np.array(self.space.base)[:, None]
        n_changed = self.nearby.program.n_changed
        number = np.tile(np.arange(n_changed), (len(digits), 1))
        asked: list[tuple[int, tuple[int, ...], np.ndarray]] = []
        for i, axes in enumerate(axes_of(what.axes) for what in self.inputs[:n_changed]):
            members = np.flatnonzero(moved[axes[0]] if len(axes) == 1 else moved[list(axes)].any(axis=0))
            if len(members):
                distinct, which = _distinct(columns[list(axes)][:, members])
                number[members, i] = len(self.inputs) + len(asked) + which
                asked += [(i, axes, own) for own in distinct]
        if len(digits) > 1 and self._bytes(asked) > VARIANT_BYTES:
            yield from self._variants(digits[: len(digits) // 2])
            yield from self._variants(digits[len(digits) // 2 :])
        else:
            yield Variants(number, [(i, self._variant(i, axes, own)) for i, axes, own in asked])

    def _bytes(self, asked: list[tuple[int, tuple[int, ...], np.ndarray]]) -> int:
        n_series = sum(self.inputs[i].kind is Kind.SERIES for i, _, _ in asked)
        return n_series * 8 * len(self.bound.panel.dates) + len(asked) * 3 * self.nearby.reached[0].nbytes

    def _variant(self, i: int, axes: tuple[int, ...], digits: np.ndarray) -> Variant:
        own = zip(axes, digits.tolist(), strict=True)
        point = Point(self.base, {a: self.space.axes[a].values[d] for a, d in own if d != self.space.base[a]})
        return self.nearby.variant(self.evaluator, i, point)

    # patches

    def _patches(self, digits: np.ndarray) -> Iterator[Patches]:
        for variants in self._variants(digits):
            yield from map(self._patched, self.nearby.walked(self.evaluator, variants))

    def _patched(self, found: Found) -> Patches:
        """Bars and what is held there → decisions and paths."""
        written, held = self.written, found.held
        lo, hi = written.first[found.bar], written.first[found.bar + 1]
        row, decision = np.repeat(np.arange(len(lo)), hi - lo), _ranges(lo, hi)
        owner = np.repeat(np.arange(len(lo)), np.diff(held.starts))
        lanes = path_lanes(self.bound, sparse_hashes(self.bound, len(lo), owner, *held[1:])[row], decision)
        paths = np.tile(written.path, (found.n_branches, 1))
        np.add.at(paths, found.branch[row], lanes - written.sleeves.paths[0, decision])
        return Patches(found.branch[row], decision, row, held, lanes, paths)

    # outcomes

    def _outcomes(self, patches: Patches) -> Outcomes:
        """From the cache where a path is known."""
        first, same_as = distinct_rows(patches.paths)
        keys = [("near outcome", self.bound.fingerprint, path.tobytes()) for path in patches.paths[first]]
        metrics, missing = np.empty((len(SEGMENTS), len(finalize.COLUMNS), len(keys))), []
        for k, known in enumerate(map(self.evaluator.cache.find, keys)):
            if isinstance(known, np.ndarray):
                metrics[:, :, k] = known
            else:
                missing.append(k)
        if missing:
            run = self._whole if self.bound.plan.execution.depends_on_path else self._simulated
            metrics[:, :, missing] = run(patches, first[missing]).metrics
            for k in missing:
                self.evaluator.cache.get(keys[k], metrics[:, :, k].copy, n_bytes)
        return done(metrics, patches.paths[first], same_as)

    def _simulated(self, patches: Patches, branches: np.ndarray) -> Outcomes:
        """Of some branches, ascending, with paths that differ."""
        written, bound = self.written, self.bound
        first, chosen = patches.of(branches)
        sums = np.empty((len(branches), *written.sums.shape), np.int64)
        segments = np.empty((len(branches), 3, len(SEGMENTS)), np.int64)
        patch.simulate_patches(
            *self._market_with(patches.held), written.sleeves.rows[0], first, patches.decision[chosen],
            self._rows(patches, chosen), patches.lanes[chosen], written.vectors, written.sums, written.pieces,
            written.summaries, bound.class_in_segment, sums, segments,
        )  # fmt: skip
        return finalized(bound, sums, segments[:, DRAWDOWN], np.arange(len(branches)))

    def _whole(self, patches: Patches, branches: np.ndarray) -> Outcomes:
        """The same where trades depend on what is held."""
        market, found = self._market_with(patches.held), []
        first, chosen = patches.of(branches)
        for own in np.split(chosen, first[1:-1]):
            rows, paths = self.written.sleeves.rows.copy(), self.written.sleeves.paths.copy()
            rows[0, patches.decision[own]] = self._rows(patches, own)
            paths[0, patches.decision[own]] = patches.lanes[own]
            sleeves = replace(self.written.sleeves, market=market, rows=rows, paths=paths)
            make = partial(self._simulated_whole, sleeves)
            found.append(outcome(self.bound, self.evaluator.cache, self.known, paths[0].sum(axis=0), make))
        return joined(len(branches), [(np.array([k]), one) for k, one in enumerate(found)])

    def _simulated_whole(self, sleeves: Sleeves) -> Outcomes:
        return finalized(self.bound, *simulated(self.bound, sleeves, whole_path(self.residual)))

    def _rows(self, patches: Patches, chosen: np.ndarray) -> np.ndarray:
        return len(self.nearby.allocation.weights) + patches.row[chosen]

    def _market_with(self, held: Sparse) -> Market:
        """The rows of the tree as written, and those of branches after them; the kernels want weights above 0."""
        before = self.nearby.held
        starts = np.concatenate([before.starts, before.starts[-1] + held.starts[1:]])
        columns, weights = (np.concatenate(pair) for pair in zip(before[1:], held[1:], strict=True))
        is_held = weights > 0
        kept = np.concatenate([[0], np.cumsum(is_held)])[starts]
        return market_of(self.bound, kept, columns[is_held], weights[is_held])


WORDS = {Kind.GATE: "gates", Kind.SERIES: "series", Kind.PARAMETERS: "nodes"}


def how_neighbours_run(bound: BoundPlan) -> str:
    """In words, how the branches around a tree are evaluated, and why."""
    (residual,) = bound.plan.residuals
    if residual.inner:
        n = len(residual.cofactors)
        return f"by the residual program over {n} sleeves, as in a grid: its conditions lead to no more"
    program = program_of(bound.plan, bound.panel, residual.cofactors[0])
    kinds = [what.kind for what in program.inputs[: program.n_changed]]
    counts = [f"{kinds.count(kind):,} {words}" for kind, words in WORDS.items() if kind in kinds]
    text = f"on the bars that a change of {' or '.join(counts)} reaches, through {len(program.nodes.ops):,} nodes"
    if bound.plan.execution.depends_on_path:
        return f"{text}; distinct paths from end to end, as trades depend on what is held"
    return f"{text}; distinct paths as patches of the tree as written"


def _distinct(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(distinct columns (n, k), which one each is) of (k, m)."""
    if len(columns) == 1:
        distinct, which = np.unique(columns[0], return_inverse=True)
        return distinct[:, None], which
    distinct, which = np.unique(columns, axis=1, return_inverse=True)
    return distinct.T, which.reshape(-1)


def _ranges(lo: np.ndarray, hi: np.ndarray) -> np.ndarray:
    """lo[0] … hi[0] − 1, lo[1] … hi[1] − 1, …"""
    n = hi - lo
    return np.repeat(hi - np.cumsum(n), n) + np.arange(n.sum())
