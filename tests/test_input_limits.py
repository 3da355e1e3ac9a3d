"""Bad input as a whole: all mistakes at once, no false alarms, limits of size and depth, and nothing left behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bad_data import FRAME
from forge_ray import jsontext
from forge_ray.cluster.local import LocalExecutor
from forge_ray.data import load
from forge_ray.errors import CapacityError, DataError, ForgeRayError, InputError
from forge_ray.plan import Execution
from forge_ray.run import Progress, Run, execute, explain, prepare
from forge_ray.run.execution import BYTES_PER_ROW
from forge_ray.sweep import parse_job
from forge_ray.tree import parse_tree
from runs import JOB as SEARCH
from test_bad_input import (
    ABSENT,
    CLOSES,
    DAYS,
    ELSE,
    GATE_DIP,
    JOB,
    SWEPT_CROSS,
    THEN,
    TREE,
    UP,
    Bars,
    N,
    bars,
    changed,
    with_value,
    write_bars,
)


class Usage(NamedTuple):
    """Of a disk, as far as it is asked for."""

    free: int


def message_of(call: Callable[[], object]) -> str:
    """The message of the `InputError` that a call raises."""
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.exit_code == 2
    assert caught.value.problems
    return str(caught.value)


def assert_says(message: str, fragments: tuple[str, ...]) -> None:
    missing = [fragment for fragment in fragments if fragment not in message]
    assert not missing, f"{missing} not in: {message}"


def test_all_mistakes_of_a_job_are_reported_at_once() -> None:
    job: Any = JOB
    for place, value in (
        ((*GATE_DIP, "metric"), "RSY"),
        (("tree", *UP, "id"), "u p"),
        (("tree", *THEN, 0, "id"), "gate"),
        (("tree", *ELSE, 0, "children", "next", 1, "weight"), ABSENT),
        (("data", "start"), "today"),
        (("axes", "BAD"), "1..3"),
        (("where",), ["nn < 3", "n <"]),
        (("execution", "lag"), -1),
        (("split",), "thirds"),
        (("require", "is.max_drawdown"), 35),
        (("keep",), "some"),
        (("benchmark",), 5),
        (("colour",), "red"),
    ):
        job = with_value(job, place, value)
    message = message_of(lambda: parse_job(job))
    for fragment in (
        "'RSY'",
        "'u p'",
        "'gate' is used 2 times",
        "next[1].weight: missing",
        "'today'",
        "axes.BAD",
        "'nn'",
        "where[1]",
        "execution.lag",
        "'thirds'",
        "35 on a fraction",
        "'some'",
        "benchmark",
        "'colour'",
    ):
        assert fragment in message


def test_mistakes_of_axes_do_not_hide_each_other() -> None:
    job = with_value(JOB, (*N, "values"), "20..42 by 5") | {"where": ["low == 'x'"]}
    job["axes"]["low"]["values"] = [5, 5]
    message = message_of(lambda: parse_job(job))
    assert_says(message, ("axes.n: 42 is not on the grid", "axes.low: repeated values [5.0]"))


def test_a_broken_tree_does_not_raise_false_alarms_about_axes() -> None:
    message = message_of(lambda: parse_job(with_value(JOB, (*GATE_DIP, "comparator"), "<")))
    assert "axes" not in message


def test_contradictions_that_constraints_exclude_are_none() -> None:
    job = with_value(JOB, GATE_DIP, SWEPT_CROSS) | {"axes": {"c": ["lt", "crossAbove"], "d": "1..3"}}
    assert parse_job(job | {"where": ["c == 'lt' or d == 1"]}).space.admitted == 4


def test_limits_of_size_and_depth_are_options(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 20 + "]" * 20)
    assert jsontext.read_file(tmp_path / "deep.json", max_bytes=40, max_depth=20)
    with pytest.raises(InputError, match="deeper than 19 levels"):
        jsontext.read_file(tmp_path / "deep.json", max_depth=19)
    with pytest.raises(InputError, match="39 bytes"):
        jsontext.read_file(tmp_path / "deep.json", max_bytes=39)


def deep_tree(n: int) -> dict[str, Any]:
    """A chain of n nodes."""
    tree: dict[str, Any] = {"id": f"n{n}", "kind": "position", "positions": ["AAPL"]}
    for k in range(n - 1, 0, -1):
        tree = {"id": f"n{k}", "kind": "basic", "children": {"next": [tree]}}
    return tree


def test_a_tree_is_at_most_a_thousand_nodes_deep() -> None:
    assert len(parse_tree(deep_tree(1000)).nodes) == 1000
    assert_says(message_of(lambda: parse_tree(deep_tree(1001))), ("tree: nested deeper than 1,000 nodes, at 'n1001'",))
    assert_says(message_of(lambda: parse_tree(deep_tree(11), max_depth=10)), ("nested deeper than 10 nodes",))


PLACES: list[tuple[str | int, ...]] = [
    *((key,) for key in JOB),
    *(("data", key) for key in ("source", "start", "end", "clean")),
    *(("execution", key) for key in Execution.__struct_fields__ if key not in ("ticker_costs", "threshold")),
    *(("execution", key, "x") for key in ("cost_bps", "rebalance")),
    *(("split", key) for key in ("holdout", "chronological")),
    *(("require", key) for key in ("is.max_drawdown", "full.sharpe")),
    *((*N, key) for key in ("paths", "values")),
    *((*GATE_DIP, key) for key in ("id", "type", "metric", "window", "ticker", "comparator", "threshold", "expanded")),
    *(("tree", key) for key in ("id", "kind", "weight", "children", "conditions", "weightingThen")),
    ("where", 0),
]


@pytest.mark.parametrize("place", PLACES, ids=[".".join(map(str, place)) for place in PLACES])
def test_a_value_of_any_depth_anywhere_is_a_mistake_like_others(place: tuple[str | int, ...]) -> None:
    deep: Any = {"x": 1}
    for _ in range(3_000):
        deep = [deep]
    *steps, last = place
    job = JOB if place[-1] not in ("chronological", "x") else with_value(JOB, tuple(steps), {})
    assert len(message_of(lambda: parse_job(with_value(job, (*steps, last), deep)))) < 2_000


def test_many_mistakes_deep_below_the_root_stay_readable() -> None:
    tree = deep_tree(1000)
    lowest = tree
    while "children" in lowest:
        above, lowest = lowest, lowest["children"]["next"][0]
    above["children"]["next"] = [{}] * 50_000
    message = message_of(lambda: parse_tree(tree))
    assert message.count("\n") <= 100
    assert "next[99].kind: missing" in message


@pytest.mark.parametrize(
    ("policy", "columns", "count", "left"),
    [
        ("sort", bars(Date=[*DAYS[:4], DAYS[5], DAYS[4]]), 1, 6),
        ("drop_duplicates", bars(Date=changed(DAYS, 3, DAYS[2])), 1, 5),
        ("drop_invalid", bars(Close=[10.0, float("nan"), 0.0, -1.0, float("inf"), 9.0]), 4, 2),
    ],
)
def test_cleaning_is_asked_for_and_counted(tmp_path: Path, policy: str, columns: Bars, count: int, left: int) -> None:
    write_bars(tmp_path, "BAD", columns)
    panel = load(str(tmp_path), ["BAD"], clean=[policy])
    assert panel.cleaned == {"BAD": {policy: count}}
    assert len(panel.dates) == left


def test_truncated_and_damaged_parquet(tmp_path: Path) -> None:
    whole = write_bars(tmp_path, "BAD", bars()).read_bytes()
    for cut in range(0, len(whole), 37):
        (tmp_path / "BAD.parquet").write_bytes(whole[:cut])
        assert_says(message_of(lambda: load(str(tmp_path), ["BAD"])), ("BAD.parquet", "not a readable Parquet file"))


def test_all_tickers_are_checked_before_failing(tmp_path: Path) -> None:
    write_bars(tmp_path, "ONE", bars(Close=changed(CLOSES, 1, 0.0)))
    write_bars(tmp_path, "TWO", bars(Date=changed(DAYS, 3, DAYS[2])))
    (tmp_path / "THREE.parquet").write_bytes(b"")
    message = message_of(lambda: load(str(tmp_path), ["ONE", "TWO", "THREE", "FOUR"], carried={"FIVE": "benchmark"}))
    assert_says(message, ("ticker ONE", "ticker TWO", "THREE.parquet", "ticker FOUR", "benchmark: FIVE"))


def test_a_link_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "OUT.parquet").symlink_to(write_bars(tmp_path, "SECRET", bars()))
    with pytest.raises(DataError, match="OUT is not in"):
        load(str(tmp_path / "in"), ["OUT"])


@pytest.mark.parametrize("name", ["nothing", "empty", "file", "a\0b"])
def test_folders_that_hold_no_run(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ForgeRayError, match=name.replace("\0", ".*")) as caught:
        Run(tmp_path / name)
    assert caught.value.exit_code == 2
    assert sorted(tmp_path.rglob("*")) == before


def test_a_space_of_10_to_the_12_is_refused_with_its_count_and_leaves_nothing(tmp_path: Path) -> None:
    prepared = prepare(parse_job(huge_job()))
    message = message_of(lambda: execute(prepared, LocalExecutor(1, 2**26), tmp_path / "runs"))
    assert_says(message, ("space: 1,000,000,000,000 branches", "narrow the axes"))
    assert not list(tmp_path.iterdir())


def test_rows_that_are_there_need_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk: what is done is found again, what is begun goes on if the rest fits, starting over does not."""
    prepared, executor, blocks = prepare(parse_job(SEARCH)), LocalExecutor(1, 2**26), []
    size = prepared.bound.plan.space.size

    def third(progress: Progress) -> None:
        blocks.append(progress)
        if len(blocks) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(prepared, executor, tmp_path, block_size=100, on_progress=third)
    left = size - 300
    for free, is_enough in ((left * BYTES_PER_ROW - 1, False), (left * BYTES_PER_ROW, True)):
        monkeypatch.setattr("shutil.disk_usage", lambda place, free=free: Usage(free))
        with nullcontext() if is_enough else pytest.raises(CapacityError, match=rf"^space: {left:,} branches need"):
            execute(prepared, executor, tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda place: Usage(0))
    assert execute(prepared, executor, tmp_path).computed == 0
    with pytest.raises(CapacityError, match=rf"^space: {size:,} branches need"):
        execute(prepared, executor, tmp_path, fresh=True)


