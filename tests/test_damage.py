"""Flipped bits and cut files: no reader of ours ever shows wrong data, `verify` names the place, `repair` mends it.

The campaign: ``python -m pytest --campaign tests/test_damage.py`` (5,000 flips and truncations).
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import sys
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import forge_ray as fr
from forge_ray.cli.main import command
from forge_ray.cluster.local import LocalExecutor
from forge_ray.cluster.work import Done
from forge_ray.errors import (
    CorruptPartError,
    ForgeRayError,
    NondeterminismError,
    ReplacedError,
    StoreError,
    StoreLockedError,
)
from forge_ray.report import write_report
from forge_ray.run import Result, Run, Watch, branch_sweep, execute, explain_decision, prepare, repair, verify
from forge_ray.store import LocalStore, SqliteSink, damaged_copies
from forge_ray.sweep import Sweep
from test_store import _flipped

CACHE, BLOCK, BRANCH = 32 * 2**20, 16, 37
N_DAYS = 300


def market(seed: int = 1) -> pl.DataFrame:
    chance = np.random.default_rng(seed)
    days = pl.date_range(pl.date(2020, 1, 1), pl.date(2020, 1, 1) + pl.duration(days=N_DAYS - 1), eager=True)
    walks = {ticker: 50 * np.exp(np.cumsum(chance.normal(0, 0.01, N_DAYS))) for ticker in ("A", "B")}
    return pl.concat(pl.DataFrame({"Date": days, "Ticker": name, "Close": walk}) for name, walk in walks.items())


def sweep(data: pl.DataFrame | str | None = None) -> Sweep:
    stock = fr.axis("stock", ["A", "B"])
    dip = fr.rsi(stock, fr.axis("n", "2..9")) < fr.axis("low", "20..60 by 5")
    return fr.sweep(fr.if_(dip, fr.hold(stock), fr.cash()), data=market() if data is None else data)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A finished run of nine blocks, with its market, for it came from memory, and its SQLite table."""
    folder = tmp_path_factory.mktemp("original")
    return execute(prepare(sweep()), LocalExecutor(1, CACHE), folder, block_size=BLOCK, sink="sqlite")


@pytest.fixture
def run(original: Result, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(original.path, tmp_path / original.run_id))


def parts(run: Path) -> list[Path]:
    return sorted(run.glob("rows/*"))


def cli(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["forge-ray", *map(str, arguments)])
        code = command()
    out, err = capsys.readouterr()
    return code, out, err


# ---------------------------------------------------------------- every reader


def _with_run(read: Callable[[Run], Any]) -> Callable[[Path], Any]:
    def opened(path: Path) -> Any:
        with Run(path) as run:
            return read(run)

    return opened


def _copied(path: Path) -> list[tuple]:
    """What the SQLite table would hold if it were made now."""
    for file in path.glob("results.sqlite*"):
        file.unlink()
    with closing(LocalStore.read(path)) as store, closing(SqliteSink(store)) as sink:
        sink.catch_up()
        with closing(sqlite3.connect(sink.path)) as connection:
            return connection.execute("SELECT * FROM results ORDER BY branch").fetchall()


def _shown(run: Any) -> tuple[str, str]:
    with run:
        return run._repr_html_(), repr(run)


def _report(path: Path) -> bytes:
    return Path(write_report(path).path).read_bytes()


READERS: dict[str, Callable[[Path], Any]] = {
    "top": _with_run(lambda run: run.top(n=5).rows()),
    "frame": _with_run(lambda run: run.frame().rows()),
    "show": _with_run(lambda run: run.branch(BRANCH)),
    "notebook": lambda path: _shown(fr.open(path)),
    "sql": _copied,
    "explain, compare": _with_run(lambda run: explain_decision(branch_sweep(run, BRANCH), None)),
    "report": _report,
}
SELDOM, OFTEN = ("explain, compare", "sql", "report"), ("top", "frame", "show", "notebook")


