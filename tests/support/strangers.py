"""`tdsp init` and `tdsp run` on tables nobody prepared, with no edit in between: a line for each.

    python tests/strangers.py [NAME …]      tables of ../shared/data; skips those that are not there

Prints exit code, seconds, whether task and positive class were guessed right, and the metric with its interval.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"

# file, target, task, positive class
TABLES = {
    "titanic": ("titanic/train.csv", "Survived", "binary", "1"),
    "telco_churn": ("telco_churn/Telco-Customer-Churn.csv", "Churn", "binary", "Yes"),
    "adult_income": ("adult_income/uci_income_train.csv.gz", "income", "binary", "1"),
    "bank_marketing": ("bank_marketing/bank-additional-full.csv.gz", "y", "binary", "yes"),
    "electricity": ("electricity/elec.csv.gz", "class", "binary", "1"),
    "german_credit": ("german_credit/german.csv", "column_21", "binary", "2"),
    "oil_spill": ("oil_spill/oil-spill.csv", "column_50", "binary", "1"),
    "acs_employment": ("acs_employment/employment_MA_reference.pq", "employed", "binary", "1"),
    "penguins": ("penguins/penguins.csv", "species", "multiclass", ""),
    "letter_recognition": ("letter_recognition/letterdata.csv", "letter", "multiclass", ""),
    "horse_colic": ("horse_colic/horse-colic.csv", "column_23", "multiclass", ""),
    "arrhythmia": ("arrhythmia/arrhythmia.data", "column_280", "multiclass", ""),
    "california_housing": ("california_housing/housing.csv.gz", "median_house_value", "regression", ""),
    "ames_houses": ("ames_houses/train.csv", "SalePrice", "regression", ""),
    "bike_sharing": ("bike_sharing/hour.csv.gz", "cnt", "regression", ""),
    "diamonds": ("diamonds/diamonds.csv.gz", "price", "regression", ""),
    "taxi_fare": ("taxi_fare/taxi-data.csv.gz", "cost", "regression", ""),
    "student_grades": ("student_grades/student-mat.csv", "G3", "regression", ""),
    "country_facts": ("country_facts/countries of the world.csv", "GDP ($ per capita)", "regression", ""),
    "air_quality": ("air_quality/AirQualityUCI.csv", "CO(GT)", "regression", ""),
    "airbnb_dc": ("airbnb_dc/dc_airbnb.csv", "price", "regression", ""),
}


def tdsp(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a stranger's folder."""
    program = str(Path(sys.executable).parent / "tdsp")
    return subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def one_line(name: str) -> str:
    """The outcome for one table."""
    file, target, task, positive = TABLES[name]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:  # a run is still being sent to MLflow
        folder, began = Path(scratch), time.perf_counter()
        (folder / Path(file).name).symlink_to(DATA / file)
        drafted = tdsp(folder, "init", Path(file).name, "--target", target, "--name", name)
        if drafted.returncode:
            return f"{name:20} init {drafted.returncode}: {drafted.stderr.strip().splitlines()[-1]}"
        done = tdsp(folder, "run", f"parameters/{name}.yaml")
        seconds = time.perf_counter() - began
        records = sorted((folder / "outputs" / "runs").glob("*/run.json"))
        if not records:
            return f"{name:20} run {done.returncode}: {done.stderr.strip().splitlines()[-1]}"
        record = json.loads(records[-1].read_text())
    facts, found = record["facts"], record["metrics"].get("test_score")
    if not found:
        return f"{name:20} run {done.returncode}: {done.stderr.strip().splitlines()[-1]}"
    guessed = record["stages"] and facts["task"]["value"]
    right = "right" if guessed == task else f"WRONG ({guessed})"
    class_ = facts.get("positive_class", {}).get("value") or ""
    event = "-" if not positive else "right" if class_ == positive else f"WRONG ({class_})"
    score = f"{found['label'].removesuffix(' on the test part')} {found['value']:.3f}"
    interval = f"{found['low']:.3f} to {found['high']:.3f}" if found["low"] is not None else "no interval"
    opened = [g["name"][:45] for g in record["gates"] if g["answer"] != "go"]
    return (
        f"{name:20} exit {done.returncode}  {seconds:5.0f} s  task {right:12} positive {event:8} {score} ({interval})"
        f"  {record['verdict']}{': ' + '; '.join(opened) if opened else ''}"
    )


if __name__ == "__main__":
    for wanted in sys.argv[1:] or TABLES:
        print(one_line(wanted), flush=True)
