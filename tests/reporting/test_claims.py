"""The checks of sentences against a record notice what is untrue."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.claims import Checker, answer_of, sentences_of, shows

GATE = {
    "name": "ROC-AUC on the test part", "rule": ">=", "value": 0.871, "low": 0.83, "high": 0.91, "limit": 0.85,
    "stage": "3_modeling", "answer": "insufficient evidence",
}  # fmt: skip

BETTER = "the packaged model is better than the best constant guess in ROC-AUC"


@pytest.fixture
def checker(tmp_path: Path) -> Checker:
    """An undecided run without a threshold."""
    score = {"value": 0.871, "low": 0.83, "high": 0.91, "n": 400, "resampled": "rows"}
    record = {
        "verdict": "insufficient evidence", "gates": [GATE], "metrics": {"test_score": score, "accepted_score": score},
        "facts": {"unstated": {"value": ["no_threshold"]}}, "parameters": {"threshold": {"value": 0.0}}, "stages": [],
    }  # fmt: skip
    goal = {"higher_is_better": True, "limit": 0.5, "no_skill": 0.5, "unstated": ["no_threshold"]}
    (tmp_path / "artifacts").mkdir()
    for name, value in (("run.json", record), ("artifacts/goal.json", goal)):
        (tmp_path / name).write_text(json.dumps(value))
    found = Checker(tmp_path)
    found.page = "index"
    return found


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("0 of 1 gate passed.", True),
        ("1 of 1 gate passed.", False),
        ("Cannot be decided yet: ROC-AUC on the test part.", True),
        ("Not passed: ROC-AUC on the test part.", False),
        (f"On the test rows, {BETTER}; what is enough, nobody has stated.", True),
        ("On the test rows, the packaged model reaches the required ROC-AUC.", False),
        ("No threshold is stated; the best constant guess reaches 0.50.", True),
        ("Limit 0.5, set before the run.", False),
        ("do not put this model into service.", False),
        ("state `threshold` in `parameters/a.yaml`, then run again.", True),
        ("state `question` in `parameters/a.yaml`, then run again.", False),
        ("ROC-AUC on the test part is 0.87 (0.83 to 0.91), required ≥ 0.85.", True),
        ("ROC-AUC on the test part is 0.87 (0.83 to 0.91), required ≥ 1.", False),
        ("If the value stays, about 1,130 more rows would decide it.", True),
        ("If the value stays, about 90 more rows would decide it.", False),
        ("It is so near the limit that 10 times as many rows would not decide it.", False),
        ("It is so near the limit that 2 times as many rows would not decide it.", True),
        ("7 blocks of 5 days are too few to decide; 10 are needed.", False),
        ("The interval comes from resampling 400 rows.", True),
        ("The interval comes from resampling 40 whole days.", False),
        ("A sentence that no pattern knows.", None),
    ],
)  # fmt: skip
def test_a_sentence_holds_only_where_the_record_bears_it_out(checker: Checker, text: str, holds: bool | None) -> None:
    """Each kind of claim is noticed when it is untrue; an unknown one is neither."""
    assert checker.check(text) is holds


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({}, "insufficient evidence"),
        ({"limit": 0.8}, "go"),
        ({"limit": 0.95}, "no-go"),
        ({"limit": 0.8, "testable": False, "disproof": True}, "not testable"),
        ({"disproof": True}, "go"),
        ({"low": None, "high": None}, "insufficient evidence"),
    ],
)
def test_verdicts_of_gates_are_computed_anew(changes: dict[str, Any], answer: str) -> None:
    """From value, bounds, rule and limit, whatever the record says."""
    assert answer_of(GATE | changes) == answer


def test_a_limit_that_was_rounded_away_is_no_number_of_the_record() -> None:
    """0.5 is not shown as 0, nor 0.62 as 0.6; decimals may be fewer where they round to it."""
    assert shows("0.62", 0.62) and shows("0.1", 0.1003) and not shows("0", 0.51) and not shows("0.6", 0.67)
    assert sentences_of("It is 0.5. 3 of 4 gates passed. Not passed: a.b.") == [
        "It is 0.5.", "3 of 4 gates passed.", "Not passed: a.b."
    ]  # fmt: skip
