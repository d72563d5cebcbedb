"""The third stage from its candidates to its gates, by the notebook's own cells on tables made for the purpose."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tdsp.core.errors import DataError, ParameterError, StageError
from tdsp.data.cell_types import ReadOptions
from tdsp.data.splits import row_hashes
from tdsp.data.target import require_target
from tdsp.packaging.loader import as_features
from tdsp.reporting.next_steps import open_questions
from tdsp.stages import model_evaluation, model_tests, modeling
from tdsp.stages.leak_questions import CARRIER_GATE, ask_about_carrier
from tdsp.stages.model_evaluation import carrier_of, limit_groups
from tests.exploration.test_leakage import memberships
from tests.support.study import run_cells

QUICK = {"candidates": ["dummy", "linear", "lightgbm"], "search_trials": 2, "n_resamples": 200, "importance_repeats": 2}


def flights(n=1500, seed=0):
    """Late with wind, at LGA by chance alone; the hour turns; the sex of the captain tells nothing."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"wind": rng.normal(size=n), "hour": rng.uniform(5, 23, n)})
    X = X.assign(gust=X["wind"] + 0.1 * rng.normal(size=n), origin=rng.choice(["JFK", "LGA", "EWR"], n))
    X = X.assign(captain=rng.choice(["f", "m"], n))
    signal = np.where(X["origin"] == "LGA", 0, 2 * X["wind"] + np.abs(X["hour"] - 14) / 4 - 1)
    return X.assign(y=np.where(rng.random(n) < 1 / (1 + np.exp(-signal)), "late", "on time"))


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """The names that the third stage leaves on such flights."""
    settings = {
        "positive_class": "late",
        "sensitive": ["captain"],
        "costs": {"late as on time": 3.0, "on time as late": 1.0},
    }
    changes = ["wind + 1 up", "captain to f same"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.getbasetemp())
        return run_cells(tmp_path_factory.mktemp("flights"), flights(), directional=changes, **settings, **QUICK)


def gates(stage):
    """Name -> gate of the record."""
    return {gate.name: gate for gate in stage["run"].record.gates if gate.stage == "3_modeling"}


def test_the_choice_follows_the_criteria_and_has_one_sentence(stage):
    """Each family has a row of criteria; the sentence is in the record, with what the winner costs."""
    table, record = stage["ranking"].table, stage["run"].record
    assert set(table["candidate"]) == {"linear", "lightgbm"} and stage["choice"].winner in set(table["candidate"])
    told = record.facts["choice"].value
    assert told.startswith(stage["choice"].winner) and "CPU s" in told


def test_the_test_part_is_read_once_and_the_record_says_so(stage):
    """One reading by the third stage, counted by the record itself; no other run has seen these rows."""
    record = stage["run"].record
    assert [entry.stage for entry in record.reads] == ["3_modeling"]
    assert record.facts["test_reads"].value == record.facts["test_looks"].value == 1
    assert record.facts["test_rows_scored_before"].value == 0
    own, sha, hashes = stage["run"].folder, stage["split"].test_sha256, row_hashes(stage["test"])
    none = np.zeros_like(hashes)
    assert model_evaluation.count_test_set_uses(own.parent, own, sha, hashes) == (0, 0)
    assert model_evaluation.count_test_set_uses(own.parent, own.parent / "next", sha, none) == (1, len(hashes))
    assert model_evaluation.count_test_set_uses(own.parent, own.parent / "next", "0" * 64, none) == (0, 0)


def test_a_row_fewer_does_not_make_the_test_set_new(stage):
    """Where a row is left out, all rows have another place and the set another hash; their content has not."""
    own, fewer = stage["run"].folder, stage["test"].iloc[1:]
    hashes = row_hashes(fewer.assign(row_id=fewer["row_id"] - 1))
    found = model_evaluation.count_test_set_uses(own.parent, own.parent / "next", "0" * 64, hashes)
    assert found == (1, len(fewer))


def test_every_candidate_has_a_report_also_the_baseline(stage):
    """Short Markdown with scores, criteria and the reason; entered as documents."""
    folder = stage["run"].folder / "artifacts" / "documents" / "models"
    assert {path.stem for path in folder.glob("*.md")} == {"dummy", "linear", "lightgbm"}
    text = (folder / f"{stage['choice'].winner}.md").read_text()
    assert "this model" in text and "explainability" in text and "95 % interval" in text


