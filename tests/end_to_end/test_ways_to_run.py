"""papermill, JupyterLab and `tdsp run` give the same bundle, byte for byte."""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import tdsp
from tdsp.core.project import STAGES
from tdsp.core.record import read_record

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(900)]


def manifest(run: Path) -> bytes:
    """bundle.json, which holds the hash of every other file of the bundle."""
    return (run / "model" / "bundle.json").read_bytes()


@pytest.mark.slow
def test_five_papermill_calls_give_the_same_bundle(sample_run, short_project, tmp_path):
    """A scheduler that knows papermill alone needs nothing of ours but the notebooks."""
    run = tmp_path / "run"
    for stage in STAGES:
        command = [sys.executable, "-m", "papermill", f"notebooks/{stage}.ipynb", str(tmp_path / f"{stage}.ipynb")]
        command += ["-f", "parameters/breast_cancer.yaml", "-p", "run_dir", str(run), "--no-progress-bar"]
        done = subprocess.run(command, cwd=short_project, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
    record = read_record(run)
    assert (record.status, record.verdict) == ("succeeded", "accepted")
    assert manifest(run) == manifest(sample_run)


@pytest.mark.browser
@pytest.mark.slow
def test_five_run_alls_in_jupyterlab_give_the_same_bundle(sample_run, short_project, lab, monkeypatch):
    """Open, Run All, save: five times, in order, in a real browser."""
    monkeypatch.setenv("TDSP_PROJECT", "breast_cancer")
    opened = lab(short_project)
    for stage in STAGES:
        cells = opened.run_all(f"notebooks/{stage}.ipynb")
        errors = [o["evalue"] for cell in cells for o in cell["outputs"] if o["output_type"] == "error"]
        assert errors == []
    run = short_project / "outputs" / "runs" / "breast_cancer-draft"
    assert read_record(run).verdict == "accepted"
    assert manifest(run) == manifest(sample_run)


def test_a_run_leaves_everything_the_readme_names(sample_run):
    """The folder of a run holds record, log, code, pages, notebooks and the bundle."""
    names = {p.name for p in sample_run.iterdir()}
    pages = {f"{stage}.{kind}" for stage in STAGES for kind in ("html", "ipynb")}
    assert pages | {"run.json", "run.log", "code.zip", "index.html", "artifacts", "data", "model"} <= names
    bundle = {p.name for p in (sample_run / "model").iterdir()}
    assert {"MLmodel", "code", "pipeline.joblib", "schema.json", "reference.json", "golden.parquet"} <= bundle
    assert {"model_card.md", "model_card.html", "requirements.txt", "bundle.json"} <= bundle


def test_the_packaged_model_predicts_from_the_run(sample_run):
    """The object that `tdsp.load_model` returns takes the raw columns of the table."""
    import pandas as pd

    test = pd.read_parquet(sample_run / "data" / "test.parquet")
    predicted = tdsp.load_model(sample_run / "model").predict(test)
    kept = pd.read_parquet(sample_run / "data" / "predictions.parquet")
    assert (predicted["probability"].to_numpy() == kept["winner"].to_numpy()).all()


@pytest.mark.slow
def test_a_changed_hand_over_file_stops_the_next_stage(sample_run, tmp_path):
    """A stage reads only what the stage before wrote: here the limit was moved after the goal was set."""
    run = tmp_path / "run"
    shutil.copytree(sample_run, run)
    goal = run / "artifacts" / "goal.json"
    goal.write_text(goal.read_text().replace('"limit": 0.9', '"limit": 0.1'))
    command = [sys.executable, "-m", "papermill", "notebooks/5_customer_acceptance.ipynb", str(tmp_path / "out.ipynb")]
    command += ["-f", "parameters/breast_cancer.yaml", "-p", "run_dir", str(run), "--no-progress-bar"]
    done = subprocess.run(command, cwd=sample_run.parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "artifacts/goal.json was changed after 1_business_understanding wrote it" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("edits", "shown"),
    [
        ({'"Breast tumours"': '"Never saved"', "0.2  # share": "0.3  # share"}, ["Never saved", "0.3"]),
        (
            {'project: str = ""': 'project: str = "breast_cancer"', "0.2  # share": "0.3  # share"},
            ["holdout_share: the edited cell says 0.3, parameters/breast_cancer.yaml"],
        ),
    ],
)
def test_the_cell_in_memory_counts_and_an_ignored_edit_is_named(short_project, edits, shown):
    """In a real kernel with an edit that is not on disk: it holds, or the output says which file holds instead."""
    path = short_project / "notebooks" / f"{STAGES[0]}.ipynb"
    (short_project / "parameters" / "breast_cancer.yaml").open("a").write("holdout_share: 0.25\n")
    notebook = nbformat.read(path, 4)
    notebook.cells = notebook.cells[:4]
    for before, after in edits.items():
        assert before in notebook.cells[2].source
        notebook.cells[2].source = notebook.cells[2].source.replace(before, after)
    NotebookClient(notebook, resources={"metadata": {"path": str(path.parent)}}, kernel_name="python3").execute()
    output = "".join(str(output) for output in notebook.cells[3].outputs)
    assert [text for text in shown if text not in output] == []
    record = read_record(max(short_project.glob("outputs/runs/*-draft"), key=lambda run: run.stat().st_mtime))
    assert record.parameters["holdout_share"].value == (0.3 if len(edits) and "Breast" in next(iter(edits)) else 0.25)
