"""`tdsp cycle` as cron calls it: one decision a window, one call at a time, nothing lost when it is killed."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from tdsp.cli.app import call
from tdsp.config.cycle import read_cycle
from tdsp.core.files import file_lock
from tdsp.core.record import read_runs
from tdsp.monitoring.decisions import Decision, append_decision
from tdsp.registry import registry
from tdsp.runner.loop import Loop, training_sql
from tdsp.runner.preflight import plan_run
from tests.support.loops import changing_hours, decisions_of, promote_first, write_loop_project

CHANGE = "2025-08-05"
Capture = pytest.CaptureFixture[str]


def log_of(root: Path) -> Path:
    """Where the decisions of the project are."""
    return root / "outputs" / "monitoring" / "stations" / "decisions.jsonl"


def decided(window: str) -> Decision:
    """A line of that log."""
    return Decision("2026-01-01T00:00:00Z", window, "stations", "stations@1", "ok", "keep", "none", "no_trigger", "No.")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A project without a model."""
    return write_loop_project(tmp_path / "project", changing_hours(30))


# without a model ----------------------------------------------------------------------------------------------------
def test_a_window_that_was_decided_is_not_decided_again(file: Path, capsys: Capture):
    """The second call says what the first one decided, and changes no byte."""
    log = log_of(file.parents[1])
    append_decision(log, decided("2025-01"))
    before = log.read_bytes()
    assert call(["cycle", str(file), "--until", "2025-02-10", "--out", str(file.parents[1] / "outputs")]) == 0
    assert "2025-01 was decided before: keep" in capsys.readouterr().err
    assert log.read_bytes() == before


def test_the_second_of_two_calls_leaves(file: Path, capsys: Capture):
    """It prints why, decides nothing, and ends with 0: cron sends no mail about it."""
    outputs = file.parents[1] / "outputs"
    with file_lock(outputs / "cycle" / "stations"):
        assert call(["cycle", str(file), "--until", "2025-02-10", "--out", str(outputs), "--json"]) == 0
    captured = capsys.readouterr()
    assert "Another cycle of this model is at work" in captured.err
    assert json.loads(captured.out) == {"busy": True, "known": False, "dry_run": False, "decision": None}
    assert not log_of(file.parents[1]).exists()


