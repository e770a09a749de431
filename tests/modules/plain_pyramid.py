"""Plain versions, pixel by pixel: pyramids, dilated branches and object context."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .plain import max_pool, norm


def conv_plain(layer: nn.Conv2d, x: Tensor, rate: int = 1) -> Tensor:
    """A k x k convolution, tap by tap; what lies outside the map counts as zero."""
    k, (h, w) = layer.weight.shape[2], x.shape[2:]
    out = []
    for i in range(h):
        for j in range(w):
            y = torch.zeros(len(x), len(layer.weight), dtype=x.dtype)
            for u in range(k):
                for v in range(k):
                    row, column = i + (u - k // 2) * rate, j + (v - k // 2) * rate
                    if 0 <= row < h and 0 <= column < w:
                        y = y + x[:, :, row, column] @ layer.weight[:, :, u, v].T
            out.append(y if layer.bias is None else y + layer.bias)
    return torch.stack(out, -1).unflatten(-1, (h, w))


def run(layers, x: Tensor, *, rate: int = 1, relu: bool = True) -> Tensor:
    """Convolution, norm and ReLU with the weights of ``layers``."""
    y = norm(layers[1], conv_plain(layers[0], x, rate))
    return y.clamp(min=0) if relu else y


def bins_plain(x: Tensor, s: int) -> Tensor:
    """The mean of every one of the s x s bins, from floor(i n / s) to ceil((i + 1) n / s)."""

    def span(i: int, n: int) -> slice:
        return slice(math.floor(i * n / s), math.ceil((i + 1) * n / s))

    h, w = x.shape[2:]
    rows = [[x[:, :, span(i, h), span(j, w)].mean((2, 3)) for j in range(s)] for i in range(s)]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def bilinear_plain(x: Tensor, size: tuple[int, int], align_corners: bool = False) -> Tensor:
    """Each pixel of the result between the four pixels of ``x`` that surround its place."""

    def place(i: int, n: int, m: int) -> tuple[int, int, float]:
        if align_corners:
            at = i * (m - 1) / (n - 1) if n > 1 else 0.0
        else:
            at = max(0.0, (i + 0.5) * m / n - 0.5)
        low = min(int(at), m - 1)
        return low, min(low + 1, m - 1), at - low

    rows = []
    for i in range(size[0]):
        a, b, s = place(i, size[0], x.shape[2])
        row = []
        for j in range(size[1]):
            c, d, t = place(j, size[1], x.shape[3])
            top = (1 - t) * x[:, :, a, c] + t * x[:, :, a, d]
            bottom = (1 - t) * x[:, :, b, c] + t * x[:, :, b, d]
            row.append((1 - s) * top + s * bottom)
        rows.append(torch.stack(row, -1))
    return torch.stack(rows, -2)


def pyramid_pooling_plain(
    module, x, *, sizes=(1, 2, 3, 6), stage_relu=True, align_corners=False, **_
) -> Tensor:
    parts = [x]
    for s, stage in zip(sizes, module.stages):
        bins = run(stage, bins_plain(x, s), relu=stage_relu)
        parts.append(bilinear_plain(bins, x.shape[2:], align_corners))
    return run(module.fuse, torch.cat(parts, 1))


def aspp_plain(module, x, *, rates=(12, 24, 36), image_pool=True, norm=True, **_) -> Tensor:
    parts = [run(module.branches[0], x)]
    parts += [run(b, x, rate=rate) for b, rate in zip(module.branches[1:], rates)]
    if image_pool:
        mean = sum(x[:, :, i, j] for i in range(x.shape[2]) for j in range(x.shape[3]))
        mean = mean[:, :, None, None] / (x.shape[2] * x.shape[3])
        parts.append(run(module.image, mean).expand(-1, -1, *x.shape[2:]))
    parts = torch.cat(parts, 1)
    return run(module.project, parts) if norm else conv_plain(module.project[0], parts)


def dense_aspp_plain(
    module, x, *, rates=(3, 6, 12, 18, 24), first_norm=True, rectify=False, **_
) -> Tensor:
    made = [x.clamp(min=0) if rectify else x]
    for number, (rate, layer) in enumerate(zip(rates, module.layers)):
        read = torch.cat(made[::-1], 1)
        if number or first_norm:
            read = norm(layer[0], read)
        made.append(conv_plain(layer[5], run(layer[2:4], read.clamp(min=0)), rate))
    return run(module.project, torch.cat(made[::-1], 1))


def cell_attention_plain(module, x, *, cells=1, subsample=1, official=False) -> Tensor:
    """Every pixel asks the pixels of its own cell, one query at a time."""
    size = x.shape[2:]
    if official:  # what does not fill a cell is left out
        a, b = (min(subsample, n) for n in size)
        x = x[:, :, : size[0] // a * a, : size[1] // b * b]
        x = torch.stack(
            [torch.stack([c.amax((2, 3)) for c in rows.split(b, 3)], -1) for rows in x.split(a, 2)],
            -2,
        )
    else:
        x = max_pool(x, subsample)
    h, w = x.shape[2:]

    def cell(i: int, n: int) -> int:
        if not official:
            return i // math.ceil(n / cells)
        return min(i // (n // cells), cells - 1) if n >= cells else 0

    theta, value = run(module.embed, x), conv_plain(module.value, x)
    y = torch.zeros_like(value)
    for i in range(h):
        for j in range(w):
            near = [
                (r, c)
                for r in range(h)
                for c in range(w)
                if (cell(r, h), cell(c, w)) == (cell(i, h), cell(j, w))
            ]
            logits = [(theta[:, :, i, j] * theta[:, :, r, c]).sum(1) for r, c in near]
            weights = (torch.stack(logits) / theta.shape[1] ** 0.5).exp()
            for (r, c), weight in zip(near, weights / weights.sum(0)):
                y[:, :, i, j] += weight[:, None] * value[:, :, r, c]
    return bilinear_plain(conv_plain(module.out, y), size, align_corners=official)


def ocnet_plain(
    module, x, *, form="base", sizes=(1, 2, 3, 6), rates=(12, 24, 36), subsample=None, **_
) -> Tensor:
    if form == "official_asp":
        before, attention, after = module.contexts[0]
        y = cell_attention_plain(attention, run(before, x), subsample=subsample or 2, official=True)
        parts = [run(after, y)]
    else:
        options = {"subsample": subsample or 1, "official": form == "official_pyramid"}
        parts = [
            cell_attention_plain(context, x, cells=cells, **options)
            for context, cells in zip(module.contexts, sizes if "pyramid" in form else (1,))
        ]
    if form == "base":
        parts.append(x)
    elif "pyramid" in form:
        parts.append(run(module.others[0], x))
    else:
        parts += [run(other, x, rate=r) for other, r in zip(module.others, (1, *rates))]
    return run(module.project, torch.cat(parts, 1))


def ocr_plain(module, x, logits=None, *, relu=True, **_) -> Tensor:
    if logits is None:
        logits = conv_plain(module.classifier, x)
    places = [(i, j) for i in range(x.shape[2]) for j in range(x.shape[3])]
    nodes = []
    for k in range(logits.shape[1]):
        m = torch.stack([logits[:, k, i, j] for i, j in places]).softmax(0)
        nodes.append(sum(m_i[:, None] * x[:, :, i, j] for m_i, (i, j) in zip(m, places)))
    nodes = torch.stack(nodes, -1)[..., None]
    phi, psi = (
        run(layer[3:], run(layer, t)) for layer, t in ((module.phi, x), (module.psi, nodes))
    )
    delta = run(module.delta, nodes)
    y = torch.zeros_like(phi)
    for i, j in places:
        w = torch.stack([(phi[:, :, i, j] * key).sum(1) for key in psi[..., 0].unbind(-1)])
        w = (w / phi.shape[1] ** 0.5).softmax(0)
        y[:, :, i, j] = sum(w_k[:, None] * v for w_k, v in zip(w, delta[..., 0].unbind(-1)))
    return run(module.g, torch.cat([run(module.rho, y), x], 1), relu=relu)
