"""Every way to bring market data gives the same panel: folders, long files, frames; columns mapped, never guessed."""

from __future__ import annotations

import gzip
import json
import random
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest

import forge_ray as fr
from forge_ray.cluster.local import LocalExecutor
from forge_ray.data import csvtable, load
from forge_ray.errors import CorruptPartError, DataError, InputError
from forge_ray.report.subject import read_subject
from forge_ray.run import Run, branch_sweep, execute, explain_decision, prepare, tree_sweep
from forge_ray.sweep import parse_job, read_job

FIELDS = ("open", "high", "low", "close", "volume")
TICKERS = ("AAA", "BBB", "C/D")  # a ticker may hold a slash where it is no name of a file
PLAIN = ("AAA", "BBB")


def bars(ticker: str, n: int = 60) -> pl.DataFrame:
    """Bars with a split, a missing open and a ragged start; BBB misses days that AAA has."""
    rng = np.random.default_rng(TICKERS.index(ticker))
    close = 50.0 * np.exp(np.cumsum(rng.normal(0, 0.02, n))) * np.where(np.arange(n) < 20, 2.0, 1.0)
    opened = close * np.exp(rng.normal(0, 0.01, n))
    opened[7] = np.nan
    frame = pl.DataFrame(
        {
            "Ticker": [ticker] * n,
            "Date": [date(2020, 1, 1) + timedelta(days=k) for k in range(n)],
            "Open": pl.Series(opened).fill_nan(None),
            "High": np.fmax(opened, close) * 1.004,
            "Low": np.fmin(opened, close) * 0.995,
            "Close": close,
            "Adj Close": close / np.where(np.arange(n) < 20, 2.0, 1.0),
            "Volume": rng.integers(1_000, 9_000, n),
        }
    )
    return frame[5:].gather_every(1) if ticker == "AAA" else frame.filter(pl.int_range(n) % 11 != 10)


LONG = pl.concat([bars(ticker) for ticker in TICKERS])
SHUFFLED = LONG.sample(fraction=1.0, shuffle=True, seed=1).sort("Date", maintain_order=True)


