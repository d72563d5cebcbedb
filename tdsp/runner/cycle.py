"""One turn of the loop: new window, monitor, decision, training, comparison, promotion, record."""

# What was done is on disk before the next step begins: turn.json holds the steps of a turn that goes on, the record of
# a run holds its result, decisions.jsonl holds what is decided. A turn that was killed is taken up by the next call:
# it repeats at most the step it was in. The champion's alias is moved by the last step but one, and by nothing else.

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from tdsp.config.cycle import read_cycle
from tdsp.core.errors import ParameterError
from tdsp.core.files import file_lock, write_atomic
from tdsp.core.formatting import count_of, join_names
from tdsp.core.record import RunRecord, read_runs, utc_now
from tdsp.data.splits import as_labels
from tdsp.monitoring.costs import CostForecast, retrain_pays
from tdsp.monitoring.decisions import (
    Action,
    Choice,
    Comparison,
    Decision,
    Evidence,
    append_decision,
    decide,
    describe_target,
    judge_challenger,
)
from tdsp.monitoring.performance import row_loss
from tdsp.monitoring.windows import PERIODS
from tdsp.registry import registry
from tdsp.registry.registry import Version
from tdsp.runner.challenger import compare_models, encode_target, predict_rows, replay_canary
from tdsp.runner.loop import (
    Loop,
    Say,
    parse_until,
    resume_turn,
    training_sql,
    window_name,
    write_canary_rows,
    write_labeled_rows,
    write_new_rows,
)
from tdsp.runner.monitoring import run_monitor
from tdsp.runner.pipeline import PipelineEvent, run_file
from tdsp.runner.preflight import plan_run
from tdsp.serving.monitored_rows import KEY
from tdsp.stages.monitoring import MonitorSettings


@dataclass(frozen=True, slots=True)
class CycleOutcome:
    """The decision of a call; `busy` where another one is at work, `known` where the window was decided before."""

    decision: Decision | None
    busy: bool = False
    known: bool = False


def run_cycle(
    file: Path,  # parameters/NAME.yaml
    *,
    until: str = "",  # the moment that counts as now; empty: now
    dry: bool = False,  # decide and write nothing
    out: Path | None = None,
    say: Say = lambda _: None,
    watch: Callable[[PipelineEvent], object] | None = None,
) -> CycleOutcome:
    """Decide the last complete window before a moment. Raises TdspError for what a user can correct."""
    settings = read_cycle(Path(file).absolute())
    plan = plan_run(file, out=out, settings=settings.settings)
    if not plan.resolved.values.get("time_column"):
        raise ParameterError(f"{file}: a loop needs windows of time. Name the column with time_column.")
    now = parse_until(until)
    window = now.to_period(PERIODS[settings.every]) - 1
    place = plan.outputs / "cycle" / plan.project
    with _exclusive(place, dry) as (held, scratch):
        if not held:
            say("Another cycle of this model is at work; this one leaves.")
            return CycleOutcome(None, busy=True)
        folder = (scratch or place) / window_name(window, settings.every)
        return take_turn(Loop(plan, settings, now, window, folder, scratch, say, watch))


@contextmanager
def _exclusive(place: Path, dry: bool) -> Iterator[tuple[bool, Path | None]]:
    """Hold a model's loop; or a folder that vanishes, where nothing is to be written."""
    with ExitStack() as stack:
        if dry:
            yield True, Path(stack.enter_context(TemporaryDirectory()))
            return
        try:
            stack.enter_context(file_lock(place, wait=False))
            held = True
        except BlockingIOError:
            held = False
        yield held, None


