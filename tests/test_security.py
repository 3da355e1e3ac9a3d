"""Trees, data and results may be hostile: no name becomes a path, no text is run, no file unpickled, no page changed.

What Python opens, runs, loads or connects to is watched with an audit hook. It does not see what Arrow opens, so every
file that a name must not lead to is there and would be read.
"""

from __future__ import annotations

import ast
import csv
import json
import os
import pickle
import shutil
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import html5lib
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import forge_ray as fr
from forge_ray import jsontext
from forge_ray.cluster.local import LocalExecutor
from forge_ray.data import check_market, load
from forge_ray.engine import kernel_cache
from forge_ray.errors import DataError, ForgeRayError, InputError
from forge_ray.report import page as report_page
from forge_ray.run import Run, backtest, data_cache, execute, prepare
from forge_ray.run.execution import Prepared
from forge_ray.store import LocalStore
from forge_ray.store.encode import locate
from forge_ray.sweep import parse_job, read_job
from forge_ray.tree import Where, parse_tree
from forge_ray.tree.importers import import_text
from hostile_texts import INJECTIONS, MARKUP, NAMES, SQL
from test_bad_input import DAYS, JOB, TREE, bars, make_run, write_bars
from test_report import gate

PACKAGE = Path(fr.__file__).parent
MEMORY = Path("/proc/meminfo")
"""Asked before work begins."""
EXECUTOR = LocalExecutor(1, 2**26)

# ---------------------------------------------------------------- what is watched

PATHS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.truncate",
         "os.chmod", "os.chown", "shutil.rmtree", "shutil.copyfile", "shutil.move", "sqlite3.connect")  # fmt: skip
NEVER = ("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect",
         "socket.getaddrinfo", "urllib.Request", "code.__new__", "ctypes.dlopen", "sqlite3.load_extension",
         "sqlite3.enable_load_extension")  # fmt: skip
WRITTEN = ("<unknown>", "<string>", "<stdin>", "<input>", "")
"""What code is called that comes from no file."""


class Watch:
    """What happened since it was begun. One hook for the process: hooks stay for ever."""

    def __init__(self) -> None:
        self.is_on = False
        self.paths: list[str] = []
        self.events: list[str] = []
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple) -> None:
        if not self.is_on:
            return
        if event in PATHS and isinstance(arguments[0], str | bytes):
            self.paths.append(os.fsdecode(arguments[0]).removeprefix("file://").partition("?")[0])
        elif event in NEVER or (event == "exec" and arguments[0].co_filename in WRITTEN):
            self.events.append(f"{event} {arguments}")


WATCH = Watch()


@contextmanager
def watched(*roots: Path) -> Iterator[Watch]:
    """Nothing runs, and nothing is opened but below these roots, Python, the package and its cache."""
    python = (Path(sys.prefix), Path(sys.base_prefix), Path(pl.__file__).parents[1])
    ours = (
        *roots,
        *python,
        PACKAGE,
        MEMORY,
        kernel_cache().folder,
        data_cache("panels").path,
        data_cache("tickers").path,
    )
    WATCH.paths, WATCH.events, WATCH.is_on = [], [], True
    try:
        yield WATCH
    finally:
        WATCH.is_on = False
    outside = [name for name in WATCH.paths if not any(is_below(name, root) for root in ours)]
    assert not outside
    assert not WATCH.events


def is_below(name: str, root: Path) -> bool:
    """With links followed."""
    with suppress(OSError, ValueError):
        return Path(name).resolve().is_relative_to(root.resolve())
    return False


def test_what_must_not_happen_is_seen(tmp_path: Path):
    """The hook is not blind."""
    (tmp_path / "link").symlink_to("/etc/hostname")
    trespasses: list[Callable[[], object]] = [
        lambda: (tmp_path / "link").read_bytes(),
        lambda: (tmp_path / ".." / ".." / "nothing").read_bytes(),
        lambda: sqlite3.connect("file:/etc/nothing?mode=ro", uri=True),
        lambda: pickle.loads(pickle.dumps(Path)),
        lambda: exec("1"),
        lambda: eval("1"),
        lambda: os.system("true"),
        lambda: socket.getaddrinfo("127.0.0.1", 1),
    ]
    for trespass in trespasses:
        with pytest.raises(AssertionError), watched(tmp_path), suppress(OSError, sqlite3.Error):
            trespass()


