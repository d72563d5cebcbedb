"""A planted leak opens a question and holds the verdict back, until it is answered in one of the two ways."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tdsp.core.record import read_record

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow, pytest.mark.timeout(1800)]

PARAMETERS = """\
project: tickets
title: Customers who leave
question: Will this customer leave within the quarter?
decision: The team calls those with the highest probability.
sources:
  tickets: tickets.csv
target: churned
positive_class: "yes"
metric: roc_auc
threshold: 0.6
search_trials: 2
candidates: [dummy, linear]
n_resamples: 200
importance_repeats: 1
"""


def customers(wrong: float) -> pd.DataFrame:
    """Customers with a flag that is set when they have left, wrong in some rows."""
    rng = np.random.default_rng(3)
    n = 600
    X = pd.DataFrame({
        "age": rng.integers(18, 80, n), "plan": rng.choice(["basic", "plus", "pro"], n),
        "calls": rng.poisson(3, n), "minutes": rng.gamma(3, 20, n).round(1),
    })  # fmt: skip
    score = 0.1 * X["calls"] + 0.01 * X["minutes"] + (X["plan"] == "basic") * 0.9 + rng.normal(0, 0.6, n)
    left = (score > score.quantile(0.65)).to_numpy()
    flag = np.where(rng.random(n) < wrong, ~left, left)
    return X.assign(closed_flag=np.where(flag, "closed", "open"), churned=np.where(left, "yes", "no"))


def run(project: Path) -> tuple[int, str, str]:
    """`tdsp run`: exit code, verdict, the open question as YAML (empty for none)."""
    command = [sys.executable, "-m", "tdsp", "run", "parameters/tickets.yaml"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    folders = sorted((project / "outputs" / "runs").glob("tickets-2*"), key=lambda folder: folder.stat().st_mtime)
    assert folders, done.stderr
    record = read_record(folders[-1])
    questions = record.fact("questions") or []
    if questions:
        assert "closed_flag" in done.stdout + done.stderr and questions[0]["text"].partition(":")[0] in (
            (folders[-1] / "index.html").read_text(encoding="utf-8")
        )
    return done.returncode, record.verdict, questions[0]["yaml"] if questions else ""


def test_a_leak_is_a_question_with_two_ways_out(project):
    """Open: exit 3; forbidden by the copied line, or accepted with a reason: exit 0; on other evidence: exit 3."""
    parameters, charter = (project / "parameters" / f"tickets{end}.yaml" for end in ("", ".charter"))
    customers(0.02).to_csv(project / "tickets.csv", index=False)
    parameters.write_text(PARAMETERS)
    code, verdict, lines = run(project)
    assert (code, verdict) == (3, "insufficient evidence") and "closed_flag" in lines

    forbidden = re.search(r"^forbidden: .*$", lines, re.MULTILINE)
    parameters.write_text(f"{PARAMETERS}{forbidden[0] if forbidden else ''}\n")
    assert run(project) == (0, "accepted", "")

    parameters.write_text(PARAMETERS)
    charter.write_text(lines[lines.index("findings:") :].replace("TODO", "Set each noon, before the call.") + "\n")
    assert run(project) == (0, "accepted", "")

    customers(0.0).to_csv(project / "tickets.csv", index=False)
    code, verdict, again = run(project)
    assert (code, verdict) == (3, "insufficient evidence") and "evidence" in again


@pytest.mark.parametrize(("name", "target"), [("breast_cancer", "target"), ("penguins", "species")])
def test_tables_that_are_easy_stay_accepted(project, shared_data, name, target):
    """ROC-AUC near 1 is normal there: no question is asked."""
    source = "sklearn:breast_cancer" if name == "breast_cancer" else str(shared_data / "penguins" / "penguins.csv")
    lines = PARAMETERS.replace("tickets.csv", source).replace("churned", target).replace('positive_class: "yes"\n', "")
    if name == "penguins":
        lines = lines.replace("metric: roc_auc", "metric: balanced_accuracy")
    (project / "parameters" / "tickets.yaml").write_text(lines)
    assert run(project) == (0, "accepted", "")
