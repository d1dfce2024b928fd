"""What a run does besides resuming: stop early, average, accumulate, guard, lock, and describe itself in its folder."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import toy_run
from toy_run import settings_of, train

from core.errors import UserError
from core.files import lock_file
from core.layers import Linear, Sequential
from core.losses import loss_and_accuracy
from core.optim import SGD
from core.params import pack
from core.predict import predict
from core.random import Stream
from core.training.checkpoint import load_checkpoint, load_weights, save_checkpoint
from core.training.early_stopping import EarlyStopping
from core.training.ema import Ema
from core.training.feed import Feed
from core.training.outputs import Outputs
from core.training.parts import BatchParts
from core.training.progress import Progress
from core.training.run import Run
from core.training.settings import TrainingSettings, make_schedule
from core.workers import set_threads


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Drawing and waiting for the disk take longer than this training does."""
    draw = Outputs.draw
    monkeypatch.setattr(Outputs, "draw", lambda self, state: None)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    return draw


@pytest.fixture
def run_folder(tmp_path):
    return tmp_path / "run"


def weights(folder, name="best"):
    return load_checkpoint(folder / f"{name}.safetensors")[0]


# -- the folder -------------------------------------------------------------------------------------------------


def test_the_folder_describes_the_run(run_folder, monkeypatch, quick):
    monkeypatch.setattr(Outputs, "draw", quick)
    train(settings_of(run_folder, "--epochs", "2"))
    visible = {path.name for path in run_folder.iterdir() if not path.name.startswith(".")}
    checkpoints = {"best.safetensors", "last.safetensors", "previous.safetensors"}
    assert visible == {"config.json", "history.csv", "curves.png"} | checkpoints
    config = json.loads((run_folder / "config.json").read_text())
    assert config["settings"]["lr"] == 0.01
    assert config["data"] == toy_run.DATA_INFO
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


# -- early stopping, averages, parts ----------------------------------------------------------------------------


def test_early_stopping_waits_for_a_real_improvement():
    stopping = EarlyStopping(patience=2, min_delta=0.1, higher_is_better=True)
    found = [(stopping.observe(value), stopping.should_stop) for value in (0.5, 0.55, 0.61, 0.70, 0.65)]
    # 0.55 is a new best but no real improvement; 0.61 is one; after it come two epochs without.
    assert found == [(True, False), (True, False), (True, False), (True, False), (False, True)]
    assert stopping.best == 0.70


def test_early_stopping_on_a_loss_and_without_patience():
    stopping = EarlyStopping(patience=1, min_delta=0.0, higher_is_better=False)
    assert [stopping.observe(value) for value in (2.0, 1.0, 1.0)] == [True, True, False]
    assert stopping.should_stop
    patient = EarlyStopping(patience=0, min_delta=0.0, higher_is_better=False)
    assert not any((patient.observe(1.0), patient.should_stop)[1] for _ in range(100))


def test_a_run_stops_early_and_is_finished(run_folder, capsys):
    flags = ["--epochs", "50", "--patience", "2", "--min-delta", "0.5"]
    _, run = train(settings_of(run_folder, *flags))
    assert run.state.epoch == 3
    assert "stopping early: 2 epochs without an improvement" in capsys.readouterr().out
    train(settings_of(run_folder, *flags, "--resume"))
    assert "is finished" in capsys.readouterr().out


def test_ema_is_the_average_it_says():
    rng = np.random.default_rng(0)
    model = Sequential(Linear(3, 2, rng=rng))
    flat = pack(model.parameters())
    ema = Ema(model, decay=0.9, every=2)
    average = flat.data.astype(np.float64)
    for step in range(1, 61):
        flat.data[...] = rng.normal(size=flat.data.shape)
        ema.update()
        if step % 2 == 0:
            t = step // 2
            average += (1 - min(0.9**2, (1 + t) / (10 + t))) * (flat.data - average)
    own = flat.data.copy()
    with ema.worn():
        np.testing.assert_allclose(flat.data, average, rtol=1e-5)
        with ema.worn(False):
            np.testing.assert_array_equal(flat.data, own)
        np.testing.assert_allclose(flat.data, average, rtol=1e-5)
    np.testing.assert_array_equal(flat.data, own)


