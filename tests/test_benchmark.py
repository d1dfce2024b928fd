"""The benchmark compares what is equal, in turns, and says how quiet the machine was. No test asserts a time."""

from __future__ import annotations

import contextlib
import errno
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from core import files
from core.data.augment import Affine, Compose, Cutout, Elastic, RandomCrop
from core.data.normalize import Normalize
from core.errors import UserError
from core.layers import GRU, Conv2d, Linear, Sequences
from core.random import Stream
from scripts import bench_start, benchmark
from scripts.bench import timing
from scripts.bench.table import table
from scripts.bench.timing import Round, Turn
from scripts.environment import ROOT, SetupError


def test_contenders_take_turns(monkeypatch):
    monkeypatch.setattr(timing, "_warm_up", lambda action: 1)
    calls: list[str] = []
    result = timing.compare({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 4, seconds=60)
    assert calls == ["a", "a", "b", "b"] * 4  # one call to warm the caches, one that is timed
    assert result.rounds == 4
    assert set(result.timings) == {"a", "b"}


def test_a_time_limit_still_leaves_three_rounds():
    assert timing.compare({"a": lambda: None}, rounds=1000, seconds=0).rounds == 3


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
    monkeypatch.setattr(timing, "_round", lambda contenders, repeats: next(prepared))
    result = timing.compare({"a": lambda: None}, rounds=len(others), seconds=60)
    assert result.timings["a"].median == median
    assert result.quiet == quiet


def test_contenders_that_disagree_are_not_timed():
    benchmark._check_agreement({"ours": lambda: 1.0, "theirs": lambda: 1.0 + 1e-5}, calls=2)
    with pytest.raises(AssertionError, match="theirs against ours"):
        benchmark._check_agreement({"ours": lambda: 1.0, "theirs": lambda: 1.1}, calls=2)


@pytest.mark.parametrize(("threads", "is_shared"), [(1, False), (None, False), (2, True)])
def test_a_blas_that_is_pytorchs_too_is_refused(threads, is_shared, monkeypatch):
    openmp = {"user_api": "openmp", "internal_api": "openmp", "num_threads": 2}
    ours = {"user_api": "blas", "internal_api": "mkl", "num_threads": threads}
    monkeypatch.setattr("threadpoolctl.threadpool_info", lambda: [openmp, ours])
    with pytest.raises(SetupError, match="mkl") if is_shared else contextlib.nullcontext():
        benchmark._expect_two_blas()


def test_a_disturbed_measurement_is_not_written(tmp_path, capsys):
    quiet, disturbed = ({"pass": "training step", "medians_over_quiet_rounds": is_quiet} for is_quiet in (True, False))
    loading = disturbed | {"pass": "making 16 batches (no distortion)"}
    benchmark.save(tmp_path / "net.json", {"measurements": [quiet, disturbed]})
    assert not list(tmp_path.iterdir())
    assert "not written" in capsys.readouterr().out
    benchmark.save(tmp_path / "net.json", {"measurements": [quiet, loading]})
    assert [path.name for path in tmp_path.iterdir()] == ["net.json"]


def test_a_result_file_keeps_the_passes_that_are_not_measured_again(tmp_path):
    path = tmp_path / "net.json"
    benchmark._expect_no_loss(path, {"training"})
    path.write_text(json.dumps({"measurements": [{"pass": "training step"}, {"pass": "making 16 batches"}]}))
    benchmark._expect_no_loss(path, {"training", "making"})
    with pytest.raises(SetupError, match="also holds making 16 batches, which would be lost"):
        benchmark._expect_no_loss(path, {"training"})
    path.write_text("[]")
    with pytest.raises(SetupError, match="no result file"):
        benchmark._expect_no_loss(path, {"training"})


@pytest.mark.parametrize("text", ["{", '{"measurements": [{"speedups": {}}]}', '{"measurements": 3}'])
def test_a_damaged_result_file_is_one_line(tmp_path, text):
    (tmp_path / "net.json").write_text(text)
    with pytest.raises(SetupError, match=r"net\.json is no result file"):
        table(tmp_path)


def test_without_prepared_data_the_other_passes_stay(monkeypatch, capsys):
    @contextlib.contextmanager
    def contenders(_: object):
        raise UserError("no prepared data")
        yield

    data = SimpleNamespace(LOADINGS={"net": None}, contenders=contenders)
    assert list(benchmark._passes(SimpleNamespace(name="net"), {"loading"}, data, 0.1)) == []
    assert "making of batches left out: no prepared data" in capsys.readouterr().out


def test_a_result_that_cannot_be_written_leaves_the_earlier_one(tmp_path, monkeypatch):
    path = tmp_path / "net.json"
    benchmark.save(path, {"measurements": []})

    def full_disk(_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "flush_to_disk", full_disk)
    with pytest.raises(OSError, match="No space left"):
        benchmark.save(path, {"measurements": [], "more": 1})
    assert json.loads(path.read_text()) == {"measurements": []}
    assert [other.name for other in tmp_path.iterdir()] == ["net.json"]


def test_the_same_networks_are_compared():
    pytest.importorskip("torch")
    from scripts.bench.case import LEARNING_RATE, OURS
    from scripts.bench.models import CASES, drawings

    for case in CASES:
        if case.batch is drawings:
            case = replace(case, batch=ragged)
        training = case.training(4, LEARNING_RATE)
        assert len(training) >= 3  # ours, and PyTorch's default and fused optimizers
        assert len(case.agreeing(training)) >= 2
        if not case.random:
            benchmark._check_agreement(case.agreeing(training), calls=2)
        benchmark._check_agreement(case.agreeing(case.inference(4)), calls=1)
        first, *_, last = (float(training[OURS]()) for _ in range(6))
        assert np.isfinite(last)
        assert last < first  # it trains


def ragged(rows):
    """A batch of short sequences of different lengths, in place of drawings."""
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, 7, rows)
    return Sequences.pack(rng.standard_normal((lengths.sum(), 3), dtype=np.float32), lengths), rng.integers(0, 20, rows)


