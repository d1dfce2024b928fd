"""What every test script says of its measurement: on which images, by which command, with which notices."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from core.cli import parse
from core.data.prepared import Prepared
from core.errors import UserError
from core.report.testing import all_notices, choose_samples, command_line

LABELS = np.arange(60) % 10
DATA = Prepared({"test_images": np.arange(60), "test_labels": LABELS}, {"notice": "TOY data"})


@dataclass
class Settings:
    """As a test script may have them."""

    run: str = ""
    """A text."""
    samples: int = 0
    """A number."""
    share: float = 0.5
    """A fraction."""
    quick_look: bool = False
    """A truth value."""
    plots: bool = True
    """Another."""


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


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(run="my runs/it's", samples=50, share=1e-05, quick_look=True, plots=False),
        Settings(samples=-1),
    ],
)
def test_the_command_brings_the_settings_back(settings):
    python, script, *flags = shlex.split(command_line(Path("/anywhere/mlp_mnist/test_model.py"), settings))
    assert (python, script) == ("python", "mlp_mnist/test_model.py")
    assert parse(Settings, flags) == settings
    assert (settings == Settings()) == (flags == [])


def test_notices_are_said_once():
    assert all_notices("A", "A") == "A"
    assert all_notices("A", "B") == "A; B"
    assert all_notices("", "B") == "B"
    assert all_notices("", "") == ""
