"""The fingerprint of a stage: ten kinds of change, each with the first stage that runs again."""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tdsp.core.files import canonical_json, sha256_file
from tdsp.core.project import PACKAGE, STAGES
from tdsp.core.record import Run, create_run
from tdsp.runner import fingerprint, pipeline
from tdsp.runner.fingerprint import Code, FileMemory, Fingerprints, local_inputs, read_code
from tdsp.runner.preflight import plan_run
from tdsp.runner.resume import find_unchanged
from tests.support.records import made_record

CSV = "x,y\n" + "".join(f"{i},{'yes' if i % 3 else 'no'}\n" for i in range(60))
YAML = "sources: {rows: rows.csv}\nsql: small.sql\ntarget: y\n"


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The memory of the package's code, which takes a second to read."""
    path = tmp_path_factory.mktemp("memory") / "memory.json"
    known = FileMemory(path)
    for module in PACKAGE.rglob("*.py"):
        known.code_of(module)
    known.save()
    return path


@pytest.fixture
def root(project: Path, memory: Path) -> Path:
    """A project with one small source, an SQL file, a charter and a lock."""
    (project / "outputs").mkdir()
    shutil.copy(memory, project / "outputs" / ".fingerprints.json")
    (project / "rows.csv").write_text(CSV)
    (project / "requirements.txt").write_text("numpy==2\n")
    folder = project / "parameters"
    (folder / "small.yaml").write_text(YAML)
    (folder / "small.sql").write_text("SELECT * FROM rows")
    (folder / "small.charter.yaml").write_text("{}\n")
    for path in (*project.rglob("*.csv"), *folder.glob("small.*"), project / "requirements.txt"):
        os.utime(path, (time.time() - 60,) * 2)
    return project


def first_to_run(root: Path, **settings: str) -> str | None:
    """The first stage that would run; None where nothing has changed."""
    found = pipeline.explain_run(root / "parameters" / "small.yaml", settings=settings)
    assert found is not None
    return found.start


def make_run(root: Path) -> Run:
    """A finished run of the project as it is, with a file of each stage."""
    plan = plan_run(root / "parameters" / "small.yaml")
    run = create_run(plan.outputs / "runs" / "small-1", made_record("small-1", "small", status="succeeded"))
    for stage in STAGES:
        path = run.path("artifacts", f"{stage}.json")
        path.write_text("{}")
        Run(run.folder, stage).add_artifact(path, kind="data")
        run.update(lambda record, stage=stage: record.with_stage(stage, status="succeeded"))
    pipeline.keep_prints(run, pipeline.read_prints(plan), STAGES[0])
    return run


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text in a file."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


