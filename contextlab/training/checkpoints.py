"""Weights and training states on disk, whole or not at all.

A file is written beside its place and moved there; a folder is filled under another name and
renamed. Both moves are one operation of the file system, so a process killed at any moment leaves
the old version or the new one, and at most a leftover that the next start sweeps away. A state
bears the mark of `contextlab.home`: nothing without it is taken for a state, or removed.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from contextlab.home import (
    MARK,
    blocked,
    discard,
    made_here,
    mark,
    partial,
    remove_empty,
    sweep,
    usable,
    write_atomically,
)

__all__ = [
    "load_weights",
    "newest",
    "plain",
    "plain_name",
    "prepare",
    "read_progress",
    "remove",
    "save_state",
    "save_weights",
    "tidy",
    "write_atomically",
]

PROGRESS = "progress.json"
_STATE = re.compile(r"state-\d{8}")
#: how safetensors and torch.save report a full disk
_FULL = re.compile(r"No space left|os error 28|iostream error|failed writing|unexpected pos")
#: what torch.compile and others put into the names of what they wrap
_WRAPPED = re.compile(r"(?<![^.])(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def plain(model: nn.Module) -> nn.Module:
    """The network itself, without what `torch.compile` or a parallel wrapper puts around it.

    Args:
        model: any module.

    Returns:
        The module that was wrapped, which shares its weights.

    Example:
        >>> inner = nn.Linear(2, 3)
        >>> plain(nn.DataParallel(inner)) is inner
        True
    """
    while True:
        if isinstance(model, _PARALLEL):
            model = model.module
        elif "_orig_mod" in model._modules:
            model = model._modules["_orig_mod"]
        else:
            return model


def plain_name(name: str) -> str:
    """The name of a weight without the wrappers of the modules that it lies in.

    >>> plain_name("backbone._orig_mod.conv1.weight")
    'backbone.conv1.weight'
    """
    return _WRAPPED.sub("", name)


def save_weights(path: str | Path, model: nn.Module, *, half: bool = False) -> Path:
    """Save a model's weights as safetensors, atomically.

    Args:
        path: the file, ``.safetensors`` by convention.
        model: its state dictionary is saved, under the names of the plain network: compiled or
            wrapped for several processes, it gives the same file.
        half: store floating-point tensors in half precision.

    Returns:
        The path.

    Raises:
        ValueError: a weight is not finite, or not representable in half precision.
    """
    tensors = {}
    for name, tensor in plain(model).state_dict().items():
        name, tensor = plain_name(name), tensor.detach().cpu()
        if tensor.is_floating_point():
            tensor = tensor.half() if half else tensor
            if not tensor.isfinite().all():
                kind = " in half precision" if half else ""
                raise ValueError(f"expected finite weights{kind}, got inf or nan in {name!r}")
        tensors[name] = tensor.contiguous().clone()
    return write_atomically(path, save(tensors))


def load_weights(path: str | Path, model: nn.Module) -> nn.Module:
    """Load weights that `save_weights` stored; half precision becomes the model's own again.

    Args:
        path: a safetensors file.
        model: the network whose weights they are.

    Returns:
        The model.

    Raises:
        FileNotFoundError: no such file.
        OSError: it cannot be read.
        ValueError: the file is cut or not safetensors, or it belongs to another network.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}: train first, or give the path of a file")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {plain_name(k): file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"{path} is not a whole safetensors file ({error}): give another file, or train or "
            "copy it anew"
        ) from error
    inner = plain(model)
    names = {plain_name(name): name for name in inner.state_dict()}
    own = {short: inner.state_dict()[name] for short, name in names.items()}
    if all(name.startswith("module.") for name in tensors) and not own.keys() & tensors.keys():
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    missing, foreign = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    shapes = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own.keys() & tensors.keys()
        if tensors[name].shape != own[name].shape
    ]
    if missing or foreign or shapes:
        raise ValueError(
            f"{path} belongs to another network: missing {missing[:3]}, foreign {foreign[:3]}, "
            f"of another shape {sorted(shapes)[:3]}"
        )
    inner.load_state_dict({names[short]: tensor for short, tensor in tensors.items()})
    return model


