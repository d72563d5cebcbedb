"""An executed notebook as the body of a page: what is kept, what is folded, what is gone."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from tdsp.reporting.notebook_html import (
    clean,
    fold_cells,
    notebook_body,
    opening_question,
    plain_text,
    render_stream,
)
from tdsp.reporting.show import table_html

PAYLOADS = [
    "<script>alert(1)</script>",
    "<ScRiPt/src=//evil.example/x.js></sCrIpT>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<svg><script>alert(1)</script></svg>",
    '<a href="javascript:alert(1)">x</a>',
    '<a href="JaVaScRiPt&colon;alert(1)">x</a>',
    '<a href="data:text/html,<script>alert(1)</script>">x</a>',
    '<iframe srcdoc="<script>alert(1)</script>"></iframe>',
    "<object data='data:text/html;base64,PHNjcmlwdD4='></object>",
    "<embed src='javascript:alert(1)'>",
    "<details open ontoggle=alert(1)>x</details>",
    "<input autofocus onfocus=alert(1)>",
    "<form action='javascript:alert(1)'><button>go</button></form>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)></style></mglyph></table></mtext></math>",
    "<style>@import 'http://evil.example/x.css';</style>",
    "<p style='background:url(http://evil.example/a.png)'>x</p>",
    "<link rel=stylesheet href=http://evil.example/x.css>",
    "<meta http-equiv=refresh content='0;url=http://evil.example/'>",
    "<base href='http://evil.example/'>",
    "<video poster=http://evil.example/a.png><source onerror=alert(1)></video>",
    "<img src='http://evil.example/a.png'>",
    "<img src='data:image/svg+xml,<svg onload=alert(1)>'>",
    "</title></style></textarea></script><script>alert(1)</script>",
    "'\"><script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}<script>alert(1)</script>",
    "<!--><script>alert(1)</script>-->",
    "<noscript><p title='</noscript><script>alert(1)</script>'>",
    "<body onload=alert(1)>",
    "<marquee onstart=alert(1)>x</marquee>",
    "<audio src=x onerror=alert(1)>",
    "<svg><use href='data:image/svg+xml,<svg id=x onload=alert(1)>#x'/></svg>",
    "<svg><foreignObject><iframe src=javascript:alert(1)></foreignObject></svg>",
    "<a href='vbscript:alert(1)'>x</a>",
    "<a href=' \tjavascript:alert(1)'>x</a>",
    "<a href='//evil.example/' onclick=alert(1)>x</a>",
    "<p id=x tabindex=1 onfocusin=alert(1)>x</p>",
    "<img srcset='http://evil.example/a.png 1x'>",
    "<img src='data:text/html,<script>alert(1)</script>'>",
    "<template><script>alert(1)</script></template>",
    "<select><option><script>alert(1)</script></select>",
    "<title><script>alert(1)</script></title>",
    "<textarea autofocus onfocus=alert(1)></textarea>",
    "<plaintext><script>alert(1)</script>",
    "<xmp><script>alert(1)</script></xmp>",
    "<keygen autofocus onfocus=alert(1)>",
    "<table background='javascript:alert(1)'><td>x</table>",
    "<!--[if gte IE 4]><script>alert(1)</script><![endif]-->",
    "]]><script>alert(1)</script><![CDATA[",
    "`${alert(1)}` **[x](vbscript:alert(1))**",
    "![x](http://evil.example/a.png) [y](data:text/html,z)",
]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_that_could_run_or_fetch_is_left(payload):
    """Scripts, handlers, styles, forms, frames and remote pictures are gone."""
    cleaned = clean(f"<p>before</p>{payload}<p>after</p>")
    for word in ("<script", "onerror=", "onload=", "javascript:", "<iframe", "<object", "<form", "<style", "style="):
        assert word not in cleaned.lower()
    assert not re.search(r"""src=["']?(?!data:image)""", cleaned)
    assert clean(cleaned) == cleaned


def test_attribute_that_looks_like_a_tag_stays_an_attribute():
    """The page's own additions to pictures and tables are never made inside a text."""
    cleaned = clean(
        '<img src="data:image/png;base64,AA==" alt="<img onerror=alert(1) <table>"><table title="</table>">'
    )
    assert cleaned.startswith('<img src="data:image/png;base64,AA==" alt="&lt;img onerror=alert(1) &lt;table&gt;">')


def test_our_tables_and_figures_are_kept():
    """Classes, labels, scopes and data addresses survive."""
    table = '<table class="data"><thead><tr><th scope="col" class="num">n</th></tr></thead></table>'
    assert clean(table) == table
    image = '<img alt="a" width="4" height="3" style="background: #fff" src="data:image/png;base64,AA==">'
    figure = f'<figure class="tdsp">{image}</figure>'
    assert 'src="data:image/png;base64,AA=="' in clean(figure)


def test_foreign_tables_scroll_and_have_no_empty_header():
    """A pandas table may be wider than the page."""
    cleaned = clean('<table border="1" class="dataframe"><tr><th></th><th>a</th></tr></table>')
    assert cleaned.startswith('<div class="scroll" role="group" aria-label="Table" tabindex="0"><table class="raw">')
    assert "<th></th>" not in cleaned


