"""Training over a frozen backbone: its maps are computed once, and only the rest is trained."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contextlab import home, training
from contextlab.networks.segmentation import ContextFCN
from contextlab.training import identity

SIZES = {"camvid": (360, 480), "streets": (64, 128)}  # height and width of the images
SHRINK = 4  # labels are trained on at a quarter of their size, which spares most of the loss's work


class FrozenHead(nn.Module):
    """What stands on the backbone's last map in a :class:`ContextFCN`, and nothing else.

        logits = up( W_c CBR( slot( CBR( map ) ) ) )

    Args:
        network: the network; its backbone is not kept.
        size: height and width of the logits; in training a quarter of them.

    Shape:
        map ``b c h w`` to logits ``b classes height width``.

    Raises:
        ValueError: the slot wants more than one map, or the network has an auxiliary head.
    """

    def __init__(self, network: ContextFCN, size: tuple[int, int]):
        super().__init__()
        if not network.one_map:
            raise ValueError(
                "expected a slot that takes one map and no auxiliary head over a frozen backbone, "
                f"got {type(network.slot).__name__} with auxiliary={network.auxiliary is not None}"
            )
        self.size = tuple(size)
        self.reduce, self.slot = network.reduce, network.slot
        self.fuse, self.classifier = network.fuse, network.classifier

    def forward(self, x: Tensor) -> Tensor:
        logits = self.classifier(self.fuse(self.slot(self.reduce(x))))
        size = [-(-side // SHRINK) for side in self.size] if self.training else self.size
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def _told(network: ContextFCN) -> list:
    """All that a stored map depends on beside its image: every weight and setting."""
    parts = [identity.settings(network.backbone), network.mean.tolist(), network.std.tolist()]
    for name, value in network.backbone.state_dict().items():
        parts += [name, hashlib.sha256(value.cpu().numpy().tobytes()).hexdigest()]
    return parts


def _begin(file: BinaryIO, shape: tuple[int, ...]) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float16))}
    np.lib.format.write_array_header_1_0(file, header | {"fortran_order": False, "shape": shape})


class StoredMaps:
    """The last maps of a frozen backbone with the labels: a data set of ``(map, labels)``.

    Computed at the first use and kept in a file, about half a megabyte an image.

    Args:
        dataset: yields ``(image, labels)``, all images of one size.
        network: holds the backbone, and the mean and deviation of its images.
        folder: where the file lies; its name knows the backbone's weights and settings, and the
            images.
        name: what the file is called besides.
        mirrored: for training: every image a second time as in a mirror, small labels.
        limit: store the first so many images only.
        progress: draw a bar; ``None`` draws one where a person is watching.

    Raises:
        ValueError: the file is damaged; the message names it and the remedy.
        OSError: the folder cannot be written to or has not enough room; said before the first map
            is stored.
    """

    features = True  # what stands in the image's place is a map of any range and size

    def __init__(
        self,
        dataset,
        network: ContextFCN,
        folder: str | Path,
        name: str,
        *,
        mirrored: bool,
        limit: int | None = None,
        progress: bool | None = None,
    ):
        self.dataset, self.mirrored = dataset, mirrored
        self.images = len(dataset) if limit is None else min(limit, len(dataset))
        self.classes, self.palette = dataset.classes, dataset.palette
        self.ignore_index = dataset.ignore_index
        self.size = tuple(dataset[0][1].shape)
        self._labels: dict[int, Tensor] = {}  # small enough to stay in memory, slow to read
        digits = hashlib.sha256(repr((self.images, self.size, mirrored)).encode())
        digits.update(repr(_told(network)).encode())
        digits.update(repr(identity.samples(dataset, tag=name)["image"]).encode())
        path = Path(folder) / f"{name}-{digits.hexdigest()[:12]}.npy"
        if not path.is_file():
            home.sweep(home.usable(path.parent))
            self._compute(network, path, progress)
        try:
            self.maps = np.load(path, mmap_mode="r")
        except PermissionError as error:
            raise home.blocked(path, error) from error
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(
                f"{path} is damaged or holds no stored maps ({error}): move it away, and they are "
                "computed again"
            ) from error
        if len(self.maps) != len(self):
            raise ValueError(
                f"{path} holds {len(self.maps)} stored maps instead of {len(self)}: move it away, "
                "and they are computed again"
            )

    @torch.inference_mode()
    def _compute(self, network: ContextFCN, path: Path, progress: bool | None) -> None:
        """Write the maps one after the other: into a mapped file, a full disk would be fatal."""
        beside, was_training = home.partial(path), network.training
        network.eval()
        bar = training.progress_bar(len(self), show=progress, title="maps")
        try:
            with bar, open(beside, "wb") as file:
                for i in range(len(self)):
                    image = self._image(i)[None].to(network.mean)
                    found = network.backbone((image - network.mean) / network.std)[-1][0]
                    stored = found.cpu().numpy().astype(np.float16)
                    if i == 0:
                        shape = (len(self), *stored.shape)
                        home.usable(path.parent, len(self) * stored.nbytes)
                        _begin(file, shape)
                    file.write(stored.tobytes())
                    bar.update()
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except OSError as error:
            if error.strerror is None:  # a sentence already
                raise
            raise home.blocked(path, error) from error
        finally:
            network.train(was_training)
            beside.unlink(missing_ok=True)

    def _image(self, index: int) -> Tensor:
        image = self.dataset[index % self.images][0]
        return image.flip(-1) if index >= self.images else image

    def __len__(self) -> int:
        return self.images * (2 if self.mirrored else 1)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """The map as float32 ``c h w`` and the labels, a quarter of their size for training."""
        if not 0 <= index < len(self):
            raise IndexError(f"expected an index below {len(self)}, got {index}")
        if index not in self._labels:
            labels = self.dataset[index % self.images][1]
            if self.mirrored:
                size = [-(-side // SHRINK) for side in self.size]
                labels = F.interpolate(labels[None, None].float(), size, mode="nearest-exact")
                labels = labels[0, 0].long()
            self._labels[index] = labels.flip(-1) if index >= self.images else labels
        return torch.from_numpy(self.maps[index].astype(np.float32)), self._labels[index]
