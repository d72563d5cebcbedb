"""The pages of a real run: what the five notebooks really show, in a real browser."""

import random
import re
from pathlib import Path

import pytest

from tdsp.core.project import STAGES
from tdsp.core.record import read_record
from tdsp.reporting.documents.catalog import read_catalog
from tdsp.reporting.pages import render_run
from tests.support.claims import claims_of
from tests.support.page_numbers import blocks_of, estimates_of, results_of, unfounded

pytestmark = pytest.mark.end_to_end

PAGES = [*STAGES, "index"]
WRITTEN = [f"artifacts/documents/{document.name}" for document in (*read_catalog().documents, read_catalog().datasheet)]
EMPTY_WORDS = re.compile(  # praise that nobody can check, and the word that needs a test
    r"excellent|outstanding|amazing|impressive|remarkable|superb|great|huge|powerful|state.of.the.art|cutting.edge"
    r"|seamless|robust|dramatic|extremely|very|significan\w*|obviously|clearly|simply|please|sorry", re.IGNORECASE
)  # fmt: skip


def test_all_pages_are_there_and_rendering_again_changes_nothing(sample_run: Path):
    """The pipeline has written them; the record gives the same bytes."""
    before = {name: (sample_run / f"{name}.html").read_bytes() for name in PAGES}
    render_run(sample_run)
    assert {name: (sample_run / f"{name}.html").read_bytes() for name in PAGES} == before


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("name", [*PAGES, *WRITTEN[3:8:2], "model/model_card"])
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_page_is_accessible_fits_and_fetches_nothing(visit, axe, sample_run: Path, name, scheme, width):
    """With all folds open, on a wide light screen and on a small dark one."""
    seen = visit(sample_run / f"{name}.html", width=width, scheme=scheme)
    seen.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert (seen.overflow, seen.requests, seen.errors) == (0, [], [])
    seen.page.evaluate(axe + ";0")
    found = seen.page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    assert [(v["id"], v["nodes"][0]["target"]) for v in found] == []


def test_titles_fit_a_phone_and_alt_texts_are_short(sample_run: Path):
    """A title of at most 44 characters, an alt text of at most 40 words; both come from the record."""
    figures = [entry for entry in read_record(sample_run).artifacts if entry.kind == "figure"]
    assert len(figures) > 6
    assert [f.title for f in figures if len(f.title) > 44] == []
    assert [f.alt for f in figures if not 3 < len(f.alt.split()) <= 40] == []


@pytest.mark.browser
def test_every_picture_says_what_it_shows(visit, sample_run: Path):
    """No figure of a stage notebook comes without words of its own."""
    for name in PAGES:
        page = visit(sample_run / f"{name}.html").page
        texts = page.evaluate("[...document.images].map(image => image.alt)")
        assert not [text for text in texts if len(text) < 15 or "without a description" in text]


@pytest.mark.parametrize("name", [*PAGES, *WRITTEN])
def test_every_number_of_a_page_is_a_result_under_a_key(sample_run: Path, name: str):
    """A value with its interval is one entry of the record; any other number is in the record or an artifact."""
    page = (sample_run / f"{name}.html").read_text()
    assert blocks_of(page)
    assert unfounded(page, results_of(sample_run), estimates_of(sample_run)) == []


def test_every_sentence_on_verdict_gates_and_steps_is_borne_out_by_the_record(sample_run: Path):
    """Of an accepted run: each sentence is of a known kind, and computed anew it says the same."""
    claims = claims_of(sample_run)
    assert len(claims) > 40
    assert [claim for claim in claims if not claim.holds] == []


def test_a_number_that_no_run_computed_is_noticed(sample_run: Path):
    """Of false numbers planted one by one, a false interval is always caught, any other one at least 3 in 4 times."""
    page, results, estimates = (sample_run / "index.html").read_text(), results_of(sample_run), estimates_of(sample_run)
    draw = random.Random(2013)  # some of them say the same as hundreds
    start = page.index("<main>")
    spots = [m for m in re.finditer(r"(?<=[\s>(])\d\.\d{2,}(?=[\s<,)])", page) if m.start() > start]
    spots = draw.sample(spots, min(24, len(spots)))
    false = [page[: m.start()] + f"{draw.uniform(0.02, 0.98):.{len(m[0]) - 2}f}" + page[m.end() :] for m in spots]
    caught = sum(bool(unfounded(text, results, estimates)) for text in false)
    assert len(false) > 20
    assert caught >= 0.75 * len(false)
    panel = re.sub(r"(<strong>\d\.\d+ to )\d\.\d+", r"\g<1>0.777", page, count=1)
    assert panel != page
    assert "0.777" in " ".join(unfounded(panel, results, estimates))


@pytest.mark.parametrize("name", [*PAGES, *WRITTEN])
def test_pages_praise_nothing_and_call_nothing_significant(sample_run: Path, name: str):
    """A word that cannot be checked is not on a page; a difference is given with its interval instead."""
    page = re.sub(r"<style>.*?</style>|<pre>.*?</pre>", "", (sample_run / f"{name}.html").read_text(), flags=re.DOTALL)
    text = re.sub(r"<[^>]*>", " ", page)
    assert [text[max(0, m.start() - 40) : m.end() + 20] for m in EMPTY_WORDS.finditer(text) if _whole(text, m)] == []


def _whole(text: str, match: re.Match[str]) -> bool:
    around = text[match.start() - 1 : match.start()] + text[match.end() : match.end() + 1]
    return not re.search(r"[\w-]", around)
