"""Workbooks, JSON, Parquet and zips as people have them: each kind is made here, and read as it is meant."""

import io
import json
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tdsp.core.errors import DataError
from tdsp.data.cell_types import ReadOptions
from tdsp.data.ingest import load_source, to_frame
from tdsp.data.remarks import RemarkCode

NAMES = ["branch", "age", "left"]
ROWS = [[f"B{i // 4}", float(20 + i), "no" if i % 3 else "yes"] for i in range(12)]
OFFICE = "http://schemas.openxmlformats.org"


def workbook(merged=(), **sheets):
    """A workbook with these sheets, each a list of rows; ranges such as A2:A5 are merged in the last."""

    def cell(value):
        text = str(value).replace("\n", "&#10;")
        return (
            f"<c><v>{value!r}</v></c>" if isinstance(value, float) else f'<c t="inlineStr"><is><t>{text}</t></is></c>'
        )

    def sheet(rows, ranges):
        body = "".join(f"<row>{''.join('<c/>' if v == '' else cell(v) for v in row)}</row>" for row in rows)
        spans = "".join(f'<mergeCell ref="{span}"/>' for span in ranges)
        spans = f"<mergeCells>{spans}</mergeCells>" if spans else ""
        return f'<worksheet xmlns="{OFFICE}/spreadsheetml/2006/main"><sheetData>{body}</sheetData>{spans}</worksheet>'

    names = list(sheets)
    listed = "".join(f'<sheet name="{n}" sheetId="{i + 1}" r:id="r{i + 1}"/>' for i, n in enumerate(names))
    relations = f"{OFFICE}/officeDocument/2006/relationships"
    package = f"{OFFICE}/package/2006"
    targets = "".join(
        f'<Relationship Id="r{i + 1}" Type="{relations}/worksheet" Target="worksheets/s{i + 1}.xml"/>'
        for i in range(len(names))
    )
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"/>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{relations}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{OFFICE}/spreadsheetml/2006/main" xmlns:r="{relations}"><sheets>{listed}'
        "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">{targets}</Relationships>',
    }
    for i, name in enumerate(names):
        parts[f"xl/worksheets/s{i + 1}.xml"] = sheet(sheets[name], merged if i == len(names) - 1 else ())
    return zip_of(parts)


