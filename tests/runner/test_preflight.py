"""Checks before the first stage: all faults of parameters, data and place at once, with exit code 2."""

import shutil
from collections import namedtuple

import pandas as pd
import pytest

from tdsp.core.errors import DataError, ParameterError, RunError
from tdsp.runner import preflight
from tdsp.runner.preflight import check_plan, check_table, plan_run


def test_a_sample_is_ready(project):
    """The table of a sample comes back as the run will find it, and stays in the lake."""
    table = check_plan(plan_run(project / "parameters" / "wine.yaml"))
    assert table.frame.shape == (178, 14)
    assert table.path.is_relative_to(project / "outputs" / "lake")
    assert check_plan(plan_run(project / "parameters" / "wine.yaml")).reused


def test_all_faults_are_named_at_once(project):
    """Columns, candidates and a metric that cannot be used are in one message, with the closest name."""
    settings = {"metric": "roc_auc", "drop": "[alcool]", "candidates": "[linaer]", "split": "time"}
    with pytest.raises(DataError) as caught:
        check_plan(plan_run(project / "parameters" / "wine.yaml", settings=settings))
    told = str(caught.value)
    assert "4 faults" in told
    assert "drop names 'alcool', which is no column. Did you mean 'alcohol'?" in told
    assert "Did you mean 'linear'?" in told
    assert "metric 'roc_auc' does not fit a multiclass task" in told
    assert "needs time_column" in told
    assert not (project / "outputs" / "runs").exists() or not list((project / "outputs" / "runs").iterdir())


def test_one_fault_is_one_line(project):
    """A single fault needs no heading."""
    with pytest.raises(DataError, match=r"^no column 'traget' in the table. Did you mean 'target'\?"):
        check_plan(plan_run(project / "parameters" / "wine.yaml", settings={"target": "traget"}))


def test_a_constant_target_is_refused(project):
    """Nothing can be learned from one class."""
    resolved = plan_run(project / "parameters" / "wine.yaml").resolved
    frame = pd.DataFrame({"x": range(100), "target": ["a"] * 100})
    with pytest.raises(DataError, match="'target' is 'a' in every row"):
        check_table(frame, resolved)


def test_too_little_disk_is_found_before_the_run(project, monkeypatch):
    """A run that would fill the disk is refused with the figures."""
    usage = namedtuple("usage", "total used free")(2**30, 2**30 - 2**20, 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(RunError, match=r"1 MiB are free in .*outputs; a run of this table needs about 1\d\d"):
        check_plan(plan_run(project / "parameters" / "wine.yaml"))


def test_a_parameter_file_outside_any_project_uses_the_working_folders(project, tmp_path, monkeypatch):
    """A YAML file without a project is run with the notebooks of the working folder's project."""
    alone = tmp_path / "elsewhere" / "wine.yaml"
    alone.parent.mkdir()
    shutil.copy(project / "parameters" / "wine.yaml", alone)
    monkeypatch.chdir(project)
    plan = plan_run(alone)
    assert (plan.root, plan.outputs, plan.project) == (project, project / "outputs", "wine")
    assert plan_run(alone, out="there").outputs == project / "there"
    assert plan_run(project / "parameters" / "wine.yaml").root == project


def test_an_error_of_the_system_before_the_first_stage_is_bad_input(project, monkeypatch):
    """A file that may not be read, or a full disk, is named with its place and exit code 2."""

    def refuse(*_, **__) -> None:
        raise PermissionError(13, "Permission denied", "/secret.yaml")

    monkeypatch.setattr(preflight, "load_parameters", refuse)
    with pytest.raises(ParameterError, match=r"/secret\.yaml cannot be read: Permission denied"):
        plan_run(project / "parameters" / "wine.yaml")


def test_a_full_disk_while_loading_is_bad_input(project, monkeypatch):
    """The lake is filled before the first stage, so that no run is left half made."""
    from tdsp.stages import context

    def fill(*_, **__) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(context, "modeling_table", fill)
    with pytest.raises(DataError, match=r"No space left on device \(.*outputs/lake\)"):
        check_plan(plan_run(project / "parameters" / "wine.yaml"))


def test_a_charter_is_read_before_the_run(project):
    """A mistake in what people state is found with its line, like one in the parameters."""
    (project / "parameters" / "wine.charter.yaml").write_text("business:\n  cleint: The winery\n")
    with pytest.raises(ParameterError, match=r"wine.charter.yaml:2: unknown field .* Did you mean 'client'"):
        plan_run(project / "parameters" / "wine.yaml")


def test_a_charter_speaks_only_of_columns_and_sources_that_are_there(project):
    """A column that was renamed is found where its meaning is stated."""
    text = "columns:\n  alcool: {meaning: Alcohol}\n  ash: {unit: g/l}\nsources:\n  table9: {owner: nobody}\n"
    (project / "parameters" / "wine.charter.yaml").write_text(text)
    plan = plan_run(project / "parameters" / "wine.yaml")
    with pytest.raises(ParameterError, match=r"'alcool', which is no column\. Did you mean 'alcohol'") as error:
        check_plan(plan)
    assert "sources describes 'table9', which is no source." in str(error.value)
