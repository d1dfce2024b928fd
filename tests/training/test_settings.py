"""Settings: every wrong value is one line that names its flag, and the builders build what is named."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys

import numpy as np
import pytest
import toy_run

from core.cli import parse
from core.errors import UserError
from core.layers import Linear, Sequential
from core.optim import SGD, Adam, AdamW, AMSGrad
from core.training.settings import TrainingSettings, make_optimizer, make_schedule, steps_per_epoch


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--epochs 0", "--epochs must be at least 1, got 0"),
        ("--batch-size -3", "--batch-size must be at least 1, got -3"),
        ("--lr 0", "--lr must be above 0, got 0"),
        ("--lr nan", "--lr must be above 0, got nan"),
        ("--lr inf", "--lr must be above 0, got inf"),
        ("--weight-decay -1", "--weight-decay must be at least 0, got -1"),
        ("--momentum 1", "--momentum must be at least 0 and below 1, got 1"),
        ("--label-smoothing 1.5", "--label-smoothing must be at least 0 and below 1"),
        ("--decay-factor 1", "--decay-factor must be at least 0 and below 1, got 1"),
        ("--clip-norm -1", "--clip-norm must be at least 0"),
        ("--patience -1", "--patience must be at least 0"),
        ("--seed -1", "--seed must be at least 0"),
        ("--threads -2", "--threads must be at least 0"),
        ("--threads 100000", "--threads must be at most 1024"),
        ("--checkpoint-seconds -1", "--checkpoint-seconds must be at least 0"),
        ("--batch-size 10 --accumulate 3", "--batch-size 10 cannot be cut into --accumulate 3 parts"),
        ("--nesterov --momentum 0", "--nesterov needs a --momentum above 0"),
        ("--min-lr 1", "--min-lr 1 is larger than --lr 0.001"),
        ("--warm-up 20", "--warm-up must be shorter than --epochs 20, got 20"),
        ("--name ../up", "--name must be a folder name"),
        ("--name .hidden", "--name must be a folder name"),
        ("--name a//b", "--name must be a folder name"),
        (f"--name {'a' * 101}", "--name must be a folder name of up to 100 letters"),
        ("--optimizer adagrad", "invalid choice 'adagrad'"),
        ("--device tpu", "invalid choice 'tpu'"),
        ("--epochs many", "Error parsing --epochs"),
        ("--colour red", "Unrecognized options: --colour"),
    ],
)
def test_a_wrong_value_is_one_line_with_its_flag(flags, message):
    with pytest.raises(UserError) as caught:
        parse(TrainingSettings, flags.split())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_process_ends_with_code_2_and_leaves_nothing(tmp_path):
    command = [sys.executable, toy_run.__file__, "--folder", str(tmp_path / "run"), "--epochs", "0"]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 2
    assert process.stderr == "error: --epochs must be at least 1, got 0\n"
    assert not (tmp_path / "run").exists()


def test_every_setting_has_a_help_line(capsys):
    with pytest.raises(SystemExit):
        parse(toy_run.ToySettings, ["--help"])
    text = capsys.readouterr().out
    for field in dataclasses.fields(toy_run.ToySettings):
        flag = "--" + field.name.replace("_", "-")
        assert flag in text
    source = inspect.getsource(TrainingSettings)
    for field in dataclasses.fields(TrainingSettings):
        after = source.split(f"\n    {field.name}: ", 1)[1].splitlines()[1]
        assert after.strip().startswith('"""'), field.name


@pytest.mark.parametrize(("name", "kind"), [("sgd", SGD), ("adam", Adam), ("amsgrad", AMSGrad), ("adamw", AdamW)])
def test_the_optimizer_is_the_one_that_is_named(name, kind):
    model = Sequential(Linear(2, 2, rng=np.random.default_rng(0)))
    optimizer = make_optimizer(TrainingSettings(optimizer=name, weight_decay=0.1, momentum=0.5), model)
    assert type(optimizer) is kind
    assert optimizer.weight_decay == 0.1
    assert getattr(optimizer, "momentum", 0.5) == 0.5


def test_a_name_that_is_none_is_refused_also_where_no_command_line_was_read():
    with pytest.raises(UserError, match=r"--schedule must be one of constant, step, .*, got 'cosin'"):
        TrainingSettings(schedule="cosin")
    settings = TrainingSettings()
    settings.optimizer, settings.schedule = "adm", "cosin"
    with pytest.raises(ValueError, match="expected sgd, adam, adamw, amsgrad, got 'adm'"):
        make_optimizer(settings, Sequential(Linear(2, 2, rng=np.random.default_rng(0))))
    with pytest.raises(ValueError, match="expected the name of a schedule, got 'cosin'"):
        make_schedule(settings, SAMPLES)


SAMPLES, STEPS = 1000, 8 * 10  # 8 steps an epoch at batch size 128


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {0: 0.001, STEPS - 1: 0.001}),
        ({"schedule": "step", "decay_every": 4}, {31: 1e-3, 32: 1e-4, 63: 1e-4, 64: 1e-5}),
        ({"schedule": "linear", "warm_up": 2.0}, {0: 1e-3 / 16, 15: 1e-3, 16: 1e-3, (STEPS + 16) // 2: 5e-4}),
        ({"schedule": "cosine", "warm_up": 2.0, "min_lr": 1e-5}, {0: 1e-3 / 16, 15: 1e-3, STEPS - 1: 1e-5}),
        ({"schedule": "one_cycle"}, {0: 4e-5, STEPS - 1: 4e-9}),
        ({"schedule": "plateau"}, {0: 1e-3, STEPS: 1e-3}),
    ],
)
def test_the_schedule_is_the_one_that_is_named(settings, expected):
    schedule = make_schedule(TrainingSettings(epochs=10, **settings), SAMPLES)
    for step, lr in expected.items():
        assert schedule(step) == pytest.approx(lr)


def test_reductions_less_than_a_batch_apart_are_a_mistake():
    with pytest.raises(UserError, match="--decay-every 1e-09 is shorter than a batch: 1 / 8 of an epoch"):
        make_schedule(TrainingSettings(schedule="step", decay_every=1e-9), SAMPLES)


def test_the_plateau_reacts_to_the_loss():
    schedule = make_schedule(TrainingSettings(schedule="plateau", decay_patience=1, min_lr=5e-4), SAMPLES)
    for loss in (1.0, 1.0, 1.0):
        schedule.observe(loss)
    assert schedule(0) == pytest.approx(5e-4)


@pytest.mark.parametrize("name", ["constant", "step", "linear", "cosine", "one_cycle", "plateau"])
def test_a_single_step_of_training_has_a_schedule(name):
    schedule = make_schedule(TrainingSettings(schedule=name, epochs=1, warm_up=0.9), samples=5)
    assert schedule(0) > 0


def test_steps_per_epoch_counts_the_smaller_last_batch():
    assert [steps_per_epoch(samples, 4) for samples in (1, 4, 5)] == [1, 1, 2]
