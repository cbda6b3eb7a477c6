"""The dependency rules of the project, read from the source: what may import what, and where torch may not be.

Every rule is a function from source files to sentences about violations, so that the second half of this file can
show on made-up sources that each of them is able to fail.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORE = "fairness_core"
LONGEST = 400

# A module imports only modules of rows above its own; see the dependency rules in CONTRIBUTING.md.
LAYERS: tuple[frozenset[str], ...] = tuple(
    map(
        frozenset,
        (
            {"config", "palette", "processes", "balance", "costs", "trigger_law", "once", "generators", "kernels"},
            {"exhibits", "datasets", "database", "records", "measures", "triggers", "attacks", "devices"}
            | {"fused", "table_lines", "pace"},
            {"models", "jobs", "intervals", "dense", "batches", "scores"},
            {"store", "metrics", "regression", "stack", "cyclegan", "replay"},
            {"optimizer", "outcomes", "figures", "audit", "evaluation", "associations", "health", "imbalance"}
            | {"regression_noise", "few_shot"},
            {"thresholds", "preparation", "flips", "teacher_views", "vae"},
            {"keeping", "backdoors", "codes"},
            {"training", "data_figures", "strategies", "postprocessing", "quantile_trees"},
            {"posthoc", "figures_after", "threshold_figures", "twins", "probes", "regression_figures"},
            {"critics", "attack_budget", "fillers", "foci"},
            {"latent_views"},
            {"methods", "sweep", "attribute_figures", "aeda_figures", "switch_figures", "few_shot_figures"}
            | {"backdoor_figures", "latent_figures"},
            {"experiment", "catalogue", "regression_sweep"},
            {"calibration"},
            {"worker", "cluster", "estimator", "report", "intra_tables", "aif360_tables", "aeda_tables"}
            | {"regression_results"},
            {
                "aeda_experiments",
                "aeda_course_tables",
                "aeda_faces_tables",
                "bade_tables",
                "dvge_tables",
                "command_results",
            },
            {"warm", "runner", "reproduce"},
            {"commands"},
            {"__main__"},
        ),
    )
)
TORCH_FREE = {
    *("config", "palette", "processes", "datasets", "database", "records", "measures", "jobs", "intervals"),
    *("store", "metrics", "outcomes", "figures", "audit", "sweep", "report", "worker", "runner", "regression"),
    *("associations", "health", "data_figures", "attribute_figures", "imbalance"),
    *("scores", "thresholds", "strategies", "postprocessing", "preparation", "flips", "threshold_figures"),
    *("regression_noise", "regression_sweep", "regression_results", "regression_figures"),
    *(
        "teacher_views",
        "backdoor_figures",
        "figures_after",
        "exhibits",
        "balance",
        "costs",
        "aeda_figures",
        "trigger_law",
        "calibration",
        "command_results",
        "switch_figures",
        "few_shot",
        "few_shot_figures",
        "latent_figures",
        "table_lines",
    ),
}
FIGURES_MAY_IMPORT = {
    "__future__",
    "collections",
    "dataclasses",
    "math",
    "typing",
    "numpy",
    "pandas",
    "plotly",
    "textwrap",
}
FIGURES_MAY_IMPORT_OF_CORE = {"config", "palette", "figures", "data_figures"}
FIGURES = tuple(
    f"{CORE}/{name}.py"
    for name in (
        *("backdoor_figures", "regression_figures", "switch_figures", "few_shot_figures", "latent_figures"),
        *("figures", "data_figures", "attribute_figures", "threshold_figures", "figures_after", "aeda_figures"),
    )
)
NAVIGATION = "pages/navigation.py"
MAY_CATCH_ALL = {f"{CORE}/worker.py", f"{CORE}/cluster.py"}

Sources = Mapping[str, str]  # path relative to the repository -> text


def sources(root: Path = ROOT) -> dict[str, str]:
    """The project's own Python: the app, its pages, the core, the benchmarks and the tests."""
    paths = [root / "app.py"]
    for folder in ("pages", CORE, "benchmarks", "tests"):
        paths += (root / folder).rglob("*.py")
    return {p.relative_to(root).as_posix(): p.read_text() for p in sorted(paths) if p.exists()}


def module_of(path: str) -> str:
    """The first-level module of the core a path belongs to: fairness_core/methods/erm.py -> methods."""
    return path.split("/")[1].removesuffix(".py")


