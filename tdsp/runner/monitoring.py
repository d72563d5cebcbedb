"""Executes notebooks/monitoring.ipynb for one model and one table, and renders its page."""

import json
import logging
import shutil
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tdsp.core.errors import BundleError, DataError, ExitCode, ParameterError, RunError, StageError, TdspError
from tdsp.core.project import find_notebooks, find_root
from tdsp.packaging.bundle import check
from tdsp.registry import registry
from tdsp.registry.registry import find_model
from tdsp.reporting import pages
from tdsp.reporting.monitor_index import render_monitors
from tdsp.reporting.monitor_page import render_monitor
from tdsp.runner.kernels import modules_of, start_kernel
from tdsp.runner.pipeline import describe_failure, import_papermill
from tdsp.stages.monitoring import MonitorSettings

NOTEBOOK = "monitoring.ipynb"
ALARM_CODE = 4
logger = logging.getLogger("tdsp.monitor")
MISTAKES = {one.__name__: one for one in (BundleError, DataError, ParameterError, RunError)}  # of the caller


def exit_code(state: str) -> int:
    """Return 4 for an alarm, 0 for every other state."""
    return ALARM_CODE if state == "alarm" else ExitCode.DONE


def report_stamp() -> str:
    """Return the time as the name of a report's folder, to the millisecond: names sort as reports were made."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")[:-3]


def run_monitor(settings: MonitorSettings, outputs: Path) -> tuple[Path, dict[str, Any]]:
    """Judge a table; return the folder of the report and the content of monitor.json.

    Raises TdspError for what cannot be monitored, and leaves no folder of it.
    """
    root = find_root()
    known = Path(settings.out) if settings.out else outputs  # a report may go elsewhere
    name = str(check(find_model(settings.model or "latest", known))["name"])
    folder = outputs.resolve() / "monitoring" / name / report_stamp()
    folder.mkdir(parents=True)
    try:
        _execute(settings, root, folder)
    except BaseException as error:
        if not isinstance(error, StageError) or not (folder / NOTEBOOK).exists():
            _remove(folder)
        raise
    result: dict[str, Any] = json.loads((folder / "monitor.json").read_bytes())
    render_monitor(folder, result)
    render_dashboard(outputs)
    return folder, result


def render_dashboard(outputs: Path) -> None:
    """Write the page of all models, and the link to it in the list of runs; what fails costs no report."""
    try:
        known = (outputs / "monitoring" / "index.html").exists()
        render_monitors(outputs)
        if not known:
            pages.render_index(outputs, registry.runs_in_service(outputs))
            render_monitors(outputs)  # there is a list of runs to lead back to
    except (OSError, TdspError) as error:
        logger.warning("The page of all models could not be written: %s", error)


def _remove(folder: Path) -> None:
    """Remove the folder of a report, and those above it that hold nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # other reports are there
        folder.parent.rmdir()
        folder.parent.parent.rmdir()


def _execute(settings: MonitorSettings, root: Path, folder: Path) -> None:
    """Let papermill execute the notebook into the folder.

    The rows are read there and nowhere else: what the notebook finds wrong with them is raised here as it was there.
    Raises StageError naming the cell for everything else that failed.
    """
    papermill = import_papermill()
    source = find_notebooks(root) / NOTEBOOK
    kernel = start_kernel(cwd=Path.cwd(), preload=modules_of(source))
    try:
        papermill.execute_notebook(
            str(source).replace("{", "{{").replace("}", "}}"),
            None,
            {**asdict(settings), "place": str(folder)},
            engine_name="tdsp",
            save_as=folder / NOTEBOOK,
            progress=_quiet,
            progress_bar=False,
            execution_timeout=None,
            kernel=kernel,
        )
    except TdspError:
        raise
    except Exception as error:
        failure = describe_failure(folder / NOTEBOOK, error)
        if failure.type in MISTAKES:
            raise MISTAKES[failure.type](failure.message) from None
        raise StageError(f"{failure.sentence('monitoring')} The notebook is {folder / NOTEBOOK}.") from error
    finally:
        kernel.end()


def _quiet(cell: int, cells: int, seconds: float) -> None:
    """Show no progress: a monitoring takes seconds."""
