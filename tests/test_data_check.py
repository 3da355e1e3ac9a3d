"""The check of market data finds what is known to be there, with its dates, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from forge_ray.cli.main import app
from forge_ray.data import TickerCheck, check_market, load, sample_tickers
from forge_ray.data.calendars import Span
from forge_ray.data.findings import Count
from forge_ray.errors import DataError, InputError

N = 120
WEEKDAYS = [day for k in range(2 * N) if (day := date(2020, 1, 1) + timedelta(days=k)).weekday() < 5][:N]


def bars(ticker: str = "AAA", seed: int = 1, dates: list[date] = WEEKDAYS, **columns: Any) -> pl.DataFrame:
    """Quiet bars without a finding, but for what `columns` say."""
    rng = np.random.default_rng(seed)
    close = np.round(50.0 * np.exp(np.cumsum(rng.normal(0, 0.01, len(dates)))), 4)
    opened = np.round(close * np.exp(rng.normal(0, 0.003, len(dates))), 4)
    quiet = {
        "Ticker": [ticker] * len(dates),
        "Date": dates,
        "Open": opened,
        "High": np.fmax(opened, close) + 0.1,
        "Low": np.fmin(opened, close) - 0.1,
        "Close": close,
        "Adj Close": close,
        "Volume": rng.integers(1_000, 9_000, len(dates)),
    }
    return pl.DataFrame(quiet | columns)


CLOSE = bars()["Close"].to_numpy()


def scaled(before: int, factor: float) -> np.ndarray:
    """The quiet closes times a factor before a bar."""
    return CLOSE * np.where(np.arange(N) < before, factor, 1.0)


def check(frame: pl.DataFrame, ticker: str = "AAA", **options: Any) -> TickerCheck:
    return next(found for found in check_market(frame, **options).tickers if found.ticker == ticker)


def prices(close: np.ndarray, adjusted: np.ndarray | None = None) -> pl.DataFrame:
    frame = bars(Close=close).drop("Open", "High", "Low", "Volume", "Adj Close")
    return frame if adjusted is None else frame.with_columns(pl.Series("Adj Close", adjusted))


# The synthetic sample: what its maker put into it.


@pytest.fixture(scope="module")
def synthetic() -> dict[str, TickerCheck]:
    return {found.ticker: found for found in check_market("sample:synthetic").tickers}


def test_the_split_ticker_has_its_two_splits_and_both_are_adjusted(synthetic: dict[str, TickerCheck]):
    """2:1 after 800 weekdays, 1:10 after 1,600."""
    days = [np.busday_offset("2012-01-02", n).astype(date) for n in (800, 1_600)]
    splits = [(split.date, split.ratio, split.state) for split in synthetic["SPLIT"].splits]
    assert splits == [(days[0], "2:1", "adjusted"), (days[1], "1:10", "adjusted")]
    assert all(not found.splits for ticker, found in synthetic.items() if ticker != "SPLIT")


def test_the_ticker_with_holes_misses_20_dates_and_costs_them(synthetic: dict[str, TickerCheck]):
    holes = synthetic["HOLES"]
    assert (holes.missing, holes.cost, holes.bars) == (20, 20, 2_180)
    assert holes.longest_gap is not None and holes.longest_gap.dates == 1
    for ticker, found in synthetic.items():
        if ticker != "HOLES":
            assert (found.missing, found.cost, found.longest_gap) == (0, 0, None)
    found = check_market("sample:synthetic")
    assert (found.dates, found.common) == (2_200, 2_180)
    panel = load("sample:synthetic", sample_tickers("synthetic"))
    without = load("sample:synthetic", [ticker for ticker in sample_tickers("synthetic") if ticker != "HOLES"])
    assert (len(panel.dates), len(without.dates)) == (found.common, found.common + holes.cost)


def test_the_late_and_the_gone_ticker_begin_and_end_where_they_do(synthetic: dict[str, TickerCheck]):
    first, last = (np.busday_offset("2012-01-02", n).astype(date) for n in (600, 1_499))
    assert (synthetic["LATE"].first, synthetic["LATE"].bars) == (first, 1_600)
    assert (synthetic["GONE"].last, synthetic["GONE"].bars) == (last, 1_500)
    assert {found.first for ticker, found in synthetic.items() if ticker != "LATE"} == {date(2012, 1, 2)}


def test_the_thin_ticker_lacks_six_of_each_price(synthetic: dict[str, TickerCheck]):
    assert synthetic["THIN"].missing_fields == {"open": 6, "high": 6, "low": 6}
    assert all(not found.missing_fields for ticker, found in synthetic.items() if ticker != "THIN")


def test_the_only_outlier_is_a_crash_of_the_index(synthetic: dict[str, TickerCheck]):
    (outlier,) = (outlier for found in synthetic.values() for outlier in found.outliers)
    panel = load("sample:synthetic", ["IDX"])
    change = panel.close[0, 1:] / panel.close[0, :-1] - 1
    assert outlier.change == np.max(np.abs(change)) and not outlier.reverts
    distance = np.abs(change - np.median(change))
    assert outlier.deviations == pytest.approx(distance.max() / np.median(distance) / 1.4826, rel=1e-12)


def test_nothing_else_is_found(synthetic: dict[str, TickerCheck]):
    for found in synthetic.values():
        assert not (found.stale or found.contradictions or found.zero_volume or found.weekend)
        assert not (found.refused or found.mended)


def test_the_other_samples_are_found_as_they_are():
    """AAPL's splits of 2000 and 2005 are adjusted; its fall of 52 % on 2000-09-29 was real, and looks like one."""
    real = {found.ticker: found for found in check_market("sample:us_ohlcv").tickers}
    assert [(s.date, s.ratio, s.state) for s in real["AAPL"].splits] == [
        (date(2000, 6, 21), "2:1", "adjusted"),
        (date(2000, 9, 29), "2:1", "unadjusted"),
        (date(2005, 2, 28), "2:1", "adjusted"),
    ]
    assert [(s.date, s.ratio, s.state) for s in real["MSFT"].splits] == [(date(2003, 2, 18), "2:1", "adjusted")]
    assert real["IXIC"].zero_volume == Count(2, date(2015, 5, 12))
    us20 = check_market("sample:us20")
    assert (len(us20.tickers), us20.dates, us20.common) == (21, 8_313, 8_313)


