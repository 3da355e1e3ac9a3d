"""Splits: what `is` and `oos` are, in exact arithmetic, and what is refused."""

from __future__ import annotations

from datetime import date, timedelta
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_ray.data import Split, as_day, parse_split, split_masks
from forge_ray.errors import InputError


def masks(value: object, dates: np.ndarray) -> dict[str, np.ndarray]:
    return split_masks(parse_split(value, "split"), dates)


def days(*texts: str) -> np.ndarray:
    return np.array([as_day(date.fromisoformat(text)) for text in texts], np.int64)


def count(n: int) -> np.ndarray:
    return np.arange(18_262, 18_262 + n, dtype=np.int64)


def test_holdout_keeps_the_last_three_of_ten():
    found = masks({"holdout": "30%"}, count(10))
    assert found["is"].tolist() == [True] * 7 + [False] * 3
    assert found["oos"].tolist() == [False] * 7 + [True] * 3
    assert found["full"].all() and found["full"].dtype == bool


@given(st.integers(0, 9_000), st.integers(1, 999))
def test_shares_are_floored_exactly(n: int, tenths: int):
    text, share = f"{tenths / 10:.1f}%", Fraction(tenths, 1000)
    assert masks({"holdout": text}, count(n))["oos"].sum() == n * share // 1
    first = masks({"chronological": text}, count(n))["is"]
    assert first.sum() == n * share // 1
    assert first[: first.sum()].all()


@pytest.mark.parametrize(("n", "oos"), [(0, 0), (1, 0), (3, 0), (4, 1), (10, 3), (8312, 2493), (190, 57)])
def test_holdout_sizes(n: int, oos: int):
    assert masks({"holdout": "30%"}, count(n))["oos"].sum() == oos


def test_a_share_that_floats_get_wrong_is_exact():
    assert int(0.29 * 100) == 28
    assert masks({"chronological": "29%"}, count(100))["is"].sum() == 29
    assert masks({"chronological": 0.29}, count(100))["is"].sum() == 29


def test_a_date_is_the_first_day_out_of_sample():
    found = masks({"chronological": "2015-01-01"}, days("2014-12-30", "2014-12-31", "2015-01-01", "2015-01-02"))
    assert found["is"].tolist() == [True, True, False, False]
    assert found["oos"].tolist() == [False, False, True, True]


def test_odd_months_are_searched():
    dates = days("1969-12-31", "1970-01-01", "2020-01-31", "2020-02-01", "2020-02-29", "2020-03-01", "2020-12-31")
    assert masks("even_odd_month", dates)["is"].tolist() == [False, True, True, False, False, True, False]


def test_odd_years_are_searched():
    dates = days("1969-12-31", "1970-01-01", "1971-06-01", "1999-12-31", "2000-01-01", "2001-01-01")
    assert masks("even_odd_year", dates)["is"].tolist() == [True, False, True, True, False, True]


@given(st.lists(st.dates(date(1900, 1, 1), date(2100, 1, 1)), max_size=30))
def test_interleaved_splits_follow_the_calendar_date(found: list[date]):
    dates = np.array([as_day(day) for day in found], np.int64)
    assert masks("even_odd_month", dates)["is"].tolist() == [day.month % 2 == 1 for day in found]
    assert masks("even_odd_year", dates)["is"].tolist() == [day.year % 2 == 1 for day in found]


def test_none_has_no_segments_but_full():
    found = masks("none", count(5))
    assert found["full"].all() and not found["is"].any() and not found["oos"].any()


@pytest.mark.parametrize(
    "value", [{"holdout": "30%"}, {"chronological": "70%"}, {"chronological": "2020-02-01"}, "even_odd_month"]
)
def test_is_and_oos_divide_full(value: object):
    found = masks(value, count(100))
    assert list(found) == ["full", "is", "oos"]
    assert (found["is"] ^ found["oos"]).all() and found["is"].any() and found["oos"].any()


@pytest.mark.parametrize("value", ["30%", "30.0%", " 30 %", "0.3", 0.3, "0.30"])
def test_equal_shares_are_one_split(value: object):
    split = parse_split({"holdout": value}, "split")
    assert split == parse_split({"holdout": "30%"}, "split")
    assert split.canonical() == {"holdout": "0.3"}


@pytest.mark.parametrize(
    "value",
    [
        {"holdout": "30%"},
        {"holdout": "12.5%"},
        {"chronological": "70%"},
        {"chronological": "2015-01-01"},
        "even_odd_month",
        "even_odd_year",
        "none",
    ],
)
def test_the_canonical_form_reads_back_as_the_same_split(value: object):
    split = parse_split(value, "split")
    assert parse_split(split.canonical(), "split") == split


def test_splits_are_values():
    assert parse_split("none", "a") == parse_split("none", "b") == Split("none")
    assert len({parse_split({"holdout": "30%"}, "split"), parse_split({"holdout": 0.3}, "split")}) == 1


SHARES = ["0%", "100%", "-5%", "130%", 0, 1, 30, 1.0, True, None, "x", "", "%", "nan", "inf%", [], {}, float("nan")]


@pytest.mark.parametrize("kind", ["holdout", "chronological"])
@pytest.mark.parametrize("value", SHARES, ids=repr)
def test_a_share_outside_0_to_100_percent_is_refused(kind: str, value: object):
    with pytest.raises(InputError) as caught:
        parse_split({kind: value}, "split")
    (problem,) = caught.value.problems
    assert problem.place == f"split.{kind}"
    assert repr(value) in problem.message
    assert 'a share above 0 and below 100% such as "30%"' in problem.message


@pytest.mark.parametrize("value", ["2015-02-30", "2015-13-01", "1.1.2015"])
def test_a_date_that_does_not_exist_is_refused(value: str):
    with pytest.raises(InputError, match=value):
        parse_split({"chronological": value}, "split")


@pytest.mark.parametrize("value", ["holdouts", "even-odd-month", 3, None, True, [], {}, {"holdout": "30%", "none": 1}])
def test_an_unknown_split_names_place_value_and_what_is_allowed(value: object):
    with pytest.raises(InputError) as caught:
        parse_split(value, "job.split")
    message = str(caught.value)
    assert message.startswith("job.split: unknown split ") and repr(value)[:20] in message
    assert all(name in message for name in ("holdout", "chronological", "even_odd_month", "even_odd_year", "none"))


@pytest.mark.parametrize(
    ("value", "meant"),
    [("even_odd_months", "even_odd_month"), ("holdout", "holdout"), ("Chronologic", "chronological")],
)
def test_an_unknown_split_names_the_nearest(value: str, meant: str):
    with pytest.raises(InputError, match=f"did you mean '{meant}'"):
        parse_split(value, "split")


def test_segments_of_the_sample_calendar_years():
    start = date(1990, 1, 2)
    found = [start + timedelta(days=k) for k in range(0, 12_000, 7)]
    dates = np.array([as_day(day) for day in found], np.int64)
    searched = masks("even_odd_year", dates)["is"]
    assert {day.year for day, kept in zip(found, searched, strict=True) if kept} == set(range(1991, 2023, 2))
