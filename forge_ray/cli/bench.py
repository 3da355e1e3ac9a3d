"""`forge-ray bench`: runs the benchmarks of a checkout; they are not part of an installed package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import forge_ray
from forge_ray.errors import InputError, Problem

SCRIPT = Path("tests/bench/engine.py")


def bench(arguments: list[str]) -> int:
    """The exit code of the benchmarks. Raises `InputError` where there are none."""
    root = Path(forge_ray.__file__).parent.parent
    if not (root / SCRIPT).is_file():
        text = f"the benchmarks are part of the repository, not of the package; run python {SCRIPT} in a checkout"
        raise InputError([Problem("bench", f"{text} (this package lies in {root})")])
    return subprocess.run([sys.executable, str(root / SCRIPT), *arguments], check=False).returncode
