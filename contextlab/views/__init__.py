"""Every figure and widget of the course.

A figure function returns ``(figure, numbers)``: assert on the numbers, and hand the figure to
:func:`show` with words for those who do not see it. Figures belong to no global state.

What one lesson alone shows lies in ``lesson_NN.py``; the other files serve several lessons or the
command line. What looks into a network is in :mod:`contextlab.probes`: figures draw what they are
given, and only widgets ask a network themselves, as a click must.
"""

from __future__ import annotations

from contextlab.extras import need

need(__name__, "numpy", "matplotlib", "PIL", "ipywidgets")

from .accuracy import demand_bars
from .affinity import affinity_figure
from .answers import answers_figure
from .bill_figure import bill_figure, bill_in_words
from .curves import cost_curves, training_curves
from .figures import new_figure, png, show, styled
from .gates import gates_figure
from .graphs import asked_graph_figure, blocks_figure, fold_figure, head_graphs_figure
from .growth import growth_figure
from .lesson_00 import (
    course_map,
    course_rows,
    course_table,
    cue_figure,
    overlap_figure,
    street_explorer,
)
from .lesson_01 import (
    chain_figure,
    cone_figure,
    miou_ruler,
    patch_figure,
    receptive_field_explorer,
    receptive_field_figure,
    window_figure,
)
from .lesson_02 import (
    decay_figure,
    graph_figure,
    path_figure,
    reach_figure,
    smoothing_explorer,
    smoothing_figure,
    two_answers_figure,
)
from .lesson_03 import affinity_picker, everyone_figure
from .lesson_04 import one_vector_figure, squeeze_explorer, squeeze_figure
from .lesson_05 import (
    bins_figure,
    coverage_figure,
    padding_figure,
    pooled_figure,
    structures_figure,
    taps_explorer,
    taps_figure,
    worth_figure,
)
from .lesson_06 import (
    asking_explorer,
    asking_figure,
    five_tricks_figure,
    hops_figure,
    spectrum_figure,
)
from .lesson_07 import cell_explorer, cells_figure, hard_pixels_figure, two_graphs_figure
from .lesson_08 import (
    grouping_figure,
    matrices_figure,
    node_explorer,
    node_figure,
    reasoning_figure,
)
from .lesson_09 import (
    agreement_figure,
    graph_explorer,
    leakage_figure,
    look_alikes_figure,
    similarity_figure,
)
from .lesson_10 import (
    few_figure,
    fields_figure,
    held_figure,
    kept_explorer,
    kept_figure,
    kept_panels,
    learned_graph_figure,
    pruning_figure,
)
from .lesson_11 import (
    calibrated_figure,
    drawings_figure,
    footprints_figure,
    object_gate,
    piece,
    shadows_figure,
    strip_explorer,
    strips_figure,
)
from .lesson_12 import (
    embedding_figure,
    factorial_figure,
    gather_figure,
    parts_figure,
    prototype_explorer,
    prototype_figure,
    prototype_space_figure,
    two_streets_figure,
)
from .method_figure import method_figure
from .node_maps import node_maps_figure
from .overlay import gallery, scene
from .overview import cost_scatter, demand_grid
from .paired import paired_figure
from .profile import profile_figure
from .small import shrunk
from .widgets import whom

__all__ = [
    "affinity_figure",
    "affinity_picker",
    "agreement_figure",
    "answers_figure",
    "asked_graph_figure",
    "asking_explorer",
    "asking_figure",
    "bill_figure",
    "bill_in_words",
    "bins_figure",
    "blocks_figure",
    "calibrated_figure",
    "cell_explorer",
    "cells_figure",
    "chain_figure",
    "cone_figure",
    "cost_curves",
    "cost_scatter",
    "course_map",
    "course_rows",
    "course_table",
    "coverage_figure",
    "cue_figure",
    "decay_figure",
    "demand_bars",
    "demand_grid",
    "drawings_figure",
    "embedding_figure",
    "everyone_figure",
    "factorial_figure",
    "few_figure",
    "fields_figure",
    "five_tricks_figure",
    "fold_figure",
    "footprints_figure",
    "gallery",
    "gates_figure",
    "gather_figure",
    "graph_explorer",
    "graph_figure",
    "grouping_figure",
    "growth_figure",
    "hard_pixels_figure",
    "head_graphs_figure",
    "held_figure",
    "hops_figure",
    "kept_explorer",
    "kept_figure",
    "kept_panels",
    "leakage_figure",
    "learned_graph_figure",
    "look_alikes_figure",
    "matrices_figure",
    "method_figure",
    "miou_ruler",
    "new_figure",
    "node_explorer",
    "node_figure",
    "node_maps_figure",
    "object_gate",
    "one_vector_figure",
    "overlap_figure",
    "padding_figure",
    "paired_figure",
    "parts_figure",
    "patch_figure",
    "path_figure",
    "piece",
    "png",
    "pooled_figure",
    "profile_figure",
    "prototype_explorer",
    "prototype_figure",
    "prototype_space_figure",
    "pruning_figure",
    "reach_figure",
    "reasoning_figure",
    "receptive_field_explorer",
    "receptive_field_figure",
    "scene",
    "shadows_figure",
    "show",
    "shrunk",
    "similarity_figure",
    "smoothing_explorer",
    "smoothing_figure",
    "spectrum_figure",
    "squeeze_explorer",
    "squeeze_figure",
    "street_explorer",
    "strip_explorer",
    "strips_figure",
    "structures_figure",
    "styled",
    "taps_explorer",
    "taps_figure",
    "training_curves",
    "two_answers_figure",
    "two_graphs_figure",
    "two_streets_figure",
    "whom",
    "window_figure",
    "worth_figure",
]
