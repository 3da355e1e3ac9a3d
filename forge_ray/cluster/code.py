"""What code a process runs: a driver and its workers must run the same, or rows could differ without a word."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("ray", "numba", "llvmlite", "numpy", "pyarrow", "msgspec")


@cache
def running_code() -> dict[str, str]:
    """A hash of every module of this package, and the versions of Python and of the packages that numbers pass through.

    Looked at once; modules are edited later than they are loaded.
    """
    digest, package = hashlib.blake2b(digest_size=16), Path(__file__).parent.parent
    for file in sorted(package.rglob("*.py")):
        digest.update(f"{file.relative_to(package)} {file.stat().st_size} ".encode() + file.read_bytes())
    versions = {name: version(name) for name in PACKAGES}
    return {"forge_ray": digest.hexdigest(), "python": platform.python_version(), **versions}


def differing(theirs: dict[str, str]) -> list[str]:
    """Names of what is not the same here and there."""
    ours = running_code()
    return [name for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name)]
