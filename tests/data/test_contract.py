"""The contract that every data set keeps, and what happens to one that does not."""

import numpy as np
import pytest
import torch

from contextlab import data


class Tiny:
    """A data set of one image, right unless told otherwise."""

    classes = ("a", "b")
    palette = np.zeros((2, 3), np.uint8)
    ignore_index = 255

    def __init__(self, **wrong):
        self.image, self.labels = torch.zeros(3, 4, 5), torch.zeros(4, 5, dtype=torch.int64)
        self.labels[0, 0] = 255
        for name, value in wrong.items():
            setattr(self, name, value)

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index):
        return self.image, self.labels


def test_a_right_one_passes():
    assert isinstance(Tiny(), data.SegmentationDataset)
    data.check(Tiny())


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"classes": ["a", "b"]}, "expected classes to be a tuple of names"),
        ({"palette": np.zeros((3, 3), np.uint8)}, r"expected a uint8 palette of shape \(2, 3\)"),
        ({"palette": np.zeros((2, 3))}, r"found float64 \(2, 3\)"),
        ({"image": torch.zeros(3, 4, 5, dtype=torch.uint8)}, "expected a float32 image 3 h w"),
        ({"image": torch.full((3, 4, 5), 2.0)}, r"values in \[0, 1\], found 2 to 2"),
        ({"labels": torch.zeros(4, 5)}, "expected int64 labels"),
        ({"labels": torch.zeros(2, 5, dtype=torch.int64)}, r"labels of shape \(4, 5\)"),
        ({"labels": torch.zeros(1, 5, dtype=torch.int64)}, r"or \(1, 1\) for the whole image"),
        ({"labels": torch.full((4, 5), 2)}, r"labels in 0..1 or 255, found \[2\]"),
    ],
)
def test_a_wrong_one_is_told_what_is_wrong(wrong, words):
    with pytest.raises(ValueError, match=words):
        data.check(Tiny(**wrong))


def test_one_label_may_hold_for_the_whole_image():
    data.check(Tiny(labels=torch.ones(1, 1, dtype=torch.int64)))


def test_something_else_is_told_what_it_lacks():
    with pytest.raises(ValueError, match="list: expected an attribute 'classes', found none"):
        data.check([])


def test_building_by_name():
    streets = data.build("streets", "val", size=2, seed=1, c=0.5)
    assert (len(streets), streets.seed, streets.knobs["c"]) == (2, 1, 0.5)
    with pytest.raises(
        ValueError, match="sets are streets, vehicles, camvid, folder, not 'cityscapes'"
    ):
        data.build("cityscapes", "val")
    with pytest.raises(ValueError, match="streets are generated and have no root"):
        data.build("streets", "val", root="somewhere")


def test_camvid_is_built_from_its_root(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"python data_scripts/camvid.py fetches it"):
        data.build("camvid", "val", root=tmp_path)
