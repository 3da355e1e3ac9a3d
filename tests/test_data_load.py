"""Sources: the sample, folders of Parquet, date types and zones, adjustment, cleaning, and every bad input."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forge_ray.data import Panel, as_day, load, sample_tickers
from forge_ray.errors import DataError

DAYS = [date(2020, 1, number) for number in (2, 3, 6, 7, 8)]
CLOSES = [10.0, 11.0, 12.0, 13.0, 14.0]
NAN = float("nan")


def table(dates: object = None, close: object = None, **more: object) -> pa.Table:
    """Five bars; `Adj_Close` is the column "Adj Close"."""
    columns = {"Date": DAYS if dates is None else dates, "Close": CLOSES if close is None else close, **more}
    return pa.table({name.replace("_", " "): values for name, values in columns.items()})


def put(folder: Path, **tables: pa.Table) -> str:
    for ticker, content in tables.items():
        pq.write_table(content, folder / f"{ticker}.parquet")
    return str(folder)


def days_of(panel: Panel) -> list[date]:
    return [panel.date(t) for t in range(len(panel.dates))]


ALLOWED = (
    "allowed: a folder of {TICKER}.parquet and {TICKER}.csv, one .parquet, .csv or .csv.gz file with a column Ticker, "
    'or a sample such as "sample:us20"'
)


def refusal(source: str, *tickers: str, **options: object) -> list[str]:
    """The problems of a load that is refused, as text."""
    with pytest.raises(DataError) as caught:
        load(source, tickers, **options)  # type: ignore[arg-type]
    assert caught.value.exit_code == 2
    return [str(problem) for problem in caught.value.problems]


# The sample.

STOCKS = ["AAPL", "AMD", "BAC", "BBY", "CVX", "GE", "HD", "JNJ", "JPM", "KO"]
STOCKS += ["LLY", "MRK", "MSFT", "PEP", "PFE", "PG", "RRC", "UNH", "WMT", "XOM"]


def test_the_sample_has_20_stocks_and_the_index():
    assert sample_tickers("us20") == tuple(sorted([*STOCKS, "SPX"]))


def test_the_sample_has_8313_bars_without_a_gap():
    panel = load("sample:us20", STOCKS, carried={"SPX": "benchmark"})
    assert panel.close.shape == (20, 8_313)
    assert (panel.date(0), panel.date(-1)) == (date(1990, 1, 2), date(2022, 12, 28))
    assert np.isfinite(panel.close).all() and (panel.close > 0).all()
    assert panel.carried["SPX"]["close"] is not None and np.isfinite(panel.carried["SPX"]["close"]).all()
    assert set(panel.dropped.values()) == {0} and panel.cleaned == {}


def test_the_sample_holds_the_floats_of_its_source():
    """First and last row of the two CSV files in the wheel."""
    panel = load("sample:us20", ["AAPL", "UNH"], carried={"SPX": "benchmark"})
    assert panel.close[:, [0, -1]].tolist() == [[0.264, 125.674], [0.31, 524.422]]
    assert panel.carried["SPX"]["close"] is not None and panel.carried["SPX"]["close"][[0, -1]].tolist() == [
        359.69,
        3783.22,
    ]
    np.testing.assert_array_equal(panel.close, np.round(panel.close, 3))


def test_the_sample_is_small_and_carries_its_notice():
    folder = Path(load.__code__.co_filename).parent / "samples"
    assert (folder / "us20.parquet").stat().st_size < 600_000
    notice = (folder / "NOTICE.md").read_text()
    for needed in ("skfolio", "1.12.2", "BSD 3-Clause", "Copyright (c) 2023-2026", "Survivors only", "8,313"):
        assert needed in notice


def test_the_whole_sample_loads_in_well_under_a_second():
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        load("sample:us20", STOCKS, carried={"SPX": "benchmark"})
        seconds.append(time.perf_counter() - begin)
    assert min(seconds) < 0.5


def test_loading_needs_neither_pandas_nor_polars(tmp_path: Path):
    for name in ("pandas", "polars", "numba", "ray"):
        (tmp_path / f"{name}.py").write_text("raise ImportError")
    code = "import sys; sys.path.insert(0, sys.argv[1]); from forge_ray.data import load; load('sample:us20', ['AAPL'])"
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 0


def test_csv_is_read_without_threads_of_arrow(tmp_path: Path):
    """One that is left with Python's memory when the process ends aborts it."""
    (tmp_path / "AAA.csv").write_text("Date,Close\n2020-01-02,1.5\n2020-01-03,1.6\n")
    code = """
import sys, psutil, pyarrow as pa, pyarrow.csv as csv
from forge_ray.data import load
csv.read_csv(pa.BufferReader(b"A\\n1\\n"), read_options=csv.ReadOptions(use_threads=False))  # starts one for signals
threads = psutil.Process().num_threads
before = threads()
load(sys.argv[1], ["AAA"])
sys.exit(threads() - before)
"""
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 0


