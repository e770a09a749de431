"""A data set and a network small enough to train in a second, with every part of the real ones."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

CLASSES = ("dark", "light", "absent")


class Squares:
    """Noisy images with one bright square each; a stripe of the labels is ignored."""

    classes, ignore_index = CLASSES, 255
    palette = np.array([[0, 0, 0], [255, 255, 255], [128, 128, 128]], np.uint8)
    demand_names = ("inside", "outside", "never")

    def __init__(self, size: int = 12, side: int = 16) -> None:
        self.size, self.side = size, side

    def __len__(self) -> int:
        return self.size

    def pixels(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(index)
        image = rng.integers(0, 100, (self.side, self.side, 3), dtype=np.uint8)
        labels = np.zeros((self.side, self.side), np.uint8)
        top, left = rng.integers(0, self.side // 2, 2)
        square = np.s_[top : top + self.side // 2, left : left + self.side // 2]
        image[square] += 120
        labels[square] = 1
        labels[:, -1 - index % 3 :] = 255  # another number of valid pixels in each image
        return image, labels

    def __getitem__(self, index: int):
        image, labels = self.pixels(index)
        image = torch.from_numpy(image).permute(2, 0, 1).float() / 255
        return image, torch.from_numpy(labels).long()

    def demand(self, index: int) -> torch.Tensor:
        return torch.from_numpy((self.pixels(index)[1] != 1).astype(np.uint8))


class Net(nn.Module):
    """Backbone, auxiliary head, batch norm and dropout: all that a state has to carry."""

    def __init__(self, *, norm: bool = True, dropout: float = 0.2, classes: int = 3) -> None:
        super().__init__()
        norm_layer = nn.BatchNorm2d(8) if norm else nn.Identity()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), norm_layer, nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.head, self.auxiliary = nn.Conv2d(8, classes, 1), nn.Conv2d(8, classes, 1)

    def forward(self, x):
        features = self.backbone(x)
        logits = F.interpolate(self.head(self.dropout(features)), x.shape[-2:], mode="bilinear")
        if not self.training:
            return logits
        return logits, F.interpolate(self.auxiliary(features), x.shape[-2:], mode="bilinear")


def net(seed: int = 0, **options) -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Net(**options)


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
