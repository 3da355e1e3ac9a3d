"""cluster.yaml is what `ray up` accepts, and what Ray's own check lets pass unseen is checked here."""

from __future__ import annotations

import copy
import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "cluster.yaml").read_text()
TOKEN = "/home/ray/.ray/auth_token"


@pytest.fixture
def config() -> dict[str, Any]:
    return yaml.safe_load(TEXT)


def started(config: dict[str, Any], role: str) -> str:
    """The command that starts Ray on the head or on a worker."""
    (command,) = (line for line in config[f"{role}_start_ray_commands"] if "ray start" in line)
    return command


def test_ray_up_accepts_it(config: dict[str, Any]):
    pytest.importorskip("jsonschema")
    validate_config(prepare_config(config))


def test_the_check_of_ray_sees_a_wrong_key(config: dict[str, Any]):
    pytest.importorskip("jsonschema")
    config["idle_timeout"] = 5
    with pytest.raises(Exception, match="idle_timeout"):
        validate_config(prepare_config(config))


def test_the_head_is_on_demand_and_takes_no_workers(config: dict[str, Any]):
    head = config["available_node_types"][config["head_node_type"]]
    assert head["resources"] == {"CPU": 0}
    assert "InstanceMarketOptions" not in head["node_config"]


def test_workers_are_spot_nodes_of_two_types(config: dict[str, Any]):
    types = copy.copy(config["available_node_types"])
    del types[config["head_node_type"]]
    assert len({kind["node_config"]["InstanceType"] for kind in types.values()}) == 2
    for kind in types.values():
        assert kind["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
        assert kind["min_workers"] == 0 < kind["max_workers"] <= config["max_workers"]
        assert kind["resources"]["CPU"] == 16, "a 4xlarge of these families has 16"
        assert kind["node_config"]["InstanceType"].endswith("7i.4xlarge")
    assert config["provider"]["cache_stopped_nodes"] is False
    assert 0 < config["idle_timeout_minutes"] <= 10


def test_nodes_have_only_fields_of_ec2(config: dict[str, Any]):
    for kind in config["available_node_types"].values():
        assert set(kind["node_config"]) <= {"InstanceType", "InstanceMarketOptions", "BlockDeviceMappings"}
        (disk,) = kind["node_config"]["BlockDeviceMappings"]
        assert disk["DeviceName"] == "/dev/sda1"
        assert disk["Ebs"]["VolumeSize"] >= 100


@pytest.mark.parametrize("role", ["head", "worker"])
def test_every_node_has_the_token_before_ray_starts_with_it(role: str, config: dict[str, Any]):
    assert config["file_mounts"][TOKEN] == "~/.ray/auth_token"
    assert f"chmod 600 {TOKEN}" in config["setup_commands"]
    before, _, after = started(config, role).partition("ray start")
    assert f"RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH={TOKEN}" in before
    assert before.startswith("ulimit -n 65536;")
    assert ("--autoscaling-config" in after) == (role == "head")


def test_a_job_has_time_to_commit_when_it_is_stopped(config: dict[str, Any]):
    assert "RAY_JOB_STOP_WAIT_TIME_S=30 ray start" in started(config, "head")


def test_nothing_but_ssh_is_open(config: dict[str, Any]):
    assert set(config["provider"]["security_group"]) == {"GroupName"}, "without rules Ray opens port 22 only"
    assert "--dashboard-host=127.0.0.1" in started(config, "head")
    assert "0.0.0.0" not in TEXT


def test_it_holds_no_secret():
    assert not re.search(r"AKIA|ASIA|BEGIN [A-Z ]*PRIVATE KEY|aws_secret|[0-9a-f]{32}", TEXT, re.IGNORECASE)


def test_image_and_package_pin_the_same_ray(config: dict[str, Any]):
    image = re.fullmatch(r"rayproject/ray:([\d.]+)-py(\d)(\d+)-cpu", config["docker"]["image"])
    assert image
    (install,) = (command for command in config["setup_commands"] if "pip install" in command)
    assert f"'ray[default]=={image[1]}'" in install
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (least,) = (name.split(">=")[1] for name in project["dependencies"] if name.startswith("ray>="))
    assert numbers(least) <= numbers(image[1])
    assert numbers(image[1])[0] == numbers(version("ray"))[0]
    assert (int(image[2]), int(image[3])) >= numbers(project["requires-python"].removeprefix(">="))
    assert any(name.startswith("ray[default]") for name in project["optional-dependencies"]["cluster"])


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def test_nodes_install_the_package_they_are_sent(config: dict[str, Any]):
    (target,) = (target for target, source in config["file_mounts"].items() if source == ".")
    (install,) = (command for command in config["setup_commands"] if "pip install" in command)
    assert f"'{target}[cluster]'" in install
    assert {"**/.git", "**/.venv", "/runs"} <= set(config["rsync_exclude"])
