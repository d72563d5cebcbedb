"""A contract is written from data, read strictly, and held against every load."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tdsp.config.contract import Contract, Rules, contract_yaml, read_contract
from tdsp.core.errors import DataError, ParameterError
from tdsp.data.validation import BreachCode, check_contract, infer_contract, require_contract

NOW = datetime(2013, 11, 1, tzinfo=UTC)


def flights(n=1000, seed=0):
    """Rows of every kind of column, with gaps in one."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame({
        "id": np.arange(n), "wind": np.where(rng.random(n) < 0.1, np.nan, rng.gamma(2, 5, n)),
        "seats": rng.integers(50, 300, n), "carrier": rng.choice(["UA", "AA", "B6"], n),
        "paid": rng.random(n) < 0.5, "when": pd.date_range("2013-01-01", periods=n, freq="h"),
        "late": rng.choice(["no", "yes"], n),
    })  # fmt: skip


def rules_of(**columns):
    """A contract from keyword arguments."""
    return Contract(columns={name: Rules(**rules) for name, rules in columns.items()})


def breaches(data, contract):
    """Rows that break each rule, by column and expectation."""
    return {(b.column, b.expected): b.rows for b in check_contract(data, contract, now=NOW)}


def test_a_table_keeps_the_contract_that_was_written_from_it(tmp_path):
    """Whatever the kind of its columns, after a round trip through the file."""
    file = tmp_path / "f.contract.yaml"
    file.write_text(contract_yaml(infer_contract(flights(), target="late"), "f"), encoding="utf-8")
    contract = read_contract(file)
    assert check_contract(flights(), contract, now=NOW) == [] == check_contract(flights(seed=1), contract, now=NOW)
    assert (
        contract.columns["id"].unique
        and contract.columns["late"].closed_levels
        and contract.columns["seats"].max_null_share == 0
    )
    assert 0.1 < contract.columns["wind"].max_null_share < 0.3 and contract.columns["carrier"].levels == (
        "AA",
        "B6",
        "UA",
    )


@pytest.mark.parametrize("name", ['a "b"', "c'; DROP TABLE t; --", "🛫 wind", "yes", "1.0", "x: y", "row", "c0"])
def test_any_column_name_and_level_survives_the_file(tmp_path, name):
    """Names and levels are data, in YAML and in SQL."""
    frame = pd.DataFrame({name: [name, "no", "~", "1.0", ""] * 30, name.upper() + "2": range(150)})
    contract = infer_contract(frame)
    (tmp_path / "f.contract.yaml").write_text(contract_yaml(contract, name), encoding="utf-8")
    assert read_contract(tmp_path / "f.contract.yaml") == contract
    closed = rules_of(**{name: {"type": "text", "levels": ["no", "~", "1.0", ""], "closed_levels": True}})
    assert sum(breaches(frame, closed).values()) == (0 if name in ("1.0", "no") else 30)


def test_every_failing_column_is_listed_with_counts_and_at_most_ten_rows(tmp_path):
    """Missing, mistyped, out of range, too many gaps, unknown levels, repeated, stale: one record each."""
    frame = flights().assign(seats="many", late=["maybe", "no"] * 500, id=[7] * 20 + list(range(20, 1000)))
    frame = frame.drop(columns="paid").assign(wind=frame["wind"].where(frame["wind"] < 10))
    contract = infer_contract(flights(), target="late")
    stale = contract.columns | {
        "when": Rules(type="date", max_age_days=30),
        "carrier": Rules(type="text", max_null_share=0),
    }
    found = {b.column: b for b in check_contract(frame, contract.model_copy(update={"columns": stale}), now=NOW)}
    assert set(found) == {"paid", "seats", "late", "id", "wind", "when"}
    assert found["late"].rows == 500 and len(found["late"].examples) == 10 and found["late"].examples[0] == (0, "maybe")
    assert found["id"].rows == 20 and found["seats"].found == "text" and "paid" in found["paid"].words
    with pytest.raises(DataError, match=r"in 6 places; nothing was trained:\n  paid: expected this column"):
        require_contract(frame, contract.model_copy(update={"columns": stale}), now=NOW, where="f.contract.yaml")


def test_a_file_and_a_frame_break_alike(tmp_path):
    """Parquet is read in place, also from a folder whose name looks like a pattern."""
    folder = tmp_path / "run [1]"
    folder.mkdir()
    frame = flights().assign(wind=lambda d: d["wind"] * 9)
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), folder / "t.parquet")
    contract = infer_contract(flights())
    assert breaches(folder / "t.parquet", contract) == breaches(frame, contract) != {}


def test_whole_numbers_with_gaps_are_still_whole():
    """pandas reads them as floats; a half is a break."""
    contract = rules_of(n={"type": "whole number"})
    assert breaches(pd.DataFrame({"n": [1.0, None, 3.0]}), contract) == {}
    assert breaches(pd.DataFrame({"n": [1.0, None, 3.5]}), contract) == {("n", "a whole number"): 1}