def test_a_space_of_10_to_the_12_is_planned_without_counting_it_out() -> None:
    began = time.process_time()
    explanation = explain(prepare(parse_job(huge_job())), workers=2, cache_bytes=2**26)
    assert time.process_time() - began < 5.0, "this must not be counted one by one"
    assert explanation["branches"] == 10**12


def huge_job() -> dict[str, Any]:
    """Six axes of 100 values each."""
    conditions = [
        {
            "id": f"c{k}",
            "metric": "RSI",
            "window": f"$n{k}",
            "ticker": "AAPL",
            "comparator": "lt",
            "threshold": f"$low{k}",
        }
        for k in range(3)
    ]
    axes = {f"n{k}": "1..100" for k in range(3)} | {f"low{k}": "1..100" for k in range(3)}
    return with_value(JOB, ("tree", "conditions"), conditions) | {"axes": axes, "where": []}


def test_constraints_over_too_many_combinations_are_refused() -> None:
    job = huge_job() | {"where": ["n0 + n1 + n2 + low0 < 300"]}
    with pytest.raises(CapacityError, match="100,000,000 combinations of n0, n1, n2, low0"):
        parse_job(job)


def test_every_bad_column_of_a_csv_file_is_told_at_once(tmp_path: Path) -> None:
    rows = ["AAA,2020-01-01,1,1", "AAA,2.1.2020,1,1", "AAA,2020-01-03,x,1", "AAA,2020-01-04,1,y"]
    (tmp_path / "x.csv").write_text("\n".join(["Ticker,Date,Open,Close", *rows]))
    message = message_of(lambda: load(str(tmp_path / "x.csv"), ["AAA"], fields=("open", "close")))
    assert_says(message, ("line 3: 'Date' is '2.1.2020'", "line 4: 'Open' is 'x'", "line 5: 'Close' is 'y'"))


def test_mistakes_of_data_are_those_of_the_job() -> None:
    job = {"tree": TREE, "data": {"source": FRAME, "columns": {"close": "v"}, "clean": "sorted", "from": "2020-01-01"}}
    message = message_of(lambda: parse_job(job))
    assert_says(
        message, ("data.columns.close: unknown column", "data.clean: unknown policy", "data.from: unknown field")
    )
    for source in ({"AAA": 5}, 5, None, [FRAME]):
        assert_says(message_of(lambda s=source: parse_job({"tree": TREE, "data": {"source": s}})), ("data: expected",))
    assert_says(message_of(lambda: parse_job({"tree": TREE, "data": {"AAA": FRAME, "B": 5}})), ("data[B]: expected",))
