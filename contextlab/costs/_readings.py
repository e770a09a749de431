"""What the authors probably counted: the layers of a published row, and what was added by hand.

A reading is not a method; the methods are in ``contextlab.modules``. It is a list of layers, each
with the shape that enters it, whose counts (see ``published.py``) and outputs add up, and of what
no layer does: products at one MAC each, and tensors that functions write. The layers' outputs are
in MiB (2**20 bytes) and the tensors in MB (10**6): only this mixture gives the printed numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from contextlab.backbones import DilatedResNet
from contextlab.backbones.course import conv_bn_relu
from contextlab.backbones.efficientformer import AnySizeAttention
from contextlab.modules import CBAM, RectangularAttention, SqueezeExcite, context
from contextlab.modules.graph_guided import edges
from contextlab.networks.classification import NodeGate

from .published import layer_flops

SIDE = 96  # the map of a 768 x 768 image at output stride 8
N = SIDE * SIDE
HALF = 256 * N  # elements of a map of 256 channels
MAP = 512 * N  # elements of a map of 512 channels


@dataclass
class Reading:
    """Layers with the shape of their input, and what was added by hand.

    Args:
        layers: (layer, shape of its input) for every call that counts.
        products: MACs of matrix products and element-wise work outside layers.
        tensors: sizes, in elements, of the tensors that functions write.
        times: how often the whole is run with the same weights.
        scalars: parameters that stand in no layer.
    """

    layers: list[tuple[nn.Module, tuple[int, ...]]] = field(default_factory=list)
    products: int = 0
    tensors: tuple[int, ...] = ()
    times: int = 1
    scalars: int = 0

    def __post_init__(self) -> None:
        self.flops, self.layer_bytes = self.products, 0
        for layer, shape in self.layers:
            x = torch.empty(shape, device="meta")
            y = layer.to("meta").eval()(x)
            self.flops += layer_flops(layer, x, y)
            self.flops += y.numel() if isinstance(layer, nn.GroupNorm) else 0
            self.layer_bytes += 4 * y.numel()
        self.flops *= self.times

    @property
    def parameters(self) -> int:
        """Learnable scalars; a layer that is called twice has its own once."""
        layers = {id(layer): layer for layer, _ in self.layers}.values()
        return self.scalars + sum(p.numel() for layer in layers for p in layer.parameters())

    @property
    def memory(self) -> float:
        """The printed unit: the layers' MiB plus the tensors' MB."""
        return self.times * (self.layer_bytes / 2**20 + 4 * sum(self.tensors) / 1e6)


def conv(
    i: int, o: int, kernel: int = 1, *, side=SIDE, bias=False, norm=True, relu=True, groups=1
) -> list[tuple[nn.Module, tuple[int, ...]]]:
    """Convolution, batch norm and ReLU on a square map, as calls to count."""
    layer = nn.Conv2d(i, o, kernel, padding=kernel // 2, bias=bias, groups=groups)
    shape = (1, o, side, side)
    calls = [(layer, (1, i, side, side))]
    calls += [(nn.BatchNorm2d(o), shape)] * norm + [(nn.ReLU(), shape)] * relu
    return calls


def attention_like(bias: bool) -> list[tuple[nn.Module, tuple[int, ...]]]:
    """Three projections 512 to 256 with norm and ReLU, and one back with norm: 117 MiB."""
    inward = [call for _ in range(3) for call in conv(512, 256, bias=bias)]
    return inward + conv(256, 512, bias=bias, relu=False)


def dilated_fcn() -> Reading:
    """ResNet-50 at output stride 8 with the stem 64-64-128; the ReLU that a bottleneck calls
    three times counts once, and so do the bytes of what it writes."""
    stem = [*conv(3, 64, 3, side=768), *conv(64, 64, 3, side=384), *conv(64, 128, 3, side=384)]
    first = nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False)
    calls = [(first, (1, 3, 768, 768)), *((layer, (1, 64, 384, 384)) for layer, _ in stem[1:3])]
    calls += stem[3:]
    calls.append((nn.MaxPool2d(3, 2, 1), (1, 128, 384, 384)))
    width, side = 128, 192
    for blocks, inner, stride in ((3, 64, 1), (4, 128, 2), (6, 256, 1), (3, 512, 1)):
        for block in range(blocks):
            step = stride if block == 0 else 1
            out = side // step
            middle = nn.Conv2d(inner, inner, 3, stride=step, padding=1, bias=False)
            calls += conv(width, inner, side=side, relu=False)
            calls += [
                (middle, (1, inner, side, side)),
                (nn.BatchNorm2d(inner), (1, inner, out, out)),
            ]
            calls += conv(inner, 4 * inner, side=out)
            if block == 0:
                skip = nn.Conv2d(width, 4 * inner, 1, stride=step, bias=False)
                shape = (1, 4 * inner, out, out)
                calls += [(skip, (1, width, side, side)), (nn.BatchNorm2d(4 * inner), shape)]
            width, side = 4 * inner, out
    return Reading(calls)


def aspp() -> Reading:
    """1x1, three 3x3 and the pooled branch, 256 wide, and a 1x1 over the five of them."""
    calls = [*conv(2048, 256), *(call for _ in range(3) for call in conv(2048, 256, 3))]
    calls += [(nn.AdaptiveAvgPool2d(1), (1, 2048, SIDE, SIDE)), *conv(2048, 256, side=1)]
    calls += [(nn.Upsample(size=(SIDE, SIDE)), (1, 256, 1, 1)), *conv(5 * 256, 256)]
    return Reading(calls, tensors=(5 * 256 * N,))


def psp() -> Reading:
    """Bins 1, 2, 3, 6 and a 3x3 bottleneck; the concatenation counted as five maps of 512."""
    calls = []
    for bins in (1, 2, 3, 6):
        calls += [(nn.AdaptiveAvgPool2d(bins), (1, 2048, SIDE, SIDE)), *conv(2048, 512, side=bins)]
        calls.append((nn.Upsample(size=(SIDE, SIDE)), (1, 512, bins, bins)))
    return Reading([*calls, *conv(4096, 512, 3)], tensors=(5 * MAP,))


def two_convolutions() -> Reading:
    """A 3x3 from 2048 to 512 and one on 512."""
    return Reading([*conv(2048, 512, 3), *conv(512, 512, 3)])


def squeeze_excite() -> Reading:
    """Pooling, two fully connected layers without bias, and the product with the map."""
    calls = [(nn.AdaptiveAvgPool2d(1), (1, 512, SIDE, SIDE)), (nn.Linear(512, 32, False), (1, 512))]
    calls += [(nn.ReLU(), (1, 32)), (nn.Linear(32, 512, False), (1, 32)), (nn.Sigmoid(), (1, 512))]
    return Reading(calls, products=MAP, tensors=(MAP,))


def non_local() -> Reading:
    """Two stored affinities, and seven reordered copies of 256 channels."""
    return Reading(attention_like(True), 2 * N * N * 256, (7 * HALF, 2 * N * N))


def double_attention() -> Reading:
    """Gather and distribute with m = n = 256."""
    return Reading(attention_like(False), 2 * 256 * 256 * N, (7 * HALF, 256 * 256))


def compact_non_local() -> Reading:
    """Radial basis function to order 2 in one group: three terms, each two powers, two scalings,
    one scalar product and one scaling of a map; the norm of the output at one an element."""
    terms = 3 * (2 + 2 + 1 + 1) * HALF
    return Reading(attention_like(False), terms + MAP, (9 * HALF,))


def criss_cross() -> Reading:
    """Projections as wide as the non-local block's, 191 neighbours, everything run twice."""
    pairs = 191 * N
    return Reading(attention_like(True), 2 * 256 * pairs, (7 * HALF, 2 * pairs), times=2)


