"""Shapes in annotations, and the checks of options and inputs that all modules share.

``Float[Tensor, "b c h w"]`` says the axes of a tensor. The annotations are jaxtyping's where it
is installed (the tests check them at run time); elsewhere they are read as plain ``Tensor``.
"""

from torch import Tensor

try:
    from jaxtyping import Float, Int
except ImportError:

    class _Shaped:
        """Takes jaxtyping's place: ``Float[Tensor, "b c h w"]`` is ``Tensor``."""

        def __class_getitem__(cls, item):
            return item[0]

    class Float(_Shaped):
        """A tensor of floating-point numbers."""

    class Int(_Shaped):
        """A tensor of integers."""


__all__ = [
    "Float",
    "Int",
    "check_choice",
    "check_map",
    "check_positive",
    "check_query",
    "check_splits",
]


def check_map(module, x: Tensor, channels: int) -> None:
    """Refuse an input that is no ``b c h w`` map of floats with the module's channels."""
    name = type(module).__name__
    if x.ndim != 4 or x.shape[1] != channels:
        raise ValueError(f"{name} expected a map (b, {channels}, h, w), got {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"{name} expected a floating-point map, got {x.dtype}")


def check_choice(option: str, found, known: tuple) -> None:
    """Refuse a value that is not among the known ones."""
    if found not in known:
        raise ValueError(f"expected {option} to be one of {known}, got {found!r}")


def check_positive(**sizes: int) -> None:
    """Refuse a size that is no whole number of at least 1."""
    for option, found in sizes.items():
        if not isinstance(found, int) or isinstance(found, bool) or found < 1:
            raise ValueError(f"expected {option} to be a whole number of at least 1, got {found!r}")


def check_splits(**sizes: int) -> None:
    """Refuse two sizes of which the second does not divide the first."""
    (whole, n), (parts, k) = sizes.items()
    if n % k:
        raise ValueError(f"expected {parts} to divide {whole}, got {parts}={k} and {whole}={n}")


def check_query(query: tuple[int, int], h: int, w: int) -> tuple[int, int]:
    """Refuse a pixel outside the map; return its row and column."""
    row, column = query
    if not (0 <= row < h and 0 <= column < w):
        raise ValueError(f"expected query inside {h} x {w}, got row {row}, column {column}")
    return row, column