@pytest.mark.parametrize(
    ("yaml", "cycle", "until", "message"),
    [
        ("", "evry: week", "2025-02-10", "Did you mean 'every'"),
        ("", "settings: {cv_fold: '3'}", "2025-02-10", "unknown parameter 'cv_fold' given. Did you mean 'cv_folds'"),
        ("", "", "in May", "--until 'in May' is no date. Write YYYY-MM-DD."),
        ("time_column: time\n", "", "2025-02-10", "a loop needs windows of time. Name the column with time_column."),
        ("", "", "2024-12-10", "2024-11 comes before 2024-12, which is decided"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(
    file: Path, capsys: Capture, yaml: str, cycle: str, until: str, message: str
):
    """Exit code 2, one message, no decision."""
    log = log_of(file.parents[1])
    append_decision(log, decided("2024-12"))
    before = log.read_bytes()
    file.write_text(
        file.read_text().replace(yaml, "").replace("split: time", "split: random" if yaml else "split: time")
    )
    file.with_name("stations.cycle.yaml").write_text(cycle)
    assert call(["cycle", str(file), "--until", until, "--out", str(file.parents[1] / "outputs")]) == 2
    assert message in capsys.readouterr().err
    assert log.read_bytes() == before


def test_the_schedule_can_be_pasted_from_a_folder_with_any_name(tmp_path: Path, capsys: Capture):
    """Blanks, quotes, dollar and per cent signs of a path reach the command as they are."""
    file = write_loop_project(tmp_path / "it's $5 & 10%", changing_hours(1), "every: week\n")
    assert call(["cycle", str(file), "--schedule"]) == 0
    printed = capsys.readouterr().out
    cron = next(line for line in printed.splitlines() if line.startswith("0 1 * * 1 "))
    shell = cron.removeprefix("0 1 * * 1 ").replace(r"\%", "%")
    assert shlex.split(shell)[:2] == ["cd", str(file.parents[1])]
    assert shlex.split(shell)[-1] == str(file)
    start = next(line for line in printed.splitlines() if line.startswith("ExecStart="))
    assert start.endswith(f'"{str(file).replace("%", "%%").replace("$", "$$")}"')
    assert "OnCalendar=Mon" in printed and 'cron: "0 1 * * 1"' in printed


def loop_of(file: Path, until: str) -> Loop:
    """The loop of a project at a moment."""
    plan, now = plan_run(file), pd.Timestamp(until)
    folder = plan.outputs / "cycle" / "stations" / "turn"
    return Loop(plan, read_cycle(file), now, now.to_period("M") - 1, folder, None, print, None)


def test_a_training_sees_no_row_whose_truth_is_not_in_and_none_that_was_broken(tmp_path: Path):
    """The SELECT of the training and the rows of the comparison leave out the same rows."""
    file = write_loop_project(tmp_path / "project", changing_hours(120), "labels_late: 10\n")
    broken = replace(decided("2025-02"), decision="data_fault", state="alarm")
    append_decision(log_of(file.parents[1]), broken)
    loop = loop_of(file, "2025-04-11")
    days = {f"{day:%Y-%m-%d}" for day in pd.date_range("2025-01-01", "2025-03-31") if day.month != 2}
    connection = duckdb.connect()
    connection.execute(f"CREATE VIEW stations AS SELECT * FROM '{file.parents[1]}/stations.parquet'")
    trained = connection.execute(training_sql(loop)).df()
    assert set(trained["time"].dt.strftime("%Y-%m-%d")) == days
    assert set(loop.labeled["time"].dt.strftime("%Y-%m-%d")) == days
    assert loop.history["time"].max() == pd.Timestamp("2025-04-10 23:00")


def test_a_select_of_its_own_is_wrapped_with_its_comments(tmp_path: Path):
    """A comment in the last line and a semicolon do not end the statement."""
    file = write_loop_project(tmp_path / "project", changing_hours(40))
    file.with_name("stations.sql").write_text("SELECT * FROM stations WHERE sky = 'blue'; -- clear hours\n")
    file.write_text(file.read_text() + "sql: stations.sql\n")
    connection = duckdb.connect()
    connection.execute(f"CREATE VIEW stations AS SELECT * FROM '{file.parents[1]}/stations.parquet'")
    trained = connection.execute(training_sql(loop_of(file, "2025-02-01"))).df()
    assert trained["time"].max() < pd.Timestamp("2025-02-01") and set(trained["sky"]) == {"blue"}


# with a model -------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose champion was trained before the rain changed its mind."""
    root = tmp_path_factory.mktemp("loop") / "project"
    frame = changing_hours(520, change=CHANGE)
    write_loop_project(root, frame)
    promote_first(root, frame[frame["time"] < "2025-08-01"])
    return root


def turn(root: Path, *options: str, cycle: str = "", until: str = "2025-09-01") -> int:
    """Call `tdsp cycle` with other settings of the loop."""
    file = root / "parameters" / "stations.yaml"
    file.with_name("stations.cycle.yaml").write_text(cycle)
    return call(["cycle", str(file), "--until", until, "--out", str(root / "outputs"), *options])


def files_of(root: Path) -> set[str]:
    """Every file below a folder."""
    return {str(path) for path in root.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_explain_prints_the_flow_and_writes_nothing(champion: Path, capsys: Capture):
    """Window, champion, monitor, labels, trigger, decision, with the present values; an alarm ends with 4."""
    before = files_of(champion / "outputs")
    assert turn(champion, "--explain") == 4
    printed = capsys.readouterr().out
    for step in ("window     2025-08: 2025-08-01", "champion   stations@1", "monitor    alarm", "labels     744 new"):
        assert step in printed
    assert "2025-08  would be retrain (by_alarm): The model is worse" in printed
    assert files_of(champion / "outputs") == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cycle", "decision", "reason"),
    [
        ("on_alarm: false", "keep", "no_trigger"),
        ("on_alarm: false\nretrain_every: 1", "retrain", "by_schedule"),
        ("on_alarm: false\nnew_labels: 700", "retrain", "by_labels"),
        ("on_alarm: false\nlabels_late: 10\nnew_labels: 700", "keep", "no_trigger"),
        ("min_labels: 745", "wait", "few_labels"),
        ("on_alarm: false\nevery: week\ncost: 1.0\nvalue_of_loss: 1.0", "retrain", "by_cost"),
    ],
)
def test_each_trigger_on_real_rows(champion: Path, capsys: Capture, cycle: str, decision: str, reason: str):
    """The settings alone change what follows from the same rows."""
    assert turn(champion, "--dry-run", "--json", cycle=cycle) in (0, 4)
    made = json.loads(capsys.readouterr().out)["decision"]
    assert (made["decision"], made["reason"]) == (decision, reason)


@pytest.mark.slow
def test_a_broken_column_never_retrains(champion: Path, capsys: Capture):
    """New rows with pressure in another unit are a data fault, whatever else asks for a training."""
    rows = changing_hours(280)
    rows = rows[rows["time"] >= "2025-08-01"]
    rows.assign(pressure=0.02953 * rows["pressure"]).to_csv(champion / "new.csv", index=False)
    assert turn(champion, "--dry-run", "--json", cycle="data: new.csv\nretrain_every: 1") == 4
    made = json.loads(capsys.readouterr().out)["decision"]
    assert (made["decision"], made["trigger"]) == ("data_fault", "none")
    assert made["text"].startswith("pressure is broken. Mend the column; retraining cannot help.")


@pytest.mark.slow
def test_a_moment_before_the_champion_is_refused(champion: Path, capsys: Capture):
    """Nothing is left to judge it by."""
    assert turn(champion, until="2025-07-15") == 2
    assert "stations@1 has seen rows until 2025-07-31" in capsys.readouterr().err
    assert decisions_of(champion) == []


# a turn that is killed ----------------------------------------------------------------------------------------------
def champion_serves(root: Path) -> int:
    """Load what the alias names, predict with it, and return its number."""
    outputs = root / "outputs"
    version = registry.find_version("stations@champion", outputs)
    assert version is not None
    row = changing_hours(1).head(1)
    assert registry.load_model("stations@champion", outputs).predict(row, "a row").notna().all().all()
    return version.version


def moments(root: Path) -> list[tuple[str, Callable[[], bool]]]:
    """The moments of a turn, in their order, as what can be seen from outside."""
    outputs = root / "outputs"
    step = outputs / "cycle" / "stations" / "2026-05" / "turn.json"

    def noted(name: str) -> bool:
        return step.exists() and bool(json.loads(step.read_bytes())[name])

    def runs() -> list[str]:
        return [record.current_status for _, record in read_runs(outputs)[0]]

    return [
        ("begun", step.exists),
        ("rows written", (step.parent / "rows.parquet").exists),
        ("report begun", lambda: any((outputs / "monitoring" / "stations").glob("2*"))),
        ("report written", lambda: any((outputs / "monitoring" / "stations").glob("2*/monitor.json"))),
        ("monitored", lambda: noted("state")),
        ("training", lambda: len(runs()) > 1),
        ("trained", lambda: len(runs()) > 1 and runs()[0] == "succeeded"),
        ("run noted", lambda: noted("run")),
        ("registered", (outputs / "models" / "stations" / "2" / "version.json").exists),
        ("decided", lambda: noted("outcome")),
    ]


def kill_at(command: list[str], cwd: Path, reached: Callable[[], bool], later: float, *, group: bool) -> bool:
    """Start a turn and kill it so many seconds after a moment, with its kernels or alone; return whether it lived."""
    process = subprocess.Popen(
        command, cwd=cwd, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until = None
    while process.poll() is None:
        if until is None and reached():
            until = time.monotonic() + later
        if until is not None and time.monotonic() >= until:
            (os.killpg if group else os.kill)(process.pid, signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.005)
    return False


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_20_moments_a_champion_serves_and_one_decision_is_made(tmp_path: Path):
    """After each kill -9 the champion predicts; the last call ends the turn: one decision, challenger, promotion."""
    root, frame = tmp_path / "project", changing_hours(520, change=CHANGE)
    file = write_loop_project(root, frame)
    promote_first(root, frame[frame["time"] < "2025-08-01"])
    command = [sys.executable, "-m", "tdsp", "cycle", str(file), "--until", "2026-06-01"]
    killed = 0
    for i, (_, reached) in enumerate(moments(root)):
        for later in (0.0, 0.25 if i % 2 else 1.5):
            killed += kill_at(command, root, reached, later, group=bool(later))
            assert champion_serves(root) in (1, 2)
            assert len(decisions_of(root)) <= 1
    assert killed >= 18
    assert subprocess.run(command, cwd=root, capture_output=True, check=False).returncode in (0, 4)
    (made,) = decisions_of(root)
    assert (made["decision"], made["challenger"], made["window"]) == ("promote", "stations@2", "2026-05")
    assert champion_serves(root) == 2
    board = registry.read_board("stations", root / "outputs")
    assert board is not None and len(board.versions) == 2
    assert registry.rollback("stations", reason="a test", outputs=root / "outputs").version == 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_same_turns_twice_give_the_same_decisions(tmp_path: Path):
    """Two projects with the same files: equal but for times, run ids and folders of reports."""
    found = []
    for name in ("a", "b"):
        root, frame = tmp_path / name, changing_hours(520, change=CHANGE)
        file = write_loop_project(root, frame, "min_labels: 1000\n")
        promote_first(root, frame[frame["time"] < "2025-08-01"])
        for until in ("2025-09-01", "2026-06-01"):
            assert call(["cycle", str(file), "--until", until, "--out", str(root / "outputs")]) == 4
        own = ("at", "run", "monitor")
        found.append([{key: value for key, value in one.items() if key not in own} for one in decisions_of(root)])
    assert found[0] == found[1]
    assert [one["decision"] for one in found[0]] == ["wait", "promote"]
    assert re.match("The model is worse.* The challenger is better", str(found[0][1]["text"]))
