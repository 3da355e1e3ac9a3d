"""SIGINT and SIGTERM while blocks are committed: the first one is noted, and what is finished is committed first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """From `note` to the end of the statement, the first signal is noted, and handed to its handler at the end; a
    second one goes to its handler at once. Signals that nobody handles are left alone, as are those of other threads
    than the main one, which get none."""

    def __init__(self) -> None:
        self.arrived: int | None = None
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def __enter__(self) -> Interrupts:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self.arrived is not None and error is None:
            self._handlers[self.arrived](self.arrived, None)

    def note(self) -> None:
        """Note signals from now on; before, their handlers end whatever waits."""
        if self._handlers or threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            handler = signal.getsignal(number)
            if callable(handler):
                self._handlers[number] = handler
                signal.signal(number, self._arrive)

    def _arrive(self, number: int, frame: FrameType | None) -> None:
        if self.arrived is not None:
            self._handlers[number](number, frame)
        self.arrived = number
