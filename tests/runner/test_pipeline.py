"""The pipeline: what a run leaves behind, and what is refused before it starts."""

import json
import signal
import zipfile
from pathlib import Path

import nbformat
import pytest

from tdsp.core.errors import ParameterError, RunError
from tdsp.core.files import sha256_file
from tdsp.core.project import STAGES
from tdsp.core.record import ParameterEntry, RunRecord
from tdsp.runner import pipeline
from tests.support.tiny import write_project


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of the tiny project with one value set by hand, and the steps that were reported."""
    root, steps = tmp_path_factory.mktemp("finished {0}"), []  # braces: papermill would fill them in
    file = write_project(root)
    return pipeline.run_file(file, settings={"cv_folds": "3"}, progress=steps.append), steps


def test_a_run_leaves_a_whole_record(finished):
    """Status, verdict, seconds, parameters with origins, environment, code and seeds are there."""
    outcome, _ = finished
    record = outcome.record
    assert (record.status, record.verdict, record.fixed, outcome.record.exit_code) == (
        "succeeded",
        "accepted",
        True,
        0,
    )
    assert [stage.status for stage in record.stages] == ["succeeded"] * 5
    assert all(stage.seconds > 0 for stage in record.stages)
    assert record.parameters["cv_folds"] == ParameterEntry(3, "given", "3_modeling")
    assert record.parameters["title"].origin == "parameters/tiny.yaml:1"
    assert record.environment.python and record.seeds == {"random_state": None}
    assert "started from" in (outcome.folder / "run.log").read_text()


def test_the_executed_notebooks_are_in_the_record_by_hash(finished):
    """Each stage's executed notebook is in the run folder, and the record has its hash."""
    outcome, _ = finished
    entries = {entry.path: entry for entry in outcome.record.artifacts if entry.kind == "notebook"}
    assert sorted(entries) == [f"{stage}.ipynb" for stage in STAGES]
    for path, entry in entries.items():
        assert sha256_file(outcome.folder / path) == entry.sha256
        assert nbformat.read(outcome.folder / path, 4).metadata.papermill.exception is False


def test_the_injected_cell_carries_the_stages_own_values_only(finished):
    """A value of stage 3 is injected there and nowhere else; the run folder is absolute everywhere."""
    outcome, _ = finished
    for stage in STAGES:
        cells = nbformat.read(outcome.folder / f"{stage}.ipynb", 4).cells
        injected = next(cell.source for cell in cells if "injected-parameters" in cell.metadata.tags)
        assert f'run_dir = "{outcome.folder}"' in injected
        assert ("cv_folds = 3" in injected) == (stage == "3_modeling")


def test_code_zip_holds_notebooks_package_and_parameters(finished):
    """Everything a replay needs is in code.zip, and the record has its hash."""
    outcome, _ = finished
    names = zipfile.ZipFile(outcome.folder / "code.zip").namelist()
    assert {
        "notebooks/3_modeling.ipynb",
        "tdsp/core/record.py",
        "tdsp/runner/pipeline.py",
        "parameters/tiny.yaml",
    } <= set(names)
    assert outcome.record.code.sha256 == sha256_file(outcome.folder / "code.zip")


def test_progress_names_stage_cell_and_end(finished):
    """The watcher hears of the preparation, of every cell that runs, and of each stage's end."""
    _, steps = finished
    assert steps[0] == pipeline.PipelineEvent("tiny", "", "preparing")
    third = [step for step in steps if step.stage == "3_modeling"]
    assert [step.cell for step in third] == [0, 1, 2, 3, 4, 5, 6, 0]
    assert third[-1].state == "succeeded" and third[-1].seconds > 0


def test_bad_parameters_leave_no_run_folder(tmp_path):
    """Every fault is named at once, and nothing is written."""
    file = write_project(tmp_path, yaml="titel: Tiny\ncv_folds: many\n")
    with pytest.raises(ParameterError, match=r"(?s)titel.*Did you mean 'title'.*cv_folds"):
        pipeline.run_file(file)
    assert not (tmp_path / "outputs").exists()


def test_run_dir_and_project_cannot_be_set(tmp_path):
    """They follow from the parameter file; setting them is an error that says so."""
    with pytest.raises(ParameterError, match="run_dir cannot be set"):
        pipeline.run_file(write_project(tmp_path), settings={"run_dir": "/tmp"})


def test_an_output_folder_that_cannot_be_written_is_found_first(tmp_path):
    """A file in the way of the output folder ends the run before it starts."""
    file = write_project(tmp_path)
    (tmp_path / "taken").write_text("")
    with pytest.raises(RunError, match=r"taken/runs cannot be written.*--out DIR"):
        pipeline.run_file(file, out=tmp_path / "taken")


@pytest.mark.parametrize(
    ("status", "verdict", "code"),
    [
        ("succeeded", "accepted", 0),
        ("succeeded", "rejected", 3),
        ("succeeded", "insufficient evidence", 3),
        ("succeeded", None, 3),
        ("failed", None, 1),
        ("running", None, 1),
        ("interrupted", None, 130),
    ],
)
def test_exit_codes_follow_status_and_verdict(status, verdict, code):
    """Only an accepted run ends with 0."""
    assert RunRecord(status=status, verdict=verdict).exit_code == code


def test_a_failure_is_described_from_the_executed_notebook(tmp_path):
    """Cell and line are those of the innermost place in the failed cell, colors are gone."""
    path = tmp_path / "n.ipynb"
    cells = [nbformat.v4.new_code_cell("def f(x):\n    return 1 / x"), nbformat.v4.new_code_cell("a = 1\nf(0)")]
    shown = ["\x1b[31mZeroDivisionError\x1b[0m", "Cell \x1b[32mIn[2]\x1b[0m, line 2", "Cell In[1], line 2, in f(x)"]
    cells[1].outputs = [nbformat.v4.new_output("error", ename="ZeroDivisionError", evalue="by zero", traceback=shown)]
    for cell, status in zip(cells, ("completed", "failed")):
        cell.metadata.papermill = {"status": status}
    told = {"error": {"type": "ZeroDivisionError", "message": "by zero"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"papermill": told}), path)
    error = pipeline.describe_failure(path, RuntimeError("outer"))
    assert (error.type, error.cell, error.line, error.source) == ("ZeroDivisionError", 2, 2, "a = 1\nf(0)")
    assert "\x1b" not in error.traceback
    assert error.sentence("3_modeling") == "3_modeling, cell 2, line 2: ZeroDivisionError: by zero"


def test_signals_that_the_caller_ignores_stay_ignored():
    """Under nohup a hang-up does not end a run, and the handlers are given back afterwards."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pipeline.interruptible():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_pages_that_fail_do_not_hide_the_result(tmp_path, monkeypatch):
    """The problem is in run.log and in the outcome, and the record is as it was."""
    from tdsp.core.record import create_run, new_record
    from tdsp.reporting import pages

    def break_down(folder: Path) -> None:
        raise ValueError("no such template")

    monkeypatch.setattr(pages, "render_run", break_down)
    run = create_run(tmp_path / "r", new_record("r", "tiny", fixed=True))
    assert pipeline.render_pages(run) == "ValueError: no such template"
    assert "pages not rendered" in (tmp_path / "r" / "run.log").read_text()
    assert json.loads((tmp_path / "r" / "run.json").read_text())["status"] == "running"
