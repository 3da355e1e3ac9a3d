"""The look-ahead audit of one tree on its data.

1. Cuts are bars after the first traded decision: all of them, or a random one in each of n equal stretches. A leak that
   shows at a share f of the bars goes unseen with a probability of at most (1 − f)ⁿ, wherever these bars lie.
2. At each cut the decisions are taken again with other prices from there on, and without any (`look_ahead.py`).
3. If other prices never changed a later decision, the decisions do not depend on prices and the audit proves nothing.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np

from forge_ray.run.execution import prepare_branch
from forge_ray.run.look_ahead import LookAhead, Outcome
from forge_ray.sweep import Sweep

CONFIDENCE = 0.95
N_CUTS = 250


@dataclass(frozen=True)
class Leak:
    """Decisions that another future changed.

    cut : date of the first bar that was replaced or removed. future : of `data.Future`, where the other
    prices lay, or "truncated". decisions : how many changed. decision : date of the last of them. before, after : its
    weights by ticker, where they differ.
    """

    cut: date
    future: str
    decisions: int
    decision: date
    before: dict[str, float]
    after: dict[str, float]


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    bars : that could be cuts, from `first` to `last`. cuts : those that were. share : of the bars at which a leak has
    to show for being found with 95% confidence, None if all were cuts. reacting : cuts at which other prices changed a
    later decision. truncations : cuts at which the prices were also removed. left_out : decisions, summed over these,
    that cannot be compared without what comes later.
    """

    name: str
    bars: int
    first: date
    last: date
    cuts: int
    seed: int
    share: float | None
    reacting: int
    truncations: int
    left_out: int
    leaks: tuple[Leak, ...]

    @property
    def leaky_cuts(self) -> int:
        return len({leak.cut for leak in self.leaks})


def audit(sweep: Sweep, n_cuts: int = N_CUTS, seed: int = 1) -> Audit:
    """Audit the only branch of a sweep. Raises `InputError` for a sweep of several."""
    prepared = prepare_branch(sweep)
    look_ahead = LookAhead(prepared.bound.plan, prepared.market)
    panel, delay = look_ahead.panel, prepared.bound.plan.execution.fills.delay
    bars = range(max(prepared.bound.start + 1 - delay, 1), len(panel.dates))
    cuts = cuts_of(bars, n_cuts, random.Random(seed))
    truncated = [t for t in cuts if t >= look_ahead.first_truncation]
    leaks: list[Leak] = []
    reacting = 0
    for t in cuts:
        outcomes = look_ahead.scramble(t, (seed, t))
        reacting += any(outcome.reacts.any() for outcome in outcomes)
        outcomes += [look_ahead.truncate(t)] if t in truncated else []
        leaks += _leaks(look_ahead, t, outcomes)
    return Audit(
        name=sweep.name,
        bars=len(bars),
        first=panel.date(bars[0]),
        last=panel.date(bars[-1]),
        cuts=len(cuts),
        seed=seed,
        share=None if len(cuts) == len(bars) else 1 - (1 - CONFIDENCE) ** (1 / n_cuts),
        reacting=reacting,
        truncations=len(truncated),
        left_out=sum(t - look_ahead.n_comparable(t) for t in truncated),
        leaks=tuple(leaks),
    )


def cuts_of(bars: range, n: int, rng: random.Random) -> list[int]:
    """All bars if they are at most n, else a random one in each of n equal stretches, ascending.

    A bar over which two stretches meet may be drawn for both and is then one cut.
    """
    if len(bars) <= n:
        return list(bars)
    drawn = (int((k + rng.random()) * len(bars) / n) for k in range(n))
    return sorted({bars[min(i, len(bars) - 1)] for i in drawn})


def _leaks(look_ahead: LookAhead, t: int, outcomes: list[Outcome]) -> Iterator[Leak]:
    panel = look_ahead.panel
    for outcome in outcomes:
        changed = np.flatnonzero(outcome.looked_ahead[0])
        if len(changed):
            before, after = (_weights(found[0], changed[-1]) for found in (look_ahead.weights, outcome.weights))
            differ = [k for k in range(len(panel.tickers)) if before[k] != after[k]]
            yield Leak(
                cut=panel.date(t),
                future=outcome.future,
                decisions=len(changed),
                decision=panel.date(changed[-1]),
                before={panel.tickers[k]: before[k] for k in differ},
                after={panel.tickers[k]: after[k] for k in differ},
            )


def _weights(weights: np.ndarray, t: int) -> list[float]:
    """Of one bar; nothing where the calendar has become so short."""
    return weights[t].tolist() if t < len(weights) else [0.0] * weights.shape[1]
