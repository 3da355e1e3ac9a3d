"""Tickers kept as they were parsed: the same bars, the same errors, never old ones, never damaged ones."""

from __future__ import annotations

import logging
import os
import random
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bad_data import DATA_FILES, DataFile
from forge_ray.data import Bars, CacheFolder, RawMarket, csvtable, load, parsed, read_raw, sources, tables
from forge_ray.data.samples import sample_file
from forge_ray.errors import DataError

DAYS = [date(2020, 1, 1) + timedelta(days=k) for k in range(40)]
FIELDS = ("open", "close", "volume")
TICKERS = ("AAA", "BBB")


def long_table(seed: int = 1) -> pa.Table:
    rng = np.random.default_rng(seed)
    close = np.round(100 + rng.random(len(DAYS)), 3)
    columns = {"Date": DAYS, "Open": close - 0.5, "Close": close, "Adj Close": close * 0.9, "Volume": close * 100}
    return pa.concat_tables([pa.table({"Ticker": [name] * len(DAYS), **columns}) for name in TICKERS])


def text(table: pa.Table) -> str:
    rows = [",".join(map(str, row.values())) for row in table.to_pylist()]
    return "\n".join([",".join(table.column_names), *rows]) + "\n"


def as_folder_of_csv(at: Path, table: pa.Table) -> Path:
    at.mkdir(exist_ok=True)
    for name in TICKERS:
        own = table.filter(pa.compute.equal(table["Ticker"], name)).drop_columns(["Ticker"])
        (at / f"{name}.csv").write_text(text(own))
    return at


def as_csv(at: Path, table: pa.Table) -> Path:
    (file := at.with_suffix(".csv")).write_text(text(table))
    return file


def as_parquet(at: Path, table: pa.Table) -> Path:
    pq.write_table(table, file := at.with_suffix(".parquet"))
    return file


SOURCES = (as_folder_of_csv, as_csv, as_parquet)


@pytest.fixture
def kept(tmp_path: Path) -> CacheFolder:
    return CacheFolder(tmp_path / "cache" / "tickers")


