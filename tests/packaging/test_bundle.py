"""The packaged model: equal bytes, refused when changed, opened by MLflow, proved elsewhere."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from tdsp.core.errors import BundleError, DataError, RunError
from tdsp.core.files import canonical_json, sha256_file
from tdsp.core.record import Artifact, new_record
from tdsp.modeling.fitting import fit_final
from tdsp.monitoring.reference import build_reference
from tdsp.packaging import loader
from tdsp.packaging.bundle import (
    choose_golden,
    find_bundle,
    load_model,
    loader_source,
    pickled,
    require_libraries,
    requirements_of,
    write_bundle,
)
from tdsp.packaging.loader import as_features, predict_frame
from tdsp.packaging.parity import measure_latency, prove_parity

ROOT = Path(__file__).parents[2]

LOADERS = {"binary": load_breast_cancer, "multiclass": load_wine, "regression": load_diabetes}


def sample(task: str) -> tuple[pd.DataFrame, dict[str, Any], np.ndarray]:
    """One of scikit-learn's tables with a text, a truth and a time column beside its numbers, gaps included."""
    data = LOADERS[task](as_frame=True)
    rng = np.random.default_rng(0)
    n = len(data.target)
    frame = data.data.iloc[:, :4].copy()
    frame.iloc[::7, 0] = np.nan
    frame["ward"] = pd.Series(rng.choice(["north", "<b>south</b>", "öst"], n)).mask(np.arange(n) % 11 == 0)
    frame["urgent"] = pd.Series(rng.random(n) < 0.3).astype("boolean").mask(np.arange(n) % 13 == 0)
    frame["admitted"] = pd.Series(pd.date_range("2013-01-01", periods=n, freq="7h")).mask(np.arange(n) % 17 == 0)
    kinds = {"ward": "string", "urgent": "boolean", "admitted": "timestamp"}
    columns = [{"name": name, "type": kinds.get(name, "float"), "nullable": True} for name in frame]
    classes = [] if task == "regression" else [str(name) for name in data.target_names]
    positive = classes[1] if task == "binary" else None
    schema = {"task": task, "target": "y", "classes": classes, "positive_class": positive, "columns": columns}
    return frame.assign(y=data.target), schema, data.target.to_numpy()


def write(folder: Path, task: str, kind: str, **more: Any) -> tuple[Path, pd.DataFrame]:
    """A bundle of a candidate fitted on one of the samples, and the rows."""
    frame, schema, y = sample(task)
    pipeline = fit_final(kind, as_features(frame, schema), y, task=task, random_state=0)
    reference = build_reference(frame, schema, predict_frame(pipeline, frame, schema), random_state=0).record
    golden = choose_golden(frame, schema, 60)
    arguments = {"pipeline": pipeline, "schema": schema, "golden_frame": golden, "reference": reference} | more
    return write_bundle(folder, name=task, **arguments).folder, frame


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle to read; tests that change one make a copy."""
    return write(tmp_path_factory.mktemp("linear") / "model", "binary", "linear")[0]


@pytest.fixture
def copy(linear: Path, tmp_path: Path) -> Path:
    """A bundle to change."""
    return Path(shutil.copytree(linear, tmp_path / "model"))


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# the same bytes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "kind"), [("binary", "linear"), ("multiclass", "lightgbm"), ("regression", "hist_gb")]
)
def test_two_builds_give_the_same_bytes(task: str, kind: str, tmp_path: Path) -> None:
    """Fitted twice and written to two places, every file is equal."""
    first, second = (write(tmp_path / name / "model", task, kind)[0] for name in ("one", "two"))
    assert files_of(first) == files_of(second)


def test_a_new_process_gives_the_same_bytes(tmp_path: Path) -> None:
    """Neither the hash seed nor the process is in the bundle."""
    script = (
        "import sys; from pathlib import Path; from tests.packaging.test_bundle import write; "
        "write(Path(sys.argv[1]), 'binary', 'lightgbm')"
    )
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": seed, "TZ": f"UTC-{seed}"}
        subprocess.run([sys.executable, "-c", script, str(tmp_path / seed)], check=True, env=environment, cwd=ROOT)
    assert files_of(tmp_path / "1") == files_of(tmp_path / "2")


def test_a_pipeline_read_back_gives_the_bytes_of_the_fitted_one(linear: Path) -> None:
    """The third stage's file and the object in memory lead to the same bundle."""
    pipeline = load_model(linear).inner.pipeline
    assert pickled(pipeline) == (linear / "pipeline.joblib").read_bytes()


