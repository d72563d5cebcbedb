"""Many runs in one call: every member is tried, the worst end counts, nothing is left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tdsp.core.errors import ParameterError
from tdsp.core.record import read_record
from tdsp.runner.batch_runs import BatchRun, make_batch, parse_grid, run_batch, severest
from tests.runner.test_engine import alive, wait_until
from tests.support.tiny import FINISH, write_project

STOP = "import os, time\nif p.cv_folds == 4:\n    os.kill(os.getpid(), 9)"
SLEEP = "import os, time\nrun.path('pid').write_text(str(os.getpid()))\ntime.sleep(120)"


def test_a_grid_is_every_combination_for_every_file():
    """Two files and two values of two parameters are eight batch, each with its own label."""
    grid = parse_grid(["cv_folds=3,5", "candidates=[linear, dummy],[dummy]"])
    batch = make_batch([Path("a.yaml"), Path("b/b.yaml")], {"target": "y"}, grid)
    assert len(batch) == 8
    assert batch[0].settings == {"target": "y", "cv_folds": "3", "candidates": "[linear, dummy]"}
    assert batch[-1].label == "b cv_folds=5 candidates=[dummy]"


@pytest.mark.parametrize("text", ["cv_folds", "=3", "cv_folds=", "cv_folds=3,,5"])
def test_a_grid_that_cannot_be_read_is_refused(text):
    """The message shows how it is written."""
    with pytest.raises(ParameterError, match=r"--grid takes NAME=A,B, not .*: for example --grid cv_folds=3,5"):
        parse_grid([text])


def test_no_run_is_made_twice():
    """A name in --set and --grid, a repeated value, a repeated file: each is an error that names it."""
    with pytest.raises(ParameterError, match="a is given by --set and by --grid"):
        make_batch([Path("x.yaml")], {"a": "1"}, {"a": ["2"]})
    with pytest.raises(ParameterError, match="x a=1 is given twice"):
        make_batch([Path("x.yaml")], {}, {"a": ["1", "1"]})
    with pytest.raises(ParameterError, match="x is given twice"):
        make_batch([Path("x.yaml"), Path("./x.yaml")], {}, {})


@pytest.mark.parametrize(("codes", "code"), [([0, 3], 3), ([3, 2], 2), ([2, 1], 1), ([1, 130], 130), ([0, 0], 0)])
def test_the_worst_end_counts(codes, code):
    """Interrupted is worse than failed, then bad input, then a verdict that is not accepted."""
    assert severest(codes) == code


@pytest.mark.end_to_end
def test_a_member_that_fails_does_not_stop_the_others(tmp_path):
    """A killed kernel and a bad value end their own batch; the others are accepted, each in its own folder."""
    file = write_project(tmp_path, {"3_modeling": [STOP, FINISH.format("")]})
    seen = []
    batch = [BatchRun(str(file), {"cv_folds": folds}, {"cv_folds": folds}) for folds in ("3", "4", "x", "5")]
    statuses = run_batch(batch, jobs=2, watch=lambda statuses: seen.append([p.state for p in statuses]))
    assert [status.exit_code for status in statuses] == [0, 1, 2, 0]
    assert [status.state for status in statuses] == ["accepted", "failed", "bad input", "accepted"]
    assert "killed by SIGKILL" in statuses[1].problem and "'x' is no int" in statuses[2].problem
    folders = {status.folder for status in statuses if status.folder}
    assert len(folders) == 3 and all(read_record(folder).finished_at for folder in folders)
    assert any("3_modeling" in states for states in seen)


@pytest.mark.end_to_end
@pytest.mark.slow
def test_ctrl_c_ends_the_running_batch_and_starts_no_more(tmp_path):
    """Exit code 130, the running member is interrupted, the waiting one was not started, no process is left."""
    process, kernel = start_batch(write_project(tmp_path, {"1_business_understanding": [SLEEP]}))
    processes = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    (folder,) = tmp_path.glob("outputs/runs/*")
    assert read_record(folder).status == "interrupted"
    assert "tiny cv_folds=3  interrupted" in out and "tiny cv_folds=4  not started" in out
    assert "Traceback" not in err
    assert not alive(kernel) and not any(alive(child.pid) for child in processes)


@pytest.mark.end_to_end
@pytest.mark.slow
def test_workers_and_kernels_end_with_a_batch_that_was_killed(tmp_path):
    """After kill -9 of the batch its worker ends the run as interrupted, and the kernel is gone."""
    process, kernel = start_batch(write_project(tmp_path, {"1_business_understanding": [SLEEP]}))
    processes = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not alive(kernel) and not any(alive(child.pid) for child in processes), seconds=15)
    (folder,) = tmp_path.glob("outputs/runs/*")
    assert read_record(folder).status == "interrupted"


def start_batch(file: Path) -> tuple[subprocess.Popen, int]:
    """Start a batch of two whose first stage sleeps; return it and the number of the first kernel."""
    command = [sys.executable, "-m", "tdsp", "run", str(file), "--grid", "cv_folds=3,4"]
    root = file.parents[1]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: any(p.read_text() for p in root.glob("outputs/runs/*/pid")))
    (note,) = root.glob("outputs/runs/*/pid")
    return process, int(note.read_text())


@pytest.mark.end_to_end
@pytest.mark.slow
def test_a_worker_that_is_killed_costs_its_own_member_only(tmp_path):
    """When the system kills a worker, its member has failed with the signal's name, and a new worker goes on."""
    file = write_project(tmp_path)
    batch = [BatchRun(str(file), {"cv_folds": folds}, {"cv_folds": folds}) for folds in ("3", "4")]
    killed = []

    def kill_once(statuses) -> None:
        if statuses[0].event is not None and not killed:
            killed.append(psutil.Process().children()[0])
            killed[0].kill()

    statuses = run_batch(batch, watch=kill_once)
    assert [status.exit_code for status in statuses] == [1, 0]
    assert statuses[0].problem == "The process that ran it ended with SIGKILL."


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot give processors away")
def test_workers_share_the_processors(tmp_path):
    """Two workers have no processor in common, where there are two; each has at least one."""
    note = "import os\nrun.note(cores=sorted(os.sched_getaffinity(0)), seed=p.cv_folds)"
    file = write_project(tmp_path, {"3_modeling": [note, FINISH.format("")]})
    batch = make_batch([file], {}, {"cv_folds": ["3", "5"]})
    statuses = run_batch(batch, jobs=2, out=str(tmp_path / "outputs"))
    assert [one.exit_code for one in statuses] == [0, 0]
    one, other = (set(read_record(Path(p.folder)).facts["cores"].value) for p in statuses)
    every = os.sched_getaffinity(0)
    assert one and other and one | other <= every
    assert not one & other or len(every) == 1
