"""The benchmark compares what is equal, in turns, and says how quiet the machine was. No test asserts a time."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.layers import Sequences
from core.random import Stream
from scripts import bench_timing, benchmark
from scripts.bench_timing import Round, Turn


def test_contenders_take_turns(monkeypatch):
    monkeypatch.setattr(bench_timing, "_warm_up", lambda action: 1)
    calls: list[str] = []
    result = bench_timing.compare({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 4, seconds=60)
    assert calls == ["a", "a", "b", "b"] * 4  # one call to warm the caches, one that is timed
    assert result.rounds == 4
    assert set(result.timings) == {"a", "b"}


def test_a_time_limit_still_leaves_three_rounds():
    assert bench_timing.compare({"a": lambda: None}, rounds=1000, seconds=0).rounds == 3


def rounds(others: list[float | None]) -> list[Round]:
    """Rounds in which the only contender needs one second more each time."""
    return [Round({"a": Turn(float(number), 1.0)}, share) for number, share in enumerate(others)]


@pytest.mark.parametrize(
    ("others", "median", "quiet"),
    [
        ([0.0, 0.0, 0.0, 0.9, 0.9], 1e3, 3),  # over the three quiet ones
        ([0.9, 0.9, 0.9, 0.9, 0.0], 2e3, 1),  # too few were quiet: over all
        ([None] * 5, 2e3, 5),  # a system that hides it
    ],
)
def test_the_median_is_over_the_quiet_rounds_where_they_suffice(others, median, quiet, monkeypatch):
    prepared = iter(rounds(others))
    monkeypatch.setattr(bench_timing, "_round", lambda contenders, repeats: next(prepared))
    result = bench_timing.compare({"a": lambda: None}, rounds=len(others), seconds=60)
    assert result.timings["a"].median == median
    assert result.quiet == quiet


def test_contenders_that_disagree_are_not_timed():
    benchmark._check_agreement({"ours": lambda: 1.0, "theirs": lambda: 1.0 + 1e-5}, calls=2)
    with pytest.raises(AssertionError, match="theirs against ours"):
        benchmark._check_agreement({"ours": lambda: 1.0, "theirs": lambda: 1.1}, calls=2)


def test_a_disturbed_measurement_is_not_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "RESULTS", tmp_path)
    quiet, disturbed = {"medians_over_quiet_rounds": True}, {"medians_over_quiet_rounds": False}
    benchmark.save("net", {"measurements": [quiet, disturbed]})
    assert not list(tmp_path.iterdir())
    assert "not written" in capsys.readouterr().out
    benchmark.save("net", {"measurements": [quiet, quiet]})
    assert [path.name for path in tmp_path.iterdir()] == ["net.json"]


def test_the_same_networks_are_compared():
    pytest.importorskip("torch")
    from scripts import bench_models

    for case in bench_models.CASES:
        if case.batch is bench_models.drawings:
            case = replace(case, batch=ragged)
        training = case.training(4, bench_models.LEARNING_RATE)
        assert len(training) >= 3  # ours, and PyTorch's default and fused optimizers
        assert len(case.agreeing(training)) >= 2
        if not case.random:
            benchmark._check_agreement(case.agreeing(training), calls=2)
        benchmark._check_agreement(case.agreeing(case.inference(4)), calls=1)
        first, *_, last = (float(training[bench_models.OURS]()) for _ in range(6))
        assert np.isfinite(last)
        assert last < first  # it trains


def ragged(rows):
    """A batch of short sequences of different lengths, in place of drawings."""
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, 7, rows)
    return Sequences.pack(rng.standard_normal((lengths.sum(), 3), dtype=np.float32), lengths), rng.integers(0, 20, rows)


def test_what_reads_padding_need_not_agree():
    pytest.importorskip("torch")
    from scripts import bench_models

    case = replace({case.name: case for case in bench_models.CASES}["rnn_doodles_ragged"], batch=ragged)
    assert list(case.agreeing(case.training(4))) == [bench_models.OURS, "PyTorch, packed"]
    assert len(case.training(4)) == 3


def test_many_rows_are_answered_in_parts():
    pytest.importorskip("torch")
    from scripts import bench_models, bench_torch

    actions = bench_models.MLP_MNIST.inference(bench_torch.AT_ONCE + 5)
    benchmark._check_agreement(actions, calls=1)
    assert len(actions["PyTorch"]()) == bench_torch.AT_ONCE + 5


def test_memory_of_a_step():
    pytest.importorskip("torch")
    if not Path("/proc/self/status").exists():
        pytest.skip("reads /proc/self/status, which only Linux has")
    from scripts import bench_memory, bench_models

    network = bench_models.MLP_MNIST.build(Stream(0))
    x = np.zeros((2, 28, 28), np.float32)
    assert bench_memory.sum_of_outputs(network, x) == 4 * 2 * (784 + 2 * 256 + 2 * 128 + 10)  # flat, and with each ReLU

    def measure(contender):
        command = [sys.executable, bench_memory.__file__, "mlp_mnist", "--contender", contender]
        return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)

    ours = measure("ours")
    weights = 4 * 235_146 / 1e6
    assert 3 * weights < ours["beyond"] < ours["growth"] < 100  # the gradient and Adam's two averages at least
    wrong = subprocess.run([sys.executable, bench_memory.__file__, "nothing"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "no network is called nothing" in wrong.stderr