class Stream:
    """Anything that Arrow can read, and no more."""

    def __init__(self, table: pa.Table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


def own(ticker: str) -> pl.DataFrame:
    return LONG.filter(pl.col("Ticker") == ticker).drop("Ticker")


def indexed(ticker: str, name: str | None, zone: str | None = None) -> pd.DataFrame:
    """A pandas frame whose dates are its index."""
    frame = pd.DataFrame({column: own(ticker)[column].to_numpy() for column in own(ticker).columns})
    index = pd.DatetimeIndex(frame.pop("Date"), name=name)
    return frame.set_index(index if zone is None else index.tz_localize(zone))


def by_level(names: list[str | None]) -> pd.DataFrame:
    """One long pandas frame indexed by ticker and date."""
    frame = pd.DataFrame({column: LONG[column].to_numpy() for column in LONG.columns})
    index = pd.MultiIndex.from_arrays([frame.pop("Ticker"), pd.DatetimeIndex(frame.pop("Date"))], names=names)
    return frame.set_index(index)


FRAMES: dict[str, Callable[[], Any]] = {
    "polars": lambda: LONG,
    "polars, rows of tickers mixed": lambda: SHUFFLED,
    "polars, tickers as categories": lambda: LONG.with_columns(pl.col("Ticker").cast(pl.Categorical)),
    "polars, dates as text": lambda: LONG.with_columns(pl.col("Date").cast(pl.String)),
    "polars, dates with a time": lambda: LONG.with_columns(pl.col("Date").cast(pl.Datetime("ms"))),
    "arrow": lambda: LONG.to_arrow(),
    "arrow in batches": lambda: pa.Table.from_batches(LONG.to_arrow().to_batches(max_chunksize=7)),
    "arrow reader": lambda: LONG.to_arrow().to_reader(),
    "any stream": lambda: Stream(LONG.to_arrow()),
    "pandas": lambda: pd.DataFrame({column: SHUFFLED[column].to_numpy() for column in SHUFFLED.columns}),
    "pandas by ticker and date": lambda: by_level(["Ticker", "Date"]),
    "pandas, dates in a level without a name": lambda: by_level(["Ticker", None]),
    "polars by ticker": lambda: {ticker: own(ticker) for ticker in TICKERS},
    "pandas by ticker, index without a name": lambda: {ticker: indexed(ticker, None) for ticker in TICKERS},
    "pandas by ticker, index called Date": lambda: {ticker: indexed(ticker, "Date") for ticker in TICKERS},
    "pandas by ticker, index called when": lambda: {ticker: indexed(ticker, "when") for ticker in TICKERS},
    "pandas by ticker, index with a zone": lambda: {t: indexed(t, None, "America/New_York") for t in TICKERS},
    "frames of several kinds": lambda: {"AAA": own("AAA"), "BBB": indexed("BBB", None), "C/D": own("C/D").to_arrow()},
}


def write_long(file: Path, frame: pl.DataFrame = SHUFFLED) -> Path:
    table = frame.to_arrow()
    if file.name.endswith(".parquet"):
        pq.write_table(table, file, write_page_checksum=True)
    else:
        csv.write_csv(table, file)
        if file.name.endswith(".gz"):
            file.write_bytes(gzip.compress(file.read_bytes()))
    return file


def write_folder(folder: Path, *endings: str) -> Path:
    folder.mkdir()
    for ticker, ending in zip(PLAIN, endings, strict=True):
        write_long(folder / f"{ticker}{ending}", own(ticker))
    return folder


@pytest.fixture(scope="module")
def expected() -> str:
    return load(LONG.to_arrow(), TICKERS, fields=FIELDS).fingerprint


@pytest.mark.parametrize("name", FRAMES)
def test_frames_give_the_same_panel(name: str, expected: str):
    assert load(FRAMES[name](), TICKERS, fields=FIELDS).fingerprint == expected


def test_a_long_file_of_polars_gives_the_same_panel(expected: str, tmp_path: Path):
    """Polars and pandas say in the file what types their columns had."""
    for k, frame in enumerate((SHUFFLED, SHUFFLED.with_columns(pl.col("Ticker").cast(pl.Categorical)))):
        frame.write_parquet(tmp_path / f"{k}.parquet")
        frame.to_pandas().to_parquet(tmp_path / f"{k}.pandas.parquet")
    for file in tmp_path.iterdir():
        assert load(str(file), TICKERS, fields=FIELDS).fingerprint == expected, file


@pytest.mark.parametrize("name", ["x.parquet", "x.csv", "x.csv.gz"])
def test_long_files_give_the_same_panel(name: str, expected: str, tmp_path: Path):
    assert load(str(write_long(tmp_path / name)), TICKERS, fields=FIELDS).fingerprint == expected


@pytest.mark.parametrize(
    "endings", [(".parquet", ".parquet"), (".csv", ".csv"), (".parquet", ".csv"), (".csv.gz", ".csv")], ids=" ".join
)
def test_folders_give_the_same_panel(endings: tuple[str, str], tmp_path: Path):
    expected = load(LONG, PLAIN, fields=FIELDS)
    found = load(str(write_folder(tmp_path / "d", *endings)), PLAIN, fields=FIELDS)
    assert found.fingerprint == expected.fingerprint
    assert found.dropped["AAA"] == expected.dropped["AAA"] > 0


def test_a_long_file_and_its_frame_have_the_samples_numbers(tmp_path: Path):
    """The same bars as a sample, out of a CSV file and a frame."""
    sample = pl.read_parquet(Path(csvtable.__file__).parent / "samples" / "synthetic.parquet")
    sample.write_csv(tmp_path / "x.csv")
    names = ("HOLES", "IDX", "LATE", "SPLIT", "THIN")
    panels = [load(source, names, fields=FIELDS) for source in ("sample:synthetic", sample, str(tmp_path / "x.csv"))]
    assert len({panel.fingerprint for panel in panels}) == 1


@pytest.mark.parametrize("name", ["x.parquet", "x.csv", "frame"])
def test_a_missing_value_is_one_value_whatever_it_was(name: str, tmp_path: Path, expected: str):
    """A frame may hold NaN of any sign, a file null or nothing; a volume of -0.0 is none."""
    odd = np.frombuffer(np.array([0xFFF8_0000_0000_1234], np.uint64).tobytes(), np.float64)[0]
    frame = SHUFFLED.with_columns(pl.col("Open").fill_null(odd))
    source = frame if name == "frame" else str(write_long(tmp_path / name, frame))
    assert load(source, TICKERS, fields=FIELDS).fingerprint == expected


# Only what is wanted is read.


def test_rows_of_other_tickers_are_not_judged(tmp_path: Path):
    text = "Ticker,Date,Close\nAAA,2020-01-01,1\nBAD,soon,much\nAAA,2020-01-02,2\nBAD,,\n"
    (tmp_path / "x.csv").write_text(text)
    assert load(str(tmp_path / "x.csv"), ["AAA"]).close.tolist() == [[1.0, 2.0]]


def test_columns_that_are_not_needed_may_hold_anything(tmp_path: Path):
    text = 'Ticker,Note,Date,Open,Close\nAAA,"a, b",2020-01-01,n.a.,1\nAAA,"say ""x""",2020-01-02,?,2\n'
    (tmp_path / "x.csv").write_text(text)
    assert load(str(tmp_path / "x.csv"), ["AAA"]).close.tolist() == [[1.0, 2.0]]


def test_a_ticker_may_be_called_like_a_missing_value(tmp_path: Path):
    (tmp_path / "x.csv").write_text("Ticker,Date,Close\nNA,2020-01-01,1\nnull,2020-01-01,2\nNaN,2020-01-01,3\n")
    assert load(str(tmp_path / "x.csv"), ["NA", "NaN", "null"]).close.ravel().tolist() == [1.0, 3.0, 2.0]


@pytest.mark.parametrize(
    ("text", "closes"),
    [
        ("\ufeffDate,Close\n2020-01-01,1\n2020-01-02,2\n", [1.0, 2.0]),
        ('"Date","Close"\n"2020-01-01","1"\n"2020-01-02","2"\n', [1.0, 2.0]),
        ("Date,Close\r\n2020-01-01,1\r\n2020-01-02,2\r\n", [1.0, 2.0]),
        ("Date,Close\n2020-01-01,1\n2020-01-02,2", [1.0, 2.0]),
        ("Date,Close\n\n2020-01-01,1\n\n2020-01-02,2\n\n\n", [1.0, 2.0]),
        ("Date,Close\n2020-01-01, 1\n2020-01-02,2e0 \n", [1.0, 2.0]),
        ("Date,Close\n2020-01-01 00:00:00,1\n2020-01-02 00:00:00,2\n", [1.0, 2.0]),
        ("Date,Close\n2020-01-01T16:00:00-05:00,1\n2020-01-02T16:00:00.5Z,2\n", [1.0, 2.0]),
    ],
    ids=["mark", "quotes", "line ends", "no last line end", "empty lines", "blanks", "times", "zones"],
)
def test_harmless_csv_is_read(text: str, closes: list[float], tmp_path: Path):
    (tmp_path / "AAA.csv").write_text(text, newline="")
    panel = load(str(tmp_path), ["AAA"])
    assert panel.close[0].tolist() == closes
    assert [panel.date(t) for t in range(2)] == [date(2020, 1, 1), date(2020, 1, 2)]


def test_csv_is_the_same_whatever_the_blocks(tmp_path: Path, expected: str, monkeypatch: pytest.MonkeyPatch):
    file = write_long(tmp_path / "x.csv")
    for size in (150, 151, 177, 1_000):
        monkeypatch.setattr(csvtable, "BLOCK_BYTES", size)
        assert load(str(file), TICKERS, fields=FIELDS).fingerprint == expected


def test_a_bad_number_is_found_on_its_line_in_any_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    lines = ["Ticker,Date,Close", *(f"AAA,{date(2020, 1, 1) + timedelta(days=k)},{k + 1}" for k in range(200))]
    monkeypatch.setattr(csvtable, "BLOCK_BYTES", 300)
    for bad in (1, 2, 57, 199, 200):
        text = [*lines[:bad], lines[bad].rpartition(",")[0] + ',"1,234.5"', *lines[bad + 1 :]]
        (tmp_path / "x.csv").write_text("\n".join(text))
        with pytest.raises(DataError, match=f"x.csv: line {bad + 1}: 'Close' is '1,234.5'; allowed: a number"):
            load(str(tmp_path / "x.csv"), ["AAA"])


def test_a_stray_quote_swallows_no_row(tmp_path: Path):
    """To the CSV grammar this is one value over many lines, in a column that nobody reads."""
    rows = [f"2020-01-{k:02},{k},x" for k in range(1, 29)]
    for k, end in ((3, None), (3, 9)):
        text = [*rows]
        text[k] = text[k].replace("x", '"x')
        if end:
            text[end] = text[end].replace("x", 'x"')
        (tmp_path / "AAA.csv").write_text("\n".join(["Date,Close,Note", *text]))
        with pytest.raises(DataError, match=r"AAA\.csv: line 2: a quoted value, here or below, goes over"):
            load(str(tmp_path), ["AAA"])


@pytest.mark.parametrize("kind", ["sample:us_ohlcv", "x.parquet", "x.csv", "frame", "frames"])
def test_cash_alone_is_no_ticker_of_any_source(kind: str, tmp_path: Path):
    sources: dict[str, Any] = {"frame": LONG, "frames": {"AAA": own("AAA")}, "sample:us_ohlcv": kind}
    source = sources[kind] if kind in sources else str(write_long(tmp_path / kind))
    with pytest.raises(DataError, match="data: no ticker to load"):
        load(source, ["CASH"])


# Parquet with one row group per ticker.


def grouped(file: Path) -> Path:
    with pq.ParquetWriter(
        file, LONG.to_arrow().schema, write_page_checksum=True, compression="none", use_dictionary=False
    ) as writer:
        for ticker in TICKERS:
            writer.write_table(LONG.filter(pl.col("Ticker") == ticker).to_arrow())
    return file


def test_flipped_bits_in_a_long_file_are_found(tmp_path: Path):
    file = grouped(tmp_path / "x.parquet")
    whole, expected, chance = file.read_bytes(), load(str(file), ["BBB"]).fingerprint, random.Random(2)
    values = whole.index(own("BBB")["Close"].to_numpy().tobytes())
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[values + chance.randrange(8 * 50)] ^= 1 << chance.randrange(8)
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=r"x\.parquet: not a readable Parquet file: .*CRC"):
            load(str(file), ["BBB"])
    file.write_bytes(whole)
    assert load(str(file), ["BBB"]).fingerprint == expected


