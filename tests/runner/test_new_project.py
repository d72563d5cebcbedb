"""draft: a parameter file for anybody's table, with the reason of every guess."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsp.config.parameters import load_parameters, read_schema, read_values
from tdsp.core.errors import DataError, ParameterError
from tdsp.core.project import find_root
from tdsp.core.yaml import to_yaml
from tdsp.data.guesses import guess_settings
from tdsp.runner.new_project import as_comment, draft_parameters, project_name, write_draft

CUSTOMERS = {"customer": range(60), "age": [20, 30, 40] * 20, "churned": ["yes", "no", "no"] * 20}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A stranger's file in an empty folder."""
    path = tmp_path / "my customers.csv"
    pd.DataFrame(CUSTOMERS).to_csv(path, index=False)
    return path


def test_init_writes_a_file_that_a_run_takes(table):
    """The strict reader accepts what was written; the notebooks lie beside it."""
    draft = write_draft(str(table), "churned", root=table.parent)
    values = load_parameters(draft.parameters, root=table.parent).values
    assert (values["target"], values["positive_class"], values["task"]) == ("churned", "yes", "binary")
    assert values["sources"] == {"table": "my customers.csv"}
    assert len(list((table.parent / "notebooks").glob("[1-5]_*.ipynb"))) == 5


def test_every_guess_has_its_reason(table):
    """Nobody has to ask why."""
    text = write_draft(str(table), "churned", root=table.parent).parameters.read_text()
    for line in text.splitlines():
        if line.startswith(("task", "positive_class", "metric", "split", "drop", "time_column")):
            assert len(line.partition("  # ")[2]) > 8, line


def test_nothing_that_exists_is_overwritten(table):
    """A second init leaves the file, which may have been edited."""
    write_draft(str(table), "churned", root=table.parent)
    with pytest.raises(ParameterError, match="exists and is left as it is"):
        write_draft(str(table), "churned", root=table.parent)
    assert write_draft(str(table), "churned", root=table.parent, name="second").parameters.name == "second.yaml"


def test_a_misspelt_target_names_the_closest_and_writes_nothing(table):
    """The error comes before any file."""
    with pytest.raises(DataError, match=r"no column 'churn' .*Did you mean 'churned'\?"):
        write_draft(str(table), "churn", root=table.parent)
    assert not (table.parent / "parameters").exists()


def test_a_name_cannot_leave_the_folder(table):
    """The project's name becomes a file."""
    with pytest.raises(ParameterError, match="cannot name a file"):
        write_draft(str(table), "churned", root=table.parent, name="../elsewhere")


def test_year_month_and_day_become_the_time_of_the_split(tmp_path):
    """A SQL file beside the parameters makes it, the contract knows it, and the table loads."""
    from tdsp.runner.preflight import check_plan, plan_run

    days = pd.date_range("2023-01-01", periods=60, freq="9D")
    frame = pd.DataFrame(CUSTOMERS | {"year": days.year, "month": days.month_name(), "day": days.day})
    frame.sample(frac=1, random_state=0).to_csv(tmp_path / "c.csv", index=False)
    draft = write_draft(str(tmp_path / "c.csv"), "churned", root=tmp_path)
    values = load_parameters(draft.parameters, root=tmp_path).values
    assert (values["sql"], values["split"], values["time_column"]) == ("c.sql", "time", "time")
    table = check_plan(plan_run(draft.parameters))
    assert table is not None and "time" in table.columns


def test_columns_can_be_left_out_and_a_misspelt_one_is_named(table):
    """They stand in `drop` with the reason."""
    draft = write_draft(str(table), "churned", root=table.parent, drop=["age"])
    assert 'drop: ["age", "customer"]  # age as stated; ' in draft.parameters.read_text()
    for name, message in (("aeg", "Did you mean 'age'"), ("churned", "it is the target")):
        with pytest.raises(DataError, match=message):
            write_draft(str(table), "churned", root=table.parent, name=name, drop=[name])


@given(st.text(min_size=1), st.lists(st.text(), max_size=3))
def test_hostile_names_are_read_back_as_they_were(tmp_path_factory, target, drop):
    """Quotes, line breaks, emoji and comment signs in names survive the file."""
    path = tmp_path_factory.mktemp("d") / "x.yaml"
    text = f"target: {to_yaml(target)}  # {as_comment(target)}\ndrop: {to_yaml(drop)}\n"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    values, faults = read_values(path, read_schema(find_root() / "notebooks"))
    assert faults == [] and (values["target"][0], values["drop"][0]) == (target, drop)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("data/countries of the world.csv", "countries_of_the_world"),
        ("taxi-data.csv.gz", "taxi_data"),
        ("https://host/x/Sales 2024.parquet?token=1", "sales_2024"),
        ("…", "project"),
    ],
)
def test_a_project_is_named_after_its_file(data, name):
    """A name that every file system takes."""
    assert project_name(data) == name


def test_the_draft_names_what_only_people_know():
    """Question, decision, date and limit are asked for, not invented."""
    text = draft_parameters("c", "c.csv", "churned", guess_settings(pd.DataFrame(CUSTOMERS), "churned"))
    for line in ('question: ""', 'decision: ""', 'due: ""', "threshold: 0"):
        assert f"\n{line}" in text


