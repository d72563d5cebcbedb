"""Every trap is found in a small table that has it, and a clean table raises no alarm."""

import numpy as np
import pandas as pd
import pytest

from tdsp.data.csv_reader import HEADERS
from tdsp.data.remarks import Remark, RemarkCode
from tdsp.data.schema import find_exclusions
from tdsp.data.splits import split_table
from tdsp.data.target import require_target
from tdsp.exploration.association import find_clusters, score_association, target_by_bin
from tdsp.exploration.column_checks import ask_people, check_columns
from tdsp.exploration.findings import LIST, NOTE, SEVERE, CheckInput, finding
from tdsp.exploration.leakage import meet_one_to_one
from tdsp.exploration.plots import describe_target, trend_table, variable_table, what_it_holds, what_it_tells
from tdsp.exploration.profile import examples_of, profile_table, value_range
from tdsp.exploration.split_checks import compare_random_and_forward, score_shift, time_like_columns
from tdsp.stages.data_acquisition import find_problems, findings_gate, split_findings
from tdsp.stats.resampling import evenly_spaced

N = 1200
RNG = np.random.default_rng(7)
WIND, GUST = RNG.gamma(4, 3, N).round(2), RNG.normal(20, 4, N).round(2)
LATE = ((WIND + RNG.normal(0, 4, N)) > 14).astype(int)


