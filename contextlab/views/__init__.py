"""Every figure and widget of the course.

A figure function returns ``(figure, numbers)``: assert on the numbers, and hand the figure to
:func:`show` with words for those who do not see it. Figures belong to no global state.
"""

from __future__ import annotations

from .accuracy import demand_bars, miou_ruler
from .affinity import Asker, affinity_figure, asked
from .course_map import course_map, course_rows, course_table
from .cues import cue_figure
from .curves import cost_curves, training_curves
from .everyone import cue_shares, everyone_figure
from .fields import cone_figure, growth_figure, receptive_field_figure
from .figures import new_figure, png, show, styled
from .graphs import graph_figure, grid_figure, path_figure, propagate, smoothing_figure
from .method_figure import method_figure
from .overlap import overlap_figure
from .overlay import gallery, scene
from .patches import chain_figure, patch_figure, window_figure
from .receptive_field import central_share, effective, effective_width, growth, theoretical
from .smoothing import decay_figure, reach_figure, two_answers_figure
from .widgets import (
    affinity_picker,
    receptive_field_explorer,
    smoothing_explorer,
    street_explorer,
    whom,
)

__all__ = [
    "Asker",
    "affinity_figure",
    "affinity_picker",
    "asked",
    "central_share",
    "chain_figure",
    "cone_figure",
    "cost_curves",
    "course_map",
    "course_rows",
    "course_table",
    "cue_figure",
    "cue_shares",
    "decay_figure",
    "demand_bars",
    "effective",
    "effective_width",
    "everyone_figure",
    "gallery",
    "graph_figure",
    "grid_figure",
    "growth",
    "growth_figure",
    "method_figure",
    "miou_ruler",
    "new_figure",
    "overlap_figure",
    "patch_figure",
    "path_figure",
    "png",
    "propagate",
    "reach_figure",
    "receptive_field_explorer",
    "receptive_field_figure",
    "scene",
    "show",
    "smoothing_explorer",
    "smoothing_figure",
    "street_explorer",
    "styled",
    "theoretical",
    "training_curves",
    "two_answers_figure",
    "whom",
    "window_figure",
]
