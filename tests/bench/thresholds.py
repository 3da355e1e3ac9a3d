"""W1 and W1b: a stock or cash, by the RSI of the stock and an average of its price."""

from __future__ import annotations

from typing import Any

import numpy as np
import one_pass
import outside
from workload import MARKET, Task, Workload

STOCKS = ("AAPL", "AMD", "BAC", "BBY", "CVX", "GE", "HD", "JNJ", "JPM", "KO", "LLY", "MRK", "MSFT", "PEP", "PFE", "PG",
          "RRC", "UNH", "WMT", "XOM")  # fmt: skip
THREE_METRICS = ("total_return", "sharpe", "max_drawdown")


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
        rows = [(days.row(ticker), series, mask) for ticker, series, mask in map(self.line, lines)]
        logs = np.log1p(days.returns)
        given = [(days.returns[row], logs[row], series, mask) for row, series, mask in rows]
        out = np.empty((len(lines), len(thresholds), 3, len(one_pass.METRICS)))

        def run() -> np.ndarray:
            for (returns, logs, series, mask), metrics in zip(given, out, strict=True):
                one_pass.single(series, True, thresholds, mask, returns, logs, days.benchmark, days.runs,
                                days.constants, days.cost, metrics)  # fmt: skip
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
