"""Who may use a cluster: those that start here want a token which only its owner reads; open ones are not joined."""

from __future__ import annotations

import json
import logging
import re
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from forge_ray.cluster import crew, jobs, token
from forge_ray.cluster.crew import ClusterError, OwnCrew, PoolCrew, start_embedded
from forge_ray.cluster.pool import Pool
from forge_ray.cluster.ray_executor import RayExecutor, ray
from forge_ray.cluster.token import TokenError, is_loopback, make_token, protect_token, require_guarded
from forge_ray.engine import kernel_cache
from forge_ray.errors import DiskError
from forge_ray.run import choose_executor
from heads import Ports, answers, end, environment, head_command
from runs import wait_for

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


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fr") as path:
        yield Path(path)


@pytest.fixture(scope="module", autouse=True)
def processes(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Two clusters, which start at the same time: one that is embedded in a process, and the address of an open one."""
    host, ports = own_address(), Ports.free()
    start = head_command(folder / "open", host, ports, "--num-cpus=1", "--include-dashboard=false")
    head = opened(start, folder / "head.log", RAY_AUTH_MODE="disabled")
    command = [sys.executable, "-c", EMBEDDED, json.dumps(JOB)]
    kept = str(kernel_cache().folder.parent.parent)
    settings = {"HOME": str(folder), "FORGE_RAY_CACHE": kept, "VENDOR_API_KEY": CANARY}
    embedded = opened(command, folder / "embedded.log", **settings)
    try:
        yield embedded, f"{host}:{ports.gcs}"
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


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConnectionError("no answer"), "no answer; RAY_AUTH_MODE and the token must be those of the cluster"),
        (ray.exceptions.AuthenticationError("no token"), "RAY_AUTH_MODE and the token must be those of the cluster"),
        (RuntimeError("Version mismatch: The cluster was started with Ray 2.1"), "Version mismatch: The cluster was"),
    ],
)
def test_a_cluster_that_does_not_take_us_is_told_with_what_to_look_at(
    error: Exception, told: str, monkeypatch: pytest.MonkeyPatch
):
    def refuse(**options: Any) -> None:
        raise error

    monkeypatch.setattr(crew.ray, "init", refuse)
    monkeypatch.setattr(crew, "require_answer", lambda address: None)
    with pytest.raises(ClusterError, match=rf"cannot join the Ray cluster at 127.0.0.1:1: [^$]*{told}"):
        OwnCrew(1, CACHE, "127.0.0.1:1").join()
    if not isinstance(error, ConnectionError):
        with pytest.raises(ClusterError, match="Ray does not start here: "):
            OwnCrew(1, CACHE, None).join()


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("127.0.0.1:1", "nobody answers at 127.0.0.1:1: Connection refused"),
        ("no-such-host.invalid:6379", "nobody answers at no-such-host.invalid:6379: "),
        *((text, "allowed: auto, or HOST:PORT of the head") for text in (
            "127.0.0.1", "localhost:x", "http://127.0.0.1:8265", "127.0.0.1:99999", ":6379", "127.0.0.1:6379/x")),
    ],
)  # fmt: skip
def test_an_address_that_leads_to_no_cluster_is_told_at_once(address: str, told: str):
    with pytest.raises(ClusterError, match=re.escape(told)):
        OwnCrew(1, CACHE, address).join()


@pytest.mark.parametrize("error", [ray.exceptions.OutOfDiskError("full"), ray.exceptions.ObjectStoreFullError("full")])
def test_an_object_store_without_room_for_the_plan_is_an_error_of_the_disk(
    error: Exception, monkeypatch: pytest.MonkeyPatch
):
    def refuse(value: object) -> None:
        raise error

    monkeypatch.setattr(jobs, "warn_of_spilling", lambda bound: None)
    monkeypatch.setattr(jobs.ray, "put", refuse)
    with pytest.raises(DiskError, match="the object store of this node has no room for the plan and its panel: "):
        jobs.job_of(object(), outlives=False)


class OneRay:
    """What `ray` is to a crew that only joins and leaves."""

    def __init__(self) -> None:
        self.session, self.address = 0, "127.0.0.1:1"

    def init(self, **_: Any) -> None:
        self.session += 1

    def shutdown(self) -> None:
        self.session = -abs(self.session)

    def is_initialized(self) -> bool:
        return self.session > 0

    def get_runtime_context(self) -> Any:
        session = str(self.session)
        return SimpleNamespace(get_node_id=lambda: session, get_job_id=lambda: session, gcs_address=self.address)


def test_a_cluster_that_its_user_started_meanwhile_is_left_to_him(monkeypatch: pytest.MonkeyPatch):
    fake, one = OneRay(), OwnCrew(1, CACHE, None)
    monkeypatch.setattr(crew, "ray", fake)
    monkeypatch.setattr(one, "_connect", fake.init)
    one.join()
    one.leave()
    assert not fake.is_initialized(), "it was the crew's own"
    for joins_again in (True, False):
        one.join()
        fake.shutdown()
        fake.session = 10 + joins_again
        if joins_again:
            one.join()
        one.leave()
        assert fake.is_initialized()
        fake.session = -20


def test_a_process_on_another_cluster_does_not_look_for_the_pool_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("FORGE_RAY_POOL", str(tmp_path))
    fake = OneRay()
    monkeypatch.setattr(crew, "ray", fake)
    fake.init()
    pool = PoolCrew(Pool(7, "127.0.0.1:2", 2, CACHE, "", {}, 0.0), 1)
    with pytest.raises(ClusterError, match=r"cannot join the pool of process 7 .* connected to 127\.0\.0\.1:1"):
        pool.join()
    fake.address = "127.0.0.1:2"
    pool.join()
    pool.leave()
    assert fake.is_initialized(), "it was joined by its user"


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
