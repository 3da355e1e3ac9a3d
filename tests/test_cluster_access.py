"""Who may use a cluster: those that start here want a token which only its owner reads; open ones are not joined."""

from __future__ import annotations

import json
import logging
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from test_submit import end, free_ports, wait_for

from forge_ray.cluster import crew, token
from forge_ray.cluster.crew import ClusterError, OwnCrew, start_embedded
from forge_ray.cluster.ray_executor import RayExecutor, ray
from forge_ray.cluster.token import TokenError, is_loopback, make_token, protect_token, require_guarded
from forge_ray.engine import kernel_cache
from forge_ray.run import choose_executor

CACHE = 2**26
CANARY = "c4n4ry" * 6
EMBEDDED = """
import json, os, sys
import ray
from forge_ray.cluster.ray_executor import RayExecutor
from forge_ray.errors import ForgeRayError
from forge_ray.run import execute, prepare
from forge_ray.sweep import parse_job
from forge_ray.cluster.crew import start_embedded
start_embedded(1, _temp_dir=f"{os.environ['HOME']}/ray", object_store_memory=80_000_000)
job = json.loads(sys.argv[1])
result = execute(prepare(parse_job(job)), RayExecutor(1, 2**26), f"{os.environ['HOME']}/runs", sink="sqlite")
try:
    prepare(parse_job(job | {"data": "https://me:" + os.environ["VENDOR_API_KEY"] + "@example.org/bars"}))
except ForgeRayError as error:
    print(error, file=sys.stderr)
print(json.dumps({"address": ray.get_runtime_context().gcs_address, "path": result.path}), flush=True)
sys.stdin.read()
"""
JOB = {
    "data": "sample:us20",
    "tree": {
        "id": "gate",
        "kind": "indicator",
        "conditions": [
            {"id": "dip", "metric": "RSI", "window": "$n", "ticker": "AAPL", "comparator": "lt", "threshold": 40}
        ],
        "children": {"then": [{"id": "in", "kind": "position", "positions": ["AAPL"]}], "else": []},
    },
    "axes": {"n": "2..9"},
}


def own_address() -> str:
    """An address of this machine that others reach too."""
    for addresses in psutil.net_if_addrs().values():
        for address in addresses:
            if address.family == socket.AF_INET and not address.address.startswith("127."):
                return address.address
    pytest.skip("this machine has no address but loopback")


def environment(**more: str) -> dict[str, str]:
    """Without any setting of Ray, with a short folder: sockets lie below it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {
        "RAY_memory_monitor_refresh_ms": "0",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        **more,
    }


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fr") as path:
        yield Path(path)


@pytest.fixture(scope="module", autouse=True)
def processes(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Two clusters, which start at the same time: one that is embedded in a process, and the address of an open one."""
    host, port, agent, agent_grpc, client = own_address(), *free_ports(4)
    start = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"),
        *("--num-cpus=1", "--include-dashboard=false", f"--temp-dir={folder / 'open'}", f"--port={port}"),
        *(f"--node-ip-address={host}", f"--dashboard-agent-listen-port={agent}", "--object-store-memory=80000000"),
        *(f"--dashboard-agent-grpc-port={agent_grpc}", f"--ray-client-server-port={client}"),
    ]
    head = opened(start, folder / "head.log", RAY_AUTH_MODE="disabled")
    command = [sys.executable, "-c", EMBEDDED, json.dumps(JOB)]
    kept = str(kernel_cache().folder.parent.parent)
    settings = {"HOME": str(folder), "FORGE_RAY_CACHE": kept, "VENDOR_API_KEY": CANARY}
    embedded = opened(command, folder / "embedded.log", **settings)
    try:
        yield embedded, f"{host}:{port}"
    finally:
        for process in (head, embedded):
            with process:  # closes its pipes
                end(process)


def opened(command: list[str], log: Path, **more: str) -> subprocess.Popen[str]:
    with log.open("w") as errors:
        return subprocess.Popen(
            command, env=environment(**more), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )


@pytest.fixture(scope="module")
def open_cluster(processes: tuple[subprocess.Popen[str], str]) -> str:
    """The address of a cluster that wants no token, and that other machines reach."""
    _, address = processes
    host, port = address.split(":")
    wait_for(lambda: answers(host, int(port)), "the head did not start")
    return address


