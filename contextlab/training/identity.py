"""What a training run is a run of: all that its result depends on, and what two runs differ in.

The recipe, the network's settings and first weights, and the data. None of it is looked at whole:
of every weight some numbers are hashed and of the data some samples, which takes well under a
second and sees any other pretrained weights, option or data set.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import random
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath

import numpy as np
import torch
from torch import Tensor, nn

from contextlab.training.checkpoints import plain, plain_name
from contextlab.training.recipe import Recipe

SAMPLES = 32  # of the data
NUMBERS = 512  # of every weight
GOLDEN = (5**0.5 - 1) / 2  # multiples of it, modulo 1, are spread evenly
#: what every module has, and where timm's weights came from
SKIPPED = {*vars(nn.Module()), "pretrained_cfg", "default_cfg"}
#: what accelerate and torch.compile leave on a module
SKIPPED |= {"_is_accelerate_prepared", "_original_forward", "forward", "_is_torch_compile"}
LIBRARIES = ("torch", "torchvision", "timm", "contextlab")  # their code is not the reader's
DEPTH = 4


def identity(model: nn.Module, dataset, recipe: Recipe, *, tag: str = "", world: int = 1) -> dict:
    """All that the result of a training run depends on, as JSON can hold it.

    Args:
        model: the network before its first step.
        dataset: yields ``(image, labels)`` and has a length.
        recipe: the numbers.
        tag: what else the result depends on.
        world: processes that share a batch.

    Returns:
        One entry a part, for `differences`.

    Raises:
        ValueError: the data set gives another sample each time it is asked, and there is no tag.
    """
    values = {k: _words(v) for k, v in recipe.to_dict().items() if k != "workers"}
    return {
        "tag": tag,
        "processes": world,
        "recipe": values,
        "network": settings(model),
        "weights": fingerprints(model),
        "data": samples(dataset, tag=tag),
    }


def settings(model: nn.Module) -> dict[str, dict[str, str]]:
    """The settings of every module: class, options such as a stride, and what is frozen.

    Of a class that is neither torch's nor this package's the code counts as well.

    Args:
        model: any network.

    Returns:
        For the path of each module its settings in words.

    Example:
        >>> settings(nn.Conv2d(2, 3, 1))[""]["stride"]
        '(1, 1)'
    """
    found = {}
    for path, module in plain(model).named_modules(remove_duplicate=False):
        if "_orig_mod" in module._modules:  # a compiled part: what it wraps comes next
            continue
        found[plain_name(f"{path}.").removesuffix(".")] = _options(module)
    return found


def _options(module: nn.Module) -> dict[str, str]:
    kind = type(module)
    own = kind.__module__.partition(".")[0] not in LIBRARIES
    torchs = kind.__module__.startswith("torch.")
    options = {"class": f"nn.{kind.__qualname__}" if torchs else kind.__qualname__}
    if own:
        options["code"] = _code(kind)
    own_weights = module._parameters.items()
    frozen = [name for name, p in own_weights if p is not None and not p.requires_grad]
    options["frozen weights"] = ", ".join(frozen) or "none"
    for name, value in vars(module).items():
        hidden = torchs and name.startswith("_")
        if name not in SKIPPED and not hidden and (words := _words(value)) is not None:
            options[name] = words
    return options


@functools.lru_cache(maxsize=256)
def _code(kind: type) -> str:
    """A hash of the methods of a class, whatever their comments and layout."""
    digits = hashlib.sha256()
    for base in kind.__mro__:
        if base.__module__.partition(".")[0] in (*LIBRARIES, "builtins"):
            continue
        for name, value in sorted(vars(base).items()):
            function = getattr(value, "__func__", value)
            if inspect.isfunction(function):
                digits.update(f"{name} {_source(function)}".encode())
    return digits.hexdigest()[:8]


def _source(function) -> str:
    try:
        return ast.unparse(ast.parse(textwrap.dedent(inspect.getsource(function))))
    except (OSError, TypeError, SyntaxError):  # typed into a shell, or a lambda within a line
        code = function.__code__
        inner = [c for c in code.co_consts if not inspect.iscode(c)]
        return repr((code.co_code.hex(), code.co_names, inner))


def _words(value, depth: int = 0) -> str | None:
    """A value in words that another process would find too; ``None`` where there are none."""
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, torch.dtype)):
        return repr(value)
    if isinstance(value, (PurePath, torch.device)) or depth > DEPTH:
        return None  # where something lies changes no result
    if isinstance(value, (np.generic, np.ndarray)):
        value = torch.from_numpy(np.array(value)) if value.dtype.kind in "biuf" else None
    if isinstance(value, Tensor):
        return _number(value)
    if isinstance(value, dict):
        pairs = [(_words(k, depth + 1), _words(v, depth + 1)) for k, v in value.items()]
        return "{" + ", ".join(sorted(f"{k}: {v}" for k, v in pairs)) + "}"
    if isinstance(value, (set, frozenset)):
        return "{" + ", ".join(sorted(str(_words(v, depth + 1)) for v in value)) + "}"
    if isinstance(value, (list, tuple)):
        inner = ", ".join(str(_words(v, depth + 1)) for v in value)
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    if isinstance(value, functools.partial):
        return f"{_words(value.func, depth + 1)}{_words([value.args, value.keywords], depth + 1)}"
    if isinstance(value, type):
        return value.__qualname__
    if inspect.isroutine(value):
        held = [cell.cell_contents for cell in getattr(value, "__closure__", None) or ()]
        held += [getattr(value, "__defaults__", None)]
        name = getattr(value, "__qualname__", type(value).__name__)
        if name.endswith("<lambda>"):
            name += " " + hashlib.sha256(_source(value).encode()).hexdigest()[:8]
        return f"{name}{_words(held, depth + 1) if any(held) else ''}"
    if isinstance(value, nn.Module):
        return type(value).__qualname__
    inside = _words(getattr(value, "__dict__", None) or {}, depth + 1)
    return f"{type(value).__qualname__}{inside}"


def fingerprints(model: nn.Module) -> dict[str, str]:
    """Shape, kind and a short hash of some numbers of every weight and buffer.

    Args:
        model: any network.

    Returns:
        By the name in the plain network.
    """
    inner = plain(model)
    found = {plain_name(name): tensor for name, tensor in inner.named_buffers()}
    found |= {plain_name(name): tensor for name, tensor in inner.named_parameters()}
    return {name: _number(tensor) for name, tensor in sorted(found.items())}


def _number(tensor: Tensor) -> str:
    flat = tensor.detach().reshape(-1)
    if len(flat) > NUMBERS:
        flat = flat[torch.linspace(0, len(flat) - 1, NUMBERS, dtype=torch.float64).long()]
    shape = "x".join(map(str, tensor.shape)) or "one"
    return f"{shape} {str(tensor.dtype).removeprefix('torch.')} {_hash(flat)}"


def _hash(tensor: Tensor) -> str:
    data = tensor.detach().cpu().contiguous()
    return hashlib.sha256(data.reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()[:12]


def samples(dataset, *, tag: str = "", count: int = SAMPLES) -> dict:
    """Length, classes and some samples of a data set, spread evenly over it.

    Args:
        dataset: yields ``(image, labels)`` and has a length.
        tag: names the data where they cannot be recognised.
        count: how many samples to look at.

    Returns:
        Numbers, names, and hashes of images and labels by index.

    Raises:
        ValueError: the data set gives another sample each time it is asked, and there is no tag.
    """
    size, classes = len(dataset), getattr(dataset, "classes", ())
    found = {"length": size, "classes": [str(name) for name in classes]}
    found["ignored label"] = int(getattr(dataset, "ignore_index", 255))
    places = range(size) if size <= count else [int(size * (k * GOLDEN % 1)) for k in range(count)]
    with _fixed_randomness():
        parts = {str(i): _parts(dataset[i]) for i in dict.fromkeys(places)}
    with _fixed_randomness():
        first = next(iter(parts), None)
        same = first is None or _parts(dataset[int(first)]) == parts[first]
    if not same:
        if not tag:
            raise ValueError(
                "expected a data set that gives the same sample each time, so that a saved state "
                f"can be told to be of this data; {type(dataset).__name__} gives another one for "
                f"index {first}. Leave the augmentation to the recipe, or name the data with tag="
            )
        parts = {}
    found["image"] = {index: image for index, (image, _) in parts.items()}
    found["labels"] = {index: labels for index, (_, labels) in parts.items()}
    return found


def _parts(sample) -> tuple[str, str]:
    """Hashes of the image and of the labels."""
    try:
        image, labels = sample
    except (TypeError, ValueError):
        return str(_words(sample)), ""
    return tuple(
        f"{tuple(x.shape)} {x.dtype} {_hash(x)}" if isinstance(x, Tensor) else str(_words(x))
        for x in (image, labels)
    )


@contextmanager
def _fixed_randomness() -> Iterator[None]:
    """The same random numbers each time, and the caller's own again afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            np.random.seed(0)
            random.seed(0)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def moved(before: dict, model: nn.Module) -> list[str]:
    """The settings that training itself changes, such as a counter of calls.

    Args:
        before: the network's `settings` at the first step.
        model: the network now.

    Returns:
        Their paths and names, ``"path name"``.
    """
    now = settings(model)
    return [
        f"{path} {name}"
        for path in before.keys() & now.keys()
        for name in before[path].keys() | now[path].keys()
        if before[path].get(name) != now[path].get(name)
    ]


