"""Forty files made to break a reader: each is read as it is meant, or refused in one clear message."""

import gzip
import io
import os
import socket
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tdsp.core.errors import DataError, ParameterError
from tdsp.core.record import read_runs
from tdsp.core.yaml import read_yaml
from tdsp.data.ingest import load_source, load_table
from tdsp.serving.batch import require_file

ROOT = Path(__file__).parents[2]


def zip_of(**files):
    """The bytes of a zip archive with these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def lying_zip():
    """A zip whose directory says that its member has one byte."""
    data = bytearray(zip_of(**{"a.csv": b"a,b\n" + b"1,2\n" * 1000}))
    where = data.rfind(b"PK\x01\x02")
    data[where + 24 : where + 28] = (1).to_bytes(4, "little")
    return bytes(data)


def parquet_of(**columns):
    """The bytes of a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


CSV = b"a,b\n1,x\n2,y\n"
INJECTION = "Robert'); DROP TABLE students;--"

READ = {  # file: bytes, and what the columns hold
    "sql in a name.csv": (f'"{INJECTION}",b\n1,x\n2,y\n'.encode(), {INJECTION: [1, 2], "b": ["x", "y"]}),
    "quotes in a name.csv": (b'"a""b\'c",b\n1,x\n2,y\n', {"a\"b'c": [1, 2], "b": ["x", "y"]}),
    "script in a value.csv": (b"a,b\n1,<script>\n2,&lt;\n", {"a": [1, 2], "b": ["<script>", "&lt;"]}),
    "emoji.csv": ("🛫,🛬\n1,👩‍✈️\n2,y\n".encode(), {"🛫": [1, 2], "🛬": ["👩‍✈️", "y"]}),
    "right to left.csv": ("مدينة,b\n1,ישראל\n2,y\n".encode(), {"مدينة": [1, 2], "b": ["ישראל", "y"]}),
    "bidi override.csv": ("a\u202eb,b\n1,x\n2,y\n".encode(), {"a\u202eb": [1, 2], "b": ["x", "y"]}),
    "formulas.csv": (b"a,b\n1,=cmd()\n2,@SUM(1)\n", {"a": [1, 2], "b": ["=cmd()", "@SUM(1)"]}),
    "utf8 mark.csv": (b"\xef\xbb\xbf" + CSV, {"a": [1, 2], "b": ["x", "y"]}),
    "utf16.csv": (CSV.decode().encode("utf-16"), {"a": [1, 2], "b": ["x", "y"]}),
    "mark in json.json": (b'\xef\xbb\xbf[{"a": 1}, {"a": 2}]', {"a": [1, 2]}),
    "infinities.csv": (b"a,b\n1.5,x\ninf,y\n-inf,z\n", {"a": [1.5, None, None], "b": ["x", "y", "z"]}),
    "infinities.parquet": (parquet_of(a=[1.5, float("-inf")], b=[1, 2]), {"a": [1.5, None], "b": [1, 2]}),
    "infinities.json": (b'[{"a": NaN, "b": 1.5}, {"a": 2, "b": -Infinity}]', {"a": [None, 2], "b": [1.5, None]}),
    "huge numbers.csv": (b"a,b\n1e308,1\n1e999,2\n", {"a": [1e308, None], "b": [1, 2]}),
    "huge whole numbers.json": (
        b'[{"a": 123456789012345678901234567890}, {"a": 1.5}]',
        {"a": [1.2345678901234568e29, 1.5]},
    ),
    "year 9999.csv": (b"a,b\n1,9999-12-31\n2,0001-01-01\n", None),
    "doubled names.csv": (b"a,b,a\n1,2,3\n", {"a": [1], "b": [2], "a_2": [3]}),
    "partly nested.parquet": (parquet_of(a=[[1], [2]], b=[1, 2]), {"b": [1, 2]}),
    "partly nested.json": (b'[{"a": {"b": 1}, "b": 1}, {"b": 2}]', {"b": [1, 2]}),
    "old mac lines.csv": (b"a,b\r1,x\r2,y\r", {"a": [1, 2], "b": ["x", "y"]}),
    "path in a zip.zip": (zip_of(**{"../../../../tmp/evil.csv": CSV}), {"a": [1, 2], "b": ["x", "y"]}),
    "wrong name.csv": (gzip.compress(CSV), {"a": [1, 2], "b": ["x", "y"]}),
    "empty values.jsonl": (b'{"a": 1}\n\n{"b": "x"}\n', {"a": [1, None], "b": [None, "x"]}),
    "ten thousand columns.csv": (
        (",".join(f"c{i}" for i in range(10_000)) + "\n" + (",".join("7" * 10_000) + "\n") * 3).encode(),
        {f"c{i}": [7, 7, 7] for i in range(10_000)},
    ),
}

