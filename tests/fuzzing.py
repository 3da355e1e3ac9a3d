"""Property tests for a given time: examples are drawn until a share of `SECONDS` is used.

Hypothesis counts examples and has no budget of time, so a run here is many small runs of it, each with a seed of its
own. A failure ends the run, is shrunk and printed by Hypothesis, with a line that reproduces it.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

SECONDS = float(os.environ.get("FORGE_RAY_FUZZ_SECONDS", "30"))
"""For all fuzz tests together."""

EXAMPLES_PER_ROUND = 50

PROFILE = settings(
    max_examples=EXAMPLES_PER_ROUND,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def fuzz(share: float, check: Callable[[Any], bool], examples: st.SearchStrategy[Any]) -> None:
    """Call `check` with examples for `share` of the time, at least for one round; it says whether one is good input."""
    end = time.monotonic() + share * SECONDS
    first_seed = random.SystemRandom().getrandbits(64)
    count = good = rounds = 0

    def checked(example: Any) -> None:
        nonlocal count, good
        count += 1
        good += check(example)

    while not rounds or time.monotonic() < end:
        seed(first_seed + rounds)(PROFILE(given(examples)(checked)))()
        rounds += 1
    print(f"{count:,} examples in {rounds:,} rounds, {good:,} of them good input")
