"""Dates written as text: ISO only, with or without a time. 01/02/2003 is two days, and none of them is guessed."""

from __future__ import annotations

import re
from datetime import date
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from forge_ray.errors import shown

_ISO = r"^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?( ?(Z|[+-]\d{2}:?\d{2}))?)?$"
_WHY = ", whose day and month could be either way round"
_UNCLEAR = re.compile(r"\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}")


class BadDate(NamedTuple):
    """A text that is no date, where it stands among the others, and why it is none if that is known."""

    row: int
    value: str
    why: str


def bad_date(column: pa.Array | pa.ChunkedArray) -> BadDate | None:
    """The first string that is not written like a date."""
    row = pc.call_function("match_substring_regex", [column], pc.MatchSubstringOptions(_ISO)).index(False).as_py()
    if row < 0:
        return None
    value = column[row].as_py()
    return BadDate(row, shown(value), _WHY if _UNCLEAR.fullmatch(value) else "")


def read_day(text: str) -> date:
    """The day of one text that is written like a date. Raises ValueError that says what is allowed."""
    if bad := bad_date(pa.array([text])):
        raise ValueError(f"{bad.value}{bad.why}; allowed: YYYY-MM-DD")
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        raise ValueError(f"{shown(text)} is no day of the calendar; allowed: YYYY-MM-DD") from None


def iso_days(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """The dates of strings that are written like dates: the day as it is written, whatever the clock and the zone.

    Raises `pyarrow.ArrowInvalid` for a day that does not exist.
    """
    return pc.call_function("utf8_slice_codeunits", [column], pc.SliceOptions(0, 10)).cast(pa.date32())
