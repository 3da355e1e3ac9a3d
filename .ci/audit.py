"""What the environment is made of, and what is known against it.

Writes dist/sbom.json (CycloneDX) and asks the service of pip-audit about every package in it. A service that knows
advisories is not reachable everywhere; then this says so and ends well, and tests/test_advisories.py stands in.
Ends with 1 if something is known against an installed version.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SBOM = Path("dist/sbom.json")
SECONDS = 120
TOOLS = ("pip", "setuptools")
"""Of the Python that made the environment; nothing of forge_ray needs them when it runs."""


def main() -> int:
    print(f"SBOM: {components()} packages in {SBOM}")
    found, why = audited()
    if not found:
        print(f"audit: not run: {why}; tests/advisories.json stands in")
        return 0
    known = [f"{each['name']} {each['version']}: {fault['id']}" for each in found for fault in each["vulns"]]
    print(f"audit: {len(found)} packages asked for, {len(known)} advisories", *known, sep="\n  ")
    return 1 if known else 0


def components() -> int:
    """Write the bill of materials; how many packages it has."""
    SBOM.parent.mkdir(exist_ok=True)
    command = ["cyclonedx_py", "environment", "--no-validate", "--pyproject", "pyproject.toml", "-o", str(SBOM)]
    subprocess.run([sys.executable, "-m", *command], check=True, stderr=subprocess.DEVNULL)
    return len(json.loads(SBOM.read_text())["components"])


def audited() -> tuple[list[dict[str, Any]], str]:
    """The packages that a service knows, with what it has against them; else why there are none.

    A mirror of a package index has the packages and no advisories: pip-audit then ends well and has skipped them all.
    """
    command = [sys.executable, "-m", "pip_audit", "--progress-spinner=off", "--skip-editable", "--format=json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return [], f"no answer within {SECONDS} s"
    if not done.stdout.startswith("{"):
        return [], done.stderr.strip().rpartition("\n")[2]
    packages = json.loads(done.stdout)["dependencies"]
    found = [package for package in packages if "vulns" in package and package["name"] not in TOOLS]
    return found, f"the service knows none of {len(packages)} packages"


if __name__ == "__main__":
    sys.exit(main())
