"""`OnBars`: gates and allocations on some bars alone, as another evaluator has them on all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from forge_ray.engine.allocations import Allocation
from forge_ray.engine.cache import Cache
from forge_ray.engine.point import key_of
from forge_ray.engine.values import Evaluator, Values, n_bytes
from forge_ray.kernels import bits


class OnBars(Evaluator):
    """Evaluates as another evaluator does, but arrays have one entry for each of some bars.

    Conditions and series come from the other one, as the decisions of the bars see them, and so do allocations that it
    still knows; its cache may be too small for all those of a large tree, and here they are as long as `bars`.
    bars : (m,) calendar bars, ascending. cache : for these bars only.
    """

    def __init__(self, base: Evaluator, bars: np.ndarray, cache: Cache):
        panel = base.panel
        super().__init__(
            base.plan, replace(panel, dates=panel.dates[bars], fields={"close": panel.close[:, bars]}), cache
        )
        self.base, self.at, self.scope = base, bars, base.scope

    def bits(self, i: int, values: Values) -> np.ndarray:
        return bits.pack(*self._flags(i, values))

    def _flags(self, i: int, values: Values) -> tuple[np.ndarray, np.ndarray]:
        true, false = self.base._flags(i, values)
        return true[self.at], false[self.at]

    def _known(self, i: int, values: Values) -> Allocation | None:
        known = super()._known(i, values)
        if known is None and (whole := self.base._known(i, values)) is not None:
            known = self._kept("allocation", i, values, partial(whole.on, self.at), lambda found: found.nbytes)
        return known

    def _of_tickers(self, metric: str, window: int, *tickers: str) -> np.ndarray:
        make = partial(self.base._of_tickers, metric, window, *tickers)
        return self._seen(("tickers", metric, window, *tickers), make)

    def _of_equity(self, allocation: int, metric: str, window: int, values: Values) -> np.ndarray:
        own = key_of(values, self.plan.expressions[allocation].axes)
        make = partial(self.base._of_equity, allocation, metric, window, values)
        return self._seen(("equity", allocation, metric, window, *own), make)

    def _seen(self, key: tuple, make: Callable[[], np.ndarray]) -> np.ndarray:
        return self.cache.get(key, lambda: self.base._delayed(make())[self.at], n_bytes)

    def _delayed(self, array: np.ndarray) -> np.ndarray:
        return array
