"""The lessons' pictures of real streets, for anyone who has CamVid.

    python data_scripts/camvid.py                      # once: the images
    python benchmarks/camvid_pictures.py [--only 07]   # the pictures, into lessons/images

The heads are trained where there is no finished run with weights (`--runs` names a folder of runs):
one to three minutes each on a CPU, over a backbone that stays as it is.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

from contextlab import claims, data, runs, views
from contextlab.home import home
from contextlab.modules.graph_guided import support
from contextlab.probes import inside, similarity_maps

SHARE = 0.1  # of the neighbours, in the picture of lesson 10
IMAGES = Path(__file__).resolve().parents[1] / "lessons" / "images"


@dataclass(frozen=True)
class Streets:
    """CamVid's test frames, the frozen backbone, and the heads that were trained on its maps.

    Args:
        root: folder of CamVid; its usual place by default.
        pretrained: a local file with the backbone's weights; fetched by default.
        folder: where finished runs lie, before those of this machine.
    """

    root: Path | None = None
    pretrained: Path | None = None
    folder: Path | None = None

    @property
    def frames(self) -> data.CamVid:
        """Images and labels."""
        return data.build("camvid", "test", root=self.root)

    @cache  # noqa: B019 - one object a process
    def head(self, label: str) -> nn.Module:
        """The trained head of a condition of the experiment "CamVid", seed 0, or of a module."""
        known = claims.configs("CamVid")
        config = known[label][0] if label in known else claims.experiments.on_camvid(label)(0)
        given = self.folder and runs.find_in(self.folder, config)
        found = given or runs.find(config)
        if found is not None and found.weights is not None:
            return found.model()
        path = home() / "runs" / f"{config.name}.json"
        options = {"root": self.root, "pretrained": self.pretrained}
        return runs.train(config, path, **options).model()

    @cache  # noqa: B019
    def backbone(self) -> Callable[[Tensor], Tensor]:
        """From images ``b 3 h w`` to the last map."""
        config = claims.configs("CamVid")["FCN"][0]
        classes = len(self.frames.classes)
        network = runs.build_network(config, classes, weights=self.pretrained).eval()

        def last(images: Tensor) -> Tensor:
            with torch.no_grad():
                return network.backbone((images - network.mean) / network.std)[-1]

        return last

    def maps(self, label: str, indices: Sequence[int]) -> Iterator[Tensor]:
        """What enters the slot of a head, ``1 c h w`` an image."""
        for index in indices:
            with torch.no_grad():
                yield self.head(label).reduce(self.backbone()(self.frames[index][0][None]))


def concepts(streets: Streets, frame: int = 180) -> Figure:
    """Where the concepts of DGCNet's feature graph gather more or less than on average."""
    few = [*range(0, len(streets.frames), 10), frame]
    graph = streets.head("DGCNet").slot.feature
    with torch.no_grad():
        nodes = torch.cat([graph.nodes(x) for x in streets.maps("DGCNet", few)])
    return _told_best(streets, nodes, few)


def states(streets: Streets, frame: int = 180) -> Figure:
    """What the pixels say into the states of squeeze reasoning, more or less than on average."""
    few = [*range(0, len(streets.frames), 10), frame]
    slot = streets.head("SR").slot
    with torch.no_grad():
        said = torch.cat([slot.phi(x) * slot.gamma(x) for x in streets.maps("SR", few)])
    return _told_best(streets, said, few)


def _told_best(streets: Streets, maps: Tensor, few: Sequence[int]) -> Figure:
    """The last frame's maps of which the classes explain most, each with its best class."""
    labels = torch.stack([streets.frames[i][1] for i in few])
    told = inside.selectivity(maps, inside.at_middle(labels, maps.shape[2:]))
    here = maps[-1] - maps.mean((0, 2, 3))[:, None, None]
    order = told.explained.argsort(descending=True)[:7].tolist()
    names = streets.frames.classes
    shown = {
        f"{k}: all {told.explained[k]:.0%}, {names[told.best[k]]} {told.single[k]:.0%}": here[k]
        for k in order
    }
    return views.node_maps_figure(streets.frames[few[-1]][0], shown)[0]


def predictions(streets: Streets, frame: int = 180) -> Figure:
    """What the heads say about one frame, and where they err."""
    image, labels = streets.frames[frame]
    said = {}
    for label in claims.configs("CamVid"):
        with torch.no_grad():
            said[label] = streets.head(label)(streets.backbone()(image[None]))[0].argmax(0)
    names, palette = streets.frames.classes, streets.frames.palette
    return views.scene(image, labels, classes=names, palette=palette, prediction=said)[0]


def look_alikes(streets: Streets, frame: int = 115) -> Figure:
    """What looks like a wall, a fence and a pavement to features that see little, and to all."""
    image, labels = streets.frames[frame]
    marked = [(120, 455), (186, 62), (295, 46)]  # a house, a fence, the pavement before it
    found, classes = {}, len(streets.frames.classes)
    seen = {"67 pixels": "CamVid, local", "whole backbone": "CamVid"}
    for name, experiment in seen.items():
        config = claims.configs(experiment)["FCN"][0]
        network = runs.build_network(config, classes, weights=streets.pretrained).eval()
        found[name] = similarity_maps(network, image, marked)
    return views.similarity_figure(image, marked, found, labels=labels)[0]


