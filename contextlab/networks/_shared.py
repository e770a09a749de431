"""What every network here begins and ends with: normalised images in, answers resized to them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NEEDED = ("channels", "strides", "mean", "std")


class Network(nn.Module):
    """A backbone that is given images as it knows them.

    Args:
        backbone: any module with ``channels``, ``strides``, ``mean``, ``std`` that maps an image to
            a list of maps, finest first; see :mod:`contextlab.backbones`.
        classes: number of classes.
    """

    def __init__(self, backbone: nn.Module, classes: int) -> None:
        super().__init__()
        missing = [name for name in NEEDED if not hasattr(backbone, name)]
        if missing:
            raise ValueError(
                f"a backbone carries channels, strides, mean and std; {type(backbone).__name__} "
                f"lacks {', '.join(missing)}"
            )
        if classes < 1:
            raise ValueError(f"expected classes >= 1, got {classes}")
        self.classes = classes
        # Not persistent: they belong to the backbone, not to the weights of this network.
        for name in ("mean", "std"):
            value = torch.tensor(getattr(backbone, name), dtype=torch.float32)
            self.register_buffer(name, value[:, None, None], persistent=False)
        self.backbone = backbone

    def maps(self, x: Tensor) -> list[Tensor]:
        """Image ``b 3 h w`` in [0, 1] -> the backbone's maps, finest first."""
        if x.ndim != 4 or x.shape[1] != 3 or not x.is_floating_point():
            raise ValueError(
                f"expected images as floats 'b 3 h w' in [0, 1], got {tuple(x.shape)} of {x.dtype}"
            )
        return self.backbone((x - self.mean) / self.std)


def resize(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear to the height and width of ``like``; the corners are not aligned."""
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)
