"""The families and what they may be asked."""

import numpy as np
import pandas as pd
import pytest

from tdsp.core.errors import ParameterError
from tdsp.modeling.families import require_candidates
from tdsp.modeling.fitting import fit_final


def test_an_unknown_candidate_is_named_with_the_closest_one():
    """All unknown names at once; the baseline is always among the candidates."""
    with pytest.raises(ParameterError, match=r"'lightgmb' is unknown\. Did you mean 'lightgbm'.*'forest' is unknown"):
        require_candidates(["lightgmb", "forest"])
    assert require_candidates([]) == ["dummy"]


def test_hist_gb_takes_more_levels_than_a_small_table_has_bins():
    """1,000 rows with a text of 120 levels."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"level": rng.integers(0, 120, 1000).astype(str), "x": rng.normal(size=1000)})
    y = (X["x"] + rng.normal(size=1000) > 0).to_numpy().astype(int)
    assert fit_final("hist_gb", X, y, task="binary", random_state=0).predict_proba(X).shape == (1000, 2)
