"""A column is compared with the target in both directions and every form, a pair by what both make together."""

import numpy as np
import pandas as pd
import pytest

from tdsp.exploration.leakage import find_leaks, is_too_good
from tdsp.exploration.near_copies import compare_order, is_step, kappa, predict_by_level
from tdsp.exploration.pair_copies import MAX_PAIRS, choose_pairs, compare_pairs

N = 800
RNG = np.random.default_rng(11)
X = pd.DataFrame(RNG.normal(size=(N, 5)), columns=list("abcde")).assign(city=RNG.choice(["Ulm", "Bonn", "Kiel"], N))
SIGNAL = (X["a"] + X["b"] + RNG.normal(0, 0.6, N)).to_numpy()
LATE, COST = (SIGNAL > 0.6).astype(int), np.exp(SIGNAL)
DEPOSIT = np.random.default_rng(12).normal(0, 1, N)
KEY = RNG.integers(0, 2, N)
START = pd.Series(pd.Timestamp("2024-01-01") + pd.to_timedelta(RNG.integers(0, 400, N), "D"))


def noisy(values):
    """A twentieth of the rows exchange their values."""
    found, rows = pd.Series(values).copy(), np.flatnonzero(np.random.default_rng(5).random(N) < 0.05)
    found.iloc[rows] = found.iloc[np.random.default_rng(6).permutation(rows)].to_numpy()
    return found


def found(task, y, **columns):
    """Code and columns of each suspicion."""
    leaks = find_leaks(X.assign(**columns), y, task=task, random_state=0, names=["on time", "late", "arrival"])
    return {(leak.code, frozenset(filter(None, (leak.column, leak.other)))) for leak in leaks}


@pytest.mark.parametrize(
    ("code", "column"),
    [
        ("target-copy", noisy(np.where(LATE == 1, "closed", "open"))),
        ("target-copy", [f"c{y}-{v}" for y, v in zip(LATE, RNG.integers(0, 6, N), strict=True)]),
        ("filled-after", np.where((LATE == 1) & (RNG.random(N) < 0.6), RNG.normal(9, 2, N), np.nan)),
        ("filled-after", np.where((LATE == 1) & (RNG.random(N) < 0.6), RNG.gamma(3, 9, N), 0)),
    ],
)
def test_a_class_in_another_form_is_suspected(code, column):
    """Mapped with wrong rows, split into more levels, or filled for some of the events only."""
    assert found("binary", LATE, leak=column) == {(code, frozenset({"leak"}))}


@pytest.mark.parametrize(
    ("code", "column"),
    [
        ("target-copy", noisy(0.9 * COST + 3)),
        ("target-copy", -np.log(COST)),
        ("target-copy", COST + RNG.normal(0, 0.02, N)),
        ("target-threshold", noisy(np.where(np.quantile(COST, 0.7) < COST, "high", "low"))),
        ("filled-after", np.where(np.quantile(COST, 0.8) < COST, 1.0, np.nan)),
    ],
)
def test_a_number_in_another_form_is_suspected(code, column):
    """In other units, with a tenth of noise, cut at a threshold, or filled above one."""
    leaks = found("regression", COST, leak=column)
    assert leaks == {(code, frozenset({"leak"}))}


@pytest.mark.parametrize(
    ("one", "other"),
    [(COST - 7 * KEY, 7 * KEY), (COST + DEPOSIT, DEPOSIT), (COST / (KEY + 2), KEY + 2), (COST * KEY + COST, KEY + 1)],
)  # fmt: skip
def test_two_numbers_that_make_the_target_are_suspected_together(one, other):
    """Sum, difference, product and ratio."""
    assert found("regression", COST, one=one, other=other) == {("target-pair", frozenset({"one", "other"}))}


def test_two_columns_that_give_a_class_only_together_are_suspected_together():
    """Exclusive or; days between two dates."""
    together = {("target-pair", frozenset({"one", "other"}))}
    assert found("binary", LATE, one=LATE ^ KEY, other=KEY) == together
    end = START + pd.to_timedelta(30 * LATE + RNG.integers(0, 30, N), "D")
    assert found("binary", LATE, one=START, other=end) == together


def test_a_text_that_holds_the_label_is_suspected():
    """The class is written in the notes of most of its rows, and in no other."""
    words = ["the", "customer", "called", "and", "wrote", "about", "a", "bill", "or", "contract", "again", "today"]
    notes = [" ".join([*RNG.choice(words, 9), "late" if y and RNG.random() < 0.8 else "x"]) for y in LATE]
    assert found("binary", LATE, notes=notes) == {("target-in-text", frozenset({"notes"}))}


def test_numbers_of_cases_sorted_by_the_target_are_suspected():
    """They never repeat and say the class by their order."""
    numbers = np.empty(N, dtype=int)
    numbers[np.argsort(LATE, kind="stable")] = np.sort(RNG.choice(9 * N, N, replace=False)) + 1000
    assert {code for code, _ in found("binary", LATE, case=numbers)} == {"row-number-tells"}


def test_the_search_is_repeated_on_what_is_left():
    """A copy, a pair and a refund in one table are all named."""
    refund = np.where((LATE == 1) & (RNG.random(N) < 0.6), 5.0, np.nan)
    leaks = found("binary", LATE, status=noisy(LATE + 1), refund=refund, one=LATE ^ KEY, other=KEY)
    assert frozenset().union(*(names for _, names in leaks)) == {"status", "refund", "one", "other"}


