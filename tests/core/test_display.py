"""The HTML of results: escaped, without a style sheet, with shared scales."""

import math

from tdsp.core.display import Markup, card_html, interval_cell, scale_of, sparkline, table_html


def test_text_is_escaped_and_markup_is_not() -> None:
    """A column name that looks like a tag stays text; a picture stays a picture."""
    table = table_html(["<b>", "picture"], [("a & b", Markup("<svg></svg>"))])
    assert "&lt;b&gt;" in table and "a &amp; b" in table and "<svg></svg>" in table
    card = card_html("<i>", ["<p>"], body=table, remarks=["<script>"])
    assert "<script>" not in card and "<i>" not in card and table in card
    assert Markup("<b>") + "<i>" == "<b>&lt;i&gt;" and isinstance(table + table, Markup)


def test_a_table_without_rows_is_empty() -> None:
    """Every header has its cells."""
    assert table_html(["column"], []) == ""


def test_a_distribution_is_drawn_in_block_characters() -> None:
    """The largest count is a full block, nothing is drawn for nothing."""
    assert sparkline([0, 5, 10]) == "▁▅█"
    assert sparkline([]) == sparkline([0, 0]) == ""


def test_an_interval_that_is_unknown_leaves_its_dot() -> None:
    """NaN bounds give no line; a NaN value gives no picture."""
    assert "<line" not in interval_cell(0.5, math.nan, math.nan, start=0, end=1)
    assert interval_cell(math.nan, 0, 1, start=0, end=1) == ""
    assert scale_of([(math.nan, math.nan, math.nan)]) == (0.0, 0.0)
