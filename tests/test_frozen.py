"""Training over a frozen backbone: the same answers as the whole network, from stored maps."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from contextlab import data, home, runs
from contextlab.networks.segmentation import network


class Scenes:
    """A few street scenes, and how often each was asked for."""

    def __init__(self, size: int):
        self.inner, self.asked = data.build("streets", "val", size=size), []
        self.classes, self.palette = self.inner.classes, self.inner.palette
        self.ignore_index = 255

    def __len__(self):
        return len(self.inner)

    def __getitem__(self, index):
        self.asked.append(index)
        return self.inner[index]


@pytest.fixture
def fcn():
    torch.manual_seed(0)
    model = network(13, context="squeeze_reasoning", width=32, kernel=1, auxiliary=False)
    for module in model.modules():  # statistics as after some training
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model


def test_the_head_on_stored_maps_answers_like_the_whole_network(fcn, tmp_path):
    scenes = Scenes(3)
    stored = runs.StoredMaps(scenes, fcn, tmp_path, "val", mirrored=False, progress=False)
    assert fcn.training and len(stored) == 3 and stored.size == (64, 128)
    fcn.eval()
    head = runs.FrozenHead(fcn, stored.size).eval()
    for index in range(3):
        image, labels = scenes[index]
        found, same = stored[index]
        assert torch.equal(labels, same) and found.dtype == torch.float32
        with torch.no_grad():
            error = (head(found[None]) - fcn(image[None])).abs().max()
        assert error < 5e-3  # the maps are kept in half precision


def test_mirrored_maps_come_with_mirrored_small_labels(fcn, tmp_path):
    scenes = Scenes(2)
    stored = runs.StoredMaps(scenes, fcn, tmp_path, "train", mirrored=True, progress=False)
    assert len(stored) == 4
    fcn.eval()
    for index in range(4):
        image, labels = scenes[index % 2]
        if index >= 2:
            image, labels = image.flip(-1), labels.flip(-1)
        found, small = stored[index]
        with torch.no_grad():
            map = fcn.backbone((image[None] - fcn.mean) / fcn.std)[-1][0]
        assert torch.allclose(found, map, atol=5e-3)
        # every small label is one of the 4 x 4 pixels that it stands for
        blocks = labels.unfold(0, 4, 4).unfold(1, 4, 4).flatten(2)
        assert small.shape == (16, 32) and (blocks == small[..., None]).any(-1).all()
    head = runs.FrozenHead(fcn.train(), stored.size)
    assert head(torch.stack([stored[i][0] for i in range(4)])).shape == (4, 13, 16, 32)
    with pytest.raises(IndexError, match="below 4, got 4"):
        stored[4]


def test_maps_are_computed_once_and_again_for_other_weights(fcn, tmp_path, monkeypatch):
    options = {"folder": tmp_path, "name": "val", "mirrored": False, "progress": False}
    first = runs.StoredMaps(Scenes(2), fcn, **options)
    with monkeypatch.context() as patched:
        patched.setattr(runs.StoredMaps, "_compute", None)
        again = runs.StoredMaps(Scenes(2), fcn, **options)
    assert np.array_equal(first.maps, again.maps)
    with torch.no_grad():
        next(fcn.backbone.parameters()).mul_(1.5)
    other = runs.StoredMaps(Scenes(2), fcn, **options)
    assert not np.array_equal(first.maps, other.maps) and len(list(tmp_path.iterdir())) == 2
    fewer = runs.StoredMaps(Scenes(2), fcn, **options, limit=1)
    assert len(fewer) == 1 and len(list(tmp_path.iterdir())) == 3


def test_maps_of_another_stride_or_stage_are_others(tmp_path):
    """The same weights at another stride, or cut at another stage, make other maps."""
    options = {"output_stride": 16, "weights": "random"}
    found = {}
    for name, more in {"16": {}, "8": {"output_stride": 8}, "cut": {"out_indices": [2]}}.items():
        torch.manual_seed(0)
        model = network(
            13,
            backbone="tf_efficientnet_lite0",
            backbone_options=options | more,
            width=16,
            kernel=1,
            auxiliary=False,
        )
        stored = runs.StoredMaps(Scenes(1), model, tmp_path, "val", mirrored=False, progress=False)
        found[name] = tuple(stored[0][0].shape)
    assert found == {"16": (320, 4, 8), "8": (320, 8, 16), "cut": (40, 8, 16)}


def test_maps_of_other_settings_or_images_are_others(fcn, tmp_path):
    """Everything that a map depends on is in the file's name."""

    class Darker(Scenes):
        def __getitem__(self, index):
            image, labels = super().__getitem__(index)
            return image / 2, labels

    def stored(scenes):
        options = {"mirrored": False, "progress": False}
        return runs.StoredMaps(scenes, fcn, tmp_path, "val", **options).maps.filename

    found = [stored(Scenes(1)), stored(Darker(1))]
    fcn.mean = fcn.mean + 0.1
    found.append(stored(Scenes(1)))
    convolution = fcn.backbone.stem[0][0]
    convolution.dilation, convolution.padding = (2, 2), (2, 2)
    found.append(stored(Scenes(1)))
    assert len(set(found)) == 4


