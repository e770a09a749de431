"""Plain versions of the modules: the equations, one node at a time, with nothing made fast."""

from __future__ import annotations

import math
from itertools import product

import torch
from torch import Tensor, nn


def conv1x1(layer: nn.Module, x: Tensor) -> Tensor:
    """A 1 x 1 convolution as one matrix at every pixel; ``nn.Identity`` passes."""
    if isinstance(layer, nn.Identity):
        return x
    weight = layer.weight.flatten(1)
    y = torch.stack([torch.stack([weight @ v for v in image.flatten(1).T], 1) for image in x])
    y = y.reshape(len(x), len(weight), *x.shape[2:])
    return y if layer.bias is None else y + layer.bias[:, None, None]


def norm(layer: nn.Module, x: Tensor, axis: int = 1) -> Tensor:
    """Batch normalisation as it is at inference; ``nn.Identity`` passes."""
    if isinstance(layer, nn.Identity):
        return x
    shape = [1] * x.ndim
    shape[axis] = -1
    mean, var, weight, bias = (
        t.reshape(shape) for t in (layer.running_mean, layer.running_var, layer.weight, layer.bias)
    )
    return (x - mean) / (var + layer.eps).sqrt() * weight + bias


def max_pool(x: Tensor, side: int) -> Tensor:
    """The largest value of every cell, the last ones being incomplete."""
    h, w = x.shape[2:]
    rows = [
        [x[:, :, r : r + side, c : c + side].amax((2, 3)) for c in range(0, w, side)]
        for r in range(0, h, side)
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def non_local_plain(
    module: nn.Module,
    x: Tensor,
    *,
    mode: str,
    subsample=1,
    shared_value=False,
    scale=False,
    waves=None,
) -> Tensor:
    """The non-local block as the paper's double sum, with the weights of ``module``."""
    heads = module.heads
    read = x if waves is None else torch.cat([x, _places(x, waves)], 1)
    theta, phi, g = conv1x1(module.theta, read), conv1x1(module.phi, read), conv1x1(module.g, x)
    phi, g = max_pool(phi, subsample), max_pool(g, subsample)
    out = []
    for image in range(len(x)):
        answers = []
        for head in range(heads):
            q, k = (t[image].chunk(heads)[head].flatten(1).T for t in (theta, phi))
            v = (g[image] if shared_value else g[image].chunk(heads)[head]).flatten(1).T
            answers.append(
                torch.stack([_answer(module, head, q_i, k, v, mode, scale) for q_i in q])
            )
        out.append(torch.cat(answers, 1).T.reshape(-1, *x.shape[2:]))
    return x + norm(module.norm, conv1x1(module.out, torch.stack(out)))


def _places(x: Tensor, waves: int) -> Tensor:
    """Sines, then cosines, of the row, then of the column: pixel by pixel."""
    h, w = x.shape[2:]
    found = x.new_zeros(len(x), 4 * waves, h, w)
    for i, j in product(range(h), range(w)):
        for k in range(waves):
            a, b = (math.pi * 2**k * (at + 0.5) / n for at, n in ((i, h), (j, w)))
            here = (math.sin(a), math.cos(a), math.sin(b), math.cos(b))
            for p, value in enumerate(here):
                found[:, p * waves + k, i, j] = value
    return found


def _answer(module, head: int, q_i: Tensor, k: Tensor, v: Tensor, mode: str, scale) -> Tensor:
    """y_i = 1/C_i Σ_j A(x_i, x_j) g(x_j), key by key."""
    if mode == "concatenation":
        w = torch.cat([module.w[0, head], module.w[1, head]])
        a = torch.stack([torch.relu(w @ torch.cat([q_i, k_j])) for k_j in k])
    else:
        a = torch.stack([q_i @ k_j for k_j in k])
        if scale:
            a = a / len(q_i) ** 0.5
    if mode in ("embedded_gaussian", "gaussian"):
        a = (a - a.max()).exp()
        c = a.sum()
    else:
        c = len(k)
    return sum(a_j * v_j for a_j, v_j in zip(a, v)) / c


def normalised_adjacency_plain(adjacency: Tensor) -> Tensor:
    """Â, edge by edge."""
    n = len(adjacency)
    looped = adjacency.clone()
    for i in range(n):
        looped[i, i] += 1
    degree = [looped[i].sum() for i in range(n)]
    for i in range(n):
        for j in range(n):
            looped[i, j] /= (degree[i] * degree[j]) ** 0.5
    return looped


def mix_plain(a: Tensor, x: Tensor) -> Tensor:
    """A X of every image: node m receives Σ_n A_mn x_n."""
    return torch.stack(
        [
            torch.stack([sum(a_mn * x_n for a_mn, x_n in zip(row, nodes)) for row in a])
            for nodes in x
        ]
    )


def squeeze_excite_plain(module: nn.Module, x: Tensor) -> Tensor:
    """Squeeze-and-Excitation, channel by channel."""
    out = x.clone()
    for image in range(len(x)):
        s = torch.stack([channel.sum() / channel.numel() for channel in x[image]])
        hidden = module.squash.weight @ s
        hidden = hidden if module.squash.bias is None else hidden + module.squash.bias
        e = module.expand.weight @ hidden.clamp(min=0)
        e = e if module.expand.bias is None else e + module.expand.bias
        for channel in range(x.shape[1]):
            out[image, channel] *= 1 / (1 + (-e[channel]).exp())
    return out
