"""Every trap that is named of the tables in ../shared/data: found, missed, or a false alarm.

    python -m tests.benchmarks.traps [TABLE …]

A trap is named by what would answer it: `code:column`, a code alone, or `?column` for a question to people. Traps that
no rule can know are listed with their reason. What is found and neither named nor verified by hand is a false alarm.
"""

import sys
import time

import pandas as pd

from tdsp.data.ingest import load_source, to_frame
from tdsp.data.schema import find_exclusions
from tdsp.data.splits import split_table
from tdsp.data.target import require_target
from tdsp.exploration.column_checks import ask_people
from tdsp.exploration.findings import CheckInput
from tdsp.exploration.leakage import find_leaks
from tdsp.exploration.profile import profile_table
from tdsp.exploration.split_checks import compare_random_and_forward, score_shift
from tdsp.stages.data_acquisition import find_problems, split_findings
from tests.support.strangers import DATA, TABLES

FAN = "Do you consider yourself to be a fan of the Star Trek franchise?"
ALL = {name: (file, target) for name, (file, target, _, _) in TABLES.items()} | {
    "star_wars_survey": ("star_wars_survey/StarWars.csv", FAN),
    "breast_cancer": ("sklearn:breast_cancer", "target"),
    "wine": ("sklearn:wine", "target"),
    "diabetes": ("sklearn:diabetes", "target"),
}
NAMED = {  # as in SOURCES.md; several keys: any of them counts
    "adult_income": {
        "missing value is ?": "missing-code missing:workclass",
        "education twice": "copy:education_num",
        "fnlwgt is a weight": "?fnlwgt",
        "24 duplicates": "duplicate",
        "sensitive columns": "?sex",
        "a country that occurs once": "rare-level:native_country",
        "capital_gain ends at 99999": "sentinel:capital_gain",
    },
    "bike_sharing": {
        "casual + registered": "target-sum:casual",
        "instant": "id:instant",
        "date as text": "date",
        "165 hours absent": "lost-moments:dteday",
        "growth": "random-flatters order",
        "temp and atemp": "near-copy:atemp",
        "category codes": "?season",
    },
    "telco_churn": {
        "TotalCharges is blank": "missing:TotalCharges",
        "customerID": "id:customerID",
        "tenure x MonthlyCharges": "product:TotalCharges",
        "No internet service repeats": "repeated-level",
        "SeniorCitizen is 0/1": "mixed-flags",
        "22 duplicates": "duplicate",
    },
    "california_housing": {
        "target capped": "target-capped:median_house_value",
        "207 missing": "missing:total_bedrooms",
        "age capped": "capped:housing_median_age",
        "ISLAND": "rare-level:ocean_proximity",
        "neighbours": "order ?latitude",
    },
    "penguins": {"few rows": "few-rows", "empty rows": "missing-together", "11 without sex": "missing:sex"},
    "diamonds": {
        "sorted by price": "order",
        "146 duplicates": "duplicate",
        "x, y or z is 0": "odd-zero:x",
        "y is 58.9": "outlier:y",
        "skewed": "target-skewed:price",
    },
    "titanic": {
        "Cabin, Age missing": "missing:Cabin",
        "PassengerId": "id:PassengerId",
        "Name": "id:Name",
        "Ticket": "id:Ticket",
        "Cabin's gap tells": "telling-gap:Cabin",
    },
    "taxi_fare": {
        "saved row index": "id:column_1",
        "dropoff is later": "?dropoff_hour",
        "constant months": "constant:pickup_month",
        "coordinates": "?pickup_latitude",
    },
    "electricity": {
        "order is the date": "order",
        "constant at first": "begins-constant:vicprice",
        "8 duplicates": "duplicate",
        "labels repeat": "order",
    },
    "acs_employment": {
        "somebody's prediction": "prediction:prediction",
        "probability": "prediction:predicted_probability",
        "codes as text": "number-as-text",
        "id": "id:id",
        "27,008 duplicates": "duplicate",
        "year": "constant:year",
    },
    "arrhythmia": {
        "280 columns, 452 rows": "wide",
        "column 14": "missing:column_14",
        "17 constants": "constant:column_20",
        "classes of 2 rows": "rare-class",
        "height 780": "outlier:column_3",
    },
    "ames_houses": {
        "NA in text columns": "missing:PoolQC",
        "None is a level": "missing-word:MasVnrType",
        "MSSubClass": "?MSSubClass",
        "Id": "id:Id",
        "rare levels": "rare-level:Neighborhood",
    },
    "bank_marketing": {
        "duration": "?duration",
        "pdays 999": "sentinel:pdays",
        "unknown": "missing-word:default",
        "12 duplicates": "duplicate",
        "hidden clock": "order begins-constant:pdays",
    },
    "air_quality": {
        "decimal commas": "marked-number",
        "dates day first": "date",
        "NMHC 90 % missing": "missing:NMHC(GT)",
        "target missing": "target-missing:CO(GT)",
        "114 empty rows": "empty-rows",
        "CO_HIGH": "target-threshold:CO_HIGH",
        "C6H6 is a function": "near-copy:PT08.S2(NMHC)",
        "byte-order mark": "encoding",
    },
    "letter_recognition": {
        "26 classes": "many-classes",
        "1,332 duplicates": "duplicate",
        "integers as categories": "?xbox",
    },
    "german_credit": {"no header": "header", "label 1/2 and unequal costs": "?column_21"},
    "oil_spill": {
        "41 positives": "imbalance",
        "column 23": "constant:column_23",
        "patch number": "counter:column_1",
        "no header": "header",
        "few rows": "few-rows",
    },
    "airbnb_dc": {
        "dollars and percents": "marked-number",
        "overflow": "overflow:maximum_nights",
        "deposit missing": "missing:security_deposit",
        "zipcode": "number-as-text:zipcode",
        "one row in another state": "rare-level:state",
        "long tail": "target-skewed:price",
    },
    "horse_colic": {
        "missing value is ?": "missing-code missing:column_16",
        "no label": "target-missing:column_23",
        "hospital number": "counter:column_3",
        "no header": "header",
        "few rows": "few-rows",
    },
    "star_wars_survey": {
        "Windows-1252": "encoding",
        "two header rows": "header",
        "skipped questions": "missing",
        "no label": "target-missing",
        "ranges": "range-as-text:Age",
        "check boxes": "tick-box",
        "RespondentID": "id:RespondentID",
    },
    "student_grades": {
        "wrapped lines": "wrapped",
        "byte-order mark": "encoding",
        "G3 is 0": "target-spike:G3",
        "few rows": "few-rows",
    },
    "country_facts": {
        "decimal commas": "marked-number",
        "trailing separator": "header",
        "shifted rows": "shifted",
        "1 missing target": "target-missing",
        "Country": "id:Country",
        "few rows": "few-rows",
    },
}
KNOWLEDGE = {  # named traps that need somebody who knows, and are no rule's business
    "penguins": "scores near 1 are normal; island is a good predictor by right",
    "taxi_fare": "the lowest legal fare",
    "diamonds": "cut, color and clarity are ordered",
    "acs_employment": "labels arrive late; little drift",
    "arrhythmia": "the first cell had an age",
    "ames_houses": "large cheap houses",
    "german_credit": "sex inside a code",
    "horse_colic": "columns found later",
    "student_grades": "G1 and G2 are earlier grades",
    "airbnb_dc": "districts as cities",
    "bike_sharing": "none",
    "country_facts": "blanks, which the reader trims",
}
FACTS = {  # counts, true by what they count; all other codes are judgements
    *("missing", "constant", "near-constant", "rare-level", "duplicate", "id", "copy", "near-copy", "few-rows", "wide"),
    *("target-missing", "header", "date", "encoding", "marked-number", "missing-code", "telling-gap", "target-skewed"),
    *("repeated-level", "missing-word", "lost-moments", "tick-box", "many-classes", "product", "range-as-text"),
    "missing-together",
}
VERIFIED = {  # judgements that SOURCES.md does not name, looked at by hand and right
    "titanic": "mixed-types:Ticket",
    "bike_sharing": "target-sum:registered",
    "penguins": "order",
    "air_quality": "order random-flatters",
    "student_grades": "spike:G2",
    "diamonds": "outlier:depth outlier:table outlier:z odd-zero:y odd-zero:z random-flatters",
    "electricity": "random-flatters begins-constant",
    "bank_marketing": "begins-constant random-flatters",
    "california_housing": "random-flatters",
    "country_facts": "outlier",
    "acs_employment": "number-as-text",
    "arrhythmia": "spike:column_6",
    "taxi_fare": "target-outlier",
}


