"""Open, high, low and volume on the scale of the total-return chain; the embedded samples with all fields."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forge_ray.data import load, sample_tickers
from forge_ray.errors import DataError

FIELDS = ("open", "high", "low", "close", "volume")
N = 60


def bars(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Adjusted bars: what an owner of one share, reinvesting everything, saw."""
    close = 50.0 * np.exp(np.cumsum(rng.normal(0, 0.02, N)))
    opened = close * np.exp(rng.normal(0, 0.01, N))
    high, low = np.maximum(opened, close) * 1.004, np.minimum(opened, close) * 0.995
    return {"Open": opened, "High": high, "Low": low, "Close": close, "Volume": rng.integers(1_000, 9_000, N) * 1.0}


def written(folder: Path, columns: dict[str, np.ndarray]) -> str:
    folder.mkdir()
    days = [date(2020, 1, 1) + timedelta(days=k) for k in range(N)]
    pq.write_table(pa.table({"Date": days, **columns}), folder / "AAA.parquet")
    return str(folder)


def test_raw_prices_with_splits_and_dividends_equal_adjusted_prices(tmp_path: Path):
    """A 3:1 split, a later 1:7 reverse split and a dividend of 4 %: all returns agree to 1e-12."""
    adjusted = bars(np.random.default_rng(1))
    factor = np.ones(N)
    factor[:20] *= 3.0
    factor[:45] /= 7.0
    factor[:33] /= 0.96
    raw = {name: values / factor if name == "Volume" else values * factor for name, values in adjusted.items()}
    one = load(written(tmp_path / "adjusted", adjusted), ["AAA"], fields=FIELDS)
    two = load(written(tmp_path / "raw", raw | {"Adj Close": adjusted["Close"] * 0.37}), ["AAA"], fields=FIELDS)
    for name in ("open", "high", "low", "close"):
        a, b = one.field(name)[0] / one.close[0, 0], two.field(name)[0] / two.close[0, 0]
        assert np.abs(a / b - 1).max() <= 1e-12, name
    assert np.abs(one.field("volume") / two.field("volume") / (two.close[0, 0] / one.close[0, 0]) - 1).max() <= 1e-12
    assert two.close[0, 0] == raw["Close"][0], "the chain starts at the first raw close"


@pytest.mark.parametrize(
    ("column", "value", "adjusted", "became"),
    [("High", 1e300, 1e20, "inf"), ("Low", 1e-300, 1e-30, "0"), ("Volume", 1e300, 1e-20, "inf")],
)
def test_a_field_that_its_factor_takes_out_of_range_is_refused(
    tmp_path: Path, column: str, value: float, adjusted: float, became: str
):
    columns = {"Close": np.full(N, 10.0), column: np.full(N, 10.0), "Adj Close": np.full(N, 10.0)}
    columns[column][7], columns["Adj Close"][7] = value, adjusted
    with pytest.raises(DataError) as caught:
        load(written(tmp_path / "x", columns), ["AAA"], fields=["close", column.lower()])
    text = f"{column} {value:g}, adjusted as Close is, would be {became} on 2020-01-08 (1 bad rows)"
    assert str(caught.value) == f"ticker AAA: {text}; allowed: finite and above 0"


def test_a_cut_does_not_move_the_chain(tmp_path: Path):
    raw = bars(np.random.default_rng(2))
    source = written(tmp_path / "x", raw | {"Adj Close": raw["Close"] * np.linspace(0.5, 1.0, N)})
    whole, cut = load(source, ["AAA"], fields=FIELDS), load(source, ["AAA"], fields=FIELDS, start=date(2020, 1, 31))
    for name in FIELDS:
        assert np.array_equal(cut.field(name), whole.field(name)[:, 30:])


@pytest.mark.parametrize(
    ("column", "value", "fragment"),
    [
        ("Open", -1.0, "Open is -1"),
        ("High", np.inf, "High is inf"),
        ("Low", 0.0, "Low is 0"),
        ("Volume", -5.0, "Volume"),
    ],
)
def test_impossible_fields_are_refused_and_missing_ones_kept(tmp_path: Path, column, value, fragment):
    table = bars(np.random.default_rng(3))
    table[column][7] = value
    with pytest.raises(DataError, match=f"{fragment}.* on 2020-01-08"):
        load(written(tmp_path / "bad", table), ["AAA"], fields=FIELDS)
    table[column][7] = np.nan
    panel = load(written(tmp_path / "gap", table), ["AAA"], fields=FIELDS)
    assert np.flatnonzero(np.isnan(panel.field(column.lower())[0])).tolist() == [7]


def test_fields_that_a_source_lacks_are_named(tmp_path: Path):
    with pytest.raises(DataError, match="no column Open and no column High"):
        load("sample:us20", ["AAPL"], fields=("open", "high", "close"))


def test_samples_have_what_the_notice_says():
    assert sample_tickers("us_ohlcv") == ("AAPL", "GOOG", "IBM", "IXIC", "MSFT", "SPX")
    assert sample_tickers("synthetic") == (
        "BIL", "GONE", "HIGH", "HOLES", "IDX", "LATE", "LOW", "SPLIT", "THIN", "WALK",
    )  # fmt: skip
    for name in ("us_ohlcv", "synthetic"):
        panel = load(f"sample:{name}", sample_tickers(name), fields=FIELDS)
        close, high, low = panel.close, panel.field("high"), panel.field("low")
        known = ~np.isnan(high * low * close)
        assert (high[known] >= low[known]).all()
        moves = close[:, 1:] / close[:, :-1] - 1
        assert np.nanmax(np.abs(moves)) < 0.6, "no split is left in the chains"
    folder = Path(__file__).parent.parent / "forge_ray" / "data" / "samples"
    assert sum(file.stat().st_size for file in folder.glob("*.parquet")) < 1_500_000
