"""Expressions → arrays: series, conditions and allocations over all calendar bars of a panel.

Everything here is a function of (expression, values of its axes, panel); the cache only remembers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from forge_ray.catalog import CASH, INDICATOR_BY_NAME
from forge_ray.data import Panel
from forge_ray.engine.cache import Cache
from forge_ray.kernels import bits, indicators
from forge_ray.kernels.compile import Kernel
from forge_ray.plan import BITS, Op, Plan, axes_of, resolve, series_key
from forge_ray.tree import AxisValue
from forge_ray.tree.nodes import EMPTY, Weighting

INDICATOR_KERNELS: dict[str, Kernel] = {
    "Current Price": indicators.price,
    "Simple Moving Average": indicators.simple_moving_average,
    "Exponential Moving Average": indicators.exponential_moving_average,
    "Relative Strength Index": indicators.relative_strength_index,
    "Standard Deviation": indicators.standard_deviation,
    "Rate of Change": indicators.rate_of_change,
    "Cumulative Return": indicators.rate_of_change,
    "Max Drawdown": indicators.max_drawdown,
    "Drawdown": indicators.drawdown,
    "Standard Deviation of Price": indicators.price_deviation,
    "ATR": indicators.average_true_range,
    "Bollinger %B": indicators.bollinger_percent_b,
}


@dataclass(frozen=True)
class Allocation:
    """Target weights per bar as distinct rows and their numbers.

    weights : (n_rows, n_tickers) of the panel's tickers; what is missing to 1 is cash.
    active : (n_rows,) False where the row is Empty and passes its weight to its siblings.
    row_of : (n_bars,) int64 row of each bar.
    """

    weights: np.ndarray
    active: np.ndarray
    row_of: np.ndarray

    @property
    def nbytes(self) -> int:
        return self.weights.nbytes + self.active.nbytes + self.row_of.nbytes


class Evaluator:
    """Evaluates the expressions of one plan on one panel."""

    def __init__(self, plan: Plan, panel: Panel, cache: Cache):
        self.plan, self.panel, self.cache = plan, panel, cache
        self.n_bars = len(panel.dates)

    def series(self, i: int, values: Mapping[int, AxisValue]) -> np.ndarray | float:
        """(n_bars,) of a series, NaN where it has no value; the number itself for a constant."""
        e = self.plan.expressions[i]
        if e.op is Op.NUMBER:
            return float(resolve(e.parameters, values)[0])
        key = series_key(*resolve(e.parameters, values))
        return self.cache.get(("series", *key), lambda: self._aligned(*key), lambda array: array.nbytes)

    def bits(self, i: int, values: Mapping[int, AxisValue]) -> np.ndarray:
        """(2, n_words) packed condition: known true, known false."""
        e = self.plan.expressions[i]
        key = ("bits", i, *(values[a] for a in axes_of(e.axes)))
        if e.op in (Op.ALL, Op.ANY):
            return self.cache.get(key, lambda: self._joined(e.op, e.operands, values), lambda array: array.nbytes)
        return self.cache.get(key, lambda: bits.pack(*self.condition(i, values)), lambda array: array.nbytes)

    def condition(self, i: int, values: Mapping[int, AxisValue]) -> tuple[np.ndarray, np.ndarray]:
        """(true, false) bool arrays (n_bars,) of a comparison or its persistence, as each bar's decision sees it."""
        true, false = self._compared(i, values)
        if not self.plan.execution.fills.delay:
            return true, false
        return bits.delayed(true), bits.delayed(false)

    def _compared(self, i: int, values: Mapping[int, AxisValue]) -> tuple[np.ndarray, np.ndarray]:
        e = self.plan.expressions[i]
        if e.op is Op.PERSIST:
            return bits.persist(*self._compared(e.operands[0], values), int(resolve(e.parameters, values)[0]))
        left, right = (self.series(operand, values) for operand in e.operands)
        return bits.compare(np.asarray(left), right, str(resolve(e.parameters, values)[0]))

    def allocation(self, root: int, values: Mapping[int, AxisValue]) -> Allocation:
        """The allocation of an expression, operands first, so that depth costs no recursion."""
        done: dict[int, Allocation] = {}
        for i in self._below(root):
            e = self.plan.expressions[i]
            key = ("allocation", i, *(values[a] for a in axes_of(e.axes)))
            done[i] = self.cache.get(key, lambda i=i: self._allocate(i, values, done), lambda a: a.nbytes)
        return done[root]

    def _below(self, root: int) -> list[int]:
        found, stack = set(), [root]
        while stack:
            i = stack.pop()
            if i not in found and self.plan.expressions[i].op not in BITS:
                found.add(i)
                stack.extend(self.plan.expressions[i].operands)
        return sorted(found)

    def _aligned(self, metric: str, window: int, ticker: str) -> np.ndarray:
        own = self.panel.bars[self.panel.row(ticker)]
        computed = np.empty(len(own.close))
        INDICATOR_KERNELS[metric](*(own.field(name) for name in INDICATOR_BY_NAME[metric].fields), window, computed)
        return own.on_calendar(computed)

    def _joined(self, op: Op, operands: tuple[int, ...], values: Mapping[int, AxisValue]) -> np.ndarray:
        """Kleene: an AND is true where all are, false where any is; an OR the other way round; none = false."""
        parts = [self.bits(operand, values) for operand in operands]
        if not parts:
            return bits.pack(np.zeros(self.n_bars, bool), np.ones(self.n_bars, bool))
        both, either = (0, 1) if op is Op.ALL else (1, 0)
        joined = np.empty_like(parts[0])
        joined[both] = np.bitwise_and.reduce([part[both] for part in parts])
        joined[either] = np.bitwise_or.reduce([part[either] for part in parts])
        return joined

    def _allocate(self, i: int, values: Mapping[int, AxisValue], below: Mapping[int, Allocation]) -> Allocation:
        e = self.plan.expressions[i]
        parameters = resolve(e.parameters, values)
        if e.op is Op.ROW:
            return self._row(parameters)
        if e.op is Op.CHOOSE:
            gate, then, other = e.operands
            return self._chosen(self.bits(gate, values), below[then], below[other])
        return self._blended(parameters[0], parameters[1:], [below[operand] for operand in e.operands])

    def _row(self, tickers: tuple[str, ...]) -> Allocation:
        """Each entry counts 1/n of the list without Empty; duplicates add up; CASH keeps its share, and so does, as
        cash, a ticker that is not alive."""
        entries = [ticker for ticker in tickers if ticker != EMPTY]
        held = sorted({self.panel.row(ticker) for ticker in entries if ticker != CASH})
        alive = ~np.isnan(self.panel.close[held])
        if alive.all():
            alive = alive[:, :1]
        patterns, row_of = np.unique(alive, axis=1, return_inverse=True)
        weights = np.zeros((patterns.shape[1], len(self.panel.tickers)))
        for k, is_alive in zip(held, patterns, strict=True):
            weights[is_alive, k] = entries.count(self.panel.tickers[k]) / len(entries)
        row_of = np.broadcast_to(row_of.reshape(-1).astype(np.int64), self.n_bars).copy()
        return Allocation(weights, np.full(len(weights), bool(entries)), row_of)

    def _chosen(self, gate: np.ndarray, then: Allocation, other: Allocation) -> Allocation:
        """`then` where the gate is true, `other` where it is false; unknown is cash, or `other` if ``null: else``."""
        true, false = (bits.unpack(words, self.n_bars) for words in gate)
        if self.plan.execution.null == "else":
            false = ~true
        n, m = len(then.active), len(other.active)
        row_of = np.where(true, then.row_of, np.where(false, n + other.row_of, n + m))
        weights = np.vstack([then.weights, other.weights, np.zeros((1, then.weights.shape[1]))])
        active = np.concatenate([then.active, other.active, [True]])
        return _compact(weights, active, row_of)

    def _blended(self, weighting: str, shares: tuple, parts: list[Allocation]) -> Allocation:
        """One row for every combination of the parts' rows that occurs."""
        code = np.zeros(self.n_bars, np.int64)
        for part in parts:
            code = np.unique(code, return_inverse=True)[1] * len(part.active) + part.row_of
        _, first, row_of = np.unique(code, return_index=True, return_inverse=True)
        rows = [[(part.weights[part.row_of[t]], bool(part.active[part.row_of[t]])) for part in parts] for t in first]
        mixed = [_mix(row, _shares(weighting, shares, [active for _, active in row])) for row in rows]
        active = np.array([any(active for _, active in row) for row in rows])
        return Allocation(np.array(mixed), active, row_of.astype(np.int64))


def _compact(weights: np.ndarray, active: np.ndarray, row_of: np.ndarray) -> Allocation:
    used, row_of = np.unique(row_of, return_inverse=True)
    return Allocation(weights[used], active[used], row_of.astype(np.int64))


def _shares(weighting: str, weights: tuple, active: list[bool]) -> list[float]:
    """Share of each part among the active ones; Empty parts pass theirs on; nothing left to share is cash."""
    if weighting == Weighting.EQUAL:
        return [1.0 / sum(active) if is_active else 0.0 for is_active in active]
    total = sum(weight for weight, is_active in zip(weights, active, strict=True) if is_active)
    return [
        weight / total if is_active and total > 0 else 0.0 for weight, is_active in zip(weights, active, strict=True)
    ]


def _mix(parts: list[tuple[np.ndarray, bool]], shares: list[float]) -> np.ndarray:
    """Σ share · weights in the order of the parts: the same sum whatever else the panel holds."""
    mixed = np.zeros_like(parts[0][0])
    for (weights, _), share in zip(parts, shares, strict=True):
        mixed = mixed + share * weights
    return mixed
