"""The pages of a real run: what the five notebooks really show, in a real browser."""

import shutil
from pathlib import Path

import pytest

from tdsp.core import STAGES
from tdsp.report import render_run
from tdsp.runner import pipeline

pytestmark = [pytest.mark.end_to_end, pytest.mark.browser]

ROOT = Path(__file__).parents[2]
FAST = {"cv_folds": "2", "n_resamples": "100", "importance_repeats": "1"}
PAGES = [*STAGES, "index"]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the breast_cancer sample in a project of its own."""
    root = tmp_path_factory.mktemp("project")
    (root / "notebooks").mkdir()
    for notebook in ROOT.glob("notebooks/*.ipynb"):
        shutil.copy(notebook, root / "notebooks")
    shutil.copytree(ROOT / "parameters", root / "parameters")
    return pipeline.run_file(root / "parameters" / "breast_cancer.yaml", settings=FAST, out=root / "outputs").folder


def test_all_pages_are_there_and_rendering_again_changes_nothing(run_folder: Path):
    """The pipeline has written them; the record gives the same bytes."""
    before = {name: (run_folder / f"{name}.html").read_bytes() for name in PAGES}
    render_run(run_folder)
    assert {name: (run_folder / f"{name}.html").read_bytes() for name in PAGES} == before


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_page_is_accessible_fits_and_fetches_nothing(visit, axe, run_folder: Path, name, scheme, width):
    """With all folds open, on a wide light screen and on a small dark one."""
    seen = visit(run_folder / f"{name}.html", width=width, scheme=scheme)
    seen.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert (seen.overflow, seen.requests, seen.errors) == (0, [], [])
    seen.page.evaluate(axe + ";0")
    found = seen.page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    assert [(v["id"], v["nodes"][0]["target"]) for v in found] == []


def test_every_picture_says_what_it_shows(visit, run_folder: Path):
    """No figure of a stage notebook comes without words of its own."""
    for name in PAGES:
        page = visit(run_folder / f"{name}.html").page
        texts = page.evaluate("[...document.images].map(image => image.alt)")
        assert not [text for text in texts if len(text) < 15 or "without a description" in text]