def test_damaged_statistics_hide_no_row(tmp_path: Path):
    """They are in the footer, which no checksum covers, and the filter trusts them."""
    file = grouped(tmp_path / "x.parquet")
    whole = file.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    assert whole[footer:].count(b"BBB") >= 2
    file.write_bytes(whole[:footer] + whole[footer:].replace(b"BBB", b"ZZZ"))
    with pytest.raises(DataError, match="55 rows of the wanted tickers, and 0 by the statistics"):
        load(str(file), ["BBB"])


def test_only_the_wanted_row_groups_are_decoded(tmp_path: Path):
    file = grouped(tmp_path / "x.parquet")
    damaged = bytearray(file.read_bytes())
    damaged[bytes(damaged).index(own("AAA")["Close"].to_numpy().tobytes()) + 3] ^= 1
    file.write_bytes(damaged)
    assert load(str(file), ["BBB"]).tickers == ("BBB",)


# Columns.

RENAMED = {"Ticker": "sym", "Date": "dt", "Close": "px_last", "Adj Close": "px_adj", "Volume": "vol"}


@pytest.mark.parametrize("kind", ["x.parquet", "x.csv", "frame", "frames", "folder"])
def test_mapped_columns_give_the_same_panel(kind: str, tmp_path: Path):
    expected = load(LONG, PLAIN, fields=FIELDS).fingerprint
    frame, mapping = SHUFFLED.rename(RENAMED), dict(RENAMED)
    if kind in ("frames", "folder"):
        frames = {ticker: frame.filter(pl.col("sym") == ticker) for ticker in PLAIN}
        for ticker in PLAIN:
            write_long(tmp_path / f"{ticker}.csv", frames[ticker])
        source: Any = frames if kind == "frames" else str(tmp_path)
    else:
        source = frame if kind == "frame" else str(write_long(tmp_path / kind, frame))
    assert load(source, PLAIN, fields=FIELDS, columns=mapping).fingerprint == expected


