"""The report: small, offline, right in its numbers, safe against hostile names, every panel drawn by a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import closing
from datetime import date, timedelta
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from plotly.offline import get_plotlyjs

from forge_ray.cluster.local import LocalExecutor
from forge_ray.engine import Cache, branch_bars
from forge_ray.errors import InputError
from forge_ray.kernels.elementary import exp
from forge_ray.report import PANELS, write_report
from forge_ray.report.page import script_json
from forge_ray.report.panel import numbers
from forge_ray.report.panels.equity import MAX_POINTS
from forge_ray.report.panels.heatmap import MAX_CELLS, STATISTICS, Dimension, group_limit, heatmap
from forge_ray.report.panels.overview import overview
from forge_ray.report.panels.stability import spearman, stability
from forge_ray.report.subject import STUDIED, read_subject
from forge_ray.run import Run, execute, prepare
from forge_ray.store import LocalStore
from forge_ray.sweep import parse_job

CACHE = 64 * 2**20
MAX_BYTES = 8_000_000
IDS = tuple(panel.__name__ for panel in PANELS)
HOSTILE = "</script><script>document.title='owned'</script><b>bold</b>&amp;\u2028<img src=x onerror=alert(2)>"
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


def gate(dip: Mapping[str, object], stock: str) -> dict:
    return {
        "id": "gate",
        "kind": "indicator",
        "conditions": [{"id": "dip", "metric": "RSI", "ticker": stock, "comparator": "lt", **dip}],
        "children": {
            "then": [{"id": "in", "kind": "position", "positions": [stock]}],
            "else": [{"id": "out", "kind": "position", "positions": ["CASH"]}],
        },
    }


def hold(stock: str) -> dict:
    return {"id": "hold", "kind": "position", "positions": [stock]}


JOB = {
    "name": "dips",
    "data": {"source": "sample:us20", "start": "2015-01-01"},
    "benchmark": "SPX",
    "tree": gate({"window": "$n", "threshold": "$low"}, "$stock"),
    "axes": {"n": "2..9", "low": "20..60 by 5", "stock": ["AAPL", "MSFT", "XOM"]},
    "where": ["n > 2 or low > 30"],
    "require": {"is.max_drawdown": "<= 25%", "is.time_in_market": ">= 5%"},
}
NO_AXES = {"name": "two trees", "data": "sample:us20", "trees": {"a": hold("AAPL"), "m": hold("MSFT")}}
VARIANTS: dict[str, dict] = {
    "full": JOB,
    "no axes": NO_AXES,
    "one branch": {"data": "sample:us20", "tree": hold("AAPL")},
    "one axis": JOB | {"tree": gate({"window": "$n", "threshold": 30}, "AAPL"), "axes": {"n": "2..9"}, "where": []},
    "no split": JOB | {"split": "none", "require": {"full.max_drawdown": "<= 25%"}},
    "interleaved": JOB | {"split": "even_odd_month"},
    "no benchmark": {key: value for key, value in JOB.items() if key != "benchmark"},
    "none passes": JOB | {"keep": "passing", "require": {"is.sharpe": ">= 50"}},
    "none passes, all kept": JOB | {"require": {"is.sharpe": ">= 50"}},
    "never traded": {"data": "sample:us20", "tree": gate({"window": 3, "threshold": -1}, "XOM"), "benchmark": "SPX"},
}


def run_of(job: Mapping[str, object], out: Path) -> Path:
    return Path(execute(prepare(parse_job(dict(job))), LocalExecutor(1, CACHE), out).path)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("runs")
    return {name: run_of(job, out) for name, job in VARIANTS.items()}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose job, trees, benchmark and data folder have names that try to be markup."""
    folder = tmp_path_factory.mktemp("<b>data & more")
    tickers = ["A", "B", "<img src=x onerror=alert(1)>"]
    days = [date(2020, 1, 1) + timedelta(days=k) for k in range(400)]
    random = np.random.default_rng(5)
    for ticker in tickers:
        close = 100 * np.exp(np.cumsum(random.normal(0, 0.01, len(days))))
        pl.DataFrame({"Date": days, "Close": close}).write_parquet(folder / f"{ticker}.parquet")
    dip = {"window": "$n", "threshold": 45}
    job = {
        "name": HOSTILE,
        "data": str(folder),
        "benchmark": tickers[2],
        "trees": {HOSTILE: gate(dip, "$stock"), "<i>%{x} $x$</i>": gate(dip, "B")},
        "axes": {"n": "2..5", "stock": ["A", "B"]},
        "where": ["n<9"],
    }
    return run_of(job, tmp_path_factory.mktemp("hostile"))


