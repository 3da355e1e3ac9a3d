"""A market with another future: what is known stays, what is not changes or is gone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forge_ray.data import Bars, Future, RawMarket, as_date

DAYS = np.array([10, 11, 14, 15, 16], np.int64)
CLOSE = np.array([100.0, 102.0, 101.0, 50.0, 51.0])
VOLUME = np.array([0.0, 5.0, 7.0, np.nan, np.nan])
DAY = 14
KNOWN, CHANGED = slice(0, 3), slice(3, 5)


def market() -> RawMarket:
    split = np.array([50.0, 51.0, 50.5, 50.0, 51.0])
    own = Bars("AAA", DAYS, CLOSE, split, {"high": CLOSE + 1, "volume": VOLUME}, {})
    return RawMarket({"AAA": own, "BBB": replace(own, ticker="BBB", dates=DAYS - 1)}, ("AAA",), ("BBB",))


def fields(bars: Bars) -> dict[str, np.ndarray]:
    assert bars.adjusted is not None
    return {"close": bars.close, "adjusted": bars.adjusted, **bars.others}


@pytest.mark.parametrize("future", Future)
def test_a_scramble_changes_every_field_after_the_day_and_nothing_else(future: Future):
    before, after = market().bars["AAA"], market().scrambled(DAY, future, (1, 2)).bars["AAA"]
    assert after.dates is before.dates
    for name, values in fields(after).items():
        assert values[KNOWN].tobytes() == fields(before)[name][KNOWN].tobytes(), name
        assert np.all(np.isfinite(values[CHANGED]) & (values[CHANGED] != fields(before)[name][CHANGED])), name
        assert np.all(values[CHANGED] > 0) or name == "volume"


def test_the_same_seed_gives_the_same_future_and_another_one_another():
    a, b, c = (market().scrambled(DAY, Future.FAR, seed).panel().fingerprint for seed in ((1, 2), (1, 2), (1, 3)))
    assert a == b != c


def test_far_lies_on_one_side_of_the_history_and_opposite_on_the_other():
    """Of the middle of the history, for every ticker, in 200 futures; within stays near it."""
    for seed in range(200):
        close = {
            future: [market().scrambled(DAY, future, (seed,)).bars[t].close[-1] for t in ("AAA", "BBB")]
            for future in Future
        }
        for far, opposite, within in zip(close[Future.FAR], close[Future.OPPOSITE], close[Future.WITHIN], strict=True):
            assert min(far, opposite) < 204 / 3
            assert max(far, opposite) > 25 * 3
            assert 25 <= within <= 204


def test_a_truncated_market_is_the_one_that_was_known_then():
    short = market().truncated(DAY).panel()
    assert [short.date(t) for t in range(3)] == [as_date(day) for day in (10, 11, 14)]
    whole = market().panel()
    assert short.close.tobytes() == np.ascontiguousarray(whole.close[:, KNOWN]).tobytes()
    assert short.carried["BBB"]["close"].tobytes() == whole.carried["BBB"]["close"][KNOWN].tobytes()


def test_prices_are_chained_again_with_what_follows():
    """The first bars of a panel do not know what comes later, and the changed ones have their own adjustment."""
    whole, other = market().panel(), market().scrambled(DAY, Future.WITHIN, (5,)).panel()
    assert whole.close[0, KNOWN].tobytes() == other.close[0, KNOWN].tobytes()
    raw = market().scrambled(DAY, Future.WITHIN, (5,)).bars["AAA"]
    assert raw.adjusted is not None
    assert other.close[0, 4] == pytest.approx(CLOSE[0] * raw.adjusted[4] / raw.adjusted[0], rel=1e-15)
