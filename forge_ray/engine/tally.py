"""What work cost: seconds by stage, and how often a cache knew what was asked of it. Counted, never a part of a row."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_FIELDS = ("us", "hits", "misses")


class Tally:
    """Of one thread.

    us : microseconds by stage; those of a stage inside another are not the outer one's.
    hits, misses : by kind of cached value.
    """

    def __init__(self) -> None:
        self.us: Counter[str] = Counter()
        self.hits: Counter[str] = Counter()
        self.misses: Counter[str] = Counter()
        self._open: list[str] = []
        self._since = 0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What is done inside is time of this stage."""
        self._pass_time()
        self._open.append(name)
        try:
            yield
        finally:
            self._pass_time()
            self._open.pop()

    def _pass_time(self) -> None:
        now = time.perf_counter_ns() // 1000
        if self._open:
            self.us[self._open[-1]] += now - self._since
        self._since = now

    def add(self, other: Tally) -> None:
        for field in _FIELDS:
            getattr(self, field).update(getattr(other, field))

    def counts(self) -> dict[str, int]:
        """As whole numbers by name, such as ``us_rows`` and ``hits_bits``; `read` is the way back."""
        return {f"{field}_{name}": n for field in _FIELDS for name, n in getattr(self, field).items()}

    @classmethod
    def read(cls, counts: Mapping[str, int]) -> Tally:
        """Of counts that may hold others besides."""
        tally = cls()
        for key, n in counts.items():
            field, _, name = key.partition("_")
            if name and field in _FIELDS:
                getattr(tally, field)[name] += n
        return tally
