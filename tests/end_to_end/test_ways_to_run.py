"""papermill, JupyterLab and `tdsp run` give the same bundle, byte for byte."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tdsp
from tdsp.core.project import STAGES
from tdsp.core.record import read_record
from tdsp.runner import pipeline

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(900)]
SHORT = "search_trials: 3\nn_resamples: 200\nimportance_repeats: 1\n"  # three models instead of sixteen


@pytest.fixture(scope="module")
def by_command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run of `tdsp run`, in a project of its own."""
    root = Path(__file__).parents[2]
    folder = tmp_path_factory.mktemp("command")
    for name in ("notebooks", "parameters"):
        shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("lib", ".ipynb_checkpoints"))
    parameters = folder / "parameters" / "breast_cancer.yaml"
    parameters.write_text(parameters.read_text() + SHORT)
    return pipeline.run_file(parameters).folder


@pytest.fixture
def short_project(project: Path) -> Path:
    """A project of its own with the parameters of `by_command`."""
    parameters = project / "parameters" / "breast_cancer.yaml"
    parameters.write_text(parameters.read_text() + SHORT)
    return project


def manifest(run: Path) -> bytes:
    """bundle.json, which holds the hash of every other file of the bundle."""
    return (run / "model" / "bundle.json").read_bytes()


@pytest.mark.slow
def test_five_papermill_calls_give_the_same_bundle(by_command, short_project, tmp_path):
    """A scheduler that knows papermill alone needs nothing of ours but the notebooks."""
    run = tmp_path / "run"
    for stage in STAGES:
        command = [sys.executable, "-m", "papermill", f"notebooks/{stage}.ipynb", str(tmp_path / f"{stage}.ipynb")]
        command += ["-f", "parameters/breast_cancer.yaml", "-p", "run_dir", str(run), "--no-progress-bar"]
        done = subprocess.run(command, cwd=short_project, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
    record = read_record(run)
    assert (record.status, record.verdict) == ("succeeded", "accepted")
    assert manifest(run) == manifest(by_command)


@pytest.mark.browser
@pytest.mark.slow
def test_five_run_alls_in_jupyterlab_give_the_same_bundle(by_command, short_project, lab, monkeypatch):
    """Open, Run All, save: five times, in order, in a real browser."""
    monkeypatch.setenv("TDSP_PROJECT", "breast_cancer")
    opened = lab(short_project)
    for stage in STAGES:
        cells = opened.run_all(f"notebooks/{stage}.ipynb")
        errors = [o["evalue"] for cell in cells for o in cell["outputs"] if o["output_type"] == "error"]
        assert errors == []
    run = short_project / "outputs" / "runs" / "breast_cancer-draft"
    assert read_record(run).verdict == "accepted"
    assert manifest(run) == manifest(by_command)


def test_a_run_leaves_everything_the_readme_names(by_command):
    """The folder of a run holds record, log, code, pages, notebooks and the bundle."""
    names = {p.name for p in by_command.iterdir()}
    pages = {f"{stage}.{kind}" for stage in STAGES for kind in ("html", "ipynb")}
    assert pages | {"run.json", "run.log", "code.zip", "index.html", "artifacts", "data", "model"} <= names
    bundle = {p.name for p in (by_command / "model").iterdir()}
    assert {"MLmodel", "code", "pipeline.joblib", "schema.json", "reference.json", "golden.parquet"} <= bundle
    assert {"model_card.md", "model_card.html", "requirements.txt", "bundle.json"} <= bundle


def test_the_packaged_model_predicts_from_the_run(by_command):
    """The object that `tdsp.load_model` returns takes the raw columns of the table."""
    import pandas as pd

    test = pd.read_parquet(by_command / "data" / "test.parquet")
    predicted = tdsp.load_model(by_command / "model").predict(test)
    kept = pd.read_parquet(by_command / "data" / "predictions.parquet")
    assert (predicted["probability"].to_numpy() == kept["winner"].to_numpy()).all()


def test_a_changed_hand_over_file_stops_the_next_stage(by_command, tmp_path):
    """A stage reads only what the stage before wrote: here the limit was moved after the goal was set."""
    run = tmp_path / "run"
    shutil.copytree(by_command, run)
    goal = run / "artifacts" / "goal.json"
    goal.write_text(goal.read_text().replace('"limit": 0.9', '"limit": 0.1'))
    command = [sys.executable, "-m", "papermill", "notebooks/5_customer_acceptance.ipynb", str(tmp_path / "out.ipynb")]
    command += ["-f", "parameters/breast_cancer.yaml", "-p", "run_dir", str(run), "--no-progress-bar"]
    done = subprocess.run(command, cwd=by_command.parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "artifacts/goal.json was changed after 1_business_understanding wrote it" in done.stderr
