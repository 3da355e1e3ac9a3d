"""Example trees of Atlas whose allocations were worked out by hand.

Each history is built so that every condition has an obvious outcome: a monotone rise has an RSI of 100, returns that
alternate between +a and −a have a deviation of a, a jump moves a short average more than a long one. What the tree
then holds stands here as numbers; the comment beside it derives them from the rules. Bars are the days from the first
one on, counted from 0; decisions are those of mode CC, which see the close of their own bar.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import pytest

from forge_ray.tree.importers import import_text
from harness import allocations
from native_format import strategies
from test_language_equals_naive import bound_job

FILES = {file.name[:2]: file for file in strategies("atlas")}
pytestmark = pytest.mark.skipif(not FILES, reason="the example files are not here")

Held = dict[str, float]


def decided(number: str, n_bars: int, first: date = date(2021, 1, 1), **closes: Callable[[int], float]) -> list[Held]:
    """What an example holds after each bar; closes : of each ticker by bar."""
    job = import_text(FILES[number].read_bytes(), FILES[number].name).job
    days = [first + timedelta(days=t) for t in range(n_bars)]
    prices = {ticker: [(day, close(t)) for t, day in enumerate(days)] for ticker, close in closes.items()}
    assert job.get("execution", {}).get("mode", "CC") == "CC"
    bound = bound_job({"data": "sample:us20", **job}, prices, {})
    held = allocations(bound)
    return [{bound.panel.tickers[k]: row[k] for k in np.flatnonzero(row)} for row in held]


def flat(_: int) -> float:
    return 100.0


def alternating(*phases: tuple[int, float]) -> Callable[[int], float]:
    """Closes whose returns are +a on odd bars and −a on even ones; phases : (last bar, a)."""
    closes = [100.0]
    for t in range(1, phases[-1][0] + 1):
        a = next(a for last, a in phases if t <= last)
        closes.append(closes[-1] * (1 + a if t % 2 else 1 - a))
    return lambda t: closes[t]


def test_03_oversold_for_two_days_above_the_average_or_a_drawdown() -> None:
    """(RSI 10 of SPY < 30 for two days AND SPY > its SMA 200) OR MaxDD 20 of QQQ > 10 % holds TQQQ, else BIL.

    SPY rises by 1 to 319 at bar 219, so its mean gain is 1 and its mean loss 0. After m falls of 10 the mean gain is
    0.9^m, the mean loss 10·(1 − 0.9^m): RSI 47.4, 29.9, 21.2, 16.0. Its SMA 200 is about 220.
    """

    def spy(t: int) -> float:
        if t <= 219:
            return 100.0 + t
        return {220: 309, 221: 299, 222: 289, 223: 279, 224: 309, 225: 100, 226: 99}.get(t, 98.0)

    def qqq(t: int) -> float:
        return 91.0 if t == 205 else 89.0 if t >= 228 else 100.0

    held = decided("03", 260, SPY=spy, QQQ=qqq, TQQQ=flat, BIL=flat)
    assert held[200] == {"BIL": 1.0}  # RSI 100, no drawdown
    assert held[205] == {"BIL": 1.0}  # QQQ is 9 % down, not 10 %
    assert held[220] == {"BIL": 1.0}  # RSI 47.4
    assert held[221] == {"BIL": 1.0}  # RSI 29.9, the first day below 30
    assert held[222] == {"TQQQ": 1.0}  # RSI 21.2, the second; 289 > 220
    assert held[223] == {"TQQQ": 1.0}  # RSI 16.0
    assert held[224] == {"BIL": 1.0}  # a gain of 30: mean gain 3.6, mean loss 3.1, RSI 53.7
    assert held[226] == {"BIL": 1.0}  # a fall of 209 and one of 1: RSI below 30 twice, but 99 < 220
    assert held[227] == {"BIL": 1.0}
    assert held[228] == {"TQQQ": 1.0}  # QQQ is 11 % down
    assert held[246] == {"TQQQ": 1.0}  # the last 20 bars, 227 to 246, still hold a 100
    assert held[247] == {"BIL": 1.0}  # 228 to 247 are all 89


def test_04_a_golden_cross_or_winter() -> None:
    """SMA 50 of SPY crosses above its SMA 200, OR 1 November to 30 April: SPY, else Empty, which is cash at the root.

    SPY falls by 1 a bar, so the SMA 50 is 75 below the SMA 200, until it jumps to 10,000 at bar 230, 19 August: SMA 50
    = (49 · 195 + 10,000)/50 = 391, SMA 200 = (199 · 270 + 10,000)/200 = 319. Bar 0 is 1 January 2021.
    """
    held = decided("04", 500, SPY=lambda t: 400.0 - t if t < 230 else 10_000.0)
    assert held[200] == {}  # 20 July
    assert held[229] == {}
    assert held[230] == {"SPY": 1.0}  # the cross
    assert held[231] == {}  # a cross is one bar
    assert held[303] == {}  # 31 October
    assert held[304] == {"SPY": 1.0}  # 1 November
    assert held[364] == {"SPY": 1.0}  # 31 December
    assert held[365] == {"SPY": 1.0}  # 1 January: the range goes over the year's end
    assert held[484] == {"SPY": 1.0}  # 30 April 2022
    assert held[485] == {}  # 1 May


def test_05_the_two_that_rose_most_in_sixty_bars() -> None:
    """Top 2 by ROC 60 of SPY, EFA, TLT, GLD in this order, in equal parts.

    SPY is flat; EFA rises by 1 a bar from 100 and is 50 from bar 150 on; TLT falls by 0.5 a bar from 200; GLD goes from
    100 to 110 at bar 80.
    """
    held = decided(
        "05", 170, SPY=flat, EFA=lambda t: 100.0 + t if t < 150 else 50.0, TLT=lambda t: 200 - t / 2,
        GLD=lambda t: 100.0 if t < 80 else 110.0,
    )  # fmt: skip
    assert held[60] == {"SPY": 0.5, "EFA": 0.5}  # EFA 60 %, SPY and GLD 0: the tie goes to SPY, the earlier child
    assert held[79] == {"SPY": 0.5, "EFA": 0.5}
    assert held[80] == {"EFA": 0.5, "GLD": 0.5}  # GLD 10 %
    assert held[139] == {"EFA": 0.5, "GLD": 0.5}  # 60 bars ago, at 79, it was 100
    assert held[140] == {"SPY": 0.5, "EFA": 0.5}  # 60 bars ago, at 80, it was 110: 0 again
    assert held[150] == {"SPY": 0.5, "GLD": 0.5}  # EFA 50/190 − 1 < 0, TLT < 0


def test_06_inverse_volatility_between_ten_and_fifty_percent() -> None:
    """SPY, TLT, GLD by 1/σ of their last 20 returns. Returns of ±a have σ = a; windows lie within one phase."""
    held = decided(
        "06", 161,
        SPY=alternating((40, 0.01), (80, 0.005), (120, 0.01), (160, 0.0)),
        TLT=alternating((40, 0.02), (80, 0.02), (120, 0.01), (160, 0.01)),
        GLD=alternating((40, 0.02), (80, 0.02), (120, 0.08), (160, 0.02)),
    )  # fmt: skip
    # 1/σ as 2 : 1 : 1
    assert held[40] == pytest.approx({"SPY": 0.5, "TLT": 0.25, "GLD": 0.25}, abs=1e-9)
    # 4 : 1 : 1 is 66.7 % of SPY, capped at 50 %; the others share the rest
    assert held[60] == pytest.approx({"SPY": 0.5, "TLT": 0.25, "GLD": 0.25}, abs=1e-9)
    assert held[80] == pytest.approx({"SPY": 0.5, "TLT": 0.25, "GLD": 0.25}, abs=1e-9)
    # 8 : 8 : 1 is 5.9 % of GLD, raised to 10 %; the others share the rest
    assert held[120] == pytest.approx({"SPY": 0.45, "TLT": 0.45, "GLD": 0.1}, abs=1e-9)
    # SPY has no volatility and gets 1/3; 2 : 1 of the other 2/3
    assert held[160] == pytest.approx({"SPY": 1 / 3, "TLT": 4 / 9, "GLD": 2 / 9}, abs=1e-9)


def test_07_a_ladder_of_three_signals_of_spy() -> None:
    """Price > SMA 200; ROC 60 > 0; volatility 20 < 20 % AND ADX 14 > 20. None true holds BIL, one IEF, two SPY, three
    QQQ.

    SPY grows by 0.1 % a bar to bar 259: every change is up, so the ADX is 100, and log returns are equal, so there is
    no volatility. Bar 260 is 30 % higher; up to bar 299 returns of ±3 % follow, 48 % a year. Bar 300 is 60 % lower;
    then SPY falls by 0.1 % a bar: every change is down.
    """
    closes = [100.0]
    for t in range(1, 360):
        wild = 0.03 if t % 2 else -0.03
        change = 0.001 if t < 260 else 0.3 if t == 260 else wild if t < 300 else -0.6 if t == 300 else -0.001
        closes.append(closes[-1] * (1 + change))
    held = decided("07", 360, SPY=lambda t: closes[t], BIL=flat, IEF=flat, QQQ=flat)
    assert held[250] == {"QQQ": 1.0}  # all three
    assert held[299] == {"SPY": 1.0}  # far above its average and higher than 60 bars ago, but wild
    assert held[310] == {"BIL": 1.0}  # below, lower, and the fall of 60 % is within the last 20 returns
    assert held[345] == {"IEF": 1.0}  # below, lower, but calm, and the trend is clear


def test_08_an_alternating_exit() -> None:
    """In by RSI 2 of QQQ < 10, out by RSI 2 > 70 or ROC 5 < −8 %; in holds QQQ, out SHY. The mean gain g and loss l of
    the RSI halve and take in half of the last change; while QQQ rises by 1 a bar g goes to 1 and l to 0."""
    prices = [1000.0 + t for t in range(11)]  # to bar 10
    prices += [990, 991, 992, 993, 994, 995, 996, 997, 998, 999]  # bars 11 to 20
    prices += [979, 880, 881, 882, 883]  # bars 21 to 25
    held = decided("08", len(prices), QQQ=lambda t: float(prices[t]), SHY=flat)
    assert held[10] == {"SHY": 1.0}  # out at first; RSI 100
    assert held[11] == {"QQQ": 1.0}  # −20: g 0.5, l 10, RSI 4.8: in, on this bar
    assert held[12] == {"QQQ": 1.0}  # g 0.75, l 5, RSI 13: stays
    assert held[15] == {"QQQ": 1.0}  # g 0.97, l 0.63, RSI 60.8
    assert held[16] == {"SHY": 1.0}  # g 0.98, l 0.31, RSI 75.9: out
    assert held[20] == {"SHY": 1.0}
    assert held[21] == {"QQQ": 1.0}  # −20: in
    assert held[22] == {"SHY": 1.0}  # 880/996 is −11.6 %: out, though the RSI is below 10
    assert held[23] == {"QQQ": 1.0}  # g 0.62, l 27.3, RSI 2.2: in, one change a bar, though ROC 5 is −11.6 %
    assert held[24] == {"SHY": 1.0}  # ROC 5 is −11.6 %: out
    assert held[25] == {"SHY": 1.0}  # g 0.91, l 6.8, RSI 11.7: stays out


def test_09_a_blend_by_the_volatility_of_a_branch_beside_a_gate_on_a_ratio() -> None:
    """70 %: from the one of SPY and QQQ with the lower RSI 10 to BIL as the deviation 20 of that choice's own equity
    goes from 0.8 to 2.5 %. 30 %: XLY if the SMA 20 of XLY/XLP is above its SMA 100, else XLP.

    QQQ rises by 0.1 % a bar, an RSI of 100, so the choice is SPY, whose returns are ±1 % to bar 140, ±0.5 % to bar 180,
    then ±4 %. XLP is flat; XLY rises by 1 to 280 at bar 180, then falls by 5.
    """
    held = decided(
        "09", 221,
        SPY=alternating((140, 0.01), (180, 0.005), (220, 0.04)), QQQ=lambda t: 100 * 1.001**t, BIL=flat, XLP=flat,
        XLY=lambda t: 100.0 + t if t <= 180 else 280.0 - 5 * (t - 180),
    )  # fmt: skip
    share = 0.2 / 1.7  # (1 − 0.8)/(2.5 − 0.8)
    assert held[130] == pytest.approx({"SPY": 0.7 * (1 - share), "BIL": 0.7 * share, "XLY": 0.3}, abs=1e-9)
    assert held[170] == pytest.approx({"SPY": 0.7, "XLY": 0.3}, abs=1e-9)  # 0.5 < 0.8
    # 4 > 2.5; SMA 20 of XLY is 127.5, SMA 100 is (60 · 250.5 + 40 · 177.5)/100 = 221.3
    assert held[220] == pytest.approx({"BIL": 0.7, "XLP": 0.3}, abs=1e-9)


def test_10_calls_and_a_formula() -> None:
    """Half: QQQ and SPY if (close − SMA 100)/deviation of SPY is above 0, else "risk off". Half: "risk off", which is
    the best of IEF, GLD, BIL by weighted momentum.

    SPY rises, and is 10 from bar 280 on. GLD rises, and is 1 from bar 290 on. IEF is flat. BIL falls by 0.1 a bar.
    """
    held = decided(
        "10", 300, SPY=lambda t: 100.0 + t if t < 280 else 10.0, GLD=lambda t: 100.0 + t if t < 290 else 1.0,
        IEF=flat, BIL=lambda t: 100 - t / 10, QQQ=flat,
    )  # fmt: skip
    assert held[270] == {"QQQ": 0.25, "SPY": 0.25, "GLD": 0.5}  # a quarter each of two, half of the best
    assert held[280] == {"GLD": 1.0}  # both halves are "risk off"
    assert held[290] == {"IEF": 1.0}  # GLD and BIL have fallen, IEF has not
