"""Counting: multiply-accumulates, parameters and the bytes that a forward pass writes.

Nothing is computed: the module runs on fake tensors, which have a shape and a dtype and no values,
so a 768 x 768 image costs milliseconds. What the papers print as "FLOPs" are MACs throughout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedOperatorException,
)
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import (
    FlopCounterMode,
    flop_registry,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

from ._operators import VECTOR_PRODUCTS, written
from .published import LayerRules

CONVENTIONS = ("true", "published")
_NEEDS_VALUES = (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedOperatorException,
)
_NAMES = {
    "mm": "matrix product",
    "addmm": "matrix product",
    "bmm": "matrix product",
    "baddbmm": "matrix product",
    "mv": "matrix product",
    "addmv": "matrix product",
    "dot": "matrix product",
    "vdot": "matrix product",
}


@dataclass(frozen=True)
class Cost:
    """What one forward pass costs.

    Args:
        macs: multiply-accumulates (under "published": what the papers' tool calls FLOPs).
        parameters: learnable scalars.
        output_bytes: bytes of what the layers write.
        operators: MACs by kind of operator: "convolution", "matrix product", "attention".
        uncounted: custom operators that ran and have no formula; their MACs are missing.
    """

    macs: int
    parameters: int
    output_bytes: int
    operators: dict[str, int] = field(default_factory=dict, compare=False)
    uncounted: tuple[str, ...] = ()

    def row(self, **first: object) -> dict[str, object]:
        """A row for :class:`~contextlab.costs.Table`, in giga, mega and MiB."""
        return {
            **first,
            "MACs (G)": self.macs / 1e9,
            "parameters (M)": self.parameters / 1e6,
            "outputs (MiB)": self.output_bytes / 2**20,
        }

    def __str__(self) -> str:
        return (
            f"{self.macs / 1e9:,.4g} GMACs, {self.parameters:,} parameters, "
            f"{self.output_bytes / 2**20:,.1f} MiB of outputs"
        )


def count(
    module: nn.Module | Callable,
    *inputs: Tensor | tuple[int, ...],
    convention: str = "true",
    functional: bool = True,
) -> Cost:
    """Count one forward pass in evaluation mode, without running it.

    Args:
        module: a module, or any function of tensors.
        inputs: its inputs, as tensors or as shapes (float32). Values do not matter, and the module
            may stand on any device, ``meta`` included.
        convention: "true" counts the MACs of convolutions, linear layers, matrix products and
            fused attention, and the bytes of every tensor that an operator writes. "published"
            counts as the papers' tool does: a convolution its MACs and bias, a batch norm 2 and a
            ReLU 1 an element, a pooling its input, each layer once however often it is called;
            the bytes are the layers' outputs.
        functional: under "published", add what the module does outside layers (matrix products at
            one MAC each, products and means by the element, and what they write), as the papers
            do by hand for heads. False for a whole network, as they do for backbones.

    Returns:
        the :class:`Cost`.

    Raises:
        ValueError: an unknown convention, or inputs that are neither tensors nor shapes.

    Example:
        >>> cost = count(nn.Linear(64, 10), (32, 64))
        >>> cost.macs, cost.parameters, cost.output_bytes
        (20480, 650, 1280)
    """
    if convention not in CONVENTIONS:
        raise ValueError(f"expected as convention one of {CONVENTIONS}, got {convention!r}")
    for i, given in enumerate(inputs):
        if not isinstance(given, Tensor) and not _is_shape(given):
            kind = type(given).__name__
            raise ValueError(f"expected input {i} to be a tensor or a shape, got {kind}")
    parameters = 0
    if isinstance(module, nn.Module):
        parameters = sum(p.numel() for p in module.parameters())
    with _undisturbed(module), torch.no_grad():
        try:
            flops, seen = _watch(module, inputs, convention, fake=True)
        except _NEEDS_VALUES as reason:
            if not all(isinstance(x, Tensor) and not x.is_meta for x in inputs):
                raise ValueError(
                    "expected real tensors as inputs: this module looks at the values of its "
                    f"input, so shapes and meta tensors are not enough ({reason})"
                ) from None
            flops, seen = _watch(module, inputs, convention, fake=False)
    if isinstance(seen, LayerRules):
        macs, size = seen.totals(functional)
        return Cost(macs, parameters, size)
    operators: dict[str, int] = {}
    for operator, n in flops.get_flop_counts().get("Global", {}).items():
        kind = _kind(operator)
        operators[kind] = operators.get(kind, 0) + n // 2
    return Cost(sum(operators.values()), parameters, seen.bytes, operators, seen.uncounted)


def needed_macs(module: nn.Module, shape: tuple[int, ...], *, convolutions: bool = True) -> int:
    """MACs that the mathematics needs, wherever the module runs.

    :func:`count` counts what is run, and on a CPU a fused kernel may pad keys and values to one
    width. On the device ``meta`` nothing is padded.

    Args:
        module: a module on the device ``meta``; it is put into evaluation mode.
        shape: of its input.
        convolutions: False leaves the convolutions out, so that products and attention remain.

    Example:
        >>> needed_macs(nn.Conv2d(8, 4, 3, padding=1).to("meta"), (1, 8, 10, 10))
        28800
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval()(torch.empty(shape, device="meta"))
    by_operator = counter.get_flop_counts()["Global"].items()
    return sum(n for op, n in by_operator if convolutions or "convolution" not in str(op)) // 2


def _watch(module: Callable, inputs: tuple, convention: str, *, fake: bool) -> tuple:
    flops = FlopCounterMode(display=False, custom_mapping=_formulas())
    seen = LayerRules(module) if convention == "published" else _Writes()
    if not fake:
        with flops, seen:
            module(*inputs)
        return flops, seen

    def hollow(t: Tensor) -> Tensor:
        # a CPU tensor whatever the device: there, as on a GPU, fused attention is what runs
        return torch.empty(t.shape, dtype=t.dtype, device="cpu")

    with FakeTensorMode(allow_non_fake_inputs=True):
        arguments = [hollow(x) if isinstance(x, Tensor) else torch.empty(*x) for x in inputs]
        if not isinstance(module, nn.Module):
            with flops, seen:
                module(*arguments)
            return flops, seen
        state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        state = {name: hollow(t) for name, t in state.items()}
        with flops, seen:
            functional_call(module, state, tuple(arguments))
    return flops, seen


def _is_shape(given: object) -> bool:
    return isinstance(given, (tuple, list)) and all(isinstance(n, int) for n in given)


@contextmanager
def _undisturbed(module: Callable) -> Iterator[None]:
    """Evaluation mode without the fused transformer path, which counts as 0; then all as it was."""
    fast = torch.backends.mha.get_fastpath_enabled()
    modes = []
    if isinstance(module, nn.Module):
        modes = [(m, m.training) for m in module.modules()]
        module.eval()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for m, training in modes:
            m.training = training


class _Writes(TorchDispatchMode):
    """Adds up what the operators write: new tensors, not views and not in-place results."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes, self._custom = 0, set()

    @property
    def uncounted(self) -> tuple[str, ...]:
        return tuple(sorted(self._custom))

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.bytes += written(func, out)
        known = func.namespace in ("aten", "prim", "prims")
        if not known and func._overloadpacket not in flop_registry:
            self._custom.add(f"{func.namespace}::{func._opname}")
        return out


def _kind(operator: object) -> str:
    name = str(getattr(operator, "__name__", operator)).removeprefix("aten.")
    if "attention" in name:
        return "attention"
    return "convolution" if "conv" in name else _NAMES.get(name, name)


def _formulas() -> dict:
    """FLOPs of the operators that torch counts as 0, in all or in its older versions."""

    def product(position: int) -> Callable:
        return lambda *shapes, **_: 2 * math.prod(shapes[position])

    mapping = {packet: product(position) for packet, position in VECTOR_PRODUCTS.items()}
    # torch knows fused attention on a CPU from 2.10 on
    forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    if forward not in flop_registry:
        mapping[forward] = lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v)
        mapping[backward] = lambda out, q, k, v, *_, **__: sdpa_backward_flop_count(out, q, k, v)
    return mapping
