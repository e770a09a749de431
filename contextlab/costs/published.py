"""The convention in which the papers' tables were made (SRNet Table IV; a tool called torchstat).

=====================  ============================================  =====================
layer                  counted                                       not counted
=====================  ============================================  =====================
convolution            MACs, and one add an output for the bias
linear                 MACs                                          the bias
batch norm             2 an output element
ReLU and its kin       1 an output element
max and mean pooling   the input's elements
adaptive mean pooling  (cell size + 1) an output element
upsampling             h w of the output, not the channels
all others             nothing                                       soft-max, sigmoid, ...
=====================  ============================================  =====================

A layer that is called twice counts once (its last call), which is why the two ReLUs that a ResNet
bottleneck shares vanish from the baseline rows. Residual adds and functions are not seen. For heads
the authors added products, copies and affinities by hand; :class:`LayerRules` keeps both apart.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.pooling import _AdaptiveAvgPoolNd, _AvgPoolNd, _MaxPoolNd
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ._operators import VECTOR_PRODUCTS, written

_ATEN = torch.ops.aten
RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU)


def layer_flops(layer: nn.Module, x: Tensor, y: Tensor) -> int:
    """The tool's count for one call of a layer with input x and output y."""
    out = y.numel()
    if isinstance(layer, _ConvTransposeNd):
        weights = layer.out_channels // layer.groups * math.prod(layer.kernel_size)
        return x.numel() * weights + (out if layer.bias is not None else 0)
    if isinstance(layer, _ConvNd):
        weights = layer.in_channels // layer.groups * math.prod(layer.kernel_size)
        return out * (weights + (layer.bias is not None))
    if isinstance(layer, nn.Linear):
        return out * layer.in_features
    if isinstance(layer, _BatchNorm):
        return 2 * out
    if isinstance(layer, RECTIFIERS):
        return out
    if isinstance(layer, _AdaptiveAvgPoolNd):
        n = y.shape[:2].numel()
        cell = math.prod(i // o for i, o in zip(x.shape[2:], y.shape[2:]))
        return (cell + 1) * n * y.shape[2:].numel()
    if isinstance(layer, (_AvgPoolNd, _MaxPoolNd)):
        return x.numel()
    if isinstance(layer, nn.Upsample):
        return y.shape[0] * y.shape[2:].numel()
    return 0


class LayerRules(TorchDispatchMode):
    """Watches a forward pass: layers by the table above, the rest by its operators."""

    def __init__(self, module: object) -> None:
        super().__init__()
        self._layers = []
        if isinstance(module, nn.Module):
            self._layers = [m for m in module.modules() if _is_layer(m)]
        self._calls: dict[nn.Module, tuple[int, int]] = {}
        self._inside = 0
        self.functional_macs = self.functional_bytes = 0

    def __enter__(self):
        self._handles = []
        for layer in self._layers:
            self._handles.append(layer.register_forward_pre_hook(self._begin))
            self._handles.append(layer.register_forward_hook(self._end))
        return super().__enter__()

    def __exit__(self, *problem):
        for handle in self._handles:
            handle.remove()
        return super().__exit__(*problem)

    def totals(self, functional: bool) -> tuple[int, int]:
        """MACs ("FLOPs") and bytes, of the layers alone or with the operators between them."""
        macs = sum(m for m, _ in self._calls.values())
        size = sum(b for _, b in self._calls.values())
        if functional:
            macs, size = macs + self.functional_macs, size + self.functional_bytes
        return macs, size

    def _begin(self, layer: nn.Module, inputs: tuple) -> None:
        self._inside += 1

    def _end(self, layer: nn.Module, inputs: tuple, output: object) -> None:
        self._inside -= 1
        if isinstance(output, Tensor) and inputs and isinstance(inputs[0], Tensor):
            size = output.numel() * output.element_size()
            self._calls[layer] = layer_flops(layer, inputs[0], output), size

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if self._inside:
            return out
        self.functional_bytes += written(func, out)
        packet = func._overloadpacket
        if packet in flop_registry:
            self.functional_macs += flop_registry[packet](*args, **kwargs, out_val=out) // 2
        elif packet in VECTOR_PRODUCTS:
            self.functional_macs += args[VECTOR_PRODUCTS[packet]].numel()
        elif packet in (_ATEN.mul, _ATEN.mul_):
            if all(isinstance(a, Tensor) and a.ndim > 0 for a in args[:2]):  # not a mere scaling
                self.functional_macs += out.numel()
        elif packet is _ATEN.mean:
            self.functional_macs += args[0].numel() + out.numel()
        return out


def _is_layer(module: nn.Module) -> bool:
    """One of the framework's own layers without children. Identity hands its input through."""
    if isinstance(module, nn.Identity) or next(module.children(), None) is not None:
        return False
    return type(module).__module__.startswith("torch.nn.")
