"""Values of an axis: exact grids, ends named by their neighbours, "±" around the number in the tree."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_ray.tree import axis_values
from forge_ray.tree.domains import MAX_WINDOW, METRIC, POSITION, THRESHOLD, WINDOW
from forge_ray.tree.values import MAX_VALUES

STEPS = st.decimals("0.001", "50", places=3).filter(lambda step: step > 0)
STARTS = st.decimals("-1000", "1000", places=3)


def numbers(spec: object, written: object = None) -> tuple:
    return axis_values(spec, written, THRESHOLD.read, integer=False)


def windows(spec: object, written: object = None) -> tuple:
    return axis_values(spec, written, WINDOW.read, integer=True)


@given(STARTS, STEPS, st.integers(0, 300))
def test_every_value_of_a_grid_is_the_float_nearest_to_its_decimal(start: Decimal, step: Decimal, steps: int) -> None:
    found = numbers(f"{start}..{start + steps * step} by {step}")
    assert found == tuple(float(start + k * step) for k in range(steps + 1))


@given(STARTS, STEPS, st.integers(0, 300), st.data())
def test_an_end_off_the_grid_names_both_neighbours(
    start: Decimal, step: Decimal, steps: int, data: st.DataObject
) -> None:
    off = data.draw(st.decimals(0, step, places=6).filter(lambda d: 0 < d < step))
    below = start + steps * step
    with pytest.raises(ValueError, match="is not on the grid") as caught:
        numbers(f"{start}..{below + off} by {step}")
    assert f"its neighbours are {below} and {below + step}" in str(caught.value)


@pytest.mark.parametrize("spec", ["9" * 41 + ".." + "9" * 42, "0.." + "9" * 10**6, "٢..٢٠", "±" + "9" * 41])
def test_numbers_of_very_many_digits_or_of_other_scripts_are_not_read(spec: str) -> None:
    with pytest.raises(ValueError, match="expected a list") as caught:
        numbers(spec, 5)
    assert len(str(caught.value)) < 200


@given(st.integers(1, 1000), st.integers(0, 500))
def test_a_range_of_whole_numbers_has_them_all(low: int, count: int) -> None:
    found = windows(f"{low}..{low + count}")
    assert found == tuple(range(low, low + count + 1))
    assert all(type(value) is int for value in found)


@given(st.integers(1, 500), st.integers(0, 40))
def test_around_is_symmetric_and_holds_the_centre(centre: int, reach: int) -> None:
    assert numbers(f"±{reach}", centre) == tuple(float(centre + k) for k in range(-reach, reach + 1))


@pytest.mark.parametrize(
    ("spec", "written", "expected"),
    [
        ("±3", 14, (11, 12, 13, 14, 15, 16, 17)),
        ("±4 by 2", 14, (10, 12, 14, 16, 18)),
        ("±20% by 10%", 50, (40, 45, 50, 55, 60)),
        ("±20% by 10%", 14, (11, 13, 14, 15, 17)),
        ("±50% by 25%", 2, (1, 2, 3)),
        (" ± 1 ", 5, (4, 5, 6)),
        ("±0", 5, (5,)),
        ("5..5", None, (5,)),
        ("20..40 by 5", None, (20, 25, 30, 35, 40)),
        ([9, 3, 5.0], None, (9, 3, 5)),
    ],
)
def test_windows(spec: object, written: object, expected: tuple) -> None:
    found = windows(spec, written)
    assert found == expected
    assert all(type(value) is int for value in found)


@pytest.mark.parametrize(
    ("spec", "written", "expected"),
    [
        ("±20% by 5%", 1.5, (1.2, 1.275, 1.35, 1.425, 1.5, 1.575, 1.65, 1.725, 1.8)),
        ("±0.2 by 0.1", -0.3, (-0.5, -0.4, -0.3, -0.2, -0.1)),
        ("-1..1 by .5", None, (-1.0, -0.5, 0.0, 0.5, 1.0)),
        ("1e-2..3e-2 by 1e-2", None, (0.01, 0.02, 0.03)),
        ([30, -2.5], None, (30.0, -2.5)),
    ],
)
def test_thresholds(spec: object, written: object, expected: tuple) -> None:
    found = numbers(spec, written)
    assert found == expected
    assert all(type(value) is float for value in found)


def test_ends_of_fields_are_reachable_and_not_passed() -> None:
    assert windows(f"{MAX_WINDOW - 1}..{MAX_WINDOW}") == (MAX_WINDOW - 1, MAX_WINDOW)
    with pytest.raises(ValueError, match="got 0"):
        windows("±5", 5)
    with pytest.raises(ValueError, match=f"got {MAX_WINDOW + 1}"):
        windows(f"{MAX_WINDOW}..{MAX_WINDOW + 1}")


def test_names_are_taken_in_their_order_and_in_their_normal_form() -> None:
    assert axis_values(["SMA", "RSI"], None, METRIC.read, integer=False) == (
        "Simple Moving Average",
        "Relative Strength Index",
    )
    assert axis_values(["MSFT", "CASH", "BRK.B"], "AAPL", POSITION.read, integer=False) == ("MSFT", "CASH", "BRK.B")


def test_the_largest_axis_is_allowed_and_one_more_is_not() -> None:
    assert len(numbers(f"1..{MAX_VALUES + 1} by 1")) == MAX_VALUES + 1
    with pytest.raises(ValueError, match="1,000,002 values; allowed: at most 1,000,000"):
        numbers(f"1..{MAX_VALUES + 2}")