REFUSED = {  # file: bytes, and what the message says
    "doubled names.json": (b'[{"a": 1, "a": 2}]', "a name occurs twice"),
    "nul bytes.csv": (b"a,b\n1,\x00\n", "line 2: a NUL byte"),
    "nul flood.csv": (b"\x00" * 5000, "binary data"),
    "program.csv": (b"\x7fELF" + bytes(range(1, 32)) * 50, "binary data"),
    "half utf16.csv": ("a,b\n1,2\n".encode("utf-16")[:-1], "damaged utf-16"),
    "open quote.csv": (b'a,b\n1,"x\n2,y\n', "line 2: a quote is opened and never closed"),
    "ragged.csv": (b"a,b\n1,2\n3,4,5\n", "line 3: 3 fields"),
    "header only.csv": (b"a,b\n", "a header and no rows"),
    "many members.zip": (zip_of(**{"a.csv": CSV, "b.csv": CSV}), "holds 2 files"),
    "lying.zip": (lying_zip(), "damaged or cut off|Overlapped|a.csv"),
    "program in a zip.zip": (zip_of(**{"run.exe": b"MZ"}), r"suffix '\.exe' is not known"),
    "cut.csv.gz": (gzip.compress(CSV * 999)[:-20], "damaged or cut off"),
    "cut.csv.zst": (pa.compress(CSV * 999, "zstd", asbytes=True)[:-20], "damaged or cut off"),
    "flipped.csv.gz": (gzip.compress(CSV)[:-8] + b"\0" * 8, "damaged or cut off"),
    "deep.json": (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    "digits.json": (b'[{"a": ' + b"9" * 10_000 + b"}]", "no JSON table"),
    "nested.json": (b'[{"a": {"b": 1}}]', "'a' holds nested values"),
    "half.jsonl": (b'{"a": 1}\n{"a": ', "line 2 is no JSON table"),
    "list.json": (b"[1, 2]", "holds other things than objects"),
    "cut.parquet": (parquet_of(a=[1], b=[2])[:-9], "no Parquet file, or damaged"),
    "no.feather": (b"ARROW1" + b"\0" * 99, "no Feather file, or damaged"),
    "no.xlsx": (zip_of(x=b"y"), "no spreadsheet that can be read"),
    "nested.parquet": (parquet_of(a=[[1], [2]]), "column 'a' is of type list"),
}

assert len(READ) + len(REFUSED) >= 40


def load(folder, name, data):
    (folder / name).write_bytes(data)
    return load_source("t", name, root=folder, lake=folder / "lake")


@pytest.mark.parametrize("name", READ)
def test_strange_tables_are_read_as_they_are(tmp_path, name):
    """Names and values are data: kept letter by letter, neither run nor cleaned."""
    data, expected = READ[name]
    found = load(tmp_path, name, data).table
    if expected is None:  # dates beyond pandas' nanoseconds
        assert [value.year for value in found["b"].to_pylist()] == [9999, 1]
    else:
        assert found.to_pydict() == expected
    assert not (Path("/tmp") / "evil.csv").exists() and {p.name for p in tmp_path.iterdir()} == {name, "lake"}


@pytest.mark.parametrize("name", REFUSED)
def test_broken_tables_are_refused_by_name(tmp_path, name):
    """One message that names the file; nothing typed is left behind."""
    data, message = REFUSED[name]
    with pytest.raises(DataError, match=message) as output:
        load(tmp_path, name, data)
    assert "\n" not in str(output.value) and "Traceback" not in str(output.value)
    assert not list((tmp_path / "lake" / "typed").glob("*.parquet"))


@pytest.mark.parametrize("name", [INJECTION, 'a"b', "🛫", "select"])
def test_hostile_names_pass_through_sql_and_the_watermark(tmp_path, name):
    """As a source, as a column and as the column that grows."""
    from tdsp.data.ingest import Loading

    escaped = name.replace('"', '""')
    (tmp_path / "t.csv").write_text(f'"{escaped}",b\n1,x\n2,y\n')
    (tmp_path / "q.sql").write_text(f'SELECT "{escaped}", b FROM "{escaped}"')
    how = {"root": tmp_path, "lake": tmp_path / "lake", "loading": Loading({}, {name: name}, {})}
    found = load_table({name: "t.csv"}, tmp_path / "q.sql", **how)
    assert found.columns == (name, "b") and found.new_rows == {name: 2}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a, b FROM read_csv('/etc/passwd')",
        "SELECT a, b FROM t, glob('/etc/*')",
        "SELECT a, content FROM t, read_text('/etc/hostname')",
        "SELECT a, getenv('HOME') FROM t",
        "COPY t TO '/tmp/tdsp-evil.csv'",
        "ATTACH '/tmp/tdsp-evil.db'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "SELECT a, b FROM t; DROP VIEW t",
        "SELECT a FROM (SELECT 1 AS a) x) UNION SELECT * FROM read_csv('/etc/passwd') --",
    ],
)
def test_sql_reaches_nothing_but_its_sources(tmp_path, sql):
    """Neither files of this machine nor its environment, settings or extensions."""
    (tmp_path / "t.csv").write_bytes(CSV)
    (tmp_path / "q.sql").write_text(sql)
    with pytest.raises(DataError, match=r"q\.sql"):
        load_table({"t": "t.csv"}, tmp_path / "q.sql", root=tmp_path, lake=tmp_path / "lake")
    assert not list(Path("/tmp").glob("tdsp-evil*"))


