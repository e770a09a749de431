"""Dynamic prototypes: the classes that an image holds say which channels count in it.

Ni, Chen, Zhai, Tang, Wang: Context-Guided Spatial Feature Reconstruction for Efficient Semantic
Segmentation (CGRSeg), ECCV 2024, https://arxiv.org/abs/2405.06228
"""

import torch
from einops import einsum, rearrange
from torch import Tensor, nn

from ._registry import register
from ._shapes import Float, check_choice, check_map, check_positive

GATHER = ("classes", "pixels")


def fusion(channels: int) -> list[nn.Module]:
    """φ: one number a channel, batch normalisation and ReLU."""
    scale = nn.Conv2d(channels, channels, 1, groups=channels, bias=False)
    return [scale, nn.BatchNorm2d(channels), nn.ReLU()]


@register(
    "dynamic_prototype",
    title="Dynamic prototypes (DPG)",
    node="a class",
    squeeze="class-probability pooling",
    reason="one question to all classes, then two fully connected layers",
    reconstruct="channel gate",
    source="Ni et al., ECCV 2024",
    lesson="12",
)
class DynamicPrototype(nn.Module):
    """Describes each class by the pixels that look like it, and lets the classes gate the channels.

        l = W_c φ(x),    m_ki = exp(l_ki) / Σ_j exp(l_kj),    p_k = Σ_i m_ki x_i
        e_k = exp(u · p_k) / Σ_j exp(u · p_j),    v = Σ_k e_k p_k
        s = σ(W₂ ReLU(LN(W₁ v))),    y_i = s ⊙ x_i + x_i

    Squeeze: the mean of x over the soft region of each class, its prototype in this image.
    Reason: a weighted mean of the prototypes, with weights e that sum to 1 over the classes; then
        two fully connected layers, so that channels talk.
    Reconstruct: a gate multiplies each channel of the whole map; add.

    Args:
        channels: channels c of the map, at least 2.
        regions: K classes of the module's own ``classifier``, which finds the regions in x when
            forward gets no logits (add a loss on ``classifier(x)`` to make them classes); None:
            forward always gets logits or prototypes.
        gather: "classes", or "pixels" for the control without classes: every pixel is its own
            prototype, which makes e and v the attention pooling of GCNet.

    Shape:
        x ``b c h w``, logits ``b k h w`` or None, prototypes ``b c k`` (or ``1 c k``, for all
        images) or None, to ``b c h w``, any h and w (in training, the classifier needs b h w > 1).

    Cost:
        N = h w, K regions: b N K c, and b N (K c + c) for the classifier; b (2 K c + 2 c²) beside
        them ("pixels": 2 b (N c + c²) in all). 2 c² + 5 c + 1 parameters, of the classifier
        K c + K + 3 c.

    Example:
        >>> DynamicPrototype(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])
        >>> coarse = torch.randn(2, 5, 9, 7)
        >>> DynamicPrototype(64, regions=None)(torch.randn(2, 64, 9, 7), coarse).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Ni et al., ECCV 2024, equations 5 to 7 (150 classes of ADE20K, 128 channels).

    Differs from the official code:
        In the slot, the coarse logits are of a classifier of its own;
        :class:`DynamicPrototypeHead` has one for both. The soft-max over the pixels, the sigmoid,
        the sum with x and the zero start of W₂, by which y = 1.5 x at first, are from the code;
        the paper does not have them.
    """

    def __init__(self, channels: int, *, regions: int | None = 19, gather: str = "classes"):
        super().__init__()
        check_positive(channels=channels)
        check_choice("gather", gather, GATHER)
        if channels < 2:  # layer normalisation turns a single number into a constant
            raise ValueError(f"expected channels of at least 2, got {channels}")
        if regions is not None:
            check_positive(regions=regions)
        self.channels, self.regions, self.gather = channels, regions, gather
        self.classifier = None
        if regions is not None and gather == "classes":
            self.classifier = nn.Sequential(*fusion(channels), nn.Conv2d(channels, regions, 1))
        self.embed = nn.Conv1d(channels, 1, 1)
        self.squash, self.norm = nn.Linear(channels, channels), nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, channels)
        nn.init.kaiming_normal_(self.embed.weight, mode="fan_in")
        for start_at_zero in (self.embed.bias, self.expand.weight, self.expand.bias):
            nn.init.zeros_(start_at_zero)

    def forward(
        self,
        x: Float[Tensor, "b c h w"],
        logits: Float[Tensor, "b k h w"] | None = None,
        prototypes: Float[Tensor, "n c m"] | None = None,
    ) -> Float[Tensor, "b c h w"]:
        check_map(self, x, self.channels)
        p = self.prototypes(x, logits) if prototypes is None else self.given(x, prototypes)
        s = rearrange(self.gate(p), "b c -> b c 1 1")
        return s * x + x

    def prototypes(
        self, x: Float[Tensor, "b c h w"], logits: Float[Tensor, "b k h w"] | None = None
    ) -> Float[Tensor, "b c k"]:
        """p: the mean of x over each soft region."""
        pixels = rearrange(x, "b c h w -> b c (h w)")
        if self.gather == "pixels":
            return pixels
        logits = self.region_logits(x, logits)
        regions = rearrange(logits, "b k h w -> b k (h w)").softmax(-1)
        return einsum(regions, pixels, "b k n, b c n -> b c k")

    def embedding(self, prototypes: Float[Tensor, "b c k"]) -> Float[Tensor, "b k"]:
        """e: how much each class counts in the image; sums to 1 over the classes."""
        return rearrange(self.embed(prototypes), "b 1 k -> b k").softmax(-1)

    def gate(self, prototypes: Float[Tensor, "b c k"]) -> Float[Tensor, "b c"]:
        """s: a number between 0 and 1 for each channel."""
        v = einsum(prototypes, self.embedding(prototypes), "b c k, b k -> b c")
        return torch.sigmoid(self.expand(torch.relu(self.norm(self.squash(v)))))

    def region_logits(self, x: Tensor, logits: Tensor | None) -> Tensor:
        if logits is None and self.classifier is None:
            raise ValueError("DynamicPrototype with regions=None expected logits, got None")
        if logits is None:
            return self.classifier(x)
        b, _, h, w = x.shape
        k, found = self.regions or "k", tuple(logits.shape)
        free = logits.shape[1] if self.regions is None and logits.ndim == 4 else k
        if found != (b, free, h, w):
            raise ValueError(f"DynamicPrototype expected logits ({b}, {k}, {h}, {w}), got {found}")
        return logits

    def given(self, x: Tensor, prototypes: Tensor) -> Tensor:
        b, c, found = len(x), self.channels, tuple(prototypes.shape)
        if len(found) != 3 or found[0] not in (1, b) or found[1] != c:
            raise ValueError(
                f"DynamicPrototype expected prototypes ({b}, {c}, k) or (1, {c}, k), got {found}"
            )
        return prototypes


