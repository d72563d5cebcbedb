"""The browser fixtures find what a report must not do, and JupyterLab runs a notebook."""

import json
from pathlib import Path

import nbformat
import pytest

pytestmark = pytest.mark.browser

HARMLESS = "<!doctype html><html lang=en><title>t</title><meta name=viewport content='width=device-width'><p>text"
CLOSED = """<meta http-equiv="Content-Security-Policy" content="default-src 'none'">"""


def test_a_plain_page_gives_no_finding(visit, tmp_path: Path):
    """A page of text neither fetches nor fails, and fits a telephone."""
    page = tmp_path / "page.html"
    page.write_text(HARMLESS)
    seen = visit(page, width=390)
    assert (seen.requests, seen.errors, seen.overflow) == ([], [], 0)


@pytest.mark.parametrize(
    ("body", "finding"),
    [
        ("<img src='http://example.invalid/a.png' alt=''>", "requests"),
        (CLOSED + "<script>document.title = 'ran'</script>", "errors"),
        ("<script>throw Error('failed')</script>", "errors"),
        ("<div style='width: 900px'>wide</div>", "overflow"),
    ],
)
def test_a_page_that_misbehaves_is_caught(visit, tmp_path: Path, body: str, finding: str):
    """A remote image, a script that the policy blocks or that fails, and a wide line are each seen."""
    page = tmp_path / "page.html"
    page.write_text(HARMLESS + body)
    assert getattr(visit(page, width=390), finding)


def test_jupyterlab_runs_a_notebook(lab, tmp_path: Path):
    """Run All in a real JupyterLab brings back each cell's output."""
    folder = tmp_path / "folder"
    folder.mkdir()
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}  # without it JupyterLab asks which
    notebook = nbformat.v4.new_notebook(metadata=kernel, cells=[nbformat.v4.new_code_cell("6 * 7")])
    nbformat.write(notebook, folder / "answer.ipynb")
    (cell,) = lab(folder).run_all("answer.ipynb")
    assert cell["outputs"][0]["data"]["text/plain"] == "42"


@pytest.mark.end_to_end
@pytest.mark.timeout(900)
def test_the_stage_notebooks_run_one_after_the_other_in_jupyterlab(lab, project: Path):
    """Run All in notebook 1, 2, 3, 4 and 5 takes the built-in sample to a verdict, with nothing else to do."""
    opened = lab(project)
    for notebook in sorted(project.glob("notebooks/[1-5]_*.ipynb")):
        cells = opened.run_all(f"notebooks/{notebook.name}")
        errors = ["\n".join(o["traceback"]) for cell in cells for o in cell["outputs"] if o["output_type"] == "error"]
        assert errors == []
        assert [cell["id"] for cell in cells if cell["execution_count"] is None] == []
    (record,) = project.glob("outputs/runs/*-draft/run.json")
    assert json.loads(record.read_text())["verdict"] == "accepted"
