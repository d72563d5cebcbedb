"""Things that go wrong while a run is running, done for real: what the record says, and that no kernel is left."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tdsp.core.errors import StageError
from tdsp.core.project import STAGES
from tdsp.core.record import read_record
from tdsp.core.summary import summarize
from tdsp.runner import pipeline
from tests.support.tiny import FINISH, write_project

pytestmark = pytest.mark.end_to_end

SLEEP = "import os, time\nrun.path('pid').write_text(str(os.getpid()))\ntime.sleep(120)"


def run_tiny(root: Path, cells: dict[str, list[str]], **options) -> tuple[pipeline.RunOutcome, dict]:
    """Run the tiny project with these cells; return the outcome and the stages of its record by name."""
    outcome = pipeline.run_file(write_project(root, cells), **options)
    return outcome, {stage.name: stage for stage in outcome.record.stages}


def check_stopped_at(stage: str, stages: dict, status: str) -> None:
    """Assert that the stages before have succeeded, this one has `status`, and the later ones were not run."""
    index = STAGES.index(stage)
    found = [stages[name].status for name in STAGES]
    assert found == ["succeeded"] * index + [status] + ["not run"] * (4 - index)


def start_tiny(root: Path) -> tuple[subprocess.Popen, Path, int]:
    """Start `tdsp run` whose second stage sleeps; return the process, the run folder and the kernel's number."""
    file = write_project(root, {STAGES[1]: [SLEEP, FINISH.format("")]})
    process = subprocess.Popen([sys.executable, "-m", "tdsp", "run", file], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: any(p.read_text() for p in root.glob("outputs/runs/*/pid")))
    (note,) = root.glob("outputs/runs/*/pid")
    return process, note.parent, int(note.read_text())


