"""The bet on daily losses: hardly ever wrong on a stable model, quick on one that fell."""

import numpy as np
import pandas as pd
import pytest

from tdsp.monitoring.performance import ALARM, bet_wealth, in_bets, loss_bound, row_loss, two_of_three, unit_losses


def test_losses_lie_between_0_and_1():
    """Half the squared distance to the true class; a number's squared error in scales, clipped."""
    assert row_loss("binary", np.array([1, 0]), np.array([0.25, 0.25])) == pytest.approx([0.5625, 0.0625])
    many = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    assert row_loss("multiclass", np.array([0, 0]), many) == pytest.approx([0.25, 1.0])
    assert row_loss("regression", np.array([3.0, 30.0]), np.array([2.0, 0.0]), 2.0) == pytest.approx([0.25, 1.0])


def test_a_stable_model_hardly_ever_alarms():
    """Over 300 lives of a year whose mean loss is the bound itself, at most 5 per cent and their error."""
    rng = np.random.default_rng(1)
    lives = [bet_wealth(rng.beta(3, 9, 365), 0.25).max() >= ALARM for _ in range(300)]
    assert np.mean(lives) <= 0.05


def test_a_fallen_model_alarms_within_weeks():
    """A loss that rose by 0.06 from 0.25 is found in a median of less than 40 days."""
    rng = np.random.default_rng(1)
    days = [int(np.argmax(bet_wealth(rng.beta(3, 9, 365) + 0.06, 0.25) >= ALARM)) for _ in range(100)]
    assert 0 < np.median(days) < 40


def test_the_wealth_is_the_mean_over_starts_and_stakes():
    """The recursion equals the sum that defines it."""
    losses, bound = np.array([0.4, 0.1, 0.6]), 0.25
    from tdsp.monitoring.performance import STAKES

    parts = [
        1 / (s * (s + 1)) * np.mean([np.prod(1 + k * (losses[s - 1 :] / bound - 1)) for k in STAKES]) for s in (1, 2, 3)
    ]
    assert bet_wealth(losses, bound)[-1] == pytest.approx(sum(parts) + 1 / 4)


def test_the_bound_is_above_the_mean_and_needs_ten_units():
    """Fewer units give no bound; neighbors that are alike are bet on together."""
    rng = np.random.default_rng(1)
    lasting = pd.Series(rng.beta(3, 9, 40).repeat(8))
    bound = loss_bound(lasting, scale=1.0, unit="day", random_state=1)
    assert bound["mean"] < bound["bound"] < 0.4 and bound["block"] > 1
    assert loss_bound(lasting.iloc[:9], scale=1.0, unit="day", random_state=1)["bound"] == -1


def test_units_are_days_or_rows_in_order():
    """A day's loss is the mean of its rows; a rest of rows waits for more."""
    times = pd.Series(pd.to_datetime(["2026-01-02", "2026-01-01", "2026-01-02"]))
    assert unit_losses(np.array([0.1, 0.5, 0.3]), times).to_dict() == pytest.approx(
        {"2026-01-01": 0.5, "2026-01-02": 0.2}
    )
    assert unit_losses(np.arange(5) / 10, None, "2").tolist() == pytest.approx([0.05, 0.25])
    assert in_bets(pd.Series([0.0, 1.0, 0.5]), 2).tolist() == [0.5]
    assert two_of_three([True, True, False, False]) == [False, True, True, False]
