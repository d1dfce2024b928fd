"""A run describes itself in a folder that nobody else uses meanwhile, and refuses what would be a mistake in a loop."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import toy_run
from toy_run import settings_of, train, weights

from core.errors import UserError
from core.files import lock_file
from core.layers import Linear, Sequential
from core.losses import loss_and_accuracy
from core.optim import SGD
from core.predict import predict
from core.random import Stream
from core.training.checkpoint import load_checkpoint, load_weights
from core.training.outputs import Outputs
from core.training.run import Run
from core.training.settings import TrainingSettings, make_schedule

pytestmark = pytest.mark.usefixtures("quick")


def test_the_folder_describes_the_run(run_folder, monkeypatch, quick):
    monkeypatch.setattr(Outputs, "draw", quick)
    train(settings_of(run_folder, "--epochs", "2"))
    visible = {path.name for path in run_folder.iterdir() if not path.name.startswith(".")}
    checkpoints = {"best.safetensors", "last.safetensors", "previous.safetensors"}
    assert visible == {"config.json", "history.csv", "curves.png"} | checkpoints
    config = json.loads((run_folder / "config.json").read_text())
    assert config["settings"]["lr"] == 0.01
    assert config["data"] == toy_run.DATA_INFO | {"arrays": {}}
    assert config["versions"]["numpy"] == np.__version__
    assert (config["device"], config["threads"]) == ("cpu", 1)
    assert config["notice"] == "MADE-UP data"
    _, metadata = load_checkpoint(run_folder / "best.safetensors")
    assert (metadata["kind"], metadata["notice"], metadata["metrics"]["epoch"]) == ("weights", "MADE-UP data", 2)
    lines = (run_folder / "history.csv").read_text().splitlines()
    assert lines[0] == (
        "epoch,step,learning_rate,train_loss,train_accuracy,validation_loss,validation_accuracy,gradient_norm,seconds"
    )
    assert [line.split(",")[:3] for line in lines[1:]] == [["1", "7", "0.01"], ["2", "14", "0.01"]]


def test_the_notice_is_said_before_the_first_and_the_last_figures(run_folder, capsys):
    train(settings_of(run_folder, "--epochs", "1"))
    notice, epoch, again, summary = capsys.readouterr().out.splitlines()
    assert notice == again == "NOTICE: MADE-UP data"
    assert epoch.startswith("epoch 1/1")
    assert "best: epoch 1" in summary


def test_the_best_weights_are_those_of_the_best_epoch(run_folder):
    seen = []
    model, run = train(settings_of(run_folder, "--epochs", "5"), watch=lambda epoch, row: seen.append((epoch, row)))
    assert [epoch for epoch, _ in seen] == [1, 2, 3, 4, 5]
    best = max(seen, key=lambda item: item[1]["validation_accuracy"])[1]
    assert run.best == best
    metadata = load_weights(model, run_folder / "best.safetensors")
    x, labels = toy_run.data()
    found = loss_and_accuracy(predict(model, x[110:]), labels[110:])
    assert (
        {f"validation_{name}": value for name, value in found.items()}.items()
        <= best.items()
        == (metadata["metrics"].items())
    )


def test_a_second_run_keeps_the_first(run_folder, capsys):
    for seed in (0, 1, 2):
        train(settings_of(run_folder, "--epochs", "1", "--seed", str(seed)))
    assert "the earlier run" in capsys.readouterr().out
    for seed, name in ((0, "run.1"), (1, "run.2"), (2, "run")):
        _, metadata = load_checkpoint(run_folder.with_name(name) / "best.safetensors")
        assert metadata["settings"]["seed"] == seed


def test_two_runs_in_one_folder(run_folder):
    """The second one is refused while the first lives, and a dead one's lock does not count."""
    settings = settings_of(run_folder, "--epochs", "1")

    def start_another(epoch, row):
        with pytest.raises(UserError, match=rf"run is in use by another run \(process {os.getpid()}\)"):
            train(settings)

    train(settings, watch=start_another)
    train(settings)
    assert not lock_file(run_folder).exists()


