"""params: the schema in the cells, the strict reader, and which value holds."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from tdsp.config import parameters
from tdsp.config.parameters import open_run, read_schema, resolve
from tdsp.core.errors import ParameterError, RunError
from tdsp.core.project import STAGES
from tdsp.core.record import ParameterEntry, Run, read_record
from tdsp.core.results import Headline

HEAD = 'project: str = ""  # file\nrun_dir: str = ""  # folder\n'
CELLS = {
    STAGES[0]: HEAD
    + 'title: str = "Sample"  # name\nthreshold: float = 0.5  # limit\nrandom_state: int = 1  # seed\n'
    + 'sources: dict[str, str] = {"table": "sklearn:wine"}  # URIs\nsql: str = ""  # path\n',
    STAGES[1]: HEAD + 'split: str = "auto"  # one of: auto, random, time\ndrop: list[str] = []  # columns\n',
    STAGES[2]: HEAD + "cv_folds: int = 5  # folds\nshuffle: bool = False  # order\n",
    STAGES[3]: HEAD,
    STAGES[4]: HEAD,
}


def write_notebook(path: Path, source: str) -> None:
    """A stage notebook of two cells: parameters, and one that opens the run."""
    cells = [
        {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": source.splitlines(keepends=True)},
        {"cell_type": "code", "metadata": {}, "source": ["run, p = open_run(...)"]},
    ]
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with five tiny stage notebooks and one parameter file."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "parameters").mkdir()
    for stage, source in CELLS.items():
        write_notebook(tmp_path / "notebooks" / f"{stage}.ipynb", source)
    (tmp_path / "parameters" / "wine.yaml").write_text("project: wine\nthreshold: 0.8\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def namespace(stage: str, *, injected: dict | None = None, **cell: object) -> dict:
    """globals() of a stage notebook whose parameters cell ran, edited by `cell`, and papermill's cell if any."""
    values: dict = {}
    exec(CELLS[stage], values)
    values |= cell
    history = ["", "from tdsp import open_run", CELLS[stage]]
    if injected is not None:
        history.append("# Parameters\n" + "".join(f"{name} = {value!r}\n" for name, value in injected.items()))
        values |= injected
    return values | {"In": history}


def do(stage: str, *, finish: bool = True, **given: object) -> tuple[Run, parameters.Parameters]:
    """Open a stage as a notebook does, and finish it."""
    run, p = open_run(stage, namespace(stage, **given))
    if finish:
        run.finish(Headline("done", "ok", "Done."))
    return run, p


# the schema ---------------------------------------------------------------------------------------------------------


def test_the_cells_are_the_schema(root):
    """Type, default, help, choices and home of each parameter come from the cells."""
    schema = read_schema(root / "notebooks")
    assert schema["split"].choices == ("auto", "random", "time")
    assert (schema["cv_folds"].default, schema["cv_folds"].stage) == (5, STAGES[2])


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("threshold: float = 0.9  # again", "threshold is declared in 1_business_understanding already"),
        ("n = 3", "write `name: type = literal"),
        ("n: int = 3.5", "3.5 is no int"),
        ("n: complex = 3", "the type complex is none of"),
        ("n: int = len('x')", "n: "),
    ],
)
def test_a_wrong_line_in_a_cell_is_named(root, line, fault):
    """The fault says which notebook, which line and what is expected."""
    write_notebook(root / "notebooks" / f"{STAGES[1]}.ipynb", CELLS[STAGES[1]] + line)
    with pytest.raises(ParameterError, match=r"2_data_acquisition\.ipynb, parameters cell, line 5") as caught:
        read_schema(root / "notebooks")
    assert fault in str(caught.value)


def test_a_notebook_without_the_tag_is_refused(root):
    """Without the tag papermill would put its values on top and the defaults would win."""
    path = root / "notebooks" / f"{STAGES[2]}.ipynb"
    path.write_text(path.read_text().replace('"parameters"', '"parameter"'))
    with pytest.raises(ParameterError, match="0 cells are tagged `parameters`"):
        read_schema(root / "notebooks")


# the strict reader --------------------------------------------------------------------------------------------------


