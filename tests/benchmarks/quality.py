"""Quality of the search beside FLAML, AutoGluon and default LightGBM: same rows, same seconds, two threads.

    python -m tests.benchmarks.quality run OURS telco_churn …     one tool on some tables, results kept in a folder
    python -m tests.benchmarks.quality table                      scores, regret with paired intervals, ranks

Tools: ours, lightgbm, flaml, autogluon. The last two run in environments of their own, outside the lock: FLAML_PYTHON
and AUTOGLUON_PYTHON name their interpreters (made by `python -m tests.benchmarks.quality install flaml|autogluon`).
Tables come from the folder of sample data beside the clone; the sum of the test rows is checked, so that everybody
scores the same rows. Nothing else should run on the machine meanwhile.
"""

import argparse
import hashlib
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
KEPT = Path(os.environ.get("BENCH_FOLDER") or ROOT / "outputs" / "bench_quality")
SECONDS, THREADS = int(os.environ.get("BENCH_SECONDS") or 60), 2
TOOLS = ("ours", "lightgbm", "flaml", "autogluon")
METRIC = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}


def _adult() -> pd.DataFrame:
    parts = [pd.read_csv(DATA / "adult_income" / f"uci_income_{part}.csv.gz") for part in ("train", "test")]
    return pd.concat(parts, ignore_index=True)


def _telco() -> pd.DataFrame:
    table = pd.read_csv(DATA / "telco_churn" / "Telco-Customer-Churn.csv").drop(columns="customerID")
    charges = pd.to_numeric(table["TotalCharges"].str.strip(), errors="coerce")
    return table.assign(TotalCharges=charges, Churn=(table["Churn"] == "Yes").astype(int))


def _bank() -> pd.DataFrame:
    table = pd.read_csv(DATA / "bank_marketing" / "bank-additional-full.csv.gz", sep=None, engine="python")
    return table.drop(columns="duration").assign(y=(table["y"] == "yes").astype(int))


def _read(name: str, file: str, *drop: str) -> pd.DataFrame:
    return pd.read_csv(DATA / name / file).drop(columns=[*drop])


BIKE = ("instant", "dteday", "casual", "registered")
# table, target, task, split, sum of the test rows
SETS: dict[str, tuple[Callable[[], pd.DataFrame], str, str, str, str]] = {
    "adult_income": (_adult, "income", "binary", "random", "0e0ba7c7c830c672"),
    "telco_churn": (_telco, "Churn", "binary", "random", "7f8ace90a501618f"),
    "bank_marketing": (_bank, "y", "binary", "random", "e19b9c5edb50656e"),
    "electricity": (lambda: _read("electricity", "elec.csv.gz"), "class", "binary", "time", "e3a7782e2a67522f"),
    "bike_sharing": (lambda: _read("bike_sharing", "hour.csv.gz", *BIKE), "cnt", "regression", "time",
                     "714d3af7eb5503be"),
    "california_housing": (lambda: _read("california_housing", "housing.csv.gz"), "median_house_value", "regression",
                           "random", "25367416ab3dac12"),
    "ames_houses": (lambda: _read("ames_houses", "train.csv", "Id"), "SalePrice", "regression", "random",
                    "87b6650c082e603a"),
    "letter_recognition": (lambda: _read("letter_recognition", "letterdata.csv"), "letter", "multiclass", "random",
                           "11a6346ec7c89313"),
}  # fmt: skip


def load(name: str, drawn: int = 0) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray, str, str]:
    """Return features, target as numbers or codes, positions to train and to test on, task, and kind of split."""
    from sklearn.model_selection import train_test_split

    read, target, task, split, digest = SETS[name]
    table = read()
    X, y = table.drop(columns=target), table[target]
    if task == "regression":
        y = y.to_numpy(dtype=float)
    else:
        y = pd.factorize(y, sort=True)[0] if not pd.api.types.is_numeric_dtype(y) else y.to_numpy(dtype=int)
    n = len(table)
    train, test = np.arange(int(0.8 * n)), np.arange(int(0.8 * n), n)
    if split == "random":
        strata = None if task == "regression" else y
        train, test = train_test_split(np.arange(n), test_size=0.2, random_state=drawn, stratify=strata)
    found = hashlib.sha256(np.sort(test).astype("<i8").tobytes()).hexdigest()[:16]
    if not drawn and found != digest:
        raise SystemExit(f"{name}: the test rows have the sum {found}, not {digest}. Use the same data and libraries.")
    return X, y, np.sort(train), np.sort(test), task, split