def test_the_benchmark_may_also_be_a_ticker():
    panel = load("sample:us20", ["AAPL", "SPX"], carried={"SPX": "benchmark"})
    np.testing.assert_array_equal(panel.close[panel.row("SPX")], panel.carried["SPX"]["close"])


# Folders.


def test_only_date_and_close_are_needed(tmp_path: Path):
    panel = load(put(tmp_path, AAA=table()), ["AAA"])
    assert days_of(panel) == DAYS
    assert panel.close.tolist() == [CLOSES]


def test_other_columns_and_other_files_are_not_read(tmp_path: Path):
    put(tmp_path, AAA=table(Open=["a", "b", "c", "d", "e"], close=CLOSES, Volume=[None] * 5))
    (tmp_path / "BBB.parquet").write_bytes(b"not read")
    (tmp_path / "notes.txt").write_text("not read")
    assert load(str(tmp_path), ["AAA"]).tickers == ("AAA",)


def test_cash_is_never_loaded(tmp_path: Path):
    panel = load(put(tmp_path, AAA=table(), CASH=table()), ["CASH", "AAA"])
    assert panel.tickers == ("AAA",)
    assert refusal(str(tmp_path), "CASH") == ["data: no ticker to load; allowed: at least one besides CASH"]


def test_adjusted_prices_chain_from_the_first_bar(tmp_path: Path):
    adjusted = [5.0, 5.5, 12.0, 13.0, 14.0]  # a dividend or a split between the 3rd and the 6th
    panel = load(put(tmp_path, AAA=table(Adj_Close=adjusted)), ["AAA"])
    np.testing.assert_allclose(panel.close[0], [10.0, 11.0, 24.0, 26.0, 28.0], rtol=1e-15)
    assert panel.close[0, 0] == 10.0


def test_a_cut_does_not_move_the_anchor_of_the_chain(tmp_path: Path):
    source = put(tmp_path, AAA=table(Adj_Close=[5.0, 5.5, 12.0, 13.0, 14.0]))
    whole, cut = load(source, ["AAA"]), load(source, ["AAA"], start=date(2020, 1, 6), end=date(2020, 1, 7))
    assert days_of(cut) == DAYS[2:4]
    np.testing.assert_array_equal(cut.close[0], whole.close[0, 2:4])


def test_rescaled_adjusted_closes_give_the_same_chain(tmp_path: Path):
    """A later dividend rescales the whole column; by a power of two, without rounding."""
    adjusted = np.array([5.0, 5.5, 12.0, 13.0, 14.0])
    source = put(tmp_path, AAA=table(Adj_Close=adjusted), BBB=table(Adj_Close=adjusted / 4))
    panel = load(source, ["AAA", "BBB"])
    np.testing.assert_array_equal(panel.close[0], panel.close[1])


def test_start_and_end_are_included_and_need_no_bar(tmp_path: Path):
    source = put(tmp_path, AAA=table())
    assert days_of(load(source, ["AAA"], start=date(2020, 1, 3), end=date(2020, 1, 7))) == DAYS[1:4]
    assert days_of(load(source, ["AAA"], start=date(2020, 1, 4), end=date(2020, 1, 5 + 1))) == DAYS[2:3]


def test_the_calendar_is_made_within_start_and_end(tmp_path: Path):
    """BBB lacks the 3rd; once its life is cut to start after that, AAA keeps all its bars."""
    source = put(tmp_path, AAA=table(), BBB=table().filter(pa.array([True, False, True, True, True])))
    assert load(source, ["AAA", "BBB"]).dropped == {"AAA": 1, "BBB": 0}
    assert load(source, ["AAA", "BBB"], start=date(2020, 1, 6)).dropped == {"AAA": 0, "BBB": 0}


# Date types.

MIDNIGHT = [datetime(day.year, day.month, day.day) for day in DAYS]
CLOSING = [datetime(day.year, day.month, day.day, 21, tzinfo=UTC) for day in DAYS]  # 16:00 in New York


