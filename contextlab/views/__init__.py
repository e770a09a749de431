"""Every figure and widget of the course.

A figure function returns ``(figure, numbers)``: assert on the numbers, and hand the figure to
:func:`show` with words for those who do not see it. Figures belong to no global state.
"""

from __future__ import annotations

from .accuracy import demand_bars, miou_ruler
from .affinity import Asker, affinity_figure, asked
from .asking import askers, asking_explorer, asking_figure, implied_affinity
from .bins import bins_figure, pooled_figure, structures_figure
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
from .overview import cost_scatter, demand_grid
from .paired import paired_figure
from .patches import chain_figure, patch_figure, window_figure
from .reasoning import (
    grouping_figure,
    inside_reasoning,
    matrices_figure,
    node_explorer,
    node_figure,
    reasoning_figure,
)
from .receptive_field import central_share, effective, effective_width, growth, theoretical
from .small import shrunk
from .smoothing import decay_figure, reach_figure, two_answers_figure
from .squeezed import (
    gates_figure,
    inside_slot,
    one_vector_figure,
    squeeze_explorer,
    squeeze_figure,
)
from .taps import (
    coverage,
    coverage_figure,
    padding_figure,
    padding_free,
    taps_explorer,
    taps_figure,
    taps_of,
)
from .tricks import five_tricks_figure, hops_figure, spectrum_figure
from .two_cues import two_cues
from .two_graphs import (
    cell_askers,
    cell_explorer,
    cells_figure,
    hard_pixels_figure,
    node_maps_figure,
    two_graphs_figure,
)
from .widgets import (
    affinity_picker,
    receptive_field_explorer,
    smoothing_explorer,
    street_explorer,
    whom,
)
from .worth import worth_figure

__all__ = [
    "Asker",
    "affinity_figure",
    "affinity_picker",
    "asked",
    "askers",
    "asking_explorer",
    "asking_figure",
    "bins_figure",
    "cell_askers",
    "cell_explorer",
    "cells_figure",
    "central_share",
    "chain_figure",
    "cone_figure",
    "cost_curves",
    "cost_scatter",
    "course_map",
    "course_rows",
    "course_table",
    "coverage",
    "coverage_figure",
    "cue_figure",
    "cue_shares",
    "decay_figure",
    "demand_bars",
    "demand_grid",
    "effective",
    "effective_width",
    "everyone_figure",
    "five_tricks_figure",
    "gallery",
    "gates_figure",
    "graph_figure",
    "grid_figure",
    "grouping_figure",
    "growth",
    "growth_figure",
    "hard_pixels_figure",
    "hops_figure",
    "implied_affinity",
    "inside_reasoning",
    "inside_slot",
    "matrices_figure",
    "method_figure",
    "miou_ruler",
    "new_figure",
    "node_explorer",
    "node_figure",
    "node_maps_figure",
    "one_vector_figure",
    "overlap_figure",
    "padding_figure",
    "padding_free",
    "paired_figure",
    "patch_figure",
    "path_figure",
    "png",
    "pooled_figure",
    "propagate",
    "reach_figure",
    "reasoning_figure",
    "receptive_field_explorer",
    "receptive_field_figure",
    "scene",
    "show",
    "shrunk",
    "smoothing_explorer",
    "smoothing_figure",
    "spectrum_figure",
    "squeeze_explorer",
    "squeeze_figure",
    "street_explorer",
    "structures_figure",
    "styled",
    "taps_explorer",
    "taps_figure",
    "taps_of",
    "theoretical",
    "training_curves",
    "two_answers_figure",
    "two_cues",
    "two_graphs_figure",
    "whom",
    "window_figure",
    "worth_figure",
]