def keys_of(name: str) -> tuple[list[str], list[str]]:
    """All findings as code:column, and the columns that questions ask about."""
    file, target = ALL[name]
    source = load_source("t", file, root=DATA)
    df = to_frame(source.table)
    outcome = require_target(df, target, min_class_rows=1)
    left_out = find_exclusions(df, without=[target])
    ids = [name for name, exclusion in left_out.items() if exclusion.is_id]
    facts = profile_table(df, ids=ids)
    rows = (facts.rows, facts.repeated, facts.patterns)
    case = CheckInput(facts.columns, df, target, outcome.task, *rows, left_out=left_out, remarks=source.remarks)
    found = find_problems(case)
    found += models(df, target, outcome, left_out, any(f.code == "order" for f in found))
    questions = [column.strip() for columns, _ in ask_people(case) for column in columns.split(",")]
    return [f.key for f in found], questions


def models(df, target, outcome, left_out, ordered) -> list:
    """Findings about the split: the optimism of a random one, and whether training and test rows differ."""
    known = df[df[target].notna()].reset_index(drop=True)
    y, columns = outcome.encode(known[target]), known.drop(columns=[target, *left_out])
    leaks = [leak.column for leak in find_leaks(columns, y, task=outcome.task, random_state=0)]
    X = columns.drop(columns=leaks)
    dates = [c for c in X if pd.api.types.is_datetime64_any_dtype(X[c]) and X[c].notna().all()]
    when = X[dates[0]] if dates else pd.Series(range(len(X)))
    orders = compare_random_and_forward(X, y, when, task=outcome.task, random_state=0) if dates or ordered else None
    parts = split_table(known, target=target, task=outcome.task, random_state=0)
    shift = score_shift(X.iloc[parts.train], X.iloc[parts.test], random_state=0)
    return split_findings(parts, shift, orders, bool(dates))


