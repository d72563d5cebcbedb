"""Numbers in words, tables, figures: what a reader sees of a value."""

import base64
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsp.core import formatting
from tdsp.core.errors import TdspError
from tdsp.core.files import canonical_json
from tdsp.core.record import Run, new_record
from tdsp.core.results import Gate
from tdsp.reporting import show
from tdsp.stats import plotting


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run in an empty folder, held by stage 3."""
    folder = tmp_path / "wine-draft"
    folder.mkdir()
    (folder / "run.json").write_bytes(canonical_json(new_record("wine-draft", "wine", fixed=False)))
    return Run(folder, "3_modeling")


def _line(title: str = "The score rises", ticks: tuple[str, ...] = ("a", "b")):
    with plotting.report_axes() as ax:
        ax.plot(list(ticks), range(len(ticks)))
        ax.set(title=title)
    return ax


def test_interval_decides_the_decimals() -> None:
    """Value and interval carry the decimals that the half-width supports."""
    assert formatting.format_estimate(0.67893, 0.6541, 0.7012) == ("0.679", "0.654 to 0.701")
    assert formatting.format_estimate(0.7, 0.695, 0.705) == ("0.700", "0.695 to 0.705")
    assert formatting.format_estimate(0.44, 0.29, 0.57) == ("0.44", "0.29 to 0.57")
    assert formatting.format_estimate(2912.3, 2800, 3000) == ("2,912", "2,800 to 3,000")
    assert formatting.format_estimate(-0.02, -0.031, -0.008) == ("−0.020", "−0.031 to −0.008")


@given(st.floats(-1e9, 1e9), st.floats(1e-9, 1e6))
def test_value_and_bounds_have_equal_decimals(value: float, half: float) -> None:
    """Whatever the size, the three numbers are rounded alike."""
    number, interval = formatting.format_estimate(value, value - half, value + half)
    decimals = {len(text.partition(".")[2]) for text in (number, *interval.split(" to "))}
    assert len(decimals) == 1


@given(st.one_of(st.none(), st.floats(), st.integers(), st.text(), st.booleans()))
def test_every_value_has_a_text(value: object) -> None:
    """No value makes a formatter fail, and what is no number is not measured."""
    formatters = [getattr(formatting, n) for n in dir(formatting) if n.startswith("format_") and n != "format_estimate"]
    for formatter in [*formatters, formatting.cell_text]:
        assert isinstance(formatter(value), str)


def test_missing_number_is_not_measured() -> None:
    """NaN, infinity, nothing and a truth value are no numbers."""
    assert {formatting.format_number(v) for v in (float("nan"), float("inf"), None, True, "0.7")} == {"not measured"}


def test_durations_and_sizes_have_readable_units() -> None:
    """Units change with the size."""
    texts = " | ".join(formatting.format_seconds(s) for s in (0.0032, 0.024, 0.4, 3.21, 41.2, 192, 7500))
    assert texts.replace("\u00a0", " ") == "3.2 ms | 24 ms | 400 ms | 3.2 s | 41 s | 3 min 12 s | 2 h 5 min"
    assert [formatting.format_bytes(b) for b in (812, 14_200, 1_530_000)] == ["812\u00a0B", "14\u00a0KB", "1.5\u00a0MB"]


def test_bound_never_rounds_onto_the_limit() -> None:
    """A lower bound just under the limit gets the decimals that show it."""
    row = show.gate_row(Gate("AUC", ">=", 0.64, 0.6196, 0.66, 0.62))
    assert row["95 % interval"].startswith("0.6196")


def test_figure_follows_both_schemes_and_names_no_remote_address() -> None:
    """The SVG holds both palettes, only palette colors as variables, and nothing to fetch."""
    svg = plotting.themed_svg(_line().figure)
    assert "prefers-color-scheme:dark" in svg
    assert "var(--blue)" in svg
    assert not re.findall(r"(?:fill|stroke): #[0-9a-f]{6}", svg)
    assert not re.findall(r'(?:href|src)="(?!#)', svg)
    assert "DOCTYPE" not in svg


def test_same_drawing_gives_the_same_bytes() -> None:
    """No date, no random id."""
    assert plotting.themed_svg(_line().figure) == plotting.themed_svg(_line().figure)


def test_hostile_labels_are_text() -> None:
    """Markup is escaped, mathematics is not read, control characters are left out."""
    from xml.etree import ElementTree

    hostile = ("</text><script>alert(1)</script>", "price $x_{", "a\x00\x08b", "\u6f22")
    svg = plotting.themed_svg(_line("$\\frac{1", hostile).figure)
    texts = [node.text for node in ElementTree.fromstring(svg).iter() if node.tag.endswith("}text")]
    assert "<script" not in svg
    assert "price $x_{" in texts
    assert "ab" in texts
    assert "$\\frac{1" in texts


def test_figure_is_saved_with_its_data_and_alt_text(run: Run) -> None:
    """SVG and CSV are artifacts; the picture in the notebook needs no other file."""
    ax = plotting.with_alt_text(
        _line(), alt='It rises from "0" to 1 <b>', data=pd.DataFrame({"x": ["a", "b"], "y": [0, 1]})
    )
    shown = show.show(run, ax, "rise", caption="Two points.", cover=True)
    entries = {a.path: a for a in run.record.artifacts}
    assert entries["artifacts/rise.svg"].alt == 'It rises from "0" to 1 <b>'
    assert entries["artifacts/rise.svg"].cover
    assert entries["artifacts/rise.svg"].title == "The score rises"
    assert (run.folder / "artifacts/rise.csv").read_text() == "x,y\na,0\nb,1\n"
    payload = re.search(r'base64,([^"]+)"', shown._repr_html_())[1]  # type: ignore[index]
    assert base64.b64decode(payload) == (run.folder / "artifacts/rise.svg").read_bytes()
    assert "It rises from &quot;0&quot; to 1 &lt;b&gt;" in shown.html


def test_show_without_a_run_saves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may use it in a notebook of their own."""
    monkeypatch.chdir(tmp_path)
    assert "<table" in show.show(None, pd.DataFrame({"a": [1]}), "t").html
    assert "<img" in show.show(None, _line().figure, "f").html
    assert list(tmp_path.iterdir()) == []


