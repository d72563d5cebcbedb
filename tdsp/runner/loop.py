"""The parameter file, the window, the rows until now and the finished steps that one turn of the loop works on."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from tdsp.config.cycle import CycleSettings
from tdsp.core.errors import DataError, ParameterError, RunError
from tdsp.core.files import canonical_json, from_json, write_atomic
from tdsp.data.ingest import load_table, without_end
from tdsp.data.served_log import SCHEME, log_folder, log_parts
from tdsp.data.sql import sql_name
from tdsp.monitoring.decisions import Action, Comparison, Decision, read_decisions
from tdsp.monitoring.reference import ReferenceRecord
from tdsp.monitoring.windows import PERIODS
from tdsp.packaging.bundle import LoadedModel, load_model
from tdsp.registry import registry
from tdsp.runner.challenger import LabeledFile
from tdsp.runner.pipeline import PipelineEvent
from tdsp.runner.preflight import Plan
from tdsp.serving.monitored_rows import KEY, is_log
from tdsp.stages.context import modeling_table

CANARY_ROWS = 20_000
Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Turn:
    """turn.json: the steps of a turn that are done."""

    window: str
    until: str
    champion: str  # NAME@NUMBER; empty before the first one
    state: str = ""  # of the monitor; empty before it has looked
    monitor: str = ""
    rows: int = 0  # of the window
    faults: tuple[str, ...] = ()  # columns that are broken
    alarms: tuple[str, ...] = ()  # sentences of the other alarms
    note: str = ""  # on the target, as a sentence
    action: Action | None = None
    run: str = ""
    challenger: str = ""
    comparison: Comparison | None = None
    outcome: Action | None = None  # what is written as the decision


@dataclass(eq=False)
class Loop:
    """A parameter file, its settings of the loop, and the window that is decided."""

    plan: Plan
    settings: CycleSettings
    until: pd.Timestamp
    window: pd.Period
    folder: Path  # of the turn
    scratch: Path | None  # set where nothing may be written beside it
    say: Say
    watch: Callable[[PipelineEvent], object] | None
    turn: Turn = field(default_factory=lambda: Turn("", "", ""))

    @property
    def name(self) -> str:
        """The model."""
        return self.plan.project

    @property
    def is_dry(self) -> bool:
        """Whether nothing may be written."""
        return self.scratch is not None

    @property
    def log(self) -> Path:
        """The decisions of the model."""
        return self.plan.outputs / "monitoring" / self.name / "decisions.jsonl"

    def advance(self, **steps: Any) -> None:
        """Note what is done, before anything rests on it."""
        self.turn = replace(self.turn, **steps)
        write_atomic(self.folder / "turn.json", canonical_json(self.turn))

    @cached_property
    def decisions(self) -> list[Decision]:
        """The decisions before this turn, oldest first."""
        return read_decisions(self.log)

    @cached_property
    def history(self) -> pd.DataFrame:
        """The modeling table in order of time until now; the truth of younger rows is not in yet. Raises DataError."""
        values = self.plan.resolved.values
        lake = (self.scratch or self.plan.outputs) / "lake"
        try:
            frame = modeling_table(values, root=self.plan.root, folder=self.plan.file.parent, lake=lake).frame
        except OSError as error:
            raise DataError(f"The data cannot be loaded: {error.strerror} ({error.filename or lake}).") from None
        return cut_history(frame, values["time_column"], values["target"], self.until, self.labels_end)

    @property
    def labels_end(self) -> pd.Timestamp:
        """The moment from which on no truth is in."""
        return self.until - pd.Timedelta(days=self.settings.labels_late)

    @property
    def time(self) -> str:
        """The column with the time of a row."""
        return str(self.plan.resolved.values["time_column"])

    @property
    def target(self) -> str:
        """The column to predict."""
        return str(self.plan.resolved.values["target"])

    @property
    def has_log(self) -> bool:
        """Whether the new rows come from the log of a service."""
        data = self.settings.data
        return data.startswith(SCHEME) or (bool(data) and is_log(str(self.plan.root / data)))

    def period(self, moment: pd.Timestamp | str) -> int:
        """The number of the window that a moment or a window's name is in."""
        return pd.Period(moment, freq=PERIODS[self.settings.every]).ordinal

    @cached_property
    def labeled(self) -> pd.DataFrame:
        """The rows of the history whose truth is in, without windows that were found broken."""
        rows = self.history[self.history[self.target].notna()]
        for window in self.broken:
            rows = rows[(rows[self.time] < window.start_time) | (rows[self.time] > window.end_time)]
        return rows

    @cached_property
    def broken(self) -> list[pd.Period]:
        """The windows that an alarm on a broken column was decided on: their rows are not learned."""
        freq = PERIODS[self.settings.every]
        faulty = [one.window for one in self.decisions if one.decision == "data_fault" and one.state == "alarm"]
        return [pd.Period(name, freq=freq) for name in faulty]

    @property
    def labels_from(self) -> str:
        """The table of the truth; a file of the project is found from any folder."""
        place = self.plan.root / self.settings.labels_from
        return str(place) if self.settings.labels_from and place.exists() else self.settings.labels_from

    def remove_tables(self) -> None:
        """Remove the tables that only a turn which goes on needs; the rows that were monitored stay."""
        for name in ("labeled", "cost", "canary"):
            (self.folder / f"{name}.parquet").unlink(missing_ok=True)

    def model(self, spec: str) -> LoadedModel:
        """Load a version of the model."""
        return load_model(registry.find_model(spec, self.plan.outputs))

    def reference(self, spec: str) -> ReferenceRecord:
        """Read what a version was accepted with."""
        folder = registry.find_model(spec, self.plan.outputs)
        record: ReferenceRecord = json.loads((folder / "reference.json").read_bytes())
        return record

    def learned(self, spec: str) -> tuple[pd.Timestamp, pd.Timestamp]:
        """The last moment among the training rows of a version, and the last one that its run has seen."""
        version = registry.find_version(spec, self.plan.outputs)
        data = self.plan.outputs / "runs" / (version.run_id if version else "") / "data"
        last = [_last_time(data / f"{part}.parquet", self.time) for part in ("train", "test")]
        if last[0] is None:
            last[0] = _moment(self.reference(spec).get("last"))
        if last[0] is None:
            raise RunError(f"{spec} does not state how far its training rows reach: no run, no time in its reference.")
        return last[0], max(one for one in last if one is not None)


