"""Branches that stop early: what is checked, when, and what it proves.

1. *Counts*: time in market and trades follow from the planes, before anything is simulated (`holdings.py`).
2. *Checks*: on searched days, at the end of every 64th decision and of every run, the drawdown so far is compared with
   what a requirement allows. A drawdown only grows, so a branch above it cannot meet the requirement any more.
3. The policy "forge" compares drawdown and level at the same checks; it proves nothing.

When a branch stops, and why, depends on the branch alone. Out-of-sample days are not searched, and no check reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from itertools import pairwise

import numpy as np

from forge_ray.catalog import SEGMENTS
from forge_ray.kernels.accounting import RETURN_BITS
from forge_ray.kernels.simulate import NO_LIMIT
from forge_ray.plan import COUNTED, Prune, Requirement

BEFORE = -1
"""The end of a branch that is not simulated at all."""
MARGIN = Decimal("1e-12")
"""By how much a drawdown must be above its bound to prove anything: the finalizer computes 1 − exp(−x) with an error
below 3e-16. A branch in between is simulated to its end."""
_FORGE_FROM, _FORGE_LOSS_AFTER = 200, 500
_FORGE = ("forge: drawdown > 50%", f"forge: equity < 95% after {_FORGE_LOSS_AFTER} bars", "forge: equity < 10%")


@dataclass(frozen=True)
class Pruning:
    """What a branch of a bound plan can stop for.

    status : of those that do. searched : index of the segment that is read; it has no out-of-sample day. counts :
    requirements on counts. reasons : in words, those of counts first, then those of checks.
    runs : as `kernels.simulate.simulate` takes them, cut where is checked. drawdowns, levels : (n_runs, n_reasons of
    checks) the largest and the lowest with which a branch goes on, in multiples of the log grid.
    """

    status: str
    searched: int
    counts: tuple[Requirement, ...]
    reasons: tuple[str, ...]
    runs: np.ndarray
    drawdowns: np.ndarray
    levels: np.ndarray

    @property
    def has_checks(self) -> bool:
        return len(self.reasons) > len(self.counts)

    def why(self, stops: np.ndarray) -> np.ndarray:
        """(n,) bit r for reason r, of stops (n, 3) as the kernels write them."""
        end, drawdown, level = stops.T
        run = np.searchsorted(self.runs[:, 1], end)
        failed = (drawdown[:, None] > self.drawdowns[run]) | (level[:, None] < self.levels[run])
        return np.where(end > 0, failed @ (1 << np.arange(len(self.counts), len(self.reasons))), 0)


def pruning_of(
    prune: Prune, requirements: Sequence[Requirement], runs: np.ndarray, class_in_segment: np.ndarray
) -> Pruning:
    """What branches with these runs, see `BoundPlan`, can stop for."""
    full, searched, out = (SEGMENTS.index(name) for name in ("full", "is", "oos"))
    if not class_in_segment[:, [searched, out]].any():
        searched = full
    if prune is Prune.FORGE:
        runs, seen = _cut(runs, class_in_segment[:, searched])
        levels = np.full((len(runs), 3), -NO_LIMIT)
        levels[seen > _FORGE_LOSS_AFTER, 1] = _log(Decimal("0.95"), ROUND_CEILING)
        levels[seen >= _FORGE_FROM, 2] = _log(Decimal("0.1"), ROUND_CEILING)
        drawdowns = np.full((len(runs), 3), NO_LIMIT)
        drawdowns[seen >= _FORGE_FROM, 0] = _log(Decimal(2), ROUND_FLOOR)
        return Pruning("stopped", searched, (), _FORGE, _limited(runs, drawdowns, levels), drawdowns, levels)
    proving = [r for r in requirements if prune is Prune.PROOFS and r.segment == SEGMENTS[searched] and r.can_prune]
    counts = tuple(r for r in proving if r.metric in COUNTED)
    limits = {r: limit for r in proving if r.metric not in COUNTED and (limit := _limit(r.bound)) is not None}
    seen = np.zeros(len(runs), np.int64)
    if limits:
        runs, seen = _cut(runs, class_in_segment[:, searched])
    drawdowns = np.where(seen[:, None] > 0, np.array([*limits.values()], np.int64), NO_LIMIT)
    levels = np.full(drawdowns.shape, -NO_LIMIT)
    reasons = tuple(map(str, (*counts, *limits)))
    return Pruning("pruned", searched, counts, reasons, _limited(runs, drawdowns, levels), drawdowns, levels)


def _cut(runs: np.ndarray, is_searched: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The runs, searched ones cut after every 64th decision, and how many searched decisions are over at the end of
    each; 0 where it is not searched."""
    pieces, seen, n = [], [], 0
    for first, last, c in runs.tolist():
        inner = range((first // 64 + 1) * 64, last, 64) if is_searched[c] else ()
        pieces += [(a, b, c) for a, b in pairwise((first, *inner, last))]
        seen += [n + b - first if is_searched[c] else 0 for b in (*inner, last)]
        n = max(n, seen[-1])
    return np.array(pieces, np.int64), np.array(seen, np.int64)


def unlimited(runs: np.ndarray) -> np.ndarray:
    """Runs (n_runs, 3) as a simulation takes them, that end no branch."""
    return _limited(runs, np.empty((len(runs), 0), np.int64), np.empty((len(runs), 0), np.int64))


def _limited(runs: np.ndarray, drawdowns: np.ndarray, levels: np.ndarray) -> np.ndarray:
    largest, lowest = drawdowns.min(axis=1, initial=NO_LIMIT), levels.max(axis=1, initial=-NO_LIMIT)
    return np.column_stack([runs, largest, lowest])


def _limit(bound: float) -> int | None:
    """The largest log drawdown that may still be a drawdown of `bound`; None if every one may."""
    left = 1 - Decimal(bound) - MARGIN
    return None if left <= 0 else _log(1 / left, ROUND_CEILING)


def _log(x: Decimal, rounding: str) -> int:
    """ln x in multiples of the log grid: decimal arithmetic, so it is the same everywhere."""
    return int((Context(prec=40).ln(x) * 2**RETURN_BITS).to_integral_value(rounding))