def take_turn(loop: Loop) -> CycleOutcome:
    """Take the steps of a turn that are not done, and write the decision. Raises ParameterError for an old window."""
    name = loop.folder.name
    known = next((one for one in loop.decisions if one.window == name), None)
    if known is not None:
        loop.say(f"{name} was decided before: {known.decision}.")
        return CycleOutcome(known, known=True)
    if later := [one.window for one in loop.decisions if one.window > name]:
        raise ParameterError(f"{name} comes before {max(later)}, which is decided. A loop does not go back.")
    resume_turn(loop, find_champion(loop))
    if loop.turn.action is None:
        _look(loop)
    if loop.turn.outcome is None:
        _act(loop)
    turn, outcome = loop.turn, loop.turn.outcome
    assert outcome is not None  # _act ends in one
    if outcome.decision == "promote" and not loop.is_dry:
        loop.say(f"promote    {turn.challenger}")
        registry.promote(turn.challenger, reason=outcome.text, outputs=loop.plan.outputs)
    text = " ".join(part for part in (outcome.text, turn.note) if part)
    decision = Decision(
        utc_now(), turn.window, loop.name, turn.champion, turn.state, outcome.decision, outcome.trigger,
        outcome.reason, text, turn.challenger, turn.run, turn.comparison, turn.monitor,
    )  # fmt: skip
    if not loop.is_dry:
        append_decision(loop.log, decision)
        loop.remove_tables()
    return CycleOutcome(decision)


def find_champion(loop: Loop) -> str:
    """Return NAME@NUMBER of the version that serves; empty where none does."""
    outputs = loop.plan.outputs
    board = registry.read_board(loop.name, outputs)
    if board is None and not loop.is_dry:
        registry.refresh(outputs)
        board = registry.read_board(loop.name, outputs)
    number = board.aliases.get("champion") if board else None
    return f"{loop.name}@{number}" if number else ""


# what is known ------------------------------------------------------------------------------------------------------
def _look(loop: Loop) -> None:
    """Monitor the champion on the rows since it was made, and decide what to do."""
    champion = loop.turn.champion
    loop.say(f"window     {loop.turn.window}: {loop.window.start_time:%Y-%m-%d} to {loop.window.end_time:%Y-%m-%d}")
    if not champion:
        loop.say(f"champion   none; {count_of(len(loop.labeled), 'labeled row')} to learn from")
        text = "There is no champion yet: a first model is trained on all labeled rows."
        loop.advance(action=Action("retrain", "none", "first_model", text))
        return
    learned, seen = loop.learned(champion)
    loop.say(f"champion   {champion}, learned from rows until {learned:%Y-%m-%d}, tested until {seen:%Y-%m-%d}")
    if seen >= loop.until:
        raise ParameterError(
            f"{champion} has seen rows until {seen:%Y-%m-%d}, which is not before {loop.until:%Y-%m-%d}: "
            "nothing is left to judge it by. Use a later --until, or promote an older version."
        )
    if not loop.turn.state:
        _monitor(loop, seen)
    evidence = _gather(loop, seen)
    action = decide(evidence, loop.settings)
    loop.say(f"labels     {count_of(evidence.new_labels, 'new row')} with truth, which is in until {loop.labels_end}")
    if evidence.forecast is not None:
        loop.say(f"cost       a training saves {evidence.forecast.gain:.4g} and costs {evidence.forecast.cost:.4g}")
    loop.say(f"trigger    {action.trigger}: {action.text}")
    names = join_names(window_name(one, loop.settings.every) for one in loop.broken)
    left_out = f"Broken rows are not learned: those of {names} are left out." if loop.broken else ""
    notes = (_target_note(loop, seen), left_out if action.decision == "retrain" else "")
    loop.advance(action=action, note=" ".join(note for note in notes if note))


