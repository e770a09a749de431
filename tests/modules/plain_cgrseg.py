"""Plain versions of CGRSeg's parts: the strips run over a whole map, the classes one by one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .plain import conv1x1, norm
from .plain_e import _gelu, window_plain
from .plain_pooled import dense, pixels, relu, sigmoid


def region_plain(x: Tensor, gather: str) -> Tensor:
    """a: at every pixel what its row and its column hold."""
    a = x.clone()
    for i in range(x.shape[2]) if gather != "none" else ():
        for j in range(x.shape[3]):
            row, column = x[:, :, i].mean(2), x[:, :, :, j].mean(2)
            a[:, :, i, j] = row + column if gather == "add" else row * column
    return a


def rectangular_attention_plain(
    module: nn.Module, x: Tensor, *, gather="add", strip=11, local=3
) -> Tensor:
    a = region_plain(x, gather)
    if strip is not None:
        a = relu(norm(module.between[0], window_plain(module.row_strip, a)))
        a = window_plain(module.column_strip, a)
    return sigmoid(a) * (x if local is None else window_plain(module.local, x))


def rectangular_calibration_plain(module: nn.Module, x: Tensor, mix) -> Tensor:
    """``mix`` is the plain version of the mixer."""
    y = conv1x1(module.expand, norm(module.norm, mix(module.mixer, x)))
    return x + module.gamma * conv1x1(module.project, _gelu(y))


def coarse_plain(layers, x: Tensor) -> Tensor:
    """A number a channel, a norm, ReLU and one layer a pixel."""
    scale, batch_norm, _, classify = layers
    return conv1x1(classify, relu(norm(batch_norm, x * scale.weight[:, 0])))


def prototypes_plain(x: Tensor, logits: Tensor) -> Tensor:
    images = []
    for image, coarse in zip(x, logits):
        weights = [(logit - logit.max()).exp() for logit in coarse.flatten(1)]
        images.append([
            sum(w_i * x_i for w_i, x_i in zip(w / w.sum(), pixels(image))) for w in weights
        ])  # fmt: skip
    return torch.stack([torch.stack(p, 1) for p in images])


def guided_plain(module: nn.Module, x: Tensor, prototypes: Tensor) -> Tensor:
    """The gate of :class:`DynamicPrototype`, on each image."""
    y = x.clone()
    for i, p in enumerate(prototypes.expand(len(x), -1, -1)):
        e = torch.stack([dense(module.embed, p_k)[0] for p_k in p.T]).exp()
        v = dense(module.squash, sum(e_k * p_k for e_k, p_k in zip(e / e.sum(), p.T)))
        v = v - v.mean()
        v = v / ((v**2).mean() + module.norm.eps).sqrt() * module.norm.weight + module.norm.bias
        y[i] += sigmoid(dense(module.expand, relu(v)))[:, None, None] * x[i]
    return y


def dynamic_prototype_plain(
    module: nn.Module, x: Tensor, logits=None, prototypes=None, *, gather="classes", **_
) -> Tensor:
    if gather == "pixels":
        prototypes = x.flatten(2)
    if prototypes is None:
        prototypes = prototypes_plain(
            x, coarse_plain(module.classifier, x) if logits is None else logits
        )
    return guided_plain(module, x, prototypes)


def dynamic_head_plain(module: nn.Module, x: Tensor, prototypes=None, *, gather="classes", **_):
    coarse = None
    if gather == "classes":
        coarse = coarse_plain([*module.fuse, module.classifier], x)
    y = dynamic_prototype_plain(module.guide, x, coarse, prototypes, gather=gather)
    return conv1x1(module.classifier, y)
