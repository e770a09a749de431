"""Plain versions of both graphs of DGCNet: every cell with every cell, one at a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .plain import conv1x1, norm
from .plain_e import learned_graph_plain
from .plain_pyramid import bilinear_plain


def layers_plain(layers: nn.Sequential, x: Tensor) -> Tensor:
    """A 1 x 1 convolution, and its norm and ReLU where it has them."""
    x = conv1x1(layers[0], x)
    for layer in layers[1:]:
        x = x.clamp(min=0) if isinstance(layer, nn.ReLU) else norm(layer, x)
    return x


def cells_plain(x: Tensor, d: int) -> Tensor:
    """The mean of every cell, the last ones being incomplete."""
    h, w = x.shape[2:]
    rows = [
        [x[:, :, r : r + d, c : c + d].mean((2, 3)) for c in range(0, w, d)] for r in range(0, h, d)
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def strided_plain(layers: nn.Sequential, x: Tensor) -> Tensor:
    """Depth-wise convolutions at every second pixel; what lies outside the map counts as zero."""
    for conv, batch_norm in zip(layers[::2], layers[1::2]):
        h, w = x.shape[2:]
        rows = []
        for r in range(0, h, 2):
            row = []
            for c in range(0, w, 2):
                taps = [
                    conv.weight[:, 0, u + 1, v + 1] * x[:, :, r + u, c + v]
                    for u in (-1, 0, 1)
                    for v in (-1, 0, 1)
                    if 0 <= r + u < h and 0 <= c + v < w
                ]
                row.append(sum(taps))
            rows.append(torch.stack(row, -1))
        x = norm(batch_norm, torch.stack(rows, -2))
    return x


def upsample_plain(cells: Tensor, h: int, w: int, d: int, kind: str) -> Tensor:
    if kind == "strided":
        return bilinear_plain(cells, (h, w), align_corners=True)
    if kind == "nearest":
        rows = [torch.stack([cells[:, :, r // d, c // d] for c in range(w)], -1) for r in range(h)]
        return torch.stack(rows, -2)
    return bilinear_plain(cells, (d * cells.shape[2], d * cells.shape[3]))[..., :h, :w]


def edges_plain(module: nn.Module, v: Tensor, pool: str = "mean") -> Tensor:
    """A_S, cells x cells."""
    delta, psi = (layers_plain(f, v).flatten(2) for f in (module.delta, module.psi))
    n = delta.shape[2]
    a = torch.zeros(len(v), n, n, dtype=v.dtype)
    for b in range(len(v)):
        for i in range(n):
            for j in range(n):
                a[b, i, j] = delta[b, :, i] @ psi[b, :, j]
    return a / n if pool == "mean" else a


def coordinate_plain(
    module: nn.Module,
    x: Tensor,
    *,
    cell=8,
    project="average",
    affinity="product",
    pool="mean",
    variant="paper",
    branch=False,
    gate=False,
    **_,
) -> Tensor:
    """In the order of the equation: first A_S, then its answers, upsampled, and ξ at the pixels."""
    v = cells_plain(x, cell) if project == "average" else strided_plain(module.project, x)
    nu = layers_plain(module.nu, v).flatten(2)
    if affinity == "product":
        a = edges_plain(module, v, pool)
        m = torch.stack([sum(a[:, :, [j]] * nu[:, :, j][:, None] for j in range(nu.shape[2]))])[0]
    else:
        delta, psi = (layers_plain(f, v).flatten(2) for f in (module.delta, module.psi))
        n = psi.shape[2] if pool == "mean" else 1
        t = sum(psi[:, :, j, None] * nu[:, None, :, j] for j in range(psi.shape[2])) / n
        t = t.exp() / t.exp().sum(2, keepdim=True)
        m = delta.mT @ t
    m = layers_plain(module.weight, m.mT.reshape(*nu.shape[:2], *v.shape[2:]))
    kind = "strided" if project == "strided" else "average"
    kind = "nearest" if variant == "dgcnet_reproduction" else kind
    size = (*x.shape[2:], cell, kind)
    if gate or (variant == "dgcnet" and not branch):
        g = upsample_plain((layers_plain(module.xi, m) + v).clamp(min=0), *size)
        return g if gate else x * g + x
    y = layers_plain(module.xi, upsample_plain(m, *size))
    return y if branch else x + y


def feature_plain(
    module: nn.Module,
    x: Tensor,
    *,
    variant="paper",
    edges="learned",
    pool="mean",
    branch=False,
    **_,
) -> Tensor:
    phi, theta = (layers_plain(f, x).flatten(2) for f in (module.phi, module.theta))
    n = phi.shape[2] if pool == "mean" else 1
    v = sum(phi[:, :, i, None] * theta[:, None, :, i] for i in range(phi.shape[2])) / n
    last = variant in ("dgcnet_reproduction", "srnet")
    m = learned_graph_plain(module.talk, v, variant, last, edges)
    y = torch.stack([sum(phi[:, [k], i] * m[:, k] for k in range(m.shape[1]))
                     for i in range(phi.shape[2])], -1)  # fmt: skip
    y = layers_plain(module.out, y.reshape(*y.shape[:2], *x.shape[2:]))
    if branch:
        return y
    return (x + y).clamp(min=0) if variant == "dgcnet" else x + y


def dual_plain(module: nn.Module, x: Tensor, *, fusion="sum", **options) -> Tensor:
    first, second = module.coordinate, module.feature
    if fusion == "sequential":
        return feature_plain(second, coordinate_plain(first, x, **options), **options)
    feature = feature_plain(second, x, branch=True, **options)
    if fusion == "sum":
        return x + coordinate_plain(first, x, branch=True, **options) + feature
    gate = coordinate_plain(first, x, gate=True, **options)
    both = torch.cat([x * gate + x, (x + feature).clamp(min=0)], 1)
    return layers_plain(module.last, both)
