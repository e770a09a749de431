"""The benchmark's figures: one confusion matrix over all pixels of all images, IoU by class."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from contextlab.training.losses import answers
from contextlab.training.samples import check, expectations


@dataclass(frozen=True)
class Metrics:
    """What a model scores on a data set. All figures are shares, from 0 to 1.

    Args:
        miou: mean IoU over the classes that occur.
        iou: by class; nan for a class that neither the labels nor the predictions hold.
        pixel_accuracy: share of the valid pixels that are right.
        confusion: pixels by (label, prediction).
        classes: names, in the order of ``iou``.
        demands: share of right pixels by demand, for data sets that know why a pixel is hard; nan
            for a demand that no pixel poses.
        images: how many were looked at.
    """

    miou: float
    iou: tuple[float, ...]
    pixel_accuracy: float
    confusion: tuple[tuple[int, ...], ...] = field(repr=False)
    classes: tuple[str, ...] = field(repr=False)
    demands: dict[str, float] = field(default_factory=dict)
    images: int = 0

    def __str__(self) -> str:
        """A table of class IoUs in per cent, and the means below it."""
        width = max(len("pixel accuracy"), *map(len, self.classes))
        lines = [f"{name:<{width}} {_percent(v)}" for name, v in zip(self.classes, self.iou)]
        lines += [f"{'mIoU':<{width}} {_percent(self.miou)}"]
        lines += [f"{'pixel accuracy':<{width}} {_percent(self.pixel_accuracy)}"]
        lines += [f"demand {k:<{width - 7}} {_percent(v)}" for k, v in self.demands.items()]
        return "\n".join(lines)

    def to_dict(self) -> dict:
        """The figures as JSON can hold them: nan becomes ``None``."""
        values = asdict(self)
        values["iou"] = [_none(v) for v in self.iou]
        values["miou"], values["pixel_accuracy"] = _none(self.miou), _none(self.pixel_accuracy)
        values["demands"] = {k: _none(v) for k, v in self.demands.items()}
        return values

    @classmethod
    def from_dict(cls, values: dict) -> Metrics:
        """Read what `to_dict` gave, through JSON or not."""
        return cls(
            miou=_nan(values["miou"]),
            iou=tuple(_nan(v) for v in values["iou"]),
            pixel_accuracy=_nan(values["pixel_accuracy"]),
            confusion=tuple(tuple(row) for row in values["confusion"]),
            classes=tuple(values["classes"]),
            demands={k: _nan(v) for k, v in values["demands"].items()},
            images=values["images"],
        )


def from_confusion(confusion: np.ndarray, classes: tuple[str, ...], **more) -> Metrics:
    """The figures of a confusion matrix.

    Args:
        confusion: integer ``k k``, pixels by (label, prediction).
        classes: k names.
        more: ``demands`` and ``images`` of the result.

    Returns:
        The metrics.

    Example:
        >>> m = from_confusion(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]), ("a", "b", "c"))
        >>> m.iou, round(m.miou, 3)
        ((0.75, 0.8, nan), 0.775)
    """
    confusion = np.asarray(confusion, dtype=np.int64)
    right = confusion.diagonal()
    union = confusion.sum(0) + confusion.sum(1) - right
    iou = tuple(float(r / u) if u else math.nan for r, u in zip(right.tolist(), union.tolist()))
    present = [v for v in iou if not math.isnan(v)]
    total = int(confusion.sum())
    return Metrics(
        miou=math.fsum(present) / len(present) if present else math.nan,
        iou=iou,
        pixel_accuracy=int(right.sum()) / total if total else math.nan,
        confusion=tuple(map(tuple, confusion.tolist())),
        classes=tuple(classes),
        **more,
    )


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    dataset,
    *,
    batch: int = 16,
    limit: int | None = None,
    device: torch.device | str | None = None,
) -> Metrics:
    """Score a model on whole images, each seen once.

    Run by several processes, each takes its part of the images and all get the same figures.

    Args:
        model: maps ``b 3 h w`` to logits ``b k h w``, or to torchvision's dict with "out"; its
            training mode is restored afterwards.
        dataset: yields ``(image, labels)``, with ``classes`` and ``ignore_index``. A plain list of
            pairs will do: the classes are those of the model then, by number, and 255 is ignored.
        batch: images a forward pass; images of another size than their neighbours go alone.
        limit: look at the first so many images only.
        device: where to compute; the model's own device by default.

    Returns:
        The metrics.

    Raises:
        ValueError: there is no image to look at, a sample is not as `samples.check` wants it, the
            model's classes are not the data set's, or its logits are nan.
    """
    from torchmetrics.classification import MulticlassConfusionMatrix

    count = len(dataset) if limit is None else min(limit, len(dataset))
    if count < 1:
        raise ValueError("expected at least one image to evaluate on, got none")
    if device is None:
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
    ignore_index = getattr(dataset, "ignore_index", 255)
    names = tuple(getattr(dataset, "demand_names", ()))
    tally = torch.zeros(2, len(names), dtype=torch.int64, device=device)  # right, all
    rank, world = processes()
    was_training = model.training
    model.eval()
    try:
        classes = _classes(model, dataset, device)
        matrix = MulticlassConfusionMatrix(
            len(classes), ignore_index=ignore_index, validate_args=False
        ).to(device)
        numbers = range(rank, count, world)
        for images, labels, demands in _groups(dataset, numbers, batch, len(classes)):
            logits = answers(model(images.to(device)))[0]
            if logits.shape[-2:] != labels.shape[-2:]:
                raise ValueError(
                    f"expected logits of the labels' size {tuple(labels.shape[-2:])}, "
                    f"got {tuple(logits.shape[-2:])}: let the model upsample them"
                )
            if logits.shape[1] != len(classes):
                raise ValueError(
                    f"expected logits of the data set's {len(classes)} classes, "
                    f"got {logits.shape[1]}"
                )
            if logits.isnan().any():
                raise ValueError("expected logits that are numbers, got nan: look at the weights")
            predictions, labels = logits.argmax(1), labels.to(device)
            matrix.update(predictions, labels)
            if demands is not None:
                demands, valid = demands.to(device).long(), labels != ignore_index
                right = valid & (predictions == labels)
                for row, chosen in enumerate((right, valid)):
                    tally[row] += torch.bincount(demands[chosen], minlength=len(names))
    finally:
        model.train(was_training)
    confusion = matrix.compute()  # sums over the processes
    if world > 1:
        torch.distributed.all_reduce(tally)
    right, posed = tally.tolist()
    demands = {n: r / p if p else math.nan for n, r, p in zip(names, right, posed)}
    return from_confusion(confusion.cpu().numpy(), classes, demands=demands, images=count)


def _classes(model: nn.Module, dataset, device: torch.device | str) -> tuple[str, ...]:
    """The names of a data set's classes; where it has none, the numbers of the model's."""
    if hasattr(dataset, "classes"):
        return tuple(dataset.classes)
    sample = dataset[0]
    check(sample, 0, **expectations(dataset))
    logits = answers(model(sample[0][None].to(device)))[0]
    return tuple(f"class {k}" for k in range(logits.shape[1]))


def _groups(
    dataset, numbers: range, batch: int, classes: int
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """Images, labels and demand maps, as many together as ``batch`` and their sizes allow."""
    expected = expectations(dataset) | {"classes": classes}
    for start in range(0, len(numbers), batch):
        part = numbers[start : start + batch]
        samples = [dataset[i] for i in part]
        for i, sample in zip(part, samples):
            check(sample, i, **expected)
        with_demands = hasattr(dataset, "demand")
        maps = [dataset.demand(i) for i in part] if with_demands else [None] * len(part)
        for i, asked, (_, labels) in zip(part, maps, samples):
            _check_demand(dataset, i, asked, labels)
        together = len({image.shape for image, _ in samples}) == 1
        for chosen in [range(len(part))] if together else [[k] for k in range(len(part))]:
            yield (
                torch.stack([samples[k][0] for k in chosen]),
                torch.stack([samples[k][1] for k in chosen]),
                torch.stack([maps[k] for k in chosen]) if with_demands else None,
            )


def _check_demand(dataset, index: int, found: Tensor | None, labels: Tensor) -> None:
    if found is None:
        return
    names = len(dataset.demand_names)
    if found.shape != labels.shape or found.dtype != torch.uint8 or int(found.max()) >= names:
        raise ValueError(
            f"sample {index} of the data set: expected a uint8 demand map of the labels' size "
            f"{tuple(labels.shape)} with values in 0..{names - 1}, got {found.dtype} "
            f"{tuple(found.shape)} up to {found.max()}"
        )


def processes() -> tuple[int, int]:
    """Which process this is, of how many that share the work.

    Returns:
        (0, 1) where there is only one.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def _percent(value: float) -> str:
    return "    -" if math.isnan(value) else f"{100 * value:5.1f}"


def _none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _nan(value: float | None) -> float:
    return math.nan if value is None else value
