"""`import tdsp` beside scikit-learn and skore: five tasks, the lines a user writes, CPU seconds, and what is seen.

    SKORE_PYTHON=/tmp/skore/bin/python python -m tests.benchmarks.api

skore runs with the Python that SKORE_PYTHON names, because it is no requirement of this project; without it, it is left
out. Each library does its tasks in one process of its own, after the same table was read and the same two models were
fitted. Lines are those of the snippets below without blank ones, imports included; the seconds are CPU seconds of the
snippet alone, which other work on the machine disturbs least. The table is printed as Markdown.
"""

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass

SETUP = """
import warnings; warnings.filterwarnings("ignore")
import numpy as np, pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
df = load_breast_cancer(as_frame=True).frame
leaky = df.assign(dose=np.where(df["target"] == 0, np.random.default_rng(0).uniform(20, 60, len(df)), 0.0))
X, y = df.drop(columns="target"), df["target"]
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
linear = make_pipeline(StandardScaler(), LogisticRegression()).fit(X_train, y_train)
forest = RandomForestClassifier(random_state=0).fit(X_train, y_train)
"""


@dataclass(frozen=True, slots=True)
class Way:
    """One task done with one library; the last line of the code is shown."""

    code: str
    seen: str

    @property
    def lines(self) -> int:
        """Lines that a user writes."""
        return sum(bool(line.strip()) for line in self.code.splitlines())


TASKS: dict[str, dict[str, Way]] = {
    "profile a table": {
        "tdsp": Way(
            """
            import tdsp
            tdsp.profile(df, "target")
            """,
            "gaps, range, distribution and association with the target; findings with evidence and remedy",
        ),
        "scikit-learn": Way(
            """
            import pandas as pd
            facts = df.describe().T
            facts["missing"] = df.isna().mean()
            facts["correlation"] = df.corr(method="spearman")["target"]
            facts, df.duplicated().sum()
            """,
            "quantiles, gaps and correlations of numbers (pandas); no finding",
        ),
        "skore": Way(
            """
            from skore import EstimatorReport
            model = LogisticRegression()
            report = EstimatorReport(model, X_train=X_train, y_train=y_train, X_test=X_test, y_test=y_test)
            report.data.summarize()
            """,
            "an interactive table with distributions and associations between columns; no finding",
        ),
    },
    "look for leaks": {
        "tdsp": Way(
            """
            import tdsp
            tdsp.find_leaks(leaky, "target")
            """,
            "the leaking column, its score alone and that of all others together, what to do",
        ),
        "scikit-learn": Way(
            """
            from sklearn.model_selection import cross_val_score
            from sklearn.tree import DecisionTreeClassifier
            tree, columns = DecisionTreeClassifier(max_leaf_nodes=64, random_state=0), leaky.columns.drop("target")
            alone = {c: cross_val_score(tree, leaky[[c]], leaky["target"], scoring="roc_auc").mean() for c in columns}
            pd.Series(alone).sort_values(ascending=False)
            """,
            "the score of each column alone; no decision",
        ),
        "skore": Way(
            """
            from skore import EstimatorReport
            a, b = train_test_split(leaky, stratify=leaky["target"], random_state=0)
            model = make_pipeline(StandardScaler(), LogisticRegression())
            parts = dict(X_train=a.drop(columns="target"), y_train=a["target"], X_test=b.drop(columns="target"))
            EstimatorReport(model, **parts, y_test=b["target"]).checks.summarize()
            """,
            "“golden features” named with the column, among 16 checks of a fitted model; needs a model",
        ),
    },
    "score with interval": {
        "tdsp": Way(
            """
            import tdsp
            tdsp.score(y_test, linear.predict_proba(X_test))
            """,
            "ROC-AUC with a 95 % interval, no-skill line, remarks on small samples; groups and days on request",
        ),
        "scikit-learn": Way(
            """
            from sklearn.metrics import roc_auc_score
            p, rng = linear.predict_proba(X_test)[:, 1], np.random.default_rng(0)
            draws = [rng.integers(0, len(p), len(p)) for _ in range(1000)]
            scores = [roc_auc_score(y_test.iloc[d], p[d]) for d in draws]
            roc_auc_score(y_test, p), np.quantile(scores, [0.025, 0.975])
            """,
            "a number and two bounds, by a loop that the user writes; rows only",
        ),
        "skore": Way(
            """
            from skore import CrossValidationReport
            CrossValidationReport(linear, X, y, splitter=5).metrics.roc_auc()
            """,
            "mean and standard deviation over five folds; no interval of a test set",
        ),
    },
    "compare two models": {
        "tdsp": Way(
            """
            import tdsp
            tdsp.compare(y_test, linear.predict_proba(X_test), forest.predict_proba(X_test), names=("linear", "forest"))
            """,
            "both scores, the paired difference with its interval, and whether it is beyond noise",
        ),
        "scikit-learn": Way(
            """
            from sklearn.metrics import roc_auc_score
            a, b = (m.predict_proba(X_test)[:, 1] for m in (linear, forest))
            rng, y_ = np.random.default_rng(0), y_test.to_numpy()
            draws = [rng.integers(0, len(y_), len(y_)) for _ in range(1000)]
            gains = [roc_auc_score(y_[d], a[d]) - roc_auc_score(y_[d], b[d]) for d in draws]
            roc_auc_score(y_, a) - roc_auc_score(y_, b), np.quantile(gains, [0.025, 0.975])
            """,
            "the difference and two bounds, by a loop that the user writes",
        ),
        "skore": Way(
            """
            from skore import ComparisonReport, EstimatorReport
            reports = [EstimatorReport(m, X_test=X_test, y_test=y_test) for m in (linear, forest)]
            ComparisonReport(reports).metrics.summarize()
            """,
            "twelve metrics of both models side by side; no difference, no interval",
        ),
    },
    "explain a model": {
        "tdsp": Way(
            """
            import tdsp
            tdsp.explain(linear, X_test, y_test)
            """,
            "loss of score with interval for each column and for groups of alike columns; course of the prediction",
        ),
        "scikit-learn": Way(
            """
            from sklearn.inspection import permutation_importance
            found = permutation_importance(linear, X_test, y_test, scoring="roc_auc", random_state=0)
            table = pd.DataFrame({"mean": found.importances_mean, "sd": found.importances_std}, index=X.columns)
            table.sort_values("mean", ascending=False)
            """,
            "mean loss and its spread over five shuffles; alike columns hide one another",
        ),
        "skore": Way(
            """
            from skore import EstimatorReport
            report = EstimatorReport(linear, X_test=X_test, y_test=y_test)
            report.inspection.permutation_importance(metric="roc_auc", seed=0)
            """,
            "mean loss and its spread over five shuffles, as a plot; alike columns hide one another",
        ),
    },
}
LIBRARIES = ("tdsp", "scikit-learn", "skore")
CHILD = """
import ast, json, sys, time
namespace = {}
work = json.loads(sys.stdin.read())
exec(work["setup"], namespace)
loaded = {"tdsp": "import tdsp; [getattr(tdsp, name) for name in tdsp.__all__]", "skore": "import skore"}
exec(loaded.get(work["library"], ""))
for task, code in work["codes"].items():
    tree = ast.parse(code)
    last = ast.Expression(tree.body.pop().value)
    began, clock = time.process_time(), time.perf_counter()
    exec(compile(tree, "way", "exec"), namespace)
    value = eval(compile(last, "way", "eval"), namespace)
    text = repr(value)
    getattr(value, "_repr_html_", lambda: "")()
    seconds = time.process_time() - began, time.perf_counter() - clock
    print(json.dumps({"task": task, "cpu": seconds[0], "wall": seconds[1], "text": text[:300]}), flush=True)
"""