def asymmetric_non_local() -> Reading:
    """The official pyramid block: 110 anchors; the projection shared by queries and keys runs
    twice."""
    shared = conv(512, 256, bias=True)
    calls = [*shared, *shared, *conv(512, 256, bias=True, norm=False, relu=False)]
    calls += conv(256, 512, bias=True, norm=False, relu=False)
    calls += conv(1024, 512, bias=True)
    anchors = 2 * HALF  # pooling reads both maps, whatever the bins
    return Reading(calls, 2 * 110 * HALF + anchors, (2 * 110 * N, 2 * MAP, 2 * 256 * 110, HALF))


def em_attention() -> Reading:
    """64 bases, three iterations, and the reconstruction; ReLU on both sides of the last 1x1."""
    calls = conv(512, 512, bias=True, norm=False, relu=False)
    calls += [(nn.ReLU(), (1, 512, SIDE, SIDE)), *conv(512, 512), *conv(512, 512)[2:]]
    return Reading(calls, 7 * 64 * MAP, (MAP, 64 * N, 2 * 512 * 64))


def encoding() -> Reading:
    """The official module with 32 codewords and its 19-way layer for the presence loss."""
    calls = [*conv(512, 512), (nn.Linear(512, 512), (1, 512)), (nn.Linear(512, 19), (1, 512))]
    return Reading(calls, 2 * 32 * MAP + MAP, (MAP, 2 * 32 * N), scalars=32 * 512 + 32 + 64)


def squeeze_reasoning(hadamard: bool) -> Reading:
    """Two or three projections, the grouped 1x1 back, group norm at one an element; K = M = 16."""
    calls = [call for _ in range(2 + hadamard) for call in conv(512, 256, norm=False, relu=False)]
    calls += conv(256, 512, norm=False, relu=False, groups=256)
    calls.append((nn.GroupNorm(256, 512), (1, 512, SIDE, SIDE)))
    for size in (16, 16):
        node = nn.Conv1d(size, size, 1, bias=False)
        calls += [(node, (1, size, 16)), (nn.BatchNorm1d(size), (1, size, 16))]
        calls.append((nn.ReLU(), (1, size, 16)))
    products = (2 + hadamard) * HALF  # squeeze, Hadamard product, gate
    return Reading(calls, products, ((3 + hadamard) * HALF,))


