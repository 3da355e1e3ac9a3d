"""How long a block may take before its worker is taken to hang."""

from __future__ import annotations

from forge_ray.cluster.work import Work
from forge_ray.engine import BoundPlan, projected_seconds

LEAST_SECONDS = 180
"""For what nobody predicts: fetching the panel, another process that takes the cores."""
TIMES = 20


class Patience:
    """With the blocks of one run. seconds : for each of them, whatever it is; None for `LEAST_SECONDS` and `TIMES` as
    long as the slowest so far took, or as its share of the space is predicted to take on one core."""

    def __init__(self, bound: BoundPlan, seconds: float | None):
        self.seconds, self.slowest = seconds, 0.0
        self.per_branch = projected_seconds(bound, 1, 1) / bound.plan.space.size

    def saw(self, seconds: float) -> None:
        """A block took so long."""
        self.slowest = max(self.slowest, seconds)

    def limit(self, work: Work, known: float) -> float:
        """Seconds for a block or a probe. known : that its parts took on their own, 0 if nothing is known."""
        if self.seconds is not None:
            return self.seconds
        return LEAST_SECONDS + TIMES * max(self.per_branch * (work.hi - work.lo), self.slowest, known)