def ours(X: pd.DataFrame, y: np.ndarray, X_test: pd.DataFrame, task: str, split: str, seed: int) -> tuple:
    """Features as the product makes them, then its search and what it would package."""
    from tdsp.data.schema import infer_schema
    from tdsp.modeling.fitting import fit_final, predict
    from tdsp.modeling.folds import make_folds
    from tdsp.modeling.search import search
    from tdsp.modeling.selection import best_of_families
    from tdsp.packaging.loader import as_features
    from tdsp.stats.metrics import METRICS

    began = time.monotonic()
    classes = [str(k) for k in np.unique(y)] if task != "regression" else []
    positive = "1" if task == "binary" else None
    metric = METRICS[METRIC[task]]
    schema = infer_schema(X, target="", task=task, classes=classes, positive_class=positive)
    features = as_features(X, schema)
    by = np.arange(len(y)) if split == "time" else None
    cv = make_folds(y, task=task, kind=split, by=by, random_state=seed)
    trials = int(os.environ.get("BENCH_TRIALS") or 0)  # instead of seconds, to compare versions on a busy machine
    budget = {"trials": trials, "budget_seconds": 0 if trials else SECONDS}
    found = search(["linear", "lightgbm", "tree", "extra_trees", "mlp", "hist_gb", "ensemble"], features, y, task=task,
                   cv=cv, metric=metric, classes=classes, **budget, random_state=seed,
                   progress=lambda line: print("   ", line, flush=True))  # fmt: skip
    best = max(best_of_families(found, metric), key=lambda c: metric.sign * (c.mean + c.selection_optimism))
    pipeline = fit_final(best, features, y, task=task, random_state=seed)
    spent = time.monotonic() - began
    y_pred = predict(pipeline, as_features(X_test, schema), task=task, n_classes=max(len(classes), 2))
    began = time.monotonic()
    for _ in range(10):
        predict(pipeline, as_features(X_test.head(1), schema), task=task, n_classes=max(len(classes), 2))
    parts = "; ".join(f"{c.name} {w:.2f}" for c, w in best.members) or best.name
    size = len(pickle.dumps(pipeline)) / 1e6
    latency, cpu = (time.monotonic() - began) * 100, sum(c.fit_seconds for c in found if not c.members)
    cost = f"{len(found)} candidates, {cpu:.0f} CPU s, {size:.0f} MB, {latency:.0f} ms a row"
    return y_pred, spent, f"{cost}, CV {best.mean:.5g}: {parts}"


def lightgbm(X: pd.DataFrame, y: np.ndarray, X_test: pd.DataFrame, task: str, split: str, seed: int) -> tuple:
    """LightGBM with its own settings, text columns as categories."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    began = time.monotonic()
    text = X.columns[[not pd.api.types.is_numeric_dtype(t) for t in X.dtypes]]
    levels = {name: pd.CategoricalDtype(sorted(X[name].dropna().unique())) for name in text}
    kind = LGBMRegressor if task == "regression" else LGBMClassifier
    model = kind(n_jobs=THREADS, random_state=seed, verbosity=-1).fit(X.astype(levels), y)
    return _predict_form(model, X_test.astype(levels), task), time.monotonic() - began, ""


def flaml(X: pd.DataFrame, y: np.ndarray, X_test: pd.DataFrame, task: str, split: str, seed: int) -> tuple:
    """FLAML with its defaults."""
    from flaml import AutoML

    began, model = time.monotonic(), AutoML()
    kind = "regression" if task == "regression" else "classification"
    metric = METRIC[task]
    model.fit(X, y, task=kind, metric=metric, time_budget=SECONDS, n_jobs=THREADS, seed=seed, verbose=0)
    return _predict_form(model, X_test, task), time.monotonic() - began, str(model.best_estimator)


def autogluon(X: pd.DataFrame, y: np.ndarray, X_test: pd.DataFrame, task: str, split: str, seed: int) -> tuple:
    """AutoGluon's preset medium_quality."""
    import tempfile

    from autogluon.tabular import TabularPredictor

    began = time.monotonic()
    metric = {"roc_auc": "roc_auc", "log_loss": "log_loss", "rmse": "root_mean_squared_error"}[METRIC[task]]
    with tempfile.TemporaryDirectory() as folder:
        model = TabularPredictor("y", problem_type=task, eval_metric=metric, path=folder, verbosity=0)
        model.fit(X.assign(y=y), presets="medium_quality", time_limit=SECONDS, num_cpus=THREADS)
        spent = time.monotonic() - began
        y_pred = model.predict(X_test) if task == "regression" else model.predict_proba(X_test)
        y_pred = y_pred.to_numpy()
        return y_pred[:, 1] if task == "binary" else y_pred, spent, model.model_best


def _predict_form(model: object, X: pd.DataFrame, task: str) -> np.ndarray:
    if task == "regression":
        return np.asarray(model.predict(X), dtype=float)
    y_pred = np.asarray(model.predict_proba(X), dtype=float)
    return y_pred[:, 1] if task == "binary" else y_pred


def kept_at(name: str, tool: str, seed: int, drawn: int) -> Path:
    """Return where the predictions of a tool are kept."""
    return KEPT / f"{name}.{tool}.{seed}{f'.split{drawn}' if drawn else ''}.pkl"


