"""The ledger of claims: what the sources say as data, the experiments that test it, the verdicts.

One file a paper holds its experiments, the settings and controls that decide, and its rules.

>>> claim("D5").verdict
'reproduced'
"""

from __future__ import annotations

from contextlab.extras import need

need(__name__, "numpy", "scipy")

from .entries import Entry, entries, entry
from .evidence import (
    Paired,
    columns,
    compare,
    difference,
    differences,
    figure,
    paired,
    summary,
    there,
)
from .experiments import EXPERIMENTS, Experiment, configs
from .ledger import claim, settle, table, totals
from .lists import keeps_weights, misplaced, planned, shipped, shipped_files
from .verdicts import (
    MEANING,
    VERDICTS,
    Claim,
    Finding,
    Part,
    alike,
    effect,
    jointly,
    judge,
    no_worse,
    pair,
)

__all__ = [
    "EXPERIMENTS",
    "MEANING",
    "VERDICTS",
    "Claim",
    "Entry",
    "Experiment",
    "Finding",
    "Paired",
    "Part",
    "alike",
    "claim",
    "columns",
    "compare",
    "configs",
    "difference",
    "differences",
    "effect",
    "entries",
    "entry",
    "figure",
    "jointly",
    "judge",
    "keeps_weights",
    "misplaced",
    "no_worse",
    "pair",
    "paired",
    "planned",
    "settle",
    "shipped",
    "shipped_files",
    "summary",
    "table",
    "there",
    "totals",
]
