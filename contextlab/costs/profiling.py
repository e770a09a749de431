"""Profiling: which operators of torch a forward and a backward pass spend their time in."""

from __future__ import annotations

import copy
import gc
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from .counting import _is_shape, _undisturbed
from .measuring import _device_of, profiler
from .table import Table

PASSES = ("forward", "backward")
ENGINE = "autograd engine"
_ENGINE = re.compile(r"autograd::|\w*Backward\d*$")
# they find memory for the operator that calls them: their time and bytes are that one's
_ALLOCATE = re.compile(r"aten::(new_)?empty(_like|_strided)?$|aten::resize_(as_)?$")


@dataclass(frozen=True)
class Operator:
    """One operator of torch in one pass.

    Args:
        direction: "forward" or "backward".
        name: as torch's profiler has it, without ``aten::``; "autograd engine" is what the engine
            itself takes between the operators of a backward pass.
        calls: in one pass.
        seconds: self time of all calls of one pass.
        bytes: that the calls of one pass allocated and did not free themselves.
    """

    direction: str
    name: str
    calls: int
    seconds: float
    bytes: int


@dataclass(frozen=True)
class Profile:
    """The operators of a forward and a backward pass; it prints and shows as its table.

    Args:
        operators: forward before backward, in each the longest first.
        device: where they ran, "cpu" or "cuda".
        repeats: passes that were averaged.
    """

    operators: tuple[Operator, ...]
    device: str
    repeats: int

    def total(self, direction: str) -> Operator:
        """All operators of "forward" or "backward" together."""
        mine = [o for o in self.operators if o.direction == direction]
        if not mine:
            have = tuple(dict.fromkeys(o.direction for o in self.operators))
            raise ValueError(f"expected a pass of {have}, got {direction!r}")
        sums = (sum(getattr(o, key) for o in mine) for key in ("calls", "seconds", "bytes"))
        return Operator(direction, "total", *sums)

    def share(self, operator: Operator) -> float:
        """Its part of the time of all passes together, 0 to 1."""
        return operator.seconds / sum(o.seconds for o in self.operators)

    def table(self, most: int | None = 8) -> Table:
        """Operator, calls, share of the whole time and memory, each pass with its total.

        Args:
            most: operators of each pass, the longest; the others are one row. ``None`` shows all.

        Raises:
            ValueError: ``most`` below 1.
        """
        if most is not None and most < 1:
            raise ValueError(f"expected most of 1 or more, or None, got {most}")
        rows = []
        for direction in dict.fromkeys(o.direction for o in self.operators):
            mine = [o for o in self.operators if o.direction == direction]
            shown, rest = mine[:most], mine[len(mine[:most]) :]
            if rest:
                sums = (sum(getattr(o, key) for o in rest) for key in ("calls", "seconds", "bytes"))
                shown.append(Operator(direction, f"{len(rest)} others", *sums))
            rows += [self._row(o) for o in (*shown, self.total(direction))]
        seconds = sum(o.seconds for o in self.operators)
        title = f"{1e3 * seconds:,.4g} ms of operators on {self.device}, mean of {self.repeats}"
        return Table(rows, digits=3, title=title)

    def _row(self, operator: Operator) -> dict:
        return {
            "pass": operator.direction,
            "operator": operator.name,
            "calls": operator.calls,
            "time share": self.share(operator),
            "memory (MiB)": operator.bytes / 2**20,
        }

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def profile(
    module: nn.Module | Callable,
    *inputs: Tensor | tuple[int, ...],
    backward: bool = True,
    device: str | torch.device | None = None,
    repeats: int = 3,
) -> Profile:
    """Which operators a forward and a backward pass call, how long each takes and what it holds.

    Time is *self* time: of an operator without those that it calls in turn, so that the shares of
    all rows sum to 1. ``conv2d`` calls ``convolution`` which calls the kernel, and only the kernel
    takes long. On a CPU it is the time between an operator's begin and end, on CUDA the time of
    the kernels that it launched. What finds memory (``empty``) counts with the operator that
    called it. Memory is what an operator allocated and did not free itself; it was not all held at
    once, see :func:`~contextlab.costs.measure` for the peak.

    Times differ from call to call and machine to machine, and recording lengthens small operators
    the most. The module runs in evaluation mode and is left as it was, its gradients too.

    Args:
        module: a module, or any function of tensors.
        inputs: its inputs, as tensors or as shapes (float32, normal random numbers).
        backward: run the backward pass as well, of the sum of the outputs.
        device: "cpu" or "cuda"; a copy of the module runs there. By default where the module is.
        repeats: recorded passes, after one that is not.

    Returns:
        the :class:`Profile`.

    Raises:
        ValueError: inputs that are neither tensors nor shapes, fewer than one repeat, another
            device, one that is not there, or an output that has no gradient where one is asked.

    Example:
        >>> found = profile(nn.Conv2d(8, 4, 3), (1, 8, 10, 10), repeats=1)
        >>> [o.calls for o in found.operators if o.name == "convolution_backward"]
        [1]
    """
    if repeats < 1:
        raise ValueError(f"expected repeats of 1 or more, got {repeats}")
    for i, given in enumerate(inputs):
        if not isinstance(given, Tensor) and not _is_shape(given):
            kind = type(given).__name__
            raise ValueError(f"expected input {i} to be a tensor or a shape, got {kind}")
    state = [*module.parameters(), *module.buffers()] if isinstance(module, nn.Module) else []
    at = _device_of((state, inputs)) if device is None else torch.device(device)
    if at.type not in ("cpu", "cuda"):
        raise ValueError(f"expected a module on, or as device, cpu or cuda, got {at}")
    if at.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"expected a device that is there, got {at} on a machine without CUDA")
    if any(t.device.type != at.type for t in state):
        module = copy.deepcopy(module).to(at)
    numbers = torch.Generator().manual_seed(0)
    inputs = tuple(
        x.detach().to(at) if isinstance(x, Tensor) else torch.randn(x, generator=numbers).to(at)
        for x in inputs
    )
    with _undisturbed(module), torch.inference_mode(False), _no_collection():
        return Profile(tuple(_run(module, inputs, backward, at, repeats)), at.type, repeats)


