"""Plan + panel → `BoundPlan`: the first traded bar and what limits it, classes and runs, the grids of the exact sums.

Everything a block needs besides the cache, immutable, so that it can be shipped once and shared by all workers.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cached_property

import numpy as np

from forge_ray.catalog import SEGMENTS
from forge_ray.data import Panel, Split, as_date, as_day, split_masks
from forge_ray.engine.pruning import Pruning, pruning_of
from forge_ray.engine.rates import carried_returns, rate_returns
from forge_ray.engine.readiness import Readiness, dates_of
from forge_ray.errors import DataError, Problem
from forge_ray.kernels import accounting as lanes
from forge_ray.kernels.finalize import COLUMNS
from forge_ray.plan import Mode, Need, Plan, Prune, Requirement

SCALAR_BELOW = 16_000_000
"""Decisions of all branches together for which no other simulation kernel is compiled."""

MOST_IN_ALL = 2 ** (62 - lanes.RETURN_BITS)
"""What the largest returns of all intervals may add up to, 1.0 for 100 %, lest an integer sum of them overflows."""
MAX_RETURNS = 2**22
"""What the fine lanes of the sums hold without overflow: 2²² terms below 2⁴⁰."""


class Kernel(StrEnum):
    """What simulates the branches of a plan."""

    SCALAR = "scalar"
    LANES = "lanes"
    PATCH = "patch"
    PATH = "path"


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
    order of `catalog.SEGMENTS`. classes : (n_classes, 5) returns, returns with a benchmark, sum of the benchmark's, of
    their squares, sum of the risk-free returns. benchmark : (n,) returns of the benchmark, NaN without.
    cash : (n,) return of cash per interval. cost : (n_tickers,) per side, a fraction of equity.
    scales : (N_LANES,) multiples per unit of each sum. rebalance_of : (n,) the rebalancing decision in force.
    kernel : what simulates; all of them give the same bits. pruning : what branches stop early for.
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
    cash: np.ndarray
    cost: np.ndarray
    scales: np.ndarray
    cash_like: np.ndarray
    rebalance_of: np.ndarray
    kernel: Kernel
    pruning: Pruning

    @property
    def n(self) -> int:
        return len(self.return_dates)

    @property
    def class_of(self) -> np.ndarray:
        """(n,) class of each return."""
        return np.repeat(self.runs[:, 2], self.runs[:, 1] - self.runs[:, 0])

    @property
    def first_fill(self) -> int:
        return self.start + self.plan.execution.lag

    @cached_property
    def fingerprint(self) -> bytes:
        """16 bytes over everything, besides what is held when, that a metric depends on."""
        arrays = (
            self.return_dates, self.runs, self.class_in_segment, self.classes, self.benchmark, self.cash, self.cost,
            self.scales, self.cash_like, self.rebalance_of,
        )  # fmt: skip
        rules = repr((self.panel.fingerprint, self.start, self.plan.execution, COLUMNS))
        digest = hashlib.blake2b(rules.encode(), digest_size=16)
        for array in arrays:
            digest.update(f"{array.dtype} {array.shape};".encode() + np.ascontiguousarray(array).tobytes())
        return digest.digest()


def bind(
    plan: Plan,
    panel: Panel,
    split: Split,
    benchmark: str | None = None,
    requirements: tuple[Requirement, ...] = (),
    keep: str = "all",
    tree_names: tuple[str, ...] = (),
    prune: Prune = Prune.NEVER,
) -> BoundPlan:
    """Resolve a plan on market data.

    benchmark : a carried ticker of the panel. keep : "all" or "passing" rows. tree_names : one per tree if several.
    prune : not in spaces around a tree.

    Raises `DataError` if a window is longer than a ticker's history or if no bar is left to trade.
    """
    execution, fills = plan.execution, plan.execution.fills
    ladder = start_ladder(plan, panel)
    start = _start(plan, panel, ladder)
    n = len(panel.dates) - fills.step - start - execution.lag
    if n > MAX_RETURNS:
        raise DataError([Problem("data", f"{n:,} bars to trade; allowed: at most {MAX_RETURNS:,}")])
    if n < 1:
        limit = f"; {ladder[0].ticker} ({ladder[0].because}) is ready on {ladder[0].date}" if ladder else ""
        text = (
            f"no bar left to trade with start {execution.start} and lag {execution.lag}; data end on {panel.date(-1)}"
        )
        raise DataError([Problem("data", text + limit)])
    first_fill = start + execution.lag
    return_dates = panel.dates[first_fill + fills.step :]
    masks = split_masks(split, return_dates)
    none = np.full(n, np.nan)
    traded = slice(first_fill + fills.step, None)
    benchmark_returns = none if benchmark is None else carried_returns(panel, benchmark, fills)[traded]
    class_of, class_in_segment = _classes([masks[segment] for segment in SEGMENTS], ~np.isnan(benchmark_returns))
    runs = _runs(class_of)
    cash, risk_free = (_traded_rate(plan, panel, name, traded) for name in ("cash_rate", "risk_free"))
    costs = dict(execution.ticker_costs)
    cost = np.array([costs.get(ticker, execution.cost_bps) / 1e4 for ticker in panel.tickers])
    return BoundPlan(
        plan=plan,
        panel=panel,
        tree_names=tree_names or tuple(str(t) for t in range(len(plan.trees))),
        requirements=requirements,
        keep=keep,
        start=start,
        ladder=ladder,
        return_dates=return_dates,
        runs=runs,
        class_in_segment=class_in_segment,
        classes=_class_constants(class_of, len(class_in_segment), benchmark_returns, risk_free),
        benchmark=benchmark_returns,
        cash=cash,
        cost=cost,
        scales=_scales(panel, fills, first_fill, cost, cash, benchmark_returns),
        cash_like=np.isin(panel.tickers, execution.cash_like),
        rebalance_of=_rebalance_of(execution.rebalance, panel.dates[start : start + n], panel.dates),
        kernel=kernel_of(plan, n)[0],
        pruning=pruning_of(prune, requirements, runs, class_in_segment),
    )


def kernel_of(plan: Plan, n: int) -> tuple[Kernel, str]:
    """What simulates the branches of a plan over n decisions, and why."""
    if plan.execution.depends_on_path:
        return Kernel.PATH, f"rebalance {plan.execution.rebalance} trades by what is held"
    if plan.space.is_sparse:
        return Kernel.PATCH, "branches are near the tree as written"
    if (decisions := plan.space.size * n) < SCALAR_BELOW:
        return Kernel.SCALAR, f"{decisions:,} decisions in all, fewer than {SCALAR_BELOW:,}"
    return Kernel.LANES, f"{decisions:,} decisions in all"


def start_ladder(plan: Plan, panel: Panel) -> tuple[Limit, ...]:
    """When each need of the space is met, latest first.

    Raises `DataError` for every need that never is.
    """
    rungs, problems = [], []
    readiness = Readiness(plan, panel)
    for need in plan.needs:
        bars = need.bars + (plan.execution.fills.delay if need.is_signal else 0)
        bar = readiness.bar(need.tickers, bars, need.equity)
        if bar >= len(panel.dates):
            problems.append(Problem(need.because, _never(need, bars, panel)))
            continue
        name = "/".join(need.tickers) or "a simulated equity"
        day = panel.dates[bar] if need.equity is not None else dates_of(need.tickers, panel)[bars]
        rungs.append(Limit(name, need.because, bars, bar, as_date(day)))
    if problems:
        raise DataError(list(dict.fromkeys(problems)))
    return tuple(sorted(rungs, key=lambda rung: (-rung.bar, rung.ticker, rung.because)))


def _never(need: Need, bars: int, panel: Panel) -> str:
    if need.equity is not None:
        return f"looks back {bars:,} bars of a simulated equity, which has no value so early: {len(panel.dates):,} bars"
    n = len(dates_of(need.tickers, panel))
    return f"looks back {bars:,} bars; {'/'.join(need.tickers)} has {n:,}: allowed up to {n - 1:,}"


def _start(plan: Plan, panel: Panel, ladder: tuple[Limit, ...]) -> int:
    """The bar of the first traded decision: common, earliest (some held ticker has a price), or a date if later."""
    wish = plan.execution.start
    if wish == "earliest":
        return min((rung.bar for rung in ladder if rung.because == "position"), default=0)
    common = ladder[0].bar if ladder else 0
    if wish == "common":
        return common
    return max(common, int(np.searchsorted(panel.dates, as_day(date.fromisoformat(wish)))))


def _traded_rate(plan: Plan, panel: Panel, name: str, traded: slice) -> np.ndarray:
    """(n,) returns of a rate over the traded intervals."""
    rate = getattr(plan.execution, name)
    returns = rate_returns(panel, rate, plan.execution.fills)[traded]
    if np.isnan(returns).any():
        text = f"{rate} has no price for {int(np.isnan(returns).sum()):,} of the {len(returns):,} traded bars"
        raise DataError([Problem(f"execution.{name}", text)])
    return returns


def _rebalance_of(rebalance: str, dates: np.ndarray, calendar: np.ndarray) -> np.ndarray:
    """The rebalancing decision in force at each decision: the last one taken on the last bar of a period. The first
    decision trades too; the last bar of the data is never a period end."""
    n = len(dates)
    if rebalance not in _PERIOD_OF:
        return np.arange(n)
    period = _PERIOD_OF[rebalance](calendar)
    is_end = np.append(period[1:] != period[:-1], False)
    own = is_end[np.searchsorted(calendar, dates)]
    own[0] = True
    return np.maximum.accumulate(np.where(own, np.arange(n), 0))


def _months(days: np.ndarray) -> np.ndarray:
    return days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)


_PERIOD_OF: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "weekly": lambda days: (days + 3) // 7,  # 1970-01-01 was a Thursday; weeks begin on Monday
    "monthly": _months,
    "quarterly": lambda days: _months(days) // 3,
    "yearly": lambda days: _months(days) // 12,
}


def _classes(masks: list[np.ndarray], has_benchmark: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Days with the same segments and the same answer to "is there a benchmark" form a class."""
    attributes = np.stack([*masks, has_benchmark], axis=1)
    distinct, class_of = np.unique(attributes, axis=0, return_inverse=True)
    return class_of.reshape(-1), np.ascontiguousarray(distinct[:, :-1])


