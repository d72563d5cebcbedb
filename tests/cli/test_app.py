"""The command line: exit codes, one message an error, results on stdout, the next step last."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from tdsp.cli import app, doctor
from tdsp.core.environment import ProcessInfo
from tdsp.core.project import STAGES
from tdsp.core.record import MetricEntry, create_run, new_record
from tdsp.core.results import Gate, Headline
from tests.support.tiny import write_project

VERBS = ["init", "ingest", "run", "check", "runs", "show", "report", "predict", "serve", "doctor"]


@pytest.fixture
def tdsp(capsys, monkeypatch):
    """Call the command in this process; return exit code, stdout and stderr."""

    def command(*arguments) -> tuple[int, str, str]:
        capsys.readouterr()
        code = app.call([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    monkeypatch.delenv("TDSP_DEBUG", raising=False)
    return command


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """Two run folders in an empty project: one rejected, one that says it is running but is not."""
    monkeypatch.chdir(tmp_path)
    first = new_record("flights-20261122T140500Z-7c1e", "flights", fixed=True)
    first = replace(
        first.with_stage(
            STAGES[4], status="succeeded", headline=Headline("Rejected", "bad", "No.", "auc"), seconds=3.0
        ),
        status="succeeded",
        verdict="rejected",
        started_at="2026-11-22T14:05:00Z",
        seconds=61.04,
        metrics={"auc": MetricEntry(0.6789, 0.654, 0.701, 5, label="ROC-AUC")},
        gates=(Gate("ROC-AUC", ">=", 0.6789, 0.654, 0.701, 0.75, stage=STAGES[4]),),
    )
    second = new_record("wine-20261123T140500Z-aaaa", "wine", fixed=True)
    second = replace(second, started_at="2026-11-23T14:05:00Z", process=ProcessInfo(1, "another"))
    for record in (first, second):
        create_run(tmp_path / "outputs" / "runs" / record.run_id, record)
    return tmp_path


DAMAGED = [b"", b"{", b"[]", b"\xff\xfe", b"null", b'{"stages": 1}', b'{"schema_version": 99}', b"[" * 200_000]


@pytest.mark.parametrize("content", DAMAGED)
def test_one_damaged_record_hides_no_other_run(tdsp, finished, content):
    """`runs` lists the others, names the damaged one on stderr and what to do about it; so does its JSON."""
    damaged = finished / "outputs" / "runs" / "flights-20261124T140500Z-bad1"
    damaged.mkdir()
    (damaged / "run.json").write_bytes(content)
    for more in ((), ("--json",)):
        code, out, err = tdsp("runs", *more)
        assert code == 0 and "flights-20261122T140500Z-7c1e" in out and "wine-20261123T140500Z-aaaa" in out
        assert "left out" in err and "bad1" in err and "bad1" not in out


def test_what_data_hold_does_not_command_the_terminal(capsys):
    """Escape sequences, returns and turned directions are shown, not obeyed; JSON still says what they are."""
    from tdsp.cli.console import echo, echo_json, warn

    evil = "a\x1b]0;owned\x07\x1b[2J\rb\u202ec\x9bd\tü\n"
    echo(evil)
    warn(evil)
    out, err = capsys.readouterr()
    assert out == err == "a\\u001b]0;owned\\u0007\\u001b[2J\\u000db\\u202ec\\u009bd\tü\n\n"
    echo_json({"name": evil})
    assert json.loads(capsys.readouterr().out) == {"name": evil}


@pytest.mark.parametrize("name", ["it's", "a'b; DROP", "ä#1", "-x", "<b>", "a$b"])
def test_a_project_is_called_what_a_model_may_be_called(tdsp, tmp_path, name):
    """The name reaches SQL filters, folders and pages; the message says which signs it may have."""
    file = write_project(tmp_path)
    odd = file.rename(file.with_name(f"{name}.yaml"))
    code, _, err = tdsp("check", "--", odd)
    assert code == 2 and "is no name for a model" in err


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(tdsp, verb):
    """--help goes to stdout, exits 0 and shows an example."""
    code, out, err = tdsp(verb, "--help")
    assert (code, err) == (0, "")
    assert f"Example: tdsp {verb}" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnu"], r"No such command 'rnu'. Did you mean 'run'"),
        (["run", "--sett", "a=1"], "No such option: --sett"),
        (["run"], "Missing argument 'FILE'"),
        (["run", "a.yaml", "--cell-timeout", "soon"], "Invalid value for '--cell-timeout'"),
        (["run", "nothing.yaml"], "nothing.yaml does not exist"),
        (["run", "a.yaml", "--set", "cv_folds"], "--set takes NAME=VALUE, not 'cv_folds'"),
        (["run", "a.yaml", "--set", "a=1", "--set", "a=2"], "--set gives a twice"),
        (["show", "flights"], "No run 'flights'"),
        (["report", "latest"], "There is no run yet"),
    ],
)
def test_what_a_user_can_mistype_ends_with_2_and_one_message(tdsp, tmp_path, monkeypatch, arguments, message):
    """Bad input: exit code 2, one message on stderr, nothing on stdout, no traceback, nothing written."""
    monkeypatch.chdir(tmp_path)
    code, out, err = tdsp(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and message in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_debug_adds_the_traceback(tdsp, tmp_path, monkeypatch):
    """--debug anywhere on the line shows where an error was raised."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TDSP_DEBUG", "")  # so that what --debug sets is taken back
    code, _, err = tdsp("run", "nothing.yaml", "--debug")
    assert code == 2
    assert "Traceback" in err and err.rstrip().splitlines()[-1].startswith("error: ")


