"""Graph guided context fusion: every head asks along a graph of its own.

Li, Yang, Chen, Wen: Graph Guided Context Fusion for Semantic Segmentation. No code of the authors
is known.
"""

import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import Tensor, nn

from ._precision import exact, without_autocast
from ._registry import register
from ._shapes import Float, check_choice, check_map, check_positive, check_query, check_splits
from .non_local import softmax_attention

SIX = ("LOCAL_8", "LOCAL_16", "LOCAL_24", "GRID_8", "GRID_16", "GRID_24")
GRAPHS = ("given", "learned", "table")
PRUNES = ("top", "random", "lowest")
#: queries along each side of a block of a LOCAL head
BLOCK = 8
#: affinities that exist at once where they are written down
AT_ONCE = 2**20

Box = tuple[slice, ...]


class Head(NamedTuple):
    """The graph of a head: j answers i where j - i is a multiple of ``step``, within ``reach``."""

    name: str
    step: int = 1
    reach: int | None = None


class Pruning(NamedTuple):
    """How many answer a pixel in a head, which ones, and the head's place, seed of "random"."""

    keep: int | float
    prune: str
    place: int


def parse_heads(heads: Sequence[str | Head]) -> tuple[Head, ...]:
    """The graphs that are named "FULL", "LOCAL_S" and "GRID_T", S and T whole numbers from 1.

    Example:
        >>> parse_heads(["FULL", "LOCAL_8", "GRID_16"])[1:]
        (Head(name='LOCAL_8', step=1, reach=8), Head(name='GRID_16', step=16, reach=None))
    """
    wanted = "expected heads to be a sequence of FULL, LOCAL_S or GRID_T with S and T from 1"
    if isinstance(heads, (str, Head)) or not isinstance(heads, Sequence) or not heads:
        raise ValueError(f"{wanted}, got {heads!r}")
    found = []
    for head in heads:
        if isinstance(head, Head):
            found.append(head)
            continue
        match = isinstance(head, str) and re.fullmatch(r"FULL|(LOCAL|GRID)_([1-9][0-9]*)", head)
        if not match:
            raise ValueError(f"{wanted}, got {head!r}")
        kind, size = match[1], int(match[2] or 0)
        reach, step = size if kind == "LOCAL" else None, size if kind == "GRID" else 1
        found.append(Head(head, step, reach))
    return tuple(found)


def offsets(head: str | Head, h: int, w: int) -> Tensor:
    """The graph by (dy, dx) = i - j, from (1 - h, 1 - w) on, ``(2h-1) (2w-1)``: all it depends on.

    Example:
        >>> offsets("GRID_2", 1, 3)
        tensor([[ True, False,  True, False,  True]])
    """
    (head,) = parse_heads([head])

    def axis(n: int) -> Tensor:
        d = torch.arange(1 - n, n)
        return (d % head.step == 0) & (d.abs() <= (n if head.reach is None else head.reach))

    return axis(h)[:, None] & axis(w)


def support(head: str | Head, h: int, w: int, query: tuple[int, int]) -> Tensor:
    """The pixels that answer one pixel in a head, ``h w`` of booleans.

    Example:
        >>> support("LOCAL_1", 2, 4, query=(0, 0)).int()
        tensor([[1, 1, 0, 0],
                [1, 1, 0, 0]], dtype=torch.int32)
    """
    y, x = check_query(query, h, w)
    return offsets(head, h, w)[y : y + h, x : x + w].flip(0, 1)


def edges(head: str | Head, h: int, w: int) -> int:
    """The pairs (i, j) of a head's graph, each direction for itself and every pixel with itself.

    Example:
        >>> edges("FULL", 128, 256), edges("LOCAL_8", 128, 256), edges("GRID_8", 128, 256)
        (1073741824, 9005120, 16777216)
    """
    return edges_of_union([head], h, w)


def edges_of_union(heads: Sequence[str | Head], h: int, w: int) -> int:
    """The pairs (i, j) that stand in at least one of the graphs.

    Example:
        >>> edges_of_union(SIX, 128, 256)
        83166784
    """
    check_positive(h=h, w=w)
    rows, columns = (n - torch.arange(1 - n, n).abs() for n in (h, w))  # pairs at that offset
    union = torch.stack([offsets(head, h, w) for head in parse_heads(heads)]).any(0)
    return int((union * rows[:, None] * columns).sum())


