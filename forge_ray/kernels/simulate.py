"""The scalar simulation kernel (S): from position paths to sums per class and drawdowns per segment.

A bar's contribution depends only on (held before, held now, bar): a vector of `N_LANES` integers. The net return and
its log are rounded once to a multiple of 2⁻⁴⁷ and every other summand to its own grid, and what is added are the
integer multiples. Integer additions are exact, so no order, grouping or kernel can change a sum, and the bars between
two switches cost one subtraction of prefix sums. Products of returns span many magnitudes (a fourth power of 10⁻⁴ next
to one of 0.5), so each takes two lanes: multiples of a coarse grid, and of one 2⁴¹ finer for what is left.

1. `stay_table`: for each sleeve the vector of every bar on which the sleeve was already held. The caller turns it into
   prefix sums.
2. `simulate`: per branch walk the runs; inside a run walk the stretches of one sleeve; a switch bar takes its own
   vector (kept in `pairs` once computed), the rest of the stretch a difference of prefix sums. Drawdown is scanned.
3. Runs are folded into the segments they belong to as (sum, high, low, drawdown) of the log equity.

Decision i is the i-th traded bar; it is filled at bar ``first_fill + i`` and earns until the next bar.
"""

from __future__ import annotations

import numpy as np

from forge_ray.kernels.compile import device, kernel
from forge_ray.kernels.elementary import log

LOG, RETURN, UP, DOWN, IN_MARKET, EXPOSURE, TRADES, TURNOVER, HOLDINGS = range(9)
SQUARE, CUBE, FOURTH, DOWNSIDE, CROSS = range(9, 19, 2)
PATH = 19
N_LANES = 21
RETURN_BITS = 47
FINER = 2.0**41
NOTHING = -1


@device
def is_tradable(close, k, t):
    """A ticker can be held from bar t on if it has a price there."""
    return not np.isnan(close[k, t])


@device
def price_ratio(close, k, t):
    """Price at bar t + 1 over price at bar t; a ticker whose data end at t stays at its last price."""
    return 1.0 if np.isnan(close[k, t + 1]) else close[k, t + 1] / close[k, t]


@device
def gross_return(row, t, starts, columns, weights, close, cash):
    """Return of a row of target weights from bar t to t + 1; what is not invested earns `cash`."""
    total, invested = 0.0, 0.0
    for j in range(starts[row], starts[row + 1]):
        k = columns[j]
        if is_tradable(close, k, t):
            total += weights[j] * (price_ratio(close, k, t) - 1.0)
            invested += weights[j]
    return total + (1.0 - invested) * cash


@device
def turnover_of(before, now, t, starts, columns, weights, close, cash):
    """(τ, whether the held set changes) of going at bar t from the drifted row `before` to the row `now`.

    τ = Σ |w − d|, d = w_before·(1 + r)/(1 + R) with the returns of the interval that ends at t, in column order.
    """
    a, a_end, growth = 0, 0, 1.0
    if before != NOTHING:
        a, a_end = starts[before], starts[before + 1]
        growth += gross_return(before, t - 1, starts, columns, weights, close, cash)
    z, z_end = starts[now], starts[now + 1]
    traded, changed = 0.0, 0
    while a < a_end or z < z_end:
        if a < a_end and not is_tradable(close, columns[a], t - 1):
            a += 1
        elif z < z_end and not is_tradable(close, columns[z], t):
            z += 1
        elif z == z_end or (a < a_end and columns[a] < columns[z]):
            k = columns[a]
            traded += weights[a] * price_ratio(close, k, t - 1) / growth
            changed = 1
            a += 1
        elif a == a_end or columns[z] < columns[a]:
            traded += weights[z]
            changed = 1
            z += 1
        else:
            k = columns[a]
            traded += abs(weights[z] - weights[a] * price_ratio(close, k, t - 1) / growth)
            a += 1
            z += 1
    return traded, changed


