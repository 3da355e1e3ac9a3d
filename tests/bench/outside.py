"""vectorbt and bt on the simplest workload; what is not installed is left out.

Both charge a fee on the value that changes hands, ours is a fraction of equity before the trade: a purchase that costs
c of equity pays c/(1 − c) of what it buys. With that their equity is ours, and is checked to be.
"""

from __future__ import annotations

import os
import sys
import warnings
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np


def installed(name: str) -> Any | None:
    """The library, or None. The folder in FORGE_RAY_BENCH_LIBS is looked at last."""
    folder = os.environ.get("FORGE_RAY_BENCH_LIBS")
    if folder and folder not in sys.path:
        sys.path.append(folder)
    if find_spec(name) is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_module(name)


def vectorbt_metrics(vectorbt: Any, close: np.ndarray, held: np.ndarray, cost: float) -> np.ndarray:
    """(n_branches, 3) total return, sharpe, maximum drawdown. close : (n + 1,). held : (n, n_branches) bool.

    An order of a close is booked with the next bar at the price of that close, so that bar n has return n − 1.
    """
    before = np.vstack([np.zeros((1, held.shape[1]), bool), held[:-1]])
    nothing = np.zeros((1, held.shape[1]), bool)
    entries, exits = np.vstack([nothing, held & ~before]), np.vstack([nothing, before & ~held])
    price = np.concatenate([close[:1], close[:-1]])[:, None]
    fees = np.where(entries, cost / (1 - cost), cost)
    portfolio = vectorbt.Portfolio.from_signals(
        close[:, None], entries, exits, price=price, fees=fees, freq="1D", init_cash=1.0
    )
    sharpe = portfolio.returns().iloc[1:].vbt.returns(freq="1D", year_freq="252 days").sharpe_ratio()
    return np.column_stack([portfolio.total_return(), sharpe, -portfolio.max_drawdown()])


def bt_total_return(bt: Any, dates: np.ndarray, close: np.ndarray, held: np.ndarray, cost: float) -> float:
    """close : (n + 1,). held : (n,) bool; what the last bar decides earns nothing."""
    import pandas as pd

    days = pd.DatetimeIndex(dates.astype("datetime64[D]"))
    weights = pd.DataFrame({"held": np.append(held, held[-1]).astype(float)}, index=days)

    def fee(quantity: float, price: float) -> float:
        return abs(quantity) * price * (cost / (1 - cost) if quantity > 0 else cost)

    strategy = bt.Strategy("one", [bt.algos.WeighTarget(weights), bt.algos.Rebalance()])
    test = bt.Backtest(
        strategy, pd.DataFrame({"held": close}, index=days), commissions=fee, integer_positions=False,
        progress_bar=False,
    )  # fmt: skip
    return float(bt.run(test).prices.iloc[-1, 0] / 100 - 1)
