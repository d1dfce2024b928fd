"""The plot of what is known before a drawing is finished."""

import numpy as np

from core.report.drawings import accuracy_by_share


def test_both_curves_the_interval_and_the_notice_are_there():
    shares, top1, top3 = [0.5, 1.0], np.array([0.4, 0.9]), np.array([0.6, 1.0])
    figure = accuracy_by_share(shares, top1, top3, 1234, "SYNTHETIC data")
    (axes,) = figure.axes
    curves = {line.get_label(): line.get_ydata() for line in axes.get_lines()}
    np.testing.assert_array_equal(curves["right answer first"], top1)
    np.testing.assert_array_equal(curves["right answer among the first three"], top3)
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() < 0.4 < 0.9 < band.max() < 0.95
    assert "1,234" in axes.get_title(loc="left")
    assert "SYNTHETIC data" in [text.get_text() for text in figure.texts]
