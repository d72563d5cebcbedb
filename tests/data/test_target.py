"""Target, split and schema are settled by rules that say why, and refused by name where they cannot hold."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdsp.core.errors import DataError
from tdsp.data.guesses import _guess_missing_codes, guess_settings
from tdsp.data.ingest import load_source, to_frame
from tdsp.data.schema import infer_schema
from tdsp.data.splits import as_labels, split_table, units_of
from tdsp.data.target import find_stray_classes, guess_positive, guess_task, require_free_names, require_target


def series(*values, name="y"):
    return pd.Series(list(values), name=name)


def table(n=100, **columns):
    rng = np.random.default_rng(0)
    return pd.DataFrame({"x": rng.normal(size=n), "y": ["no", "yes"] * (n // 2)} | columns)


def read(folder, name):
    return to_frame(load_source("table", name, root=folder).table)


# --- target -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["a", "b", "a"], "binary"),
        ([0, 1, 1], "binary"),
        ([True, False, True], "binary"),
        ([1.0, 2.0, np.nan], "binary"),
        (["a", "b", "c"], "multiclass"),
        ([1, 2, 3], "multiclass"),
        ([1.0, 2.0, 3.0, np.nan], "multiclass"),
        ([1.5, 2.0, 3.0], "regression"),
        (list(range(18)), "regression"),
        ([1] * 30 + list(range(2, 17)), "multiclass"),
    ],
)
def test_the_task_follows_from_the_values(values, task):
    """Text and few whole numbers are classes, fractions and many numbers are quantities."""
    guess = guess_task(series(*values))
    assert guess.value == task and guess.why.startswith("y ")


@pytest.mark.parametrize(
    ("values", "positive"),
    [
        (["No", "Yes", "Yes"], "Yes"),
        (["on time", "late", "late"], "late"),
        (["benign", "malignant", "malignant"], "malignant"),
        ([0, 1, 1], "1"),
        ([-1, 1, 1], "1"),
        ([1, 1, 2], "2"),
        ([2, 2, 1], "1"),
        ([True, True, False], "True"),
        (["cat", "dog", "dog"], "cat"),
        (["good", "odd", "odd"], "odd"),
    ],
)
def test_the_positive_class_is_the_event(values, positive):
    """A word decides, then the higher number, then rarity."""
    assert guess_positive(series(*values)).value == positive


@pytest.mark.parametrize(
    ("df", "target", "options", "message"),
    [
        (table(), "yy", {}, "no column 'yy' in the table. Did you mean 'y'"),
        (table(y=1), "y", {}, "'y' is '1' in every row"),
        (table(y=None), "y", {}, "missing in all 100 rows"),
        (table(y=["a"] * 99 + ["b"]), "y", {}, r"too few rows in class 'b' \(1\)"),
        (table(y=[f"id{i // 2}" for i in range(100)]), "y", {"min_class_rows": 3}, r"too few rows in class"),
        (table(y=[f"id{i}" for i in range(100)]), "y", {}, "an id or free text"),
        (
            table(y=[f"{i} {'EUR' if i % 3 else 'USD'}" for i in range(100)]),
            "y",
            {},
            "several currencies: EUR in 66 rows, such as '1 EUR'; USD in 34 rows, such as '0 USD'",
        ),
        (table(y=pd.date_range("2020", periods=100)), "y", {}, "is a date"),
        (table(10), "y", {}, "10 rows with a target are too few"),
        (table(), "y", {"task": "regression"}, "holds text such as 'no'; a regression needs numbers"),
        (table(y=["a", "b", "c", "d"] * 25), "y", {"task": "binary"}, "4 classes; a binary task needs two"),
        (table(), "y", {"positive_class": "maybe"}, "no class 'maybe'. Its classes are: no, yes"),
    ],
)
def test_a_target_that_cannot_be_learned_is_refused(df, target, options, message):
    """Each refusal names the column and what is wrong with it."""
    with pytest.raises(DataError, match=message):
        require_target(df, target, **options)


@pytest.mark.parametrize(
    ("beside", "label", "is_stray"),
    [
        (["Web", "Friend"] * 150, "Friend", True),
        (list(range(300)), "17", True),
        (["low", "high"] * 150, "high", False),  # a column of the same classes
        (["Web", "Friend"] * 150, "maybe", False),  # nobody's word
    ],
)
def test_a_few_rows_of_a_neighbors_value_are_no_class(beside, label, is_stray):
    """Two rows are a class where the column beside does not have their word, or shares the classes."""
    y = ["low" if i % 3 else "mid" for i in range(300)]
    y[7], y[90] = label, label
    found = find_stray_classes(pd.DataFrame({"beside": beside, "y": y}), "y")
    assert [(each.label, each.rows) for each in found] == [(label, (7, 90))] * is_stray
    if not is_stray:
        assert "in 2 rows only" in require_target(pd.DataFrame({"beside": beside, "y": y}), "y").why


def test_a_target_settles_classes_rows_and_codes():
    """Two classes end in the event; rows without a target are counted; codes follow the order."""
    df = table(y=["late", "on time", None, "on time"] * 25)
    target = require_target(df, "y")
    assert target.classes == ("on time", "late") and target.positive_class == "late"
    assert (target.rows, target.without) == (75, 25)
    assert list(target.encode(series("late", "on time"))) == [1, 0]
    with pytest.raises(DataError, match="holds 'cancelled'"):
        target.encode(series("cancelled", "late"))


def test_numeric_classes_sort_by_number_and_lose_their_decimals():
    """A gap makes floats of whole numbers; the class is 10 and not 10.0, and comes after 2."""
    y = series(*([1.0, 2.0, 10.0] * 10), np.nan)
    assert require_target(pd.DataFrame({"y": y}), "y").classes == ("1", "2", "10")
    assert as_labels(y).isna().sum() == 1


# --- split ------------------------------------------------------------------------------------------------------------


@given(n=st.integers(20, 300), share=st.floats(0.1, 0.5), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_a_random_split_is_disjoint_exhaustive_and_stratified(n, share, seed):
    """Every row with a target is on exactly one side, and both sides hold both classes alike."""
    df = table(2 * (n // 2))
    split = split_table(df, target="y", task="binary", share=share, random_state=seed)
    assert sorted([*split.train, *split.test]) == list(range(len(df)))
    assert abs((df["y"].iloc[split.test] == "yes").mean() - 0.5) <= 1 / len(split.test)


def test_rows_without_a_target_are_dropped_and_counted():
    """They are on neither side."""
    df = table(y=["a", "b", None, "b"] * 25)
    split = split_table(df, target="y", task="binary")
    assert split.dropped == 25 and df["y"].iloc[[*split.train, *split.test]].notna().all()


def test_the_last_days_test_and_no_day_is_cut():
    """The cut is the start of the day that holds the first row of the last share."""
    times = pd.date_range("2013-01-01", periods=1000, freq="37min")
    shuffled = table(1000, when=times).sample(frac=1, random_state=0).reset_index(drop=True)
    split = split_table(shuffled, target="y", task="binary", time_column="when", share=0.25)
    days = shuffled["when"].dt.normalize()
    assert days.iloc[split.train].max() < days.iloc[split.test].min() == pd.Timestamp(split.cut)
    assert len(split.test) >= 250


def test_years_and_iso_text_are_times_too():
    """Whole numbers are taken as they are, text must be ISO."""
    years = split_table(table(year=np.repeat(range(2010, 2020), 10)), target="y", task="binary", time_column="year")
    texts = [f"2013-{1 + i // 9:02d}-{1 + i % 9:02d}" for i in range(100)]
    iso = split_table(table(when=texts), target="y", task="binary", time_column="when")
    assert years.cut == "2018" and iso.cut == "2013-09-09"


def test_whole_groups_are_held_out():
    """No patient is on both sides, and size and classes come close to the wish."""
    df = table(600, patient=np.repeat([f"p{i}" for i in range(60)], 10), y=np.repeat(["no", "no", "yes"] * 20, 10))
    split = split_table(df, target="y", task="binary", group_column="patient")
    train, test = df.iloc[split.train], df.iloc[split.test]
    assert not set(train["patient"]) & set(test["patient"])
    assert len(test) == 120 and abs((test["y"] == "yes").mean() - 1 / 3) < 0.1


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({}, {"time_column": "wehn"}, "no column 'wehn' to split by"),
        ({}, {"kind": "time"}, "needs time_column"),
        ({"when": "noon"}, {"time_column": "when"}, "'when' does not parse: 'noon' in row 1, 100 such values"),
        ({"when": pd.NaT}, {"time_column": "when"}, "does not parse|empty in 100 rows"),
        ({"when": pd.Timestamp("2013-01-01")}, {"time_column": "when"}, "one value only"),
        ({"who": "a"}, {"group_column": "who"}, "one group only"),
        ({}, {"share": 1.5}, "share of 1.5 cannot be held out"),
        (
            {"y": ["a"] * 50 + ["b"] * 50, "t": range(100)},
            {"time_column": "t"},
            "the test set has no row of class 'a'",
        ),
        (
            {"y": ["a"] * 90 + ["b"] * 10, "t": range(100)},
            {"time_column": "t"},
            "the training set has no row of class 'b'",
        ),
    ],
)
def test_a_split_that_cannot_be_is_refused(columns, options, message):
    """Each refusal names the column and the way out."""
    with pytest.raises(DataError, match=message):
        split_table(table(**columns), target="y", task="binary", **options)


def test_the_hash_tells_whether_two_runs_tested_on_the_same_rows():
    """It depends on the rows and their targets and on no other column."""
    df = table()
    split = [
        split_table(t, target="y", task="binary", random_state=1) for t in (df, df.assign(z=1), df.drop(columns="x"))
    ]
    other = split_table(df, target="y", task="binary", random_state=2)
    assert len({s.test_sha256 for s in split}) == 1 and other.test_sha256 != split[0].test_sha256
    assert split[0].as_dict()["test_rows"] == 20


def test_units_are_what_is_independent():
    """Rows at random, groups by name, days by time."""
    df = table(480, when=pd.date_range("2013-10-01", periods=480, freq="h"), who=np.repeat(range(48), 10))
    by_time = split_table(df, target="y", task="binary", time_column="when")
    by_group = split_table(df, target="y", task="binary", group_column="who")
    assert units_of(df, split_table(df, target="y", task="binary")) is None
    assert units_of(df.iloc[by_time.test], by_time)[0] == by_time.cut == "2013-10-17"
    assert len(set(units_of(df, by_group))) == 48


@pytest.mark.parametrize(
    ("name", "target", "task", "expected"),
    [
        ("telco_churn/Telco-Customer-Churn.csv", "Churn", "binary", "7f8ace90a501618f"),
        ("bank_marketing/bank-additional-full.csv.gz", "y", "binary", "e19b9c5edb50656e"),
        ("california_housing/housing.csv.gz", "median_house_value", "regression", "25367416ab3dac12"),
        ("ames_houses/train.csv", "SalePrice", "regression", "87b6650c082e603a"),
        ("letter_recognition/letterdata.csv", "letter", "multiclass", "11a6346ec7c89313"),
    ],
)
def test_random_splits_are_those_of_the_published_scores(shared_data, name, target, task, expected):
    """Same rows as scikit-learn's train_test_split takes, so scores can be compared row by row."""
    import hashlib

    split = split_table(read(shared_data, name), target=target, task=task, random_state=0)
    assert hashlib.sha256(split.test.astype("<i8").tobytes()).hexdigest()[:16] == expected


