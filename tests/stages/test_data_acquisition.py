"""The second stage puts parameters, contract and charter of a run together with what was counted."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml

from tdsp.config.contract import Contract, Rules
from tdsp.config.parameters import load_parameters
from tdsp.core.errors import DataError, ParameterError
from tdsp.core.formatting import format_percent
from tdsp.core.record import create_run, new_record
from tdsp.core.results import Estimate, Gate, Goal
from tdsp.data.cell_types import ReadOptions
from tdsp.data.ingest import load_source, to_frame
from tdsp.data.remarks import Remark, RemarkCode
from tdsp.data.target import Target
from tdsp.stages.context import StageContext, hold_contract, modeling_table
from tdsp.stages.customer_acceptance import score_with_seen
from tdsp.stages.data_acquisition import (
    apply_contract,
    check_rows,
    check_test_set,
    reading_steps,
    returning_cases,
    split_by,
    split_findings,
    stated_reading,
    steps_caption,
    train_test_shift,
    write_split,
)
from tdsp.stages.model_evaluation import score_by_case
from tdsp.stats.metrics import METRICS
from tdsp.stats.resampling import make_units

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
    assert steps_caption(table.remarks) == "3 things were done to your columns."
    assert lines["price"] == 'read_as: {"price": "text"}' and lines["land"] == 'missing_codes: ["NA"]'
    stated = [
        (column, how) for name in ("price", "zip") for column, how in yaml.safe_load(lines[name])["read_as"].items()
    ]
    again = ReadOptions(columns=tuple(stated), missing_codes=("NA",))
    frame = to_frame(load_source("t", "t.csv", root=tmp_path, reading=again).table)
    assert frame["price"].iloc[0] == "$0.50" and frame["zip"].iloc[5] == 5 and frame["land"].isna().sum() == 40


CELLS_OF = {  # cells of a column that is read in each of these ways
    RemarkCode.MARKED_NUMBERS: [f"${i}.50" for i in range(60)],
    RemarkCode.MISSING_WORDS: [f"{i}" if i % 5 else "unknown" for i in range(60)],
    RemarkCode.DAMAGED_CELLS: [f"{i}.5" if i != 7 else "7.5/2" for i in range(200)],
    RemarkCode.SEVERAL_UNITS: [f"{i} kg" if i % 2 else f"{i} km" for i in range(60)],
    RemarkCode.DATES: [f"{i % 28 + 1}.0{i % 9 + 1}.2024" for i in range(60)],
    RemarkCode.DATES_COMPACT: [f"202401{i % 28 + 1:02}" for i in range(60)],
    RemarkCode.SHORT_YEARS: [f"{i % 28 + 1:02}.01.24" for i in range(60)],
    RemarkCode.DATES_IN_UTC: [f"2024-01-{i % 28 + 1:02}T10:00:00Z" for i in range(60)],
    RemarkCode.CLOCK: [f"{i % 24:02}:{i % 60:02}" for i in range(60)],
    RemarkCode.DIGITS_AS_TEXT: [f"0{i}" for i in range(60)],
    RemarkCode.LOOKS_LIKE_NUMBERS: [f"{i}.5" if i % 15 else ("1/2", "3/4")[i % 2] for i in range(60)],
    RemarkCode.LOOKS_LIKE_DATES: [f"2024-01-{i % 28 + 1:02}" if i % 15 else ("5/13", "6/13")[i % 2] for i in range(60)],
    RemarkCode.NA_IS_VALUE: ["NA" if i % 3 else "ZA" if i % 2 else "BW" for i in range(60)],
    RemarkCode.INFINITE: [f"{i}.5" if i % 7 else "inf" for i in range(60)],
    RemarkCode.MISSING_CODES: [f"{i}" if i % 7 else "-999,0" for i in range(60)],
    RemarkCode.TRIMMED: ["Leeds" if i % 2 else "Leeds " if i % 3 else "York" for i in range(60)],
    RemarkCode.WORD_IS_VALUE: ["Web" if i % 2 else "-" if i % 3 else "Referral" for i in range(60)],
    RemarkCode.TEXT_AS_STATED: [f"{i}" for i in range(60)],
}
VERSIONS = [f"10.{i % 9 + 1}.{i}" for i in range(19, 45)]  # all of them may be dates
STATED = {RemarkCode.TEXT_AS_STATED: {"read_as": {"x": "text"}}}
WITHOUT_LINE = {RemarkCode.SEVERAL_UNITS, RemarkCode.TRIMMED, RemarkCode.TEXT_AS_STATED}


@pytest.mark.parametrize(("code", "cells"), [*CELLS_OF.items(), (RemarkCode.LOOKS_LIKE_DATES, VERSIONS)])
def test_the_line_that_undoes_a_reading_undoes_it_when_it_is_written(tmp_path, code, cells):
    """Each kind by applying it; other entries of the parameters stay. Where no line does, the words are no line."""
    body = "".join(f"{cell};{'-' if i % 9 == 0 else i};{'ab'[i % 2]}\n" for i, cell in enumerate(cells))
    (tmp_path / "t.csv").write_text(f"x;n;y\n{body}")

    def remarks(stated):
        columns = tuple(stated.get("read_as", {}).items())
        how = ReadOptions(columns=columns, missing_codes=tuple(stated.get("missing_codes", ())))
        return load_source("t", "t.csv", root=tmp_path, reading=how).remarks

    stated = {"missing_codes": ["-999", "77777"]} | STATED.get(code, {})
    found = {remark.code: remark for remark in remarks(stated) if remark.column == "x"}
    assert code in found, [*found]
    line = yaml.safe_load(found[code].undo(stated))
    assert isinstance(line, dict) == (code not in WITHOUT_LINE), line
    if isinstance(line, dict):
        assert "77777" in line.get("missing_codes", ["77777"])
        again = {remark.code for remark in remarks(stated | line) if remark.column == "x"}
        assert code not in again


def test_what_was_done_to_a_file_has_no_line_that_would_do_nothing():
    """SQL cannot bring back a line above the names, and two settings on one line are no YAML."""
    layout = Remark(RemarkCode.LAYOUT, ("UTF-8", "comma", "names in row 2"), source="t")
    above = Remark(RemarkCode.ROWS_ABOVE, ("1",), source="t")
    steps = reading_steps([layout, above])["to undo, write into the parameters"]
    assert [*steps] == [
        "state encoding, separator or decimal where one is wrong",
        "no line of the parameters; change the file",
    ]


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


def people(n, copies=0, seed=0, noise=0.003):
    """A table of n people, the first ones once more with other noise and an id of its own."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(rng.normal(size=(n, 5)), columns=[*"abcde"]).assign(town=rng.integers(0, 9, n).astype(str))
    rows["churned"] = np.where(rows["a"] + rng.normal(size=n) > 0, "yes", "no")
    again = rows.head(copies).copy()
    again[[*"abcde"]] += rng.normal(0, noise, (copies, 5))
    return pd.concat([rows, again], ignore_index=True).assign(id=lambda t: np.arange(len(t)) + 1000)


