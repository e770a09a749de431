import pytest

from contextlab import runs


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    config = runs.streets(budget="smoke")
    weights = folder / "weights.safetensors"
    return runs.train(config, folder / "metrics.json", weights=weights, state=folder / "state")