def test_a_mapped_column_wins_over_one_of_our_name():
    frame = LONG.with_columns(pl.col("Close").alias("real"), pl.col("Close") * 0 + 1.0)
    assert load(frame, PLAIN, columns={"Close": "real"}).fingerprint == load(LONG, PLAIN).fingerprint


def test_a_mapped_date_wins_over_the_index():
    frame = indexed("AAA", None)
    frame["dt"] = frame.index - pd.Timedelta(days=365)
    assert load({"AAA": frame}, ["AAA"], columns={"Date": "dt"}).date(0) == date(2019, 1, 6)
    assert load({"AAA": frame}, ["AAA"]).date(0) == date(2020, 1, 6)


NEAR = [
    "adj_close",
    "AdjClose",
    "adj close",
    "ADJ CLOSE",
    "Adj. Close",
    "Adjusted Close",
    "adjusted",
    "close_adj",
    "Adj Close*",
]


@pytest.mark.parametrize("name", NEAR)
def test_a_close_that_may_be_the_adjusted_one_is_never_passed_over(name: str, tmp_path: Path):
    frame = LONG.rename({"Adj Close": name})
    text = f'no column Adj Close; there: .*if that is meant, map it: "columns": {{"Adj Close": "{name}"}}'.replace(
        "*", r"\*"
    )
    for source in (frame, str(write_long(tmp_path / "x.csv", frame))):
        with pytest.raises(DataError, match=text.replace(r".\*", ".*")):
            load(source, PLAIN)
        assert load(source, PLAIN, columns={"Adj Close": name}).fingerprint == load(LONG, PLAIN).fingerprint


