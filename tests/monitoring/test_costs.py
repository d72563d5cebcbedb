"""Whether training pays: the forecast of what a new model saves against what it costs."""

import math

import pytest

from tdsp.core.errors import ParameterError
from tdsp.monitoring.costs import retrain_pays

STEADY, FALLEN = [0.01, -0.01, 0.0, 0.01, -0.01], [0.01, -0.01, 0.0, 0.10, 0.11]


def test_training_pays_after_a_break_and_not_before():
    """A lasting excess is worth a training, ups and downs around nothing are not."""
    assert retrain_pays(FALLEN, 3, rows=1000, value_of_loss=1.0, cost=30.0).pays
    assert not retrain_pays(STEADY, 3, rows=1000, value_of_loss=1.0, cost=0.0).pays


def test_a_higher_cost_turns_the_answer():
    """The forecast stays the same, the answer follows the cost."""
    cheap, dear = (retrain_pays(FALLEN, 3, 1000, 1.0, cost) for cost in (10.0, 1000.0))
    assert (cheap.gain, cheap.low, cheap.high) == (dear.gain, dear.low, dear.high)
    assert cheap.pays and not dear.pays


@pytest.mark.parametrize("losses", [[], [math.nan], [0.5]])
def test_without_two_windows_nothing_pays(losses):
    """Fewer than two known windows give no interval, and what has no interval does not pay."""
    assert not retrain_pays(losses, 1, 1000, 1.0, 0.0).pays


def test_windows_without_labels_are_passed_over():
    """A gap among the losses is not taken for a loss of nothing."""
    with_gap = retrain_pays([*FALLEN[:3], math.nan, *FALLEN[3:]], 3, 1000, 1.0, 50.0)
    assert with_gap == retrain_pays(FALLEN, 3, 1000, 1.0, 50.0)


@pytest.mark.parametrize(("name", "value"), [("rows", -1.0), ("value_of_loss", math.nan), ("cost", -0.5)])
def test_an_amount_that_cannot_be_is_refused(name, value):
    """Amounts below 0 and no numbers are named."""
    amounts = {"rows": 1.0, "value_of_loss": 1.0, "cost": 1.0} | {name: value}
    with pytest.raises(ParameterError, match=f"{name} is"):
        retrain_pays([0.1, 0.1], 1, **amounts)
    with pytest.raises(ParameterError, match="horizon is 0"):
        retrain_pays([0.1, 0.1], 0, 1.0, 1.0, 1.0)
