"""What is claimed of CGRSeg. So far its table of heads alone, and its modules in the slot."""

from __future__ import annotations

from contextlab.costs import lines

from .experiments import THREE, Experiment, on_streets, register
from .verdicts import NOT, PARTLY, REPRODUCED, Finding

register(
    {
        "C, slot": Experiment(
            "what do rows and columns, and prototypes of classes, tell in the slot?",
            {
                "RCA": on_streets("rectangular_attention"),
                "RCM": on_streets("rectangular_calibration"),
                "DPG": on_streets("dynamic_prototype"),
            },
            THREE,
            planned=True,
        )
    }
)


def heads_with_products() -> Finding:
    figures = {x.row: x for x in lines("CGRSeg heads")}
    alike = all(x.prints_alike for x in figures.values())
    nl, da = figures["Non-local"].true, figures["DAHead"].true
    largest = max(x.ours for x in figures.values())
    verdict = NOT if not alike else PARTLY if max(nl, da) > 0.15 else REPRODUCED
    return Finding(
        verdict,
        f"without matrix products the heads differ by {largest:.2f} G at most; with them the "
        f"non-local head adds {nl:.2f} G and DANet's {da:.2f} G",
    )


RULES = {"C10": heads_with_products}