def kept(streets: Streets, frame: int = 180, query: tuple[int, int] = (15, 27)) -> Figure:
    """The positions whose features are most like a pavement's, in all the image and in graphs.

    The backbone has learned ImageNet and no street, and its cosines take the place of affinities.
    """
    image, labels = streets.frames[frame]
    features = F.normalize(streets.backbone()(image[None])[0], dim=0)
    cosine = torch.einsum("c, c y x -> y x", features[:, *query], features)
    h, w = cosine.shape
    panels = {}
    for head in ("FULL", "LOCAL_4", "GRID_4"):
        joined = support(head, h, w, query)
        alike = cosine.exp() * joined
        least = alike[joined].topk(math.ceil(SHARE * int(joined.sum()))).values[-1]
        panels[head.replace("_", " ")] = alike, alike * (alike >= least)
    small = labels[_middles(labels.shape[0], h)][:, _middles(labels.shape[1], w)]
    return views.kept_figure(image, panels, query, labels=small)[0]


def calibrated(streets: Streets, frame: int = 180, channels: int = 3) -> Figure:
    """What rows and columns draw in a trained attention, and what its strips make of it.

    Of each of some classes the channel whose gate tells it best from all others.
    """
    few = [*range(0, len(streets.frames), 10), frame]
    slot = streets.head("rectangular_attention").slot
    maps = torch.cat([*streets.maps("rectangular_attention", few)])
    with torch.no_grad():
        regions, gates = slot.region(maps), slot.gate(maps)
    labels = torch.stack([streets.frames[i][1] for i in few])
    told = inside.selectivity(gates, inside.at_middle(labels, gates.shape[2:]))
    names, shown, seen = streets.frames.classes, {}, set()
    for k in told.single.argsort(descending=True).tolist():
        best = int(told.best[k])
        if best not in seen and len(seen) < channels:
            seen.add(best)
            shown[f"{names[best]}, channel {k}"] = regions[-1, k], gates[-1, k]
    return views.calibrated_figure(streets.frames[frame][0], shown)[0]


def own_prototypes(streets: Streets, frame: int = 180) -> Figure:
    """Each pixel named after the nearest prototype: the data set's, and two kinds of the image's.

    Those of the image are means over the soft regions of a first answer, as in OCR and CGRSeg, and
    over the regions of its labels. Classes that are not labelled in a frame are no choice in it.
    """
    train, backbone = data.build("camvid", "train", root=streets.root), streets.backbone()
    names, palette = streets.frames.classes, streets.frames.palette

    def seen(dataset, index: int) -> tuple[Tensor, Tensor]:
        image, labels = dataset[index]
        x = backbone(image[None])[0]
        rows, columns = (_middles(a, b) for a, b in zip(labels.shape, x.shape[1:]))
        return x, labels[rows][:, columns]

    def means(x: Tensor, labels: Tensor) -> Tensor:
        return torch.stack([x[:, labels == k].mean(1) for k in range(len(names))], 1).nan_to_num()

    def alike(x: Tensor, p: Tensor) -> Tensor:
        return torch.einsum("c k, c y x -> k y x", F.normalize(p, dim=0), F.normalize(x, dim=0))

    few = [seen(train, i) for i in range(0, len(train), 12)]
    every = torch.cat([x.flatten(1) for x, _ in few], 1)
    shared = means(every, torch.cat([labels.flatten() for _, labels in few]))
    right: dict[str, list[float]] = {}
    for index in [*range(0, len(streets.frames), 15), frame]:
        x, labels = seen(streets.frames, index)
        first = alike(x, shared)
        found = x.flatten(1) @ (30 * first).flatten(1).softmax(1).T
        choices = {
            "the data set's": first,
            "the image's, found": alike(x, found),
            "the image's, labelled": alike(x, means(x, labels)),
        }
        absent = torch.tensor([not (labels == k).any() for k in range(len(names))])
        said = {
            name: choice.masked_fill(absent[:, None, None], -2) for name, choice in choices.items()
        }
        counted = labels < len(names)
        for name, choice in said.items():
            share = (choice.argmax(0) == labels)[counted].float().mean()
            right.setdefault(name, []).append(float(share))
    image, labels = streets.frames[frame]
    large = {
        name: F.interpolate(choice[None], labels.shape, mode="bilinear")[0].argmax(0)
        for name, choice in said.items()
    }
    mean = {name: sum(shares[:-1]) / (len(shares) - 1) for name, shares in right.items()}
    words = ", ".join(f"{name} {share:.0%}" for name, share in mean.items())
    title = f"right, a mean over {len(next(iter(right.values()))) - 1} frames: {words}"
    return views.scene(
        image, labels, classes=names, palette=palette, prediction=large, title=title
    )[0]


def _middles(side: int, cells: int) -> Tensor:
    return ((torch.arange(cells) + 0.5) * side / cells).long()


#: file to what draws it
PICTURES: dict[str, Callable[[Streets], Figure]] = {
    "07_camvid_concepts.png": concepts,
    "07_camvid_predictions.png": predictions,
    "08_camvid_states.png": states,
    "09_camvid_look_alikes.png": look_alikes,
    "10_camvid_kept.png": kept,
    "11_camvid_calibrated.png": calibrated,
    "12_camvid_prototypes.png": own_prototypes,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="names that begin so")
    parser.add_argument("--root", type=Path, help="folder of CamVid")
    parser.add_argument("--runs", type=Path, help="folder with finished runs and their weights")
    parser.add_argument("--pretrained", type=Path, help="file with the backbone's weights")
    parser.add_argument("--out", type=Path, default=IMAGES)
    options = parser.parse_args(arguments)
    streets = Streets(options.root, options.pretrained, options.runs)
    for name, draw in PICTURES.items():
        if name.startswith(options.only):
            (options.out / name).write_bytes(views.shrunk(views.png(draw(streets))))
            print(name)


if __name__ == "__main__":
    main()
