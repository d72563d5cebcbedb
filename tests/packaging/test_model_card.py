"""The model card: nine sections, gaps named, values from data harmless."""

import re

import pytest

from tdsp.core.errors import BundleError
from tdsp.packaging.model_card import FIELDS, SECTIONS, card_html, card_markdown, is_missing, missing_fields

HOSTILE = "<img src=x onerror=alert(1)>|`a`\n# [x](javascript:1)"


@pytest.mark.parametrize("value", [None, "", "  ", "TODO", "tbd", "<name>", "???", "...", [], {"not_applicable": ""}])
def test_a_placeholder_is_missing(value: object) -> None:
    """A statement that was forgotten counts as none."""
    assert is_missing(value)


@pytest.mark.parametrize("value", [0, False, "none", "a < b", ["x"], {"not_applicable": "no people are involved"}])
def test_an_answer_is_not_missing(value: object) -> None:
    """Zero, no, and a reasoned "not applicable" are answers."""
    assert not is_missing(value)


@pytest.mark.parametrize("render", [card_markdown, card_html])
def test_both_renderings_have_nine_sections_and_name_the_gaps(render) -> None:  # type: ignore[no-untyped-def]
    """An empty card is a list of questions, not an empty page."""
    card = render("flights", {})
    assert all(section in card for section in SECTIONS)
    assert card.count("missing, to be stated") == len(missing_fields({})) == 16
    assert "not measured in this run" in card


def test_what_was_looked_for_and_not_found_is_an_answer() -> None:
    """An empty list of suspects says none; no list says that nobody looked."""
    assert "- **Columns suspected of leakage**: none" in card_markdown("m", {"leakage": []})
    assert "- **Columns suspected of leakage**: not measured" in card_markdown("m", {})


@pytest.mark.parametrize("value", [HOSTILE, [HOSTILE], {HOSTILE: HOSTILE}, [{HOSTILE: HOSTILE}]])
def test_values_from_data_stay_text(value: object) -> None:
    """No tag opens, no line breaks, no table cell splits, in either rendering."""
    page = card_html(HOSTILE, {"slices": value, "owner": value})
    assert "<img" not in page
    assert "<script" not in page
    card = card_markdown(HOSTILE, {"slices": value, "owner": value})
    assert "<img" not in card
    assert not re.search(r"(?<!\\)[|`]a", card)
    assert "\n# [x" not in card


def test_an_unknown_field_is_refused_with_the_closest() -> None:
    """A misspelt key would otherwise vanish from the card."""
    with pytest.raises(BundleError, match=r"no field 'ownr'\. Did you mean 'owner'"):
        card_markdown("m", {"ownr": "me"})


def test_fields_are_unique() -> None:
    """One key, one place on the page."""
    assert len(FIELDS) == sum(map(len, SECTIONS.values()))
