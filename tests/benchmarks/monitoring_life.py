"""The alarms of a stable model's life, and how soon a fallen one is found: `tests.benchmarks.monitoring life`.

A life is a test set that sets the bound and a year that follows, both made of blocks of seven real days of one stream
(losses out of fold, so nothing changes but which days come), or of independent rows of it. A fallen model has the same
days with a loss that is higher by so many points (hundredths).
"""

import numpy as np
import pandas as pd
from scipy import stats as distributions

from tdsp.monitoring.performance import ALARM, LossBound, bet_wealth, in_bets, loss_bound, loss_scale, row_loss
from tdsp.monitoring.states import alarm_rule
from tdsp.stats.resampling import share_interval
from tests.support.streams import Stream

LIVES, YEAR, TEST, BLOCK, WEEK = 400, 365, 74, 7, 7
ROWS_A_DAY = 500
DROPS = (0, 1, 2, 4, 6)  # hundredths of the loss
SEED = 2013


def daily_losses(stream: Stream, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The losses of the reference's rows, and their means by day; 48 half hours where there is no date."""
    y = stream.y[: stream.reference]
    rows = row_loss(stream.task, y, predicted, loss_scale(stream.task, y, predicted))
    if stream.time is None:
        return rows, rows[: len(rows) // 48 * 48].reshape(-1, 48).mean(axis=1)
    return rows, pd.Series(rows).groupby(stream.time.iloc[: stream.reference].dt.date.to_numpy()).mean().to_numpy()


def days_in_blocks(days: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """So many days in blocks of neighbors."""
    starts = rng.integers(0, len(days) - BLOCK + 1, -(-count // BLOCK))
    return days[(starts[:, None] + np.arange(BLOCK)).ravel()[:count]]


def days_of_rows(rows: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """The same of independent rows."""
    return rng.choice(rows, (count, ROWS_A_DAY)).mean(axis=1)


def first_alarm(days: np.ndarray, bound: LossBound) -> int:
    """The day of the first alarm, from 1 on; 0: never."""
    wealth = bet_wealth(in_bets(pd.Series(days), bound["block"]).to_numpy(), bound["bound"])
    return (int(np.argmax(wealth >= ALARM)) + 1) * bound["block"] if wealth.max() >= ALARM else 0


def first_two_of_three(days: np.ndarray, bound: float) -> int:
    """The day on which two of three weeks had their whole 95 per cent interval above the bound; 0: never."""
    weeks = days[: len(days) // WEEK * WEEK].reshape(-1, WEEK)
    reach = distributions.t.ppf(0.975, WEEK - 1) * weeks.std(axis=1, ddof=1) / np.sqrt(WEEK)
    out = np.convolve(weeks.mean(axis=1) - reach > bound, [1, 1, 1])[: len(weeks)]
    return (int(np.argmax(out >= 2)) + 1) * WEEK if (out >= 2).any() else 0


def _text(days: list[int]) -> str:
    found = [day for day in days if day]
    return f"{len(found) / len(days):4.0%} after {np.median(found):3.0f}" if found else "  0 %          "


def accuracy(name: str, rows: np.ndarray, days: np.ndarray) -> None:
    """Print the false years of one stream and the delays of the bet, beside those of two weeks of three."""
    for label, draw, pool in (("real days", days_in_blocks, days), ("independent rows", days_of_rows, rows)):
        rng, bets, weeks = np.random.default_rng(SEED), {d: [] for d in DROPS}, {d: [] for d in DROPS}  # type: ignore[var-annotated]
        at_bound = 0
        for i in range(LIVES):
            bound = loss_bound(pd.Series(draw(pool, TEST, rng)), scale=1.0, unit="day", random_state=i)
            year = draw(pool, YEAR, rng)
            for drop in DROPS:
                fallen = np.minimum(year + drop / 100, 1.0)
                bets[drop].append(first_alarm(fallen, bound))
                weeks[drop].append(first_two_of_three(fallen, bound["bound"]))
            moved = np.clip(year + bound["bound"] - pool.mean(), 0, 1)  # as bad as the bound allows
            at_bound += first_alarm(moved, bound) > 0
        false = [sum(day > 0 for day in one[0]) for one in (bets, weeks)]
        low, high = share_interval(false[0], LIVES)
        print(
            f"{name:12} {label:17} false years {false[0] / LIVES:5.1%} ({low:.1%}-{high:.1%}), at the bound itself "
            f"{at_bound / LIVES:.1%}; two weeks of three {false[1] / LIVES:.0%}"
        )
        for drop in DROPS[1:]:
            print(f"{'':13}+{drop} points: {_text(bets[drop])} days; two weeks of three {_text(weeks[drop])} days")


def alarm_years(beyond: list[bool], grave: list[bool], own: list[list[bool]], size: str) -> str:
    """The share of years, in blocks of four held-out windows, in which the rule for drift gives an alarm."""
    windows = 365 if size == "day" else 52
    rules = [alarm_rule(one, SEED, size) for one in own]
    rng, years, crying = np.random.default_rng(SEED), 1000, 0
    if len(beyond) < 8:
        return "too few windows for years"
    for i in range(years):
        starts = rng.integers(0, len(beyond) - 3, -(-windows // 4))
        at = (starts[:, None] + np.arange(4)).ravel()[:windows]
        out, rule = np.array(beyond)[at], rules[i % len(rules)]
        lasting = rule is not None and (np.convolve(out, np.ones(rule[1]))[: len(out)] >= rule[0]).any()
        alone = np.array(grave)[at]
        crying += bool(lasting or (alone[1:] & alone[:-1] if size == "day" else alone).any())
    return f"{crying / years:.1%} of years of {windows} windows have an alarm (rules {sorted(set(rules), key=str)})"
