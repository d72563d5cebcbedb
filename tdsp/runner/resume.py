"""Takes the earlier stages of a run from an older one, so that `--from` starts in the middle."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

from tdsp.config.parameters import EVERYWHERE, Resolved
from tdsp.core.errors import ParameterError, RunError, did_you_mean
from tdsp.core.project import STAGES
from tdsp.core.record import DONE, Run, RunRecord, keep_results, read_record, read_runs


def find_stage(text: str) -> str:
    """Return the stage that `3`, `modeling` or `3_modeling` means. Raises ParameterError."""
    found = [stage for stage in STAGES if text in (stage, stage[0], stage[2:])]
    if not found:
        near = did_you_mean(text, [name for stage in STAGES for name in (stage, stage[2:])])
        raise ParameterError(f"--from {text!r} is no stage.{near} Give 2 to 5, or one of: {', '.join(STAGES)}.")
    return found[0]


def find_reusable(
    outputs: Path,
    project: str,
    start: str,  # the first stage to run
    resolved: Resolved,
    table_sha256: str | None,  # of the modelling table as it is made now
) -> Path:
    """Return the latest run whose stages before `start` can be taken over. Raises RunError saying why none can."""
    earlier = STAGES[: STAGES.index(start)]
    reasons = []
    for folder, record in read_runs(outputs)[0]:
        if record.project != project or not record.fixed:
            continue
        reason = why_not(record, earlier, resolved, table_sha256)
        if not reason:
            return folder
        reasons.append(f"{folder.name}: {reason}")
    told = "\n  ".join(reasons[:3]) or f"there is no run of {project} in {outputs / 'runs'}"
    raise RunError(f"--from {start}: no earlier run can be continued. Run without --from.\n  {told}")


def why_not(record: RunRecord, earlier: tuple[str, ...], resolved: Resolved, table_sha256: str | None) -> str:
    """Return why a run's earlier stages cannot stand for those of a new run; empty when they can."""
    if record.current_status == "running":
        return "it is still running"
    missing = next((s.name for s in record.stages if s.name in earlier and s.status not in DONE), None)
    if missing:
        return f"{missing} has not finished"
    held = {name: entry for name, entry in record.parameters.items() if entry.stage in earlier}
    for name, entry in resolved.entries().items():
        if entry.stage not in earlier or name in EVERYWHERE:
            continue
        if name not in held:
            return f"it does not know the parameter {name}"
        if held[name].value != entry.value:
            return f"{name} is {held[name].value!r} there, {entry.value!r} here"
    return "its data were others" if table_sha256 and record.fact("table_sha256") != table_sha256 else ""


def take_over(run: Run, source: Path, start: str) -> None:
    """Enter the stages before `start` of another run in this one: files by hard link, results, status `reused`."""
    earlier = STAGES[: STAGES.index(start)]
    old = keep_results(read_record(source), earlier)
    for artifact in old.artifacts:
        link(source / artifact.path, run.path(artifact.path))
    reused = tuple(
        replace(stage, status="reused", reused_from=stage.reused_from or old.run_id)
        for stage in old.stages[: len(earlier)]
    )

    def change(record: RunRecord) -> RunRecord:
        return replace(
            record,
            stages=reused + record.stages[len(earlier) :],
            gates=old.gates,
            artifacts=old.artifacts,
            inputs=old.inputs,
            metrics=old.metrics,
            facts=old.facts,
            reads=tuple(entry for entry in old.reads if entry.stage in earlier),
        )

    run.update(change)
    run.log(f"stages before {start} taken from {source.name}")


def link(source: Path, target: Path) -> None:
    """Give a file, or all files of a folder, a second name; copy them where the file system has no such names."""
    if source.is_dir():
        for path in sorted(p for p in source.rglob("*") if p.is_file()):
            link(path, target / path.relative_to(source))
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise RunError(f"{source} is gone; this run cannot be continued. Run without --from.") from None
    except OSError:
        shutil.copy2(source, target)