@pytest.mark.parametrize(("rows", "folded"), [(20, False), (21, True)])
def test_long_tables_are_folded_once(rows: int, folded: bool):
    """The fold says how long the table is, and what it holds."""
    table = table_html(pd.DataFrame({"name": list("abcdefghijklmnopqrstuv")[:rows]}), caption="All & more.")
    cleaned = clean(clean(table))
    assert cleaned.count("<details><summary>Show the table of 21 rows: All &amp; more.</summary>") == folded


def test_headings_start_at_the_second_level_and_stage_links_lead_to_pages():
    """The page has the first heading; a reader of the page has no notebook server."""
    cleaned = clean('<h1>a</h1><h5>b</h5><a href="3_modeling.ipynb">c</a>')
    assert cleaned.startswith("<h2>a</h2><h3>b</h3>")
    assert 'href="3_modeling.html"' in cleaned


def test_terminal_output_is_readable():
    """Colors go, and a progress bar leaves its last state."""
    assert plain_text("\x1b[31mred\x1b[0m\n10 %\r100 %\n") == "red\n100 %"


def test_sentences_are_prose_and_long_output_is_folded():
    """Neither a sentence in a code box nor a page of numbers in the way."""
    assert render_stream("455 rows to learn from.") == '<p class="out">455 rows to learn from.</p>'
    assert render_stream("a  b\nc  d").startswith("<pre")
    assert "Output (40 lines)" in render_stream("\n".join("x" * 40))
    assert render_stream("x", "Messages of this cell").startswith("<details")


def code(source, count, outputs=()):
    """A code cell as a notebook file has it."""
    return {"cell_type": "code", "source": source, "execution_count": count, "outputs": list(outputs), "metadata": {}}


SHOWN = {"output_type": "stream", "name": "stdout", "text": ["hello", " world\n"]}


def test_neighbours_that_show_nothing_are_one_fold():
    """Imports, parameters and the opening cell are one line of the page."""
    cells = fold_cells([code("a = 1", 1), code(["b = 2\n", "c = 3"], 2, [SHOWN]), code("d = 4", None), code(" ", 4)])
    labels = [cell["metadata"]["tdsp_label"] for cell in cells]
    assert labels == ["Code of cells 1 to 2 (3 lines)", "Code of a cell that was not run (1 line)"]


def test_notebook_becomes_text_folds_and_outputs(tmp_path: Path):
    """Title and question stand on the page already; headings become the page's contents."""
    markdown = {
        "cell_type": "markdown",
        "source": "# 3 Modeling\nGood enough? Yes & no.\n## Which models?",
        "metadata": {},
    }
    book = {"cells": [markdown, code("x < 1", 5, [SHOWN])], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path = tmp_path / "3_modeling.ipynb"
    path.write_text(json.dumps(book))
    read = notebook_body(path)
    body = read.html
    assert read.question == "Good enough?"
    assert read.contents == (("part-1", "Which models?"),)
    assert read.cells_run == 1
    assert "3 Modeling" not in body
    assert "Good enough?" not in body
    assert "Yes &amp; no." in body
    assert "<summary>Code of cell 5 (1 line)</summary><pre><code>x &lt; 1</code></pre>" in body
    assert '<p class="out">hello world</p>' in body


def test_progress_lines_of_a_cell_are_one_fold(tmp_path: Path):
    """Lines that a search prints piece by piece do not push the result off the page."""
    lines = [{"output_type": "stream", "name": "stdout", "text": f"{n} linear: 0.7\n"} for n in range(5)]
    book = {"cells": [code("search()", 1, lines)], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path = tmp_path / "x.ipynb"
    path.write_text(json.dumps(book))
    body = notebook_body(path).html
    assert body.count("<summary>Output (5 lines)</summary>") == 1
    assert 'class="out"' not in body


@pytest.mark.parametrize(
    ("opening", "question", "rest"),
    [
        ("# 3 Modeling\n\nGood enough? Yes.", "Good enough?", "Yes."),
        ("# 3 Modeling\nFour candidates. Which?", "", "Four candidates. Which?"),
        ("# 3 Modeling", "", ""),
    ],
)
def test_the_question_of_a_page_is_the_one_its_notebook_opens_with(opening: str, question: str, rest: str):
    """The first sentence below the title, where it is a question."""
    assert opening_question(opening) == (question, rest)


def test_pictures_have_alt_text_from_the_output(tmp_path: Path):
    """An image output without our wrapper still says what it shows."""
    image = {
        "output_type": "display_data",
        "data": {"image/png": "AA==\n", "text/plain": "<Figure>", "application/javascript": "alert(1)"},
        "metadata": {"image/png": {"alt": 'Rising "fast"'}},
    }
    book = {"cells": [code("plot()", 1, [image])], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path = tmp_path / "x.ipynb"
    path.write_text(json.dumps(book))
    body = notebook_body(path).html
    assert 'alt="Rising &quot;fast&quot;"' in body
    assert 'src="data:image/png;base64,AA=="' in body
    assert "alert" not in body