def settings_of(**given):
    """The parameters that divide a table."""
    names = dict.fromkeys(("time_column", "group_column", "split_column", "sql"), "")
    values = {"target": "churned", "split": "random", "drop": [], "forbidden": [], "holdout_share": 0.2}
    return names | values | {"random_state": 0, "repeated_rows": "together"} | given


def second_stage(folder, rows, **given):
    """A run in which the table was divided, its training and test rows, and the split."""
    run = create_run(folder, new_record("p-1", "p", fixed=True))
    run.stage = "2_data_acquisition"
    values = settings_of(**given)
    parts = split_by(rows, values, "binary")
    return run, *write_split(run, SimpleNamespace(**values, as_dict=lambda: values), rows, parts), parts


def test_copies_with_small_noise_stay_on_one_side(tmp_path):
    """A fifth of the rows is there twice under another id, no row equals another; the reason names the way back."""
    run, train, test, parts = second_stage(tmp_path / "run", people(400, copies=80))
    assert not {*train["repeat_group"]} & {*test["repeat_group"]} and parts.kind == "group"
    assert run.fact("test_rows_seen") == 0 and "repeated_rows: apart" in parts.why and "80 rows nearly" in parts.why
    assert abs(len(test) - 96) < 10


def test_test_rows_that_repeat_training_rows_are_set_aside_where_they_may_be_on_both_sides(tmp_path):
    """The rows that are scored are those without; the others are kept for the score beside it."""
    rows = people(400, copies=80)
    run, train, test, parts = second_stage(tmp_path / "run", rows, repeated_rows="apart")
    aside = run.read_table("test_seen")
    assert len(aside) == run.fact("test_rows_set_aside") == run.fact("test_rows_seen") > 20
    assert len(test) + len(aside) == len(parts.test) == 96 and list(aside) == list(test)
    assert run.read_json("split")["test_rows"] == len(test)
    copy_of = np.where(rows["id"] >= 1400, rows["id"] - 400, rows["id"])
    known = pd.Series(copy_of, rows["id"])
    assert not {*known[train["id"]]} & {*known[test["id"]]}


