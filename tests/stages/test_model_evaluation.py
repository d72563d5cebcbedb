"""Sentences of the third stage on decisions and ranges."""

import numpy as np

from tdsp.core.results import Estimate
from tdsp.evaluation.decisions import settled_decision
from tdsp.stages.model_evaluation import decision_caution, range_gate


def test_ranges_that_are_proven_to_hold_too_few_are_no_go():
    """Half of the truths in ranges meant for nine tenths is no go; a little below the level is within the margin."""
    assert range_gate(Estimate(0.503, 0.47, 0.54, 140, "days"), 0.9).answer == "no-go"
    assert range_gate(Estimate(0.818, 0.758, 0.86, 140, "days"), 0.9).answer == "go"
    assert range_gate(Estimate(0.9, 0.87, 0.93, 140, "days"), 0.9).answer == "go"


def test_decisions_that_cost_more_than_always_no_are_named():
    """Rare yeses that are often wrong at a half cost more than none; a useful decision has no caution."""
    y, y_prob = np.array([0, 0, 0, 0, 0, 0, 0, 1]), np.array([0.1, 0.1, 0.6, 0.6, 0.1, 0.1, 0.1, 0.7])
    decision = settled_decision({}, ("no", "yes"), 0.5)
    text = decision_caution(decision, y, y_prob, stated=False)
    assert text.startswith("Over the folds, yes from 0.5 on costs 0.25 a row, always no 0.125") and "`costs`" in text
    assert decision_caution(decision, y, np.where(y == 1, 0.9, 0.1), stated=False) == ""
