"""Ray's own autoscaler, with nodes that are processes of this machine, gives a run the workers that it asks for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID, FAKE_HEAD_NODE_TYPE

from forge_ray.cluster.local import LocalExecutor
from forge_ray.run import execute, prepare
from forge_ray.sweep import parse_job
from heads import STORE_BYTES, Ports, answers, end, environment, head_command
from runs import CACHE, JOB, rows, wait_for

HOST = "127.0.0.1"
OF_NODES_ONLY = ("auth", "docker", "file_mounts")
ON_NODES_ONLY = (
    "initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands", "rsync_exclude",
    "head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files", "rsync_filter",
)  # fmt: skip


def autoscaling(port: int) -> dict[str, Any]:
    """Of a head without a CPU and of up to three nodes of one each."""
    return {
        "cluster_name": "grows", "max_workers": 3, "upscaling_speed": 10, "idle_timeout_minutes": 1,
        "provider": {"type": "fake_multinode", "gcs_address": f"{HOST}:{port}", "head_node_id": FAKE_HEAD_NODE_ID,
                     "disable_node_updaters": True, "disable_launch_config_check": True},
        "head_node_type": FAKE_HEAD_NODE_TYPE,
        "available_node_types": {
            FAKE_HEAD_NODE_TYPE: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "small": {"resources": {"CPU": 1, "object_store_memory": STORE_BYTES}, "node_config": {}, "max_workers": 3},
        },
        "file_mounts_sync_continuously": False,
        **{name: {} for name in OF_NODES_ONLY}, **{name: [] for name in ON_NODES_ONLY},
    }  # fmt: skip


@dataclass
class Growing:
    """A cluster that grows: its address, and the environment of its clients."""

    address: str
    environment: dict[str, str]

    def called(self, *command: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", *command], env=self.environment, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stderr
        return done

    def status(self) -> str:
        return self.called("ray.scripts.scripts", "status", "--address", self.address).stdout


@pytest.fixture(scope="module")
def growing() -> Iterator[Growing]:
    with tempfile.TemporaryDirectory(prefix="fr") as name:
        folder, ports = Path(name), Ports.free()
        config = folder / "autoscaling.json"
        config.write_text(json.dumps(autoscaling(ports.gcs)))
        command = head_command(
            folder / "ray", HOST, ports, "--num-cpus=0", "--include-dashboard=false", f"--autoscaling-config={config}"
        )
        of_clients = environment(RAY_AUTH_MODE="disabled")
        of_head = {"RAY_FAKE_CLUSTER": "1", "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID}
        with (folder / "log").open("w") as log:
            head = subprocess.Popen(
                command, env=of_clients | of_head | {"AUTOSCALER_UPDATE_INTERVAL_S": "1"},
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            wait_for(lambda: answers(HOST, ports.gcs), "the head did not start", driver=head)
            yield Growing(f"{HOST}:{ports.gcs}", of_clients)
        finally:
            end(head, seconds=1)  # its nodes do not hear of it


def test_nodes_are_booted_for_the_workers_that_are_asked_for(growing: Growing, tmp_path: Path):
    """There is no CPU to begin with; two of three nodes come, and then nobody asks for any."""
    job, prepared = tmp_path / "job.json", prepare(parse_job(JOB))
    job.write_text(json.dumps(JOB))
    asked = ("--address", growing.address, "--workers", "2", "--out", str(tmp_path), "--json")
    done = growing.called("forge_ray.cli.main", "run", str(job), *asked)
    assert "the cluster has no room yet" in done.stderr
    assert json.loads(done.stdout)["cost"]["workers_lost"] == 0
    expected = execute(prepared, LocalExecutor(1, CACHE), tmp_path / "local")
    assert rows(tmp_path / prepared.run_id).equals(rows(expected.path))
    wait_for(lambda: is_none_asked_for(growing.status()), "the request outlives the run", seconds=30)
    assert len(re.findall(r"^ f+0000\d: small", growing.status(), re.MULTILINE)) == 2, growing.status()


def is_none_asked_for(status: str) -> bool:
    return bool(re.search(r"From request_resources:\s+\(none\)", status))
