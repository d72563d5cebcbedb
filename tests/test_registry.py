"""Which model is in use: names lead to folders, promotion needs the gate or a reason, nothing is half moved."""

from pathlib import Path

import pytest
from test_bundle import write

from tdsp.core import BundleError, RunError, create_run, new_record
from tdsp.registry import find_model, load_model, promote, read_board


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """A folder of runs of its own."""
    return tmp_path / "outputs"


def finished(outputs: Path, number: int, verdict: str | None = "accepted") -> Path:
    """A run with a bundle of its own."""
    run_id = f"binary-2026110{number}T080000Z-000{number}"
    run = create_run(outputs / "runs" / run_id, new_record(run_id, "binary", fixed=True) | {"verdict": verdict})
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


def test_a_registered_model_outlives_its_run_and_is_watched(outputs: Path) -> None:
    """The copy is checked against what was registered."""
    promote(finished(outputs, 1), outputs=outputs)
    other = finished(outputs, 2)
    folder = find_model("binary@champion", outputs)
    for path in (other / "model").rglob("*"):
        if path.is_file():
            (folder / path.relative_to(other / "model")).write_bytes(path.read_bytes())
    with pytest.raises(BundleError, match="is not the one that the run recorded"):
        load_model("binary@champion", outputs)


def test_a_board_that_cannot_be_read_is_named(outputs: Path) -> None:
    """It says what to do."""
    promote(finished(outputs, 1), outputs=outputs)
    (outputs / "models/binary/registry.json").write_text("{")
    with pytest.raises(BundleError, match=r"registry\.json cannot be read.*tdsp models"):
        find_model("binary@champion", outputs)