def _monitor(loop: Loop, seen: pd.Timestamp) -> None:
    """Judge the rows since the champion was made by its reference."""
    written, settings = write_new_rows(loop, seen), loop.settings
    if written is None:
        loop.say("monitor    no rows since the champion was made")
        loop.advance(state="insufficient data")
        return
    path, time, rows = written
    labels = "" if settings.labels_from else loop.target
    key = settings.key or (KEY if settings.labels_from and loop.has_log else "")
    window = settings.monitor_window or ("day" if settings.every == "day" else "")
    monitor = MonitorSettings(
        loop.turn.champion, str(path), labels, loop.labels_from, key, window, time, str(loop.plan.outputs)
    )
    folder, result = run_monitor(monitor, loop.scratch or loop.plan.outputs)
    loop.say(f"monitor    {result['state']}: {result['sentence']}")
    findings = result["findings"]
    broken = {one["column"] for one in findings if one["code"] == "broken" and one["state"] != "ok"}
    broken |= {one["column"] for one in findings if one["code"] == "contract" and one["state"] == "alarm"}
    alarms = [one["text"] for one in findings if one["state"] == "alarm" and one["column"] not in broken]
    place = "" if loop.is_dry else folder.relative_to(loop.plan.outputs.resolve()).as_posix()
    loop.advance(state=result["state"], monitor=place, rows=rows, faults=tuple(sorted(broken)), alarms=tuple(alarms))


def _gather(loop: Loop, seen: pd.Timestamp) -> Evidence:
    """Return what the decision rests on."""
    turn, now = loop.turn, loop.window.ordinal
    trained = [loop.period(one.window) for one in loop.decisions if one.run]
    age = now - max([loop.period(seen), *trained])
    has_rested = not trained or now - max(trained) > loop.settings.cool_down
    new = loop.labeled[loop.labeled[loop.time] > seen]
    forecast = _forecast(loop, new) if loop.settings.cost and len(new) else None
    return Evidence(turn.state, turn.faults, turn.alarms, turn.rows, len(new), age, has_rested, forecast)


def _forecast(loop: Loop, new: pd.DataFrame) -> CostForecast | None:
    """Return what a training is forecast to save until the next turn, from the champion's loss by window."""
    model, settings = loop.model(loop.turn.champion), loop.settings
    stated = loop.reference(loop.turn.champion).get("performance")
    if stated is None or stated["loss"]["mean"] < 0:
        return None
    rows = write_labeled_rows(loop, new, "cost")
    y_true, y_pred, task = encode_target(model, rows.target), predict_rows(model, rows.path), model.schema["task"]
    kept = ~np.isnan(y_true) & ~np.isnan(y_pred).any(axis=1)
    predicted = y_pred[kept] if task == "multiclass" else y_pred[kept, 0]
    losses = row_loss(task, y_true[kept], predicted, stated["loss"]["scale"])
    periods = rows.times[kept].dt.to_period(PERIODS[settings.every]).to_numpy()
    by = pd.Series(losses).groupby(periods).agg(["mean", "size"])
    excess = (by["mean"] - stated["loss"]["mean"]).tolist()
    return retrain_pays(excess, 1, float(by["size"].mean()), settings.value_of_loss, settings.cost)


def _target_note(loop: Loop, seen: pd.Timestamp) -> str:
    """Return a sentence where the target of the newest labeled window left what the champion has seen."""
    positive, rows = str(loop.plan.resolved.values["positive_class"] or ""), loop.labeled
    labels = as_labels(rows[loop.target].astype(object)) if positive else rows[loop.target]
    numbers = labels.eq(positive) if positive else pd.to_numeric(labels, errors="coerce")
    if numbers.isna().all():
        return ""
    periods = rows[loop.time].dt.to_period(PERIODS[loop.settings.every])
    whole = periods[periods.dt.end_time < loop.labels_end]
    means = numbers[whole.index].astype(float).groupby(whole).mean()
    learned = [window_name(one, loop.settings.every) for one in means.index if one.start_time <= seen]
    means.index = pd.Index([window_name(one, loop.settings.every) for one in means.index])
    return describe_target(means, learned, f"The share of {positive}" if positive else f"The mean of {loop.target}")


# what is done -------------------------------------------------------------------------------------------------------
Compared = tuple[str, Comparison | None, Action]  # challenger, comparison, outcome