def fold(t: Float[Tensor, "b h w d"], step: int) -> Float[Tensor, "b s t y x d"]:
    """A map as its step x step sub-lattices, each of them a small map of its own.

    Where step does not divide h or w, the last rows or columns are padding in some of them.
    """
    _, h, w, _ = t.shape
    if h % step or w % step:
        t = F.pad(t, (0, 0, 0, -w % step, 0, -h % step))
    return rearrange(t, "b (y s) (x t) d -> b s t y x d", s=step, t=step)


def unfold(t: Float[Tensor, "b s t y x d"], h: int, w: int) -> Float[Tensor, "b h w d"]:
    """`fold` backward."""
    return rearrange(t, "b s t y x d -> b (y s) (x t) d")[:, :h, :w]


def runs(n: int, step: int) -> list[tuple[slice, slice]]:
    """The residue classes along an axis, and their pixels, by how many these are: no padding."""
    y, longer = divmod(n, step)
    every = (slice(0, longer), slice(0, y + 1)), (slice(longer, step), slice(0, y))
    return [(some, pixels) for some, pixels in every if some.start < some.stop and pixels.stop]


def halos(n: int, reach: int) -> list[tuple[slice, slice]]:
    """Along one axis, the blocks of queries and the pixels that lie within reach of one of them."""
    ends = [(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK)]
    return [(slice(a, z), slice(max(0, a - reach), min(n, z + reach))) for a, z in ends]


def groups(head: Head, h: int, w: int) -> Iterator[tuple[Box, Box]]:
    """Boxes of the folded map that ask, each with the box of those that answer: copied at once.

    LOCAL: bands of some rows, each with its halo as far as that lies inside the map. Others: the
    sub-lattices of one size.
    """
    if head.reach is None:
        for s, y in runs(h, head.step):
            for t, x in runs(w, head.step):
                yield (s, t, y, x), (s, t, y, x)
    else:
        one, every = slice(0, 1), slice(0, w)
        for rows, answering in halos(h, head.reach):
            yield (one, one, rows, every), (one, one, answering, every)


