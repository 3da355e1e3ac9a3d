"""What a competent hour with Numba gives: a loop over bars per branch, with the work that forge_ray does.

The signals come in computed, once per value of a parameter. Per bar and class of days thirteen sums, the drawdown of
three segments and, where several tickers are held, the drift of their weights and the costs of trading back to target.

1. `single`: one ticker or cash, every threshold of one series; holding one ticker, nothing drifts.
2. `nested`: a decision tree over precomputed gates with leaves of several tickers; `followed`, where the leaf of every
   bar is known.
3. `simple`: what people usually write instead, thirteen metrics of the whole history, no split and nothing that drifts.

What was tried and is faster: the logarithms of returns come in computed where nothing drifts, and growth is multiplied
up where it does; the days of one class are gone through with plain variables; bars in cash are skipped; the leaves of
all bars are looked up before the days are walked.
"""

from __future__ import annotations

from numba import njit
from numpy import empty, exp, full, int32, log, nan, sqrt, zeros

N_SUMS = 13
LOG, RETURN, SQUARE, CUBE, FOURTH, DOWNSIDE, CROSS, UP, DOWN, EXPOSURE, TRADES, TURNOVER, HOLDINGS = range(N_SUMS)
IN_MARKET = N_SUMS
METRICS = (
    "total_return", "cagr", "volatility", "sharpe", "sortino", "max_drawdown", "calmar", "win_rate", "skew",
    "kurtosis_excess", "beta", "treynor", "time_in_market", "exposure", "timar", "timar_max_drawdown", "trades",
    "turnover", "average_holdings", "n_days",
)  # fmt: skip
SIMPLE_METRICS = (
    "total_return", "cagr", "volatility", "sharpe", "sortino", "max_drawdown", "calmar", "win_rate", "skew",
    "kurtosis_excess", "time_in_market", "trades", "turnover",
)  # fmt: skip
YEAR = 252.0


@njit(nogil=True, cache=True, error_model="numpy")
def single(series, below, thresholds, mask, returns, logs, benchmark, runs, constants, cost, out):
    """Metrics of holding one ticker while its series is below (or above) a threshold and a mask is true.

    series, mask, returns, logs, benchmark : (n,); decision i earns return i; logs are those of 1 + returns.
    runs : (n_runs, 3) first, last + 1, class of days that lie side by side.
    constants : (2, 3) days, sum of the benchmark, of its squares per class.
    out : (n_thresholds, 3, n_metrics) for full, is, oos.
    """
    sums, worst = empty((2, N_SUMS + 1)), zeros(3)
    level, peak, log_cost = empty(3), empty(3), log(1.0 - cost)
    for b in range(thresholds.shape[0]):
        threshold = thresholds[b]
        sums[:] = 0.0
        level[:] = 0.0
        peak[:] = 0.0
        worst[:] = 0.0
        before = False
        for k in range(runs.shape[0]):
            c = runs[k, 2]
            e, p, w = level[0], peak[0], worst[0]
            e1, p1, w1 = level[1 + c], peak[1 + c], worst[1 + c]
            total_log, s1, s2, s3, s4, down2, cross = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            up, down, held, trades = 0, 0, 0, 0
            for i in range(runs[k, 0], runs[k, 1]):
                now = (series[i] < threshold if below else series[i] > threshold) and mask[i]
                if not now and not before:
                    continue
                r, step = (returns[i], logs[i]) if now else (0.0, 0.0)
                if now != before:
                    r = (1.0 - cost) * (1.0 + r) - 1.0
                    step += log_cost
                    trades += 1
                before = now
                held += now
                square = r * r
                total_log += step
                s1 += r
                s2 += square
                s3 += square * r
                s4 += square * square
                low = min(r, 0.0)
                down2 += low * low
                cross += r * benchmark[i]
                up += r > 0.0
                down += r < 0.0
                e += step
                p = max(p, e)
                w = max(w, p - e)
                e1 += step
                p1 = max(p1, e1)
                w1 = max(w1, p1 - e1)
            level[0], peak[0], worst[0] = e, p, w
            level[1 + c], peak[1 + c], worst[1 + c] = e1, p1, w1
            total = sums[c]
            total[LOG] += total_log
            total[RETURN] += s1
            total[SQUARE] += s2
            total[CUBE] += s3
            total[FOURTH] += s4
            total[DOWNSIDE] += down2
            total[CROSS] += cross
            total[UP] += up
            total[DOWN] += down
            total[EXPOSURE] += held
            total[IN_MARKET] += held
            total[TRADES] += trades
            total[TURNOVER] += trades
            total[HOLDINGS] += held
        worst[:] = 1.0 - exp(-worst)
        metrics(sums, worst, constants, out[b])


