"""Looks inside networks: what a position sees, whom it asks, what channels and objects tell.

Beside the functions here, some files hold a question each: :mod:`~contextlab.probes.inside` (what
channels know), :mod:`~contextlab.probes.objects` (who gains on large objects and small ones),
:mod:`~contextlab.probes.depth` (what depth does to reach and to nodes),
:mod:`~contextlab.probes.cooccurrence` (who sees which colours go together),
:mod:`~contextlab.probes.agreement` (how far pixels share a label),
:mod:`~contextlab.probes.confusion` (which look-alikes are taken for each other),
:mod:`~contextlab.probes.detail` (how borders are drawn, and how objects fare by their size),
:mod:`~contextlab.probes.leakage` (where a class's gradient goes),
:mod:`~contextlab.probes.pruning` (what fewer neighbours cost) and
:mod:`~contextlab.probes.rectangular` (what rows and columns can draw).
"""

from __future__ import annotations

from contextlab.extras import need

need(__name__, "numpy", "scipy")

from .affinity import Asker, asked, askers, cell_askers, implied_affinity, spectrum
from .cues import asks_of, cue_shares, two_cues
from .occlusion import occlusion, occlusion_passes
from .receptive_field import (
    central_share,
    effective,
    effective_width,
    growth,
    held_area,
    share_beyond,
    theoretical,
)
from .similarity import cosines, similarity_maps
from .slots import inside_reasoning, inside_slot
from .smoothing import propagate
from .taps import coverage, padding_free, taps_of

__all__ = [
    "Asker",
    "asked",
    "askers",
    "asks_of",
    "cell_askers",
    "central_share",
    "cosines",
    "coverage",
    "cue_shares",
    "effective",
    "effective_width",
    "growth",
    "held_area",
    "implied_affinity",
    "inside_reasoning",
    "inside_slot",
    "occlusion",
    "occlusion_passes",
    "padding_free",
    "propagate",
    "share_beyond",
    "similarity_maps",
    "spectrum",
    "taps_of",
    "theoretical",
    "two_cues",
]
