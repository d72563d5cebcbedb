"""Looks before the first stage for everything that can be wrong with parameters, data and place, and says all of it."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tdsp.config.parameters import EVERYWHERE, Resolved, load_parameters
from tdsp.core.errors import DataError, ParameterError, RunError, TdspError, did_you_mean
from tdsp.core.project import STAGES, find_root

if TYPE_CHECKING:
    import pandas as pd

    from tdsp.config.charter import Charter
    from tdsp.data.ingest import Table

FREE = 100 * 2**20  # bytes of disk that a run needs beside its tables
COLUMNS = ("drop", "forbidden", "sensitive")  # parameters that list columns


@dataclass(frozen=True, slots=True)
class Plan:
    """A parameter file that was read, and where its run takes place."""

    file: Path
    root: Path
    outputs: Path
    resolved: Resolved

    charter: "Charter"  # empty where there is no such file

    @property
    def project(self) -> str:
        """The name of the parameter file without its ending."""
        return self.file.stem


def plan_run(file: str | Path, *, settings: Mapping[str, str] | None = None, out: str | Path | None = None) -> Plan:
    """Read a parameter file and its charter, and find its project. Raises ParameterError with every fault of a file."""
    from tdsp.config.charter import read_charter

    file = Path(file).absolute()
    near = find_root(file.parent)
    has_own = (near / "notebooks" / f"{STAGES[0]}.ipynb").exists() or (near / "parameters").is_dir()
    root = near if has_own else find_root()
    settings = dict(settings or {})
    for name in EVERYWHERE:
        if name in settings:
            raise ParameterError(f"{name} cannot be set: it follows from the parameter file and --out.")
    try:
        resolved = load_parameters(file, root=root, overrides=settings)
        charter = read_charter(file.with_name(f"{file.stem}.charter.yaml"))
    except OSError as error:
        raise ParameterError(f"{error.filename or file} cannot be read: {error.strerror}.") from None
    return Plan(file, root, Path(out or root / "outputs").absolute(), resolved, charter)


def check_plan(plan: Plan) -> "Table | None":
    """Load and transform what the run will need; return the table. Raises TdspError with what is wrong."""
    from tdsp.packaging.signing import signing_fingerprint

    require_writable(plan.outputs / "runs")
    signing_fingerprint()  # a key that cannot sign is found now, not after the search
    values = plan.resolved.values
    table = load_plan(plan)
    if table is None:
        return None
    require_space(plan.outputs, FREE + 5 * table.path.stat().st_size)
    check_table(table.frame, plan.resolved)
    check_labeled(plan)
    check_charter(plan.charter, plan.project, columns=[str(c) for c in table.frame], sources=list(values["sources"]))
    return table


def load_plan(plan: Plan) -> "Table | None":
    """Fetch what the parameters name, transform it, hold it to its contract; None where they name no source."""
    from tdsp.stages.context import hold_contract, modeling_table

    values = plan.resolved.values
    if not values.get("sources"):
        return None  # notebooks of another kind, which load nothing
    try:
        table = modeling_table(values, root=plan.root, folder=plan.file.parent, lake=plan.outputs / "lake")
    except OSError as error:
        place = error.filename or plan.outputs / "lake"
        raise DataError(f"The data cannot be loaded: {error.strerror} ({place}).") from None
    hold_contract(table.path, plan.file.parent, plan.project, table.remarks)
    return table


def require_writable(folder: Path) -> None:
    """Raise RunError when no file can be written in a folder, which is made where it is absent."""
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise RunError(f"{folder} cannot be written: {error.strerror}. Choose another place with --out DIR.") from None


def require_space(folder: Path, needed: int) -> None:
    """Raise RunError when a disk has fewer bytes left than a run needs."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        told = f"{free / 2**20:,.0f} MiB are free in {folder}; a run of this table needs about {needed / 2**20:,.0f}"
        raise RunError(f"{told}. Free some, or choose another place with --out DIR.")


def check_table(frame: "pd.DataFrame", resolved: Resolved) -> None:
    """Raise DataError with all that keeps this table from being learned from with these parameters."""
    faults = list(dict.fromkeys(_faults(frame, resolved)))
    if len(faults) == 1:
        raise DataError(faults[0])
    if faults:
        raise DataError("\n  ".join([f"The data do not fit the parameters ({len(faults)} faults):", *faults]))


def check_labeled(plan: Plan) -> None:
    """Raise DataError where the second, labeled table cannot be read or lacks the target."""
    from tdsp.stages.model_evaluation import labeled_table

    values = plan.resolved.values
    if values.get("labelled_test"):
        labeled_table(values, [values["target"]], root=plan.root, lake=plan.outputs / "lake")


def check_charter(charter: "Charter", project: str, *, columns: Sequence[str], sources: Sequence[str]) -> None:
    """Raise ParameterError for each column and source that a charter describes and the run does not have."""
    faults = [
        f"{section} describes {name!r}, which is no {section[:-1]}.{did_you_mean(name, there)}"
        for section, there in (("columns", columns), ("sources", sources))
        for name in getattr(charter, section)
        if name not in there
    ]
    if faults:
        raise ParameterError("\n  ".join([f"{project}.charter.yaml does not fit the data ({len(faults)}):", *faults]))


def _faults(frame: "pd.DataFrame", resolved: Resolved) -> Iterator[str]:
    """Yield what is wrong, by the very functions that the notebooks call."""
    from tdsp.data.target import require_target
    from tdsp.modeling.families import require_candidates
    from tdsp.stages.data_acquisition import split_by
    from tdsp.stages.modeling import setting_checks
    from tdsp.stats.metrics import require_metric

    values, names = resolved.values, [str(name) for name in frame.columns]
    for parameter in COLUMNS:
        for name in values[parameter]:
            if name not in names:
                yield f"{parameter} names {name!r}, which is no column.{did_you_mean(name, names)}"
    yield from _fault(lambda: require_candidates(values["candidates"]))
    target = values["target"]
    try:
        found = require_target(frame, target, task=values["task"], positive_class=values["positive_class"])
    except TdspError as error:
        yield str(error)
        return
    yield from _fault(lambda: require_metric(values["metric"], found.task))
    yield from _fault(lambda: split_by(frame, values, found.task))
    for check in setting_checks(values, frame, found):
        yield from _fault(check)


def _fault(check: Callable[[], object]) -> Iterator[str]:
    try:
        check()
    except TdspError as error:
        yield str(error)
