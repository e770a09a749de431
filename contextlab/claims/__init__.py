"""The ledger of claims: what the sources say as data, the experiments that test it, the verdicts.

One file a paper holds its experiments, the settings and controls that decide, and its rules.

>>> claim("D5").verdict
'reproduced'
"""

from __future__ import annotations

from .entries import Entry, entries, entry
from .evidence import Paired, compare, difference, differences, paired, summary, there
from .experiments import EXPERIMENTS, Experiment, configs
from .ledger import claim, settle, table, totals
from .shipped import keeps_weights, shipped
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
    "compare",
    "configs",
    "difference",
    "differences",
    "effect",
    "entries",
    "entry",
    "jointly",
    "judge",
    "keeps_weights",
    "no_worse",
    "pair",
    "paired",
    "settle",
    "shipped",
    "summary",
    "table",
    "there",
    "totals",
]
