"""What every test script says of its measurement: on which images, with which notices."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from core.data.prepared import Prepared
from core.errors import UserError
from core.report.testing import all_notices, check_split, choose_samples

LABELS = np.arange(60) % 10
DATA = Prepared({"test_images": np.arange(60), "test_labels": LABELS}, {"notice": "TOY data"})


@pytest.mark.parametrize("samples", [1, 20, 59])
def test_samples_are_in_the_proportions_of_the_classes_and_the_same_again(samples):
    chosen, limits = choose_samples(DATA, samples)
    images, labels = chosen.arrays["test_images"], chosen.arrays["test_labels"]
    assert len(np.unique(images)) == len(images) == samples
    np.testing.assert_array_equal(labels, LABELS[images])
    assert np.ptp(np.bincount(labels, minlength=10)) <= 1
    assert chosen.info == DATA.info
    expected = f"It was measured on only {samples} of the 60 test images, chosen at random in the proportions of the"
    assert limits == [f"{expected} classes."]
    np.testing.assert_array_equal(choose_samples(DATA, samples)[0].arrays["test_images"], images)


@pytest.mark.parametrize("samples", [0, 60])
def test_all_images_need_no_word(samples):
    assert choose_samples(DATA, samples) == (DATA, [])


def test_more_samples_than_there_are():
    with pytest.raises(UserError, match="--samples 61: there are only 60 test images"):
        choose_samples(DATA, 61)


def test_a_network_is_not_tested_on_data_that_were_parted_anew_since():
    then, now = ({"arrays": {"train_x": {"sha256": sha}, "test_x": {"sha256": "z"}}} for sha in ("a", "b"))
    trained = SimpleNamespace(learned_from={"train_x": "a"})
    check_split(trained, then)
    with pytest.raises(UserError, match="may have learned what is tested now"):
        check_split(trained, now)
    check_split(SimpleNamespace(learned_from={}), now)  # an older checkpoint does not tell


def test_notices_are_said_once():
    assert all_notices("A", "A") == "A"
    assert all_notices("A", "B") == "A; B"
    assert all_notices("", "B") == "B"
    assert all_notices("", "") == ""
