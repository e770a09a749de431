"""What a check is written with: call the learner's object, compare, say in words what is wrong."""

from __future__ import annotations

import inspect
import linecache
import numbers
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Wrong(Exception):
    """The answer is not right; the message says what to look at, in words that help."""


class Unsolved(Exception):
    """The answer is still (partly) the stub."""


def call(function: Callable, *args: Any, **kwargs: Any) -> Any:
    """Call the learner's function, class or module, and turn whatever goes wrong into words.

    Args:
        function: the learner's callable.
        *args, **kwargs: what to call it with; tensors must come back unchanged.

    Returns:
        What the callable returned.

    Raises:
        Unsolved: it returned `...` or raised a bare NotImplementedError.
        Wrong: it raised anything else, returned None, or changed a tensor that it was given.

    Example:
        >>> call(lambda x: x + 1, 2)
        3
        >>> call(lambda x: x / 0, 2)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        contextlab.exercises._checks.Wrong: <lambda>(2) stopped with ZeroDivisionError...
    """
    target = inspect.unwrap(function)
    if not callable(target):
        raise Wrong(f"expected something that can be called, got {describe(target)}.")
    given = [*args, *kwargs.values()]
    before = [value.clone() if isinstance(value, Tensor) else None for value in given]
    what = f"{name_of(target)}({_arguments(args, kwargs)})"
    try:
        result = target(*args, **kwargs)
    except (Wrong, Unsolved):
        raise
    except Exception as error:
        if isinstance(error, NotImplementedError) and not error.args:
            raise Unsolved from error
        raise Wrong(f"{what} stopped with {explain(error)}") from error
    if result is Ellipsis:
        raise Unsolved
    if result is None:
        raise Wrong(f"{what} returned None: is the `return` line missing?")
    for value, copy in zip(given, before):
        if copy is not None and not _equal(value, copy):
            raise Wrong(f"{what} changed its input in place; make a new tensor instead.")
    return result


def raises(
    kind: type[Exception], function: Callable, *args: Any, why: str = "", **kwargs: Any
) -> Exception:
    """The exception that this call must raise; Wrong when it raises another one or none."""
    target = inspect.unwrap(function)
    what = f"{name_of(target)}({_arguments(args, kwargs)})"
    because = f" {why}" if why else ""
    try:
        target(*args, **kwargs)
    except kind as error:
        return error
    except Exception as error:
        raise Wrong(
            f"{what} should raise {kind.__name__}, but stopped with {explain(error)}{because}"
        ) from error
    raise Wrong(f"{what} should raise {kind.__name__}, but did not.{because}")


def same(
    got: Any,
    want: Any,
    *,
    what: str = "the result",
    atol: float = 1e-5,
    rtol: float = 1e-4,
    why: str = "",
) -> None:
    """Compare an answer with the expected one: kind, shape, values within atol + rtol * |want|.

    Args:
        got: the learner's value; a number may also come as a tensor or an array of one element.
        want: the expected tensor, number, string, or a tuple or list of these.
        what: how the message names the value.
        why: a sentence that is put after the message.

    Raises:
        Wrong: with what was expected and what came.

    Example:
        >>> same(torch.ones(2, 3), torch.ones(3, 2), what="the output")
        Traceback (most recent call last):
        contextlab.exercises._checks.Wrong: the output has shape (2, 3); expected shape (3, 2).
    """
    because = f" {why}" if why else ""
    if got is Ellipsis:
        raise Unsolved
    if isinstance(want, Tensor):
        _same_tensor(got, want, what, atol, rtol, because)
    elif isinstance(want, (tuple, list)):
        if not isinstance(got, (tuple, list)) or len(got) != len(want):
            raise Wrong(f"{what} should be {len(want)} values, got {describe(got)}.{because}")
        for index, (one, other) in enumerate(zip(got, want)):
            same(one, other, what=f"value {index} of {what}", atol=atol, rtol=rtol, why=why)
    elif isinstance(want, numbers.Real) and not isinstance(want, bool):
        try:
            number = float(got)
        except (TypeError, ValueError):
            raise Wrong(f"{what} should be a number, got {describe(got)}.{because}") from None
        # written so that nan is wrong too
        if not abs(number - want) <= atol + rtol * abs(want):
            raise Wrong(f"{what} is {_apart(number, want)}.{because}")
    elif got != want:
        raise Wrong(f"{what} is {describe(got)}, and should be {describe(want)}.{because}")


def finite(got: Any, *, what: str = "the result") -> None:
    """Refuse nan and inf that an exp of large scores makes.

    Args:
        got: the learner's tensor, made of scores of some hundreds.
        what: how the message names it.

    Raises:
        Wrong: it is not finite.
    """
    if isinstance(got, Tensor) and not got.isfinite().all():
        raise Wrong(
            f"{what} is {float(got[~got.isfinite()][0])} for scores of some hundreds: exp "
            "overflows beyond 88. Subtract the largest score first, as torch.softmax and "
            "log_softmax do; the result is the same."
        )