@pytest.mark.parametrize("name", ["adj_open", "Adj Volume", "adjustment_factor", "closeunadj", "Closed", "Note"])
def test_other_columns_do_not_stand_in_the_way(name: str):
    frame = LONG.drop("Adj Close").with_columns(pl.lit(1.0).alias(name))
    assert load(frame, PLAIN).tickers == PLAIN


# A ticker never becomes a path.


def test_a_ticker_in_two_files_is_refused(tmp_path: Path):
    folder = write_folder(tmp_path / "d", ".parquet", ".csv")
    write_long(folder / "BBB.csv.gz", own("BBB"))
    with pytest.raises(DataError, match=r"ticker BBB: is in .*BBB.csv and .*BBB.csv.gz; allowed: one file"):
        load(str(folder), ["AAA", "BBB"])
    assert load(str(folder), ["AAA"]).tickers == ("AAA",)


def test_csv_links_out_of_the_folder_are_not_there(tmp_path: Path):
    folder = write_folder(tmp_path / "d", ".csv", ".csv")
    write_long(tmp_path / "SECRET.csv", own("AAA"))
    (folder / "OUT.csv").symlink_to(tmp_path / "SECRET.csv")
    (folder / "LOOP.csv").symlink_to("LOOP.csv")
    (folder / "SAME.csv").symlink_to("AAA.csv")
    with pytest.raises(DataError, match="there: AAA, BBB, SAME"):
        load(str(folder), ["OUT", "LOOP"])
    assert load(str(folder), ["SAME"]).tickers == ("SAME",)