# Splits.


@pytest.mark.parametrize(
    ("factor", "ratio"),
    [
        (2.0, "2:1"),
        (3.0, "3:1"),
        (7.0, "7:1"),
        (20.0, "20:1"),
        (1.5, "3:2"),
        (2.5, "5:2"),
        (0.1, "1:10"),
        (2 / 3, "2:3"),
    ],
)
def test_a_split_is_adjusted_or_not(factor: float, ratio: str):
    for adjusted, state in ((None, "unadjusted"), (scaled(60, factor), "unadjusted"), (CLOSE, "adjusted")):
        (split,) = check(prices(scaled(60, factor), adjusted)).splits
        assert (split.date, split.ratio, split.state) == (WEEKDAYS[60], ratio, state)


def test_an_adjustment_of_a_close_that_is_adjusted_already_is_found():
    (split,) = check(prices(CLOSE, scaled(60, 0.5))).splits
    assert (split.date, split.ratio, split.state) == (WEEKDAYS[60], "2:1", "made")


def test_dividends_are_no_splits():
    assert check(prices(CLOSE, scaled(60, 0.9))).splits == ()


def test_an_unadjusted_split_is_no_outlier_too():
    assert check(prices(scaled(60, 2.0))).outliers == ()


# Outliers and stale prices.


def test_a_bad_print_reverts_and_a_crash_stays():
    bad, crash = CLOSE.copy(), CLOSE.copy()
    bad[60] *= 1.3
    crash[60:] *= 0.75
    (outlier,) = check(prices(bad)).outliers
    assert (outlier.date, outlier.reverts) == (WEEKDAYS[60], True) and outlier.change == bad[60] / bad[59] - 1
    (outlier,) = check(prices(crash)).outliers
    assert (outlier.date, outlier.reverts) == (WEEKDAYS[60], False) and outlier.deviations > 15


def test_an_outlier_on_the_last_bar_cannot_revert():
    bad = CLOSE.copy()
    bad[-1] *= 1.3
    (outlier,) = check(prices(bad)).outliers
    assert (outlier.date, outlier.reverts) == (WEEKDAYS[-1], False)


def test_prices_that_hardly_move_have_outliers_too():
    """More than half of the returns are zero, and so is their median absolute deviation."""
    flat = np.full(N, 10.0)
    flat[::10] += 0.01
    flat[61:] += 4.0
    assert [outlier.date for outlier in check(prices(flat)).outliers] == [WEEKDAYS[61]]


def test_few_bars_have_no_outliers():
    assert check(prices(np.where(np.arange(N) == 9, 75.0, CLOSE))[:20]).outliers == ()


@pytest.mark.parametrize("length", [4, 5, 9])
def test_five_equal_closes_are_stale(length: int):
    close = CLOSE.copy()
    close[30 : 30 + length] = close[30]
    expected = (Span(length, WEEKDAYS[30], WEEKDAYS[29 + length]),) if length >= 5 else ()
    assert check(prices(close)).stale == expected


