import math
import os
import re
import signal
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from stand_ins import Net, Squares, net, same_weights
from torch import nn

from contextlab import home
from contextlab.training import History, Recipe, checkpoints, evaluate, fit

RECIPE = Recipe(steps=12, batch=4, lr=1e-2, warmup=2, seed=3)


def trained(recipe=RECIPE, dataset=None, model=None, **options):
    model = net() if model is None else model
    history = fit(model, Squares() if dataset is None else dataset, recipe, **options)
    return model, history


def test_training_learns_the_squares():
    model, history = trained(Recipe(steps=60, batch=4, lr=2e-2), model=net(dropout=0.0))
    assert history.finished and history.done == len(history.lr) == 60
    assert history.loss[-1] < 0.5 * history.loss[0]
    assert evaluate(model, Squares()).iou[1] > 0.6


@pytest.mark.parametrize("optimiser, rate", [("adamw", 1e-2), ("sgd", 1e-1)])
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path, optimiser, rate):
    recipe = Recipe(steps=12, batch=4, optimiser=optimiser, lr=rate, seed=5)
    whole, history = trained(recipe)
    _, part = trained(recipe, checkpoint=tmp_path, stop_after=5)
    assert not part.finished and part.done == 5
    resumed, rest = trained(recipe, checkpoint=tmp_path)
    assert same_weights(whole, resumed)
    assert rest.loss == history.loss and rest.lr == history.lr


class Told(Net):
    """Gives a dict, as torchvision's segmentation models do."""

    def forward(self, x):
        output = super().forward(x)
        return dict(zip(("out", "aux"), output if self.training else (output,)))


def test_a_dict_of_out_and_aux_trains_as_the_tuple_does():
    told = Told()
    told.load_state_dict(net().state_dict())
    assert same_weights(trained(model=told)[0], trained()[0])
    assert evaluate(told, Squares()) == evaluate(trained()[0], Squares())


def test_a_segmentation_model_of_torchvision_is_trained_and_scored():
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    model = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)
    recipe = Recipe(steps=1, batch=2, crop=(32, 32))
    assert trained(recipe, model=model)[1].finished
    assert evaluate(model, Squares(2, side=32)).images == 2


def test_saving_states_changes_nothing(tmp_path):
    assert same_weights(trained()[0], trained(checkpoint=tmp_path, save_every=1)[0])


def test_a_finished_run_is_not_trained_again(tmp_path):
    model, history = trained(checkpoint=tmp_path)
    again, same = trained(checkpoint=tmp_path)
    assert same_weights(model, again) and same == history


def test_dropout_and_augmentation_depend_on_the_seed_alone():
    torch.manual_seed(1)
    one, _ = trained()
    torch.manual_seed(2)
    two, _ = trained()
    other, _ = trained(replace(RECIPE, seed=4))
    assert same_weights(one, two) and not same_weights(one, other)


def test_the_callers_random_numbers_are_left_alone(tmp_path):
    import random

    trained(checkpoint=tmp_path, stop_after=2)
    torch.manual_seed(0), np.random.seed(0), random.seed(0)
    expected = torch.rand(1), np.random.rand(), random.random()
    torch.manual_seed(0), np.random.seed(0), random.seed(0)
    trained(checkpoint=tmp_path)
    assert (torch.rand(1), np.random.rand(), random.random()) == expected


def test_loading_workers_change_nothing():
    recipe = Recipe(steps=4, batch=4, scale=(0.5, 2.0), crop=(12, 20))
    with_workers = replace(recipe, workers=1)
    assert recipe.hash() == with_workers.hash()
    assert same_weights(trained(recipe)[0], trained(with_workers)[0])


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": replace(RECIPE, lr=2e-2)},
        {"dataset": Squares(13)},
        {"model": net(classes=4)},
        {"tag": "another"},
    ],
    ids=["recipe", "data", "model", "tag"],
)
def test_a_state_of_another_run_is_refused(tmp_path, change):
    trained(checkpoint=tmp_path, stop_after=3)
    with pytest.raises(ValueError, match=r"is of another run.*another folder"):
        trained(checkpoint=tmp_path, **change)


def test_a_damaged_state_is_named_with_the_remedy(tmp_path):
    trained(checkpoint=tmp_path, stop_after=3)
    weights = checkpoints.newest(tmp_path) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"cannot be read.*another folder"):
        trained(checkpoint=tmp_path)


