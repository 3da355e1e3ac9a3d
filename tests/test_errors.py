"""How errors show what they met: any value in a bounded, printable text."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_ray.errors import listed, nearest, shown, step, unknown

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(VALUES, st.integers(1, 80))
def test_a_value_is_shown_as_its_repr_cut_to_the_limit(value: Any, limit: int) -> None:
    whole, cut = repr(value), shown(value, limit)
    assert cut == whole if len(whole) <= limit else cut[-1] == "…" and len(cut) == limit
    assert cut.isprintable()


def test_what_is_cut_is_the_end() -> None:
    assert shown(list(range(100)), 12) == "[0, 1, 2, 3…"


@pytest.mark.parametrize("depth", [100, 100_000])
def test_a_value_of_any_depth_is_shown(depth: int) -> None:
    value: Any = 1
    for _ in range(depth):
        value = {"a": [value]}
    assert shown(value).startswith("{'a': [{'a': [") and len(shown(value)) == 60


def test_showing_a_large_value_does_not_write_it_whole() -> None:
    value = [{"key": "x" * 1_000_000}] * 100_000
    began = time.process_time()
    assert shown(value) == "[{'key': '" + "x" * 49 + "…"
    assert time.process_time() - began < 0.1


def test_a_number_that_python_refuses_to_write_is_told_by_its_bits() -> None:
    assert shown(10**5000) == "a number of 16,610 bits"


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\x1b[31m", "\u202e", "x" * 61])
def test_a_name_that_would_hide_or_harm_is_shown_in_quotes(name: str) -> None:
    assert step(name) == shown(name) and step(name).isprintable()


def test_a_plain_name_stays_as_it_is() -> None:
    assert step("Adj Close") == "Adj Close"


def test_many_names_are_listed_in_part() -> None:
    assert listed(f"n{k}" for k in range(2000)).endswith("n99 and 1,900 more")
    assert listed([]) == "nothing"
    assert len(unknown("place", "field", "x" * 10**6, ["y" * 10**6] * 1000).message) < 10_000


def test_the_nearest_of_long_names_is_not_looked_for() -> None:
    began = time.process_time()
    assert nearest("ab" * 10_000, ["ab" * 10_000]) == ""
    assert time.process_time() - began < 0.1
