"""What the cache of compiled kernels holds on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from forge_ray.kernels.compile import folder


@dataclass(frozen=True)
class KernelCache:
    """`kernels` compiled kernels of this code on this CPU, `bytes` in all their files."""

    folder: Path
    kernels: int
    bytes: int
    writable: bool


def kernel_cache() -> KernelCache:
    """Look at the cache folder, which need not exist. Creates and compiles nothing."""
    at = folder()
    files = [file for file in at.rglob("*.*") if file.suffix in (".nbc", ".nbi", ".seal")]  # no temporary ones of Numba
    nearest = next(path for path in (at, *at.parents) if os.access(path, os.F_OK))
    return KernelCache(
        folder=at,
        kernels=sum(file.suffix == ".nbc" for file in files),
        bytes=sum(file.stat().st_size for file in files),
        writable=os.access(nearest, os.W_OK | os.X_OK),
    )
