"""Makes synthetic.parquet: seeded daily bars with everything that real histories do to a backtest.

Ten tickers over eight years of weekdays: an index IDX with calm, rising and crashing regimes, stocks that follow it, a
cash ticker BIL that earns a rate. SPLIT splits 2:1 and later 1:10, LATE is listed in the third year, GONE is delisted
in the sixth, HOLES misses single days (a holiday of its own), THIN misses single opens, highs and lows.

python -m forge_ray.data.samples.make_synthetic
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SEED = 7
N_BARS = 2_200
FIRST_DAY = np.datetime64("2012-01-02")
REGIMES = ((0.0004, 0.007), (0.0009, 0.009), (-0.0015, 0.019))
BETA = {
    "IDX": 1.0,
    "HIGH": 1.6,
    "LOW": 0.5,
    "SPLIT": 1.1,
    "LATE": 1.3,
    "GONE": 0.9,
    "HOLES": 0.8,
    "THIN": 1.0,
    "WALK": 0.0,
}


def index_returns(rng: np.random.Generator) -> np.ndarray:
    regime, returns = 0, np.empty(N_BARS)
    for t in range(N_BARS):
        if rng.random() < 0.008:
            regime = int(rng.integers(len(REGIMES)))
        drift, deviation = REGIMES[regime]
        returns[t] = drift + deviation * rng.standard_t(5) * np.sqrt(3 / 5)
    return returns


def bars(rng: np.random.Generator, ticker: str, market: np.ndarray) -> dict[str, np.ndarray]:
    own = 0.00015 + 0.008 * rng.standard_normal(N_BARS) * (ticker != "IDX")
    returns = np.full(N_BARS, 0.02 / 252) if ticker == "BIL" else BETA[ticker] * market + own
    close = np.round(100.0 * np.exp(np.cumsum(np.clip(returns, -0.5, 0.5))), 4)
    spread = 0.0 if ticker == "BIL" else 0.004
    start = np.round(np.append(close[0], close[:-1]) * np.exp(spread * rng.standard_normal(N_BARS)), 4)
    high = np.round(np.maximum(start, close) * (1 + spread * rng.random(N_BARS)), 4)
    low = np.round(np.minimum(start, close) * (1 - spread * rng.random(N_BARS)), 4)
    volume = np.round(1e6 * np.exp(0.3 * rng.standard_normal(N_BARS))).astype(np.int64)
    return {"Open": start, "High": high, "Low": low, "Close": close, "Adj Close": close.copy(), "Volume": volume}


def with_splits(fields: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Raw prices before a 2:1 split were twice, before a later 1:10 reverse split a tenth of what they are since."""
    factor = np.ones(N_BARS)
    factor[:800] *= 2.0
    factor[:1_600] *= 0.1
    raw = {name: values if name in ("Adj Close", "Volume") else np.round(values * factor, 4)
           for name, values in fields.items()}  # fmt: skip
    return raw | {"Volume": np.round(fields["Volume"] / factor).astype(np.int64)}


def main() -> None:
    rng = np.random.default_rng(SEED)
    market, days = index_returns(rng), np.busday_offset(FIRST_DAY, np.arange(N_BARS))
    tables = []
    for ticker in sorted([*BETA, "BIL"]):
        fields, kept = bars(rng, ticker, market), np.ones(N_BARS, bool)
        if ticker == "SPLIT":
            fields = with_splits(fields)
        if ticker == "LATE":
            kept[:600] = False
        if ticker == "GONE":
            kept[1_500:] = False
        if ticker == "HOLES":
            kept[rng.choice(np.arange(50, N_BARS - 50), 20, replace=False)] = False
        if ticker == "THIN":
            for name in ("Open", "High", "Low"):
                fields[name][rng.choice(np.arange(50, N_BARS - 50), 6, replace=False)] = np.nan
        columns = {"Ticker": pa.array([ticker] * int(kept.sum())), "Date": pa.array(days[kept].astype("datetime64[D]"))}
        columns |= {name: pa.array(values[kept], from_pandas=True) for name, values in fields.items()}
        tables.append(pa.table(columns))
    target = Path(__file__).parent / "synthetic.parquet"
    pq.write_table(
        pa.concat_tables(tables), target, compression="zstd", compression_level=19, use_dictionary=True,
        write_page_checksum=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
