"""The layers of the package as code: who may import whom, and where third-party packages may appear."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "forge_ray"
OPEN_TO_ALL = {"errors", "catalog", "jsontext"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "catalog": set(),
    "jsontext": set(),
    "tree": set(),
    "plan": {"tree"},
    "kernels": set(),
    "data": set(),
    "store": set(),
    "engine": {"plan", "kernels", "data", "tree"},
    "cluster": {"engine", "store", "plan", "kernels", "data", "tree"},
    "sweep": {"tree", "plan", "kernels", "data", "store", "engine", "cluster"},
    "run": {"tree", "plan", "kernels", "data", "store", "engine", "cluster", "sweep"},
    "report": {"run", "tree", "plan", "kernels", "data", "store", "engine", "cluster", "sweep"},
    "notebook": {"run", "sweep", "tree", "plan", "engine", "cluster", "store", "data"},
    "cli": {"report", "run", "store", "tree", "plan", "data", "engine", "cluster", "sweep"},
}
HOMES: dict[str, set[str]] = {
    "numba": {"kernels"},
    "llvmlite": {"kernels"},
    "ray": {"cluster"},
    "sqlite3": {"store"},
    "obstore": {"store"},
    "plotly": {"report"},
    "jinja2": {"report"},
    "typer": {"cli"},
    "rich": {"cli"},
    "polars": {"data", "store", "report", "notebook", "cli"},
}
FORBIDDEN = {"pickle": set(), "pandas": set(), "scipy": set(), "skfolio": set(), "talib": set()}


def layer_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(file: Path, for_types: bool = False) -> list[tuple[int, str]]:
    """(line, dotted name) of every import, wherever it stands. for_types : with those that only type checkers see."""
    tree = ast.parse(file.read_text())
    unseen: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test) and not for_types:
            unseen.update(inner for statement in node.body for inner in ast.walk(statement))
    found = []
    for node in ast.walk(tree):
        if node in unseen:
            continue
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import"
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


def test_every_layer_is_in_the_table():
    assert {layer_of(file) for file in FILES} - {"__init__"} == set(MAY_IMPORT)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_follow_the_layers(file: Path):
    layer = layer_of(file)
    allowed = MAY_IMPORT.get(layer, set(MAY_IMPORT)) | {layer} | (OPEN_TO_ALL if layer != "kernels" else set())
    for line, name in imports(file):
        first, *rest = name.split(".")
        if first == "forge_ray" and rest:
            target = rest[0]
            assert target in allowed or target not in MAY_IMPORT, f"{file}:{line}: {layer} imports {target}"
        if first in HOMES:
            assert layer in HOMES[first], f"{file}:{line}: {layer} imports {first}"
        if first in FORBIDDEN:
            assert layer in FORBIDDEN[first], f"{file}:{line}: {layer} imports {first}"


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def test_no_module_imports_itself_through_others():
    """Imports inside functions and for types count; that a module's packages are loaded before it does not."""
    files = {module_of(file): file for file in FILES}
    graph = {}
    for module, file in files.items():
        names = [name for _, name in imports(file, for_types=True)]
        graph[module] = {name if name in files else name.rpartition(".")[0] for name in names}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_kernels_know_nothing_of_the_package():
    for file in (PACKAGE / "kernels").glob("*.py"):
        names = {name for _, name in imports(file) if name.startswith("forge_ray.")}
        assert all(name.startswith("forge_ray.kernels") for name in names), (file, names)


@pytest.mark.parametrize("module", ["forge_ray", "forge_ray.cli.main"])
def test_importing_the_package_or_its_commands_loads_nothing_heavy(module: str):
    import subprocess
    import sys

    heavy = ("numba", "ray", "polars", "pyarrow", "numpy", "rich", "msgspec", "sqlite3")
    code = f"import {module}, sys; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_nothing_prints_outside_the_command_line():
    for file in FILES:
        if layer_of(file) != "cli":
            calls = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call))
            assert not [c.lineno for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"], file
