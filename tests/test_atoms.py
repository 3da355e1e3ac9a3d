"""Atoms: what a tree says, once each, and axes that address it by its words."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from forge_ray.errors import InputError
from forge_ray.sweep import parse_job
from forge_ray.tree import Atom, atoms_of, fill, parse_tree, places_of
from forge_ray.tree.nodes import Placeholder, node_fields
from forge_ray.tree.phrases import condition_phrase, normal_phrase
from test_language_sweeps import SPACES
from whole_trees import random_whole


def gate(name: str, *conditions: dict, then: object = (), other: object = ()) -> dict:
    children = {"then": list(then), "else": list(other)}
    return {"id": name, "kind": "indicator", "conditions": list(conditions), "children": children}


def hold(name: str, *tickers: str) -> dict:
    return {"id": name, "kind": "position", "positions": list(tickers)}


def rsi(name: str, ticker: str, window: int, threshold: float, **more: object) -> dict:
    given = {
        "id": name,
        "metric": "RSI",
        "window": window,
        "ticker": ticker,
        "comparator": "gt",
        "threshold": threshold,
    }
    return given | more


PASTED = gate(
    "top", rsi("a", "TQQQ", 10, 79),
    then=[hold("h1", "UVXY")],
    other=[gate("mid", rsi("b", "TQQQ", 10, 79), rsi("c", "SPY", 10, 80, type="or"),
                then=[hold("h2", "UVXY", "BIL")],
                other=[gate("low", rsi("d", "QQQ", 20, 79.5, comparator="lt", forDays=2), then=[hold("h3", "TQQQ")],
                            other=[hold("h4", "BIL")])])],
)  # fmt: skip


def test_every_paste_of_an_atom_is_a_place_of_it():
    found = {atom.text: atom for atom in atoms_of(parse_tree(PASTED))}
    assert list(found) == [
        "RSI(TQQQ,10) > 79", "RSI(TQQQ,10)", "hold UVXY", "RSI(SPY,10) > 80", "RSI(SPY,10)", "hold BIL",
        "RSI(QQQ,20) < 79.5 for 2 days", "RSI(QQQ,20)", "hold TQQQ",
    ]  # fmt: skip
    assert found["RSI(TQQQ,10) > 79"].places["threshold"] == ("top.a.threshold", "mid.b.threshold")
    assert found["hold UVXY"].places["ticker"] == ("h1.positions[0]", "h2.positions[0]")
    assert found["hold BIL"].n == 2 and found["RSI(QQQ,20) < 79.5 for 2 days"].values["forDays"] == 2


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ({"metric": "Current Price", "ticker": "SPY", "comparator": "gte", "threshold": 1.25}, "Price(SPY) >= 1.25"),
        (
            {"metric": "SMA", "window": 5, "ticker": {"ratio": ["XLY", "XLP"]}, "comparator": "crossBelow",
             "expanded": True, "rightWindow": 20},
            "SMA(XLY/XLP,5) crosses below SMA(XLY/XLP,20)",
        ),
        (
            {"metric": "RSI", "window": 5, "ticker": {"any": ["A", "B"]}, "comparator": "lt", "threshold": 0.1 + 0.2},
            "RSI(any of A B,5) < 0.30000000000000004",
        ),
        ({"metric": "Date", "dateMonth": 11, "dateDay": 1, "dateTo": {"month": 4, "day": 30}}, "date 11-1 to 4-30"),
        ({"metric": "Date", "dateMonth": 11, "dateDay": 1}, "date 11-1"),
    ],
)  # fmt: skip
def test_conditions_in_words(condition: dict, words: str):
    tree = parse_tree(gate("g", {"id": "c", **condition}))
    assert [condition_phrase(line) for _, line in tree.nodes[0].conditions] == [words]


def test_other_nodes_in_words():
    texts = set()
    for tree, _ in SPACES.values():
        texts |= {atom.text for atom in atoms_of(parse_tree(tree, definitions=_definitions()))}
    assert texts >= {
        "$rank $n by $by($w) of $of", "weigh $rule($w) 0% to $cap%", "$q $n of 3", "date $month-1 to 8-31",
        "blend by RSI(branch:then,$w) from $from to 55", "RSI(branch:then,$w)", "hold AAA",
        "$metric(AAA/$against,4) > 1",
    }  # fmt: skip


def _definitions():
    from forge_ray.tree.formulas import read_formula
    from forge_ray.tree.reader import Definitions

    return Definitions({"gap": read_formula("close / sma - 1")})


def test_all_places_of_random_trees_hold_the_value_of_their_atom():
    import random

    seen = 0
    for seed in range(40):
        whole = random_whole(random.Random(seed), ("AAA", "BBB", "CCC"), 4)
        (tree,) = parse_job({"data": "sample:us20", "tree": whole.tree, **whole.job()}).trees
        held = {f"{node.id}.{name}": value for node in tree.nodes for name, value in node_fields(node)}
        atoms = atoms_of(tree)
        assert len({(atom.kind, atom.text) for atom in atoms}) == len(atoms)
        for atom in atoms:
            for field, places in atom.places.items():
                assert {held[place] for place in places} == {atom.values[field]}, (atom, field)
                assert set(places_of(atoms, atom.text, field)) >= set(places)
                seen += 1
    assert seen > 1_000


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        (" Relative Strength Index( TQQQ , 10 )  >  79 ", "RSI(TQQQ,10) > 79"),
        ("RSI(*,10)", "RSI(*,10)"),
        ("Moving Average(SPY, 3)", "Moving Average(SPY,3)"),
    ],
)
def test_people_may_write_long_names_and_blanks(written: str, normal: str):
    assert normal_phrase(written) == normal


def job(**axes: object) -> dict:
    return {"data": "sample:us20", "tree": PASTED, "axes": axes}


def swept(**axes: object) -> dict[str, set[str]]:
    """Places by axis."""
    sweep = parse_job(job(**axes))
    found: dict[str, set[str]] = {}
    for node in sweep.trees[0].nodes:
        for name, value in node_fields(node):
            if isinstance(value, Placeholder):
                found.setdefault(value.axis, set()).add(f"{node.id}.{name}")
    return found


@pytest.mark.parametrize(
    ("pattern", "text", "reads"),
    [
        ("RSI(*,10)", "RSI(TQQQ,10)", True), ("RSI(*,10)", "RSI(TQQQ,10) > 79", False), ("*", "anything", True),
        ("a*a", "a", False), ("a*a", "aa", True), ("a*b*c", "aXbYc", True), ("a*bc*c", "abc", False), ("", "", True),
        ("*79", "RSI(TQQQ,10) > 79", True), ("R.I*", "RSI(A,1)", False), ("*" * 5_000 + "z", "a" * 5_000, False),
        ("a*" * 16 + "z", "a" * 50_000, False), ("**a", "ba", True),
        ("RSI(*,10)*", "RSI(A,20) > SMA(B,10)", False), ("RSI(*) > *", "RSI(A,20) > SMA(B,10)", True),
        ("*SMA(*,10)", "RSI(A,20) > SMA(B,10)", True), ("*(*,10)", "RSI(A,20) > SMA(B,10)", True),
        ("*(*,20)", "RSI(A,20) > SMA(B,10)", False), ("RSI(*,10)", "RSI(A,20) > SMA(B,10)", False),
        ("RSI(*10)", "RSI(any of A (B) C,10)", True), ("RSI*", "RSI(A,20) > SMA(B,10)", True),
        ("RSI(*", "RSI(A,20)", False), ("*)", "RSI(A,20)", False),
        ("*(A,5) > *(A,9)", "x(A,5) > y(A,5) > z(A,9)", True),
    ],
)  # fmt: skip
def test_a_star_stands_for_anything_with_its_parentheses_in_pairs(pattern: str, text: str, reads: bool):
    atom = Atom("series", text, 1, {"window": ("n.window",)}, {"window": 1})
    began = time.process_time()
    try:
        assert places_of([atom], pattern, "window") == ("n.window",) and reads
    except ValueError:
        assert not reads
    assert time.process_time() - began < 1.0


def test_a_series_with_any_ticker_reaches_no_window_but_its_own():
    """Of every tree that comes with the package: the windows that ``NAME(*,w)`` reaches are w."""
    reached = 0
    for file in sorted((Path(__file__).parent.parent / "jobs" / "trees").glob("*.json")):
        tree = parse_tree(json.loads(file.read_text()))
        atoms = atoms_of(tree)
        held = {f"{node.id}.{name}": value for node in tree.nodes for name, value in node_fields(node)}
        for atom in atoms:
            if atom.kind == "series" and "window" in atom.places:
                pattern = re.sub(r"\(.*,", "(*,", atom.text)
                found = {held.get(path) for path in places_of(atoms, pattern, "window")}
                assert found == {atom.values["window"]}, (file.name, pattern)
                reached += 1
    assert reached > 400


def test_an_axis_moves_every_paste_of_an_atom():
    assert swept(high={"at": "RSI(TQQQ,10) > 79", "threshold": "±4"}) == {
        "high": {"top.a.threshold", "mid.b.threshold"}
    }
    assert swept(w={"at": "RSI(*,10)", "window": "7..14"}) == {"w": {"top.a.window", "mid.b.window", "mid.c.window"}}
    assert swept(vol={"at": "hold UVXY", "ticker": ["UVXY", "VIXY"]}) == {"vol": {"h1.positions[0]", "h2.positions[0]"}}
    assert swept(d={"at": "*for 2 days", "forDays": [1, 2]}) == {"d": {"low.d.forDays"}}


def test_the_branch_of_an_atom_axis_has_the_value_in_all_its_places():
    sweep = parse_job(job(high={"at": "RSI(TQQQ,10) > 79", "threshold": "±4"}))
    assert sweep.space.size == 9
    texts = {atom.text for atom in atoms_of(fill(sweep.trees[0], sweep.space[8][1]))}
    assert "RSI(TQQQ,10) > 83" in texts and "RSI(TQQQ,10) > 79" not in texts


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        ({"at": "RSI(TQQQ,11) > 79", "threshold": "±4"}, "nothing in the tree reads"),
        ({"at": "hold UVXY", "threshold": "±4"}, "has no field 'threshold'"),
        ({"at": "hold UVXY"}, '"at" and one field'),
        ({"at": "hold UVXY", "ticker": ["A"], "window": [1]}, '"at" and one field'),
        ({"at": 7, "ticker": ["A"]}, "expected words"),
        ({"at": "RSI(*) > *", "threshold": "±4"}, "is around one number"),
        ({"at": "RSI(TQQQ,10)", "window": [0]}, "expected an integer from 1"),
    ],
)
def test_what_an_axis_cannot_address(axis: dict, message: str):
    with pytest.raises(InputError, match=message.replace("(", r"\(")) as error:
        parse_job(job(a=axis))
    assert all(str(problem).startswith("axes.a") for problem in error.value.problems)


def test_two_axes_do_not_share_a_place():
    axes = {"a": {"at": "RSI(TQQQ,10)", "window": [7, 8]}, "b": {"at": "RSI(*,10)", "window": [7, 8]}}
    with pytest.raises(InputError, match="already swept by axis 'a'"):
        parse_job(job(**axes))
