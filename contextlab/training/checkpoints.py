"""Weights and training states on disk, whole or not at all.

A file is written beside its place and moved there; a folder is filled under another name and
renamed. Both moves are one operation of the file system, so a process killed at any moment leaves
the old version or the new one, and at most a leftover that the next start sweeps away.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

PARTIAL = ".partial-"
STATE = "state-"
PROGRESS = "progress.json"


def write_atomically(path: str | Path, content: bytes | str) -> Path:
    """Write a file so that it is there whole, or as it was before.

    Args:
        path: the file; its folder is made where it is missing.
        content: bytes, or text to be written as UTF-8.

    Returns:
        The path.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{PARTIAL}{path.name}")  # one name, so that no leftovers gather
    data = content.encode() if isinstance(content, str) else content
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def save_weights(path: str | Path, model: nn.Module, *, half: bool = False) -> Path:
    """Save a model's weights as safetensors, atomically.

    Args:
        path: the file, ``.safetensors`` by convention.
        model: its state dictionary is saved.
        half: store floating-point tensors in half precision.

    Returns:
        The path.

    Raises:
        ValueError: a weight is not finite, or not representable in half precision.
    """
    tensors = {}
    for name, tensor in model.state_dict().items():
        tensor = tensor.detach().cpu()
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
        ValueError: the file is cut or not safetensors, or it belongs to another network.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}: train first, or give the path of a file")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} is not a whole safetensors file ({error}): delete it and train or copy it anew"
        ) from error
    own = model.state_dict()
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
    model.load_state_dict(tensors)
    return model


def newest(folder: str | Path) -> Path | None:
    """The complete training state with the most steps.

    Args:
        folder: where the states of one run lie; it need not exist.

    Returns:
        The state's folder, or ``None``.
    """
    states = [path for path in Path(folder).glob(f"{STATE}*") if path.is_dir()]
    return max(states, default=None)


def sweep(folder: str | Path) -> None:
    """Remove what a killed process left half written, and every state but the newest.

    Args:
        folder: where the states of one run lie.
    """
    keep = newest(folder)
    for path in Path(folder).glob(f"{STATE}*"):
        if path != keep:
            # Renamed first: a state that is there under its name is always whole.
            path.rename(path.with_name(f"{PARTIAL}old-{path.name}"))
    for path in Path(folder).glob(f"{PARTIAL}*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def save_state(
    folder: str | Path,
    step: int,
    progress: dict,
    write: Callable[[Path], None],
    *,
    main: bool = True,
    wait: Callable[[], None] = lambda: None,
) -> None:
    """Store a training state under ``folder/state-<step>`` and let go of the one before.

    Args:
        folder: where the states of this run lie.
        step: steps done.
        progress: what JSON can hold (history, identity).
        write: fills a folder with everything else; called by every process.
        main: whether this process does the renaming.
        wait: returns when every process has come here.
    """
    folder = Path(folder)
    final, partial = folder / f"{STATE}{step:08d}", folder / f"{PARTIAL}{step:08d}"
    if main:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        partial.mkdir()
    wait()
    write(partial)
    wait()
    if main:
        (partial / PROGRESS).write_text(json.dumps(progress))
        for path in partial.iterdir():
            with open(path, "rb+") as file:
                os.fsync(file.fileno())
        if final.exists():  # the same step once more: a finished run that is started again
            final.rename(folder / f"{PARTIAL}old-{final.name}")
        partial.rename(final)
        sweep(folder)
    wait()


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
        f"the training state {state} cannot be read ({error}): delete this folder to start anew"
    )


def remove(folder: str | Path) -> None:
    """Forget the states of a finished run.

    Args:
        folder: where they lie; gone afterwards.
    """
    shutil.rmtree(folder, ignore_errors=True)


def signature(model: nn.Module) -> str:
    """Names and shapes of all weights, as one line of text.

    Args:
        model: any module.

    Returns:
        Equal for networks that can exchange weights.

    Example:
        >>> signature(nn.Linear(2, 3))
        'weight:3x2 bias:3'
    """
    state = model.state_dict()
    return " ".join(f"{name}:{'x'.join(map(str, v.shape))}" for name, v in state.items())
