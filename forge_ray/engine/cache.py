"""A cache bounded in bytes: least recently used values go first. Thread-safe; it is handed around, never global."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar

T = TypeVar("T")


class Cache:
    """Values by key. Two threads that miss the same key at once both compute it; the results are equal."""

    def __init__(self, limit_bytes: int):
        self.limit_bytes = limit_bytes
        self.n_bytes = self.hits = self.misses = 0
        self._entries: OrderedDict[Hashable, tuple[object, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T], size: Callable[[T], int]) -> T:
        """The value of `key`, made by `make` on a miss. `size` tells its bytes; a value over the limit is not kept."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                self.hits += 1
                return self._entries[key][0]  # type: ignore[return-value]
            self.misses += 1
        value = make()
        self._keep(key, value, size(value))
        return value

    def find(self, key: Hashable) -> object | None:
        """The value of `key` if it is there."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            self.hits += 1
            return self._entries[key][0]

    def _keep(self, key: Hashable, value: object, n_bytes: int) -> None:
        with self._lock:
            if key in self._entries or n_bytes > self.limit_bytes:
                return
            self._entries[key] = (value, n_bytes)
            self.n_bytes += n_bytes
            while self.n_bytes > self.limit_bytes:
                _, (_, freed) = self._entries.popitem(last=False)
                self.n_bytes -= freed
