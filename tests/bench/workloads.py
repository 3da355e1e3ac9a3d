"""The workloads: the job that forge_ray is given, and the same branches for every competitor.

A competitor is prepared (`Task`) with the branches it shall do and signals that are computed already; what is timed is
the rest. forge_ray computes its signals within its time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import one_pass
import outside
import per_branch
from signals import Days, Flat, decision, flat
from symphony import symphony

from forge_ray.engine import BoundPlan, Cache, Evaluator
from forge_ray.run import prepare
from forge_ray.sweep import parse_job, read_job
from forge_ray.tree.importers import import_text

STOCKS = ("AAPL", "AMD", "BAC", "BBY", "CVX", "GE", "HD", "JNJ", "JPM", "KO", "LLY", "MRK", "MSFT", "PEP", "PFE", "PG",
          "RRC", "UNH", "WMT", "XOM")  # fmt: skip
MARKET = {"data": "sample:us20", "benchmark": "SPX", "split": "even_odd_month"}
BRANCHES77 = Path(__file__).parent.parent.parent / "jobs" / "branches77.json"
THREE_METRICS = ("total_return", "sharpe", "max_drawdown")


@dataclass(frozen=True)
class Task:
    """Some branches, ready to be timed.

    run : gives (n_branches, n_segments, n_metrics), of the first segments of full, is, oos. weights : of the j-th
    branch (n, n_tickers), or None where the competitor does not tell.
    """

    branches: np.ndarray
    metrics: tuple[str, ...]
    run: Callable[[], np.ndarray]
    weights: Callable[[int], np.ndarray] | None = None


class Workload:
    """A job, bound, and who else computes its branches. `slice` is what the engine does of it, without --quick all."""

    job: dict[str, Any]
    quick: int | None = None

    @cached_property
    def bound(self) -> BoundPlan:
        return prepare(parse_job(self.job)).bound

    @cached_property
    def days(self) -> Days:
        return Days(self.bound)

    def slice(self, is_quick: bool) -> tuple[int, int]:
        size = self.bound.plan.space.size
        return (0, min(size, self.quick)) if is_quick and self.quick else (0, size)

    def tasks(self, lo: int, hi: int) -> dict[str, Task]:
        raise NotImplementedError

    def numpy_task(self, branches: np.ndarray, weights: Callable[[int], np.ndarray]) -> Task:
        """weights : of the j-th branch (n, n_tickers). The tickers that are never held are left out before the time."""
        days = self.days
        given = [weights(j) for j in range(len(branches))]
        held = [np.flatnonzero(w.any(axis=0)) for w in given]
        parts = [(w[:, k], days.returns[k].T) for w, k in zip(given, held, strict=True)]

        def run() -> np.ndarray:
            return np.array([per_branch.branch(w, r, days.benchmark, days.is_oos, days.cost) for w, r in parts])

        return Task(branches, one_pass.METRICS, run, given.__getitem__)


class Thresholds(Workload):
    """Hold a stock while its RSI is below a threshold (and its price above an average), else cash.

    A line is the branches that share everything but the threshold.
    """

    def __init__(self, trends: tuple[int, ...] = (), n_lines: int = 100, quick: int | None = None):
        self.trends, self.n_lines, self.quick = trends, n_lines, quick
        self.windows, self.thresholds = (2, 5, 10, 14, 30), tuple(range(10, 91))
        rsi = {"id": "low", "metric": "RSI", "window": "$n", "ticker": "$stock", "comparator": "lt",
               "threshold": "$low"}  # fmt: skip
        trend = {"id": "trend", "type": "and", "metric": "Price", "ticker": "$stock", "comparator": "gt",
                 "expanded": True, "rightMetric": "SMA", "rightWindow": "$trend"}  # fmt: skip
        sides = {"then": [{"id": "buy", "kind": "position", "positions": ["$stock"]}],
                 "else": [{"id": "out", "kind": "position", "positions": ["CASH"]}]}  # fmt: skip
        axes: dict[str, Any] = {"stock": list(STOCKS), "n": list(self.windows), "trend": list(trends),
                                "low": list(self.thresholds)}  # fmt: skip
        if not trends:
            del axes["trend"]
        conditions = [rsi, trend] if trends else [rsi]
        self.job = MARKET | {"tree": {"id": "dip", "kind": "indicator", "conditions": conditions, "children": sides},
                             "axes": axes}  # fmt: skip

    def line(self, number: int) -> tuple[str, np.ndarray, np.ndarray]:
        """Stock, (n,) RSI, (n,) bool of the second condition."""
        number, k = divmod(number, max(1, len(self.trends)))
        stock, window = divmod(number, len(self.windows))
        ticker, traded = STOCKS[stock], self.days.traded
        mask = np.ones(self.bound.n, bool)
        if self.trends:
            mask = (self.days.series(ticker, "Price") > self.days.series(ticker, "SMA", self.trends[k]))[traded]
        return ticker, np.ascontiguousarray(self.days.series(ticker, "RSI", self.windows[window])[traded]), mask

    def tasks(self, lo: int, hi: int) -> dict[str, Task]:
        size = len(self.thresholds)
        lines = np.unique(np.linspace(lo // size, hi // size - 1, self.n_lines).astype(int))
        found = {"one_pass_loop": self.loop_task(lines), "scalar": self.scalar_task(lines[::20])}
        if not self.trends:
            found["simple_loop"] = self.simple_task(lines)
        if vectorbt := outside.installed("vectorbt"):
            found["vectorbt"] = self.vectorbt_task(vectorbt, lines[:: len(lines) // 3])
        if (bt := outside.installed("bt")) and not self.trends:
            found["bt"] = self.bt_task(bt, lines[[len(lines) // 2]])
        return found

    def branches(self, lines: np.ndarray) -> np.ndarray:
        size = len(self.thresholds)
        return (lines[:, None] * size + np.arange(size)).ravel()

    def held(self, branch: int) -> tuple[str, np.ndarray]:
        number, k = divmod(branch, len(self.thresholds))
        ticker, series, mask = self.line(number)
        return ticker, (series < self.thresholds[k]) & mask

    def weights(self, branch: int) -> np.ndarray:
        ticker, held = self.held(branch)
        out = np.zeros((self.bound.n, len(self.bound.panel.tickers)))
        out[:, self.days.row(ticker)] = held
        return out

    def loop_task(self, lines: np.ndarray) -> Task:
        days, thresholds = self.days, np.array(self.thresholds, float)
        given = [(days.returns[days.row(ticker)], series, mask) for ticker, series, mask in map(self.line, lines)]
        out = np.empty((len(lines), len(thresholds), 3, len(one_pass.METRICS)))

        def run() -> np.ndarray:
            for (returns, series, mask), metrics in zip(given, out, strict=True):
                one_pass.single(series, True, thresholds, mask, returns, days.benchmark, days.runs, days.constants,
                                days.cost, metrics)  # fmt: skip
            return out.reshape(-1, *out.shape[2:])

        branches = self.branches(lines)
        return Task(branches, one_pass.METRICS, run, lambda j: self.weights(int(branches[j])))

    def simple_task(self, lines: np.ndarray) -> Task:
        days, thresholds = self.days, np.array(self.thresholds, float)
        given = [(days.returns[days.row(ticker)], series) for ticker, series, _ in map(self.line, lines)]
        out = np.empty((len(lines), len(thresholds), len(one_pass.SIMPLE_METRICS)))

        def run() -> np.ndarray:
            for (returns, series), metrics in zip(given, out, strict=True):
                one_pass.simple(series, True, thresholds, returns, days.cost, metrics)
            return out.reshape(-1, 1, out.shape[2])

        return Task(self.branches(lines), one_pass.SIMPLE_METRICS, run)

    def scalar_task(self, lines: np.ndarray) -> Task:
        branches = self.branches(lines)[::4]
        return self.numpy_task(branches, lambda j: self.weights(int(branches[j])))

    def prices(self, ticker: str) -> np.ndarray:
        return np.ascontiguousarray(self.bound.panel.close[self.days.row(ticker), self.bound.start :])

    def vectorbt_task(self, vectorbt: Any, lines: np.ndarray) -> Task:
        given = []
        for line in lines:
            ticker, series, mask = self.line(line)
            given.append((self.prices(ticker), (series[:, None] < np.array(self.thresholds)) & mask[:, None]))

        def run() -> np.ndarray:
            found = [outside.vectorbt_metrics(vectorbt, close, held, self.days.cost) for close, held in given]
            return np.concatenate(found)[:, None]

        return Task(self.branches(lines), THREE_METRICS, run)

    def bt_task(self, bt: Any, lines: np.ndarray) -> Task:
        branches = self.branches(lines)[[20, 45]]
        given = [(self.prices(ticker), held) for ticker, held in (self.held(int(b)) for b in branches)]
        dates = self.bound.panel.dates[self.bound.start :]

        def run() -> np.ndarray:
            found = [outside.bt_total_return(bt, dates, close, held, self.days.cost) for close, held in given]
            return np.array(found)[:, None, None]

        return Task(branches, ("total_return",), run)


class Trees(Workload):
    """Trees of gates, blends and positions, as decision trees."""

    def __init__(self, n_loop: int, n_scalar: int):
        self.n_loop, self.n_scalar = n_loop, n_scalar

    @cached_property
    def trees(self) -> list[Flat]:
        given = [self.job["tree"]] if "tree" in self.job else list(self.job["trees"].values())
        return [flat(decision(tree), self.days) for tree in given]

    def says(self, gate: tuple[dict, ...], values: dict[str, Any], table: dict[tuple, np.ndarray]) -> tuple:
        """The key in the table of what a gate says at these values."""
        used = sorted({text[1:] for c in gate for text in c.values() if isinstance(text, str) and text[0] == "$"})
        key = (json.dumps(gate), *((name, values[name]) for name in used))
        if key not in table:
            table[key] = self.days.gate(gate, values)
        return key

    def tasks(self, lo: int, hi: int) -> dict[str, Task]:
        branches = np.unique(np.linspace(lo, hi - 1, self.n_loop).astype(int))
        few = branches[:: max(1, len(branches) // self.n_scalar)]
        return {
            "one_pass_loop": self.loop_task(branches),
            "scalar": self.numpy_task(few, lambda j: self.weights(int(few[j]))),
        }

    def weights(self, branch: int) -> np.ndarray:
        tree, values = self.bound.plan.space[branch]
        found = self.trees[tree]
        says = np.array([self.days.gate(gate, values) for gate in found.gates])
        return found.leaves[found.leaf_of(says)]

    def loop_task(self, branches: np.ndarray) -> Task:
        points = [self.bound.plan.space[int(branch)] for branch in branches]
        out = np.empty((len(branches), 3, len(one_pass.METRICS)))
        calls = []
        for tree, found in enumerate(self.trees):
            own = [j for j, (number, _) in enumerate(points) if number == tree]
            if own:
                assert own == list(range(own[0], own[-1] + 1))
                calls.append((*self.arguments(found, [points[j][1] for j in own]), out[own[0] : own[-1] + 1]))

        def run() -> np.ndarray:
            for call in calls:
                one_pass.nested(*call)
            return out

        return Task(branches, one_pass.METRICS, run, lambda j: self.weights(int(branches[j])))

    def arguments(self, found: Flat, values: list[dict[str, Any]]) -> tuple:
        days, table = self.days, {}
        keys = [[self.says(gate, given, table) for gate in found.gates] for given in values]
        row_of = {key: row for row, key in enumerate(table)}
        signals = np.array([[row_of[key] for key in row] for row in keys], np.int64)
        gates, yes, no = (np.ascontiguousarray(column) for column in found.nodes.T)
        return (gates, yes, no, *_sparse(found.leaves), np.array(list(table.values())), signals, days.returns,
                days.benchmark, days.runs, days.constants, days.cost)  # fmt: skip


class Complex77(Trees):
    def __init__(self):
        super().__init__(n_loop=77, n_scalar=77)
        self.job = dict(read_job(BRANCHES77).job)


class Nested(Trees):
    """Nine leaves of one to three tickers below eight gates of ten conditions; the oscillator, its threshold and the
    regime are swept: 100,000 branches."""

    def __init__(self):
        super().__init__(n_loop=2_000, n_scalar=40)
        self.quick = 20_000
        self.job = MARKET | {
            "tree": _nested_tree(),
            "axes": {"trend": "101..200", "n": "2..21", "low": "20..69"},
        }


def _nested_tree() -> dict[str, Any]:
    def over(ticker: str, average: str, window: Any, **more: Any) -> dict[str, Any]:
        return {"metric": "Price", "ticker": ticker, "comparator": "gt", "expanded": True, "rightMetric": average,
                "rightWindow": window} | more  # fmt: skip

    def level(metric: str, window: Any, ticker: str, comparator: str, threshold: Any, **more: Any) -> dict[str, Any]:
        return {"metric": metric, "window": window, "ticker": ticker, "comparator": comparator,
                "threshold": threshold} | more  # fmt: skip

    names = iter(range(1, 100))

    def gate(conditions: list[dict], yes: dict, no: dict) -> dict[str, Any]:
        number = next(names)
        listed = [{"id": f"c{k}"} | condition for k, condition in enumerate(conditions)]
        return {
            "id": f"g{number}",
            "kind": "indicator",
            "conditions": listed,
            "children": {"then": [yes], "else": [no]},
        }

    def hold(*tickers: str) -> dict[str, Any]:
        return {"id": f"h{next(names)}", "kind": "position", "positions": list(tickers)}

    bull = gate(
        [level("RSI", "$n", "SPX", "lt", "$low")],
        gate([level("RSI", 10, "AAPL", "lt", 40), level("StdDev", 20, "SPX", "lt", 2, type="and")],
             hold("AAPL", "MSFT"), gate([over("MSFT", "EMA", 50)], hold("MSFT"), hold("UNH", "HD", "JPM"))),
        gate([level("ROC", 20, "XOM", "gt", 3)], hold("XOM", "CVX"), hold("AMD")),
    )  # fmt: skip
    bear = gate(
        [level("RSI", "$n", "SPX", "lt", "$low"), level("ROC", 5, "SPX", "lt", 0, type="and")],
        gate([level("RSI", 5, "JNJ", "lt", 50)], hold("JNJ", "KO", "PG"), hold("WMT")),
        gate([over("PG", "SMA", 100)], hold("PG", "PEP"), hold("CASH")),
    )
    return gate([over("SPX", "SMA", "$trend")], bull, bear)


class Neighbours(Workload):
    """100,000 trees around a symphony of a thousand conditions. The competitors are given the weights of every bar."""

    first, n_measured = 50_000, 1_562

    def __init__(self):
        design = {"kind": "neighbourhood", "changes": 3, "window": "±20%", "threshold": "±5%", "sample": 100_000,
                  "seed": 1}  # fmt: skip
        job = dict(import_text(symphony(), "symphony.json").job)
        self.job = job | MARKET | {"design": design, "execution": job["execution"] | {"cost_bps": 5}}

    def slice(self, is_quick: bool) -> tuple[int, int]:
        """One block of three changes: the first ones have one."""
        return self.first, self.first + (200 if is_quick else self.n_measured)

    def tasks(self, lo: int, hi: int) -> dict[str, Task]:
        branches = np.unique(np.linspace(lo, hi - 1, 20).astype(int))
        return {
            "one_pass_loop": self.loop_task(branches),
            "scalar": self.numpy_task(branches, lambda j: self.weights(int(branches[j]))),
        }

    def weights(self, branch: int) -> np.ndarray:
        leaves, leaf_of = self.held(branch)
        return leaves[leaf_of]

    def held(self, branch: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of weights and the (n,) row of every decision, of the whole tree at this branch."""
        plan = self.bound.plan
        tree, by_name = plan.space[branch]
        values = {a: by_name[axis.id] for a, axis in enumerate(plan.space.axes)}
        found = Evaluator(plan, self.bound.panel, Cache(2**28)).allocation(plan.roots[tree], values)
        return found.weights, found.row_of[self.days.traded]

    def loop_task(self, branches: np.ndarray) -> Task:
        """The row of a bar is a chain of gates with one leaf each: here the loop needs no more than a look-up."""
        days = self.days
        out = np.empty((len(branches), 3, len(one_pass.METRICS)))
        given = [(*_sparse(leaves), leaf_of) for leaves, leaf_of in (self.held(int(b)) for b in branches)]

        def run() -> np.ndarray:
            for call, metrics in zip(given, out, strict=True):
                one_pass.followed(*call, days.returns, days.benchmark, days.runs, days.constants, days.cost, metrics)
            return out

        return Task(branches, one_pass.METRICS, run, lambda j: self.weights(int(branches[j])))


def _sparse(leaves: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """starts, columns, weights of rows (n_rows, n_tickers)."""
    held = leaves > 0
    starts = np.concatenate([[0], np.cumsum(held.sum(axis=1))]).astype(np.int64)
    return starts, np.nonzero(held)[1].astype(np.int64), leaves[held]


WORKLOADS: dict[str, Callable[[], Workload]] = {
    "W1": Thresholds,
    "W1b": lambda: Thresholds(trends=tuple(range(10, 401, 10)), n_lines=60, quick=16_200),
    "W2": Complex77,
    "W3": Nested,
    "N1": Neighbours,
}
