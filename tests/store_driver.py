"""A driver for `test_store.py` to kill: commits every missing block, and says before each step what comes next.

``python store_driver.py ROOT [STAGE N SIGNAL]`` — with a stage, it sends itself the signal in its n-th visit.
``python store_driver.py --serve`` reads such arguments line by line, with what to do before them (`commit`, `repair`),
does it in a process that it forks, so that nothing is imported again, and says how that ended.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import closing
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa

from forge_ray.store import LocalStore, Receipt, encode, write_part
from forge_ray.store.catalogue import Catalogue

BLOCK, SIZE, RUN_ID, SPEC = 50, 4_990, "feed", b'{"what": "searched"}'
STAGES = ("creating", "writing", "written", "committing", "committed")
REPAIR_STAGES = ("writing", "written", "replacing", "removing", "replaced")


def rows(lo: int, hi: int) -> pa.Table:
    """Rows that are a function of the branch number."""
    branches = np.arange(lo, hi)
    paths = [int(b % 7).to_bytes(16, "little") for b in branches]
    score = pa.array(np.where(branches % 11 == 0, np.nan, np.sin(branches)), from_pandas=True)
    status = pa.array(["ok"] * len(branches))
    return pa.table(
        {
            "branch": branches,
            "path": pa.array(paths, pa.binary(16)),
            "status": status,
            "passed": pa.array(branches % 3 == 0),
            "full_sharpe": score,
        }
    )


def receipt(store: LocalStore, lo: int, hi: int, table: pa.Table, attempt: str) -> Receipt:
    """What a worker hands back after it wrote the rows."""
    part = write_part(store.path, "rows", lo, hi, attempt, table)
    passed = sum(table["passed"].to_pylist())
    return Receipt(lo, hi, (part,), {"branches": hi - lo, "ok": hi - lo, "passed": passed}, 0.25)


class Stages:
    """Announces stages on stdout and signals itself in the chosen one.

    Lines are so long that the pipe holds a few dozen: a driver never runs far ahead of who reads what it says.
    """

    def __init__(self, stage: str = "", nth: int = 0, signal_name: str = "SIGKILL"):
        self.stage, self.left, self.signal = stage, nth, signal.Signals[signal_name]

    def enter(self, stage: str) -> None:
        os.write(1, f"{stage:<2047}\n".encode())
        self.left -= stage == self.stage
        if stage == self.stage and self.left == 0:
            os.kill(os.getpid(), self.signal)

    def before(self, stage: str, function):
        def announced(*arguments):
            self.enter(stage)
            return function(*arguments)

        return announced

    def after(self, stage: str, function):
        def announced(*arguments):
            function(*arguments)
            self.enter(stage)

        return announced


def main(root: str, stage: str = "", nth: str = "0", signal_name: str = "SIGKILL") -> None:
    stages = Stages(stage, int(nth), signal_name)
    with (
        mock.patch.object(Catalogue, "create", stages.before("creating", Catalogue.create)),
        mock.patch.object(Catalogue, "insert", stages.after("committing", Catalogue.insert)),
        closing(LocalStore.create_or_open(Path(root), RUN_ID, SPEC, BLOCK, SIZE)) as store,
    ):
        for lo, hi in store.missing():
            with mock.patch("os.fsync", stages.before("writing", os.fsync)):
                done = receipt(store, lo, hi, rows(lo, hi), str(store.epoch))
            stages.enter("written")
            store.commit([done])
            stages.enter("committed")
        store.finish({"branches": store.counts()["branches"]})


def repair(root: str, stage: str = "", nth: str = "0", signal_name: str = "SIGKILL") -> None:
    """Put a new file in the place of each damaged one."""
    stages = Stages(stage, int(nth), signal_name)
    with closing(LocalStore.reopen(Path(root) / RUN_ID)) as store:
        for lo, hi in [damage.block for damage in store.verify() if damage.block]:
            with mock.patch("os.fsync", stages.before("writing", os.fsync)):
                again = receipt(store, lo, hi, rows(lo, hi), str(store.epoch))
            stages.enter("written")
            with (
                mock.patch.object(Catalogue, "replace_parts", stages.after("replacing", Catalogue.replace_parts)),
                mock.patch.object(LocalStore, "_remove", stages.before("removing", LocalStore._remove)),
            ):
                store.replace(again)
            stages.enter("replaced")


def serve() -> None:
    encode(rows(0, 1))  # what Arrow imports when it is first used
    for line in sys.stdin:
        what, *arguments = line.split()
        child = os.fork()
        if child == 0:
            {"commit": main, "repair": repair}[what](*arguments)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.write(1, f"ended {code}\n".encode())


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["--serve"] else main(*sys.argv[1:])
