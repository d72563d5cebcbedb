"""Replays the history of a parameter file: what other ways to retrain would have given; page and replay.json."""

import shutil
from collections.abc import Callable
from pathlib import Path

from tdsp.config.cycle import read_cycle
from tdsp.core.errors import ParameterError
from tdsp.core.files import canonical_json, write_atomic
from tdsp.monitoring.replay import ReplayResult
from tdsp.reporting.replay_page import render_replay
from tdsp.runner.monitoring import report_stamp
from tdsp.runner.preflight import check_table, load_plan, plan_run, require_writable
from tdsp.stages.replay import replay_past, result_record
from tdsp.stages.replayed_models import ReplaySettings, open_past, recipe_of


def run_replay(
    file: Path,
    size: str,
    outputs: Path,
    *,
    every: int = 0,
    label_delay: int | None = None,
    cost: float | None = None,
    progress: Callable[[str], object] = lambda _: None,
) -> tuple[Path, ReplayResult]:
    """Replay a history by the day, week or month; return the folder of the report and the result.

    `every` is the number of windows between scheduled trainings, `label_delay` the days until the label of a row is
    known, `cost` that of a training in wholly wrong predictions; what is not given is taken from NAME.cycle.yaml, else
    every 7 days, 4 weeks or 3 months, at once, and as the parameters state it. Raises TdspError for what cannot be
    replayed, before anything is written beside the lake.
    """
    ReplaySettings(size, every, label_delay or 0, cost)  # what is given is checked before anything is read
    plan = plan_run(file, out=outputs)
    settings = _settings(plan.file, size, every, label_delay, cost)
    values = plan.resolved.values
    if not values.get("time_column"):
        raise ParameterError(f"{plan.file.name}: a replay needs the time of the rows. Name its column as time_column.")
    require_writable(plan.outputs / "monitoring")
    table = load_plan(plan)
    if table is None:
        raise ParameterError(f"{plan.file.name}: a replay needs a table, and no sources are stated.")
    check_table(table.frame, plan.resolved)
    past = open_past(table.frame, values, settings)
    result = replay_past(plan.project, past, values, recipe_of(plan.project, plan.outputs), settings, progress)
    return _write(plan.outputs / "monitoring" / plan.project, result), result


def _settings(file: Path, size: str, every: int, label_delay: int | None, cost: float | None) -> ReplaySettings:
    """Return what is given, completed by the settings of the loop."""
    loop = read_cycle(file)
    if cost is None and loop.cost:
        cost = loop.cost / loop.value_of_loss
    own = loop.retrain_every if loop.every == size else 0
    return ReplaySettings(size, every or own, loop.labels_late if label_delay is None else label_delay, cost)


def _write(place: Path, result: ReplayResult) -> Path:
    """Write page and replay.json into a folder of their own; return it."""
    folder = place / f"replay-{report_stamp()}"
    folder.mkdir(parents=True)
    try:
        render_replay(folder, result)
        write_atomic(folder / "replay.json", canonical_json(result_record(result)))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder
