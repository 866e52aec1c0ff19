"""One sample set for all tests of this folder: it takes more than a second to make."""

import pytest

from accord.corpora.sample_set import SampleSet, generate


@pytest.fixture(scope="session")
def made() -> SampleSet:
    return generate(seed=0)
