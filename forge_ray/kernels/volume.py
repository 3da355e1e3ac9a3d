"""Indicators that weigh prices by the volume traded.

high, low, close, volume : (n_bars,) own bars in order, NaN where a bar has none. window : bars, >= 1. out : (n_bars,),
written in full, NaN before the first value. The value at t uses bars up to and including t.
"""

from __future__ import annotations

import numpy as np

from forge_ray.kernels.compile import kernel
from forge_ray.kernels.oscillators import share
from forge_ray.kernels.rolling import joined, window_sums


@kernel("in f8[:], in f8[:], in f8[:], in f8[:], in i8, out f8[:]")
def money_flow_index(high, low, close, volume, window, out):
    """100·up/(up + down) of the flows TP·V over the last `window` changes of the typical price TP = (H + L + P)/3.

    A flow goes where TP goes; without any the value is 50. First value at `window`. Quong and Soudack (1989).
    """
    n = close.shape[0]
    typical, ups, downs, down = (high + low + close) / 3.0, np.empty(n), np.empty(n), np.empty(n)
    ups[:1], downs[:1] = np.nan, np.nan
    for t in range(1, n):
        change, flow = typical[t] - typical[t - 1], typical[t] * volume[t]
        if np.isnan(change + flow):
            ups[t], downs[t] = np.nan, np.nan
        else:
            ups[t], downs[t] = flow if change > 0.0 else 0.0, flow if change < 0.0 else 0.0
    window_sums(ups, window, out)
    window_sums(downs, window, down)
    for t in range(n):
        out[t] = share(out[t], down[t])


@kernel("in f8[:], in f8[:], in i8, out f8[:]")
def balance_rate_of_change(close, volume, window, out):
    """(OBV − OBV `window` bars ago)/|OBV `window` bars ago|·100, percent; no value over 0 or where either is missing.

    OBV is 0 at the first bar, so the first value is at window + 1; then it adds the volume of rising bars and subtracts
    that of falling ones. A bar without close or volume has no OBV and is passed over. Granville (1963).

    Kept as a sum and what rounding took from it (Knuth's two-sum), because every value is a difference of sums over the
    whole history.
    """
    n = close.shape[0]
    balances, lost = np.empty(n), np.empty(n)
    balance, rest, before = 0.0, 0.0, np.nan
    for t in range(n):
        out[t], balances[t] = np.nan, np.nan
        if np.isnan(close[t] + volume[t]):
            continue
        flow = volume[t] if close[t] > before else -volume[t] if close[t] < before else 0.0
        before = close[t]
        total = balance + flow
        added = total - balance
        rest += (balance - (total - added)) + (flow - added)
        balance = total
        balances[t], lost[t] = balance, rest
        if t >= window and not np.isnan(balances[t - window]):
            old = balances[t - window] + lost[t - window]
            if old != 0.0:
                change = (balance - balances[t - window]) + (rest - lost[t - window])
                out[t] = 100.0 * (change / abs(old))


@kernel("in f8[:], in f8[:], in i8, out f8[:]")
def price_over_vwap(close, volume, window, out):
    """P in percent of the volume-weighted mean of the last `window` prices; no value without volume.

    First value at window − 1. Parts are (mean, volume) and joined as in `rolling`, so equal prices give exactly 100.
    """
    n = close.shape[0]
    means, volumes = np.empty(n), np.empty(n)
    for first in range(0, n, window):
        mean, traded = 0.0, 0.0
        for t in range(min(first + window, n) - 1, first - 1, -1):
            mean = joined(mean, traded, close[t], volume[t]) if traded > 0.0 else close[t]
            traded += volume[t]
            means[t], volumes[t] = mean, traded
    mean, traded, seen = 0.0, 0.0, 0
    for t in range(n):
        if t % window == 0:
            mean, traded = 0.0, 0.0
        mean = joined(mean, traded, close[t], volume[t]) if traded > 0.0 else close[t]
        traded += volume[t]
        seen = 0 if np.isnan(close[t] + volume[t]) else seen + 1
        first, out[t] = t - window + 1, np.nan
        if seen < window:
            continue
        total = traded if first % window == 0 else volumes[first] + traded
        if total > 0.0:
            whole = mean if first % window == 0 else joined(means[first], volumes[first], mean, traded)
            out[t] = 100.0 * (close[t] / whole)
