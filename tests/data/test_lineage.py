"""lineage: columns are traced to their sources, and joins that lose or double rows are counted."""

from typing import Any

import duckdb
import pyarrow as pa
import pytest

from tdsp.data import lineage

FLIGHTS = pa.table({"tail": ["N1", "N2", "N9", None], "a b": [1, 2, 3, 4]})
PLANES = pa.table({"tail": ["N1", "N2"], "year": [1999, 2004]})
TABLES = {"flights": FLIGHTS, "planes": PLANES}


def trace(tables: dict[str, pa.Table], sql: str) -> dict[str, Any]:
    """The trace of a statement over these tables."""
    with duckdb.connect() as connection:
        for name, table in tables.items():
            connection.register(name, table)
        return lineage.trace(connection, sql)


def test_columns_lead_to_what_they_are_computed_from():
    """Aliases are resolved, expressions name all their columns, a constant names none."""
    sql = 'SELECT f."a b" AS x, p.year - f."a b" AS age, 1 AS one FROM flights f LEFT JOIN planes p USING (tail);'
    rows = {row["name"]: row["comes from"] for row in trace(TABLES, sql)["columns"]}
    assert rows == {"x": "flights.a b", "age": "planes.year, flights.a b", "one": "no column"}


def test_rows_without_a_partner_are_counted_below_the_where():
    """Of the rows that the result has; a missing key finds no partner."""
    sql = 'SELECT f.tail FROM flights f LEFT JOIN planes p ON p.tail = f.tail WHERE f."a b" > 1 ORDER BY 1'
    assert trace(TABLES, sql)["joins"] == [
        {"name": "planes", "key": "tail", "key is unique": True, "rows with a partner": 1, "rows": 3}
    ]


@pytest.mark.parametrize(
    "sql",
    [
        "WITH p AS (SELECT * FROM planes) SELECT * FROM flights, p",
        "SELECT tail FROM flights UNION SELECT tail FROM planes",
        "SELECT * FROM (SELECT tail FROM flights)",
        "this is no SQL",
    ],
)
def test_what_cannot_be_followed_is_not_traced(sql: str):
    """No lineage rather than a wrong one."""
    assert trace(TABLES, sql) == {"columns": [], "joins": []}


def test_an_aggregate_has_columns_but_no_count_of_its_joins():
    """Rows that are grouped away have no partner to count."""
    found = trace(TABLES, "SELECT count(*) AS n FROM flights f JOIN planes p ON p.tail = f.tail GROUP BY f.tail")
    assert found["columns"] == [{"name": "n", "comes from": "no column"}]
