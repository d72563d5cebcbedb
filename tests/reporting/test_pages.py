"""The pages of a run and the list of all runs, from their records alone, and in a real browser."""

import math
import re
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tdsp.core.files import canonical_json
from tdsp.core.project import STAGES
from tdsp.core.record import Run, read_record
from tdsp.core.results import Estimate
from tdsp.reporting.page_html import message, ticks
from tdsp.reporting.pages import render_index, render_run
from tests.reporting.test_notebook_html import PAYLOADS
from tests.support.records import made_record
from tests.support.sample_run import ERROR, write_run

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


class Page(HTMLParser):
    """The tags, links and text of a page."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.words: list[str] = []
        self.silent = False
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.silent = tag in ("style", "title")

    def handle_endtag(self, tag):
        self.silent = self.silent and tag not in ("style", "title")

    def handle_data(self, data):
        if not self.silent:
            self.words.append(data)

    @property
    def text(self) -> str:
        """All text, blanks made single."""
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four runs: accepted, undecided, failed, and one whose every text is a payload."""
    folder = tmp_path_factory.mktemp("outputs")
    write_run(folder)
    write_run(folder, run_id="flights-20261115T093000Z-41d0", auc=Estimate(0.6189, 0.5941, 0.6412, 74, "days"))
    write_run(folder, run_id="flights-20261114T164000Z-b200", failed_in=STAGES[1])
    error = ERROR | {"message": PAYLOADS[0], "source": PAYLOADS[2], "traceback": PAYLOADS[3], "type": PAYLOADS[4]}
    write_run(folder, run_id="hostile-1", text=hostile, project=PAYLOADS[1])
    write_run(folder, run_id="hostile-2", text=hostile, failed_in=STAGES[2], error=error)
    for run in (folder / "runs").iterdir():
        render_run(run)
    render_index(folder)
    return folder


def hostile(words: str) -> str:
    """All payloads, one after another, behind the words."""
    return words + " ".join(PAYLOADS)


def pages(folder: Path) -> list[Path]:
    """All pages below a folder."""
    return sorted(folder.rglob("*.html"))


def test_every_run_has_a_cover_and_a_page_for_each_stage_that_ran(outputs: Path):
    """Five stages and a cover; of a failed run the stages up to the failure."""
    done, failed = outputs / "runs/flights-20261122T140500Z-7c1e", outputs / "runs/flights-20261114T164000Z-b200"
    assert [path.stem for path in pages(done)] == [*STAGES, "index"]
    assert [path.stem for path in pages(failed)] == [*STAGES[:2], "index"]


def test_every_link_leads_to_a_file_or_a_place_on_the_page(outputs: Path):
    """Nothing on a page leads nowhere."""
    for path in pages(outputs):
        page = Page(path)
        ids = {attributes.get("id") for _, attributes in page.tags}
        for href in (a["href"] for tag, a in page.tags if tag in ("a", "use") and "href" in a):
            if not href.startswith("http"):
                assert (href[1:] in ids) if href.startswith("#") else (path.parent / href).is_file(), (path.name, href)


def test_pages_have_what_a_reader_and_a_screen_reader_need(outputs: Path):
    """A language, one title, one first heading, one main, the policy, unique ids."""
    for path in pages(outputs):
        page = Page(path)
        tags = [tag for tag, _ in page.tags]
        assert [tags.count(tag) for tag in ("title", "h1", "main")] == [1, 1, 1]
        assert ("html", {"lang": "en"}) in page.tags
        assert POLICY in [attributes.get("content") for _, attributes in page.tags]
        ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
        assert len(ids) == len(set(ids))


def test_no_page_holds_script_handler_or_remote_address(outputs: Path):
    """Also where every text of the record is an attack."""
    for path in pages(outputs):
        for tag, attributes in Page(path).tags:
            assert tag not in {"script", "iframe", "object", "embed", "form", "link", "base"}
            assert not [name for name in attributes if name.startswith("on")]
            assert (attributes.get("src") or "data:").startswith("data:")
            assert not (attributes.get("href") or "").lower().startswith(("javascript:", "data:"))


def test_same_record_gives_the_same_bytes(outputs: Path):
    """Rendering again changes nothing."""
    before = {path: path.read_bytes() for path in pages(outputs)}
    for run in (outputs / "runs").iterdir():
        render_run(run)
    render_index(outputs)
    assert {path: path.read_bytes() for path in pages(outputs)} == before


def test_five_pages_and_the_cover_take_less_than_two_seconds(outputs: Path):
    """Imports apart, which the first rendering has done; no page is heavy."""
    run = outputs / "runs/flights-20261122T140500Z-7c1e"
    begin = time.process_time()
    render_run(run)
    assert time.process_time() - begin < 2
    assert max(path.stat().st_size for path in pages(outputs)) < 1_500_000