def prepare(folder: str | Path, need: int = 0) -> Path:
    """See that states can be stored in a folder, before the training begins.

    Args:
        folder: where the states of one run will lie.
        need: bytes that must be free.

    Returns:
        The folder, which exists then.

    Raises:
        OSError: it cannot be written to; one sentence with the remedy.
        ValueError: a folder there has the name of a state, but the program did not make it.
    """
    folder = usable(folder, need)
    for path in folder.glob("state-*"):
        if not _STATE.fullmatch(path.name) or made_here(path):
            continue
        remove_empty(path)  # the last trace of a state that was being let go
        if path.exists():
            raise ValueError(
                f"{path} has the name of a training state, but was not made by this version of "
                "contextlab, so it is left alone: give another folder, or move it away"
            )
    return folder


def newest(folder: str | Path) -> Path | None:
    """The complete training state with the most steps.

    Args:
        folder: where the states of one run lie; it need not exist.

    Returns:
        The state's folder, or ``None``.
    """
    whole = [path for path in _states(folder) if (path / PROGRESS).is_file()]
    return max(whole, default=None)


def _states(folder: str | Path) -> list[Path]:
    found = [path for path in Path(folder).glob("state-*") if _STATE.fullmatch(path.name)]
    return [path for path in found if made_here(path)]


def tidy(folder: str | Path) -> None:
    """Remove what a killed process left half written, and every state but the newest.

    Args:
        folder: where the states of one run lie; what else is there stays.
    """
    keep = newest(folder)
    for path in _states(folder):
        if path != keep:
            discard(path)  # its progress first: without it, it counts no longer
    sweep(folder)


def save_state(
    folder: str | Path,
    step: int,
    progress: dict,
    write: Callable[[Path], None],
    *,
    main: bool = True,
    share: Callable[[str], str] = lambda name: name,
) -> None:
    """Store a training state under ``folder/state-<step>`` and let go of the one before.

    Several processes may train the same run in one folder: each fills a folder of its own, and the
    first to finish a step gives the state its name.

    Args:
        folder: where the states of this run lie.
        step: steps done.
        progress: what JSON can hold (history, identity).
        write: fills a folder with everything else; called by every process.
        main: whether this process does the renaming.
        share: gives every process the word of the main one, when all have come here.

    Raises:
        OSError: it cannot be stored; the state before it stands.
    """
    folder = Path(folder)
    final = folder / f"state-{step:08d}"
    beside = partial(final)
    try:
        if main:
            tidy(folder)
            beside.mkdir(parents=True)
            mark(beside)
        beside = folder / share(beside.name)
        write(beside)
        share("")
        if main:
            names = sorted(path.name for path in beside.iterdir() if path.name != MARK)
            mark(beside, PROGRESS, *names)
            (beside / PROGRESS).write_text(json.dumps(progress))
            for path in beside.iterdir():
                with open(path, "rb+") as file:
                    os.fsync(file.fileno())
            _name(beside, final)
            tidy(folder)
    except Exception as error:
        shutil.rmtree(beside, ignore_errors=True)
        if not isinstance(error, OSError):
            if not _FULL.search(str(error)):
                raise
            error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        before = newest(folder)
        stands = f"; {before.name} stands, and the same again continues it" if before else ""
        reason = OSError(error.errno, f"{error.strerror or error}{stands}")
        raise blocked(final, reason) from error
    share("")


def _name(beside: Path, final: Path) -> None:
    """Give a whole state its name, unless another process was faster."""
    for attempt in range(100):
        try:
            beside.rename(final)
            return
        except OSError:
            if made_here(final):
                shutil.rmtree(beside, ignore_errors=True)
                return
            # the other process may be letting go of its state at this very moment
            if attempt == 99 or any(final.glob("*")):
                raise


def read_progress(state: Path) -> dict:
    """The JSON part of a state.

    Args:
        state: a folder that `newest` found.

    Returns:
        What was given to `save_state`.

    Raises:
        ValueError: the state was changed or damaged after it was written.
    """
    try:
        return json.loads((state / PROGRESS).read_text())
    except (OSError, ValueError) as error:
        raise damaged(state, error) from error


def damaged(state: Path, error: Exception) -> ValueError:
    """The exception for a state that cannot be read.

    Args:
        state: its folder.
        error: what reading it raised.

    Returns:
        A ``ValueError`` that names the remedy.
    """
    return ValueError(
        f"the training state {state} cannot be read ({error}): give another folder to begin anew, "
        "or move this one away"
    )


def remove(folder: str | Path) -> None:
    """Forget the states of a finished run.

    Args:
        folder: where they lie; gone afterwards if nothing else lies in it.
    """
    for path in _states(folder):
        discard(path)
    sweep(folder)
    remove_empty(folder)