def test_the_decision_is_the_one_that_the_costs_ask_for(stage):
    """A miss at three times a false alarm: the threshold is near a quarter, and saves money on the test set."""
    assert 0.1 < stage["fold_calibration"].decision.threshold < 0.45
    assert stage["certain"].set_index("rule").loc["always on time", "saved_low"] > 0


def test_a_model_that_never_says_yes_has_a_remark(stage):
    """All probabilities below the threshold: the reading of the table says so."""
    study, fold_calibration, scores = stage["study"], stage["fold_calibration"], stage["scores"]
    never = {**scores.predictions, "winner": np.full(len(scores.y_true), 0.01)}
    assert "says yes to none" not in model_evaluation.cost_or_coverage(study, fold_calibration, scores)[1]
    reading = model_evaluation.cost_or_coverage(study, fold_calibration, replace(scores, predictions=never))[1]
    assert reading.endswith(f"It says yes to none of the {len(scores.y_true):,} test rows.")  # costs are stated here


def test_the_baseline_ranks_nothing_over_the_folds(stage):
    """Its constant differs a little by fold; taken as one constant its ROC-AUC is a half."""
    table = stage["parts"].set_index(["part", "role"])
    assert table.loc[("folds", "baseline"), "value"] == 0.5


def test_what_is_true_of_these_flights_passes(stage):
    """An honest model: every test that was made says go, and what was not asked for is named as not made."""
    found = gates(stage)
    assert {gate.answer for gate in found.values()} == {"go"}, found
    assert "Difference between groups" in found and "wind + 1: prediction goes up" in found
    assert set(stage["tests"].left_out) == {"monotone"}


def test_what_is_tried_need_not_keep_the_contract(stage, monkeypatch):
    """Unseen levels and shifted numbers are asked of the model although the contract would refuse such rows."""
    study = stage["study"]
    columns = [
        spec | ({"closed": True} if spec["type"] == "string" else {"minimum": spec["min"], "maximum": spec["max"]})
        for spec in study.schema["columns"]
        if spec["type"] in ("string", "float")
    ]
    monkeypatch.setitem(study.__dict__, "schema", study.schema | {"columns": columns})
    gates = model_tests._behavioral_gates(study, stage["fitted"]["winner"])
    assert [gate.answer for gate in gates] == ["go"] * 3


def test_a_weak_slice_is_found_in_words_without_being_condemned(stage):
    """LGA, where nothing can be predicted, is among the slices; it is not provably worse than a guess."""
    assert stage["tests"].slices["slice"].str.contains("origin is LGA").any()
    assert (stage["tests"].slices["answer"] == "not shown to be below the floor").all()


def test_alike_columns_are_shuffled_together_and_mistakes_are_named(stage):
    """Wind and gust have a row of their own with its members; five rows have a sentence each."""
    together = stage["explained"].importance.set_index("column").loc["wind and 1 alike"]
    assert together["members"] == "wind, gust" and together["importance"] > 0
    assert len(stage["worst"]) == 5 and stage["worst"]["words"].str.startswith("Predicted ").all()


def test_bounds_for_later_come_from_the_interval(stage):
    """Nobody stated them: the ends of the interval are in the record."""
    facts, score = stage["run"].record.facts, stage["scores"].estimate
    assert (facts["accuracy_low"].value, facts["accuracy_high"].value) == (score.low, score.high)


def test_numbers_get_ranges_and_a_demand_holds_whatever_the_data_say(tmp_path):
    """A regression whose target falls with wind: held to go up with it, it does; stated bounds are kept."""
    frame = flights(900).drop(columns="y")
    frame = frame.assign(y=-3 * frame["wind"] + np.random.default_rng(1).normal(size=900))
    stage = run_cells(tmp_path, frame, monotone={"wind": "up"}, accuracy_low=0.5, before="explained =", **QUICK)
    assert 0.8 < stage["certain"].loc[0, "coverage"] <= 1
    done = model_tests.run_model_tests(
        stage["study"],
        stage["choice"],
        stage["fold_calibration"],
        stage["fitted"]["winner"],
        stage["scores"],
        stage["test"],
    )
    by_gate = {gate.name: gate.answer for gate in done.gates}
    assert by_gate["Rows that do not go up with wind"] == "go"
    assert stage["study"].candidate("linear").error.startswith("not tried: it cannot be held to go one way with wind")
    assert model_evaluation.accuracy_bounds(stage["study"], stage["scores"]) == (0.5, stage["scores"].estimate.high)


