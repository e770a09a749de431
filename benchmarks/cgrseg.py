"""CGRSeg by its parts, beside SegNeXt-T and the dilated FCN and PSP on ResNet-50.

    OMP_WAIT_POLICY=passive python benchmarks/cgrseg.py [--side 512] [--threads 2] [--json FILE]

The networks take turns on one image, forward, and on two of them in a training step: loss, backward
pass and optimiser, whose batch norm wants more than one value where a map is pooled to one pixel.
Both with the channels first and last. On a CPU the seconds are those that the process computed, of
all its threads together, which a busy machine changes little as long as threads wait passively; of
several turns the quickest counts. Three more tables: which operators a forward pass of CGRSeg-T
spends its time in; the decoder against the one that convolves the broadcast map, as the official
code does; and ways to compute a strip. On a GPU also the throughput at the largest batch.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from modules import PASSES, call_alone, command_line, parse, setting
from torch import Tensor, nn

from contextlab import networks
from contextlab.costs import Table, measure, profile
from contextlab.modules.rectangular import RectangularAttention, RowStrip
from contextlab.training import segmentation_loss

CLASSES = 150
RANDOM = {"backbone_options": {"weights": "random"}}
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "CGRSeg-T": lambda: networks.cgrseg(CLASSES, "t", **RANDOM),
    "CGRSeg-B": lambda: networks.cgrseg(CLASSES, "b", **RANDOM),
    "CGRSeg-L": lambda: networks.cgrseg(CLASSES, "l", **RANDOM),
    "SegNeXt-T": lambda: networks.segnext(CLASSES),
    "FCN-R50": lambda: networks.network(CLASSES, backbone="resnet50", **RANDOM),
    "PSP-R50": lambda: networks.network(
        CLASSES, backbone="resnet50", context="pyramid_pooling", **RANDOM
    ),
}
SMALL = {"CGRSeg-small": lambda: networks.cgrseg(13, "small"), "FCN": lambda: networks.network(13)}
REFERENCES = ("FCN-R50", "PSP-R50")
LAYOUTS = {
    "channels first": torch.contiguous_format,
    "channels last": torch.channels_last,
}
#: maps on which CGRSeg-T's strips of 11 lie: at 1/8, 1/16 and 1/32, and in the pyramid
STRIPS = ((48, 64, 64), (120, 32, 32), (224, 16, 16), (392, 8, 8))


def reconstruct(
    levels: nn.ModuleList, maps: Sequence[Tensor], contexts: Sequence[Tensor]
) -> Tensor:
    """The map that enters the head, from the coarsest scale to the finest."""
    y = None
    for level, x, context in reversed(list(zip(levels, maps, contexts))):
        y = level(x, context, y)
    return y


def parts_of(model: nn.Module, image: Tensor) -> Iterator[tuple[str, Callable, tuple]]:
    """The parts in their order, each with what it is given in the network."""

    def given(name: str, part: Callable, *inputs) -> tuple[str, Callable, tuple]:
        with torch.no_grad():
            outputs.append(part(*inputs))
        return name, part, inputs

    outputs: list = []
    yield given("backbone", model.maps, image)
    maps = outputs[-1]
    if isinstance(model, networks.CGRSeg):
        yield given("context", model.pyramid, maps)
        yield given("reconstruction", reconstruct, model.levels, maps, outputs[-1])
        yield given("head", model.head, outputs[-1])
    elif isinstance(model, networks.SegNeXt):
        yield given("head", model.head, maps)
    else:

        def head(x: Tensor) -> Tensor:
            return model.classifier(model.fuse(model.slot(model.reduce(x))))

        yield given("head", head, maps[-1])
    yield given("resize", model.resize, outputs[-1], image)


def trainable(value):
    """The same with tensors as leaves of their own, which gather gradients."""
    if isinstance(value, Tensor):
        return value.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    return [trainable(one) for one in value] if isinstance(value, (list, tuple)) else value


def part_alone(part: Callable, inputs: tuple, backward: bool) -> None:
    if not backward:
        with torch.inference_mode():
            part(*inputs)
        return
    outputs = part(*trainable(inputs))
    outputs = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
    torch.autograd.backward(outputs, [y.detach() for y in outputs])


def answer(model: nn.Module, images: Tensor) -> None:
    with torch.inference_mode():
        model(images)


def training_step(model: nn.Module, optimiser: torch.optim.Optimizer, images: Tensor) -> None:
    labels = torch.zeros(len(images), *images.shape[2:], dtype=torch.long, device=images.device)
    segmentation_loss(model(images), labels).backward()
    optimiser.step()
    optimiser.zero_grad()


def quickest(works: dict, turns: int, device: str) -> dict:
    """Milliseconds of each, the least of several turns."""
    found = dict.fromkeys(works, float("inf"))
    for turn in range(turns):
        for key in sorted(works, key=str, reverse=turn % 2):
            began = time.process_time()
            once = measure(works[key], repeats=1, warmup=0, memory=False, device=device)
            on_cpu = torch.device(device).type == "cpu"
            seconds = time.process_time() - began if on_cpu else once.seconds
            found[key] = min(found[key], 1e3 * seconds)
    return found


def rows_of(made: dict, side: int, turns: int, device: str) -> Iterator[list[dict]]:
    """A row for each network and each of its parts, layout by layout and pass by pass."""
    for layout, memory in LAYOUTS.items():
        for step in (False, True):
            title = "training step" if step else "forward"
            print(f"{layout}, {title}", file=sys.stderr)
            images = torch.rand(1 + step, 3, side, side, device=device)
            images = images.contiguous(memory_format=memory)
            works: dict[tuple[str, str], Callable] = {}
            for name, model in made.items():
                model.to(memory_format=memory).train(step)
                whole = functools.partial(answer, model, images)
                if step:
                    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5)
                    whole = functools.partial(training_step, model, optimiser, images)
                works[name, "whole"] = whole
                if step and name in REFERENCES:
                    continue  # their steps take longest, and their parts are not asked about
                for part, function, inputs in parts_of(model, images):
                    works[name, part] = functools.partial(part_alone, function, inputs, step)
            ms = quickest(works, max(1, turns // 3) if step else turns, device)
            yield [row(ms, name, part, layout, title) for name, part in works]
            for model in made.values():
                model.zero_grad()


def row(ms: dict, name: str, part: str, layout: str, title: str) -> dict:
    found = {"network": name, "layout": layout, "pass": title, "part": part, "ms": ms[name, part]}
    if part != "whole":
        # of the sum of the parts: none is measured within another
        every = sum(
            value for (other, part), value in ms.items() if other == name and part != "whole"
        )
        return {**found, "share": found["ms"] / every}
    for other in REFERENCES:
        if (other, part) in ms:
            found[f"time / {other}"] = found["ms"] / ms[other, part]
    return found


@contextmanager
def watched(model: nn.Module) -> Iterator[dict[str, float]]:
    """Seconds that strips, axial pools and windows of a model take, while a CPU computes."""
    seconds = dict.fromkeys(("row strips", "column strips", "axial pools", "windows"), 0.0)

    def timed(name: str, function: Callable) -> Callable:
        def wrapped(*inputs):
            began = time.process_time()
            y = function(*inputs)
            seconds[name] += time.process_time() - began
            return y

        return wrapped

    attentions = [m for m in model.modules() if isinstance(m, RectangularAttention)]
    for m in attentions:
        m.axes = timed("axial pools", m.axes)
        for name, part in (
            ("row strips", m.row_strip),
            ("column strips", m.column_strip),
            ("windows", m.local),
        ):
            part.forward = timed(name, part.forward)
    try:
        yield seconds
    finally:
        for m in attentions:
            for part, attribute in (
                (m, "axes"),
                (m.row_strip, "forward"),
                (m.column_strip, "forward"),
                (m.local, "forward"),
            ):
                delattr(part, attribute)


def spent(model: nn.Module, image: Tensor, most: int = 8) -> list[dict]:
    """Shares of a forward pass: what calibrates, and torch's operators, the longest first."""
    model.to(memory_format=torch.contiguous_format).eval()
    answer(model, image)
    with watched(model) as seconds:
        began = time.process_time()
        answer(model, image)
        whole = time.process_time() - began
    rows = [{"what": name, "share": value / whole} for name, value in seconds.items()]
    with torch.no_grad():
        found = profile(model, image, backward=False)
    return rows + [
        {"what": o.name, "share": found.share(o), "calls": o.calls} for o in found.operators[:most]
    ]


