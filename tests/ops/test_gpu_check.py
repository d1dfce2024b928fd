"""The script for a day with a GPU: it says so when there is none, and its logic holds on the emulated one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core import backend
from core.kernels import shim
from core.kernels.emulated import emulated_gpu
from core.layers import ReLU
from core.ops import gpu, proofs
from scripts import gpu_check
from scripts.gpu import measure

SCRIPT = Path(gpu_check.__file__)
SMALL = measure.Sizes(elements=2048, columns=32, matrices=(70,), batch=4)

needs_compiler = pytest.mark.skipif(shim.compiler() is None, reason="kernels run on the CPU only with g++ or clang++")


@pytest.mark.skipif(backend.has_gpu(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_line(tmp_path):
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: CuPy")


@pytest.fixture
def few_cases(monkeypatch):
    kept = {name: proofs.CASES[name] for name in ("relu", "adam", "gru")}
    monkeypatch.setattr(proofs, "CASES", kept)
    monkeypatch.setattr(gpu_check, "find_sanitizer", lambda: None)


@needs_compiler
def test_the_whole_report_on_the_emulated_gpu(few_cases, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measure, "Sizes", lambda: SMALL)
    monkeypatch.setattr(measure, "NETWORKS", {"mlp_mnist": measure.NETWORKS["mlp_mnist"]})
    monkeypatch.setattr(measure, "torch_step", lambda *_: None)
    with emulated_gpu():
        assert gpu_check.main(["--out", str(tmp_path / "report.json")]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert {"device", "versions", "commit", "date", *gpu_check.PARTS} <= report.keys()
    assert report["failures"] == []
    assert report["proofs"]["cases"] > 10
    assert max(report["gradients"].values()) < gpu_check.TOLERANCE
    assert report["bandwidth"]["operations"].keys() == {name for name, _, _ in small_operations()}
    assert {row["name"] for row in report["products"]} == {"cuBLAS", "gemm_naive", "gemm_tiled", "gemm_blocked"}
    assert {(row["dtype"], row["name"]) for row in report["products"]} >= {
        ("float16", "cuBLAS"),
        ("float16", "gemm_blocked"),
    }
    assert 0 < report["mixed"]["mlp_mnist"] < 0.01
    assert [row["precision"] for row in report["steps"]] == ["float32", "mixed"]
    assert min(row["ours_ms"] for row in report["steps"]) > 0
    assert capsys.readouterr().out.endswith("all agree\n")


def small_operations():
    with emulated_gpu():
        return list(measure.memory_bound(SMALL))


@needs_compiler
@pytest.mark.parametrize("name", measure.NETWORKS)
def test_every_network_can_be_timed(name):
    build, shape, classes = measure.NETWORKS[name]
    shape = (6, *shape[1:]) if len(shape) == 2 else shape  # short sequences
    rng = np.random.default_rng(0)
    with emulated_gpu() as device:
        step = measure.our_step(build, rng.random((1, *shape), np.float32), rng.integers(0, classes, 1))
        with device.forbid_waiting():
            step()
        assert np.isfinite(float(step()))


@needs_compiler
def test_a_step_in_mixed_precision_can_be_timed():
    build, x, labels = measure.example("cifar cnn", 1)
    with emulated_gpu() as device:
        step = measure.our_step(build, x, labels, amp=True)
        before = device.waits
        loss = step()
        assert device.waits == before + 1, "the look at the overflow"
        assert np.isfinite(float(loss))


@needs_compiler
def test_a_wrong_gradient_in_mixed_precision_is_a_failure(monkeypatch, capsys):
    monkeypatch.setattr(measure, "NETWORKS", {"mlp_mnist": measure.NETWORKS["mlp_mnist"]})
    monkeypatch.setattr("core.ops.gpu.unscale", lambda grad, factor, overflow: None)
    failures: list[str] = []
    with emulated_gpu():
        gpu_check.mixed(SMALL, failures)
    assert len(failures) == 1
    assert "WRONG" in capsys.readouterr().out


@needs_compiler
def test_a_wrong_kernel_is_a_failure(few_cases, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "relu_forward", lambda x, y: gpu.leaky_relu_forward(x, y, 0.5))
    with emulated_gpu():
        assert gpu_check.main(["--only", "proofs", "--no-save"]) == 1
    output = capsys.readouterr().out
    assert "DIFFERS" in output
    assert "FAILURES" in output


@needs_compiler
def test_a_wrong_gradient_is_a_failure(monkeypatch, capsys):
    class WrongReLU(ReLU):
        def backward(self, dy):
            return 1.01 * super().backward(dy)

    monkeypatch.setattr("core.gradcheck.layer_cases", lambda rng: [("ReLU", WrongReLU(), np.ones((3, 4)))])
    failures: list[str] = []
    with emulated_gpu():
        gpu_check.gradients(failures)
    assert len(failures) == 1
    assert "WRONG" in capsys.readouterr().out


def test_the_sanitizers_verdict_counts(monkeypatch):
    monkeypatch.setattr(gpu_check, "find_sanitizer", lambda: "compute-sanitizer")
    monkeypatch.setattr(
        gpu_check.subprocess,
        "run",
        lambda command, **_: subprocess.CompletedProcess(command, 9 if "racecheck" in command else 0, "", ""),
    )
    failures: list[str] = []
    assert gpu_check.sanitizer(failures)["memcheck"]["exit_code"] == 0
    assert failures == ["compute-sanitizer --tool racecheck ended with 9"]
