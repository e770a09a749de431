"""Looks inside networks: what a position sees, whom it asks, what channels and objects tell.

Beside the functions here, four files hold a question each: :mod:`~contextlab.probes.inside` (what
channels know), :mod:`~contextlab.probes.objects` (who gains on large objects and small ones),
:mod:`~contextlab.probes.depth` (what depth does to reach and nodes) and
:mod:`~contextlab.probes.cooccurrence` (who sees which colours go together).
"""

from __future__ import annotations

from .cues import two_cues
from .receptive_field import central_share, effective, effective_width, growth, theoretical

__all__ = [
    "central_share",
    "effective",
    "effective_width",
    "growth",
    "theoretical",
    "two_cues",
]
