"""From a network to its answer about an image: whole, in windows, at several scales, mirrored.

Knows networks through their contract only: a network maps images to logits.
"""

from .averaged import Averaged, average, starts
from .modes import evaluating

__all__ = ["Averaged", "average", "evaluating", "starts"]