def run(tool: str, names: list[str], seed: int, drawn: int) -> None:
    """Fit and predict in this interpreter; keep the predictions."""
    KEPT.mkdir(parents=True, exist_ok=True)
    for name in names or SETS:
        X, y, train, test, task, split = load(name, drawn)
        y_pred, spent, note = globals()[tool](X.iloc[train], y[train], X.iloc[test], task, split, seed)
        kept = {"y_pred": y_pred, "y": y[test], "mean": y[train].mean(), "seconds": spent, "note": note, "split": split}
        kept["prior"] = np.bincount(y[train]) / len(train) if task != "regression" else None
        kept_at(name, tool, seed, drawn).write_bytes(pickle.dumps(kept))
        print(
            f"{name} {tool} seed {seed} split {drawn}: loss {loss_of(task, y[test], y_pred):.5f}, {spent:.1f} s {note}",
            flush=True,
        )


def loss_of(task: str, y: np.ndarray, y_pred: np.ndarray, w: np.ndarray | None = None) -> float:
    """Return 1 - ROC-AUC, log loss or RMSE of the rows, weighted."""
    from sklearn.metrics import log_loss, mean_squared_error, roc_auc_score

    if task == "binary":
        return 1 - roc_auc_score(y, y_pred, sample_weight=w)
    if task == "multiclass":
        y_pred = y_pred / y_pred.sum(axis=1, keepdims=True)  # some tools answer in single precision
        return log_loss(y, y_pred, sample_weight=w, labels=np.arange(y_pred.shape[1]))
    return mean_squared_error(y, y_pred, sample_weight=w) ** 0.5


def table(seed: int, drawn: int) -> None:
    """Print losses, regret against the best and paired intervals from 1,000 resamples of rows."""
    sets = [name for name in SETS if all(kept_at(name, tool, seed, drawn).exists() for tool in ("ours", "lightgbm"))]
    regrets, ranks = [], []
    for name in sets:
        task = SETS[name][2]
        kept = {tool: pickle.loads(path.read_bytes()) for tool in TOOLS
                if (path := kept_at(name, tool, seed, drawn)).exists()}  # fmt: skip
        losses = resampled(task, kept)
        base, best = losses["dummy"][0], min(loss[0] for tool, loss in losses.items() if tool != "dummy")
        regret = (losses["ours"] - np.min([losses[t] for t in kept], axis=0)) / (base - best)
        regrets.append(regret[0])
        behind = losses["ours"] - losses["lightgbm"]
        worse = np.quantile(behind[1:], 0.05 / len(sets)) > 0
        rank = 1 + sum(np.quantile((losses["ours"] - losses[t])[1:], 0.025) > 0 for t in kept if t != "ours")
        ranks.append(rank)
        scores = "  ".join(f"{t} {losses[t][0]:.4f} ({kept[t]['seconds']:.0f} s)" for t in kept)
        low, high = np.quantile(behind[1:], [0.025, 0.975])
        print(f"{name:19} {scores}\n{'':19} regret {regret[0]:.2%}, ours - lightgbm {behind[0]:.4f} "
              f"({low:.4f} to {high:.4f}){' WORSE' if worse else ''}, rank {rank}")  # fmt: skip
    print(f"mean regret {np.mean(regrets):.2%} over {len(sets)} tables, mean rank {np.mean(ranks):.2f}")


def resampled(task: str, kept: dict[str, dict]) -> dict[str, np.ndarray]:
    """Return the loss of each tool on the rows as they are, then on 1,000 resamples, the same for every tool."""
    y = kept["ours"]["y"]
    y_pred = {tool: entry["y_pred"] for tool, entry in kept.items()}
    prior = kept["ours"]["prior"]
    y_pred["dummy"] = np.full(len(y), kept["ours"]["mean"]) if task != "multiclass" else np.tile(prior, (len(y), 1))
    rng = np.random.default_rng(0)
    weights = [np.ones(len(y)), *(np.bincount(rng.integers(0, len(y), len(y)), minlength=len(y)) for _ in range(1000))]
    return {tool: np.array([loss_of(task, y, t, w) for w in weights]) for tool, t in y_pred.items()}


def install(tool: str) -> None:
    """Make an environment outside the lock and print its interpreter."""
    folder = Path(os.environ.get("BENCH_ENVIRONMENTS") or Path.home() / ".cache" / "tdsp-bench") / tool
    wanted = {
        "flaml": ["flaml[automl]", "pandas"],
        "autogluon": ["autogluon.tabular[lightgbm,catboost,xgboost,fastai]"],
    }
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin" / "pip", "install", "-q", *wanted[tool]], check=True)
    print(f"{tool.upper()}_PYTHON={folder / 'bin' / 'python'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["run", "table", "install"])
    parser.add_argument("tool", nargs="?", default="ours", choices=TOOLS)
    parser.add_argument("sets", nargs="*")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", type=int, default=0, help="which random split; 0 is that of the published scores")
    args = parser.parse_args()
    own = os.environ.get(f"{args.tool.upper()}_PYTHON")
    if args.verb == "table":
        table(args.seed, args.split)
    elif args.verb == "install":
        install(args.tool)
    elif own and own != sys.executable:
        env = {name: value for name, value in os.environ.items() if name != f"{args.tool.upper()}_PYTHON"}
        subprocess.run([own, __file__, *sys.argv[1:]], check=True, env=env)
    else:
        run(args.tool, args.sets, args.seed, args.split)


if __name__ == "__main__":
    main()