# Cleaning.

DIRTY = pl.DataFrame(
    {
        "Ticker": ["AAA", "BBB", "AAA", "AAA", "AAA", "BBB", "BBB"],
        "Date": [date(2020, 1, k) for k in (2, 1, 1, 2, 3, 2, 3)],
        "Close": [1.0, 10.0, 2.0, 3.0, 0.0, 11.0, 12.0],
    }
)


@pytest.mark.parametrize("kind", ["x.parquet", "x.csv", "polars", "folder", "frames"])
def test_cleaning_is_the_same_for_every_source(kind: str, tmp_path: Path):
    source: Any = DIRTY
    if kind == "frames":
        source = {ticker: DIRTY.filter(pl.col("Ticker") == ticker) for ticker in PLAIN}
    elif kind == "folder":
        for ticker in PLAIN:
            write_long(tmp_path / f"{ticker}.csv", DIRTY.filter(pl.col("Ticker") == ticker))
        source = str(tmp_path)
    elif kind != "polars":
        source = str(write_long(tmp_path / kind, DIRTY))
    panel = load(source, PLAIN, clean=("sort", "drop_duplicates", "drop_invalid"))
    assert panel.cleaned == {"AAA": {"sort": 1, "drop_duplicates": 1, "drop_invalid": 1}}
    assert panel.bars[0].close.tolist() == [2.0, 3.0]
    with pytest.raises(DataError) as caught:
        load(source, PLAIN)
    assert {problem.place for problem in caught.value.problems} == {"ticker AAA"}


# Sweeps and runs.

TREE: dict[str, Any] = {
    "id": "gate",
    "kind": "indicator",
    "conditions": [
        {"id": "dip", "metric": "RSI", "window": "$n", "ticker": "BBB", "comparator": "lt", "threshold": 50}
    ],
    "children": {
        "then": [{"id": "in", "kind": "position", "positions": ["AAA"]}],
        "else": [{"id": "out", "kind": "position", "positions": ["CASH"]}],
    },
}
FRAME = LONG.with_columns(pl.col("Ticker").replace({"C/D": "CCC"}))
SETTINGS: dict[str, Any] = {"axes": {"n": [2, 3, 4]}, "benchmark": "CCC", "execution": {"cash_rate": "CCC"}}


def search(data: Any) -> Any:
    return fr.sweep(TREE, data=data, **SETTINGS)


def folder_of(path: Path) -> Path:
    path.mkdir()
    for ticker in ("AAA", "BBB", "CCC"):
        write_long(path / f"{ticker}.csv", FRAME.filter(pl.col("Ticker") == ticker))
    return path


