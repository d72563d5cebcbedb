"""All runs: the result of each, and what was different each time."""

from dataclasses import replace
from pathlib import Path

from tdsp.core.project import STAGES
from tdsp.core.record import Failure, MetricEntry
from tdsp.core.results import Headline, IntervalRow
from tdsp.reporting.runs_index import difference, project_view
from tests.support.records import made_record, with_changes

HEAD = Headline("met", "ok", "It is met.", "auc", (IntervalRow("Required", 0.62, kind="limit"),))


def record(run_id="flights-20261122T140500Z-7c1e", value=0.679, **changes):
    """A finished run with a number."""
    made = made_record(run_id, "flights", status="succeeded", verdict="accepted")
    made = replace(made, metrics={"auc": MetricEntry(value, value - 0.02, value + 0.02, label="ROC-AUC")})
    return with_changes(made.with_stage(STAGES[4], status="succeeded", headline=HEAD), **changes)


def view(tmp_path: Path, *records):
    """The project's view, newest record first."""
    return project_view([(tmp_path / "runs" / r.run_id, r) for r in records], tmp_path)


def test_all_runs_of_a_project_share_scale_and_limit(tmp_path: Path):
    """The limit line is at one place in all rows, and a better run's mark further right."""
    project = view(tmp_path, record(), record("flights-2", 0.60))
    newer, older = project.runs
    assert project.limit_text == "0.620"
    assert older.marks[1].start < project.limit < newer.marks[1].start
    assert project.tile_note == "0.679 (0.659 to 0.699), limit 0.620"


def test_failed_run_keeps_its_row_and_says_where_it_stopped(tmp_path: Path):
    """No result, no mark, a link to its failure page."""
    failed = record("flights-3", status="failed", verdict=None, metrics={})
    failed = failed.with_stage(STAGES[1], status="failed", error=Failure("ValueError", "", cell=7))
    row = view(tmp_path, record(), failed).runs[1]
    assert (row.value, row.marks, row.different) == ("", (), "stopped in stage 2, cell 7")
    assert row.href == "runs/flights-3/index.html"


def test_run_measured_by_another_metric_is_not_drawn(tmp_path: Path):
    """Numbers of two measures never share a scale."""
    other = record("flights-4", metrics={"r2": {"value": 9.0, "label": "R²"}})
    rows = view(tmp_path, record(), other).runs
    assert rows[1].marks == ()


def test_run_without_a_verdict_does_not_hide_the_newest_one(tmp_path: Path):
    """The tile keeps the verdict and mentions the failure."""
    failed = record("flights-3", status="failed", verdict=None, metrics={})
    found = view(tmp_path, failed, record())
    assert (found.tile.heading, found.tile_note) == (
        "Accepted",
        "0.679 (0.659 to 0.699), limit 0.620, newest run: failed",
    )


def test_project_without_any_number_has_a_view(tmp_path: Path):
    """Nothing measured yet is a state, not an error."""
    project = view(tmp_path, record(metrics={}))
    assert (project.measure, project.limit, project.tile_note) == ("Result", None, "no result")


def test_difference_names_two_parameters_and_counts_the_rest():
    """Parameters first, then data, code and packages; run_dir says nothing."""
    names = ("a", "b", "c", "run_dir")
    old = record(parameters={name: {"value": 1} for name in names})
    new = record(
        parameters={name: {"value": 2} for name in names}, inputs=[{"name": "x", "sha256": "x"}], code={"sha256": "y"}
    )
    assert difference(new, old) == "a: 2 instead of 1; b: 2 instead of 1; other data; other code and 1 more parameter"
    assert difference(old, old) == "nothing: a repetition"
