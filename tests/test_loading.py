"""A finished run as a network in one line, from wherever one works."""

import numpy as np
import pytest
import torch

import contextlab
from contextlab import data, runs
from contextlab.runs.loading import palette


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    config = runs.streets(control=True, budget="smoke")
    weights = folder / "weights.safetensors"
    return runs.train(config, folder / "metrics.json", weights=weights, state=folder / "state")


def test_a_folder_is_a_network_with_its_classes(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONTEXTLAB_HOME", str(tmp_path))
    network = contextlab.load(trained.weights.parent)
    assert not any(module.training for module in network.modules())
    assert network.class_names == data.Streets.classes
    assert np.array_equal(network.palette, data.Streets.palette)
    image = torch.rand(1, 3, 37, 51)
    with torch.no_grad():
        assert torch.equal(network(image), trained.model()(image))
    assert contextlab.load(str(trained.weights.with_name("metrics.json"))).class_names


def test_a_shipped_run_is_found_by_its_name():
    name = runs.streets("ocr", budget="quick").name
    network = contextlab.load(name)
    assert network.class_names == data.Streets.classes
    with torch.no_grad():
        assert network(torch.rand(1, 3, 32, 64)).shape == (1, 13, 32, 64)


def test_what_is_not_there_and_what_came_without_weights_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="none is called so: give the folder"):
        contextlab.load(tmp_path / "nothing")
    bare = next(line for line in runs.lines(runs.need_shipped()) if line.path.name == "d1.jsonl")
    with pytest.raises(FileNotFoundError, match="is shipped with its figures alone"):
        contextlab.load(bare.name)


def test_colours_of_unknown_classes_all_differ(trained):
    config = runs.streets(budget="smoke")
    config = type(config)(**config.to_dict() | {"data": "photographs"})
    colours = palette(config, 200)
    assert colours.dtype == np.uint8 and len(np.unique(colours, axis=0)) == 200
    assert colours[:3].tolist() == [[128, 0, 0], [0, 128, 0], [128, 128, 0]]  # Pascal VOC's 1 to 3