def test_equal_closes_without_trades_are_not_stale_but_without_volume():
    close, volume = CLOSE.copy(), bars()["Volume"].to_numpy().copy()
    close[30:40] = close[30]
    volume[31:40] = 0
    found = check(bars(Close=close, Volume=volume, Open=close, High=close, Low=close, **{"Adj Close": close}))
    assert found.stale == () and found.zero_volume == Count(9, WEEKDAYS[31])


# Fields.


@pytest.mark.parametrize(("column", "factor"), [("High", 0.9), ("Low", 1.1)])
def test_contradictions_are_counted(column: str, factor: float):
    values = bars()[column].to_numpy() * np.where(np.isin(np.arange(N), (7, 50)), factor, 1.0)
    assert check(bars(**{column: values})).contradictions == Count(2, WEEKDAYS[7])


def test_equal_prices_do_not_contradict_each_other():
    """Also where Adj Close would scale them by a factor that rounds."""
    close = bars()["Close"]
    same = bars(Open=close, High=close, Low=close, **{"Adj Close": close * 0.3})
    assert check(same).contradictions is None


def test_missing_values_contradict_nothing():
    frame = bars().with_columns(pl.when(pl.int_range(N) == 5).then(None).otherwise("High").alias("High"))
    found = check(frame)
    assert found.contradictions is None and found.missing_fields == {"high": 1}


def test_weekends_are_counted():
    dates = [date(2020, 1, 1) + timedelta(days=k) for k in range(14)]
    assert check(bars(dates=dates)).weekend == Count(4, date(2020, 1, 4))


# What `load` refuses.


def test_what_load_refuses_is_told_with_the_policy_that_mends_it():
    close = CLOSE.copy()
    close[3] = -1.0
    frame = bars(Close=close, **{"Adj Close": CLOSE})
    frame = pl.concat([frame[:10], frame[9:11], frame[12:13], frame[11:12], frame[13:]])
    found = check(frame)
    with pytest.raises(DataError) as caught:
        load(frame, ["AAA"])
    assert found.refused == tuple(problem.message for problem in caught.value.problems)
    assert [text.rpartition("clean ")[2] for text in found.refused] == ['"sort"', '"drop_duplicates"', '"drop_invalid"']
    assert found.mended == {"sort": 1, "drop_duplicates": 1, "drop_invalid": 1} and found.bars == N - 1


def test_a_field_that_no_policy_mends_is_told():
    high = bars()["High"].to_numpy().copy()
    high[3] = -2.0
    found = check(bars(High=high))
    (text,) = found.refused
    assert text.startswith(f"High is -2 on {WEEKDAYS[3]}") and found.mended == {}
    with pytest.raises(DataError, match="High is -2"):
        load(bars(High=high), ["AAA"], fields=("close", "high"))


def test_what_cannot_be_read_is_told_beside_the_others():
    frames = {"AAA": bars(), "BBB": bars("BBB", Close=["x"] * N), "CCC": bars("CCC").drop("Close")}
    found = check_market(frames)
    assert [each.ticker for each in found.tickers] == ["AAA"]
    assert found.unreadable[0] == "ticker BBB: Close is string; allowed: numbers"
    assert found.unreadable[1].startswith("data[CCC]: no column Close")
    with pytest.raises(DataError, match="ticker BBB"):
        check_market(frames, ["BBB"])


def test_a_missing_ticker_is_an_error():
    with pytest.raises(DataError, match=r"ticker AAB: AAB is not in the frame .*did you mean 'AAA'"):
        check_market(bars(), ["AAB"])


# Calendars.

EVERY_DAY = [date(2020, 1, 1) + timedelta(days=k) for k in range(168)]
OTHER_HOLIDAYS = [day for k, day in enumerate(WEEKDAYS) if k % 20 != 7]


def test_tickers_that_share_a_calendar_are_together():
    late = WEEKDAYS[40:]
    frame = pl.concat(
        [
            bars("STOCK"),
            bars("LATE", dates=late),
            bars("ELSE", dates=OTHER_HOLIDAYS),
            bars("WHERE", dates=OTHER_HOLIDAYS[:80]),
            bars("COIN", dates=EVERY_DAY),
        ]
    )
    found = check_market(frame)
    assert [calendar.tickers for calendar in found.calendars] == [("LATE", "STOCK"), ("ELSE", "WHERE"), ("COIN",)]
    alone = {each.ticker: each.cost for each in found.tickers}
    for calendar in found.calendars:
        for ticker in calendar.tickers:
            rest = [each.ticker for each in found.tickers if each.ticker != ticker]
            assert alone[ticker] == gained(frame, rest)
        rest = [each.ticker for each in found.tickers if each.ticker not in calendar.tickers]
        assert calendar.cost == gained(frame, rest)
    assert found.calendars[1].cost == 6 and alone["WHERE"] == 0