def test_the_cover_shows_the_verdict_first(outputs: Path):
    """Question, verdict, number, interval and what to do stand in this order."""
    text = Page(outputs / "runs/flights-20261122T140500Z-7c1e/index.html").text
    places = [
        text.index(word) for word in ("Will this flight", "Accepted", "0.679", "0.654 to 0.701", "What to do next")
    ]
    assert places == sorted(places)


def test_every_number_of_the_panel_and_the_gates_is_in_the_record(outputs: Path):
    """Each number is one of the record, rounded."""
    folder = outputs / "runs/flights-20261122T140500Z-7c1e"
    markup = (folder / "index.html").read_text()
    panel = markup[markup.index('<section class="verdict') : markup.index('<div class="todo">')]
    shown = {float(x) for x in re.findall(r"(?<![\w.#-])\d+\.\d+\b", re.sub(r"<[^>]+>", " ", panel))}
    record = read_record(folder)
    sources = [*record.metrics.values(), *(row for s in record.stages for row in s.headline.interval_rows)]
    ends = [getattr(source, name) for source in sources for name in ("value", "low", "high")]
    known = [end for end in ends if end is not None and not math.isnan(end)]
    assert shown
    assert all(any(abs(x - y) <= 0.00051 for y in known) for x in shown)


def test_undecided_run_says_what_is_missing(outputs: Path):
    """The word, and the evidence that would decide."""
    text = Page(outputs / "runs/flights-20261115T093000Z-41d0/index.html").text
    assert "Insufficient evidence" in text
    assert "10 times as many days would not decide it" in text


def test_failure_page_marks_the_line_and_shows_the_fix(outputs: Path):
    """Message, place, correction, the cell with its line, the traceback without colors."""
    path = outputs / "runs/flights-20261114T164000Z-b200/index.html"
    page, markup = Page(path), path.read_text()
    assert "Stopped in stage 2, Data: the data are not as promised" in page.text
    assert "<del>wind_gust</del> <ins>wind_gst</ins>" in markup
    assert re.search(r'class="marked">X = require_columns', markup)
    assert "\x1b" not in markup


def write_record(folder: Path, **changes) -> Path:
    """A run folder that holds a record and nothing else."""
    folder.mkdir(parents=True)
    (folder / "run.json").write_bytes(canonical_json(made_record(folder.name, "wine", **changes)))
    return folder


@pytest.mark.parametrize("status", ["running", "succeeded", "failed", "interrupted"])
def test_an_empty_record_still_gives_a_truthful_cover(tmp_path: Path, status: str):
    """No headline, metric, verdict, input or notebook: the page says what is known."""
    folder = write_record(tmp_path / "runs" / "wine-1", status=status)
    assert [path.name for path in render_run(folder)] == ["index.html"]
    text = Page(folder / "index.html").text
    assert {"running": "Running", "succeeded": "No verdict"}.get(status, status.capitalize()) in text


def test_a_run_whose_process_is_gone_gets_the_failure_page(tmp_path: Path):
    """Nobody was left to write `interrupted` into the record."""
    gone = {"pid": 1, "boot_id": "another", "started": 0.0}
    folder = write_record(tmp_path / "runs" / "wine-1", process=gone)
    Run(folder, STAGES[0]).update(lambda record: record.with_stage(STAGES[0], status="running"))
    render_run(folder)
    assert "Interrupted" in Page(folder / "index.html").text
    assert "Interrupted" in Page(folder / f"{STAGES[0]}.html").text


def test_page_of_a_stage_that_is_not_run_any_more_is_removed(tmp_path: Path):
    """It would tell of an earlier turn."""
    folder = write_record(tmp_path / "runs" / "wine-1")
    (folder / f"{STAGES[3]}.html").write_text("old")
    render_run(folder)
    assert not (folder / f"{STAGES[3]}.html").exists()


def test_stage_without_its_notebook_has_a_page(tmp_path: Path):
    """A draft's notebooks stay where they were run."""
    folder = write_record(tmp_path / "runs" / "wine-1")
    Run(folder, STAGES[0]).update(lambda record: record.with_stage(STAGES[0], status="succeeded", seconds=1.0))
    render_run(folder)
    assert "is not in the run folder" in Page(folder / f"{STAGES[0]}.html").text


def test_index_lists_all_runs_and_a_damaged_record_hides_none(tmp_path: Path):
    """Newest first by project; what cannot be read is left out."""
    for number in (1, 2):
        write_record(tmp_path / "runs" / f"wine-{number}", started_at=f"2026-11-2{number}T14:05:00Z")
    damaged = write_record(tmp_path / "runs" / "wine-3")
    (damaged / "run.json").write_text("{")
    text = Page(render_index(tmp_path)).text
    assert text.index("run wine-2") < text.index("run wine-1")
    assert "2 runs of 1 project" in text