def measured(library: str, python: str) -> dict[str, dict[str, float]]:
    """CPU and wall seconds of each task, in one process; what it prints goes to stderr."""
    codes = {task: textwrap.dedent(ways[library].code) for task, ways in TASKS.items()}
    work = json.dumps({"setup": SETUP, "library": library, "codes": codes})
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    done = subprocess.run(
        [python, "-c", CHILD], input=work, capture_output=True, text=True, env=environment, check=False
    )
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"task"')]
    if len(found) < len(TASKS):
        raise SystemExit(f"{library}: {done.stderr[-2000:]}")
    for row in found:
        print(f"{library}, {row['task']}: {row['text'][:200]}", file=sys.stderr)
    return {row["task"]: row for row in found}


def main() -> None:
    """Print the table."""
    skore = os.environ.get("SKORE_PYTHON", "")
    libraries = [name for name in LIBRARIES if name != "skore" or skore]
    seconds = {name: measured(name, skore if name == "skore" else sys.executable) for name in libraries}
    print("| task | library | lines | CPU seconds | what is seen |\n|---|---|---|---|---|")
    for task, ways in TASKS.items():
        for name in libraries:
            way = ways[name]
            print(f"| {task} | {name} | {way.lines} | {seconds[name][task]['cpu']:.1f} | {way.seen} |")
    totals = {name: (sum(w[name].lines for w in TASKS.values()), sum(s["cpu"] for s in seconds[name].values()))
              for name in libraries}  # fmt: skip
    for name, (lines, cpu) in totals.items():
        print(f"| all five | {name} | {lines} | {cpu:.1f} | |")


if __name__ == "__main__":
    main()
