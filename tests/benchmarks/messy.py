"""`tdsp init` and `tdsp run` beside ten lines of cleaning by hand and default HistGradientBoosting, on the same rows.

    python -m tests.benchmarks.messy run [TABLE …]     runs are kept in BENCH_FOLDER (BENCH_TRIALS or BENCH_EFFORT)
    python -m tests.benchmarks.messy                   the table, from the runs that are kept

Tables come raw from the folder of sample data beside the clone; guesses of init stand. What SOURCES.md names as a leak
is forbidden to both sides. Training and test rows are those of the run. A difference is tdsp's score less that of the
hand-made model, its 95 % interval from 1,000 paired resamples of the run's units (rows, days, groups).
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
KEPT = Path(os.environ.get("BENCH_FOLDER") or ROOT / "outputs" / "bench_messy")
EFFORT = os.environ.get("BENCH_EFFORT", "")  # quick, normal or thorough, in place of a number of trials
TRIALS = int(os.environ.get("BENCH_TRIALS") or 8)  # not seconds: the same on a busy machine
FAN = "Do you consider yourself to be a fan of the Star Trek franchise?"


def telco(t: pd.DataFrame) -> pd.DataFrame:
    return t.assign(TotalCharges=pd.to_numeric(t["TotalCharges"].str.strip())).drop(columns="customerID")


def titanic(t: pd.DataFrame) -> pd.DataFrame:
    title = t["Name"].str.extract(r", ([^.]+)\.")[0]
    deck, party = t["Cabin"].str[0], t.groupby("Ticket")["Ticket"].transform("size")
    return t.assign(title=title, deck=deck, party=party).drop(columns=["PassengerId", "Name", "Ticket", "Cabin"])


def bike(t: pd.DataFrame) -> pd.DataFrame:
    day = pd.to_datetime(t["dteday"], format="%m/%d/%Y")
    return t.assign(day=day.dt.day, since=(day - day.min()).dt.days).drop(columns=["instant", "dteday"])


def airbnb(t: pd.DataFrame) -> pd.DataFrame:
    money = ["price", "cleaning_fee", "security_deposit", "host_response_rate", "host_acceptance_rate"]
    t = t.assign(**{name: pd.to_numeric(t[name].str.replace(r"[$,%]", "", regex=True)) for name in money})
    return t.assign(zipcode=pd.to_numeric(t["zipcode"].str[:5], errors="coerce"))


def countries(t: pd.DataFrame) -> pd.DataFrame:
    t = t.dropna(axis="columns", how="all")
    t = t.assign(Region=t["Region"].str.strip()).drop(columns="Country")
    return t.apply(lambda c: c if c.name == "Region" else pd.to_numeric(c.str.replace(",", "."), errors="coerce"))


def star_wars(t: pd.DataFrame) -> pd.DataFrame:
    t = t.iloc[1:].reset_index(drop=True).drop(columns="RespondentID")
    return t.apply(lambda c: c if pd.to_numeric(c.dropna(), errors="coerce").isna().any() else pd.to_numeric(c))


def ames(t: pd.DataFrame) -> pd.DataFrame:
    return t.drop(columns="Id").assign(MSSubClass=t["MSSubClass"].astype(str))


@dataclass(frozen=True)
class Case:
    """A table, its target, how pandas reads it, how a person cleans it, and what is forbidden to both sides."""

    file: str
    target: str
    clean: Callable[[pd.DataFrame], pd.DataFrame] = lambda t: t
    leaks: tuple[str, ...] = ()
    read: tuple[tuple[str, object], ...] = ()


DROPOFF = tuple(f"dropoff_{part}" for part in ("weekday", "month", "monthday", "hour", "minute", "second"))
CASES = {
    "penguins": Case("penguins/penguins.csv", "species"),
    "titanic": Case("titanic/train.csv", "Survived", titanic),
    "country_facts": Case("country_facts/countries of the world.csv", "GDP ($ per capita)", countries,
                          read=(("sep", ";"), ("dtype", str))),
    "star_wars_survey": Case("star_wars_survey/StarWars.csv", FAN, star_wars, read=(("encoding", "cp1252"),)),
    "ames_houses": Case("ames_houses/train.csv", "SalePrice", ames,
                        read=(("keep_default_na", False), ("na_values", ["NA", ""]))),
    "airbnb_dc": Case("airbnb_dc/dc_airbnb.csv", "price", airbnb, read=(("dtype", {"zipcode": str}),)),
    "telco_churn": Case("telco_churn/Telco-Customer-Churn.csv", "Churn", telco),
    "taxi_fare": Case("taxi_fare/taxi-data.csv.gz", "cost", lambda t: t.drop(columns=t.columns[0]), DROPOFF),
    "bike_sharing": Case("bike_sharing/hour.csv.gz", "cnt", bike, ("casual", "registered")),
    "california_housing": Case("california_housing/housing.csv.gz", "median_house_value"),
    "adult_income": Case("adult_income/uci_income_train.csv.gz", "income", lambda t: t.replace("?", np.nan)),
    "bank_marketing": Case("bank_marketing/bank-additional-full.csv.gz", "y", leaks=("duration",),
                           read=(("sep", ";"),)),
}  # fmt: skip
MAX_LEVELS = 200  # more levels of text than HistGradientBoosting takes are left out by hand


def run(name: str) -> None:
    """Draft and run in a folder of its own; keep the test rows' predictions and the record."""
    case, folder = CASES[name], KEPT / name
    subprocess.run(["rm", "-rf", str(folder)], check=True)
    folder.mkdir(parents=True)
    (folder / Path(case.file).name).symlink_to(DATA / case.file)
    tdsp = [sys.executable, "-m", "tdsp"]
    began = time.monotonic()
    arguments = ["init", Path(case.file).name, "--target", case.target, "--name", name]
    drafted = subprocess.run([*tdsp, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    (folder / "init.txt").write_text(drafted.stdout)
    settings = [*(["--effort", EFFORT] if EFFORT else ["--set", f"search_trials={TRIALS}"]), "--no-track"]
    if case.leaks:
        settings += ["--set", f"forbidden={json.dumps(case.leaks)}"]
    done = subprocess.run([*tdsp, "run", f"parameters/{name}.yaml", *settings], cwd=folder, capture_output=True,
                          text=True, check=False)  # fmt: skip
    print(f"{name}: exit {done.returncode}, {time.monotonic() - began:.0f} s", flush=True)
    print(done.stdout.strip() or done.stderr.strip(), flush=True)


def by_hand(case: Case, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Target and predictions of the test rows by default HistGradientBoosting, and its classes."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    table = case.clean(pd.read_csv(DATA / case.file, **dict(case.read)))
    X, y = table.drop(columns=[case.target, *case.leaks]), table[case.target]
    texts = [name for name in X if not pd.api.types.is_numeric_dtype(X[name])]
    X = X.drop(columns=[name for name in texts if X[name].nunique() > MAX_LEVELS])
    X = X.astype({name: "category" for name in texts if name in X})
    is_class = not pd.api.types.is_numeric_dtype(y) or y.nunique() < 3
    kind = HistGradientBoostingClassifier if is_class else HistGradientBoostingRegressor
    model = kind(random_state=0).fit(X.iloc[train], y.iloc[train])
    y_test = y.iloc[test].to_numpy()
    if not is_class:
        return y_test, model.predict(X.iloc[test]), []
    return y_test.astype(str), model.predict_proba(X.iloc[test]), [str(label) for label in model.classes_]


def score(y: np.ndarray, y_pred: np.ndarray, classes: list[str], w: np.ndarray) -> float:
    """Return R², ROC-AUC, or minus the log loss, of weighted rows."""
    from sklearn.metrics import log_loss, r2_score, roc_auc_score

    if not classes:
        return r2_score(y, y_pred, sample_weight=w)
    if len(classes) == 2:
        return roc_auc_score(y == classes[1], y_pred[:, 1], sample_weight=w)
    return -log_loss(y, y_pred / y_pred.sum(axis=1, keepdims=True), labels=classes, sample_weight=w)


def compare(name: str) -> dict[str, object] | None:
    """Both scores and the paired difference with its interval; None where no run is kept."""
    folders = sorted((KEPT / name / "outputs" / "runs").glob("*/data/predictions.parquet"))
    if not folders:
        return None
    kept, record = pd.read_parquet(folders[-1]), json.loads((folders[-1].parents[1] / "run.json").read_text())
    train = pd.read_parquet(folders[-1].parent / "train.parquet", columns=["row_id"])["row_id"].to_numpy()
    y, hand, classes = by_hand(CASES[name], train, kept["row_id"].to_numpy())
    ours = kept["winner"].to_numpy() if "winner" in kept else None
    if not classes:
        assert np.allclose(y, kept["y_true"]), f"{name}: other rows"
    else:
        ours = tdsp_probabilities(kept, classes, record)
    rng, units = np.random.default_rng(0), pd.factorize(kept["unit"])[0]
    draws = [np.ones(len(y))]
    while len(draws) < 1001:
        w = np.bincount(rng.integers(0, units.max() + 1, units.max() + 1), minlength=units.max() + 1)[units]
        if not classes or len(set(y[w > 0])) == len(set(y)):
            draws.append(w)
    found = np.array([(score(y, ours, classes, w), score(y, hand, classes, w)) for w in draws])
    low, high = np.quantile(found[1:, 0] - found[1:, 1], [0.025, 0.975])
    metric = {0: "R²", 2: "ROC-AUC"}.get(len(classes), "−log loss")
    words = "WORSE" if high < 0 else "better" if low > 0 else ""
    return {"table": name, "metric": metric, "split": record["parameters"]["split"]["value"], "n": len(y),
            "tdsp": found[0, 0], "by hand": found[0, 1], "difference": found[0, 0] - found[0, 1], "low": low,
            "high": high, "": words, "verdict": record["verdict"]}  # fmt: skip


def tdsp_probabilities(kept: pd.DataFrame, classes: list[str], record: dict) -> np.ndarray:
    """The run's probabilities in the order of the classes."""
    if len(classes) > 2:
        return kept[[f"winner_{name}" for name in classes]].to_numpy()
    p = kept["winner"].to_numpy()
    is_last = record["facts"]["positive_class"]["value"] == classes[1]
    return np.column_stack([1 - p, p] if is_last else [p, 1 - p])


def main() -> None:
    """Run the tables that are named, or print what the kept runs show."""
    if sys.argv[1:2] == ["run"]:
        for name in sys.argv[2:] or CASES:
            run(name)
        return
    rows = [row for name in CASES if (row := compare(name))]
    if not rows:
        print(f"No runs in {KEPT}. Make them: python -m tests.benchmarks.messy run")
        return
    print(pd.DataFrame(rows).round(4).to_string(index=False))


if __name__ == "__main__":
    main()