def imports(path: str, text: str, *, everywhere: bool = True) -> Iterator[tuple[str, int]]:
    """(dotted name, line) of everything a file imports; names after `from x import` are appended (x.y).

    everywhere=False leaves out what runs only later (function bodies) or never (`if TYPE_CHECKING`).
    """
    package = path.removesuffix("/__init__.py").removesuffix(".py").split("/")
    if not path.endswith("/__init__.py"):
        package = package[:-1]
    for node in _walk(ast.parse(text), everywhere):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((f"{stem}.{alias.name}", node.lineno) for alias in node.names)


def _walk(node: ast.AST, everywhere: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not everywhere and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if not everywhere and isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _walk(child, everywhere)


def core_imports(path: str, text: str, *, everywhere: bool = True) -> Iterator[tuple[str, int]]:
    """(first-level core module, line) for every import of the core."""
    for name, line in imports(path, text, everywhere=everywhere):
        parts = name.split(".")
        if parts[0] == CORE and len(parts) > 1:
            yield parts[1], line


def in_core(files: Sources) -> dict[str, str]:
    return {p: t for p, t in files.items() if p.startswith(f"{CORE}/") and p != f"{CORE}/__init__.py"}


def in_pages(files: Sources) -> dict[str, str]:
    return {p: t for p, t in files.items() if p.startswith("pages/")}


def core_reaches_for_the_screen(files: Sources) -> list[str]:
    return [
        f"{path}:{line} imports {name}; the core knows no screen"
        for path, text in files.items()
        if path.startswith(f"{CORE}/")
        for name, line in imports(path, text)
        if name.split(".")[0] in {"streamlit", "pages", "app"}
    ]


def wrong_layer(files: Sources) -> list[str]:
    rank = {module: i for i, layer in enumerate(LAYERS) for module in layer}
    found = [f"{p}: {module_of(p)} has no place in LAYERS" for p in in_core(files) if module_of(p) not in rank]
    for path, text in in_core(files).items():
        own = module_of(path)
        for other, line in core_imports(path, text):
            if own in rank and other in rank and other != own and rank[other] >= rank[own]:
                found.append(f"{path}:{line} imports {other}, which is not below {own}")
    return found


def torch_at_import(files: Sources) -> list[str]:
    """Torch at module level where the server process reads, itself or through a core module that is not torch-free."""
    found = []
    for path, text in files.items():
        screen = path == "app.py" or path.startswith("pages/")
        if not screen and not (path in in_core(files) and module_of(path) in TORCH_FREE):
            continue
        for name, line in imports(path, text, everywhere=screen):
            parts = name.split(".")
            heavy = parts[0] == CORE and len(parts) > 1 and _is_module(parts[1]) and parts[1] not in TORCH_FREE
            if parts[0] in {"torch", "torchvision"} or heavy:
                found.append(f"{path}:{line} imports {name}; torch stays out of the server process")
    return found


def _is_module(name: str) -> bool:
    return any(name in layer for layer in LAYERS)


def figures_sees_more_than_tables(files: Sources) -> list[str]:
    found = []
    for path in FIGURES:
        for name, line in imports(path, files.get(path, "")):
            parts = name.split(".")
            allowed = parts[1] in FIGURES_MAY_IMPORT_OF_CORE if parts[0] == CORE else parts[0] in FIGURES_MAY_IMPORT
            if not allowed:
                found.append(f"{path}:{line} imports {name}; figures are drawn from DataFrames alone")
    return found


def method_imports_method(files: Sources) -> list[str]:
    found = []
    for path, text in files.items():
        if not path.startswith(f"{CORE}/methods/") or path.endswith("__init__.py"):
            continue
        for name, line in imports(path, text):
            parts = name.split(".")
            if parts[:2] == [CORE, "methods"] and parts[2:3] not in ([], ["base"]) and parts[2] in _methods(files):
                found.append(f"{path}:{line} imports {name}; a method file imports no other but base")
    return found


def _methods(files: Sources) -> set[str]:
    folder = f"{CORE}/methods/"
    return {p.removeprefix(folder).removesuffix(".py") for p in files if p.startswith(folder)}


def page_imports_page(files: Sources) -> list[str]:
    names = _page_names(files)
    found = []
    for path, text in in_pages(files).items():
        for name, line in imports(path, text):
            parts = name.split(".")
            if parts[0] in names or (parts[0] == "pages" and parts[1:2] and parts[1] in names):
                found.append(f"{path}:{line} imports {name}; a page imports no other page")
            if parts[0] in {"pages", CORE} and any(p.startswith("_") and p != "__main__" for p in parts[1:]):
                found.append(f"{path}:{line} imports {name}, a private name")
    return found


def _page_names(files: Sources) -> set[str]:
    """What navigation.py lists with st.Page("name.py", ...); every other file in pages/ is shared between them."""
    constants = (n.value for n in ast.walk(ast.parse(files.get(NAVIGATION, ""))) if isinstance(n, ast.Constant))
    return {c.removesuffix(".py") for c in constants if isinstance(c, str) and c.endswith(".py")}


def catches_everything(files: Sources) -> list[str]:
    found = []
    for path, text in files.items():
        if path in MAY_CATCH_ALL or path.startswith("tests/"):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ExceptHandler) and _broad(node.type):
                found.append(f"{path}:{node.lineno} catches everything; only {' and '.join(sorted(MAY_CATCH_ALL))} may")
    return found


