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
3. `simulate_patch`: a branch near a known one takes its vectors but where it, or the bar before, holds another row.
4. Runs are folded into the segments they belong to as (sum, high, low, drawdown) of the log equity.

Decision i is the i-th traded one; it is filled at bar ``first_fill + i``. What it holds earns over *interval* i, from
the entry price of that bar to the exit price of that bar or the next (``step``). Modes that carry positions trade from
the drifted weights to the target; the others buy and sell inside each interval. Between two rebalancing decisions
shares drift: the weights of a bar then follow from the row that was decided at ``rebalance_of[i]``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from forge_ray.kernels.compile import device, kernel
from forge_ray.kernels.elementary import log

LOG, RETURN, UP, DOWN, IN_MARKET, EXPOSURE, TRADES, TURNOVER, HOLDINGS = range(9)
SQUARE, CUBE, FOURTH, DOWNSIDE, CROSS = range(9, 19, 2)
PATH = 19
N_LANES = 21
RETURN_BITS = 47
FINER = 2.0**41
SAME_TARGET = 1e-12
NOTHING = -1


class Market(NamedTuple):
    """What every vector depends on besides the rows held.

    entry, exit, close : (n_tickers, n_bars) prices, NaN where not alive. step : bars from the entry's to the exit's.
    carries : positions stay over the end of an interval. cost : (n_tickers,) per side, a fraction of equity.
    cash : (n,) return of cash per interval. cash_like : (n_tickers,). benchmark : (n,) return, NaN where it has none.
    scales : (N_LANES,) multiples per unit, powers of two. rebalance_of : (n,) the rebalancing decision in force.
    starts, columns, weights : rows of target weights, sparse; row j is ``starts[j]:starts[j + 1]``, columns ascending,
    weights > 0.
    """

    entry: Any
    exit: Any
    close: Any
    step: Any
    first_fill: Any
    carries: Any
    cost: Any
    cash: Any
    cash_like: Any
    benchmark: Any
    scales: Any
    rebalance_of: Any
    starts: Any
    columns: Any
    weights: Any


MARKET = (
    "in f8[:,:], in f8[:,:], in f8[:,:], in i8, in i8, in b1, in f8[:], in f8[:], in b1[:], in f8[:], in f8[:],"
    " in i8[:], in i8[:], in i8[:], in f8[:]"
)


@device
def is_tradable(market, k, i):
    """A ticker can be held over interval i if it has a price at its entry."""
    return not np.isnan(market.entry[k, market.first_fill + i])


@device
def price_ratio(market, k, i):
    """Exit over entry price of interval i; a ticker whose data end there leaves at its last close."""
    t = market.first_fill + i
    price = market.exit[k, t + market.step]
    if np.isnan(price):
        price = market.close[k, t]
    return price / market.entry[k, t]


@device
def aim(market, row, i, held):
    """Target weights of a row at fill i; a ticker that cannot be bought is cash."""
    first = market.starts[row]
    for j in range(first, market.starts[row + 1]):
        held[j - first] = market.weights[j] if is_tradable(market, market.columns[j], i) else 0.0


@device
def gross_return(market, row, i, held):
    """Return of weights `held` over interval i; what is not invested earns the return of cash."""
    total, invested = 0.0, 0.0
    first = market.starts[row]
    for j in range(first, market.starts[row + 1]):
        weight = held[j - first]
        if weight > 0.0:
            total += weight * (price_ratio(market, market.columns[j], i) - 1.0)
            invested += weight
    return total + (1.0 - invested) * market.cash[i]


@device
def drift(market, row, i, held):
    """Weights at the end of interval i of what was held over it, in place: d = w·(1 + r)/(1 + R)."""
    growth = 1.0 + gross_return(market, row, i, held)
    first = market.starts[row]
    for j in range(first, market.starts[row + 1]):
        if held[j - first] > 0.0:
            held[j - first] *= price_ratio(market, market.columns[j], i) / growth


@device
def sell_ended(market, row, i, held):
    """A ticker whose data have ended by fill i is sold there."""
    first = market.starts[row]
    for j in range(first, market.starts[row + 1]):
        if not is_tradable(market, market.columns[j], i):
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
    scales = market.scales
    multiple = np.rint((growth - 1.0) * scales[RETURN])
    r = multiple / scales[RETURN]
    down = min(r, 0.0)
    benchmark = market.benchmark[i]
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
def round_trip(market, row, i, gross, held):
    """(τ, growth) of buying at the entry and selling at the exit: (1 − Σ c·w)(1 + R)(1 − Σ c·d), τ = Σ w + Σ d."""
    traded, bought, sold = 0.0, 0.0, 0.0
    first = market.starts[row]
    for j in range(first, market.starts[row + 1]):
        k, weight = market.columns[j], held[j - first]
        if weight > 0.0:
            drifted = weight * price_ratio(market, k, i) / (1.0 + gross)
            traded += weight + drifted
            bought += market.cost[k] * weight
            sold += market.cost[k] * drifted
    return traded, (1.0 - bought) * (1.0 + gross) * (1.0 - sold)


