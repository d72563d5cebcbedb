"""The thirteen documents, filled only from the run and the charter, with what is missing by name."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tdsp.config.charter import Charter, read_charter
from tdsp.core.project import STAGES
from tdsp.core.record import Run, RunRecord, create_run, new_record
from tdsp.core.results import Estimate, Gate, Headline
from tdsp.reporting.documents.catalog import SignedDecision, Source, judged, read_catalog
from tdsp.reporting.documents.fields import (
    Evidence,
    FieldContent,
    all_of,
    evidence_hash,
    for_each,
    from_charter,
    from_record,
)
from tdsp.reporting.documents.render import write_documents
from tdsp.reporting.run_pages import documents_of
from tests.support.records import with_changes

CHARTER = """
business: {client: The winery, problem: "<what goes wrong>"}
people:
- {role: project lead, team: Cellar}
sources:
  samples: {owner: The lab, licence: CC BY 4.0}
columns:
  ash: {meaning: Ash content, unit: g/l, known_at_prediction: yes}
benefit: {company: {not_applicable: a sample}}
next_steps:
- {step: Score the next vintage, owner: Cellar}
"""


def replace_input(record: RunRecord, **changes: str) -> RunRecord:
    """The record with another first source."""
    return replace(record, inputs=(replace(record.inputs[0], **changes), *record.inputs[1:]))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A finished run of two columns whose names and values are not kind."""
    create_run(tmp_path / "wine-1", new_record("wine-1", "wine", fixed=True))
    for stage in STAGES:
        run = Run(tmp_path / "wine-1", stage)
        run.begin()
        if stage == STAGES[1]:
            run.note(table_sha256="ab" * 32, table_rows=178, train_rows=142)
            samples = {"name": "samples", "uri": "sklearn:wine", "sha256": "cd" * 32, "rows": 178}
            run.update(lambda r, entry=samples: with_changes(r, inputs=[entry]))
            run.write_json(
                "schema", {"columns": [{"name": "ash", "type": "float"}, {"name": "<b>|x", "type": "float"}]}
            )
            run.write_json("split", {"kind": "random"})
            path = run.path("artifacts", "columns.csv")
            path.write_text("column,missing\nash,0.25\n<b>|x,0\n")
            run.add_artifact(path, kind="table")
        if stage == STAGES[2]:
            run.add_metric("test_score", Estimate(0.91234, 0.88, 0.94, 36, "rows"), label="Accuracy")
            run.add_gate(Gate("Accuracy", ">=", 0.91234, 0.88, 0.94, 0.8))
        run.finish(Headline("Proceed" if stage == STAGES[1] else "Met", "ok", "It is."), verdict="accepted")
    return run


@pytest.fixture
def charter(tmp_path: Path) -> Charter:
    """A charter with some statements."""
    (tmp_path / "wine.charter.yaml").write_text(CHARTER)
    return read_charter(tmp_path / "wine.charter.yaml")


def evidence(run: Run, charter: Charter | None = None) -> Evidence:
    """The evidence of a run."""
    return Evidence(run.record, run.folder, charter or Charter())


def read(run: Run, name: str) -> dict[str, Any]:
    """A document's JSON, its fields by label."""
    document = json.loads((run.folder / f"artifacts/documents/{name}.json").read_text())
    return {field["name"]: field for section in document["sections"] for field in section["fields"]}


# one field ----------------------------------------------------------------------------------------------------------


def test_a_field_is_filled_by_exact_names_only(run):
    """A table whose name merely contains a word of the field says nothing about it."""
    run.write_json("drift_of_something_else", {"rows": 3})
    run.note(joins_planned=4)
    keys = read_catalog().documents[2].sections["Relations"][0]
    assert from_record(evidence(run), ["artifacts/drift.json"], "not compared").status == "unmeasured"
    assert (keys.label, keys.read(evidence(run)).status) == ("Keys between tables", "not applicable")
    run.note(joins=[{"name": "lab", "key is unique": True}])
    assert keys.read(evidence(run)).status == "filled"


def test_stars_take_members_of_a_collection_and_no_part_of_a_name():
    """No address of the catalog has a star beside other letters."""
    catalog = read_catalog()
    sections = [part for d in (*catalog.documents, catalog.datasheet) for part in d.sections.values()]
    fields = [field for part in sections if isinstance(part, tuple) for field in part]
    addresses = [a for field in (*fields, *catalog.model_card) for source in field.sources for a in source.record]
    assert len(addresses) > 100
    assert [a for a in addresses if re.search(r"[^.]\*|\*[^.]", a)] == []


