"""The plainest correct version of each module: the equation as it stands, all tensors in memory.

Each takes the module, for its weights, and the map. No trick for speed or memory, and no loop over
positions either, so that it is a fair peer. What an equation names once is computed once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from einops import einsum, rearrange, reduce, repeat
from non_local import plain as non_local
from torch import Tensor, nn

from contextlab.modules import grid_adjacency, normalised_adjacency
from contextlab.modules.asymmetric_non_local import pyramid_pool
from contextlab.modules.graph_guided import support


def attention(query: Tensor, key: Tensor, value: Tensor, scale: float = 1.0) -> Tensor:
    """``b d i``, ``b d j`` and ``b e j`` to ``b e i``, with the affinities ``b i j`` in memory."""
    affinity = torch.softmax(scale * einsum(query, key, "b d i, b d j -> b i j"), -1)
    return einsum(affinity, value, "b i j, b e j -> b e i")


def flat(x: Tensor) -> Tensor:
    return rearrange(x, "b c h w -> b c (h w)")


def like(y: Tensor, x: Tensor) -> Tensor:
    return rearrange(y, "b c (h w) -> b c h w", h=x.shape[2])


@functools.lru_cache(maxsize=1)
def grid(h: int, w: int, neighbours: int) -> Tensor:
    return normalised_adjacency(grid_adjacency(h, w, neighbours=neighbours))


def graph_conv(module: nn.Module, x: Tensor) -> Tensor:
    """With Â of the whole grid in memory; it is made once, outside of what is measured."""
    neighbours = 8 if module.stencil[0, 0] else 4
    a, y = grid(*x.shape[2:], neighbours).to(x), flat(x)
    for _ in range(module.steps):
        y = einsum(a, y, "i j, b c j -> b c i")
    return torch.relu(module.weight(like(y, x)))


def concatenate(fuse: nn.Module, x: Tensor, g: Tensor) -> Tensor:
    """The vector spread over the map, and one 1 x 1 convolution on both."""
    weight = torch.cat([rearrange(fuse.pixel.weight, "o i 1 1 -> o i"), fuse.image.weight], 1)
    both = torch.cat([x, repeat(g, "b k -> b k h w", h=x.shape[2], w=x.shape[3])], 1)
    y = nn.functional.conv2d(both, rearrange(weight, "o i -> o i 1 1"))
    return torch.relu(fuse.norm(y))


def global_average(module: nn.Module, x: Tensor) -> Tensor:
    return concatenate(module.fuse, x, reduce(x, "b c h w -> b c", "mean"))


def hadamard_pooling(module: nn.Module, x: Tensor) -> Tensor:
    g = reduce(module.b(x) * module.c(x), "b c h w -> b c", module.pool)
    return concatenate(module.fuse, x, g)


def bilinear_pooling(module: nn.Module, x: Tensor) -> Tensor:
    """With every outer product b_i c_iᵀ in memory before their mean."""
    products = einsum(module.b(x), module.c(x), "b p h w, b q h w -> b p q h w")
    return concatenate(module.fuse, x, reduce(products, "b p q h w -> b (p q)", module.pool))


def ask_bins(module: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    key, value = pyramid_pool(key, module.bins), pyramid_pool(value, module.bins)
    return module.out(like(attention(flat(query), key, value, module.scale), query))


def asymmetric_non_local(module: nn.Module, x: Tensor) -> Tensor:
    phi = module.phi(x)
    y = ask_bins(module, phi, phi, module.value(x))
    return torch.relu(module.fuse(torch.cat([y, x], 1)))


def asymmetric_fusion(module: nn.Module, x: Tensor) -> Tensor:
    y = ask_bins(module, module.query(x), module.key(x), module.value(x))
    return module.fuse(torch.cat([y, x], 1))


def compact_non_local(module: nn.Module, x: Tensor) -> Tensor:
    """With f between all channels of all pixels of a group in memory."""
    theta, phi, g = (
        rearrange(t(x), "b (k c) h w -> b k (c h w)", k=module.groups)
        for t in (module.theta, module.phi, module.g)
    )
    f = einsum(theta, phi, "b k i, b k j -> b k i j")
    y = einsum(f, g, "b k i j, b k j -> b k i")
    y = rearrange(y, "b k (c h w) -> b (k c) h w", h=x.shape[2], w=x.shape[3])
    return module.norm(module.out(y)) + x


def criss_cross(module: nn.Module, x: Tensor) -> Tensor:
    """With the affinities of all pairs, of which all but the cross are masked."""
    h, w = x.shape[2:]
    pixel = torch.arange(h * w, device=x.device)
    row, column = pixel // w, pixel % w
    off = (row != row[:, None]) & (column != column[:, None])
    for _ in range(module.recurrence):
        query, key, value = (flat(t(x)) for t in (module.query, module.key, module.value))
        affinity = module.scale * einsum(query, key, "b d i, b d j -> b i j")
        weights = torch.softmax(affinity.masked_fill(off, float("-inf")), -1)
        x = module.gamma * like(einsum(weights, value, "b i j, b c j -> b c i"), x) + x
    return x


@functools.lru_cache(maxsize=6)
def joined(head: tuple, h: int, w: int) -> Tensor:
    """E of all pairs of pixels."""
    return torch.stack([support(head, h, w, divmod(i, w)).flatten() for i in range(h * w)])


def graph_guided(module: nn.Module, x: Tensor) -> Tensor:
    """With the affinities of all pairs for each head, and a mask; E is made once, outside."""
    value, y = flat(module.g(x)), 0
    for head, theta, phi, out in zip(module.heads, module.theta, module.phi, module.out):
        away = ~joined(head, *x.shape[2:]).to(x.device)
        affinity = module.scale * einsum(flat(theta(x)), flat(phi(x)), "b d i, b d j -> b i j")
        weights = torch.softmax(affinity.masked_fill(away, float("-inf")), -1)
        y = y + out(like(einsum(weights, value, "b i j, b d j -> b d i"), x))
    return module.fuse(torch.cat([x, y], 1))


def position_attention(module: nn.Module, x: Tensor) -> Tensor:
    """As it is commonly written: two batched products around one soft-max, maps left as they lie.

    This is faster than `attention`, whose product answers with its channels last.
    """
    query, key, value = (flat(t(x)) for t in (module.query, module.key, module.value))
    affinity = torch.softmax(module.scale * torch.bmm(query.mT, key), -1)
    return module.alpha * like(torch.bmm(value, affinity.mT), x) + x


def dual_attention(module: nn.Module, x: Tensor) -> Tensor:
    first, position, last = module.position
    y = module.position_merge(last(position_attention(position, first(x))))
    return y + module.channel_merge(module.channel(x))


def gcnet(module: nn.Module, x: Tensor) -> Tensor:
    """As it is commonly written: soft-max, matrix product, and 1 x 1 convolutions on the vector."""

    def conv(layer: nn.Linear, vector: Tensor) -> Tensor:
        return nn.functional.conv2d(vector, layer.weight[..., None, None], layer.bias)

    weights = torch.softmax(flat(module.mask(x)), -1)
    context = torch.matmul(flat(x), weights.mT)[..., None]
    hidden, norm = conv(module.squash, context), module.norm
    weight, bias = norm.weight[:, None, None], norm.bias[:, None, None]
    hidden = nn.functional.layer_norm(hidden, hidden.shape[1:], weight, bias, norm.eps)
    e = conv(module.expand, torch.relu(hidden))
    return x + e if module.fuse == "add" else x * torch.sigmoid(e)


def encoding(module: nn.Module, x: Tensor) -> Tensor:
    """With the residuals of every pixel to every codeword in memory."""
    f, d = flat(module.features(x)), module.codewords
    residuals = rearrange(f, "b c n -> b n 1 c") - d
    distance = reduce(residuals**2, "b n k c -> b n k", "sum")
    e = torch.softmax(-module.smoothing * distance, -1)
    sums = reduce(rearrange(e, "b n k -> b n k 1") * residuals, "b n k c -> b k c", "sum")
    vector = reduce(torch.relu(module.norm(sums)), "b k c -> b c", module.aggregate)
    y = rearrange(torch.sigmoid(module.gate(vector)), "b c -> b c 1 1") * x
    return torch.relu(x + y) if module.residual else y


def ocnet(module: nn.Module, x: Tensor) -> Tensor:
    """The base form."""
    (context,) = module.contexts
    theta, value = flat(context.embed(x)), flat(context.value(x))
    y = context.out(like(attention(theta, theta, value, theta.shape[1] ** -0.5), x))
    return module.project(torch.cat([y, x], 1))


def ocr(module: nn.Module, x: Tensor) -> Tensor:
    regions = torch.softmax(flat(module.classifier(x)), -1)
    nodes = rearrange(einsum(regions, flat(x), "b k i, b c i -> b c k"), "b c k -> b c k 1")
    query, key, value = flat(module.phi(x)), flat(module.psi(nodes)), flat(module.delta(nodes))
    y = module.rho(like(attention(query, key, value, query.shape[1] ** -0.5), x))
    return module.g(torch.cat([y, x], 1))


def self_attention(module: nn.Module, x: Tensor) -> Tensor:
    query, key, value = (
        rearrange(t, "b (k d) h w -> (b k) d (h w)", k=module.heads)
        for t in module.project(x).split(module.widths, 1)
    )
    y = attention(query, key, value, module.scale)
    y = rearrange(y, "(b k) d (h w) -> b (k d) h w", k=module.heads, h=x.shape[2])
    y = module.out(torch.relu(y))
    return x + y if module.residual else y


def dynamic_prototype(module: nn.Module, x: Tensor) -> Tensor:
    """Over classes, with the gate at every pixel in memory."""
    regions = torch.softmax(flat(module.classifier(x)), -1)
    p = einsum(regions, flat(x), "b k i, b c i -> b c k")
    e = torch.softmax(module.embed(p), -1)
    v = reduce(e * p, "b c k -> b c", "sum")
    s = torch.sigmoid(module.expand(torch.relu(module.norm(module.squash(v)))))
    return repeat(s, "b c -> b c h w", h=x.shape[2], w=x.shape[3]) * x + x


def rectangular_attention(module: nn.Module, x: Tensor) -> Tensor:
    """With the sum of rows and columns as a map, which both strips convolve."""
    strip = module.row_strip
    rows, columns = reduce(x, "b c h w -> b c h 1", "mean"), reduce(x, "b c h w -> b c 1 w", "mean")
    a = nn.functional.conv2d(
        rows + columns, strip.weight, strip.bias, padding=strip.padding, groups=strip.groups
    )
    return torch.sigmoid(module.column_strip(module.between(a))) * module.local(x)


def rectangular_calibration(module: nn.Module, x: Tensor) -> Tensor:
    y = module.norm(rectangular_attention(module.mixer, x))
    return x + module.gamma * module.project(nn.functional.gelu(module.expand(y)))


def squeeze_reasoning(module: nn.Module, x: Tensor) -> Tensor:
    """The default form, with φ(x) ∘ γ(x), I - A and the gate at every pixel in memory."""
    squeezed = module.phi(x) * module.gamma(x)
    g = reduce(squeezed, "b p h w -> b p", module.pool)
    nodes = rearrange(g, module.split, k=module.nodes)
    a, w = module.talk.adjacency[0].weight, module.talk.weight[0].weight
    a = torch.eye(module.nodes).to(a) - rearrange(a, "k j 1 -> k j")
    nodes = torch.relu(einsum(a, nodes, rearrange(w, "n m 1 -> n m"), "k j, b j m, n m -> b k n"))
    gate = repeat(rearrange(nodes, module.join), "b p -> b p h w", h=x.shape[2], w=x.shape[3])
    return x + module.out(gate * module.theta(x))


def coordinate_branch(module: nn.Module, x: Tensor) -> Tensor:
    """With A_S, cells x cells, in memory, and ξ behind the upsampling as the paper has it."""
    v = module.cells(x)
    delta, psi, nu = (flat(f(v)) for f in (module.delta, module.psi, module.nu))
    a = einsum(delta, psi, "b e i, b e j -> b i j") / psi.shape[2]
    m = module.weight(like(einsum(a, nu, "b i j, b e j -> b e i"), v))
    return module.xi(module.upsample(m, *x.shape[2:]))


def feature_branch(module: nn.Module, x: Tensor) -> Tensor:
    """With I - A in memory."""
    phi, theta = flat(module.phi(x)), flat(module.theta(x))
    v = einsum(phi, theta, "b n i, b d i -> b n d") / phi.shape[2]
    a, w = module.talk.adjacency[0].weight, module.talk.weight[0].weight
    a = torch.eye(v.shape[1]).to(a) - rearrange(a, "n m 1 -> n m")
    m = einsum(einsum(a, v, "n m, b m d -> b n d"), rearrange(w, "e d 1 -> e d"),
               "b n d, e d -> b n e")  # fmt: skip
    return module.out(like(einsum(phi, m, "b n i, b n e -> b e i"), x))


def coordinate_graph(module: nn.Module, x: Tensor) -> Tensor:
    return x + coordinate_branch(module, x)


def feature_graph(module: nn.Module, x: Tensor) -> Tensor:
    return x + feature_branch(module, x)


def dual_graph(module: nn.Module, x: Tensor) -> Tensor:
    return x + coordinate_branch(module.coordinate, x) + feature_branch(module.feature, x)


def public_global_context(module: nn.Module, x: Tensor) -> Tensor:
    """Pooling as a product of the map with the mask, and a bottleneck of 1 x 1 convolutions."""
    b, c, h, w = x.shape
    mask = torch.softmax(module.mask(x).view(b, 1, h * w), 2)
    pooled = torch.matmul(x.view(b, 1, c, h * w), mask.unsqueeze(-1)).view(b, c, 1, 1)
    squash, norm, expand = module.squash, module.norm, module.expand
    e = nn.functional.conv2d(pooled, squash.weight[..., None, None], squash.bias)
    shape = (len(norm.weight), 1, 1)
    affine = norm.weight.view(shape), norm.bias.view(shape)
    e = torch.relu(nn.functional.layer_norm(e, shape, *affine, norm.eps))
    e = nn.functional.conv2d(e, expand.weight[..., None, None], expand.bias)
    return x + e if module.fuse == "add" else x * torch.sigmoid(e)


def public_position_attention(module: nn.Module, x: Tensor) -> Tensor:
    """Two batched products with the affinities of all pairs between them."""
    b, c, h, w = x.shape
    query = module.query(x).view(b, -1, h * w).permute(0, 2, 1)
    key, value = (t(x).view(b, -1, h * w) for t in (module.key, module.value))
    products = torch.bmm(query, key)
    if module.scale != 1:
        products = module.scale * products
    affinity = torch.softmax(products, -1)
    e = torch.bmm(value, affinity.permute(0, 2, 1)).view(b, c, h, w)
    return module.alpha * e + x


#: the form in common use where one differs from ours, written anew from the equations
PUBLIC: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "gcnet": public_global_context,
    "position_attention": public_position_attention,
}

#: modules whose forward pass is the equation as it stands already
ITSELF = frozenset(
    {"aspp", "cbam", "channel_attention", "convnext", "coordinate_attention", "dense_aspp"}
    | {"double_attention", "em_attention", "gather_excite", "glore", "hamburger"}
    | {"inceptionnext", "pyramid_pooling", "squeeze_excite", "strip_pooling"}
)

PLAIN: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "asymmetric_fusion": asymmetric_fusion,
    "asymmetric_non_local": asymmetric_non_local,
    "bilinear_pooling": bilinear_pooling,
    "compact_non_local": compact_non_local,
    "coordinate_graph": coordinate_graph,
    "criss_cross": criss_cross,
    "dual_attention": dual_attention,
    "dual_graph": dual_graph,
    "dynamic_prototype": dynamic_prototype,
    "encoding": encoding,
    "feature_graph": feature_graph,
    "gcnet": gcnet,
    "global_average": global_average,
    "graph_conv": graph_conv,
    "graph_guided": graph_guided,
    "hadamard_pooling": hadamard_pooling,
    "non_local": non_local,
    "ocnet": ocnet,
    "ocr": ocr,
    "position_attention": position_attention,
    "rectangular_attention": rectangular_attention,
    "rectangular_calibration": rectangular_calibration,
    "self_attention": self_attention,
    "squeeze_reasoning": squeeze_reasoning,
}

#: sides up to which forward and backward pass fit comfortably into 24 GiB at 512 channels
LARGEST = {"compact_non_local": 16, "graph_guided": 64, "self_attention": 64}