def _moment(text: object) -> pd.Timestamp | None:
    return pd.Timestamp(str(text)) if text else None


def _last_time(path: Path, column: str) -> pd.Timestamp | None:
    """Return the last moment of a column of a Parquet file; None where there is no such file or column."""
    import pyarrow.parquet as pq

    if not path.is_file() or column not in pq.read_schema(path).names:
        return None
    times = pq.read_table(path, columns=[column]).to_pandas()[column]
    return pd.Timestamp(moments_of(times, str(path)).max())


def moments_of(values: pd.Series, what: str) -> pd.Series:
    """Return times without a zone, in UTC. Raises DataError for what is no time."""
    try:
        moments: pd.Series = pd.to_datetime(values, format="ISO8601", utc=True).dt.tz_localize(None)
    except (ValueError, TypeError) as error:
        raise DataError(f"{what}: {values.name} is no column of times in ISO 8601 ({error}).") from None
    return moments


def cut_history(
    frame: pd.DataFrame, time: str, target: str, until: pd.Timestamp, labels_end: pd.Timestamp
) -> pd.DataFrame:
    """Return the rows before a moment in order of time, without the truth of those whose truth comes later."""
    moments = moments_of(frame[time], "the table")
    order = np.argsort(moments.to_numpy(), kind="stable")
    cut = frame.assign(**{time: moments}).iloc[order]
    cut = cut[cut[time] < until].reset_index(drop=True)
    return cut.assign(**{target: cut[target].where(cut[time] < labels_end)})


def parse_until(text: str) -> pd.Timestamp:
    """Return the moment that counts as now, in UTC without a zone. Raises ParameterError."""
    try:
        moment = pd.Timestamp(text or datetime.now(UTC))
    except ValueError:
        raise ParameterError(f"--until {text!r} is no date. Write YYYY-MM-DD.") from None
    if pd.isna(moment):
        raise ParameterError(f"--until {text!r} is no date. Write YYYY-MM-DD.")
    return moment.tz_convert("UTC").tz_localize(None) if moment.tzinfo else moment


def window_name(window: pd.Period, every: str) -> str:
    """Return 2013-09 for a month, its first day for a week or a day."""
    return f"{window.start_time:%Y-%m}" if every == "month" else f"{window.start_time:%Y-%m-%d}"


