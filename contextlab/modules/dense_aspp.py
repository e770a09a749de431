"""DenseASPP: each dilated layer also reads the ones before, so that reaches add up.

Yang, Yu, Zhang, Li, Yang: DenseASPP for Semantic Segmentation in Street Scenes, CVPR 2018
"""

import torch
from torch import Tensor, nn

from ._layers import conv_norm_relu
from ._registry import register
from ._shapes import Float, check_map, check_positive, check_splits


@register(
    "dense_aspp",
    title="DenseASPP",
    node="a pixel",
    squeeze="none",
    reason="fixed dilated offsets, each layer on top of those before",
    reconstruct="concatenate",
    source="Yang et al., CVPR 2018",
    lesson="05",
)
class DenseASPP(nn.Module):
    """Stacks dilated layers, of which each reads the map and all layers before it.

        y_l = H_{K, d_l}([y_{l-1}, y_{l-2}, .., y_1, x]),    y = ρ(W [y_L, .., y_1, x])

        H_{K, d} = a 1 x 1 convolution to v channels, then K x K with dilation d to g, K = 3, each
        after ρ = ReLU after batch normalisation

    Squeeze: none, every pixel is a node.
    Reason: along fixed dilated offsets, which add up from layer to layer.
    Reconstruct: concatenate the layers with x and project.

    Args:
        channels: channels c of the map.
        out_channels: channels of the result; None: c.
        width: channels v before each dilated convolution; None: c / 4.
        growth: channels g that each layer adds; None: c / 16.
        rates: dilations d_l.
        first_norm: batch normalisation before the first layer too.
        rectify: ρ's ReLU, in front of the first layer, is there for all: x is ReLU(x) wherever it
            is read or concatenated.
        dropout: share of channels dropped after each layer and at the end.

    Shape:
        ``b c h w`` to ``b out_channels h w``, any h and w (in training b h w > 1).

    Cost:
        N = h w, L rates, C = Σ_l c + (l - 1) g = L c + g L (L - 1) / 2 channels read in all:
        b N (v C + 9 L v g + (c + L g) e) MACs for e channels out. Memory is linear in N.
        As many parameters without b N, and L (3 v + g) + 2 C + 2 e (2 c less without first_norm).

    Example:
        >>> DenseASPP(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Yang et al., CVPR 2018, equation 3 and section 3.2; a pixel sees 1 + 2 Σ d_l = 127 pixels
        along each axis, with the largest rate alone 49.

    Differs from the official code:
        It ends in a classifier on the concatenation of c + L g channels; we project that back
        instead, since a context module returns a map. Its widths 512 and 128 are c / 4 and c / 16
        at 2048. Its first layer has no norm and a ReLU that works in place, on the x that is
        concatenated later: ``first_norm=False, rectify=True``; ``dropout=0.1`` is its own too, and
        a momentum of 3e-4 in the norms for 0.1 here. Defaults treat all layers alike and leave
        dropout to the network.
    """

    def __init__(
        self,
        channels: int,
        *,
        out_channels: int | None = None,
        width: int | None = None,
        growth: int | None = None,
        rates: tuple[int, ...] = (3, 6, 12, 18, 24),
        first_norm: bool = True,
        rectify: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        out = channels if out_channels is None else out_channels
        check_positive(channels=channels, out_channels=out, rates=len(rates))
        for rate in rates:
            check_positive(rate=rate)
        if width is None:
            check_splits(channels=channels, reduction=4)
            width = channels // 4
        if growth is None:
            check_splits(channels=channels, reduction=16)
            growth = channels // 16
        check_positive(width=width, growth=growth)
        self.channels, self.rectify = channels, rectify
        self.layers = nn.ModuleList()
        read = channels
        for rate in rates:
            self.layers.append(
                nn.Sequential(
                    nn.BatchNorm2d(read) if first_norm or self.layers else nn.Identity(),
                    nn.ReLU(),
                    *conv_norm_relu(read, width, bias=True),
                    nn.Conv2d(width, growth, 3, padding=rate, dilation=rate),
                    nn.Dropout2d(dropout),
                )
            )
            read += growth
        self.dropout = nn.Dropout2d(dropout)
        self.project = conv_norm_relu(read, out)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b e h w"]:
        check_map(self, x, self.channels)
        y = torch.relu(x) if self.rectify else x
        for layer in self.layers:
            y = torch.cat([layer(y), y], 1)  # the newest first
        return self.project(self.dropout(y))
