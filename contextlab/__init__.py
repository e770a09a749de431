"""contextlab: context modelling for semantic segmentation, as a course and as a small library.

Only the context modules are imported here, so that ``import contextlab`` needs torch and einops
alone. Everything else is asked for by name: ``from contextlab import data, training, views``.
"""

from .modules import catalogue, context

__all__ = ["__version__", "catalogue", "context"]

__version__ = "0.1.0"
