"""Why a decision is not what another program says it held: the conditions on its path that could be the cause."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from forge_ray.engine import BoundPlan, Cache, Decision, Flip, decision_at, flips_at

HELD = 0.005
"""From here on a holding counts that the other side has not got: tables are rounded."""
NOTHING = 1e-6
ROUNDING = 1e-9
"""Room for a difference that is the tolerance itself."""
N_NEAREST = 3


def same_holdings(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Whether no ticker (last axis) is held on one side and not at all on the other."""
    return np.all((np.maximum(here, there) <= HELD) | (np.minimum(here, there) >= NOTHING), axis=-1)


def near_weights(here: np.ndarray, there: np.ndarray, tolerance: float) -> np.ndarray:
    """Whether no weight (last axis) is off by more than the tolerance."""
    return np.abs(here - there).max(axis=-1, initial=0.0) <= tolerance + ROUNDING


def explain_difference(
    bound: BoundPlan, t: int, there: Mapping[str, float], tolerance: float, cache: Cache
) -> dict[str, Any]:
    """The path of the decision of bar t, and what on it may be the cause, as plain JSON values.

    there : target weights of the other side. `causes` are the conditions whose flip alone gives its holdings, or its
    weights if the holdings are the same; those that give its weights first, then the nearest. `nearest` are those
    nearest to flipping, relative to the larger of their values, and those that change anything first. `ranks` are the
    closest calls of the functions.
    """
    decision, flips = decision_at(bound, t, cache), list(flips_at(bound, t, cache))
    flips.sort(key=_relative)
    has_same = _has_same(decision.weights, there)
    gives_weights = [flip for flip in flips if _has_near(flip.weights, there, tolerance)]
    gives_holdings = [flip for flip in flips if not has_same and _has_same(flip.weights, there)]
    nearest = sorted(flips, key=lambda flip: flip.weights == decision.weights)
    causes = {id(flip): flip for flip in (*gives_weights, *gives_holdings)}
    return {
        "path": [{"id": node.id, "kind": node.kind, "took": node.took} for node in decision.nodes],
        "same_holdings": has_same,
        "causes": [_plain(flip) for flip in causes.values()],
        "nearest": [_plain(flip) for flip in nearest[:N_NEAREST]],
        "ranks": sorted(_ranks(decision), key=lambda rank: rank["distance"])[:N_NEAREST],
    }


def with_cash(weights: Mapping[str, float]) -> dict[str, float]:
    """Target weights, largest first, with the rest as CASH."""
    cash = 1.0 - math.fsum(weights.values())
    ordered = dict(sorted(weights.items(), key=lambda item: -item[1]))
    return ordered | ({"CASH": cash} if cash > NOTHING else {})


def _vectors(here: Mapping[str, float], there: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
    tickers = sorted({*here, *there})
    return np.array([here.get(k, 0.0) for k in tickers]), np.array([there.get(k, 0.0) for k in tickers])


def _has_same(here: Mapping[str, float], there: Mapping[str, float]) -> bool:
    return bool(same_holdings(*_vectors(here, there)))


def _has_near(here: Mapping[str, float], there: Mapping[str, float], tolerance: float) -> bool:
    return bool(near_weights(*_vectors(here, there), tolerance))


def _relative(flip: Flip) -> float:
    """The distance to flipping as a share of the larger value; infinite without values."""
    left, right = flip.seen.left, flip.seen.right
    if math.isnan(left) or math.isnan(right):
        return math.inf
    return abs(right - left) / (max(abs(left), abs(right)) or 1.0)


def _plain(flip: Flip) -> dict[str, Any]:
    seen, relative = flip.seen, _relative(flip)
    values = {name: getattr(seen, name) for name in ("left", "right", "distance")}
    return {
        "places": list(flip.places),
        "text": seen.text,
        **{name: None if math.isnan(value) else value for name, value in values.items()},
        "relative": None if math.isinf(relative) else relative,
        "is_true": seen.is_true,
        "flipped_to": flip.to,
        "would_hold": with_cash(flip.weights),
    }


def _ranks(decision: Decision) -> Iterator[dict[str, Any]]:
    """Of each function the picked child and the one left out whose scores are closest."""
    for node in decision.nodes:
        scored = [score for score in node.scores if not math.isnan(score.score)]
        pairs = [(a, b) for a in scored if a.picked for b in scored if not b.picked]
        if pairs:
            picked, other = min(pairs, key=lambda pair: abs(pair[0].score - pair[1].score))
            yield {
                "node": node.id,
                "picked": picked.id,
                "score": picked.score,
                "left_out": other.id,
                "other_score": other.score,
                "distance": abs(picked.score - other.score),
            }
