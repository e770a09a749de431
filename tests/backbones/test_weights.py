"""Where weights come from: a file, the hub's cache, and words when there is neither."""

import os
import time
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from contextlab.backbones import backbone

NAME = "test_efficientnet"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file as the hub has it: all of a network, classifier included."""
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    torch.manual_seed(5)
    save_file(timm.create_model(NAME).state_dict(), path)
    return path


@pytest.fixture
def changed(weights, tmp_path):
    """Write the file again, with its tensors changed."""

    def write(change):
        tensors = load_file(weights)
        change(tensors)
        path = tmp_path / "changed.safetensors"
        save_file(tensors, path)
        return path

    return write


@pytest.fixture
def no_hub(monkeypatch):
    """A hub that cannot be reached, and whose client must not be asked to try."""

    class Session:
        def head(self, url, **options):
            assert options["timeout"] <= 5
            raise OSError("Name or service not known")

    def never(*args, **options):
        raise AssertionError("started a download from a hub that does not answer")

    monkeypatch.setattr(huggingface_hub.utils, "get_session", Session)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", never)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *args: None)


def same(net, path):
    """All weights of a backbone are those of the file."""
    file = load_file(path)
    own = net.net.state_dict()
    return len(own) > 50 and all(torch.equal(value, file[key]) for key, value in own.items())


def test_a_file_is_loaded_whole(weights, recwarn, caplog):
    assert same(backbone(NAME, weights=weights), weights)
    assert same(backbone(NAME, weights=str(weights), output_stride=32), weights)
    assert not same(backbone(NAME, weights="random"), weights)
    assert not recwarn.list
    assert not caplog.records


def test_a_file_without_classifier_or_step_counters_is_as_good(changed, weights):
    def drop(tensors):
        for key in list(tensors):
            if key.startswith("classifier.") or key.endswith("num_batches_tracked"):
                del tensors[key]

    path = changed(drop)
    net = backbone(NAME, weights=path).net.state_dict()
    file = load_file(path)
    assert all(torch.equal(net[key], file[key]) for key in net if key in file)
    assert {key for key in net if key not in file} == {k for k in net if "num_batches" in k}


def test_a_classifier_of_other_classes_does_not_matter(changed, weights):
    path = changed(lambda t: t.update({"classifier.weight": torch.zeros(7, 256)}))
    assert same(backbone(NAME, weights=path), weights)


def test_a_resnet_takes_a_file(tmp_path):
    path = tmp_path / "resnet18.safetensors"
    tensors = timm.create_model("resnet18").state_dict()
    save_file(tensors, path)
    own = backbone("resnet18", weights=path).state_dict()
    assert len(own) == 120
    assert all(torch.equal(own[key], tensors[key]) for key in own)
    with pytest.raises(ValueError, match=r"16 missing: conv1\.0\.weight.* 5 of another shape: bn1"):
        backbone("resnet18", stem="deep", weights=path)


def test_the_course_backbone_takes_its_own_file(tmp_path):
    path = tmp_path / "course.safetensors"
    net = backbone("course", blocks=2)
    save_file(net.state_dict(), path)
    other = backbone("course", blocks=2, weights=path).state_dict()
    assert all(torch.equal(value, other[key]) for key, value in net.state_dict().items())
    with pytest.raises(ValueError, match=r"another network, of .* missing: blocks\.2"):
        backbone("course", blocks=3, weights=path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"weights at .*absent\.safetensors; none there"):
        backbone(NAME, weights=tmp_path / "absent.safetensors")


@pytest.mark.parametrize("kept", [0, 5, 400, -1])
def test_a_cut_file_is_named_with_the_remedy(weights, tmp_path, kept):
    path = tmp_path / "cut.safetensors"
    path.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"cut\.safetensors .* is cut or .* download it again"):
        backbone(NAME, weights=path)


def test_a_file_of_another_format_is_named(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(timm.create_model(NAME).state_dict(), path)
    with pytest.raises(ValueError, match=r"weights\.pth .* no safetensors file"):
        backbone(NAME, weights=path)


def test_a_foreign_file_is_counted_and_its_first_names_given(changed):
    def change(tensors):
        del tensors["conv_stem.weight"]
        tensors["bn1.weight"] = torch.zeros(3)
        tensors["head.extra"] = torch.zeros(1)

    message = (
        r"1 missing: conv_stem\.weight; 1 unexpected: head\.extra; "
        r"1 of another shape: bn1\.weight \(3,\) for \(\d+,\); bring the file"
    )
    with pytest.raises(ValueError, match=message):
        backbone(NAME, weights=changed(change))


def test_an_unreachable_hub_is_said_at_once_and_how_to_bring_a_file(no_hub):
    start = time.monotonic()
    with pytest.raises(ConnectionError) as caught:
        backbone("resnet50")
    assert time.monotonic() - start < 5
    words = str(caught.value)
    for part in (
        "'resnet50'",
        "Name or service not known",
        "Download model.safetensors from",
        "timm/resnet50.",
        "weights='path/to/model.safetensors'",
        "weights='random'",
    ):
        assert part in words


def test_a_hub_that_refuses_is_not_asked_again(no_hub, monkeypatch):
    class Session:
        def head(self, url, **options):
            return type("Answer", (), {"status_code": 503})

    monkeypatch.setattr(huggingface_hub.utils, "get_session", Session)
    with pytest.raises(ConnectionError, match="the hub answered 503"):
        backbone("tf_efficientnet_lite0")


def test_what_the_cache_holds_needs_no_hub(no_hub, monkeypatch, weights):
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *args: str(weights))
    assert same(backbone(NAME), weights)


def test_a_reachable_hub_is_asked_for_the_networks_file(no_hub, monkeypatch, weights):
    class Session:
        def head(self, url, **options):
            return type("Answer", (), {"status_code": 200})

    asked = []
    monkeypatch.setattr(huggingface_hub.utils, "get_session", Session)
    monkeypatch.setattr(
        huggingface_hub, "hf_hub_download", lambda *args: asked.append(args) or str(weights)
    )
    assert same(backbone(NAME, weights="imagenet"), weights)
    assert asked == [(timm.get_pretrained_cfg(NAME).hf_hub_id, "model.safetensors")]


def test_the_narrow_deep_stem_asks_for_timms_weights_of_it(no_hub):
    with pytest.raises(ConnectionError, match=r"'resnet50c'.*timm/resnet50c\."):
        backbone("resnet50", stem="deep32")
    with pytest.raises(ValueError, match="no ImageNet weights in timm for resnet18"):
        backbone("resnet18", stem="deep32")


def test_a_word_that_is_no_path_is_refused():
    with pytest.raises(ValueError, match=r"'imagenet', 'random' or the path .* got 'imagnet'"):
        backbone("resnet18", weights="imagnet")


def test_options_of_the_course_backbone_are_checked():
    with pytest.raises(ValueError, match="output stride 4, got 8"):
        backbone("course", output_stride=8)
    with pytest.raises(ValueError, match=r"one of width, blocks, .* got 'depth'"):
        backbone("course", depth=3)
    with pytest.raises(ValueError, match=r"DilatedResNet one of .* got 'grid'"):
        backbone("resnet18", weights="random", grid=3)


@pytest.mark.skipif(
    "CONTEXTLAB_WEIGHTS" not in os.environ,
    reason="CONTEXTLAB_WEIGHTS names no file with ImageNet weights of tf_efficientnet_lite0",
)
def test_real_weights_make_maps_that_tell_images_apart():
    path = Path(os.environ["CONTEXTLAB_WEIGHTS"])
    net = backbone("tf_efficientnet_lite0", weights=path, output_stride=16).eval()
    file = load_file(path)
    own = net.net.state_dict()
    assert all(torch.equal(own[key], file[key]) for key in own if key in file)
    with torch.no_grad():
        last = net(torch.rand(2, 3, 64, 64) * 2 - 1)[-1]
    assert last.isfinite().all()
    assert last.std() > 0.1
