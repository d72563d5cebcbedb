"""Lines that let a scheduler take the turns of a loop: cron, systemd, GitHub Actions, Azure DevOps."""

import json
import shlex
import sys
from pathlib import Path

MARGIN = "one hour after a window has ended"
TIMES = {  # by window: cron, systemd's OnCalendar
    "day": ("0 1 * * *", "*-*-* 01:00:00 UTC"),
    "week": ("0 1 * * 1", "Mon *-*-* 01:00:00 UTC"),
    "month": ("0 1 1 * *", "*-*-01 01:00:00 UTC"),
}


def schedule_lines(file: Path, root: Path, every: str) -> str:
    """Return the lines for four schedulers, with paths quoted as each one reads them."""
    cron, calendar = TIMES[every]
    absolute = [sys.executable, "-m", "tdsp", "cycle", str(file)]
    here = shlex.join(["tdsp", "cycle", str(file.relative_to(root)) if file.is_relative_to(root) else str(file)])
    line = f"cd {shlex.quote(str(root))} && {shlex.join(absolute)}"
    step = json.dumps(here)  # a text of JSON is one of YAML
    return f"""\
# {"daily" if every == "day" else f"{every}ly"}, {MARGIN}, in UTC. Exit code 4 is an alarm: let it reach a person.

# cron (crontab -e); the machine's clock in UTC
{cron} {_for_cron(line)}

# systemd: ~/.config/systemd/user/tdsp-{file.stem.replace(" ", "-")}.service and .timer
[Service]
Type=oneshot
WorkingDirectory={_for_systemd(str(root), quoted=False)}
ExecStart={" ".join(_for_systemd(part) for part in absolute)}

[Timer]
OnCalendar={calendar}
Persistent=true

# GitHub Actions: .github/workflows/cycle.yml; outputs/ has to be kept between the jobs
on: {{schedule: [{{cron: "{cron}"}}]}}
concurrency: cycle
jobs: {{cycle: {{runs-on: self-hosted, steps: [{{run: {step}}}]}}}}

# Azure DevOps: azure-pipelines-cycle.yml; outputs/ has to be kept between the jobs
schedules: [{{cron: "{cron}", displayName: cycle, branches: {{include: [main]}}, always: true}}]
trigger: none
steps: [{{script: {step}}}]
"""


def _for_cron(line: str) -> str:
    """Return a line in which a per cent sign does not end the command."""
    return line.replace("%", r"\%")


def _for_systemd(text: str, *, quoted: bool = True) -> str:
    """Return a word of ExecStart; per cent and dollar signs stand for themselves."""
    plain = text.replace("%", "%%")
    if not quoted:
        return plain
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{escaped}"'