# what is inside ------------------------------------------------------------------------------------------------------


def test_the_loader_travels_byte_for_byte(linear: Path) -> None:
    """Serving runs the file that training ran."""
    assert (linear / "code/tdsp_bundle/__init__.py").read_bytes() == loader_source()


def test_requirements_are_pinned_and_no_more_than_needed(linear: Path, tmp_path: Path) -> None:
    """LightGBM is there only for a LightGBM model; nothing of ours, nothing of MLflow."""
    lines = (linear / "requirements.txt").read_text().splitlines()
    assert all("==" in line for line in lines)
    names = {line.split("==")[0] for line in lines}
    assert {"numpy", "pandas", "scikit-learn", "joblib", "pyarrow", "scipy", "threadpoolctl"} <= names
    assert not names & {"tdsp", "mlflow", "lightgbm", "papermill"}
    boosted, _ = write(tmp_path / "model", "binary", "lightgbm")
    assert "lightgbm==" in (boosted / "requirements.txt").read_text()


def test_golden_rows_hold_every_class_and_every_gap() -> None:
    """Columns with gaps are in with one; the classes in their shares."""
    frame, schema, _ = sample("multiclass")
    golden = choose_golden(frame, schema, 50)
    assert len(golden) == 50
    assert set(golden["y"]) == {0, 1, 2}
    assert all(golden[name].isna().any() for name in ("ward", "urgent", "admitted"))
    assert choose_golden(frame, schema, 10_000).shape[0] == len(frame)


def test_the_card_has_computed_fields_and_names_the_missing(linear: Path) -> None:
    """Type, settings, inputs and hash come from the pipeline itself; hostile names stay text."""
    card = (linear / "model_card.md").read_text()
    assert "LogisticRegression" in card
    assert "random\\_state: 0;" in card
    assert sha256_file(linear / "pipeline.joblib") in card
    assert "missing, to be stated: What must it not be used for?" in card
    assert "<b>" not in (linear / "model_card.html").read_text()


def test_a_class_that_a_bundle_does_not_carry_is_refused(tmp_path: Path) -> None:
    """A function of ours, or of the notebook, would be missing where the bundle is opened."""
    scaler = make_pipeline(FunctionTransformer(canonical_json), LogisticRegression())
    with pytest.raises(BundleError, match=r"tdsp\.core\.files\.canonical_json, which a bundle does not carry"):
        require_libraries(scaler)
    with pytest.raises(BundleError, match="cannot be stored"):
        requirements_of(FunctionTransformer(lambda x: x))


def test_an_older_bundle_is_replaced_and_another_folder_is_not(copy: Path, tmp_path: Path) -> None:
    """Writing again leaves no rest of the former; a folder with anything else in it is not touched."""
    (copy / "rest.txt").write_text("of the former")
    write(copy, "binary", "dummy")
    assert "rest.txt" not in files_of(copy)
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter1.txt").write_text("years of work")
    with pytest.raises(BundleError, match="is no bundle: it is left as it is"):
        write(precious, "binary", "dummy")
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_no_golden_rows_no_bundle(tmp_path: Path) -> None:
    """A bundle that cannot be proved is not written."""
    with pytest.raises(BundleError, match="no golden rows"):
        write(tmp_path / "model", "binary", "dummy", golden_frame=sample("binary")[0].head(0))
    assert not (tmp_path / "model").exists()


# opened by us --------------------------------------------------------------------------------------------------------


