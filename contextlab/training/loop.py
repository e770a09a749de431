"""The training loop: the same lines on a CPU, on one GPU and on many."""

from __future__ import annotations

import math
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from contextlab.training import checkpoints
from contextlab.training.alone import accelerator as own_accelerator
from contextlab.training.identity import differences, fingerprints, identity, moved
from contextlab.training.losses import answers, segmentation_loss
from contextlab.training.optimisers import optimiser as build_optimiser
from contextlab.training.progress import bar as progress_bar
from contextlab.training.recipe import Recipe
from contextlab.training.samples import batches
from contextlab.training.schedules import poly

DROPOUT = 2  # a stream of random numbers beside those of `samples`
GPU_CHECK = 20  # steps between two looks at the loss on a GPU, where each look waits for it


@dataclass
class History:
    """The course of a training run.

    Args:
        loss: of every step, averaged over all processes.
        lr: base learning rate of every step.
        seconds: spent on the steps, over all parts of an interrupted run.
        steps: the length of the schedule.
    """

    loss: list[float] = field(default_factory=list, repr=False)
    lr: list[float] = field(default_factory=list, repr=False)
    seconds: float = 0.0
    steps: int = 0

    @property
    def done(self) -> int:
        """Steps taken so far."""
        return len(self.loss)

    @property
    def finished(self) -> bool:
        """Whether the schedule came to its end."""
        return self.done == self.steps


def fit(
    model: nn.Module,
    dataset,
    recipe: Recipe,
    *,
    checkpoint: str | Path | None = None,
    save_every: int = 50,
    progress: bool | None = None,
    stop_after: int | None = None,
    tag: str = "",
) -> History:
    """Train a model in place.

    The result is a function of the model's first weights, the data and the recipe alone, whatever
    settings of accelerate are in force: a run that was killed and started again ends with the very
    weights of one that was not (on a CPU to the last bit; a GPU adds in an order of its own).

    A saved state is continued by the run that it is of, and refused by any other: another recipe,
    number of processes or tag, other settings, code or first weights of the network, other classes
    or other data. Of the data its length and 32 samples are looked at. What else changes (a few
    other samples, code outside of the network's classes) needs a ``tag`` of its own.

    Args:
        model: maps ``b 3 h w`` to logits, or to (logits, auxiliary logits) in training mode, or to
            the dict of torchvision's segmentation models. It may be compiled; with several
            processes its plain network is trained.
        dataset: yields ``(image, labels)`` and has a length; each sample is looked at, see
            `samples.check`.
        recipe: the numbers.
        checkpoint: a folder for the state of this run. A state found there is continued. ``None``
            keeps nothing. Whatever else lies in the folder is left alone.
        save_every: steps between two saved states.
        progress: draw a bar; ``None`` draws one where a person is watching.
        stop_after: end this call after so many steps of the run, state saved, as an interruption.
        tag: what else the result depends on; a state of another tag is refused.

    Returns:
        The history, of earlier parts of the run too.

    Raises:
        ValueError: the checkpoint belongs to another run, and the message says what differs, or is
            damaged; a sample of the data set is not as it should be, and the message has its index.
        OSError: the state cannot be stored; said before the first step where it can be known.
        FloatingPointError: the loss is not finite.
        KeyboardInterrupt: stopped by Ctrl-C, with the state saved.
    """
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        raise ValueError(
            f"expected the plain network, got it in {type(model).__name__}: pass its .module, fit "
            "shares the work among the processes by itself"
        )
    inner = checkpoints.plain(model)
    # whatever the caller switched off around the call
    with own_accelerator(inner) as accelerator, torch.inference_mode(False), torch.enable_grad():
        return _fit(
            accelerator,
            model,
            inner,
            dataset,
            recipe,
            checkpoint=None if checkpoint is None else Path(checkpoint),
            save_every=save_every,
            progress=progress,
            stop_after=stop_after,
            tag=tag,
        )


