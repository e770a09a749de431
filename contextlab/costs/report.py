"""A reproduction of DGCNet as its report gives it: which labels it knew, and how well.

Trained on Cityscapes with one image a step; measured on the 500 images of the validation set. The
network is :func:`contextlab.networks.dgcnet_report`.
"""

from __future__ import annotations

#: the mean that the report prints; its classes have the mean 0.6441
REPORT_MIOU = 0.6440
#: class to intersection over union, in the report's order
REPORT_IOU = {
    "road": 0.9742,
    "sidewalk": 0.8045,
    "building": 0.8945,
    "wall": 0.3453,
    "fence": 0.3361,
    "pole": 0.5725,
    "traffic light": 0.6521,
    "traffic sign": 0.7270,
    "vegetation": 0.9124,
    "terrain": 0.6017,
    "sky": 0.9357,
    "person": 0.7683,
    "rider": 0.4470,
    "car": 0.9234,
    "truck": 0.5737,
    "bus": 0.5648,
    "train": 0.0997,
    "motorcycle": 0.3918,
    "bicycle": 0.7123,
}
_KNOWN = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
#: Cityscapes' labelId to the report's class, 1 to 19 in the order above; every other labelId is
#: class 0, "others", which is ignored. (A comment in the report's code calls 19 a licence plate.)
REPORT_CLASSES = {label: number for number, label in enumerate(_KNOWN, 1)}
