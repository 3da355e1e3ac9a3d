"""The calendar, own bars, the carried benchmark and the fingerprint, against hand-made panels."""

from __future__ import annotations

import pickle
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_ray.data import Panel, as_date, as_day, build_panel
from forge_ray.errors import DataError
from harness import bound_of, history, panel_of

NAN = float("nan")


def day(number: int) -> date:
    return date(2020, 1, number)


def bars(closes: dict[int, float]) -> list[tuple[date, float]]:
    """Bars of January 2020: day of the month → close."""
    return [(day(number), close) for number, close in closes.items()]


def days_of(panel: Panel) -> list[int]:
    return [panel.date(t).day for t in range(len(panel.dates))]


# A has a holiday on the 3rd, C on the 6th; B is listed on the 3rd and ends on the 7th, one bar before the others.
THREE = {
    "A": bars({1: 10.0, 2: 11.0, 6: 13.0, 7: 14.0, 8: 15.0}),
    "B": bars({3: 20.0, 6: 21.0, 7: 22.0}),
    "C": bars({1: 30.0, 2: 31.0, 3: 32.0, 7: 33.0, 8: 34.0}),
    "I": bars({2: 100.0, 3: 101.0, 4: 102.0, 8: 103.0}),
}


def test_three_tickers_with_different_holidays_give_the_calendar_made_by_hand():
    panel = panel_of(THREE, ["C", "A", "B"])
    assert panel.tickers == ("A", "B", "C")
    assert days_of(panel) == [1, 2, 7, 8]
    expected = [[10.0, 11.0, 14.0, 15.0], [NAN, NAN, 22.0, NAN], [30.0, 31.0, 33.0, 34.0]]
    np.testing.assert_array_equal(panel.close, expected)
    assert panel.dropped == {"A": 1, "B": 2, "C": 1}


def test_own_bars_keep_the_dates_that_the_calendar_drops():
    own = panel_of(THREE, ["A", "B", "C"]).bars
    assert [as_date(d).day for d in own[1].dates] == [3, 6, 7]
    assert own[1].close.tolist() == [20.0, 21.0, 22.0]
    assert own[0].shown.tolist() == [0, 1, 3, 4]
    assert own[1].shown.tolist() == [-1, -1, 2, -1]
    assert own[2].shown.tolist() == [0, 1, 3, 4]


def test_the_union_calendar_of_three_tickers_made_by_hand():
    """Every date counts; a ticker alive without a bar shows its last one, for prices and for indicators."""
    panel = panel_of(THREE, ["C", "A", "B"], "I", calendar="union")
    assert days_of(panel) == [1, 2, 3, 6, 7, 8]
    expected = [
        [10.0, 11.0, 11.0, 13.0, 14.0, 15.0],
        [NAN, NAN, 20.0, 21.0, 22.0, NAN],
        [30.0, 31.0, 32.0, 32.0, 33.0, 34.0],
    ]
    np.testing.assert_array_equal(panel.close, expected)
    np.testing.assert_array_equal(panel.carried["I"]["close"], [NAN, 100.0, 101.0, 102.0, 102.0, 103.0])
    assert panel.dropped == {"A": 0, "B": 0, "C": 0}
    assert panel.filled == {"A": 1, "B": 0, "C": 1}
    indicator = np.array([NAN, 1.0, 2.0, 3.0, 4.0])
    np.testing.assert_array_equal(panel.bars[2].on_calendar(indicator), [NAN, 1.0, 2.0, 2.0, 3.0, 4.0])


def test_a_filled_date_has_the_last_close_in_every_field():
    prices = {
        "A": [(day(1), 1.0, 9.0, 0.5, 8.0), (day(3), 2.0, 9.5, 0.6, 7.0)],
        "B": [(day(d), 5.0, 6.0, 4.0, 5.5) for d in (1, 2, 3)],
    }
    panel = panel_of(prices, ["A", "B"], calendar="union")
    np.testing.assert_array_equal(panel.field("open")[0], [1.0, 8.0, 2.0])
    np.testing.assert_array_equal(panel.field("high")[0], [9.0, 8.0, 9.5])
    np.testing.assert_array_equal(panel.close[0], [8.0, 8.0, 7.0])