def faults_of(root: Path, text: str) -> str:
    (root / "parameters" / "wine.yaml").write_text(text)
    with pytest.raises(ParameterError, match="cannot be used") as caught:
        parameters.load_parameters(root / "parameters" / "wine.yaml", root=root)
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("tresold: 0.8", "unknown parameter 'tresold'. Did you mean 'threshold'?"),
        ("threshold: high", "threshold: 'high' is no float"),
        ("threshold: 0.8\nthreshold: 0.9", "threshold occurs twice, first in line 2; keep one"),
        ("drop: [a]\ndrop: [b]", "drop occurs twice, first in line 2; put all into one list"),
        ("split: tyme", "'tyme' is none of auto, random, time. Did you mean 'time'?"),
        ("title: yes", 'YAML reads yes as True; write "yes" with quotes'),
        ("title: 10:30", 'YAML reads 10:30 as 630; write "10:30" with quotes'),
        ("title: 1.10", 'YAML reads 1.10 as 1.1; write "1.10" with quotes'),
        ("cv_folds: 010", 'YAML reads 010 as 8; write "010" with quotes'),
        ("cv_folds: 1_000", 'YAML reads 1_000 as 1000; write "1_000" with quotes'),
        ("threshold: 1e-3", "YAML reads 1e-3 as '1e-3'; write \"1e-3\" with quotes"),
        ("threshold: .inf", "inf"),
        ("title: ~", 'an empty value; write "" for none'),
        ("title:", 'an empty value; write "" for none'),
        ("sources: {on: a.csv}", 'YAML reads on as True; write "on" with quotes'),
        ("sources: {a: x.csv, a: y.csv}", "the key 'a' occurs twice"),
        ("sources: [a.csv]", "expected a mapping"),
        ("drop: id", "expected a list"),
        ("cv_folds: 2.5", "'2.5' is no int"),
        ("shuffle: 1", "is no bool"),
        ("project: win", "project is 'win', but the file is called wine.yaml"),
        ("sql: none.sql", "sql names 'none.sql', but"),
        ("title: [a", "YAML syntax"),
    ],
)
def test_each_mistake_in_a_file_is_explained(root, line, fault):
    """File, line, the value found and what to write."""
    assert fault in faults_of(root, f"\n{line}\n")


def test_all_faults_are_listed_at_once_with_their_lines(root):
    """Nobody mends a file five times."""
    text = faults_of(root, "project: wine\ntresold: 1\ncv_folds: many\nsplit: never\n")
    assert re.findall(r"wine\.yaml:(\d)", text) == ["2", "3", "4"] and "(3 faults)" in text


def test_quoted_values_are_read_as_they_stand(root):
    """Quotes settle what YAML would guess."""
    (root / "parameters" / "wine.yaml").write_text('title: "1.10"\ncv_folds: "7"\nthreshold: "1e-3"\ndrop: ["no", x]\n')
    values = parameters.load_parameters(root / "parameters" / "wine.yaml", root=root).values
    assert (values["title"], values["cv_folds"], values["threshold"], values["drop"]) == ("1.10", 7, 0.001, ["no", "x"])


def test_a_missing_file_names_the_closest(root):
    """A misspelt file name is as frequent as a misspelt parameter."""
    with pytest.raises(ParameterError, match=r"vine\.yaml does not exist. Did you mean 'wine'\?"):
        parameters.load_parameters("parameters/vine.yaml", root=root)
    with pytest.raises(ParameterError, match="is a folder"):
        parameters.load_parameters("parameters", root=root)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "title": st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"])),
            "threshold": st.floats(allow_nan=False, allow_infinity=False, width=32),
            "cv_folds": st.integers(-(10**9), 10**9),
            "shuffle": st.booleans(),
            "drop": st.lists(st.text("abcyesno0123.:~", min_size=1)),
        },
    )
)
def test_what_yaml_writes_is_what_is_read(tmp_path_factory, values):
    """A file written by a YAML library reads back as the same values, and as papermill would read it."""
    schema = {
        p.name: p
        for source, stage in ((CELLS[s], s) for s in STAGES[:3])
        for p in parameters.read_cell(source, stage)[0]
    }
    path = tmp_path_factory.mktemp("p") / "x.yaml"
    path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    read, faults = parameters.read_values(path, schema)
    assume(not any("with quotes" in fault for fault in faults))  # what YAML 1.1 and the cell's type read differently
    assert faults == [] and {name: value for name, (value, _) in read.items()} == values


