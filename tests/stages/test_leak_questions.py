"""A suspected leak is a question: it shuts the gate until it is answered on the evidence that was seen."""

import numpy as np
import yaml

from tdsp.config.charter import AcceptedFinding, read_charter
from tdsp.data.schema import infer_schema
from tdsp.data.target import require_target
from tdsp.exploration.findings import finding
from tdsp.exploration.leakage import Leak
from tdsp.stages.leak_questions import answer_yaml, ask_about_leaks, leak_gate, questions_table, search_leaks
from tests.exploration.test_leakage import memberships

COPY = Leak("closed_flag", 0.9, 0.4, "closed_flag equals the target in 97 % of the rows", "target-copy", "", 0.97)
PAIR = Leak("start", 1.0, 0.3, "end minus start gives the target", "target-pair", "end", 0.99)
REASON = {"why": "It is set at noon.", "by": "J. Roe"}


def test_an_open_question_leaves_the_gate_undecided():
    """It may be legitimate: neither passed nor failed."""
    gate = leak_gate(ask_about_leaks([COPY, PAIR], [], {}))
    assert gate.answer == "insufficient evidence" and gate.value == 2
    assert "97 % of the rows: is it known before" in gate.note and "are both known before" in gate.note
    assert leak_gate([]).answer == "go"


def test_an_answer_in_the_charter_opens_the_gate_and_is_shown():
    """With its reason and who gave it."""
    questions = ask_about_leaks([COPY], [], {COPY.key: AcceptedFinding(**REASON, evidence=COPY.evidence)})
    gate = leak_gate(questions)
    assert gate.answer == "go" and "It is set at noon. (J. Roe)" in gate.note
    assert list(questions_table(questions)["answer"]) == ["accepted"]


def test_an_answer_on_other_evidence_is_stale():
    """A column that says more than when it was accepted is asked about again."""
    more = Leak("closed_flag", 1.0, 0.4, "closed_flag equals the target in 99 % of the rows", "target-copy", "", 0.99)
    questions = ask_about_leaks([more], [], {COPY.key: AcceptedFinding(**REASON, evidence=COPY.evidence)})
    assert leak_gate(questions).answer == "insufficient evidence"
    assert questions[0].state == "evidence changed" and "accepted on other evidence" in leak_gate(questions).note


def test_an_answer_without_reason_or_evidence_is_none():
    """TODO is no reason."""
    for answer in (AcceptedFinding(evidence=COPY.evidence), AcceptedFinding(**REASON)):
        assert ask_about_leaks([COPY], [], {COPY.key: answer})[0].state == "open"


def test_both_ways_out_are_lines_that_can_be_copied(tmp_path):
    """The parameters keep what was forbidden before; the charter reads its part once TODO is replaced."""
    (question,) = ask_about_leaks([COPY], [], {})
    lines = answer_yaml(question, "tickets", ["sex"])
    stated = yaml.safe_load(lines)
    assert stated["forbidden"] == ["sex", "closed_flag"]
    assert "in place of the present line" in lines and "as a new line" in answer_yaml(question, "tickets")
    file = tmp_path / "tickets.charter.yaml"
    file.write_text(lines.partition("forbidden")[2].partition("\n")[2].replace("TODO", "It is set at noon."))
    assert ask_about_leaks([COPY], [], read_charter(file).findings)[0].state == "accepted"


def test_a_finding_of_a_rule_makes_one_question():
    """Not where the search names the column already, nor where the parameters accept the code."""
    severe = [
        finding("filled-after", "in 9 rows", "closed_flag", "late"),
        finding("filled-after", "in 9 rows", "refund", "late"),
    ]
    assert [q.columns for q in ask_about_leaks([COPY], severe, {})] == [("closed_flag",), ("refund",)]
    assert len(ask_about_leaks([COPY], severe, {}, ["filled-after:refund"])) == 1


def questions_of(frame, forbidden=()):
    """Columns and text of each question of the second stage, for rows that begin at `start`."""
    outcome, out = require_target(frame, "left"), ["start", *forbidden]
    schema = infer_schema(frame, target="left", task="binary", exclude=out, time_column="start")
    leaks, _, words = search_leaks(frame, schema, outcome.encode(frame["left"]), outcome, random_state=0)
    assert "made of dates and" in words
    return {question.columns: question.text for question in ask_about_leaks(leaks, [], {})}


def test_a_date_that_init_calls_written_after_the_outcome_is_a_question():
    """Beside another leak, behind which it would hide; once both are forbidden nothing is asked."""
    frame, y = memberships()
    frame["state"] = np.where(np.random.default_rng(1).random(len(y)) < 0.04, 1 - y, y).astype(str)
    open_ones = questions_of(frame)
    assert set(open_ones) == {("visit",), ("state",)}
    assert "visit is written after the outcome: its distance to start gives left" in open_ones[("visit",)]
    assert "All columns not suspected together reach" in open_ones[("visit",)]
    assert set(questions_of(frame, ["state"])) == {("visit",)} and questions_of(frame, ["state", "visit"]) == {}
