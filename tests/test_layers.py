"""Imports point downward between layers, siblings do not know one another, and `import tdsp` is light."""

import ast
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tdsp"

# From the bottom to the top. A module imports from the rows below its own; within a row too, but for the middle one.
ROWS = {
    "core": "core",
    "params": "params charter",
    "stats": "stats loader display text scan splits profile findings formats sources lake lineage"
    " candidates folds fitting trials averaging",
    "middle": "goal ingest delta traps clues quality portraits prepare models search criteria evaluate"
    " certainty explain slices behaviour monitor contract",
    "compose": "stages modelling ladder verdict story advice overview report evidence contents documents card acquire"
    " glossary onnx_graph onnx_steps onnx_models onnx_export"
    " draft making compare contrast bundle parity wheel tracking registry parts sieve batch"
    " acceptance architecture lifecycle",
    "run": "runner.many runner.pipeline runner.paper runner.preflight runner.reuse runner.engine runner.kernels"
    " runner.fingerprint",
    "doors": "runner.console runner.model_verbs runner.cli runner.compile"
    " runner.wire runner.served runner.guard runner.faces runner.serve",
}
INDEPENDENT = "middle"
RANK = {module: rank for rank, row in enumerate(ROWS.values()) for module in row.split()}

# Imported at the top of a module, each of these costs every command a second or more.
HEAVY = {
    "dask",
    "deltalake",
    "fastapi",
    "lightgbm",
    "mlflow",
    "nbconvert",
    "onnxruntime",
    "optuna",
    "papermill",
}
MAY_BE_HEAVY = {"runner.engine"}  # subclasses papermill's engine, and only papermill loads it

SHIPPED_IN_BUNDLES = "loader"  # runs where tdsp is not installed
BUNDLE_HAS = {"numpy", "pandas", "pyarrow", "joblib", "threadpoolctl", *sys.stdlib_module_names}