def is_found(wanted: str, keys: list[str], questions: list[str]) -> bool:
    """Whether one of several keys is among the findings, or a question asks about its column."""
    codes = {key.partition(":")[0] for key in keys}
    return any(w in keys or w in codes or (w[0] == "?" and w[1:] in questions) for w in wanted.split())


def main(names: list[str]) -> None:
    """Print a line for each trap, and the sums."""
    sums = {"found": 0, "missed": 0, "false alarm": 0}
    for name in names:
        began = time.perf_counter()
        keys, questions = keys_of(name)
        lines = []
        for trap, wanted in NAMED.get(name, {}).items():
            lines.append(("found" if is_found(wanted, keys, questions) else "missed", f"{trap} ({wanted})"))
        right = " ".join([*NAMED.get(name, {}).values(), VERIFIED.get(name, "")]).split()
        judged = [key for key in keys if key.partition(":")[0] not in FACTS]
        lines += [("false alarm", key) for key in judged if not {key, key.partition(":")[0]} & set(right)]
        print(
            f"{name}: {len(keys)} findings, {len(questions)} questions, {time.perf_counter() - began:.1f} s", flush=True
        )
        for state, words in lines:
            sums[state] += 1
            print(f"  {state:11} {words}")
        if name in KNOWLEDGE:
            print(f"  for people  {KNOWLEDGE[name]}")
    print(", ".join(f"{n} {state}" for state, n in sums.items()), f"in {len(names)} tables")


if __name__ == "__main__":
    main(sys.argv[1:] or list(ALL))