def broadcast(strip: RowStrip, rows: Tensor, columns: Tensor) -> Tensor:
    """The strip as the official code has it: a convolution of the map of all sums."""
    return nn.Conv2d.forward(strip, rows + columns)


def decoder(model: nn.Module, image: Tensor, turns: int, device: str) -> list[dict]:
    """Context, reconstruction and head, against those that broadcast before they convolve."""

    def decode(maps: list[Tensor], backward: bool, forward: Callable) -> None:
        ours, RowStrip.forward = RowStrip.forward, forward
        try:
            with torch.set_grad_enabled(backward):
                maps = trainable(maps) if backward else maps
                y = model.head(reconstruct(model.levels, maps, model.pyramid(maps)))
                if backward:
                    y.backward(y.detach())
        finally:
            RowStrip.forward = ours

    rows = []
    for layout, memory in LAYOUTS.items():
        image = image.contiguous(memory_format=memory)
        model.to(memory_format=memory).eval()
        with torch.no_grad():
            maps = model.maps(image)
        for title, backward in PASSES.items():
            works = {
                name: functools.partial(decode, maps, backward, forward)
                for name, forward in (("ours", RowStrip.forward), ("broadcast", broadcast))
            }
            ms = quickest(works, 3 * turns, device)
            rows.append(
                {"layout": layout, "pass": title, **{f"{k} (ms)": v for k, v in ms.items()}}
            )
            rows[-1]["time, ours / broadcast"] = ms["ours"] / ms["broadcast"]
    model.zero_grad()
    return rows


