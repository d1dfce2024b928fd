"""What a GPU is fed: the batches that the CPU's workers make, to the bit, without waiting and without sending."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest

from core.backend import to_cpu
from core.data.augment import Affine, ColourJitter, Compose, Cutout, HorizontalFlip, RandomCrop
from core.data.normalize import Normalize
from core.kernels import shim
from core.kernels.emulated import EmulatedArray, emulated_gpu
from core.layers import Flatten, Linear, ReLU, Sequential
from core.losses import softmax_cross_entropy
from core.optim import SGD
from core.random import Stream
from core.schedules import constant
from core.training import device_feed
from core.training.device_feed import DeviceFeed
from core.training.feed import Feed
from core.training.outputs import Outputs
from core.training.run import Run
from core.training.settings import TrainingSettings

pytestmark = pytest.mark.skipif(shim.compiler() is None, reason="kernels run on the CPU only with g++ or clang++")

RNG = np.random.default_rng(0)
COLOURED = RNG.integers(0, 256, (40, 9, 12, 3), dtype=np.uint8)
GREY = COLOURED[..., 0].copy()
LABELS, WEIGHTS = RNG.integers(0, 4, 40).astype(np.uint8), RNG.random(40)
CHANNELS = Normalize([0.5, 0.4, 0.3], [0.2, 0.3, 0.25])

FITTING = {
    "nothing": None,
    "no transforms": Compose([]),
    "shift": Compose([RandomCrop(2, fill=0.25)]),
    "reflected crop": Compose([RandomCrop(3, "reflect")]),
    "flip": Compose([HorizontalFlip()]),
    "hole": Compose([Cutout(5, fill=0.5)]),
    "crop and hole": Compose([RandomCrop(2, "reflect"), Cutout(4, fill=0.5)]),
    "flip and hole": Compose([HorizontalFlip(0.3), Cutout(4)]),
    "all": Compose([RandomCrop(2), HorizontalFlip(), Cutout(3)]),
}
OTHERS = {
    "another order": Compose([HorizontalFlip(), RandomCrop(2)]),
    "twice": Compose([HorizontalFlip(), HorizontalFlip()]),
    "two fills": Compose([RandomCrop(2, fill=0.1), Cutout(3, fill=0.2)]),
    "a rotation": Compose([Affine(rotate=10)]),
    "colours": Compose([HorizontalFlip(), ColourJitter(brightness=0.2)]),
    "a function": lambda x, rng: x + rng.random(x.shape, np.float32),
}


def batches(device, images, augment, normalize):
    """Two epochs, the first one from its second batch on; the last batches are smaller."""
    arrays, rows = (images, LABELS, WEIGHTS), np.arange(3, 38)
    feed = Feed(arrays, Stream(5), device, normalize, augment, rows, numbers=True)
    return [
        [np.array(to_cpu(array)) for array in batch] for epoch in (0, 1) for batch in feed.epoch(epoch, 8, 1 - epoch)
    ]


def assert_the_same(images, augment, normalize=None):
    expected = batches("cpu", images, augment, normalize)
    found = batches("gpu", images, augment, normalize)
    assert len(found) == len(expected) == 9
    for one, other in zip(found, expected, strict=True):
        for mine, theirs in zip(one, other, strict=True):
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("name", FITTING)
@pytest.mark.parametrize("normalize", [None, Normalize(0.3, 0.4), CHANNELS], ids=["plain", "one", "channels"])
def test_images_on_the_gpu_become_the_same_batches(name, normalize):
    with emulated_gpu():
        assert DeviceFeed.fits([COLOURED], normalize, FITTING[name])
        assert_the_same(COLOURED, FITTING[name], normalize)


@pytest.mark.parametrize("name", ["nothing", "all"])
def test_grey_images_need_no_axis_of_channels(name):
    with emulated_gpu():
        assert DeviceFeed.fits([GREY], None, FITTING[name])
        assert_the_same(GREY, FITTING[name], Normalize(0.3, 0.4))


@pytest.mark.parametrize("name", OTHERS)
def test_what_the_kernel_cannot_do_the_workers_do(name):
    with emulated_gpu():
        assert not DeviceFeed.fits([COLOURED], None, OTHERS[name])
        assert_the_same(COLOURED, OTHERS[name], CHANNELS)


def test_only_images_that_leave_room_stay_on_the_gpu(monkeypatch):
    with emulated_gpu():
        assert DeviceFeed.fits([GREY], None, None)
        assert not DeviceFeed.fits([GREY.astype(np.float32)], None, None)
        assert not DeviceFeed.fits([GREY.reshape(40, -1)], None, None)
        assert not DeviceFeed.fits([GREY], CHANNELS, None)  # whose three channels are not there
        monkeypatch.setattr(device_feed, "free_gpu_memory", lambda: 2 * GREY.nbytes + 1)
        assert DeviceFeed.fits([GREY], None, None)
        assert not DeviceFeed.fits([GREY, LABELS], None, None)
        assert_the_same(GREY, None)


def test_a_reflection_of_more_than_there_is_stays_an_error():
    with emulated_gpu(), pytest.raises(ValueError, match="can reflect at most 8 pixels"):
        batches("gpu", COLOURED, Compose([RandomCrop(9, "reflect")]), None)


@pytest.mark.parametrize("name", ["nothing", "all"])
def test_a_step_neither_waits_nor_sends(name, tmp_path, monkeypatch):
    monkeypatch.setattr(Outputs, "draw", lambda *_: None)
    settings = TrainingSettings(epochs=3, batch_size=8, device="gpu")
    arrays, augment = (COLOURED, LABELS), FITTING[name]
    with emulated_gpu() as gpu:
        rng = np.random.default_rng(0)
        network = Sequential(Flatten(), Linear(9 * 12 * 3, 6, rng=rng), ReLU(), Linear(6, 4, rng=rng)).to("gpu")
        optimizer, sent = SGD(network.parameters()), []
        with Run(settings, network, optimizer, constant(0.01), folder=tmp_path / "run", stream=Stream(1)) as run:
            for _ in run.epochs():
                feed = run.batches(*arrays, normalize=CHANNELS, augment=augment)
                x, labels = next(feed)
                before = gpu.uploads
                for _ in range(3):
                    with gpu.forbid_waiting() if run.state.step else nullcontext():  # the first step looks at its loss
                        loss, dlogits = softmax_cross_entropy(network.forward(x, train=True), labels)
                        network.backward(dlogits)
                        run.step(loss)
                        x, labels = next(feed)
                assert gpu.uploads == before
                assert isinstance(x, EmulatedArray)
                sent.append(gpu.uploads)
                run.validate()
        assert sent[2] - sent[1] == 1  # the order of the epoch; the images were sent once


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_each_epoch_may_be_fed_otherwise(device, tmp_path, monkeypatch):
    monkeypatch.setattr(Outputs, "draw", lambda *_: None)
    settings = TrainingSettings(epochs=4, batch_size=40)
    how = [{}, {"normalize": CHANNELS}, {"normalize": CHANNELS, "rows": np.arange(5)}, {}]
    with emulated_gpu():
        network = Sequential(Flatten(), Linear(2, 2, rng=np.random.default_rng(0))).to(device)
        optimizer = SGD(network.parameters())
        with Run(settings, network, optimizer, constant(0.01), folder=tmp_path / "run", stream=Stream(1)) as run:
            for epoch in run.epochs():
                images = 255 - COLOURED if epoch == 3 else COLOURED
                ((x, labels, numbers),) = run.batches(images, LABELS, numbers=True, **how[epoch])
                expected = how[epoch].get("normalize", Normalize())(images)[numbers]
                np.testing.assert_array_equal(to_cpu(x), expected)
                np.testing.assert_array_equal(to_cpu(labels), LABELS[numbers])
                assert len(numbers) == (5 if epoch == 2 else 40)
                run.validate()
