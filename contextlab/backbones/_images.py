"""What the backbones of stride 32 ask of their images."""

from torch import Tensor

SMALLEST = 32


def check_image(module, x: Tensor) -> None:
    """Refuse an image of which the coarsest map would see less than one position."""
    name = type(module).__name__
    if x.ndim != 4 or x.shape[1] != 3 or not x.is_floating_point():
        raise ValueError(f"{name} expected images 'b 3 h w', got {tuple(x.shape)} of {x.dtype}")
    if min(x.shape[-2:]) < SMALLEST:
        raise ValueError(
            f"{name} expected images of at least {SMALLEST} x {SMALLEST}, one position of its "
            f"coarsest map, got {x.shape[-2]} x {x.shape[-1]}"
        )


def check_maps(chosen: tuple[int, ...]) -> None:
    """Refuse indices that do not rise or lie outside the four maps of strides 4, 8, 16 and 32."""
    if not chosen or list(chosen) != sorted(set(chosen) & set(range(4))):
        raise ValueError(f"expected rising out_indices out of 0 to 3, got {chosen}")
