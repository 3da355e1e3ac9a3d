"""Good JSON documents, and what may become of them: mutations of their structure, of their text and of their bytes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import strategies as st

from forge_ray import jsontext
from random_trees import random_tree
from test_bad_input import JOB, TREE
from whole_trees import random_whole

ROOT = Path(__file__).parent.parent
TICKERS = ("AAPL", "MSFT", "KO", "XOM")
MAX_MUTATIONS = 4
MAX_SHOWN = 20_000

Draw = Callable[[st.SearchStrategy[Any]], Any]
Container = Any  # a dict or a list


def read_json(name: str) -> Any:
    return json.loads((ROOT / "jobs" / name).read_text())


# ---------------------------------------------------------------- good documents

SWEPT_TREE = read_json("quickstart.json")["tree"]
WRITTEN_TREES = [read_json(f"trees/{k:02}.json") for k in (1, 20, 40, 60, 77)]


def a_random_tree(number: int) -> dict[str, Any]:
    rng = random.Random(number)
    return random_tree(rng, TICKERS, depth=rng.randint(0, 4), more_indicators=rng.random() < 0.5)


def a_job_of(tree: dict[str, Any]) -> dict[str, Any]:
    return {"data": "sample:us20", "tree": tree, "split": "even_odd_month", "execution": {"null": "else"}}


def a_whole_job(number: int) -> dict[str, Any]:
    """A tree of the whole language with what it refers to, alone, with an axis by its words, or with a design."""
    rng = random.Random(number)
    whole = random_whole(rng, TICKERS, rng.randint(1, 3))
    job = a_job_of(whole.tree) | whole.job()
    near = {"window": "±20% by 10%", "threshold": "±5%", "sample": rng.randint(1, 9), "seed": rng.randint(0, 9)}
    return job | rng.choice([
        {},
        {"axes": {"w": {"at": "*", "window": [2, 5]}}},
        {"axes": {"w": {"at": "*", "threshold": [2, 5]}}, "design": {"kind": "jitter", "sample": 3}},
        {"design": {"kind": "neighbourhood", "changes": rng.randint(1, 3), **near}},
        {"design": {"kind": "jitter", **near}},
    ])  # fmt: skip


TREES = st.sampled_from([TREE, SWEPT_TREE, *WRITTEN_TREES]) | st.integers(0, 2**32).map(a_random_tree)
JOBS = st.sampled_from(
    [
        JOB,
        read_json("quickstart.json"),
        {"name": "two", "data": "sample:us20", "trees": {"a": WRITTEN_TREES[0], "b.json": WRITTEN_TREES[1]}},
        JOB | {
            "data": {"source": "sample:us_ohlcv", "start": "2012-01-01", "end": "2013-06-28", "clean": ["sort"]},
            "tree": json.loads(json.dumps(TREE).replace("KO", "IBM")),
            "split": {"chronological": "2012-09-01"},
            "execution": {"mode": "OO", "lag": 1, "cost_bps": {"default": 5, "IBM": 7.5}, "rebalance": {"threshold": 5},
                          "start": "earliest", "null": "else", "cash_rate": 0.02, "risk_free": "IXIC",
                          "cash_like": ["CASH"]},
            "require": {"full.sharpe": ">= 0.1", "oos.trades": 500},
            "keep": "passing",
        },
    ]
) | TREES.map(a_job_of) | st.integers(0, 2**32).map(a_whole_job)  # fmt: skip

# ---------------------------------------------------------------- structure

TEXTS = st.text(st.characters(), max_size=12)
ODD_NUMBERS = (
    0, -1, 1, 2, 2.5, -0.0, 0.1, 5e-324, 1e308, -1e308, float("nan"), float("inf"), float("-inf"),
    2**31, 2**53 + 1, 2**63, 10**20, 10**399, -(10**399), 99_999, 100_001,
)  # fmt: skip
ODD_TEXTS = (
    "", " ", "\0", "\x1b[31m", "a\nb", "\ud800", "\u202e", "é", "🦆", "a" * 33, "a" * 100_000, "9" * 100_000,
    "$n", "$", "$N", "$low", "../x", "/", "a/../b", "CASH", "Empty", "AAPL", "SPX", "NONE", "RSI", "Price", "%B",
    "lt", "crossAbove", "if", "or", "defined", "equal", "indicator", "basic", "position",
    "sample:us20", "sample:synthetic", "2015-01-01", "20150101", "2015-W01-1", "9999-12-31",
    "30%", "1e999%", "-5%", "<= 35%", ">= 1e99999", "holdout", "threshold", "on_change", "weekly", "OC", "earliest",
    "1..5", "5..1", "0..1e5", "0..1e99 by 1e98", "1..9 by 1e-9", "±3", "±20% by 5%", "±1e9 by 1", "exact",
    "5..60 exact",
    "n < 3", "n + low", "n < 1e400", "n in (2, 'x')", "n * 9007199254740992 * 9007199254740992 > 0", "n / 0 < 3",
    "not n < 3", "n <", "low == 'x'", "-" * 300 + "n < 3", "n - n * 1e308 * 10 < 3",
    "gate.dip.window", "gate.up.rightWindow", "in.positions[0]", "some.weight", "mix.weighting", "gate", "gate.", ".",
)  # fmt: skip
ODD_CONTAINERS = ([], {}, [[]], [{}], {"": None}, {"paths": ["gate.dip.forDays"], "values": "1..3"}, [None] * 3)
ODD_VALUES = (
    st.none() | st.booleans() | st.sampled_from(ODD_NUMBERS) | st.sampled_from(ODD_TEXTS)
    | st.sampled_from(ODD_CONTAINERS).map(lambda value: copied(value)) | st.integers() | st.floats() | TEXTS
)  # fmt: skip


class Document(NamedTuple):
    """A JSON value of any depth, shown without recursion and cut."""

    value: Any

    def __repr__(self) -> str:
        try:
            text = repr(self.value)
        except RecursionError:
            text = f"json.loads({jsontext.write(self.value, 0)!r})"
        return f"Document({text[:MAX_SHOWN]})"


def copied(value: Any) -> Any:
    """A copy of a JSON value, whatever its depth."""
    holder = [value]
    for container, key in places_of(holder, 2**60):
        if isinstance(inner := container[key], dict | list):
            container[key] = inner.copy()
    return holder[0]


@st.composite
def mutated(draw: Draw, documents: st.SearchStrategy[Any]) -> Document:
    """A document with up to `MAX_MUTATIONS` mistakes at random places; sometimes none."""
    holder = [copied(draw(documents))]
    for _ in range(draw(st.integers(0, MAX_MUTATIONS))):
        places = list(places_of(holder))
        container, key = places[draw(st.integers(0, len(places) - 1))]
        mutate = draw(st.sampled_from(MUTATIONS))
        mutate(draw, container, key, places)
        if not holder:
            return Document(draw(ODD_VALUES))
    return Document(holder[0])


def places_of(holder: list[Any], most: int = 2_000) -> Iterator[tuple[Container, Any]]:
    """(container, key) of every value in the first `most` containers, breadth first."""
    containers: list[Container] = [holder]
    for container in containers:
        for key in list(container) if isinstance(container, dict) else range(len(container)):
            yield container, key
            if isinstance(container[key], dict | list) and len(containers) < most:
                containers.append(container[key])


def replace(draw: Draw, container: Container, key: Any, places: list) -> None:
    container[key] = draw(ODD_VALUES)


def drop(draw: Draw, container: Container, key: Any, places: list) -> None:
    del container[key]


def rename(draw: Draw, container: Container, key: Any, places: list) -> None:
    if isinstance(container, dict):
        names = [name for other, name in places if isinstance(other, dict)]
        name = draw(
            st.sampled_from(names) | st.sampled_from(ODD_TEXTS) | TEXTS | st.just(f"{key} ") | st.just(key[:-1])
        )
        container[name] = container.pop(key)


def duplicate(draw: Draw, container: Container, key: Any, places: list) -> None:
    value = copied(container[key])
    if isinstance(container, list):
        container.insert(key, value)
    else:
        container[f"{key}{draw(st.sampled_from(['2', '_', ' ', '']))}"] = value


def repeat(draw: Draw, container: Container, key: Any, places: list) -> None:
    if isinstance(container, list) and container:
        container[key : key + 1] = [container[key]] * draw(st.sampled_from([2, 20, 300]))


def exchange(draw: Draw, container: Container, key: Any, places: list) -> None:
    """Put a copy of another value of the document here."""
    other, name = places[draw(st.integers(0, len(places) - 1))]
    container[key] = copied(other[name])


def wrap(draw: Draw, container: Container, key: Any, places: list) -> None:
    container[key] = [container[key]] if draw(st.booleans()) else {str(key): container[key]}


def nest(draw: Draw, container: Container, key: Any, places: list) -> None:
    """Deep below itself: lists, objects, or nodes."""
    depth, value = draw(st.sampled_from([3, 400, 1_100])), container[key]
    layer = draw(st.sampled_from([lambda v, k: [v], lambda v, k: {"values": v}, a_layer]))
    for k in range(depth):
        value = layer(value, k)
    container[key] = value


def a_layer(value: Any, k: int) -> dict[str, Any]:
    return {"id": f"deep{k}", "kind": "basic", "children": {"next": [value]}}


def twist(draw: Draw, container: Container, key: Any, places: list) -> None:
    """Nearly the same scalar: another type, sign, case or end."""
    value = container[key]
    if isinstance(value, bool) or value is None:
        container[key] = draw(st.sampled_from([0, 1, str(value), not value]))
    elif isinstance(value, int | float):
        options = [-value, str(value), bool(value), [value]]
        container[key] = draw(st.sampled_from([*options, value + 0.5, float(value)] if abs(value) < 1e300 else options))
    elif isinstance(value, str):
        options = [value.lower(), value.upper(), value[:-1], value[1:], f"${value}", f"{value} ", value + "\n"]
        container[key] = draw(st.sampled_from(options) | st.builds(value.__add__, TEXTS))


MUTATIONS = (replace, replace, twist, twist, exchange, exchange, rename, drop, duplicate, repeat, wrap, nest)

# ---------------------------------------------------------------- text and bytes


@st.composite
def mutated_bytes(draw: Draw, texts: st.SearchStrategy[bytes]) -> bytes:
    """Bytes cut, flipped, put in, taken out, doubled or moved; sometimes unchanged."""
    data = bytearray(draw(texts))
    for _ in range(draw(st.integers(0, MAX_MUTATIONS))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 12) | st.integers(0, 400))
        match draw(st.sampled_from(["flip", "flip", "byte", "cut", "insert", "insert", "delete", "double", "move"])):
            case "flip" if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "byte" if at < len(data):
                data[at] = draw(st.integers(0, 255))
            case "cut":
                del data[at:]
            case "insert":
                data[at:at] = draw(INSERTED)
            case "delete":
                del data[at : at + length]
            case "double":
                data[at:at] = data[at : at + length]
            case "move":
                piece = data[at : at + length]
                del data[at : at + length]
                to = draw(st.integers(0, len(data)))
                data[to:to] = piece
    return bytes(data)


INSERTED = st.binary(max_size=8) | st.sampled_from(
    [b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u0000", b"\\ud800", b"\\n", b"NaN", b"-Infinity", b"1e999",
     b"-", b"0", b"null", b"true", b"//", b"\xef\xbb\xbf", b"\xff", b"\x00", b"'", b"[" * 5_000,
     b'{"a":' * 5_000, b"9" * 5_000]
)  # fmt: skip


def as_text(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()


TREE_TEXTS, JOB_TEXTS = TREES.map(as_text), JOBS.map(as_text)