def convolution(x: Tensor, strip: nn.Conv2d) -> Tensor:
    return strip(x)


def transposed(x: Tensor, strip: nn.Conv2d) -> Tensor:
    """Along the other axis of the map, copied so that it lies the other way."""
    weight, padding = strip.weight.mT, strip.padding[::-1]
    x = x.mT.contiguous()
    return F.conv2d(x, weight, strip.bias, padding=padding, groups=strip.groups).mT


def shifted(x: Tensor, strip: nn.Conv2d) -> Tensor:
    """A sum of k shifted maps."""
    (h, w), (above, left) = x.shape[2:], strip.padding
    around, y = F.pad(x, (left, left, above, above)), strip.bias[:, None, None]
    for t, weight in enumerate(strip.weight.flatten(1).T[..., None, None]):
        i, j = (t, 0) if above else (0, t)
        y = torch.addcmul(y, weight, around[:, :, i : i + h, j : j + w])
    return y


def lines(x: Tensor, strip: nn.Conv2d) -> Tensor:
    """A convolution of one dimension, each line an image of its own."""
    upright, weight = strip.padding[0] > 0, strip.weight.flatten(2)
    x = x.permute(0, 3, 1, 2) if upright else x.permute(0, 2, 1, 3)
    y = F.conv1d(
        x.flatten(0, 1), weight, strip.bias, padding=weight.shape[2] // 2, groups=len(weight)
    )
    y = y.unflatten(0, x.shape[:2])
    return y.permute(0, 2, 3, 1) if upright else y.permute(0, 2, 1, 3)


