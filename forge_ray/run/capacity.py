"""Memory of this machine, or of the container that this process is in, and whether a run fits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True)
class Memory:
    """Bytes in all, and those that nobody uses."""

    total: int
    available: int

    def shortage(self, n_bytes: int) -> str:
        """What is to be said of a run that takes up to `n_bytes`; empty if they are free."""
        if n_bytes <= self.available:
            return ""
        text = f"up to {mib(n_bytes)} of memory are needed, {mib(self.available)} are free of {mib(self.total)}"
        return f"{text}; fewer workers need less" if n_bytes > self.total else f"{text}: others hold the rest"


def memory() -> Memory:
    """As it is now, within the container's limit if there is one."""
    entries = (line.split() for line in MEMINFO.read_text().splitlines())
    sizes = {name.rstrip(":"): int(size) * 1024 for name, size, *_ in entries}
    total, available = sizes["MemTotal"], sizes["MemAvailable"]
    limit, used = _number(CGROUP / "memory.max"), _number(CGROUP / "memory.current")
    if limit is None or used is None:
        return Memory(total, available)
    return Memory(min(total, limit), min(available, max(0, limit - used)))


def _number(file: Path) -> int | None:
    """What a file of the container's limits says; None without the file and without a limit."""
    text = file.read_text().strip() if file.is_file() else ""
    return int(text) if text.isdigit() else None


def mib(n_bytes: int) -> str:
    """Bytes for people."""
    return f"{n_bytes / 2**20:,.0f} MiB"
