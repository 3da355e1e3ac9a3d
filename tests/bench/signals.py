"""What every competitor is given: returns, days and signals on the bars that are traded, from the indicators of our own
kernels, so that equal decisions are equal bits.

A tree of gates, blends and positions becomes a decision tree: a blend of gates is a gate of blends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from forge_ray.catalog import INDICATOR_BY_NAME
from forge_ray.engine import BoundPlan
from forge_ray.engine.indicator_kernels import INDICATOR_KERNELS

Decision = "Leaf | Gate"


@dataclass(frozen=True)
class Leaf:
    """weights : by ticker, cash left out."""

    weights: Mapping[str, float]


@dataclass(frozen=True)
class Gate:
    conditions: tuple[dict, ...]
    yes: Any
    no: Any


@dataclass(frozen=True)
class Days:
    """returns : (n_tickers, n), held from close to close. benchmark, is_oos : (n,); even months are out of sample.

    runs : (n_runs, 3) first, last + 1, class of days. constants : (2, 3) days, sum of benchmark, of its squares.
    """

    bound: BoundPlan
    kept: dict[tuple, np.ndarray] = field(default_factory=dict)

    @cached_property
    def traded(self) -> slice:
        return slice(self.bound.start, self.bound.start + self.bound.n)

    @cached_property
    def returns(self) -> np.ndarray:
        close = self.bound.panel.close[:, self.bound.start :]
        return np.nan_to_num(close[:, 1:] / close[:, :-1] - 1)

    @cached_property
    def benchmark(self) -> np.ndarray:
        return np.ascontiguousarray(self.bound.benchmark)

    @cached_property
    def is_oos(self) -> np.ndarray:
        months = self.bound.return_dates.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
        return months % 12 % 2 == 1

    @cached_property
    def runs(self) -> np.ndarray:
        edges = np.flatnonzero(np.diff(self.is_oos)) + 1
        first, last = np.concatenate([[0], edges]), np.concatenate([edges, [len(self.is_oos)]])
        return np.stack([first, last, self.is_oos[first]], axis=1).astype(np.int64)

    @cached_property
    def constants(self) -> np.ndarray:
        days = [self.benchmark[self.is_oos == c] for c in (False, True)]
        return np.array([[len(b), b.sum(), (b * b).sum()] for b in days])

    @cached_property
    def cost(self) -> float:
        return float(self.bound.cost[0])

    def row(self, ticker: str) -> int:
        return self.bound.panel.row(ticker)

    def series(self, ticker: str, metric: str, window: int = 0) -> np.ndarray:
        """(n_bars,) of the calendar."""
        name = INDICATOR_BY_NAME[metric].name
        if (ticker, name, window) not in self.kept:
            own = self.bound.panel.bars[self.row(ticker)]
            out = np.empty(len(own.close))
            INDICATOR_KERNELS[name](own.close, window, out)
            self.kept[ticker, name, window] = own.on_calendar(out)
        return self.kept[ticker, name, window]

    def gate(self, conditions: tuple[dict, ...], values: Mapping[str, Any]) -> np.ndarray:
        """(n,) bool. AND binds tighter than OR."""
        terms: list[np.ndarray] = []
        for given in conditions:
            condition = {key: _filled(value, values) for key, value in given.items()}
            if condition.get("type") == "and":
                terms[-1] = terms[-1] & self.condition(condition)
            else:
                terms.append(self.condition(condition))
        return np.logical_or.reduce(terms)[self.traded]

    def condition(self, c: Mapping[str, Any]) -> np.ndarray:
        """(n_bars,) bool."""
        left = self.series(c["ticker"], c["metric"], c.get("window", 0))
        right: Any = c.get("threshold")
        if c.get("expanded"):
            right = self.series(c.get("rightTicker", c["ticker"]), c.get("rightMetric", c["metric"]),
                                c.get("rightWindow", c.get("window", 0)))  # fmt: skip
        now = _COMPARED[c["comparator"]](left, right)
        if c["comparator"].startswith("cross"):
            now[1:] &= _BEFORE[c["comparator"]](left, right)[:-1]
        out = now.copy()
        for days in range(1, c.get("forDays", 1)):
            out[days:] &= now[:-days]
        return out


_COMPARED = {"lt": np.less, "lte": np.less_equal, "gt": np.greater, "gte": np.greater_equal,
             "crossAbove": np.greater_equal, "crossBelow": np.less_equal}  # fmt: skip
_BEFORE = {"crossAbove": np.less, "crossBelow": np.greater}


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    return values[value[1:]] if isinstance(value, str) and value.startswith("$") else value


def decision(node: Mapping[str, Any]) -> Leaf | Gate:
    """The decision tree of a tree."""
    match node["kind"]:
        case "position":
            weights: dict[str, float] = {}
            for ticker in node["positions"]:
                weights[ticker] = weights.get(ticker, 0.0) + 1 / len(node["positions"])
            weights.pop("CASH", None)
            return Leaf(weights)
        case "basic":
            children = node["children"]["next"]
            shares = [child.get("weight", 1) if node.get("weighting") == "defined" else 1 for child in children]
            return _blend([(s / sum(shares), decision(child)) for s, child in zip(shares, children, strict=True)])
        case "indicator":
            (yes,), (no,) = node["children"]["then"], node["children"]["else"]
            return Gate(tuple(node["conditions"]), decision(yes), decision(no))
        case kind:
            raise ValueError(f"{kind}: no gate, blend or position")


def _blend(parts: list[tuple[float, Leaf | Gate]]) -> Leaf | Gate:
    for k, (share, part) in enumerate(parts):
        if isinstance(part, Gate):
            yes, no = ([*parts[:k], (share, side), *parts[k + 1 :]] for side in (part.yes, part.no))
            return Gate(part.conditions, _blend(yes), _blend(no))
    weights: dict[str, float] = {}
    for share, leaf in parts:
        for ticker, weight in leaf.weights.items():
            weights[ticker] = weights.get(ticker, 0.0) + share * weight
    return Leaf(weights)


@dataclass(frozen=True)
class Flat:
    """A decision tree as `one_pass.nested` reads it; `gates` are the distinct ones, `leaves` (n_leaves, n_tickers)."""

    gates: tuple[tuple[dict, ...], ...]
    nodes: np.ndarray
    leaves: np.ndarray

    def leaf_of(self, says: np.ndarray) -> np.ndarray:
        """(n,) leaf number, from what the gates say (n_gates, n)."""
        found: dict[int, np.ndarray] = {}
        for node in range(len(self.nodes) - 1, -1, -1):
            gate, yes, no = self.nodes[node]
            yes_leaf, no_leaf = (found[side] if side >= 0 else ~side for side in (yes, no))
            found[node] = np.where(says[gate], yes_leaf, no_leaf)
        return found[0]


def flat(root: Gate, days: Days) -> Flat:
    gates: list[tuple[dict, ...]] = []
    nodes: list[list[int]] = []
    leaves: list[np.ndarray] = []

    def put(part: Leaf | Gate) -> int:
        if isinstance(part, Leaf):
            leaves.append(np.zeros(len(days.bound.panel.tickers)))
            for ticker, weight in part.weights.items():
                leaves[-1][days.row(ticker)] = weight
            return ~(len(leaves) - 1)
        if part.conditions not in gates:
            gates.append(part.conditions)
        number = len(nodes)
        nodes.append([gates.index(part.conditions)])
        nodes[number] += [put(part.yes), put(part.no)]
        return number

    put(root)
    return Flat(tuple(gates), np.array(nodes, np.int64), np.array(leaves))
