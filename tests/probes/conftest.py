"""Streets to look at."""

import pytest

from contextlab import data


@pytest.fixture(scope="session")
def streets():
    return data.Streets("val", size=16)
