"""Whichever call the disk refuses, with whatever errno: one error that names the path and what is free, nothing
half-done, no file left open, and the same work goes on once the disk works again.

A run of three blocks and its SQLite table, in a process whose calls `faulty_io.c` fails: those of Python and those of
SQLite, once or for good. Not covered: errors of `close`, of `stat`, and of pages written through mmap (`-shm`).

The campaign: ``python -m pytest --campaign tests/test_io_errors.py`` (every call, every errno, once and for good).
"""

from __future__ import annotations

import errno
import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from faulty_io import ERRNOS, build, start

IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


def test_every_refused_call_is_one_error_and_the_work_goes_on(tmp_path, rounds, landed):
    last, everything = rounds(50, 100_000), rounds(0, 1)
    with TemporaryDirectory(dir=IN_MEMORY) as root:
        process = start(build(tmp_path), "errors", root, str(last), str(everything))
        out, complaint = process.communicate()
    assert process.returncode == 0, complaint
    *tries, end = map(json.loads, out.splitlines())
    wrong = [one for one in tries if one["wrong"]]
    assert not wrong, f"{len(wrong)} of {len(tries)}: {wrong[:3]}"
    assert end == {"left_open": 0}
    hits = [one for one in tries if one["hit"]]
    landed.update(Counter(one["hit"] for one in hits))
    assert {one["errno"] for one in hits if one["told"] == "DiskError"} == _names()
    assert set(landed) >= {"create", "write", "fsync", "read"}
    assert len(hits) >= 250


def _names() -> set[str]:
    return {errno.errorcode[code] for code in ERRNOS}
