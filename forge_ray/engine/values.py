"""Expressions → arrays: series, conditions and allocations over all calendar bars of a panel.

1. A *subject* is what an indicator is of: the own bars of a ticker, the common bars of a ratio, the simulated equity of
   an allocation, whose bars are those of the calendar from the one at which it is ready.
2. A series is an indicator or a formula on the bars of its subject, then put on the calendar.
3. Bits compare series as each decision sees them; allocations follow from bits, scores and the allocations below.

Everything here is a function of (expression, values of its axes, panel); the cache only remembers. Its keys are
contents, of prices and of expressions, not names or numbers in a plan: one cache may serve many plans and panels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import TypeVar

import numpy as np

from forge_ray.catalog import INDICATOR_BY_NAME
from forge_ray.data import OwnBars, Panel
from forge_ray.engine import allocations, formulas
from forge_ray.engine.allocations import Allocation, Rule
from forge_ray.engine.cache import Cache
from forge_ray.engine.indicator_kernels import INDICATOR_KERNELS
from forge_ray.engine.point import key_of, touches
from forge_ray.engine.rates import rate_returns
from forge_ray.engine.readiness import Readiness, dates_of
from forge_ray.engine.tally import Tally
from forge_ray.kernels import bits
from forge_ray.kernels.equity import subtree_equity
from forge_ray.plan import (
    ALLOCATIONS,
    WEIGHTING_PARAMETERS,
    Expression,
    Op,
    Plan,
    held_tickers,
    reachable,
    resolve,
    series_key,
)
from forge_ray.tree import AxisValue
from forge_ray.tree.domains import CUSTOM
from forge_ray.tree.formulas import VARIABLES

T = TypeVar("T")
Values = Mapping[int, AxisValue]


def n_bytes(array: np.ndarray) -> int:
    return array.nbytes


class Evaluator:
    """Evaluates the expressions of one plan on one panel."""

    def __init__(self, plan: Plan, panel: Panel, cache: Cache):
        self.plan, self.panel, self.cache, self.tally = plan, panel, cache, cache.tally or Tally()
        self.n_bars = len(panel.dates)
        self._equities: dict[int, list[int]] = {}

    def series(self, i: int, values: Values) -> np.ndarray | float:
        """(n_bars,) of a series, NaN where it has no value; the number itself for a constant."""
        e = self.plan.expressions[i]
        parameters = resolve(e.parameters, values)
        if e.op is Op.NUMBER:
            return float(parameters[0])
        if e.op is Op.SCORE:
            metric, window, of = parameters
            make = partial(self._score, e.operands[0], metric, window, of, values)
            return self._kept("score", i, values, make, n_bytes)
        if e.operands:
            metric, window = parameters
            return self._of_equity(e.operands[0], metric, window, values)
        return self._of_tickers(*series_key(*parameters))

    def seen(self, i: int, values: Values) -> np.ndarray:
        """(n_bars,) of a series as the decision of each bar sees it."""
        return self._delayed(np.broadcast_to(self.series(i, values), (self.n_bars,)))

    def bits(self, i: int, values: Values) -> np.ndarray:
        """(2, n_words) packed condition: known true, known false."""
        return self._kept("bits", i, values, lambda: self._bits(i, values), n_bytes)

    def allocation(self, root: int, values: Values) -> Allocation:
        """The allocation of an expression, operands first, so that depth costs no recursion."""
        if (known := self._known(root, values)) is not None:
            return known
        self.prepare(root, values)
        done: dict[int, Allocation] = {}
        stack = [root]
        while stack:
            i = stack[-1]
            operands = [o for o in self.plan.expressions[i].operands if self.plan.expressions[o].op in ALLOCATIONS]
            missing = [o for o in operands if o not in done and not self._note(o, values, done)]
            if missing:
                stack += missing
                continue
            stack.pop()
            if i not in done:
                make = partial(self._allocate, i, values, done)
                done[i] = self._kept("allocation", i, values, make, lambda allocation: allocation.nbytes)
        return done[root]

    def prepare(self, root: int, values: Values) -> None:
        """Put the series of equities that an expression needs into the cache, innermost first: what needs one finds it
        there and recurses no deeper."""
        for i in self._equities_below(root):
            e = self.plan.expressions[i]
            if touches(values, e.axes) and self._is_of_equity(e, values):
                self.series(i, values)

    def _note(self, i: int, values: Values, done: dict[int, Allocation]) -> bool:
        if (known := self._known(i, values)) is not None:
            done[i] = known
        return known is not None

    def _known(self, i: int, values: Values) -> Allocation | None:
        cache, key = self._home("allocation", i, values)
        found = cache.find(key)
        return found if isinstance(found, Allocation) else None

    def equity(self, i: int, values: Values) -> OwnBars:
        """The simulated equity of an allocation, as the bars of a ticker that has only closes."""
        levels = self._kept("equity", i, values, lambda: self._simulated(i, values), n_bytes)
        ready = int(np.isnan(levels).sum())
        shown = np.maximum(np.arange(self.n_bars) - ready, -1)
        return OwnBars("", self.panel.dates[ready:], levels[ready:], shown, np.zeros(self.n_bars, bool))

    def ready(self, i: int, values: Values) -> int:
        """The first bar of the equity of an allocation."""
        return self._kept("ready", i, values, partial(self._first_bar, i, values), lambda _: 8)

    def _first_bar(self, i: int, values: Values) -> int:
        readiness = Readiness(self.plan, self.panel, values)
        for inner in readiness.inside(i):
            cache, key = self._home("ready", inner, values)
            if isinstance(known := cache.find(key), int):
                readiness.known[inner] = known
        return readiness.allocation(i)

    def _kept(self, what: str, i: int, values: Values, make: Callable[[], T], size: Callable[[T], int]) -> T:
        """What an expression is for some values of its axes, made only if the cache has not got it."""
        cache, key = self._home(what, i, values)
        return cache.get(key, make, size)

    def _home(self, what: str, i: int, values: Values) -> tuple[Cache, tuple]:
        """The cache of what an expression is, and its key there."""
        return self.cache, (what, *self.key(i, values))

    def key(self, i: int, values: Values) -> tuple:
        """What an expression is for some values of its axes, in any plan on any panel."""
        return (self.scope, self.plan.identities[i], *key_of(values, self.plan.expressions[i].axes))

    @cached_property
    def scope(self) -> bytes:
        """What expressions are evaluated on and by: two plans share their values only if it is the same."""
        panel, execution = self.panel, self.plan.execution
        formulas = sorted((name, formula.text) for name, formula in self.plan.formulas.items())
        rules = (execution.mode, execution.lag, execution.null, execution.cash_rate)
        on = (panel.fingerprint, panel.calendar, panel.digests)
        return hashlib.blake2b(repr((on, rules, formulas)).encode(), digest_size=16).digest()

    # series

    def _of_tickers(self, metric: str, window: int, *tickers: str) -> np.ndarray:
        panel = self.panel
        identity = (panel.calendar, *(panel.digests[panel.row(ticker)] for ticker in tickers))

        def make() -> np.ndarray:
            own = panel.bars[panel.row(tickers[0])] if len(tickers) == 1 else self._ratio(*tickers)
            return own.on_calendar(self._indicator(metric, window, own, identity))

        return self.cache.get(("series", self._definition(metric), window, *identity), make, n_bytes)

    def _of_equity(self, allocation: int, metric: str, window: int, values: Values) -> np.ndarray:
        metric, window = series_key(metric, window)
        identity = self.key(allocation, values)

        def make() -> np.ndarray:
            own = self.equity(allocation, values)
            if not len(own.close):
                return np.full(self.n_bars, np.nan)
            return own.on_calendar(self._indicator(metric, window, own, identity))

        return self.cache.get(("series", self._definition(metric), window, *identity), make, n_bytes)

    def _definition(self, metric: str) -> str:
        """What a metric is in any plan: two may give different formulas the same name."""
        return CUSTOM + self.plan.formulas[metric.removeprefix(CUSTOM)].text if metric.startswith(CUSTOM) else metric

    def _indicator(self, metric: str, window: int, own: OwnBars, identity: tuple) -> np.ndarray:
        """(n,) on the own bars of a subject. identity : of the subject, for what a formula shares."""
        if metric.startswith(CUSTOM):
            formula = self.plan.formulas[metric.removeprefix(CUSTOM)]
            return formulas.evaluate(formula, own, lambda name: self._variable(name, window, own, identity))
        entry, out = INDICATOR_BY_NAME[metric], np.empty(len(own.close))
        INDICATOR_KERNELS[metric](*(own.field(name) for name in entry.fields), window, out)
        return out

    def _variable(self, name: str, window: int, own: OwnBars, identity: tuple) -> np.ndarray:
        metric, window = series_key(VARIABLES[name].name, window)
        key = ("variable", metric, window, *identity)
        return self.cache.get(key, lambda: self._indicator(metric, window, own, identity), n_bytes)

    def _ratio(self, *tickers: str) -> OwnBars:
        """The bars that both tickers have, with the ratio of their closes; alive from the first to the last of them."""
        dates = dates_of(tickers, self.panel)
        own = [self.panel.bars[self.panel.row(ticker)] for ticker in tickers]
        over, under = (bars.close[np.searchsorted(bars.dates, dates)] for bars in own)
        last = np.searchsorted(dates, self.panel.dates, side="right") - 1
        is_alive = (last >= 0) & (self.panel.dates <= dates[-1:].max(initial=-1))
        shown = np.where(is_alive & np.logical_and.reduce([bars.shown >= 0 for bars in own]), last, -1)
        return OwnBars("/".join(tickers), dates, over / under, shown, np.zeros(self.n_bars, bool))

    def _score(self, allocation: int, metric: str, window: int, of: str, values: Values) -> np.ndarray:
        """(n_bars,) what a function ranks an allocation by; the metrics are those that each decision sees."""
        if of == "equity":
            return self._delayed(self._of_equity(allocation, metric, window, values))
        expressions, found = self.plan.expressions, self.allocation(allocation, values)
        readiness = Readiness(self.plan, self.panel, values)
        tickers = sorted(held_tickers(expressions, allocation, readiness.choices))
        if len(tickers) == 1 and (found.weights[:, self.panel.row(tickers[0])] > 0).all():
            return self._delayed(self._of_tickers(*series_key(metric, window, tickers[0])))
        total, share, n = np.zeros(self.n_bars), np.zeros(self.n_bars), np.zeros(self.n_bars, np.int64)
        last = np.full(self.n_bars, np.nan)
        for ticker in tickers:
            seen = self.score_of_ticker(metric, window, ticker)
            weight = 1.0 if of == "tickers" else found.weights[found.row_of, self.panel.row(ticker)]
            counts = ~np.isnan(seen) & (np.asarray(weight) > 0)
            total += np.where(counts, weight * seen, 0.0)
            share += np.where(counts, weight, 0.0)
            n += counts
            last = np.where(counts, seen, last)
        with np.errstate(invalid="ignore"):
            return np.where(n == 1, last, np.where(n > 1, total / share, np.nan))

    def score_of_ticker(self, metric: str, window: int, ticker: str) -> np.ndarray:
        """(n_bars,) what a ticker counts in the score of an allocation that holds it, as each decision sees it."""
        return self._delayed(self._of_tickers(*series_key(metric, window, ticker)))

    def _simulated(self, i: int, values: Values) -> np.ndarray:
        """(n_bars,) equity, NaN before it is ready."""
        found, execution, panel = self.allocation(i, values), self.plan.execution, self.panel
        ready, fills = self.ready(i, values), execution.fills
        is_held = found.weights > 0
        starts = np.concatenate([[0], np.cumsum(is_held.sum(axis=1))]).astype(np.int64)
        columns = np.nonzero(is_held)[1].astype(np.int64)
        cash = np.nan_to_num(rate_returns(panel, execution.cash_rate, fills))
        out = np.empty(self.n_bars)
        subtree_equity(
            panel.field(fills.entry), panel.field(fills.exit), panel.close, fills.step, execution.lag, ready, cash,
            found.row_of, starts, columns, found.weights[is_held], out,
        )  # fmt: skip
        return out

    def _delayed(self, array: np.ndarray) -> np.ndarray:
        if not (delay := self.plan.execution.fills.delay):
            return array
        later = np.full(len(array), np.nan)
        later[delay:] = array[:-delay]
        return later

    # bits

    def _bits(self, i: int, values: Values) -> np.ndarray:
        e = self.plan.expressions[i]
        match e.op:
            case Op.ALL | Op.ANY:
                return self._joined(e.op, e.operands, values)
            case Op.KNOWN:
                true, _ = self._flags(e.operands[0], values)
                return bits.pack(true, ~true)
            case Op.LATCH:
                (entry, _), (leave, _) = (self._flags(operand, values) for operand in e.operands)
                is_in = np.empty(self.n_bars, bool)
                bits.latch(entry, leave, is_in)
                return bits.pack(is_in, ~is_in)
            case Op.COUNT:
                true, false = map(np.stack, zip(*(self._flags(o, values) for o in e.operands), strict=True))
                quantifier, n = resolve(e.parameters, values)
                return bits.pack(*bits.count(true, false, quantifier, n))
        return bits.pack(*self.condition(i, values))

    def condition(self, i: int, values: Values) -> tuple[np.ndarray, np.ndarray]:
        """(true, false) bool arrays (n_bars,) of a comparison, its persistence or a date, as each decision sees it."""
        true, false = self._compared(i, values)
        if not self.plan.execution.fills.delay:
            return true, false
        return bits.delayed(true), bits.delayed(false)

    def _compared(self, i: int, values: Values) -> tuple[np.ndarray, np.ndarray]:
        e = self.plan.expressions[i]
        parameters = resolve(e.parameters, values)
        if e.op is Op.PERSIST:
            return bits.persist(*self._compared(e.operands[0], values), int(parameters[0]))
        if e.op is Op.DATE:
            is_within = bits.within_year(self.panel.dates, parameters[:2], parameters[2:])
            return is_within, ~is_within
        left, right = (self.series(operand, values) for operand in e.operands)
        return bits.compare(np.asarray(left), right, str(parameters[0]))

    def _flags(self, i: int, values: Values) -> tuple[np.ndarray, np.ndarray]:
        true, false = (bits.unpack(words, self.n_bars) for words in self.bits(i, values))
        return true, false

    def _joined(self, op: Op, operands: tuple[int, ...], values: Values) -> np.ndarray:
        """Kleene: an AND is true where all are, false where any is; an OR the other way round; none = false."""
        parts = [self.bits(operand, values) for operand in operands]
        if not parts:
            return bits.pack(np.zeros(self.n_bars, bool), np.ones(self.n_bars, bool))
        both, either = (0, 1) if op is Op.ALL else (1, 0)
        joined = np.empty_like(parts[0])
        joined[both] = np.bitwise_and.reduce([part[both] for part in parts])
        joined[either] = np.bitwise_or.reduce([part[either] for part in parts])
        return joined

    # allocations

    def _equities_below(self, root: int) -> list[int]:
        """What an expression needs that may be of an equity, innermost first: the deepest are then in the cache."""
        if root not in self._equities:
            below = reachable(self.plan.expressions, [root])
            series = (Op.SERIES, Op.SCORE)
            self._equities[root] = [i for i in below if (e := self.plan.expressions[i]).op in series and e.operands]
        return self._equities[root]

    def _is_of_equity(self, e: Expression, values: Values) -> bool:
        """Other scores are no cached series; each would evaluate those inside it again."""
        return e.op is Op.SERIES or resolve(e.parameters, values)[2] == "equity"

    def _allocate(self, i: int, values: Values, below: Mapping[int, Allocation]) -> Allocation:
        e = self.plan.expressions[i]
        parameters = resolve(e.parameters, values)
        match e.op:
            case Op.ROW:
                return allocations.held_row(parameters, self.panel)
            case Op.CHOOSE:
                gate, then, other = e.operands
                true, false = self._flags(gate, values)
                false = ~true if self.plan.execution.null == "else" else false
                return allocations.chosen(true, false, below[then], below[other])
            case Op.SCALE:
                value, then, other = e.operands
                low, high = parameters
                return allocations.scaled(self.seen(value, values), low, high, below[then], below[other])
        own = parameters[2:] if e.op is Op.RANK else parameters
        name, least, most, fallback = own[:WEIGHTING_PARAMETERS]
        rule = Rule(name, least, most, fallback, own[WEIGHTING_PARAMETERS:])
        n = len(rule.weights)
        parts = [below[operand] for operand in e.operands[:n]]
        if e.op is Op.BLEND:
            return allocations.blended(parts, rule, self.panel, self._columns(e.operands[n:], values))
        scores = [self.series(operand, values) for operand in e.operands[n : 2 * n]]
        volatility = self._columns(e.operands[2 * n :], values)
        rank, picked = parameters[:2]
        return allocations.ranked(parts, np.stack(scores), rank, picked, rule, self.panel, volatility)

    def _columns(self, operands: tuple[int, ...], values: Values) -> np.ndarray | None:
        """(n_bars, n) of series as decisions see them, None without any."""
        return np.stack([self.seen(i, values) for i in operands], axis=1) if operands else None
