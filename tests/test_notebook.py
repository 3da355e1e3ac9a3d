"""The notebook surface: a sweep from builder to branch, on threads and on Ray, and the notebook of the project."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import nbclient
import nbformat
import pytest

import forge_ray as fr
from forge_ray.errors import InputError
from forge_ray.notebook import PlanView, Run
from forge_ray.run import Progress
from forge_ray.run.executors import session

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "jobs" / "notebook.ipynb"
N_BRANCHES = 76


@pytest.fixture(scope="module")
def plan() -> PlanView:
    stock = fr.axis("stock", ["AAPL", "XOM"])
    tree = fr.if_(fr.rsi(stock, fr.axis("n", "2..20")) < fr.axis("low", [20, 30]), fr.hold(stock), fr.cash())
    return fr.plan(fr.sweep(tree, data="sample:us20", benchmark="SPX", name="<script>alert(1)</script>"))


@pytest.fixture(scope="module")
def run(plan: PlanView, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return plan.run(out=tmp_path_factory.mktemp("runs"), workers=1)


class Tags(HTMLParser):
    """Reads HTML strictly enough to find unbalanced tags, scripts and anything fetched from elsewhere."""

    def __init__(self, html: str):
        super().__init__()
        self.open: list[str] = []
        self.names: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert {name for name, _ in attrs} <= {"style"}
        self.open.append(tag)
        self.names.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_plan_counts_what_a_run_computes(plan: PlanView, run: Run):
    assert plan.explanation["branches"] == len(run.frame()) == N_BRANCHES
    assert f"branches: {N_BRANCHES}" in repr(plan)


def test_plan_reads_sweeps_jobs_and_job_files(plan: PlanView, tmp_path: Path):
    job = dict(plan.sweep.job)
    (tmp_path / "job.json").write_text(json.dumps(job))
    ids = {fr.plan(search).prepared.run_id for search in (plan.sweep, job, tmp_path / "job.json")}
    assert ids == {plan.prepared.run_id}


def test_a_run_is_found_again(plan: PlanView, run: Run):
    told: list[Progress] = []
    again = plan.run(out=run.path.parent, on_progress=told.append)
    assert told == []
    assert fr.open(run.path).frame().equals(again.frame())


def test_progress_is_told_up_to_the_last_branch(plan: PlanView, tmp_path: Path):
    told: list[Progress] = []
    plan.run(out=tmp_path, workers=1, on_progress=told.append)
    assert told[-1].branches == told[-1].total == N_BRANCHES


def test_ray_computes_the_same_rows_and_says_nothing(
    plan: PlanView, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "0")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    try:
        on_ray = plan.run(ray=True, workers=1, out=tmp_path)
        assert on_ray.frame().equals(run.frame())
        assert capfd.readouterr() == ("", "")
    finally:
        session().close()


def test_html_is_balanced_and_escaped_and_stands_alone(plan: PlanView, run: Run):
    best = run.top(n=1)["branch"].item()
    for shown in (plan, run, run.branch(best)):
        tags = Tags(shown._repr_html_())
        assert tags.open == []
        assert "script" not in tags.names
    assert "&lt;script&gt;" in plan._repr_html_()


def test_a_run_says_what_its_first_place_is_worth(run: Run):
    distinct = run.frame()["path"].n_unique()
    assert f"the best of {distinct} distinct worthless branches would show a Sharpe ratio" in run._repr_html_()


def test_a_branch_shows_values_metrics_and_reasons(run: Run):
    branch = run.branch(0)
    html = branch._repr_html_()
    assert branch["values"] == {"stock": "AAPL", "n": 2, "low": 20.0}
    assert "RSI(AAPL, 2) &lt; 20" in html
    assert all(reason in html for reason in branch["nulls"].values())


def test_all_mistakes_of_a_sweep_are_named():
    tree = fr.if_(fr.rsi("SPX", 0) < 30, fr.hold("AAPL"), fr.cash())
    with pytest.raises(InputError) as caught:
        fr.sweep(tree, data="sample:us20", bench="SPX", keep="some")
    places = {problem.place for problem in caught.value.problems}
    assert {"bench", "keep", "tree.conditions[0].window"} <= places


def test_the_notebook_runs_without_a_warning(tmp_path: Path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert {output["output_type"] for output in outputs} <= {"execute_result", "display_data"}
    texts = [output["data"]["text/plain"] for output in outputs]
    assert any(re.match(r"4,620 of 4,620 branches, [\d,]+ passed", text) for text in texts)
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_the_notebook_is_stored_without_outputs():
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


def test_the_notebook_lines_of_the_readme_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    code = re.search(r"### In a notebook\n.*?```python\n(.+?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert code
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(code[1], names)
    assert isinstance(names["run"], Run)
