"""The confusion matrix as a picture."""

import numpy as np
import pytest

from contextlab import data, views


@pytest.mark.parametrize(
    "classes", [("a", "b"), data.CamVid.classes, tuple("abcdefghijklmnopqrst")]
)
def test_rows_are_shares_of_their_class(classes, readable):
    k = len(classes)
    matrix = np.random.default_rng(0).integers(0, 9, (k, k)) + 300 * np.eye(k, dtype=int)
    matrix[1] = 0
    figure, numbers = views.confusion_figure(matrix, classes, title="validation")
    readable(figure)
    share = numbers["share"]
    assert np.isnan(share[1]).all() and share[0].sum() == pytest.approx(100)
    assert share[0, 1] == pytest.approx(100 * matrix[0, 1] / matrix[0].sum())
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == list(classes)


def test_a_matrix_of_other_classes_is_refused():
    with pytest.raises(ValueError, match=r"3 x 3 for 3 classes, got \(2, 2\)"):
        views.confusion_figure(np.eye(2), ("a", "b", "c"))
