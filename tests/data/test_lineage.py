"""lineage: columns are traced to their sources, and joins that lose or double rows are counted."""

from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from tdsp.core.errors import DataError
from tdsp.data import lineage
from tdsp.data.ingest import transform

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


CHANGING = [
    "SELECT random() AS x FROM flights",
    "SELECT tail FROM flights WHERE year(now()) > 2020",
    "SELECT *, current_date AS today FROM flights",
    "SELECT *,\n CURRENT_TIMESTAMP FROM flights",
    "SELECT uuid(), gen_random_uuid() FROM flights",
    "SELECT tail FROM flights ORDER BY random() LIMIT 2",
    "WITH a AS (SELECT today() AS d) SELECT * FROM flights, a",
    "SELECT * FROM flights WHERE tail IN (SELECT tail FROM planes WHERE random() < 0.5)",
    "SELECT list_transform([1, 2], x -> x + random()) FROM flights",
    "SELECT ago(INTERVAL 3 DAY) FROM flights",
    "SELECT current_user FROM flights",
    "SELECT localtimestamp FROM flights",
    "SELECT * FROM flights TABLESAMPLE 50%",
    "SELECT * FROM flights USING SAMPLE 2 ROWS",
    "SELECT sum(random()) OVER () FROM flights",
    "SELECT CASE WHEN tail IS NULL THEN nextval('s') END FROM flights",
]


@pytest.mark.parametrize("sql", CHANGING)
def test_a_select_that_gives_other_rows_each_time_is_refused(sql: str):
    """Chance, the clock, the user: by DuckDB's own list of what is volatile."""
    with duckdb.connect() as connection:
        for name, table in TABLES.items():
            connection.register(name, table)
        with pytest.raises(DataError, match=r"^the SQL.*gives something else at each run"):
            lineage.require_repeatable(connection, sql, "the SQL")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT date_diff('day', DATE '2013-01-01', DATE '2026-01-31') AS days, tail FROM flights",
        "SELECT tail AS today FROM flights WHERE today > 'a'",
        'SELECT "random" FROM (SELECT tail AS random FROM flights)',
        "SELECT 'now() random()' AS text -- current_date\nFROM flights",
        "SELECT * FROM flights USING SAMPLE reservoir(2 ROWS) REPEATABLE (7)",
        "SELECT user FROM (SELECT tail AS user FROM flights)",
        "SELECT current_date FROM logs",
        "SELECT row_number() OVER (ORDER BY tail), median(year) OVER () FROM planes",
    ],
)
def test_a_select_that_only_looks_like_it_is_taken(sql: str):
    """Names of columns, texts and comments; a sample with a seed."""
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE logs (current_date VARCHAR)")
        for name, table in TABLES.items():
            connection.register(name, table)
        lineage.require_repeatable(connection, sql, "the SQL")


def test_the_line_of_what_changes_is_named(tmp_path: Path):
    """As in every message about the SQL."""
    with pytest.raises(DataError, match=r"the SQL, line 3: random\(\)"):
        transform({}, "SELECT 1 AS a,\n  2 AS b,\n  random() AS c", tmp_path / "t.parquet")
