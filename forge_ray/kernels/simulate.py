"""The scalar simulation kernel (S): from position paths to sums per class and drawdowns per segment.

A bar's contribution depends only on (held before, held now, bar): a vector of `N_LANES` integers. The net return and
its log are rounded once to a multiple of 2⁻⁴⁷ and every other summand to its own grid, and what is added are the
integer multiples. Integer additions are exact, so no order, grouping or kernel can change a sum, and the bars between
two switches cost one subtraction of prefix sums. Products of returns span many magnitudes (a fourth power of 10⁻⁴ next
to one of 0.5), so each takes two lanes: multiples of a coarse grid, and of one 2⁴¹ finer for what is left.

1. `stay_table`: for each sleeve the vector of every bar on which the sleeve was already held. The caller turns it into
   prefix sums.
2. `simulate`: per branch walk the runs. The sum of a run is the prefix of its last sleeve minus that of its first plus,
   for each switch, a vector that mends the prefixes on both sides (kept once computed). Drawdown is scanned bar by bar.
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
def stay_table(rows, first_fill, starts, columns, weights, close, cash_like, cost, cash, benchmark, scales, paths, out):
    """Vectors of holding each sleeve without a switch; on bar 0 it is bought from cash.

    rows : (n_sleeves, n) row of target weights per decision. starts, columns, weights : the rows, sparse, columns
    ascending, weights > 0. close : (n_tickers, n_bars), NaN where not alive. cash_like : (n_tickers,).
    benchmark : (n,). scales : (N_LANES,) multiples per unit, powers of two. paths : (n_sleeves, n, 2) hash of what is
    held. out : (n_sleeves, n, N_LANES), written in full.
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
    benchmark, scales, paths, runs, class_in_segment, is_known, switches, sleeve_of, sums, drawdowns,
):  # fmt: skip
    """Sums per class and drawdown per segment for every branch.

    planes : (n_branches, n_planes, n_words) bits of the sleeve number, bar t at bit t; decision i is bar first_bar + i.
    logs : (n_sleeves, n) log lane of the stay table. prefix : (n_sleeves, n + 1, N_LANES) its prefix sums.
    rows … paths : as in `stay_table`. runs : (n_runs, 3) first decision, last + 1, class.
    class_in_segment : (n_classes, n_segments). is_known, switches : (n_sleeves, n_sleeves, n[, N_LANES + 1]) switch
    vectors computed so far, or with n = 1 to keep none. sleeve_of : (n,) work space.
    sums : (n_branches, n_classes, N_LANES) and drawdowns : (n_branches, n_segments), written in full.
    """
    n_segments = class_in_segment.shape[1]
    keeps = is_known.shape[2] == sleeve_of.shape[0]
    total = np.zeros(N_LANES, np.int64)
    level, high = np.zeros(n_segments, np.int64), np.zeros(n_segments, np.int64)
    for b in range(planes.shape[0]):
        decode_sleeves(planes, b, first_bar, sleeve_of)
        sums[b] = 0
        drawdowns[b] = 0
        level[:] = 0
        high[:] = 0
        held = sleeve_of[0]
        for run in range(runs.shape[0]):
            first, last, c = runs[run, 0], runs[run, 1], runs[run, 2]
            equity, peak, low, drawdown = 0, 0, 0, 0
            total[:] = 0
            add_lanes(total, prefix[held, first], -1)
            for i in range(first, last):
                sleeve = sleeve_of[i]
                if sleeve == held:
                    equity += logs[sleeve, i]
                else:
                    at = i if keeps else 0
                    vector = switches[held, sleeve, at]
                    if not (keeps and is_known[held, sleeve, at]):
                        switch_vector(
                            held, sleeve, i, prefix, rows, first_fill, starts, columns, weights, close, cash_like,
                            cost, cash, benchmark, scales, paths, vector,
                        )  # fmt: skip
                        is_known[held, sleeve, at] = True
                    add_lanes(total, vector, 1)
                    equity += vector[N_LANES]
                    held = sleeve
                peak, low = max(peak, equity), min(low, equity)
                drawdown = max(drawdown, peak - equity)
            add_lanes(total, prefix[held, last], 1)
            add_lanes(sums[b, c], total, 1)
            for s in range(n_segments):
                if class_in_segment[c, s]:
                    drawdowns[b, s] = max(drawdowns[b, s], drawdown, high[s] - (level[s] + low))
                    high[s] = max(high[s], level[s] + peak)
                    level[s] += equity


@device
def switch_vector(
    before, now, i, prefix, rows, first_fill, starts, columns, weights, close, cash_like, cost, cash, benchmark,
    scales, paths, out,
):  # fmt: skip
    """What going from one sleeve to another at decision i adds to a sum that ends the prefix of the one and begins that
    of the other: its own vector, plus the prefix of `before` up to i, minus that of `now` up to i + 1. The log alone of
    the bar comes last."""
    bar_vector(
        rows[before, i - 1], rows[now, i], first_fill + i, starts, columns, weights, close, cash_like, cost, cash,
        benchmark[i], scales, out,
    )  # fmt: skip
    out[PATH], out[PATH + 1] = paths[now, i, 0], paths[now, i, 1]
    out[N_LANES] = out[LOG]
    add_lanes(out, prefix[before, i], 1)
    add_lanes(out, prefix[now, i + 1], -1)


@device
def add_lanes(total, vector, sign):
    for lane in range(N_LANES):
        total[lane] += sign * vector[lane]


@device
def decode_sleeves(planes, b, first_bar, out):
    """Sleeve number of every decision of branch b. Word by word, so that the inner loop only shifts."""
    out[:] = 0
    for p in range(planes.shape[1]):
        for w in range(first_bar >> 6, planes.shape[2]):
            word, start = planes[b, p, w], (w << 6) - first_bar
            for j in range(max(0, -start), min(64, out.shape[0] - start)):
                out[start + j] |= np.int64((word >> np.uint64(j)) & np.uint64(1)) << p