def _draw(chance: random.Random, run: Path) -> tuple[Path, bytes]:
    """A file of the run and what is left of it."""
    kinds = (parts(run), [run / "catalog.sqlite"], [run / "sweep.json", run / "job.json", run / "market.parquet"])
    file = chance.choice(chance.choices(kinds, (5, 3, 2))[0])
    data = file.read_bytes()
    if chance.random() < 0.7:
        return file, _flipped(data, chance.randrange(8 * len(data)))
    return file, data[: chance.randrange(len(data))]


def test_damage_is_an_error_of_every_reader_or_does_not_matter(run, rounds, landed):
    chance, wrong = random.Random(21), []
    expected = {name: read(run) for name, read in READERS.items()}
    for k in range(rounds(400, 5_000)):
        name = SELDOM[k // 12 % 3] if k % 12 == 0 else OFTEN[k % len(OFTEN)]
        file, damaged = _draw(chance, run)
        sound, kind = file.read_bytes(), file.parent.name if file.parent.name == "rows" else file.name
        file.write_bytes(damaged)
        try:
            found = READERS[name](run)
        except ForgeRayError as error:
            landed[f"{kind} refused"] += 1
            if not _is_told(str(error), file, run):
                wrong.append((k, name, kind, str(error)))
        else:
            landed[f"{kind} not read there"] += 1
            if found != expected[name]:
                wrong.append((k, name, kind, "SILENTLY WRONG"))
        if kind != "catalog.sqlite" and k % 8 == 0 and str(file) not in {one.file for one in verify(run).damaged}:
            wrong.append((k, "verify", kind, "not found"))
        file.write_bytes(sound)
    assert not wrong, f"{len(wrong)}: {wrong[:5]}"
    assert {name for name in landed if name.endswith("refused")} == {
        f"{kind} refused" for kind in ("rows", "catalog.sqlite", "sweep.json", "job.json", "market.parquet")
    }


def _is_told(text: str, file: Path, run: Path) -> bool:
    """Whether an error names the file, of a part also the block, and what to do."""
    if file.parent.name == "rows":
        lo, hi, _ = file.stem.split("-")
        return f"{file}: block [{lo}, {hi}): " in text and f"`forge-ray repair {run}`" in text
    return (str(file) in text or str(run) in text) and ("forge-ray" in text or "job again" in text or "free" in text)


@pytest.mark.parametrize("command", [("top",), ("show", BRANCH), ("report",), ("explain", BRANCH, "2020-06-01")])
def test_commands_end_with_an_error_that_tells_what_helps(run, command, capsys):
    for file in (*parts(run), run / "job.json"):
        file.write_bytes(file.read_bytes()[:-1])
    name, *rest = command
    code, out, err = cli(capsys, name, run, *rest)
    assert (code, out) == (1, "")
    assert "forge-ray repair" in err or "`forge-ray run` with the job" in err


# ---------------------------------------------------------------- verify and repair


def test_repair_computes_exactly_the_bad_blocks(run, capsys):
    before = {file.name: file.read_bytes() for file in parts(run)}
    expected = READERS["frame"](run)
    cut, flipped, gone, *sound = parts(run)
    cut.write_bytes(before[cut.name][:100])
    flipped.write_bytes(_flipped(before[flipped.name], 4_000))
    gone.unlink()
    (run / "sweep.json").write_text("{}")
    code, out, _ = cli(capsys, "verify", run)
    assert code == 1
    assert all(str(file) in out for file in (cut, flipped, gone, run / "sweep.json"))
    assert "3 blocks damaged" in out
    assert f"`forge-ray repair {run}`" in out
    code, out, _ = cli(capsys, "repair", run, "--json")
    blocks = [[int(n) for n in file.stem.split("-")[:2]] for file in (cut, flipped, gone)]
    assert code == 0
    assert json.loads(out)["blocks"] == sorted(blocks)
    assert json.loads(out)["left"] == []
    assert cli(capsys, "verify", run)[0] == 0
    assert READERS["frame"](run) == expected
    assert all(file.read_bytes() == before[file.name] for file in sound)
    assert len(parts(run)) == len(before)
    again = repair(run, LocalExecutor(1, CACHE))
    assert (again.blocks, again.copied, again.left) == ((), False, ())


def test_lost_folder_of_rows_is_computed_again(run):
    expected = READERS["frame"](run)
    shutil.rmtree(run / "rows")
    assert len(repair(run, LocalExecutor(1, CACHE)).blocks) == 9
    assert READERS["frame"](run) == expected


def test_copy_with_other_rows_is_found_and_made_anew(run):
    sound = READERS["sql"](run)
    changes = (
        "UPDATE results SET full_sharpe = full_sharpe + 1e-9 WHERE branch = 20",
        "DELETE FROM results WHERE branch = 90",
        "INSERT INTO results (branch) VALUES (100000)",
        "DROP TABLE results",
    )
    for change in changes:
        with closing(sqlite3.connect(run / "results.sqlite")) as direct, direct:
            direct.execute(change)
        assert verify(run).damaged
        assert repair(run, LocalExecutor(1, CACHE)).copied
        assert verify(run).damaged == ()
    (run / "results.sqlite").write_bytes(b"no database, but as long as one" * 200)
    assert "not a database" in str(verify(run).damaged[0])
    repair(run, LocalExecutor(1, CACHE))
    with closing(sqlite3.connect(run / "results.sqlite")) as connection:
        assert connection.execute("SELECT * FROM results ORDER BY branch").fetchall() == sound


def test_a_run_that_starts_over_while_it_is_read_is_told_as_that_and_not_as_damage(run):
    with closing(LocalStore.read(run)) as store:
        tables = store.scan(["branch"])
        next(tables)
        execute(prepare(sweep()), LocalExecutor(1, CACHE), run.parent, block_size=BLOCK, fresh=True)
        with pytest.raises(ReplacedError, match=r"was computed anew while it was read; read it again$"):
            next(tables)
        assert len(list(store.scan(["branch"]))) == len(store.parts()) and store.verify() == []


def test_a_look_at_a_run_that_starts_over_is_one_at_the_new_one(run, monkeypatch):
    watch, parts_of = Watch(run), LocalStore.parts

    def then_starts_over(store: LocalStore):
        found = parts_of(store)
        monkeypatch.undo()
        execute(prepare(sweep()), LocalExecutor(1, CACHE), run.parent, block_size=BLOCK, fresh=True)
        return found

    monkeypatch.setattr(LocalStore, "parts", then_starts_over)
    status = watch.look()
    assert status.state == "done" and status.best is not None


def test_a_catalogue_that_names_a_file_elsewhere_leads_nowhere(run, tmp_path):
    (tmp_path / "secret").write_text("a password")
    with closing(LocalStore.reopen(run)) as store, store._catalogue.writing():
        store._catalogue.keep_files(store._catalogue.files() | {"../secret": "0" * 64})
    with pytest.raises(CorruptPartError, match=r"catalog\.sqlite: keeps '\.\./secret'"), Run(run) as opened:
        opened.sweep()
    assert "keeps '../secret'" in str(verify(run).damaged[0])


def test_decisions_of_a_branch_are_not_told_from_other_data(tmp_path):
    file = tmp_path / "bars.parquet"
    market().write_parquet(file)
    result = execute(prepare(sweep(str(file))), LocalExecutor(1, CACHE), tmp_path)
    with Run(result.path) as opened:
        explain_decision(branch_sweep(opened, BRANCH), None)
    market(seed=2).write_parquet(file)
    with Run(result.path) as opened, pytest.raises(StoreError, match=r"have changed, and its decisions with them"):
        branch_sweep(opened, BRANCH)


def test_copy_follows_a_replaced_part(run):
    parts(run)[0].unlink()
    repair(run, LocalExecutor(1, CACHE))
    with closing(LocalStore.read(run)) as store, closing(sqlite3.connect(run / "results.sqlite")) as copy:
        assert {path for (path,) in copy.execute("SELECT part FROM blocks")} == {part.path for part in store.parts()}
        assert damaged_copies(store) == []


@pytest.mark.parametrize("name", ["job.json", "market.parquet"])
def test_what_cannot_be_computed_is_left_and_the_same_job_writes_it_again(run, name, capsys):
    (run / name).write_bytes((run / name).read_bytes()[:-7])
    code, out, _ = cli(capsys, "repair", run)
    assert code == 1
    assert str(run / name) in out
    assert "`forge-ray run` with the job that made this run writes it again" in out
    execute(prepare(sweep()), LocalExecutor(1, CACHE), run.parent)
    assert verify(run).damaged == ()


def test_damaged_catalogue_is_said_plainly_and_nothing_is_removed(run, capsys):
    names, catalogue = {file.name for file in parts(run)}, run / "catalog.sqlite"
    place = catalogue.read_bytes().index(b'"content":"')
    catalogue.write_bytes(_flipped(catalogue.read_bytes(), 8 * (place + 15)))
    for name in ("verify", "repair", "top"):
        code, _, err = cli(capsys, name, run)
        assert code == 1
        assert f"{catalogue}: damaged" in err
        assert "restore it from a copy, or remove the folder and run the job again" in err
    with pytest.raises(CorruptPartError):
        execute(prepare(sweep()), LocalExecutor(1, CACHE), run.parent)
    assert {file.name for file in parts(run)} == names
    catalogue.unlink()
    code, _, err = cli(capsys, "verify", run)
    assert (code, "there are rows" in err) == (2, True)


@pytest.mark.parametrize("near", ['"size":', '"totals":{"', '"summary":"', '"files":{"', '"counts":{"', '"sha256":"'])
def test_altered_record_of_the_catalogue_is_noticed_by_whoever_opens_the_run(run, near):
    catalogue = run / "catalog.sqlite"
    data = catalogue.read_bytes()
    for place in range(data.index(near.encode()), data.index(near.encode()) + len(near) + 4):
        catalogue.write_bytes(_flipped(data, 8 * place))
        with pytest.raises(CorruptPartError, match=r"damaged: the record of .* was altered"):
            Run(run)


def test_block_that_vanished_from_the_catalogue_is_missed(run):
    with closing(sqlite3.connect(run / "catalog.sqlite")) as direct, direct:
        direct.execute("DELETE FROM blocks WHERE lo = 32")
    with pytest.raises(CorruptPartError, match="8 blocks that are not the 9 committed ones"):
        Run(run)


def test_repair_refuses_a_run_that_is_held_or_that_its_job_no_longer_gives(run, monkeypatch):
    parts(run)[0].unlink()
    with closing(LocalStore.reopen(run)), pytest.raises(StoreLockedError, match="held by process"):
        repair(run, LocalExecutor(1, CACHE))
    monkeypatch.setattr(Sweep, "run_id", lambda search, fingerprint: "another")
    with pytest.raises(StoreError, match=r"its job now gives run .* only what made a block can make it again"):
        repair(run, LocalExecutor(1, CACHE))


def test_repaired_block_with_other_content_is_refused(run):
    parts(run)[0].unlink()

    other = prepare(sweep(market(2))).bound

    class Wrong(LocalExecutor):
        def run(self, bound, blocks) -> Generator[Done]:
            return super().run(other, blocks)

    with pytest.raises(NondeterminismError, match=r"block \[0, 16\)"):
        repair(run, Wrong(1, CACHE))
    assert len(verify(run).damaged) == 1


def test_repair_of_an_unfinished_run_mends_what_is_there_and_computes_nothing_else(tmp_path):
    class EnoughError(Exception):
        pass

    def stop(progress: Any) -> None:
        if progress.branches >= 3 * BLOCK:
            raise EnoughError

    prepared = prepare(sweep())
    with pytest.raises(EnoughError):
        execute(prepared, LocalExecutor(1, CACHE), tmp_path, block_size=BLOCK, on_progress=stop)
    run = tmp_path / prepared.run_id
    parts(run)[1].unlink()
    found = repair(run, LocalExecutor(1, CACHE))
    assert (len(found.blocks), found.left, verify(run).blocks) == (1, (), 3)
