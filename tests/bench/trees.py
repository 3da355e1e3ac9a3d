"""W2, W3 and N1: trees of gates with leaves of several tickers, and the neighbourhood of a large one."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import one_pass
from signals import Flat, decision, flat
from symphony import symphony
from workload import MARKET, Task, Workload, sparse

from forge_ray.engine import Cache, Evaluator
from forge_ray.sweep import read_job
from forge_ray.tree.importers import import_text

BRANCHES77 = Path(__file__).parent.parent.parent / "jobs" / "branches77.json"


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
        return (gates, yes, no, *sparse(found.leaves), np.array(list(table.values())), signals, days.returns,
                days.benchmark, days.runs, days.constants, days.cost)  # fmt: skip


class Complex77(Trees):
    def __init__(self):
        super().__init__(n_loop=77, n_scalar=77)
        self.job = dict(read_job(BRANCHES77).job)


class Nested(Trees):
    """Nine leaves of one to three tickers below eight gates of nine conditions; the oscillator, its threshold and the
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

    def __init__(self):
        design = {"kind": "neighbourhood", "changes": 3, "window": "±20%", "threshold": "±5%", "sample": 100_000,
                  "seed": 1}  # fmt: skip
        job = dict(import_text(symphony(), "symphony.json").job)
        self.job = job | MARKET | {"design": design, "execution": job["execution"] | {"cost_bps": 5}}

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
        given = [(*sparse(leaves), leaf_of) for leaves, leaf_of in (self.held(int(b)) for b in branches)]

        def run() -> np.ndarray:
            for call, metrics in zip(given, out, strict=True):
                one_pass.followed(*call, days.returns, days.benchmark, days.runs, days.constants, days.cost, metrics)
            return out

        return Task(branches, one_pass.METRICS, run, lambda j: self.weights(int(branches[j])))