def test_what_reads_padding_need_not_agree():
    pytest.importorskip("torch")
    from scripts.bench.case import OURS
    from scripts.bench.models import CASES

    case = replace({case.name: case for case in CASES}["rnn_doodles_ragged"], batch=ragged)
    assert list(case.agreeing(case.training(4))) == [OURS, "PyTorch, packed"]
    assert len(case.training(4)) == 3


def test_many_rows_are_answered_in_parts():
    pytest.importorskip("torch")
    from scripts.bench.models import MLP_MNIST
    from scripts.bench.torch_rivals import AT_ONCE

    actions = MLP_MNIST.inference(AT_ONCE + 5)
    benchmark._check_agreement(actions, calls=1)
    assert len(actions["PyTorch"]()) == AT_ONCE + 5


def test_memory_of_a_step():
    pytest.importorskip("torch")
    if not Path("/proc/self/status").exists():
        pytest.skip("reads /proc/self/status, which only Linux has")
    from scripts import bench_memory
    from scripts.bench.models import MLP_MNIST

    network = MLP_MNIST.build(Stream(0))
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


def test_the_table_tells_eager_from_prepared_and_finds_the_fastest_forms(tmp_path):
    medians = {"ours": 2.0, "ours, frozen": 1.5, "PyTorch": 4.0, "PyTorch, channels last": 3.0, "PyTorch, frozen": 2.4}
    row = {
        "pass": "inference",
        "batch": 1,
        "speedups": {name: median / 2 for name, median in medians.items() if name.startswith("PyTorch")},
        "milliseconds": {name: {"median": median} for name, median in medians.items()},
        "medians_over_quiet_rounds": True,
    }
    about = {"date": "2026-11-21", "commit": "abc", "measurements": [row]}
    (tmp_path / "mlp_mnist.json").write_text(json.dumps(about))
    line = table(tmp_path).splitlines()[-1]
    assert line == (
        "| mlp_mnist | inference | 1 | 2 | 1.50 (channels last) | 1.60 (ours, frozen : frozen) | 2, 5 "
        "| 2026-11-21 abc |"
    )


