"""The simulated equity of an allocation: back to target at every fill, no costs."""

from __future__ import annotations

import numpy as np

from forge_ray.kernels.compile import kernel


@kernel(
    "in f8[:,:], in f8[:,:], in f8[:,:], in i8, in i8, in i8, in f8[:], in i8[:], in i8[:], in i8[:], in f8[:],"
    " out f8[:]"
)
def subtree_equity(entry, exit, close, step, lag, ready, cash, row_of, starts, columns, weights, out):
    """entry, exit, close : (n_tickers, n_bars) prices, NaN where not alive. step : bars from the entry's to the exit's.
    ready : first bar with a value. cash : (n_bars,) return of cash over the interval that ends there.
    row_of : (n_bars,) row decided at each bar. starts, columns, weights : the rows, sparse, columns ascending.
    out : (n_bars,) written in full, NaN before `ready`, 1 there.

    Point t is the point before times the growth of the interval that ends at bar t, decided `lag` bars before its fill;
    what was decided before `ready` earns nothing. A ticker without a price at the fill is cash, one whose data end in
    the interval leaves at its last close.
    """
    for t in range(min(ready, len(out))):
        out[t] = np.nan
    level = 1.0
    for t in range(ready, len(out)):
        fill = t - step
        decided = fill - lag
        if t > ready and decided >= ready:
            gross, invested = 0.0, 0.0
            row = row_of[decided]
            for j in range(starts[row], starts[row + 1]):
                k = columns[j]
                if not np.isnan(entry[k, fill]):
                    price = exit[k, t] if not np.isnan(exit[k, t]) else close[k, fill]
                    gross += weights[j] * (price / entry[k, fill] - 1.0)
                    invested += weights[j]
            level *= 1.0 + (gross + (1.0 - invested) * cash[t])
        out[t] = level