@device
def put_product(out, lane, value, scales):
    """Split a product of returns into its coarse and its fine lane."""
    coarse = np.rint(value * scales[lane])
    out[lane] = np.int64(coarse)
    out[lane + 1] = np.int64(np.rint((value - coarse / scales[lane]) * scales[lane + 1]))


@device
def work_space(starts):
    """Room for the weights of the longest row."""
    longest = 1
    for row in range(starts.shape[0] - 1):
        longest = max(longest, starts[row + 1] - starts[row])
    return np.zeros(longest)


@kernel(f"{MARKET}, in i8[:,:], in i8[:,:,:], out i8[:,:,:]")
def stay_table(
    entry, exit, close, step, first_fill, carries, cost, cash, cash_like, benchmark, scales, rebalance_of, starts,
    columns, weights, rows, paths, out,
):  # fmt: skip
    """Vectors of following each sleeve without a switch; at decision 0 it is bought from cash.

    entry … weights : see `Market`. rows : (n_sleeves, n) row of target weights in force per decision.
    paths : (n_sleeves, n, 2) hash of what is followed. out : (n_sleeves, n, N_LANES), written in full.
    """
    market = Market(
        entry, exit, close, step, first_fill, carries, cost, cash, cash_like, benchmark, scales, rebalance_of, starts,
        columns, weights,
    )  # fmt: skip
    was, held = work_space(starts), work_space(starts)
    for s in range(rows.shape[0]):
        for i in range(rows.shape[1]):
            bar_vector(market, rows[s, i - 1] if i > 0 else NOTHING, rows[s, i], i, was, held, out[s, i])
            out[s, i, PATH], out[s, i, PATH + 1] = paths[s, i, 0], paths[s, i, 1]


@kernel(
    f"{MARKET}, in i8[:,:], in i8[:,:,:], in u8[:,:,:], in i8, in i8[:,:], in i8[:,:,:], in i8[:,:], in b1[:,:],"
    " out b1[:,:,:], out i8[:,:,:,:], out i8[:,:,:], out i8[:,:]"
)
def simulate(
    entry, exit, close, step, first_fill, carries, cost, cash, cash_like, benchmark, scales, rebalance_of, starts,
    columns, weights, rows, paths, planes, first_bar, logs, prefix, runs, class_in_segment, is_known, switches, sums,
    drawdowns,
):  # fmt: skip
    """Sums per class and drawdown per segment for every branch.

    entry … paths : as in `stay_table`.
    planes : (n_branches, n_planes, n_words) bits of the sleeve number, bar t at bit t; decision i is bar first_bar + i.
    logs : (n_sleeves, n) log lane of the stay table. prefix : (n_sleeves, n + 1, N_LANES) its prefix sums.
    runs : (n_runs, 3) first decision, last + 1, class. class_in_segment : (n_classes, n_segments).
    is_known, switches : (n_sleeves, n_sleeves, n[, N_LANES + 1]) switch vectors computed so far, or with n = 1 to keep
    none. sums : (n_branches, n_classes, N_LANES) and drawdowns : (n_branches, n_segments), written in full.
    """
    market = Market(
        entry, exit, close, step, first_fill, carries, cost, cash, cash_like, benchmark, scales, rebalance_of, starts,
        columns, weights,
    )  # fmt: skip
    n_segments = class_in_segment.shape[1]
    keeps = is_known.shape[2] == rows.shape[1]
    total, sleeve_of = np.zeros(N_LANES, np.int64), np.zeros(rows.shape[1], np.int64)
    was, held = work_space(starts), work_space(starts)
    level, high = np.zeros(n_segments, np.int64), np.zeros(n_segments, np.int64)
    for b in range(planes.shape[0]):
        decode_sleeves(planes, b, first_bar, rebalance_of, sleeve_of)
        sums[b] = 0
        drawdowns[b] = 0
        level[:] = 0
        high[:] = 0
        current = sleeve_of[0]
        for run in range(runs.shape[0]):
            first, last, c = runs[run, 0], runs[run, 1], runs[run, 2]
            equity, peak, low, drawdown = 0, 0, 0, 0
            total[:] = 0
            add_lanes(total, prefix[current, first], -1)
            for i in range(first, last):
                sleeve = sleeve_of[i]
                if sleeve == current:
                    equity += logs[sleeve, i]
                else:
                    at = i if keeps else 0
                    vector = switches[current, sleeve, at]
                    if not (keeps and is_known[current, sleeve, at]):
                        switch_vector(market, current, sleeve, i, rows, paths, prefix, was, held, vector)
                        is_known[current, sleeve, at] = True
                    add_lanes(total, vector, 1)
                    equity += vector[N_LANES]
                    current = sleeve
                peak, low = max(peak, equity), min(low, equity)
                drawdown = max(drawdown, peak - equity)
            add_lanes(total, prefix[current, last], 1)
            add_lanes(sums[b, c], total, 1)
            fold_run(class_in_segment[c], equity, peak, low, drawdown, level, high, drawdowns[b])


