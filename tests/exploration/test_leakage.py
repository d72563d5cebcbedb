"""Columns are described, leaks are suspected and pictures say their finding, on training rows alone."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tdsp.data.guesses import guess_settings
from tdsp.data.ingest import load_source, load_table, to_frame
from tdsp.data.schema import infer_schema
from tdsp.data.splits import split_table
from tdsp.data.target import require_target
from tdsp.exploration.association import score_association
from tdsp.exploration.leakage import date_features, find_leaks
from tdsp.exploration.plots import describe_target, plot_association, plot_missing, plot_target
from tdsp.exploration.profile import profile_table
from tdsp.stats.plotting import description_of


@pytest.fixture
def delays():
    """Flights whose weather says a little and whose departure delay says nearly all about being late."""
    rng = np.random.default_rng(0)
    n = 1500
    wind, dep = rng.normal(10, 5, n), rng.normal(10, 30, n)
    late = ((dep + wind + rng.normal(0, 12, n)) > 25).astype(int)
    X = pd.DataFrame({"wind": wind, "dep_delay": dep, "carrier": rng.choice(["UA", "AA", "B6"], n)})
    return X.assign(when=pd.date_range("2013-01-01", periods=n, freq="h")), late


def training_part(df, target):
    """Input of the search for leaks in stage 2."""
    found = require_target(df, target)
    split = split_table(df, target=target, task=found.task, time_column=guess_settings(df, target)["time_column"].value)
    train = df.iloc[split.train]
    schema = infer_schema(train, target=target, task=found.task)
    return train[[c["name"] for c in schema["columns"]]], found.encode(train[target]), found.task


def suspects(df, target):
    X, y, task = training_part(df, target)
    return [leak.column for leak in find_leaks(X, y, task=task, random_state=2013)]


# --- leaks ------------------------------------------------------------------------------------------------------------


def test_a_column_far_ahead_of_all_others_is_suspected(delays):
    """The reason gives both scores in the words of the report."""
    leak, *others = find_leaks(*delays, task="binary", random_state=0)
    assert leak.column == "dep_delay" and not others and leak.alone - leak.rest > 0.2
    assert "alone reaches ROC-AUC 0.8" in leak.why and "far ahead" in leak.why


def test_the_table_without_it_is_clean(delays):
    """Removing what was suspected leaves nothing to suspect."""
    X, y = delays
    assert find_leaks(X.drop(columns="dep_delay"), y, task="binary", random_state=0) == []


@pytest.mark.parametrize("copy", ["seconds", "minus", "dates"])
def test_a_leak_cannot_hide_behind_its_own_copy(delays, copy):
    """The same numbers in other units are no other information."""
    X, y = delays
    other = {
        "seconds": X["dep_delay"] * 60,
        "minus": -X["dep_delay"],
        "dates": pd.Timestamp(0) + X["dep_delay"] * pd.Timedelta("1D"),
    }
    found = find_leaks(X.assign(other=other[copy]), y, task="binary", random_state=0)
    assert {leak.column for leak in found} == {"dep_delay", "other"}


def test_leaks_are_found_one_after_another(delays):
    """Behind the target itself the next one is still seen."""
    X, y = delays
    found = find_leaks(X.assign(label=np.where(y == 1, "late", "on time")), y, task="binary", random_state=0)
    assert [leak.column for leak in found] == ["label", "dep_delay"]
    assert found[0].why.startswith("label equals the target in 100") and "far ahead" in found[1].why


def test_gaps_that_give_the_target_away_are_seen(delays):
    """A column that is filled only after the event gives the target away by being empty."""
    X, y = delays
    found = find_leaks(X.assign(refund=np.where(y == 1, 1.0, np.nan)), y, task="binary", random_state=0)
    assert found[0].column == "refund" and found[0].alone > 0.99


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_leaks_of_other_tasks_are_found(delays, task):
    """A threshold of the target and the target in other units."""
    X, _ = delays
    cost = np.exp(X["wind"] / 5)
    y = pd.qcut(X["wind"], 4, labels=False).to_numpy() if task == "multiclass" else cost.to_numpy()
    rest = X.drop(columns=["wind", "dep_delay"])
    found = find_leaks(rest.assign(cents=100 * cost), y, task=task, random_state=0)
    assert [leak.column for leak in found] == ["cents"]


def memberships(n=1200, seed=0):
    """Rows with the day they began, a day of birth that tells a little, and the last visit, which the outcome ended."""
    rng = np.random.default_rng(seed)
    start = pd.Timestamp("2022-01-01") + pd.to_timedelta(rng.integers(0, 900, n), "D")
    left = rng.random(n) < 0.2
    stayed = np.where(left, rng.integers(10, 250, n), rng.integers(200, 700, n))
    born = start - pd.to_timedelta(rng.integers(6500, 25000, n) + 2000 * left, "D")
    frame = pd.DataFrame({"start": start, "born": born, "visit": start + pd.to_timedelta(stayed, "D")})
    return frame.assign(way=rng.gamma(2, 3, n).round(1), left=np.where(left, "yes", "no")), left.astype(int)


def test_a_feature_that_a_model_makes_of_a_date_is_suspected_in_the_name_of_its_column():
    """The days from the last visit to the start give the outcome; neither date does, and no honest one is suspected."""
    frame, y = memberships()
    schema = infer_schema(frame, target="left", task="binary", exclude=["start"], time_column="start")
    X, made = frame[["born", "visit", "way"]], date_features(frame, schema)
    (leak,) = find_leaks(X, y, task="binary", random_state=0, made=made)
    assert leak.key == "leak:visit" and leak.why.startswith("visit by its age alone reaches ROC-AUC 0.9")
    honest = {"born": made["born"]}
    assert find_leaks(X, y, task="binary", random_state=0) == []
    assert find_leaks(X.drop(columns="visit"), y, task="binary", random_state=0, made=honest) == []


def test_noise_is_never_suspected():
    """Twenty tables without any signal, small and large."""
    rng = np.random.default_rng(0)
    for n in (60, 300) * 10:
        X = pd.DataFrame(rng.normal(size=(n, 6)), columns=list("abcdef")).assign(level=rng.choice(list("xyz"), n))
        assert find_leaks(X, rng.integers(0, 2, n), task="binary", random_state=0) == []


def test_text_that_never_repeats_says_nothing():
    """An id predicts its own row only, and that is not what is asked."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"id": [f"c{i}" for i in range(400)], "noise": rng.normal(size=400)})
    found = score_association(X, rng.integers(0, 2, 400), task="binary", random_state=0).set_index("column")
    assert abs(found.loc["id", "association"]) < 0.15


