"""The finalizer: sums per class → metrics per segment. One definition of every metric; undefined is NaN.

Formulas: design rule 11. Skewness and excess kurtosis are the bias-corrected G1 and G2 (Joanes & Gill 1998).
"""

from __future__ import annotations

import numpy as np

from forge_ray.kernels import accounting as lanes
from forge_ray.kernels.compile import device, kernel
from forge_ray.kernels.elementary import exp

COLUMNS = (
    "total_return", "cagr", "volatility", "sharpe", "sortino", "max_drawdown", "calmar", "win_rate", "skew",
    "kurtosis_excess", "beta", "treynor", "time_in_market", "exposure", "timar", "timar_max_drawdown", "trades",
    "turnover", "average_holdings", "n_days",
)  # fmt: skip
(
    TOTAL_RETURN, CAGR, VOLATILITY, SHARPE, SORTINO, MAX_DRAWDOWN, CALMAR, WIN_RATE, SKEW, KURTOSIS, BETA, TREYNOR,
    TIME_IN_MARKET, EXPOSURE, TIMAR, TIMAR_MAX_DRAWDOWN, TRADES, TURNOVER, HOLDINGS, N_DAYS,
) = range(len(COLUMNS))  # fmt: skip
YEAR = 252.0
ZERO_VARIANCE = 1e-12


@kernel("in i8[:,:,:], in i8[:,:], in b1[:,:], in f8[:,:], in f8[:], out f8[:,:,:]")
def finalize(sums, drawdowns, class_in_segment, classes, scales, out):
    """Metrics of every branch and segment.

    sums : (n_branches, n_classes, N_LANES). drawdowns : (n_branches, n_segments) in multiples of the log grid.
    classes : (n_classes, 5) returns, returns with a benchmark, sum of the benchmark's returns, of their squares, sum of
    the risk-free returns. out : (n_segments, n_metrics, n_branches), written in full, NaN where undefined.
    """
    total, row = np.zeros(lanes.N_LANES, np.int64), np.empty(out.shape[1])
    for b in range(sums.shape[0]):
        for s in range(class_in_segment.shape[1]):
            total[:] = 0
            n, n_paired, paired_return, benchmark, benchmark_square, risk_free = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            for c in range(class_in_segment.shape[0]):
                if class_in_segment[c, s]:
                    for lane in range(lanes.PATH):
                        total[lane] += sums[b, c, lane]
                    n += classes[c, 0]
                    n_paired += classes[c, 1]
                    if classes[c, 1] > 0.0:
                        paired_return += sums[b, c, lanes.RETURN] / scales[lanes.RETURN]
                    benchmark += classes[c, 2]
                    benchmark_square += classes[c, 3]
                    risk_free += classes[c, 4]
            row[:] = np.nan
            row[N_DAYS] = n
            if n > 0.0:
                risk_free /= n
                return_metrics(total, n, scales, risk_free, row)
                drawdown_metrics(drawdowns[b, s] / scales[lanes.LOG], row)
                holding_metrics(total, n, scales, row)
                cross = product_sum(total, lanes.CROSS, scales)
                mean = total[lanes.RETURN] / scales[lanes.RETURN] / n
                benchmark_metrics(cross, n_paired, paired_return, benchmark, benchmark_square, mean - risk_free, row)
            for metric in range(out.shape[1]):
                out[s, metric, b] = row[metric]


@device
def product_sum(total, lane, scales):
    """A sum of products of returns from its coarse and its fine lane."""
    return total[lane] / scales[lane] + total[lane + 1] / scales[lane + 1]


@device
def return_metrics(total, n, scales, risk_free, row):
    log_total = total[lanes.LOG] / scales[lanes.LOG]
    row[TOTAL_RETURN] = exp(log_total) - 1.0
    row[CAGR] = exp(log_total * (YEAR / n)) - 1.0
    up, down = total[lanes.UP], total[lanes.DOWN]
    if up + down > 0:
        row[WIN_RATE] = up / (up + down)
    s1, s2 = total[lanes.RETURN] / scales[lanes.RETURN], product_sum(total, lanes.SQUARE, scales)
    mean = s1 / n
    downside = product_sum(total, lanes.DOWNSIDE, scales)
    if downside > 0.0:
        row[SORTINO] = (mean - risk_free) * np.sqrt(YEAR) / np.sqrt(downside / n)
    squares = s2 - s1 * mean
    # A product is a multiple of the fine grid: below that, what is left of equal returns is rounding.
    if n < 2.0 or squares <= ZERO_VARIANCE * s2 + n / scales[lanes.SQUARE + 1]:
        row[VOLATILITY] = 0.0
        return
    deviation = np.sqrt(squares / (n - 1.0))
    row[VOLATILITY] = deviation * np.sqrt(YEAR)
    row[SHARPE] = (mean - risk_free) / deviation * np.sqrt(YEAR)
    s3, s4 = product_sum(total, lanes.CUBE, scales), product_sum(total, lanes.FOURTH, scales)
    m2 = squares / n
    if n >= 3.0:
        m3 = s3 / n - 3.0 * mean * (s2 / n) + 2.0 * mean * mean * mean
        row[SKEW] = np.sqrt(n * (n - 1.0)) / (n - 2.0) * (m3 / (m2 * np.sqrt(m2)))
    if n >= 4.0:
        m4 = s4 / n - 4.0 * mean * (s3 / n) + 6.0 * mean * mean * (s2 / n) - 3.0 * mean * mean * mean * mean
        excess = m4 / (m2 * m2) - 3.0
        row[KURTOSIS] = (n - 1.0) / ((n - 2.0) * (n - 3.0)) * ((n + 1.0) * excess + 6.0)


@device
def drawdown_metrics(log_drawdown, row):
    row[MAX_DRAWDOWN] = 1.0 - exp(-log_drawdown)
    if log_drawdown > 0.0:
        row[CALMAR] = row[CAGR] / row[MAX_DRAWDOWN]


@device
def holding_metrics(total, n, scales, row):
    row[TIME_IN_MARKET] = total[lanes.IN_MARKET] / n
    row[EXPOSURE] = total[lanes.EXPOSURE] / scales[lanes.EXPOSURE] / n
    row[TRADES] = total[lanes.TRADES]
    row[TURNOVER] = YEAR * (total[lanes.TURNOVER] / scales[lanes.TURNOVER] / n)
    row[HOLDINGS] = total[lanes.HOLDINGS] / n
    if total[lanes.IN_MARKET] > 0:
        row[TIMAR] = row[CAGR] / row[TIME_IN_MARKET]
        if row[MAX_DRAWDOWN] > 0.0:
            row[TIMAR_MAX_DRAWDOWN] = row[TIMAR] / row[MAX_DRAWDOWN]


@device
def benchmark_metrics(cross, n, paired_return, benchmark, benchmark_square, excess, row):
    if n < 2.0:
        return
    squares = benchmark_square - benchmark * (benchmark / n)
    if squares <= ZERO_VARIANCE * benchmark_square:
        return
    row[BETA] = 0.0 if row[VOLATILITY] == 0.0 else (cross - paired_return * (benchmark / n)) / squares
    if row[BETA] > 0.0:
        row[TREYNOR] = YEAR * excess / row[BETA]