def _fit(
    accelerator,
    model: nn.Module,
    inner: nn.Module,
    dataset,
    recipe: Recipe,
    *,
    checkpoint: Path | None,
    save_every: int,
    progress: bool | None,
    stop_after: int | None,
    tag: str,
) -> History:
    world, device = accelerator.num_processes, accelerator.device
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    ignore_index = getattr(dataset, "ignore_index", 255)
    history, who = History(steps=recipe.steps), None
    if checkpoint is not None:
        if accelerator.is_main_process:
            checkpoints.prepare(checkpoint, need=_size(inner, recipe))
        who = identity(inner, dataset, recipe, tag=tag, world=world)
    model.to(device=device, memory_format=layout).train()
    with _own_randomness(recipe.seed, accelerator.process_index):
        network, optimiser = accelerator.prepare(inner, build_optimiser(inner, recipe))
        if network is inner:
            network = model  # compiled, if it was
        if checkpoint is not None:
            history, who = _resume(accelerator, checkpoint, who, history)
        last = recipe.steps if stop_after is None else min(stop_after, recipe.steps)
        source = batches(
            dataset,
            recipe,
            start=history.done,
            rank=accelerator.process_index,
            world=world,
            pin=device.type == "cuda",
        )
        losses = _Losses(history, recipe, every=GPU_CHECK if device.type == "cuda" else 1)
        show = progress if accelerator.is_main_process else False
        bar = progress_bar(recipe.steps, done=history.done, show=show)
        # With several processes a signal reaches each at another step: there the last state counts.
        catch = checkpoint is not None and world == 1
        began, before = time.perf_counter(), history.seconds
        with _interruptible(catch) as interrupted, bar:
            for step in range(history.done, last):
                factor = poly(step, recipe.steps, power=recipe.power, warmup=recipe.warmup)
                for group in optimiser.param_groups:
                    group["lr"] = group["initial_lr"] * factor
                images, truth = next(source)
                images = images.to(device, non_blocking=True, memory_format=layout)
                labels = truth.to(device, non_blocking=True)
                valid = (labels != ignore_index).sum().clamp(min=1)
                if world > 1:
                    valid = accelerator.reduce(valid.float(), "mean")
                with torch.autocast(device.type, torch.bfloat16, recipe.precision == "bf16"):
                    output = network(images)
                _check_classes(output, truth, dataset, ignore_index)
                loss = segmentation_loss(
                    output,
                    labels,
                    ignore_index=ignore_index,
                    auxiliary_weight=recipe.auxiliary_weight,
                    ohem=recipe.ohem,
                    ohem_auxiliary=recipe.ohem_auxiliary,
                    valid=valid,
                    gather=accelerator.gather if world > 1 else None,
                )
                shared = loss.detach()
                losses.add(accelerator.reduce(shared, "mean") if world > 1 else shared, factor)
                accelerator.backward(loss)
                optimiser.step()
                optimiser.zero_grad()
                bar.set_postfix_str(losses.latest, refresh=False)
                bar.update()
                asked = interrupted()  # once: a signal may come while the state is being saved
                due = asked or step + 1 == last or (step + 1) % save_every == 0
                if checkpoint is not None and due:
                    losses.look()
                    history.seconds = before + time.perf_counter() - began
                    _save(accelerator, checkpoint, who, history, inner)
                if asked:
                    raise KeyboardInterrupt(
                        f"stopped after step {step + 1} of {recipe.steps}; the state is saved in "
                        f"{checkpoint}. Run the same again to continue."
                    )
        if checkpoint is None:
            losses.look()
            history.seconds = before + time.perf_counter() - began
        accelerator.wait_for_everyone()
    return history


class _Losses:
    """Collects the losses, and looks at them every few steps without holding a GPU up."""

    def __init__(self, history: History, recipe: Recipe, every: int) -> None:
        self.history, self.recipe, self.every = history, recipe, every
        self.pending: list[tuple[torch.Tensor, float]] = []
        self.latest = ""

    def add(self, loss: torch.Tensor, factor: float) -> None:
        self.pending.append((loss, self.recipe.lr * factor))
        if len(self.pending) >= self.every:
            self.look()

    def look(self) -> None:
        if not self.pending:
            return
        values = torch.stack([loss for loss, _ in self.pending]).double().tolist()
        rates = [lr for _, lr in self.pending]
        self.pending.clear()
        for value, lr in zip(values, rates):
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"the loss became {value} at step {self.history.done + 1} of "
                    f"{self.recipe.steps} (learning rate {lr:.3g}). Try a smaller lr, a longer "
                    "warmup, or precision='no' if it was 'bf16'; and look for images that are not "
                    "finite."
                )
            self.history.loss.append(value)
            self.history.lr.append(lr)
        self.latest = f"loss {values[-1]:.3f}"


