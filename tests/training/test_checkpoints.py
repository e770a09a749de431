import pytest
import torch
from stand_ins import net, same_weights
from torch import nn

from contextlab.training import checkpoints, load_weights, save_weights


def test_weights_come_back_to_the_last_bit(tmp_path):
    model = net().to(memory_format=torch.channels_last)
    path = save_weights(tmp_path / "new" / "w.safetensors", model)
    assert same_weights(model, load_weights(path, net(seed=1)))
    assert [p.name for p in path.parent.iterdir()] == ["w.safetensors"]


def test_half_precision_halves_the_file_and_keeps_integers(tmp_path):
    model = net()
    model.backbone[1].num_batches_tracked.fill_(70_000)
    full = save_weights(tmp_path / "full", nn.Linear(100, 100))
    half = save_weights(tmp_path / "half", nn.Linear(100, 100), half=True)
    assert half.stat().st_size < 0.55 * full.stat().st_size
    again = load_weights(save_weights(tmp_path / "w", model, half=True), net(seed=1))
    for name, tensor in model.state_dict().items():
        rounded = tensor.half().float() if tensor.is_floating_point() else tensor
        assert torch.equal(again.state_dict()[name], rounded)
        assert again.state_dict()[name].dtype == tensor.dtype


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    model = nn.Linear(1, 1)
    model.weight.data.fill_(1e6)
    save_weights(tmp_path / "w", model)
    with pytest.raises(ValueError, match=r"finite weights in half precision, got.*'weight'"):
        save_weights(tmp_path / "half", model, half=True)
    model.weight.data.fill_(float("nan"))
    with pytest.raises(ValueError, match="finite weights, got"):
        save_weights(tmp_path / "w", model)
    assert [p.name for p in tmp_path.iterdir()] == ["w"]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no weights at .*gone.*train first"):
        load_weights(tmp_path / "gone", net())


@pytest.mark.parametrize("keep", [0, 4, 60, -1])
def test_a_cut_file_is_named_with_the_remedy(tmp_path, keep):
    path = save_weights(tmp_path / "w", net())
    path.write_bytes(path.read_bytes()[:keep])
    model = net(seed=1)
    with pytest.raises(ValueError, match=r"w is not a whole safetensors file .*delete it"):
        load_weights(path, model)
    assert same_weights(model, net(seed=1))  # untouched


def test_weights_of_another_network_are_refused(tmp_path):
    path = save_weights(tmp_path / "w", net())
    with pytest.raises(ValueError, match=r"another network.*head.bias \(3,\) instead of \(5,\)"):
        load_weights(path, net(classes=5))
    with pytest.raises(ValueError, match=r"missing \['weight'\], foreign \['auxiliary.bias'"):
        load_weights(path, nn.Linear(3, 3, bias=False))


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = checkpoints.write_atomically(tmp_path / "f", "old")

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoints.os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        checkpoints.write_atomically(path, "new")
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["f"]


def state(folder, step, content="x"):
    checkpoints.save_state(
        folder, step, {"step": step}, lambda partial: (partial / "f").write_text(content)
    )


def test_a_state_replaces_the_one_before(tmp_path):
    for step in (5, 10, 9_999_999):
        state(tmp_path, step)
        assert checkpoints.read_progress(checkpoints.newest(tmp_path)) == {"step": step}
        assert len(list(tmp_path.iterdir())) == 1
    state(tmp_path, 9_999_999, "again")
    assert (checkpoints.newest(tmp_path) / "f").read_text() == "again"


def test_what_a_killed_process_left_is_ignored_and_swept_away(tmp_path):
    state(tmp_path, 5)
    for name in (".partial-00000010", ".partial-old-state-00000001", "state-00000003"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").write_text("wri")
    (tmp_path / ".partial-weights").write_text("cut")
    assert checkpoints.newest(tmp_path).name == "state-00000005"
    checkpoints.sweep(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["state-00000005"]


def test_a_failed_state_leaves_the_old_one(tmp_path):
    state(tmp_path, 5)

    def fail(partial):
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        checkpoints.save_state(tmp_path, 6, {}, fail)
    assert checkpoints.newest(tmp_path).name == "state-00000005"


def test_damaged_progress_is_named(tmp_path):
    state(tmp_path, 5)
    (tmp_path / "state-00000005" / "progress.json").write_text("{")
    with pytest.raises(ValueError, match=r"state-00000005 cannot be read.*delete this folder"):
        checkpoints.read_progress(checkpoints.newest(tmp_path))


def test_no_folder_no_state(tmp_path):
    assert checkpoints.newest(tmp_path / "none") is None
    checkpoints.sweep(tmp_path / "none")
    checkpoints.remove(tmp_path / "none")
