"""Tables of allocations: the forms that programs write, read alike, and what is refused with line and column."""

from __future__ import annotations

import gzip
from datetime import date
from pathlib import Path

import pytest

from forge_ray.data import Allocations, as_date, read_allocations
from forge_ray.errors import DataError
from forge_ray.tree.importers import table_ticker

EXPECTED = {
    date(2024, 1, 2): {"SPY": 0.6, "BRK.B": 0.4},
    date(2024, 1, 3): {"BRK.B": 0.25},
    date(2024, 1, 4): {},
    date(2024, 1, 5): {"SPY": 1.0},
}

FORMS = {
    "Composer's table": """Date,Day Traded,$USD,SPY,BRK/B
2024-01-02,Yes,-,60.0%,40.0%
2024-01-03,Yes,75.0%,-,25.0%
2024-01-04,No,100.0%,-,-
2024-01-05,Yes,-,100.0%,-
""",
    "Composer's names of the API": """date,EQUITIES::SPY//USD,EQUITIES::BRK/B//USD,$USD
2024-01-02,0.6,0.4,0
2024-01-03,0,0.25,0.75
2024-01-04,0,0,1
2024-01-05,1,0,0
""",
    "QuantMage's lists": """Start Date,End Date,Assets,Weights
2024-01-02,2024-01-03,"SPY, BRK/B","60.0%, 40.0%"
2024-01-03,2024-01-04,BRK/B,25.0%
2024-01-04,2024-01-05,,
2024-01-05,2024-01-06,SPY,100.0%
""",
    "a broker's positions": """Account,Symbol,Name,As-of Date,% of Portfolio
1,SPY,"Trust, a",2024-01-02,60
1,BRK.B,Class B,2024-01-02,40
1,BRK.B,Class B,2024-01-03,25
1,CASH,,2024-01-03,75
1,$USD,,2024-01-04,100
1,SPY,"Trust, a",2024-01-05,100
""",
    "a data frame with its index": """,SPY,BRK.B
2024-01-02,0.6,0.4
2024-01-03,,0.25
2024-01-04,,
2024-01-05,1.0,NaN
""",
    "percent by what days add up to": """Date,SPY,BRK.B,Cash
2024-01-02,60,40,
2024-01-03,,25,75
2024-01-04,,,100
2024-01-05,100,,
""",
    "percent in the header, cash left out": """Date,SPY (%),BRK.B %
2024-01-02,60,40
2024-01-03,,25
2024-01-04,--,–
2024-01-05,1.0e2,
""",
    "a long table of fractions, newest first": """trade_date,ticker,weight_fraction
2024-01-05,SPY,1
2024-01-04,SPY,0
2024-01-03,BRK/B,.25
2024-01-02,BRK/B,0.4
2024-01-02,SPY,0.6
""",
    "times, blanks, a byte order mark and Windows lines": "\ufeffDate, SPY ,BRK.B\r\n"
    "2024-01-02 00:00:00, 60 % ,40.00%\r\n"
    "2024-01-03T00:00,,25.%\r\n\r\n2024-01-04,,\r\n2024-01-05,+100%,\r\n",
}  # fmt: skip


def read(file: Path, text: str, unit: str | None = None) -> Allocations:
    file.write_bytes(text.encode())
    return read_allocations(file, lambda ticker: table_ticker(ticker, {}), unit)


def as_days(found: Allocations) -> dict[date, dict[str, float]]:
    return {
        as_date(day): {ticker: float(w) for ticker, w in zip(found.tickers, row, strict=True) if w}
        for day, row in zip(found.dates, found.weights, strict=True)
    }


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_the_same(tmp_path: Path, form: str):
    found = read(tmp_path / "table.csv", FORMS[form])
    assert as_days(found) == {day: pytest.approx(weights) for day, weights in EXPECTED.items()}
    assert not found.weights[:, [ticker not in ("SPY", "BRK.B") for ticker in found.tickers]].any()
    with gzip.open(tmp_path / "table.csv.gz", "wb") as file:
        file.write(FORMS[form].encode())
    packed = read_allocations(tmp_path / "table.csv.gz", lambda ticker: table_ticker(ticker, {}))
    assert as_days(packed) == as_days(found)


