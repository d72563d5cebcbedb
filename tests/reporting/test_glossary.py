"""glossary: the first use of a term on a page leads to its meaning, and nothing else is touched."""

import re
from pathlib import Path

import pytest

from tdsp.reporting.glossary import glossary_markdown, link_terms, read_glossary


def links(body: str) -> list[str]:
    """Return the linked texts of a body."""
    return re.findall(r'class="term" href="#word-\d+">([^<]*)</a>', link_terms(f"<main>{body}</main>"))


def test_only_the_first_use_is_linked_and_the_meaning_follows_at_the_end():
    """A reader is led once, in the order of the page; the list is sorted."""
    page = link_terms("<h1>t</h1><main><p>A gate, two Gates, ROC-AUC.</p></main><footer>gate</footer>")
    assert links("<p>A gate, two Gates, ROC-AUC.</p>") == ["gate", "ROC-AUC"]
    assert page.index('<dt id="word-1">gate</dt>') < page.index('<dt id="word-2">ROC-AUC</dt>')
    assert page.endswith("</main><footer>gate</footer>")


@pytest.mark.parametrize("tag", ["code", "pre", "h2", "a", "summary", "svg"])
def test_code_headings_and_links_stay_as_they_are(tag: str):
    """The term inside is left, the one after it is linked."""
    assert links(f"<p><{tag}>a gate</{tag}> and a leak</p>") == ["leak"]


@pytest.mark.parametrize(
    "text", ["gatekeeper", "agate", "gate-like", "log-gate", "figures/gate.csv", "<img alt='gate'>"]
)
def test_parts_of_words_and_attributes_are_no_terms(text: str):
    """Only whole words of the text count."""
    assert links(text) == []


def test_the_longer_term_wins_and_any_blank_will_do():
    """Balanced accuracy is not accuracy; a line break or a narrow blank counts as a blank."""
    assert links("balanced\naccuracy, 95\u202f% interval") == ["balanced\naccuracy", "95\u202f% interval"]


def test_markup_in_a_text_stays_text():
    """Escaped markup around a term stays escaped."""
    assert "&lt;script&gt;" in link_terms("<main>&lt;script&gt; gate</main>")
    assert link_terms("<main>nothing</main>") == "<main>nothing</main>"


def test_each_meaning_is_one_plain_sentence_or_two():
    """Short, ended, and without a superlative."""
    for name, meaning in read_glossary().meanings.items():
        assert meaning.endswith("."), name
        assert len(meaning) <= 120, name


def test_the_documentation_is_written_from_the_same_terms():
    """docs/glossary.md is current; every alias and every term that is not linked exists."""
    assert (Path(__file__).parents[2] / "docs/glossary.md").read_text(encoding="utf-8") == glossary_markdown()
    terms = read_glossary()
    assert set(terms.aliases.values()) | terms.not_linked <= set(terms.meanings)


def test_pages_of_earlier_runs_lead_to_the_present_term():
    """Their notebooks name the test set otherwise."""
    page = link_terms("<main>the test part, the test set</main>")
    assert page.count('class="term"') == 1 and '<dt id="word-1">test set</dt>' in page
