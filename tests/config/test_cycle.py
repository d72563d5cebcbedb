"""The settings of a loop are read as strictly as parameters."""

from pathlib import Path

import pytest

from tdsp.config.cycle import read_cycle
from tdsp.core.errors import ParameterError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("evry: week", "cycle.yaml:1: unknown parameter 'evry'. Did you mean 'every'"),
        ("every: year", "'year' is none of day, week, month"),
        ("cool_down: -1", "cycle.yaml:1: cool_down is -1; use 0 or more"),
        ("every: week\nevery: day", "every occurs twice"),
        ("cost: 12.0", "needs both cost and value_of_loss"),
        ("labels_from: truth.csv", "belongs to rows that data names"),
        ("on_alarm: maybe", "on_alarm"),
        ("- every", "expected `name: value` lines"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(tmp_path: Path, text: str, message: str):
    """A misspelled name, a value out of range, half a rule: one message, nothing taken."""
    (tmp_path / "flights.cycle.yaml").write_text(text)
    with pytest.raises(ParameterError, match="cannot be used") as raised:
        read_cycle(tmp_path / "flights.yaml")
    assert message in str(raised.value)


def test_without_a_file_the_defaults_hold(tmp_path: Path):
    """Months, an alarm as the only trigger, one month of rest."""
    found = read_cycle(tmp_path / "flights.yaml")
    assert (found.every, found.on_alarm, found.retrain_every, found.cool_down) == ("month", True, 0, 1)
