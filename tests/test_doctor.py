"""`forge-ray doctor` reports what is there, warns of what is wrong, tells no secret and changes nothing."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from forge_ray.cli import doctor
from forge_ray.cluster.token import protect_token
from forge_ray.run import Memory

SECRET = "5ecre7" * 10


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A private token file, and no other setting of Ray."""
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    path = tmp_path / "auth_token"
    path.write_text(SECRET)
    path.chmod(0o600)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    return path


def command(*arguments: str, **environment: str) -> str:
    call = [sys.executable, "-m", "forge_ray.cli.main", "doctor", *arguments]
    return subprocess.run(call, env=os.environ | environment, capture_output=True, text=True, check=True).stdout


def warnings(tmp_path: Path) -> list[str]:
    return doctor.diagnose(tmp_path)["warnings"]


def test_json_holds_versions_sizes_and_the_token_s_mode(tmp_path: Path, token: Path):
    found = json.loads(command("--json", "--out", str(tmp_path / "not" / "there")))
    assert found["versions"]["python"] == platform.python_version()
    assert {name: found["versions"][name] for name in doctor.PACKAGES} == {n: version(n) for n in doctor.PACKAGES}
    assert 0 < found["cores"]["usable"] <= found["cores"]["machine"] == os.cpu_count()
    assert 0 < found["memory"]["available"] <= found["memory"]["total"]
    assert 0 < found["disk"]["free"] <= found["disk"]["total"]
    assert found["disk"]["folder"] == str(tmp_path)
    assert found["ray"]["auth_mode"] == "token"
    assert (found["ray"]["token_file"], found["ray"]["token_mode"]) == (str(token), "0600")


def test_text_names_every_subject():
    subjects = [line[:14].strip() for line in command().splitlines()]
    assert {"versions", "cores", "memory", "/dev/shm", "disk", "ray", "kernel cache", "tickers", "panels"} <= set(
        subjects
    )


def test_no_secret_is_printed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", SECRET)
    assert SECRET not in command() + command("--json")


def test_the_kernel_cache_is_counted_and_not_created(tmp_path: Path):
    cache = tmp_path / "cache"
    empty = json.loads(command("--json", FORGE_RAY_CACHE=str(cache)))["kernel_cache"]
    assert (empty["kernels"], empty["bytes"]) == (0, 0)
    assert not cache.exists()
    warm = f"from forge_ray.engine import warm_kernels; warm_kernels({('rate_of_change',)!r})"
    subprocess.run([sys.executable, "-c", warm], env=os.environ | {"FORGE_RAY_CACHE": str(cache)}, check=True)
    full = json.loads(command("--json", FORGE_RAY_CACHE=str(cache)))["kernel_cache"]
    assert full["kernels"] == 1
    assert full["bytes"] == sum(file.stat().st_size for file in cache.rglob("*") if file.is_file()) > 0
    assert Path(full["folder"]).is_relative_to(cache)


def test_a_token_that_others_can_read_is_a_warning_until_it_is_protected(tmp_path: Path, token: Path):
    token.chmod(0o644)
    (warning,) = (text for text in warnings(tmp_path) if "auth_token" in text)
    assert str(token) in warning
    assert "0644" in warning
    assert "0600" in warning
    protect_token()
    assert not [text for text in warnings(tmp_path) if "auth_token" in text]


def test_a_folder_of_ray_that_others_can_enter_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ray").mkdir(mode=0o755)
    assert f"{tmp_path / '.ray'}: mode 0755, others may use it; want 0700 (chmod 700)" in warnings(tmp_path)
    protect_token()
    assert not [text for text in warnings(tmp_path) if ".ray" in text]


def test_a_stricter_token_is_left_alone(tmp_path: Path, token: Path):
    token.chmod(0o400)
    protect_token()
    assert token.stat().st_mode & 0o777 == 0o400
    assert not [text for text in warnings(tmp_path) if "auth_token" in text]


def test_authentication_off_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert [text for text in warnings(tmp_path) if "RAY_AUTH_MODE is 'disabled'" in text]


def test_a_cluster_without_a_token_is_a_warning(tmp_path: Path, token: Path, monkeypatch: pytest.MonkeyPatch):
    token.unlink()
    assert not [text for text in warnings(tmp_path) if "token" in text]
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert [text for text in warnings(tmp_path) if f"no token at {token}" in text]


@pytest.mark.parametrize(
    ("subject", "value", "names"),
    [
        ("_space", {"folder": "/dev/shm", "total": 2**26, "free": 2**26}, ["/dev/shm: 64.0 MiB", "--shm-size"]),
        ("_space", {"folder": "/full", "total": 2**40, "free": 2**20}, ["disk: 1.0 MiB free at /full"]),
        ("memory", Memory(2**30, 2**29), ["memory: 512.0 MiB available"]),
        ("_version", None, ["ray is not installed"]),
    ],
)
def test_too_little_is_a_warning(
    subject: str, value: Any, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(doctor, subject, lambda *_: value)
    text = "\n".join(warnings(tmp_path))
    assert all(name in text for name in names)


def test_limits_of_a_container_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "CPU_LIMIT", tmp_path / "cpu.max")
    monkeypatch.setattr("forge_ray.run.capacity.CGROUP", tmp_path)
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text(f"{2**30}\n")
    (tmp_path / "memory.current").write_text(f"{2**29}\n")
    found = doctor.diagnose(tmp_path)
    assert found["cores"]["usable"] == 0.5
    assert found["memory"] == {"total": 2**30, "available": 2**29}


def test_what_a_job_left_of_its_market_is_counted(tmp_path: Path):
    job = {"tree": {"id": "a", "kind": "position", "positions": ["MSFT"]}, "data": "sample:us_ohlcv"}
    (tmp_path / "job.json").write_text(json.dumps(job))
    cache = str(tmp_path / "cache")
    empty = json.loads(command("--json", FORGE_RAY_CACHE=cache))["data_cache"]
    assert [kept["files"] for kept in empty.values()] == [0, 0] and not Path(cache).exists()
    call = [sys.executable, "-m", "forge_ray.cli.main", "plan", str(tmp_path / "job.json")]
    subprocess.run(call, env=os.environ | {"FORGE_RAY_CACHE": cache}, capture_output=True, check=True)
    full = json.loads(command("--json", FORGE_RAY_CACHE=cache))["data_cache"]
    assert [kept["files"] for kept in full.values()] == [1, 1]
    assert all(kept["limit"] > kept["bytes"] > 8 * 1000 for kept in full.values())