def differences(saved: dict, now: dict, *, ended: dict | None = None, moving=()) -> list[str]:
    """What makes one run another one, in words.

    Args:
        saved: the `identity` that a state was saved with.
        now: that of the run at hand.
        ended: the `fingerprints` of the weights in the state. A network that has them already is
            the very one that was trained so far, in a notebook for example.
        moving: the settings that change by themselves, see `moved`.

    Returns:
        Sentences without their full stops; none for the same run.
    """
    found = []
    if saved["processes"] != now["processes"]:
        found.append(f"the number of processes was {saved['processes']} and is {now['processes']}")
    found += _values("the recipe's", saved["recipe"], now["recipe"])
    found += _networks(saved["network"], now["network"], set(moving))
    found += _weights(saved["weights"], now["weights"], ended)
    data, given = saved["data"], now["data"]
    for key in ("length", "classes", "ignored label"):
        if data[key] != given[key]:
            found.append(f"the data set's {key} was {data[key]} and is {given[key]}")
    for part in ("image", "labels"):
        other = [
            i for i in data[part].keys() & given[part].keys() if data[part][i] != given[part][i]
        ]
        if other and not found:
            first = min(other, key=int)
            found.append(
                f"the {part} of sample {first}{_more(len(other) - 1)} of the data set changed"
            )
    if saved["tag"] != now["tag"]:  # it may stand for much, so what is known of it comes first
        found.append(f"the tag was {saved['tag']!r} and is {now['tag']!r}")
    return found


