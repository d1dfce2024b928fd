"""A run in mixed precision: steps whose gradients overflow are left out, and nothing else changes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from core.backend import to_cpu
from core.kernels import shim
from core.kernels.emulated import emulated_gpu
from core.layers import Linear, MixedPrecision, ReLU, Sequential
from core.layers.mixed import STEPS_TO_GROW
from core.losses import softmax_cross_entropy
from core.optim import SGD, AdamW
from core.random import Stream
from core.schedules import step_decay
from core.training.feed import Feed
from core.training.guard import NotFiniteError
from core.training.lr_finder import lr_range_test
from core.training.outputs import Outputs
from core.training.run import STEPS_BETWEEN_GPU_CHECKS, Run
from core.training.settings import TrainingSettings

pytestmark = pytest.mark.skipif(shim.compiler() is None, reason="kernels run on the CPU only with g++ or clang++")

TOO_LARGE = 2.0**30  # for any gradient of this network


@pytest.fixture(autouse=True)
def no_curves(monkeypatch):
    monkeypatch.setattr(Outputs, "draw", lambda *_: None)


@pytest.fixture
def gpu():
    with emulated_gpu() as device:
        yield device


class Training:
    """A small network, and 20 samples in batches of 5."""

    def __init__(self, folder, optimizer=AdamW, **settings):
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal((20, 6), np.float32)
        self.labels = rng.integers(0, 3, 20)
        network = Sequential(Linear(6, 8, rng=rng), ReLU(), Linear(8, 3, rng=rng))
        self.model = MixedPrecision(network.to("gpu").skip_input_grad())
        self.optimizer = optimizer(self.model.parameters())
        self.run = Run(
            TrainingSettings(**({"batch_size": 5, "epochs": 2, "lr": 0.01} | settings)),
            self.model,
            self.optimizer,
            step_decay(0.01, [2, 4], 0.5),
            folder=folder,
            stream=Stream(0),
        )

    def steps(self, spoil=lambda step, loss: loss):
        """Train, and yield the number of each step once it is done."""
        with self.run as run:
            for _ in run.epochs():
                for x, labels in run.batches(self.x, self.labels):
                    step = run.state.step
                    loss, dlogits = softmax_cross_entropy(self.model.forward(x, train=True), labels)
                    self.model.backward(dlogits)
                    run.step(spoil(step, loss))
                    yield step

    def state(self):
        """Everything that an update changes."""
        ema = self.run.state.ema.state_dict() if self.run.state.ema else {}
        return self.model.state_dict() | self.optimizer.state_dict() | {f"ema.{name}": a for name, a in ema.items()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_a_step_that_overflows_is_left_out(gpu, tmp_path):
    training = Training(tmp_path / "run", ema_decay=0.9, clip_norm=1.0)
    steps = training.steps()
    next(steps)
    scale, before, tally = training.model.scale, training.state(), len(training.run.state.tally._pending)
    scale.value = TOO_LARGE
    assert next(steps) == 1
    assert_same(training.state(), before)
    assert scale.value == TOO_LARGE / 2
    assert training.run.state.step == 2, "the schedule goes on"
    names = [name for name, _, _ in training.run.state.tally._pending[tally:]]
    assert names == ["loss"], "a gradient norm that is infinite is no figure"
    scale.value = 1024.0
    next(steps)
    after = training.state()
    assert all((after[name] != before[name]).any() for name in before if name.endswith(("weight", "moment")))
    assert after["steps"] == before["steps"] + 1
    assert after["ema.steps"] == before["ema.steps"] + 1


def test_the_step_after_it_is_as_if_it_had_not_been_but_for_the_schedule(gpu, tmp_path):
    """The learning rate is that of the third step, Adam's corrections are those of the second update."""
    training = Training(tmp_path / "run")
    steps = training.steps()
    next(steps)
    rates = []
    training.optimizer.begin_step = lambda lr, begin=training.optimizer.begin_step: (
        rates.append((lr, training.optimizer.steps)),
        begin(lr),
    )
    training.model.scale.value = TOO_LARGE
    next(steps)
    training.model.scale.value = 1024.0
    next(steps)
    assert rates == [(0.005, 2)]


def test_a_scale_that_is_too_large_finds_its_place(gpu, tmp_path):
    training = Training(tmp_path / "run", epochs=8)
    training.model.scale.value = TOO_LARGE
    assert list(training.steps()) == list(range(32))
    rows = training.run.state.history.rows
    scales = [row["loss_scale"] for row in rows]
    assert scales[0] == TOO_LARGE / 2**4
    assert scales[-1] == scales[-2] < 2**20
    assert "gradient_norm" not in rows[0], "no step of the first epoch was good"
    assert np.isfinite(rows[-1]["gradient_norm"])
    assert training.optimizer.steps == 32 - np.log2(TOO_LARGE / scales[-1])