def test_given_values_are_brought_to_the_type_of_the_cell(root):
    """`--set` and `-p` follow the same types; text becomes lists by YAML."""
    schema = read_schema(root / "notebooks")
    values = resolve(schema, given={"threshold": 1, "title": 5, "drop": "[a, b]", "shuffle": "true"}).values
    assert (values["threshold"], values["title"], values["drop"], values["shuffle"]) == (1.0, "5", ["a", "b"], True)
    with pytest.raises(ParameterError, match=r"cv_folds given: 'abc' is no int") as caught:
        resolve(schema, given={"cv_folds": "abc", "thresold": "1"})
    assert "unknown parameter 'thresold' given. Did you mean 'threshold'?" in str(caught.value)


# which value holds --------------------------------------------------------------------------------------------------


def test_without_a_project_the_cells_hold(root):
    """Run All on a fresh clone runs the built-in sample in a draft folder."""
    run, p = do(STAGES[0])
    assert (p.threshold, run.folder.name) == (0.5, "sample-draft")


def test_the_file_wins_over_the_cell_and_the_hand_over_both(root):
    """Cell, then file, then given; each value knows where it came from."""
    _, p = do(STAGES[0], project="wine", title="Mine", threshold=0.7)
    assert (p.threshold, p.title) == (0.8, "Mine")
    assert "threshold: the edited cell says 0.7, parameters/wine.yaml:2 holds" in repr(p)
    assert "title = Mine   (edited cell)" in repr(p)
    _, p = do(STAGES[0], injected={"project": "wine", "threshold": 0.9})
    assert p.threshold == 0.9


def test_a_given_value_holds_even_when_it_equals_the_default(root):
    """`-p threshold 0.5` is a decision, although 0.5 is the default."""
    _, p = do(STAGES[0], injected={"project": "wine", "threshold": 0.5})
    assert p.threshold == 0.5 and "threshold = 0.5   (given to 1_business_understanding)" in repr(p)


def test_a_saved_edit_of_a_cell_is_the_new_default(root, monkeypatch):
    """Saved or not, an edited cell changes what the file does not name."""
    edited = CELLS[STAGES[0]].replace('"Sample"', '"Saved"')
    write_notebook(root / "notebooks" / f"{STAGES[0]}.ipynb", edited)
    monkeypatch.setitem(CELLS, STAGES[0], edited)
    _, p = do(STAGES[0], project="wine")
    assert (p.title, p.threshold) == ("Saved", 0.8)


def test_the_environment_chooses_the_project_for_run_all(root, monkeypatch):
    """TDSP_PROJECT serves where nobody can edit the cell."""
    monkeypatch.setenv("TDSP_PROJECT", "wine")
    run, p = do(STAGES[0])
    assert (p.threshold, run.folder.name) == (0.8, "wine-draft")


def test_a_later_stage_may_change_what_nobody_used(root):
    """An edited cell of the third stage does not disturb the first two."""
    for stage in STAGES[:2]:
        do(stage, project="wine")
    _, p = do(STAGES[2], project="wine", cv_folds=3)
    assert p.cv_folds == 3


def test_a_later_stage_stops_at_a_change_of_what_was_used(root):
    """The parameter file edited between two stages: the notebook to run again is named."""
    do(STAGES[0], project="wine")
    (root / "parameters" / "wine.yaml").write_text("project: wine\nthreshold: 0.9\nsplit: time\n")
    with pytest.raises(
        RunError, match=r"threshold was 0\.8 .* now it is 0\.9 .*Run 1_business_understanding\.ipynb again"
    ):
        do(STAGES[1], project="wine")
    do(STAGES[0], project="wine")
    assert do(STAGES[1], project="wine")[1].split == "time"


def test_a_value_given_to_a_later_stage_that_differs_stops(root):
    """-p is never ignored silently."""
    do(STAGES[0], project="wine")
    with pytest.raises(RunError, match=r"threshold was 0\.8"):
        do(STAGES[1], injected={"project": "wine", "threshold": 0.7})


def test_values_given_to_an_earlier_stage_stay(root):
    """A value given once by hand holds for the whole run, used or not yet used."""
    do(STAGES[0], injected={"project": "wine", "threshold": 0.9, "cv_folds": 3})
    do(STAGES[1], injected={"project": "wine"})
    _, p = do(STAGES[2], injected={"project": "wine"})
    assert (p.threshold, p.cv_folds) == (0.9, 3)