CHANGES: dict[str, tuple[Callable[[Path], object], str | None]] = {
    "nothing": (lambda _: None, None),
    "a comment in a notebook": (
        lambda root: edit(
            root / "notebooks" / f"{STAGES[3]}.ipynb", "model = load_model(", "# opened\\nmodel = load_model("
        ),
        None,
    ),
    "code of a notebook": (
        lambda root: edit(
            root / "notebooks" / f"{STAGES[3]}.ipynb", "model = load_model(", "x = 1; model = load_model("
        ),
        STAGES[3],
    ),
    "text of a notebook": (
        lambda root: edit(root / "notebooks" / f"{STAGES[3]}.ipynb", "What is in the package?", "What is packed?"),
        STAGES[3],
    ),
    "a data file": (lambda root: (root / "rows.csv").write_text(CSV + "60,no\n"), STAGES[0]),
    "a data file of the same size and age": (
        lambda root: (
            (root / "rows.csv").write_text(CSV.replace("59,", "95,")),
            os.utime(root / "rows.csv", (time.time() - 60,) * 2),
        ),
        STAGES[0],
    ),
    "the SQL": (lambda root: (root / "parameters" / "small.sql").write_text("SELECT * FROM rows LIMIT 50"), STAGES[0]),
    "the charter": (
        lambda root: (root / "parameters" / "small.charter.yaml").write_text("business: {domain: Air}\n"),
        STAGES[0],
    ),
    "a parameter of the third stage": (
        lambda root: (root / "parameters" / "small.yaml").write_text(YAML + "search_trials: 3\n"),
        STAGES[2],
    ),
    "a comment in the parameters": (lambda root: (root / "parameters" / "small.yaml").write_text("# x\n" + YAML), None),
    "the lock": (lambda root: (root / "requirements.txt").write_text("numpy==3\n"), STAGES[0]),
    "a product that was changed": (
        lambda root: (root / f"outputs/runs/small-1/artifacts/{STAGES[2]}.json").write_text("[]"),
        STAGES[2],
    ),
    "a product that is gone": (
        lambda root: (root / f"outputs/runs/small-1/artifacts/{STAGES[4]}.json").unlink(),
        STAGES[4],
    ),
    "a local module that a notebook imports": (
        lambda root: (root / "notebooks" / "helper.py").write_text("x = 1\n"),
        None,
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_the_first_stage_that_a_change_concerns_runs_again(root: Path, kind: str) -> None:
    """And no earlier one; what concerns no result concerns no stage."""
    make_run(root)
    change, expected = CHANGES[kind]
    change(root)
    assert first_to_run(root) == expected


def test_a_module_reruns_the_stages_that_import_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that is imported by an imported one, or by a function; what no stage before imports is no matter."""
    make_run(root)
    known = FileMemory.code_of
    for name, expected in {
        "modeling/search.py": STAGES[2],
        "core/files.py": STAGES[0],
        "serving/app.py": STAGES[4],
        "runner/new_project.py": None,
    }.items():

        def changed(self: FileMemory, path: Path, name: str = name) -> tuple[str, list[str]]:
            digest, imported = known(self, path)
            return digest + "x" * (path == PACKAGE / name), imported

        monkeypatch.setattr(FileMemory, "code_of", changed)
        assert first_to_run(root) == expected, name


def test_a_module_of_the_project_counts(root: Path) -> None:
    """A file beside the notebooks that a notebook imports."""
    edit(root / "notebooks" / f"{STAGES[4]}.ipynb", "import pandas as pd", "import helper\\nimport pandas as pd")
    (root / "notebooks" / "helper.py").write_text("x = 1\n")
    make_run(root)
    assert first_to_run(root) is None
    (root / "notebooks" / "helper.py").write_text("x = 1  # one\n")
    assert first_to_run(root) is None
    (root / "notebooks" / "helper.py").write_text("x = 2\n")
    assert first_to_run(root) == STAGES[4]


def test_a_setting_on_the_command_line_counts(root: Path) -> None:
    """As one in the file does."""
    make_run(root)
    assert first_to_run(root, threshold="0.7") == STAGES[0]
    assert first_to_run(root, golden_rows="10") == STAGES[3]


def test_the_reason_names_what_has_changed(root: Path) -> None:
    """In the words of the files; the stages after it say that they follow."""
    make_run(root)
    (root / "parameters" / "small.sql").write_text("SELECT x, y FROM rows")
    found = pipeline.explain_run(root / "parameters" / "small.yaml")
    assert found is not None and found.reasons[STAGES[0]] == "changed: small.sql"
    assert found.reasons[STAGES[4]] == "the stage before it runs"


def test_a_warm_start_is_never_reused(root: Path) -> None:
    """It depends on what earlier runs found."""
    edit(root / "parameters" / "small.yaml", "target: y", "target: y\nwarm_start: true")
    make_run(root)
    assert first_to_run(root) == STAGES[2]


def test_a_remote_source_is_not_guessed_about(root: Path) -> None:
    """Only fetching it can say whether it has changed."""
    (root / "parameters" / "small.yaml").write_text("sources: {rows: https://localhost/rows.csv}\ntarget: y\n")
    assert pipeline.explain_run(root / "parameters" / "small.yaml") is None


def test_a_file_with_old_times_is_found_by_reading_it(root: Path) -> None:
    """A memory that trusts no times reads every file anew."""
    path = root / "rows.csv"
    before = sha256_file(path)
    path.write_bytes(path.read_bytes().replace(b"59,", b"95,"))
    status = path.stat()
    mark = [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    (root / "memory.json").write_bytes(canonical_json({f"bytes {path}": [mark, [before]]}))  # as if nothing had changed
    assert FileMemory(root / "memory.json").bytes_of(path) == before
    assert FileMemory(root / "memory.json", trusting=False).bytes_of(path) != before


def test_a_damaged_memory_is_an_empty_one(root: Path) -> None:
    """Nothing depends on it but time."""
    (root / "memory.json").write_text("{")
    assert FileMemory(root / "memory.json").bytes_of(root / "rows.csv")


def test_comments_and_docstrings_are_no_code() -> None:
    """Everything else is."""
    plain = "def f(x: int) -> int:\n    return x + 1\n"
    same = 'def f(x: int) -> int:  # adds\n    """One more."""\n\n    return x + 1\n'
    assert read_code(plain) == read_code(same)
    assert read_code(plain) != read_code(plain.replace("+ 1", "+ 2"))


def test_imports_of_every_form_are_followed() -> None:
    """Absolute, relative, inside of functions, lazily by name, and a command that is started."""
    source = "import os\nfrom ..core import files\nfrom .context import x\ndef f():\n    from tdsp import score\n"
    source += "command = [sys.executable, '-m', 'tdsp', 'serve', folder]\n"
    found = read_code(source)[1:]
    assert found == ["-m tdsp serve", "..core.files", ".context.x", "os", "tdsp.score"]
    code = Code((), FileMemory(Path("none")))
    assert code.files_of("tdsp.score")[-1] == PACKAGE / "stats" / "scoring.py"
    assert [path.name for path in code.files_of("-m tdsp serve")] == ["predictions.py"]
    assert fingerprint._absolute("..core.files", ("stages",)) == "tdsp.core.files"


def test_another_table_under_the_same_files_is_passed_by(root: Path) -> None:
    """Where the table is made anew, its own hash has the last word."""
    run = make_run(root)
    run.note(table_sha256="a" * 64)
    plan = plan_run(root / "parameters" / "small.yaml")
    memory = FileMemory(plan.outputs / "memory.json")
    prints = Fingerprints(plan, memory, local_inputs(plan, memory) or {}).all_stages()
    assert find_unchanged(plan.outputs, "small", prints, "a" * 64).start is None
    assert find_unchanged(plan.outputs, "small", prints, "b" * 64).start == STAGES[0]


def test_an_unfinished_stage_runs_and_the_ones_before_it_do_not(root: Path) -> None:
    """A run that was killed in its third stage is gone on with from there."""
    run = make_run(root)
    run.update(lambda record: replace(record.with_stage(STAGES[2], status="interrupted"), status="interrupted"))
    found = pipeline.explain_run(root / "parameters" / "small.yaml")
    assert found is not None and (found.start, found.folder) == (STAGES[2], run.folder)
    assert "has not finished" in found.reasons[STAGES[2]]