def cuts(
    head: Head, near: Tensor | None, n: int, ask: Box, answer: Box
) -> Iterator[tuple[slice, slice, slice, Tensor | None]]:
    """Cuts a group into pieces, for each of which the affinities are written down.

    LOCAL: square blocks of a band, with what of the window belongs to them. Others: as many of the
    n sub-lattices or else of their queries as go at once.
    """
    (p, q), (rows, columns) = ([r.stop - r.start for r in box[2:]] for box in (ask, answer))
    if head.reach is None:
        few = min(p * q, max(1, AT_ONCE // (rows * columns)))
        some = max(1, AT_ONCE // (few * rows * columns))
        for a in range(0, n, some):
            for i in range(0, p * q, few):
                yield slice(a, a + some), slice(i, i + few), slice(0, rows * columns), None
        return
    above = answer[2].start - ask[2].start + head.reach
    band = rearrange(near[:, :p, :, above : above + rows], "q p x y -> (q p) (x y)")
    for block, halo in halos(q, head.reach):
        left = halo.start - block.start + head.reach
        yield (
            slice(0, n),
            slice(block.start * p, block.stop * p),
            slice(halo.start * rows, halo.stop * rows),
            band[
                : (block.stop - block.start) * p,
                left * rows : (left + halo.stop - halo.start) * rows,
            ],
        )


def window(reach: int | None, h: int, w: int, like: Tensor) -> Float[Tensor, "q p x y"] | None:
    """0 where j is within reach of i, else minus infinity, for a block and its whole halo."""
    if reach is None:
        return None

    def axis(n: int) -> Tensor:
        i, j = (torch.arange(m, device=like.device) for m in (n, n + 2 * reach))
        return (i[:, None] + reach - j).abs() <= reach

    rows, columns = (axis(min(BLOCK, n)) for n in (h, w))
    inside = rearrange(columns, "q x -> q 1 x 1") & rearrange(rows, "p y -> 1 p 1 y")
    return torch.zeros_like(inside, dtype=like.dtype).masked_fill(~inside, float("-inf"))


def flat(t: Tensor, box: Box) -> Float[Tensor, "n i d"]:
    """The pixels of a box as nodes, column by column, so that a block of a band is one run."""
    return rearrange(t[:, *box], "b s t y x d -> (b s t) (x y) d")


def map_of(nodes: Float[Tensor, "n i d"], t: Tensor, box: Box) -> Tensor:
    """`flat` backward."""
    _, s, t, y, _, _ = t[:, *box].shape
    return rearrange(nodes, "(b s t) (x y) d -> b s t y x d", s=s, t=t, y=y)


def offset_numbers(i: Tensor, j: Tensor, h: int, w: int) -> Tensor:
    """Where log E of the pixels i and j stands in the table ``(2h-1) (2w-1)`` of offsets."""
    i, j = (number // w * (2 * w - 1) + number % w for number in (i, j))
    return i[:, None] - j + (h - 1) * (2 * w - 1) + w - 1


def scatter_hash(i: Tensor, j: Tensor, seed: int) -> Tensor:
    """Whole numbers from 0 that look drawn at random, the same ones for the same pairs."""
    z = (i * 0x9E3779B1 + j * 0x85EBCA77 + (seed + 1) * 0xC2B2AE3D) & 0xFFFFFFFF
    for factor in (0x2C1B3C6D, 0x297A2D39):
        z = ((z ^ (z >> 15)) * factor) & 0xFFFFFFFF
    return z ^ (z >> 15)


def prune_logits(
    logits: Float[Tensor, "b i j"], pruning: Pruning, i: Tensor, j: Tensor
) -> Float[Tensor, "b i j"]:
    """Minus infinity for all but those that are kept of each pixel's support.

    Args:
        logits: minus infinity off the support.
        pruning: how many are kept, and which.
        i, j: the numbers of the pixels that ask and answer, ``b i`` and ``b j``.
    """
    keep, inside = pruning.keep, logits > float("-inf")
    if pruning.prune == "random":
        score = scatter_hash(i[..., None], j[:, None], pruning.place)
    else:
        score = logits if pruning.prune == "top" else -logits
    least = -1 if pruning.prune == "random" else float("-inf")
    count, answering = inside.sum(-1, keepdim=True), logits.shape[-1]
    if isinstance(keep, int):
        kept, most = count.clamp(max=keep), min(keep, answering)
    else:  # less than a rounding error above a whole number is that number
        kept = torch.ceil(keep * count.double() - 1e-9)
        most = math.ceil(keep * answering - 1e-9)
    best = score.masked_fill(~inside, least).topk(most).indices
    first = (torch.arange(most, device=logits.device) < kept).expand(best.shape)
    chosen = torch.zeros_like(inside).scatter(-1, best, first)
    return logits.masked_fill(~chosen, float("-inf"))


class GuidedAttention(torch.autograd.Function):
    """One head: ``sum_j softmax_j(scale q_i . k_j + log E(i, j)) v_j`` over its graph, by pieces.

    Of what the pieces need, halos and affinities, nothing is kept: the backward pass makes it
    anew, piece by piece.
    """

    @staticmethod
    def forward(ctx, query, key, value, table, head, scale, pruning):
        ctx.save_for_backward(query, key, value, table)
        ctx.setting = head, scale, pruning
        h, w = query.shape[1:3]
        q, k, v, number = (fold(t, head.step) for t in (query, key, value, pixel_numbers(query)))
        y = torch.empty_like(q, memory_format=torch.contiguous_format)
        near = window(head.reach, h, w, exact(query[:0]))
        fused = head.reach is None and table is None and pruning is None
        with without_autocast(query):
            for ask, answer in groups(head, h, w):
                asked, keys, values = flat(q, ask), flat(k, answer), flat(v, answer)
                if fused:
                    nodes = (t[:, None] for t in (asked, keys, values))
                    found = F.scaled_dot_product_attention(*nodes, scale=scale)[:, 0]
                else:
                    asked, keys, values = scale * exact(asked), exact(keys), exact(values)
                    numbers = flat(number, ask)[..., 0], flat(number, answer)[..., 0]
                    found = torch.empty_like(asked)
                    for n, i, j, mask in cuts(head, near, len(asked), ask, answer):
                        where = numbers[0][n, i], numbers[1][n, j], h, w
                        a = affinities(asked[n, i], keys[n, j], mask, table, pruning, where)
                        found[n, i] = a @ values[n, j]
                y[:, *ask] = map_of(found.to(y.dtype), y, ask)
        return unfold(y, h, w)

    @staticmethod
    def backward(ctx, slope):
        query, key, value, table = ctx.saved_tensors
        head, scale, pruning = ctx.setting
        h, w = query.shape[1:3]
        maps = (query, key, value, slope, pixel_numbers(query))
        q, k, v, dy, number = (fold(t, head.step) for t in maps)
        dq, dk, dv = (torch.zeros_like(t, memory_format=torch.contiguous_format) for t in (q, k, v))
        of_table = None if table is None else torch.zeros_like(table).flatten()
        near = window(head.reach, h, w, exact(query[:0]))
        with without_autocast(query):
            for ask, answer in groups(head, h, w):
                asked, keys, values, slopes = (
                    exact(flat(t, box))
                    for t, box in ((q, ask), (k, answer), (v, answer), (dy, ask))
                )
                asked = scale * asked
                numbers = flat(number, ask)[..., 0], flat(number, answer)[..., 0]
                of_asked, of_keys, of_values = (torch.zeros_like(t) for t in (asked, keys, values))
                for n, i, j, mask in cuts(head, near, len(asked), ask, answer):
                    where = numbers[0][n, i], numbers[1][n, j], h, w
                    a = affinities(asked[n, i], keys[n, j], mask, table, pruning, where)
                    of_values[n, j] += a.mT @ slopes[n, i]
                    of_a = slopes[n, i] @ values[n, j].mT
                    of_logits = a * (of_a - (a * of_a).sum(-1, keepdim=True))
                    of_asked[n, i] = of_logits @ keys[n, j]
                    of_keys[n, j] += of_logits.mT @ asked[n, i]
                    if table is not None:
                        at = offset_numbers(where[0][0], where[1][0], h, w).flatten()
                        of_table.index_add_(0, at, of_logits.sum(0).flatten().to(table.dtype))
                dq[:, *ask] = map_of(scale * of_asked, dq, ask).to(dq.dtype)
                dk[:, *answer] += map_of(of_keys, dk, answer)
                dv[:, *answer] += map_of(of_values, dv, answer)
        of_table = None if table is None else of_table.view_as(table)
        return *(unfold(d, h, w) for d in (dq, dk, dv)), of_table, None, None, None


def pixel_numbers(like: Float[Tensor, "b h w d"]) -> Tensor:
    """The number of each pixel in its map, ``b h w 1``."""
    b, h, w, _ = like.shape
    number = torch.arange(h * w, device=like.device)
    return rearrange(number, "(h w) -> 1 h w 1", h=h).expand(b, h, w, 1)


def affinities(
    asked: Float[Tensor, "n i d"],
    keys: Float[Tensor, "n j d"],
    mask: Float[Tensor, "i j"] | None,
    table: Tensor | None,
    pruning: Pruning | None,
    where: tuple[Tensor, Tensor, int, int],
) -> Float[Tensor, "n i j"]:
    """The weights of one piece; ``where``: the numbers ``n i`` and ``n j`` of its pixels, h, w."""
    i, j, h, w = where
    logits = asked @ keys.mT if mask is None else torch.baddbmm(mask, asked, keys.mT)
    if table is not None:
        logits = logits + exact(table).flatten()[offset_numbers(i[0], j[0], h, w)]
    if pruning is not None:
        logits = prune_logits(logits, pruning, i, j)
    return torch.softmax(logits, -1)


@register(
    "graph_guided",
    title="Graph guided context fusion (GGCF)",
    node="a pixel",
    squeeze="none",
    reason="LOCAL window, GRID lattice; top-N when pruned",
    reconstruct="concatenate",
    source="Li et al., manuscript, after 2018",
    lesson="09",
)
class GraphGuided(nn.Module):
    """Fuses every pixel with those that a graph joins to it, one graph a head, by affinity.

        y_i = Σ_k W_k / C_ik Σ_j E_k(i, j) A_k(x_i, x_j) g(x_j),    z_i = W [x_i, y_i]
        A_k(x_i, x_j) = exp(θ_k(x_i) · φ_k(x_j)),    C_ik = Σ_j E_k(i, j) A_k(x_i, x_j)

        FULL       E(i, j) = 1
        LOCAL_S    E(i, j) = 1 where max(|i_x - j_x|, |i_y - j_y|) <= S, else 0
        GRID_T     E(i, j) = 1 where i_x = j_x and i_y = j_y modulo T, else 0
        learned    E(i, j) = softplus(MLP(i_x - j_x, i_y - j_y, |i - j|)), two layers
        table      E(i, j) = exp(B[i_y - j_y, i_x - j_x]), B a free table

    Squeeze: none, every pixel is a node.
    Reason: a pixel talks along the graph of each head, dense nearby and sparse far away.
    Reconstruct: concatenate with the pixel itself and project, or add to it.

    Args:
        channels: channels c of the map.
        heads: the graphs: "FULL", "LOCAL_S" and "GRID_T" in any number and order, the same one as
            often as wanted. A head that is larger than the map is no error.
        reduction: θ_k, φ_k and the one g are d = c / reduction wide; must divide c.
        scale: divide the logits by √d.
        fuse: "concatenate", or "add": z = x + y.
        zero_init: start as the identity: the W_k are zero, and W reads x alone.
        graph: "given": by the heads. "learned" and "table", for heads that are all FULL: the graph
            is learned too, and log E is added to the logits. Offsets enter the two layers divided
            by the longer side of the map.
        hidden: width between the two layers of the learned graph.
        table: height and width of the largest map for which the table has room.
        keep: context pruning, for inference alone: each pixel asks N (a whole number) or a share
            (between 0 and 1, rounded up) of those it is joined to in a head, and the weights sum
            to 1 over these. None: all. May be set on a trained module.
        prune: which are kept: "top" have the largest affinity, "lowest" the smallest; "random"
            ones are drawn by the positions, the same in each call.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w. An exported module keeps to the size with which it
        was exported. Fused attention has no second derivatives on a CPU.

    Cost:
        N = h w, K heads. b N c d (3 K + 1) MACs for θ, φ, W_k and g, 2 b N c² to concatenate, and
        2 d for each edge: N² (FULL), N (2 S + 1)² less what the border cuts off (LOCAL_S), about
        N² / T² (GRID_T); see `edges`. LOCAL_S is computed by blocks of 8 x 8 pixels and spends
        (8 + 2 S)² a pixel where (2 S + 1)² count. Memory is linear in N, in training too.
        c d (3 K + 1) + 2 K d + d + c parameters, 2 c² + c more to concatenate.

    Example:
        >>> GraphGuided(64, heads=("LOCAL_2", "GRID_3"))(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Li et al., which bears no year (its latest references are of 2018): equation 3 with the
        heads of equations 4 and 5; sections 3.4 (context pruning), 3.5 (1 x 1 convolutions,
        concatenation) and 4.2 (trainable graph).

    Differs from the official code:
        None is known. The paper classifies the concatenation right away; W keeps the channels
        instead. The W_k have one bias together, since only its sum matters. The paper prints no
        initialisation: all weights have that of torch but for the zero start. Of the learned graph
        it prints no width and no activations (ours: ReLU and softplus, as E must not be negative).
    """

    def __init__(
        self,
        channels: int,
        *,
        heads: Sequence[str] = SIX,
        reduction: int = 2,
        scale: bool = False,
        fuse: str = "concatenate",
        zero_init: bool = True,
        graph: str = "given",
        hidden: int = 64,
        table: tuple[int, int] | None = None,
        keep: int | float | None = None,
        prune: str = "top",
    ):
        super().__init__()
        check_positive(channels=channels, reduction=reduction, hidden=hidden)
        check_splits(channels=channels, reduction=reduction)
        check_choice("fuse", fuse, ("concatenate", "add"))
        check_choice("graph", graph, GRAPHS)
        self.heads = parse_heads(heads)
        self.channels, self.graph, self.keep, self.prune = channels, graph, keep, prune
        d = channels // reduction
        self.scale = d**-0.5 if scale else 1.0
        if graph != "given" and any(head.name != "FULL" for head in self.heads):
            raise ValueError(f"expected heads that are all FULL for graph={graph!r}, got {heads!r}")
        if (graph == "table") != (table is not None):
            raise ValueError(
                "expected table=(h, w), the largest map, with graph='table' and only there, "
                f"got graph={graph!r} and table={table!r}"
            )
        self.check_pruning()

        def each(inner: int, outer: int, bias: Sequence[bool]) -> nn.ModuleList:
            return nn.ModuleList(nn.Conv2d(inner, outer, 1, bias=b) for b in bias)

        k = len(self.heads)
        self.theta = each(channels, d, [True] * k)
        self.phi = each(channels, d, [True] * k)
        self.g = nn.Conv2d(channels, d, 1)
        self.out = each(d, channels, [True] + [False] * (k - 1))
        concatenate = fuse == "concatenate"
        self.fuse = nn.Conv2d(2 * channels, channels, 1) if concatenate else None
        if graph == "learned":
            self.guide = nn.Sequential(nn.Linear(3, hidden), nn.ReLU(), nn.Linear(hidden, k))
        if graph == "table":
            rows, columns = table
            check_positive(rows=rows, columns=columns)
            self.table = nn.Parameter(torch.zeros(k, 2 * rows - 1, 2 * columns - 1))
        if zero_init:
            self.start_as_identity()

    @torch.no_grad()
    def start_as_identity(self) -> None:
        """W_k = 0; where x and y are concatenated, W starts as the identity on the half of x."""
        for layer in self.out:
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(self.out[0].bias)
        if self.fuse is not None:
            nn.init.dirac_(self.fuse.weight[:, : self.channels])
            nn.init.zeros_(self.fuse.bias)

    def check_pruning(self) -> None:
        """Refuse what cannot be kept."""
        keep = self.keep
        check_choice("prune", self.prune, PRUNES)
        if keep is None:
            return
        number = isinstance(keep, (int, float)) and not isinstance(keep, bool)
        if not number or not (keep >= 1 if isinstance(keep, int) else 0 < keep < 1):
            raise ValueError(
                "expected keep to be None, a whole number of at least 1 or a share between 0 and "
                f"1, got {keep!r}"
            )
        if self.graph != "given":
            raise ValueError(f"expected graph='given' with keep={keep!r}, got {self.graph!r}")

    def pruning(self, place: int) -> Pruning | None:
        return None if self.keep is None else Pruning(self.keep, self.prune, place)

    def log_graph(self, h: int, w: int) -> Float[Tensor, "k 2*h-1 2*w-1"] | None:
        """log E of each head by the offset i - j, from (1 - h, 1 - w) on; None where it is given.

        Example:
            >>> GraphGuided(8, heads=["FULL"], graph="learned").log_graph(3, 5).shape
            torch.Size([1, 5, 9])
        """
        if self.graph == "given":
            return None
        if self.graph == "table":
            largest = tuple((n + 1) // 2 for n in self.table.shape[1:])
            if h > largest[0] or w > largest[1]:
                raise ValueError(
                    f"expected a map of at most {largest[0]} x {largest[1]}, for which the table "
                    f"has room, got {h} x {w}"
                )
            rows, columns = (slice(n - m, n + m - 1) for n, m in zip(largest, (h, w)))
            return self.table[:, rows, columns]
        weight = self.guide[0].weight
        dy, dx = (torch.arange(1 - n, n, device=weight.device) for n in (h, w))
        dy, dx = exact(torch.stack(torch.meshgrid(dy, dx, indexing="ij")).to(weight.dtype))
        offset = torch.stack([dx, dy, torch.hypot(dx, dy)], -1) / max(h, w)
        z = exact(rearrange(self.guide(offset.to(weight.dtype)), "y x k -> k y x"))
        return torch.where(z < -30, z, F.softplus(z.clamp(min=-30)).log())  # softplus(z) → e^z

    def context(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The sum y of the heads."""
        check_map(self, x, self.channels)
        self.check_pruning()
        if self.training and self.keep is not None:
            raise ValueError(f"expected keep=None in training, got {self.keep!r}: see eval()")
        x = x.contiguous(memory_format=torch.channels_last)  # so 1 x 1 convolutions yield rows
        value, tables = rows_of(self.g(x)), self.log_graph(*x.shape[2:])
        y = 0
        for place, head in enumerate(self.heads):
            query, key = rows_of(self.theta[place](x)), rows_of(self.phi[place](x))
            table = None if tables is None else tables[place]
            pruning = self.pruning(place)
            found = guided_attention(query, key, value, head, self.scale, table, pruning)
            y = y + self.out[place](rearrange(found, "b h w d -> b d h w"))
        return y

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        y = self.context(x)
        return x + y if self.fuse is None else self.fuse(torch.cat([x, y], 1))

    @torch.no_grad()
    def affinity(
        self, x: Float[Tensor, "b c h w"], query: tuple[int, int]
    ) -> Float[Tensor, "b k y x"]:
        """The weights E A / C with which one pixel asks, in each head.

        Args:
            x: the map that enters the module.
            query: row and column of the pixel that asks.

        Returns:
            ``b k h w``: sums to 1 over the map, is zero off the graph, and off what is kept.

        Example:
            >>> module = GraphGuided(8, heads=["FULL", "GRID_2"])
            >>> module.affinity(torch.randn(2, 8, 9, 7), query=(4, 0)).shape
            torch.Size([2, 2, 9, 7])
        """
        check_map(self, x, self.channels)
        self.check_pruning()
        h, w = x.shape[2:]
        y0, x0 = check_query(query, h, w)
        tables, found = self.log_graph(h, w), []
        for place, head in enumerate(self.heads):
            pixel = x[:, :, y0 : y0 + 1, x0 : x0 + 1]
            asks, key = exact(self.theta[place](pixel)[..., 0, 0]), exact(self.phi[place](x))
            logits = self.scale * einsum(asks, key, "b d, b d y x -> b y x")
            joined = support(head, h, w, query).to(x.device)
            logits = logits.masked_fill(~joined, float("-inf"))
            logits = rearrange(logits, "b y x -> b 1 (y x)")
            if tables is not None:
                bias = exact(tables[place])[y0 : y0 + h, x0 : x0 + w].flip(0, 1)
                logits = logits + bias.flatten()
            if (pruning := self.pruning(place)) is not None:
                number = torch.arange(h * w, device=x.device)[None]
                logits = prune_logits(logits, pruning, number[:, y0 * w + x0, None], number)
            found.append(rearrange(torch.softmax(logits, -1), "b 1 (y x) -> b y x", y=h))
        return torch.stack(found, 1).to(x.dtype)


def rows_of(t: Float[Tensor, "b d h w"]) -> Float[Tensor, "b h w d"]:
    """Rows of pixels with their channels side by side."""
    return rearrange(t, "b d h w -> b h w d").contiguous()


def guided_attention(
    query: Float[Tensor, "b h w d"],
    key: Float[Tensor, "b h w d"],
    value: Float[Tensor, "b h w d"],
    head: Head,
    scale: float,
    table: Tensor | None = None,
    pruning: Pruning | None = None,
) -> Float[Tensor, "b h w d"]:
    """``sum_j softmax_j(scale q_i . k_j + log E(i, j)) v_j`` over the graph of one head."""
    h, w = query.shape[1:3]
    if table is None and pruning is None and support_is_full(head, h, w):
        nodes = (rearrange(t, "b h w d -> b 1 (h w) d") for t in (query, key, value))
        return rearrange(softmax_attention(*nodes, scale), "b 1 (h w) d -> b h w d", h=h)
    return GuidedAttention.apply(query, key, value, table, head, scale, pruning)


def support_is_full(head: Head, h: int, w: int) -> bool:
    """Everyone is joined to everyone."""
    return head.step == 1 and (head.reach is None or head.reach >= max(h, w) - 1)