def test_the_same_rows_are_the_same_run(tmp_path: Path):
    shuffled = FRAME.sample(fraction=1.0, shuffle=True, seed=3).sort("Date", maintain_order=True)
    sources = [
        FRAME,
        {"source": FRAME},
        {ticker: FRAME.filter(pl.col("Ticker") == ticker) for ticker in ("AAA", "BBB", "CCC")},
        {"source": {ticker: FRAME.filter(pl.col("Ticker") == ticker) for ticker in ("AAA", "BBB", "CCC")}},
        {"source": FRAME.rename({"Close": "last"}), "columns": {"Close": "last"}},
        {"source": shuffled.to_pandas(use_pyarrow_extension_array=False), "clean": ["sort"]},
        str(write_long(tmp_path / "x.parquet", shuffled)),
        write_long(tmp_path / "x.csv", shuffled),
        str(folder_of(tmp_path / "folder")),
    ]
    assert len({prepare(search(data)).run_id for data in sources}) == 1


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of the same run on a frame, moved since, and on files."""
    root = tmp_path_factory.mktemp("runs")
    data = {"start": "2020-01-10", "end": "2020-02-20"}
    frame = FRAME.rename({"Close": "last"})
    on_frame = execute(
        prepare(search({"source": frame, "columns": {"Close": "last"}, **data})), LocalExecutor(1, 2**24), root / "a"
    )
    files = {"source": str(folder_of(root / "files")), **data}
    on_files = execute(prepare(search(files)), LocalExecutor(1, 2**24), root / "b")
    assert on_frame.run_id == on_files.run_id
    return Path(shutil.move(on_frame.path, root / "moved")), Path(on_files.path)


def test_a_run_on_a_frame_keeps_its_rows_and_can_be_moved(runs: tuple[Path, Path]):
    moved, _ = runs
    job = json.loads((moved / "job.json").read_text())
    assert job["data"] == {"source": "market.parquet", "start": "2020-01-10", "end": "2020-02-20"}
    kept = pl.read_parquet(moved / "market.parquet")
    assert kept.columns == ["Ticker", "Date", "Close"]
    assert kept["Ticker"].unique().sort().to_list() == ["AAA", "BBB", "CCC"]
    assert (kept["Date"].min(), kept["Date"].max()) == (date(2020, 1, 10), date(2020, 2, 20))
    with Run(moved) as run:
        assert prepare(run.sweep()).run_id == run.store.run_id
    assert prepare(read_job(moved / "job.json")).run_id == run.store.run_id


def test_a_run_on_a_frame_is_explained_as_one_on_files(runs: tuple[Path, Path]):
    """Also where a branch needs fewer tickers than the run, and so has more dates than it."""
    told = []
    for path in runs:
        with Run(path) as run:
            sweep = branch_sweep(run, 1)
            told.append((explain_decision(sweep, date(2020, 2, 3)), prepare(sweep).bound.panel.fingerprint))
    assert told[0] == told[1]
    fewer = {"id": "all", "kind": "position", "positions": ["AAA"]}
    panels = []
    for path in runs:
        with Run(path) as run:
            job = {**dict(run.sweep().job), "tree": fewer, "axes": {}}
            panels.append(prepare(parse_job(job, folder=path)).bound.panel)
    assert panels[0].fingerprint == panels[1].fingerprint and panels[0].dropped == {"AAA": 0}


def test_a_run_on_a_frame_is_reported(runs: tuple[Path, Path]):
    subject = read_subject(runs[0])
    assert subject.absence == "" and subject.prepared is not None
    subject.run.store.close()


def test_a_damaged_market_is_told(runs: tuple[Path, Path], tmp_path: Path):
    copy = Path(shutil.copytree(runs[0], tmp_path / "copy"))
    (copy / "market.parquet").write_bytes((copy / "market.parquet").read_bytes()[:-20])
    with pytest.raises(CorruptPartError, match=r"market\.parquet: SHA-256"):
        read_subject(copy)


def test_a_kill_between_market_and_job_is_mended(tmp_path: Path):
    prepared = prepare(search(FRAME))
    result = execute(prepared, LocalExecutor(1, 2**24), tmp_path)
    whole = (Path(result.path) / "market.parquet").read_bytes()
    (Path(result.path) / "job.json").unlink()
    (Path(result.path) / "market.parquet").write_bytes(whole[:50])
    execute(prepared, LocalExecutor(1, 2**24), tmp_path)
    assert (Path(result.path) / "market.parquet").read_bytes() == whole


def test_a_run_on_files_keeps_no_rows(runs: tuple[Path, Path]):
    assert not (runs[1] / "market.parquet").exists()


@pytest.mark.parametrize("name", ["x.parquet", "x.csv", "x.csv.gz", "folder"])
def test_a_tree_file_runs_on_every_kind_of_file(name: str, tmp_path: Path):
    (tmp_path / "tree.json").write_text(json.dumps({"id": "all", "kind": "position", "positions": ["AAA"]}))
    source = folder_of(tmp_path / name) if name == "folder" else write_long(tmp_path / name, FRAME)
    sweep = tree_sweep(tmp_path / "tree.json", str(source), ["data.start=2020-02-01"])
    assert explain_decision(sweep, None)["weights"] == {"AAA": 1.0}
    assert prepare(sweep).bound.panel.date(0) == date(2020, 2, 1)


def test_columns_of_a_tree_file_are_a_setting(tmp_path: Path):
    (tmp_path / "tree.json").write_text(json.dumps({"id": "all", "kind": "position", "positions": ["AAA"]}))
    source = write_long(tmp_path / "x.csv", FRAME.rename({"Close": "last"}))
    sweep = tree_sweep(tmp_path / "tree.json", str(source), ["data.columns.Close=last"])
    assert prepare(sweep).bound.panel.tickers == ("AAA",)


def test_other_data_of_a_job_are_read_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Only the source is another one, and it is named from where the command runs; trees lie beside the job."""
    (tmp_path / "jobs" / "trees").mkdir(parents=True)
    (tmp_path / "jobs" / "trees" / "all.json").write_text(json.dumps({"id": "all", "kind": "position",
                                                                      "positions": ["AAA"]}))  # fmt: skip
    data = {"source": "nowhere.csv", "start": "2020-02-01", "columns": {"Close": "last"}, "clean": ["sort"]}
    job = tmp_path / "jobs" / "job.json"
    job.write_text(json.dumps({"data": data, "trees": ["trees/all.json"]}))
    write_long(tmp_path / "x.csv", FRAME.rename({"Close": "last"}))
    monkeypatch.chdir(tmp_path)
    sweep = tree_sweep(job, "x.csv")
    assert sweep.job["data"] == data | {"source": str(tmp_path / "x.csv")}
    assert prepare(sweep).bound.panel.date(0) == date(2020, 2, 1)
    with pytest.raises(InputError, match="--data: expected a source"):
        tree_sweep(job, "")


