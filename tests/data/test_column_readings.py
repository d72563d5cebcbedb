"""Columns that were read wrongly once: made-up tables of each kind, with the right values and remarks."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from tdsp.core.cells import parse_cells
from tdsp.data.cell_types import ReadOptions, readings_of, type_columns
from tdsp.data.csv_reader import read_text


def read(text: str, **options: str) -> tuple[pa.Table, str]:
    """The table of a text, and all remarks in one line."""
    table, remarks = read_text(text.encode(), "t.csv", reading=ReadOptions(**options))
    return table, " | ".join(map(str, remarks))


def column(values: list[str], name: str = "x", **others: list[str]) -> tuple[list, str]:
    """The values of one column, read beside others, and the remarks."""
    table, remarks = type_columns(pa.table({name: values, **others}))
    return table[name].to_pylist(), " | ".join(map(str, remarks))


def test_a_few_amounts_in_another_currency_are_gaps_with_a_word():
    """No rate is known: they are no numbers of this column, here or at prediction; many make it a column of several."""
    few = [f"{i} EUR" for i in range(95)] + ["5 USD", "£7", "12 USD"]
    found, remarks = column(few)
    assert found == [*range(95), None, None, None]
    assert "3 cells count as missing, in another currency than the others: '5 USD', '12 USD', '£7'" in remarks
    assert "nan" not in remarks
    reading = readings_of(type_columns(pa.table({"x": few}))[0].schema)["x"]
    values, odd = parse_cells(["3 EUR", "99 USD", "7 JPY"], reading)  # a later cell: by the currency, not by its text
    assert values[0] == 3 and values[1:].isna().all() and odd.tolist() == [False, False, True]
    many = [f"{i} EUR" for i in range(60)] + [f"{i} USD" for i in range(40)]
    found, remarks = column(many)
    assert found == many and "numbers in several units, kept as text" in remarks


def test_a_word_that_is_a_gap_among_numbers_is_named_in_a_column_of_texts():
    """Any word, and not only the usual ones; a text that is a gap in both is no remark."""
    table, remarks = read(
        "built;owner\n"
        + "".join(f"{1950 + i};{'let' if i % 2 else 'own'}\n" for i in range(40))
        + "k. A.;k. A.\nNA;own\n1999;NA\n"
    )
    assert table["built"].null_count == 2 and table["owner"].null_count == 1
    assert "owner: a value here, in a column of texts, and a gap in another column: 'k. A.' in 1" in remarks
    assert "'NA'" not in remarks


def test_a_group_that_begins_with_zero_settles_the_column():
    """0.461 is no thousand: the column has decimal points although the others have commas."""
    table, _ = read("usage;km\n71,5;8.831\n49,6;0.461\n")
    assert table["km"].to_pylist() == [8.831, 0.461] and table["usage"].to_pylist() == [71.5, 49.6]
    table, _ = read("age;kg\n47;6,802\n49;0,823\n")
    assert table["kg"].to_pylist() == [6.802, 0.823]


def test_groups_of_three_are_thousands_in_a_german_file_with_a_remark():
    """By the semicolons where no number tells; one line overrules it."""
    text = "age;income\n47;9.141\n50;7.776\n"
    table, remark = read(text)
    assert table["income"].to_pylist() == [9141, 7776] and "income: '9.141' read as 9141" in remark
    assert read(text, decimal=".")[0]["income"].to_pylist() == [9.141, 7.776]


def test_dates_that_do_not_tell_follow_those_that_do():
    """signed has a day beyond 12, last_visit has none: both are read day first, with a remark."""
    found, remark = column(["07/09/2023", "10/01/2023"], "last_visit", signed=["23/10/2023", "04/07/2023"])
    assert found == [dt.datetime(2023, 9, 7), dt.datetime(2023, 1, 10)]
    assert "last_visit: dates read day first, as the file's other dates are" in remark


def test_two_digit_years_of_births_are_of_the_century_before():
    """No one is born in 2060; a contract may end in 2030."""
    found, remark = column(["03/06/60", "25/03/75"], "birth", seen=["2023-05-01", "2023-06-02"])
    assert found[0].year == 1960 and "birth: two-digit years read as 1924 to 2023" in remark
    found, _ = column(["03/06/30", "25/03/25"], "contract_end", seen=["2023-05-01", "2023-06-02"])
    assert found[0].year == 2030


def test_percent_beside_fractions_has_one_scale():
    """19% is 0.19 beside 0.75, and 19 beside 75."""
    assert column(["19%", "0.75"])[0] == [0.19, 0.75] and "'19%' read as 0.19" in column(["19%", "0.75"])[1]
    assert column(["19%", "75"])[0] == [19, 75]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["ZA", "NA", "BW"], ["ZA", "NA", "BW"]),
        (["EU", "APAC", "NA"], ["EU", "APAC", "NA"]),
        (["pro", "NA", "basic"], ["pro", None, "basic"]),
        ([" basic ", "", "pro"], ["basic", None, "pro"]),
    ],
)
def test_na_is_a_value_among_codes_of_its_kind(values, expected):
    """Namibia and North America are no gaps; a gap among words stays one."""
    found, remark = column(values)
    assert found == expected and ("NA is a value here" in remark) == ("NA" in expected)


@pytest.mark.parametrize("text", ["\u2212222.5", "222.5-", "(222.5)", "-222.5", "- 222.5"])
def test_every_minus_is_one(text):
    """Typeset, trailing, in brackets."""
    assert column([text, "11.25"])[0] == [-222.5, 11.25]


@pytest.mark.parametrize(
    ("values", "expected", "remark"),
    [
        (["90,000km", "1,200km"], None, ""),  # few levels with a unit may be categories: they stay text
        ([f"{i} kg" for i in range(20)], list(range(20)), "'0 kg' read as 0"),
        ([f"{i}.2k" for i in range(1, 21)], [i * 1000 + 200 for i in range(1, 21)], "'1.2k' read as 1200"),
        ([f"{i}M" for i in range(1, 21)], [i * 10**6 for i in range(1, 21)], "'1M' read as 1000000"),
        ([f"{i},000+" for i in range(1, 21)], [i * 1000 for i in range(1, 21)], "'1,000+' read as 1000"),
        ([f"\u20b9{i}.5 Lac" for i in range(1, 21)], [i * 10**5 + 50_000 for i in range(1, 21)], "read as 150000"),
        ([f"About {i} EUR" for i in range(1, 21)], list(range(1, 21)), "'About 1 EUR' read as 1"),
        ([f"{i} MB" for i in range(1, 20)] + ["1 GB"], [i * 10**6 for i in range(1, 20)] + [10**9], ""),
        ([f"{i} EUR" for i in range(1, 20)] + ["5 USD"], None, "numbers in several units, kept as text"),
        ([f"{i} h" for i in range(20)] + ["7 hrs", "9"], [*range(20), 7, 9], "'0 h' read as 0"),
        (
            [f"{i} km" for i in range(20)] + ["10 mi", "5"],
            [*range(20), 16.09344, 5],
            "1 cell counts as km, the most frequent unit",
        ),
        ([f"{i} kg" for i in range(20)] + ["10 lb"], [*(1000 * i for i in range(20)), 4535.9237], "'0 kg' read as 0"),
        (
            [f"${i}" for i in range(1, 30)] + ["CA$5"],
            [*range(1, 30), None],
            "in another currency than the others: 'CA$5'",
        ),
        (["580N", "950H", "310SL", "320D", "77XT"] * 5, None, ""),  # names of models
        ([f"{i} EUR" for i in range(1, 20)] + ["€5", "7 €", "8"], [*range(1, 20), 5, 7, 8], "'1 EUR' read as 1"),
        (["£588.00", "GBP 588.00", "588 £", "1,149.00"], [588, 588, 588, 1149], "'GBP 588.00' read as 588"),
        (["Rs. 500", "INR 600", "₹700"], [500, 600, 700], "read as 500"),
        ([f"${i}" for i in range(1, 20)] + ["£5"], None, "numbers in several units, kept as text"),
        ([f"{i} km" for i in range(1, 150)] + ["£588"], [*range(1, 150), None], "1 damaged cell counts as missing"),
        (["1234*", "5"], [1234, 5], "'1234*' read as 1234"),
        (["1:23:45", "14:05"], [5025, 50700], "read as 5025 seconds"),
        (["0xE79C20", "12"], None, "kept as text"),
    ],
)
def test_units_and_marks_are_read_with_a_remark(values, expected, remark):
    """As an analyst would do without being asked."""
    found, remarks = column(values)
    assert found == (expected or values) and remark in remarks


@pytest.mark.parametrize(
    ("values", "first"),
    [
        (["5. Mai 2023", "23. Oktober 2023"], "2023-05-05"),
        (["5 mai 2023", "23 octobre 2023"], "2023-05-05"),
        (["5 maja 2023", "23 października 2023"], "2023-05-05"),
        (["Oct 23, 2023", "May 5, 2023"], "2023-10-23"),
        (["2023-10-23 24:00", "2023-07-04 01:00"], "2023-10-24"),
        (["2023-10-23", "24/10/2023"], "2023-10-23"),
        (["2023-05", "2023-06"], "2023-05-01"),
        (["2023Q2", "2023Q3"], "2023-04-01"),
    ],
)
def test_dates_as_people_write_them(values, first):
    """Months of the common languages, 24:00, ISO beside another order, months and quarters."""
    assert str(column(values, "day")[0][0]).startswith(first)


def test_dates_that_are_none_are_gaps_with_a_remark():
    """0000-00-00 and words among dates."""
    days = [f"2023-05-{i:02}" for i in range(1, 29)]
    found, remark = column([*days, "0000-00-00", "open"], "closed_on")
    assert found[-2:] == [None, None] and "'0000-00-00'" in remark and "'open'" in remark


def test_versions_are_no_dates():
    """10.2.19 may be both; it stays text, and the remark has how to state it."""
    values = [f"10.{i % 9}.{i}" for i in range(19, 45)]
    found, remark = column(values, "firmware")
    assert found == values and "kept as text; read_as states the pattern" in remark


def test_one_damaged_cell_does_not_drop_a_measure_and_codes_stay_codes():
    """A cell of its own shape is damage; two that are written alike are codes."""
    numbers = [f"{n / 7:.2f}" for n in range(300)]
    found, remark = column([*numbers, "12.3.4"])
    assert found[-1] is None and "1 damaged cell counts as missing: '12.3.4'" in remark
    assert column([*numbers, "20007-3413", "20001-4044"])[0][0] == "0.00"


def test_the_reading_of_each_column_is_stored_as_json():
    """In the metadata of the column, from where it goes into schema.json."""
    table, _ = type_columns(pa.table({"day": ["31/01/2023"], "debt": ["2.908,53"]}), missing_codes=["-999"])
    readings = readings_of(table.schema)
    assert readings["day"] | {"latest_year": 0} == {
        "kind": "date", "latest_year": 0, "order": "day first", "missing": ["-999"],
    }  # fmt: skip
    assert readings["debt"] == {"kind": "number", "decimal": ",", "missing": ["-999"], "codes": [-999.0]}


def test_large_columns_of_numbers_are_read_fast_and_alike():
    """Arrow's way and the way of single cells give the same numbers."""
    rng = np.random.default_rng(0)
    values = [f"{v:.6g}" for v in rng.normal(0, 1e3, 2000)]
    found, _ = column(values)
    assert found == [float(value) for value in values]