@device
def bar_vector(before, now, t, starts, columns, weights, close, cash_like, cost, cash, benchmark, scales, out):
    """Write the vector of one bar, all lanes but the path: target row `now` filled at bar t, row `before` held until t.

    cost : per side, a fraction of equity. benchmark : its return over the interval, NaN where it has none.
    """
    traded, changed = turnover_of(before, now, t, starts, columns, weights, close, cash)
    gross = gross_return(now, t, starts, columns, weights, close, cash)
    exposure, holdings, in_market = 0.0, 0, 0
    for j in range(starts[now], starts[now + 1]):
        if is_tradable(close, columns[j], t):
            holdings += 1
            if not cash_like[columns[j]]:
                exposure += weights[j]
                in_market = 1
    multiple = np.rint(((1.0 - cost * traded) * (1.0 + gross) - 1.0) * scales[RETURN])
    r = multiple / scales[RETURN]
    down = min(r, 0.0)
    out[LOG] = np.int64(np.rint(log(1.0 + r) * scales[LOG]))
    out[RETURN] = np.int64(multiple)
    put_product(out, SQUARE, r * r, scales)
    put_product(out, CUBE, r * r * r, scales)
    put_product(out, FOURTH, r * r * r * r, scales)
    put_product(out, DOWNSIDE, down * down, scales)
    put_product(out, CROSS, 0.0 if np.isnan(benchmark) else r * benchmark, scales)
    out[UP] = np.int64(r > 0.0)
    out[DOWN] = np.int64(r < 0.0)
    out[IN_MARKET] = in_market
    out[EXPOSURE] = np.int64(np.rint(exposure * scales[EXPOSURE]))
    out[TRADES] = changed
    out[TURNOVER] = np.int64(np.rint(traded * scales[TURNOVER]))
    out[HOLDINGS] = holdings


@device
def put_product(out, lane, value, scales):
    """Split a product of returns into its coarse and its fine lane."""
    coarse = np.rint(value * scales[lane])
    out[lane] = np.int64(coarse)
    out[lane + 1] = np.int64(np.rint((value - coarse / scales[lane]) * scales[lane + 1]))


@kernel(
    "in i8[:,:], in i8, in i8[:], in i8[:], in f8[:], in f8[:,:], in b1[:], in f8, in f8, in f8[:], in f8[:],"
    " in i8[:,:,:], out i8[:,:,:]"
)
def stay_table(
    rows, first_fill, starts, columns, weights, close, cash_like, cost, cash, benchmark, scales, paths, out
):
    """Vectors of holding each sleeve without a switch; on bar 0 it is bought from cash.

    rows : (n_sleeves, n) row of target weights per decision. starts, columns, weights : the rows, sparse, columns
    ascending, weights > 0. close : (n_tickers, n_bars), NaN where not alive. cash_like : (n_tickers,).
    benchmark : (n,). scales : (N_LANES,) multiples per unit, powers of two. paths : (n_sleeves, n, 2) hash of what is held.
    out : (n_sleeves, n, N_LANES), written in full.
    """
    for s in range(rows.shape[0]):
        for i in range(rows.shape[1]):
            before = rows[s, i - 1] if i > 0 else NOTHING
            bar_vector(
                before, rows[s, i], first_fill + i, starts, columns, weights, close, cash_like, cost, cash,
                benchmark[i], scales, out[s, i],
            )  # fmt: skip
            out[s, i, PATH] = paths[s, i, 0]
            out[s, i, PATH + 1] = paths[s, i, 1]