def test_a_bundle_is_found_by_folder_run_folder_and_run_id(linear: Path, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """All three ways lead to the same place; another name is refused with what to give."""
    run = tmp_path / "outputs/runs/iris-20261122T140500Z-7c1e"
    shutil.copytree(linear, run / "model")
    (run / "run.json").write_bytes(canonical_json(new_record(run.name, "iris", fixed=True)))
    (tmp_path / "parameters").mkdir()
    monkeypatch.chdir(tmp_path)
    expected = (run / "model").resolve()
    assert find_bundle(run / "model") == find_bundle(run) == find_bundle(run.name) == find_bundle("7c1e") == expected
    with pytest.raises(BundleError, match="There is no bundle"):
        find_bundle(tmp_path / "nowhere/model")
    with pytest.raises(BundleError, match=r"has no bundle\.json"):
        find_bundle(tmp_path / "parameters")
    with pytest.raises(RunError, match="No run 'wine'"):
        find_bundle("wine")


def test_data_that_do_not_fit_are_our_error(linear: Path) -> None:
    """The bundle's own error becomes the one the command line knows."""
    frame, _, _ = sample("binary")
    with pytest.raises(DataError, match="column 'ward': missing"):
        load_model(linear).predict(frame.drop(columns="ward"))


def test_a_newer_bundle_is_refused_with_the_version_needed(copy: Path) -> None:
    """Before its form is judged."""
    document = json.loads((copy / "bundle.json").read_bytes())
    document |= {"bundle_version": 2, "needs_tdsp": "0.9"}
    (copy / "bundle.json").write_bytes(loader.canonical(loader.sealed(document)))
    with pytest.raises(BundleError, match=r"bundle version 2 needs tdsp 0\.9; upgrade"):
        load_model(copy)


def test_an_older_bundle_still_opens(copy: Path) -> None:
    """An earlier format is read as it is, and predicts as before."""
    document = json.loads((copy / "bundle.json").read_bytes()) | {"bundle_version": 0}
    (copy / "bundle.json").write_bytes(loader.canonical(loader.sealed(document)))
    assert load_model(copy).replay_golden()["identical"]


# changed -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def canary(copy: Path, tmp_path: Path) -> Path:
    """A folder into which the loader and the pickle of `copy` write when they run; its hashes and seal fit."""
    ran = tmp_path / "ran"
    ran.mkdir()
    marker = f"open({str(ran / 'code')!r}, 'w').close()\n"
    (copy / "code/tdsp_bundle/__init__.py").write_text(marker + loader_source().decode())

    class Payload:
        def __reduce__(self) -> Any:
            return (Path.touch, (ran / "pickle",))

    joblib.dump(Payload(), copy / "pipeline.joblib")
    reseal(copy)
    return ran


def reseal(folder: Path) -> None:
    """Write new hashes and a new seal, as the source of the loader allows after a file was changed."""
    document = json.loads((folder / "bundle.json").read_bytes())
    for name, entry in document["files"].items():
        entry["sha256"] = sha256_file(folder / name)
    (folder / "bundle.json").write_bytes(loader.canonical(loader.sealed(document)))


def record_run(folder: Path, sha256: str) -> None:
    """The record of the run that wrote the bundle, beside it."""
    record = new_record("iris-20261122T140500Z-7c1e", "iris", fixed=True)
    bundle = Artifact(folder.name, "bundle", folder.name, sha256, stage="4_deployment")
    (folder.parent / "run.json").write_bytes(canonical_json(replace(record, artifacts=(bundle,))))


def test_the_canary_sings(copy: Path, canary: Path) -> None:
    """Without a record beside it the resealed bundle is opened, and its code runs: the tests below mean something."""
    load_model(copy)
    assert {path.name for path in canary.iterdir()} == {"code", "pickle"}


@pytest.mark.parametrize(
    ("note", "content"),
    [
        ("run.json", canonical_json(new_record("iris-20261122T140500Z-7c1e", "iris", fixed=True))),
        ("run.json", b"{}"),
        ("run.json", b""),
        ("run.json", b'{"artifacts": [{"name": "model", "kind": "bundle", "path": "model", "sha256": ""}]}'),
        ("version.json", b"{}"),
        ("version.json", b""),
        ("version.json", b'{"bundle_sha256": ""}'),
        ("version.json", b"[]"),
    ],
)
def test_a_record_without_the_bundle_refuses_it(copy: Path, canary: Path, note: str, content: bytes) -> None:
    """An emptied note is no leave to open what lies beside it."""
    (copy.parent / note).write_bytes(content)
    with pytest.raises((BundleError, RunError), match=r"does not have this bundle|is not a run record"):
        load_model(copy)
    assert not list(canary.iterdir())


@pytest.mark.parametrize("place", ["outputs/runs/iris-20261122T140500Z-7c1e/model", "outputs/models/iris/3/model"])
def test_a_bundle_whose_record_is_gone_is_refused(copy: Path, canary: Path, tmp_path: Path, place: str) -> None:
    """Where runs and registered models are, each has a record."""
    (tmp_path / place).parent.mkdir(parents=True)
    moved = copy.rename(tmp_path / place)
    with pytest.raises(BundleError, match="the record beside it is gone"):
        load_model(moved)
    assert not list(canary.iterdir())


HOSTILE = {
    "infinity": b'{"bundle_version": 1e999}',
    "NaN": b'{"bundle_version": NaN}',
    "deep": b"[" * 200_000,
    "a list": b"[1]",
    "a number": b"1",
    "files as a list": b'{"bundle_version": 1, "files": []}',
    "half a character": b'{"bundle_version": 1, "files": {"\\ud800": {}}}',
    "entries as texts": b'{"bundle_version": 1, "files": {"a": "b"}}',
    "no file": b'{"bundle_version": 1, "files": {}}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_manifest_is_one_message(copy: Path, name: str) -> None:
    """Whatever JSON can say, nothing is loaded and the folder is named."""
    (copy / "bundle.json").write_bytes(HOSTILE[name])
    with pytest.raises(BundleError, match=r"bundle\.json (cannot be read|was changed)"):
        load_model(copy)


@pytest.mark.parametrize("path", ["../evil", "/etc/passwd", "a/../b", "a\0b", "a\\b", "./a", "a//b", ""])
def test_a_sealed_manifest_that_lists_other_places_is_refused(copy: Path, path: str) -> None:
    """Hashes and seal fit; the path leads out, or is no plain one."""
    document = json.loads((copy / "bundle.json").read_bytes())
    document["files"][path] = {"sha256": "0" * 64, "bytes": 1}
    (copy / "bundle.json").write_bytes(loader.canonical(loader.sealed(document)))
    with pytest.raises(BundleError, match=r"bundle\.json was changed"):
        load_model(copy)


def test_a_link_past_a_record_is_not_followed(copy: Path, canary: Path, tmp_path: Path) -> None:
    """A run's `model` that was replaced by a link to a bundle elsewhere; what it is a link to."""
    run = tmp_path / "outputs/runs/iris-20261122T140500Z-7c1e"
    run.mkdir(parents=True)
    (run / "model").symlink_to(copy)
    record_run(run / "model", sha256_file(copy / "bundle.json"))
    for model in (run, run / "model"):
        with pytest.raises(BundleError, match="is a link, past the record"):
            load_model(model)
    assert not list(canary.iterdir())


def test_a_hash_from_elsewhere_has_to_be_that_of_the_record_too(copy: Path) -> None:
    """A signature or a registry that means another bundle than the record does."""
    sha256 = sha256_file(copy / "bundle.json")
    record_run(copy, sha256)
    assert load_model(copy, sha256).replay_golden()["identical"]
    with pytest.raises(BundleError, match="is not the recorded one"):
        load_model(copy, "0" * 64)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


NAMES = [
    "MLmodel", "bundle.json", "code/tdsp_bundle/__init__.py", "golden.parquet", "model_card.html", "model_card.md",
    "pipeline.joblib", "reference.json", "requirements.txt", "schema.json",
]  # fmt: skip


def test_every_file_of_a_bundle_is_flipped_below(linear: Path) -> None:
    """A file added to the bundle must be added to the list."""
    assert sorted(files_of(linear)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_one_flipped_bit_is_refused_before_any_code_runs(copy: Path, canary: Path, name: str) -> None:
    """In each file in turn; the message names the file."""
    flip(copy / name)
    with pytest.raises(BundleError, match=r"bundle\.json" if name == "bundle.json" else f"{name} was changed"):
        load_model(copy)
    assert not list(canary.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_every_byte_counts(copy: Path, name: str) -> None:
    """First, last, one more, one less."""
    data = (copy / name).read_bytes()
    for changed in (bytes([data[0] ^ 1]) + data[1:], data[:-1] + bytes([data[-1] ^ 1]), data + b"\n", data[:-1]):
        (copy / name).write_bytes(changed)
        with pytest.raises(BundleError, match=r"Nothing was loaded|cannot be read"):
            load_model(copy)


def stray_module(folder: Path) -> None:
    (folder / "code/sklearn.py").write_text("raise SystemExit")


def stray_bytecode(folder: Path) -> None:
    cache = folder / "code/tdsp_bundle/__pycache__"
    cache.mkdir()
    (cache / f"__init__.{sys.implementation.cache_tag}.pyc").write_bytes(b"\0" * 16)


def stray_folder(folder: Path) -> None:
    (folder / "numpy").mkdir()


def hidden_file(folder: Path) -> None:
    (folder / ".DS_Store").touch()


def linked_file(folder: Path) -> None:
    shutil.copy(folder / "schema.json", folder.parent / "twin.json")
    (folder / "schema.json").unlink()
    (folder / "schema.json").symlink_to(folder.parent / "twin.json")


def linked_inside(folder: Path) -> None:
    (folder / "twin.json").symlink_to("schema.json")


def linked_folder(folder: Path) -> None:
    shutil.move(folder / "code", folder.parent / "code")
    (folder / "code").symlink_to(folder.parent / "code")


def linked_manifest(folder: Path) -> None:
    shutil.move(folder / "bundle.json", folder.parent / "bundle.json")
    (folder / "bundle.json").symlink_to(folder.parent / "bundle.json")


def dangling_manifest(folder: Path) -> None:
    (folder / "bundle.json").unlink()
    (folder / "bundle.json").symlink_to(folder.parent / "nowhere.json")


def lost_file(folder: Path) -> None:
    (folder / "golden.parquet").unlink()


TRICKS = [stray_module, stray_bytecode, stray_folder, hidden_file, linked_file, linked_inside, linked_folder,
          linked_manifest, dangling_manifest, lost_file]  # fmt: skip


@pytest.mark.parametrize("trick", TRICKS)
def test_strays_and_links_are_refused_before_any_code_runs(
    copy: Path, canary: Path, trick: Callable[[Path], None]
) -> None:
    """Whatever lies there too many, too few or elsewhere."""
    trick(copy)
    with pytest.raises(BundleError, match="Nothing was loaded"):
        load_model(copy)
    assert not list(canary.iterdir())


def test_a_new_seal_is_refused_by_the_record(copy: Path, linear: Path, canary: Path) -> None:
    """A whole forged bundle fails at the sha256 that the run wrote down, and nothing of it runs."""
    record_run(copy, sha256_file(linear / "bundle.json"))
    with pytest.raises(BundleError, match="not the one that the run recorded"):
        load_model(copy)
    with pytest.raises(BundleError, match="not the one that the run recorded"):
        prove_parity(copy)
    assert not list(canary.iterdir())


def test_a_bundle_beside_its_record_opens(copy: Path) -> None:
    """The same check lets the right one through."""
    record_run(copy, sha256_file(copy / "bundle.json"))
    assert load_model(copy).replay_golden()["identical"]


# proved elsewhere ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "kind"), [("binary", "linear"), ("multiclass", "hist_gb"), ("regression", "lightgbm")]
)
def test_golden_rows_come_back_bit_for_bit_in_a_bare_interpreter(task: str, kind: str, tmp_path: Path) -> None:
    """With the pinned packages and nothing else importable."""
    folder, _ = write(tmp_path / "model", task, kind)
    record = prove_parity(folder)
    assert record.passed
    assert (record.rows, record.max_abs_difference) == (60, 0.0)
    assert not set(record.packages) & {"tdsp", "mlflow", "pytest"}
    assert files_of(folder).keys() == set(NAMES)


def test_a_package_missing_from_the_requirements_is_found(copy: Path) -> None:
    """A package that the list forgets is not there, so the proof fails and names it."""
    text = (copy / "requirements.txt").read_text()
    (copy / "requirements.txt").write_text("\n".join(line for line in text.splitlines() if "threadpoolctl" not in line))
    reseal(copy)
    with pytest.raises(BundleError, match="threadpoolctl"):
        prove_parity(copy)


def test_another_version_than_the_pinned_one_proves_nothing(copy: Path) -> None:
    """The proof would be about other code."""
    text = (copy / "requirements.txt").read_text()
    (copy / "requirements.txt").write_text(text.replace("scipy==", "scipy==0."))
    reseal(copy)
    with pytest.raises(BundleError, match=r"made with scipy 0\."):
        prove_parity(copy)


def test_another_prediction_is_noticed(copy: Path) -> None:
    """A difference in the last bit is a difference."""
    golden = pd.read_parquet(copy / "golden.parquet")
    golden.iloc[3, -1] = np.nextafter(golden.iloc[3, -1], 2)
    golden.to_parquet(copy / "golden.parquet", index=False)
    reseal(copy)
    record = prove_parity(copy)
    assert not record.identical
    assert not record.passed
    assert 0 < record.max_abs_difference < 1e-15


@pytest.mark.parametrize(
    ("task", "kind"), [("binary", "linear"), ("multiclass", "lightgbm"), ("regression", "hist_gb")]
)
def test_mlflow_opens_the_folder_as_it_is(task: str, kind: str, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """Its own loader gives the golden predictions bit for bit, and leaves the folder as it was."""
    import mlflow.pyfunc

    folder, _ = write(tmp_path / "model", task, kind)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = mlflow.pyfunc.load_model(str(folder))
        golden = pd.read_parquet(folder / "golden.parquet")
        predicted = model.predict(golden.iloc[:, :7])
    sys.modules.pop("tdsp_bundle")
    assert predicted.to_numpy().tobytes() == golden.iloc[:, 7:].to_numpy().tobytes()
    assert load_model(folder).replay_golden()["identical"]


def test_mlflow_notices_a_changed_pipeline(copy: Path) -> None:
    """Outside code/ its loader refuses as well, through the bundle's own check."""
    import mlflow.pyfunc

    flip(copy / "pipeline.joblib")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(RuntimeError, match=r"pipeline\.joblib was changed"):
            mlflow.pyfunc.load_model(str(copy))
    sys.modules.pop("tdsp_bundle")


def test_latency_is_measured_for_one_row_and_a_thousand(linear: Path) -> None:
    """Also where the table has fewer rows than a batch."""
    frame, _, _ = sample("binary")
    measured = measure_latency(load_model(linear), frame.head(300), calls=5)
    assert set(measured) == {f"latency_{n}_{what}_ms" for n in (1, 1000) for what in ("median", "p99")}
    assert all(0 < value < 60_000 for value in measured.values())


def test_a_slow_model_is_timed_on_fewer_calls() -> None:
    """Of 100 calls wanted, only three to warm up and ten that count are made once the time is up."""
    calls = []
    slow = SimpleNamespace(predict=lambda rows: calls.append(len(rows)))
    measured = measure_latency(slow, pd.DataFrame({"x": range(50)}), seconds=0)
    assert calls == [1] * 13 + [1000] * 13 and measured["latency_1_p99_ms"] >= measured["latency_1_median_ms"] > 0


def test_a_scaler_alone_is_described(tmp_path: Path) -> None:
    """A pipeline that is no Pipeline has a card, too."""
    frame, schema, y = sample("binary")
    schema = {**schema, "columns": schema["columns"][1:4]}
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(as_features(frame, schema), y)
    made = write_bundle(
        tmp_path / "model", name="m", pipeline=model, schema=schema, golden_frame=frame.head(5), reference={}
    )
    assert "StandardScaler → LogisticRegression" in load_model(made.folder).card
    assert made.size_mb == pytest.approx(sum(map(len, files_of(made.folder).values())) / 1e6)