def test_where_every_test_row_is_known_none_is_set_aside_and_the_gate_is_shut(tmp_path):
    """Every row is there twice: nothing would be left to score, so it is a severe finding."""
    rows = people(100, copies=100, noise=0).assign(is_test=[0] * 100 + [1] * 100)
    run, train, test, _ = second_stage(tmp_path / "run", rows, split="given", split_column="is_test")
    assert len(test) == run.fact("test_rows_seen") == 100 and run.fact("test_rows_set_aside") == 0
    outcome = Target("churned", "binary", ("no", "yes"), "yes", "", "", 0)
    found = check_test_set(run, outcome, train, test)
    assert [(each.code, each.severity) for each in found] == [("test-seen", "severe")]


def test_a_share_of_the_target_that_differs_is_a_caution_for_the_cover(tmp_path):
    """A third in training, four fifths in the test set: one sentence with both shares; none for a mixed table."""
    rows = people(400)
    rows = rows.sort_values("a", ignore_index=True).assign(is_test=[0] * 230 + [1] * 170)
    run, train, test, _ = second_stage(tmp_path / "run", rows, split="given", split_column="is_test")
    outcome = Target("churned", "binary", ("no", "yes"), "yes", "", "", 0)
    (found,) = check_test_set(run, outcome, train, test)
    before, after = (format_percent((part["churned"] == "yes").mean()) for part in (train, test))
    assert found.code == "target-shift" and found.evidence == f"yes {before} in training, {after} in the test set"
    assert run.fact("data_cautions") == [f"{found.title}: {found.evidence}."]
    mixed, train, test, _ = second_stage(tmp_path / "mixed", rows.drop(columns="is_test"))
    assert check_test_set(mixed, outcome, train, test) == [] and mixed.fact("data_cautions") == []


def test_rows_of_few_levels_coincide_and_none_is_set_aside(tmp_path):
    """Two columns of three levels: every combination is in both sets by right."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({name: rng.choice([*"xyz"], 300) for name in "ab"}).assign(churned=["yes", "no", "no"] * 100)
    run, _, test, parts = second_stage(tmp_path / "run", rows)
    assert len(test) == 60 and run.fact("test_rows_seen") == 0 and "by chance" in parts.why


def test_the_score_with_rows_that_training_has_seen_is_shown_beside_the_one_that_counts(tmp_path):
    """Set-aside rows are predicted too; the gate and its metric stay those without."""
    run, _, test, _ = second_stage(tmp_path / "run", people(400, copies=80), repeated_rows="apart")
    run.write_json("goal", Goal("binary", "churned", "roc_auc", "ROC-AUC"))
    run.write_json("target", Target("churned", "binary", ("no", "yes"), "yes", "", "", 0))
    stage = StageContext(run, SimpleNamespace(n_resamples=50, random_state=0))

    def predict(rows):
        return pd.DataFrame({"probability": rows["a"].rank(pct=True).to_numpy()})

    kept = Gate("ROC-AUC", ">=", 0.7, 0.6, 0.8, 0.5)
    table = score_with_seen(stage, predict(test), kept, predict)
    aside = run.fact("test_rows_set_aside")
    assert table["test rows"].tolist() == [f"{len(test)} that count", "96 with those that repeat training rows"]
    assert f"{aside} more test rows repeat" in run.fact("score_cautions")[0] and run.record.gates == ()
    assert 0.5 < run.record.metrics["score_with_seen"].value < 1


def test_rows_that_cannot_be_are_findings_and_a_caution_with_the_sql(tmp_path):
    """Named by number, kept for the third stage, and not left out."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"size": rng.normal(90, 20, 300), "price": rng.lognormal(9, 0.5, 300)})
    rows.loc[11, "price"] = 4e7
    run = create_run(tmp_path / "run", new_record("p-1", "p", fixed=True))
    run.stage = "2_data_acquisition"
    p = SimpleNamespace(drop=[], sources={"table": "x.csv"}, sql="")
    outcome = Target("price", "regression", (), None, "", "", 0)
    (found,) = check_rows(run, p, rows, rows, outcome)
    assert found.code == "impossible-row" and found.evidence.startswith("row 12: price is 40,000,000")
    assert run.read_json("impossible_rows") == [11]
    assert "state sql: p.sql" in run.fact("row_cautions")[0] and 'WHERE ("price" <= ' in run.fact("row_cautions")[0]