def _values(what: str, saved: dict, now: dict) -> list[str]:
    return [
        f"{what} {name} was {saved.get(name)} and is {now.get(name)}"
        for name in sorted(saved.keys() | now.keys())
        if saved.get(name) != now.get(name)
    ]


def _networks(saved: dict, now: dict, moving: set[str]) -> list[str]:
    found = [f"the network's {path or 'top'} is gone" for path in saved.keys() - now.keys()]
    found += [f"the network's {path or 'top'} is new" for path in now.keys() - saved.keys()]
    found.sort()
    for path in [path for path in saved if path in now]:
        one, other = saved[path], now[path]
        names = one.keys() | other.keys()
        if one["class"].startswith("nn."):  # another version of torch may add some
            names = one.keys() & other.keys()
        for name in sorted(names - {name for name in names if f"{path} {name}" in moving}):
            if one.get(name) != other.get(name):
                found.append(
                    f"the network's {f'{path} {name}'.strip()} was {one.get(name)} "
                    f"and is {other.get(name)}"
                )
    return found


def _weights(saved: dict, now: dict, ended: dict | None) -> list[str]:
    if now in (saved, ended):
        return []
    if saved.keys() != now.keys():
        gone, new = sorted(saved.keys() - now.keys()), sorted(now.keys() - saved.keys())
        return [f"the network's weights are others (gone {gone[:3]}, new {new[:3]})"]
    other = [name for name in saved if saved[name] != now[name]]
    shapes = [name for name in other if saved[name].split()[:2] != now[name].split()[:2]]
    if shapes:
        name = shapes[0]
        was, is_ = (" ".join(part[name].split()[:2]) for part in (saved, now))
        return [f"the weight {name} was {was} and is {is_}"]
    return [
        f"the network begins with other weights ({other[0]}{_more(len(other) - 1)}): load the same "
        "ones, or seed before it is built (torch.manual_seed)"
    ]


def _more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""