def test_an_unsaved_edit_of_an_earlier_cell_stays(root):
    """The second notebook cannot see the first one's editor, but it can read the record."""
    do(STAGES[0], title="Unsaved")
    assert do(STAGES[1])[1].title == "Unsaved"


def test_stages_run_in_order(root):
    """A later notebook names the one to run first."""
    with pytest.raises(RunError, match=r"There is no run in .* Run 1_business_understanding\.ipynb first"):
        do(STAGES[1])
    do(STAGES[0])
    with pytest.raises(RunError, match=r"3_modeling needs the results of 2_data_acquisition.*Run 2_data_acquisition"):
        do(STAGES[2])


def test_running_an_earlier_stage_again_sets_the_later_ones_back(root):
    """Results that rest on what changed are gone."""
    for stage in STAGES[:3]:
        do(stage)
    run, _ = do(STAGES[1])
    assert [s.status for s in run.record.stages] == ["succeeded", "succeeded", "not run", "not run", "not run"]


def test_a_fixed_run_takes_no_other_value(root, tmp_path):
    """A run of `tdsp run` can be opened with equal values only."""
    run, _ = do(STAGES[0], injected={"project": "wine", "run_dir": str(tmp_path / "r")})
    run.update(lambda record: replace(record, fixed=True))
    do(STAGES[1], injected={"project": "wine", "run_dir": str(tmp_path / "r"), "threshold": 0.8})
    with pytest.raises(RunError, match=r"made by `tdsp run` and is fixed: threshold is 0\.8 there, 0\.7 here"):
        do(STAGES[1], injected={"project": "wine", "run_dir": str(tmp_path / "r"), "threshold": 0.7})


def test_an_unknown_injected_name_is_an_error(root):
    """papermill only warns of it."""
    with pytest.raises(ParameterError, match=r"unknown parameter 'tresold' given. Did you mean 'threshold'\?"):
        do(STAGES[0], injected={"tresold": 0.7})


def test_a_wrong_type_in_an_edited_cell_is_an_error(root):
    """The line of the cell is named."""
    with pytest.raises(
        ParameterError, match=r"1_business_understanding\.ipynb, parameters cell, line 4: threshold: 'x'"
    ):
        do(STAGES[0], threshold="x")


def test_a_project_name_cannot_leave_the_folder(root):
    """The project becomes a file name, so it must be one."""
    with pytest.raises(ParameterError, match="cannot name a file"):
        do(STAGES[0], project="../../etc/passwd")


def test_a_removed_injected_cell_no_longer_counts():
    """Only an injected cell that ran after the parameters cell is in force."""
    history = ["# Parameters\nn = 1\n", 'run_dir: str = ""\nn: int = 3']
    assert parameters.injected_names(history) == []


def test_parameters_cannot_be_assigned_and_hint_at_misspellings(root):
    """Cells read them; the file or the parameters cell changes them."""
    _, p = do(STAGES[0])
    with pytest.raises(AttributeError, match=r"there is no parameter 'treshold'. Did you mean 'threshold'\?"):
        _ = p.treshold
    with pytest.raises(AttributeError, match="parameters are fixed"):
        p.threshold = 1


def test_the_record_keeps_value_origin_and_home(root):
    """Two runs can be compared parameter by parameter."""
    run, _ = do(STAGES[0], project="wine")
    entry = read_record(run.folder).parameters["threshold"]
    assert entry == ParameterEntry(0.8, "parameters/wine.yaml:2", STAGES[0])


def test_effort_sets_what_nobody_states():
    """Stated values hold; the others are those of the effort, and the record says so."""
    schema = read_schema(Path(__file__).parents[2] / "notebooks")
    quick = resolve(schema, given={"effort": "quick", "search_trials": "5"})
    assert quick.values["candidates"] == ["dummy", "linear", "lightgbm"]
    assert quick.values["search_trials"] == 5
    assert (quick.origins["candidates"], quick.origins["search_trials"]) == ("effort", "given")
    usual, thorough = resolve(schema), resolve(schema, given={"effort": "thorough"})
    assert usual.values["search_trials"] < thorough.values["search_trials"]
    assert {name for name in usual.values if usual.values[name] != thorough.values[name]} == {
        "effort", "candidates", "search_trials", "cv_rows", "importance_rows", "importance_repeats"
    }  # fmt: skip
    with pytest.raises(ParameterError, match="quick"):
        resolve(schema, given={"effort": "fast"})