class Exploding(Net):
    """Its loss is not finite from the sixth step on."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        scale = math.inf if self.calls > 5 else 1.0
        return tuple(scale * output for output in super().forward(x))


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    with pytest.raises(FloatingPointError, match=r"nan at step 6 of 12 .*rate 0\.00.*smaller lr"):
        trained(model=Exploding(), checkpoint=tmp_path, save_every=1)
    assert checkpoints.newest(tmp_path).name == "state-00000005"  # nothing poisoned was saved


class Interrupting(Squares):
    """Sends Ctrl-C while certain images are loaded; the first 13 are, to recognise the data."""

    def __init__(self, *at: int) -> None:
        super().__init__()
        self.loaded, self.at = 0, at

    def __getitem__(self, index):
        self.loaded += 1
        if self.loaded in self.at:
            os.kill(os.getpid(), signal.SIGINT)
        return super().__getitem__(index)


def test_ctrl_c_saves_the_state_and_says_how_to_continue(tmp_path):
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match=r"step 3 of 12.*Run the same again to continue"):
        trained(dataset=Interrupting(13 + 10), checkpoint=tmp_path)
    assert signal.getsignal(signal.SIGINT) is handler
    resumed, _ = trained(checkpoint=tmp_path)
    assert same_weights(trained()[0], resumed)


def test_a_second_ctrl_c_stops_at_once(tmp_path):
    with pytest.raises(KeyboardInterrupt) as stopped:
        trained(dataset=Interrupting(13 + 10, 13 + 11), checkpoint=tmp_path)
    assert str(stopped.value) == "" and checkpoints.newest(tmp_path) is None


def test_training_in_another_thread_works(tmp_path):
    result = []
    thread = threading.Thread(target=lambda: result.append(trained(checkpoint=tmp_path)[1]))
    thread.start()
    thread.join()
    assert isinstance(result[0], History) and result[0].finished


def test_labels_that_the_model_does_not_know_are_named():
    with pytest.raises(ValueError, match=r"expected labels in 0\.\.0 or 255, got 0\.\.1"):
        trained(model=net(classes=1))


def test_bf16_trains_beside_float32():
    full, _ = trained()
    half, history = trained(replace(RECIPE, precision="bf16"))
    assert all(p.dtype == torch.float32 for p in half.parameters())
    assert not same_weights(full, half) and all(map(math.isfinite, history.loss))


def test_channels_last_computes_the_same():
    # without dropout, whose mask follows the memory
    plain = Recipe(steps=3, batch=4, optimiser="sgd", lr=1e-2)
    one, _ = trained(plain, model=net(dropout=0.0))
    other, _ = trained(replace(plain, channels_last=True), model=net(dropout=0.0))
    assert other.backbone[0].weight.is_contiguous(memory_format=torch.channels_last)
    for a, b in zip(one.parameters(), other.parameters()):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_a_channels_last_run_resumes_to_the_last_bit(tmp_path):
    recipe = replace(RECIPE, channels_last=True)
    trained(recipe, checkpoint=tmp_path, stop_after=5)
    resumed, _ = trained(recipe, checkpoint=tmp_path)
    assert same_weights(trained(recipe)[0], resumed)


def test_a_batch_of_ignored_pixels_does_not_end_the_run():
    class Void(Squares):
        def __getitem__(self, index):
            image, labels = super().__getitem__(index)
            return image, torch.full_like(labels, 255)

    _, history = trained(dataset=Void())
    assert history.loss == [0.0] * 12


def test_nothing_is_written_where_nobody_watches(capfd, tmp_path):
    trained(checkpoint=tmp_path)
    assert capfd.readouterr() == ("", "")


def test_progress_on_request_shows_steps_and_time_left(capfd):
    class Slow(Squares):
        def __getitem__(self, index):
            time.sleep(0.02)
            return super().__getitem__(index)

    trained(dataset=Slow(), progress=True)
    shown = capfd.readouterr().err
    assert re.search(r"training: +\d+%.* \d+/12 \[00:00<00:\d\d, .*step/s, loss \d", shown)


def test_a_model_without_parameters_is_refused():
    with pytest.raises(ValueError, match="parameters that require gradients"):
        trained(model=nn.Identity())


class Unread(Squares):
    """No sample of it may be asked for."""

    def __getitem__(self, index):
        raise AssertionError("the work has begun")


def test_a_folder_that_cannot_be_used_is_said_before_the_work_begins(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=r"cannot be written to \(the file .* is in the way"):
            trained(dataset=Unread(), checkpoint=folder)
    with monkeypatch.context() as patched:
        patched.setattr(home.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
        with pytest.raises(OSError, match=r"are needed, 0 MB are free\): free some space"):
            trained(dataset=Unread(), checkpoint=tmp_path / "state")
    assert (tmp_path / "file").read_text() == "mine"


def test_what_else_lies_in_the_folder_stays(tmp_path):
    theirs = ["state-of-the-art/paper.txt", "state-1/notes", ".partial-mine", "notes.txt"]
    for name in theirs:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    trained(checkpoint=tmp_path, save_every=3)
    assert all((tmp_path / name).read_text() == "mine" for name in theirs)
    assert checkpoints.newest(tmp_path).name == "state-00000012"


def test_a_state_that_was_not_made_here_is_named_and_left_alone(tmp_path):
    (tmp_path / "state-00000003").mkdir()
    (tmp_path / "state-00000003" / "progress.json").write_text("{}")
    with pytest.raises(ValueError, match="state-00000003 has the name of a training state"):
        trained(dataset=Unread(), checkpoint=tmp_path)
    assert [p.name for p in (tmp_path / "state-00000003").iterdir()] == ["progress.json"]
