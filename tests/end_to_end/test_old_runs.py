"""A run and a bundle of an earlier version: they open, predict, render and compare."""

import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pytest

import tdsp
from tdsp.cli.app import call
from tdsp.core.errors import BundleError
from tdsp.reporting.comparison.statistics import compare_runs
from tdsp.reporting.pages import render_comparison, render_run

KEPT = Path(__file__).parents[1] / "support" / "run_2026_11.zip"  # breast_cancer; pages, documents and wheel left out
SCORE = 0.9996693121693122  # ROC-AUC in its record
RUN_ID = "breast_cancer-20261129T020413Z-9fea"


@pytest.fixture(scope="module")
def old_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder, unpacked below an outputs folder."""
    folder = tmp_path_factory.mktemp("outputs") / "runs" / RUN_ID
    with zipfile.ZipFile(KEPT) as archive:
        archive.extractall(folder)
    return folder


def test_the_record_of_an_earlier_version_is_read(old_run: Path) -> None:
    """Verdict, score and stages are those that were written."""
    record = tdsp.read_record(old_run)
    assert (record.verdict, record.metrics["test_score"].value) == ("accepted", SCORE)
    assert [stage.status for stage in record.stages] == ["succeeded"] * 5


def test_a_bundle_of_an_earlier_version_predicts_the_same(old_run: Path) -> None:
    """The golden rows give the golden predictions, through the checks of this version."""
    golden = pd.read_parquet(old_run / "model" / "golden.parquet")
    model = tdsp.load_model(old_run / "model")
    made = model.predict(golden[[column["name"] for column in model.schema["columns"]]])
    kept = golden[[f"expected.{name}" for name in made]].set_axis(made.columns, axis=1)
    pd.testing.assert_frame_equal(made, kept, rtol=0, atol=1e-9)


def test_a_changed_bundle_of_an_earlier_version_is_refused(old_run: Path, tmp_path: Path) -> None:
    """Its own hashes are checked by this version."""
    copy = shutil.copytree(old_run / "model", tmp_path / "model")
    (copy / "schema.json").write_text((copy / "schema.json").read_text() + " ")
    with pytest.raises(BundleError, match=r"schema\.json"):
        tdsp.load_model(copy)


def test_the_pages_of_an_earlier_run_are_rendered(old_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Cover and stages are made from the record and notebooks; `show` and `runs` read it."""
    pages = render_run(old_run)
    assert len(pages) >= 6
    assert "accepted" in (old_run / "index.html").read_text().lower()
    assert call(["show", RUN_ID, "--out", str(old_run.parents[1])]) == 0
    assert RUN_ID in capsys.readouterr().out


def test_an_earlier_run_is_compared_with_itself(old_run: Path) -> None:
    """Its kept test predictions are read: no difference."""
    again = old_run.parent / "again"
    if not again.exists():
        again.symlink_to(old_run)
    comparison, pages = render_comparison([old_run, again], old_run.parents[1])
    assert pages
    assert comparison.pairs[0].gains[0].gain.value == 0
    assert compare_runs([old_run, again]).pairs
