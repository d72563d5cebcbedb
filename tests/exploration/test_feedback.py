"""Whether predictions chose which rows have labels."""

import numpy as np
import pandas as pd

from tdsp.exploration.feedback import label_choice

TIMES = pd.Series(pd.date_range("2026-01-01", periods=600, freq="1h"))


def test_labels_by_chance_are_seldom_taken_for_a_choice():
    """Twenty tables whose labels are drawn at random: one may be found."""
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        choice = label_choice(pd.Series(rng.random(600)), rng.random(600) < 0.4, TIMES, random_state=seed)
        found.append(choice is not None and choice.is_dependent)
    assert sum(found) <= 1


def test_predicted_classes_are_groups():
    """Labels for one class only, and the rates by class."""
    rng = np.random.default_rng(1)
    classes = pd.Series(rng.choice(["a", "b", "c"], 600))
    choice = label_choice(classes, (classes == "b").to_numpy() & (rng.random(600) < 0.9), TIMES, random_state=1)
    assert choice is not None and choice.is_one_sided
    assert choice.rates.set_index("predicted")["labeled"].gt(0).to_dict() == {"a": False, "b": True, "c": False}


def test_too_few_rows_tell_nothing():
    """No label at all, every label, and ten labels."""
    numbers = pd.Series(np.linspace(0, 1, 600))
    for labeled in (np.zeros(600, bool), np.ones(600, bool), np.arange(600) < 10):
        assert label_choice(numbers, labeled, TIMES, random_state=1) is None


def test_one_prediction_for_all_is_no_choice():
    """A constant model: one group, and nothing to depend on."""
    labeled = np.random.default_rng(1).random(600) < 0.5
    choice = label_choice(pd.Series(np.full(600, 0.3)), labeled, TIMES, random_state=1)
    assert choice is not None and not choice.is_dependent and len(choice.rates) == 1