def test_a_labeled_table_is_scored_beside_the_test_set(tmp_path):
    """From a file of its own: a third part in the comparison, a metric in the record; a column short is named."""
    flights(300, seed=5).to_csv(tmp_path / "labelled.csv", index=False)
    settings = {"positive_class": "late", "labelled_test": str(tmp_path / "labelled.csv")} | QUICK
    stage = run_cells(tmp_path, flights(600), before="cost_or_coverage", **settings)
    parts = stage["parts"]
    assert list(parts["part"].unique()) == ["folds", "test part", "labelled table"]
    assert stage["run"].record.metrics["labelled_score"].value > 0.6
    flights(300, seed=5).drop(columns="gust").to_csv(tmp_path / "labelled.csv", index=False)
    with pytest.raises(DataError, match="has no column 'gust'"):
        run_cells(tmp_path / "again", flights(600), before="cost_or_coverage", **settings)
    flights(300, seed=5).assign(gust="strong").to_csv(tmp_path / "labelled.csv", index=False)
    with pytest.raises(DataError, match=r"labelled.csv does not fit the model: column 'gust': .* expected a number"):
        run_cells(tmp_path / "odd", flights(600), before="cost_or_coverage", **settings)


def test_a_runner_up_of_many_rows_is_the_model_of_its_last_fold(tmp_path):
    """The winner learns from all rows; the caption names the rows of the runner-up, and no fit is made for it."""
    few = run_cells(tmp_path, flights(1200), before="plot_calibration", positive_class="late", cv_rows=300, **QUICK)
    learned = few["run"].fact("runner_up_rows")
    assert learned == len(few["folds"].pairs[-1][0]) < 300 and list(few["fitted"]) == [
        "winner",
        "runner_up",
        "baseline",
    ]
    assert f"learned from {learned} rows" in model_evaluation.comparison_caption(few["study"])
    held_out = model_evaluation.fit_held_out(
        few["study"].candidate(few["choice"].runner_up), few["X"], few["y"], task="binary", cv=few["folds"],
        classes=few["outcome"].classes, random_state=few["study"].seed,
    )  # fmt: skip
    rows = few["X"].head(50)
    assert np.array_equal(few["fitted"]["runner_up"].predict_proba(rows), held_out.pipeline.predict_proba(rows))


def test_a_labeled_table_is_read_by_the_readings_of_the_model(tmp_path):
    """9.600 alone would be 9.6, NA alone a gap, and a short text in another encoding."""
    (tmp_path / "labelled.csv").write_bytes("debt;land;city;y\n9.600;NA;Zamość;no\n".encode("cp1250"))
    columns = [
        {"name": "debt", "type": "float", "reading": {"kind": "number", "decimal": ","}},
        {"name": "land", "type": "string", "reading": {"kind": "text", "kept": ["NA"]}},
        {"name": "city", "type": "string"},
    ]
    table = model_evaluation.labeled_table(
        {"labelled_test": "labelled.csv", "target": "y", "missing_codes": []},
        ["debt", "land", "city", "y"],
        reading=ReadOptions(likely_encoding="cp1250"),
        root=tmp_path,
        lake=tmp_path / "lake",
    )
    features = as_features(table, {"task": "binary", "columns": columns})
    assert [*features.iloc[0]] == [9600.0, "NA", "Zamość"] and [*table["y"]] == ["no"]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"min_explainability": 0.99}, StageError, "breaks a constraint.*Loosen min_explainability"),
        ({"weights": {"speed": 1.0}}, ParameterError, "'speed' is no criterion"),
        ({"costs": {"late as early": 1.0}}, ParameterError, "is no mistake of this model"),
    ],
)
def test_settings_that_cannot_be_met_stop_with_a_reason(tmp_path, settings, error, message):
    """A constraint that all break, an unknown criterion, costs of classes that do not exist."""
    with pytest.raises(error, match=message):
        run_cells(tmp_path, flights(400), before="read_test_set", positive_class="late", **settings, **QUICK)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"weights": {"explainabilty": 0.1}}, "Did you mean 'explainability'"),
        ({"costs": {"late as early": 1.0}}, "is no mistake"),
        ({"range_level": 90.0}, "is no share"),
        ({"monotone": {"origin": "up"}}, "no numeric column"),
        ({"directional": ["winds + 1 up"]}, "Did you mean 'wind'"),
        ({"monotone": {"hour": "up"}}, "no numeric column"),
    ],
)
def test_wrong_settings_are_known_before_anything_runs(setting, message):
    """Each check needs parameters, table and target only; a column that is dropped is none of the model's."""
    frame = flights(50)
    outcome = require_target(frame, "y", task="auto", positive_class="late")
    right = {"weights": {}, "costs": {}, "range_level": 0.9, "monotone": {}, "directional": [], "drop": ["hour"]}

    def check_all(values):
        for check in modeling.setting_checks(values, frame, outcome):
            check()

    check_all(right | {"forbidden": []})
    with pytest.raises(ParameterError, match=message):
        check_all(right | {"forbidden": []} | setting)


