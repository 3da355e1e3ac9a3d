"""The rows of inputs (`program.py`) at some values of the axes, as the tables that `kernels.walk` reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from forge_ray.catalog import CASH
from forge_ray.data import Panel
from forge_ray.engine.allocations import fraction
from forge_ray.engine.program import Input, Kind
from forge_ray.engine.values import Evaluator, Values
from forge_ray.kernels import bits, walk
from forge_ray.plan import Expression, Op, resolve
from forge_ray.tree.nodes import EMPTY, Weighting

RULES = {
    Weighting.EQUAL: walk.EQUAL, Weighting.DEFINED: walk.DEFINED, Weighting.CAPPED: walk.CAPPED,
    Weighting.INVERSE: walk.INVERSE, Weighting.PRO: walk.PRO,
}  # fmt: skip


class Parameters(NamedTuple):
    """Of a node, as `kernels.walk.Tables` has them. entries : (column, weight) of its sparse row."""

    integers: tuple[int, int, int, int] = (0, walk.NONE, 0, 0)
    floats: tuple[float, float] = (0.0, 0.0)
    entries: tuple[tuple[int, float], ...] = ()


Row: TypeAlias = np.ndarray | Parameters


class Table(NamedTuple):
    """Rows of inputs by kind, and the row of each in that of its kind; see `kernels.walk.Tables`."""

    bits: np.ndarray
    series: np.ndarray
    integers: np.ndarray
    floats: np.ndarray
    starts: np.ndarray
    columns: np.ndarray
    weights: np.ndarray
    row_of: np.ndarray

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self)


def read(evaluator: Evaluator, what: Input, values: Values) -> Row:
    """The row of an input: (2, n_words) packed bits of a gate, (n_bars,) of a series, parameters."""
    e = evaluator.plan.expressions[what.expression]
    if what.kind is Kind.GATE:
        return evaluator.bits(what.expression, values)
    if what.kind is Kind.PARAMETERS:
        return _parameters(e, resolve(e.parameters, values), evaluator.panel)
    if what.ticker is not None:
        metric, window, _ = resolve(e.parameters, values)
        return evaluator.score_of_ticker(metric, window, what.ticker)
    return np.asarray(
        evaluator.series(what.expression, values) if e.op is Op.SCORE else evaluator.seen(what.expression, values)
    )


def changed(what: Input, new: Row, old: Row, reached: np.ndarray) -> np.ndarray:
    """(n_words,) packed bars, of those reached, on which two rows of an input differ."""
    if not isinstance(new, np.ndarray) or not isinstance(old, np.ndarray):
        return reached if new != old else np.zeros_like(reached)
    if what.kind is Kind.GATE:
        true, false = new ^ old
        return (true | false) & reached
    differs = ~((new == old) | (np.isnan(new) & np.isnan(old)))
    return bits.pack(differs, differs)[0] & reached


def table_of(inputs: Sequence[Input], rows: Sequence[Row], n_bars: int) -> Table:
    """inputs, rows : of the same length."""
    of_kind = {kind: [j for j, what in enumerate(inputs) if what.kind is kind] for kind in Kind}
    row_of = np.empty(len(rows), np.int64)
    for members in of_kind.values():
        row_of[members] = np.arange(len(members))
    gates, series = ([rows[j] for j in of_kind[kind]] for kind in (Kind.GATE, Kind.SERIES))
    parameters = [own for own in rows if isinstance(own, Parameters)]
    entries = [entry for own in parameters for entry in own.entries]
    return Table(
        stacked(gates, (2, bits.n_words(n_bars)), np.uint64), stacked(series, (n_bars,), np.float64),
        np.array([own.integers for own in parameters], np.int64).reshape(-1, 4),
        np.array([own.floats for own in parameters], np.float64).reshape(-1, 2),
        np.cumsum([0, *(len(own.entries) for own in parameters)]),
        np.array([column for column, _ in entries], np.int64), np.array([weight for _, weight in entries], np.float64),
        row_of,
    )  # fmt: skip


def stacked(rows: Sequence, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """(n_rows, *shape) of rows of that shape, or of none."""
    return np.concatenate([np.empty((0, *shape), dtype), *(row[None] for row in rows)])


def tables_with(
    written: Table, others: Table, inputs: Sequence[Input], panel: Panel, unknown_is_cash: bool
) -> walk.Tables:
    """The rows of the tree as written, and those of variants after them. inputs : what the variants are of."""
    before = np.array([len(written.bits), len(written.series), len(written.integers)])
    later = others.row_of + before[np.array([what.kind for what in inputs], np.int64)]
    return walk.Tables(
        written.bits, others.bits, written.series, others.series,
        np.concatenate([written.integers, others.integers]), np.concatenate([written.floats, others.floats]),
        np.concatenate([written.starts, written.starts[-1] + others.starts[1:]]),
        np.concatenate([written.columns, others.columns]), np.concatenate([written.weights, others.weights]),
        np.concatenate([written.row_of, later]), unknown_is_cash, panel.close,
    )  # fmt: skip


def _parameters(e: Expression, values: tuple, panel: Panel) -> Parameters:
    if e.op is Op.ROW:
        return _held(values, panel)
    if e.op is Op.SCALE:
        low, high = values
        return Parameters(floats=(low, high))
    picked, n = values[:2] if e.op is Op.RANK else ("bottom", 0)
    name, low, high, fallback, *weights = values[2:] if e.op is Op.RANK else values
    column = walk.NONE if fallback in (None, CASH, EMPTY) else panel.row(fallback)
    own = enumerate(weights) if name == Weighting.DEFINED else ()
    return Parameters(
        (RULES[name], column, n, -1 if picked == "top" else 1), (fraction(low, 0.0), fraction(high, 1.0)), tuple(own)
    )


def _held(tickers: tuple[str, ...], panel: Panel) -> Parameters:
    """Each entry counts 1/n of the list without Empty, as `allocations.held_row` has it."""
    entries = [ticker for ticker in tickers if ticker != EMPTY]
    held = sorted({panel.row(ticker) for ticker in entries if ticker != CASH})
    row = tuple((k, entries.count(panel.tickers[k]) / len(entries)) for k in held)
    return Parameters((int(bool(entries)), walk.NONE, 0, 0), entries=row)