def test_index_of_no_run_says_how_to_make_one(tmp_path: Path):
    """The first page that a new user may open."""
    assert "There is no run yet" in Page(render_index(tmp_path)).text


def test_pages_name_only_commands_that_exist(outputs: Path):
    """A reader may type what a page says."""
    from typer.main import get_command

    from tdsp.cli.app import app

    verbs = set(get_command(app).commands)
    named = {verb for path in pages(outputs) for verb in re.findall(r"<code>tdsp (\w+)", path.read_text())}
    assert {"predict", "run", "check", "runs", "show", "report"} <= named
    assert named <= verbs


def test_documents_show_what_a_person_has_to_fill_in(tmp_path: Path):
    """Incomplete documents are shown with their missing fields, complete ones folded."""
    documents = [
        {"title": "Charter", "path": "run.json", "filled": 9, "fields": 9, "missing": []},
        {"title": "Exit report", "path": "run.json", "filled": 12, "fields": 14, "missing": ["benefit", "owner"]},
    ]
    facts = {"documents": {"value": documents, "stage": STAGES[4]}}
    folder = write_record(tmp_path / "runs" / "wine-1", status="succeeded", facts=facts)
    render_run(folder)
    text = Page(folder / "index.html").text
    assert "Documents: 1 of 2 complete" in text
    assert "12 of 14 benefit; owner" in text


def test_code_in_our_sentences_is_set_as_code_after_escaping():
    """A hostile name inside backticks stays text."""
    assert str(ticks("use `<b>`")) == "use <code>&lt;b&gt;</code>"
    assert str(message("No column 'a'. Did <you> mean 'b'?")) == (
        "<strong>No column <code>a</code>.</strong> Did &lt;you&gt; mean <code>b</code>?"
    )


# in a browser -------------------------------------------------------------------------------------------------------
KINDS = {
    "cover": "runs/flights-20261122T140500Z-7c1e/index.html",
    "data": f"runs/flights-20261122T140500Z-7c1e/{STAGES[1]}.html",
    "model": f"runs/flights-20261122T140500Z-7c1e/{STAGES[2]}.html",
    "undecided": "runs/flights-20261115T093000Z-41d0/index.html",
    "failure": "runs/flights-20261114T164000Z-b200/index.html",
    "hostile": "runs/hostile-1/index.html",
    "runs": "index.html",
    "compare": "compare/41d0-7c1e.html",
}


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_page_has_no_accessibility_violation_with_all_folds_open(visit, axe, outputs: Path, kind: str):
    """axe-core, light and dark, wide and narrow."""
    for scheme, width in (("light", 1280), ("dark", 390)):
        seen = visit(outputs / KINDS[kind], width=width, scheme=scheme)
        seen.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        seen.page.evaluate(axe + ";0")
        found = seen.page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        assert [(v["id"], v["nodes"][0]["target"], v["nodes"][0].get("failureSummary")) for v in found] == []


@pytest.mark.browser
@pytest.mark.parametrize("kind", KINDS)
def test_page_fits_a_small_phone_fetches_nothing_and_breaks_no_rule(visit, outputs: Path, kind: str):
    """No sideways scroll at 360 px, folds open or closed; no request; no message of the policy."""
    seen = visit(outputs / KINDS[kind], width=360)
    assert seen.overflow == 0
    seen.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert (seen.overflow, seen.requests, seen.errors) == (0, [], [])


@pytest.mark.browser
@pytest.mark.slow
def test_no_payload_runs(visit, outputs: Path):
    """Every page of two runs in which titles, columns, parameters, messages and outputs are attacks."""
    attacked = [*pages(outputs / "runs/hostile-1"), *pages(outputs / "runs/hostile-2"), outputs / "index.html"]
    assert len(attacked) == 11
    for path in attacked:
        seen = visit(path)
        dialogs: list[str] = []
        seen.page.on("dialog", lambda dialog, dialogs=dialogs: (dialogs.append(dialog.message), dialog.dismiss()))
        seen.page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; d.focus() })")
        assert (dialogs, seen.errors, seen.requests) == ([], [], []), path
        assert seen.page.evaluate("document.scripts.length") == 0


@pytest.mark.browser
def test_print_opens_the_folds_and_leaves_the_code_out(visit, outputs: Path):
    """On paper nothing can be unfolded, and nobody reads code."""
    page = visit(outputs / KINDS["cover"]).page
    page.emulate_media(media="print", color_scheme="dark")
    height = page.evaluate("document.querySelector('details:not(.bulk) table').getBoundingClientRect().height")
    background = page.evaluate("getComputedStyle(document.querySelector('.first')).backgroundColor")
    assert height > 100
    assert background == "rgb(227, 243, 236)"  # light, whatever the screen was
