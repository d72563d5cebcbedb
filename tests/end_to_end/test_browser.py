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


@pytest.mark.slow
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
@pytest.mark.slow
def test_the_first_notebook_runs_as_it_is(lab, project: Path):
    """With nothing set, Run All in notebook 1 takes the built-in sample."""
    cells = lab(project).run_all("notebooks/1_business_understanding.ipynb")
    assert [o["traceback"] for cell in cells for o in cell["outputs"] if o["output_type"] == "error"] == []
    assert [cell["id"] for cell in cells if cell["execution_count"] is None] == []
    (record,) = project.glob("outputs/runs/*-draft/run.json")
    assert json.loads(record.read_text())["stages"][0]["status"] == "succeeded"
