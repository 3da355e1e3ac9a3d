"""A cache bounded in bytes: least recently used values go first. Thread-safe; it is handed around, never global."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeVar

from forge_ray.engine.tally import Tally

T = TypeVar("T")


class Cache:
    """Values by key, a tuple that begins with the kind of the value and holds all that the value depends on.

    Two threads that miss the same key at once both compute it; the results are equal. tally : where hits, misses and
    the time of what is made are counted.
    """

    def __init__(self, limit_bytes: int, tally: Tally | None = None, kept: _Kept | None = None):
        self.limit_bytes, self.tally = limit_bytes, tally
        self._kept = kept or _Kept()

    def counting(self, tally: Tally) -> Cache:
        """The same cache, for a thread that counts what it asks of it."""
        return Cache(self.limit_bytes, tally, self._kept)

    def cut(self, parts: int) -> Cache:
        """The same cache, which is brought down to a part of its limit by what is put in."""
        return Cache(self.limit_bytes // parts, self.tally, self._kept)

    @property
    def n_bytes(self) -> int:
        return self._kept.n_bytes

    def get(self, key: tuple, make: Callable[[], T], size: Callable[[T], int]) -> T:
        """The value of `key`, made by `make` on a miss. `size` tells its bytes; a value over the limit is not kept."""
        found = self.find(key)
        if found is not None:
            return found  # type: ignore[return-value]
        with nullcontext() if self.tally is None else self.tally.stage(key[0]):
            value = make()
        if self.tally is not None:
            self.tally.misses[key[0]] += 1
        if (n_bytes := size(value)) <= self.limit_bytes:
            self._kept.add(key, value, n_bytes, self.limit_bytes)
        return value

    def find(self, key: tuple) -> object | None:
        """The value of `key` if it is there."""
        found = self._kept.find(key)
        if found is not None and self.tally is not None:
            self.tally.hits[key[0]] += 1
        return found

    def contents(self) -> dict[str, tuple[int, int]]:
        """By kind, how many values there are and their bytes."""
        found: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
        for kind, n_bytes in self._kept.sizes():
            n, total = found[kind]
            found[kind] = (n + 1, total + n_bytes)
        return dict(found)


class _Kept:
    """What all views of one cache share."""

    def __init__(self) -> None:
        self.n_bytes = 0
        self._entries: OrderedDict[tuple, tuple[object, int]] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, key: tuple) -> object | None:
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def add(self, key: tuple, value: object, n_bytes: int, limit_bytes: int) -> None:
        with self._lock:
            if key in self._entries:
                return
            self._entries[key] = (value, n_bytes)
            self.n_bytes += n_bytes
            while self.n_bytes > limit_bytes:
                _, (_, freed) = self._entries.popitem(last=False)
                self.n_bytes -= freed

    def sizes(self) -> list[tuple[str, int]]:
        with self._lock:
            return [(key[0], n_bytes) for key, (_, n_bytes) in self._entries.items()]