def test_a_statement_may_be_not_applicable(run, charter):
    """A reason makes a field not applicable; a placeholder leaves it missing."""
    e = evidence(run, charter)
    assert from_charter(e, "business.client").values == {"charter.business.client": "The winery"}
    assert from_charter(e, "business.problem").status == "missing"
    assert from_charter(e, "benefit.company") == FieldContent("not applicable", why="a sample")


def test_a_field_of_every_column_names_the_columns_that_lack_it(run, charter):
    """One column without a meaning is enough, and it is named."""
    content = for_each(evidence(run, charter), "columns.meaning", ["ash", "<b>|x"])
    assert content.status == "missing"
    assert content.values == {"charter.columns.ash.meaning": "Ash content"}
    assert "columns.<b>|x.meaning" in content.why


def test_several_sources_are_as_complete_as_the_least_complete(run):
    """A field with one of two sources is not filled, and what was found is shown."""
    e = evidence(run)
    content = all_of([from_record(e, ["facts.table_rows"]), from_charter(e, "goal.aim")])
    assert (content.status, content.values) == ("missing", {"facts.table_rows": 178})


def test_a_condition_excuses_what_is_absent_and_hides_nothing(run):
    """Not applicable only where nothing was found."""
    assert Source(record=("facts.span",), only_if="split_by_time").read(evidence(run)).status == "not applicable"
    assert Source(record=("facts.table_rows",), only_if="split_by_time").read(evidence(run)).status == "filled"


@pytest.mark.parametrize(("problem", "status"), [("", "filled"), ("ash", "missing"), (None, "unmeasured")])
def test_a_rule_that_cannot_be_judged_is_not_passed(problem, status):
    """Holding, broken and unknown are three states."""
    assert judged(problem).status == status


# decisions ----------------------------------------------------------------------------------------------------------


def signed(tmp_path: Path, *, decision: str = "proceed", evidence: str = "0" * 12) -> Charter:
    """A charter with a signed checkpoint."""
    path = tmp_path / "signed.charter.yaml"
    path.write_text(f"decisions:\n  data: {{decision: {decision}, by: Cellar, on: 2026-11-30, evidence: {evidence}}}\n")
    return read_charter(path)


def decision_fields(run: Run, charter: Charter) -> dict[str, str]:
    """State of each field of the first checkpoint."""
    contents = SignedDecision("data", STAGES[1]).read(evidence(run, charter))
    return {label: content.status for label, content in contents.items()}


def test_a_decision_on_this_evidence_is_complete(run, tmp_path):
    """Decision, decider, date and the right hash; no reason is needed to follow the recommendation."""
    now = evidence_hash(evidence(run), STAGES[:2])
    states = decision_fields(run, signed(tmp_path, evidence=now))
    assert states.pop("Reason") == "not applicable"
    assert set(states.values()) == {"filled"}


def test_a_decision_on_other_evidence_is_stale(run, tmp_path):
    """Other data than those signed on make the decision missing again."""
    charter = signed(tmp_path, evidence=evidence_hash(evidence(run), STAGES[:2]))
    run.note(table_sha256="ef" * 32)
    content = SignedDecision("data", STAGES[1]).read(evidence(run, charter))["Decision"]
    assert content.status == "missing"
    assert content.why.startswith("stale: taken on evidence")


def test_a_decision_against_the_recommendation_needs_a_reason(run, tmp_path):
    """Who overrides the run says why."""
    now = evidence_hash(evidence(run), STAGES[:2])
    assert decision_fields(run, signed(tmp_path, decision="stop", evidence=now))["Reason"] == "missing"


def test_evidence_is_the_same_in_a_repeated_run(run):
    """Neither the time nor the id of a run is part of what was signed; the verdict of a gate is."""
    before = evidence_hash(evidence(run), STAGES[:3])
    run.update(lambda record: replace(record, run_id="wine-2", started_at="2027-01-01T00:00:00Z"))
    assert evidence_hash(evidence(run), STAGES[:3]) == before
    run.update(
        lambda record: replace(
            record,
            gates=(replace(record.gates[0], limit=-1.0 if record.gates[0].rule == "<=" else 99.0), *record.gates[1:]),
        )
    )
    assert evidence_hash(evidence(run), STAGES[:3]) != before


# all of them --------------------------------------------------------------------------------------------------------


def test_thirteen_documents_are_written_with_their_completeness(run, charter):
    """Markdown and JSON of each, entered in the record, in the form the cover shows."""
    write_documents(run, charter)
    view = documents_of(run.record)
    rows = [*view.complete, *view.open]
    assert sorted(Path(row.path).name[:2] for row in rows) == [f"{n:02d}" for n in range(1, 14)]
    assert all((run.folder / row.path).with_suffix(".md").is_file() for row in rows)
    kinds = [a.kind for a in run.record.artifacts]
    assert kinds.count("document") == 28  # and the datasheet
    assert all("charter" not in row.path for row in view.complete)


