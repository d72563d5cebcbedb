"""The families and what they may be asked."""

import pytest

from tdsp.candidates import require_candidates
from tdsp.core import ParameterError


def test_an_unknown_candidate_is_named_with_the_closest_one():
    """All unknown names at once; the baseline is always among the candidates."""
    with pytest.raises(ParameterError, match=r"'lightgmb' is unknown\. Did you mean 'lightgbm'.*'forest' is unknown"):
        require_candidates(["lightgmb", "forest"])
    assert require_candidates([]) == ["dummy"]
