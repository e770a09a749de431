import os

import pytest
import torch
from safetensors.torch import load_file, save_file
from stand_ins import net, same_weights
from torch import nn

from contextlab import home
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


def wrapped(kind: str) -> nn.Module:
    model = net()
    if kind == "compiled":
        return torch.compile(model)
    if kind == "part":
        model.backbone = torch.compile(model.backbone)
        return model
    return nn.DataParallel(torch.compile(model) if kind == "both" else model)


@pytest.mark.parametrize("kind", ["compiled", "part", "parallel", "both"])
def test_a_wrapped_model_stores_the_plain_networks_names(tmp_path, kind):
    path = save_weights(tmp_path / "w", wrapped(kind))
    assert load_file(path).keys() == net().state_dict().keys()
    assert same_weights(load_weights(path, net(seed=1)), net())
    other = wrapped(kind)
    for parameter in other.parameters():
        parameter.data.zero_()
    load_weights(path, other)
    assert all(map(torch.equal, other.state_dict().values(), net().state_dict().values()))


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module."])
def test_weights_stored_with_the_names_of_a_wrapper_are_read(tmp_path, prefix):
    save_file({prefix + name: t for name, t in net().state_dict().items()}, tmp_path / "w")
    assert same_weights(load_weights(tmp_path / "w", net(seed=1)), net())


def test_a_part_that_is_called_module_keeps_its_name(tmp_path):
    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = nn.Linear(2, 2)

    one, other = Holder(), Holder()
    load_weights(save_weights(tmp_path / "w", one), other)
    assert same_weights(one, other)


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
    with pytest.raises(ValueError, match=r"w is not a whole safetensors file .*another file"):
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
    state(tmp_path, 9_999_999)  # the same step once more, from another process
    assert len(list(tmp_path.iterdir())) == 1


def test_what_a_killed_process_left_is_ignored_and_swept_away(tmp_path):
    state(tmp_path, 5)
    state(tmp_path / "older", 3)
    (tmp_path / "older" / "state-00000003").rename(tmp_path / "state-00000003")
    (tmp_path / "older").rmdir()
    dead = {"name": home.partial(tmp_path / "x").name.replace(str(os.getpid()), "4194305")}
    for name in ("folder", "file"):
        dead[name] = tmp_path / f"{dead['name']}-{name}"
    dead["folder"].mkdir()
    home.mark(dead["folder"])
    (dead["folder"] / "half").write_text("wri")
    (dead["folder"] / home.MARK).write_text("conte")  # killed while the mark itself was written
    dead["file"].write_text("cut")
    assert checkpoints.newest(tmp_path).name == "state-00000005"
    checkpoints.tidy(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["state-00000005"]


def test_what_somebody_else_made_is_left_alone(tmp_path):
    """Names alone prove nothing: neither a name like a state's, nor one like a leftover's."""
    ours = home.partial(tmp_path / "x").name.replace(str(os.getpid()), "4194305")
    theirs = ["state-of-the-art/paper.txt", "notes.txt", ".partial-mine/a", f"{ours}-b/c"]
    for name in theirs:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    for step in (5, 6):
        state(tmp_path, step)
    (tmp_path / "state-00000006" / "notes.txt").write_text("mine")
    state(tmp_path, 7)
    checkpoints.remove(tmp_path)
    left = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert left == {*theirs, "state-00000006/notes.txt"}


def test_a_folder_with_the_name_of_a_state_is_named_and_left_alone(tmp_path):
    (tmp_path / "state-00000005").mkdir()
    (tmp_path / "state-00000005" / "progress.json").write_text("{}")
    with pytest.raises(ValueError, match=r"state-00000005 has the name.*another folder"):
        checkpoints.prepare(tmp_path)
    assert checkpoints.newest(tmp_path) is None
    with pytest.raises(OSError, match="state-00000005 cannot be written to"):
        state(tmp_path, 5)
    assert (tmp_path / "state-00000005" / "progress.json").read_text() == "{}"


def test_a_finished_run_leaves_no_folder_of_its_own(tmp_path):
    state(tmp_path / "state", 5)
    checkpoints.remove(tmp_path / "state")
    assert not (tmp_path / "state").exists()


def test_two_processes_that_save_the_same_step_at_once(tmp_path):
    """The other one saves, or is done and removes its states, at every moment of this one."""

    def interrupted(partial):
        (partial / "f").write_text("x")
        state(tmp_path, 5, "x")
        (partial / "g").write_text("x")

    checkpoints.save_state(tmp_path, 5, {"step": 5}, interrupted)
    assert [p.name for p in tmp_path.iterdir()] == ["state-00000005"]

    def removed(partial):
        checkpoints.remove(tmp_path)
        (partial / "f").write_text("x")

    checkpoints.save_state(tmp_path, 6, {"step": 6}, removed)
    assert [p.name for p in tmp_path.iterdir()] == ["state-00000006"]


def test_a_full_disk_is_one_sentence_and_the_state_before_stands(tmp_path):
    state(tmp_path, 5)
    for words in (
        "PytorchStreamWriter failed writing file data/0: file write failed",
        "basic_ios::clear: iostream error",
        "I/O error: No space left on device (os error 28)",
    ):

        def fail(partial, words=words):
            raise RuntimeError(words)

        with pytest.raises(OSError, match=r"No space left.*state-00000005 stands.*free some"):
            checkpoints.save_state(tmp_path, 6, {}, fail)
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
    with pytest.raises(ValueError, match=r"state-00000005 cannot be read.*another folder"):
        checkpoints.read_progress(checkpoints.newest(tmp_path))


def test_no_folder_no_state(tmp_path):
    assert checkpoints.newest(tmp_path / "none") is None
    checkpoints.tidy(tmp_path / "none")
    checkpoints.remove(tmp_path / "none")
