"""Plan + panel → `BoundPlan`: the first traded bar and what limits it, classes and runs, the grids of the exact sums.

Everything a block needs besides the cache, immutable, so that it can be shipped once and shared by all workers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import numpy as np

from forge_ray.catalog import BARS_PER_YEAR, SEGMENTS
from forge_ray.data import Panel, Split, as_date, as_day, split_masks
from forge_ray.errors import DataError, Problem
from forge_ray.kernels import simulate as lanes
from forge_ray.plan import Need, Plan, Requirement

MAX_RETURNS = 2**22
"""What the fine lanes of the sums hold without overflow: 2²² terms below 2⁴⁰."""


@dataclass(frozen=True)
class Limit:
    """One rung of the start ladder: `ticker` is ready at calendar bar `bar` because of `because`."""

    ticker: str
    because: str
    bars: int
    bar: int
    date: date


@dataclass(frozen=True)
class BoundPlan:
    """A plan on a panel. n = number of traded decisions = number of returns.

    start : calendar bar of the first traded decision; it is filled `lag` bars later.
    ladder : what limits the start, latest first, one rung per ticker and condition.
    return_dates : (n,) int64 days, the bar at which each return's interval ends.
    runs : (n_runs, 3) int64 first return, last + 1, class. class_in_segment : (n_classes, 3) bool, segments in the
    order of `catalog.SEGMENTS`. classes : (n_classes, 4) returns, returns with a benchmark, sum of the benchmark's, of
    their squares.
    benchmark : (n,) returns of the benchmark, NaN without. scales : (N_LANES,) multiples per unit of each sum.
    """

    plan: Plan
    panel: Panel
    tree_names: tuple[str, ...]
    requirements: tuple[Requirement, ...]
    keep: str
    start: int
    ladder: tuple[Limit, ...]
    return_dates: np.ndarray
    runs: np.ndarray
    class_in_segment: np.ndarray
    classes: np.ndarray
    benchmark: np.ndarray
    scales: np.ndarray
    cash_like: np.ndarray

    @property
    def n(self) -> int:
        return len(self.return_dates)

    @property
    def first_fill(self) -> int:
        return self.start + self.plan.execution.lag

    @property
    def cost(self) -> float:
        """Per side, as a fraction of equity."""
        return self.plan.execution.cost_bps / 1e4

    @property
    def cash(self) -> float:
        """Return of cash per bar."""
        return self.plan.execution.cash_rate / BARS_PER_YEAR

    @property
    def risk_free(self) -> float:
        """Per bar."""
        return self.plan.execution.risk_free / BARS_PER_YEAR


def bind(
    plan: Plan,
    panel: Panel,
    split: Split,
    requirements: tuple[Requirement, ...] = (),
    keep: str = "all",
    tree_names: tuple[str, ...] = (),
) -> BoundPlan:
    """Resolve a plan on market data. keep : "all" or "passing" rows. tree_names : one per tree if there are several.

    Raises `DataError` if a window is longer than a ticker's history or if no bar is left to trade.
    """
    ladder = start_ladder(plan.needs, panel)
    start = max(_start_date_bar(plan, panel), ladder[0].bar if ladder else 0)
    n = len(panel.dates) - 1 - start - plan.execution.lag
    if n > MAX_RETURNS:
        raise DataError([Problem("data", f"{n:,} bars to trade; allowed: at most {MAX_RETURNS:,}")])
    if n < 1:
        limit = f"; {ladder[0].ticker} ({ladder[0].because}) is ready on {ladder[0].date}" if ladder else ""
        raise DataError([Problem("data", f"no bar left to trade between the start and {panel.date(-1)}{limit}")])
    first_return = start + plan.execution.lag + 1
    return_dates = panel.dates[first_return:]
    masks = split_masks(split, return_dates)
    benchmark = _benchmark_returns(panel, first_return)
    class_of, class_in_segment = _classes([masks[segment] for segment in SEGMENTS], ~np.isnan(benchmark))
    return BoundPlan(
        plan=plan,
        panel=panel,
        tree_names=tree_names or tuple(str(t) for t in range(len(plan.trees))),
        requirements=requirements,
        keep=keep,
        start=start,
        ladder=ladder,
        return_dates=return_dates,
        runs=_runs(class_of),
        class_in_segment=class_in_segment,
        classes=_class_constants(class_of, len(class_in_segment), benchmark),
        benchmark=benchmark,
        scales=_scales(plan, panel, first_return, benchmark),
        cash_like=np.isin(panel.tickers, plan.execution.cash_like),
    )


def start_ladder(needs: Iterable[Need], panel: Panel) -> tuple[Limit, ...]:
    """When each need is met, latest first. Raises `DataError` for every need that never is."""
    rungs, problems = [], []
    for need in needs:
        own = panel.bars[panel.row(need.ticker)].dates
        if need.bars >= len(own):
            text = f"{need.because} looks back {need.bars:,} bars; {need.ticker} has {len(own):,}"
            problems.append(Problem(need.because, f"{text}: allowed up to {len(own) - 1:,}"))
            continue
        day = own[need.bars]
        rungs.append(Limit(need.ticker, need.because, need.bars, int(np.searchsorted(panel.dates, day)), as_date(day)))
    if problems:
        raise DataError(problems)
    return tuple(sorted(rungs, key=lambda rung: (-rung.bar, rung.ticker, rung.because)))


def _start_date_bar(plan: Plan, panel: Panel) -> int:
    if plan.execution.start == "common":
        return 0
    return int(np.searchsorted(panel.dates, as_day(date.fromisoformat(plan.execution.start))))


def _benchmark_returns(panel: Panel, first_return: int) -> np.ndarray:
    if panel.benchmark is None:
        return np.full(len(panel.dates) - first_return, np.nan)
    return panel.benchmark[first_return:] / panel.benchmark[first_return - 1 : -1] - 1.0


def _classes(masks: list[np.ndarray], has_benchmark: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Days with the same segments and the same answer to "is there a benchmark" form a class."""
    attributes = np.stack([*masks, has_benchmark], axis=1)
    distinct, class_of = np.unique(attributes, axis=0, return_inverse=True)
    return class_of.reshape(-1), np.ascontiguousarray(distinct[:, :-1])