def test_table_escapes_cells_and_aligns_numbers() -> None:
    """Every text is escaped; one number of decimals a column; every cell repeats its label."""
    table = pd.DataFrame({"column": ["<script>", "b"], "lost": [0.0612, None], "<i>": [1200, 3]})
    html = show.table_html(table, caption="A & B")
    assert "<script>" not in html
    assert "<i>" not in html
    assert "<caption>A &amp; B</caption>" in html
    assert '<td class="num" data-l="lost">0.0612</td>' in html
    assert '<td class="num" data-l="lost">–</td>' in html
    assert html.count('scope="col"') == 3
    assert html.count('scope="row"') == 2


def test_long_table_says_where_the_rest_is(run: Run) -> None:
    """A page shows 50 rows, the CSV all."""
    html = show.show(run, pd.DataFrame({"n": range(1234)}), "many").html
    assert "The first 50 of 1,234 rows; all are in artifacts/many.csv." in html
    assert html.count("<tr>") == 51
    assert len((run.folder / "artifacts/many.csv").read_text().splitlines()) == 1235


def test_csv_holds_no_formula() -> None:
    """A text that a spreadsheet would run gets an apostrophe; numbers stay numbers."""
    table = pd.DataFrame({"=a": ["=1+1", "@x", "-2.5", "+cmd", "-x"], "n": [-1.5, 2, 3, 4, 5]})
    lines = show.write_csv(table).decode().splitlines()
    assert lines == ["'=a,n", "'=1+1,-1.5", "'@x,2.0", "-2.5,3.0", "'+cmd,4.0", "'-x,5.0"]


