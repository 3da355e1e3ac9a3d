"""Jobs submitted to a Ray head with token authentication: rows, exit codes, stopping and going on."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import polars as pl
import psutil
import pytest

from forge_ray.cluster.local import LocalExecutor
from forge_ray.run import Prepared, execute, prepare
from forge_ray.sweep import read_job
from heads import Ports, end, environment, head_command
from runs import committed, rows, wait_for

pytest.importorskip("aiohttp_cors", reason="needs ray[default]")

ROOT = Path(__file__).parent.parent
QUICKSTART = "jobs/quickstart.json"
SMALL, HALF = "axes.n=[2, 3]", "axes.n=2..11"
NEVER = 'require={"is.sharpe": ">= 99"}'


@dataclass
class Head:
    """A running head node: its folder, the address of its job API and the environment of its clients."""

    folder: Path
    url: str
    environment: dict[str, str]

    def submit(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "jobs/submit.py", *arguments]
        return subprocess.Popen(
            command, cwd=ROOT, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def submitted(self, *arguments: str) -> tuple[int, list[str]]:
        """Exit code and log of a job."""
        process = self.submit(*arguments)
        log, errors = process.communicate(timeout=60)
        return process.returncode, (log + errors).splitlines() if process.returncode else log.splitlines()

    def status(self, path: str = "/api/jobs/", **headers: str) -> int:
        """What the dashboard's server answers, by default its job API."""
        try:
            with urlopen(Request(f"{self.url}{path}", headers=headers), timeout=5) as answer:
                return answer.status
        except HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return 0


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    folder = Path(tempfile.mkdtemp(prefix="fr"))
    token = folder / "auth_token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    ports = Ports.free()
    given = environment(
        PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN_PATH=str(token),
        RAY_API_SERVER_ADDRESS=f"http://127.0.0.1:{ports.dashboard}",
        RAY_JOB_STOP_WAIT_TIME_S="30",
    )
    command = head_command(folder / "ray", "127.0.0.1", ports, "--num-cpus=2")
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=given, stdout=log, stderr=subprocess.STDOUT)
    found = Head(folder, given["RAY_API_SERVER_ADDRESS"], given)
    try:
        wait_for(lambda: found.status(Authorization=f"Bearer {token.read_text()}") == 200, "the head did not start")
        yield found
    finally:
        end(process)
        shutil.rmtree(folder)


def prepared(*settings: str) -> Prepared:
    return prepare(read_job(ROOT / QUICKSTART, list(settings)))


def local_rows(sweep: Prepared, folder: Path) -> pl.DataFrame:
    return rows(execute(sweep, LocalExecutor(2, 2**28), folder).path)


def test_the_job_api_wants_the_token(head: Head):
    assert head.status() == 401
    assert head.status(Authorization="Bearer wrong") == 403


@pytest.mark.parametrize("path", ["/api/version", "/nodes", "/logical/actors", "/api/v0/logs"])
def test_the_dashboard_wants_the_token(path: str, head: Head):
    assert head.status(path) == 401


def test_the_dashboard_listens_on_loopback_only(head: Head):
    """Without an option to that end."""
    port = int(head.url.rpartition(":")[2])
    listening = {c.laddr.ip for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == port}
    assert listening == {"127.0.0.1"}


def test_a_submitted_job_gives_the_rows_of_a_local_run(head: Head, tmp_path: Path):
    code, log = head.submitted(QUICKSTART, "--set", SMALL, "--out", str(tmp_path / "ray"))
    assert code == 0, log
    result = json.loads(log[-1])
    sweep = prepared(SMALL)
    assert result["run_id"] == sweep.run_id
    assert result["computed"] == sweep.bound.plan.space.admitted
    assert rows(result["path"]).equals(local_rows(sweep, tmp_path / "local"))
    packages = [p for p in (head.folder / "ray" / "session_latest").rglob("_ray_pkg_*") if p.is_dir()]
    sent = {path.name for package in packages for path in package.iterdir()}
    assert "jobs" in sent
    assert not sent & {"forge_ray", "tests", "runs", ".git", ".venv", ".ci"}, "the installed package must be used"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([QUICKSTART, "--set", "axes.n=[1.5]", "--out", "{out}"], 2, "axes.n"),
        ([QUICKSTART, "--set", SMALL, "--set", NEVER, "--strict", "--out", "{out}"], 3, '"passed": 0'),
    ],
    ids=["bad input", "nothing passed"],
)
def test_the_exit_code_is_that_of_the_sweep(arguments: list[str], code: int, message: str, head: Head, tmp_path: Path):
    ended, log = head.submitted(*(argument.replace("{out}", str(tmp_path)) for argument in arguments))
    assert ended == code, log
    assert [line for line in log if message in line], log


def test_a_stopped_job_keeps_what_is_finished_and_the_next_one_goes_on(head: Head, tmp_path: Path):
    sweep = prepared(HALF)
    path, total = tmp_path / sweep.run_id, sweep.bound.plan.space.admitted
    job = head.submit(QUICKSTART, "--set", HALF, "--out", str(tmp_path))
    try:
        wait_for(lambda: committed(path) > 0, "the job committed nothing")
    finally:
        job.send_signal(signal.SIGTERM)
        log, errors = job.communicate(timeout=60)
    assert job.returncode == 143, (log, errors)
    done = committed(path)
    assert 0 < done < total
    code, log = head.submitted(QUICKSTART, "--set", HALF, "--out", str(tmp_path))
    assert code == 0, log
    assert json.loads(log[-1])["computed"] == total - done
    assert rows(path).equals(local_rows(sweep, tmp_path / "local"))


def test_a_wrong_token_is_refused_with_a_reason(head: Head, tmp_path: Path):
    wrong = tmp_path / "auth_token"
    wrong.write_text(secrets.token_hex(32))
    stranger = Head(head.folder, head.url, head.environment | {"RAY_AUTH_TOKEN_PATH": str(wrong)})
    code, log = stranger.submitted(QUICKSTART, "--out", str(tmp_path))
    assert code == 1
    assert "Invalid authentication token" in "\n".join(log)


@pytest.mark.parametrize(
    ("environment", "out", "message"),
    [
        ({}, "/nowhere", "RAY_ADDRESS is not set"),
        ({"RAY_ADDRESS": "127.0.0.1:1"}, "runs", "--out runs: must be absolute"),
    ],
    ids=["outside a job", "results inside the job's folder"],
)
def test_a_sweep_that_cannot_leave_results_is_refused(environment: dict[str, str], out: str, message: str):
    without = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [sys.executable, "jobs/sweep.py", QUICKSTART, "--out", out]
    ended = subprocess.run(command, cwd=ROOT, env=without | environment, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 2
    assert message in ended.stderr