def zip_of(parts):
    """The bytes of a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def read(folder, name, data, *, target="", part=""):
    """The frame, and the codes of its remarks."""
    (folder / name).write_bytes(data)
    source = load_source("t", name + part, root=folder, reading=ReadOptions(target=target))
    return to_frame(source.table), {remark.code for remark in source.remarks}


def test_merged_cells_are_filled_below_the_names(tmp_path):
    """A branch that is written once for four rows belongs to each."""
    rows = [[b if i % 4 == 0 else "", a, c] for i, (b, a, c) in enumerate(ROWS)]
    frame, codes = read(tmp_path, "b.xlsx", workbook(["A2:A5", "A6:A9", "A10:A13"], May=[NAMES, *rows]))
    assert list(frame["branch"]) == [row[0] for row in ROWS] and RemarkCode.MERGED_CELLS in codes


def test_titles_totals_and_line_breaks_of_a_sheet(tmp_path):
    """A title above, a break inside a name, a total below."""
    total = ["Total", sum(row[1] for row in ROWS), ""]
    grid = [["Billing export", "", ""], ["", "", ""], ["branch", "age\n(years)", "left"], *ROWS, total]
    frame, codes = read(tmp_path, "b.xlsx", workbook(May=grid))
    assert list(frame) == ["branch", "age (years)", "left"] and len(frame) == 12
    assert {RemarkCode.ROWS_ABOVE, RemarkCode.TOTAL} <= codes


@pytest.mark.parametrize("target", ["left", ""])
def test_the_sheet_with_the_data_is_taken(tmp_path, target):
    """A cover and a pivot come first; another sheet can be named."""
    cover = [["Customers"], ["made by the billing team"]]
    pivot = [["Row Labels", "Sum of age"], ["B0", 7.0], ["B1", 9.0]]
    data = workbook(Cover=cover, Pivot=pivot, Data=[NAMES, *ROWS])
    assert list(read(tmp_path, "b.xlsx", data, target=target)[0]) == NAMES
    assert list(read(tmp_path, "b.xlsx", data, part="#Pivot")[0]) == ["Row Labels", "Sum of age"]


@pytest.mark.parametrize(("start", "kind"), [(2**53 + 1, "int64"), (2**62 + 1, "int64"), (2**63 + 1, "str")])
def test_large_whole_numbers_of_json_stay_apart(tmp_path, start, kind):
    """Whole, with gaps, and beyond 64 bits as text."""
    rows = [{"id": start + i, "gap": start + i if i else None, "y": i % 2} for i in range(30)]
    frame, _ = read(tmp_path, "t.json", json.dumps(rows).encode())
    assert frame["id"].nunique() == 30 and frame["gap"].nunique() == 29 and str(frame["id"].dtype) == kind
    assert [int(value) for value in frame["id"]] == [row["id"] for row in rows]


def test_nested_columns_are_left_out_and_durations_are_seconds(tmp_path):
    """In JSON and in Parquet, names without their blanks."""
    rows = [{"age": i, "address": {"city": "Y"}, "tags": [1]} for i in range(5)]
    frame, codes = read(tmp_path, "t.json", json.dumps(rows).encode())
    assert list(frame) == ["age"] and RemarkCode.NESTED in codes
    wait = pa.array([pd.Timedelta(minutes=i, milliseconds=500) for i in range(3)])
    pq.write_table(pa.table({" age ": [1, 2, 3], "wait": wait, "tags": [[1], [2], [3]]}), tmp_path / "p.parquet")
    frame, codes = read(tmp_path, "p.parquet", (tmp_path / "p.parquet").read_bytes())
    assert frame.to_dict("list") == {"age": [1, 2, 3], "wait": [0.5, 60.5, 120.5]}
    assert {RemarkCode.NESTED, RemarkCode.DURATION} <= codes


def test_files_with_another_order_of_columns_are_aligned(tmp_path):
    """By name, with a remark; other columns are refused."""
    (tmp_path / "m1.csv").write_text("a,b\n1,x\n2,y\n")
    (tmp_path / "m2.csv").write_text("b,a\nz,3\n")
    source = load_source("t", "m*.csv", root=tmp_path)
    assert source.table.to_pydict() == {"a": [1, 2, 3], "b": ["x", "y", "z"]}
    assert RemarkCode.REORDERED in {remark.code for remark in source.remarks}


def test_a_file_of_a_zip_can_be_named(tmp_path):
    """The message shows how."""
    data = zip_of({"a.csv": "x,y\n1,2\n3,4\n", "b.csv": "x,z\n5,6\n7,8\n"})
    assert list(read(tmp_path, "t.zip", data, part="#b.csv")[0]) == ["x", "z"]
    with pytest.raises(DataError, match=r"holds 2 files: 'a\.csv', 'b\.csv'\. Name one of them: t\.zip#a\.csv"):
        load_source("t", "t.zip", root=tmp_path)


def test_an_old_workbook_is_read_below_its_titles():
    """BIFF 8: a cover sheet, a merged title, merged cells, line breaks in names, dates, an empty cell."""
    source = load_source("audit", "school_audit.xls", root=Path(__file__).parents[1] / "support")
    frame, codes = to_frame(source.table), {remark.code for remark in source.remarks}
    assert list(frame) == ["School name", "Floor area (m2)", "Built in", "Audited on", "Heat use kWh", "Rating"]
    assert len(frame) == 30 and frame["School name"].value_counts().tolist() == [3] * 10
    assert frame["Audited on"].iloc[[0, 29]].astype(str).tolist() == ["2009-01-01", "2009-10-03"]
    assert frame["Rating"].isna().sum() == 1 and frame["Floor area (m2)"].dtype == "int64"
    assert {RemarkCode.SHEET, RemarkCode.ROWS_ABOVE, RemarkCode.MERGED_CELLS} <= codes
    with pytest.raises(DataError, match="Nothing"):
        load_source("audit", "school_audit.xls#Nothing", root=Path(__file__).parents[1] / "support")