BOUNDED = """
import resource, sys
from pathlib import Path
from tdsp.data import readers
from tdsp.core.errors import DataError, ParameterError
from tdsp.core.record import read_runs
from tdsp.core.yaml import read_yaml
from tdsp.data.ingest import load_source
load_source("t", "small.csv", root=Path(sys.argv[1]))
readers.MAX_UNPACKED_BYTES = 1 << 30
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    load_source("t", sys.argv[2], root=Path(sys.argv[1]))
except DataError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def squeezed(*parts: tuple[bytes, int]) -> bytes:
    """Each block so many times, as gzip, without ever holding it."""
    packer = zlib.compressobj(1, wbits=31)
    packed = [packer.compress(block) for block, times in parts for _ in range(times)]
    return b"".join([*packed, packer.flush()])


MIB = b"x" * (1 << 20)
BOMBS = {
    "bomb.csv.gz": lambda: squeezed((b"a,b\n1,", 1), (MIB, 512)),
    "bomb.csv.zip": lambda: zip_of(**{"bomb.csv": b"a,b\n1," + MIB * 256}),
    "quoted.csv.gz": lambda: squeezed((b'a,b\n1,"', 1), (MIB[:-1] + b"\n", 48), (b'"\n2,x\n', 1)),
    "bomb.xlsx": lambda: zip_of(**{"[Content_Types].xml": b"", "xl/workbook.xml": b" " * (300 << 20)}),
}


@pytest.mark.parametrize("name", [*BOMBS, "cell.csv"])
def test_bombs_and_endless_cells_are_refused_in_little_memory(tmp_path, name):
    """Half a gigabyte in a few megabytes, and one cell of a whole one: refused before they are held."""
    (tmp_path / "small.csv").write_bytes(CSV)
    with (tmp_path / name).open("wb") as file:
        if name in BOMBS:
            file.write(BOMBS[name]())
        else:
            file.write(b'a,b\n1,"')
            for _ in range(1024):
                file.write(MIB)
            file.write(b'"\n')
    command = [sys.executable, "-c", BOUNDED, str(tmp_path), name]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    output, grown = done.stdout.splitlines()
    assert "a row is longer than 16 MiB" in output or "unpacks to more than" in output
    assert int(grown) < 600, f"{grown} MiB more memory"


@pytest.mark.parametrize(
    "name",
    ["it's", "100 % of #2", "[new] {a,b}", "a=b", "*?", "ü 🛫", 'a"b', "$HOME ${PATH} ~", "-x; rm", "a\\b", "x&y"],
)
def test_a_project_may_lie_in_a_folder_of_any_name(tmp_path, name):
    """Sources, SQL, joins, watermark and lake; DuckDB takes some of these signs for patterns, others for columns."""
    from tdsp.data.ingest import Loading

    root = tmp_path / name / "in it"
    root.mkdir(parents=True)
    (root / "t.csv").write_bytes(CSV)
    (root / "u.csv").write_bytes(b"a,c\n1,9\n2,8\n")
    (root / "q.sql").write_text("SELECT t.a, t.b, u.c FROM t JOIN u USING (a)")
    how = {"root": root, "lake": root / "outputs/lake", "loading": Loading({}, {"t": "a"}, {})}
    for rows in (2, 0):
        found = load_table({"t": "t.csv", "u": "u.csv"}, root / "q.sql", **how)
        assert found.columns == ("a", "b", "c") and found.new_rows == {"t": rows} and found.rows == 2
    (root / "t.csv").write_bytes(CSV + b"3,z\n")
    assert load_table({"t": "t.csv"}, None, **how).new_rows == {"t": 1}


@pytest.mark.parametrize("kind", ["fifo", "socket", "device", "link to a fifo"])
def test_what_is_no_file_is_refused_at_once(tmp_path, kind):
    """A pipe that nobody writes to would be waited for; as a source, SQL, parameters, record and table to predict."""
    place = tmp_path / "t.csv"
    if kind == "socket":
        opened = socket.socket(socket.AF_UNIX)
        opened.bind(str(place))
    elif kind == "device":
        place.symlink_to("/dev/zero")
    else:
        os.mkfifo(tmp_path / "pipe" if "link" in kind else place)
        if "link" in kind:
            place.symlink_to(tmp_path / "pipe")
    for action in (
        lambda: load_source("t", "t.csv", root=tmp_path),
        lambda: load_source("t", f"file://{place}", root=tmp_path),
        lambda: load_table({"t": "u.csv"}, place, root=tmp_path, lake=tmp_path / "lake"),
        lambda: read_yaml(place),
        lambda: require_file(place),
    ):
        with pytest.raises((DataError, ParameterError), match="it is a pipe, a socket or a device"):
            action()
    (tmp_path / "outputs/runs/a").mkdir(parents=True)
    place.rename(tmp_path / "outputs/runs/a/run.json")
    assert read_runs(tmp_path / "outputs")[0] == []


def test_a_folder_with_a_pipe_in_it_is_read_without_it(tmp_path):
    """Only files are tables."""
    (tmp_path / "many").mkdir()
    (tmp_path / "many/a.csv").write_bytes(CSV)
    os.mkfifo(tmp_path / "many/b.csv")
    for uri in ("many", "many/*.csv"):
        assert load_source("t", uri, root=tmp_path).table.num_rows == 2


def test_a_yaml_bomb_is_refused_in_time(tmp_path):
    """Nine aliases of nine aliases of …: a hundred million texts in a kilobyte."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    for aliases in (True, False):
        with pytest.raises(ParameterError, match=r"alias|write the text out"):
            read_yaml(tmp_path / "bomb.yaml", aliases=aliases)
