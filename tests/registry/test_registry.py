"""Which model is in use: names lead to folders, promotion needs the gate or a reason, nothing is half moved."""

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tdsp.cli import app
from tdsp.core.errors import BundleError, RunError
from tdsp.core.files import sha256_file
from tdsp.core.record import Run, create_run, new_record
from tdsp.registry import tracking
from tdsp.registry.registry import (
    find_model,
    load_model,
    promote,
    read_board,
    refresh,
    register_challenger,
    rollback,
    verdict_on,
)
from tests.packaging.test_bundle import reseal, write


def finished(outputs: Path, number: int, verdict: str | None = "accepted") -> Path:
    """A run with a bundle of its own."""
    run_id = f"binary-2026110{number}T080000Z-000{number}"
    record = replace(new_record(run_id, "binary", fixed=True), verdict=verdict, status="succeeded")
    run = create_run(outputs / "runs" / run_id, record)
    folder, _ = write(run.folder / "model", "binary", "linear", card={"title": f"Model {number}"})
    run.add_artifact(folder, kind="bundle")
    return run.folder


def test_every_way_to_name_a_model_leads_to_its_folder(outputs: Path) -> None:
    """Folder, run folder, run id, part of it, alias, number; the registered one is a copy."""
    run = finished(outputs, 1)
    promote(run, outputs=outputs)
    for spec in (run / "model", run, run.name, "0001"):
        assert find_model(spec, outputs) == run / "model"
    for spec in ("binary@champion", "binary@1"):
        assert find_model(spec, outputs) == outputs / "models/binary/1/model"
        assert load_model(spec, outputs).replay_golden()["identical"]


@pytest.mark.parametrize(
    ("spec", "kind", "message"),
    [
        ("binray@champion", BundleError, "No model 'binray' is registered here. Did you mean 'binary'"),
        ("binary@challenger", BundleError, "binary has no 'challenger'; it has: champion"),
        ("binary@7", BundleError, "binary has no version 7; there are: 1"),
        ("nothing", RunError, "No run 'nothing'"),
        ("no/such/folder", BundleError, "There is no bundle"),
        ("no.whl", BundleError, "There is no wheel"),
    ],
)
def test_what_leads_nowhere_is_named(outputs: Path, spec: str, kind: type[Exception], message: str) -> None:
    """With the closest name, or what there is."""
    promote(finished(outputs, 1), outputs=outputs)
    with pytest.raises(kind, match=message):
        find_model(spec, outputs)


def test_only_an_accepted_run_is_promoted_without_a_reason(outputs: Path) -> None:
    """The reason stays in the history, and a refused promotion changes nothing."""
    promote(finished(outputs, 1), outputs=outputs)
    for verdict, told in (("rejected", "is rejected"), (None, "is without a verdict")):
        run = finished(outputs, 2 if verdict else 3, verdict)
        with pytest.raises(BundleError, match=f"{told}. Give --reason"):
            promote(run, outputs=outputs)
    assert read_board("binary", outputs).aliases == {"champion": 1}
    promote(outputs / "runs/binary-20261102T080000Z-0002", reason="new sensor", outputs=outputs)
    last = read_board("binary", outputs).history[-1]
    assert (last.before, last.version, last.by, last.reason) == (1, 2, "reason", "new sensor")


def test_the_verdict_on_a_model_is_that_of_its_run_or_version_or_of_its_packing(outputs: Path, tmp_path: Path) -> None:
    """A copy without either says what was known when it was packed."""
    run = finished(outputs, 1, verdict="insufficient evidence")
    Run(run).note(unstated=["no_threshold"])
    assert verdict_on(run / "model") == "insufficient evidence (no_threshold)"
    promote(run, outputs=outputs, reason="a trial")
    assert verdict_on(find_model("binary@champion", outputs)) == "insufficient evidence"
    alone, _ = write(tmp_path / "alone", "binary", "linear", card={"verdict": "rejected: a gate is not passed"})
    assert verdict_on(alone) == "rejected: a gate is not passed"


def test_a_registered_model_outlives_its_run_and_is_watched(outputs: Path) -> None:
    """The copy is checked against what was registered."""
    promote(finished(outputs, 1), outputs=outputs)
    other = finished(outputs, 2)
    folder = find_model("binary@champion", outputs)
    for path in (other / "model").rglob("*"):
        if path.is_file():
            (folder / path.relative_to(other / "model")).write_bytes(path.read_bytes())
    with pytest.raises(BundleError, match="this is not what was registered as binary 1"):
        load_model("binary@champion", outputs)


