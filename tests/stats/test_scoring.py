"""Scores, comparisons and gates for predictions that a notebook holds."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, r2_score, roc_auc_score

from tdsp.core.errors import ParameterError
from tdsp.core.results import GO, NO_GO, UNSURE
from tdsp.stats.metrics import METRICS
from tdsp.stats.resampling import Estimate, bootstrap, make_units, paired_difference
from tdsp.stats.scoring import compare, gate, score

RNG = np.random.default_rng(0)
Y = RNG.integers(0, 2, 300)
P = np.clip(0.3 * Y + RNG.uniform(0, 0.7, 300), 0, 1)
DAYS = pd.date_range("2013-01-01", periods=300, freq="8h")


def test_a_score_is_that_of_scikit_learn() -> None:
    """Binary, several classes, numbers."""
    assert score(Y, P).value == pytest.approx(roc_auc_score(Y, P))
    probabilities = RNG.dirichlet(np.ones(3), 300)
    labels = RNG.choice(["a", "b", "c"], 300)
    assert score(labels, probabilities).value == pytest.approx(log_loss(labels, probabilities))
    assert score(P, Y + 0.5).value == pytest.approx(r2_score(P, Y + 0.5))


@pytest.mark.parametrize(
    ("options", "units"),
    [
        ({}, make_units(300)),
        ({"groups": np.arange(300) // 5}, make_units(300, kind="group", by=np.arange(300) // 5)),
        ({"time": DAYS}, make_units(300, kind="time", by=DAYS)),
    ],
)
def test_an_interval_is_that_of_the_runs(options: dict, units: object) -> None:
    """Rows, whole groups and days are drawn as in a run."""
    found = score(Y, P, n_resamples=200, **options)
    assert found.estimate == bootstrap(METRICS["roc_auc"], Y, P, units=units, n_resamples=200)
    assert found.low < found.value < found.high


def test_a_score_depends_on_the_positive_class() -> None:
    """The probability of the other class gives one minus the area."""
    labels = np.where(Y == 1, "spam", "ham")
    assert score(labels, P, positive="ham").value == pytest.approx(1 - score(labels, P, positive="spam").value)


@pytest.mark.parametrize(
    ("y", "p", "options", "words"),
    [
        (Y, P, {"groups": np.arange(300) % 4}, "Small sample: 4 groups"),
        ([0, 1, 0, 1, 0, 1], P[:6], {}, "Small sample: 6 rows"),
        (np.arange(300) < 5, P, {}, "class True has 5 rows"),
        (Y, (P > 0.5).astype(int), {}, "predicted classes"),
    ],
)
def test_what_limits_a_score_is_remarked(y: object, p: object, options: dict, words: str) -> None:
    """Few units, a rare class, and predictions that are no probabilities."""
    found = score(y, p, n_resamples=50, **options)
    assert any(words in remark for remark in found.remarks)
    assert words in found._repr_html_()


def test_a_comparison_is_paired_on_the_same_rows() -> None:
    """The difference is that of the runs, and positive for the better one, also where lower is better."""
    noisy = np.clip(P + RNG.normal(0, 0.3, 300), 0, 1)
    for name in ("roc_auc", "brier"):
        found = compare(Y, P, noisy, name, names=("plain", "noisy"), n_resamples=200)
        assert found.difference == paired_difference(METRICS[name], Y, P, noisy, n_resamples=200)
        assert found.better == "plain" and compare(Y, noisy, P, name, n_resamples=200).better == "b"
        assert (found.a.value, found.b.value) == (score(Y, P, name).value, score(Y, noisy, name).value)


def test_models_that_do_not_differ_are_called_so() -> None:
    """The same predictions twice: no better one."""
    found = compare(Y, P, P, n_resamples=50)
    assert (found.better, found.difference.value) == ("", 0.0)
    assert "do not differ beyond noise" in repr(found)


def test_a_gate_is_go_no_go_or_undecided() -> None:
    """The whole interval, none of it, or a part of it satisfies the limit."""
    found = score(Y, P)
    limits = (found.low - 0.01, found.value, found.high + 0.01)
    assert [gate(found, at_least=limit).answer for limit in limits] == [GO, UNSURE, NO_GO]
    assert gate(score(Y, P, "brier"), at_most=0.9).answer == GO
    assert gate(compare(Y, P, 1 - P), at_least=0.0).answer == GO
    assert gate(Estimate(0.8, 0.7, 0.9, 100, "rows"), at_least=0.75).answer == UNSURE


def test_a_small_sample_passes_no_gate() -> None:
    """Fewer than ten groups decide nothing."""
    assert gate(score(Y, P, groups=np.arange(300) % 4), at_least=0.1).answer == UNSURE


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({}, "one limit"),
        ({"at_least": "0.7"}, "a number"),
        ({"at_least": float("nan")}, "a number"),
        ({"at_least": 0.5, "at_most": 0.9}, "one limit"),
        ({"at_most": 0.5}, "the limit is at_least"),
    ],
)
def test_a_gate_needs_one_limit_on_the_better_side(limits: dict, words: str) -> None:
    """No limit, two limits, or a ceiling for a metric where higher is better."""
    with pytest.raises(ParameterError, match=words):
        gate(score(Y, P, n_resamples=20), **limits)
    with pytest.raises(ParameterError, match="not float"):
        gate(0.8, at_least=0.7)


def test_results_show_themselves_in_one_line_and_as_html() -> None:
    """A short repr for a prompt, a card for JupyterLab."""
    found, both = score(Y, P), compare(Y, P, 1 - P, names=("<a>", "b"))
    for result in (found, both, gate(found, at_least=0.5)):
        assert "\n" not in repr(result) and len(repr(result)) < 200
        assert result._repr_html_().startswith("<div")
    assert "&lt;a&gt;" in both._repr_html_() and "<a>" not in both._repr_html_()


def test_options_that_mean_nothing_are_refused() -> None:
    """A level in percent, one name for two models, a function for a metric."""
    with pytest.raises(ParameterError, match="level"):
        score(Y, P, level=95)
    with pytest.raises(ParameterError, match="two names"):
        compare(Y, P, P, names="ab")
    with pytest.raises(ParameterError, match="its name as text"):
        score(Y, P, len)
