"""The metrics against scikit-learn, against hand-worked cases, and at their edges."""

from __future__ import annotations

import numpy as np
import pytest

from core.report import metrics


@pytest.fixture
def case() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, 500)
    logits = rng.normal(size=(500, 7)) + 2 * np.eye(7)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return labels, probabilities


def test_scikit_learn_agrees(case):
    reference = pytest.importorskip("sklearn.metrics")
    labels, p = case
    answers = p.argmax(axis=1)
    assert metrics.accuracy(labels, p).value == pytest.approx(reference.accuracy_score(labels, answers))
    for k in (1, 2, 6):
        expected = reference.top_k_accuracy_score(labels, p, k=k)
        assert metrics.top_k_accuracy(labels, p, k) == pytest.approx(expected)
    confusion = metrics.confusion_matrix(labels, answers, 7)
    np.testing.assert_array_equal(confusion, reference.confusion_matrix(labels, answers))
    table = metrics.per_class(confusion)
    expected = reference.precision_recall_fscore_support(labels, answers)
    for ours, theirs in zip((table.precision, table.recall, table.f1, table.support), expected, strict=True):
        np.testing.assert_allclose(ours, theirs)


def test_scikit_learn_agrees_where_a_class_is_never_seen_or_never_answered():
    reference = pytest.importorskip("sklearn.metrics")
    labels, answers = np.array([0, 0, 2, 2]), np.array([0, 1, 0, 0])
    table = metrics.per_class(metrics.confusion_matrix(labels, answers, 4))
    expected = reference.precision_recall_fscore_support(labels, answers, labels=range(4), zero_division=0)
    for ours, theirs in zip((table.precision, table.recall, table.f1, table.support), expected, strict=True):
        np.testing.assert_allclose(ours, theirs)


def test_calibration_curve_agrees_with_scikit_learn(case):
    calibration = pytest.importorskip("sklearn.calibration")
    labels, p = case
    right = p.argmax(axis=1) == labels
    share, confidence = calibration.calibration_curve(right, p.max(axis=1), n_bins=15)
    ours = metrics.reliability(labels, p)
    filled = ours.counts > 0
    np.testing.assert_allclose(ours.accuracy[filled], share)
    np.testing.assert_allclose(ours.confidence[filled], confidence)
    assert ours.counts.sum() == len(labels)


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [(0, 10, 0.0, 0.27754), (10, 10, 0.72246, 1.0), (81, 263, 0.25529, 0.36621), (15, 148, 0.06239, 0.16053)],
)
def test_wilson_interval_of_published_cases(correct, total, low, high):
    """The last two rows are Newcombe's table I, method 3 (Statistics in Medicine 17, 1998), to its four digits."""
    assert metrics.wilson_interval(correct, total) == pytest.approx((low, high), abs=1.5e-4)


@pytest.mark.parametrize(("correct", "total"), [(0, 0), (-1, 3), (4, 3)])
def test_wilson_interval_refuses_what_is_no_share(correct, total):
    with pytest.raises(ValueError, match="correct"):
        metrics.wilson_interval(correct, total)


def test_equal_probabilities_count_as_argmax_counts_them():
    labels, p = np.array([0, 1]), np.full((2, 4), 0.25)
    assert metrics.top_k_accuracy(labels, p, 1) == metrics.accuracy(labels, p).value == 0.5
    assert metrics.top_k_accuracy(labels, p, 2) == 1.0


def test_a_model_that_is_right_as_often_as_it_says_has_no_calibration_error():
    labels = np.array([0, 0, 0, 1])
    assert metrics.reliability(labels, np.tile([0.75, 0.25], (4, 1))).ece == pytest.approx(0)
    assert metrics.reliability(labels, np.tile([1.0, 0.0], (4, 1))).ece == pytest.approx(0.25)


def test_empty_bins_are_nan_and_full_confidence_is_in_the_last_bin():
    result = metrics.reliability(np.array([0]), np.array([[1.0, 0.0]]), n_bins=4)
    np.testing.assert_array_equal(result.counts, [0, 0, 0, 1])
    assert np.isnan(result.accuracy[:3]).all()


def test_worst_mistakes_are_wrong_and_sorted_by_confidence():
    labels = np.array([0, 0, 1, 1])
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.99, 0.01], [0.4, 0.6]])
    np.testing.assert_array_equal(metrics.worst_mistakes(labels, p), [2, 1])
    np.testing.assert_array_equal(metrics.worst_mistakes(labels, p, limit=1), [2])
    assert metrics.worst_mistakes(labels[:1], p[:1]).shape == (0,)


@pytest.mark.parametrize(
    ("labels", "probabilities", "complaint"),
    [
        ([0], [[3.0, -1.0]], "softmax"),
        ([0], [[np.nan, 1.0]], "finite"),
        ([2], [[0.5, 0.5]], "0..1"),
        ([0, 1], [[0.5, 0.5]], "expected labels"),
        ([], np.empty((0, 3)), "N > 0"),
        ([0.0], [[0.5, 0.5]], "integers"),
    ],
)
def test_what_does_not_fit_is_refused(labels, probabilities, complaint):
    with pytest.raises(ValueError, match=complaint):
        metrics.accuracy(labels, probabilities)


def test_confusion_matrix_refuses_labels_out_of_range():
    with pytest.raises(ValueError, match=r"0\.\.1"):
        metrics.confusion_matrix([0, 2], [0, 0], 2)
