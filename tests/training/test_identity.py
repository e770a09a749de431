"""What a saved state is a state of: every change of the experiment is seen and named."""

import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from stand_ins import Net, Squares, net, same_weights
from torch import nn

from contextlab.networks.segmentation import network
from contextlab.training import Recipe, fit, load_weights
from contextlab.training.identity import (
    differences,
    fingerprints,
    identity,
    moved,
    samples,
    settings,
)

RECIPE = Recipe(steps=4, batch=4, lr=1e-2, seed=3)


def told(model, dataset=None, recipe=RECIPE, **options) -> dict:
    return identity(model, Squares() if dataset is None else dataset, recipe, **options)


def changed(change) -> nn.Module:
    model = net()
    change(model)
    return model


class Corrected(Squares):
    """The labels, or the image, of one sample are others."""

    def __init__(self, part: int):
        super().__init__()
        self.part = part

    def __getitem__(self, index):
        parts = [x.clone() for x in super().__getitem__(index)]
        if index == 7:
            parts[self.part][..., 0, 0] = 1
        return tuple(parts)


class Renamed(Squares):
    classes = ("dark", "light", "other")


class Halved(Net):
    def forward(self, x):
        return super().forward(x / 2)


def frozen(model):
    model.backbone[0].bias.requires_grad_(False)


def dilated(model):
    model.backbone[0].dilation, model.backbone[0].padding = (2, 2), (2, 2)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"recipe": replace(RECIPE, lr=2e-2)}, r"the recipe's lr was 0.01 and is 0.02"),
        ({"tag": "b"}, "the tag was '' and is 'b'"),
        ({"world": 2}, "the number of processes was 1 and is 2"),
        (
            {"model": changed(dilated)},
            r"network's backbone.0 dilation was \(1, 1\) and is \(2, 2\)",
        ),
        ({"model": net(dropout=0.3)}, "network's dropout p was 0.2 and is 0.3"),
        ({"model": net(norm=False)}, r"network's backbone.1 class was nn.BatchNorm2d and is nn.Id"),
        ({"model": changed(frozen)}, "network's backbone.0 frozen weights was none and is bias"),
        ({"model": changed(lambda m: setattr(m, "scale", 2))}, "network's scale was None and is 2"),
        ({"model": net(classes=4)}, "network's head out_channels was 3 and is 4"),
        ({"model": net(seed=1)}, r"begins with other weights \(auxiliary.bias and 5 more\).*seed"),
        ({"dataset": Squares(13)}, "the data set's length was 12 and is 13"),
        ({"dataset": Renamed()}, "the data set's classes was .*'absent'.* and is .*'other'"),
        ({"dataset": Corrected(1)}, "the labels of sample 7 of the data set changed"),
        ({"dataset": Corrected(0)}, "the image of sample 7 of the data set changed"),
    ],
)
def test_what_the_result_depends_on_is_seen_and_named(change, words):
    found = differences(told(net()), told(change.pop("model", None) or net(), **change))
    assert found and any(re.search(words, line) for line in found), found


def test_the_code_of_the_readers_own_network_counts():
    plain = {k: v.copy() for k, v in settings(net()).items()}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        other = Halved()
    assert plain[""]["class"] == "Net" and settings(other)[""]["class"] == "Halved"
    assert plain[""]["code"] != settings(other)[""]["code"]


def test_another_stride_of_the_same_weights_is_refused(tmp_path):
    def fcn(stride):
        torch.manual_seed(0)
        options = {"output_stride": stride, "weights": "random"}
        return network(
            3, backbone="resnet18", backbone_options=options, width=8, auxiliary=False, kernel=1
        )

    data, recipe = Squares(4, side=32), Recipe(steps=1, batch=2)
    fit(fcn(16), data, recipe, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"of another run: the network's backbone.*was.*and is"):
        fit(fcn(32), data, recipe, checkpoint=tmp_path)
    fit(fcn(16), data, recipe, checkpoint=tmp_path)


def test_the_same_run_is_the_same_in_another_process():
    script = (
        "import json; from stand_ins import Squares, net;"
        "from contextlab.training import Recipe; from contextlab.training.identity import identity;"
        f"print(json.dumps(identity(net(), Squares(), {RECIPE!r}, tag='x')))"
    )
    found = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert json.loads(found.stdout) == told(net(), tag="x"), found.stderr


