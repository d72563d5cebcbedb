"""core: errors, bytes, files and the run record."""

import json
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsp.core import environment, errors, files, project
from tdsp.core import record as record_module
from tdsp.core.errors import RunError
from tdsp.core.project import STAGES
from tdsp.core.record import Artifact, Run, create_run, new_record
from tdsp.core.results import Headline

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return create_run(tmp_path / "wine-draft", new_record("wine-draft", "wine", fixed=False))


@given(JSON)
def test_canonical_json_round_trips(value):
    """A record that is written is read as the same, and equal values give equal bytes."""
    text = files.canonical_json(value)
    assert json.loads(text) == value
    assert files.canonical_json(json.loads(text)) == text


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_canonical_json_has_no_number_that_json_lacks(number):
    """NaN and infinities become null, so that any reader takes the record."""
    assert json.loads(files.canonical_json({"a": [number]})) == {"a": [None]}


def _write_half(path: Path) -> float:
    with files.atomic_replace(path) as temporary:
        temporary.write_text("half")
        return 1 / 0


def test_a_failed_write_leaves_the_old_file(tmp_path):
    """An error in the middle of a write keeps what was there and leaves nothing beside it."""
    path = tmp_path / "run.json"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError, match="division"):
        _write_half(path)
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"] and path.read_text() == "old"


def _add_notes(folder: Path, worker: int) -> None:
    for i in range(20):
        Run(folder, STAGES[0]).note(**{f"w{worker}_{i}": i})


def test_concurrent_writers_lose_nothing(run):
    """Four processes that write at once leave one valid record with every note."""
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_add_notes, args=(run.folder, n)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(run.record.facts) == 80


def test_a_run_whose_process_is_gone_shows_as_interrupted(run):
    """The record still says running; a reader sees interrupted."""
    worker = multiprocessing.get_context("fork").Process(target=int)
    worker.start()
    process = environment.describe_process(worker.pid)
    worker.join()
    assert replace(run.record, process=process).current_status == "interrupted"
    assert run.record.current_status == "running"


def test_beginning_a_stage_again_forgets_what_rested_on_it(run):
    """Results, gates and files of the stage and of later ones go; earlier ones stay."""
    for stage in STAGES[:3]:
        here = Run(run.folder, stage)
        here.begin()
        here.write_json(stage, {})
        here.note(**{stage: 1})
        here.add_metric(stage, 1.0, label=stage)
        here.finish(Headline("done", "ok", "Done."))
    Run(run.folder, STAGES[1]).begin()
    record = run.record
    assert list(record.facts) == list(record.metrics) == [STAGES[0]]
    assert [s.status for s in record.stages] == ["succeeded", "running", "not run", "not run", "not run"]
    assert sorted(p.name for p in (run.folder / "artifacts").iterdir()) == [f"{STAGES[0]}.json"]


def test_a_changed_hand_over_file_is_refused(run):
    """A stage reads only what an earlier stage wrote, unchanged."""
    here = Run(run.folder, STAGES[0])
    here.write_json("goal", {"limit": 0.9})
    here.path("artifacts", "goal.json").write_text('{"limit": 0.1}')
    with pytest.raises(RunError, match=r"goal\.json was changed after 1_business_understanding wrote it"):
        here.read_json("goal")


def test_a_path_cannot_leave_the_run_folder(run):
    """Names from data never become paths elsewhere."""
    with pytest.raises(RunError, match="leads out of the run folder"):
        run.path("artifacts", "../../elsewhere")


def test_a_newer_record_names_the_version_it_needs(run):
    """Guessing what a newer record means is refused."""
    record = replace(run.record, schema_version=99, environment=environment.Environment(packages={"tdsp": "9.1"}))
    (run.folder / "run.json").write_bytes(files.canonical_json(record))
    with pytest.raises(RunError, match=r"schema version 99; this tdsp reads up to 1. Install tdsp 9\.1"):
        record_module.read_record(run.folder)


def test_an_older_record_still_opens(run):
    """Fields that came later have their empty values."""
    old = {"run_id": "wine-1", "project": "wine", "status": "succeeded", "started_at": "2026-01-01T00:00:00Z"}
    (run.folder / "run.json").write_bytes(files.canonical_json(old))
    record = record_module.read_record(run.folder)
    assert record.metrics == {} and record.status == "succeeded" and len(record.stages) == 5


@pytest.mark.parametrize(
    ("name", "found"),
    [("wine-20261122", "wine-20261122T140500Z-7c1e"), ("aa01", "wine-20261123T140500Z-aa01"), ("latest", "aa01")],
)
def test_a_run_is_found_by_what_a_person_has_at_hand(tmp_path, name, found):
    """The beginning of an id, its last letters, or the word latest."""
    for day, last in ((22, "7c1e"), (23, "aa01")):
        run_id = f"wine-202611{day}T140500Z-{last}"
        record = replace(new_record(run_id, "wine", fixed=True), started_at=f"2026-11-{day}T14:05:00Z")
        create_run(tmp_path / "runs" / run_id, record)
    assert record_module.find_run(name, tmp_path).name.endswith(found)


