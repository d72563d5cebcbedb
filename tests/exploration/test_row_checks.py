"""Rows that cannot be are named by their number, and others are not."""

import duckdb
import numpy as np
import pandas as pd
import pytest

from tdsp.exploration.row_checks import find_impossible_rows, sql_without


def cars(n=800, seed=0):
    """Cars with prices in thousands, and what they were sold with."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame({
        "brand": rng.choice(["VW", "Opel", "BMW"], n), "fuel": rng.choice(["gas", "diesel"], n),
        "km": rng.integers(1000, 250_000, n).astype(float), "color": rng.choice(["red", "blue"], n),
        "price": rng.lognormal(9, 0.7, n).round(),
    })  # fmt: skip


def rows_of(table):
    return {each.column: each.rows for each in find_impossible_rows(table, table, target="price")}


@pytest.mark.parametrize("seed", range(5))
def test_a_sound_table_has_no_impossible_rows(seed):
    """A long tail, a rare level and gaps are no faults."""
    table = cars(seed=seed)
    table.loc[3, "color"], table.loc[4, "km"], table.loc[5, "price"] = "mauve", np.nan, 90_000
    assert rows_of(table) == {}


def test_an_amount_that_is_often_zero_may_be():
    """One claim in eight pays nothing: a part of the data, and no fault in it."""
    table = cars()
    table.loc[table.index % 8 == 0, "price"] = 0
    assert rows_of(table) == {}


def test_amounts_typed_in_hundredths_are_named_within_the_tail():
    """Whole numbers among the largest of a column with decimals; agreed sums are not."""
    table = cars(2000).assign(price=np.random.default_rng(3).lognormal(7, 0.8, 2000).round(2))
    assert rows_of(table) == {}
    typed = table.copy()
    typed.loc[[50, 900, 1700], "price"] = [74_213.0, 105_467.0, 88_901.0]
    (found,) = [each for each in find_impossible_rows(typed, typed, target="price") if "without decimals" in each.why]
    assert found.rows == (50, 900, 1700) and "100 times too large, it seems" in found.sentence
    kept = duckdb.sql(f"SELECT count(*) FROM typed WHERE ({found.keep}) IS NOT FALSE").fetchall()[0]
    assert kept == (1997,)
    agreed = table.copy()
    agreed.loc[[50, 900, 1700], "price"] = [20_000.0, 15_000.0, 12_500.0]
    assert rows_of(agreed) == {}


def test_typed_errors_do_not_hide_one_another():
    """Several prices far above a gap are named at once, and so are prices of 1 far below it."""
    table = cars(1000)
    table.loc[[3, 8, 21], "price"] = [2_900_000, 5_400_000, 7_700_000]
    table.loc[[40, 41], "price"] = 1
    found = [each for each in find_impossible_rows(table, table, target="price") if each.column == "price"]
    assert [each.rows for each in found] == [(3, 8, 21), (40, 41)]
    left = table.drop(index=[3, 8, 21, 40, 41])
    assert rows_of(left.reset_index(drop=True)) == {}


def test_dates_that_cannot_be_are_named():
    """A visit in 2042, and a booking after its visit; births, and orders that differ often, are none."""
    rng = np.random.default_rng(1)
    visit = pd.Series(pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, 600), "D"))
    table = pd.DataFrame({"visit": visit, "booked": visit - pd.to_timedelta(rng.integers(1, 60, 600), "D")})
    table["born"] = pd.Timestamp("1930-01-01") + pd.to_timedelta(rng.integers(0, 30_000, 600), "D")
    assert find_impossible_rows(table, table) == []
    table.loc[[5, 6], "visit"] = pd.Timestamp("2042-03-01")
    table.loc[9, "booked"] = table.loc[9, "visit"] + pd.Timedelta(days=3)
    found = find_impossible_rows(table, table)
    assert [(each.column, each.rows) for each in found] == [("visit", (5, 6)), ("booked", (9,))]
    frame, kept = table, " AND ".join(f"({each.keep}) IS NOT FALSE" for each in found)
    assert duckdb.sql(f"SELECT count(*) FROM frame WHERE {kept}").fetchall() == [(len(frame) - 3,)]
    assert "visit is 2042-03-01" in found[0].sentence and "booked is later than visit" in found[1].sentence


def test_prices_of_tens_of_millions_zeros_and_a_negative_one_are_named():
    """Rows are counted from 1 below the names; the SQL leaves exactly these out and keeps gaps."""
    table = cars()
    table.loc[[9, 19], "price"], table.loc[100:149, "price"], table.loc[200, "price"] = 25e6, 0, -7000
    table.loc[300, "price"] = np.nan
    high, below, zeros = find_impossible_rows(table, table, target="price")
    assert (high.rows, below.rows, zeros.rows) == ((9, 19), (200,), tuple(range(100, 150)))
    assert high.sentence.startswith("rows 10, 20: price is 25,000,000, while half of the values are between")
    sql = sql_without([high, below, zeros], "table").replace('"table"', "table_")
    with duckdb.connect() as connection:
        connection.register("table_", table)
        assert len(connection.sql(sql).df()) == len(table) - 53


def test_counts_from_zero_on_and_temperatures_below_it_are_possible():
    """Numbers that come down to 0 step by step may reach it."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"riders": rng.poisson(rng.exponential(50, 900)), "degrees": rng.normal(14, 6, 900)})
    assert find_impossible_rows(table, table, target="riders") == []


@pytest.mark.parametrize(("step", "side"), [(1, "right"), (-1, "left")])
def test_a_row_shifted_by_a_column_is_named(step, side):
    """Its cells fit the columns beside them, and not their own."""
    table = cars().astype(object)
    cells = table.loc[40].tolist()
    table.loc[40] = [None, *cells[:-1]] if step == 1 else [*cells[1:], None]
    table["km"] = pd.to_numeric(table["km"], errors="coerce")  # a word among numbers is read as a gap
    table["price"] = pd.to_numeric(table["price"], errors="coerce")
    (found,) = find_impossible_rows(table, table, target="price")
    assert found.rows == (40,) and f"one column to the {side}" in found.why and found.sentence.startswith("row 41:")
    sql = sql_without([found], "table").replace('"table"', "table_")
    with duckdb.connect() as connection:
        connection.register("table_", table.astype(dict.fromkeys(("brand", "fuel", "color"), "str")))
        left = connection.sql(sql).df()
    assert len(left) == len(table) - 1 and left["km"].isna().sum() == table["km"].drop(40).isna().sum()


def test_a_query_that_is_there_is_wrapped():
    """Its rows are left out by a condition around it."""
    table = cars()
    table.loc[9, "price"] = 25e6
    sql = sql_without(find_impossible_rows(table, table, target="price"), "")
    assert sql.startswith('SELECT * FROM (the query as it is) WHERE ("price" <= ')


def test_columns_of_like_levels_are_no_evidence():
    """Quality of garage and of cellar share their levels; a rare one is no shift."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({name: rng.choice(["good", "fair", "poor"], 500) for name in ("garage", "cellar", "roof")})
    table.loc[7, ["garage", "cellar"]] = ["none", "good"]
    assert find_impossible_rows(table, table) == []