def _broad(caught: ast.expr | None) -> bool:
    if caught is None:
        return True
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(ast.unparse(name) in {"Exception", "BaseException"} for name in names)


def too_long(files: Sources) -> list[str]:
    return [
        f"{path} has {n} lines; past {LONGEST} a file is two files"
        for path, text in files.items()
        if (n := text.count("\n")) > LONGEST
    ]


RULES = (
    core_reaches_for_the_screen,
    wrong_layer,
    torch_at_import,
    figures_sees_more_than_tables,
    method_imports_method,
    page_imports_page,
    catches_everything,
    too_long,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_project_keeps_the_rule(rule):
    assert rule(sources()) == []


BROKEN = {
    core_reaches_for_the_screen: {"fairness_core/store.py": "def f():\n    import streamlit as st\n"},
    wrong_layer: {"fairness_core/datasets/base.py": "from fairness_core import training\n"},
    torch_at_import: {"pages/frontier.py": "def draw():\n    from fairness_core.training import fit\n"},
    figures_sees_more_than_tables: {"fairness_core/figures.py": "from .store import Store\n"},
    method_imports_method: {
        "fairness_core/methods/erm.py": "",
        "fairness_core/methods/parity.py": "from .erm import Erm\n",
    },
    page_imports_page: {NAVIGATION: 'st.Page("runs.py")', "pages/train.py": "from pages import runs\n"},
    catches_everything: {"fairness_core/store.py": "try:\n    f()\nexcept (KeyError, Exception):\n    g()\n"},
    too_long: {"pages/frontier.py": "x = 1\n" * 401},
}
KEPT = {
    core_reaches_for_the_screen: {"pages/frontier.py": "import streamlit as st\n"},
    wrong_layer: {"fairness_core/training.py": "from . import datasets\nfrom .config import Event\n"},
    torch_at_import: {"fairness_core/datasets/faces.py": "def load():\n    import torchvision\n"},
    figures_sees_more_than_tables: {"fairness_core/figures.py": "import pandas as pd\nfrom .palette import COLOURS\n"},
    method_imports_method: {"fairness_core/methods/parity.py": "from .base import Debiaser\n"},
    page_imports_page: {NAVIGATION: 'st.Page("runs.py")', "pages/train.py": "from pages import choices\n"},
    catches_everything: {"fairness_core/worker.py": "try:\n    f()\nexcept Exception:\n    g()\n"},
    too_long: {"pages/frontier.py": "x = 1\n" * 400},
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rule_sees_what_breaks_it_and_nothing_else(rule):
    assert len(rule(BROKEN[rule])) == 1
    assert rule(KEPT[rule]) == []


def test_an_import_under_type_checking_is_no_import_at_run_time():
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\n"
    assert torch_at_import({"fairness_core/metrics.py": text}) == []


def test_a_module_without_a_place_is_named():
    assert wrong_layer({"fairness_core/helpers.py": ""}) == ["fairness_core/helpers.py: helpers has no place in LAYERS"]


def test_torch_is_not_loaded_by_the_server_process():
    """Everything app.py and the pages import is imported here in a fresh process; torch must not come with it."""
    files = sources()
    screen = {p: t for p, t in files.items() if p == "app.py" or p.startswith("pages/")}
    named = {name for path, text in screen.items() for name, _ in imports(path, text)}
    modules = sorted({m for m in map(_importable, named) if m})
    assert f"{CORE}.store" in modules
    code = f"import sys\nfor m in {modules!r}: __import__(m)\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def _importable(name: str) -> str | None:
    """The module a dotted import name lies in: fairness_core.store.Store -> fairness_core.store."""
    parts = name.split(".")
    if parts[0] not in {CORE, "pages"}:
        return parts[0]
    while parts:
        path = ROOT.joinpath(*parts)
        if path.with_suffix(".py").exists() or (path / "__init__.py").exists():
            return ".".join(parts)
        parts.pop()
    return None