def test_the_scale_grows_after_enough_good_steps(gpu, tmp_path):
    training = Training(tmp_path / "run")
    training.model.scale.value, training.model.scale.good_steps = 256.0, STEPS_TO_GROW - 2
    steps = training.steps()
    next(steps)
    assert training.model.scale.value == 256
    next(steps)
    assert training.model.scale.value == 512


def test_gradients_are_clipped_after_they_are_unscaled(gpu, tmp_path):
    training = Training(tmp_path / "run", SGD, clip_norm=0.01)
    before = to_cpu(training.optimizer.flat.data).copy()
    next(training.steps())
    assert np.linalg.norm(to_cpu(training.optimizer.flat.data) - before) == pytest.approx(0.01 * 0.01, rel=1e-3)


def test_a_batch_in_parts_overflows_as_a_whole(gpu, tmp_path):
    training = Training(tmp_path / "run", accumulate=5)
    steps = training.steps()
    for _ in range(5):
        next(steps)
    before = training.state()
    training.model.scale.value = TOO_LARGE
    next(steps)  # the first part alone overflows
    training.model.scale.value = 1024.0
    for _ in range(4):
        next(steps)
    assert_same(training.state(), before)
    assert training.model.scale.value == 512
    next(steps)


def test_a_batch_in_parts_is_the_same_training(gpu, tmp_path):
    weights = []
    for parts in (1, 5):
        training = Training(tmp_path / f"{parts}", SGD, accumulate=parts)
        training.model.scale.value = 1024.0
        list(training.steps())
        assert training.model.scale.value == 1024
        weights.append(to_cpu(training.optimizer.flat.data))
    np.testing.assert_allclose(*weights, atol=2e-5)


def test_gradients_that_overflow_without_a_factor_are_an_error(gpu, tmp_path):
    training = Training(tmp_path / "run")
    steps = training.steps()
    next(steps)
    weight, bias, head, _ = training.model.parameters()
    training.x[...] = 6e4  # float16 just holds it
    weight.data[...], bias.data[...], head.data[...] = 0, 1, head.data * 1000  # so that the loss is finite
    training.model.scale.value = 2.0
    next(steps)
    assert training.model.scale.value == 1
    with pytest.raises(NotFiniteError, match=r"the gradient is not finite in .*step 2, .*leaving out --amp"):
        next(steps)


def test_a_loss_that_is_no_number_is_an_error_in_every_step(gpu, tmp_path):
    training = Training(tmp_path / "run")
    steps = training.steps()
    next(steps)
    training.optimizer.flat.data[...] = np.nan
    with pytest.raises(NotFiniteError, match=r"the loss is nan in epoch 1, batch 2 \(step 1, .*leaving out --amp"):
        next(steps)


def test_a_step_waits_once(gpu, tmp_path):
    training, waits = Training(tmp_path / "run"), []
    for step in training.steps():
        waits.append((step, gpu.waits))
    waited = {step: now - before for (_, before), (step, now) in pairwise(waits)}
    assert {count for step, count in waited.items() if step % STEPS_BETWEEN_GPU_CHECKS and step % 4} == {1}
    assert len(waited) == 7


def test_the_scale_travels_in_the_checkpoint(gpu, tmp_path):
    training = Training(tmp_path / "run")
    list(training.steps())
    tensors, description = training.run.state.collect()
    assert {name for name in tensors if name.startswith("loss_scale.")} == {"loss_scale.value", "loss_scale.good_steps"}
    other = Training(tmp_path / "other")
    other.run.state.restore(tensors, description, tmp_path)
    assert vars(other.model.scale) == vars(training.model.scale)


def test_an_overflow_of_a_batch_that_was_left_in_the_middle_is_forgotten(tmp_path, gpu):
    training = Training(tmp_path / "run", batch_size=10, accumulate=2, epochs=1)
    scale = training.model.scale
    with training.run as run:
        for _ in run.epochs():
            scale.value = TOO_LARGE
            for x, labels in run.batches(training.x, training.labels):
                _, dlogits = softmax_cross_entropy(training.model.forward(x, train=True), labels)
                training.model.backward(dlogits)
                break  # within a group of two
            run.validate()
            scale.value = 1024.0
            _, dlogits = softmax_cross_entropy(training.model.forward(x, train=True), labels)
            training.model.backward(dlogits)
            assert not training.model.overflowed()


def test_a_range_test_leaves_out_steps_that_overflow(tmp_path, gpu):
    training = Training(tmp_path / "run")
    training.model.scale.value = TOO_LARGE
    before = {name: array.tobytes() for name, array in training.state().items()}
    feed = Feed((training.x, training.labels), Stream(0), "gpu")
    found = lr_range_test(training.model, training.optimizer, softmax_cross_entropy, feed.endless(5), highest=1e-3)
    assert len(found.lrs) == 100
    assert training.model.scale.value == TOO_LARGE
    assert not training.model.overflowed()
    assert {name: array.tobytes() for name, array in training.state().items()} == before
