"""A number that is not finite stops a run, says where it was, and reaches no checkpoint."""

from __future__ import annotations

import numpy as np
import pytest
import toy_run
from toy_run import settings_of, train

from core.errors import UserError
from core.optim import Adam
from core.training.checkpoint import load_checkpoint
from core.training.run import Run

pytestmark = pytest.mark.usefixtures("quick")


def test_a_loss_that_is_no_number_stops_the_run(run_folder):
    before = "the loss is nan in epoch 2, batch 4 (step 10, lr 0.01), gradient norm "
    with pytest.raises(UserError) as caught:
        train(settings_of(run_folder, "--explode", "10"))
    assert str(caught.value).startswith(before)
    assert f"The last good checkpoint is {run_folder / 'last.safetensors'}" in str(caught.value)
    assert load_checkpoint(run_folder / "last.safetensors")[1]["position"] == [1, 0, 7]


def test_a_gradient_that_is_no_number_names_its_parameter(run_folder, monkeypatch):
    real = toy_run.softmax_cross_entropy

    def poisoned(logits, labels, smoothing=0.0):
        loss, dlogits = real(logits, labels, smoothing)
        dlogits[0, 0] = np.nan
        return loss, dlogits

    monkeypatch.setattr(toy_run, "softmax_cross_entropy", poisoned)
    with pytest.raises(
        UserError, match=r"the gradient is not finite .* 6 gradients are bad, from that of 4\.bias back"
    ):
        train(settings_of(run_folder))
    assert not (run_folder / "last.safetensors").exists()


def test_an_absurd_learning_rate_never_reaches_a_checkpoint(run_folder):
    with pytest.raises(UserError, match=r"No checkpoint was saved before; a lower --lr"):
        train(settings_of(run_folder, "--lr", "1e39", "--optimizer", "sgd", "--checkpoint-seconds", "0", "--no-norm"))
    assert not (run_folder / "last.safetensors").exists()


def test_a_validation_figure_that_is_no_number_is_one_line(run_folder, monkeypatch):
    monkeypatch.setattr(toy_run, "loss_and_accuracy", lambda *_: {"loss": float("inf"), "accuracy": 0.5})
    with pytest.raises(UserError, match="the validation loss of epoch 1 is inf"):
        train(settings_of(run_folder))


@pytest.mark.parametrize("part", [0, 1])
def test_no_part_of_a_batch_may_have_a_loss_that_is_no_number(run_folder, monkeypatch, part):
    """Also where the gradient is finite, and the loss of the last part."""
    real, calls = toy_run.softmax_cross_entropy, []

    def poisoned(logits, labels, smoothing=0.0):
        loss, dlogits = real(logits, labels, smoothing)
        calls.append(loss)
        return float("inf") if len(calls) == part + 1 else loss, dlogits

    monkeypatch.setattr(toy_run, "softmax_cross_entropy", poisoned)
    with pytest.raises(UserError, match=r"the loss is inf in epoch 1, batch 2 \(step 0,"):
        train(settings_of(run_folder, "--accumulate", "2"))


def test_a_training_figure_that_is_no_number_is_one_line(run_folder, monkeypatch):
    step = Run.step
    monkeypatch.setattr(Run, "step", lambda run, loss, **_: step(run, loss, accuracy=float("nan")))
    with pytest.raises(UserError, match=r"the training's accuracy is nan in epoch 1\. No checkpoint was saved before"):
        train(settings_of(run_folder))


def test_weights_that_are_not_averaged_reach_no_checkpoint_either(run_folder, monkeypatch):
    """The figures are those of the averaged ones, which have not taken in the epoch's last step."""
    update = Adam.step

    def explode(optimizer, lr):
        update(optimizer, lr)
        if optimizer.steps == 14:
            optimizer.flat.data[0] = np.inf

    monkeypatch.setattr(Adam, "step", explode)
    with pytest.raises(UserError, match=r"0\.weight holds values that are not finite in epoch 2"):
        train(settings_of(run_folder, "--ema-decay", "0.9", "--ema-every", "3"))
    tensors, about = load_checkpoint(run_folder / "last.safetensors")
    assert about["position"] == [1, 0, 7]
    assert all(np.isfinite(array).all() for array in tensors.values())