# --- schema -----------------------------------------------------------------------------------------------------------


def test_the_schema_holds_types_ranges_and_levels():
    """Five facts a column, in the order of the table, without target and excluded columns."""
    df = table(4, y=[0.5, 1, 2, 3], when=pd.date_range("2013-01-01", periods=4), kind=["a", "b", "a", None])
    df = df.assign(truth=[True, False, True, True], secret=1.5, x=[3, 1, 1, 2])
    schema = infer_schema(df, target="y", task="regression", exclude=["secret"])
    assert [(c["name"], c["type"]) for c in schema["columns"]] == [
        ("x", "float"), ("when", "timestamp"), ("kind", "string"), ("truth", "boolean"),
    ]  # fmt: skip
    x, when, kind, _ = schema["columns"]
    assert (x["min"], x["max"], x["nullable"]) == (1.0, 3.0, True)
    assert when["min"] == "2013-01-01T00:00:00" and kind["levels"] == ["a", "b"] and kind["nullable"]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([np.nan] * 100, "no value"),
        ([7] * 100, "the same value in every row"),
        (list(range(1000, 1100)), "a row number"),
        (list(np.random.default_rng(0).permutation(120)[:100]), "a row number"),
        ([f"{i * 2 // 3:04d}-ABC" for i in range(100)], "rarely repeats"),
        ([f"note {i}" for i in range(300)][:300], "id or free text"),
        ([f"seen at gate {i} by the crew" for i in range(300)], ""),
        ([f"Z{i % 300}" for i in range(1498)], "id or free text"),
        ([f"Z{i % 300}" for i in range(1500)], ""),
        ([7, None] * 50, ""),
        (["film", None] * 50, ""),
        (list(np.random.default_rng(0).integers(0, 10**6, 100)), ""),
        ([1.5 + i for i in range(100)], ""),
        (["a", "b"] * 50, ""),
    ],
)
def test_what_cannot_help_is_left_out_with_its_reason(values, reason):
    """Empty, constant, counting and hardly repeating columns go; gaps that mean something stay."""
    df = pd.DataFrame({"c": values, "z": [0.5, 1.5] * (len(values) // 2), "y": 1.0})
    left_out = infer_schema(df, target="y", task="regression")["left_out"]
    assert (reason in left_out["c"]) if reason else "c" not in left_out


def test_a_rising_year_is_no_row_number():
    """Names that speak of time are spared."""
    df = pd.DataFrame({"year": range(1900, 2000), "y": [0.5, 1.5] * 50})
    assert infer_schema(df, target="y", task="regression")["left_out"] == {}


def test_a_table_without_features_is_refused():
    """The message says what became of the columns."""
    with pytest.raises(DataError, match=r"no column is left to learn from\. id: a row number"):
        infer_schema(pd.DataFrame({"id": range(100), "y": [0.5, 1.5] * 50}), target="y", task="regression")


# --- settings for a stranger's table ----------------------------------------------------------------------------------

TRUTH = {  # target, task, positive class, time column, ids, as SOURCES.md describes the sets
    "acs_employment/employment_MA_reference.pq": ("employed", "binary", "1", "", ["id"]),
    "adult_income/uci_income_train.csv.gz": ("income", "binary", "1", "", []),
    "air_quality/AirQualityUCI.csv": ("CO(GT)", "regression", None, "Date", []),
    "airbnb_dc/dc_airbnb.csv": ("price", "regression", None, "", []),
    "ames_houses/train.csv": ("SalePrice", "regression", None, "", ["Id"]),
    "arrhythmia/arrhythmia.data": ("column_280", "multiclass", None, "", []),
    "bank_marketing/bank-additional-full.csv.gz": ("y", "binary", "yes", "", []),
    "bike_sharing/hour.csv.gz": ("cnt", "regression", None, "dteday", ["instant"]),
    "california_housing/housing.csv.gz": ("median_house_value", "regression", None, "", []),
    "country_facts/countries of the world.csv": ("GDP ($ per capita)", "regression", None, "", ["Country"]),
    "diamonds/diamonds.csv.gz": ("price", "regression", None, "", []),
    "electricity/elec.csv.gz": ("class", "binary", "1", "", []),
    "german_credit/german.csv": ("column_21", "binary", "2", "", []),
    "horse_colic/horse-colic.csv": ("column_23", "multiclass", None, "", []),
    "letter_recognition/letterdata.csv": ("letter", "multiclass", None, "", []),
    "oil_spill/oil-spill.csv": ("column_50", "binary", "1", "", []),
    "penguins/penguins.csv": ("species", "multiclass", None, "", []),
    "star_wars_survey/StarWars.csv": (
        "Do you consider yourself to be a fan of the Star Trek franchise?", "binary", "Yes", "", ["RespondentID"],
    ),
    "student_grades/student-mat.csv": ("G3", "regression", None, "", []),
    "taxi_fare/taxi-data.csv.gz": ("cost", "regression", None, "", ["column_1"]),
    "telco_churn/Telco-Customer-Churn.csv": ("Churn", "binary", "Yes", "", ["customerID"]),
    "titanic/train.csv": ("Survived", "binary", "1", "", ["PassengerId", "Name", "Ticket"]),
}  # fmt: skip


GROUPS = {"titanic/train.csv": "Ticket"}  # people who traveled together: one class, one fare, one port


@pytest.mark.parametrize("name", TRUTH)
def test_settings_of_real_tables_are_guessed_right(shared_data, name):
    """Task, positive class, time column and ids, with nothing but the file and the target; the split then works."""
    target, task, positive, time, ids = TRUTH[name]
    df = read(shared_data, name)
    found = guess_settings(df, target)
    assert found["task"].value == task and found["time_column"].value == time and found["ids"].value == ids
    assert (found["positive_class"].value if "positive_class" in found else None) == positive
    assert found["group_column"].value == GROUPS.get(name, "") and found["missing_codes"].value == []
    assert all(guess.why for guess in found.values())
    split = split_table(df, target=target, task=task, time_column=time)
    assert infer_schema(df.iloc[split.train], target=target, task=task)["columns"]


def test_groups_dates_and_sentinels_are_guessed_with_a_reason():
    """A returning patient is a group; a date of birth is no time of the event; -999 far from the rest is a code."""
    rng = np.random.default_rng(0)
    born = pd.Series(pd.to_datetime("1950-01-01") + pd.to_timedelta(rng.integers(0, 9999, 200), unit="D"))
    df = table(
        200, patient_id=rng.integers(0, 50, 200), birth_date=born, temp=np.where(rng.random(200) < 0.1, -999, 20.5)
    )
    found = guess_settings(df, "y")
    assert found["group_column"].value == "patient_id" and found["split"].value == "group"
    assert found["time_column"].value == "" and "birth_date" in found["time_column"].why
    assert found["missing_codes"].value == ["-999"]


def test_a_named_date_is_the_time_even_where_rows_are_shuffled():
    """The name says what the order no longer does."""
    when = pd.Series(pd.date_range("2013-01-01", periods=200)).sample(frac=1, random_state=0).array
    assert guess_settings(table(200, order_date=when), "y")["split"].value == "time"


def test_a_code_that_several_columns_share_is_found_whatever_it_is():
    """-200 in three sensors, far below all their other values; a single column of it may be a measurement."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(20, 5, size=(500, 3)), columns=["co", "nox", "t"])
    table = table.mask(rng.random((500, 3)) < 0.05, -200.0).assign(y=rng.normal(size=500))
    assert _guess_missing_codes(table).value == ["-200"]
    assert _guess_missing_codes(table[["co", "y"]]).value == []


def test_every_sentinel_is_proposed():
    """Columns of one table may mark gaps by different numbers, one column by two."""
    values = np.arange(200) % 30
    table = pd.DataFrame({"temp": np.where(values < 3, -999, values), "wind": np.where(values > 26, -9999, values)})
    table["both"] = np.where(values < 2, -9999, np.where(values < 4, -999, values))
    assert sorted(_guess_missing_codes(table).value) == ["-999", "-9999"]


@pytest.mark.parametrize(("task", "name"), [("binary", "probability"), ("regression", "prediction")])
def test_a_feature_named_like_an_output_is_refused_with_the_reason(task, name):
    """Its rows could never be written beside the predictions."""
    y = np.arange(60) % 2 if task == "binary" else np.arange(60) * 1.5
    target = require_target(pd.DataFrame({"y": y}), "y")
    with pytest.raises(DataError, match=f"a column is called '{name}', as a column of the predictions"):
        require_free_names(["age", name], target)
    require_free_names(["age", "probably"], target)
