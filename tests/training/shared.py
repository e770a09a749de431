"""Train in each of several processes: the subject of test_shared.py.

``torchrun --nproc_per_node 2 shared.py FOLDER`` trains once in one go, once with an
interruption and once on hard pixels alone, scores the result, and leaves the weights and the
figures in the folder.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from stand_ins import Squares, net

from contextlab.training import Recipe, evaluate, fit, processes, save_weights

RECIPE = Recipe(steps=6, batch=4, optimiser="sgd", lr=0.05, scale=(0.5, 2.0), crop=(12, 12), seed=3)
MINING = replace(RECIPE, ohem=(0.3, 150), ohem_auxiliary=True)  # of at most 576 pixels a step


def train(
    folder: Path | None = None,
    *,
    steps: int | None = None,
    seed: int = 0,
    dropout: float = 0.0,
    recipe: Recipe = RECIPE,
):
    # without batch norm, whose statistics are those of each process's own images
    model = net(seed, norm=False, dropout=dropout)
    history = fit(
        model, Squares(), recipe, checkpoint=folder, save_every=2, stop_after=steps, progress=False
    )
    return model, history


def main() -> None:
    folder = Path(sys.argv[1])
    model, history = train()
    metrics = evaluate(model, Squares(7), batch=2)
    dropped, _ = train(dropout=0.3)
    train(folder / "state", steps=3, dropout=0.3)
    resumed, _ = train(folder / "state", dropout=0.3)
    mined, losses = train(recipe=MINING)
    rank, world = processes()
    save_weights(folder / f"mined-{rank}.safetensors", mined)
    save_weights(folder / f"dropped-{rank}.safetensors", dropped)
    save_weights(folder / f"resumed-{rank}.safetensors", resumed)
    save_weights(folder / f"weights-{rank}.safetensors", model)
    found = {"world": world, "loss": history.loss, "mined": losses.loss, **metrics.to_dict()}
    (folder / f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