@pytest.mark.parametrize(
    "dates",
    [
        pa.array(DAYS, pa.date32()),
        pa.array(DAYS, pa.date64()),
        *(pa.array(MIDNIGHT, pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")),
        *(pa.array(CLOSING, pa.timestamp(unit, "UTC")) for unit in ("ms", "us", "ns")),
        pa.array(CLOSING, pa.timestamp("us", "America/New_York")),
        pa.array(CLOSING, pa.timestamp("us", "-05:00")),
        pa.array([day.isoformat() for day in DAYS]),
        pa.array([day.isoformat() for day in DAYS], pa.large_string()),
    ],
    ids=lambda dates: str(dates.type),
)
def test_every_type_of_date_gives_the_same_days(dates: pa.Array, tmp_path: Path):
    assert days_of(load(put(tmp_path, AAA=table(dates)), ["AAA"])) == DAYS


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("UTC", date(2020, 7, 2)),
        ("America/New_York", date(2020, 7, 1)),
        ("Europe/Berlin", date(2020, 7, 2)),
        ("Pacific/Kiritimati", date(2020, 7, 2)),
        ("-03:00", date(2020, 7, 1)),
    ],
)
def test_a_zoned_timestamp_is_the_date_on_the_clocks_of_its_zone(zone: str, expected: date, tmp_path: Path):
    moment = pa.array([datetime(2020, 7, 2, 2, 30, tzinfo=UTC)], pa.timestamp("us", zone))
    assert days_of(load(put(tmp_path, AAA=table(moment, [1.0])), ["AAA"])) == [expected]


def test_midnight_in_new_york_is_that_day_in_winter_and_in_summer(tmp_path: Path):
    moments = [datetime(2020, 1, 2, 5, tzinfo=UTC), datetime(2020, 7, 2, 4, tzinfo=UTC)]
    moments = pa.array(moments, pa.timestamp("ns", "America/New_York"))
    panel = load(put(tmp_path, AAA=table(moments, [1.0, 2.0])), ["AAA"])
    assert days_of(panel) == [date(2020, 1, 2), date(2020, 7, 2)]


def test_times_before_1970_belong_to_their_own_day(tmp_path: Path):
    moments = [datetime(1969, 12, 30), datetime(1969, 12, 31, 23, 59, 59, 500_000), datetime(1970, 1, 1, 16)]
    panel = load(put(tmp_path, AAA=table(pa.array(moments, pa.timestamp("us")), [1.0, 2.0, 3.0])), ["AAA"])
    assert panel.dates.tolist() == [-2, -1, 0]


@pytest.mark.parametrize(
    "close",
    [
        pa.array([1, 2, 3, 4, 5], pa.uint8()),
        pa.array([1, 2, 3, 4, 5], pa.int64()),
        pa.array([1, 2, 3, 4, 5], pa.float32()),
        pa.array(np.arange(1, 6, dtype=np.float16)),
        pa.array([1, 2, 3, 4, 5], pa.decimal128(20, 3)),
    ],
    ids=lambda close: str(close.type),
)
def test_every_type_of_number_becomes_float64(close: pa.Array, tmp_path: Path):
    panel = load(put(tmp_path, AAA=table(close=close)), ["AAA"])
    assert panel.close.dtype == np.float64 and panel.close.tolist() == [[1.0, 2.0, 3.0, 4.0, 5.0]]


def test_integers_beyond_2_to_the_53_become_the_nearest_float(tmp_path: Path):
    panel = load(put(tmp_path, AAA=table(close=[2**53 + 1] * 5)), ["AAA"])
    assert panel.close[0, 0] == float(2**53 + 1)


# Bad input: the whole text of the problem, so that place, value and what is allowed are all there.