def test_wrappers_devices_and_workers_are_not_part_of_it():
    model = net()
    model.backbone = torch.compile(model.backbone)
    for other in (model, torch.compile(net()), net().to(memory_format=torch.channels_last)):
        assert differences(told(net()), told(other)) == []
    assert differences(told(net()), told(net(), recipe=replace(RECIPE, workers=2))) == []


def test_the_network_that_was_trained_so_far_may_go_on(tmp_path):
    """As in a notebook, where the cell that trains is run again with the network at hand."""
    whole = net()
    fit(whole, Squares(), RECIPE, checkpoint=tmp_path / "whole")
    model = net()
    for steps in (1, 3, None, None):
        fit(model, Squares(), RECIPE, checkpoint=tmp_path / "parts", stop_after=steps)
    assert same_weights(whole, model)
    with torch.no_grad():
        model.head.bias.add_(1)
    with pytest.raises(ValueError, match="begins with other weights"):
        fit(model, Squares(), RECIPE, checkpoint=tmp_path / "parts")


def test_a_network_that_counts_its_calls_may_go_on(tmp_path):
    class Counting(Net):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x)

    model = Counting()
    before = settings(model)
    fit(model, Squares(), RECIPE, checkpoint=tmp_path, stop_after=2)
    assert moved(before, model) == [" calls"]
    fit(model, Squares(), RECIPE, checkpoint=tmp_path)


def test_data_that_change_each_time_ask_for_a_tag(tmp_path):
    class Noisy(Squares):
        def __getitem__(self, index):
            image, labels = super().__getitem__(index)
            noise = np.random.default_rng().random(image.shape, dtype=np.float32)
            return (image + torch.from_numpy(noise)) / 2, labels

    class Flipping(
        Squares
    ):  # by the global random numbers, which stand still while it is looked at
        def __getitem__(self, index):
            image, labels = super().__getitem__(index)
            return (image.flip(-1), labels.flip(-1)) if torch.rand(()) < 0.5 else (image, labels)

    with pytest.raises(ValueError, match=r"same sample each time.*Noisy gives another.*tag="):
        fit(net(), Noisy(), RECIPE, checkpoint=tmp_path)
    fit(net(), Noisy(), RECIPE, checkpoint=tmp_path, tag="noisy")
    assert samples(Flipping()) == samples(Flipping())


def test_another_run_in_the_folder_meanwhile_is_refused(tmp_path):
    class Meddling(Squares):
        loaded = 0

        def __getitem__(self, index):
            self.loaded += 1
            if self.loaded == 20:
                fit(net(), Squares(), replace(RECIPE, seed=9), checkpoint=tmp_path)
            return super().__getitem__(index)

    with pytest.raises(ValueError, match="another run is being trained in"):
        fit(net(), Meddling(), RECIPE, checkpoint=tmp_path)


def test_the_same_run_in_the_folder_meanwhile_is_none_of_its_business(tmp_path):
    class Meddling(Squares):
        loaded = 0

        def __getitem__(self, index):
            self.loaded += 1
            if self.loaded == 20:
                fit(other, Squares(), RECIPE, checkpoint=tmp_path, save_every=1)
            return super().__getitem__(index)

    model, other = net(), net()
    fit(model, Meddling(), RECIPE, checkpoint=tmp_path, save_every=1)
    assert same_weights(model, other)


def test_a_compiled_network_is_trained_and_continued_as_the_plain_one(tmp_path):
    def compiled():
        return torch.compile(net(), backend="eager")

    fit(compiled(), Squares(), RECIPE, checkpoint=tmp_path, stop_after=2)
    model, whole = compiled(), net()
    fit(model, Squares(), RECIPE, checkpoint=tmp_path)
    fit(whole, Squares(), RECIPE)
    for name, weight in whole.state_dict().items():
        torch.testing.assert_close(model.state_dict()[f"_orig_mod.{name}"], weight)
    state = next(tmp_path.glob("state-*"))
    assert same_weights(load_weights(state / "model.safetensors", net(seed=1)), model._orig_mod)


def test_a_network_in_a_parallel_wrapper_is_refused():
    with pytest.raises(ValueError, match="expected the plain network, got it in DataParallel"):
        fit(nn.DataParallel(net()), Squares(), RECIPE)


def test_it_is_cheap():
    model = network(19, backbone="resnet50", backbone_options={"weights": "random"})
    began = time.perf_counter()
    settings(model), fingerprints(model)
    assert time.perf_counter() - began < 2  # 0.1 s on an idle core
