"""What an indicator costs and how exact it is.

python tests/bench/indicators.py            nanoseconds per bar at windows of 10, 100 and 1000
python tests/bench/indicators.py --errors   largest error against the definition and against TA-Lib, and the warm-up

Errors are relative to the value, but to no less than 0.1 % of the price, 0.1 percent or 1 of 100; over all windows of
the tests on real bars, and over all histories of the tests but the one with a spike. TA-Lib's running sums lose digits
that the definition keeps: where its column is the larger one, they are its own.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from definitions import Bars, defined
from histories import HISTORIES, around, computed, errors, walk
from test_indicators import windows_of
from test_indicators_talib import SAME, SEEDED_OTHERWISE, market
from test_indicators_talib import WINDOWS as TALIB_WINDOWS

from forge_ray.catalog import INDICATORS, Indicator
from forge_ray.engine.indicator_kernels import INDICATOR_KERNELS

N_BARS = 20_000
WINDOWS = (10, 100, 1_000)


def nanoseconds(indicator: Indicator, bars: Bars, window: int) -> float:
    """Per bar, the best of nine calls."""
    out = np.empty(N_BARS)
    arguments = (*(getattr(bars, field) for field in indicator.fields), window, out)
    best = float("inf")
    for _ in range(9):
        began = time.perf_counter_ns()
        INDICATOR_KERNELS[indicator.name](*arguments)
        best = min(best, time.perf_counter_ns() - began)
    return best / N_BARS


def print_costs() -> None:
    bars = around(walk(N_BARS, 1))
    print("| indicator | " + " | ".join(f"ns per bar, w = {window}" for window in WINDOWS) + " |")
    print("|---|" + "---:|" * len(WINDOWS))
    for indicator in INDICATORS:
        windows = WINDOWS if indicator.windowed else WINDOWS[:1]
        costs = [f"{nanoseconds(indicator, bars, window):.1f}" for window in windows]
        print(f"| {indicator.name} | {' | '.join(costs + [''] * (len(WINDOWS) - len(costs)))} |")


def largest_error(name: str, bars: Bars) -> float:
    """Over all windows of the tests."""
    return max(errors(name, bars, computed(name, bars, w), defined(name, bars, w)).max() for w in windows_of(name))


def talib_error(name: str) -> str:
    """Largest error over the windows of its tests, after 1,700 bars where TA-Lib seeds otherwise; a dash if none."""
    bars = market()
    if name in SAME:
        return (
            f"{max(errors(name, bars, computed(name, bars, w), SAME[name](bars, w)).max() for w in TALIB_WINDOWS):.0e}"
        )
    if name not in SEEDED_OTHERWISE:
        return "–"
    both = [(computed(name, bars, w), SEEDED_OTHERWISE[name](bars, w)) for w in (5, 14, 50)]
    return f"{max(errors(name, bars, *pair)[1_700:].max() for pair in both):.0e} converged"


def print_errors() -> None:
    histories = {case: make() for case, make in HISTORIES.items() if not case.startswith("spike")}
    print("| indicator | real bars | all histories | TA-Lib | warm-up |")
    print("|---|---:|---:|---:|---|")
    for indicator in INDICATORS:
        found = {case: largest_error(indicator.name, bars) for case, bars in histories.items()}
        row = (f"{found['real']:.0e}", f"{max(found.values()):.0e}", talib_error(indicator.name), indicator.look_back)
        print(f"| {indicator.name} | {' | '.join(map(str, row))} |")


if __name__ == "__main__":
    if "--errors" in sys.argv:
        print_errors()
    else:
        print_costs()
