"""The page of all monitored models, from the files that monitoring leaves behind."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tdsp.reporting import monitor_index
from tdsp.reporting.monitor_index import MAX_PAGE_BYTES, render_monitors
from tdsp.reporting.pages import render_index
from tests.reporting.test_notebook_html import PAYLOADS
from tests.reporting.test_pages import POLICY, Page


def write_report(outputs: Path, model: str, n: int = 1, **values: Any) -> Path:
    """A report as `tdsp monitor` writes it, the n-th of its model: each judges four weeks, and the last week again."""
    weeks = [f"2013-{1 + (3 * n + i) // 4 % 12:02}-{1 + 7 * ((3 * n + i) % 4):02}" for i in range(4)]
    judgments = [{"window": w, "rows": 900, "p": 0.2, "beyond": False, "largest": "wind", "size": 0.6} for w in weeks]
    scores = [{"window": w, "rows": 900, "value": 0.68, "low": 0.65, "high": 0.71, "out_of_bounds": False}
              for w in weeks]  # fmt: skip
    found = {
        "state": "ok", "sentence": "Nothing lies beyond.", "model": model, "version": "3", "data": "new.csv",
        "window": "week", "windows": 4, "rows": 3600, "rejected": 0, "made_at": f"2026-11-{1 + n % 28:02}T10:00:00Z",
        "own_cries": [1, 35], "findings": [], "performance": scores, "judgments": judgments,
    }  # fmt: skip
    folder = outputs / "monitoring" / model / f"20260101T{n:09}"
    folder.mkdir(parents=True)
    (folder / "monitor.json").write_text(json.dumps(found | values))
    return folder


def test_the_gravest_model_comes_first_with_what_it_rests_on(tmp_path: Path):
    """State, sentence, last window, decision, the reference's own past and the newest report are on the page."""
    write_report(tmp_path, "calm")
    write_report(tmp_path, "delays", 1)
    beyond = {"window": "2013-12-30", "rows": 9, "p": 0.01, "beyond": True, "largest": "wind", "size": 7.5}
    write_report(tmp_path, "delays", 2, state="alarm", sentence="wind became knots.", judgments=[beyond])
    decision = {"at": "2026-11-30T06:00:00Z", "window": "2013-12", "decision": "retrain", "text": "Wind moved."}
    (tmp_path / "monitoring/delays/decisions.jsonl").write_text("{}\n" + json.dumps(decision) + "\n")
    page = Page(render_monitors(tmp_path))
    assert page.text.index("Alarm") < page.text.index("calm")
    for text in (
        "wind became knots.", "2013-12-30: beyond the reference's own", "retrain, 2013-12", "Wind moved.",
        "1 of 35 windows of its own past", "1 alarm, 1 ok", "None yet: tdsp cycle has not decided on this model.",
    ):  # fmt: skip
        assert text in page.text, text
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a" and "index" in attributes["href"]]
    assert "delays/20260101T000000002/index.html" in links
    assert all((tmp_path / "monitoring" / link).parent.is_dir() for link in links)


def test_pictures_have_words_and_shapes(tmp_path: Path):
    """Each trend has an alternative text with its numbers; what is beyond has a shape of its own."""
    beyond = {"window": "b", "rows": 9, "p": 0.01, "beyond": True, "largest": "wind", "size": 7.5}
    within = beyond | {"window": "a", "beyond": False, "size": 0.4}
    write_report(tmp_path, "delays", judgments=[within, beyond])
    html = render_monitors(tmp_path).read_text()
    assert (
        'role="img" aria-label="Largest effect of each window: 1 of the last 2 windows beyond the level; the last'
        in html
    )
    assert html.count('width="7" height="7"') == 1 and html.count('r="2.5"') == 1 + 4


DAMAGE = {
    "cut": '{"state": "ok", "sen',
    "empty": "",
    "a list": "[1]",
    "another state": '{"state": "fine"}',
    "no windows": '{"state": "ok", "sentence": "x"}',
    "numbers as words": '{"state": "ok", "sentence": "", "version": "", "made_at": "", "window": "", "rows": "many"}',
}


