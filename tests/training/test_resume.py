"""A training that is killed, again and again, ends with the same bits as one that was left alone."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import toy_run

from core.errors import UserError
from core.losses import softmax_cross_entropy
from core.training.checkpoint import load_checkpoint, save_checkpoint
from core.training.record import RunRecord
from core.training.settings import TrainingSettings

# What could go wrong on the way: averaged weights, a learning rate with a memory, parts of batches, early stopping.
HARD = ["--ema-decay=0.9", "--schedule=plateau", "--decay-patience=0", "--accumulate=2", "--patience=4"]
HARD += ["--clip-norm=1", "--optimizer=sgd", "--augment=batch", "--monitor=loss"]


# Runs in processes of their own still draw and wait for the disk.
pytestmark = pytest.mark.usefixtures("quick")


def start(folder, *flags, **environment):
    """The toy training as a process of its own."""
    command = [sys.executable, toy_run.__file__, "--folder", str(folder), *flags]
    environment = {name: str(value) for name, value in environment.items()}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
    )


def finish(process):
    """(exit code, output, errors) at the end of the process."""
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


def unbroken(folder, *flags):
    toy_run.train(toy_run.settings_of(folder, *flags))
    return folder


def without_seconds(folder):
    with (folder / "history.csv").open() as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def assert_same_run(folder, other):
    """Equal histories, and equal bits in every array of every final checkpoint."""
    assert without_seconds(folder) == without_seconds(other)
    for name in ("last", "best"):
        (a, a_meta), (b, b_meta) = (load_checkpoint(path / f"{name}.safetensors") for path in (folder, other))
        assert a.keys() == b.keys()
        for key in a:
            assert a[key].tobytes() == b[key].tobytes(), key
        for key in ("position", "stopping", "tally", "finished"):
            assert a_meta.get(key) == b_meta.get(key)


def test_killed_at_random_moments(tmp_path):
    flags = [*HARD, "--threads=2"]
    expected = unbroken(tmp_path / "unbroken", *flags)
    folder = tmp_path / "run"
    rng = np.random.default_rng(7)
    killed = 0
    for kill in [True] * 6 + [False]:
        process = start(folder, "--resume", "--checkpoint-seconds", "0", *flags, TOY_PAUSE=0.01 if kill else 0)
        process.stdout.readline()
        if kill:
            time.sleep(rng.uniform(0.0, 0.25))
            process.kill()
        code, _, errors = finish(process)
        assert code == (-signal.SIGKILL if kill else 0) or code == 0, errors
        killed += code != 0
    assert killed >= 3
    assert_same_run(folder, expected)


def test_killed_at_writes(tmp_path):
    """Dies just before the disk is touched for the n-th time: in the middle of saves, links and renames."""
    expected = unbroken(tmp_path / "unbroken")
    folder = tmp_path / "run"
    killed = 0
    for die_at in (1, 3, 6, 8, 11, 13, 16, 0):
        code, _, errors = finish(start(folder, "--resume", TOY_DIE_AT_WRITE=die_at))
        assert code in (0, -signal.SIGKILL), errors
        killed += code != 0
    assert code == 0
    assert killed >= 5
    assert_same_run(folder, expected)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_the_run_goes_on(tmp_path, number, code):
    expected = unbroken(tmp_path / "unbroken")
    process = start(tmp_path / "run", TOY_PAUSE=0.03)
    assert [process.stdout.readline() for _ in range(2)] == ["ready\n", "NOTICE: MADE-UP data\n"]
    assert process.stdout.readline().startswith("epoch 1/4")
    process.send_signal(number)
    found, output, errors = finish(process)
    assert found == code
    assert "stopped after 1 epochs and" in output
    assert "Traceback" not in errors
    _, state = load_checkpoint(tmp_path / "run" / "last.safetensors")
    epoch, batch, step = state["position"]
    assert (epoch, step) == (1, 7 + batch)
    assert (tmp_path / "run" / "curves.png").exists()
    unbroken(tmp_path / "run", "--resume")
    assert_same_run(tmp_path / "run", expected)


def test_a_second_ctrl_c_stops_at_once(tmp_path):
    process = start(tmp_path / "run", TOY_PAUSE=20)
    assert process.stdout.readline() == "ready\n"
    wait_until(lambda: (tmp_path / "run" / "config.json").exists())
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert "stopping after this batch" in process.stderr.readline() + process.stderr.readline()
    process.send_signal(signal.SIGINT)
    code, _, errors = finish(process)
    assert code == 130
    assert "Traceback" not in errors
    assert not (tmp_path / "run" / "last.safetensors").exists()


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


class CrashError(Exception):
    """What `crashing` raises."""


@pytest.fixture
def crashing(monkeypatch):
    """A function that lets the n-th loss from now on crash."""

    def crash_at(number):
        calls = iter(range(1, 10_000))

        def loss(*arguments):
            if next(calls) == number:
                raise CrashError
            return softmax_cross_entropy(*arguments)

        monkeypatch.setattr(toy_run, "softmax_cross_entropy", loss)

    return crash_at


@pytest.mark.parametrize("flags", [[], HARD], ids=["plain", "hard"])
@pytest.mark.parametrize("often", ["0", "1000"])
def test_crash_at_every_moment_of_two_epochs(tmp_path, crashing, flags, often):
    """With checkpoints after every step, and with those at the end of an epoch only."""
    expected = unbroken(tmp_path / "unbroken", "--epochs", "2", *flags)
    for number in range(1, 17) if often == "0" else (1, 6, 7, 8, 9, 15, 16):
        folder = tmp_path / str(number)
        crashing(number)
        with pytest.raises(CrashError):
            unbroken(folder, "--epochs", "2", "--checkpoint-seconds", often, *flags)
        crashing(0)
        unbroken(folder, "--epochs", "2", "--checkpoint-seconds", often, "--resume", *flags)
        assert_same_run(folder, expected)


def crashed_run(folder, crashing, *flags):
    """A run that crashed in its third epoch, so that there are `best`, `last` and `previous`."""
    crashing(20)
    with pytest.raises(CrashError):
        unbroken(folder, *flags)
    crashing(0)


def lose(checkpoint, damage):
    if damage == "missing":
        checkpoint.unlink()
    else:
        checkpoint.write_bytes(checkpoint.read_bytes()[:-10])


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_damaged_last_checkpoint_falls_back_to_the_previous_one(tmp_path, crashing, capsys, damage):
    expected = unbroken(tmp_path / "unbroken")
    folder = tmp_path / "run"
    crashed_run(folder, crashing)
    lose(folder / "last.safetensors", damage)
    unbroken(folder, "--resume")
    assert "going on from the checkpoint before it" in capsys.readouterr().out
    assert_same_run(folder, expected)


def test_a_folder_in_the_place_of_the_last_checkpoint_is_one_line(tmp_path, crashing):
    folder = tmp_path / "run"
    crashed_run(folder, crashing)
    lose(folder / "last.safetensors", "missing")
    (folder / "last.safetensors").mkdir()
    with pytest.raises(UserError, match=r"cannot replace .*last\.safetensors: "):
        unbroken(folder, "--resume")


def test_two_damaged_checkpoints_are_one_line(tmp_path, crashing):
    folder = tmp_path / "run"
    crashed_run(folder, crashing)
    for name in ("last", "previous"):
        (folder / f"{name}.safetensors").write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"previous\.safetensors is not a checkpoint"):
        unbroken(folder, "--resume")


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_best_weights_that_are_lost_are_told_and_the_next_epoch_is_the_best(tmp_path, crashing, capsys, damage):
    folder = tmp_path / "run"
    crashed_run(folder, crashing)
    lose(folder / "best.safetensors", damage)
    epochs = load_checkpoint(folder / "last.safetensors")[1]["position"][0]
    assert epochs > 0
    unbroken(folder, "--resume")
    assert "note: the best weights so far are lost" in capsys.readouterr().out
    assert load_checkpoint(folder / "best.safetensors")[1]["metrics"]["epoch"] > epochs


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_finished_run_whose_best_weights_are_lost_is_one_line(tmp_path, damage):
    folder = unbroken(tmp_path / "run")
    lose(folder / "best.safetensors", damage)
    with pytest.raises(UserError, match=r"finished, but its best weights are lost: .*best\.safetensors") as caught:
        unbroken(folder, "--resume")
    assert "\n" not in str(caught.value)


def test_history_rows_after_the_checkpoint_are_dropped(tmp_path, crashing):
    expected = unbroken(tmp_path / "unbroken")
    folder = tmp_path / "run"
    crashed_run(folder, crashing)
    with (folder / "history.csv").open("a") as file:
        file.write("3,21,0.01,,,,,,\n4,28,")
    unbroken(folder, "--resume")
    assert_same_run(folder, expected)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--lr", "0.02"], r"--lr was 0\.01 and is 0\.02\."),
        (["--epochs", "9", "--seed", "3"], r"--epochs was 4 and is 9; --seed was 0 and is 3\."),
        (["--data-hash", "bb"], r"the data's files changed\."),
    ],
)
def test_other_settings_or_data_are_refused(tmp_path, crashing, flags, message):
    folder = tmp_path / "run"
    crashed_run(folder, crashing)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UserError, match=message) as caught:
        unbroken(folder, "--resume", *flags)
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_flag_that_the_run_did_not_know_was_off(tmp_path):
    """It goes on under a program that has learned something new since, unless that is asked for."""
    off, on = (RunRecord(TrainingSettings(nesterov=nesterov), "cpu", None) for nesterov in (False, True))
    saved = {"settings": {name: value for name, value in off.identity["settings"].items() if name != "nesterov"}}
    off.refuse_changes(tmp_path, saved | {"data": {}})
    with pytest.raises(UserError, match="--nesterov was unknown and is True"):
        on.refuse_changes(tmp_path, saved | {"data": {}})


def test_data_that_were_prepared_in_another_way_are_refused(tmp_path):
    """With as many samples and the same files, such as by another --seed of setup_data.py."""
    then, now = (
        RunRecord(TrainingSettings(), "cpu", {"arrays": {"train_x": {"sha256": sha}, "test_x": {"sha256": sha}}})
        for sha in ("a", "b")
    )
    then.refuse_changes(tmp_path, then.identity)
    with pytest.raises(UserError, match="the data was prepared in another way"):
        now.refuse_changes(tmp_path, then.identity)
    now.refuse_changes(tmp_path, then.identity | {"data": {}})  # a run of before does not tell


def test_another_number_of_threads_is_only_noted(tmp_path, crashing, capsys):
    folder = tmp_path / "run"
    crashed_run(folder, crashing)
    unbroken(folder, "--resume", "--threads", "2")
    assert "note: it was started on the cpu with 1 threads and goes on on the cpu with 2" in capsys.readouterr().out


def test_a_finished_run_says_so_and_stays_as_it_is(tmp_path):
    folder = unbroken(tmp_path / "run")
    before = (folder / "last.safetensors").read_bytes()
    code, output, _ = finish(start(folder, "--resume"))
    assert code == 0
    assert "is finished: there is nothing to resume" in output
    assert (folder / "last.safetensors").read_bytes() == before


def test_resume_without_a_run_starts_one(tmp_path, capsys):
    unbroken(tmp_path / "run", "--resume")
    assert "nothing to resume" in capsys.readouterr().out
    assert_same_run(tmp_path / "run", unbroken(tmp_path / "other"))


def test_resume_from_published_weights_is_one_line(tmp_path):
    folder = unbroken(tmp_path / "run")
    (folder / "best.safetensors").replace(folder / "last.safetensors")
    with pytest.raises(UserError, match="holds weights only"):
        unbroken(folder, "--resume")


def test_a_checkpoint_of_another_network_is_one_line(tmp_path, crashing, monkeypatch):
    from core.training.record import FREE_SETTINGS

    folder = tmp_path / "run"
    crashed_run(folder, crashing)
    monkeypatch.setattr("core.training.record.FREE_SETTINGS", FREE_SETTINGS | {"norm"})
    with pytest.raises(UserError, match=r"last\.safetensors does not fit this training: .*running_mean"):
        unbroken(folder, "--resume", "--no-norm")


@pytest.mark.parametrize(
    "change",
    [
        {"position": [1, 2]},
        {"position": [1, -2, 3]},
        {"position": [1.5, 0, 0]},
        {"position": None},
        {"finished": "no"},
        {"history": {"a": 1}},
        {"history": [{"epoch": "first"}]},
        {"best": []},
        {"stopping": 3},
        {"tally": {"sums": 3}},
        {"seconds": "long"},
        {"settings": []},
        {"data": "all"},
        {"kind": ["training state"]},
    ],
    ids=str,
)
def test_a_hostile_description_is_one_line(tmp_path, crashing, change):
    folder = tmp_path / "run"
    crashed_run(folder, crashing)
    tensors, metadata = load_checkpoint(folder / "last.safetensors")
    save_checkpoint(folder / "last.safetensors", tensors, metadata | change)
    with pytest.raises(UserError, match=r"run") as caught:
        unbroken(folder, "--resume")
    assert "\n" not in str(caught.value)
