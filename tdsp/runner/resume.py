"""Takes the earlier stages of a run from an older one: those that nothing has changed for, or that `--from` names."""

import fcntl
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tdsp.config.parameters import EVERYWHERE, Resolved
from tdsp.core.errors import ParameterError, RunError, did_you_mean
from tdsp.core.files import sha256_file
from tdsp.core.project import STAGES
from tdsp.core.record import DONE, Artifact, Run, RunRecord, keep_results, read_record, read_runs
from tdsp.runner.fingerprint import Parts, changes, total

PARTS = "fingerprints.json"  # in a run's folder: what each stage depended on


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
    """Enter the stages before `start` of another run in this one: copies of its files, results, status `reused`."""
    earlier = STAGES[: STAGES.index(start)]
    old = keep_results(read_record(source), earlier)
    for artifact in old.artifacts:
        copy(source / artifact.path, run.path(artifact.path))
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


CLONE = 0x40049409  # FICLONE of Linux: a copy that shares its blocks until one of the two is written


def copy(source: Path, target: Path) -> None:
    """Copy a file, or all files of a folder; never a second name, through which one run could change another."""
    if source.is_dir():
        for path in sorted(p for p in source.rglob("*") if p.is_file()):
            copy(path, target / path.relative_to(source))
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(source, "rb") as old, open(target, "wb") as new:
            try:
                fcntl.ioctl(new, CLONE, old.fileno())
            except OSError:  # a file system that cannot
                shutil.copyfileobj(old, new, 1 << 20)
    except FileNotFoundError:
        raise RunError(f"{source} is gone; this run cannot be continued. Run without --from.") from None
    shutil.copystat(source, target)


# stages that nothing has changed for --------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Reuse:
    """The earlier run whose first stages are those of a new one."""

    folder: Path | None  # None: there is none
    start: str | None  # the first stage to run; None: nothing has changed
    reasons: Mapping[str, str]  # stage -> why it runs


def find_unchanged(outputs: Path, project: str, prints: Mapping[str, Parts], table_sha256: str = "") -> Reuse:
    """Return the newest run that most stages can be taken from, by their fingerprints and the hashes of their files.

    `table_sha256` is that of the modeling table where it was made anew: a run with another one is passed by.
    """
    best, depth, why = None, 0, f"no earlier run of {project} says what it was made of"
    for folder, record in read_runs(outputs)[0]:
        if record.project != project or not record.fixed or record.current_status == "running":
            continue
        if table_sha256 and record.fact("table_sha256", table_sha256) != table_sha256:
            continue
        found, reason = _unchanged(folder, record, prints)
        if found > depth or (best is None and reason):
            best, depth, why = folder, found, reason
        if depth == len(STAGES):
            break
    reasons = dict.fromkeys(STAGES[depth:], "the stage before it runs")
    reasons |= {STAGES[depth]: why} if depth < len(STAGES) else {}
    return Reuse(best if depth else None, STAGES[depth] if depth < len(STAGES) else None, reasons)


def _unchanged(folder: Path, record: RunRecord, prints: Mapping[str, Parts]) -> tuple[int, str]:
    """Return how many first stages of a run are as they would be now, and why the next one is not."""
    for number, stage in enumerate(record.stages):
        if not stage.fingerprint:
            return number, ""
        if stage.fingerprint != total(prints[stage.name]):
            return number, changes(prints[stage.name], read_parts(folder).get(stage.name, {}))
        if stage.status not in DONE:
            return number, f"it has not finished in {folder.name}"
        if damaged := next((a.path for a in record.artifacts if a.stage == stage.name and not _intact(folder, a)), ""):
            return number, f"{damaged} of {folder.name} was changed or removed"
    return len(STAGES), ""


def _intact(folder: Path, artifact: Artifact) -> bool:
    """Whether a file or bundle of a run is as the run left it."""
    path = folder / artifact.path
    if not path.is_dir():
        return path.is_file() and sha256_file(path) == artifact.sha256
    manifest = (
        path / "bundle.json"
    )  # lists the other files of a bundle; who loads it also refuses what it does not list
    try:
        if sha256_file(manifest) != artifact.sha256:
            return False
        files = json.loads(manifest.read_bytes())["files"]
        return all(sha256_file(path / name) == entry["sha256"] for name, entry in files.items())
    except (OSError, ValueError, KeyError):
        return False


def read_parts(folder: Path) -> dict[str, Parts]:
    """Return what each stage of a run depended on; nothing where the file is gone: it only explains."""
    try:
        found: dict[str, Parts] = json.loads((folder / PARTS).read_bytes())
    except (OSError, ValueError):
        return {}
    return found