def gained(frame: pl.DataFrame, tickers: list[str]) -> int:
    """Dates that the calendar of some tickers has and that of all has not, by the loader."""
    everyone = frame["Ticker"].unique().to_list()
    few, all_of_them = ({*load(frame, names).dates.tolist()} for names in (tickers, everyone))
    return len(few - all_of_them)


def test_a_gap_has_its_dates():
    gap = [*WEEKDAYS[:30], *WEEKDAYS[37:50], *WEEKDAYS[52:]]
    found = check(pl.concat([bars("ALL"), bars(dates=gap)]))
    assert (found.missing, found.longest_gap) == (9, Span(7, WEEKDAYS[30], WEEKDAYS[36]))


def test_a_ticker_alone_misses_nothing():
    found = check_market(bars(dates=[*WEEKDAYS[:30], *WEEKDAYS[60:]]))
    assert found.tickers[0].missing == 0 and found.dates == found.common == 90


def test_start_and_end_cut_before_anything_is_looked_at():
    found = check(prices(scaled(60, 2.0)), start=WEEKDAYS[60], end=WEEKDAYS[99])
    assert (found.first, found.last, found.bars, found.splits) == (WEEKDAYS[60], WEEKDAYS[99], 40, ())


def test_mapped_columns_are_checked():
    assert check(bars().rename({"Close": "last"}), columns={"Close": "last"}).bars == N


# The command.


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "forge_ray.cli.main", "data", "check", *arguments], capture_output=True, text=True
    )


def test_the_command_shows_findings_and_ends_with_0():
    done = command("sample:synthetic", "--tickers", "HOLES,SPLIT,IDX")
    assert (done.returncode, done.stderr) == (0, "")
    for text in (
        "3 tickers, 2,200 dates, 2,180 of them common to all",
        "HOLES: 20 dates missing, at most 1 in a row (2012-06-28 to 2012-06-28); without HOLES the calendar gains 20",
        "SPLIT: splits that Adj Close takes care of: 2:1 on 2015-01-26, 1:10 on 2018-02-19",
        "IDX: outliers that stay: +11.4% on 2013-06-21",
    ):
        assert text in done.stdout


def test_the_command_prints_json_with_dates_as_text(tmp_path: Path):
    bars().rename({"Close": "px", "Adj Close": "adj"}).write_csv(tmp_path / "x.csv")
    done = command(
        str(tmp_path / "x.csv"),
        "--columns",
        "Close=px",
        "--columns",
        "Adj Close=adj",
        "--start",
        "2020-02-03",
        "--json",
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["tickers"][0]["first"] == "2020-02-03" and found["tickers"][0]["refused"] == []


def test_the_command_ends_with_2_for_what_cannot_be_read(tmp_path: Path):
    bars().drop("Ticker").write_csv(tmp_path / "AAA.csv")
    (tmp_path / "BBB.csv").write_text("Date,Close\n01/02/2003,1\n")
    done = command(str(tmp_path))
    assert done.returncode == 2 and "AAA" in done.stdout
    assert f"cannot be read: {tmp_path}/BBB.csv: line 2: 'Date' is '01/02/2003'" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["no/such/folder"], "no folder or file 'no/such/folder'"),
        (["sample:us2"], "did you mean 'us20'"),
        (["sample:us20", "--tickers", "AAPL,SPY"], "ticker SPY: SPY is not in sample:us20"),
        (["sample:us20", "--columns", "Close"], "--columns: expected OURS=THEIRS, got 'Close'"),
        (["sample:us20", "--columns", "Close=a", "--columns", "Close=b"], "--columns: Close is given twice"),
        (["sample:us20", "--columns", "close=a"], "data.columns.close: unknown column 'close'"),
        (["sample:us20", "--start", "soon"], "--start: expected YYYY-MM-DD, got 'soon'"),
        (["sample:us20", "--start", "2030-01-01"], "no bar from 2030-01-01"),
    ],
    ids=" ".join,
)
def test_the_command_refuses_bad_arguments(arguments: list[str], error: str):
    done = CliRunner().invoke(app, ["data", "check", *arguments])
    assert isinstance(done.exception, InputError) and done.exception.exit_code == 2
    assert done.stdout == "" and error in str(done.exception)