@pytest.mark.parametrize("spec", ["binary@champion", "binary@1", "binary-20261101T080000Z-0001"])
def test_a_rewritten_note_does_not_make_another_model_the_registered_one(outputs: Path, spec: str) -> None:
    """Bundle, seal and the note beside it say the same; the registry knows better."""
    run = finished(outputs, 1)
    promote(run, outputs=outputs)
    folder = find_model(spec, outputs)
    (folder / "pipeline.joblib").write_bytes(b"evil")
    reseal(folder)
    for note in ("version.json", "run.json"):
        if (folder.parent / note).exists():
            text = (folder.parent / note).read_text()
            before = read_board("binary", outputs).versions[0].bundle_sha256
            assert before in text
            (folder.parent / note).write_text(text.replace(before, sha256_file(folder / "bundle.json")))
    with pytest.raises(BundleError, match="this is not what was registered as binary 1"):
        load_model(spec, outputs)
    (folder / "bundle.json").unlink()
    with pytest.raises(BundleError, match=r"this is not what was registered|is no bundle"):
        load_model(spec, outputs)


def test_a_board_that_cannot_be_read_is_named(outputs: Path) -> None:
    """It says what to do."""
    promote(finished(outputs, 1), outputs=outputs)
    (outputs / "models/binary/registry.json").write_text("{")
    with pytest.raises(BundleError, match=r"registry\.json cannot be read.*tdsp models"):
        find_model("binary@champion", outputs)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["copy", "it's 100 % [new] #2 ü & 'co'"])
def test_a_copied_project_writes_into_itself_and_a_moved_one_is_whole(outputs: Path, name: str) -> None:
    """MLflow keeps absolute addresses: a copy follows its own folder, and its origin is left as it was."""
    promote(finished(outputs, 1), outputs=outputs)
    copied = Path(shutil.copytree(outputs, outputs.parent / name / "outputs"))
    before = tree(outputs)
    promote(finished(copied, 2), outputs=copied)
    assert tree(outputs) == before
    outputs.rename(outputs.with_name("gone"))
    for folder in (copied.parent, outputs.parent / "moved"):
        place = (folder if folder.exists() else copied.parent.rename(folder)) / "outputs"
        shutil.rmtree(place / "models")  # fetched again, from MLflow's files
        for version in (1, 2):
            assert load_model(f"binary@{version}", place).replay_golden()["identical"]
            assert find_model(f"binary@{version}", place).is_relative_to(place.resolve())
        addresses = [run.info.artifact_uri for run in logged(place)]
        assert len(addresses) == 2 and all(address.startswith(place.resolve().as_uri()) for address in addresses)
    assert not outputs.exists()


def logged(outputs: Path) -> list[Any]:
    """The runs that MLflow has of the project."""
    client = tracking.open_client(outputs)
    return client.search_runs([client.get_experiment_by_name("binary").experiment_id])


def test_experiments_of_other_people_in_the_database_stay_where_they_are(outputs: Path, tmp_path: Path) -> None:
    """Only what was written as ours is moved along."""
    client = tracking.open_client(outputs)
    client.create_experiment("theirs", artifact_location="file:///data/mlflow/elsewhere")
    client.create_experiment("ours", artifact_location="file:///old%20place/outputs/mlflow/ours")
    client = tracking.open_client(outputs)
    assert client.get_experiment_by_name("theirs").artifact_location == "file:///data/mlflow/elsewhere"
    ours = client.get_experiment_by_name("ours").artifact_location
    assert ours == (outputs.resolve() / "mlflow/ours").as_uri()


def test_rollback_goes_back_one_champion_at_a_time(outputs: Path) -> None:
    """Three were champions; from the first there is no way back; a promotion after it starts from there."""
    runs = [finished(outputs, number) for number in (1, 2, 3)]
    for run in runs:
        promote(run, outputs=outputs)
    assert [rollback("binary", outputs=outputs).version for _ in range(2)] == [2, 1]
    with pytest.raises(BundleError, match="has had no other champion"):
        rollback("binary", outputs=outputs)
    assert find_model("binary@champion", outputs).parent.name == "1"
    promote("binary@3", outputs=outputs)
    assert rollback("binary", reason="too slow", outputs=outputs).version == 1
    assert [(m.by, m.version) for m in read_board("binary", outputs).history][-2:] == [("gate", 3), ("rollback", 1)]
    assert read_board("binary", outputs).history[-1].reason == "too slow"


