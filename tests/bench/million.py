"""M1: a million branches of the tree of W3 by `forge-ray run` on Ray, with one and with two actors, and its memory.

Seconds are wall seconds that the run reports, from the store's first byte to its last, with the start of Ray and of
the actors; `whole` is those of the process. Memory is the largest unique set size (USS) of the driver and of an actor,
looked at every quarter of a second.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import psutil
from trees import Nested

ACTOR = "ray::BlockWorker"
FULL = {"low": "20..69.9 by 0.1", "n": "2..21", "trend": "101..200"}
QUICK = {"low": "20..69 by 1", "n": "2..21", "trend": "101..200"}
SECONDS_BETWEEN = 0.25


@dataclass
class Peaks:
    """Largest USS in bytes of a process and of its Ray actors, while the thread runs."""

    pid: int
    driver: int = 0
    actor: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        while not self._over.wait(SECONDS_BETWEEN):
            self.driver = max(self.driver, _uss(psutil.Process(self.pid)))
            self.actor = max([self.actor, *(_uss(process) for process in psutil.process_iter(["cmdline"])
                                            if (process.info["cmdline"] or [""])[0].startswith(ACTOR))])  # fmt: skip

    def stop(self) -> None:
        self._over.set()


def _uss(process: psutil.Process) -> int:
    try:
        return process.memory_full_info().uss
    except psutil.Error:
        return 0  # it has just ended


def run(axes: dict[str, str], workers: int) -> dict[str, float]:
    """One run in a fresh process. Branches, seconds, seconds of the whole process, peaks in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "job.json"
        job.write_text(json.dumps(Nested().job | {"axes": axes}))
        command = [sys.executable, "-m", "forge_ray.cli.main", "run", str(job), "--workers", str(workers),
                   "--out", str(Path(folder) / "runs"), "--json"]  # fmt: skip
        began = perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        peaks = Peaks(process.pid)
        thread = threading.Thread(target=peaks.watch)
        thread.start()
        out, _ = process.communicate()
        peaks.stop()
        thread.join()
        if process.returncode:
            raise SystemExit(f"forge-ray run ended with {process.returncode}")
        result = json.loads(out)
        return {"branches": result["branches"], "distinct": result["distinct"], "seconds": result["seconds"],
                "whole": perf_counter() - began, "driver_mib": peaks.driver / 2**20,
                "actor_mib": peaks.actor / 2**20}  # fmt: skip


def measure(is_quick: bool) -> dict[str, dict[str, float]]:
    """By number of actors; the full space also in a tenth of its size, for what memory does."""
    found = {f"{n} actors": run(QUICK if is_quick else FULL, n) for n in (1, 2)}
    if not is_quick:
        found["2 actors, a tenth"] = run(QUICK, 2)
    if len({(one["distinct"]) for name, one in found.items() if "tenth" not in name}) > 1:
        raise SystemExit(f"results differ: {found}")
    return found