def _act(loop: Loop) -> None:
    """Carry out the action until an outcome is known; the champion is not touched here."""
    action = loop.turn.action
    assert action is not None  # _look ends in one
    waiting = open_challenger(loop) if action.decision != "data_fault" else None
    judged = compare(loop, waiting, action) if waiting else ("", None, action)
    if judged[2].decision != "promote" and action.decision == "retrain" and not loop.is_dry:
        judged = _challenge(loop, action)
    loop.advance(challenger=judged[0], comparison=judged[1], outcome=judged[2])


def open_challenger(loop: Loop) -> Version | None:
    """Return the challenger of an earlier turn that was neither shown to be better nor worse than this champion."""
    last = next((one for one in reversed(loop.decisions) if one.challenger), None)
    if last is None or last.decision != "insufficient_evidence" or last.champion != loop.turn.champion:
        return None
    return registry.find_version(last.challenger, loop.plan.outputs)


def _challenge(loop: Loop, action: Action) -> Compared:
    """Train a model and compare it with the champion, where there is one."""
    folder, record = train(loop)
    loop.advance(run=record.run_id)
    if record.verdict != "accepted":
        how, reason = (record.verdict, "not_accepted") if record.verdict else (record.current_status, "run_failed")
        stays = "the champion stays" if loop.turn.champion else "there is still no champion"
        return "", None, Action("keep", action.trigger, reason, f"{action.text} The new model: {how}; {stays}.")
    version = registry.register_challenger(folder, loop.plan.outputs)
    assert version is not None  # an accepted run has a bundle
    if loop.turn.champion:
        return compare(loop, version, action)
    text = f"{action.text} It is accepted."
    return f"{version.name}@{version.version}", None, Action("promote", action.trigger, action.reason, text)


def train(loop: Loop) -> tuple[Path, RunRecord]:
    """Run the five stages on all rows whose truth is in; take the run of this turn where one has ended."""
    sql = loop.folder / "train.sql"
    write_atomic(sql, training_sql(loop))
    stated = os.path.relpath(sql, loop.plan.file.parent)
    for folder, record in read_runs(loop.plan.outputs)[0]:
        entry = record.parameters.get("sql")
        if record.project == loop.name and entry is not None and entry.value == stated and _has_ended(record):
            loop.say(f"train      {record.run_id}, made before")
            return folder, record
    loop.say(f"train      on rows until {loop.labels_end}")
    settings = {**loop.settings.settings, "sql": stated}
    outcome = run_file(loop.plan.file, settings=settings, out=loop.plan.outputs, progress=loop.watch)
    if outcome.record.current_status == "interrupted":
        raise KeyboardInterrupt
    return outcome.folder, outcome.record


def _has_ended(record: RunRecord) -> bool:
    return record.current_status in ("succeeded", "failed") and record.finished_at is not None


def compare(loop: Loop, version: Version, action: Action) -> Compared:
    """Compare a challenger with the champion on the newest rows that neither learned from; then replay the canary."""
    spec, champion = f"{version.name}@{version.version}", loop.turn.champion
    since = max(loop.learned(spec)[0], loop.learned(champion)[0])
    rows = write_labeled_rows(loop, loop.labeled[loop.labeled[loop.time] > since], "labeled")
    comparison: Comparison | None = None
    choice: Choice = "insufficient_evidence"
    reason, text = "no_common_rows", "No labeled row is newer than what both models learned from."
    models = loop.model(champion), loop.model(spec)
    if len(rows.times):
        comparison = compare_models(*models, rows, loop.reference(champion))
        choice, reason, text = judge_challenger(comparison)
    loop.say(f"compare    {spec} with {champion}: {text}")
    if choice == "promote":
        fault = replay_canary(*models, write_canary_rows(loop))
        if fault:
            choice, reason, text = "keep", "canary", f"{text} It cannot take over: {fault}"
        loop.say(f"canary     {fault or 'the newest rows are predicted as they should be'}")
    why = action.text if action.trigger != "none" else ""
    outcome = Action(choice, action.trigger, reason, " ".join(part for part in (why, text) if part))
    return spec, comparison, outcome