def test_where_many_columns_carry_the_target_none_is_suspected_and_it_is_remarked():
    """Clusters far apart in every column."""
    kind = RNG.integers(0, 3, N)
    easy = pd.DataFrame(kind[:, None] * 4 + RNG.normal(0, 0.7, (N, 5)), columns=list("abcde"))
    assert find_leaks(easy, kind, task="multiclass", random_state=0) == []
    (remark,) = is_too_good(easy, kind, task="multiclass", random_state=0)
    assert remark.code == "too-good" and "no one column" in remark.evidence
    assert is_too_good(X, LATE, task="binary", random_state=0) == []


def test_evidence_changes_with_what_was_seen_and_not_with_the_drawing():
    """Whole per cent count: an answer holds for a little more data, not for another column."""
    (leak,) = find_leaks(X.assign(leak=noisy(LATE)), LATE, task="binary", random_state=0)
    (again,) = find_leaks(X.assign(leak=noisy(LATE)), LATE, task="binary", random_state=0)
    (exact,) = find_leaks(X.assign(leak=LATE), LATE, task="binary", random_state=0)
    assert leak.evidence == again.evidence != exact.evidence and len(leak.evidence) == 12
    assert leak.key == "leak:leak" and "equals the target in 9" in leak.why


def test_agreement_by_chance_counts_nothing():
    """Always saying no is right in 95 % of the rows and has a kappa of 0; a value that never repeats says nothing."""
    rare = (np.arange(400) % 20 == 0).astype(int)
    assert kappa(np.zeros(400, dtype=int), rare) == 0 and kappa(rare, rare) == 1
    assert kappa(predict_by_level(np.arange(400), rare), rare) == 0


def test_a_tenth_of_wrong_rows_leaves_a_copy_a_copy():
    """The median distance of ranks is not moved by them."""
    ranks = pd.Series(COST).rank(pct=True).to_numpy()
    wrong = np.where(np.arange(N) % 10 == 0, 0.0, ranks)
    assert compare_order(wrong, ranks, numeric=True).forward > 0.95
    assert compare_order(X["c"].to_numpy(), ranks, numeric=True).forward < 0.2


EASY_KIND = np.random.default_rng(2).integers(0, 2, N)
EASY = pd.DataFrame(EASY_KIND[:, None] * 3 + np.random.default_rng(3).normal(0, 1, (N, 4)), columns=list("abcd"))


def found_among_strong(**columns):
    """Columns that are suspected beside four that know the class well together."""
    leaks = find_leaks(EASY.assign(**columns), EASY_KIND, task="binary", random_state=0)
    return {name for leak in leaks for name in (leak.column, leak.other) if name}


def test_wrong_rows_far_from_where_the_classes_meet_give_a_score_away():
    """The other columns know the class as well, and are wrong where it is hard."""
    score = noisy(EASY_KIND + np.random.default_rng(4).normal(0, 0.1, N))
    assert is_step(score.to_numpy(), EASY_KIND) and found_among_strong(score=score) == {"score"}
    natural = EASY_KIND * 4 + np.random.default_rng(4).normal(0, 1, N)
    assert not is_step(natural, EASY_KIND) and found_among_strong(natural=natural) == set()


def test_two_flags_with_wrong_rows_are_found_beside_strong_columns():
    """The class is where both are set."""
    a, b = np.array([(0, 0), (0, 1), (1, 0)])[np.random.default_rng(7).integers(0, 3, N)].T
    flags = {"one": noisy(np.where(EASY_KIND == 1, 1, a)), "other": np.where(EASY_KIND == 1, 1, b)}
    assert found_among_strong(**flags) == {"one", "other"}


def test_days_between_two_dates_with_wrong_rows_give_the_class():
    """A twentieth of the starts belongs to other rows."""
    end = START + pd.to_timedelta(30 * LATE + RNG.integers(0, 30, N), "D")
    together = {("target-pair", frozenset({"one", "other"}))}
    assert found("binary", LATE, one=noisy(START), other=end) == together


def test_a_pair_is_chosen_among_many_columns_by_what_both_explain_together():
    """Neither column matters alone: last in the order of importance, first by the first look."""
    rng = np.random.default_rng(8)
    names = [f"x{i:02}" for i in range(60)]
    numbers = {name: rng.gamma(2, 3, N) for name in names} | {"size": (size := rng.integers(1, 40, N) * 1.0)}
    numbers["total"] = np.exp(rng.normal(0, 1, N)) * size
    ranks = pd.Series(numbers["total"] / size).rank(pct=True).to_numpy()
    chosen = choose_pairs(numbers, {}, ranks, numeric=True, order=[*names, "total", "size"])
    assert chosen[0] == ("total", "size") and len(chosen) == MAX_PAIRS


def test_rows_that_repeat_say_nothing_of_each_other():
    """Rows drawn with replacement: a row is not known by its own copy."""
    rng = np.random.default_rng(9)
    table = pd.DataFrame(rng.normal(size=(150, 3)), columns=list("abc")).assign(y=rng.integers(0, 2, 150))
    table = table.assign(street=[f"s{i // 2}" for i in range(150)]).sample(300, replace=True, random_state=0)
    assert find_leaks(table.drop(columns="y"), table["y"].to_numpy(), task="binary", random_state=0) == []


def test_no_more_pairs_are_compared_than_the_limit():
    """Those that explain most, then those of the columns that come first."""
    names = [f"x{i}" for i in range(40)]
    levels = {name: RNG.integers(0, 2, 60) for name in names}
    assert len(compare_pairs({}, levels, RNG.integers(0, 2, 60), numeric=False, order=names)) == MAX_PAIRS
