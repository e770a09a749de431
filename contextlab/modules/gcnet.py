"""Global context block: the non-local block with one query for all pixels.

Cao, Xu, Lin, Wei, Hu: GCNet, Non-local Networks Meet Squeeze-Excitation Networks and Beyond,
ICCV Workshops 2019, https://arxiv.org/abs/1904.11492
"""

import torch
from einops import rearrange
from torch import Tensor, nn

from ._registry import register
from ._shapes import Float, check_choice, check_map, check_positive, check_splits

FUSE = ("add", "scale")


@register(
    "gcnet",
    title="Global context block (GCNet)",
    node="a channel",
    squeeze="attention pooling",
    reason="two fully connected layers",
    reconstruct="add (or channel gate)",
    source="Cao et al., ICCVW 2019",
    lesson="04",
)
class GlobalContext(nn.Module):
    """Adds to every pixel what the image holds where it matters.

        α = softmax_i(w · x_i),    s = Σ_i α_i x_i,    e = W₂ ReLU(LN(W₁ s)),    y_i = x_i + e

    Squeeze: attention pooling, a weighted mean of all pixels with the same weights for everyone.
    Reason: two fully connected layers with a bottleneck of channels / reduction.
    Reconstruct: add the vector to every pixel, or gate its channels, y_i = σ(e) ⊙ x_i.

    Args:
        channels: channels c of the map.
        reduction: the bottleneck is d = c / reduction wide, at least 2; must divide c.
        fuse: "add" or "scale" (the gate).

    Shape:
        ``b c h w`` to ``b c h w``, any h and w.

    Cost:
        2 b h w c + 2 b c d MACs; 2 c d + 3 d + 2 c + 1 parameters. Memory is that of one map.

    Example:
        >>> GlobalContext(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Cao et al., ICCVW 2019, section 3.4 (reduction 16, layer normalisation).

    Differs from the official code:
        In nothing: W₂ and its bias start at zero there too, so the block starts as the identity
        ("scale": as one half of it). Segmentation heads often take reduction 4.
    """

    def __init__(self, channels: int, *, reduction: int = 16, fuse: str = "add"):
        super().__init__()
        check_positive(channels=channels, reduction=reduction)
        check_splits(channels=channels, reduction=reduction)
        check_choice("fuse", fuse, FUSE)
        d = channels // reduction
        if d < 2:  # layer normalisation turns a single number into a constant
            raise ValueError(f"expected channels / reduction of at least 2, got {d}")
        self.channels, self.fuse = channels, fuse
        self.mask = nn.Conv2d(channels, 1, 1)
        self.squash, self.norm = nn.Linear(channels, d), nn.LayerNorm(d)
        self.expand = nn.Linear(d, channels)
        nn.init.kaiming_normal_(self.mask.weight, mode="fan_in")
        for start_at_zero in (self.mask.bias, self.expand.weight, self.expand.bias):
            nn.init.zeros_(start_at_zero)

    def attention(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w"]:
        """α: how much each pixel counts; sums to 1 over the map."""
        return torch.softmax(self.mask(x).flatten(1), 1).view(len(x), *x.shape[2:])

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_map(self, x, self.channels)
        # The backward pass undoes this order: it adds the sum's share of the gradient of x before
        # it makes the mask's, which saves a map. With the map as second factor that share would
        # come back transposed, and adding it would take longer than all the rest.
        alpha = self.attention(x).flatten(1).unsqueeze(2)
        s = x.flatten(2) @ alpha
        e = self.expand(torch.relu(self.norm(self.squash(s.squeeze(2)))))
        e = rearrange(e, "b c -> b c 1 1")
        return x + e if self.fuse == "add" else x * torch.sigmoid(e)
