"""charter: what people state is read strictly, and what they do not state is missing."""

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdsp.config.charter import Charter, NotApplicable, count_statements, draft_charter, is_placeholder, read_charter
from tdsp.core.errors import ParameterError

FLIGHTS = Path(__file__).parents[2] / "parameters" / "flights.charter.yaml"


def write(folder: Path, text: str) -> Path:
    """A charter file with this text."""
    path = folder / "wine.charter.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_everything_is_missing(tmp_path):
    """A project without a charter has an empty one."""
    charter = read_charter(tmp_path / "none.charter.yaml")
    assert charter == Charter()
    assert sum(row.stated for row in count_statements(charter)) == 0


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "business:\n", "business:\n  client: TODO\n", "people: []\n"])
def test_empty_sections_and_prompts_state_nothing(tmp_path, text):
    """An empty file, an empty section and an unanswered prompt are the same: nothing is stated."""
    assert read_charter(write(tmp_path, text)) == Charter()


@pytest.mark.parametrize("text", ["TODO", "tbd.", "<name>", "", " ", "'?'", "...", "n/a", "N/A", "'-'", "~", "null"])
def test_a_placeholder_counts_as_missing(tmp_path, text):
    """A prompt that nobody has filled in is no statement."""
    assert read_charter(write(tmp_path, f"business:\n  client: {text}\n")).business.client is None


@pytest.mark.parametrize("text", ["none", "Todorov Ltd", "0", "no"])
def test_a_short_answer_is_an_answer(text):
    """Words that look like a prompt only from afar are kept."""
    assert not is_placeholder(text)


@pytest.mark.parametrize("text", ["10:30", "1.10", "010", "yes", "2026-12-31", "1e-3"])
def test_a_text_stays_as_it_was_typed(tmp_path, text):
    """YAML's own types do not change the text that was written."""
    assert read_charter(write(tmp_path, f"model:\n  licence: {text}\n")).model.licence == text


def test_a_field_that_does_not_apply_needs_its_reason(tmp_path):
    """The reason makes it a statement; without one the field is missing."""
    text = "benefit:\n  company: {not_applicable: public data}\n  customer: {not_applicable: TODO}\n"
    benefit = read_charter(write(tmp_path, text)).benefit
    assert isinstance(benefit.company, NotApplicable)
    assert (benefit.company, benefit.customer) == ("public data", None)


def test_days_and_choices_have_their_types(tmp_path):
    """Dates, yes and no, and closed lists are read as what they are."""
    text = "plan:\n- {phase: pilot, until: 2026-12-31}\nsources:\n  a: {personal_data: no}\n"
    charter = read_charter(write(tmp_path, text))
    assert charter.plan[0].until == date(2026, 12, 31)
    assert charter.sources["a"].personal_data is False


FAULTS = {
    "business:\n  cleint: x\n": r":2: unknown field 'business.cleint'. Did you mean 'client'\?",
    "busines: {}\n": r":1: unknown field 'busines'. Did you mean 'business'\?",
    "columns:\n  temp:\n    meening: x\n": r":3: unknown field 'columns.temp.meening'. Did you mean 'meaning'\?",
    "plan:\n- {phase: a}\n- until: 31.12.2026\n": r":3: plan.2.until: '31.12.2026' is no date; write YYYY-MM-DD",
    "plan:\n- until: 2026-02-30\n": r":2: plan.1.until: '2026-02-30' is no date",
    "sources:\n  a: {personal_data: maybe}\n": r":2: sources.a.personal_data: 'maybe' is neither yes nor no",
    "architecture: {mode: bach}\n": r":1: architecture.mode: 'bach' is none of: .*Did you mean 'batch'\?",
    "decisions:\n  data:\n    decision: procede\n": r":3: decisions.data.decision: .*Did you mean 'proceed'\?",
    "decisions:\n  data: {evidence: deadbeef}\n": r":2: decisions.data.evidence: 'deadbeef' is no evidence hash",
    "business:\n  client: [a, b]\n": r":2: business.client: expected a text, found a list",
    "business: the airline\n": r":1: business: expected a mapping",
    "people:\n  role: lead\n": r":1: people: expected a list",
    "columns: [temp]\n": r":1: columns: expected a mapping",
    "business:\n  client: a\n  client: b\n": r":3: business.client occurs twice; keep one",
    "a: &x 1\nb: *x\n": r":2: write the text out instead of \*x",
    "business:\n\tclient: a\n": r":2: YAML syntax",
    "- a\n": r":1: expected sections",
    "just words\n": r":1: expected sections",
}


@pytest.mark.parametrize(("text", "fault"), FAULTS.items())
def test_a_mistake_is_named_with_its_line(tmp_path, text, fault):
    """Every kind of mistake says where it is and what would be right."""
    with pytest.raises(ParameterError, match=fault):
        read_charter(write(tmp_path, text))


def test_all_mistakes_are_named_at_once(tmp_path):
    """One reading names every fault of a file."""
    text = "business: {cleint: x}\nplan:\n- until: soon\narchitecture: {mode: x}\nmodel: {owner: a, owner: b}\n"
    with pytest.raises(ParameterError, match=r"4 faults") as error:
        read_charter(write(tmp_path, text))
    assert len(str(error.value).splitlines()) == 5


def test_bytes_that_are_no_text_are_refused(tmp_path):
    """A file that is no UTF-8 is named, without a traceback."""
    path = tmp_path / "wine.charter.yaml"
    path.write_bytes(b"business:\n  client: \xff\xfe\n")
    with pytest.raises(ParameterError, match="cannot be read as YAML in UTF-8"):
        read_charter(path)


names = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn", "Co")), min_size=1, max_size=30)


@settings(max_examples=40, deadline=None)
@given(st.lists(names, unique=True, min_size=1, max_size=5))
def test_a_draft_can_be_read_whatever_the_columns_are_called(tmp_path_factory, columns):
    """The draft is valid, names every column, and states nothing but the roles."""
    path = write(tmp_path_factory.mktemp("draft"), draft_charter("wine", columns, sources=["table"]))
    rows = count_statements(read_charter(path), columns=columns, sources=["table"])
    assert {row.section for row in rows if row.stated} == {"people"}
    assert next(row.of for row in rows if row.section == "columns") == 3 * len(columns)


def test_a_draft_shows_the_question_of_each_field():
    """Who fills it in needs no other page."""
    text = draft_charter("wine", ["ash"])
    assert "client: TODO  # Who wants the answer?" in text
    assert "  ash: {meaning: TODO, unit: TODO, known_at_prediction: TODO}" in text


def test_columns_and_sources_that_the_charter_does_not_mention_are_missing():
    """Columns that are in the data and not in the charter are named."""
    rows = {row.section: row for row in count_statements(Charter(), columns=["ash"], sources=["table"])}
    assert rows["columns"].missing == "ash.meaning, ash.unit, ash.known_at_prediction"
    assert rows["sources"].of == 7


def test_the_charter_of_flights_is_complete_and_its_maintainers_decided():
    """Everything is stated about the example, and each decision names who made it and on what evidence."""
    sources = ["flights", "weather", "planes", "airports", "airlines"]
    rows = count_statements(read_charter(FLIGHTS), sources=sources)
    assert not [row.section for row in rows if row.missing]
    assert next(row.stated for row in rows if row.section == "decisions") == 15