def test_an_accepted_run_is_offered_as_challenger(outputs: Path) -> None:
    """It follows on the champion by promotion alone; what was not accepted is not even registered."""
    promote(finished(outputs, 1), outputs=outputs)
    assert register_challenger(finished(outputs, 2), outputs).version == 2
    assert read_board("binary", outputs).aliases == {"champion": 1, "challenger": 2}
    assert register_challenger(finished(outputs, 3, "rejected"), outputs) is None
    promote("binary@challenger", outputs=outputs)
    assert read_board("binary", outputs).aliases == {"champion": 2}
    assert register_challenger(outputs / "runs/binary-20261101T080000Z-0001", outputs).version == 1
    assert read_board("binary", outputs).aliases == {"champion": 2}


def test_promoting_twice_registers_and_moves_once(outputs: Path) -> None:
    """The run is found again, and the history does not grow."""
    run = finished(outputs, 1)
    assert promote(run, outputs=outputs) == promote(run.name, outputs=outputs)
    assert len(read_board("binary", outputs).history) == len(read_board("binary", outputs).versions) == 1


def test_an_alias_moved_in_mlflow_itself_is_seen_after_a_refresh(outputs: Path) -> None:
    """The board is what was last read; MLflow has the truth."""
    for number in (1, 2):
        promote(finished(outputs, number), outputs=outputs)
    tracking.open_client(outputs).set_registered_model_alias("binary", "champion", "1")
    assert find_model("binary@champion", outputs).parent.name == "2"
    assert [board.aliases for board in refresh(outputs)] == [{"champion": 1}]
    assert find_model("binary@champion", outputs).parent.name == "1"


def test_a_server_that_does_not_answer_changes_nothing(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The champion is still found, and the promotion says why it was not made."""
    promote(finished(outputs, 1), outputs=outputs)
    run = finished(outputs, 2)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(BundleError, match="refused"):
        promote(run, outputs=outputs)
    assert find_model("binary@champion", outputs).parent.name == "1"


def test_a_reader_never_meets_a_half_moved_champion(outputs: Path) -> None:
    """While the alias goes to and fro, each look finds a folder that is whole."""
    for number in (1, 2):
        promote(finished(outputs, number), outputs=outputs)
    seen, stop = set(), threading.Event()

    def look() -> None:
        while not stop.is_set():
            folder = find_model("binary@champion", outputs)
            seen.add((folder.parent.name, (folder / "bundle.json").exists()))

    reader = threading.Thread(target=look)
    reader.start()
    for number in (1, 2, 1, 2):
        promote(f"binary@{number}", outputs=outputs)
    stop.set()
    reader.join()
    assert seen == {("1", True), ("2", True)}


def test_the_verbs_tell_what_they_did(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """track, models, promote, rollback, with exit codes and what to do next."""
    first, second = finished(outputs, 1), finished(outputs, 2, "rejected")
    out = ["--out", str(outputs)]
    assert app.call(["track", first.name, *out]) == 0
    assert "Nothing waits" in capsys.readouterr().out
    assert app.call(["promote", "binary@challenger", *out]) == 0
    assert "binary@champion is version 1" in capsys.readouterr().out
    assert app.call(["promote", second.name, *out]) == 2
    assert "Give --reason" in capsys.readouterr().err
    assert app.call(["promote", second.name, "--reason", "new sensor", *out]) == 0
    capsys.readouterr()
    assert app.call(["rollback", "binary", "--json", *out]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == 1
    assert app.call(["models", "binary", *out]) == 0
    shown = capsys.readouterr().out
    assert "champion" in shown
    assert "new sensor" in shown
    assert app.call(["rollback", "binary", *out]) == 2
    assert "no other champion" in capsys.readouterr().err


def test_a_tag_that_holds_no_move_is_left_out_and_named(outputs: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever writes to MLflow cannot stop `tdsp models`: the other moves and versions are shown."""
    promote(finished(outputs, 1), outputs=outputs)
    client = tracking.open_client(outputs)
    for i, text in enumerate(["{", "[]", '{"at": 1, "alias": [], "before": null, "version": "x", "by": null}', "7"]):
        client.set_registered_model_tag("binary", f"tdsp.move.0{i}", text)
    assert app.call(["models", "binary", "--out", str(outputs)]) == 0
    (board,) = refresh(outputs)
    assert [move.alias for move in board.history] == ["champion"]
    assert "the tag 'tdsp.move.02' in MLflow holds no move" in caplog.text