@pytest.mark.parametrize("name", ["breast_cancer", "wine", "diabetes", "iris"])
def test_built_in_tables_have_no_leak(tmp_path, name):
    """Good predictors are no leaks."""
    assert suspects(to_frame(load_source("t", f"sklearn:{name}", root=tmp_path).table), "target") == []


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("penguins/penguins.csv", "species"),
        ("titanic/train.csv", "Survived"),
        ("adult_income/uci_income_train.csv.gz", "income"),
        ("telco_churn/Telco-Customer-Churn.csv", "Churn"),
        ("diamonds/diamonds.csv.gz", "price"),
        ("california_housing/housing.csv.gz", "median_house_value"),
        ("ames_houses/train.csv", "SalePrice"),
        ("electricity/elec.csv.gz", "class"),
        ("letter_recognition/letterdata.csv", "letter"),
        ("german_credit/german.csv", "column_21"),
        ("oil_spill/oil-spill.csv", "column_50"),
    ],
)
def test_real_tables_without_a_leak_raise_no_alarm(shared_data, name, target):
    """Carat explains most of a diamond's price and may."""
    assert suspects(to_frame(load_source("t", name, root=shared_data).table), target) == []


def test_departure_delay_is_suspected_in_the_flights(tmp_path):
    """Added to the flagship's SQL it is named; without it nothing is."""
    from tests.data.test_ingest import FLIGHTS, ROOT

    sql = (ROOT / "parameters" / "flights.sql").read_text(encoding="utf-8")
    for extra, expected in (("", []), ("f.dep_delay, ", ["dep_delay"])):
        (tmp_path / "q.sql").write_text(sql.replace("    f.month,", f"    {extra}f.month,", 1), encoding="utf-8")
        table = load_table(FLIGHTS, tmp_path / "q.sql", root=ROOT, lake=tmp_path, max_rows=20_000)
        assert suspects(table.frame.drop(columns="departure"), "late") == expected


