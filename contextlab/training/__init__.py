"""Losses, schedules, the loop, checkpoints and metrics.

Knows networks and data sets through their contracts only: a network maps images to logits, a data
set yields ``(image, labels)``.
"""

from contextlab.extras import need

need(__name__, "numpy", "torchvision", "accelerate", "safetensors", "torchmetrics", "tqdm")

from contextlab.training.budget import BUDGETS, Budget, budget, current
from contextlab.training.checkpoints import load_weights, save_weights
from contextlab.training.loop import History, fit
from contextlab.training.losses import (
    OHEM,
    ohem_loss,
    presence_loss,
    presence_targets,
    segmentation_loss,
)
from contextlab.training.metrics import Metrics, evaluate, from_confusion, processes
from contextlab.training.progress import bar as progress_bar
from contextlab.training.recipe import Recipe
from contextlab.training.schedules import poly

__all__ = [
    "BUDGETS",
    "OHEM",
    "Budget",
    "History",
    "Metrics",
    "Recipe",
    "budget",
    "current",
    "evaluate",
    "fit",
    "from_confusion",
    "load_weights",
    "ohem_loss",
    "poly",
    "presence_loss",
    "presence_targets",
    "processes",
    "progress_bar",
    "save_weights",
    "segmentation_loss",
]
