"""Several images row by row: the image, what is in it, and what each of some networks says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from contextlab.probes.objects import components

from .affinity import _outline
from .figures import legend_row, new_figure, picture, styled
from .palette import IGNORED, WRONG, Map, paint, pixels, whole


@styled
def answers_figure(
    images: Sequence[Map],
    labels: Sequence[Map],
    answers: Mapping[str, Sequence[Map]],
    *,
    classes: Sequence[str],
    palette: np.ndarray,
    ignore_index: int = 255,
) -> tuple[Figure, dict[str, list[float]]]:
    """A row for each image: it, its labels, and the answers of some networks with errors marked.

    What is right is pale; what is wrong has the full colour of the class it was taken for. An
    orange line is around each wrong piece of more than a five-hundredth of the image.

    Args:
        images: each ``3 h w`` in [0, 1], all of one size.
        labels: of each image, ``h w``.
        answers: name of a network to its answer for each image, ``h w``.
        classes: their names.
        palette: ``classes 3``, their colours as bytes.
        ignore_index: the label of pixels that do not count.

    Returns:
        the figure, and name to the share of right pixels in each image.

    Raises:
        ValueError: other numbers of images, labels and answers.
    """
    counts = {len(images), len(labels), *(len(said) for said in answers.values())}
    if len(counts) != 1 or not len(images):
        raise ValueError(f"expected as many labels and answers as images, got {sorted(counts)}")
    rows, columns = len(images), 2 + len(answers)
    h, w = pixels(images[0]).shape[:2]
    every = [*labels, *(said for answer in answers.values() for said in answer)]
    every = [*labels, *(said for answer in answers.values() for said in answer)]
    seen = np.unique(np.concatenate([whole(m).ravel() for m in every]))
    names = {classes[i]: np.asarray(palette[i]) / 255 for i in seen if i < len(classes)}
    if any((whole(m) == ignore_index).any() for m in labels):
        names["ignored"] = np.array(IGNORED) / 255
    per_line = -(-len(names) // -(-len(names) // 7))
    tall = 9.0 / columns * h / w + 0.24
    foot = 0.25 * -(-len(names) // per_line) + 0.03
    figure = new_figure(rows * tall + foot + 0.22)
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=[tall] * rows + [foot])
    numbers: dict[str, list[float]] = {name: [] for name in answers}
    for r, (image, truth) in enumerate(zip(images, labels)):
        truth = whole(truth)
        panels = [figure.add_subplot(grid[r, c]) for c in range(columns)]
        picture(panels[0], pixels(image), "image" if r == 0 else "")
        picture(panels[1], paint(truth, palette), "labels" if r == 0 else "")
        valid = truth != ignore_index
        for axes, (name, said) in zip(panels[2:], answers.items()):
            answer = whole(said[r])
            wrong = (answer != truth) & valid
            numbers[name].append(float(1 - wrong.sum() / max(valid.sum(), 1)))
            shown = paint(answer, palette) / 255
            shown = np.where(wrong[..., None], shown, 0.22 * shown + 0.78)
            shown[~valid] = np.array(IGNORED) / 255
            share = f"{100 * (1 - numbers[name][-1]):.1f} % wrong"
            picture(axes, shown, f"{name}\n{share}" if r == 0 else share)
            _outline(axes, _large(wrong), (WRONG, 1.1))
    legend_row(figure.add_subplot(grid[rows, :]), names, columns=per_line)
    return figure, numbers


def _large(wrong: np.ndarray) -> np.ndarray:
    """The connected pieces of a mask of more than a five-hundredth of all pixels."""
    piece = components(torch.from_numpy(wrong.astype(np.int64))[None])[0].numpy()
    return wrong & (np.bincount(piece.ravel())[piece] > wrong.size / 500)