def test_a_request_is_held_to_its_own_columns():
    """Without the target, and with columns nobody asked for, a row of a request keeps the contract."""
    contract = infer_contract(flights(), target="late").only(["wind", "carrier", "id"])
    row = pd.DataFrame({"wind": [3.0], "carrier": ["XX"], "id": [5], "more": [1]})
    assert check_contract(row, contract, now=NOW) == []
    strict = contract.model_copy(update={"other_columns": "forbidden"})
    assert breaches(row, strict) == {("", "no other columns"): 1}


def test_counts_are_those_of_pandas_in_a_hundred_thousand_rows():
    """Every rule is broken, and each count is what pandas counts cell by cell."""
    rng = np.random.default_rng(3)
    n = 100_000
    frame = flights(n, seed=3).assign(
        wind=lambda d: d["wind"].where(rng.random(n) > 0.2), id=rng.integers(0, 3 * n, n),
        seats=rng.choice([1.5, 100.0, 900.0], n), carrier=rng.choice(["UA", "zz", None], n),
    )  # fmt: skip
    contract = rules_of(
        wind={"type": "number", "max_null_share": 0.1, "min": "2", "max": "20"},
        id={"type": "whole number", "unique": True},
        seats={"type": "whole number", "max": "300"},
        when={"type": "date", "max": "2020-01-01", "max_age_days": 1},
        carrier={"type": "text", "levels": ["UA"], "closed_levels": True},
        late={"type": "text", "levels": ["no", "yes"]},
    )  # fmt: skip
    bad = {
        ("wind", BreachCode.MINIMUM): frame["wind"] < 2, ("wind", BreachCode.MAXIMUM): frame["wind"] > 20,
        ("wind", BreachCode.NULLS): frame["wind"].isna(), ("seats", BreachCode.MAXIMUM): frame["seats"] > 300,
        ("seats", BreachCode.WHOLE): frame["seats"] % 1 != 0,
        ("when", BreachCode.MAXIMUM): frame["when"] > "2020-01-01",
        ("carrier", BreachCode.LEVELS): frame["carrier"] == "zz",
        ("id", BreachCode.UNIQUE): frame["id"].duplicated(keep=False),
    }  # fmt: skip
    found = {(b.column, b.code): b.rows for b in check_contract(frame, contract, now=NOW)}
    assert found == {key: int(rows.sum()) for key, rows in bad.items()}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("columns: {a: {type: nmber}}", r"f.contract.yaml:1: columns.a.type: Input should be 'true/false'"),
        (
            "columns:\n  a: {type: number, max_nul_share: 0}",
            r":2: columns.a.max_nul_share is no rule. Did you mean 'max_null_share'",
        ),
        ("columns:\n  a: {type: number}\n  a: {type: text}", r":3: 'a' occurs twice"),
        ("columns:\n  a: {type: number, min: low}", r":2: 'low' is no number"),
        ("columns:\n  a: {type: text, closed_levels: true}", "closed_levels, and no level is listed"),
        ("columns:\n  a: {type: text, max: 3}", "a column of text has no range"),
        ("columns:\n  a: {type: date, min: 2013-13-01}", "'2013-13-01' is no date"),
        ("columns: {a: [", "YAML syntax"),
        ("rows: many", "rows: Input should be a valid integer"),
        ("", "columns: Field required"),
    ],
)  # fmt: skip
def test_a_faulty_contract_is_refused_with_its_line(tmp_path, text, message):
    """Each message says where, what was found and what would be right."""
    (tmp_path / "f.contract.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ParameterError, match=message):
        read_contract(tmp_path / "f.contract.yaml")


def test_without_a_file_there_is_no_contract(tmp_path):
    """A project may go without one."""
    assert read_contract(tmp_path / "none.contract.yaml") is None


def test_rules_under_their_names_of_before_are_read_with_a_warning(tmp_path):
    """A contract that was written by the version before keeps its meaning."""
    file = tmp_path / "f.contract.yaml"
    file.write_text(
        "columns:\n  a: {type: text, nulls: 0.1, levels: [x], closed: true}\n  d: {type: date, fresh_days: 3}\n"
    )
    with pytest.warns(
        FutureWarning, match="nulls is now max_null_share, closed is now closed_levels, fresh_days is now"
    ):
        columns = read_contract(file).columns
    assert columns["a"] == Rules(type="text", max_null_share=0.1, levels=("x",), closed_levels=True)
    assert columns["d"].max_age_days == 3


def test_only_ids_are_drafted_as_unique():
    """Measures may be all different by chance; a count, a name of an id and codes may not repeat."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({
        "income": rng.permutation(10_000)[:300], "row": np.arange(300), "customer_id": rng.permutation(10_000)[:300],
        "device": [f"D{i:04d}" for i in range(300)], "height": [f"{i} cm" for i in range(300)],
        "note": [f"call number {i} went well" for i in range(300)],
    })  # fmt: skip
    rules = infer_contract(frame).columns
    assert [name for name, rule in rules.items() if rule.unique] == ["row", "customer_id", "device"]
