"""Command lines that are refused, one a line, words before the command being settings of the environment.

They run in a folder with a job of a space, a job and a tree of one branch, a text, an empty folder and two tables;
{run} is a finished run of 24 branches, {long} a name that no disk takes.
"""

from __future__ import annotations

import json
import shlex
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from forge_ray.cli import main as cli

COMMANDS = """
nothing
--nothing
run
run none.json --local
run empty --local
run text.txt --local
run job.json more --local
run job.json --local --workers 0
run job.json --local --workers -1
run job.json --local --workers two
run job.json --local --workers 1.5
run job.json --local --workers
run job.json --local --out text.txt
run job.json --local --address 127.0.0.1:6379 --allow-unauthenticated
needle one.json --local --address auto
run job.json --local --out {long}
RAY_AUTH_TOKEN_PATH=text.txt/token run job.json
RAY_AUTH_TOKEN_PATH=text.txt/token pool start
top {long}
status {long}
status text.txt
run job.json --local --sink mysql
run job.json --local --sink ../x
run job.json --local --set keep
run job.json --local --set =1
run job.json --local --set nothing=1
run job.json --local --set execution.lag=-1
run job.json --local --set data=/nowhere
run job.json --local --frsh
run job.json --local --fresh=yes
RAY_AUTH_MODE=disabled run job.json --set execution.lag=7
RAY_AUTH_MODE=disabled pool start --workers 1
FORGE_RAY_POOL=text.txt/pool run job.json --set execution.lag=7
FORGE_RAY_POOL=text.txt pool status
FORGE_RAY_POOL=text.txt pool start
FORGE_RAY_POOL=text.txt pool stop
plan none.json
plan tree.json
plan job.json --set
plane job.json
plane job.json --metric sharpe
plane job.json --out none/x.npz
plane job.json --out x.csv
validate
validate none.json
validate empty
validate text.txt
validate /dev/null
import none.json
import text.txt
import empty
import tree.json --option composer
import tree.json --option composer.rsi=odd
import tree.json --option nothing.x=1
export
export job.json --to atlas
export tree.json --to forge
export tree.json
export none.json --to atlas
export one.json --to atlas -o none/x.json
atoms none.json
atoms text.txt
top
top none
top empty
top job.json
top {run} -n 0
top {run} -n -1
top {run} -n many
top {run} -n 1000001
top {run} --by sharpe
top {run} --by is_sharp
top {run} --where 'is_sharpe >'
top {run} --where ''
top {run} --where 'open(1) > 2'
show
show {run}
show {run} -1
show {run} 24
show {run} one
show {run} 99999999999999999999999
show none 1
report none
report {run} -o none/x.html
report {run} -o empty
explain one.json
explain one.json 2020-13-01
explain one.json yesterday
explain one.json 1900-01-01
explain job.json 2020-01-02
explain none.json 2020-01-02
explain {run} 2020-01-02
explain {run} 99 2020-01-02
explain {run} x 2020-01-02
explain {run} 1 2020-01-02 --data sample:us20
explain {run} 1 2020-01-02 --set keep=all
compare one.json
compare one.json none.csv
compare one.json bad.csv
compare one.json w.csv --shift x
compare one.json w.csv --shift 5000
compare one.json w.csv --tolerance -1
compare one.json w.csv --tolerance nan
compare one.json w.csv --unit euro
compare one.json w.csv --option ticker
compare one.json w.csv -n -1
backtest one.json
backtest job.json -o out
backtest none.json -o out
today job.json
today none.json
today one.json --data none
today tree.json --data sample:none
needle one.json --local --changes 4
needle one.json --local --changes 0
needle one.json --local --neighbours 0
needle one.json --local --neighbours x
needle one.json --local --window 20
needle one.json --local --threshold x
needle one.json --local --seed -1
needle job.json --local
audit one.json --cuts 0
audit one.json --seed -1
audit job.json
audit none.json
data check
data check none
data check text.txt
data check empty
data check sample:none
data check sample:us20 --tickers NONE
data check sample:us20 --start yesterday
data check sample:us20 --end 2020-02-30
data check sample:us20 --columns Close
data check sample:us20 --columns Nothing=x
data check sample:us20 --columns Close=a --columns Close=b
pool begin
pool start --workers 0
pool start --cache 0
pool start --cache x
doctor more
doctor --out
""".strip().splitlines()


def set_out(folder: Path, job: dict[str, Any]) -> None:
    """The files that the commands name."""
    (folder / "job.json").write_text(json.dumps(job))
    (folder / "one.json").write_text(json.dumps({key: job[key] for key in job if key not in ("axes", "where")}))
    (folder / "tree.json").write_text(json.dumps(job["tree"]))
    (folder / "text.txt").write_text("hello")
    (folder / "empty").mkdir()
    (folder / "w.csv").write_text("Date,AAPL\n2020-01-02,1\n")
    (folder / "bad.csv").write_text("a,b\n1,2\n")


def refused(command: str, run: str, folder: Path) -> list[str]:
    """What a command says against itself, line by line. It must end with 2, and print nothing on stdout."""
    words = shlex.split(command.replace("{run}", run).replace("{long}", "x" * 300))
    n_settings = next(k for k, word in enumerate([*words, ""]) if not word.partition("=")[0].isupper())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["forge-ray", *words[n_settings:]])
        patch.delenv("RAY_ADDRESS", raising=False)
        for name, _, value in (word.partition("=") for word in words[:n_settings]):
            patch.setenv(name, value)
        with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
            code = cli.command()
    assert (code, out.getvalue()) == (2, ""), err.getvalue()
    notes, error, text = err.getvalue().rpartition("error: ")
    assert error and "Traceback" not in notes
    return text.splitlines()
