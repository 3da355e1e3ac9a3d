"""What is known against the packages that forge_ray needs: no version that may be installed is one of those.

`advisories.json` is kept by hand and stands in where `.ci/audit.py` cannot ask a service of advisories. Each names the
first version without the fault; whatever pyproject.toml allows, and whatever is installed, must be that or later.
"""

from __future__ import annotations

import json
import runpy
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


class Advisory(NamedTuple):
    id: str
    package: str
    fixed: str
    what: str


ADVISORIES = [Advisory(**row) for row in json.loads(Path(__file__).with_name("advisories.json").read_text())]
EXTRAS = PROJECT["optional-dependencies"]
REQUIRED = [
    requirement
    for text in [*PROJECT["dependencies"], *(text for extra in EXTRAS.values() for text in extra)]
    if canonicalize_name((requirement := Requirement(text)).name) != PROJECT["name"]
]


def least(requirement: Requirement) -> Version:
    """The lower bound of a requirement."""
    (bound,) = (each.version for each in requirement.specifier if each.operator == ">=")
    return Version(bound)


@pytest.mark.parametrize("requirement", REQUIRED, ids=str)
def test_the_lower_bound_is_past_what_is_known(requirement: Requirement):
    known = [a for a in ADVISORIES if a.package == canonicalize_name(requirement.name)]
    assert not [advisory for advisory in known if least(requirement) < Version(advisory.fixed)]


@pytest.mark.parametrize("advisory", ADVISORIES, ids=lambda advisory: advisory.id)
def test_what_is_installed_is_past_what_is_known(advisory: Advisory):
    try:
        assert Version(version(advisory.package)) >= Version(advisory.fixed)
    except PackageNotFoundError:
        pytest.skip(f"{advisory.package} is not installed")


def test_the_list_is_one_of_packages_by_their_usual_names_each_advisory_once():
    assert all(advisory.package == canonicalize_name(advisory.package) and advisory.what for advisory in ADVISORIES)
    assert len({advisory.id for advisory in ADVISORIES}) == len(ADVISORIES)
    direct = {canonicalize_name(requirement.name) for requirement in REQUIRED}
    assert {"pyarrow", "ray", "jinja2", "plotly", "numpy"} <= direct & {advisory.package for advisory in ADVISORIES}


ASKED = {"name": "ray", "version": "2.50.0"}
FAULT = {"id": "CVE-2025-62593", "fix_versions": ["2.52.0"]}


@pytest.mark.parametrize(
    ("stdout", "stderr", "code", "said"),
    [
        ({"dependencies": [ASKED | {"vulns": []}]}, "", 0, "audit: 1 packages asked for, 0 advisories"),
        ({"dependencies": [ASKED | {"vulns": [FAULT]}]}, "", 1, "ray 2.50.0: CVE-2025-62593"),
        ({"dependencies": [ASKED | {"name": "pip", "vulns": [FAULT]}, ASKED | {"vulns": []}]}, "", 0, "1 packages"),
        (
            {"dependencies": [{"name": "ray", "skip_reason": "not found"}]},
            "",
            0,
            "not run: the service knows none of 1",
        ),
        (None, "Traceback\nConnectionError: no route", 0, "audit: not run: ConnectionError: no route; tests/adv"),
    ],
)
def test_the_audit_of_ci_fails_for_what_is_known_and_says_where_it_could_not_ask(
    stdout: dict | None, stderr: str, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys
):
    audit = runpy.run_path(str(ROOT / ".ci" / "audit.py"))["main"]
    answer = subprocess.CompletedProcess([], 0, json.dumps(stdout) if stdout else "", stderr)
    monkeypatch.setattr(subprocess, "run", lambda *command, **options: answer)
    monkeypatch.setitem(audit.__globals__, "components", lambda: 1)
    assert audit() == code
    assert said in capsys.readouterr().out