@pytest.mark.parametrize("text", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_report_is_named_and_hides_no_other(tmp_path: Path, text: str):
    """The page names the file and the reason; the older report of that model and the other models are shown."""
    write_report(tmp_path, "calm")
    write_report(tmp_path, "delays", 1)
    (write_report(tmp_path, "delays", 2) / "monitor.json").write_text(text)
    shown = Page(render_monitors(tmp_path)).text
    assert "delays/20260101T000000002 : monitor.json cannot be read" in shown
    assert "a newer report is damaged" in shown and "calm" in shown and "2 ok" in shown


def test_a_damaged_decision_and_an_unfinished_report_are_named(tmp_path: Path):
    """Half a line of decisions.jsonl, and a folder without monitor.json, as a kill leaves them."""
    write_report(tmp_path, "delays")
    (tmp_path / "monitoring/delays/decisions.jsonl").write_text('{"at": "2026')
    (tmp_path / "monitoring/delays/20260101T000000009").mkdir()
    shown = Page(render_monitors(tmp_path)).text
    assert "its last line is damaged" in shown and "it has no monitor.json: not finished, or it failed" in shown


def test_names_and_texts_that_attack_are_text(tmp_path: Path):
    """Model names, columns, windows and decisions from data: no script, handler or remote address."""
    for i, payload in enumerate(PAYLOADS):
        name = payload.replace("/", "_")[:80]
        judgment = {"window": payload, "rows": 9, "p": 0.1, "beyond": True, "largest": payload, "size": 2}
        place = write_report(tmp_path, name, i, state="watch", sentence=payload, version=payload, judgments=[judgment])
        decision = dict.fromkeys(("at", "window", "decision", "text"), payload)
        (place.parent / "decisions.jsonl").write_text(json.dumps(decision))
    page = Page(render_monitors(tmp_path))
    assert POLICY in [attributes.get("content") for _, attributes in page.tags]
    for tag, attributes in page.tags:
        assert tag not in {"script", "iframe", "img", "object", "embed", "form", "link", "base"}
        assert not [name for name in attributes if name.startswith("on")]
        assert not (attributes.get("href") or "").lower().startswith(("javascript:", "data:", "http"))


def test_old_reports_are_counted_and_not_read(tmp_path: Path):
    """The newest are read, so that years of reports cost no more than weeks."""
    for n in range(70):
        write_report(tmp_path, "delays", n)
    assert "70 reports; the 60 newest are read here" in Page(render_monitors(tmp_path)).text


@pytest.mark.parametrize("limit", [MAX_PAGE_BYTES, 60_000, 30_000])
def test_a_page_that_would_grow_too_large_says_less_of_each_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
):
    """Shorter trends, states alone, then the gravest states: each page counts what it leaves out."""
    for i in range(50):
        write_report(tmp_path, f"model-{i}")
    write_report(tmp_path, "grave", state="alarm", sentence="wind became knots.")
    monkeypatch.setattr(monitor_index, "MAX_PAGE_BYTES", limit)
    place = render_monitors(tmp_path)
    shown = Page(place).text
    assert place.stat().st_size < limit and "51 models: 1 alarm, 50 ok" in shown and "grave" in shown
    assert ("wind became knots." in shown) == (limit == MAX_PAGE_BYTES)
    assert ("more models: " in shown) == (limit == 30_000)


@pytest.mark.slow
@pytest.mark.parametrize(("models", "reports"), [(1, 1000), (3000, 1)])
def test_the_page_stays_below_its_limit(tmp_path: Path, models: int, reports: int):
    """Thousands of reports, of one model or of as many."""
    for n in range(reports):
        for i in range(models):
            write_report(tmp_path, f"model-{i}", n)
    began = time.process_time()
    assert render_monitors(tmp_path).stat().st_size < MAX_PAGE_BYTES
    assert time.process_time() - began < 20


def test_the_lists_of_runs_and_of_models_lead_to_each_other(tmp_path: Path):
    """A link forth where models are monitored, and back where there is a list of runs."""
    render_index(tmp_path)
    assert "monitoring/index.html" not in (tmp_path / "index.html").read_text()
    write_report(tmp_path, "delays")
    assert 'href="../index.html">All runs</a>' in render_monitors(tmp_path).read_text()
    render_index(tmp_path)
    assert 'href="monitoring/index.html">Monitoring</a>' in (tmp_path / "index.html").read_text()


def test_without_a_model_the_page_says_how_to_begin(tmp_path: Path):
    """An empty folder is no error."""
    assert "No model is monitored yet" in Page(render_monitors(tmp_path)).text