# ---- SRNet Table X: classification, 224 x 224, every call of a layer counted

#: how often a gate pools its map
POOLS = {SqueezeExcite: 1, NodeGate: 1, CBAM: 2}


def every_call(net: nn.Module, shape: tuple[int, ...], norms: bool = True) -> int:
    """The layers' counts, each call its own; a global pooling reads its input once.

    Pooling in a gate was a layer for the authors and is a function here, so it is added. Their tool
    sees no conv1d. ``norms=False`` leaves the norms out, as CGRSeg's tool does not know theirs.
    """
    total = 0

    def pool(gate, inputs, output):
        nonlocal total
        total += POOLS[type(gate)] * inputs[0].numel()

    def add(layer, inputs, output):
        nonlocal total
        if isinstance(layer, nn.Conv1d) or (not norms and isinstance(layer, nn.BatchNorm2d)):
            return
        if isinstance(layer, nn.AdaptiveAvgPool2d):
            total += inputs[0].numel()
            return
        total += layer_flops(layer, inputs[0], output)
        biased = isinstance(layer, nn.Linear) and layer.bias is not None
        total += output.numel() if biased else 0

    hooks = [m.register_forward_hook(pool) for m in net.modules() if type(m) in POOLS]
    leaves = [m for m in net.modules() if next(m.children(), None) is None]
    hooks += [leaf.register_forward_hook(add) for leaf in leaves]
    with torch.no_grad():
        net.to("meta").eval()(torch.empty(shape, device="meta"))
    for hook in hooks:
        hook.remove()
    return total


# ---- CGRSeg: whole networks


def cgrseg_flops(net: nn.Module, shape: tuple[int, ...]) -> int:
    """What CGRSeg's tool counts: convolutions with their biases, ReLUs, pools and upsampling.

    Neither norms nor what is no layer there. The pools of rows and columns and the upsampling
    behind an attention at half resolution, an element each, are layers there and functions here.
    """
    total = 0

    def pool(mixer, inputs, output):
        nonlocal total
        total += 2 * inputs[0].numel() if mixer.gather != "none" else 0

    def upsample(attention, inputs, output):
        nonlocal total
        values = attention.proj.conv.in_channels
        total += values * output.shape[2:].numel() if attention.halved else 0

    kinds = {RectangularAttention: pool, AnySizeAttention: upsample}
    hooks = [m.register_forward_hook(kinds[type(m)]) for m in net.modules() if type(m) in kinds]
    layers = every_call(net, shape, norms=False)
    for hook in hooks:
        hook.remove()
    return layers + total


def resnet101_with(head: str, classes: int) -> list[tuple[nn.Module, tuple[int, ...]]]:
    """ResNet-101 at output stride 8 and a context head of 512 channels, as (part, its input).

    The classifiers are all those that run: DANet's head answers three times.
    """
    wide, inner = (1, 2048, 64, 64), (1, 512, 64, 64)
    before, after = conv_bn_relu(2048, 512, 3), conv_bn_relu(512, 512, 3)
    answer = nn.Conv2d(512, classes, 1)
    parts = [(DilatedResNet("resnet101", weights="random", stem="deep32"), (1, 3, 512, 512))]
    parts.append((before, wide))
    if head == "criss_cross":
        last = conv_bn_relu(2048 + 512, 512, 3)
        parts += [(context(head, 512), inner), (after, inner), (last, (1, 2560, 64, 64))]
    elif head == "encoding":
        parts.append((context(head, 512, classes=classes), inner))
    else:
        pair = [context(f"{kind}_attention", 512) for kind in ("position", "channel")]
        parts += [(conv_bn_relu(2048, 512, 3), wide), *((part, inner) for part in pair)]
        parts += [(conv_bn_relu(512, 512, 3), inner) for _ in pair]
        parts += [(nn.Conv2d(512, classes, 1), inner) for _ in pair]
    return [*parts, (answer, inner)]


# ---- GGCF: 128 x 256, and 256 channels before, inside and behind the module

H, W = 128, 256


def along_edges(heads: tuple[str, ...]) -> int:
    """Affinities and weighted sums of every pair that the graphs join, borders cut off."""
    return 2 * 256 * sum(edges(head, H, W) for head in heads)


def as_if_inside(heads: tuple[str, ...]) -> float:
    """The same with the neighbours of a pixel in the middle: (2 S + 1)², and h w / T²."""
    sizes = [(name, int(size)) for name, size in (head.split("_") for head in heads)]
    near = (H * W / size**2 if name == "GRID" else (2 * size + 1) ** 2 for name, size in sizes)
    return 2 * 256 * H * W * sum(near)


def projections(number: int) -> int:
    """1x1 convolutions: one for g, and θ, φ and W of as many heads as have their own."""
    return number * H * W * 256 * 256