def _runs(class_of: np.ndarray) -> np.ndarray:
    edges = np.flatnonzero(np.diff(class_of)) + 1
    first, last = np.concatenate([[0], edges]), np.concatenate([edges, [len(class_of)]])
    return np.ascontiguousarray(np.stack([first, last, class_of[first]], axis=1).astype(np.int64))


def _class_constants(class_of: np.ndarray, n_classes: int, benchmark: np.ndarray, risk_free: np.ndarray) -> np.ndarray:
    rows = []
    for c in range(n_classes):
        days = benchmark[class_of == c]
        paired = days[~np.isnan(days)]
        constants = [math.fsum(paired), math.fsum(paired * paired), math.fsum(risk_free[class_of == c])]
        rows.append([len(days), len(paired), *constants])
    return np.array(rows, np.float64)


def _scales(
    panel: Panel, fills: Mode, first_fill: int, cost: np.ndarray, cash: np.ndarray, benchmark: np.ndarray
) -> np.ndarray:
    """Multiples per unit of every summand, powers of two.

    Log and return are fixed at 2⁴⁷. The products start from grids that suit daily returns and are coarsened only if the
    bound Σ_t max|r_t|^p over the panel could overflow; the room is generous, so that spaces that hold other tickers
    besides still share the grid. Raises `DataError` for returns that add up to more than the fixed grid holds.
    """
    entry, exit = panel.field(fills.entry)[:, first_fill:], panel.field(fills.exit)[:, first_fill + fills.step :]
    largest = np.zeros(exit.shape[1])
    for into, out_of in zip(entry, exit, strict=True):  # one ticker at a time: a panel may be larger than the memory
        np.fmax(largest, np.abs(out_of / into[: len(out_of)] - 1.0), out=largest)
    dearest = 2.0 * cost.max(initial=0.0)
    bound = np.maximum(np.nan_to_num(largest), np.abs(cash)) * (1.0 + dearest) + dearest
    if math.fsum(bound) >= MOST_IN_ALL:
        raise DataError([_too_large(panel, entry, exit, first_fill + fills.step, int(bound.argmax()))])
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


def _too_large(panel: Panel, entry: np.ndarray, exit: np.ndarray, first: int, t: int) -> Problem:
    """The ticker with the largest return of an interval, which began to count `first` bars after the first one."""
    ratios = exit[:, t] / entry[:, t]
    k = int(np.nanargmax(ratios))
    told = f"its price on {panel.date(first + t)} is {ratios[k]:,.0f} times the one before"
    return Problem(
        f"ticker {panel.tickers[k]}",
        f"{told}; allowed: returns that add up to less than {MOST_IN_ALL:,}. Is it a split?",
    )