def test_the_averaged_weights_are_validated_and_published(run_folder):
    model, run = train(settings_of(run_folder, "--ema-decay", "0.9", "--epochs", "2", "--monitor", "loss"))
    assert run.best["epoch"] == 2
    own = model.state_dict()
    with run.averaged():
        averaged = model.state_dict()
    published = weights(run_folder)
    assert all(published[name].tobytes() == averaged[name].tobytes() for name in published)
    assert any(not np.array_equal(own[name], averaged[name]) for name in own)
    assert any("running_mean" in name and not np.array_equal(own[name], averaged[name]) for name in own)


def test_figures_without_the_averaged_weights_are_a_mistake(run_folder, monkeypatch):
    from contextlib import nullcontext

    monkeypatch.setattr(Run, "averaged", lambda self: nullcontext())
    with pytest.raises(RuntimeError, match="averaged"):
        train(settings_of(run_folder, "--ema-decay", "0.9"))


@pytest.mark.parametrize("sizes", [[8], [4, 4], [2, 2, 2, 2], [5, 3], [1, 4, 3]])
def test_the_gradient_of_parts_is_that_of_the_whole(sizes):
    rng = np.random.default_rng(1)
    x, dy = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))
    layer = Linear(3, 2, rng=rng, dtype=np.float64)
    flat = pack(layer.parameters())
    parts = BatchParts(flat)
    start = 0
    for size in sizes:
        rows = slice(start, start + size)
        parts.begin(size)
        layer.forward(x[rows], train=True)
        layer.backward(dy[rows] / size)  # a mean over the part, as the losses give
        parts.count()
        start += size
    assert parts.finish() == 8
    np.testing.assert_allclose(layer.weight.grad, x.T @ dy / 8, rtol=1e-12)
    np.testing.assert_allclose(layer.bias.grad, dy.mean(axis=0), rtol=1e-12)


def test_accumulation_equals_the_large_batch(tmp_path):
    """110 samples in batches of 32 leave parts of 8, 8 and 6 at the end."""
    same = ["--batch-size", "32", "--no-norm", "--augment", "none", "--dropout", "0", "--optimizer", "sgd"]
    train(settings_of(tmp_path / "whole", *same))
    _, run = train(settings_of(tmp_path / "parts", *same, "--accumulate", "4"))
    assert run.state.step == 16
    whole, parts = weights(tmp_path / "whole", "last"), weights(tmp_path / "parts", "last")
    for name in whole:
        np.testing.assert_allclose(parts[name], whole[name], rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("augment", [None, toy_run.AddNoise(), toy_run.add_noise])
def test_what_is_fed_does_not_depend_on_the_workers(augment):
    """Nor on what was read before."""
    x, labels = toy_run.data()
    found = []
    for threads in (1, 3):
        set_threads(threads)
        stream = Stream(4)
        feed = Feed([x, labels], stream, "cpu", augment=augment)
        for batch in (0, 1)[threads == 3 :]:
            stream.seek(2, batch)
            inputs, of_inputs = feed.read(np.arange(20, 51))
        found.append(inputs.copy())
        np.testing.assert_array_equal(of_inputs, labels[20:51])
    np.testing.assert_array_equal(found[0], found[1])
    assert inputs.dtype == np.float32
    assert (augment is None) == np.array_equal(inputs, x[20:51])
    set_threads(1)


@pytest.mark.parametrize("kind", [np.array, list, tuple, np.uint8])
def test_rows_are_samples_of_whatever_kind_of_integers(kind):
    feed = Feed(toy_run.data(), Stream(4), "cpu", rows=kind([3, 149, 7]), numbers=True)
    (_, labels, numbers), *others = feed.epoch(0, 5)
    assert (sorted(numbers), numbers.dtype, others) == ([3, 7, 149], np.int64, [])
    np.testing.assert_array_equal(labels, toy_run.data()[1][numbers])


class Ordered:
    """Rows that come in an order of their own."""

    def __init__(self, rows):
        self.rows = np.array(rows)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, order):
        return np.sort(self.rows[order])


