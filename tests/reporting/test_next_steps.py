"""The steps that a page recommends."""

import math
import shlex

import pytest

from tdsp.core.files import from_json
from tdsp.core.project import STAGES
from tdsp.core.record import Failure
from tdsp.core.results import Estimate
from tdsp.reporting.next_steps import CAUSES, failure_view, more_needed, next_steps
from tests.support.records import made_record, with_changes

AUC = {"value": 0.44, "low": 0.29, "high": 0.57, "n": 89, "resampled": "rows", "label": "R²"}
GATE = AUC | {"name": "R²", "rule": ">=", "limit": 0.4, "answer": "insufficient evidence", "stage": STAGES[2]}


def record(**changes):
    """A finished record."""
    return made_record("wine-1", "wine", **({"status": "succeeded"} | changes))


def test_accepted_run_says_how_to_use_it():
    """The command names this run's package."""
    assert "tdsp predict outputs/runs/wine-1/model" in next_steps(record(verdict="accepted"))[1].text


def test_the_command_to_repeat_a_run_has_its_settings():
    """Values given by hand are quoted for a shell; those of a file and defaults are not repeated."""
    given = {"search_trials": 6, "drop": ["tail num"], "target": "late"}
    entries = {name: {"value": value, "origin": "given"} for name, value in given.items()}
    entries["cv_folds"] = {"value": 3, "origin": "parameters/wine.yaml:4"}
    text = next_steps(record(verdict="accepted", parameters=entries))[-1].text
    command = text.removeprefix("repeat it with `").removesuffix("`.")
    words = ["tdsp", "run", "parameters/wine.yaml", "--set", "search_trials=6", "--set", 'drop=["tail num"]']
    assert shlex.split(command) == [*words, "--set", "target=late"]


def test_rejected_run_names_the_gate_and_links_its_stage():
    """First that it must not be used, then what stopped it."""
    first, second, *_ = next_steps(
        record(verdict="rejected", gates=[GATE | {"high": 0.39, "low": 0.29, "value": 0.34}])
    )
    assert "do not put this model into service" in first.text
    assert (second.text, second.href) == ("R² is 0.34 (0.29 to 0.39), required ≥ 0.40.", "3_modeling.html")


def test_undecided_run_says_how_much_more_evidence():
    """The number of rows follows from interval and distance."""
    gate = GATE | {"limit": 0.37}
    steps = next_steps(record(verdict="insufficient evidence", gates=[gate], metrics={"r2": AUC}))
    assert steps[1].text.endswith("If the value stays, about 320 more rows would decide it.")


def test_value_beside_the_limit_asks_for_no_absurd_number():
    """A thousandth of the interval away, more rows are no advice."""
    gate = GATE | {"limit": 0.4399}
    steps = next_steps(record(verdict="insufficient evidence", gates=[gate], metrics={"r2": AUC}))
    assert steps[1].text.endswith("so near the limit that 10 times as many rows would not decide it.")


def test_too_few_units_are_named_with_the_number_that_is_needed():
    """The words are those of the gate's own note, and nothing is called near the limit."""
    none = {"value": 1.22, "low": None, "high": None}
    note = "7 blocks of 5 days are too few to decide; 10 are needed."
    gate = GATE | none | {"limit": 0.0, "rule": ">", "note": note}
    metric = AUC | none | {"n": 7, "resampled": "blocks of 5 days"}
    steps = next_steps(record(verdict="insufficient evidence", gates=[gate], metrics={"gain": metric}))
    assert steps[1].text.endswith(note) and not any("near the limit" in step.text for step in steps)


def test_a_rejected_run_names_what_is_not_stated_too():
    """Threshold and question are missing whatever else is wrong."""
    facts = {"unstated": {"value": ["no_threshold", "no_question"]}}
    steps = next_steps(record(verdict="rejected", gates=[GATE | {"high": 0.39}], facts=facts))
    assert any("state `threshold` and `question`" in step.text for step in steps)


def test_stated_steps_come_first():
    """A person's words are shown before derived ones; what is no step is left out."""
    stated = [{"who": "Data owner", "text": "state the unit"}, "nonsense"]
    steps = next_steps(record(verdict="accepted", facts={"next_steps": {"value": stated}}))
    assert (steps[0].who, steps[0].text) == ("Data owner", "state the unit")


def test_unfinished_run_names_the_notebook_to_run_next():
    """A draft that was run up to its second stage goes on with the third."""
    made = record(verdict=None)
    for stage in STAGES[:2]:
        made = made.with_stage(stage, status="succeeded")
    assert "3_modeling.ipynb" in next_steps(made)[0].text


@pytest.mark.parametrize("value", [None, 0.4])
def test_more_rows_are_not_promised_where_none_would_help(value):
    """On the limit, or without a value, there is no such number."""
    assert more_needed(Estimate(math.nan if value is None else value, 0.29, 0.57, 89, "rows"), 0.4) is None


def failed(**error):
    """A record whose second stage failed."""
    failure = from_json(Failure, error)
    return record(status="failed").with_stage(STAGES[1], status="failed", seconds=35.0, error=failure)


def test_failure_says_what_where_and_the_fix():
    """Cause in the title, place below the message, the correction as deletion and insertion."""
    message = "a.parquet has no column 'wind_gust'. Did you mean 'wind_gst'? Asked for in parameters/wine.yaml:18."
    view = failure_view(failed(type="DataError", message=message, cell=7, line=3, source="a\nb\nc"))
    assert view.question == "Stopped in stage 2, Data: the data are not as promised"
    assert view.place == "Cell 7, line 3 of 2_data_acquisition.ipynb."
    assert (view.steps[0].text, view.steps[0].old, view.steps[0].new) == (
        "Correct the name in `parameters/wine.yaml`, line 18:", "wind_gust", "wind_gst",
    )  # fmt: skip
    assert [step.text for step in view.steps[1:]] == [
        "Check it in a moment: `tdsp check parameters/wine.yaml`",
        "Run again: `tdsp run parameters/wine.yaml`",
    ]


@pytest.mark.parametrize("kind", [*CAUSES, "ZeroDivisionError", ""])
def test_every_error_gives_a_page(kind):
    """An unknown type keeps its name instead of a guess."""
    view = failure_view(failed(type=kind, message="", cell=None))
    assert CAUSES.get(kind, kind) in view.question
    assert view.steps


def test_interrupted_run_without_a_message_says_so():
    """Nobody was left to write one."""
    made = record(status="interrupted")
    made = made.with_stage(STAGES[0], status="running")
    view = failure_view(made)
    assert view.panel.message == "The process of this run ended while 1 Business was running, and left no message."
    assert view.footer.startswith("Exit code 130.")


def test_a_failed_draft_is_run_again_in_its_notebook():
    """Whoever works in JupyterLab needs no command."""
    view = failure_view(with_changes(failed(type="DataError", message="bad"), fixed=False))
    assert view.steps[-1].text == "Run `notebooks/2_data_acquisition.ipynb` again."
