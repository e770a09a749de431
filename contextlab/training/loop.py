"""The training loop: the same lines on a CPU, on one GPU and on many."""

from __future__ import annotations

import math
import os
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
from contextlab.training.losses import segmentation_loss
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

    The result is a function of the model's first weights, the data and the recipe alone: a run that
    was killed and started again ends with the very weights of one that was not (on a CPU to the
    last bit; a GPU adds in an order of its own).

    Args:
        model: maps ``b 3 h w`` to logits, or to (logits, auxiliary logits) in training mode.
        dataset: yields ``(image, labels)`` and has a length.
        recipe: the numbers.
        checkpoint: a folder for the state of this run. A state found there is continued. ``None``
            keeps nothing.
        save_every: steps between two saved states.
        progress: draw a bar; ``None`` draws one where a person is watching.
        stop_after: end this call after so many steps of the run, state saved, as an interruption.
        tag: what else the result depends on; a state of another tag is refused.

    Returns:
        The history, of earlier parts of the run too.

    Raises:
        ValueError: the checkpoint belongs to another recipe, model, data set or tag, or is damaged.
        FloatingPointError: the loss is not finite.
        KeyboardInterrupt: stopped by Ctrl-C, with the state saved.
    """
    accelerator = _accelerator()
    world, device = accelerator.num_processes, accelerator.device
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    model.to(device=device, memory_format=layout).train()
    identity = recipe.hash(checkpoints.signature(model), str(len(dataset)), tag, str(world))
    with _own_randomness(recipe.seed, accelerator.process_index):
        network, optimiser = accelerator.prepare(model, build_optimiser(model, recipe))
        history = History(steps=recipe.steps)
        if checkpoint is not None:
            history = _resume(accelerator, Path(checkpoint), identity, history)
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
                images, labels = next(source)
                images = images.to(device, non_blocking=True, memory_format=layout)
                labels = labels.to(device, non_blocking=True)
                valid = (labels != getattr(dataset, "ignore_index", 255)).sum().clamp(min=1)
                if world > 1:
                    valid = accelerator.reduce(valid.float(), "mean")
                with torch.autocast(device.type, torch.bfloat16, recipe.precision == "bf16"):
                    output = network(images)
                if step == 0:
                    _check_labels(output, labels, getattr(dataset, "ignore_index", 255))
                loss = segmentation_loss(
                    output,
                    labels,
                    ignore_index=getattr(dataset, "ignore_index", 255),
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
                    _save(accelerator, Path(checkpoint), identity, history)
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


def _accelerator():
    from accelerate import Accelerator

    # Without a GPU accelerate has to be told, or every process of torchrun would train alone.
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return Accelerator(cpu=several and not torch.cuda.is_available())


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


def _resume(accelerator, folder: Path, identity: str, fresh: History) -> History:
    """Continue the newest state of a folder, if there is one."""
    if accelerator.is_main_process:
        checkpoints.sweep(folder)
    accelerator.wait_for_everyone()
    state = checkpoints.newest(folder)
    if state is None:
        return fresh
    progress = checkpoints.read_progress(state)
    if progress.get("identity") != identity:
        raise ValueError(
            f"the training state {state} is of another recipe, model, data set or number of "
            f"processes ({progress.get('identity')} instead of {identity}): give the settings that "
            "it was made with to continue it, or delete this folder to start anew"
        )
    try:
        accelerator.load_state(str(state))
    except Exception as error:
        raise checkpoints.damaged(state, error) from error
    return History(**progress["history"])


def _save(accelerator, folder: Path, identity: str, history: History) -> None:
    checkpoints.save_state(
        folder,
        history.done,
        {"identity": identity, "history": asdict(history)},
        lambda partial: accelerator.save_state(str(partial)),
        main=accelerator.is_main_process,
        wait=accelerator.wait_for_everyone,
    )


def _check_labels(output, labels: torch.Tensor, ignore_index: int) -> None:
    classes = (output[0] if isinstance(output, tuple) else output).shape[1]
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