@kernel(
    f"{MARKET}, in i8[:], in i8[:], in i8[:,:], in i8[:,:], in i8[:,:], in i8[:,:], in b1[:,:], out i8[:,:], out i8[:]"
)
def simulate_patch(
    entry, exit, close, step, first_fill, carries, cost, cash, cash_like, benchmark, scales, rebalance_of, starts,
    columns, weights, rows, at, paths, vectors, base_sums, runs, class_in_segment, sums, drawdowns,
):  # fmt: skip
    """`simulate` for one branch that is a base branch but for some decisions: their vectors are exchanged.

    entry … weights : as in `stay_table`. rows : (n,) row in force per decision. at : (m,) decisions whose vector may be
    another, ascending: those with another row, and those after one. paths : (m, 2) hash of what is followed there.
    vectors : (n, N_LANES) of the base branch. base_sums : (n_classes, N_LANES) of it.
    sums : (n_classes, N_LANES) and drawdowns : (n_segments,), written in full.
    """
    market = Market(
        entry, exit, close, step, first_fill, carries, cost, cash, cash_like, benchmark, scales, rebalance_of, starts,
        columns, weights,
    )  # fmt: skip
    n_segments = class_in_segment.shape[1]
    was, held, vector = work_space(starts), work_space(starts), np.zeros(N_LANES, np.int64)
    level, high = np.zeros(n_segments, np.int64), np.zeros(n_segments, np.int64)
    sums[:] = base_sums
    drawdowns[:] = 0
    j = 0
    for run in range(runs.shape[0]):
        equity, peak, low, drawdown = 0, 0, 0, 0
        c = runs[run, 2]
        for i in range(runs[run, 0], runs[run, 1]):
            if j < at.shape[0] and at[j] == i:
                bar_vector(market, rows[i - 1] if i > 0 else NOTHING, rows[i], i, was, held, vector)
                vector[PATH], vector[PATH + 1] = paths[j, 0], paths[j, 1]
                add_lanes(sums[c], vector, 1)
                add_lanes(sums[c], vectors[i], -1)
                equity += vector[LOG]
                j += 1
            else:
                equity += vectors[i, LOG]
            peak, low = max(peak, equity), min(low, equity)
            drawdown = max(drawdown, peak - equity)
        fold_run(class_in_segment[c], equity, peak, low, drawdown, level, high, drawdowns)


@device
def fold_run(in_segment, equity, peak, low, drawdown, level, high, drawdowns):
    """Append a run (sum, high, low, drawdown of its log equity) to every segment that it belongs to."""
    for s in range(in_segment.shape[0]):
        if in_segment[s]:
            drawdowns[s] = max(drawdowns[s], drawdown, high[s] - (level[s] + low))
            high[s] = max(high[s], level[s] + peak)
            level[s] += equity


@device
def switch_vector(market, before, now, i, rows, paths, prefix, was, held, out):
    """What going from one sleeve to another at decision i adds to a sum that ends the prefix of the one and begins that
    of the other: its own vector, plus the prefix of `before` up to i, minus that of `now` up to i + 1. The log alone of
    the interval comes last."""
    bar_vector(market, rows[before, i - 1], rows[now, i], i, was, held, out)
    out[PATH], out[PATH + 1] = paths[now, i, 0], paths[now, i, 1]
    out[N_LANES] = out[LOG]
    add_lanes(out, prefix[before, i], 1)
    add_lanes(out, prefix[now, i + 1], -1)


