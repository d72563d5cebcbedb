"""The verb `doctor`: what is installed, what is missing and what to type."""

import sys
from dataclasses import dataclass
from pathlib import Path

from tdsp.cli.console import echo, echo_json
from tdsp.cli.options import Json
from tdsp.core.errors import TdspError
from tdsp.core.files import to_json
from tdsp.core.formatting import count_of, format_bytes
from tdsp.core.project import find_root
from tdsp.runner import preflight


@dataclass(frozen=True, slots=True)
class Examined:
    """Something a project needs, and what to do where it is missing."""

    what: str
    fine: bool
    found: str
    remedy: str = ""


def doctor(as_json: Json = False) -> int:
    """Say what is installed, what is missing and what to type."""
    findings = examine()
    if as_json:
        echo_json([to_json(finding) | {"told": finding.found} for finding in findings])  # `told`: its name before
        return 0 if all(finding.fine for finding in findings) else 1
    for finding in findings:
        state, remedy = ("ok     ", "") if finding.fine else ("MISSING", f"\n         {finding.remedy}")
        echo(f"{state}  {finding.what}: {finding.found}{remedy}")
    return 0 if all(finding.fine for finding in findings) else 1


def examine() -> list[Examined]:
    """Return what was looked at, whether it is fine, what was found, and what to do otherwise."""
    import importlib.metadata as metadata
    import platform
    import shutil

    from packaging.requirements import Requirement

    python = platform.python_version()
    findings = [Examined("Python", sys.version_info >= (3, 11), python, "Install Python 3.11 or newer.")]
    for line in metadata.requires("tdsp") or []:
        need = Requirement(line)
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            found = metadata.version(need.name)
            fine = need.specifier.contains(found, prereleases=True)
        except metadata.PackageNotFoundError:
            found, fine = "not installed", False
        findings.append(Examined(need.name, fine, found, f"pip install '{need.name}{need.specifier}'"))
    findings.append(_examine_lightgbm())
    root = find_root()
    try:
        preflight.require_writable(root / "outputs" / "runs")
        findings.append(Examined("outputs", True, str(root / "outputs")))
    except TdspError as error:
        findings.append(Examined("outputs", False, str(error), "Work in a folder of your own."))
    findings.append(_examine_logs(root / "outputs" / "predictions"))
    free = shutil.disk_usage(root).free / 2**30
    findings.append(Examined("disk", free >= 1, f"{free:.1f} GiB free", "Free at least 1 GiB."))
    return findings


def _examine_logs(folder: Path) -> Examined:
    """The size of all logs of predictions, and the limits of a service."""
    from tdsp.serving.prediction_log import LogLimits

    sizes = [part.stat().st_size for part in folder.rglob("part-*.parquet")]
    limits = LogLimits()
    size = format_bytes(limits.bytes)
    kept = f"`tdsp serve` keeps {limits.days:g} days and {size} of each model (--log-days, --log-gb)"
    found = f"{count_of(len(sizes), 'part')}, {format_bytes(sum(sizes))}" if sizes else "none yet"
    return Examined("prediction logs", True, f"{found}; {kept}")


def _examine_lightgbm() -> Examined:
    remedy = "It needs the OpenMP library. Debian, Ubuntu: apt install libgomp1; macOS: brew install libomp."
    try:
        import lightgbm
    except (ImportError, OSError) as error:
        return Examined("LightGBM loads", False, str(error), remedy)
    return Examined("LightGBM loads", True, str(lightgbm.__version__))
