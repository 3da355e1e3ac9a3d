"""The look-ahead audit on trees and prices of tests: every bar of a short history is a cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from forge_ray.data import Future
from forge_ray.plan import compile_plan
from forge_ray.run import LookAhead
from forge_ray.sweep import parse_job
from harness import Prices, raw_market

Futures: TypeAlias = Callable[[int], Sequence[Future]]
SEED = 1


def all_futures(t: int) -> Sequence[Future]:
    """Every future at each cut."""
    return list(Future)


def look_ahead_of(
    trees: Sequence[dict], prices: Prices, formulas: dict[str, str] | None = None, **execution: Any
) -> LookAhead:
    """The audit of several trees at once. Other fields of the job as in `whole_trees.WholeTree.job`."""
    named = {f"t{k}": tree for k, tree in enumerate(trees)}
    return look_ahead_of_job({"trees": named, "formulas": formulas or {}, "execution": execution}, prices)


def look_ahead_of_job(job: dict, prices: Prices) -> LookAhead:
    sweep = parse_job({"data": "sample:us20", **job})
    plan = compile_plan(sweep.trees, sweep.space, sweep.execution, sweep.formulas)
    rates = list(sweep.execution.carried_tickers)
    return LookAhead(plan, raw_market(prices, plan.tickers, rates, sweep.execution.calendar))


def in_turn(place: int = 0) -> Futures:
    """One future at each cut, the next at the next."""
    return lambda t: [list(Future)[(t + place) % len(Future)]]


def first_leak(audited: LookAhead, since: int = 1, futures: Futures = all_futures) -> int | None:
    return next(leaking(audited, since, futures), None)


def leaks(audited: LookAhead, since: int = 1, futures: Futures = all_futures) -> list[int]:
    """All bars that leak."""
    return list(leaking(audited, since, futures))


def leaking(audited: LookAhead, since: int = 1, futures: Futures = all_futures) -> Iterator[int]:
    """Bars from `since` on at which a scramble finds a leak.

    Raises AssertionError if no scramble changes any later decision: such trees could not show a leak.
    """
    reacts = False
    for t in range(since, len(audited.panel.dates)):
        outcomes = audited.scramble(t, (SEED, t), futures(t))
        if any(outcome.looked_ahead.any() for outcome in outcomes):
            yield t
        reacts |= any(outcome.reacts.any() for outcome in outcomes)
    assert reacts, "no decision depends on prices"


def truncation_leaks(audited: LookAhead) -> list[int]:
    """Bars that leak when the data end before them."""
    cuts = range(audited.first_truncation, len(audited.panel.dates))
    return [t for t in cuts if audited.truncate(t).looked_ahead.any()]


def by_tree(audited: LookAhead, cuts: Iterable[int], futures: Futures) -> tuple[np.ndarray, np.ndarray]:
    """(n_trees,) which trees look ahead at any cut, (n_trees,) which ever react."""
    looked_ahead, reacts = np.zeros((2, len(audited.weights)), bool)
    for t in cuts:
        for outcome in audited.scramble(t, (SEED, t), futures(t)):
            looked_ahead |= outcome.looked_ahead.any(axis=1)
            reacts |= outcome.reacts
    return looked_ahead, reacts


class Planted:
    """Stands in for a kernel: `change` gets the right series and the closes and returns a wrong one."""

    def __init__(self, right: Callable, change: Callable[[np.ndarray, np.ndarray], np.ndarray]):
        self.right, self.change = right, change

    def __call__(self, *arguments: Any) -> None:
        self.right(*arguments)
        *_, close, _, out = arguments
        out[:] = self.change(out.copy(), close)


def shifted(right: np.ndarray, close: np.ndarray) -> np.ndarray:
    """The value of the next bar."""
    return np.append(right[1:], np.nan)


def backfilled(right: np.ndarray, close: np.ndarray) -> np.ndarray:
    """The warm-up filled with the first value."""
    known = np.flatnonzero(~np.isnan(right))
    return np.where(np.arange(len(right)) < known[0], right[known[0]], right)
