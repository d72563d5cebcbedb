"""A run is called better only on the same test rows, and never where it is not."""

import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tdsp.cli.app import call
from tdsp.core.environment import CodeVersion
from tdsp.core.errors import RunError
from tdsp.core.project import STAGES
from tdsp.core.record import ParameterEntry, Run, RunRecord, read_record
from tdsp.core.results import Estimate, Goal
from tdsp.reporting.comparison.differences import code_changes
from tdsp.reporting.comparison.page import pair_sentence, pair_steps
from tdsp.reporting.comparison.statistics import (
    BETTER,
    NOT_COMPARABLE,
    SAME,
    UNDECIDED,
    WORSE,
    KeptSplit,
    compare_runs,
    gains_of,
    previous_run,
)
from tdsp.reporting.comparison.statistics import TestPredictions as Kept
from tdsp.reporting.pages import render_comparison, render_index, render_run
from tests.reporting.test_notebook_html import PAYLOADS
from tests.reporting.test_pages import POLICY, Page, hostile
from tests.support.sample_run import predictions, write_run

OLD, NEW = "flights-20261115T093000Z-41d0", "flights-20261122T140500Z-7c1e"
WEAKER = Estimate(0.6489, 0.6241, 0.6712, 74, "days")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, a better one a week later, and two that are attacks."""
    folder = tmp_path_factory.mktemp("outputs")
    write_run(folder, run_id=OLD, auc=WEAKER, started_at="2026-11-15T09:30:00Z", environment={"python": "3.12.1"})
    write_run(folder)
    write_run(folder, run_id="hostile-1", text=hostile, project=PAYLOADS[1], started_at="2026-11-01T09:30:00Z")
    write_run(folder, run_id="hostile-2", text=hostile, project=PAYLOADS[1], auc=WEAKER)
    other = Run(folder / "runs" / "hostile-2", STAGES[0])
    entry = {PAYLOADS[0]: ParameterEntry(PAYLOADS[2], stage=STAGES[0])}
    other.update(lambda record: replace(record, parameters=record.parameters | entry))
    for name in (OLD, NEW, "hostile-1", "hostile-2"):
        render_run(folder / "runs" / name)
    render_index(folder)
    return folder


def pair_of(outputs: Path, *names: str):
    """The one pair of a comparison of two runs."""
    (pair,) = compare_runs([outputs / "runs" / name for name in names]).pairs
    return pair


def make_pair(tmp_path: Path, **changes):
    """Two runs of the sample, the second with changes; their folders."""
    return [write_run(tmp_path, run_id=OLD), write_run(tmp_path, run_id=NEW, **changes)]


def kept_test(y: np.ndarray, y_pred: np.ndarray, *, metric: str = "accuracy", groups: bool = False) -> Kept:
    """A test of a classifier, in groups of ten rows where wanted."""
    rows = np.arange(len(y))
    goal = Goal("binary", "y", metric, classes=("no", "yes"), positive_class="yes")
    unit, name = (rows // 10, "groups") if groups else (rows, "rows")
    return Kept(goal, KeptSplit("random"), rows, y, y_pred, unit, name, 200, 1)


# the verdict --------------------------------------------------------------------------------------------------------
def test_a_real_gain_is_found_and_its_reverse_is_a_loss(outputs: Path):
    """The same difference with the other sign."""
    gain, loss = pair_of(outputs, OLD, NEW), pair_of(outputs, NEW, OLD)
    assert (gain.verdict, loss.verdict, gain.rows) == (BETTER, WORSE, 740)
    assert gain.main.gain.value == pytest.approx(-loss.main.gain.value)
    assert (gain.main.gain.n, gain.main.gain.resampled) == (74, "days")


def test_a_run_and_its_repetition_do_not_differ_at_all(tmp_path: Path):
    """The difference and its interval are 0, and nothing differs between the runs."""
    pair = compare_runs(make_pair(tmp_path)).pairs[0]
    gain = pair.main.gain
    assert (pair.verdict, pair.identical, pair.changes) == (SAME, True, ())
    assert gain.value == 0 and np.isnan(gain.low)  # exact, and no interval of width zero


def test_paired_interval_is_narrower_than_those_of_the_runs(outputs: Path):
    """Noise that both models share cancels out."""
    pair, metric = pair_of(outputs, OLD, NEW), read_record(outputs / "runs" / NEW).metrics["test_score"]
    assert pair.main.gain.high - pair.main.gain.low < (metric.high - metric.low) / 2


@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize("metric", ["roc_auc", "accuracy"])
def test_equal_models_are_called_better_no_more_often_than_promised(monkeypatch, metric: str, groups: bool):
    """2.5 % of pairs: 200 pairs of models with the same noise give at most so many as chance allows (5 + 2 sd)."""
    monkeypatch.setattr("tdsp.reporting.comparison.statistics.metrics_for", lambda _: [])
    rng = np.random.default_rng(2013)
    better = 0
    for _ in range(200):
        y = (rng.random(150) < 0.4).astype(int)
        shared = 1.2 * y - 0.6 + rng.normal(0, 1, 150)
        printed = [shared + rng.normal(0, 0.3, 150) + np.repeat(rng.normal(0, 0.3 * groups, 15), 10) for _ in "ab"]
        a, b = (kept_test(y, 1 / (1 + np.exp(-x)), metric=metric, groups=groups) for x in printed)
        better += gains_of(a, b)[0].word == BETTER
    assert better <= 9


@pytest.mark.parametrize(("differ", "word"), [(5, UNDECIDED), (30, BETTER)])
def test_a_difference_on_a_handful_of_rows_proves_nothing(differ: int, word: str):
    """Five rows on one side have a chance of 1 in 32; the plain bootstrap would call them better."""
    y = np.tile([0, 1], 100)
    wrong = np.where(np.arange(200) < differ, 1 - y, y)
    assert gains_of(kept_test(y, wrong.astype(float)), kept_test(y, y.astype(float)))[0].word == word


@pytest.mark.parametrize(("margin", "word"), [(0.2, SAME), (0.001, UNDECIDED)])
def test_no_real_difference_needs_the_whole_interval_inside_the_margin(margin: float, word: str):
    """Two models with the same noise: alike by a wide margin, undecided by a narrow one."""
    rng = np.random.default_rng(1)
    y = (rng.random(300) < 0.4).astype(int)
    a, b = (kept_test(y, 1 / (1 + np.exp(-(1.2 * y - 0.6 + rng.normal(0, 1, 300))))) for _ in "ab")
    gain = gains_of(a, b, margin)[0]
    assert (gain.word, gain.margin) == (word, margin) and gain.gain.low < 0 < gain.gain.high


@pytest.mark.parametrize("verdicts", [("rejected", "rejected"), ("insufficient evidence", "rejected")])
@pytest.mark.parametrize("names", [(OLD, NEW), (NEW, OLD), (OLD, OLD)])
def test_no_run_that_was_not_accepted_is_advised(outputs: Path, verdicts, names):
    """Better, worse or the same: there is no command that predicts with it."""
    records = [read_record(outputs / "runs" / name) for name in names]
    judged = tuple(replace(record, verdict=verdict) for record, verdict in zip(records, verdicts, strict=True))
    steps = pair_steps(pair_of(outputs, *names), judged)
    assert steps and not any("tdsp predict" in step.text for step in steps)


def test_too_few_groups_decide_nothing():
    """Nine patients are fewer than the ten that an interval needs."""
    y = np.tile([0, 1], 45)
    gain = gains_of(kept_test(y, 1.0 - y, groups=True), kept_test(y, y.astype(float), groups=True))[0]
    assert (gain.word, gain.note) == (UNDECIDED, "9 groups are too few to decide; 10 are needed")


# what cannot be compared --------------------------------------------------------------------------------------------
def rewrite(folder: Path, name: str, **changes) -> None:
    """Change a kept JSON file as another run would have written it."""
    run = Run(folder, STAGES[1])
    run.write_json(name, run.read_json(name) | changes)


@pytest.mark.parametrize(
    ("name", "changes", "why"),
    [
        ("split", {"test_sha256": "other"}, "they were tested on other rows, 740 each"),
        ("goal", {"metric": "log_loss"}, "they optimize another metric: ROC-AUC and Log loss"),
        ("goal", {"target": "delay"}, "they have another target: late and delay"),
    ],
)
def test_other_rows_metric_or_target_are_not_compared(tmp_path: Path, name: str, changes: dict, why: str):
    """The reason is named, and no number."""
    folders = make_pair(tmp_path)
    rewrite(folders[1], name, **changes)
    pair = compare_runs(folders).pairs[0]
    assert (pair.verdict, pair.why, pair.main) == (NOT_COMPARABLE, why, None)


def test_rows_are_compared_even_where_the_hashes_agree(tmp_path: Path):
    """A truth that differs under the same hash is noticed."""
    folders = make_pair(tmp_path)
    table = predictions(0.6789)
    Run(folders[1], STAGES[2]).write_table("predictions", table.assign(y_true=1 - table["y_true"]))
    assert compare_runs(folders).pairs[0].why == "they were tested on other rows, 740 each"


def with_hashes(folder: Path, hashes: np.ndarray) -> None:
    """Give the test rows of a run their hashes, and as many predictions."""
    run = Run(folder, STAGES[2])
    run.write_table("test_rows", pd.DataFrame({"hash": hashes.astype("uint64")}))
    run.write_table("predictions", run.read_table("predictions").iloc[: len(hashes)])


def test_runs_whose_test_sets_share_most_rows_are_compared_on_these(tmp_path: Path, capsys):
    """One row was left out: all have another number, and the content says which are the same."""
    folders = make_pair(tmp_path)
    table = Run(folders[0], STAGES[2]).read_table("predictions")
    shifted = table.iloc[1:].assign(row_id=table["row_id"].to_numpy()[:-1])
    Run(folders[1], STAGES[2]).write_table("predictions", shifted)
    rewrite(folders[1], "split", test_sha256="other")
    with_hashes(folders[0], np.arange(740))
    with_hashes(folders[1], np.arange(1, 740))
    pair = compare_runs(folders).pairs[0]
    assert (pair.rows, pair.tested, pair.identical) == (739, (740, 739), True)
    text = "the 739 rows that both have scored (of 740 and 739)"
    assert text in pair_sentence(pair, (read_record(folders[0]), read_record(folders[1])))
    call(["compare", str(folders[0]), str(folders[1])])
    assert f"is compared on {text}" in capsys.readouterr().out


def test_runs_whose_test_sets_share_few_rows_are_not_compared(tmp_path: Path):
    """The number of rows that both have scored is named."""
    folders = make_pair(tmp_path)
    rewrite(folders[1], "split", test_sha256="other")
    with_hashes(folders[0], np.arange(740))
    with_hashes(folders[1], np.arange(500, 1240))
    why = "they were tested on other rows, 740 each, of which both have scored 240"
    assert compare_runs(folders).pairs[0].why == why


def test_a_run_without_result_is_not_compared(tmp_path: Path):
    """A failed run, and one whose predictions were changed afterwards."""
    first = write_run(tmp_path, run_id=OLD)
    failed = write_run(tmp_path, run_id="flights-20261116T093000Z-b200", failed_in=STAGES[1])
    changed = write_run(tmp_path, run_id=NEW)
    (changed / "data" / "predictions.parquet").write_bytes(b"")
    pairs = compare_runs([first, failed, changed]).pairs
    assert [pair.verdict for pair in pairs] == [NOT_COMPARABLE, NOT_COMPARABLE]
    assert pairs[0].why == "run b200 has no result: it failed"
    assert "run 7c1e has no test predictions to compare" in pairs[1].why


def test_one_run_alone_is_refused(outputs: Path):
    """There is nothing to compare it with."""
    with pytest.raises(RunError, match="name the reference first, then another run"):
        compare_runs([outputs / "runs" / OLD])


# what can explain it ------------------------------------------------------------------------------------------------
def test_the_only_difference_that_reaches_the_model_is_the_cause(outputs: Path):
    """Another Python, everything else equal."""
    pair = pair_of(outputs, OLD, NEW)
    change = next(change for change in pair.changes if change.what == "Python")
    assert (change.before, change.now) == ("3.12.1", "3.13.1")
    assert {c.answer for c in pair.changes if c.harmless} <= {"no"}
    causes = [c for c in pair.changes if not c.harmless]
    assert change.answer == ("yes" if len(causes) == 1 else "not measured")


def test_words_and_afterthoughts_explain_nothing_and_two_causes_stay_unmeasured(tmp_path: Path):
    """A limit is no cause; of two parameters neither is named the cause."""
    before, now = write_run(tmp_path, run_id=OLD, auc=WEAKER), write_run(tmp_path, run_id=NEW)
    values = {"cv_folds": 5, "holdout_share": 0.3, "threshold": 0.6}
    entries = {name: ParameterEntry(value, stage=STAGES[2]) for name, value in values.items()}
    Run(now, STAGES[2]).update(lambda record: replace(record, parameters=record.parameters | entries))
    changes = {c.what: c for c in compare_runs([before, now]).pairs[0].changes}
    assert {name: changes[name].answer for name in values} == {
        "cv_folds": "not measured",
        "holdout_share": "not measured",
        "threshold": "no",
    }
    assert "`--set holdout_share=0.2`" in changes["holdout_share"].why


def test_what_gave_the_same_predictions_explains_nothing(tmp_path: Path):
    """Another input hash and another lock file, and every prediction the same."""
    folders = make_pair(tmp_path, inputs=[{"name": "flights", "uri": "x", "sha256": "00", "rows": 1, "bytes": 1}])
    pair = compare_runs(folders).pairs[0]
    assert {c.answer for c in pair.changes} == {"no"}
    assert "Input weather" in [c.what for c in pair.changes]
    assert "versions" in pair.equal


FLAT = {"tdsp/core.py": "1", "tdsp/report.py": "1", "parameters/flights.sql": "select 1"}
ROOMS = {"tdsp/core/files.py": "1", "tdsp/reporting/pages.py": "1", "parameters/flights.sql": "select 1"}


@pytest.mark.parametrize(
    ("before", "now", "changes"),
    [
        (ROOMS, ROOMS | {"tdsp/reporting/pages.py": "2"}, [("Code: tdsp/reporting/pages.py", True)]),
        (ROOMS, ROOMS | {"tdsp/core/files.py": "2"}, [("Code: tdsp/core/files.py", False)]),
        (FLAT, FLAT | {"tdsp/report.py": "2"}, [("Code: tdsp/report.py", False)]),
        (FLAT, ROOMS, [("Code: the package was reorganized", False)]),
        (
            FLAT,
            ROOMS | {"parameters/flights.sql": "select 2"},
            [("Code: the package was reorganized; also parameters/flights.sql", False)],
        ),
    ],
)
def test_whether_code_can_change_a_prediction_follows_from_its_room(tmp_path: Path, before, now, changes):
    """Pages write no prediction; a package of another layout is one difference, not two hundred."""
    folders = tmp_path / "before", tmp_path / "now"
    for folder, files in zip(folders, (before, now)):
        folder.mkdir()
        with zipfile.ZipFile(folder / "code.zip", "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
    records = [RunRecord(code=CodeVersion(folder.name)) for folder in folders]
    found = code_changes(*records, folders, same_rows=False)
    assert [(change.what, bool(change.harmless)) for change in found] == changes


# pages --------------------------------------------------------------------------------------------------------------
def test_cover_says_what_changed_since_the_last_run(outputs: Path):
    """Three to five rows and a link to the page; nothing on the first run of a project."""
    cover = outputs / "runs" / NEW / "index.html"
    rows = re.search(r'<table class="data since">.*?</table>', cover.read_text(), re.S)[0].count('<th scope="row">')
    text = Page(cover).text
    assert "Changed since the last run Compared with run 41d0 of 15 Nov 2026" in text
    assert 1 < rows <= 5
    assert '"../../compare/41d0-7c1e.html"' in cover.read_text()
    assert "Changed since" not in Page(outputs / "runs" / OLD / "index.html").text


def test_the_last_run_is_the_newest_finished_one_of_the_project(tmp_path: Path):
    """Failed runs, later ones and those of other projects are passed over."""
    first = write_run(tmp_path, run_id="flights-20261101T000000Z-0001", started_at="2026-11-01T00:00:00Z")
    write_run(tmp_path, run_id="flights-20261102T000000Z-0002", started_at="2026-11-02T00:00:00Z", failed_in=STAGES[1])
    write_run(tmp_path, run_id="wine-20261103T000000Z-0003", started_at="2026-11-03T00:00:00Z", project="wine")
    now = write_run(tmp_path, run_id="flights-20261104T000000Z-0004", started_at="2026-11-04T00:00:00Z")
    write_run(tmp_path, run_id="flights-20261105T000000Z-0005", started_at="2026-11-05T00:00:00Z")
    assert previous_run(now, read_record(now)) == first
    assert previous_run(first, read_record(first)) is None


def test_page_holds_verdict_difference_and_causes_and_every_link_leads_somewhere(outputs: Path):
    """The same policy as the other pages, no script, the number of the comparison."""
    path = outputs / "compare" / "41d0-7c1e.html"
    page, pair = Page(path), pair_of(outputs, OLD, NEW)
    assert "Better" in page.text and f"+{pair.main.gain.value:.4f}" in page.text
    assert POLICY in [attributes.get("content") for _, attributes in page.tags]
    assert "script" not in [tag for tag, _ in page.tags]
    for href in (a["href"] for tag, a in page.tags if tag == "a" and not a["href"].startswith("#")):
        assert (path.parent / href).is_file(), href


def test_incomparable_runs_get_a_page_that_says_why(tmp_path: Path):
    """No number, the reason, and what to do."""
    folders = make_pair(tmp_path)
    rewrite(folders[1], "split", test_sha256="other")
    _, (path,) = render_comparison(folders, tmp_path)
    text = Page(path).text
    assert "Not comparable Runs 41d0 and 7c1e cannot be compared" in text
    assert "What differs in the result" not in text


def test_same_runs_give_the_same_page(outputs: Path):
    """Seeded resampling: writing it again changes no byte."""
    before = (outputs / "compare" / "41d0-7c1e.html").read_bytes()
    render_comparison([outputs / "runs" / OLD, outputs / "runs" / NEW], outputs)
    assert (outputs / "compare" / "41d0-7c1e.html").read_bytes() == before


# the command --------------------------------------------------------------------------------------------------------
def test_command_prints_the_verdict_and_the_page(outputs: Path, capsys):
    """Exit code 0 also where the new run is worse: the comparison succeeded."""
    assert call(["compare", "7c1e", "41d0", "--out", str(outputs)]) == 0
    printed = capsys.readouterr().out
    assert re.search(rf"{OLD} +worse +ROC-AUC +−0\.\d+ \(−", printed)
    assert "7c1e-41d0.html" in printed


def test_command_gives_json_of_several_runs_and_code_2_when_one_is_apart(tmp_path: Path, capsys):
    """The reason goes to stderr, every pair to stdout."""
    folders = make_pair(tmp_path)
    other = write_run(tmp_path, run_id="flights-20261123T140500Z-c0de")
    rewrite(other, "goal", target="delay")
    names = [folder.name for folder in (*folders, other)]
    assert call(["compare", *names, "--json", "--out", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert [pair["verdict"] for pair in json.loads(printed.out)["pairs"]] == [SAME, NOT_COMPARABLE]
    assert "c0de is not comparable" in printed.err and "another target" in printed.err


def test_command_refuses_one_run(outputs: Path, capsys):
    """Bad input, one message."""
    assert call(["compare", "7c1e", "--out", str(outputs)]) == 2
    assert "One run alone is no comparison" in capsys.readouterr().err


# in a browser -------------------------------------------------------------------------------------------------------
PAGES = ["compare/41d0-7c1e.html", "compare/hostile-1-hostile-2.html", f"runs/{NEW}/index.html"]


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_page_is_accessible_fits_a_phone_and_fetches_nothing(visit, axe, outputs: Path, page: str):
    """Light and dark, wide and narrow, folds open; hostile names run nothing."""
    for scheme, width in (("light", 1280), ("dark", 390), ("light", 360)):
        seen = visit(outputs / page, width=width, scheme=scheme)
        seen.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert (seen.overflow, seen.requests, seen.errors) == (0, [], [])
        assert seen.page.evaluate("document.scripts.length") == 0
        seen.page.evaluate(axe + ";0")
        found = seen.page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        assert [(v["id"], v["nodes"][0]["target"], v["nodes"][0].get("failureSummary")) for v in found] == []
