"""Whole-process seconds of the two jobs of the README: plan, first run, second run, on threads and on Ray.

python tests/bench/jobs.py            a table in Markdown
python tests/bench/jobs.py --json     the same as JSON

"cold" starts with an empty kernel cache, so it includes compiling; every other run finds the kernels on the disk.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

JOBS = Path(__file__).parent.parent.parent / "jobs"
NAMES = ("quickstart", "branches77")


def seconds(environment: dict[str, str], *arguments: str) -> tuple[float, dict]:
    """Wall seconds of a command in a fresh process, and the JSON object it prints."""
    command = [sys.executable, "-m", "forge_ray.cli.main", *arguments, "--json"]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return time.perf_counter() - began, json.loads(done.stdout)


def measure(name: str, folder: Path) -> dict[str, float]:
    job, environment = str(JOBS / f"{name}.json"), {**os.environ, "FORGE_RAY_CACHE": str(folder / "cache")}
    found: dict[str, float] = {}
    found["run --local, cold"], _ = seconds(environment, "run", job, "--local", "--out", str(folder / "a"))
    found["plan"], plan = seconds(environment, "plan", job)
    found["run --local"], result = seconds(environment, "run", job, "--local", "--out", str(folder / "b"))
    found["run --local, again"], again = seconds(environment, "run", job, "--local", "--out", str(folder / "b"))
    found["run on Ray"], on_ray = seconds(environment, "run", job, "--out", str(folder / "c"))
    found["run on Ray, again"], _ = seconds(environment, "run", job, "--out", str(folder / "c"))
    if again["computed"] or result["distinct"] != on_ray["distinct"]:
        raise SystemExit(f"{name}: results differ: {result}, {again}, {on_ray}")
    found |= {"predicted": plan["seconds"], "evaluated in": result["seconds"], "branches": result["branches"]}
    return found


def machine() -> str:
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.processor())  # fmt: skip
    return f"{os.cpu_count()} cores of {model}, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = {name: measure(name, Path(folder) / name) for name in NAMES}
    if "--json" in sys.argv:
        print(json.dumps({"machine": machine(), "seconds": found}, indent=1))
        return
    print(f"Whole-process wall seconds; {machine()}.\n")
    print("| | " + " | ".join(f"{name} ({found[name]['branches']:,.0f} branches)" for name in NAMES) + " |")
    print("|---|" + "---:|" * len(NAMES))
    for row in found[NAMES[0]]:
        if row != "branches":
            print(f"| {row} | " + " | ".join(f"{found[name][row]:.2f}" for name in NAMES) + " |")


if __name__ == "__main__":
    main()
