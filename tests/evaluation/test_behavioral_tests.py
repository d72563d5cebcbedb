"""Behavioral tests of a fitted model."""

import numpy as np
import pandas as pd
import pytest

from tdsp.core.errors import ParameterError
from tdsp.evaluation.behavioral_tests import (
    broken_invariances,
    change_gate,
    invariance_gate,
    monotone_gate,
    read_changes,
    require_monotone,
    stability_gate,
)
from tdsp.stats.metrics import METRICS
from tdsp.stats.resampling import make_units

KINDS = {"wind": True, "wind gust": True, "carrier": False}


def trips(n=200):
    """Wind and carrier."""
    rng = np.random.default_rng(1)
    return pd.DataFrame({"wind": rng.normal(size=n), "carrier": rng.choice(["UA", "AA"], n)})


def by_wind(table):
    """A model that answers to the wind alone."""
    return table["wind"].to_numpy()


@pytest.mark.parametrize(
    ("predict", "broken"),
    [
        (by_wind, []),
        (lambda t: by_wind(t) + (t.columns[0] == "carrier"), ["the order of the columns"]),
        (lambda t: by_wind(t) - by_wind(t)[0], ["the order of the rows"]),
        (lambda t: by_wind(t) - by_wind(t).mean(), ["the rows that come with a row"]),
        (lambda t: t["carrier"].map({"UA": 1.0, "AA": 2.0}).to_numpy(), ["an unseen level of carrier"]),
    ],
)  # fmt: skip
def test_each_broken_invariance_is_named(predict, broken):
    """A model that looks at places, at its neighbours, or cannot answer to a new level."""
    found = broken_invariances(predict, trips(), ["carrier"], random_state=1)
    assert set(broken) <= set(found) and bool(found) == bool(broken)
    assert invariance_gate(found).answer == ("no-go" if broken else "go")


def test_luck_of_the_seed_must_be_smaller_than_luck_of_the_rows():
    """Half the interval or a twentieth of the gain is the limit; without a second seed nothing is decided."""
    assert stability_gate([0.998, 0.999, 0.9995], 0.0001, 0.5, METRICS["roc_auc"]).answer == "go"
    assert stability_gate([0.7, 0.705, 0.71], 0.02, 0.2, METRICS["roc_auc"]).answer == "go"
    assert stability_gate([0.7, 0.75, 0.6], 0.02, 0.2, METRICS["roc_auc"]).answer == "no-go"
    assert stability_gate([0.7], 0.02, 0.2, METRICS["roc_auc"]).answer == "insufficient evidence"
    spread = stability_gate([0.3, 0.9, 0.8], 0.02, 0.2, METRICS["r2"])
    assert spread.power_text == "the spread of 3 seeds; no interval"


@pytest.mark.parametrize(("way", "answer"), [("up", "go"), ("down", "no-go")])
def test_a_demand_on_the_direction_holds_for_every_row(way, answer):
    """One row that turns back is enough; the note tells the largest step."""
    gate = monotone_gate(by_wind, trips(), "wind", way)
    assert gate.answer == answer and "largest step back" in gate.note


@pytest.mark.parametrize(
    ("monotone", "message"),
    [
        ({"winds": "up"}, "Did you mean 'wind'"),
        ({"wind": "rising"}, "Use up or down"),
        ({"carrier": "up"}, "no numeric"),
    ],
)
def test_demands_on_what_is_not_there_are_refused(monotone, message):
    """Columns with the closest name, directions with the two that exist."""
    with pytest.raises(ParameterError, match=message):
        require_monotone(monotone, ["wind"])


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("wind + 1 up", "go"),
        ("wind - 1 up", "no-go"),
        ("wind - 1 down", "go"),
        ("carrier to UA same", "go"),
        ("wind * 3 same", "no-go"),
    ],
)
def test_a_change_must_move_the_mean_prediction_its_way(line, answer):
    """Additions, factors and levels; `same` allows a twentieth of the spread."""
    table = trips()
    table["wind"] += 1.0
    change = read_changes([line], KINDS)[0]
    assert change_gate(by_wind, table, change, make_units(len(table)), random_state=1).answer == answer


def test_a_change_whose_effect_drowns_in_noise_is_left_open():
    """Half of the rows go up, half down: insufficient evidence."""
    signs = np.where(np.arange(200) % 2, 1.0, -1.0)
    change = read_changes(["wind + 1 up"], KINDS)[0]
    gate = change_gate(lambda t: by_wind(t) * signs, trips(), change, make_units(200), random_state=1)
    assert gate.answer == "insufficient evidence"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("wind up", "is not like"),
        ("winds + 1 up", "Did you mean 'wind'"),
        ("wind + much up", "'much' is no number"),
        ("carrier + 1 up", "carrier is a text; use `to`"),
    ],
)
def test_lines_that_cannot_be_read_are_refused(line, message):
    """The message names the error and the right form; names may hold blanks."""
    assert read_changes(["wind gust * 1.5 down"], KINDS)[0].column == "wind gust"
    with pytest.raises(ParameterError, match=message):
        read_changes([line], KINDS)
