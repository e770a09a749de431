"""Measuring: seconds (a median, with its spread) and the peak of the memory."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from .counting import _is_shape


@dataclass(frozen=True)
class Measurement:
    """What a call took.

    Args:
        seconds: median over the repeats.
        spread: distance between the quartiles of the repeats, in seconds.
        peak_bytes: most memory held at once above what was held before, its result included;
            None where the device does not tell (MPS), or when not asked for.
        repeats: number of timed calls.
    """

    seconds: float
    spread: float
    peak_bytes: int | None
    repeats: int

    def row(self, **first: object) -> dict[str, object]:
        """A row for :class:`~contextlab.costs.Table`, in milliseconds and MiB."""
        peak = None if self.peak_bytes is None else self.peak_bytes / 2**20
        return {**first, "time (ms)": 1e3 * self.seconds, "peak (MiB)": peak}

    def __str__(self) -> str:
        text = f"{1e3 * self.seconds:,.2f} ms (spread {1e3 * self.spread:,.2f} ms)"
        if self.peak_bytes is None:
            return text
        return f"{text}, peak {self.peak_bytes / 2**20:,.1f} MiB"


def measure(
    function: Callable,
    *args: object,
    repeats: int = 7,
    warmup: int = 1,
    memory: bool = True,
    device: str | torch.device | None = None,
) -> Measurement:
    """Time a function and find its peak memory.

    Gradients are recorded as they are outside: wrap the call in ``torch.no_grad()`` for inference.

    Args:
        function: what to call.
        args: its arguments; a module takes shapes too, as :func:`count` does, and is then given
            normal noise where its parameters lie.
        repeats: timed calls, of which the median is taken.
        warmup: calls before them that are not timed.
        memory: measure the peak as well, in one more call.
        device: where the work is done; by default where the arguments or the result are.

    Returns:
        the :class:`Measurement`. On a CPU the peak comes from the allocator's events, so that it
        is exact and repeatable; on CUDA from the caching allocator's counters.

    Raises:
        ValueError: fewer than one repeat, or a negative warm-up.

    Example:
        >>> a = torch.zeros(256, 1024)
        >>> measure(a.sin, repeats=3).peak_bytes == 256 * 1024 * 4
        True
    """
    if repeats < 1 or warmup < 0:
        raise ValueError(f"expected repeats >= 1 and warmup >= 0, got {repeats} and {warmup}")
    if isinstance(function, nn.Module):  # of any other function a tuple may be just a tuple
        args = tuple(_noise(function, x) if _is_shape(x) else x for x in args)
    result = None
    for _ in range(warmup):
        result = function(*args)
    device = torch.device(device) if device is not None else _device_of((args, result))
    del result
    seconds = []
    for _ in range(repeats):
        _wait(device)
        start = time.perf_counter()
        result = function(*args)
        _wait(device)
        seconds.append(time.perf_counter() - start)
        del result
    low, middle, high = (
        statistics.quantiles(seconds, n=4, method="inclusive") if repeats > 1 else seconds * 3
    )
    peak = _peak(function, args, device) if memory else None
    return Measurement(middle, high - low, peak, repeats)


def _noise(module: nn.Module, shape: tuple[int, ...]) -> torch.Tensor:
    like = next(chain(module.parameters(), module.buffers()), torch.empty(0))
    return torch.randn(shape, dtype=like.dtype, device=like.device)


def _peak(function: Callable, args: tuple, device: torch.device) -> int | None:
    gc.collect()  # what is freed during the call must have been allocated in it
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        result = function(*args)
        torch.cuda.synchronize(device)
        del result
        return torch.cuda.max_memory_allocated(device) - before
    if device.type != "cpu":
        return None
    with profiler() as profile:
        result = function(*args)
    del result
    events = profile.profiler.kineto_results.events()
    held = peak = 0
    for _, size in sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"):
        held += size
        peak = max(peak, held)
    return peak


def _device_of(values: object) -> torch.device:
    tensors = [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
    return next((t.device for t in tensors if t.device.type != "cpu"), torch.device("cpu"))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def profiler(*, cuda: bool = False) -> torch.profiler.profile:
    """torch's profiler with the memory, silent on a build that finds no GPU."""
    # the profiler of a CUDA build without a GPU would write to stderr
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    activities = [torch.profiler.ProfilerActivity.CPU]
    if cuda:
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    return torch.profiler.profile(activities=activities, profile_memory=True)