def table(**columns):
    """Flights with two numbers, a text and a target that nothing is wrong with, and more columns."""
    dest = RNG.permutation(np.repeat(["IAH", "MIA", "BQN"], N // 3))
    return pd.DataFrame({"wind": WIND, "gust": GUST, "dest": dest, "late": LATE}).assign(**columns)


def check_input(df, target="late", remarks=(), split="random"):
    """The table as the rules see it."""
    task = require_target(df, target, min_class_rows=1).task
    left_out = find_exclusions(df, without=[target])
    ids = [name for name, exclusion in left_out.items() if exclusion.is_id]
    facts = profile_table(df, ids=ids)
    rows = (facts.rows, facts.repeated, facts.patterns)
    return CheckInput(facts.columns, df, target, task, *rows, left_out=left_out, remarks=remarks, split=split)


def keys(df, target="late", **options):
    return [finding.key for finding in find_problems(check_input(df, target, **options))]


def with_values(values, numbers=WIND, rows=None):
    """Some rows of a column replaced."""
    column = pd.Series(numbers).astype(object if isinstance(values, str) or values is None else "float64")
    column.iloc[rows if rows is not None else slice(0, 12)] = values
    return column.infer_objects()


def levels(*counts):
    """Levels with so many rows each, mixed."""
    return RNG.permutation(np.concatenate([np.repeat(level, n) for level, n in counts]))


AMOUNT = 3 * WIND + GUST
MONTHS, RATE = RNG.integers(1, 72, N), RNG.uniform(20, 120, N)
TRAPS = {
    "id:ticket": lambda: table(ticket=[f"T{i}" for i in range(N)]),
    "counter:patch": lambda: table(patch=np.tile(np.arange(1, 301), N // 300)),
    "constant:year": lambda: table(year=2013),
    "near-constant:state": lambda: table(state=levels(("DC", N - 2), ("VA", 2))),
    "missing:wind": lambda: table(wind=with_values(np.nan)),
    "sentinel:wind": lambda: table(wind=with_values(-999.0)),
    "overflow:nights": lambda: table(nights=with_values(2**31 - 1, RNG.integers(1, 400, N), [5])),
    "capped:age": lambda: table(age=np.minimum(RNG.integers(1, 70, N), 52)),
    "spike:grade": lambda: table(grade=with_values(0.0, RNG.integers(6, 21, N), slice(0, 80))),
    "odd-zero:size": lambda: table(size=with_values(0.0, RNG.normal(6, 0.5, N).round(2), [3, 4])),
    "outlier:size": lambda: table(size=with_values(58.9, RNG.normal(6, 0.5, N).round(2), [3])),
    "number-as-text:zip": lambda: table(zip=RNG.integers(20001, 20099, N).astype(str)),
    "date-as-text:day": lambda: table(day=[f"{1 + i % 12}/{1 + i % 28}/2013" for i in range(N)]),
    "range-as-text:income": lambda: table(income=levels(("$0 - $24,999", 500), ("$25,000 - $49,999", 700))),
    "mixed-types:code": lambda: table(code=[str(i % 40) if i % 2 else f"A{i % 30}" for i in range(N)]),
    "missing-word:job": lambda: table(job=levels(("clerk", 600), ("farmer", 500), ("unknown", 100))),
    "padded:region": lambda: table(region=levels(("ASIA ", 600), ("EUROPE", 600))),
    "rare-level:place": lambda: table(place=levels(("INLAND", 700), ("BAY", 498), ("ISLAND", 2))),
    "level-variants:place": lambda: table(place=levels(("Bay", 700), ("bay", 300), ("Inland", 200))),
    "level-variants:city": lambda: table(city=levels(("Köln", 500), ("Koeln", 300), ("Mainz", 400))),
    "begins-constant:plan": lambda: table(plan=np.where(np.arange(N) < 400, "old", levels(("old", 600), ("new", 600)))),
    "tick-box:seen": lambda: table(seen=np.where(RNG.random(N) < 0.4, "The Empire", None)),
    "copy:grade_no": lambda: table(grade=np.array(["a", "b", "c", "d"])[np.arange(N) % 4], grade_no=np.arange(N) % 4),
    "near-copy:felt": lambda: table(felt=(WIND * 1.8 + RNG.normal(0, 0.05, N)).round(2)),
    "product:total": lambda: table(months=MONTHS, rate=RATE, total=MONTHS * RATE),
    "repeated-level:backup": lambda: table(
        backup=(a := np.where(LATE == 1, "no net", levels(("yes", 600), ("no", 600)))),
        stream=np.where(a == "no net", a, levels(("yes", 500), ("no", 700))),
    ),
    "missing-together:a": lambda: table(
        **{name: with_values(np.nan, RNG.normal(size=N), [3, 4, 5]) for name in ("a", "b", "c")}
    ),
    "mixed-flags": lambda: table(
        senior=RNG.integers(0, 2, N), **{f"flag{i}": levels(("Yes", 500), ("No", 700)) for i in range(3)}
    ),
    "telling-gap:cabin": lambda: table(cabin=np.where(RNG.random(N) < 0.2 + 0.5 * LATE, np.nan, GUST)),
    "filled-after:refund": lambda: table(refund=np.where(LATE == 1, 9.0, np.nan)),
    "prediction:predicted_probability": lambda: table(predicted_probability=RNG.random(N)),
    "target-in-name:late_code": lambda: table(late_code=RNG.integers(0, 9, N)),
    "imbalance:late": lambda: table(late=levels((0, N - 40), (1, 40))),
    "order": lambda: table(late=np.sort(LATE)),
    "begins-constant:price": lambda: table(price=with_values(0.5, RNG.normal(size=N), slice(0, 500))),
    "duplicate": lambda: pd.concat([table(), table().iloc[:1], table().iloc[:1]]).iloc[-N:].pipe(
        lambda d: pd.concat([d, d.iloc[:3]], ignore_index=True)
    ),
    "few-rows": lambda: table().head(300),
    "wide": lambda: pd.DataFrame(RNG.normal(size=(200, 50))).rename(columns=str).assign(late=LATE[:200]),
    "lost-moments:hour": lambda: table(hour=pd.date_range("2013", periods=N + 60, freq="2h").delete(range(300, 360))),
}  # fmt: skip


@pytest.mark.parametrize("key", TRAPS)
def test_a_trap_is_found_where_it_is_and_nothing_else_is_alarming(key):
    """One small table a trap; other findings there may count but not alarm."""
    found_keys = keys(TRAPS[key]())
    assert key in found_keys
    others = {k.partition(":")[0] for k in found_keys} - {key.partition(":")[0]}
    assert others <= {
        "missing",
        "few-rows",
        "near-copy",
        "telling-gap",
        "outlier",
        "near-constant",
        "duplicate",
        "wide",
    }


TARGETS = {
    "target-sum:casual": lambda y: {"casual": (c := RNG.integers(0, 90, N)), "registered": y - c},
    "target-sum:pickup": lambda y: {"pickup": (c := RNG.integers(0, 90, N)), "dropoff": c + y},
    "target-threshold:HIGH": lambda y: {"HIGH": (y >= 70).astype(int)},
    "target-capped:y": lambda y: {"y": np.minimum(y, 75)},
    "target-spike:y": lambda y: {"y": with_values(0.0, y + 40, slice(0, 90))},
    "target-sentinel:y": lambda y: {"y": with_values(999.0, y)},
    "target-outlier:y": lambda y: {"y": with_values(40_000.0, y, [7])},
    "target-skewed:y": lambda y: {"y": np.exp(y / 12)},
    "target-missing:y": lambda y: {"y": with_values(np.nan, y)},
}


@pytest.mark.parametrize("key", TARGETS)
def test_a_target_in_other_clothes_or_with_a_fault_is_found(key):
    """Sum, threshold, cap, heap at zero, code, impossible value, long tail, gap."""
    y = np.round(AMOUNT, 1)
    assert key in keys(table(y=y, late=0).drop(columns="late").assign(**TARGETS[key](y)), "y")
    assert keys(table(y=y).drop(columns="late"), "y") == []


@pytest.mark.parametrize(("code", "labels"), [("rare-class", [3, 600, 597]), ("many-classes", [50] * 24)])
def test_classes_that_cannot_be_learned_are_named(code, labels):
    """A class of three rows; two dozen classes."""
    y = levels(*[(f"c{i}", n) for i, n in enumerate(labels)])
    assert f"{code}:kind" in keys(table(kind=y).drop(columns="late"), "kind")


@pytest.mark.parametrize(
    ("codes", "remark"),
    [
        (["encoding"], Remark(RemarkCode.LAYOUT, ("UTF-8 with a byte-order mark", "semicolon", HEADERS[1]))),
        (["encoding"], Remark(RemarkCode.LAYOUT, ("UTF-16", "comma", HEADERS[1]))),
        (["header"], Remark(RemarkCode.LAYOUT, ("UTF-8", "comma", HEADERS[0]))),
        (["wrapped"], Remark(RemarkCode.WRAPPED)),
        (["shifted", "header"], Remark(RemarkCode.SHIFTED, ("7", "column_21"))),
        (["empty-rows"], Remark(RemarkCode.EMPTY_ROWS, ("114",))),
        (["date"], Remark(RemarkCode.DATES, ("month first",), "dteday")),
        (["marked-number"], Remark(RemarkCode.MARKED_NUMBERS, ("'$160.00'", "160"), "price")),
        (["missing-code"], Remark(RemarkCode.MISSING_WORDS, ("1", "'ASIA'"), "price")),
        ([], Remark(RemarkCode.DIGITS_AS_TEXT, (), "zip")),
    ],
)
def test_a_guess_of_the_reader_is_a_finding(codes, remark):
    """The reader's remarks become findings by their codes; a usual layout is none."""
    usual = Remark(RemarkCode.LAYOUT, ("UTF-8", "comma", HEADERS[1]))
    assert keys(table(), remarks=[usual, remark]) == codes


def test_clean_tables_raise_no_alarm():
    """Twenty tables of plain columns: no finding at all."""
    assert [keys(table(extra=RNG.normal(size=N), kind=levels(("a", 400), ("b", 800)))) for _ in range(20)] == [[]] * 20


def test_an_order_that_the_split_respects_is_a_note():
    """By time the neighbours of a test row are not in training."""
    respected = next(
        f for f in find_problems(check_input(table(late=np.sort(LATE)), split="time")) if f.code == "order"
    )
    assert respected.severity == NOTE


def test_a_severe_finding_shuts_the_gate_until_it_is_accepted_by_its_code():
    """By code, or by code and column."""
    severe = [finding("prediction", "its name says so", "score"), finding("few-rows", "91 rows")]
    assert findings_gate(severe, []).answer == "no-go" and "prediction:score" in findings_gate(severe, []).note
    assert findings_gate(severe, ["prediction"]).answer == "go" == findings_gate(severe, ["prediction:score"]).answer


def test_every_code_has_a_title_a_remedy_and_a_degree():
    """The list is the contract: titles take the column's name, remedies are sentences."""
    for code in LIST:
        record = finding(code, "seen", "wind", "late", "x")
        assert record.title and record.remedy.endswith(".") and record.severity in ("severe", "watch", "note"), code


def test_names_that_speak_of_people_places_and_later_raise_questions():
    """Questions, not findings; a column that the charter describes raises none."""
    df = table(sex="f", dropoff_hour=1, latitude=40.7, fnlwgt=range(N), class_code=RNG.integers(1, 9, N), late=LATE + 1)
    questions = [column for column, _ in ask_people(check_input(df))]
    assert questions == ["sex", "dropoff_hour", "latitude", "fnlwgt", "class_code", "late"]
    assert "sex" not in [column for column, _ in ask_people(check_input(df), answered=["sex"])]
    assert "Few whole numbers" in dict(ask_people(check_input(df)))["class_code"]


# --- what flatters a model ------------------------------------------------------------------------------------------


def drifting(n=3000):
    """A walk over time: neighbours tell about one another, later rows do not."""
    rng = np.random.default_rng(1)
    level = np.cumsum(rng.normal(0, 0.5, n))
    return pd.DataFrame({"when": pd.date_range("2013-01-01", periods=n, freq="6h"), "x": rng.normal(size=n)}), level


def test_a_random_split_that_flatters_is_severe_where_rows_have_a_time():
    """Both scores stand side by side; after a split by time it is a note."""
    X, y = drifting()
    orders = compare_random_and_forward(X, y, X["when"], task="regression", random_state=0)
    assert orders.random.value - orders.forward.value > 0.3 and orders.random_split_optimism.low > 0
    df = X.assign(y=y)
    for kind, degree in (("random", SEVERE), ("time", NOTE)):
        parts = split_table(df, target="y", task="regression", kind=kind, time_column="when")
        shift = score_shift(X[["x"]].iloc[parts.train], X[["x"]].iloc[parts.test], random_state=0)
        findings = split_findings(parts, shift, orders, True)
        assert [(f.code, f.severity) for f in findings] == [("random-flatters", degree)]
        assert ("Split by time" in findings[0].remedy) == (kind == "random")


def test_what_is_the_time_of_the_row_is_known_from_what_drifts():
    """Its year, month and hour, what a month gives, and a number that rises with it; a drift is none, nor is noise."""
    rng, n = np.random.default_rng(0), 1500
    when = pd.Series(pd.date_range("2022-01-01", periods=n, freq="12h"))
    season = when.dt.month.map(lambda month: ["winter", "spring", "summer", "autumn"][month % 12 // 3])
    parts = {"year": when.dt.year, "month": when.dt.month, "hour": when.dt.hour, "season": season}
    rising = {
        "ticket": 10 * np.arange(n) + rng.integers(0, 200, n),
        "printed": when + pd.to_timedelta(rng.random(n), "D"),
    }
    others = {
        "drift": np.arange(n) / n + rng.normal(size=n),
        "noise": rng.normal(size=n),
        "kind": rng.choice([*"ab"], n),
    }
    found = time_like_columns(pd.DataFrame(parts | rising | others), when)
    assert found == [*parts, *rising]


def test_order_that_says_nothing_is_not_flattering():
    """Five tables of exchangeable rows: the interval of the difference holds zero, or the difference is small."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X = pd.DataFrame({"x": rng.normal(size=800), "z": rng.normal(size=800)})
        y = (X["x"] + rng.normal(size=800) > 0).astype(int).to_numpy()
        orders = compare_random_and_forward(X, y, pd.Series(range(800)), task="binary", random_state=0)
        assert orders.random_split_optimism.low <= 0 or orders.random_split_optimism.value < 0.03


def test_sets_that_differ_are_severe_after_a_random_split_only():
    """A column that differs between the parts is named; by time it is drift."""
    df = table(machine=np.where(np.arange(N) % 5 == 0, 2.0, 1.0) + RNG.normal(0, 0.1, N))
    parts = split_table(df, target="late", task="binary")
    test = np.arange(N) % 5 == 0
    shift = score_shift(df[~test].drop(columns="late"), df[test].drop(columns="late"), random_state=0)
    assert shift.column == "machine" and shift.estimate.low > 0.9
    assert [f.severity for f in split_findings(parts, shift, None, False)] == [SEVERE]


def test_random_parts_are_seldom_called_different():
    """Ten random splits, not one alarm."""
    df = table()
    for seed in range(10):
        parts = split_table(df, target="late", task="binary", random_state=seed)
        X = df.drop(columns="late")
        shift = score_shift(X.iloc[parts.train], X.iloc[parts.test], random_state=0)
        assert split_findings(parts, shift, None, False) == []


# --- the report -----------------------------------------------------------------------------------------------------


def test_intervals_hold_the_association_of_all_rows():
    """Of forty samples of a large table nearly all intervals hold its association."""
    rng = np.random.default_rng(0)
    wind = rng.normal(size=200_000)
    late = (wind + rng.normal(0, 2, 200_000) > 0).astype(int)
    truth = score_association(pd.DataFrame({"wind": wind}), late, task="binary", random_state=0)["association"][0]
    held = 0
    for i in range(40):
        rows = slice(2000 * i, 2000 * i + 2000)
        one = score_association(pd.DataFrame({"wind": wind[rows]}), late[rows], task="binary", random_state=i).iloc[0]
        held += one["low"] <= truth <= one["high"]
    assert held >= 34


def test_each_pair_of_types_has_its_usual_measure():
    """Numbers and classes, texts and classes, numbers and numbers, texts and numbers."""
    df = table()
    X = df[["wind", "dest"]]
    binary = score_association(X, LATE, task="binary", random_state=0).set_index("column")["measure"]
    numbers = score_association(X, GUST, task="regression", random_state=0).set_index("column")["measure"]
    assert binary["wind"].startswith("ROC-AUC 0.9") and binary["dest"].startswith("Cramér's V 0.0")
    assert numbers["wind"].startswith("Spearman ρ") and numbers["dest"].startswith("correlation ratio")


@pytest.mark.slow
def test_three_hundred_variables_fit_a_page():
    """Each has its picture and its sentences, the tail is folded, and the page stays small."""
    wide = pd.DataFrame(RNG.normal(size=(300, 320)), columns=[f"<b>x{i}</b>" for i in range(320)])
    facts, y = profile_table(wide), LATE[:300]
    scores = score_association(wide, y, task="binary", random_state=0)
    shown = variable_table(
        facts.columns, scores, target_by_bin(wide, y, task="binary", random_state=0), event="late", average=y.mean()
    )
    assert len(shown.html) < 900_000 and shown.html.count("<tr>") == 302 and "<b>x" not in shown.html
    assert "<details><summary>The other 288 variables; 20 more" in shown.html and shown.html.count("<img alt=") == 600


def test_columns_that_move_together_are_one_group():
    """Chains of links make one cluster; a lone column is in none."""
    clusters = find_clusters(table(kmh=WIND * 1.6, knots=-WIND))
    assert list(clusters["columns"]) == ["wind, kmh, knots"] and clusters["strongest rank correlation"][0] == 1


def test_a_text_that_is_new_in_each_row_does_not_tell_test_rows_from_training_rows():
    """Codes of texts in order of appearance would: the parts lie one below the other."""
    rng = np.random.default_rng(0)
    text = [" ".join(rng.choice(["great", "slow", "fine", "awful", "quiet"], 9)) + f" {i % 97}" for i in range(600)]
    table = pd.DataFrame({"review": rng.permutation(text), "x": rng.normal(size=600)})
    shift = score_shift(table.iloc[:480], table.iloc[480:], random_state=0)
    assert shift.estimate.low < 0.55


def test_classes_that_differ_in_spelling_only_are_severe():
    """Yes, YES and yes are three classes to a model, and one answer to people."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": rng.normal(size=200), "left": rng.choice(["Yes", "YES", "No"], 200)})
    problems = find_problems(check_input(table, "left"))
    assert [(f.code, f.severity) for f in problems if f.column == "left"] == [("level-variants", "severe")]


def test_one_row_is_written_in_the_singular():
    """Evidence on a single row says row, not rows."""
    gust = pd.Series(GUST).mask(np.arange(N) == 3)
    df = pd.DataFrame({"wind": WIND, "gust": gust, "late": LATE})
    evidence = {finding.key: finding.evidence for finding in find_problems(check_input(df))}
    assert evidence["missing:gust"].startswith("1 row, ")


def test_a_wide_table_is_named_for_what_it_is():
    """Fifty columns of two hundred rows are many, yet far from as many."""
    assert next(f for f in find_problems(check_input(TRAPS["wide"]())) if f.code == "wide").title == (
        "Many columns for so few rows"
    )


@pytest.mark.parametrize(("value", "shown"), [(-(2**31), "-2147483648"), (2**63 - 1, "9223372036854775807")])
def test_the_end_of_a_counter_is_the_one_that_was_met(value, shown):
    """The low end as well as the high one, and that of 64 bits, which no float holds exactly."""
    numbers = RNG.integers(1, 400, N)
    numbers[5] = value
    found = next(f for f in find_problems(check_input(table(nights=numbers))) if f.code == "overflow")
    assert found.evidence.startswith(f"the value {shown},")


def test_an_outlier_at_the_low_end_is_the_one_shown():
    """A value far below the others is not explained by the highest."""
    sizes = with_values(-900.25, RNG.normal(6, 0.5, N).round(2), [3])
    found = next(f for f in find_problems(check_input(table(size=sizes))) if f.code == "outlier")
    assert found.evidence.startswith("−900.25") or found.evidence.startswith("−900")


def test_a_counter_is_found_in_some_rows_of_a_long_table():
    """The rules see evenly spaced rows: a counter then goes up by the distance between them."""
    whole = pd.concat([table()] * 3, ignore_index=True).assign(patch=np.tile(np.arange(1, 1801), 2))
    facts = profile_table(whole)
    case = CheckInput(facts.columns, whole.iloc[evenly_spaced(3600, 1000)], "late", "binary", facts.rows)
    assert "counter:patch" in [f.key for f in check_columns(case)]


@pytest.mark.parametrize(
    "other", [np.arange(N) % 4 // 2 + 2 * (np.arange(N) % 8 > 5), [None if i % 5 == 1 else i % 5 for i in range(N)]]
)
def test_columns_that_do_not_meet_one_to_one_are_no_copies(other):
    """As many values, or pairs unique one way only; a gap meets gaps alone."""
    codes = {"gaps": np.arange(N) % 5, "other": other}
    assert not any(key.startswith("copy") for key in keys(table(**codes)))


@pytest.mark.parametrize(
    ("left", "right", "meet"),
    [
        ([0, 1, 2, -1], [2, 0, 1, -1], True),
        ([0, 1, 2, 0], [0, 1, 2, 1], False),
        ([0, 1, -1, 2, 2], [0, 1, 2, -1, -1], False),
        ([-1, 0, 1, 1], [1, 0, 1, -1], False),
    ],
)
def test_codes_meet_one_to_one_both_ways(left, right, meet):
    """Each pair is unique from either side, and gaps are in the same rows."""
    assert meet_one_to_one(np.array(left), np.array(right)) == meet


def along(values, task="binary"):
    X = pd.DataFrame({"x": values})
    return target_by_bin(X, np.arange(len(X)) % 2, task=task, random_state=0)["x"]


def test_bins_that_look_alike_stay_apart():
    """Five bins within a thousandth have five labels."""
    found = along(1 + np.arange(1000) / 1e6)
    assert list(found["rows"]) == [200] * 5 and found["where"].is_unique


def test_dates_are_shown_as_dates_and_days_before_1970_count():
    """From the first day on; noon of New Year's Eve 1969 is that day."""
    days = pd.Series(pd.date_range("1969-12-31 12:00", periods=400, freq="D"))
    assert along(days)["where"][0].startswith("1969-12-31 to 1970-")
    facts = profile_table(pd.DataFrame({"day": days})).columns[0]
    assert what_it_holds(facts).startswith("From 1969-12-31 to 1971-02-03")


def test_levels_called_none_or_other_are_no_gaps_and_no_rest():
    """Each has its own row beside those of the gaps and of the rest."""
    values = ["none"] * 90 + ["other"] * 80 + [None] * 30 + [f"level {i % 9}" for i in range(45)]
    found = along(values).set_index("where")["rows"]
    assert (found["none"], found["other"], found["(missing)"]) == (90, 80, 30)
    assert found["(other)"] == 15 and found.sum() == len(values)


def test_a_class_keeps_all_its_digits():
    """Labels of seven digits are not rounded."""
    labels = pd.Series([1234567.0, 1234568.0, 1234568.0])
    assert list(describe_target(labels, task="binary")["class"]) == ["1234568", "1234567"]


def test_a_column_is_called_beyond_chance_by_the_test_of_the_measure_that_is_shown():
    """A slight and certain ROC-AUC is not denied because ten bins explain little; noise is not shown beyond chance."""
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, 3000)
    X = pd.DataFrame({"slight": rng.normal(size=3000) + 0.25 * y, "noise": rng.normal(size=3000)})
    scores = score_association(X, y, task="binary", random_state=0).set_index("column")
    assert scores.loc["slight", "p_measure"] < 0.001 < 0.05 < scores.loc["noise", "p_measure"]
    rows = scores.assign(association=0.0).to_dict("index")  # as if the bins had shown nothing
    along = target_by_bin(X, y, task="binary", random_state=0)
    assert what_it_tells(rows["slight"], along["slight"], "yes").startswith("Weak, but beyond chance (ROC-AUC 0.")
    assert what_it_tells(rows["noise"], along["noise"], "yes").startswith("Not shown beyond chance (ROC-AUC 0.")


def test_few_whole_numbers_are_shown_by_value_and_years_without_a_comma():
    """Two years are two bins; twelve months twelve."""
    X = pd.DataFrame({"year": [2023, 2024] * 60, "month": np.arange(120) % 12 + 1})
    along = target_by_bin(X, np.arange(120) % 2, task="binary", random_state=0)
    assert along["year"]["where"].tolist() == ["2023", "2024"]
    assert along["month"]["where"].tolist() == [str(month) for month in range(1, 13)]
    years, months = profile_table(X).columns
    assert value_range(years) == "2023 to 2024, mean 2024, 2 different" and examples_of(years) == "2023, 2023, 2024"
    assert set(examples_of(months).split(", ")) <= {str(month) for month in range(1, 13)}


def test_the_course_of_a_date_is_no_share_of_one_moment():
    """A date over time has no line in the table of trends."""
    days = pd.Series(pd.date_range("2023-01-01", periods=9))
    assert trend_table(days, pd.DataFrame({"at": days, "n": range(9)}))["column"].tolist() == ["n"]
