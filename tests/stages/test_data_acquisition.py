"""The second stage puts parameters, contract and charter of a run together with what was counted."""

from types import SimpleNamespace

import pandas as pd
import pytest
import yaml

from tdsp.config.contract import Contract, Rules
from tdsp.config.parameters import load_parameters
from tdsp.core.errors import DataError, ParameterError
from tdsp.core.record import Run, create_run, new_record
from tdsp.core.results import Gate, Goal
from tdsp.data.cell_types import ReadOptions
from tdsp.data.ingest import load_source, to_frame
from tdsp.data.remarks import Remark, RemarkCode
from tdsp.data.splits import split_table
from tdsp.stages.context import StageContext, hold_contract, modeling_table
from tdsp.stages.data_acquisition import (
    apply_contract,
    reading_steps,
    score_unseen,
    split_by,
    stated_reading,
    steps_caption,
    write_split,
)

ROWS = {"age": range(60), "churned": ["yes", "no", "no"] * 20}


@pytest.fixture
def project(tmp_path):
    """A folder with a training and a test table, and a parameter file over both."""
    pd.DataFrame(ROWS).to_csv(tmp_path / "train.csv", index=False)
    pd.DataFrame(ROWS).tail(20).assign(age=range(100, 120)).to_csv(tmp_path / "test.csv", index=False)
    (tmp_path / "parameters").mkdir()
    text = 'project: p\nsources: {"a": "train.csv", "b": "test.csv"}\ntarget: churned\nsplit: given\n'
    (tmp_path / "parameters" / "p.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def test_an_encoding_that_was_found_goes_with_the_model():
    """Only one that letters showed, of a single source; UTF-8 needs no word."""
    stated = {name: {} for name in ("encoding", "separator", "decimal", "thousands", "read_as")} | {"missing_codes": []}
    p = SimpleNamespace(**stated, sources={"a": "a.csv"})
    polish = Remark(RemarkCode.LAYOUT, ("Windows-1250", "comma", "names in the first row"))
    plain = Remark(RemarkCode.LAYOUT, ("UTF-8", "comma", "names in the first row"))
    assert stated_reading(p, [polish]) == {"likely_encoding": "cp1250"}
    assert stated_reading(p, [plain]) == stated_reading(p, [plain, polish]) == {}


def test_each_thing_that_was_read_has_the_line_that_undoes_it(tmp_path):
    """The line is taken as it is printed: the column comes as text, or as a number."""
    body = "price,land,zip,y\n" + "".join(
        f"${i}.50,{'NA' if i % 3 else 'ZA' if i % 2 else 'BW'},0{i},no\n" for i in range(60)
    )
    (tmp_path / "t.csv").write_text(body)
    table = load_source("t", "t.csv", root=tmp_path)
    steps = reading_steps(table.remarks)
    lines = dict(zip(steps["column"], steps["to undo, write into the parameters"]))
    assert steps_caption(table.remarks) == "3 things were done to your columns while reading."
    assert lines["price"] == 'read_as: {"price": "text"}' and lines["land"] == 'missing_codes: ["NA"]'
    stated = [
        (column, how) for name in ("price", "zip") for column, how in yaml.safe_load(lines[name])["read_as"].items()
    ]
    again = ReadOptions(columns=tuple(stated), missing_codes=("NA",))
    frame = to_frame(load_source("t", "t.csv", root=tmp_path, reading=again).table)
    assert frame["price"].iloc[0] == "$0.50" and frame["zip"].iloc[5] == 5 and frame["land"].isna().sum() == 40


def values_of(project):
    return load_parameters(project / "parameters" / "p.yaml", root=project).values


def test_a_test_table_of_its_own_is_the_test_part(project):
    """Two sources and `split: given`: the second one tests, and the column that says so is no feature."""
    values = values_of(project)
    table = modeling_table(values, root=project, folder=project / "parameters", lake=project / "lake").frame
    parts = split_by(table, values, "binary")
    assert set(table["age"].iloc[parts.test]) == set(range(100, 120)) and len(parts.train) == 60
    assert parts.why == "as is_test says"


def test_file_order_and_sql_do_not_go_together(project):
    """An SQL's result is sorted; taking its order for that of the file would be a silent fault."""
    values = values_of(project) | {"split": "order", "sql": "p.sql"}
    with pytest.raises(ParameterError, match=r"an SQL sorts them\. Use split: time"):
        split_by(pd.DataFrame(ROWS), values, "binary")


def test_the_contract_travels_with_the_schema():
    """No gap where it allows none, its own levels where they are closed; other columns as they were."""
    schema = {"columns": [{"name": "age", "nullable": True}, {"name": "plan", "nullable": True, "levels": ["a"]}]}
    rules = {"plan": Rules(type="text", max_null_share=0, levels=("a", "b"), closed_levels=True)}
    age, plan = apply_contract(schema, Contract(columns=rules))["columns"]
    assert age == schema["columns"][0]
    assert plan == {"name": "plan", "nullable": False, "levels": ["a", "b"], "closed": True}


def test_a_broken_contract_names_its_file(project):
    """Messages of a run whose delivery has changed."""
    values = values_of(project)
    table = modeling_table(values, root=project, folder=project / "parameters", lake=project / "lake")
    (project / "parameters" / "p.contract.yaml").write_text("columns: {age: {type: number, max: 99}}", encoding="utf-8")
    with pytest.raises(DataError, match=r"break p.contract.yaml in 1 place; nothing was trained:\n  age: .*20 rows"):
        hold_contract(table.path, project / "parameters", "p")


def test_an_id_that_no_model_uses_hides_no_row_that_training_has_seen(project):
    """Every row is there twice under another number: all test rows are seen, and marked for the later stages."""
    rows = pd.DataFrame({"id": range(1000, 1080), "age": [*range(40)] * 2, "churned": ["yes", "no"] * 40})
    rows = rows.assign(is_test=[0] * 40 + [1] * 40)
    run = create_run(project / "run", new_record("p-1", "p", fixed=True))
    run.stage = "2_data_acquisition"
    columns = {"time_column": "", "group_column": "", "split_column": "is_test"}
    p = SimpleNamespace(target="churned", drop=[], forbidden=[], split="given", **columns)
    parts = split_table(rows, target="churned", task="binary", kind="given", split_column="is_test")
    write_split(run, p, rows, parts)
    assert run.fact("test_rows_seen") == 40 and run.read_table("test_seen")["seen"].all()


def test_where_every_test_row_is_known_there_is_nothing_left_to_score(tmp_path):
    """Few levels in few columns: the table says so, and no gate is entered."""
    run = Run(create_run(tmp_path / "run", new_record("a-1", "a", fixed=True)).folder, "5_customer_acceptance")
    run.write_table("test_seen", pd.DataFrame({"seen": [True] * 4}))
    run.write_json("goal", Goal("regression", "y", "r2", "R²"))
    table = score_unseen(StageContext(run, None), None, Gate("R²", ">=", 0.5, 0.4, 0.6, 0.1))
    assert table["test rows"].tolist() == [4, 0] and "none is left" in table["R²"].iloc[1]
    assert run.record.gates == ()
