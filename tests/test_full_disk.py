"""A whole run on a disk that fills up, becomes read-only or limits files: one error with path and bytes, exit code 4,
and the same run goes on once there is room."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from forge_ray import jsontext
from forge_ray.cluster.local import LocalExecutor
from forge_ray.errors import DiskError
from forge_ray.run import Progress, Run, execute, prepare, verify
from test_damage import BLOCK, CACHE, cli, market, sweep

AFTER = 3 * BLOCK


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """2 MiB, mounted; skipped where that is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or not shutil.which("mount") or _mount("-t", "tmpfs", "-o", "size=2m", "tmpfs", folder):
        pytest.skip("needs the right to mount")
    yield folder
    subprocess.run(["umount", folder], check=True)


def _mount(*arguments: object) -> int:
    return subprocess.run(["mount", *map(str, arguments)], capture_output=True).returncode


def _fill(disk: Path) -> None:
    """Leave no byte."""
    with (disk / "ballast").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    assert shutil.disk_usage(disk).free == 0


def _refused(out: Path, refuse: Callable[[], object], expected: str) -> None:
    """A run whose disk begins to refuse when a third is done."""

    def after_a_third(progress: Progress) -> None:
        if progress.branches == AFTER:
            refuse()

    with pytest.raises(DiskError, match=rf"(?s)^{out}/.*: {expected}; [\d,]+ bytes are free$") as caught:
        execute(prepare(sweep()), LocalExecutor(1, CACHE), out, block_size=BLOCK, on_progress=after_a_third)
    assert caught.value.exit_code == 4


def _goes_on(out: Path) -> None:
    result = execute(prepare(sweep()), LocalExecutor(1, CACHE), out)
    assert 0 < result.computed <= result.branches - AFTER
    assert verify(result.path).damaged == ()
    with Run(result.path) as run:
        assert run.frame()["branch"].to_list() == list(range(result.branches))


def test_disk_that_fills_up(small_disk):
    _refused(
        small_disk, lambda: _fill(small_disk), r"(cannot write [\d,]+ bytes: No space left|database or disk is full).*"
    )
    (small_disk / "ballast").unlink()
    _goes_on(small_disk)


def test_disk_that_is_mounted_read_only(small_disk):
    class StoppedError(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.branches == AFTER:
            raise StoppedError

    prepared = prepare(sweep())
    with pytest.raises(StoppedError):
        execute(prepared, LocalExecutor(1, CACHE), small_disk, block_size=BLOCK, on_progress=stop)
    assert _mount("-o", "remount,ro", small_disk) == 0
    told = rf"^{small_disk}/.*/lock: cannot lock: Read-only file system; [\d,]+ bytes are free$"
    with pytest.raises(DiskError, match=told):
        execute(prepared, LocalExecutor(1, CACHE), small_disk)
    with Run(small_disk / prepared.run_id) as run:
        assert len(run.frame()) == AFTER
    assert _mount("-o", "remount,rw", small_disk) == 0
    _goes_on(small_disk)


def test_limit_on_the_size_of_files(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        _refused(
            tmp_path,
            lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, hard)),
            r"(cannot write [\d,]+ bytes: File too large|disk I/O error|database or disk is full)",
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    _goes_on(tmp_path)


def test_command_ends_with_4_and_the_same_command_goes_on(small_disk, tmp_path, capsys):
    data, job = tmp_path / "market.parquet", tmp_path / "job.json"
    market().write_parquet(data)
    job.write_text(jsontext.write({**sweep().job, "data": str(data)}))
    command = ("run", job, "--local", "--workers", "1", "--out", small_disk, "--json")
    _fill(small_disk)
    os.truncate(small_disk / "ballast", (small_disk / "ballast").stat().st_size - 160 * 1024)
    code, out, err = cli(capsys, *command)
    assert (code, out) == (4, "")
    assert err.count("error: ") == 1
    assert f"error: {small_disk}/" in err
    assert "bytes are free" in err
    (small_disk / "ballast").unlink()
    assert cli(capsys, *command)[0] == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_that_may_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(DiskError, match=r"Permission denied; [0-9,]+ bytes are free"):
        execute(prepare(sweep()), LocalExecutor(1, CACHE), tmp_path)