def wait_until(condition, seconds: float = 60) -> None:
    """Return as soon as a condition holds; fail when it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    "stage", [pytest.param(stage, marks=[] if stage == STAGES[2] else pytest.mark.slow) for stage in STAGES]
)
def test_a_kernel_killed_in_any_stage_fails_the_run(tmp_path, stage):
    """SIGKILL of the kernel: the stage is failed with its cell, the run ends with 1, the log says why."""
    outcome, stages = run_tiny(tmp_path, {stage: ["import os\nos.kill(os.getpid(), 9)"]})
    check_stopped_at(stage, stages, "failed")
    error = stages[stage].error
    assert (error.type, error.cell, outcome.record.exit_code) == ("DeadKernelError", 5, 1)
    assert "killed by SIGKILL" in error.message
    assert (outcome.record.status, outcome.record.verdict) == ("failed", None)
    assert f"{stage}, cell 5: The kernel was killed by SIGKILL" in (outcome.folder / "run.log").read_text()
    assert "killed by SIGKILL" in (outcome.folder / "index.html").read_text()


def test_an_error_is_named_with_cell_and_line(tmp_path):
    """An exception in a cell is reported with its type, place and source, and the executed notebook is kept."""
    outcome, stages = run_tiny(tmp_path, {STAGES[0]: ["x = 1\ny = x / 0"]})
    check_stopped_at(STAGES[0], stages, "failed")
    error = stages[STAGES[0]].error
    assert (error.type, error.message) == ("ZeroDivisionError", "division by zero")
    assert (error.cell, error.line, error.source) == (5, 2, "x = 1\ny = x / 0")
    assert "y = x / 0" in error.traceback
    assert (outcome.folder / f"{STAGES[0]}.ipynb").exists()
    assert summarize(outcome.record).failure_text.endswith("cell 5, line 2: ZeroDivisionError: division by zero")


def test_our_own_errors_are_shown_by_their_message_alone(tmp_path):
    """A DataError raised in a stage is one message with its place, no traceback, exit 1."""
    cell = "from tdsp.core.errors import DataError\n\nraise DataError('no column wind')"
    outcome, stages = run_tiny(tmp_path, {STAGES[0]: [cell]})
    error = stages[STAGES[0]].error
    assert (error.type, error.line, outcome.record.exit_code) == ("DataError", 3, 1)
    assert error.traceback.splitlines()[1:] == ["DataError: no column wind"]
    assert summarize(outcome.record).failure_text == f"{STAGES[0]}, cell 5, line 3: no column wind"


def test_a_cell_past_its_limit_fails_the_run(tmp_path):
    """After --cell-timeout seconds the stage is failed and says which limit it was."""
    outcome, stages = run_tiny(tmp_path, {STAGES[0]: [SLEEP]}, cell_timeout=2)
    check_stopped_at(STAGES[0], stages, "failed")
    assert stages[STAGES[0]].error.type == "CellTimeoutError"
    assert "limit of 2 seconds" in stages[STAGES[0]].error.message
    assert not alive(int((outcome.folder / "pid").read_text()))


def test_a_notebook_that_states_no_result_has_failed(tmp_path):
    """A stage whose last cell does not call run.finish is failed, also when every cell ran."""
    outcome, stages = run_tiny(tmp_path, {STAGES[0]: ["1 + 1"]})
    check_stopped_at(STAGES[0], stages, "failed")
    assert "ended without run.finish" in stages[STAGES[0]].error.message
    assert outcome.record.exit_code == 1


def test_an_error_after_the_verdict_takes_it_back(tmp_path):
    """A last stage that fails after run.finish has no verdict."""
    outcome, stages = run_tiny(tmp_path, {STAGES[-1]: [FINISH.format("verdict='accepted'"), "1 / 0"]})
    check_stopped_at(STAGES[-1], stages, "failed")
    assert (outcome.record.verdict, outcome.record.exit_code) == (None, 1)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interrupted_run_says_so_and_leaves_no_kernel(tmp_path, number):
    """Ctrl-C and SIGTERM: exit code 130, status interrupted, the kernel gone, one line on stderr, no traceback."""
    process, folder, kernel = start_tiny(tmp_path)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert not alive(kernel)
    record = read_record(folder)
    check_stopped_at(STAGES[1], {stage.name: stage for stage in record.stages}, "interrupted")
    assert (record.status, record.finished_at is not None) == ("interrupted", True)
    assert "error: 2_data_acquisition, cell 5: Interrupted." in err
    assert "Traceback" not in err and "Task" not in err


def test_a_run_killed_with_9_shows_as_interrupted(tmp_path):
    """After kill -9 of tdsp its kernel ends too, run.json is whole, and readers see an interrupted run."""
    process, folder, kernel = start_tiny(tmp_path)
    assert read_record(folder).current_status == "running"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: not alive(kernel), seconds=5)
    record = read_record(folder)
    assert (record.status, record.current_status) == ("running", "interrupted")
    shown = subprocess.run([sys.executable, "-m", "tdsp", "runs"], cwd=tmp_path, capture_output=True, text=True)
    assert "interrupted" in shown.stdout


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_kill_9_at_any_moment_leaves_whole_files(tmp_path):
    """Killed at a random moment, a run has a whole record or none, and no file that could be read as whole.

    TDSP_KILLS sets how many moments are tried.
    """
    file = write_project(tmp_path, {})
    rng = random.Random(2013)
    for _ in range(int(os.environ.get("TDSP_KILLS", "3"))):
        process = subprocess.Popen(
            [sys.executable, "-m", "tdsp", "run", file], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        time.sleep(rng.uniform(0.5, 8))
        process.kill()
        process.wait()
    for folder in tmp_path.glob("outputs/runs/*"):
        names = {path.name for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".part")}
        assert not names or "run.json" in names or all(".part" in name for name in names), names
        if "run.json" in names:
            assert read_record(folder).current_status in ("interrupted", "succeeded")
            assert all((folder / entry.path).exists() for entry in read_record(folder).artifacts)
    shown = [sys.executable, "-m", "tdsp", "runs"]
    assert subprocess.run(shown, cwd=tmp_path, capture_output=True, check=False).returncode == 0


@pytest.fixture
def tiny_disk(tmp_path):
    """A disk of 4 MiB; the test is skipped where none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_disk_that_fills_up_ends_the_run_with_a_whole_record(tmp_path, tiny_disk):
    """When not even the record can be written any more, the last one is whole and shows an interrupted run."""
    fill = "with open(run.path('big'), 'wb') as file:\n    file.write(b'x' * 10**7)"
    with pytest.raises(StageError, match=r"disk/runs/tiny-.* can no longer be written: No space left on device"):
        run_tiny(tmp_path, {STAGES[0]: [fill]}, out=tiny_disk)
    (folder,) = tiny_disk.glob("runs/*")
    record = replace(read_record(folder), process=None)  # this very process is still alive
    assert record.current_status == "interrupted"
    assert not list(folder.glob(".*.part*"))
