"""Real streams with their time, for the measurements of monitoring; a stream without its file is left out."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from tdsp.data.ingest import load_table

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"


@dataclass(frozen=True, slots=True)
class Stream:
    """Rows in order of time."""

    name: str
    frame: pd.DataFrame  # features and the target; the time column, where there is one, is not among them
    target: str
    task: str  # binary or regression
    time: pd.Series | None = None  # of each row
    reference: int = 0  # rows of the reference; the later ones are what comes in

    @property
    def y(self) -> np.ndarray:
        """0 and 1, or the number."""
        return self.frame[self.target].to_numpy(dtype=float)

    @property
    def features(self) -> pd.DataFrame:
        """The columns that a model may use."""
        return self.frame.drop(columns=self.target)


@cache
def flights() -> Stream:
    """NYC flights 2013; the reference is January to August."""
    values = yaml.safe_load((ROOT / "parameters" / "flights.yaml").read_text())
    with tempfile.TemporaryDirectory() as lake:
        sources, sql = values["sources"], ROOT / "parameters" / values["sql"]
        frame = load_table(sources, sql, root=ROOT, lake=Path(lake)).frame
    frame = frame.sort_values("departure", kind="stable").reset_index(drop=True)
    frame["late"] = (frame["late"] == "late").astype(int)
    time = frame.pop("departure")
    return Stream("flights", frame, "late", "binary", time, int((time < "2013-09-01").sum()))


@cache
def electricity() -> Stream:
    """New South Wales electricity, half hours without a date; the reference is the first year."""
    frame = pd.read_csv(DATA / "electricity" / "elec.csv.gz")
    return Stream("electricity", frame, "class", "binary", None, 17_472)


@cache
def bike() -> Stream:
    """Bicycle hire by the hour; the reference is 2011."""
    frame = pd.read_csv(DATA / "bike_sharing" / "hour.csv.gz")
    day = pd.to_datetime(frame["dteday"], format="%m/%d/%Y")
    time = day + pd.to_timedelta(frame["hr"], unit="h")
    frame = frame.drop(columns=["instant", "dteday", "casual", "registered", "yr"])
    return Stream("bike", frame, "cnt", "regression", time, int((day < "2012-01-01").sum()))


@cache
def bank() -> Stream:
    """Calls of a bank in their order; the reference is the first 60 per cent."""
    frame = pd.read_csv(DATA / "bank_marketing" / "bank-additional-full.csv.gz", sep=";").drop(columns="duration")
    frame["y"] = (frame["y"] == "yes").astype(int)
    return Stream("bank", frame, "y", "binary", None, int(0.6 * len(frame)))


@cache
def acs() -> Stream:
    """Employment in Massachusetts, rows without a time; the reference is 2015."""
    folder = DATA / "acs_employment"
    old = pd.read_parquet(folder / "employment_MA_reference.pq")
    new = pd.read_parquet(folder / "employment_MA_analysis.pq")
    new = new.merge(pd.read_parquet(folder / "employment_MA_analysis_target.pq"), on="id")
    frame = pd.concat([old, new], ignore_index=True)
    frame = frame.drop(columns=["id", "year", "prediction", "predicted_probability"])
    return Stream("acs", frame, "employed", "binary", None, len(old))


def streams(*names: str) -> Iterator[Stream]:
    """The named streams, or all, whose files are there."""
    known = {"flights": flights, "electricity": electricity, "bike": bike, "bank": bank, "acs": acs}
    for name in names or known:
        if name == "flights" or DATA.is_dir():
            yield known[name]()
