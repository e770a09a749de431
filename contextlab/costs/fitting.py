"""Fitting a power law: how fast does a cost grow?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contextlab.extras import need


@dataclass(frozen=True)
class Fit:
    """The power law ``value = coefficient * size ** exponent``.

    Args:
        exponent: slope in the log-log plot: 1 is linear growth, 2 quadratic.
        coefficient: value at size 1.
        r2: share of the variance of log(value) that the line explains; 1 is a perfect line.
    """

    exponent: float
    coefficient: float
    r2: float

    def __call__(self, size):
        """The value that the law gives for a size (a number or an array)."""
        import numpy as np

        return self.coefficient * np.asarray(size, float) ** self.exponent

    def __str__(self) -> str:
        return f"exponent {self.exponent:.2f} (r² {self.r2:.3f})"


def fit_exponent(sizes: Sequence[float], values: Sequence[float]) -> Fit:
    """Least squares line through the points (log size, log value).

    Args:
        sizes: at least two different sizes, positive.
        values: the cost at each size, positive.

    Returns:
        the :class:`Fit`.

    Raises:
        ValueError: too few, unequal numbers, or a size or value that has no logarithm.

    Example:
        >>> round(fit_exponent([16, 32, 64], [3 * 16**2, 3 * 32**2, 3 * 64**2]).exponent, 3)
        2.0
    """
    need("a fit", "numpy")
    import numpy as np

    x, y = np.asarray(sizes, float), np.asarray(values, float)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"expected as many values as sizes, got {y.shape} for {x.shape}")
    if len(np.unique(x)) < 2:
        raise ValueError(f"expected at least two different sizes, got {x.tolist()}")
    for name, z in (("sizes", x), ("values", y)):
        if not (np.isfinite(z) & (z > 0)).all():
            raise ValueError(f"expected positive {name}, got {z.tolist()}")
    x, y = np.log(x), np.log(y)
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    intercept = y.mean() - slope * x.mean()
    residual = ((y - intercept - slope * x) ** 2).sum()
    total = ((y - y.mean()) ** 2).sum()
    r2 = 1.0 if residual <= 1e-24 * len(x) or total == 0 else 1 - residual / total
    return Fit(float(slope), float(np.exp(intercept)), float(r2))