def test_without_holidays_both_calendars_are_one_panel():
    prices = {"A": bars({1: 1.0, 2: 2.0, 3: 3.0}), "B": bars({2: 5.0, 3: 6.0})}
    both = [panel_of(prices, ["A", "B"], calendar=calendar) for calendar in ("intersection", "union")]
    assert both[0].fingerprint == both[1].fingerprint


def test_a_late_listing_does_not_cut_the_others():
    prices = {"A": bars({1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0}), "B": bars({3: 5.0, 4: 6.0})}
    panel = panel_of(prices, ["A", "B"])
    assert days_of(panel) == [1, 2, 3, 4]
    np.testing.assert_array_equal(panel.close[1], [NAN, NAN, 5.0, 6.0])


def test_an_early_end_does_not_cut_the_others():
    prices = {"A": bars({1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0}), "B": bars({1: 5.0, 2: 6.0})}
    panel = panel_of(prices, ["A", "B"])
    assert days_of(panel) == [1, 2, 3, 4]
    np.testing.assert_array_equal(panel.close[1], [5.0, 6.0, NAN, NAN])
    assert panel.dropped == {"A": 0, "B": 0}


def test_lives_that_do_not_overlap_follow_each_other():
    panel = panel_of({"A": bars({1: 1.0, 2: 2.0}), "B": bars({5: 5.0, 6: 6.0})}, ["A", "B"])
    np.testing.assert_array_equal(panel.close, [[1.0, 2.0, NAN, NAN], [NAN, NAN, 5.0, 6.0]])


def test_the_benchmark_never_changes_the_calendar_and_is_carried():
    panel = panel_of(THREE, ["A", "B", "C"], "I")
    assert days_of(panel) == [1, 2, 7, 8]
    assert panel.tickers == ("A", "B", "C")
    np.testing.assert_array_equal(panel.carried["I"]["close"], [NAN, 100.0, 102.0, 103.0])


def test_a_benchmark_that_ends_early_is_carried_to_the_end():
    panel = panel_of({"A": bars({1: 1.0, 2: 2.0, 3: 3.0}), "I": bars({1: 7.0})}, ["A"], "I")
    np.testing.assert_array_equal(panel.carried["I"]["close"], [7.0, 7.0, 7.0])


@given(st.lists(st.sets(st.integers(1, 25), min_size=1), min_size=1, max_size=5))
def test_the_calendar_is_where_every_ticker_alive_has_a_bar(lives: list[set[int]]):
    prices = {f"T{k}": bars({d: 1.0 + d for d in sorted(life)}) for k, life in enumerate(lives)}
    panel = panel_of(prices, list(prices))
    expected = [
        d
        for d in sorted(set().union(*lives))
        if all(d in life for life in lives if min(life) <= d <= max(life))
    ]  # fmt: skip
    assert days_of(panel) == expected
    for k, life in enumerate(lives):
        np.testing.assert_array_equal(panel.close[k], [1.0 + d if d in life else NAN for d in expected])
        assert panel.dropped[f"T{k}"] == len(life - set(expected))
        own = panel.bars[k]
        alive = own.shown >= 0
        assert (panel.dates[alive] == own.dates[own.shown[alive]]).all()
        assert not own.carried.any()


@given(st.lists(st.sets(st.integers(1, 25), min_size=1), min_size=1, max_size=5))
def test_the_union_calendar_shows_the_last_bar_of_every_ticker_alive(lives: list[set[int]]):
    prices = {f"T{k}": bars({d: 1.0 + d for d in sorted(life)}) for k, life in enumerate(lives)}
    panel = panel_of(prices, list(prices), calendar="union")
    dates = sorted(set().union(*lives))
    assert days_of(panel) == dates
    for k, life in enumerate(lives):
        expected = [
            1.0 + max(e for e in life if e <= d) if min(life) <= d <= max(life) else NAN for d in dates
        ]  # fmt: skip
        np.testing.assert_array_equal(panel.close[k], expected)
        assert panel.filled[f"T{k}"] == sum(min(life) <= d <= max(life) and d not in life for d in dates)


def test_a_panel_needs_a_ticker():
    with pytest.raises(DataError, match="no ticker to load; allowed: at least one besides CASH"):
        build_panel([])


def test_tickers_without_a_common_date_cannot_be_traded():
    odd, even = [1, 3, 5, 7, 9], [2, 4, 6, 8, 10]
    prices = {"A": bars(dict.fromkeys(odd, 1.0)), "B": bars(dict.fromkeys(even, 1.0))}
    assert days_of(panel_of(prices, ["A", "B"])) == [1, 10]
    with pytest.raises(DataError, match="no bar left to trade with start common and lag 0; data end on 2020-01-10"):
        bound_of([{"id": "p", "kind": "position", "positions": ["A", "B"]}], prices)