def _runs(class_of: np.ndarray) -> np.ndarray:
    edges = np.flatnonzero(np.diff(class_of)) + 1
    first, last = np.concatenate([[0], edges]), np.concatenate([edges, [len(class_of)]])
    return np.ascontiguousarray(np.stack([first, last, class_of[first]], axis=1).astype(np.int64))


def _class_constants(class_of: np.ndarray, n_classes: int, benchmark: np.ndarray) -> np.ndarray:
    rows = []
    for c in range(n_classes):
        days = benchmark[class_of == c]
        paired = days[~np.isnan(days)]
        rows.append([len(days), len(paired), math.fsum(paired), math.fsum(paired * paired)])
    return np.array(rows, np.float64)


def _scales(plan: Plan, panel: Panel, first_return: int, benchmark: np.ndarray) -> np.ndarray:
    """Multiples per unit of every summand, powers of two.

    Log and return are fixed at 2⁴⁷. The products start from grids that suit daily returns and are coarsened only if the
    bound Σ_t max|r_t|^p over the panel could overflow; the room is generous, so that spaces that hold other tickers
    besides still share the grid.
    """
    close = panel.close[:, first_return - 1 :]
    moves = np.abs(close[:, 1:] / close[:, :-1] - 1.0)
    largest = np.nan_to_num(np.fmax.reduce(moves, axis=0, initial=0.0))
    cost = plan.execution.cost_bps / 1e4
    bound = (largest + abs(plan.execution.cash_rate)) * (1.0 + 2.0 * cost) + 2.0 * cost
    scales = np.ones(lanes.N_LANES)
    scales[[lanes.LOG, lanes.RETURN]] = 2.0**lanes.RETURN_BITS
    scales[[lanes.EXPOSURE, lanes.TURNOVER]] = 2.0**40
    products = {
        lanes.SQUARE: (40, bound**2),
        lanes.DOWNSIDE: (40, bound**2),
        lanes.CUBE: (45, bound**3),
        lanes.FOURTH: (50, bound**4),
        lanes.CROSS: (40, bound * np.nan_to_num(np.abs(benchmark))),
    }
    for lane, (bits, bounds) in products.items():
        scales[lane] = 2.0 ** min(bits, 62 - math.frexp(math.fsum(bounds))[1])
        scales[lane + 1] = scales[lane] * lanes.FINER
    return scales