def test_the_datasheet_holds_statements_of_people_and_computes_the_rest(run, charter):
    """Seven sections beside the thirteen documents; the cover leads to it and says how much is filled."""
    write_documents(run, charter)
    fields, about = read(run, "datasheet"), run.record.facts["datasheet"].value
    assert (fields["Rows and columns"]["status"], fields["One row"]["status"]) == ("filled", "missing")
    assert len(json.loads((run.folder / "artifacts/documents/datasheet.json").read_text())["sections"]) == 7
    beside = documents_of(run.record).beside
    assert [row.note for row in beside if row.title == "Datasheet"] == [
        f", {about['filled']} of {about['fields']} fields"
    ]


def test_writing_again_changes_nothing(run, charter):
    """The documents do not feed on themselves."""
    first = write_documents(run, charter)
    texts = {p.name: p.read_bytes() for p in (run.folder / "artifacts/documents").iterdir()}
    assert write_documents(run, charter) == first
    assert {p.name: p.read_bytes() for p in (run.folder / "artifacts/documents").iterdir()} == texts


def test_missing_and_unmeasured_fields_are_distinguished_by_name(run, charter):
    """The cover says what a person has to state and what the run did not measure."""
    rows = {row["name"]: row for row in write_documents(run, charter)}
    assert "Problem" in rows["01_charter"]["missing"]
    assert "Client" not in rows["01_charter"]["missing"]
    assert "Learning curve (not measured)" in rows["06_data_checkpoint"]["missing"]


def test_no_document_of_a_run_without_a_charter_is_filled_in_for_people(run):
    """Without a charter every stated field is missing, and everything computed is there all the same."""
    write_documents(run, Charter())
    values = [v for d in read_catalog().documents for f in read(run, d.name).values() for v in f["values"]]
    assert not [key for key in values if key.startswith("charter.")]
    assert read(run, "08_model_report")["Rows"]["status"] == "filled"


def test_every_number_in_a_document_is_kept_under_a_key(run, charter):
    """Numbers of the Markdown are found in the JSON's values, rounded or inside a text."""
    write_documents(run, charter)
    for document in read_catalog().documents:
        text = (run.folder / f"artifacts/documents/{document.name}.md").read_text().split("\n## ", 1)[1]
        values = json.dumps([f["values"] for f in read(run, document.name).values()])
        numbers = [float(x) for x in re.findall(r"(?<![\w.])-?\d+\.?\d*(?:e-?\d+)?", values)]
        for shown in re.findall(
            r"(?<![\w.\-/,])\d[\d,]*\.?\d*", re.sub(r"`[^`]*`|\*\*.*?\*\*|95 % interval", "", text)
        ):
            digits = len(shown.partition(".")[2])
            found = any(round(abs(x), digits) == float(shown.replace(",", "")) for x in numbers)
            assert found or shown in values, (document.name, shown)


def test_markup_in_names_stays_text(run, charter):
    """A column name cannot open a tag or a cell of a table."""
    write_documents(run, charter)
    for path in (run.folder / "artifacts/documents").glob("*.md"):
        assert "<b>" not in path.read_text()
    assert "&lt;b&gt;\\|x" in (run.folder / "artifacts/documents/03_data_dictionary.md").read_text()


def test_a_register_is_complete_when_it_lists_exactly_what_was_opened(run, charter):
    """Files opened and files registered are compared in both directions."""
    write_documents(run, charter)
    label = "Every file that was opened is registered, and the other way round"
    assert read(run, "02_data_sources")[label]["status"] == "filled"
    run.update(lambda record: replace_input(record, name="other"))
    write_documents(run, charter)
    assert read(run, "02_data_sources")[label]["why"] == "not in the charter: other; not opened by the run: samples"


def test_a_password_in_an_address_is_noticed(run, charter):
    """The register names the source whose address holds a secret."""
    run.update(lambda record: replace_input(record, uri="postgresql://me:hunter2@host/db"))
    write_documents(run, charter)
    assert read(run, "02_data_sources")["No address holds a password"]["status"] == "missing"


def test_a_next_step_without_a_date_is_open(run, charter):
    """Each next step needs an owner and a date."""
    write_documents(run, charter)
    field = read(run, "13_exit_report")["Every next step has an owner and a date"]
    assert (field["status"], field["why"]) == ("missing", "no owner or date: Score the next vintage")
