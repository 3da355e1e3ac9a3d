"""`forge-ray import` and `export`: what goes to stdout, to stderr and to files, and the exit codes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from forge_ray.cli.main import command
from forge_ray.tree import parse_tree, tree_hash

SYMPHONY = """(defsymphony "Dip" {:rebalance-threshold 0.05}
 (if (< (rsi "SPY" {:window 10}) 30) [(asset "BRK/B" "x")] [(asset "TLT" "y")]))"""


class Finished(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def forge_ray(monkeypatch, capsys):
    def run(*arguments: str | Path) -> Finished:
        monkeypatch.setattr(sys, "argv", ["forge-ray", *map(str, arguments)])
        return Finished(command(), *capsys.readouterr())

    return run


@pytest.fixture
def symphony(tmp_path) -> Path:
    file = tmp_path / "dip.clj"
    file.write_text(SYMPHONY)
    return file


def test_the_job_goes_to_stdout_and_the_report_to_stderr(forge_ray, symphony):
    code, out, err = forge_ray("import", symphony)
    assert code == 0 and json.loads(out)["tree"]["kind"] == "indicator"
    assert "repair: ticker BRK/B read as BRK.B" in err and "open point: RSI is Wilder's" in err


def test_json_holds_job_and_report(forge_ray, symphony, tmp_path):
    found: dict[str, Any] = json.loads(forge_ray("import", symphony, "-o", tmp_path / "job.json", "--json").out)
    assert list(found) == ["format", "job", "repairs", "open_points"]
    assert json.loads((tmp_path / "job.json").read_text()) == found["job"]


def test_options_reach_the_importer(forge_ray, symphony):
    code, out, _ = forge_ray("import", symphony, "--option", "composer.rsi=simple")
    assert code == 0 and json.loads(out)["tree"]["conditions"][0]["metric"] == "RSI (SMA)"
    code, out, err = forge_ray("import", symphony, "--option", "composer.rsi")
    assert (code, out) == (2, "") and "expected KEY=VALUE" in err


def test_mistakes_end_with_2_and_write_nothing(forge_ray, tmp_path):
    bad = tmp_path / "bad.json"
    bad.write_text('{"step": "root", "rebalance": "daily", "children": [{"step": "asst"}, {"step": "gruop"}]}')
    code, out, err = forge_ray("import", bad, "-o", tmp_path / "job.json")
    assert (code, out) == (2, "") and not (tmp_path / "job.json").exists()
    assert "children[0].step" in err and "children[1].step" in err
    code, _, err = forge_ray("import", tmp_path / "missing.json")
    assert code == 2 and "missing.json: No such file" in err


def test_export_is_the_inverse(forge_ray, symphony, tmp_path):
    job, again = tmp_path / "job.json", tmp_path / "again.clj"
    forge_ray("import", symphony, "-o", job)
    for target in ("composer", "composer-json"):
        assert forge_ray("export", job, "--to", target, "-o", again).code == 0
        assert json.loads(forge_ray("import", again).out) == json.loads(job.read_text())


def test_what_cannot_be_exported_ends_with_2(forge_ray, tmp_path):
    tree = tmp_path / "tree.json"
    tree.write_text('{"id": "p", "kind": "position", "positions": ["Empty"]}')
    code, out, err = forge_ray("export", tree, "--to", "composer")
    assert (code, out) == (2, "") and "tree.positions[0]: Composer has no empty place" in err
    assert "allowed: composer, composer-json, atlas" in forge_ray("export", tree, "--to", "excel").err
    found = json.loads(forge_ray("export", tree, "--to", "atlas", "--json").out)
    assert json.loads(found["text"])["positions"] == ["Empty"]


def test_names_of_groups_stay_for_explain_and_change_no_hash(forge_ray, tmp_path):
    file, job = tmp_path / "named.clj", tmp_path / "job.json"
    hashes = []
    for name in ("Bull market", "Something else"):
        group = f'(group "{name}" [(weight-equal [(asset "AAPL") (asset "MSFT")])])'
        file.write_text(f'(defsymphony "S" {{:rebalance-frequency :daily}} {group})')
        assert forge_ray("import", file, "-o", job).code == 0
        hashes.append(tree_hash(parse_tree(json.loads(job.read_text())["tree"])))
        code, out, _ = forge_ray("explain", job, "2020-03-02", "--data", "sample:us20")
        assert code == 0 and f"(position) “{name}”" in out
    assert hashes[0] == hashes[1]
