"""Where a backbone's weights come from: timm's hub, a local file, or the random generator.

"imagenet"  the hub's cache on this machine, else the hub, else at once a ConnectionError
a path      a local .safetensors file, held against the network name by name
"random"    only when it is asked for
"""

import difflib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from contextlab.extras import need

#: how the names of files end that hold a network's released weights
CHECKPOINTS = (".safetensors", ".pth", ".pt", ".tar", ".bin")
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")
# timm fits weights to img_size as it loads them
_NOT_SHAPES = ("features_only", "out_indices", "output_stride", "img_size")


def timm():
    """The library timm, which is imported when a network of it is wanted."""
    need("a network of timm", "timm", "safetensors", "huggingface_hub")
    import timm

    return timm


def create(name: str, weights: str | Path, **options) -> nn.Module:
    """Build timm's network ``name`` with weights.

    Args:
        name: a network that timm knows.
        weights: "imagenet", "random", or the path of a local .safetensors file.
        options: passed on to ``timm.create_model``.

    Raises:
        ValueError: timm does not know the network, or the file does not fit it.
        FileNotFoundError: there is no file at the path.
        ConnectionError: "imagenet" is not on this machine and the hub does not answer.
    """
    check_choice(weights)
    if weights == "random":
        return timm().create_model(name, pretrained=False, **options)
    if weights == "imagenet":
        file = hub_file(name)
    else:
        with torch.device("meta"):
            shapes = {k: v for k, v in options.items() if k not in _NOT_SHAPES}
            model = timm().create_model(name, pretrained=False, **shapes)
        file = Path(weights)
        check_file(file, model.state_dict(), classifiers(model))
    with _quiet():
        overlay = {"file": str(file), "custom_load": False}
        return timm().create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **options)


def check_name(name: str) -> None:
    """Refuse a name that timm does not know, and name the closest ones."""
    if timm().is_model(name):
        return
    close = difflib.get_close_matches(name.split(".")[0], timm().list_models(), n=3)
    hint = f"did you mean {', '.join(close)}?" if close else "timm.list_models() lists them"
    raise ValueError(f"expected 'course' or the name of a timm network, got {name!r}; {hint}")


def check_choice(weights: str | Path, endings: tuple[str, ...] = (".safetensors",)) -> None:
    """Refuse what is neither "imagenet" nor "random" nor looks like a path."""
    word = isinstance(weights, str) and "/" not in weights and "\\" not in weights
    if word and weights not in ("imagenet", "random") and not weights.endswith(endings):
        raise ValueError(
            f"expected weights 'imagenet', 'random' or the path of a {' or '.join(endings)} file, "
            f"got {weights!r}"
        )


def classifiers(model: nn.Module) -> tuple[str, ...]:
    """The names of a timm network's classifying layers, which a backbone does without."""
    names = model.pretrained_cfg.get("classifier") or ()
    return (names,) if isinstance(names, str) else tuple(names)


def load_file(module: nn.Module, path: str | Path) -> None:
    """Load a local .safetensors file whose names and shapes are exactly the module's."""
    need("a file of weights", "safetensors")
    from safetensors import safe_open

    expected = module.state_dict()
    check_file(path, expected)
    with safe_open(path, "pt") as file:
        found = {key: file.get_tensor(key) for key in file.keys() if key in expected}  # noqa: SIM118
    module.load_state_dict(found, strict=False)


def load_checkpoint(
    module: nn.Module, path: str | Path, *, prefix: str = "", ignored: tuple[str, ...] = ()
) -> None:
    """Load a local file of weights as their authors release them.

    Args:
        module: whose names and shapes the file must have.
        path: of a .safetensors file or of one that torch saved; what lies under "state_dict" in
            it is taken out.
        prefix: of the module's names in a file of a whole network, whose other parts are left.
        ignored: beginnings of names that the module does without.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is cut, holds no weights, or was made for another network.
    """
    check_choice(path, CHECKPOINTS)
    found = tensors(path)
    if prefix and any(key.startswith(prefix) for key in found):
        found = {k.removeprefix(prefix): t for k, t in found.items() if k.startswith(prefix)}
    fill(module, {key: t for key, t in found.items() if not key.startswith(ignored)}, path)