def _resume(accelerator, folder: Path, who: dict, fresh: History) -> tuple[History, dict]:
    """Continue the newest state of a folder, if there is one, as the run that began there."""
    if accelerator.is_main_process:
        checkpoints.tidy(folder)
    accelerator.wait_for_everyone()
    while (state := checkpoints.newest(folder)) is not None:
        try:
            progress = checkpoints.read_progress(state)
            _check_run(state, progress, who)
            accelerator.load_state(str(state))
            return History(**progress["history"]), progress["identity"]
        except Exception as error:
            if checkpoints.newest(folder) != state:
                continue  # another process that trains this run has replaced it meanwhile
            if isinstance(error, _OtherRun):
                raise ValueError(str(error)) from None
            raise checkpoints.damaged(state, error) from error
    return fresh, who


class _OtherRun(ValueError):
    """A state is not of the run at hand."""


def _check_run(state: Path, progress: dict, who: dict) -> None:
    other = differences(
        progress["identity"], who, ended=progress["weights"], moving=progress["moving"]
    )
    if other:
        raise _OtherRun(
            f"the training state {state} is of another run: {'; '.join(other[:3])}"
            f"{f'; and {len(other) - 3} more differences' if len(other) > 3 else ''}. Give the "
            "settings that it was made with to continue it, or another folder to begin anew"
        )


def _save(accelerator, folder: Path, who: dict, history: History, model: nn.Module) -> None:
    from accelerate.utils import broadcast_object_list

    def share(word: str) -> str:
        return broadcast_object_list([word])[0] if accelerator.num_processes > 1 else word

    state = checkpoints.newest(folder) if accelerator.is_main_process else None
    if state is not None and _identity(state) not in (None, who):
        raise ValueError(
            f"another run is being trained in {folder}: give each run a folder of its own"
        )
    progress = {
        "identity": who,
        "history": asdict(history),
        "weights": fingerprints(model),
        "moving": moved(who["network"], model),
    }
    checkpoints.save_state(
        folder,
        history.done,
        progress,
        lambda beside: accelerator.save_state(str(beside)),
        main=accelerator.is_main_process,
        share=share,
    )


def _identity(state: Path) -> dict | None:
    try:
        return checkpoints.read_progress(state).get("identity")
    except ValueError:  # replaced meanwhile by another process that trains the same
        return None


def _size(model: nn.Module, recipe: Recipe) -> int:
    """Bytes of two training states: one stays until the next is whole."""
    weights = sum(p.numel() * p.element_size() for p in model.state_dict().values())
    return 2 * weights * (3 if recipe.optimiser == "adamw" else 2)


def _check_classes(output, labels: torch.Tensor, dataset, ignore_index: int) -> None:
    """Hold the labels of a batch against the classes of the model's answer.

    Where the model has all the classes that the data set names, each sample was looked at already.
    """
    classes = answers(output)[0].shape[1]
    if classes >= len(getattr(dataset, "classes", ())) > 0:
        return
    found = labels[labels != ignore_index]
    if len(found) and (found.min() < 0 or found.max() >= classes):
        raise ValueError(
            f"expected labels in 0..{classes - 1} or {ignore_index}, got "
            f"{int(found.min())}..{int(found.max())}: the model has {classes} classes"
        )


@contextmanager
def _own_randomness(seed: int, process: int) -> Iterator[None]:
    """Seed for dropout and the like, and give the caller's random numbers back afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    first = int(np.random.SeedSequence((seed, DROPOUT, process)).generate_state(1)[0])
    try:
        with torch.random.fork_rng():
            torch.manual_seed(first)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def _interruptible(catch: bool) -> Iterator:
    """Hold the first Ctrl-C back until the step is done; a second one stops at once."""
    heard: list[int] = []
    if not catch or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    previous = signal.getsignal(signal.SIGINT)

    def note(number, frame) -> None:
        if heard:
            raise KeyboardInterrupt
        heard.append(number)

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(heard)
    finally:
        signal.signal(signal.SIGINT, previous)