def test_a_lock_of_a_dead_process_is_taken_over(run_folder):
    code = (
        "import os, sys; from pathlib import Path; from core.training.lock import FolderLock; "
        "FolderLock(Path(sys.argv[1])).acquire(); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(run_folder)]).returncode == -9
    assert lock_file(run_folder).read_text() != ""
    train(settings_of(run_folder, "--epochs", "1"))


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write in"):
        train(settings_of(tmp_path / "file" / "run"))


def test_a_disk_that_fills_up_keeps_the_last_good_checkpoints(run_folder):
    """The limit on a file's size stands for a full disk; the training state is larger than the weights."""
    train(settings_of(run_folder, "--epochs", "1"))
    size = (run_folder / "last.safetensors").stat().st_size
    for path in run_folder.iterdir():
        path.unlink()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(epoch, row):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size - 100, hard))

    try:
        with pytest.raises(UserError, match=r"cannot write .*last\.safetensors: File too large"):
            train(settings_of(run_folder, "--epochs", "3"), watch=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert load_checkpoint(run_folder / "last.safetensors")[1]["position"] == [1, 0, 7]
    train(settings_of(run_folder, "--epochs", "3", "--resume"))


def tiny(folder, **settings):
    model = Sequential(Linear(2, 2, rng=np.random.default_rng(0)))
    optimizer = SGD(model.parameters())
    settings = TrainingSettings(**settings)
    return Run(settings, model, optimizer, make_schedule(settings, 8), folder=folder, stream=Stream(0))


def test_a_step_without_a_batch_is_a_mistake(run_folder):
    with tiny(run_folder) as run, pytest.raises(RuntimeError, match="one call for each batch"):
        run.step(1.0)


def test_a_plateau_needs_the_loss(run_folder):
    for figures in ({}, {"accuracy": 0.5}):
        with tiny(run_folder, schedule="plateau") as run, pytest.raises(ValueError, match=r"expected loss=\.\.\."):
            run.validate(**figures)


def test_a_validation_without_the_monitored_figure_is_a_mistake(run_folder):
    with tiny(run_folder) as run, pytest.raises(ValueError, match=r"expected accuracy=\.\.\., got"):
        run.validate(loss=1.0)


def test_a_run_without_validation_publishes_the_last_weights(run_folder):
    x, labels = np.ones((4, 2), np.float32), np.zeros(4, int)
    with tiny(run_folder, epochs=2) as run:
        for _ in run.epochs():
            for batch, _ in run.batches(x, labels):
                run.model.backward(run.model.forward(batch, train=True))
                run.step(1.0)
    assert weights(run_folder)["0.weight"].tobytes() == run.model.state_dict()["0.weight"].tobytes()
    assert (run_folder / "history.csv").read_text().startswith("epoch,step,learning_rate,train_loss,gradient_norm,")


def test_a_batch_that_is_left_out_or_stepped_twice_is_a_mistake(run_folder):
    """The position that a resume goes on from would be another one."""
    x, labels = np.ones((8, 2), np.float32), np.zeros(8, int)
    with tiny(run_folder, batch_size=4, accumulate=2) as run:
        for number, _ in enumerate(run.batches(x, labels)):
            if number == 0:
                run.step(1.0)
                with pytest.raises(RuntimeError, match="not between the parts of one"):
                    run.save()
            if number in (0, 2):  # once more, and after one that was left out
                with pytest.raises(RuntimeError, match="one call for each batch"):
                    run.step(1.0)


def test_a_run_is_for_one_training(run_folder):
    run = tiny(run_folder, epochs=1)
    with run:
        for _ in run.epochs():
            pass
    with pytest.raises(RuntimeError, match="make another one"), run:
        pass
    assert (run_folder / "best.safetensors").exists()


def test_an_epoch_may_end_in_the_middle_of_a_batch(run_folder):
    """What its first part has added to the gradient is no part of the next epoch's first update."""
    x, labels = np.ones((8, 2), np.float32), np.zeros(8, int)
    gradients = []
    with tiny(run_folder, epochs=2, batch_size=4, accumulate=2, lr=0.1) as run:
        for _ in run.epochs():
            for number, (batch, _) in enumerate(run.batches(x, labels)):
                run.model.forward(batch, train=True)
                run.model.backward(np.ones((len(batch), 2), np.float32))
                gradients.append(run.optimizer.flat.grad.copy())
                run.step(1.0)
                if number == 2:
                    break
    assert len(gradients) == 6
    np.testing.assert_array_equal(gradients[3], gradients[0])


def test_an_epoch_may_be_trained_all_at_once(run_folder):
    """As a kernel does that takes the whole epoch: the history, and what a resume goes on from, know of it."""
    with tiny(run_folder, epochs=2, lr=0.1) as run:
        for epoch in run.epochs():
            run.count_epoch(4, steps=3, loss=1.5 - epoch, accuracy=0.25)
    header, *rows = (run_folder / "history.csv").read_text().splitlines()
    assert header == "epoch,step,learning_rate,train_loss,train_accuracy,seconds"
    assert [row.split(",")[:-1] for row in rows] == [["1", "3", "0.1", "1.5", "0.25"], ["2", "6", "0.1", "0.5", "0.25"]]
    _, metadata = load_checkpoint(run_folder / "last.safetensors")
    assert metadata["position"] == [2, 0, 6]


def test_handlers_come_back(run_folder):
    import signal

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with tiny(run_folder):
        assert signal.getsignal(signal.SIGTERM) not in before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    with pytest.raises(ZeroDivisionError):
        train(settings_of(run_folder), watch=lambda epoch, row: 1 / 0)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