def _apart(number: float, want: float) -> str:
    """Two numbers with as many digits as tell them apart."""
    if float(number).is_integer() and float(want).is_integer():
        return f"{number:,.0f}, and should be {want:,.0f}"
    for digits in (4, 6, 9, 17):
        one, other = f"{number:,.{digits}g}", f"{want:,.{digits}g}"
        if one != other:
            break
    return f"{one}, and should be {other}"


def _same_tensor(got: Any, want: Tensor, what: str, atol: float, rtol: float, because: str) -> None:
    if not isinstance(got, Tensor):
        raise Wrong(
            f"{what} should be a tensor of shape {tuple(want.shape)}, got {describe(got)}.{because}"
        )
    if got.shape != want.shape:
        raise Wrong(
            f"{what} has shape {tuple(got.shape)}; expected shape {tuple(want.shape)}.{because}"
        )
    if got.is_floating_point() != want.is_floating_point():
        raise Wrong(f"{what} has dtype {got.dtype}; expected {want.dtype}.{because}")
    got, want = got.detach().double(), want.detach().double()
    if got.isnan().any() and not want.isnan().any():
        raise Wrong(f"{what} holds nan.{because}")
    far = ~torch.isclose(got, want, atol=atol, rtol=rtol, equal_nan=True)
    if far.any():
        # the element that is furthest off says most; nan and inf count as furthest
        worst = int((got - want).abs().nan_to_num(torch.inf).argmax())
        place = tuple(int(index) for index in np.unravel_index(worst, want.shape))
        raise Wrong(
            f"{what} has the right shape, but {int(far.sum())} of {far.numel()} values are off; at "
            f"{place} it is {float(got[place]):.4g}, and should be {float(want[place]):.4g}."
            + because
        )


def describe(value: Any) -> str:
    """A value in a few words: `tensor of shape (2, 3)`, `0.5`, `list of 4`."""
    if isinstance(value, Tensor):
        return f"tensor of shape {tuple(value.shape)}"
    if value is None or value is Ellipsis or isinstance(value, (bool, numbers.Number, str)):
        return repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:57]}..."
    if isinstance(value, (tuple, list)):
        return repr(value) if len(repr(value)) <= 60 else f"{type(value).__name__} of {len(value)}"
    if inspect.isroutine(value) or inspect.isclass(value):
        return f"the {'class' if inspect.isclass(value) else 'function'} {name_of(value)}"
    return f"a value of type {type(value).__name__}"


def explain(error: Exception) -> str:
    """An exception in words: its kind, the learner's line, and what the usual cause is."""
    text = str(error).strip().splitlines()
    first = text[0] if text else ""
    said = f"{type(error).__name__}{_where(error)}: {first}".rstrip(": ")
    said += "" if said.endswith((".", "!", "?")) else "."
    if "ellipsis" in str(error).lower():
        return f"{said} A `...` is still waiting for your code."
    if isinstance(error, NameError):
        return f"{said} Run the cells above first, or import the name."
    return said


def largest_tensor(function: Callable, *args: Any) -> int:
    """The most numbers in any tensor that a call makes, views of the given tensors aside.

    Args:
        function: the learner's callable.
        *args: what to call it with.

    Example:
        >>> largest_tensor(lambda x, y: (x[:, None] * y).sum(1), torch.ones(3), torch.ones(5))
        15
    """
    with _Largest(*args) as seen:  # unwrapped: the guard around it makes copies
        inspect.unwrap(function)(*args)
    return seen.numbers


class _Largest(TorchDispatchMode):
    def __init__(self, *given: Any) -> None:
        super().__init__()
        tensors = (t for t in given if isinstance(t, Tensor))
        self.known = {t.untyped_storage().data_ptr() for t in tensors}
        self.numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for t in tree_leaves(out):
            if isinstance(t, Tensor) and t.untyped_storage().data_ptr() not in self.known:
                self.numbers = max(self.numbers, t.numel())
        return out


def name_of(thing: Any) -> str:
    return getattr(thing, "__name__", None) or type(thing).__name__


def _where(error: BaseException) -> str:
    # the innermost line that is neither a library's nor this package's own: the learner's
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        outside = "site-packages" in frame.filename or "dist-packages" in frame.filename
        if not outside and frame.filename != __file__ and not frame.filename.startswith("<frozen"):
            line = (frame.line or linecache.getline(frame.filename, frame.lineno or 0)).strip()
            return f" in line {frame.lineno}" + (f", `{line}`" if line else "")
    return ""


def _arguments(args: tuple, kwargs: dict) -> str:
    return ", ".join(
        [*map(describe, args), *(f"{key}={describe(value)}" for key, value in kwargs.items())]
    )


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(
        torch.isclose(one, other, atol=0, rtol=0, equal_nan=True).all()
    )