# ---------------------------------------------------------------- names and paths


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of data in which links, a pipe and a folder have the names of tickers; beside it lies what is meant."""
    home = tmp_path_factory.mktemp("market")
    data = home / "data"
    data.mkdir()
    outside = write_bars(home, "OUT", bars())
    write_bars(data, "GOOD", bars())
    (data / "OUT.parquet").symlink_to(outside)
    (data / "UP.parquet").symlink_to(Path("..") / "data" / ".." / "OUT.parquet")
    (data / "LOOP.parquet").symlink_to("LOOP.parquet")
    (data / "GONE.parquet").symlink_to("/nowhere/at/all.parquet")
    (data / "FOLDER.parquet").mkdir()
    os.mkfifo(data / "FIFO.parquet")
    return data


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Prepared, Path]:
    """A sweep of one branch, and the folder that has its run."""
    tree = {"id": "a", "kind": "position", "positions": ["AAPL"]}
    prepared, out = prepare(parse_job({"data": "sample:us20", "tree": tree})), tmp_path_factory.mktemp("runs")
    execute(prepared, EXECUTOR, out)
    return prepared, out


def test_there_are_sixty_names():
    assert len(set(NAMES)) == len(NAMES) >= 60


@pytest.mark.parametrize("name", NAMES, ids=[ascii(name[:20]) for name in NAMES])
def test_no_name_becomes_a_path(name: str, market: Path, small: tuple[Prepared, Path], tmp_path: Path):
    """As a ticker of a tree, a benchmark or a check; as a sample, a run, a part, a sink, a node."""
    prepared, out = small
    position: Any = {"id": "a", "kind": "position", "positions": [name]}
    uses: list[Callable[[], object]] = [
        lambda: load(str(market), [name]),
        lambda: load(str(market), ["GOOD"], carried={name: "benchmark"}),
        lambda: check_market(str(market), [name]),
        lambda: prepare(parse_job({"data": str(market), "tree": position})),
        lambda: open_sample(name),
        lambda: LocalStore.create_or_open(tmp_path, f"{name}/", b"{}", 1, 1),
        lambda: locate(tmp_path, name),
        lambda: locate(tmp_path, f"rows/{name}.parquet"),
        lambda: execute(prepared, EXECUTOR, out, sink=name),
        lambda: parse_tree({"id": f"{name}/", "kind": "position", "positions": ["GOOD"]}),
        lambda: parse_job({"data": str(market), "tree": {"id": "a", "kind": "call", "call": name}}),
    ]
    with watched(market, out, tmp_path):
        for use in uses:
            with pytest.raises(ForgeRayError) as caught:
                use()
            assert all(char.isprintable() or char == "\n" for char in str(caught.value))
    assert not list(tmp_path.iterdir())


def open_sample(name: str) -> object:
    return load(f"sample:../{name}", ["GOOD"])


def test_names_of_files_are_shown_without_what_a_terminal_obeys(tmp_path: Path):
    for name in ("\x1b[2J", "a\nb", "\u202eTUO", "<img src=x>"):
        write_bars(tmp_path, name, bars())
    with pytest.raises(DataError) as caught:
        load(str(tmp_path), ["OTHER"])
    assert "\x1b" not in str(caught.value) and "\u202e" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_key_in_the_name_of_a_source_is_not_told():
    with pytest.raises(DataError, match=r"'https://…@example\.org/bars\?…'") as caught:
        load("https://user:canary@example.org/bars?key=canary", ["GOOD"])
    assert "canary" not in str(caught.value)


# ---------------------------------------------------------------- text that is not run


@pytest.fixture(scope="module")
def run_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_run(tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("text", INJECTIONS, ids=[ascii(text[:30]) for text in INJECTIONS])
def test_a_condition_is_parsed_and_never_evaluated(text: str, run_path: str):
    """As a filter of rows and as a constraint of a space."""
    with watched(Path(run_path)), Run(run_path) as run:
        with pytest.raises(InputError, match=r"^where: "):
            run.top(where=text)
        with pytest.raises(InputError, match=r"where\[0\]: "):
            parse_job(JOB | {"where": [text]})


def test_forty_injections_and_conditions_that_look_like_some(run_path: str):
    assert len(set(INJECTIONS)) == len(INJECTIONS) >= 40
    with watched():
        assert Where("status == '; DROP TABLE results --'", ("status",)).names == ("status",)
        assert Where("n in (1, 2) and not n > 3 + -n * 2", ("n",)).names == ("n",)


def test_texts_reach_sqlite_as_values_only(tmp_path: Path):
    """Rows of trees that are named like statements, in both databases of a run."""
    position = {"id": "a", "kind": "position", "positions": ["AAPL"]}
    job = {
        "name": SQL[0],
        "data": {"source": "sample:us20", "start": "2022-06-01"},
        "trees": dict.fromkeys(SQL, position),
    }
    with watched(tmp_path):
        path = Path(execute(prepare(parse_job(job)), EXECUTOR, tmp_path, sink="sqlite").path)
    rows = sqlite3.connect(path / "results.sqlite").execute("SELECT tree FROM results ORDER BY branch").fetchall()
    assert [tree for (tree,) in rows] == list(SQL)
    with Run(path) as run:
        assert run.store.summary()["name"] == SQL[0] and run.frame()["tree"].to_list() == list(SQL)
        assert not run.store.verify()
        for text in SQL:
            with pytest.raises(InputError, match="unknown metric column"):
                run.top(text)


def test_readers_cannot_write_nor_be_told_to_by_a_schema(run_path: str):
    with Run(run_path) as run:
        connection = run.store._catalogue._sql
        assert connection.execute("PRAGMA query_only").fetchone() == (1,)
        assert connection.execute("PRAGMA trusted_schema").fetchone() == (0,)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM blocks")


def test_every_statement_is_a_constant_of_the_code():
    """Or has names of our own put in, of columns and marks that we made."""
    allowed = {"_HEADER", "_PART", "FORMAT", "columns", "marks", "name", "statement", "table", "both", "within"}
    calls = [call for file in sorted((PACKAGE / "store").glob("*.py")) for call in statements(file.read_text())]
    assert len(calls) > 20
    assert {name for call in calls for name in put_in(call.args[0])} <= allowed


@pytest.mark.parametrize(
    "text", ["f'SELECT {path}'", "'SELECT ' + path", "'SELECT %s' % path", "'{}'.format(path)", "path"]
)
def test_a_statement_that_is_put_together_is_seen(text: str):
    (call,) = statements(f"connection.execute({text})")
    assert put_in(call.args[0])


def statements(text: str) -> list[ast.Call]:
    """Calls that hand a statement to SQLite."""
    names = ("execute", "executemany", "executescript", "_all", "_one")
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    return [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr in names]


def put_in(statement: ast.expr) -> list[str]:
    """What a statement consists of that is no text of the code."""
    match statement:
        case ast.Constant():
            return []
        case ast.JoinedStr(values=values):
            return [ast.unparse(part.value) for part in values if isinstance(part, ast.FormattedValue)]
    return [ast.unparse(statement)]


# ---------------------------------------------------------------- no pickle

MODULES = {"pickle", "_pickle", "pickletools", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "yaml",
           "code", "codeop", "runpy", "xml"}  # fmt: skip
CALLS = {"eval", "exec", "compile", "__import__", "breakpoint"}
METHODS = {"read_pickle", "to_pickle", "load_module", "system", "popen", "eval", "query", "loads_pickle"}


def banned(text: str) -> list[str]:
    """What a module does that runs what it reads."""
    found = []
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=names):
                found += [alias.name for alias in names if alias.name.partition(".")[0] in MODULES]
            case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in MODULES:
                found.append(module)
            case ast.Call(func=ast.Name(id=name)) if name in CALLS:
                found.append(name)
            case ast.Call(func=ast.Attribute(value=value, attr=name)):
                is_numpy = isinstance(value, ast.Name) and value.id in ("np", "numpy")
                if name in METHODS or (is_numpy and name in ("load", "fromfile")):
                    found.append(f".{name}")
            case ast.keyword(arg="allow_pickle" | "shell" as name):
                found.append(name)
    return found


def test_the_package_has_nothing_that_runs_what_it_reads():
    assert {str(file): found for file in PACKAGE.rglob("*.py") if (found := banned(file.read_text()))} == {}


@pytest.mark.parametrize(
    "text",
    ["import pickle", "from joblib import load", "import cloudpickle as c", "eval('1')", "exec(x)", "np.load(f)",
     "compile(x, '', 'exec')", "f(allow_pickle=True)", "pd.read_pickle(f)", "frame.query('a')", "os.system('x')",
     "run(x, shell=True)"],
)  # fmt: skip
def test_the_ban_sees_it(text: str):
    assert banned(text)


class Bomb:
    """Whoever unpickles it runs code."""

    def __reduce__(self) -> tuple:
        return os.system, ("true",)


BOMB = pickle.dumps(Bomb())
EXTENSIONS = (
    "arrow.py_extension_type",
    *(f"ray.data.arrow_{name}" for name in ("tensor", "tensor_v2", "variable_shaped_tensor", "pickled_object")),
)


def with_extension(name: str, folder: Path) -> Path:
    """Bars with a column that asks for an extension type, and with pickled metadata of the file and of pandas."""
    table, pickled = pa.table(bars()), {"ARROW:extension:name": name, "ARROW:extension:metadata": BOMB}
    field = pa.field("Extra", pa.list_(pa.float64()), metadata=pickled)
    schema = pa.schema([*table.schema, field], metadata={"pandas": BOMB, "cleaned": BOMB})
    columns = [*table.columns, pa.array([[1.0]] * len(DAYS), pa.list_(pa.float64()))]
    pq.write_table(pa.table(columns, schema=schema), folder / "GOOD.parquet")
    return folder


def test_an_extension_type_of_a_file_is_not_unpickled(tmp_path: Path):
    for name in EXTENSIONS:
        with watched(tmp_path):
            assert load(str(with_extension(name, tmp_path)), ["GOOD"]).tickers == ("GOOD",)
            check_market(str(tmp_path), [])


def test_no_file_is_unpickled_whatever_it_is_taken_for(tmp_path: Path, run_path: str):
    for name in ("job.json", "GOOD.parquet", "GOOD.csv", "all.parquet", "all.csv", "all.csv.gz", "tree.json"):
        (tmp_path / name).write_bytes(BOMB)
    uses: list[Callable[[Path], object]] = [
        lambda at: read_job(at / "job.json"),
        lambda at: jsontext.read_file(at / "tree.json"),
        lambda at: load(str(at), ["GOOD"]),
        *(lambda at, name=name: load(str(at / name), ["GOOD"]) for name in ("all.parquet", "all.csv", "all.csv.gz")),
        lambda at: import_text(BOMB.decode("latin-1"), {}),
    ]
    for use in uses:
        with watched(tmp_path), pytest.raises(ForgeRayError):
            use(tmp_path)
    for name in ("catalog.sqlite", "sweep.json", "job.json", "rows"):
        run = tmp_path / name.replace(".", "_")
        shutil.copytree(run_path, run)
        for file in [run / name] if name != "rows" else list((run / name).iterdir()):
            file.write_bytes(BOMB)
        with watched(tmp_path), pytest.raises((ForgeRayError, UnicodeDecodeError)):
            read_all(run)


def read_all(path: Path) -> None:
    with Run(path) as run:
        assert run.spec and run.sweep() and len(run.frame())


# ---------------------------------------------------------------- pages


def job_with(names: tuple[str, ...]) -> dict[str, Any]:
    """A job with a name in every field that takes any text: its own, trees, titles, a text of a constraint."""
    tree = gate({"window": "$n", "threshold": 45}, "$stock")
    trees = {name: tree | {"title": names[-k], "bgColor": name} for k, name in enumerate(names)}
    where = "stock != " + repr(names[0].replace("\0", "").replace("\\", ""))
    return {
        "name": names[1],
        "data": {"source": "sample:us20", "start": "2021-01-01"},
        "benchmark": "SPX",
        "trees": trees,
        "axes": {"n": [2, 3], "stock": ["AAPL", "MSFT"]},
        "where": [where],
    }


def shape(html: str) -> list[tuple[str, tuple[str, ...]]]:
    """Elements with the names of their attributes, in order, as a browser builds them; no link leads anywhere."""
    found = []
    for element in html5lib.parse(html, namespaceHTMLElements=False).iter():
        found.append((str(element.tag), tuple(sorted(map(str, element.attrib)))))
        assert all(
            str(element.attrib.get(name, "#")).startswith("#") for name in ("href", "src", "action", "formaction")
        )
    return found


def pages_of(names: tuple[str, ...], out: Path) -> dict[str, str]:
    """Every page about a run: its report, and what a notebook shows of plan, run, branch and tree."""
    plan = fr.plan(job_with(names))
    path = Path(execute(plan.prepared, EXECUTOR, out).path)
    written = report_page.write_report(path, out / "report.html")
    with Run(path) as run:
        branches = [fr.open(path).branch(4 * k) for k in range(0, len(names), 9)]
        assert run.frame()["tree"].n_unique() == len(names)
    pages = {"report": Path(written.path).read_text(), "plan": plan._repr_html_(), "run": fr.open(path)._repr_html_()}
    return pages | {f"branch {k}": branch._repr_html_() for k, branch in enumerate(branches)}


def test_no_name_changes_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert len(set(MARKUP)) == len(MARKUP) >= 30
    monkeypatch.setattr(report_page, "get_plotlyjs", lambda: "/* drawn elsewhere */")
    plain = tuple(f"tree {k}" for k in range(len(MARKUP)))
    expected, found = (pages_of(names, tmp_path / str(k)) for k, names in enumerate((plain, MARKUP)))
    for name, page in found.items():
        assert shape(page) == shape(expected[name]), name
    report = html5lib.parse(found["report"], namespaceHTMLElements=False)
    policy = [element.attrib["content"] for element in report.iter("meta") if "http-equiv" in element.attrib]
    assert len(policy) == 1 and policy[0].startswith("default-src 'none'; script-src 'sha256-")
    texts = "\n".join(element.text or "" for element in report.iter() if element.tag != "style")
    told = texts + json.dumps(
        [json.loads(e.text) for e in report.iter("script") if e.attrib.get("type")], ensure_ascii=False
    )
    assert MARKUP[1] in texts, "the name of the job is told as it is"
    assert sum(name in told for name in MARKUP) > 5


# ---------------------------------------------------------------- tables for spreadsheets

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=cmd|'/C calc'!A0", '=HYPERLINK("http://x")', "|x", "%x")


@pytest.mark.parametrize("name", FORMULAS)
def test_no_ticker_is_a_formula(name: str):
    with pytest.raises(InputError, match=r"positions\[0\]"):
        parse_tree({"id": "a", "kind": "position", "positions": [name]})


def test_no_cell_of_an_exported_table_is_a_formula(tmp_path: Path):
    tree = {
        **TREE,
        "children": {**TREE["children"], "then": [{"id": "in", "kind": "position", "positions": ["^A=-1"]}]},
    }
    for ticker in ("^A=-1", "AAPL", "KO"):
        (tmp_path / "data").mkdir(exist_ok=True)
        days = pl.date_range(DAYS[0], DAYS[0].replace(year=2021), eager=True)
        closes = [10.0 + k % 7 for k in range(len(days))]
        pl.DataFrame({"Date": days, "Close": closes}).write_parquet(tmp_path / "data" / f"{ticker}.parquet")
    found = backtest(parse_job({"data": str(tmp_path / "data"), "tree": tree}), tmp_path / "out")
    tables = [file for file in found["files"] if file.endswith(".csv")]
    cells = [cell for file in tables for row in csv.reader(Path(file).read_text().splitlines()) for cell in row]
    assert "^A=-1" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r")) and not is_number(cell)]


def is_number(cell: str) -> bool:
    with suppress(ValueError):
        return float(cell) == float(cell)
    return False