@njit(nogil=True, cache=True, error_model="numpy")
def nested(gates, yes, no, starts, columns, weights, table, signals, returns, benchmark, runs, constants, cost, out):
    """Metrics of branches of one decision tree.

    gates, yes, no : (n_nodes,); node 0 is the root, a side below 0 is leaf ~side. table : (n_signals, n) bool, what a
    gate says. signals : (n_branches, n_gates) rows of the table. Others as in `followed` and `single`.
    """
    leaf_of = empty(returns.shape[1], int32)
    for b in range(signals.shape[0]):
        for i in range(leaf_of.shape[0]):
            node = 0
            while node >= 0:
                node = yes[node] if table[signals[b, gates[node]], i] else no[node]
            leaf_of[i] = ~node
        followed(starts, columns, weights, leaf_of, returns, benchmark, runs, constants, cost, out[b])


@njit(nogil=True, cache=True, error_model="numpy")
def followed(starts, columns, weights, leaf_of, returns, benchmark, runs, constants, cost, out):
    """Metrics of one branch.

    starts, columns, weights : leaves, sparse; leaf j is ``starts[j]:starts[j + 1]``, columns ascending. leaf_of : (n,)
    what each decision holds. returns : (n_tickers, n). out : (3, n_metrics). Others as in `single`.
    """
    sums, worst = empty((2, N_SUMS + 1)), zeros(3)
    equity, peak = empty(3), empty(3)
    longest = 1
    for leaf in range(starts.shape[0] - 1):
        longest = max(longest, starts[leaf + 1] - starts[leaf])
    drifted = zeros(longest)
    sums[:] = 0.0
    sums[:, LOG] = 1.0
    equity[:] = 1.0
    peak[:] = 1.0
    worst[:] = 0.0
    before = -1
    for k in range(runs.shape[0]):
        c = runs[k, 2]
        e, p, w = equity[0], peak[0], worst[0]
        e1, p1, w1 = equity[1 + c], peak[1 + c], worst[1 + c]
        product, s1, s2, s3, s4, down2, cross = 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        turnover, exposure = 0.0, 0.0
        up, down, held, trades, holdings = 0, 0, 0, 0, 0
        for i in range(runs[k, 0], runs[k, 1]):
            leaf = leaf_of[i]
            first, last = starts[leaf], starts[leaf + 1]
            if first == last and leaf == before:
                continue
            tau = 0.0
            if leaf == before:
                for j in range(first, last):
                    tau += abs(weights[j] - drifted[j - first])
            else:
                a = starts[before] if before >= 0 else 0
                a_first, a_last = a, starts[before + 1] if before >= 0 else 0
                z, same = first, True
                while a < a_last or z < last:
                    if z == last or (a < a_last and columns[a] < columns[z]):
                        tau += drifted[a - a_first]
                        a += 1
                        same = False
                    elif a == a_last or columns[z] < columns[a]:
                        tau += weights[z]
                        z += 1
                        same = False
                    else:
                        tau += abs(weights[z] - drifted[a - a_first])
                        a += 1
                        z += 1
                trades += not same
                before = leaf
            gross = 0.0
            for j in range(first, last):
                gross += weights[j] * returns[columns[j], i]
                exposure += weights[j]
            inverse = 1.0 / (1.0 + gross)
            for j in range(first, last):
                drifted[j - first] = weights[j] * (1.0 + returns[columns[j], i]) * inverse
            r = (1.0 - cost * tau) * (1.0 + gross) - 1.0
            turnover += tau
            held += last > first
            holdings += last - first
            growth = 1.0 + r
            square = r * r
            product *= growth
            s1 += r
            s2 += square
            s3 += square * r
            s4 += square * square
            low = min(r, 0.0)
            down2 += low * low
            cross += r * benchmark[i]
            up += r > 0.0
            down += r < 0.0
            e *= growth
            p = max(p, e)
            w = max(w, 1.0 - e / p)
            e1 *= growth
            p1 = max(p1, e1)
            w1 = max(w1, 1.0 - e1 / p1)
        equity[0], peak[0], worst[0] = e, p, w
        equity[1 + c], peak[1 + c], worst[1 + c] = e1, p1, w1
        total = sums[c]
        total[LOG] *= product
        total[RETURN] += s1
        total[SQUARE] += s2
        total[CUBE] += s3
        total[FOURTH] += s4
        total[DOWNSIDE] += down2
        total[CROSS] += cross
        total[UP] += up
        total[DOWN] += down
        total[EXPOSURE] += exposure
        total[IN_MARKET] += held
        total[TRADES] += trades
        total[TURNOVER] += turnover
        total[HOLDINGS] += holdings
    sums[:, LOG] = log(sums[:, LOG])
    metrics(sums, worst, constants, out)


