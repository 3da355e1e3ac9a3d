"""Logs: which run and block a record is about, as JSON and for people, also when it was written by a worker."""

from __future__ import annotations

import json
import logging
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

from forge_ray.cluster.logs import (
    AsJson,
    ForPeople,
    Kept,
    Stamp,
    about,
    keep_records,
    log_again,
    log_to_stderr,
    run_at_work,
)
from forge_ray.cluster.work import _parts
from forge_ray.errors import InputError
from test_cli import BRANCHES, JOB, forge_ray

NASTY = "XLK\x1b[31m\nerror: forged\x9b"


def record(message: str, *args: object, level: int = logging.WARNING) -> logging.LogRecord:
    found = logging.LogRecord("forge_ray.data", level, __file__, 1, message, args, None)
    assert Stamp().filter(found)
    return found


def test_every_record_of_a_run_in_json_tells_run_and_block(tmp_path: Path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "job.json").write_text(json.dumps(JOB))
    command = ["run", "job.json", "--local", "--workers", "2", "--json", "--log-format", "json"]
    done = forge_ray(*command, folder=tmp_path / "work")
    assert done.code == 0, done.err
    records = [json.loads(line) for line in done.err.splitlines()]
    assert {record["run"] for record in records} == {done.json()["run_id"]}
    blocks = {tuple(record["block"]): record for record in records if record["block"]}
    assert [lo for lo, _ in sorted(blocks)] == [0, *(hi for _, hi in sorted(blocks))][:-1]
    assert max(hi for _, hi in blocks) == BRANCHES + 3 * 6 * 4
    assert all(record["level"] == "debug" and record["seconds"] > 0 for record in blocks.values())
    assert any("dip buyer" in record["message"] for record in records if not record["block"])


def test_errors_are_records_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("FORGE_RAY_LOG", "json")
    done = forge_ray("top", "nowhere", folder=tmp_path / "work")
    (line,) = done.err.splitlines()
    assert (done.code, json.loads(line)["level"]) == (2, "error")
    assert json.loads(line)["message"].startswith("nowhere: no run here")


@pytest.mark.parametrize("threads", [1, 3])
def test_the_parts_of_a_block_log_about_it_from_any_thread(threads: int, caplog: pytest.LogCaptureFixture):
    def part(k: int) -> Any:
        logging.getLogger("forge_ray.engine").warning("part %d of %s", k, run_at_work())

    with about("a1b2", (0, 30)):
        _parts(threads, part, range(3))
    assert sorted(record.getMessage() for record in caplog.records) == [f"part {k} of a1b2" for k in range(3)]


def test_an_unknown_form_is_refused():
    with pytest.raises(InputError, match=r"FORGE_RAY_LOG: unknown form of the log 'xml'; allowed: text, json"):
        log_to_stderr("xml", "FORGE_RAY_LOG")


def test_for_people_a_record_is_one_line_that_cannot_steer_a_terminal(capsys: pytest.CaptureFixture[str]):
    log_to_stderr("text", "")
    log_to_stderr("text", "")
    logging.getLogger("forge_ray.data").warning("ticker %s is odd", NASTY)
    logging.getLogger("forge_ray.data").info("as usual")
    logging.getLogger("forge_ray.data").debug("not told")
    assert capsys.readouterr().err == "warning: ticker XLK\\x1b[31m\\nerror: forged\\x9b is odd\nas usual\n"
    assert ForPeople().format(record("é → 5 %")) == "warning: é → 5 %"


def test_in_json_whatever_a_text_holds_comes_back():
    line = AsJson().format(record("ticker %s is odd", NASTY))
    assert line.isascii() and line.isprintable()
    assert json.loads(line)["message"] == f"ticker {NASTY} is odd"
    try:
        raise ValueError(NASTY)
    except ValueError:
        failed = logging.LogRecord("x", logging.ERROR, __file__, 1, "no", (), sys.exc_info())
    assert f"ValueError: {NASTY}" in json.loads(AsJson().format(failed))["exception"]


def test_what_a_worker_kept_is_logged_as_it_was(capsys: pytest.CaptureFixture[str]):
    kept = keep_records()
    with about("run-of-worker", (3, 6)):
        logging.getLogger("forge_ray.engine").warning("odd %s", NASTY)
        logging.getLogger("forge_ray.engine").debug("detail %d", 7)
    travelled = pickle.loads(pickle.dumps(kept.taken()))
    assert kept.taken() == ()
    for travelled_one in travelled:
        travelled_one.host, travelled_one.process = "elsewhere", 12
    logging.getLogger().removeHandler(kept)
    log_to_stderr("json", "")
    with about("run-of-driver"):
        log_again(travelled)
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(t["run"], t["block"], t["host"], t["process"]) for t in told] == 2 * [
        ("run-of-worker", [3, 6], "elsewhere", 12)
    ]
    assert [t["message"] for t in told] == [f"odd {NASTY}", "detail 7"]
    log_to_stderr("text", "")
    log_again(travelled)
    assert capsys.readouterr().err.count("\n") == 1, "details are for JSON"


def test_a_worker_does_not_keep_records_without_end():
    kept = Kept()
    for k in range(1_500):
        kept.handle(record("%d", k))
    messages = [found.getMessage() for found in kept.taken()]
    assert len(messages) == 1_000 and messages[-1] == "1499"


def test_what_is_about_a_block_ends_with_it():
    def told() -> tuple[object, object]:
        return tuple(vars(record("x"))[name] for name in ("run", "block"))  # type: ignore[return-value]

    with about("a", (0, 1)):
        with about("b"):
            assert told() == ("b", None)
        assert told() == ("a", (0, 1))
    assert told() == (None, None)