@device
def add_lanes(total, vector, sign):
    for lane in range(N_LANES):
        total[lane] += sign * vector[lane]


@device
def decode_sleeves(planes, b, first_bar, rebalance_of, out):
    """Sleeve number in force at every decision of branch b. Word by word, so that the inner loop only shifts."""
    out[:] = 0
    for p in range(planes.shape[1]):
        for w in range(first_bar >> 6, planes.shape[2]):
            word, start = planes[b, p, w], (w << 6) - first_bar
            for j in range(max(0, -start), min(64, out.shape[0] - start)):
                out[start + j] |= np.int64((word >> np.uint64(j)) & np.uint64(1)) << p
    for i in range(out.shape[0]):
        out[i] = out[rebalance_of[i]]


@kernel(
    f"{MARKET}, in i8[:,:], in i8[:,:,:], in u8[:,:,:], in i8, in f8, in i8[:,:], in b1[:,:],"
    " out i8[:,:,:], out i8[:,:]"
)
def simulate_path(
    entry, exit, close, step, first_fill, carries, cost, cash, cash_like, benchmark, scales, rebalance_of, starts,
    columns, weights, rows, paths, planes, first_bar, threshold, runs, class_in_segment, sums, drawdowns,
):  # fmt: skip
    """`simulate` for rules that trade by what is held: one branch at a time, bar by bar, from the drifted weights.

    threshold : trade everything to target when a weight is further than this from its target, or when the set of held
    tickers changes; below 0: when the target differs from that of the last trade by more than `SAME_TARGET`.
    """
    market = Market(
        entry, exit, close, step, first_fill, carries, cost, cash, cash_like, benchmark, scales, rebalance_of, starts,
        columns, weights,
    )  # fmt: skip
    n_segments = class_in_segment.shape[1]
    vector, sleeve_of = np.zeros(N_LANES, np.int64), np.zeros(rows.shape[1], np.int64)
    was, held = work_space(starts), work_space(starts)
    target, aimed = work_space(starts), work_space(starts)
    level, high = np.zeros(n_segments, np.int64), np.zeros(n_segments, np.int64)
    for b in range(planes.shape[0]):
        decode_sleeves(planes, b, first_bar, rebalance_of, sleeve_of)
        sums[b] = 0
        drawdowns[b] = 0
        level[:] = 0
        high[:] = 0
        row = NOTHING
        for run in range(runs.shape[0]):
            equity, peak, low, drawdown = 0, 0, 0, 0
            c = runs[run, 2]
            for i in range(runs[run, 0], runs[run, 1]):
                before, now = row, rows[sleeve_of[i], i]
                if before != NOTHING:
                    was[:] = held
                    drift(market, before, i - 1, was)
                aim(market, now, i, target)
                reference, limit = (aimed, SAME_TARGET) if threshold < 0.0 else (was, threshold)
                if before == NOTHING or must_trade(market, before, was, reference, now, i, target, limit):
                    row = now
                    held[:] = target
                    aimed[:] = target
                else:
                    held[:] = was
                interval_vector(market, before, was, row, i, held, vector)
                vector[PATH], vector[PATH + 1] = paths[sleeve_of[i], i, 0], paths[sleeve_of[i], i, 1]
                add_lanes(sums[b, c], vector, 1)
                equity += vector[LOG]
                peak, low = max(peak, equity), min(low, equity)
                drawdown = max(drawdown, peak - equity)
            fold_run(class_in_segment[c], equity, peak, low, drawdown, level, high, drawdowns[b])


@device
def must_trade(market, before, was, reference, now, i, target, limit):
    """Whether the rule trades at fill i: the tickers change, or a weight is further than `limit` from `reference`.

    A held ticker whose data have ended always makes it trade. reference : weights of row `before` to compare with.
    """
    a, a_end, z, z_end = market.starts[before], market.starts[before + 1], market.starts[now], market.starts[now + 1]
    a_first, z_first = a, z
    for j in range(a, a_end):
        if was[j - a_first] > 0.0 and not is_tradable(market, market.columns[j], i):
            return True
    while a < a_end or z < z_end:
        if a < a_end and reference[a - a_first] == 0.0:
            a += 1
        elif z < z_end and target[z - z_first] == 0.0:
            z += 1
        elif (
            a == a_end
            or z == z_end
            or market.columns[a] != market.columns[z]
            or abs(target[z - z_first] - reference[a - a_first]) > limit
        ):
            return True
        else:
            a += 1
            z += 1
    return False