@njit(nogil=True, cache=True, error_model="numpy")
def metrics(sums, worst, constants, out):
    """Twenty metrics of full, is and oos, NaN where undefined. The formulas are those of the README."""
    total, days = empty(N_SUMS + 1), empty(3)
    for s in range(3):
        first, last = (0, 2) if s == 0 else (s - 1, s)
        total[:] = 0.0
        days[:] = 0.0
        for c in range(first, last):
            total += sums[c]
            days += constants[c]
        n, b1, b2 = days[0], days[1], days[2]
        row = out[s]
        row[:] = nan
        drawdown, market, mean = worst[s], total[IN_MARKET] / n, total[RETURN] / n
        cagr = exp(total[LOG] * (YEAR / n)) - 1.0
        row[0], row[1], row[19] = exp(total[LOG]) - 1.0, cagr, n
        moments(total[RETURN], total[SQUARE], total[CUBE], total[FOURTH], total[DOWNSIDE], n, row[2:10])
        row[5] = drawdown
        row[6] = cagr / drawdown if drawdown > 0.0 else nan
        row[7] = total[UP] / (total[UP] + total[DOWN]) if total[UP] + total[DOWN] > 0.0 else nan
        row[10] = 0.0 if row[2] == 0.0 else (total[CROSS] - total[RETURN] * b1 / n) / (b2 - b1 * b1 / n)
        row[11] = YEAR * mean / row[10] if row[10] > 0.0 else nan
        row[12], row[13] = market, total[EXPOSURE] / n
        row[14] = cagr / market if market > 0.0 else nan
        row[15] = row[14] / drawdown if drawdown > 0.0 else nan
        row[16], row[17], row[18] = total[TRADES], YEAR * total[TURNOVER] / n, total[HOLDINGS] / n


@njit(nogil=True, cache=True, error_model="numpy")
def moments(s1, s2, s3, s4, down2, n, row):
    """Volatility, sharpe, sortino at 0 to 2 and skew, kurtosis at 6 and 7 of a row, from sums of powers."""
    mean = s1 / n
    if down2 > 0.0:
        row[2] = mean * sqrt(YEAR) / sqrt(down2 / n)
    squares = s2 - s1 * mean
    if squares <= 1e-12 * s2:
        row[0] = 0.0
        return
    deviation = sqrt(squares / (n - 1.0))
    row[0], row[1] = deviation * sqrt(YEAR), mean / deviation * sqrt(YEAR)
    m2 = squares / n
    m3 = s3 / n - 3.0 * mean * s2 / n + 2.0 * mean**3
    m4 = s4 / n - 4.0 * mean * s3 / n + 6.0 * mean * mean * s2 / n - 3.0 * mean**4
    row[6] = m3 / m2**1.5 * sqrt(n * (n - 1.0)) / (n - 2.0)
    row[7] = ((n + 1.0) * (m4 / (m2 * m2) - 3.0) + 6.0) * (n - 1.0) / ((n - 2.0) * (n - 3.0))


@njit(nogil=True, cache=True, error_model="numpy")
def simple(series, below, thresholds, returns, cost, out):
    """`SIMPLE_METRICS` of the whole history, (n_thresholds, 13): `single` without mask, split and benchmark."""
    n = series.shape[0]
    row = full(8, nan)
    for b in range(thresholds.shape[0]):
        threshold = thresholds[b]
        equity, peak, worst = 1.0, 1.0, 0.0
        s1, s2, s3, s4, down2 = 0.0, 0.0, 0.0, 0.0, 0.0
        up, down, held, trades, before = 0, 0, 0, 0, False
        for i in range(n):
            now = series[i] < threshold if below else series[i] > threshold
            r = returns[i] if now else 0.0
            if now != before:
                r = (1.0 - cost) * (1.0 + r) - 1.0
                trades += 1
            before = now
            held += now
            s1 += r
            s2 += r * r
            s3 += r * r * r
            s4 += r * r * r * r
            down2 += min(r, 0.0) ** 2
            up += r > 0.0
            down += r < 0.0
            equity *= 1.0 + r
            peak = max(peak, equity)
            worst = max(worst, 1.0 - equity / peak)
        row[:] = nan
        moments(s1, s2, s3, s4, down2, float(n), row)
        cagr = equity ** (YEAR / n) - 1.0
        out[b, 0], out[b, 1] = equity - 1.0, cagr
        out[b, 2:5] = row[:3]
        out[b, 5] = worst
        out[b, 6] = cagr / worst if worst > 0.0 else nan
        out[b, 7] = up / (up + down) if up + down > 0 else nan
        out[b, 8:10] = row[6:8]
        out[b, 10], out[b, 11], out[b, 12] = held / n, trades, YEAR * trades / n