def test_the_file_of_a_job_is_relative_to_it(tmp_path: Path):
    write_long(tmp_path / "x.csv", FRAME)
    job = {"data": {"source": "x.csv", "columns": {"Volume": "Volume"}}, "tree": TREE, **SETTINGS}
    (tmp_path / "job.json").write_text(json.dumps(job))
    sweep = read_job(tmp_path / "job.json")
    assert sweep.job["data"] == {"source": str(tmp_path / "x.csv"), "columns": {"Volume": "Volume"}}
    assert prepare(sweep).bound.panel.tickers == ("AAA", "BBB")


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"benchmark": "XXX"}, "benchmark"),
        ({"execution": {"cash_rate": "XXX"}}, "execution.cash_rate"),
        ({"execution": {"risk_free": "XXX"}}, "execution.risk_free"),
        ({"execution": {"cash_rate": "XXX", "risk_free": "XXX"}}, "execution.cash_rate and execution.risk_free"),
        ({"benchmark": "XXX", "execution": {"risk_free": "XXX"}}, "benchmark and execution.risk_free"),
    ],
    ids=str,
)
def test_a_missing_ticker_is_told_at_the_place_that_names_it(settings: dict[str, Any], place: str):
    tree = {"id": "all", "kind": "position", "positions": ["AAPL"]}
    with pytest.raises(InputError) as caught:
        prepare(parse_job({"data": "sample:us20", "tree": tree, **settings}))
    (problem,) = caught.value.problems
    assert problem.place == place and problem.message.startswith("XXX is not in sample:us20")
