"""Texts are never read wrongly without a word; `python -m tests.benchmarks.reading` shows all, by kind."""

import pytest

from tests.benchmarks import reading

MADE = reading.made()
FIRST = list({entry.kind: entry for entry in reversed(MADE)}.values())


@pytest.mark.parametrize("entry", FIRST, ids=lambda entry: entry.kind)
def test_a_text_of_each_kind_is_right_or_says_what_is_not(entry):
    """The first input of each kind."""
    assert reading.outcome(entry)[0] != "SILENTLY WRONG"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_text_is_read_wrongly_without_a_word():
    """All inputs that are made, and those of the cases where they are there; most are right."""
    inputs = [*MADE, *(reading.cases() if reading.CASES.is_dir() else ())]
    found = [(entry.kind, entry.name, *reading.outcome(entry)) for entry in inputs]
    assert [entry for entry in found if entry[2] == "SILENTLY WRONG"] == []
    assert sum(entry[2] == "right" for entry in found) >= 0.95 * len(found)


def test_a_wrong_value_without_a_remark_is_found():
    """The measure itself: another truth than the file's is silently wrong where no remark names the column."""
    entry = reading.column("any", "plain", ["1.5"] * reading.ROWS, [2.5] * reading.ROWS)
    assert reading.outcome(entry)[0] == "SILENTLY WRONG"
    marked = reading.column("any", "marked", ["1.5 kg"] * reading.ROWS, [2.5] * reading.ROWS)
    assert reading.outcome(marked)[0] in ("said", "SILENTLY WRONG")
