"""Plain versions, node by node: squeeze reasoning, GloRe, and the mixers of lesson 11."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .plain import conv1x1, mix_plain, norm


def learned_graph_plain(
    module: nn.Module, x: Tensor, variant: str, relu_end: bool, edges: str = "learned"
) -> Tensor:
    """Every form of the graph convolution, nodes ``b n d``."""
    (w, w_norm), mix = module.weight, 0 * x
    if edges != "none":
        a, a_norm = module.adjacency
        mix = mix_plain(a.weight[:, :, 0], x)
        mix = norm(a_norm, mix if a.bias is None else mix + a.bias[:, None])
    if variant in ("paper", "plus", "edges"):
        y = {"paper": x - mix, "plus": x + mix, "edges": mix}[variant]
    else:
        y = {
            "glore": (x + mix).clamp(min=0),
            "dgcnet": x + mix,
            "dgcnet_reproduction": x - mix.clamp(min=0),
            "srnet": x + mix.clamp(min=0),
        }[variant]
    y = mix_plain(w.weight[:, :, 0], y.mT).mT
    y = norm(w_norm, y if w.bias is None else y + w.bias, axis=2)
    return y.clamp(min=0) if relu_end else y


def glore_plain(module: nn.Module, x: Tensor, *, variant="paper", pool="mean") -> Tensor:
    phi, theta = (conv1x1(layer, x).flatten(2) for layer in (module.phi, module.theta))
    pixels = phi.shape[2]
    v = torch.stack(
        [
            sum(torch.outer(theta[b, :, i], phi[b, :, i]) for i in range(pixels))
            for b in range(len(x))
        ]
    )
    z = learned_graph_plain(module.talk, v / pixels if pool == "mean" else v, variant, False)
    y = torch.stack(
        [torch.stack([t @ z[b] for t in theta[b].T], 1) for b in range(len(x))]
    ).reshape(len(x), -1, *x.shape[2:])
    return x + norm(module.norm, conv1x1(module.out, y))


def squeeze_plain(module: nn.Module, x: Tensor, *, squeeze="hadamard", pool="mean") -> Tensor:
    """g, channel by channel and pixel by pixel."""
    pooled = conv1x1(module.phi, x).flatten(2)
    factor = conv1x1(module.gamma, x).flatten(2) if squeeze == "hadamard" else None
    g = torch.zeros(pooled.shape[:2], dtype=x.dtype)
    for b in range(len(x)):
        for c in range(pooled.shape[1]):
            for i in range(pooled.shape[2]):
                g[b, c] += pooled[b, c, i] * (1 if factor is None else factor[b, c, i])
    return g / pooled.shape[2] if pool == "mean" else g


def squeeze_reasoning_plain(
    module: nn.Module,
    x: Tensor,
    *,
    reduction=2,
    nodes=16,
    squeeze="hadamard",
    pool="mean",
    reason="graph",
    variant="paper",
    edges="learned",
    grouping="contiguous",
    reconstruct="grouped",
    norm=False,
) -> Tensor:
    g = squeeze_plain(module, x, squeeze=squeeze, pool=pool)
    width, p = g.shape[1] // nodes, g.shape[1]
    if reason == "connected":
        layer = module.talk[0]
        gate = torch.stack([layer.weight @ v + layer.bias for v in g]).clamp(min=0)
    else:
        near = [[k * width + m for m in range(width)] for k in range(nodes)]
        far = [[m * nodes + k for m in range(width)] for k in range(nodes)]
        into = near if grouping == "contiguous" else far
        back = far if grouping == "strided" else near
        graph = torch.stack([torch.stack([v[place] for place in into]) for v in g])
        if reason == "graph":
            graph = learned_graph_plain(module.talk, graph, variant, True, edges)
        elif reason == "correlation":
            graph = torch.stack([_correlation(module.talk, image) for image in graph])
        gate = torch.empty_like(g)
        for k, place in enumerate(back):
            gate[:, place] = graph[:, k]
    gated = conv1x1(module.theta, x) * gate[:, :, None, None]
    share = x.shape[1] // p
    if reconstruct == "grouped":
        weight = module.out.weight.flatten()
        y = torch.stack([weight[c] * gated[:, c // share] for c in range(x.shape[1])], 1)
    else:
        y = conv1x1(module.out, gated)
    return x + (_group_norm(module.norm, y, share) if norm else y)


def _correlation(module: nn.Module, nodes: Tensor) -> Tensor:
    rho, phi, theta = (nodes @ f.weight.T for f in (module.rho, module.phi, module.theta))
    answers = [
        sum((phi[j] @ theta[k]) * rho[j] for j in range(len(nodes))) for k in range(len(nodes))
    ]
    return torch.stack(answers).clamp(min=0)


def _group_norm(module: nn.Module, x: Tensor, share: int) -> Tensor:
    parts = []
    for part in x.split(share, 1):
        mean = part.mean((1, 2, 3), keepdim=True)
        spread = ((part - mean) ** 2).mean((1, 2, 3), keepdim=True)
        parts.append((part - mean) / (spread + module.eps).sqrt())
    return torch.cat(parts, 1) * module.weight[:, None, None] + module.bias[:, None, None]


def token_attention_plain(
    module: nn.Module,
    x: Tensor,
    *,
    heads=8,
    reduction=4,
    width=None,
    expansion=2,
    scale=False,
    residual=True,
) -> Tensor:
    d = width or x.shape[1] // reduction
    project = norm(module.project[1], conv1x1(module.project[0], x)).flatten(2)
    query, key, value = project[:, :d], project[:, d : 2 * d], project[:, 2 * d :]
    out = torch.zeros_like(value)
    d, e = d // heads, expansion * d // heads
    for b in range(len(x)):
        for k in range(heads):
            q_k, k_k = query[b, k * d : (k + 1) * d], key[b, k * d : (k + 1) * d]
            v_k = value[b, k * e : (k + 1) * e]
            for i in range(q_k.shape[1]):
                a = torch.stack([q_k[:, i] @ k_k[:, j] for j in range(k_k.shape[1])])
                a = a / d**0.5 if scale else a
                a = (a - a.max()).exp()
                out[b, k * e : (k + 1) * e, i] = sum(
                    a_j * v_j for a_j, v_j in zip(a / a.sum(), v_k.T)
                )
    out = out.clamp(min=0).reshape(len(x), -1, *x.shape[2:])
    y = norm(module.out[1], conv1x1(module.out[0], out))
    return x + y if residual else y


def window_plain(layer: nn.Module, x: Tensor) -> Tensor:
    """A depth-wise convolution, each offset of the window on its own."""
    rows, columns = layer.weight.shape[2:]
    h, w = x.shape[2:]
    y = torch.zeros_like(x) + layer.bias[:, None, None]
    for u in range(rows):
        for v in range(columns):
            for r in range(h):
                for c in range(w):
                    i, j = r + u - rows // 2, c + v - columns // 2
                    if 0 <= i < h and 0 <= j < w:
                        y[:, :, r, c] += layer.weight[:, 0, u, v] * x[:, :, i, j]
    return y


def _gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / 2**0.5)) / 2


def convnext_plain(module: nn.Module, x: Tensor, *, block=False) -> Tensor:
    y = window_plain(module.mix, x)
    if not block:
        return y
    out = x.clone()
    for b in range(len(x)):
        for r in range(x.shape[2]):
            for c in range(x.shape[3]):
                v = y[b, :, r, c]
                v = v - v.mean()
                v = v / ((v**2).mean() + 1e-6).sqrt() * module.norm.weight + module.norm.bias
                v = _gelu(module.expand.weight @ v + module.expand.bias)
                out[b, :, r, c] += module.gamma * (module.project.weight @ v + module.project.bias)
    return out


def inceptionnext_plain(module: nn.Module, x: Tensor, *, reduction=8, block=False) -> Tensor:
    g = x.shape[1] // reduction
    y = x.clone()
    y[:, -3 * g : -2 * g] = window_plain(module.square, x[:, -3 * g : -2 * g])
    y[:, -2 * g : -g] = window_plain(module.row, x[:, -2 * g : -g])
    y[:, -g:] = window_plain(module.column, x[:, -g:])
    if not block:
        return y
    y = _gelu(conv1x1(module.expand, norm(module.norm, y)))
    return x + module.gamma * conv1x1(module.project, y)