def band(x: Tensor, strip: nn.Conv2d) -> Tensor:
    """A product with the matrix whose diagonals are the weights, one for each channel."""
    upright, weight = strip.padding[0] > 0, strip.weight.flatten(1)
    side = x.shape[2 if upright else 3]
    room = side - 1 - weight.shape[1] // 2
    diagonals = F.pad(weight, (room, room)).unfold(1, side, 1).flip(1)
    y = diagonals @ x if upright else x @ diagonals.mT
    return y + strip.bias[:, None, None]


FORMS = {f.__name__: f for f in (convolution, transposed, shifted, lines, band)}


def strips(sizes: tuple, turns: int, device: str, kernel: int = 11) -> list[dict]:
    """Every way to compute a strip, in turns, on maps of these sizes."""
    rows = []
    for channels, h, w in sizes:
        for sides in ((kernel, 1), (1, kernel)):
            padding = [side // 2 for side in sides]
            strip = nn.Conv2d(channels, channels, sides, padding=padding, groups=channels)
            strip, x = strip.to(device), torch.randn(1, channels, h, w, device=device)
            for form in FORMS.values():
                with torch.no_grad():
                    torch.testing.assert_close(form(x, strip), strip(x), rtol=1e-3, atol=1e-5)
            for title, backward in PASSES.items():
                given, works = x.clone().requires_grad_(backward), {}
                for name, form in FORMS.items():
                    version = functools.partial(form, strip=strip)
                    works[name] = functools.partial(call_alone, version, given, backward)
                last = x.contiguous(memory_format=torch.channels_last).requires_grad_(backward)
                works["channels last"] = functools.partial(call_alone, strip, last, backward)
                ms = quickest(works, 5 * turns, device)
                name = {"strip": f"{sides[0]}x{sides[1]}", "map": [channels, h, w], "pass": title}
                rows.append(name | {f"{key} (ms)": value for key, value in ms.items()})
    return rows


def throughput(model: nn.Module, side: int, device: str, largest: int = 4096) -> dict:
    """Images a second at the largest batch, a power of two, that the memory holds."""
    model.to(memory_format=torch.channels_last).eval()
    best, batch = {}, 1
    while batch <= largest:
        try:
            images = torch.rand(batch, 3, side, side, device=device)
            images = images.contiguous(memory_format=torch.channels_last)
            work = functools.partial(answer, model, images)
            once = measure(work, repeats=3, warmup=1, memory=False, device=device)
        except torch.OutOfMemoryError:
            break
        best = {"batch": batch, "images a second": batch / once.seconds}
        batch *= 2
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
    return best


def main(arguments: list[str] | None = None) -> dict:
    parser = command_line(__doc__, repeats=5)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--small", action="store_true", help="small networks: the way, no figures")
    chosen = parse(parser, arguments)
    torch.manual_seed(0)
    side, turns, device = chosen.side, chosen.repeats, chosen.device
    made = {k: make().to(device) for k, make in (SMALL if chosen.small else NETWORKS).items()}
    first = next(iter(made))
    image = torch.rand(1, 3, side, side, device=device)
    found = {**setting(device, CLASSES), "side": side, "repeats": turns, "rows": []}

    def keep(**more) -> None:
        found.update(more)
        if chosen.json:
            chosen.json.write_text(json.dumps(found, indent=1) + "\n")

    for rows in rows_of(made, side, turns, device):
        keep(rows=found["rows"] + rows)
    keep(decoder=decoder(made[first], image, turns, device))
    keep(spent=spent(made[first], image))
    keep(strips=strips(STRIPS[-1:] if chosen.small else STRIPS, turns, device))
    if torch.device(device).type == "cuda":
        keep(throughput=[{"network": k} | throughput(m, side, device) for k, m in made.items()])
    print(
        ", ".join(f"{key} {value}" for key, value in found.items() if not isinstance(value, list))
    )
    for key, value in found.items():
        if isinstance(value, list):
            plain = [{k: str(v) if isinstance(v, list) else v for k, v in r.items()} for r in value]
            print(Table(plain, digits=3, title=f"\n{key}"))
    return found


if __name__ == "__main__":
    main()
