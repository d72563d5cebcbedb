"""paper: the pages of a run become one PDF whose links work, or a message says what is missing."""

import re
from pathlib import Path

import pytest

from tdsp.cli import app
from tdsp.core.errors import RunError
from tdsp.core.project import STAGES
from tdsp.reporting.pages import render_run
from tdsp.reporting.pdf import one_page, print_run
from tests.support.sample_run import write_run


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with all its pages."""
    folder = write_run(tmp_path_factory.mktemp("outputs"))
    render_run(folder)
    return folder


def test_pages_are_joined_without_a_place_that_occurs_twice(run_folder: Path):
    """Links between pages and inside a page lead to a place of the joined page; files beside them are not linked."""
    whole = one_page([run_folder / f"{name}.html" for name in ("index", *STAGES)])
    places = re.findall(r' id="([^"]*)"', whole)
    assert len(places) == len(set(places))
    targets = re.findall(r'href="([^"]*)"', whole)
    assert targets
    assert {target[1:] for target in targets if target.startswith("#")} <= set(places)
    assert not [target for target in targets if not target.startswith("#")]
    assert whole.count("<main>") == 1


@pytest.mark.browser
def test_the_report_is_printed_as_one_pdf(browser, run_folder: Path):
    """All six pages are in it, each on a new sheet, and nothing was executed."""
    before = (run_folder / "run.json").read_bytes()
    pdf = print_run(run_folder).read_bytes()
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 6
    assert (run_folder / "run.json").read_bytes() == before


def test_without_a_browser_the_message_says_what_to_install(run_folder: Path, monkeypatch, capsys):
    """Exit code 2, one message, the pages are there all the same."""
    monkeypatch.setenv("CHROMIUM", "no-such-browser")
    assert app.call(["report", run_folder.name, "--out", str(run_folder.parents[1]), "--pdf", "--no-open"]) == 2
    assert "apt install chromium" in capsys.readouterr().err
    assert (run_folder / "index.html").is_file()


def test_a_browser_that_prints_nothing_is_named(run_folder: Path, monkeypatch):
    """A program that ends without a file, with its last words."""
    monkeypatch.setenv("CHROMIUM", "false")
    with pytest.raises(RunError, match=r"printed nothing \(no output\)"):
        print_run(run_folder)