def test_a_split_by_time_does_not_differ_by_the_time(tmp_path):
    """The finding names what it left out; a table of nothing else is not compared."""
    rng = np.random.default_rng(0)
    when = pd.date_range("2022-01-01", periods=500, freq="D")
    rows = people(500).assign(when=when, month=when.month, drift=np.arange(500) / 250 + rng.normal(size=500))
    run, train, test, parts = second_stage(tmp_path / "run", rows, split="time", time_column="when")
    p = SimpleNamespace(random_state=0)
    shift = train_test_shift(run, p, train[["month", "drift"]], test)
    assert shift.column == "drift" and shift.left_out == ("month",)
    (found,) = split_findings(parts, shift, None, True)
    assert found.code == "drift" and found.evidence.endswith("without what follows the time by itself: month")
    assert train_test_shift(run, p, train[["month"]], test) is None and split_findings(parts, None, None, True) == []


@pytest.fixture
def customers(tmp_path):
    """A table split by time in which three customers in ten have two rows: the run, its sets and its parameters."""
    rng = np.random.default_rng(0)
    names = np.array([f"C{i:05}" for i in rng.permutation([*range(700), *range(300)])])
    rows = people(1000).assign(when=pd.date_range("2022-01-01", periods=1000, freq="h"), customer=names)
    run, train, test, _ = second_stage(tmp_path / "run", rows, split="time", time_column="when")
    p = SimpleNamespace(**settings_of(time_column="when"), sources={"table": "x.csv"})
    return run, train, test, p


def test_test_rows_of_cases_that_training_knows_are_counted(customers):
    """A split by time leaves them on both sides; where none comes back there is no finding."""
    run, train, test, p = customers
    known = test["customer"].isin(train["customer"]).sum()
    (found,) = returning_cases(run, p, train, test, [])
    assert (found.code, found.column, found.evidence) == (
        "case-returns",
        "customer",
        f"{known} of {len(test)} test rows",
    )
    assert run.read_json("returning_cases") == "customer"
    new = test[~test["customer"].isin(train["customer"])]
    assert returning_cases(run, p, train, new, []) == [] and run.read_json("returning_cases") == ""


def test_new_cases_have_a_score_of_their_own(customers):
    """The gate counts all rows; the cover says what the score is on cases that training has not seen."""
    run, train, test, p = customers
    returning_cases(run, p, train, test, [])
    y = (test["churned"] == "yes").to_numpy(dtype=int)
    known = test["customer"].isin(train["customer"]).to_numpy()
    y_pred = np.where(known, 0.25 + y / 2, 0.5)  # learned by heart
    estimate = Estimate(0.7, 0.6, 0.8)
    scores = SimpleNamespace(y_true=y, predictions={"winner": y_pred}, estimate=estimate)

    def units(rows):
        return make_units(len(rows))

    study = SimpleNamespace(run=run, train=train, metric=METRICS["roc_auc"], units=units, seed=0)
    table = score_by_case(study, scores, test)
    assert table["rows"].tolist() == [len(test), (~known).sum(), known.sum()]
    assert table["ROC-AUC"].tolist()[:2] == ["0.70", "0.5"]
    (caution,) = run.fact("case_cautions")
    assert (
        caution.startswith(f"{known.sum()} of {len(test)} test rows have a customer")
        and "others ROC-AUC is 0.5" in caution
    )
    run.write_json("returning_cases", "")
    assert score_by_case(study, scores, test).empty
