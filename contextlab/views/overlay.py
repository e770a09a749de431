"""A scene: the image, what is in it, what it demands, what a network says, and where it errs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from contextlab.data.streets import DEMAND_TITLES

from .figures import WIDTH, legend_row, new_figure, picture, styled
from .palette import DEMAND_COLOURS, IGNORED, WRONG, Map, grey, paint, pixels, rgb, whole


@styled
def scene(
    image: Map,
    labels: Map | None = None,
    *,
    classes: Sequence[str],
    palette: np.ndarray,
    demand: Map | None = None,
    demand_titles: Mapping[str, str] | None = None,
    prediction: Map | Mapping[str, Map] | None = None,
    ignore_index: int = 255,
    errors: bool = True,
    title: str = "",
) -> tuple[Figure, dict]:
    """The image beside its maps, with a legend of the classes that occur.

    Args:
        image: ``3 h w`` in [0, 1].
        labels: ``h w``, the ground truth.
        classes: names of the classes.
        palette: ``classes 3``, their colours as bytes.
        demand: ``h w``, indices into the demands.
        demand_titles: what the demands are called, in the order of the indices, "local" first;
            by default the letters and titles of the streets.
        prediction: ``h w``, or several by name.
        ignore_index: the label of pixels that do not count.
        errors: draw where each prediction is wrong.
        title: a line above.

    Returns:
        the figure, and the numbers: "classes" (names that occur), "accuracy" by prediction
        (share of the counted pixels), "demands" (share of all pixels by demand).

    Raises:
        ValueError: maps of different size.
    """
    predictions = _named(prediction)
    panels, numbers = [("image", pixels(image))], {"classes": [], "accuracy": {}, "demands": {}}
    size = panels[0][1].shape[:2]
    maps = {"labels": labels, "demand": demand, **predictions}
    maps = {name: whole(m) for name, m in maps.items() if m is not None}
    for name, m in maps.items():
        if m.shape != size:
            raise ValueError(f"expected {name} of the image's size {size}, got {m.shape}")
    if labels is not None:
        panels.append(("labels", paint(maps["labels"], palette)))
    titles = dict(demand_titles or DEMAND_TITLES)
    colours = [DEMAND_COLOURS.get(name, "#000000") for name in titles]
    if demand is not None:
        panels.append(("what a pixel demands", rgb(colours)[maps["demand"]]))
        shares = np.bincount(maps["demand"].ravel(), minlength=len(titles)) / maps["demand"].size
        numbers["demands"] = {name: float(s) for name, s in zip(titles, shares)}
    answers = []
    for name in predictions:
        answers.append([(name, paint(maps[name], palette))])
        if labels is None:
            continue
        valid = maps["labels"] != ignore_index
        wrong = (maps[name] != maps["labels"]) & valid
        share = wrong.sum() / max(valid.sum(), 1)
        numbers["accuracy"][name] = float(1 - share)
        if errors:
            # a name, which stands above the prediction already, must fit beside its neighbours
            fits = name != "prediction" and len(name) <= 12 and len(predictions) < 4
            of = f" of {name}" if fits else ""
            answers[-1].append((f"errors{of}: {share:.1%}", _errors(image, wrong, valid)))
    seen = [m for name, m in maps.items() if name != "demand"]
    present = np.unique(np.concatenate([m.ravel() for m in seen])) if seen else np.empty(0, int)
    present = [i for i in present if i < len(classes)]
    numbers["classes"] = [classes[i] for i in present]

    legends = []
    if present:
        legends.append({classes[i]: np.asarray(palette[i]) / 255 for i in present})
        if labels is not None and (maps["labels"] == ignore_index).any():
            legends[0]["ignored"] = np.array(IGNORED) / 255
    if demand is not None:
        posed = [n for n in titles if numbers["demands"][n] > 0]
        legends.append({_demand_name(n, titles): DEMAND_COLOURS.get(n, "#000000") for n in posed})
    columns = None
    if len(answers) > 1 and labels is not None and errors:
        panels = _columnwise(panels, answers)
        columns = len(panels) // 2
    else:
        panels += [panel for answer in answers for panel in answer]
    return _gallery(panels, legends, title, columns), numbers


@styled
def gallery(
    images: Mapping[str, Map], *, columns: int | None = None, title: str = ""
) -> tuple[Figure, dict]:
    """Several images or grey maps by name, side by side.

    Args:
        images: name to ``3 h w``, ``h w 3``, or ``h w`` in [0, 1] (drawn grey).
        columns: panels in a row.
        title: a line above.

    Returns:
        the figure, and the mean value of each image.
    """
    panels = []
    for name, image in images.items():
        array = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
        panels.append((name, pixels(array[..., None] if array.ndim == 2 else array)))
    return _gallery(panels, [], title, columns), {n: float(p.mean()) for n, p in panels}


def _gallery(panels: list, legends: list[dict], title: str, columns: int | None = None) -> Figure:
    """Panels (name, image, or None for a gap) row by row, legends below."""
    height, width = panels[0][1].shape[:2]
    columns = columns or {1: 1, 2: 2, 3: 3, 4: 2}.get(len(panels), 3)
    rows = -(-len(panels) // columns)
    wide = min(WIDTH / columns, 6)
    heights = [wide * height / width + 0.28] * rows
    per_line = [-(-len(entries) // -(-len(entries) // 7)) for entries in legends]
    heights += [0.25 * -(-len(e) // n) + 0.03 for e, n in zip(legends, per_line)]
    figure = new_figure(sum(heights) + (0.3 if title else 0.05), width=min(WIDTH, wide * columns))
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    for i, panel in enumerate(panels):
        if panel is not None:
            axes = figure.add_subplot(grid[i // columns, i % columns])
            picture(axes, panel[1], panel[0])
    for i, (entries, n) in enumerate(zip(legends, per_line)):
        legend_row(figure.add_subplot(grid[rows + i, :]), entries, columns=n)
    if title:
        figure.suptitle(title, x=0.008, ha="left")
    return figure


def _columnwise(given: list, answers: list[list]) -> list:
    """Each prediction above its errors, beside the columns of what is given."""
    rows = max(len(given) if len(given) <= 2 else 2, 2)
    columns = [given[:rows], *([given[rows:]] if given[rows:] else []), *answers]
    return [c[r] if r < len(c) else None for r in range(rows) for c in columns]


def _errors(image: Map, wrong: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """The image in pale grey, wrong pixels in one strong colour, ignored ones white."""
    ground = np.repeat((0.55 + 0.4 * grey(image))[..., None], 3, axis=2)
    ground[~valid] = np.array(IGNORED) / 255
    ground[wrong] = to_rgb(WRONG)
    return ground


def _named(prediction: Map | Mapping[str, Map] | None) -> dict[str, Map]:
    if prediction is None:
        return {}
    return dict(prediction) if isinstance(prediction, Mapping) else {"prediction": prediction}


def _demand_name(name: str, titles: Mapping[str, str]) -> str:
    return name if titles[name] == name else f"{name}: {titles[name]}"