def test_a_missing_code_is_a_number_in_training_too():
    """-999.0 is -999, as in a file to predict."""
    table, _ = type_columns(pa.table({"x": ["1.5", "-999.0", "-999", "2.5"]}), missing_codes=["-999"])
    assert table["x"].to_pylist() == [1.5, None, None, 2.5]


def test_a_damaged_cell_makes_no_other_number_a_gap():
    """5.5 is damage in a column with decimal commas; 5,5 stays what it is."""
    values = [f"{n},5" for n in range(400)]
    found, _ = column([*values, "5.5"])
    assert found[:400] == [n + 0.5 for n in range(400)] and found[400] is None


def test_small_numbers_with_an_exponent_are_read():
    """Of either decimal sign."""
    assert column(["0,00001E3", "0,5"])[0] == [0.01, 0.5]


def test_percent_is_judged_in_the_columns_own_decimals():
    """19 % beside 1,5 and 29,5 is 19."""
    values = [f"{n},5" for n in range(1, 30)]
    assert column([*values, "19 %"])[0][-1] == 19


def test_short_years_of_two_centuries_show_the_order_of_day_and_month():
    """Only day first are these rows in the order of time."""
    found, remark = column(["05-11-98", "06-01-99", "02-03-99", "02-03-01", "04-05-02"], "day")
    assert found[0] == dt.datetime(1998, 11, 5) and "only then the rows are in order" in remark


def test_a_column_of_times_may_begin_with_a_gap_and_keeps_fractions():
    """In whatever order the cells are."""
    times = [f"10:{n:02}" for n in range(30)]
    assert column(["unknown", *times])[0][:2] == [None, 36000]
    assert column(["0:01:23.5", "0:02:00"])[0] == [83.5, 120]


def test_one_moment_with_a_zone_among_many_has_a_remark():
    """Not only where it is among the first."""
    found, remark = column(
        [f"2023-01-01 10:{n:02}:{s:02}" for n in range(10) for s in range(10)] + ["2023-01-02 10:00:00+02:00"]
    )
    assert found[-1] == dt.datetime(2023, 1, 2, 8) and "moments in UTC" in remark


@pytest.mark.parametrize("text", ["ca. 5", "approx. 5", "min. 5", "about 5", "~5"])
def test_words_of_uncertainty_are_left_out(text):
    """With their point."""
    assert column([text, "6"])[0] == [5, 6]


def test_infinite_values_are_gaps_in_the_stored_reading_too():
    """A gap of training is one wherever it comes."""
    table, _ = type_columns(pa.table({"x": ["1.5", "inf", "2"]}))
    assert readings_of(table.schema)["x"]["missing"] == ["inf"]