def test_table_survives_what_tables_can_be() -> None:
    """Doubled names, no rows, categories, dates, infinities and lists all give a page and a file."""
    odd = pd.DataFrame([[1, "x"]], columns=["a", "a"])
    columns = {
        "c": pd.Categorical(["u", None]),
        "d": pd.to_datetime(["2013-10-19T00:00Z", "2013-10-20T05:00Z"]),
        "f": [float("inf"), 1.0],
        "l": [[1, 2], []],
        "b": [True, False],
    }
    rich = pd.DataFrame(columns, index=["r1", "r2"])
    for table in (pd.DataFrame(), pd.DataFrame({"a": []})):
        assert show.table_html(table, caption="Left out.") == "<p>Left out. None.</p>"
    for table in (odd, rich, rich.T):
        assert "<table" in show.table_html(table)
        assert isinstance(show.write_csv(table), bytes)
    assert "19 Oct 2013" in show.table_html(rich)
    assert "1, 2" in show.table_html(rich)


@dataclass(frozen=True)
class Split:
    """A record of two fields."""

    kind: str
    train_rows: int


def test_records_mappings_and_gates_are_tables() -> None:
    """Values that cross a module can be shown as they are."""
    assert show.as_table(Split("time", 800)).to_dict("list") == {
        "what": ["kind", "train_rows"],
        "value": ["time", "800"],
    }
    assert list(show.as_table([Split("time", 8), Split("random", 9)]).columns) == ["kind", "train_rows"]
    assert list(show.as_table({"rows": 3}).columns) == ["what", "value"]
    gate = Gate("g", "<=", 24.0, 24.0, 24.0, 50.0, "ms")
    assert show.as_table([gate]).iloc[0].to_dict() == {
        "gate": "g", "value": "24 ms", "95 % interval": "", "limit": "≤ 50 ms", "rule": "the value decides",
        "power": "exact, no chance in it", "answer": "go",
    }  # fmt: skip


def test_what_cannot_be_shown_is_named() -> None:
    """An object that is no table, and a name that is no file name, say what to give instead."""
    with pytest.raises(TdspError, match="cannot show a int"):
        show.show(None, 3, "n")
    with pytest.raises(TdspError, match="no file name"):
        show.show(None, pd.DataFrame(), "../n")


def _printed(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_import_loads_no_heavy_library() -> None:
    """Figures and tables are imported when there are some."""
    code = "import sys, tdsp.reporting.show; print([m for m in ('matplotlib', 'pandas', 'numpy') if m in sys.modules])"
    assert _printed(code) == "[]"


def test_no_backend_is_chosen_for_the_user() -> None:
    """A figure is drawn and saved without pyplot."""
    code = "import sys\nfrom tdsp.reporting.show import show\nfrom tdsp.stats.plotting import report_axes\n"
    code += "with report_axes() as ax: ax.plot([1])\nshow(None, ax, 'a')"
    assert _printed(code + "; print('matplotlib.pyplot' in sys.modules)") == "False"


def test_hash_is_shortened_and_a_mapping_is_spelled_out() -> None:
    """A cell is for reading; the CSV holds the whole value."""
    assert formatting.cell_text("ab" * 32) == "ababab…abab"
    assert formatting.cell_text({"numpy": "2.4.6", "rows": 1200}) == "numpy: 2.4.6; rows: 1,200"


def test_sizes_that_differ_widely_are_rounded_one_by_one() -> None:
    """One number of decimals would be too many for the large values and none for the small."""
    html = show.table_html(pd.DataFrame({"name": ["a", "b", "c"], "max": [4254.0, 0.03128, 2.5]}))
    assert re.findall(r'data-l="max">([^<]*)', html) == ["4,254", "0.0313", "2.5"]