def arrays_of(panel: Panel) -> list[np.ndarray]:
    assert panel.carried["I"]["close"] is not None
    own = [array for bar in panel.bars for array in (bar.dates, bar.close, bar.shown, bar.carried)]
    return [panel.dates, panel.close, panel.carried["I"]["close"], *own]


def test_arrays_are_read_only_and_contiguous():
    for array in arrays_of(panel_of(THREE, ["A", "B", "C"], "I")):
        assert array.flags.c_contiguous
        assert array.dtype in (np.float64, np.int64, np.bool_)
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_a_pickled_panel_is_the_same_panel():
    panel = panel_of(THREE, ["A", "B", "C"], "I")
    again = pickle.loads(pickle.dumps(panel))
    assert again.fingerprint == panel.fingerprint
    for left, right in zip(arrays_of(panel), arrays_of(again), strict=True):
        np.testing.assert_array_equal(left, right)


def test_panels_compare_by_identity_and_can_be_keys():
    panel, other = panel_of(THREE, ["A"]), panel_of(THREE, ["A"])
    assert panel == panel and panel != other
    assert {panel: 1, other: 2}[panel] == 1


def test_fingerprint_is_32_hex_digits_and_ignores_the_order_of_tickers():
    one, two = panel_of(THREE, ["A", "B", "C"]), panel_of(THREE, ["C", "B", "A"])
    assert one.fingerprint == two.fingerprint
    assert len(one.fingerprint) == 32 and int(one.fingerprint, 16) >= 0


def test_fingerprint_changes_with_ticker_date_close_and_benchmark():
    base = {"A": bars({1: 1.0, 2: 2.0, 3: 3.0}), "I": bars({1: 9.0, 3: 9.5}), "J": bars({1: 9.0, 3: 9.6})}
    panels = [
        panel_of(base, ["A"]),
        panel_of({"B": base["A"]}, ["B"]),
        panel_of({"A": bars({1: 1.0, 2: 2.0, 4: 3.0})}, ["A"]),
        panel_of({"A": bars({1: 1.0, 2: float(np.nextafter(2.0, 3.0)), 3: 3.0})}, ["A"]),
        panel_of({"A": bars({1: 1.0, 2: 2.0})}, ["A"]),
        panel_of(base, ["A", "I"]),
        panel_of(base, ["A"], "I"),
        panel_of(base, ["A"], "J"),
    ]
    assert len({panel.fingerprint for panel in panels}) == len(panels)


@pytest.mark.parametrize("own", [{3: 20.5, 6: 21.0, 7: 22.0}, {3: 20.0, 5: 21.0, 7: 22.0}], ids=["close", "date"])
def test_fingerprint_sees_own_bars_that_are_off_the_calendar(own: dict[int, float]):
    one, two = panel_of(THREE, ["A", "B", "C"]), panel_of({**THREE, "B": bars(own)}, ["A", "B", "C"])
    np.testing.assert_array_equal(one.close, two.close)
    np.testing.assert_array_equal(one.dates, two.dates)
    assert one.fingerprint != two.fingerprint


def test_row_names_the_nearest_ticker():
    panel = panel_of({"MSFT": bars({1: 1.0}), "AAPL": bars({1: 1.0})}, ["MSFT", "AAPL"])
    assert (panel.row("AAPL"), panel.row("MSFT")) == (0, 1)
    with pytest.raises(DataError, match=r"MSFTT is not in the panel \(did you mean 'MSFT'\?\)"):
        panel.row("MSFTT")


def test_days_and_dates_are_inverse_also_before_1970():
    for number in (-719_162, -1, 0, 1, 18_262, 2_932_896):
        assert as_day(as_date(number)) == number
    assert as_day(date(1970, 1, 1)) == 0 and as_date(-1) == date(1969, 12, 31)


def test_histories_of_one_bar_each_make_a_panel():
    panel = build_panel([history("A", [(day(1), 1.0)]), history("B", [(day(1) + timedelta(days=1), 2.0)])])
    np.testing.assert_array_equal(panel.close, [[1.0, NAN], [NAN, 2.0]])
