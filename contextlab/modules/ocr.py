"""Object-contextual representations: every pixel asks the classes that the image holds.

Yuan, Chen, Wang: Object-Contextual Representations for Semantic Segmentation, ECCV 2020,
https://arxiv.org/abs/1909.11065
"""

import torch
from einops import einsum, rearrange
from torch import Tensor, nn

from ._layers import conv_norm_relu
from ._registry import register
from ._shapes import Float, check_map, check_positive, check_splits


@register(
    "ocr",
    title="Object-contextual representations (OCR)",
    node="a class",
    squeeze="class-probability pooling",
    reason="pixels ask classes",
    reconstruct="concatenate",
    source="Yuan et al., ECCV 2020",
    lesson="06",
)
class ObjectContextual(nn.Module):
    """Describes each class by the pixels that look like it, and lets the pixels ask the classes.

        m_ki = exp(l_ki) / Σ_j exp(l_kj),    f_k = Σ_i m_ki x_i
        w_ik = exp(φ(x_i) · ψ(f_k) / √d) / Σ_j exp(φ(x_i) · ψ(f_j) / √d)
        y_i = ρ(Σ_k w_ik δ(f_k)),    z_i = g([y_i, x_i])

        l are coarse class logits; φ and ψ are two, δ, ρ and g one layer of 1 x 1 convolution,
        batch normalisation and ReLU

    Squeeze: the mean of x over the soft region of each class.
    Reason: every pixel asks all regions, by affinity.
    Reconstruct: concatenate with the pixel itself and project.

    Args:
        channels: channels c of the map.
        out_channels: channels of the result; None: c.
        regions: K classes of the module's own ``classifier``, which finds the regions in x when
            forward gets no logits (add a loss on ``classifier(x)`` to make them classes); None:
            forward always gets logits.
        reduction: φ, ψ and δ are d = c / reduction wide; must divide c.
        relu: ReLU at the end of g.
        dropout: share of channels dropped at the end.

    Shape:
        x ``b c h w``, logits ``b k h w`` or None, to ``b out_channels h w``, any h and w; in
        training b h w > 1 and b k > 1.

    Cost:
        N = h w, K regions, result e: b N (K c [classifier] + K c + 2 K d + 2 c d + d² + 2 c e)
        + b K (2 c d + d²) MACs; linear in N, and so is memory. 4 c d + 2 d² + 2 c e parameters and
        15 d + 3 c + 3 e of biases and norms, K c + K of the classifier.

    Example:
        >>> ObjectContextual(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])
        >>> coarse = torch.randn(2, 5, 9, 7)
        >>> ObjectContextual(64, regions=None)(torch.randn(2, 64, 9, 7), coarse).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Yuan et al., ECCV 2020, section 3.2 (19 classes of Cityscapes, 256 channels out of 512).

    Differs from the official code:
        The logits come from an auxiliary classifier on an earlier map there; here from one layer
        on x, unless forward gets them. ``relu=False`` ends g with its normalisation, as some ports
        have; ``dropout=0.05`` is the code's and left to the network by default.
    """

    def __init__(
        self,
        channels: int,
        *,
        out_channels: int | None = None,
        regions: int | None = 19,
        reduction: int = 2,
        relu: bool = True,
        dropout: float = 0.0,
    ):
        super().__init__()
        out = channels if out_channels is None else out_channels
        check_positive(channels=channels, out_channels=out, reduction=reduction)
        check_splits(channels=channels, reduction=reduction)
        if regions is not None:
            check_positive(regions=regions)
        d = channels // reduction
        self.channels, self.regions = channels, regions
        self.classifier = None if regions is None else nn.Conv2d(channels, regions, 1)
        self.phi = self.two_layers(channels, d)
        self.psi = self.two_layers(channels, d)
        self.delta = conv_norm_relu(channels, d, bias=True)
        self.rho = conv_norm_relu(d, channels, bias=True)
        self.g = conv_norm_relu(2 * channels, out, bias=True, relu=relu)
        self.dropout = nn.Dropout2d(dropout)

    @staticmethod
    def two_layers(channels: int, d: int) -> nn.Sequential:
        first, second = conv_norm_relu(channels, d, bias=True), conv_norm_relu(d, d, bias=True)
        return nn.Sequential(*first, *second)

    def forward(
        self, x: Float[Tensor, "b c h w"], logits: Float[Tensor, "b k h w"] | None = None
    ) -> Float[Tensor, "b e h w"]:
        check_map(self, x, self.channels)
        nodes = self.gather(x, self.region_logits(x, logits))
        y = self.rho(self.ask(self.phi(x), self.psi(nodes), self.delta(nodes)))
        return self.dropout(self.g(torch.cat([y, x], 1)))

    @staticmethod
    def ask(
        query: Float[Tensor, "b d h w"],
        key: Float[Tensor, "b d k 1"],
        value: Float[Tensor, "b d k 1"],
    ) -> Float[Tensor, "b d h w"]:
        """Σ_k w_ik δ(f_k). So few regions need no fused kernel: w is b k h w, as the logits are."""
        logits = einsum(query * query.shape[1] ** -0.5, key, "b d h w, b d k one -> b k h w")
        return einsum(logits.softmax(1), value, "b k h w, b d k one -> b d h w")

    def region_logits(self, x: Tensor, logits: Tensor | None) -> Tensor:
        if logits is None and self.classifier is None:
            raise ValueError("ObjectContextual with regions=None expected logits, got None")
        if logits is None:
            return self.classifier(x)
        b, _, h, w = x.shape
        k = self.regions or "k"
        found = tuple(logits.shape)
        wanted = (b, logits.shape[1] if self.regions is None and logits.ndim == 4 else k, h, w)
        if found != wanted:
            raise ValueError(f"ObjectContextual expected logits ({b}, {k}, {h}, {w}), got {found}")
        return logits

    @staticmethod
    def gather(
        x: Float[Tensor, "b c h w"], logits: Float[Tensor, "b k h w"]
    ) -> Float[Tensor, "b c k 1"]:
        """The mean of x over each soft region, as a map of K pixels."""
        regions = rearrange(logits, "b k h w -> b k (h w)").softmax(-1)
        nodes = einsum(regions, rearrange(x, "b c h w -> b c (h w)"), "b k n, b c n -> b c k")
        return rearrange(nodes, "b c k -> b c k 1")
