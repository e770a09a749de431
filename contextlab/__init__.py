"""contextlab: context modelling for semantic segmentation, as a course and as a small library.

Only the context modules are imported here, so that ``import contextlab`` needs torch and einops
alone. Everything else is asked for by name: ``from contextlab import data, training, views``.
"""

from .modules import catalogue, context

__all__ = ["__version__", "catalogue", "context", "load"]

__version__ = "0.1.0"


def load(run, **options):
    """The network of a finished run, in evaluation mode, from wherever one works.

    Args:
        run: the folder of ``contextlab train``, or the name of an own or a shipped run.
        options: those of :func:`contextlab.runs.load`.

    Returns:
        The network; it carries ``class_names`` and ``palette``.
    """
    from .runs import load as load_run  # it needs more than torch and einops

    return load_run(run, **options)
