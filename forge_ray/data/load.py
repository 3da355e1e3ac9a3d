"""Sources → `Panel`: the embedded samples and folders of ``{TICKER}.parquet``.

1. Match the tickers against what the source has; a ticker never becomes a path.
2. Read the needed columns, check every row; collect the problems of all tickers, then fail at once.
3. Chain prices from the ticker's first bar in the source, cut to start..end, put them on their calendar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from forge_ray.catalog import CASH
from forge_ray.data.panel import History, Panel, as_date, as_day, build_panel
from forge_ray.data.parquet import read_columns
from forge_ray.data.samples import sample_table, sample_tickers
from forge_ray.errors import DataError, Problem, listed, nearest, shown, step, unknown

CLEAN_POLICIES = ("sort", "drop_duplicates", "drop_invalid")
SAMPLE = "sample:"
MAX_WORDS = 300
FIRST_DAY, LAST_DAY = as_day(date.min), as_day(date.max)

COLUMN_OF = {"open": "Open", "high": "High", "low": "Low", "close": "Close", "volume": "Volume"}

Reader = Callable[[str, tuple[str, ...], list[Problem]], pa.Table | None]


def load(
    source: str,
    tickers: Iterable[str],
    *,
    carried: Iterable[str] = (),
    fields: Iterable[str] = ("close",),
    start: date | None = None,
    end: date | None = None,
    clean: Iterable[str] = (),
    calendar: str = "intersection",
) -> Panel:
    """Load tickers from a source and build the panel.

    source : a sample such as ``"sample:us20"``, or a folder of ``{TICKER}.parquet`` with columns Date, Open, High, Low,
    Close, Adj Close, Volume, of which only Date, Close and what `fields` asks for are required.
    carried : tickers that do not shape the calendar, such as the benchmark. fields : open, high, low, close, volume.
    Prices are total-return chains from the ticker's first bar in the source: open, high and low are scaled by the
    factor of their bar, volume by its inverse.
    start, end : bars outside do not exist, also not for indicators.
    clean : what to mend instead of refusing, in this order: ``sort``, ``drop_duplicates`` (the last row of a date
    stays), ``drop_invalid`` (rows whose price is missing, infinite, zero or negative).
    calendar : "intersection" or "union", see `build_panel`.
    CASH is never loaded, whatever the source has under that name.
    Raises `DataError` with every problem of every ticker.
    """
    policies = tuple(clean)
    problems = [unknown("data.clean", "policy", policy, CLEAN_POLICIES) for policy in policies
                if policy not in CLEAN_POLICIES]  # fmt: skip
    available, read = _open(source)
    wanted, beside = sorted(set(tickers) - {CASH}), sorted(set(carried))
    others = tuple(name for name in COLUMN_OF if name in set(fields) and name != "close")
    missing = [name for name in dict.fromkeys([*wanted, *beside]) if name not in available]
    problems += [_missing(source, name, available, is_carried=name not in wanted) for name in missing]
    histories: dict[str, History | None] = {}
    for name in dict.fromkeys([*wanted, *beside]):
        if name not in missing and (table := read(name, others, problems)) is not None:
            history = _history(name, table, others, policies, problems)
            histories[name] = history and _cut(history, start, end, problems)
    if problems:
        raise DataError(problems)
    found = {name: history for name, history in histories.items() if history is not None}
    return build_panel([found[name] for name in wanted], [found[name] for name in beside], calendar)


def _open(source: str) -> tuple[list[str], Reader]:
    if source.startswith(SAMPLE):
        name = source.removeprefix(SAMPLE)
        return list(sample_tickers(name)), lambda ticker, others, problems: _read_sample(name, ticker, others, problems)
    folder = Path(source)
    if not _is_folder(folder):
        raise DataError([Problem("data", f'no folder {shown(source, MAX_WORDS)}; allowed: a folder or "sample:us20"')])
    files = {
        file.stem: file
        for file in sorted(folder.glob("*.parquet"))
        if file.is_file() and _is_inside(file, folder)  # in this order: resolving a link to itself fails
    }
    return list(files), lambda ticker, others, problems: _read_file(files[ticker], others, problems)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # the name is too long, or a folder above may not be entered
        return False


def _is_inside(file: Path, folder: Path) -> bool:
    """A link must not lead out of the folder."""
    return file.resolve().parent == folder.resolve()


def _missing(source: str, name: str, available: list[str], *, is_carried: bool) -> Problem:
    place = "benchmark" if is_carried else f"ticker {step(name)}"
    there = listed(available, 30)
    return Problem(place, f"{step(name)} is not in {source}{nearest(name, available)}; there: {there}")


def _read_sample(name: str, ticker: str, others: tuple[str, ...], problems: list[Problem]) -> pa.Table | None:
    table = sample_table(name, ticker)
    missing = [COLUMN_OF[other] for other in others if COLUMN_OF[other] not in table.column_names]
    if missing:
        problems.append(_no_column(f"{SAMPLE}{name} {ticker}", missing, table.column_names))
        return None
    return table


def _no_column(place: str, missing: list[str], names: list[str]) -> Problem:
    return Problem(place, f"no column {' and no column '.join(missing)}; there: {listed(names)}")


def _read_file(file: Path, others: tuple[str, ...], problems: list[Problem]) -> pa.Table | None:
    try:
        names = pq.read_schema(file).names
        needed = ["Date", "Close", *(COLUMN_OF[other] for other in others)]
        missing = [column for column in needed if column not in names]
        if missing:
            problems.append(_no_column(str(file), missing, names))
            return None
        columns = [*needed, *(["Adj Close"] if "Adj Close" in names else [])]
        twice = [column for column in columns if names.count(column) > 1]
        if twice:
            problems.append(Problem(str(file), f"more than one column {' and '.join(twice)}; allowed: one of each"))
            return None
        return read_columns(file, columns)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        problems.append(Problem(str(file), f"not a readable Parquet file: {_words(error)}"))
        return None


def _words(error: Exception) -> str:
    """What Arrow says, on one line; it quotes the bytes that it meets."""
    return step(str(error).partition("\n")[0] or type(error).__name__, MAX_WORDS)


def _history(
    ticker: str, table: pa.Table, others: tuple[str, ...], policies: tuple[str, ...], problems: list[Problem]
) -> History | None:
    """Dates and chained fields of a table, or None after adding its problems."""
    before = len(problems)
    days = _days(ticker, table["Date"], problems)
    close = _numbers(ticker, table["Close"], "Close", problems)
    adjusted = (
        _numbers(ticker, table["Adj Close"], "Adj Close", problems) if "Adj Close" in table.column_names else close
    )
    further = {name: _numbers(ticker, table[COLUMN_OF[name]], COLUMN_OF[name], problems) for name in others}
    if not len(table):
        problems.append(Problem(f"ticker {ticker}", "no rows"))
    if len(problems) > before or days is None or close is None or adjusted is None:
        return None
    cleaned: dict[str, int] = {}
    rows = _ordered(ticker, days, policies, cleaned, problems)
    columns = {"Close": close} if adjusted is close else {"Close": close, "Adj Close": adjusted}
    rows = _valid(ticker, days, rows, columns, policies, cleaned, problems)
    if len(problems) > before:
        return None
    if not len(rows):
        problems.append(Problem(f"ticker {ticker}", "no row is left after cleaning"))
        return None
    chain = close[rows] if adjusted is close else _chain(ticker, days[rows], close[rows], adjusted[rows], problems)
    if chain is None:
        return None
    scaled = {}
    for name, values in further.items():
        if values is not None:
            _check_further(ticker, COLUMN_OF[name], days[rows], values[rows], problems)
            scaled[name] = values[rows]
            if adjusted is not close:
                scaled[name] = _scaled(ticker, name, days[rows], values[rows], close[rows], chain, problems)
    return None if len(problems) > before else History(ticker, days[rows], chain, cleaned, scaled)


def _scaled(
    ticker: str, name: str, days: np.ndarray, values: np.ndarray, close: np.ndarray, chain: np.ndarray,
    problems: list[Problem],
) -> np.ndarray:  # fmt: skip
    """A field on the scale of the chain: prices by the factor of their bar, volume by its inverse."""
    with np.errstate(all="ignore"):
        scaled = values * (close / chain) if name == "volume" else values * (chain / close)
    bad = np.flatnonzero((np.isfinite(values) & ~np.isfinite(scaled)) | ((scaled == 0) & (values != 0)))
    if len(bad):
        text = f"{COLUMN_OF[name]} {values[bad[0]]:g}, adjusted as Close is, would be {scaled[bad[0]]:g}"
        text = f"{text} on {as_date(days[bad[0]])} ({len(bad)} bad rows); allowed: finite and above 0"
        problems.append(Problem(f"ticker {ticker}", text))
    return scaled


def _check_further(ticker: str, column: str, days: np.ndarray, values: np.ndarray, problems: list[Problem]) -> None:
    """A missing value is allowed; an infinite or negative one, or a price of zero, is not."""
    wrong = np.isinf(values) | (values < 0) | ((values == 0) & (column != "Volume"))
    if wrong.any():
        first = int(np.argmax(wrong))
        text = f"{column} is {values[first]:g} on {as_date(days[first])} ({int(wrong.sum())} bad rows)"
        allowed = "at least 0" if column == "Volume" else "above 0"
        problems.append(Problem(f"ticker {ticker}", f"{text}; allowed: finite and {allowed}, or missing"))


def _chain(
    ticker: str, days: np.ndarray, close: np.ndarray, adjusted: np.ndarray, problems: list[Problem]
) -> np.ndarray | None:
    """Total-return prices that start at the first close, so that new bars never rewrite history."""
    with np.errstate(over="ignore", under="ignore"):
        chain = close[0] * (adjusted / adjusted[0])
    bad = np.flatnonzero(~(np.isfinite(chain) & (chain > 0)))
    if not len(bad):
        return chain
    text = f"Adj Close goes from {adjusted[0]:g} to {adjusted[bad[0]]:g} on {as_date(days[bad[0]])}"
    problems.append(Problem(f"ticker {ticker}", f"{text}; allowed: what keeps the price finite and above 0"))
    return None


def _days(ticker: str, column: pa.ChunkedArray, problems: list[Problem]) -> np.ndarray | None:
    """Exchange dates as int64 days. A timestamp with a zone is the date on the clocks of that zone."""
    kind, place = column.type, f"ticker {ticker}"
    if not any(fits(kind) for fits in _DATE_TYPES):
        problems.append(Problem(place, f"Date is {kind}; allowed: dates, timestamps, ISO strings"))
        return None
    if column.null_count:
        first = pc.index(column.is_null(), True).as_py()
        problems.append(Problem(place, f"{column.null_count} rows without a date, first row {first}"))
        return None
    try:
        days = _whole_days(column)
    except pa.ArrowInvalid as error:
        problems.append(Problem(place, f"Date: {_words(error)}; allowed: YYYY-MM-DD"))
        return None
    outside = np.flatnonzero((days < FIRST_DAY) | (days > LAST_DAY))
    if len(outside):
        text = f"Date is {kind} and far from any date in row {outside[0]} ({len(outside)} rows)"
        problems.append(Problem(place, f"{text}; allowed: {date.min} to {date.max}, in the unit it says"))
        return None
    return days


_DATE_TYPES = (pa.types.is_date, pa.types.is_timestamp, pa.types.is_string, pa.types.is_large_string)
_PER_DAY = {"s": 86_400, "ms": 86_400 * 10**3, "us": 86_400 * 10**6, "ns": 86_400 * 10**9}


def _whole_days(column: pa.ChunkedArray) -> np.ndarray:
    if not pa.types.is_timestamp(column.type):
        return pc.cast(pc.cast(column, pa.date32()), pa.int32()).to_numpy().astype(np.int64)
    if column.type.tz:
        column = pc.call_function("local_timestamp", [column])
    # a cast to date32 would wrap around for a timestamp in the wrong unit
    return pc.cast(column, pa.int64()).to_numpy() // _PER_DAY[column.type.unit]


def _numbers(ticker: str, column: pa.ChunkedArray, name: str, problems: list[Problem]) -> np.ndarray | None:
    kind = column.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
        problems.append(Problem(f"ticker {ticker}", f"{name} is {kind}; allowed: numbers"))
        return None
    return np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)


def _ordered(
    ticker: str, days: np.ndarray, policies: tuple[str, ...], cleaned: dict[str, int], problems: list[Problem]
) -> np.ndarray:
    """Row numbers in date order, one per date."""
    rows = np.arange(len(days))
    back = np.flatnonzero(np.diff(days) < 0)
    if len(back):
        if "sort" in policies:
            cleaned["sort"] = len(back)
        else:
            text = f"dates are not sorted: {as_date(days[back[0] + 1])} follows {as_date(days[back[0]])}"
            problems.append(
                Problem(f"ticker {ticker}", f'{text} ({len(back)} times); allowed: ascending, or clean "sort"')
            )
        rows = np.argsort(days, kind="stable")
    same = np.flatnonzero(np.diff(days[rows]) == 0)
    if len(same):
        if "drop_duplicates" not in policies:
            text = f"date {as_date(days[rows[same[0]]])} appears more than once ({len(same)} rows too many)"
            problems.append(Problem(f"ticker {ticker}", f'{text}; allowed: once, or clean "drop_duplicates"'))
            return rows
        cleaned["drop_duplicates"] = len(same)
        rows = np.delete(rows, same)
    return rows


def _valid(
    ticker: str, days: np.ndarray, rows: np.ndarray, columns: dict[str, np.ndarray], policies: tuple[str, ...],
    cleaned: dict[str, int], problems: list[Problem],
) -> np.ndarray:  # fmt: skip
    """The rows whose prices are finite and above zero."""
    good = np.ones(len(rows), bool)
    for name, values in columns.items():
        fine = np.isfinite(values[rows]) & (values[rows] > 0)
        bad = np.flatnonzero(~fine)
        if len(bad) and "drop_invalid" not in policies:
            first = rows[bad[0]]
            text = f"{name} is {values[first]:g} on {as_date(days[first])} ({len(bad)} bad rows)"
            problems.append(
                Problem(f"ticker {ticker}", f'{text}; allowed: finite and above 0, or clean "drop_invalid"')
            )
        good &= fine
    if not good.all():
        cleaned["drop_invalid"] = int((~good).sum())
    return rows[good]


def _cut(history: History, start: date | None, end: date | None, problems: list[Problem]) -> History | None:
    first = 0 if start is None else int(np.searchsorted(history.dates, as_day(start)))
    last = len(history.dates) if end is None else int(np.searchsorted(history.dates, as_day(end), side="right"))
    if first >= last:
        has = f"it has {as_date(history.dates[0])} to {as_date(history.dates[-1])}"
        problems.append(
            Problem(f"ticker {history.ticker}", f"no bar from {start or 'the start'} to {end or 'the end'}; {has}")
        )
        return None
    kept = slice(first, last)
    others = {name: values[kept] for name, values in history.others.items()}
    return History(history.ticker, history.dates[kept], history.close[kept], history.cleaned, others)