def answers(host: str, port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((host, port)) == 0


def test_an_open_cluster_that_others_reach_is_not_joined(open_cluster: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    executor = choose_executor(ray=True, workers=1, address=open_cluster)
    assert isinstance(executor, RayExecutor)
    with pytest.raises(TokenError, match=f"{open_cluster} lets in whoever reaches it") as caught:
        executor.crew.join()
    assert caught.value.exit_code == 2
    assert all(text in str(caught.value) for text in ("RAY_AUTH_MODE=token", "--allow-unauthenticated"))
    assert not ray.is_initialized()


def test_an_open_cluster_is_joined_where_that_is_allowed(open_cluster: str):
    executor = choose_executor(ray=True, workers=1, address=open_cluster, allow_unauthenticated=True)
    assert isinstance(executor, RayExecutor)
    executor.crew.join()
    try:
        assert ray.get_runtime_context().gcs_address == open_cluster
    finally:
        executor.crew.leave()


@pytest.fixture(scope="module")
def told(processes: tuple[subprocess.Popen[str], str], folder: Path) -> dict[str, str]:
    """What the embedded cluster says once it has run a job."""
    embedded, _ = processes
    assert embedded.stdout is not None
    line = embedded.stdout.readline()
    assert line, (folder / "embedded.log").read_text()
    return json.loads(line)


def test_a_cluster_that_starts_here_wants_a_token_that_only_its_owner_reads(told: dict[str, str], folder: Path):
    """Also where Ray was imported first."""
    assert not is_loopback(told["address"]), "the question would not be asked"
    require_guarded(told["address"])
    private = folder / ".ray"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (private, private / "auth_token")] == [0o700, 0o600]
    assert [path.name for path in private.iterdir()] == ["auth_token"]


def test_no_secret_is_in_what_a_run_leaves(told: dict[str, str], folder: Path):
    """Rows, both databases, job, caches, the logs of Ray's session: neither a key of the environment nor the token."""
    token_file = folder / ".ray" / "auth_token"
    secrets = [CANARY.encode(), token_file.read_bytes()]
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink() and path != token_file]
    assert any("raylet" in path.name for path in files) and any(path.suffix == ".parquet" for path in files)
    assert {"catalog.sqlite", "results.sqlite", "job.json", "sweep.json"} <= {path.name for path in files}
    assert "https://…@example.org/bars" in (folder / "embedded.log").read_text()
    assert [path for path in files for secret in secrets if secret in path.read_bytes()] == []


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        *((text, True) for text in ("127.0.0.1:6379", "127.8.0.1:1", "localhost:6379", "[::1]:6379", "ray://127.0.0.1:1")),
        *((text, False) for text in ("10.0.0.1:6379", "head:6379", "[fd00::2]:6379", "0.0.0.0:6379", "auto", "", "::",
                                     "127.0.0.1.example.org:6379", "localhost.example.org:1", "127.0.0.1@10.0.0.1:1")),
    ],
)  # fmt: skip
def test_what_a_loopback_address_is(address: str, expected: bool):
    assert is_loopback(address) is expected


def test_a_cluster_that_cannot_be_asked_is_not_joined():
    with pytest.raises(TokenError, match=r"at head does not say .* \(ValueError.*\); allowed: auto, or HOST:PORT"):
        require_guarded("head")


def test_no_token_is_sent_with_the_question(monkeypatch: pytest.MonkeyPatch):
    """And none is needed: a cluster that lets the question in without one is open."""
    asked: list[Any] = []
    monkeypatch.setattr(token, "_answer", lambda *given: asked.append(given) or "AuthenticationError")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/secret")
    require_guarded("10.0.0.1:6379")
    ((command, given),) = asked
    assert command[-1] == "10.0.0.1:6379"
    assert {name: value for name, value in given.items() if "AUTH" in name} == {"RAY_AUTH_MODE": "disabled"}


@pytest.mark.parametrize("error", [ConnectionError("no answer"), ray.exceptions.AuthenticationError("no token")])
def test_a_cluster_that_does_not_take_us_is_told_with_what_to_look_at(
    error: Exception, monkeypatch: pytest.MonkeyPatch
):
    def refuse(**options: Any) -> None:
        raise error

    monkeypatch.setattr(crew.ray, "init", refuse)
    with pytest.raises(
        ClusterError, match=r"cannot join the Ray cluster at 127.0.0.1:1: .*RAY_AUTH_MODE and the token"
    ):
        OwnCrew(1, CACHE, "127.0.0.1:1").join()


# ---------------------------------------------------------------- starting one


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """What Ray is asked to start; nothing is."""
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "kept" / "token"))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(crew.ray, "init", lambda **options: asked.append(options))
    return asked


def test_nothing_is_started_open_unless_that_is_allowed(started: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(TokenError, match=r"RAY_AUTH_MODE is 'disabled': whoever .*; unset RAY_AUTH_MODE, or run"):
        start_embedded(1)
    assert not started
    OwnCrew(1, CACHE, "local", allow_unauthenticated=True)._connect()
    assert len(started) == 1


def test_the_dashboard_is_off_and_on_loopback_when_asked_for(started: list[dict[str, Any]]):
    start_embedded(1)
    start_embedded(1, include_dashboard=True)
    assert [(o["include_dashboard"], o["dashboard_host"]) for o in started] == [
        (False, "127.0.0.1"),
        (True, "127.0.0.1"),
    ]


def test_the_token_is_there_before_the_cluster_and_kept(started: list[dict[str, Any]], tmp_path: Path):
    kept = tmp_path / "kept" / "token"
    start_embedded(1)
    first = kept.read_text()
    assert len(first) == 64 and stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    start_embedded(1)
    assert kept.read_text() == first and [path.name for path in kept.parent.iterdir()] == ["token"]


def test_a_token_of_the_environment_needs_no_file(started: list[dict[str, Any]], monkeypatch, tmp_path: Path):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    make_token()
    assert not (tmp_path / "kept").exists()


def test_the_folder_of_ray_is_closed_and_no_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(token.Path, "home", lambda: tmp_path)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    own, other = tmp_path / ".ray" / "auth_token", tmp_path / "shared" / "auth_token"
    for path in (own, other):
        path.parent.mkdir(mode=0o755)
        path.touch(mode=0o644)
        protect_token()
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(other))
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (own.parent, own, other.parent, other)]
    assert modes == [0o700, 0o600, 0o755, 0o600]


def test_a_token_that_cannot_be_closed_is_told(started: list, tmp_path: Path, monkeypatch, caplog):
    def refuse(path: Path, mode: int) -> None:
        raise OSError(30, "Read-only file system")

    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "token").touch(mode=0o644)
    monkeypatch.setattr(token.Path, "chmod", refuse)
    with caplog.at_level(logging.WARNING):
        protect_token()
    assert "token: others may use it, and that cannot be changed: Read-only file system" in caplog.text
