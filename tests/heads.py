"""Head nodes of Ray in processes of their own, below a folder of their own, beside any other Ray of the machine."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

STORE_BYTES = 80 * 2**20


@dataclass(frozen=True)
class Ports:
    gcs: int
    dashboard: int
    agent: int
    agent_grpc: int
    client: int

    @classmethod
    def free(cls) -> Ports:
        """Below those that the system hands out, of which any process may have got one by the time it is used."""
        ports = list[int]()
        while len(ports) < 5:
            port = random.randrange(20_000, 30_000)
            with suppress(OSError), socket.create_server(("127.0.0.1", port)):
                ports.append(port)
        return cls(*ports)


def head_command(folder: Path, host: str, ports: Ports, *options: str) -> list[str]:
    """Its session lies in the folder, whose path must be short: sockets lie below it. It ends with its process."""
    return [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"),
        *(f"--temp-dir={folder}", f"--node-ip-address={host}", f"--object-store-memory={STORE_BYTES}"),
        *(f"--port={ports.gcs}", f"--dashboard-port={ports.dashboard}", f"--ray-client-server-port={ports.client}"),
        *(f"--dashboard-agent-listen-port={ports.agent}", f"--dashboard-agent-grpc-port={ports.agent_grpc}"),
        *options,
    ]


def environment(**more: str) -> dict[str, str]:
    """Without any setting of Ray but these."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {
        "RAY_memory_monitor_refresh_ms": "0",
        **more,
    }


def answers(host: str, port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((host, port)) == 0


def end(process: subprocess.Popen, seconds: float = 10) -> None:
    """Ask a head to end; kill, by pid, what is left of it some seconds after that."""
    family = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _, left = psutil.wait_procs(family, timeout=seconds)
    for survivor in left:
        survivor.kill()
