"""There were as many bad cases as we say."""

import pytest

from tests.bad_input.outcomes import FAMILIES, SEEN


def test_there_were_a_thousand_different_bad_cases():
    counts = {family: len(SEEN.get(family, ())) for family in FAMILIES}
    print(counts)
    if not all(counts.values()):
        pytest.skip(f"only a part of the families ran here: {counts}")
    assert sum(counts.values()) >= 1000, counts
    assert min(counts.values()) >= 50, counts
