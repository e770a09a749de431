"""Plain versions, pixel by pixel: global vectors, CBAM, GCNet, and the gates of lesson 11."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .plain import conv1x1, norm


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + (-x).exp())


def relu(x: Tensor) -> Tensor:
    return x.clamp(min=0)


def dense(layer: nn.Module, v: Tensor) -> Tensor:
    """A layer on one vector; a 1 x 1 convolution is one too."""
    y = layer.weight.flatten(1) @ v
    return y if layer.bias is None else y + layer.bias


def pixels(image: Tensor) -> list[Tensor]:
    """The c numbers of every pixel of a ``c h w`` image, row by row."""
    return [image[:, r, q] for r in range(image.shape[1]) for q in range(image.shape[2])]


def conv_plain(weight: Tensor, image: Tensor, stride: int = 1, depthwise: bool = False) -> Tensor:
    """A convolution of one ``c h w`` image, padded by half the (odd) kernel, tap by tap."""
    *_, kh, kw = weight.shape
    _, h, w = image.shape
    rows = []
    for r in range(0, h, stride):
        row = []
        for q in range(0, w, stride):
            y = torch.zeros(len(weight), dtype=image.dtype)
            for i in range(kh):
                for j in range(kw):
                    at_r, at_q = r + i - kh // 2, q + j - kw // 2
                    if 0 <= at_r < h and 0 <= at_q < w:
                        v, tap = image[:, at_r, at_q], weight[..., i, j]
                        y = y + (tap[:, 0] * v if depthwise else tap @ v)
            row.append(y)
        rows.append(torch.stack(row, -1))
    return torch.stack(rows, -2)


def concatenated_plain(module: nn.Module, x: Tensor, vectors: list[Tensor]) -> Tensor:
    """ReLU(BN(W [x_i ; g])), with one W and the vector spread over the map."""
    w = torch.cat([module.fuse.pixel.weight.flatten(1), module.fuse.image.weight], 1)
    out = torch.empty_like(x)
    for image, g in enumerate(vectors):
        for r in range(x.shape[2]):
            for q in range(x.shape[3]):
                out[image, :, r, q] = w @ torch.cat([x[image, :, r, q], g])
    return relu(norm(module.fuse.norm, out))


def global_average_plain(module: nn.Module, x: Tensor) -> Tensor:
    vectors = [sum(pixels(image)) / image[0].numel() for image in x]
    return concatenated_plain(module, x, vectors)


def second_order_plain(module: nn.Module, x: Tensor, *, every_pair: bool, pool: str) -> Tensor:
    """Hadamard pooling, or with ``every_pair`` bilinear pooling."""
    vectors = []
    for b, c in zip(conv1x1(module.b, x), conv1x1(module.c, x)):
        g = 0
        for b_i, c_i in zip(pixels(b), pixels(c)):
            g = g + (torch.outer(b_i, c_i).flatten() if every_pair else b_i * c_i)
        vectors.append(g if pool == "sum" else g / x[0, 0].numel())
    return concatenated_plain(module, x, vectors)


def cbam_plain(module: nn.Module, x: Tensor) -> Tensor:
    first, _, second = module.mlp
    gated, seen = [], []
    for image in x:
        mean = sum(pixels(image)) / image[0].numel()
        most = torch.stack(pixels(image)).max(0).values
        m = sigmoid(sum(dense(second, relu(dense(first, s))) for s in (mean, most)))
        gated.append(torch.stack([m_c * channel for m_c, channel in zip(m, image)]))
        pair = torch.stack([gated[-1].max(0).values, sum(gated[-1]) / len(m)])
        seen.append(conv_plain(module.window.weight, pair))
    gates = sigmoid(norm(module.norm, torch.stack(seen)))
    return torch.stack(gated) * gates


def global_context_plain(module: nn.Module, x: Tensor, *, fuse: str) -> Tensor:
    out = []
    for image in x:
        nodes = pixels(image)
        weights = [dense(module.mask, node).exp() for node in nodes]
        s = sum(a * node for a, node in zip(weights, nodes)) / sum(weights)
        hidden = dense(module.squash, s)
        spread = ((hidden - hidden.mean()).square().mean() + module.norm.eps).sqrt()
        hidden = (hidden - hidden.mean()) / spread * module.norm.weight + module.norm.bias
        e = dense(module.expand, relu(hidden))
        answers = [node + e if fuse == "add" else node * sigmoid(e) for node in nodes]
        out.append(torch.stack(answers, 1).reshape(image.shape))
    return torch.stack(out)


def strips(image: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of every row, ``c h``, and of every column, ``c w``."""
    _, h, w = image.shape
    rows = torch.stack([sum(image[:, r, q] for q in range(w)) / w for r in range(h)], 1)
    columns = torch.stack([sum(image[:, r, q] for r in range(h)) / h for q in range(w)], 1)
    return rows, columns


