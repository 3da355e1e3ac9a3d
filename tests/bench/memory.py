"""Peak memory of a command and of everything that it starts, by kind of process.

python tests/bench/memory.py forge-ray run JOB …      a line per kind of process: peak USS, PSS, RSS in MiB, CPU seconds

Sampled ten times a second. USS is what would be free if the process ended; of it, `anonymous` cannot be dropped, while
pages of mapped files can. PSS shares what several processes map.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

PERIOD = 0.1
KINDS = {"ray::": "actor", "raylet": "Ray", "gcs_server": "Ray", "ray/": "Ray"}
Sizes = dict[str, float]


def peaks(command: list[str]) -> tuple[dict[str, Sizes], float, int]:
    """(peaks in MiB by kind of process, the largest process of a kind counting; wall seconds; exit code)."""
    began, found = time.perf_counter(), dict[str, Sizes]()
    root = psutil.Popen(command, stdout=subprocess.DEVNULL)
    while root.poll() is None:
        for kind, sizes in _sample(root):
            known = found.setdefault(kind, {})
            for name, size in sizes.items():
                known[name] = max(known.get(name, 0.0), size)
        time.sleep(PERIOD)
    return found, time.perf_counter() - began, root.returncode


def _sample(root: psutil.Process) -> Iterator[tuple[str, Sizes]]:
    try:
        processes = [root, *root.children(recursive=True)]
    except psutil.Error:
        return
    for process in processes:
        try:
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()[1:]
            words = " ".join(process.cmdline()[:3])
            seconds = sum(process.cpu_times()[:2])
        except (psutil.Error, OSError):
            continue
        kilo = {line.split(":")[0]: int(line.split()[1]) for line in rollup}
        sizes = {
            "uss": kilo["Private_Clean"] + kilo["Private_Dirty"], "anonymous": kilo["Anonymous"], "pss": kilo["Pss"],
            "rss": kilo["Rss"],
        }  # fmt: skip
        kind = "driver" if process == root else next((kind for mark, kind in KINDS.items() if mark in words), "other")
        yield kind, {name: size / 1024 for name, size in sizes.items()} | {"cpu": seconds}


def main() -> None:
    found, seconds, code = peaks([sys.executable, "-m", "forge_ray.cli.main", *sys.argv[2:]])
    print(f"{seconds:.1f} s, exit code {code}")
    for kind, sizes in sorted(found.items()):
        print(f"{kind:8}" + ", ".join(f"{name} {size:,.0f}" for name, size in sizes.items()))


if __name__ == "__main__":
    main()