BAD_ROWS = 'allowed: finite and above 0, or clean "drop_invalid"'
BAD: list[tuple[str, pa.Table, list[str]]] = [
    ("NaN", table(close=[10.0, NAN, NAN, 13.0, 14.0]), [f"Close is nan on 2020-01-03 (2 bad rows); {BAD_ROWS}"]),
    ("null", table(close=[10.0, None, 12.0, 13.0, 14.0]), [f"Close is nan on 2020-01-03 (1 bad rows); {BAD_ROWS}"]),
    ("inf", table(close=[*CLOSES[:4], float("inf")]), [f"Close is inf on 2020-01-08 (1 bad rows); {BAD_ROWS}"]),
    ("zero", table(close=[0.0, *CLOSES[1:]]), [f"Close is 0 on 2020-01-02 (1 bad rows); {BAD_ROWS}"]),
    ("negative", table(close=[*CLOSES[:3], -2.5, -1.0]), [f"Close is -2.5 on 2020-01-07 (2 bad rows); {BAD_ROWS}"]),
    (
        "both columns",
        table(close=[-1.0, *CLOSES[1:]], Adj_Close=[*CLOSES[:4], NAN]),
        [
            f"Close is -1 on 2020-01-02 (1 bad rows); {BAD_ROWS}",
            f"Adj Close is nan on 2020-01-08 (1 bad rows); {BAD_ROWS}",
        ],
    ),
    (
        "duplicate",
        table([DAYS[0], DAYS[1], DAYS[1], DAYS[1], DAYS[4]]),
        ['date 2020-01-03 appears more than once (2 rows too many); allowed: once, or clean "drop_duplicates"'],
    ),
    (
        "unsorted",
        table([DAYS[0], DAYS[3], DAYS[2], DAYS[1], DAYS[4]]),
        ['dates are not sorted: 2020-01-06 follows 2020-01-07 (2 times); allowed: ascending, or clean "sort"'],
    ),
    (
        "unsorted, duplicate and bad",
        table([DAYS[3], DAYS[0], DAYS[3], DAYS[1], DAYS[2]], [NAN, 1.0, 1.0, 1.0, 1.0]),
        [
            'dates are not sorted: 2020-01-02 follows 2020-01-07 (2 times); allowed: ascending, or clean "sort"',
            'date 2020-01-07 appears more than once (1 rows too many); allowed: once, or clean "drop_duplicates"',
            f"Close is nan on 2020-01-07 (1 bad rows); {BAD_ROWS}",
        ],
    ),
    ("null dates", table([DAYS[0], DAYS[1], None, DAYS[3], None]), ["2 rows without a date, first row 2"]),
    ("no rows", table().slice(0, 0), ["no rows"]),
    ("text prices", table(close=list("12345")), ["Close is string; allowed: numbers"]),
    ("booleans", table(close=[True] * 5), ["Close is bool; allowed: numbers"]),
    ("text adjusted", table(Adj_Close=list("12345")), ["Adj Close is string; allowed: numbers"]),
    ("numbers as dates", table([1, 2, 3, 4, 5]), ["Date is int64; allowed: dates, timestamps, ISO strings"]),
    (
        "times of day as dates",
        table(pa.array([1, 2, 3, 4, 5], pa.time64("us"))),
        ["Date is time64[us]; allowed: dates, timestamps, ISO strings"],
    ),
    (
        "spans as dates",
        table(pa.array([1, 2, 3, 4, 5], pa.duration("us"))),
        ["Date is duration[us]; allowed: dates, timestamps, ISO strings"],
    ),
    (
        "wrong unit",
        table(pa.array([as_day(day) * 86_400 * 10**6 for day in DAYS], pa.timestamp("ms"))),
        [
            "Date is timestamp[ms] and far from any date in row 0 (5 rows); "
            "allowed: 0001-01-01 to 9999-12-31, in the unit it says"
        ],
    ),
    (
        "before year 1",
        table(pa.array([-800_000 + k for k in range(5)], pa.int32()).cast(pa.date32())),
        ["Date is date32[day] and far from any date in row 0 (5 rows); "
         "allowed: 0001-01-01 to 9999-12-31, in the unit it says"],
    ),
    (
        "wrong unit, beyond 32 bits of days",
        table(pa.array([2**32 * 86_400_000 + k * 86_400_000 for k in range(5)], pa.timestamp("ms"))),
        [
            "Date is timestamp[ms] and far from any date in row 0 (5 rows); "
            "allowed: 0001-01-01 to 9999-12-31, in the unit it says"
        ],
    ),
    (
        "chain too high",
        table(Adj_Close=[1e-300, 1.0, 1e300, 1.0, 1.0]),
        [
            "Adj Close goes from 1e-300 to 1e+300 on 2020-01-06; "
            "allowed: what keeps the price finite and above 0"
        ],
    ),
    (
        "chain too low",
        table(Adj_Close=[1e300, 1.0, 1e-300, 1.0, 1.0]),
        [
            "Adj Close goes from 1e+300 to 1e-300 on 2020-01-06; "
            "allowed: what keeps the price finite and above 0"
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("bars", "expected"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_bars_are_refused_with_date_value_and_what_is_allowed(bars: pa.Table, expected: list[str], tmp_path: Path):
    source = put(tmp_path, BAD=bars, GOOD=table())
    assert refusal(source, "GOOD", "BAD") == [f"ticker BAD: {text}" for text in expected]
    assert load(source, ["GOOD"]).tickers == ("GOOD",)


def test_a_text_that_is_no_date_is_shown(tmp_path: Path):
    (problem,) = refusal(put(tmp_path, AAA=table([*(day.isoformat() for day in DAYS[:4]), "8.1.2020"])), "AAA")
    assert problem.startswith("ticker AAA: Date: ") and "8.1.2020" in problem
    assert problem.endswith("allowed: YYYY-MM-DD")


def test_an_unknown_zone_is_shown(tmp_path: Path):
    moment = pa.array([0], pa.timestamp("us", "Mars/Olympus"))
    (problem,) = refusal(put(tmp_path, AAA=table(moment, [1.0])), "AAA")
    assert problem.startswith("ticker AAA: Date: ") and "Mars/Olympus" in problem


def test_missing_columns_name_the_file_and_what_is_there(tmp_path: Path):
    put(tmp_path, AAA=table().drop(["Close"]), BBB=pa.table({"date": DAYS, "close": CLOSES}))
    assert refusal(str(tmp_path), "AAA", "BBB") == [
        f"{tmp_path}/AAA.parquet: no column Close; there: Date",
        f"{tmp_path}/BBB.parquet: no column Date and no column Close; there: date, close; "
        'if that is meant, map it: "columns": {"Date": "date", "Close": "close"}',
    ]


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path):
    twice = pa.Table.from_arrays([pa.array(DAYS), pa.array(CLOSES), pa.array(CLOSES)], ["Date", "Close", "Close"])
    assert refusal(put(tmp_path, AAA=twice), "AAA") == [
        f"{tmp_path}/AAA.parquet: more than one column Close; allowed: one of each"
    ]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1", b"Date,Close\n2020-01-02,1\n"])
def test_a_file_that_is_no_parquet_is_named(content: bytes, tmp_path: Path):
    (tmp_path / "AAA.parquet").write_bytes(content)
    (problem,) = refusal(str(tmp_path), "AAA")
    assert problem.startswith(f"{tmp_path}/AAA.parquet: not a readable Parquet file: ") and "\n" not in problem


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path):
    whole = Path(put(tmp_path, AAA=table()), "AAA.parquet").read_bytes()
    for size in random.Random(5).sample(range(len(whole)), 60):
        (tmp_path / "AAA.parquet").write_bytes(whole[:size])
        (problem,) = refusal(str(tmp_path), "AAA")
        assert "AAA.parquet: not a readable Parquet file" in problem


def test_flipped_bits_in_checked_pages_never_change_a_price(tmp_path: Path):
    file = tmp_path / "AAA.parquet"
    pq.write_table(table(), file, write_page_checksum=True, compression="none", use_dictionary=False)
    whole, expected = file.read_bytes(), load(str(tmp_path), ["AAA"]).fingerprint
    values = whole.index(np.array(CLOSES).tobytes())
    for k in range(8 * 8 * len(CLOSES)):
        damaged = bytearray(whole)
        damaged[values + k // 8] ^= 1 << k % 8
        file.write_bytes(damaged)
        (problem,) = refusal(str(tmp_path), "AAA")
        assert "CRC" in problem
    file.write_bytes(whole)
    assert load(str(tmp_path), ["AAA"]).fingerprint == expected


def test_a_flipped_bit_in_the_header_of_a_page_is_refused(tmp_path: Path):
    """Checksums leave out headers. Here the length of the definition levels is off by one: every value would shift."""
    file, closes = tmp_path / "AAA.parquet", [1.0, 1.4, 1.8, 2.2, 2.6]
    how = {"write_page_checksum": True, "data_page_version": "2.0", "compression": "zstd"}
    pq.write_table(table(close=closes), file, **how)
    whole = file.read_bytes()
    lengths = (
        b"\x15\x10\x15\x04\x15\x00"  # in Thrift: encoding by dictionary, 2 bytes of definition levels, 0 of others
    )
    at = whole.rindex(lengths)
    file.write_bytes(whole[: at + 3] + b"\x06" + whole[at + 4 :])
    assert pq.ParquetFile(file, page_checksum_verification=True).read()["Close"].to_pylist() != closes
    (problem,) = refusal(str(tmp_path), "AAA")
    assert (
        "row group 0: the least or greatest values of Close in the pages and in the footer are not the same" in problem
    )


def test_a_footer_that_leaves_rows_out_is_refused(tmp_path: Path):
    file, refused = tmp_path / "AAA.parquet", 0
    whole = Path(put(tmp_path, AAA=table()), "AAA.parquet").read_bytes()
    for k in range(8 * whole.rindex(b"Close"), 8 * len(whole)):
        damaged = bytearray(whole)
        damaged[k // 8] ^= 1 << k % 8
        if 0 < rows_said(damaged) < len(CLOSES):
            file.write_bytes(damaged)
            refusal(str(tmp_path), "AAA")
            refused += 1
    assert refused


def rows_said(data: bytes) -> int:
    """Rows of the first row group as the footer says, 0 where it cannot be read."""
    try:
        return pq.read_metadata(pa.BufferReader(data)).row_group(0).num_rows
    except (pa.ArrowException, OSError, IndexError):
        return 0


@pytest.mark.parametrize("values", [[NAN, 1.0, 2.0, 3.0, NAN], [-0.0, 0.0, 1.0, 1.0, 1.0], [None, NAN, 1.0, 1.0, 1.0]])
def test_statistics_of_odd_numbers_contradict_nothing(values: list[float | None], tmp_path: Path):
    pq.write_table(table(close=values), tmp_path / "AAA.parquet", row_group_size=2)
    found = refusal(str(tmp_path), "AAA")
    assert all("not a readable" not in problem for problem in found)


def test_any_damage_is_a_data_error_or_none(tmp_path: Path):
    """No other exception escapes: DataError is what the command line knows how to show."""
    file, chance, refused = tmp_path / "AAA.parquet", random.Random(1), 0
    whole = Path(put(tmp_path, AAA=table(Adj_Close=CLOSES)), "AAA.parquet").read_bytes()
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        file.write_bytes(damaged)
        try:
            load(str(tmp_path), ["AAA"])
        except DataError:
            refused += 1
    assert refused > 200


def test_a_column_name_that_is_no_utf8_is_a_data_error(tmp_path: Path):
    file = Path(put(tmp_path, AAA=table(Öl=CLOSES)), "AAA.parquet")
    file.write_bytes(file.read_bytes().replace("Öl".encode(), b"\xff\xffl"))
    (problem,) = refusal(str(tmp_path), "AAA")
    assert "AAA.parquet: not a readable Parquet file" in problem


# Names, folders, spans.


def test_missing_tickers_name_the_nearest(tmp_path: Path):
    source = put(tmp_path, AAPL=table(), MSFT=table())
    assert refusal(source, "APPL", "msft", "AAPL") == [
        f"ticker APPL: APPL is not in {source} (did you mean 'AAPL'?); there: AAPL, MSFT",
        f"ticker msft: msft is not in {source} (did you mean 'MSFT'?); there: AAPL, MSFT",
    ]


def test_a_missing_benchmark_is_named_as_such():
    (problem,) = refusal("sample:us20", "AAPL", carried={"SPY": "benchmark"})
    assert problem.startswith("benchmark: SPY is not in sample:us20 (did you mean 'SPX'?); there: AAPL, AMD")


def test_an_empty_folder_has_nothing(tmp_path: Path):
    assert refusal(str(tmp_path), "AAPL") == [f"ticker AAPL: AAPL is not in {tmp_path}; there: nothing"]


def test_a_crowded_folder_is_not_listed_whole(tmp_path: Path):
    put(tmp_path, **{f"T{k:03}": table() for k in range(35)})
    (problem,) = refusal(str(tmp_path), "ZZZ")
    assert "T029 and 5 more" in problem and "T030" not in problem


@pytest.mark.parametrize("name", ["us2", "us200", ""])
def test_an_unknown_sample_names_what_there_is(name: str):
    (problem,) = refusal(f"sample:{name}", "AAPL")
    assert problem.startswith(f"data: unknown sample {name!r}") and problem.endswith(
        "allowed: us20, us_ohlcv, synthetic"
    )
    assert ("did you mean 'us20'" in problem) == bool(name)


@pytest.mark.parametrize("source", ["no/such/folder", "a\0b", "~", "a" * 256])
def test_a_missing_folder_names_what_is_allowed(source: str):
    assert refusal(source, "AAPL") == [f"data: no folder or file {source!r}; {ALLOWED}"]


def test_a_folder_of_a_very_long_name_is_shown_in_part():
    (problem,) = refusal("a" * 10_000, "AAPL")
    assert problem.startswith("data: no folder or file 'aaa") and len(problem) < 700


def test_a_file_of_one_ticker_is_no_source(tmp_path: Path):
    file = Path(put(tmp_path, AAA=table()), "AAA.parquet")
    assert refusal(str(file), "AAA") == [
        f"{file}: no column Ticker; there: Date, Close",
        f"{file}: one ticker belongs in a folder as {{TICKER}}.parquet or {{TICKER}}.csv, "
        "or in a mapping ticker -> frame",
    ]


@pytest.mark.parametrize("outside", ["../AAA", "/etc/passwd", "sub/AAA", "./AAA", "AAA.parquet", "", ".", "..", "A\0"])
def test_a_ticker_never_becomes_a_path(outside: str, tmp_path: Path):
    (tmp_path / "data" / "sub").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "data", tmp_path / "data" / "sub"):
        put(folder, AAA=table())
    (problem,) = refusal(str(tmp_path / "data"), outside)
    name = outside if outside.isprintable() and outside else repr(outside)
    assert problem.startswith(f"ticker {name}: {name} is not in {tmp_path}/data")


def test_links_out_of_the_folder_are_not_there(tmp_path: Path):
    (tmp_path / "data").mkdir()
    put(tmp_path, SECRET=table())
    source = put(tmp_path / "data", AAA=table())
    (tmp_path / "data" / "OUT.parquet").symlink_to(tmp_path / "SECRET.parquet")
    (tmp_path / "data" / "LOOP.parquet").symlink_to("LOOP.parquet")
    (tmp_path / "data" / "GONE.parquet").symlink_to("NOWHERE.parquet")
    (tmp_path / "data" / "DIR.parquet").mkdir()
    (tmp_path / "data" / "BBB.parquet").symlink_to("AAA.parquet")
    assert refusal(source, "OUT", "LOOP", "GONE", "DIR") == [
        f"ticker {name}: {name} is not in {source}; there: AAA, BBB" for name in ("DIR", "GONE", "LOOP", "OUT")
    ]
    assert load(source, ["AAA", "BBB"]).tickers == ("AAA", "BBB")


def test_a_folder_that_is_itself_a_link_works(tmp_path: Path):
    (tmp_path / "data").mkdir()
    put(tmp_path / "data", AAA=table())
    (tmp_path / "link").symlink_to("data")
    assert load(str(tmp_path / "link"), ["AAA"]).tickers == ("AAA",)


def test_no_bar_in_the_span_names_what_there_is():
    assert refusal("sample:us20", "AAPL", start=date(2030, 1, 1), carried={"SPX": "benchmark"}) == [
        "ticker AAPL: no bar from 2030-01-01 to the end; it has 1990-01-02 to 2022-12-28",
        "ticker SPX: no bar from 2030-01-01 to the end; it has 1990-01-02 to 2022-12-28",
    ]
    assert refusal("sample:us20", "AAPL", end=date(1980, 1, 1)) == [
        "ticker AAPL: no bar from the start to 1980-01-01; it has 1990-01-02 to 2022-12-28"
    ]


def test_all_problems_of_all_tickers_are_told_at_once(tmp_path: Path):
    put(tmp_path, AAA=table(close=[0.0, *CLOSES[1:]]), BBB=table().slice(0, 0), CCC=table().drop(["Date"]))
    (tmp_path / "DDD.parquet").write_bytes(b"")
    found = refusal(str(tmp_path), "AAA", "BBB", "CCC", "DDD", "EEE", carried={"FFF": "benchmark"}, clean=["sorted"])
    assert len(found) == 7
    for text in ("unknown policy 'sorted'", "AAA", "BBB", "CCC", "DDD", "EEE", "FFF"):
        assert any(text in problem for problem in found)


# Cleaning.


def test_an_unknown_policy_names_the_nearest():
    assert refusal("sample:us20", "AAPL", clean=["drop_duplicate"]) == [
        "data.clean: unknown policy 'drop_duplicate' (did you mean 'drop_duplicates'?); "
        "allowed: sort, drop_duplicates, drop_invalid"
    ]


def test_sort_puts_rows_in_order_and_counts(tmp_path: Path):
    shuffled = [4, 0, 3, 1, 2]
    source = put(tmp_path, AAA=table([DAYS[k] for k in shuffled], [CLOSES[k] for k in shuffled]), BBB=table())
    panel = load(source, ["AAA", "BBB"], clean=["sort"])
    assert panel.close.tolist() == [CLOSES, CLOSES]
    assert panel.cleaned == {"AAA": {"sort": 2}}


def test_drop_duplicates_keeps_the_last_row_of_a_date(tmp_path: Path):
    source = put(tmp_path, AAA=table([DAYS[0], DAYS[1], DAYS[1], DAYS[1], DAYS[2]]))
    panel = load(source, ["AAA"], clean=["drop_duplicates"])
    assert days_of(panel) == DAYS[:3] and panel.close.tolist() == [[10.0, 13.0, 14.0]]
    assert panel.cleaned == {"AAA": {"drop_duplicates": 2}}


def test_sort_and_drop_duplicates_keep_the_row_that_stood_last_in_the_file(tmp_path: Path):
    source = put(tmp_path, AAA=table([DAYS[2], DAYS[0], DAYS[2], DAYS[1], DAYS[0]]))
    panel = load(source, ["AAA"], clean=["drop_duplicates", "sort"])
    assert panel.close.tolist() == [[14.0, 13.0, 12.0]]
    assert panel.cleaned == {"AAA": {"sort": 3, "drop_duplicates": 2}}


def test_the_last_row_of_a_date_is_kept_in_a_large_shuffled_file(tmp_path: Path):
    """Long enough that an unstable sort would swap rows of one date."""
    numbers = random.Random(3).choices(range(100), k=2_000)
    dates = [date(2020, 1, 1) + timedelta(days=number) for number in numbers]
    panel = load(put(tmp_path, AAA=table(dates, np.arange(1.0, 2_001))), ["AAA"], clean=["sort", "drop_duplicates"])
    last = dict(zip(dates, np.arange(1.0, 2_001), strict=True))
    assert panel.close[0].tolist() == [last[day] for day in sorted(last)]


def test_drop_invalid_drops_every_kind_of_bad_row_and_anchors_at_the_first_good_one(tmp_path: Path):
    bars = table(close=[NAN, 11.0, 0.0, 13.0, 14.0], Adj_Close=[1.0, 2.0, 3.0, float("inf"), 4.0])
    panel = load(put(tmp_path, AAA=bars), ["AAA"], clean=["drop_invalid"])
    assert days_of(panel) == [DAYS[1], DAYS[4]] and panel.close.tolist() == [[11.0, 22.0]]
    assert panel.cleaned == {"AAA": {"drop_invalid": 3}}


def test_one_policy_does_not_excuse_what_another_would_mend(tmp_path: Path):
    source = put(tmp_path, AAA=table([DAYS[1], DAYS[0], *DAYS[2:]], [10.0, 11.0, NAN, 13.0, 14.0]))
    (problem,) = refusal(source, "AAA", clean=["sort", "drop_duplicates"])
    assert problem == f"ticker AAA: Close is nan on 2020-01-06 (1 bad rows); {BAD_ROWS}"


def test_nothing_left_after_cleaning_is_an_error(tmp_path: Path):
    source = put(tmp_path, AAA=table(close=[NAN] * 5))
    assert refusal(source, "AAA", clean=["drop_invalid"]) == ["ticker AAA: no row is left after cleaning"]


def test_cleaning_clean_data_changes_nothing():
    names = ["AAPL", "MSFT"]
    plain = load("sample:us20", names)
    cleaned = load("sample:us20", names, clean=["sort", "drop_duplicates", "drop_invalid"])
    assert cleaned.fingerprint == plain.fingerprint and cleaned.cleaned == {}


def test_the_fingerprint_does_not_depend_on_where_the_prices_lie(tmp_path: Path):
    sample = load("sample:us20", ["AAPL"])
    dates = pa.array(sample.dates.astype("datetime64[D]"))
    copy = load(put(tmp_path, AAPL=table(dates, sample.close[0])), ["AAPL"])
    assert copy.fingerprint == sample.fingerprint


FLIP_FOOTER = """
import sys
from pathlib import Path
import pyarrow as pa
from forge_ray.data.parquet import read_columns
file, columns = Path(sys.argv[1]), ["Date", "Close"]
sound = file.read_bytes()
first = len(sound) - 8 - int.from_bytes(sound[-8:-4], "little")
for bit in range(8 * first, 8 * (len(sound) - 8), 2):
    damaged = bytearray(sound)
    damaged[bit // 8] ^= 1 << bit % 8
    file.write_bytes(damaged)
    try:
        read_columns(file, columns)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, MemoryError, OverflowError):
        pass
print("alive")
"""


def test_no_damage_in_what_a_footer_says_of_other_columns_ends_the_process(tmp_path: Path):
    """Arrow would: it checks some of that only when it is asked for, and then outside of what can be caught."""
    days = pa.array([date(2020, 1, 1 + k) for k in range(8)], pa.date32())
    numbers = pa.array([float(k + 1) for k in range(8)])
    pq.write_table(pa.table({"Date": days, "Close": numbers, "Volume": numbers}), tmp_path / "a.parquet")
    code = [sys.executable, "-c", FLIP_FOOTER, str(tmp_path / "a.parquet")]
    assert subprocess.run(code, capture_output=True, text=True).stdout == "alive\n"