def _run(
    module: Callable, inputs: tuple, backward: bool, at: torch.device, repeats: int
) -> Iterator[Operator]:
    if not backward:
        with torch.no_grad():
            module(*inputs)
            with profiler(cuda=at.type == "cuda") as record:
                for _ in range(repeats):
                    module(*inputs)
                _wait(at)
        yield from _operators("forward", record, repeats)
        return
    inputs = tuple(x.requires_grad_() if x.is_floating_point() else x for x in inputs)
    wanted = [x for x in inputs if x.requires_grad]
    if isinstance(module, nn.Module):
        wanted += [p for p in module.parameters() if p.requires_grad]
    with torch.enable_grad():
        held = _differentiable(module(*inputs))
        if not held:
            raise ValueError("expected an output with a gradient, got none: pass backward=False")
        seeds = [torch.ones_like(y) for y in held]

        def back() -> tuple:
            # no .grad is written, and the graph stays: what is freed here was allocated here
            return torch.autograd.grad(held, wanted, seeds, retain_graph=True, allow_unused=True)

        back()
        _wait(at)
        with profiler(cuda=at.type == "cuda") as forward:
            for _ in range(repeats):
                module(*inputs)
            _wait(at)
        with profiler(cuda=at.type == "cuda") as record:
            for _ in range(repeats):
                back()
            _wait(at)
    yield from _operators("forward", forward, repeats)
    yield from _operators("backward", record, repeats)


def _differentiable(output: object) -> list[Tensor]:
    return [y for y in tree_leaves(output) if isinstance(y, Tensor) and y.requires_grad]


def _wait(at: torch.device) -> None:
    if at.type == "cuda":
        torch.cuda.synchronize(at)


@contextmanager
def _no_collection() -> Iterator[None]:
    """What others left to the garbage collector must not be freed while operators are recorded."""
    on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def _operators(direction: str, record: torch.profiler.profile, repeats: int) -> list[Operator]:
    cuda = torch.profiler.ProfilerActivity.CUDA in record.activities
    found: dict[str, list] = {}
    for event in record.events():
        if event.device_type != torch.autograd.DeviceType.CPU:
            continue  # a kernel: it counts with the operator that launched it
        owner = event
        while _ALLOCATE.match(owner.name) and owner.cpu_parent is not None:
            owner = owner.cpu_parent
        name = ENGINE if _ENGINE.match(owner.name) else owner.name.removeprefix("aten::")
        if name == owner.name and "::" not in name:
            continue  # no operator: calls of the driver, what is freed in between
        sums = found.setdefault(name, [0, 0.0, 0])
        sums[0] += owner is event
        time = event.self_device_time_total if cuda else event.self_cpu_time_total
        size = event.self_device_memory_usage if cuda else event.self_cpu_memory_usage
        sums[1] += time / 1e6
        sums[2] += max(size, 0)
    operators = [
        Operator(direction, name, round(calls / repeats), seconds / repeats, round(size / repeats))
        for name, (calls, seconds, size) in found.items()
    ]
    return sorted(operators, key=lambda o: (-o.seconds, o.name))