def test_init_writes_a_contract_that_its_own_table_keeps(table):
    """The next load is held against it; a broken delivery is refused before anything is trained."""
    from tdsp.runner.preflight import check_plan, plan_run

    draft = write_draft(str(table), "churned", root=table.parent)
    assert check_plan(plan_run(draft.parameters)) is not None
    pd.DataFrame(CUSTOMERS | {"churned": ["yes", "no", "maybe"] * 20}).to_csv(table, index=False)
    with pytest.raises(
        DataError, match=r"break my_customers.contract.yaml in 1 place; nothing was trained:\n  churned"
    ):
        check_plan(plan_run(draft.parameters))


def shifted_table(tmp_path: Path, rows: int) -> Path:
    """Agreements below a title, in which the cells of some rows stand one column too far to the right."""
    lines = [f"A{i},{('Web', 'Friend')[i % 2]},{('no', 'no', 'yes')[i % 3]},{i % 7},{i % 50 + 1}.5" for i in range(300)]
    for i in range(rows):
        lines[40 + 100 * i] = f"A{40 + 100 * i},,Friend,no,3"
    path = tmp_path / "agreements.csv"
    path.write_text("Agreements of the club,,,,\nid,how,left,visits,price\n" + "\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("rows", [1, 2])
def test_rows_that_are_shifted_make_no_class(tmp_path, rows):
    """The class is set aside with its lines and its column; the files that are written check as they are."""
    from tdsp.runner.preflight import check_plan, plan_run

    draft = write_draft(str(shifted_table(tmp_path, rows)), "left", root=tmp_path)
    assert draft.guesses["task"].value == "binary" and draft.guesses["positive_class"].value == "yes"
    (sentence,) = draft.set_aside
    assert "'Friend' has" in sentence and "a value of how, the column before it" in sentence
    assert ("(line 43 of the file)" if rows == 1 else "(lines 43, 143 of the file)") in sentence
    assert "task: multiclass" in sentence and "leaves out" in draft.parameters.read_text()
    table = check_plan(plan_run(draft.parameters, settings={}, out=tmp_path / "out"))
    assert table is not None and table.rows == 300 - rows


def test_a_run_names_the_shifted_rows_and_the_sql_that_leaves_them_out(tmp_path):
    """Also where two rows would make a third class; with task: multiclass they are one."""
    from tdsp.runner.preflight import check_plan, plan_run

    draft = write_draft(str(shifted_table(tmp_path, 2)), "left", root=tmp_path)
    draft.contract.unlink()
    text = draft.parameters.read_text().replace("sql: ", "# sql: ").replace("task: ", "# task: ")
    draft.parameters.write_text(text)
    sql = r'rows 41, 141 of the table\).*SELECT \* FROM "table" WHERE \("left" = \'Friend\'\) IS NOT TRUE'
    with pytest.raises(DataError, match=sql):
        check_plan(plan_run(draft.parameters, settings={}, out=tmp_path / "out"))
    kept = plan_run(draft.parameters, settings={"task": "multiclass", "metric": "log_loss"}, out=tmp_path / "out")
    table = check_plan(kept)
    assert table is not None and table.rows == 300


def test_the_contract_of_init_is_of_the_cells_as_a_run_reads_them(tmp_path):
    """A missing code that was guessed is a gap before limits are taken; parts of a date have their own limits."""
    from tdsp.config.contract import read_contract
    from tdsp.runner.preflight import check_plan, plan_run

    hours = pd.date_range("2024-01-01", periods=24 * 60, freq="h")
    wind = pd.Series(range(len(hours))) % 17 + 0.5
    columns = {"Jahr": hours.year, "Monat": hours.month, "Tag": hours.day, "Std": hours.hour, "load": range(len(hours))}
    frame = pd.DataFrame({**columns, "wind": wind.where(pd.Series(range(len(hours))) % 50 > 0, -999)})
    frame.to_csv(tmp_path / "heat.csv", index=False)
    draft = write_draft(str(tmp_path / "heat.csv"), "load", root=tmp_path)
    assert draft.guesses["missing_codes"].value == ["-999"]
    contract = read_contract(draft.contract)
    assert contract is not None
    rules = contract.columns
    assert rules["wind"].min == "0" and 0 < rules["wind"].max_null_share < 0.2
    limits = {name: (rules[name].min, rules[name].max) for name in ("Monat", "Tag", "Std")}
    assert limits == {"Monat": ("1", "12"), "Tag": ("1", "31"), "Std": ("0", "23")}
    check_plan(plan_run(draft.parameters, settings={}, out=tmp_path / "out"))
    shut = draft.contract.read_text().replace(str(rules["wind"].max_null_share), "0")
    draft.contract.write_text(shut)
    breach = r"wind: expected a value in every row; found 29 rows .*'-999.0' in row 1, "
    cell = rf"{breach}.*29 cells hold '-999.0', gaps by missing_codes"
    with pytest.raises(DataError, match=cell):
        check_plan(plan_run(draft.parameters, settings={}, out=tmp_path / "out"))


def test_init_says_where_a_project_above_is(tmp_path, monkeypatch, capsys):
    """Nothing is written into a folder above without a word."""
    from tdsp.cli.projects import init

    (tmp_path / "parameters").mkdir()
    (tmp_path / "data").mkdir()
    pd.DataFrame(CUSTOMERS).to_csv(tmp_path / "data" / "c.csv", index=False)
    monkeypatch.chdir(tmp_path / "data")
    init("c.csv", target="churned")
    assert f"The project is {tmp_path.resolve()}, above this folder" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    init("data/c.csv", target="churned", name="second")
    assert "above this folder" not in capsys.readouterr().out
