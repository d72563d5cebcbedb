"""The four samples run from end to end; what is known about each is found."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tdsp.runner import pipeline

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(900)]
SHORT_FLIGHTS = {"max_rows": "30000", "search_trials": "3"}  # all months, in seconds instead of minutes


def run(project: Path, name: str, **settings: str) -> pipeline.RunOutcome:
    """Run a sample in a project folder of its own."""
    return pipeline.run_file(project / "parameters" / f"{name}.yaml", settings=settings)


EXPECTED = {
    "breast_cancer": ("accepted", "test_roc_auc", (0.98, 1.0)),
    "wine": ("accepted", "test_balanced_accuracy", (0.9, 1.0)),
    "diabetes": ("insufficient evidence", "test_r2", (0.3, 0.6)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_a_sample_runs_to_its_verdict(project, name):
    """Binary, multiclass and regression: score, interval and verdict are as they should be."""
    verdict, score, range_ = EXPECTED[name]
    outcome = run(project, name)
    found = outcome.record.metrics[score]
    assert (outcome.record.status, outcome.record.verdict, outcome.page_problem) == ("succeeded", verdict, "")
    assert range_[0] <= found.value <= range_[1] and found.low < found.value <= found.high
    assert outcome.record.exit_code == (0 if verdict == "accepted" else 3)


@pytest.fixture
def flights(project: Path) -> Path:
    """A project whose transform also gives what is known only after departure."""
    sql = project / "parameters" / "flights.sql"
    sql.write_text(sql.read_text().replace("    f.carrier,", "    f.dep_delay,\n    f.carrier,"))
    return project


@pytest.mark.slow
def test_flights_are_split_by_time_and_resampled_by_day(project):
    """The last fifth of the year is the test; its days are what is independent."""
    record = run(project, "flights", **SHORT_FLIGHTS).record
    found = record.metrics["test_roc_auc"]
    assert record.status == "succeeded" and found.resampled == "days"
    assert 0.6 < found.value < 0.72 and found.high - found.low > 0.02
    assert not [gate for gate in record.gates if gate.name.startswith("Columns") and gate.answer != "go"]


@pytest.mark.slow
def test_a_column_known_only_afterwards_is_named_and_stops_the_verdict(flights):
    """With `dep_delay` in the table the score is splendid, and worthless: the run ends with exit code 3."""
    outcome = run(flights, "flights", **SHORT_FLIGHTS)
    gate = next(g for g in outcome.record.gates if g.name.startswith("Columns that may give"))
    undecided = "insufficient evidence"  # until somebody has answered whether it is known before
    assert (outcome.record.exit_code, outcome.record.verdict, gate.answer) == (3, undecided, undecided)
    assert "dep_delay" in gate.note


@pytest.mark.slow
def test_busy_cores_another_hash_seed_and_time_zone_change_no_byte(project, tmp_path):
    """The table and the bundle have the same bytes on an idle machine and on one that others keep busy."""
    sums = []
    for busy in (False, True):
        burn = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * busy)]
        env = os.environ | ({"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C"} if busy else {})
        try:
            out = tmp_path / f"out-{busy}"
            command = [sys.executable, "-m", "tdsp", "run", "parameters/flights.yaml", "--out", str(out)]
            done = subprocess.run(
                [*command, "--set", "max_rows=12000", "--set", "search_trials=8"],
                cwd=project,
                env=env,
                capture_output=True,
                check=False,
            )
        finally:
            for process in burn:
                process.send_signal(signal.SIGKILL)
                process.wait()
        assert done.returncode in (0, 3), done.stderr[-2000:]
        (table,), (manifest,) = out.glob("lake/tables/*.parquet"), out.glob("runs/*/model/bundle.json")
        sums.append((table.name, table.read_bytes(), manifest.read_bytes()))
    assert sums[0] == sums[1]