def coordinate_attention_plain(module: nn.Module, x: Tensor) -> Tensor:
    def gate(layer: nn.Module, strip: Tensor) -> Tensor:
        out = []
        for z in strip.T:
            f = norm(module.norm, dense(module.squash, z)[None])[0]
            f = f * (f + 3).clamp(0, 6) / 6
            out.append(sigmoid(dense(layer, f)))
        return torch.stack(out, 1)

    out = x.clone()
    for image in range(len(x)):
        rows, columns = strips(x[image])
        a_h, a_w = gate(module.row, rows), gate(module.column, columns)
        for r in range(x.shape[2]):
            for q in range(x.shape[3]):
                out[image, :, r, q] *= a_h[:, r] * a_w[:, q]
    return out


def strip_pooling_plain(module: nn.Module, x: Tensor) -> Tensor:
    def talk(layers: nn.Module, strip: Tensor) -> Tensor:
        window, scale = layers
        y = conv_plain(window.weight[..., None], strip[..., None])[..., 0]
        y = y if window.bias is None else y + window.bias[:, None]
        return norm(scale, y[None])[0]

    out = x.clone()
    rectify = relu if isinstance(module.activation, nn.ReLU) else lambda y: y
    for image in range(len(x)):
        rows, columns = strips(x[image])
        rows, columns = talk(module.rows, rows), talk(module.columns, columns)
        for r in range(x.shape[2]):
            for q in range(x.shape[3]):
                y = rectify(rows[:, r] + columns[:, q])
                out[image, :, r, q] *= sigmoid(dense(module.mix, y))
    return out


def gather_plain(module: nn.Module, x: Tensor, extent: int | str) -> Tensor:
    """s: one vector a cell, ``b c u v``."""
    _, _, h, w = x.shape
    if module.gather is None:
        e = max(h, w) if extent == "global" else extent
        cells = [[(0, h, 0, w)]]
        if extent != "global":
            cells = [
                [
                    (max(u - e + 1, 0), min(u + e, h), max(v - e + 1, 0), min(v + e, w))
                    for v in range(0, w, e)
                ]
                for u in range(0, h, e)
            ]
        means = [
            [
                torch.stack([sum(pixels(i[:, a:b, c:d])) / ((b - a) * (d - c)) for i in x])
                for a, b, c, d in row
            ]
            for row in cells
        ]
        return torch.stack([torch.stack(row, -1) for row in means], -2)
    if extent == "global":
        weight = module.gather[0].weight
        nodes = [[w_i * v_i for w_i, v_i in zip(pixels(weight), pixels(i))] for i in x]
        return norm(module.gather[1], torch.stack([sum(n) for n in nodes])[..., None, None])
    steps = extent.bit_length() - 1
    for step in range(steps):
        conv, scale = module.gather[3 * step : 3 * step + 2]
        x = torch.stack([conv_plain(conv.weight, image, stride=2, depthwise=True) for image in x])
        x = norm(scale, x)
        x = relu(x) if step < steps - 1 else x
    return x


def gather_excite_plain(module: nn.Module, x: Tensor, *, extent=8, excite="mlp", **_) -> Tensor:
    s = gather_plain(module, x, extent)
    if excite == "mlp":
        s = s if module.gather is None else relu(s)
        s = conv1x1(module.excite[3], relu(conv1x1(module.excite[1], s)))
    out, (h, w), (n, m) = x.clone(), x.shape[2:], s.shape[2:]
    for r in range(h):
        for q in range(w):
            out[:, :, r, q] *= sigmoid(s[:, :, r * n // h, q * m // w])
    return out