def test_rows_may_come_in_an_order_of_their_own():
    feed = Feed(toy_run.data(), Stream(4), "cpu", rows=Ordered([9, 2, 5, 1]), numbers=True)
    assert [numbers.tolist() for *_, numbers in feed.epoch(0, 3)] == [[1, 2, 5], [9]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.arange(150) < 100, r"Feed expected integers \(n,\), got bool \(150,\); of a mask, give np.flatnonzero"),
        ([1.0, 2.0], "Feed expected integers .* got float64"),
        ([[1], [2]], r"Feed expected integers \(n,\), got int64 \(2, 1\)"),
        ([0, 150], "Feed expected indices from 0 to 149, got 0 to 150"),
        ([-1, 3], "Feed expected indices from 0 to 149, got -1 to 3"),
        (Ordered([0, 150]), "Feed expected indices from 0 to 149, got 0 to 150"),
    ],
)
def test_rows_that_are_no_samples_are_refused(rows, message):
    with pytest.raises(IndexError, match=message):
        Feed(toy_run.data(), Stream(4), "cpu", rows=rows)


# -- the guard --------------------------------------------------------------------------------------------------


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


# -- weights of all kinds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["best", "last"])
def test_weights_load_from_either_kind_of_checkpoint(run_folder, name):
    model, _ = train(settings_of(run_folder, "--epochs", "1"))
    other, _ = toy_run.build(settings_of(run_folder, "--seed", "9"))
    load_weights(other, run_folder / f"{name}.safetensors")
    wanted = model.state_dict()
    assert all(np.array_equal(array, wanted[key]) for key, array in other.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("0.bias"), "missing"),
        (lambda state: state.update(extra=np.zeros(2, np.float32)), "unknown"),
        (lambda state: state.update({"0.bias": np.zeros(7, np.float32)}), "expected shape"),
        (lambda state: state.update({"0.bias": np.zeros(20, np.int64)}), "0.bias expected float32, got int64"),
        (lambda state: state.update({"0.bias": np.full(20, np.nan, np.float32)}), "0.bias that are not finite"),
    ],
)
def test_weights_that_do_not_fit_are_one_line(tmp_path, change, message):
    model, _ = toy_run.build(settings_of(tmp_path))
    before = model.state_dict()
    state = model.state_dict()
    change(state)
    save_checkpoint(tmp_path / "odd.safetensors", state, {"kind": "weights"})
    with pytest.raises(UserError, match=message) as caught:
        load_weights(model, tmp_path / "odd.safetensors")
    assert "odd.safetensors" in str(caught.value)
    assert all(np.array_equal(array, before[key]) for key, array in model.state_dict().items())


# -- misuse, and what is optional -------------------------------------------------------------------------------


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


def test_tensorboard_events(run_folder):
    pytest.importorskip("tensorboardX")
    train(settings_of(run_folder, "--epochs", "2", "--tensorboard"))
    (events,) = (run_folder / "tensorboard").glob("events.*")
    assert b"validation/accuracy" in events.read_bytes()


def test_tensorboard_without_its_package_is_one_line(run_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(UserError, match=r'pip install -e "\.\[tensorboard\]"'):
        train(settings_of(run_folder, "--tensorboard"))


def test_plot_without_a_display_is_a_note(run_folder, monkeypatch, capsys):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    train(settings_of(run_folder, "--plot", "--epochs", "1"))
    assert "--plot: there is no display; the curves are saved as a picture all the same" in capsys.readouterr().out


def test_a_window_that_does_not_open_is_a_note(run_folder, monkeypatch, capsys, quick):
    monkeypatch.setattr(Outputs, "draw", quick)
    monkeypatch.setattr("core.report.window.why_no_window", lambda: "")
    monkeypatch.setenv("MPLBACKEND", "agg")
    train(settings_of(run_folder, "--plot", "--epochs", "1"))
    assert "no window: matplotlib found no toolkit that works here" in capsys.readouterr().err
    assert (run_folder / "curves.png").exists()


def test_the_bar_is_for_terminals_only(monkeypatch, capsys):
    for is_terminal in (False, True):
        monkeypatch.setattr(sys.stderr, "isatty", lambda answer=is_terminal: answer, raising=False)
        progress = Progress(epochs=3)
        progress.begin(epoch=1, steps=4, done=2)
        progress.advance()
        progress.say("a line")
        captured = capsys.readouterr()
        assert captured.out == "a line\n"
        assert ("epoch 2/3" in captured.err) == is_terminal