@kernel(
    "in u8[:,:,:], in i8, in i8[:,:], in i8[:,:,:], in i8[:,:], in i8, in i8[:], in i8[:], in f8[:], in f8[:,:],"
    " in b1[:], in f8, in f8, in f8[:], in f8[:], in i8[:,:,:], in i8[:,:], in b1[:,:],"
    " out b1[:,:,:], out i8[:,:,:,:], out i8[:], out i8[:,:,:], out i8[:,:]"
)
def simulate(
    planes, first_bar, logs, prefix, rows, first_fill, starts, columns, weights, close, cash_like, cost, cash,
    benchmark, scales, paths, runs, class_in_segment, pair_known, pairs, sleeve_of, sums, drawdowns,
):  # fmt: skip
    """Sums per class and drawdown per segment for every branch.

    planes : (n_branches, n_planes, n_words) bits of the sleeve number, bar t at bit t; decision i is bar first_bar + i.
    logs : (n_sleeves, n) log lane of the stay table. prefix : (n_sleeves, n + 1, N_LANES) its prefix sums.
    rows … paths : as in `stay_table`. runs : (n_runs, 3) first decision, last + 1, class.
    class_in_segment : (n_classes, n_segments). pair_known, pairs : (n_sleeves, n_sleeves, n[, N_LANES]) switch vectors
    computed so far, or with n = 0 to keep none. sleeve_of : (n,) work space.
    sums : (n_branches, n_classes, N_LANES) and drawdowns : (n_branches, n_segments), written in full.
    """
    n_segments = class_in_segment.shape[1]
    keep_pairs = pair_known.shape[2] > 0
    vector = np.zeros(N_LANES, np.int64)
    level, high = np.zeros(n_segments, np.int64), np.zeros(n_segments, np.int64)
    for b in range(planes.shape[0]):
        decode_sleeves(planes, b, first_bar, sleeve_of)
        sums[b] = 0
        drawdowns[b] = 0
        level[:] = 0
        high[:] = 0
        held = NOTHING
        for run in range(runs.shape[0]):
            i, end, c = runs[run, 0], runs[run, 1], runs[run, 2]
            equity, peak, low, drawdown = 0, 0, 0, 0
            while i < end:
                sleeve = sleeve_of[i]
                if i > 0 and sleeve != held:
                    if keep_pairs and pair_known[held, sleeve, i]:
                        for lane in range(N_LANES):
                            vector[lane] = pairs[held, sleeve, i, lane]
                    else:
                        bar_vector(
                            rows[held, i - 1], rows[sleeve, i], first_fill + i, starts, columns, weights, close,
                            cash_like, cost, cash, benchmark[i], scales, vector,
                        )  # fmt: skip
                        vector[PATH] = paths[sleeve, i, 0]
                        vector[PATH + 1] = paths[sleeve, i, 1]
                        if keep_pairs:
                            pair_known[held, sleeve, i] = True
                            for lane in range(N_LANES):
                                pairs[held, sleeve, i, lane] = vector[lane]
                    for lane in range(N_LANES):
                        sums[b, c, lane] += vector[lane]
                    equity += vector[LOG]
                    peak, low = max(peak, equity), min(low, equity)
                    drawdown = max(drawdown, peak - equity)
                    i += 1
                first = i
                while i < end and sleeve_of[i] == sleeve:
                    equity += logs[sleeve, i]
                    peak, low = max(peak, equity), min(low, equity)
                    drawdown = max(drawdown, peak - equity)
                    i += 1
                for lane in range(N_LANES):
                    sums[b, c, lane] += prefix[sleeve, i, lane] - prefix[sleeve, first, lane]
                held = sleeve
            for s in range(n_segments):
                if class_in_segment[c, s]:
                    drawdowns[b, s] = max(drawdowns[b, s], drawdown, high[s] - (level[s] + low))
                    high[s] = max(high[s], level[s] + peak)
                    level[s] += equity


@device
def decode_sleeves(planes, b, first_bar, out):
    """Sleeve number of every decision of branch b."""
    out[:] = 0
    for p in range(planes.shape[1]):
        for i in range(out.shape[0]):
            t = first_bar + i
            bit = (planes[b, p, t >> 6] >> np.uint64(t & 63)) & np.uint64(1)
            out[i] |= np.int64(bit) << p
