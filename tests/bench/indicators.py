"""What is known of every indicator, as the Markdown table of the README: `python tests/bench/indicators.py`

definition : largest error against the definition, two passes over each window in 80-bit floats, over all windows and
    histories of the tests but the one with a spike.
libraries : largest difference over the last 500 of 2,200 real bars at windows of 5, 14 and 50, where other seeds have
    faded. TA-Lib's running sums lose digits that the definition keeps: the larger differences are its own.
settles : bars after which a start up to 30 bars later makes a difference below 1e-9 for good, at a window of 14; a dash
    where every bar since the first counts.
ns per bar : on 20,000 bars, the best of nine calls.

Errors are relative to the value, but to no less than 0.1 % of the price, 0.1 percent or 1 of 100. A library that is not
installed has no column.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from libraries import Formula, libraries

from definitions import Bars, defined
from forge_ray.catalog import INDICATORS, Indicator, indicator_facts
from forge_ray.engine.indicator_kernels import INDICATOR_KERNELS
from histories import HISTORIES, around, computed, errors, market, walk
from test_indicators import windows_of

N_BARS = 20_000
COST_WINDOWS = (10, 1_000)
LIBRARY_WINDOWS = (5, 14, 50)
FADED = slice(-500, None)
WARM_UP_WINDOW, LATEST_START, SETTLED = 14, 30, 1e-9
N_WARM_UP, LONGEST_WARM_UP = 2_000, 1_000


def nanoseconds(indicator: Indicator, bars: Bars, window: int) -> float:
    """Per bar."""
    out = np.empty(N_BARS)
    arguments = (*(getattr(bars, field) for field in indicator.fields), window, out)
    best = float("inf")
    for _ in range(9):
        began = time.perf_counter_ns()
        INDICATOR_KERNELS[indicator.name](*arguments)
        best = min(best, time.perf_counter_ns() - began)
    return best / N_BARS


def costs(indicator: Indicator, bars: Bars) -> list[str]:
    """Without a window, one."""
    found = [f"{nanoseconds(indicator, bars, window):.1f}" for window in COST_WINDOWS[: 1 + indicator.windowed]]
    return [*found, *[""] * (len(COST_WINDOWS) - len(found))]


def definition_error(name: str, histories: list[Bars]) -> str:
    """Over all windows of the tests."""
    largest = max(
        errors(name, bars, computed(name, bars, window), defined(name, bars, window)).max()
        for bars in histories
        for window in windows_of(name)
    )
    return f"{largest:.0e}"


def library_error(name: str, formulas: dict[str, Formula], bars: Bars) -> str:
    """A dash if the library does not have it."""
    if name not in formulas:
        return "–"
    apart = [errors(name, bars, computed(name, bars, w), formulas[name](bars, w)) for w in LIBRARY_WINDOWS]
    return f"{max(differences[FADED].max() for differences in apart):.0e}"


def settles(name: str, bars: Bars) -> str:
    """Bars after a later start until it no longer matters."""
    whole = computed(name, bars, WARM_UP_WINDOW)
    latest = 0
    for start in range(1, LATEST_START + 1):
        later = Bars(*(np.ascontiguousarray(field[start:]) for field in bars))
        found = computed(name, later, WARM_UP_WINDOW)
        apart = np.where(np.isnan(found), np.inf, errors(name, later, found, whole[start:]))
        latest = max(latest, int(np.flatnonzero(apart >= SETTLED).max(initial=-1)) + 1)
    return str(latest) if latest <= LONGEST_WARM_UP else "–"


def main() -> None:
    histories = [make() for case, make in HISTORIES.items() if not case.startswith("spike")]
    known, real, long, trend = libraries(), market(), around(walk(N_BARS, 1)), around(walk(N_WARM_UP, 1))
    columns = ["indicator", "aliases", "unit", "look-back", "definition", *known, "settles"]
    columns += [f"ns per bar, w = {window:,}" for window in COST_WINDOWS]
    print(f"| {' | '.join(columns)} |")
    print("|---|---|---|---|" + "---:|" * (len(columns) - 4))
    for indicator in INDICATORS:
        name = indicator.name
        errors_of = [definition_error(name, histories), *(library_error(name, own, real) for own in known.values())]
        row = [*indicator_facts(indicator), *errors_of, settles(name, trend), *costs(indicator, long)]
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
