"""Imports point downward between layers, siblings do not know one another, and `import tdsp` is light."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tdsp"

# The rooms of the house by floor. A room imports from lower floors and from itself.
FLOORS = (
    ("core",),
    ("stats", "config"),
    ("data", "packaging"),
    ("exploration", "modeling", "evaluation", "registry", "monitoring"),
    ("serving", "reporting"),
    ("stages",),
    ("runner",),
    ("cli",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

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

SHIPPED_IN_BUNDLES = ("packaging.loader", "core.cells")  # run where tdsp is not installed
BUNDLE_HAS = {"numpy", "pandas", "pyarrow", "joblib", "threadpoolctl", *sys.stdlib_module_names}


def name_of(path: Path) -> str:
    """Return `cli.app` for tdsp/cli/app.py, "" for tdsp/__init__.py and `cli` for tdsp/cli/__init__.py."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(p for p in parts if p != "__init__")


SOURCES = {name_of(p): p.read_text() for p in sorted(PACKAGE.rglob("*.py")) if p.name != "_modidx.py"}
MODULES = {name: text for name, text in SOURCES.items() if name not in ("", "__main__")}


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


def room_of(module: str) -> str:
    """Return the room of a module: its first folder."""
    return module.split(".")[0]


def targets_of(source: str, module: str, known: Iterable[str]) -> set[str]:
    """Return the modules of tdsp that a module imports; "" is the package itself."""
    names = {
        n.removeprefix("tdsp").removeprefix(".") for n in imports_of(source, module) if f"{n}.".startswith("tdsp.")
    }
    return {max((m for m in {*FLOOR, *known, ""} if f"{n}.".startswith(f"{m}." if m else "")), key=len) for n in names}


def layer_problems(sources: dict[str, str]) -> list[str]:
    """Return each import that points upward or to another room of the same floor, and each module without a floor."""
    problems = [f"{module} is in no room" for module in sources if room_of(module) not in FLOOR]
    for module in [m for m in sources if room_of(m) in FLOOR]:
        here = room_of(module)
        for target in sorted(targets_of(sources[module], module, sources) - {module}):
            there = room_of(target)
            if not target:
                problems.append(f"{module} imports the package itself: name the module")
            elif there != here and FLOOR[there] > FLOOR[here]:
                problems.append(f"{module} imports {target}, which is above it")
            elif there != here and FLOOR[there] == FLOOR[here]:
                problems.append(f"{module} imports {target}, which is in a room of the same floor")
    return problems + cycles(sources)


def cycles(sources: dict[str, str]) -> list[str]:
    """Return the pairs of modules that reach each other."""
    direct = {m: targets_of(text, m, sources) & sources.keys() - {m} for m, text in sources.items()}
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
    """No module imports one of a floor above it, or of another room on its own floor."""
    assert layer_problems(MODULES) == []


@pytest.mark.parametrize(
    ("module", "source", "problem"),
    [
        ("stats.gates", "from tdsp.evaluation.scores import f", "stats.gates imports evaluation, which is above it"),
        ("core.files", "def f():\n    from ..config import x", "core.files imports config, which is above it"),
        ("packaging.bundle", "import tdsp.cli.app", "packaging.bundle imports cli, which is above it"),
        ("runner.engine", "from . import kernels", None),
        ("runner.engine", "from ..reporting.pages import render", None),
        ("reporting.show", "from .. import cli", "reporting.show imports cli, which is above it"),
        (
            "modeling.search",
            "from tdsp import evaluation",
            "modeling.search imports evaluation, which is in a room of the same floor",
        ),
        ("modeling.search", "import_module('tdsp.modeling.folds')", None),
        ("modeling.search", "from tdsp.core.results import Gate", None),
        ("reporting.pages", "from tdsp import show", "reporting.pages imports the package itself: name the module"),
        ("reporting.pages", "import tdspace", None),
        ("helpers", "import os", "helpers is in no room"),
    ],
)
def test_an_import_that_breaks_the_layers_is_noticed(module: str, source: str, problem: str | None):
    """Upward and sideways imports are found in every form; a downward one is no finding."""
    assert layer_problems({module: source}) == ([problem] if problem else [])


def test_modules_of_one_room_that_import_each_other_are_noticed():
    """Also inside a room there is an order."""
    sources = {"core.files": "import tdsp.core.record", "core.record": "from .files import write"}
    assert layer_problems(sources) == ["core.files and core.record import each other"]


def test_every_room_is_a_folder_with_its_purpose():
    """The floors name the folders that there are, and each folder says in one line what it is for."""
    folders = {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert folders == set(FLOOR)
    for init in PACKAGE.rglob("*/__init__.py"):
        tree = ast.parse(init.read_text())
        assert len(tree.body) == 1, f"{init} holds more than its docstring"
        assert ast.get_docstring(tree)


def test_the_map_in_contributing_shows_the_rooms_by_floor():
    """The picture names every room, on the floor that the code has it on."""
    picture = (PACKAGE.parent / "CONTRIBUTING.md").read_text().split("```")[1]
    floors = [set(re.findall(r"(?m)(?:^ |  )([a-z]+) {2,}", floor)) & set(FLOOR) for floor in re.split("─+", picture)]
    assert floors == [set(rooms) for rooms in reversed(FLOORS)]


def test_heavy_libraries_are_imported_where_they_are_used():
    """mlflow, lightgbm and their like are imported inside the function that needs them."""
    assert heavy_problems(MODULES) == []


def test_a_heavy_import_at_the_top_is_noticed():
    """The same import is a finding at the top of a module and none inside a function."""
    assert heavy_problems({"modeling.families": "import lightgbm"}) == ["modeling.families imports lightgbm at its top"]
    assert heavy_problems({"modeling.families": "def f():\n    from lightgbm import LGBMClassifier"}) == []


def test_the_loader_needs_only_what_a_bundle_has():
    """The two files that ship in each bundle as one import nothing else of tdsp, and nothing a reader may lack."""
    found = {name for module in SHIPPED_IN_BUNDLES for name in imports_of(SOURCES[module], module)}
    assert {name.split(".")[0] for name in found if not name.startswith("tdsp.core.cells")} <= BUNDLE_HAS


def test_importing_tdsp_loads_no_table_or_model_library():
    """`import tdsp` costs milliseconds: neither numpy, pandas nor scikit-learn comes with it."""
    code = "import sys, tdsp; print(sorted({'numpy', 'pandas', 'sklearn'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_public_name_of_tdsp_is_found():
    """The lazy names lead to something, and a wrong one says so."""
    import tdsp

    for name in tdsp.__all__:
        assert getattr(tdsp, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = tdsp.nonsense