def resume_turn(loop: Loop, champion: str) -> None:
    """Take up the turn that was begun here; a new one where there is none, or another model serves by now."""
    path = loop.folder / "turn.json"
    if path.exists():
        try:
            turn = from_json(Turn, json.loads(path.read_bytes()))
        except (ValueError, TypeError) as error:
            raise RunError(f"{path} cannot be read: {error}. Remove it; the turn begins anew.") from None
        if champion in (turn.champion, turn.challenger):
            loop.say(f"resume     {turn.window}, begun before")
            loop.turn, loop.until = turn, pd.Timestamp(turn.until)
            return
    loop.folder.mkdir(parents=True, exist_ok=True)
    loop.turn = Turn(loop.folder.name, loop.until.isoformat(), champion)
    loop.advance()


# rows of a turn -----------------------------------------------------------------------------------------------------
def write_new_rows(loop: Loop, seen: pd.Timestamp) -> tuple[Path, str, int] | None:
    """Write the rows since a moment; return file, time column and rows of the window; None without any."""
    time, data = loop.time, loop.settings.data
    frame = loop.history
    if data:
        time = loop.settings.data_time or ("time" if loop.has_log else time)
        frame = _read_new(loop, data)
        if time not in frame:
            raise DataError(f"{data} has no column {time!r}. Name the column of time with data_time.")
        frame = frame.assign(**{time: moments_of(frame[time], data)})
        if not loop.settings.labels_from and loop.target not in frame:
            frame = frame.assign(**{loop.target: None})
        elif loop.target in frame:
            frame = frame.assign(**{loop.target: frame[loop.target].where(frame[time] < loop.labels_end)})
    new = frame[(frame[time] > seen) & (frame[time] < loop.until)].reset_index(drop=True)
    if new.empty:
        return None
    path = loop.folder / "rows.parquet"
    new.to_parquet(path, index=False)
    return path, time, int((new[time] >= loop.window.start_time).sum())


def _read_new(loop: Loop, data: str) -> pd.DataFrame:
    """Read new rows from any source, or from the log of a service under the names that were sent to it."""
    if loop.has_log:
        root = loop.plan.root
        folder = log_folder(data, root) if data.startswith(SCHEME) else root / data
        frame = pd.concat([pd.read_parquet(part) for part in log_parts(folder)], ignore_index=True)
        frame = frame[frame[KEY].isna() | ~frame[KEY].duplicated(keep="last")]  # the last prediction of a key counts
        sent = {str(name).removeprefix("sent.") for name in frame if str(name).startswith("sent.")}
        return frame.drop(columns=[*(sent & set(frame))]).rename(columns=lambda name: str(name).removeprefix("sent."))
    with TemporaryDirectory() as lake:
        return load_table({"rows": data}, None, root=loop.plan.root, lake=Path(lake)).frame


def write_labeled_rows(loop: Loop, frame: pd.DataFrame, name: str) -> LabeledFile:
    """Write labeled rows as a file that any model can predict; return it with their times and truth."""
    frame = frame.reset_index(drop=True)
    path = loop.folder / f"{name}.parquet"
    frame.to_parquet(path, index=False)
    return LabeledFile(path, frame[loop.time], frame[loop.target])


def write_canary_rows(loop: Loop) -> Path:
    """Write the newest rows, with or without truth, that a new model has to predict before it serves."""
    path = loop.folder / "canary.parquet"
    inside = loop.history[loop.history[loop.time] >= loop.window.start_time]
    newest = (inside if len(inside) else loop.history).tail(CANARY_ROWS)
    newest.to_parquet(path, index=False)
    return path


def training_sql(loop: Loop) -> str:
    """Return the file's own SELECT, or its single source, without rows whose truth is not in."""
    values = loop.plan.resolved.values
    inner = sql_name(next(iter(values["sources"])))
    if values["sql"]:
        text = (loop.plan.file.parent / values["sql"]).read_text(encoding="utf-8")
        inner = f"(\n{without_end(text, duckdb.tokenize(text))}\n)"
    moment = f"CAST({sql_name(loop.time)} AS TIMESTAMP)"
    rules = [f"{moment} < TIMESTAMP '{loop.labels_end}'"]
    for window in loop.broken:
        start, end = window.start_time, (window + 1).start_time
        rules.append(f"NOT ({moment} >= TIMESTAMP '{start}' AND {moment} < TIMESTAMP '{end}')")
    return f"SELECT * FROM {inner}\nWHERE {' AND '.join(rules)}\n"