def test_a_later_run_begins_with_what_was_best_before(tmp_path):
    """The newest run of the same project counts; another project's and the run itself do not."""
    from tdsp.core.record import create_run, new_record

    def run_of(project, when, settings):
        made = create_run(tmp_path / "runs" / f"{project}-{when}", new_record(f"{project}-{when}", project, fixed=True))
        made.update(lambda record: replace(record, started_at=f"2026-01-0{when}T00:00:00Z"))
        if settings:
            made.write_json("search", [{"family": "lightgbm", "settings": settings}] * 5)
        return made

    run_of("flights", 1, {"num_leaves": 5}), run_of("flights", 2, {"num_leaves": 9})
    run_of("flights-old", 3, {"num_leaves": 7})
    now = run_of("flights", 4, None)
    assert modeling.best_earlier_settings(now) == [{"family": "lightgbm", "settings": {"num_leaves": 9}}] * 3
    assert modeling.best_earlier_settings(run_of("bikes", 5, None)) == []


def test_explanations_name_thirty_columns_and_count_the_others_as_one():
    """The most important first; what has no importance fills up; no feature is lost."""
    groups = {f"c{i}": [f"c{i}"] for i in range(100)}
    few = limit_groups(groups, ["c99", "c50 and 3 alike", "c7"])
    assert list(few)[:3] == ["c99", "c7", "c0"] and len(few) == 31
    assert sorted(f for features in few.values() for f in features) == sorted(groups)
    assert limit_groups({"a": ["a"]}, []) == {"a": ["a"]}


def test_a_column_that_carries_the_model_alone_opens_a_question(tmp_path, monkeypatch):
    """The age of a date, unknown to a search that did not run; its curve is shown; asked once, and not where asked."""
    frame, _ = memberships(900)
    settings = {"candidates": ["dummy", "lightgbm"], "time_column": "start", "positive_class": "yes"}
    monkeypatch.chdir(tmp_path)
    frame = frame.sort_values("start").rename(columns={"left": "y"})
    stage = run_cells(tmp_path / "gym", frame, before="worst_predictions", **QUICK | settings)
    run, explained = stage["run"], stage["explained"]
    assert explained.dependence["feature"].iloc[0] == "visit.age" == explained.features[0]
    (gate,) = [gate for gate in run.record.gates if gate.name == CARRIER_GATE]
    assert gate.answer == "insufficient evidence" and gate.note.startswith("visit carries ")
    (step,) = open_questions(run.record)
    assert step.href == "3_modeling.html" and 'forbidden: ["visit"]' in step.lines and "known before" in step.text
    run.write_json("leaks_asked", ["visit"])
    assert ask_about_carrier(run, stage["p"], stage["carrier"]) is None
    spread = explained.importance.assign(importance=1.0)
    assert carrier_of(stage["study"], stage["choice"], spread) is None