def test_a_profile_accounts_for_the_whole_step(capsys):
    pytest.importorskip("torch")
    from scripts.bench import profile
    from scripts.bench.models import MLP_MNIST

    case = replace(MLP_MNIST, training_batch=256)
    profile.print_profile(case, profile.Ceilings(flops=1e12, bytes=1e10))
    lines = capsys.readouterr().out.splitlines()
    shares = [float(cell[:-1]) for line in lines[3:] for cell in line.split() if cell.endswith("%")]
    assert any(" forward " in line and " 0.10 " in line for line in lines)  # 2 * 256 * 784 * 256 operations
    assert sum(shares) >= 100


def test_operations_of_a_layer():
    pytest.importorskip("torch")
    from scripts.bench import profile

    rng = np.random.default_rng(0)
    assert profile.flops_of(Linear(3, 5, rng=rng), np.zeros((7, 3))) == 2 * 7 * 3 * 5
    conv = Conv2d(4, 8, 3, rng=rng, padding=1, groups=2)
    assert profile.flops_of(conv, np.zeros((2, 6, 6, 4))) == 2 * 2 * 36 * 9 * 2 * 8
    gru = GRU(3, 5, rng=rng, bidirectional=True)
    assert profile.flops_of(gru, np.zeros((2, 4, 3))) == 2 * 8 * 2 * 3 * (3 * 5 + 5 * 5)
    assert profile.flops_on_input(gru, np.zeros((2, 4, 3))) == 2 * 8 * 2 * 3 * 3 * 5


def test_exponents_of_growth(capsys, monkeypatch):
    pytest.importorskip("torch")
    from scripts.bench import scaling

    assert scaling.exponent([1, 2, 4], [3, 12, 48]) == pytest.approx(2)
    monkeypatch.setattr(scaling, "SHORTEST", 0)
    families = scaling.FAMILIES
    small = [replace(one, batches=(1, 2, 3), widths=(8, 16), lengths=one.lengths[:1]) for one in families]
    scaling.print_scaling(small)
    assert capsys.readouterr().out.count("exponent") == 2 * len(small)


def test_everybody_makes_the_same_batches():
    """Draws differ, but the distortions have the same strength: batches agree in their statistics."""
    torch = pytest.importorskip("torch")
    from scripts.bench.torch_data import TorchBatches

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    images = np.zeros((400, 28, 28, 1), np.uint8)
    images[:, 8:20, 10:18] = rng.integers(100, 255, (400, 12, 8, 1))
    transforms = [Affine(rotate=20, scale=0.2, shear=10, shift=2), Elastic(alpha=30, sigma=4), Cutout(6), RandomCrop(2)]
    normalize = Normalize([0.1], [0.3])
    theirs, _ = TorchBatches(images, np.zeros(400), transforms, normalize)[np.arange(400)]
    ours = normalize(Compose(transforms)((images / np.float32(255)).astype(np.float32), rng))
    assert theirs.shape == (400, 1, 28, 28)
    mean, spread = ours[..., 0].mean(axis=0), ours[..., 0].std(axis=0)
    np.testing.assert_allclose(theirs[:, 0].mean(axis=0), mean, atol=0.2)
    np.testing.assert_allclose(theirs[:, 0].std(axis=0), spread, atol=0.3)


def test_a_thousand_steps_end_in_the_same_bits(monkeypatch):
    pytest.importorskip("torch")
    if not Path("/proc/self/status").exists():
        pytest.skip("reads /proc/self/status, which only Linux has")
    from scripts import bench_steady
    from scripts.bench.models import CASES

    monkeypatch.setattr("scripts.bench.case.TIMED_LEARNING_RATE", 1e-2)
    cases = {case.name: case for case in CASES}
    for name in ("music_cuda", "mlp_mnist_default"):  # the second one draws, and shares its work
        case = replace(cases[name], training_batch=160)
        first, again, longer = (bench_steady.run(case, steps, threads=2)["weights"] for steps in (6, 6, 7))
        assert first == again
        assert first != longer


def test_start_of_an_unknown_project():
    command = [sys.executable, str(ROOT / "scripts" / "bench_start.py"), "nothing"]
    wrong = subprocess.run(command, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "no project is called nothing" in wrong.stderr


def test_starts_of_which_none_made_a_step(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bench_start.py", "emnist", "--times", "2"])
    monkeypatch.setattr(bench_start, "until_first_step", lambda name: None)
    with pytest.raises(SetupError, match="nothing was measured"):
        bench_start.main()
