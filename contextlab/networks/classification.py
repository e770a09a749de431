"""An image classifier: a residual network with a gate in every block, and one answer an image.

    y = ReLU(x + e ⊙ F(x))                           every residual block; e is the gate
    logits = W mean( backbone( (x - mean) / std ) )

SENet, SRNet and CBAM differ in the gate alone, which is squeezed out of F(x) itself. SENet reasons
by two fully connected layers, SRNet by a graph of K nodes, with a hundredth of their weights.

Hu, Shen, Sun: Squeeze-and-Excitation Networks, CVPR 2018, https://arxiv.org/abs/1709.01507; Li et
al.: Towards Efficient Scene Understanding via Squeeze Reasoning, TIP 2021, Table X.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from einops import rearrange, reduce
from torch import Tensor, nn

from contextlab.backbones import backbone as build_backbone
from contextlab.modules import LearnedGraphConv
from contextlab.modules import context as build_context

from ._shared import Network, number

__all__ = ["Classifier", "NodeGate", "classifier"]

GATES = {"sigmoid": torch.sigmoid, "relu": torch.relu}


class NodeGate(nn.Module):
    """Squeeze Reasoning in the place of SE: the pooled vector itself is cut into nodes.

        g = 1/N Σ_i x_i,    G' = σ(W_g G (I - A_g)),    y_i = g' ⊙ x_i

    Squeeze: global average pooling; K nodes hold M = c / K of the channels each.
    Reason: every node with every other, along learned edges A_g.
    Reconstruct: the nodes gate the channels of x.

    Args:
        channels: channels c of the map.
        nodes: K, must divide c.
        edges: "learned", or "none" for W_g alone; see :class:`LearnedGraphConv`.
        gate: σ, "sigmoid" as in SE, or "relu" as in the paper's equation 5.

    Shape:
        ``b c h w`` to ``b c h w``, any h and w.

    Cost:
        b (K² M + K M²) MACs, whatever h and w are; K² + M² parameters. SE has c²/8.

    Example:
        >>> NodeGate(64)(torch.randn(2, 64, 9, 7)).shape
        torch.Size([2, 64, 9, 7])

    Source:
        Li et al., TIP 2021, section IV and Table X. K = 16 is read off its parameters; whether
        A_g was there, and which σ, the paper does not say.
    """

    def __init__(
        self, channels: int, *, nodes: int = 16, edges: str = "learned", gate: str = "sigmoid"
    ) -> None:
        super().__init__()
        if nodes < 1 or channels < 1 or channels % nodes:
            raise ValueError(f"expected nodes that divide channels={channels}, got {nodes}")
        if gate not in GATES:
            raise ValueError(f"expected a gate of {', '.join(GATES)}, got {gate!r}")
        self.nodes, self.gate = nodes, gate
        self.talk = LearnedGraphConv(channels // nodes, nodes, edges=edges)

    def forward(self, x: Tensor) -> Tensor:
        """``b c h w -> b c h w``."""
        nodes = rearrange(reduce(x, "b c h w -> b c", "mean"), "b (k m) -> b k m", k=self.nodes)
        e = GATES[self.gate](self.talk(nodes))
        return x * rearrange(e, "b k m -> b (k m) 1 1")


class Classifier(Network):
    """A backbone, the mean of its last map, and one linear layer.

    Its answer is a map of one pixel, so it trains and is scored as a segmentation network does, on
    a data set whose labels are ``1 1``, such as :class:`contextlab.data.Vehicles`.

    Args:
        backbone: see :mod:`contextlab.backbones`; gates stand inside it.
        classes: number of classes.
        dropout: share of the pooled channels dropped before the linear layer.

    Shape:
        image ``b 3 h w`` in [0, 1] -> logits ``b classes 1 1``.

    Example:
        >>> from contextlab.backbones import backbone
        >>> Classifier(backbone("df1", width=0.25), 3)(torch.rand(2, 3, 64, 128)).shape
        torch.Size([2, 3, 1, 1])
    """

    def __init__(self, backbone: nn.Module, classes: int, *, dropout: float = 0.0) -> None:
        super().__init__(backbone, classes)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Conv2d(backbone.channels[-1], classes, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Image ``b 3 h w`` -> logits ``b classes 1 1``."""
        return self.classifier(reduce(self.maps(x)[-1], "b c h w -> b c 1 1", "mean"))


def classifier(
    classes: int | Sequence[str],
    *,
    backbone: str = "resnet50",
    backbone_options: Mapping | None = None,
    context: str | None = None,
    context_options: Mapping | None = None,
    dropout: float = 0.0,
) -> Classifier:
    """Build an image classifier from names.

    Args:
        classes: number of classes, or their names.
        backbone: "resnet18" to "resnet152", which are of stride 32 here, or "df1" or "df2".
        backbone_options: its options. ``weights`` is "random" unless given: no weights of timm fit
            a network with gates.
        context: what ends every residual branch: None; "squeeze_reasoning" for :class:`NodeGate`,
            its form in a classifier; "squeeze_excite", "cbam" or another module's name.
        context_options: its options.
        dropout: of :class:`Classifier`.

    Raises:
        ValueError: an option is unknown, or the backbone has no place for gates.

    Example:
        >>> model = classifier(3, backbone="df1", context="squeeze_reasoning")
        >>> sum(isinstance(part, NodeGate) for part in model.modules())
        10
    """
    options = {"weights": "random"} | dict(backbone_options or {})
    if backbone.startswith("resnet"):
        options = {"output_stride": 32, "out_indices": (4,)} | options
    if context is not None:
        made = NodeGate if context == "squeeze_reasoning" else partial(build_context, context)
        options["gate"] = partial(made, **(context_options or {}))
    elif context_options:
        raise ValueError(f"expected a context for context_options, got None and {context_options}")
    return Classifier(build_backbone(backbone, **options), number(classes), dropout=dropout)
