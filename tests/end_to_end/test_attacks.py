"""Fifty attacks in everything that data and people can say, through a real run and into a real browser."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tdsp.reporting.pages import render_index
from tdsp.runner import pipeline
from tests.reporting.test_notebook_html import PAYLOADS

pytestmark = [pytest.mark.end_to_end, pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
ATTACKS = PAYLOADS[:50]
FAST = {"candidates": '["dummy", "linear"]', "cv_folds": "2", "n_resamples": "50", "importance_repeats": "1"}
NAME = "<img src=x onerror=alert(1)>.csv"  # a file name holds no slash


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One run that ends, and one that fails with all attacks in its message."""
    root = tmp_path_factory.mktemp("project")
    (root / "parameters").mkdir()
    shutil.copytree(ROOT / "notebooks", root / "notebooks", ignore=shutil.ignore_patterns("lib"))
    write_table(root / NAME)
    payload = json.dumps(" ".join(ATTACKS))
    (root / "parameters/hostile.yaml").write_text(
        f"project: hostile\ntitle: {payload}\nquestion: {payload}\ndecision: {payload}\n"
        f"sources:\n  table: {json.dumps(NAME)}\ntarget: churned\npositive_class: {json.dumps(ATTACKS[0])}\n"
    )
    (root / "parameters/hostile.charter.yaml").write_text(
        f"business:\n  client: {payload}\n  problem: {payload}\ngoal:\n  why_threshold: {payload}\n"
        f"columns:\n  {json.dumps(ATTACKS[1])}: {{meaning: {payload}}}\n"
    )
    parameters, outputs = root / "parameters/hostile.yaml", root / "outputs"
    ended = pipeline.run_file(parameters, settings=FAST, out=outputs).folder
    notebook = root / "notebooks/2_data_acquisition.ipynb"
    book = json.loads(notebook.read_text())
    fault = f"from tdsp.core.errors import DataError\nraise DataError({' '.join(ATTACKS)!r})"
    book["cells"][-1] |= {"cell_type": "code", "source": fault, "outputs": [], "execution_count": None}
    notebook.write_text(json.dumps(book))
    failed = pipeline.run_file(parameters, settings=FAST, out=outputs).folder
    render_index(outputs)
    return {"ended": ended, "failed": failed, "outputs": outputs}


def write_table(path: Path) -> None:
    """Fifty columns named by attacks, every fifth of which holds attacks."""
    rng, rows = np.random.default_rng(1), 200
    columns = {
        name: rng.choice([*ATTACKS[i : i + 3], "x"], rows) if i % 5 == 0 else rng.normal(size=rows)
        for i, name in enumerate(ATTACKS)
    }
    churned = np.where(columns[ATTACKS[1]] + rng.normal(size=rows) > 0, ATTACKS[0], "no")
    pd.DataFrame(columns | {"churned": churned}).to_csv(path, index=False)


def pages_of(runs: dict[str, Path]) -> list[Path]:
    """Every page below the outputs: runs, documents, model card, list, comparison."""
    return sorted(runs["outputs"].rglob("*.html"))


def test_no_attack_runs_and_none_fetches(visit, runs):
    """No dialog, no script, no request, no breach of the policy; folds opened, everything focused."""
    pages = pages_of(runs)
    assert len(pages) >= 20
    for path in pages:
        seen, dialogs = visit(path), []
        seen.page.on("dialog", lambda dialog, dialogs=dialogs: (dialogs.append(dialog.message), dialog.dismiss()))
        seen.page.evaluate("document.querySelectorAll('*').forEach(e => { e.open = true; e.focus && e.focus() })")
        assert (dialogs, seen.errors, seen.requests) == ([], [], []), path
        dangerous = "script, iframe, object, embed, form, base, link, [onerror], [onload], [onfocus], [ontoggle]"
        assert seen.page.evaluate(f"document.querySelectorAll('{dangerous}').length") == 0, path


@pytest.mark.parametrize(
    ("run", "page"),
    [
        ("ended", "index.html"),  # parameters
        ("ended", "2_data_acquisition.html"),  # column names
        ("ended", "artifacts/documents/01_charter.html"),  # charter
        ("ended", "artifacts/documents/03_data_dictionary.html"),  # names and values, through Markdown
        ("ended", "model/model_card.html"),
        ("failed", "index.html"),  # the message of the error
    ],
)
def test_every_attack_is_shown_as_the_text_it_is(visit, runs, run, page):
    """A reader sees each of the fifty texts as it was written."""
    text = " ".join(visit(runs[run] / page).page.evaluate("document.body.textContent").split())
    assert [attack for attack in ATTACKS if " ".join(attack.split()) not in text] == []
