"""docs/api.md and the docstrings of the public functions: every example runs and shows what it says."""

import ast
import doctest
import inspect
import re
import shutil
import zipfile
from pathlib import Path

import pytest

import tdsp
from tests.support.doc_examples import examples_of, run_example

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"
KEPT_RUN = ROOT / "tests" / "support" / "run_2026_11.zip"
OF_RUNS = {"load_model", "open_run", "read_record", "show"}  # need a run; shown on the page only


def make_project(folder: Path) -> Path:
    """A project with one run, which the last examples of the page open."""
    (folder / "notebooks").mkdir(parents=True)
    for notebook in ROOT.glob("notebooks/*.ipynb"):
        shutil.copy(notebook, folder / "notebooks")
    shutil.copytree(ROOT / "parameters", folder / "parameters")
    with zipfile.ZipFile(KEPT_RUN) as archive:
        archive.extractall(folder / "outputs" / "runs" / "breast_cancer-20261129T020413Z-9fea")
    return folder


def test_every_example_of_the_page_shows_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks run in order in one namespace; `python tests/support/doc_examples.py` renews their outputs."""
    monkeypatch.chdir(make_project(tmp_path / "project"))
    namespace: dict[str, object] = {}
    for example in examples_of(PAGE.read_text(encoding="utf-8")):
        output = run_example(example, namespace)
        if example.shown is not None:
            assert output == example.shown, f"docs/api.md, line {example.line}"


def test_the_page_has_a_section_for_each_function_and_no_other() -> None:
    """The documented functions are those of `import tdsp`."""
    sections = re.findall(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(name for name in sections if name != "Beside scikit-learn and skore") == tdsp.__all__


@pytest.mark.parametrize("name", sorted(set(tdsp.__all__) - OF_RUNS))
def test_the_example_of_a_docstring_runs(name: str) -> None:
    """Each function shows itself in its help."""
    function = getattr(tdsp, name)
    tests = doctest.DocTestFinder(recurse=False).find(function, name, globs={})
    assert tests[0].examples, f"{name} has no example"
    assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(tests[0]).failed == 0


@pytest.mark.parametrize("name", tdsp.__all__)
def test_a_public_function_is_typed_and_described(name: str) -> None:
    """Every parameter and the result have a type; the first line of the docstring says what is returned."""
    function = getattr(tdsp, name)
    signature = inspect.signature(function)
    assert signature.return_annotation is not signature.empty
    assert all(p.annotation is not p.empty for p in signature.parameters.values())
    assert inspect.getdoc(function)


def test_help_lists_the_functions() -> None:
    """`help(tdsp)` opens with them, `dir(tdsp)` holds nothing else."""
    assert all(re.search(rf"^    {name}\(", str(tdsp.__doc__), re.MULTILINE) for name in tdsp.__all__)
    assert dir(tdsp) == tdsp.__all__


def test_a_type_checker_knows_the_names() -> None:
    """The imports that only a type checker sees are those that are made on first use; `__all__` lists them."""
    tree = ast.parse(inspect.getsource(tdsp))
    seen = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("tdsp.")
        for alias in node.names
    }
    assert seen == {name: f"tdsp.{home}" for name, home in tdsp._HOME.items()}
    assert sorted(seen) == tdsp.__all__