def test_an_unforeseen_error_is_short_and_ends_with_1(tdsp, monkeypatch):
    """A fault of ours shows its type and message and how to see more."""
    monkeypatch.setattr(doctor, "examine", lambda: {}["x"])
    assert tdsp("doctor") == (1, "", "error: KeyError: 'x'\nThis was not foreseen; --debug shows where.\n")


def test_a_full_disk_gives_one_plain_message(tdsp, monkeypatch):
    """An error of the system names its cause and the file."""

    def fail() -> None:
        raise OSError(28, "No space left on device", "/data/x")

    monkeypatch.setattr(doctor, "examine", fail)
    assert tdsp("doctor") == (1, "", "error: No space left on device: /data/x\n")


def test_ctrl_c_ends_with_130(tdsp, monkeypatch):
    """An interrupt outside a run ends quietly with exit code 130."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "examine", interrupt)
    assert tdsp("doctor") == (130, "", "")


def test_runs_lists_the_newest_first_with_their_true_state(tdsp, finished):
    """Result and number with interval of each run; a run whose process is gone was interrupted."""
    code, out, _ = tdsp("runs")
    lines = out.splitlines()
    assert code == 0
    assert lines[1].split()[0] == "wine-20261123T140500Z-aaaa" and "interrupted" in lines[1]
    assert "rejected" in lines[2] and "ROC-AUC 0.679, 95 % interval 0.654 to 0.701" in lines[2] and "61.0" in lines[2]
    assert lines[-1] == "Next: tdsp show wine-20261123T140500Z-aaaa"


def test_runs_as_json_is_a_list_of_records(tdsp, finished):
    """--json prints one JSON document and nothing else."""
    _, out, err = tdsp("runs", "--json", "--project", "flights")
    assert [(run["run_id"][:7], run["status"], run["verdict"]) for run in json.loads(out)] == [
        ("flights", "succeeded", "rejected")
    ]
    assert err == ""


def test_no_run_yet_is_no_error(tdsp, tmp_path, monkeypatch):
    """An empty project says what to type first."""
    monkeypatch.chdir(tmp_path)
    assert tdsp("runs") == (0, "No run yet.  Next: tdsp run parameters/NAME.yaml\n", "")


def test_show_is_the_board_of_a_run(tdsp, finished):
    """Verdict, number, stages, gates and the next step; a part of the id is enough."""
    code, out, _ = tdsp("show", "flights")
    assert code == 0
    assert "rejected   ROC-AUC 0.679, 95 % interval 0.654 to 0.701" in out
    assert "5_customer_acceptance     succeeded  3.0      Rejected" in out
    assert "ROC-AUC  0.679  0.654 to 0.701  >= 0.75  no-go" in out
    assert out.rstrip().splitlines()[-1].startswith("Next: ")


def test_doctor_names_what_is_missing_and_what_to_type(tdsp, finished, monkeypatch):
    """A package that is absent is named with its remedy, and the exit code is 1."""
    import importlib.metadata as metadata

    assert tdsp("doctor")[0] == 0
    monkeypatch.setattr(metadata, "requires", lambda _: ["no-such-package>=2", 'mypy>=1; extra == "dev"'])
    code, out, _ = tdsp("doctor")
    assert code == 1
    assert "MISSING  no-such-package: not installed\n         pip install 'no-such-package>=2'" in out
    assert "mypy" not in out


@pytest.mark.end_to_end
def test_a_run_ends_with_verdict_page_seconds_and_next_step(tdsp, tmp_path, monkeypatch):
    """stdout holds the result only, stderr a line a stage."""
    monkeypatch.chdir(tmp_path)
    code, out, err = tdsp("run", write_project(tmp_path))
    lines = out.splitlines()
    assert (code, lines[0]) == (0, "accepted")
    assert lines[1].startswith("page     outputs/runs/tiny-") and lines[1].endswith("index.html")
    assert lines[2].startswith("seconds  ") and lines[3].startswith("Next: tdsp predict outputs/runs/tiny-")
    assert [line.split()[1] for line in err.splitlines()[1:]][::4] == [
        "1_business_understanding",
        "5_customer_acceptance",
    ]


@pytest.mark.end_to_end
def test_a_failed_run_as_json_is_its_record(tdsp, tmp_path):
    """With --json stdout is the record, also of a failed run; the error goes to stderr."""
    file = write_project(tmp_path, {"1_business_understanding": ["1 / 0"]})
    code, out, err = tdsp("run", file, "--json")
    assert code == 1
    assert json.loads(out)["stages"][0]["error"]["type"] == "ZeroDivisionError"
    assert "error: 1_business_understanding, cell 5, line 1: ZeroDivisionError: division by zero" in err


def test_a_reader_that_leaves_early_is_no_error(finished):
    """`tdsp show … | head -1` ends quietly."""
    line = f"{sys.executable} -m tdsp.cli.app show flights | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], cwd=finished, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "flights\n", "")


def test_a_terminal_without_the_signs_of_a_verdict_still_shows_it(finished):
    """In an ASCII terminal a narrow blank becomes an escape instead of an error."""
    command = [sys.executable, "-m", "tdsp", "show", "flights"]
    ascii_only = {"PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=finished, capture_output=True, env=ascii_only, text=True)
    assert (done.returncode, done.stderr) == (0, "")
