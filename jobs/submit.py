"""Submit a sweep to a Ray cluster, follow its log and end with its exit code (`ray job submit` always ends with 1).

    python jobs/submit.py jobs/quickstart.json --out /shared/runs --workers 32

Everything but --address, --id and --python is handed to jobs/sweep.py. The project's folder without what .rayignore
names is the job's working directory, so paths of jobs are relative to it. Ctrl-C or SIGTERM stops the job, which
commits what is finished; the same command goes on from there.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

# Clients do not follow the cluster's mode by themselves; Ray reads this when it is imported.
os.environ.setdefault("RAY_AUTH_MODE", "token")

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

ROOT = Path(__file__).resolve().parent.parent
STOPPED = 128 + signal.SIGTERM


def main() -> int:
    """Submit, follow, and return the exit code of the sweep."""
    options, sweep = parse(sys.argv[1:])
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    logging.disable(logging.WARNING)
    try:
        client = JobSubmissionClient(options.address)
        job = client.submit_job(
            entrypoint=shlex.join([options.python, "jobs/sweep.py", *sweep]),
            submission_id=options.id,
            runtime_env={"working_dir": str(ROOT)},
        )
    except (AuthenticationError, ConnectionError, RuntimeError) as error:
        print(f"error: {options.address}: {error}", file=sys.stderr)
        return 1
    print(f"job {job} at {options.address}", file=sys.stderr)
    try:
        follow(client, job)
    except KeyboardInterrupt:
        print(f"stopping job {job}; go on with: {shlex.join(['python', *sys.argv])}", file=sys.stderr)
        client.stop_job(job)
    return exit_code(ended(client, job))


def parse(given: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Own options, and those of the sweep."""
    parser = argparse.ArgumentParser(
        description="Submit a sweep and follow it; further options are those of `forge-ray run`.",
        usage="submit.py JOB --out FOLDER [--address URL] [--id ID] [--python PATH] [--workers N] ...",
        allow_abbrev=False,
    )
    address = os.environ.get("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:8265")
    parser.add_argument("--address", default=address, help="job API; default RAY_API_SERVER_ADDRESS, else %(default)s")
    parser.add_argument("--id", help="name of the job, for `ray job status|logs|stop`; default a random one")
    parser.add_argument("--python", default="python", help="interpreter on the cluster that has forge_ray installed")
    return parser.parse_known_args(given)


def follow(client: JobSubmissionClient, job: str) -> None:
    """Print the job's log until the job ends."""

    async def tail() -> None:
        async for lines in client.tail_job_logs(job):
            print(lines, end="", flush=True)

    try:
        asyncio.run(tail())
    except RuntimeError as error:
        print(f"lost the log ({error}); waiting for the end of the job", file=sys.stderr)


def ended(client: JobSubmissionClient, job: str) -> JobDetails:
    """The job once it has ended."""
    while not (details := client.get_job_info(job)).status.is_terminal():
        time.sleep(0.5)
    return details


def exit_code(details: JobDetails) -> int:
    """What the sweep ended with; 143 if it was stopped; 1 if it never began."""
    if details.status == "STOPPED":
        return STOPPED
    if details.driver_exit_code is None:
        print(f"error: {details.message}", file=sys.stderr)
        return 1
    return details.driver_exit_code


if __name__ == "__main__":
    sys.exit(main())
