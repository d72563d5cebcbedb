"""`--from`: which run's stages stand for those of a new run, and what is taken over."""

import fcntl
import shutil
import signal
import subprocess
import sys

import pytest

from tdsp.core.errors import ParameterError, RunError
from tdsp.core.files import sha256_file
from tdsp.core.project import STAGES
from tdsp.core.record import read_record
from tdsp.runner import pipeline, preflight, resume
from tests.runner.test_engine import wait_until
from tests.support.tiny import FINISH, write_project

KEEP = "run.write_json('goal', {'limit': 1})\nrun.add_metric('limit', 0.5, label='limit')"
KEEP += "\nimport pandas as pd\nrun.write_table('test', pd.DataFrame({'y': [1]}))\nrun.read_table('test')"
NEED = "assert run.read_json('goal') == {'limit': 1}"


@pytest.mark.parametrize("text", ["3", "modeling", "3_modeling"])
def test_a_stage_is_named_by_number_or_name(text):
    """All three spellings mean the same stage."""
    assert resume.find_stage(text) == "3_modeling"


def test_a_stage_that_does_not_exist_is_refused():
    """The message has the closest name and all names."""
    with pytest.raises(ParameterError, match=r"'modelling' is no stage\. Did you mean 'modeling'"):
        resume.find_stage("modelling")


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """A tiny run whose third stage failed after two good ones; the file has been mended since."""
    root = tmp_path_factory.mktemp("earlier")
    cells = {STAGES[0]: [KEEP, FINISH.format("")], STAGES[2]: ["1 / 0"]}
    outcome = pipeline.run_file(write_project(root, cells))
    return write_project(root, cells | {STAGES[2]: [NEED, FINISH.format("")]}), outcome


@pytest.mark.end_to_end
def test_a_run_goes_on_where_another_failed(earlier):
    """Results, files and notebooks of the earlier stages are taken over as reused, the rest runs."""
    file, failed = earlier
    outcome = pipeline.run_file(file, start="3_modeling", settings={"cv_folds": "4"})
    record = outcome.record
    assert [stage.status for stage in record.stages] == ["reused"] * 2 + ["succeeded"] * 3
    assert [stage.reused_from for stage in record.stages[:3]] == [failed.folder.name] * 2 + [None]
    assert record.metrics["limit"].value == 0.5
    assert [entry.stage for entry in record.reads] == [STAGES[0]]
    assert outcome.record.exit_code == 0
    for entry in record.artifacts:
        assert sha256_file(outcome.folder / entry.path) == entry.sha256
    goal = "artifacts/goal.json"
    assert (outcome.folder / goal).stat().st_ino != (failed.folder / goal).stat().st_ino  # no run can change another


@pytest.mark.end_to_end
def test_other_earlier_parameters_cannot_be_reused(earlier):
    """The message names the parameter with both values, and no run folder is made."""
    file, failed = earlier
    before = sorted(failed.folder.parent.iterdir())
    with pytest.raises(RunError, match=r"(?s)Run without --from.*title is 'Tiny' there, 'x' here"):
        pipeline.run_file(file, start="3_modeling", settings={"title": "x"})
    with pytest.raises(RunError, match="3_modeling has not finished"):
        pipeline.run_file(file, start="4_deployment", settings={"cv_folds": "7"}, out=_only(failed.folder))
    assert sorted(failed.folder.parent.iterdir()) == before


def _only(folder):
    """Return an outputs folder that holds this run alone."""
    alone = folder.parents[2] / "alone"
    shutil.copytree(folder, alone / "runs" / folder.name, dirs_exist_ok=True)
    return alone


def test_without_any_run_there_is_nothing_to_continue(tmp_path):
    """The message says that there is none, and where it was looked for."""
    with pytest.raises(RunError, match=r"there is no run of tiny in .*outputs/runs"):
        pipeline.run_file(write_project(tmp_path), start="2_data_acquisition")


def test_other_data_cannot_be_reused(earlier):
    """A table with another hash than the one the earlier stages saw is named as the reason."""
    file, failed = earlier
    resolved = preflight.plan_run(file).resolved
    assert resume.why_not(failed.record, STAGES[:2], resolved, None) == ""
    assert resume.why_not(failed.record, STAGES[:2], resolved, "ab" * 32) == "its data were others"


def test_files_are_copied_where_blocks_cannot_be_shared(tmp_path, monkeypatch):
    """A file system without clones costs the space, not the run."""

    def refuse(*_) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_text("kept")
    resume.copy(tmp_path / "a", tmp_path / "z")
    assert (tmp_path / "z" / "b" / "c").read_text() == "kept"


@pytest.mark.end_to_end
@pytest.mark.slow
def test_a_run_killed_with_9_is_continued(tmp_path):
    """After kill -9 in stage 2 the same file goes on from there."""
    sleep = "import time\nrun.path('started').write_text('x')\ntime.sleep(120)"
    file = write_project(tmp_path, {STAGES[1]: [sleep, FINISH.format("")]})
    process = subprocess.Popen([sys.executable, "-m", "tdsp", "run", file], stderr=subprocess.DEVNULL)
    wait_until(lambda: list(tmp_path.glob("outputs/runs/*/started")))
    process.send_signal(signal.SIGKILL)
    process.wait()
    (killed,) = tmp_path.glob("outputs/runs/*")
    write_project(tmp_path)
    outcome = pipeline.run_file(file, start="2_data_acquisition")
    assert outcome.record.exit_code == 0
    assert outcome.record.stages[0].reused_from == read_record(killed).run_id
