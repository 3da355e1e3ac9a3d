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

from forge_ray.data.panel import History, Panel, as_date, as_day, build_panel
from forge_ray.data.samples import sample_table, sample_tickers
from forge_ray.errors import DataError, Problem, nearest, shown, unknown

CLEAN_POLICIES = ("sort", "drop_duplicates", "drop_invalid")
SAMPLE = "sample:"

Reader = Callable[[str, list[Problem]], pa.Table | None]


def load(
    source: str,
    tickers: Iterable[str],
    *,
    benchmark: str | None = None,
    start: date | None = None,
    end: date | None = None,
    clean: Iterable[str] = (),
) -> Panel:
    """Load the tickers and the benchmark from a source and build the panel.

    source : ``"sample:us20"`` or a folder of ``{TICKER}.parquet`` with columns Date, Close and, if adjusted, Adj Close.
    start, end : bars outside do not exist, also not for indicators.
    clean : what to mend instead of refusing: ``sort``, ``drop_duplicates`` (the last row of a date stays),
    ``drop_invalid`` (rows whose price is missing, infinite, zero or negative).
    Raises `DataError` with every problem of every ticker.
    """
    policies = tuple(clean)
    problems = [unknown("data.clean", "policy", policy, CLEAN_POLICIES) for policy in policies
                if policy not in CLEAN_POLICIES]  # fmt: skip
    available, read = _open(source)
    wanted = sorted(set(tickers))
    names = [*wanted, *([benchmark] if benchmark else [])]
    missing = [name for name in dict.fromkeys(names) if name not in available]
    problems += [_missing(source, name, available, is_benchmark=name not in wanted) for name in missing]
    histories = {}
    for name in dict.fromkeys(names):
        if name not in missing and (table := read(name, problems)) is not None:
            history = _history(name, table, policies, problems)
            histories[name] = history and _cut(history, start, end, problems)
    if problems:
        raise DataError(problems)
    return build_panel([histories[name] for name in wanted], histories[benchmark] if benchmark else None)


def _open(source: str) -> tuple[list[str], Reader]:
    if source.startswith(SAMPLE):
        name = source.removeprefix(SAMPLE)
        return list(sample_tickers(name)), lambda ticker, problems: sample_table(name, ticker)
    folder = Path(source)
    if not folder.is_dir():
        raise DataError([Problem("data", f'no folder {shown(source)}; allowed: a folder or "sample:us20"')])
    files = {
        file.stem: file for file in sorted(folder.iterdir()) if file.suffix == ".parquet" and _is_inside(file, folder)
    }
    return list(files), lambda ticker, problems: _read_file(files[ticker], problems)


def _is_inside(file: Path, folder: Path) -> bool:
    """A link must not lead out of the folder."""
    return file.resolve().parent == folder.resolve()


def _missing(source: str, name: str, available: list[str], *, is_benchmark: bool) -> Problem:
    some = ", ".join(available[:30]) + (f" and {len(available) - 30:,} more" if len(available) > 30 else "")
    place = "benchmark" if is_benchmark else f"ticker {name}"
    return Problem(place, f"{name} is not in {source}{nearest(name, available)}; there: {some or 'nothing'}")


def _read_file(file: Path, problems: list[Problem]) -> pa.Table | None:
    try:
        names = pq.read_schema(file).names
        missing = [column for column in ("Date", "Close") if column not in names]
        if missing:
            text = f"no column {' and no column '.join(missing)}; there: {', '.join(names) or 'none'}"
            problems.append(Problem(str(file), text))
            return None
        columns = ["Date", "Close", *(["Adj Close"] if "Adj Close" in names else [])]
        return pq.ParquetFile(file, page_checksum_verification=True).read(columns=columns)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        problems.append(Problem(str(file), f"not a readable Parquet file: {str(error).splitlines()[0]}"))
        return None


def _history(ticker: str, table: pa.Table, policies: tuple[str, ...], problems: list[Problem]) -> History | None:
    """Dates and chained closes of a table, or None after adding its problems."""
    before = len(problems)
    days = _days(ticker, table["Date"], problems)
    close = _numbers(ticker, table["Close"], "Close", problems)
    adjusted = (
        _numbers(ticker, table["Adj Close"], "Adj Close", problems) if "Adj Close" in table.column_names else close
    )
    if not len(table):
        problems.append(Problem(f"ticker {ticker}", "no rows"))
    if len(problems) > before or days is None or close is None or adjusted is None:
        return None
    cleaned: dict[str, int] = {}
    rows = _ordered(ticker, days, policies, cleaned, problems)
    rows = _valid(ticker, days, rows, {"Close": close, "Adj Close": adjusted}, policies, cleaned, problems)
    if len(problems) > before:
        return None
    if not len(rows):
        problems.append(Problem(f"ticker {ticker}", "no row is left after cleaning"))
        return None
    chain = close[rows[0]] * (adjusted[rows] / adjusted[rows[0]]) if adjusted is not close else close[rows]
    return History(ticker, days[rows], chain, cleaned)


def _days(ticker: str, column: pa.ChunkedArray, problems: list[Problem]) -> np.ndarray | None:
    """Exchange dates as int64 days. A timestamp with a zone is the date on the clocks of that zone."""
    kind = column.type
    try:
        if pa.types.is_timestamp(kind) and kind.tz:
            column = pc.call_function("local_timestamp", [column])
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_temporal(kind):
            dates = pc.cast(column, pa.date32(), safe=False)
        else:
            problems.append(Problem(f"ticker {ticker}", f"Date is {kind}; allowed: dates, timestamps, ISO strings"))
            return None
    except pa.ArrowInvalid as error:
        problems.append(Problem(f"ticker {ticker}", f"Date: {str(error).splitlines()[0]}; allowed: YYYY-MM-DD"))
        return None
    if dates.null_count:
        first = pc.index(dates.is_null(), True).as_py()
        problems.append(Problem(f"ticker {ticker}", f"{dates.null_count} rows without a date, first row {first}"))
        return None
    return pc.cast(dates, pa.int32()).to_numpy().astype(np.int64)


def _numbers(ticker: str, column: pa.ChunkedArray, name: str, problems: list[Problem]) -> np.ndarray | None:
    kind = column.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
        problems.append(Problem(f"ticker {ticker}", f"{name} is {kind}; allowed: numbers"))
        return None
    return np.asarray(pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False), np.float64)


def _ordered(
    ticker: str, days: np.ndarray, policies: tuple[str, ...], cleaned: dict[str, int], problems: list[Problem]
) -> np.ndarray:
    """Row numbers in date order, one per date."""
    rows = np.arange(len(days))
    back = np.flatnonzero(np.diff(days) < 0)
    if len(back):
        if "sort" not in policies:
            text = f"dates are not sorted: {as_date(days[back[0] + 1])} follows {as_date(days[back[0]])}"
            problems.append(
                Problem(f"ticker {ticker}", f'{text} ({len(back)} times); allowed: ascending, or clean "sort"')
            )
            return rows
        cleaned["sort"] = len(back)
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
            return rows
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
    return History(history.ticker, history.dates[first:last], history.close[first:last], history.cleaned)