def name_of(path: Path) -> str:
    """Return `runner.cli` for tdsp/runner/cli.py, "" for tdsp/__init__.py and `runner` for tdsp/runner/__init__.py."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(p for p in parts if p != "__init__")


SOURCES = {name_of(p): p.read_text() for p in sorted(PACKAGE.rglob("*.py")) if p.name != "_modidx.py"}
MODULES = {name: text for name, text in SOURCES.items() if name not in ("", "runner")}


def imports_of(source: str, module: str) -> set[str]:
    """Return the full names that a module of tdsp imports, at its top, in functions, and by a literal import_module."""
    found = set()
    here = ["tdsp", *module.split(".")[:-1]]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{origin}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            found |= {a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)}
    return found


def targets_of(source: str, module: str, known: Iterable[str] = ()) -> set[str]:
    """Return the modules of tdsp that a module imports; "" is the package itself."""
    names = {
        n.removeprefix("tdsp").removeprefix(".") for n in imports_of(source, module) if f"{n}.".startswith("tdsp.")
    }
    return {max((m for m in {*RANK, *known, ""} if f"{n}.".startswith(f"{m}." if m else "")), key=len) for n in names}


def layer_problems(sources: dict[str, str]) -> list[str]:
    """Return each import that points upward or to a sibling of the independent row, and each module without a row."""
    problems = [f"{module} has no row in ROWS" for module in sources if module not in RANK]
    for module in [m for m in sources if m in RANK]:
        for target in sorted(targets_of(sources[module], module, sources) - {module}):
            if not target:
                problems.append(f"{module} imports the package itself: name the module")
            elif RANK.get(target, 0) > RANK[module]:
                problems.append(f"{module} imports {target}, which is above it")
            elif {module, target} <= set(ROWS[INDEPENDENT].split()):
                problems.append(f"{module} imports its sibling {target}")
    return problems + cycles(sources)


def cycles(sources: dict[str, str]) -> list[str]:
    """Return the pairs of modules of one row that reach each other."""
    direct = {m: targets_of(text, m) - {m} for m, text in sources.items() if m in RANK}
    reach = {m: set(t) for m, t in direct.items()}
    for middle in reach:
        for module in reach:
            if middle in reach[module]:
                reach[module] |= reach[middle]
    pairs = sorted({tuple(sorted((a, b))) for a in reach for b in reach[a] if a != b and a in reach.get(b, ())})
    return [f"{a} and {b} import each other" for a, b in pairs]


def heavy_problems(sources: dict[str, str]) -> list[str]:
    """Return the heavy libraries that a module imports while it is itself imported."""
    problems = []
    for module, source in sources.items():
        top = ast.Module([n for n in ast.parse(source).body if isinstance(n, ast.Import | ast.ImportFrom)], [])
        loaded = {name.split(".")[0] for name in imports_of(ast.unparse(top), module)} & HEAVY
        problems += [f"{module} imports {name} at its top" for name in sorted(loaded) if module not in MAY_BE_HEAVY]
    return problems


def test_imports_point_downward():
    """No module of the package imports one above it, or a sibling in the independent row."""
    assert layer_problems(MODULES) == []


@pytest.mark.parametrize(
    ("module", "source", "problem"),
    [
        ("stats", "from tdsp.evaluate import score", "stats imports evaluate, which is above it"),
        ("core", "def f():\n    from .params import resolve", "core imports params, which is above it"),
        ("bundle", "import tdsp.runner.cli", "bundle imports runner.cli, which is above it"),
        ("runner.engine", "from . import serve", "runner.engine imports runner.serve, which is above it"),
        ("runner.engine", "from ..report import render", None),
        ("runner.engine", "from .. import report", None),
        ("models", "from tdsp import evaluate", "models imports its sibling evaluate"),
        ("models", "import_module('tdsp.prepare')", "models imports its sibling prepare"),
        ("models", "from tdsp.stats import Gate", None),
        ("report", "from tdsp import show", "report imports the package itself: name the module"),
        ("report", "import tdspace", None),
        ("helpers", "import os", "helpers has no row in ROWS"),
    ],
)
def test_an_import_that_breaks_the_layers_is_noticed(module: str, source: str, problem: str | None):
    """Upward and sideways imports are found in every form; a downward one is no finding."""
    assert layer_problems({module: source}) == ([problem] if problem else [])


def test_a_module_without_a_row_is_named_once():
    """Who imports a module that has no row is not to blame."""
    assert layer_problems({"report": "from .helpers import x", "helpers": ""}) == ["helpers has no row in ROWS"]


def test_modules_of_one_row_that_import_each_other_are_noticed():
    """Also inside a row there is an order."""
    sources = {"report": "import tdsp.documents", "documents": "from .report import page"}
    assert layer_problems(sources) == ["documents and report import each other"]


def test_heavy_libraries_are_imported_where_they_are_used():
    """mlflow, lightgbm and their like are imported inside the function that needs them."""
    assert heavy_problems(MODULES) == []


def test_a_heavy_import_at_the_top_is_noticed():
    """The same import is a finding at the top of a module and none inside a function."""
    assert heavy_problems({"models": "import lightgbm"}) == ["models imports lightgbm at its top"]
    assert heavy_problems({"models": "def f():\n    from lightgbm import LGBMClassifier"}) == []


def test_the_loader_needs_only_what_a_bundle_has():
    """The file that ships in each bundle imports nothing of tdsp and nothing that its readers may lack."""
    roots = {name.split(".")[0] for name in imports_of(SOURCES[SHIPPED_IN_BUNDLES], SHIPPED_IN_BUNDLES)}
    assert roots <= BUNDLE_HAS


def test_importing_tdsp_loads_no_table_or_model_library():
    """`import tdsp` costs milliseconds: neither numpy, pandas nor scikit-learn comes with it."""
    code = "import sys, tdsp; print(sorted({'numpy', 'pandas', 'sklearn'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_public_name_of_tdsp_is_found_when_it_is_asked_for():
    """The lazy names lead to something, and a wrong one says so."""
    import tdsp

    for name in tdsp.__all__:
        assert getattr(tdsp, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = tdsp.nonsense
