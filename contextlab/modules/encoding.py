"""Context encoding: residuals to learned codewords say what scene it is, and gate the channels.

Zhang, Dana, Shi, Zhang, Wang, Tyagi, Agrawal: Context Encoding for Semantic Segmentation,
CVPR 2018, https://arxiv.org/abs/1803.08904
"""

import torch
from einops import einsum, rearrange, reduce
from torch import Tensor, nn

from ._precision import exact, exactly, without_autocast
from ._registry import register
from ._shapes import Float, check_choice, check_map, check_positive


def assignment(
    x: Float[Tensor, "b c n"], codewords: Float[Tensor, "k c"], smoothing: Float[Tensor, " k"]
) -> Float[Tensor, "b n k"]:
    """e_nk = softmax_k(-s_k ‖x_n - d_k‖²), without the b n k c tensor of the differences."""
    square = reduce(x * x, "b c n -> b n 1", "sum") + reduce(codewords**2, "k c -> k", "sum")
    distance = square - 2 * einsum(x, codewords, "b c n, k c -> b n k")
    return torch.softmax(-smoothing * distance, -1)


@register(
    "encoding",
    title="Context encoding (EncNet)",
    node="a codeword",
    squeeze="residual soft assignment",
    reason="fully connected",
    reconstruct="channel gate",
    source="Zhang et al., CVPR 2018",
    lesson="06",
)
class Encoding(nn.Module):
    """Gates every channel by how the image lies around K learned codewords.

        f = ReLU(BN(W_f x)),    e_ik = softmax_k(-s_k ‖f_i - d_k‖²),    E_k = Σ_i e_ik (f_i - d_k)
        E = Σ_k ReLU(BN(E_k)),    γ = σ(W E + b),    y_i = γ ⊙ x_i

    Squeeze: residuals to the codewords, summed over the pixels by soft assignment.
    Reason: a fully connected layer on the sum over the codewords.
    Reconstruct: a gate between 0 and 1 multiplies each channel at every pixel.

    Args:
        channels: channels c of the map.
        codewords: their number K.
        classes: outputs of a second layer on E, trained to say which classes are in the image
            (:func:`contextlab.training.presence_loss`); None: no such layer.
        aggregate: how E comes from the K codewords, sum or mean.
        residual: y_i = ReLU(x_i + γ ⊙ x_i) in place of γ ⊙ x_i.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w (in training, norm needs b h w > 1);
        with ``presence=True`` the pair of this map and the presence logits ``b classes``.

    Cost:
        N = h w. b N c² MACs for W_f, 2 b N K c for assignment and residuals, b c² for the gate
        and b c classes for the presence; memory b N K, not b N K c.
        2 c² + 3 c + K c + 3 K parameters, with presence (c + 1) classes more.

    Example:
        >>> Encoding(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])
        >>> _, presence = Encoding(64, classes=19)(torch.randn(2, 64, 9, 7), presence=True)
        >>> presence.shape
        torch.Size([2, 19])

    Source:
        Zhang et al., CVPR 2018, equations 1 and 2, section 2.1; K 32.

    Differs from the official code:
        It takes the mean over the codewords and returns ReLU(x + γ x): ``aggregate="mean"``,
        ``residual=True``. It stores -s_k, drawn from (-1, 0). We follow the paper.
    """

    def __init__(
        self,
        channels: int,
        *,
        codewords: int = 32,
        classes: int | None = None,
        aggregate: str = "sum",
        residual: bool = False,
    ):
        super().__init__()
        check_positive(channels=channels, codewords=codewords)
        if classes is not None:
            check_positive(classes=classes)
        check_choice("aggregate", aggregate, ("sum", "mean"))
        self.channels, self.aggregate, self.residual = channels, aggregate, residual
        self.features = nn.Sequential(
            nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
        )
        bound = (codewords * channels) ** -0.5
        self.codewords = nn.Parameter(torch.empty(codewords, channels).uniform_(-bound, bound))
        self.smoothing = nn.Parameter(torch.rand(codewords))
        self.norm = nn.BatchNorm1d(codewords)
        self.gate = nn.Linear(channels, channels)
        self.presence = None if classes is None else nn.Linear(channels, classes)

    def residuals(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k c"]:
        """E_k = Σ_i e_ik f_i - (Σ_i e_ik) d_k: the residuals, codeword by codeword, in float32."""
        f = self.features(x)
        with without_autocast(x):
            nodes = rearrange(exact(f), "b c h w -> b c (h w)")
            d = self.codewords.to(nodes.dtype)
            e = assignment(nodes, d, self.smoothing.to(nodes.dtype))
            mass = reduce(e, "b n k -> b k 1", "sum")
            return einsum(e, nodes, "b n k, b c n -> b k c") - mass * d

    def encode(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c"]:
        """E, the encoding of the whole image in one vector."""
        residuals = self.residuals(x)
        with without_autocast(x):
            normed = exactly(self.norm, residuals)
        return reduce(torch.relu(normed), "b k c -> b c", self.aggregate)

    def forward(
        self, x: Float[Tensor, "b c h w"], presence: bool = False
    ) -> Float[Tensor, "b c h w"] | tuple[Float[Tensor, "b c h w"], Float[Tensor, "b classes"]]:
        check_map(self, x, self.channels)
        if presence and self.presence is None:
            raise ValueError("expected Encoding(..., classes=...) for presence logits, got None")
        encoding = self.encode(x)
        with without_autocast(x):
            gamma = torch.sigmoid(exactly(self.gate, encoding)).to(x.dtype)
            told = exactly(self.presence, encoding).to(x.dtype) if presence else None
        gamma = rearrange(gamma, "b c -> b c 1 1")
        y = torch.relu(x + gamma * x) if self.residual else gamma * x
        return (y, told) if presence else y
