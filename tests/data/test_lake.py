"""A growing source is loaded once: no row lost, no row twice, no half file, whatever kills the load and when."""

import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tdsp.core.errors import DataError
from tdsp.core.files import sha256_file
from tdsp.data.ingest import Loading, load_table
from tdsp.data.lake import arrivals, ingest_source, register_folder, staging

ROOT = Path(__file__).parents[2]
URI = "sqlite:air.db?table=flights"
GROWING = Loading({}, {"flights": "seen"}, {})


@pytest.fixture
def air(tmp_path):
    """A project with a database whose table grows by `grow`."""
    with sqlite3.connect(tmp_path / "air.db") as base:
        base.execute("CREATE TABLE flights (seen INTEGER, id INTEGER, delay REAL)")
    grow(tmp_path, range(100))
    return tmp_path


def grow(folder, ids):
    """Add rows; three in a row are seen at the same time."""
    with sqlite3.connect(folder / "air.db", timeout=30) as base:
        base.executemany("INSERT INTO flights VALUES (?, ?, ?)", [(i // 3, i, i / 2) for i in ids])


def load(folder, loading=GROWING):
    return load_table({"flights": URI}, None, root=folder, lake=folder / "lake", loading=loading)


def ids_of(table):
    return sorted(pq.read_table(table.path)["id"].to_pylist())


def register(folder):
    return register_folder(folder / "lake", URI, "seen")


def test_only_newer_rows_are_fetched_and_a_second_load_adds_nothing(air):
    """Rows of the highest moment that came late are neither lost nor doubled."""
    assert load(air).new_rows == {"flights": 100}
    grow(air, range(100, 110))  # 100 and 101 share their moment with 99
    assert load(air).new_rows == {"flights": 10}
    again = load(air)
    assert (again.new_rows, again.reused, ids_of(again)) == ({"flights": 0}, True, list(range(110)))
    assert [(e["rows"], e["high"]) for e in arrivals(register(air))] == [(100, "33"), (10, "36")]
    assert [i["rows"] for i in again.inputs] == [110]


def test_equal_rows_are_counted(air):
    """Two rows that are equal in every value are two rows, also when the second one comes later."""
    load(air)
    grow(air, [99])
    assert load(air).new_rows == {"flights": 1} and load(air).new_rows == {"flights": 0}
    assert ids_of(load(air)) == [*range(99), 99, 99]


def test_files_that_grow_are_loaded_by_watermark_too(tmp_path):
    """A log by dates: only what is new is added, though the file is read whole."""
    log, options = tmp_path / "log.csv", {"root": tmp_path, "lake": tmp_path / "lake"}
    days = Loading({}, {"t": "day"}, {})
    log.write_text("day,n\n2013-01-01,1\n2013-01-02,2\n")
    load_table({"t": "log.csv"}, None, loading=days, **options)
    log.write_text("day,n\n2013-01-02,2\n2013-01-02,3\n2013-01-05,4\n")
    found = load_table({"t": "log.csv"}, None, loading=days, **options)
    assert found.new_rows == {"t": 2} and list(found.frame["n"]) == [1, 2, 3, 4]


def test_a_run_stays_with_the_height_it_has_begun_with(air):
    """Rows that came since are left for the next run."""
    first = load(air)
    grow(air, range(100, 110))
    load(air)
    pinned = Loading({}, {"flights": "seen"}, {"flights": first.inputs[0]["sha256"]})
    assert load(air, pinned).sha256 == first.sha256


def test_a_raw_file_of_an_earlier_load_that_was_changed_is_refused(tmp_path):
    """Its rows are not fetched again, so nobody else could say that they are others; the same number of bytes."""
    file = tmp_path / "t.csv"
    file.write_text("id,a\n1,x\n2,y\n")
    with staging(tmp_path / "lake") as scratch:
        options = {"root": tmp_path, "lake": tmp_path / "lake", "scratch": scratch, "watermark": "id"}
        (raw,) = ingest_source("t", "t.csv", **options).raws
        data = bytearray(raw.path.read_bytes())
        data[len(data) // 2] ^= 1
        raw.path.chmod(0o600)
        raw.path.write_bytes(data)
        file.write_text("id,a\n1,x\n2,y\n3,z\n")
        with pytest.raises(DataError, match="was changed: its rows came with an earlier load"):
            ingest_source("t", "t.csv", **options)
        raw.path.unlink()
        with pytest.raises(DataError, match="is gone: its rows came with an earlier load"):
            ingest_source("t", "t.csv", **options)


@pytest.mark.parametrize(
    ("column", "sql", "message"),
    [
        ("sene", "", "no column 'sene'. Did you mean 'seen'"),
        ("seen", "INSERT INTO flights VALUES (NULL, 1, 1)", "1 rows have no 'seen'"),
        ("seen", "ALTER TABLE flights ADD COLUMN gate TEXT", "columns are others than at the last load"),
    ],
)
def test_a_watermark_that_cannot_work_is_refused(air, column, sql, message):
    """No such column, gaps in it, or columns that changed: nothing is appended."""
    load(air)
    with sqlite3.connect(air / "air.db") as base:
        base.execute(sql)
    grown = Loading({}, {"flights": column}, {})
    if column == "seen":
        with sqlite3.connect(air / "air.db") as base:
            base.execute("UPDATE flights SET delay = 0 WHERE seen = 33")
    with pytest.raises(DataError, match=message):
        load(air, grown)
    assert len(arrivals(register(air))) == 1


def test_two_loads_at_once_add_each_row_once(air):
    """The register takes one entry of each number; who comes second looks again."""
    threads = [threading.Thread(target=load, args=(air,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ids_of(load(air)) == list(range(100)) and len(arrivals(register(air))) == 1


def require_whole(lake):
    """Every file under the name of its hash holds these bytes, and the register names only such files."""
    for path in (lake / "raw").glob("*"):
        assert path.name.startswith(sha256_file(path)), f"{path} is half a file"
    for entry in (e for folder in (lake / "register").glob("*") for e in arrivals(folder)):
        for file in entry["files"]:
            assert (lake / "raw" / file["path"]).stat().st_size == file["bytes"]
            assert pq.read_metadata(lake / "raw" / file["path"]).num_rows == entry["rows"]


CHILD = """
import sys
from pathlib import Path
from tdsp.data.ingest import Loading, load_table
folder = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
how = Loading({}, {"flights": "seen"}, {})
load_table({"flights": sys.argv[2]}, None, root=folder, lake=folder / "lake", loading=how)
"""


def start_load(folder):
    """A process that has imported everything and waits for a line."""
    command = [sys.executable, "-c", CHILD, str(folder), URI]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert child.stdout.readline() == "ready\n"
    return child


@pytest.mark.slow
def test_kill_9_at_twenty_moments_loses_and_doubles_nothing(air):
    """Each time rows are added, a load begins and is killed somewhere; one load in the end has every row once."""
    began = time.perf_counter()
    child = start_load(air)
    child.communicate("go\n", timeout=60)
    seconds, rows, draw, killed = time.perf_counter() - began, 100, random.Random(0), 0
    for moment in range(20):
        grow(air, range(rows, rows + 2_000))
        rows += 2_000
        with start_load(air) as child:
            child.stdin.write("go\n")
            child.stdin.flush()
            time.sleep((moment + draw.random()) / 20 * min(0.4 * seconds, 1.0))
            child.send_signal(signal.SIGKILL)
            killed += child.wait() == -signal.SIGKILL
        require_whole(air / "lake")
    assert killed >= 10  # the others had finished by then
    found = load(air)
    assert ids_of(found) == list(range(rows)) and load(air).new_rows == {"flights": 0}
    assert not list((air / "lake" / ".staging").iterdir())


def test_what_a_killed_process_left_goes_and_what_a_living_one_makes_stays(tmp_path):
    """The lock of a folder in the making dies with its process."""
    with staging(tmp_path) as mine:
        (mine / "half.parquet").write_text("half")
        dead = mine.parent / "dead"
        dead.mkdir()
        dead.with_suffix(".lock").write_text("")
        with staging(tmp_path):
            assert (mine / "half.parquet").exists() and not dead.exists()
    assert not list((tmp_path / ".staging").iterdir())


def test_a_source_that_cannot_be_reached_leaves_the_lake_as_it_was(air):
    """The rows that were loaded before stay, and the message names the source."""
    load(air)
    (air / "air.db").rename(air / "gone.db")
    with pytest.raises(DataError, match=r"source 'flights': there is no file .*air\.db"):
        load(air)
    with staging(air / "lake") as scratch, pytest.raises(DataError, match="there is no file"):
        ingest_source("flights", URI, root=air, lake=air / "lake", scratch=scratch, watermark="seen")
    assert len(arrivals(register(air))) == 1