def tensors(path: str | Path, inside: tuple[str, ...] = ("state_dict",)) -> dict[str, Tensor]:
    """The tensors of a local file by name, be it .safetensors or what torch saved.

    Args:
        path: of the file.
        inside: what is taken out where it is there, one after the other.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is cut or holds no weights.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected a file with weights at {path}; none there")
    if path.suffix == ".safetensors":
        need("a file of weights", "safetensors")
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        unreadable = SafetensorError
        read = load_file
    else:
        # what torch raises depends on where the file ends and on what it is instead
        unreadable = Exception
        read = partial(torch.load, map_location="cpu", weights_only=True)
    try:
        found = read(path)
    except unreadable as error:
        raise ValueError(_unreadable(path, "file of weights", error)) from error
    for key in inside:
        found = found.get(key, found) if isinstance(found, dict) else found
    if not isinstance(found, dict) or not all(isinstance(t, Tensor) for t in found.values()):
        raise ValueError(
            f"{path} holds no weights: expected tensors by name, or such under 'state_dict'"
        )
    return found


def fill(module: nn.Module, found: Mapping[str, Tensor], path: str | Path) -> None:
    """Give a module the tensors found in a file, whose names and shapes are exactly its own.

    Raises:
        ValueError: they were made for another network.
    """
    expected = module.state_dict()
    _compare(Path(path), _shapes(expected), _shapes(found))
    module.load_state_dict({k: t for k, t in found.items() if k in expected}, strict=False)


def check_file(
    path: str | Path, expected: Mapping[str, Tensor], classifiers: tuple[str, ...] = ()
) -> None:
    """Hold a .safetensors file against the names and shapes that a network expects.

    Only the header is read. Left out on both sides: the classifier, which a backbone does without,
    and batch norm's step counter, which many files leave out and evaluation never uses.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is cut, of another format, or made for another network.
    """
    need("a file of weights", "safetensors")
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected a .safetensors file with weights at {path}; none there")
    try:
        with safe_open(path, "pt") as file:
            found = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(_unreadable(path, "safetensors file", error)) from error
    dropped = tuple(f"{name}." for name in classifiers)
    _compare(
        path,
        _shapes({k: v for k, v in expected.items() if not k.startswith(dropped)}),
        {k: shape for k, shape in found.items() if not k.startswith(dropped)},
    )


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in tensors.items()}


def _compare(path: Path, expected: Mapping[str, tuple], found: Mapping[str, tuple]) -> None:
    def counted(shapes: Mapping[str, tuple]) -> dict[str, tuple]:
        return {k: shape for k, shape in shapes.items() if not k.endswith("num_batches_tracked")}

    shapes, found = counted(expected), counted(found)
    wrong = {
        "missing": [key for key in shapes if key not in found],
        "unexpected": [key for key in found if key not in shapes],
        "of another shape": [
            f"{key} {found[key]} for {shapes[key]}"
            for key in shapes
            if key in found and found[key] != shapes[key]
        ],
    }
    if any(wrong.values()):
        words = "; ".join(_list(kind, keys) for kind, keys in wrong.items() if keys)
        raise ValueError(
            f"{path} holds the weights of another network, of {len(shapes)} expected tensors "
            f"{words}; bring the file of this very network, or pass weights='random'"
        )


def _unreadable(path: Path, kind: str, error: Exception) -> str:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return (
        f"{path} ({path.stat().st_size:,} bytes) is cut or is no {kind} ({reason}); "
        "compare its size with the source's and copy or download it again"
    )


def hub_file(name: str) -> str:
    """The local path of a network's ImageNet weights, fetched from the hub if need be.

    The hub's own client tries again and again for most of a minute; here one short question comes
    first, so that a machine without a way to the hub hears of it at once.
    """
    # Imported here: only this function needs the hub, and importing it takes a while.
    import huggingface_hub as hub

    config = timm().get_pretrained_cfg(name)
    repository = config.hf_hub_id if config else None
    if not repository:
        raise ValueError(
            f"timm has no weights on the hub for {name!r}; pass weights='random', or the path of a "
            ".safetensors file with timm's names"
        )
    names = (config.hf_hub_filename,) if config.hf_hub_filename else _HUB_FILES
    for filename in names:
        cached = hub.try_to_load_from_cache(repository, filename)
        if isinstance(cached, str):
            return cached
    try:
        url = hub.hf_hub_url(repository, names[0])
        answer = hub.utils.get_session().head(url, timeout=5)
        if answer.status_code >= 400:
            raise ConnectionError(f"the hub answered {answer.status_code}")
        return hub.hf_hub_download(repository, names[0])
    except Exception as error:  # whatever the client's version calls it
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConnectionError(
            f"the ImageNet weights of {name!r} are not on this machine and cannot be fetched "
            f"({reason}). Download {names[0]} from {hub.constants.ENDPOINT}/{repository}/tree/main "
            "where there is a connection, bring it here, and pass weights='path/to/"
            f"{names[0]}'; or pass weights='random' to start from scratch"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """No warning that a backbone leaves the classifier's weights out: it is meant to."""
    logger = logging.getLogger("timm.models._builder")

    def drop(record: logging.LogRecord) -> bool:
        return "Unexpected keys" not in record.msg

    logger.addFilter(drop)
    try:
        yield
    finally:
        logger.removeFilter(drop)


def _list(kind: str, keys: list[str]) -> str:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return f"{len(keys)} {kind}: {', '.join(keys[:3])}{more}"
