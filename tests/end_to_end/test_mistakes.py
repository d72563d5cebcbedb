"""Everything a stranger can get wrong, typed at the command line: one message, the right exit code, nothing left.

Each row is a file, an edit of the parameter file and what the message must name. `tdsp check` looks as far as
`tdsp run` does before its first stage, so most rows use it; a few mistakes can only be made while a run is running.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from tdsp.cli import app
from tdsp.core.project import STAGES
from tests.support.tiny import FINISH, write_project

GOOD = "age,city,when,churned\n" + "".join(
    f"{20 + i % 40},{'Rome' if i % 3 else 'Oslo'},2026-01-{1 + i % 28:02},{'yes' if i % 4 == 0 else 'no'}\n"
    for i in range(120)
)
FILE = "project: shop\nsources:\n  table: shop.csv\ntarget: churned\n"


@pytest.fixture
def tdsp(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Call the command in this process; return exit code, stdout and stderr."""
    monkeypatch.delenv("TDSP_DEBUG", raising=False)

    def command(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = app.call([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return command


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stranger's folder with a table and a parameter file that run."""
    (tmp_path / "parameters").mkdir()
    (tmp_path / "shop.csv").write_text(GOOD)
    (tmp_path / "parameters" / "shop.yaml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def assert_refused(result: tuple[int, str, str], *named: str) -> None:
    """Assert exit code 2 and one message that names the culprit, without a traceback."""
    code, out, err = result
    assert code == 2, (code, out, err)
    assert err.count("error: ") == 1
    assert "Traceback" not in err and 'File "' not in err
    for part in named:
        assert part in err, err


def nothing_is_left(root: Path) -> bool:
    """Whether neither a run nor half a file was written."""
    return not list(root.glob("outputs/runs/*")) and not list(root.rglob("*.part*"))


def test_the_good_file_passes(shop, tdsp):
    """The rows below fail for the reason they name, not for another one."""
    code, out, _ = tdsp("check", "parameters/shop.yaml")
    assert code == 0 and "120 rows" in out


@pytest.mark.parametrize(
    ("text", "named"),
    [
        pytest.param("tresold: 1\n", ["shop.yaml:5", "'tresold'", "Did you mean 'threshold'?"], id="misspelt"),
        pytest.param("zzz: 1\n", ["shop.yaml:5", "unknown parameter 'zzz'"], id="unknown"),
        pytest.param("cv_folds: many\n", ["shop.yaml:5", "'many' is no int"], id="wrong type"),
        pytest.param("target: age\n", ["shop.yaml:5", "target occurs twice, first in line 4"], id="doubled"),
        pytest.param("title: yes\n", ["shop.yaml:5", 'write "yes" with quotes'], id="ambiguous"),
        pytest.param("drop: [a\n", ["shop.yaml:", "YAML syntax"], id="syntax"),
        pytest.param("metric: r2\n", ["'r2' does not fit a binary task"], id="metric"),
        pytest.param("split: time\ntime_column: city\n", ["time column 'city' does not parse: 'Oslo'"], id="time"),
        pytest.param("sql: shop.sql\n", ["sql names 'shop.sql'", "does not exist"], id="no sql"),
        pytest.param("positive_class: maybe\n", ["no class 'maybe'"], id="class"),
        pytest.param("drop: [agee]\n", ["'agee'", "Did you mean 'age'?"], id="column"),
        pytest.param("time_column: wen\n", ["'wen'", "Did you mean 'when'?"], id="time column"),
    ],
)
def test_mistakes_in_a_parameter_file(shop, tdsp, text, named):
    """File and line, the value found, what to write."""
    file = shop / "parameters" / "shop.yaml"
    file.write_text(FILE + text)
    assert_refused(tdsp("check", file), *named)
    assert_refused(tdsp("run", file), *named)
    assert nothing_is_left(shop)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        pytest.param(b"", ["shop.csv", "empty"], id="empty"),
        pytest.param(b"age,city,churned\n", ["shop.csv"], id="header only"),
        pytest.param(b"churned\n" + b"yes\nno\n" * 20, ["shop.csv", "one column"], id="one column"),
        pytest.param(bytes(range(256)) * 40, ["shop.csv"], id="binary"),
        pytest.param(
            b"a,b,churned\n1,2,yes\n" * 1 + b"1,2,no\n" * 30 + b"1,2,3,no\n", ["shop.csv", "line 33"], id="ragged"
        ),
        pytest.param(GOOD.replace("yes", "no").encode(), ["'churned'", "'no' in every row"], id="constant target"),
        pytest.param(GOOD.replace(",yes", ",").replace(",no", ",").encode(), ["churned"], id="target missing"),
        pytest.param(GOOD.replace(",yes", ",maybe", 1).encode(), ["'maybe'"], id="single row"),
        pytest.param("näme,churned\n".encode() + b"\xff\xfe\x81\x8d,yes\n" * 30, ["shop.csv"], id="encoding"),
    ],
)
def test_mistakes_in_a_table(shop, tdsp, data, named):
    """The file, and the line where there is one."""
    (shop / "shop.csv").write_bytes(data)
    assert_refused(tdsp("check", "parameters/shop.yaml"), *named)
    assert nothing_is_left(shop)


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ('SELECT age,\n  citty, churned\nFROM "table"', ["shop.sql", "line 2"]),
        ('SELECT * FROM "table" WHERE age > 1000', ["shop.sql", "no row"]),
        ("SELECT 1 +", ["shop.sql"]),
    ],
    ids=["wrong column", "zero rows", "syntax"],
)
def test_mistakes_in_sql(shop, tdsp, sql, named):
    """The SQL file and its line."""
    (shop / "parameters" / "shop.sql").write_text(sql)
    (shop / "parameters" / "shop.yaml").write_text(FILE + "sql: shop.sql\n")
    assert_refused(tdsp("check", "parameters/shop.yaml"), *named)
    assert nothing_is_left(shop)