@pytest.mark.parametrize(("header", "name"), [
    ("BRK/B", "BRK.B"), ("EQUITIES::BRK/B//USD", "BRK.B"), ("CRYPTO::BTC//USD", "BTC-USD"), (" SPY ", "SPY"),
    ("USD", "USD"), ("DAY", "DAY"), ("PCT", "PCT"), ("SPY?L=2", None),
])  # fmt: skip
def test_tickers_are_spelled_as_an_import_spells_them(tmp_path: Path, header: str, name: str | None):
    """USD, DAY and PCT are listed: no column of cash, of dates or of percents."""
    text = f"Date,{header}\n2024-01-02,1.0\n"
    if name is None:
        with pytest.raises(DataError, match=r"line 1, SPY\?L=2: expected a ticker"):
            read(tmp_path / "table.csv", text)
    else:
        assert as_days(read(tmp_path / "table.csv", text)) == {date(2024, 1, 2): {name: 1.0}}


def test_an_option_renames_after_the_spelling(tmp_path: Path):
    (tmp_path / "table.csv").write_text("Date,EQUITIES::FB//USD\n2024-01-02,1.0\n")
    found = read_allocations(tmp_path / "table.csv", lambda ticker: table_ticker(ticker, {"ticker.FB": "META"}))
    assert found.tickers == ("META",)


AMBIGUOUS = "Date,SPY\n2024-01-02,0.5\n2024-01-03,0.8\n"


def test_the_unit_can_be_said_where_the_table_does_not(tmp_path: Path):
    assert read(tmp_path / "table.csv", AMBIGUOUS, "percent").weights.ravel().tolist() == [0.005, 0.008]
    assert read(tmp_path / "table.csv", AMBIGUOUS, "fraction").weights.ravel().tolist() == [0.5, 0.8]
    mixed = "Date,SPY,TLT\n2024-01-02,50%,25\n"
    assert read(tmp_path / "table.csv", mixed, "percent").weights.tolist() == [[0.5, 0.25]]


def test_a_table_without_any_holding_is_all_cash(tmp_path: Path):
    assert as_days(read(tmp_path / "table.csv", "Date,SPY\n2024-01-02,-\n")) == {date(2024, 1, 2): {}}


def test_borrowed_money_is_negative_cash(tmp_path: Path):
    found = read(tmp_path / "table.csv", "Date,SPY,$USD\n2024-01-02,102%,-2%\n")
    assert found.weights.tolist() == [[1.02]]