class DynamicPrototypeHead(nn.Module):
    """Classifies the pixels twice: coarsely, to find the prototypes, then on the gated map.

        l = W_c φ(x),    y = DPG(x, l),    z = W_c y

    Squeeze: that of :class:`DynamicPrototype`, over the coarse classes l.
    Reason: that of :class:`DynamicPrototype`.
    Reconstruct: a channel gate, then the classifier of the coarse logits once more.

    Args:
        channels: channels c of the map, at least 2.
        classes: K.
        gather: "classes", or "pixels" for the control, which classifies once.
        dropout: share of channels dropped before the classifier, each time.

    Shape:
        x ``b c h w``, prototypes ``b c k`` (or ``1 c k``, such as the means of a data set, for all
        images) or None, to logits ``b K h w``; with ``coarse=True`` to the pair of logits and
        coarse logits, so that a loss can be put on both. Any h and w, in training b h w > 1.

    Cost:
        b h w c (3 K + 1) + 2 b (K c + c²) MACs; 2 c² + 8 c + 1 + K c + K parameters. Where
        prototypes are given, all but b h w c K is spared at the pixels.

    Example:
        >>> head, x = DynamicPrototypeHead(64, 5), torch.randn(2, 64, 9, 7)
        >>> head(x).shape
        torch.Size([2, 5, 9, 7])
        >>> logits, coarse = head(x, coarse=True)
        >>> coarse.shape
        torch.Size([2, 5, 9, 7])

    Source:
        Ni et al., ECCV 2024, section 3.3 and table 6.

    Differs from the official code:
        In nothing. That the coarse logits get no loss there, and that the second pass of the
        classifier is nearly all that the head costs, can be read from it alone.
    """

    def __init__(
        self, channels: int, classes: int, *, gather: str = "classes", dropout: float = 0.1
    ):
        super().__init__()
        self.guide = DynamicPrototype(channels, regions=None, gather=gather)
        check_positive(classes=classes)
        self.fuse = nn.Sequential(*fusion(channels)) if gather == "classes" else None
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(channels, classes, 1)

    def coarse(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        """l: the first logits, whose soft-max over the pixels gives the regions."""
        check_map(self.guide, x, self.guide.channels)
        if self.fuse is None:
            raise ValueError("DynamicPrototypeHead with gather='pixels' has no coarse logits")
        return self.classifier(self.dropout(self.fuse(x)))

    def prototypes(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c k"]:
        """p: what the head makes of each class in these images."""
        return self.guide.prototypes(x, None if self.fuse is None else self.coarse(x))

    def forward(
        self,
        x: Float[Tensor, "b c h w"],
        prototypes: Float[Tensor, "n c m"] | None = None,
        *,
        coarse: bool = False,
    ) -> Float[Tensor, "b k h w"] | tuple[Float[Tensor, "b k h w"], Float[Tensor, "b k h w"]]:
        needed = coarse or (prototypes is None and self.fuse is not None)
        first = self.coarse(x) if needed else None
        logits = self.classifier(self.dropout(self.guide(x, first, prototypes)))
        return (logits, first) if coarse else logits
