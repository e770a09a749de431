"""The two cues of a demand: each position is given its own; images with one are left out."""

import pytest
import torch

from contextlab.probes.cues import two_cues


@pytest.mark.parametrize("letter", ["P", "C", "A"])
def test_own_cue_has_the_label_of_the_position(streets, letter):
    cues, own = two_cues(streets, letter, images=16)
    d = streets.demand_names.index(letter)
    group = {"C": ("wall", "fence")}.get(letter, ("bus zone", "bike zone"))
    seen = 0
    for i in range(16):
        labels, demand, cue = streets[i][1], streets.demand(i), streets.cue(i)[d]
        maps = [cue & (labels == streets.classes.index(name)) for name in group]
        if not all(m.any() for m in maps):
            continue
        assert torch.equal(cues[:, seen], torch.stack(maps))
        middle = labels[2::4, 2::4], demand[2::4, 2::4]
        for k, name in enumerate(group):
            want = (middle[0] == streets.classes.index(name)) & (middle[1] == d)
            assert torch.equal(own[seen] == k, want)
        seen += 1
    assert cues.shape[1] == len(own) == seen > 0


@pytest.mark.parametrize("letter", ["G", "L", "local"])
def test_demands_without_two_labelled_cues_are_refused(streets, letter):
    with pytest.raises(ValueError, match="two labelled cues"):
        two_cues(streets, letter)