def test_a_target_that_is_not_there(shop, tdsp):
    """The closest column is offered, by check and by init."""
    (shop / "parameters" / "shop.yaml").write_text(FILE.replace("churned", "churn"))
    assert_refused(tdsp("check", "parameters/shop.yaml"), "'churn'", "Did you mean 'churned'?")
    assert_refused(tdsp("init", "shop.csv", "--target", "churn", "--name", "new"), "'churn'", "Did you mean 'churned'?")


def test_files_that_are_not_there_or_not_files(shop, tdsp):
    """A missing parameter file, a folder, a missing table, a Parquet file that is none."""
    assert_refused(tdsp("run", "parameters/shp.yaml"), "shp.yaml does not exist", "Did you mean 'shop'?")
    assert_refused(tdsp("run", "parameters"), "is a folder")
    (shop / "shop.csv").rename(shop / "shop.parquet")
    assert_refused(tdsp("check", "parameters/shop.yaml"), "shop.csv")
    (shop / "parameters" / "shop.yaml").write_text(FILE.replace(".csv", ".parquet"))
    assert_refused(tdsp("check", "parameters/shop.yaml"), "shop.parquet")
    assert nothing_is_left(shop)


def test_a_folder_that_may_not_be_written(shop):
    """Without the right to write, the message names the folder before anything runs."""
    (shop / "outputs").mkdir(mode=0o555)
    drop = ["setpriv", "--bounding-set", "-dac_override"] if os.geteuid() == 0 else []  # root writes anywhere else
    if drop and not shutil.which("setpriv"):
        pytest.skip("without setpriv root cannot give up its right to write everywhere")
    command = [*drop, sys.executable, "-m", "tdsp", "run", "parameters/shop.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert_refused((done.returncode, done.stdout, done.stderr), "outputs", "cannot be written", "--out")
    (shop / "outputs").chmod(0o755)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="only root can mount a small file system")
def test_a_full_disk(shop, tdsp):
    """ENOSPC for real, on a file system of 1 MiB."""
    small = shop / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=False, capture_output=True
    ).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        (small / "filler").write_bytes(b"x" * 15 * 2**16)
        code, _, err = tdsp("run", "parameters/shop.yaml", "--out", small)
        assert code == 2 and "free" in err and "Traceback" not in err
        assert not list(small.glob("runs/*/run.json"))
    finally:
        subprocess.run(["umount", small], check=True)


def test_strange_names_are_no_mistake(shop, tdsp):
    """Quotes, line breaks, HTML, emoji and right-to-left names are just names."""
    names = ['say "hi"', "two\nlines", "<script>alert(1)</script>", "🛫 gate", "اسم", "churned"]
    table = pd.DataFrame({name: range(60) for name in names}).assign(churned=["yes", "no"] * 30)
    table.to_csv(shop / "odd.csv", index=False)
    code, _, err = tdsp("init", "odd.csv", "--target", "churned")
    assert (code, err) == (0, ""), err
    assert tdsp("check", "parameters/odd.yaml")[0] == 0


@pytest.mark.end_to_end
def test_a_data_file_that_changes_between_stages(project, shop, tdsp):
    """Rows were added after stage 1 had read the table: the run fails in stage 2 and names the file."""
    (project / "parameters" / "shop.yaml").write_text(FILE)
    (project / "shop.csv").write_text(GOOD)
    first = project / "notebooks" / f"{STAGES[0]}.ipynb"
    notebook = nbformat.read(first, 4)
    notebook.cells.append(nbformat.v4.new_code_cell("with open('shop.csv', 'a') as f: f.write('1,Rome,2026-01-01,no')"))
    nbformat.write(notebook, first)
    code, _, err = tdsp("run", project / "parameters" / "shop.yaml")
    assert code == 1 and f"shop.csv changed after {STAGES[0]} had read it" in err
    assert f"error: {STAGES[1]}, cell " in err and "Traceback" not in err


@pytest.mark.end_to_end
def test_a_hand_over_file_that_changes_between_stages(tmp_path, tdsp, monkeypatch):
    """A file of stage 1 was edited before stage 2 read it: the run fails and names the file."""
    edit = "run.write_json('goal', {'limit': 1})\nrun.path('artifacts', 'goal.json').write_text('{}')"
    cells = {STAGES[0]: [edit, FINISH.format("")], STAGES[1]: ["run.read_json('goal')", FINISH.format("")]}
    file = write_project(tmp_path, cells)
    monkeypatch.chdir(tmp_path)
    code, _, err = tdsp("run", file)
    assert code == 1 and "artifacts/goal.json was changed after 1_business_understanding wrote it" in err
    assert "Traceback" not in err