# --- association and pictures -----------------------------------------------------------------------------------------


def test_association_ranks_columns_against_measured_chance(delays):
    """Signal lies above the line that shuffled targets reach, noise below."""
    X, y = delays
    scores = score_association(X, y, task="binary", random_state=0)
    assert list(scores["column"])[:2] == ["dep_delay", "wind"]
    above = set(scores["column"][scores["association"] > scores["chance"]])
    assert above == {"dep_delay", "wind"} and scores["association"].between(0, 1).all()
    pd.testing.assert_frame_equal(scores, score_association(X, y, task="binary", random_state=0))


def test_chance_holds_its_promise():
    """Of a hundred tables without signal about five show a column above the line."""
    rng = np.random.default_rng(1)
    alarms = 0
    for i in range(100):
        X = pd.DataFrame(rng.normal(size=(80, 5)))
        scores = score_association(X, rng.integers(0, 2, 80), task="binary", random_state=i)
        alarms += (scores["association"] > scores["chance"]).any()
    assert alarms <= 12


def test_gaps_are_pictured_by_share():
    """The title names the worst column; without gaps it says so."""
    df = pd.DataFrame({"a": [1, None, None, None], "b": [None, 1, 2, 3], "c": 1})
    ax = plot_missing(df)
    assert "Gaps in 2 of 3 columns, a 75" in ax.get_title()
    assert list(description_of(ax).data["missing"]) == [0.75, 0.25]
    assert plot_missing(df[["c"]]).get_title() == "No value is missing"


def test_the_target_is_pictured_by_shares_or_spread():
    """The title is computed: the share of the event, or the middle half."""
    classes = plot_target(
        pd.Series(["late", "on time", "on time", "on time"], name="late"), task="binary", positive_class="late"
    )
    assert "25.0" in classes.get_title() and "late" in classes.get_title()
    numbers = plot_target(pd.Series(np.arange(101.0), name="fare"), task="regression")
    assert numbers.get_title() == "Half of fare lies between 25 and 75"


def test_a_suspected_leak_is_marked_by_more_than_color(delays):
    """Hatching and a word; the alternative text gives the best columns."""
    X, y = delays
    scores = score_association(X, y, task="binary", random_state=0)
    ax = plot_association(scores, leaks=find_leaks(X, y, task="binary", random_state=0))
    assert ax.get_title() == "dep_delay may give the target away"
    assert any("suspected" in text.get_text() for text in ax.get_yticklabels()) and any(
        bar.get_hatch() for bar in ax.patches
    )
    assert "dep_delay" in description_of(ax).alt


@pytest.mark.parametrize("name", ["<b>x</b>", "$a$ _b^", "line\nbreak", "🛫", "x" * 300])
def test_any_column_name_can_be_drawn(name):
    """Names are data; matplotlib's formulas are not in force."""
    from tdsp.stats.plotting import themed_svg

    df = pd.DataFrame({name: [1, None, 3, 4] * 20, "other": range(80)})
    svg = themed_svg(plot_missing(df).figure)
    scores = score_association(df, np.arange(80) % 2, task="binary", random_state=0)
    assert "<svg" in svg + themed_svg(plot_association(scores).figure) and "<b>x" not in svg


def test_a_target_is_described_by_its_task():
    """Classes have shares, numbers have quartiles; a class that a gap made a float is whole again."""
    classes = describe_target(pd.Series([1.0, 1.0, 2.0, np.nan]), task="binary")
    assert list(classes["class"]) == ["1", "2"] and classes["share"].sum() == 1
    numbers = describe_target(pd.Series([1.0, 2.0, 3.0]), task="regression").set_index("statistic")["value"]
    assert numbers["median"] == 2 and numbers["rows"] == 3


def test_columns_that_are_empty_in_a_fold_or_very_large_are_no_crash():
    """One value in a hundred rows; numbers beyond single precision."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 100)
    X = pd.DataFrame({"x": y + rng.normal(size=100), "rare": np.where(np.arange(100) == 7, 1.0, np.nan)})
    assert find_leaks(X, y, task="binary", random_state=0) == []
    large = X.assign(rare=np.where(np.arange(100) % 2, 1e200, -1e200))
    assert isinstance(find_leaks(large, y, task="binary", random_state=0), list)
    assert profile_table(pa.Table.from_pandas(large)).rows == 100
