"""The rule of choice."""

from dataclasses import replace

import numpy as np
import pytest

from tdsp.modeling.fitting import Candidate
from tdsp.modeling.folds import make_folds
from tdsp.modeling.selection import best_of_families, candidates_table, fit_held_out
from tdsp.stats.metrics import METRICS
from tests.support.tables import CLASSES, NAN, mixed_table, target_of


def scored(name, *scores, error=None):
    """A candidate with these fold scores."""
    return Candidate(name, scores, None, 0.1, 0.1, error)


def test_folds_that_cannot_be_scored_are_left_out_of_the_mean():
    """A fold without positives has no ROC-AUC; the others count."""
    found = scored("linear", 0.7, NAN, 0.8)
    assert found.mean == pytest.approx(0.75) and found.standard_error == pytest.approx(0.05)
    assert np.isnan(scored("linear", error="x").mean)


def test_explanations_use_rows_that_were_not_learned():
    """The last fold's rows are not among those fitted; by time they are the most recent."""
    X = mixed_table(200)
    y = target_of(X, "binary")
    cv = make_folds(y, task="binary", kind="time", by=np.arange(200), random_state=1)
    unseen = fit_held_out("linear", X, y, task="binary", cv=cv, classes=CLASSES["binary"], random_state=1)
    assert unseen.rows.min() == 166 and len(unseen.predict(X.iloc[unseen.rows])) == 34


def test_no_better_than_the_baseline_is_out_and_named():
    """A diverging model loses to the prior; a failed one says why; both stand in the table."""
    tried = [
        scored("dummy", 1.2, 1.2),
        scored("hist_gb", 4.0, 3.0),
        scored("linear", 0.9, 0.8),
        scored("mlp", error="x"),
    ]
    notes = candidates_table(tried, METRICS["log_loss"]).set_index("candidate")["note"]
    assert list(notes.index) == ["linear", "dummy", "hist_gb", "mlp"]
    assert "no better than the baseline" in notes["hist_gb"] and notes["mlp"] == "failed (x)"


def test_what_was_not_tried_has_not_failed_and_an_average_names_its_parts():
    """The note says why in its own words; the settings of an average are the shares of its parts."""
    one, two = scored("linear", 0.7, 0.8), scored("lightgbm 6", 0.8, 0.8)
    mixed = replace(scored("ensemble", 0.9, 0.9), members=((one, 0.25), (two, 0.75)))
    tried = [
        scored("dummy", 0.5, 0.5),
        one,
        two,
        mixed,
        replace(scored("mlp", error="not tried: 9 rows are too few for it"), tried=False),
    ]
    table = candidates_table(tried, METRICS["roc_auc"]).set_index("candidate")
    assert table.loc["ensemble", "settings"] == "linear 25%, lightgbm 6 75%"
    assert table.loc["mlp", "note"] == "not tried: 9 rows are too few for it"
    assert [c.name for c in best_of_families([*tried, replace(one, name="linear 2")], METRICS["roc_auc"])] == [
        "ensemble"
    ]
