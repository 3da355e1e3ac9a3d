"""Entry point of a submitted job: runs one sweep on the cluster that the job is part of.

    ray job submit --working-dir . -- python jobs/sweep.py jobs/quickstart.json --out /shared/runs --workers 32

Takes the arguments of `forge-ray run`. Progress goes to the log as plain lines; the last line of a finished run is its
result as JSON. Ends with the exit code of `forge-ray`: 0 done, 2 bad input, 3 nothing passed (with --strict),
4 incomplete, 143 stopped. A job that is stopped commits what is finished; the same submission goes on from there.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path

from forge_ray.cli.main import main as forge_ray


def main() -> None:
    """Check what only a submitted job needs, then run."""
    sys.argv = ["forge-ray", "run", *arguments(sys.argv[1:]), "--json"]
    stdout = io.StringIO()
    try:
        with redirect_stdout(stdout):
            forge_ray()
    finally:
        if result := stdout.getvalue():
            print(json.dumps(json.loads(result)), flush=True)


def arguments(given: list[str]) -> list[str]:
    """The arguments of `forge-ray run`. Exits with 2 if the results would not outlive the job, or without a cluster."""
    parser = argparse.ArgumentParser(
        description="Run a sweep inside a Ray job; further options are those of `forge-ray run`.",
        usage="sweep.py JOB --out FOLDER [--workers N] ...",
        allow_abbrev=False,
    )
    parser.add_argument("--out", type=Path, required=True, help="where runs are stored, absolute; the driver's disk")
    known, others = parser.parse_known_args(given)
    if not known.out.is_absolute():
        parser.error(f"--out {known.out}: must be absolute, as the job's own folder is deleted with the job")
    if "RAY_ADDRESS" not in os.environ:
        parser.error("RAY_ADDRESS is not set: submit this with `ray job submit` or jobs/submit.py")
    return [*others, "--out", str(known.out)]


if __name__ == "__main__":
    main()
