"""Pruned neighbours: how many are kept, what is scored, and who may choose."""

import numpy as np
import pytest
import torch

from contextlab.modules.graph_guided import edges, support
from contextlab.networks.segmentation import network
from contextlab.probes.pruning import (
    Pruned,
    graph_guided_of,
    held,
    judged,
    kept_by,
    pruning,
    rows,
    supports,
)

HEADS = ["LOCAL_2", "GRID_3", "FULL"]


@pytest.mark.parametrize("head", [*HEADS, "GRID_9", "LOCAL_9"])
def test_supports_are_the_module_s(head):
    h, w = 5, 7
    want = [[int(support(head, h, w, (r, c)).sum()) for c in range(w)] for r in range(h)]
    assert supports(head, h, w).tolist() == want
    assert kept_by([head], h, w, None) == (edges(head, h, w) / (h * w), 1.0)


@pytest.mark.parametrize("keep", [1, 4, 10**6, 0.1, 0.5, 0.75, 0.999])
def test_as_many_are_kept_as_the_module_keeps(keep):
    torch.manual_seed(0)
    options = {"heads": HEADS, "keep": keep, "zero_init": False}
    model = network(5, context="graph_guided", context_options=options, width=16, kernel=1).eval()
    x = torch.randn(1, 16, 5, 7)
    counts = [int((model.slot.affinity(x, (r, c)) > 0).sum()) for r in range(5) for c in range(7)]
    kept, share = kept_by(HEADS, 5, 7, keep)
    assert kept == pytest.approx(np.mean(counts))
    assert share == pytest.approx(sum(counts) / sum(edges(head, 5, 7) for head in HEADS))


def test_scores_by_rule_and_amount(streets):
    torch.manual_seed(0)
    options = {"heads": HEADS, "zero_init": False}
    model = network(13, context="graph_guided", context_options=options, width=16, kernel=1)
    model.train()
    found = pruning(model, streets, (0.5, 1, None), rules=("top", "random"), images=5, batch=3)
    assert [(s.rule, s.keep) for s in found] == [
        (rule, keep) for rule in ("top", "random") for keep in (None, 0.5, 1)
    ]
    assert model.training and graph_guided_of(model).keep is None and model.slot.prune == "top"
    assert [s.share for s in found[:3]] == sorted((s.share for s in found[:3]), reverse=True)
    pixels = streets[0][1].numel()
    assert all(s.confusions.sum((1, 2)).tolist() == [3 * pixels, 2 * pixels] for s in found)
    assert np.array_equal(found[0].confusions, found[3].confusions)
    model.eval()
    model.slot.keep = 1
    said = torch.stack([model(streets[i][0][None]).argmax(1)[0] for i in (1, 3)])
    right = sum(int((s == streets[i][1]).sum()) for s, i in zip(said, (1, 3)))
    assert found[2].confusions[1].trace() == right


def test_half_of_the_images_chooses_and_the_other_judges():
    def score(keep, first, second):  # right pixels of 100 in either half, of two classes
        halves = [[[n, 100 - n], [0, 100]] for n in (first, second)]
        return Pruned("top", keep, 1.0, 1.0, np.array(halves))

    whole, lucky, good = score(None, 50, 50), score(3, 90, 40), score(0.5, 60, 60)
    found = judged([whole, lucky, good])
    assert found["chosen"] == (3, 0.5)
    gains = [100 * (lucky.half(0) - whole.half(0)), 100 * (good.half(1) - whole.half(1))]
    assert found["where chosen"] == pytest.approx(np.mean(gains))
    gains = [100 * (lucky.half(1) - whole.half(1)), 100 * (good.half(0) - whole.half(0))]
    assert found["judged"] == pytest.approx(np.mean(gains)) and found["judged"] < 5
    assert judged([whole])["judged"] == 0
    with pytest.raises(ValueError, match="rule 'random'"):
        judged([whole], "random")


def test_what_does_not_fit_is_named(streets):
    with pytest.raises(ValueError, match="ContextFCN with 0"):
        pruning(network(13, width=16, kernel=1), streets)
    with pytest.raises(ValueError, match="at least two images"):
        pruning(network(13, width=16, kernel=1), streets, images=1)
    with pytest.raises(ValueError, match="got \\['best'\\]"):
        pruning(network(13, width=16, kernel=1), streets, rules=("best",))


def test_rows_are_in_per_cent_with_their_labels_in_front():
    score = Pruned("top", 0.5, 12.5, 0.5, np.array([[[3, 1], [0, 4]], [[3, 1], [0, 4]]]))
    (row,) = rows([score], network="FULL", seed=2)
    assert list(row) == ["network", "seed", "rule", "share", "kept", "mIoU"]
    assert row["mIoU"] == 77.5 and row["seed"] == 2


def test_what_the_largest_hold_is_told_by_the_affinities(streets):
    torch.manual_seed(0)
    model = network(
        13, context="graph_guided", context_options={"heads": HEADS}, width=16, kernel=1
    )
    model.slot.keep = 3
    found = held(model, streets, (0.1, 0.5, 1.0), images=2, queries=3)
    assert model.slot.keep == 3
    assert [row["share"] for row in found] == [0.1, 0.5, 1.0]
    weights = [row["weight"] for row in found]
    assert weights == sorted(weights) and weights[-1] == pytest.approx(1, abs=1e-5)
    assert all(row["weight"] > row["share"] and 0 < row["own label"] < 1 for row in found[:2])
    with torch.no_grad():  # all affinities alike: no choice holds more than its share
        for theta in model.slot.theta:
            theta.weight.zero_(), theta.bias.zero_()
    even = held(model, streets, (0.5, 1.0), images=1, queries=4)[0]
    assert even["weight"] == pytest.approx(0.5, abs=0.03)
