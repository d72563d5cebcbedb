"""`tdsp monitor` as its user calls it: notebook, page, monitor.json and exit code."""

import json
import shlex
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tdsp.cli.app import call
from tdsp.runner import alerts
from tests.support.stations import SCHEMA, hours, write_model

LATER = {"first": "2026-05-04", "seed": 5}
RUN = "stations-20260601T000000Z-aaaa"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one model."""
    folder = tmp_path_factory.mktemp("stations")
    (folder / "parameters").mkdir()
    write_model(folder)
    return folder


def test_an_alarm_has_a_page_a_file_and_exit_code_4(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """The first screen says which column broke, since when, and what to do; the page has no script and few bytes."""
    monkeypatch.chdir(root)
    later = hours(28, **LATER)
    later["pressure"] = later["pressure"].mask(later["time"] >= "2026-05-18", 0.02953 * later["pressure"])
    later.to_csv("new.csv", index=False)
    monkeypatch.setenv("TDSP_ALERT_WEBHOOK", "http://127.0.0.1:1/services/s3cr3t")
    monkeypatch.setattr(alerts, "PAUSES", (0.0, 0.0))
    assert call(["monitor", RUN, "new.csv", "--labels", "rain"]) == 4
    shown = capsys.readouterr()
    assert "inches of mercury" in shown.out and "The alert could not be delivered in 3 tries" in shown.err
    folder = next((root / "outputs" / "monitoring" / "stations").glob("2*"))
    written = [path.read_text(errors="replace") for path in (root / "outputs").rglob("*") if path.is_file()]
    assert "s3cr3t" not in "".join([*written, *shown])
    result = json.loads((folder / "monitor.json").read_text())
    page = (folder / "index.html").read_text()
    assert result["state"] == "alarm" and result["findings"][0]["since"] == "2026-05-18"
    assert "inches of mercury" in page and "<script" not in page and len(page) < 300_000
    assert "Mend pressure at its source" in page and 'href="../../index.html">All models' in page
    assert 'href="monitoring/index.html">Monitoring' in (root / "outputs" / "index.html").read_text()
    every = (root / "outputs" / "monitoring" / "index.html").read_text()
    assert "inches of mercury" in every and f"stations/{folder.name}/index.html" in every and 'role="img"' in every


def test_an_address_for_alerts_that_is_wrong_stops_before_anything_is_judged(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Exit code 2, and the address is not shown."""
    monkeypatch.chdir(root)
    assert call(["monitor", RUN, "new.csv", "--alert-url", "http://hooks.example/s3cr3t"]) == 2
    assert "s3cr3t" not in capsys.readouterr().err


def test_the_log_of_a_service_is_monitored(root: Path, monkeypatch: pytest.MonkeyPatch):
    """Rows as the service writes them, by the time of their prediction; labels join by the service's key."""
    monkeypatch.chdir(root)
    later = hours(28, **LATER)
    place = root / "outputs" / "predictions" / "stations" / "1"
    place.mkdir(parents=True)
    columns = {"key": pa.array(later["key"]), "time": pa.array(later["time"].dt.tz_localize("UTC"))}
    columns |= {f"sent.{one['name']}": pa.array(later[one["name"]]) for one in SCHEMA["columns"]}
    pq.write_table(
        pa.table({**columns, "predicted.probability": pa.array([0.5] * len(later))}), place / "part-1.parquet"
    )
    later[["key", "rain"]].to_csv("labels.csv", index=False)
    assert call(["monitor", RUN, "outputs/predictions/stations", "--labels-from", "labels.csv", "--json"]) == 0


def test_a_mistake_leaves_nothing_behind(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """A column that is gone: exit code 2, one message, no folder of a report."""
    monkeypatch.chdir(root)
    hours(7, **LATER).drop(columns="temp").to_csv("bad.csv", index=False)
    before = set((root / "outputs").rglob("monitor*"))
    assert call(["monitor", RUN, "bad.csv"]) == 2
    assert "no column 'temp'" in capsys.readouterr().err
    assert set((root / "outputs").rglob("monitor*")) == before


def test_half_a_file_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """A Parquet file that was cut is no table."""
    monkeypatch.chdir(root)
    hours(7, **LATER).to_parquet("whole.parquet")
    Path("half.parquet").write_bytes(Path("whole.parquet").read_bytes()[:4000])
    assert call(["monitor", RUN, "half.parquet"]) == 2
    assert "half.parquet cannot be read" in capsys.readouterr().err


def test_order_and_repeats_of_windows_change_nothing(root: Path, monkeypatch: pytest.MonkeyPatch):
    """The same rows in another order give the same judgments, with a remark."""
    monkeypatch.chdir(root)
    from tdsp.stages import monitoring
    from tdsp.stages.monitoring import MonitorSettings

    later = hours(28, **LATER)
    found = []
    for i, frame in enumerate((later, pd.concat([later.iloc[300:], later.iloc[:300]]))):
        frame.to_csv(f"order{i}.csv", index=False)
        monitored = monitoring.open_monitor(MonitorSettings(RUN, f"order{i}.csv"), root)
        found.append([one.p for one in monitoring.judge_drift(monitored).judgments])
    assert found[0] == found[1] and "put in order" in " ".join(monitored.rows.remarks)


def test_rows_to_label_are_written_beside_the_report(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """`--ask` says how to go on; the labeled file is judged by the same command, with its weights."""
    monkeypatch.chdir(root)
    later = hours(28, **LATER)
    later.drop(columns="rain").to_csv("unlabeled.csv", index=False)
    assert call(["monitor", RUN, "unlabeled.csv", "--ask", "80"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("  tdsp monitor"))
    _, _, _, path, *_ = shlex.split(line)
    page = (Path(path).parent / "index.html").read_text()
    assert "cannot see the relation" in page and "<script" not in page
    chosen = pd.read_csv(path)
    chosen.assign(rain=later["rain"].iloc[chosen["row"] - 1].to_numpy()).to_csv(path, index=False)
    assert call(["monitor", RUN, path, "--labels", "rain", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [row["rows"] for row in result["performance"]] == [80] and result["losses"] == {}