class Page(HTMLParser):
    """Elements, attributes and text of a page; scripts by type."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif not self.open or self.open[-1] != "style":
            self.texts.append(data)

    @property
    def data(self) -> dict[str, dict]:
        """The JSON of every panel that is drawn, by panel."""
        return {
            str(attrs["id"]).removesuffix("-data"): json.loads(text)
            for attrs, text in self.scripts
            if attrs.get("type") == "application/json"
        }


def page_of(run: Path, tmp_path: Path) -> Page:
    written = write_report(run, tmp_path / "report.html")
    assert written.panels == IDS
    assert written.bytes < MAX_BYTES
    text = Path(written.path).read_text(encoding="utf-8")
    assert len(text.encode()) == written.bytes
    return Page(text)


# the numbers


@pytest.mark.parametrize("name", ["full", "interleaved", "no axes", "never traded"])
def test_bars_of_a_branch_add_up_to_its_row_exactly(name: str, runs: dict[str, Path]):
    with Run(runs[name]) as run:
        bound = prepare(run.sweep()).bound
        rows = run.frame()
    for row in rows.gather_every(max(1, len(rows) // 12)).to_dicts():
        bars = branch_bars(bound, row["branch"], Cache(CACHE))
        assert exp(float(bars.log.sum())) - 1.0 == row["full_total_return"]
        assert bars.equity[-1] - 1.0 == pytest.approx(row["full_total_return"], rel=1e-12)
        assert np.prod(1.0 + bars.net) - 1.0 == pytest.approx(row["full_total_return"], rel=1e-9)
        assert -bars.drawdown.min() == pytest.approx(row["full_max_drawdown"], rel=1e-12)
        assert 252 * bars.turnover.mean() == pytest.approx(row["full_turnover"], rel=1e-9)
        assert (bars.weights > 0).sum(axis=1).mean() == pytest.approx(row["full_average_holdings"], rel=1e-12)
        assert len(bars.dates) == len(bars.net) == row["full_n_days"]


def test_bars_of_no_branch_are_an_error(runs: dict[str, Path]):
    with Run(runs["full"]) as run, pytest.raises(IndexError):
        branch_bars(prepare(run.sweep()).bound, 10_000, Cache(CACHE))


def test_equity_of_the_report_ends_at_the_stored_return(runs: dict[str, Path], tmp_path: Path):
    curves = page_of(runs["full"], tmp_path).data["equity"]["curves"]
    with Run(runs["full"]) as run:
        stored = {row["branch"]: row for row in run.frame().to_dicts()}
    assert [curve["is_benchmark"] for curve in curves] == [True] + [False] * 5
    for curve in curves[1:]:
        row = stored[int(re.findall(r"branch (\d+)", curve["name"])[0])]
        assert curve["equity"][-1] - 1 == pytest.approx(row["full_total_return"], rel=2e-3)
        assert -min(curve["drawdown"]) == pytest.approx(row["full_max_drawdown"], rel=1e-3)


def test_spearman_shares_ranks_among_ties():
    frame = pl.DataFrame({"a": [1.0, 2.0, 2.0, 4.0], "b": [10.0, 30.0, 20.0, 40.0], "c": [1.0] * 4})
    ranks = np.array([1, 2.5, 2.5, 4]), np.array([1, 3, 2, 4])
    assert spearman(frame, "a", "b") == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert spearman(frame, "a", "c") is None
    assert spearman(frame.head(1), "a", "b") is None


def test_density_counts_every_branch_once(runs: dict[str, Path]):
    subject = read_subject(runs["full"])
    for drawn in (stability(subject).data or {}).values():
        assert sum(n or 0 for row in drawn["counts"] for n in row) == drawn["n"] > 150
    subject.run.store.close()


def test_heatmap_is_median_and_best_over_the_rest(runs: dict[str, Path]):
    subject = read_subject(runs["full"])
    data = heatmap(subject).data
    subject.run.store.close()
    assert data is not None
    cells = data["cells"]["low,stock"]
    for i, low in enumerate(range(20, 61, 5)):
        for j, stock in enumerate(["AAPL", "MSFT", "XOM"]):
            some = subject.rows.filter((pl.col("low") == low) & (pl.col("stock") == stock))
            assert cells["is_sharpe,median"][i][j] == pytest.approx(some["is_sharpe"].median(), rel=1e-3)
            assert cells["is_sharpe,best"][i][j] == pytest.approx(some["is_sharpe"].max(), rel=1e-3)
            assert cells["oos_max_drawdown,best"][i][j] == pytest.approx(some["oos_max_drawdown"].min(), rel=1e-3)
    assert data["cells"]["n,low"]["is_sharpe,best"][0][:3] == [None] * 3


@pytest.mark.parametrize("sizes", [[20, 26, 5, 5, 8], [1000, 1000], [500] * 6, [40] * 12, [3]])
def test_cells_stay_below_the_limit_and_use_it(sizes: list[int]):
    def cells(limit: int) -> int:
        capped = [min(size, limit) for size in sizes]
        return (sum(capped) ** 2 - sum(size**2 for size in capped)) // 2

    limit = group_limit(sizes)
    assert cells(limit) <= MAX_CELLS
    assert limit == 96 or cells(limit + 1) > MAX_CELLS


def test_long_axes_are_put_into_neighbouring_groups_and_said_to_be(tmp_path: Path):
    job = JOB | {"axes": {"n": "2..181", "low": "20..60 by 40", "stock": ["AAPL"]}, "where": []}
    page = page_of(run_of(job, tmp_path), tmp_path)
    n = page.data["heatmap"]["dimensions"][0]["labels"]
    assert n[:2] == ["2 – 3", "4 – 5"]
    assert len(n) == 96
    assert "The 180 values of" in " ".join(page.texts)


def test_the_largest_heatmap_leaves_the_page_below_the_limit():
    values = np.random.default_rng(3).normal(0, 0.1, MAX_CELLS * len(STUDIED) * 2 * len(STATISTICS))
    curves = 6 * 2 * MAX_POINTS * len("-0.1234,")
    assert len(script_json(numbers(values))) + len(get_plotlyjs()) + curves < MAX_BYTES - 100_000


def test_long_labels_are_cut_and_stay_different():
    values = (*(f"strategies/of/last/summer/{k}/tree.json" for k in range(3)), "a")
    assert Dimension("tree", values, np.arange(4)).labels == [*(f"strategies/…/{k}/tree.json" for k in range(3)), "a"]
    alike = tuple(f"{'x' * 40}{k}{'y' * 40}" for k in range(2))
    assert Dimension("tree", alike, np.arange(2)).labels == [f"{'x' * 11}…{'y' * 12} ({k})" for k in (1, 2)]


def test_requirements_say_how_many_branches_they_remove(runs: dict[str, Path]):
    subject = read_subject(runs["full"])
    found = overview(subject).words["requirements"]
    subject.run.store.close()
    deep, idle = (~subject.rows["is_max_drawdown"].le(0.25), ~subject.rows["is_time_in_market"].ge(0.05))
    assert [row["missed"] for row in found] == [deep.sum(), idle.sum()]
    assert [row["alone"] for row in found] == [(deep & ~idle).sum(), (idle & ~deep).sum()]
    assert found[0]["missed"] > 0
    assert found[0]["text"] == "max drawdown, in sample: at most 25%"


# the page


@pytest.mark.parametrize("name", VARIANTS)
def test_every_panel_is_there_whatever_the_run(name: str, runs: dict[str, Path], tmp_path: Path):
    page = page_of(runs[name], tmp_path)
    assert [attrs["id"] for tag, attrs in page.tags if tag == "section"] == list(IDS)
    drawn = {"one branch": IDS[3:], "never traded": IDS[3:4], "none passes": (), "no split": (IDS[2], IDS[4])}
    assert tuple(page.data) == drawn.get(name, IDS[2:])


def test_an_unfinished_run_says_how_far_it_is(tmp_path: Path):
    class Stop(BaseException):
        pass

    def stop(progress: object) -> None:
        raise Stop

    prepared = prepare(parse_job(JOB))
    with pytest.raises(Stop):
        execute(prepared, LocalExecutor(1, CACHE), tmp_path, on_progress=stop, block_size=50)
    page = page_of(tmp_path / prepared.run_id, tmp_path)
    assert "of 207 so far" in " ".join(page.texts)


def keep_instead(run: Path, job: dict) -> None:
    """The job of a run whose data have moved."""
    (run / "job.json").unlink()
    with closing(LocalStore.reopen(run)) as store:
        store.keep_job(json.dumps(job).encode())


def test_a_run_without_its_data_has_every_other_panel(hostile: Path, tmp_path: Path):
    copy = shutil.copytree(hostile, tmp_path / "run")
    job = json.loads((copy / "job.json").read_text())
    job["data"]["source"] = str(tmp_path / "nowhere")
    keep_instead(copy, job)
    page = page_of(copy, tmp_path)
    assert set(page.data) == {"heatmap", "stability"}
    assert "cannot be read" in " ".join(page.texts)


def test_changed_data_are_not_drawn_as_if_they_were_the_same(hostile: Path, tmp_path: Path):
    copy = shutil.copytree(hostile, tmp_path / "run")
    job = json.loads((copy / "job.json").read_text())
    source = Path(shutil.copytree(job["data"]["source"], tmp_path / "data"))
    file = sorted(source.iterdir())[0]
    pl.read_parquet(file).with_columns(pl.col("Close") * 2 + 1).write_parquet(file)
    job["data"]["source"] = str(source)
    keep_instead(copy, job)
    page = page_of(copy, tmp_path)
    assert set(page.data) == {"heatmap", "stability"}
    assert "have changed since this run" in " ".join(page.texts)


def test_the_page_loads_nothing(runs: dict[str, Path], tmp_path: Path):
    page = page_of(runs["full"], tmp_path)
    loading = [
        (tag, a) for tag, attrs in page.tags for a in attrs if a in ("src", "srcset", "data", "background", "action")
    ]
    assert not loading
    assert all((attrs.get("href") or "#").startswith("#") for _, attrs in page.tags)
    assert {tag for tag, _ in page.tags}.isdisjoint({"link", "iframe", "object", "embed", "base", "img"})
    policy = next(attrs["content"] for tag, attrs in page.tags if tag == "meta" and "http-equiv" in attrs)
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in policy.partition("style-src")[0]
    own = [text for attrs, text in page.scripts if not attrs.get("type")][1]
    assert "http" not in own
    style = Path(tmp_path / "report.html").read_text().partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_hostile_names_stay_text(hostile: Path, tmp_path: Path):
    page = page_of(hostile, tmp_path)
    assert len([text for attrs, text in page.scripts if not attrs.get("type")]) == 2
    assert {"img", "i"}.isdisjoint(tag for tag, _ in page.tags)
    assert not [attrs for _, attrs in page.tags if any(name.startswith("on") for name in attrs)]
    assert page.texts.count(HOSTILE) >= 2
    shown = json.dumps(page.data)
    assert "<" not in shown
    assert "&lt;img src=x onerror=alert(1)&gt;" in shown


def test_json_cannot_end_its_script():
    text = str(script_json({"a": "</script><!--&\u2028\u2029"}))
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text) == {"a": "</script><!--&\u2028\u2029"}


def test_a_report_that_cannot_be_written_is_an_input_error(runs: dict[str, Path], tmp_path: Path):
    with pytest.raises(InputError, match=r"report\.html: cannot be written"):
        write_report(runs["one branch"], tmp_path / "nowhere" / "report.html")


def test_a_report_follows_no_link(runs: dict[str, Path], tmp_path: Path):
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    (tmp_path / ".report.html.new").symlink_to(notes)
    write_report(runs["one branch"], tmp_path / "report.html")
    assert notes.read_text() == "mine" and "<html" in (tmp_path / "report.html").read_text()


def test_the_default_place_is_the_run(runs: dict[str, Path]):
    written = write_report(runs["one branch"])
    assert Path(written.path) == runs["one branch"] / "report.html"
    assert [path.name for path in runs["one branch"].glob("*report*")] == ["report.html"]


# a browser


def browse(page: Path, profile: Path) -> tuple[str, list[str]]:
    """(document after its scripts ran, console messages) of a page in headless Chromium."""
    assert CHROMIUM is not None
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --enable-logging=stderr --virtual-time-budget=20000 --dump-dom"
    )
    command = [CHROMIUM, *flags.split(), f"--user-data-dir={profile}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@needs_chromium
def test_console_messages_are_seen(tmp_path: Path):
    page = tmp_path / "broken.html"
    page.write_text("<title>x</title><script>undefinedName()</script>")
    assert "undefinedName" in browse(page, tmp_path / "profile")[1][0]


@needs_chromium
@pytest.mark.parametrize("name", ["full", "no axes", "one axis", "no split", "none passes", "never traded"])
def test_chromium_draws_every_panel(name: str, runs: dict[str, Path], tmp_path: Path):
    expected = set(page_of(runs[name], tmp_path).data)
    document, console = browse(tmp_path / "report.html", tmp_path / "profile")
    assert console == []
    sections = document.split("<section ")[1:]
    drawn = {text.partition('id="')[2].partition('"')[0] for text in sections if 'data-drawn="yes"' in text}
    assert drawn == expected
    assert all('class="main-svg"' in text for text in sections if 'data-drawn="yes"' in text)


@needs_chromium
def test_chromium_shows_hostile_names_as_text(hostile: Path, tmp_path: Path):
    page_of(hostile, tmp_path)
    document, console = browse(tmp_path / "report.html", tmp_path / "profile")
    assert console == []
    assert document.count('data-drawn="yes"') == 3
    assert "<title>owned" not in document
    assert "<img" not in document.partition("<script>")[0]
    plots = "".join(re.findall(r"<text\b.*?</text>", document, re.DOTALL))
    assert "&lt;img src=x onerror=alert(1)&gt;" in plots
    assert "font-weight: bold" not in plots
