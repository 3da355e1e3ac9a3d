"""What one interval adds to the sums of a branch: returns, costs, holdings, as integers.

A bar's contribution depends only on (held before, held now, bar): a vector of `N_LANES` integers. The net return and
its log are rounded once to a multiple of 2⁻⁴⁷ and every other summand to its own grid, and what is added are the
integer multiples. Integer additions are exact, so no order, grouping or kernel can change a sum. Products of returns
span many magnitudes (a fourth power of 10⁻⁴ next to one of 0.5), so each takes two lanes: multiples of a coarse grid,
and of one 2⁴¹ finer for what is left.

Decision i is the i-th traded one. What it holds earns over *interval* i, from the entry price of its fill to the exit
price of that bar or the next. Modes that carry positions trade from the drifted weights to the target; the others buy
and sell inside each interval. Between two rebalancing decisions shares drift: the weights of a bar then follow from the
row that was decided at ``rebalance_of[i]``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from forge_ray.kernels.compile import device, kernel
from forge_ray.kernels.elementary import log

LOG, RETURN, UP, DOWN, IN_MARKET, EXPOSURE, TRADES, TURNOVER, HOLDINGS = range(9)
SQUARE, CUBE, FOURTH, DOWNSIDE, CROSS = range(9, 19, 2)
PATH = 19
N_LANES = 24
"""Three times eight, the last three unused: whole vectors are added faster than a rest."""
RETURN_BITS = 47
FINER = 2.0**41
NOTHING = -1


class Market(NamedTuple):
    """What every vector depends on besides the rows held; tickers are those that some row holds.

    ratio : (n_tickers, n) exit over entry price of each interval, NaN where the ticker cannot be held. carries :
    positions stay over the end of an interval. cost : (n_tickers,) per side, a fraction of equity. cash : (n,) return
    of cash per interval. cash_like : (n_tickers,). benchmark : (n,) return, NaN where it has none. scales : (N_LANES,)
    multiples per unit, powers of two; units : their inverses. rebalance_of : (n,) the rebalancing decision in force.
    starts, columns, weights : rows of target weights, sparse; row j is ``starts[j]:starts[j + 1]``, columns ascending,
    weights > 0.
    """

    ratio: Any
    carries: Any
    cost: Any
    cash: Any
    cash_like: Any
    benchmark: Any
    scales: Any
    units: Any
    rebalance_of: Any
    starts: Any
    columns: Any
    weights: Any


MARKET = (
    "in f8[:,:], in b1, in f8[:], in f8[:], in b1[:], in f8[:], in f8[:], in f8[:], in i8[:], in i8[:], in i8[:],"
    " in f8[:]"
)


@kernel("in f8[:,:], in f8[:,:], in f8[:,:], in i8, in i8, in i8[:], out f8[:,:]")
def price_ratios(entry, exit, close, step, first_fill, tickers, out):
    """Exit over entry price of every interval, for some tickers.

    entry, exit, close : (n_tickers, n_bars) prices, NaN where not alive. step : bars from the entry's to the exit's.
    first_fill : bar of the first fill. tickers : (m,) rows of the prices. out : (m, n), written in full: NaN where the
    ticker has no price at its entry; one whose data end inside the interval leaves at its last close.
    """
    for j in range(tickers.shape[0]):
        k = tickers[j]
        for i in range(out.shape[1]):
            t = first_fill + i
            price = exit[k, t + step]
            if np.isnan(price):
                price = close[k, t]
            out[j, i] = price / entry[k, t]


@device
def aim(market, row, i, held):
    """Target weights of a row at fill i; a ticker that cannot be bought is cash."""
    first = market.starts[row]
    for j in range(first, market.starts[row + 1]):
        held[j - first] = 0.0 if np.isnan(market.ratio[market.columns[j], i]) else market.weights[j]


@device
def gross_return(market, row, i, held):
    """Return of weights `held` over interval i; what is not invested earns the return of cash."""
    total, invested = 0.0, 0.0
    first = market.starts[row]
    for j in range(first, market.starts[row + 1]):
        weight = held[j - first]
        if weight > 0.0:
            total += weight * (market.ratio[market.columns[j], i] - 1.0)
            invested += weight
    return total + (1.0 - invested) * market.cash[i]


@device
def drift(market, row, i, held):
    """Weights at the end of interval i of what was held over it, in place: d = w·(1 + r)/(1 + R)."""
    growth = 1.0 + gross_return(market, row, i, held)
    first = market.starts[row]
    for j in range(first, market.starts[row + 1]):
        if held[j - first] > 0.0:
            held[j - first] *= market.ratio[market.columns[j], i] / growth


@device
def sell_ended(market, row, i, held):
    """A ticker whose data have ended by fill i is sold there."""
    first = market.starts[row]
    for j in range(first, market.starts[row + 1]):
        if np.isnan(market.ratio[market.columns[j], i]):
            held[j - first] = 0.0


@device
def weights_after_trading(market, row, i, held):
    """Weights held over interval i by who follows a row since the rebalancing decision in force."""
    decided = market.rebalance_of[i]
    aim(market, row, i if not market.carries else decided, held)
    if market.carries:
        for u in range(decided, i):
            drift(market, row, u, held)
            sell_ended(market, row, u + 1, held)


@device
def trade(market, before, was, now, held):
    """(τ, cost, whether the held set changes) of going from weights `was` of row `before` to `held` of row `now`.

    τ = Σ |w − d| over tickers, in column order.
    """
    a, a_end = 0, 0
    if before != NOTHING:
        a, a_end = market.starts[before], market.starts[before + 1]
    z, z_end = market.starts[now], market.starts[now + 1]
    a_first, z_first = a, z
    traded, cost, changed = 0.0, 0.0, 0
    while a < a_end or z < z_end:
        if a < a_end and was[a - a_first] == 0.0:
            a += 1
            continue
        if z < z_end and held[z - z_first] == 0.0:
            z += 1
            continue
        if z == z_end or (a < a_end and market.columns[a] < market.columns[z]):
            k, amount, changed = market.columns[a], was[a - a_first], 1
            a += 1
        elif a == a_end or market.columns[z] < market.columns[a]:
            k, amount, changed = market.columns[z], held[z - z_first], 1
            z += 1
        else:
            k, amount = market.columns[a], abs(held[z - z_first] - was[a - a_first])
            a += 1
            z += 1
        traded += amount
        cost += market.cost[k] * amount
    return traded, cost, changed


@device
def bar_vector(market, before, now, i, was, held, out):
    """Write the vector of interval i, all lanes but the path: row `now` is followed, row `before` was until then.

    was, held : work space for the weights of a row.
    """
    weights_after_trading(market, now, i, held)
    if before != NOTHING:
        weights_after_trading(market, before, i - 1, was)
        if market.carries:
            drift(market, before, i - 1, was)
    interval_vector(market, before, was, now, i, held, out)


@device
def interval_vector(market, before, was, now, i, held, out):
    """Write the vector of interval i, given the weights before and after trading at its fill."""
    traded, cost, changed = trade(market, before, was, now, held)
    gross = gross_return(market, now, i, held)
    growth = (1.0 - cost) * (1.0 + gross)
    if not market.carries:
        traded, growth = round_trip(market, now, i, gross, held)
    exposure, holdings, in_market = 0.0, 0, 0
    first = market.starts[now]
    for j in range(first, market.starts[now + 1]):
        if held[j - first] > 0.0:
            holdings += 1
            if not market.cash_like[market.columns[j]]:
                exposure += held[j - first]
                in_market = 1
    put_return(market, growth - 1.0, market.benchmark[i], out)
    out[IN_MARKET] = in_market
    out[EXPOSURE] = np.int64(np.rint(exposure * market.scales[EXPOSURE]))
    out[TRADES] = changed
    out[TURNOVER] = np.int64(np.rint(traded * market.scales[TURNOVER]))
    out[HOLDINGS] = holdings


@device
def put_return(market, gained, benchmark, out):
    """Write the lanes of a net return. A return of 0 leaves nothing in any of them."""
    scales, units = market.scales, market.units
    multiple = np.rint(gained * scales[RETURN])
    if multiple == 0.0:
        out[:PATH] = 0
        return
    r = multiple * units[RETURN]
    down = min(r, 0.0)
    out[LOG] = np.int64(np.rint(log(1.0 + r) * scales[LOG]))
    out[RETURN] = np.int64(multiple)
    put_product(out, SQUARE, r * r, scales, units)
    put_product(out, CUBE, r * r * r, scales, units)
    put_product(out, FOURTH, r * r * r * r, scales, units)
    put_product(out, DOWNSIDE, down * down, scales, units)
    put_product(out, CROSS, 0.0 if np.isnan(benchmark) else r * benchmark, scales, units)
    out[UP] = np.int64(r > 0.0)
    out[DOWN] = np.int64(r < 0.0)


@device
def round_trip(market, row, i, gross, held):
    """(τ, growth) of buying at the entry and selling at the exit: (1 − Σ c·w)(1 + R)(1 − Σ c·d), τ = Σ w + Σ d."""
    traded, bought, sold = 0.0, 0.0, 0.0
    first = market.starts[row]
    for j in range(first, market.starts[row + 1]):
        k, weight = market.columns[j], held[j - first]
        if weight > 0.0:
            drifted = weight * market.ratio[k, i] / (1.0 + gross)
            traded += weight + drifted
            bought += market.cost[k] * weight
            sold += market.cost[k] * drifted
    return traded, (1.0 - bought) * (1.0 + gross) * (1.0 - sold)


@device
def put_product(out, lane, value, scales, units):
    """Split a product of returns into its coarse and its fine lane."""
    coarse = np.rint(value * scales[lane])
    out[lane] = np.int64(coarse)
    out[lane + 1] = np.int64(np.rint((value - coarse * units[lane]) * scales[lane + 1]))


@device
def work_space(starts):
    """Room for the weights of the longest row."""
    longest = 1
    for row in range(starts.shape[0] - 1):
        longest = max(longest, starts[row + 1] - starts[row])
    return np.zeros(longest)
