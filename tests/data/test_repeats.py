"""Rows that repeat others, and columns that name what comes back, are found by their cells."""

import time

import numpy as np
import pandas as pd
import pytest

from tdsp.data.guesses import guess_settings
from tdsp.data.repeats import find_key_column, find_repeats


def mixed_table(n, seed=0):
    """Numbers, counts, words and gaps."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal(50, 9, (n, 4)), columns=[*"abcd"]).assign(
        pay=rng.lognormal(10, 1, n), age=rng.integers(18, 90, n), town=rng.choice([*"uvwxyz"], n),
        job=rng.choice([f"job {i}" for i in range(30)], n), member=rng.integers(0, 2, n).astype(bool),
    )  # fmt: skip
    return table.mask(rng.random(table.shape) < 0.03)


def with_copies(table, change, share=0.2, seed=1):
    """The table with a share of its rows once more, changed; and the position of each copy's original."""
    rng = np.random.default_rng(seed)
    at = rng.permutation(len(table))[: int(share * len(table))]
    return pd.concat([table, change(table.iloc[at].reset_index(drop=True), rng)], ignore_index=True), at


def noisy(rows, rng):
    return rows.assign(**{c: rows[c] + rng.normal(0, 0.01 * rows[c].std(), len(rows)) for c in "abcd"})


def two_changed(rows, rng):
    return rows.assign(job=rng.permutation(rows["job"]), a=rng.permutation(rows["a"]))


def other_writing(rows, rng):
    return rows.assign(town=rows["town"].str.upper() + " ", a=rows["a"] + 1e-9)


@pytest.mark.parametrize("change", [noisy, two_changed, other_writing])
@pytest.mark.parametrize("seed", range(3))
def test_nearly_all_copies_are_found_and_hardly_another_row(change, seed):
    """Small noise, two columns of another row, capitals and blanks: at least 95 of 100 copies, at most 1 other pair."""
    table, at = with_copies(mixed_table(800, seed), change, seed=seed)
    labels = find_repeats(table, random_state=0).labels
    assert (labels[800:] == labels[at]).mean() >= 0.95
    assert len(np.unique(labels[:800])) >= 792


@pytest.mark.parametrize("seed", range(5))
def test_a_table_without_copies_has_no_repeats(seed):
    """No false alarm where rows only come from the same distribution."""
    assert find_repeats(mixed_table(800, seed), random_state=0).sentence == ""


def test_a_dense_table_has_neighbors_and_no_copies():
    """Many rows along a line are alike, and not copies: a little more tolerance finds many more pairs."""
    rng = np.random.default_rng(0)
    place = rng.normal(size=3000)
    table = pd.DataFrame({name: place * k + rng.normal(0, 0.01, 3000) for k, name in enumerate("abcd", 1)})
    assert find_repeats(table, random_state=0).near == 0


def test_equal_rows_of_few_levels_are_chance_and_equal_rows_of_many_are_repeats():
    """Equal rows that shuffled columns make as well are no repeats."""
    rng = np.random.default_rng(0)
    few = pd.DataFrame({name: rng.choice([*"xyz"], 500) for name in "ab"})
    assert find_repeats(few, random_state=0).by_chance
    found = find_repeats(pd.concat([mixed_table(300)] * 2, ignore_index=True), random_state=0)
    assert found.exact == 300 and not found.by_chance


def test_a_common_combination_is_no_case():
    """A hundred people who answered nothing are equal, and may be on both sides of a split."""
    table = mixed_table(500)
    table.loc[:99, :] = np.nan
    found = find_repeats(table, random_state=0)
    assert found.exact == 99 and len(np.unique(found.groups())) == 500


def test_time_grows_with_the_rows_and_not_with_their_square():
    """Eight times the rows take far less than 64 times as long."""
    seconds = []
    for n in (2_000, 16_000):
        table = mixed_table(n)
        start = time.perf_counter()
        find_repeats(table, random_state=0)
        seconds.append(time.perf_counter() - start)
    assert seconds[1] < 24 * seconds[0]


def visits(n=300, cases=100):
    """Cases that come back under a random code, with what is fixed and what is not."""
    rng = np.random.default_rng(0)
    who = rng.permutation(np.arange(n) % cases)
    code = np.array([f"{x:08x}" for x in rng.integers(0, 2**32, cases)])
    fixed = pd.DataFrame({"sex": rng.choice([*"fm"], cases), "born": rng.integers(1930, 2000, cases)})
    return (
        fixed.iloc[who]
        .reset_index(drop=True)
        .assign(ref=code[who], dose=rng.normal(size=n), ward=rng.choice([*"abc"], n), ill=rng.integers(0, 2, n))
    )


def test_a_code_that_comes_back_is_found_whatever_its_name():
    """Sex and year of birth are the same each time; the name says nothing. `init` divides by it and says how not to."""
    found = find_key_column(visits(), "ill")
    assert found is not None and found.name == "ref" and {*found.fixed} == {"sex", "born"}
    guesses = guess_settings(visits(), "ill")
    assert guesses["group_column"].value == "ref" and guesses["split"].value == "group"
    assert "100 of its 100 values come back" in guesses["split"].why and "random if" in guesses["split"].why


def test_the_same_outcome_each_time_is_enough():
    """A case whose other columns change, but never its outcome, would be recalled."""
    table = visits().drop(columns=["sex", "born"])
    assert find_key_column(table, "ill") is None
    table["ill"] = table["ref"].str[0] < "8"
    assert find_key_column(table, "ill").name == "ref"


def test_numbers_and_categories_are_no_keys():
    """Ages, towns and jobs come back in every table."""
    assert find_key_column(mixed_table(2000), "member") is None
