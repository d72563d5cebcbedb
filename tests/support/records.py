"""Records of runs that never ran: a new record with some keys of run.json changed."""

from typing import Any

from tdsp.core.files import from_json, to_json
from tdsp.core.record import RunRecord, new_record


def made_record(run_id: str, project: str, /, **changes: Any) -> RunRecord:
    """Return a new record whose keys of run.json are replaced by `changes`."""
    return with_changes(new_record(run_id, project, fixed=True), **changes)


def with_changes(record: RunRecord, /, **changes: Any) -> RunRecord:
    """Return a record with some keys of run.json replaced, by JSON values or by the record's own parts."""
    return from_json(RunRecord, to_json(record) | {key: to_json(value) for key, value in changes.items()})
