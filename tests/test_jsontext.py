"""The JSON loader is strict: what it accepts, Python's reads the same; what it refuses, it places exactly."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_ray import jsontext
from forge_ray.jsontext import JsonError

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=20
)


@given(VALUES, st.sampled_from([None, 0, 3]), st.booleans())
def test_parse_reads_what_json_writes(value: Any, indent: int | None, ascii_only: bool) -> None:
    assert same(jsontext.parse(json.dumps(value, indent=indent, ensure_ascii=ascii_only)), value)


@given(VALUES)
def test_write_and_parse_are_inverse(value: Any) -> None:
    assert same(jsontext.parse(jsontext.write(value)), value)


@given(VALUES, st.integers(0, 4))
def test_write_is_what_json_writes(value: Any, indent: int) -> None:
    assert jsontext.write(value, indent) == json.dumps(value, indent=indent, ensure_ascii=False)


@given(st.text('{}[]",:\\0123456789.eE+-truefalsn \n\tu', max_size=14))
def test_parse_accepts_no_more_than_strict_json(text: str) -> None:
    try:
        expected = json.loads(text, object_pairs_hook=no_duplicates, parse_constant=refuse, parse_float=finite)
    except ValueError:
        with pytest.raises(JsonError, match=r"^line \d+, column \d+: "):
            jsontext.parse(text)
    else:
        assert same(jsontext.parse(text), expected)


@given(VALUES, st.data())
def test_a_truncated_text_is_refused_with_its_place(value: Any, data: st.DataObject) -> None:
    text = json.dumps([value])
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    with pytest.raises(JsonError, match=r"^line 1, column \d+: "):
        jsontext.parse(cut)


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [("[1,\n 2,\n  x]", 3, 3), ("x", 1, 1), ('{"a": 1,\n\n"a": 2}', 3, 1), ("[1 2]", 1, 4), ("[1]\r\n]", 2, 1)],
)
def test_errors_name_line_and_column(text: str, line: int, column: int) -> None:
    with pytest.raises(JsonError) as caught:
        jsontext.parse(text, place="job.json")
    assert caught.value.problems[0].place == f"job.json: line {line}, column {column}"


@pytest.mark.parametrize("depth", [1, 999, 1000, 4000])
def test_depth_is_limited_by_the_option_and_not_by_the_interpreter(depth: int) -> None:
    text = '{"a":' * depth + "1" + "}" * depth
    value = jsontext.parse(text, max_depth=depth)
    assert jsontext.parse(jsontext.write(value), max_depth=depth) is not None
    with pytest.raises(JsonError, match=f"nested deeper than {depth - 1:,} levels"):
        jsontext.parse(text, max_depth=depth - 1)


def test_whole_numbers_stay_exact_and_whole() -> None:
    assert jsontext.parse("[9007199254740993, -0, 1e2]") == [9007199254740993, 0, 100.0]
    assert [type(number) for number in jsontext.parse("[1, 1.0, 1e0]")] == [int, float, float]  # type: ignore[union-attr]


def test_the_number_of_values_is_limited() -> None:
    limit = jsontext.MAX_VALUES
    assert len(jsontext.parse("[" + "0," * (limit - 2) + "0]")) == limit - 1  # type: ignore[arg-type]
    with pytest.raises(JsonError, match=f"more than {limit:,} values"):
        jsontext.parse("[" + "0," * (limit - 1) + "0]")


def same(a: Any, b: Any) -> bool:
    """Equal in type, too; repr tells 1 from 1.0 and from True, and 0.0 from -0.0."""
    return repr(a) == repr(b)


def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("duplicate")
    if any(
        "\ud800" <= c <= "\udfff"
        for key, value in pairs
        for text in (key, value)
        if isinstance(text, str)
        for c in text
    ):
        raise ValueError("surrogate")
    return dict(pairs)


def refuse(name: str) -> None:
    raise ValueError(name)


def finite(text: str) -> float:
    if abs(number := float(text)) == float("inf"):
        raise ValueError(text)
    return number