SAY = "say which one: --unit percent or --unit fraction"
NUMBER = "allowed: a weight such as 12.5, 12.5% or 0.125, or nothing"
BAD: dict[str, tuple[str, str | None, list[str]]] = {
    "no date": ("Day,SPY\n1,1\n", None, [": line 1: no column Date; there: Day, SPY"]),
    "tickers without weights": (
        "Date,Symbol,Price\n2024-01-02,SPY,400\n", None,
        [": line 1: a column Symbol and no column Weight; there: Date, Symbol, Price"],
    ),
    "a column twice": (
        "Date,SPY,SPY\n2024-01-02,1,0\n", None, [": line 1: more than one column SPY; allowed: one of each"]
    ),
    "two spellings of a ticker": (
        "Date,BRK/B,BRK.B\n2024-01-02,1,0\n", None,
        [f": line 1, {name}: is BRK.B like another column; allowed: one for each ticker"
         for name in ("BRK/B", "BRK.B")],
    ),
    "columns that are no tickers": (
        "Date,SPY,Portfolio Value,Return (%)\n2024-01-02,1,2,3\n", None,
        [": line 1, Portfolio Value: expected a ticker (letters, digits and . _ ^ = / -, at most 32, no '..'), "
         "got 'Portfolio Value'"],
    ),
    "bad dates, each once": (
        "Date,SPY\n01/02/2024,1\n2024-02-30,1\n,1\n01/02/2024,1\n2024-01-05,1\n", None,
        [": line 2, Date: '01/02/2024', whose day and month could be either way round; allowed: YYYY-MM-DD",
         ": line 3, Date: '2024-02-30' is no day of the calendar; allowed: YYYY-MM-DD",
         ": line 4, Date: ''; allowed: YYYY-MM-DD"],
    ),
    "a date twice": (
        "Date,SPY\n2024-01-02,1\n2024-01-02,1\n", None,
        [": line 3: the date of line 2 again; allowed: a row for each date"],
    ),
    "a holding twice": (
        "Date,Ticker,Weight\n2024-01-02,SPY,0.5\n2024-01-02,EQUITIES::SPY//USD,0.5\n", None,
        [": line 3, Ticker: SPY again on this date; allowed: once"],
    ),
    "bad numbers, all of them": (
        'Date,SPY,TLT\n2024-01-02,half,"1,5"\n2024-01-03,1.2.3,e5\n2024-01-04,∞,%\n', None,
        [f": line {line}, {name}: {text}; {NUMBER}" for line, name, text in (
            (2, "SPY", "'half'"), (2, "TLT", "'1,5'"), (3, "SPY", "'1.2.3'"), (3, "TLT", "'e5'"), (4, "SPY", "'∞'"),
            (4, "TLT", "'%'"))],
    ),
    "short positions": (
        "Date,SPY,TLT\n2024-01-02,130%,-30%\n", None, [": line 2, TLT: '-30%'; allowed: a weight of 0 or more"]
    ),
    "lists of other lengths": (
        'Start Date,Assets,Weights\n2024-01-02,"SPY, TLT","50%, 25%, 25%"\n2024-01-03,"A, B",100%\n', None,
        [": line 2: 2 tickers with 3 weights; allowed: as many",
         ": line 3: 2 tickers with 1 weights; allowed: as many"],
    ),
    "percent or fractions": (
        AMBIGUOUS, None, [f": the weights of a day add up to 0.5 to 0.8, which may be percent or fractions; {SAY}"]
    ),
    "a day of fractions among percents": (
        "Date,SPY\n2024-01-02,100\n2024-01-03,1\n", None,
        [f": the weights of a day add up to 1 to 100, which may be percent or fractions; {SAY}"],
    ),
    "a number without a sign among percents": (
        "Date,SPY,TLT\n2024-01-02,50%,50%\n2024-01-03,100%,0\n2024-01-04,0.4,60%\n", None,
        [f": line 4, SPY: a number without a unit, while line 2, SPY, is in percent; {SAY}"],
    ),
    "a unit that the table denies": (
        "Date,SPY,TLT\n2024-01-02,50%,50%\n", "fraction",
        [": line 2, SPY: in percent like 1 more, and the unit is said to be fraction"],
    ),
    "more than all": (
        "Date,SPY,TLT\n2024-01-02,100%,\n2024-01-03,100%,50%\n2024-01-04,60%,60%\n", None,
        [f": line {line}: the weights add up to {total}%; allowed: up to 100%, by rounding up to 105%"
         for line, total in ((3, "150.00"), (4, "120.00"))],
    ),
    "amounts of money": (
        'Date,SPY\n2024-01-02,"12,500.00"\n', None,
        [f": the weights of a day add up to 12500 to 12500, which may be percent or fractions; {SAY}"],
    ),
    "percents said to be fractions": (
        "Date,SPY\n2024-01-02,50\n", "fraction",
        [": line 2: the weights add up to 5000.00%; allowed: up to 100%, by rounding up to 105%"],
    ),
    "no rows": ("Date,SPY\n", None, [": line 2: no row with a date; allowed: one for each day"]),
    "semicolons": (
        "Date;SPY\n2024-01-02;1\n", None, [": line 1: columns are separated by ';': 'Date;SPY'; allowed: commas"]
    ),
    "a row too long": ("Date,SPY\n2024-01-02,1,2\n", None, [": line 2: Expected 2 columns, got 3: 2024-01-02,1,2"]),
    "a spreadsheet": ("PK\x03\x04\0\0\n", None, [": holds NUL bytes; allowed: UTF-8 text"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_table_is_refused_with_every_mistake(tmp_path: Path, name: str):
    text, unit, messages = BAD[name]
    with pytest.raises(DataError) as refused:
        read(tmp_path / "table.csv", text, unit)
    assert [str(problem) for problem in refused.value.problems] == [f"{tmp_path / 'table.csv'}{m}" for m in messages]
