"""Atrous spatial pyramid pooling: every pixel looks at fixed distances, several at once.

Chen, Papandreou, Schroff, Adam: Rethinking Atrous Convolution for Semantic Image Segmentation,
2017, https://arxiv.org/abs/1706.05587
"""

import torch
from einops import reduce
from torch import Tensor, nn

from ._layers import check_pooled, conv_norm_relu
from ._registry import register
from ._shapes import Float, check_choice, check_map, check_positive


@register(
    "aspp",
    title="Atrous spatial pyramid pooling (ASPP)",
    node="a pixel",
    squeeze="none",
    reason="fixed dilated offsets",
    reconstruct="concatenate",
    source="Chen et al., 2017",
    lesson="05",
)
class ASPP(nn.Module):
    """Looks from every pixel at its neighbours in several fixed distances, and at the mean.

        y_i = ρ(W [ρ(W_0 x_i), ρ(Σ_o W_1o x_{i + r_1 o}), .., ρ(W_g 1/N Σ_j x_j)])

        ρ = ReLU after batch normalisation, o over the 3 x 3 offsets, r_1, r_2, .. the rates;
        a neighbour outside the map counts as zero

    Squeeze: none, every pixel is a node (but the last branch has one node, the image).
    Reason: along fixed dilated offsets, with weights that do not depend on x.
    Reconstruct: concatenate the branches and project.

    Args:
        channels: channels c of the map.
        out_channels: channels of the result; None: c.
        width: channels of each branch; None: as many as the result has.
        rates: dilations of the 3 x 3 branches; 12, 24, 36 at stride 8 and 6, 12, 18 at stride 16.
        image_pool: the branch of the mean over the whole map.
        kernel: side of the projection, 1 or 3.
        norm: batch normalisation and ReLU after the projection.
        dropout: share of channels dropped at the end.

    Shape:
        ``b c h w`` to ``b out_channels h w``, any h and w; in training with image_pool at least
        two images, since its normalisation sees one value an image (else b h w > 1).

    Cost:
        N = h w, k rates, m branches (k + 1, with image_pool k + 2), width v, result e:
        b N (c v (1 + 9 k) + m v e kernel²) + b c v MACs. As many parameters without b and N (the
        image branch has c v), and 2 m v + 2 e of the norms. Memory is linear in N.

    Example:
        >>> ASPP(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Chen et al., 2017, section 3.3 and figure 5 (256 channels out of 2048).

    Differs from the official code:
        The rates are those of stride 8, at which the other methods are compared. The default is the
        paper's form. ``kernel=3`` with 512 channels is the common port in mmsegmentation,
        ``norm=False`` the bare projection of SFSegNets, where it has no bias and ours has one,
        ``dropout=0.5`` as PyTorch-Encoding has.
    """

    def __init__(
        self,
        channels: int,
        *,
        out_channels: int | None = None,
        width: int | None = None,
        rates: tuple[int, ...] = (12, 24, 36),
        image_pool: bool = True,
        kernel: int = 1,
        norm: bool = True,
        dropout: float = 0.0,
    ):
        super().__init__()
        out = channels if out_channels is None else out_channels
        width = out if width is None else width
        check_positive(channels=channels, out_channels=out, width=width)
        for rate in rates:
            check_positive(rate=rate)
        check_choice("kernel", kernel, (1, 3))
        self.channels = channels
        self.branches = nn.ModuleList(
            [conv_norm_relu(channels, width)]
            + [conv_norm_relu(channels, width, 3, rate=rate) for rate in rates]
        )
        self.image = conv_norm_relu(channels, width) if image_pool else None
        parts = len(self.branches) + image_pool
        self.project = conv_norm_relu(
            parts * width, out, kernel, bias=not norm, norm=norm, relu=norm
        )
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b e h w"]:
        check_map(self, x, self.channels)
        parts = [branch(x) for branch in self.branches]
        if self.image is not None:
            mean = reduce(x, "b c h w -> b c 1 1", "mean")
            check_pooled(self, self.image[1], mean)
            parts.append(self.image(mean).expand(-1, -1, *x.shape[2:]))
        return self.dropout(self.project(torch.cat(parts, 1)))
