"""What a module costs: counted, measured, and held against the published figure.

>>> from torch import nn
>>> count(nn.Conv2d(8, 4, 3, padding=1), (1, 8, 10, 10)).macs
28800
"""

from __future__ import annotations

from .counting import Cost, count
from .fitting import Fit, fit_exponent
from .measuring import Measurement, measure
from .table import Table

__all__ = ["Cost", "Fit", "Measurement", "Table", "count", "fit_exponent", "measure"]
