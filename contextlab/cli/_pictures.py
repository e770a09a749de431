"""Pictures of predictions, and files that are written only where nobody else's stands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def write_picture(path: Path, picture: bytes) -> None:
    """Write a PNG file; one that is there must be ours."""
    from contextlab.home import claim, write_atomically

    claim(path)
    write_atomically(path, picture)


def predictions(dataset, model: nn.Module, count: int = 4) -> bytes:
    """Image, labels and prediction of some images as a PNG, with a legend of the classes."""
    import torch

    from contextlab.views import new_figure, png
    from contextlab.views.figures import legend_row, picture
    from contextlab.views.palette import paint, pixels

    device = next(model.parameters()).device
    chosen = [(2 * k + 1) * len(dataset) // (2 * count) for k in range(min(count, len(dataset)))]
    height, width = dataset[0][1].shape
    row = 3 * height / width + 0.25
    figure = new_figure(len(chosen) * row + 0.7)
    grid = figure.add_gridspec(len(chosen) + 1, 3, height_ratios=[row] * len(chosen) + [0.7])
    for line, index in enumerate(chosen):
        image, labels = dataset[index]
        with torch.inference_mode():
            predicted = model(image[None].to(device)).argmax(1)[0].cpu()
        maps = {
            f"image {index}": pixels(image),
            "labels": paint(labels.numpy(), dataset.palette),
            "prediction": paint(predicted.numpy(), dataset.palette),
        }
        for column, (title, shown) in enumerate(maps.items()):
            picture(figure.add_subplot(grid[line, column]), shown, title)
    colours = {name: colour / 255 for name, colour in zip(dataset.classes, dataset.palette)}
    legend_row(figure.add_subplot(grid[len(chosen), :]), colours, columns=6)
    return png(figure)
