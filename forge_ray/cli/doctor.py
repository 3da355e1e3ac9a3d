"""`forge-ray doctor`: what this machine offers a run, and what would get in its way. Reads only; prints no secret."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from forge_ray.cluster.token import exposed_places, token_mode, token_path
from forge_ray.data import CacheFolder
from forge_ray.engine import kernel_cache
from forge_ray.run import data_cache, memory

PACKAGES = ("forge-ray", "ray", "numba", "numpy", "pyarrow", "polars")
SHM = Path("/dev/shm")
CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
LEAST_SHM = 512 * 2**20
LEAST_DISK = 2**30
LEAST_MEMORY = 2 * 2**30


def diagnose(out: Path) -> dict[str, Any]:
    """Everything as plain JSON values: sizes in bytes, absent things null, problems as ``warnings``.

    out : the folder of the runs; the free space of its disk is reported.
    """
    cache = kernel_cache()
    found = {
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        "cores": _cores(),
        "memory": memory().__dict__,
        "shm": _space(SHM) if SHM.is_dir() else None,
        "disk": _space(_existing(out)),
        "ray": _ray(),
        "kernel_cache": cache.__dict__ | {"folder": str(cache.folder)},
        "data_cache": {what: _kept(data_cache(what)) for what in ("tickers", "panels")},
    }
    return found | {"warnings": list(_warnings(found))}


def report_lines(found: Mapping[str, Any]) -> list[str]:
    """The diagnosis for reading, one line per subject, warnings last."""
    ray, cores, memory, shm, disk = found["ray"], found["cores"], found["memory"], found["shm"], found["disk"]
    cache = found["kernel_cache"]
    token = f"{ray['token_file']}, mode {ray['token_mode']}" if ray["token_mode"] else f"{ray['token_file']}, not there"
    lines = [
        "versions      " + ", ".join(f"{name} {text or 'not installed'}" for name, text in found["versions"].items()),
        f"cores         {cores['usable']} usable of {cores['machine']}",
        f"memory        {_size(memory['available'])} available of {_size(memory['total'])}",
        f"/dev/shm      {_size(shm['free'])} free of {_size(shm['total'])}" if shm else "/dev/shm      not there",
        f"disk          {_size(disk['free'])} free of {_size(disk['total'])} at {disk['folder']}",
        f"ray           authentication {ray['auth_mode']}, token {token}",
        f"              cluster {ray['address'] or 'embedded'}, job submission "
        + ("possible" if ray["job_submission"] else "not installed"),
        f"kernel cache  {cache['folder']}, {cache['kernels']} kernels, {_size(cache['bytes'])}",
        *(
            f"{what:14}{kept['folder']}, {kept['files']} files, {_size(kept['bytes'])} (limit {_size(kept['limit'])})"
            for what, kept in found["data_cache"].items()
        ),
    ]
    return lines + ([f"warning: {text}" for text in found["warnings"]] or ["no problems found"])


def _kept(kept: CacheFolder) -> dict[str, Any]:
    sizes = [entry.stat().st_size for entry in kept.files()]
    return {"folder": str(kept.path), "files": len(sizes), "bytes": sum(sizes), "limit": kept.limit_bytes}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cores() -> dict[str, int | float]:
    """Cores of the machine, and those that this process may use: affinity and the container's quota."""
    usable: int | float = len(os.sched_getaffinity(0))
    quota, _, period = _text(CPU_LIMIT).partition(" ")
    if quota.isdigit() and period.strip().isdigit():
        usable = min(usable, round(int(quota) / int(period), 2))
    return {"machine": os.cpu_count() or 1, "usable": usable}


def _ray() -> dict[str, Any]:
    mode = token_mode()
    return {
        "auth_mode": os.environ.get("RAY_AUTH_MODE", "token"),
        "token_file": str(token_path()),
        "token_mode": None if mode is None else f"{mode:04o}",
        "token_in_environment": "RAY_AUTH_TOKEN" in os.environ,
        "address": os.environ.get("RAY_ADDRESS"),
        "job_submission": all(find_spec(name) for name in ("aiohttp", "aiohttp_cors", "jsonschema")),
    }


def _warnings(found: Mapping[str, Any]) -> Iterator[str]:
    for name, text in found["versions"].items():
        if text is None:
            yield f"{name} is not installed"
    yield from _ray_warnings(found["ray"])
    if found["shm"] is None or found["shm"]["free"] < LEAST_SHM:
        free = _size(found["shm"]["free"]) if found["shm"] else "missing"
        yield f"/dev/shm: {free}; Ray then keeps data on disk: want {_size(LEAST_SHM)} (docker run --shm-size)"
    if found["memory"]["available"] < LEAST_MEMORY:
        yield f"memory: {_size(found['memory']['available'])} available; want {_size(LEAST_MEMORY)}"
    if found["disk"]["free"] < LEAST_DISK:
        yield f"disk: {_size(found['disk']['free'])} free at {found['disk']['folder']}; want {_size(LEAST_DISK)}"
    if not found["kernel_cache"]["writable"]:
        yield f"kernel cache {found['kernel_cache']['folder']}: cannot be written; set FORGE_RAY_CACHE"


def _ray_warnings(ray: Mapping[str, Any]) -> Iterator[str]:
    if ray["auth_mode"] != "token":
        yield f"RAY_AUTH_MODE is {ray['auth_mode']!r}: whoever reaches the cluster runs code there; want 'token'"
    for place in exposed_places():
        want = 700 if place.is_dir() else 600
        yield f"{place}: mode {place.stat().st_mode & 0o777:04o}, others may use it; want 0{want} (chmod {want})"
    if ray["address"] and ray["token_mode"] is None and not ray["token_in_environment"]:
        yield f"RAY_ADDRESS is set, but there is no token at {ray['token_file']}"


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())


def _space(folder: Path) -> dict[str, Any]:
    usage = shutil.disk_usage(folder)
    return {"folder": str(folder), "total": usage.total, "free": usage.free}


def _text(file: Path) -> str:
    return file.read_text() if file.is_file() else ""


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:,.1f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:,.1f} MiB"
