"""The README says what is true: its tables come from the catalogue, its commands are those of CI, its job is valid."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import forge_ray as fr
from forge_ray.catalog import INDICATORS, indicator_facts, indicator_table, metric_table
from forge_ray.sweep import parse_job
from forge_ray.tree import builders

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("table", [indicator_table(), metric_table()], ids=["indicators", "metrics"])
def test_tables_are_those_of_the_catalogue(table: str):
    assert table in README


def test_the_measured_table_has_the_facts_of_the_catalogue():
    lines = README[README.index("| definition | TA-Lib") :].split("\n\n")[0].splitlines()
    facts = [tuple(cell.strip() for cell in line.strip().split("|")[1:5]) for line in lines[2:]]
    assert facts == [indicator_facts(indicator) for indicator in INDICATORS]


def test_the_list_of_builders_is_complete():
    swept_names = {"count", "ranked", "weighting", "indicator"}  # those that take a name which others spell out
    section = README[README.index("| builder | writes |") : README.index("## A job")]
    written = set(re.findall(r"`\.?([A-Za-z_]+)", section)) | set(re.findall(r"([a-z_]+)\(", section))
    assert set(fr.__all__) & set(builders.__all__) - swept_names <= written


def test_ci_calls_the_commands_of_the_readme():
    ci = (ROOT / ".ci" / "run").read_text()
    commands = [block for block in re.findall(r"```bash\n(.+?)\n```", README, re.DOTALL) if "venv .venv" in block]
    assert len(commands) == 2
    assert all(command in ci for command in commands)


def test_the_job_of_the_readme_is_valid():
    job = re.search(r"## A job\n\n```json\n(.+?)\n```", README, re.DOTALL)
    assert job
    sweep = parse_job(json.loads(job[1]))
    assert (sweep.space.size, sweep.space.admitted) == (684, 612)


def test_nothing_is_left_to_fill_in():
    assert "@@" not in README