def test_what_a_killed_process_left_of_its_maps_is_removed(fcn, tmp_path):
    left = home.partial(tmp_path / "val-0.npy").name.replace(str(os.getpid()), "4194305")
    alive = home.partial(tmp_path / "val-0.npy")
    for path in (tmp_path / left, alive, tmp_path / ".partial-mine.npy"):
        path.write_bytes(b"0" * 1000)
    runs.StoredMaps(Scenes(1), fcn, tmp_path, "val", mirrored=False, progress=False)
    assert not (tmp_path / left).exists()
    assert alive.exists() and (tmp_path / ".partial-mine.npy").exists()


def test_too_little_room_is_said_before_the_first_map_is_stored(fcn, tmp_path, monkeypatch):
    scenes = Scenes(500)
    monkeypatch.setenv("CONTEXTLAB_HOME", str(tmp_path))
    monkeypatch.setattr(home.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    words = r"maps cannot be written to \(49 MB are needed, 1 MB are free\): free.*CONTEXTLAB_HOME"
    options = {"folder": tmp_path / "maps", "name": "val", "mirrored": False, "progress": False}
    with pytest.raises(OSError, match=words):
        runs.StoredMaps(scenes, fcn, **options)
    assert list((tmp_path / "maps").iterdir()) == []


def test_a_disk_that_fills_up_is_one_sentence(fcn, tmp_path):
    """A write that fails, not a signal that ends the process."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OSError, match=r"val-.* cannot be written to \(File too large\)"):
            runs.StoredMaps(Scenes(4), fcn, tmp_path, "val", mirrored=False, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_no_half_file(fcn, tmp_path):
    class Stops(Scenes):
        def __getitem__(self, index):
            if index == 1:
                raise KeyboardInterrupt
            return super().__getitem__(index)

    with pytest.raises(KeyboardInterrupt):
        runs.StoredMaps(Stops(2), fcn, tmp_path, "val", mirrored=False, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_cut_file_is_named_with_the_remedy(fcn, tmp_path):
    options = {"folder": tmp_path, "name": "val", "mirrored": False, "progress": False}
    runs.StoredMaps(Scenes(2), fcn, **options)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for cut in (whole[:40], whole[:-1], b""):
        path.write_bytes(cut)
        with pytest.raises(ValueError, match=f"{path.name} is damaged or .*: move it away, and"):
            runs.StoredMaps(Scenes(2), fcn, **options)


def test_a_slot_that_wants_more_than_one_map_is_refused():
    for options in (
        {"auxiliary": True},
        {"context": "encoding", "context_options": {"classes": 13}, "auxiliary": False},
    ):
        model = network(13, width=32, kernel=1, **options)
        with pytest.raises(ValueError, match="one map and no auxiliary head"):
            runs.FrozenHead(model, (64, 128))


def test_a_frozen_run_trains_the_head_alone(tmp_path, monkeypatch):
    """The whole path of a run, on street scenes in CamVid's place."""
    monkeypatch.setenv("CONTEXTLAB_HOME", str(tmp_path / "home"))
    config = runs.streets("squeeze_reasoning", budget="smoke", recipe={"flip": False}, frozen=True)
    run = runs.train(config, tmp_path / "run.json", progress=False)
    assert run.history.finished and run.metrics.images == config.images
    again = runs.read(tmp_path / "run.json", config).model()
    assert isinstance(again, runs.FrozenHead)
    assert not any(name.startswith("backbone") for name in again.state_dict())
    whole = runs.read(tmp_path / "run.json", config).model(backbone="random")
    image = data.build("streets", "val", size=1)[0][0]
    with torch.no_grad():
        map = whole.backbone((image[None] - whole.mean) / whole.std)[-1]
        assert torch.equal(whole(image[None]), again(map))
    names = sorted(p.name.split("-")[1] for p in (tmp_path / "home" / "maps").iterdir())
    assert names == ["train", "val"]


def test_the_frozen_setting():
    config = runs.camvid("squeeze_reasoning", budget="quick", frozen=True)
    recipe = config.train_recipe()
    assert not recipe.flip and recipe.crop is None and recipe.scale is None
    assert config.frozen and not config.auxiliary and config.split == "test"
    assert runs.camvid("squeeze_reasoning", budget="quick").auxiliary
