"""`forge-ray` for `test_driver_faults.py` to interrupt: on threads, all blocks but the first few take their time.

``python slow_driver.py QUICK SECONDS run JOB --local …`` — QUICK blocks as they are, SECONDS more for each other one.
"""

from __future__ import annotations

import sys
import time
from itertools import count
from unittest import mock

from forge_ray.cli.main import main
from forge_ray.cluster.work import do


def slowed(quick: int, seconds: float):
    numbers = count()

    def slow(*arguments):
        if next(numbers) >= quick:
            time.sleep(seconds)
        return do(*arguments)

    return slow


if __name__ == "__main__":
    quick, seconds = int(sys.argv[1]), float(sys.argv[2])
    del sys.argv[1:3]
    with mock.patch("forge_ray.cluster.local.do", slowed(quick, seconds)):
        main()