@pytest.fixture
def no_reading(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """From here on, whoever reads a table of a file fails."""

    def read(*_: object) -> pa.Table:
        pytest.fail("a file was parsed")

    monkeypatch.setattr(tables.ParquetTable, "read", read)
    monkeypatch.setattr(csvtable.CsvTable, "read", read)
    return monkeypatch


def bits(market: RawMarket) -> list[tuple]:
    return [_bits(market.bars[name]) for name in sorted(market.bars)]


def _bits(bars: Bars) -> tuple:
    arrays = {"dates": bars.dates, "close": bars.close, "adjusted": bars.adjusted, **bars.others}
    content = {name: None if values is None else (values.dtype, values.tobytes()) for name, values in arrays.items()}
    return bars.ticker, content, dict(bars.cleaned)


@pytest.mark.parametrize("write", SOURCES)
def test_a_later_load_maps_the_same_bars_and_parses_nothing(write, tmp_path: Path, kept: CacheFolder, request):
    source = write(tmp_path / "source", long_table())
    plain, first = read_raw(source, TICKERS, fields=FIELDS), read_raw(source, TICKERS, fields=FIELDS, parsed=kept)
    request.getfixturevalue("no_reading")
    again = read_raw(source, TICKERS, fields=FIELDS, parsed=kept)
    assert bits(plain) == bits(first) == bits(again)
    assert plain.panel().fingerprint == again.panel().fingerprint
    for bars in again.bars.values():
        assert not any(values.flags.writeable or values.flags.owndata for values in (bars.dates, bars.close))


@pytest.mark.parametrize("write", SOURCES)
def test_a_source_that_changed_is_read_again_whatever_its_times_say(write, tmp_path: Path, kept: CacheFolder):
    source = write(tmp_path / "source", long_table())
    read_raw(source, TICKERS, parsed=kept)
    files = [source] if source.is_file() else sorted(source.iterdir())
    before = [file.stat() for file in files]
    other = long_table(seed=2)
    write(tmp_path / "source", other)
    for file, stat in zip(files, before, strict=True):
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert file.stat().st_mtime_ns == stat.st_mtime_ns
    found = read_raw(source, TICKERS, parsed=kept)
    assert found.bars["AAA"].close.tolist() == other["Close"].to_pylist()[: len(DAYS)]
    assert bits(found) == bits(read_raw(source, TICKERS))


def test_what_is_asked_for_is_part_of_the_key(tmp_path: Path, kept: CacheFolder):
    """Other fields, columns, policies and other code have other keys."""
    source = as_folder_of_csv(tmp_path / "source", long_table())
    rows = (source / "AAA.csv").read_text().splitlines()
    (source / "AAA.csv").write_text("\n".join([*rows, rows[-1]]) + "\n")
    for _ in range(2):
        with pytest.raises(DataError, match="appears more than once"):
            read_raw(source, ["AAA"], parsed=kept)
        mended = read_raw(source, ["AAA"], parsed=kept, clean=["drop_duplicates"])
        assert dict(mended.bars["AAA"].cleaned) == {"drop_duplicates": 1}
        moved = read_raw(source, ["BBB"], parsed=kept, columns={"Close": "Open"})
        plain = read_raw(source, ["BBB"], parsed=kept)
        more = read_raw(source, ["BBB"], parsed=kept, fields=FIELDS)
        assert (moved.bars["BBB"].close == more.bars["BBB"].others["open"]).all()
        assert not plain.bars["BBB"].others and (plain.bars["BBB"].close != moved.bars["BBB"].close).all()


def test_a_file_of_one_ticker_and_of_many_have_other_keys(tmp_path: Path, kept: CacheFolder):
    """A folder takes every row of AAA.csv for AAA, whatever its column Ticker says; a long file only its own."""
    folder = tmp_path / "source"
    folder.mkdir()
    file = as_csv(folder / "AAA", long_table())
    read_raw(file, ["AAA"], parsed=kept)
    with pytest.raises(DataError, match="not sorted"):
        read_raw(folder, ["AAA"], parsed=kept)


def test_a_name_that_says_gzip_is_not_answered_from_plain_text(tmp_path: Path, kept: CacheFolder):
    plain = as_csv(tmp_path / "plain", long_table())
    read_raw(plain, TICKERS, parsed=kept)
    (packed := tmp_path / "plain.csv.gz").write_bytes(plain.read_bytes())
    with pytest.raises(DataError, match=r"not a readable CSV file"):
        read_raw(packed, TICKERS, parsed=kept)


def test_other_code_reads_again(tmp_path: Path, kept: CacheFolder, monkeypatch: pytest.MonkeyPatch):
    source = as_csv(tmp_path / "source", long_table())
    read_raw(source, TICKERS, parsed=kept)
    monkeypatch.setattr(parsed, "_code", lambda: b"another version")
    read_raw(source, TICKERS, parsed=kept)
    assert len(kept.files()) == 2 * len(TICKERS)


def test_every_damage_is_seen_and_parsed_away(tmp_path: Path, kept: CacheFolder):
    """A flipped bit, a cut, an extension anywhere in a kept file: the bars are right, and so is the file again."""
    source = as_csv(tmp_path / "source", long_table())
    expected = bits(read_raw(source, TICKERS, parsed=kept))
    file = Path(sorted(entry.path for entry in kept.files())[0])
    good, rng = file.read_bytes(), random.Random(3)
    flips = [(rng.randrange(len(good)), 1 << rng.randrange(8)) for _ in range(150)]
    damaged = [good[:at] + bytes([good[at] ^ bit]) + good[at + 1 :] for at, bit in flips]
    damaged += [good[: rng.randrange(len(good))] for _ in range(20)] + [b"", good + b"\0", bytes(len(good))]
    for content in damaged:
        file.write_bytes(content)
        assert bits(read_raw(source, TICKERS, parsed=kept)) == expected
        assert file.read_bytes() == good


def test_a_kept_file_under_the_name_of_another_is_not_taken_for_it(tmp_path: Path, kept: CacheFolder):
    source = as_folder_of_csv(tmp_path / "source", long_table())
    (source / "BBB.csv").write_text(text(long_table(seed=2).slice(0, len(DAYS)).drop_columns(["Ticker"])))
    expected = bits(read_raw(source, TICKERS, parsed=kept))
    one, two = (Path(entry.path) for entry in kept.files())
    content = one.read_bytes()
    two.unlink()
    (kept.path / f"{two.name.split('.')[0]}.{one.name.split('.')[1]}.arrow").write_bytes(content)
    assert bits(read_raw(source, TICKERS, parsed=kept)) == expected


def test_nothing_is_kept_of_a_file_that_changed_while_it_was_parsed(
    tmp_path: Path, kept: CacheFolder, monkeypatch: pytest.MonkeyPatch
):
    source, other = as_csv(tmp_path / "source", long_table()), text(long_table(seed=2))
    read = csvtable.CsvTable.read

    def change_then_read(table: csvtable.CsvTable, *arguments: object) -> pa.Table:
        table.file.write_text(other)
        return read(table, *arguments)

    monkeypatch.setattr(csvtable.CsvTable, "read", change_then_read)
    read_raw(source, TICKERS, parsed=kept)
    assert kept.files() == []


@pytest.mark.parametrize("case", DATA_FILES, ids=[case.name for case in DATA_FILES])
def test_bad_files_are_refused_with_the_same_words(case: DataFile, tmp_path: Path, kept: CacheFolder):
    file = tmp_path / case.file
    if isinstance(case.content, dict):
        pq.write_table(pa.table(case.content), file)
    else:
        file.write_bytes(case.content if isinstance(case.content, bytes) else case.content.encode())
    with pytest.raises(DataError) as plain:
        read_raw(file, ["AAA"])
    with pytest.raises(DataError) as through:
        read_raw(file, ["AAA"], parsed=kept)
    assert str(plain.value) == str(through.value) and kept.files() == []


def test_problems_of_kept_tickers_stand_where_they_always_stand(tmp_path: Path, kept: CacheFolder):
    """AAA is kept, BBB is damaged since, both lie outside the span, CCC is not there: one list in the usual order."""
    source = as_folder_of_csv(tmp_path / "source", long_table())
    read_raw(source, TICKERS, parsed=kept)
    (source / "BBB.csv").write_text((source / "BBB.csv").read_text() + "2020-03-01,1,x,1,1\n")
    wish = {"start": date(2021, 1, 1)}
    with pytest.raises(DataError) as plain:
        read_raw(source, [*TICKERS, "CCC"], **wish)
    with pytest.raises(DataError) as through:
        read_raw(source, [*TICKERS, "CCC"], parsed=kept, **wish)
    assert len(plain.value.problems) == 3 and plain.value.problems == through.value.problems


def test_the_folder_stays_within_its_limit_and_the_least_recently_used_go(tmp_path: Path, kept: CacheFolder):
    source = as_folder_of_csv(tmp_path / "source", long_table())
    read_raw(source, TICKERS, parsed=kept)
    size = max(entry.stat().st_size for entry in kept.files())
    for age, entry in enumerate(kept.files()):
        os.utime(entry.path, (1_000_000 + age, 1_000_000 + age))
    read_raw(source, ["AAA"], parsed=kept)  # AAA is used, so BBB is the oldest
    (kept.path / ".new-abandoned").write_bytes(b"half")
    os.utime(kept.path / ".new-abandoned", (1, 1))
    few = CacheFolder(kept.path, limit_bytes=2 * size)
    other = as_csv(tmp_path / "other", long_table(seed=3))
    read_raw(other, ["AAA"], parsed=few)
    assert sum(entry.stat().st_size for entry in few.files()) <= 2 * size and len(few.files()) == 2
    names = {entry.name for entry in few.files()}
    read_raw(source, ["AAA"], parsed=few)
    read_raw(other, ["AAA"], parsed=few)
    assert {entry.name for entry in few.files()} == names


def test_mapped_bars_outlive_their_file(tmp_path: Path, kept: CacheFolder):
    source = as_csv(tmp_path / "source", long_table())
    expected = bits(read_raw(source, TICKERS))
    found = read_raw(source, TICKERS, parsed=kept)
    CacheFolder(kept.path, limit_bytes=0).trim()
    assert kept.files() == [] and bits(found) == expected


def test_what_another_process_is_writing_is_never_in_the_way(kept: CacheFolder):
    """Beyond the limit it is no file to make room with; an hour later nobody is writing it any more."""
    full = CacheFolder(kept.path, limit_bytes=100)
    with full.beside() as one:
        one.write_bytes(b"1" * 80)
        with full.beside() as two:
            two.write_bytes(b"2" * 80)
            full.trim()
            one.rename(kept.path / "one")
        two.write_bytes(b"2")
        os.utime(two, (0, 0))
        full.trim()
        assert not two.exists() and (kept.path / "one").exists()


@pytest.mark.parametrize("where", ["a file", "below a file"])
def test_a_folder_that_cannot_be_written_is_told_once_and_costs_nothing_else(
    where: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    source = as_folder_of_csv(tmp_path / "source", long_table())
    (blocked := tmp_path / "blocked").write_text("")
    folder = blocked if where == "a file" else blocked / "tickers"
    with caplog.at_level(logging.WARNING):
        found = read_raw(source, TICKERS, parsed=CacheFolder(folder))
    assert bits(found) == bits(read_raw(source, TICKERS))
    assert [record.message for record in caplog.records if "not kept parsed" in record.message] == caplog.messages
    assert len(caplog.messages) == 1 and str(folder) in caplog.messages[0] and "FORGE_RAY_CACHE" in caplog.messages[0]


def test_files_and_folder_are_private(tmp_path: Path, kept: CacheFolder):
    read_raw(as_csv(tmp_path / "source", long_table()), TICKERS, parsed=kept)
    assert kept.path.stat().st_mode & 0o077 == 0
    assert all(entry.stat().st_mode & 0o077 == 0 for entry in kept.files())


@pytest.mark.parametrize(("sample", "ticker"), [("us20", "MSFT"), ("us_ohlcv", "MSFT"), ("synthetic", "LATE")])
def test_samples_are_kept_too(sample: str, ticker: str, kept: CacheFolder, request: pytest.FixtureRequest):
    plain = read_raw(f"sample:{sample}", [ticker])
    read_raw(f"sample:{sample}", [ticker], parsed=kept)
    request.getfixturevalue("no_reading")
    assert bits(plain) == bits(read_raw(f"sample:{sample}", [ticker], parsed=kept))


def test_a_sample_as_a_file_of_one_ticker_is_another_source(tmp_path: Path, kept: CacheFolder):
    read_raw("sample:us20", ["MSFT"], parsed=kept)
    (tmp_path / "MSFT.parquet").write_bytes(sample_file("us20").read_bytes())
    with pytest.raises(DataError, match="no column Close"):
        read_raw(tmp_path, ["MSFT"], parsed=kept)


def test_frames_are_not_kept(tmp_path: Path, kept: CacheFolder):
    load(long_table(), TICKERS, parsed=kept)
    assert kept.files() == [] and sources.open_market(long_table(), {}).file_of("AAA") is None
