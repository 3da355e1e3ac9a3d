"""Names of columns: what a source calls each of ours, by exact name or by a mapping. Nothing is guessed, and nothing
that may be meant is passed over: silently loading unadjusted prices is the worst that a loader can do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from forge_ray.errors import DataError, Problem, listed, nearest, shown, step, unknown

COLUMNS = ("Ticker", "Date", "Open", "High", "Low", "Close", "Adj Close", "Volume")
COLUMN_OF = {"open": "Open", "high": "High", "low": "Low", "close": "Close", "volume": "Volume"}
FIELD_OF = {column: field for field, column in COLUMN_OF.items()}
PLACE = "data.columns"
MAX_LISTED = 30
TYPO = 0.8

_ALSO_CALLED = {
    "Ticker": ("tickers", "symbol", "symbols", "sym", "tic", "instrument", "asset", "security"),
    "Date": ("dates", "datetime", "timestamp", "time", "day", "dt"),
    "Open": ("openprice", "opening", "pxopen"),
    "High": ("highprice", "pxhigh"),
    "Low": ("lowprice", "pxlow"),
    "Close": ("closeprice", "closing", "last", "price", "pxlast", "pxclose"),
    "Adj Close": ("adj", "adjusted"),
    "Volume": ("vol", "pxvolume"),
}


@dataclass(frozen=True)
class Wanted:
    """Columns to read, by our names: those that must be there, and those that are read if they are there."""

    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()


def read_columns(value: object, place: str = PLACE) -> tuple[dict[str, str], list[Problem]]:
    """A mapping from our names to those of a source, such as ``{"Close": "px_last"}``, and what is wrong with it."""
    if not isinstance(value, Mapping):
        return {}, [Problem(place, f'expected an object such as {{"Close": "px_last"}}, got {shown(value)}')]
    problems = [unknown(f"{place}.{step(str(key))}", "column", key, COLUMNS) for key in value if key not in COLUMNS]
    problems += [
        Problem(f"{place}.{step(str(key))}", f"expected the name of a column, got {shown(name)}")
        for key, name in value.items()
        if not isinstance(name, str) or not name
    ]
    found = {key: name for key, name in value.items() if key in COLUMNS and isinstance(name, str) and name}
    return found, problems + _shared(found, place)


def find_columns(names: Sequence[str], mapping: Mapping[str, str], wanted: Wanted, place: str) -> dict[str, str]:
    """What a source with columns `names` calls the wanted ones, without the optional ones that it lacks.

    Raises `DataError` for a column that is missing, there twice, or said to be another one, and for a wanted column,
    optional or not, that is absent while one with a similar name is there.
    """
    called = {column: mapping.get(column, column) for column in (*wanted.needed, *wanted.optional)}
    found = {column: name for column, name in called.items() if name in names}
    there = f"there: {listed(names, MAX_LISTED)}"
    problems = [
        Problem(place, f"no column {shown(name)}, which {PLACE}.{column} names{nearest(name, names)}; {there}")
        for column, name in mapping.items()
        if name not in names
    ]
    unsaid = [column for column in called if column not in found and column not in mapping]
    free = [name for name in names if name not in COLUMNS and name not in mapping.values()]
    meant = {column: similar for column in unsaid if (similar := _similar(column, free)) is not None}
    if lacking := [column for column in unsaid if column in wanted.needed or column in meant]:
        hint = f'; if that is meant, map it: "columns": {json.dumps(meant, ensure_ascii=False)}' if meant else ""
        problems.append(Problem(place, f"no column {' and no column '.join(lacking)}; {there}{hint}"))
    if twice := [name for name in found.values() if names.count(name) > 1]:
        repeated = listed(dict.fromkeys(twice), MAX_LISTED)
        problems.append(Problem(place, f"more than one column {repeated}; allowed: one of each"))
    problems += _shared(found, place)
    if problems:
        raise DataError(problems)
    return found


def _shared(found: Mapping[str, str], place: str) -> list[Problem]:
    """One column of the source cannot be two of ours."""
    ours: dict[str, list[str]] = {}
    for column, name in found.items():
        ours.setdefault(name, []).append(column)
    return [
        Problem(place, f"{shown(name)} is {' and '.join(columns)} at once; allowed: a column of its own for each")
        for name, columns in ours.items()
        if len(columns) > 1
    ]


def _similar(column: str, names: Iterable[str]) -> str | None:
    """The first name that may be meant as a column."""
    return next((name for name in names if _may_mean(column, name)), None)


def _may_mean(column: str, name: str) -> bool:
    ours, theirs = _letters(column), _letters(name)
    if column == "Adj Close" and "adj" in theirs.replace("unadj", ""):
        return theirs in _ALSO_CALLED[column] or any(price in theirs for price in ("close", "price", "last", "px"))
    likeness = SequenceMatcher(None, ours, theirs)
    alike = likeness.real_quick_ratio() >= TYPO and likeness.ratio() >= TYPO
    return theirs in (ours, *_ALSO_CALLED[column]) or alike


def _letters(name: str) -> str:
    return re.sub(r"[^a-z]", "", name[:200].lower())