def test_an_ambiguous_or_unknown_run_is_named(tmp_path):
    """Both errors say which runs there are."""
    for last in ("7c1e", "7c1f"):
        create_run(tmp_path / "runs" / f"wine-{last}", new_record(f"wine-{last}", "wine", fixed=True))
    with pytest.raises(RunError, match="fits 2 runs: wine-7c1"):
        record_module.find_run("wine", tmp_path)
    with pytest.raises(RunError, match=r"No run 'wine-7c1g'.* Did you mean 'wine-7c1"):
        record_module.find_run("wine-7c1g", tmp_path)


def test_the_code_archive_depends_on_content_alone(tmp_path):
    """Two archives of the same code have one hash; a changed parameter file gives another."""
    parameters = tmp_path / "wine.yaml"
    parameters.write_text("project: wine\n")
    root = project.find_root()
    hashes = [environment.write_code(root, tmp_path / f"{n}.zip", [parameters]).sha256 for n in range(2)]
    parameters.write_text("project: wine\nmax_rows: 5\n")
    assert hashes[0] == hashes[1] != environment.write_code(root, tmp_path / "c.zip", [parameters]).sha256


def test_the_root_is_found_from_below(tmp_path):
    """A notebook's working folder is below the root; a stranger's folder has only parameters/."""
    (tmp_path / "parameters").mkdir()
    (tmp_path / "notebooks" / "deep").mkdir(parents=True)
    assert project.find_root(tmp_path / "notebooks" / "deep") == tmp_path.resolve()


def test_errors_in_a_cell_show_their_line_and_no_traceback(monkeypatch):
    """IPython prints the message alone; TDSP_DEBUG brings the traceback back."""
    cell = compile("\n\nraise_it()", "/tmp/ipykernel_1/2.py", "exec")
    with pytest.raises(errors.DataError, match="no column") as caught:
        exec(cell, {"raise_it": _raise_data_error})
    assert caught.value._render_traceback_() == ["Cell In[0], line 3", "DataError: no column 'x'"]
    monkeypatch.setenv("TDSP_DEBUG", "1")
    assert "Traceback" in caught.value._render_traceback_()[0]


def _raise_data_error() -> None:
    raise errors.DataError("no column 'x'")


def test_each_reading_of_the_test_part_is_counted_and_no_other_table(run):
    """Stage and time of every reading; running the stage anew forgets its results, not that it has looked."""
    import pandas as pd

    stage = Run(run.folder, STAGES[2])
    stage.begin()
    Run(run.folder, STAGES[1]).write_table("test", pd.DataFrame({"wind": [1.0]}))
    Run(run.folder, STAGES[1]).write_table("train", pd.DataFrame({"wind": [2.0]}))
    stage.read_table("train")
    stage.read_table("test")
    stage.begin()
    stage.read_table("test")
    assert [(entry.table, entry.stage) for entry in run.record.reads] == [("test", STAGES[2])] * 2


def test_an_accepted_record_is_written_after_all_that_it_speaks_of_is_on_the_disk(tmp_path, monkeypatch):
    """Each file and folder of the run is brought to the disk, then the record, then the record's name."""
    record = new_record("a-20261122T140500Z-7c1e", "a", fixed=True)
    folder = create_run(tmp_path / "runs" / record.run_id, record).folder
    (folder / "model/code").mkdir(parents=True)
    (folder / "model/code/loader.py").write_text("x")
    synced = []

    def noting(handle):
        synced.append(Path(f"/proc/self/fd/{handle}").readlink())

    monkeypatch.setattr(os, "fsync", noting)
    monkeypatch.setattr(os, "replace", lambda old, new, _original=os.replace: (synced.append(new), _original(old, new)))
    Run(folder, STAGES[-1]).finish(Headline("Accepted", "ok", "It is."), verdict="accepted")
    record_at = synced.index(folder / "run.json", synced.index(folder / "model/code/loader.py"))
    needed = {folder / "model/code/loader.py", folder / "model/code", folder / "model", folder, folder.parent}
    assert needed <= set(synced[:record_at]) and folder in synced[record_at:]


@pytest.mark.parametrize(
    "change",
    [
        {"project": "../../elsewhere"},
        {"project": "/tmp/elsewhere"},
        {"run_id": "../a"},
        {"artifacts": (Artifact("x", "figure", "/etc/passwd"),)},
        {"artifacts": (Artifact("x", "figure", "artifacts/../../../etc/passwd"),)},
        {"artifacts": (Artifact("x", "bundle", ""),)},
        {"artifacts": (Artifact("x", "bundle", "."),)},
    ],
)
def test_a_foreign_record_leads_to_no_other_folder(run, change):
    """Names in it become folders that are read, sent to a server and removed."""
    record = replace(run.record, **change)
    files.write_atomic(run.folder / "run.json", files.canonical_json(record))
    with pytest.raises(RunError, match="leads out of the run's folder"):
        run.record  # noqa: B018
