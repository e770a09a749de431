"""What a module costs: counted, measured, and held against the published figure.

>>> from torch import nn
>>> count(nn.Conv2d(8, 4, 3, padding=1), (1, 8, 10, 10)).macs
28800
"""

from __future__ import annotations

from .bill import BILLS, GRADES, Line, bill, lines
from .counting import Cost, count, needed_macs
from .fitting import Fit, fit_exponent
from .layers import Summary, summary
from .measuring import Measurement, measure
from .profiling import Operator, Profile, profile
from .report import REPORT_CLASSES, REPORT_IOU, REPORT_MIOU
from .table import Table

__all__ = [
    "BILLS",
    "GRADES",
    "REPORT_CLASSES",
    "REPORT_IOU",
    "REPORT_MIOU",
    "Cost",
    "Fit",
    "Line",
    "Measurement",
    "Operator",
    "Profile",
    "Summary",
    "Table",
    "bill",
    "count",
    "fit_exponent",
    "lines",
    "measure",
    "needed_macs",
    "profile",
    "summary",
]
